"""Tools on masks: edit masks, brushes, regions, superpixels and shapes, on pictures one can check by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from engine.tools import (
    EMPTY,
    POLICIES,
    allowed,
    borders,
    brush,
    changed,
    component,
    component_above,
    convert,
    cut,
    fill_holes,
    from_band,
    full,
    grow,
    grown,
    merge,
    pick,
    remove_specks,
    remove_underlying,
    shrink,
    smooth,
    spread,
    superpixels,
    threshold_brush,
    tight,
)

VALUES = (0, 1, 2, 255)
masks = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from(VALUES)
)


def drawn(*rows: str) -> NDArray[np.uint8]:
    """A mask from digits, `.` for background and `?` for unsure."""
    values = {".": 0, "?": 255}
    return np.array([[values.get(c, 0) if c in values else int(c) for c in row] for row in rows], np.uint8)


# --- boxes ---------------------------------------------------------------------------------------


def test_a_tight_box_holds_all_true_pixels_and_no_empty_side() -> None:
    region = np.zeros((5, 7), bool)
    region[1, 2] = region[3, 4] = True
    box, inner = tight(region, (10, 20))
    assert box == (11, 22, 14, 25) and inner.shape == (3, 3) and inner.sum() == 2
    assert tight(np.zeros((5, 7), bool))[0] == EMPTY
    assert tight(np.zeros((0, 7), bool))[0] == EMPTY


def test_a_box_grows_to_the_border_of_the_image_only() -> None:
    assert grown((2, 2, 4, 4), 3, (5, 9)) == (0, 0, 5, 7)


@given(masks, masks)
def test_a_change_is_the_smallest_that_does_the_same(
    mask: NDArray[np.uint8], other: NDArray[np.uint8]
) -> None:
    height, width = (min(a, b) for a, b in zip(mask.shape, other.shape, strict=True))
    before, after = mask[:height, :width], other[:height, :width]
    kept = before.copy()
    box, values = changed(before, full(before.shape), after)
    assert (spread((box, values), before) == after).all() and (before == kept).all()
    if box == EMPTY:
        assert (before == after).all()
    else:
        differs = cut(before, box) != values
        assert differs[0].any() and differs[-1].any() and differs[:, 0].any() and differs[:, -1].any()


# --- edit masks ----------------------------------------------------------------------------------


def test_each_edit_mask_lets_the_pixels_through_that_it_names() -> None:
    mask = drawn("01", "2?")
    assert allowed(mask, "everywhere", 1).tolist() == [[True, True], [True, True]]
    assert allowed(mask, "inside", 0, inside=1).tolist() == [[False, True], [False, False]]
    assert allowed(mask, "inside", 0).tolist() == [[False, True], [True, False]]
    assert allowed(mask, "unsure", 1).tolist() == [[False, False], [False, True]]
    assert allowed(mask, "keep", 1).tolist() == [[True, True], [False, True]]
    assert allowed(mask, "keep", 0, inside=2).tolist() == [[True, False], [True, True]]


def test_an_unknown_edit_mask_is_a_mistake_of_the_program() -> None:
    with pytest.raises(ValueError, match="everywhere, inside"):
        allowed(drawn("0"), "somewhere", 1)


def test_merging_refuses_a_region_of_another_size() -> None:
    with pytest.raises(ValueError, match="box"):
        merge(drawn("000", "000"), (0, 0, 2, 2), np.ones((2, 3), bool), 1)
    with pytest.raises(ValueError, match="box"):
        merge(drawn("000", "000"), (0, 0, 2, 2), np.ones((2, 2), bool), np.zeros((1, 2), np.uint8))


@given(masks, st.sampled_from(POLICIES), st.sampled_from(VALUES), st.sampled_from([None, 1, 2]), st.randoms())
def test_painting_never_touches_what_the_edit_mask_protects_nor_pixels_outside_the_region(
    mask: NDArray[np.uint8], policy: str, value: int, inside: int | None, random: object
) -> None:
    before = mask.copy()
    region = np.random.default_rng(int(mask.sum())).random(mask.shape) > 0.5
    after = merge(mask, full(mask.shape), region, value, policy, inside)
    assert (mask == before).all() and after.dtype == np.uint8
    touched = after != mask
    assert not (touched & ~(region & allowed(mask, policy, value, inside))).any()
    assert (after[region & allowed(mask, policy, value, inside)] == value).all()
    if policy != "inside":  # twice is once, for painted pixels are what the edit mask looked for or the value
        assert (merge(after, full(mask.shape), region, value, policy, inside) == after).all()


def test_each_pixel_may_have_a_value_of_its_own() -> None:
    mask, values = drawn("012?"), drawn("1111")
    values[0, 2] = 2
    assert merge(mask, full(mask.shape), np.ones((1, 4), bool), values, "keep").tolist() == [[1, 1, 2, 1]]


# --- brush ---------------------------------------------------------------------------------------


def test_a_brush_of_one_pixel_paints_the_pixel_under_it() -> None:
    box, region = brush((9, 9), [(4, 5)], 1)
    assert box == (4, 5, 5, 6) and region.all()


def test_a_brush_is_a_disc_and_its_way_has_no_gaps() -> None:
    _, region = brush((40, 40), [(20, 20)], 11)
    y, x = np.ogrid[-5:6, -5:6]
    assert (region == (y * y + x * x <= 30.25)).all()
    box, line = brush((40, 40), [(5, 5), (30, 35)], 3)
    assert component(spread((box, line), np.zeros((40, 40), bool)), (5, 5))[1].sum() == line.sum()


def test_a_brush_beside_the_image_paints_nothing_and_one_at_its_border_is_cut_off() -> None:
    assert brush((9, 9), [(-20, 4)], 5)[0] == EMPTY
    assert brush((9, 9), [], 5)[0] == EMPTY
    assert brush((9, 9), [(0, 0)], 5)[0] == (0, 0, 3, 3)


def test_the_threshold_brush_accepts_the_map_under_it_and_nothing_else() -> None:
    mask, scores = np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.float32)
    mask[:, 6:] = 1
    mask[4, 6] = 2
    scores[:, :5] = 0.5
    box, after = threshold_brush(mask, scores, 0.4, 1, [(4, 4)], 5)
    out = spread((box, after), mask)
    _, disc = brush(mask.shape, [(4, 4)], 5)
    assert out[4].tolist() == [0, 0, 1, 1, 1, 0, 2, 1, 1]  # column 6 is another class: it stays
    assert (out != mask).sum() <= disc.sum()
    assert spread(threshold_brush(mask, scores, 0.4, 1, [(4, 4)], 5, over_others=True), mask)[4, 6] == 0
    assert threshold_brush(mask, scores, 0.5, 1, [(4, 2)], 3)[0] == EMPTY  # a tie is background


def test_the_threshold_brush_refuses_scores_of_another_size() -> None:
    with pytest.raises(ValueError, match="scores"):
        threshold_brush(np.zeros((4, 4), np.uint8), np.zeros((4, 5)), 0.5, 1, [(1, 1)], 3)


def test_the_band_is_open_below_and_closed_above() -> None:
    scores = np.array([[0.1, 0.2, 0.3, 0.4, 0.5]], np.float32)
    box, region = from_band(scores, np.float32(0.2), np.float32(0.4))
    assert box == (0, 2, 1, 4) and region.all()
    assert from_band(scores, 0.6, 0.9)[0] == EMPTY
    assert from_band(scores, 0.0, 1.0, (0, 1, 1, 3))[0] == (0, 1, 1, 3)


# --- regions and superpixels ---------------------------------------------------------------------


def test_a_click_takes_the_connected_piece_of_its_value() -> None:
    mask = drawn("11.1", "11.1", "..1.")
    assert component(mask, (0, 0))[0] == (0, 0, 2, 2)
    assert component(mask, (2, 2))[1].sum() == 1  # corners do not connect
    assert component(mask, (0, 2))[1].sum() == 2
    assert component(mask, (7, 7))[0] == EMPTY
    assert component(mask == 2, (0, 0))[0] == EMPTY


def test_a_piece_larger_than_the_first_look_comes_whole() -> None:
    mask = np.zeros((700, 900), np.uint8)
    mask[3:690, 450] = mask[3, 10:880] = mask[689, 5:895] = 4
    box, region = component(mask, (300, 450))
    assert box == (3, 5, 690, 895) and region.sum() == (mask == 4).sum()


def test_a_click_on_a_map_takes_the_piece_above_the_threshold() -> None:
    scores = np.array([[0.9, 0.9, 0.1, 0.9], [0.9, 0.4, 0.1, 0.9]], np.float32)
    box, region = component_above(scores, (0, 0), 0.5)
    assert box == (0, 0, 2, 2) and region.tolist() == [[True, True], [True, False]]
    assert component_above(scores, (0, 2), 0.5)[0] == EMPTY


@given(masks, st.integers(0, 11), st.integers(0, 11))
def test_every_pixel_of_a_piece_leads_to_the_same_piece(mask: NDArray[np.uint8], y: int, x: int) -> None:
    box, region = component(mask, (y, x))
    if y >= mask.shape[0] or x >= mask.shape[1]:
        assert box == EMPTY
        return
    assert (cut(mask, box)[region] == mask[y, x]).all()
    ys, xs = np.nonzero(region)
    again = component(mask, (float(ys[-1] + box[0]), float(xs[-1] + box[1])))
    assert again[0] == box and (again[1] == region).all()


@pytest.mark.parametrize("kind", ["slic", "felzenszwalb"])
def test_superpixels_cover_the_image_and_follow_a_strong_edge(kind: str) -> None:
    photo = np.zeros((60, 80, 3), np.uint8)
    photo[:, 40:] = (250, 40, 40)
    ids = superpixels(photo, kind, 64)
    assert ids.shape == (60, 80) and ids.dtype == np.int32
    assert set(np.unique(ids)) == set(range(int(ids.max()) + 1))
    left, right = set(np.unique(ids[:, :40])), set(np.unique(ids[:, 40:]))
    assert not left & right
    box, region = pick(ids, [(5, 5), (5, 6), (-1, 5)])
    assert (
        region.any()
        and (cut(ids, box)[region] == ids[5, 5]).all()
        and region.sum() == (ids == ids[5, 5]).sum()
    )
    assert pick(ids, [(-3, 2)])[0] == EMPTY
    assert borders(ids)[:, 39].all()


def test_superpixels_of_small_pictures() -> None:
    for shape in [(1, 1, 3), (1, 7, 3), (3, 2, 3), (0, 4, 3)]:
        photo = np.full(shape, 90, np.uint8)
        for kind in ("slic", "felzenszwalb"):
            assert superpixels(photo, kind, 64).shape == shape[:2]
    with pytest.raises(ValueError, match="slic"):
        superpixels(np.zeros((4, 4, 3), np.uint8), "watershed")


# --- shapes --------------------------------------------------------------------------------------


def test_holes_of_background_and_unsure_close_but_other_classes_and_open_holes_stay() -> None:
    mask = drawn("111111", "1.1?21", "111111", "1..111", "1.1111")
    out = spread(fill_holes(mask, 1), mask)
    assert (out == drawn("111111", "111?21", "111111", "1..111", "1.1111")).sum() >= 29
    assert out[1, 1] == 1 and out[1, 3] == 1 and out[1, 4] == 2 and out[4, 1] == 0 and out[3, 1] == 0
    assert spread(remove_underlying(mask, 1), mask)[1, 4] == 1
    assert fill_holes(mask, 1, largest=0)[0] == EMPTY


def test_specks_take_what_surrounds_them() -> None:
    mask = drawn("......", ".1..22", "....22", "....22")
    out = spread(remove_specks(mask, smallest=3), mask)
    assert (out == drawn("......", "....22", "....22", "....22")).all()
    assert spread(remove_specks(drawn("111", "1.1", "111"), 0, smallest=5), drawn("111", "1.1", "111")).all()
    lonely = drawn("1")
    assert spread(remove_specks(lonely, smallest=5), lonely).tolist() == [[0]]


def test_smoothing_takes_a_spike_away_and_keeps_a_straight_border() -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[:, :10] = 1
    straight = mask.copy()
    mask[8, 10:14] = 1
    out = spread(smooth(mask, radius=2), mask)
    assert (out[:, 11:] == 0).all() and (out[:, :10] == 1).all()
    assert smooth(straight, radius=2)[0] == EMPTY


def test_growing_and_shrinking_by_a_distance() -> None:
    mask = np.zeros((21, 21), np.uint8)
    mask[10, 10] = 1
    y, x = np.ogrid[-10:11, -10:11]
    assert ((spread(grow(mask, 1, pixels=4), mask) == 1) == (y * y + x * x <= 16)).all()
    wide = np.zeros((21, 21), np.uint8)
    wide[:, 5:16] = 1
    out = spread(shrink(wide, 1, pixels=2), wide)
    assert (out[:, 7:14] == 1).all() and (out == 1).sum() == 7 * 21  # the image border takes nothing
    assert spread(shrink(wide, 1, pixels=1, into=255), wide)[3, 5] == 255


def test_classes_that_grow_stop_at_each_other_and_leave_a_tie_as_it_was() -> None:
    mask = drawn("1.......2")
    out = spread(grow(mask, pixels=9), mask)
    assert out.tolist() == drawn("1111.2222").tolist()
    over = drawn("1..2")
    assert spread(grow(over, 1, pixels=9), over).tolist() == drawn("1112").tolist()
    assert spread(grow(over, 1, pixels=9, over=None), over).tolist() == drawn("1111").tolist()


def test_converting_everywhere_in_a_box_and_in_a_region() -> None:
    mask = drawn("112", "211")
    assert spread(convert(mask, 1, 3), mask).tolist() == drawn("332", "233").tolist()
    assert spread(convert(mask, 1, 3, box=(0, 0, 1, 3)), mask).tolist() == drawn("332", "211").tolist()
    assert spread(convert(mask, 1, 3, region=component(mask, (0, 0))), mask)[0].tolist() == [3, 3, 2]
    assert convert(mask, 5, 3)[0] == EMPTY


@settings(deadline=None)
@given(masks, st.sampled_from([None, 1, 2]), st.integers(0, 4))
def test_shape_tools_never_write_into_the_mask_invent_values_or_leave_their_box(
    mask: NDArray[np.uint8], value: int | None, size: int
) -> None:
    kept = mask.copy()
    half = (0, 0, (mask.shape[0] + 1) // 2, (mask.shape[1] + 1) // 2)
    for box in (None, half):
        for change in (
            fill_holes(mask, value, box=box),
            remove_specks(mask, value, smallest=size, box=box),
            smooth(mask, value, radius=size, box=box),
            grow(mask, value, pixels=size, box=box),
            shrink(mask, value, pixels=size, box=box),
            remove_underlying(mask, 1, box=box),
        ):
            out = spread(change, mask)
            assert (mask == kept).all() and set(np.unique(out)) <= {0, *np.unique(mask)}
            if box is not None:
                outside = np.ones(mask.shape, bool)
                cut(outside, box)[...] = False
                assert (out == mask)[outside].all()


@settings(deadline=None)
@given(masks, st.sampled_from([1, 2]))
def test_filling_and_removing_twice_is_once(mask: NDArray[np.uint8], value: int) -> None:
    filled = spread(fill_holes(mask, value), mask)
    assert fill_holes(filled, value)[0] == EMPTY
    assert (filled[mask == value] == value).all()
    clean = spread(remove_specks(mask, value, smallest=4), mask)
    assert remove_specks(clean, value, smallest=4)[0] == EMPTY


@settings(deadline=None)
@given(masks, st.sampled_from([1, 2]), st.integers(1, 3))
def test_growing_never_takes_from_a_class_and_shrinking_never_gives_to_one(
    mask: NDArray[np.uint8], value: int, pixels: int
) -> None:
    larger, smaller = (
        spread(grow(mask, value, pixels=pixels), mask),
        spread(shrink(mask, value, pixels=pixels), mask),
    )
    assert (larger[mask == value] == value).all() and (
        larger[np.isin(mask, [1, 2])] == mask[np.isin(mask, [1, 2])]
    ).all()
    assert ((smaller == value) <= (mask == value)).all()
