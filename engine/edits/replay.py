"""Bring an image's mask to its cursor from what is whole: the mask file, the journal, or both."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.edits.delta import BrokenStep
from engine.edits.masks import Written
from engine.edits.rows import Row, approvals, base_pixels, chain_at, delta_of, parent_of, parents, step_of
from engine.edits.sheet import Mask, Step

__all__ = ["Replayed", "decided_at", "history_of", "moves_to", "path_to", "replay", "route", "walk"]

# Steps that say nothing of a pixel: the engine's word, and classes that mean something else from then on.
_NOT_DECIDED = ("adopt", "merge", "part")


@dataclass(frozen=True)
class Replayed:
    """A mask brought as near to the cursor as can be verified.

    Attributes:
        mask: [H, W] uint8.
        step: The step it is at; the cursor's unless something is damaged.
        fault: Why it is not at the cursor, as a sentence; otherwise empty.
        ahead: Pixels of a whole mask file that the journal does not know, or cannot get to any more.
    """

    mask: Mask
    step: int | None
    fault: str = ""
    ahead: Mask | None = None


def replay(base: sqlite3.Connection, row: Row, written: Written | None) -> Replayed:
    """Return the mask at an image's cursor.

    The file is the start where the journal knows it, which is quick; every step from there is
    verified against the pixels. Otherwise the start is the base in the journal.

    Raises:
        BrokenStep: Neither the file nor the journal can give a mask.
    """
    tree = parents(base, row.stem)
    known = written is not None and written.chain == _chain(base, row, written.step, tree)
    if written is not None and known:
        mask = written.mask.copy()
        with contextlib.suppress(BrokenStep):  # the way from the base is tried, and told of, below
            walk(base, row, mask, route(tree, written.step, row.cursor))
            return Replayed(mask, row.cursor)
    whole = None if written is None else written.mask
    if row.base is None:
        raise BrokenStep("it has no start")
    try:
        mask, _ = base_pixels(base, row.base, (row.height, row.width))
    except BrokenStep:
        if whole is None:
            raise
        return Replayed(whole.copy(), row.cursor, "The mask that the corrections began with is damaged.")
    way, fault = _nearest_way(tree, row.cursor)
    at: int | None = None
    for step in way:
        try:
            walk(base, row, mask, [(step, True)])
        except BrokenStep as broken:
            fault = f"Step {step} in the journal cannot be applied: {broken}."
            break
        at = step
    if fault:
        # A file that shows a step on the way to here is older than this mask, and nothing is lost with it.
        older = (
            known and written is not None and (written.step is None or written.step in way[: _place(way, at)])
        )
        return Replayed(mask, at, fault, None if older else whole)
    if written is not None and not known and written.chain not in ("", row.png):
        # Written by us, and no step of this journal: the journal is an older copy than the masks.
        return Replayed(mask, at, "", None if np.array_equal(mask, written.mask) else whole)
    return Replayed(mask, at)


def _nearest_way(tree: dict[int, int | None], cursor: int | None) -> tuple[list[int], str]:
    """Return (the way to the cursor, nothing), or (the way to the newest step that has one, why)."""
    try:
        return path_to(tree, cursor), ""
    except BrokenStep as broken:
        fault = f"The journal does not lead to step {cursor}: {broken}."
    for step in sorted(tree, reverse=True):
        with contextlib.suppress(BrokenStep):
            return path_to(tree, step), fault
    return [], fault


def _place(way: list[int], step: int | None) -> int:
    return 0 if step is None else way.index(step) + 1


def _chain(base: sqlite3.Connection, row: Row, step: int | None, tree: dict[int, int | None]) -> str:
    if step is None:
        return row.origin
    return chain_at(base, step) if step in tree else "-"


def path_to(tree: dict[int, int | None], step: int | None) -> list[int]:
    """Return the steps from the very start to `step`, in order.

    Raises:
        BrokenStep: A step on the way is gone.
    """
    path: list[int] = []
    while step is not None:
        # A step's parent is older; anything else would be a ring.
        if step not in tree or (path and step >= path[-1]):
            raise BrokenStep(f"step {step} is gone")
        path.append(step)
        step = tree[step]
    return path[::-1]


def route(tree: dict[int, int | None], start: int | None, end: int | None) -> list[tuple[int, bool]]:
    """Return (step, whether it is done or undone) from one step to another, over their common one."""
    if start == end:
        return []
    back, on = path_to(tree, start), path_to(tree, end)
    common = 0
    while common < min(len(back), len(on)) and back[common] == on[common]:
        common += 1
    return [*((step, False) for step in reversed(back[common:])), *((step, True) for step in on[common:])]


def moves_to(
    base: sqlite3.Connection, stem: str, start: int | None, end: int | None
) -> list[tuple[int, bool]]:
    """Return `route` of an image's steps; of neighbours without reading thousands of others.

    Raises:
        BrokenStep: A step on the way is gone.
    """
    if start is not None and parent_of(base, stem, start) == end:
        return [(start, False)]
    if end is not None and parent_of(base, stem, end) == start:
        return [(end, True)]
    return route(parents(base, stem), start, end)


def walk(base: sqlite3.Connection, row: Row, mask: Mask, moves: Iterable[tuple[int, bool]]) -> None:
    """Do and undo steps on a mask, in place.

    Raises:
        BrokenStep: One cannot be applied; the mask is somewhere on the way.
    """
    for step, forward in moves:
        (y0, x0, y1, x1), delta = delta_of(base, step, row)
        delta.apply(mask[y0:y1, x0:x1], forward=forward)


def decided_at(
    base: sqlite3.Connection,
    row: Row,
    cursor: int | None,
    known: tuple[int | None, NDArray[np.bool_]] | None,
) -> NDArray[np.bool_]:
    """Return [H, W] bool: pixels that a person set on the way to the cursor.

    Adopting a proposal is the engine's word, and merging classes none about pixels; reverting takes back all that was decided; approving
    decides every pixel, also when the image is reopened later.

    Args:
        base, row: The journal and the image's row.
        cursor: The step.
        known: A (cursor, answer) from before; used where it lies on the way.
    """
    way: list[int | None] = [None, *path_to(parents(base, row.stem), cursor)]
    found = base.execute("SELECT id, tool, proposal FROM steps WHERE stem=?", (row.stem,)).fetchall()
    facts = {step: (tool, proposal) for step, tool, proposal in found}
    approved = approvals(base, row.stem)
    answer = np.full((row.height, row.width), bool(row.recovered))
    if known is not None and known[0] in way:
        answer, way = known[1].copy(), way[way.index(known[0]) + 1 :]
    for step in way:
        tool, proposal = facts.get(step, ("", None))
        if tool == "revert":
            answer[...] = bool(row.recovered) and proposal is None
        elif step is not None and tool not in _NOT_DECIDED:
            (y0, x0, y1, x1), delta = delta_of(base, step, row)
            delta.mark(answer[y0:y1, x0:x1])
        if step in approved:
            answer[...] = True
    return answer


def history_of(base: sqlite3.Connection, row: Row) -> list[Step]:
    """Return the way to an image's cursor, oldest first, and the way that redo would go (`done` false).

    Raises:
        BrokenStep: A step on the way is gone or makes no sense.
    """
    tree = parents(base, row.stem)
    newest = {parent: step for step, parent in tree.items()}  # oldest first, so the newest child stays
    way = path_to(tree, row.cursor)
    steps = [step_of(base, number, done=True) for number in way]
    at = row.cursor
    while (at := newest.get(at)) is not None:
        steps.append(step_of(base, at, done=False))
    return steps
