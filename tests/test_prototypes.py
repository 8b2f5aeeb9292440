"""The algebra of CPAL's prototypes and its support bank (methods_proto 1.10, tests 1 to 8)."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from engine.nets.bank import Entries, SupportBank
from engine.prototypes import (
    claim,
    cosines,
    direction,
    kmeans,
    masked_means,
    nearest,
    prototype_maps,
    soft_weights,
)
from engine.results import image_key


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def entries(*triples: tuple[int, int, float], dim: int = 4) -> Entries:
    """Rows (image key, class, value): all D numbers of a row are its value."""
    keys, classes, values = zip(*triples, strict=True)
    n = len(keys)
    rows = torch.tensor(values)[:, None].expand(n, dim).clone()
    return Entries(
        torch.tensor(keys), torch.tensor(classes), rows, torch.ones(n), torch.ones(n), torch.zeros(n, 2)
    )


@pytest.mark.parametrize("count", [3, 8])
def test_claim_one_holds_where_the_objective_is_least(count: int) -> None:
    points = F.normalize(draw(1, 1, count, 32, dtype=torch.float64), dim=2)
    weights = draw(2, 1, count, dtype=torch.float64).abs() + 0.1
    free = torch.zeros(1, 32, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [free], lr=1, max_iter=500, tolerance_grad=1e-14, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def step() -> torch.Tensor:
        optimiser.zero_grad()
        loss = claim(free, points, weights).sum()
        loss.backward()
        return loss

    optimiser.step(step)
    found = torch.einsum("rd,rkd->rk", free, points).softmax(1)
    share = weights / weights.sum()
    assert float((found - share).abs().max()) < 1e-6
    entropy = -(share * share.log()).sum()
    assert float(claim(free, points, weights)) == pytest.approx(float(weights.sum() * entropy), rel=1e-9)
    assert float(step().detach()) > 0 and float(free.grad.abs().max()) < 1e-6, "a fixed point"


def test_the_bank_is_a_ring() -> None:
    bank = SupportBank(2, 5, 4, 3)
    for n in range(2 * 5 + 3):
        bank.push(entries((n, 1, float(n))), step=n)
    assert bank.index.tolist() == [0, 3] and bank.filled.tolist() == [0, 5]
    assert bank.rows[1, :, 0].tolist() == [10, 11, 12, 8, 9] and bank.keys[1].tolist() == [10, 11, 12, 8, 9]
    assert bank.steps[1].tolist() == [10, 11, 12, 8, 9] and not bank.rows[0].any()


def test_rows_of_one_class_in_one_step_take_slots_of_their_own() -> None:
    bank = SupportBank(1, 4, 4, 3)
    bank.push(entries((5, 0, 5.0), (1, 0, 1.0), (3, 0, 3.0)), step=0)
    assert bank.rows[0, :3, 0].tolist() == [1, 3, 5], "in the order of the images"
    bank.push(entries(*((n, 0, float(n)) for n in range(6, 16))), step=1)
    assert sorted(bank.keys[0].tolist()) == [12, 13, 14, 15], "more than fit: the newest"
    assert int(bank.index[0]) == 13 % 4


def test_ranks_and_batch_order_change_nothing() -> None:
    one, two = SupportBank(3, 6, 4, 3), SupportBank(3, 6, 4, 3)
    rows = [(7, 0, 0.5), (2, 0, 0.1), (2, 1, 0.2), (9, 2, 0.9), (4, 0, 0.3)]
    one.push(entries(*rows), step=3)
    two.push(
        Entries(*(torch.cat([a, b]) for a, b in zip(entries(*rows[3:]), entries(*rows[:3]), strict=True))),
        step=3,
    )
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name


def test_the_running_mean_follows_what_comes_in() -> None:
    bank = SupportBank(1, 9, 4, 3)
    bank.push(entries((1, 0, 2.0), (2, 0, 4.0)), step=0)
    assert bank.mean[0, 0] == 3, "the first rows set it"
    bank.push(entries((3, 0, 5.0)), step=1)
    assert float(bank.mean[0, 0]) == pytest.approx(0.9 * 3 + 0.1 * 5)
    assert float(bank.average()[0, 0]) == pytest.approx(11 / 3), "rows that are not there do not count"


def test_a_shift_commutes_with_the_mean_and_with_the_cosine() -> None:
    z, delta = draw(1, 2, 6, 5, 7), draw(2, 3, 6)
    rows = torch.tensor([0, 0, 1])
    seeds = draw(3, 3, 5, 7) > 0
    moved = torch.stack([z[b] + delta[r][:, None, None] for r, b in enumerate(rows)])
    apart = torch.cat([masked_means(moved[r : r + 1], torch.tensor([0]), seeds[r : r + 1]) for r in range(3)])
    assert torch.allclose(masked_means(z, rows, seeds) + delta, apart, atol=1e-5)
    towards = F.normalize(draw(4, 3, 2, 6), dim=2)
    expected = torch.einsum("rdhw,rjd->rjhw", F.normalize(moved, dim=1), towards)
    assert torch.allclose(cosines(z, rows, towards, delta), expected, atol=1e-5)


def test_an_empty_seed_has_no_prototype_and_no_nan() -> None:
    found = masked_means(draw(1, 1, 4, 3, 3), torch.tensor([0]), torch.zeros(1, 3, 3, dtype=torch.bool))
    assert torch.equal(found, torch.zeros(1, 4))


def test_many_neighbours_act_as_one_direction() -> None:
    z, rows = draw(1, 2, 8, 6, 6), torch.tensor([0, 1])
    p, w = draw(2, 2, 5, 8), draw(3, 2, 5).abs()
    w = w / w.sum(1, keepdim=True)
    apart = cosines(z, rows, F.normalize(p, dim=2))  # [R, K, h, w]
    literal = torch.einsum("rk,rkhw->rhw", w, apart).relu()
    found = prototype_maps(z, rows, p, w)
    assert torch.allclose(found, literal, atol=1e-5) and found.min() >= 0 and found.max() <= 1
    other = prototype_maps(z, rows, p, w, mode="cos_mean")
    tops = found.amax((1, 2), keepdim=True), other.amax((1, 2), keepdim=True)
    assert torch.allclose(found / tops[0], other / tops[1], atol=1e-5)
    assert torch.allclose(prototype_maps(3 * z, rows, 7 * p, w), found, atol=1e-5), "lengths do not matter"
    best = prototype_maps(z, rows, p, torch.full_like(w, 0.2), mode="max_cos")
    assert torch.allclose(best, apart.amax(1).relu(), atol=1e-5)


def test_all_neighbours_alike_are_the_mean_and_one_is_the_nearest() -> None:
    z, rows, p = draw(1, 1, 8, 4, 4), torch.tensor([0]), draw(2, 1, 6, 8)
    instance, counts = draw(3, 1, 8), torch.tensor([6])
    order, there = nearest(instance, p, counts, 6)
    assert there.all() and sorted(order[0].tolist()) == list(range(6))
    mean = F.normalize(p, dim=2).mean(1)
    assert torch.allclose(direction(p, torch.full((1, 6), 1 / 6)), mean, atol=1e-6)
    order, _ = nearest(instance, p, counts, 1)
    likest = F.cosine_similarity(instance[:, None], p, dim=2).argmax()
    assert int(order[0, 0]) == int(likest)
    one = prototype_maps(z, rows, p[:, likest][:, None], torch.ones(1, 1))
    assert torch.allclose(
        one, F.cosine_similarity(z, p[:, likest][:, :, None, None], dim=1).relu(), atol=1e-5
    )


def test_prototypes_that_are_not_there_are_never_chosen_nor_weighed() -> None:
    p = draw(1, 1, 6, 8)
    order, there = nearest(p[:, 5], p, torch.tensor([2]), 4)
    assert set(order[0, :2].tolist()) == {0, 1} and there[0].tolist() == [True, True, False, False]
    weights = soft_weights(draw(2, 1, 4), there)
    assert weights[0, 2:].tolist() == [0, 0] and float(weights.sum()) == pytest.approx(1)


def test_clusters_find_blobs_again() -> None:
    centres = F.normalize(draw(1, 3, 16), dim=1)
    rows = torch.cat([c + 0.05 * draw(n, 40, 16) for n, c in enumerate(centres)])
    found = kmeans(rows, 3, seed=4)
    likeness = found.centroids @ centres.T
    assert float(likeness.amax(0).min()) > 0.99 and len(set(likeness.argmax(0).tolist())) == 3
    assert all(b <= a + 1e-5 for a, b in zip(found.inertia, found.inertia[1:], strict=False))
    again = kmeans(rows, 3, seed=4)
    assert torch.equal(found.centroids, again.centroids) and torch.equal(found.of, again.of)
    assert torch.bincount(found.of).tolist() == [40, 40, 40]


def test_few_rows_are_their_own_clusters() -> None:
    rows = draw(1, 3, 8)
    found = kmeans(rows, 5, seed=0)
    assert torch.allclose(found.centroids, F.normalize(rows, dim=1)) and found.of.tolist() == [0, 1, 2]
    same = kmeans(torch.ones(9, 4), 3, seed=0)
    assert torch.isfinite(same.centroids).all(), "rows that are all alike"


def test_prototypes_keep_their_places_from_epoch_to_epoch() -> None:
    bank = SupportBank(1, 60, 8, 3)
    centres = F.normalize(draw(1, 3, 8), dim=1)
    for n in range(60):
        row = centres[n % 3] + 0.05 * draw(n, 8)
        bank.push(
            Entries(
                torch.tensor([n]),
                torch.tensor([0]),
                row[None],
                torch.ones(1),
                torch.ones(1),
                torch.zeros(1, 2),
            ),
            n,
        )
    bank.cluster(0, 1)
    before = bank.prototypes[0].clone()
    bank.cluster(0, 2)
    assert float((bank.prototypes[0] * before).sum(1).min()) > 0.99 and int(bank.epoch[0]) == 2
    likest = F.normalize(bank.held(0), dim=1) @ bank.prototypes[0].T
    assert torch.equal(likest.argmax(1).int(), bank.member[0])


def test_an_image_is_known_by_its_name_alone() -> None:
    assert image_key("cat_0012") == image_key("cat_0012") != image_key("cat_0013")
    assert 0 <= image_key("") < 2**63
