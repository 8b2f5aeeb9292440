"""Measure masks or maps against the truth: figures per class, confusion, the curve over the threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QLabel,
    QPushButton,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from engine.edits import corrected
from engine.errors import UserError
from engine.messages import Evaluate, Event, Finished
from engine.store import label_sets, runs_of, source_of
from engine.store.stages import stages_of
from wsss_napari.bar_cells import figure, figure_table, fit_rows
from wsss_napari.confusion import ConfusionPicture, cell_sentence
from wsss_napari.desk import Desk
from wsss_napari.map_files import OTHERS, views_title
from wsss_napari.pages.stages import StagesTable
from wsss_napari.sweep_curve import SweepCurve

__all__ = ["Measure", "summary"]


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
        self.what.currentIndexChanged.connect(self._what_changed)
        self.refined = QCheckBox("With its refinements", self)
        self.go = QPushButton("Measure", self)
        self.go.clicked.connect(self.start)
        self.note = QLabel(self)
        self.note.setWordWrap(True)
        self.note.setProperty("wsss", "note")
        self.stages = StagesTable(self)
        self.stages.chosen.connect(self._show_stage)
        self.stages.said.connect(desk.said)
        self.table = figure_table(["Class", "IoU", "Precision", "Recall"], "Figures per class", self)
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
        grid.addWidget(self.refined, 2, 1, 1, 2)
        grid.setColumnStretch(1, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(grid)
        for widget in (self.stages, self.note, self.table, self.matrix, self.cell):
            column.addWidget(widget)
        self._show_result()

    def refresh(self) -> None:
        """Offer what the project has now, keeping what is chosen."""
        project = self.session.project
        chosen, split = self.what.currentData(), self.split.currentData()
        with QSignalBlocker(self.what):
            self.what.clear()
            self.split.clear()
            if project is not None:
                try:
                    mine = corrected(project, ("in progress", "needs review", "approved")).stems()
                except UserError:  # the Correct page tells of a damaged journal
                    mine = ()
                if mine:
                    self.what.addItem(f"Corrected masks ({len(mine)})", "labels:corrected")
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
        self._what_changed()

    def job(self) -> Evaluate | None:
        """Return the job of what is chosen."""
        chosen = self.what.currentData()
        project = self.session.project
        if chosen is None or project is None or project.truth_place is None:
            return None
        kind, _, name = chosen.partition(":")
        return self.desk.job(
            Evaluate,
            **{kind: name},
            sweep=kind == "source",
            split=self.split.currentData(),
            stages=self.refined.isEnabled() and self.refined.isChecked(),
        )

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

    def _what_changed(self, _index: int = 0) -> None:
        """Offer the refinements of what is chosen, if there are some."""
        count = self._refinements()
        self.refined.setEnabled(count > 0)
        self.refined.setToolTip(
            f"Measure the {count} made from these maps too, directly or one over the other, over the same images"
            if count
            else "Nothing was refined from this yet"
        )
        self._show_button()

    def _refinements(self) -> int:
        kind, _, name = (self.what.currentData() or "").partition(":")
        project = self.session.project
        if project is None or kind != "source":
            return 0
        try:
            return len(stages_of(project.root, source_of(project.root, name))) - 1
        except UserError:
            return 0  # deleted meanwhile; the list of maps will follow

    def _show_button(self) -> None:
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

    def _show_result(self) -> None:
        result = self.result
        self.stages.show_stages(*((result or {}).get(key, ()) for key in ("stages", "left_out")))
        if result is None:
            for widget in (self.table, self.matrix, self.cell):
                widget.hide()
            self._show_button()
        elif "stages" in result:
            self._show_stage(0)
        else:
            self._show_report(result)

    def _show_stage(self, index: int) -> None:
        assert self.result is not None
        stage = self.result["stages"][index]
        # The result itself is the whole report of the first.
        about = f"{stage['name']} ({stage['source'].removesuffix('/default')}): "
        self._show_report(self.result if index == 0 else stage, about)

    def _show_report(self, report: Mapping[str, Any], about: str = "") -> None:
        """Show all figures of one source; a row of very many stages holds no more than its sentence."""
        self.note.setText(about + summary(report))
        self.note.show()
        whole = "confusion" in report
        for widget in (self.table, self.matrix):
            widget.setVisible(whole)
        self.cell.show()
        if not whole:
            self.cell.setText(
                "There are too many stages to hold the classes of each. Measure this one alone."
            )
            return
        names = report["classes"]
        self.table.setRowCount(len(names))
        for row, name in enumerate(names):
            self.table.setItem(row, 0, QTableWidgetItem(name))
            for column, key in enumerate(("iou", "class_precision", "class_recall"), start=1):
                self.table.setItem(row, column, figure(report[key][name]))
        fit_rows(self.table)
        self.matrix.show_counts(report["confusion"], names)
        self.cell.setText("Percent of each row. Click a cell to read it.")
        if "curve" in report:
            self.curve.show_result(report)

    def _explain(self, row: int, column: int) -> None:
        self.cell.setText(cell_sentence(self.matrix.counts, self.matrix.names, row, column))
