"""COCO's run-length code: masks as runs down the columns, zeros first, and its compressed text.

The text keeps each run, from the fourth on as the difference from the one two before it, in
groups of five bits, the lowest first; bit 5 of a character says that more follow, and its
characters begin at 48 ("0").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["counts_of", "runs_of", "spans_of", "text_of"]

Counts = NDArray[np.int64]

_BASE = 48
# Seven groups hold 35 bits, more than any picture has pixels.
_GROUPS = 7


def runs_of(region: NDArray[np.bool_], top: int, left: int, size: tuple[int, int]) -> Counts:
    """Return the runs of a region in an image.

    Args:
        region: `[h, w]` bool.
        top, left: Where it lies in the image, in px.
        size: (H, W) of the image in px.

    Returns:
        `[n]` int64: lengths of the runs of zeros and ones in turn; their sum is H * W.
    """
    height, width = size
    # A frame of zeros above and below each column: every run begins and ends inside its column.
    steps = np.diff(np.pad(region.T.astype(np.int8), ((0, 0), (1, 1))), axis=1)  # [w, h + 1]
    x, y = np.nonzero(steps)
    at = (x + left) * height + y + top  # starts and ends in turn
    # A run down to the last row goes on at the top of the next column.
    ends, starts = at[1:-1:2], at[2::2]
    keep = np.ones(at.size, bool)
    keep[1:-1:2] = keep[2::2] = ends != starts
    whole = np.concatenate(([0], at[keep], [height * width]))
    counts = np.diff(whole)
    # A last run of zeros that is empty is left out; an empty first one has to be there.
    return counts[:-1] if counts.size > 1 and counts[-1] == 0 else counts


def spans_of(counts: Counts, size: tuple[int, int]) -> tuple[Counts, Counts]:
    """Return where the ones begin and end, as indexes down the columns.

    Args:
        counts: Runs as of `runs_of`.
        size: (H, W) of the image in px.

    Raises:
        ValueError: A run is negative, or they do not cover the image exactly. pycocotools decodes
            such runs to whatever was in memory.
    """
    if counts.size == 0 or int(counts.min()) < 0 or int(counts.max()) > size[0] * size[1]:
        raise ValueError("has runs that are negative or longer than the image")
    ends = np.cumsum(counts)
    if int(ends[-1]) != size[0] * size[1]:
        raise ValueError(f"has runs of {int(ends[-1])} pixels for an image of {size[0] * size[1]}")
    starts = ends - counts
    some = counts[1::2] > 0
    return starts[1::2][some], ends[1::2][some]


def text_of(counts: Counts) -> str:
    """Return the compressed text of runs."""
    rest = counts.astype(np.int64)
    rest[3:] -= counts[1:-2]
    letters = np.zeros((rest.size, _GROUPS), np.uint8)
    used = np.zeros((rest.size, _GROUPS), bool)
    more = np.ones(rest.size, bool)
    for k in range(_GROUPS):
        group = rest & 31
        rest >>= 5
        used[:, k] = more
        # What is left is only the sign, which the top bit of the last group stands for.
        more = more & (rest != np.where(group & 16, -1, 0))
        letters[:, k] = group + 32 * more + _BASE
    return letters[used].tobytes().decode("ascii")


def counts_of(text: str) -> Counts:
    """Return the runs of a compressed text.

    Raises:
        ValueError: It is no such text.
    """
    try:
        letters = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - _BASE
    except UnicodeEncodeError:
        raise ValueError("has counts that are no run-length code") from None
    if letters.size == 0 or int(letters.min()) < 0 or int(letters.max()) > 63 or letters[-1] & 32:
        raise ValueError("has counts that are no run-length code, or cut short")
    last = np.flatnonzero(letters < 32)
    first = np.concatenate(([0], last[:-1] + 1))
    if int((last - first).max()) >= _GROUPS:
        raise ValueError("has counts that no picture is large enough for")
    place = np.arange(letters.size) - np.repeat(first, last - first + 1)
    values = np.add.reduceat((letters & 31) << (5 * place), first)
    values -= np.where(letters[last] & 16, np.int64(1) << (5 * (last - first + 1)), 0)
    for begin in (1, 2):
        values[begin::2] = np.cumsum(values[begin::2])
    return values
