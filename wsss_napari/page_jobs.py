"""What builders of jobs share: the desk, and the lines of the engine once there is one."""

from __future__ import annotations

from typing import Any

from wsss_napari.desk import Desk

__all__ = ["PageJobs"]


class PageJobs:
    """Builds the jobs of a page from what the session has chosen, and knows which are being done.

    Args:
        desk: The desk of the viewer.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._engine: Any = None
        desk.when_engine(self._meet)

    def _lines(self) -> list[Any]:
        """Return the lines of all jobs, oldest first; none before the engine was asked for anything."""
        return [] if self._engine is None else list(self._engine.jobs)

    def _meet(self, engine: Any) -> None:
        self._engine = engine
