"""Draw what lies beside the toys: all of it is background."""

from __future__ import annotations

import numpy as np
from canvas import GRID, Canvas, turned
from surfaces import smooth_noise

__all__ = ["COMPANY", "lay_props"]

# How often a thing lies beside the kinds it goes with, and elsewhere.
_WITH_FRIENDS = 0.5
_ELSEWHERE = 0.1

_PETALS = ((0.0, -0.8), (0.7, -0.4), (0.7, 0.4), (0.0, 0.8), (-0.7, 0.4), (-0.7, -0.4))


def lay_props(canvas: Canvas, names: list[str], random: np.random.RandomState) -> tuple[str, ...]:
    """Lay things beside the toys, all of them background; return those that keep company with some kinds."""
    laid: list[str] = []
    for name, (friends, lay) in COMPANY.items():
        likely = _WITH_FRIENDS if friends.intersection(names) else _ELSEWHERE
        if random.random_sample() < likely:
            lay(canvas, random)
            laid.append(name)
    for _ in range(int(random.randint(1, 4))):
        _block_or_pebble(canvas, random)
    return tuple(laid)


def _spot(canvas: Canvas, margin: float, random: np.random.RandomState) -> tuple[float, float]:
    height, width = canvas.labels.shape[0] / GRID, canvas.labels.shape[1] / GRID
    spot = random.random_sample(2)
    return margin + (width - 2 * margin) * spot[0], margin + (height - 2 * margin) * spot[1]


def _pool(canvas: Canvas, random: np.random.RandomState) -> None:
    """Draw a paddling pool, mostly at the edge of the picture."""
    x, y = _spot(canvas, -6.0, random)
    radius = 34 + 12 * random.random_sample()
    canvas = canvas.around(x, y, radius + 8)
    dx, dy = canvas.x - x, canvas.y - y
    away = np.sqrt(dx * dx + dy * dy)
    canvas.shadow(away < radius, 6, 0.35)
    canvas.paint(away < radius, (244, 246, 246))
    canvas.paint(away < radius - 2.5, (112, 158, 170))
    canvas.paint(away < radius - 5, (160, 198, 204))
    bends = smooth_noise(*canvas.labels.shape, (30, 30), random)
    rings = (away + 3 * bends) / 8.5
    canvas.paint((away < radius - 6) & (rings - np.floor(rings) < 0.16), (196, 222, 224))


def _daisies(canvas: Canvas, random: np.random.RandomState) -> None:
    """Scatter daisies around a spot."""
    x, y = _spot(canvas, 18.0, random)
    for _ in range(7):
        cx, cy = x + 44 * random.random_sample() - 22, y + 44 * random.random_sample() - 22
        turn = random.random_sample() * 0.8 - 0.4
        spot = canvas.around(cx, cy, 12)
        if not spot.labels.size:
            continue
        u, v = turned((spot.x - cx) / 4.4, (spot.y - cy) / 4.4, turn)
        petals = np.min([(u - a) * (u - a) + (v - b) * (v - b) for a, b in _PETALS], axis=0)
        spot.shadow(petals < 0.27, 2, 0.35)
        spot.paint(petals < 0.27, (247, 244, 238))
        spot.paint(u * u + v * v < 0.2, (196, 172, 112))


def _block_or_pebble(canvas: Canvas, random: np.random.RandomState) -> None:
    """Lay down a wooden block or a pebble: things that no kind of toy prefers."""
    x, y = _spot(canvas, 8.0, random)
    canvas = canvas.around(x, y, 18)
    u, v = turned(canvas.x - x, canvas.y - y, random.random_sample() * 0.8 - 0.4)
    size = 5 + 3 * random.random_sample()
    if random.randint(2):
        near = np.maximum(abs(u), abs(v)) / size
        canvas.shadow(near < 1, 4, 0.4)
        canvas.paint(near < 1, (176, 158, 136))
        canvas.paint(near < 0.78, (208, 192, 170))
    else:
        near = np.sqrt(u * u / 1.7 + v * v) / size
        canvas.shadow(near < 1, 3, 0.4)
        canvas.paint(near < 1, (104, 104, 108), 1.12 - 0.3 * near * near)


# Background that goes with some kinds: a classifier is tempted to count it as theirs.
COMPANY = {"pool": (frozenset({"duck", "frog"}), _pool), "daisies": (frozenset({"rabbit"}), _daisies)}
