"""Write a file so that a reader sees the old bytes or the new ones, never a mixture."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

__all__ = ["clear_parts", "new_folder", "sync_folder", "write_bytes", "write_json", "write_text", "writing"]

_PREFIX = ".part-"


def _read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# Read once: asking means setting it for a moment, which other threads would see.
_UMASK = _read_umask()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """Yield a binary file that replaces `path` when the block ends without an error.

    The bytes go to a temporary file in the same folder, which is synced, renamed
    over `path`, and whose folder is synced too, so that a power cut leaves the old
    file or the new one. On an error the temporary file is removed and `path` is
    untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=_PREFIX, suffix=path.suffix, dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes the file readable by its owner alone; a project is shared like any folder.
        part.chmod(0o666 & ~_UMASK)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace the file by `data`, atomically."""
    with writing(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Replace the file by `text` in UTF-8 with Unix line ends, atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Replace the file by `value` as indented JSON, atomically; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextlib.contextmanager
def new_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside `path` that takes its name when the block ends.

    Args:
        path: The folder to be made. It must not exist unless `replace` is given.
        replace: Remove what stands at `path` once the new folder is whole.

    Raises:
        FileExistsError: `path` exists and `replace` is not given.
    """
    if path.exists() and not replace:
        raise FileExistsError(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=path.parent))
    part.chmod(0o777 & ~_UMASK)
    try:
        yield part
        _sync_tree(part)
        if path.exists():
            if not replace:  # somebody else made it meanwhile
                raise FileExistsError(path)
            _swap(path, part)
        else:
            part.replace(path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    sync_folder(path.parent)


def _swap(path: Path, part: Path) -> None:
    """Put the folder `part` in the place of the folder `path`, which comes back on an error."""
    old = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=path.parent))
    path.replace(old / path.name)
    try:
        part.replace(path)
    except BaseException:
        (old / path.name).replace(path)
        old.rmdir()
        raise
    shutil.rmtree(old, ignore_errors=True)


def _sync_tree(folder: Path) -> None:
    """Make the content of a folder durable, so that a power cut cannot leave names without bytes."""
    if os.name == "nt":
        return
    for place, _, files in os.walk(folder):
        for name in files:
            with open(Path(place) / name, "rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(place))


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` durable, where the system can (Windows cannot)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def clear_parts(folder: Path, older_than: Callable[[Path], bool] | None = None) -> int:
    """Remove what a killed writer left in `folder` (not below); return how many."""
    gone = 0
    for part in folder.glob(_PREFIX + "*"):
        if older_than is not None and not older_than(part):
            continue
        shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink(missing_ok=True)
        gone += 1
    return gone
