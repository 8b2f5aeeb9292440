"""Make a project: look at every image, read the tags, the classes, the splits, the truth."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine import images as pixels
from engine import tag_files
from engine.class_names import COCO, VOC
from engine.errors import UserError
from engine.messages import Event, New, Progress, Said
from engine.names import stem_fault
from engine.pace import Pace
from engine.store import Image, Project, TruthPlace, check_name, check_place, create
from engine.tags import Tags
from engine.work import Work

__all__ = ["run"]


def run(job: New, desk: Work) -> Generator[Event, None, dict[str, Any]]:
    """Make the project, whole or not at all.

    Raises:
        UserError: A folder or file is missing or holds mistakes (named with their lines).
    """
    check_place(Path(job.project))
    folder = Path(job.images).expanduser()
    found = pixels.find(folder)
    stems = tuple(found.stems)
    notes: list[str] = []
    splits = _splits(job.split, stems, notes)
    tags = _tags(job, stems, notes)
    for note in notes:
        yield Said(text=note, level="warning")
    truth = _truth(job, tags.classes)
    # Mistakes in small files are told before minutes are spent on looking at images.
    images = yield from _survey(found.stems, folder, splits)
    taken = set(stems)
    images += [_refused(path, why, taken) for path, why in found.refused]
    aside = [i for i in images if i.aside]
    if len(aside) == len(images):
        raise UserError(
            f"None of the {len(images)} images in {folder} can be read.",
            f"First: {aside[0].file}: {aside[0].aside}",
        )
    if aside:
        yield Said(
            text=f"{len(aside)} of {len(images)} images are set aside: "
            + "; ".join(f"{i.file}: {i.aside}" for i in aside[:3])
            + (" …" if len(aside) > 3 else ""),
            level="warning",
        )
    project = create(Path(job.project), images=images, image_folder=folder, tags=tags, truth=truth)
    return summary(project)


def summary(project: Project) -> dict[str, Any]:
    """Return what a person wants to know of a project that was just made."""
    tags = project.tags()
    return {
        "project": str(project.root),
        "images": len(project.images),
        "set_aside": {i.file: i.aside for i in project.images.values() if i.aside},
        "classes": list(project.classes),
        "tags": {name: count.present for name, count in zip(tags.classes, tags.counts(), strict=True)},
        "untagged": len(tags.untagged),
        "splits": {name: len(stems) for name, stems in project.splits.items()},
    }


def _tags(job: New, stems: Sequence[str], notes: list[str]) -> Tags:
    if job.classes and job.class_names:
        raise UserError(
            "Classes were given twice.", "Give a class file or type the names.", "Remove one of the two."
        )
    classes: tuple[str, ...] | None = job.class_names or None
    if job.classes:
        classes = tag_files.read_classes(Path(job.classes).expanduser(), notes)
    if job.tags is None:
        if classes is None:
            raise UserError(
                "Neither tags nor classes were given.",
                "A tag file names the classes; without one they are listed in a class file.",
                "Add --tags FILE, or --classes FILE with one name per line.",
            )
        return Tags.blank(classes, stems)
    read = tag_files.read_tags(Path(job.tags).expanduser(), stems=stems, classes=classes)
    notes += read.warnings
    return read.tags


def _splits(pairs: Sequence[str], stems: Sequence[str], notes: list[str]) -> dict[str, set[str]]:
    splits: dict[str, set[str]] = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not equals or not file:
            raise UserError(f"--split {pair!r} has no file.", "Accepted: NAME=FILE, as train=train.txt.")
        check_name(name, "a split")
        if name in splits or name == "all":
            raise UserError(
                f"The split '{name}' is given twice or is 'all'.", "Each split has a name of its own."
            )
        splits[name] = set(tag_files.read_split(Path(file).expanduser(), stems, notes))
    return splits


def _truth(job: New, classes: Sequence[str]) -> TruthPlace | None:
    if job.truth is None:
        if job.truth_classes is not None:
            raise UserError("--truth-classes was given without --truth.", "", "Add --truth DIR.")
        return None
    folder = Path(job.truth).expanduser()
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder.", "A folder of indexed PNG masks is accepted.")
    names: Sequence[str]
    match job.truth_classes:
        case None:
            names = classes
        case "voc":
            names = VOC
        case "coco":
            names = COCO
        case file:
            names = tag_files.read_classes(Path(file).expanduser())
    return TruthPlace(folder.resolve(), tuple(names))


def _survey(
    files: dict[str, Path], folder: Path, splits: dict[str, set[str]]
) -> Generator[Event, None, list[Image]]:
    """Decode every image once, so that a broken one is known now and not in the middle of the night."""
    images: list[Image] = []
    pace = Pace(len(files))
    # Threads suffice: decoding and hashing leave the interpreter lock.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        try:
            for image in pool.map(lambda item: _look(*item, folder), files.items()):
                images.append(replace(image, splits=tuple(n for n, s in splits.items() if image.stem in s)))
                yield Progress(
                    done=len(images), total=len(files), seconds_left=pace.left(len(images)), phase="images"
                )
        except GeneratorExit:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return images


def _look(stem: str, path: Path, folder: Path) -> Image:
    file = path.relative_to(folder).as_posix()
    try:
        picture = pixels.read(path)
        digest = pixels.digest(path)
    except UserError as error:
        return Image(stem=stem, file=file, height=0, width=0, aside=error.found)
    height, width = picture.pixels.shape[:2]
    return Image(stem, file, height, width, picture.orientation, picture.mode, digest)


def _refused(path: Path, why: str, taken: set[str]) -> Image:
    """Return the entry of a file that cannot be used, under a name that no other image has.

    Its own name may be the very reason: control characters, bytes that are no UTF-8, a twin.
    """
    file = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in path.name)
    stem = re.sub(r"[^\w .()+~-]", "_", Path(file).stem)[:150].strip()
    stem = stem if not stem_fault(stem) else "file"
    while stem in taken:
        stem += "~"
    taken.add(stem)
    return Image(stem=stem, file=file, height=0, width=0, aside=why)
