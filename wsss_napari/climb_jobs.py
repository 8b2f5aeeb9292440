"""The jobs of the Climb page: climb, go on, make the label, write the film."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.labels import LabelRule
from engine.messages import Climb, Film, Finished, Label
from engine.results import ClimbTrace
from engine.store import Run
from wsss_napari.climb_view import OWN, Found
from wsss_napari.estimates import seconds_text
from wsss_napari.page_jobs import PageJobs

__all__ = ["METHOD", "ClimbJobs", "Pick"]

METHOD = "advcam"
# What a climb of one class, step by step, has no use for: it is one class and keeps its pictures.
_NOT_HERE = frozenset({"classes", "predicted_above", "keep"})


@dataclass(frozen=True)
class Pick:
    """The step that a person chose for a class: in which views, of which trace."""

    views: str
    trace: str
    step: int


class ClimbJobs(PageJobs):
    """Builds the jobs from what the session has chosen, and knows which are being done.

    Args:
        desk: The desk of the viewer.
    """

    @property
    def method(self) -> dict[str, Any] | None:
        """What the Methods job says of climbing; None before it was asked, or when it cannot be used."""
        methods = self._desk.session.methods or ()
        return next((m for m in methods if m["name"] == METHOD and m["available"]), None)

    @property
    def table(self) -> list[dict[str, Any]]:
        """The rows of the form."""
        method = self.method
        return [] if method is None else [row for row in method["infer"] if row["name"] not in _NOT_HERE]

    @property
    def defaults(self) -> dict[str, Any]:
        """Setting -> default; empty before the methods are known."""
        return {row["name"]: row["default"] for row in self.table}

    def climb(self, settings: Mapping[str, Any]) -> Climb | None:
        """Return the job that climbs the chosen class in the image in front, from the photograph."""
        return self._climb(dict(settings))

    def go_on(self, trace: ClimbTrace, at: int, settings: Mapping[str, Any], steps: int) -> Climb | None:
        """Return the job that goes on from a step of a climb.

        Args:
            trace: The climb that is left.
            at: Step of it.
            settings: Those of the new branch, without what is the default.
            steps: How many more.
        """
        return self._climb({**settings, "steps": steps}, trace=trace.id, at=at)

    def settings_of(self, trace: ClimbTrace) -> dict[str, Any]:
        """Return the settings of a climb without those that are the defaults."""
        defaults = self.defaults
        return {
            name: value
            for name, value in trace.settings.items()
            if name not in _NOT_HERE and (name not in defaults or _plain(defaults[name]) != _plain(value))
        }

    def label(self, picks: Mapping[int, Pick], cls: int, rule: LabelRule, name: str) -> Label | None:
        """Return the job that makes the label of the image in front from picked steps.

        Args:
            picks: Class -> step. A label takes the climbs of one set of views: those of `cls`.
            cls: The class that was chosen last; it comes last.
            rule: How the maps become a mask.
            name: Of the labels.
        """
        session, run = self._desk.session, self._desk.session.chosen_run
        if run is None or session.image is None or cls not in picks:
            return None
        views = picks[cls].views
        order = [c for c in sorted(picks) if c != cls and picks[c].views == views] + [cls]
        return self._desk.job(
            Label,
            source=self.source(run, session.image, views),
            images=(session.image,),
            climbed=tuple(f"{picks[c].trace}@{picks[c].step}" for c in order),
            climbs=f"{run.id}/{views}",
            name=name,
            background=rule.text(),
            ignore=rule.ignore_text(),
            min_region=rule.min_region,
        )

    def source(self, run: Run, image: str, views: str) -> str:
        """Return `RUN[/VIEWS]` whose maps the other classes of the image are taken from."""
        drawn = run.views().path(image).is_file() and (run.views().folder / "views.json").is_file()
        return run.id if drawn else f"{run.id}/{views}"

    def film(self, climb: Found, out: Path, overwrite: bool) -> Film | None:
        """Return the job that writes a climb into a file, whose ending says the format."""
        run = self._desk.session.run
        if run is None:
            return None
        return self._desk.job(
            Film,
            source=f"{run}/{climb.views}",
            image=climb.trace.image,
            trace=climb.trace.id,
            out=str(out),
            overwrite=overwrite,
        )

    def climbing(self) -> Any | None:
        """Return the line of the climb of the chosen class in the image in front that is being done or waits, or None."""
        session = self._desk.session
        if session.project is None or session.cls is None:
            return None
        wanted = (session.run, (session.image,), session.project.classes[session.cls])
        for line in self._lines():
            job = line.job
            if line.open and isinstance(job, Climb) and (job.run, job.images, job.cls) == wanted:
                return line
        return None

    def estimate(self, steps: int) -> str:
        """Return what so many steps take, in words, going by the last climb of this session, or ""."""
        for line in reversed(self._lines()):
            single = isinstance(line.job, Climb) and line.job.cls is not None
            if single and isinstance(line.ending, Finished) and line.ended is not None:
                done = int(line.ending.result.get("steps", 0)) - int(line.job.at or 0)
                if done > 0:
                    return f"about {seconds_text((line.ended - line.began) / done * steps)}"
        return ""

    def _climb(self, settings: dict[str, Any], **where: Any) -> Climb | None:
        session = self._desk.session
        project, image, cls = session.project, session.image, session.cls
        if project is None or image is None or cls is None or session.run is None:
            return None
        return self._desk.job(
            Climb,
            run=session.run,
            images=(image,),
            views=OWN,
            cls=project.classes[cls],
            settings=settings,
            **where,
        )


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple)) else value
