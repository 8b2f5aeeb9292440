"""One slider over the steps of a climb, with buttons that play them."""

from __future__ import annotations

import time
from typing import Any

from qtpy.QtCore import QPointF, QRectF, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPolygonF
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QSlider,
    QStyle,
    QStyleOptionSlider,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

__all__ = ["SPEEDS", "StepPlayer"]

# Steps a second; at 16 a climb of 30 steps passes in two seconds.
SPEEDS = (1, 2, 4, 8, 16)
_SPEED = 4
_PAD = 4


class StepPlayer(QWidget):
    """Chooses a step from 0 to the last one by hand or by playing.

    Keys on the slider: left and right, Page keys by a tenth, Home and End.

    Attributes:
        follow: Whether who stands at the last step goes along when there are more; for climbs that
            go on. Off, a climb that is opened is shown from the step where one stands.

    Signals:
        moved: (step) it changed, by whatever means.
    """

    moved = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.follow = False
        self._last = 0
        self._step = 0
        self._playing = False
        self.slider = _Track(self)
        self.text = QLabel(self)
        self.first_button = _Button("first", "Go to step 0, the photograph")
        self.back_button = _Button("back", "One step back")
        self.play_button = _Button("play", "Play the steps")
        self.forward_button = _Button("forward", "One step forward")
        self.last_button = _Button("last", "Go to the last step")
        self.loop_button = _Button("loop", "Play round and round")
        self.loop_button.setCheckable(True)
        self.speed = QComboBox()
        for speed in SPEEDS:
            self.speed.addItem(f"{speed} / s", speed)
        self.speed.setCurrentIndex(SPEEDS.index(_SPEED))
        self.speed.setToolTip("Steps a second while it plays")
        self.speed.setAccessibleName("Steps a second")
        self._timer = QTimer(self)
        # Not repeating: the next step is asked for when the last one is shown, so none pile up.
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._tick)
        self._lay_out()
        self.slider.valueChanged.connect(self.set_step)
        self.slider.sliderPressed.connect(self.stop)
        self.first_button.clicked.connect(lambda: self._go(0))
        self.back_button.clicked.connect(self.back)
        self.play_button.clicked.connect(self.toggle)
        self.forward_button.clicked.connect(self.forward)
        self.last_button.clicked.connect(lambda: self._go(self._last))
        self._show()

    def _lay_out(self) -> None:
        self.text.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        top = QHBoxLayout()
        top.setSpacing(8)
        top.addWidget(self.slider, 1)
        top.addWidget(self.text)
        bottom = QHBoxLayout()
        bottom.setSpacing(2)
        for button in (
            self.first_button,
            self.back_button,
            self.play_button,
            self.forward_button,
            self.last_button,
        ):
            bottom.addWidget(button)
        bottom.addStretch(1)
        bottom.addWidget(self.loop_button)
        bottom.addSpacing(4)
        bottom.addWidget(self.speed)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(top)
        column.addLayout(bottom)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    @property
    def step(self) -> int:
        """The step that is shown."""
        return self._step

    @property
    def last(self) -> int:
        """The last step that there is."""
        return self._last

    @property
    def playing(self) -> bool:
        """Whether the steps are being played."""
        return self._playing

    @property
    def loop(self) -> bool:
        """Whether playing begins anew at the end."""
        return self.loop_button.isChecked()

    @loop.setter
    def loop(self, on: bool) -> None:
        self.loop_button.setChecked(on)

    def set_last(self, n: int) -> None:
        """Say which step is the last; who stands at the end goes with it while `follow` is on."""
        along = self.follow and self._step == self._last and not self._playing
        self._last = max(0, n)
        self.set_step(self._last if along else self._step)

    def set_step(self, t: int) -> None:
        """Go to a step; one that is out of reach is moved to the nearest end."""
        t = min(max(int(t), 0), self._last)
        changed, self._step = t != self._step, t
        self._show()
        if changed:
            self.moved.emit(t)

    def play(self) -> None:
        """Play from here, or from the beginning at the end."""
        if self._last == 0 or self._playing:
            return
        self._playing = True
        self._timer.start(0 if self._step == self._last else self._interval())
        self._show()

    def stop(self) -> None:
        """Stop playing."""
        self._playing = False
        self._timer.stop()
        self._show()

    def toggle(self) -> None:
        """Play, or stop playing."""
        if self._playing:
            self.stop()
        else:
            self.play()

    def forward(self) -> None:
        """Go one step on."""
        self._go(self._step + 1)

    def back(self) -> None:
        """Go one step back."""
        self._go(self._step - 1)

    def mark(self, t: int | None, text: str = "") -> None:
        """Draw a small mark under a step, without going there; None takes it away."""
        self.slider.marked = t
        self.slider.why = text
        self.slider.update()
        self._show()

    def _go(self, t: int) -> None:
        self.stop()
        self.set_step(t)

    def _interval(self) -> int:
        return round(1000 / int(self.speed.currentData()))

    def _tick(self) -> None:
        began = time.monotonic()
        self.set_step(0 if self._step >= self._last else self._step + 1)
        if not self._playing:  # whoever was told of the step may have stopped it
            return
        if self._step >= self._last and not self.loop:
            self.stop()
            return
        spent = round(1000 * (time.monotonic() - began))
        self._timer.start(max(1, self._interval() - spent))

    def hideEvent(self, event: Any) -> None:
        """Stop playing what nobody sees."""
        self.stop()
        super().hideEvent(event)

    def _show(self) -> None:
        slider, step, last = self.slider, self._step, self._last
        slider.blockSignals(True)
        slider.setRange(0, last)
        slider.setPageStep(max(1, last // 10))
        slider.setValue(step)
        slider.blockSignals(False)
        slider.setEnabled(last > 0)
        self.text.setText(f"step {step} of {last}")
        # The widest text that there can be: the slider does not twitch while the digits change.
        self.text.setMinimumWidth(self.text.fontMetrics().horizontalAdvance(f"step {last} of {last} "))
        playing = self._playing
        self.play_button.show_as(
            "pause" if playing else "play", "Stop playing" if playing else "Play the steps"
        )
        for button in (self.first_button, self.back_button):
            button.setEnabled(step > 0)
        for button in (self.forward_button, self.last_button):
            button.setEnabled(step < last)
        self.play_button.setEnabled(last > 0)
        marked = slider.marked
        best = f"\nThe mark: {slider.why or f'step {marked}'}" if marked is not None else ""
        slider.setToolTip(f"Step {step} of {last}. Drag, click, or use the arrow keys.{best}")
        slider.setAccessibleDescription(f"Step {step} of {last}")


class _Track(QSlider):
    """A slider that goes where it is clicked, with a mark under one step."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.marked: int | None = None
        self.why = ""
        self.setAccessibleName("Step of the climb")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumHeight(26)
        self.setMinimumWidth(80)

    def x_of(self, step: int) -> float:
        """Return where the middle of the handle is at a step, in px."""
        left, span = self._travel()
        return float(left + span * step / max(1, self.maximum()))

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Go to the step that was clicked; the handle is then under the pointer and is dragged on."""
        if event is not None and event.button() == Qt.MouseButton.LeftButton:
            left, span = self._travel()
            at = round((event.pos().x() - left) / max(1.0, span) * self.maximum())
            self.setValue(at)
        super().mousePressEvent(event)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint the slider and the mark."""
        super().paintEvent(event)
        if self.marked is None or not 0 <= self.marked <= self.maximum():
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        x, bottom = self.x_of(self.marked), self.height() - 1.0
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(_ink(self))
        painter.drawPolygon(
            QPolygonF([QPointF(x, bottom - 5), QPointF(x + 4, bottom), QPointF(x - 4, bottom)])
        )
        painter.end()

    def _travel(self) -> tuple[float, float]:
        """Return the leftmost middle of the handle and how far it goes, in px."""
        option = QStyleOptionSlider()
        self.initStyleOption(option)
        style, control = self.style(), QStyle.ComplexControl.CC_Slider
        groove = style.subControlRect(control, option, QStyle.SubControl.SC_SliderGroove, self)
        handle = style.subControlRect(control, option, QStyle.SubControl.SC_SliderHandle, self)
        wide = handle.width()
        return groove.left() + wide / 2, float(groove.width() - wide)


class _Button(QToolButton):
    """A borderless button that draws its own sign, so that no font or icon theme is needed."""

    def __init__(self, sign: str, tip: str) -> None:
        super().__init__()
        self._sign = ""
        self.setProperty("wsss", "quiet")
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.show_as(sign, tip)

    @property
    def sign(self) -> str:
        """What is drawn."""
        return self._sign

    def show_as(self, sign: str, tip: str) -> None:
        """Draw another sign."""
        if sign != self._sign:
            self._sign = sign
            self.setToolTip(tip)
            self.setAccessibleName(tip)
            self.update()

    def sizeHint(self) -> QSize:
        return QSize(28, 26)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint the button, then its sign."""
        super().paintEvent(event)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = _ink(self)
        # Quiet until it matters: what can't be pressed fades, and so does a loop that is off.
        ink.setAlphaF(
            0.35 if not self.isEnabled() else 0.6 if self.isCheckable() and not self.isChecked() else 1
        )
        side = min(self.width(), self.height()) / 2 - _PAD - 3
        painter.translate(self.width() / 2, self.height() / 2)
        painter.scale(side, side)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(ink)
        _draw(painter, self._sign, ink)
        painter.end()


def _draw(painter: QPainter, sign: str, ink: QColor) -> None:
    """Draw a sign into the square from -1 to 1."""
    if sign in ("back", "first"):
        painter.scale(-1, 1)
        _draw(painter, "forward" if sign == "back" else "last", ink)
    elif sign == "play":
        painter.drawPolygon(QPolygonF([QPointF(-0.75, -1), QPointF(1, 0), QPointF(-0.75, 1)]))
    elif sign == "pause":
        painter.drawRect(QRectF(-0.8, -1, 0.55, 2))
        painter.drawRect(QRectF(0.25, -1, 0.55, 2))
    elif sign == "forward":
        painter.drawRect(QRectF(-0.9, -0.8, 0.32, 1.6))
        painter.drawPolygon(QPolygonF([QPointF(-0.35, -0.8), QPointF(0.85, 0), QPointF(-0.35, 0.8)]))
    elif sign == "last":
        painter.drawPolygon(QPolygonF([QPointF(-0.85, -0.8), QPointF(0.35, 0), QPointF(-0.85, 0.8)]))
        painter.drawRect(QRectF(0.5, -0.8, 0.32, 1.6))
    elif sign == "loop":
        pen = painter.pen()
        pen.setStyle(Qt.PenStyle.SolidLine)
        pen.setColor(ink)
        pen.setWidthF(0.28)
        painter.setPen(pen)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawArc(QRectF(-0.85, -0.85, 1.7, 1.7), 60 * 16, 300 * 16)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(ink)
        painter.drawPolygon(QPolygonF([QPointF(0.05, -0.9), QPointF(0.95, -1.1), QPointF(0.8, -0.2)]))


def _ink(widget: Any) -> QColor:
    """Return the text colour that the style sheet gives the widget."""
    return QColor(widget.palette().color(widget.foregroundRole()))
