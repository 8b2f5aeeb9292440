"""The rows of a journal, read and written; no pixels are changed here."""

from __future__ import annotations

import enum
import hashlib
import json
import sqlite3
import struct
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

import numpy as np

from engine.edits.delta import BrokenStep, Delta, unpack
from engine.edits.masks import pixel_hash
from engine.edits.sheet import STATES, Box, Event, Mask, Step
from engine.names import quote

__all__ = [
    "GONE",
    "Row",
    "add_base",
    "add_event",
    "add_step",
    "approvals",
    "base_pixels",
    "chain_at",
    "chain_of",
    "delta_of",
    "events_of",
    "image_row",
    "newest_child",
    "origin_of",
    "pack_base",
    "parent_of",
    "parents",
    "proposal_at",
    "put_row",
    "step_of",
]

_STEP = "id, stem, parent, name, tool, params, y0, x0, y1, x1, pixels, who, made, batch"


@dataclass
class Row:
    """What the journal knows of one image; the fields are its columns.

    `base` is None until the first step; `origin` is the chain of the very start; `png` the chain that the
    mask file was last written with, or read with when it became the base.
    """

    stem: str
    height: int
    width: int
    sha256: str
    base: int | None = None
    proposal: int | None = None
    cursor: int | None = None
    origin: str = ""
    recovered: int = 0
    state: str = "unseen"
    note: str = ""
    seconds: float = 0.0
    png: str = ""
    generation: int = 0


_COLUMNS = tuple(Row.__dataclass_fields__)
_MAYBE = (int, type(None))
_KINDS: tuple[type | tuple[type, ...], ...] = (
    str,
    int,
    int,
    str,
    _MAYBE,
    _MAYBE,
    _MAYBE,
    str,
    int,
    str,
    str,
    (int, float),
    str,
    int,
)
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM images WHERE stem=?"
_REPLACE = f"INSERT OR REPLACE INTO images({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"


def image_row(base: sqlite3.Connection, stem: str) -> Row | None:
    """Return what is known of an image, or None."""
    found = base.execute(_SELECT, (stem,)).fetchone()
    if found is None:
        return None
    # SQLite holds any kind of value in any column, and a journal may come from anybody.
    if not all(isinstance(value, kind) for value, kind in zip(found, _KINDS, strict=True)):
        error = sqlite3.DatabaseError(f"the row of {quote(stem)} makes no sense")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error
    row = Row(*found)
    row.state = row.state if row.state in STATES else "damaged"
    return row


def put_row(base: sqlite3.Connection, row: Row) -> None:
    """Write what is known of an image."""
    base.execute(_REPLACE, tuple(getattr(row, name) for name in _COLUMNS))


def pack_base(mask: Mask) -> tuple[str, bytes]:
    """Return (SHA-256, bytes) of a whole mask as `add_base` takes it."""
    return pixel_hash(mask), zlib.compress(np.ascontiguousarray(mask).data, 1)


def add_base(
    base: sqlite3.Connection, stem: str, source: str, facts: Mapping[str, Any], packed: tuple[str, bytes]
) -> int:
    """Keep a whole mask (a start, or a proposal) and return its number."""
    found = base.execute(
        "INSERT INTO bases(stem, source, facts, sha256, made, pixels) VALUES (?, ?, ?, ?, ?, ?)",
        (stem, source, json.dumps(facts, ensure_ascii=False), packed[0], time.time(), packed[1]),
    )
    return int(found.lastrowid or 0)


def base_pixels(base: sqlite3.Connection, number: int, size: tuple[int, int]) -> tuple[Mask, str]:
    """Return (mask, source) of a whole mask that the journal keeps.

    Raises:
        BrokenStep: It is gone or damaged.
    """
    found = base.execute("SELECT pixels, sha256, source FROM bases WHERE id=?", (number,)).fetchone()
    if found is None:
        raise BrokenStep("the mask it began with is gone")
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(found[0], size[0] * size[1] + 1)
    except (zlib.error, TypeError) as error:
        raise BrokenStep(f"the mask it began with is damaged ({error})") from None
    if len(raw) != size[0] * size[1]:
        raise BrokenStep("the mask it began with has another size")
    mask = np.frombuffer(raw, np.uint8).reshape(size).copy()
    if pixel_hash(mask) != found[1]:
        raise BrokenStep("the mask it began with is damaged")
    return mask, str(found[2])


def add_step(
    base: sqlite3.Connection,
    row: Row,
    *,
    name: str,
    tool: str,
    params: Mapping[str, Any],
    box: Box,
    pixels: int,
    delta: bytes,
    proposal: int | None,
    who: str,
    batch: str,
    session: int,
) -> Step:
    """Add a step after the image's cursor and return it; the row itself is not written."""
    before = row.origin if row.cursor is None else chain_at(base, row.cursor)
    text = json.dumps(dict(params), ensure_ascii=False, default=_plain)
    when = time.time()
    found = base.execute(
        "INSERT INTO steps(stem, parent, name, tool, params, y0, x0, y1, x1, pixels, chain, proposal, who,"
        " made, batch, session, delta) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(row.stem, row.cursor, name, tool, text, *box, pixels, chain_of(before, box, delta)),
            *(proposal, who, when, batch, session, delta),
        ),
    )
    number = int(found.lastrowid or 0)
    return Step(
        number, row.stem, row.cursor, name, tool, json.loads(text), box, pixels, who, when, batch, True
    )


def origin_of(journal: str, row: Row, pixels: str) -> str:
    """Return the chain of an image's very start: of this journal, so that step 7 of another is not step 7."""
    text = f"{journal}/{row.stem}/{row.height}x{row.width}/{pixels}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def chain_of(before: str, box: Box, delta: bytes) -> str:
    """Return a step's chain: a digest of its delta and of the whole way to it."""
    return hashlib.sha256(before.encode() + struct.pack("<4I", *box) + delta).hexdigest()[:32]


def chain_at(base: sqlite3.Connection, step: int) -> str:
    """Return the chain of a step, or an empty string when it is gone."""
    found = base.execute("SELECT chain FROM steps WHERE id=?", (step,)).fetchone()
    return "" if found is None else str(found[0])


def step_of(base: sqlite3.Connection, number: int, *, done: bool) -> Step:
    """Return a step.

    Raises:
        BrokenStep: It is gone, or its row makes no sense.
    """
    found = base.execute(f"SELECT {_STEP} FROM steps WHERE id=?", (number,)).fetchone()
    if found is None:
        raise BrokenStep("it is gone")
    try:
        params = json.loads(found[5])
        stem, parent, name, tool = found[1:5]
        y0, x0, y1, x1, pixels, who, when, batch = found[6:]
        return Step(
            number, stem, parent, name, tool, params, (y0, x0, y1, x1), pixels, who, when, batch, done
        )
    except (TypeError, ValueError) as error:
        raise BrokenStep(f"its row is damaged ({error})") from None


def delta_of(base: sqlite3.Connection, number: int, row: Row) -> tuple[Box, Delta]:
    """Return (box, change) of a step, after comparing its chain.

    Raises:
        BrokenStep: It is gone, was altered, or lies outside the image.
    """
    found = base.execute(
        "SELECT s.y0, s.x0, s.y1, s.x1, s.pixels, s.delta, s.chain, s.parent, p.chain, s.stem"
        " FROM steps s LEFT JOIN steps p ON p.id = s.parent WHERE s.id=?",
        (number,),
    ).fetchone()
    if found is None:
        raise BrokenStep("it is gone")
    box, (pixels, data, chain, parent, before, stem) = found[:4], found[4:]
    y0, x0, y1, x1 = box
    # SQLite holds any kind of value in any column, and a journal may come from anybody.
    if not all(type(n) is int for n in (*box, pixels)) or type(data) is not bytes:
        raise BrokenStep("its row is damaged")
    if not (0 <= y0 <= y1 <= row.height and 0 <= x0 <= x1 <= row.width) or stem != row.stem:
        raise BrokenStep("it lies outside the image")
    if chain != chain_of(row.origin if parent is None else str(before), box, data):
        raise BrokenStep("it was altered, or a step before it is gone")
    return box, unpack(data, (y1 - y0, x1 - x0), pixels)


def parents(base: sqlite3.Connection, stem: str) -> dict[int, int | None]:
    """Return step -> step before it, of one image, oldest first."""
    return dict(base.execute("SELECT id, parent FROM steps WHERE stem=? ORDER BY id", (stem,)).fetchall())


class _Gone(enum.Enum):
    GONE = "gone"


GONE = _Gone.GONE


def parent_of(base: sqlite3.Connection, stem: str, step: int) -> int | Literal[_Gone.GONE] | None:
    """Return the step before one, None where it is the first, or `GONE` where the image has no such step."""
    found = base.execute("SELECT parent FROM steps WHERE id=? AND stem=?", (step, stem)).fetchone()
    if found is None:
        return GONE
    return None if found[0] is None else int(found[0])


def newest_child(base: sqlite3.Connection, stem: str, step: int | None) -> int | None:
    """Return the newest step that was done after `step`, or None."""
    found = base.execute("SELECT max(id) FROM steps WHERE stem=? AND parent IS ?", (stem, step)).fetchone()
    return None if found[0] is None else int(found[0])


def proposal_at(base: sqlite3.Connection, row: Row, step: int | None) -> int | None:
    """Return the number of the proposal that counts at a step: the first, or the last that was adopted."""
    if step is None:
        return row.proposal
    found = base.execute("SELECT proposal FROM steps WHERE id=?", (step,)).fetchone()
    return None if found is None or found[0] is None else int(found[0])


def add_event(base: sqlite3.Connection, row: Row, kind: str, value: str, who: str) -> None:
    """Note what was said of an image, and at which step."""
    base.execute(
        "INSERT INTO events(stem, kind, value, who, made, step) VALUES (?, ?, ?, ?, ?, ?)",
        (row.stem, kind, value, who, time.time(), row.cursor),
    )


def approvals(base: sqlite3.Connection, stem: str) -> set[int | None]:
    """Return the steps at which an image was approved; None is the very start."""
    found = base.execute(
        "SELECT step FROM events WHERE stem=? AND kind='state' AND value='approved'", (stem,)
    )
    return {step for (step,) in found.fetchall()}


def events_of(base: sqlite3.Connection, stem: str) -> list[Event]:
    """Return what was said of an image, oldest first."""
    rows = base.execute(
        "SELECT id, stem, kind, value, who, made FROM events WHERE stem=? ORDER BY id", (stem,)
    )
    return [Event(*found) for found in rows.fetchall()]


def _plain(value: object) -> Any:
    """Return what JSON can hold of a tool's setting."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"a tool's settings hold a {type(value).__name__}")
