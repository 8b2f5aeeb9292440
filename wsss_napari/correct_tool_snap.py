"""Snap: pull the mask to the edges of the photograph, inside a rectangle or along the border of a class."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from qtpy.QtWidgets import QWidget

from engine.params import Field
from engine.tools import Box, Change, Point, snap_border, snap_box
from wsss_napari.correct_tool import Tool
from wsss_napari.correct_tool_preview import outlined
from wsss_napari.correct_tool_reach import Reach

__all__ = ["SnapTool"]

_WIDTH = 8
# A rectangle of fewer px is a click that slipped.
_LEAST = 4


class SnapTool(Tool):
    """A dense CRF on a part of the image; its border is believed and never moves."""

    NAME: ClassVar[str] = "snap"
    TITLE: ClassVar[str] = "Snap to edges"
    TIP: ClassVar[str] = (
        "Drag a rectangle: inside it a dense CRF pulls the mask to the edges of the photograph."
    )

    def __init__(self, reach: Reach, parent: QWidget) -> None:
        super().__init__(reach, parent)
        self.keep = self.options.check(
            "Unsure stays unsure", "Otherwise unsure pixels take the class that wins them", on=False
        )
        self.width = self.options.number(
            "Border",
            Field("width", "int", _WIDTH, "", low=1, high=64, unit="px"),
            "How far from the border of the class pixels may change, on either side",
        )
        (self.along,) = self.options.buttons(
            ("Snap along the border", "Pull only the border of the class to the edges (Enter)", self.finish)
        )
        self._from: Point = (0.0, 0.0)
        self._to: Point = (0.0, 0.0)

    def refresh(self) -> None:
        self.along.setText(f"Snap along the border of {self.reach.word(int(self.correction.value))}")

    def pressed(self, point: Point, modifiers: frozenset[str]) -> bool:
        self._from = self._to = point
        return True

    def dragged(self, point: Point) -> None:
        self._to = point
        box = self._box
        if box[2] - box[0] >= 2 and box[3] - box[1] >= 2:
            inside = np.ones((box[2] - box[0], box[3] - box[1]), bool)
            self.reach.preview.show(*outlined(inside, box, self.reach.mask.shape, "#FFFFFF"))

    def released(self) -> None:
        box = self._box
        if min(box[2] - box[0], box[3] - box[1]) < _LEAST:
            self.reach.preview.clear()
            self.reach.said.emit("Drag a rectangle around what should follow the edges.")
            return
        photo, keep = self.reach.photo(), bool(self.keep.isChecked())
        if photo is None:
            return
        mask = self.reach.mask.copy()
        self._run(
            "Snap in a rectangle",
            lambda: snap_box(photo, mask, box, keep_unsure=keep),
            {"box": list(box), "keep_unsure": keep},
        )

    def finish(self) -> None:
        """Snap along the border of the class that is painted."""
        why, photo = self.reach.forbidden, self.reach.photo()
        if why or photo is None:
            self.reach.said.emit(why)
            return
        value, width, keep = int(self.correction.value), int(self.width.read()), bool(self.keep.isChecked())
        mask = self.reach.mask.copy()
        if not (mask == value).any():
            self.reach.said.emit(f"There is no {self.reach.word(value)} in the mask.")
            return
        self._run(
            f"Snap the border: {self.reach.word(value)}",
            lambda: snap_border(photo, mask, value, width, keep_unsure=keep),
            {"value": value, "width": width, "keep_unsure": keep},
        )

    def _run(self, name: str, work: Any, params: dict[str, Any]) -> None:
        def done(change: Change) -> None:
            self.reach.preview.clear()
            self.reach.replace(name, self.NAME, *change, params)

        self.reach.work.run("Snapping", work, done)

    @property
    def _box(self) -> Box:
        (ya, xa), (yb, xb) = self._from, self._to
        height, width = self.reach.mask.shape
        y0, y1 = sorted(min(max(round(v), 0), height - 1) for v in (ya, yb))
        x0, x1 = sorted(min(max(round(v), 0), width - 1) for v in (xa, xb))
        return y0, x0, y1 + 1, x1 + 1
