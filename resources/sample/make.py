"""Draw the bundled sample: toys of cloth on floors and lawns, with tags and truth.

    python resources/sample/make.py [OUT]

writes the sample into OUT (this folder when left out). The result is the same to the
byte on every machine: numbers come from a frozen generator (`numpy.random.RandomState`),
drawing uses exact arithmetic, and `flat_png` writes the files.
"""

from __future__ import annotations

import argparse
import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from flat_png import png_bytes
from surfaces import DYES, GROUNDS, fabric, ground, smooth_noise, soften
from toys import CLASSES, CLOTH, POSES, Shape, toy

__all__ = ["Picture", "Toy", "draw", "main", "palette"]

SEED = 20240
IMAGES = 120
VALIDATION = 30
SIZES = ((128, 128), (120, 160), (160, 120), (136, 144), (112, 150))  # (height, width), pixels
VOID = 255

_GRID = 3  # every pixel is the mean of 3 x 3 points
_SURE = 7  # of those 9 points: fewer agree and the pixel is void
_KITS = (1, 2, 1, 2, 3, 1, 2, 2, 1, 3, 1, 2)  # toys per image, over and over
_EMPTY_EVERY = 12  # one image in twelve shows no toy at all

# How often a pool or daisies lies beside the kinds it goes with, and beside others.
_WITH_FRIENDS = 0.5
_ELSEWHERE = 0.1


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


@dataclass(frozen=True)
class Picture:
    """A finished picture.

    Attributes:
        image: `[H, W, 3] uint8`.
        mask: `[H, W] uint8`: 0 background, i + 1 for class i, 255 where less than 7 of 9 points agree.
        part: `[H, W] uint8`, the same for heads alone.
        toys: What was drawn, the lowest first.
        surface: Name of the ground.
        beside: Names of what lies beside the toys and tells something about them.
    """

    image: np.ndarray
    mask: np.ndarray
    part: np.ndarray
    toys: tuple[Toy, ...]
    surface: str
    beside: tuple[str, ...]


def draw(index: int) -> Picture:
    """Draw picture number `index`; each has numbers of its own, so one can be drawn alone."""
    random = np.random.RandomState(SEED + index)
    height, width = SIZES[int(random.randint(len(SIZES)))]
    turn, place = divmod(index, len(GROUNDS))
    surface = GROUNDS[np.random.RandomState(SEED + 104729 + turn).permutation(len(GROUNDS))[place]]
    canvas = _Canvas(ground(surface, height, width, random))
    names = _cast(index)
    toys = _arrange(names, height, width, random)
    beside = _lay_props(canvas, names, random)
    for one in toys:
        canvas.around(one.x, one.y, 0.75 * one.length + 6).put(one)
    return Picture(canvas.image(), canvas.mask(), canvas.part(), tuple(toys), surface, beside)


def _cast(index: int) -> list[str]:
    """Choose the kinds of a picture so that every kind comes up equally often in both splits."""
    turn, place = divmod(index, _EMPTY_EVERY)
    if place == 5:
        return []
    deck: list[str] = []
    random = np.random.RandomState(SEED + 7919 + turn)
    while len(deck) < sum(_KITS):
        deck += [CLASSES[i] for i in random.permutation(len(CLASSES))]
    start = sum(_KITS[:place])
    return deck[start : start + _KITS[place]]


def _arrange(names: list[str], height: int, width: int, random: np.random.RandomState) -> list[Toy]:
    """Place toys side by side; heads stay inside the picture, bodies may leave it by a little."""
    scale = {0: 0.0, 1: 92.0, 2: 74.0, 3: 62.0}[len(names)]
    while True:
        toys: list[Toy] = []
        for name in names:
            for _ in range(60):
                length = scale * (0.85 + 0.25 * random.random_sample())
                edge = 0.50 * length
                one = Toy(
                    name,
                    POSES[int(random.randint(len(POSES)))],
                    list(DYES)[int(random.randint(len(DYES)))],
                    edge + (width - 2 * edge) * random.random_sample(),
                    edge + (height - 2 * edge) * random.random_sample(),
                    length,
                    0.5 * random.random_sample() - 0.25,
                    bool(random.randint(2)),
                )
                if all(_apart(one, other) for other in toys):
                    toys.append(one)
                    break
        if len(toys) == len(names):
            return toys
        scale *= 0.96


def _apart(one: Toy, other: Toy) -> bool:
    dx, dy, reach = one.x - other.x, one.y - other.y, 0.50 * (one.length + other.length)
    return dx * dx + dy * dy > reach * reach


class _Canvas:
    """A picture under way: colours and labels on a grid three times as fine as the pixels."""

    def __init__(self, surface: np.ndarray) -> None:
        self.colours = surface.repeat(_GRID, 0).repeat(_GRID, 1)  # [3H, 3W, 3] float64
        self.labels = np.zeros(self.colours.shape[:2], np.uint8)  # [3H, 3W]
        self.heads = np.zeros_like(self.labels)
        rows, columns = self.labels.shape
        y, x = np.mgrid[0:rows, 0:columns]
        self.y, self.x = (y + 0.5) / _GRID - 0.5, (x + 0.5) / _GRID - 0.5  # pixels

    def around(self, x: float, y: float, reach: float) -> _Canvas:
        """Return the part of the canvas within `reach` pixels of a spot; painting there paints here."""
        rows = slice(max(0, int((y - reach) * _GRID)), max(0, int((y + reach) * _GRID)))
        columns = slice(max(0, int((x - reach) * _GRID)), max(0, int((x + reach) * _GRID)))
        view = object.__new__(_Canvas)
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
        u, v = _turned((self.x - one.x) / one.length, (self.y - one.y) / one.length, one.turn)
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
        rows, columns = values.shape[0] // _GRID, values.shape[1] // _GRID
        blocks = values.reshape(rows, _GRID, columns, _GRID, *values.shape[2:])
        return blocks.swapaxes(1, 2).reshape(
            rows, columns, _GRID * _GRID, *values.shape[2:]
        )  # [H, W, 9, ...]

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


def _turned(x: np.ndarray, y: np.ndarray, turn: float) -> tuple[np.ndarray, np.ndarray]:
    """Turn coordinates by twice the angle whose tangent is `turn`: a turn without sines."""
    cosine, sine = (1 - turn * turn) / (1 + turn * turn), 2 * turn / (1 + turn * turn)
    return cosine * x + sine * y, cosine * y - sine * x


def _moved(inside: np.ndarray, down: int, right: int) -> np.ndarray:
    """Move a mask; what leaves the canvas is gone, what enters is empty."""
    rows, columns = inside.shape
    return np.pad(inside, ((down, 0), (right, 0)))[:rows, :columns]


def _lay_props(canvas: _Canvas, names: list[str], random: np.random.RandomState) -> tuple[str, ...]:
    """Lay things beside the toys, all of them background; return those that keep company with some kinds."""
    laid: list[str] = []
    for name, (friends, lay) in _COMPANY.items():
        likely = _WITH_FRIENDS if friends.intersection(names) else _ELSEWHERE
        if random.random_sample() < likely:
            lay(canvas, random)
            laid.append(name)
    for _ in range(int(random.randint(1, 4))):
        _block_or_pebble(canvas, random)
    return tuple(laid)


def _spot(canvas: _Canvas, margin: float, random: np.random.RandomState) -> tuple[float, float]:
    height, width = canvas.labels.shape[0] / _GRID, canvas.labels.shape[1] / _GRID
    spot = random.random_sample(2)
    return margin + (width - 2 * margin) * spot[0], margin + (height - 2 * margin) * spot[1]


def _pool(canvas: _Canvas, random: np.random.RandomState) -> None:
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


def _daisies(canvas: _Canvas, random: np.random.RandomState) -> None:
    """Scatter daisies around a spot."""
    x, y = _spot(canvas, 18.0, random)
    for _ in range(7):
        cx, cy = x + 44 * random.random_sample() - 22, y + 44 * random.random_sample() - 22
        turn = random.random_sample() * 0.8 - 0.4
        spot = canvas.around(cx, cy, 12)
        if not spot.labels.size:
            continue
        u, v = _turned((spot.x - cx) / 4.4, (spot.y - cy) / 4.4, turn)
        petals = np.min([(u - a) * (u - a) + (v - b) * (v - b) for a, b in _PETALS], axis=0)
        spot.shadow(petals < 0.27, 2, 0.35)
        spot.paint(petals < 0.27, (247, 244, 238))
        spot.paint(u * u + v * v < 0.2, (196, 172, 112))


# Six directions with whole-numbered turns would need cosines; these are close enough for a flower.
_PETALS = ((0.0, -0.8), (0.7, -0.4), (0.7, 0.4), (0.0, 0.8), (-0.7, 0.4), (-0.7, -0.4))


def _block_or_pebble(canvas: _Canvas, random: np.random.RandomState) -> None:
    """Lay down a wooden block or a pebble: things that no kind of toy prefers."""
    x, y = _spot(canvas, 8.0, random)
    canvas = canvas.around(x, y, 18)
    u, v = _turned(canvas.x - x, canvas.y - y, random.random_sample() * 0.8 - 0.4)
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
_COMPANY = {"pool": (frozenset({"duck", "frog"}), _pool), "daisies": (frozenset({"rabbit"}), _daisies)}


def palette() -> np.ndarray:
    """Return the colours of Pascal VOC's masks, `[256, 3] uint8`: bit by bit from the index."""
    index = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((index >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def _rows(header: tuple[str, ...], rows: list[tuple[object, ...]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def main(out: Path) -> None:
    """Write the whole sample into `out`."""
    for folder in ("images", "masks", "parts"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    colours = palette()
    tags: list[tuple[object, ...]] = []
    scenes: list[tuple[object, ...]] = []
    objects: list[tuple[object, ...]] = []
    stems: list[str] = []
    for index in range(IMAGES):
        picture = draw(index)
        stem = f"toys_{index:03d}"
        stems.append(stem)
        tags.append((f"{stem}.png", ";".join(sorted({one.name for one in picture.toys}))))
        scenes.append((stem, picture.surface, ";".join(picture.beside)))
        objects += [
            (
                stem,
                one.name,
                one.pose,
                CLOTH[one.name],
                one.dye,
                round(one.x),
                round(one.y),
                round(one.length),
            )
            for one in picture.toys
        ]
        (out / "images" / f"{stem}.png").write_bytes(png_bytes(picture.image))
        (out / "masks" / f"{stem}.png").write_bytes(png_bytes(picture.mask, colours))
        (out / "parts" / f"{stem}.png").write_bytes(png_bytes(picture.part, colours))
    (out / "tags.csv").write_bytes(_rows(("image", "tags"), tags))
    (out / "objects.csv").write_bytes(
        _rows(("image", "class", "pose", "cloth", "dye", "x", "y", "length"), objects)
    )
    (out / "scenes.csv").write_bytes(_rows(("image", "ground", "beside"), scenes))
    (out / "classes.txt").write_bytes("".join(f"{name}\n" for name in CLASSES).encode())
    split = IMAGES - VALIDATION
    (out / "train.txt").write_bytes("".join(f"{stem}\n" for stem in stems[:split]).encode())
    (out / "val.txt").write_bytes("".join(f"{stem}\n" for stem in stems[split:]).encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw the bundled sample.")
    parser.add_argument(
        "out", nargs="?", type=Path, default=Path(__file__).parent, help="folder to write into"
    )
    main(parser.parse_args().out)
