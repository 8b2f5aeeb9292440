"""Curves and the histogram, driven with the mouse and the keyboard."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QImage, QMouseEvent
from qtpy.QtWidgets import QApplication, QWidget

from engine.messages import Metrics, Progress
from wsss_napari.curve_data import CurveData, Series
from wsss_napari.curves import Curves
from wsss_napari.histogram import Histogram
from wsss_napari.plots import Plots, Themed

LIGHT = {"text": "#3b3a39", "background": "#efebe9", "foreground": "#d6d0ce", "highlight": "#a39b98"}


def metrics(step: int, **values: float) -> Metrics:
    return Metrics(step=step, values=values)


def test_a_resumed_run_walks_over_its_last_steps_again():
    series = Series()
    for step, value in [(1, 0.9), (2, 0.8), (3, 0.7), (2, 0.85), (3, 0.75), (4, 0.6)]:
        series.add(step, value)
    assert series.steps == [1, 2, 3, 4]
    assert series.values == [0.9, 0.85, 0.75, 0.6]
    assert series.at(2.4) == 0.85 and series.at(9) is None


def test_metrics_go_to_their_plot_and_the_sum_of_one_term_is_not_drawn_twice():
    data = CurveData()
    data.add("a", metrics(1, tags=0.5, loss=0.5, map=0.3, map_seen=0.9))
    assert data.keys("loss") == ["tags"] and data.keys("score") == ["map", "map_seen"]
    data.add("a", metrics(2, tags=0.5, erasing=0.5, loss=1.0))
    assert data.keys("loss") == ["tags", "loss", "erasing"]


def test_live_and_recorded_events_give_the_same_curves():
    events = [metrics(1, loss=1.0), Progress(done=1, total=2), metrics(2, loss=0.5, map=0.4)]
    live, recorded = CurveData(), CurveData()
    for event in events:
        live.add("cam", event)
    recorded.load("cam", events)
    assert live == recorded
    assert recorded.csv().splitlines() == [
        "run,metric,step,value",
        "cam,loss,1,1.0",
        "cam,loss,2,0.5",
        "cam,map,2,0.4",
    ]
    assert recorded.read_out("loss", 1.6) == [("cam", "loss", 0.5)]


@pytest.fixture
def curves(qtbot) -> Curves:
    made = Curves()
    made.resize(900, 220)
    qtbot.addWidget(made)
    made.show()
    qtbot.waitExposed(made)
    return made


def test_curves_start_empty_and_say_what_to_do(curves, qtbot):
    assert curves.empty.isVisible() and "Start a training" in curves.empty.text()
    curves.append("cam", metrics(1, loss=1.0))
    qtbot.waitUntil(lambda: not curves.empty.isVisible())
    curves.clear()
    assert curves.empty.isVisible()


def test_many_events_are_drawn_in_few_redraws(curves, qtbot, monkeypatch):
    drawn = []
    original = curves.redraw
    curves._timer.timeout.disconnect()
    curves._timer.timeout.connect(lambda: (drawn.append(1), original()))
    for step in range(200):
        curves.append("cam", metrics(step, loss=1 / (step + 1)))
    qtbot.waitUntil(lambda: bool(drawn))
    assert len(drawn) <= 3
    (item,) = curves.plots["loss"].listDataItems()
    assert len(item.getData()[0]) == 200


def test_one_run_is_named_by_metric_and_several_by_run(curves):
    one = [metrics(s, loss=1 / s, map=s / 10) for s in range(1, 9)]
    curves.load({"a": ("first", one)})
    names = [label.text for _, label in curves.plots["loss"].legend.items]
    assert names == ["total"]
    curves.load({"a": ("first", one), "b": ("second", one)})
    names = [label.text for _, label in curves.plots["score"].legend.items]
    assert names == ["first · mAP, held-out tags", "second · mAP, held-out tags"]


def test_pointing_at_a_plot_reads_the_values(curves, qtbot):
    curves.load({"a": ("a", [metrics(s, loss=0.25) for s in range(1, 100)])})
    qtbot.waitUntil(lambda: curves.plots["loss"].vb.viewRange()[0][1] > 90)
    where = curves.plots["loss"].vb.sceneBoundingRect().center()
    curves._point(where)
    assert "step" in curves.read_out.text() and "total 0.25" in curves.read_out.text()
    curves._point(where - where * 2)
    assert curves.read_out.text() == ""


def test_curves_are_saved_as_numbers_picture_and_drawing(curves, tmp_path):
    curves.load({"a": ("a", [metrics(s, loss=1 / s) for s in range(1, 50)])})
    for kind in ("csv", "png", "svg"):
        curves.save(tmp_path / f"c.{kind}")
    assert (tmp_path / "c.csv").read_text().count("\n") == 50
    picture = QImage(str(tmp_path / "c.png"))
    seen = {picture.pixel(x, y) for x in range(0, picture.width(), 3) for y in range(0, picture.height(), 3)}
    assert picture.width() > 900 and len(seen) > 10
    assert "<path" in (tmp_path / "c.svg").read_text()


def test_the_menu_saves_only_when_there_is_something(curves):
    assert not curves.menu().actions()[0].isEnabled()
    curves.load({"a": ("a", [metrics(1, loss=1.0)])})
    assert curves.menu().actions()[0].isEnabled()


@pytest.fixture
def histogram(qtbot) -> Histogram:
    made = Histogram()
    made.resize(320, 140)
    qtbot.addWidget(made)
    made.set_scores(np.arange(100).reshape(2, 50), ["#0072B2", "#E69F00"])
    made.show()
    qtbot.waitExposed(made)
    return made


def drag(qtbot, widget: QWidget, start: QPoint, to: int) -> None:
    qtbot.mousePress(widget, Qt.MouseButton.LeftButton, pos=start)
    for x in np.linspace(start.x(), to, 8):
        # qtbot.mouseMove goes through the X server, which may deliver it after the release.
        where = QPointF(round(float(x)), start.y())
        event = QMouseEvent(
            QEvent.Type.MouseMove,
            where,
            QPointF(widget.mapToGlobal(where.toPoint())),
            Qt.MouseButton.NoButton,
            Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
        )
        QApplication.sendEvent(widget, event)
    qtbot.mouseRelease(widget, Qt.MouseButton.LeftButton, pos=QPoint(to, start.y()))


def test_dragging_the_threshold_emits_all_the_way(histogram, qtbot):
    histogram.set_handles(0.2, band=False)
    moves, ends = [], []
    histogram.moved.connect(lambda low, high: moves.append((low, high)))
    histogram.released.connect(lambda low, high: ends.append((low, high)))
    start = histogram.handle_position(0).toPoint()
    drag(qtbot, histogram, start, start.x() + 120)
    assert len(moves) >= 5
    assert all(low == high for low, high in moves)
    assert moves[-1][0] == pytest.approx(0.2 + 120 / 300, abs=0.01)
    assert ends == [moves[-1]]


def test_two_handles_never_cross(histogram, qtbot):
    histogram.set_handles(0.3, 0.5, band=True)
    start = histogram.handle_position(0).toPoint()
    drag(qtbot, histogram, start, 315)
    assert histogram.low == histogram.high == 0.5
    start = histogram.handle_position(1).toPoint()
    drag(qtbot, histogram, start + QPoint(1, 0), 20)
    # Both in one place: the drag to the left takes the lower handle with it.
    assert histogram.low < 0.1 and histogram.high == 0.5


def test_handles_in_one_place_part_in_the_direction_of_the_drag(histogram, qtbot):
    histogram.set_handles(0.5, 0.5, band=True)
    start = histogram.handle_position(0).toPoint()
    drag(qtbot, histogram, start, start.x() + 60)
    assert histogram.low == 0.5 and histogram.high == pytest.approx(0.7, abs=0.02)


def test_arrow_keys_move_the_chosen_handle(histogram, qtbot):
    histogram.set_handles(0.3, 0.5, band=True)
    histogram.setFocus()
    qtbot.keyClick(histogram, Qt.Key.Key_Right)
    assert (histogram.low, histogram.high) == (0.31, 0.5)
    qtbot.keyClick(histogram, Qt.Key.Key_Up)
    qtbot.keyClick(histogram, Qt.Key.Key_Left, Qt.KeyboardModifier.ShiftModifier)
    assert (histogram.low, histogram.high) == (0.31, 0.499)
    qtbot.keyClick(histogram, Qt.Key.Key_End)
    assert histogram.high == 1.0
    qtbot.keyClick(histogram, Qt.Key.Key_Down)
    qtbot.keyClick(histogram, Qt.Key.Key_PageDown)
    assert histogram.low == pytest.approx(0.21)
    assert "0.21" in histogram.accessibleDescription() and "0.21" in histogram.toolTip()


def test_a_locked_rule_cannot_be_dragged(histogram, qtbot):
    histogram.set_handles(0.5, band=False, locked=True)
    moves = []
    histogram.moved.connect(lambda low, high: moves.append(low))
    drag(qtbot, histogram, histogram.handle_position(0).toPoint(), 40)
    histogram.setFocus()
    qtbot.keyClick(histogram, Qt.Key.Key_Right)
    assert moves == [] and histogram.low == 0.5


def test_setting_handles_emits_nothing(histogram):
    moves = []
    histogram.moved.connect(lambda low, high: moves.append(low))
    histogram.set_handles(0.7, 0.8, band=True)
    assert moves == []


def test_bars_are_drawn_in_the_colours_of_their_classes(histogram):
    histogram.set_handles(0.0, band=False)
    image = histogram.grab().toImage()
    seen = {image.pixelColor(x, y).name() for x in range(image.width()) for y in range(image.height())}
    assert {"#0072b2", "#e69f00"} <= seen


def test_both_are_themed(histogram, curves):
    for widget in (histogram, curves):
        assert isinstance(widget, Themed)
        widget.set_theme(LIGHT)
        image = widget.grab().toImage()
        seen = {image.pixelColor(x, 30).name() for x in range(image.width())}
        assert seen & {LIGHT["background"], LIGHT["foreground"]}


def test_the_strip_is_there_only_with_a_plot(make_napari_viewer_proxy, qtbot):
    viewer = make_napari_viewer_proxy()
    before = set(viewer.window.dock_widgets)
    plots = Plots(viewer)
    assert set(viewer.window.dock_widgets) == before
    curves = Curves()
    plots.show(curves, "Training curves")
    (name,) = set(viewer.window.dock_widgets) - before
    assert plots.shown is curves
    assert curves._colours["type"] == "dark"
    viewer.theme = "light"
    assert curves._colours["type"] == "light"
    plots.hide(curves)
    assert plots.shown is None
    plots.show(curves, "Training curves")
    assert plots.shown is curves and name in viewer.window.dock_widgets
