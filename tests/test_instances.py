"""Instances from displacements: analytic fields, and what becomes of the maps inside them."""

from __future__ import annotations

import numpy as np
import pytest

from engine.affinity import path_affinity, transition, walk
from engine.instances import (
    centroids,
    find_instances,
    instance_ids,
    settling,
    split,
    weak_components,
)

SIZE = (40, 60)
DISCS = ((20, 19), (20, 41))  # radius 11: they touch
RADIUS = 11


def towards(*centres: tuple[float, float], size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return the field in which each cell points to the nearest of the centres."""
    cells = np.indices(size, np.float32)
    ways = np.array(centres, np.float32)[:, :, None, None] - cells  # [n, 2, h, w]
    nearest = np.hypot(ways[:, 0], ways[:, 1]).argmin(0)
    return np.take_along_axis(ways, nearest[None, None], 0)[0]


def discs() -> tuple[np.ndarray, np.ndarray]:
    """Return two touching discs with radial fields, around them a field of zeros."""
    y, x = np.indices(SIZE)
    inside = np.any([(y - cy) ** 2 + (x - cx) ** 2 <= RADIUS**2 for cy, cx in DISCS], 0)
    return inside, np.where(inside, towards(*DISCS), 0).astype(np.float32)


def test_cells_that_point_to_one_centre_are_there_after_one_step() -> None:
    field = towards((17, 23))
    first, second, *_ = settling(field)
    assert np.array_equal(first, np.indices(SIZE))
    assert (second[0] == 17).all() and (second[1] == 23).all()
    assert len(list(settling(field))) == 3  # the third says that nothing moves any more
    parts = weak_components(field)
    y, x = np.indices(SIZE)
    assert np.array_equal(parts, ((y - 17) ** 2 + (x - 23) ** 2 < 2.5**2).astype(np.int32))
    assert np.array_equal(instance_ids(field), np.ones(SIZE))


def test_two_halves_are_two_instances() -> None:
    ids = instance_ids(towards((20, 15), (20, 44)))
    assert np.array_equal(np.unique(ids), [1, 2])
    assert (ids[:, :30] == ids[0, 0]).all() and (ids[:, 30:] == ids[0, 59]).all()


def test_without_displacement_each_cell_is_its_own_centre_and_all_are_one() -> None:
    field = np.zeros((2, *SIZE), np.float32)
    assert np.array_equal(centroids(field), np.indices(SIZE))
    assert len(list(settling(field))) == 2
    assert np.array_equal(weak_components(field), np.ones(SIZE))


def test_a_field_is_read_between_its_cells() -> None:
    # dx = 1 - x / 2 halves the way to x = 2 at each step, also between cells.
    x = np.arange(5, dtype=np.float32)
    field = np.zeros((2, 1, 5), np.float32)
    field[1, 0] = 1 - x / 2
    steps = list(settling(field, 3, 0))
    for n, at in enumerate(steps):
        np.testing.assert_allclose(at[1, 0], 2 + (x - 2) / 2**n, atol=1e-6)
    rows = np.zeros((2, 5, 1), np.float32)
    rows[0, :, 0] = 1 - x / 2
    np.testing.assert_allclose(centroids(rows, 3, 0)[0, :, 0], steps[-1][1, 0])
    # Nothing leaves the grid, and what goes to and fro ends with the iterations.
    away = np.full((2, 6, 7), 9, np.float32)
    assert (centroids(away)[0] == 5).all() and (centroids(away)[1] == 6).all()
    swings = np.array([[[0, 0]], [[1, -1]]], np.float32)
    assert len(list(settling(swings, 7))) == 8


def test_cells_whose_centre_is_nowhere_are_an_instance_of_their_own() -> None:
    field = np.full((2, 8, 8), 3, np.float32)  # always onwards, into a corner that is displaced itself
    assert not weak_components(field).any() and not instance_ids(field).any()
    maps = np.ones((1, 8, 8), np.float32)
    found = find_instances(maps, field, lambda m: m, image="a", size=(8, 8), classes=[4], cell=1, origin=0)
    assert found.classes.tolist() == [4] and (found.ids == 1).all()


def test_diagonal_neighbours_are_two_parts() -> None:
    field = np.full((2, 4, 4), 5, np.float32)
    field[:, 0, 0] = field[:, 1, 1] = 0
    assert weak_components(field).max() == 2


@pytest.mark.parametrize("steps", [0, 8, 256])
def test_two_touching_discs_are_two_instances(steps: int) -> None:
    inside, field = discs()
    assert len(np.unique(instance_ids(field)[inside])) == 2
    assert weak_components(field).max() == 3  # the ground is not displaced either
    y, x = np.indices(SIZE)
    rim = ~inside & (np.hypot(y - 20, np.minimum(abs(x - 19), abs(x - 41))) < RADIUS + 2)
    matrix = transition(path_affinity(rim.astype(np.float32)), 5, beta=10)
    found = find_instances(
        inside[None].astype(np.float32),
        field,
        lambda maps: walk(matrix, maps, (steps,))[0],
        image="discs",
        size=(4 * SIZE[0], 4 * SIZE[1]),
        classes=[7],
        cell=4,
        origin=0,
    )
    assert found.classes.tolist() == [7, 7] and (found.scores > 0.5).all()
    on_cells = found.ids[::4, ::4]
    left = inside & (x < 30)
    right = inside & (x > 30)
    assert {*np.unique(on_cells[left])} ^ {*np.unique(on_cells[right])} == {1, 2}
    assert len(np.unique(on_cells[left])) == len(np.unique(on_cells[right])) == 1
    assert not on_cells[~inside & ~rim].any()


def test_weak_maps_need_not_walk_and_change_nothing() -> None:
    _, field = discs()
    random = np.random.default_rng(0)
    maps = random.random((9, *SIZE)).astype(np.float32) * np.geomspace(1, 0.02, 9)[:, None, None]
    maps = maps.astype(np.float32)
    matrix = transition(path_affinity(np.zeros(SIZE, np.float32)), 5, beta=10)
    walks: list[int] = []

    def walked(some: np.ndarray) -> np.ndarray:
        walks.append(len(some))
        return walk(matrix, some, (2,))[0]

    found = find_instances(
        maps, field, walked, image="a", size=SIZE, classes=range(9), cell=1, origin=0, least=0
    )
    ids = instance_ids(field)
    every = [(c, i) for c in range(9) for i in np.unique(ids)]
    assert sum(walks) < len(every)
    literal = walk(matrix, np.stack([np.where(ids == i, maps[c], 0) for c, i in every]), (2,))[0]
    literal /= literal.max()
    ground = np.full((1, *SIZE), 0.25, np.float32)
    best = np.concatenate([ground, literal]).argmax(0)
    want = np.array([-1, *(c for c, _ in every)])[best]
    got = np.concatenate([[-1], found.classes])[found.ids]
    assert np.array_equal(got, want)
    top = literal.max(0)
    for n, score in enumerate(found.scores, 1):
        assert score == pytest.approx(top[found.ids == n].max(), abs=1e-6)


def test_parts_that_do_not_touch_are_instances_and_crumbs_score_nothing() -> None:
    winner = np.zeros((20, 20), np.int32)
    winner[2:8, 2:8] = 3
    winner[12:18, 2:8] = 3
    winner[2:8, 8:14] = 1
    winner[19, 17:20] = 1  # 3 of 400 px
    winner[18, 16] = 1  # touches only by a corner
    score = np.full((20, 20), 0.3, np.float32)
    score[3, 3], score[13, 4], score[5, 9], score[19, 19] = 0.6, 0.9, 0.7, 1
    ids, owners, scores = split(winner, score)
    assert owners.tolist() == [3, 1, 3, 1, 1]
    np.testing.assert_allclose(scores, [0.9, 0.7, 0.6, 0, 0], atol=1e-7)
    assert (ids[12:18, 2:8] == 1).all() and (ids[2:8, 8:14] == 2).all() and (ids[2:8, 2:8] == 3).all()
    assert ids.dtype == np.uint16 and (ids[19, 17:20] == 4).all() and ids[18, 16] == 5
    assert np.array_equal(ids > 0, winner > 0)


def test_an_image_without_evidence_has_no_instances() -> None:
    _, field = discs()
    for maps in (np.zeros((0, *SIZE), np.float32), np.zeros((1, *SIZE), np.float32)):
        found = find_instances(
            maps, field, lambda m: m, image="a", size=SIZE, classes=[2][: len(maps)], cell=1, origin=0
        )
        assert not found.ids.any() and not len(found.classes) and not len(found.scores)
    with pytest.raises(ValueError, match="1 maps of 2 classes"):
        find_instances(maps, field, lambda m: m, image="a", size=SIZE, classes=[1, 2], cell=1, origin=0)
