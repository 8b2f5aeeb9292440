"""Classes renamed and merged in the window: nothing that a person made loses its meaning."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QInputDialog, QMessageBox

from engine.edits import EditRoom, corrected
from engine.store import open_project
from engine.tags import PRESENT
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


@pytest.mark.parametrize("agreed", [False, True])
def test_merging_asks_first_and_takes_corrected_masks_along(flow, qtbot, monkeypatch, agreed):
    session, project = flow.session, flow.session.project
    old, into = project.classes[1], project.classes[0]
    session.set_tag(FIRST, 1, PRESENT)
    desk = flow.desk
    corrections_of(flow).show(FIRST)
    room = corrections_of(flow).room
    sheet = corrections_of(flow).correction.sheet
    after = np.full((4, 4), 2, np.uint8)
    after[0] = 1
    room.commit(sheet, "Brush", "brush", (2, 2, 6, 6), after)
    room.set_state(FIRST, "approved")
    monkeypatch.setattr(QMessageBox, "exec", lambda self: 0)

    def clicked(self):
        buttons = {b.text(): b for b in self.buttons()}
        assert self.defaultButton() is not buttons["Merge"], "the destructive answer is never the default"
        return buttons["Merge"] if agreed else self.defaultButton()

    monkeypatch.setattr(QMessageBox, "clickedButton", clicked)
    flow.chips[1].merge_asked.emit(into)
    if not agreed:
        assert 1 in flow.chips and (sheet.mask == 2).sum() == 12 and session.history.names
        return
    qtbot.waitUntil(lambda: not (corrections_of(flow).correction.sheet.mask == 2).any(), timeout=10_000)
    assert 1 not in flow.chips and session.tag(FIRST, 0) == PRESENT
    assert not session.history.names, "what cannot be undone is not offered"
    sheet = corrections_of(flow).correction.sheet
    assert (sheet.mask == 1).sum() == 16 and sheet.state == "approved"
    assert room.steps(FIRST)[-1].name == f"Merge: {old} into {into}"
    desk.corrections.close()
    with EditRoom.open(open_project(project.root), read_only=True) as again:
        assert (again.load(FIRST).mask == 1).sum() == 16
    assert (corrected(open_project(project.root)).read(FIRST) == 1).sum() == 16
