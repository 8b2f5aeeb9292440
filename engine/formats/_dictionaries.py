"""Dictionaries of arrays and torch tensors that numpy pickled, read without executing them.

`engine.pickled` reads such files of numpy arrays. IRN puts torch tensors into them, which
adds two names to the few that are known: the bytes of a saved storage, and a tensor as a
strided view of it.
"""

from __future__ import annotations

import math
import struct
import tokenize
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engine import pickled
from engine.errors import UserError
from engine.intake import read_bytes

__all__ = ["LoadStorage", "read_dictionary"]

LoadStorage: TypeAlias = Callable[[bytes], NDArray[Any]]

# Twelve maps of 12 megapixels in half precision; the file, its parts and the stack stay under 1 GB.
_MAX_BYTES = 256 * 2**20
_TODO = "If you trust its author, run the code that made it again, or convert it to psa-cam there."
# A header that is cut short fails in numpy's tokenizer.
_DAMAGED = (IndexError, KeyError, ValueError, TypeError, OverflowError, struct.error, tokenize.TokenError)
_TENSOR = "torch._utils _rebuild_tensor_v2"
_STORAGE = "torch.storage _load_from_bytes"


def read_dictionary(path: Path, accepted: str, load_storage: LoadStorage | None = None) -> dict[Any, Any]:
    """Return the dictionary of an .npy file; tensors come as arrays.

    Args:
        path: The file, as `numpy.save(path, {...})` writes it.
        accepted: What is expected of it, for the messages.
        load_storage: Turns the bytes of a saved torch storage into a 1-D array, without
            executing pickles (`torch.load(..., weights_only=True)`); None refuses tensors.

    Raises:
        UserError: It is no such file, damaged, too large, or names anything else.
    """
    data = read_bytes(path, _MAX_BYTES, accepted)
    try:
        start = pickled._check_header(path, data)
        value = pickled._plain(_Machine(data[start:], load_storage).run())
        if not isinstance(value, dict):
            raise pickled._Refused("holds no dictionary")
        return {key: pickled._plain(entry) for key, entry in value.items()}
    except pickled._Refused as refused:
        raise UserError(f"{path} {refused}.", accepted, _TODO) from None
    except _DAMAGED as error:
        raise UserError(
            f"{path} is damaged or cut short ({type(error).__name__}: {error}).",
            accepted,
            "Copy the file again.",
        ) from None


class _Machine(pickled._Machine):
    """The stack machine with torch's two names; nothing is looked up in torch itself."""

    def __init__(self, data: bytes, load_storage: LoadStorage | None) -> None:
        super().__init__(data)
        self.load_storage = load_storage

    def run(self) -> Any:
        for _ in range(pickled._MAX_STEPS):
            code = self.byte()
            if code == ord("."):
                return self.stack.pop()
            action = _ACTIONS[code]
            if action is None:
                raise pickled._Refused(
                    f"uses the pickle opcode 0x{code:02x}, which such a dictionary does not need"
                )
            action(self)
        raise pickled._Refused("takes too long to be read")

    def name(self, module: Any, name: Any) -> None:
        full = f"{module} {name}"
        if full in (_TENSOR, _STORAGE):
            self.push(pickled._Name(full))
        else:
            super().name(module, name)

    def reduce(self) -> None:
        what = self.stack[-2]
        if not isinstance(what, pickled._Name) or what.name not in (_TENSOR, _STORAGE):
            super().reduce()
            return
        args = self.stack.pop()
        self.stack.pop()
        match what.name, args:
            case "torch.storage _load_from_bytes", (bytes() as raw,):
                self.push(self._storage(raw))
            case "torch._utils _rebuild_tensor_v2", (
                np.ndarray() as storage,
                int() as offset,
                tuple() as shape,
                tuple() as strides,
                *_,
            ):
                self.push(_view(storage, offset, shape, strides))
            case _:
                raise pickled._Refused(f"calls {what.name.replace(' ', '.')} in a way that torch does not")

    def _storage(self, raw: bytes) -> NDArray[Any]:
        if self.load_storage is None:
            raise pickled._Refused("holds torch tensors, and torch is not at hand here")
        if raw.startswith(b"PK"):
            # torch saves single storages in its old form; a zip could unpack to anything.
            raise pickled._Refused("holds a tensor in a zip, which torch does not write there")
        try:
            storage = self.load_storage(raw)
        except Exception as error:  # noqa: BLE001 - whatever torch says of these bytes, they are the fault
            raise pickled._Refused(f"holds a tensor that cannot be read ({type(error).__name__})") from None
        # The same bytes may be named again and again; what grows is refused before memory ends.
        self.made += storage.nbytes
        if storage.ndim != 1 or self.made > 4 * len(self.data) + 2**20:
            raise pickled._Refused("grows too much when it is read")
        return storage


_ACTIONS: tuple[Callable[[Any], None] | None, ...] = tuple(
    _Machine.reduce if code == ord("R") else action for code, action in enumerate(pickled._ACTIONS)
)


def _view(
    storage: NDArray[Any], offset: int, shape: tuple[Any, ...], strides: tuple[Any, ...]
) -> NDArray[Any]:
    if len(shape) != len(strides) or len(shape) > 8:
        raise ValueError("a tensor has no shape")
    if not all(type(n) is int and n >= 0 for n in (offset, *shape, *strides)):
        raise ValueError("a tensor has a negative size")
    count = math.prod(shape)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    # A stride of 0 would make a view of any size from one number.
    if count > storage.size or (count and last >= storage.size):
        raise ValueError("a tensor is larger than its storage")
    if not count:
        return np.empty(shape, storage.dtype)
    size = storage.itemsize
    view = np.lib.stride_tricks.as_strided(storage[offset:], shape, [step * size for step in strides])
    return view.copy()
