"""A thread that brings strokes to the disk within a second, beside the drawing.

In write-ahead mode a commit is safe from a killed process at once, and from a power cut as
soon as the log was synced. Syncing at every stroke would cost 5 to 20 ms each; this thread does
it shortly after, and moves the log into the database before it grows long.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from pathlib import Path

from engine.errors import UserError

__all__ = ["Durable"]

_WAIT = 0.3  # s from a commit to its sync, so that the strokes of a quick hand share one
# Bytes of log from which on it is moved into the database; beside a hand that never rests, where this
# is never done with, strokes wait for it once the log is this many times as long.
_LONG, _FAR = 4 << 20, 8


class Durable:
    """Sync the log of a journal soon after `touch`.

    Args:
        path: The journal's file, in write-ahead mode.
    """

    def __init__(self, path: Path) -> None:
        self.trouble = ""
        self._path = path
        self._log = path.with_name(path.name + "-wal")
        self._touched = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wsss-edits-sync", daemon=True)
        self._thread.start()

    def touch(self) -> None:
        """Say that something was committed."""
        self._touched.set()

    def stop(self) -> None:
        """Sync what is left and end the thread."""
        self._stop.set()
        self._touched.set()
        self._thread.join()

    def check(self) -> None:
        """Tell once of a sync that failed.

        Raises:
            UserError: The disk refused.
        """
        if self.trouble:
            said, self.trouble = self.trouble, ""
            raise UserError(
                f"The disk refused to keep the last steps ({said}).",
                "They are safe as long as the computer runs.",
                "Check the disk that the project lies on, and save a copy of the project elsewhere.",
            )

    def _run(self) -> None:
        while not self._stop.is_set():
            self._touched.wait()
            self._stop.wait(_WAIT)
            self._touched.clear()
            self._sync()

    def _sync(self) -> None:
        try:
            with open(self._log, "rb+") as file:
                os.fsync(file.fileno())
                size = file.seek(0, os.SEEK_END)
            if size > _LONG:
                how = "PASSIVE" if size <= _FAR * _LONG else "RESTART"
                with contextlib.closing(sqlite3.connect(self._path, timeout=0.1)) as base:
                    base.execute(f"PRAGMA wal_checkpoint({how})").fetchall()
        except FileNotFoundError:
            return  # nothing was committed yet
        except sqlite3.OperationalError:
            return  # busy: the next stroke's turn comes soon
        except OSError as error:
            self.trouble = error.strerror or str(error)
