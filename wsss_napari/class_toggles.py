"""The classes of the image in front as switches: on, the class has a map and takes part in the mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter
from qtpy.QtWidgets import QAbstractButton, QSizePolicy, QToolButton, QVBoxLayout, QWidget
from superqt import QFlowLayout

from engine.tags import PRESENT, UNKNOWN
from wsss_napari.chips import paint_chip

__all__ = ["ClassToggles", "Switch"]


@dataclass(frozen=True)
class Switch:
    """One class: its 0-based index, name and colour, whether it is on, what its tooltip says."""

    cls: int
    name: str
    colour: str
    on: bool
    tip: str


class _Toggle(QAbstractButton):
    def __init__(self, switch: Switch, parent: QWidget) -> None:
        super().__init__(parent)
        self.switch = switch
        self.setText(switch.name)
        self.setCheckable(True)
        self.setChecked(switch.on)
        self.setToolTip(switch.tip)
        self.setAccessibleName(f"{switch.name} takes part")
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        metrics = self.fontMetrics()
        height = metrics.height() + 8
        return QSize(min(metrics.horizontalAdvance(self.text()) + height + 16, 150), height)

    def paintEvent(self, event: Any) -> None:
        painter = QPainter(self)
        ink = QColor(self.palette().color(self.foregroundRole()))
        state = PRESENT if self.isChecked() else UNKNOWN
        paint_chip(
            painter,
            QRectF(self.rect()),
            self.text(),
            self.switch.colour,
            state,
            ink,
            chosen=self.hasFocus(),
        )


class ClassToggles(QWidget):
    """A flow of switches and, behind them, the way to the classes that have no map yet.

    Signals:
        toggled: (class, on).
        others_asked: Draw the maps of all other classes of this image too.
    """

    toggled = Signal(int, bool)
    others_asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.buttons: dict[int, _Toggle] = {}
        self._shown: tuple[Switch, ...] = ()
        self._flow = QFlowLayout()
        self._flow.setContentsMargins(0, 0, 0, 0)
        self._flow.setHorizontalSpacing(4)
        self._flow.setVerticalSpacing(4)
        self.others = QToolButton(self)
        self.others.setText("Other classes…")
        self.others.setToolTip("Draw the maps of the classes that are not tagged here, for this image alone")
        self.others.setProperty("wsss", "quiet")
        self.others.clicked.connect(self.others_asked)
        self._flow.addWidget(self.others)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._flow)

    def show_classes(self, switches: Sequence[Switch], *, others: bool) -> None:
        """Show these switches; `others` offers to draw more."""
        self.others.setVisible(others)
        if tuple(switches) == self._shown:
            return
        self._shown = tuple(switches)
        while self._flow.count():
            self._flow.takeAt(0)
        for button in self.buttons.values():
            button.hide()
            button.deleteLater()
        self.buttons = {}
        for switch in switches:
            button = _Toggle(switch, self)
            button.toggled.connect(lambda on, cls=switch.cls: self.toggled.emit(cls, on))
            self._flow.addWidget(button)
            button.show()
            self.buttons[switch.cls] = button
        self._flow.addWidget(self.others)
