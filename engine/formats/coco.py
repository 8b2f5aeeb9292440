"""COCO instances: an object is a connected region of a class, or an instance that IRN found.

Read by pycocotools, torchvision, detectron2, mmdetection, datumaro and CVAT. Polygons run along
the edges of pixels, so that pycocotools fills exactly the pixels of the mask.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.formats._coco_files import Book, Sheet, read_sheets, write_books
from engine.formats._files import portability
from engine.formats._format import Format, Incoming, Labelled
from engine.formats._lists import lists_of
from engine.formats._masks import UNSURE, Mask, Sizes, checked
from engine.formats._objects import Object, ObjectKind, find_objects
from engine.formats._outlines import edge_polygons
from engine.formats._photographs import photograph, said_of_photographs
from engine.formats._runs import counts_of, runs_of, spans_of, text_of
from engine.formats._shapes import Effort, centres_inside
from engine.names import quote
from engine.params import Spec

__all__ = ["FORMAT", "Options", "read", "write"]

_ACCEPTED = "A folder with annotations/instances_<split>.json, or instances*.json, as COCO has them."
_PREFIX = "instances"
# What painting costs beside the step that one pixel of a polygon takes: a run takes as much as many, and
# memory is filled many pixels at once.
_RUN, _MEMSET = 16, 8
# Each of a hundred thousand tiny ones costs time as well.
_RUNS, _POLYGON = 1_000, 4_000


@dataclass(frozen=True)
class Options:
    """What can be chosen of a COCO export."""

    segmentation: Annotated[
        Literal["polygons", "rle"],
        Spec("Polygons along pixel edges, or run lengths; both give the same pixels.", main=True),
    ] = "polygons"
    objects: ObjectKind = "instances"


_DEFAULT = Options()


def write(
    folder: Path,
    items: Iterable[Labelled],
    classes: Sequence[str],
    colours: Sequence[str],
    splits: Mapping[str, Sequence[str]],
    options: Options = _DEFAULT,
) -> list[str]:
    """Fill the folder with images/ and annotations/instances_<split>.json; see `Format.write`.

    Unsure pixels become crowd regions of each class on the image (of every class where there is
    none), marked `attributes.unsure`: what is found there counts neither for nor against.
    """
    del colours
    for part in ("images", "annotations"):
        (folder / part).mkdir()
    book = Book([{"id": k, "name": n, "supercategory": ""} for k, n in enumerate(classes, 1)])
    numbers = iter(range(1, 2**53))
    converted = unsure = 0
    for item in checked(items, classes):
        size = (item.mask.shape[0], item.mask.shape[1])
        name, anew = photograph(item, folder / "images")
        converted += anew
        entries = [_entry(o, size, options) for o in find_objects(item, options.objects)]
        crowds = _crowds(item.mask, len(classes))
        unsure += bool(crowds)
        book.add(item.stem, name, size, [{"id": next(numbers), **e} for e in (*entries, *crowds)])
    lists, notes = lists_of(list(book.images), splits)
    write_books(folder / "annotations", _PREFIX, book, lists)
    lost = [*said_of_photographs(converted), *notes]
    if unsure:
        lost.append(
            f"Unsure pixels of {unsure} image(s) are crowd regions (iscrowd 1): COCO's evaluation passes them "
            "over, and training code that leaves crowds out takes them for background."
        )
    if options.segmentation == "rle":
        lost.append("Objects are run lengths with iscrowd 0: some readers take every run length for a crowd.")
    return lost + portability(book.images)


def _entry(found: Object, size: tuple[int, int], options: Options) -> dict[str, Any]:
    segmentation: Any
    if options.segmentation == "rle":
        segmentation = _run_lengths(found.region, found.top, found.left, size)
    else:
        shift = (found.left, found.top)
        segmentation = [(p + shift).ravel().tolist() for p in edge_polygons(found.region)]
    return {
        "category_id": found.value,
        "segmentation": segmentation,
        "area": int(found.region.sum()),
        "bbox": found.bbox,
        "iscrowd": 0,
    }


def _crowds(mask: Mask, n_classes: int) -> list[dict[str, Any]]:
    """Return the unsure pixels as crowds of the classes that they may belong to."""
    region = mask == UNSURE
    if not region.any():
        return []
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    top, left = int(rows[0]), int(columns[0])
    part = region[top : rows[-1] + 1, left : columns[-1] + 1]
    entry = {
        "segmentation": _run_lengths(part, top, left, (mask.shape[0], mask.shape[1])),
        "area": int(part.sum()),
        "bbox": Object(UNSURE, top, left, part).bbox,
        "iscrowd": 1,
        "attributes": {"unsure": True},
    }
    there = [v for v in np.unique(mask).tolist() if 0 < v < UNSURE]
    return [{"category_id": v, **entry} for v in there or range(1, n_classes + 1)]


def _run_lengths(region: NDArray[np.bool_], top: int, left: int, size: tuple[int, int]) -> dict[str, Any]:
    return {"size": list(size), "counts": text_of(runs_of(region, top, left, size))}


def read(folder: Path, images: Sizes, classes: Sequence[str]) -> Incoming:
    """List the images of instances*.json; see `Format.read`.

    Where objects overlap the smaller one lies above. Crowds of others count as their class; what
    an export of ours marks `attributes.unsure` is unsure. An image listed in several files is
    read from the first.
    """
    found = read_sheets(folder, _PREFIX, images, classes, _ACCEPTED)
    stems = tuple(s for members in found.stems.values() for s in members)

    def items() -> Iterator[tuple[str, Mask]]:
        for sheet, members in found.sheets():
            for stem in members:
                yield stem, _painted(sheet, stem, (images[stem][0], images[stem][1]))

    return Incoming(stems, items(), found.notes)


class _Shape(NamedTuple):
    """One annotation: value in the mask, how much it covers in px, and its runs or its polygons."""

    value: int
    area: float
    spans: tuple[NDArray[np.int64], NDArray[np.int64]] | None
    polygons: list[NDArray[np.float64]]


def _painted(sheet: Sheet, stem: str, size: tuple[int, int]) -> Mask:
    """Return the mask of an image, the largest annotation lowest."""
    effort = Effort(size, f"{sheet.path}, image {quote(stem)}", _ACCEPTED)
    shapes = [_shape(sheet, place, entry, size, effort) for place, entry in sheet.annotations[stem]]
    height, width = size
    canvas = np.zeros(height * width, np.uint8)  # down the columns, as the runs are
    picture = canvas.reshape(width, height).T
    for shape in sorted((s for s in shapes if s is not None), key=lambda s: -s.area):
        if shape.spans is not None:
            for start, end in zip(shape.spans[0].tolist(), shape.spans[1].tolist(), strict=True):
                canvas[start:end] = shape.value
        for points in shape.polygons:
            centres_inside(points, effort).paint(picture, shape.value)
    return np.ascontiguousarray(picture)


def _shape(
    sheet: Sheet, place: int, entry: dict[str, Any], size: tuple[int, int], effort: Effort
) -> _Shape | None:
    """Return what an annotation paints, None for the background and for a class that the project lacks.

    Raises:
        UserError: It is damaged, or all of them are too much for one image.
    """
    where = f"{sheet.path}, annotations[{place}]"
    number, segmentation = entry.get("category_id"), entry.get("segmentation")
    if type(number) is not int or number not in sheet.categories:
        raise UserError(f"{where}: there is no category_id {quote(number)}.", _ACCEPTED)
    value = sheet.categories[number]
    if not value:
        return None  # background is what no annotation covers
    try:
        if isinstance(segmentation, dict):
            spans = _spans(segmentation, size)
            area = int((spans[1] - spans[0]).sum())
            effort.spend(_RUNS + _RUN * len(spans[0]) + area // _MEMSET)
            if entry.get("iscrowd") == 1 and _says_unsure(entry):
                return _Shape(UNSURE, float("inf"), spans, [])  # below all that somebody is sure of
            return _Shape(value, area, spans, [])
        polygons = _polygons(segmentation, effort)
    except ValueError as error:
        raise UserError(
            f"{where} {error}.", _ACCEPTED, "Export it again with the tool it came from."
        ) from None
    return _Shape(value, sum(map(_area, polygons)), None, polygons)


def _says_unsure(entry: dict[str, Any]) -> bool:
    attributes = entry.get("attributes")
    return isinstance(attributes, dict) and attributes.get("unsure") is True


def _spans(value: dict[str, Any], size: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if value.get("size") != list(size):
        raise ValueError(f"has run lengths of size {quote(value.get('size'))}, its image has {list(size)}")
    counts = value.get("counts")
    if isinstance(counts, str):
        return spans_of(counts_of(counts), size)
    if not isinstance(counts, list) or not all(type(n) is int and 0 <= n <= 2**40 for n in counts):
        raise ValueError("has counts that are no text and no list of whole numbers")
    return spans_of(np.array(counts, np.int64), size)


def _polygons(value: Any, effort: Effort) -> list[NDArray[np.float64]]:
    if not isinstance(value, list):
        raise ValueError("has no segmentation, and a box alone is no mask")
    polygons = []
    for one in value:
        numbers = one if isinstance(one, list) else []
        if len(numbers) < 6 or len(numbers) % 2 or not {*map(type, numbers)} <= {int, float}:
            raise ValueError("has a polygon that is no flat list x, y, x, y, ... of at least three points")
        effort.spend(_POLYGON)
        try:
            points = np.array(numbers, np.float64).reshape(-1, 2)
        except OverflowError:
            raise ValueError("has a polygon with a number of hundreds of digits") from None
        polygons.append(effort.points(points))
    return polygons


def _area(points: NDArray[np.float64]) -> float:
    x, y = (points - points[0]).T
    return float(abs(np.dot(x[:-1], y[1:]) - np.dot(y[:-1], x[1:])) / 2)


FORMAT = Format(
    name="coco",
    title="COCO instances (pycocotools, torchvision, detectron2, CVAT)",
    holds="images/ and annotations/instances_<split>.json with polygons or run lengths of objects.",
    loses=(
        "Unsure pixels as such: COCO has crowd regions, which are written in their place.",
        "Class colours.",
        "How each mask was made, by whom and whether it is approved.",
    ),
    kind="masks",
    write=write,
    read=read,
    options=Options,
    objects=True,
)
