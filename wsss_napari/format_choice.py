"""The choice of a dataset format: each with the programs that read it, and one line on what it cannot hold."""

from __future__ import annotations

from collections import Counter

from qtpy.QtCore import QModelIndex, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPalette
from qtpy.QtWidgets import QComboBox, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from engine.formats import Format, formats

__all__ = ["FormatChoice", "lacks"]

_LACKS = Qt.ItemDataRole.UserRole + 1
_TITLE = Qt.ItemDataRole.UserRole + 2
_WIDTH = 470


def lacks(form: Format, others: dict[str, Format]) -> str:
    """Return what a format cannot hold as one line, what sets it apart from the others first.

    What none of its kind can hold is left to the tooltip and the report, unless there is nothing else.
    """
    alike = [f for f in others.values() if f.kind == form.kind]
    shared = Counter(text for f in alike for text in f.loses)
    own = [text for text in form.loses if shared[text] < len(alike)] or list(form.loses)
    short = [text.split(":")[0].rstrip(".") for text in sorted(own, key=lambda t: shared[t])]
    return "Cannot hold: " + "; ".join(t[:1].lower() + t[1:] for t in short) if short else "Holds everything"


class FormatChoice(QComboBox):
    """All formats, those of masks first. The closed box shows the title; the list shows what each lacks."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        every = formats()
        # Masks are what most people came for; maps are for those who go on with other code.
        for name, form in sorted(
            every.items(), key=lambda item: (item[1].kind != "masks", item[1].title.casefold())
        ):
            # The closed box is as narrow as the dock: the programs that read it stand in the list.
            self.addItem(form.title.split(" (")[0], name)
            at = self.count() - 1
            self.setItemData(at, form.title, _TITLE)
            self.setItemData(at, lacks(form, every), _LACKS)
            tip = "\n".join((form.holds, "", "Not in it:", *(f"• {text}" for text in form.loses)))
            self.setItemData(at, tip, Qt.ItemDataRole.ToolTipRole)
        self.setCurrentIndex(max(0, self.findData("voc")))
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(10)
        self.setMaxVisibleItems(20)
        self.setItemDelegate(_TwoLines(self))

    @property
    def form(self) -> Format:
        """The chosen format."""
        return formats()[self.currentData()]

    def choose(self, name: str) -> None:
        """Choose a format by name."""
        self.setCurrentIndex(self.findData(name))

    def showPopup(self) -> None:
        """Open the list wide enough to read; Qt moves it to the left when it would leave the screen."""
        view, screen = self.view(), self.screen()
        if view is not None and screen is not None:
            view.setMinimumWidth(max(self.width(), min(_WIDTH, screen.availableGeometry().width())))
        super().showPopup()


class _TwoLines(QStyledItemDelegate):
    """Paints title over what is lacking."""

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        return QSize(200, 2 * option.fontMetrics.height() + 10)

    def paint(self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        if painter is None:
            return
        painter.save()
        chosen = bool(option.state & QStyle.StateFlag.State_Selected)
        palette = option.palette
        if chosen:
            painter.fillRect(option.rect, palette.color(QPalette.ColorRole.Highlight))
        role = QPalette.ColorRole.HighlightedText if chosen else QPalette.ColorRole.Text
        ink = QColor(palette.color(role))
        room = option.rect.adjusted(8, 4, -8, -4)
        line = option.fontMetrics.height()
        painter.setPen(ink)
        title = option.fontMetrics.elidedText(
            str(index.data(_TITLE)), Qt.TextElideMode.ElideRight, room.width()
        )
        painter.drawText(room.adjusted(0, 0, 0, -line), Qt.AlignmentFlag.AlignVCenter, title)
        ink.setAlphaF(0.7)
        painter.setPen(ink)
        words = option.fontMetrics.elidedText(
            str(index.data(_LACKS)), Qt.TextElideMode.ElideRight, room.width()
        )
        painter.drawText(room.adjusted(0, line + 2, 0, 0), Qt.AlignmentFlag.AlignVCenter, words)
        painter.restore()
