"""The key table: no key twice, what people type stays theirs, napari's tools keep their keys."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QApplication, QLineEdit, QPushButton, QVBoxLayout, QWidget

from wsss_napari._compat import canvas_of
from wsss_napari.help import KeyHelp
from wsss_napari.keys import BINDINGS, Keys, chord_of, help_rows

NONE, SHIFT, CTRL = (
    Qt.KeyboardModifier.NoModifier,
    Qt.KeyboardModifier.ShiftModifier,
    Qt.KeyboardModifier.ControlModifier,
)


def press(key: Qt.Key, modifiers: Qt.KeyboardModifier = NONE, text: str = "", scan: int = 0) -> QKeyEvent:
    return QKeyEvent(QEvent.Type.KeyPress, key, modifiers, scan, 0, 0, text)


def test_no_key_does_two_things_on_a_page():
    for page in {b.page for b in BINDINGS}:
        keys = [k for b in BINDINGS if b.page in ("", page) for k in b.keys]
        assert len(keys) == len(set(keys)), page


def test_single_letters_are_those_that_napari_leaves_free():
    def letters(pages):
        return {k for b in BINDINGS if b.page in pages for k in b.keys if len(k) == 1 and k.isalpha()}

    pages = {b.page for b in BINDINGS}
    assert letters(pages - {"correct"}) <= set("NGHJKQUW")
    # Our mask is the active layer there. V means what it means to napari: seen or not.
    assert letters({"correct"}) <= set("NGHJKQUW") | set("ACDIRSTV") | set("PEFZ")


def test_letters_that_labels_have_mean_the_same_tool_on_the_correct_page():
    from napari.layers import Labels
    from napari.settings import get_settings
    from napari.utils.action_manager import action_manager

    taken = {
        str(key): name
        for name in action_manager._actions
        if action_manager._actions[name].keymapprovider is Labels
        for key in get_settings().shortcuts.shortcuts.get(name, ())
    }
    ours = {
        k: b.action
        for b in BINDINGS
        if b.page in ("", "correct")
        for k in b.keys
        if k.isalpha() and len(k) == 1
    }
    shared = {k: (ours[k], taken[k]) for k in ours if k in taken}
    same = {"tool_move": "pan_zoom", "tool_brush": "paint", "tool_eraser": "erase", "tool_fill": "fill"}
    assert set(shared) == set("PEFZ")
    assert all(same[mine] in theirs for mine, theirs in shared.values()), shared


@pytest.mark.parametrize(
    ("event", "chord"),
    [
        (press(Qt.Key.Key_3, text="3"), "3"),
        (press(Qt.Key.Key_3, SHIFT, "3"), "Shift+3"),
        (press(Qt.Key.Key_Exclam, SHIFT, "!", scan=10), "Shift+1"),
        (press(Qt.Key.Key_Ampersand, NONE, "&", scan=10), "1"),  # the unshifted 1 of a French keyboard
        (press(Qt.Key.Key_1, CTRL), "Ctrl+1"),
        (press(Qt.Key.Key_Z, CTRL), "Ctrl+Z"),
        (press(Qt.Key.Key_Z, CTRL | SHIFT), "Ctrl+Shift+Z"),
        (press(Qt.Key.Key_Space, text=" "), "Space"),
        (press(Qt.Key.Key_Question, SHIFT, "?", scan=61), "?"),
        (press(Qt.Key.Key_N, Qt.KeyboardModifier.AltModifier), ""),
        (press(Qt.Key.Key_F5), ""),
    ],
)
def test_a_press_is_written_as_people_write_it(event, chord, qapp):
    assert chord_of(event) == chord


def test_help_shows_every_row_and_greys_what_does_nothing_here(qtbot):
    rows = help_rows("explore")
    assert len(rows) == len(BINDINGS)
    works = {text: now for _, _, text, now in rows}
    assert works["Next image"] and works["Compare side by side"] and not works["Next untagged image"]
    parent = QWidget()
    qtbot.addWidget(parent)
    shown = KeyHelp(parent)
    shown.show_for("tags")
    shown.show_for("explore")
    texts = [w.text() for w in shown.findChildren(QWidget) if hasattr(w, "text") and w.isVisible()]
    for binding in BINDINGS:
        assert texts.count(binding.text) == 1


@pytest.fixture
def place(make_napari_viewer, qtbot):
    """A viewer, its keys, and a dock with a button and a field; `pressed` lists what came."""
    viewer = make_napari_viewer()
    keys = Keys(viewer)
    pressed: list[str] = []
    for page in ("", "tags"):
        names = [b.action for b in BINDINGS if b.page == page]
        keys.bind(page, {n: lambda chord, n=n: pressed.append(f"{n}:{chord}") for n in names})
    dock = QWidget()
    column = QVBoxLayout(dock)
    parts = {"button": QPushButton("go"), "field": QLineEdit()}
    for part in parts.values():
        column.addWidget(part)
    viewer.window.add_dock_widget(dock, name="test")
    keys.watch(dock)
    keys.page = "tags"
    return viewer, keys, parts, pressed


def test_typing_in_a_field_never_triggers_a_key(place, qtbot):
    _, _, parts, pressed = place
    field = parts["field"]
    field.setFocus()
    qtbot.keyClicks(field, "j1N 0h?")
    assert field.text() == "j1N 0h?" and pressed == []


def test_keys_work_from_the_dock_and_from_the_canvas(place, qtbot):
    viewer, _, parts, pressed = place
    parts["button"].setFocus()
    qtbot.keyClick(parts["button"], Qt.Key.Key_2)
    qtbot.keyClick(parts["button"], Qt.Key.Key_2, SHIFT)
    canvas = canvas_of(viewer)
    canvas.setFocus()
    qtbot.keyClick(canvas, Qt.Key.Key_J)
    qtbot.keyClick(canvas, Qt.Key.Key_Z, CTRL)
    assert pressed == ["toggle:2", "absent:Shift+2", "next_image:J", "undo:Ctrl+Z"]


def test_keys_of_a_page_work_while_it_is_shown_and_its_dock_lives(place, qtbot):
    viewer, keys, _, pressed = place
    canvas = canvas_of(viewer)
    canvas.setFocus()
    keys.page = "explore"
    qtbot.keyClick(canvas, Qt.Key.Key_2)
    assert pressed == []
    dock = QWidget()
    with keys.owned_by(dock):
        keys.bind("explore", {"why": lambda chord: pressed.append("why")})
    qtbot.keyClick(canvas, Qt.Key.Key_W)
    assert pressed == ["why"]
    dock.deleteLater()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    qtbot.keyClick(canvas, Qt.Key.Key_W)
    assert pressed == ["why"]
    with pytest.raises(KeyError):
        keys.bind("tags", {"fly": lambda _: None})


def test_a_persons_own_labels_layer_keeps_the_keys_of_its_tools(place, qtbot):
    viewer, _, _, pressed = place
    own = viewer.add_labels(np.zeros((10, 10), np.uint8))
    canvas = canvas_of(viewer)
    canvas.setFocus()
    qtbot.keyClick(canvas, Qt.Key.Key_2)
    assert own.mode == "paint", "2 is napari's key for painting"
    assert pressed == []
    qtbot.keyClick(canvas, Qt.Key.Key_J)
    assert pressed == ["next_image:J"]


def test_a_page_open_in_two_docks_gets_its_own_keys(place, qtbot):
    viewer, keys, _, pressed = place
    keys.page = "explore"
    docks = [QPushButton("one"), QPushButton("two")]
    for n, dock in enumerate(docks):
        viewer.window.add_dock_widget(dock, name=f"dock {n}")
        keys.watch(dock)
        with keys.owned_by(dock):
            keys.bind("explore", {"why": lambda chord, n=n: pressed.append(n)})
    for dock in docks:
        qtbot.keyClick(dock, Qt.Key.Key_W)
    qtbot.keyClick(canvas_of(viewer), Qt.Key.Key_W)
    assert pressed == [0, 1, 1]


def test_holding_acts_once_and_letting_go_ends_it(place, qtbot):
    viewer, _, _, pressed = place
    canvas = canvas_of(viewer)
    canvas.setFocus()
    qtbot.keyPress(canvas, Qt.Key.Key_H)
    qtbot.keyRelease(canvas, Qt.Key.Key_H)
    assert pressed == ["hide:H", "hide:"]
