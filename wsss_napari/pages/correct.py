"""The Correct page: mend the mask in front, decide about it, and go on to the next."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QPushButton, QVBoxLayout

from wsss_napari._compat import canvas_of
from wsss_napari.brush_wheel import BrushWheel
from wsss_napari.correct_queue import QueuePanel
from wsss_napari.correct_tools import ToolRow
from wsss_napari.correction import UNSURE
from wsss_napari.correction_layer import KEY
from wsss_napari.desk import PHOTOGRAPH, Desk
from wsss_napari.layer_group import LayerGroup
from wsss_napari.pages.correct_body import CorrectBody
from wsss_napari.pages.correct_sight import CorrectSight
from wsss_napari.pages.page import Page

__all__ = ["CorrectPage"]

_SETTLE_MS = 40
_CLOCK_MS = 1000


class CorrectPage(Page):
    """State and decisions, tools, the proposal, history, and the queue of images."""

    NAME = "correct"
    TITLE = "Correct"
    TIP = "Mend the masks, approve them, and go on to the next"

    def __init__(self, desk: Desk, parent: Any = None) -> None:
        super().__init__(desk, parent)
        self.corrections = desk.corrections
        self.correction = self.corrections.correction
        self.panel = CorrectBody(self)
        self.tools = ToolRow(desk, self.correction)
        self.queue = QueuePanel(desk, self.corrections)
        self.panel.tools_slot.addWidget(self.tools)
        self.panel.queue_slot.addWidget(self.queue)
        self.body.addWidget(self.panel)
        self.restart = QPushButton("Start a new journal from the masks", self)
        self.restart.setProperty("wsss", "quiet")
        self.restart.setToolTip(
            "The damaged file stays in the project under a dated name. The saved masks become the start of a "
            "new journal; steps that were not in them yet are not in the new one."
        )
        self.restart.hide()
        column = self._hint.layout()
        assert isinstance(column, QVBoxLayout)
        # Under "Try again", and quiet: it is never what a person does without thinking.
        below = column.indexOf(self._hint_button) + 1
        column.insertWidget(below, self.restart, 0, Qt.AlignmentFlag.AlignHCenter)
        self.layers = LayerGroup(desk.layers, "correct:")
        self.sight = CorrectSight(desk.layers, self.corrections)
        canvas = canvas_of(desk.viewer)
        self.wheel = None if canvas is None else BrushWheel(canvas, self._under_the_brush, self)
        self.shown = False
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(_SETTLE_MS)
        self._later.timeout.connect(self.refresh)
        self._clock = QTimer(self)
        self._clock.setInterval(_CLOCK_MS)
        self._clock.timeout.connect(self._show_figures)
        self._connect()
        self.load()

    def _connect(self) -> None:
        panel, corrections, correction, session = self.panel, self.corrections, self.correction, self.session
        panel.review.decided.connect(self.decide)
        panel.review.reopened.connect(self.reopen)
        panel.review.went.connect(self.go)
        panel.paint.picked.connect(self._paint)
        panel.paint.policy_picked.connect(self._use_policy)
        panel.paint.eraser_picked.connect(self._use_eraser)
        self.tools.tool_changed.connect(lambda name: panel.paint.show_eraser(name == "eraser"))
        panel.source.activated.connect(lambda _at: self._choose_source())
        panel.compare.pressed.connect(lambda: self.hold_proposal(True))
        panel.compare.released.connect(lambda: self.hold_proposal(False))
        panel.show_changes.toggled.connect(self._show_changes)
        panel.adopt.clicked.connect(self._adopt)
        panel.history.undo.clicked.connect(lambda: correction.undo())
        panel.history.redo.clicked.connect(lambda: correction.redo())
        panel.history.revert.clicked.connect(lambda: correction.revert())
        panel.history.went.connect(correction.go_to)
        panel.note_left.connect(self._keep_note)
        panel.notice_button.clicked.connect(self._notice_clicked)
        self.restart.clicked.connect(self._restart)
        corrections.changed.connect(self._room_changed)
        corrections.proposals_changed.connect(self._proposals_changed)
        correction.leaving.connect(self._leaving)
        correction.loaded.connect(self._loaded)
        correction.edited.connect(self._edited)
        correction.state_changed.connect(self._state_changed)
        correction.value_changed.connect(self._show_value)
        correction.policy_changed.connect(panel.paint.show_policy)
        session.events.project.connect(self._changed)
        session.events.image.connect(self._changed)
        session.events.cls.connect(self._show_value)
        session.classes_changed.connect(self._show_value)
        self.desk.layers.deleted.connect(self._layer_deleted)
        self.desk.keys.watch(self)
        self.desk.keys.bind(
            "correct",
            {
                "paint_class": self._paint_digit,
                "paint_background": lambda _: self._paint(0),
                "paint_unsure": lambda _: self._paint(UNSURE),
                "approve": lambda _: self.decide("approved"),
                "reject": lambda _: self.decide("rejected"),
                "skip": lambda _: self.decide("skipped"),
                "review": lambda _: self.decide("needs review"),
                "reopen": lambda _: self.reopen(),
                "overlay": lambda _: self.sight.toggle_mask(),
                "proposal": lambda chord: self.hold_proposal(bool(chord)),
            },
        )

    def enter(self) -> None:
        """Bring the image in front under the brush."""
        self.shown = True
        self.corrections.wake(self)
        self.layers.wake()
        self.load()
        self.queue.refresh()
        self._clock.start()

    def leave(self) -> None:
        """Put the layer away; every step is in the journal already."""
        self.shown = False
        self.corrections.sleep(self)
        self._clock.stop()
        self._keep_note()
        self.sight.end()
        self.panel.show_changes.setChecked(False)
        self.layers.sleep()
        viewer = self.desk.viewer
        photograph = self.desk.layers.get(PHOTOGRAPH)
        if viewer is not None and photograph is not None:
            # A hidden mask must not keep the brush.
            viewer.layers.selection.active = photograph

    @property
    def busy(self) -> bool:
        """Whether the queue still reads thumbnails, or a tool computes."""
        return self.queue.busy or self.tools.busy

    def load(self) -> None:
        """Bring the image in front under correction, or say what is missing."""
        session, corrections = self.session, self.corrections
        self.restart.hide()
        if session.project is None:
            self.show_hint("No project is open. Open one above, or make one on the Tags page.")
        elif session.image is None:
            self.show_hint("The project has no image that can be read.")
        elif not self.shown:
            return  # another page in front: reading every image it steps through would slow it
        else:
            self._begin(session.image)
        if corrections.damaged:
            self.restart.show()
        self.command_changed.emit()

    def decide(self, state: str) -> None:
        """Say what is to become of the image, and go to the next."""
        sheet = self.correction.sheet
        if sheet is None:
            return
        self._keep_note()
        if sheet.state == "approved":
            if state != "approved":
                self.desk.said("warning", self.correction.read_only)
                return
        elif not self.correction.set_state(state):
            return
        self.go(1)

    def reopen(self) -> None:
        """Let an approved mask be changed again."""
        sheet = self.correction.sheet
        if sheet is not None and sheet.state == "approved":
            self.correction.set_state("in progress")

    def go(self, by: int) -> None:
        """Go to the next image of the queue, or the one before."""
        before = self.session.image
        self.corrections.go(by)
        if self.session.image == before and self.desk.viewer is not None:
            self.desk.viewer.status = "That was the last image." if by > 0 else "That was the first image."

    def hold_proposal(self, held: bool) -> None:
        """Show the proposal in place of the mask while a key or the button is held."""
        self.sight.hold(held)

    def refresh(self) -> None:
        """Show state, figures, history and proposal of the image in front."""
        sheet, panel = self.correction.sheet, self.panel
        room = self.corrections.room  # None too once the window is gone
        if sheet is None or room is None or not self.shown:
            return
        locked = bool(self.corrections.locked)
        why = "" if locked else self.correction.read_only
        panel.review.show_state(self.corrections.state(sheet.stem), why, locked=locked)
        self._show_figures()
        self._show_value()
        steps = room.steps(sheet.stem)
        differs = sheet.proposal is not None and not np.array_equal(sheet.proposal, sheet.mask)
        start = f"Start: {sheet.source}" if sheet.source else "Start: an empty mask"
        panel.history.show_steps(steps, start, locked=bool(self.correction.read_only), revertible=differs)
        last = next((s for s in reversed(steps) if s.done), None)
        who = "" if last is None else f"Last change: {last.who}, {_when(last.when)}"
        panel.show_note(sheet.note, who, locked=locked)
        panel.compare.setEnabled(sheet.proposal is not None)
        self._show_newer(edited=bool(steps))

    def _keep_mask(self) -> None:
        self.corrections.accept_image()
        self.load()

    def _begin(self, image: str) -> None:
        why = self.desk.guard(self.corrections.show, image)
        if why and self.corrections.other_pixels:
            tip = "The mask stays, to be reviewed: say that it fits the pixels that the image has now"
            self.show_hint(why, "Keep the mask", self._keep_mask, tip)
            return
        if why is None or why:
            self.show_hint(why or "The image cannot be corrected.", "Try again", self._retry)
            return
        self.hide_hint()
        self._own_brush()
        self.panel.paint.show_policy(self.correction.policy)
        self._show_notice()
        self._show_sources()
        self.refresh()

    def _own_brush(self) -> None:
        """Make the mask the active layer and the topmost one that is seen."""
        layer, viewer = self.correction.layer, self.desk.viewer
        if layer is None or viewer is None:
            return
        if not layer.visible:  # napari draws anew even when nothing changes
            layer.visible = True
        viewer.layers.selection.active = layer

    def _under_the_brush(self) -> Any | None:
        """Return the mask's layer while the page is in front and the layer is the active one."""
        layer, viewer = self.correction.layer, self.desk.viewer
        active = viewer is not None and layer is not None and viewer.layers.selection.active is layer
        return layer if self.shown and active else None

    def _show_figures(self) -> None:
        sheet = self.correction.sheet
        if sheet is None:
            return
        changed = None
        if sheet.proposal is not None:
            changed = float(np.count_nonzero(sheet.mask != sheet.proposal) / sheet.mask.size)
        unsure = float(np.count_nonzero(sheet.mask == UNSURE) / sheet.mask.size)
        self.panel.review.show_figures(unsure, changed, self.corrections.seconds)

    def _show_value(self, _value: Any = None) -> None:
        project, cls = self.session.project, self.session.cls
        if project is None or (cls is not None and cls >= len(project.classes)):
            return
        name, colour = ("", "") if cls is None else (project.classes[cls], self.desk.colours[cls])
        self.panel.paint.show_value(self.correction.value, cls, name, colour)

    def _show_notice(self) -> None:
        corrections = self.corrections
        if corrections.locked:
            self.panel.show_notice(
                corrections.locked, "Try again", "Ask again whether the masks can be changed here"
            )
        elif corrections.notes:
            self.panel.show_notice("\n".join(corrections.notes), "Understood", "Put this notice away")
        elif self.correction.layer is None:
            self.panel.show_notice(
                "The layer of the mask was deleted; the mask itself was not.", "Show it again"
            )
        else:
            self.panel.show_notice("")

    def _notice_clicked(self) -> None:
        if self.corrections.locked:
            self._retry()
        elif self.corrections.notes:
            self.corrections.notes = ()
            self._show_notice()
        else:
            self.correction.show()
            self._own_brush()
            self._show_notice()

    def _show_sources(self) -> None:
        sources = self.corrections.sources()
        chosen = self.corrections.source
        self.panel.offer_sources([(s.key, s.title) for s in sources], None if chosen is None else chosen.key)

    def _show_newer(self, *, edited: bool) -> None:
        """Say what the proposal that is to be had now would change of a mask that a person worked on."""
        change = self.sight.newer() if edited and not self.correction.read_only else None
        if change is None:
            self.panel.show_newer("")
            if self.panel.show_changes.isChecked():
                self.panel.show_changes.setChecked(False)
            return
        share, source = change
        self.panel.show_newer(f"Newer proposal ({source}) would change {100 * share:.1f} %.")

    def _show_changes(self, on: bool) -> None:
        self.sight.show_changes(on)

    def _adopt(self) -> None:
        found = self.sight.candidate
        if found is not None:
            self.panel.show_changes.setChecked(False)
            self.correction.adopt(*found)
            self.refresh()

    def _choose_source(self) -> None:
        key = self.panel.source.currentData()
        if key is not None:
            self.corrections.choose_source(key)

    def _paint(self, value: int) -> None:
        self.correction.value = value
        self._show_value()

    def _paint_digit(self, chord: str) -> None:
        project = self.session.project
        if project is not None and int(chord) <= len(project.classes):
            cls = int(chord) - 1
            self._paint(project.class_list.merged.get(cls, cls) + 1)

    def _use_policy(self, policy: str) -> None:
        self.correction.policy = policy

    def _use_eraser(self, target: str) -> None:
        self.corrections.surface.erase_to = target

    def _keep_note(self) -> None:
        note = self.panel.note
        if self.correction.sheet is not None and note.isModified() and not self.corrections.locked:
            note.setModified(False)
            self.correction.set_note(note.text().strip())

    def _leaving(self, _stem: str) -> None:
        if self.shown:
            self._keep_note()
            self.sight.end()
            self.panel.show_changes.setChecked(False)

    def _loaded(self, stem: str) -> None:
        self.sight.forget()
        # What is written there is about another image, and kept by now.
        sheet = self.correction.sheet
        text = "" if sheet is None else sheet.note
        self.panel.show_note(text, "", locked=bool(self.corrections.locked), anew=True)
        if stem and self.shown:
            self._own_brush()
            self._later.start()

    def _edited(self, _box: Any = None) -> None:
        if not self._later.isActive():
            self._later.start()

    def _state_changed(self, _stem: str) -> None:
        self._later.start()

    def _proposals_changed(self) -> None:
        self.sight.forget()
        sheet, room = self.correction.sheet, self.correction.room
        if self.shown and sheet is not None and room is not None:
            if not room.steps(sheet.stem):
                # Nobody worked on it yet, so it begins from the new proposal.
                self.desk.guard(self.corrections.reload)
            self._show_sources()
            self.refresh()

    def _room_changed(self) -> None:
        if self.shown and self.session.project is not None and self.corrections.room is not None:
            self._show_notice()

    def _changed(self, _value: Any = None) -> None:
        self.load()

    def _retry(self) -> None:
        self.corrections.retry()
        self.load()

    def _restart(self) -> None:
        self.desk.guard(self.corrections.restart)
        self.load()

    def _layer_deleted(self, key: str) -> None:
        if key == KEY and self.shown:
            self._show_notice()


def _when(unix: float) -> str:
    at = time.localtime(unix)
    today = time.strftime("%Y-%m-%d") == time.strftime("%Y-%m-%d", at)
    return time.strftime("today %H:%M" if today else "%Y-%m-%d %H:%M", at)
