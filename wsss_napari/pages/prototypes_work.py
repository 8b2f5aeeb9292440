"""Looking at images on the Prototypes page: the job, and what comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject

from engine.messages import Event, Failed, Finished, Prototypes, Stopped, Viewed, command
from wsss_napari.prototype_jobs import PrototypeJobs

if TYPE_CHECKING:
    from wsss_napari.pages.prototypes import PrototypesPage

__all__ = ["PrototypesWork"]


class PrototypesWork(QObject):
    """Submits the job of the page and shows what it kept.

    Args:
        page: The Prototypes page.
    """

    def __init__(self, page: PrototypesPage) -> None:
        super().__init__(page)
        self.page = page
        self.jobs = PrototypeJobs(page.desk)
        panel = page.panel
        panel.one.clicked.connect(lambda: self._look((page.session.image or "",)))
        panel.all.clicked.connect(lambda: self._look(()))
        panel.stop.clicked.connect(self._stop)
        page.desk.when_engine(self._meet)

    def show(self) -> None:
        """Say on the buttons what they would do now, and how far a job is."""
        page, panel, project = self.page, self.page.panel, self.page.session.project
        if project is None:
            return
        line, count = self.jobs.line, len(project.usable)
        for button, images in ((panel.one, (page.session.image or "",)), (panel.all, ())):
            job = self.jobs.look(images)
            button.setEnabled(job is not None and line is None)
            button.setToolTip("" if job is None else command(job))
        time = self.jobs.estimate(count).removeprefix("about ")
        panel.all.setText(f"Look at all {count} images" + (f" ({time})" if time else ""))
        panel.stop.setVisible(line is not None)
        panel.stop.setEnabled(line is not None and line.state != "stopping")
        panel.progress.setText(self.jobs.progress())
        panel.progress.setVisible(line is not None)

    def _look(self, images: tuple[str, ...]) -> None:
        job = self.jobs.look(images)
        if job is not None:
            self.page.panel.show_warning("")
            self.page.desk.submit(job, then=self._looked, quiet=True)
            self.show()

    def _stop(self) -> None:
        line = self.jobs.line
        if line is not None:
            self.page.desk.engine.stop(line.job.id)

    def _looked(self, ending: Event) -> None:
        page = self.page
        if not isalive(page):
            return
        if page.scene is None:
            page.load()
        if isinstance(ending, Failed):
            page.panel.show_warning(" ".join(part for part in (ending.message, ending.hint) if part))
        elif isinstance(ending, Stopped):
            page.panel.show_warning("Stopped. The images that were looked at are kept.")
        elif isinstance(ending, Finished) and ending.result.get("passed_over"):
            over = len(ending.result["passed_over"])
            said = "1 image was" if over == 1 else f"{over} images were"
            page.panel.show_warning(f"{said} passed over; the log says why.")
        if isinstance(ending, Finished) and not page.shown:
            page.news.emit()
        self.show()

    def _meet(self, engine: Any) -> None:
        engine.event.connect(self._on_event)
        engine.changed.connect(self._engine_changed)

    def _engine_changed(self) -> None:
        # A training tells of itself many times a second, and hidden buttons need not know.
        if self.page.shown:
            self.show()

    def _on_event(self, event: Event) -> None:
        page = self.page
        if not isinstance(event, Viewed) or event.image != page.session.image or not page.shown:
            return
        line = page.desk.engine.line(event.job)
        mine = line is not None and isinstance(line.job, Prototypes) and line.job.run == page.session.run
        if mine and page.scene is None:
            page.load()
