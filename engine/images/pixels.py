"""Turn decoded pixels of any mode into upright 8-bit RGB, band by band to keep memory low."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from engine.errors import UserError
from engine.images.opening import ACCEPTED, MAX_PIXELS, decoding, opened, raw_mode, stored_mode

__all__ = ["Picture", "read", "thumbnail", "upright"]

_BAND = 2_000_000
_SAMPLE = 4_000_000
_PERCENTILES = (1, 99)
_INVERSE = {6: 8, 8: 6}
_OTHER_ORDER = "BL" if sys.byteorder == "little" else "LB"
# How to read the low bytes of 16-bit colours, of which Pillow keeps the high ones: in the other
# byte order. Grey with alpha has four bytes per pixel, as 8-bit RGBA has, so it is read as that.
_LOW_BYTES = {
    "LA;16B": "RGBA",
    "RGB;16B": "RGB;16L",
    "RGB;16L": "RGB;16B",
    "RGB;16N": "RGB;16" + _OTHER_ORDER[0],
    "RGBA;16B": "RGBA;16L",
    "RGBA;16L": "RGBA;16B",
    "RGBA;16N": "RGBA;16" + _OTHER_ORDER[0],
}
_SHALLOW = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")


@dataclass(frozen=True, eq=False)
class Picture:
    """An image as the engine sees it.

    Args:
        pixels: `[H, W, 3] uint8` RGB, upright.
        orientation: EXIF orientation as found, 1 to 8; it is applied to `pixels` already.
        mode: Pillow's mode as found, with `;16` where the file has 16 bits per channel.
        frames: Number of frames in the file, of which `pixels` is the first.
        notes: What was done to the pixels beside decoding.
    """

    pixels: NDArray[np.uint8]
    orientation: int
    mode: str
    frames: int
    notes: tuple[str, ...] = ()


def read(path: Path, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Return the pixels of an image file, whatever its form and mode.

    Transparent pixels are laid over white, as viewers show them: the colours stored under
    full transparency are leftovers that nobody who tags the image can see. Opaque pixels stay
    as they are. Grey and colour of more than 8 bits are scaled from the 1st to the 99th
    percentile of the image, over all channels together so that hues stay.

    Raises:
        UserError: No file, no image, damaged, or more than `max_pixels` (half as many for
            16-bit colours, which take twice the memory); the sentence names the file.
    """
    with opened(path, max_pixels) as (image, header):
        mode = stored_mode(image)
        raw = raw_mode(image)
        if raw in _LOW_BYTES and image.width * image.height > max_pixels // 2:
            raise UserError(
                f"{path} has {image.width:,} x {image.height:,} pixels of 16 bits per channel.",
                f"At most {max_pixels / 2e6:g} million such pixels are read.",
                "Scale it down, or save it with 8 bits per channel.",
            )
        if isinstance(image, TiffImagePlugin.TiffImageFile) and _planes_of_16_bits(image):
            raise UserError(
                f"{path} holds its 16-bit colours as separate planes.",
                ACCEPTED,
                "Save it with interleaved channels, or with 8 bits per channel.",
            )
        with decoding(path):
            low = _low_bytes(path, _LOW_BYTES[raw]) if raw in _LOW_BYTES else None
            image.load()
        # Pillow turns TIFF files itself and then forgets their orientation.
        tiff = isinstance(image, TiffImagePlugin.TiffImageFile)
        turn = int(image.tag_v2.get(0x0112, 1)) if tiff else header.orientation
        notes: list[str] = []
        if low is not None or image.mode[0] in "IF":
            pixels = _scaled(image, low, turn, mode, notes)
        elif image.mode in _SHALLOW:
            pixels = _converted(image, turn, notes)
        else:
            raise UserError(
                f"{path} has the colour mode {mode}, which cannot be shown as red, green and blue.",
                ACCEPTED,
                "Convert it to an RGB image.",
            )
        if ";16" in mode and low is None and image.mode[0] not in "IF":
            notes.append("16-bit colours read with their upper 8 bits")
    if header.frames > 1:
        notes.append(f"first of {header.frames:,} frames")
    return Picture(pixels, header.orientation, mode, header.frames, tuple(notes))


def thumbnail(path: Path, side: int, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Return a small upright picture, `[h, w, 3] uint8` with no side above `side`, never enlarged.

    JPEG files are decoded at a half, a quarter or an eighth of their size, which is several
    times faster than `read`.

    Raises:
        UserError: As `read`.
    """
    with opened(path, max_pixels) as (image, header):
        if image.format in ("JPEG", "MPO") and image.mode in ("L", "RGB"):
            with decoding(path):
                image.thumbnail((side, side), Image.Resampling.BILINEAR)
                return np.ascontiguousarray(upright(np.asarray(image.convert("RGB")), header.orientation))
    small = Image.fromarray(read(path, max_pixels=max_pixels).pixels)
    small.thumbnail((side, side), Image.Resampling.BILINEAR)
    return np.array(small)


def upright(stored: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return a view of `[H, W, ...]` pixels turned as their EXIF orientation (1 to 8) asks."""
    match orientation:
        case 2:
            return stored[:, ::-1]
        case 3:
            return stored[::-1, ::-1]
        case 4:
            return stored[::-1]
        case 5:
            return stored.swapaxes(0, 1)
        case 6:
            return stored[::-1].swapaxes(0, 1)
        case 7:
            return stored[::-1, ::-1].swapaxes(0, 1)
        case 8:
            return stored[:, ::-1].swapaxes(0, 1)
        case _:
            return stored


def _planes_of_16_bits(image: TiffImagePlugin.TiffImageFile) -> bool:
    # Pillow decodes such files into noise without a word.
    return image.tag_v2.get(284, 1) == 2 and any(bits > 8 for bits in image.tag_v2.get(258, ()))


def _low_bytes(path: Path, raw: str) -> Image.Image:
    with opened(path) as (image, _):
        for i, tile in enumerate(image.tile):
            args = (raw, *tile[3][1:]) if isinstance(tile[3], tuple) else raw
            image.tile[i] = tile._replace(args=args)
        image.load()
        return image


def _blank(image: Image.Image, turn: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return empty upright pixels, and a view of them in the order of the stored ones."""
    width, height = image.size
    shape = (width, height, 3) if turn >= 5 else (height, width, 3)
    pixels = np.empty(shape, np.uint8)
    return pixels, upright(pixels, _INVERSE.get(turn, turn))


def _bands(image: Image.Image) -> Iterator[tuple[int, int, tuple[int, int, int, int]]]:
    width, height = image.size
    step = max(1, _BAND // width)
    for top in range(0, height, step):
        end = min(height, top + step)
        yield top, end, (0, top, width, end)


def _converted(image: Image.Image, turn: int, notes: list[str]) -> NDArray[np.uint8]:
    pixels, stored = _blank(image, turn)
    has_alpha = image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info
    clear = False
    for top, end, box in _bands(image):
        band = image.crop(box)
        if has_alpha:
            rgba = np.asarray(band.convert("RGBA"))
            clear |= bool((rgba[..., 3] < 255).any())
            stored[top:end] = _over_white(rgba[..., :3], rgba[..., 3])
        else:
            stored[top:end] = np.asarray(band.convert("RGB"))
    if clear:
        notes.append("transparent pixels laid over white")
    return pixels


def _scaled(
    image: Image.Image, low: Image.Image | None, turn: int, mode: str, notes: list[str]
) -> NDArray[np.uint8]:
    pixels, stored = _blank(image, turn)
    thin = max(1, int(np.ceil(np.sqrt(image.width * image.height / _SAMPLE))))
    parts = []
    for top, _, box in _bands(image):
        values, _ = _deep(image, low, mode, box)
        parts.append(values[-top % thin :: thin, ::thin].ravel())
    sample = np.concatenate(parts)
    sample = sample[np.isfinite(sample)]
    bottom, peak = np.percentile(sample, _PERCENTILES) if sample.size else (0.0, 1.0)
    if peak <= bottom and sample.size:  # a few bright spots on a flat ground
        bottom, peak = float(sample.min()), float(sample.max())
    scale = 255.0 / (peak - bottom) if peak > bottom else 0.0
    clear = False
    for top, end, box in _bands(image):
        values, alpha = _deep(image, low, mode, box)
        finite = np.nan_to_num(values.astype(np.float64), nan=bottom, posinf=peak, neginf=bottom)
        grey = (finite - bottom) * scale
        colours = np.broadcast_to((grey.clip(0, 255) + 0.5).astype(np.uint8), (*values.shape[:2], 3))
        if alpha is not None:
            clear |= bool((alpha < 255).any())
            colours = _over_white(colours, alpha)
        stored[top:end] = colours
    kind = {"F": "floating-point", "I": "32-bit"}.get(mode, "16-bit")
    notes.append(f"{kind} scaled from the 1st to the 99th percentile ({bottom:g} to {peak:g})")
    if clear:
        notes.append("transparent pixels laid over white")
    return pixels


def _deep(
    image: Image.Image, low: Image.Image | None, mode: str, box: tuple[int, int, int, int]
) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    """Return a band's values `[h, w, 1 or 3]` at full depth, and its alpha `[h, w] uint8` if it has one."""
    high = np.asarray(image.crop(box))
    if low is None:
        return high[..., None], None
    least = np.asarray(low.crop(box))
    if mode == "LA;16":
        return (least[..., :1].astype(np.uint16) << 8) | least[..., 1:2], high[..., 3]
    values = (high[..., :3].astype(np.uint16) << 8) | least[..., :3]
    return values, high[..., 3] if high.shape[2] == 4 else None


def _over_white(colours: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    share = alpha[..., None].astype(np.uint16)
    # At most 255 * 255 + 127, which just fits 16 bits.
    mixed: NDArray[np.uint8] = ((colours * share + 255 * (255 - share) + 127) // 255).astype(np.uint8)
    return mixed
