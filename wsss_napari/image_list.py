"""The list of images as thumbnails with their tags under them: one model, one painter, no widget a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QAbstractListModel, QItemSelectionModel, QModelIndex, QRect, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QKeyEvent, QPainter, QPalette, QPen, QPixmap, QResizeEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from engine.tags import ABSENT, PRESENT, UNKNOWN, Tags
from wsss_napari.chips import paint_chip
from wsss_napari.thumbnails import Thumbnails

__all__ = ["ANY", "STATE_FILTERS", "ImageList", "ImageModel", "PictureList", "matching", "paint_picture"]

ANY = "any"
# Name -> what it means; with a class chosen it means that class, else all of them together.
STATE_FILTERS: dict[str, str] = {
    ANY: "Every image",
    "untagged": "Nothing said yet",
    "present": "Class present",
    "absent": "Class absent",
    "unknown": "Class unknown",
}
STATES_ROLE = Qt.ItemDataRole.UserRole + 1

_PICTURE = 92
_CELL = 104
_CHIP_LINES = 2


def matching(tags: Tags, state: str = ANY, cls: int | None = None, text: str = "") -> NDArray[np.intp]:
    """Return the rows of the images that pass the filters, ascending.

    Args:
        tags: Tags of all images.
        state: A key of STATE_FILTERS. `present`, `absent` and `unknown` look at `cls`; without
            one they mean any class present, no class present though all are decided, and any
            class unknown.
        cls: 0-based class, or None.
        text: Part of the name, in any case.
    """
    states = tags.states
    keep = np.ones(len(tags.stems), bool)
    if state == "untagged":
        keep = (states == UNKNOWN).all(axis=1)
    elif state == "present":
        keep = (states == PRESENT).any(axis=1) if cls is None else states[:, cls] == PRESENT
    elif state == "absent":
        keep = (states == ABSENT).all(axis=1) if cls is None else states[:, cls] == ABSENT
    elif state == "unknown":
        keep = (states == UNKNOWN).any(axis=1) if cls is None else states[:, cls] == UNKNOWN
    rows = np.flatnonzero(keep)
    wanted = text.strip().casefold()
    if wanted:
        stems = tags.stems
        rows = np.array([r for r in rows if wanted in stems[r].casefold()], np.intp)
    return rows


class ImageModel(QAbstractListModel):
    """The images that pass the filters. It reads the project's tags and never changes them."""

    def __init__(self, thumbnails: Thumbnails, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._thumbnails = thumbnails
        self._tags: Tags | None = None
        self._rows: NDArray[np.intp] = np.zeros(0, np.intp)
        self._place: dict[str, int] = {}
        thumbnails.arrived.connect(self.repaint_stem)

    @property
    def tags(self) -> Tags | None:
        """The tags as last shown."""
        return self._tags

    @property
    def stems(self) -> list[str]:
        """Names of the listed images."""
        tags = self._tags
        return [] if tags is None else [tags.stems[r] for r in self._rows]

    def show(self, tags: Tags | None, rows: NDArray[np.intp]) -> None:
        """List these rows of the tags."""
        self.beginResetModel()
        self._tags, self._rows = tags, rows
        self._place = {stem: i for i, stem in enumerate(self.stems)}
        self.endResetModel()

    def update_tags(self, tags: Tags, stems: Sequence[str]) -> None:
        """Repaint images whose tags changed; the list stays as it is, so nothing jumps away mid-work."""
        self._tags = tags
        for stem in stems:
            self.repaint_stem(stem)

    def repaint_stem(self, stem: str) -> None:
        """Repaint one image, if it is listed."""
        at = self._place.get(stem)
        if at is not None:
            index = self.index(at)
            self.dataChanged.emit(index, index)

    def place(self, stem: str | None) -> QModelIndex:
        """Return where an image is listed; an invalid index when it is not."""
        at = self._place.get(stem) if stem is not None else None
        return QModelIndex() if at is None else self.index(at)

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        """Return how many images are listed."""
        return 0 if parent.isValid() else len(self._rows)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return an image's name, picture, tooltip or states."""
        if self._tags is None or not 0 <= index.row() < len(self._rows):
            return None
        row = self._rows[index.row()]
        stem = self._tags.stems[row]
        if role == Qt.ItemDataRole.DisplayRole:
            return stem
        if role == Qt.ItemDataRole.DecorationRole:
            return self._thumbnails.get(stem)
        if role == STATES_ROLE:
            return self._tags.states[row]
        if role == Qt.ItemDataRole.ToolTipRole:
            return "\n".join((stem, *self._sentences(row), self._thumbnails.fault(stem))).strip()
        return None

    def _sentences(self, row: int) -> list[str]:
        assert self._tags is not None
        found = []
        for word, state in (("Present", PRESENT), ("Absent", ABSENT), ("Unknown", UNKNOWN)):
            names = [n for n, s in zip(self._tags.classes, self._tags.states[row], strict=True) if s == state]
            if names:
                more = f" and {len(names) - 8} more" if len(names) > 8 else ""
                found.append(f"{word}: {', '.join(names[:8])}{more}")
        return found


class _Painter(QStyledItemDelegate):
    """Paints one image: picture, name, chips of the classes that are present."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.colours: tuple[str, ...] = ()
        self.accent = QColor("#4560C4")
        self.wide = _CELL
        self.lines = 1

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        return QSize(self.wide, _PICTURE + 8 + self._line(option) * (1 + self.lines) + 8)

    @staticmethod
    def _line(option: QStyleOptionViewItem) -> int:
        return option.fontMetrics.height() + 2

    def paint(self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        if painter is None:
            return
        painter.save()
        cell = option.rect.adjusted(2, 2, -2, -2)
        ink = option.palette.color(QPalette.ColorRole.Text)
        if option.state & QStyle.StateFlag.State_Selected:
            ring = QColor(self.accent)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(ring, 2))
            ring.setAlpha(50)
            painter.setBrush(ring)
            painter.drawRoundedRect(QRectF(cell), 4, 4)
        frame = QRect(cell.left() + 4, cell.top() + 4, cell.width() - 8, _PICTURE)
        paint_picture(painter, frame, index.data(Qt.ItemDataRole.DecorationRole), ink)
        line = self._line(option)
        name = QRect(cell.left() + 4, frame.bottom() + 2, cell.width() - 8, line)
        painter.setPen(ink)
        text = option.fontMetrics.elidedText(str(index.data()), Qt.TextElideMode.ElideMiddle, name.width())
        painter.drawText(name, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignVCenter, text)
        chips = QRect(name.left(), name.bottom() + 1, name.width(), line * self.lines)
        self._paint_chips(painter, option, index, chips, ink, line)
        painter.restore()

    def _paint_chips(
        self,
        painter: QPainter,
        option: QStyleOptionViewItem,
        index: QModelIndex,
        room: QRect,
        ink: QColor,
        line: int,
    ) -> None:
        states = index.data(STATES_ROLE)
        tags = index.model().tags if index.model() is not None else None
        if states is None or tags is None or len(states) != len(self.colours):
            return
        present = np.flatnonzero(states == PRESENT)
        if not len(present):
            note = QColor(ink)
            note.setAlphaF(0.6)
            painter.setPen(note)
            words = "untagged" if (states == UNKNOWN).any() else "background"
            painter.drawText(room, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop, words)
            return
        x, y = room.left(), room.top()
        for n, cls in enumerate(present):
            left = len(present) - n
            wide = min(option.fontMetrics.horizontalAdvance(tags.classes[cls]) + line + 4, room.width())
            if x + wide > room.right() + 1 and x > room.left():
                x, y = room.left(), y + line
            if y + line > room.bottom() + 2:
                return
            last = y + 2 * line > room.bottom() + 2 and left > 1 and x + wide + 30 > room.right()
            if last:
                painter.setPen(ink)
                painter.drawText(
                    QRect(x, y, room.right() - x, line), Qt.AlignmentFlag.AlignVCenter, f"+ {left}"
                )
                return
            paint_chip(painter, QRectF(x, y, wide, line), tags.classes[cls], self.colours[cls], PRESENT, ink)
            x += wide + 2


def paint_picture(painter: QPainter, frame: QRect, picture: QPixmap | None, ink: QColor) -> None:
    """Paint a picture as large as the frame allows, or a faint field while it is being read."""
    if picture is None:
        faint = QColor(ink)
        faint.setAlpha(30)
        painter.fillRect(frame, faint)
        return
    size = picture.size().scaled(frame.size(), Qt.AspectRatioMode.KeepAspectRatio)
    place = QRect(0, 0, size.width(), size.height())
    place.moveCenter(frame.center())
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    painter.drawPixmap(place, picture)


class PictureList(QListView):
    """A list that is painted row by row. Keys that it has no use for go on to the page's key table."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setUniformItemSizes(True)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setProperty("wsss", "images")

    def chosen(self) -> list[str]:
        """Return the names of the chosen images, in the list's order."""
        model = self.selectionModel()
        if model is None:
            return []
        return [str(i.data()) for i in sorted(model.selectedIndexes(), key=lambda i: i.row())]

    def choose(self, index: QModelIndex) -> None:
        """Choose one image and bring it into view; an invalid index chooses none."""
        model = self.selectionModel()
        if model is None:
            return
        if not index.isValid():
            model.clearSelection()
            return
        model.setCurrentIndex(index, QItemSelectionModel.SelectionFlag.ClearAndSelect)
        self.scrollTo(index)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Keep the keys that move through the list, pass on the others."""
        if event is None:
            return
        keys = Qt.Key
        moves = (keys.Key_Up, keys.Key_Down, keys.Key_Left, keys.Key_Right, keys.Key_Home, keys.Key_End)
        pages = (keys.Key_PageUp, keys.Key_PageDown)
        control = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        if event.key() in moves + pages or (control and event.key() == keys.Key_A):
            super().keyPressEvent(event)
        else:
            event.ignore()


class ImageList(PictureList):
    """The thumbnails of the Tags page: as many columns as fit, several of them chosen together."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setViewMode(QListView.ViewMode.ListMode)
        self.setFlow(QListView.Flow.LeftToRight)
        self.setWrapping(True)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setMinimumHeight(2 * _PICTURE)
        self.painter = _Painter(self)
        self.setItemDelegate(self.painter)
        self.setToolTip("Click an image to show it; Ctrl or Shift to choose several and tag them together")

    def set_colours(self, colours: tuple[str, ...], accent: str, most: int) -> None:
        """Paint chips in these colours, on two lines when an image shows as many as `most` > 2 classes."""
        lines = 1 if most <= 2 else _CHIP_LINES
        if lines != self.painter.lines:
            self.painter.lines = lines
            self.scheduleDelayedItemsLayout()
        self.painter.colours = colours
        self.painter.accent = QColor(accent)
        viewport = self.viewport()
        if viewport is not None:
            viewport.update()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Fill the width with whole cells."""
        viewport = self.viewport()
        width = viewport.width() if viewport is not None else self.width()
        columns = max(1, (width - 2) // _CELL)
        self.painter.wide = max(60, (width - 2) // columns)
        super().resizeEvent(event)
