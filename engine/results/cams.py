"""Class activation maps of one image, and how they are enlarged to pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.arrays import write_npz
from engine.results import stored

__all__ = ["CamStack", "enlarge"]


@dataclass(frozen=True, eq=False)
class CamStack:
    """Class activation maps of one image, kept at feature resolution.

    Attributes:
        image: Stem of the image.
        size: (H, W) of the upright image in px.
        classes: 0-based project class of each map, ascending; empty when none is drawn.
        maps: [K, h, w] float16 in [0, 1], each divided by its own peak.
        peaks: [K] float32, the maximum of each map before the division, so that
            `maps * peaks` are the method's raw values and a flat map can be told from a strong one.
        cell: Side of one map cell in px.
        origin: Pixel coordinate, along both axes, on which cell 0 is centred: 0 for
            `centred` alignment, (cell - 1) / 2 for `official` (methods_cam 0.3-6).
        scores: [C] float32 in [0, 1], the classifier's score of every project class.
        background: [h, w] float16 in [0, 1] for sources that hold a background score
            (refined walks, segmenters), else None.
        facts: JSON facts: method, alignment, `digest` of what made it.
    """

    image: str
    size: tuple[int, int]
    classes: tuple[int, ...]
    maps: NDArray[np.float16]
    peaks: NDArray[np.float32]
    cell: float
    origin: float
    scores: NDArray[np.float32]
    background: NDArray[np.float16] | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    KIND = "cams"

    def __post_init__(self) -> None:
        k = len(self.classes)
        stored.check_classes(self.classes)
        stored.check_cells(self.cell, self.origin)
        if self.maps.ndim != 3 or self.maps.shape[0] != k or self.peaks.shape != (k,):
            raise ValueError(f"{k} classes, maps {self.maps.shape}, peaks {self.peaks.shape}")
        if k and (0 in self.maps.shape or not np.isfinite(self.maps).all()):
            raise ValueError("the maps hold no numbers")
        if self.background is not None and self.background.shape != self.maps.shape[1:]:
            raise ValueError(f"maps {self.maps.shape}, background {self.background.shape}")

    def full(self) -> NDArray[np.float32]:
        """Return the maps at image size, [K, H, W] float32 in [0, 1]."""
        return enlarge(self.maps, self.size, self.cell, self.origin)

    def full_background(self) -> NDArray[np.float32] | None:
        """Return the background score at image size, [H, W] float32 in [0, 1], or None."""
        if self.background is None:
            return None
        full: NDArray[np.float32] = enlarge(self.background[None], self.size, self.cell, self.origin)[0]
        return full

    def save(self, path: Path) -> None:
        """Write the stack as one npz file, atomically."""
        arrays: dict[str, NDArray[Any]] = {
            "maps": self.maps,
            "peaks": self.peaks,
            "scores": self.scores,
            "classes": np.asarray(self.classes, np.int32),
        }
        if self.background is not None:
            arrays["background"] = self.background
        facts = {
            "kind": self.KIND,
            "image": self.image,
            "size": list(self.size),
            "cell": self.cell,
            "origin": self.origin,
            "facts": self.facts,
        }
        write_npz(path, arrays, facts)

    @classmethod
    def load(cls, path: Path) -> CamStack:
        """Read a stack.

        Raises:
            FileNotFoundError: There is none.
            UserError: The file is damaged or holds something else.
        """
        return stored.load(path, cls.KIND, cls._built, "class activation maps", "infer")

    @classmethod
    def _built(cls, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> CamStack:
        background = arrays.get("background")
        return cls(
            image=str(facts["image"]),
            size=stored.size_of(facts["size"]),
            classes=tuple(int(c) for c in arrays["classes"]),
            maps=arrays["maps"].astype(np.float16, copy=False),
            peaks=arrays["peaks"].astype(np.float32, copy=False),
            cell=float(facts["cell"]),
            origin=float(facts["origin"]),
            scores=arrays["scores"].astype(np.float32, copy=False),
            background=None if background is None else background.astype(np.float16, copy=False),
            facts=dict(facts["facts"]),
        )


def enlarge(
    maps: NDArray[Any],
    size: tuple[int, int],
    cell: float,
    origin: float,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Return maps enlarged to pixels by bilinear interpolation, edges held.

    Args:
        maps: [K, h, w] float.
        size: (H, W) in px.
        cell: Side of a cell in px.
        origin: Pixel coordinate of the centre of cell 0.
        out: [K, H, W] float32 to write into.

    Returns:
        [K, H, W] float32.
    """
    count, h, w = maps.shape
    height, width = size
    if out is None:
        out = np.empty((count, height, width), np.float32)
    if 0 in maps.shape:
        out[...] = 0
        return out
    top, bottom, fy = _between(height, h, cell, origin)
    left, right, fx = _between(width, w, cell, origin)
    for k in range(count):  # one map at a time: its rows stay in the cache
        source = maps[k].astype(np.float32)
        wide = source[:, left]
        wide += (source[:, right] - wide) * fx  # [h, W]
        np.take(wide, top, axis=0, out=out[k])
        step = np.take(wide, bottom, axis=0)
        step -= out[k]
        step *= fy[:, None]
        out[k] += step
    return out


def _between(
    pixels: int, cells: int, cell: float, origin: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    at = np.clip((np.arange(pixels) - origin) / cell, 0, cells - 1)
    low = np.floor(at).astype(np.intp)
    return low, np.minimum(low + 1, cells - 1), (at - low).astype(np.float32)
