"""A turn of a slider of the Prototypes page to the redrawn map, in napari, against 33 ms.

The window's part runs in a child under a display (a screen in memory where there is none):
`python -m wsss_napari.bench_prototypes`. Its share of numpy is measured here too: ours joins the
neighbours' cosines from products of features, prototypes and the shift, the reference moves every
cell and normalises it for each of the neighbours.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from engine.bench._prototype_noise import bank_tensors, noise_view
from engine.bench._versus import allocated, alternate, numbers
from engine.bench._window import in_window
from engine.passage import Choice, pass_through
from engine.results import PrototypeBank

__all__ = ["bench"]


def bench(rounds: int) -> dict[str, Any]:
    """Draw the map of one class of 32 x 32 cells with 256 channels and 20 neighbours, and turn sliders in the window."""
    view, choice = noise_view(), Choice()
    with tempfile.TemporaryDirectory(prefix="wsss-bench-") as folder:
        save_file(bank_tensors(), Path(folder) / "weights")
        bank = PrototypeBank.load(Path(folder) / "weights")

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
        total = np.zeros(z.shape[1:], np.float32)
        for weight, p in zip(weights, bank.prototypes[0, near], strict=True):
            cells = z + shift[:, None, None]
            total += weight * np.einsum("d,dhw->hw", p, cells / np.linalg.norm(cells, axis=0))
        positive = np.maximum(total, 0)
        return np.asarray(positive / (positive.max() + 1e-5), np.float32)

    difference = float(np.abs(ours() - reference()).max())
    seconds = alternate(ours, reference, rounds)
    peaks = allocated(ours), allocated(reference)
    return numbers(seconds, peaks, difference, window=in_window("wsss_napari.bench_prototypes", rounds))
