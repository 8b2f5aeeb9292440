"""Which project a command means."""

from __future__ import annotations

from pathlib import Path

from engine.errors import UserError

__all__ = ["project_here"]


def project_here(given: str) -> str:
    """Return the project that was named, or the current folder if it is one.

    Raises:
        UserError: None was named, and the current folder is none.
    """
    if given:
        return given
    if Path("wsss.toml").is_file():
        return "."
    raise UserError(
        "No project was named, and the current folder is none.",
        "A folder made by `wsss new` is accepted.",
        "Name it with -p PROJECT.",
    )
