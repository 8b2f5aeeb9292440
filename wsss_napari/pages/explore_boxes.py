"""Which boxes of the project can be compared for an image, and how each is painted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.labels import LabelRule
from engine.store import Project, label_set, label_sets, runs_of, source_of
from engine.store.truth import has_truth, read_truth
from wsss_napari.map_files import read_maps, views_title
from wsss_napari.mask_view import MaskView
from wsss_napari.side_by_side import Box, painted_map, painted_mask

__all__ = ["boxes_of", "offered"]


def offered(project: Project, image: str) -> list[tuple[str, str]]:
    """Return (key, words) of everything there is of an image, newest runs first.

    Keys are `photograph`, `truth`, `map:RUN/VIEWS`, `mask:RUN/VIEWS` and `labels:NAME`.
    """
    found = [("photograph", "Photograph")]
    for run in reversed(runs_of(project.root)):
        for views in run.all_views():
            if views.has_maps and views.path(image).is_file():
                name = views_title(views)
                found.append((f"map:{views}", f"{name} · map"))
                found.append((f"mask:{views}", f"{name} · mask"))
    for labels in label_sets(project.root, project.colours):
        if labels.path(image).is_file():
            found.append((f"labels:{labels.name}", f"Labels {labels.name}"))
    if has_truth(project, image):
        found.append(("truth", "Truth"))
    return found


def boxes_of(
    project: Project,
    image: str,
    chosen: Sequence[tuple[str, str]],
    rule: LabelRule,
    cls: int | None,
    colours: Sequence[str],
    colormap: str,
) -> list[Box]:
    """Return the painted boxes; what is gone meanwhile shows the photograph alone and says so.

    Args:
        project: The open project.
        image: Stem of the image.
        chosen: (key, words) of `offered`.
        rule: Rule for the masks of maps.
        cls: Class whose maps are shown.
        colours: `#RRGGBB` of each class.
        colormap: Colours of the maps.

    Raises:
        UserError: A file is damaged.
    """
    photograph = project.read(image).pixels
    boxes = []
    for key, words in chosen:
        kind, _, name = key.partition(":")
        try:
            if kind == "map":
                boxes.append(_map_box(project, image, name, words, cls, photograph, colormap))
                continue
            mask = _mask(project, image, kind, name, rule)
        except FileNotFoundError:
            boxes.append(Box(f"{words}: gone", photograph))
            continue
        boxes.append(Box(words, photograph if mask is None else painted_mask(photograph, mask, colours)))
    return boxes


def _map_box(
    project: Project,
    image: str,
    name: str,
    words: str,
    cls: int | None,
    photograph: NDArray[np.uint8],
    colormap: str,
) -> Box:
    stack, why = read_maps(project, source_of(project.root, name), image)
    if stack is None:
        return Box(f"{words}: {why}", photograph)
    if cls not in stack.classes:
        return Box(f"{words}: none of this class", photograph)
    heat = stack.full()[stack.classes.index(cls)]
    return Box(f"{words} · {project.classes[cls]}", painted_map(photograph, heat, colormap))


def _mask(project: Project, image: str, kind: str, name: str, rule: LabelRule) -> NDArray[np.uint8] | None:
    """Return the mask of a box, [H, W] uint8, or None for the photograph alone."""
    match kind:
        case "mask":
            stack, _ = read_maps(project, source_of(project.root, name), image)
            return None if stack is None else MaskView(stack).mask(rule)
        case "labels":
            return label_set(project.root, project.colours, name).read(image)
        case "truth":
            return read_truth(project, image)
        case _:
            return None
