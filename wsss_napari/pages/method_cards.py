"""Cards of the methods: what each does, what it needs, who published it, and why it can't be used."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import QRectF, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import (
    QButtonGroup,
    QFrame,
    QLabel,
    QPushButton,
    QRadioButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from wsss_napari.pages import PAGES

__all__ = ["MethodCards"]


class _Card(QFrame):
    """A card with an outline, stronger when its method is chosen; all of it can be clicked."""

    def __init__(self, title: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.radio = QRadioButton(title, self)
        font = self.radio.font()
        font.setBold(True)
        self.radio.setFont(font)
        self.radio.toggled.connect(self.update)
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(9, 7, 9, 7)
        self.column.setSpacing(2)
        self.column.addWidget(self.radio)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)

    def mousePressEvent(self, event: Any) -> None:
        self.radio.click()

    def paintEvent(self, event: Any) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = QColor(self.palette().color(self.foregroundRole()))
        ink.setAlphaF(0.7 if self.radio.isChecked() else 0.25)
        painter.setPen(QPen(ink, 1.4 if self.radio.isChecked() else 1.0))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), 5, 5)


class MethodCards(QWidget):
    """One card a method; one of them is chosen.

    Signals:
        picked: (name) another method was chosen.
        retry: The list could not be read and is asked for again.
        elsewhere: (page) the page of a method that is not trained is asked for.
    """

    picked = Signal(str)
    retry = Signal()
    elsewhere = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(6)
        self._group = QButtonGroup(self)
        self._cards: dict[str, QRadioButton] = {}
        self._state = QLabel(self)
        self._state.setWordWrap(True)
        self._state.setProperty("wsss", "note")
        self._again = QPushButton("Try again", self)
        self._again.setToolTip("Start the engine anew and list the methods")
        self._again.clicked.connect(self.retry)
        self._column.addWidget(self._state)
        self._column.addWidget(self._again, 0, Qt.AlignmentFlag.AlignLeft)
        self.show_state("Starting the engine…")

    @property
    def chosen(self) -> str:
        """Name of the chosen method, or an empty string."""
        return next((name for name, radio in self._cards.items() if radio.isChecked()), "")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the methods on show."""
        return tuple(self._cards)

    def card(self, name: str) -> QRadioButton:
        """Return the button of a method."""
        return self._cards[name]

    def show_state(self, text: str, *, failed: bool = False) -> None:
        """Say why there is no list (yet)."""
        self._state.setText(text)
        self._state.setVisible(bool(text))
        self._again.setVisible(failed)

    def show_methods(self, methods: Sequence[Mapping[str, Any]]) -> None:
        """Show these methods; the chosen one stays, at first the first that can be trained."""
        before = self.chosen
        for radio in self._cards.values():
            self._group.removeButton(radio)
            radio.parentWidget().deleteLater()
        self._cards = {}
        # What needs nothing but tags comes first: it can be trained in a new project.
        methods = sorted(methods, key=lambda m: list(m["needs"]) != ["tags"])
        for method in methods:
            self._column.addWidget(self._card(method))
        self.show_state("")
        usable = [m["name"] for m in methods if m["available"] and _trains(m)]
        if usable:
            self._cards[before if before in usable else usable[0]].setChecked(True)

    def _card(self, method: Mapping[str, Any]) -> _Card:
        card = _Card(method["title"], self)
        name = method["name"]
        card.radio.toggled.connect(lambda on, name=name: self.picked.emit(name) if on else None)
        self._group.addButton(card.radio)
        self._cards[name] = card.radio
        if method["available"]:
            lines = [method["sentence"], f"Needs {_list(method['needs'])}; shows {_list(method['shows'])}."]
            card.setToolTip(_tip(method))
        else:
            lines = [f"Not available: {method['why_not']}"]
            card.setToolTip(html.escape(method["why_not"]))
        card.radio.setEnabled(method["available"] and _trains(method))
        if method["available"] and not _trains(method):
            lines.append("Nothing to train: it works on any run that is trained already.")
        for at, line in enumerate(lines):
            label = QLabel(line, card)
            label.setWordWrap(True)
            if at or not method["available"]:
                label.setProperty("wsss", "note")
            card.column.addWidget(label)
        page = next((p for p in PAGES if p.name in method["shows"]), None)
        if page is not None and not _trains(method):
            button = QPushButton(f"Go to the {page.title} page", card)
            button.setProperty("wsss", "quiet")
            button.setToolTip(page.tip)
            button.clicked.connect(lambda _checked=False, name=page.name: self.elsewhere.emit(name))
            card.column.addWidget(button, 0, Qt.AlignmentFlag.AlignLeft)
        return card


def _list(words: Sequence[str]) -> str:
    return ", ".join(_WORDS.get(w, w) for w in words) or "nothing"


_WORDS = {"cams": "a map per class", "climb": "each step of a climb", "run of a classifier": "a trained run"}


def _trains(method: Mapping[str, Any]) -> bool:
    return bool(method.get("trains", True))


def _tip(method: Mapping[str, Any]) -> str:
    """Return the citation, the departures from the paper and what to look at."""
    parts = [f"<p><b>{html.escape(method['title'])}</b></p><p>{html.escape(method['citation'])}</p>"]
    for head, items in (("Departs from the paper", method["departs"]), ("Look at", method["look"])):
        if items:
            listed = "".join(f"<li>{html.escape(item)}</li>" for item in items)
            parts.append(f"<p><b>{head}</b></p><ul>{listed}</ul>")
    return "".join(parts)
