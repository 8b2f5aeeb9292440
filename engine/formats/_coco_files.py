"""The JSON files of COCO: one for each split, with images, categories and annotations."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import UserError
from engine.formats._files import inside, root_of
from engine.formats._masks import Sizes
from engine.intake import Mistakes, named_by_id, parse_json, read_bytes, read_text
from engine.names import nfc, quote, stem_of

__all__ = ["Book", "Found", "Sheet", "read_sheets", "write_books"]

_MAX_ALL = 128 * 2**20
_SHOWN = 8


@dataclass
class Book:
    """What is written of a data set: an entry for each image, and JSON texts of its annotations."""

    categories: list[dict[str, Any]]
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    annotations: dict[str, list[str]] = field(default_factory=dict)

    def add(
        self, stem: str, file_name: str, size: tuple[int, int], annotations: list[dict[str, Any]]
    ) -> None:
        """Add an image; its annotations are given their image_id."""
        number = len(self.images) + 1
        height, width = size
        self.images[stem] = {"id": number, "file_name": file_name, "width": width, "height": height}
        # Kept as text: ten thousand images of numbers would take gigabytes as objects.
        self.annotations[stem] = [json.dumps({**a, "image_id": number}) for a in annotations]


def write_books(folder: Path, prefix: str, book: Book, lists: Mapping[str, Sequence[str]]) -> None:
    """Write <prefix>_<split>.json for each list of images."""
    head = {"info": {"description": "Exported by wsss-napari"}, "licenses": []}
    for split, stems in lists.items():
        with (folder / f"{prefix}_{split}.json").open("w", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(head)[:-1])
            file.write(f',\n"categories": {json.dumps(book.categories, ensure_ascii=False)}')
            images = (json.dumps(book.images[s], ensure_ascii=False) for s in stems)
            file.write(',\n"images": [\n' + ",\n".join(images))
            annotations = (text for s in stems for text in book.annotations[s])
            file.write('\n],\n"annotations": [\n' + ",\n".join(annotations) + "\n]}\n")


@dataclass
class Sheet:
    """The part of one file that belongs to the images of the project.

    Attributes:
        path: The file.
        stems: Image id of the file -> stem.
        categories: Category id -> value in a mask (0 for the background), None for a class
            that the project lacks.
        dropped: Names of the classes that the project lacks.
        annotations: Stem -> (place in the list, entry) of its annotations.
        unknown: How many images of the file the project lacks.
    """

    path: Path
    stems: dict[int, str]
    categories: dict[int, int | None]
    dropped: tuple[str, ...]
    annotations: dict[str, list[tuple[int, dict[str, Any]]]]
    unknown: int


@dataclass
class Found:
    """What lies in a folder: the stems of each file, in order, without those of files before it."""

    stems: dict[Path, list[str]]
    notes: tuple[str, ...]
    images: Sizes
    classes: Sequence[str]
    accepted: str

    def sheets(self) -> Iterator[tuple[Sheet, list[str]]]:
        """Yield each file, read again: all of them at once might not fit into memory."""
        for path, stems in self.stems.items():
            yield _sheet(path, self.images, self.classes, self.accepted), stems


def read_sheets(folder: Path, prefix: str, images: Sizes, classes: Sequence[str], accepted: str) -> Found:
    """Look through the files of a folder, `annotations/<prefix>*.json` or `<prefix>*.json`.

    Raises:
        UserError: There is none, one is damaged, or none has an image or a class of the project.
    """
    root = root_of(folder, accepted)
    paths = sorted(p for place in ("annotations", ".") for p in (root / place).glob(f"{prefix}*.json"))
    if not paths:
        raise UserError(f"{folder} holds no {prefix}*.json.", accepted, "Check the path.")
    size = sum(inside(p, root, accepted).stat().st_size for p in paths)
    if size > _MAX_ALL:
        raise UserError(
            f"The annotations in {folder} have {size / 2**20:,.0f} MiB in all.",
            f"{accepted} At most {_MAX_ALL >> 20} MiB are read at once.",
            "Put the files into folders of their own, or write masks as run lengths.",
        )
    notes: dict[str, None] = {}
    taken: dict[str, None] = {}
    found: dict[Path, list[str]] = {}
    unknown = 0
    for path in paths:
        sheet = _sheet(path, images, classes, accepted)
        found[path] = [s for s in sheet.stems.values() if s not in taken]
        taken |= dict.fromkeys(found[path])
        unknown += sheet.unknown
        if sheet.dropped:
            more = f" and {len(sheet.dropped) - _SHOWN} more" if len(sheet.dropped) > _SHOWN else ""
            named = ", ".join(sheet.dropped[:_SHOWN])
            notes[f"Classes that the project lacks become background: {named}{more}."] = None
    if not taken:
        raise UserError(
            f"{folder}: none of the images in its {len(paths)} file(s) is one of this project.",
            accepted,
            "Check that the file names are the image names.",
        )
    if unknown:
        notes[f"{unknown} image(s) of the files are none of the project and are left aside."] = None
    return Found(found, tuple(notes), images, classes, accepted)


def _sheet(path: Path, images: Sizes, classes: Sequence[str], accepted: str) -> Sheet:
    value = parse_json(path, read_text(path, read_bytes(path, accepted=accepted), accepted), accepted)
    if not isinstance(value, dict) or not isinstance(value.get("annotations"), list):
        raise UserError(f"{path} holds no list 'annotations'.", accepted, "Check that it is the right file.")
    mistakes = Mistakes(path, accepted)
    names = named_by_id(value, "images", "file_name", mistakes)
    categories = named_by_id(value, "categories", "name", mistakes)
    mistakes.check()
    stems = {number: stem_of(name, images) for number, name in names.items()}
    known = {number: stem for number, stem in stems.items() if stem in images}
    if len(set(known.values())) != len(known):
        raise UserError(f"{path} lists one image of the project twice.", accepted, "Keep one of the two.")
    _check_sizes(value["images"], known, images, mistakes)
    annotations: dict[str, list[tuple[int, dict[str, Any]]]] = {stem: [] for stem in known.values()}
    for i, entry in enumerate(value["annotations"]):
        image = entry.get("image_id") if isinstance(entry, dict) else None
        if type(image) is not int or image not in names:
            mistakes.add(f"annotations[{i}]", f"there is no image_id {quote(image)}")
        elif image in known:
            annotations[known[image]].append((i, entry))
    mistakes.check()
    places = {nfc(name): index for index, name in enumerate(classes, 1)} | {"background": 0}
    meaning = {number: places.get(nfc(name)) for number, name in categories.items()}
    if not any(meaning.values()):
        first = ", ".join(list(categories.values())[:_SHOWN])
        raise UserError(
            f"{path}: none of its categories is a class of the project; they are {quote(first)}.",
            f"Classes of the project: {', '.join(classes)}.",
            "Rename the categories as the classes are called.",
        )
    dropped = tuple(name for number, name in categories.items() if meaning[number] is None)
    return Sheet(path, known, meaning, dropped, annotations, len(names) - len(known))


def _check_sizes(
    entries: Sequence[dict[str, Any]], known: Mapping[int, str], images: Sizes, mistakes: Mistakes
) -> None:
    """Note the images whose size in the file is another; files may leave sizes out."""
    for i, entry in enumerate(entries):
        stem = known.get(entry["id"])
        given = (entry.get("height"), entry.get("width"))
        if stem is None or given == (None, None) or given == tuple(images[stem]):
            continue
        height, width = images[stem]
        turned = (
            "; height and width are exchanged: the file describes it as stored, lying on its side, "
            "and EXIF turns it upright"
            if given == (width, height)
            else ""
        )
        mistakes.add(
            f"images[{i}]",
            f"{quote(stem)} has {quote(given[1])} x {quote(given[0])} px there and {width} x {height} px "
            f"in the project{turned}",
        )
    mistakes.check()
