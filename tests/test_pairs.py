"""Losses over pairs: against a literal gather of paths, on oracles, and shared by ranks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from engine.affinity import feature_affinity, offsets, path_affinity, path_cells
from engine.pairs import (
    affinity_losses,
    displacement_losses,
    feature_affinities,
    pairs_of,
    path_affinities,
)

SIZE = (9, 12)


def labels(seed: int = 0, count: int = 2) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    blocks = rng.choice([0, 1, 2, 255], (count, 3, 4))
    return torch.from_numpy(np.kron(blocks, np.ones((3, 3))).astype(np.uint8))


def literal(edge: torch.Tensor, radius: int) -> list[dict[tuple[int, int], torch.Tensor]]:
    """Return, an offset, the affinity of each pair found by looking every cell of its path up."""
    found = []
    height, width = edge.shape
    for dy, dx in offsets(radius):
        table = {}
        for y in range(height):
            for x in range(width):
                if 0 <= y + dy < height and 0 <= x + dx < width:
                    path = [edge[y + b, x + a] for b, a in path_cells(dy, dx)]
                    table[y, x] = 1 - torch.stack(path).max()
        found.append(table)
    return found


@pytest.mark.parametrize("radius", [2, 5])
def test_paths_are_those_of_a_literal_gather_with_their_gradient(radius: int) -> None:
    torch.manual_seed(0)
    edge = torch.rand(1, 6, 7, requires_grad=True)
    weight = torch.rand(len(offsets(radius)), 6, 7)
    ours, reference = torch.zeros(()), torch.zeros(())
    tables = literal(edge[0], radius)
    for n, (a, pair) in enumerate(
        zip(
            path_affinities(edge, radius),
            pairs_of(torch.zeros(1, 6, 7, dtype=torch.uint8), radius),
            strict=True,
        )
    ):
        ours = ours + (a[0] * weight[n][pair.here]).sum()
        for (y, x), value in tables[n].items():
            assert float(a.detach()[0][y - pair.here[0].start, x - pair.here[1].start]) == float(
                value.detach()
            )
            reference = reference + value * weight[n, y, x]
    mine = torch.autograd.grad(ours, edge, retain_graph=True)[0]
    theirs = torch.autograd.grad(reference, edge)[0]
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


def test_training_and_walking_see_the_same_affinities() -> None:
    torch.manual_seed(1)
    edge, features = torch.rand(1, *SIZE), torch.randn(1, 6, *SIZE)
    plain = torch.zeros(1, *SIZE, dtype=torch.uint8)
    for ours, floor in (
        (path_affinities(edge, 5), path_affinity(edge[0].numpy(), 5)),
        (feature_affinities(features, 5), feature_affinity(features[0].numpy(), 5)),
    ):
        for a, pair, wanted in zip(ours, pairs_of(plain, 5), floor, strict=True):
            np.testing.assert_allclose(a[0].numpy(), wanted[pair.here], atol=1e-6)


def test_kinds_of_pairs_are_told_apart() -> None:
    row = torch.tensor([[[0, 0, 1, 1, 2, 255]]], dtype=torch.uint8)
    (pair,) = (p for p in pairs_of(row, 2) if p.offset == (0, 1))
    assert pair.background.flatten().tolist() == [True, False, False, False, False]
    assert pair.foreground.flatten().tolist() == [False, False, True, False, False]
    assert pair.different.flatten().tolist() == [False, True, False, True, False]


def test_a_perfect_boundary_loses_almost_nothing_and_a_false_one_much() -> None:
    mask = torch.zeros(1, 8, 12, dtype=torch.uint8)
    mask[:, :, 7:] = 1
    mask[:, :, 6] = 255  # the boundary's own cells belong to no side
    edge = torch.zeros(1, 8, 12)
    edge[:, :, 6] = 1
    perfect = affinity_losses(path_affinities(edge, 5), pairs_of(mask, 5), 1)
    assert all(float(v) < 2e-5 for v in perfect.values())
    walls = affinity_losses(path_affinities(edge * 0 + 1, 5), pairs_of(mask, 5), 1)
    assert float(walls["background"]) > 11 < float(walls["foreground"]) and float(walls["different"]) < 2e-5
    holes = affinity_losses(path_affinities(edge * 0, 5), pairs_of(mask, 5), 1)
    assert float(holes["background"]) < 2e-5 > float(holes["foreground"]) and float(holes["different"]) > 11
    half = affinity_losses(path_affinities(edge * 0 + 0.5, 5), pairs_of(mask, 5), 1)
    assert all(float(v) == pytest.approx(math.log(2), abs=1e-4) for v in half.values())


def test_fields_that_point_to_one_centre_lose_nothing() -> None:
    y, x = torch.meshgrid(torch.arange(9.0), torch.arange(12.0), indexing="ij")
    field = torch.stack([4 - y, 6 - x])[None]  # A.5: D_i = c - p_i
    inside = torch.ones(1, *SIZE, dtype=torch.uint8)
    losses = displacement_losses(field, pairs_of(inside, 5), 1)
    assert float(losses["displacement"]) == pytest.approx(0, abs=1e-6)
    assert float(losses["displacement_background"]) == 0
    still = displacement_losses(torch.zeros_like(field), pairs_of(inside * 0, 5), 1)
    assert float(still["displacement_background"]) == 0
    # Radius 2: 9 x 11 + 8 x 12 pairs one cell apart, 2 x 8 x 11 a diagonal; two components a pair.
    wrong = displacement_losses(torch.zeros_like(field), pairs_of(inside, 2), 1)
    assert float(wrong["displacement"]) == pytest.approx((195 + 2 * 176) / (2 * (195 + 176)))


def test_nothing_to_compare_is_no_loss() -> None:
    unsure = torch.full((1, *SIZE), 255, dtype=torch.uint8)
    edge = torch.rand(1, *SIZE, requires_grad=True)
    losses = affinity_losses(path_affinities(edge, 5), pairs_of(unsure, 5), 1)
    total = sum(losses.values(), torch.zeros(()))
    assert float(total.detach()) == 0
    total.backward()
    assert float(edge.grad.abs().sum()) == 0


def test_a_grid_smaller_than_the_radius_has_the_pairs_it_has() -> None:
    edge = torch.rand(1, 2, 3)
    found = list(path_affinities(edge, 10))
    assert sum(a.numel() for a in found) == 6 * 5 // 2


def test_losses_are_means_over_the_pairs_of_all_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ranks with uneven shares: the mean of what they step by is what one process steps by."""
    torch.manual_seed(2)
    edge, masks = torch.rand(3, *SIZE), labels(3, 3)
    whole = affinity_losses(path_affinities(edge, 5), pairs_of(masks, 5), 1)
    counts = []
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda c: counts.append(c.clone()))
    for part in (slice(0, 1), slice(1, 3)):
        affinity_losses(path_affinities(edge[part], 5), pairs_of(masks[part], 5), 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda c: c.copy_(counts[0] + counts[1]))
    shares = [
        affinity_losses(path_affinities(edge[part], 5), pairs_of(masks[part], 5), 2)
        for part in (slice(0, 1), slice(1, 3))
    ]
    for name, value in whole.items():
        assert float(value) > 0
        assert float((shares[0][name] + shares[1][name]) / 2) == pytest.approx(float(value), rel=1e-5)
