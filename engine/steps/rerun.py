"""Repeat a run from its run.json, as a new run beside it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Generator
from typing import Any

from engine.errors import UserError
from engine.messages import Event, Rerun, Train, decode
from engine.steps import train
from engine.store import free_name, open_project, run_of
from engine.work import Work

__all__ = ["run"]


def run(job: Rerun, desk: Work) -> Generator[Event, None, dict[str, Any]]:
    """Train again with the recorded method, parameters, plan, seed and split.

    Raises:
        UserError: The run recorded no job that can be repeated.
    """
    project = open_project(job.project)
    old = run_of(project.root, job.run)
    recorded = decode(json.dumps(old.facts.get("job") or {}).encode())
    if not isinstance(recorded, Train):
        raise UserError(
            f"The run {old.id} recorded no training that can be repeated.", "Runs made by `wsss train` can."
        )
    name = free_name(f"{old.id}-again", lambda n: (project.root / "runs" / n).exists())
    again = dataclasses.replace(
        recorded,
        id=job.id,
        project=job.project,
        run=name,
        resume=False,
        device=job.device if job.device != "auto" else recorded.device,
        threads=job.threads,
    )
    result = yield from train.run(again, desk)
    return {**result, "repeats": old.id}
