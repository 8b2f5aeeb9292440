"""True boxes from files of strangers: tables, COCO instances JSON, and folders of VOC XML.

Boxes are kept as (x0, y0, x1, y1) in px from 0 with both ends inside. VOC counts pixels from 1
and COCO gives a corner with width and height; both are converted. For evaluation and display only.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from engine.errors import UserError, nearest
from engine.intake import Mistakes, Text, named_by_id, parse_json, read_bytes, read_text
from engine.names import nfc, quote, stem_of

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["ACCEPTED", "Box", "TruthBoxes", "read_truth_boxes"]

ACCEPTED = (
    "A CSV or localization.txt with `image,x0,y0,x1,y1` and perhaps a class (px, corners), COCO instances JSON, "
    "or a folder of VOC XML annotations."
)

Box = tuple[float, float, float, float]

_COLUMNS: dict[str, tuple[str, ...]] = {
    "image": ("image", "image_id", "image_name", "file", "filename", "file_name", "stem", "path"),
    "x0": ("x0", "xmin", "x_min", "left"),
    "y0": ("y0", "ymin", "y_min", "top"),
    "x1": ("x1", "xmax", "x_max", "right"),
    "y1": ("y1", "ymax", "y_max", "bottom"),
    "class": ("class", "cls", "class_name", "label", "tag", "category"),
}
_CORNERS = ("x0", "y0", "x1", "y1")
_MAX_BOXES = 500_000
_MAX_PER_IMAGE = 1_000
# No picture is as wide; what is larger is no pixel coordinate.
_MAX_COORDINATE = 1e6
_MAX_XML_BYTES = 4 * 2**20
_MAX_FOLDER_BYTES = 256 * 2**20
_NAMED = 5


@dataclass
class TruthBoxes:
    """The true boxes of the images of a project.

    Attributes:
        form: What the file was found to be.
        boxes: Stem -> 0-based class, or None where the file names no class -> boxes.
        notes: Sentences on what was passed over.
    """

    form: str
    boxes: dict[str, dict[int | None, list[Box]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def of(self, stem: str, cls: int, single: bool = False) -> list[Box]:
        """Return the boxes of a class on an image.

        Args:
            stem: The image.
            cls: The class.
            single: Whether the class is the only one on the image, so that boxes without a class are its.
        """
        found = self.boxes.get(stem, {})
        return [*found.get(cls, ()), *(found.get(None, ()) if single else ())]


class _Row(NamedTuple):
    """One box as the file has it; `cls` is empty where it names none."""

    place: str
    image: str
    box: Box
    cls: str


def read_truth_boxes(path: Path, stems: Sequence[str], classes: Sequence[str]) -> TruthBoxes:
    """Return the true boxes of a file or folder.

    Such files describe whole data sets, so images and classes that the project lacks are passed
    over and counted in the notes.

    Args:
        path: The file or folder; its form is told by what is in it.
        stems: The images of the project; images in the file are matched by name without folder and suffix.
        classes: The classes of the project.

    Raises:
        UserError: The form is not known, the mistakes in it with their lines, or none of the
            boxes is of an image and a class of the project.
    """
    mistakes = Mistakes(path, ACCEPTED)
    notes: list[str] = []
    if path.is_dir():
        form, rows = "VOC XML annotations", _xml(path, frozenset(stems), mistakes, notes)
    else:
        data = read_bytes(path, accepted=ACCEPTED)
        if data.startswith((b"PK\x03\x04", b"\x80", b"%PDF", b"\xd0\xcf\x11\xe0", b"\x93NUMPY")):
            raise UserError(f"{path} is no text file.", ACCEPTED, "Save the boxes as CSV UTF-8.")
        text = read_text(path, data, ACCEPTED)
        del data
        first = text.whole.lstrip()[:1]
        if first == "<":
            raise UserError(
                f"{path} is an XML or HTML file.",
                ACCEPTED,
                "Give the folder of annotations, not one of them.",
            )
        if first in ("{", "["):
            form, rows = "COCO instances JSON", _coco(path, text, mistakes, notes)
        else:
            form, rows = "table", _table(path, text, mistakes)
    made = TruthBoxes(form, notes=notes)
    _settle(made, rows, stems, classes, mistakes)
    return made


def _settle(
    made: TruthBoxes, rows: Iterator[_Row], stems: Sequence[str], classes: Sequence[str], mistakes: Mistakes
) -> None:
    """Keep the rows of the project's images and classes, and note what is passed over."""
    known, index = frozenset(stems), {name: i for i, name in enumerate(classes)}
    stem_names: dict[str, str] = {}
    strangers: Counter[str] = Counter()
    others: Counter[str] = Counter()
    held: Counter[str] = Counter()
    for number, row in enumerate(rows, 1):
        if number > _MAX_BOXES:
            mistakes.add(row.place, f"there are more than {_MAX_BOXES:,} boxes")
            break
        if fault := _fault(row.box):
            mistakes.add(row.place, fault)
            continue
        if row.image not in stem_names:
            stem_names[row.image] = stem_of(row.image, known)
        stem = stem_names[row.image]
        if stem not in known:
            strangers[stem] += 1
            continue
        cls = nfc(row.cls).strip()
        if cls and cls not in index:
            others[cls] += 1
            continue
        held[stem] += 1
        if held[stem] > _MAX_PER_IMAGE:
            mistakes.add(row.place, f"{quote(stem)} has more than {_MAX_PER_IMAGE:,} boxes")
            break
        made.boxes.setdefault(stem, {}).setdefault(index[cls] if cls else None, []).append(row.box)
    if not made.boxes and not mistakes:
        mistakes.add("", *_none_fits(strangers, others, stems, classes))
    mistakes.check()
    if strangers:
        made.notes.append(
            f"{strangers.total():,} boxes are of {len(strangers):,} images that the project has not; they were passed over."
        )
    if others:
        named = ", ".join(f"{name} ({count:,})" for name, count in others.most_common(_NAMED))
        more = ", …" if len(others) > _NAMED else ""
        made.notes.append(f"Boxes of classes that are not the project's were passed over: {named}{more}.")


def _none_fits(
    strangers: Counter[str], others: Counter[str], stems: Sequence[str], classes: Sequence[str]
) -> tuple[str, Callable[[], str]]:
    """Return why no box of the file can be used, and advice."""
    if others:
        name = others.most_common(1)[0][0]
        return f"none of its classes is the project's, such as {quote(name)}", partial(nearest, name, classes)
    if strangers:
        name = next(iter(strangers))
        return f"none of its images is the project's, such as {quote(name)}", partial(nearest, name, stems)
    return "it has no box", lambda: ""


def _fault(box: Box) -> str:
    """Return why four numbers are no box, or an empty string."""
    x0, y0, x1, y1 = box
    most = _MAX_COORDINATE
    if -most <= x0 <= x1 <= most and -most <= y0 <= y1 <= most:
        return ""
    for name, value in zip(_CORNERS, box, strict=True):
        if not abs(value) <= most:  # NaN fails as well
            return f"{name} = {value:g} is no coordinate in px"
    return f"the box ends at ({x1:g}, {y1:g}) before it begins at ({x0:g}, {y0:g}): corners are wanted, not width and height"


def _table(path: Path, text: Text, mistakes: Mistakes) -> Iterator[_Row]:
    """Yield the rows of a table; the first line tells the separator and whether it is a header."""
    start = next(i for i, line in enumerate(text.lines) if line.strip())
    mark = max(",\t;", key=text.lines[start].count)
    reader = csv.reader((line + "\n" for line in text.lines[start:]), delimiter=mark, strict=True)
    columns: dict[str, int] = {}
    places: list[int] = []
    width = 0
    try:
        for cells in reader:
            number = start + reader.line_num
            while cells and not cells[-1].strip() and len(cells) > max(width, len(_COLUMNS)):
                cells.pop()
            if not "".join(cells).strip():
                continue
            if not columns:
                columns, header = _columns(path, cells, number)
                places, width = [columns[name] for name in _CORNERS], len(cells)
                if header:
                    continue
            short = "class" in columns and columns["class"] == width - 1 and len(cells) == width - 1
            if len(cells) != width and not short:
                mistakes.add(f"line {number}", f"{len(cells)} cells where {width} belong")
                continue
            corners = [cells[i] for i in places]
            try:
                x0, y0, x1, y1 = map(float, corners)
            except ValueError:
                mistakes.add(f"line {number}", f"{quote(', '.join(corners))} are not four numbers")
                continue
            cls = cells[columns["class"]] if "class" in columns and not short else ""
            yield _Row(f"line {number}", cells[columns["image"]].strip(), (x0, y0, x1, y1), cls)
    except csv.Error as error:
        mistakes.add(f"line {start + reader.line_num}", f"the cells cannot be told apart ({error})")


def _columns(path: Path, cells: Sequence[str], number: int) -> tuple[dict[str, int], bool]:
    """Return where each column is, and whether these cells are a header.

    Raises:
        UserError: They are neither a header nor a row of boxes.
    """
    if 5 <= len(cells) <= 6 and all(map(_is_number, cells[1:5])):
        return {name: i for i, name in enumerate(_COLUMNS) if i < len(cells)}, False
    words = [cell.strip().casefold() for cell in cells]
    found = {name: [i for i, word in enumerate(words) if word in _COLUMNS[name]] for name in _COLUMNS}
    doubled = [name for name, at in found.items() if len(at) > 1]
    if doubled:
        what = f"{path}, line {number}: {len(found[doubled[0]])} columns could be {doubled[0]}."
        raise UserError(what, ACCEPTED, "Keep one of them.")
    missing = [name for name in ("image", *_CORNERS) if not found[name]]
    if missing:
        what = f"{quote(', '.join(cells))} is no row of boxes, and as a header it lacks {', '.join(missing)}"
        todo = "Put `image,x0,y0,x1,y1` or `image,x0,y0,x1,y1,class` into the first line."
        if len(cells) == 3:
            todo = "A localization.txt of masks (three columns) holds no boxes; give that of boxes."
        raise UserError(f"{path}, line {number}: {what}.", ACCEPTED, todo)
    return {name: at[0] for name, at in found.items() if at}, True


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _coco(path: Path, text: Text, mistakes: Mistakes, notes: list[str]) -> Iterator[_Row]:
    """Yield the boxes of a COCO file; crowds and boxes without area are passed over."""
    value = parse_json(path, text, ACCEPTED)
    lists = ("images", "annotations", "categories")
    if not isinstance(value, dict) or not all(isinstance(value.get(key), list) for key in lists):
        raise UserError(
            f"{path} is no COCO file: it has not the lists images, annotations and categories.",
            ACCEPTED,
            "Give instances_*.json, or save the boxes as CSV.",
        )
    images = named_by_id(value, "images", "file_name", mistakes)
    categories = named_by_id(value, "categories", "name", mistakes)
    crowds = flat = 0
    for i, entry in enumerate(value["annotations"]):
        place = f"annotations[{i}]"
        fields = entry if isinstance(entry, dict) else {}
        image, category, bbox = (fields.get(key) for key in ("image_id", "category_id", "bbox"))
        wrong = [
            f"there is no {key} {quote(number)}"
            for key, number, known in (("image_id", image, images), ("category_id", category, categories))
            if type(number) is not int or number not in known
        ]
        if wrong:
            mistakes.add(place, wrong[0])
            continue
        if not isinstance(bbox, list) or len(bbox) != 4 or not all(type(v) in (int, float) for v in bbox):
            mistakes.add(place, f"its bbox {quote(bbox)} is not [x, y, width, height]")
            continue
        if any(abs(v) > _MAX_COORDINATE for v in bbox) or min(bbox[2:]) < 0:
            mistakes.add(place, f"its bbox {quote(bbox)} holds numbers that are no px")
            continue
        x, y, width, height = map(float, bbox)
        if fields.get("iscrowd") == 1:
            crowds += 1
        elif width == 0 or height == 0:
            flat += 1
        else:
            box = (x, y, x + max(width - 1, 0), y + max(height - 1, 0))
            yield _Row(place, images[image], box, categories[category])  # type: ignore[index]
    if crowds:
        notes.append(f"{crowds:,} boxes of crowds were passed over.")
    if flat:
        notes.append(f"{flat:,} boxes without area were passed over.")


def _xml(folder: Path, stems: frozenset[str], mistakes: Mistakes, notes: list[str]) -> Iterator[_Row]:
    """Yield the boxes of the annotations of the project's images; the file's name gives the stem."""
    files = sorted(folder.glob("*.xml"))
    if not files:
        below = [name for name in ("Annotations", "localization.txt") if (folder / name).exists()]
        todo = f"Give {folder / below[0]}." if below else "Check the path."
        raise UserError(f"{folder} holds no annotations (.xml).", ACCEPTED, todo)
    wanted = [path for path in files if stem_of(path.stem, stems) in stems]
    if not wanted:
        raise UserError(
            f"{folder}: none of its {len(files):,} annotations is of an image of the project, such as {files[0].name}.",
            ACCEPTED,
            nearest(files[0].stem, stems) or "Check the path.",
        )
    if len(wanted) < len(files):
        notes.append(f"{len(files) - len(wanted):,} annotations are of images that the project has not.")
    left = _MAX_FOLDER_BYTES
    for path in wanted:
        try:
            data = read_bytes(path, _MAX_XML_BYTES, ACCEPTED)
        except UserError as error:
            mistakes.add(path.name, error.found.removeprefix(f"{path} ").rstrip("."))
            continue
        left -= len(data)
        if left < 0:
            mistakes.add(path.name, f"the annotations have more than {_MAX_FOLDER_BYTES >> 20} MiB in all")
            return
        root = _root(path, data, mistakes)
        for thing in () if root is None else root.findall("object"):
            row = _object(path, thing)
            if isinstance(row, str):
                mistakes.add(path.name, row)
            else:
                yield row


def _root(path: Path, data: bytes, mistakes: Mistakes) -> Element | None:
    try:
        root: Element = fromstring(data, forbid_dtd=True)
    except ParseError as error:
        mistakes.add(f"{path.name}, line {error.position[0]}", f"it is no XML ({error})")
    except DefusedXmlException as error:
        mistakes.add(path.name, f"it defines a document type or entities ({type(error).__name__})")
    except (ValueError, LookupError) as error:
        mistakes.add(path.name, f"its encoding is not known ({error})")
    else:
        if root.tag == "annotation":
            return root
        mistakes.add(path.name, f"its root is {quote(root.tag)}, not 'annotation'")
    return None


def _object(path: Path, thing: Element) -> _Row | str:
    """Return the box of an object, or what is wrong with it."""
    name = (thing.findtext("name") or "").strip()
    if not name:
        return "an object has no name"
    corners = [(thing.findtext(f"bndbox/{side}") or "").strip() for side in ("xmin", "ymin", "xmax", "ymax")]
    if not all(map(_is_number, corners)):
        return f"the box of {quote(name)} has not the four numbers xmin, ymin, xmax, ymax"
    # Annotators that count from 0 write 0 for the first pixel, which must not become -1.
    x0, y0, x1, y1 = (max(float(corner) - 1, 0) for corner in corners)
    return _Row(path.name, path.stem, (x0, y0, x1, y1), name)
