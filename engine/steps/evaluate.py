"""Measure labels, or a source of maps at one or at every threshold with its refinements, against the truth."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from engine import labels, metrics
from engine.errors import UserError
from engine.messages import Evaluate, Event, Progress, Said
from engine.pace import Pace
from engine.steps.masks import CORRECTED, masks_of
from engine.store import Project, Views, open_project, read_stack, source_of
from engine.store.stages import Stage, stages_of
from engine.store.truth import has_truth, read_truth
from engine.work import Work

__all__ = ["THRESHOLDS", "run"]

THRESHOLDS = tuple(np.round(np.arange(0.0, 1.0, 0.01), 2).tolist())
# A message holds 4 MiB and a count in it takes some ten bytes.
_MOST_CELLS = 200_000
_FIGURES = ("miou", "precision", "recall", "noise", "threshold", "images")


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
    if job.only != "all" and job.labels != CORRECTED:
        raise UserError(
            "--only chooses among corrected masks, and others are measured.",
            "--labels corrected --only approved measures the masks that a person approved.",
            "Remove --only, or measure the labels `corrected`.",
        )
    if job.labels is not None and job.stages:
        raise UserError(
            "Labels have no refinements to compare.",
            "--stages goes with --source RUN[/VIEWS], the maps that were refined.",
            "Give the source of the labels, or remove --stages.",
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
        result = yield from _labels(project, job, stems)
    elif job.stages:
        result = yield from _stages(project, job, stems)
    else:
        result = yield from _maps(project, job, stems)
    return result


def _labels(project: Project, job: Evaluate, stems: list[str]) -> Generator[Event, None, dict[str, Any]]:
    name = job.labels or ""
    found = masks_of(project, name, job.only)
    there = set(found.stems())
    chosen = yield from _those(stems, there, f"the labels '{name}'")
    confusion = metrics.Confusion(len(project.classes))
    count = _Count(len(chosen))
    left_open = 0
    for stem in chosen:
        truth = read_truth(project, stem)
        assert truth is not None
        mask = found.read(stem)
        if name == CORRECTED and mask.shape == truth.shape:
            # What a person marked as unsure nobody is asked to know; of the engine it is a miss.
            left_open += int(((mask == metrics.VOID) & (truth != metrics.VOID)).sum())
            truth = np.where(mask == metrics.VOID, np.uint8(metrics.VOID), truth)
        confusion.add(truth, mask, stem)
        yield count.one_more()
    report = {**_report(confusion, project), "threshold": None, "labels": name}
    return {**report, "only": job.only, "left_open": left_open} if name == CORRECTED else report


def _maps(project: Project, job: Evaluate, stems: list[str]) -> Generator[Event, None, dict[str, Any]]:
    source = source_of(project.root, job.source or "")
    chosen = yield from _those(stems, set(source.stems()), str(source))
    found = yield from _measured(project, job, source, chosen, _Count(len(chosen)))
    return {**found, "source": str(source), "split": job.split}


def _stages(project: Project, job: Evaluate, stems: list[str]) -> Generator[Event, None, dict[str, Any]]:
    """Measure the source and all that was made from it, over the same images."""
    source = source_of(project.root, job.source or "")
    stages, chosen, left_out = _comparable(stages_of(project.root, source), stems)
    for text in left_out:
        yield Said(text=text, level="warning")
    count = _Count(len(stages) * len(chosen))
    reports = []
    for stage in stages:
        reports.append((yield from _measured(project, job, stage.views, chosen, count)))
    # All figures of all stages, unless many stages of many classes would outgrow a message.
    whole = len(stages) * (len(project.classes) + 1) ** 2 <= _MOST_CELLS
    rows = [
        {
            **(report if whole else {key: report[key] for key in _FIGURES}),
            "source": str(s.views),
            "name": s.name,
        }
        for s, report in zip(stages, reports, strict=True)
    ]
    common = {"source": str(source), "split": job.split}
    return {**reports[0], **common, "stages": rows, "left_out": left_out}


def _comparable(found: list[Stage], stems: list[str]) -> tuple[list[Stage], list[str], list[str]]:
    """Choose stages and the images that all of them hold.

    A refinement tried out on a few images would leave the others nothing to be compared over,
    so one that holds less than half of what the fullest refinement holds is left out.

    Returns:
        The stages, their images, and what is left out, in sentences.

    Raises:
        UserError: The source holds none of the images.
    """
    wanted = set(stems)
    held = [wanted & set(stage.views.stems()) for stage in found]
    common = held[0]
    if not common:
        raise _none_of_these(str(found[0].views), len(found[0].views.stems()))
    fullest_first = sorted(range(1, len(found)), key=lambda k: -len(held[k] & common))
    least = len(held[fullest_first[0]] & common) / 2 if fullest_first else 0
    kept = {0}
    for k in fullest_first:
        both = common & held[k]
        if both and len(both) >= least:
            kept.add(k)
            common = both
    said = []
    if len(common) < len(wanted):
        poorest = min(kept, key=lambda k: len(held[k]))
        said.append(
            f"{len(wanted) - len(common)} of {len(wanted)} images are left out, because not every stage holds them: "
            f"{found[poorest].views} lacks {len(wanted - held[poorest])}."
        )
    said += [
        f"{stage.views} ({stage.name}) is left out, because it holds {len(common & held[k])} "
        f"of the {len(common)} images over which the others are compared."
        for k, stage in enumerate(found)
        if k not in kept
    ]
    return [found[k] for k in sorted(kept)], [s for s in stems if s in common], said


def _measured(
    project: Project, job: Evaluate, views: Views, stems: list[str], count: _Count
) -> Generator[Event, None, dict[str, Any]]:
    """Return the report of one source over these images, each of which it holds."""
    threshold = job.threshold if job.threshold is not None else 0.2
    rule = labels.LabelRule("constant", threshold)
    classes = len(project.classes)
    sweep, confusion = metrics.Sweep(THRESHOLDS, classes), metrics.Confusion(classes)
    hard = False
    for stem in stems:
        truth = read_truth(project, stem)
        assert truth is not None
        stack = read_stack(project, views, stem)
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
        if hard and sweep.images:
            raise UserError(
                f"{views} holds background scores for some images and none for others.",
                "--sweep needs maps that are all of one kind.",
                "Draw them again, or measure them without --sweep.",
            )
        yield count.one_more()
    if hard:
        if job.sweep and not job.stages:
            yield Said(text=f"{views} holds background scores, so there is no threshold to sweep.")
        return {**_report(confusion, project), "threshold": None}
    if not job.sweep:
        return {**_report(confusion, project), "threshold": threshold}
    found = sweep.report(project.classes)
    k = THRESHOLDS.index(found["threshold"])
    return {**found, "confusion": sweep.result(k).counts.tolist(), "classes": _names(project)}


class _Count:
    """Images done of all that are to be done, over all stages."""

    def __init__(self, total: int) -> None:
        self._pace = Pace(total)
        self._done = 0

    def one_more(self) -> Progress:
        self._done += 1
        left = self._pace.left(self._done)
        return Progress(done=self._done, total=self._pace.total, seconds_left=left, phase="images")


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
        raise _none_of_these(what, len(there))
    if len(chosen) < len(stems):
        yield Said(
            text=f"{len(stems) - len(chosen)} of {len(stems)} images are not in {what}.", level="warning"
        )
    return chosen


def _none_of_these(what: str, others: int) -> UserError:
    return UserError(
        f"{what} holds none of these images.", f"It holds {others} other(s).", "Choose another split."
    )
