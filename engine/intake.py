"""Take in the text and JSON files of strangers, within limits, with the place of every fault.

Nothing here trusts the file: its kind, size, encoding and depth are checked before it is
parsed, so that no file costs more than a few hundred megabytes or a few seconds.
"""

from __future__ import annotations

import functools
import json
import re
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import UserError
from engine.names import quote

__all__ = ["MAX_BYTES", "Mistakes", "Text", "check_file", "line_of", "parse_json", "read_bytes", "read_text"]

MAX_BYTES = 64 * 2**20
_MAX_LINES = 1_000_000
# What reading a JSON text may take, in bytes; the weights of its marks are measured on the worst texts.
_MAX_JSON_WEIGHT = 400 * 2**20
_JSON_WEIGHTS = {"{": 160, "[": 88, ":": 176, ",": 64}
_SHOWN = 10
_ADVISED = 3
# Other control characters are refused: they are invisible in every message and in every list.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True)
class Text:
    """A text file with line ends of one character, and what was put right on the way in."""

    whole: str
    notes: tuple[str, ...] = ()

    @functools.cached_property
    def lines(self) -> list[str]:
        """The lines without their ends."""
        return self.whole.split("\n")


class Mistakes:
    """The mistakes of one file, told together: the first ten and how many more.

    Args:
        path: The file they are in.
        accepted: What the file should hold.
        todo: What to do next, where a mistake brings no advice of its own.
    """

    def __init__(self, path: Path, accepted: str, todo: str = "Mend the file and read it again.") -> None:
        self.path = path
        self._accepted = accepted
        self._todo = todo
        self._found: list[str] = []
        self._advice: list[Callable[[], str]] = []
        self._count = 0
        self._placed = False

    def add(self, place: str, text: str, advice: Callable[[], str] | None = None) -> None:
        """Note one mistake.

        Args:
            place: "line 7", or a name inside the file.
            text: What is wrong there, without a full stop.
            advice: Gives a sentence of advice. It is asked for the first mistakes only, as
                looking for the nearest of ten thousand names takes its time.
        """
        self._count += 1
        self._placed = bool(place)
        if len(self._found) < _SHOWN:
            self._found.append(f"{place}: {text}." if place else f"{text}.")
        if advice is not None and len(self._advice) < _ADVISED:
            self._advice.append(advice)

    def __bool__(self) -> bool:
        return self._count > 0

    def check(self) -> None:
        """Raise what was noted, if anything was.

        Raises:
            UserError: At least one mistake was noted.
        """
        if not self._count:
            return
        advice = dict.fromkeys(a() for a in self._advice)
        todo = " ".join(part for part in (*advice, self._todo) if part)
        if self._count == 1:
            start = f"{self.path}, " if self._placed else f"{self.path}: "
            raise UserError(start + self._found[0], self._accepted, todo)
        rows = [f"{self.path} has {self._count:,} mistakes:", *(f"  {text}" for text in self._found)]
        if self._count > len(self._found):
            rows.append(f"  and {self._count - len(self._found):,} more.")
        raise UserError("\n".join(rows), self._accepted, todo)


def check_file(path: Path, max_bytes: int, accepted: str) -> int:
    """Return the size in bytes of a regular, non-empty file of at most `max_bytes`.

    Raises:
        UserError: It is missing, no regular file (a pipe would block for ever), empty or too large.
    """
    try:
        facts = path.stat()
    except (OSError, ValueError) as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be opened ({error})"
        raise UserError(f"{path} {reason}.", accepted, "Check the path.") from None
    if stat.S_ISDIR(facts.st_mode):
        raise UserError(f"{path} is a folder.", accepted, "Give the file itself.")
    if not stat.S_ISREG(facts.st_mode):
        raise UserError(f"{path} is a device or a pipe, not a file.", accepted, "Give a file.")
    if facts.st_size == 0:
        raise UserError(f"{path} is empty (0 bytes).", accepted, "Copy the file again from where it came.")
    if facts.st_size > max_bytes:
        raise UserError(
            f"{path} has {facts.st_size / 2**20:,.0f} MiB.",
            f"{accepted} At most {max_bytes / 2**20:,.0f} MiB are read.",
            "Check that it is the right file, or cut it down.",
        )
    return facts.st_size


def read_bytes(path: Path, max_bytes: int = MAX_BYTES, accepted: str = "") -> bytes:
    """Return the whole file.

    Raises:
        UserError: As `check_file`, or the system refuses to read it.
    """
    size = check_file(path, max_bytes, accepted)
    try:
        with open(path, "rb") as file:
            return file.read(size)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}).", accepted, "Check its permissions.") from None


def read_text(path: Path, data: bytes | None = None, accepted: str = "A text file in UTF-8.") -> Text:
    """Return the lines of a UTF-8 file, with or without a byte order mark, with any line ends.

    Args:
        path: The file, for the messages.
        data: Its bytes where they are read already.
        accepted: What the file should hold.

    Raises:
        UserError: It is UTF-16, another encoding, holds control characters, or is too long.
    """
    raw = read_bytes(path, accepted=accepted) if data is None else data
    todo = "Save it again as UTF-8 text (in a spreadsheet: CSV UTF-8)."
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff") or raw[:4] == b"\x00\x00\xfe\xff":
        raise UserError(f"{path} is written in UTF-16 or UTF-32.", accepted, todo)
    notes: list[str] = []
    if raw.startswith(b"\xef\xbb\xbf"):
        raw = raw[3:]
        notes.append("The file starts with a UTF-8 byte order mark, which was skipped.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {line}: the byte 0x{raw[error.start]:02x} is not UTF-8.", accepted, todo
        ) from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.count("\n") > _MAX_LINES:
        raise UserError(
            f"{path} has {text.count(chr(10)):,} lines.",
            f"{accepted} At most {_MAX_LINES:,} lines are read.",
            "Check that it is the right file, or cut it down.",
        )
    bad = _CONTROL.search(text)
    if bad:
        line = text.count("\n", 0, bad.start()) + 1
        name = "NUL byte" if bad.group() == "\0" else f"control character 0x{ord(bad.group()):02x}"
        found = f"{path}, line {line}: there is a {name}."
        raise UserError(found, accepted, "Remove it, or save the file again.")
    if not text or text.isspace():
        raise UserError(f"{path} holds nothing but blanks.", accepted, "Check that it is the right file.")
    return Text(text, tuple(notes))


def parse_json(path: Path, text: Text, accepted: str) -> Any:
    """Return the JSON value of a text, refusing what JSON does not define.

    Raises:
        UserError: A syntax error, NaN or Infinity, the same key twice in one object,
            nesting too deep to read, or more values than fit the memory limit.
    """
    # An empty list costs 88 bytes for two characters, so the length of the text alone bounds too little.
    weight = sum(each * text.whole.count(mark) for mark, each in _JSON_WEIGHTS.items())
    if weight + 2 * sys.getsizeof(text.whole) > _MAX_JSON_WEIGHT:
        raise UserError(f"{path} holds too many values to be read.", accepted, "Cut it down, or use a CSV.")

    def no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            seen: set[str] = set()
            key = next(k for k, _ in pairs if k in seen or seen.add(k))  # type: ignore[func-returns-value]
            first, second = (line_of(text, key, nth) for nth in (1, 2))
            raise UserError(
                f"{path}, line {second}: the key {quote(key)} is there twice (first in line {first}).",
                accepted,
                "Keep one of the two.",
            )
        return made

    def no_constant(name: str) -> None:
        raise UserError(f"{path} holds {name}, which is no JSON number.", accepted, "Remove it.")

    todo = "Check the file with a JSON editor."
    try:
        return json.loads(text.whole, object_pairs_hook=no_repeats, parse_constant=no_constant)
    except json.JSONDecodeError as error:
        found = f"{path}, line {error.lineno}, column {error.colno}: {error.msg}."
        raise UserError(found, accepted, todo) from None
    except RecursionError:
        raise UserError(f"{path} is nested too deeply to be read.", accepted, todo) from None
    except ValueError as error:
        # Python refuses numbers of more than 4300 digits.
        raise UserError(f"{path} holds a number that cannot be read ({error}).", accepted, todo) from None


def line_of(text: Text, word: str, nth: int = 1) -> int:
    """Return the line (from 1) where `word` stands quoted for the `nth` time, or the last such line, or 1.

    JSON readers keep no places, so the message looks for the word itself.
    """
    quoted = (json.dumps(word, ensure_ascii=False), json.dumps(word))
    found = 1
    for number, line in enumerate(text.lines, 1):
        hits = max(line.count(q) for q in quoted)
        if hits:
            found = number
            nth -= hits
            if nth <= 0:
                break
    return found


def named_by_id(value: Mapping[str, Any], key: str, name: str, mistakes: Mistakes) -> dict[int, str]:
    """Return id -> name of a list of objects, as COCO files have them; what does not fit is noted.

    Args:
        value: The object read from JSON.
        key: Where its list stands.
        name: The text field that names an entry.
        mistakes: Takes what is wrong.
    """
    entries = value.get(key)
    if not isinstance(entries, list):
        mistakes.add("", f"there is no list {quote(key)}")
        return {}
    named: dict[int, str] = {}
    for i, entry in enumerate(entries):
        fields = entry if isinstance(entry, dict) else {}
        number, text = fields.get("id"), fields.get(name)
        if type(number) is not int or not isinstance(text, str):
            mistakes.add(f"{key}[{i}]", f"it has no whole number 'id' and text {quote(name)}")
        elif number in named:
            mistakes.add(f"{key}[{i}]", f"the id {quote(number)} is there twice")
        else:
            named[number] = text
    return named
