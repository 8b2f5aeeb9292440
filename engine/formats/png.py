"""Indexed PNG masks in one folder, with the class names and the splits as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from engine.colours import rgb_of
from engine.errors import UserError
from engine.formats._files import inside, listed, portability, root_of
from engine.formats._format import Format, Incoming, Labelled
from engine.formats._masks import Mask, Sizes, checked, class_table, read_all, translate, write_indexed
from engine.intake import read_text
from engine.names import MAX_CLASSES

__all__ = ["FORMAT", "read", "read_names", "write", "write_lists", "write_splits"]

_ACCEPTED = (
    "A folder of <image>.png, indexed or 8-bit grey, "
    "with classes.txt (one name per line, background left out) where the order is not the project's."
)


def write(
    folder: Path,
    items: Iterable[Labelled],
    classes: Sequence[str],
    colours: Sequence[str],
    splits: Mapping[str, Sequence[str]],
) -> list[str]:
    """Fill the folder with masks, classes.txt and splits/; see `Format.write`."""
    palette = [(0, 0, 0), *(rgb_of(c) for c in colours)]
    stems = []
    for stem, _, mask, _ in checked(items, classes):
        write_indexed(folder / f"{stem}.png", mask, palette)
        stems.append(stem)
    write_lists(folder, stems, classes, splits)
    return portability(stems)


def read(folder: Path, images: Sizes, classes: Sequence[str]) -> Incoming:
    """List the masks of a folder; see `Format.read`."""
    root = root_of(folder, _ACCEPTED)
    files, notes = listed(root, ".png", images, _ACCEPTED)
    names = read_names(inside(root / "classes.txt", root, _ACCEPTED))
    if names is None:
        names = list(classes)
        notes += ("There is no classes.txt: the indexes are taken in the order of the project's classes.",)
    table, dropped = class_table(["background", *names], classes)
    if dropped:
        notes += (f"Classes that the project lacks become background: {', '.join(dropped)}.",)

    def items() -> Iterator[tuple[str, Mask]]:
        for stem, mask in read_all(files, images):
            yield stem, translate(mask, table, len(names) + 1, str(files[stem]), _ACCEPTED)

    return Incoming(tuple(files), items(), notes)


def write_lists(
    folder: Path, stems: Sequence[str], classes: Sequence[str], splits: Mapping[str, Sequence[str]]
) -> None:
    """Write classes.txt, and splits/<name>.txt with the exported stems of each split."""
    _write_lines(folder / "classes.txt", classes)
    write_splits(folder, stems, splits)


def write_splits(folder: Path, stems: Sequence[str], splits: Mapping[str, Sequence[str]]) -> None:
    """Write splits/<name>.txt with the exported stems of each split."""
    written = set(stems)
    for name, members in splits.items():
        path = folder / "splits" / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        _write_lines(path, [s for s in members if s in written])


def read_names(path: Path) -> list[str] | None:
    """Return the class names of a list, one per line, or None where there is no such file."""
    if not path.exists():
        return None
    accepted = "One class name per line, without the background."
    names = [line.strip() for line in read_text(path, accepted=accepted).lines if line.strip()]
    if len(names) > MAX_CLASSES:
        raise UserError(f"{path} has {len(names)} names.", f"At most {MAX_CLASSES} classes.")
    return names


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


FORMAT = Format(
    name="png",
    title="Indexed PNG masks",
    holds="<image>.png with class indexes (0 background, 255 unsure), classes.txt and splits/.",
    loses=(
        "The photographs: masks only.",
        "How each mask was made, by whom and whether it is approved.",
    ),
    kind="masks",
    write=write,
    read=read,
)
