"""Corrected masks on disk: `edited/<stem>.png`, older ones kept, damaged ones set aside.

Every file carries the step it shows, that step's chain, and the SHA-256 of its pixels. The new
file is read back and compared before the last of the older generations may go.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.atomic import sync_folder, write_bytes
from engine.edits.sheet import Mask
from engine.errors import UserError
from engine.images.opening import decoding, opened
from engine.store import indexed_png

__all__ = [
    "KEPT",
    "MaskDamaged",
    "Written",
    "mask_path",
    "pixel_hash",
    "read_written",
    "set_aside",
    "write_mask",
]

# Older generations of a mask; a person notices a mistake after a few approvals, not after a hundred.
KEPT = 5
_STEP, _CHAIN, _HASH = "wsss-step", "wsss-chain", "wsss-sha256"
_END = b"\0\0\0\0IEND\xaeB`\x82"


class MaskDamaged(Exception):
    """A mask file is not what was written; the text says why, as the end of a sentence."""


@dataclass(frozen=True)
class Written:
    """What a mask file holds.

    Attributes:
        mask: [H, W] uint8.
        step: The step it shows; None is the very start.
        chain: Chain of that step; empty when another program wrote the file.
    """

    mask: Mask
    step: int | None
    chain: str


def mask_path(root: Path, stem: str) -> Path:
    """Return where the corrected mask of an image lies in a project."""
    return root / "edited" / f"{stem}.png"


def pixel_hash(mask: Mask) -> str:
    """Return the SHA-256 of a mask's pixels, in hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(mask).data).hexdigest()


def read_written(path: Path, size: tuple[int, int], classes: int) -> Written | None:
    """Return what a mask file holds, or None where there is none.

    Args:
        path: The file.
        size: (H, W) of its image.
        classes: Number of classes of the project.

    Raises:
        MaskDamaged: It is unreadable, of another size, or its pixels are not those that were written.
    """
    if not path.is_file() and not path.is_symlink():
        return None
    if path.is_symlink():
        raise MaskDamaged("it is a link")
    try:
        with path.open("rb") as file:
            file.seek(-min(len(_END), path.stat().st_size), os.SEEK_END)
            if file.read() != _END:
                raise MaskDamaged("it is cut short")
        with opened(path, forms=("PNG",)) as (image, _):
            if image.mode not in ("P", "L"):
                raise MaskDamaged(f"it has the mode {image.mode}, not class indexes of 8 bits")
            if (image.height, image.width) != size:
                raise MaskDamaged(
                    f"it has {image.width} x {image.height} px and its image {size[1]} x {size[0]}"
                )
            with decoding(path):
                image.load()
            mask: Mask = np.array(image, dtype=np.uint8)
            said = {key: str(image.info.get(key, "")) for key in (_STEP, _CHAIN, _HASH)}
    except OSError as error:
        raise MaskDamaged(f"it cannot be read ({error.strerror or error})") from None
    except UserError as error:
        raise MaskDamaged(f"it cannot be read ({error.found.removeprefix(str(path)).strip(' .')})") from None
    if said[_HASH] and said[_HASH] != pixel_hash(mask):
        raise MaskDamaged("its pixels are not those that were written")
    highest = int(np.max(mask, initial=0, where=mask != 255))
    if highest > classes:
        raise MaskDamaged(f"it holds the index {highest} and the project has {classes} classes")
    step = int(said[_STEP]) if said[_STEP].isdecimal() and said[_STEP] != "0" else None
    return Written(mask, step, said[_CHAIN] if said[_HASH] else "")


def write_mask(
    root: Path, stem: str, mask: Mask, colours: tuple[str, ...], step: int | None, chain: str, last: int
) -> int:
    """Write a mask, keep the one before it, and read the new one back.

    Args:
        root: The project's folder.
        stem: The image.
        mask: [H, W] uint8.
        colours: The project's class colours.
        step: The step it shows; None is the very start.
        chain: That step's chain.
        last: Number of the last generation that was kept.

    Returns:
        The number of the last generation that is kept now.

    Raises:
        UserError: The disk refuses, or gives back other pixels; the mask before stands again.
    """
    path = mask_path(root, stem)
    texts = {_STEP: str(step or 0), _CHAIN: chain, _HASH: pixel_hash(mask)}
    try:
        kept = _keep(path, stem, mask.shape[:2], len(colours), last)
        write_bytes(path, indexed_png(mask, colours, texts))
        fault = unlike(path, mask, len(colours))
        if fault:
            if kept != last:
                write_bytes(path, _generation(path, stem, kept).read_bytes())
            raise UserError(
                f"{path} was written, and {fault}.",
                "The mask before it stands again; every step is in the journal.",
                "Check the disk.",
            )
        _prune(path, stem, kept)
    except OSError as error:
        raise UserError(
            f"{path} could not be written ({error.strerror or error}).",
            "Every step is safe in the journal; the mask file follows when it can be written.",
            "Free some space or check the folder's permissions.",
        ) from None
    return kept


def set_aside(path: Path) -> Path:
    """Rename a damaged mask into edited/.damaged under a dated name, and return where it lies."""
    folder = path.parent / ".damaged"
    folder.mkdir(parents=True, exist_ok=True)
    when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    n, aside = 1, folder / f"{path.stem}.{when}.png"
    while os.path.lexists(aside):
        n += 1
        aside = folder / f"{path.stem}.{when}-{n}.png"
    path.rename(aside)
    sync_folder(folder)
    sync_folder(path.parent)
    return aside


def unlike(path: Path, mask: Mask, classes: int) -> str:
    """Return how a mask file differs from the mask that it should hold; empty when it does not."""
    try:
        back = read_written(path, (mask.shape[0], mask.shape[1]), classes)
    except MaskDamaged as damaged:
        return f"read back, {damaged}"
    return "" if back is not None and np.array_equal(back.mask, mask) else "gave back other pixels"


def _keep(path: Path, stem: str, size: tuple[int, ...], classes: int, last: int) -> int:
    """Keep the mask that stands at `path` as one more generation; a damaged one is set aside instead."""
    try:
        if read_written(path, (size[0], size[1]), classes) is None:
            return last
    except MaskDamaged:
        set_aside(path)
        return last
    folder = path.parent / ".kept"
    folder.mkdir(exist_ok=True)
    # A new journal counts from the start, and what the one before kept stays until it is its turn.
    number = last + 1 if last else max(_numbers(folder, stem), default=0) + 1
    kept = _generation(path, stem, number)
    try:
        os.link(path, kept)
    except OSError:  # a file system without links, or a name that stands: a copy never costs a generation
        while os.path.lexists(kept):
            number += 1
            kept = _generation(path, stem, number)
        write_bytes(kept, path.read_bytes())
    sync_folder(folder)
    return number


def _prune(path: Path, stem: str, newest: int) -> None:
    old = _generation(path, stem, newest - KEPT)
    if old.is_file():
        for number in _numbers(old.parent, stem):
            if number <= newest - KEPT:
                _generation(path, stem, number).unlink(missing_ok=True)


def _generation(path: Path, stem: str, number: int) -> Path:
    return path.parent / ".kept" / f"{stem}.{number}.png"


def _numbers(folder: Path, stem: str) -> list[int]:
    name = re.compile(re.escape(stem) + r"\.(\d{1,9})\.png")
    return [int(m[1]) for entry in os.scandir(folder) if (m := name.fullmatch(entry.name))]
