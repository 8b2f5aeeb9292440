"""What is made of a climb on the Climb page: the image's label, a film; and its removal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFileDialog

from engine.messages import Event, Failed, Finished, Label
from engine.results import branches_of, remove
from wsss_napari.climb_jobs import Pick
from wsss_napari.climb_view import OWN
from wsss_napari.pages.climb_body import FILMS

if TYPE_CHECKING:
    from wsss_napari.pages.climb import ClimbPage

__all__ = ["ClimbEnds"]


class ClimbEnds(QObject):
    """Label, film and removal of the climb in front.

    Args:
        page: The Climb page.
    """

    def __init__(self, page: ClimbPage) -> None:
        super().__init__(page)
        self.page = page
        # Per run and image: class -> the step that the person chose for it.
        self._picks: dict[tuple[str | None, str | None], dict[int, Pick]] = {}
        panel = page.panel
        panel.use.clicked.connect(self._offer)
        panel.label.asked.connect(self._make)
        panel.label.closed.connect(lambda: self._close())
        panel.label.changed.connect(page.command_changed)
        panel.tree.remove_asked.connect(self._ask_removal)
        panel.question.removed.connect(self._remove)
        for ending, words in FILMS.items():
            panel.films.addAction(words).triggered.connect(lambda _on=False, ending=ending: self.film(ending))

    def pick(self) -> None:
        """Keep the shown step as the one that was chosen for its class."""
        page = self.page
        found = page.climbs.get(page.key or "")
        if found is not None:
            picks = self._picks.setdefault((page.session.run, page.session.image), {})
            picks[found.trace.cls] = Pick(found.views, found.trace.id, page.step)

    def label_job(self) -> Label | None:
        """Return the job that makes this image's label of the shown step and of those picked for other classes."""
        page = self.page
        if page.view is None or page.session.cls is None:
            return None
        self.pick()
        return page.jobs.label(
            self._there(), page.session.cls, page.panel.rule.rule, page.panel.label.name.text()
        )

    def refresh(self) -> None:
        """Say anew what the label will hold, if its panel is open."""
        if self.page.panel.label.isVisibleTo(self.page.panel):
            self.page.panel.label.show_for(self._holds())

    def film(self, ending: str) -> None:
        """Ask for a file and write the climb into it."""
        page = self.page
        found = page.climbs.get(page.key or "")
        if found is None:
            return
        out = self.ask_file(ending, f"{found.trace.image}_{page.class_name}{ending}")
        if out is None:
            return
        if out.suffix.lower() != ending:
            out = out.with_name(out.name + ending)
        # The dialog has asked before it names a file that is there.
        job = page.jobs.film(found, out, overwrite=out.exists())
        if job is not None:
            page.panel.show_told(f"Writing {out.name}…")
            page.desk.submit(job, then=lambda event: self._told(event, f"Written to {out}."), quiet=True)

    def ask_file(self, ending: str, name: str) -> Path | None:
        """Ask for the file to write; None when the person would rather not."""
        title = FILMS[ending].rstrip("…")
        chosen, _ = QFileDialog.getSaveFileName(self.page, title, str(Path.home() / name), f"*{ending}")
        return Path(chosen) if chosen else None

    def _there(self) -> dict[int, Pick]:
        """Return the picks of the image in front whose climbs were not removed meanwhile."""
        page, run = self.page, self.page.session.chosen_run
        image = page.session.image
        if run is None or image is None:
            return {}
        picks = self._picks.get((run.id, image), {})
        place = {cls: run.views(p.views).folder / image / "climb" / p.trace for cls, p in picks.items()}
        return {cls: pick for cls, pick in picks.items() if (place[cls] / "trace.json").is_file()}

    def _holds(self) -> str:
        """Return what the label will hold, in words."""
        job, project, run = self.label_job(), self.page.session.project, self.page.session.chosen_run
        if job is None or project is None or run is None:
            return ""
        said = []
        for climbed in job.climbed:
            trace, _, step = climbed.partition("@")
            said.append(f"{project.classes[int(trace.partition('.')[0])]} from step {step} of climb {trace}")
        others = f"Other classes from the maps of {run.title}."
        if job.source != run.id:
            others = f"{run.title} has no maps of this image, so it holds no other class."
        return f"{', '.join(said)}. {others}"

    def _offer(self) -> None:
        self.page.panel.show_label_panel(True)
        self.refresh()

    def _close(self) -> None:
        self.page.panel.show_label_panel(False)
        self.page.command_changed.emit()

    def _make(self) -> None:
        job, page = self.label_job(), self.page
        if job is not None:
            where = f"The label of {job.images[0]} is in the labels '{job.name}'."
            said = f"{where} Compare it on the Explore page, write it on the Export page."
            page.panel.show_told(f"Making the label of {job.images[0]}…")
            page.desk.submit(job, then=lambda event: self._told(event, said), quiet=True)
        self._close()

    def _told(self, event: Event, said: str) -> None:
        if isinstance(event, Finished):
            self.page.panel.show_told(said)
            self.page.desk.said("info", said)
        elif isinstance(event, Failed):
            self.page.panel.show_told("")
            self.page.panel.show_warning(" ".join(part for part in (event.message, event.hint) if part))
        else:
            self.page.panel.show_told("It was stopped.")

    def _ask_removal(self, key: str) -> None:
        page = self.page
        found = page.climbs.get(key)
        if found is None:
            return
        page.panel.question.hide()
        own = {f.trace.id: f.trace for f in page.climbs.values() if f.views == found.views}
        branches = branches_of(own, found.trace.id)
        if found.views != OWN:
            page.panel.show_warning(
                f"This climb belongs to the batch '{found.views}'; it goes when the batch is made anew."
            )
        elif found.trace.folder == page.work.climbing_folder():
            page.panel.show_warning("This climb is still being climbed. Stop it first.")
        elif branches:
            listed = ", ".join(branches)
            page.panel.show_warning(
                f"Climb {key} cannot be removed: {listed} went on from it. Remove {listed} first."
            )
        else:
            steps = found.trace.rows
            page.panel.question.ask(key, f"Remove climb {key} with its {steps} steps? This cannot be undone.")

    def _remove(self, key: str) -> None:
        found = self.page.climbs.get(key)
        if found is not None:
            try:
                remove(found.trace)
            except OSError as error:
                self.page.panel.show_warning(f"Climb {key} could not be removed: {error.strerror}.")
                return
            picks = self._picks.get((self.page.session.run, self.page.session.image), {})
            if picks.get(found.trace.cls) is not None and picks[found.trace.cls].trace == found.trace.id:
                del picks[found.trace.cls]  # the id is given again
            self.page.load()
