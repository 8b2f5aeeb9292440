"""Average precision of image tags, ignoring what nobody has said."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["average_precision", "mean_average_precision"]


def average_precision(scores: NDArray[np.floating], targets: NDArray[np.int8]) -> float | None:
    """Return the area under the precision-recall steps of one class, or None without a positive.

    Args:
        scores: [N] float, higher means more likely present.
        targets: [N] int8 in {1, 0, -1}; unknown images are left out.
    """
    known = targets >= 0
    scores, present = scores[known], targets[known] == 1
    if not present.any():
        return None
    order = np.argsort(-scores, kind="stable")
    present, scores = present[order], scores[order]
    # Equal scores are one threshold: precision is read at the last of them.
    last = np.append(scores[1:] != scores[:-1], True)
    hits = np.cumsum(present)[last]
    precision = hits / (np.flatnonzero(last) + 1)
    recall = np.concatenate([[0.0], hits / present.sum()])
    return float(np.sum(np.diff(recall) * precision))


def mean_average_precision(scores: NDArray[np.floating], targets: NDArray[np.int8]) -> float | None:
    """Return the mean over the classes that have a positive, or None when none has.

    Args:
        scores: [N, C] float.
        targets: [N, C] int8 in {1, 0, -1}.
    """
    found = [average_precision(scores[:, c], targets[:, c]) for c in range(scores.shape[1])]
    values = [v for v in found if v is not None]
    return float(np.mean(values)) if values else None
