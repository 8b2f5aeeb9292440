"""An annotator's day in the real window: paint, undo, approve, next, close, reopen, export what was approved."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.utils._proxies import ReadOnlyWrapper
from napari.utils.interactions import mouse_move_callbacks, mouse_press_callbacks, mouse_release_callbacks
from PIL import Image as Pillow
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication

from engine.edits import corrected
from engine.messages import Export, Import, Queue
from engine.store import label_set
from engine.store.truth import read_truth
from wsss_napari._compat import canvas_of
from wsss_napari.dock import MainDock
from wsss_napari.pages.export import APPROVED

# A child process that comes up on a busy machine takes its time.
PATIENCE = 180_000
RED, UNSURE = 1, 255


@pytest.fixture
def labelled(small_project):
    """The project with engine labels: the truth, but for a class that is missing on one image."""
    labels = label_set(small_project.root, small_project.colours, "refined", new=True)
    for at, stem in enumerate(small_project.usable):
        mask = read_truth(small_project, stem)
        if at == 4:
            mask[mask == mask.max()] = 0
        labels.write(stem, mask)
    return small_project


class Person:
    """Hands on the mouse and the keys of one window."""

    def __init__(self, viewer: Any, qtbot: Any) -> None:
        self.viewer, self.qtbot = viewer, qtbot
        self.dock = MainDock(viewer)
        self.dock.resize(400, 900)
        self.dock.show()
        self.session = self.dock.session

    @property
    def page(self) -> Any:
        return self.dock.page("correct")

    @property
    def correction(self) -> Any:
        return self.dock.desk.corrections.correction

    @property
    def mask(self) -> np.ndarray:
        return np.array(self.correction.sheet.mask)

    def press(self, key: str) -> None:
        """Press a key while the dock has the focus."""
        modifiers = Qt.KeyboardModifier.NoModifier
        *held, name = key.split("+")
        for word in held:
            modifiers |= {
                "Ctrl": Qt.KeyboardModifier.ControlModifier,
                "Shift": Qt.KeyboardModifier.ShiftModifier,
            }[word]
        self.qtbot.keyClick(self.dock, getattr(Qt.Key, f"Key_{name}"), modifiers)

    def stroke(self, *points: tuple[float, float]) -> None:
        """Drag the brush over the mask."""
        layer = self.correction.layer
        mouse_press_callbacks(layer, _event("mouse_press", points[0], False))
        for point in points[1:]:
            mouse_move_callbacks(layer, _event("mouse_move", point, True))
        mouse_release_callbacks(layer, _event("mouse_release", points[-1], False))

    def finished(self, kind: type[Any], count: int = 1) -> None:
        """Wait until the engine finished jobs of a kind."""

        def done() -> bool:
            lines = [j for j in self.dock.desk.engine.jobs if isinstance(j.job, kind)]
            assert not [j.log for j in lines if j.state == "failed"]
            return len([j for j in lines if j.state == "finished"]) >= count

        self.qtbot.waitUntil(done, timeout=PATIENCE)

    def leave(self) -> None:
        """Close the window; what Qt was asked to delete goes at once."""
        self.dock.desk.close()
        self.dock.close()
        self.dock.deleteLater()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def _event(kind: str, point: tuple[float, float], dragging: bool) -> Any:
    # As napari hands it to callbacks: the moves of a drag are put into the event of its press.
    event = SimpleNamespace(
        type=kind,
        position=point,
        modifiers=[],
        button=1,
        is_dragging=dragging,
        handled=False,
        view_direction=None,
        dims_displayed=[0, 1],
    )
    return ReadOnlyWrapper(event, exceptions=("handled",))


@pytest.mark.timeout(600)
def test_a_day_of_corrections(labelled, make_napari_viewer_proxy, qtbot):
    root = labelled.root
    person = Person(make_napari_viewer_proxy(), qtbot)
    session = person.session
    session.open(root)
    page = person.dock.turn_to("correct")
    queue = page.queue
    assert person.correction.sheet is not None and page.hint == ""
    assert person.viewer.layers.selection.active.name == f"{session.image} · correction"

    # Rank: the image whose mask lacks what it is tagged with comes first.
    worst = labelled.usable[4]
    queue.rank.choice.setCurrentIndex(queue.rank.choice.findData("tags"))
    queue.rank.choice.activated.emit(queue.rank.choice.currentIndex())
    qtbot.mouseClick(queue.rank.go, Qt.MouseButton.LeftButton)
    person.finished(Queue)
    qtbot.waitUntil(lambda: queue.model.stems[0] == worst)
    rows = list(queue.model.stems)
    session.image = worst
    proposal = person.mask

    # Two strokes, one of them unsure; the second one is undone and done again, then undone for good.
    person.press("1")
    person.correction.layer.brush_size = 8
    person.stroke((10, 10), (10, 30))
    red = person.mask
    assert (red[10, 10:31] == RED).all() and person.correction.sheet.state == "in progress"
    person.press("U")
    person.stroke((40, 10), (40, 30))
    assert (person.mask[40, 10:31] == UNSURE).all()
    unsure = person.mask
    person.press("Ctrl+Z")
    np.testing.assert_array_equal(person.mask, red)
    person.press("Ctrl+Shift+Z")
    np.testing.assert_array_equal(person.mask, unsure)
    person.press("Ctrl+Z")
    assert [s.done for s in person.correction.room.steps(worst)] == [True, False]

    # Approve: the queue's next comes to the front, and Ctrl+Z there changes nothing at all.
    person.press("A")
    assert session.image == rows[1]
    second = person.mask
    person.press("Ctrl+Z")
    np.testing.assert_array_equal(person.mask, second)
    assert queue.counter.text() == "1 of 6 approved"
    session.image = worst
    np.testing.assert_array_equal(person.mask, red)
    person.stroke((30, 5), (30, 9))
    np.testing.assert_array_equal(person.mask, red)
    assert "Approved" in person.correction.read_only

    # The next one is begun and left as it is, one is skipped, one approved without a stroke, one rejected.
    session.image = rows[1]
    person.press("2")
    person.stroke((5, 40), (12, 40))
    begun = person.mask
    assert not np.array_equal(begun, second)
    session.image = rows[2]
    person.press("S")
    assert session.image == rows[3]
    person.press("A")
    person.press("R")
    assert session.image == rows[5]
    states = person.dock.desk.corrections.states()
    decided = {
        rows[0]: "approved",
        rows[1]: "in progress",
        rows[2]: "skipped",
        rows[3]: "approved",
        rows[4]: "rejected",
    }
    assert {s: states[s] for s in decided} == decided
    before = {s: corrected(labelled, None).read(s) for s in rows[:2]}
    np.testing.assert_array_equal(before[worst], red)

    # The laptop is closed in the middle of it.
    person.leave()

    # Next morning everything is where it was: masks, states, order, undo.
    person = Person(make_napari_viewer_proxy(), qtbot)
    session = person.session
    session.open(root)
    page = person.dock.turn_to("correct")
    queue = page.queue
    states = person.dock.desk.corrections.states()
    assert {s: states[s] for s in decided} == decided
    assert queue.rank.order == "tags"
    assert queue.model.stems == [rows[1], rows[5]], "what is decided is out of the way"
    session.image = rows[1]
    np.testing.assert_array_equal(person.mask, begun)
    person.press("Ctrl+Z")
    np.testing.assert_array_equal(person.mask, second)
    person.press("Ctrl+Shift+Z")
    np.testing.assert_array_equal(person.mask, begun)
    session.image = worst
    np.testing.assert_array_equal(person.mask, red)
    assert person.correction.read_only
    person.press("Shift+A")
    assert not person.correction.read_only
    person.press("Ctrl+Z")
    np.testing.assert_array_equal(person.mask, proposal)
    person.press("Ctrl+Shift+Z")
    person.press("A")

    # Export what was approved, and nothing else; it comes back unchanged.
    export = person.dock.turn_to("export")
    export.format.choose("png")
    assert "(2)" in export.what.itemText(export.what.findData(APPROVED))
    export.what.setCurrentIndex(export.what.findData(APPROVED))
    out = Path(export.folder.line.text())
    assert out.name == "approved-png"
    qtbot.mouseClick(export.export_button, Qt.MouseButton.LeftButton)
    person.finished(Export)
    qtbot.waitUntil(export.done.isVisible)
    assert sorted(p.stem for p in out.glob("*.png")) == sorted([rows[0], rows[3]])
    np.testing.assert_array_equal(np.asarray(Pillow.open(out / f"{worst}.png")), red)
    export.import_fold.open()
    back = export.import_back
    back.format.choose("png")
    back.folder.line.setText(str(out))
    back.name.setText("mine")
    qtbot.mouseClick(back.go, Qt.MouseButton.LeftButton)
    person.finished(Import)
    np.testing.assert_array_equal(label_set(root, labelled.colours, "mine").read(worst), red)
    person.leave()


def wheel(canvas: Any, delta: QPoint, modifier: Any) -> None:
    at = QPointF(canvas.rect().center())
    QApplication.sendEvent(
        canvas,
        QWheelEvent(
            at, QPointF(canvas.mapToGlobal(at.toPoint())), QPoint(), delta, Qt.MouseButton.NoButton, modifier,
            Qt.ScrollPhase.NoScrollPhase, False,
        ),
    )  # fmt: skip


def test_alt_and_the_wheel_size_the_brush_in_the_real_window(labelled, make_napari_viewer_proxy, qtbot):
    person = Person(make_napari_viewer_proxy(), qtbot)
    person.session.open(labelled.root)
    person.dock.turn_to("correct")
    layer, viewer, canvas = person.correction.layer, person.viewer, canvas_of(person.viewer)
    alt, ctrl, none = (
        Qt.KeyboardModifier.AltModifier,
        Qt.KeyboardModifier.ControlModifier,
        Qt.KeyboardModifier.NoModifier,
    )
    layer.brush_size, zoom = 20, viewer.camera.zoom
    # Qt on X11 turns the wheel by 90 degrees while Alt is held; other systems do not.
    for delta, size in (
        (QPoint(120, 0), 22),
        (QPoint(0, 120), 25),
        (QPoint(-120, 0), 22),
        (QPoint(0, -120), 19),
    ):
        wheel(canvas, delta, alt)
        assert layer.brush_size == size == person.page.tools.size.read()
        assert viewer.layers.selection.active is layer, "napari chooses another layer by it"
    wheel(canvas, QPoint(0, 120), ctrl)
    assert layer.brush_size == 21 and viewer.camera.zoom == zoom
    wheel(canvas, QPoint(0, 120), none)
    assert layer.brush_size == 21, "the plain wheel zooms"
    others = [other for other in viewer.layers if other is not layer]
    viewer.layers.selection.active = others[0]
    wheel(canvas, QPoint(120, 0), alt)
    assert layer.brush_size == 21, "on a person's own layer the wheel is napari's"
    person.dock.turn_to("tags")
    viewer.layers.selection.active = layer if layer in viewer.layers else others[0]
    wheel(canvas, QPoint(120, 0), alt)
    assert layer.brush_size == 21


def test_a_closed_window_hears_nothing_more(labelled, make_napari_viewer_proxy, qtbot):
    person = Person(make_napari_viewer_proxy(), qtbot)
    person.session.open(labelled.root)
    person.dock.turn_to("correct")
    heard: list[bool] = []
    person.dock.desk.corrections._attention.acted.connect(lambda: heard.append(True))
    qtbot.keyClick(person.dock, Qt.Key.Key_Shift)
    assert heard
    heard.clear()
    person.viewer.close()
    qtbot.keyClick(person.dock, Qt.Key.Key_Shift)  # a dock of its own outlives the window
    assert not heard
