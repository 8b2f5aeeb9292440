"""Names that become folders and files of a project."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

from engine.errors import UserError

__all__ = ["check_name", "free_name", "is_name"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,63}")
# Windows refuses these whatever the extension, and a project travels.
_RESERVED = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10))}


def is_name(name: str) -> bool:
    """Return whether `name` may name a run, views or labels."""
    return (
        bool(_NAME.fullmatch(name)) and not name.endswith(".") and name.split(".")[0].lower() not in _RESERVED
    )


def check_name(name: str, what: str) -> str:
    """Return `name` if it may name `what` ("run", "views", "labels").

    Raises:
        UserError: It may not.
    """
    if not is_name(name):
        raise UserError(
            f"'{name}' cannot name {what}.",
            "A name has 1 to 64 letters, digits, '.', '_', '+' or '-' and begins with a letter, a digit or '_'.",
        )
    return name


def free_name(wanted: str, taken: Callable[[str], bool]) -> str:
    """Return `wanted`, or `wanted-2`, `wanted-3` …: the first that is not taken."""
    name, n = wanted, 1
    while taken(name):
        n += 1
        name = f"{wanted}-{n}"
    return name


def now() -> str:
    """Return the local time with its offset, to the second (ISO 8601)."""
    return datetime.now().astimezone().isoformat(timespec="seconds")
