"""The boxes that were made from a source: choose one to look at, make labels of it, delete it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from wsss_napari.controls import note
from wsss_napari.pages.climb_panels import LabelPanel, Question

__all__ = ["BoxList", "BoxRow"]

_KEY = Qt.ItemDataRole.UserRole
_MOST = 5


@dataclass(frozen=True)
class BoxRow:
    """One box as the list shows it: RUN/VIEWS, words, tooltip."""

    key: str
    words: str
    tip: str


class BoxList(QWidget):
    """The list and what can be done with the chosen box.

    Signals:
        chosen: (key) look at this box.
        use_asked: (key) the panel that makes labels of it was opened.
        delete_asked: (key) the person would like to delete it.
        take_asked: (key) show its chain in the cards.
    """

    chosen = Signal(str)
    use_asked = Signal(str)
    delete_asked = Signal(str)
    take_asked = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.head = QLabel("Made from these maps", self)
        self.head.setProperty("wsss", "title")
        self.empty = note(self)
        self.empty.setText(
            "Nothing yet. Each refinement becomes a box of its own here, so none is ever overwritten: "
            "going back is choosing another one."
        )
        self.list = QListWidget(self)
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.list.setToolTip("The boxes made from these maps, newest first; choose one to look at")
        self.list.setAccessibleName("Boxes made from these maps")
        self.list.currentItemChanged.connect(lambda _now, _before: self._choose())
        self.use = _quiet("Use as label…", "Make pseudo-labels of all images of this box", self)
        self.take = _quiet("Its settings", "Show the chain that made this box in the cards above", self)
        self.delete = _quiet("Delete…", "Delete this box, after one more question", self)
        row = QHBoxLayout()
        row.setSpacing(2)
        for button, signal in (
            (self.use, self.use_asked),
            (self.take, self.take_asked),
            (self.delete, self.delete_asked),
        ):
            row.addWidget(button)
            button.clicked.connect(lambda _checked=False, signal=signal: signal.emit(self.current or ""))
        row.addStretch(1)
        self.lack = note(self)
        self.question = Question(self)
        self.question.keep.setToolTip("Keep the box")
        self.question.sure.setText("Delete for good")
        self.question.sure.setToolTip("Delete the box's maps; this cannot be undone")
        self.label = LabelPanel(self)
        self.label.name.setText("refined")
        self.label.go.setText("Make labels")
        self.label.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for widget in (self.head, self.empty, self.list):
            column.addWidget(widget)
        column.addLayout(row)
        column.addWidget(self.lack)
        column.addWidget(self.question)
        column.addWidget(self.label)
        self.show_rows((), None)
        self.show_lack("")

    @property
    def current(self) -> str | None:
        """Key of the chosen box, or None."""
        item = self.list.currentItem()
        return None if item is None else str(item.data(_KEY))

    def show_rows(self, rows: Sequence[BoxRow], chosen: str | None) -> None:
        """Show these boxes; `chosen` is the one in front."""
        with QSignalBlocker(self.list):
            self.list.clear()
            for row in rows:
                item = QListWidgetItem(row.words)
                item.setData(_KEY, row.key)
                item.setToolTip(row.tip)
                self.list.addItem(item)
                if row.key == chosen:
                    self.list.setCurrentItem(item)
        height = self.list.sizeHintForRow(0) if rows else 20
        self.list.setFixedHeight(min(max(len(rows), 1), _MOST) * height + 6)
        self.list.setVisible(bool(rows))
        self.empty.setVisible(not rows)
        self._show_buttons()

    def show_lack(self, text: str) -> None:
        """Say that the chosen box has nothing of the image in front, or nothing."""
        self.lack.setText(text)
        self.lack.setVisible(bool(text))

    def show_label_panel(self, holds: str | None) -> None:
        """Open the panel that makes labels, saying what they will hold, or close it for None."""
        self.label.setVisible(holds is not None)
        if holds is not None:
            self.label.show_for(holds)
            self.label.name.setFocus()

    def _choose(self) -> None:
        self.question.hide()
        self.label.hide()
        self._show_buttons()
        if self.current is not None:
            self.chosen.emit(self.current)

    def _show_buttons(self) -> None:
        for button in (self.use, self.take, self.delete):
            button.setVisible(self.list.count() > 0)
            button.setEnabled(self.current is not None)


def _quiet(text: str, tip: str, parent: QWidget) -> QPushButton:
    button = QPushButton(text, parent)
    button.setToolTip(tip)
    button.setProperty("wsss", "quiet")
    return button
