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

from engine.results import PrototypeView, image_key
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

_SIZE = (512, 512)  # (H, W) px
_CELLS, _DIM = (32, 32), 256
_CLASSES = tuple(f"class_{n}" for n in range(6))
_LENGTH, _PROTOTYPES = 1000, 50
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
    random = np.random.default_rng(0)
    (folder / "images").mkdir()
    photograph(folder / "images" / "one.png", _SIZE, random)
    project = create(
        folder / "project",
        images=[Image("one", "one.png", *_SIZE)],
        image_folder=folder / "images",
        tags=Tags(_CLASSES, ("one",), np.full((1, len(_CLASSES)), PRESENT, np.int8)),
    )
    run = new_run(project.root, "bench", "bench", {"method": METHOD, "params": {}})
    save_file(_bank(random), run.weights)
    run.end("finished")
    path = run.views(VIEWS).path("one", PrototypeView.KIND)
    path.parent.mkdir(parents=True)
    PrototypeView(
        image="one",
        size=_SIZE,
        classes=tuple(range(len(_CLASSES))),
        maps=random.random((len(_CLASSES), *_CELLS)).astype(np.float16),
        features=random.normal(size=(_DIM, *_CELLS)).astype(np.float32),
        cell=_SIZE[0] / _CELLS[0],
        origin=0.0,
        scores=np.ones(len(_CLASSES), np.float32),
    ).save(path)
    return project


def _bank(random: np.random.Generator) -> dict[str, Any]:
    """Return the tensors of a full bank of noise."""
    classes, length = len(_CLASSES), _LENGTH
    prototypes = random.normal(size=(classes, _PROTOTYPES, _DIM)).astype(np.float32)
    bank = {
        "rows": random.normal(size=(classes, length, _DIM)).astype(np.float16),
        "keys": np.full((classes, length), image_key("one"), np.int64),
        "steps": np.tile(np.arange(length, dtype=np.int32), (classes, 1)),
        "scores": random.random((classes, length), np.float32),
        "areas": random.random((classes, length), np.float32),
        "centres": random.random((classes, length, 2), np.float32),
        "mean": random.normal(size=(classes, _DIM)).astype(np.float32),
        "prototypes": prototypes / np.linalg.norm(prototypes, axis=2, keepdims=True),
        "count": np.full(classes, _PROTOTYPES, np.int64),
        "member": random.integers(0, _PROTOTYPES, (classes, length), np.int32),
        "pushes": np.full(classes, length, np.int64),
        "epoch": np.zeros(classes, np.int64),
    }
    eye = np.eye(_DIM, dtype=np.float32)
    return {f"bank.{n}": v for n, v in bank.items()} | {
        "of_instance.weight": eye,
        "of_prototype.weight": eye,
    }


def main(words: Sequence[str] | None = None) -> int:
    """Print what was measured and return the exit code."""
    return told("wsss_napari.bench_prototypes", measure, 25, words)


if __name__ == "__main__":
    sys.exit(main())
