"""images.csv: one line an image, with where its file lies, what it is, and why it is set aside."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.errors import UserError
from engine.intake import read_bytes
from engine.names import stem_fault

__all__ = ["Image", "image_lines", "inside", "read_images"]

# Lines of images.csv take about 150 bytes.
_MAX_LIST = 1 << 27
_HEADER = ("image", "file", "height", "width", "orientation", "mode", "sha256", "splits", "aside")


@dataclass(frozen=True)
class Image:
    """One image of the project.

    Attributes:
        stem: File name without extension; its name everywhere in the project.
        file: Name relative to the image folder, with '/' between folders.
        height, width: Upright size in px (0 when it could not be read).
        orientation: EXIF orientation 1..8 found in the file; pixels are read upright.
        mode: Pixel mode found in the file ("RGB", "L", "I;16", …).
        sha256: Hex digest of the file's bytes.
        splits: Names of the splits it belongs to.
        aside: Why it is set aside, in words; empty when it is in use.
    """

    stem: str
    file: str
    height: int
    width: int
    orientation: int = 1
    mode: str = "RGB"
    sha256: str = ""
    splits: tuple[str, ...] = ()
    aside: str = ""


def read_images(path: Path) -> list[Image]:
    """Return the images of a list, in its order.

    Raises:
        UserError: It is missing, empty or damaged; the line is named.
    """
    accepted = f"Columns: {', '.join(_HEADER)}."
    if not path.exists():
        raise UserError(f"The project has no {path.name}.", accepted, "Put it back from a backup.")
    try:
        text = read_bytes(path, _MAX_LIST, accepted).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path.name} is not UTF-8: {error}.", accepted, "Put it back from a backup."
        ) from None
    rows = csv.DictReader(io.StringIO(text, newline=""))
    found: dict[str, Image] = {}
    while True:
        try:
            row = next(rows, None)
            if row is None:
                break
            image = _image(row)
            if image.stem in found:
                raise ValueError(f"the image {image.stem!r} stands twice")
        except (ValueError, csv.Error) as error:
            line = rows.line_num + isinstance(error, csv.Error)  # not counted before it is read
            raise UserError(
                f"{path.name}, line {line}: {error}.", accepted, "Mend the line, or remove it."
            ) from None
        found[image.stem] = image
    if not found:
        raise UserError(
            f"{path.name} lists no image.", "A project has at least one.", "Put it back from a backup."
        )
    return list(found.values())


def _image(row: Mapping[str, str | None]) -> Image:
    if lacks := [name for name in _HEADER if name not in row]:
        raise ValueError(f"there is no column {lacks[0]}")
    if None in row.values():
        raise ValueError("it has too few cells")
    if None in row:
        raise ValueError("it has too many cells")
    text = {name: row[name] or "" for name in _HEADER}
    if fault := stem_fault(text["image"]):
        raise ValueError(f"the image name {text['image'][:80]!r} {fault}")
    image = Image(
        stem=text["image"],
        file=text["file"],
        height=int(text["height"]),
        width=int(text["width"]),
        orientation=int(text["orientation"]),
        mode=text["mode"],
        sha256=text["sha256"],
        splits=tuple(s for s in text["splits"].split(";") if s),
        aside=text["aside"],
    )
    if image.height < 0 or image.width < 0 or (not image.aside and 0 in (image.height, image.width)):
        raise ValueError(f"the image {image.stem!r} has {image.width} x {image.height} px")
    return image


def image_lines(images: Iterable[Image]) -> bytes:
    """Return the content of images.csv."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(_HEADER)
    for i in images:
        writer.writerow(
            (i.stem, i.file, i.height, i.width, i.orientation, i.mode, i.sha256, ";".join(i.splits), i.aside)
        )
    return out.getvalue().encode()


def inside(folder: Path, file: str) -> Path:
    """Return folder/file; images.csv may come from anybody, so it must not lead elsewhere."""
    path = Path(file)
    drive = os.name == "nt" and ":" in file
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in file or drive:
        raise UserError(
            f"images.csv names the file '{file}'.",
            "Files inside the image folder are accepted.",
            "Mend the line, or remove it.",
        )
    return folder / path
