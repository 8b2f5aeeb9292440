"""From the prototype-aware maps of an image's classes to a mask, before and after a dense CRF. No network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.labels import apply_scores
from engine.refiners import Grid, scores_of
from engine.results import CamStack, PrototypeView
from wsss_napari.prototype_view import PrototypeScene
from wsss_napari.refine_preview import PreviewOrder

__all__ = ["SIDE", "FlatMask", "crf_order", "label_of", "stack_of"]

#: Longer side in px of what a CRF refines here; it takes about a second.
SIDE = 512


@dataclass(frozen=True, eq=False)
class FlatMask:
    """A mask at a share of the image's size.

    Attributes:
        mask: [h, w] uint8, 0 background, class + 1.
        cell: Side of one of its cells in px of the image.
    """

    mask: NDArray[np.uint8]
    cell: float

    @property
    def origin(self) -> float:
        """Pixel coordinate of the middle of the first cell, along both axes."""
        return (self.cell - 1) / 2


def stack_of(view: PrototypeView, scenes: Sequence[PrototypeScene]) -> CamStack:
    """Return the prototype-aware maps of some classes as the maps of the image.

    Args:
        view: One pass over the image.
        scenes: Of its classes, ascending; those that nothing seeds are left out.
    """
    found = [(s.cls, s.passage.aware) for s in scenes if s.passage is not None]
    _, h, w = view.features.shape
    maps = np.stack([aware for _, aware in found]) if found else np.zeros((0, h, w), np.float32)
    return CamStack(
        image=view.image,
        size=view.size,
        classes=tuple(cls for cls, _ in found),
        maps=np.clip(maps, 0, 1).astype(np.float16),
        peaks=np.ones(len(found), np.float32),
        cell=view.cell,
        origin=view.origin,
        scores=view.scores,
    )


def label_of(stack: CamStack, background: float) -> FlatMask:
    """Return the mask of a stack against a constant background score in [0, 1]; ties go to the background."""
    cell = _cell(stack.size)
    scores = scores_of(stack, _rule(background), Grid.over(stack.size, cell))
    return FlatMask(apply_scores(scores, stack.classes), float(cell))


def crf_order(stack: CamStack, background: float, photograph: NDArray[np.uint8]) -> PreviewOrder:
    """Return what makes `label_of` follow the edges of the photograph [H, W, 3] uint8, with IRN's settings."""
    part = ("crf", {"background": _rule(background)})
    return PreviewOrder(stack.image, stack, photograph, 1.0 / _cell(stack.size), (part,), "CRF")


def _cell(size: tuple[int, int]) -> int:
    return max(1, math.ceil(max(size) / SIDE))


def _rule(background: float) -> str:
    return f"constant:{background:.4g}"
