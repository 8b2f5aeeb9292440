"""A pass over an image and a full support bank of noise: 32 x 32 cells, 256 channels, six classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.results import PrototypeView, image_key

__all__ = ["CLASSES", "IMAGE", "SIZE", "bank_tensors", "noise_view"]

IMAGE, SIZE, CLASSES = "noise", (512, 512), 6
_CELLS, _DIM, _LENGTH, _PROTOTYPES = (32, 32), 256, 1000, 50


def noise_view() -> PrototypeView:
    """Return the pass."""
    random = np.random.default_rng(0)
    return PrototypeView(
        image=IMAGE,
        size=SIZE,
        classes=tuple(range(CLASSES)),
        maps=random.random((CLASSES, *_CELLS)).astype(np.float16),
        features=random.normal(size=(_DIM, *_CELLS)).astype(np.float32),
        cell=SIZE[0] / _CELLS[0],
        origin=0.0,
        scores=np.ones(CLASSES, np.float32),
    )


def bank_tensors() -> dict[str, Any]:
    """Return the tensors of the bank, named as in a run's weights."""
    random = np.random.default_rng(1)
    full = (CLASSES, _LENGTH)
    prototypes = random.normal(size=(CLASSES, _PROTOTYPES, _DIM)).astype(np.float32)
    bank = {
        "rows": random.normal(size=(*full, _DIM)).astype(np.float16),
        "keys": np.full(full, image_key(IMAGE), np.int64),
        "steps": np.tile(np.arange(_LENGTH, dtype=np.int32), (CLASSES, 1)),
        "scores": random.random(full, np.float32),
        "areas": random.random(full, np.float32),
        "centres": random.random((*full, 2), np.float32),
        "mean": random.normal(size=(CLASSES, _DIM)).astype(np.float32),
        "prototypes": prototypes / np.linalg.norm(prototypes, axis=2, keepdims=True),
        "count": np.full(CLASSES, _PROTOTYPES, np.int64),
        "member": random.integers(0, _PROTOTYPES, full, np.int32),
        "pushes": np.full(CLASSES, _LENGTH, np.int64),
        "epoch": np.zeros(CLASSES, np.int64),
    }
    eye = np.eye(_DIM, dtype=np.float32)
    return {f"bank.{n}": v for n, v in bank.items()} | {
        "of_instance.weight": eye,
        "of_prototype.weight": eye,
    }
