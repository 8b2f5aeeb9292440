"""The climb itself: analytic cases and invariants of methods_cam 2.8, and parity with the literal formulation."""

from __future__ import annotations

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from engine.bench._literal_climb import literal_climb
from engine.class_maps import Shot
from engine.climb import background_of, climb, levels
from engine.climb_settings import ClimbSettings, steps_at
from engine.maps import cam, channel_weights
from engine.methods.advcam import climb_maps
from engine.methods.cam import Cam, CamViews, Params
from engine.nets.classifier import Classifier
from engine.nets.fold import folded
from engine.nets.prep import Prep
from engine.params import parse

CODE = parse(ClimbSettings, {"preset": "code", "scales": "1"})


class Pixels(nn.Module):
    """A backbone whose features are the pixels themselves."""

    dim, stride, cell_centre = 3, 1, 0.0
    prep = Prep(mean=(0, 0, 0), std=(1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.fixture(scope="module")
def net() -> Classifier:
    torch.manual_seed(3)
    found = Cam(Params(backbone="tiny_cnn", pretrained=False)).build(4).eval()
    with torch.no_grad():
        found.head.weight.normal_(0, 1)
    found.requires_grad_(False)
    return found


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    torch.manual_seed(5)
    coarse = torch.rand(1, 3, 6, 8)
    smooth = nn.functional.interpolate(coarse, (52, 70), mode="bicubic").clamp(0, 1)
    return Prep().normalise(smooth)  # [1, 3, 52, 70]


def linear(*weights: tuple[float, ...]) -> Classifier:
    net = Classifier(Pixels(), len(weights))  # type: ignore[arg-type]
    with torch.no_grad():
        net.head.weight.copy_(torch.tensor(weights)[:, :, None, None])
    return net.eval().requires_grad_(False)


def walk(net, picture, cls=0, settings=CODE, **more):
    return list(climb(net, picture, torch.tensor([cls] * len(picture)), settings, **more))


def test_a_linear_score_rises_by_the_step_times_its_weights() -> None:
    # methods_cam A.3: w = (.5, -1, 2), xi = .08: each step adds xi |w|^2 / max |w| = 0.21.
    net = linear((0.5, -1.0, 2.0))
    picture = torch.full((1, 3, 4, 5), 1.0)
    settings = replace(CODE, steps=5, step=0.08 * 255, lam=0, clip="none")
    scores = [float(s.scores[0, 0]) for s in walk(net, picture, 0, settings)]
    np.testing.assert_allclose(np.diff(scores), 0.21, atol=1e-6)


def test_the_pooled_attribution_is_the_fixtures() -> None:
    # methods_cam A.3: n = (3, 1), K+ = 2 -> (3 cam0 + flip(cam1)) / 8.
    net = linear((1.0, 1.0, -1.0))
    x = torch.zeros(1, 2, 3, 1, 4)
    x[0, 0, 0] = torch.tensor([1.0, 2.0, 3.0, -1.0])  # three cells above 0
    x[0, 1, 1] = torch.tensor([4.0, -1.0, -1.0, -1.0])  # one
    (step,) = walk(net, x[:, 0], 0, replace(CODE, steps=0), start=x)
    expected = (3 * torch.tensor([1.0, 2, 3, 0]) + torch.tensor([0, 0, 0, 4.0])) / 8
    torch.testing.assert_close(step.maps[0, 0], expected)


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("backbone", ["tiny_cnn", "mobilenet_v2"])
def test_it_is_the_literal_formulation(picture, backbone: str, fold: bool) -> None:
    torch.manual_seed(1)
    plain = Cam(Params(backbone=backbone, pretrained=False, norm="trained")).build(8)
    with torch.no_grad():
        plain.head.weight.normal_(0.2, 0.5)
        for _ in range(10):
            plain(torch.cat([picture, picture.flip(-1)]))
    plain.eval()
    settings = replace(CODE, steps=4)
    with torch.no_grad():  # classes of which there is evidence somewhere
        evidence = plain.maps(plain.backbone(picture))[0].clamp(min=0).sum((1, 2))
    classes = evidence.topk(2).indices
    assert evidence[classes].min() > 0
    literal = [literal_climb(plain, picture[0], int(cls), settings) for cls in classes]
    quick = copy.deepcopy(plain).requires_grad_(False)
    if fold:
        quick.backbone = folded(quick.backbone)  # type: ignore[assignment]
    steps = list(climb(quick, picture.expand(2, -1, -1, -1), classes, settings))
    ours = torch.stack([s.maps for s in steps[:-1]]).sum(0)  # [2, h, w]
    theirs = torch.stack([maps.sum(0) for maps, _ in literal])
    peak = theirs.amax((1, 2), keepdim=True)
    assert (peak > 0).all()
    assert float(((ours - theirs) / peak).abs().max()) <= 1e-5
    moved = (steps[-1].x - steps[0].x).abs().max()
    assert float(moved) > 0.05, "it did climb"
    # The last digits of a pixel are chaotic: the step divides by the strongest gradient.
    assert float((steps[-1].x - torch.stack([x for _, x in literal])).abs().mean()) < 1e-3


def test_no_step_is_the_plain_cam(net, picture) -> None:
    features = net.backbone(picture)[:, :, :7, :9]
    plain = cam(features, net.weight_of([1]))[:, 0]
    for settings in (replace(CODE, steps=0), replace(CODE, steps=3, step=0.0)):
        steps = walk(net, picture, 1, replace(settings, flip=False, attribution="mean", clip="none"))
        assert len(steps) == settings.steps + 1
        for step in steps:
            torch.testing.assert_close(step.maps, plain, rtol=1e-4, atol=1e-5)


def test_nothing_is_restricted_at_tau_1_and_the_support_at_tau_0(net, picture) -> None:
    for step in walk(net, picture, 1, replace(CODE, steps=3, tau=1.0)):
        assert not step.mask.any() and float(step.penalties.sum()) == 0
    for step in walk(net, picture, 1, replace(CODE, steps=3, tau=0.0)):
        assert torch.equal(step.mask > 0, step.maps > 0)


def test_a_saliency_background_of_everything_holds_the_map(net, picture) -> None:
    steps = walk(net, picture, 1, replace(CODE, steps=0))
    everywhere = torch.ones_like(steps[0].maps, dtype=torch.bool)
    settings = replace(CODE, steps=8, tau=1.0, step=1.0)
    free = walk(net, picture, 1, settings)[-1]
    held = walk(net, picture, 1, replace(settings, lam=1e4), background=everywhere)[-1]
    start = steps[0].maps
    assert float((held.maps - start).abs().sum()) < 0.3 * float((free.maps - start).abs().sum())
    assert (held.mask == 2).all() and float(held.penalties[0, 0]) == 0 and float(held.penalties[0, 1]) > 0


@pytest.mark.parametrize("clip", ["start", "previous"])
@pytest.mark.parametrize("joint", [True, False])
def test_the_picture_never_leaves_its_first_range(net, picture, clip: str, joint: bool) -> None:
    steps = walk(net, picture, 1, replace(CODE, steps=6, step=20.0, clip=clip, joint=joint))
    low, high = float(picture.min()), float(picture.max())
    for step in steps:
        assert float(step.x.min()) >= low - 1e-6 and float(step.x.max()) <= high + 1e-6
    assert float((steps[-1].x - steps[0].x).abs().max()) > 0.3


def test_pixels_stay_pixels(net, picture) -> None:
    last = walk(net, picture, 1, replace(CODE, steps=6, step=60.0, clip="pixels"))[-1]
    prep = net.backbone.prep
    black, white = (prep.normalise(torch.full((3, 1, 1), v)) for v in (0.0, 1.0))
    assert (last.x >= black - 1e-5).all() and (last.x <= white + 1e-5).all()


def test_a_step_moves_the_strongest_pixel_by_its_grey_levels(net, picture) -> None:
    for joint in (True, False):
        steps = walk(net, picture, 1, replace(CODE, steps=1, step=1.5, clip="none", joint=joint))
        moved = levels(net, steps[1].x, picture).abs()
        # Said in mean units of the three channels, as the released code's step is.
        each = moved / (torch.tensor(net.backbone.prep.std) / (sum(net.backbone.prep.std) / 3)).view(3, 1, 1)
        strongest = each.amax((2, 3, 4))[0]
        assert float(strongest.max()) == pytest.approx(1.5, rel=1e-4)
        if not joint:
            np.testing.assert_allclose(strongest, 1.5, rtol=1e-4)


@pytest.mark.parametrize("attribution", ["mean", "pooled"])
def test_swapped_mirrors_give_mirrored_results(net, attribution: str) -> None:
    torch.manual_seed(8)
    # 4k + 1 wide, so that the cells of the mirror image are the mirrored cells.
    picture = torch.rand(1, 3, 33, 65)
    settings = replace(CODE, steps=3, attribution=attribution)
    one = walk(net, picture, 2, settings)
    other = walk(net, picture.flip(-1), 2, settings)
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a.x, b.x.flip(1), atol=1e-5, rtol=0)
        torch.testing.assert_close(a.maps, b.maps.flip(-1), atol=1e-5, rtol=1e-4)


def test_together_is_one_by_one(net, picture) -> None:
    settings = ClimbSettings(steps=3)
    pictures = torch.cat([picture, picture.flip(2)])
    both = list(climb(net, pictures, torch.tensor([1, 2]), settings))
    for n, cls in enumerate((1, 2)):
        alone = walk(net, pictures[n : n + 1], cls, settings)
        for a, b in zip(both, alone, strict=True):
            torch.testing.assert_close(a.maps[n], b.maps[0], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(a.scores[n], b.scores[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [ClimbSettings(), CODE, parse(ClimbSettings, {"preset": "paper"})])
def test_going_on_is_never_having_stopped(net, picture, settings) -> None:
    settings = replace(settings, steps=5, clip="start" if settings.clip == "previous" else settings.clip)
    whole = walk(net, picture, 1, settings)
    begun = walk(net, picture, 1, replace(settings, steps=2))
    on = walk(
        net, picture, 1, replace(settings, steps=3),
        start=begun[-1].x, reference=begun[0].maps, first=2,
    )  # fmt: skip
    assert [s.t for s in on] == [2, 3, 4, 5]
    torch.testing.assert_close(on[-1].maps, whole[-1].maps)
    torch.testing.assert_close(on[-1].x, whole[-1].x)


@pytest.mark.parametrize("preset", ["paper", "code", "engine"])
def test_every_preset_raises_its_aim(net, picture, preset: str) -> None:
    settings = parse(ClimbSettings, {"preset": preset, "steps": "6", "lam": "0", "others": "0"})
    if preset == "paper":
        settings = replace(settings, step=50.0)  # the raw gradient of this small network is tiny
    scores = [float(s.scores[0, 1]) for s in walk(net, picture, 1, settings)]
    assert scores[-1] > scores[0] and np.isfinite(scores).all()


def test_other_classes_are_held_down(net, picture) -> None:
    free, held = (
        walk(net, picture, 1, replace(CODE, steps=8, step=1.0, lam=0, others=weight))[-1].scores[0]
        for weight in (0.0, 3.0)
    )
    other = torch.tensor([0, 2, 3])
    assert float(held[other].sum()) < float(free[other].sum())


def test_the_penalty_keeps_the_peak_where_it_was(net, picture) -> None:
    free, held = (
        walk(net, picture, 1, replace(CODE, steps=8, step=1.0, lam=lam, penalty_over="mean"))
        for lam in (0.0, 7.0)
    )
    grown = [float(s[-1].maps.max() / s[0].maps.max()) for s in (free, held)]
    assert abs(grown[1] - 1) < abs(grown[0] - 1)


def test_the_first_map_tells_the_background(net, picture) -> None:
    settings = replace(CODE, steps=8, step=1.0, lam=10.0, tau=1.0, others=0.0, penalty_over="mean")
    held = walk(net, picture, 1, replace(settings, background_below=0.3))
    first = held[0].maps
    outside = first < 0.3 * first.max()
    assert outside.any() and not outside.all()
    for step in held:
        assert torch.equal(step.mask, 2 * outside.to(torch.uint8)), "R^0 tells it once and for all"
        assert float(step.penalties[0, 0]) == 0
        expected = 10 * float(((step.maps - first).abs() * outside).mean())
        assert float(step.penalties[0, 1]) == pytest.approx(expected, rel=1e-5)
    told = walk(net, picture, 1, settings, background=outside)
    torch.testing.assert_close(held[-1].x, told[-1].x)  # as if a saliency mask had told it
    free = walk(net, picture, 1, replace(settings, lam=0.0))
    grown = [float((s[-1].maps[outside] - first[outside]).sum()) for s in (held, free)]
    assert grown[0] < grown[1]
    seen = replace(settings, background_below=0.3)
    (other,) = walk(net, picture, 1, replace(seen, steps=0), background=~outside)
    assert torch.equal(other.mask, 2 * (~outside).to(torch.uint8)), "a saliency mask is believed before it"
    (none,) = walk(net, picture, 1, replace(seen, steps=0), background=torch.zeros_like(outside))
    assert torch.equal(none.mask, 2 * outside.to(torch.uint8)), "one that shows no background tells nothing"


def test_plus_plus_is_the_gradient_form(net, picture) -> None:
    (step,) = walk(net, picture, 2, replace(CODE, steps=0, kind="gradcam++", flip=False, attribution="mean"))
    features = net.backbone(picture)[:, :, :7, :9]
    weights = channel_weights(features, net.scores, [2], "gradcam++")
    torch.testing.assert_close(step.maps, cam(features, weights)[:, 0], rtol=1e-4, atol=1e-6)
    grown = walk(net, picture, 2, replace(CODE, steps=4, kind="gradcam++"))
    assert not torch.equal(grown[0].maps, grown[-1].maps)


def test_the_saliency_is_the_gradient_of_the_score(net, picture) -> None:
    (step,) = walk(net, picture, 1, replace(CODE, steps=0, flip=False), want_saliency=True)
    x = picture.clone().requires_grad_()
    net.maps(net.backbone(x)[:, :, :7, :9])[:, 1].relu().mean((1, 2)).sum().backward()
    expected = x.grad.abs().amax(1)
    torch.testing.assert_close(step.saliency(), expected / expected.max())
    for settings in (replace(CODE, steps=2), replace(CODE, steps=2, others=0.0)):
        without = walk(net, picture, 1, settings)
        assert without[-1].saliency is None
        asked = []
        for step in climb(net, picture, torch.tensor([1]), settings, want_saliency=True):
            asked.append(step.saliency())
        assert len(asked) == 3
        # Without other classes the first step's saliency is the way it climbs, found once.
        torch.testing.assert_close(without[-1].x, step.x)


def test_a_picture_without_evidence_does_not_divide_by_0() -> None:
    net = linear((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    for settings in (ClimbSettings(steps=3), replace(CODE, steps=3)):
        blank = torch.zeros(1, 3, 4, 4)
        for step in climb(net, blank, torch.tensor([0]), settings, want_saliency=True):
            for value in (step.maps, step.x, step.penalties, step.saliency()):
                assert torch.isfinite(value).all()


def test_the_next_picture_is_computed_only_when_asked_for(picture) -> None:
    seen = []

    class Counting(Pixels):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(len(x))
            return x

    net = linear((1.0, 1.0, 1.0))
    net.backbone = Counting()  # type: ignore[assignment]
    steps = climb(net, picture, torch.tensor([0]), replace(CODE, steps=9))
    next(steps)
    next(steps)
    assert seen == [2, 2], "one pass a step, image and mirror image together"
    steps.close()


def test_the_official_steps_of_the_smallest_scale() -> None:
    # methods_cam 2.3-3.
    settings = parse(ClimbSettings, {"preset": "code"})
    assert [steps_at(settings, s) for s in (0.5, 1.0, 2.0)] == [13, 27, 27]
    assert [steps_at(replace(settings, steps=n), 0.5) for n in (3, 5, 6, 10, 11, 12)] == [3, 5, 5, 5, 5, 6]
    assert steps_at(replace(settings, scale_steps="equal"), 0.5) == 27


def test_the_released_step_is_4_6_grey_levels() -> None:
    code = parse(ClimbSettings, {"preset": "code"})
    assert code.step == pytest.approx(4.6, abs=0.02)
    mean_deviation = sum(Prep().std) / 3
    assert code.step / 255 / mean_deviation == pytest.approx(0.08, rel=1e-3)


# --- final maps of images ---------------------------------------------------------------------------


def shot(seed: int = 0, tags=(1, 0, 1, -1), size=(52, 70)) -> Shot:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (size[0] // 8 + 1, size[1] // 8 + 1, 3)).astype(np.uint8)
    pixels = np.kron(small, np.ones((8, 8, 1), np.uint8))[: size[0], : size[1]]
    return Shot(f"s{seed}", pixels, np.array(tags, np.int8))


@pytest.mark.parametrize("alignment", ["centred", "official"])
@pytest.mark.parametrize("scales", [(1.0,), (1.0, 0.5)])
def test_without_a_step_the_final_map_is_the_cam(net, alignment: str, scales: tuple[float, ...]) -> None:
    settings = ClimbSettings(steps=0, scales=scales, alignment=alignment, scale_weight="equal")
    (_, stack, rows), = climb_maps(net, [shot()], settings)  # fmt: skip
    method = Cam(Params(backbone="tiny_cnn", pretrained=False))
    with torch.no_grad():
        plain = dict(method.infer(net, [shot()], CamViews(scales=scales, alignment=alignment)))["s0"]
    assert stack.classes == plain.classes == (0, 2) and stack.origin == plain.origin
    np.testing.assert_allclose(stack.maps.astype(float), plain.maps.astype(float), atol=2e-3)
    np.testing.assert_allclose(stack.scores, plain.scores, atol=1e-5)
    assert [r.cls for r in rows] == [0, 2] and all(len(r.rows) == 1 for r in rows)


@pytest.mark.parametrize(("weight", "by"), [("area", 4), ("side", 2), ("equal", 1)])
def test_scales_weigh_as_chosen_and_the_largest_are_not_climbed(net, weight: str, by: int) -> None:
    maps_of = {}
    alone = {"steps": 1, "scale_weight": "equal"}
    for name, settings in {
        "1": ClimbSettings(scales=(1.0,), **alone),
        "half": ClimbSettings(scales=(0.5,), **alone),
        "double": ClimbSettings(scales=(2.0,), steps=0, scale_weight="equal"),
        "all": ClimbSettings(scales=(1.0, 0.5, 2.0), steps=1, scale_weight=weight),
    }.items():
        ((_, stack, _),) = climb_maps(net, [shot()], settings)
        maps_of[name] = stack.maps.astype(float) * stack.peaks[:, None, None]
    wanted = maps_of["1"] + by * maps_of["half"] + maps_of["double"] / by
    np.testing.assert_allclose(maps_of["all"], wanted, rtol=5e-3, atol=5e-3 * wanted.max())


def test_final_maps_are_the_sum_or_the_last(net) -> None:
    for count_last, aggregate in ((True, "sum"), (False, "sum"), (True, "last")):
        settings = ClimbSettings(
            steps=3, scales=(1.0,), flip=False, cell=1, count_last=count_last, aggregate=aggregate
        )
        (_, stack, (first, _)), = climb_maps(net, [shot()], settings)  # fmt: skip
        kept = np.stack([r["maps"].astype(np.float32) for r in first.rows])
        assert len(kept) == (4 if count_last else 3), "a step that nobody counts is not taken"
        wanted = kept[-1] if aggregate == "last" else kept.sum(0)
        stride = int(first.cell)
        found = stack.maps[0, ::stride, ::stride].astype(np.float32)
        np.testing.assert_allclose(found, wanted / wanted.max(), atol=4e-3)


def test_images_of_one_size_are_climbed_like_each_alone(net) -> None:
    shots = [shot(0), shot(1, (0, 1, 0, 0)), shot(2, (0, 0, 0, 0))]
    together = {s: (stack, rows) for s, stack, rows in climb_maps(net, shots, ClimbSettings(steps=2))}
    for one in shots:
        (_, stack, rows), = climb_maps(net, [one], ClimbSettings(steps=2))  # fmt: skip
        other, rows_too = together[one.stem]
        assert stack.classes == other.classes and len(rows) == len(rows_too)
        np.testing.assert_allclose(stack.maps.astype(float), other.maps.astype(float), atol=4e-3)
    assert together["s2"][0].classes == ()


def test_a_plateau_ends_each_climb_by_itself(net) -> None:
    (_, _, rows), = climb_maps(net, [shot()], ClimbSettings(steps=40, step=0.5, plateau=0.01))  # fmt: skip
    assert all(r.ending == "plateau" for r in rows) and len({len(r.rows) for r in rows}) >= 1
    assert all(2 <= len(r.rows) < 41 for r in rows)
    (_, _, rows), = climb_maps(net, [shot()], ClimbSettings(steps=3, plateau=0.0))  # fmt: skip
    assert all(r.ending == "finished" and len(r.rows) == 4 for r in rows)


def test_pictures_are_kept_when_asked_for(net) -> None:
    (_, _, (first, _)), = climb_maps(net, [shot()], ClimbSettings(steps=2, keep="pictures"))  # fmt: skip
    pictures = np.stack([r["pictures"] for r in first.rows])
    assert pictures.shape == (3, 2, 3, 52, 70) and pictures.dtype == np.float16
    assert not pictures[0].any() and 0.5 < np.abs(pictures[1].astype(float)).max() < 2
    assert first.rows[0]["saliency"].max() == 255
    (_, _, (first, _)), = climb_maps(net, [shot()], ClimbSettings(steps=1, keep="maps"))  # fmt: skip
    assert set(first.rows[0]) == {"maps", "masks", "scores", "penalties"}


def test_saliency_lies_on_the_cells_it_covers() -> None:
    net = SimpleNamespace(backbone=SimpleNamespace(stride=16, cell_centre=0.0))
    salient = np.zeros((65, 97), bool)
    salient[24:40, 40:56] = True  # the square around pixel (32, 48): cell (2, 3)
    outside = background_of(net, salient, (65, 97), (5, 7))
    assert (~outside).nonzero().tolist() == [[2, 3]]
    patches = SimpleNamespace(backbone=SimpleNamespace(stride=16, cell_centre=7.5))
    salient = np.zeros((64, 96), bool)
    salient[16:32, 48:64] = True
    assert (~background_of(patches, salient, (64, 96), (4, 6))).nonzero().tolist() == [[1, 3]]


def test_saliency_holds_the_map_outside_of_objects(net) -> None:
    one = shot()
    salient = np.zeros((52, 70), bool)
    salient[:, :35] = True
    settings = ClimbSettings(steps=6, lam=50.0, background_below=0.0, others=1.0, cell=1)
    results = []
    for given in ({}, {"s0": salient}):
        (_, _, (first, _)), = climb_maps(net, [one], settings, salient=given)  # fmt: skip
        maps = np.stack([r["maps"].astype(np.float32) for r in first.rows])
        results.append(np.abs(maps[-1] - maps[0])[:, maps.shape[2] // 2 + 1 :].sum())
        assert any((r["masks"] & 2).any() for r in first.rows) == bool(given)
    assert results[1] < 0.5 * results[0]
