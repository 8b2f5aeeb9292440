"""Climbing on the Climb page: the settings, the start, what comes while it climbs, the ways on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer

from engine.errors import UserError
from engine.messages import Climb, Event, Failed, Finished, Methods, Stopped, Viewed, command
from engine.results import ClimbTrace
from wsss_napari.climb_view import OWN, Found, climbs_of, differences, tag_note
from wsss_napari.estimates import seconds_text
from wsss_napari.forms import Form

if TYPE_CHECKING:
    from wsss_napari.pages.climb import ClimbPage

__all__ = ["ClimbWork"]

_GROW_MS = 15
_RELOAD_MS = 120

# A seed takes the first few steps; who watches wants to see where they lead.
_WATCHED = 12


class ClimbWork(QObject):
    """Submits the climbs of the page and lets their steps appear.

    Args:
        page: The Climb page.
    """

    def __init__(self, page: ClimbPage) -> None:
        super().__init__(page)
        self.page = page
        self.form: Form | None = None
        self._grown: set[Path] = set()
        self._soon = self._timer(_GROW_MS, self._grow)
        self._reload = self._timer(_RELOAD_MS, page.load)
        panel, session = page.panel, page.session
        panel.start.clicked.connect(lambda: self.submit(self.job()))
        panel.stop.clicked.connect(self._stop)
        panel.once.clicked.connect(lambda: self._go_on(1))
        panel.more.clicked.connect(lambda: self._go_on(self._as_many()))
        panel.again.clicked.connect(lambda: self._go_on(self._as_many(), page.step))
        panel.branch.clicked.connect(self._branch)
        session.events.methods.connect(self._methods_changed)
        session.tags_changed.connect(self._tags_changed)
        page.desk.when_engine(self._meet)
        self._methods_changed()

    def prepare(self) -> None:
        """Let the engine load what a climb needs and list its settings, before it is asked to climb."""
        run, desk = self.page.session.chosen_run, self.page.desk
        if run is None or not run.weights.is_file() or run.is_network:
            return
        job = self.page.jobs.climb({})
        if job is not None:
            desk.engine.warm(job)
        asked = any(isinstance(line.job, Methods) and line.open for line in desk.engine.jobs)
        if self.page.session.methods is None and not asked:
            desk.submit(Methods(), then=self._take_methods, quiet=True)

    def job(self) -> Climb | None:
        """Return the climb from the photograph that the form says, or None while something is wrong."""
        settings = self._settings()
        return None if settings is None else self.page.jobs.climb(settings)

    def submit(self, job: Climb | None) -> None:
        """Climb; each step is shown as it comes."""
        if job is not None:
            self.page.panel.show_warning("")
            self.page.panel.show_told("")
            self.page.desk.submit(job, then=self._climbed, quiet=True)
            self.show()

    def climbing_folder(self) -> Path | None:
        """Return the trace that is being climbed, or None."""
        line = self.page.jobs.climbing()
        own = [f.trace for f in self.page.climbs.values() if f.views == OWN and not f.trace.ending]
        return own[-1].folder if line is not None and own else None

    def show(self) -> None:
        """Say on the buttons what they would do now, and how far a climb is."""
        page, panel, session = self.page, self.page.panel, self.page.session
        if session.project is None or session.cls is None or session.image is None:
            return
        line, job, name = page.jobs.climbing(), self.job(), page.class_name
        panel.saliency.look_at(page.desk.viewer, session.project, session.image)
        # Who stands at the end of a climb that goes on goes along.
        panel.player.follow = line is not None
        panel.start.setText(f"Climb {name} again" if page.climbs else f"Climb {name}")
        panel.start.setToolTip(command(job) if job is not None else self._wrong())
        panel.start.setEnabled(job is not None and line is None)
        panel.stop.setVisible(line is not None)
        panel.stop.setEnabled(line is not None and line.state != "stopping")
        panel.note.setText(_progress(line) if line is not None else self._forecast())
        panel.show_about("" if page.climbs or line is not None else name)
        panel.settings.set_title(f"Settings · {self.form.preset.currentText()}" if self.form else "Settings")
        panel.show_tag_note(tag_note(name, session.tag(session.image, session.cls)))
        self.show_going_on()
        page.command_changed.emit()

    def show_going_on(self) -> None:
        """Say which ways on there are from the shown step."""
        page, panel = self.page, self.page.panel
        view, settings = page.view, self._settings()
        if view is None:
            return
        found = page.climbs.get(page.key or "")
        own = found is not None and found.views == OWN and view.has_pictures
        free = own and page.jobs.climbing() is None
        many = self._as_many()
        differ = differences(settings, view.leaf, page.jobs.defaults) if settings is not None else []
        panel.more.setText(f"Keep climbing (+{many})")
        panel.more.setToolTip(f"Climb {many} steps more from the end, with the climb's own settings")
        panel.show_branch(differ)
        panel.once.setEnabled(free)
        panel.more.setEnabled(free)
        panel.again.setEnabled(free and page.step < view.last)
        panel.branch.setEnabled(bool(free and differ))
        panel.show_read_only(
            ""
            if own
            else "This climb was made by a batch and kept its maps only: look, but climb anew to go on."
        )

    def _timer(self, wait: int, call: Any) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(wait)
        timer.timeout.connect(call)
        return timer

    def _meet(self, engine: Any) -> None:
        engine.event.connect(self._on_event)
        engine.changed.connect(self._engine_changed)

    def _engine_changed(self) -> None:
        # A training tells of itself many times a second, and hidden buttons need not know.
        if self.page.shown:
            self.show()

    def _take_methods(self, event: Event) -> None:
        if isinstance(event, Finished):
            self.page.session.take_methods(event.result)
        else:
            why = event.message if isinstance(event, Failed) else "It was stopped."
            self.page.panel.no_form.setText(f"The engine gave no list of settings. {why}")

    def _methods_changed(self, _: Any = None) -> None:
        page, method = self.page, self.page.jobs.method
        if method is not None and self.form is None:
            self.form = Form(page.jobs.table, method["presets"]["infer"], parent=page)
            self.form.set_values({"steps": _WATCHED})
            self.form.changed.connect(self._form_changed)
            page.panel.saliency.chosen.connect(self._use_saliency)
            page.panel.saliency.said.connect(page.panel.show_told)
            page.panel.take_form(self.form)
        elif method is None:
            known = page.session.methods is not None
            said = "The engine has no method 'advcam', so its defaults are used."
            page.panel.no_form.setText(said if known else "Asking the engine for the settings…")
        self.show()

    def _form_changed(self) -> None:
        settings = self._settings()
        if settings is not None:
            self.page.strip.take_settings(settings)
        self.show()

    def _use_saliency(self, folder: str) -> None:
        """Let the form name a folder of saliency masks, or none."""
        settings = self._settings()
        if self.form is not None and settings is not None:
            settings.pop("saliency", None)
            self.form.set_values({**settings, **({"saliency": folder} if folder else {})})
            self._form_changed()

    def _settings(self) -> dict[str, Any] | None:
        """Return what the form changed from the defaults; None when a field holds what it cannot take."""
        try:
            return {} if self.form is None else self.form.values()
        except UserError:
            return None

    def _wrong(self) -> str:
        return self.form.problem() if self.form is not None else ""

    def _steps(self) -> int | None:
        return None if self.form is None or self._settings() is None else int(self.form.value("steps"))

    def _as_many(self) -> int:
        """Return how many steps the climb in front was first asked for."""
        view = self.page.view
        return max(1, view.path.traces[0].planned) if view is not None else 1

    def _forecast(self) -> str:
        steps = self._steps()
        if steps is None:
            return self._wrong()
        time = self.page.jobs.estimate(steps) or "time not known before the first climb of this session"
        return f"{steps} step{'s' if steps != 1 else ''} · {time}"

    def _go_on(self, steps: int, at: int | None = None) -> None:
        view = self.page.view
        if view is not None:
            settings = self.page.jobs.settings_of(view.leaf)
            self.submit(self.page.jobs.go_on(view.leaf, view.last if at is None else at, settings, steps))

    def _branch(self) -> None:
        view, settings = self.page.view, self._settings()
        if view is not None and settings is not None:
            steps = self._steps() or self._as_many()
            self.submit(self.page.jobs.go_on(view.leaf, self.page.step, settings, steps))

    def _stop(self) -> None:
        line = self.page.jobs.climbing()
        if line is not None:
            self.page.desk.engine.stop(line.job.id)

    def _tags_changed(self, stems: Sequence[str]) -> None:
        if self.page.session.image in stems:
            self.show()

    def _on_event(self, event: Event) -> None:
        session = self.page.session
        if not isinstance(event, Viewed) or event.image != session.image or not self.page.shown:
            return
        line = self.page.desk.engine.line(event.job)
        if line is None or not isinstance(line.job, Climb) or line.job.run != session.run:
            return
        if line.job.cls is None:
            self._reload.start()
        elif session.project is not None:
            self._grown.add(session.project.root / event.path)
            if not self._soon.isActive():  # a fast network tells more steps than can be drawn
                self._soon.start()

    def _grow(self) -> None:
        """Read the climbs anew that have new steps; one that was just begun comes to the front."""
        folders, self._grown = self._grown, set()
        page, session = self.page, self.page.session
        run = session.chosen_run
        if run is None or session.image is None or not page.shown:
            return
        place = run.views(OWN).folder / session.image / ClimbTrace.KIND
        for folder in sorted(folders):
            if folder.parent != place or not (folder / "trace.json").is_file():
                continue
            trace = page.desk.guard(ClimbTrace.load, folder)
            if trace is None or trace.cls != session.cls:
                continue
            fresh = trace.id not in page.climbs or page.view is None
            page.climbs[trace.id] = Found(trace, OWN)
            if fresh:
                page.choose(trace.id, trace.at, follow=True)
            elif page.view is not None and trace.id == page.view.leaf.id:
                page.lengthen()
        self.show()

    def _climbed(self, ending: Event) -> None:
        page = self.page
        if not page.shown:
            if isinstance(ending, Finished):
                page.news.emit()
            return
        self._soon.stop()
        self._grow()
        self._reread()
        if isinstance(ending, Failed):
            page.panel.show_warning(" ".join(part for part in (ending.message, ending.hint) if part))
        elif isinstance(ending, Finished) and ending.result.get("ending") == "plateau":
            page.panel.show_told("It stopped early: the last step hardly changed the map (a plateau).")
        elif isinstance(ending, Stopped):
            page.panel.show_told("Stopped. What was climbed is kept.")
        self.show()

    def _reread(self) -> None:
        """Take from disk how climbs ended, without moving the person."""
        page, session = self.page, self.page.session
        run = session.chosen_run
        if run is None or session.project is None or session.image is None or session.cls is None:
            return
        page.climbs = climbs_of(session.project, run, session.image, session.cls)
        page.lengthen()
        page.show_climbs()


def _progress(line: Any) -> str:
    """Return how far a climb is, in words."""
    if line.state == "stopping":
        return "Stopping after this step…"
    if line.progress is None:
        return "Waiting for its turn…" if line.state == "queued" else "Loading the network…"
    left = line.progress.seconds_left
    said = f"Step {line.progress.done} of {line.progress.total}"
    return said if left is None else f"{said} · {seconds_text(left)} left"
