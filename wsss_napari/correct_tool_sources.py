"""Where the region tool takes its regions from: maps of runs and refinements, steps of climbs, label sets. No Qt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.labels import LabelRule
from engine.results import CamStack, enlarge
from engine.store import Project, label_set, label_sets, run_of, runs_of, source_of
from wsss_napari.climb_view import StepView, climbs_of, path_of
from wsss_napari.map_files import read_maps, views_title
from wsss_napari.mask_view import MaskView

__all__ = ["Drawn", "FullMaps", "Source", "read_source", "sources_of"]


@dataclass(frozen=True)
class Source:
    """One thing that regions can be taken from: `map:RUN/VIEWS`, `labels:NAME` or `climb:RUN:KEY`."""

    key: str
    words: str

    @property
    def kind(self) -> str:
        """`map`, `labels` or `climb`."""
        return self.key.partition(":")[0]


@dataclass(frozen=True, eq=False)
class Drawn:
    """What a source says of an image.

    Attributes:
        scores: Class -> [H, W] float32 in [0, 1]; a threshold makes regions of it.
        mask: [H, W] uint8 where the source has decided itself, else None.
        last: The last step of a climb, else 0.
    """

    scores: dict[int, NDArray[np.float32]]
    mask: NDArray[np.uint8] | None = None
    last: int = 0


class FullMaps:
    """The maps of an image at its size; each is enlarged when it is first asked for.

    Args:
        stack: The maps.
    """

    def __init__(self, stack: CamStack) -> None:
        self.stack = stack
        self._full: dict[int, NDArray[np.float32]] = {}

    @property
    def classes(self) -> tuple[int, ...]:
        """The classes that have a map, 0-based."""
        return self.stack.classes

    def scores(self, cls: int | None) -> NDArray[np.float32] | None:
        """Return the map of a class, [H, W] float32 in [0, 1]; None where there is none."""
        stack = self.stack
        if cls is None or cls not in stack.classes:
            return None
        if cls not in self._full:
            row = stack.classes.index(cls)
            self._full[cls] = enlarge(stack.maps[row : row + 1], stack.size, stack.cell, stack.origin)[0]
        return self._full[cls]


def sources_of(project: Project, image: str, cls: int | None) -> list[Source]:
    """Return all there is of an image, newest runs first; the truth is no source, it would measure itself.

    Args:
        project: The open project.
        image: Stem of the image.
        cls: Class whose climbs are listed.
    """
    found: list[Source] = []
    climbs: list[Source] = []
    for run in reversed(runs_of(project.root)):
        for views in run.all_views():
            if views.has_maps and views.path(image).is_file():
                found.append(Source(f"map:{views}", views_title(views)))
        if cls is not None:
            for key in climbs_of(project, run, image, cls):
                climbs.append(Source(f"climb:{run.id}:{key}", f"{run.title} · climb {key}"))
    for labels in label_sets(project.root, project.colours):
        if labels.path(image).is_file():
            found.append(Source(f"labels:{labels.name}", f"Labels {labels.name}"))
    return found + climbs


def read_source(
    project: Project, image: str, cls: int | None, source: Source, photo: NDArray[np.uint8], step: int = -1
) -> Drawn:
    """Read what a source says of an image.

    Args:
        project: The open project.
        image: Stem of the image.
        cls: Class of a climb.
        source: One of `sources_of`.
        photo: [H, W, 3] uint8, the upright image.
        step: Of a climb; -1 is the last.

    Raises:
        UserError: It is gone or damaged, or of another size than the image.
    """
    _, _, name = source.key.partition(":")
    size = photo.shape[:2]
    try:
        if source.kind == "labels":
            mask = label_set(project.root, project.colours, name).read(image)
            _check(source, mask.shape, size)
            return Drawn({}, mask)
        if source.kind == "climb":
            return _climb(project, image, cls, source, name, photo, step)
    except FileNotFoundError:
        raise _gone(source) from None
    stack, why = read_maps(project, source_of(project.root, name), image)
    if stack is None:
        raise UserError(why, "", "Choose another source.")
    _check(source, stack.size, size)
    if stack.background is not None:
        # It has a background score of its own, so the mask is decided and there is nothing to set.
        return Drawn({}, MaskView(stack).mask(LabelRule()))
    return Drawn(_scores(stack))


def _climb(
    project: Project,
    image: str,
    cls: int | None,
    source: Source,
    name: str,
    photo: NDArray[np.uint8],
    step: int,
) -> Drawn:
    run_id, _, key = name.partition(":")
    climbs = {} if cls is None else climbs_of(project, run_of(project.root, run_id), image, cls)
    if key not in climbs:
        raise _gone(source)
    view = StepView(path_of(climbs, key), photo)
    if view.last < 0:
        raise UserError(f"{source.words} has no step yet.", "", "Wait for its first step.")
    at = view.last if step < 0 else min(step, view.last)
    return Drawn(_scores(view.stack(at)), last=view.last)


def _scores(stack: CamStack) -> dict[int, NDArray[np.float32]]:
    return dict(zip(stack.classes, stack.full(), strict=True))


def _check(source: Source, found: tuple[int, ...], size: tuple[int, ...]) -> None:
    if found != size:
        raise UserError(
            f"{source.words} is of {found[0]} x {found[1]} px and the image of {size[0]} x {size[1]} px.",
            "Accepted: what was made of this image.",
            "Choose another source, or make this one again.",
        )


def _gone(source: Source) -> UserError:
    return UserError(
        f"{source.words} holds nothing of this image any more.", "", "Choose another source of regions."
    )
