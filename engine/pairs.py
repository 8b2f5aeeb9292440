"""Losses over pairs of neighbouring cells: which belong together, and where their common centre lies.

Sources: Ahn and Kwak, AffinityNet "PSA" (CVPR 2018), eq. 3 to 7; Ahn, Cho and Kwak, IRN (CVPR 2019), eq. 3 to 10.

Every loss is a mean over the pairs of its own kind in the whole batch, on all ranks together: under
DataParallel the released IRN averages over each device's pairs and collapses (irn issue 13).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.distributed
from torch import Tensor

from engine.affinity import offsets, path_runs
from engine.affinity.paths import sources

__all__ = [
    "Pairs",
    "affinity_losses",
    "displacement_losses",
    "feature_affinities",
    "pairs_of",
    "path_affinities",
]

_TINY = 1e-5
_UNSURE = 255


@dataclass(frozen=True)
class Pairs:
    """The pairs at one offset, by kind.

    Attributes:
        offset: (dy, dx) in cells.
        here, there: Rows and columns of both ends on the grid.
        background: [B, h', w'] bool, both ends are background.
        foreground: [B, h', w'] bool, both ends are of one class.
        different: [B, h', w'] bool, both ends are sure and differ.
    """

    offset: tuple[int, int]
    here: tuple[slice, slice]
    there: tuple[slice, slice]
    background: Tensor
    foreground: Tensor
    different: Tensor


def pairs_of(labels: Tensor, radius: int) -> list[Pairs]:
    """Return the pairs of a grid of labels.

    Args:
        labels: [B, h, w] uint8: 0 background, class + 1, 255 unsure; a pair with an unsure end is of no kind.
        radius: Cells; pairs are less than it apart.
    """
    found = []
    for dy, dx in offsets(radius):
        rows, columns = sources(tuple(labels.shape[1:]), dy, dx)
        here = (rows, columns)
        there = (slice(rows.start + dy, rows.stop + dy), slice(columns.start + dx, columns.stop + dx))
        a, b = labels[:, here[0], here[1]], labels[:, there[0], there[1]]
        sure = (a != _UNSURE) & (b != _UNSURE)
        alike = sure & (a == b)
        found.append(Pairs((dy, dx), here, there, alike & (a == 0), alike & (a > 0), sure & (a != b)))
    return found


def path_affinities(edge: Tensor, radius: int) -> Iterator[Tensor]:
    """Yield the affinity at each offset: 1 minus the strongest edge on the path between the two cells.

    A path is a few straight runs of cells, and the running maxima of all runs are shared by all offsets:
    for radius 10 that is 2.8 maxima an offset where gathering the path takes 14 look-ups.

    Args:
        edge: [B, h, w] float in [0, 1].
        radius: Cells.

    Yields:
        [B, h', w'] float in [0, 1], in the order of `pairs_of`, differentiable.
    """
    size = tuple(edge.shape[1:])
    running: dict[tuple[int, int], Tensor] = {}
    for axis in (0, 1):
        longest = edge
        running[axis, 1] = edge
        for length in range(2, min(radius, size[axis]) + 1):
            shorter = longest.narrow(1 + axis, 0, longest.shape[1 + axis] - 1)
            ahead = edge.narrow(1 + axis, length - 1, shorter.shape[1 + axis])
            longest = running[axis, length] = torch.maximum(
                shorter, ahead
            )  # [B, h, w] less length - 1 along axis
    for dy, dx in offsets(radius):
        rows, columns = sources(size, dy, dx)
        if rows.stop <= rows.start or columns.stop <= columns.start:
            yield edge.new_zeros(
                len(edge), max(0, rows.stop - rows.start), max(0, columns.stop - columns.start)
            )
            continue
        axis, runs = path_runs(dy, dx)
        strongest: Tensor | None = None
        for y, x, length in runs:
            part = running[axis, length][
                :, rows.start + y : rows.stop + y, columns.start + x : columns.stop + x
            ]  # [B, h', w']
            strongest = part if strongest is None else torch.maximum(strongest, part)
        assert strongest is not None
        yield 1 - strongest


def feature_affinities(features: Tensor, radius: int) -> Iterator[Tensor]:
    """Yield the affinity at each offset: exp(-mean over channels of |f_i - f_j|).

    Args:
        features: [B, D, h, w] float.
        radius: Cells.

    Yields:
        [B, h', w'] float in (0, 1], in the order of `pairs_of`, differentiable.
    """
    for dy, dx in offsets(radius):
        rows, columns = sources(tuple(features.shape[2:]), dy, dx)
        here = features[:, :, rows, columns]
        there = features[:, :, rows.start + dy : rows.stop + dy, columns.start + dx : columns.stop + dx]
        yield torch.exp(-(here - there).abs().mean(1))  # [B, h', w']


def affinity_losses(affinities: Iterator[Tensor], pairs: list[Pairs], world: int) -> dict[str, Tensor]:
    """Return the mean loss of pairs of background, of one class, and of different labels.

    -log(a + 1e-5) for those that belong together, -log(1 + 1e-5 - a) for the others.

    Args:
        affinities: [B, h', w'] each, in the order of the pairs.
        pairs: What they should be.
        world: Number of ranks, over which gradients are averaged.
    """
    sums = dict.fromkeys(("background", "foreground", "different"), torch.zeros(()))
    counts = torch.zeros(3)
    total: list[Tensor] = []
    for a, pair in zip(affinities, pairs, strict=True):
        together, apart = -torch.log(a + _TINY), -torch.log(1 + _TINY - a)
        kinds = torch.stack([pair.background, pair.foreground, pair.different])  # [3, B, h', w']
        total.append(
            torch.stack([(together * kinds[0]).sum(), (together * kinds[1]).sum(), (apart * kinds[2]).sum()])
        )
        counts = counts.to(a.device) + kinds.sum((1, 2, 3))
    means = torch.stack(total).sum(0) * world / (_over_ranks(counts, world) + _TINY)
    return dict(zip(sums, means, strict=True))


def displacement_losses(displacement: Tensor, pairs: list[Pairs], world: int) -> dict[str, Tensor]:
    """Return the mean loss of the displacement between pairs of one class, and between pairs of background.

    Two cells of one object point to one centre: D_i - D_j = p_j - p_i (IRN eq. 8); cells of the
    background point alike (eq. 9).

    Args:
        displacement: [B, 2, h, w] float, (dy, dx) in cells.
        pairs: Which cells belong together.
        world: Number of ranks.
    """
    total: list[Tensor] = []
    counts = torch.zeros(2, device=displacement.device)
    for pair in pairs:
        here = displacement[:, :, pair.here[0], pair.here[1]]
        there = displacement[:, :, pair.there[0], pair.there[1]]
        apart = here - there  # [B, 2, h', w']
        way = displacement.new_tensor(pair.offset)[:, None, None]
        inside, outside = pair.foreground[:, None], pair.background[:, None]
        total.append(torch.stack([((apart - way).abs() * inside).sum(), (apart.abs() * outside).sum()]))
        counts = counts + torch.stack([inside.sum(), outside.sum()])
    means = torch.stack(total).sum(0) * world / (2 * _over_ranks(counts, world) + _TINY)
    return {"displacement": means[0], "displacement_background": means[1]}


def _over_ranks(counts: Tensor, world: int) -> Tensor:
    """Return counts summed over all ranks."""
    if world > 1:
        torch.distributed.all_reduce(counts)
    return counts
