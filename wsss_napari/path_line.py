"""A line that takes a file or a folder, typed or chosen in a dialog."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QMenu, QToolButton, QWidget

__all__ = ["PathLine", "ask_path", "beside"]


class PathLine(QWidget):
    """A path, typed or chosen.

    Args:
        tip: What the path is for.
        title: Title of the dialog and accessible name.
        file, folder: What the menu's entries for files and folders say; None where there are none. With one
            of them the button asks at once.
        placeholder: Shown while the line is empty.

    Signals:
        changed: The text changed.
    """

    changed = Signal()

    def __init__(
        self,
        tip: str,
        title: str,
        parent: QWidget | None = None,
        *,
        file: str | None = None,
        folder: str | None = None,
        placeholder: str = "",
    ) -> None:
        super().__init__(parent)
        self._title = title
        self.line = QLineEdit(self)
        self.line.setToolTip(tip)
        self.line.setAccessibleName(title)
        self.line.setPlaceholderText(placeholder)
        self.line.textChanged.connect(lambda _text: self.changed.emit())
        self.browse = beside(self, self.line, title)
        kinds = [(words, is_folder) for words, is_folder in ((file, False), (folder, True)) if words]
        if len(kinds) == 1:
            self.browse.clicked.connect(lambda _checked=False: self._ask(folder=kinds[0][1]))
            return
        menu = QMenu(self)
        for words, is_folder in kinds:
            action = menu.addAction(words)
            action.triggered.connect(lambda _checked=False, is_folder=is_folder: self._ask(folder=is_folder))
        self.browse.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.browse.setMenu(menu)

    def text(self) -> str:
        """Return the path without the spaces around it."""
        return str(self.line.text()).strip()

    def set_text(self, text: str, *, quiet: bool = False) -> None:
        """Show another path; quietly without `changed`."""
        blocked = self.line.blockSignals(quiet)
        self.line.setText(text)
        self.line.blockSignals(blocked)

    def _ask(self, *, folder: bool) -> None:
        found = ask_path(self, self._title, self.text(), folder=folder)
        if found:
            self.line.setText(found)


def ask_path(parent: QWidget, title: str, start: str, *, folder: bool) -> str:
    """Ask for a file or a folder that is there; an empty string when the person would rather not."""
    if folder:
        return str(QFileDialog.getExistingDirectory(parent, title, start))
    found, _ = QFileDialog.getOpenFileName(parent, title, start)
    return str(found)


def beside(entry: Any, line: QWidget, title: str) -> QToolButton:
    """Lay out a line and a button "…" in a row of `entry`; return the button."""
    button = QToolButton(entry)
    button.setText("…")
    button.setToolTip(title)
    button.setAccessibleName(title)
    row = QHBoxLayout(entry)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(4)
    row.addWidget(line, 1)
    row.addWidget(button)
    entry.setFocusProxy(line)
    return button
