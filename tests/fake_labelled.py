"""Images with masks to export: several kinds of photographs, odd names, every value, thin and empty regions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from engine.colours import class_colours
from engine.formats import Labelled

CLASSES = ("cat", "traffic light", 'a&b <"é">')
COLOURS = class_colours(3)


def drawn(folder: Path) -> list[Labelled]:
    """Return six images: noise, shapes with holes, one pixel, nothing, turned by EXIF, and all unsure."""
    rng = np.random.default_rng(11)
    folder.mkdir(parents=True, exist_ok=True)
    rings = np.zeros((40, 60), np.uint8)
    rings[5:30, 5:30], rings[10:20, 10:20], rings[12:15, 12:15] = 1, 0, 2
    rings[25:38, 25:58], rings[30:34, 30:40], rings[0, :], rings[:, 59] = 3, 255, 2, 1
    dot = np.zeros((1, 1), np.uint8)
    dot[0, 0] = 2
    masks = {
        "a_1.jpg": rng.choice([0, 1, 2, 3, 255], (30, 40)).astype(np.uint8),
        "größe 2.png": rings,
        "c.3.png": dot,
        "empty.jpeg": np.zeros((16, 64), np.uint8),
        "turned.jpg": np.tri(20, 30, dtype=np.uint8),
        "void.bmp": np.full((7, 5), 255, np.uint8),
    }
    items = []
    for name, mask in masks.items():
        stem = name[: name.rfind(".")]
        photo = rng.integers(0, 256, (*mask.shape, 3)).astype(np.uint8)
        exif = Pillow.Exif()
        if stem == "turned":
            exif[0x0112] = 6  # to be turned a quarter clockwise, so it is stored lying on its side
            photo = np.rot90(photo)
        Pillow.fromarray(np.ascontiguousarray(photo)).save(folder / name, exif=exif)
        items.append(Labelled(stem, folder / name, mask))
    return items


def sizes(items: list[Labelled]) -> dict[str, tuple[int, int]]:
    """Return stem -> (H, W), as readers are told."""
    return {item.stem: item.mask.shape for item in items}


SPLITS = {"train": ["a_1", "größe 2", "empty"], "val": ["c.3", "turned"], "fold_1": ["c.3", "a_1"]}
