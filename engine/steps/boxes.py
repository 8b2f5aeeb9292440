"""Measure the boxes around the maps of a source against true boxes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np

from engine.boxes import BoxTally, resampled, scaled
from engine.errors import UserError
from engine.messages import Boxes, Event, Progress, Said
from engine.pace import Pace
from engine.results import CamStack
from engine.store import Project, open_project, read_stack, source_of
from engine.truth_boxes import TruthBoxes, read_truth_boxes
from engine.work import Work

__all__ = ["run"]

_MAX_SIDE = 4096
# Images named for each reason to pass over; the rest is counted.
_NAMED = 20


def run(job: Boxes, desk: Work) -> Generator[Event, None, dict[str, Any]]:
    """Measure.

    Each pair of an image and a class is one case, if there is a map of the class and a true box
    of it. Boxes without a class belong to the only tag of their image.

    Raises:
        UserError: The side is out of its limits, the true boxes cannot be read, or no image of the
            split has both maps and boxes.
    """
    if not 0 <= job.side <= _MAX_SIDE:
        raise UserError(
            f"--side {job.side} is out of its limits.",
            f"A side from 1 to {_MAX_SIDE} px is accepted, or 0 for the size of each image.",
            "The default is 224, as in the published figures.",
        )
    project = open_project(job.project)
    source = source_of(project.root, job.source)
    truth = read_truth_boxes(Path(job.truth_boxes).expanduser(), project.usable, project.classes)
    for note in truth.notes:
        yield Said(text=note)
    every, there = project.stems(job.split), set(source.stems())
    stems = [stem for stem in every if stem in truth.boxes]
    chosen = [stem for stem in stems if stem in there]
    if not chosen:
        raise UserError(
            f"{source} holds none of the {len(stems):,} images of this split that have true boxes.",
            f"It holds {len(there):,} images, and {job.truth_boxes} boxes of {len(truth.boxes):,}.",
            "Choose another split or other true boxes.",
        )
    passed: dict[str, list[str]] = defaultdict(list)
    passed[f"images that {source} does not hold"] = [stem for stem in stems if stem not in there]
    passed["images without a true box"] = [s for s in every if s in there and s not in truth.boxes]
    tally, pace = BoxTally(), Pace(len(chosen))
    for n, stem in enumerate(chosen, start=1):
        _count(project, truth, read_stack(project, source, stem), job.side, tally, passed)
        yield Progress(done=n, total=len(chosen), seconds_left=pace.left(n), phase="images")
    left_out = [
        {"why": why, "count": len(names), "images": names[:_NAMED]} for why, names in passed.items() if names
    ]
    for entry in left_out:
        yield Said(text=f"Passed over: {entry['count']:,} {entry['why']}.", level="warning")
    if not len(tally):
        raise UserError(
            "No image has a map and a true box of the same class.",
            f"{source} has maps of the tagged classes, and boxes are matched by class name.",
            "; ".join(f"{entry['count']:,} {entry['why']}" for entry in left_out) + ".",
        )
    found = tally.report(project.classes)
    if found["top1_cls"] is None:
        yield Said(
            text=f"{source} does not hold a classifier's scores of all images: there is no Top-1.",
            level="warning",
        )
    return {
        **found,
        "passed_over": left_out,
        "source": str(source),
        "split": job.split,
        "side": job.side,
        "truth": truth.form,
    }


def _count(
    project: Project,
    truth: TruthBoxes,
    stack: CamStack,
    side: int,
    tally: BoxTally,
    passed: dict[str, list[str]],
) -> None:
    """Count the pairs of one image, or note why they are passed over."""
    stem = stack.image
    tags = project.tags().present(stem)
    single = len(tags) == 1
    boxed = truth.boxes[stem]
    classes = {cls for cls in boxed if cls is not None}
    if None in boxed:
        if single:
            classes.add(tags[0])
        else:
            passed["images whose boxes name no class and which have not exactly one tag"].append(stem)
    first = _first(stack, len(project.classes))
    to = (side, side) if side else stack.size
    for cls in sorted(classes):
        if cls not in stack.classes:
            passed["boxes of a class that has no map"].append(f"{stem} {project.classes[cls]}")
            continue
        cells = stack.maps[stack.classes.index(cls)]
        heat = resampled(cells, stack.size, stack.cell, stack.origin, side)
        boxes = [scaled(box, stack.size, to) for box in truth.of(stem, cls, single)]
        tally.add(stem, cls, heat, np.array(boxes, np.int64), None if first is None else first == cls)
    for cls in stack.classes:
        if cls not in classes:
            passed["maps of a class that has no box"].append(f"{stem} {project.classes[cls]}")


def _first(stack: CamStack, count: int) -> int | None:
    """Return the class with the highest score, or None where the scores are not a classifier's.

    Imported maps have 1 for each class they hold and 0 for the others, which says nothing of how
    well anything was classified.
    """
    scores = stack.scores
    if scores.shape != (count,) or np.isin(scores, (0, 1)).all() or not np.isfinite(scores).all():
        return None
    return int(scores.argmax())
