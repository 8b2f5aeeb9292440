"""How many images have each class: bars drawn by hand, since a plot for this would be a page of its own."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QEvent, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QHelpEvent, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from engine.tags import Counts

__all__ = ["Balance"]


class Balance(QWidget):
    """One bar a class: images that have it, of all images; what is still unknown is outlined."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: list[tuple[str, str, Counts]] = []
        self._images = 0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip("Images of each class")

    def show_counts(
        self, names: Sequence[str], colours: Sequence[str], counts: Sequence[Counts], images: int
    ) -> None:
        """Show the counts of each class."""
        self._rows = list(zip(names, colours, counts, strict=True))
        self._images = images
        self.updateGeometry()
        self.update()

    def _line(self) -> int:
        return self.fontMetrics().height() + 3

    def sizeHint(self) -> QSize:
        """Return one line a class."""
        return QSize(200, self._line() * len(self._rows) + 4)

    def minimumSizeHint(self) -> QSize:
        """Return the height that is needed, and hardly any width."""
        return QSize(120, self.sizeHint().height())

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the bars."""
        painter = QPainter(self)
        metrics = self.fontMetrics()
        ink = self.palette().color(self.foregroundRole())
        faint = QColor(ink)
        faint.setAlphaF(0.35)
        line = self._line()
        most = max((metrics.horizontalAdvance(n) for n, _, _ in self._rows), default=0)
        named = min(most + 8, self.width() // 3)
        counted = metrics.horizontalAdvance(f"{self._images:,}") + 10
        # The longest bar fills the room: with 80 classes bars of all images would be slivers.
        longest = max((c.present for _, _, c in self._rows), default=0)
        span = max(1, self.width() - named - counted)
        for n, (name, colour, count) in enumerate(self._rows):
            top = 2 + n * line
            painter.setPen(ink)
            fitted = metrics.elidedText(name, Qt.TextElideMode.ElideRight, named - 6)
            painter.drawText(
                QRectF(0, top, named - 4, line),
                Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft,
                fitted,
            )
            bar = QRectF(named, top + 3, span, line - 6)
            full = QRectF(bar)
            full.setWidth(span * count.present / max(1, longest))
            painter.fillRect(full, QColor(colour))
            painter.setPen(faint)
            painter.drawLine(bar.bottomLeft(), bar.bottomRight())
            painter.setPen(ink)
            painter.drawText(
                QRectF(named + span, top, counted, line),
                Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight,
                f"{count.present:,}",
            )
        painter.end()

    def event(self, event: QEvent | None) -> bool:
        """Tell the counts of the class under the cursor."""
        if isinstance(event, QHelpEvent):
            at = (event.pos().y() - 2) // self._line()
            if 0 <= at < len(self._rows):
                name, _, count = self._rows[at]
                QToolTip.showText(
                    event.globalPos(),
                    f"{name}: present in {count.present:,}, absent in {count.absent:,}, unknown in {count.unknown:,} images",
                    self,
                )
                return True
        return bool(super().event(event))
