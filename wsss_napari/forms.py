"""A form from a field table: a few main parameters, the rest folded, changes marked.

form = Form(describe(Params), presets(Params))
form.changed.connect(lambda: print(form.values()))   # only what differs from the defaults
"""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from engine.errors import UserError
from engine.params import Field, text_of
from wsss_napari.fields import ChoiceEntry, Entry, Picks, entry_for
from wsss_napari.slide_entry import SlideEntry

__all__ = ["Fold", "Form", "field_of"]

DEFAULTS = "defaults"
YOUR_OWN = "your own"
_LABEL, _RESET = 104, 22


def field_of(data: Mapping[str, Any]) -> Field:
    """Return the field of its JSON form, as the Methods job sends it."""
    values = dict(data)
    values["choices"] = tuple(values.get("choices", ()))
    if isinstance(values["default"], list):
        values["default"] = tuple(values["default"])
    return Field(**values)


@dataclass
class _Row:
    """The widgets of one parameter."""

    field: Field
    label: QLabel
    entry: Entry | SlideEntry
    reset: QToolButton
    sentence: QLabel


class Fold(QWidget):  # type: ignore[misc]
    """A headline that opens and closes what lies under it."""

    def __init__(self, title: str, content: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.content = content
        self.head = QToolButton(self)
        self.head.setCheckable(True)
        self.head.setAutoRaise(True)
        self.head.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.head.setArrowType(Qt.ArrowType.RightArrow)
        self.head.toggled.connect(self._fold)
        self.set_title(title)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.head)
        column.addWidget(content)
        content.setVisible(False)

    def set_title(self, title: str) -> None:
        self.head.setText(title)

    def open(self, on: bool = True) -> None:
        """Open or close it."""
        self.head.setChecked(on)

    def _fold(self, on: bool) -> None:
        self.head.setArrowType(Qt.ArrowType.DownArrow if on else Qt.ArrowType.RightArrow)
        self.content.setVisible(on)


class Form(QWidget):  # type: ignore[misc]
    """Parameters to be looked at and changed.

    Args:
        fields: Rows of a field table, or their JSON forms.
        presets: Preset name -> settings that differ from the defaults.
        picks: Field kind ("run", "labels") or field name -> what its picker offers.
        suggest: Field name -> words that its text field offers.
        slide: Names of numbers that get a slider beside their field.
        parent: Qt parent.
    """

    changed = Signal()

    def __init__(
        self,
        fields: Sequence[Field | Mapping[str, Any]],
        presets: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        picks: Mapping[str, Picks] | None = None,
        suggest: Mapping[str, Sequence[str]] | None = None,
        slide: Collection[str] = (),
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._slide = frozenset(slide)
        self._picks = dict(picks or {})
        self._suggest = dict(suggest or {})
        table = [f if isinstance(f, Field) else field_of(f) for f in fields]
        main = [f for f in table if f.main] or table[:4]
        rest = [f for f in table if f not in main]
        self._folded = {f.name for f in rest}
        self._count = len(table)
        self._rows: dict[str, _Row] = {}
        self._presets = {name: dict(settings) for name, settings in (presets or {}).items()}
        if self._presets and all(self._presets.values()):
            self._presets = {DEFAULTS: {}, **self._presets}

        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        self.preset = QComboBox(self)
        self._build_presets(column)
        column.addWidget(self._grid(main))
        self._fold = Fold("", self._grid(rest), self)
        self._fold.setVisible(bool(rest))
        column.addWidget(self._fold)
        self._mark()

    @property
    def fields(self) -> tuple[Field, ...]:
        """The rows of the form."""
        return tuple(row.field for row in self._rows.values())

    def values(self) -> dict[str, Any]:
        """Return the settings that differ from the defaults, JSON-ready.

        Raises:
            UserError: A field holds what it cannot take.
        """
        found = {}
        for name, row in self._rows.items():
            value = row.entry.read()
            if value != row.field.default:
                found[name] = list(value) if isinstance(value, tuple) else value
        return found

    def value(self, name: str) -> Any:
        """Return the value of one field, changed or not.

        Raises:
            UserError: The field holds what it cannot take.
        """
        return self._rows[name].entry.read()

    def set_values(self, settings: Mapping[str, Any]) -> None:
        """Show these settings, and the defaults of all other fields."""
        for name, row in self._rows.items():
            value = settings.get(name, row.field.default)
            row.entry.write(tuple(value) if isinstance(value, list) else value)
        self._edited()

    def reset(self, name: str) -> None:
        """Give one field its default again."""
        row = self._rows[name]
        row.entry.write(row.field.default)
        self._edited()

    def entry(self, name: str) -> Entry | SlideEntry:
        """Return the entry widget of a field."""
        return self._rows[name].entry

    def problem(self) -> str:
        """Return the first field's sentence about what it cannot take, or an empty string."""
        return next((row.sentence.text() for row in self._rows.values() if row.sentence.text()), "")

    def show_problem(self, name: str, sentence: str) -> None:
        """Show a sentence under a field, such as a cross-field check of the engine; edits clear it."""
        row = self._rows[name]
        row.sentence.setText(sentence)
        row.sentence.setVisible(bool(sentence))
        if sentence and name in self._folded:
            self._fold.open()

    def refill(self) -> None:
        """Fill the pickers of runs and labels anew, keeping what is chosen."""
        for row in self._rows.values():
            if isinstance(row.entry, ChoiceEntry):
                row.entry.refill(row.entry.read())

    def open_all(self, on: bool = True) -> None:
        """Open or close the folded part."""
        self._fold.open(on)

    def _build_presets(self, column: QVBoxLayout) -> None:
        box = QWidget(self)
        line = QHBoxLayout(box)
        line.setContentsMargins(0, 0, 0, 0)
        label = QLabel("Preset", box)
        label.setBuddy(self.preset)
        label.setMinimumWidth(_LABEL)
        line.addWidget(label)
        line.addWidget(self.preset, 1)
        line.addSpacing(_RESET + 6)
        self.preset.setToolTip(
            "Settings that belong together, such as those printed in the paper or those of the authors' code"
        )
        self.preset.addItems([*self._presets, YOUR_OWN])
        self.preset.activated.connect(self._use_preset)
        box.setVisible(bool(self._presets))
        column.addWidget(box)

    def _grid(self, fields: Sequence[Field]) -> QWidget:
        box = QWidget(self)
        grid = QGridLayout(box)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(6)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        for at, field in enumerate(fields):
            row = self._rows[field.name] = self._row(field, box)
            grid.addWidget(row.label, 2 * at, 0)
            grid.addWidget(row.entry, 2 * at, 1)
            grid.addWidget(row.reset, 2 * at, 2)
            grid.addWidget(row.sentence, 2 * at + 1, 0, 1, 3)
        return box

    def _row(self, field: Field, parent: QWidget) -> _Row:
        tip = _tip(field)
        picks = self._picks.get(field.name) or self._picks.get(field.kind)
        entry: Entry | SlideEntry
        if field.name in self._slide:
            entry = SlideEntry(field, parent)
        else:
            entry = entry_for(field, picks, self._suggest.get(field.name, ()), parent)
        entry.setToolTip(tip)
        entry.setAccessibleName(_title(field.name))
        entry.setAccessibleDescription(field.doc)
        entry.edited.connect(self._edited)
        label = QLabel(_title(field.name), parent)
        label.setToolTip(tip)
        label.setBuddy(entry)
        label.setWordWrap(True)
        label.setMinimumWidth(_LABEL)
        reset = QToolButton(parent)
        reset.setText("↺")
        reset.setProperty("wsss", "quiet")
        reset.setFixedWidth(_RESET)
        reset.setToolTip(f"Back to {text_of(field.default)}")
        reset.setAccessibleName(f"Reset {_title(field.name)}")
        reset.clicked.connect(lambda _checked=False, name=field.name: self.reset(name))
        policy = reset.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        reset.setSizePolicy(policy)
        sentence = QLabel("", parent)
        sentence.setWordWrap(True)
        sentence.setProperty("wsss", "warning")
        sentence.setVisible(False)
        return _Row(field, label, entry, reset, sentence)

    def _use_preset(self, index: int) -> None:
        name = self.preset.itemText(index)
        if name in self._presets:
            self.set_values(self._presets[name])
        else:
            self._mark()

    def _edited(self) -> None:
        for name, row in self._rows.items():
            try:
                row.entry.read()
            except UserError as error:
                self.show_problem(name, f"{error.found} {error.accepted}".strip())
            else:
                self.show_problem(name, "")
        self._mark()
        self.changed.emit()

    def _mark(self) -> None:
        """Mark changed fields, count those that are folded away, and name the preset."""
        changed: dict[str, Any] = {}
        wrong = set()
        for name, row in self._rows.items():
            try:
                value = row.entry.read()
            except UserError:
                wrong.add(name)
            else:
                if value != row.field.default:
                    changed[name] = value
            differs = name in changed or name in wrong
            row.reset.setVisible(differs)
            font = row.label.font()
            font.setBold(differs)
            row.label.setFont(font)
        hidden = len(self._folded & (changed.keys() | wrong))
        self._fold.set_title(f"All parameters ({self._count})" + (f" · {hidden} changed" if hidden else ""))
        named = "" if wrong else next((n for n, s in self._presets.items() if _same(s, changed)), "")
        with QSignalBlocker(self.preset):
            self.preset.setCurrentText(named or YOUR_OWN)


def _same(preset: Mapping[str, Any], changed: Mapping[str, Any]) -> bool:
    plain = {k: tuple(v) if isinstance(v, list) else v for k, v in preset.items()}
    return plain == dict(changed)


def _title(name: str) -> str:
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def _tip(field: Field) -> str:
    """Return the tooltip: what it does, its limits, its default, and its flag."""
    parts = [html.escape(field.doc)]
    if field.low is not None or field.high is not None:
        low = "any" if field.low is None else f"{field.low:g}"
        high = "any" if field.high is None else f"{field.high:g}"
        parts.append(f"From {low} to {high}{f' {html.escape(field.unit)}' if field.unit else ''}.")
    default = text_of(field.default) if field.default != "" else "empty"
    parts.append(f"Default: {html.escape(default)}. <code>--set {html.escape(field.name)}=…</code>")
    return "".join(f"<p>{part}</p>" for part in parts)
