"""CPAL's training step against literal formulations, its reductions, and its bank at work."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional as F

from engine.class_maps import Shot
from engine.errors import UserError
from engine.method import Batch, Clock
from engine.methods import method_class
from engine.methods.cpal import Cpal, Params, Views, _inside
from engine.nets.prototype_net import PrototypeNet
from engine.params import parse
from engine.prototypes import nearest, prototype_maps, soft_weights
from engine.results import image_key

SMALL = {"backbone": "tiny_cnn", "pretrained": False, "dim": 24, "length": 40, "clusters": 6, "neighbours": 3}
TARGETS = torch.tensor([[1, 0, 1], [0, 1, -1], [0, 0, 1], [0, 0, 0]], dtype=torch.int8)


def make(**settings: Any) -> tuple[Cpal, PrototypeNet]:
    method = Cpal(parse(Params, {**SMALL, **settings}))
    torch.manual_seed(3)
    net = method.build(3)
    # Maps that differ, and every one with a peak.
    net.head.weight.data = torch.randn(net.head.weight.shape).abs()
    return method, net


def batch(seed: int = 0, targets: Tensor = TARGETS, stems: tuple[str, ...] = ("a", "b", "c", "d")) -> Batch:
    torch.manual_seed(seed)
    images = torch.randn(len(stems), 3, 64, 64)
    named = int((targets == 1).any(1).sum())
    return Batch(images, targets, stems, int((targets >= 0).sum()), named, 1, torch.ones(2, 3))


def filled(net: PrototypeNet, seed: int = 1) -> None:
    """Give every class six prototypes and a bank that has them as rows."""
    torch.manual_seed(seed)
    bank = net.bank
    bank.rows[:, :6] = torch.randn(3, 6, bank.rows.shape[2]).half()
    bank.pushes.fill_(6)
    bank.index.fill_(6)
    bank.mean.normal_(std=0.1)
    for cls in range(3):
        bank.cluster(cls, 0)


def test_switched_off_it_is_plain_cam_training() -> None:
    method, net = make(bank="off")
    cls = method_class("cam")
    cam = cls(parse(cls.Params, {"backbone": "tiny_cnn", "pretrained": False}))
    torch.manual_seed(3)
    plain = cam.build(3)
    plain.backbone.load_state_dict(net.backbone.state_dict())
    plain.head.load_state_dict(net.head.state_dict())
    for m, n in ((method, net), (cam, plain)):
        losses = m.training_step(n, batch(), Clock(0, 10, 0))
        assert list(losses) == ["tags"]
        losses["tags"].backward()
    for a, b in zip(net.head.parameters(), plain.head.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)
    mine = dict(net.backbone.named_parameters())
    for name, other in plain.backbone.named_parameters():
        assert torch.equal(mine[name].grad, other.grad), name
    assert all(p.grad is None for p in net.embedding.parameters())


def literal_step(method: Cpal, net: PrototypeNet, given: Batch) -> Tensor:
    """The self-supervised loss with the image's own prototypes, one class and image at a time."""
    features, z = net.both(given.images)
    logits = net.maps(features)
    total, (h, w) = torch.zeros(()), features.shape[2:]
    for b in range(len(given.stems)):
        plain, aware = torch.zeros(3, h, w), torch.zeros(3, h, w)
        for n in range(3):
            found = logits[b, n].relu()
            if given.targets[b, n] != 1 or not float(found.max()):
                continue
            plain[n] = found / (found.max() + 1e-5)
            seed = plain[n].detach() > method.params.tau
            own = z[b][:, seed].mean(1)
            cos = F.cosine_similarity(z[b], own[:, None, None], dim=0).relu()
            aware[n] = cos / (cos.max() + 1e-5)
        if not (given.targets[b] == 1).any():
            continue
        both = [torch.cat([1 - m.amax(0, keepdim=True), m]) for m in (plain, aware)]
        total = total + (both[0] - both[1]).abs().mean()
    return total / given.named


def test_with_image_prototypes_alone_it_is_the_literal_step() -> None:
    method, net = make(bank="image")
    losses = method.training_step(net, batch(), Clock(0, 10, 0))
    expected = literal_step(method, net, batch())
    assert float(losses["self"].detach()) == pytest.approx(float(expected.detach()), abs=1e-6)
    assert float(expected.detach()) > 0.01
    losses["self"].backward()
    assert float(net.head.weight.grad.abs().sum()) > 0, "the CAM is moved"
    assert sum(float(p.grad.abs().sum()) for p in net.embedding.parameters()) > 0, "and the embedding"
    method.after_step(net, Clock(0, 10, 0))
    assert not net.bank.pushes.any(), "no bank is kept"


def test_the_map_of_the_bank_is_the_printed_sum() -> None:
    method, net = make(shift="ema")
    filled(net)
    net.of_instance.weight.data += 0.1 * torch.randn(24, 24)
    given = batch()
    with torch.no_grad():
        features, z = net.both(given.images)
        found = net.maps(features)[0, 2].relu()
        plain = found / (found.max() + 1e-5)
        own = z[0][:, plain > 0.2].mean(1)
        delta = net.bank.rows[2, :6].float().mean(0) - net.bank.mean[2]
        moved, instance = z[0] + delta[:, None, None], own + delta
        likeness = F.cosine_similarity(instance[None], net.bank.prototypes[2], dim=1)
        order = likeness.argsort(descending=True)[:3]
        p = F.normalize(net.bank.prototypes[2, order], dim=1)
        logits = (net.of_instance(F.normalize(instance, dim=0)) * net.of_prototype(p)).sum(1) / 0.1
        cos = torch.stack([F.cosine_similarity(moved, q[:, None, None], dim=0) for q in p])
        expected = (logits.softmax(0)[:, None, None] * cos).sum(0).relu()
        expected = expected / (expected.max() + 1e-5)
        drawn = method._look(net.eval(), features, z, [0, 2], "pacam")[0, 1]
    assert torch.allclose(drawn, expected, atol=1e-5)


def test_the_printed_shift_erases_an_image_that_is_alone_with_its_class() -> None:
    method, net = make(shift="literal")
    filled(net)
    raw = torch.randn(3, 24)
    classes = torch.tensor([0, 1, 1])
    moved = raw + method._shift(net, classes, raw)
    assert torch.allclose(moved[0], net.bank.average()[0], atol=1e-5), "the bank's mean, whatever the image"
    assert not torch.allclose(moved[1], moved[2], atol=1e-2)
    method, net = make(shift="shrink")
    filled(net)
    assert torch.allclose(method._shift(net, classes, raw)[0], torch.zeros(24), atol=1e-6)
    method, net = make(shift="ema")
    filled(net)
    other = raw.flip(1)
    assert not torch.allclose(
        raw + method._shift(net, classes, raw), other + method._shift(net, classes, other)
    )


def test_only_present_and_confident_classes_enter_the_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    method, net = make(alpha=0.8)
    sure = torch.tensor([[0.9, 0.9, 0.8], [0.1, 0.81, 0.99], [0.0, 0.0, 0.85], [0.99, 0.99, 0.99]])
    monkeypatch.setattr(method, "probabilities", lambda scores: sure)
    method.training_step(net, batch(), Clock(4, 10, 0))
    assert not net.bank.pushes.any(), "what is drawn in a step has not seen its own rows"
    method.after_step(net, Clock(4, 10, 0))
    assert net.bank.pushes.tolist() == [1, 1, 1], "absent, unknown, and a score of exactly alpha stay out"
    assert net.bank.keys[0, 0] == image_key("a") and net.bank.keys[2, 0] == image_key("c")
    assert int(net.bank.steps[1, 0]) == 4 and float(net.bank.scores[1, 0]) == pytest.approx(0.81)
    assert 0 < float(net.bank.areas[0, 0]) <= 1 and (net.bank.centres[0, 0] > 0).all()
    method.training_step(net, batch(), Clock(5, 10, 0))
    assert not net.bank.count.any(), "no prototype before there are enough rows"
    method.training_step(net, batch(), Clock(6, 10, 1))
    assert net.bank.count.tolist() == [1, 1, 1] and net.bank.epoch.tolist() == [1, 1, 1]


def test_the_first_prototypes_come_as_soon_as_there_are_enough_rows() -> None:
    for first, expected in (("mid", 4), ("epoch", 0)):
        method, net = make(first=first)
        net.bank.rows[0, :4] = torch.randn(4, 24).half()
        net.bank.pushes[0] = 4
        method.training_step(net, batch(), Clock(5, 10, 0))
        assert net.bank.count.tolist() == [expected, 0, 0]


@pytest.mark.parametrize("change", [{}, {"select": "positiveness"}, {"draw": "max_cos"}, {"positiveness": False}, {"claim": 0.5}, {"embed": "linear"}, {"shift": "literal"}, {"detach": True}])  # fmt: skip
def test_every_choice_teaches(change: dict[str, Any]) -> None:
    method, net = make(**change)
    filled(net)
    losses = method.training_step(net, batch(), Clock(0, 10, 0))
    assert ("claim" in losses) == ("claim" in change)
    torch.stack(list(losses.values())).sum().backward()
    moved = sum(float(p.grad.abs().sum()) for p in net.embedding.parameters() if p.grad is not None)
    assert np.isfinite(moved) and (moved > 0) == (not change.get("detach"))
    assert float(losses["self"].detach()) > 0
    weighed = net.of_instance.weight.grad
    learns = change.get("positiveness", True) and not change.get("detach")
    assert (weighed is not None and float(weighed.abs().sum()) > 0) == learns


def test_classes_without_prototypes_take_no_part_and_are_named() -> None:
    method, net = make()
    losses = method.training_step(net, batch(), Clock(0, 10, 0))
    assert float(losses["self"].detach()) == 0
    filled(net)
    net.bank.count[2] = 0
    shot = Shot(
        "s",
        np.random.default_rng(0).integers(0, 255, (48, 40, 3)).astype(np.uint8),
        np.array([1, 0, 1], np.int8),
    )
    with torch.no_grad():
        ((_, stack),) = method.infer(net.eval(), [shot], Views(scales=(1.0,)))
    assert stack.classes == (0, 2) and stack.facts["without_prototypes"] == [2]
    assert stack.maps[1].max() > 0.99, "drawn from the image's own prototype"


def test_padding_takes_no_part() -> None:
    _, net = make(bank="image")
    given = batch()
    given.images[:, :, :, 32:] = 0
    features, _ = net.both(given.images)
    inside = _inside(given.images, features)
    w = features.shape[3]
    assert inside[:, :, : w // 2].all() and not inside[:, :, -(w // 2 - 1) :].any()


def test_neighbours_are_of_the_images_own_sort() -> None:
    rng = torch.Generator().manual_seed(5)
    common, red, blue = F.normalize(torch.randn(3, 32, generator=rng), dim=1)
    sorts = {"red": F.normalize(common + red, dim=0), "blue": F.normalize(common + blue, dim=0)}

    def noisy(centre: Tensor, noise: float, *shape: int) -> Tensor:
        return F.normalize(centre + noise * torch.randn(*shape, 32, generator=rng), dim=-1)

    bank = torch.cat([noisy(sorts["red"], 0.1, 20), noisy(sorts["blue"], 0.1, 20)])
    hits, aware, average = 0, [], []
    for _ in range(20):
        # A red object before something that looks like what only the blue ones have.
        truth = torch.zeros(12, 12, dtype=torch.bool)
        truth[3:9, 3:9] = True
        z = noisy(blue, 0.3, 12, 12)
        z[truth] = noisy(sorts["red"], 0.3, 36)
        z = z.permute(2, 0, 1)[None]
        instance = z[0][:, truth].mean(1)[None]
        order, there = nearest(instance, bank[None], torch.tensor([40]), 10)
        hits += int((order < 20).sum())
        chosen = bank[order[0]][None]
        w = soft_weights(F.cosine_similarity(instance[:, None], chosen, dim=2) / 0.1, there)
        rows = torch.tensor([0])
        for maps, p, weights in ((aware, chosen, w), (average, bank[None], torch.full((1, 40), 1 / 40))):
            drawn = prototype_maps(z, rows, p, weights)[0]
            maps.append(roc_auc_score(truth.flatten(), drawn.flatten()))
    assert hits / 200 > 0.95
    assert np.mean(aware) > np.mean(average) and np.mean(aware) > 0.95


def test_more_neighbours_than_prototypes_are_refused() -> None:
    with pytest.raises(UserError, match="neighbours"):
        parse(Params, {**SMALL, "neighbours": 9})
