"""The steps of one image, newest last; a click goes to the moment after a step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractListModel, QModelIndex, QObject, Qt, Signal
from qtpy.QtGui import QColor, QFont, QKeyEvent
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QListView, QPushButton, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from engine.edits import Step

__all__ = ["HistoryPanel", "StepModel", "step_words"]

_HEIGHT = 96


def step_words(step: Step) -> str:
    """Return a step's name with the pixels it changed."""
    return f"{step.name} · {step.pixels:,} px" if step.pixels else step.name


class StepModel(QAbstractListModel):
    """Row 0 is the start, row n the nth step; those that were undone are grey."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.steps: list[Step] = []
        self.start = "Start"

    def set_steps(self, steps: Sequence[Step], start: str) -> None:
        """Show these steps."""
        self.beginResetModel()
        self.steps, self.start = list(steps), start
        self.endResetModel()

    @property
    def current(self) -> int:
        """Row of the moment that the mask is at."""
        return sum(step.done for step in self.steps)

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return how many rows there are."""
        return 0 if parent is not None and parent.isValid() else len(self.steps) + 1

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a row shows."""
        row = index.row()
        if not 0 <= row <= len(self.steps):
            return None
        step = self.steps[row - 1] if row else None
        if role == Qt.ItemDataRole.DisplayRole:
            return self.start if step is None else step_words(step)
        if role == Qt.ItemDataRole.ToolTipRole:
            if step is None:
                return "Click: go back to the moment before the first step"
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(step.when))
            return f"{step.name}\n{step.who}, {when}\nClick: go to the moment after this step"
        if role == Qt.ItemDataRole.ForegroundRole and step is not None and not step.done:
            return QColor(128, 128, 128)
        if role == Qt.ItemDataRole.FontRole and row == self.current:
            font = QFont()
            font.setBold(True)
            return font
        return None


class _List(QListView):
    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        # A letter would search the list, and letters are the keys of the page.
        if event is not None and event.text().strip():
            event.ignore()
        else:
            super().keyPressEvent(event)


class HistoryPanel(QWidget):
    """Undo, redo, revert, and the list.

    Signals:
        went: (step id, or None for the start) the person wants to be at that moment.
    """

    went = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model = StepModel(self)
        self.list = _List(self)
        self.list.setModel(self.model)
        self.list.setUniformItemSizes(True)
        self.list.setFrameShape(QFrame.Shape.NoFrame)
        self.list.setProperty("wsss", "images")
        self.list.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setFixedHeight(_HEIGHT)
        self.list.setAccessibleName("Steps on this image")
        self.list.clicked.connect(self._clicked)
        title = QLabel("History", self)
        title.setProperty("wsss", "title")
        self.undo = _button("Undo", "Take the last step on this image back (Ctrl+Z)", self)
        self.redo = _button("Redo", "Do the step again that was taken back last (Ctrl+Shift+Z)", self)
        self.revert = _button(
            "Revert", "Go back to the engine's proposal, as a step that can itself be undone", self
        )
        row = QHBoxLayout()
        row.addWidget(title, 1)
        for button in (self.undo, self.redo, self.revert):
            row.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addLayout(row)
        column.addWidget(self.list)

    def show_steps(self, steps: Sequence[Step], start: str, *, locked: bool, revertible: bool) -> None:
        """Show the steps of an image.

        Args:
            steps: Oldest first.
            start: What the mask began with.
            locked: Nothing can be changed.
            revertible: The mask differs from a proposal.
        """
        self.model.set_steps(steps, start)
        at = self.model.current
        self.list.setEnabled(not locked)
        self.list.scrollTo(self.model.index(at), QListView.ScrollHint.PositionAtCenter)
        self.undo.setEnabled(not locked and at > 0)
        self.redo.setEnabled(not locked and at < len(steps))
        self.revert.setEnabled(not locked and revertible)

    def _clicked(self, index: QModelIndex) -> None:
        row = index.row()
        if row != self.model.current:
            self.went.emit(self.model.steps[row - 1].id if row else None)


def _button(text: str, tip: str, parent: QWidget) -> QPushButton:
    button = QPushButton(text, parent)
    button.setProperty("wsss", "quiet")
    button.setToolTip(tip)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return button
