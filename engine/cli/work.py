"""The commands that are jobs: from words to a job, to its result."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Sequence
from typing import Any

from engine.cli.explain import further
from engine.cli.follow import follow
from engine.cli.here import project_here
from engine.cli.jobs import job_of, parser_of
from engine.cli.screen import Screen, span
from engine.cli.show import show
from engine.messages import Job, Methods, New
from engine.store import open_project

__all__ = ["answer"]


def answer(verb: str, words: Sequence[str]) -> tuple[int, dict[str, Any] | None]:
    """Do the job of a command line; return the exit code and what `--json` prints, if asked for."""
    found = parser_of(verb, functools.partial(further, verb)).read(words)
    job = _placed(job_of(verb, found))
    with Screen() as screen:
        result = follow(job, screen)
    if found.json:
        return 0, result
    if result:  # one of several ranks has none; the first one speaks
        show(verb, result)
    if job.WORKS:
        print(f"Done in {span(screen.seconds)}.", file=sys.stderr)
    return 0, None


def _placed(job: Job) -> Job:
    if isinstance(job, (New, Methods)):
        return job
    job = dataclasses.replace(job, project=project_here(job.project))
    # The engine asks the same, but only after the seconds that torch takes to load.
    open_project(job.project)
    return job
