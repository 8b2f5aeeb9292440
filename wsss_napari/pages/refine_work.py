"""Running the chain on the Refine page: this image or many, progress, stop, what is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer

from engine.messages import Event, Failed, Finished, Methods, Refine, Stopped, Viewed
from wsss_napari.estimates import seconds_text
from wsss_napari.refine_chain import Station

if TYPE_CHECKING:
    from wsss_napari.pages.refine import RefinePage

__all__ = ["RefineWork"]

_RELOAD_MS = 150


class RefineWork(QObject):
    """Submits the chain of the page and says how far it is.

    Args:
        page: The Refine page.
    """

    def __init__(self, page: RefinePage) -> None:
        super().__init__(page)
        self.page = page
        # Box that comes to the front when the chain is done.
        self._goal: str | None = None
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_RELOAD_MS)
        self._soon.timeout.connect(self._look_again)
        panel, session = page.panel, page.session
        panel.one.clicked.connect(self.refine_one)
        panel.all.clicked.connect(self.refine_all)
        panel.stop.clicked.connect(self._stop)
        panel.split.activated.connect(lambda _index: self.show())
        session.events.methods.connect(self._methods_changed)
        page.desk.when_engine(self._meet)

    def prepare(self) -> None:
        """Ask the engine for the settings of all refiners."""
        desk, session = self.page.desk, self.page.session
        asked = any(isinstance(line.job, Methods) and line.open for line in desk.engine.jobs)
        if session.methods is None and not asked:
            desk.submit(Methods(), then=self._take_methods, quiet=True)

    def one(self) -> list[Refine]:
        """Return the jobs that refine the image in front, or none while something is missing."""
        image = self.page.session.image
        stations = self.page.stations()
        return [] if image is None else self.page.jobs.chain(stations, image=image)

    def many(self) -> list[Refine]:
        """Return the jobs that refine the chosen split, or none while something is missing."""
        split, _ = self.page.panel.split.currentData() or (None, 0)
        return self.page.jobs.chain(self.page.stations(), split=split)

    def refine_one(self) -> None:
        """Refine the image in front, and show it."""
        self._start(self.one())

    def refine_all(self) -> None:
        """Refine all images of the split."""
        self._start(self.many())

    def show(self) -> None:
        """Say on the buttons what they would do now, and how far a chain is."""
        page, panel = self.page, self.page.panel
        if page.session.project is None or page.source is None:
            return
        working = page.jobs.working
        stations = page.stations()
        problem = panel.chain.problem()
        covered = page.front.before_stack is not None
        one = "" if covered else "The chosen maps have none of this image."
        panel.one.setEnabled(bool(stations) and covered and not working)
        panel.one.setToolTip(problem or one or page.jobs.commands(self.one()))
        _, count = panel.split.currentData() or (None, 0)
        left = self._left(stations, count)
        panel.all.setText(self._all_text(stations, count, left))
        panel.all.setEnabled(bool(stations) and count > 0 and not working)
        panel.all.setToolTip(problem or page.jobs.commands(self.many()))
        panel.stop.setVisible(working)
        line = page.jobs.line
        panel.stop.setEnabled(line is None or line.state != "stopping")
        panel.note.setText(
            self._progress(line) if working else problem or one or self._forecast(stations, count, left)
        )
        page.command_changed.emit()

    def _start(self, jobs: list[Refine]) -> None:
        page = self.page
        if not jobs or page.jobs.working:
            return
        page.end_preview()
        page.panel.show_warning("")
        page.panel.show_told("")
        self._goal = f"{jobs[-1].run}/{jobs[-1].views}"
        page.jobs.start(jobs, self._ended)
        self.show()

    def _look_again(self) -> None:
        self.page.forget_counts()
        self.page.reread()

    def _stop(self) -> None:
        self.page.jobs.stop()
        self.show()

    def _left(self, stations: list[Station], count: int) -> int:
        """Return how many images of the split the last box still lacks."""
        page = self.page
        if not stations or not stations[-1].there:
            return count
        split, _ = page.panel.split.currentData() or (None, 0)
        wanted = page.covered(split)
        box = next((b for b in page.boxes if b.key == stations[-1].key), None)
        return count if box is None else count - len(wanted & page.stems(box.views))

    def _all_text(self, stations: list[Station], count: int, left: int) -> str:
        split, _ = self.page.panel.split.currentData() or (None, 0)
        what = f"{'all ' if split is None else ''}{count} image{'s' if count != 1 else ''}"
        if stations and count and left == 0:
            return f"Run again on {what}"
        # Estimates say `about 6 min`; in brackets the number alone is enough.
        time = self.page.jobs.estimate([s.link for s in stations], left).removeprefix("about ")
        words = f"Run on {what}" if left == count else f"Go on: {left} of {count} images"
        return f"{words} ({time})" if time else words

    def _forecast(self, stations: list[Station], count: int, left: int) -> str:
        if not stations:
            return ""
        if count and left == 0:
            return "All of these images are refined this way already; unchanged ones are kept."
        where = " then ".join(s.run for s in stations)
        known = self.page.jobs.estimate([s.link for s in stations], 1)
        time = "" if known else " · time not known before the first image"
        return f"Into {where}{time}"

    def _progress(self, line: Any) -> str:
        """Return how far the chain is, in words."""
        at, count = self.page.jobs.place
        job = None if line is None else line.job
        name = "" if not isinstance(job, Refine) else job.refiner.upper()
        said = f"{name} (card {at} of {count})" if count > 1 else name
        if line is None or line.progress is None:
            waits = line is not None and line.state == "queued"
            return f"{said} · {'waiting for its turn…' if waits else 'beginning…'}"
        if line.state == "stopping":
            return f"{said} · stopping after this image…"
        done = line.progress
        left = "" if done.seconds_left is None else f" · {seconds_text(done.seconds_left)} left"
        return f"{said} · image {done.done} of {done.total}{left}"

    def _ended(self, ending: Event) -> None:
        page = self.page
        if not isalive(page):
            return
        page.session.runs_changed.emit()
        if isinstance(ending, Failed):
            page.panel.show_warning(" ".join(part for part in (ending.message, ending.hint) if part))
        elif isinstance(ending, Stopped):
            page.panel.show_told("Stopped. What was refined is kept, and the same chain goes on from there.")
        elif isinstance(ending, Finished) and not page.jobs.working:
            page.panel.show_told(_told(ending.result))
            if not page.shown:
                page.news.emit()
        if not page.jobs.working and page.shown:
            page.bring(self._goal)
            if isinstance(ending, Finished) and page.front.summary:
                # What it did to this image is told where the button is; the rest may be out of sight.
                page.panel.show_told(f"{_told(ending.result)} {page.front.summary}")
        self.show()

    def _meet(self, engine: Any) -> None:
        engine.event.connect(self._on_event)
        engine.changed.connect(self._engine_changed)

    def _engine_changed(self) -> None:
        # A training tells of itself many times a second, and hidden buttons need not know.
        if self.page.shown and self.page.jobs.working:
            self.show()

    def _on_event(self, event: Event) -> None:
        page = self.page
        if isinstance(event, Viewed) and page.shown and event.image == page.session.image:
            line = page.desk.engine.line(event.job)
            if line is not None and isinstance(line.job, Refine):
                self._soon.start()

    def _take_methods(self, event: Event) -> None:
        if isinstance(event, Finished):
            self.page.session.take_methods(event.result)
        elif isalive(self.page):
            why = event.message if isinstance(event, Failed) else "It was stopped."
            self.page.panel.show_warning(f"The engine gave no list of settings. {why}")

    def _methods_changed(self, _: Any = None) -> None:
        self.page.panel.chain.set_tables(self.page.jobs.tables)
        self.show()


def _told(result: dict[str, Any]) -> str:
    images = int(result.get("images", 0))
    said = f"{images} image{'s' if images != 1 else ''} in {str(result.get('views', '')).removesuffix('/default')}."
    over = result.get("passed_over") or ()
    if over:
        said += f" {len(over)} passed over; the log says why."
    return said
