"""The masks of the open project: who may write them, the image in front, what is saved when."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal, SignalInstance
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from engine.edits import EditRoom, JournalDamaged, OtherPixels
from engine.edits.journal import JOURNAL
from engine.errors import UserError
from engine.store import Project, Views, label_sets
from wsss_napari._compat import main_window
from wsss_napari.attention import Attention
from wsss_napari.background import Background
from wsss_napari.correction import Correction
from wsss_napari.correction_layer import CorrectionLayer
from wsss_napari.correction_sources import Source, read_proposal, sources_of
from wsss_napari.lead_time import LeadTime
from wsss_napari.project_lock import ProjectLock

if TYPE_CHECKING:
    from wsss_napari.desk import Desk

__all__ = ["Corrections"]

_QUIET_MS = 2000
_TICK_MS = 5000


class Corrections:
    """One per desk: the edit room of the open project, and the image that is being corrected.

    The room is opened at first need and closed with the project. Strokes are in its journal before
    they are on the screen; the mask files follow in a thread.

    Attributes:
        correction: The image in front; the tools work on it.
        surface: The layer that shows it.
        room: The edit room, or None.
        problem: Why the room could not be opened, or an empty string.
        damaged: The problem is a journal that cannot be read; `restart` begins another.
        locked: Why masks can be looked at only, or an empty string; `retry` asks again.
        notes: What there is to tell since the room was opened.
        route: (stem, 1 or -1) -> the image to go to; the queue sets it, else the project's order counts.

    Signals:
        closing: The room is about to close: whoever works in it from a thread ends now.
        changed: The room was opened or closed, or could not be.
        states_changed: (stems) review states or notes changed.
        proposals_changed: Other proposals than before are to be had.
    """

    closing = Signal()
    changed = Signal()
    states_changed = Signal(tuple)
    proposals_changed = Signal()

    def __init__(self, desk: Desk) -> None:
        self.session = desk.session
        self._desk = desk
        self.surface = CorrectionLayer(desk.layers)
        self.correction = Correction(desk.session, self.surface)
        self.surface.attach(self.correction)
        self.room: EditRoom | None = None
        self.problem = self.locked = ""
        self.damaged = False
        self.notes: tuple[str, ...] = ()
        # The image that was corrected on other pixels of the same size: a person may keep its mask.
        self.other_pixels = ""
        self._told_trouble = ""
        self.route: Callable[[str, int], str | None] | None = None
        self._lock: ProjectLock | None = None
        self._source = ""
        self._proposed: tuple[str, frozenset[str]] | None = None
        self._merges: tuple[str, ...] = ()
        self._background = Background(1)
        self._follower = Background(1)  # of ten thousand masks, which those of a stroke must not wait for
        self._quiet = QTimer()
        self._quiet.setSingleShot(True)
        self._quiet.setInterval(_QUIET_MS)
        self._quiet.timeout.connect(self._flush)
        self._awake: WeakSet[QWidget] = WeakSet()
        self._time = LeadTime()
        self._attention = Attention(self._windows)
        self._attention.acted.connect(self._time_goes_on)
        self._attention.left.connect(self._left)
        self._tick = QTimer()
        self._tick.setInterval(_TICK_MS)
        self._tick.timeout.connect(self._count)
        self.correction.edited.connect(self._edited)
        self.correction.state_changed.connect(self._state_changed)
        events = desk.session.events
        events.project.connect(self._project_changed)
        events.image.connect(self._image_changed)
        for signal in (self.session.labels_changed, self.session.runs_changed):
            signal.connect(self._forget_proposals)
        for signal in (events.run, events.views):
            signal.connect(self._views_changed)
        self.session.classes_changed.connect(self._classes_changed)

    @property
    def read_only(self) -> bool:
        """Whether masks can be looked at only."""
        return bool(self.locked)

    @property
    def colours(self) -> tuple[str, ...]:
        """`#RRGGBB` of each class of the project."""
        return self._desk.colours

    @property
    def seconds(self) -> float:
        """Time that was spent on the image in front."""
        sheet = self.correction.sheet
        if sheet is None:
            return 0.0
        return sheet.seconds + (0.0 if self.read_only else self._time.so_far())

    def wake(self, page: QWidget) -> None:
        """Know that a page is in front; it opens the images itself."""
        self._awake.add(page)
        self._time.touch()
        self._attention.listen(True)

    def sleep(self, page: QWidget) -> None:
        """Know that a page is no longer in front."""
        self._awake.discard(page)
        if not self._awake:
            self._time.leave()
            if isalive(self._attention):
                self._attention.listen(False)

    def need(self) -> EditRoom | None:
        """Return the edit room of the open project, opened now if it was not; None where there is a problem."""
        project = self.session.project
        if self.room is not None or project is None or self.problem:
            return self.room
        lock = ProjectLock(project.root)
        self.locked = lock.take()
        self._lock = lock
        self._open(lambda: EditRoom.open(project, read_only=bool(self.locked)))
        return self.room

    def retry(self) -> None:
        """Open the room again, as after the other window was closed."""
        stem = self.correction.stem
        self.close()
        self.need()
        if stem:
            self.show(stem)

    def restart(self) -> None:
        """Begin another journal after the damaged one was kept aside; the masks in edited/ are its start."""
        project = self.session.project
        if project is None or not self.damaged:
            return
        if self.locked:
            self._desk.said("warning", self.locked)
            return
        self.problem, self.damaged = "", False
        self._open(lambda: EditRoom.restart(project))

    def show(self, stem: str) -> str:
        """Bring an image to the front.

        Returns:
            Why it cannot be corrected, or an empty string.
        """
        project, room = self.session.project, self.need()
        if project is None or room is None:
            self.correction.close()
            return self.problem
        if self.correction.stem == stem and self.correction.room is room:
            self.correction.show()
            return ""
        before = self.correction.stem
        why = self._load(project, room, stem)
        if before:
            self._flush(before)
        self._time.touch()
        self._tick.start()
        return why

    def reload(self) -> None:
        """Open the image in front anew, as when there is another proposal for what nobody worked on yet."""
        project, room, stem = self.session.project, self.room, self.correction.stem
        if project is not None and room is not None and stem:
            why = self._load(project, room, stem)
            if why:
                self.session.said.emit("error", why)

    def _load(self, project: Project, room: EditRoom, stem: str) -> str:
        self._save_time()
        self.other_pixels = ""
        proposal = None
        try:
            proposal = self.proposal(stem)
        except UserError as error:
            # A damaged proposal must not keep a person from what they made themselves.
            self.session.said.emit("warning", str(error))
        self.surface.use_classes(project.classes, self.colours)
        try:
            self.correction.open(room, stem, proposal, blocked=self.locked)
        except UserError as error:
            self.correction.close()
            if isinstance(error, OtherPixels) and error.acceptable and not self.locked:
                self.other_pixels = stem
            return str(error)
        return ""

    def accept_image(self) -> None:
        """Take the present file of the image for the one its mask belongs to, on the person's word."""
        stem, room = self.other_pixels, self.room
        if stem and room is not None:
            self._desk.guard(room.accept_image, stem)

    def go(self, by: int) -> None:
        """Go to the next image (1) or the previous one (-1), in the order of the queue where there is one."""
        stem = self.session.image
        target = self.route(stem, by) if self.route is not None and stem is not None else None
        if target is not None:
            self.session.image = target
        elif by > 0:
            self.session.next_image()
        else:
            self.session.previous_image()

    def sources(self) -> list[Source]:
        """Return where proposals can come from, the best guess first."""
        project = self.session.project
        return [] if project is None else sources_of(project, self._views())

    @property
    def source(self) -> Source | None:
        """Where proposals come from: what the person chose, or the best guess."""
        found = self.sources()
        return next((s for s in found if s.key == self._source), next(iter(found), None))

    def choose_source(self, key: str) -> None:
        """Let proposals come from another source from now on."""
        if key != self._source:
            self._source = key
            self._forget_proposals()

    def proposal(self, stem: str) -> tuple[str, NDArray[np.uint8]] | None:
        """Return (source, mask) that the engine proposes for an image, or None.

        Raises:
            UserError: Its file is damaged or does not belong to this image.
        """
        project = self.session.project
        if project is None:
            return None
        source = self.source
        mask = None if source is None else read_proposal(project, source, stem)
        return None if source is None or mask is None else (source.key, mask)

    def state(self, stem: str) -> str:
        """Return the review state of an image."""
        if self.correction.sheet is not None and self.correction.stem == stem:
            said = self.correction.sheet.state
        else:
            said = "unseen" if self.room is None else self.room.states().get(stem, "unseen")
        return "proposed" if said == "unseen" and stem in self._with_proposal() else said

    def states(self) -> dict[str, str]:
        """Return the review state of every image in use, in the project's order."""
        said = {} if self.room is None else self.room.states()
        proposed = self._with_proposal()
        return {
            stem: (said.get(stem, "unseen") if said.get(stem, "unseen") != "unseen" else first)
            for stem in self.session.stems
            for first in ["proposed" if stem in proposed else "unseen"]
        }

    def follow_merges(self) -> None:
        """Let a thread bring corrected masks in line with classes that were merged or taken back."""
        project = self.session.project
        if project is None or not (project.root / JOURNAL).exists():
            return
        room = self.need()
        if room is None or self.locked:
            self.session.said.emit("warning", self.locked or self.problem)
            return
        self._follow(room)

    def _follow(self, room: EditRoom) -> None:
        try:
            if room.read_only or room.follows:
                return
        except UserError as error:
            self.session.said.emit("error", str(error))
            return

        def failed(error: UserError) -> None:
            self.session.said.emit("error", str(error))
            self.reload()

        self._follower.run(lambda: self._followed(room), lambda _done: self.reload(), failed)

    def _followed(self, room: EditRoom) -> None:
        for _ in room.follow_merges():
            if self.room is not room:
                return  # the project is being closed: the next opening goes on

    def signals(self) -> list[SignalInstance]:
        """Return the signals that widgets listen to, here and of the image in front."""
        front = self.correction
        return [
            *(self.closing, self.changed, self.states_changed, self.proposals_changed),
            *(front.loaded, front.edited, front.value_changed, front.policy_changed, front.state_changed),
        ]

    def close(self) -> None:
        """Write everything and let others write; the room opens again at the next need."""
        self._save_time()
        self.correction.close()
        self.shut()
        self.changed.emit()

    def shut(self) -> None:
        """Write everything, without a look at layers and widgets: the window may be gone."""
        room, self.room = self.room, None
        if room is not None:
            self.closing.emit()
            try:
                room.close()
            except UserError as error:
                self.session.said.emit("error", str(error))
        # When the application ends, Qt may have deleted these before it told anybody.
        for timer in (self._tick, self._quiet):
            if isalive(timer):
                timer.stop()
        for thread in (self._follower, self._background):
            if isalive(thread):
                thread.close()
        if self._lock is not None:
            self._lock.give_back()
            self._lock = None
        self.problem = self.locked = ""
        self.damaged = False
        self.notes = ()

    def end(self) -> None:
        """Shut for good, and hear nothing more: the window goes."""
        self.shut()
        if isalive(self._attention):
            self._attention.listen(False)

    def _open(self, way: Callable[[], EditRoom]) -> None:
        try:
            self.room = way()
            self.notes = tuple(self.room.notes)
        except JournalDamaged as error:
            self.problem, self.damaged = str(error), True
        except UserError as error:
            self.problem = str(error)
        self.changed.emit()
        if self.room is not None:
            self._follow(self.room)

    def _views(self) -> Views | None:
        run = self.session.chosen_run
        if run is None or run.is_network:
            return None
        views = run.views(self.session.views)
        return views if views.folder.is_dir() else None

    def _with_proposal(self) -> frozenset[str]:
        project, source = self.session.project, self.source
        if project is None or source is None:
            return frozenset()
        if self._proposed is None or self._proposed[0] != source.key:
            self._proposed = (source.key, frozenset(_stems(project, source)))
        return self._proposed[1]

    def _flush(self, stem: str | None = None) -> None:
        """Let a thread write the masks that wait for it."""
        room = self.room
        if room is None or self.read_only:
            return
        self._quiet.stop()
        self._background.run(
            lambda: room.flush(stem),
            lambda _done: None,
            lambda error: self.session.said.emit("error", str(error)),
        )

    def _edited(self, _box: object) -> None:
        self._time.touch()
        self._quiet.start()

    def _state_changed(self, stem: str) -> None:
        self._time.touch()
        self.states_changed.emit((stem,))

    def _windows(self) -> set[QWidget]:
        """Return the windows in which somebody works on masks: those of the pages in front, and the canvas's."""
        window = main_window(self._desk.viewer)
        return {p.window() for p in self._awake if isalive(p)} | (set() if window is None else {window})

    def _time_goes_on(self) -> None:
        self._time.touch()

    def _left(self) -> None:
        self._time.leave()

    def _count(self) -> None:
        self._save_time()
        trouble = "" if self.room is None else self.room.trouble
        if trouble and trouble != self._told_trouble:
            self.session.said.emit(
                "error",
                f"The disk does not keep the last steps ({trouble}). They are safe while the computer runs.",
            )
        self._told_trouble = trouble

    def _save_time(self) -> None:
        sheet, room = self.correction.sheet, self.room
        seconds = self._time.tick()
        if sheet is None or room is None or self.read_only:
            return
        if seconds > 0:
            self._desk.guard(room.add_time, sheet.stem, seconds)

    def _project_changed(self, project: Project | None = None) -> None:
        self._merges = () if project is None else project.merges
        self._source = ""
        self._proposed = None
        self.route = None
        self.close()

    def _image_changed(self, stem: str | None) -> None:
        # The mask of one image must never lie over another one. A page in front opens the new one
        # itself, in the same layer.
        before = self.correction.stem
        if before and stem != before and (stem is None or not self._awake):
            self._save_time()
            self._tick.stop()
            self.correction.close()
            self._flush(before)

    def _forget_proposals(self) -> None:
        self._proposed = None
        self.proposals_changed.emit()

    def _views_changed(self, _value: object = None) -> None:
        self.correction.forget_maps()
        self._forget_proposals()

    def _classes_changed(self) -> None:
        project = self.session.project
        if project is not None:
            self.surface.use_classes(project.classes, self.colours)
            if project.merges != self._merges:
                self._merges = project.merges
                self.follow_merges()


def _stems(project: Project, source: Source) -> tuple[str, ...]:
    if source.views is not None:
        return source.views.stems()
    return next((s.stems() for s in label_sets(project.root, project.colours) if s.name == source.labels), ())
