"""One window writes to a project's masks at a time; a second one may look."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QLockFile

__all__ = ["ProjectLock"]

_PATIENCE_MS = 100


class ProjectLock:
    """The file `edits.lock` in a project's folder, held while its masks are open for writing.

    It is never taken for forgotten because of its age, since a person may correct for days; only
    when the process that made it is no more.

    Args:
        root: Folder of the project.
    """

    def __init__(self, root: Path) -> None:
        self._file = QLockFile(str(root / "edits.lock"))
        self._file.setStaleLockTime(0)

    def take(self) -> str:
        """Take it; return an empty string, or the sentence that says why it cannot be had."""
        if self._file.isLocked() or self._file.tryLock(_PATIENCE_MS):
            return ""
        error = self._file.error()
        if error == QLockFile.LockError.PermissionError:
            return (
                "Nothing can be written into the folder of this project, so its masks can be looked at only."
            )
        if error == QLockFile.LockError.LockFailedError:
            return f"{self._holder()} has the masks of this project open, so they can be looked at only here."
        return "The folder of this project cannot be locked, so its masks can be looked at only."

    def give_back(self) -> None:
        """Let others write."""
        if self._file.isLocked():
            self._file.unlock()

    def _holder(self) -> str:
        # PyQt returns (found, pid, host, name), PySide may leave `found` out.
        info = self._file.getLockInfo()
        process = next((int(v) for v in info if isinstance(v, int) and not isinstance(v, bool)), 0)
        host = next((str(v) for v in info if isinstance(v, str) and v), "")
        where = f" on {host}" if host else ""
        return f"Another window (process {process}{where})" if process else "Another window"
