"""What a tool computes off the main thread: one thing at a time, dropped when it is no longer wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Signal

from engine.errors import UserError
from wsss_napari.background import Background

__all__ = ["ToolWork"]

# Finding a connected piece among so many pixels takes about 30 ms at most.
_AT_ONCE = 600_000


class ToolWork(QObject):  # type: ignore[misc]
    """Runs the slow part of a tool in a thread.

    What was asked for last counts. Cancelled work runs on to its end unseen, since numerical code
    cannot be broken off, but what it finds is thrown away.

    Signals:
        changed: (words) what is being done now, empty when nothing is.
        failed: (sentence) a mistake that the person can do something about.
    """

    changed = Signal(str)
    failed = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        # Two threads: work that was cancelled must not hold up what is asked for next.
        self._background = Background(2, self)
        self._turn = 0
        self._words = ""
        self._of_mask = False

    @property
    def words(self) -> str:
        """What is being done, empty when nothing is."""
        return self._words

    @property
    def of_mask(self) -> bool:
        """Whether it was computed from the mask, so that an edit meanwhile makes it worthless."""
        return self._of_mask and bool(self._words)

    def run(
        self, words: str, work: Callable[[], Any], done: Callable[[Any], None], *, of_mask: bool = True
    ) -> None:
        """Do `work` in a thread and give `done` what it found, on the main thread.

        Args:
            words: What is being done, as in "Snapping".
            work: Must touch only arrays of its own: the mask is changed in place.
            done: Not called when the work was cancelled or something else was asked for meanwhile.
            of_mask: Whether the work depends on the mask.
        """
        self._turn += 1
        turn = self._turn

        def fetched(found: Any) -> None:
            if turn == self._turn:
                self._end(lambda: done(found))

        def failed(mistake: UserError) -> None:
            if turn == self._turn:
                self._end(lambda: self.failed.emit(str(mistake)))

        self._background.run(work, fetched, failed)
        self._say(words, of_mask)

    def find(self, words: str, pixels: int, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Do `work` at once on an image of few pixels, in a thread on a larger one; arguments as for `run`."""
        if pixels <= _AT_ONCE:
            self.cancel()
            done(work())
        else:
            self.run(words, work, done)

    def cancel(self) -> bool:
        """Forget what is being done; return whether there was something."""
        was = bool(self._words)
        self._turn += 1
        self._say("", False)
        return was

    def close(self) -> None:
        """Cancel, and wait until the threads have ended."""
        self.cancel()
        self._background.close()

    def _end(self, what: Callable[[], None]) -> None:
        """Do what follows, and tell that nothing is being done once it has been."""
        self._words, self._of_mask = "", False
        try:
            what()
        finally:
            if not self._words:
                self.changed.emit("")

    def _say(self, words: str, of_mask: bool) -> None:
        self._of_mask = of_mask
        if words != self._words:
            self._words = words
            self.changed.emit(words)
