"""Confident labels: truth tables, thresholds found without truth, both kinds against the plain CRF."""

from __future__ import annotations

import numpy as np
import pytest

from engine.confident import ConfidentParams, confident, score_histogram, settled, split_of
from engine.crf import CRFParams, crf_label
from engine.errors import UserError
from engine.labels import LabelRule
from engine.params import as_settings, describe, parse

RNG = np.random.default_rng(3)
H, W = 40, 76
CLASSES = (1, 4)


def _photo() -> np.ndarray:
    image = np.full((H, W, 3), 60, np.uint8)
    image[6:34, 6:24] = (200, 120, 40)
    image[6:34, 30:46] = (40, 120, 200)
    image[6:34, 54:70] = (40, 200, 40)
    return np.clip(image + RNG.integers(-4, 5, image.shape), 0, 255).astype(np.uint8)


def _maps() -> np.ndarray:
    """Return maps of three objects: one of the first class, two of the second, the last a weak one."""
    y, x = np.mgrid[:H, :W]
    first = np.exp(-((y - 20) ** 2 + (x - 15) ** 2) / 150)
    second = np.exp(-((y - 20) ** 2 + (x - 38) ** 2) / 150)
    second += 0.45 * np.exp(-((y - 20) ** 2 + (x - 62) ** 2) / 300)
    second /= second.max()
    return np.stack([first, second]).astype(np.float32)


def test_the_kinds_are_the_crf_on_both_sides_of_a_band() -> None:
    image, maps = _photo(), _maps()
    irn = parse(ConfidentParams, {"foreground": 0.5, "background": 0.2})
    expected = crf_label(image, maps, CLASSES, LabelRule("constant", 0.3, (0.2, 0.5)), CRFParams())
    label, sure, possible = confident(image, maps, CLASSES, irn)
    assert set(np.unique(label)) == {0, 2, 5, 255} and label.dtype == np.uint8
    # The fields are filtered side by side: what is 1e-5 apart may fall on either side.
    assert (label != expected).mean() < 0.001
    assert not (sure == 255).any() and not (possible == 255).any()
    assert (sure > 0).sum() < (possible > 0).sum()
    psa = parse(ConfidentParams, {"kind": "psa", "foreground": 0.5, "background": 0.2})
    expected = crf_label(
        image, maps, CLASSES, LabelRule("power", 2.0, (0.2, 0.5)), parse(CRFParams, {"preset": "psa"})
    )
    assert (confident(image, maps, CLASSES, psa)[0] != expected).mean() < 0.001


def test_the_label_is_what_the_two_masks_say() -> None:
    for params in (parse(ConfidentParams, {"preset": p}) for p in ("irn", "psa", "advcam")):
        label, sure, possible = confident(_photo(), _maps(), CLASSES, params)
        assert (label[(sure > 0) & (possible > 0)] == sure[(sure > 0) & (possible > 0)]).all()
        assert (label[(sure == 0) & (possible > 0)] == 255).all()
        assert not label[(sure == 0) & (possible == 0)].any()
        either = label[(sure > 0) & (possible == 0)]
        assert (either == (0 if params.kind == "psa" else sure[(sure > 0) & (possible == 0)])).all()


def test_no_class_is_all_background() -> None:
    made = confident(_photo(), np.zeros((0, H, W), np.float32), (), ConfidentParams())
    assert [m.any() for m in made] == [False] * 3 and all(m.shape == (H, W) for m in made)
    with pytest.raises(ValueError, match="classes"):
        confident(_photo(), _maps(), (1,), parse(ConfidentParams, {"preset": "irn"}))


def test_presets_are_the_published_ones() -> None:
    def limits(name: str) -> list[float]:
        return [float(rule.threshold()) for rule in parse(ConfidentParams, {"preset": name}).rules()]

    assert limits("irn") == pytest.approx([0.30, 0.05]) and limits("advcam") == pytest.approx([0.35, 0.15])
    assert limits("psa") == pytest.approx([0.2755, 0.0770], abs=5e-5)
    assert all(field.doc for field in describe(ConfidentParams))


def test_powers_cross_at_the_thresholds() -> None:
    params = parse(ConfidentParams, {"kind": "psa", "foreground": 0.52, "background": 0.33, "power_high": 8})
    sure, possible = params.rules()
    assert sure.background == "power" and float(sure.threshold()) == pytest.approx(0.52, abs=1e-5)
    assert possible.value == 8


def test_open_cuts_have_to_be_settled() -> None:
    with pytest.raises(ValueError, match="settle"):
        confident(_photo(), _maps(), CLASSES, ConfidentParams())
    counts = score_histogram(_maps())
    params = settled(ConfidentParams(), counts)
    assert params.foreground is not None and params.background is not None
    split = split_of(counts)
    assert (params.foreground, params.background) == pytest.approx((split + 0.1, split - 0.1), abs=1e-4)
    assert parse(ConfidentParams, as_settings(params)) == params
    half = settled(parse(ConfidentParams, {"background": 0.01}), counts)
    assert half.background == 0.01 and half.foreground == params.foreground
    for preset in ("irn", "psa"):
        given = parse(ConfidentParams, {"preset": preset})
        assert settled(given, np.zeros(256, np.int64)) is given
    assert parse(ConfidentParams, {"power_low": 4, "power_high": 32}).open(), "irn has no powers"


@pytest.mark.parametrize("centre", [0.04, 0.5, 0.97])
def test_the_margin_stays_inside(centre: float) -> None:
    counts = np.zeros(256, np.int64)
    counts[int(256 * (centre - 0.02))] = counts[int(256 * (centre + 0.02))] = 5
    params = settled(ConfidentParams(), counts)
    assert 0 < params.background < split_of(counts) < params.foreground < 1  # type: ignore[operator]
    if centre == 0.5:
        assert (params.foreground, params.background) == pytest.approx((0.6, 0.4), abs=0.005)


def test_the_split_is_otsus() -> None:
    two = np.concatenate([RNG.normal(0.2, 0.05, 9000), RNG.normal(0.7, 0.08, 3000)]).clip(0, 0.999)
    counts = np.bincount((two * 256).astype(int), minlength=256)

    def within(border: int) -> float:
        x = (np.arange(256) + 0.5) / 256
        parts = [(counts[:border], x[:border]), (counts[border:], x[border:])]
        return sum(float((c * (v - (c @ v) / c.sum()) ** 2).sum()) for c, v in parts if c.sum())

    literal = min(range(1, 256), key=within)
    # Where no score lies between the groups all borders split alike: then it is their middle.
    assert within(round(split_of(counts) * 256)) == pytest.approx(within(literal))
    assert 0.35 < split_of(counts) < 0.5
    assert split_of(counts * 7) == split_of(counts), "the number of images does not matter"
    apart = np.zeros(256, np.int64)
    apart[[51, 204]] = 3
    assert split_of(apart) == pytest.approx(0.5, abs=0.003)
    one = np.zeros(256, np.int64)
    one[0] = 100
    assert 0 < split_of(one) < 1
    with pytest.raises(UserError, match="no score"):
        split_of(np.zeros(256, np.int64))


def test_histograms_add_up() -> None:
    maps = _maps()
    counts = score_histogram(maps)
    assert counts.shape == (256,) and counts.dtype == np.int64 and counts.sum() == H * W
    best = maps.max(axis=0)
    assert counts[128:].sum() == (best >= 0.5).sum()
    np.testing.assert_array_equal(score_histogram(maps[:, :20]) + score_histogram(maps[:, 20:]), counts)
    assert score_histogram(np.ones((1, 2, 2), np.float16))[255] == 4
    assert not score_histogram(maps[:0]).any()


def test_cuts_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(UserError, match="above foreground"):
        parse(ConfidentParams, {"foreground": 0.2, "background": 0.3})
    with pytest.raises(UserError, match="above power_high"):
        parse(ConfidentParams, {"power_low": 9, "power_high": 3})
    counts = score_histogram(_maps())
    with pytest.raises(UserError, match="above foreground"):
        settled(parse(ConfidentParams, {"background": 0.95}), counts)
    mixed = parse(ConfidentParams, {"kind": "psa", "power_low": 32, "background": 0.3, "foreground": 0.5})
    with pytest.raises(UserError, match="sure side"):
        mixed.rules()
    with pytest.raises(UserError, match="nearest|preset"):
        parse(ConfidentParams, {"preset": "pza"})
