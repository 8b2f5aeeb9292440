"""One entry widget for each kind of parameter: what a person types, as a checked value.

Every entry has a signal `edited`, `read()` that returns the value or raises UserError, and
`write(value)` that shows a value without emitting `edited`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QValidator
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QCompleter,
    QDoubleSpinBox,
    QLineEdit,
    QSpinBox,
    QWidget,
)

from engine.params import Field, convert, text_of
from wsss_napari.path_line import ask_path, beside

__all__ = ["Entry", "Picks", "entry_for"]

Picks: TypeAlias = Callable[[], Sequence[tuple[str, str]]]
"""Returns what a picker offers now: (value, text shown)."""

AUTOMATIC = "automatic"
NONE = "none"
_FAR = 10**9


class CheckEntry(QCheckBox):  # type: ignore[misc]
    """A yes or no."""

    edited = Signal()

    def __init__(self, field: Field, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.write(field.default)
        self.toggled.connect(lambda _on: self.edited.emit())

    def read(self) -> bool:
        return bool(self.isChecked())

    def write(self, value: Any) -> None:
        with QSignalBlocker(self):
            self.setChecked(bool(value))


class WholeEntry(QSpinBox):  # type: ignore[misc]
    """A whole number with its unit; `automatic` stands for None."""

    edited = Signal()

    def __init__(self, field: Field, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._optional = field.optional
        self._low = -_FAR if field.low is None else int(field.low)
        self.setRange(
            self._low - 1 if field.optional else self._low, _FAR if field.high is None else int(field.high)
        )
        if field.optional:
            self.setSpecialValueText(AUTOMATIC)
        if field.unit:
            self.setSuffix(f" {field.unit}")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setKeyboardTracking(False)
        self.write(field.default)
        self.valueChanged.connect(lambda _value: self.edited.emit())

    def read(self) -> int | None:
        if self._optional and self.value() == self.minimum():
            return None
        return int(self.value())

    def write(self, value: Any) -> None:
        with QSignalBlocker(self):
            self.setValue(self.minimum() if value is None else int(value))

    def stepBy(self, steps: int) -> None:
        _step(self, self._low, steps, super().stepBy)

    def wheelEvent(self, event: Any) -> None:
        _wheel(self, event, super().wheelEvent)


class FloatEntry(QDoubleSpinBox):  # type: ignore[misc]
    """A number with its unit, written as short as it can be; `automatic` stands for None."""

    edited = Signal()

    def __init__(self, field: Field, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._optional = field.optional
        self._low = -float(_FAR) if field.low is None else field.low
        self.setDecimals(10)  # rates such as 2e-05 must survive
        self.setRange(
            self._low - 1 if field.optional else self._low, float(_FAR) if field.high is None else field.high
        )
        self.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
        if field.optional:
            self.setSpecialValueText(AUTOMATIC)
        if field.unit:
            self.setSuffix(f" {field.unit}")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setKeyboardTracking(False)
        self.write(field.default)
        self.valueChanged.connect(lambda _value: self.edited.emit())

    def read(self) -> float | None:
        if self._optional and self.value() == self.minimum():
            return None
        return float(self.value())

    def write(self, value: Any) -> None:
        with QSignalBlocker(self):
            self.setValue(self.minimum() if value is None else float(value))

    def textFromValue(self, value: float) -> str:
        return f"{value:.10g}"

    def valueFromText(self, text: str) -> float:
        number = _number(self._bare(text))
        return float(self.value()) if number is None else number

    def validate(self, text: str, position: int) -> tuple[Any, str, int]:
        bare = self._bare(text)
        number = _number(bare)
        special = bool(bare) and bare == self.specialValueText()
        if special or (number is not None and self._low <= number <= self.maximum()):
            state = QValidator.State.Acceptable
        elif all(c in "0123456789.eE+-" for c in bare):
            state = QValidator.State.Intermediate
        else:
            state = QValidator.State.Invalid
        return state, text, position

    def _bare(self, text: str) -> str:
        return text.removesuffix(self.suffix()).strip().replace(",", ".")

    def stepBy(self, steps: int) -> None:
        _step(self, self._low, steps, super().stepBy)

    def wheelEvent(self, event: Any) -> None:
        _wheel(self, event, super().wheelEvent)


class ChoiceEntry(QComboBox):  # type: ignore[misc]
    """One of a few words; a picker fills it anew at each `refill`."""

    edited = Signal()

    def __init__(self, field: Field, picks: Picks | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._field, self._picks = field, picks
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)
        self.refill(field.default)
        self.currentIndexChanged.connect(lambda _index: self.edited.emit())

    def refill(self, value: Any) -> None:
        """Fill the list again and show `value`, which stays offered even when it is gone."""
        offered: list[tuple[Any, str]] = []
        if self._field.optional:
            offered.append((None, NONE))
        if self._picks is not None:
            offered += list(self._picks())
        elif self._field.kind == "bool":
            offered += [(True, "yes"), (False, "no")]
        else:
            offered += [(c, c) for c in self._field.choices]
        values = [v for v, _ in offered]
        if value not in values:
            offered.insert(0, (value, str(value) if value else "none yet"))
        with QSignalBlocker(self):
            self.clear()
            for data, text in offered:
                self.addItem(text, data)
            self.setCurrentIndex([v for v, _ in offered].index(value))

    def read(self) -> Any:
        return self.currentData()

    def write(self, value: Any) -> None:
        self.refill(value)

    def wheelEvent(self, event: Any) -> None:
        _wheel(self, event, super().wheelEvent)


class TextEntry(QLineEdit):  # type: ignore[misc]
    """Text, or numbers with commas between them; checked by the field when read."""

    edited = Signal()

    def __init__(self, field: Field, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._field = field
        if field.kind == "numbers":
            self.setPlaceholderText("numbers, with commas between them")
        elif field.optional:
            self.setPlaceholderText(NONE)
        self.write(field.default)
        self.textEdited.connect(lambda _text: self.edited.emit())

    def read(self) -> Any:
        return convert(self._field, self.text())

    def write(self, value: Any) -> None:
        text = "" if value is None else text_of(value)
        if self.text() != text:
            self.setText(text)
            self.setCursorPosition(0)


class SuggestEntry(QComboBox):  # type: ignore[misc]
    """Text with a list of known words to choose from; others are accepted too."""

    edited = Signal()

    def __init__(self, field: Field, words: Sequence[str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._field = field
        self.setEditable(True)
        self.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.addItems(list(words))
        self.completer().setFilterMode(Qt.MatchFlag.MatchContains)
        self.completer().setCompletionMode(QCompleter.CompletionMode.PopupCompletion)
        self.write(field.default)
        self.currentTextChanged.connect(lambda _text: self.edited.emit())

    def read(self) -> Any:
        return convert(self._field, self.currentText())

    def write(self, value: Any) -> None:
        with QSignalBlocker(self):
            self.setCurrentText("" if value is None else str(value))

    def wheelEvent(self, event: Any) -> None:
        _wheel(self, event, super().wheelEvent)


class PathEntry(QWidget):  # type: ignore[misc]
    """A path, typed or chosen in a dialog."""

    edited = Signal()

    def __init__(self, field: Field, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._line = TextEntry(field, self)
        self._line.edited.connect(self.edited)
        self._folder = field.kind == "folder"
        self._title = "Choose a folder" if self._folder else "Choose a file"
        beside(self, self._line, self._title).clicked.connect(self._browse)

    def read(self) -> Any:
        return self._line.read()

    def write(self, value: Any) -> None:
        self._line.write(value)

    def _browse(self) -> None:
        start = self._line.text() or str(Path.home())
        name = ask_path(self, self._title, start, folder=self._folder)
        if name:
            self._line.write(name)
            self.edited.emit()


Entry: TypeAlias = CheckEntry | WholeEntry | FloatEntry | ChoiceEntry | TextEntry | SuggestEntry | PathEntry


def entry_for(
    field: Field, picks: Picks | None = None, suggest: Sequence[str] = (), parent: QWidget | None = None
) -> Entry:
    """Return the entry widget of a field, showing its default.

    Args:
        field: The row of the field table.
        picks: Fills a picker of runs or labels; without it such a field is plain text.
        suggest: Words offered for a text.
        parent: Qt parent.
    """
    if suggest:
        return SuggestEntry(field, suggest, parent)
    if field.kind == "choice" or (field.kind == "bool" and field.optional) or picks is not None:
        return ChoiceEntry(field, picks, parent)
    match field.kind:
        case "bool":
            return CheckEntry(field, parent)
        case "int":
            return WholeEntry(field, parent)
        case "float":
            return FloatEntry(field, parent)
        case "path" | "folder":
            return PathEntry(field, parent)
        case _:
            return TextEntry(field, parent)


def _wheel(widget: Any, event: Any, default: Callable[[Any], None]) -> None:
    # Scrolling a long form must not change the value that happens to lie under the pointer.
    if widget.hasFocus():
        default(event)
    else:
        event.ignore()


def _step(box: Any, low: float, steps: int, default: Callable[[int], None]) -> None:
    """Step a box; `automatic` sits one step below the lowest number, or below 0 where none is lowest."""
    if box.read() is None:
        if steps > 0:
            box.setValue(max(low, 0) if low == -_FAR else low)
    elif steps < 0 and box.value() <= low:
        box.setValue(box.minimum())
    else:
        default(steps)
        if box.read() is not None and box.value() < low:
            box.setValue(low)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
