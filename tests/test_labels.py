"""Label rules: thresholds, ties, bands, the small-region clean-up, text and JSON forms."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from scipy import ndimage

from engine.errors import UserError
from engine.labels import LabelRule, apply, apply_scores, best_class, clean, disagreement

RNG = np.random.default_rng(7)


def _maps(count: int, height: int = 40, width: int = 50) -> np.ndarray:
    maps = RNG.random((count, height, width), dtype=np.float32)
    maps[:, ::7] = 0
    maps[:, 1::7] = 1
    # Many equal values, so that ties between classes and with the background do occur.
    maps[:, 2::7] = np.round(maps[:, 2::7] * 20) / 20
    return maps


def _literal(rule: LabelRule, maps: np.ndarray, classes: tuple[int, ...]) -> np.ndarray:
    """argmax([background, maps]) in double precision, the definition itself."""
    m = maps.max(axis=0).astype(np.float64)
    background = {
        "constant": np.full(m.shape, float(np.float32(rule.value))),
        "power": (1 - m) ** rule.value,
        "one_minus_max": 1 - m,
    }[rule.background]
    winner = np.concatenate([background[None], maps]).argmax(axis=0)
    return np.array([0, *(c + 1 for c in classes)])[winner]


RULES = [
    LabelRule("constant", 0.2),
    LabelRule("constant", 0.0),
    LabelRule("constant", 1.0),
    LabelRule("constant", 0.35),
    LabelRule("power", 4.0),
    LabelRule("power", 0.3),
    LabelRule("power", 32.0),
    LabelRule("one_minus_max", 1.0),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.text())
@pytest.mark.parametrize("classes", [(0,), (3, 4, 5), (0, 2, 9, 253), (7, 1, 30)], ids=str)
def test_a_rule_is_the_argmax_with_the_background(rule: LabelRule, classes: tuple[int, ...]) -> None:
    maps = _maps(len(classes))
    mask = apply(rule, *best_class(maps), classes)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, _literal(rule, maps, classes))


def test_best_class_is_max_and_argmax() -> None:
    for count in (1, 2, 9):
        maps = _maps(count, 300, 301)  # more than one block
        best, which = best_class(maps.astype(np.float16))
        assert best.dtype == np.float32 and which.dtype == np.uint8
        np.testing.assert_array_equal(best, maps.astype(np.float16).max(axis=0))
        np.testing.assert_array_equal(which, maps.astype(np.float16).argmax(axis=0))


def test_no_class_is_all_background() -> None:
    best, which = best_class(np.zeros((0, 4, 5), np.float32))
    out = np.full((4, 5), 9, np.uint8)
    assert not apply(LabelRule("constant", 0.0), best, which, (), out=out).any()
    assert not out.any()


def test_a_tie_is_background_and_the_next_float_is_not() -> None:
    for rule in RULES:
        t = rule.threshold()
        above = np.nextafter(t, np.float32(2))
        best = np.array([[t, above]], np.float32)
        assert apply(rule, best, np.zeros((1, 2), np.uint8), (0,)).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("alpha", "threshold"), [(4, 0.2755), (6, 0.2219), (8, 0.1883), (16, 0.1228), (24, 0.0939), (32, 0.0770)]
)
def test_exponents_match_their_thresholds(alpha: int, threshold: float) -> None:
    assert round(float(LabelRule("power", alpha).threshold()), 4) == threshold
    # and back: a band on the scores becomes the exponents that cross there
    sure, possible = LabelRule("power", 5.0, (0.0770, threshold + 1e-4)).sides()
    assert float(sure.threshold()) == pytest.approx(threshold + 1e-4, abs=1e-6)
    assert possible.value == pytest.approx(32, rel=2e-3)


def test_the_band_decides_alone() -> None:
    best = np.array([[0.0, 0.15, 0.1500001, 0.3, 0.3000001, 1.0]], np.float32)
    which = np.zeros(best.shape, np.uint8)
    for rule in (LabelRule(value=0.2, ignore=(0.15, 0.3)), LabelRule("power", 4.0, (0.15, 0.3))):
        assert apply(rule, best, which, (6,)).tolist() == [[0, 0, 255, 255, 7, 7]]
    empty = LabelRule(value=0.9, ignore=(0.3, 0.3))
    assert apply(empty, best, which, (6,)).tolist() == [[0, 0, 0, 0, 7, 7]]


def test_sides_of_a_band_enclose_it() -> None:
    for rule in (
        LabelRule(ignore=(0.1, 0.4)),
        LabelRule("power", 3.0, (0.1, 0.4)),
        LabelRule("one_minus_max", 1.0, (0.1, 0.4)),
    ):
        sure, possible = rule.sides()
        assert sure.ignore is None and possible.ignore is None
        assert float(sure.threshold()) == pytest.approx(0.4, abs=1e-6)
        assert float(possible.threshold()) == pytest.approx(0.1, abs=1e-6)
    assert LabelRule().sides() == (LabelRule(),)
    edge = LabelRule("power", 3.0, (0.0, 1.0)).sides()
    assert float(edge[0].threshold()) > 0.999 and float(edge[1].threshold()) < 1e-4


def test_background_scores_follow_the_rule() -> None:
    best = np.array([[0.0, 0.25, 1.0]], np.float32)
    np.testing.assert_allclose(LabelRule("power", 4.0).scores(best), [[1, 0.75**4, 0]], rtol=1e-6)
    np.testing.assert_allclose(LabelRule("one_minus_max", 1.0).scores(best), [[1, 0.75, 0]])
    np.testing.assert_allclose(LabelRule("constant", 0.2).scores(best), [[0.2, 0.2, 0.2]], rtol=1e-6)


def test_sources_with_a_background_score_need_no_threshold() -> None:
    scores = np.array([[[0.5, 0.2, 0.3]], [[0.5, 0.3, 0.3]], [[0.1, 0.3, 0.4]]], np.float32)
    assert apply_scores(scores, (4, 8)).tolist() == [[0, 5, 9]]
    with pytest.raises(ValueError, match="3 scores"):
        apply_scores(scores, (4,))


def test_a_slider_move_writes_into_the_given_array_and_is_fast() -> None:
    maps = RNG.random((6, 375, 500), dtype=np.float32)
    best, which = best_class(maps)
    out = np.empty(best.shape, np.uint8)
    rule = LabelRule(ignore=(0.3, 0.6))
    seconds = []
    for _ in range(15):
        start = time.perf_counter()
        assert apply(rule, best, which, (0, 2, 4, 7, 12, 19), out=out) is out
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.004  # 0.4 ms when measured alone
    with pytest.raises(ValueError):
        apply(rule, best, which, (0,), out=np.empty((500, 375), np.uint8))


def test_clean_closes_holes_and_removes_specks() -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[2:12, 2:12] = 3
    mask[5, 5] = 0  # a hole
    mask[6, 8:10] = 4  # another class inside
    mask[16, 16] = 3  # a speck
    mask[14:18, 2:8] = 255
    mask[15, 4] = 3  # a speck in the unsure
    cleaned = clean(mask, 5)
    expected = np.zeros((20, 20), np.uint8)
    expected[2:12, 2:12] = 3
    expected[14:18, 2:8] = 255
    np.testing.assert_array_equal(cleaned, expected)
    assert clean(mask, 0) is mask and clean(mask, 1) is mask
    assert mask[5, 5] == 0, "the input was changed"


def test_clean_gives_small_regions_to_the_nearest_pixel_that_stays() -> None:
    mask = (RNG.random((60, 70)) * 3).astype(np.uint8)
    mask[20:45, 20:50] = 7
    cleaned = clean(mask, 6)
    small = np.zeros(mask.shape, bool)
    for value in np.unique(mask):
        regions, count = ndimage.label(mask == value)
        for k in range(1, count + 1):
            if (regions == k).sum() < 6:
                small |= regions == k
    assert small.any() and not small.all()
    np.testing.assert_array_equal(cleaned[~small], mask[~small])
    kept_y, kept_x = np.nonzero(~small)
    for y, x in zip(*np.nonzero(small), strict=True):
        far = (kept_y - y) ** 2 + (kept_x - x) ** 2
        assert cleaned[y, x] in mask[kept_y, kept_x][far == far.min()]


def test_clean_keeps_a_mask_of_nothing_but_specks() -> None:
    mask = np.indices((6, 6)).sum(axis=0).astype(np.uint8) % 2
    np.testing.assert_array_equal(clean(mask, 10), mask)


@pytest.mark.parametrize(
    ("background", "ignore", "rule"),
    [
        ("constant:0.2", None, LabelRule("constant", 0.2)),
        (" power:4 ", None, LabelRule("power", 4.0)),
        ("one_minus_max", None, LabelRule("one_minus_max", 1.0)),
        ("constant:0.2", "0.15,0.3", LabelRule("constant", 0.2, (0.15, 0.3))),
        ("constant:.1", " 0.15 , 0.3 ", LabelRule("constant", 0.1, (0.15, 0.3))),
    ],
)
def test_text_and_json_round_trip(background: str, ignore: str | None, rule: LabelRule) -> None:
    read = LabelRule.parse(background, ignore)
    assert read == rule
    assert LabelRule.parse(read.text(), read.ignore_text()) == rule
    assert LabelRule.from_json(json.loads(json.dumps(rule.as_json()))) == rule


@pytest.mark.parametrize(
    ("background", "ignore"),
    [
        ("constant", None),
        ("constant:", None),
        ("constant:1.2", None),
        ("constant:nan", None),
        ("power:0", None),
        ("power:inf", None),
        ("power:-1", None),
        ("one_minus_max:2", None),
        ("constnt:0.2", None),
        ("", None),
        ("constant:0.2", "0.3"),
        ("constant:0.2", "0.3,0.2"),
        ("constant:0.2", "0.1,0.2,0.3"),
        ("constant:0.2", "a,b"),
        ("constant:0.2", "-0.1,0.3"),
    ],
)
def test_other_texts_are_refused_with_the_accepted_forms(background: str, ignore: str | None) -> None:
    with pytest.raises(UserError) as error:
        LabelRule.parse(background, ignore)
    assert "constant:T" in error.value.accepted and "LOW,HIGH" in error.value.accepted


def test_a_misspelt_rule_suggests_the_nearest() -> None:
    with pytest.raises(UserError) as error:
        LabelRule.parse("constnt:0.2")
    assert "'constant'" in error.value.todo


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {"background": 3},
        {"value": "0.2"},
        {"value": float("nan")},
        {"ignore": [0.1]},
        {"ignore": "0.1,0.2"},
        {"ignore": [0.5, 0.1]},
        {"min_region": -1},
        {"min_region": True},
        {"crf": 1},
        {"nonsense": 1},
    ],
)
def test_a_damaged_rule_file_is_refused(data: object) -> None:
    with pytest.raises(UserError):
        LabelRule.from_json(data)


def test_disagreement_with_saliency_is_unsure() -> None:
    mask = np.array([[0, 0, 3, 3, 255, 255, 254]], np.uint8)
    salient = np.array([[False, True, False, True, False, True, True]])
    before = mask.copy()
    found = disagreement(mask, salient)
    assert found.tolist() == [[0, 255, 255, 3, 255, 255, 254]] and found.dtype == np.uint8
    np.testing.assert_array_equal(mask, before)
    np.testing.assert_array_equal(disagreement(found, salient), found)  # a second time changes nothing
    for wrong in (salient[:, :3], salient.astype(np.uint8)):
        with pytest.raises(ValueError):
            disagreement(mask, wrong)


def test_disagreement_keeps_what_agrees_and_nothing_else() -> None:
    mask = RNG.integers(0, 5, (40, 50)).astype(np.uint8)
    salient = RNG.random(mask.shape) < 0.5
    found = disagreement(mask, salient)
    kept = found != 255
    np.testing.assert_array_equal(kept, (mask > 0) == salient)
    np.testing.assert_array_equal(found[kept], mask[kept])
