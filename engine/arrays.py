"""Named arrays and their facts in one npz file, written whole and read without pickle."""

from __future__ import annotations

import json
import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.atomic import writing
from engine.errors import UserError

__all__ = ["read_npz", "write_npz"]

_FACTS = "facts"
MAX_BYTES = 1 << 29
_MAX_FACTS = 1 << 22
_CHUNK = 1 << 22
# What zipfile and numpy's header reader raise on damaged and forged files, found by fuzzing them.
_DAMAGED = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    SyntaxError,
    EOFError,
    MemoryError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    tokenize.TokenError,
)


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
    """Write arrays and JSON facts atomically; object arrays are refused."""
    text = np.frombuffer(
        json.dumps(dict(facts), ensure_ascii=False, allow_nan=False).encode(), dtype=np.uint8
    )
    if any(a.dtype.hasobject for a in arrays.values()):
        raise TypeError("object arrays need pickle and are never written")
    with writing(path) as file:
        # Uncompressed: heat maps are noise to zlib, and reading them back must be instant.
        np.savez(file, allow_pickle=False, **{_FACTS: text}, **arrays)


def read_npz(path: Path, *, max_bytes: int = MAX_BYTES) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the arrays and the facts of a file that `write_npz` (or anybody) wrote.

    Raises:
        UserError: The file is damaged, is no npz, holds pickled objects, or unpacks to
            more than `max_bytes`.
    """
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is no file")  # a pipe would block for ever
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            size = sum(e.file_size for e in entries)
            if size > max_bytes or len(entries) > 64:
                raise UserError(
                    f"{path.name} unpacks to {size / 1e6:.0f} MB in {len(entries)} parts.",
                    f"At most {max_bytes / 1e6:.0f} MB in 64 parts are read.",
                )
            arrays = {}
            for entry in entries:
                with archive.open(entry) as part:
                    arrays[entry.filename.removesuffix(".npy")] = _read_npy(part, entry.file_size)
        text = arrays.pop(_FACTS, np.frombuffer(b"{}", np.uint8))
        if text.nbytes > _MAX_FACTS:
            raise ValueError(f"its facts take {text.nbytes} bytes")
        facts = json.loads(text.tobytes())
    except FileNotFoundError:
        raise
    except _DAMAGED as error:
        raise UserError(
            f"{path} cannot be read: {error}.",
            "An npz file of plain arrays is read.",
            "Make it again with the command that wrote it.",
        ) from None
    if not isinstance(facts, dict):
        raise UserError(
            f"{path} holds facts that are not a JSON object.",
            "An npz file of plain arrays is read.",
            "Make it again with the command that wrote it.",
        )
    return arrays, facts


def _read_npy(part: Any, size: int) -> NDArray[Any]:
    version = np.lib.format.read_magic(part)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = reader(part)
    if dtype.hasobject:
        raise ValueError("it holds pickled objects")
    # The header is a claim; the bytes decide, or a forged shape would allocate anything.
    wanted = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if wanted > size:
        raise ValueError(f"an array claims {wanted} bytes in a part of {size}")
    data = bytearray(max(0, wanted))
    at = 0
    # Read into place: a second copy of the largest array would double the peak of memory.
    while at < wanted and (chunk := part.read(min(_CHUNK, wanted - at))):
        data[at : at + len(chunk)] = chunk
        at += len(chunk)
    if at != wanted:
        raise ValueError("an array is cut short")
    array = np.frombuffer(data, dtype=dtype)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)
