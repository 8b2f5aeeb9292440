"""The photographs beside the masks: copied where every reader sees them as we do, written anew where not."""

from __future__ import annotations

import shutil
from pathlib import Path

from PIL import Image as Pillow

from engine import images as pixels
from engine.errors import UserError
from engine.formats._format import Labelled
from engine.images import Facts

__all__ = ["checked_facts", "photograph", "said_of_photographs"]

# Readers differ over EXIF rotation, 16 bits, CMYK and transparency; of these two forms they agree.
_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png"}
_MODES = ("RGB", "L")


def checked_facts(item: Labelled) -> Facts:
    """Return the facts of the photograph of an item, found to be of the size of its mask.

    Raises:
        UserError: It cannot be read or has another size.
    """
    facts = pixels.probe(item.image)
    if item.mask.shape != (facts.height, facts.width):
        raise UserError(
            f"The mask of {item.stem} is {item.mask.shape[1]} x {item.mask.shape[0]} px, "
            f"its image {item.image} {facts.width} x {facts.height} px.",
            "A mask of the size of its upright image.",
            "Make the labels again; the image was changed.",
        )
    return facts


def photograph(item: Labelled, folder: Path) -> tuple[str, bool]:
    """Put the photograph of an item into a folder, upright, as <stem>.jpg or <stem>.png.

    Returns:
        The name of the file, and whether it was written anew, without loss, as a PNG.

    Raises:
        UserError: It cannot be read or is not of the size of the mask.
    """
    facts = checked_facts(item)
    plain = facts.orientation == 1 and facts.frames == 1 and facts.mode in _MODES
    if plain and facts.format in _SUFFIXES:
        name = item.stem + _SUFFIXES[facts.format]
        shutil.copyfile(item.image, folder / name)
        return name, False
    Pillow.fromarray(pixels.read(item.image).pixels).save(folder / f"{item.stem}.png", "PNG")
    return f"{item.stem}.png", True


def said_of_photographs(written_anew: int) -> list[str]:
    """Return a sentence on the photographs that were not copied, if there are any."""
    if not written_anew:
        return []
    return [
        f"{written_anew} image(s) were turned upright or were no plain JPEG or PNG: "
        "they are written anew as 8-bit PNG, without the rest of their file."
    ]
