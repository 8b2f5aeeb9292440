"""One undo for everything a person changes, whichever page it was changed on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from psygnal import Signal

__all__ = ["History"]

_LIMIT = 500


@dataclass(frozen=True)
class _Deed:
    name: str
    apply: Callable[[], None]
    revert: Callable[[], None]


class History:
    """Deeds with their inverses, newest last.

    `changed` is emitted after each deed, undo and redo. A deed that raises is not kept;
    a revert that raises stays where it is, so that it can be tried again.
    """

    changed = Signal()

    def __init__(self, limit: int = _LIMIT) -> None:
        self._done: list[_Deed] = []
        self._undone: list[_Deed] = []
        self._limit = limit

    @property
    def names(self) -> tuple[str, ...]:
        """Names of what can be undone, oldest first."""
        return tuple(deed.name for deed in self._done)

    @property
    def undone_names(self) -> tuple[str, ...]:
        """Names of what can be redone, the next one last."""
        return tuple(deed.name for deed in self._undone)

    def do(self, name: str, apply: Callable[[], None], revert: Callable[[], None]) -> None:
        """Apply a deed now and keep its inverse; what was undone before can no longer be redone."""
        apply()
        self._done.append(_Deed(name, apply, revert))
        del self._done[: -self._limit]
        self._undone.clear()
        self.changed.emit()

    def undo(self) -> str | None:
        """Revert the newest deed and return its name, or None when there is none."""
        if not self._done:
            return None
        deed = self._done[-1]
        deed.revert()
        self._undone.append(self._done.pop())
        self.changed.emit()
        return deed.name

    def redo(self) -> str | None:
        """Apply the deed undone last and return its name, or None when there is none."""
        if not self._undone:
            return None
        deed = self._undone[-1]
        deed.apply()
        self._done.append(self._undone.pop())
        self.changed.emit()
        return deed.name

    def clear(self) -> None:
        """Forget everything, as when another project is opened."""
        self._done.clear()
        self._undone.clear()
        self.changed.emit()
