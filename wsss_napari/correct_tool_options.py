"""The settings of a tool: labelled sliders, choices, switches and buttons, each with its tooltip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QWidget,
)

from engine.params import Field
from wsss_napari.controls import combo
from wsss_napari.slide_entry import SlideEntry

__all__ = ["Options", "chosen", "refill", "value_icon"]


class Options(QWidget):  # type: ignore[misc]
    """Rows of a label and an entry; a tool without settings has none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.grid = QGridLayout(self)
        self.grid.setContentsMargins(0, 0, 0, 0)
        self.grid.setHorizontalSpacing(8)
        self.grid.setVerticalSpacing(6)
        self.grid.setColumnStretch(1, 1)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to set."""
        return int(self.grid.count()) == 0

    def number(self, label: str, field: Field, tip: str) -> SlideEntry:
        """Add a number with its slider."""
        entry = SlideEntry(field, self)
        self.row(label, entry, tip)
        return entry

    def choice(self, label: str, items: Sequence[tuple[Any, str]], tip: str) -> QComboBox:
        """Add a choice of (value, words)."""
        # With the focus of a click it would take the letters that are keys of the page.
        box = combo(tip, self, least=5, focus=Qt.FocusPolicy.TabFocus)
        for value, words in items:
            box.addItem(words, value)
        self.row(label, box, tip)
        return box

    def check(self, text: str, tip: str, on: bool = False) -> QCheckBox:
        """Add a switch."""
        box = QCheckBox(text, self)
        box.setToolTip(tip)
        box.setChecked(on)
        self.grid.addWidget(box, self.grid.rowCount(), 0, 1, 2)
        return box

    def buttons(self, *made: tuple[str, str, Callable[[], None]]) -> list[QPushButton]:
        """Add a row of buttons, each (words, tip, what it does)."""
        row = QHBoxLayout()
        row.setSpacing(6)
        buttons = []
        for words, tip, action in made:
            button = self.button(words, tip, action)
            row.addWidget(button, 1)
            buttons.append(button)
        self.grid.addLayout(row, self.grid.rowCount(), 0, 1, 2)
        return buttons

    def button(self, words: str, tip: str, action: Callable[[], None]) -> QPushButton:
        """Return a button that a tool places itself."""
        button = QPushButton(words, self)
        button.setToolTip(tip)
        # What it says changes with the class; that must not make the dock wider.
        button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        button.clicked.connect(lambda _checked=False: action())
        return button

    def row(self, label: str, entry: QWidget, tip: str) -> None:
        """Add an entry behind its label."""
        words = QLabel(label, self)
        words.setBuddy(entry)
        words.setToolTip(tip)
        entry.setToolTip(tip)
        entry.setAccessibleName(label)
        at = self.grid.rowCount()
        self.grid.addWidget(words, at, 0)
        self.grid.addWidget(entry, at, 1)

    def show_row(self, entry: QWidget, shown: bool) -> None:
        """Show or hide an entry with its label."""
        entry.setVisible(shown)
        for label in self.findChildren(QLabel):
            if label.buddy() is entry:
                label.setVisible(shown)


def refill(box: QComboBox, items: Sequence[tuple[Any, str, str]], value: Any) -> None:
    """Fill a choice anew with (value, words, `#RRGGBB` or "") and show `value`, or the first one; nothing is told."""
    with QSignalBlocker(box):
        box.clear()
        for data, words, colour in items:
            box.addItem(words, data)
            if colour:
                box.setItemIcon(box.count() - 1, value_icon(colour))
        values = [data for data, _, _ in items]
        if values:
            box.setCurrentIndex(values.index(value) if value in values else 0)


def chosen(box: QComboBox) -> Any:
    """Return the value of a choice, or None when it is empty."""
    return box.currentData()


def value_icon(colour: str) -> QIcon:
    """Return a dot in a class's colour."""
    picture = QPixmap(12, 12)
    picture.fill(QColor(0, 0, 0, 0))
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(colour))
    painter.drawEllipse(1, 1, 10, 10)
    painter.end()
    return QIcon(picture)
