"""Classification losses that unknown tags do not touch.

Every multi-label loss is a sum over the known tags of the batch, divided by how many tags are
known in the *global* batch; `single` sums over images and divides by how many have a present tag.
Ranks average their gradients, so each multiplies its share by the number of ranks: N ranks then
take the step that one process would take with all the images.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.compute import gathered

__all__ = ["balanced", "count_known", "count_named", "focal", "pixels", "plain", "single", "tag_weights"]

_UNSURE = 255


def plain(scores: Tensor, targets: Tensor, *, known: Tensor | None = None, world: int = 1) -> Tensor:
    """Return the mean binary cross-entropy over the known tags.

    With every tag known it is torch's `multilabel_soft_margin_loss`, the loss of the CAM papers.

    Args:
        scores: `[B, C]` floating point logits.
        targets: `[B, C]` in {1 present, 0 absent, -1 unknown}. An unknown tag's gradient is exactly 0.
        known: Number of known tags in the global batch, a scalar tensor; this batch's own when None.
        world: Number of ranks over which gradients are averaged.

    Returns:
        A scalar >= 0; 0 when no tag is known.
    """
    entropy, _, mask = _entropy(scores, targets)
    return _mean(entropy, mask, known, world)


def balanced(
    scores: Tensor, targets: Tensor, *, counts: Tensor, known: Tensor | None = None, world: int = 1
) -> Tensor:
    """Return the cross-entropy in which a class's present and absent tags weigh the same in total.

    The weights are `tag_weights(counts)`; see there for the formula and its source.

    Args:
        scores, targets, known, world: As for `plain`.
        counts: `[2, C]` how many training images have each class present, absent.

    Returns:
        A scalar >= 0; 0 when no tag is known.
    """
    entropy, present, mask = _entropy(scores, targets)
    weights = tag_weights(counts.to(scores))  # [2, C]
    weighted = entropy * torch.where(present > 0, weights[0], weights[1])  # [B, C]
    return _mean(weighted, mask, known, world)


def focal(
    scores: Tensor,
    targets: Tensor,
    *,
    gamma: float = 2.0,
    alpha: float | None = 0.25,
    known: Tensor | None = None,
    world: int = 1,
) -> Tensor:
    """Return the focal loss: well classified tags count less, by (1 - p_t)^gamma.

    Lin et al. (2017), "Focal Loss for Dense Object Detection", eq. 5, with its defaults.
    Departs from it in the divisor: known tags, not objects.

    Args:
        scores, targets, known, world: As for `plain`.
        gamma: How fast easy tags fade, >= 0; 0 gives the weighted cross-entropy.
        alpha: Weight of present tags in [0, 1], absent ones get 1 - alpha; None weighs all by 1.

    Returns:
        A scalar >= 0; 0 when no tag is known.
    """
    entropy, present, mask = _entropy(scores, targets)
    # 1 - p_t = sigmoid of minus the signed score; exact where 1 - exp(-entropy) would cancel to 0.
    signed = torch.where(mask, scores, 0) * (1 - 2 * present)  # [B, C]
    faded = torch.sigmoid(signed) ** gamma * entropy  # [B, C]
    if alpha is not None:
        faded = faded * (alpha * present + (1 - alpha) * (1 - present))  # [B, C]
    return _mean(faded, mask, known, world)


def single(scores: Tensor, targets: Tensor, *, known: Tensor | None = None, world: int = 1) -> Tensor:
    """Return the mean softmax cross-entropy over the images that have a present tag.

    What object localisation trains with: one class an image. Where an image has several present
    tags the target is spread evenly over them. An unknown tag stands outside the softmax, so that
    its score neither gains nor loses; an image without a present tag teaches nothing.

    Args:
        scores, targets, world: As for `plain`.
        known: Number of images in the global batch with a present tag, a scalar tensor; this
            batch's own when None.

    Returns:
        A scalar >= 0; 0 when no image has a present tag.
    """
    present = targets > 0  # [B, C]
    named = present.any(1)  # [B]
    # An image without a present tag may have no known one either, and a softmax over nothing is no number.
    inside = (targets >= 0) | ~named[:, None]  # [B, C]
    chosen = torch.where(inside & named[:, None], scores, 0)  # [B, C]
    logs = chosen.masked_fill(~inside, -torch.inf).log_softmax(1)  # [B, C]
    entropy = -torch.where(present, logs, 0).sum(1) / present.sum(1).clamp(min=1)  # [B]
    total = named.sum() if known is None else known
    return world * entropy.sum() / total.clamp(min=1)


def pixels(
    scores: Tensor, labels: Tensor, targets: Tensor, *, smoothing: float = 0.0, world: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean softmax cross-entropies of background and of foreground pixels, and the share of the latter.

    Source: Lee, Kim and Shim, AMN (CVPR 2022): per-pixel classification, balanced, with smoothed labels. A class
    that is unknown of an image stands outside its softmax, unless a pixel of it is labelled so: background may
    well be that class.

    Args:
        scores: `[B, 1 + C, h, w]` logits, background first.
        labels: `[B, h, w]` uint8, 0 background, class + 1, 255 unsure, which teaches nothing.
        targets: `[B, C]` in {1, 0, -1 unknown}.
        smoothing: Share of the target that all other classes have in equal parts, in [0, 1).
        world: Number of ranks over which gradients are averaged; means are over the pixels of all of them.

    Returns:
        Two scalars >= 0, 0 of a kind that no pixel is of, and the share of the foreground among the sure
        pixels of all ranks, a scalar in [0, 1].
    """
    sure = labels != _UNSURE  # [B, h, w]
    index = torch.where(sure, labels, 0).long()[:, None]  # [B, 1, h, w]
    counted = F.pad(targets >= 0, (1, 0), value=True)  # [B, 1 + C]
    counted = counted.scatter(1, index.flatten(1), True)[:, :, None, None]
    # Chosen after the softmax too: a share of nothing times -inf would be no number.
    logs = scores.masked_fill(~counted, -torch.inf).log_softmax(1)  # [B, 1 + C, h, w]
    logs = torch.where(counted, logs, 0)
    hit = logs.gather(1, index)[:, 0]  # [B, h, w]
    others = counted.sum(1) - 1  # [B, 1, 1]
    rest = (logs.sum(1) - hit) / others.clamp(min=1)
    entropy = -torch.lerp(hit, rest, smoothing * (others > 0))  # [B, h, w]
    kinds = torch.stack([sure & (labels == 0), sure & (labels > 0)])  # [2, B, h, w]
    counts = gathered([kinds.sum((1, 2, 3))[None]])[0].sum(0)  # [2], of all ranks
    background, foreground = world * (entropy * kinds).sum((1, 2, 3)) / counts.clamp(min=1)
    return background, foreground, counts[1] / counts.sum().clamp(min=1)


def tag_weights(counts: Tensor, most: float = 20.0) -> Tensor:
    """Return the weights that balance present against absent tags class by class.

    w(present) = n / (2 n_present) and w(absent) = n / (2 n_absent) with n their sum: the mean
    weight of a class's tags stays 1, so rates found with the plain loss still fit (the
    weighting of King and Zeng, 2001, "Logistic Regression in Rare Events Data", with both
    outcomes taken as equally likely). A class that is present nowhere, or absent nowhere, keeps weight 1.

    Args:
        counts: `[2, C]` how many images have each class present, absent.
        most: Largest weight, so that a class with one image does not drown the others.

    Returns:
        `[2, C]` weights of present and of absent tags, in [0.5, most].
    """
    both = (counts > 0).all(0)  # [C]
    weights = counts.sum(0) / (2 * counts.clamp(min=1))  # [2, C]
    return torch.where(both, weights, torch.ones_like(weights)).clamp(max=most)  # [2, C]


def count_known(targets: Tensor) -> Tensor:
    """Return how many tags of `[B, C]` are known, an int64 scalar; ranks sum it to the global count."""
    return (targets >= 0).sum()


def count_named(targets: Tensor) -> Tensor:
    """Return how many images of `[B, C]` have a present tag, an int64 scalar; ranks sum it to the global count."""
    return (targets > 0).any(1).sum()


def _entropy(scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return cross-entropies [B, C] (0 where unknown), present tags [B, C] in {0, 1}, and the known mask."""
    mask = targets >= 0  # [B, C]
    # Chosen before the loss, not after: even a score that is not finite then gives gradient 0.
    chosen = torch.where(mask, scores, 0)  # [B, C]
    present = (targets > 0).to(scores.dtype)  # [B, C]
    entropy = F.binary_cross_entropy_with_logits(chosen, present, reduction="none")  # [B, C]
    return torch.where(mask, entropy, 0), present, mask


def _mean(values: Tensor, mask: Tensor, known: Tensor | None, world: int) -> Tensor:
    masked = torch.where(mask, values, 0)  # [B, C]
    total = mask.sum() if known is None else known
    return world * masked.sum() / total.clamp(min=1)
