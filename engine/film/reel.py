"""What a film is made from, which steps it shows, and how large."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.arrays import MAX_BYTES
from engine.errors import UserError
from engine.results import ClimbPath

__all__ = ["ENDINGS", "FASTEST_GIF", "Reel", "check_ending", "notes"]

ENDINGS = (".gif", ".mp4", ".png", ".npz")
# Browsers show GIF frames of less than 0.02 s as if they had 0.1 s.
FASTEST_GIF = 50

# Columns of a strip.
_STRIP = 10
# Longest side of one picture, px: GIF compresses the grain of a perturbation badly, a strip has ten columns.
_SIDES = {".gif": 320, ".mp4": 640, ".png": 320}
# Smaller pictures are enlarged, or their captions would be wider than they are.
_SMALLEST = 200
# Of the largest npz that is read back, for names and facts.
_SPARE = 1 << 22


@dataclass(frozen=True, eq=False)
class Reel:
    """What a film is made from.

    Attributes:
        path: The climb; at least one step is written.
        photograph: [H, W, 3] uint8, upright.
        name: The climbed class, as people call it.
    """

    path: ClimbPath
    photograph: NDArray[np.uint8]
    name: str

    def __post_init__(self) -> None:
        if self.path.last < 0 or self.photograph.shape != (*self.path.leaf.size, 3):
            raise ValueError(f"{self.path.last + 1} steps on a photograph of {self.photograph.shape}")

    @property
    def has_pictures(self) -> bool:
        """Whether every step kept its picture."""
        return all(trace.has_pictures for trace in self.path.traces)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What a frame shows, from left to right."""
        if self.has_pictures:
            return ("picture", "map", "perturbation", "change")
        return ("photograph", "map", "change")

    def steps_in(self, ending: str) -> tuple[int, ...]:
        """Return the steps that a file of this ending shows: all, or in a strip some of them, evenly."""
        last = self.path.last
        if ending != ".png" or last < _STRIP:
            return tuple(range(last + 1))
        return tuple(round(k * last / (_STRIP - 1)) for k in range(_STRIP))

    def side(self, ending: str) -> tuple[int, int]:
        """Return (h, w) of one picture in a file of this ending, px."""
        height, width = self.path.leaf.size
        longest = max(height, width)
        scale = min(1.0, _SIDES[ending] / longest) if longest >= _SMALLEST else _SMALLEST // longest
        return max(1, round(height * scale)), max(1, round(width * scale))

    def score(self, step: int) -> float:
        """Return the pooled score of the climbed class."""
        return float(self.path.row("scores", step)[self.path.leaf.cls])

    def moved(self, step: int) -> NDArray[np.float32]:
        """Return x^t - x^0 in grey levels, [H', W', 3] float32."""
        planes = self.path.row("pictures", step)[0]  # [3, H', W']
        return np.ascontiguousarray(planes.transpose(1, 2, 0), np.float32)

    def attributions(self) -> Iterator[NDArray[np.float32]]:
        """Yield A_0, A_1, …, each [h, w] float32 in [0, 1] (paper eq. 4).

        Raises:
            UserError: A map holds numbers that are not finite.
        """
        path = self.path
        only_last = path.leaf.settings.get("aggregate") == "last"
        total = np.zeros(path.leaf.grid, np.float32)
        for step in range(path.last + 1):
            raw = np.asarray(path.row("maps", step), np.float32)
            # Added up on the way: asking the path for each A_t would add all maps again at every step.
            total = raw if only_last else total + raw
            if not np.isfinite(total).all():
                raise UserError(
                    f"The climb '{path.leaf.id}' holds numbers that are not finite.",
                    "Climbs written by `wsss climb` are shown.",
                    "Climb again.",
                )
            peak = np.float32(total.max(initial=0.0))
            yield np.asarray(np.maximum(total, 0) / peak if peak > 0 else 0 * total, np.float32)

    def bytes_of_maps(self) -> int:
        """Return the bytes of all arrays of an npz but the pictures."""
        cells, classes = math.prod(self.path.leaf.grid), len(self.path.row("scores", 0))
        return (self.path.last + 1) * (cells * (4 + 2 + 1) + 4 * (classes + 2)) + _SPARE

    def bytes_of_pictures(self) -> int:
        """Return the bytes of the pictures of an npz; 0 where none were kept."""
        return (self.path.last + 1) * 3 * math.prod(self.path.leaf.picture_size) * self.has_pictures

    @property
    def pictures_fit(self) -> bool:
        """Whether an npz with the pictures can be read back."""
        return self.bytes_of_maps() + self.bytes_of_pictures() <= MAX_BYTES


def check_ending(out: Path) -> str:
    """Return the ending that says the format.

    Raises:
        UserError: There is no such format.
    """
    ending = out.suffix.lower()
    if ending not in ENDINGS:
        raise UserError(
            f"The ending '{out.suffix}' of {out.name} names no format.",
            "Accepted: .gif and .mp4 (films), .png (a strip of pictures), .npz (arrays).",
            "Choose another --out.",
        )
    return ending


def notes(reel: Reel, ending: str, fps: int) -> list[str]:
    """Return sentences on what a file of this ending leaves out or changes."""
    told = []
    if not reel.has_pictures:
        instead = "" if ending == ".npz" else " The photograph stands for the picture."
        told.append(f"The climb kept no pictures, so the perturbation is left out.{instead}")
    if ending == ".npz":
        if not reel.pictures_fit:
            told.append(f"With its pictures the file would pass {MAX_BYTES >> 20} MiB, so they are left out.")
        return told
    (height, width), (h, w) = reel.path.leaf.size, reel.side(ending)
    if h < height or w < width:
        told.append(f"The pictures are scaled down from {width} x {height} to {w} x {h} px.")
    if ending == ".gif" and fps > FASTEST_GIF:
        told.append(f"A GIF shows at most {FASTEST_GIF} pictures a second.")
    if len(reel.steps_in(ending)) <= reel.path.last:
        told.append(f"The strip shows {_STRIP} of {reel.path.last + 1} steps.")
    return told
