"""Measure a move of the threshold to the repainted mask, in the real window: `wsss bench ui-threshold`.

python -m wsss_napari.bench_threshold [--rounds N]

prints one JSON object. For each size, medians in milliseconds from the move on: `mask` until
the layer holds the new mask, `drawn` until the canvas is drawn (the graphics card or its
software stand-in has finished), `shown` until the window is put together and on the screen.
The machine's share of the last two is told by `canvas`, a frame in which nothing changed.
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

from engine.labels import LabelRule
from engine.results import CamStack
from engine.store import Image, Project, create, new_run
from engine.tags import PRESENT, Tags
from wsss_napari._compat import FrameClock, main_window
from wsss_napari.dock import MainDock

__all__ = ["main", "measure"]

_SIZES = {"500x375": (375, 500), "2048x2048": (2048, 2048)}  # (H, W) px
_BARS_MS = {"500x375": 16.0, "2048x2048": 60.0}
_CLASSES = tuple(f"class_{n}" for n in range(6))
_WARM_UP = 3


def measure(rounds: int) -> dict[str, Any]:
    """Open the window on made-up maps and move the threshold `rounds` times at each size."""
    with tempfile.TemporaryDirectory(prefix="wsss-bench-") as folder:
        project = _project(Path(folder))
        viewer = napari.Viewer(show=True)
        try:
            window = main_window(viewer)
            assert window is not None
            window.resize(1280, 800)
            dock = MainDock(viewer)
            viewer.window.add_dock_widget(dock, name="WSSS", area="right")
            dock.session.open(project.root)
            dock.session.run = "bench"
            page = dock.turn_to("explore")
            clock = FrameClock(viewer)
            found: dict[str, Any] = {"renderer": clock.renderer}
            for name in _SIZES:
                dock.session.jump(name)
                _rest()
                found |= _moves(page, clock, name, rounds)
            return found
        finally:
            viewer.close()


def _moves(page: Any, clock: FrameClock, name: str, rounds: int) -> dict[str, Any]:
    parts: dict[str, list[float]] = {"mask": [], "drawn": [], "shown": [], "canvas": []}
    for n in range(rounds + _WARM_UP):
        began = time.perf_counter()
        page.panel.rule.set_rule(LabelRule("constant", 0.3 + 0.4 * (n % 7) / 7))
        masked = time.perf_counter()
        drawn = clock.frame()
        shown = time.perf_counter()
        _rest()
        still = time.perf_counter()
        again = clock.frame()
        if n >= _WARM_UP:
            for part, seconds in (
                ("mask", masked - began),
                ("drawn", drawn - began),
                ("shown", shown - began),
                ("canvas", again - still),
            ):
                parts[part].append(1000 * seconds)
    medians = {part: round(statistics.median(values), 1) for part, values in parts.items()}
    return {f"{name}_ms": medians, f"{name}_bar_ms": _BARS_MS[name]}


def _rest() -> None:
    """Let timers of the page run out, so that one move does not pay for another."""
    end = time.monotonic() + 0.25
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.005)


def _project(folder: Path) -> Project:
    random = np.random.default_rng(0)
    images = []
    (folder / "images").mkdir()
    for name, (height, width) in _SIZES.items():
        small = random.integers(0, 255, (height // 16, width // 16, 3), np.uint8)
        Pillow.fromarray(small).resize((width, height)).save(folder / "images" / f"{name}.png")
        images.append(Image(name, f"{name}.png", height, width))
    states = np.full((len(images), len(_CLASSES)), PRESENT, np.int8)
    tags = Tags(_CLASSES, tuple(_SIZES), states)
    project = create(folder / "project", images=images, image_folder=folder / "images", tags=tags)
    run = new_run(project.root, "bench", "bench", {"method": "cam"})
    run.weights.write_bytes(b"")
    run.end("finished")
    views = run.views("default")
    for name, size in _SIZES.items():
        cells = (len(_CLASSES), -(-size[0] // 16), -(-size[1] // 16))
        path = views.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        CamStack(
            image=name,
            size=size,
            classes=tuple(range(len(_CLASSES))),
            maps=random.random(cells, np.float32).astype(np.float16),
            peaks=np.ones(len(_CLASSES), np.float32),
            cell=16.0,
            origin=0.0,
            scores=np.ones(len(_CLASSES), np.float32),
        ).save(path)
    (views.folder / "views.json").write_text("{}", encoding="utf-8")
    return project


def main(words: Sequence[str] | None = None) -> int:
    """Print what was measured and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m wsss_napari.bench_threshold")
    parser.add_argument(
        "--rounds", type=int, default=15, help="moves of which medians are told (default: 15)"
    )
    found = parser.parse_args(words)
    print(json.dumps(measure(max(1, found.rounds))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
