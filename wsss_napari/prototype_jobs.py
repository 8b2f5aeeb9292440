"""The job of the Prototypes page: keep one pass of a run's network over an image, or over all."""

from __future__ import annotations

from typing import Any

from engine.messages import Finished, Prototypes
from wsss_napari.estimates import seconds_text
from wsss_napari.page_jobs import PageJobs
from wsss_napari.prototype_bank import VIEWS

__all__ = ["METHOD", "PrototypeJobs"]

#: The method whose runs keep a support bank.
METHOD = "cpal"


class PrototypeJobs(PageJobs):
    """Builds the job from what the session has chosen, and knows whether it is being done.

    Args:
        desk: The desk of the viewer.
    """

    def look(self, images: tuple[str, ...]) -> Prototypes | None:
        """Return the job that passes over these images, or over all of the project; None without a run."""
        run = self._desk.session.chosen_run
        return None if run is None else self._desk.job(Prototypes, run=run.id, images=images, views=VIEWS)

    @property
    def line(self) -> Any | None:
        """The line of the job of the chosen run that is being done or waits, or None."""
        run = self._desk.session.run
        lines = [x for x in self._lines() if x.open and isinstance(x.job, Prototypes) and x.job.run == run]
        return lines[0] if lines else None

    def progress(self) -> str:
        """Return how far it is, in words; empty when there is none."""
        line = self.line
        if line is None:
            return ""
        if line.state == "stopping":
            return "Stopping after this image…"
        if line.progress is None:
            return "Waiting for its turn…" if line.state == "queued" else "Loading the network…"
        done = line.progress
        said = f"Image {done.done} of {done.total}"
        return said if done.seconds_left is None else f"{said} · {seconds_text(done.seconds_left)} left"

    def estimate(self, images: int) -> str:
        """Return what so many images take, in words, going by the last such job of this session, or ""."""
        for line in reversed(self._lines()):
            done = isinstance(line.job, Prototypes) and isinstance(line.ending, Finished)
            if done and line.ended is not None and line.ending.result["images"]:
                pace = (line.ended - line.began) / line.ending.result["images"]
                return f"about {seconds_text(pace * images)}"
        return ""
