"""Small controls that pages share: the same look, room and focus everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QFrame, QGridLayout, QLabel, QLineEdit, QWidget

__all__ = ["SwitchLook", "combo", "name_filter", "note", "rule", "switches"]


class SwitchLook(Protocol):
    """What a switch of a layer says: its key, its words, its tip, and whether it begins on."""

    key: str
    switch: str
    tip: str
    on: bool


def note(parent: QWidget) -> QLabel:
    """Return an empty line of small grey text."""
    label = QLabel(parent)
    label.setWordWrap(True)
    label.setProperty("wsss", "note")
    return label


def rule() -> QFrame:
    """Return a thin line between two groups of controls."""
    line = QFrame()
    line.setProperty("wsss", "rule")
    return line


def combo(
    tip: str,
    parent: QWidget | None = None,
    *,
    least: int = 6,
    focus: Qt.FocusPolicy = Qt.FocusPolicy.StrongFocus,
) -> QComboBox:
    """Return a choice whose width does not follow its longest item.

    Args:
        tip: What it chooses; read aloud too.
        parent: Its parent.
        least: Letters that it has room for at least.
        focus: TabFocus where letters are keys of the page, which a click's focus would take.
    """
    box = QComboBox(parent)
    box.setToolTip(tip)
    box.setAccessibleName(tip)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(least)
    box.setFocusPolicy(focus)
    return box


def name_filter(parent: QWidget) -> QLineEdit:
    """Return the field that narrows a list of images by their names."""
    field = QLineEdit(parent)
    field.setPlaceholderText("Name contains …")
    field.setToolTip("Show images whose name contains this")
    field.setClearButtonEnabled(True)
    return field


def switches(looks: Sequence[SwitchLook], parent: QWidget) -> tuple[dict[str, QCheckBox], QGridLayout]:
    """Return a switch for each look by its key, and the grid of two columns that they stand in."""
    found: dict[str, QCheckBox] = {}
    grid = QGridLayout()
    grid.setHorizontalSpacing(10)
    grid.setVerticalSpacing(3)
    rows = (len(looks) + 1) // 2
    for at, look in enumerate(looks):
        switch = QCheckBox(look.switch, parent)
        switch.setChecked(look.on)
        switch.setToolTip(look.tip)
        found[look.key] = switch
        grid.addWidget(switch, at % rows, at // rows)
    return found, grid
