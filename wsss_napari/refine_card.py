"""One card of the chain on the Refine page: what it does, its settings, the network it walks with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from qtpy.QtCore import QPoint, Qt, Signal
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import (
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from engine.errors import UserError
from engine.params import Field
from wsss_napari.controls import note
from wsss_napari.forms import Form, field_of
from wsss_napari.refine_chain import NETWORK_FIELD, Link
from wsss_napari.slide_entry import slides

__all__ = ["RefineCard"]

# What a person turns first; the rest is folded.
_SHOWN = 2


class _Handle(QLabel):
    """Three lines by which a card is dragged."""

    dragged = Signal(QPoint)

    def __init__(self, parent: QWidget) -> None:
        super().__init__("≡", parent)
        self.setCursor(Qt.CursorShape.OpenHandCursor)
        self.setToolTip("Drag this card up or down in the chain")
        self.setAccessibleName("Drag the card")
        self.setFixedWidth(16)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Take hold; the moves that follow come here wherever the pointer goes."""
        if event is not None:
            self.setCursor(Qt.CursorShape.ClosedHandCursor)
            event.accept()

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Tell where the pointer is."""
        if event is not None and event.buttons() & Qt.MouseButton.LeftButton:
            self.dragged.emit(self.mapToGlobal(event.pos()))

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:
        """Let go."""
        if event is not None:
            self.setCursor(Qt.CursorShape.OpenHandCursor)
            event.accept()


class RefineCard(QFrame):
    """A refiner with its settings.

    Args:
        refiner: Its name.
        parent: Qt parent.

    Signals:
        changed: A setting or the network changed.
        moved: (by) one place up (-1) or down (1).
        dragged: (global position) the handle is being dragged.
        removed: Take it out of the chain.
        train_asked: There is no network; the person wants to train one.
    """

    changed = Signal()
    moved = Signal(int)
    dragged = Signal(QPoint)
    removed = Signal()
    train_asked = Signal()

    def __init__(self, refiner: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.refiner = refiner
        self.form: Form | None = None
        self.needs_network = False
        self._kept: dict[str, Any] = {}
        self._row: dict[str, Any] = {}
        self._at = 0
        self.setProperty("wsss", "card")
        self.handle = _Handle(self)
        self.handle.dragged.connect(self.dragged)
        self.title = QLabel(self)
        self.title.setProperty("wsss", "title")
        self.title.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.up = _tool("▲", "", self)
        self.down = _tool("▼", "", self)
        self.remove = _tool("✕", "", self)
        self.up.clicked.connect(lambda: self.moved.emit(-1))
        self.down.clicked.connect(lambda: self.moved.emit(1))
        self.remove.clicked.connect(self.removed)
        self.sentence = note(self)
        self.network = QComboBox(self)
        self.network.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.network.setMinimumContentsLength(8)
        self.network.setToolTip("The trained affinity network whose affinities the walk follows")
        self.network.setAccessibleName("Network")
        self.network.activated.connect(lambda _index: self.changed.emit())
        self._network_label = QLabel("Network", self)
        self._network_label.setBuddy(self.network)
        self._network_label.setMinimumWidth(104)
        self.lacks = note(self)
        self.train = QPushButton("Go to Train", self)
        self.train.setToolTip(f"Train {refiner.upper()} on the Train page; it learns from these maps")
        self.train.clicked.connect(self.train_asked)
        head = QHBoxLayout()
        head.setSpacing(2)
        for widget, stretch in (
            (self.handle, 0),
            (self.title, 1),
            (self.up, 0),
            (self.down, 0),
            (self.remove, 0),
        ):
            head.addWidget(widget, stretch)
        line = QHBoxLayout()
        line.addWidget(self._network_label)
        line.addWidget(self.network, 1)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(8, 5, 8, 7)
        self._column.setSpacing(5)
        self._column.addLayout(head)
        self._column.addWidget(self.sentence)
        self._column.addLayout(line)
        self._column.addWidget(self.lacks)
        self._column.addWidget(self.train, 0, Qt.AlignmentFlag.AlignLeft)
        self._form_at = self._column.count()
        self.offer_networks(())
        self.set_table(None)

    def set_place(self, at: int, count: int) -> None:
        """Say which card of how many it is."""
        self._at = at
        name = self.refiner.upper()
        self.up.setEnabled(at > 0)
        self.down.setEnabled(at + 1 < count)
        for button, words in (
            (self.up, f"Move {name} one place up"),
            (self.down, f"Move {name} one place down"),
            (self.remove, f"Take {name} out of the chain"),
        ):
            button.setToolTip(words)
            button.setAccessibleName(words)
        self._show_title()

    def set_table(self, row: Mapping[str, Any] | None) -> None:
        """Build the form of a refiner's field table, keeping what was set; None where it is not known yet."""
        if self.form is not None and row is not None and _plain(row) == _plain(self._row):
            return  # the same from the engine: a form that is being used stays
        self._row = dict(row or {})
        self.needs_network = self._row.get("needs") == "network"
        self.sentence.setText(str(self._row.get("sentence", "Asking the engine for the settings…")))
        self._show_title()
        if self.form is not None:
            self._kept = self.settings() or self._kept
            self._column.removeWidget(self.form)
            self.form.deleteLater()
            self.form = None
        if row is not None:
            fields = _with_few_main(row["fields"])
            slide = [f.name for f in fields if f.main and slides(f)]
            self.form = Form(fields, row["presets"], slide=slide, parent=self)
            if self._kept:
                self.form.set_values(self._kept)
            self.form.changed.connect(self.changed)
            self._column.insertWidget(self._form_at, self.form)
        self._show_network()

    def offer_networks(self, runs: Sequence[tuple[str, str]]) -> None:
        """Offer trained networks, (id, words) each, newest first; the one that was chosen stays so."""
        chosen = self.network.currentData()
        self.network.clear()
        for run, words in runs:
            self.network.addItem(words, run)
        self.network.setCurrentIndex(max(self.network.findData(chosen), 0) if runs else -1)
        self._show_network()

    def set_link(self, link: Link) -> None:
        """Show these settings."""
        self._kept = dict(link.settings)
        if self.form is not None:
            self.form.set_values(self._kept)
        at = self.network.findData(link.network)
        if at >= 0:
            self.network.setCurrentIndex(at)

    def settings(self) -> dict[str, Any] | None:
        """Return what differs from the defaults; None while a field holds what it cannot take."""
        if self.form is None:
            return dict(self._kept)
        try:
            return self.form.values()
        except UserError:
            return None

    def link(self) -> Link | None:
        """Return the card as data, or None while something is missing or wrong."""
        settings, network = self.settings(), self.network.currentData() or ""
        if settings is None or (self.needs_network and not network):
            return None
        return Link(self.refiner, settings, network if self.needs_network else "")

    def problem(self) -> str:
        """Return what keeps the card from being used, or an empty string."""
        name = self.refiner.upper()
        if not self._row:
            return f"The settings of {name} are not known yet."
        if self.needs_network and not self.network.count():
            return f"{name} needs a trained network."
        wrong = self.form.problem() if self.form is not None else ""
        return f"{name}: {wrong}" if wrong else ""

    def _show_title(self) -> None:
        title = str(self._row.get("title", self.refiner.upper()))
        self.title.setText(f"{self._at + 1} · {title}")
        self.title.setToolTip(title)

    def _show_network(self) -> None:
        name, there = self.refiner.upper(), self.network.count() > 0
        self._network_label.setVisible(self.needs_network and there)
        self.network.setVisible(self.needs_network and there)
        for widget in (self.lacks, self.train):
            widget.setVisible(self.needs_network and not there)
        self.lacks.setText(f"{name} needs a trained affinity network, and this project has none yet.")


def _plain(row: Mapping[str, Any]) -> str:
    # What came through a pipe has lists for tuples.
    return json.dumps([row["fields"], row["presets"]])


def _with_few_main(rows: Sequence[Mapping[str, Any]]) -> list[Field]:
    """Return the fields without the network's, all but the first main ones folded."""
    fields = [field_of(row) for row in rows]
    fields = [f for f in fields if f.name != NETWORK_FIELD]
    main = [f.name for f in fields if f.main][:_SHOWN]
    return [replace(f, main=f.name in main) for f in fields]


def _tool(text: str, tip: str, parent: QWidget) -> QToolButton:
    button = QToolButton(parent)
    button.setText(text)
    button.setProperty("wsss", "quiet")
    button.setToolTip(tip)
    return button
