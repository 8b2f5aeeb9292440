"""Which merges of classes the corrected masks follow, as the journal says it, and the pixels of one.

A merge is in the journal before the first mask changes, and leaves it after the last one was
changed back: whatever is killed when, the next opening knows what is left to do.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.edits.delta import BrokenStep
from engine.edits.replay import path_to
from engine.edits.rows import Row, delta_of, image_row, parents
from engine.edits.sheet import Mask
from engine.errors import UserError

__all__ = ["MERGE", "PART", "Followed", "followed_in", "put_followed", "taken_back"]

#: Tools of the steps that follow a merge, and its end.
MERGE, PART = "merge", "part"
_KEY = "merges"


@dataclass(frozen=True)
class Followed:
    """A merge that corrected masks follow.

    Attributes:
        id: As in wsss.toml; the batch of its steps.
        old, into: Values in masks.
        left: Images whose masks are still to be changed.
    """

    id: str
    old: int
    into: int
    left: tuple[str, ...] = ()


def followed_in(base: sqlite3.Connection) -> list[Followed]:
    """Return the merges that the masks follow, oldest first."""
    found = base.execute("SELECT value FROM facts WHERE key=?", (_KEY,)).fetchone()
    try:
        rows = [] if found is None else json.loads(found[0])
        return [
            Followed(str(n), _value(old), _value(into), tuple(map(str, left))) for n, old, into, left in rows
        ]
    except (TypeError, ValueError) as fault:
        # A journal may come from anybody.
        error = sqlite3.DatabaseError(f"what it says of merged classes makes no sense ({fault})")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error from None


def put_followed(base: sqlite3.Connection, followed: list[Followed]) -> None:
    """Write the merges that the masks follow."""
    rows = [[f.id, f.old, f.into, list(f.left)] for f in followed]
    base.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (_KEY, json.dumps(rows)))


def taken_back(base: sqlite3.Connection, stem: str, mask: Mask, merge: Followed) -> Mask:
    """Return a mask without a merge: what it changed, and no later step since, is the old class again.

    Args:
        base: The journal.
        stem: The image.
        mask: [H, W] uint8 at its cursor.
        merge: The merge; where it changed nothing, the mask is returned as it is.

    Raises:
        UserError: A step on the way is gone or damaged.
    """
    row = image_row(base, stem)
    if row is None:
        return mask
    try:
        where = _merged_pixels(base, row, merge.id) & (mask == merge.into)  # [H, W]
    except BrokenStep as broken:
        raise UserError(
            f"The merge cannot be taken back on {stem}: {broken}.",
            "The steps of an image say which pixels a merge changed.",
            "Open the image on the Correct page and paint the class again where it is.",
        ) from None
    return np.where(where, np.uint8(merge.old), mask)


def _merged_pixels(base: sqlite3.Connection, row: Row, merge: str) -> NDArray[np.bool_]:
    """Return [H, W] bool: what a merge changed on the way to the cursor, and no later step since."""
    answer = np.zeros((row.height, row.width), np.bool_)
    found = base.execute("SELECT id FROM steps WHERE stem=? AND batch=? AND tool=?", (row.stem, merge, MERGE))
    way = path_to(parents(base, row.stem), row.cursor)
    of_merge = {step for (step,) in found.fetchall()}.intersection(way)
    if not of_merge:
        return answer
    for step in way[way.index(min(of_merge)) :]:
        (y0, x0, y1, x1), delta = delta_of(base, step, row)
        changed = np.zeros((y1 - y0, x1 - x0), np.bool_)
        delta.mark(changed)
        answer[y0:y1, x0:x1] &= ~changed
        if step in of_merge:
            answer[y0:y1, x0:x1] |= changed
    return answer


def _value(value: object) -> int:
    if type(value) is not int or not 0 < value < 255:
        raise ValueError(f"{str(value)[:40]} is no class")
    return value
