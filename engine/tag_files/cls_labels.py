"""Tags from the `cls_labels*.npy` of WSSS repositories: a dictionary of image -> one value per class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engine.class_names import BUILT_IN
from engine.errors import UserError
from engine.intake import Mistakes
from engine.names import quote
from engine.pickled import read_arrays
from engine.tag_files.sheet import Row, Sheet
from engine.tags import ABSENT, PRESENT, UNKNOWN

__all__ = ["read_cls_labels"]

_ACCEPTED = "A dictionary from image names to one number per class: 1 present, 0 absent, -1 unknown."
# IRN writes the VOC image 2007_000032 as the number 2007000032.
_VOC_NUMBER = re.compile(r"((?:19|20)\d\d)(\d{6})")


def read_cls_labels(path: Path, classes: Sequence[str] | None, mistakes: Mistakes) -> Sheet:
    """Return the rows of the dictionary; the class names come from `classes`, or are VOC's or COCO's.

    Raises:
        UserError: The file is refused, or nobody knows what its columns mean.
    """
    arrays = read_arrays(path)
    if not arrays:
        raise UserError(f"{path} holds an empty dictionary.", _ACCEPTED, "Check that it is the right file.")
    width = next(iter(arrays.values())).size
    names, source = _columns(path, width, classes)
    rows = []
    for key, values in arrays.items():
        place = f"entry {quote(key)}"
        match = _VOC_NUMBER.fullmatch(str(key)) if isinstance(key, int) else None
        if isinstance(key, int) and match is None:
            mistakes.add(place, "the number is no VOC image like 2007000032")
            continue
        if values.shape != (width,):
            mistakes.add(place, f"it has the shape {list(values.shape)}, the first entry has {width} values")
            continue
        if not np.isin(values, (PRESENT, ABSENT, UNKNOWN)).all():
            mistakes.add(place, "a value is none of 1, 0, -1")
            continue
        states = [(names[i], int(values[i])) for i in np.flatnonzero(values)]
        rows.append(Row(place, f"{match[1]}_{match[2]}" if match else str(key), states, ABSENT))
    return Sheet("cls_labels.npy", rows, names, public=True, notes=[f"The {width} columns are {source}."])


def _columns(path: Path, width: int, classes: Sequence[str] | None) -> tuple[tuple[str, ...], str]:
    """Return (the class of each column, where that comes from)."""
    for title, names in BUILT_IN.items():
        if len(names) == width and set(classes or names) <= set(names):
            return names, f"the classes of {title.upper()} in their order"
    if classes is not None and len(classes) == width:
        return tuple(classes), "the project's classes in their order"
    has = "no class list was given" if classes is None else f"the class list has {len(classes)} names"
    advice = "Give a class list with one name per column."
    if width in (21, 81):
        advice = "It seems to count the background, which these dictionaries leave out. " + advice
    raise UserError(f"{path} has {width} values per image, and {has}.", _ACCEPTED, advice)
