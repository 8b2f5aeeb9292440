"""A turn of a slider of the Prototypes page to the redrawn map, in napari, against 33 ms.

The window's part runs in a child under a display (a screen in memory where there is none):
`python -m wsss_napari.bench_prototypes`. Its share of numpy is measured here too: ours joins the
neighbours' cosines from products of features, prototypes and the shift, the reference moves every
cell and normalises it for each of the neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.bench._versus import allocated, alternate, numbers
from engine.bench._window import in_window
from engine.passage import Choice, pass_through
from engine.results import PrototypeBank, PrototypeView

__all__ = ["bench"]

_CELLS, _DIM, _CLASSES, _LENGTH, _PROTOTYPES = (32, 32), 256, 6, 1000, 50


def bench(rounds: int) -> dict[str, Any]:
    """Draw the map of one class of 32 x 32 cells with 256 channels and 20 neighbours, and turn sliders in the window."""
    view, bank = _made()
    choice = Choice()

    def ours() -> NDArray[np.float32]:
        passage = pass_through(view, bank, 0, choice)
        assert passage is not None
        return passage.aware

    def reference() -> NDArray[np.float32]:
        z = view.features
        own = z[:, view.maps[0] > choice.tau].mean(1)
        shift = bank.rows[0].astype(np.float32).mean(0) - bank.mean[0]
        moved = own + shift
        cosine = bank.prototypes[0] @ moved / np.linalg.norm(moved)
        near = np.argsort(-cosine, kind="stable")[: choice.neighbours]
        a, b = bank.of_instance @ moved, bank.prototypes[0, near] @ bank.of_prototype.T
        logits = b @ a / np.linalg.norm(a) / np.linalg.norm(b, axis=1) / choice.temperature
        weights = np.exp(logits - logits.max())
        weights /= weights.sum()
        total = np.zeros(_CELLS, np.float32)
        for weight, p in zip(weights, bank.prototypes[0, near], strict=True):
            cells = z + shift[:, None, None]
            total += weight * np.einsum("d,dhw->hw", p, cells / np.linalg.norm(cells, axis=0))
        positive = np.maximum(total, 0)
        return np.asarray(positive / (positive.max() + 1e-5), np.float32)

    difference = float(np.abs(ours() - reference()).max())
    seconds = alternate(ours, reference, rounds)
    peaks = allocated(ours), allocated(reference)
    return numbers(seconds, peaks, difference, window=in_window("wsss_napari.bench_prototypes", rounds))


def _made() -> tuple[PrototypeView, PrototypeBank]:
    """Return a pass over an image and a full bank, both of noise."""
    random = np.random.default_rng(0)
    prototypes = random.normal(size=(_CLASSES, _PROTOTYPES, _DIM)).astype(np.float32)
    full = (_CLASSES, _LENGTH)
    view = PrototypeView(
        image="noise",
        size=(512, 512),
        classes=tuple(range(_CLASSES)),
        maps=random.random((_CLASSES, *_CELLS)).astype(np.float16),
        features=random.normal(size=(_DIM, *_CELLS)).astype(np.float32),
        cell=16.0,
        origin=0.0,
        scores=np.ones(_CLASSES, np.float32),
    )
    bank = PrototypeBank(
        rows=random.normal(size=(*full, _DIM)).astype(np.float16),
        filled=np.full(_CLASSES, _LENGTH),
        keys=np.zeros(full, np.int64),
        steps=np.zeros(full, np.int32),
        scores=np.ones(full, np.float32),
        areas=np.ones(full, np.float32),
        centres=np.zeros((*full, 2), np.float32),
        mean=random.normal(size=(_CLASSES, _DIM)).astype(np.float32),
        prototypes=prototypes / np.linalg.norm(prototypes, axis=2, keepdims=True),
        count=np.full(_CLASSES, _PROTOTYPES),
        member=random.integers(0, _PROTOTYPES, full, np.int32),
        epoch=np.zeros(_CLASSES, np.int64),
        of_instance=np.eye(_DIM, dtype=np.float32),
        of_prototype=np.eye(_DIM, dtype=np.float32),
    )
    return view, bank
