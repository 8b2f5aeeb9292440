"""Measure masks or maps against the truth: figures per class, confusion, the curve over the threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtpy.QtCore import QRectF, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QGridLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QStyledItemDelegate,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from engine.messages import Evaluate, Event, Finished
from engine.store import label_sets, runs_of
from wsss_napari.confusion import ConfusionPicture, cell_sentence
from wsss_napari.desk import Desk
from wsss_napari.map_files import OTHERS, views_title
from wsss_napari.sweep_curve import SweepCurve

__all__ = ["Measure", "summary"]

_ROW = 22
_VALUE = Qt.ItemDataRole.UserRole


def summary(result: Mapping[str, Any]) -> str:
    """Return the main figures as one sentence."""
    parts = [f"{words} {result[k]:.3f}" for k, words in _FIGURES if result.get(k) is not None]
    parts.append(f"{result['images']} images")
    text = " · ".join(parts)
    if "curve" in result:
        text += f". Best threshold {result['threshold']:g}, chosen with the truth, so this is an upper bound."
    elif result.get("threshold") is not None:
        text += f". Threshold {result['threshold']:g}."
    return text


_FIGURES = (("miou", "mIoU"), ("precision", "precision"), ("recall", "recall"), ("noise", "noise"))


class _Bar(QStyledItemDelegate):
    """Paints the figure of a cell as a bar behind its text."""

    def paint(self, painter: Any, option: Any, index: Any) -> None:
        value = index.data(_VALUE)
        if value is not None:
            shade = QColor("#0072B2")
            shade.setAlphaF(0.55)
            box = QRectF(option.rect).adjusted(2, 3, -2, -3)
            painter.fillRect(QRectF(box.left(), box.top(), box.width() * value, box.height()), shade)
        super().paint(painter, option, index)


class Measure(QWidget):
    """What is measured, the button, and the result.

    Signals:
        measured: A result came.
    """

    measured = Signal()

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk = desk
        self.session = desk.session
        self.result: dict[str, Any] | None = None
        self.curve = SweepCurve()
        self._working = False
        self.what = QComboBox(self)
        self.what.setToolTip("Labels are measured as they are; maps at every threshold, and the best is told")
        self.split = QComboBox(self)
        self.split.setToolTip("Images that are measured; those without truth are left out")
        for box in (self.what, self.split):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(8)
            box.currentIndexChanged.connect(self._show_button)
        self.go = QPushButton("Measure", self)
        self.go.clicked.connect(self.start)
        self.note = QLabel(self)
        self.note.setWordWrap(True)
        self.note.setProperty("wsss", "note")
        self.table = QTableWidget(0, 4, self)
        self._build_table()
        self.matrix = ConfusionPicture(self)
        self.matrix.picked.connect(self._explain)
        self.cell = QLabel("Click a cell to read it.", self)
        self.cell.setWordWrap(True)
        self.cell.setProperty("wsss", "note")
        grid = QGridLayout()
        grid.setHorizontalSpacing(6)
        grid.addWidget(QLabel("Of", self), 0, 0)
        grid.addWidget(self.what, 0, 1, 1, 2)
        grid.addWidget(QLabel("Split", self), 1, 0)
        grid.addWidget(self.split, 1, 1)
        grid.addWidget(self.go, 1, 2)
        grid.setColumnStretch(1, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(grid)
        for widget in (self.note, self.table, self.matrix, self.cell):
            column.addWidget(widget)
        self._show_result()

    def refresh(self) -> None:
        """Offer what the project has now, keeping what is chosen."""
        project = self.session.project
        chosen, split = self.what.currentData(), self.split.currentData()
        self.what.clear()
        self.split.clear()
        if project is None:
            return
        for labels in label_sets(project.root, project.colours):
            self.what.addItem(f"Labels {labels.name}", f"labels:{labels.name}")
        for run in reversed(runs_of(project.root)):
            for views in run.all_views():
                if views.name != OTHERS and views.has_maps:
                    source = run.id if views.name == "default" else str(views)
                    self.what.addItem(f"Maps of {views_title(views)}", f"source:{source}")
        for text, data in (("all images", None), *((name, name) for name in project.splits)):
            self.split.addItem(text, data)
        self.what.setCurrentIndex(max(0, self.what.findData(chosen)))
        self.split.setCurrentIndex(max(0, self.split.findData(split)))
        self._show_button()

    def job(self) -> Evaluate | None:
        """Return the job of what is chosen."""
        chosen = self.what.currentData()
        project = self.session.project
        if chosen is None or project is None or project.truth_place is None:
            return None
        kind, _, name = chosen.partition(":")
        return self.desk.job(Evaluate, **{kind: name}, sweep=kind == "source", split=self.split.currentData())

    def start(self) -> None:
        """Measure what is chosen."""
        job = self.job()
        if job is not None:
            self._working = bool(self.desk.submit(job, then=self._take))
            self._show_button()

    def clear(self) -> None:
        """Forget the result, as when another project is opened."""
        self.result = None
        self._show_result()

    def _take(self, ending: Event) -> None:
        self._working = False
        self._show_button()
        if isinstance(ending, Finished):
            self.result = ending.result
            self._show_result()
            self.measured.emit()

    def _show_button(self, _index: int = 0) -> None:
        project = self.session.project
        why = ""
        if project is not None and project.truth_place is None:
            why = "This project has no truth masks, so nothing can be measured. Export needs none."
        elif self.what.count() == 0:
            why = "There are no labels and no maps yet. Make some on the Explore page."
        self.go.setEnabled(not why and not self._working)
        self.go.setToolTip(why or "Compare with the truth masks, all pixels of the split in one count")
        if self.result is None:
            self.note.setText(why)
            self.note.setVisible(bool(why))

    def _build_table(self) -> None:
        table = self.table
        table.setHorizontalHeaderLabels(["Class", "IoU", "Precision", "Recall"])
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(_ROW)
        table.setShowGrid(False)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        table.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        table.setAccessibleName("Figures per class")
        header = table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setHighlightSections(False)
        for column in range(1, 4):
            table.horizontalHeaderItem(column).setTextAlignment(
                Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            )
        table.setItemDelegate(_Bar(table))

    def _show_result(self) -> None:
        result = self.result
        for widget in (self.table, self.matrix, self.cell):
            widget.setVisible(result is not None)
        if result is None:
            self._show_button()
            return
        self.note.setText(summary(result))
        self.note.show()
        names = result["classes"]
        self.table.setRowCount(len(names))
        for row, name in enumerate(names):
            self.table.setItem(row, 0, QTableWidgetItem(name))
            for column, key in enumerate(("iou", "class_precision", "class_recall"), start=1):
                value = result[key][name]
                item = QTableWidgetItem("–" if value is None else f"{value:.3f}")
                item.setData(_VALUE, value)
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.table.setItem(row, column, item)
        self.table.setFixedHeight(self.table.horizontalHeader().sizeHint().height() + len(names) * _ROW + 4)
        self.matrix.show_counts(result["confusion"], names)
        self.cell.setText("Percent of each row. Click a cell to read it.")
        if "curve" in result:
            self.curve.show_result(result)

    def _explain(self, row: int, column: int) -> None:
        self.cell.setText(cell_sentence(self.matrix.counts, self.matrix.names, row, column))
