"""Dense CRF: unaries, presets, invariants of the mean field, joining of the two sides."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy import ndimage

from engine.bench import measure
from engine.crf import (
    CRFParams,
    Lattice,
    crf_label,
    join_sides,
    refine_labels,
    refine_scores,
    refine_together,
    unary_of_labels,
    unary_of_scores,
)
from engine.errors import UserError
from engine.labels import LabelRule, apply, best_class
from engine.params import describe, parse, presets

RNG = np.random.default_rng(5)
H, W = 40, 56


def _photo(height: int = H, width: int = W) -> np.ndarray:
    image = np.full((height, width, 3), 60, np.uint8)
    image[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = (200, 120, 40)
    return np.clip(image + RNG.integers(-4, 5, image.shape), 0, 255).astype(np.uint8)


def _scores(labels: int, height: int = H, width: int = W) -> np.ndarray:
    noise = np.stack([ndimage.gaussian_filter(RNG.random((height, width)), 3) for _ in range(labels)])
    noise = (noise - noise.min()) / (noise.max() - noise.min()) + 0.05
    return (noise / noise.sum(axis=0)).astype(np.float32)


def _maps() -> np.ndarray:
    noise = np.stack([ndimage.gaussian_filter(RNG.random((H, W)), 3) for _ in range(2)])
    return ((noise - noise.min()) / (noise.max() - noise.min())).astype(np.float32)


def _preset(name: str, **settings: object) -> CRFParams:
    return parse(CRFParams, {"preset": name, **settings})


@pytest.mark.parametrize(
    ("name", "positional", "bilateral", "iterations", "unary"),
    [
        ("psa", (3, 3), (80, 13, 10), 10, "scores"),
        ("walk", (3, 3), (80, 13, 10), 1, "scores"),
        ("irn", (3, 3), (50, 5, 10), 10, "labels"),
        ("deeplab", (1, 3), (67, 3, 4), 10, "labels"),
        ("afa", (3, 3), (64, 5, 4), 10, "scores"),
    ],
)
def test_presets_are_the_published_ones(name, positional, bilateral, iterations, unary) -> None:  # type: ignore[no-untyped-def]
    p = _preset(name)
    assert (p.positional_sxy, p.positional_weight) == positional
    assert (p.bilateral_sxy, p.bilateral_srgb, p.bilateral_weight) == bilateral
    assert (p.iterations, p.unary) == (iterations, unary)
    assert name in presets(CRFParams)


def test_the_form_knows_every_parameter() -> None:
    assert all(
        field.doc and (field.kind == "choice" or field.low is not None) for field in describe(CRFParams)
    )
    with pytest.raises(UserError, match="preset"):
        _preset("deeplap")


@pytest.mark.parametrize(("labels", "others"), [(2, 1.2040), (3, 1.8971), (4, 2.3026), (21, 4.1997)])
def test_the_energy_of_hard_labels(labels: int, others: float) -> None:
    unary = unary_of_labels(np.array([[0, 1, 255]], np.uint8), labels, 0.7)
    assert unary.dtype == np.float32 and unary.shape == (labels, 1, 3)
    np.testing.assert_allclose(unary[0, 0, :2], [0.3567, others], atol=5e-5)
    np.testing.assert_allclose(unary[1, 0, :2], [others, 0.3567], atol=5e-5)
    np.testing.assert_allclose(unary[:, 0, 2], np.log(labels), rtol=1e-6)


def test_one_label_is_certain() -> None:
    assert not unary_of_labels(np.zeros((2, 3), np.uint8), 1, 0.7).any()
    q = refine_scores(_photo(), np.full((1, H, W), 0.2), CRFParams())
    assert q.shape == (1, H, W) and (q == 1).all()
    mask = np.full((H, W), 7, np.uint8)
    mask[3] = 255
    assert (refine_labels(_photo(), mask, CRFParams()) == 7).all()
    assert (refine_labels(_photo(), np.full((H, W), 255, np.uint8), CRFParams()) == 255).all()


def test_scores_of_zero_are_clipped() -> None:
    unary = unary_of_scores(np.array([[[0.0]], [[1.0]], [[2.0]]]))
    np.testing.assert_allclose(unary[:, 0, 0], [-np.log(1e-5), 0, 0], rtol=1e-6)


def test_no_kernel_returns_the_start() -> None:
    scores = _scores(3)
    q = refine_scores(_photo(), scores, _preset("psa", positional_weight=0, bilateral_weight=0))
    np.testing.assert_allclose(q, scores, atol=1e-5)
    np.testing.assert_allclose(
        refine_scores(_photo(), scores, _preset("psa", iterations=0)), scores, atol=1e-5
    )


@pytest.mark.parametrize("preset", ["psa", "irn", "deeplab"])
def test_q_is_a_distribution_and_follows_the_edges(preset: str) -> None:
    truth = np.zeros((H, W), np.uint8)
    truth[H // 4 : 3 * H // 4, W // 4 : 3 * W // 4] = 1
    rough = ndimage.shift(truth, (2, 3), order=0)
    q = Lattice(_photo(), 2, _preset(preset)).refine(unary_of_labels(rough, 2, 0.7))
    assert q.dtype == np.float32
    np.testing.assert_allclose(q.sum(axis=0), 1, atol=1e-5)
    wrong = (rough != truth).sum()
    assert (q.argmax(axis=0) != truth).sum() < wrong / 4, f"{wrong} pixels were wrong before"


def test_a_common_factor_changes_nothing() -> None:
    image, scores = _photo(), _scores(3)
    a = refine_scores(image, scores, _preset("psa"))
    b = refine_scores(image, scores * 0.5, _preset("psa"))
    assert np.abs(a - b).max() < 1e-4


def test_labels_may_be_permuted_and_images_flipped() -> None:
    image, scores, params = _photo(), _scores(3), _preset("psa")
    q = refine_scores(image, scores, params)
    order = [2, 0, 1]
    np.testing.assert_allclose(refine_scores(image, scores[order], params), q[order], atol=1e-4)
    flipped = refine_scores(image[:, ::-1], scores[:, :, ::-1], params)[:, :, ::-1]
    assert (flipped.argmax(axis=0) == q.argmax(axis=0)).mean() > 0.97


def test_a_constant_image_keeps_a_symmetric_split() -> None:
    mask = np.zeros((H, W), np.uint8)
    mask[:, W // 2 :] = 1
    refined = refine_labels(np.full((H, W, 3), 90, np.uint8), mask, CRFParams())
    # Smoothing alone may move the border only as far as the lattice is lopsided.
    assert abs(int(refined.sum()) - H * W // 2) <= H


def test_one_iteration_is_near_the_brute_force_mean_field() -> None:
    n = 20
    image, scores = RNG.integers(0, 256, (n, n, 3)).astype(np.uint8), _scores(3, n, n)
    params = _preset("psa", iterations=1)
    y, x = np.indices((n, n)).reshape(2, -1).astype(float)
    near = (y[:, None] - y) ** 2 + (x[:, None] - x) ** 2
    colours = image.reshape(-1, 3).astype(float)
    alike = ((colours[:, None] - colours) ** 2).sum(axis=2)
    messages = 0.0
    unary = unary_of_scores(scores).reshape(3, -1).astype(float)
    start = np.exp(-unary) / np.exp(-unary).sum(axis=0)
    for weight, kernel in (
        (params.positional_weight, np.exp(-near / (2 * params.positional_sxy**2))),
        (
            params.bilateral_weight,
            np.exp(-near / (2 * params.bilateral_sxy**2) - alike / (2 * params.bilateral_srgb**2)),
        ),
    ):
        norm = 1 / np.sqrt(kernel.sum(axis=1))
        messages = messages + weight * (start * norm) @ kernel * norm
    energy = np.exp(-unary + messages)
    expected = (energy / energy.sum(axis=0)).reshape(3, n, n)
    assert np.abs(refine_scores(image, scores, params) - expected).mean() < 0.03


def test_it_is_pydensecrf_to_the_bit_and_one_lattice_serves_many() -> None:
    densecrf = pytest.importorskip("pydensecrf.densecrf")
    image, params = _photo(), _preset("irn")
    lattice = Lattice(image, 3, params)
    first = None
    for scores in (_scores(3), _scores(3), _scores(3)):
        unary = unary_of_scores(scores)
        field = densecrf.DenseCRF2D(W, H, 3)
        field.setUnaryEnergy(unary.reshape(3, -1).copy())
        field.addPairwiseGaussian(sxy=3, compat=3)
        field.addPairwiseBilateral(sxy=50, srgb=5, rgbim=image, compat=10)
        expected = np.array(field.inference(10)).reshape(3, H, W)
        got = lattice.refine(unary)
        np.testing.assert_array_equal(got, expected)
        first = (unary, got) if first is None else first
    np.testing.assert_array_equal(lattice.refine(first[0]), first[1])


def test_a_preview_at_half_size_shrinks_the_widths() -> None:
    image, unary = _photo(), unary_of_scores(_scores(2))
    half = Lattice(image, 2, _preset("irn"), scale=0.5).refine(unary)
    same = Lattice(image, 2, _preset("irn", positional_sxy=1.5, bilateral_sxy=25.0)).refine(unary)
    np.testing.assert_array_equal(half, same)


def test_read_only_and_strided_arrays_are_taken() -> None:
    image, scores = _photo(), _scores(2)
    expected = refine_scores(image.copy(), scores, CRFParams())
    image.setflags(write=False)
    scores.setflags(write=False)
    np.testing.assert_array_equal(refine_scores(image, scores, CRFParams()), expected)
    wide = np.repeat(image, 2, axis=1)[:, ::2]
    np.testing.assert_array_equal(refine_scores(wide, scores, CRFParams()), expected)


def test_wrong_arrays_are_refused_before_the_library_sees_them() -> None:
    with pytest.raises(ValueError, match="uint8"):
        Lattice(_photo().astype(np.uint16), 2, CRFParams())
    with pytest.raises(ValueError):
        Lattice(_photo()[:, :, 0], 2, CRFParams())
    with pytest.raises(ValueError, match="lattice"):
        Lattice(_photo(), 3, CRFParams()).refine(np.zeros((2, H, W), np.float32))
    with pytest.raises(ValueError):
        crf_label(_photo(), np.zeros((1, H, W), np.float32), (0, 1), LabelRule(), CRFParams())


def test_only_labels_that_occur_compete() -> None:
    mask = np.zeros((H, W), np.uint8)
    mask[H // 4 : 3 * H // 4, W // 4 : 3 * W // 4] = 200
    mask[0, 0] = 255
    refined = refine_labels(_photo(), mask, CRFParams())
    assert set(np.unique(refined)) == {0, 200}
    compact = np.where(mask == 200, 1, mask).astype(np.uint8)
    np.testing.assert_array_equal(refine_labels(_photo(), compact, CRFParams()) == 1, refined == 200)


@pytest.mark.parametrize("preset", ["irn", "deeplab", "psa"])
def test_crf_label_starts_from_the_rule(preset: str) -> None:
    maps = _maps()
    still = _preset(preset, iterations=0)
    for rule in (LabelRule("constant", 0.6), LabelRule("power", 2.0)):
        plain = apply(rule, *best_class(maps), (3, 17))
        np.testing.assert_array_equal(crf_label(_photo(), maps, (3, 17), rule, still), plain)
    assert not crf_label(_photo(), maps[:0], (), LabelRule(), still).any()


@pytest.mark.parametrize("preset", ["irn", "psa"])
@pytest.mark.parametrize("background", ["constant", "power", "one_minus_max"])
def test_a_band_before_any_refinement_is_the_plain_band(preset: str, background: str) -> None:
    maps = _maps()
    rule = LabelRule(background, 1.0 if background == "one_minus_max" else 0.5, (0.45, 0.6))
    got = crf_label(_photo(), maps, (3, 17), rule, _preset(preset, iterations=0))
    expected = apply(rule, *best_class(maps), (3, 17))
    assert (got == 255).any() and (got == 0).any() and (got == 18).any()
    assert (got != expected).mean() < 0.002  # scores within 1e-6 of a limit may fall on either side


@pytest.mark.parametrize(
    ("sure", "possible", "irn", "psa"),
    [(5, 5, 5, 5), (5, 6, 5, 5), (0, 6, 255, 255), (0, 0, 0, 0), (5, 0, 5, 0)],
)
def test_the_sides_join_as_published(sure: int, possible: int, irn: int, psa: int) -> None:
    a, b = np.array([[sure]], np.uint8), np.array([[possible]], np.uint8)
    assert join_sides(a, b, strict=False).tolist() == [[irn]]
    assert join_sides(a, b, strict=True).tolist() == [[psa]]


def test_a_missing_library_is_told_with_its_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    with pytest.raises(UserError) as error:
        refine_scores(_photo(), _scores(2), CRFParams())
    assert "pydensecrf2" in str(error.value) and "C++ compiler" in str(error.value)


@pytest.mark.parametrize("preset", ["irn", "psa"])
def test_the_steps_end_where_refine_ends_and_the_energy_falls(preset: str) -> None:
    lattice, unary = Lattice(_photo(), 3, _preset(preset)), unary_of_scores(_scores(3))
    steps = list(lattice.steps(unary))
    assert len(steps) == 11
    np.testing.assert_array_equal(steps[-1][0], lattice.refine(unary))
    start = np.exp(-unary) / np.exp(-unary).sum(axis=0)
    np.testing.assert_allclose(steps[0][0], start, atol=1e-6)
    energies = np.array([energy for _, energy in steps])
    assert (np.diff(energies)[:4] < 0).all()
    assert (np.diff(energies) < 1e-6 * abs(energies[-1])).all(), "settled, it moves in its last digits only"
    assert not np.shares_memory(steps[3][0], steps[4][0])


def test_the_energy_is_that_of_the_library_with_each_pair_counted_once() -> None:
    densecrf = pytest.importorskip("pydensecrf.densecrf")
    image, unary = _photo(), unary_of_scores(_scores(2))
    field = densecrf.DenseCRF2D(W, H, 2)
    field.setUnaryEnergy(unary.reshape(2, -1).copy())
    field.addPairwiseGaussian(sxy=3, compat=3)
    field.addPairwiseBilateral(sxy=50, srgb=5, rgbim=image, compat=10)
    belief, *spare = field.startInference()
    for q, energy in Lattice(image, 2, _preset("irn", iterations=3)).steps(unary):
        twice = field.klDivergence(belief)
        alone = float((q * np.log(np.maximum(q, 1e-20)) + q * unary).sum(dtype=np.float64))
        assert energy == pytest.approx((twice + alone) / 2, rel=1e-5)
        field.stepInference(belief, *spare)


def test_without_kernels_the_energy_is_that_of_the_unary_alone() -> None:
    scores = _scores(3)
    still = _preset("psa", positional_weight=0, bilateral_weight=0, iterations=2)
    energies = [energy for _, energy in Lattice(_photo(), 3, still).steps(unary_of_scores(scores))]
    # Q is the softmax: its free energy is minus the logarithm of the normaliser, here of a sum of 1.
    np.testing.assert_allclose(energies, 0, atol=H * W * 1e-6)


def test_a_lattice_may_refine_between_two_steps() -> None:
    lattice, a, b = Lattice(_photo(), 2, _preset("irn")), *(unary_of_scores(_scores(2)) for _ in range(2))
    expected = [q for q, _ in lattice.steps(a)]
    for (q, _), wanted in zip(lattice.steps(a), expected, strict=True):
        lattice.refine(b)
        np.testing.assert_array_equal(q, wanted)
    steps = list(Lattice(_photo(), 1, _preset("irn", iterations=2)).steps(np.zeros((1, H, W), np.float32)))
    assert [energy for _, energy in steps] == [0, 0, 0] and (steps[0][0] == 1).all()
    with pytest.raises(ValueError, match="lattice"):
        next(lattice.steps(np.zeros((3, H, W), np.float32)))


@pytest.mark.parametrize("labels", [2, 3, 4, 7])
def test_unaries_refined_together_are_those_refined_alone(labels: int) -> None:
    image, unaries = _photo(), [unary_of_scores(_scores(labels)) for _ in range(2)]
    unaries.append(unary_of_labels(RNG.integers(0, labels, (H, W)).astype(np.uint8), labels, 0.7))
    for params in (_preset("irn"), _preset("psa"), _preset("irn", iterations=0)):
        lattice = Lattice(image, labels, params)
        together = refine_together(image, unaries, params)
        assert len(together) == 3
        for q, unary in zip(together, unaries, strict=True):
            assert q.dtype == np.float32 and q.shape == (labels, H, W)
            np.testing.assert_allclose(q.sum(axis=0), 1, atol=1e-5)
            np.testing.assert_allclose(q, lattice.refine(unary), atol=2e-4)


def test_refined_together_with_one_label_without_kernels_or_small() -> None:
    one = refine_together(_photo(), [np.zeros((1, H, W), np.float32)] * 2, CRFParams())
    assert len(one) == 2 and all((q == 1).all() for q in one)
    scores = _scores(3)
    still = _preset("psa", positional_weight=0, bilateral_weight=0)
    np.testing.assert_allclose(
        refine_together(_photo(), [unary_of_scores(scores)], still)[0], scores, atol=1e-5
    )
    unary = unary_of_scores(scores)
    half = refine_together(_photo(), [unary], _preset("irn"), scale=0.5)[0]
    expected = Lattice(_photo(), 3, _preset("irn"), scale=0.5).refine(unary)
    assert np.abs(half - expected).mean() < 0.05, "another grain of the photograph, no other widths"
    with pytest.raises(ValueError, match="unaries"):
        refine_together(_photo(), [np.zeros((2, H, W + 1), np.float32)], CRFParams())


def test_the_benchmark_of_the_crf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.bench.crf._SIZE", (48, 64))
    monkeypatch.setattr("engine.bench.crf._IMAGES", 2)
    told = measure("crf", 1)
    assert set(told) >= {"ratio", "max_difference", "seconds", "reference_seconds", "two_over_one"}
    assert told["max_difference"] < 1e-3 and told["other_labels"] < 0.005
    assert told["pool_seconds"].keys() == {"1", "2"} and min(told["pool_seconds"].values()) > 0
