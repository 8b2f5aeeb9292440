"""The studies of section 7 of the AdvCAM paper as plots at one click, on a split of the project."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from engine.errors import UserError
from engine.messages import Event, Failed, Finished, Methods, Study, command
from wsss_napari.desk import Desk
from wsss_napari.figure_facts import Kept, kept_figures
from wsss_napari.figure_view import FigureView
from wsss_napari.study_jobs import StudyJobs
from wsss_napari.study_row import StudyRow

__all__ = ["StudiesPanel"]

_OWN_WINDOW = (960, 640)
# Fields of studies that name a class or an image of the project.
_CLASSES, _IMAGES = ("cls", "first", "second"), ("image",)


class StudiesPanel(QWidget):
    """The list of studies, what they run on, and the figures that they left in the chosen run.

    Whoever embeds it calls `enter` when it comes into sight and `leave` when it goes.

    Args:
        desk: The desk of the viewer.
        parent: Qt parent.

    Signals:
        news: A study finished while the panel was out of sight.
        figure_shown: A figure took the plot strip.
        figure_closed: The strip was left; it may go back to what it showed before.
        command_changed: What `command()` returns may have changed.
    """

    news = Signal()
    figure_shown = Signal()
    figure_closed = Signal()
    command_changed = Signal()

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk = desk
        self.session = desk.session
        self.jobs = StudyJobs(desk)
        self.rows: dict[str, StudyRow] = {}
        self.windows: list[FigureView] = []
        self._climb: dict[str, Any] = {}
        self._shown = False
        self._fault = ""
        self._states: dict[str, str] = {}
        self.view = FigureView(detachable=True)
        self.view.detach_asked.connect(self.detach)
        self.view.close_asked.connect(self.close_figure)
        self.view.said.connect(desk.said)
        self._build()
        session = self.session
        session.events.project.connect(self._project_changed)
        session.events.run.connect(self._run_changed)
        session.events.studies.connect(self._rebuild)
        session.events.methods.connect(self._rebuild)
        session.runs_changed.connect(self.refresh)
        desk.when_engine(self._meet)
        self._project_changed()

    def enter(self) -> None:
        """Show what there is now, and ask for the list of studies, which starts the engine."""
        self._shown = True
        self.refresh()
        if self.session.project is not None:
            self._ask()

    def leave(self) -> None:
        """Take the figure out of the plot strip."""
        self._shown = False
        if self.view.figure is not None:
            self.desk.plots.hide(self.view)

    def set_settings(self, settings: Mapping[str, Any]) -> None:
        """Take over the climb's settings that differ from its defaults, as the form of the Climb page gives them.

        A study takes those that it has; its own settings stay.
        """
        self._climb = dict(settings)
        for row in self.rows.values():
            row.set_climb(self._climb)

    def command(self) -> str | None:
        """Return the line that runs the study whose settings are shown, or None."""
        chosen = next((name for name, row in self.rows.items() if row.is_open), None)
        job = None if chosen is None else self.job(chosen)
        return None if job is None else command(job)

    def job(self, name: str) -> Study | None:
        """Return the job of a study with what its row says, or None while something is missing or wrong."""
        split = self.split.currentData()
        if split is None or name not in self.rows:
            return None
        try:
            settings = self.rows[name].settings()
        except UserError:
            return None
        return self.jobs.job(name, split=split, count=self.count.value() or None, settings=settings)

    def run(self, name: str) -> None:
        """Run a study; its figure comes into the strip."""
        job = self.job(name)
        if job is not None and self.jobs.doing(name) is None:
            self.desk.submit(job, then=partial(self._take, job))
            self.refresh()

    def stop(self, name: str) -> None:
        """Stop a study that waits or runs."""
        line = self.jobs.doing(name)
        if line is not None:
            self.desk.engine.stop(line.job.id)

    def open_figure(self, name: str) -> None:
        """Show the figure that a study left in the chosen run."""
        kept = self._kept().get(name)
        run = self.session.chosen_run
        if kept is None or run is None:
            return
        if kept.figure is None:
            self.desk.said("error", kept.fault)
        else:
            self.view.show_figure(kept.figure, self.desk.colours)
            if self.desk.viewer is not None:
                self.desk.plots.show(self.view, f"{kept.figure.title} · {run.title}")
            self.figure_shown.emit()

    def close_figure(self) -> None:
        """Take the figure out of the strip for good."""
        self.desk.plots.hide(self.view)
        self.view.show_figure(None)
        self.figure_closed.emit()

    def detach(self) -> FigureView | None:
        """Show the figure of the strip in a window of its own, which stays when the strip goes on."""
        figure, viewer = self.view.figure, self.desk.viewer
        if figure is None or viewer is None:
            return None
        view = FigureView()
        view.said.connect(self.desk.said)
        view.show_figure(figure, self.desk.colours)
        view.fold.setChecked(True)
        self.desk.plots.follow_theme(view)
        name = f"{figure.title} · {figure.facts.get('run', '')} · {len(self.windows) + 1}"
        dock = viewer.window.add_dock_widget(view, name=name, area="bottom")
        dock.setFloating(True)
        dock.resize(*_OWN_WINDOW)
        self.windows.append(view)
        return view

    def refresh(self) -> None:
        """Show which studies can be run, which run, and which left a figure."""
        kept = self._kept()
        if set(kept) - set(self.rows):
            self._rebuild()
            return
        for name, row in self.rows.items():
            row.show_kept(kept.get(name))
            self._show_state(name)
        self.note.setText(self._note())
        self.note.setVisible(bool(self.note.text()))
        self.again.setVisible(bool(self._fault))

    def _build(self) -> None:
        self.split = QComboBox(self)
        self.split.setToolTip("Images that the studies look at")
        self.split.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.split.setMinimumContentsLength(8)
        self.split.currentIndexChanged.connect(self._basis_changed)
        self.count = QSpinBox(self)
        self.count.setRange(0, 1_000_000)
        self.count.setSpecialValueText("as many as each study takes")
        self.count.setSuffix(" images at most")
        self.count.setKeyboardTracking(False)
        self.count.setToolTip(
            "Images at most, chosen evenly over the split; fewer are faster and less certain"
        )
        self.count.valueChanged.connect(self._basis_changed)
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for words, widget in (("Split", self.split), ("Images", self.count)):
            label = QLabel(words, self)
            label.setBuddy(widget)
            widget.setAccessibleName(words)
            form.addRow(label, widget)
        self.note = QLabel(self)
        self.note.setWordWrap(True)
        self.note.setProperty("wsss", "note")
        self.again = QPushButton("Try again", self)
        self.again.setToolTip("Ask the engine for its studies once more")
        self.again.clicked.connect(self._ask)
        self._list = QVBoxLayout()
        self._list.setSpacing(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(form)
        column.addWidget(self.note)
        column.addWidget(self.again)
        column.addLayout(self._list)
        column.addStretch(1)

    def _meet(self, engine: Any) -> None:
        engine.changed.connect(self._engine_changed)

    def _ask(self) -> None:
        asked = any(isinstance(line.job, Methods) and line.open for line in self.desk.engine.jobs)
        if self.session.studies is None and not asked:
            self._fault = ""
            self.desk.submit(Methods(), then=self._take_list, quiet=True)
            self.refresh()

    def _take_list(self, ending: Event) -> None:
        if isinstance(ending, Finished):
            self.session.take_methods(ending.result)
        else:
            reason = ending.message if isinstance(ending, Failed) else "It was stopped."
            self._fault = f"The engine gave no list of studies. {reason}"
            self.refresh()

    def _take(self, job: Study, ending: Event) -> None:
        self.refresh()
        if not isinstance(ending, Finished) or job.run != self.session.run:
            return
        if self._shown:
            self.open_figure(job.study)
        else:
            self.news.emit()

    def _kept(self) -> dict[str, Kept]:
        run = self.session.chosen_run
        return {} if run is None else kept_figures(run)

    def _note(self) -> str:
        session = self.session
        if session.project is None:
            return "No project is open."
        if self._fault:
            return self._fault
        if session.studies is None:
            return "Asking the engine for its studies…" if self._shown else ""
        if not session.studies:
            return "This engine has no studies."
        if session.chosen_run is None:
            return "No run yet. Train one on the Train page; the studies look at how its classifier climbs."
        if session.project.truth_place is None and any(s["needs_truth"] for s in session.studies):
            return "The grey ones need truth masks, and this project has none."
        return ""

    def _project_changed(self, _: Any = None) -> None:
        project = self.session.project
        chosen = self.split.currentData()
        with QSignalBlocker(self.split):
            self.split.clear()
            for name in project.splits if project is not None else ():
                self.split.addItem(name, name)
            if project is not None:
                self.split.addItem("all images", "all")
            self.split.setCurrentIndex(max(0, self.split.findData(chosen or "train")))
        self._run_changed()
        self._rebuild()

    def _run_changed(self, _: Any = None) -> None:
        # A figure of another run would be taken for one of this.
        if self.view.figure is not None:
            self.close_figure()
        self.refresh()

    def _rebuild(self, _: Any = None) -> None:
        """Make the rows anew: those that the engine lists, and those of which only a figure is known."""
        opened = next((name for name, row in self.rows.items() if row.is_open), None)
        for row in self.rows.values():
            self._list.removeWidget(row)
            row.hide()
            row.deleteLater()
        self.rows = {}
        for study in self.session.studies or ():
            self._add(StudyRow(study["name"], study, study["title"], self))
        for name, kept in self._kept().items():
            if name not in self.rows:
                self._add(StudyRow(name, None, name if kept.figure is None else kept.figure.title, self))
        if opened in self.rows:
            self.rows[opened].open()
        self.refresh()

    def _add(self, row: StudyRow) -> None:
        self.rows[row.name] = row
        self._list.addWidget(row)
        row.opened.connect(self._opened)
        row.run_asked.connect(self.run)
        row.stop_asked.connect(self.stop)
        row.figure_asked.connect(self.open_figure)
        row.copy_asked.connect(self._copy)
        row.changed.connect(self._changed)
        project, study = self.session.project, row.study
        if study is not None and project is not None:
            suggest = {name: list(project.classes) for name in _CLASSES}
            suggest |= {name: list(project.usable) for name in _IMAGES}
            row.take_tables(*self.jobs.tables(row.name), study["presets"], suggest)
            row.set_climb(self._climb)

    def _opened(self, name: str) -> None:
        for other, row in self.rows.items():
            if other != name:
                row.open(False)
        self.command_changed.emit()

    def _changed(self, name: str) -> None:
        self._show_state(name)
        self.command_changed.emit()

    def _basis_changed(self, _: int = 0) -> None:
        self._show_states()
        self.command_changed.emit()

    def _engine_changed(self) -> None:
        """Show what runs; told at every step of every job, so nothing is done unless a state changed."""
        lines = {name: self.jobs.doing(name) for name in self.rows}
        states = {name: line.state for name, line in lines.items() if line is not None}
        if states != self._states:
            self._states = states
            self._show_states()

    def _show_states(self) -> None:
        for name in self.rows:
            self._show_state(name)

    def _show_state(self, name: str) -> None:
        row = self.rows[name]
        job, line = self.job(name), self.jobs.doing(name)
        why_not = "" if row.study is None else self.jobs.why_not(name)
        if not why_not and job is None and row.study is not None:
            why_not = row.problem()
        row.show_state(
            why_not,
            "" if job is None else self.jobs.estimate(job),
            "" if job is None else command(job),
            doing=line is not None,
            stopping=line is not None and line.state == "stopping",
        )
        row.quick.setVisible(row.study is not None)

    def _copy(self, name: str) -> None:
        job, clipboard = self.job(name), QGuiApplication.clipboard()
        if job is not None and clipboard is not None:
            clipboard.setText(command(job))
            self.desk.said("info", f"Copied: {command(job)}")
