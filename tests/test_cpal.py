"""CPAL's training step against literal formulations, its reductions, and its bank at work."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional as F

from engine.class_maps import Shot
from engine.errors import UserError
from engine.messages import Failed, Finished, Infer, Prototypes, Refine, Said, Train
from engine.method import Batch, Clock
from engine.methods import method_class
from engine.methods.cpal import Cpal, Params, Views, _inside
from engine.nets.backbone import build_backbone
from engine.nets.input import over_cells
from engine.nets.prototype_net import PrototypeNet
from engine.params import parse
from engine.prototypes import nearest, prototype_maps, soft_weights
from engine.results import CamStack, PrototypeView, image_key
from engine.run import run
from engine.store import Project, run_of, source_of
from engine.train.batches import Crops, Sample
from engine.train.plan import Plan

SMALL = {
    "backbone": "tiny_cnn",
    "pretrained": False,
    "dim": 24,
    "length": 40,
    "clusters": 6,
    "neighbours": 3,
    "begin": 0.0,
    "tau": 0.2,
}
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


def test_the_self_supervised_loss_waits_until_its_part_of_the_training() -> None:
    method, net = make(bank="image", begin=0.3)
    early, late = (
        float(method.training_step(net, batch(), Clock(t, 10, 0))["self"].detach()) for t in (2, 3)
    )
    assert early == 0 < late


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


# --- over other methods ------------------------------------------------------------------------------


def given(net: PrototypeNet, classes: int = 3) -> Batch:
    """A batch with maps of another run: a square for each class, class 2 of the second image beside the crop."""
    plain = batch()
    maps = torch.zeros(4, classes, *net.both(plain.images)[0].shape[2:])
    maps[0, 0, :2, :2], maps[0, 2, 2:, 2:], maps[2, 2, 1:3, 1:3] = 1.0, 0.6, 0.9
    maps[1, 1] = 0.1
    return dataclasses.replace(plain, maps=maps)


def test_maps_of_another_run_seed_the_prototypes_and_stay_as_they_are() -> None:
    method, net = make(maps="amn", bank="image")
    _, z = net.both(given(net).images)
    losses = method.training_step(net, given(net), Clock(0, 10, 0))
    maps = given(net).maps
    total = torch.zeros(())
    for b in range(4):
        plain, aware = torch.zeros_like(maps[b]), torch.zeros_like(maps[b])
        for n in range(3):
            # Class 1 of the second image is nowhere over tau: the object lies beside the crop.
            if TARGETS[b, n] == 1 and (maps[b, n] > 0.2).any():
                own = z[b][:, maps[b, n] > 0.2].mean(1)
                cos = F.cosine_similarity(z[b], own[:, None, None], dim=0).relu()
                plain[n], aware[n] = maps[b, n], cos / (cos.max() + 1e-5)
        both = [torch.cat([1 - m.amax(0, keepdim=True), m]) for m in (plain, aware)]
        total = total + (both[0] - both[1]).abs().mean()
    assert float(losses["self"].detach()) == pytest.approx(float(total.detach()) / 3, abs=1e-6)
    losses["self"].backward()
    assert net.head.weight.grad is None or not net.head.weight.grad.any(), "no classifier draws the seeds"
    assert sum(float(p.grad.abs().sum()) for p in net.embedding.parameters()) > 0


def test_maps_of_another_run_fill_the_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    method, net = make(maps="amn")
    monkeypatch.setattr(method, "probabilities", lambda scores: torch.full_like(scores, 0.9))
    method.training_step(net, given(net), Clock(0, 10, 0))
    method.after_step(net, Clock(0, 10, 0))
    assert net.bank.pushes.tolist() == [1, 0, 2], "what has no seed leaves no prototype behind"
    assert float(net.bank.areas[0, 0]) == pytest.approx(4 / given(net).maps[0, 0].numel())


def stack_of(shot: Shot) -> CamStack:
    """Maps of the present classes: a bright square of 16 px each, in cells of 4 px."""
    size = (int(shot.pixels.shape[0]), int(shot.pixels.shape[1]))
    maps = np.zeros((2, -(-size[0] // 4), -(-size[1] // 4)), np.float16)
    maps[0, :4, :4] = maps[1, -4:, -4:] = 1
    ones, scores = np.ones(2, np.float32), np.zeros(3, np.float32)
    return CamStack(shot.stem, size, (0, 2), maps, ones, 4.0, 1.5, scores)


def test_the_map_is_drawn_from_maps_of_another_run() -> None:
    method, net = make(maps="amn", bank="image")
    pixels = np.random.default_rng(0).integers(0, 255, (64, 48, 3)).astype(np.uint8)
    shot = Shot("s", pixels, np.array([1, 0, 1], np.int8))
    with pytest.raises(UserError, match="without the maps of another"):
        list(method.infer(net.eval(), [shot], Views(scales=(1.0,), flip=False)))
    shot = dataclasses.replace(shot, maps=stack_of(shot))
    with torch.no_grad():
        ((_, seeds),) = method.infer(net.eval(), [shot], Views(map="cam", scales=(1.0, 0.5)))
        ((_, aware),) = method.infer(net, [shot], Views(scales=(1.0,), flip=False))
        picture = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
        features, z = net.both(net.backbone.prep.normalise(picture))
        cells = over_cells(torch.from_numpy(shot.maps.full())[None], net.backbone.stride, 0.0)
        drawn = method._look(net, features, z, [0, 2], "pacam", cells)[0]
    # Mirrored and scaled with the image, the seeds still lie where the squares are.
    full = seeds.full()
    assert full[0, :12, :12].mean() > 0.5 > 5 * full[0, 32:].mean()
    assert full[1, -12:, -12:].mean() > 0.5 > 5 * full[1, :32].mean()
    own = z[0][:, cells[0, 0] > 0.2].mean(1)
    cos = F.cosine_similarity(z[0], own[:, None, None], dim=0).relu()
    assert torch.allclose(drawn[0], cos / (cos.max() + 1e-5), atol=1e-5)
    assert aware.maps[0].max() > 0.99 and not np.array_equal(aware.maps, seeds.maps)


@pytest.mark.parametrize("centre", [0.0, 7.5])
def test_cells_are_the_means_of_the_pixels_about_their_centres(centre: float) -> None:
    maps = torch.rand(1, 2, 40, 33)
    found = over_cells(maps, 16, centre)
    assert found.shape == (1, 2, 3, 3) and over_cells(maps[:, :0], 16, centre).shape == (1, 0, 3, 3)
    start = 16 if centre else 8
    assert torch.allclose(found[:, :, 1, 1], maps[:, :, start : start + 16, start : start + 16].mean((2, 3)))
    assert torch.allclose(found[:, :, 0, 0], maps[:, :, :start, :start].mean((2, 3)))
    assert torch.allclose(over_cells(torch.ones(1, 1, 40, 33), 16, centre), torch.ones(())), (
        "no border is dark"
    )


def test_maps_are_cut_as_the_images_are(small_project: Project) -> None:
    class Brightness:
        """Maps that are the picture itself: wherever the crop goes, both must go alike."""

        def read(self, stem: str) -> CamStack:
            grey = small_project.read(stem).pixels.astype(np.float32).mean(2)[None] / 255
            size = (int(grey.shape[1]), int(grey.shape[2]))
            ones, scores = np.ones(1, np.float32), np.zeros(3, np.float32)
            return CamStack(stem, size, (1,), grey.astype(np.float16), ones, 1.0, 0.0, scores)

    plan = Plan(epochs=1, batch=1, crop=96, zoom_low=0.6, zoom_high=1.4)
    prep = build_backbone("tiny_cnn").prep
    stems = small_project.usable
    crops = Crops(
        small_project, stems, small_project.tags().states, plan, prep, 3, None, Brightness(), (8, 0.0)
    )
    for epoch in range(3):
        for row in range(len(stems)):
            image, _, _, maps, _, _, why = crops[Sample(row, epoch)]
            assert not why and maps.shape == (3, 12, 12) and not maps[[0, 2]].any()
            back = image * torch.tensor(prep.std)[:, None, None] + torch.tensor(prep.mean)[:, None, None]
            inside = (image != 0).any(0)
            grey = torch.where(inside, back.mean(0), 0)
            expected = over_cells(grey[None, None], 8, 0.0)[0, 0]
            assert torch.allclose(maps[1], expected, atol=0.02), (row, epoch)
    assert not crops[Sample(0, 0, filler=True)][3].any()


@pytest.mark.parametrize("change", [{"bank": "off"}, {"detach": True}])
def test_maps_of_another_run_need_something_that_learns(change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="maps = amn"):
        parse(Params, {**SMALL, "maps": "amn", **change})


def did(job: Any) -> list[Any]:
    events = list(run(job))
    assert isinstance(events[-1], Finished), events[-1]
    return events


def test_it_stands_before_and_behind_other_methods(small_project: Project) -> None:
    where = {"project": str(small_project.root), "threads": 1}
    tiny = {"backbone": "tiny_cnn", "pretrained": False, "epochs": 2, "batch": 3, "crop": 32}
    mine = {**SMALL, **tiny, "alpha": 0.0}
    views = {"scales": (1.0,), "flip": False}
    did(Train(method="cpal", run="cpal", settings=mine, **where))
    did(Infer(run="cpal", settings=views, **where))
    for name in ("irn", "amn"):
        did(Train(method=name, run=name, settings={**tiny, "seeds": "cpal"}, **where))
        facts = run_of(small_project.root, name).facts
        assert facts["digests"]["seeds"] == "cpal/default" and set(facts["confident"]) >= {"foreground"}
    refined = did(Refine(refiner="irn", source="cpal", run="box", **where))
    assert refined[-1].result["images"] == 6
    # AMN drew some of the images when the next one learns from its maps: the others are left out.
    usable = small_project.usable
    some = usable[:3] + usable[4:5]
    did(Infer(run="amn", settings=views, images=some, **where))
    did(Train(method="cpal", run="over", settings={**mine, "maps": "amn"}, **where))
    facts = run_of(small_project.root, "over").facts
    assert facts["digests"]["maps"] == "amn/default"
    assert tuple(facts["digests"]["stems"]) == usable[:3], "of the four of the split"
    events = did(Infer(run="over", settings=views, **where))
    assert events[-1].result["images"] == 4
    assert any("2 of 6 images have no maps in amn/default" in e.text for e in events if isinstance(e, Said))
    again = did(Infer(run="over", settings=views, **where))
    assert again[-1].result["kept"] == 4
    # Other maps of the other run are other views, and a training of them cannot go on.
    did(Infer(run="amn", settings={**views, "stretch": "none"}, images=some, **where))
    assert did(Infer(run="over", settings=views, **where))[-1].result["kept"] == 0
    run_of(small_project.root, "over").update(status="stopped")
    ending = list(run(Train(method="cpal", run="over", resume=True, **where)))[-1]
    assert isinstance(ending, Failed) and ending.mistake and "drawn anew" in ending.message
    looked = did(Prototypes(run="over", **where))[-1].result
    assert looked["images"] == 4 and looked["passed_over"] == [usable[3], usable[5]]
    stem = usable[0]
    view = PrototypeView.load(source_of(small_project.root, "over").path(stem, PrototypeView.KIND))
    assert view.classes == small_project.tags().present(stem)
    ending = list(run(Train(method="cpal", settings={**mine, "maps": "nobody"}, **where)))[-1]
    assert isinstance(ending, Failed) and ending.mistake and "no run 'nobody'" in ending.message
