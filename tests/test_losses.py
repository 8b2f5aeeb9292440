"""Losses: they equal torch's where torch has them, ignore unknown tags, and agree over ranks."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from engine import losses

ALL = ["plain", "balanced", "focal", "single"]
COUNTS = torch.tensor([[1.0, 30.0, 0.0, 5.0], [9.0, 10.0, 12.0, 5.0]])


def draw(rows: int = 6, known: bool = False) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    scores = torch.randn(rows, 4, generator=generator, dtype=torch.float64) * 3
    low = 0 if known else -1
    return scores, torch.randint(low, 2, (rows, 4), generator=generator).to(torch.int8)


def compute(kind: str, scores: Tensor, targets: Tensor, **options: object) -> Tensor:
    if kind == "balanced":
        return losses.balanced(scores, targets, counts=COUNTS, **options)
    return getattr(losses, kind)(scores, targets, **options)


KINDS = pytest.mark.parametrize("kind", ALL[:3])
ALL_KINDS = pytest.mark.parametrize("kind", ALL)


def test_plain_is_the_soft_margin_loss_when_every_tag_is_known() -> None:
    scores, targets = draw(known=True)
    assert torch.isclose(
        losses.plain(scores, targets), F.multilabel_soft_margin_loss(scores, targets.double())
    )


@KINDS
def test_unknown_tags_get_exactly_no_gradient(kind: str) -> None:
    scores, targets = draw()
    scores[0, :] = torch.tensor([math.inf, -math.inf, math.nan, 1e300])
    targets[0, :] = -1
    scores.requires_grad_(True)
    value = compute(kind, scores, targets)
    value.backward()
    assert torch.isfinite(value)
    assert (scores.grad[targets == -1] == 0).all()
    known = targets >= 0
    if kind == "balanced":
        known = known & (scores.detach().abs() < 30)
    assert (scores.grad[known] != 0).all()


@ALL_KINDS
def test_gradient_is_the_derivative(kind: str) -> None:
    scores, targets = draw()
    assert torch.autograd.gradcheck(lambda s: compute(kind, s, targets), (scores.requires_grad_(True),))


@ALL_KINDS
def test_nothing_known_is_zero_and_still_has_a_gradient(kind: str) -> None:
    scores = torch.randn(2, 4, requires_grad=True)
    value = compute(kind, scores, torch.full((2, 4), -1, dtype=torch.int8))
    value.backward()
    assert value.item() == 0
    assert torch.equal(scores.grad, torch.zeros(2, 4))


@ALL_KINDS
@pytest.mark.parametrize("cuts", [(0, 3, 6), (0, 1, 6), (0, 1, 2, 3, 6)])
def test_ranks_with_shares_of_any_size_take_the_step_of_one_process(kind: str, cuts: tuple[int, ...]) -> None:
    scores, targets = draw()
    targets[0] = -1  # a rank that knows nothing
    whole = scores.clone().requires_grad_(True)
    value = compute(kind, whole, targets)
    value.backward()
    counted = losses.count_named if kind == "single" else losses.count_known
    known, world = counted(targets), len(cuts) - 1
    shares, gradient = [], []
    for a, b in itertools.pairwise(cuts):
        mine = scores[a:b].clone().requires_grad_(True)
        share = compute(kind, mine, targets[a:b], known=known, world=world)
        share.backward()
        shares.append(share.detach())
        gradient.append(mine.grad / world)  # ranks average their gradients
    assert torch.allclose(torch.cat(gradient), whole.grad, atol=1e-14)
    assert torch.isclose(torch.stack(shares).mean(), value)


@ALL_KINDS
def test_the_right_answer_costs_less(kind: str) -> None:
    targets = torch.tensor([[1, 0, 1, 0]], dtype=torch.int8)
    right = torch.tensor([[4.0, -4.0, 4.0, -4.0]])
    assert (
        compute(kind, right, targets)
        < compute(kind, torch.zeros(1, 4), targets)
        < compute(kind, -right, targets)
    )


def test_balanced_weighs_present_and_absent_tags_of_a_class_the_same_in_total() -> None:
    weights = losses.tag_weights(COUNTS)
    totals = weights * COUNTS
    assert torch.allclose(totals[0, [0, 1, 3]], totals[1, [0, 1, 3]])
    assert torch.allclose(totals.sum(0)[[0, 1, 3]], COUNTS.sum(0)[[0, 1, 3]])  # the mean weight stays 1
    assert torch.equal(weights[:, 2], torch.ones(2))  # never present: nothing to balance


def test_balanced_is_plain_when_the_tags_are_balanced() -> None:
    scores, targets = draw()
    even = torch.full((2, 4), 7.0)
    assert torch.equal(losses.balanced(scores, targets, counts=even), losses.plain(scores, targets))


def test_one_image_in_a_million_cannot_drown_the_others() -> None:
    assert losses.tag_weights(torch.tensor([[1.0], [1e6]])).max() == 20


def test_focal_by_hand() -> None:
    # p = sigmoid(0) = 1/2 for both: (1/2)^2 ln 2, weighted by 1/4 (present) and 3/4 (absent), mean of two.
    value = losses.focal(torch.zeros(1, 2), torch.tensor([[1, 0]]))
    assert value.item() == pytest.approx(0.25 * math.log(2) * (0.25 + 0.75) / 2)


def test_focal_without_focus_is_plain() -> None:
    scores, targets = draw()
    assert torch.isclose(losses.focal(scores, targets, gamma=0, alpha=None), losses.plain(scores, targets))
    assert torch.isclose(losses.focal(scores, targets, gamma=0, alpha=0.5), losses.plain(scores, targets) / 2)


def test_focal_fades_easy_tags_faster_than_hard_ones() -> None:
    targets = torch.ones(1, 1, dtype=torch.int8)
    easy, hard = torch.full((1, 1), 4.0), torch.full((1, 1), -4.0)
    ratio = losses.focal(hard, targets) / losses.focal(easy, targets)
    assert ratio > 1000 * losses.plain(hard, targets) / losses.plain(easy, targets)


def test_single_is_the_cross_entropy_of_torch_when_each_image_has_one_tag() -> None:
    scores, _ = draw()
    classes = torch.tensor([2, 0, 3, 3, 1, 0])
    targets = F.one_hot(classes, 4).to(torch.int8)
    assert torch.isclose(losses.single(scores, targets), F.cross_entropy(scores, classes))


def test_single_spreads_its_target_over_the_present_tags() -> None:
    scores, _ = draw()
    targets = torch.tensor([[1, 0, 1, 0], [1, 1, 1, 1], [0, 0, 0, 1]] * 2, dtype=torch.int8)
    spread = targets.double() / targets.sum(1, keepdim=True)
    assert torch.isclose(losses.single(scores, targets), F.cross_entropy(scores, spread))


def test_single_leaves_unknown_tags_out_of_the_softmax_and_images_without_a_tag_out_of_the_mean() -> None:
    scores = torch.tensor([[1.0, math.inf, 3.0], [4.0, math.nan, -math.inf], [0.0, 0.0, math.nan]])
    targets = torch.tensor([[1, -1, 0], [0, 0, 0], [-1, 0, -1]], dtype=torch.int8)
    scores.requires_grad_(True)
    value = losses.single(scores, targets)
    value.backward()
    # Classes 0 and 2 of the one image with a tag.
    assert value.item() == pytest.approx(math.log(1 + math.exp(2)))
    assert losses.count_named(targets) == 1
    assert (scores.grad[0, [0, 2]] != 0).all() and scores.grad[0, 1] == 0
    assert torch.equal(scores.grad[1:], torch.zeros(2, 3))


def test_single_does_not_care_by_how_much_all_scores_of_an_image_are_raised() -> None:
    scores, targets = draw()
    raised = scores + torch.linspace(-5, 5, 6, dtype=torch.float64)[:, None]
    assert torch.isclose(losses.single(scores, targets), losses.single(raised, targets))
