"""How the tree of climbs is painted: lines, dots, ends, rings and names, in a theme's colours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QBrush, QColor, QFont, QFontMetricsF, QPainter, QPainterPath, QPen

from wsss_napari.climb_rows import ClimbRows, Piece

__all__ = ["Ink", "TreePainter"]

# Closer than this, dots run into a line; every second, fifth, … is drawn.
_CLOSEST = 6.0
_ASIDE = 5.0


@dataclass(frozen=True)
class Ink:
    """Colours: of words, of climbs that are not shown, of the one shown, of the one beside it."""

    text: QColor
    ground: QColor
    row: QColor
    quiet: QColor
    strong: QColor
    second: QColor

    @classmethod
    def of(cls, theme: Mapping[str, str]) -> Ink:
        """Return the colours for a napari theme; without one, those of the dark theme."""
        text = QColor(theme.get("text", "#f0f1f2"))
        ground = QColor(theme.get("background", "#262930"))
        dark = ground.lightnessF() < 0.5
        quiet = _between(ground, text, 0.5 if dark else 0.55)
        return cls(
            text=text,
            ground=ground,
            row=_between(ground, text, 0.08),
            quiet=quiet,
            strong=QColor("#8AA4FF" if dark else "#2F4FB5"),
            second=QColor("#F0B04A" if dark else "#9A5B00"),
        )


class TreePainter:
    """Paints one tree.

    Args:
        painter: On the widget.
        ink: The colours.
        rows: What is where.
        x, y: From a step, and from a row, to px.
        line: Height of a row in px.
    """

    def __init__(
        self,
        painter: QPainter,
        ink: Ink,
        rows: ClimbRows,
        x: Callable[[float], float],
        y: Callable[[int], float],
        line: int,
    ) -> None:
        self._painter, self._ink, self._rows = painter, ink, rows
        self._x, self._y, self._line = x, y, line

    def empty(self, box: QRectF) -> None:
        """Say that there is none."""
        self._painter.setPen(self._ink.quiet)
        self._painter.drawText(box, Qt.AlignmentFlag.AlignCenter, "No climb of this class in this image yet")

    def row_ground(self, room: QRectF, hovered: int | None, chosen: int | None) -> None:
        """Lay a ground under the row that is shown and the one under the pointer."""
        for row in {hovered, chosen} - {None}:
            assert row is not None
            top = self._y(row) - self._line / 2
            self._painter.fillRect(QRectF(room.left(), top, room.width(), self._line), self._ink.row)

    def axis(self, room: QRectF, height: int, step: int, shown: bool) -> None:
        """Write the numbers of the steps under the rows, and draw the line of the step that is shown."""
        painter, last = self._painter, self._rows.end
        font = QFont(painter.font())
        font.setPointSizeF(max(7.0, font.pointSizeF() * 0.85))
        painter.save()
        painter.setFont(font)
        metrics = QFontMetricsF(font)
        boxes: list[QRectF] = []
        # The step that is shown first: it takes the place of a number that it would touch.
        for value in dict.fromkeys([*([step] if shown else []), 0, last]):
            words = str(value)
            wide = metrics.horizontalAdvance(words) + 8
            left = min(max(self._x(value) - wide / 2, 0), room.right() - wide)
            box = QRectF(left, room.bottom(), wide, height)
            if any(box.intersects(other) for other in boxes):
                continue
            boxes.append(box)
            current = shown and value == step
            font.setBold(current)
            painter.setFont(font)
            painter.setPen(self._ink.strong if current else self._ink.quiet)
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, words)
        if shown:
            faint = QColor(self._ink.strong)
            faint.setAlphaF(0.45)
            painter.setPen(QPen(faint, 1))
            x = round(self._x(step)) + 0.5
            painter.drawLine(QPointF(x, room.top()), QPointF(x, room.bottom()))
        painter.restore()

    def lines(self, chosen: str | None, second: str | None) -> None:
        """Draw what is planned, all climbs, the second path and the one that is shown, in this order."""
        painter, rows = self._painter, self._rows
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for piece in rows.pieces.values():
            if piece.end > piece.last:
                start = max(piece.last, piece.at if piece.parent else 0)
                painter.setPen(QPen(self._ink.quiet, 1.2, Qt.PenStyle.DotLine))
                painter.drawLine(self._dot(piece, start), self._dot(piece, piece.end))
        painter.setPen(_round(self._ink.quiet, 1.6))
        for piece in rows.pieces.values():
            painter.drawPath(self._stroke(piece, piece.first, piece.last))
        if second is not None:
            pen = _round(self._ink.second, 2.2)
            pen.setDashPattern([2.2, 2.2])
            painter.setPen(pen)
            painter.drawPath(self._whole(second, _ASIDE))
        if chosen is not None:
            painter.setPen(_round(self._ink.strong, 3.0))
            painter.drawPath(self._whole(chosen, 0.0))

    def dots(self, chosen: str | None) -> None:
        """Draw a dot a step, and how each climb ended."""
        painter, rows = self._painter, self._rows
        shown = rows.path(chosen)
        every = 1
        spacing = max(self._x(1) - self._x(0), 0.01)
        while spacing * every < _CLOSEST:
            every = {1: 2, 2: 5}.get(every, every * 2)
        for piece in rows.pieces.values():
            first, until = shown.get(piece.key, (0, -1))
            even = range(-(-piece.first // every) * every, piece.last + 1, every)
            for step in {*even, *((piece.first, piece.last) if piece.last >= piece.first else ())}:
                strong = first <= step <= until
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(self._ink.strong if strong else self._ink.quiet)
                size = 3.2 if strong else 2.6
                painter.drawEllipse(self._dot(piece, step), size, size)
            if piece.joined:  # another climb, which may have other settings, in the same row
                painter.setPen(QPen(self._ink.quiet, 1.2))
                x, y = self._x(piece.at + 0.5), self._y(piece.row)
                painter.drawLine(QPointF(x, y - 5), QPointF(x, y + 5))
            self._end(piece, first <= piece.last <= until)

    def rings(self, chosen: str | None, second: str | None, step: int) -> None:
        """Ring the step that is shown, in one path or in both."""
        for key, colour in ((second, self._ink.second), (chosen, self._ink.strong)):
            for on, (first, until) in self._rows.path(key).items():
                if first <= step <= until:
                    self._painter.setPen(QPen(colour, 2.0))
                    self._painter.setBrush(self._ink.ground)
                    size = 5.5 if key == chosen else 7.5
                    self._painter.drawEllipse(self._dot(self._rows.pieces[on], step), size, size)
                    self._painter.setPen(Qt.PenStyle.NoPen)
                    self._painter.setBrush(colour)
                    self._painter.drawEllipse(self._dot(self._rows.pieces[on], step), 2.6, 2.6)

    def label(self, box: QRectF, name: str, settings: str, *, strong: bool) -> None:
        """Write the name of a row, and what was set otherwise."""
        painter = self._painter
        font = QFont(painter.font())
        painter.save()
        font.setBold(strong)
        painter.setFont(font)
        metrics = QFontMetricsF(font)
        flags = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        fitted = metrics.elidedText(name, Qt.TextElideMode.ElideMiddle, box.width())
        painter.setPen(self._ink.strong if strong else self._ink.text)
        painter.drawText(box, flags, fitted)
        rest = box.adjusted(metrics.horizontalAdvance(fitted + "  "), 0, 0, 0)
        font.setBold(False)
        painter.setFont(font)
        words = QFontMetricsF(font).elidedText(settings, Qt.TextElideMode.ElideRight, max(0.0, rest.width()))
        painter.setPen(self._ink.quiet)
        if rest.width() > 12:
            painter.drawText(rest, flags, words)
        painter.restore()

    def focus(self, box: QRectF) -> None:
        """Draw the frame of the keyboard's focus."""
        self._painter.setPen(QPen(self._ink.text, 1, Qt.PenStyle.DotLine))
        self._painter.setBrush(Qt.BrushStyle.NoBrush)
        self._painter.drawRect(box.adjusted(0.5, 0.5, -0.5, -0.5))

    def _dot(self, piece: Piece, step: float, aside: float = 0.0) -> QPointF:
        return QPointF(self._x(step), self._y(piece.row) + aside)

    def _stroke(self, piece: Piece, first: int, until: int, aside: float = 0.0) -> QPainterPath:
        """Return the line of one trace, from where it leaves its parent."""
        path = QPainterPath()
        above = self._rows.pieces.get(piece.parent or "")
        if above is not None and not piece.lost:
            start = self._dot(above, piece.at, aside)
            path.moveTo(start)
            turn = QPointF(start.x(), self._y(piece.row) + aside)
            if above.row != piece.row:
                bend = max(0.0, min(6.0, self._x(piece.first) - start.x()))
                path.lineTo(turn.x(), turn.y() - bend)
                path.quadTo(turn, QPointF(turn.x() + bend, turn.y()))
        else:
            path.moveTo(self._dot(piece, first, aside))
        if until >= first:
            path.lineTo(self._dot(piece, until, aside))
        return path

    def _whole(self, key: str, aside: float) -> QPainterPath:
        """Return the line of a path, from the photograph to its end."""
        whole = QPainterPath()
        for on, (first, until) in self._rows.path(key).items():
            whole.addPath(self._stroke(self._rows.pieces[on], first, until, aside))
        return whole

    def _end(self, piece: Piece, strong: bool) -> None:
        """Draw how a climb ended: hollow while it goes on, a bar where it was stopped, a foot on a plateau."""
        painter, colour = self._painter, self._ink.strong if strong else self._ink.quiet
        where = self._dot(piece, max(piece.last, piece.at if piece.parent else 0))
        if piece.ending == "":
            painter.setPen(QPen(colour, 1.8))
            painter.setBrush(self._ink.ground)
            painter.drawEllipse(where, 4.0, 4.0)
        elif piece.ending in ("stopped", "plateau"):
            painter.setPen(_round(colour, 2.2))
            top, bottom = QPointF(where.x() + 5, where.y() - 5), QPointF(where.x() + 5, where.y() + 5)
            painter.drawLine(top, bottom)
            if piece.ending == "plateau":
                painter.drawLine(top, QPointF(top.x() - 3, top.y()))
                painter.drawLine(bottom, QPointF(bottom.x() - 3, bottom.y()))


def _between(a: QColor, b: QColor, share: float) -> QColor:
    return QColor.fromRgbF(
        *(float(x + (y - x) * share) for x, y in zip(a.getRgbF()[:3], b.getRgbF()[:3], strict=True))
    )


def _round(colour: QColor, width: float) -> QPen:
    return QPen(
        QBrush(colour), width, Qt.PenStyle.SolidLine, Qt.PenCapStyle.FlatCap, Qt.PenJoinStyle.RoundJoin
    )
