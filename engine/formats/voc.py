"""PASCAL VOC 2012: photographs, indexed masks and lists.

Read by torchvision's VOCSegmentation (give it the folder that was written), datumaro and
CVAT (give them VOCdevkit/VOC2012) and most segmentation code.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

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
from engine.intake import read_text
from engine.names import collision_key, quote

__all__ = ["FORMAT", "read", "write"]

_ACCEPTED = (
    "A VOC folder with SegmentationClass/<image>.png as indexed masks, "
    "and labelmap.txt where the classes are not VOC's."
)
_PLACES = ("VOCdevkit/VOC2012", "VOC2012", ".")
_QUALITY = 95


def write(
    folder: Path,
    items: Iterable[Labelled],
    classes: Sequence[str],
    colours: Sequence[str],
    splits: Mapping[str, Sequence[str]],
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
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation", "ImageSets/Main"):
        (root / part).mkdir(parents=True)
    converted = 0
    present: dict[str, np.ndarray] = {}
    for stem, image, mask in checked(items, classes):
        converted += _copy_image(stem, image, root / "JPEGImages" / f"{stem}.jpg", mask)
        write_indexed(root / "SegmentationClass" / f"{stem}.png", mask, voc_palette())
        present[stem] = np.bincount(mask.reshape(-1), minlength=256)[1 : len(classes) + 1] > 0
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
    root = next((top / p for p in _PLACES if (top / p / "SegmentationClass").is_dir()), None)
    if root is None:
        raise UserError(f"{folder} holds no folder SegmentationClass.", _ACCEPTED, "Check the path.")
    masks = inside(root / "SegmentationClass", top, _ACCEPTED)
    files, notes = listed(masks, ".png", images, _ACCEPTED)
    labelmap = inside(root / "labelmap.txt", top, _ACCEPTED)
    meaning = _read_labelmap(labelmap) if labelmap.is_file() else ["background", *VOC]
    table, dropped = class_table(meaning, classes)
    if dropped:
        notes += (f"Classes that the project lacks become background: {', '.join(dropped)}.",)

    def items() -> Iterator[tuple[str, Mask]]:
        for stem, mask in read_all(files, images):
            yield stem, translate(mask, table, len(meaning), str(files[stem]), _ACCEPTED)

    return Incoming(tuple(files), items(), notes)


def _copy_image(stem: str, source: Path, target: Path, mask: Mask) -> bool:
    """Copy or convert the photograph; return whether it was converted."""
    facts = pixels.probe(source)
    if mask.shape != (facts.height, facts.width):
        raise UserError(
            f"The mask of {stem} is {mask.shape[1]} x {mask.shape[0]} px, "
            f"its image {source} {facts.width} x {facts.height} px.",
            "A mask of the size of its upright image.",
            "Make the labels again; the image was changed.",
        )
    if facts.format == "JPEG" and facts.orientation == 1:
        shutil.copyfile(source, target)
        return False
    Pillow.fromarray(pixels.read(source).pixels).save(target, "JPEG", quality=_QUALITY)
    return True


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
    holds="VOCdevkit/VOC2012 with photographs, indexed masks, split lists and a label map.",
    loses=(
        "Class colours: the masks carry VOC's palette.",
        "How each mask was made, by whom and whether it is approved.",
        "Objects: there are no boxes and no instance masks.",
    ),
    kind="masks",
    write=write,
    read=read,
)
