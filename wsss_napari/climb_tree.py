"""The climbs of one class in one image as a small tree: steps from left to right, a row a branch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QHelpEvent, QPainter, QPaintEvent
from qtpy.QtWidgets import QMenu, QScrollBar, QSizePolicy, QToolTip, QWidget

from engine.results import ClimbTrace
from wsss_napari.climb_ink import Ink, TreePainter
from wsss_napari.climb_rows import ClimbRows, Piece

__all__ = ["ClimbTree"]

MOST_ROWS = 6
_GAP = 10
_ENDED = {"finished": "finished", "stopped": "stopped", "plateau": "ended on a plateau", "": "unfinished"}
_HOW = "Click to show it, Ctrl+click to show it beside, right-click for more."


class ClimbTree(QWidget):
    """Chooses a climb and a step of it.

    A click on the path that is shown goes to that step of it; anywhere else it shows the climb
    that was clicked. Keys: left and right a step, up and down a row, Home and End, the menu key.

    Signals:
        chosen: (key of the climb, step) show this one.
        second_chosen: (key) show this one beside it.
        remove_asked: (key) remove this one.
    """

    chosen = Signal(str, int)
    second_chosen = Signal(str)
    remove_asked = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._traces: dict[str, ClimbTrace] = {}
        self._titles: dict[str, str] = {}
        self._chosen: str | None = None
        self._second: str | None = None
        self._step = 0
        self._hovered: int | None = None
        self._margin: float | None = None
        self.rows = ClimbRows({})
        self._ink = Ink.of({})
        self._bar = QScrollBar(Qt.Orientation.Vertical, self)
        self._bar.setAccessibleName("More climbs")
        self._bar.setToolTip("More climbs")
        self._bar.valueChanged.connect(lambda _value: self.update())
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Climbs of this class in this image")
        self._describe()
        self._fit()

    def show_traces(
        self,
        traces: Mapping[str, ClimbTrace],
        chosen: str | None,
        second: str | None,
        step: int,
        titles: Mapping[str, str],
    ) -> None:
        """Show climbs.

        Args:
            traces: Key -> climb; the key is what the signals tell.
            chosen: The climb that is shown, if any.
            second: The climb that is shown beside it, if any.
            step: The step that is shown.
            titles: Key -> what tells the climb from the one that it leaves.
        """
        fresh = chosen != self._chosen or list(traces) != list(self._traces)
        self._traces, self._titles = dict(traces), dict(titles)
        self._chosen = chosen if chosen in traces else None
        self._second = second if second in traces and second != chosen else None
        self._step = step
        self.rows = ClimbRows(traces)
        self._fit()
        if fresh and self._chosen is not None:
            self._bring(self.rows.pieces[self._chosen].row)
        self._describe()
        self.update()

    def set_step(self, step: int) -> None:
        """Move the ring to another step of the climb that is shown."""
        if step != self._step:
            self._step = step
            self._describe()
            self.update()

    def set_theme(self, colours: Mapping[str, str]) -> None:
        """Paint with the colours of a napari theme."""
        self._ink = Ink.of(colours)
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(300, self.height())

    def minimumSizeHint(self) -> QSize:
        return QSize(160, self.height())

    def spot(self, key: str, step: int) -> QPointF:
        """Return where a step of a climb is drawn, in widget px."""
        return QPointF(self._x(step), self._y(self.rows.pieces[key].row))

    def at(self, where: QPointF) -> tuple[Piece, int] | None:
        """Return the climb and the step under a point, or None between them."""
        row = self._row_at(where.y())
        pieces = [] if row is None else self.rows.in_row(row)
        if not pieces:
            return None
        if where.x() < self._left() - _GAP:  # on the name: the end of the row, at the step that is shown
            piece = pieces[-1]
            return piece, min(max(self._step, 0), max(piece.last, 0))
        step = self._step_at(where.x())
        piece = next((p for p in pieces if step <= p.last), pieces[-1])
        return piece, min(max(step, piece.first), max(piece.last, piece.at))

    def _line(self) -> int:
        return max(20, int(self.fontMetrics().height()) + 5)

    def _axis(self) -> int:
        return int(self.fontMetrics().height()) + 4

    def _left(self) -> float:
        if self._margin is None:  # asked for at every dot
            metrics = self.fontMetrics()
            texts = [f"{name}  {settings}" for name, settings in map(self._label, self.rows.pieces.values())]
            wide = max(map(metrics.horizontalAdvance, texts), default=0)
            self._margin = float(min(wide + 2 * _GAP, max(48, self.width() * 0.38)))
        return self._margin

    def _right(self) -> float:
        bar = self._bar.width() if self._bar.isVisibleTo(self) else 0
        return float(self.width() - _GAP - bar)

    def _x(self, step: float) -> float:
        left = self._left()
        return float(left + (self._right() - left) * step / max(1, self.rows.end))

    def _y(self, row: int) -> float:
        return row * self._line() + self._line() / 2 - self._bar.value()

    def _step_at(self, x: float) -> int:
        left = self._left()
        return round((x - left) / max(1.0, self._right() - left) * max(1, self.rows.end))

    def _row_at(self, y: float) -> int | None:
        if not 0 <= y < self.height() - self._axis():
            return None
        row = int((y + self._bar.value()) // self._line())
        return row if row < self.rows.rows else None

    def _label(self, piece: Piece) -> tuple[str, str]:
        """Return the name of a row and the settings behind it; sentences are for the tooltip."""
        settings = self._titles.get(piece.key, "").partition(": ")[2].partition(" · ")[0]
        return piece.key, settings

    def _fit(self) -> None:
        self._margin = None
        shown = max(1, min(self.rows.rows, MOST_ROWS))
        height = shown * self._line() + self._axis()
        hidden = max(0, self.rows.rows - MOST_ROWS) * self._line()
        self._bar.setRange(0, hidden)
        self._bar.setSingleStep(self._line())
        self._bar.setPageStep(shown * self._line())
        self._bar.setVisible(hidden > 0)
        if height != self.height():
            self.setFixedHeight(height)
        self._place_bar()

    def _place_bar(self) -> None:
        wide = self._bar.sizeHint().width()
        self._bar.setGeometry(self.width() - wide, 0, wide, self.height() - self._axis())

    def _bring(self, row: int) -> None:
        """Scroll so that a row is seen."""
        top, line = row * self._line(), self._line()
        seen = self.height() - self._axis()
        self._bar.setValue(min(max(self._bar.value(), top + line - seen), top))

    def _describe(self) -> None:
        count = len(self._traces)
        if not count:
            self.setAccessibleDescription("No climb yet")
        elif self._chosen is None:
            self.setAccessibleDescription(f"{count} climbs, none is shown")
        else:
            last = self.rows.pieces[self._chosen].last
            words = f"{count} climb{'s' * (count > 1)}; {self._chosen} is shown, step {self._step} of {last}"
            self.setAccessibleDescription(words + (f"; {self._second} beside it" if self._second else ""))

    def _tip(self, piece: Piece) -> str:
        title = self._titles.get(piece.key, "")
        lines = [f"{piece.key}: {title}" if title else piece.key]
        if piece.lost:
            lines.append("The climb that it goes on from is missing, so it cannot be shown.")
        if piece.last < piece.first:
            lines.append("No step of it is done yet.")
        else:
            lines.append(f"Steps {piece.first} to {piece.last}, {_ENDED[piece.ending]}.")
        return "\n".join([*lines, *([] if piece.lost else [_HOW])])

    def _choose(self, key: str, step: int) -> None:
        """Tell that a climb is wanted; on the path that is shown the climb stays the same."""
        span = self.rows.path(self._chosen).get(key)
        if self._chosen is not None and span is not None and span[0] <= step <= span[1]:
            key = self._chosen
        if self.rows.pieces[key].lost:
            return
        if key == self._chosen:
            self.set_step(step)
        self.chosen.emit(key, step)

    def mousePressEvent(self, event: Any) -> None:
        """Choose what is under the pointer."""
        found = self.at(QPointF(event.pos()))
        if event.button() != Qt.MouseButton.LeftButton or found is None:
            return
        piece, step = found
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._show_beside(piece.key)
        else:
            self._choose(piece.key, step)

    def mouseMoveEvent(self, event: Any) -> None:
        """Light the row under the pointer; with the button down scrub along the path that is shown."""
        if event.buttons() & Qt.MouseButton.LeftButton and self._chosen is not None:
            last = self.rows.pieces[self._chosen].last
            step = min(max(self._step_at(event.pos().x()), 0), max(last, 0))
            control = event.modifiers() & Qt.KeyboardModifier.ControlModifier
            if step != self._step and not control:
                self._choose(self._chosen, step)
            return
        row = self._row_at(event.pos().y())
        if row != self._hovered:
            self._hovered = row
            self.update()

    def leaveEvent(self, event: Any) -> None:
        self._hovered = None
        self.update()
        super().leaveEvent(event)

    def keyPressEvent(self, event: Any) -> None:
        """Move by step and by row."""
        key, chosen = event.key(), self._chosen
        if chosen is None:
            if key in (Qt.Key.Key_Up, Qt.Key.Key_Down) and self.rows.rows:
                self._choose(self.rows.in_row(0)[-1].key, 0)
            else:
                super().keyPressEvent(event)
            return
        last = max(self.rows.pieces[chosen].last, 0)
        to = {
            Qt.Key.Key_Left: self._step - 1,
            Qt.Key.Key_Right: self._step + 1,
            Qt.Key.Key_Home: 0,
            Qt.Key.Key_End: last,
        }
        if key in to:
            step = min(max(to[key], 0), last)
            if step != self._step:
                self._choose(chosen, step)
        elif key in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            row = self.rows.pieces[chosen].row + (1 if key == Qt.Key.Key_Down else -1)
            if 0 <= row < self.rows.rows:
                piece = self.rows.in_row(row)[-1]
                self._bring(row)
                self.chosen.emit(piece.key, min(self._step, max(piece.last, 0))) if not piece.lost else None
        else:
            super().keyPressEvent(event)

    def contextMenuEvent(self, event: Any) -> None:
        """Offer what can be done with the climb under the pointer, or with the one that is shown."""
        found = self.at(QPointF(event.pos())) if event.reason() == event.Reason.Mouse else None
        key = found[0].key if found is not None else self._chosen
        if key is not None:
            self.menu(key).popup(event.globalPos())

    def menu(self, key: str) -> QMenu:
        """Return the context menu of a climb."""
        menu, piece = QMenu(self), self.rows.pieces[key]
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        show = menu.addAction(f"Show {key}")
        show.setEnabled(key != self._chosen and not piece.lost)
        show.triggered.connect(lambda _=False: self.chosen.emit(key, min(self._step, max(piece.last, 0))))
        beside = menu.addAction("Show beside")
        beside.setEnabled(key not in (self._chosen, self._second) and not piece.lost)
        beside.triggered.connect(lambda _=False: self._show_beside(key))
        menu.addSeparator()
        remove = menu.addAction("Remove")
        remove.triggered.connect(lambda _=False: self.remove_asked.emit(key))
        return menu

    def _show_beside(self, key: str) -> None:
        if key != self._chosen and not self.rows.pieces[key].lost:
            self.second_chosen.emit(key)

    def event(self, event: QEvent | None) -> bool:
        """Tell about the climb under the pointer."""
        if isinstance(event, QHelpEvent):
            found = self.at(QPointF(event.pos()))
            QToolTip.showText(event.globalPos(), self._tip(found[0]) if found is not None else "", self)
            return True
        return bool(super().event(event))

    def wheelEvent(self, event: Any) -> None:
        """Scroll the rows; without more of them the page scrolls."""
        if self._bar.maximum() > 0:
            self._bar.event(event)
        else:
            super().wheelEvent(event)

    def resizeEvent(self, event: Any) -> None:
        super().resizeEvent(event)
        self._margin = None
        self._place_bar()

    def changeEvent(self, event: Any) -> None:
        """Make room for another font."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._fit()

    def focusInEvent(self, event: Any) -> None:
        super().focusInEvent(event)
        self.update()

    def focusOutEvent(self, event: Any) -> None:
        super().focusOutEvent(event)
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint the tree."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        drawing = TreePainter(painter, self._ink, self.rows, self._x, self._y, self._line())
        room = QRectF(0, 0, self._right() + _GAP, self.height() - self._axis())
        if not self.rows.pieces:
            drawing.empty(QRectF(self.rect()))
        else:
            drawing.axis(room, self._axis(), self._step, self._chosen is not None)
            painter.save()
            painter.setClipRect(room)
            shown = self.rows.pieces.get(self._chosen or "")
            drawing.row_ground(room, self._hovered, None if shown is None else shown.row)
            drawing.lines(self._chosen, self._second)
            drawing.dots(self._chosen)
            drawing.rings(self._chosen, self._second, self._step)
            wide = self._left() - 1.5 * _GAP
            for row in range(self.rows.rows):
                pieces = self.rows.in_row(row)
                here = shown is not None and shown.row == row
                name, settings = self._label(shown if here and shown is not None else pieces[-1])
                if len(pieces) > 1 and not here:
                    name = f"{pieces[0].key} … {name}"
                box = QRectF(_GAP / 2, self._y(row) - self._line() / 2, wide, self._line())
                drawing.label(box, name, settings, strong=here)
            painter.restore()
        if self.hasFocus():
            drawing.focus(QRectF(self.rect()))
        painter.end()
