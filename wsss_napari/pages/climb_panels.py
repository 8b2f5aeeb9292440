"""Small panels of the Climb page: the label that is made of a step, and the question before a removal."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QGridLayout, QHBoxLayout, QLabel, QLineEdit, QPushButton, QWidget

from engine.store import is_name
from wsss_napari.controls import note

__all__ = ["LabelPanel", "Question"]


class LabelPanel(QWidget):
    """Name of the labels, what the label will hold, and the button that makes it.

    Signals:
        asked: Make it.
        closed: Not now.
        changed: The name changed.
    """

    asked = Signal()
    closed = Signal()
    changed = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.name = QLineEdit("climbed", self)
        self.name.setToolTip(
            "Name of the labels: a folder of the project, so letters, digits, '-', '_' and '.'"
        )
        self.note = note(self)
        self.go = QPushButton("Make the label of this image", self)
        self.go.setProperty("wsss", "primary")
        self.cancel = QPushButton("Not now", self)
        self.cancel.setToolTip("Close this panel")
        row = QHBoxLayout()
        row.addWidget(self.go, 1)
        row.addWidget(self.cancel)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Name", self.name)
        form.addRow(self.note)
        form.addRow(row)
        self.go.clicked.connect(self.asked)
        self.cancel.clicked.connect(self.closed)
        self.name.textChanged.connect(lambda _text: self._check())
        self._holds = ""

    def show_for(self, holds: str) -> None:
        """Say what the label will hold."""
        self._holds = holds
        self._check()

    def _check(self) -> None:
        good = is_name(self.name.text())
        self.go.setEnabled(good)
        self.go.setToolTip(self._holds if good else "Give the labels a name first")
        self.note.setText(
            self._holds if good else "A name has letters, digits, '-', '_' and '.', 64 at most."
        )
        self.changed.emit()


class Question(QWidget):
    """Asks before a climb is removed; keeping it is the first button.

    Signals:
        removed: Yes, remove the climb of this key.
    """

    removed = Signal(str)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._key = ""
        self.text = QLabel(self)
        self.text.setWordWrap(True)
        self.text.setProperty("wsss", "warning")
        self.keep = QPushButton("Keep", self)
        self.keep.setToolTip("Keep the climb")
        self.keep.clicked.connect(self.hide)
        self.sure = QPushButton("Remove for good", self)
        self.sure.setToolTip("Remove the climb's files; this cannot be undone")
        self.sure.clicked.connect(lambda: self.removed.emit(self._key))
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.addWidget(self.text, 0, 0, 1, 3)
        grid.setColumnStretch(0, 1)
        grid.addWidget(self.keep, 1, 1)
        grid.addWidget(self.sure, 1, 2)
        self.hide()

    def ask(self, key: str, text: str) -> None:
        """Ask about the climb of this key."""
        self._key = key
        self.text.setText(text)
        self.show()
        self.keep.setFocus()
