"""Figures of the mask in front: area of each class, and with truth how right it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from wsss_napari.palette import UNSURE

__all__ = ["Readouts", "Row", "rows_of"]

_ROW = 20


@dataclass(frozen=True)
class Row:
    """One line; shares in [0, 1], None where there is nothing to say."""

    name: str
    colour: str | None
    area: float
    iou: float | None = None
    precision: float | None = None
    recall: float | None = None


def rows_of(
    areas: Mapping[int, float],
    classes: Sequence[str],
    colours: Sequence[str],
    report: Mapping[str, Any] | None,
) -> list[Row]:
    """Return the lines: background, each class in the mask or in the truth, unsure.

    Args:
        areas: Mask value -> share (see `mask_view.shares`).
        classes: Names of the project's classes.
        colours: `#RRGGBB` of each.
        report: Of `engine.metrics.image_report`, or None without truth.
    """
    figures = report["classes"] if report is not None else {}
    rows = []
    for value, name in enumerate(["background", *classes]):
        if value and not areas.get(value) and name not in figures:
            continue
        own = figures.get(name, {})
        colour = colours[value - 1] if value else None
        rows.append(
            Row(name, colour, areas.get(value, 0.0), own.get("iou"), own.get("precision"), own.get("recall"))
        )
    if UNSURE in areas:
        rows.append(Row("unsure", "#F2F2F2", areas[UNSURE]))
    return rows


class Readouts(QWidget):
    """A small table without scroll bars."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.table = QTableWidget(0, 5, self)
        heads = (
            ("", "Mean IoU over the background and the classes in this image's truth"),
            ("Area", "Share of the image"),
            ("IoU", "Intersection over union with the truth"),
            ("Precision", "Share of the pixels given to the class that are right"),
            ("Recall", "Share of the class's pixels that were found"),
        )
        self.table.setHorizontalHeaderLabels([h for h, _ in heads])
        for column, (_, tip) in enumerate(heads):
            self.table.horizontalHeaderItem(column).setToolTip(tip)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setHighlightSections(False)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.table.horizontalHeaderItem(0).setTextAlignment(
            Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        )
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(_ROW)
        self.table.setShowGrid(False)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.table.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.table.setAccessibleName("Figures of the mask")
        self.line = QLabel("This image has no truth mask, so nothing says how right the mask is.", self)
        self.line.setProperty("wsss", "note")
        self.line.setWordWrap(True)
        column_box = QVBoxLayout(self)
        column_box.setContentsMargins(0, 0, 0, 0)
        column_box.setSpacing(4)
        column_box.addWidget(self.table)
        column_box.addWidget(self.line)

    def show_rows(self, rows: Sequence[Row], miou: float | None, *, truth: bool) -> None:
        """Show these lines.

        Args:
            rows: Of `rows_of`.
            miou: Mean IoU of this image.
            truth: Whether the image has a truth mask.
        """
        self.table.setRowCount(len(rows))
        for at, row in enumerate(rows):
            name = QTableWidgetItem(row.name)
            if row.colour is not None:
                name.setIcon(_dot(row.colour))
            self.table.setItem(at, 0, name)
            figures = (_percent(row.area), _figure(row.iou), _figure(row.precision), _figure(row.recall))
            for column, text in enumerate(figures, start=1):
                item = QTableWidgetItem(text)
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.table.setItem(at, column, item)
        for column in (2, 3, 4):
            self.table.setColumnHidden(column, not truth)
        self.table.setFixedHeight(self.table.horizontalHeader().sizeHint().height() + len(rows) * _ROW + 4)
        self.table.horizontalHeaderItem(0).setText(f"mIoU {_figure(miou)}" if truth else "")
        self.line.setVisible(not truth)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _dot(colour: str) -> QIcon:
    picture = QPixmap(12, 12)
    picture.fill(QColor(0, 0, 0, 0))
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setBrush(QColor(colour))
    painter.setPen(QColor(0, 0, 0, 90))
    painter.drawEllipse(1, 1, 10, 10)
    painter.end()
    return QIcon(picture)
