"""The jobs of the Refine page: one Refine for each card, one after the other, and what is known of their time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from engine.messages import Event, Finished, Label, Refine, command
from engine.params import describe, presets, text_of
from engine.refiners import REFINERS as LOCAL_REFINERS
from engine.store import Views
from wsss_napari.desk import Desk
from wsss_napari.estimates import seconds_text
from wsss_napari.page_jobs import PageJobs
from wsss_napari.refine_chain import LOCAL, NETWORK_FIELD, Link, MadeBox, Station, route

__all__ = ["RefineJobs"]


class RefineJobs(PageJobs):
    """Builds the jobs of a chain, gives them to the engine one by one, and knows how far they are.

    Args:
        desk: The desk of the viewer.
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._queue: list[Refine] = []
        self._at: str | None = None
        self._count = 0
        self._guessed: dict[str, float] = {}
        self._done: Callable[[Event], None] = lambda _event: None

    @property
    def tables(self) -> dict[str, Mapping[str, Any]]:
        """Refiner -> its card and field table: from the engine, or those of the floor before it was asked."""
        listed = self._desk.session.refiners or ()
        return {**_local_tables(), **{row["name"]: row for row in listed}}

    def defaults(self, refiner: str) -> dict[str, Any]:
        """Return setting -> default of a refiner; empty before they are known."""
        rows = self.tables.get(refiner, {}).get("fields", ())
        return {row["name"]: _plain(row["default"]) for row in rows}

    def route(self, source: Views, links: Sequence[Link], boxes: Sequence[MadeBox]) -> list[Station]:
        """Return where each card leads, knowing the boxes that were made from the source."""
        project = self._desk.session.project
        return [] if project is None else route(project, source, links, boxes, self.defaults)

    def chain(
        self, stations: Sequence[Station], *, split: str | None = None, image: str | None = None
    ) -> list[Refine]:
        """Return the jobs of a chain: of one image, whose stages are kept, or of a split, or of all."""
        images = () if image is None else (image,)
        return [
            self._desk.job(Refine, **station.fields(split, images, image is not None)) for station in stations
        ]

    @staticmethod
    def commands(jobs: Sequence[Refine]) -> str:
        """Return the `wsss refine` lines of a chain, each done only when the one before went well."""
        return " && ".join(command(job) for job in jobs)

    def label(self, source: str, name: str) -> Label:
        """Return the job that makes labels of a box, which needs no rule: it has a background score."""
        return self._desk.job(Label, source=source, name=name)

    def changed_settings(self, box: MadeBox) -> dict[str, Any]:
        """Return the settings of a box that are known and not the defaults, without the network's."""
        defaults = self.defaults(box.refiner)
        return {
            name: box.settings[name]
            for name in defaults
            if name != NETWORK_FIELD and name in box.settings and _plain(box.settings[name]) != defaults[name]
        }

    def differing(self, box: MadeBox) -> list[str]:
        """Return `name value` of each setting of a box that is not the default."""
        return [f"{k.replace('_', ' ')} {text_of(v)}" for k, v in self.changed_settings(box).items()]

    @property
    def working(self) -> bool:
        """Whether a chain is being done."""
        return bool(self._at or self._queue)

    @property
    def line(self) -> Any | None:
        """The engine's line of the card that is being done, or None."""
        return None if self._engine is None or self._at is None else self._engine.line(self._at)

    @property
    def place(self) -> tuple[int, int]:
        """(number of the card that is being done, from 1; how many)."""
        return self._count - len(self._queue), self._count

    def start(self, jobs: Sequence[Refine], done: Callable[[Event], None]) -> None:
        """Do the jobs one after the other.

        Args:
            jobs: Of one chain.
            done: Gets the ending of each.
        """
        self._queue, self._count, self._done = list(jobs), len(jobs), done
        self._next()

    def stop(self) -> None:
        """Stop after the image that is being done; what was done is kept and the same chain goes on there."""
        self._queue.clear()
        if self._at is not None:
            self._desk.engine.stop(self._at)

    def estimate(self, links: Sequence[Link], images: int) -> str:
        """Return `about 6 min` for a chain over so many images, or an empty string where a card was never timed."""
        paces = [self.pace(link.refiner) for link in links]
        known = [p for p in paces if p is not None]
        return f"about {seconds_text(sum(known) * images)}" if links and len(known) == len(paces) else ""

    def pace(self, refiner: str) -> float | None:
        """Return the seconds an image took in the last job of a refiner that refined any, or None."""
        best: tuple[int, float] | None = None
        for line in reversed(self._lines()):
            job, ending = line.job, line.ending
            if not isinstance(job, Refine) or job.refiner != refiner or not isinstance(ending, Finished):
                continue
            fresh = int(ending.result.get("images", 0)) - int(ending.result.get("kept", 0))
            # One image by itself pays for the start of the job: many tell more.
            if fresh > 0 and line.ended is not None and (best is None or fresh > best[0]):
                best = fresh, (line.ended - line.began) / fresh
        return self._guessed.get(refiner) if best is None else best[1]

    def timed(self, refiner: str, seconds: float) -> None:
        """Keep what an image takes by a preview, for want of better."""
        self._guessed[refiner] = seconds

    def _next(self) -> None:
        self._at = None
        if self._queue:
            job = self._queue.pop(0)
            self._at = self._desk.submit(job, then=self._ended, quiet=True) or None
            if self._at is None:
                self._queue.clear()

    def _ended(self, ending: Event) -> None:
        if isinstance(ending, Finished):
            self._next()
        else:
            self._queue.clear()
            self._at = None
        self._done(ending)


@functools.cache
def _local_tables() -> dict[str, Mapping[str, Any]]:
    return {
        name: {
            "name": name,
            "title": LOCAL_REFINERS[name].title,
            "sentence": LOCAL_REFINERS[name].sentence,
            "needs": "",
            "fields": [asdict(f) for f in describe(LOCAL_REFINERS[name].settings)],
            "presets": presets(LOCAL_REFINERS[name].settings),
        }
        for name in LOCAL
    }


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
