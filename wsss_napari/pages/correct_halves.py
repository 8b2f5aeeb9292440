"""Tools above, which scroll, and the queue below, which is always seen; a handle between them."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QFrame, QScrollArea, QSizePolicy, QSplitter, QWidget

__all__ = ["Halves"]

# Of the height, for the queue; the tools get no more than they need.
_LOWER = 0.34
_LEAST = 96


class Halves(QSplitter):
    """Two parts of a page, one above the other, that share its height as the person likes.

    Attributes:
        upper: What is put here scrolls.
        lower: What is put here takes the rest, and never less than it needs.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Vertical, parent)
        self._moved = False
        self.area = QScrollArea(self)
        self.area.setWidgetResizable(True)
        self.area.setFrameShape(QFrame.Shape.NoFrame)
        self.area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.area.setMinimumHeight(_LEAST)
        self.upper = QWidget(self.area)
        self.area.setWidget(self.upper)
        self.lower = QWidget(self)
        self.addWidget(self.area)
        self.addWidget(self.lower)
        self.setCollapsible(0, False)  # the queue may be put away, the tools may not
        self.setHandleWidth(10)
        # What it would like to have must not make the page scroll, as it does where a line above is wrapped.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Ignored)
        handle = self.handle(1)
        if handle is not None:
            handle.setToolTip("Drag to give the tools or the queue more room")
        self.splitterMoved.connect(self._keep)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Share the height anew, until a person has chosen."""
        super().resizeEvent(event)
        if not self._moved:
            self.share()

    def share(self) -> None:
        """Give the queue its part, and the tools what they need of the rest."""
        room = self.height() - self.handleWidth()
        least = self.lower.minimumSizeHint().height()
        below = max(least, round(_LOWER * room), room - self.upper.sizeHint().height())
        self.setSizes([max(room - below, 0), below])

    def _keep(self, _at: int, _index: int) -> None:
        self._moved = True
