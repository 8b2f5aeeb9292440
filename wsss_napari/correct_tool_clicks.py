"""Clicks: here belongs to the class, here does not; the maps and the photograph decide how far it reaches."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QPushButton, QWidget

from engine.params import Field
from engine.tools import EMPTY, Change, Click, Point, apply_clicks
from wsss_napari.correct_tool import Tool
from wsss_napari.correct_tool_reach import Reach
from wsss_napari.palette import UNSURE

__all__ = ["ClicksTool"]

_BELONGS, _NOT = (64, 220, 96), (235, 64, 52)


class ClicksTool(Tool):
    """Corrects one class by clicks; each click is one step."""

    NAME: ClassVar[str] = "clicks"
    TITLE: ClassVar[str] = "Clicks"
    TIP: ClassVar[str] = "Click what belongs to the class; Ctrl+click what does not."

    def __init__(self, reach: Reach, parent: QWidget) -> None:
        super().__init__(reach, parent)
        self.belongs = _mode("Belongs", "A click says: this belongs to the class", self.options)
        self.not_it = _mode(
            "Does not", "A click says: this does not; Ctrl+click means it at any time", self.options
        )
        self.belongs.setChecked(True)
        group = QButtonGroup(self.options)
        row = QHBoxLayout()
        row.setSpacing(6)
        for button in (self.belongs, self.not_it):
            group.addButton(button)
            row.addWidget(button, 1)
        self.options.grid.addLayout(row, 0, 0, 1, 2)
        self.reach_px = self.options.number(
            "Reach",
            Field("reach", "int", 160, "", low=16, high=1024, unit="px"),
            "How far from the click anything may change",
        )
        self.options.buttons(
            (
                "Begin anew",
                "Forget the clicks so far, as for the next object (Esc); the mask stays as it is",
                self.escape,
            )
        )
        self.clicks: list[Click] = []
        self._value = 0
        self._writing = False

    def missing(self) -> str:
        value = int(self.correction.value)
        if 0 < value < UNSURE:
            return ""
        return "Choose a class to paint: a click says whether a pixel belongs to it."

    def refresh(self) -> None:
        # Clicks are of one class on one mask.
        if self.clicks and self._value != int(self.correction.value):
            self.reset()

    def edited(self) -> None:
        """Forget the clicks when something else changed the mask, as undo does."""
        if self.clicks and not self._writing:
            self.reset()

    def pressed(self, point: Point, modifiers: frozenset[str]) -> bool:
        photo, value = self.reach.photo(), int(self.correction.value)
        if photo is None:
            return False
        positive = self.belongs.isChecked() and "Control" not in modifiers
        click = Click(point[0], point[1], positive)
        self.clicks.append(click)
        self._value = value
        self._show()
        mask, clicks = self.reach.mask.copy(), list(self.clicks)
        scores, reach = self.reach.scores(value - 1), int(self.reach_px.read())

        def done(change: Change) -> None:
            box, after = change
            word = self.reach.word(value)
            if box == EMPTY:
                self.clicks.remove(click)
                self._show()
                self.reach.said.emit(
                    f"This is {word} already." if positive else f"This is not {word} as it is."
                )
                return
            name = f"Click: {word if positive else 'not ' + word}"
            params = {
                "points": [[c.y, c.x, c.positive] for c in clicks],
                "reach": reach,
                "map": scores is not None,
            }
            self._writing = True
            try:
                self.reach.replace(name, self.NAME, box, after, params)
            finally:
                self._writing = False

        self.reach.work.run(
            "Following the click", lambda: apply_clicks(photo, mask, clicks, value, scores, reach=reach), done
        )
        return False

    def reset(self) -> None:
        super().reset()
        self.clicks = []

    def _show(self) -> None:
        """Draw the clicks as dots, green where it belongs and red where it does not."""
        height, width = self.reach.mask.shape
        side = max(2, round(max(height, width) / 130))
        if not self.clicks:
            self.reach.preview.clear()
            return
        ys, xs = [round(c.y) for c in self.clicks], [round(c.x) for c in self.clicks]
        y0, x0 = max(min(ys) - side - 1, 0), max(min(xs) - side - 1, 0)
        y1, x1 = min(max(ys) + side + 2, height), min(max(xs) + side + 2, width)
        pixels = np.zeros((y1 - y0, x1 - x0, 4), np.uint8)
        rows, columns = np.ogrid[y0:y1, x0:x1]
        for click, y, x in zip(self.clicks, ys, xs, strict=True):
            far = (rows - y) ** 2 + (columns - x) ** 2
            pixels[far <= (side + 1) ** 2] = (0, 0, 0, 255)
            pixels[far <= side**2] = (*(_BELONGS if click.positive else _NOT), 255)
            # A sign as well: red and green are one colour to some.
            bar = (abs(rows - y) <= side / 5) & (abs(columns - x) <= side / 1.6)
            if click.positive:
                bar = bar | ((abs(columns - x) <= side / 5) & (abs(rows - y) <= side / 1.6))
            pixels[bar] = (255, 255, 255, 255)
        self.reach.preview.show((y0, x0, y1, x1), pixels)


def _mode(words: str, tip: str, parent: QWidget) -> QPushButton:
    button = QPushButton(words, parent)
    button.setCheckable(True)
    button.setToolTip(tip)
    return button
