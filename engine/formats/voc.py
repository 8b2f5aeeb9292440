"""PASCAL VOC 2012: photographs, indexed masks and lists.

Read by torchvision's VOCSegmentation (give it the folder that was written), datumaro and
CVAT (give them VOCdevkit/VOC2012) and most segmentation code.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image as Pillow

from engine import images as pixels
from engine.class_names import VOC
from engine.colours import voc_palette
from engine.errors import UserError
from engine.formats._files import inside, listed, portability, root_of, split_lists
from engine.formats._format import Format, Incoming, Labelled
from engine.formats._masks import (
    VOID_COLOUR,
    Mask,
    Sizes,
    checked,
    class_table,
    read_all,
    translate,
    write_indexed,
)
from engine.formats._objects import find_objects
from engine.formats._photographs import checked_facts
from engine.intake import read_text
from engine.names import collision_key, quote
from engine.params import Spec

__all__ = ["FORMAT", "Options", "read", "write"]

_ACCEPTED = (
    "A VOC folder with SegmentationClass/<image>.png as indexed masks, "
    "and labelmap.txt where the classes are not VOC's."
)
_PLACES = ("VOCdevkit/VOC2012", "VOC2012", ".")
_QUALITY = 95
_CLASSES, _OBJECTS, _GREY = "SegmentationClass", "SegmentationObject", "SegmentationClassAug"
_MAX_OBJECTS = 254


@dataclass(frozen=True)
class Options:
    """What can be chosen of the writing."""

    grey: Annotated[
        bool,
        Spec(
            f"Write the masks a second time as 8-bit grey into {_GREY}, "
            "for loaders that read indexes with OpenCV or convert('L')."
        ),
    ] = False


_DEFAULT = Options()


def write(
    folder: Path,
    items: Iterable[Labelled],
    classes: Sequence[str],
    colours: Sequence[str],
    splits: Mapping[str, Sequence[str]],
    options: Options = _DEFAULT,
) -> list[str]:
    """Fill the folder with VOCdevkit/VOC2012; see `Format.write`."""
    del colours  # readers of VOC know masks by VOC's own colours
    names = [_plain_name(name) for name in classes]
    if len({collision_key(n) for n in names}) != len(names):
        raise UserError(
            'Two class names are the same once : < > " | ? * and a leading # are replaced by _.',
            "VOC's label map and file names hold none of these.",
            "Rename one of the classes.",
        )
    root = folder / "VOCdevkit" / "VOC2012"
    for part in ("JPEGImages", _CLASSES, "ImageSets/Segmentation", "ImageSets/Main"):
        (root / part).mkdir(parents=True)
    converted = crowded = 0
    present: dict[str, np.ndarray] = {}
    for item in checked(items, classes):
        name = f"{item.stem}.png"
        converted += _copy_image(item, root / "JPEGImages" / f"{item.stem}.jpg")
        write_indexed(root / _CLASSES / name, item.mask, voc_palette())
        if options.grey:
            (root / _GREY).mkdir(exist_ok=True)
            Pillow.fromarray(np.ascontiguousarray(item.mask)).save(root / _GREY / name, "PNG")
        if item.instances is not None:
            (root / _OBJECTS).mkdir(exist_ok=True)
            numbers, count = _objects(item)
            write_indexed(root / _OBJECTS / name, numbers, voc_palette())
            crowded += count > _MAX_OBJECTS
        present[item.stem] = np.bincount(item.mask.reshape(-1), minlength=256)[1 : len(classes) + 1] > 0
    _write_labelmap(root / "labelmap.txt", names)
    lists, notes = split_lists(list(present), splits)
    for split, stems in lists.items():
        _write_lines(root / "ImageSets" / "Segmentation" / f"{split}.txt", stems)
        _write_lines(root / "ImageSets" / "Main" / f"{split}.txt", stems)
        for k, name in enumerate(names):
            rows = [f"{stem} {' 1' if present[stem][k] else '-1'}" for stem in stems]
            _write_lines(root / "ImageSets" / "Main" / f"{name}_{split}.txt", rows)
    lost = list(notes)
    if converted:
        lost.append(
            f"{converted} image(s) were turned upright or were no JPEG: "
            f"they are written anew as JPEG of quality {_QUALITY}, so their pixels differ a little."
        )
    if crowded:
        lost.append(
            f"{crowded} image(s) have more than {_MAX_OBJECTS} objects: the rest share the last number in {_OBJECTS}."
        )
    if renamed := [f"{a!r} as {b!r}" for a, b in zip(classes, names, strict=True) if a != b]:
        lost.append(f"Class names that VOC's files cannot hold are written otherwise: {', '.join(renamed)}.")
    if odd := [s for s in lists if "_" in s]:
        lost.append(f"datumaro takes lists with _ in their name for class lists and skips: {', '.join(odd)}.")
    if any(s.startswith("#") for s in present):
        lost.append("datumaro takes image names that begin with # for comments and skips them.")
    return lost + portability(present)


def read(folder: Path, images: Sizes, classes: Sequence[str]) -> Incoming:
    """List the masks of a VOC folder; see `Format.read`.

    Without labelmap.txt the indexes are those of VOC's twenty classes.
    """
    top = root_of(folder, _ACCEPTED)
    root = next((top / p for p in _PLACES if (top / p / _CLASSES).is_dir()), None)
    if root is None:
        raise UserError(f"{folder} holds no folder {_CLASSES}.", _ACCEPTED, "Check the path.")
    masks = inside(root / _CLASSES, top, _ACCEPTED)
    files, notes = listed(masks, ".png", images, _ACCEPTED)
    labelmap = inside(root / "labelmap.txt", top, _ACCEPTED)
    meaning = _read_labelmap(labelmap) if labelmap.exists() else ["background", *VOC]
    # Our own export writes names otherwise that VOC's files cannot hold; they are found again here.
    plain = {_plain_name(name): name for name in classes}
    meaning = [name if name is None else plain.get(name, name) for name in meaning]
    table, dropped = class_table(meaning, classes)
    if dropped:
        notes += (f"Classes that the project lacks become background: {', '.join(dropped)}.",)

    def items() -> Iterator[tuple[str, Mask]]:
        for stem, mask in read_all(files, images):
            yield stem, translate(mask, table, len(meaning), str(files[stem]), _ACCEPTED)

    return Incoming(tuple(files), items(), notes)


def _copy_image(item: Labelled, target: Path) -> bool:
    """Copy or convert the photograph; return whether it was converted."""
    facts = checked_facts(item)
    if facts.format == "JPEG" and facts.orientation == 1:
        shutil.copyfile(item.image, target)
        return False
    Pillow.fromarray(pixels.read(item.image).pixels).save(target, "JPEG", quality=_QUALITY)
    return True


def _objects(item: Labelled) -> tuple[Mask, int]:
    """Return the numbers of the objects, void as in the mask, and how many objects there are."""
    numbers = np.where(item.mask == 255, 255, 0).astype(np.uint8)
    count = 0
    for count, (_, top, left, region) in enumerate(find_objects(item), 1):
        height, width = region.shape
        numbers[top : top + height, left : left + width][region] = min(count, _MAX_OBJECTS)
    return numbers, count


def _write_labelmap(path: Path, names: Sequence[str]) -> None:
    # Masks hold 255 in VOC's void colour, and datumaro refuses colours that no label declares.
    taken = {collision_key(n) for n in names}
    void = next(name for name in ("ignored", "void", "unlabelled", "_void") if name not in taken)
    palette = voc_palette()
    rows = [("background", palette[0]), *zip(names, palette[1:], strict=False), (void, VOID_COLOUR)]
    lines = [f"{name}:{r},{g},{b}::" for name, (r, g, b) in rows]
    _write_lines(path, ["# label:color_rgb:parts:actions", *lines])


def _read_labelmap(path: Path) -> list[str | None]:
    """Return the names by position; None for the entry in void's colour."""
    text = read_text(path, accepted=_ACCEPTED)
    names: list[str | None] = []
    for number, line in enumerate(text.lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, *rest = line.split(":")
        if len(rest) != 3 or not name.strip():
            raise UserError(
                f"{path}, line {number}: {quote(line)} is no label.", "name:r,g,b:parts:actions on each line."
            )
        void = rest[0].replace(" ", "") == ",".join(map(str, VOID_COLOUR))
        names.append(None if void else name.strip())
    return names


def _plain_name(name: str) -> str:
    plain = "".join("_" if letter in ':<>"|?*' else letter for letter in name)
    return "_" + plain[1:] if plain.startswith("#") else plain


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


FORMAT = Format(
    name="voc",
    title="PASCAL VOC (torchvision, datumaro, CVAT)",
    holds="VOCdevkit/VOC2012 with photographs, indexed masks of classes and of objects, split lists and a label map.",
    loses=(
        "Class colours: the masks carry VOC's palette.",
        "How each mask was made, by whom and whether it is approved.",
        "Objects: there are no boxes, and masks of objects only where objects were found.",
    ),
    kind="masks",
    write=write,
    read=read,
    options=Options,
    objects=True,
)
