"""Measure a move of the threshold to the repainted mask, in the real window: `wsss bench ui-threshold`.

python -m wsss_napari.bench_threshold [--rounds N]

prints one JSON object; `bench_frames` explains its figures.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.labels import LabelRule
from engine.results import CamStack
from engine.store import Image, Project, create, new_run
from engine.tags import PRESENT, Tags
from wsss_napari._compat import FrameClock
from wsss_napari.bench_frames import moves, opened, photograph, rest, told
from wsss_napari.dock import MainDock

__all__ = ["main", "measure"]

_SIZES = {"500x375": (375, 500), "2048x2048": (2048, 2048)}  # (H, W) px
_BARS_MS = {"500x375": 16.0, "2048x2048": 60.0}
_CLASSES = tuple(f"class_{n}" for n in range(6))


def measure(rounds: int) -> dict[str, Any]:
    """Open the window on made-up maps and move the threshold `rounds` times at each size."""
    with tempfile.TemporaryDirectory(prefix="wsss-bench-") as folder:
        project = _project(Path(folder))
        with opened(MainDock) as dock:
            dock.session.open(project.root)
            dock.session.run = "bench"
            page = dock.turn_to("explore")
            clock = FrameClock(dock.desk.viewer)
            found: dict[str, Any] = {"renderer": clock.renderer}
            for name in _SIZES:
                dock.session.jump(name)
                rest()
                found[f"{name}_ms"] = moves(
                    lambda n: page.panel.rule.set_rule(LabelRule("constant", 0.3 + 0.4 * (n % 7) / 7)),
                    clock,
                    rounds,
                )
                found[f"{name}_bar_ms"] = _BARS_MS[name]
            return found


def _project(folder: Path) -> Project:
    random = np.random.default_rng(0)
    images = []
    (folder / "images").mkdir()
    for name, (height, width) in _SIZES.items():
        photograph(folder / "images" / f"{name}.png", (height, width), random)
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
    return told("wsss_napari.bench_threshold", measure, 15, words)


if __name__ == "__main__":
    sys.exit(main())
