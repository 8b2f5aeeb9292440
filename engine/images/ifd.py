"""Count what the tag directories of a TIFF file or an EXIF block hold, and read the orientation."""

from __future__ import annotations

import struct
from mmap import mmap

__all__ = ["TooMuch", "orientation_of", "walk_tiff"]

Buffer = bytes | mmap

_MAX_TAGS = 4_096
_MAX_HELD = 128 * 2**20
_MAX_DIRECTORIES = 1_000
_ORIENTATION = 0x0112
_SUB_DIRECTORIES = (0x8769, 0x8825, 0xA005)  # EXIF, GPS, interoperability
# Bytes per value of each kind from 1 on; 14 and 15 are not defined.
_SIZES = dict(enumerate((1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 1, 1, 8, 8, 8), 1))


class TooMuch(Exception):
    """The file has more of something than a photograph needs; the text goes on after its name."""


def orientation_of(exif: bytes) -> int:
    """Return the orientation 1 to 8 that an EXIF block states, or 1 if it states none.

    Raises:
        TooMuch: Its tags hold more than a decoder should gather.
    """
    try:
        return walk_tiff(exif.removeprefix(b"Exif\0\0"))[0]
    except (struct.error, IndexError):
        return 1


def walk_tiff(data: Buffer) -> tuple[int, int]:
    """Return (orientation of the first image, number of images up to 1000) of a TIFF structure.

    Raises:
        TooMuch: More tags, or more bytes in tags, than a decoder should gather: several tags
            may point at the same hundred megabytes.
        struct.error: The structure is cut short.
    """
    if data[:2] not in (b"II", b"MM"):
        return 1, 1
    order = "<" if data[:2] == b"II" else ">"
    big = 43 in (data[2], data[3])
    walk = _Walk(data, order, big)
    at = walk.pointer(8 if big else 4)
    walk.directory(at, top=True)
    seen: set[int] = set()
    while at and at not in seen and len(seen) < _MAX_DIRECTORIES:
        seen.add(at)
        try:
            at = walk.following(at)
        except struct.error:
            break  # many EXIF blocks end without a pointer to the next directory
    return walk.orientation, max(1, len(seen))


class _Walk:
    def __init__(self, data: Buffer, order: str, big: bool) -> None:
        self.data = data
        self.order = order
        self.big = big
        self.orientation = 1
        self.tags = 0
        self.held = 0
        self.seen: set[int] = set()

    def read(self, form: str, at: int) -> tuple[int, ...]:
        return struct.unpack_from(self.order + form, self.data, at)

    def pointer(self, at: int) -> int:
        return self.read("Q" if self.big else "I", at)[0]

    def following(self, at: int) -> int:
        """Return where the directory after the one at `at` begins; 0 is nowhere."""
        start, step = (at + 8, 20) if self.big else (at + 2, 12)
        count = self.read("Q" if self.big else "H", at)[0]
        if count > _MAX_TAGS:
            raise TooMuch("has too many tags")
        return self.pointer(start + step * count)

    def directory(self, at: int, *, top: bool = False) -> None:
        """Add up the tags of one directory and of those below it."""
        if at in self.seen:
            return
        self.seen.add(at)
        count = self.read("Q" if self.big else "H", at)[0]
        start, step, inline = (at + 8, 20, 8) if self.big else (at + 2, 12, 4)
        self.tags += count
        if self.tags > _MAX_TAGS:
            raise TooMuch("has too many tags")
        for entry in range(start, start + step * count, step):
            tag, kind = self.read("HH", entry)
            number = self.pointer(entry + 4)
            value = entry + step - inline
            size = number * _SIZES.get(kind, 1)
            if size > inline:
                # A broken tag may claim any size; a decoder gets what the file holds from there on.
                self.held += max(0, min(size, len(self.data) - self.pointer(value)))
            if self.held > _MAX_HELD:
                raise TooMuch("has tags that hold too much")
            if tag == _ORIENTATION and top and kind in (3, 4):
                stated = self.read("H" if kind == 3 else "I", value)[0]
                self.orientation = stated if 1 <= stated <= 8 else 1
            elif tag in _SUB_DIRECTORIES:
                try:
                    self.directory(self.pointer(value))
                except struct.error:
                    continue  # a sub-directory outside the block: decoders pass over it as well
