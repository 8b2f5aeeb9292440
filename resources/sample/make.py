"""Draw the bundled sample: toys of cloth on floors and lawns, with tags and truth.

    python resources/sample/make.py [OUT]

writes the sample into OUT (this folder when left out). The result is meant to be the
same to the byte on every machine: numbers come from a frozen generator (`numpy.random.RandomState`),
drawing uses exact arithmetic, and `flat_png` writes the files.
"""

from __future__ import annotations

import argparse
import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from canvas import Canvas, Toy
from flat_png import png_bytes
from props import lay_props
from surfaces import DYES, GROUNDS, ground
from toys import CLASSES, CLOTH, POSES

__all__ = ["IMAGES", "Picture", "draw", "main", "palette"]

SEED = 20240
IMAGES = 120
VALIDATION = 30
SIZES = ((128, 128), (120, 160), (160, 120), (136, 144), (112, 150))  # (height, width), pixels

_KITS = (1, 2, 1, 2, 3, 1, 2, 2, 1, 3, 1, 2)  # toys per image, over and over
_EMPTY_EVERY = 12  # one image in twelve shows no toy at all


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
    canvas = Canvas(ground(surface, height, width, random))
    names = _cast(index)
    toys = _arrange(names, height, width, random)
    beside = lay_props(canvas, names, random)
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
    """Place toys side by side; limbs may leave the picture by a little."""
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
        for one in picture.toys:
            place = (round(one.x), round(one.y), round(one.length))
            objects.append((stem, one.name, one.pose, CLOTH[one.name], one.dye, *place))
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
    parser.add_argument("out", nargs="?", type=Path, default=Path(__file__).parent, help="folder to fill")
    main(parser.parse_args().out)
