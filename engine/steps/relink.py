"""Point a project at the place its images or truth moved to."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from engine.errors import UserError
from engine.messages import Event, Relink, Said
from engine.store import open_project
from engine.work import Work

__all__ = ["run"]


def run(job: Relink, desk: Work) -> Generator[Event, None, dict[str, Any]]:
    """Relink; nothing is changed unless every image of the project is there.

    Raises:
        UserError: Neither folder was given, or images are missing.
    """
    if job.images is None and job.truth is None:
        raise UserError("Nothing to relink was given.", "Give --images DIR, --truth DIR, or both.")
    project = open_project(job.project)
    for text in project.relink(
        Path(job.images).expanduser() if job.images else None,
        Path(job.truth).expanduser() if job.truth else None,
    ):
        yield Said(text=text, level="warning")
    return {"project": str(project.root), "images": str(project.image_folder)}
