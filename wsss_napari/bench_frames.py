"""Time moves of a slider in the real window, for the benchmarks of the window.

Medians and 95th percentiles in milliseconds from the move on: `data` until every visible layer holds
what the move changes, `drawn` until the canvas is drawn (the graphics card or its software stand-in has
finished), `shown` until the window is put together and on the screen. `canvas` is a frame in which
nothing changed: the machine's own share.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import napari
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from qtpy.QtWidgets import QApplication

from wsss_napari._compat import FrameClock, main_window

__all__ = ["moves", "opened", "photograph", "rest", "told"]

_WINDOW = (1280, 800)
_WARM_UP = 5


@contextmanager
def opened(dock: Callable[[Any], Any]) -> Iterator[Any]:
    """Show a window of 1280 x 800 px with a dock in it, yield the dock, and close the window."""
    viewer = napari.Viewer(show=True)
    try:
        window = main_window(viewer)
        assert window is not None
        window.resize(*_WINDOW)
        made = dock(viewer)
        viewer.window.add_dock_widget(made, name="WSSS", area="right")
        yield made
    finally:
        viewer.close()


def moves(move: Callable[[int], None], clock: FrameClock, rounds: int) -> dict[str, dict[str, float]]:
    """Make moves and tell how long each part took.

    Args:
        move: Called with 0, 1, 2 and so on; each call must change the picture.
        clock: Of the window.
        rounds: Moves that count; some more come before.
    """
    parts: dict[str, list[float]] = {"data": [], "drawn": [], "shown": [], "canvas": []}
    for n in range(rounds + _WARM_UP):
        began = time.perf_counter()
        move(n)
        filled = time.perf_counter()
        drawn = clock.frame()
        shown = time.perf_counter()
        rest()
        still = time.perf_counter()
        again = clock.frame()
        if n >= _WARM_UP:
            for part, seconds in (
                ("data", filled - began),
                ("drawn", drawn - began),
                ("shown", shown - began),
                ("canvas", again - still),
            ):
                parts[part].append(1000 * seconds)
    return {
        part: {"median": round(statistics.median(times), 1), "p95": round(float(np.percentile(times, 95)), 1)}
        for part, times in parts.items()
    }


def rest() -> None:
    """Let timers of the page run out, so that one move does not pay for another."""
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.005)


def photograph(path: Path, size: tuple[int, int], random: np.random.Generator) -> None:
    """Write a made-up photograph of (H, W) px: blotches of 16 px."""
    height, width = size
    small: NDArray[np.uint8] = random.integers(0, 255, (height // 16, width // 16, 3), np.uint8)
    Pillow.fromarray(small).resize((width, height)).save(path)


def told(
    module: str, measure: Callable[[int], dict[str, Any]], rounds: int, words: Sequence[str] | None = None
) -> int:
    """Print what a benchmark measured as one JSON object and return the exit code.

    Args:
        module: Its name, for its help.
        measure: Called with the number of moves.
        rounds: How many by default.
        words: The command line's; those of the process by default.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}")
    parser.add_argument(
        "--rounds", type=int, default=rounds, help=f"moves of which figures are told (default: {rounds})"
    )
    found = parser.parse_args(words)
    print(json.dumps(measure(max(1, found.rounds))))
    return 0
