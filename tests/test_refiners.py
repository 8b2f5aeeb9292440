"""The refiners that need no network: what goes in, what comes out, previews and traces."""

from __future__ import annotations

import numpy as np
import pytest

from engine.adaptive import PARParams, affinity, refine
from engine.crf import CRFParams, Lattice, crf_label, unary_of_scores
from engine.errors import UserError
from engine.labels import LabelRule, apply_scores
from engine.params import describe, parse
from engine.refiners import (
    REFINERS,
    CRFSettings,
    Grid,
    PARSettings,
    refine_crf,
    refine_par,
    scores_of,
)
from engine.results import CamStack, enlarge

RNG = np.random.default_rng(7)
H, W = 50, 71
CLASSES = (2, 5)


def _photo() -> np.ndarray:
    image = np.full((H, W, 3), 60, np.uint8)
    image[12:38, 18:53] = (200, 120, 40)
    return np.clip(image + RNG.integers(-4, 5, image.shape), 0, 255).astype(np.uint8)


def _truth() -> np.ndarray:
    truth = np.zeros((H, W), np.uint8)
    truth[12:38, 18:53] = CLASSES[0] + 1
    return truth


def _stack(background: bool = False, cell: float = 4.0) -> CamStack:
    """Return maps whose first class lies three pixels beside the object; the second is weak."""
    h, w = -(-H // 4), -(-W // 4)
    maps = np.zeros((2, h, w), np.float16)
    maps[0, 4:10, 5:14] = 0.9
    maps[1] = 0.1 * RNG.random((h, w))
    own = (0.4 + 0.2 * RNG.random((h, w))).astype(np.float16) if background else None
    return CamStack(
        "a", (H, W), CLASSES, maps, np.array([3.0, 1.0], np.float32), cell, 0.0, np.ones(7, np.float32), own
    )


def _empty() -> CamStack:
    none = np.zeros(0, np.float32)
    return CamStack("a", (H, W), (), np.zeros((0, 3, 4), np.float16), none, 16.0, 0.0, np.ones(7, np.float32))


def _mask(stack: CamStack) -> np.ndarray:
    behind = stack.full_background()
    assert behind is not None
    return apply_scores(np.concatenate([behind[None], stack.full()]), stack.classes)


BOTH = [(refine_crf, CRFSettings()), (refine_par, PARSettings())]


@pytest.mark.parametrize(("call", "settings"), BOTH, ids=["crf", "par"])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_borders_move_to_the_edges_of_the_photograph(call, settings, scale: float) -> None:  # type: ignore[no-untyped-def]
    stack = _stack()
    seed = apply_scores(scores_of(stack, "constant:0.2", Grid((H, W), 1, 0)), CLASSES)
    refined, trace = call(stack, _photo(), settings, scale=scale)
    assert trace is None
    assert (_mask(refined) != _truth()).sum() < (seed != _truth()).sum() * (0.7 if scale == 1 else 1)
    assert (refined.image, refined.size, refined.classes) == ("a", (H, W), CLASSES)
    assert refined.maps.dtype == np.float16 and (refined.peaks == 1).all()
    assert refined.maps.min() >= 0 and refined.maps.max() <= 1
    np.testing.assert_array_equal(refined.scores, stack.scores)


@pytest.mark.parametrize("unary", ["labels", "scores"])
def test_the_crf_of_a_stack_is_the_crf_of_its_labels(unary: str) -> None:
    image, stack = _photo(), _stack()
    for background in ("constant:0.3", "power:3", "one_minus_max"):
        settings = parse(CRFSettings, {"unary": unary, "background": background})
        expected = crf_label(
            image, stack.full(), CLASSES, LabelRule.parse(background), parse(CRFParams, {"unary": unary})
        )
        refined = refine_crf(stack, image, settings)[0]
        assert (refined.cell, refined.origin) == (1, 0)
        # Half precision may tie what is apart by less than a thousandth.
        assert (_mask(refined) != expected).mean() < 0.002


def test_par_works_on_blocks_of_two_pixels() -> None:
    image, stack = _photo(), _stack()
    refined = refine_par(stack, image, PARSettings())[0]
    assert (refined.cell, refined.origin, refined.maps.shape) == (2, 0.5, (2, 25, 36))
    blocks = np.pad(image, ((0, 0), (0, 1), (0, 0)), mode="edge").astype(float)
    blocks = blocks.reshape(25, 2, 36, 2, 3).mean(axis=(1, 3))
    scores = scores_of(stack, "constant:0.2", Grid((25, 36), 2, 0.5))
    expected = refine(scores, affinity(blocks, PARParams()), PARParams())
    np.testing.assert_allclose(refined.maps, expected[1:], atol=1e-3)
    np.testing.assert_allclose(refined.background, expected[0], atol=1e-3)


def test_a_source_with_a_background_keeps_it() -> None:
    stack = _stack(background=True)
    scores = scores_of(stack, "constant:0.9")
    np.testing.assert_array_equal(scores[0], stack.background)
    np.testing.assert_array_equal(scores[1:], stack.maps)
    still = parse(CRFSettings, {"unary": "scores", "iterations": 0})
    refined = refine_crf(stack, _photo(), still)[0]
    full = scores_of(stack, "constant:0.9", Grid((H, W), 1, 0))
    np.testing.assert_allclose(refined.background, full[0] / full.sum(axis=0), atol=1e-3)
    # A refined source refines again: a chain.
    again = refine_par(refine_crf(stack, _photo(), CRFSettings())[0], _photo(), PARSettings())[0]
    assert again.background is not None and again.classes == CLASSES


def test_scores_are_read_where_the_grid_lies() -> None:
    stack = _stack()
    full = scores_of(stack, "power:2", Grid((H, W), 1, 0))
    np.testing.assert_allclose(full[1:], stack.full(), atol=1e-6)
    np.testing.assert_allclose(full[0], (1 - stack.full().max(axis=0)) ** 2, atol=1e-6)
    grid = Grid.over((H, W), 4)
    assert (grid.shape, grid.cell, grid.origin) == ((13, 18), 4, 1.5)
    # Maps that rise evenly are read without error anywhere: here 1.5 px right of every fourth pixel.
    even = np.tile(np.arange(18) / 20, (13, 1)).astype(np.float16)
    ramp = CamStack("a", (H, W), (0,), even[None], np.ones(1, np.float32), 4, 0, np.ones(1, np.float32))
    got = scores_of(ramp, "constant:0.1", grid)[1, :, :-1]
    np.testing.assert_allclose(got, np.tile((np.arange(17) + 1.5 / 4) / 20, (13, 1)), atol=5e-4)
    own = scores_of(stack, "constant:0.1")
    np.testing.assert_array_equal(own[1:], stack.maps)
    assert (own[0] == np.float32(0.1)).all()
    with pytest.raises(UserError, match="background"):
        scores_of(stack, "constant:2")


def test_the_cells_of_a_refined_source_lie_on_the_photograph() -> None:
    # A ramp over the columns: read back at pixels it has to be the same ramp.
    ramp = np.tile(np.arange(W) / W, (H, 1)).astype(np.float16)
    stack = CamStack("a", (H, W), (0,), ramp[None], np.ones(1, np.float32), 1, 0, np.ones(1, np.float32))
    still = parse(PARSettings, {"iterations": 0})
    for scale in (1.0, 0.25):
        refined = refine_par(stack, _photo(), still, scale=scale)[0]
        np.testing.assert_allclose(refined.full()[0, :, 4:-4], ramp[:, 4:-4], atol=2e-3)


@pytest.mark.parametrize(("call", "settings"), BOTH, ids=["crf", "par"])
def test_no_class_is_all_background(call, settings) -> None:  # type: ignore[no-untyped-def]
    for keep in (False, True):
        refined, trace = call(_empty(), _photo(), settings, keep=keep)
        assert refined.classes == () and not _mask(refined).any()
        assert (trace is None) != keep


def test_the_trace_of_the_crf_has_every_iteration_and_its_energy(tmp_path) -> None:  # type: ignore[no-untyped-def]
    image, stack = _photo(), _stack()
    settings = parse(CRFSettings, {"preset": "psa", "iterations": 4})
    plain = refine_crf(stack, image, settings)[0]
    refined, trace = refine_crf(stack, image, settings, keep=True)
    assert trace is not None and trace.energy is not None
    np.testing.assert_array_equal(refined.maps, plain.maps)
    assert trace.at == (0, 1, 2, 3, 4) and trace.stages.shape == (5, 3, H, W)
    assert (trace.refiner, trace.classes, trace.cell, trace.origin) == ("crf", CLASSES, 1, 0)
    np.testing.assert_array_equal(trace.stages[-1, 1:], plain.maps)
    start = np.exp(-unary_of_scores(scores_of(stack, "constant:0.2", Grid((H, W), 1, 0))))
    np.testing.assert_allclose(trace.stages[0], start / start.sum(axis=0), atol=1e-3)
    assert (np.diff(trace.energy) < 0).all()
    trace.save(tmp_path / "refine.npz")
    np.testing.assert_array_equal(type(trace).load(tmp_path / "refine.npz").energy, trace.energy)


def test_the_trace_of_par_has_every_iteration() -> None:
    refined, trace = refine_par(_stack(), _photo(), parse(PARSettings, {"iterations": 3}), keep=True)
    assert trace is not None and trace.energy is None and trace.at == (0, 1, 2, 3)
    np.testing.assert_array_equal(trace.stages[-1, 1:], refined.maps)
    np.testing.assert_array_equal(trace.stages[-1, 0], refined.background)


def test_long_and_large_traces_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = parse(PARSettings, {"iterations": 100, "dilations": 1})
    stack, image = _stack(), _photo()
    trace = refine_par(stack, image, settings, keep=True)[1]
    assert trace is not None and len(trace.at) == len(trace.stages) == 33
    assert (trace.at[0], trace.at[-1]) == (0, 100)
    monkeypatch.setattr("engine.refiners._STAGE_PIXELS", 300)
    thin = refine_par(stack, image, settings, keep=True)[1]
    assert thin is not None and thin.cell == 4 and thin.origin == 0.5
    np.testing.assert_array_equal(thin.stages, trace.stages[:, :, ::2, ::2])


def test_a_preview_shrinks_the_widths_with_the_image() -> None:
    image, stack = _photo(), _stack()
    refined = refine_crf(stack, image, parse(CRFSettings, {"preset": "psa"}), scale=0.5)[0]
    assert (refined.cell, refined.origin, refined.maps.shape) == (2, 0.5, (2, 25, 36))
    blocks = np.pad(image, ((0, 0), (0, 1), (0, 0)), mode="edge").astype(float)
    small = np.rint(blocks.reshape(25, 2, 36, 2, 3).mean(axis=(1, 3))).astype(np.uint8)
    params = parse(CRFParams, {"preset": "psa", "positional_sxy": 1.5, "bilateral_sxy": 40.0})
    scores = scores_of(stack, "constant:0.2", Grid((25, 36), 2, 0.5))
    expected = Lattice(small, 3, params).refine(unary_of_scores(scores))
    np.testing.assert_allclose(refined.maps, expected[1:], atol=2e-3)
    near = parse(PARSettings, {"dilations": "1,2,4,8"})
    far = parse(PARSettings, {"dilations": "2,4,8,16"})
    quarter = refine_par(stack, image, far, scale=0.25)[0]
    blocks = np.pad(image, ((0, 2), (0, 1), (0, 0)), mode="edge").astype(float)
    tiny = blocks.reshape(13, 4, 18, 4, 3).mean(axis=(1, 3))
    scores = scores_of(stack, "constant:0.2", Grid((13, 18), 4, 1.5))
    np.testing.assert_allclose(quarter.maps, refine(scores, affinity(tiny, near), near)[1:], atol=1e-3)


def test_an_image_of_another_size_is_refused() -> None:
    for call, settings in BOTH:
        with pytest.raises(ValueError, match="image"):
            call(_stack(), _photo()[:-1], settings)
        with pytest.raises(ValueError, match="image"):
            call(_stack(), _photo().astype(np.uint16), settings)


def test_the_registry_describes_itself() -> None:
    assert list(REFINERS) == ["crf", "par"]
    for refiner in REFINERS.values():
        assert refiner.title and refiner.sentence.endswith(".") and refiner.version >= 1
        rows = {field.name: field for field in describe(refiner.settings)}
        assert rows["background"].kind == "text" and rows["background"].default == "constant:0.2"
        assert sum(field.main for field in rows.values()) in (2, 3)
        assert refiner.refine(_stack(), _photo(), refiner.settings())[0].background is not None
    assert set(describe(CRFParams)) < set(describe(CRFSettings))
    assert parse(PARSettings, {"preset": "pamr"}).kind == "pamr"


def test_enlarging_agrees_with_the_cells() -> None:
    stack = refine_par(_stack(), _photo(), PARSettings())[0]
    np.testing.assert_array_equal(stack.full(), enlarge(stack.maps, (H, W), 2, 0.5))
