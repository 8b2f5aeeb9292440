"""List the images of a folder, and set aside what cannot be used with a reason in words."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from engine.errors import UserError
from engine.images.opening import ACCEPTED
from engine.names import IMAGE_SUFFIXES, collision_key, nfc, stem_fault

__all__ = ["Found", "digest", "find"]


# Pictures that somebody may take for images of the folder, so their absence is worth a word.
_FOREIGN = (
    *(".heic", ".heif", ".avif", ".jp2", ".jxl", ".psd", ".svg", ".exr", ".hdr", ".tga", ".ppm", ".pgm"),
    *(".dng", ".nef", ".cr2", ".cr3", ".arw", ".raf", ".orf", ".rw2"),
)


@dataclass(frozen=True)
class Found:
    """The images of a folder by stem, sorted, and the pictures set aside, each with the reason.

    Files that are no pictures by their suffix appear in neither.
    """

    stems: dict[str, Path]
    refused: list[tuple[Path, str]]


def find(folder: Path) -> Found:
    """Return the images that lie directly in a folder.

    Stems are in Unicode form NFC. Files that share a stem, or whose stems some file systems take
    for one, are all set aside, as a tag could mean any of them. Nothing is opened here: whether
    a file is an image turns out when it is read.

    Raises:
        UserError: No such folder, or no usable image in it; images in sub-folders are named.
    """
    folders, stems, refused = _scan(folder)
    groups: dict[str, list[str]] = defaultdict(list)
    for stem in stems:
        groups[collision_key(stem)].append(stem)
    usable: dict[str, Path] = {}
    for stem in sorted(stems):
        paths = [path for twin in groups[collision_key(stem)] for path in stems[twin]]
        if len(paths) == 1:
            usable[stem] = paths[0]
            continue
        for path in stems[stem]:
            others = ", ".join(sorted(p.name for p in paths if p != path))
            refused.append((path, f"has the same name as {others}, up to suffix, case and Unicode form"))
    if not usable:
        raise _nothing(folder, folders, refused)
    return Found(usable, sorted(refused))


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        UserError: The file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}).", "A file.", "Check the path.") from None


def _scan(folder: Path) -> tuple[list[Path], dict[str, list[Path]], list[tuple[Path, str]]]:
    """Return (sub-folders, stem -> files, refused)."""
    folders: list[Path] = []
    stems: dict[str, list[Path]] = defaultdict(list)
    refused: list[tuple[Path, str]] = []
    try:
        entries = sorted(os.scandir(folder), key=lambda e: e.name)
    except (OSError, ValueError) as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be listed ({error})"
        raise UserError(f"The folder {folder} {reason}.", "A folder of images.", "Check the path.") from None
    for entry in entries:
        path = Path(entry.path)
        start, suffix = path.stem, path.suffix.lower()
        if entry.is_dir():
            folders.append(path)
            continue
        if suffix not in IMAGE_SUFFIXES and suffix not in _FOREIGN:
            continue
        if entry.name.startswith("."):
            reason = "is hidden"
        elif suffix in _FOREIGN:
            reason = f"is a {suffix} file, a form that is not read: convert it to PNG or JPEG"
        else:
            reason = _file_fault(entry) or stem_fault(nfc(start))
        if reason:
            refused.append((path, reason))
        else:
            stems[nfc(start)].append(path)
    return folders, stems, refused


def _file_fault(entry: os.DirEntry[str]) -> str:
    try:
        facts = entry.stat()
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    if not stat.S_ISREG(facts.st_mode):
        return "is a device or a pipe, not a file"
    return "" if facts.st_size else "is empty (0 bytes)"


def _nothing(folder: Path, folders: list[Path], refused: list[tuple[Path, str]]) -> UserError:
    below = {f.name: sum(n.lower().endswith(IMAGE_SUFFIXES) for n in _names(f)) for f in folders}
    below = {name: count for name, count in below.items() if count}
    accepted = f"A folder with the images directly in it. {ACCEPTED}"
    if below:
        named = ", ".join(f"{name} ({count:,})" for name, count in list(below.items())[:5])
        todo = "Give one of its sub-folders, or put the images into one folder."
        return UserError(f"{folder} has no image directly in it; sub-folders have: {named}.", accepted, todo)
    if refused:
        path, reason = refused[0]
        more = f", and {len(refused) - 1:,} more files" if len(refused) > 1 else ""
        found = f"{folder} has no usable image: {path.name} {reason}{more}."
        return UserError(found, accepted, "Check the folder.")
    return UserError(f"{folder} has no image in it.", accepted, "Check the path.")


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []  # a sub-folder that cannot be listed has nothing to suggest
