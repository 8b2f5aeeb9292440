"""The player, the tree and the plots of a climb, driven with the mouse and the keyboard."""

from __future__ import annotations

import csv
import runpy
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QColor, QContextMenuEvent, QHelpEvent, QMouseEvent, QWheelEvent
from qtpy.QtWidgets import QApplication, QLabel, QWidget

from engine.colours import class_colours
from engine.labels import LabelRule
from engine.results import ClimbTrace, path_to, traces_in
from wsss_napari.climb_rows import ClimbRows
from wsss_napari.climb_tree import ClimbTree
from wsss_napari.plots import Themed
from wsss_napari.step_curves import StepCurves, step_curves
from wsss_napari.step_player import StepPlayer
from wsss_napari.step_plots import StepPlots

FAKE = runpy.run_path(str(Path(__file__).with_name("fake_climbs.py")))
begin, row_of, write = FAKE["begin"], FAKE["row_of"], FAKE["write"]
SMALL: dict[str, Any] = {"size": (60, 80), "grid": (12, 16)}
DARK = {"text": "#f0f1f2", "background": "#262930", "foreground": "#414851", "type": "dark"}
LIGHT = {"text": "#3b3a39", "background": "#efebe9", "foreground": "#d6d0ce", "type": "light"}
LEFT, CTRL = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ControlModifier


def shown(qtbot: Any, widget: QWidget, width: int, height: int | None = None) -> Any:
    widget.resize(width, height or widget.sizeHint().height())
    qtbot.addWidget(widget)
    widget.show()
    qtbot.waitExposed(widget)
    return widget


def move(widget: QWidget, where: QPoint, buttons: Any = LEFT) -> None:
    # qtbot.mouseMove goes through the X server, which may deliver it after the release.
    at = QPointF(where)
    event = QMouseEvent(
        QEvent.Type.MouseMove,
        at,
        QPointF(widget.mapToGlobal(where)),
        Qt.MouseButton.NoButton,
        buttons,
        Qt.KeyboardModifier.NoModifier,
    )
    QApplication.sendEvent(widget, event)


def colours_in(widget: QWidget) -> set[str]:
    image = widget.grab().toImage()
    return {image.pixelColor(x, y).name() for x in range(image.width()) for y in range(image.height())}


# ---- player


@pytest.fixture
def player(qtbot: Any) -> StepPlayer:
    made: StepPlayer = shown(qtbot, StepPlayer(), 360)
    made.set_last(20)
    return made


@pytest.fixture
def moves(player: StepPlayer) -> list[int]:
    found: list[int] = []
    player.moved.connect(found.append)
    return found


def test_a_player_opens_at_step_0_and_tells_only_changes(player: StepPlayer, moves: list[int]) -> None:
    assert player.step == 0 and player.text.text() == "step 0 of 20"
    player.set_step(7)
    player.set_step(7)
    player.set_last(25)
    assert moves == [7] and player.text.text() == "step 7 of 25"
    player.set_step(99)
    player.set_step(-3)
    assert moves == [7, 25, 0]
    player.set_step(20)
    player.set_last(4)
    assert moves[-1] == 4 and player.step == 4, "a shorter climb takes the step with it"


def test_who_stands_at_the_end_goes_along_only_when_asked_to(player: StepPlayer, moves: list[int]) -> None:
    player.set_step(20)
    player.set_last(21)
    assert player.step == 20
    player.follow = True
    player.set_last(22)
    assert player.step == 20, "there was a step behind"
    player.set_step(22)
    player.set_last(23)
    player.set_last(24)
    assert moves == [20, 22, 23, 24]
    player.set_step(5)
    player.set_last(30)
    assert player.step == 5


def test_a_climb_is_watched_from_its_first_step(qtbot: Any) -> None:
    player = shown(qtbot, StepPlayer(), 360)
    player.follow = True
    for n in range(4):
        player.set_last(n)
    assert player.step == 3


def test_buttons_and_keys_move_by_a_step(player: StepPlayer, moves: list[int], qtbot: Any) -> None:
    for button in (player.forward_button, player.forward_button, player.back_button, player.last_button):
        qtbot.mouseClick(button, LEFT)
    assert moves == [1, 2, 1, 20]
    assert not player.forward_button.isEnabled() and not player.last_button.isEnabled()
    qtbot.mouseClick(player.first_button, LEFT)
    assert player.step == 0 and not player.back_button.isEnabled()
    player.slider.setFocus()
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Left, Qt.Key.Key_PageUp, Qt.Key.Key_End):
        qtbot.keyClick(player.slider, key)
    assert moves[5:] == [1, 2, 1, 3, 20]


def test_a_click_on_the_slider_goes_there_and_a_drag_goes_on(
    player: StepPlayer, moves: list[int], qtbot: Any
) -> None:
    slider = player.slider
    middle = slider.height() // 2
    at = [QPoint(round(slider.x_of(step)), middle) for step in (5, 9, 13)]
    qtbot.mousePress(slider, LEFT, pos=at[0])
    assert player.step == 5
    move(slider, at[1])
    move(slider, at[2])
    qtbot.mouseRelease(slider, LEFT, pos=at[2])
    assert player.step == 13 and 9 in moves


def test_it_plays_to_the_end_and_stops(player: StepPlayer, moves: list[int], qtbot: Any) -> None:
    player.set_last(5)
    player.speed.setCurrentIndex(player.speed.count() - 1)
    qtbot.mouseClick(player.play_button, LEFT)
    assert player.playing and player.play_button.sign == "pause"
    assert player.play_button.toolTip() == "Stop playing"
    qtbot.waitUntil(lambda: not player.playing)
    assert moves == [1, 2, 3, 4, 5] and player.play_button.sign == "play"
    player.play()
    qtbot.waitUntil(lambda: player.step == 2)
    player.stop()
    assert moves[5:] == [0, 1, 2], "at the end it plays from the beginning"


def test_a_loop_goes_round(player: StepPlayer, moves: list[int], qtbot: Any) -> None:
    player.set_last(2)
    player.speed.setCurrentIndex(player.speed.count() - 1)
    qtbot.mouseClick(player.loop_button, LEFT)
    assert player.loop
    player.toggle()
    qtbot.waitUntil(lambda: len(moves) >= 7)
    player.toggle()
    assert moves[:7] == [1, 2, 0, 1, 2, 0, 1] and not player.playing


def test_any_other_move_stops_the_playing(player: StepPlayer, qtbot: Any) -> None:
    for stop in (
        lambda: qtbot.mouseClick(player.forward_button, LEFT),
        lambda: qtbot.mousePress(player.slider, LEFT, pos=QPoint(30, 10)),
        player.hide,
    ):
        player.play()
        assert player.playing
        stop()
        assert not player.playing


def test_steps_do_not_pile_up_behind_a_slow_reader(player: StepPlayer, moves: list[int], qtbot: Any) -> None:
    inside: list[int] = []

    def slow(step: int) -> None:
        inside.append(step)
        time.sleep(0.15)
        QApplication.processEvents()  # a reader that lets others work must not be called again meanwhile
        assert inside[-1] == step

    player.moved.connect(slow)
    player.speed.setCurrentIndex(player.speed.count() - 1)
    player.play()
    qtbot.waitUntil(lambda: len(inside) == 3, timeout=5000)
    player.stop()
    qtbot.wait(200)
    assert inside == [1, 2, 3]


def test_speed_is_what_it_says(player: StepPlayer, moves: list[int], qtbot: Any) -> None:
    player.speed.setCurrentIndex(3)
    assert player.speed.currentText() == "8 / s"
    began = time.monotonic()
    player.play()
    qtbot.waitUntil(lambda: len(moves) == 4)
    # Never sooner; how much later is up to what else the machine does.
    assert time.monotonic() - began >= 4 / 8 - 0.05


def test_without_steps_nothing_can_be_pressed(qtbot: Any) -> None:
    player = shown(qtbot, StepPlayer(), 360)
    player.set_last(-1)
    player.play()
    assert not player.playing and not player.slider.isEnabled()
    assert not any(b.isEnabled() for b in (player.first_button, player.play_button, player.last_button))


def test_the_mark_is_drawn_and_told_and_moves_nothing(
    player: StepPlayer, moves: list[int], qtbot: Any
) -> None:
    before = player.slider.grab().toImage()
    player.mark(8, "best mIoU 0.61")
    after = player.slider.grab().toImage()
    changed = [
        x
        for x in range(after.width())
        for y in range(after.height() - 6, after.height())
        if after.pixel(x, y) != before.pixel(x, y)
    ]
    assert changed and abs(np.mean(changed) - player.slider.x_of(8)) < 2
    assert "best mIoU 0.61" in player.slider.toolTip()
    player.mark(None, "")
    assert player.slider.grab().toImage() == before and moves == []
    assert "mark" not in player.slider.toolTip()


def test_every_control_has_a_tooltip_and_a_name(player: StepPlayer) -> None:
    controls = [c for c in player.findChildren(QWidget) if c.isVisible() and not isinstance(c, QLabel)]
    named = [c for c in controls if c.parent() in (player, player.slider)]
    assert len(named) >= 8
    assert all(c.toolTip() and c.accessibleName() for c in named)


# ---- tree


def climbs(root: Path) -> dict[str, ClimbTrace]:
    """0: 0..10; 0.1 leaves it at 4: 5..9 stopped; 0.2 leaves 0.1 at 7: 8..9; 0.3 goes on from the end of 0;
    0.4 leaves 0 at 2 and has done 3 of 6 steps."""
    write(root, "0", steps=10, **SMALL)
    write(root, "0.1", steps=5, parent="0", at=4, ending="stopped", **SMALL)
    write(root, "0.2", steps=2, parent="0.1", at=7, ending="plateau", **SMALL)
    write(root, "0.3", steps=4, parent="0", at=10, **SMALL)
    write(root, "0.4", steps=6, rows=3, parent="0", at=2, ending="", **SMALL)
    return traces_in(root)


TITLES = {"0": "climb 0", "0.1": "from step 4 of 0: lam 0 · stopped", "0.4": "from step 2 of 0: step 3"}


@pytest.fixture
def tree(qtbot: Any, tmp_path: Path) -> ClimbTree:
    made = ClimbTree()
    made.show_traces(climbs(tmp_path), "0.1", None, 6, TITLES)
    found: ClimbTree = shown(qtbot, made, 360)
    return found


def told(signal: Any) -> list[Any]:
    found: list[Any] = []
    signal.connect(lambda *values: found.append(values if len(values) > 1 else values[0]))
    return found


def place(tree: ClimbTree, key: str, step: int) -> QPoint:
    return tree.spot(key, step).toPoint()


def test_rows_do_not_cross_and_what_goes_on_stays_in_its_row(tmp_path: Path) -> None:
    rows = ClimbRows(climbs(tmp_path))
    assert {p.key: p.row for p in rows.pieces.values()} == {"0": 0, "0.3": 0, "0.1": 1, "0.2": 2, "0.4": 3}
    assert [p.key for p in rows.in_row(0)] == ["0", "0.3"] and rows.pieces["0.3"].joined
    assert rows.rows == 4 and rows.end == 14
    assert rows.pieces["0.4"].last == 5 and rows.pieces["0.4"].end == 8
    assert rows.path("0.2") == {"0.2": (8, 9), "0.1": (5, 7), "0": (0, 4)}
    assert rows.path("0.3") == {"0.3": (11, 14), "0": (0, 10)}
    assert rows.path(None) == rows.path("9") == {}


def test_two_climbs_from_one_end_do_not_share_a_row(tmp_path: Path) -> None:
    write(tmp_path, "0", steps=3, **SMALL)
    write(tmp_path, "0.1", steps=2, parent="0", at=3, **SMALL)
    write(tmp_path, "0.2", steps=2, parent="0", at=3, **SMALL)
    write(tmp_path, "0.3", steps=2, **SMALL)
    rows = ClimbRows(traces_in(tmp_path))
    assert {p.key: p.row for p in rows.pieces.values()} == {"0": 0, "0.1": 0, "0.2": 1, "0.3": 2}


def test_lost_parents_and_circles_are_drawn_and_lead_nowhere(tmp_path: Path, qtbot: Any) -> None:
    traces = climbs(tmp_path)
    del traces["0.1"]
    rows = ClimbRows(traces)
    assert rows.pieces["0.2"].lost and not rows.pieces["0.4"].lost
    circle = {k: t for k, t in traces.items() if k == "0.2"}
    forged = ClimbTrace(**{**vars(circle["0.2"]), "parent": "0.2"})
    rows = ClimbRows({"0.2": forged})
    assert rows.rows == 1 and rows.pieces["0.2"].lost
    tree = ClimbTree()
    tree.show_traces(traces, "0", None, 3, {})
    shown(qtbot, tree, 300)
    chosen = told(tree.chosen)
    qtbot.mouseClick(tree, LEFT, pos=place(tree, "0.2", 9))
    assert chosen == [] and "missing" in tree._tip(tree.rows.pieces["0.2"])


def test_keys_may_be_other_than_ids(tmp_path: Path) -> None:
    traces = {f"batch/{key}": trace for key, trace in climbs(tmp_path).items()}
    rows = ClimbRows(traces)
    assert rows.path("batch/0.2") == {"batch/0.2": (8, 9), "batch/0.1": (5, 7), "batch/0": (0, 4)}


def test_a_thousand_climbs_that_go_on_from_each_other_are_placed(tmp_path: Path) -> None:
    write(tmp_path, "0", steps=1, **SMALL)
    root = traces_in(tmp_path)["0"]
    traces = {"0": root}
    for n in range(1, 2000):
        parent = "0" if n == 1 else f"0.{n - 1}"
        facts = {"folder": tmp_path / f"0.{n}", "parent": parent, "at": n, "first": n + 1, "rows": 1}
        traces[f"0.{n}"] = ClimbTrace(**{**vars(root), **facts})
    began = time.process_time()
    rows = ClimbRows(traces)
    assert rows.rows == 1 and len(rows.path("0.1999")) == 2000
    assert time.process_time() - began < 1


def test_a_click_on_the_shown_path_goes_to_the_step_and_elsewhere_to_the_climb(
    tree: ClimbTree, qtbot: Any
) -> None:
    chosen = told(tree.chosen)
    qtbot.mouseClick(tree, LEFT, pos=place(tree, "0.1", 8))
    qtbot.mouseClick(tree, LEFT, pos=place(tree, "0", 3))
    assert chosen == [("0.1", 8), ("0.1", 3)], "step 3 of 0 is on the way to 0.1"
    qtbot.mouseClick(tree, LEFT, pos=place(tree, "0", 7))
    qtbot.mouseClick(tree, LEFT, pos=place(tree, "0.3", 12))
    qtbot.mouseClick(tree, LEFT, pos=place(tree, "0.2", 9))
    assert chosen[2:] == [("0", 7), ("0.3", 12), ("0.2", 9)]
    # The name of a row: the end of it, at the step that is shown.
    qtbot.mouseClick(tree, LEFT, pos=QPoint(8, place(tree, "0.4", 5).y()))
    assert chosen[-1] == ("0.4", 3)


def test_dragging_scrubs_along_the_shown_path(tree: ClimbTree, qtbot: Any) -> None:
    chosen = told(tree.chosen)
    qtbot.mousePress(tree, LEFT, pos=place(tree, "0.1", 9))
    for step in (7, 4, 2, 0):
        move(tree, place(tree, "0.1", step))
    move(tree, QPoint(-50, 10))
    qtbot.mouseRelease(tree, LEFT, pos=QPoint(0, 10))
    assert chosen == [("0.1", s) for s in (9, 7, 4, 2, 0)]


def test_keys_walk_steps_and_rows(tree: ClimbTree, qtbot: Any) -> None:
    chosen = told(tree.chosen)
    tree.setFocus()
    for key in (Qt.Key.Key_Left, Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_End, Qt.Key.Key_Home):
        qtbot.keyClick(tree, key)
    assert chosen == [("0.1", s) for s in (5, 4, 5, 9, 0)]
    qtbot.keyClick(tree, Qt.Key.Key_Left)
    assert len(chosen) == 5, "before step 0 there is none"
    qtbot.keyClick(tree, Qt.Key.Key_Down)
    qtbot.keyClick(tree, Qt.Key.Key_Up)
    assert chosen[5:] == [("0.2", 0), ("0.3", 0)]
    assert "0.1 is shown, step 0 of 9" in tree.accessibleDescription()


def test_ctrl_click_and_the_menu_show_beside(tree: ClimbTree, qtbot: Any) -> None:
    beside, chosen, removed = told(tree.second_chosen), told(tree.chosen), told(tree.remove_asked)
    qtbot.mouseClick(tree, LEFT, CTRL, pos=place(tree, "0.4", 4))
    qtbot.mouseClick(tree, LEFT, CTRL, pos=place(tree, "0.1", 8))
    assert beside == ["0.4"] and chosen == [], "a climb is not shown beside itself"
    show, with_it, _, remove = tree.menu("0.2").actions()
    assert (show.text(), with_it.text(), remove.text()) == ("Show 0.2", "Show beside", "Remove")
    show.trigger()
    with_it.trigger()
    remove.trigger()
    assert chosen == [("0.2", 6)] and beside == ["0.4", "0.2"] and removed == ["0.2"]
    show, with_it, _, remove = tree.menu("0.1").actions()
    assert not show.isEnabled() and not with_it.isEnabled() and remove.isEnabled()


def test_the_menu_opens_under_the_pointer_and_from_the_keyboard(
    tree: ClimbTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    class Menu:
        def popup(self, _where: QPoint) -> None:
            pass

    def menu(key: str) -> Menu:
        opened.append(key)
        return Menu()

    monkeypatch.setattr(tree, "menu", menu)
    where = place(tree, "0.4", 4)
    for reason, at in (("Mouse", where), ("Keyboard", where), ("Mouse", QPoint(100, tree.height() - 2))):
        event = QContextMenuEvent(getattr(QContextMenuEvent.Reason, reason), at, tree.mapToGlobal(at))
        QApplication.sendEvent(tree, event)
    assert opened == ["0.4", "0.1", "0.1"]


def test_hovering_lights_a_row_and_the_tooltip_is_shown(
    tree: ClimbTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree.grab().toImage()
    move(tree, place(tree, "0.4", 4), Qt.MouseButton.NoButton)
    assert tree.grab().toImage() != before
    QApplication.sendEvent(tree, QEvent(QEvent.Type.Leave))
    assert tree.grab().toImage() == before
    words: list[str] = []
    monkeypatch.setattr("wsss_napari.climb_tree.QToolTip.showText", lambda _at, text, _on: words.append(text))
    at = place(tree, "0.4", 4)
    QApplication.sendEvent(tree, QHelpEvent(QEvent.Type.ToolTip, at, tree.mapToGlobal(at)))
    assert words[0].startswith("0.4: from step 2 of 0: step 3")


def test_a_tree_without_room_does_not_hang(tree: ClimbTree) -> None:
    tree.setMinimumWidth(0)
    for width in (60, 20, 1):
        tree.resize(width, tree.height())
        tree.grab()
    assert tree.width() == 1


def test_the_tooltip_tells_settings_steps_and_ending(tree: ClimbTree) -> None:
    found = tree.at(tree.spot("0.1", 8))
    assert found is not None
    tip = tree._tip(found[0])
    assert "0.1: from step 4 of 0: lam 0 · stopped" in tip and "Steps 5 to 9, stopped." in tip
    assert "Steps 3 to 5, unfinished." in tree._tip(tree.rows.pieces["0.4"])
    assert tree.at(QPointF(100, tree.height() - 2)) is None, "the numbers of the axis are no row"


def test_the_height_follows_the_rows_up_to_six(tmp_path: Path, qtbot: Any) -> None:
    tree: ClimbTree = shown(qtbot, ClimbTree(), 360)
    empty = tree.height()
    write(tmp_path, "0", steps=12, **SMALL)
    heights = []
    for n in range(10):
        if n:
            write(tmp_path, f"0.{n}", steps=2, parent="0", at=n, **SMALL)
        tree.show_traces(traces_in(tmp_path), "0", None, 0, {})
        heights.append(tree.height())
    assert heights[0] == empty and heights == sorted(heights)
    assert heights[5] > heights[4] and heights[9] == heights[5]
    assert tree._bar.isVisible() and tree._bar.accessibleName()
    # Rows below the fold are brought up when they are shown.
    low = next(p.key for p in tree.rows.pieces.values() if p.row == 9)
    tree.show_traces(traces_in(tmp_path), low, None, 0, {})
    assert 0 <= tree.spot(low, 2).y() < tree.height()
    wheel = QWheelEvent(
        QPointF(50, 50),
        QPointF(tree.mapToGlobal(QPoint(50, 50))),
        QPoint(0, 0),
        QPoint(0, 1200),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(tree, wheel)
    assert tree._bar.value() == 0 and tree.spot(low, 2).y() > tree.height()
    tree.show_traces(traces_in(tmp_path), "0", None, 0, {})
    tree.show_traces(traces_in(tmp_path), low, None, 0, {})
    found = tree.at(tree.spot(low, tree.rows.pieces[low].last))
    assert found is not None and found[0].key == low


def test_a_growing_climb_is_hollow_and_its_plan_is_dotted(tree: ClimbTree, tmp_path: Path) -> None:
    image = tree.grab().toImage()
    growing, done = tree.spot("0.4", 5), tree.spot("0", 9)
    ground = QColor(DARK["background"]).name()
    assert image.pixelColor(growing.toPoint()).name() == ground
    assert image.pixelColor(done.toPoint()).name() != ground
    planned = [
        image.pixelColor(x, round(growing.y())).name()
        for x in range(round(growing.x()) + 8, place(tree, "0.4", 8).x())
    ]
    assert len(set(planned)) > 1


def test_the_ring_stands_on_the_shown_step(tree: ClimbTree) -> None:
    before = tree.grab().toImage()
    tree.set_step(9)
    after = tree.grab().toImage()
    x, y = place(tree, "0.1", 6).x(), place(tree, "0.1", 6).y()
    near = [(x + dx, y + dy) for dx in range(-7, 8) for dy in range(-7, 8)]
    assert any(before.pixel(*p) != after.pixel(*p) for p in near)
    # Before the fork it stands on the parent's row.
    tree.set_step(2)
    on_parent = tree.grab().toImage()
    x, y = place(tree, "0", 2).x(), place(tree, "0", 2).y()
    assert any(on_parent.pixel(x + d, y - 5) != after.pixel(x + d, y - 5) for d in range(-3, 4))


def test_the_second_path_is_drawn_otherwise(tree: ClimbTree, tmp_path: Path) -> None:
    alone = colours_in(tree)
    tree.show_traces(traces_in(tmp_path), "0.1", "0.4", 6, TITLES)
    assert tree._ink.second.name() in colours_in(tree) - alone
    assert tree.accessibleDescription().endswith("0.4 beside it")
    tree.show_traces(traces_in(tmp_path), "0.1", "0.1", 6, TITLES)
    assert tree._second is None


def test_an_empty_tree_says_so(qtbot: Any) -> None:
    tree: ClimbTree = shown(qtbot, ClimbTree(), 300)
    assert len(colours_in(tree)) > 3 and tree.accessibleDescription() == "No climb yet"
    tree.setFocus()
    qtbot.keyClick(tree, Qt.Key.Key_Right)
    assert tree.at(QPointF(20, 5)) is None


def test_five_hundred_steps_are_painted_in_time(qtbot: Any, tmp_path: Path) -> None:
    write(tmp_path, "0", steps=500, **SMALL)
    for n in range(1, 6):
        write(tmp_path, f"0.{n}", steps=50, parent="0", at=50 * n, **SMALL)
    tree: ClimbTree = shown(qtbot, ClimbTree(), 360)
    tree.show_traces(traces_in(tmp_path), "0.3", "0.1", 20, {})
    began = time.process_time()
    for step in range(10):
        tree.set_step(step)
        tree.grab()
    assert (time.process_time() - began) / 10 < 0.05


# ---- plots


NAMES = ("cat", "dog", "<b>cow</b>")
RULE = LabelRule("constant", 0.3)


def truth_mask() -> np.ndarray[Any, Any]:
    truth = np.zeros((60, 80), np.uint8)
    truth[15:40, 25:55] = 1
    return truth


def curves_of(root: Path, key: str, truth: bool = True) -> StepCurves:
    return step_curves(path_to(traces_in(root), key), RULE, truth_mask() if truth else None)


@pytest.fixture
def plots(qtbot: Any, tmp_path: Path) -> StepPlots:
    if not (tmp_path / "0").exists():
        climbs(tmp_path)
    made: StepPlots = shown(qtbot, StepPlots(), 1000, 190)
    made.show_path(curves_of(tmp_path, "0.3"), class_colours(3), NAMES, 0)
    return made


def test_plots_start_empty_and_say_so(qtbot: Any) -> None:
    plots = shown(qtbot, StepPlots(), 1000, 190)
    assert all(p.empty.isVisible() and p.empty.text() == "No climb yet" for p in plots.panels)
    assert not any(p.line.isVisible() for p in plots.panels)
    assert not plots.menu().actions()[0].isEnabled()


def test_all_curves_are_there_on_one_axis(plots: StepPlots) -> None:
    assert [len(p._curves) for p in plots.panels] == [3, 2, 3, 3]
    ranges = {tuple(np.round(p.plot.vb.viewRange()[0], 3)) for p in plots.panels}
    assert len(ranges) == 1
    curves = plots.curves
    assert curves is not None
    x, y = plots.scores._curves[0].getData()
    np.testing.assert_array_equal(x, np.arange(15))
    np.testing.assert_allclose(y, curves.scores[:, 0])
    np.testing.assert_allclose(plots.truth._curves[0].getData()[1], curves.miou)
    # Three units on one axis: each as a multiple of its first value.
    for curve, values in zip(plots.map._curves, (curves.peak, curves.mean, curves.area), strict=True):
        np.testing.assert_allclose(curve.getData()[1], values / values[0])


def test_the_cursor_tells_the_values(plots: StepPlots) -> None:
    plots.set_cursor(3)
    QApplication.processEvents()
    curves = plots.curves
    assert curves is not None and curves.miou is not None
    assert all(p.line.value() == 3 for p in plots.panels)
    assert f"cat {curves.scores[3, 0]:.3g}" in plots.scores.legend.toolTip()
    assert f"area {100 * curves.area[3]:.1f} %" in plots.map.legend.toolTip()
    assert f"mIoU {curves.miou[3]:.3f}" in plots.truth.legend.text()
    assert "Step 3" in plots.accessibleDescription()
    assert "<b>cow</b>" not in plots.scores.legend.text() or "&lt;b&gt;" in plots.scores.legend.text()


def scene_point(panel: Any, step: float) -> QPoint:
    low, high = panel.plot.vb.viewRange()[1]
    where = panel.plot.vb.mapViewToScene(QPointF(step, (low + high) / 2))
    found: QPoint = panel.view.mapFromScene(where)
    return found


def test_pressing_and_dragging_in_any_plot_moves_all_cursors(plots: StepPlots, qtbot: Any) -> None:
    moves = told(plots.moved)
    for panel in plots.panels:
        plots.set_cursor(0)
        moves.clear()
        inside = panel.view.viewport()
        qtbot.mousePress(inside, LEFT, pos=scene_point(panel, 4))
        for step in (5, 5.2, 7, 40):
            move(inside, scene_point(panel, step))
        qtbot.mouseRelease(inside, LEFT, pos=scene_point(panel, 7))
        assert moves == [4, 5, 7, 14], "to the nearest step, each told once, never beyond the last"
        QApplication.processEvents()
        assert all(p.line.value() == 14 for p in plots.panels)
    move(plots.scores.view.viewport(), scene_point(plots.scores, 2), Qt.MouseButton.NoButton)
    assert plots.cursor == 14


def test_the_wheel_does_not_zoom(plots: StepPlots, qtbot: Any) -> None:
    before = plots.scores.plot.vb.viewRange()
    assert plots.scores.plot.vb.state["mouseEnabled"] == [False, False]
    qtbot.keyClick(plots, Qt.Key.Key_Right)
    assert plots.cursor == 1 and plots.scores.plot.vb.viewRange() == before


def test_setting_the_cursor_tells_nobody(plots: StepPlots) -> None:
    moves = told(plots.moved)
    plots.set_cursor(5)
    assert moves == []


def test_moves_before_the_next_frame_are_drawn_once_and_last_of_all(
    plots: StepPlots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    QApplication.processEvents()
    drawn: list[int] = []
    real = plots.scores.set_cursor
    monkeypatch.setattr(plots.scores, "set_cursor", lambda t: (drawn.append(t), real(t)))
    for step in (2, 3, 5):
        plots.set_cursor(step)
    assert plots.cursor == 5 and drawn == [], "the canvas goes first"
    QApplication.processEvents()
    assert drawn == [5] and plots.scores.line.value() == 5
    plots.set_cursor(7)
    plots.export_picture(tmp_path / "curves.png")
    assert drawn == [5, 7], "a picture holds the step that is shown"
    QApplication.processEvents()
    assert drawn == [5, 7]


def test_the_best_step_is_starred(plots: StepPlots) -> None:
    curves = plots.curves
    assert curves is not None and curves.miou is not None and curves.best is not None
    assert curves.best == int(np.argmax(curves.miou))
    (point,) = plots.truth.star.points()
    assert (point.pos().x(), point.pos().y()) == (curves.best, curves.miou[curves.best])
    assert plots.truth.words.toPlainText() == f"best: step {curves.best}"


def test_empty_plots_say_why(plots: StepPlots, tmp_path: Path) -> None:
    curves = curves_of(tmp_path, "0", truth=False)
    free = StepCurves(**{**vars(curves), "penalty": np.zeros(11)})
    plots.show_path(free, class_colours(3), NAMES, 0)
    assert plots.truth.empty.isVisible() and plots.truth.empty.text() == "No truth masks in this project"
    assert plots.penalty.empty.text() == "No penalty in this climb"
    assert not plots.scores.empty.isVisible()
    assert not plots.truth._curves and not plots.truth.words.isVisible()


def test_a_second_path_is_dashed_and_goes(plots: StepPlots, tmp_path: Path) -> None:
    plots.show_path(curves_of(tmp_path, "0.1"), class_colours(3), NAMES, 0)
    assert plots.scores.plot.vb.viewRange()[0][1] < 10
    second = curves_of(tmp_path, "0.3")
    plots.show_second(second)
    dash = plots.truth._dashes[0]
    np.testing.assert_allclose(dash.getData()[1], second.miou)
    assert dash.opts["pen"].style() == Qt.PenStyle.DashLine
    assert plots.scores.plot.vb.viewRange()[0][1] > 14, "the axis holds the longer one"
    assert [d.isVisible() for d in plots.scores._dashes] == [True, False, False]
    plots.show_second(None)
    assert not any(d.isVisible() for p in plots.panels for d in p._dashes)


def test_streaming_changes_data_and_builds_nothing_anew(qtbot: Any, tmp_path: Path) -> None:
    plots: StepPlots = shown(qtbot, StepPlots(), 1000, 190)
    writer = begin(tmp_path, "0", steps=40, classes=20, **SMALL)
    names = [f"class {n}" for n in range(20)]
    items: list[Any] = []
    times = []
    for t in range(41):
        writer.add(row_of(writer, t))
        curves = curves_of(tmp_path, "0")
        began = time.process_time()
        plots.show_path(curves, class_colours(20), names)
        plots.set_cursor(t)
        plots._place_cursor()
        times.append(time.process_time() - began)
        if t == 1:
            items = [c for p in plots.panels for c in p._curves]
    assert [c for p in plots.panels for c in p._curves] == items
    assert float(np.median(times)) < 0.02, times


def test_colours_of_classes_are_theirs_and_the_climbed_one_is_strong(plots: StepPlots) -> None:
    pens = [c.opts["pen"] for c in plots.scores._curves]
    assert pens[0].color().name() == "#00a1ff" or pens[0].color().hue() == QColor("#0072B2").hue()
    assert pens[0].widthF() > pens[1].widthF() and pens[1].color().name() == "#e69f00"


def test_numbers_and_pictures_are_saved(plots: StepPlots, tmp_path: Path) -> None:
    plots.export_csv(tmp_path / "climb.csv")
    rows = list(csv.DictReader((tmp_path / "climb.csv").open()))
    assert len(rows) == 15 and "score of <b>cow</b>" in rows[0] and float(rows[3]["mIoU"]) > 0
    plots.export_picture(tmp_path / "climb.png")
    assert (tmp_path / "climb.png").stat().st_size > 1000
    with pytest.raises(OSError):
        plots.export_picture(tmp_path / "none" / "climb.png")


def test_a_narrow_legend_tells_how_many_more(plots: StepPlots) -> None:
    plots.resize(360, 150)
    QApplication.processEvents()
    assert "+2" in plots.scores.legend.text() and plots.scores.legend.toolTip().count("\n") == 2


# ---- all


def test_tree_and_plots_follow_the_theme(tree: ClimbTree, plots: StepPlots) -> None:
    for widget in (tree, plots):
        assert isinstance(widget, Themed)
        seen = []
        for theme in (DARK, LIGHT):
            widget.set_theme(theme)
            seen.append(colours_in(widget))
        assert len(seen[0] - seen[1]) > 5
    assert LIGHT["background"] in colours_in(plots)
    assert tree._ink.strong.name() in colours_in(tree)
