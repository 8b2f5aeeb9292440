"""The tools of the Correct page: each is one step through the room, and leaves the layer as it was."""

from __future__ import annotations

import gc
import runpy
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils._proxies import ReadOnlyWrapper
from napari.utils.interactions import (
    mouse_move_callbacks,
    mouse_press_callbacks,
    mouse_release_callbacks,
)
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLabel,
    QSlider,
    QWidget,
)
from scipy import ndimage

from engine.atomic import write_json
from engine.results import CamStack
from engine.store import Project, label_set, new_run
from engine.store.truth import read_truth
from engine.tools import threshold_brush
from wsss_napari import correct_tools
from wsss_napari._compat import canvas_of
from wsss_napari.correct_tool_icons import SIGNS
from wsss_napari.correct_tool_options import chosen
from wsss_napari.correct_tool_reach import NO_MAPS
from wsss_napari.correct_tools import NATIVE, OURS, ToolRow, key_of
from wsss_napari.desk import Desk, desk_of
from wsss_napari.keys import Binding
from wsss_napari.palette import UNSURE

STEM = "im_001"
CELL = 4


def soft(project: Project, stem: str, cls: int) -> np.ndarray:
    """Return a map that lights the truth softly, [h, w] float16."""
    truth = read_truth(project, stem)
    assert truth is not None
    heat = ndimage.gaussian_filter((truth == cls + 1).astype(np.float32), 3)[::CELL, ::CELL]
    return (heat / heat.max()).astype(np.float16)


def classes_of(project: Project, stem: str) -> tuple[int, ...]:
    truth = read_truth(project, stem)
    assert truth is not None
    return tuple(int(v) - 1 for v in np.unique(truth) if 0 < v < UNSURE)


def draw_maps(project: Project) -> None:
    """Write a finished run with maps of every image."""
    run = new_run(project.root, None, "cam", {"method": "cam", "params": {"backbone": "tiny_cnn"}})
    run.weights.write_bytes(b"0")
    run.end("finished")
    views = run.views()
    write_json(views.folder / "views.json", {"settings": {"classes": "present", "flip": False}})
    for stem in project.usable:
        classes = classes_of(project, stem)
        maps = np.stack([soft(project, stem, c) for c in classes])
        CamStack(
            image=stem,
            size=(48, 64),
            classes=classes,
            maps=maps,
            peaks=np.ones(len(classes), np.float32),
            cell=float(CELL),
            origin=0.0,
            scores=np.full(len(project.classes), 0.5, np.float32),
        ).save(views.path(stem))


class Bench:
    """A tool row on a project, and a hand that moves the mouse on the layer."""

    def __init__(self, row: ToolRow, desk: Desk, qtbot: Any) -> None:
        self.row, self.desk, self.qtbot = row, desk, qtbot
        self.correction = desk.corrections.correction
        project = desk.session.project
        assert project is not None
        self.project = project

    @property
    def layer(self) -> Any:
        return self.correction.layer

    @property
    def mask(self) -> np.ndarray:
        assert self.correction.sheet is not None
        return self.correction.sheet.mask

    @property
    def names(self) -> list[str]:
        """Names of the steps that stand."""
        assert self.correction.room is not None
        return [s.name for s in self.correction.room.steps(self.correction.stem) if s.done]

    def take(self, name: str) -> Any:
        self.row.choose(name)
        self.wait()
        return self.row.tools.get(name)

    def wait(self) -> None:
        self.qtbot.waitUntil(lambda: not self.row.busy, timeout=20_000)

    def drag(self, *points: tuple[float, float], modifiers: tuple[str, ...] = (), button: int = 1) -> None:
        """Press at the first point, move over the others, let go."""
        self.press(points[0], modifiers, button)
        for point in points[1:]:
            mouse_move_callbacks(self.layer, self._event("mouse_move", point, modifiers, button, True))
        self.release(points[-1], modifiers, button)

    def press(self, point: tuple[float, float], modifiers: tuple[str, ...] = (), button: int = 1) -> None:
        mouse_press_callbacks(self.layer, self._event("mouse_press", point, modifiers, button, False))

    def release(self, point: tuple[float, float], modifiers: tuple[str, ...] = (), button: int = 1) -> None:
        mouse_release_callbacks(self.layer, self._event("mouse_release", point, modifiers, button, False))

    def hover(self, point: tuple[float, float]) -> None:
        mouse_move_callbacks(self.layer, self._event("mouse_move", point, (), None, False))

    @staticmethod
    def _event(kind: str, point: Any, modifiers: Any, button: Any, dragging: bool) -> Any:
        # As napari hands it to callbacks: the moves of a drag are put into the event of its press.
        event = SimpleNamespace(
            type=kind,
            position=point,
            modifiers=list(modifiers),
            button=button,
            is_dragging=dragging,
            handled=False,
            view_direction=None,
            dims_displayed=[0, 1],
        )
        return ReadOnlyWrapper(event, exceptions=("handled",))

    @property
    def seen(self) -> np.ndarray | None:
        """What the preview shows, [h, w, 4], or None when it shows nothing."""
        layer = self.row.reach.preview.layer
        return layer.data if layer is not None and layer.visible else None


def make_bench(viewer: Any, project: Project, qtbot: Any, *, maps: bool = True) -> Bench:
    if maps:
        draw_maps(project)
    desk = desk_of(viewer)
    desk.session.open(project.root)
    desk.session.jump(STEM)
    desk.session.cls = classes_of(project, STEM)[0]
    # From an empty mask, so that what stands there afterwards is what the tools did.
    desk.corrections.proposal = lambda _stem: None  # type: ignore[method-assign]
    assert desk.corrections.show(STEM) == ""
    row = ToolRow(desk, desk.corrections.correction)
    qtbot.addWidget(row, before_close_func=lambda _row: desk.corrections.close())
    row.resize(380, 600)
    row.show()
    return Bench(row, desk, qtbot)


@pytest.fixture(autouse=True)
def collected():
    """Timers of viewers of tests before end here, in the thread that made them, and not in a tool's thread."""
    gc.collect()


@pytest.fixture
def bench(small_project, qtbot):
    """A row beside a viewer without a window, on an image with two classes whose maps are drawn."""
    return make_bench(ViewerModel(), small_project, qtbot)


@pytest.fixture
def bare(small_project, qtbot):
    """The same without maps."""
    return make_bench(ViewerModel(), small_project, qtbot, maps=False)


def where(bench: Bench, cls: int) -> tuple[int, int]:
    """Return a point in the middle of a class."""
    truth = read_truth(bench.project, STEM)
    assert truth is not None
    ys, xs = np.nonzero(truth == cls + 1)
    return int(ys.mean()), int(xs.mean())


def test_every_tool_has_a_sign_a_name_and_a_sentence(bench):
    assert set(bench.row.buttons) == set(SIGNS) == {*NATIVE, *(t.NAME for t in OURS)}
    for name, button in bench.row.buttons.items():
        bench.take(name)
        assert button.isChecked() and bench.row.title.text() == button.title
        assert bench.row.tip.text().endswith((".", "it.")) and button.title in button.toolTip()
        assert [b.name for b in bench.row.buttons.values() if b.isChecked()] == [name]
        picture = button.grab().toImage()
        shades = {picture.pixel(x, y) for x in range(picture.width()) for y in range(picture.height())}
        assert len(shades) > 8, name


def test_every_control_has_a_tooltip_and_a_name(bench):
    for widget in bench.row.findChildren(QWidget):
        if not isinstance(widget, (QAbstractButton, QComboBox, QAbstractSpinBox, QSlider)):
            continue
        if widget.objectName().startswith("qt_") or isinstance(
            widget.parent(), (QComboBox, QAbstractSpinBox)
        ):
            continue
        if widget.parent().metaObject().className().startswith("QComboBox"):
            continue  # parts of a list that is not open
        assert widget.toolTip(), (widget, widget.accessibleName())
        text = widget.text() if isinstance(widget, QAbstractButton) else ""
        assert text or widget.accessibleName(), (widget, widget.toolTip())


def test_threshold_brush_takes_what_the_map_says_in_one_step(bench):
    cls = bench.desk.session.cls
    tool = bench.take("threshold")
    bench.layer.brush_size = 15
    y, x = where(bench, cls)
    scores = bench.row.reach.scores(cls)
    path = [(y, x - 8), (y, x), (y + 3, x + 14)]
    box, after = threshold_brush(bench.mask, scores, float(tool.threshold.read()), cls + 1, path, 15)
    assert after.any() and bench.names == []
    bench.drag(*path)
    assert bench.names == [f"Threshold brush: {bench.project.classes[cls]}"]
    wanted = np.zeros_like(bench.mask)
    wanted[box[0] : box[2], box[1] : box[3]] = after
    assert (bench.mask == wanted).all() and (bench.mask == cls + 1).any()
    # Above the map's reach nothing was taken although the brush was there.
    assert scores[bench.mask == cls + 1].min() > tool.threshold.read()
    assert bench.seen is None


def test_threshold_brush_shows_what_it_takes_before_it_takes_it(bench):
    bench.take("threshold")
    y, x = where(bench, bench.desk.session.cls)
    bench.press((y, x))
    assert bench.seen is not None and bench.seen[..., 3].any()
    assert not bench.mask.any()
    bench.release((y, x))
    assert bench.mask.any() and bench.seen is None


def test_tools_that_follow_maps_say_what_is_missing(bare):
    for name in ("threshold", "band", "region"):
        tool = bare.take(name)
        assert tool.missing() == NO_MAPS == bare.row.told_text, name
        assert NO_MAPS in bare.row.buttons[name].toolTip()
        bare.drag((10, 10), (20, 20))
        bare.hover((10, 10))
    assert bare.names == []
    bare.take("brush")
    assert bare.row.told_text == ""


def test_a_class_without_a_map_is_named(bench):
    other = next(c for c in range(3) if c not in classes_of(bench.project, STEM))
    tool = bench.take("threshold")
    assert tool.missing() == ""
    bench.correction.value = other + 1
    assert f"No map of {bench.project.classes[other]}" in bench.row.told_text
    bench.correction.value = classes_of(bench.project, STEM)[1] + 1
    assert bench.row.told_text == ""


def test_region_takes_the_piece_under_the_click(bench):
    cls = bench.desk.session.cls
    tool = bench.take("region")
    assert tool.missing() == "" and chosen(tool.source).startswith("map:")
    scores = bench.row.reach.scores(cls)
    pieces, _ = ndimage.label(scores > 0.3)
    point = where(bench, cls)
    bench.hover(point)
    assert bench.seen is not None
    bench.drag(point)
    assert (bench.mask == np.where(pieces == pieces[point], cls + 1, 0)).all()
    assert bench.names[0].endswith(f": {bench.project.classes[cls]}")
    far = np.unravel_index(int(scores.argmin()), scores.shape)
    bench.drag(tuple(int(v) for v in far))
    assert "not above 0.3" in bench.row.told_text and len(bench.names) == 1


def test_region_of_labels_brings_their_class_or_the_chosen_one(bench):
    labels = label_set(bench.project.root, bench.project.colours, "drawn", new=True)
    truth = read_truth(bench.project, STEM)
    labels.write(STEM, truth)
    bench.desk.session.labels_changed.emit()
    tool = bench.take("region")
    tool.source.setCurrentIndex(tool.source.findData("labels:drawn"))
    bench.wait()
    assert tool.threshold.isHidden()
    other = classes_of(bench.project, STEM)[1]
    point = where(bench, other)
    bench.drag(point)
    assert set(np.unique(bench.mask)) == {0, other + 1}
    tool.paint_as.setCurrentIndex(1)
    bench.correction.value = UNSURE
    bench.drag(point)
    assert set(np.unique(bench.mask)) == {0, UNSURE}
    assert [n.rpartition(": ")[2] for n in bench.names] == [bench.project.classes[other], "unsure"]


def test_a_damaged_source_is_a_sentence(bench):
    labels = label_set(bench.project.root, bench.project.colours, "drawn", new=True)
    labels.write(STEM, read_truth(bench.project, STEM))
    labels.path(STEM).write_bytes(b"no picture")
    tool = bench.take("region")
    tool.source.setCurrentIndex(tool.source.findData("labels:drawn"))
    bench.wait()
    assert tool.drawn is None and STEM in bench.row.told_text
    bench.drag(where(bench, bench.desk.session.cls))
    assert bench.names == []


def test_superpixels_by_drag_are_one_step(bench):
    tool = bench.take("superpixel")
    assert tool.ids is not None and tool.ids.shape == bench.mask.shape
    assert bench.row.reach.ground.layer.visible
    value = bench.correction.value
    y, x = where(bench, value - 1)
    bench.hover((y, x))
    assert bench.seen is not None
    bench.drag((y, 1), (y, 62))
    held = set(tool.ids[bench.mask == value])
    assert held == set(tool.ids[y, 1:63]) and len(held) > 1
    assert (np.isin(tool.ids, list(held)) == (bench.mask == value)).all()
    assert len(bench.names) == 1 and bench.names[0].startswith("Superpixels: ")
    tool.lines.setChecked(False)
    assert not bench.row.reach.ground.layer.visible


def test_superpixels_are_cut_once_for_each_size(bench, monkeypatch):
    made = []
    real = correct_tools.SuperpixelTool.__module__
    cut = sys.modules[real].superpixels
    monkeypatch.setattr(sys.modules[real], "superpixels", lambda *a: made.append(a[1:]) or cut(*a))
    tool = bench.take("superpixel")
    tool.size.setCurrentIndex(0)
    bench.wait()
    tool.size.setCurrentIndex(1)
    bench.wait()
    bench.take("brush")
    bench.take("superpixel")
    assert made == [("slic", 256), ("slic", 64)]


def test_scribbles_of_two_classes_spread_as_one_step(bench):
    cls, other = classes_of(bench.project, STEM)
    tool = bench.take("scribble")
    assert not tool.spread.isEnabled()
    bench.layer.brush_size = 3
    (y, x), (v, u) = where(bench, cls), where(bench, other)
    bench.drag((y - 5, x), (y + 5, x))
    bench.correction.value = other + 1
    bench.drag((v - 5, u), (v + 5, u))
    bench.correction.value = 0
    bench.drag((0, 0), (0, 63))
    assert bench.names == [] and len(tool.strokes) == 3 and bench.seen is not None
    tool.take_back()
    assert len(tool.strokes) == 2
    bench.drag((0, 0), (0, 63))
    tool.finish()
    bench.wait()
    words = bench.project.classes
    assert bench.names == [f"Scribbles: {words[cls]} and {words[other]} and background"]
    assert bench.mask[y, x] == cls + 1 and bench.mask[v, u] == other + 1 and bench.mask[0, 10] == 0
    assert tool.strokes == [] and bench.seen is None


def test_clicks_add_and_take_away_and_undo_forgets_them(bench):
    cls = bench.desk.session.cls
    tool = bench.take("clicks")
    point = where(bench, cls)
    bench.drag(point)
    bench.wait()
    held = bench.mask == cls + 1
    assert held[point] and len(tool.clicks) == 1 and bench.seen is not None
    bench.drag(point)
    bench.wait()
    assert "already" in bench.row.told_text and len(tool.clicks) == 1
    bench.drag((point[0] + 2, point[1]), modifiers=("Control",))
    bench.wait()
    assert (bench.mask == cls + 1).sum() < held.sum() and len(bench.names) == 2
    assert bench.names[1] == f"Click: not {bench.project.classes[cls]}"
    bench.correction.undo()
    assert tool.clicks == [] and ((bench.mask == cls + 1) == held).all()
    bench.correction.value = UNSURE
    assert "Choose a class" in bench.row.told_text


def test_snap_changes_nothing_outside_of_the_rectangle(bench):
    rough(bench)
    before = bench.mask.copy()
    y, x = where(bench, bench.desk.session.cls)
    y0, x0, y1, x1 = max(y - 15, 0), max(x - 14, 0), min(y + 15, 47), min(x + 14, 63)
    bench.take("snap")
    bench.press((y0, x0))
    mouse_move_callbacks(bench.layer, bench._event("mouse_move", (y1, x1), (), 1, True))
    assert bench.seen is not None
    bench.release((y1, x1))
    bench.wait()
    outside = np.ones(before.shape, bool)
    outside[y0 : y1 + 1, x0 : x1 + 1] = False
    assert (bench.mask[outside] == before[outside]).all()
    assert (bench.mask != before).any() and bench.names[-1] == "Snap in a rectangle"
    bench.drag((4, 4))
    assert "Drag a rectangle" in bench.row.told_text


def test_snap_along_the_border_keeps_what_is_far_from_it(bench):
    rough(bench)
    before = bench.mask.copy()
    tool = bench.take("snap")
    assert bench.project.classes[bench.desk.session.cls] in tool.along.text()
    tool.width.write(3)
    tool.finish()
    bench.wait()
    own = before == bench.correction.value
    near = (ndimage.distance_transform_edt(own) <= 3) & (ndimage.distance_transform_edt(~own) <= 3)
    assert (bench.mask[~near] == before[~near]).all() or bench.row.told_text
    bench.correction.value = UNSURE
    tool.finish()
    assert "no unsure" in bench.row.told_text


def rough(bench: Bench) -> None:
    """Draw the class a few pixels beside where it is."""
    truth = read_truth(bench.project, STEM)
    value = bench.desk.session.cls + 1
    region = np.roll(truth == value, 3, axis=0)
    assert bench.correction.apply("Rough", "brush", (0, 0, 48, 64), region, value, {})


def test_the_band_becomes_unsure(bench):
    tool = bench.take("band")
    assert bench.seen is not None
    tool.histogram.set_handles(0.1, 0.6, band=True)
    tool.histogram.moved.emit(0.1, 0.6)
    best = bench.row.reach.best()
    band = (best > 0.1) & (best <= 0.6)
    assert (bench.seen[..., 3] > 0).sum() == band.sum()
    tool.finish()
    assert ((bench.mask == UNSURE) == band).all() and band.any()
    assert bench.names == ["Unsure band"]


def test_shapes_are_mended_one_step_each(bench):
    cls = bench.desk.session.cls
    square = np.zeros((48, 64), bool)
    square[10:30, 10:30] = True
    square[18:20, 18:20] = False
    square[40, 40] = True
    assert bench.correction.apply("Square", "brush", (0, 0, 48, 64), square, cls + 1, {})
    tool = bench.take("shape")
    for action in (tool.fill, tool.remove, tool.grow, tool.shrink, tool.smooth):
        action()
        bench.wait()
    word = bench.project.classes[cls]
    wanted = ["Fill holes", "Remove specks", "Grow 2 px", "Shrink 2 px", "Smooth border"]
    assert bench.names[1:] == [f"{name}: {word}" for name in wanted]
    ys, xs = np.nonzero(bench.mask)
    assert bench.mask[18, 18] == cls + 1 and bench.mask[40, 40] == 0
    assert (ys.min(), ys.max(), xs.min(), xs.max()) == (10, 29, 10, 29)


def test_what_lies_under_goes_to_the_class(bench):
    ring, middle = np.zeros((48, 64), bool), np.zeros((48, 64), bool)
    ring[10:30, 10:30], middle[15:20, 15:20] = True, True
    cls, other = classes_of(bench.project, STEM)
    bench.correction.apply("Ring", "brush", (0, 0, 48, 64), ring, cls + 1, {})
    bench.correction.apply("Middle", "brush", (0, 0, 48, 64), middle, other + 1, {})
    tool = bench.take("shape")
    tool.fill()
    bench.wait()
    assert (bench.mask == other + 1).sum() == 25 and "nothing to change" in bench.row.told_text
    tool.which.setCurrentIndex(1)
    tool.underlying()
    assert "Choose one class" in bench.row.told_text
    tool.which.setCurrentIndex(0)
    tool.underlying()
    bench.wait()
    assert (bench.mask[ring] == cls + 1).all()


def test_convert_a_piece_or_the_whole_image(bench):
    cls, other = classes_of(bench.project, STEM)
    pieces = np.zeros((48, 64), bool)
    pieces[2:8, 2:8] = pieces[30:40, 30:40] = True
    bench.correction.apply("Two", "brush", (0, 0, 48, 64), pieces, cls + 1, {})
    tool = bench.take("convert")
    tool.new.setCurrentIndex(tool.new.findData(other + 1))
    bench.hover((4, 4))
    assert bench.seen is not None
    bench.drag((4, 4))
    assert (bench.mask[2:8, 2:8] == other + 1).all() and (bench.mask[30:40, 30:40] == cls + 1).all()
    bench.drag((4, 4))
    assert "already" in bench.row.told_text
    tool.old.setCurrentIndex(tool.old.findData(cls + 1))
    tool.new.setCurrentIndex(tool.new.findData(UNSURE))
    tool.finish()
    assert (bench.mask[30:40, 30:40] == UNSURE).all()
    words = bench.project.classes
    assert bench.names[1:] == [
        f"Convert a piece: {words[cls]} to {words[other]}",
        f"Convert: {words[cls]} to unsure",
    ]


def test_tools_keep_to_the_edit_mask(bench):
    cls, other = classes_of(bench.project, STEM)
    point = where(bench, cls)
    y, x = point
    block = np.ones((6, 6), bool)
    bench.correction.apply("Block", "brush", (y - 3, x - 3, y + 3, x + 3), block, other + 1, {})
    bench.correction.policy = "keep"
    bench.take("region")
    bench.drag(point)
    assert (bench.mask[y - 3 : y + 3, x - 3 : x + 3] == other + 1).all() and (bench.mask == cls + 1).any()
    bench.correction.policy = "unsure"
    bench.drag(point)
    assert "edit mask" in bench.row.told_text and len(bench.names) == 2


def test_an_approved_mask_is_left_alone(bench):
    bench.take("region")
    assert bench.correction.set_state("approved")
    assert not bench.row.buttons["region"].isEnabled() and bench.row.buttons["move"].isEnabled()
    assert not bench.row.tool.awake and bench.layer.mouse_pan
    bench.drag(where(bench, bench.desk.session.cls))
    bench.row.tools["shape"].fill()
    assert "Approved" in bench.row.told_text
    assert bench.names == []
    assert bench.correction.set_state("in progress")
    assert bench.row.tool.awake and bench.row.buttons["region"].isEnabled()
    bench.drag(where(bench, bench.desk.session.cls))
    assert len(bench.names) == 1


class Held:
    """Stands for a slow tool: it waits until it is let go."""

    def __init__(self, result: Any) -> None:
        self.go, self.result = threading.Event(), result

    def __call__(self, *_args: Any, **_options: Any) -> Any:
        assert self.go.wait(20)
        return self.result


@pytest.fixture
def held(monkeypatch):
    """Clicks that are followed only when they are let go."""
    slow = Held(((0, 0, 4, 4), np.full((4, 4), 1, np.uint8)))
    monkeypatch.setattr("wsss_napari.correct_tool_clicks.apply_clicks", slow)
    yield slow
    slow.go.set()


def settle(bench: Bench, held: Held) -> None:
    held.go.set()
    background = bench.row.reach.work._background
    bench.qtbot.waitUntil(lambda: not background.pending, timeout=20_000)


def test_esc_stops_what_is_computed(bench, held):
    tool = bench.take("clicks")
    bench.drag((20, 20))
    assert (
        bench.row.busy and not bench.row.stop.isHidden() and bench.row.doing.text() == "Following the click…"
    )
    bench.qtbot.keyClick(bench.row, Qt.Key.Key_Escape)
    assert not bench.row.busy and bench.row.stop.isHidden() and tool.clicks == []
    settle(bench, held)
    assert bench.names == [] and not bench.mask.any()


def test_stopping_the_spreading_keeps_the_lines(bench, monkeypatch):
    slow = Held(((0, 0, 4, 4), np.full((4, 4), 1, np.uint8)))
    monkeypatch.setattr("wsss_napari.correct_tool_scribble.propagate", slow)
    tool = bench.take("scribble")
    bench.drag((10, 10), (10, 30))
    bench.drag((30, 10), (30, 30))
    bench.qtbot.keyClick(bench.row, Qt.Key.Key_Return)
    assert bench.row.doing.text() == "Spreading the lines…"
    bench.row.stop.click()
    assert not bench.row.busy and len(tool.strokes) == 2
    settle(bench, slow)
    assert bench.names == []
    bench.qtbot.keyClick(bench.row, Qt.Key.Key_Escape)
    assert tool.strokes == []


def test_enter_in_a_number_does_not_start_the_tool(bench):
    rough(bench)
    tool = bench.take("snap")
    bench.row.activateWindow()
    tool.width.box.setFocus()
    bench.qtbot.waitUntil(tool.width.box.hasFocus)
    bench.qtbot.keyClick(tool.width.box, Qt.Key.Key_Return)
    assert not bench.row.busy and len(bench.names) == 1


def test_a_result_that_comes_after_an_image_switch_is_dropped(bench, held):
    tool = bench.take("clicks")
    bench.drag((20, 20))
    assert bench.desk.corrections.show("im_002") == ""
    assert not bench.row.busy and tool.clicks == [] and tool.awake
    settle(bench, held)
    assert not bench.mask.any() and bench.names == []
    assert bench.desk.corrections.show(STEM) == ""
    assert not bench.mask.any() and bench.names == []


def test_a_result_of_a_mask_that_changed_meanwhile_is_dropped(bench, held):
    bench.take("clicks")
    bench.drag((20, 20))
    bench.correction.apply("Dot", "brush", (30, 30, 31, 31), np.ones((1, 1), bool), 2, {})
    assert not bench.row.busy and "changed meanwhile" in bench.row.told_text
    settle(bench, held)
    assert bench.names == ["Dot"] and bench.mask.sum() == 2


def test_a_drag_ends_with_the_image_it_began_on(bench):
    bench.take("threshold")
    y, x = where(bench, bench.desk.session.cls)
    bench.press((y, x))
    assert bench.desk.corrections.show("im_002") == ""
    mouse_move_callbacks(bench.layer, bench._event("mouse_move", (y, x + 5), (), 1, True))
    bench.release((y, x + 5))
    assert not bench.mask.any() and bench.names == []


def test_the_layer_is_left_as_it_was(bench):
    layer = bench.layer
    before = (list(layer.mouse_drag_callbacks), list(layer.mouse_move_callbacks), dict(layer.keymap))
    count = len(bench.desk.viewer.layers)
    for name in (kind.NAME for kind in OURS):
        bench.take(name)
        assert not layer.mouse_pan and layer.mode == "pan_zoom"
    bench.take("brush")
    after = (list(layer.mouse_drag_callbacks), list(layer.mouse_move_callbacks), dict(layer.keymap))
    assert after == before and layer.mode == "paint" and len(bench.desk.viewer.layers) == count
    bench.take("move")
    assert layer.mouse_pan


def test_a_hidden_row_has_no_hand_on_the_layer(bench):
    tool = bench.take("region")
    assert tool.awake
    bench.row.hide()
    assert not tool.awake and bench.row.reach.preview.layer is None
    bench.drag(where(bench, bench.desk.session.cls))
    assert bench.names == []
    bench.row.show()
    bench.wait()
    assert tool.awake
    bench.drag(where(bench, bench.desk.session.cls))
    assert len(bench.names) == 1


def test_napari_s_own_buttons_are_followed(bench):
    bench.take("region")
    bench.layer.mode = "fill"
    assert bench.row.name == "fill" and not bench.row.tools["region"].awake
    bench.layer.mode = "pan_zoom"  # as while Space is held
    assert bench.row.buttons["move"].isChecked() and bench.row.name == "fill"
    bench.layer.mode = "fill"
    assert bench.row.buttons["fill"].isChecked()
    bench.layer.mode = "pick"
    assert not any(b.isChecked() for b in bench.row.buttons.values())
    bench.take("brush")
    bench.layer.brush_size = 41
    assert bench.row.size.read() == 41
    bench.row.size.write(7)
    bench.row.size.edited.emit()
    assert bench.layer.brush_size == 7


def test_space_moves_the_image_while_it_is_held(bench):
    tool = bench.take("region")
    hold = (
        bench.layer.keymap["Space"](bench.layer) if "Space" in bench.layer.keymap else tool._hold(bench.layer)
    )
    next(hold)
    assert bench.layer.mouse_pan
    bench.drag(where(bench, bench.desk.session.cls))
    assert bench.names == []
    next(hold, None)
    assert not bench.layer.mouse_pan
    bench.drag(where(bench, bench.desk.session.cls))
    assert len(bench.names) == 1


def test_a_deleted_layer_is_no_error(bench, qtbot):
    tool = bench.take("region")
    bench.desk.viewer.layers.remove(bench.layer)
    qtbot.waitUntil(lambda: not tool.awake)
    bench.correction.show()
    bench.row.settle()
    assert tool.awake
    bench.wait()
    bench.drag(where(bench, bench.desk.session.cls))
    assert len(bench.names) == 1


def test_the_keys_are_those_of_the_table(bench):
    bound = {b.action for b in correct_tools.BINDINGS if b.page == "correct" and b.action.startswith("tool_")}
    for name, button in bench.row.buttons.items():
        assert button.key == key_of(name) and bool(button.key) == (f"tool_{name}" in bound)
    labels = [w.text() for w in bench.row.findChildren(QLabel)]
    assert "Brush" in labels


def test_region_of_a_step_of_a_climb(bench):
    cls = bench.desk.session.cls
    run = bench.desk.session.chosen_run
    fake = runpy.run_path(str(Path(__file__).with_name("fake_climbs.py")))
    folder = run.views("steps").folder / STEM / "climb"
    trace = fake["write"](folder, str(cls), size=(48, 64), grid=(12, 16), steps=4, image=STEM)
    assert trace.last == 4
    tool = bench.take("region")
    at = tool.source.findText("climb", Qt.MatchFlag.MatchContains)
    tool.source.setCurrentIndex(at)
    bench.wait()
    assert not tool.step.isHidden() and (tool.step.read(), tool.step.maximum()) == (4, 4)
    tool.threshold.write(0.5)
    bench.drag((22, 32))
    wide = (bench.mask == cls + 1).sum()
    bench.correction.undo()
    tool.step.setValue(0)
    bench.wait()
    bench.drag((22, 32))
    # The blob widens with the steps.
    assert 0 < (bench.mask == cls + 1).sum() < wide


def test_a_hand_on_the_canvas(small_project, make_napari_viewer, qtbot, monkeypatch):
    table = [
        Binding((k,), n, "Correct", "correct", f"tool_{n}") for k, n in (("T", "threshold"), ("P", "brush"))
    ]
    known = tuple(b for b in correct_tools.BINDINGS if not b.action.startswith("tool_"))
    for module in ("wsss_napari.keys", "wsss_napari.correct_tools"):
        monkeypatch.setattr(f"{module}.BINDINGS", (*known, *table))
    viewer = make_napari_viewer()
    bench = make_bench(viewer, small_project, qtbot)
    bench.desk.keys.page = "correct"
    canvas = canvas_of(viewer)
    viewer.layers.selection.active = bench.layer
    canvas.setFocus()
    assert bench.row.buttons["threshold"].key == "T" and "(T)" in bench.row.buttons["threshold"].toolTip()
    qtbot.keyClick(canvas, Qt.Key.Key_T)
    assert bench.row.name == "threshold" and bench.row.tool.awake
    bench.row.tools["threshold"].threshold.write(0.0)
    bench.layer.brush_size = 9
    y, x = where(bench, bench.desk.session.cls)
    viewer.camera.center, viewer.camera.zoom = (y, x), 6
    QApplication.processEvents()
    camera = tuple(viewer.camera.center)
    start = canvas.rect().center()
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=start)
    for dx in (-12, -24, -36, -48):
        qtbot.mouseMove(canvas, start + QPoint(dx, 0))
        event = QMouseEvent(
            QEvent.Type.MouseMove,
            QPointF(start + QPoint(dx, 0)),
            Qt.MouseButton.NoButton,
            Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
        )
        QApplication.sendEvent(canvas, event)
        qtbot.wait(40)  # a hand takes its time, and the canvas passes over moves that come faster than frames
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=start + QPoint(-48, 0))
    assert len(bench.names) == 1
    ys, xs = np.nonzero(bench.mask == bench.correction.value)
    assert np.ptp(xs) >= np.ptp(ys) + 3 > 3, "the way of the brush was not followed"
    assert tuple(viewer.camera.center) == camera, "the drag moved the image too"
    assert (bench.layer.data == bench.mask).all()
    qtbot.keyClick(canvas, Qt.Key.Key_P)
    assert (
        bench.row.name == "brush" and bench.layer.mode == "paint" and not bench.row.tools["threshold"].awake
    )


def test_on_a_large_image_the_piece_is_looked_for_in_a_thread_and_previewed_coarser(bench, monkeypatch):
    monkeypatch.setattr("wsss_napari.correct_tool_work._AT_ONCE", 100)
    monkeypatch.setattr("wsss_napari.correct_tool_preview._MOST", 16)
    cls = bench.desk.session.cls
    scores = bench.row.reach.scores(cls)
    pieces, _ = ndimage.label(scores > 0.3)
    point = where(bench, cls)
    wanted = pieces == pieces[point]
    tool = bench.take("region")
    bench.hover(point)
    layer = bench.row.reach.preview.layer
    assert layer.visible and tuple(layer.scale) == (4, 4)
    ys, xs = np.nonzero(wanted)
    (top, left), (bottom, right) = layer.extent.world[0], layer.extent.world[1]
    # The outline lies around the piece, as well as four pixels can say.
    assert abs(top - ys.min()) <= 8 and abs(bottom - ys.max()) <= 8
    assert abs(left - xs.min()) <= 8 and abs(right - xs.max()) <= 8
    bench.drag(point)
    assert bench.row.busy and bench.names == [] and tool.awake
    bench.wait()
    assert ((bench.mask == cls + 1) == wanted).all() and len(bench.names) == 1
    bench.take("convert")
    bench.row.tools["convert"].new.setCurrentIndex(0)
    bench.hover(point)
    bench.drag(point)
    bench.wait()
    assert not bench.mask.any() and len(bench.names) == 2
