"""Work on many masks in a thread, which can be watched and stopped; the image in front is done last, by the main thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal

from engine.errors import UserError
from wsss_napari._compat import when_destroyed
from wsss_napari.background import Background
from wsss_napari.correct_bulk_work import Deed, Proposals, Tally, do_one, run_deed
from wsss_napari.correction_sources import read_proposal
from wsss_napari.corrections import Corrections

__all__ = ["BulkRun"]

_POLL_MS = 100


class BulkRun(QObject):  # type: ignore[misc]
    """One deed at a time.

    A person may go on painting meanwhile: what is in front is never touched by the thread, so no
    stroke can meet a step that it does not know of.

    Args:
        corrections: The masks of the open project.
        parent: Qt parent; the thread ends with it, after the image it is at.

    Signals:
        progressed: (done, of how many)
        ended: (Tally) it is over, stopped or not.
    """

    progressed = Signal(int, int)
    ended = Signal(object)

    def __init__(self, corrections: Corrections, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._corrections = corrections
        self._stopped = threading.Event()
        # Before the background that waits for its thread, which must not go through all images then.
        when_destroyed(self, self._stopped.set)
        self._background = Background(1, self)
        self._tally: Tally | None = None
        self._poll = QTimer(self)
        self._poll.setInterval(_POLL_MS)
        self._poll.timeout.connect(self._tell)
        corrections.closing.connect(self._closing)

    @property
    def busy(self) -> bool:
        """Whether a deed is being done."""
        return self._tally is not None

    def start(self, deed: Deed, stems: Sequence[str]) -> str:
        """Begin.

        Returns:
            Why it cannot be begun, or an empty string.
        """
        corrections = self._corrections
        project, room = corrections.session.project, corrections.need()
        why = corrections.locked or corrections.problem
        if self.busy or why or project is None or room is None:
            return "Something is being done already." if self.busy else why or "No project is open."
        source = corrections.source

        def proposals(stem: str) -> tuple[str, NDArray[np.uint8]] | None:
            mask = None if source is None else read_proposal(project, source, stem)
            return None if source is None or mask is None else (source.key, mask)

        self._stopped.clear()
        self._tally = tally = Tally(tuple(stems))
        session = corrections.session
        self._background.run(
            lambda: run_deed(
                deed,
                room,
                proposals,
                tally,
                lambda: session.image or "",
                self._stopped.is_set,
            ),
            lambda _tally: self._finish(deed, tally, proposals),
            lambda error: self._fail(tally, error),
        )
        self._poll.start()
        self._tell()
        return ""

    def stop(self) -> None:
        """Begin no further image."""
        self._stopped.set()

    def _finish(self, deed: Deed, tally: Tally, proposals: Proposals) -> None:
        corrections = self._corrections
        room = corrections.room
        for stem in tally.later:
            if room is not None and not self._stopped.is_set():
                do_one(deed, room, stem, proposals, tally, lambda: "")
        if corrections.correction.stem in tally.changed:
            corrections.reload()
        self._end(tally)

    def _closing(self) -> None:
        """End before the room closes; what was done is in the journal, and the rest is not begun."""
        tally = self._tally
        if tally is not None and isalive(self):
            self._stopped.set()
            self._background.close()
            self._end(tally)

    def _fail(self, tally: Tally, error: UserError) -> None:
        tally.faults.append(str(error))
        self._end(tally)

    def _end(self, tally: Tally) -> None:
        self._poll.stop()
        self._tally = None
        self.ended.emit(tally)

    def _tell(self) -> None:
        if self._tally is not None:
            self.progressed.emit(self._tally.done, len(self._tally.stems))
