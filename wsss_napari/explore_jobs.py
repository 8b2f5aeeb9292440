"""The jobs of the Explore page: draw maps, make labels."""

from __future__ import annotations

from typing import Any

from engine.labels import LabelRule
from engine.messages import Climb, Infer, Label, Refine
from engine.store import Views
from wsss_napari.estimates import infer_text
from wsss_napari.map_files import OTHERS
from wsss_napari.page_jobs import PageJobs

__all__ = ["ExploreJobs"]

# What the views of `wsss climb` say that they were drawn by.
ADVCAM = "advcam"


class ExploreJobs(PageJobs):
    """Builds the jobs from what the session has chosen, and knows which are being done.

    Args:
        desk: The desk of the viewer.
    """

    @property
    def source(self) -> Views | None:
        """The views that are shown, drawn or not."""
        run = self._desk.session.chosen_run
        return None if run is None else run.views(self._desk.session.views)

    def draw(self, images: tuple[str, ...]) -> Infer | Climb | Refine | None:
        """Return the job that draws these images, or all, as the views were drawn; None without a run."""
        source = self.source
        if source is None:
            return None
        if source.facts.get("source"):  # a refinement goes on from the maps that it began with
            return self._desk.job(
                Refine,
                refiner=str(source.facts.get("method")),
                source=str(source.facts["source"]),
                images=images,
                settings={k: v for k, v in dict(source.facts.get("settings", {})).items() if v is not None},
                run=source.run.id,
                views=source.name,
            )
        if source.facts.get("method") == ADVCAM:
            settings = dict(source.facts.get("settings", {}))
            return self._desk.job(
                Climb, run=source.run.id, images=images, views=source.name, settings=settings
            )
        # With other settings under the same name the engine would draw all images anew.
        settings = self._settings(source)
        return self._desk.job(Infer, run=source.run.id, images=images, views=source.name, settings=settings)

    def draw_others(self, image: str) -> Infer | None:
        """Return the job that draws the maps of all classes of one image."""
        source = self.source
        if source is None:
            return None
        plain = {} if source.facts.get("method") == ADVCAM else self._settings(source)
        settings = {**plain, "classes": "all"}
        return self._desk.job(Infer, run=source.run.id, images=(image,), views=OTHERS, settings=settings)

    def label(self, rule: LabelRule, name: str, crf: str) -> Label | None:
        """Return the job that makes labels of all images that have maps."""
        source = self.source
        if source is None:
            return None
        return self._desk.job(
            Label,
            source=source.run.id if source.name == "default" else str(source),
            name=name,
            background=rule.text(),
            ignore=rule.ignore_text(),
            min_region=rule.min_region,
            crf=crf,
        )

    def drawing(self, image: str) -> bool:
        """Return whether the maps of an image are being drawn, or will be."""
        run = self._desk.session.run
        return any(
            isinstance(line.job, (Climb, Infer, Refine))
            and line.open
            and line.job.run == run
            and (image in line.job.images or not line.job.images)
            for line in self._lines()
        )

    def estimate(self, images: int) -> str:
        """Return what drawing so many images takes, in words, or an empty string."""
        return infer_text(self._lines(), images)

    def _settings(self, views: Views) -> dict[str, Any]:
        """Return the settings that views were drawn with, without those that are the method's defaults."""
        settings = dict(views.facts.get("settings", {}))
        methods = self._desk.session.methods or ()
        table = next((m["infer"] for m in methods if m["name"] == views.run.method and m["available"]), [])
        defaults = {row["name"]: row["default"] for row in table}
        return {k: v for k, v in settings.items() if k not in defaults or defaults[k] != v}
