"""Measure labels, or a source of maps at one or at every threshold, against the truth."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from engine import labels, metrics
from engine.errors import UserError
from engine.messages import Evaluate, Event, Progress, Said
from engine.pace import Pace
from engine.store import Project, label_set, open_project, read_stack, source_of
from engine.store.truth import has_truth, read_truth
from engine.work import Work

__all__ = ["THRESHOLDS", "run"]

THRESHOLDS = tuple(np.round(np.arange(0.0, 1.0, 0.01), 2).tolist())


def run(job: Evaluate, desk: Work) -> Generator[Event, None, dict[str, Any]]:
    """Evaluate.

    Raises:
        UserError: Neither or both of labels and source were given, or there is no truth.
    """
    if (job.labels is None) == (job.source is None):
        raise UserError(
            "Neither or both of --labels and --source were given.",
            "--labels NAME measures masks, --source RUN[/VIEWS] measures maps.",
            "Give one of the two.",
        )
    if job.labels is not None and (job.sweep or job.threshold is not None):
        raise UserError(
            "Labels have no threshold.", "--sweep and --threshold go with --source.", "Remove them."
        )
    if job.sweep and job.threshold is not None:
        raise UserError(
            "Both --sweep and --threshold were given.",
            "--sweep tries every threshold.",
            "Remove one of the two.",
        )
    if job.threshold is not None and not 0 <= job.threshold <= 1:
        raise UserError(
            f"--threshold {job.threshold:g} is out of its limits.",
            "A number from 0 to 1 is accepted.",
            "The default is 0.2.",
        )
    project = open_project(job.project)
    if project.truth_place is None:
        raise UserError(
            f"The project {project.name} has no truth masks.",
            "A project made with --truth DIR can be evaluated.",
            "Make the project again with --truth.",
        )
    stems = [s for s in project.stems(job.split) if has_truth(project, s)]
    if not stems:
        raise UserError(
            "None of these images has a truth mask.",
            f"<image>.png is looked for in {project.truth_place.folder}.",
            "If the folder moved, run `wsss relink` with --truth.",
        )
    if job.labels is not None:
        result = yield from _labels(project, job.labels, stems)
    else:
        result = yield from _maps(project, job, stems)
    return result


def _labels(project: Project, name: str, stems: list[str]) -> Generator[Event, None, dict[str, Any]]:
    found = label_set(project.root, project.colours, name)
    there = set(found.stems())
    chosen = yield from _those(stems, there, f"the labels '{name}'")
    confusion = metrics.Confusion(len(project.classes))
    pace = Pace(len(chosen))
    for n, stem in enumerate(chosen, start=1):
        truth = read_truth(project, stem)
        assert truth is not None
        confusion.add(truth, found.read(stem), stem)
        yield Progress(done=n, total=len(chosen), seconds_left=pace.left(n), phase="images")
    return {**_report(confusion, project), "threshold": None, "labels": name}


def _maps(project: Project, job: Evaluate, stems: list[str]) -> Generator[Event, None, dict[str, Any]]:
    source = source_of(project.root, job.source or "")
    chosen = yield from _those(stems, set(source.stems()), str(source))
    count = len(project.classes)
    threshold = job.threshold if job.threshold is not None else 0.2
    rule = labels.LabelRule("constant", threshold)
    sweep, confusion = metrics.Sweep(THRESHOLDS, count), metrics.Confusion(count)
    hard = False
    pace = Pace(len(chosen))
    for n, stem in enumerate(chosen, start=1):
        truth = read_truth(project, stem)
        assert truth is not None
        stack = read_stack(project, source, stem)
        maps, background = stack.full(), stack.full_background()
        if background is not None:
            hard = True
            scores = np.concatenate([background[None], maps])
            confusion.add(truth, labels.apply_scores(scores, stack.classes), stem)
        else:
            best, which = labels.best_class(maps) if stack.classes else _nothing(stack.size)
            if job.sweep:
                sweep.add(best, which, stack.classes, truth, stem)
            else:
                confusion.add(truth, labels.apply(rule, best, which, stack.classes), stem)
        yield Progress(done=n, total=len(chosen), seconds_left=pace.left(n), phase="images")
    common = {"source": str(source), "split": job.split}
    if hard:
        if job.sweep:
            yield Said(text=f"{source} holds background scores, so there is no threshold to sweep.")
        return {**_report(confusion, project), "threshold": None, **common}
    if not job.sweep:
        return {**_report(confusion, project), "threshold": threshold, **common}
    found = sweep.report(project.classes)
    k = THRESHOLDS.index(found["threshold"])
    return {**found, "confusion": sweep.result(k).counts.tolist(), "classes": _names(project), **common}


def _report(confusion: metrics.Confusion, project: Project) -> dict[str, Any]:
    return {
        **metrics.report(confusion, project.classes),
        "confusion": confusion.counts.tolist(),
        "classes": _names(project),
    }


def _names(project: Project) -> list[str]:
    return ["background", *project.classes]


def _nothing(size: tuple[int, int]) -> tuple[Any, Any]:
    return np.zeros(size, np.float32), np.zeros(size, np.uint8)


def _those(stems: list[str], there: set[str], what: str) -> Generator[Event, None, list[str]]:
    chosen = [s for s in stems if s in there]
    if not chosen:
        raise UserError(
            f"{what} holds none of these images.", f"It holds {len(there)} other(s).", "Choose another split."
        )
    if len(chosen) < len(stems):
        yield Said(
            text=f"{len(stems) - len(chosen)} of {len(stems)} images are not in {what}.", level="warning"
        )
    return chosen
