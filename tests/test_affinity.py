"""Pairs, paths, affinities, the transition matrix and the random walk: analytic cases and literal loops."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest

from engine.affinity import (
    barrier,
    changes,
    feature_affinity,
    neighbours,
    offsets,
    path_affinity,
    path_cells,
    path_runs,
    transition,
    walk,
)
from engine.affinity.chebyshev import weights_of

PATHS = {
    (0, 1): [(0, 0), (0, 1)],
    (1, 0): [(0, 0), (1, 0)],
    (0, 4): [(0, x) for x in range(5)],
    (1, 1): [(0, 0), (0, 1), (1, 0), (1, 1)],
    (2, 1): [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)],
    (3, 1): list(product(range(4), range(2))),
    (1, -2): list(product(range(2), range(-2, 1))),
    (4, 2): [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (3, 1), (3, 2), (4, 1), (4, 2)],
    (3, -3): [(0, 0), (0, -1), (1, 0), (1, -1), (1, -2), (2, -1), (2, -2), (2, -3), (3, -2), (3, -3)],
}


def rough(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def dense(matrix, maps: np.ndarray, doublings: int) -> np.ndarray:
    """Return the maps after 2^doublings steps by squaring the whole matrix in float64."""
    power = matrix.toarray().astype(np.float64)
    power /= power.sum(1, keepdims=True)
    for _ in range(doublings):
        power = power @ power
    return (maps.reshape(len(maps), -1) @ power.T).reshape(maps.shape)


def row_of_five(edge: list[float], steps: int) -> np.ndarray:
    wall = np.array([edge], np.float32)
    start = np.array([[[1, 0, 0, 0, 0]]], np.float32) * (1 - wall)
    return walk(transition(path_affinity(wall), 5, beta=10), start, (steps,))[0, 0, 0]


@pytest.mark.parametrize(("radius", "pairs", "cells"), [(5, 34, 242), (10, 152, 2134)])
def test_pairs_of_half_the_plane(radius: int, pairs: int, cells: int) -> None:
    found = offsets(radius)
    assert len(found) == pairs and sum(len(path_cells(*o)) for o in found) == cells
    both = {*found, *((-y, -x) for y, x in found)}
    assert both == {
        (y, x)
        for y, x in product(range(-radius, radius + 1), repeat=2)
        if 0 < y * y + x * x < radius * radius
    }


@pytest.mark.parametrize(("offset", "cells"), PATHS.items())
def test_cells_of_a_path(offset: tuple[int, int], cells: list[tuple[int, int]]) -> None:
    assert sorted(path_cells(*offset)) == sorted(cells)


def test_lengths_of_the_paths() -> None:
    lengths = Counter(len(path_cells(*o)) for o in offsets(5))
    assert lengths == {2: 2, 3: 2, 4: 4, 5: 2, 6: 4, 7: 2, 8: 8, 10: 6, 11: 4}


@pytest.mark.parametrize("offset", offsets(10))
def test_a_path_is_the_same_from_both_ends_and_the_sum_of_its_runs(offset: tuple[int, int]) -> None:
    dy, dx = offset
    cells = set(path_cells(dy, dx))
    assert {(y + dy, x + dx) for y, x in path_cells(-dy, -dx)} == cells >= {(0, 0), offset}
    axis, runs = path_runs(dy, dx)
    steps = ((1, 0), (0, 1))[axis]
    covered = [(y + n * steps[0], x + n * steps[1]) for y, x, length in runs for n in range(length)]
    assert len(covered) == len(cells) and set(covered) == cells
    assert len(runs) == min(abs(dy), abs(dx)) + 1


@pytest.mark.parametrize("radius", [1, 0, 65])
def test_a_radius_without_pairs_or_with_millions(radius: int) -> None:
    with pytest.raises(ValueError, match=f"radius of {radius}"):
        offsets(radius)


@pytest.mark.parametrize(("size", "radius"), [((9, 11), 5), ((1, 5), 5), ((6, 2), 5), ((13, 12), 10)])
def test_the_affinity_of_a_path_is_what_every_cell_lets_pass(size: tuple[int, int], radius: int) -> None:
    edge = rough(size)
    found = path_affinity(edge, radius)
    for n, (dy, dx) in enumerate(offsets(radius)):
        for y, x in np.ndindex(size):
            inside = y + dy < size[0] and 0 <= x + dx < size[1]
            want = 1 - max(edge[y + a, x + b] for a, b in path_cells(dy, dx)) if inside else 0
            assert found[n, y, x] == want


def test_the_affinity_of_features_is_the_mean_over_channels() -> None:
    features = rough((37, 6, 7))  # not a whole number of blocks
    found = feature_affinity(features, 4)
    for n, (dy, dx) in enumerate(offsets(4)):
        for y, x in np.ndindex(6, 7):
            inside = y + dy < 6 and 0 <= x + dx < 7
            apart = np.abs(features[:, y, x] - features[:, y + dy, x + dx]).mean() if inside else np.inf
            assert found[n, y, x] == pytest.approx(np.exp(-apart), rel=1e-6)
    alike = feature_affinity(np.broadcast_to(features[:, :1, :1], features.shape), 4)
    assert set(np.unique(alike)) == {0, 1}


def test_the_neighbours_of_a_cell_look_both_ways() -> None:
    edge = rough((9, 11))
    affinity = path_affinity(edge)
    for y, x in [(4, 5), (0, 0), (8, 10), (2, 9)]:
        patch = neighbours(affinity, 5, y, x)
        assert patch.shape == (9, 9) and patch[4, 4] == 1
        for dy, dx in product(range(-4, 5), repeat=2):
            there = 0 <= y + dy < 9 and 0 <= x + dx < 11 and dy * dy + dx * dx < 25
            assert np.isnan(patch[4 + dy, 4 + dx]) == (not there)
            if there and (dy or dx):
                assert patch[4 + dy, 4 + dx] == 1 - max(edge[y + a, x + b] for a, b in path_cells(dy, dx))
    with pytest.raises(IndexError, match="grid of 9 x 11"):
        neighbours(affinity, 5, 9, 0)


@pytest.mark.parametrize("border", ["full", "official"])
def test_the_transition_is_symmetric_up_to_its_rows_and_each_row_is_a_mean(border: str) -> None:
    affinity = path_affinity(rough((14, 12)))
    found = transition(affinity, 5, beta=3, border=border)
    assert found.dtype == np.float32 and found.has_canonical_format and found.indices.dtype == np.int32
    assert (found.data > 0).all()
    whole = found.toarray().astype(np.float64)
    np.testing.assert_allclose(whole.sum(1), 1, atol=3e-7)
    degrees = 1 / whole.diagonal()
    alike = whole * degrees[:, None]
    np.testing.assert_allclose(alike, alike.T, atol=1e-6)
    for y, x in [(5, 5), (0, 0), (13, 11), (6, 2)]:
        patch = neighbours(affinity, 5, y, x)
        mine = alike.reshape(14, 12, 14, 12)[y, x]
        for dy, dx in product(range(-4, 5), repeat=2):
            if np.isnan(patch[4 + dy, 4 + dx]):
                continue
            # PSA's code: the upper end of a pair is no source in the side columns and the bottom rows.
            top, left = min((y, x), (y + dy, x + dx))
            source = (dy, dx) == (0, 0) or border == "full" or (top < 14 - 4 and 4 <= left < 12 - 4)
            want = patch[4 + dy, 4 + dx] ** 3 if source else 0
            assert mine[y + dy, x + dx] == pytest.approx(want, abs=1e-6)


def test_two_cells_in_the_official_border_are_unconnected() -> None:
    whole = transition(np.ones((34, 20, 20), np.float32), 5, beta=1, border="official").toarray()
    linked = whole.reshape(20, 20, 20, 20) > 0
    for side in (np.s_[:, :4], np.s_[:, 16:], np.s_[16:, :]):
        inside = linked[side][(..., *side)]
        assert np.array_equal(inside.reshape(80, 80), np.eye(80, dtype=bool))
    # From inside, pairs reach into the border, to the left only downwards: half a plane has no others.
    assert linked[8, 4, 9, 3] and linked[9, 3, 8, 4] and linked[15, 8, 16, 8] and linked[8, 15, 8, 16]
    assert not linked[8, 3, 8, 4]
    # No source at all: every cell keeps what it has.
    small = transition(np.ones((34, 8, 8), np.float32), 5, beta=1, border="official")
    assert np.array_equal(small.toarray(), np.eye(64))


def test_affinities_of_another_radius_and_unknown_borders() -> None:
    with pytest.raises(ValueError, match="152 pairs"):
        transition(np.ones((34, 5, 5), np.float32), 10, beta=1)
    with pytest.raises(ValueError, match="full, official"):
        transition(np.ones((34, 5, 5), np.float32), 5, beta=1, border="half")


@pytest.mark.parametrize(
    ("edge", "steps", "want", "atol"),
    [
        ([0, 0, 1, 0, 0], 1, [0.5, 0.5, 0, 0, 0], 0),
        ([0, 0, 1, 0, 0], 256, [0.5, 0.5, 0, 0, 0], 1e-6),
        ([0, 0, 0.5, 0, 0], 1, [0.49927, 0.49927, 0.00097276, 0.00048757, 0.00048757], 5e-6),
        ([0, 0, 0.5, 0, 0], 256, [0.3651, 0.3651, 0.1499, 0.0974, 0.0974], 5e-5),
        ([0.1, 0.2, 0.3, 0.2, 0.1], 4, [0.4847, 0.2018, 0.0756, 0.0715, 0.0715], 5e-5),
    ],
)
def test_a_row_of_five(edge: list[float], steps: int, want: list[float], atol: float) -> None:
    np.testing.assert_allclose(row_of_five(edge, steps), want, rtol=0, atol=atol)


def test_without_edges_a_step_is_the_mean_over_a_disc() -> None:
    maps = rough((1, 20, 20))
    walked = walk(transition(path_affinity(np.zeros((20, 20), np.float32)), 5, beta=10), maps, (1,))[0, 0]
    disc = [(y, x) for y, x in product(range(-4, 5), repeat=2) if y * y + x * x < 25]
    assert len(disc) == 69
    assert walked[9, 10] == pytest.approx(np.mean([maps[0, 9 + y, 10 + x] for y, x in disc]), abs=1e-7)


def test_a_constant_stays_whatever_the_edges() -> None:
    matrix = transition(path_affinity(0.999 * rough((17, 23))), 5, beta=10)
    for value in (1, 0.3, 0):
        walked = walk(matrix, np.full((1, 17, 23), value, np.float32), (1, 7, 256))
        assert (walked == np.float32(value)).all()


@pytest.mark.parametrize("diagonal", [False, True])
def test_a_wall_of_one_cell_lets_nothing_through(diagonal: bool) -> None:
    y, x = np.mgrid[:24, :24]
    wall = (x == y) if diagonal else (x == 11)
    inside = (x > y) if diagonal else (x < 11)
    matrix = transition(path_affinity(wall.astype(np.float32)), 5, beta=10)
    walked = walk(matrix, inside[None].astype(np.float32), (256,))[0, 0]
    assert (walked[~inside] == 0).all()
    np.testing.assert_allclose(walked[inside], 1, atol=1e-6)


def test_the_polynomials_add_up_to_the_power() -> None:
    z = np.linspace(-1, 1, 101)
    times = (0, 1, 2, 5, 64, 256)
    weights = weights_of(times)
    assert weights.shape[1] < 100  # of 257
    for row, t in zip(weights, times, strict=True):
        assert np.abs(np.polynomial.chebyshev.chebval(z, row) - z**t).max() < 1.1e-7
    with pytest.raises(ValueError, match="numbers of steps"):
        weights_of((3, -1))
    with pytest.raises(ValueError, match="numbers of steps"):
        weights_of(())


@pytest.mark.parametrize("kind", ["rough", "free", "barriers"])
def test_the_walk_agrees_with_squaring_the_whole_matrix(kind: str) -> None:
    size = (21, 26)
    edge = {"rough": rough(size) ** 3, "free": np.zeros(size), "barriers": rough(size) > 0.8}[kind]
    matrix = transition(path_affinity(edge.astype(np.float32)), 5, beta=10)
    maps = rough((3, *size), 1)
    maps[1] = 0
    maps[1, 4, 6] = 1
    maps[2] -= 0.5
    doublings = range(9)
    found = walk(matrix, maps, [2**n for n in doublings])
    for n, walked in zip(doublings, found, strict=True):
        want = dense(matrix, maps, n)
        peaks = np.abs(want).max((1, 2))
        assert (np.abs(walked - want).max((1, 2)) < 1e-4 * peaks).all()
        # Cells where two maps differ by less than float32 tells apart have no greatest.
        first, second = np.sort(want, 0)[:0:-1]
        clear = first - second > 1e-5
        assert clear.mean() > 0.5
        assert np.array_equal(walked.argmax(0)[clear], want.argmax(0)[clear])


def test_rows_of_several_bands_are_walked_as_one_matrix() -> None:
    size = (70, 80)  # more cells than a band has rows
    matrix = transition(path_affinity(rough(size) ** 2), 5, beta=10)
    maps = rough((2, *size), 2)
    want = (matrix @ (matrix @ maps.reshape(2, -1).T)).T.reshape(maps.shape)
    np.testing.assert_allclose(walk(matrix, maps, (2,))[0], want, atol=1e-6)


def test_what_a_step_changes_adds_up_to_nothing() -> None:
    matrix = transition(path_affinity(rough((9, 12)) ** 2), 5, beta=10)
    found = changes(matrix).toarray().astype(np.float64)
    np.testing.assert_allclose(found, matrix.toarray() - np.eye(108), atol=2e-7)
    # To the last digit of what leaves a cell, however little that is.
    assert (np.abs(found.sum(1)) <= 1e-7 * np.abs(found.diagonal())).all()
    holed = matrix.copy()
    holed.setdiag(0)
    holed.eliminate_zeros()
    with pytest.raises(ValueError, match="108 rows, 0 entries on the diagonal"):
        changes(holed)


def test_each_time_is_the_same_alone_and_together() -> None:
    matrix = transition(path_affinity(rough((12, 9)) ** 2), 5, beta=8)
    maps = rough((2, 12, 9), 3)
    together = walk(matrix, maps, (0, 3, 200))
    assert np.array_equal(together[0], maps)
    for walked, t in zip(together, (0, 3, 200), strict=True):
        np.testing.assert_allclose(walked, walk(matrix, maps, (t,))[0], atol=3e-6)
    assert walk(matrix, maps[:0], (5,)).shape == (1, 0, 12, 9)


def test_how_surely_an_edge_holds() -> None:
    held = barrier(np.array([0, 0.5, 0.75, 1], np.float32), 10, 256)
    np.testing.assert_allclose(held, [0, 1, 1, 1])
    assert barrier(np.array([0.5]), 10, 1) == pytest.approx(1 - 0.5**10)
    assert barrier(np.array([0.01]), 10, 4) == pytest.approx(1 - 0.99**40)
