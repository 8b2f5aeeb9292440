"""A folder that Hugging Face `datasets` loads: photographs and masks by split, with their metadata.

    dataset = datasets.load_dataset("the folder")
    mask = numpy.array(dataset["train"][0]["mask"])  # class indexes, 255 unsure

`datasets` drops files that no metadata lists, without a word, so every image is listed; and it
looks for the metadata inside the folder of the split.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np

from engine.colours import rgb_of
from engine.errors import UserError
from engine.formats._files import inside, portability, root_of
from engine.formats._format import Format, Incoming, Labelled
from engine.formats._masks import (
    UNSURE,
    Mask,
    Sizes,
    checked,
    class_table,
    read_all,
    translate,
    write_indexed,
)
from engine.formats._photographs import photograph, said_of_photographs
from engine.intake import Text, parse_json, read_text
from engine.names import MAX_CLASSES, quote, stem_of

__all__ = ["FORMAT", "read", "write"]

_ACCEPTED = (
    "A folder as `datasets` loads it with `imagefolder`: metadata.jsonl or metadata.csv with file_name and "
    "mask_file_name, indexed or grey PNG masks, and id2label.json where the classes are not in the project's order."
)
_TABLES = ("metadata.jsonl", "metadata.csv")
_LABELS = "id2label.json"
_UNSURE = "unsure"
# Names that `datasets` knows; it takes no other letters than these in any name.
_KNOWN = {"train": "train", "val": "validation", "test": "test"}
_ODD = re.compile(r"\W", re.ASCII)
_REST = "rest"
_MAX_NAME = 1_000


def write(
    folder: Path,
    items: Iterable[Labelled],
    classes: Sequence[str],
    colours: Sequence[str],
    splits: Mapping[str, Sequence[str]],
) -> list[str]:
    """Fill the folder with a folder for each split, id2label.json and README.md; see `Format.write`."""
    palette = [(0, 0, 0), *(rgb_of(c) for c in colours)]
    places, names, lost = _places(splits)
    members = {name: set(of) for name, of in splits.items()}
    counts: dict[str, int] = {}
    stems: list[str] = []
    anew = 0
    for item in checked(items, classes):
        place = places.get(item.stem, _REST if "train" in splits else "train")
        split = folder / place
        if place not in counts:
            for part in ("images", "masks"):
                (split / part).mkdir(parents=True)
        name, written = photograph(item, split / "images")
        anew += written
        write_indexed(split / "masks" / f"{item.stem}.png", item.mask, palette)
        present = np.bincount(item.mask.reshape(-1), minlength=256)[1 : len(classes) + 1] > 0
        row = {
            "file_name": f"images/{name}",
            "mask_file_name": f"masks/{item.stem}.png",
            "stem": item.stem,
            # Text, as lists that are empty in one split and not in another have two types for `datasets`.
            "classes": ";".join(c for c, there in zip(classes, present, strict=True) if there),
            "splits": ";".join(n for n, of in members.items() if item.stem in of),
        }
        with open(split / _TABLES[0], "a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        counts[place] = counts.get(place, 0) + 1
        stems.append(item.stem)
    meaning = {"0": "background", **{str(k): c for k, c in enumerate(classes, 1)}, str(UNSURE): _UNSURE}
    with open(folder / _LABELS, "w", encoding="utf-8", newline="\n") as file:
        file.write(json.dumps(meaning, ensure_ascii=False, indent=2) + "\n")
    with open(folder / "README.md", "w", encoding="utf-8", newline="\n") as file:
        _card(file, counts, meaning)
    return [*lost, *_said(counts, names, splits, stems), *said_of_photographs(anew), *portability(stems)]


def read(folder: Path, images: Sizes, classes: Sequence[str]) -> Incoming:
    """List the masks of a folder; see `Format.read`."""
    root = root_of(folder, _ACCEPTED)
    files: dict[str, Path] = {}
    unknown = 0
    for table in _tables(root):
        for place, photo, mask in _rows(table):
            stem = stem_of(photo, images)
            if stem not in images:
                unknown += 1
                continue
            if stem in files:
                raise UserError(
                    f"{place}: there is a mask of {quote(stem)} already, {files[stem]}.",
                    _ACCEPTED,
                    "Keep one of the two.",
                )
            files[stem] = _inside(table.parent, mask, root, place)
    if not files:
        raise UserError(
            f"{root} lists no image of this project.",
            _ACCEPTED,
            "Check that the file names are the image names.",
        )
    notes: tuple[str, ...] = ()
    if unknown:
        notes += (f"{unknown} file(s) belong to no image of the project and are left aside.",)
    names = _meaning(inside(root / _LABELS, root, _ACCEPTED))
    if names is None:
        names = ["background", *classes]
        notes += (f"There is no {_LABELS}: the indexes are taken in the order of the project's classes.",)
    table_of, dropped = class_table(names, classes)
    if dropped:
        notes += (f"Classes that the project lacks become background: {', '.join(dropped)}.",)

    def items() -> Iterator[tuple[str, Mask]]:
        for stem, mask in read_all(files, images):
            yield stem, translate(mask, table_of, len(names), str(files[stem]), _ACCEPTED)

    return Incoming(tuple(files), items(), notes)


def _places(splits: Mapping[str, Sequence[str]]) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Return stem -> folder, split -> folder, and what to say: `datasets` wants each image in one split."""
    order = [n for n in _KNOWN if n in splits] + sorted(n for n in splits if n not in _KNOWN)
    names: dict[str, str] = {}
    taken = {_REST, "all"}  # `datasets` means the sum of all splits by `all`
    for name in order:
        plain = _KNOWN.get(name) or _ODD.sub("_", name)
        while plain.casefold() in taken:
            plain += "_"
        taken.add(plain.casefold())
        names[name] = plain
    places: dict[str, str] = {}
    twice = set()
    for name in order:
        for stem in splits[name]:
            if places.setdefault(stem, names[name]) != names[name]:
                twice.add(stem)
    lost = []
    if twice:
        lost.append(
            f"{len(twice)} image(s) are in several splits: each lies in the first of {', '.join(order)} "
            "that has it, and the column `splits` names all."
        )
    if odd := [f"{a} as {b}" for a, b in names.items() if a != b]:
        lost.append(f"Splits are called otherwise, as `datasets` knows them: {', '.join(odd)}.")
    return places, names, lost


def _said(
    counts: Mapping[str, int],
    names: Mapping[str, str],
    splits: Mapping[str, Sequence[str]],
    stems: Sequence[str],
) -> list[str]:
    lost = []
    if "train" not in splits and (rest := counts.get("train", 0)):
        lost.append(
            f"The project has no split 'train': the {rest} image(s) that are in no split are listed as train."
        )
    if rest := counts.get(_REST, 0):
        lost.append(f"{rest} image(s) are in no split and lie in a split of their own, '{_REST}'.")
    if others := [place for place in counts if place not in _KNOWN.values()]:
        lost.append(
            f"Only load_dataset(<folder>) finds the split(s) {', '.join(others)}, by README.md; "
            'load_dataset("imagefolder", data_dir=<folder>) passes over them without a word.'
        )
    written = set(stems)
    if empty := [n for n, of in splits.items() if names[n] not in counts and written.intersection(of)]:
        lost.append(f"Splits of which every image lies in another one have no folder: {', '.join(empty)}.")
    return lost


def _card(file: IO[str], counts: Mapping[str, int], meaning: Mapping[str, str]) -> None:
    """Write the card: which folder is which split, and that masks are indexes."""
    file.write(
        "---\ntask_categories:\n- image-segmentation\nconfigs:\n- config_name: default\n  data_files:\n"
    )
    for place in counts:
        file.write(f'  - split: {place}\n    path: "{place}/**"\n')
    file.write('---\n\n# Masks\n\n    dataset = datasets.load_dataset("this folder")\n')
    first = next(iter(counts), "train")
    file.write(f'    mask = numpy.array(dataset["{first}"][0]["mask"])\n\n')
    file.write(
        "Masks are class indexes: PNG with a palette, `[H, W]` uint8. Do not convert them to RGB or to grey, "
        "which gives colours or brightness, and scale them with the nearest neighbour only. "
        f"Leave {UNSURE} out of losses and scores.\n\n| index | class |\n|---|---|\n"
    )
    for index, name in meaning.items():
        file.write(f"| {index} | {name.replace('|', chr(92) + '|')} |\n")


def _tables(root: Path) -> list[Path]:
    """Return the metadata of the folder itself and of the folders in it."""
    folders = [root, *sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))]
    found = [next((f / name for name in _TABLES if (f / name).exists()), None) for f in folders]
    tables = [inside(table, root, _ACCEPTED) for table in found if table is not None]
    if not tables:
        raise UserError(
            f"{root} holds no {_TABLES[0]}, nor does a folder in it.",
            _ACCEPTED,
            "Give the folder that holds the folders of the splits.",
        )
    return tables


def _rows(table: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (place for messages, name of the photograph, name of the mask) of each row."""
    text = read_text(table, accepted=_ACCEPTED)
    rows: list[tuple[int, object]]
    if table.suffix == ".csv":
        try:
            reader = csv.DictReader(text.lines, strict=True)
            rows = [(reader.line_num, dict(row)) for row in reader]
        except csv.Error as error:
            raise UserError(
                f"{table} is no CSV ({error}).", _ACCEPTED, "Save it again as CSV UTF-8."
            ) from None
    else:
        numbers = [k for k, line in enumerate(text.lines, 1) if line.strip()]
        # One list of all rows, line by line, so that the limits and the places of parse_json hold for the file.
        joined = "\n".join(
            line + ("," if line.strip() and k < numbers[-1] else "") for k, line in enumerate(text.lines, 1)
        )
        values = parse_json(table, Text(f"[{joined}]"), _ACCEPTED)
        if len(values) != len(numbers):
            raise UserError(
                f"{table} has more or fewer objects than lines.", _ACCEPTED, "Put one object on a line."
            )
        rows = list(zip(numbers, values, strict=True))
    for number, row in rows:
        fields = row if isinstance(row, dict) else {}
        photo, mask = fields.get("file_name"), fields.get("mask_file_name")
        if not isinstance(photo, str) or not isinstance(mask, str):
            raise UserError(
                f"{table}, line {number}: there is no text file_name and mask_file_name.",
                _ACCEPTED,
                "Mend the line.",
            )
        yield f"{table}, line {number}", photo, mask


def _inside(folder: Path, name: str, root: Path, place: str) -> Path:
    parts = PurePosixPath(name)
    plain = name.isprintable() and len(name) <= _MAX_NAME
    if not plain or parts.is_absolute() or ".." in parts.parts or "\\" in name or not parts.parts:
        raise UserError(
            f"{place}: {quote(name)} is no path inside the folder.",
            _ACCEPTED,
            "Mend the line, if you trust its author.",
        )
    return inside(folder / parts, root, _ACCEPTED)


def _meaning(path: Path) -> list[str | None] | None:
    """Return the meaning of each index, None for unsure; None where there is no such file."""
    if not path.exists():
        return None
    content = parse_json(path, read_text(path, accepted=_ACCEPTED), _ACCEPTED)
    accepted = 'An object {"0": "background", "1": name, ...}, at most 254 classes and 255 for unsure.'
    fault = UserError(f"{path} gives no names of indexes from 0 on.", accepted, "Mend the file.")
    if not isinstance(content, dict) or not all(isinstance(n, str) for n in content.values()):
        raise fault
    names = {k: name for k, name in content.items() if k != str(UNSURE)}
    if not 1 <= len(names) <= MAX_CLASSES + 1 or names.keys() != {str(k) for k in range(len(names))}:
        raise fault
    return [names[str(k)] for k in range(len(names))]


FORMAT = Format(
    name="hf",
    title="Hugging Face image folder (datasets)",
    holds="A folder for each split with images/, masks/ (indexed PNG) and metadata.jsonl; id2label.json and README.md.",
    loses=("How each mask was made, by whom and whether it is approved.",),
    kind="masks",
    write=write,
    read=read,
)
