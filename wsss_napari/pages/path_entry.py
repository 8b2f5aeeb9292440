"""A line that takes a file or a folder."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QMenu, QToolButton, QWidget

__all__ = ["PathEntry"]


class PathEntry(QWidget):
    """A file or a folder, typed or chosen in a dialog.

    Signals:
        changed: The text changed.
    """

    changed = Signal()

    def __init__(self, tip: str, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title = title
        self.line = QLineEdit(self)
        self.line.setToolTip(tip)
        self.line.setAccessibleName(title)
        self.line.textChanged.connect(lambda _text: self.changed.emit())
        self.browse = QToolButton(self)
        self.browse.setText("…")
        self.browse.setToolTip(title)
        self.browse.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self)
        menu.addAction("A file…").triggered.connect(lambda _checked=False: self._ask(folder=False))
        menu.addAction("A folder of VOC XML…").triggered.connect(
            lambda _checked=False: self._ask(folder=True)
        )
        self.browse.setMenu(menu)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.line, 1)
        row.addWidget(self.browse)
        self.setFocusProxy(self.line)

    def _ask(self, *, folder: bool) -> None:
        if folder:
            found = QFileDialog.getExistingDirectory(self, self._title, self.line.text())
        else:
            found, _ = QFileDialog.getOpenFileName(self, self._title, self.line.text())
        if found:
            self.line.setText(found)
