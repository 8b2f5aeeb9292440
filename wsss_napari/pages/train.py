"""The Train page: choose a method, set it, watch it learn, keep and compare its runs."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout

from engine.errors import UserError
from engine.messages import Event, Failed, Finished, Methods, Metrics, Rerun, Train, command
from engine.store import Run, label_sets, runs_of
from engine.tags import UNKNOWN
from wsss_napari.curves import Curves
from wsss_napari.desk import Desk
from wsss_napari.estimates import train_estimate
from wsss_napari.forms import Form
from wsss_napari.map_files import views_title
from wsss_napari.pages.method_cards import MethodCards
from wsss_napari.pages.page import Page
from wsss_napari.pages.runs_list import RunsList
from wsss_napari.refine_chain import source_text, sources_of
from wsss_napari.train_form import free_run, table_of, train_fields

__all__ = ["TrainPage"]

_ENDED = ("finished", "failed", "stopped")
_REFRESH_MS = 200


class TrainPage(Page):
    """Method cards, the form, Start, live curves, the table of runs."""

    NAME = "train"
    TITLE = "Train"
    TIP = "Train a method on the tags, watch it, compare runs"

    def __init__(self, desk: Desk, parent: Any = None) -> None:
        super().__init__(desk, parent)
        self.cards = MethodCards(self)
        self.form: Form | None = None
        self.curves = Curves()
        self.runs = RunsList(self)
        self._forms: dict[str, Form] = {}
        self._shown = False
        self._engine: Any = None
        self._seen: set[str] = set()
        self._build()
        # Typing and events come in bursts; what follows from them is drawn once.
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_REFRESH_MS)
        self._soon.timeout.connect(self._refresh_runs)
        self.cards.picked.connect(self._pick)
        self.cards.retry.connect(self._ask_methods)
        self.cards.elsewhere.connect(self.go_to)
        self.runs.picked.connect(self._show_curves)
        self.runs.resume_asked.connect(self._resume)
        self.runs.changed.connect(self.session.runs_changed.emit)
        self.runs.said.connect(desk.said)
        self.session.events.project.connect(self._project_changed)
        self.session.events.methods.connect(self._methods_changed)
        self.session.tags_changed.connect(self._tags_changed)
        self.session.runs_changed.connect(self._runs_changed)
        desk.when_engine(self._connect)
        self._project_changed()

    def enter(self) -> None:
        """Show the runs as they are and ask for the methods, which starts the engine."""
        self._shown = True
        self._project_changed()
        if self.session.project is not None:
            self._ask_methods()
            self._show_curves(self.runs.selected)

    def leave(self) -> None:
        """Take the curves away."""
        self._shown = False
        self._hide_strip()

    def command(self) -> str | None:
        """Return the line that starts what the form says."""
        job = self._job()
        return command(job) if job is not None else None

    def start(self) -> None:
        """Train with what the form says."""
        job = self._job()
        if job is not None:
            self._submit(job)

    def _build(self) -> None:
        self.body.addWidget(_title("Method"))
        self.body.addWidget(self.cards)
        self._form_box = QVBoxLayout()
        self.body.addLayout(self._form_box)
        self.estimate = QLabel(self)
        self.estimate.setWordWrap(True)
        self.estimate.setProperty("wsss", "note")
        self.body.addWidget(self.estimate)
        self.start_button = QPushButton("Start training", self)
        self.start_button.setProperty("wsss", "primary")
        self.start_button.clicked.connect(self.start)
        self.stop_button = QPushButton("Stop", self)
        self.stop_button.setToolTip("Stop after the current step; the run can be resumed")
        self.stop_button.clicked.connect(self._stop)
        self.force_button = QPushButton("Force stop", self)
        self.force_button.setToolTip(
            "End the engine's process now; the run can be resumed from its last checkpoint"
        )
        self.force_button.clicked.connect(lambda: self.desk.engine.force_stop())
        row = QHBoxLayout()
        row.addWidget(self.start_button, 1)
        row.addWidget(self.stop_button)
        row.addWidget(self.force_button)
        self.body.addLayout(row)
        rule = QFrame(self)
        rule.setProperty("wsss", "rule")
        self.body.addWidget(rule)
        self.body.addWidget(_title("Runs"))
        self.body.addWidget(self.runs)
        self.body.addStretch(1)

    def _connect(self, engine: Any) -> None:
        self._engine = engine
        engine.event.connect(self._on_event)
        engine.changed.connect(self._show_buttons)

    def _project_changed(self, _: Any = None) -> None:
        project = self.session.project
        if project is None:
            self.show_hint("No project is open. Open one above, or make one on the Tags page.")
        else:
            self.hide_hint()
        self._forms.clear()  # splits belong to the project
        self._methods_changed()
        self.runs.show_runs(project)
        self._show_estimate()

    def _ask_methods(self) -> None:
        engine = self.desk.engine
        if self.session.methods is not None:
            return
        if any(isinstance(j.job, Methods) and j.state not in _ENDED for j in engine.jobs):
            return
        self.cards.show_state("Starting the engine…")
        self.desk.submit(Methods(), then=self._take_methods, quiet=True)

    def _take_methods(self, event: Event) -> None:
        if isinstance(event, Finished):
            self.session.take_methods(event.result)
        else:
            reason = event.message if isinstance(event, Failed) else "It was stopped."
            self.cards.show_state(f"The engine gave no list of methods. {reason}", failed=True)

    def _methods_changed(self, _: Any = None) -> None:
        methods = self.session.methods
        if methods is not None and self.session.project is not None:
            self.cards.show_methods(methods)
            if self.cards.chosen:
                self._pick(self.cards.chosen)

    def _pick(self, name: str) -> None:
        project = self.session.project
        method = next((m for m in self.session.methods or () if m["name"] == name), None)
        if method is None or project is None:
            return
        if self.form is not None:
            self.form.hide()
        if name not in self._forms:
            form = Form(
                table_of(method, project, self.desk.settings.device),
                method["presets"]["train"],
                picks={"run": self._run_picks, "labels": self._label_picks, "seeds": self._seed_picks},
                suggest={"backbone": method["backbones"]},
                parent=self,
            )
            form.changed.connect(self._show_estimate)
            self._form_box.addWidget(form)
            self._forms[name] = form
        self.form = self._forms[name]
        self.form.refill()
        self.form.show()
        self._show_estimate()

    def _run_picks(self) -> list[tuple[str, str]]:
        project = self.session.project
        return [] if project is None else [(r.id, r.title) for r in reversed(runs_of(project.root))]

    def _seed_picks(self) -> list[tuple[str, str]]:
        project = self.session.project
        return [] if project is None else [(source_text(v), views_title(v)) for v in sources_of(project)]

    def _label_picks(self) -> list[tuple[str, str]]:
        project = self.session.project
        sets = [] if project is None else label_sets(project.root, project.colours)
        return [(s.name, s.name) for s in sets]

    def _job(self) -> Train | None:
        """Return the job of the form, or None while something is missing or wrong."""
        project, name = self.session.project, self.cards.chosen
        if project is None or not name or self.form is None:
            return None
        try:
            fields = train_fields(self.form.values())
        except UserError:
            return None
        run = free_run(project, name, [line.job for line in self._lines()])
        return self.desk.job(Train, method=name, run=run, **fields)

    def _submit(self, job: Train) -> None:
        self._seen.discard(job.run or "")
        self.desk.submit(job, then=self._ended)
        self._show_buttons()

    def _resume(self, run_id: str) -> None:
        run = self.runs.run(run_id)
        if run is not None:
            self._submit(self.desk.job(Train, method=run.method, run=run.id, resume=True))

    def _stop(self) -> None:
        for line in self._lines():
            self.desk.engine.stop(line.job.id)

    def _ended(self, event: Event) -> None:
        if isinstance(event, Finished):
            self.session.run = str(event.result["run"])
            self.news.emit()

    def _lines(self) -> list[Any]:
        """Return the trainings that wait or run."""
        jobs = [] if self._engine is None else self._engine.jobs
        return [line for line in jobs if isinstance(line.job, (Train, Rerun)) and line.state not in _ENDED]

    def _show_buttons(self) -> None:
        lines = self._lines()
        stopping = [line for line in lines if line.state == "stopping"]
        self.stop_button.setVisible(bool(lines))
        self.stop_button.setEnabled(len(stopping) < len(lines))
        self.force_button.setVisible(bool(stopping))
        self.start_button.setText("Queue another training" if lines else "Start training")

    def _show_estimate(self) -> None:
        project, form = self.session.project, self.form
        self._show_buttons()
        why_not = self._why_not()
        self.start_button.setEnabled(not why_not)
        if project is None or form is None:
            self.estimate.setText("")
        elif why_not:
            self.estimate.setText(why_not)
        else:
            found = train_estimate(
                project,
                runs_of(project.root),
                split=form.value("split"),
                backbone=form.value("backbone") if "backbone" in [f.name for f in form.fields] else "",
                epochs=form.value("epochs"),
                crop=form.value("crop"),
            )
            self.estimate.setText(found.text())
        job = self._job()
        self.start_button.setToolTip(why_not or (command(job) if job is not None else ""))
        self.command_changed.emit()

    def _why_not(self) -> str:
        """Return why a training cannot start, or an empty string."""
        project = self.session.project
        if project is None or self.form is None:
            return "The methods are not listed yet."
        if self.form.problem():
            return self.form.problem()
        if not (project.tags().states != UNKNOWN).any():
            return "No image has a tag yet. Tag some on the Tags page first."
        return ""

    def _tags_changed(self, _stems: Any) -> None:
        self._show_estimate()
        self._soon.start()

    def _runs_changed(self) -> None:
        self._soon.start()

    def _refresh_runs(self) -> None:
        self.runs.show_runs(self.session.project)
        self._show_estimate()

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Metrics):
            line = self.desk.engine.line(event.job)
            if line is not None and isinstance(line.job, (Train, Rerun)):
                run = line.run or (line.job.run if isinstance(line.job, Train) else None)
                if run is not None:
                    self._draw_live(run, event)

    def _draw_live(self, run_id: str, event: Event) -> None:
        """Draw an event of a training; runs that the person chose to look at meanwhile stay in front."""
        project = self.session.project
        if project is None:
            return
        if run_id not in self._seen:
            self._seen.add(run_id)
            self.runs.show_runs(project)
            self.runs.choose([run_id])
            self._show_curves((run_id,))  # what was told before this page looked is in the records
        elif run_id in self.curves.data.runs:
            self.curves.append(run_id, event)

    def _show_curves(self, ids: tuple[str, ...]) -> None:
        """Draw the selected runs over each other, from their records."""
        chosen: list[Run] = [run for run in map(self.runs.run, ids) if run is not None]
        if chosen:
            self.curves.load({run.id: (run.title, run.events()) for run in chosen})
            names = " against ".join(run.title for run in chosen)
            self._show_strip(f"Training curves: {names}")
        elif not self._lines():
            self._hide_strip()
            self.curves.clear()

    def _show_strip(self, title: str) -> None:
        if self._shown:
            self.desk.plots.show(self.curves, title)

    def _hide_strip(self) -> None:
        # Asking for the strip would make one; without curves there never was any.
        if self.curves.data.runs:
            self.desk.plots.hide(self.curves)


def _title(text: str) -> QLabel:
    label = QLabel(text)
    label.setProperty("wsss", "title")
    label.setAlignment(Qt.AlignmentFlag.AlignLeft)
    return label
