"""The Correct page: what a person sees of a mask, decides about it, and where they go next."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from PIL import Image as Pillow
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QApplication, QPushButton, QScrollArea

from engine.edits import EditRoom
from engine.labels import LabelRule
from engine.store import label_set
from wsss_napari.correction import UNSURE
from wsss_napari.desk import PHOTOGRAPH, desk_of
from wsss_napari.pages.correct import CorrectPage
from wsss_napari.pages.correct_review import STATE_COLOURS, span
from wsss_napari.pages.explore import ExplorePage

FIRST, SECOND = "im_000", "im_001"
BOX = (5, 5, 15, 15)
REGION = np.ones((10, 10), bool)


@pytest.fixture
def project(small_project):
    labels = label_set(small_project.root, small_project.colours, "cam", new=True)
    for stem in small_project.usable:
        mask = np.zeros((48, 64), np.uint8)
        mask[10:30, 10:40] = 1
        mask[30:34] = UNSURE
        labels.write(stem, mask)
    return small_project


@pytest.fixture
def page(correct_page):
    return correct_page


def press(page, key, text, modifiers=Qt.KeyboardModifier.NoModifier, *, release=True):
    QApplication.sendEvent(page, QKeyEvent(QEvent.Type.KeyPress, key, modifiers, text))
    if release:
        QApplication.sendEvent(page, QKeyEvent(QEvent.Type.KeyRelease, key, modifiers, text))


def paint(page, value=2, box=BOX):
    return page.correction.apply("Brush: x", "brush", box, REGION, value)


def test_the_mask_is_on_top_active_and_under_the_brush(page):
    viewer, layer = page.desk.viewer, page.correction.layer
    assert viewer.layers[-1].name == f"{FIRST} · correction" == layer.name
    assert viewer.layers.selection.active is layer and str(layer.mode) == "paint" and layer.visible
    assert page.hint == "" and "Proposed" in page.panel.review.state.text()
    assert page.panel.review.figures.text() == "unsure 8.3 % · changed 0.0 %"
    page.leave()
    assert not layer.visible and viewer.layers.selection.active is page.desk.layers.get(PHOTOGRAPH)
    page.enter()
    assert layer.visible and viewer.layers.selection.active is layer


def test_figures_history_and_state_follow_every_step(page):
    paint(page)
    paint(page, UNSURE, (30, 50, 40, 60))
    page.refresh()
    review, history = page.panel.review, page.panel.history
    assert (
        review.figures.text() == f"unsure {100 * (256 + 60) / 3072:.1f} % · changed {100 * 160 / 3072:.1f} %"
    )
    assert "In progress" in review.state.text()
    rows = [history.model.index(n).data() for n in range(history.model.rowCount())]
    assert rows == ["Start: cam", "Brush: x · 100 px", "Brush: x · 60 px"] and history.model.current == 2
    history.list.clicked.emit(history.model.index(0))
    page.refresh()
    assert history.model.current == 0 and history.redo.isEnabled() and not history.undo.isEnabled()
    assert not (page.correction.sheet.mask == 2).any()
    history.list.clicked.emit(history.model.index(2))
    page.refresh()
    history.undo.click()
    page.refresh()
    assert history.model.current == 1 and history.revert.isEnabled()
    history.revert.click()
    page.refresh()
    assert not history.revert.isEnabled() and history.model.rowCount() == 3, (
        "the branch that was left is kept aside"
    )


@pytest.mark.parametrize(
    ("key", "text", "state"),
    [
        (Qt.Key.Key_A, "a", "approved"),
        (Qt.Key.Key_R, "r", "rejected"),
        (Qt.Key.Key_S, "s", "skipped"),
        (Qt.Key.Key_D, "d", "needs review"),
    ],
)
def test_a_key_decides_and_goes_on(page, key, text, state):
    paint(page)
    press(page, key, text)
    assert page.session.image == SECOND == page.correction.stem
    assert page.corrections.state(FIRST) == state
    assert page.corrections.room.states()[FIRST] == state


def test_an_approved_mask_says_so_and_is_reopened(page):
    press(page, Qt.Key.Key_A, "a")
    page.session.image = FIRST
    page.refresh()
    review = page.panel.review
    assert review.why.text() == "Approved. Reopen to change it." and not review.why.isHidden()
    assert review.approve.isHidden() and not review.reopen.isHidden() and not review.reject.isEnabled()
    press(page, Qt.Key.Key_R, "r")
    assert page.session.image == FIRST and page.told[-1] == "Approved. Reopen to change it."
    assert not paint(page)
    press(page, Qt.Key.Key_A, "A", Qt.KeyboardModifier.ShiftModifier)
    page.refresh()
    assert page.correction.sheet.state == "in progress" and paint(page) and review.why.isHidden()


def test_digits_unsure_background_and_the_chips(page):
    for key, text, value in (
        (Qt.Key.Key_3, "3", 3),
        (Qt.Key.Key_U, "u", UNSURE),
        (Qt.Key.Key_0, "0", 0),
        (Qt.Key.Key_1, "1", 1),
        (Qt.Key.Key_9, "9", 1),  # there is no ninth class
    ):
        press(page, key, text)
        assert page.correction.value == value == page.correction.layer.selected_label
        chips = page.panel.paint
        chosen = {0: chips.background, UNSURE: chips.unsure}.get(value, chips.cls)
        assert chosen.isChecked() and [chips.cls, chips.background, chips.unsure].count(chosen) == 1
    page.session.cls = 1
    assert chips.cls.text() == "green" and page.correction.value == 2
    chips.unsure.click()
    assert page.correction.value == UNSURE
    chips.cls.click()
    assert page.correction.value == 2
    chips.policy.setCurrentIndex(3)
    chips.policy.activated.emit(3)
    assert page.correction.policy == "keep" and "other classes" in chips.policy.toolTip()
    chips.eraser.activated.emit(1)


def test_ctrl_z_is_this_images_and_elsewhere_the_sessions(page):
    paint(page)
    held = page.correction.sheet.mask.copy()
    press(page, Qt.Key.Key_J, "j")
    press(page, Qt.Key.Key_Z, "\x1a", Qt.KeyboardModifier.ControlModifier)
    press(page, Qt.Key.Key_K, "k")
    assert page.session.image == FIRST and np.array_equal(page.correction.sheet.mask, held)
    press(page, Qt.Key.Key_Z, "\x1a", Qt.KeyboardModifier.ControlModifier)
    assert not (page.correction.sheet.mask == 2).any()
    shifted = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    press(page, Qt.Key.Key_Z, "\x1a", shifted)
    assert np.array_equal(page.correction.sheet.mask, held)


def test_the_proposal_is_seen_while_a_key_is_held(page):
    paint(page)
    layer = page.correction.layer
    press(page, Qt.Key.Key_G, "g", release=False)
    other = page.desk.layers.get("correct:proposal")
    assert not layer.visible and other.visible and (other.data[10:15, 10:15] == 1).all()
    press(page, Qt.Key.Key_G, "g")
    assert layer.visible and page.desk.layers.get("correct:proposal") is None
    press(page, Qt.Key.Key_V, "v")
    assert not layer.visible
    press(page, Qt.Key.Key_V, "v")
    assert layer.visible


def test_a_newer_proposal_is_offered_shown_and_taken(page, project):
    paint(page)
    page.refresh()
    assert page.panel.newer.text() == ""
    newer = label_set(project.root, project.colours, "better", new=True)
    newer.write_facts({"source": "x"})
    newer.write(FIRST, np.full((48, 64), 3, np.uint8))
    page.session.labels_changed.emit()
    assert "better" in page.panel.newer.text() and "96.7 %" in page.panel.newer.text()
    page.panel.show_changes.click()
    shown = page.desk.layers.get("correct:newer")
    assert (shown.data[20:, 20:] == 3).all() and not shown.data[5:15, 5:15].any()
    page.panel.adopt.click()
    assert page.desk.layers.get("correct:newer") is None and page.panel.newer.text() == ""
    assert (page.correction.sheet.mask[5:15, 5:15] == 2).all() and page.correction.sheet.mask[40, 40] == 3
    assert page.correction.undo() and page.correction.sheet.mask[40, 40] == 0


def test_another_source_is_the_start_where_nobody_worked(page, project):
    other = label_set(project.root, project.colours, "better", new=True)
    other.write(FIRST, np.full((48, 64), 3, np.uint8))
    page.session.labels_changed.emit()
    box = page.panel.source
    keys = [box.itemData(n) for n in range(box.count())]
    assert set(keys) == {"cam", "better"}
    for key, value in (("better", 3), ("cam", 0)):
        box.setCurrentIndex(keys.index(key))
        box.activated.emit(keys.index(key))
        assert page.correction.sheet.source == key and page.correction.sheet.mask[0, 0] == value
    assert page.correction.room.steps(FIRST) == []


def test_a_note_is_kept_with_its_image_however_it_is_left(page):
    note = page.panel.note
    note.setText("the tail is grass")
    note.setModified(True)
    page.session.image = SECOND
    assert note.text() == "" and page.correction.stem == SECOND
    page.session.image = FIRST
    assert note.text() == "the tail is grass" and page.correction.sheet.note == "the tail is grass"
    page.session.image = SECOND
    assert page.correction.sheet.note == ""
    paint(page)
    page.refresh()
    assert page.panel.who.text().startswith("Last change: ") and "today" in page.panel.who.text()


def test_a_window_that_may_only_look_says_why_and_asks_again(project, qtbot, page):
    desk = desk_of(ViewerModel())
    desk.session.open(project.root)
    second = CorrectPage(desk)
    qtbot.addWidget(second)
    second.enter()
    panel = second.panel
    assert "has the masks of this project open" in panel.notice_text.text()
    assert panel.notice_button.text() == "Try again" and not panel.review.approve.isEnabled()
    second.decide("approved")
    assert desk.session.image == FIRST and page.corrections.room.states() == {}
    page.corrections.close()
    panel.notice_button.click()
    assert panel.notice.isHidden() and panel.review.approve.isEnabled()
    second.leave()
    desk.close()


def test_a_damaged_journal_stops_the_page_and_the_way_on_is_quiet(page, project):
    paint(page)
    page.leave()
    page.corrections.close()
    journal = project.root / "edits.sqlite"
    journal.write_bytes(b"")
    page.enter()
    assert "edits.sqlite" in page.hint and not page.restart.isHidden()
    assert page.restart.property("wsss") == "quiet" and not page.restart.isDefault()
    assert journal.read_bytes() == b""
    page.restart.click()
    assert page.hint == "" and page.restart.isHidden() and (page.correction.sheet.mask[5:15, 5:15] == 2).all()


def test_without_project_image_or_labels_it_says_so(project, qtbot):
    desk = desk_of(ViewerModel())
    page = CorrectPage(desk)
    qtbot.addWidget(page)
    page.enter()
    assert "No project is open" in page.hint
    for file in (project.root / "labels" / "cam").iterdir():
        file.unlink()
    (project.root / "labels" / "cam").rmdir()
    desk.session.open(project.root)
    assert page.hint == "" and not page.correction.sheet.mask.any() and page.correction.sheet.proposal is None
    assert not page.panel.source.isEnabled() and not page.panel.compare.isEnabled()
    assert "Unseen" in page.panel.review.state.text()
    desk.session.close()
    assert "No project is open" in page.hint and not desk.layers.keys
    page.leave()
    desk.close()


def test_images_of_other_pixels_are_refused(page, project):
    path = project.path(SECOND)
    path.write_bytes(path.read_bytes() + b" ")
    page.session.image = SECOND
    assert "another file" in page.hint or "bytes differ" in page.hint
    assert page.correction.sheet is None and page.correction.layer is None
    page.session.image = FIRST
    assert page.hint == "" and page.correction.stem == FIRST


def test_a_deleted_layer_is_told_and_comes_back(page):
    paint(page)
    page.desk.viewer.layers.remove(page.correction.layer)
    assert "deleted" in page.panel.notice_text.text()
    page.panel.notice_button.click()
    assert page.correction.layer is not None and page.panel.notice.isHidden()
    assert page.desk.viewer.layers.selection.active is page.correction.layer


def test_every_control_has_words_and_a_tip(page):
    for button in page.panel.findChildren(QPushButton):
        assert button.toolTip() or button.isHidden(), button.text()
        assert button.text() or button.accessibleName() or button.isHidden(), button.toolTip()
    for box in (page.panel.source, page.panel.paint.policy, page.panel.paint.eraser, page.panel.note):
        assert box.toolTip() and box.accessibleName()
    assert page.minimumSizeHint().width() <= 372, "it fits into the dock"


@pytest.mark.parametrize("height", [505, 785])
def test_the_queue_is_seen_without_scrolling(page, request, qtbot, height):
    """505 px is what a page has in a window of 1280 x 800."""
    area = QScrollArea()
    request.addfinalizer(area.takeWidget)  # before the page's own end
    area.setWidgetResizable(True)
    area.setFrameShape(QScrollArea.Shape.NoFrame)  # as in the dock
    area.setWidget(page)
    area.resize(372, height)
    area.show()
    inner = page.panel.halves.area
    for name in page.tools.buttons:
        page.tools.choose(name)
        QApplication.processEvents()
        assert area.verticalScrollBar().maximum() == 0 == area.horizontalScrollBar().maximum(), name
        queue = page.queue.list
        seen = queue.visibleRegion().boundingRect()
        assert seen.height() == queue.height() >= 60 and queue.width() > 300, name
        # A bar that comes in takes its room in a turn of its own.
        qtbot.waitUntil(lambda: inner.widget().width() <= inner.viewport().width(), timeout=2000)
    press(page, Qt.Key.Key_A, "a")
    page.session.image = FIRST
    page.refresh()
    QApplication.processEvents()
    assert not page.panel.review.why.isHidden() and area.verticalScrollBar().maximum() == 0
    page.tools.choose("eraser")
    assert not page.panel.paint.eraser.isHidden()
    page.tools.choose("brush")
    assert page.panel.paint.eraser.isHidden()


def test_the_handle_is_the_persons(page, qtbot):
    halves = page.panel.halves
    page.resize(372, 700)
    QApplication.processEvents()
    total = sum(halves.sizes())
    halves.moveSplitter(total - 250, 1)
    halves.splitterMoved.emit(total - 250, 1)
    before = halves.sizes()[1]
    assert abs(before - 250) < 20
    page.tools.choose("shape")
    page.resize(372, 720)
    QApplication.processEvents()
    assert abs(halves.sizes()[1] - before) <= 20, "a window that grows does not take the choice back"
    halves.setSizes([total, 0])
    assert page.queue.list.visibleRegion().isEmpty(), "the queue can be put away"
    halves.setSizes([0, total])
    assert halves.sizes()[0] >= 90, "the tools cannot"


def test_another_rule_on_explore_changes_no_mask_that_a_person_worked_on(page, project):
    """A rule is a proposal: it is offered where there are corrections, and taken where there are none."""
    draw_maps = runpy.run_path(str(Path(__file__).with_name("test_correct_tools.py")))["draw_maps"]
    draw_maps(project)
    page.session.runs_changed.emit()
    explore = ExplorePage(page.desk)
    paint(page)
    page.session.image = SECOND
    page.decide("approved")
    page.session.image = FIRST
    held = {s: page.corrections.room.load(s).mask.copy() for s in (FIRST, SECOND)}
    steps = {s: page.corrections.room.steps(s) for s in (FIRST, SECOND)}
    explore.panel.rule.set_rule(LabelRule("constant", 0.8))
    explore.panel.rule.settled.emit()
    assert page.session.history.names[-1] == "rule constant:0.8"
    labels = label_set(project.root, project.colours, "cam")
    for stem in project.usable:
        labels.write(stem, np.full((48, 64), 3, np.uint8))
    page.session.labels_changed.emit()
    page.refresh()
    for stem in (FIRST, SECOND):
        assert np.array_equal(page.corrections.room.load(stem).mask, held[stem])
        assert page.corrections.room.steps(stem) == steps[stem]
    assert "would change" in page.panel.newer.text() and page.panel.adopt.isVisible()
    page.session.image = SECOND
    page.refresh()
    assert page.panel.newer.text() == "" and np.array_equal(page.correction.sheet.mask, held[SECOND])
    # Undo on this page is of the image, never of the rule.
    page.session.image = FIRST
    press(page, Qt.Key.Key_Z, "\x1a", Qt.KeyboardModifier.ControlModifier)
    assert explore.panel.rule.rule == LabelRule("constant", 0.8) and page.session.history.names
    third = page.session.stems[2]
    page.session.image = third
    assert (page.correction.sheet.mask == 3).all(), "where nobody worked, the new labels are the proposal"
    explore.close()


def test_times_and_states_have_words():
    from engine.edits import STATES

    assert set(STATES) == set(STATE_COLOURS)
    assert [span(s) for s in (0, 42, 725, 3725)] == ["0:00", "0:42", "12:05", "1:02:05"]


def test_all_of_it_is_there_after_closing(page, project):
    paint(page)
    press(page, Qt.Key.Key_A, "a")
    paint(page, 3)
    page.leave()
    page.session.close()
    with EditRoom.open(project, read_only=True) as room:
        assert room.states() == {FIRST: "approved", SECOND: "in progress"}
        assert (room.load(SECOND).mask[5:15, 5:15] == 3).all() and len(room.steps(FIRST)) == 1
    assert {p.name for p in (project.root / "edited").glob("*.png")} == {f"{FIRST}.png", f"{SECOND}.png"}


def test_a_mask_drawn_on_other_pixels_is_kept_on_the_persons_word(page, project):
    desk = page.desk
    paint(page)
    mask = page.correction.sheet.mask.copy()
    path = desk.session.project.path(FIRST)
    Pillow.fromarray(np.full((48, 64, 3), 99, np.uint8)).save(path)
    desk.corrections.close()
    desk.session.project.relink(images=path.parent)
    page.load()
    assert "other pixels" in page.hint and page.correction.sheet is None
    page._hint_button.click()
    assert page.hint == "" and (page.correction.sheet.mask == mask).all()
    assert page.correction.sheet.state == "needs review"


def test_a_disk_that_does_not_keep_steps_is_told_once(page, monkeypatch):
    monkeypatch.setattr(type(page.corrections.room), "trouble", "No space left on device")
    page.told.clear()
    page.corrections._count()
    page.corrections._count()
    assert len([t for t in page.told if "No space left on device" in t]) == 1
