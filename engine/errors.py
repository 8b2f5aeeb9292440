"""The one error a person is meant to read, and the nearest known name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["UserError", "nearest"]


class UserError(Exception):
    """A mistake that the user can mend, told in three parts.

    Args:
        found: What was found, with the file, line or field it was found in.
        accepted: What would have been accepted.
        todo: What to do next.

    The command line prints it and exits with 2; the window shows it as a notice.
    Anything else that escapes is a bug and is reported as one.
    """

    def __init__(self, found: str, accepted: str = "", todo: str = "") -> None:
        super().__init__(found, accepted, todo)
        self.found = found
        self.accepted = accepted
        self.todo = todo

    def __str__(self) -> str:
        return "\n".join(part for part in (self.found, self.accepted, self.todo) if part)


def nearest(name: str, names: Iterable[str]) -> str:
    """Return `Did you mean 'x'?` for the closest known name, or an empty string."""
    known = list(names)
    folded = {n.casefold(): n for n in known}
    if name.casefold() in folded:
        return f"Did you mean '{folded[name.casefold()]}'?"
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"Did you mean '{close[0]}'?" if close else ""
