"""A number as a slider with its field beside it: the slider for a quick look, the field for the exact value."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QAbstractSpinBox, QHBoxLayout, QSizePolicy, QSlider, QWidget

from engine.params import Field
from wsss_napari.fields import FloatEntry, WholeEntry

__all__ = ["SlideEntry", "slides"]

_STEPS = 200
_WIDTH, _UNIT = 76, 3
# The slider reaches from a tenth of the default to ten times as much; the field takes all that is allowed.
_REACH = 10.0


def slides(field: Field) -> bool:
    """Return whether a slider helps to set this field."""
    return field.kind in ("int", "float") and not field.optional and field.low is not None


class SlideEntry(QWidget):  # type: ignore[misc]
    """An entry as those of `wsss_napari.fields`, for numbers that are felt for rather than known."""

    edited = Signal()

    def __init__(self, field: Field, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        # A long unit would leave no room for the number; the tooltip tells it.
        short = field if len(field.unit) <= _UNIT else replace(field, unit="")
        self.box: Any = (WholeEntry if field.kind == "int" else FloatEntry)(short, self)
        self.box.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)  # the slider steps
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.slider.setMinimumWidth(50)
        self.slider.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._ratio, self._low, self._high = _range(field)
        whole = field.kind == "int"
        self.slider.setRange(0, min(_STEPS, int(self._high - self._low)) if whole else _STEPS)
        self._whole = whole
        self.box.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.box.setFixedWidth(_WIDTH)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        row.addWidget(self.slider, 1)
        row.addWidget(self.box)
        self.setFocusProxy(self.box)
        self._follow()
        self.box.edited.connect(self._typed)
        self.slider.valueChanged.connect(self._slid)

    def setToolTip(self, text: str) -> None:
        """Give both halves the tooltip."""
        super().setToolTip(text)
        for half in (self.slider, self.box):
            half.setToolTip(text)

    def setAccessibleName(self, name: str) -> None:
        """Name both halves."""
        super().setAccessibleName(name)
        self.box.setAccessibleName(name)
        self.slider.setAccessibleName(f"{name}, slider")

    def read(self) -> Any:
        """Return the value."""
        return self.box.read()

    def write(self, value: Any) -> None:
        """Show a value without telling."""
        self.box.write(value)
        self._follow()

    def _typed(self) -> None:
        self._follow()
        self.edited.emit()

    def _slid(self, at: int) -> None:
        self.box.write(self._value(at))
        self.edited.emit()

    def _follow(self) -> None:
        with QSignalBlocker(self.slider):
            self.slider.setValue(self._place(float(self.box.read())))

    def _value(self, at: int) -> float:
        share = at / max(1, self.slider.maximum())
        if self._ratio:
            value = self._low * (self._high / self._low) ** share
        else:
            value = self._low + (self._high - self._low) * share
        return round(value) if self._whole else float(f"{value:.3g}")

    def _place(self, value: float) -> int:
        value = min(max(value, self._low), self._high)
        if self._ratio:
            share = math.log(value / self._low) / math.log(self._high / self._low)
        else:
            share = (value - self._low) / (self._high - self._low)
        return round(share * int(self.slider.maximum()))


def _range(field: Field) -> tuple[bool, float, float]:
    """Return whether the slider multiplies rather than adds, and its two ends."""
    assert field.low is not None
    high = math.inf if field.high is None else float(field.high)
    default = float(field.default)
    if high <= 1 or default <= 0:  # shares, and what begins at nothing
        return False, float(field.low), high if math.isfinite(high) else field.low + 1
    low = max(float(field.low), default / _REACH, 1.0 if field.kind == "int" else 0.0)
    return True, low, max(min(high, default * _REACH), low * 2)
