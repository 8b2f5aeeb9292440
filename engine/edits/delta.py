"""The change of a mask within a box, both ways: which pixels, what they were, what they became.

A delta is verified against the pixels it is applied to, so that a history can be wrong only
loudly. Layout before compression (zlib, level 1): one byte of flags, the changed-pixel bits of
the box row by row, the values before, the values after; values that are all the same are one
byte. Where a good part of the box changed there are no bits, and the values are those of the
whole box: picking four million pixels out of a mask takes longer than copying all of it.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.edits.sheet import Box, Mask

__all__ = ["BrokenStep", "Delta", "pack", "unpack"]

_WHOLE, _ONE_BEFORE, _ONE_AFTER = 1, 2, 4
# Share of the box from which on it is kept whole; measured on 2048 x 2048 px, where both cost the same.
_DENSE = 0.1


class BrokenStep(Exception):
    """A step cannot be applied; the text says why, as the end of a sentence."""


@dataclass(frozen=True)
class Delta:
    """A change within a box of h x w px.

    Attributes:
        changed: [h, w] bool, or None where the values are those of the whole box.
        before, after: [n] or [1] uint8: values of the changed pixels (or of all) in row order, or
            the one that they share.
    """

    shape: tuple[int, int]
    changed: NDArray[np.bool_] | None
    before: Mask
    after: Mask

    def apply(self, region: Mask, *, forward: bool = True) -> None:
        """Change the pixels of the box in place, forward or back.

        Args:
            region: [h, w] uint8, the box's pixels (a view).
            forward: Whether to do the step, or to undo it.

        Raises:
            BrokenStep: The pixels are not those that the step was made on; nothing is changed.
        """
        if 0 in self.shape:
            return
        have, give = (self.before, self.after) if forward else (self.after, self.before)
        if self.changed is None:
            same = bool((region == self._boxed(have)).all())
        elif len(have) == 1:
            same = not bool(((region != have[0]) & self.changed).any())
        else:
            same = bool(np.array_equal(region[self.changed], have))
        if not same:
            raise BrokenStep("the mask is another one than it was made on")
        if self.changed is None:
            region[...] = self._boxed(give)
        elif len(give) == 1:
            np.copyto(region, give[0], where=self.changed)
        else:
            region[self.changed] = give

    def mark(self, region: NDArray[np.bool_]) -> None:
        """Set the changed pixels in a bool region of the box's size."""
        if 0 in self.shape:
            return
        region |= (
            self._boxed(self.before) != self._boxed(self.after) if self.changed is None else self.changed
        )

    def _boxed(self, values: Mask) -> Mask:
        return values.reshape(self.shape) if len(values) > 1 else values.reshape(1, 1)


def pack(before: Mask, after: Mask) -> tuple[Box, int, bytes] | None:
    """Return (smallest box within these pixels, number of changed pixels, delta), or None without a change.

    Args:
        before, after: [h, w] uint8 of one size.
    """
    changed = before != after
    rows = np.flatnonzero(changed.any(axis=1))
    if not len(rows):
        return None
    y0, y1 = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(changed[y0:y1].any(axis=0))
    x0, x1 = int(columns[0]), int(columns[-1]) + 1
    changed = changed[y0:y1, x0:x1]
    pixels = int(np.count_nonzero(changed))
    dense = pixels >= _DENSE * changed.size
    flags, parts = (_WHOLE, []) if dense else (0, [np.packbits(changed).tobytes()])
    for mask, one in ((before, _ONE_BEFORE), (after, _ONE_AFTER)):
        region = mask[y0:y1, x0:x1]
        values = region.ravel() if dense else region[changed]
        if (values == values[0]).all():
            flags, values = flags | one, values[:1]
        parts.append(values.tobytes())
    data = zlib.compress(b"".join((bytes((flags,)), *parts)), 1)
    return (y0, x0, y1, x1), pixels, data


def unpack(data: bytes, shape: tuple[int, int], pixels: int) -> Delta:
    """Return the delta that `pack` made.

    Args:
        data: Its bytes.
        shape: (h, w) of its box.
        pixels: How many pixels changed.

    Raises:
        BrokenStep: The bytes are damaged, or do not fit the box.
    """
    size = shape[0] * shape[1]
    if not (size or pixels or data):  # a step that changed no pixel: a proposal was adopted
        return Delta(shape, None, np.zeros(0, np.uint8), np.zeros(0, np.uint8))
    longest = 1 + (size + 7) // 8 + 2 * size
    stream = zlib.decompressobj()
    try:
        # The journal may come from anybody: what it unpacks to is bounded by its box.
        raw = stream.decompress(data, longest + 1)
    except zlib.error as error:
        raise BrokenStep(f"its bytes are damaged ({error})") from None
    if not raw or not stream.eof or len(raw) > longest:
        raise BrokenStep("its bytes are cut short or too many")
    flags, at, n = raw[0], 1, size
    changed: NDArray[np.bool_] | None = None
    if not flags & _WHOLE:
        at += (size + 7) // 8
        bits = np.frombuffer(raw[1:at], np.uint8)
        if len(bits) != at - 1:
            raise BrokenStep("its bytes are cut short")
        changed = np.unpackbits(bits, count=size).view(np.bool_).reshape(shape)
        n = int(np.count_nonzero(changed))
        if n != pixels:
            raise BrokenStep("it does not fit its box")
    before_n, after_n = (1 if flags & one else n for one in (_ONE_BEFORE, _ONE_AFTER))
    values = np.frombuffer(raw, np.uint8, offset=at)
    if not 0 < pixels <= size or len(values) != before_n + after_n:
        raise BrokenStep("it does not fit its box")
    return Delta(shape, changed, values[:before_n], values[before_n:])
