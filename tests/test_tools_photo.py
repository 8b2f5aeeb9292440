"""Tools that look at the photograph: scribbles, clicks and snapping; drawn pictures first, then real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage, sparse

from engine.crf import CRFParams
from engine.tools import (
    EMPTY,
    Click,
    Stroke,
    apply_clicks,
    cut,
    draw,
    grown,
    propagate,
    snap_border,
    snap_box,
    spread,
    superpixels,
)
from engine.tools._diffusion import beliefs, coarse, coarse_seeds, factor_for, fine, shrunk


def picture(height: int = 90, width: int = 120) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A red disc on noisy grey, and the mask (value 1) of the disc."""
    rng = np.random.default_rng(0)
    y, x = np.ogrid[:height, :width]
    disc = (y - height // 2) ** 2 + (x - width // 2) ** 2 <= 25**2
    photo = rng.integers(110, 130, (height, width, 3)).astype(np.uint8)
    photo[disc] = np.clip(np.array([210, 60, 60]) + rng.integers(-10, 10, (int(disc.sum()), 3)), 0, 255)
    return photo, disc.astype(np.uint8)


def iou(
    one: NDArray[np.uint8], other: NDArray[np.uint8], value: int = 1, where: NDArray[np.bool_] | None = None
) -> float:
    a, b = one == value, other == value
    if where is not None:
        a, b = a & where, b & where
    return float((a & b).sum() / max((a | b).sum(), 1))


# --- the walker ----------------------------------------------------------------------------------


def test_between_two_seeds_on_a_line_the_belief_falls_evenly() -> None:
    photo = np.full((1, 11, 3), 90, np.uint8)
    seeds = np.full((1, 11), -1, np.int16)
    seeds[0, 0], seeds[0, 10] = 0, 1
    half = np.full((2, 1, 11), 0.5, np.float32)
    found = beliefs(photo, seeds, half, np.full((1, 11), 1e-9, np.float32))
    assert np.allclose(found[1, 0], np.arange(11) / 10, atol=1e-4)


def test_without_seeds_and_on_a_plain_picture_an_even_prior_stays() -> None:
    photo, prior = np.full((20, 30, 3), 7, np.uint8), np.full((3, 20, 30), 1 / 3, np.float32)
    found = beliefs(photo, np.full((20, 30), -1, np.int16), prior, np.full((20, 30), 0.1, np.float32))
    assert np.allclose(found, prior, atol=1e-5)


def test_the_walker_solves_its_equations_on_a_grid_too_large_to_factorise() -> None:
    photo, disc = picture()
    seeds = np.full(disc.shape, -1, np.int16)
    seeds[45, 55:65], seeds[5, 5:100] = 1, 0
    prior = np.stack([1.0 - disc, disc]).astype(np.float32) * 0.5 + 0.25
    weight = np.full(disc.shape, 0.01, np.float32)
    found = beliefs(photo, seeds, prior, weight)[1].astype(np.float64)
    from engine.tools._diffusion import _laplacian

    system = _laplacian(photo, 1.0) + sparse.diags_array(np.full(disc.size, 0.01))
    left = (system @ found.ravel() - 0.01 * prior[1].ravel())[(seeds < 0).ravel()]
    assert np.abs(left).max() < 2e-3 and (found[seeds == 1] == 1).all() and (found[seeds == 0] == 0).all()
    assert found.min() >= 0 and found.max() <= 1


@pytest.mark.parametrize("factor", [1, 2, 3, 5])
def test_grids_of_any_factor_fit_together(factor: int) -> None:
    photo, disc = picture(31, 47)
    small = shrunk(photo, factor)
    layer = np.linspace(0, 1, disc.size, dtype=np.float32).reshape(1, *disc.shape)
    rough = coarse(layer, factor)
    assert rough.shape[1:] == small.shape[:2]
    assert np.abs(fine(rough, disc.shape, factor) - layer)[:, factor:-factor, factor:-factor].max() < 0.1
    seeds = np.full(disc.shape, -1, np.int16)
    seeds[30, 46] = 3
    assert coarse_seeds(seeds, factor)[-1, -1] == 3 and (coarse_seeds(seeds, factor) >= 0).sum() == 1
    assert factor_for(0) == 1 and factor_for(4_000_000) == 9


# --- scribbles -----------------------------------------------------------------------------------


def test_strokes_are_drawn_in_order_and_the_last_wins() -> None:
    seeds = draw([Stroke(3, [(5, 0), (5, 9)], 1), Stroke(0, [(0, 4), (9, 4)], 1)], (10, 10))
    assert seeds.dtype == np.int16
    assert seeds[5].tolist() == [3, 3, 3, 3, 0, 3, 3, 3, 3, 3] and (seeds[0] == -1).sum() == 9


def test_two_scribbles_find_the_disc_from_an_empty_mask() -> None:
    photo, truth = picture()
    mask = np.zeros_like(truth)
    seeds = draw(
        [Stroke(1, [(40, 50), (50, 70)], 3), Stroke(0, [(8, 20), (8, 100), (82, 100), (82, 20)], 3)],
        mask.shape,
    )
    out = spread(propagate(photo, mask, seeds), mask)
    assert iou(out, truth) > 0.95 and not mask.any()
    assert (out[seeds >= 0] == seeds[seeds >= 0]).all()


def test_scribbles_leave_what_is_out_of_their_reach() -> None:
    photo, truth = picture(90, 300)
    mask = np.zeros_like(truth)
    mask[:, 260:] = 2
    seeds = draw([Stroke(1, [(45, 145), (45, 155)], 3), Stroke(0, [(10, 120), (10, 180)], 3)], mask.shape)
    box, _ = propagate(photo, mask, seeds, reach=40)
    out = spread(propagate(photo, mask, seeds, reach=40), mask)
    limit = grown((9, 119, 47, 182), 40, mask.shape)
    assert box[1] >= limit[1] and box[3] <= limit[3] and (out[:, 260:] == 2).all()


def test_one_scribble_alone_fills_what_looks_like_it_and_unsure_may_be_scribbled() -> None:
    photo, truth = picture()
    mask = np.where(truth == 1, np.uint8(255), truth)
    out = spread(propagate(photo, mask, draw([Stroke(1, [(40, 50), (50, 70)], 3)], mask.shape)), mask)
    assert iou(out, truth) > 0.9
    full_of_one = np.ones_like(truth)
    marked = draw([Stroke(255, [(45, 60)], 9)], truth.shape)
    assert (spread(propagate(photo, full_of_one, marked), full_of_one) == 255).sum() >= (marked == 255).sum()


def test_scores_speak_where_the_mask_is_unsure() -> None:
    photo, truth = np.full((60, 60, 3), 90, np.uint8), np.zeros((60, 60), np.uint8)
    mask = np.full((60, 60), 255, np.uint8)
    truth[:, :30] = 1
    seeds = draw([Stroke(1, [(30, 29)], 3), Stroke(0, [(30, 34)], 3)], mask.shape)
    scores = {1: np.where(truth == 1, 0.9, 0.05)}
    out = spread(propagate(photo, mask, seeds, scores, reach=40, trust=0.5), mask)
    assert iou(out, truth) > 0.9


def test_no_scribble_changes_nothing() -> None:
    photo, truth = picture()
    assert propagate(photo, truth, np.full(truth.shape, -1, np.int16))[0] == EMPTY


# --- clicks --------------------------------------------------------------------------------------


def test_a_click_on_a_missing_part_adds_it_and_one_on_too_much_takes_it_away() -> None:
    photo, truth = picture()
    half = truth.copy()
    half[:, :60] = 0
    out = spread(apply_clicks(photo, half, [Click(45, 45)], 1), half)
    assert iou(out, truth) > 0.9
    much = truth.copy()
    much[25:65, 85:110] = 1
    out = spread(apply_clicks(photo, much, [Click(45, 100, positive=False)], 1, background=255), much)
    assert iou(out, truth) > 0.9 and (out[much != truth] == 255).mean() > 0.8


def test_a_click_changes_one_piece_in_one_direction_within_its_reach() -> None:
    photo, truth = picture()
    start = truth.copy()
    start[40:50, 50:60] = 0
    start[5:15, 5:15] = 1
    box, after = apply_clicks(photo, start, [Click(45, 55)], 1, reach=20)
    out = spread((box, after), start)
    gained = (out == 1) & (start == 0)
    assert gained.any() and (out[start == 1] == 1).all() and ndimage.label(gained)[1] == 1
    assert box[0] >= 25 and box[1] >= 35 and box[2] <= 66 and box[3] <= 76


def test_a_click_that_asks_for_what_is_there_changes_nothing() -> None:
    photo, truth = picture()
    assert apply_clicks(photo, truth, [Click(45, 60)], 1)[0] == EMPTY
    assert apply_clicks(photo, truth, [Click(2, 2, positive=False)], 1)[0] == EMPTY
    assert apply_clicks(photo, truth, [Click(-9, 2)], 1)[0] == EMPTY
    assert apply_clicks(photo, truth, [], 1)[0] == EMPTY


def test_the_pixel_under_a_click_always_becomes_what_it_asks_for() -> None:
    rng = np.random.default_rng(3)
    photo = rng.integers(0, 255, (50, 70, 3)).astype(np.uint8)
    mask = rng.choice([0, 1, 2, 255], (50, 70)).astype(np.uint8)
    kept, scores = mask.copy(), rng.random((50, 70)).astype(np.float32)
    for _ in range(10):
        y, x = int(rng.integers(50)), int(rng.integers(70))
        positive = bool(mask[y, x] != 1)
        out = spread(apply_clicks(photo, mask, [Click(y, x, positive)], 1, scores), mask)
        assert (out[y, x] == 1) == positive and (mask == kept).all()


def test_clicks_on_the_smallest_pictures() -> None:
    for shape in [(1, 1), (1, 5), (4, 1)]:
        photo, mask = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8)
        assert spread(apply_clicks(photo, mask, [Click(0, 0)], 1), mask)[0, 0] == 1


# --- snapping ------------------------------------------------------------------------------------


def test_a_rough_outline_snaps_to_the_edge_and_nothing_outside_moves() -> None:
    photo, truth = picture()
    rough = ndimage.binary_dilation(truth == 1, iterations=4).astype(np.uint8)
    rough[5:8, 5:8] = 2
    box = (12, 25, 80, 95)
    out = spread(snap_box(photo, rough, box), rough)
    assert iou(out, truth) > iou(rough, truth) + 0.1
    outside = np.ones(truth.shape, bool)
    cut(outside, box)[...] = False
    assert (out == rough)[outside].all()
    for how in ("walker", "crf"):
        out = spread(snap_border(photo, rough, 1, 8, how=how), rough)
        assert iou(out, truth) > iou(rough, truth) + 0.1 and (out[5:8, 5:8] == 2).all()
    with pytest.raises(ValueError, match="walker or crf"):
        snap_border(photo, rough, 1, how="magic")


def test_the_border_moves_no_further_than_its_width() -> None:
    photo, truth = picture()
    rough = np.zeros_like(truth)
    rough[30:60, 45:75] = 1
    inside, beside = ndimage.distance_transform_edt(rough), ndimage.distance_transform_edt(1 - rough)
    box, after = snap_border(photo, rough, 1, 5)
    moved = spread((box, after), rough) != rough
    assert not moved[(inside > 5) | (beside > 5)].any()
    limited = spread(snap_border(photo, rough, 1, 5, box=(0, 0, 45, 120)), rough) != rough
    assert not limited[45:].any()


def test_unsure_pixels_take_what_wins_them_or_stay() -> None:
    photo, truth = picture()
    band = ndimage.binary_dilation(truth, iterations=3) & ~ndimage.binary_erosion(truth, iterations=3)
    start = np.where(band, np.uint8(255), truth)
    box = (0, 0, *truth.shape)
    out = spread(snap_box(photo, start, box), start)
    assert not (out == 255).any() and iou(out, truth) > 0.95
    kept = spread(snap_box(photo, start, box, keep_unsure=True), start)
    assert (kept[band] == 255).all()


def test_snapping_where_nothing_competes_changes_nothing() -> None:
    photo, truth = picture()
    empty = np.zeros_like(truth)
    assert snap_box(photo, empty, (0, 0, 40, 40))[0] == EMPTY
    assert snap_box(photo, truth, (200, 200, 300, 300))[0] == EMPTY
    assert snap_box(photo, np.full_like(truth, 255), (0, 0, 40, 40))[0] == EMPTY
    assert snap_border(photo, empty, 1)[0] == EMPTY
    assert snap_border(photo, np.ones_like(truth), 1)[0] == EMPTY
    assert snap_box(photo, truth, (0, 0, 90, 120), params=CRFParams(iterations=0))[0] == EMPTY


# --- real photographs ----------------------------------------------------------------------------


@pytest.fixture
def real_pair(shared_data: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A photograph of VOC and its mask: 1 the object, 255 void."""
    folder = shared_data / "voc_mini"
    stem = "2007_000464"
    if not (folder / "JPEGImages" / f"{stem}.jpg").exists():
        stem = sorted(p.stem for p in (folder / "JPEGImages").iterdir())[0]
    photo = np.asarray(Pillow.open(folder / "JPEGImages" / f"{stem}.jpg").convert("RGB"))
    truth = np.asarray(Pillow.open(folder / "SegmentationClass" / f"{stem}.png"))
    return photo, np.where((truth > 0) & (truth < 255), np.uint8(1), truth).astype(np.uint8)


@pytest.mark.real
def test_five_clicks_on_a_photograph_bring_an_empty_mask_close_to_the_object(
    real_pair: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    photo, truth = real_pair
    mask, clicks, known = np.zeros_like(truth), [], truth != 255
    for _ in range(5):
        missing, much = (truth == 1) & (mask != 1), (truth == 0) & (mask == 1)
        depths = [ndimage.distance_transform_edt(np.pad(e, 1))[1:-1, 1:-1] for e in (missing, much)]
        worst = int(depths[1].max() > depths[0].max())
        y, x = np.unravel_index(int(depths[worst].argmax()), truth.shape)
        clicks.append(Click(float(y), float(x), worst == 0))
        mask = spread(apply_clicks(photo, mask, clicks, 1), mask)
    assert iou(mask, truth, where=known) > 0.5


@pytest.mark.real
def test_snapping_a_border_on_a_photograph_does_not_make_it_worse(
    real_pair: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    photo, truth = real_pair
    known, own = truth != 255, truth == 1
    for rough in (ndimage.binary_dilation(own, iterations=5), own):
        start = rough.astype(np.uint8)
        out = spread(snap_border(photo, start, 1, 8), start)
        assert iou(out, truth, where=known) > iou(start, truth, where=known) - 0.01


@pytest.mark.real
def test_superpixels_of_a_photograph_bound_its_objects(
    real_pair: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    photo, truth = real_pair
    known = truth != 255
    for kind, size in (("slic", 256), ("felzenszwalb", 256)):
        ids = superpixels(photo, kind, size)
        share = np.bincount(ids[known], (truth == 1)[known], int(ids.max()) + 1) / np.maximum(
            np.bincount(ids[known], minlength=int(ids.max()) + 1), 1
        )
        assert iou((share[ids] > 0.5).astype(np.uint8), truth, where=known) > 0.8, kind
