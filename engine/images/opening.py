"""Open the image file of a stranger: its form, its size and its blocks are checked before it is decoded."""

from __future__ import annotations

import contextlib
import dataclasses
import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, TiffImagePlugin

from engine.errors import UserError
from engine.images.headers import Header, TooMuch, inspect
from engine.intake import check_file

__all__ = ["ACCEPTED", "MAX_PIXELS", "Facts", "decoding", "opened", "probe", "raw_mode", "stored_mode"]

MAX_PIXELS = 100_000_000
ACCEPTED = "JPEG, PNG, TIFF, BMP, WebP and GIF images are read."

_MAX_FILE = 512 * 2**20
# The content decides, not the name; forms that are not listed have decoders nobody here needs.
_FORMS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF")
# What Pillow's decoders raise on damaged files, found by cutting and flipping bytes of every form.
_DAMAGED = (
    OSError,
    AssertionError,
    ValueError,
    SyntaxError,
    TypeError,
    IndexError,
    KeyError,
    AttributeError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    EOFError,
    MemoryError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class Facts:
    """What a header says; height and width in pixels, upright.

    `orientation` is the EXIF orientation as found (1 to 8), `mode` Pillow's mode with `;16` where
    the file holds 16 bits per channel, `frames` at most 1000 for TIFF and GIF.
    """

    height: int
    width: int
    orientation: int
    mode: str
    format: str
    frames: int


def probe(path: Path, *, max_pixels: int = MAX_PIXELS) -> Facts:
    """Return the facts of an image without decoding it.

    Raises:
        UserError: As `read`, as far as the header tells.
    """
    with opened(path, max_pixels) as (image, header):
        width, height = image.size
        turned = _turned_by_pillow(image) if image.format == "TIFF" else False
        if header.orientation >= 5 and not turned:
            width, height = height, width
        mode, form = stored_mode(image), str(image.format)
        return Facts(height, width, header.orientation, mode, form, header.frames)


@contextlib.contextmanager
def opened(
    path: Path, max_pixels: int = MAX_PIXELS, forms: tuple[str, ...] = _FORMS, accepted: str = ACCEPTED
) -> Iterator[tuple[Image.Image, Header]]:
    """Yield the image, header read and pixels not yet decoded, with its header facts.

    Raises:
        UserError: No file, no image of these forms, too many pixels, or a damaged header.
    """
    check_file(path, _MAX_FILE, accepted)
    with contextlib.ExitStack() as stack:
        with decoding(path, accepted):
            header = _inspect(path)
            image = stack.enter_context(Image.open(path, formats=forms))
        # Pillow's own guard only warns between 89 and 179 megapixels; this one always refuses.
        width, height = image.size
        if width * height > max_pixels:
            raise _too_large(path, f"{width:,} x {height:,} pixels", max_pixels)
        if image.format == "MPO":
            header = dataclasses.replace(header, frames=int(getattr(image, "n_frames", 1)))
        yield image, header


@contextlib.contextmanager
def decoding(path: Path, accepted: str = ACCEPTED) -> Iterator[None]:
    """Turn whatever Pillow throws at a damaged file into a sentence.

    Raises:
        UserError: The block met a file that cannot be decoded.
    """
    try:
        yield
    except TooMuch as much:
        todo = "Open it in an image editor and save it again, if you trust where it came from."
        raise UserError(f"{path} {much}; it was not decoded.", accepted, todo) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as bomb:
        number = re.search(r"\d+", str(bomb))
        size = f"{int(number[0]):,} pixels" if number else "too many pixels"
        raise _too_large(path, size, MAX_PIXELS) from None
    except Image.UnidentifiedImageError:
        raise UserError(
            f"{path} is no image of a known form, or its header is damaged.",
            accepted,
            "Convert it to PNG or JPEG, or take it out of the folder.",
        ) from None
    except _DAMAGED as error:
        reason = str(error) or type(error).__name__
        raise UserError(
            f"{path} cannot be decoded: it is cut short or damaged, or of a rare kind ({reason[:200]}).",
            accepted,
            "Copy it again from where it came, or convert it to an 8-bit PNG.",
        ) from None


def stored_mode(image: Image.Image) -> str:
    """Return Pillow's mode, or the true one where Pillow drops half of 16-bit colours on reading."""
    raw = raw_mode(image)
    if ";16" not in raw or image.mode.startswith("I"):
        return str(image.mode)
    return "LA;16" if raw.startswith("LA") else f"{image.mode};16"


def raw_mode(image: Image.Image) -> str:
    """Return how the pixels lie in the file, as Pillow names it ("RGB;16B"), or an empty string."""
    tiles: list[Any] = getattr(image, "tile", [])
    if not tiles:
        return ""
    args = tiles[0][3]
    raw = args[0] if isinstance(args, tuple) and args else args
    return raw if isinstance(raw, str) else ""


def _inspect(path: Path) -> Header:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return inspect(data)


def _turned_by_pillow(image: Image.Image) -> bool:
    # Pillow turns TIFF files on decoding and gives their size upright before it.
    return isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(0x0112, 1) in (5, 6, 7, 8)


def _too_large(path: Path, size: str, max_pixels: int) -> UserError:
    return UserError(
        f"{path} has {size}.",
        f"At most {max_pixels / 1e6:g} million pixels are read.",
        "Scale it down or cut it into tiles first.",
    )
