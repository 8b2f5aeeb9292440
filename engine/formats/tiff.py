"""TIFF masks: one plane of 8 bits, zlib, class indexes as grey, with the class names as text.

Grey on purpose: readers of palette TIFF give colours, and the int64 that napari saves opens
neither in Pillow nor in most viewers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import TiffImagePlugin

from engine.errors import UserError
from engine.formats._files import inside, listed, portability, root_of
from engine.formats._format import Format, Incoming, Labelled
from engine.formats._masks import UNSURE, Mask, Sizes, checked, class_table, read_all, translate
from engine.formats.png import read_names, write_lists
from engine.images import MAX_PIXELS
from engine.images.opening import decoding, opened

__all__ = ["FORMAT", "read", "write"]

_ACCEPTED = (
    "A folder of <image>.tif, one plane of 8, 16 or 32-bit whole numbers, 255 unsure, "
    "with classes.txt (one name per line, background left out) where the order is not the project's."
)
_TODO = "Save it again as one plane of uint8, for example with tifffile: imwrite(path, mask.astype('uint8'))."
_DESCRIPTION = 270


def write(
    folder: Path,
    items: Iterable[Labelled],
    classes: Sequence[str],
    colours: Sequence[str],
    splits: Mapping[str, Sequence[str]],
) -> list[str]:
    """Fill the folder with TIFF masks, classes.txt and splits/; see `Format.write`."""
    del colours
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    # ASCII as TIFF wants it: other letters are escaped.
    tags[_DESCRIPTION] = json.dumps(
        {"axes": "YX", "background": 0, "classes": list(classes), "unsure": UNSURE}
    )
    stems = []
    for item in checked(items, classes):
        image = Pillow.fromarray(np.ascontiguousarray(item.mask))
        image.save(folder / f"{item.stem}.tif", "TIFF", compression="tiff_adobe_deflate", tiffinfo=tags)
        stems.append(item.stem)
    write_lists(folder, stems, classes, splits)
    return portability(stems)


def read(folder: Path, images: Sizes, classes: Sequence[str]) -> Incoming:
    """List the masks of a folder; see `Format.read`."""
    root = root_of(folder, _ACCEPTED)
    suffix = ".tif" if any(p.suffix.lower() == ".tif" for p in root.iterdir()) else ".tiff"
    files, notes = listed(root, suffix, images, _ACCEPTED)
    names = read_names(inside(root / "classes.txt", root, _ACCEPTED))
    if names is None:
        names = list(classes)
        notes += ("There is no classes.txt: the indexes are taken in the order of the project's classes.",)
    table, dropped = class_table(["background", *names], classes)
    if dropped:
        notes += (f"Classes that the project lacks become background: {', '.join(dropped)}.",)

    def items() -> Iterator[tuple[str, Mask]]:
        for stem, mask in read_all(files, images, _load):
            yield stem, translate(mask, table, len(names) + 1, str(files[stem]), _ACCEPTED)

    return Incoming(tuple(files), items(), notes)


def _load(path: Path) -> Mask:
    with opened(path, MAX_PIXELS, ("TIFF",), _ACCEPTED) as (image, header):
        if header.frames != 1:
            raise UserError(f"{path} holds {header.frames} planes or pages.", _ACCEPTED, _TODO)
        if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
            raise UserError(
                f"{path} is of mode {image.mode}: colours or fractions, not class indexes.", _ACCEPTED, _TODO
            )
        if header.orientation != 1:
            raise UserError(
                f"{path} is to be turned ({header.orientation}), so its pixels lie in doubt.",
                _ACCEPTED,
                _TODO,
            )
        with decoding(path, _ACCEPTED):
            image.load()
        indexes = np.array(image)
    if indexes.dtype != bool and (indexes.min(initial=0) < 0 or indexes.max(initial=0) > UNSURE):
        raise UserError(
            f"{path} holds values from {indexes.min()} to {indexes.max()}.", "Values from 0 to 255.", _TODO
        )
    return indexes.astype(np.uint8)


FORMAT = Format(
    name="tiff",
    title="TIFF masks (tifffile, ImageJ, QuPath, napari)",
    holds="<image>.tif, one plane of uint8 with class indexes (0 background, 255 unsure), classes.txt and splits/.",
    loses=(
        "The photographs: masks only.",
        "Class colours: the indexes are stored as grey.",
        "How each mask was made, by whom and whether it is approved.",
    ),
    kind="masks",
    write=write,
    read=read,
)
