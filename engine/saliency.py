"""Saliency masks: which pixels of an image belong to any object, whatever its class.

They come from a folder with one mask an image, named as the image: what a detector or a tissue
segmentation wrote, or a layer that a person chose. 0 is background, all else is salient.
"""

from __future__ import annotations

import io
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from engine.atomic import write_bytes
from engine.errors import UserError
from engine.images.opening import decoding, opened
from engine.names import quote, stem_fault

__all__ = ["EMPTY", "MISSING", "RESIZED", "check_folder", "read_salient", "salient_path", "write_salient"]

MISSING = "there is no saliency mask, so nothing is done with it"
EMPTY = "the saliency mask is background on more than 98 % of the image, so it is ignored"
RESIZED = "the saliency mask has another size and is scaled to the image"

_ACCEPTED = "Saliency masks are PNG or TIFF files, indexed or grey, 0 where there is no object."
# Below this share of salient pixels the detector found nothing (methods_cam 2.5b).
_LEAST = 0.02
_SUFFIXES = (".png", ".PNG", ".tif", ".tiff", ".TIF", ".TIFF")
_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L", "I;16N")


def check_folder(folder: Path) -> None:
    """Check that masks can be looked for in a folder.

    Raises:
        UserError: It is no folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder of saliency masks.", _ACCEPTED, "Check the path.")


def salient_path(folder: Path, stem: str) -> Path | None:
    """Return where the mask of an image lies, or None; a PNG goes before a TIFF.

    Raises:
        UserError: `stem` is no name of an image.
    """
    _check_stem(stem)
    # macOS may have written the same name in another Unicode form.
    for name in dict.fromkeys((stem, unicodedata.normalize("NFD", stem))):
        for suffix in _SUFFIXES:
            path = folder / (name + suffix)
            if path.is_file():
                return path
    return None


def read_salient(
    folder: Path, stem: str, size: tuple[int, int], notes: list[str] | None = None
) -> NDArray[np.bool_] | None:
    """Return which pixels of an image are salient, or None where that is not known.

    Args:
        folder: Folder of masks.
        stem: The image.
        size: (H, W) of the upright image in px.
        notes: Takes MISSING, EMPTY or RESIZED where one of them holds, to be told to a person.

    Returns:
        [H, W] bool, or None: there is no mask, or it is as good as empty.

    Raises:
        UserError: The mask is damaged, holds colours, or has other proportions than the image.
    """
    told = notes if notes is not None else []
    path = salient_path(folder, stem)
    if path is None:
        told.append(MISSING)
        return None
    found = _read(path)
    if found.mean() < _LEAST:
        told.append(EMPTY)
        return None
    if found.shape != size:
        found = _resized(found, size, path)
        told.append(RESIZED)
    return found


def write_salient(folder: Path, stem: str, mask: NDArray[Any]) -> Path:
    """Write a mask for an image, atomically, and return its path.

    Args:
        folder: Folder of masks; made when it is missing.
        stem: The image.
        mask: [H, W] bool or whole numbers, 0 (or False) where there is no object.

    Raises:
        UserError: `stem` is no name of an image.
    """
    if mask.ndim != 2 or not mask.size or mask.dtype.kind not in "biu":
        raise ValueError(f"a saliency mask is [H, W] of whole numbers, not {mask.shape} {mask.dtype}")
    _check_stem(stem)
    out = io.BytesIO()
    Pillow.fromarray((mask != 0).astype(np.uint8) * np.uint8(255)).save(out, "PNG", compress_level=4)
    path = folder / f"{stem}.png"
    write_bytes(path, out.getvalue())
    return path


def _check_stem(stem: str) -> None:
    if fault := stem_fault(stem):
        raise UserError(
            f"The name {quote(stem)} {fault}.", "The name of an image without extension.", "Check the name."
        )


def _read(path: Path) -> NDArray[np.bool_]:
    """Return where the stored values differ from 0; a palette is never looked at."""
    with opened(path, forms=("PNG", "TIFF"), accepted=_ACCEPTED) as (image, header):
        if image.mode not in _MODES:
            raise UserError(
                f"{path} is a mask of mode {image.mode}, which holds colours or fractions.",
                _ACCEPTED,
                "Save it with one whole number a pixel.",
            )
        if header.orientation != 1 or header.frames > 1:
            fault = f"{header.frames} frames" if header.frames > 1 else "an EXIF rotation"
            raise UserError(
                f"{path} is a mask with {fault}.",
                _ACCEPTED,
                "Save it as one upright picture without EXIF data.",
            )
        with decoding(path, _ACCEPTED):
            image.load()
        return np.asarray(np.asarray(image) != 0)


def _resized(mask: NDArray[np.bool_], size: tuple[int, int], path: Path) -> NDArray[np.bool_]:
    (tall, wide), (height, width) = mask.shape, size
    # A mask made at a whole number of pixels may miss the exact proportions by one of its own.
    if abs(tall - height * wide / width) > 1 and abs(wide - width * tall / height) > 1:
        raise UserError(
            f"{path} has {wide} x {tall} px, its image {width} x {height}.",
            "A saliency mask has the proportions of its (upright) image.",
            "Make the mask from this image.",
        )
    rows = ((np.arange(height) + 0.5) * tall / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * wide / width).astype(np.intp)
    return np.asarray(mask[rows[:, None], columns])
