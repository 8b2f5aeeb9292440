"""Index masks: written with a palette, read back into the project's indexes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from engine import images as pixels
from engine.errors import UserError
from engine.formats._files import check_stem
from engine.formats._format import Labelled
from engine.names import MAX_CLASSES, nfc

__all__ = ["VOID_COLOUR", "checked", "class_table", "read_all", "translate", "write_indexed"]

Mask = NDArray[np.uint8]
Sizes = Mapping[str, tuple[int, int]]

UNSURE = 255
VOID_COLOUR = (224, 224, 192)


def checked(items: Iterable[Labelled], classes: Sequence[str]) -> Iterator[Labelled]:
    """Yield the items, each found fit to be written.

    Raises:
        UserError: Too many classes, an unsafe name, or an index without a class.
    """
    if len(classes) > MAX_CLASSES:
        raise UserError(
            f"There are {len(classes)} classes.",
            f"An 8-bit mask holds at most {MAX_CLASSES} beside background and unsure.",
            "Leave classes out of the project.",
        )
    for item in items:
        check_stem(item.stem)
        highest = int(np.max(item.mask, initial=0, where=item.mask != UNSURE))
        if highest > len(classes):
            raise UserError(
                f"The mask of {item.stem} holds the index {highest}, and there are {len(classes)} classes.",
                "0 is background, 1 the first class, 255 unsure.",
                "Make the labels again.",
            )
        yield item


def write_indexed(path: Path, mask: Mask, palette: Sequence[tuple[int, int, int]]) -> None:
    """Write an 8-bit PNG of mode P whose values are the indexes of the mask.

    Args:
        path: The file.
        mask: `[H, W]` uint8.
        palette: Colours from index 0 on; the last index, 255, gets VOC's void colour.
    """
    table = bytearray(768)
    for index, colour in enumerate(palette[:UNSURE]):
        table[3 * index : 3 * index + 3] = bytes(colour)
    table[3 * UNSURE :] = bytes(VOID_COLOUR)
    image = Pillow.fromarray(np.ascontiguousarray(mask))
    image.putpalette(bytes(table), "RGB")
    # Without bits=8 Pillow packs two colours into one bit a pixel, which many readers refuse.
    image.save(path, "PNG", bits=8, compress_level=4)


def class_table(found: Sequence[str | None], classes: Sequence[str]) -> tuple[Mask, tuple[str, ...]]:
    """Return the table from a file's indexes to the project's, and the names that were dropped.

    Args:
        found: Meaning of the file's indexes from 0 on; `background`, a class name, or None
            for void.
        classes: The project's class names. A class it lacks counts as background.

    Returns:
        `[256]` uint8 and the names that the project lacks.
    """
    places = {nfc(name): index for index, name in enumerate(classes, 1)}
    places["background"] = 0
    table = np.zeros(256, np.uint8)
    table[UNSURE] = UNSURE
    for index, name in enumerate(found[:UNSURE]):
        table[index] = UNSURE if name is None else places.get(nfc(name), 0)
    return table, tuple(n for n in found if n is not None and nfc(n) not in places)


def translate(mask: Mask, table: Mask, n_indexes: int, where: str, accepted: str) -> Mask:
    """Return a mask in the project's indexes.

    Args:
        mask: `[H, W]` uint8 in the file's indexes.
        table: From `class_table`.
        n_indexes: Indexes that have a meaning, background included.
        where: The file, for the message.
        accepted: What would be accepted.

    Raises:
        UserError: An index has no class.
    """
    highest = int(np.max(mask, initial=0, where=mask != UNSURE))
    if highest >= n_indexes:
        raise UserError(
            f"{where} holds the index {highest}, and its class list ends at {n_indexes - 1}.",
            accepted,
            "Check that the masks and the class list belong together.",
        )
    return table[mask]


def read_all(
    files: Mapping[str, Path],
    images: Sizes,
    read: Callable[[Path], Mask] = pixels.read_mask,
) -> Iterator[tuple[str, Mask]]:
    """Yield (stem, mask), each of the size of its image.

    Raises:
        UserError: A file is damaged, no index mask, or of another size.
    """
    for stem, path in files.items():
        mask = read(path)
        if mask.shape != tuple(images[stem]):
            height, width = images[stem]
            raise UserError(
                f"{path} is {mask.shape[1]} x {mask.shape[0]} px, its image {width} x {height} px.",
                "A mask of the size of its upright image.",
                "Check that the masks were made for these images.",
            )
        yield stem, mask
