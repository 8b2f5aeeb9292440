"""tags.csv: every tag that was ever set, with who and when; the last word wins.

One line a tag: `image,tag,state,who,when`. The tag `*` stands for all classes, so an
imported list needs one line for what an image lacks and one for each class it has.
Appending one line is what a key press costs, however large the project.
"""

from __future__ import annotations

import csv
import getpass
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from engine.atomic import write_bytes
from engine.errors import UserError
from engine.store.names import now
from engine.tags import ABSENT, PRESENT, UNKNOWN, Tags

__all__ = ["append", "create", "load", "who"]

HEADER = ("image", "tag", "state", "who", "when")
_WORDS = {PRESENT: "present", ABSENT: "absent", UNKNOWN: "unknown"}
_STATES = {word: state for state, word in _WORDS.items()}


def who() -> str:
    """Return the name under which this person's tags are kept."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def create(path: Path, tags: Tags, author: str) -> None:
    """Write a new log that says what `tags` says; images that are all unknown get no line."""
    when = now()
    rows: list[tuple[str, str, str]] = []
    for stem, row in zip(tags.stems, tags.states, strict=True):
        common = ABSENT if (row == ABSENT).any() or len(row) == 0 else UNKNOWN
        if common == ABSENT:
            rows.append((stem, "*", _WORDS[ABSENT]))
        rows += [
            (stem, name, _WORDS[int(s)]) for name, s in zip(tags.classes, row, strict=True) if s != common
        ]
    write_bytes(path, _lines([HEADER, *((*r, author, when) for r in rows)]))


def append(path: Path, changes: Iterable[tuple[str, str, int]], author: str) -> None:
    """Add one line for each (stem, class name or `*`, state), durable when this returns."""
    when = now()
    data = _lines([(stem, tag, _WORDS[state], author, when) for stem, tag, state in changes])
    with path.open("ab+", buffering=0) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            # A line cut short by a power loss must not swallow the next one.
            if file.read(1) != b"\n":
                data = b"\r\n" + data
        file.write(data)
        os.fsync(file.fileno())


def load(path: Path, stems: Sequence[str], classes: Sequence[str]) -> Tags:
    """Return the state of every image and class; what no line speaks of is unknown.

    A last line without its end was being written when the power went, and is passed over.

    Raises:
        UserError: The file is missing or a line of it makes no sense; the line is named.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"The project has no {path.name}.",
            "",
            f"Put {path.name} back from a backup, or make the project anew.",
        ) from None
    whole = data[: data.rfind(b"\n") + 1]
    try:
        text = whole.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path.name} is not UTF-8: {error}.") from None
    row_of = {stem: i for i, stem in enumerate(stems)}
    column_of: dict[str, int | slice] = {name: i for i, name in enumerate(classes)}
    column_of["*"] = slice(None)
    states = np.full((len(stems), len(classes)), UNKNOWN, np.int8)
    for number, row in enumerate(csv.reader(io.StringIO(text, newline="")), start=1):
        if number == 1 or not row:
            continue
        if len(row) != len(HEADER):
            if len(row) < len(HEADER):
                continue  # a torn line that a later append closed
            raise UserError(
                f"{path.name}, line {number}: {len(row)} cells.", f"A line has {len(HEADER)}: {HEADER}."
            )
        stem, tag, state = row[:3]
        if tag not in column_of or state not in _STATES:
            raise UserError(
                f"{path.name}, line {number}: '{tag}' is '{state}'.",
                f"Classes: {', '.join(classes)}; states: {', '.join(_STATES)}.",
                "Mend the line, or remove it.",
            )
        if stem in row_of:
            states[row_of[stem], column_of[tag]] = _STATES[state]
    return Tags(tuple(classes), tuple(stems), states)


def _lines(rows: Iterable[Sequence[str]]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()
