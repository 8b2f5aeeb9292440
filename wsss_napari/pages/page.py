"""What every page is: a column of controls that knows when it is shown, and says what is missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from wsss_napari.desk import Desk

__all__ = ["Page"]


class Page(QWidget):
    """Base of the pages.

    A page builds its widgets into `self.body`, a vertical layout, and connects to
    `desk.session`. What it can't do yet it says by `show_hint`, which takes the body's place.

    Class attributes:
        NAME: Short name in the key table ("tags").
        TITLE: Word on the tab.
        TIP: Sentence shown over the tab.

    Signals:
        news: There is something new to see here; the tab shows a dot until the page is opened.
        command_changed: What `command()` returns may have changed.
    """

    NAME: ClassVar[str] = ""
    TITLE: ClassVar[str] = ""
    TIP: ClassVar[str] = ""

    news = Signal()
    command_changed = Signal()

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk = desk
        self.session = desk.session
        self._hint = QWidget(self)
        self._hint_text = QLabel(self._hint)
        self._hint_text.setWordWrap(True)
        self._hint_text.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self._hint_button = QPushButton(self._hint)
        self._hint_button.setProperty("wsss", "primary")
        self._hint_button.clicked.connect(self._act)
        self._hint_action: Callable[[], None] | None = None
        hint = QVBoxLayout(self._hint)
        hint.setContentsMargins(24, 36, 24, 36)
        hint.setSpacing(14)
        hint.addWidget(self._hint_text)
        hint.addWidget(self._hint_button, 0, Qt.AlignmentFlag.AlignHCenter)
        hint.addStretch(1)
        self._content = QWidget(self)
        self.body = QVBoxLayout(self._content)
        self.body.setContentsMargins(0, 0, 0, 0)
        self.body.setSpacing(8)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 8, 8, 8)
        column.addWidget(self._hint)
        column.addWidget(self._content, 1)
        self._hint.hide()

    def enter(self) -> None:
        """Be shown: refresh what changed meanwhile. The base does nothing."""

    def leave(self) -> None:
        """Be hidden: stop what costs time, take the plots away. The base does nothing."""

    def command(self) -> str | None:
        """Return the `wsss` line that does what the page would do, or None when it would do nothing."""
        return None

    @property
    def busy(self) -> bool:
        """Whether what the page shows is still being fetched; pictures of the window wait for it."""
        return False

    def show_hint(
        self, text: str, button: str = "", action: Callable[[], None] | None = None, tip: str = ""
    ) -> None:
        """Say what is missing in place of the page's content, and offer it by a button."""
        self._hint_text.setText(text)
        self._hint_button.setText(button)
        self._hint_button.setToolTip(tip or button)
        self._hint_button.setVisible(bool(button))
        self._hint_action = action
        self._hint.show()
        self._content.hide()

    def hide_hint(self) -> None:
        """Show the page's content again."""
        self._hint.hide()
        self._content.show()

    @property
    def hint(self) -> str:
        """The sentence that is shown in place of the content, or an empty string."""
        return "" if self._hint.isHidden() else self._hint_text.text()

    def go_to(self, name: str) -> None:
        """Show another page of the dock that this one is in, or say where it is."""
        dock: Any = self.parentWidget()
        while dock is not None and not hasattr(dock, "turn_to"):
            dock = dock.parentWidget()
        if dock is not None and name in [entry.name for entry in dock.entries]:
            dock.turn_to(name)
        else:
            self.desk.said("info", f"Open the WSSS dock; it has the {name.capitalize()} page.")

    def _act(self) -> None:
        if self._hint_action is not None:
            self._hint_action()
