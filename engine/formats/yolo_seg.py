"""YOLO segmentation: for each image a text file, for each object its class and one polygon.

Read by Ultralytics and supervision. Polygons run through pixel centres, as both fill them with
OpenCV. A quarter of a pixel is added to each coordinate: readers that round and readers that cut
decimals off then arrive at the same pixel, for pictures of any width.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml  # type: ignore[import-untyped]

from engine.errors import UserError
from engine.formats._files import inside, listed, portability, root_of
from engine.formats._format import Format, Incoming, Labelled
from engine.formats._lists import lists_of
from engine.formats._masks import UNSURE, Mask, Sizes, checked, class_table
from engine.formats._objects import ObjectKind, find_objects
from engine.formats._outlines import centre_polygons, fill_centres
from engine.formats._photographs import photograph, said_of_photographs
from engine.formats._shapes import Effort
from engine.intake import read_bytes, read_text
from engine.names import MAX_CLASSES, nfc, quote

__all__ = ["FORMAT", "Options", "read", "write"]

_ACCEPTED = (
    "A folder with data.yaml (names) and labels/<image>.txt, "
    "in each line `class x y x y ...` with coordinates from 0 to 1."
)
_SHIFT = 0.25
_MAX_YAML = 256 * 2**10
_MAX_DEPTH, _MAX_EVENTS = 8, 5_000
_MAX_LABELS = 16 * 2**20
# Coordinates a little outside are rounding; further out they are pixels, or of another format.
_MARGIN = 0.01


@dataclass(frozen=True)
class Options:
    """What can be chosen of a YOLO export."""

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
    """Fill the folder with images/, labels/, <split>.txt and data.yaml; see `Format.write`."""
    del colours
    for part in ("images", "labels"):
        (folder / part).mkdir()
    names: dict[str, str] = {}
    converted = unsure = several = holes = 0
    for item in checked(items, classes):
        names[item.stem], anew = photograph(item, folder / "images")
        converted += anew
        unsure += int((item.mask == UNSURE).sum())
        lines = []
        for found in find_objects(item, options.objects):
            polygons = centre_polygons(found.region)
            several += len(polygons) > 1
            for polygon in polygons:
                holes += len(np.unique(polygon, axis=0)) < len(polygon)
                lines.append(
                    _line(found.value - 1, polygon + np.array((found.left, found.top)), item.mask.shape)
                )
        # An image without objects has an empty file; without a file it would count as not annotated.
        (folder / "labels" / f"{item.stem}.txt").write_text("".join(lines), encoding="ascii", newline="\n")
    lists, notes = lists_of(list(names), splits)
    for split, stems in lists.items():
        rows = "".join(f"./images/{names[s]}\n" for s in stems)
        (folder / f"{split}.txt").write_text(rows, encoding="utf-8", newline="\n")
    _write_yaml(folder / "data.yaml", classes, list(lists))
    lost = [*said_of_photographs(converted), *notes]
    if unsure:
        lost.append(f"{unsure:,} unsure pixels become background.")
    if several:
        lost.append(f"{several} object(s) of several parts are written part by part, as an object each.")
    if holes:
        lost.append(
            f"{holes} outline(s) run over the same points twice, as holes and thin parts need it: readers that fill "
            "them as OpenCV does see the exact pixels, programs that simplify polygons may fill the holes."
        )
    if missing := [s for s in ("train", "val") if s not in lists]:
        lost.append(f"There is no split {' and no split '.join(missing)}, which Ultralytics asks for.")
    return lost + portability(names)


def _line(index: int, polygon: np.ndarray[Any, Any], shape: tuple[int, ...]) -> str:
    """Return a line: class from 0, then x and y from 0 to 1 of the points."""
    # Six decimals are a hundredth of a pixel in a picture of 16,384 px.
    numbers = (polygon + _SHIFT) / (shape[1], shape[0])
    return " ".join((str(index), *(f"{n:.6f}" for n in numbers.ravel().tolist()))) + "\n"


def _write_yaml(path: Path, classes: Sequence[str], splits: Sequence[str]) -> None:
    # Texts in JSON's quotes are texts in YAML too, also `no`, `1` and `a: b`.
    lines = [f"{json.dumps(split)}: {json.dumps(f'{split}.txt', ensure_ascii=False)}" for split in splits]
    lines += ["names:", *(f"  {k}: {json.dumps(name, ensure_ascii=False)}" for k, name in enumerate(classes))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def read(folder: Path, images: Sizes, classes: Sequence[str]) -> Incoming:
    """List the label files of labels/ and of its subfolders; see `Format.read`.

    What no polygon covers is background, and where polygons overlap the later one lies above.
    """
    root = root_of(folder, _ACCEPTED)
    names = _names(inside(root / "data.yaml", root, _ACCEPTED))
    table, dropped = class_table(["background", *names], classes)
    files, notes = _label_files(root, images)
    if dropped:
        notes += (f"Classes that the project lacks become background: {', '.join(dropped)}.",)

    def items() -> Iterator[tuple[str, Mask]]:
        for stem, path in files.items():
            yield stem, table[_filled(path, (images[stem][0], images[stem][1]), len(names))]

    return Incoming(tuple(files), items(), notes)


def _label_files(root: Path, images: Sizes) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Return stem -> file of labels/, labels/<split>/ and <split>/labels/, whichever there are."""
    labels = root / "labels"
    places = [labels, *labels.glob("*/"), *root.glob("*/labels/")]
    known = [p for p in sorted(places) if _has_labels(inside(p, root, _ACCEPTED), images)]
    files: dict[str, Path] = {}
    notes: list[str] = []
    for place in known:
        found, said = listed(place, ".txt", images, _ACCEPTED)
        if twice := set(found) & set(files):
            raise UserError(
                f"{root} has labels of {quote(min(twice))} in two folders.", _ACCEPTED, "Keep one of the two."
            )
        files |= found
        notes += said
    if not files:
        raise UserError(
            f"{root} holds no label file (labels/*.txt) of an image of this project.",
            _ACCEPTED,
            "Check that the file names are the image names.",
        )
    return files, tuple(notes)


def _has_labels(place: Path, images: Sizes) -> bool:
    return place.is_dir() and any(
        p.suffix.lower() == ".txt" and nfc(p.stem) in images for p in place.iterdir()
    )


def _filled(path: Path, size: tuple[int, int], n_classes: int) -> Mask:
    """Return the mask of a label file in the file's own indexes, class + 1."""
    mask = np.zeros(size, np.uint8)
    # A pipe has no size either, and unreadable is never the same as empty.
    if path.is_file() and path.stat().st_size == 0:
        return mask
    effort = Effort(size, str(path), _ACCEPTED)
    text = read_text(path, read_bytes(path, _MAX_LABELS, _ACCEPTED), _ACCEPTED)
    for number, line in enumerate(text.lines, 1):
        words = line.split()
        if not words:
            continue
        where = f"{path}, line {number}"
        if len(words) == 5:
            raise UserError(
                f"{where} is a box (class x y width height).",
                _ACCEPTED,
                "Boxes are no masks; export polygons.",
            )
        if len(words) < 7 or not len(words) % 2:
            raise UserError(f"{where} is no class with x y of at least three points.", _ACCEPTED)
        if (
            not words[0].isascii()
            or not words[0].isdigit()
            or len(words[0]) > 4
            or int(words[0]) >= n_classes
        ):
            raise UserError(
                f"{where}: there is no class {quote(words[0])}.", f"Classes 0 to {n_classes - 1}."
            )
        try:
            points = np.array(words[1:], np.float64).reshape(-1, 2)
        except ValueError:
            raise UserError(f"{where} holds what is no number.", _ACCEPTED) from None
        if not np.all((points >= -_MARGIN) & (points <= 1 + _MARGIN)):
            raise UserError(
                f"{where} has coordinates that are not from 0 to 1.",
                _ACCEPTED,
                "Divide them by width and height.",
            )
        ends = (size[1] - 1, size[0] - 1)
        # Half way between our quarter of a pixel and the contours that others write without it.
        pixels = np.clip(np.rint(points * (size[1], size[0]) - _SHIFT / 2), 0, ends).astype(np.int64)
        spread = np.ptp(pixels, axis=0) + 1
        effort.spend(int(np.prod(spread)) + int(np.abs(np.diff(pixels, axis=0)).sum()) + len(pixels))
        fill_centres(pixels, mask, int(words[0]) + 1)
    return mask


def _names(path: Path) -> list[str]:
    """Return the class names of a data.yaml, a list or a mapping from 0 on."""
    text = read_text(path, read_bytes(path, _MAX_YAML, _ACCEPTED), _ACCEPTED)
    try:
        _check_yaml(text.whole)
        # This loader makes nothing but texts, lists and mappings; a class `no` stays a text.
        value = yaml.load(text.whole, yaml.BaseLoader)  # noqa: S506
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path} is no YAML that can be read: {said}.", _ACCEPTED) from None
    names = value.get("names") if isinstance(value, dict) else None
    if isinstance(names, dict):
        wanted = [str(k) for k in range(len(names))]
        names = [names[k] for k in wanted] if set(wanted) == set(names) else None
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise UserError(f"{path} has no `names`, a list of class names or a mapping from 0 on.", _ACCEPTED)
    if len(names) > MAX_CLASSES:
        raise UserError(f"{path} has {len(names)} names.", f"At most {MAX_CLASSES} classes.")
    return names


def _check_yaml(text: str) -> None:
    """Refuse what the YAML reader takes minutes or gigabytes for, before it has begun to.

    Raises:
        yaml.YAMLError: The text has aliases (of aliases of aliases), is nested deeply, or is long.
    """
    depth = 0
    for count, event in enumerate(yaml.parse(text, yaml.BaseLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("it has aliases")
        if depth > _MAX_DEPTH or count > _MAX_EVENTS:
            raise yaml.YAMLError("it is nested too deeply, or too long")


FORMAT = Format(
    name="yolo-seg",
    title="YOLO segmentation (Ultralytics, supervision)",
    holds="images/, labels/<image>.txt with a polygon for each object, <split>.txt and data.yaml.",
    loses=(
        "Unsure pixels: they become background.",
        "Objects of several parts: each part is an object of its own.",
        "Class colours.",
        "How each mask was made, by whom and whether it is approved.",
    ),
    kind="masks",
    write=write,
    read=read,
    options=Options,
    objects=True,
)
