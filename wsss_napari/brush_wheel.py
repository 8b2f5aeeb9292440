"""Alt and the wheel over the image make the brush wider or narrower."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QWheelEvent

__all__ = ["BrushWheel", "resize_brush"]


class BrushWheel(QObject):
    """Takes the wheel from the canvas before napari, which with Alt would choose another layer.

    Args:
        canvas: The widget that the layers are drawn on.
        layer: Returns the layer whose brush is sized, or None while the wheel is napari's.
        parent: Qt parent; the wheel is napari's again when it ends.
    """

    def __init__(self, canvas: QObject, layer: Callable[[], Any | None], parent: QObject) -> None:
        super().__init__(parent)
        self._layer = layer
        canvas.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Use a turn of the wheel with Alt, or let it pass."""
        if not isinstance(event, QWheelEvent) or event.modifiers() != Qt.KeyboardModifier.AltModifier:
            return False
        layer = self._layer()
        if layer is None:
            return False
        delta = event.angleDelta()
        # With Alt, Qt turns the wheel by 90 degrees on most systems.
        resize_brush(layer, delta.y() or delta.x())
        return True


def resize_brush(layer: Any, turn: float) -> None:
    """Make a brush a tenth wider (a positive turn) or narrower, by one pixel at least."""
    size = float(layer.brush_size)
    if turn:
        step = max(1.0, size * 0.12)
        layer.brush_size = max(1, round(size + step if turn > 0 else size - step))
