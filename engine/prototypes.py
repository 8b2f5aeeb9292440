"""Class prototypes as pure tensor functions: means under seeds, clusters, neighbours, and the maps they draw.

Source: Tang et al., "Hunting Attributes: Context Prototype-Aware Learning for Weakly Supervised Semantic
Segmentation" (CPAL, CVPR 2024), appendix; what the appendix does not state is said where it is used.

A *pair* is one image of a batch and one class that it shows. Pairs are given as `rows` [R], the image of
each, ascending, so that nothing is ever copied for every class of every image.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "Clusters",
    "Mode",
    "claim",
    "cosines",
    "direction",
    "kmeans",
    "masked_means",
    "nearest",
    "prototype_maps",
    "soft_weights",
]

Mode = Literal["mean_cos", "cos_mean", "max_cos"]

_EPSILON = 1e-5


def masked_means(features: Tensor, rows: Tensor, seeds: Tensor) -> Tensor:
    """Return the mean feature under each pair's seed (eq. 4).

    Args:
        features: [B, D, h, w] float32.
        rows: [R] int64, image of each pair.
        seeds: [R, h, w] bool.

    Returns:
        [R, D] float32; 0 where a seed is empty.
    """
    weights = seeds.flatten(1).to(features.dtype)  # [R, h*w]
    weights = weights / weights.sum(1, keepdim=True).clamp(min=1)
    return _by_image(rows, lambda b, of: weights[of] @ features[b].flatten(1).T, features)  # [R, D]


def cosines(features: Tensor, rows: Tensor, towards: Tensor, shift: Tensor | None = None) -> Tensor:
    """Return (z + delta) . q / |z + delta| of every cell: the cosine when q has length 1.

    The shifted features are never made: (z + delta) . q = z . q + delta . q and
    |z + delta|^2 = |z|^2 + 2 z . delta + |delta|^2, two thin products a pair.

    Args:
        features: [B, D, h, w] float32, z.
        rows: [R] int64, image of each pair.
        towards: [R, J, D] float32, J directions q of each pair.
        shift: [R, D] float32, delta of each pair; None for 0.

    Returns:
        [R, J, h, w] float32.
    """
    squares = features.square().sum(1).flatten(1)  # [B, h*w]

    def of_image(b: int, of: slice) -> Tensor:
        z = features[b].flatten(1)  # [D, h*w]
        q = towards[of]  # [r, J, D]
        along = (q.flatten(0, 1) @ z).unflatten(0, q.shape[:2])  # [r, J, h*w]
        if shift is None:
            return along / squares[b].clamp(min=_EPSILON**2).sqrt()
        delta = shift[of]  # [r, D]
        along = along + torch.einsum("rjd,rd->rj", q, delta)[:, :, None]
        length = squares[b] + 2 * (delta @ z) + delta.square().sum(1, keepdim=True)  # [r, h*w]
        return along / length.clamp(min=_EPSILON**2).sqrt()[:, None]

    found = _by_image(rows, of_image, features)  # [R, J, h*w]
    return found.unflatten(2, features.shape[2:])


class Clusters(NamedTuple):
    """What k-means found: [N, D] centroids of length 1, [M] int64 cluster of each row, inertia of each round."""

    centroids: Tensor
    of: Tensor
    inertia: tuple[float, ...]


def kmeans(rows: Tensor, count: int, *, seed: int, rounds: int = 20) -> Clusters:
    """Cluster rows by direction: spherical k-means from k-means++ (eq. 5; the distance is not stated in the paper).

    An empty cluster is given the row that lies farthest from its centroid. With no more rows than
    clusters the rows themselves are the centroids.

    Args:
        rows: [M, D] float, their length does not matter.
        count: Clusters N >= 1.
        seed: Of the first centroids; the same one gives the same clusters.
        rounds: At most so many.
    """
    unit = F.normalize(rows.float(), dim=1)  # [M, D]
    if len(unit) <= count:
        return Clusters(unit, torch.arange(len(unit), device=unit.device), (0.0,))
    centroids = unit[_spread(unit, count, seed)]  # [N, D]
    inertia: list[float] = []
    of = torch.full((len(unit),), -1, device=unit.device)
    for _ in range(rounds):
        likeness, found = (unit @ centroids.T).max(1)  # [M]
        inertia.append(float((1 - likeness).sum()))
        if torch.equal(found, of):
            break
        of = found
        sums = torch.zeros_like(centroids).index_add_(0, of, unit)
        sizes = torch.bincount(of, minlength=count)
        empty = torch.nonzero(sizes == 0)[:, 0]
        if len(empty):
            far = torch.argsort(likeness, stable=True)[: len(empty)]
            sums[empty] = unit[far]
        centroids = F.normalize(sums, dim=1)
    return Clusters(centroids, of, tuple(inertia))


def nearest(instances: Tensor, prototypes: Tensor, counts: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Return the soft positive neighbours of each pair: its prototypes of highest likeness (eq. 6).

    Args:
        instances: [R, D] float.
        prototypes: [R, N, D] float, those of each pair's class.
        counts: [R] int64, how many of them are there; the rest is never chosen.
        most: K.

    Returns:
        [R, min(K, N)] int64 indexes, likest first, and [R, min(K, N)] bool, which of them are there.
    """
    likeness = torch.einsum("rd,rnd->rn", F.normalize(instances, dim=1), F.normalize(prototypes, dim=2))
    there = torch.arange(prototypes.shape[1], device=counts.device) < counts[:, None]  # [R, N]
    likeness = likeness.masked_fill(~there, -torch.inf)
    order = likeness.argsort(dim=1, descending=True, stable=True)[:, :most]  # [R, K]
    return order, there.gather(1, order)


def soft_weights(logits: Tensor, there: Tensor) -> Tensor:
    """Return the softmax over the neighbours that are there, [R, K] float in [0, 1], rows sum to 1 (eq. 7, gamma = 1)."""
    found = logits.masked_fill(~there, -torch.inf).softmax(1)
    return torch.where(there, found, torch.zeros_like(found))


def direction(prototypes: Tensor, weights: Tensor) -> Tensor:
    """Return sum_i w_i p_i of unit prototypes, [R, D]: the one direction that K neighbours act as.

    sum_i w_i cos(z, p_i) = z . (sum_i w_i p_i) / |z|, so the K maps are never drawn one by one.

    Args:
        prototypes: [R, K, D] float, any length.
        weights: [R, K] float.
    """
    return torch.einsum("rk,rkd->rd", weights, F.normalize(prototypes, dim=2))


def prototype_maps(
    features: Tensor,
    rows: Tensor,
    prototypes: Tensor,
    weights: Tensor,
    shift: Tensor | None = None,
    mode: Mode = "mean_cos",
) -> Tensor:
    """Return the prototype-aware class activation map of each pair, [R, h, w] float32 in [0, 1].

    Args:
        features: [B, D, h, w] float32.
        rows: [R] int64, image of each pair.
        prototypes: [R, K, D] float, the neighbours of each pair.
        weights: [R, K] float in [0, 1], rows sum to 1; 0 where a neighbour is not there.
        shift: [R, D] float32, or None.
        mode: mean_cos: sum_i w_i cos(z, p_i). cos_mean: cos(z, sum_i w_i p_i), the same up to a factor of
            the pair. max_cos: max_i (w_i / max w) cos(z, p_i), which keeps several modes apart.
    """
    if mode == "max_cos":
        scale = weights / weights.amax(1, keepdim=True).clamp(min=_EPSILON)  # [R, K]
        towards = F.normalize(prototypes, dim=2) * scale[:, :, None]  # [R, K, D]
        return cosines(features, rows, towards, shift).amax(1).relu()
    towards = direction(prototypes, weights)  # [R, D]
    if mode == "cos_mean":
        towards = F.normalize(towards, dim=1)
    return cosines(features, rows, towards[:, None], shift)[:, 0].relu()


def claim(instances: Tensor, prototypes: Tensor, weights: Tensor) -> Tensor:
    """Return -sum_i w_i log s_i of each pair, [R], s the softmax of the products P . p_i (eq. 15 to 17).

    Over free P its optimum is s_i = w_i / sum_k w_k (Claim 1).

    Args:
        instances: [R, D] float.
        prototypes: [R, K, D] float.
        weights: [R, K] float >= 0; 0 where a neighbour is not there.
    """
    logits = torch.einsum("rd,rkd->rk", instances, prototypes)
    logits = logits.masked_fill(weights <= 0, -torch.inf)
    logs = logits.log_softmax(1)
    return -torch.where(weights > 0, weights * logs, torch.zeros_like(logs)).sum(1)


def _by_image(rows: Tensor, of_image: Callable[[int, slice], Tensor], features: Tensor) -> Tensor:
    """Join what `of_image(b, slice of its pairs)` gives for each image that has pairs."""
    counts = torch.bincount(rows, minlength=features.shape[0]).tolist()
    found, start = [], 0
    for b, count in enumerate(counts):
        if count:
            found.append(of_image(b, slice(start, start + count)))
            start += count
    return torch.cat(found)


def _spread(unit: Tensor, count: int, seed: int) -> Tensor:
    """Return the indexes of k-means++: each next row drawn by its squared distance from those before."""
    generator = torch.Generator().manual_seed(seed)
    first = int(torch.randint(len(unit), (1,), generator=generator))
    chosen = [first]
    far = (1 - unit @ unit[first]).clamp(min=0)  # [M]
    while len(chosen) < count:
        # Drawn on the processor: every device then chooses the same rows.
        chances = far.double().cpu()
        if float(chances.sum()) <= 0:
            chances = torch.ones_like(chances)
            chances[chosen] = 0
        chosen.append(int(torch.multinomial(chances, 1, generator=generator)))
        far = torch.minimum(far, (1 - unit @ unit[chosen[-1]]).clamp(min=0))
    return torch.tensor(chosen, device=unit.device)
