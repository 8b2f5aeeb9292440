"""PAR and PAMR: agreement with the formula written out, and the facts that are known of both."""

from __future__ import annotations

import numpy as np
import pytest

from engine.adaptive import PARParams, affinity, distances, neighbours, refine, steps
from engine.errors import UserError
from engine.params import describe, parse

RNG = np.random.default_rng(11)
PAR = PARParams()
PAMR = parse(PARParams, {"preset": "pamr"})
SMALL = {"dilations": (1, 3), "iterations": 3}


def _image(height: int = 30, width: int = 37) -> np.ndarray:
    ramp = np.linspace(0, 200, width)[None, :, None] + np.zeros((height, 1, 3))
    return (ramp + RNG.normal(0, 8, (height, width, 3))).clip(0, 255)


def _literal(image: np.ndarray, masks: np.ndarray, params: PARParams) -> tuple[np.ndarray, np.ndarray]:
    """Every neighbour as an array of its own, in double precision, without the division by 1 + w2."""
    height, width = image.shape[:2]
    y, x = np.indices((height, width))

    def unfolded(planes: np.ndarray, centre: bool) -> np.ndarray:  # [C, N, h, w]
        seen = []
        for d in params.dilations:
            for dy in (-d, 0, d):
                for dx in (-d, 0, d):
                    if centre or (dy, dx) != (0, 0):
                        seen.append(planes[:, np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)])
        return np.stack(seen, axis=1)

    planes = np.moveaxis(image.astype(np.float64), 2, 0)
    sigma = unfolded(planes, params.kind == "pamr").std(axis=1, ddof=1)
    ratio = np.abs(unfolded(planes, False) - planes[:, None]) / (sigma[:, None] + 1e-8) / params.w1
    k = -(ratio if params.kind == "pamr" else ratio**2).mean(axis=0)
    d = np.array(
        [z * np.hypot(a, b) for z in params.dilations for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b]
    )
    p = np.exp(-((d / d.std(ddof=1) / params.w1) ** 2))
    k = np.exp(k - k.max(axis=0))
    weights = k / k.sum(axis=0) + params.w2 * (p / p.sum())[:, None, None]
    masks = masks.astype(np.float64)
    for _ in range(params.iterations):
        masks = (weights * unfolded(masks, False)).sum(axis=1)
    return weights, masks


@pytest.mark.parametrize(
    "params", [PAR, PAMR, parse(PARParams, {**SMALL, "w2": 0.3}), PARParams("pamr", w2=0.1)]
)
def test_it_is_the_formula(params: PARParams) -> None:
    image, masks = _image(), RNG.random((3, 30, 37)).astype(np.float32)
    expected, averaged = _literal(image, masks, params)
    weights = affinity(image, params)
    assert weights.dtype == np.float32 and weights.shape == (8 * len(params.dilations), 30, 37)
    np.testing.assert_allclose(weights, expected, atol=1e-5)
    refined = refine(masks, weights, params)
    gain = (1 + params.w2) ** params.iterations
    np.testing.assert_allclose(refined, averaged / gain, atol=1e-5)


def test_the_neighbours_are_the_published_ones() -> None:
    assert len(neighbours(PAR)) == 48 and (0, 0) not in neighbours(PAR)
    assert {max(abs(y), abs(x)) for y, x in neighbours(PAR)} == {1, 2, 4, 8, 12, 24}
    assert distances(PAR).std(ddof=1) == pytest.approx(9.90, abs=0.005)


def test_the_weights_of_par_sum_to_101_and_those_of_pamr_to_1() -> None:
    image = _image()
    np.testing.assert_allclose(affinity(image, PAR).sum(axis=0), 1.01, atol=3e-6)
    np.testing.assert_allclose(affinity(image, PAMR).sum(axis=0), 1.0, atol=3e-6)


def test_a_constant_stays_where_the_plain_sum_would_grow() -> None:
    image, ones = _image(), np.ones((1, 30, 37), np.float32)
    for params in (PAR, PAMR):
        np.testing.assert_allclose(refine(ones, affinity(image, params), params), 1, atol=3e-6)
    grown = _literal(image, ones, PAR)[1]
    np.testing.assert_allclose(grown, 1.10462, atol=1e-5)
    np.testing.assert_allclose(_literal(image, ones, PAMR)[1], 1, atol=1e-9)


def test_the_mass_of_nearness_at_each_distance() -> None:
    # On a flat image the colours weigh all 48 alike; what is above it is nearness.
    extra = affinity(np.full((5, 6, 3), 77.0), PAR)[:, 2, 3] - 1 / 48
    share = extra.reshape(6, 8).sum(axis=1) / 0.01
    np.testing.assert_allclose(share, [0.579, 0.356, 0.065, 0.0002, 0, 0], atol=6e-4)


@pytest.mark.parametrize("params", [PAR, PAMR], ids=["par", "pamr"])
def test_scale_and_offset_of_the_image_change_nothing(params: PARParams) -> None:
    image, masks = _image(), RNG.random((2, 30, 37)).astype(np.float32)
    here = refine(masks, affinity(image, params), params)
    for other in (image * 2.5, image + 40, image / 255 - 0.5):
        assert np.abs(refine(masks, affinity(other, params), params) - here).max() < 2e-6


def test_it_is_linear_and_channels_do_not_see_each_other() -> None:
    a, b = RNG.random((2, 2, 30, 37)).astype(np.float32)
    weights = affinity(_image(), PAR)
    together = refine(np.concatenate([a, b]), weights, PAR)
    np.testing.assert_array_equal(together[:2], refine(a, weights, PAR))
    mixed = refine(0.25 * a + 0.5 * b, weights, PAR)
    np.testing.assert_allclose(mixed, 0.25 * together[:2] + 0.5 * together[2:], atol=1e-6)


@pytest.mark.parametrize("params", [PAR, PAMR], ids=["par", "pamr"])
def test_flat_images_and_lone_pixels_are_finite(params: PARParams) -> None:
    flat = np.full((9, 7, 3), 128.0)
    lone = flat.copy()
    lone[4, 3] = 255
    for image in (flat, lone, np.zeros((1, 1, 3))):
        weights = affinity(image, params)
        assert np.isfinite(weights).all() and (weights >= 0).all()
    # All neighbours of the lone pixel differ from it alike: none is preferred by colour.
    colours = affinity(lone, PARParams(params.kind, w2=0.0))[:, 4, 3]
    np.testing.assert_allclose(colours, 1 / 48, rtol=1e-5)


def test_a_lone_seed_is_gone_after_one_iteration() -> None:
    seed = np.zeros((1, 21, 21), np.float32)
    seed[0, 10, 10] = 1
    image = _image(21, 21)
    for params in (parse(PARParams, {"iterations": 1}), PAMR):
        first = list(steps(seed, affinity(image, params), params))[1]
        assert first[0, 10, 10] == 0 and first.sum() > 0


def test_scores_follow_the_edges_of_the_photograph() -> None:
    image = np.full((40, 40, 3), 50.0)
    image[:, 20:] = 180
    image += RNG.normal(0, 2, image.shape)
    rough = np.zeros((1, 40, 40), np.float32)
    rough[:, :, 24:] = 1  # the border lies four pixels beside the edge
    got = refine(rough, affinity(image, PAR), PAR)[0]
    truth = np.zeros((40, 40), bool)
    truth[:, 20:] = True
    assert ((got > 0.5) != truth).sum() < 0.5 * ((rough[0] > 0.5) != truth).sum()
    assert got[:, :20].max() < 0.05, "nothing leaks over the edge"


def test_the_steps_begin_with_the_start_and_are_arrays_of_their_own() -> None:
    masks = RNG.random((2, 30, 37)).astype(np.float32)
    params = parse(PARParams, {**SMALL})
    weights = affinity(_image(), params)
    stages = list(steps(masks, weights, params))
    assert len(stages) == 4
    np.testing.assert_array_equal(stages[0], masks)
    assert not any(np.shares_memory(stages[0], s) for s in (masks, *stages[1:]))
    np.testing.assert_array_equal(stages[-1], refine(masks, weights, params))
    still = parse(PARParams, {**SMALL, "iterations": 0})
    np.testing.assert_array_equal(refine(masks, weights, still), masks)
    assert refine(masks[:0], weights, params).shape == (0, 30, 37)


def test_bands_of_rows_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    image, masks = _image(), RNG.random((3, 30, 37)).astype(np.float32)
    whole = refine(masks, affinity(image, PAR), PAR)
    monkeypatch.setattr("engine.adaptive._BAND", 300)
    np.testing.assert_array_equal(refine(masks, affinity(image, PAR), PAR), whole)


def test_wrong_arrays_and_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="neighbours"):
        refine(np.zeros((1, 30, 37), np.float32), affinity(_image(), PAR), parse(PARParams, SMALL))
    with pytest.raises(ValueError):
        affinity(np.zeros((4, 5)), PAR)
    with pytest.raises(UserError, match="dilations"):
        parse(PARParams, {"dilations": "0,2"})
    assert all(field.doc for field in describe(PARParams))
