"""Benchmarks that need a window: in a child process, under a screen in memory where there is no display."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from engine.display import screen
from engine.errors import UserError

__all__ = ["in_window"]

_SECONDS = 300


def in_window(module: str, rounds: int) -> dict[str, Any]:
    """Return what a benchmark of the window prints as its last line of stdout.

    Args:
        module: `wsss_napari.bench_…`, run in a child under a display.
        rounds: Passed on.

    Raises:
        UserError: There is no Qt or no display, or it takes too long.
    """
    with screen() as environment:
        try:
            child = subprocess.run(
                [sys.executable, "-m", module, "--rounds", str(rounds)],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise UserError(f"The window did not finish its benchmark in {_SECONDS} s.") from None
    lines = child.stdout.strip().splitlines()
    if child.returncode != 0 or not lines:
        tail = "\n".join(child.stderr.strip().splitlines()[-3:])
        raise UserError(
            f"The window could not be measured (exit code {child.returncode}):\n{tail}",
            "It needs a Qt binding and a display or Xvfb.",
            "Install them with `pip install 'wsss-napari[pyqt5]'` and `apt-get install xvfb`.",
        )
    result: dict[str, Any] = json.loads(lines[-1])
    return result
