"""CutMix: patches within the picture, tags mixed by area, the method cam where nothing is mixed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine import losses
from engine.method import Batch, Clock
from engine.methods.cam import Cam
from engine.methods.cam import Params as CamParams
from engine.methods.cutmix import CutMix, Params, draw_box

TINY: dict[str, Any] = {"backbone": "tiny_cnn", "pretrained": False}
CLOCK = Clock(0, 10, 0)


class Watched(nn.Module):
    """A network that keeps what it is shown; its scores are given."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = nn.Parameter(scores)
        self.seen = torch.empty(0)

    def forward(self, images: Tensor) -> Tensor:
        self.seen = images
        return self.scores


def batch_of(targets: Tensor, side: int = 20) -> Batch:
    """Pictures that are one number everywhere, their own row."""
    rows = len(targets)
    images = torch.arange(rows).float()[:, None, None, None].expand(rows, 3, side, side)
    known, named = int(losses.count_known(targets)), int(losses.count_named(targets))
    return Batch(
        images, targets, tuple("abcdefgh"[:rows]), known, named, 1, torch.full((2, targets.shape[1]), 3.0)
    )


def step(batch: Batch, seed: int, **settings: Any) -> tuple[Watched, Tensor]:
    torch.manual_seed(7)
    net = Watched(torch.randn(batch.targets.shape, dtype=torch.float64) * 2)
    torch.manual_seed(seed)
    method = CutMix(Params(**{**TINY, "probability": 1.0, **settings}))
    (loss,) = method.training_step(net, batch, CLOCK).values()
    return net, loss


def seen_shares(net: Watched) -> Tensor:
    """Return [B, B]: which share of picture i shows picture j."""
    rows = len(net.seen)
    return torch.stack([(net.seen[:, 0] == j).double().mean((1, 2)) for j in range(rows)], 1)


KNOWN = torch.tensor([[1, 0, 1], [0, 1, 0], [0, 0, 1], [1, 1, 1]], dtype=torch.int8)
ONE = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=torch.int8)
MIXED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "plain": F.binary_cross_entropy_with_logits,
    "softmax": F.cross_entropy,
}


@pytest.mark.parametrize("side", [1, 2, 7, 64])
def test_patches_lie_inside_and_have_the_area_that_was_drawn_unless_the_border_cuts_them(side: int) -> None:
    torch.manual_seed(0)
    cut = whole = 0
    for kept in torch.linspace(0, 1, 300).tolist():
        top, bottom, left, right = draw_box(side, 2 * side, kept)
        assert 0 <= top <= bottom <= side and 0 <= left <= right <= 2 * side
        heights = round(side * (1 - kept) ** 0.5), round(2 * side * (1 - kept) ** 0.5)
        assert bottom - top <= heights[0] and right - left <= heights[1]
        if (bottom - top, right - left) == heights:
            whole += 1
            assert (bottom - top) * (right - left) / (2 * side**2) == pytest.approx(1 - kept, abs=1.5 / side)
        else:
            cut += 1
    assert whole > 30 and (cut > 30 or side == 1)


def test_nothing_is_pasted_where_all_is_kept() -> None:
    top, bottom, left, right = draw_box(30, 40, 1.0)
    assert (bottom - top) * (right - left) == 0


def test_centres_lie_all_over_the_picture() -> None:
    torch.manual_seed(1)
    covered = torch.zeros(16, 16)
    for _ in range(300):
        top, bottom, left, right = draw_box(16, 16, 0.9)
        covered[top:bottom, left:right] += 1
    assert (covered > 0).all()


@pytest.mark.parametrize("seed", range(8))
def test_one_patch_of_one_other_picture_is_pasted_and_each_picture_is_pasted_once(seed: int) -> None:
    batch = batch_of(KNOWN)
    net, _ = step(batch, seed)
    shares = seen_shares(net)
    # What one loses another shows.
    torch.testing.assert_close(shares.sum(0), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(shares.sum(1), torch.ones(4, dtype=torch.float64))
    assert ((shares > 0).sum(1) <= 2).all()
    own = shares.diagonal()
    assert len(set(own[own < 1].tolist())) <= 1, "one patch for all pictures of a step"
    assert torch.equal(batch.images, batch_of(KNOWN).images), "the batch itself is not touched"


@pytest.mark.parametrize("loss", MIXED)
@pytest.mark.parametrize("seed", range(8))
def test_tags_are_mixed_by_the_area_that_is_seen(loss: str, seed: int) -> None:
    targets = KNOWN if loss == "plain" else ONE
    net, value = step(batch_of(targets), seed, loss=loss)
    soft = seen_shares(net) @ targets.double()
    if loss == "softmax":
        torch.testing.assert_close(soft.sum(1), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(value, MIXED[loss](net.scores, soft))


def test_unknown_tags_add_nothing_and_known_ones_count_with_their_share() -> None:
    targets = torch.tensor([[1, -1, 0], [-1, -1, -1], [0, -1, 1], [1, 0, -1]], dtype=torch.int8)
    for seed in range(8):
        net, value = step(batch_of(targets), seed)
        shares = seen_shares(net)
        known = (targets >= 0).double()
        weight, present = shares @ known, shares @ (targets == 1).double()
        assert weight.sum().item() == pytest.approx(int(losses.count_known(targets)))
        logs, others = F.logsigmoid(net.scores), F.logsigmoid(-net.scores)
        expected = -(present * logs + (weight - present) * others).sum() / known.sum()
        torch.testing.assert_close(value, expected)
        value.backward()
        assert (net.scores.grad[weight == 0] == 0).all() and (net.scores.grad[weight > 0] != 0).all()


def test_all_unknown_is_zero_and_teaches_nothing() -> None:
    for loss in ("plain", "balanced", "focal", "softmax"):
        net, value = step(batch_of(torch.full((4, 3), -1, dtype=torch.int8)), 3, loss=loss)
        value.backward()
        assert value.item() == 0 and not net.scores.grad.any()


@pytest.mark.parametrize("loss", ["plain", "balanced", "focal", "softmax"])
def test_never_mixing_is_the_method_cam(loss: str) -> None:
    torch.manual_seed(2)
    images = torch.randn(4, 3, 32, 32)
    batch = Batch(images, KNOWN, tuple("abcd"), 12, 4, 1, torch.tensor([[2.0, 2, 3], [2, 2, 1]]))
    cam, never = Cam(CamParams(**TINY, loss=loss)), CutMix(Params(**TINY, loss=loss, probability=0.0))
    net = cam.build(3)
    assert torch.equal(
        cam.training_step(net, batch, CLOCK)["tags"], never.training_step(net, batch, CLOCK)["tags"]
    )


def test_half_of_the_steps_are_mixed_by_default() -> None:
    batch = batch_of(KNOWN)
    mixed = sum(
        bool((seen_shares(step(batch, seed, probability=0.5)[0]).diagonal() < 1).any()) for seed in range(100)
    )
    assert 30 < mixed < 65  # some patches are empty, and some pictures are pasted onto themselves


def test_the_same_seed_mixes_alike_and_alpha_shapes_the_shares() -> None:
    batch = batch_of(KNOWN)
    assert torch.equal(step(batch, 5)[0].seen, step(batch, 5)[0].seen)
    assert not torch.equal(step(batch, 5)[0].seen, step(batch, 6)[0].seen)

    def spread(alpha: float) -> float:
        drawn = [torch.distributions.Beta(alpha, alpha).sample() for _ in range(50)]
        return float(torch.stack(drawn).std())

    torch.manual_seed(0)
    assert spread(20.0) < spread(1.0) < spread(0.1)
    shares = [seen_shares(step(batch, seed, alpha=100.0)[0]) for seed in range(20)]
    kept = torch.stack([s.diagonal().min() for s in shares])
    assert (kept > 0.4).all() and (kept < 1).any()  # about half is drawn, less where the border cuts it


def test_a_picture_alone_is_pasted_onto_itself() -> None:
    batch = batch_of(KNOWN[:1])
    net, value = step(batch, 0)
    assert torch.equal(net.seen, batch.images)
    torch.testing.assert_close(value, losses.plain(net.scores, batch.targets))


@pytest.mark.parametrize("cuts", [(0, 2, 4), (0, 1, 4)])
def test_shares_of_ranks_divide_by_the_same_number(cuts: tuple[int, ...]) -> None:
    """A rank mixes within its share; what the ranks lose together is the mean over the whole batch."""
    targets = torch.tensor([[1, -1, 0], [0, 1, -1], [0, -1, 1], [1, 0, 0]], dtype=torch.int8)
    known = int(losses.count_known(targets))
    total, by_hand = 0.0, 0.0
    for rank, (a, b) in enumerate(itertools.pairwise(cuts)):
        mine = batch_of(targets[a:b])
        net, value = step(Batch(mine.images, mine.targets, mine.stems, known, 4, 2, mine.counts), rank)
        shares, tags = seen_shares(net), targets[a:b]
        weight, present = shares @ (tags >= 0).double(), shares @ (tags == 1).double()
        entropy = present * F.logsigmoid(net.scores) + (weight - present) * F.logsigmoid(-net.scores)
        total, by_hand = total + value.item() / 2, by_hand - entropy.sum().item() / known
    assert total == pytest.approx(by_hand)
