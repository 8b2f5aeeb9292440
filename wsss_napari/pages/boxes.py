"""Measure the boxes around maps, and look at them: figures, curves, the boxes of the image in front."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from engine.boxes import resampled
from engine.errors import UserError
from engine.messages import Boxes, Event, Finished, command
from engine.results import CamStack
from engine.store import runs_of, source_of
from engine.truth_boxes import ACCEPTED, Box, TruthBoxes, read_truth_boxes
from wsss_napari.box_view import NUMBERS, BoxLayers, accuracies, figure_of, look, share, summary
from wsss_napari.desk import Desk
from wsss_napari.figure_view import FigureView
from wsss_napari.map_files import OTHERS, read_maps, views_title
from wsss_napari.path_line import PathLine

__all__ = ["BoxesSection"]

_STEPS = 1000
_ROWS = 7
_FAILURE = Qt.ItemDataRole.UserRole


class BoxesSection(QWidget):
    """What is measured, the figures, the threshold, the failures; curves and layers while it is open.

    Signals:
        measured: A result came.
    """

    measured = Signal()

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk = desk
        self.session = desk.session
        self.result: dict[str, Any] | None = None
        self.truth: TruthBoxes | None = None
        self.figure = FigureView()
        self.layers = BoxLayers(desk.layers)
        self._awake = False
        self._working = False
        # The map of one class of one image, enlarged: what the slider cuts.
        self._heat: tuple[tuple[Any, ...], NDArray[np.float64]] | None = None
        self._build()
        self.figure.said.connect(desk.said)
        self.session.events.image.connect(self._image_changed)
        self.session.events.cls.connect(self._image_changed)
        self._show_result()

    def wake(self) -> None:
        """Be looked at: show the curves and the boxes of the image in front."""
        self._awake = True
        if self.result is not None:
            self.desk.plots.show(self.figure, "Accuracy of boxes")
        self._image_changed()

    def sleep(self) -> None:
        """Be left: take curves and boxes away."""
        if self._awake and self.result is not None:
            self.desk.plots.hide(self.figure)
        self._awake = False
        self.layers.clear()

    def clear(self) -> None:
        """Forget the result, as when another project is opened."""
        if self._awake and self.result is not None:
            self.desk.plots.hide(self.figure)
        self.result = self.truth = self._heat = None
        self._show_result()
        self._image_changed()

    def refresh(self) -> None:
        """Offer what the project has now, keeping what is chosen."""
        project = self.session.project
        chosen, split = self.what.currentData(), self.split.currentData()
        with QSignalBlocker(self.what), QSignalBlocker(self.split):
            self.what.clear()
            self.split.clear()
            runs = [] if project is None else list(reversed(runs_of(project.root)))
            for views in [v for run in runs for v in run.all_views() if v.name != OTHERS and v.has_maps]:
                source = views.run.id if views.name == "default" else str(views)
                self.what.addItem(f"Maps of {views_title(views)}", source)
            splits = () if project is None else project.splits
            for text, data in (("all images", None), *((name, name) for name in splits)):
                self.split.addItem(text, data)
            self.what.setCurrentIndex(max(0, self.what.findData(chosen)))
            self.split.setCurrentIndex(max(0, self.split.findData(split)))
        self._show_button()

    def job(self) -> Boxes | None:
        """Return the job of what is chosen, or None while something is missing."""
        source, file = self.what.currentData(), self.file.line.text().strip()
        if self.session.project is None or source is None or not file:
            return None
        return self.desk.job(
            Boxes,
            source=source,
            truth_boxes=file,
            split=self.split.currentData(),
            side=self.side.currentData(),
        )

    def command(self) -> str | None:
        """Return the line that measures the same."""
        job = self.job()
        return None if job is None else command(job)

    def start(self) -> None:
        """Measure what is chosen."""
        job = self.job()
        if job is not None:
            self._working = bool(self.desk.submit(job, then=lambda ending: self._take(job, ending)))
            self._show_button()

    @property
    def threshold(self) -> float:
        """Share of a map's maximum above which a box is drawn, in [0, 1]."""
        return float(self.slider.value() / _STEPS)

    def _build(self) -> None:
        self.what = QComboBox(self)
        self.what.setToolTip("Maps around which boxes are drawn")
        self.file = PathLine(
            f"True boxes. {ACCEPTED}",
            "Choose the true boxes",
            self,
            file="A file…",
            folder="A folder of VOC XML…",
        )
        self.file.line.setPlaceholderText("CSV, COCO JSON or a folder of VOC XML")
        self.split = QComboBox(self)
        self.split.setToolTip("Images that are measured; those without true boxes are left out")
        self.side = QComboBox(self)
        self.side.setToolTip(
            "Size at which maps and boxes are compared; published figures squeeze them to squares of 224 px"
        )
        self.side.addItem("squares of 224 px", 224)
        self.side.addItem("the size of each image", 0)
        for box in (self.what, self.split, self.side):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(8)
            box.currentIndexChanged.connect(lambda _index: self._show_button())
        self.file.changed.connect(self._show_button)
        form = QFormLayout()
        form.addRow("Of", self.what)
        form.addRow("True boxes", self.file)
        form.addRow("Split", self.split)
        form.addRow("At", self.side)
        self.go = QPushButton("Measure boxes", self)
        self.go.clicked.connect(self.start)
        self.copy = QPushButton("Copy as command", self)
        self.copy.setProperty("wsss", "quiet")
        self.copy.clicked.connect(self._copy)
        buttons = QHBoxLayout()
        buttons.addWidget(self.go, 1)
        buttons.addWidget(self.copy)
        self.note = QLabel(self)
        self.note.setWordWrap(True)
        self.note.setProperty("wsss", "note")
        self.found = QWidget(self)
        self._build_found()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(form)
        column.addLayout(buttons)
        column.addWidget(self.note)
        column.addWidget(self.found)

    def _build_found(self) -> None:
        """Build what a result is shown with."""
        grid = QGridLayout()
        self.numbers: dict[str, QLabel] = {}
        for at, (key, words, tip) in enumerate(NUMBERS):
            number, name = QLabel(self.found), QLabel(words, self.found)
            number.setProperty("wsss", "title")
            name.setProperty("wsss", "note")
            for row, label in enumerate((number, name)):
                label.setAlignment(Qt.AlignmentFlag.AlignCenter)
                label.setToolTip(tip)
                grid.addWidget(label, row, at)
            self.numbers[key] = number
        self.slider = QSlider(Qt.Orientation.Horizontal, self.found)
        self.slider.setRange(0, _STEPS)
        self.slider.setPageStep(_STEPS // 20)
        self.slider.setToolTip("Boxes are drawn around what lies above this share of a map's maximum")
        self.slider.setAccessibleName("Threshold of the boxes")
        self.slider.valueChanged.connect(lambda _value: self._threshold_changed())
        self.value = QLabel(self.found)
        self.value.setMinimumWidth(self.value.fontMetrics().horizontalAdvance("0.000"))
        self.best = QPushButton("Best", self.found)
        self.best.setProperty("wsss", "quiet")
        self.best.clicked.connect(self._to_best)
        cut = QHBoxLayout()
        cut.addWidget(QLabel("Threshold", self.found))
        cut.addWidget(self.slider, 1)
        cut.addWidget(self.value)
        cut.addWidget(self.best)
        self.at = QLabel(self.found)
        self.at.setWordWrap(True)
        self.cls = QComboBox(self.found)
        self.cls.setToolTip(
            "Class whose boxes are drawn: in its colour around the map, white where they truly are"
        )
        self.cls.currentIndexChanged.connect(self._class_chosen)
        classes = QHBoxLayout()
        classes.addWidget(QLabel("Class", self.found))
        classes.addWidget(self.cls, 1)
        self.sight = QLabel(self.found)
        self.sight.setWordWrap(True)
        self.sight.setProperty("wsss", "note")
        self.failures_title = QLabel(self.found)
        self.failures_title.setWordWrap(True)
        self.failures = QListWidget(self.found)
        self.failures.setToolTip("Click to see the image")
        self.failures.setAccessibleName("Failures, worst first")
        self.failures.itemClicked.connect(self._go_to)
        self.failures.itemActivated.connect(self._go_to)
        column = QVBoxLayout(self.found)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        for part in (grid, cut, self.at, classes, self.sight, self.failures_title, self.failures):
            if isinstance(part, QWidget):
                column.addWidget(part)
            else:
                column.addLayout(part)

    def _show_button(self) -> None:
        why = ""
        if self.what.count() == 0:
            why = "There are no maps yet. Draw some on the Explore page."
        elif not self.file.line.text().strip():
            why = "Choose a file of true boxes."
        line = self.command()
        self.go.setEnabled(not why and not self._working)
        self.go.setToolTip(why or line or "")
        self.copy.setEnabled(line is not None)
        self.copy.setToolTip(why or line or "")
        if self.result is None:
            self.note.setText(
                why or "Boxes around the maps are compared with the true ones at every threshold."
            )

    def _take(self, job: Boxes, ending: Event) -> None:
        self._working = False
        self._show_button()
        project = self.session.project
        # Another project may have been opened meanwhile.
        if not isinstance(ending, Finished) or project is None or str(project.root) != job.project:
            return
        self.result = ending.result
        self.truth = self.desk.guard(
            read_truth_boxes, Path(job.truth_boxes).expanduser(), project.usable, project.classes
        )
        self._heat = None
        self._show_result()
        self._to_best()
        if self._awake:
            self.wake()
        self.measured.emit()

    def _show_result(self) -> None:
        result = self.result
        self.found.setVisible(result is not None)
        if result is None:
            self.figure.show_figure(None)
            self._show_button()
            return
        self.note.setText(summary(result))
        for key, _, _ in NUMBERS:
            self.numbers[key].setText(share(result[key]))
        self.figure.show_figure(figure_of(result), self.desk.colours)
        best = result["thresholds"]
        self.best.setToolTip(
            f"Go to the best threshold for overlaps from 0.5: {best['0.5']:g}. From 0.3 it is {best['0.3']:g}, "
            f"from 0.7 {best['0.7']:g}, for the largest region {best['v1']:g}"
        )
        self.failures.clear()
        for stem, name, overlap in result["failures"]:
            item = QListWidgetItem(f"{stem} · {name} · {overlap:.2f}", self.failures)
            item.setData(_FAILURE, (stem, name))
        some = bool(result["failures"])
        self.failures.setVisible(some)
        rows = min(_ROWS, self.failures.count())
        self.failures.setFixedHeight(
            rows * self.failures.sizeHintForRow(0) + 2 * self.failures.frameWidth() + 2
        )
        self.failures_title.setText(
            f"Overlap below 0.5 at threshold {best['0.5']:g}, worst first:"
            if some
            else f"Every pair overlaps by 0.5 or more at threshold {best['0.5']:g}."
        )

    def _to_best(self) -> None:
        if self.result is not None:
            self.slider.setValue(round(self.result["thresholds"]["0.5"] * _STEPS))
            self._threshold_changed()

    def _threshold_changed(self) -> None:
        self.value.setText(f"{self.threshold:.3f}")
        if self.result is not None:
            at = accuracies(self.result, self.threshold)
            low, half, high = (share(at[d]) for d in ("0.3", "0.5", "0.7"))
            self.at.setText(
                f"At this threshold {low} of the pairs overlap by 0.3, {half} by 0.5, {high} by 0.7; "
                f"{share(at['v1'])} by 0.5 around the largest region."
            )
        self._draw()

    def _image_changed(self, _: Any = None) -> None:
        """Offer the classes of the image in front and draw the boxes of one."""
        stack, _ = self._stack()
        project = self.session.project
        with QSignalBlocker(self.cls):
            self.cls.clear()
            if project is not None and stack is not None:
                for cls in stack.classes:
                    self.cls.addItem(project.classes[cls], cls)
                self.cls.setCurrentIndex(max(0, self.cls.findData(self.session.cls)))
        self._draw()

    def _class_chosen(self, _index: int) -> None:
        if self.cls.currentData() is not None:
            self.session.cls = self.cls.currentData()

    def _stack(self) -> tuple[CamStack | None, str]:
        """Return the measured maps of the image in front, or None and why there are none."""
        project, image = self.session.project, self.session.image
        if not self._awake or self.result is None or project is None or image is None:
            return None, ""
        try:
            return read_maps(project, source_of(project.root, self.result["source"]), image)
        except UserError as gone:
            return None, str(gone)

    def _draw(self) -> None:
        """Draw the boxes of the image in front at the threshold."""
        project, image, cls = self.session.project, self.session.image, self.cls.currentData()
        if not self._awake or self.result is None or project is None or image is None or cls is None:
            self.layers.clear()
            stack, why = self._stack()
            if stack is not None:
                why = f"{image} has no map of any class."
            self.sight.setText(why)
            return
        heat = self._enlarged(image, cls)
        if heat is None:
            self.layers.clear()
            return
        facts = project.image(image)
        size = (facts.height, facts.width)
        true_boxes = self._true_boxes(image, cls)
        sight = look(heat, size, self.threshold, true_boxes)
        name = project.classes[cls]
        self.layers.show(image, name, self.desk.colours[cls], sight, size)
        if not sight.count:
            text = f"{image} · {name}: nothing lies above this threshold."
        else:
            text = f"{image} · {name}: {sight.count:,} box{'' if sight.count == 1 else 'es'}"
            if sight.overlap is not None:
                text += f", best overlap {sight.overlap:.2f}."
            else:
                text += ". There is no true box of this class."
        self.sight.setText(text)

    def _enlarged(self, image: str, cls: int) -> NDArray[np.float64] | None:
        """Return the map of a class as it was measured, or None when it is gone."""
        assert self.result is not None
        key = (image, cls, self.result["source"], self.result["side"])
        if self._heat is None or self._heat[0] != key:
            stack, why = self._stack()
            if stack is None or cls not in stack.classes:
                self.sight.setText(why or "The maps of this image changed. Measure again.")
                return None
            cells = stack.maps[stack.classes.index(cls)]
            made = resampled(cells, stack.size, stack.cell, stack.origin, self.result["side"])
            self._heat = (key, made)
        return self._heat[1]

    def _true_boxes(self, image: str, cls: int) -> list[Box]:
        project = self.session.project
        if self.truth is None or project is None:
            return []
        return self.truth.of(image, cls, single=len(project.tags().present(image)) == 1)

    def _go_to(self, item: QListWidgetItem) -> None:
        stem, name = item.data(_FAILURE)
        project = self.session.project
        if project is not None and name in project.classes:
            self.desk.guard(self.session.jump, stem)
            self.session.cls = project.classes.index(name)

    def _copy(self) -> None:
        line, clipboard = self.command(), QGuiApplication.clipboard()
        if line is not None and clipboard is not None:
            clipboard.setText(line)
            self.desk.said("info", f"Copied: {line}")
