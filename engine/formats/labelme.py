"""labelme's JSON files, one beside each photograph, and its labels.txt.

Written are shapes of type `mask`, which hold every pixel; read are polygons, rectangles, circles
and masks, later ones over earlier ones, as labelme's own conversion to VOC draws them. This is the
JSON of the desktop program; datumaro's `label_me` is the older XML of MIT's LabelMe.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from engine.errors import UserError
from engine.formats._files import listed, portability, root_of
from engine.formats._format import Format, Incoming, Labelled
from engine.formats._masks import Mask, Sizes, checked
from engine.formats._photographs import photograph, said_of_photographs
from engine.formats._shapes import Area, Effort, areas_of, drawn, values_of
from engine.formats.png import write_splits
from engine.images.headers import inspect
from engine.images.opening import decoding
from engine.intake import parse_json, read_bytes, read_text
from engine.names import quote, stem_of

__all__ = ["FORMAT", "read", "write"]

_ACCEPTED = "A folder of labelme's <image>.json with shapes of type polygon, rectangle, circle or mask."
# labelme compares the number before the first dot and does without the photograph inside since 5.
_VERSION = "6.3.1"
_IGNORE, _BACKGROUND = "__ignore__", "_background_"
_MAX_SHAPES = 20_000
_CORNERS = {"polygon": 3, "oriented_rectangle": 4}
_LINES = ("point", "points", "line", "linestrip")


def write(
    folder: Path,
    items: Iterable[Labelled],
    classes: Sequence[str],
    colours: Sequence[str],
    splits: Mapping[str, Sequence[str]],
) -> list[str]:
    """Fill the folder with photographs, JSON files, labels.txt and splits/; see `Format.write`."""
    del colours  # labelme colours labels by their place in its list
    for name in (_IGNORE, _BACKGROUND):
        if name in classes:
            raise UserError(
                f"A class is called {name}.", f"labelme means no class by {name}.", "Rename the class."
            )
    labels = {255: _IGNORE, **dict(enumerate(classes, 1))}
    stems, anew, unsure = [], 0, 0
    for item in checked(items, classes):
        name, written = photograph(item, folder)
        anew += written
        shapes = []
        for number, (value, area) in enumerate(areas_of(item), 1):
            unsure += value == 255
            group = None if item.instances is None or value == 255 else number
            shapes.append(_shape(labels[value], area, group))
        height, width = item.mask.shape
        content = {
            "version": _VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": name,
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        _write_text(folder / f"{item.stem}.json", json.dumps(content, ensure_ascii=False, indent=2))
        stems.append(item.stem)
    _write_text(folder / "labels.txt", "\n".join([_IGNORE, _BACKGROUND, *classes]))
    write_splits(folder, stems, splits)
    lost = said_of_photographs(anew)
    if unsure:
        lost.append(
            f"Unsure pixels of {unsure} image(s) are shapes with the label {_IGNORE}: labelme's own conversion "
            "to VOC makes them 255, other programs may take them for a class."
        )
    return lost + portability(stems)


def read(folder: Path, images: Sizes, classes: Sequence[str]) -> Incoming:
    """List the JSON files of a folder; see `Format.read`.

    Each is read twice, as the labels of all have to be known before the first mask is drawn.
    """
    root = root_of(folder, _ACCEPTED)
    files, notes = listed(root, ".json", images, _ACCEPTED)
    labels: dict[str, None] = {}
    lines = 0
    for stem, path in files.items():
        shapes = _shapes(path, stem, images)
        lines += sum(shape["shape_type"] in _LINES for shape in shapes)
        labels |= dict.fromkeys(shape["label"] for shape in shapes if shape["shape_type"] not in _LINES)
    values, lacking = values_of(labels, classes, (_IGNORE,), (_BACKGROUND,))
    if lines:
        notes += (f"{lines} point(s) and line(s) have no area and are left aside.",)

    def items() -> Iterator[tuple[str, Mask]]:
        for stem, path in files.items():
            mask = np.zeros(images[stem], np.uint8)
            effort = Effort(images[stem], str(path), _ACCEPTED)
            for shape in _shapes(path, stem, images):
                if shape["shape_type"] not in _LINES:
                    _area(shape, path, effort).paint(mask, values.get(shape["label"], 0))
            yield stem, mask

    return Incoming(tuple(files), items(), notes + lacking)


def _shape(label: str, area: Area, group: int | None) -> dict[str, Any]:
    file = io.BytesIO()
    Pillow.fromarray(area.inside.astype(np.uint8)).save(file, "PNG")
    height, width = area.inside.shape
    return {
        "label": label,
        # Both corners belong to the box, so a box of one pixel has the same point twice.
        "points": [[area.left, area.top], [area.left + width - 1, area.top + height - 1]],
        "group_id": group,
        "description": "",
        "shape_type": "mask",
        "flags": {},
        "mask": base64.b64encode(file.getvalue()).decode("ascii"),
    }


def _shapes(path: Path, stem: str, images: Sizes) -> list[dict[str, Any]]:
    """Return the shapes of a file, each with a text label and a known type.

    Raises:
        UserError: It is no file of labelme's, or of another image.
    """

    def refuse(what: str, todo: str = "Check the file in labelme.") -> UserError:
        return UserError(f"{path} {what}.", _ACCEPTED, todo)

    content = parse_json(path, read_text(path, read_bytes(path, accepted=_ACCEPTED), _ACCEPTED), _ACCEPTED)
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list) or len(shapes) > _MAX_SHAPES:
        raise refuse(f"holds no list 'shapes' of at most {_MAX_SHAPES:,}")
    named = content.get("imagePath")
    if isinstance(named, str) and (other := stem_of(named, images)) != stem and other in images:
        raise refuse(f"says that it belongs to {quote(named)}", "Name it after its image, or mend imagePath.")
    for key, true in zip(("imageHeight", "imageWidth"), images[stem], strict=True):
        if content.get(key) is not None and content[key] != true:
            raise refuse(
                f"says {key} {quote(content[key])}, and the upright image has {true} px",
                "Check that it was made for this image, and that both are turned alike.",
            )
    for k, shape in enumerate(shapes):
        if not isinstance(shape, dict) or not isinstance(shape.get("label"), str):
            raise refuse(f"has a shape without a label (shapes[{k}])")
        # Old files leave the type out where it is a polygon.
        kind = shape["shape_type"] = shape.get("shape_type") or "polygon"
        if kind not in (*_CORNERS, "rectangle", "circle", "mask", *_LINES):
            raise refuse(f"has a shape of type {quote(kind)} (shapes[{k}])")
    return shapes


def _area(shape: dict[str, Any], path: Path, effort: Effort) -> Area:
    kind = shape["shape_type"]
    points = effort.points(shape.get("points"))
    # X-AnyLabeling writes all four corners of a rectangle.
    if kind in _CORNERS or (kind == "rectangle" and len(points) == 4):
        if len(points) >= _CORNERS.get(kind, 4):
            return drawn("polygon", points, effort)
    elif len(points) == 2:
        if kind == "mask":
            return _stored(shape.get("mask"), points.astype(np.int64), path, effort)
        if kind == "rectangle":
            return drawn("rectangle", np.sort(points, axis=0), effort)
        radius = math.dist(*points.tolist())
        return drawn("ellipse", np.stack([points[0] - radius, points[0] + radius]), effort)
    raise UserError(f"{path}: a {kind} has {len(points)} point(s).", _ACCEPTED, "Check the file in labelme.")


def _stored(text: object, corners: np.ndarray, path: Path, effort: Effort) -> Area:
    """Return the region of a mask shape: a PNG in base64 that fills its box, corners included."""

    def refuse(what: str) -> UserError:
        return UserError(f"{path}: a mask {what}.", _ACCEPTED, "Check the file in labelme.")

    (x0, y0), (x1, y1) = corners.tolist()
    if not (0 <= x0 <= x1 < effort.size[1] and 0 <= y0 <= y1 < effort.size[0]):
        raise refuse(f"has the corners {corners.tolist()}, which are not on the image")
    if not isinstance(text, str):
        raise refuse("has no PNG in base64")
    effort.spend((x1 - x0 + 1) * (y1 - y0 + 1))
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise refuse("is no base64") from None
    try:
        with decoding(path, _ACCEPTED):
            inspect(data)
            image = Pillow.open(io.BytesIO(data), formats=("PNG",))
            fits = image.size == (x1 - x0 + 1, y1 - y0 + 1)
            if fits:
                image.load()
    except UserError:
        raise refuse("holds a PNG that is damaged or none") from None
    if not fits:
        raise refuse(f"of {image.size[0]} x {image.size[1]} px does not fill the box {corners.tolist()}")
    if image.mode not in ("1", "L", "P"):
        raise refuse(f"is a PNG of mode {image.mode}, not of grey or indexes")
    return Area(y0, x0, np.array(image) > 0)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


FORMAT = Format(
    name="labelme",
    title="labelme JSON (labelme, X-AnyLabeling)",
    holds="Photographs with <image>.json beside each, labels.txt and splits/; every pixel as shapes of type mask.",
    loses=(
        "Class colours: labelme colours labels by their place in its list.",
        "Splits: labelme has none; splits/ lists them as text.",
        "How each mask was made, by whom and whether it is approved.",
    ),
    kind="masks",
    write=write,
    read=read,
    objects=True,
)
