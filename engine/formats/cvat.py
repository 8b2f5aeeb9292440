"""CVAT for images 1.1: annotations.xml beside a folder of photographs.

Masks are runs along rows of their box, zeros first (COCO's go down columns of the whole image).
Read are masks, polygons, boxes and ellipses, the lower z_order below the higher one.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree.ElementTree import ParseError
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from engine.errors import UserError
from engine.formats._files import inside, portability, root_of
from engine.formats._format import Format, Incoming, Labelled
from engine.formats._masks import VOID_COLOUR, Mask, Sizes, checked
from engine.formats._photographs import photograph, said_of_photographs
from engine.formats._runs import runs_of, spans_of
from engine.formats._shapes import Area, Effort, areas_of, centres_inside, values_of
from engine.formats.png import write_splits
from engine.intake import check_file
from engine.names import quote, stem_of

__all__ = ["FORMAT", "read", "write"]

_ACCEPTED = "A folder with annotations.xml of `CVAT for images 1.1`, at most 256 MiB."
_TODO = "Export it from CVAT again, as `CVAT for images 1.1`."
_NAME = "annotations.xml"
# No class of a project may be called so.
_UNSURE = "unsure"
_AREAS = ("mask", "polygon", "box", "ellipse")
_NO_AREAS = ("polyline", "points", "cuboid", "skeleton")

_MAX_BYTES = 256 * 2**20
_MAX_ELEMENTS = 1_000_000
_MAX_DEPTH = 12
# Expat begins a tag anew with every piece it is fed, so pieces are large and tags are not endless.
_PIECE = 2 * 2**20
_MAX_TAG = 4 * 2**20
_MAX_SHAPES = 20_000
_MAX_POINTS = 500_000
_ROUND = 256


def write(
    folder: Path,
    items: Iterable[Labelled],
    classes: Sequence[str],
    colours: Sequence[str],
    splits: Mapping[str, Sequence[str]],
) -> list[str]:
    """Fill the folder with annotations.xml, images/ and splits/; see `Format.write`."""
    (folder / "images").mkdir()
    labels = {**dict(enumerate(classes, 1)), 255: _UNSURE}
    stems: list[str] = []
    anew = unsure = 0
    with open(folder / _NAME, "w", encoding="utf-8", newline="\n") as file:
        void = "#{:02x}{:02x}{:02x}".format(*VOID_COLOUR)
        file.write(_head([*zip(classes, colours, strict=True), (_UNSURE, void)]))
        for item in checked(items, classes):
            name, written = photograph(item, folder / "images")
            anew += written
            height, width = item.mask.shape
            areas = areas_of(item)
            unsure += any(value == 255 for value, _ in areas)
            facts = {"id": len(stems), "name": name, "width": width, "height": height}
            masks = [_tag("mask", _mask(labels[value], area)) + "</mask>\n" for value, area in areas]
            file.write(f"{_tag('image', facts)}\n{''.join(masks)}</image>\n")
            stems.append(item.stem)
        file.write("</annotations>\n")
    write_splits(folder, stems, splits)
    lost = said_of_photographs(anew)
    if unsure:
        lost.append(
            f"Unsure pixels of {unsure} image(s) are masks with a label of its own, {_UNSURE}: "
            "CVAT knows no pixels to ignore, so a training script has to."
        )
    return lost + portability(stems)


def read(folder: Path, images: Sizes, classes: Sequence[str]) -> Incoming:
    """List the images of an annotations.xml; see `Format.read`.

    The file is read twice, piece by piece: as whole it need not fit into memory.
    """
    root = root_of(folder, _ACCEPTED)
    path = inside(_found(root), root, _ACCEPTED)
    stems: dict[str, None] = {}
    labels: dict[str, None] = {}
    unknown = lines = 0
    for picture in _pictures(path):
        stem = stem_of(picture.name, images)
        if stem not in images:
            unknown += 1
            continue
        if stem in stems:
            raise UserError(
                f"{path} has two images that are called {quote(stem)}.",
                _ACCEPTED,
                "Export one task, or rename one of the images.",
            )
        if picture.size != tuple(images[stem]):
            height, width = images[stem]
            raise UserError(
                f"{path}: {quote(picture.name)} is {picture.size[1]} x {picture.size[0]} px there, "
                f"the upright image {width} x {height} px.",
                _ACCEPTED,
                "Check that it was made for these images, and that they are turned alike.",
            )
        stems[stem] = None
        labels |= dict.fromkeys(str(shape.get("label")) for shape in picture.shapes)
        lines += picture.lines
    if not stems:
        raise UserError(
            f"{path} holds no image of this project.",
            _ACCEPTED,
            "Check that the file names are the image names.",
        )
    values, notes = values_of(labels, classes, (_UNSURE,))
    if lines:
        notes = (f"{lines} point(s), line(s) and cuboid(s) have no area and are left aside.", *notes)
    if unknown:
        notes = (f"{unknown} image(s) are not in the project and are left aside.", *notes)

    def items() -> Iterator[tuple[str, Mask]]:
        for picture in _pictures(path):
            stem = stem_of(picture.name, images)
            if stem in stems:
                yield stem, _drawn(picture, images[stem], values, path)

    return Incoming(tuple(stems), items(), notes)


def _head(labels: Iterable[tuple[str, str]]) -> str:
    """Return the document up to its first image; each label with its colour."""
    # `any`: a label of type mask could not be given polygons in CVAT afterwards.
    rows = "".join(
        f"<label><name>{escape(name)}</name><color>{colour.lower()}</color><type>any</type>"
        "<attributes></attributes></label>\n"
        for name, colour in labels
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n<meta><task>'
        "<id>0</id><name>wsss-napari</name><mode>annotation</mode><overlap>0</overlap>\n"
        f"<labels>\n{rows}</labels>\n</task></meta>\n"
    )


def _tag(name: str, facts: Mapping[str, object]) -> str:
    return f"<{name}{''.join(f' {key}={quoteattr(str(value))}' for key, value in facts.items())}>"


def _mask(label: str, area: Area) -> dict[str, object]:
    height, width = area.inside.shape
    # Runs of the turned region down its columns are runs of the region along its rows.
    runs = runs_of(area.inside.T, 0, 0, (width, height))
    return {
        "label": label,
        "source": "file",
        "occluded": 0,
        "rle": ", ".join(map(str, runs.tolist())),
        "left": area.left,
        "top": area.top,
        "width": width,
        "height": height,
        "z_order": 0,
    }


class _Picture(NamedTuple):
    """One image of the file: name, (H, W) in px, attributes of its areas, number of other shapes."""

    name: str
    size: tuple[int, int]
    shapes: list[dict[str, str]]
    lines: int


def _found(root: Path) -> Path:
    if (root / _NAME).exists():
        return root / _NAME
    others = sorted(p for p in root.iterdir() if p.suffix.lower() == ".xml" and not p.name.startswith("."))
    if len(others) != 1:
        raise UserError(f"{root} holds {len(others)} XML files and no {_NAME}.", _ACCEPTED, "Check the path.")
    return others[0]


class _Target:
    """What expat calls at each tag: gathers pictures and keeps no tree, so that memory stays small."""

    def __init__(self, path: Path) -> None:
        self.pictures: list[_Picture] = []
        self.elements = 0
        self._path = path
        self._open: list[str] = []
        self._facts: dict[str, str] = {}
        self._shapes: list[dict[str, str]] = []
        self._lines = 0

    def start(self, tag: str, facts: dict[str, str]) -> None:
        """Take a tag that begins."""
        self.elements += 1
        if not self._open and tag != "annotations":
            raise self._refusal(f"begins with {quote(tag)}, not 'annotations'")
        if tag == "track":
            raise self._refusal("is of a video: its shapes are tracks")
        if len(self._open) >= _MAX_DEPTH or self.elements > _MAX_ELEMENTS:
            raise self._refusal(f"is nested too deeply or has more than {_MAX_ELEMENTS:,} elements")
        if self._open == ["annotations"] and tag == "image":
            self._facts, self._shapes, self._lines = facts, [], 0
        elif self._open == ["annotations", "image"]:
            self._lines += tag in _NO_AREAS
            if tag in _AREAS:
                self._shapes.append({**facts, "kind": tag})
            if len(self._shapes) > _MAX_SHAPES:
                raise self._refusal(f"has an image with more than {_MAX_SHAPES:,} shapes")
        self._open.append(tag)

    def end(self, tag: str) -> None:
        """Take a tag that ends."""
        self._open.pop()
        if tag != "image" or self._open != ["annotations"]:
            return
        name, height, width = (
            self._facts.get("name"),
            _whole(self._facts.get("height")),
            _whole(self._facts.get("width")),
        )
        if not name or height is None or width is None:
            raise self._refusal("has an image without name, width and height")
        self.pictures.append(_Picture(name, (height, width), self._shapes, self._lines))

    def data(self, text: str) -> None:
        """Pass over text: all that is read stands in attributes."""

    def close(self) -> None:
        """End."""

    def _refusal(self, what: str) -> UserError:
        return UserError(f"{self._path} {what}.", _ACCEPTED, _TODO)


def _pictures(path: Path) -> Iterator[_Picture]:
    """Yield the images of the file, each without what came before it in memory."""
    check_file(path, _MAX_BYTES, _ACCEPTED)
    target = _Target(path)
    parser = DefusedXMLParser(target=target, forbid_dtd=True)
    with open(path, "rb") as file:
        elements, since = 0, 0
        while True:
            piece = file.read(_PIECE)
            with _parsing(path):
                if piece:
                    parser.feed(piece)
                else:
                    parser.close()
            yield from target.pictures
            target.pictures.clear()
            if not piece:
                return
            since = since + len(piece) if target.elements == elements else 0
            elements = target.elements
            if since > _MAX_TAG:
                raise UserError(f"{path} holds a tag or text without end.", _ACCEPTED, _TODO)


@contextlib.contextmanager
def _parsing(path: Path) -> Iterator[None]:
    """Turn what the parser throws at a damaged or hostile file into a sentence."""
    try:
        yield
    except ParseError as error:
        raise UserError(
            f"{path}, line {error.position[0]}: it is no XML, or cut short ({error}).", _ACCEPTED, _TODO
        ) from None
    except DefusedXmlException as error:
        raise UserError(
            f"{path} defines a document type or entities ({type(error).__name__}).", _ACCEPTED, _TODO
        ) from None
    except (ValueError, LookupError) as error:
        raise UserError(f"{path}: its encoding is not known ({error}).", _ACCEPTED, _TODO) from None


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"-?\d{1,9}", text.strip()) else None


def _drawn(picture: _Picture, size: tuple[int, int], values: Mapping[str, int], path: Path) -> Mask:
    mask = np.zeros(size, np.uint8)
    effort = Effort(size, f"{path}, image {quote(picture.name)}", _ACCEPTED)
    for shape in sorted(picture.shapes, key=lambda s: _whole(s.get("z_order", "0")) or 0):
        area = _KINDS[shape["kind"]](shape, effort)
        area.paint(mask, values.get(str(shape.get("label")), 0))
    return mask


def _stored(shape: Mapping[str, str], effort: Effort) -> Area:
    box = [_whole(shape.get(key)) for key in ("left", "top", "width", "height")]
    left, top, width, height = (-1 if n is None else n for n in box)
    if (
        min(left, top) < 0
        or min(width, height) < 1
        or left + width > effort.size[1]
        or top + height > effort.size[0]
    ):
        raise _fault(
            effort, f"a mask has the box {box} (left, top, width, height), which is not on the image"
        )
    effort.spend(width * height)
    text = shape.get("rle", "")
    if text.count(",") > width * height:
        raise _fault(effort, "a mask has more runs than pixels")
    try:
        counts = np.array(text.split(","), dtype=np.int64)
    except (ValueError, OverflowError):
        raise _fault(effort, f"a mask has no whole numbers in its rle: {quote(text)}") from None
    try:
        spans_of(counts, (height, width))
    except ValueError as error:
        raise _fault(effort, f"a mask {error}") from None
    return Area(top, left, np.repeat(np.arange(counts.size) % 2 == 1, counts).reshape(height, width))


def _polygon(shape: Mapping[str, str], effort: Effort) -> Area:
    text = shape.get("points", "")
    pairs = text.count(";") + 1
    if pairs > _MAX_POINTS or text.count(",") != pairs:
        raise _fault(
            effort, f"a polygon has no points 'x,y;x,y', or more than {_MAX_POINTS:,}: {quote(text)}"
        )
    return centres_inside(effort.points([pair.split(",") for pair in text.split(";")]), effort)


def _box(shape: Mapping[str, str], effort: Effort) -> Area:
    x0, y0, x1, y1 = _numbers(shape, effort, "xtl", "ytl", "xbr", "ybr")
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    return _turned(corners, corners.mean(axis=0), shape, effort)


def _ellipse(shape: Mapping[str, str], effort: Effort) -> Area:
    x, y, rx, ry = _numbers(shape, effort, "cx", "cy", "rx", "ry")
    turn = np.linspace(0, 2 * np.pi, _ROUND, endpoint=False)
    rim = np.stack([x + rx * np.cos(turn), y + ry * np.sin(turn)], axis=1)  # [n, 2]
    return _turned(rim, np.array([x, y]), shape, effort)


def _turned(points: np.ndarray, centre: np.ndarray, shape: Mapping[str, str], effort: Effort) -> Area:
    """Return the area of points turned clockwise about a centre, as `rotation` says in degrees."""
    (degrees,) = _numbers({"rotation": shape.get("rotation", "0")}, effort, "rotation")
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return centres_inside(effort.points((points - centre) @ np.array([[c, s], [-s, c]]) + centre), effort)


def _numbers(shape: Mapping[str, str], effort: Effort, *keys: str) -> list[float]:
    try:
        numbers = [float(shape[key]) for key in keys]
    except (KeyError, ValueError):
        numbers = [np.inf]
    if not np.isfinite(numbers).all():
        raise _fault(effort, f"a shape needs the numbers {', '.join(keys)}")
    return numbers


def _fault(effort: Effort, what: str) -> UserError:
    return UserError(f"{effort.where}: {what}.", _ACCEPTED, _TODO)


_KINDS: dict[str, Callable[[Mapping[str, Any], Effort], Area]] = {
    "mask": _stored,
    "polygon": _polygon,
    "box": _box,
    "ellipse": _ellipse,
}


FORMAT = Format(
    name="cvat",
    title="CVAT for images 1.1 (CVAT, datumaro)",
    holds="annotations.xml with masks as runs, images/ and splits/; import it into a CVAT project as a zip.",
    loses=(
        "Splits: the file is of one task; splits/ lists them as text.",
        "How each mask was made, by whom and whether it is approved.",
    ),
    kind="masks",
    write=write,
    read=read,
    objects=True,
)
