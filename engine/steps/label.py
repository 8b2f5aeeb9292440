"""Turn a source's maps into pseudo-labels by a rule, and a CRF if one is asked for."""

from __future__ import annotations

import functools
import os
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import crf, labels
from engine.errors import UserError, nearest
from engine.messages import Event, Label, Progress, Said, Viewed
from engine.pace import Pace
from engine.params import as_settings, parse, presets
from engine.results import CamStack
from engine.store import (
    LabelSet,
    Project,
    Views,
    digest_of,
    file_digest,
    label_set,
    open_project,
    read_stack,
    source_of,
)
from engine.work import Work
from engine.workers import run_pool

__all__ = ["label_one", "mask_of", "run"]


def run(job: Label, desk: Work) -> Generator[Event, None, dict[str, Any]]:
    """Make labels for the images that have maps; those made the same way already are kept.

    Raises:
        UserError: The source has no maps, or the rule cannot be read.
    """
    project = open_project(job.project)
    source = source_of(project.root, job.source)
    rule = labels.LabelRule.parse(job.background, job.ignore, min_region=job.min_region, crf=job.crf)
    params = crf_params(job.crf)
    made_by = {"rule": rule.as_json(), "crf": as_settings(params) if params else None}
    wanted = project.stems(job.split)
    there = set(source.stems())
    stems = [s for s in wanted if s in there]
    if not stems:
        raise UserError(
            f"{source} has no maps of these images.",
            f"It has maps of {len(there)} image(s).",
            f"Draw them with `wsss infer {source.run.id} -p {project.root.name}`.",
        )
    if len(stems) < len(wanted):
        yield Said(
            text=f"{len(wanted) - len(stems)} of {len(wanted)} images have no maps in {source} and get no label.",
            level="warning",
        )
    target = label_set(project.root, project.colours, job.name, new=True)
    yield from _cleared(target, source, made_by)
    pace = Pace(len(stems))
    passed_over = []
    made = _made(project, source, target, stems, rule, made_by, params, job)
    for done, (stem, why_not) in enumerate(made, start=1):
        if why_not:
            passed_over.append(stem)
            yield Said(text=f"{stem} was passed over: {why_not}", level="warning")
        else:
            path = target.path(stem).relative_to(project.root).as_posix()
            yield Viewed(image=stem, kind="labels", path=path)
        yield Progress(done=done, total=len(stems), seconds_left=pace.left(done), phase="images")
    return {
        "labels": job.name,
        "source": str(source),
        "images": len(stems) - len(passed_over),
        "rule": rule.as_json(),
        "passed_over": passed_over,
    }


def _cleared(target: LabelSet, source: Views, made_by: dict[str, Any]) -> Generator[Event, None, None]:
    """Make a set ready for masks of one rule and one drawing; a mixture would be worthless."""
    facts = target.facts
    if facts.get("imported") or (not facts and target.stems()):
        raise UserError(
            f"The labels '{target.name}' were {'imported' if facts else 'not made by this command'}.",
            "Labels made by this command can be made again.",
            "Choose another --name.",
        )
    drawn = source.facts
    wanted = {
        "source": str(source),
        "made_by": made_by,
        "weights": drawn.get("weights"),
        "drawn": digest_of(drawn),
    }
    if facts == wanted:
        return
    if facts:
        yield Said(
            text=f"The labels '{target.name}' had another source or rule; they are replaced.", level="warning"
        )
        # Before the facts: killed in between, old masks are missing; never do they pass for new ones.
        target.clear()
    target.write_facts(wanted)


def crf_params(name: str) -> crf.CRFParams | None:
    """Return the CRF preset of that name, or None for `none`.

    Raises:
        UserError: There is no such preset.
    """
    if name == "none":
        return None
    known = presets(crf.CRFParams)
    if name not in known:
        raise UserError(
            f"There is no CRF preset '{name}'.", f"Accepted: none, {', '.join(known)}.", nearest(name, known)
        )
    return parse(crf.CRFParams, {"preset": name})


def mask_of(
    stack: CamStack,
    rule: labels.LabelRule,
    image: NDArray[np.uint8] | None = None,
    params: crf.CRFParams | None = None,
) -> NDArray[np.uint8]:
    """Return the pseudo-label of one image, [H, W] uint8: 0 background, class + 1, 255 unsure.

    Args:
        stack: Its maps.
        rule: The label rule.
        image: [H, W, 3] uint8, needed with a CRF.
        params: The CRF, or None.
    """
    maps, background = stack.full(), stack.full_background()
    if background is not None:
        mask = labels.apply_scores(np.concatenate([background[None], maps]), stack.classes)
        if params is not None and image is not None:
            mask = crf.refine_labels(image, mask, params)
    elif params is not None and image is not None:
        mask = crf.crf_label(image, maps, stack.classes, rule, params)
    elif stack.classes:
        best, which = labels.best_class(maps)
        mask = labels.apply(rule, best, which, stack.classes)
    else:
        mask = np.zeros(stack.size, np.uint8)
    return labels.clean(mask, rule.min_region)


def label_one(
    project_path: str, source: str, name: str, stem: str, rule: dict[str, Any], preset: str, digest: str
) -> str:
    """Make and write the label of one image, in a worker process; only names cross over.

    Returns:
        Why the image was passed over, or an empty string.
    """
    project = _opened(project_path)
    stack = read_stack(project, source_of(project.root, source), stem)
    try:
        image = project.read(stem).pixels
    except UserError as error:
        return error.found
    if image.shape[:2] != stack.size:
        return "its size changed since the project was made; run `wsss relink` on its folder"
    mask = mask_of(stack, labels.LabelRule.from_json(rule), image, crf_params(preset))
    label_set(project.root, project.colours, name, new=True).write(stem, mask, digest)
    return ""


@functools.lru_cache(maxsize=1)
def _opened(path: str) -> Project:
    # A worker lives as long as its job, and opening a project of ten thousand images takes 0.3 s.
    return open_project(path)


def _made(
    project: Project,
    source: Views,
    target: LabelSet,
    stems: list[str],
    rule: labels.LabelRule,
    made_by: dict[str, Any],
    params: crf.CRFParams | None,
    job: Label,
) -> Iterator[tuple[str, str]]:
    """Yield (image, "") once its label is on disk, or (image, why it was passed over)."""
    todo: list[tuple[str, str]] = []
    for stem in stems:
        stack = read_stack(project, source, stem)
        # Maps of others carry no digest of what made them.
        of_maps = stack.facts.get("digest") or file_digest(source.path(stem))
        digest = digest_of([made_by, of_maps, project.image(stem).sha256])
        if target.digest(stem) == digest:
            yield stem, ""
        elif params is None:
            target.write(stem, mask_of(stack, rule), digest)
            yield stem, ""
        else:
            todo.append((stem, digest))
    if params is None:
        return
    workers = job.threads or os.cpu_count() or 1
    arguments = [
        [str(project.root), str(source), target.name, stem, rule.as_json(), job.crf, digest]
        for stem, digest in todo
    ]
    for index, why_not in run_pool(
        "engine.steps.label:label_one", arguments, workers=min(workers, max(1, len(todo)))
    ):
        yield todo[index][0], why_not
