"""The numbers of a climb, against their plain definitions, and how fast they are found."""

from __future__ import annotations

import csv
import io
import runpy
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import UserError
from engine.labels import LabelRule
from engine.metrics import Confusion
from engine.results import ClimbPath, enlarge, path_to, remove, traces_in
from wsss_napari.step_curves import GrowingCurves, step_curves

FAKE = runpy.run_path(str(Path(__file__).with_name("fake_climbs.py")))
begin, row_of, write = FAKE["begin"], FAKE["row_of"], FAKE["write"]
RULE = LabelRule("constant", 0.3)


def path_of(root: Path, name: str = "0") -> ClimbPath:
    return path_to(traces_in(root), name)


def truth_of(size: tuple[int, int], cls: int) -> np.ndarray[Any, Any]:
    """Background, a box of the class, a box of another class over its edge, and a void rim."""
    height, width = size
    truth = np.zeros(size, np.uint8)
    truth[height // 4 : height * 3 // 4, width // 3 : width * 2 // 3] = cls + 1
    truth[height // 4 : height // 3, width // 3 : width // 2] = cls + 2
    truth[:3] = 255
    truth[height // 2, width // 3 - 4 : width // 3 + 4] = 255
    return truth


@pytest.fixture
def branched(tmp_path: Path) -> ClimbPath:
    write(tmp_path, "1", steps=6, size=(90, 120), grid=(12, 16))
    write(tmp_path, "1.1", steps=5, parent="1", at=3, strength=2.5, size=(90, 120), grid=(12, 16))
    return path_of(tmp_path, "1.1")


@pytest.mark.parametrize("rule", [RULE, LabelRule("power", 4.0), LabelRule("constant", 0.5, (0.2, 0.4))])
def test_every_number_is_its_plain_definition(branched: ClimbPath, rule: LabelRule) -> None:
    truth = truth_of((90, 120), 1)
    curves = step_curves(branched, rule, truth)
    assert curves.cls == 1 and curves.steps.tolist() == list(range(9)) and curves.last == 8
    np.testing.assert_array_equal(curves.scores, branched.stacked("scores"))
    limit = rule.limits()[1]
    assert curves.iou is not None and curves.miou is not None and curves.noise is not None
    for t in range(9):
        raw = branched.row("maps", t).astype(np.float32)
        inside, outside = branched.row("penalties", t)
        assert curves.penalty[t] == pytest.approx(inside + outside)
        if t:
            assert curves.background_share[t] == pytest.approx(outside / (inside + outside))
        assert curves.peak[t] == raw.max() and curves.mean[t] == pytest.approx(raw.mean(), rel=1e-6)
        leaf = branched.leaf
        over = enlarge(branched.attribution(t)[None], leaf.size, leaf.cell, leaf.origin)[0] > limit
        assert curves.area[t] == pytest.approx(over.mean(), abs=0.03)
        # Two classes, this one and all the rest, in the confusion that `wsss evaluate` counts with.
        confusion = Confusion(1)
        confusion.add(
            np.where(truth == 255, 255, truth == 2).astype(np.uint8), over.astype(np.uint8), "image"
        )
        assert curves.iou[t] == pytest.approx(confusion.iou()[1])
        assert curves.miou[t] == pytest.approx(confusion.miou())
        valid = truth != 255
        assert curves.noise[t] == pytest.approx((over & (truth == 0)).sum() / (over & valid).sum())
    assert curves.best == int(np.argmax(curves.miou))
    assert np.isnan(curves.background_share[0])


def test_the_last_map_alone_where_the_climb_was_set_so(tmp_path: Path) -> None:
    write(tmp_path, "0", steps=8, settings={"aggregate": "last"})
    write(tmp_path, "1", steps=8)
    truth = truth_of((375, 500), 0)
    last = step_curves(path_of(tmp_path, "0"), RULE, truth)
    summed = step_curves(path_of(tmp_path, "1"), RULE, np.where(truth == 1, 2, truth).astype(np.uint8))
    # The blob widens, so the last map alone is wider than the sum of all.
    assert last.area[8] > summed.area[8] and last.area[0] == summed.area[0]


def test_without_truth_nothing_is_compared(branched: ClimbPath) -> None:
    curves = step_curves(branched, RULE, None)
    assert curves.iou is curves.miou is curves.noise is None and curves.best is None
    assert np.all(np.diff(curves.area) >= 0)


def test_a_class_that_is_not_in_the_truth_has_noise_only(branched: ClimbPath) -> None:
    curves = step_curves(branched, RULE, np.zeros((90, 120), np.uint8))
    assert curves.noise is not None and curves.miou is not None
    assert (curves.noise == 1).all() and np.isnan(curves.miou).all() and curves.best is None


def test_truth_of_another_size_is_told(branched: ClimbPath) -> None:
    with pytest.raises(UserError, match="120 x 91"):
        step_curves(branched, RULE, np.zeros((91, 120), np.uint8))


def test_a_climb_without_a_step_yet(tmp_path: Path) -> None:
    begin(tmp_path, "0", steps=3)
    curves = step_curves(path_of(tmp_path), RULE, np.zeros((375, 500), np.uint8))
    assert curves.last == -1 and curves.best is None and curves.scores.shape == (0, 3)
    assert curves.csv(["a", "b", "c"]).count("\n") == 1


def test_maps_of_zeros_have_no_area(tmp_path: Path) -> None:
    writer = begin(tmp_path, "0", steps=0, size=(30, 40), grid=(6, 8))
    writer.add({**row_of(writer, 0), "maps": np.zeros((6, 8))})
    curves = step_curves(path_of(tmp_path), LabelRule("constant", 0.0), truth_of((30, 40), 0))
    assert curves.noise is not None and curves.miou is not None
    assert curves.area[0] == 0 and np.isnan(curves.noise[0])
    assert 0 < curves.miou[0] < 0.5


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    original = enlarge
    monkeypatch.setattr(
        "wsss_napari.step_curves.enlarge", lambda *a, **k: (calls.append(1), original(*a, **k))[1]
    )
    return calls


def same(a: Any, b: Any) -> None:
    for name in ("scores", "penalty", "background_share", "peak", "mean", "area", "iou", "miou", "noise"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def test_a_growing_climb_computes_only_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch)
    truth = truth_of((375, 500), 0)
    growing = GrowingCurves(RULE, truth)
    writer = begin(tmp_path, "0", steps=6)
    for t in range(7):
        writer.add(row_of(writer, t))
        found = growing.update(path_of(tmp_path))
        assert len(calls) == t + 1 and found.last == t
    same(found, step_curves(path_of(tmp_path), RULE, truth))
    calls.clear()
    growing.update(path_of(tmp_path))
    assert not calls
    writer.end("finished")
    write(tmp_path, "0.1", steps=4, parent="0", at=2, strength=2)
    branch = growing.update(path_of(tmp_path, "0.1"))
    assert len(calls) == 4, "the steps before the fork are the same"
    same(branch, step_curves(path_of(tmp_path, "0.1"), RULE, truth))
    calls.clear()
    growing.set_rule(LabelRule("constant", 0.3))
    growing.update(path_of(tmp_path, "0.1"))
    assert not calls
    growing.set_rule(LabelRule("constant", 0.5))
    other = growing.update(path_of(tmp_path, "0.1"))
    assert len(calls) == 7
    same(other, step_curves(path_of(tmp_path, "0.1"), LabelRule("constant", 0.5), truth))


def test_an_id_that_is_given_again_is_another_climb(tmp_path: Path) -> None:
    growing = GrowingCurves(RULE, None)
    write(tmp_path, "0", steps=5)
    growing.update(path_of(tmp_path))
    remove(traces_in(tmp_path)["0"])
    write(tmp_path, "0", steps=5, strength=3)
    same(growing.update(path_of(tmp_path)), step_curves(path_of(tmp_path), RULE, None))


def test_a_shorter_path_keeps_its_numbers(branched: ClimbPath, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = truth_of((90, 120), 1)
    growing = GrowingCurves(RULE, truth)
    growing.update(branched)
    calls = counted(monkeypatch)
    root = path_to({t.id: t for t in branched.traces}, "1")
    same(growing.update(root), step_curves(root, RULE, truth))
    assert len(calls) == 3 + 7


def test_the_numbers_as_csv(branched: ClimbPath) -> None:
    curves = step_curves(branched, RULE, truth_of((90, 120), 1))
    rows = list(csv.DictReader(io.StringIO(curves.csv(["cat", 'a "dog"', "cow, black"]))))
    assert len(rows) == 9
    assert float(rows[4]["score of cow, black"]) == pytest.approx(curves.scores[4, 2], rel=1e-5)
    assert curves.noise is not None
    assert float(rows[8]["noise"]) == pytest.approx(curves.noise[8], rel=1e-5)
    assert rows[0]["share of the penalty on the background"] == ""
    assert "mIoU" not in step_curves(branched, RULE, None).csv(["a", "b", "c"])


def test_thirty_steps_with_truth_are_found_at_once(tmp_path: Path) -> None:
    write(tmp_path, "0", steps=30, classes=20)
    path, truth = path_of(tmp_path), truth_of((375, 500), 0)
    growing = GrowingCurves(RULE, truth)
    times = []
    # The processor's time: what others do on the machine meanwhile must not decide.
    for _ in range(5):
        started = time.process_time()
        step_curves(path, RULE, truth)
        times.append(time.process_time() - started)
    growing.update(path)
    started = time.process_time()
    growing.update(path)
    again = time.process_time() - started
    assert min(times) < 0.15 and again < 0.03, (times, again)
