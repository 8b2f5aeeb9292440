"""The histogram of scores with its two handles: what is background, unsure, and a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QBrush, QColor, QFontMetricsF, QPainter, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

__all__ = ["Histogram"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 10, 10, 22, 32
_GRIP = 5


class Histogram(QWidget):
    """Bars of class scores and one handle (threshold) or two (ignore band) that are dragged on it.

    Emits `moved(low, high)` at every change that a person makes and `released(low, high)` at
    the end of a drag or key press; without a band both are the threshold.

    Keys: left and right by 0.01 (with Shift 0.001, Page keys 0.1), up and down choose the handle.
    """

    moved = Signal(float, float)
    released = Signal(float, float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._counts: NDArray[np.float64] = np.zeros((0, 50))
        self._bars: list[QColor] = []
        self._low = self._high = 0.2
        self._band = False
        self._locked = False
        self._active = 0
        self._dragged: int | None = None
        self._undecided = False
        self._pressed = 0
        self._theme = {
            "text": "#f0f1f2",
            "background": "#262930",
            "foreground": "#414851",
            "highlight": "#6a7380",
        }
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Background threshold")
        self._describe()

    @property
    def low(self) -> float:
        """Scores up to this are background."""
        return self._low

    @property
    def high(self) -> float:
        """Scores above this are a class."""
        return self._high

    @property
    def band(self) -> bool:
        """Whether there are two handles."""
        return self._band

    def set_scores(self, counts: NDArray[Any], colours: Sequence[str]) -> None:
        """Show how many pixels have which score.

        Args:
            counts: [K, bins] pixels whose best class is k, by score in [0, 1].
            colours: `#RRGGBB` of each class.
        """
        self._counts = np.asarray(counts, np.float64)
        self._bars = [QColor(c) for c in colours]
        self.update()

    def set_handles(self, low: float, high: float | None = None, *, band: bool, locked: bool = False) -> None:
        """Place the handles without emitting anything.

        Args:
            low: Threshold, or lower end of the band, in [0, 1].
            high: Upper end of the band.
            band: Two handles instead of one.
            locked: The rule has no threshold to drag.
        """
        self._band, self._locked = band, locked
        self._low = float(low)
        self._high = float(low if high is None or not band else high)
        if not band:
            self._active = 0
        self._describe()
        self.update()

    def set_theme(self, colours: Mapping[str, str]) -> None:
        """Paint with the colours of a napari theme."""
        self._theme = dict(colours)
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(300, 128)

    def minimumSizeHint(self) -> QSize:
        return QSize(200, 120)

    def handle_position(self, which: int) -> QPointF:
        """Return where a handle is grabbed, in widget px: 0 is low, 1 is high."""
        area = self._area()
        return QPointF(self._x(self._high if which else self._low), area.center().y())

    def _area(self) -> QRectF:
        return QRectF(_LEFT, _TOP, self.width() - _LEFT - _RIGHT, self.height() - _TOP - _BOTTOM)

    def _x(self, value: float) -> float:
        area = self._area()
        return float(area.left() + value * area.width())

    def _value(self, x: float) -> float:
        area = self._area()
        # Three digits: finer than a pixel, and the command stays readable.
        return round(float(min(max((x - area.left()) / max(area.width(), 1), 0.0), 1.0)), 3)

    def _set(self, which: int, value: float) -> None:
        value = round(min(max(value, 0.0), 1.0), 3)
        if not self._band:
            low = high = value
        elif which == 0:
            low, high = min(value, self._high), self._high
        else:
            low, high = self._low, max(value, self._low)
        if (low, high) != (self._low, self._high):
            self._low, self._high = low, high
            self._describe()
            self.update()
            self.moved.emit(low, high)

    def _describe(self) -> None:
        if self._band:
            text = f"Unsure from {self._low:.3g} to {self._high:.3g}"
            tip = "Scores between the two handles become unsure (255)."
        else:
            text = f"Threshold {self._low:.3g}"
            tip = "A pixel belongs to its best class when its score lies above the handle."
        if self._locked:
            tip = "This background rule sets its threshold itself; an unsure band can still be dragged."
        self.setAccessibleDescription(text)
        self.setToolTip(f"{text}. {tip} Drag, or use the arrow keys; up and down choose the handle.")

    def mousePressEvent(self, event: Any) -> None:
        if event.button() != Qt.MouseButton.LeftButton or self._locked:
            return
        x = self._pressed = event.pos().x()
        self._dragged, self._undecided = 0, False
        if self._band:
            to_low, to_high = abs(x - self._x(self._low)), abs(x - self._x(self._high))
            self._dragged = int(to_high < to_low or (to_high == to_low and x > self._x(self._high)))
            # Both handles in one place: the direction of the drag tells which was meant.
            self._undecided = self._low == self._high and to_low <= 2 * _GRIP
        self._active = self._dragged
        if not self._undecided:
            self._set(self._dragged, self._value(x))
        self.update()

    def mouseMoveEvent(self, event: Any) -> None:
        x = event.pos().x()
        if self._dragged is None:
            near = min(abs(x - self._x(v)) for v in (self._low, self._high)) <= 2 * _GRIP and not self._locked
            self.setCursor(Qt.CursorShape.SplitHCursor if near else Qt.CursorShape.ArrowCursor)
            return
        value = self._value(x)
        if self._undecided:
            if abs(x - self._pressed) < 3:
                return
            self._dragged = self._active = int(x > self._pressed)
            self._undecided = False
        self._set(self._dragged, value)

    def mouseReleaseEvent(self, event: Any) -> None:
        if self._dragged is not None:
            self._dragged = None
            self.released.emit(self._low, self._high)

    def keyPressEvent(self, event: Any) -> None:
        key = event.key()
        fine = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        steps = {
            Qt.Key.Key_Left: -0.001 if fine else -0.01,
            Qt.Key.Key_Right: 0.001 if fine else 0.01,
            Qt.Key.Key_PageDown: -0.1,
            Qt.Key.Key_PageUp: 0.1,
        }
        if key in (Qt.Key.Key_Up, Qt.Key.Key_Down) and self._band:
            self._active = int(key == Qt.Key.Key_Up)
            self.update()
        elif self._locked:
            super().keyPressEvent(event)
        elif key in steps or key in (Qt.Key.Key_Home, Qt.Key.Key_End):
            at = self._high if self._active else self._low
            ends = {Qt.Key.Key_Home: 0.0, Qt.Key.Key_End: 1.0}
            self._set(self._active, ends[key] if key in ends else at + steps[key])
            self.released.emit(self._low, self._high)
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: Any) -> None:
        super().focusInEvent(event)
        self.update()

    def paintEvent(self, event: Any) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = self._area()
        text = QColor(self._theme["text"])
        painter.fillRect(area, QColor(self._theme["foreground"]))
        self._paint_bars(painter, area)
        self._paint_zones(painter, area)
        self._paint_axis(painter, area, text)
        self._paint_handles(painter, area, text)
        if self.hasFocus():
            painter.setPen(QPen(text, 1, Qt.PenStyle.DotLine))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(area.adjusted(-3, -1, 3, 1))
        painter.end()

    def _paint_bars(self, painter: QPainter, area: QRectF) -> None:
        total = self._counts.sum(0)
        bins = total.size
        if not bins or total.max(initial=0) <= 0:
            return
        # Background pixels outnumber all others; the square root lets both be seen.
        heights = np.sqrt(total / total.max()) * area.height()
        width = area.width() / bins
        painter.setPen(Qt.PenStyle.NoPen)
        for b in np.flatnonzero(total):
            bottom = area.bottom()
            for share, colour in zip(self._counts[:, b] / total[b], self._bars, strict=True):
                part = float(share * heights[b])
                painter.fillRect(QRectF(area.left() + b * width, bottom - part, width, part), colour)
                bottom -= part

    def _paint_zones(self, painter: QPainter, area: QRectF) -> None:
        veil = QColor(self._theme["background"])
        veil.setAlpha(150)
        left = QRectF(area.left(), area.top(), self._x(self._low) - area.left(), area.height())
        painter.fillRect(left, veil)
        if self._band and self._high > self._low:
            between = QRectF(
                self._x(self._low), area.top(), self._x(self._high) - self._x(self._low), area.height()
            )
            painter.fillRect(between, QBrush(QColor(self._theme["text"]), Qt.BrushStyle.BDiagPattern))

    def _paint_axis(self, painter: QPainter, area: QRectF, text: QColor) -> None:
        font = self.font()
        font.setPointSizeF(max(font.pointSizeF() * 0.85, 7.5))
        painter.setFont(font)
        height = QFontMetricsF(font).height()
        painter.setPen(text)
        for tick in (0, 0.2, 0.4, 0.6, 0.8, 1):
            x = self._x(tick)
            painter.drawLine(QPointF(x, area.bottom()), QPointF(x, area.bottom() + 3))
            box = QRectF(min(max(x - 20, 0), self.width() - 40), area.bottom() + 3, 40, height)
            side = Qt.AlignmentFlag.AlignHCenter
            if tick in (0, 1):
                side = Qt.AlignmentFlag.AlignLeft if tick == 0 else Qt.AlignmentFlag.AlignRight
                box = QRectF(x if tick == 0 else x - 40, box.y(), 40, height)
            painter.drawText(box, side, f"{tick:g}")
        label = QRectF(area.left(), area.bottom() + 3 + height - 2, area.width(), height)
        painter.drawText(label, Qt.AlignmentFlag.AlignHCenter, "best class score  (height: √ of pixels)")

    def _paint_handles(self, painter: QPainter, area: QRectF, text: QColor) -> None:
        ends = [(self._low, 0), (self._high, 1)] if self._band else [(self._low, 0)]
        metrics = QFontMetricsF(painter.font())
        boxes = []
        for value, _ in ends:
            words = f"{value:.3g}"
            width = metrics.horizontalAdvance(words) + 10
            x = min(max(self._x(value) - width / 2, 0), self.width() - width)
            boxes.append(QRectF(x, 2, width, metrics.height() + 2))
        if len(boxes) == 2 and boxes[0].right() + 2 > boxes[1].left():
            shift = (boxes[0].right() + 2 - boxes[1].left()) / 2
            boxes[0].translate(-shift, 0)
            boxes[1].translate(shift, 0)
        for (value, which), box in zip(ends, boxes, strict=True):
            active = self.hasFocus() and which == self._active
            pen = QPen(text, 3 if active else 2)
            if self._locked:
                pen.setStyle(Qt.PenStyle.DashLine)
            painter.setPen(pen)
            painter.drawLine(QPointF(self._x(value), box.bottom()), QPointF(self._x(value), area.bottom()))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(text)
            painter.drawRoundedRect(box, 3, 3)
            if not self._locked:
                middle = area.center().y()
                painter.drawRoundedRect(QRectF(self._x(value) - _GRIP, middle - 9, 2 * _GRIP, 18), 3, 3)
            painter.setPen(QColor(self._theme["background"]))
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, f"{value:.3g}")
