"""The six toys: a body of cloth that two kinds share, and a head that only one kind has.

A toy is a list of shapes in its own frame: one unit long, x to the right, y down, the
belly near the origin. Heads have a frame of their own in which the face has radius one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = ["CLASSES", "CLOTH", "POSES", "Shape", "toy"]

Colour = tuple[int, int, int]
Inside = Callable[[np.ndarray, np.ndarray], np.ndarray]

CLASSES = ("bear", "duck", "elephant", "fox", "frog", "rabbit")
CLOTH = {
    "bear": "dots",
    "duck": "dots",
    "elephant": "gingham",
    "frog": "gingham",
    "fox": "stripes",
    "rabbit": "stripes",
}
POSES = ("sitting", "lying")

_INK: Colour = (43, 38, 42)
_WHITE: Colour = (252, 250, 246)
# Faces differ in how much their ears add; these radii make all heads about equally large.
_RADIUS = {"bear": 0.208, "duck": 0.224, "elephant": 0.163, "fox": 0.205, "frog": 0.198, "rabbit": 0.192}


@dataclass(frozen=True)
class Shape:
    """One piece of a toy.

    Attributes:
        depth: Function of x and y, 0 at the middle of the piece, 1 on its border, more outside.
        colour: Paint, or None for the cloth of the body.
        shade: Factor on the colour, below 1 for pieces that lie lower.
        part: True for pieces of the head.
        round: True where the border is drawn a little darker.
    """

    depth: Inside
    colour: Colour | None
    shade: float = 1.0
    part: bool = False
    round: bool = True


def toy(name: str, pose: Literal["sitting", "lying"]) -> list[Shape]:
    """Return the shapes of a toy, the lowest first."""
    return [*_BODIES[pose](), *_placed_head(name, pose)]


def _ellipse(cx: float, cy: float, rx: float, ry: float, tilt: float = 0.0) -> Inside:
    """Return an ellipse turned by the angle whose half has the tangent `tilt`."""
    cosine, sine = (1 - tilt * tilt) / (1 + tilt * tilt), 2 * tilt / (1 + tilt * tilt)

    def depth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        u, v = cosine * (x - cx) + sine * (y - cy), cosine * (y - cy) - sine * (x - cx)
        return np.sqrt((u / rx) * (u / rx) + (v / ry) * (v / ry))

    return depth


def _limb(x0: float, y0: float, x1: float, y1: float, radius: float) -> Inside:
    """Return a line with round ends."""
    dx, dy = x1 - x0, y1 - y0

    def depth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        share = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
        u, v = x - x0 - share * dx, y - y0 - share * dy
        return np.sqrt(u * u + v * v) / radius

    return depth


def _polygon(*corners: tuple[float, float]) -> Inside:
    """Return a convex polygon, its corners in clockwise order as seen on the screen."""
    mx = sum(corner[0] for corner in corners) / len(corners)
    my = sum(corner[1] for corner in corners) / len(corners)

    def depth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        worst = np.zeros_like(x)
        for (ax, ay), (bx, by) in zip(corners, (*corners[1:], corners[0]), strict=True):
            nx, ny = by - ay, ax - bx
            worst = np.maximum(worst, (nx * (x - mx) + ny * (y - my)) / (nx * (ax - mx) + ny * (ay - my)))
        return worst

    return depth


def _sitting() -> Iterator[Shape]:
    yield Shape(_limb(-0.20, 0.02, -0.36, 0.16, 0.075), None, 0.90)
    yield Shape(_limb(0.20, 0.02, 0.36, 0.16, 0.075), None, 0.90)
    yield Shape(_ellipse(0, 0.14, 0.29, 0.34), None)
    yield Shape(_ellipse(-0.22, 0.42, 0.15, 0.115, 0.15), None, 0.92)
    yield Shape(_ellipse(0.22, 0.42, 0.15, 0.115, -0.15), None, 0.92)


def _lying() -> Iterator[Shape]:
    yield Shape(_limb(0.42, -0.06, 0.56, -0.20, 0.045), None, 0.90)
    yield Shape(_limb(-0.12, 0.12, -0.17, 0.33, 0.07), None, 0.84)
    yield Shape(_limb(0.26, 0.12, 0.24, 0.33, 0.07), None, 0.84)
    yield Shape(_ellipse(0.10, 0.02, 0.40, 0.235), None)
    yield Shape(_limb(-0.02, 0.14, -0.05, 0.34, 0.075), None, 0.93)
    yield Shape(_limb(0.37, 0.12, 0.38, 0.34, 0.075), None, 0.93)


_BODIES = {"sitting": _sitting, "lying": _lying}
_NECKS = {"sitting": (0.0, -0.22), "lying": (-0.29, -0.08)}


def _placed_head(name: str, pose: str) -> Iterator[Shape]:
    (cx, cy), radius = _NECKS[pose], _RADIUS[name]

    def moved(depth: Inside) -> Inside:
        return lambda x, y: depth((x - cx) / radius, (y - cy) / radius)

    yield Shape(_ellipse(cx, cy + 0.01, 0.275, 0.255), None)
    for depth, colour, border in _HEADS[name]():
        yield Shape(moved(depth), colour, part=True, round=border)


Piece = tuple[Inside, Colour, bool]


def _eyes(x: float, y: float, radius: float = 0.13) -> Iterator[Piece]:
    for side in (-1, 1):
        yield _ellipse(side * x, y, radius, radius * 1.1), _INK, False
        yield _ellipse(side * x + 0.04, y - 0.05, radius * 0.36, radius * 0.36), _WHITE, False


def _bear() -> Iterator[Piece]:
    brown, cream = (120, 68, 34), (232, 186, 136)
    for side in (-1, 1):
        yield _ellipse(side * 0.72, -0.70, 0.37, 0.37), brown, True
        yield _ellipse(side * 0.72, -0.70, 0.20, 0.20), cream, False
    yield _ellipse(0, 0, 1.0, 0.94), brown, True
    yield _ellipse(0, 0.38, 0.46, 0.37), cream, False
    yield _ellipse(0, 0.22, 0.17, 0.12), _INK, False
    yield _limb(0, 0.26, 0, 0.50, 0.045), _INK, False
    yield from _eyes(0.42, -0.14)


def _duck() -> Iterator[Piece]:
    yellow, orange = (250, 206, 50), (240, 130, 38)
    yield _ellipse(-0.16, -0.96, 0.12, 0.30, -0.18), yellow, True
    yield _ellipse(0.14, -0.98, 0.12, 0.30, 0.16), yellow, True
    yield _ellipse(0, 0, 0.94, 0.92), yellow, True
    yield _ellipse(0, 0.36, 0.58, 0.27), orange, True
    yield _limb(-0.42, 0.35, 0.42, 0.35, 0.04), (176, 84, 22), False
    yield from _eyes(0.40, -0.16)


def _elephant() -> Iterator[Piece]:
    blue, inner = (58, 148, 222), (164, 212, 246)
    for side in (-1, 1):
        yield _ellipse(side * 1.02, -0.10, 0.66, 0.78), blue, True
        yield _ellipse(side * 1.06, -0.06, 0.42, 0.52), inner, False
    yield _ellipse(0, 0, 0.84, 0.90), blue, True
    yield _limb(0, 0.40, 0.02, 1.02, 0.24), blue, True
    yield _limb(0.02, 1.02, 0.36, 1.20, 0.21), blue, True
    yield _limb(0, 0.10, 0.01, 0.92, 0.22), blue, False
    for line in (0.52, 0.78):
        yield _limb(-0.14, line, 0.16, line, 0.035), (30, 104, 176), False
    yield from _eyes(0.42, -0.10, 0.12)


def _fox() -> Iterator[Piece]:
    orange, dark = (244, 116, 26), (110, 48, 30)
    for side in (-1, 1):
        ear = ((0.16, -0.56), (0.90, -1.36), (0.98, -0.20))
        inner = ((0.42, -0.60), (0.82, -1.06), (0.86, -0.44))
        corners = ear if side == 1 else tuple((-x, y) for x, y in reversed(ear))
        inners = inner if side == 1 else tuple((-x, y) for x, y in reversed(inner))
        yield _polygon(*corners), orange, True
        yield _polygon(*inners), dark, False
    yield _ellipse(0, -0.10, 1.02, 0.74), orange, True
    yield _polygon((-0.96, 0.06), (0.96, 0.06), (0.14, 1.0), (-0.14, 1.0)), orange, False
    for side in (-1, 1):
        yield _ellipse(side * 0.47, 0.30, 0.40, 0.30, side * -0.32), _WHITE, False
    yield _ellipse(0, 0.92, 0.19, 0.15), _INK, False
    yield from _eyes(0.40, -0.14)


def _frog() -> Iterator[Piece]:
    green, light = (84, 192, 48), (188, 240, 124)
    for side in (-1, 1):
        yield _ellipse(side * 0.58, -0.66, 0.40, 0.40), green, True
    yield _ellipse(0, 0.06, 1.18, 0.82), green, True
    yield _ellipse(0, 0.42, 0.78, 0.36), light, False
    yield _limb(-0.62, 0.22, 0.0, 0.34, 0.05), (32, 104, 22), False
    yield _limb(0.0, 0.34, 0.62, 0.22, 0.05), (32, 104, 22), False
    for side in (-1, 1):
        yield _ellipse(side * 0.58, -0.68, 0.27, 0.27), _WHITE, False
        yield _ellipse(side * 0.58, -0.66, 0.15, 0.17), _INK, False


def _rabbit() -> Iterator[Piece]:
    fur, pink = (255, 132, 188), (206, 40, 112)
    for side in (-1, 1):
        yield _ellipse(side * 0.40, -1.18, 0.27, 0.80, side * 0.10), fur, True
        yield _ellipse(side * 0.41, -1.14, 0.14, 0.58, side * 0.10), pink, False
    yield _ellipse(0, 0, 0.94, 0.82), fur, True
    for side in (-1, 1):
        yield _ellipse(side * 0.56, 0.26, 0.20, 0.14), pink, False
    yield _ellipse(0, 0.16, 0.13, 0.10), (190, 48, 104), False
    yield _limb(0, 0.20, 0, 0.42, 0.04), (150, 60, 92), False
    yield from _eyes(0.36, -0.12)


_HEADS: dict[str, Callable[[], Iterator[Piece]]] = {
    "bear": _bear,
    "duck": _duck,
    "elephant": _elephant,
    "fox": _fox,
    "frog": _frog,
    "rabbit": _rabbit,
}
