"""What a threshold over the whole image makes of a mask: of one class, or of all of them by the label rule."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from engine.labels import LabelRule, apply, best_class

__all__ = ["taken", "whole_image"]


def taken(scores: Mapping[int, NDArray[np.float32]], threshold: float) -> NDArray[np.uint8]:
    """Return what maps say by themselves: the best class where its score is above the threshold, else 0.

    Args:
        scores: Class (0-based) -> [H, W] float32 in [0, 1]; of one class, or of several that compete.
        threshold: A score above it is the class (a tie is background), as of the rule `constant`.

    Returns:
        [H, W] uint8, 0 and class + 1.
    """
    classes = sorted(scores)
    best, which = best_class(np.stack([scores[c] for c in classes]))
    return apply(LabelRule("constant", threshold), best, which, classes)


def whole_image(
    mask: NDArray[np.uint8],
    scores: Mapping[int, NDArray[np.float32]],
    threshold: float,
    *,
    over_others: bool = False,
) -> NDArray[np.uint8]:
    """Return the mask after these classes became what their maps say.

    Args:
        mask: [H, W] uint8, what stands there.
        scores: As of `taken`; at least one class.
        threshold: As of `taken`.
        over_others: Whether unsure pixels and those of other classes become background too where no
            score is above the threshold. By default they stay: these maps know nothing of them.

    Returns:
        [H, W] uint8, before any edit mask.
    """
    after = taken(scores, threshold)
    if over_others:
        return after
    own = np.zeros(256, bool)
    own[[0, *(c + 1 for c in scores)]] = True
    return np.where((after == 0) & ~own[mask], mask, after)
