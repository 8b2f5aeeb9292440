"""Two sub-types of a class on the bundled sample: what `wsss bench cpal-sample` counts is what was put there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from engine.bench import cpal_sample
from engine.bench.cpal_sample import Compared, compare, measured, ranked, read_sample, trained
from engine.passage import Choice
from engine.results import PrototypeBank, PrototypeView, image_key

DIM, SIDE = 16, 8
# Of one class: six images of red objects and four of blue ones left two rows each.
RED, BLUE = [f"red{n}" for n in range(6)], [f"blue{n}" for n in range(4)]
SORTS = {(stem, 0): "red" for stem in [*RED, "new"]} | {(stem, 0): "blue" for stem in BLUE}
COMMON, OF_RED, OF_BLUE = np.linalg.qr(np.random.default_rng(0).normal(size=(DIM, 3)))[0].T.astype(np.float32)
TRUTH = np.zeros((SIDE, SIDE), bool)
TRUTH[2:6, 2:6] = True
EVERYWHERE = np.ones_like(TRUTH)


def row(sort: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    found = COMMON + sort + noise * rng.normal(size=DIM)
    return (found / np.linalg.norm(found)).astype(np.float32)


@pytest.fixture
def bank() -> PrototypeBank:
    """A prototype for each image, of its two rows."""
    rng = np.random.default_rng(1)
    stems = [*RED, *BLUE]
    rows = np.stack([row(OF_RED if s in RED else OF_BLUE, 0.05, rng) for s in stems for _ in range(2)])
    prototypes = rows.reshape(-1, 2, DIM).mean(1)
    length = len(rows)
    return PrototypeBank(
        rows=rows[None].astype(np.float16),
        filled=np.array([length]),
        keys=np.repeat([image_key(s) for s in stems], 2)[None],
        steps=np.zeros((1, length), np.int32),
        scores=np.ones((1, length), np.float32),
        areas=np.ones((1, length), np.float32),
        centres=np.ones((1, length, 2), np.float32),
        mean=rows.mean(0)[None],
        prototypes=(prototypes / np.linalg.norm(prototypes, axis=1, keepdims=True))[None],
        count=np.array([len(stems)]),
        member=np.repeat(np.arange(len(stems), dtype=np.int32), 2)[None],
        epoch=np.zeros(1, np.int64),
        of_instance=np.eye(DIM, dtype=np.float32),
        of_prototype=np.eye(DIM, dtype=np.float32),
    )


def view(stem: str = "new") -> PrototypeView:
    """A red object before what mostly blue ones have; the classifier's map lights a quarter of the object."""
    rng = np.random.default_rng(2)
    noise = 0.3 * rng.normal(size=(DIM, SIDE, SIDE))
    z = np.where(TRUTH, (COMMON + OF_RED)[:, None, None], (0.5 * COMMON + OF_BLUE)[:, None, None]) + noise
    lit = np.zeros((1, SIDE, SIDE), np.float16)
    lit[0, 2:4, 2:4] = 1
    return PrototypeView(
        stem, (SIDE, SIDE), (0,), lit, z.astype(np.float32), 1.0, 0.0, np.ones(1, np.float32)
    )  # fmt: skip


def compared(bank: PrototypeBank, given: PrototypeView, **choice: Any) -> Compared:
    found = compare(given, bank, 0, SORTS, TRUTH, EVERYWHERE, Choice(**choice))
    assert found is not None
    return found


def test_neighbours_are_of_one_sort_and_their_map_beats_the_mean(bank: PrototypeBank) -> None:
    found = compared(bank, view(), neighbours=6)
    assert found.purity == 1 and found.chance == 0.6
    assert found.auc_aware > 0.99 > found.auc_mean > 0.8 > found.auc_plain
    assert found.auc_plain == pytest.approx(0.5 + 0.25 / 2), "a quarter found, no other pixel"


def test_more_neighbours_than_a_sort_has_prototypes_cannot_be_pure(bank: PrototypeBank) -> None:
    assert [compared(bank, view(), neighbours=k).purity for k in (7, 8, 10)] == [6 / 7, 6 / 8, 0.6]


def test_an_images_own_rows_prove_nothing(bank: PrototypeBank) -> None:
    found = compared(bank, view("red0"), neighbours=10)
    assert found.purity == found.chance == 5 / 9
    without = bank.member.copy()
    without[0] = -1
    gone = replace(bank, member=without)
    assert np.isnan(compared(gone, view()).purity), "rows that came after the prototypes are behind none"


def test_void_is_left_out_and_a_class_without_a_seed_is_told(bank: PrototypeBank) -> None:
    inside = EVERYWHERE.copy()
    inside[4:] = False
    found = compare(view(), bank, 0, SORTS, TRUTH, inside, Choice(neighbours=6))
    assert found.auc_plain == pytest.approx(0.75), "half of the object's pixels that count are lit"
    assert np.isnan(compare(view(), bank, 0, SORTS, TRUTH, TRUTH, Choice(neighbours=6)).auc_plain)
    dark = view()
    dark.maps[:] = 0
    assert compare(dark, bank, 0, SORTS, TRUTH, inside, Choice()) is None


def test_the_area_is_that_of_the_curve_with_ties() -> None:
    rng = np.random.default_rng(3)
    truth, scores = rng.random(300) < 0.3, rng.integers(0, 9, 300).astype(np.float32)
    assert ranked(truth, scores) == pytest.approx(roc_auc_score(truth, scores))
    assert ranked(truth, truth.astype(np.float32)) == 1


def test_every_cloth_has_two_sorts_and_no_image_of_the_splits_shows_both() -> None:
    sample = read_sample()
    assert sample.cloths == ("dots", "gingham", "stripes") and len(sample.worn) == 120
    assert not set(sample.splits["train"]) & set(sample.splits["val"])
    for name, stems in sample.splits.items():
        for cls, cloth in enumerate(sample.cloths):
            shown = [stem for stem in stems if cloth in sample.worn[stem]]
            sorts = [sample.sorts[stem, cls] for stem in shown]
            assert len(set(sorts)) == 2, f"{name} {cloth}"
            assert min(sorts.count(s) for s in set(sorts)) >= (2 if name == "val" else 10)


def test_a_short_training_is_measured_from_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read_sample()
    few = {"train": whole.splits["train"][:8], "val": whole.splits["val"][:3]}
    monkeypatch.setattr(
        cpal_sample, "read_sample", lambda: cpal_sample.Sample(whole.cloths, whole.worn, whole.sorts, few)
    )
    settings = {"dim": 24, "length": 30, "clusters": 4, "neighbours": 2, "alpha": 0.0}
    trained(tmp_path / "place", settings=settings, epochs=2, batch=4, crop=64)
    found, unseeded = measured(tmp_path / "place")
    pairs = {split: sum(map(len, by_class.values())) for split, by_class in found.items()}
    shown = {split: sum(len(whole.worn[s]) for s in stems) for split, stems in few.items()}
    assert sum(pairs.values()) + unseeded == sum(shown.values()) and min(pairs.values()) > 0
    for pair in (p for by_class in found.values() for pairs_ in by_class.values() for p in pairs_):
        assert 0 <= pair.auc_aware <= 1 and 0 <= pair.auc_mean <= 1
        assert np.isnan(pair.purity) or 0 <= pair.purity <= 1
    assert any(np.isfinite(p.purity) for by_class in found.values() for ps in by_class.values() for p in ps)
