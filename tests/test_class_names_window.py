"""Classes renamed and merged in the window: nothing that a person made loses its meaning."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication, QInputDialog

from engine.edits import EditRoom, corrected
from engine.store import open_project
from engine.tags import PRESENT, UNKNOWN
from wsss_napari.chips import ChipFlow
from wsss_napari.desk import desk_of

FIRST = "im_000"


@pytest.fixture
def flow(small_project, qtbot):
    desk = desk_of(ViewerModel())
    told: list[str] = []
    desk.said = lambda _level, text: told.append(text)
    desk.session.open(small_project.root)
    flow = ChipFlow(desk)
    flow.told = told
    qtbot.addWidget(flow)
    yield flow
    desk.close()


def corrections_of(flow):
    return flow.desk.corrections


def test_a_new_name_shows_at_once_and_can_be_undone(flow, monkeypatch):
    session = flow.session
    old = session.project.classes[0]
    monkeypatch.setattr(QInputDialog, "getText", lambda *_a, **_k: ("kitty", True))
    flow.chips[0].rename_asked.emit()
    assert flow.chips[0].text() == "kitty" and session.project.classes[0] == "kitty"
    assert open_project(session.project.root).classes[0] == "kitty"
    assert session.history.undo() == f"Class {old} renamed to kitty"
    assert flow.chips[0].text() == old
    monkeypatch.setattr(QInputDialog, "getText", lambda *_a, **_k: (session.project.classes[1], True))
    flow.chips[0].rename_asked.emit()
    assert flow.chips[0].text() == old and flow.told, "a name that stands already is refused in words"


def test_the_menu_offers_the_other_classes(flow):
    names = flow.session.project.classes
    menu = flow.chips[0].menu()
    texts = [a.text() for a in menu.actions()]
    assert "Rename the class…" in texts and "Merge the class into" in texts
    (into,) = (a.menu() for a in menu.actions() if a.menu() is not None)
    assert [a.text() for a in into.actions()] == [n for n in names if n != names[0]]


def drawn_on(flow, *, approve=True):
    """Correct a mask that holds two classes and return (room, sheet)."""
    corrections_of(flow).show(FIRST)
    room, sheet = corrections_of(flow).room, corrections_of(flow).correction.sheet
    after = np.full((4, 4), 2, np.uint8)
    after[0] = 1
    room.commit(sheet, "Brush", "brush", (2, 2, 6, 6), after)
    if approve:
        room.set_state(FIRST, "approved")
    return room, sheet


def followed(flow, qtbot, merged):
    front = corrections_of(flow).correction
    qtbot.waitUntil(lambda: (front.sheet.mask == 2).any() != merged, timeout=10_000)
    qtbot.waitUntil(lambda: not corrections_of(flow)._follower.pending, timeout=10_000)
    assert ((front.layer.data == 2).sum() == 0) == merged, "the layer shows what the mask holds"


def test_merging_takes_corrected_masks_along_and_is_undone_as_one_deed(flow, qtbot):
    session, project = flow.session, flow.session.project
    old, into = project.classes[1], project.classes[0]
    session.set_tag(FIRST, 1, PRESENT)
    session.set_tag(FIRST, 0, UNKNOWN)
    session.cls = 1
    room, sheet = drawn_on(flow)
    flow.chips[1].merge_asked.emit(into)
    followed(flow, qtbot, True)
    assert 1 not in flow.chips and session.tag(FIRST, 0) == PRESENT and session.cls == 0
    assert (
        session.history.names[-1] == f"Class {old} merged into {into}"
        and not QApplication.activeModalWidget()
    )
    assert (sheet.mask == 1).sum() == 16 and sheet.state == "approved"
    assert room.steps(FIRST)[-1].name == f"Merge: {old} into {into}"
    assert any("merged" in text for text in flow.told)
    session.history.undo()
    followed(flow, qtbot, False)
    assert 1 in flow.chips and session.tag(FIRST, 0) == UNKNOWN and session.tag(FIRST, 1) == PRESENT
    assert (sheet.mask == 2).sum() == 12 and sheet.state == "approved"
    session.history.redo()
    followed(flow, qtbot, True)
    flow.desk.corrections.close()
    with EditRoom.open(open_project(project.root), read_only=True) as again:
        assert (again.load(FIRST).mask == 1).sum() == 16
    assert (corrected(open_project(project.root)).read(FIRST) == 1).sum() == 16


def test_a_merge_is_taken_back_from_the_menu_after_a_restart(flow, qtbot):
    project = flow.session.project
    old, into = project.classes[1], project.classes[0]
    drawn_on(flow)
    flow.chips[1].merge_asked.emit(into)
    followed(flow, qtbot, True)
    flow.session.close()
    session = flow.session
    session.open(project.root)
    corrections_of(flow).show(FIRST)
    assert not session.history.names and flow.chips[0].merged == old and not flow.chips[2].merged
    assert "Take back" not in " ".join(a.text() for a in flow.chips[2].menu().actions())
    (back,) = (a for a in flow.chips[0].menu().actions() if a.text() == f"Take back the merge with {old}")
    back.trigger()
    followed(flow, qtbot, False)
    assert 1 in flow.chips and not flow.chips[0].merged
    assert session.history.names == (f"Merge of {old} into {into} taken back",)
    session.history.undo()
    followed(flow, qtbot, True)
    assert flow.chips[0].merged == old


def test_undo_on_the_page_takes_the_whole_merge_back(flow, qtbot):
    session, front = flow.session, corrections_of(flow).correction
    drawn_on(flow, approve=False)
    flow.chips[1].merge_asked.emit(session.project.classes[0])
    followed(flow, qtbot, True)
    assert front.undo()
    followed(flow, qtbot, False)
    assert not session.project.merges and 1 in flow.chips and not session.history.names


def test_masks_that_did_not_follow_do_so_when_the_project_is_opened_again(flow, qtbot):
    session, project = flow.session, flow.session.project
    drawn_on(flow)
    session.close()
    open_project(project.root).merge_classes(project.classes[1], project.classes[0])  # and killed there
    session.open(project.root)
    corrections_of(flow).show(FIRST)
    followed(flow, qtbot, True)
    assert corrections_of(flow).room.follows


def test_a_merged_class_is_passed_over_by_the_keys(flow):
    session = flow.session
    session.merge_classes(session.project.classes[1], session.project.classes[0])
    session.cls = 0
    session.next_class()
    assert session.cls == 2
    session.next_class(-1)
    assert session.cls == 0
