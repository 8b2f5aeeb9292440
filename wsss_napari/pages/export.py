"""The Export page: measure masks and boxes, then write a dataset, knowing beforehand what it cannot hold."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, QUrl
from qtpy.QtGui import QDesktopServices, QGuiApplication
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from engine.edits import corrected
from engine.errors import UserError
from engine.formats import format_named
from engine.messages import Event, Export, Failed, Finished, command
from engine.params import describe
from engine.results import InstanceSet
from engine.store import free_name, label_sets, runs_of
from wsss_napari.desk import Desk
from wsss_napari.format_choice import FormatChoice
from wsss_napari.forms import Fold, Form
from wsss_napari.map_files import OTHERS, views_title
from wsss_napari.pages.boxes import BoxesSection
from wsss_napari.pages.import_back import ImportBack
from wsss_napari.pages.measure import Measure
from wsss_napari.pages.page import Page
from wsss_napari.path_line import PathLine

__all__ = ["APPROVED", "CORRECTED", "ExportPage"]

# A person's own masks among what can be exported; no label set can have such a name.
APPROVED = ":approved"
CORRECTED = ":corrected"
# What `--labels corrected` writes: no mask that was rejected or is damaged.
_WORKED_ON = ("in progress", "needs review", "approved")


class ExportPage(Page):
    """Evaluate above, export below, import folded under it."""

    NAME = "export"
    TITLE = "Export"
    TIP = "Measure the masks and write them as a data set"

    def __init__(self, desk: Desk, parent: Any = None) -> None:
        super().__init__(desk, parent)
        self._shown = False
        self._suggested = ""
        self._command = ""
        self._working = False
        self._trouble = ""
        self._options: Form | None = None
        self.measure = Measure(desk, self)
        self.measure.measured.connect(self._show_curve)
        self.boxes = BoxesSection(desk, self)
        self.import_back = ImportBack(desk, self)
        self._build()
        session = self.session
        session.events.project.connect(self._project_changed)
        session.labels_changed.connect(self._boxes_changed)
        session.runs_changed.connect(self._boxes_changed)
        self._project_changed()

    def enter(self) -> None:
        """Offer what the project has now."""
        self._shown = True
        self._boxes_changed()
        self._show_curve()
        self._open_boxes(self.boxes_fold.head.isChecked())

    def leave(self) -> None:
        """Take the curve away."""
        self._shown = False
        if self.measure.result is not None and "curve" in self.measure.result:
            self.desk.plots.hide(self.measure.curve)
        self.boxes.sleep()

    def command(self) -> str | None:
        """Return the line that writes the same folder."""
        job = self.job()
        return None if job is None else command(job)

    def job(self, *, dry_run: bool = False) -> Export | None:
        """Return the export that the page asks for, or None while something is missing."""
        out = self.folder.line.text().strip()
        what = self.what.currentData()
        if self.session.project is None or what is None or not out:
            return None
        return self.desk.job(
            Export,
            labels="corrected" if what in (APPROVED, CORRECTED) else what,
            only="approved" if what == APPROVED else "all",
            format=self.format.currentData(),
            out=out,
            split=self.split.currentData(),
            settings=self._settings(),
            instances=self.instances.currentData() if self.format.form.objects else None,
            overwrite=self.overwrite.isChecked() and not self.overwrite.isHidden(),
            dry_run=dry_run,
        )

    def check(self) -> None:
        """Ask what an export would hold and lose, without writing anything."""
        job = self.job(dry_run=True)
        if job is not None:
            self._begin(self.desk.submit(job, then=self._checked, quiet=True))

    def export(self) -> None:
        """Write the dataset."""
        job = self.job()
        if job is not None:
            self._begin(self.desk.submit(job, then=lambda ending: self._exported(job, ending)))

    def _build(self) -> None:
        self.body.addWidget(_title("Measure against the truth"))
        self.body.addWidget(self.measure)
        self.boxes_fold = Fold("Boxes", self.boxes, self)
        self.boxes_fold.head.setToolTip("Measure the boxes around maps, as object localisation does")
        self.boxes_fold.head.toggled.connect(self._open_boxes)
        self.body.addWidget(self.boxes_fold)
        rule = QFrame(self)
        rule.setProperty("wsss", "rule")
        self.body.addWidget(rule)
        self.body.addWidget(_title("Export"))
        self.format = FormatChoice(self)
        self.format.setToolTip("How the files are laid out, with the programs that read them")
        self.what = QComboBox(self)
        self.what.setToolTip(
            "Masks that you approved or corrected, or labels, for formats of masks; maps for formats of maps"
        )
        self.split = QComboBox(self)
        self.split.setToolTip("Images that are written")
        self.instances = QComboBox(self)
        self.instances.setToolTip(
            "Where objects come from: the instances that the labels' own run found, or those of another. "
            "Without any, each connected area is an object"
        )
        for box in (self.what, self.split, self.instances):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(10)
        self.folder = PathLine(
            "New folder to write; nothing is left behind when the export fails",
            "Export into",
            self,
            folder="A folder…",
        )
        self.overwrite = QCheckBox("Replace the earlier export in this folder", self)
        self.overwrite.setToolTip("Only a folder that an export made is ever replaced")
        self.options_slot = QVBoxLayout()
        form_box = QFormLayout()
        form_box.addRow("Format", self.format)
        form_box.addRow("What", self.what)
        form_box.addRow("Split", self.split)
        self.instances_title = QLabel("Instances", self)
        self.instances_title.setBuddy(self.instances)
        form_box.addRow(self.instances_title, self.instances)
        form_box.addRow("Folder", self.folder)
        form_box.addRow(self.overwrite)
        self.body.addLayout(form_box)
        self.body.addLayout(self.options_slot)
        self.report = QLabel(self)
        self.report.setWordWrap(True)
        self.report.setTextFormat(Qt.TextFormat.RichText)
        self.report.setProperty("wsss", "note")
        self.body.addWidget(self.report)
        self.check_button = QPushButton("Check first", self)
        self.check_button.setToolTip("Count images and losses without writing anything")
        self.check_button.clicked.connect(self.check)
        self.export_button = QPushButton("Export", self)
        self.export_button.setProperty("wsss", "primary")
        self.export_button.clicked.connect(self.export)
        row = QHBoxLayout()
        row.addWidget(self.export_button, 1)
        row.addWidget(self.check_button)
        self.body.addLayout(row)
        self._build_done()
        self.import_fold = Fold("Import a dataset", self.import_back, self)
        self.import_fold.head.setToolTip("Read masks or maps of another program as labels or as a run")
        self.body.addWidget(self.import_fold)
        self.body.addStretch(1)
        self.format.currentIndexChanged.connect(lambda _index: self._format_changed())
        self.what.currentIndexChanged.connect(lambda _index: self._suggest())
        self.split.currentIndexChanged.connect(lambda _index: self._show_state())
        self.instances.currentIndexChanged.connect(lambda _index: self._show_state())
        self.folder.changed.connect(self._show_state)
        self.overwrite.toggled.connect(lambda _on: self._show_state())

    def _build_done(self) -> None:
        self.done = QWidget(self)
        self.link = QLabel(self.done)
        self.link.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.link.setWordWrap(True)
        self.show_folder = QPushButton("Open folder", self.done)
        self.show_folder.setProperty("wsss", "quiet")
        self.show_folder.clicked.connect(self._open)
        self.again = QPushButton("Copy command", self.done)
        self.again.setProperty("wsss", "quiet")
        self.again.clicked.connect(self._copy)
        row = QHBoxLayout(self.done)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.link, 1)
        row.addWidget(self.show_folder)
        row.addWidget(self.again)
        self.done.hide()
        self.body.addWidget(self.done)

    def _open_boxes(self, on: bool) -> None:
        """Show curves and boxes while their section is open."""
        if on and self._shown:
            self.boxes.wake()
        else:
            self.boxes.sleep()
            self._show_curve()

    def _project_changed(self, _: Any = None) -> None:
        self.measure.clear()
        self.boxes.clear()
        self.done.hide()
        if self.session.project is None:
            self.show_hint("No project is open. Open one above, or make one on the Tags page.")
        else:
            self.hide_hint()
        self._boxes_changed()

    def _format_changed(self) -> None:
        """Offer what can be chosen of the writing, and what the format can hold."""
        if self._options is not None:
            self._options.hide()
            self._options.deleteLater()
        self._options = None
        kind = self.format.form.options
        if kind is not None:
            self._options = Form(describe(kind), parent=self)
            self._options.changed.connect(self._show_state)
            self.options_slot.addWidget(self._options)
            self._options.show()
        self._boxes_changed()

    def _settings(self) -> dict[str, Any]:
        """Return the options that differ from the format's defaults; none while a field is wrong."""
        if self._options is None or self._options.problem():
            return {}
        return self._options.values()

    def _boxes_changed(self) -> None:
        """Offer labels or maps, whichever the format holds, and the project's splits."""
        project = self.session.project
        self.measure.refresh()
        self.boxes.refresh()
        chosen, split = self.what.currentData(), self.split.currentData()
        with QSignalBlocker(self.what), QSignalBlocker(self.split):
            self.what.clear()
            self.split.clear()
            for text, name in self._boxes():
                self.what.addItem(text, name)
            splits = project.splits if project is not None else ()
            for text, data in (("all images", None), *((name, name) for name in splits)):
                self.split.addItem(text, data)
            self.what.setCurrentIndex(max(0, self.what.findData(chosen)))
            self.split.setCurrentIndex(max(0, self.split.findData(split)))
        self._offer_instances()
        self._suggest()

    def _boxes(self) -> list[tuple[str, str]]:
        """Return (text, name for --labels) of what the format can hold."""
        project = self.session.project
        if project is None:
            return []
        if self.format.form.kind == "masks":
            own = self._own_masks()
            return own + [(labels.name, labels.name) for labels in label_sets(project.root, project.colours)]
        every = [
            v
            for run in reversed(runs_of(project.root))
            for v in run.all_views()
            if v.name != OTHERS and v.has_maps
        ]
        return [(views_title(v), v.run.id if v.name == "default" else str(v)) for v in every]

    def _offer_instances(self) -> None:
        """Offer the sets of instances, where the format can hold objects."""
        project, chosen = self.session.project, self.instances.currentData()
        with QSignalBlocker(self.instances):
            self.instances.clear()
            self.instances.addItem("those of the labels", None)
            for run in reversed(runs_of(project.root)) if project is not None else ():
                for views in run.all_views():
                    if views.stems(InstanceSet.KIND):
                        self.instances.addItem(views_title(views), str(views))
            self.instances.setCurrentIndex(max(0, self.instances.findData(chosen)))
        for widget in (self.instances, self.instances_title):
            widget.setVisible(self.format.form.objects and self.instances.count() > 1)

    def _own_masks(self) -> list[tuple[str, str]]:
        """Return the person's own masks as (text, choice)."""
        project = self.session.project
        assert project is not None
        self._trouble = ""
        try:
            approved = len(corrected(project, ("approved",)).stems())
            every = len(corrected(project, _WORKED_ON).stems())
        except UserError as damaged:
            self._trouble = f"{damaged.found} The Correct page can mend it."
            return []
        found = [(f"Approved masks ({approved:,})", APPROVED)] if approved else []
        if every > approved:
            found.append((f"Corrected masks, approved or not ({every:,})", CORRECTED))
        return found

    def _suggest(self) -> None:
        """Name a free folder in the project, until the person names one."""
        project, what = self.session.project, self.what.currentData()
        typed = self.folder.line.text()
        if project is not None and what is not None and typed in ("", self._suggested):
            wanted = f"{what.lstrip(':')}-{self.format.currentData()}".replace("/", "-")
            exports = project.root / "exports"
            name = free_name(wanted, lambda n: (exports / n).exists())
            self._suggested = str(exports / name)
            self.folder.line.setText(self._suggested)
        self._show_state()

    def _show_state(self) -> None:
        """Say what the format cannot hold and whether the export can begin."""
        form = self.format.form
        out = self.folder.line.text().strip()
        self.overwrite.setVisible(bool(out) and Path(out).expanduser().exists())
        self.report.setText(_warned(self._trouble) + _report(form.holds, form.loses))
        why = ""
        if self.what.count() == 0:
            kind = (
                "labels yet. Make some on the Explore page, or masks on the Correct page"
                if form.kind == "masks"
                else "maps yet. Draw some there"
            )
            why = f"There are no {kind}."
            self.report.setText(_warned(self._trouble) + html.escape(why))
        elif not out:
            why = "Name a folder to write."
        elif self._options is not None and self._options.problem():
            why = self._options.problem()
        for button in (self.export_button, self.check_button):
            button.setEnabled(not why and not self._working)
        job = self.job()
        self.export_button.setToolTip(why or (command(job) if job is not None else ""))
        self.command_changed.emit()

    def _begin(self, job_id: str) -> None:
        """Refuse a second click until the ending comes."""
        self._working = bool(job_id)
        self._show_state()

    def _checked(self, ending: Event) -> None:
        self._working = False
        self._show_state()
        if isinstance(ending, Finished):
            result = ending.result
            form = format_named(result["format"])
            what = "Masks" if form.kind == "masks" else "Maps"
            lost = result["lost"]
            counts = [("Images", result["images"]), (what, result["images"]), ("Losses", len(lost))]
            if result["left_out"]:
                counts.insert(2, ("Left out", result["left_out"]))
            self.report.setText("<b>Nothing was written yet.</b>" + _report(form.holds, lost, counts))
        elif isinstance(ending, Failed):
            self.report.setText(html.escape(ending.message).replace("\n", "<br>"))

    def _exported(self, job: Export, ending: Event) -> None:
        self._working = False
        self._show_state()
        if not isinstance(ending, Finished):
            return
        out = Path(ending.result["out"])
        self._command = command(job)
        count = ending.result["images"]
        self.link.setText(f"{count} image{'s' if count != 1 else ''} in {out.name}.")
        self.link.setToolTip(str(out))
        self.show_folder.setToolTip(f"Show {out}")
        self.again.setToolTip(self._command)
        self.done.show()
        self._suggested = self.folder.line.text()
        self._suggest()
        form = format_named(job.format)
        self.report.setText(_report(form.holds, ending.result["lost"]))
        self.news.emit()

    def _copy(self) -> None:
        clipboard = QGuiApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(self._command)
            self.desk.said("info", f"Copied: {self._command}")

    def _open(self) -> None:
        out = self.link.toolTip()
        if not QDesktopServices.openUrl(QUrl.fromLocalFile(out)):
            self.desk.said("info", f"The dataset lies in {out}")

    def _show_curve(self) -> None:
        result = self.measure.result
        if self._shown and result is not None and "curve" in result:
            self.desk.plots.show(self.measure.curve, "Threshold sweep")
        elif self._shown and result is not None:
            self.desk.plots.hide(self.measure.curve)


def _warned(text: str) -> str:
    return f"<p>⚠ {html.escape(text)}</p>" if text else ""


def _report(holds: str, losses: Any, counts: Any = ()) -> str:
    """Return a small table of counts and the list of what is lost."""
    rows = "".join(
        f"<tr><td>{html.escape(k)}&nbsp;&nbsp;</td><td align='right'>{v}</td></tr>" for k, v in counts
    )
    table = f"<table>{rows}</table>" if rows else ""
    listed = "".join(f"<li>{html.escape(text)}</li>" for text in losses)
    lost = f"Not in it:<ul style='margin-left:-24px'>{listed}</ul>" if listed else "Nothing is lost."
    return f"<p>{html.escape(holds)}</p>{table}{lost}"


def _title(text: str) -> QLabel:
    label = QLabel(text)
    label.setProperty("wsss", "title")
    return label
