"""Measure a turn of a slider of the Prototypes page to the redrawn map: `wsss bench ui-prototypes`.

python -m wsss_napari.bench_prototypes [--rounds N]

turns tau, then K, then the shift on features of 32 x 32 cells with 256 channels, six classes and a full bank of
1000 rows and 50 prototypes each, and prints one JSON object; `bench_frames` explains its figures.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from engine.bench._prototype_noise import CLASSES, IMAGE, SIZE, bank_tensors, noise_view
from engine.results import PrototypeView
from engine.store import Image, Project, create, new_run
from engine.tags import PRESENT, Tags
from wsss_napari._compat import FrameClock
from wsss_napari.bench_frames import moves, opened, photograph, rest, told
from wsss_napari.dock import PrototypesDock
from wsss_napari.prototype_bank import VIEWS
from wsss_napari.prototype_jobs import METHOD
from wsss_napari.prototype_sliders import PrototypeSliders
from wsss_napari.prototype_stages import at_of

__all__ = ["main", "measure"]

_BAR_MS = 33.0
_TURNS: dict[str, tuple[float, ...]] = {
    "tau": (0.1, 0.15, 0.2, 0.25, 0.3),
    "neighbours": (5, 10, 20, 30),
    "shift": (0.0, 0.3, 0.6, 1.0),
}


def measure(rounds: int) -> dict[str, Any]:
    """Open the window on a made-up bank and turn three sliders `rounds` times each."""
    with tempfile.TemporaryDirectory(prefix="wsss-bench-") as folder:
        project = _project(Path(folder))
        with opened(PrototypesDock) as dock:
            dock.session.open(project.root)
            page: Any = dock.page("prototypes")
            page.panel.player.set_step(at_of("pacam"))
            rest()
            clock = FrameClock(dock.desk.viewer)
            found: dict[str, Any] = {"renderer": clock.renderer, "bar_ms": _BAR_MS}
            for name, values in _TURNS.items():
                found[f"{name}_ms"] = moves(partial(_turn, page.panel.sliders, name, values), clock, rounds)
            return found


def _turn(sliders: PrototypeSliders, name: str, values: Sequence[float], n: int) -> None:
    """Move one slider as a hand does."""
    sliders.entries[name].write(values[n % len(values)])
    sliders.moved.emit()


def _project(folder: Path) -> Project:
    (folder / "images").mkdir()
    photograph(folder / "images" / "one.png", SIZE, np.random.default_rng(0))
    project = create(
        folder / "project",
        images=[Image(IMAGE, "one.png", *SIZE)],
        image_folder=folder / "images",
        tags=Tags(
            tuple(f"class_{n}" for n in range(CLASSES)), (IMAGE,), np.full((1, CLASSES), PRESENT, np.int8)
        ),
    )
    run = new_run(project.root, "bench", "bench", {"method": METHOD, "params": {}})
    save_file(bank_tensors(), run.weights)
    run.end("finished")
    path = run.views(VIEWS).path(IMAGE, PrototypeView.KIND)
    path.parent.mkdir(parents=True)
    noise_view().save(path)
    return project


def main(words: Sequence[str] | None = None) -> int:
    """Print what was measured and return the exit code."""
    return told("wsss_napari.bench_prototypes", measure, 25, words)


if __name__ == "__main__":
    sys.exit(main())
