"""Scribbles: a few lines per class, then the photograph fills in the rest around them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QWidget

from engine.tools import Change, Point, Stroke, brush, draw, propagate
from wsss_napari.correct_tool import Tool
from wsss_napari.correct_tool_preview import tinted
from wsss_napari.correct_tool_reach import Reach

__all__ = ["ScribbleTool"]


class ScribbleTool(Tool):
    """Collects strokes of several values, and spreads them as one step."""

    NAME: ClassVar[str] = "scribble"
    TITLE: ClassVar[str] = "Scribble"
    TIP: ClassVar[str] = "Draw a line in each class and in the background, then spread them."
    CURSOR: ClassVar[str] = "circle"
    BRUSH: ClassVar[bool] = True

    def __init__(self, reach: Reach, parent: QWidget) -> None:
        super().__init__(reach, parent)
        self.spread, self.back, self.clear = self.options.buttons(
            (
                "Spread",
                "Let a random walker on the photograph decide which line each pixel around belongs to (Enter)",
                self.finish,
            ),
            ("Take back", "Take the last line back", self.take_back),
            ("Clear", "Take all lines back (Esc)", self._clear),
        )
        self.maps = self.options.check(
            "Listen to the maps too",
            "The maps of the classes are half of the prior, the mask is the other",
            on=True,
        )
        self.strokes: list[Stroke] = []
        self._path: list[Point] = []
        self._show_buttons()

    def pressed(self, point: Point, modifiers: frozenset[str]) -> bool:
        self._path = [point]
        self._show()
        return True

    def dragged(self, point: Point) -> None:
        self._path.append(point)
        self._show()

    def released(self) -> None:
        self.strokes.append(Stroke(int(self.correction.value), self._path, self._diameter))
        self._path = []
        self.reach.said.emit(
            "" if len(self.strokes) > 1 else "Draw a line in what is beside it as well, then spread."
        )
        self._show()

    def finish(self) -> None:
        """Spread the lines."""
        why = self.reach.forbidden
        photo = self.reach.photo()
        if why or photo is None:
            self.reach.said.emit(why)
            return
        if not self.strokes:
            self.reach.said.emit("Draw a line first.")
            return
        mask, strokes, scores = self.reach.mask.copy(), list(self.strokes), self._scores()

        def done(change: Change) -> None:
            box, after = change
            words = " and ".join(self.reach.word(v) for v in dict.fromkeys(s.value for s in strokes))
            params = {
                "strokes": len(strokes),
                "values": sorted({s.value for s in strokes}),
                "maps": bool(scores),
            }
            if self.reach.replace(f"Scribbles: {words}", self.NAME, box, after, params):
                self._clear()

        self.reach.work.run(
            "Spreading the lines", lambda: propagate(photo, mask, draw(strokes, mask.shape), scores), done
        )

    def take_back(self) -> None:
        """Take the last line back."""
        if self.strokes:
            self.reach.work.cancel()
            self.strokes.pop()
            self._show()

    def stopped(self) -> None:
        """Keep the lines: only their spreading was stopped."""

    def reset(self) -> None:
        super().reset()
        self.strokes, self._path = [], []
        self._show_buttons()

    @property
    def _diameter(self) -> float:
        return float(self.correction.layer.brush_size)

    def _scores(self) -> dict[int, NDArray[np.float32]]:
        stack = self.correction.stack
        if stack is None or not self.maps.isChecked():
            return {}
        found = {c + 1: self.reach.scores(c) for c in stack.classes}
        return {value: scores for value, scores in found.items() if scores is not None}

    def _clear(self) -> None:
        self.reach.work.cancel()
        self.reset()

    def _show(self) -> None:
        """Draw the lines in the colours of their classes; unsure is white."""
        self._show_buttons()
        lines = list(self.strokes)
        if self._path:
            lines.append(Stroke(int(self.correction.value), self._path, self._diameter))
        shape = self.reach.mask.shape
        covered = [(s, *brush(shape, s.points, s.diameter)) for s in lines]
        boxes = [box for _, box, region in covered if region.size]
        if not boxes:
            self.reach.preview.clear()
            return
        y0, x0 = min(b[0] for b in boxes), min(b[1] for b in boxes)
        y1, x1 = max(b[2] for b in boxes), max(b[3] for b in boxes)
        pixels = np.zeros((y1 - y0, x1 - x0, 4), np.uint8)
        for stroke, box, region in covered:
            part = pixels[box[0] - y0 : box[2] - y0, box[1] - x0 : box[3] - x0]
            part[region] = tinted(region, self.reach.colour(stroke.value), 230)[region]
        self.reach.preview.show((y0, x0, y1, x1), pixels)

    def _show_buttons(self) -> None:
        for button in (self.spread, self.back, self.clear):
            button.setEnabled(bool(self.strokes))
