"""Class lists and split lists: text files with one name per line."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

from engine.errors import nearest
from engine.intake import Mistakes, read_text
from engine.names import IMAGE_SUFFIXES, class_fault, collision_key, nfc, quote, stem_of
from engine.tag_files.sheet import drop_background

__all__ = ["read_classes", "read_split"]

_CLASSES = "A text file with one class name per line, without the background."
_SPLIT = "A text file with one image stem per line."
_DRIVE = re.compile(r"[A-Za-z]:")
_ROOTED = re.compile(r"/[^/]+/[^/]+")


def read_classes(path: Path, notes: list[str] | None = None) -> tuple[str, ...]:
    """Return the class names of a file in their order.

    Args:
        path: One name per line; blank lines are ignored. `background` in the first line is
            left out, as masks have it already.
        notes: Takes a sentence for each thing that was put right.

    Raises:
        UserError: Names that repeat, differ in case only, or cannot name a class, with their lines.
    """
    said: list[str] = [] if notes is None else notes
    text = read_text(path, accepted=_CLASSES)
    said += text.notes
    mistakes = Mistakes(path, _CLASSES)
    lines = [(number, nfc(line.strip())) for number, line in enumerate(text.lines, 1) if line.strip()]
    names = drop_background([name for _, name in lines], said)
    seen: dict[str, tuple[str, int]] = {}
    for number, name in lines[len(lines) - len(names) :]:
        twin, first = seen.setdefault(collision_key(name), (name, number))
        fault = class_fault(name)
        if fault:
            mistakes.add(f"line {number}", f"the class name {quote(name)} {fault}")
        elif first != number:
            how = "is there twice" if twin == name else f"differs from {quote(twin)} in case only"
            mistakes.add(f"line {number}", f"{quote(name)} {how} (first: line {first})")
    if not names:
        mistakes.add("", "it names no class")
    mistakes.check()
    return names


def read_split(path: Path, stems: Sequence[str], notes: list[str] | None = None) -> tuple[str, ...]:
    """Return the images of a split list, in the order of the file.

    A line is a stem, or a file name with folders and suffix, or a pair of image and mask as in
    the lists of PSA (`/JPEGImages/x.jpg /SegmentationClassAug/x.png`). No path is ever opened.

    Args:
        path: The list; blank lines are ignored.
        stems: The images of the project.
        notes: Takes a sentence for each thing that was put right.

    Raises:
        UserError: Unknown or repeated images, or paths that leave the image folder, with their lines.
    """
    text = read_text(path, accepted=_SPLIT)
    if notes is not None:
        notes += text.notes
    mistakes = Mistakes(path, _SPLIT)
    known = frozenset(stems)
    seen: dict[str, int] = {}
    for number, line in enumerate(text.lines, 1):
        name = line.strip()
        if not name:
            continue
        stem, paired = _image_of(name, known)
        place = f"line {number}"
        if _leaves(paired):
            mistakes.add(place, f"{quote(name)} is a path outside the image folder, not an image")
        elif stem not in known:
            mistakes.add(
                place,
                f"there is no image {quote(name)}",
                partial(nearest, stem, known),
            )
        elif seen.setdefault(stem, number) != number:
            mistakes.add(place, f"the image {quote(stem)} is there twice (first: line {seen[stem]})")
    mistakes.check()
    return tuple(seen)


def _image_of(name: str, known: Collection[str]) -> tuple[str, str]:
    """Return (stem, the path it was taken from) of a line."""
    parts = name.split()
    if len(parts) == 2 and all(part.lower().endswith(IMAGE_SUFFIXES) for part in parts):
        image, mask = (stem_of(part, known) for part in parts)
        if image == mask:
            return image, parts[0]
        if "/" in parts[1]:
            return "", parts[0]  # a pair of different images means neither
    return stem_of(name, known), name


def _leaves(name: str) -> bool:
    """Return whether a path is absolute or climbs up; `/JPEGImages/x.jpg` is PSA's way of the data set's root."""
    path = name.replace("\\", "/")
    if ".." in path.split("/") or _DRIVE.match(path) or path.startswith("//"):
        return True
    return path.startswith("/") and not (_ROOTED.fullmatch(path) and path.lower().endswith(IMAGE_SUFFIXES))
