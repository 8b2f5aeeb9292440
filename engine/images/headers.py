"""Walk the block structure of an image file before a decoder may see it.

Decoders loop over blocks, tags and scans as often as the file tells them to, and some keep
all they find, so that a small file can take minutes or gigabytes although its picture is small.
Here the blocks are only counted, in a mapped file, and the two facts that decoders disagree
about are read once: the EXIF orientation and the number of frames.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from mmap import mmap

from engine.images.ifd import TooMuch, orientation_of, walk_tiff

__all__ = ["Header", "TooMuch", "inspect"]

Buffer = bytes | mmap

_MAX_BLOCKS = 100_000
_MAX_EXTRAS = 4_096
_MAX_PIECES = 2_000_000
_MAX_GAP = 65_536
_MAX_SCANS = 100
# Pixels x scans: about five seconds of decoding. Encoders write ten scans, whatever the size.
_MAX_SCANNED, _USUAL_SCANS = 600_000_000, 20


@dataclass(frozen=True)
class Header:
    """What the blocks tell: the orientation (1 to 8) and the frames (in TIFF and GIF at most 1000)."""

    orientation: int = 1
    frames: int = 1


def inspect(data: Buffer) -> Header:
    """Return the header facts of a JPEG, PNG, TIFF, WebP or GIF; of any other file the defaults.

    A file that is cut short gives what was found before the cut; the decoder will complain.

    Raises:
        TooMuch: It has more blocks, tags or scans than a photograph needs.
    """
    start = data[:12]
    for magic, walk in _WALKS:
        if start.startswith(magic):
            try:
                return walk(data)
            except (struct.error, IndexError):
                return Header()
    return Header()


def _walk_png(data: Buffer) -> Header:
    at, frames, orientation, extras = 8, 1, 1, 0
    for _ in range(_MAX_BLOCKS):
        if at + 8 > len(data):
            return Header(orientation, frames)
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"eXIf":
            orientation = orientation_of(data[at + 8 : at + 8 + length])
        elif kind == b"acTL" and length >= 4:
            frames = max(1, struct.unpack_from(">I", data, at + 8)[0])
        elif kind == b"IEND":
            return Header(orientation, frames)
        extras += kind not in (b"IDAT", b"fdAT", b"fcTL")
        if extras > _MAX_EXTRAS:
            break
        at += 12 + length
    raise TooMuch("has too many PNG chunks")


def _walk_jpeg(data: Buffer) -> Header:
    at, gap, exif, pixels = 2, 0, b"", 0
    for _ in range(_MAX_EXTRAS):
        # Between segments a decoder skips any bytes, one at a time.
        found = data.find(b"\xff", at)
        end = len(data) if found < 0 else found
        while end + 1 < len(data) and data[end + 1] == 0xFF and end - at <= _MAX_GAP:
            end += 1
        gap += end - at
        if gap > _MAX_GAP:
            raise TooMuch("has more padding than JPEG segments")
        if end + 1 >= len(data):
            break
        marker = data[end + 1]
        at = end + 2
        if marker in (0x00, 0x01, 0xD8) or 0xD0 <= marker <= 0xD7:
            continue
        if marker in (0xD9, 0xDA):
            _check_scans(data, at, pixels)
            return Header(orientation_of(exif))
        length = struct.unpack_from(">H", data, at)[0]
        if marker == 0xE1 and data[at + 2 : at + 8] == b"Exif\0\0":
            exif += data[at + 8 : at + length]  # long blocks go on in further segments
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 3)
            pixels = height * width
        at += max(2, length)
    else:
        raise TooMuch("has too many JPEG segments")
    return Header(orientation_of(exif))


def _check_scans(data: Buffer, at: int, pixels: int) -> None:
    scans = 1
    while (at := data.find(b"\xff\xda", at) + 2) > 1:
        scans += 1
        if scans > _MAX_SCANS or scans * pixels > max(_MAX_SCANNED, _USUAL_SCANS * pixels):
            raise TooMuch("has too many JPEG scans")


def _walk_webp(data: Buffer) -> Header:
    if data[8:12] != b"WEBP":
        return Header()
    at, frames, orientation = 12, 0, 1
    for _ in range(_MAX_BLOCKS):
        if at + 8 > len(data):
            return Header(orientation, max(1, frames))
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind == b"EXIF":
            orientation = orientation_of(data[at + 8 : at + 8 + length])
        frames += kind == b"ANMF"
        at += 8 + length + length % 2
    raise TooMuch("has too many WebP chunks")


def _walk_gif(data: Buffer) -> Header:
    at, frames, pieces = 13 + _palette(data[10]), 0, 0
    for _ in range(_MAX_BLOCKS):
        kind = data[at] if at < len(data) else 0x3B
        if kind == 0x3B:
            break
        if kind == 0x2C:
            frames += 1
            if frames == 1000:
                break
            at += 11 + _palette(data[at + 9])
        elif kind == 0x21:
            at += 2
        else:
            at += 1
            continue
        while at < len(data) and data[at]:
            at += 1 + data[at]
            pieces += 1
            # Comments before the first frame are gathered piece by piece, in quadratic time.
            if pieces > _MAX_EXTRAS and not frames:
                raise TooMuch("has too many GIF blocks")
            if pieces > _MAX_PIECES:
                return Header(1, frames)
        at += 1
    return Header(1, max(1, frames))


def _palette(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _walk_ifds(data: Buffer) -> Header:
    return Header(*walk_tiff(data))


_WALKS: tuple[tuple[bytes, Callable[[Buffer], Header]], ...] = (
    (b"\x89PNG\r\n\x1a\n", _walk_png),
    (b"\xff\xd8\xff", _walk_jpeg),
    (b"RIFF", _walk_webp),
    (b"GIF8", _walk_gif),
    *((order + mark, _walk_ifds) for order in (b"II", b"MM") for mark in (b"*\0", b"\0*", b"+\0", b"\0+")),
)
