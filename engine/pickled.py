"""Read the pickled dictionaries that WSSS repositories save with numpy, without executing pickles.

A pickle is a program for a small stack machine. This machine knows the opcodes and the few
numpy names that such a dictionary needs, and builds plain data from them; no class is looked
up and no function of the pickle's choice is called, so nothing in the file can run.
"""

from __future__ import annotations

import io
import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from engine.errors import UserError
from engine.intake import MAX_BYTES, read_bytes
from engine.names import quote

__all__ = ["MAGIC", "read_arrays"]

MAGIC = b"\x93NUMPY"
_ACCEPTED = "A dictionary of image names and number arrays, saved by numpy.save."
_TODO = "If you trust its author, convert it to a CSV or JSON tag list where it was made."

# Both spellings of numpy's module: files written under numpy 1 and under numpy 2.
_NAMES = {
    "numpy.core.multiarray _reconstruct": "_reconstruct",
    "numpy._core.multiarray _reconstruct": "_reconstruct",
    "numpy.core.multiarray scalar": "scalar",
    "numpy._core.multiarray scalar": "scalar",
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",
    "collections OrderedDict": "OrderedDict",
}
_DTYPE = re.compile(r"[<>|=]?([fiu][1248]|b1|O8|O)")
# A few seconds of work; the tags of COCO take three million steps.
_MAX_STEPS = 4_000_000
_MAX_DEPTH = 100


def read_arrays(path: Path, max_bytes: int = MAX_BYTES) -> dict[str | int, NDArray[Any]]:
    """Return the dictionary of an .npy file: its keys as they are, its values as arrays of numbers.

    Args:
        path: The file, as `numpy.save(path, {name: array, ...})` writes it.
        max_bytes: The largest file that is read, in bytes.

    Raises:
        UserError: It is no such file, is cut short, promises more than it holds, or names
            anything beyond numpy's arrays.
    """
    data = read_bytes(path, max_bytes, _ACCEPTED)
    try:
        start = _check_header(path, data)
        value = _plain(_Machine(data[start:]).run())
    except _Refused as refused:
        raise UserError(f"{path} {refused}.", _ACCEPTED, _TODO) from None
    except (IndexError, KeyError, struct.error, ValueError, TypeError, OverflowError) as error:
        found = f"{path} is damaged or cut short ({type(error).__name__}: {str(error)[:200]})."
        raise UserError(found, _ACCEPTED, "Copy the file again.") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} holds no dictionary.", _ACCEPTED, _TODO)
    arrays: dict[str | int, NDArray[Any]] = {}
    for key, entry in value.items():
        entry = _plain(entry)
        if isinstance(entry, (list, int, float)):
            entry = np.asarray(entry) if _is_numbers(entry) else None
        if not isinstance(entry, np.ndarray) or entry.dtype == object:
            found = f"{path}, entry {quote(key)}: its value is no array of numbers."
            raise UserError(found, _ACCEPTED, _TODO)
        arrays[key] = entry
    return arrays


class _Refused(Exception):
    """The file asks for something that is not done; the text goes on after the file's name."""


@dataclass
class _Name:
    """A name that the pickle may mention; it stands for nothing that can be called."""

    name: str


@dataclass
class _Dtype:
    code: str


@dataclass
class _Array:
    """An array under construction: an ndarray, or the list of an object array."""

    value: Any = None


def _check_header(path: Path, data: bytes) -> int:
    """Return where the pickle begins, from the .npy header alone."""
    file = io.BytesIO(data)
    try:
        version = npy.read_magic(file)
        if version == (1, 0):
            shape, _, dtype = npy.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, _, dtype = npy.read_array_header_2_0(file)
        else:
            raise _Refused(f"has version {version} of the npy format, which is not read")
    # numpy parses the header as Python text: what is no literal raises any of these.
    except (ValueError, TypeError, SyntaxError, KeyError, RecursionError, MemoryError, TokenError) as error:
        found = f"{path} is no .npy file ({str(error)[:200]})."
        raise UserError(found, _ACCEPTED, "Check that it is the right file.") from None
    if not dtype.hasobject:
        promised, held = math.prod(shape) * dtype.itemsize, len(data) - file.tell()
        what = f"holds an array {list(shape)} of {dtype} without image names"
        if promised > held:
            what += f", and promises {promised / 2**30:,.1f} GiB of which {held:,} bytes are there"
        raise _Refused(what)
    if shape != () or dtype != np.dtype(object):
        raise _Refused(f"holds an array {list(shape)} of Python objects, not one dictionary")
    return file.tell()


def _is_numbers(value: object) -> bool:
    items = value if isinstance(value, list) else [value]
    return all(isinstance(v, (int, float)) for v in items)


def _plain(value: Any) -> Any:
    """Return what an array under construction has become; a 0-d object array is its one object."""
    if isinstance(value, _Array):
        return value.value[0] if isinstance(value.value, list) and len(value.value) == 1 else value.value
    return value


class _Machine:
    """The stack machine: `run` returns what the pickle leaves on the stack."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.made = 0

    def run(self) -> Any:
        actions = _ACTIONS
        for _ in range(_MAX_STEPS):
            code = self.data[self.at]
            self.at += 1
            if code == 0x2E:  # STOP
                return self.stack.pop()
            action = actions[code]
            if action is None:
                raise _Refused(f"uses the pickle opcode 0x{code:02x}, which no dictionary of arrays needs")
            action(self)
        raise _Refused("takes too long to be read")

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self.data):
            raise ValueError("the file ends early")
        part = self.data[self.at : end]
        self.at = end
        return part

    def byte(self) -> int:
        value = self.data[self.at]
        self.at += 1
        return value

    def number(self, form: str) -> Any:
        value = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def line(self) -> str:
        end = self.data.index(b"\n", self.at)
        text = self.data[self.at : end].decode("ascii")
        self.at = end + 1
        return text

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self) -> None:
        if len(self.marks) >= _MAX_DEPTH:
            raise _Refused("is nested too deeply")
        self.marks.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items = self.stack
        self.stack = self.marks.pop()
        return items

    def tuple_of(self, count: int) -> None:
        items = tuple(self.stack[-count:])
        if len(items) != count:
            raise ValueError("a tuple lacks items")
        del self.stack[-count:]
        self.stack.append(items)

    def store(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def name(self, module: Any, name: Any) -> None:
        full = f"{module} {name}"
        if full not in _NAMES:
            dotted = quote(full.replace(" ", ".", 1))
            raise _Refused(f"names {dotted}, which could run a program; nothing of it was run")
        self.push(_Name(_NAMES[full]))

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("items without a dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in (str, int):  # hashing nested tuples can take for ever
                raise ValueError("a key is no text and no whole number")
            if key in target:
                raise _Refused(f"has the entry {quote(key)} twice")
            target[key] = value

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise ValueError("items without a list")
        target.extend(items)

    def reduce(self) -> None:
        args = self.stack.pop()
        what = self.stack.pop()
        if not isinstance(what, _Name) or not isinstance(args, tuple):
            raise ValueError("a call of something that is no name")
        match what.name, args:
            case "encode", (str() as text, "latin1"):
                self.made += len(text)
                if self.made > 4 * len(self.data):  # the same long text, encoded again and again
                    raise _Refused("grows too much when it is read")
                self.push(text.encode("latin1"))
            case "dtype", (str() as code, *_) if _DTYPE.fullmatch(code):
                self.push(_Dtype(code))
            case "_reconstruct", (_Name(name="ndarray"), *_):
                self.push(_Array())
            case "scalar", (_Dtype(code=code), bytes() as raw) if "O" not in code:
                self.push(np.frombuffer(raw, code, count=1)[0].item())
            case "OrderedDict", ():
                self.push({})
            case _:
                raise _Refused(f"calls {what.name} in a way that numpy does not")

    def build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        match target, state:
            case _Dtype(), (int(), "<" | ">" | "|" | "=" as order, None, None, None, *_):
                target.code = order + target.code.lstrip("<>|=")
            case _Array(), (
                int(),
                tuple() as shape,
                _Dtype() as kind,
                bool() as fortran,
                bytes() | list() as held,
            ):
                target.value = _array(shape, kind.code, fortran, held)
            case _:
                raise ValueError("a state that belongs to no array")


def _array(shape: tuple[Any, ...], code: str, fortran: bool, held: bytes | list[Any]) -> Any:
    if len(shape) > 8 or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("an array has no shape")
    if isinstance(held, list):
        if "O" not in code or len(held) != math.prod(shape):
            raise ValueError("an array has another size than it says")
        return held
    if "O" in code or len(held) != math.prod(shape) * np.dtype(code).itemsize:
        raise ValueError("an array has another size than it says")
    return np.frombuffer(held, code).reshape(shape, order="F" if fortran else "C")


def _number(form: str) -> Callable[[_Machine], None]:
    return lambda m: m.push(m.number(form))


def _text(form: str) -> Callable[[_Machine], None]:
    return lambda m: m.push(m.take(m.number(form)).decode("utf-8", "surrogatepass"))


def _bytes(form: str) -> Callable[[_Machine], None]:
    return lambda m: m.push(m.take(m.number(form)))


def _fresh(make: Callable[[], Any]) -> Callable[[_Machine], None]:
    return lambda m: m.push(make())


def _tuple(count: int) -> Callable[[_Machine], None]:
    return lambda m: m.tuple_of(count)


def _skip(count: int) -> Callable[[_Machine], None]:
    def action(m: _Machine) -> None:
        m.take(count)

    return action


def _long1(m: _Machine) -> None:
    m.push(int.from_bytes(m.take(m.byte()), "little", signed=True))


def _stack_global(m: _Machine) -> None:
    name = m.stack.pop()
    m.name(m.stack.pop(), name)


def _append(m: _Machine) -> None:
    m.extend([m.stack.pop()])


def _set_item(m: _Machine) -> None:
    value = m.stack.pop()
    m.set_items([m.stack.pop(), value])


# Opcode -> action, named as in the module pickletools; protocols 2 to 4, as numpy writes them.
_KNOWN: dict[int, Callable[[_Machine], None]] = {
    0x80: _skip(1),  # PROTO
    0x95: _skip(8),  # FRAME
    ord("N"): _fresh(lambda: None),
    0x88: _fresh(lambda: True),
    0x89: _fresh(lambda: False),
    ord("]"): _fresh(list),
    ord("}"): _fresh(dict),
    ord(")"): _fresh(tuple),
    ord("J"): _number("<i"),  # BININT
    ord("K"): lambda m: m.push(m.byte()),  # BININT1
    ord("M"): _number("<H"),  # BININT2
    ord("G"): _number(">d"),  # BINFLOAT
    0x8A: _long1,
    ord("X"): _text("<I"),  # BINUNICODE
    0x8C: _text("B"),  # SHORT_BINUNICODE
    0x8D: _text("<Q"),  # BINUNICODE8
    ord("B"): _bytes("<I"),  # BINBYTES
    ord("C"): _bytes("B"),  # SHORT_BINBYTES
    0x8E: _bytes("<Q"),  # BINBYTES8
    ord("("): _Machine.mark,
    ord("t"): lambda m: m.push(tuple(m.since_mark())),
    0x85: _tuple(1),
    0x86: _tuple(2),
    0x87: _tuple(3),
    ord("a"): _append,
    ord("e"): lambda m: m.extend(m.since_mark()),  # APPENDS
    ord("s"): _set_item,
    ord("u"): lambda m: m.set_items(m.since_mark()),  # SETITEMS
    ord("q"): lambda m: m.store(m.byte()),  # BINPUT
    ord("r"): lambda m: m.store(m.number("<I")),  # LONG_BINPUT
    0x94: lambda m: m.store(len(m.memo)),  # MEMOIZE
    ord("h"): lambda m: m.push(m.memo[m.byte()]),  # BINGET
    ord("j"): lambda m: m.push(m.memo[m.number("<I")]),  # LONG_BINGET
    ord("c"): lambda m: m.name(m.line(), m.line()),  # GLOBAL
    0x93: _stack_global,
    ord("R"): _Machine.reduce,
    ord("b"): _Machine.build,
}
_ACTIONS = tuple(_KNOWN.get(code) for code in range(256))
