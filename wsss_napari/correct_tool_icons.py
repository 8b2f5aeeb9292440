"""The buttons of the tools: each draws its own sign and its key, so that no font or icon theme is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFont, QPainter, QPainterPath, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QToolButton, QWidget

__all__ = ["SIGNS", "ToolButton"]

_SIDE = 20.0
_FILL = {"dark": "#3F5FC4", "light": "#2F4FB5"}


class ToolButton(QToolButton):  # type: ignore[misc]
    """A checkable button with a sign above its key.

    Args:
        name: One of `SIGNS`.
        title: Name of the tool, for the tooltip and for screen readers.
        tip: How it is used.
        key: Its key, or an empty string.
        parent: Qt parent.
    """

    def __init__(self, name: str, title: str, tip: str, key: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.name, self.title, self.key = name, title, key
        self._tip = tip
        self._colours: Mapping[str, str] = {
            "type": "dark",
            "text": "#f0f1f2",
            "primary": "#5a626c",
            "current": "#4d91ff",
        }
        self.setCheckable(True)
        self.setAutoExclusive(False)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAccessibleName(title)
        self.explain("")

    def explain(self, why_not: str) -> None:
        """Say in the tooltip what the tool does, and what it lacks here."""
        head = f"{self.title} ({self.key})" if self.key else self.title
        self.setToolTip("\n".join(part for part in (head, self._tip, why_not) if part))

    def set_theme(self, colours: Mapping[str, str]) -> None:
        """Paint with the colours of a napari theme."""
        self._colours = dict(colours)
        self.update()

    def sizeHint(self) -> QSize:
        """Return the room for the sign and the key."""
        return QSize(44, 42)

    def minimumSizeHint(self) -> QSize:
        """Return the same: signs do not shrink."""
        return self.sizeHint()

    def enterEvent(self, event: QEvent | None) -> None:
        """Light up."""
        super().enterEvent(event)
        self.update()

    def leaveEvent(self, event: QEvent | None) -> None:
        """Go out."""
        super().leaveEvent(event)
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint the ground, the sign and the key."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(self.rect()).adjusted(1, 1, -1, -1)
        ink = QColor(self._colours["text"])
        if self.isChecked():
            ground = QColor(_FILL["light" if self._colours["type"] == "light" else "dark"])
            ink = QColor("#FFFFFF")
        elif self.underMouse() and self.isEnabled():
            ground = QColor(self._colours["primary"])
        else:
            ground = QColor(0, 0, 0, 0)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(ground)
        painter.drawRoundedRect(box, 4, 4)
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(QColor(self._colours["current"]), 1))
            painter.drawRoundedRect(box, 4, 4)
        if not self.isEnabled():
            ink.setAlphaF(0.35)
        painter.save()
        painter.translate(self.width() / 2, 4 + _SIDE / 2)
        painter.scale(_SIDE / 2, _SIDE / 2)
        pen = QPen(ink, 0.18)
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
        painter.setPen(pen)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        SIGNS[self.name](painter, ink)
        painter.restore()
        font = QFont(painter.font())
        font.setPixelSize(10)
        painter.setFont(font)
        faint = QColor(ink)
        faint.setAlphaF(ink.alphaF() * (0.95 if self.isChecked() else 0.75))
        painter.setPen(faint)
        under = QRectF(0, _SIDE + 5, self.width(), self.height() - _SIDE - 7)
        # The arrow of a keyboard is shorter than its name.
        painter.drawText(under, Qt.AlignmentFlag.AlignCenter, self.key.replace("Shift+", "⇧"))


def _move(p: QPainter, ink: QColor) -> None:
    for dx, dy in ((0, -1), (0, 1), (-1, 0), (1, 0)):
        p.drawLine(QPointF(0, 0), QPointF(0.9 * dx, 0.9 * dy))
        for side in (-1, 1):
            end = QPointF(0.9 * dx, 0.9 * dy)
            p.drawLine(end, QPointF(0.58 * dx + 0.3 * side * dy, 0.58 * dy + 0.3 * side * dx))


def _brush(p: QPainter, ink: QColor) -> None:
    p.drawLine(QPointF(0.9, -0.9), QPointF(-0.05, 0.1))
    path = QPainterPath(QPointF(-0.15, -0.05))
    path.cubicTo(QPointF(-0.75, 0.0), QPointF(-0.45, 0.75), QPointF(-0.95, 0.85))
    path.cubicTo(QPointF(-0.3, 1.1), QPointF(0.3, 0.75), QPointF(0.15, 0.25))
    path.closeSubpath()
    p.setBrush(ink)
    p.drawPath(path)


def _eraser(p: QPainter, ink: QColor) -> None:
    p.drawPolygon(_points((-0.95, 0.25), (0.15, -0.85), (0.85, -0.15), (-0.25, 0.95)))
    p.setBrush(ink)
    p.drawPolygon(_points((-0.95, 0.25), (-0.4, -0.3), (0.3, 0.4), (-0.25, 0.95)))
    p.drawLine(QPointF(0.1, 0.95), QPointF(0.9, 0.95))


def _fill(p: QPainter, ink: QColor) -> None:
    p.drawPolygon(_points((-0.85, 0.1), (0.0, -0.75), (0.75, 0.0), (-0.1, 0.85)))
    p.setBrush(ink)
    p.drawPolygon(_points((-0.85, 0.1), (0.65, 0.1), (-0.1, 0.85)))
    p.drawEllipse(QRectF(0.62, 0.42, 0.34, 0.5))
    p.drawLine(QPointF(0.0, -0.75), QPointF(-0.25, -1.0))


def _polygon(p: QPainter, ink: QColor) -> None:
    corners = ((-0.8, 0.75), (-0.55, -0.6), (0.45, -0.85), (0.85, 0.1), (0.1, 0.8))
    p.drawPolygon(_points(*corners))
    p.setBrush(ink)
    for x, y in corners:
        p.drawEllipse(QPointF(x, y), 0.16, 0.16)


def _threshold(p: QPainter, ink: QColor) -> None:
    p.drawEllipse(QPointF(0, 0), 0.88, 0.88)
    path = QPainterPath()
    path.addEllipse(QPointF(0, 0), 0.88, 0.88)
    wave = QPainterPath(QPointF(-1, 0.15))
    wave.cubicTo(QPointF(-0.4, -0.75), QPointF(0.2, 0.7), QPointF(1, -0.35))
    wave.lineTo(QPointF(1, 1))
    wave.lineTo(QPointF(-1, 1))
    wave.closeSubpath()
    p.setBrush(ink)
    p.drawPath(path.intersected(wave))


def _region(p: QPainter, ink: QColor) -> None:
    # A wand and its sparks, as in every paint program.
    p.drawLine(QPointF(-0.9, 0.9), QPointF(0.25, -0.25))
    for x, y in ((0.5, -0.5), (-0.35, -0.75), (0.75, 0.35)):
        for dx, dy in ((0.22, 0.0), (0.0, 0.22)):
            p.drawLine(QPointF(x - dx, y - dy), QPointF(x + dx, y + dy))


def _superpixel(p: QPainter, ink: QColor) -> None:
    p.setBrush(ink)
    p.drawPolygon(_points((-0.15, -0.9), (0.3, -0.3), (-0.2, 0.15), (-0.9, -0.25), (-0.9, -0.9)))
    p.setBrush(Qt.BrushStyle.NoBrush)
    p.drawRect(QRectF(-0.9, -0.9, 1.8, 1.8))
    for a, b in (
        ((0.3, -0.3), (0.9, -0.45)),
        ((-0.2, 0.15), (0.1, 0.9)),
        ((0.3, -0.3), (0.45, 0.3)),
        ((0.45, 0.3), (0.9, 0.4)),
        ((0.45, 0.3), (0.0, 0.6)),
    ):
        p.drawLine(QPointF(*a), QPointF(*b))


def _scribble(p: QPainter, ink: QColor) -> None:
    path = QPainterPath(QPointF(-0.9, 0.5))
    path.cubicTo(QPointF(-0.5, -1.4), QPointF(-0.25, -0.6), QPointF(-0.3, 0.2))
    path.cubicTo(QPointF(-0.3, 1.1), QPointF(0.25, -0.9), QPointF(0.35, -0.2))
    path.cubicTo(QPointF(0.45, 0.6), QPointF(0.6, 0.5), QPointF(0.9, -0.2))
    p.drawPath(path)
    p.drawLine(QPointF(-0.6, 0.9), QPointF(0.6, 0.9))


def _clicks(p: QPainter, ink: QColor) -> None:
    disc = QPainterPath()
    disc.addEllipse(QPointF(-0.4, -0.4), 0.52, 0.52)
    # The plus is left out of the disc: it reads on any ground.
    for bar in (QRectF(-0.7, -0.49, 0.6, 0.18), QRectF(-0.49, -0.7, 0.18, 0.6)):
        hole = QPainterPath()
        hole.addRect(bar)
        disc = disc.subtracted(hole)
    p.fillPath(disc, ink)
    p.drawEllipse(QPointF(0.45, 0.45), 0.43, 0.43)
    p.drawLine(QPointF(0.26, 0.45), QPointF(0.64, 0.45))


def _snap(p: QPainter, ink: QColor) -> None:
    # A magnet: it pulls.
    path = QPainterPath(QPointF(-0.7, -0.85))
    path.lineTo(-0.7, 0.1)
    path.arcTo(QRectF(-0.7, -0.6, 1.4, 1.4), 180, 180)
    path.lineTo(0.7, -0.85)
    path.lineTo(0.25, -0.85)
    path.lineTo(0.25, 0.1)
    path.arcTo(QRectF(-0.25, -0.15, 0.5, 0.5), 0, -180)
    path.lineTo(-0.25, -0.85)
    path.closeSubpath()
    p.drawPath(path)
    p.setBrush(ink)
    p.drawRect(QRectF(-0.7, -0.85, 0.45, 0.4))
    p.drawRect(QRectF(0.25, -0.85, 0.45, 0.4))


def _band(p: QPainter, ink: QColor) -> None:
    p.drawRect(QRectF(-0.9, -0.9, 1.8, 1.8))
    for at in (-0.9, -0.3, 0.3, 0.9):
        low, high = max(-0.9, at - 0.9), min(0.9, at + 0.9)
        p.drawLine(QPointF(low, at - low), QPointF(high, at - high))


def _shape(p: QPainter, ink: QColor) -> None:
    path = QPainterPath(QPointF(-0.85, 0.1))
    path.cubicTo(QPointF(-1.0, -0.9), QPointF(-0.1, -1.0), QPointF(0.2, -0.7))
    path.cubicTo(QPointF(0.9, -0.8), QPointF(1.0, 0.2), QPointF(0.6, 0.5))
    path.cubicTo(QPointF(0.4, 1.1), QPointF(-0.8, 1.0), QPointF(-0.85, 0.1))
    p.drawPath(path)
    p.drawLine(QPointF(-0.35, 0.05), QPointF(0.35, 0.05))
    p.drawLine(QPointF(0.0, -0.3), QPointF(0.0, 0.4))


def _convert(p: QPainter, ink: QColor) -> None:
    p.drawRect(QRectF(-0.9, -0.9, 0.75, 0.75))
    p.setBrush(ink)
    p.drawRect(QRectF(0.15, 0.15, 0.75, 0.75))
    p.setBrush(Qt.BrushStyle.NoBrush)
    p.drawLine(QPointF(0.15, -0.55), QPointF(0.55, -0.55))
    p.drawLine(QPointF(0.55, -0.55), QPointF(0.55, -0.15))
    p.drawLine(QPointF(0.55, -0.15), QPointF(0.33, -0.35))
    p.drawLine(QPointF(0.55, -0.15), QPointF(0.77, -0.35))


def _points(*corners: tuple[float, float]) -> QPolygonF:
    return QPolygonF([QPointF(x, y) for x, y in corners])


#: Name of a tool -> what draws its sign into the square from -1 to 1.
SIGNS: dict[str, Callable[[QPainter, QColor], None]] = {
    "move": _move,
    "brush": _brush,
    "eraser": _eraser,
    "fill": _fill,
    "polygon": _polygon,
    "threshold": _threshold,
    "region": _region,
    "superpixel": _superpixel,
    "scribble": _scribble,
    "clicks": _clicks,
    "snap": _snap,
    "band": _band,
    "shape": _shape,
    "convert": _convert,
}
