"""Measure a step of a climb to the redrawn window: `wsss bench ui-climb`.

python -m wsss_napari.bench_climb [--rounds N]

scrubs a climb of 30 steps of a 500 x 375 image and prints one JSON object; `bench_frames` explains its
figures. Once with what is shown at first (map and mask), once with everything switched on, which covers
most of what it draws.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.results import TraceWriter
from engine.store import Image, Project, Run, create, new_run
from engine.tags import PRESENT, Tags
from wsss_napari._compat import FrameClock
from wsss_napari.bench_frames import moves, opened, photograph, rest, told
from wsss_napari.climb_view import OWN
from wsss_napari.dock import ClimbDock

__all__ = ["main", "measure"]

_SIZE = (375, 500)  # (H, W) px
_STEPS = 30
_CELL = 16
_BAR_MS = 33.0


def measure(rounds: int) -> dict[str, Any]:
    """Open the window on a made-up climb and move its slider `rounds` times."""
    with tempfile.TemporaryDirectory(prefix="wsss-bench-") as folder:
        project = _project(Path(folder))
        with opened(ClimbDock) as dock:
            dock.session.open(project.root)
            page: Any = dock.page("climb")
            rest()
            clock = FrameClock(dock.desk.viewer)

            def move(n: int) -> None:
                # Mostly forwards, now and then a jump back, as a hand scrubs.
                step = (n * 7) % (_STEPS + 1) if n % 5 == 0 else min(page.step + 1, _STEPS)
                page.go(0 if step == page.step else step)

            found: dict[str, Any] = {"renderer": clock.renderer, "steps": _STEPS, "bar_ms": _BAR_MS}
            found["map_and_mask_ms"] = moves(move, clock, rounds)
            for switch in page.panel.switches.values():
                switch.setChecked(True)
            found["all_looks_ms"] = moves(move, clock, rounds)
            return found


def _project(folder: Path) -> Project:
    random = np.random.default_rng(0)
    height, width = _SIZE
    (folder / "images").mkdir()
    photograph(folder / "images" / "one.png", _SIZE, random)
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
    return told("wsss_napari.bench_climb", measure, 40, words)


if __name__ == "__main__":
    sys.exit(main())
