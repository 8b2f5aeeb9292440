"""A threshold over the whole image: what it makes of the mask, that it is seen before, and that it is one step."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from engine.atomic import write_json
from engine.labels import LabelRule, apply, best_class
from engine.results import CamStack
from engine.store import new_run
from engine.tags import ABSENT
from engine.tools import taken, whole_image
from wsss_napari.correct_tool_options import chosen
from wsss_napari.correct_tool_reach import NO_MAPS
from wsss_napari.palette import UNSURE

TOOLS = runpy.run_path(str(Path(__file__).with_name("test_correct_tools.py")))
STEM, CELL, classes_of, make_bench = (TOOLS[n] for n in ("STEM", "CELL", "classes_of", "make_bench"))

MASK = np.array([[0, 1, 2, 3, 255, 1]], np.uint8)
LEFT = np.array([[0.9, 0.1, 0.9, 0.2, 0.2, 0.5]], np.float32)
RIGHT = np.array([[0.2, 0.8, 0.95, 0.1, 0.1, 0.5]], np.float32)


def test_of_one_class_other_pixels_stay_below_the_threshold():
    assert whole_image(MASK, {0: LEFT}, 0.5).tolist() == [[1, 0, 1, 3, 255, 0]], "a tie is background"
    assert whole_image(MASK, {0: LEFT}, 0.5, over_others=True).tolist() == [[1, 0, 1, 0, 0, 0]]
    assert whole_image(MASK, {0: LEFT}, 1.0).tolist() == [[0, 0, 2, 3, 255, 0]]


def test_of_all_classes_the_best_one_wins_and_what_has_no_map_stays():
    both = {1: RIGHT, 0: LEFT}
    assert whole_image(MASK, both, 0.5).tolist() == [[1, 2, 2, 3, 255, 0]]
    assert whole_image(MASK, both, 0.45).tolist() == [[1, 2, 2, 3, 255, 1]], "equal scores: the first class"
    best, which = best_class(np.stack([LEFT, RIGHT]))
    rule = apply(LabelRule("constant", 0.5), best, which, (0, 1))
    assert np.array_equal(taken(both, 0.5), rule)
    assert np.array_equal(whole_image(MASK, both, 0.5, over_others=True), rule)
    assert MASK.tolist() == [[0, 1, 2, 3, 255, 1]], "the mask is not written to"


@pytest.fixture
def bench(small_project, qtbot):
    return make_bench(ViewerModel(), small_project, qtbot)


def second_run(project: Any, stem: str, cls: int) -> Any:
    """Write another run whose map of a class is a bright square in a corner."""
    run = new_run(project.root, None, "cam", {"method": "cam", "params": {"backbone": "tiny_cnn"}})
    run.weights.write_bytes(b"0")
    run.end("finished")
    views = run.views()
    write_json(views.folder / "views.json", {"settings": {"classes": "present", "flip": False}})
    heat = np.zeros((1, 12, 16), np.float16)
    heat[0, :4, :4] = 1
    CamStack(
        image=stem,
        size=(48, 64),
        classes=(cls,),
        maps=heat,
        peaks=np.ones(1, np.float32),
        cell=float(CELL),
        origin=0.0,
        scores=np.full(len(project.classes), 0.5, np.float32),
    ).save(views.path(stem))
    return views


def slide(tool: Any, threshold: float) -> None:
    tool.threshold.write(threshold)
    tool.threshold.edited.emit()


def test_what_is_seen_while_the_slider_moves_is_what_the_button_does(bench):
    cls = bench.desk.session.cls
    word = bench.project.classes[cls]
    tool = bench.take("threshold")
    assert bench.seen is None
    scores = bench.row.reach.scores(cls)
    for share in (0.35, 0.7):
        slide(tool, share)
        assert (bench.seen[..., 3] > 0).sum() == (scores > share).sum() and not bench.mask.any()
    y0, x0, y1, x1 = bench.row.reach.preview.box
    held = np.zeros((48, 64), bool)
    held[y0:y1, x0:x1] = bench.seen[..., 3] > 0
    tool.whole.click()
    assert np.array_equal(bench.mask == cls + 1, scores > 0.7) and np.array_equal(bench.mask > 0, held)
    title = tool.source.currentText()
    assert bench.names == [f"Threshold 0.7 of {title}, {word}, whole image"] and bench.seen is None
    step = bench.correction.room.steps(STEM)[-1]
    assert step.params == {
        "source": chosen(tool.source),
        "threshold": 0.7,
        "classes": [cls],
        "over_others": False,
    }
    # A lower one afterwards is another step of the same history; each is taken back by itself.
    slide(tool, 0.2)
    tool.finish()
    assert np.array_equal(bench.mask == cls + 1, scores > 0.2) and len(bench.names) == 2
    bench.correction.undo()
    assert np.array_equal(bench.mask == cls + 1, scores > 0.7)
    bench.correction.undo()
    assert not bench.mask.any()


def test_all_classes_follow_the_label_rule_and_tags(bench):
    first, second = classes_of(bench.project, STEM)
    tool = bench.take("threshold")
    tool.which.setCurrentIndex(1)
    tool.which.activated.emit(1)
    slide(tool, 0.4)
    maps = np.stack([bench.row.reach.scores(c) for c in (first, second)])
    wanted = apply(LabelRule("constant", 0.4), *best_class(maps), (first, second))
    tool.finish()
    assert np.array_equal(bench.mask, wanted) and set(np.unique(wanted)) == {0, first + 1, second + 1}
    assert bench.names[-1].endswith(", all classes, whole image") and "Threshold 0.4 of" in bench.names[-1]
    # A class that the image is said not to have is left out although there is a map of it.
    bench.desk.session.set_tag(STEM, second, ABSENT)
    bench.correction.undo()
    tool.finish()
    assert set(np.unique(bench.mask)) == {0, first + 1}
    assert bench.correction.room.steps(STEM)[0].params["classes"] == [first]


def test_the_edit_mask_counts_in_the_preview_and_in_the_step(bench):
    cls, other = classes_of(bench.project, STEM)
    scores = bench.row.reach.scores(cls)
    whole = (0, 0, 48, 64)
    left = np.zeros((48, 64), bool)
    left[:, : int(np.argwhere(scores > 0.5)[:, 1].mean())] = True
    bench.correction.apply("Left", "brush", whole, left, other + 1, {})
    tool = bench.take("threshold")
    slide(tool, 0.5)
    everywhere = (bench.seen[..., 3] > 0).sum()
    bench.correction.policy = "keep"
    kept = (bench.seen[..., 3] > 0).sum()
    assert 0 < kept < everywhere == (scores > 0.5).sum(), "the preview follows the edit mask at once"
    tool.finish()
    assert (bench.mask[left] == other + 1).all() and (bench.mask == cls + 1).sum() == kept
    bench.correction.policy = "unsure"
    slide(tool, 0.1)
    assert bench.seen is None
    tool.finish()
    assert "edit mask" in bench.row.told_text and len(bench.names) == 2


def test_the_maps_of_another_run_can_decide(bench):
    cls, other = classes_of(bench.project, STEM)
    tool = bench.take("threshold")
    mine = chosen(tool.source)
    views = second_run(bench.project, STEM, cls)
    bench.desk.session.runs_changed.emit()
    assert chosen(tool.source) == mine and tool.source.count() == 2
    tool.source.setCurrentIndex(tool.source.findData(f"map:{views}"))
    tool.source.activated.emit(tool.source.currentIndex())
    slide(tool, 0.5)
    tool.finish()
    ys, xs = np.nonzero(bench.mask == cls + 1)
    assert ys.max() < 16 and xs.max() < 16 and bench.mask[4, 4] == cls + 1
    # The brush takes what the same maps say.
    bench.layer.brush_size = 5
    bench.drag((4, 4), (40, 40))
    assert len(bench.names) == 1 and "nothing to change" in bench.row.told_text
    bench.correction.value = other + 1
    assert "No map of" in tool.missing() and not tool.whole.isEnabled()
    tool.finish()
    assert len(bench.names) == 1


def test_nothing_is_seen_after_a_stroke_an_image_switch_or_esc(bench):
    tool = bench.take("threshold")
    slide(tool, 0.3)
    assert bench.seen is not None
    tool.escape()
    assert bench.seen is None
    slide(tool, 0.3)
    bench.layer.brush_size = 3
    bench.drag((1, 1), (1, 4))
    assert bench.seen is None
    slide(tool, 0.3)
    assert bench.desk.corrections.show("im_002") == ""
    assert bench.seen is None and bench.names == []
    slide(tool, 0.3)
    bench.correction.set_state("approved")
    assert bench.seen is None
    tool.finish()
    assert not bench.mask.any() and "Approved" in bench.row.told_text


def test_a_large_image_is_previewed_coarser_and_done_exactly(bench, monkeypatch):
    monkeypatch.setattr("wsss_napari.correct_tool_preview._MOST", 16)
    cls = bench.desk.session.cls
    tool = bench.take("threshold")
    slide(tool, 0.5)
    layer = bench.row.reach.preview.layer
    assert tuple(layer.scale) == (4, 4) and bench.seen[..., 3].any()
    tool.finish()
    assert np.array_equal(bench.mask == cls + 1, bench.row.reach.scores(cls) > 0.5)


def test_without_maps_it_says_so(small_project, qtbot):
    bare = make_bench(ViewerModel(), small_project, qtbot, maps=False)
    tool = bare.take("threshold")
    for at in (0, 1):
        tool.which.setCurrentIndex(at)
        tool.finish()
        assert bare.row.told_text == NO_MAPS
    assert bare.names == [] and not tool.whole.isEnabled() and not tool.source.isEnabled()


def test_background_and_unsure_have_no_map_but_all_classes_do(bench):
    tool = bench.take("threshold")
    bench.correction.value = UNSURE
    assert tool.which.itemText(0) == "the class painted"
    tool.which.setCurrentIndex(1)
    tool.finish()
    assert len(bench.names) == 1 and bench.mask.any()
