"""The image under correction: one step per tool, through the edit mask, on this image and no other."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent, QWheelEvent
from qtpy.QtWidgets import QApplication, QDialog, QLineEdit, QWidget

from engine.edits import EditRoom
from engine.errors import UserError
from engine.store import label_set
from wsss_napari.correction import POLICIES, UNSURE, around
from wsss_napari.correction_layer import KEY, hatch_part, unhatched
from wsss_napari.correction_sources import read_proposal, sources_of
from wsss_napari.desk import desk_of
from wsss_napari.lead_time import IDLE, LeadTime
from wsss_napari.palette import HATCH, hatched
from wsss_napari.project_lock import ProjectLock

FIRST, SECOND = "im_000", "im_001"


def proposed(project, stem: str) -> np.ndarray:
    mask = np.zeros((48, 64), np.uint8)
    mask[10:30, 10:40] = project.usable.index(stem) % 3 + 1
    mask[30:34, 10:40] = UNSURE
    return mask


@pytest.fixture
def project(small_project):
    labels = label_set(small_project.root, small_project.colours, "cam", new=True)
    labels.write_facts({"source": "cam/default"})
    for stem in small_project.usable:
        labels.write(stem, proposed(small_project, stem))
    return small_project


@pytest.fixture
def desk(project, qapp):
    desk = desk_of(ViewerModel())
    desk.session.open(project.root)
    told: list[str] = []
    desk.session.said.disconnect(desk.said)
    desk.session.said.connect(lambda _level, text: told.append(text))
    desk.told = told
    yield desk
    desk.close()


@pytest.fixture
def open_image(desk):
    assert desk.corrections.show(FIRST) == ""
    return desk.corrections.correction


BOX = (5, 5, 15, 15)
REGION = np.ones((10, 10), bool)


def test_an_image_begins_with_the_proposal_and_a_tool_is_one_step(project, desk, open_image):
    front = open_image
    assert front.sheet.source == "cam" and desk.corrections.state(FIRST) == "proposed"
    assert np.array_equal(front.sheet.mask, proposed(project, FIRST))
    assert np.array_equal(front.layer.data, hatched(front.sheet.mask))
    boxes, states = [], []
    front.edited.connect(boxes.append)
    front.state_changed.connect(states.append)
    assert front.apply("Test: red", "test", BOX, REGION, 1, {"size": 3})
    steps = front.room.steps(FIRST)
    assert [(s.name, s.tool, s.params) for s in steps] == [("Test: red", "test", {"size": 3})]
    assert boxes == [BOX] and states == [FIRST] and front.sheet.state == "in progress"
    assert (front.sheet.mask[5:15, 5:15] == 1).all()
    assert not front.apply("Test: red", "test", BOX, REGION, 1), "nothing changed"
    assert len(front.room.steps(FIRST)) == 1
    assert front.undo() and np.array_equal(front.sheet.mask, proposed(project, FIRST))
    assert np.array_equal(front.layer.data, hatched(front.sheet.mask))
    assert not front.undo() and front.redo() and not front.redo()


def test_the_edit_mask_holds_for_apply_and_replace(project, desk, open_image):
    front, before = open_image, proposed(project, FIRST)
    box, region = (0, 0, 48, 64), np.ones((48, 64), bool)
    desk.session.cls = 0
    wanted = {
        "everywhere": np.ones_like(before, bool),
        "inside": before == 1,
        "unsure": before == UNSURE,
        "keep": before != 2,
    }
    for policy in POLICIES:
        front.policy = policy
        for how in ("apply", "replace"):
            if how == "apply":
                assert front.apply("t", "t", box, region, 3)
            else:
                assert front.replace("t", "t", box, np.full((48, 64), 3, np.uint8))
            assert np.array_equal(front.sheet.mask == 3, wanted[policy]), (policy, how)
            assert np.array_equal(front.sheet.mask[~wanted[policy]], before[~wanted[policy]])
            assert front.undo()
    with pytest.raises(ValueError, match="sideways"):
        front.policy = "sideways"


def test_undo_after_a_switch_changes_nothing_elsewhere(project, desk, open_image):
    front = open_image
    front.apply("one", "t", BOX, REGION, 2)
    first = front.sheet.mask.copy()
    desk.session.image = SECOND
    assert front.stem == "" and front.layer is None, "no page is in front, so nothing is opened"
    desk.corrections.show(SECOND)
    second = front.sheet.mask.copy()
    for _ in range(3):
        assert not front.undo() and not front.redo()
        front.layer.undo()
        front.layer.redo()
    assert np.array_equal(front.sheet.mask, second) and np.array_equal(front.layer.data, hatched(second))
    desk.corrections.show(FIRST)
    assert np.array_equal(front.sheet.mask, first)
    assert front.undo() and np.array_equal(front.sheet.mask, proposed(project, FIRST))


def test_an_approved_mask_is_protected_until_it_is_reopened(desk, open_image):
    front, room = open_image, open_image.room
    front.apply("one", "t", BOX, REGION, 2)
    assert front.set_state("approved")
    assert front.read_only == "Approved. Reopen to change it." and not front.layer.editable
    before = front.sheet.mask.copy()
    assert not front.apply("two", "t", BOX, REGION, 1) and not front.undo() and not front.revert()
    front.layer.paint((30, 30), 3)
    front.layer.data_setitem((np.array([1]), np.array([1])), 3)
    assert np.array_equal(front.sheet.mask, before) and np.array_equal(front.layer.data, hatched(before))
    assert len(room.steps(FIRST)) == 1 and desk.told[-1] == "Approved. Reopen to change it."
    assert front.set_state("in progress") and front.layer.editable and str(front.layer.mode) == "paint"
    assert front.undo()


def test_what_is_painted_follows_the_chip_and_back(desk, open_image):
    front, layer = open_image, open_image.layer
    desk.session.cls = 2
    assert front.value == 3 == layer.selected_label
    front.value = UNSURE
    assert desk.session.cls == 2 and layer.selected_label == UNSURE and front.inside == 3
    front.value = 1
    assert desk.session.cls == 0 and layer.selected_label == 1
    layer.selected_label = 2
    assert front.value == 2 and desk.session.cls == 1
    layer.selected_label = 4  # + beyond the last class
    assert front.value == UNSURE == layer.selected_label
    layer.selected_label -= 1
    assert front.value == 3
    layer.mode = "pick"
    layer.selected_label = HATCH  # a stripe was picked
    assert front.value == UNSURE == layer.selected_label


def test_history_goes_anywhere_and_revert_can_be_undone(project, desk, open_image):
    front = open_image
    masks = [front.sheet.mask.copy()]
    for n in range(4):
        y = 2 + 10 * n
        front.apply(f"step {n}", "t", (y, 50, y + 4, 60), np.ones((4, 10), bool), n % 3 + 1)
        masks.append(front.sheet.mask.copy())
    ids = [s.id for s in front.room.steps(FIRST)]
    for at in (1, 4, 0, 2):
        assert front.go_to(ids[at - 1] if at else None)
        assert np.array_equal(front.sheet.mask, masks[at])
        assert np.array_equal(front.layer.data, hatched(masks[at])), "all boxes on the way are repainted"
    assert front.revert() and np.array_equal(front.sheet.mask, proposed(project, FIRST))
    assert front.undo() and np.array_equal(front.sheet.mask, masks[2])


def test_a_newer_proposal_changes_only_what_nobody_decided(project, desk, open_image):
    front = open_image
    front.apply("mine", "t", BOX, REGION, 2)
    newer = np.full((48, 64), 3, np.uint8)
    assert front.adopt("better", newer)
    assert (front.sheet.mask[5:15, 5:15] == 2).all() and front.sheet.source == "better"
    rest = np.ones((48, 64), bool)
    rest[5:15, 5:15] = False
    assert (front.sheet.mask[rest] == 3).all()


def test_a_second_window_looks_only_and_may_try_again(project, desk, open_image):
    open_image.apply("one", "t", BOX, REGION, 2)
    other = desk_of(ViewerModel())
    try:
        other.session.open(project.root)
        assert other.corrections.show(FIRST) == ""
        assert "has the masks of this project open" in other.corrections.locked
        theirs = other.corrections.correction
        assert np.array_equal(theirs.sheet.mask, open_image.sheet.mask), "the newest step is seen"
        other.session.said.disconnect(other.said)
        assert not theirs.apply("two", "t", BOX, REGION, 1) and not theirs.set_state("approved")
        assert not theirs.layer.editable
        desk.corrections.close()
        other.corrections.retry()
        assert other.corrections.locked == "" and theirs.apply("two", "t", BOX, REGION, 1)
    finally:
        other.close()


def test_a_folder_that_cannot_be_locked_is_looked_at(tmp_path, monkeypatch):
    first, second = ProjectLock(tmp_path), ProjectLock(tmp_path)
    assert first.take() == "" and first.take() == ""
    assert f"process {__import__('os').getpid()}" in second.take()
    first.give_back()
    assert second.take() == ""
    second.give_back()
    assert "cannot be locked" in ProjectLock(tmp_path / "nowhere").take() or "Nothing can be written" in (
        ProjectLock(tmp_path / "nowhere").take()
    )


def test_a_damaged_journal_is_told_and_another_begins_on_request_only(project, desk, open_image):
    open_image.apply("one", "t", BOX, REGION, 2)
    mine = open_image.sheet.mask.copy()
    desk.corrections.close()
    journal = project.root / "edits.sqlite"
    journal.write_bytes(journal.read_bytes()[:700])
    broken = journal.read_bytes()
    why = desk.corrections.show(FIRST)
    assert why and desk.corrections.damaged and desk.corrections.room is None
    desk.corrections.retry()
    assert desk.corrections.damaged and journal.read_bytes() == broken, "nothing is touched"
    desk.corrections.restart()
    assert not desk.corrections.damaged and desk.corrections.show(FIRST) == ""
    assert np.array_equal(open_image.sheet.mask, mine), "the saved mask is the start"
    kept = [p for p in project.root.iterdir() if p.is_file() and p != journal]
    assert any(p.read_bytes() == broken for p in kept)


def test_masks_are_written_when_it_is_quiet_and_at_close(project, desk, open_image, qtbot):
    file = project.root / "edited" / f"{FIRST}.png"
    desk.corrections._quiet.setInterval(30)
    open_image.apply("one", "t", BOX, REGION, 2)
    qtbot.waitUntil(file.is_file, timeout=5000)
    other = project.root / "edited" / f"{SECOND}.png"
    desk.corrections._quiet.setInterval(100000)
    desk.corrections.show(SECOND)
    open_image.apply("two", "t", BOX, REGION, 2)
    assert not other.is_file()
    desk.session.close()
    assert other.is_file() and desk.corrections.room is None
    assert not (project.root / "edits.lock").exists()
    with EditRoom.open(project, read_only=True) as room:
        assert (room.load(SECOND).mask[5:15, 5:15] == 2).all()


def test_time_counts_while_somebody_is_there():
    now = [1000.0]
    watch = LeadTime(lambda: now[0])
    now[0] += 5
    assert watch.tick() == 5
    watch.touch()
    now[0] += 30
    assert watch.so_far() == 30 == watch.tick()
    now[0] += 1000
    assert watch.tick() == IDLE - 30, "a minute after the last sign of life it stands still"
    now[0] += 1000
    assert watch.tick() == 0
    now[0] += 3
    watch.touch()
    now[0] += 4
    assert watch.so_far() == 4, "what lay before the hand came back does not count"
    watch.leave()
    now[0] += 20
    assert watch.so_far() == 4, "nobody thinks about a mask in another program"
    watch.touch()
    now[0] += 2
    assert watch.tick() == 6
    now[0] += 1000
    watch.touch()
    now[0] += 1
    assert watch.tick() == IDLE - 2 + 1, "the minute after the last deed was not ticked before the next one"
    now[0] -= 500
    assert watch.tick() == 0


def test_time_is_kept_with_the_image(desk, open_image):
    now = [1000.0]
    desk.corrections._time = LeadTime(lambda: now[0])
    now[0] += 12
    assert desk.corrections.seconds == 12
    desk.corrections.show(SECOND)
    assert desk.corrections.room.times()[FIRST] == 12
    now[0] += 3
    desk.corrections.show(FIRST)
    assert desk.corrections.seconds == 12 and desk.corrections.room.times()[SECOND] == 3


def test_time_goes_on_by_what_is_done_in_our_windows_alone(desk, open_image, qtbot):
    page, field, stranger = QWidget(), QLineEdit(), QWidget()
    field.setParent(page)
    dialog = QDialog(page)
    for widget in (page, dialog, stranger):
        qtbot.addWidget(widget)
    corrections, now = desk.corrections, [1000.0]
    corrections._time = LeadTime(lambda: now[0])
    corrections.wake(page)

    def after(seconds, deed):
        before = corrections.seconds
        now[0] += seconds
        deed()
        now[0] += 1
        return corrections.seconds - before

    assert QApplication.activeWindow() is None, "no window manager says that somebody is there"
    assert after(IDLE + 100, lambda: None) == IDLE
    deeds = [
        lambda: move_over(page),
        lambda: qtbot.mouseClick(field, Qt.MouseButton.LeftButton),
        lambda: qtbot.keyClick(field, Qt.Key.Key_A),
        lambda: qtbot.mouseClick(dialog, Qt.MouseButton.LeftButton),
        lambda: turn_over(page),
    ]
    for deed in deeds:
        now[0] += 500
        assert after(500, deed) == 1
    now[0] += 500
    assert after(500, lambda: qtbot.keyClick(stranger, Qt.Key.Key_A)) == 0
    qtbot.keyClick(field, Qt.Key.Key_B)
    assert after(0, lambda: corrections._attention.left.emit()) == 0, "another program is in front"
    corrections.sleep(page)
    assert after(0, lambda: qtbot.keyClick(field, Qt.Key.Key_C)) == 0, "another page is in front"
    kept = corrections.seconds
    corrections.close()
    with EditRoom.open(desk.session.project, read_only=True) as room:
        assert room.times()[FIRST] == kept == 6 * IDLE


def move_over(widget):
    here = QPointF(2, 2)
    none = Qt.MouseButton.NoButton
    QApplication.sendEvent(
        widget, QMouseEvent(QEvent.Type.MouseMove, here, none, none, Qt.KeyboardModifier.NoModifier)
    )


def turn_over(widget):
    QApplication.sendEvent(
        widget,
        QWheelEvent(
            QPointF(2, 2), QPointF(2, 2), QPoint(), QPoint(0, 120), Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
        ),
    )  # fmt: skip


def test_sources_are_the_labels_and_their_faults_are_told(project, desk):
    assert [s.key for s in sources_of(project, None)] == ["cam"]
    states = desk.corrections.states()
    assert set(states.values()) == {"proposed"} and list(states) == list(project.usable)
    wrong = label_set(project.root, project.colours, "cam")
    wrong.write(FIRST, np.zeros((5, 5), np.uint8))
    with pytest.raises(UserError, match="5 x 5 px"):
        read_proposal(project, sources_of(project, None)[0], FIRST)
    wrong.write(SECOND, np.full((48, 64), 9, np.uint8))
    with pytest.raises(UserError, match="the value 9"):
        read_proposal(project, sources_of(project, None)[0], SECOND)
    assert desk.corrections.show(FIRST) == "" and "5 x 5 px" in desk.told[-1]
    assert not desk.corrections.correction.sheet.mask.any(), "it begins empty, and nothing is lost"
    desk.session.tags_changed.emit(())
    wrong.remove(project.usable[2])
    desk.session.labels_changed.emit()
    assert desk.corrections.states()[project.usable[2]] == "unseen"


def test_a_hatch_goes_on_over_the_border_of_a_box():
    mask = np.zeros((90, 120), np.uint8)
    mask[10:60, 5:80] = UNSURE
    mask[60:80] = 2
    whole = hatched(mask)
    out = np.full_like(mask, 7)
    for y in range(0, 90, 13):
        for x in range(0, 120, 17):
            box = (y, x, min(y + 13, 90), min(x + 17, 120))
            hatch_part(mask[y : box[2], x : box[3]], box, out)
    assert np.array_equal(out, whole) and {HATCH, UNSURE} <= set(np.unique(out))
    assert np.array_equal(unhatched(out), mask)
    region = np.zeros((10, 10), bool)
    region[3] = True
    out[:] = 7
    hatch_part(mask[10:20, 5:15], (10, 5, 20, 15), out, region)
    assert (out != 7).sum() == 10 and np.array_equal(out[13, 5:15], whole[13, 5:15])


def test_boxes_of_steps_without_pixels_do_not_count():
    assert around([(0, 0, 0, 0), (3, 4, 8, 9), (1, 6, 2, 20)]) == (1, 4, 8, 20)
    assert around([(0, 0, 0, 0)]) == (0, 0, 0, 0)


def test_closing_the_project_takes_the_layer_away_and_the_look_stays(project, desk, open_image):
    layer = open_image.layer
    layer.opacity, layer.contour, layer.brush_size = 0.8, 2, 33
    desk.corrections.show(SECOND)
    assert open_image.layer is layer and layer.name == f"{SECOND} · correction"
    assert (layer.opacity, layer.contour, layer.brush_size) == (0.8, 2, 33)
    desk.session.close()
    assert desk.layers.get(KEY) is None and not desk.layers.keys
    desk.session.open(project.root)
    desk.corrections.show(FIRST)
    again = open_image.layer
    assert again is not layer and (again.opacity, again.contour, again.brush_size) == (0.8, 2, 33)
