"""The label rule as a person sets it: histogram with handles, background, unsure band, small regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import (
    QAbstractButton,
    QButtonGroup,
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from engine.labels import LabelRule
from engine.params import Field
from wsss_napari.fields import WholeEntry
from wsss_napari.histogram import Histogram
from wsss_napari.mask_view import with_background, with_threshold

__all__ = ["RulePanel", "RulePicture"]

_RULES = {
    "constant": (
        "constant",
        "One threshold for all pixels: a pixel is a class where m > t. m is the best class score.",
    ),
    "power": (
        "power",
        "The background scores (1 − m)^a; a pixel is a class where m > (1 − m)^a "
        "(PSA, Ahn and Kwak 2018, with alpha for a). The handle sets a by the point where both meet.",
    ),
    "one_minus_max": (
        "1 − max",
        "The background scores 1 − m; a pixel is a class where m > 1 − m, that is above a half. Nothing to set.",
    ),
}


class RulePicture(QAbstractButton):
    """A small drawing of a background rule: scores from left to right, the background's curve over them."""

    def __init__(self, background: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.background = background
        self.value = {"constant": 0.3, "power": 4.0}.get(background, 1.0)
        name, tip = _RULES[background]
        self.setText(name)
        self.setToolTip(tip)
        self.setAccessibleName(f"Background rule {name}")
        self.setCheckable(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def show_value(self, value: float) -> None:
        """Draw the curve of the value in use."""
        self.value = value
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(90, 52)

    def paintEvent(self, event: Any) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = QColor(self.palette().color(self.foregroundRole()))
        faint = QColor(ink)
        faint.setAlphaF(0.4)
        box = QRectF(self.rect()).adjusted(1.5, 1.5, -1.5, -1.5)
        chosen = self.isChecked()
        painter.setPen(QPen(ink if chosen else faint, 2.0 if chosen else 1.0))
        painter.drawRoundedRect(box, 4, 4)
        if self.hasFocus():
            painter.setPen(QPen(ink, 1, Qt.PenStyle.DotLine))
            painter.drawRoundedRect(box.adjusted(3, 3, -3, -3), 3, 3)
        text = self.fontMetrics().height()
        area = box.adjusted(8, 6, -8, -text - 4)
        painter.setPen(QPen(faint, 1))
        painter.drawLine(area.bottomLeft(), area.topRight())  # the best class score itself
        m = np.linspace(0, 1, 25)
        heights = np.full(m.shape, self.value) if self.background == "constant" else (1 - m) ** self.value
        curve = [
            QPointF(area.left() + a * area.width(), area.bottom() - b * area.height())
            for a, b in zip(m, np.clip(heights, 0, 1), strict=True)
        ]
        painter.setPen(QPen(ink, 2))
        painter.drawPolyline(QPolygonF(curve))
        painter.setPen(ink)
        painter.drawText(
            QRectF(box.left(), box.bottom() - text - 2, box.width(), text),
            Qt.AlignmentFlag.AlignCenter,
            self.text(),
        )


class RulePanel(QWidget):
    """Shows a `LabelRule` and changes it.

    Signals:
        moved: The rule changed, also in the middle of a drag.
        settled: The person let go; what is slow may follow.
    """

    moved = Signal()
    settled = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rule = LabelRule()
        self.histogram = Histogram(self)
        self.histogram.moved.connect(self._drag)
        self.histogram.released.connect(lambda _low, _high: self.settled.emit())
        self.band = QCheckBox("Unsure band", self)
        self.band.setToolTip(
            "Two handles instead of one: scores between them become unsure (255), which training leaves out"
        )
        self.band.toggled.connect(self._toggle_band)
        self.pictures = {name: RulePicture(name, self) for name in _RULES}
        group = QButtonGroup(self)
        row = QHBoxLayout()
        row.setSpacing(6)
        for picture in self.pictures.values():
            group.addButton(picture)
            row.addWidget(picture, 1)
            picture.clicked.connect(lambda _checked=False, name=picture.background: self._choose(name))
        field = Field("min_region", "int", 0, "", low=0, high=10**6, unit="px")
        self.min_region = WholeEntry(field, self)
        tip = "Regions of fewer pixels go to their surroundings; done when you let go of the handle. 0 keeps all."
        self.min_region.setToolTip(tip)
        self.min_region.setMaximumWidth(92)
        self.min_region.edited.connect(self._set_region)
        region = QLabel("Smallest region", self)
        region.setBuddy(self.min_region)
        region.setToolTip(tip)
        self.sentence = QLabel(self)
        self.sentence.setProperty("wsss", "note")
        self.sentence.setWordWrap(True)
        line = QHBoxLayout()
        line.addWidget(self.band)
        line.addStretch(1)
        line.addWidget(region)
        line.addWidget(self.min_region)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addWidget(self.histogram)
        column.addWidget(self.sentence)
        column.addLayout(row)
        column.addLayout(line)
        self._show()

    @property
    def rule(self) -> LabelRule:
        """The rule as it stands."""
        return self._rule

    def set_rule(self, rule: LabelRule) -> None:
        """Show another rule, as undo does; emits `moved`."""
        self._take(rule)

    def show_scores(self, counts: NDArray[Any], colours: Sequence[str]) -> None:
        """Show the histogram of an image, see `Histogram.set_scores`."""
        self.histogram.set_scores(counts, colours)

    def set_theme(self, colours: Mapping[str, str]) -> None:
        """Paint with the colours of a napari theme."""
        self.histogram.set_theme(colours)

    def _take(self, rule: LabelRule) -> None:
        if rule != self._rule:
            self._rule = rule
            self._show()
            self.moved.emit()

    def _drag(self, low: float, high: float) -> None:
        if self._rule.ignore is not None:
            self._take(replace(self._rule, ignore=(low, high)))
        else:
            self._take(with_threshold(self._rule, low))

    def _toggle_band(self, on: bool) -> None:
        if on:
            at = float(self._rule.threshold())
            band = (round(max(at - 0.05, 0.0), 3), round(min(at + 0.1, 1.0), 3))
            self._take(replace(self._rule, ignore=band))
        else:
            self._take(replace(self._rule, ignore=None))
        self.settled.emit()

    def _choose(self, background: str) -> None:
        self._take(with_background(self._rule, background))
        self.settled.emit()

    def _set_region(self) -> None:
        self._take(replace(self._rule, min_region=self.min_region.read() or 0))
        self.settled.emit()

    def _show(self) -> None:
        rule = self._rule
        low, high = (round(float(v), 3) for v in rule.limits())
        self.histogram.set_handles(
            low,
            high,
            band=rule.ignore is not None,
            locked=rule.background == "one_minus_max" and rule.ignore is None,
        )
        with QSignalBlocker(self.band):
            self.band.setChecked(rule.ignore is not None)
        for name, picture in self.pictures.items():
            with QSignalBlocker(picture):
                picture.setChecked(name == rule.background)
        self.pictures[rule.background].show_value(rule.value)
        self.min_region.write(rule.min_region)
        self.sentence.setText(_sentence(rule, low, high))


def _sentence(rule: LabelRule, low: float, high: float) -> str:
    if rule.ignore is not None:
        return f"Background up to {low:g}, unsure up to {high:g}, a class above."
    power = f" (a = {rule.value:g})" if rule.background == "power" else ""
    return f"Background up to {low:g}{power}, a class above."
