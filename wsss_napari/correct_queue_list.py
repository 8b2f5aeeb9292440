"""The review queue as a list: thumbnail, name, state, and why the image stands where it does; no widget a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import QAbstractListModel, QModelIndex, QPointF, QRect, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFont, QPainter, QPalette, QPen
from qtpy.QtWidgets import (
    QAbstractItemView,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from wsss_napari.correct_queue_rows import DECIDED, Ranked
from wsss_napari.image_list import PictureList, paint_picture
from wsss_napari.pages.correct_review import STATE_COLOURS
from wsss_napari.thumbnails import Thumbnails

__all__ = ["QueueList", "QueueModel"]

STATE_ROLE = Qt.ItemDataRole.UserRole + 1
REASON_ROLE = Qt.ItemDataRole.UserRole + 2

_PICTURE = QSize(68, 51)
_PAD = 5
# Enough to see that there is a list, where a low window or open filters leave no more.
_ROWS = 1.1


class QueueModel(QAbstractListModel):
    """The images of the queue, in order. It is told everything and asks nobody but the thumbnails."""

    def __init__(self, thumbnails: Thumbnails, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._thumbnails = thumbnails
        self._stems: list[str] = []
        self._place: dict[str, int] = {}
        self._states: dict[str, str] = {}
        self._ranks: Mapping[str, Ranked] = {}
        self._notes: Mapping[str, str] = {}
        thumbnails.arrived.connect(self.repaint_stem)

    @property
    def stems(self) -> list[str]:
        """The listed images, in order."""
        return self._stems

    def show(
        self,
        stems: Sequence[str],
        states: dict[str, str],
        ranks: Mapping[str, Ranked],
    ) -> None:
        """List these images; `states` has every one of them."""
        self.beginResetModel()
        self._stems, self._states, self._ranks = list(stems), states, ranks
        self._place = {stem: at for at, stem in enumerate(self._stems)}
        self.endResetModel()

    def repaint_stem(self, stem: str) -> None:
        """Repaint one image, if it is listed."""
        index = self.place(stem)
        if index.isValid():
            self.dataChanged.emit(index, index)

    def place(self, stem: str | None) -> QModelIndex:
        """Return where an image is listed; an invalid index when it is not."""
        at = self._place.get(stem) if stem is not None else None
        return QModelIndex() if at is None else self.index(at)

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        """Return how many images are listed."""
        return 0 if parent.isValid() else len(self._stems)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return an image's name, picture, state, reason or tooltip."""
        if not 0 <= index.row() < len(self._stems):
            return None
        stem = self._stems[index.row()]
        rank = self._ranks.get(stem)
        reason = rank.reason if rank is not None else ""
        if role == Qt.ItemDataRole.DisplayRole:
            return stem
        if role == Qt.ItemDataRole.DecorationRole:
            return self._thumbnails.get(stem)
        if role == STATE_ROLE:
            return self._states[stem]
        if role == REASON_ROLE:
            return reason
        if role == Qt.ItemDataRole.ToolTipRole:
            score = rank.score if rank is not None else None
            said = f"{reason} (score {score:.2f} of 1)" if score is not None else reason
            state = self._states[stem].capitalize()
            return "\n".join(t for t in (stem, state, said, self._thumbnails.fault(stem)) if t)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return ", ".join(t for t in (stem, self._states[stem], reason) if t)
        return None


class _Painter(QStyledItemDelegate):
    """Paints one row: picture on the left, name over state on the right, the reason as a chip."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.accent = QColor("#4560C4")

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        lines = 2 * (option.fontMetrics.height() + 4) + 4
        return QSize(120, max(_PICTURE.height(), lines) + 2 * _PAD)

    def paint(self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        if painter is None:
            return
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        row = option.rect
        ink = option.palette.color(QPalette.ColorRole.Text)
        if option.state & QStyle.StateFlag.State_Selected:
            ring = QColor(self.accent)
            painter.setPen(QPen(ring, 2))
            ring.setAlpha(50)
            painter.setBrush(ring)
            painter.drawRoundedRect(QRectF(row.adjusted(1, 1, -1, -1)), 4, 4)
        state = str(index.data(STATE_ROLE))
        done = state in DECIDED
        frame = QRect(row.left() + _PAD, row.center().y() - _PICTURE.height() // 2, *_size(_PICTURE))
        # Done images step back, so that the eye finds what is still to do.
        painter.setOpacity(0.5 if done else 1.0)
        paint_picture(painter, frame, index.data(Qt.ItemDataRole.DecorationRole), ink)
        painter.setOpacity(1.0)
        line = option.fontMetrics.height() + 4
        left = frame.right() + 10
        top = row.center().y() - line
        room = QRect(left, top, row.right() - _PAD - left, line)
        self._paint_head(painter, option, room, str(index.data()), state, ink)
        reason = str(index.data(REASON_ROLE) or "")
        if reason:
            below = QRect(left, top + line + 2, room.width(), line)
            _paint_reason(painter, option, below, reason, ink, faint=done)
        painter.restore()

    @staticmethod
    def _paint_head(
        painter: QPainter,
        option: QStyleOptionViewItem,
        room: QRect,
        name: str,
        state: str,
        ink: QColor,
    ) -> None:
        """Paint the name, and the state at the right end of the same line."""
        metrics = option.fontMetrics
        middle = Qt.AlignmentFlag.AlignVCenter
        wide = metrics.horizontalAdvance(state) + 15
        mark = QRect(room.right() - wide, room.top(), wide, room.height())
        shade = QColor(STATE_COLOURS[state])
        painter.setPen(QPen(shade, 1.4))
        painter.setBrush(shade if state != "unseen" else Qt.BrushStyle.NoBrush)
        painter.drawEllipse(QPointF(mark.left() + 4.5, mark.center().y() + 1), 3.6, 3.6)
        # The dot has the colour and the word says it: yellow words could not be read on white.
        words_ink = QColor(ink)
        words_ink.setAlphaF(0.75)
        painter.setPen(words_ink)
        painter.drawText(mark.adjusted(13, 0, 2, 0), middle | Qt.AlignmentFlag.AlignLeft, state)
        words = room.adjusted(0, 0, -wide - 8, 0)
        painter.setPen(ink)
        painter.drawText(words, middle, metrics.elidedText(name, Qt.TextElideMode.ElideMiddle, words.width()))


def _size(size: QSize) -> tuple[int, int]:
    return size.width(), size.height()


def _paint_reason(
    painter: QPainter, option: QStyleOptionViewItem, room: QRect, reason: str, ink: QColor, *, faint: bool
) -> None:
    """Paint why the image stands here as a chip as wide as its words."""
    font = QFont(option.font)
    if font.pointSizeF() > 0:
        font.setPointSizeF(max(7.0, font.pointSizeF() * 0.92))
    painter.setFont(font)
    metrics = painter.fontMetrics()
    text = metrics.elidedText(reason, Qt.TextElideMode.ElideRight, room.width() - 16)
    chip = QRectF(room.left(), room.top() + 0.5, metrics.horizontalAdvance(text) + 16, room.height() - 1)
    field = QColor(ink)
    field.setAlphaF(0.10)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(field)
    painter.drawRoundedRect(chip, chip.height() / 2, chip.height() / 2)
    words = QColor(ink)
    words.setAlphaF(0.6 if faint else 0.9)
    painter.setPen(words)
    painter.drawText(chip, Qt.AlignmentFlag.AlignCenter, text)


class QueueList(PictureList):
    """The view: one column, one image chosen, the one in front."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFlow(QListView.Flow.TopToBottom)
        self.setWrapping(False)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self.setMinimumHeight(round(_ROWS * (_PICTURE.height() + 2 * _PAD)))
        self.setAccessibleName("Review queue")
        self.setToolTip("Click an image to correct it")
        self.painter = _Painter(self)
        self.setItemDelegate(self.painter)

    def set_accent(self, colour: str) -> None:
        """Ring the chosen image in this colour."""
        self.painter.accent = QColor(colour)
        viewport = self.viewport()
        if viewport is not None:
            viewport.update()
