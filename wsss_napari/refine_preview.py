"""A small, quick refinement of the image in front while a slider moves: off the main thread, the newest wins."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from engine.errors import UserError
from engine.labels import apply_scores
from engine.params import parse
from engine.refiners import REFINERS
from engine.results import CamStack
from wsss_napari.background import Background

__all__ = ["SIDE", "Preview", "PreviewOrder", "Sketch", "scale_of", "sketch_of"]

#: Longer side of a preview in px: a CRF of this size takes a tenth of a second.
SIDE = 160
_SETTLE_MS = 40


@dataclass(frozen=True, eq=False)
class PreviewOrder:
    """What to preview.

    Attributes:
        image: Stem of the image.
        stack: Its maps, from which the first part starts.
        photograph: [H, W, 3] uint8, the image.
        scale: Size of the preview relative to the image, one over a whole number.
        parts: (refiner, settings that differ from the defaults) of each card that is computed.
        words: The last card, as the layer's name says it.
        note: What a person should know of it, or an empty string.
    """

    image: str
    stack: CamStack
    photograph: NDArray[np.uint8]
    scale: float
    parts: tuple[tuple[str, Mapping[str, Any]], ...]
    words: str
    note: str = ""


@dataclass(frozen=True, eq=False)
class Sketch:
    """A preview that was computed.

    Attributes:
        order: What was asked for.
        mask: [h, w] uint8.
        cell: Side of one of its cells in px of the image.
        seconds: What it took.
    """

    order: PreviewOrder
    mask: NDArray[np.uint8]
    cell: float
    seconds: float


class Preview(QObject):
    """Computes one preview at a time; of those asked for meanwhile only the newest follows.

    Args:
        parent: Qt parent; the thread ends with it.

    Signals:
        drawn: (Sketch) one is there.
        failed: (sentence) a setting cannot be used.
    """

    drawn = Signal(object)
    failed = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._thread = Background(1, self)
        self._next: PreviewOrder | None = None
        self._doing: PreviewOrder | None = None
        self._wait = QTimer(self)
        self._wait.setSingleShot(True)
        self._wait.setInterval(_SETTLE_MS)
        self._wait.timeout.connect(self._start)

    @property
    def busy(self) -> bool:
        """Whether a preview is being computed or waits."""
        return self._next is not None or self._doing is not None

    def ask(self, order: PreviewOrder) -> None:
        """Ask for a preview; it is begun when the slider rests for a moment or the last one is there."""
        self._next = order
        # Not restarted: a slider that never rests is followed too.
        if self._doing is None and not self._wait.isActive():
            self._wait.start()

    def forget(self) -> None:
        """Give up what was asked for; what is being computed is thrown away."""
        self._next = self._doing = None
        self._wait.stop()

    def _start(self) -> None:
        order, self._next = self._next, None
        if order is None or self._thread.pending:
            self._next = order  # one that was given up is still being computed
            if order is not None:
                self._wait.start()
            return
        self._doing = order
        self._thread.run(lambda: sketch_of(order), self._done, lambda error: self._broke(order, error))

    def _done(self, sketch: Sketch) -> None:
        wanted, self._doing = self._doing is sketch.order, None
        if wanted:
            self.drawn.emit(sketch)
        if self._next is not None:
            self._wait.start()

    def _broke(self, order: PreviewOrder, error: UserError) -> None:
        wanted, self._doing = self._doing is order, None
        if wanted:
            self.failed.emit(str(error))
        if self._next is not None:
            self._wait.start()


def sketch_of(order: PreviewOrder) -> Sketch:
    """Compute a preview.

    Raises:
        UserError: A setting cannot be used.
    """
    began = time.monotonic()
    stack = order.stack
    for name, settings in order.parts:
        refiner = REFINERS[name]
        params = parse(refiner.settings, settings)
        stack, _ = refiner.refine(stack, order.photograph, params, scale=order.scale)
    assert stack.background is not None
    scores = np.concatenate([stack.background[None], stack.maps]).astype(np.float32)  # [1 + K, h, w]
    return Sketch(order, apply_scores(scores, stack.classes), stack.cell, time.monotonic() - began)


def scale_of(photograph: NDArray[np.uint8]) -> float:
    """Return the size of a preview relative to a photograph [H, W, 3], one over a whole number."""
    return 1.0 / max(1, math.ceil(max(int(n) for n in photograph.shape[:2]) / SIDE))
