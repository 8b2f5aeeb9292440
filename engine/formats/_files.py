"""Names of files in dataset folders: which may be written, which may be read, what splits list."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from engine.errors import UserError
from engine.names import nfc, quote, stem_fault

__all__ = ["check_stem", "inside", "listed", "portability", "root_of", "split_lists"]

# Windows refuses these in a file name; elsewhere they are unusual and legal.
_WINDOWS = re.compile(r'[<>:"|?*]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\..*)?$', re.IGNORECASE)


def check_stem(stem: str) -> str:
    """Return the stem when a file of that name stays in its folder and is seen there.

    Raises:
        UserError: It does not.
    """
    fault = stem_fault(stem) or ("begins with a dot" if stem.startswith(".") else "")
    if fault:
        raise UserError(
            f"The image name {quote(stem)} {fault}, so no file can be named after it.",
            "A plain file name of at most 200 characters.",
            "Rename the image.",
        )
    return stem


def portability(stems: Iterable[str]) -> list[str]:
    """Return a sentence on the names that Windows cannot hold, if there are any."""
    bad = [s for s in stems if _WINDOWS.search(s)]
    if not bad:
        return []
    return [f"{len(bad)} file name(s) cannot be copied to Windows, the first is {quote(bad[0])}."]


def split_lists(
    stems: Sequence[str], splits: Mapping[str, Sequence[str]]
) -> tuple[dict[str, list[str]], list[str]]:
    """Return the stems of train, val, trainval and the project's other splits, and what to say of them.

    Readers of VOC expect these three lists. Without a split `train` the images outside
    `val` are listed as `train`; `trainval` lists all.
    """
    places = {stem: k for k, stem in enumerate(stems)}
    lists = {
        name: sorted((s for s in members if s in places), key=places.__getitem__)
        for name, members in splits.items()
    }
    notes = []
    val = set(lists.setdefault("val", []))
    if "train" not in lists:
        lists["train"] = [s for s in stems if s not in val]
        notes.append(
            "The project has no split 'train': "
            f"all {len(lists['train'])} image(s) outside 'val' are listed as train."
        )
    elif unlisted := len(set(stems) - val - set(lists["train"])):
        notes.append(f"{unlisted} image(s) are in neither train nor val and are listed in trainval only.")
    lists["trainval"] = list(stems)
    return lists, notes


def root_of(folder: Path, accepted: str) -> Path:
    """Return the folder, resolved.

    Raises:
        UserError: It is a file (a zip is never unpacked here) or does not exist.
    """
    if folder.is_file():
        raise UserError(f"{folder} is a file.", accepted, "Unpack an archive first and give the folder.")
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}.", accepted, "Check the path.")
    return folder.resolve()


def inside(path: Path, root: Path, accepted: str) -> Path:
    """Return the path when it stays in the folder, links followed.

    Raises:
        UserError: A link leads out of it.
    """
    if not path.resolve().is_relative_to(root.resolve()):
        raise UserError(
            f"{path} is a link that leads out of {root}.",
            accepted,
            "Put the file itself there, if you trust it.",
        )
    return path


def listed(
    folder: Path, suffix: str, images: Collection[str], accepted: str
) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Return stem -> file for the files of a folder that belong to known images, and notes.

    AdvCAM's `<stem>_palette.png` beside `<stem>.png` is the same mask in colours and left aside.

    Raises:
        UserError: A link leads out of the folder, or no file belongs to an image.
    """
    found: dict[str, Path] = {}
    unknown = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() != suffix:
            continue
        stem = nfc(path.name[: -len(suffix)])
        if stem.endswith("_palette") and (folder / f"{stem.removesuffix('_palette')}{suffix}").exists():
            continue
        if stem not in images:
            unknown.append(stem)
            continue
        found[stem] = inside(path, folder, accepted)
    if not found:
        raise UserError(
            f"{folder} holds no {suffix} file of an image of this project"
            + (f"; the first of {len(unknown)} others is {quote(unknown[0])}." if unknown else "."),
            accepted,
            "Check that the file names are the image names.",
        )
    if unknown:
        return found, (f"{len(unknown)} file(s) belong to no image of the project and are left aside.",)
    return found, ()
