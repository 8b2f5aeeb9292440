"""`wsss view`: napari with the docks open, in a process of its own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.cli.follow import Bug
from engine.cli.grammar import Parser
from engine.cli.jobs import add_json, add_project
from engine.display import has_display
from engine.errors import UserError
from engine.store import open_project

__all__ = ["answer", "check_window", "open_window"]

_BINDINGS = ("PyQt5", "PyQt6", "PySide6")


def answer(words: Sequence[str]) -> tuple[int, dict[str, Any] | None]:
    """Open the window and wait until it is closed."""
    parser = Parser("view", "Open napari with the docks open.")
    parser.add_argument(
        "place", metavar="PROJECT", nargs="?", default="",
        help="folder of the project (default: the current folder, if it is one, else none)",
    )  # fmt: skip
    add_project(parser, hidden=True)
    add_json(parser)
    found = parser.read(words)
    place = found.place or found.project or ("." if Path("wsss.toml").is_file() else "")
    if place:
        open_project(place)  # a mistake is told here, before the window takes its seconds to come up
    check_window()
    if not has_display():
        raise UserError(
            "There is no display to open a window on.",
            "A screen, X forwarding (`ssh -X`) or a remote desktop is accepted.",
            "Without one, `wsss demo` writes screenshots, and every other command works.",
        )
    open_window(place)
    return 0, {"project": place or None, "window": "closed"} if found.json else None


def check_window() -> None:
    """Check that napari and a Qt binding are installed.

    Raises:
        UserError: One of them is not; the command that installs it is named.
    """
    if importlib.util.find_spec("napari") is None:
        raise UserError("napari is not installed.", "", "Install it with `pip install 'wsss-napari[pyqt5]'`.")
    if not any(importlib.util.find_spec(name) for name in _BINDINGS):
        raise UserError(
            "No Qt is installed, and the window needs one.",
            f"Accepted: {', '.join(_BINDINGS)}.",
            "Install one with `pip install 'wsss-napari[pyqt5]'`.",
        )


def open_window(
    project: str, *, options: Sequence[str] = (), environment: dict[str, str] | None = None
) -> None:
    """Run `python -m wsss_napari` and wait until it ends.

    Args:
        project: Folder of the project; empty for none.
        options: Words before it.
        environment: Of the child; this process's by default.

    Raises:
        UserError: The window told a mistake.
        Bug: It ended with an error.
    """
    line = [
        sys.executable,
        "-m",
        "wsss_napari",
        *options,
        *([str(Path(project).resolve())] if project else []),
    ]
    child = subprocess.run(line, env=environment, stdout=sys.stderr)
    if child.returncode == 2:
        raise UserError("The window did not open.", "It said why above.")
    if child.returncode:
        raise Bug(f"the window ended with the exit code {child.returncode}; what it printed stands above", "")
