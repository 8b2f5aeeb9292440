"""Tags from VOC ImageSets/Main: files `<class>_<split>.txt` of `stem 1`, `stem -1` or `stem 0`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from engine.errors import UserError
from engine.intake import Mistakes, Text, read_text
from engine.names import quote
from engine.tag_files.sheet import Row, Sheet
from engine.tags import ABSENT, PRESENT, UNKNOWN

__all__ = ["ACCEPTED", "is_class_list", "main_files", "read_main"]

ACCEPTED = (
    "VOC class lists: files `<class>_train.txt` (or val, trainval, test) with a stem and 1, -1 or 0 per line."
)

_FILE = re.compile(r"(?P<cls>.+)_(?P<split>train|val|trainval|test)\.txt")
_LINE = re.compile(r"\s*(\S+)\s+(1|-1|0|\+1)\s*")
# VOC's 0 marks an image on which the class is hard to see: neither present nor absent.
_STATES = {"1": PRESENT, "+1": PRESENT, "-1": ABSENT, "0": UNKNOWN}


def main_files(folder: Path) -> list[Path]:
    """Return the class lists of a folder, sorted; plain lists of stems are none."""
    return sorted(path for path in folder.glob("*.txt") if _FILE.fullmatch(path.name))


def is_class_list(path: Path, text: Text) -> bool:
    """Return whether a file is one class list, by its name and by every line."""
    return bool(_FILE.fullmatch(path.name)) and all(_LINE.fullmatch(s) for s in text.lines if s.strip())


def read_main(files: Sequence[Path], mistakes: Mistakes) -> Sheet:
    """Return what class lists say together; an image that a class's lists leave out is unknown for it.

    `trainval` repeats `train` and `val`; lists that contradict each other are a mistake.

    Raises:
        UserError: A file that cannot be read as text.
    """
    states: dict[str, dict[str, int]] = {}
    places: dict[str, str] = {}
    classes: dict[str, None] = {}
    splits: dict[str, None] = {}
    for path in files:
        match = _FILE.fullmatch(path.name)
        if match is None:
            raise UserError(f"{path} is not named after a class and a split.", ACCEPTED, "Rename the file.")
        cls = match["cls"]
        classes[cls] = splits[match["split"]] = None
        seen: set[str] = set()
        for number, line in enumerate(read_text(path, accepted=ACCEPTED).lines, 1):
            if not line.strip():
                continue
            place = f"{path.name}, line {number}"
            row = _LINE.fullmatch(line)
            if row is None:
                mistakes.add(place, f"{quote(line.strip())} is no stem followed by 1, -1 or 0")
                continue
            stem, state = row[1], _STATES[row[2]]
            said = states.setdefault(stem, {})
            places.setdefault(stem, place)
            if stem in seen:
                mistakes.add(place, f"the image {quote(stem)} is listed twice")
            elif said.setdefault(cls, state) != state:
                mistakes.add(place, f"{quote(stem)} has another state in another list of {quote(cls)}")
            seen.add(stem)
    rows = [Row(places[stem], stem, list(said.items()), UNKNOWN) for stem, said in states.items()]
    note = f"Read {len(classes)} classes from the lists of {', '.join(splits)}; 0 (difficult) is unknown."
    return Sheet("VOC ImageSets/Main", rows, tuple(classes), public=True, notes=[note])
