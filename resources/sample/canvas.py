"""Paint a picture on a grid three times as fine as its pixels, with its truth beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from surfaces import fabric, soften
from toys import CLASSES, CLOTH, Shape, toy

__all__ = ["GRID", "VOID", "Canvas", "Toy", "turned"]

VOID = 255
GRID = 3  # every pixel is the mean of 3 x 3 points
_SURE = 7  # of those 9 points: fewer agree and the pixel is void


@dataclass(frozen=True)
class Toy:
    """A toy in a picture: its kind, pose and dye, centre and length in pixels, turn and mirroring.

    `turn` is the tangent of half the angle.
    """

    name: str
    pose: Literal["sitting", "lying"]
    dye: str
    x: float
    y: float
    length: float
    turn: float
    mirrored: bool


class Canvas:
    """A picture under way: colours and labels on a grid three times as fine as the pixels."""

    def __init__(self, surface: np.ndarray) -> None:
        self.colours = surface.repeat(GRID, 0).repeat(GRID, 1)  # [3H, 3W, 3] float64
        self.labels = np.zeros(self.colours.shape[:2], np.uint8)  # [3H, 3W]
        self.heads = np.zeros_like(self.labels)
        rows, columns = self.labels.shape
        y, x = np.mgrid[0:rows, 0:columns]
        self.y, self.x = (y + 0.5) / GRID - 0.5, (x + 0.5) / GRID - 0.5  # pixels

    def around(self, x: float, y: float, reach: float) -> Canvas:
        """Return the part of the canvas within `reach` pixels of a spot; painting there paints here."""
        rows = slice(max(0, int((y - reach) * GRID)), max(0, int((y + reach) * GRID)))
        columns = slice(max(0, int((x - reach) * GRID)), max(0, int((x + reach) * GRID)))
        view = object.__new__(Canvas)
        for name in ("colours", "labels", "heads", "y", "x"):
            setattr(view, name, getattr(self, name)[rows, columns])
        return view

    def paint(
        self, inside: np.ndarray, colour: tuple[int, int, int], shade: np.ndarray | float = 1.0
    ) -> None:
        """Cover the points `inside`, `[3H, 3W] bool`, with a colour times a shade (a number or `[3H, 3W]`)."""
        shades = np.broadcast_to(shade, inside.shape)[inside]
        self.colours[inside] = np.array(colour, float) * shades[:, None]

    def shadow(self, inside: np.ndarray, depth: int, strength: float) -> None:
        """Darken the ground below and to the right of the points `inside`; `depth` in thirds of a pixel."""
        self.colours *= 1 - strength * soften(_moved(inside, depth, depth // 2), depth)[..., None]

    def put(self, one: Toy) -> None:
        """Draw a toy with its shadow and its labels."""
        u, v = turned((self.x - one.x) / one.length, (self.y - one.y) / one.length, one.turn)
        u = -u if one.mirrored else u
        drawn = [(shape, shape.depth(u, v)) for shape in toy(one.name, one.pose)]
        everything = np.any([depth <= 1 for _, depth in drawn], axis=0)
        self.shadow(everything, 5, 0.42)
        cloth = fabric(CLOTH[one.name], one.dye, u, v)
        label = CLASSES.index(one.name) + 1
        head = np.any([depth <= 1 for shape, depth in drawn if shape.part], axis=0)
        # A head casts a little shadow on its own body.
        cloth *= (1 - 0.30 * soften(_moved(head, 4, 0), 3))[..., None]
        for shape, depth in drawn:
            self._piece(shape, depth, cloth)
        self.labels[everything] = label
        self.heads[everything] = 0
        self.heads[head] = label

    def _piece(self, shape: Shape, depth: np.ndarray, cloth: np.ndarray) -> None:
        inside = depth <= 1
        if not inside.any():
            return
        near = depth[inside]
        rim = np.maximum(near - 0.62, 0) / 0.38
        light = shape.shade * (1 - (0.20 * rim * rim if shape.round else 0.0))
        colour = cloth[inside] if shape.colour is None else np.array(shape.colour, float)
        self.colours[inside] = colour * np.asarray(light)[..., None]

    def _pixels(self, values: np.ndarray) -> np.ndarray:
        rows, columns = values.shape[0] // GRID, values.shape[1] // GRID
        blocks = values.reshape(rows, GRID, columns, GRID, *values.shape[2:])
        return blocks.swapaxes(1, 2).reshape(rows, columns, GRID * GRID, *values.shape[2:])  # [H, W, 9, ...]

    def image(self) -> np.ndarray:
        """Return the pixels, `[H, W, 3] uint8`."""
        points = np.floor(np.clip(self.colours, 0, 255) + 0.5).astype(np.int32)
        return ((self._pixels(points).sum(axis=2) + 4) // 9).astype(np.uint8)

    def mask(self) -> np.ndarray:
        """Return the truth, `[H, W] uint8`."""
        return self._vote(self.labels)

    def part(self) -> np.ndarray:
        """Return the truth of the heads, `[H, W] uint8`."""
        return self._vote(self.heads)

    def _vote(self, labels: np.ndarray) -> np.ndarray:
        points = self._pixels(labels)
        votes = np.stack(
            [(points == label).sum(axis=2) for label in range(len(CLASSES) + 1)]
        )  # [1 + C, H, W]
        return np.where(votes.max(axis=0) >= _SURE, votes.argmax(axis=0), VOID).astype(np.uint8)


def turned(x: np.ndarray, y: np.ndarray, turn: float) -> tuple[np.ndarray, np.ndarray]:
    """Turn coordinates by twice the angle whose tangent is `turn`: a turn without sines."""
    cosine, sine = (1 - turn * turn) / (1 + turn * turn), 2 * turn / (1 + turn * turn)
    return cosine * x + sine * y, cosine * y - sine * x


def _moved(inside: np.ndarray, down: int, right: int) -> np.ndarray:
    """Move a mask; what leaves the canvas is gone, what enters is empty."""
    rows, columns = inside.shape
    return np.pad(inside, ((down, 0), (right, 0)))[:rows, :columns]
