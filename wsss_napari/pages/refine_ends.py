"""What is made of a box on the Refine page: labels, its chain in the cards; and its deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from engine.errors import UserError
from engine.messages import Event, Failed, Finished, Label
from wsss_napari.refine_chain import Link, source_text

if TYPE_CHECKING:
    from wsss_napari.pages.refine import RefinePage

__all__ = ["RefineEnds"]


class RefineEnds(QObject):
    """Labels, settings and deletion of the chosen box.

    Args:
        page: The Refine page.
    """

    def __init__(self, page: RefinePage) -> None:
        super().__init__(page)
        self.page = page
        boxes = page.panel.boxes
        boxes.take_asked.connect(self._take)
        boxes.use_asked.connect(self._offer_label)
        boxes.delete_asked.connect(self._ask_deletion)
        boxes.question.removed.connect(self.delete)
        boxes.label.asked.connect(self._make_label)
        boxes.label.closed.connect(lambda: self._close_label())
        boxes.label.changed.connect(page.command_changed)

    def _take(self, key: str) -> None:
        """Show the chain that made a box in the cards."""
        box = self.page.box(key)
        made = {b.key: b for b in self.page.boxes}
        if box is None:
            return
        links = []
        for step in (made[k] for k in box.path if k in made):
            settings = self.page.jobs.changed_settings(step)
            links.append(Link(step.refiner, settings, step.network))
        self.page.panel.chain.set_links(links)

    def label_job(self) -> Label | None:
        """Return the job that makes labels of the chosen box, or None."""
        box = self.page.box(self.page.panel.boxes.current or "")
        if box is None:
            return None
        return self.page.jobs.label(source_text(box.views), self.page.panel.boxes.label.name.text())

    def _offer_label(self, key: str) -> None:
        box = self.page.box(key)
        if box is not None:
            count = len(self.page.stems(box.views))
            holds = f"{count} image{'s' if count != 1 else ''} of {box.title}, by its own background score."
            self.page.panel.boxes.show_label_panel(holds)
            self.page.command_changed.emit()

    def _close_label(self) -> None:
        self.page.panel.boxes.show_label_panel(None)
        self.page.command_changed.emit()

    def _make_label(self) -> None:
        job = self.label_job()
        if job is not None:
            self.page.panel.show_told(f"Making the labels '{job.name}'…")
            self.page.desk.submit(job, then=lambda event: self._labelled(event, job), quiet=True)
        self._close_label()

    def _labelled(self, event: Event, job: Label) -> None:
        self.page.panel.show_told("")
        if isinstance(event, Finished):
            said = f"The labels '{job.name}' are there. Measure and write them on the Export page."
            self.page.panel.show_told(said)
            self.page.desk.said("info", said)
        elif isinstance(event, Failed):
            self.page.panel.show_warning(" ".join(part for part in (event.message, event.hint) if part))

    def _ask_deletion(self, key: str) -> None:
        box = self.page.box(key)
        if box is None:
            return
        count = len(self.page.stems(box.views))
        later = [b.title for b in self.page.boxes if key in b.path[:-1]]
        stays = f" {', '.join(later)} made from it stay{'s' if len(later) == 1 else ''}." if later else ""
        self.page.panel.boxes.question.ask(
            key,
            f"Delete {box.title} with the maps of {count} image{'s' if count != 1 else ''}?{stays} "
            "This cannot be undone.",
        )

    def delete(self, key: str) -> None:
        """Delete a box; one in the run of a network leaves the network."""
        box = self.page.box(key)
        self.page.panel.boxes.question.hide()
        if box is None:
            return
        try:
            # Boxes in a network's run are its views; the network stays.
            if box.views.run.is_refinement and len(box.views.run.all_views()) == 1:
                box.views.run.delete()
            else:
                box.views.clear()
        except (UserError, OSError) as error:
            self.page.panel.show_warning(str(error))
            return
        self.page.leave_box()
        self.page.session.runs_changed.emit()
