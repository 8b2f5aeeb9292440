"""What every form of tag file is read into, and how that becomes the tags of a project."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from engine.errors import nearest
from engine.intake import Mistakes
from engine.names import check_class_names, class_fault, collision_key, nfc, quote, stem_fault, stem_of
from engine.tags import UNKNOWN, Tags

__all__ = ["Row", "Sheet", "TagFile", "check_size", "drop_background", "settle"]

_MAX_ROWS = 300_000
_NAMED = 5


@dataclass(frozen=True)
class TagFile:
    """The tags of a file, the form it was found to have, and what was put right or passed over."""

    tags: Tags
    form: str
    warnings: list[str]


@dataclass(frozen=True)
class Row:
    """What a file says of one image.

    Args:
        place: Where it says so ("line 7"), for messages.
        name: The image as written, maybe with folders and suffix.
        states: (class as written, state) of the classes that are spoken of.
        rest: The state of all other classes.
    """

    place: str
    name: str
    states: Sequence[tuple[str, int]]
    rest: int


@dataclass
class Sheet:
    """A tag file before its names are checked against the project.

    Args:
        form: The form, for the report.
        rows: The images in the order of the file.
        classes: The classes that the file itself lists; none if it lists none.
        used: Those of them that it says are in use.
        public: The file describes a whole data set, of which a project may use a part: other
            images and classes are passed over with a warning. In lists written for a project
            they are mistakes.
        notes: What the reader put right.
    """

    form: str
    rows: list[Row]
    classes: tuple[str, ...] = ()
    used: tuple[str, ...] = ()
    public: bool = False
    notes: list[str] = field(default_factory=list)


def drop_background(names: Sequence[str], notes: list[str]) -> tuple[str, ...]:
    """Return a class list without `background` in first place, where masks have it already."""
    if names and names[0].strip().casefold() == "background":
        notes.append(
            "The class list begins with 'background', which is index 0 in any case; it was left out."
        )
        return tuple(names[1:])
    return tuple(names)


def check_size(images: int, mistakes: Mistakes) -> None:
    """Refuse a file of too many images, before rows are made of them.

    Raises:
        UserError: There are too many, or mistakes were noted before.
    """
    if images > _MAX_ROWS:
        mistakes.add("", f"it lists {images:,} images, and at most {_MAX_ROWS:,} are read")
        mistakes.check()


def settle(
    path: Path,
    sheet: Sheet,
    stems: Sequence[str] | None,
    classes: Sequence[str] | None,
    mistakes: Mistakes,
) -> TagFile:
    """Check the names of a sheet and return its tags.

    Args:
        path: The file, for the messages.
        sheet: What was read from it.
        stems: The images of the project; without them the images of the file, sorted.
        classes: The classes of the project; without them those of the file: in the order
            of its own list, else by the alphabet.
        mistakes: The mistakes met so far.

    Raises:
        UserError: All mistakes together.
    """
    check_size(len(sheet.rows), mistakes)
    notes = list(sheet.notes)
    names = _Classes(sheet, classes, mistakes, notes)
    kept, rows = _match_images(sheet, stems, mistakes, notes)
    mistakes.check()
    check_class_names(names.order, str(path))
    tags = Tags(names.order, kept, _states(kept, rows, names, mistakes, notes))
    mistakes.check()
    if stems is not None and len(rows) < len(kept):
        notes.append(
            f"{len(kept) - len(rows):,} of {len(kept):,} images are not in the file: their tags are unknown."
        )
    return TagFile(tags, sheet.form, notes)


class _Classes:
    """The classes of the result, and what each class name in the file means."""

    def __init__(
        self, sheet: Sheet, classes: Sequence[str] | None, mistakes: Mistakes, notes: list[str]
    ) -> None:
        first: dict[str, str] = {}
        times: Counter[str] = Counter()
        for row in sheet.rows:
            for name, _ in row.states:
                times[name] += 1
                if name not in first:
                    first[name] = row.place
        self.clean = {raw: nfc(raw).strip() for raw in (*first, *sheet.classes, *sheet.used)}
        if any(raw != raw.strip() for raw in self.clean):
            notes.append("Spaces around class names were removed.")
        if any(nfc(raw) != raw for raw in self.clean):
            notes.append("Class names were brought to the Unicode form NFC.")
        declared = tuple(self.clean[raw] for raw in sheet.classes)
        chosen = (
            tuple(classes)
            if classes is not None
            else tuple(self.clean[raw] for raw in sheet.used) or declared
        )
        passed: Counter[str] = Counter()
        seen: dict[str, tuple[str, str]] = {collision_key(name): (name, "the class list") for name in chosen}
        for raw, place in first.items():
            name = self.clean[raw]
            if name in chosen:
                continue
            if chosen and (sheet.public or name in declared):
                passed[name] += times[raw]
                continue
            fault = class_fault(name)
            twin, there = seen.setdefault(collision_key(name), (name, place))
            if "|" in name:
                mistakes.add(place, f"{quote(raw)}: tags are separated by ';', not by '|'")
            elif fault:
                mistakes.add(place, f"the class name {quote(raw)} {fault}")
            elif chosen:
                again = f" (and {times[raw] - 1:,} times more)" if times[raw] > 1 else ""
                mistakes.add(place, f"{quote(name)} is no class{again}", partial(nearest, name, chosen))
            elif twin != name:
                mistakes.add(place, f"{quote(name)} differs from {quote(twin)} ({there}) in case only")
        self.order = chosen or tuple(sorted({self.clean[raw] for raw in first}, key=str.casefold))
        # What the file does not list it says nothing of, not even that it is absent.
        self.silent = [name for name in self.order if declared and name not in declared]
        if passed:
            named = ", ".join(f"{name} ({count:,})" for name, count in passed.most_common(_NAMED))
            more = ", …" if len(passed) > _NAMED else ""
            notes.append(f"Classes that are not the project's were passed over: {named}{more}.")
        for name in self.silent:
            hint = nearest(name, declared)
            notes.append(f"The file has no class '{name}': it is unknown on all images. {hint}".strip())


def _match_images(
    sheet: Sheet, stems: Sequence[str] | None, mistakes: Mistakes, notes: list[str]
) -> tuple[tuple[str, ...], dict[str, Row]]:
    """Return the images of the result, and the row of each image that the file lists."""
    known = frozenset(stems or ())
    rows: dict[str, Row] = {}
    twins: dict[str, str] = {}
    strangers = 0
    spaces = 0
    for row in sheet.rows:
        name = row.name.strip()
        spaces += name != row.name
        stem = stem_of(name, known)
        fault = stem_fault(stem)
        if fault:
            mistakes.add(row.place, f"the image name {quote(row.name)} {fault}")
            continue
        if stem in rows:
            mistakes.add(row.place, f"the image {quote(stem)} is listed twice (first: {rows[stem].place})")
            continue
        if stems is not None and stem not in known:
            strangers += 1
            if not sheet.public:
                mistakes.add(
                    row.place,
                    f"there is no image {quote(stem)}",
                    partial(nearest, stem, known),
                )
            continue
        twin = twins.setdefault(collision_key(stem), stem)
        if twin != stem:
            mistakes.add(
                row.place,
                f"the image {quote(stem)} differs from {quote(twin)} ({rows[twin].place}) in case only",
            )
        rows[stem] = row
    if spaces:
        notes.append(f"Spaces around {spaces:,} image names were removed.")
    if not sheet.rows and not mistakes:
        mistakes.add("", "it lists no image")
    if sheet.public and strangers:
        if not rows:
            mistakes.add("", f"none of its {strangers:,} images is one of the project's {len(known):,}")
        notes.append(f"{strangers:,} entries are of images that the project has not; they were passed over.")
    return (tuple(stems) if stems is not None else tuple(sorted(rows))), rows


def _states(
    kept: tuple[str, ...], rows: dict[str, Row], names: _Classes, mistakes: Mistakes, notes: list[str]
) -> np.ndarray[tuple[int, int], np.dtype[np.int8]]:
    columns = {name: i for i, name in enumerate(names.order)}
    states = np.full((len(kept), len(columns)), UNKNOWN, np.int8)
    repeated = 0
    for line, stem in enumerate(kept):
        row = rows.get(stem)
        if row is None:
            continue
        said: dict[int, int] = {}
        for raw, state in row.states:
            column = columns.get(names.clean[raw])
            if column is None:
                continue
            if said.get(column, state) != state:
                mistakes.add(row.place, f"{quote(names.clean[raw])} is there twice, with different states")
            repeated += column in said
            said[column] = state
        states[line] = row.rest
        states[line, list(said)] = list(said.values())
    for name in names.silent:
        states[:, columns[name]] = UNKNOWN
    if repeated:
        notes.append(f"{repeated:,} tags are there twice on the same image; each counts once.")
    return states
