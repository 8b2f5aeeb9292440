"""Refine the maps of one image without a network: what the workers of `wsss refine` do."""

from __future__ import annotations

from typing import Any

from engine.errors import UserError
from engine.params import parse
from engine.refiners import REFINERS
from engine.store import open_once, read_pixels, read_stack, source_of

__all__ = ["refine_image"]


def refine_image(
    project_path: str, source: str, target: str, stem: str, digest: str, how: dict[str, Any]
) -> str:
    """Refine and write the maps of one image, in a worker process; only names cross over.

    Returns:
        Why the image was passed over, or an empty string.
    """
    project = open_once(project_path)
    refiner = REFINERS[how["refiner"]]
    views = source_of(project.root, target)
    try:
        stack = read_stack(project, source_of(project.root, source), stem)
        pixels = read_pixels(project, stem)
    except UserError as error:
        return error.found
    settings = parse(refiner.settings, how["settings"])
    refined, trace = refiner.refine(stack, pixels, settings, keep=how["keep"])
    if trace is not None:
        trace.save(views.path(stem, trace.KIND))
    refined.facts["digest"] = digest
    refined.save(views.path(stem))
    return ""
