"""COCO panoptic: every pixel belongs to one segment, in a PNG whose colour is the segment's number.

The number is R + 256 G + 65536 B, and 0 is void: unsure pixels have a place here. Background is a
category of stuff, as it would be void too if it were left out.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from engine.colours import rgb_of
from engine.errors import UserError
from engine.formats._coco_files import Book, Sheet, read_sheets, write_books
from engine.formats._files import check_stem, inside, portability
from engine.formats._format import Format, Incoming, Labelled
from engine.formats._lists import lists_of
from engine.formats._masks import UNSURE, Mask, Sizes, checked
from engine.formats._objects import Object, find_objects
from engine.formats._photographs import photograph, said_of_photographs
from engine.images.opening import decoding, opened
from engine.names import quote
from engine.params import Spec

__all__ = ["FORMAT", "Options", "read", "write"]

_ACCEPTED = "A folder with annotations/panoptic_<split>.json and annotations/panoptic_<split>/<image>.png, as COCO has them."
_PREFIX = "panoptic"
_BAND = 4_000_000
_MAX_NUMBER = 1 << 24


@dataclass(frozen=True)
class Options:
    """What can be chosen of a panoptic export."""

    objects: Annotated[
        Literal["instances", "components", "classes"],
        Spec(
            "Segments are the instances of the refinement where it found any, connected regions, "
            "or whole classes, which are stuff then.",
            main=True,
        ),
    ] = "instances"


_DEFAULT = Options()


def write(
    folder: Path,
    items: Iterable[Labelled],
    classes: Sequence[str],
    colours: Sequence[str],
    splits: Mapping[str, Sequence[str]],
    options: Options = _DEFAULT,
) -> list[str]:
    """Fill the folder with images/, annotations/panoptic_<split>.json and the PNGs beside it."""
    for part in ("images", "annotations"):
        (folder / part).mkdir()
    thing = int(options.objects != "classes")
    background = len(classes) + 1
    book = Book(
        [
            {"id": k, "name": name, "supercategory": "", "isthing": thing, "color": list(rgb_of(colour))}
            for k, (name, colour) in enumerate(zip(classes, colours, strict=True), 1)
        ]
    )
    book.categories.append(
        {"id": background, "name": "background", "supercategory": "", "isthing": 0, "color": [0, 0, 0]}
    )
    pictures = folder / "annotations" / _PREFIX
    pictures.mkdir()
    converted = 0
    for item in checked(items, classes):
        name, anew = photograph(item, folder / "images")
        converted += anew
        numbers, segments = _segments(item, options, background)
        _write_numbers(pictures / f"{item.stem}.png", numbers)
        size = (item.mask.shape[0], item.mask.shape[1])
        book.add(item.stem, name, size, [{"file_name": f"{item.stem}.png", "segments_info": segments}])
    lists, notes = lists_of(list(book.images), splits)
    write_books(folder / "annotations", _PREFIX, book, lists)
    _share_out(pictures, lists)
    return [*said_of_photographs(converted), *notes, *portability(book.images)]


def _segments(
    item: Labelled, options: Options, background: int
) -> tuple[NDArray[np.uint32], list[dict[str, Any]]]:
    """Return the numbers `[H, W]` uint32 of an image, 0 for void, and what COCO says of each."""
    numbers = np.zeros(item.mask.shape, np.uint32)
    segments = []
    found = list(find_objects(item, options.objects))
    empty = item.mask == 0
    if empty.any():
        rows, columns = np.flatnonzero(empty.any(1)), np.flatnonzero(empty.any(0))
        part = empty[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        found.append(Object(background, int(rows[0]), int(columns[0]), part))
    for number, o in enumerate(found, 1):
        height, width = o.region.shape
        numbers[o.top : o.top + height, o.left : o.left + width][o.region] = number
        segments.append(
            {
                "id": number,
                "category_id": o.value,
                "area": int(o.region.sum()),
                "bbox": [int(n) for n in o.bbox],
                "iscrowd": 0,
            }
        )
    return numbers, segments


def _write_numbers(path: Path, numbers: NDArray[np.uint32]) -> None:
    colour = np.stack([(numbers >> shift & 255).astype(np.uint8) for shift in (0, 8, 16)], 2)  # [H, W, 3]
    Pillow.fromarray(colour).save(path, "PNG", compress_level=4)


def _share_out(pictures: Path, lists: Mapping[str, Sequence[str]]) -> None:
    """Put the PNGs into a folder for each split, where readers look for them."""
    for split, stems in lists.items():
        folder = pictures.with_name(f"{_PREFIX}_{split}")
        folder.mkdir()
        for stem in stems:
            shutil.copyfile(pictures / f"{stem}.png", folder / f"{stem}.png")
    shutil.rmtree(pictures)


def read(folder: Path, images: Sizes, classes: Sequence[str]) -> Incoming:
    """List the images of panoptic*.json; see `Format.read`.

    Void becomes unsure; an image listed in several files is read from the first.
    """
    found = read_sheets(folder, _PREFIX, images, classes, _ACCEPTED)
    stems = tuple(s for members in found.stems.values() for s in members)

    def items() -> Iterator[tuple[str, Mask]]:
        for sheet, members in found.sheets():
            for stem in members:
                yield stem, _mask(sheet, stem, (images[stem][0], images[stem][1]), folder)

    return Incoming(stems, items(), found.notes)


def _mask(sheet: Sheet, stem: str, size: tuple[int, int], root: Path) -> Mask:
    entries = sheet.annotations[stem]
    if len(entries) != 1:
        raise UserError(
            f"{sheet.path} has {len(entries)} annotations of {quote(stem)}.",
            "Panoptic files have one for each image, with the list segments_info.",
            "Check that it is the right file; objects are read by the format `coco`.",
        )
    place, entry = entries[0]
    where = f"{sheet.path}, annotations[{place}]"
    numbers, values = _meaning(entry, where, sheet.categories)
    path = sheet.path.with_suffix("") / f"{check_stem(stem)}.png"
    inside(path, root, _ACCEPTED)
    mask = np.empty(size, np.uint8)
    with opened(path, forms=("PNG",), accepted=_ACCEPTED) as (image, header):
        if image.mode != "RGB" or header.orientation != 1 or image.size != size[::-1]:
            raise UserError(
                f"{path} is a picture of mode {image.mode}, {image.width} x {image.height} px, "
                f"its image {size[1]} x {size[0]} px.",
                "An upright RGB PNG of the size of its image.",
                "Check that the PNGs belong to these images.",
            )
        with decoding(path, _ACCEPTED):
            image.load()
        rows = max(1, _BAND // size[1])
        for top in range(0, size[0], rows):
            band = np.asarray(image.crop((0, top, size[1], min(top + rows, size[0]))))  # [b, W, 3]
            found = (
                band[..., 0] + 256 * band[..., 1].astype(np.uint32) + 65536 * band[..., 2].astype(np.uint32)
            )
            at = np.searchsorted(numbers, found).clip(max=len(numbers) - 1)
            if (strange := numbers[at] != found).any():
                raise UserError(
                    f"{path} holds the segment {int(found[strange][0])}, of which {where} says nothing.",
                    _ACCEPTED,
                    "Check that the JSON file and the PNGs belong together.",
                )
            mask[top : top + rows] = values[at]
    return mask


def _meaning(
    entry: dict[str, Any], where: str, categories: Mapping[int, int | None]
) -> tuple[NDArray[np.uint32], Mask]:
    """Return the segments' numbers, ascending from 0 for void, and their values in a mask."""
    listed = entry.get("segments_info")
    if not isinstance(listed, list):
        raise UserError(f"{where} has no list segments_info.", _ACCEPTED)
    values = {0: UNSURE}
    for segment in listed:
        given = segment if isinstance(segment, dict) else {}
        number, category = given.get("id"), given.get("category_id")
        if type(number) is not int or not 0 < number < _MAX_NUMBER or number in values:
            raise UserError(
                f"{where} has a segment of id {quote(number)}.", "Each id once, from 1 to 16777215."
            )
        if type(category) is not int or category not in categories:
            raise UserError(f"{where}: there is no category_id {quote(category)}.", _ACCEPTED)
        values[number] = categories[category] or 0
    order = sorted(values)
    return np.array(order, np.uint32), np.array([values[n] for n in order], np.uint8)


FORMAT = Format(
    name="coco-panoptic",
    title="COCO panoptic (detectron2, mmdetection, datumaro)",
    holds="images/, annotations/panoptic_<split>.json and a PNG of segments for each image.",
    loses=(
        "Unsure pixels are void, as are those that nobody has labelled.",
        "How each mask was made, by whom and whether it is approved.",
    ),
    kind="masks",
    write=write,
    read=read,
    options=Options,
    objects=True,
)
