"""A support bank and passes over images, drawn by hand and written as the engine writes them.

Run with `runpy` by the tests that look at prototypes and train nothing. Embeddings are 8 numbers: class n
points along axis 2n, its second kind along axis 2n + 1, the background along the last axis.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from engine.results import PrototypeView, image_key
from engine.store import Project, Run, new_run

DIM, LENGTH, PROTOTYPES = 8, 12, 4
GRID, CELL = (12, 16), 4
PARAMS = {
    "backbone": "tiny_cnn",
    "bank": "context",
    "alpha": 0.5,
    "tau": 0.2,
    "neighbours": 4,
    "temperature": 0.1,
    "positiveness": True,
    "shift": "ema",
    "draw": "mean_cos",
}


def direction(axis: int, lean: float = 0.0) -> np.ndarray:
    """Return a unit vector along an axis, leaning a little to the next one."""
    found = np.zeros(DIM, np.float32)
    found[axis], found[(axis + 1) % DIM] = 1.0, lean
    return found / np.linalg.norm(found)


def bank_tensors(project: Project, without: tuple[int, ...] = ()) -> dict[str, Any]:
    """Return the tensors of a bank: each class has rows from its own images, half of either kind.

    Args:
        project: Its images fill the bank.
        without: Classes that no confident image left anything of.
    """
    classes = len(project.classes)
    made: dict[str, Any] = {
        "rows": np.zeros((classes, LENGTH, DIM), np.float16),
        "keys": np.zeros((classes, LENGTH), np.int64),
        "steps": np.zeros((classes, LENGTH), np.int32),
        "scores": np.zeros((classes, LENGTH), np.float32),
        "areas": np.zeros((classes, LENGTH), np.float32),
        "centres": np.full((classes, LENGTH, 2), 0.5, np.float32),
        "mean": np.zeros((classes, DIM), np.float32),
        "prototypes": np.zeros((classes, PROTOTYPES, DIM), np.float32),
        "count": np.zeros(classes, np.int64),
        "member": np.full((classes, LENGTH), -1, np.int32),
        "pushes": np.zeros(classes, np.int64),
        "epoch": np.full(classes, -1, np.int64),
    }
    rng = np.random.default_rng(0)
    for cls in range(classes):
        own = [s for s in project.usable if cls in project.tags().present(s)]
        if cls in without or not own:
            continue
        filled = 10
        made["pushes"][cls] = filled
        for row in range(filled):
            kind = row % 2
            noise = rng.normal(0, 0.03, DIM).astype(np.float32)
            made["rows"][cls, row] = 2 * (direction(2 * cls + kind, 0.2 * (row // 2 % 2)) + noise)
            made["keys"][cls, row] = image_key(own[row % len(own)])
            made["steps"][cls, row] = 3 * row
            made["scores"][cls, row] = 0.55 + 0.04 * row
            made["areas"][cls, row] = 0.2
            made["member"][cls, row] = 2 * kind + row // 2 % 2
        for n in range(PROTOTYPES):
            rows = made["rows"][cls, :filled][made["member"][cls, :filled] == n].astype(np.float32)
            total = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).sum(0)
            made["prototypes"][cls, n] = total / np.linalg.norm(total)
        made["count"][cls], made["epoch"][cls] = PROTOTYPES, 2
        made["mean"][cls] = made["rows"][cls, :filled].astype(np.float32).mean(0) * 0.9
    tensors = {f"bank.{name}": value for name, value in made.items()}
    eye = np.eye(DIM, dtype=np.float32)
    return tensors | {"of_instance.weight": eye, "of_prototype.weight": eye}


def trained(project: Project, *, title: str = "", without: tuple[int, ...] = (), **params: Any) -> Run:
    """Make a run of `cpal` with a bank in its weights."""
    run = new_run(project.root, None, "cpal", {"method": "cpal", "params": {**PARAMS, **params}})
    save_file(bank_tensors(project, without), run.weights)
    run.end("finished", **({"title": title} if title else {}))
    return run


def view_of(project: Project, image: str) -> PrototypeView:
    """Return a pass: each present class is a square of its first kind; the image's name decides where."""
    h, w = GRID
    classes = len(project.classes)
    features = np.zeros((DIM, h, w), np.float32)
    features[DIM - 1] = 0.5
    maps = np.zeros((classes, h, w), np.float32)
    y, x = np.mgrid[:h, :w]
    for place, cls in enumerate(sorted(project.tags().present(image))):
        middle = (h / 2, w * (1 + 2 * place) / 4)
        far = np.maximum(abs(y - middle[0]), abs(x - middle[1]))
        inside = far < 3
        for row, column in np.argwhere(inside):  # the rim leans to the second kind
            features[:, row, column] = 2 * direction(2 * cls, 0.1 * far[row, column])
        maps[cls] = np.clip(1 - far / 3, 0, 1)
        maps[cls] /= maps[cls].max()
    facts = project.image(image)
    return PrototypeView(
        image=image,
        size=(facts.height, facts.width),
        classes=tuple(range(classes)),
        maps=maps.astype(np.float16),
        features=features,
        cell=float(CELL),
        origin=(CELL - 1) / 2,
        scores=np.full(classes, 0.9, np.float32),
        facts={"digest": "drawn", "run": "cpal", "params": PARAMS},
    )


def look(project: Project, run: Run, image: str) -> Path:
    """Write the pass over an image where the engine's job does."""
    path = run.views().path(image, PrototypeView.KIND)
    path.parent.mkdir(parents=True, exist_ok=True)
    view_of(project, image).save(path)
    return path
