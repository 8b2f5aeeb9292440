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
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from engine.atomic import write_bytes
from engine.errors import UserError, nearest
from engine.intake import read_bytes
from engine.store.names import now
from engine.tags import ABSENT, PRESENT, UNKNOWN, Tags

__all__ = ["append", "create", "load", "rename", "who"]

HEADER = ("image", "tag", "state", "who", "when")
_WORDS = {PRESENT: "present", ABSENT: "absent", UNKNOWN: "unknown"}
_STATES = {word: state for state, word in _WORDS.items()}
_MAX_BYTES = 1 << 27
_ACCEPTED = f"Lines of {len(HEADER)} cells: {', '.join(HEADER)}."


def who() -> str:
    """Return the name under which this person's tags are kept."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
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
    if not path.is_file():
        raise _gone(path)  # a new file would hold these tags alone, and look like all there ever were
    with path.open("ab+") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            # A line cut short by a power loss must not swallow the next one.
            if file.read(1) != b"\n":
                data = b"\r\n" + data
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def load(
    path: Path, stems: Sequence[str], classes: Sequence[str], former: Mapping[str, str] | None = None
) -> Tags:
    """Return the state of every image and class; what no line speaks of is unknown.

    A line with too few cells was being written when the power went, and is passed over. Lines
    are read one by one, so that an open quote in such a line cannot swallow those behind it.
    A class that the project lacks may be unknown, which says nothing: `Project.add_class`
    writes these lines before the class.

    Args:
        path: tags.csv.
        stems, classes: What to return, in this order.
        former: Former name of a class -> today's; lines of before use them.

    Raises:
        UserError: The file is missing or a line of it makes no sense; the line is named.
    """
    if not path.exists():
        raise _gone(path)
    lines = io.BytesIO(read_bytes(path, _MAX_BYTES, _ACCEPTED).removeprefix(b"\xef\xbb\xbf"))
    if _cells(lines.readline()) != list(HEADER):
        raise UserError(
            f"{path.name}, line 1: the header is missing or damaged.",
            f"The first line is {','.join(HEADER)}.",
            f"Put {path.name} back from a backup, or write that line above the others.",
        )
    row_of = {stem: i for i, stem in enumerate(stems)}
    column_of: dict[str, int | slice] = {name: i for i, name in enumerate(classes)}
    for old, name in (former or {}).items():
        column_of.setdefault(old, column_of[name])
    column_of["*"] = slice(None)
    states = np.full((len(stems), len(classes)), UNKNOWN, np.int8)
    for number, line in enumerate(lines, start=2):
        row = _cells(line)
        if len(row) < len(HEADER):
            continue
        stem, tag, state = row[:3]
        if len(row) > len(HEADER) or state not in _STATES or (tag not in column_of and state != "unknown"):
            raise _senseless(path, number, row, classes)
        if stem in row_of and tag in column_of:
            states[row_of[stem], column_of[tag]] = _STATES[state]
    return Tags(tuple(classes), tuple(stems), states)


def rename(path: Path, former: Mapping[str, str]) -> None:
    """Write today's names of classes in place of former ones, the whole file or nothing of it.

    Args:
        path: tags.csv.
        former: Former name -> today's.

    Raises:
        UserError: The file is missing.
    """
    if not path.is_file():
        raise _gone(path)
    # A line that is damaged or was cut short stays as it is, so that `load` can name it.
    data = read_bytes(path, _MAX_BYTES, _ACCEPTED)
    lines = []
    for line in data.splitlines(keepends=True):
        row = _cells(line)
        if len(row) == len(HEADER) and row[1] in former:
            line = _lines([(row[0], former[row[1]], *row[2:])])
        lines.append(line)
    write_bytes(path, b"".join(lines))


def _cells(line: bytes) -> list[str]:
    text = line.decode("utf-8", "replace").rstrip("\r\n")
    if '"' not in text:
        return text.split(",")
    try:
        return next(csv.reader([text]))
    except csv.Error:
        return [text]


def _gone(path: Path) -> UserError:
    return UserError(
        f"The project has no {path.name}.",
        "Every tag that was ever set is kept in it.",
        f"Put {path.name} back from a backup, or make the project anew.",
    )


def _senseless(path: Path, number: int, row: Sequence[str], classes: Sequence[str]) -> UserError:
    where = f"{path.name}, line {number}"
    if len(row) > len(HEADER):
        return UserError(f"{where}: {len(row)} cells.", _ACCEPTED, "Mend the line, or remove it.")
    _, tag, state = row[:3]
    known, word = (_STATES, state) if state not in _STATES else (classes, tag)
    return UserError(
        f"{where}: {tag[:80]!r} is {state[:80]!r}.",
        f"Classes: {', '.join(classes)}; states: {', '.join(_STATES)}.",
        f"{nearest(word[:80], known)} Mend the line, or remove it.".strip(),
    )


def _lines(rows: Iterable[Sequence[str]]) -> bytes:
    out = io.StringIO(newline="")
    # No name holds a line end, which would tear the line; the author's may come from anywhere.
    csv.writer(out).writerows([" ".join(cell.splitlines()) for cell in row] for row in rows)
    return out.getvalue().encode("utf-8", "backslashreplace")
