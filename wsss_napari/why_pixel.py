"""Why this pixel: what each class says of the pixel under the pointer, and what the rule makes of it."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtCore import QPoint
from qtpy.QtGui import QCursor
from qtpy.QtWidgets import QLabel

from engine.labels import LabelRule
from wsss_napari._compat import canvas_of
from wsss_napari.layers import Layers
from wsss_napari.mask_view import MaskView
from wsss_napari.palette import UNSURE

__all__ = ["WhyPixel", "why_text"]

_SHIFT = 18


def why_text(
    view: MaskView,
    rule: LabelRule,
    pixel: tuple[int, int],
    classes: Sequence[str],
    colours: Sequence[str],
) -> str:
    """Return the table as rich text.

    Args:
        view: The maps of the image.
        rule: The label rule.
        pixel: (row, column) in px.
        classes: Names of the project's classes.
        colours: `#RRGGBB` of each.
    """
    rows = []
    for score in view.why(*pixel):
        off = "" if score.cls in view.classes else " (off)"
        rows.append(
            f"<tr><td><span style='color:{colours[score.cls]}'>●</span>&nbsp;{html.escape(classes[score.cls])}{off}"
            f"&nbsp;&nbsp;</td><td align='right'>{score.score:.2f}&nbsp;&nbsp;</td><td align='right'>{score.raw:.3g}</td></tr>"
        )
    names = {0: "background", UNSURE: "unsure"}
    value = view.value_at(rule, *pixel)
    found = names.get(value) or classes[value - 1]
    if view.has_rule:
        low, high = (float(v) for v in rule.limits())
        bar = f"threshold {low:.3g}" if low == high else f"unsure from {low:.3g} to {high:.3g}"
    else:
        bar = "the source's own background score"
    head = (
        "<tr><td></td><td align='right'>score&nbsp;&nbsp;</td><td align='right'>raw</td></tr>" if rows else ""
    )
    return (
        f"<b>{html.escape(found)}</b> at row {pixel[0]}, column {pixel[1]}<br>{bar}"
        f"<table>{head}{''.join(rows)}</table>"
    )


class WhyPixel:
    """A small table that follows the pointer over the canvas while it is on.

    Args:
        layers: The layers of the viewer.
        ask: Returns the text for a (row, column), or None outside of the image.
    """

    def __init__(self, layers: Layers, ask: Callable[[int, int], str | None]) -> None:
        self._layers = layers
        self._ask = ask
        self._on = False
        self.label: QLabel | None = None

    @property
    def on(self) -> bool:
        """Whether it follows the pointer."""
        return self._on

    def turn(self, on: bool) -> None:
        """Begin or end to follow the pointer."""
        viewer = self._layers.viewer
        canvas = None if viewer is None else canvas_of(viewer)
        if on == self._on or canvas is None:
            return
        self._on = on
        if on:
            self.label = QLabel(canvas)
            self.label.setObjectName("why")
            # On the photograph it must be read in either theme.
            self.label.setStyleSheet(
                "QLabel#why { background: #1b1d22; color: #f4f4f4; border: 1px solid #8a8f99;"
                " border-radius: 4px; padding: 5px; }"
            )
            self.label.hide()
            viewer.mouse_move_callbacks.append(self._moved)
        else:
            viewer.mouse_move_callbacks.remove(self._moved)
            if self.label is not None:
                self.label.hide()
                self.label.deleteLater()
                self.label = None

    def show_at(self, row: float, column: float) -> None:
        """Show the table of a pixel, beside the pointer."""
        if self.label is None:
            return
        text = self._ask(round(row), round(column))
        self.label.setVisible(text is not None)
        if text is None:
            return
        self.label.setText(text)
        self.label.adjustSize()
        canvas = self.label.parentWidget()
        at = canvas.mapFromGlobal(QCursor.pos()) + QPoint(_SHIFT, _SHIFT)
        # Beside the pointer on whichever side there is room.
        if at.x() + self.label.width() > canvas.width():
            at.setX(at.x() - self.label.width() - 2 * _SHIFT)
        if at.y() + self.label.height() > canvas.height():
            at.setY(at.y() - self.label.height() - 2 * _SHIFT)
        self.label.move(max(at.x(), 0), max(at.y(), 0))

    def _moved(self, viewer: Any, event: Any) -> None:
        row, column = viewer.cursor.position[-2:]
        self.show_at(row, column)
