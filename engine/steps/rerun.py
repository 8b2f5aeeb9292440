"""Repeat a run from its run.json, as a new run beside it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Generator
from typing import Any

from engine.errors import UserError
from engine.messages import Event, Rerun, Said, Train, decode
from engine.steps import train
from engine.store import Run, free_name, open_project, run_of, stale
from engine.work import Work

__all__ = ["run"]


def run(job: Rerun, desk: Work) -> Generator[Event, None, dict[str, Any]]:
    """Train again with the recorded method, parameters, plan, seed and split.

    Raises:
        UserError: The run recorded no job that can be repeated.
    """
    project = open_project(job.project)
    old = run_of(project.root, job.run)
    recorded = _training(old)
    for reason in stale(project, old):
        yield Said(text=f"The result may differ. {reason}", level="warning")
    name = free_name(f"{old.id[:50]}-again", lambda n: (project.root / "runs" / n).exists())
    again = dataclasses.replace(
        recorded,
        id=job.id,
        project=job.project,
        run=name,
        resume=False,
        device=job.device if job.device != "auto" else recorded.device,
        devices=job.devices,
        nodes=job.nodes,
        threads=job.threads,
        seed=job.seed or recorded.seed,
    )
    result = yield from train.run(again, desk)
    return {**result, "repeats": old.id}


def _training(old: Run) -> Train:
    refused = UserError(
        f"The run {old.id} recorded no training that can be repeated.",
        "Runs made by `wsss train` can.",
        "Train a new run.",
    )
    try:
        recorded = decode(json.dumps(old.facts.get("job")).encode())
    except UserError:
        raise refused from None
    if not isinstance(recorded, Train):
        raise refused
    return recorded
