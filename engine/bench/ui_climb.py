"""A move of the slider over the 30 steps of a climb to the redrawn window, in napari, against 33 ms.

The window's part runs in a child under a display (a screen in memory where there is none):
`python -m wsss_napari.bench_climb`. Its share of reading is measured here too: ours reads one row of the
mapped files and adds maps at feature resolution, the reference loads the climb and adds maps at image size.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.bench._versus import allocated, alternate, numbers
from engine.bench._window import in_window
from engine.results import TraceWriter, enlarge, path_to, traces_in

__all__ = ["bench"]

_SIZE = (375, 500)  # (H, W) px
_CELLS = (24, 32)
_STEPS = 30
_STEP = 20


def bench(rounds: int) -> dict[str, Any]:
    """Read one step of a climb of a 500 x 375 image, and scrub through it in the window."""
    with tempfile.TemporaryDirectory(prefix="wsss-bench-") as folder:
        _write(Path(folder))
        path = path_to(traces_in(Path(folder)), "0")

        def ours() -> tuple[NDArray[np.float32], NDArray[Any]]:
            return path.attribution(_STEP), np.array(path.row("pictures", _STEP)[0])

        def reference() -> tuple[NDArray[np.float32], NDArray[Any]]:
            maps = np.load(Path(folder) / "0" / "maps.npy").astype(np.float32)
            pictures = np.load(Path(folder) / "0" / "pictures.npy")
            total = enlarge(maps[: _STEP + 1], _SIZE, 16.0, 0.0).sum(0)
            return total / total.max(), pictures[_STEP, 0]

        found, wanted = ours(), reference()
        full = enlarge(found[0][None], _SIZE, 16.0, 0.0)[0]
        difference = float(np.abs(full / full.max() - wanted[0]).max())
        seconds = alternate(ours, reference, rounds)
        peaks = allocated(ours), allocated(reference)
    return numbers(seconds, peaks, difference, window=in_window("wsss_napari.bench_climb", rounds))


def _write(folder: Path) -> None:
    """Write a climb of noise."""
    random = np.random.default_rng(0)
    shapes = {"maps": _CELLS, "masks": _CELLS, "scores": (6,), "penalties": (2,), "pictures": (2, 3, *_SIZE)}
    facts = {
        "image": "noise", "class": 0, "size": list(_SIZE), "picture_size": list(_SIZE), "cell": 16.0, "origin": 0.0,
        "first": 0, "planned": _STEPS, "parent": None, "at": 0, "settings": {"aggregate": "sum"},
    }  # fmt: skip
    writer = TraceWriter(folder / "0", _STEPS + 1, shapes, facts)
    for _ in range(_STEPS + 1):
        rows = {name: random.random(shape).astype(np.float32) for name, shape in shapes.items()}
        writer.add({**rows, "masks": rows["masks"].astype(np.uint8)}, tell=False)
    writer.end("finished")
