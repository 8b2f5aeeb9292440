"""The table of stages: a seed and its refinements, measured over the same images."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from wsss_napari.bar_cells import figure, figure_table, fit_rows

__all__ = ["StagesTable", "gains", "stages_csv"]

_KEYS = ("precision", "recall", "noise")
_TIPS = {
    2: "Points of mIoU above the first row",
    3: "Precision",
    5: "Share of the foreground that is background in truth",
}


def gains(rows: Sequence[Mapping[str, Any]]) -> list[float | None]:
    """Return by how many points of mIoU each stage exceeds the first; None for the first itself."""
    first = rows[0]["miou"] if rows else None
    found: list[float | None] = []
    for k, row in enumerate(rows):
        known = k > 0 and first is not None and row["miou"] is not None
        found.append(100 * (row["miou"] - first) if known else None)
    return found


def stages_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table as CSV: shares in [0, 1], the gain in points, unknown figures empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["stage", "maps", "miou", "gain", *_KEYS, "threshold", "images"])
    for row, gain in zip(rows, gains(rows), strict=True):
        values = [row["miou"], None if gain is None else round(gain, 6), *(row[key] for key in _KEYS)]
        writer.writerow([row["name"], row["source"], *values, row["threshold"], row["images"]])
    return text.getvalue()


class StagesTable(QWidget):
    """One row a stage; a click or the arrow keys choose one.

    Signals:
        chosen: Index of the stage.
        said: (level, sentence) for a notice.
    """

    chosen = Signal(int)
    said = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows: list[Mapping[str, Any]] = []
        headers = ["Stage", "mIoU", "Gain", "Prec.", "Recall", "Noise"]
        self.table = figure_table(headers, "Stages", self)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        # Tab goes on to the next widget; the arrow keys go through the rows.
        self.table.setTabKeyNavigation(False)
        for column, tip in _TIPS.items():
            self.table.horizontalHeaderItem(column).setToolTip(tip)
        # What is left goes to the names: chains of refiners are long.
        header = self.table.horizontalHeader()
        for column in range(1, len(headers)):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Fixed)
        header.resizeSection(1, 64)
        self.table.currentCellChanged.connect(self._moved)
        self.note = QLabel(self)
        self.note.setWordWrap(True)
        self.note.setProperty("wsss", "warning")
        self.copy = QPushButton("Copy as CSV", self)
        self.copy.setProperty("wsss", "quiet")
        self.copy.setToolTip("Put the table on the clipboard for a spreadsheet")
        self.copy.clicked.connect(self._copy)
        hint = QLabel("Click a row to see its classes below.", self)
        hint.setProperty("wsss", "note")
        below = QHBoxLayout()
        below.addWidget(hint, 1)
        below.addWidget(self.copy)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.table)
        column.addLayout(below)
        column.addWidget(self.note)
        self.show_stages([], [])

    def show_stages(self, rows: Sequence[Mapping[str, Any]], left_out: Sequence[str]) -> None:
        """Show the stages, the first of them chosen, and what is left out; without any, hide."""
        self.rows = list(rows)
        times: Counter[str] = Counter()
        with QSignalBlocker(self.table):
            self.table.setRowCount(len(rows))
            for at, (row, gain) in enumerate(zip(rows, gains(rows), strict=True)):
                place = row["source"].removesuffix("/default")
                times[row["name"]] += 1
                again = times[row["name"]]
                name = row["name"] if again == 1 else f"{row['name']} ({again})"
                cut = "" if row["threshold"] is None else f", threshold {row['threshold']:g}"
                cells = [
                    QTableWidgetItem(name),
                    figure(row["miou"]),
                    figure(gain, "" if gain is None else f"{gain:+.1f}", bar=False),
                    *(figure(row[key], bar=False) for key in _KEYS),
                ]
                for column, cell in enumerate(cells):
                    cell.setToolTip(f"{row['name']}: maps of {place}, {row['images']} images{cut}")
                    self.table.setItem(at, column, cell)
            self.table.setCurrentCell(0 if rows else -1, 0)
        fit_rows(self.table)
        self.note.setText("\n".join(left_out))
        self.note.setVisible(bool(left_out))
        self.setVisible(bool(rows))

    def _moved(self, row: int, _column: int, before: int, _before: int) -> None:
        if row >= 0 and row != before:
            self.chosen.emit(row)

    def _copy(self) -> None:
        clipboard = QGuiApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(stages_csv(self.rows))
            self.said.emit("info", f"Copied {len(self.rows)} stages as CSV.")
