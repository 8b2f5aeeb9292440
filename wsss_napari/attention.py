"""What a person does in some windows of the application, whichever of their widgets gets it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QApplication, QWidget

__all__ = ["Attention"]

_DEEDS = frozenset(
    (
        QEvent.Type.MouseMove,
        QEvent.Type.MouseButtonPress,
        QEvent.Type.MouseButtonDblClick,
        QEvent.Type.Wheel,
        QEvent.Type.KeyPress,
        QEvent.Type.TabletMove,
        QEvent.Type.TabletPress,
        QEvent.Type.TouchBegin,
        QEvent.Type.TouchUpdate,
    )
)


class Attention(QObject):
    """Hears mouse, keys, pen and touch while it listens.

    Whether a window is the active one is not asked: without a window manager none ever is, and
    with one it stays so while everybody is at lunch.

    Args:
        windows: Returns the top-level windows that count, with the dialogs and menus that they opened.
        parent: Qt parent.

    Signals:
        acted: The person did something there.
        left: The person turned to another application.
    """

    acted = Signal()
    left = Signal()

    def __init__(self, windows: Callable[[], Collection[QWidget]], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._windows = windows
        self._listens = False

    def listen(self, on: bool) -> None:
        """Begin to listen, or end it."""
        app = QApplication.instance()
        if on == self._listens or app is None:
            return
        assert isinstance(app, QGuiApplication)
        self._listens = on
        if on:
            app.installEventFilter(self)
            app.applicationStateChanged.connect(self._state_changed)
        else:
            app.removeEventFilter(self)
            app.applicationStateChanged.disconnect(self._state_changed)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Note what the person does, and let it pass."""
        if event is not None and event.type() in _DEEDS and isinstance(watched, QWidget):
            windows, widget = self._windows(), watched
            while True:
                top = widget.window()
                if top in windows:
                    self.acted.emit()
                    break
                above = None if top is None else top.parentWidget()
                if above is None:
                    break
                widget = above
        return False

    def _state_changed(self, state: Qt.ApplicationState) -> None:
        if state != Qt.ApplicationState.ApplicationActive:
            self.left.emit()
