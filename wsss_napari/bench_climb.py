"""Measure a step of a climb to the redrawn window: `wsss bench ui-climb`.

python -m wsss_napari.bench_climb [--rounds N]

scrubs a climb of 30 steps of a 500 x 375 image and prints one JSON object. Medians and 95th
percentiles in milliseconds from the move on: `data` until every visible layer holds the step,
`drawn` until the canvas is drawn (the graphics card or its software stand-in has finished),
`shown` until the window is put together and on the screen. `canvas` is a frame in which
nothing changed: the machine's own share. Once with what is shown at first (map and mask), once
with everything switched on, which covers most of what it draws.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import napari
import numpy as np
from PIL import Image as Pillow
from qtpy.QtWidgets import QApplication

from engine.results import TraceWriter
from engine.store import Image, Project, Run, create, new_run
from engine.tags import PRESENT, Tags
from wsss_napari._compat import FrameClock, main_window
from wsss_napari.climb_view import OWN
from wsss_napari.dock import ClimbDock

__all__ = ["main", "measure"]

_SIZE = (375, 500)  # (H, W) px
_STEPS = 30
_CELL = 16
_BAR_MS = 33.0
_WARM_UP = 5


def measure(rounds: int) -> dict[str, Any]:
    """Open the window on a made-up climb and move its slider `rounds` times."""
    with tempfile.TemporaryDirectory(prefix="wsss-bench-") as folder:
        project = _project(Path(folder))
        viewer = napari.Viewer(show=True)
        try:
            window = main_window(viewer)
            assert window is not None
            window.resize(1280, 800)
            dock = ClimbDock(viewer)
            viewer.window.add_dock_widget(dock, name="WSSS", area="right")
            dock.session.open(project.root)
            page: Any = dock.page("climb")
            _rest()
            clock = FrameClock(viewer)
            found: dict[str, Any] = {"renderer": clock.renderer, "steps": _STEPS, "bar_ms": _BAR_MS}
            found["map_and_mask_ms"] = _moves(page, clock, rounds)
            for switch in page.panel.switches.values():
                switch.setChecked(True)
            found["all_looks_ms"] = _moves(page, clock, rounds)
            return found
        finally:
            viewer.close()


def _moves(page: Any, clock: FrameClock, rounds: int) -> dict[str, dict[str, float]]:
    parts: dict[str, list[float]] = {"data": [], "drawn": [], "shown": [], "canvas": []}
    for n in range(rounds + _WARM_UP):
        # Mostly forwards, now and then a jump back, as a hand scrubs.
        step = (n * 7) % (_STEPS + 1) if n % 5 == 0 else min(page.step + 1, _STEPS)
        if step == page.step:
            step = 0
        began = time.perf_counter()
        page.go(step)
        filled = time.perf_counter()
        drawn = clock.frame()
        shown = time.perf_counter()
        _rest()
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


def _rest() -> None:
    """Let timers of the page run out, so that one move does not pay for another."""
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.005)


def _project(folder: Path) -> Project:
    random = np.random.default_rng(0)
    height, width = _SIZE
    (folder / "images").mkdir()
    small = random.integers(0, 255, (height // 16, width // 16, 3), np.uint8)
    Pillow.fromarray(small).resize((width, height)).save(folder / "images" / "one.png")
    project = create(
        folder / "project",
        images=[Image("one", "one.png", height, width)],
        image_folder=folder / "images",
        tags=Tags(("thing", "other"), ("one",), np.full((1, 2), PRESENT, np.int8)),
    )
    run = new_run(project.root, "bench", "bench", {"method": "cam"})
    run.weights.write_bytes(b"")
    run.end("finished")
    _climb(run, random)
    return project


def _climb(run: Run, random: np.random.Generator) -> None:
    height, width = _SIZE
    grid = (-(-height // _CELL), -(-width // _CELL))
    writer = TraceWriter(
        run.views(OWN).folder / "one" / "climb" / "0",
        _STEPS + 1,
        {
            "maps": grid,
            "masks": grid,
            "scores": (2,),
            "penalties": (2,),
            "pictures": (2, 3, height, width),
            "saliency": (height, width),
        },
        {
            "image": "one",
            "class": 0,
            "size": [height, width],
            "picture_size": [height, width],
            "cell": _CELL,
            "origin": 0.0,
            "first": 0,
            "planned": _STEPS,
            "parent": None,
            "at": 0,
            "settings": {"steps": _STEPS, "aggregate": "sum"},
        },
    )
    for t in range(_STEPS + 1):
        writer.add(
            {
                "maps": random.random(grid, np.float32),
                "masks": random.integers(0, 4, grid, np.uint8),
                "scores": np.array([1 + 0.1 * t, 1], np.float32),
                "penalties": np.array([0.1 * t, 0.0], np.float32),
                "pictures": random.integers(-t, t + 1, (2, 3, height, width), np.int16),
                "saliency": random.integers(0, 256, (height, width), np.uint8),
            },
            tell=False,
        )
    writer.end("finished")


def main(words: Sequence[str] | None = None) -> int:
    """Print what was measured and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m wsss_napari.bench_climb")
    parser.add_argument(
        "--rounds", type=int, default=40, help="moves of which figures are told (default: 40)"
    )
    found = parser.parse_args(words)
    print(json.dumps(measure(max(1, found.rounds))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
