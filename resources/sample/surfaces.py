"""Colours of the things that toys are made of and lie on.

Every function uses additions, multiplications, divisions and comparisons only. These
are exact to the last bit on every machine, which sines, powers and exponentials are
not, so the sample comes out the same to the byte.
"""

from __future__ import annotations

import numpy as np

__all__ = ["DYES", "FABRICS", "GROUNDS", "fabric", "ground", "smooth_noise", "soften"]

FABRICS = ("stripes", "dots", "gingham")
# Dark, middle and light yarn of each dye.
DYES: dict[str, tuple[tuple[int, int, int], ...]] = {
    "ink": ((81, 88, 115), (146, 151, 172), (212, 214, 223)),
    "wine": ((131, 80, 95), (178, 143, 152), (225, 211, 214)),
    "pine": ((75, 110, 108), (144, 166, 164), (210, 220, 218)),
}
GROUNDS = ("oak", "lawn", "felt", "sand", "slate")


def fabric(name: str, dye: str, across: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Return the cloth colour at each point.

    Args:
        name: One of `FABRICS`, the weave.
        dye: One of `DYES`.
        across: Coordinate in toy lengths, any shape.
        along: The same, at a right angle.

    Returns:
        `[..., 3] float64 in [0, 255]`.
    """
    colours = np.array(DYES[dye], float)
    if name == "stripes":
        index = 2 * (_fraction(along / 0.15) < 0.45)
    elif name == "dots":
        row = np.floor(along / 0.12)
        shift = 0.5 * (row - 2 * np.floor(row / 2))
        x, y = _fraction(across / 0.14 + shift) - 0.5, _fraction(along / 0.12) - 0.5
        index = 2 * (x * x + y * y < 0.085)
    else:
        index = (_fraction(across / 0.15) < 0.5).astype(int) + (_fraction(along / 0.15) < 0.5)
    return colours[index]


def ground(name: str, height: int, width: int, random: np.random.RandomState) -> np.ndarray:
    """Return a surface to lie on, `[height, width, 3] float64 in [0, 255]`."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    if name == "oak":
        base, light = (203, 180, 152), _oak(y, x, random)
    elif name == "lawn":
        base, light = (156, 162, 134), _lawn(height, width, random)
    elif name == "felt":
        base, light = (186, 188, 190), _felt(height, width, random)
    elif name == "sand":
        base, light = (222, 210, 186), _sand(y, x, random)
    else:
        base, light = (128, 140, 146), _slate(y, x, random)
    # Steps of three levels cannot be seen, and they halve the size of the files.
    return np.array(base, float) + 3.0 * np.floor(light / 3.0 + 0.5)[..., None]


def smooth_noise(
    height: int, width: int, cell: tuple[float, float], random: np.random.RandomState
) -> np.ndarray:
    """Return noise in [-1, 1] that varies over `cell` (rows, columns) pixels, `[height, width] float64`."""
    rows, columns = int(height / cell[0]) + 2, int(width / cell[1]) + 2
    knots = random.random_sample((rows, columns)) * 2 - 1
    y, x = np.arange(height) / cell[0], np.arange(width) / cell[1]
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    down, right = _ease(y - top)[:, None], _ease(x - left)
    upper = knots[top][:, left] * (1 - right) + knots[top][:, left + 1] * right
    lower = knots[top + 1][:, left] * (1 - right) + knots[top + 1][:, left + 1] * right
    return upper * (1 - down) + lower * down  # [height, width]


def soften(mask: np.ndarray, radius: int) -> np.ndarray:
    """Blur a mask with a square of `2 * radius + 1` pixels, twice: `[H, W]` to `[H, W] float64 in [0, 1]`."""
    out = mask.astype(float)
    for axis in (0, 1, 0, 1):
        pads = [(0, 0), (0, 0)]
        pads[axis] = (radius + 1, radius)
        total = np.cumsum(np.pad(out, pads, mode="edge"), axis=axis)
        size = mask.shape[axis]
        window = 2 * radius + 1
        out = (
            np.take(total, range(window, window + size), axis) - np.take(total, range(size), axis)
        ) / window
    return out


def _fraction(value: np.ndarray) -> np.ndarray:
    return value - np.floor(value)


def _ease(value: np.ndarray) -> np.ndarray:
    return value * value * (3 - 2 * value)


def _wave(turns: np.ndarray) -> np.ndarray:
    """Return a wave in [-1, 1] with period 1, made of parabolas."""
    part = _fraction(turns) * 2 - 1
    return 4 * part * (1 - abs(part))


def _oak(y: np.ndarray, x: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    height, width = y.shape
    board = 26 + 8 * random.random_sample()
    start = board * random.random_sample()
    row = np.floor((y + start) / board).astype(int)
    shade = random.random_sample(row.max() + 1) * 16 - 8
    joint = random.random_sample(row.max() + 1) * width
    light = shade[row]
    grain = smooth_noise(height, width, (2.2, 34), random)
    rings = smooth_noise(height, width, (9, 60), random)
    light = light + 7 * grain + 5 * _wave(rings * 2.5)
    gap = _fraction((y + start) / board) * board < 1.2
    return np.where(gap | (abs(x - joint[row]) < 0.7), -44.0, light)


def _lawn(height: int, width: int, random: np.random.RandomState) -> np.ndarray:
    blades = smooth_noise(height, width, (7, 1.8), random)
    patches = smooth_noise(height, width, (30, 30), random)
    return 17 * blades + 12 * patches


def _felt(height: int, width: int, random: np.random.RandomState) -> np.ndarray:
    clouds = smooth_noise(height, width, (22, 22), random)
    fibres = smooth_noise(height, width, (2, 5), random) + smooth_noise(height, width, (5, 2), random)
    return 5 * clouds + 6 * fibres


def _sand(y: np.ndarray, x: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    height, width = y.shape
    drift = smooth_noise(height, width, (38, 46), random)
    ripples = _wave(y / 13 + 1.3 * drift + x / 140)
    return 6 * ripples + 5 * drift + 5 * smooth_noise(height, width, (1.6, 1.6), random)


def _slate(y: np.ndarray, x: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    height, width = y.shape
    tile = 44.0
    offset = random.random_sample(2) * tile
    row = np.floor((y + offset[0]) / tile).astype(int)
    slip = np.where(row % 2 == 0, 0.0, tile / 2)
    column = np.floor((x + offset[1] + slip) / tile).astype(int)
    shade = random.random_sample((row.max() + 1, column.max() + 1)) * 18 - 9
    light = shade[row, column] + 8 * smooth_noise(height, width, (6, 12), random)
    grout = (_fraction((y + offset[0]) / tile) * tile < 1.6) | (
        _fraction((x + offset[1] + slip) / tile) * tile < 1.6
    )
    return np.where(grout, 30.0, light)
