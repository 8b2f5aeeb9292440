"""Tables of figures in which a figure is a bar behind its number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

__all__ = ["VALUE", "figure", "figure_table", "fit_rows"]

VALUE = Qt.ItemDataRole.UserRole
_ROW = 22
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class _Bar(QStyledItemDelegate):
    """Paints the share of a cell as a bar behind its text."""

    def paint(self, painter: Any, option: Any, index: Any) -> None:
        option = QStyleOptionViewItem(option)
        if option.state & QStyle.StateFlag.State_Selected:
            # The style would paint the selection over the bar.
            option.state &= ~QStyle.StateFlag.State_Selected
            shade = QColor(option.palette.highlight().color())
            shade.setAlphaF(0.45)
            painter.fillRect(option.rect, shade)
        value = index.data(VALUE)
        if value is not None:
            shade = QColor("#0072B2")
            shade.setAlphaF(0.55)
            box = QRectF(option.rect).adjusted(2, 3, -2, -3)
            painter.fillRect(QRectF(box.left(), box.top(), box.width() * value, box.height()), shade)
        super().paint(painter, option, index)


def figure_table(headers: Sequence[str], name: str, parent: QWidget) -> QTableWidget:
    """Return an empty table, as high as its rows, whose first column is text and the others figures.

    Args:
        headers: Of the columns.
        name: For screen readers.
        parent: Its owner.
    """
    table = QTableWidget(0, len(headers), parent)
    table.setHorizontalHeaderLabels(list(headers))
    table.verticalHeader().hide()
    table.verticalHeader().setDefaultSectionSize(_ROW)
    table.setShowGrid(False)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
    table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    table.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    table.setAccessibleName(name)
    header = table.horizontalHeader()
    header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
    header.setHighlightSections(False)
    for column in range(1, len(headers)):
        table.horizontalHeaderItem(column).setTextAlignment(_RIGHT)
    table.setItemDelegate(_Bar(table))
    return table


def fit_rows(table: QTableWidget) -> None:
    """Make the table as high as what it holds."""
    table.setFixedHeight(table.horizontalHeader().sizeHint().height() + table.rowCount() * _ROW + 4)


def figure(value: float | None, text: str | None = None, *, bar: bool = True) -> QTableWidgetItem:
    """Return the cell of a share in [0, 1]; None is a dash.

    Args:
        value: The share.
        text: What it says; three decimals by default.
        bar: Whether a bar stands behind it.
    """
    shown = text if text is not None else "–" if value is None else f"{value:.3f}"
    item = QTableWidgetItem(shown)
    item.setData(VALUE, value if bar else None)
    item.setTextAlignment(_RIGHT)
    return item
