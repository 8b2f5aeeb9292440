"""What all results have in common on disk: classes, cells, sizes, and one way to say that a file is damaged."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray

from engine.arrays import read_npz
from engine.errors import UserError

__all__ = ["MAX_SIDE", "check_cells", "check_classes", "load", "size_of"]

MAX_SIDE = 1 << 16

T = TypeVar("T")


def check_classes(classes: Sequence[int]) -> None:
    """Check that 0-based classes ascend and fit a mask.

    Raises:
        ValueError: They do not.
    """
    if any(b <= a for a, b in pairwise((-1, *classes))) or max(classes, default=0) > 253:
        raise ValueError(f"the classes {tuple(classes[:5])} are not ascending indexes from 0 to 253")


def check_cells(cell: float, origin: float) -> None:
    """Check the side and the place of a grid's cells, in px.

    Raises:
        ValueError: They are no cells.
    """
    if not (math.isfinite(cell) and cell > 0 and math.isfinite(origin)):
        raise ValueError(f"cells of {cell} px from {origin} px")


def size_of(value: Any) -> tuple[int, int]:
    """Return (H, W) in px as a file states it.

    Raises:
        ValueError, TypeError: It is no size of an image.
    """
    height, width = (int(v) for v in value)
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise ValueError(f"it claims an image of {height} x {width} px")
    return height, width


def load(
    path: Path,
    kind: str,
    build: Callable[[dict[str, NDArray[Any]], dict[str, Any]], T],
    what: str,
    verb: str,
    again: str = "",
) -> T:
    """Return the result that a file holds.

    Args:
        path: An npz file.
        kind: Which kind of result it must be.
        build: From its arrays and facts to the result; raises where they do not fit together.
        what: What the file should hold, for the message.
        verb: Command that writes such files.
        again: What to do about a damaged one, in a sentence; to run the command again for this image by default.

    Raises:
        FileNotFoundError: There is none.
        UserError: The file is damaged or holds something else.
    """
    arrays, facts = read_npz(path)
    try:
        if facts["kind"] != kind:
            raise ValueError(f"it holds {facts['kind']!r}"[:100])
        return build(arrays, facts)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f"{path} does not hold {what}: {error}.",
            f"Files written by `wsss {verb}` are read.",
            again or f"Run `wsss {verb}` again for this image.",
        ) from None
