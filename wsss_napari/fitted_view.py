"""A picture that was fitted to the canvas stays fitted when the canvas changes its size, until a person moves it."""

from __future__ import annotations

import math
from typing import Any
from weakref import ref

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QWidget

from wsss_napari._compat import bare

__all__ = ["FittedView"]

# How far zoom and centre wander by themselves, while napari hands them to and fro.
_SAME = 1e-3


class FittedView(QObject):
    """Fits the view anew after a dock or the plot strip made the canvas smaller or larger.

    napari fits a picture once, when it comes or at Home, and keeps zoom and centre from then on: beside a dock
    that opens later the picture's edges are cut off.

    Args:
        viewer: The viewer.
        canvas: The widget that its layers are drawn on.
    """

    def __init__(self, viewer: Any, canvas: QWidget) -> None:
        super().__init__(canvas)
        self._viewer = ref(bare(viewer))
        self._fit: tuple[float, tuple[float, ...]] | None = None
        # The canvas knows its new size only after the event that tells of it.
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._again)
        bare(viewer).events.reset_view.connect(self._note)
        canvas.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Look whether to fit again after the canvas changed its size; the event goes its way."""
        if event is not None and event.type() == QEvent.Type.Resize and self._fit is not None:
            self._soon.start(0)
        return False

    def _note(self, _event: Any = None) -> None:
        self._fit = self._state()

    def _again(self) -> None:
        viewer, fit = self._viewer(), self._fit
        # Fitting would turn a volume that a person turned back to its front.
        if viewer is None or fit is None or not viewer.layers or viewer.dims.ndisplay != 2:
            return
        zoom, centre = self._state()
        if math.isclose(zoom, fit[0], rel_tol=_SAME) and all(
            # A thousandth of what is seen along an axis, about.
            abs(a - b) * zoom < 1
            for a, b in zip(centre, fit[1], strict=True)
        ):
            viewer.reset_view()
        else:
            self._fit = None

    def _state(self) -> tuple[float, tuple[float, ...]]:
        camera = self._viewer().camera
        return float(camera.zoom), tuple(float(c) for c in camera.center)
