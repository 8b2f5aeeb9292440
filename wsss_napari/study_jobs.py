"""The studies of a run: which there are, whether one can be run, how long it takes, and its job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.errors import UserError
from engine.messages import Finished, Study
from wsss_napari.estimates import seconds_text
from wsss_napari.page_jobs import PageJobs

__all__ = ["StudyJobs"]

_CLIMB = "advcam"


class StudyJobs(PageJobs):
    """Builds the jobs from what the session has chosen, and knows which are being done.

    Args:
        desk: The desk of the viewer.
    """

    def study(self, name: str) -> dict[str, Any] | None:
        """Return what the engine says of a study, or None before it was asked."""
        return next((s for s in self._desk.session.studies or () if s["name"] == name), None)

    def tables(self, name: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the rows of a study's own settings, and those of the climb with this study's defaults."""
        study = self.study(name)
        rows: Sequence[dict[str, Any]] = () if study is None else study["parameters"]
        methods = self._desk.session.methods or ()
        climb = next((m["infer"] for m in methods if m["name"] == _CLIMB and m["available"]), ())
        names = {row["name"] for row in climb}
        return [r for r in rows if r["name"] not in names], [r for r in rows if r["name"] in names]

    def why_not(self, name: str) -> str:
        """Return why a study cannot be run here, or an empty string."""
        session, study = self._desk.session, self.study(name)
        if study is None:
            return "The engine has not listed its studies."
        if session.project is None:
            return "No project is open."
        if study["needs_truth"] and session.project.truth_place is None:
            return "Needs truth masks, and this project has none."
        run = session.chosen_run
        if run is None or not run.weights.is_file():
            return "No trained run is chosen. Train one on the Train page."
        return ""

    def job(self, name: str, *, split: str, count: int | None, settings: Mapping[str, Any]) -> Study | None:
        """Return the job of a study, or None where it cannot be run."""
        run = self._desk.session.run
        if self.why_not(name) or run is None:
            return None
        return self._desk.job(Study, study=name, run=run, split=split, count=count, settings=dict(settings))

    def doing(self, name: str) -> Any | None:
        """Return the line of a study of the chosen run that waits or runs, or None."""
        run = self._desk.session.run
        return next((line for line in self._studies(name) if line.open and line.job.run == run), None)

    def images(self, name: str, split: str, count: int | None) -> int:
        """Return how many images a study looks at, at most."""
        project, study = self._desk.session.project, self.study(name)
        if project is None or study is None:
            return 0
        try:
            every = len(project.stems(split))
        except UserError:
            return 0
        return min(every, count or int(study["count"]))

    def estimate(self, job: Study) -> str:
        """Return what a study takes, in words: `40 images · about 2 min`."""
        images = self.images(job.study, job.split, job.count)
        text = f"{images} image{'s' if images != 1 else ''} at most"
        study = self.study(job.study)
        if study is None:
            return text
        for line in reversed(self._studies(job.study)):
            if line.job.run == job.run and isinstance(line.ending, Finished) and line.ending.result["images"]:
                pace = line.ending.result["seconds"] / line.ending.result["images"]
                seconds = images * pace * self._work(job) / max(self._work(line.job), 1e-9)
                return f"{text} · about {seconds_text(seconds)}, going by the last time"
        defaults = Study(study=job.study, run=job.run)
        seconds = images * float(study["seconds"]) * self._work(job) / max(self._work(defaults), 1e-9)
        return f"{text} · about {seconds_text(seconds)} with mobilenet_v2 on two cores"

    def _work(self, job: Study) -> float:
        """Return the work of an image under the settings of a job, relative to other settings of the study."""
        rows = self.tables(job.study)[1]
        chosen = {row["name"]: job.settings.get(row["name"], row["default"]) for row in rows}
        area = sum(float(s) ** 2 for s in chosen.get("scales", (1.0,)))
        return (float(chosen.get("steps", 0)) + 1) * area * (2 if chosen.get("flip", True) else 1)

    def _studies(self, name: str) -> list[Any]:
        return [line for line in self._lines() if isinstance(line.job, Study) and line.job.study == name]
