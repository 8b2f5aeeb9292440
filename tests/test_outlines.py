"""Polygons and runs of regions: analytic ones by hand, random ones against pycocotools and OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from engine.formats._format import Labelled
from engine.formats._objects import find_objects
from engine.formats._outlines import centre_polygons, edge_polygons, edge_rings, fill_centres, fill_edges
from engine.formats._runs import counts_of, runs_of, spans_of, text_of

REGIONS = arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 11)))
EIGHT = np.ones((3, 3), bool)


def coco_decode(polygons: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Return how often pycocotools fills each pixel."""
    masks = pytest.importorskip("pycocotools.mask")
    if not polygons:
        return np.zeros(size, np.int64)
    runs = masks.frPyObjects([p.astype(float).ravel().tolist() for p in polygons], *size)
    return masks.decode(runs).sum(2, dtype=np.int64)


def noise(seed: int, size: tuple[int, int] = (60, 80)) -> np.ndarray:
    """Return blobs with holes, crumbs and diagonal contacts."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=size), 0.5 + seed % 4)
    return smooth > np.quantile(smooth, 0.3 + 0.1 * (seed % 5))


def test_a_rectangle_is_half_open_along_pixel_edges() -> None:
    region = np.zeros((6, 8), bool)
    region[2:5, 3:6] = True
    (ring,) = edge_polygons(region)
    assert sorted(map(tuple, ring.tolist())) == [(3, 2), (3, 5), (6, 2), (6, 5)]
    np.testing.assert_array_equal(coco_decode([ring], (6, 8)), region)
    (centres,) = centre_polygons(region)
    assert sorted(map(tuple, centres.tolist())) == [(3, 2), (3, 4), (5, 2), (5, 4)]


def test_a_centre_polygon_in_coco_loses_the_right_and_the_bottom_border() -> None:
    """The trap that makes one polygoniser for all formats wrong."""
    region = np.zeros((12, 12), bool)
    region[2:9, 3:8] = True
    lost = region & (coco_decode(centre_polygons(region), region.shape) == 0)
    assert lost[8, 3:8].all() and lost[2:9, 7].all() and lost.sum() == 5 + 7 - 1


def test_parts_that_touch_at_a_corner_have_outlines_of_their_own() -> None:
    for region in (np.eye(2, dtype=bool), np.eye(2, dtype=bool)[::-1]):
        rings = edge_rings(region)
        assert [len(ring) for ring in rings] == [4, 4]
        np.testing.assert_array_equal(coco_decode(rings, (2, 2)), region)


def test_a_ring_is_cut_once_and_covered_once() -> None:
    region = np.ones((9, 9), bool)
    region[3:6, 3:6] = False
    polygons = edge_polygons(region)
    assert len(polygons) == 2
    np.testing.assert_array_equal(coco_decode(polygons, (9, 9)), region)
    two = np.hstack((region, region))  # two holes in the same rows: one cut
    assert len(edge_polygons(two)) == 2


@settings(max_examples=300, deadline=None)
@given(REGIONS)
def test_edge_polygons_cover_each_pixel_once(region: np.ndarray) -> None:
    polygons = edge_polygons(region)
    np.testing.assert_array_equal(coco_decode(polygons, region.shape), region)
    assert all(len(p) >= 4 and (np.abs(np.roll(p, -1, 0) - p) > 0).sum() == len(p) for p in polygons)
    mine = np.zeros(region.shape, np.int64)
    for polygon in polygons:
        top, left, inside = fill_edges(polygon.astype(float), region.shape)
        mine[top : top + inside.shape[0], left : left + inside.shape[1]] += inside
    np.testing.assert_array_equal(mine, region)


@settings(max_examples=300, deadline=None)
@given(REGIONS)
def test_centre_polygons_are_their_parts_exactly(region: np.ndarray) -> None:
    parts, count = ndimage.label(region, EIGHT)
    polygons = centre_polygons(region)
    assert len(polygons) == count
    found = np.zeros(region.shape, np.int64)
    for polygon in polygons:
        assert len(polygon) >= 3
        filled = np.zeros(region.shape, np.uint8)
        fill_centres(polygon, filled, 1)
        number = parts[polygon[0, 1], polygon[0, 0]]
        np.testing.assert_array_equal(filled, parts == number)
        found += filled
    np.testing.assert_array_equal(found, region)


@pytest.mark.parametrize("seed", range(12))
def test_blobs_with_holes_come_back(seed: int) -> None:
    region = noise(seed)
    np.testing.assert_array_equal(coco_decode(edge_polygons(region), region.shape), region)
    filled = np.zeros(region.shape, np.uint8)
    for polygon in centre_polygons(region):
        cv2.fillPoly(filled, [polygon.astype(np.int32)], 1)
    np.testing.assert_array_equal(filled, region)


def test_polygons_of_others_are_filled_as_pycocotools_does() -> None:
    rng = np.random.default_rng(4)
    for _ in range(40):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
        points = np.stack((40 + 30 * np.cos(angles), 30 + 24 * np.sin(angles)), 1) + rng.uniform(-3, 3, 2)
        theirs = coco_decode([points], (60, 80)) > 0
        top, left, inside = fill_edges(points, (60, 80))
        mine = np.zeros((60, 80), bool)
        mine[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
        # pycocotools rounds corners to a fifth of a pixel; borders may differ by as much.
        border = cv2.dilate(theirs.astype(np.uint8), EIGHT.astype(np.uint8)) > cv2.erode(
            theirs.astype(np.uint8), EIGHT.astype(np.uint8)
        )
        assert not ((mine != theirs) & ~border).any()
        assert (mine & theirs).sum() / (mine | theirs).sum() > 0.97


def test_what_lies_outside_the_image_is_cut_off() -> None:
    top, left, inside = fill_edges(np.array([[-5.0, -5], [3, -5], [3, 2], [-5, 2]]), (4, 6))
    assert (top, left, inside.shape) == (0, 0, (2, 3)) and inside.all()
    for points in ([[9.0, 9], [12, 9], [12, 12]], [[1.0, 1], [3, 1], [5, 1]]):
        assert not fill_edges(np.array(points), (4, 6))[2].any()


def test_runs_by_hand() -> None:
    # Down the columns: 0 0 | 1 1 | 1 0 -> two zeros, three ones over the edge of a column, one zero.
    region = np.array([[False, True, True], [False, True, False]])
    assert runs_of(region, 0, 0, (2, 3)).tolist() == [2, 3, 1]
    assert runs_of(np.ones((2, 2), bool), 0, 0, (2, 2)).tolist() == [0, 4]
    assert runs_of(np.zeros((1, 1), bool), 0, 0, (2, 2)).tolist() == [4]
    assert runs_of(np.ones((1, 1), bool), 1, 2, (3, 4)).tolist() == [7, 1, 4]


@settings(max_examples=300, deadline=None)
@given(REGIONS, st.integers(0, 3), st.integers(0, 3), st.integers(0, 2), st.integers(0, 2))
def test_runs_are_those_of_pycocotools(
    region: np.ndarray, top: int, left: int, below: int, right: int
) -> None:
    masks = pytest.importorskip("pycocotools.mask")
    whole = np.pad(region, ((top, below), (left, right)))
    theirs = masks.encode(np.asfortranarray(whole.astype(np.uint8)))["counts"].decode()
    counts = runs_of(region, top, left, whole.shape)
    assert text_of(counts) == theirs
    np.testing.assert_array_equal(counts_of(theirs), counts)
    back = np.zeros(whole.size, bool)
    for start, end in zip(*spans_of(counts, whole.shape), strict=True):
        back[start:end] = True
    np.testing.assert_array_equal(back.reshape(whole.shape[::-1]).T, whole)


def test_long_runs_keep_their_sign_and_size() -> None:
    counts = np.array([0, 1, 90_000_000, 2, 5, 31, 32, 15, 16, 1 << 30], np.int64)
    np.testing.assert_array_equal(counts_of(text_of(counts)), counts)


@pytest.mark.parametrize("text", ["", "`", "0`", "\x1f", "é", "o" * 8 + "0", "~"])
def test_texts_that_are_no_runs(text: str) -> None:
    with pytest.raises(ValueError, match="counts"):
        counts_of(text)


@pytest.mark.parametrize("counts", [[], [3], [5], [2, -1, 3], [1 << 62, 1 << 62], [2, 1, 2]])
def test_runs_that_do_not_cover_the_image_are_refused(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="runs"):
        spans_of(np.array(counts, np.int64), (2, 2))


def test_objects_are_regions_of_a_class() -> None:
    mask = np.array([[1, 0, 2, 2], [0, 1, 0, 255], [0, 0, 0, 1]], np.uint8)
    found = list(find_objects(Labelled("a", None, mask)))  # type: ignore[arg-type]
    assert [(o.value, o.top, o.left, int(o.region.sum())) for o in found] == [
        (1, 0, 0, 2),
        (1, 2, 3, 1),
        (2, 0, 2, 2),
    ]
    assert found[2].bbox == [2, 0, 2, 1]
    (one, two) = find_objects(Labelled("a", None, mask), "classes")  # type: ignore[arg-type]
    assert int(one.region.sum()) == 3 and two.value == 2


def test_instances_divide_the_regions_they_lie_in() -> None:
    mask = np.zeros((5, 12), np.uint8)
    mask[1:4, 0:8] = 1
    mask[1:4, 10:12] = 1
    instances = np.zeros(mask.shape, np.uint16)
    instances[1:4, 1:3], instances[1:4, 5:7] = 7, 9
    found = list(find_objects(Labelled("a", None, mask, instances)))  # type: ignore[arg-type]
    # Columns 0..3 are nearer to 7, 4..7 to 9; the part on the right has no instance.
    assert sorted((o.left, o.region.shape[1], int(o.region.sum())) for o in found) == [
        (0, 4, 12),
        (4, 4, 12),
        (10, 2, 6),
    ]
    plain = list(find_objects(Labelled("a", None, mask, instances), "components"))  # type: ignore[arg-type]
    assert len(plain) == 2
    # One instance whose pixels were parted by a correction stays one object.
    instances[:] = np.where(mask, 4, 0)
    (only,) = find_objects(Labelled("a", None, mask, instances))  # type: ignore[arg-type]
    assert int(only.region.sum()) == 30


@settings(max_examples=200, deadline=None)
@given(
    arrays(np.uint8, (7, 8), elements=st.sampled_from([0, 1, 2, 255])),
    arrays(np.uint16, (7, 8), elements=st.sampled_from([0, 0, 0, 3, 800])),
)
def test_objects_cover_the_classes_once(mask: np.ndarray, numbers: np.ndarray) -> None:
    """A number that two classes share is an object in each of them."""
    for how in ("instances", "components", "classes"):
        seen = np.zeros(mask.shape, np.int64)
        for o in find_objects(Labelled("a", None, mask, numbers), how):  # type: ignore[arg-type]
            assert o.region.any(0)[[0, -1]].all() and o.region.any(1)[[0, -1]].all()
            seen[o.top : o.top + o.region.shape[0], o.left : o.left + o.region.shape[1]] += o.value * o.region
        np.testing.assert_array_equal(seen, np.where(mask == 255, 0, mask))
