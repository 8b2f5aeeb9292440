"""AMN's loss against literal sums, what its network is told, and how its probabilities become maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.atomic import write_json
from engine.class_maps import Shot
from engine.errors import UserError
from engine.losses import pixels
from engine.messages import Failed, Finished, Infer, Said, Train
from engine.method import Batch, Clock
from engine.methods.amn import AMN, Params, Views
from engine.nets.conditioned import ConditionedNet
from engine.params import parse
from engine.results import CamStack
from engine.run import run
from engine.store import Project, run_of, source_of
from engine.store.runs import new_run

SMALL = {"backbone": "tiny_cnn", "pretrained": False}
TAGS = torch.tensor([[1, 0, 1], [0, 1, -1], [1, -1, -1]], dtype=torch.int8)


def make(**settings: Any) -> tuple[AMN, ConditionedNet]:
    method = AMN(parse(Params, {**SMALL, **settings}))
    torch.manual_seed(5)
    net = method.build(3)
    for branch in net.branches:
        branch.weight.data *= 30  # scores that differ
    return method, net


def masks(seed: int = 0) -> Tensor:
    """Labels [3, 8, 8] uint8 of background, unsure pixels and classes that each image's tags call present."""
    rng = np.random.default_rng(seed)
    choices = [[0, 0, 0, 1, 3, 255], [0, 0, 2, 255], [0, 0, 0, 0, 1]]
    return torch.from_numpy(np.stack([rng.choice(c, (8, 8)) for c in choices]).astype(np.uint8))


def batch() -> Batch:
    torch.manual_seed(1)
    labels = F.interpolate(masks()[:, None].float(), scale_factor=8)[:, 0].to(torch.uint8)
    counts = torch.tensor([[3.0, 1, 0], [1, 3, 0]])
    return Batch(torch.randn(3, 3, 64, 64), TAGS, ("a", "b", "c"), 6, 3, 1, counts, labels)


def literal(scores: Tensor, labels: Tensor, targets: Tensor, smoothing: float) -> list[list[float]]:
    """The entropies of background and of foreground pixels, one pixel at a time."""
    found: list[list[float]] = [[], []]
    for b in range(len(labels)):
        counted = [0] + [n + 1 for n in range(3) if targets[b, n] >= 0 or (labels[b] == n + 1).any()]
        for y, x in np.ndindex(*labels.shape[1:]):
            label = int(labels[b, y, x])
            if label == 255:
                continue
            logs = dict(zip(counted, scores[b, counted, y, x].double().log_softmax(0).tolist(), strict=True))
            total = 0.0
            for n in counted:
                wanted = 1 - smoothing if n == label else smoothing / (len(counted) - 1)
                total -= wanted * logs[n]
            found[label > 0].append(total)
    return found


def test_the_loss_is_the_literal_sum() -> None:
    torch.manual_seed(0)
    scores, labels = 3 * torch.randn(3, 4, 8, 8), masks()
    background, foreground, share = pixels(scores, labels, TAGS, smoothing=0.4)
    behind, before = literal(scores, labels, TAGS, 0.4)
    assert float(background) == pytest.approx(np.mean(behind), rel=1e-5)
    assert float(foreground) == pytest.approx(np.mean(before), rel=1e-5)
    assert float(share) == pytest.approx(len(before) / len(behind + before))
    assert len(before) < len(behind), "the two means differ in what they are taken over"


def test_with_every_tag_known_and_no_balance_it_is_the_usual_cross_entropy() -> None:
    torch.manual_seed(0)
    scores, labels = torch.randn(3, 4, 8, 8), masks()
    background, foreground, share = pixels(scores, labels, TAGS.clamp(min=0), smoothing=0.3)
    # torch spreads its share over all four classes, the label's own among them.
    usual = F.cross_entropy(scores, labels.long(), ignore_index=255, label_smoothing=0.3 * 4 / 3)
    assert float((1 - share) * background + share * foreground) == pytest.approx(float(usual), rel=1e-5)


def test_two_ranks_take_the_step_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    scores, labels = torch.randn(3, 4, 8, 8), masks()
    whole = pixels(scores, labels, TAGS, smoothing=0.4)
    counts = [torch.tensor([[int((m == 0).sum()), int(((m > 0) & (m < 255)).sum())]]) for m in (labels[:1], labels[1:])]  # fmt: skip
    monkeypatch.setattr("engine.losses.gathered", lambda parts: [torch.cat(counts)])
    ranks = [
        pixels(scores[of], labels[of], TAGS[of], smoothing=0.4, world=2) for of in (slice(0, 1), slice(1, 3))
    ]
    for n in range(2):
        assert float((ranks[0][n] + ranks[1][n]) / 2) == pytest.approx(float(whole[n]), rel=1e-6)
    assert ranks[0][2] == ranks[1][2] == whole[2]


@pytest.mark.parametrize("label", [0, 1, 255])
def test_crops_of_one_kind_give_numbers(label: int) -> None:
    scores = torch.randn(3, 4, 8, 8, requires_grad=True)
    targets = torch.ones(3, 3, dtype=torch.int8)
    found = pixels(scores, torch.full((3, 8, 8), label, dtype=torch.uint8), targets, smoothing=0.4)
    sum(found[:2]).backward()
    assert scores.grad is not None and torch.isfinite(scores.grad).all()
    assert [float(v.detach()) > 0 for v in found] == [label == 0, label == 1, label == 1]
    assert bool(scores.grad.any()) == (label != 255)


def test_a_class_that_is_not_known_is_not_pushed_down() -> None:
    labels = masks()
    scores = torch.randn(3, 4, 8, 8, requires_grad=True)
    sum(pixels(scores, labels, TAGS, smoothing=0.4)[:2]).backward()
    assert not scores.grad[1, 3].any() and not scores.grad[2, 2:].any(), "unknown: exactly 0"
    assert scores.grad[0, 2].any() and scores.grad[1, 1].any(), "absent: pushed down"
    # A person may have drawn what no tag says.
    labels[2, 0, 0] = 3
    scores.grad = None
    sum(pixels(scores, labels, TAGS, smoothing=0.4)[:2]).backward()
    assert scores.grad[2, 3].any() and not scores.grad[2, 2].any()


def test_with_nothing_known_the_background_is_no_loss() -> None:
    scores = torch.randn(1, 4, 8, 8, requires_grad=True)
    unknown = torch.full((1, 3), -1, dtype=torch.int8)
    found = pixels(scores, torch.zeros(1, 8, 8, dtype=torch.uint8), unknown, smoothing=0.4)
    sum(found[:2]).backward()
    assert float(found[0].detach()) == 0 and not scores.grad.any()


def test_the_network_is_told_what_is_present_and_how_likely_the_unknown_is() -> None:
    method, net = make()
    method.training_step(net, batch(), Clock(0, 10, 0))
    assert net.share.tolist() == [0.75, 0.25, 0.5], "where no tag is known it is even"
    assert net.said(TAGS).tolist() == [[1, 0, 1], [0, 1, 0.5], [1, 0.25, 0.5]]


def test_it_starts_as_a_plain_segmenter_and_learns_to_listen() -> None:
    method, net = make(dropout=0.0)
    _, plain = make(dropout=0.0, condition=False)
    plain.backbone.load_state_dict(net.backbone.state_dict())
    plain.branches.load_state_dict(net.branches.state_dict())
    images, said = batch().images, net.said(TAGS)
    assert torch.equal(net.eval()(images, said), plain.eval()(images, said))
    assert torch.equal(plain(images, said), plain(images, 1 - said)), "without the layer tags are not heard"
    method.training_step(net.train(), batch(), Clock(0, 10, 0))["foreground"].backward()
    assert net.condition.weight.grad.any() and net.condition.bias.grad.any()
    with torch.no_grad():
        net.condition.weight -= net.condition.weight.grad
    present, absent, unknown = (
        net.eval()(images[:1], net.said(torch.tensor([[1, 0, state]], dtype=torch.int8)))
        for state in (1, 0, -1)
    )
    assert not torch.allclose(absent, unknown, atol=1e-6) and not torch.allclose(present, unknown, atol=1e-6)
    assert torch.allclose((absent + present) / 2, unknown, atol=1e-5), "half as likely, half as much said"


def test_dropout_only_while_training() -> None:
    _, net = make(dropout=0.5)
    images, said = batch().images, net.said(TAGS)
    assert torch.equal(net.eval()(images, said), net(images, said))
    assert not torch.equal(net.train()(images, said), net(images, said))


def drawn(net: ConditionedNet, method: AMN, these: list[Shot], **views: Any) -> list[CamStack]:
    with torch.no_grad():
        found = method.infer(net.eval(), these, parse(Views, {"scales": (1.0,), "flip": False, **views}))
        return [stack for _, stack in found]


def shots(labels: bool = False) -> list[Shot]:
    rng = np.random.default_rng(0)
    found = []
    for n, tags in enumerate(([1, 0, 1], [0, 1, -1], [0, 0, 0])):
        label = np.zeros((40, 56), np.uint8)
        label[8:24, 12:40] = 1
        label[30:] = 255
        picture = rng.integers(0, 255, (40, 56, 3)).astype(np.uint8)
        found.append(Shot(f"s{n}", picture, np.array(tags, np.int8), label if labels else None))
    return found


def test_left_as_they_are_maps_are_the_softmax_of_the_scores() -> None:
    method, net = make()
    these = shots()
    found = drawn(net, method, these, stretch="none")
    pictures = torch.from_numpy(np.stack([s.pixels for s in these])).permute(0, 3, 1, 2)
    with torch.no_grad():
        scores = net(net.backbone.prep.normalise(pictures.float() / 255), net.said(torch.tensor([[1, 0, 1], [0, 1, -1], [0, 0, 0]], dtype=torch.int8)))  # fmt: skip
    expected = scores[0].softmax(0).numpy()  # [4, 10, 14]
    np.testing.assert_allclose(found[0].maps, expected[[1, 3]], atol=2e-3)
    np.testing.assert_allclose(found[0].background, expected[0], atol=2e-3)
    np.testing.assert_allclose(found[0].scores, expected[1:].max((1, 2)), atol=1e-5)
    assert found[1].scores[2] == 0, "what is not known stands outside"
    np.testing.assert_allclose(found[1].maps, scores[1, :3].softmax(0).numpy()[[2]], atol=2e-3)
    assert found[2].classes == () and found[2].maps.shape == (0, 10, 14) and found[2].background is not None


def test_scales_and_the_mirror_image_are_averaged_before_the_softmax() -> None:
    method, net = make()
    (shot,) = shots()[:1]
    mirror = Shot("m", shot.pixels[:, ::-1].copy(), shot.tags)
    both = drawn(net, method, [shot], stretch="none", flip=True)[0]
    parts = []
    for one in (shot, mirror):
        picture = torch.from_numpy(one.pixels).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            parts.append(
                net(
                    net.backbone.prep.normalise(picture),
                    net.said(torch.from_numpy(one.tags)[None]),
                )[0]
            )
    # The mirror image of pixel x is W - 1 - x: its cells lie between those of the image, a quarter of the way.
    other = parts[1].flip(2)
    shifted = other.clone()
    shifted[:, :, 1:] = 0.25 * other[:, :, 1:] + 0.75 * other[:, :, :-1]
    expected = ((parts[0] + shifted) / 2).softmax(0).numpy()
    np.testing.assert_allclose(both.maps[:, :, 1:], expected[[1, 3]][:, :, 1:], atol=2e-3)


def test_stretched_by_class_or_where_the_label_is_no_background() -> None:
    method, net = make()
    raw = drawn(net, method, shots(), stretch="none")[0]
    wide = drawn(net, method, shots())[0]
    assert wide.background is None
    for n in range(2):
        low, high = raw.maps[n].min(), raw.maps[n].max()
        assert high - low > 0.05, "a map with something to stretch"
        np.testing.assert_allclose(wide.maps[n], (raw.maps[n] - low) / (high - low), atol=0.02)
        assert wide.maps[n].min() == 0 and wide.maps[n].max() == 1
        assert wide.peaks[n] == pytest.approx(float(high), abs=1e-3)
    label = shots(labels=True)[0].label[::4, ::4]
    mixed = drawn(net, method, shots(labels=True), stretch="label")[0]
    for n in range(2):
        np.testing.assert_array_equal(mixed.maps[n][label == 0], raw.maps[n][label == 0])
        np.testing.assert_array_equal(mixed.maps[n][label != 0], wide.maps[n][label != 0])
    with pytest.raises(UserError, match="stretch=label"):
        drawn(net, method, shots(), stretch="label")


def test_a_flat_probability_is_no_map() -> None:
    method, net = make()
    for branch in net.branches:
        branch.weight.data.zero_()
    found = drawn(net, method, shots())[0]
    assert not found.maps.any() and found.peaks == pytest.approx(0.25)


def coloured(project: Project) -> None:
    """Give a project a run `seed` with maps that are bright where an image has its class's colour."""
    views = new_run(project.root, "seed", "cam", {"method": "cam", "status": "finished"}).views()
    for stem in project.usable:
        picture = project.read(stem).pixels.astype(np.float32)
        classes = project.tags().present(stem)
        # Colours of red, green and blue stand out in the channel of theirs.
        heat = np.stack([picture[:, :, c] - picture.mean(2) for c in classes]).clip(0, None)
        heat = (heat / heat.max((1, 2), keepdims=True)).astype(np.float16)
        size = (int(picture.shape[0]), int(picture.shape[1]))
        ones, scores = np.ones(len(classes), np.float32), np.zeros(3, np.float32)
        CamStack(stem, size, classes, heat, ones, 1.0, 0.0, scores).save(views.path(stem))
    write_json(views.folder / "views.json", {"method": "cam", "kinds": ["cams"]})


def test_it_learns_from_another_runs_maps_and_draws_any_image(small_project: Project) -> None:
    coloured(small_project)
    where = {"project": str(small_project.root), "threads": 1}
    plan = {"epochs": 30, "batch": 4, "crop": 48, "zoom_low": 1.0, "zoom_high": 1.0, "rate": 3e-3}
    missing = list(run(Train(method="amn", settings={**SMALL, **plan}, **where)))[-1]
    assert isinstance(missing, Failed) and "seeds=RUN" in missing.message
    settings = {**SMALL, **plan, "seeds": "seed"}
    ending = list(run(Train(method="amn", run="amn", split="train", settings=settings, **where)))[-1]
    assert isinstance(ending, Finished) and "map" not in ending.result["metrics"], ending
    assert not run_of(small_project.root, "amn").is_network, "it draws maps of its own"
    assert isinstance(list(run(Infer(run="amn", **where)))[-1], Finished)
    inside, outside = [], []
    for stem in small_project.usable:
        found = CamStack.load(source_of(small_project.root, "amn").path(stem)).full()
        seed = CamStack.load(source_of(small_project.root, "seed").path(stem)).full() > 0.5
        inside += [m[s].mean() for m, s in zip(found, seed, strict=True)]
        outside += [m[~s].mean() for m, s in zip(found, seed, strict=True)]
    assert np.mean(inside) > np.mean(outside) + 0.2, (np.mean(inside), np.mean(outside))
    # The released code's stretching needs the label that was learnt from, which the other split lacks.
    code = {"stretch": "label", "scales": (1.0,)}
    events = list(run(Infer(run="amn", views="code", settings=code, **where)))
    assert isinstance(events[-1], Finished) and events[-1].result["images"] == 4
    assert events[-1].result["passed_over"] == list(small_project.stems("val"))
    assert any("no confident label" in e.text for e in events if isinstance(e, Said))
