"""Tag tables: a list `image,tags` with tags separated by `;`, or one column per class (one-hot)."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path

from engine.errors import UserError, nearest
from engine.intake import Mistakes, Text
from engine.names import IMAGE_SUFFIXES, MAX_CLASSES, nfc, quote, stem_of
from engine.tag_files.sheet import Row, Sheet, check_size
from engine.tags import ABSENT, PRESENT, UNKNOWN

__all__ = ["ACCEPTED", "read_table", "tag_state"]

ACCEPTED = (
    "A header line, then one line per image: `image,tags` with tags separated by ';' (`?dog` is unknown), "
    "or `image` and one column per class with 1 (present), 0 (absent), and -1, ? or nothing (unknown)."
)

_IMAGE_WORDS = frozenset(
    (
        "image",
        "images",
        "image_name",
        "image_id",
        "file",
        "files",
        "filename",
        "file_name",
        "name",
        "stem",
        "id",
        "path",
    )
)
_TAG_WORDS = frozenset(("tags", "tag", "labels", "label", "classes", "class", "categories", "category"))
_NAMES = {",": "CSV", "\t": "TSV", ";": "CSV with semicolons"}
# pandas writes 1.0 where a column has gaps, and True since its version 2.
_CELLS = {
    **dict.fromkeys(("1", "1.0", "true"), PRESENT),
    **dict.fromkeys(("0", "0.0", "false"), ABSENT),
    **dict.fromkeys(("-1", "-1.0", "?", "", "nan"), UNKNOWN),
}
_LOG = ("image", "tag", "state", "who", "when")


def read_table(
    path: Path,
    text: Text,
    stems: Collection[str] | None,
    classes: Collection[str] | None,
    mistakes: Mistakes,
) -> Sheet:
    """Return the rows of a table; comma, tab or semicolon is told by its first line.

    Raises:
        UserError: The first line is no header and the columns are in doubt.
    """
    start = next(i for i, line in enumerate(text.lines) if line.strip())
    header, mark, notes = _header(path, text.lines[start], start + 1, stems)
    if header == _LOG:
        todo = "Give the project itself, or export its tags."
        raise UserError(f"{path} is the tag log of a project, not a tag list.", ACCEPTED, todo)
    check_size(len(text.lines) - start, mistakes)
    lines = _records(text, start + bool(header), mark, mistakes)
    tag_columns = [i for i, name in enumerate(header) if i and name.casefold() in _TAG_WORDS]
    if not header:
        return Sheet(
            f"{_NAMES[mark]} list without header", list(_list(lines, 2, 1, mark, mistakes)), notes=notes
        )
    if len(tag_columns) == 1:
        others = [name for i, name in enumerate(header) if i and i != tag_columns[0]]
        if others:
            notes.append(f"Columns that hold no tags were passed over: {', '.join(map(quote, others))}.")
        rows = list(_list(lines, len(header), tag_columns[0], mark, mistakes))
        return Sheet(f"{_NAMES[mark]} list", rows, notes=notes)
    if tag_columns:
        found = f"{path}, line {start + 1}: {len(tag_columns)} columns could hold the tags."
        raise UserError(found, ACCEPTED, "Keep one of them.")
    _check_columns(header[1:], start + 1, classes, mistakes)
    return _one_hot(lines, header, mark, mistakes, notes)


def tag_state(tag: str) -> tuple[str, int]:
    """Return (class, state) of a tag in a list: `dog` is present, `?dog` is unknown."""
    return (tag[1:].lstrip(), UNKNOWN) if tag.startswith("?") else (tag, PRESENT)


def _header(
    path: Path, line: str, number: int, stems: Collection[str] | None
) -> tuple[tuple[str, ...], str, list[str]]:
    """Return (column names, or none for a list without header, separator, notes)."""
    headless = []
    for mark in _NAMES:
        try:
            cells = [cell.strip() for cell in next(csv.reader([line], delimiter=mark, strict=True))]
        except csv.Error:
            continue
        while cells and not cells[-1]:
            cells.pop()
        if len(cells) > 1 and cells[0].casefold() in _IMAGE_WORDS:
            return tuple(cells), mark, []
        if len(cells) == 2 and _is_image(cells[0], stems) and cells[1].casefold() not in _CELLS:
            headless.append(mark)
    if len(headless) == 1:
        note = "There is no header line: the first column was read as images, the second as tags."
        return (), headless[0], [note]
    raise UserError(
        f"{path}, line {number}: {quote(line.strip())} is no header.",
        ACCEPTED,
        "Put `image,tags` into the first line.",
    )


def _is_image(name: str, stems: Collection[str] | None) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES) or (stems is not None and stem_of(name, stems) in stems)


def _records(text: Text, start: int, mark: str, mistakes: Mistakes) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of every line that is not blank."""
    reader = csv.reader((line + "\n" for line in text.lines[start:]), delimiter=mark, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield start + reader.line_num, cells
    except csv.Error as error:
        advice = "A cell that begins with a quote ends with one."
        mistakes.add(
            f"line {start + reader.line_num}", f"the cells cannot be told apart ({error})", lambda: advice
        )


def _fit(cells: list[str], width: int) -> bool:
    """Cut the empty cells that spreadsheets add at the end; return whether the line has `width` cells."""
    while len(cells) > width and not cells[-1].strip():
        cells.pop()
    return len(cells) == width


def _list(
    lines: Iterator[tuple[int, list[str]]], width: int, column: int, mark: str, mistakes: Mistakes
) -> Iterator[Row]:
    for number, cells in lines:
        if not _fit(cells, width):
            why = f"{len(cells)} cells where {width} belong; tags of one image are separated by ';'"
            if len(cells) < width:
                why = f"{len(cells)} cells where {width} belong; an image without tags ends in {mark!r}"
            elif mark == ";":
                why = f"{len(cells)} cells where {width} belong; several tags stand in quotes"
            mistakes.add(f"line {number}", why)
            continue
        tags = cells[column]
        # Between semicolons a list of tags may use commas, which no class name holds.
        separator = "," if mark == ";" and ";" not in tags else ";"
        states = [tag_state(tag) for tag in tags.split(separator) if tag.strip()]
        yield Row(f"line {number}", cells[0], states, ABSENT)


def _check_columns(
    names: Sequence[str], number: int, classes: Collection[str] | None, mistakes: Mistakes
) -> None:
    if len(names) > MAX_CLASSES:
        mistakes.add(f"line {number}", f"there are {len(names):,} classes, more than {MAX_CLASSES}")
        mistakes.check()
    for i, name in enumerate(names):
        if not name:
            mistakes.add(f"line {number}", f"column {i + 2} has no name")
        elif name in names[:i]:
            mistakes.add(f"line {number}", f"the column {quote(name)} is there twice")
        elif classes is not None and nfc(name) not in classes:
            mistakes.add(
                f"line {number}", f"the column {quote(name)} is no class", partial(nearest, name, classes)
            )


def _one_hot(
    lines: Iterator[tuple[int, list[str]]],
    header: Sequence[str],
    mark: str,
    mistakes: Mistakes,
    notes: list[str],
) -> Sheet:
    names = tuple(header[1:])
    rows = []
    seen: set[str] = set()
    for number, cells in lines:
        if not _fit(cells, len(header)):
            mistakes.add(f"line {number}", f"{len(cells)} cells where the header has {len(header)}")
            continue
        values = [cell.strip().casefold() for cell in cells[1:]]
        seen.update(values)
        states = [(name, _CELLS.get(value)) for name, value in zip(names, values, strict=True)]
        wrong = next((i for i, (_, state) in enumerate(states) if state is None), None)
        if wrong is not None:
            cell = quote(cells[1 + wrong])
            mistakes.add(f"line {number}", f"{cell} in column {quote(names[wrong])} is none of 1, 0, -1, ?")
            continue
        rows.append(Row(f"line {number}", cells[0], [(n, s) for n, s in states if s], ABSENT))
    if seen & {"-1", "-1.0"} and not seen & {"0", "0.0", "false"}:
        notes.append("The cells hold 1 and -1 and never 0: -1 was read as unknown. Write 0 for absent.")
    return Sheet(f"one-hot {_NAMES[mark]}", rows, names, notes=notes)
