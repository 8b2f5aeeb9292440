"""One npz file per image, without pickle: the mask and the class names.

with np.load("cat_1.npz") as file:
    mask, classes = file["mask"], json.loads(str(file["classes"]))
"""

from __future__ import annotations

import json
import tokenize
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from engine.arrays import read_npz
from engine.errors import UserError
from engine.formats._files import listed, portability, root_of
from engine.formats._format import Format, Incoming, Labelled
from engine.formats._masks import Mask, Sizes, checked, class_table, read_all, translate
from engine.formats.png import write_lists
from engine.names import MAX_CLASSES

__all__ = ["FORMAT", "read", "write"]

_ACCEPTED = "A folder of <image>.npz, each with `mask` [H, W] uint8 and, optionally, `classes` as JSON text."
_MAX_BYTES = 256 * 2**20
_MAX_NAMES = 2**20


def write(
    folder: Path,
    items: Iterable[Labelled],
    classes: Sequence[str],
    colours: Sequence[str],
    splits: Mapping[str, Sequence[str]],
) -> list[str]:
    """Fill the folder with npz files, classes.txt and splits/; see `Format.write`."""
    del colours
    names = np.array(json.dumps(list(classes), ensure_ascii=False))
    stems = []
    for stem, _, mask, _ in checked(items, classes):
        np.savez_compressed(folder / f"{stem}.npz", mask=mask, classes=names)
        stems.append(stem)
    write_lists(folder, stems, classes, splits)
    return portability(stems)


def read(folder: Path, images: Sizes, classes: Sequence[str]) -> Incoming:
    """List the npz files of a folder; see `Format.read`. All must name the same classes."""
    root = root_of(folder, _ACCEPTED)
    files, notes = listed(root, ".npz", images, _ACCEPTED)
    names = _load(next(iter(files.values())))[1]
    if names is None:
        names = list(classes)
        notes += ("The files name no classes: the indexes are taken in the order of the project's classes.",)
    table, dropped = class_table(["background", *names], classes)
    if dropped:
        notes += (f"Classes that the project lacks become background: {', '.join(dropped)}.",)

    def one(path: Path) -> Mask:
        mask, own = _load(path)
        if own is not None and own != names:
            raise UserError(f"{path} names other classes than the files before it.", _ACCEPTED)
        return translate(mask, table, len(names) + 1, str(path), _ACCEPTED)

    return Incoming(tuple(files), read_all(files, images, one), notes)


def _load(path: Path) -> tuple[Mask, list[str] | None]:
    """Return the mask and the class names of a file, None where it has none."""
    try:
        arrays, _ = read_npz(path, max_bytes=_MAX_BYTES)
    except (zlib.error, tokenize.TokenError) as error:
        raise UserError(f"{path} is damaged ({error}).", _ACCEPTED, "Copy the file again.") from None
    mask = arrays.get("mask")
    if mask is None or mask.ndim != 2 or mask.dtype != np.uint8:
        found = "no array" if mask is None else f"an array {list(mask.shape)} of {mask.dtype}"
        raise UserError(f"{path} holds {found} named 'mask'.", _ACCEPTED)
    text = arrays.get("classes")
    if text is None:
        return mask, None
    try:
        fits = text.dtype.kind == "U" and text.ndim == 0 and text.nbytes < _MAX_NAMES
        names = json.loads(str(text)) if fits else None
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names) or len(names) > MAX_CLASSES:
        raise UserError(f"{path} holds 'classes' that are no JSON list of names.", _ACCEPTED)
    return mask, names


FORMAT = Format(
    name="npz",
    title="NumPy archives",
    holds="<image>.npz with `mask` [H, W] uint8 and `classes` (JSON text), classes.txt and splits/.",
    loses=(
        "The photographs: masks only.",
        "Class colours.",
        "How each mask was made, by whom and whether it is approved.",
    ),
    kind="masks",
    write=write,
    read=read,
)
