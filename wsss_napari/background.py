"""Small local work off the main thread: reading thumbnails and tag files.

Threads here touch files and arrays only. Results are fetched by a timer on the main thread,
so no Qt object is ever reached from another thread, not even by a signal.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from qtpy.QtCore import QObject, QTimer

from engine.errors import UserError
from wsss_napari._compat import when_destroyed

__all__ = ["Background"]

_POLL_MS = 15


class Background(QObject):
    """A few threads and the timer that brings back what they did.

    Args:
        threads: How many.
        parent: Qt parent; the threads end with it.
    """

    def __init__(self, threads: int = 1, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._threads = threads
        self._pools: list[ThreadPoolExecutor] = []
        self._waiting: list[tuple[Future[Any], Callable[[Any], None], Callable[[UserError], None]]] = []
        self._timer = QTimer(self)
        self._timer.setInterval(_POLL_MS)
        self._timer.timeout.connect(self._fetch)
        # Not by a method: when this is called, there is no self any more.
        when_destroyed(self, partial(_end, self._pools))

    @property
    def pending(self) -> int:
        """How many results are still to come."""
        return len(self._waiting)

    def run(
        self, work: Callable[[], Any], done: Callable[[Any], None], failed: Callable[[UserError], None]
    ) -> None:
        """Do `work` in a thread; later, on the main thread, call `done(result)` or `failed(mistake)`.

        An error that is no UserError is a bug and is raised on the main thread.
        """
        if not self._pools:
            self._pools.append(ThreadPoolExecutor(self._threads, thread_name_prefix="wsss-window"))
        self._waiting.append((self._pools[0].submit(work), done, failed))
        self._timer.start()

    def close(self) -> None:
        """Forget what was asked for and wait for what is being done."""
        self._timer.stop()
        self._waiting.clear()
        _end(self._pools)

    def _fetch(self) -> None:
        ready = [entry for entry in self._waiting if entry[0].done()]
        self._waiting = [entry for entry in self._waiting if not entry[0].done()]
        if not self._waiting:
            self._timer.stop()
        for future, done, failed in ready:
            try:
                result = future.result()
            except UserError as mistake:
                failed(mistake)
            else:
                done(result)


def _end(pools: list[ThreadPoolExecutor]) -> None:
    while pools:
        pools.pop().shutdown(wait=True, cancel_futures=True)
