"""Drawn climbs: a blob that grows, scores that rise and fall, written as the engine writes them.

Run with `runpy` by the tests that need climbs and no network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from engine.results import ClimbTrace, TraceWriter

SETTINGS = {"steps": 10, "step": 1.5, "lam": 7.0, "tau": 0.5, "aggregate": "sum", "scales": [1.0]}


def begin(
    root: Path,
    name: str = "0",
    *,
    steps: int = 10,
    parent: str | None = None,
    at: int = 0,
    size: tuple[int, int] = (375, 500),
    grid: tuple[int, int] = (24, 32),
    classes: int = 3,
    pictures: bool = False,
    settings: dict[str, Any] | None = None,
    **facts: Any,
) -> TraceWriter:
    """Make a trace without rows; `root` is the image's `climb` folder."""
    first = 0 if parent is None else at + 1
    rows = steps + 1 if parent is None else steps
    arrays: dict[str, tuple[int, ...]] = {
        "maps": grid,
        "masks": grid,
        "scores": (classes,),
        "penalties": (2,),
    }
    if pictures:
        arrays |= {"pictures": (2, 3, *size), "saliency": size}
    return TraceWriter(
        root / name,
        rows,
        arrays,
        {
            "image": "cat_1",
            "class": int(name.split(".")[0]),
            "size": list(size),
            "picture_size": list(size),
            "cell": size[0] / grid[0],
            "origin": (size[0] / grid[0] - 1) / 2,
            "first": first,
            "planned": at + steps,
            "parent": parent,
            "at": at,
            "settings": {**SETTINGS, "steps": steps, **(settings or {})},
            **facts,
        },
    )


def row_of(writer: TraceWriter, t: int, *, strength: float = 1.0) -> dict[str, Any]:
    """Return what a climb might see at step t: the blob widens, the climbed class's score rises."""
    shapes = writer._facts["shapes"]
    _, h, w = shapes["maps"]
    cls = writer._facts["class"]
    y, x = np.mgrid[:h, :w]
    far = np.hypot((y - h * 0.45) / h, (x - w * 0.5) / w)
    wide = 0.10 + 0.012 * t * strength
    heat = (3 + 0.2 * t * strength) * np.exp(-((far / wide) ** 2)) + 0.05
    scores = np.linspace(1.5, 0.5, shapes["scores"][1]) - 0.05 * t
    scores[cls] = 2 + 0.4 * t * strength - 0.006 * t * t
    mask = (heat > 0.5 * heat.max()).astype(np.uint8)
    mask[: h // 8] |= 2
    row: dict[str, Any] = {
        "maps": heat,
        "masks": mask,
        "scores": scores,
        "penalties": np.array([0.3 * t * strength, 0.04 * t]),
    }
    if "pictures" in shapes:
        _, frames, _, tall, wide_px = shapes["pictures"]
        ramp = np.linspace(-t, t, tall * wide_px).reshape(tall, wide_px)
        row["pictures"] = np.broadcast_to(ramp, (frames, 3, tall, wide_px))
        row["saliency"] = np.full((tall, wide_px), min(t, 255))
    return row


def write(
    root: Path, name: str = "0", *, ending: str = "finished", strength: float = 1.0, **how: Any
) -> ClimbTrace:
    """Write a whole trace; with `ending` "" it stays as if it were still climbing."""
    rows = how.pop("rows", None)
    writer = begin(root, name, **how)
    first, most = writer._facts["first"], writer._facts["shapes"]["maps"][0]
    count = most if rows is None else rows
    for n in range(count):
        writer.add(row_of(writer, first + n, strength=strength), tell=n + 1 == count)
    return writer.end(ending) if ending else ClimbTrace.load(writer.folder)
