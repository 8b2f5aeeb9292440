"""Rank the images by how much they ask for a person's eye, and write the order to queue.json."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import labels
from engine.errors import UserError
from engine.messages import Event, Progress, Said
from engine.messages import Queue as QueueJob
from engine.pace import Pace
from engine.queue import FILE, Ranking, Score, change, disagreement, margin, random_place, tag_faults
from engine.results import CamStack
from engine.steps.masks import CORRECTED, Masks, masks_of
from engine.store import Project, Views, is_name, open_project, read_stack, source_of
from engine.work import Work

__all__ = ["run"]

_Mask = NDArray[np.uint8]
_Scorer = Callable[[str], Score]
# What `wsss label` takes when nobody says otherwise.
_RULE = labels.LabelRule("constant", 0.2)
# Rows of the answer; the whole order is in the file, and a message has to fit into a pipe.
_TOP = 50


def run(job: QueueJob, desk: Work) -> Generator[Event, None, dict[str, Any]]:
    """Rank the images.

    Raises:
        UserError: An order lacks what it needs, or there are no such labels or maps.
    """
    project = open_project(job.project)
    stems = project.stems(job.split)
    scorer, asked = _scorer(project, job)
    scores: dict[str, Score] = {}
    unreadable: list[str] = []
    pace = Pace(len(stems))
    for done, stem in enumerate(stems, start=1):
        try:
            scores[stem] = scorer(stem)
        except UserError as error:
            # Nothing is known of it then, and a person has to look: it comes first, with the reason.
            scores[stem] = Score(None, error.found)
            unreadable.append(stem)
        yield Progress(done=done, total=len(stems), seconds_left=pace.left(done), phase="images")
    for stem in unreadable[:5]:
        yield Said(text=f"{stem} could not be scored: {scores[stem].reason}", level="warning")
    if len(unreadable) > 5:
        yield Said(text=f"{len(unreadable) - 5} more could not be scored.", level="warning")
    ranking = Ranking.of(project, job.order, scores, {**asked, "split": job.split, "seed": job.seed})
    ranking.save(project.root)
    return {
        "order": ranking.order,
        "images": len(ranking.entries),
        "without_score": sum(entry.score is None for entry in ranking.entries),
        "file": FILE,
        **asked,
        "first": [{"image": e.stem, "score": e.score, "reason": e.reason} for e in ranking.entries[:_TOP]],
    }


def _scorer(project: Project, job: QueueJob) -> tuple[_Scorer, dict[str, Any]]:
    """Return what scores an image, and what it looks at."""
    named = [name for name in (job.labels, job.source, *job.others) if name is not None]
    match job.order:
        case "margin":
            source, rule = _maps(project, job)
            asked = {"labels": job.labels, "source": str(source), "others": []}
            return lambda stem: _margin(project, source, rule, stem), asked
        case "disagreement":
            if len(set(named)) < 2:
                raise _lacks(job, "two or more sources", "--labels cam --others irn")
            readers = {name: _reader(project, name) for name in dict.fromkeys(named)}
            asked = {"labels": job.labels, "source": job.source, "others": list(job.others)}
            return lambda stem: _disagreement(readers, stem), asked
        case "change":
            if len(set(named)) != 2:
                raise _lacks(job, "two label sets, the later one first", "--labels refined --others cam")
            now, was = named
            after, before = _reader(project, now), _reader(project, was)
            asked = {"labels": now, "source": None, "others": [was]}
            return lambda stem: change(before(stem), after(stem), was, now), asked
        case "tags":
            if len(set(named)) != 1:
                raise _lacks(job, "one label set", "--labels cam")
            read = _reader(project, named[0])
            tags = project.tags()
            asked = {"labels": job.labels, "source": job.source, "others": []}
            return lambda stem: tag_faults(read(stem), tags.row(stem), project.classes), asked
        case "random":
            return lambda stem: Score(random_place(stem, job.seed), ""), {"labels": job.labels}
        case _:
            return lambda stem: Score(0.0, ""), {"labels": job.labels}


def _maps(project: Project, job: QueueJob) -> tuple[Views, labels.LabelRule]:
    """Return the maps whose margins are measured, and the rule that gives their background score."""
    facts: dict[str, Any] = {}
    if job.labels is not None and job.labels != CORRECTED:
        facts = masks_of(project, job.labels).facts
    name = job.source or facts.get("source")
    if not isinstance(name, str):
        raise _lacks(job, "maps", "--source cam, or --labels NAME made from maps")
    made_by = facts.get("made_by")
    rule = made_by.get("rule") if isinstance(made_by, dict) and facts.get("source") == name else None
    return source_of(project.root, name), _RULE if rule is None else labels.LabelRule.from_json(rule)


def _margin(project: Project, source: Views, rule: labels.LabelRule, stem: str) -> Score:
    if not source.path(stem).is_file():
        return Score(None, f"{source} has no maps of it")
    stack = read_stack(project, source, stem)
    # On the maps' own cells: enlarging them to pixels tells nothing more and takes ten times as long.
    maps = stack.maps.astype(np.float32)
    if stack.background is not None:
        background = stack.background.astype(np.float32)
    elif not stack.classes:
        return Score(None, f"{source} has a map of no class")
    elif rule.background == "constant":
        background = np.full(maps.shape[1:], sum(map(float, rule.limits())) / 2, np.float32)
    else:
        background = rule.scores(maps.max(axis=0))
    return margin(np.concatenate([background[None], maps]))


def _disagreement(readers: dict[str, Callable[[str], _Mask | None]], stem: str) -> Score:
    found = {name: read(stem) for name, read in readers.items()}
    return disagreement({name: mask for name, mask in found.items() if mask is not None})


def _reader(project: Project, name: str) -> Callable[[str], _Mask | None]:
    """Return what reads the mask of an image from labels, or makes it from maps at the usual threshold."""
    if name == CORRECTED or (is_name(name) and (project.root / "labels" / name).is_dir()):
        masks = masks_of(project, name)
        return lambda stem: _read(project, masks, stem)
    views = source_of(project.root, name)
    return lambda stem: _mask(read_stack(project, views, stem)) if views.path(stem).is_file() else None


def _read(project: Project, masks: Masks, stem: str) -> _Mask | None:
    try:
        mask = masks.read(stem)
    except FileNotFoundError:
        return None
    image = project.image(stem)
    if mask.shape != (image.height, image.width):
        raise UserError(f"its mask in '{masks.name}' has another size than the image")
    return mask


def _mask(stack: CamStack) -> _Mask:
    background = stack.full_background()
    if background is not None:
        return labels.apply_scores(np.concatenate([background[None], stack.full()]), stack.classes)
    if not stack.classes:
        return np.zeros(stack.size, np.uint8)
    return labels.apply(_RULE, *labels.best_class(stack.full()), stack.classes)


def _lacks(job: QueueJob, what: str, example: str) -> UserError:
    given: Sequence[str] = [n for n in (job.labels, job.source, *job.others) if n is not None]
    return UserError(
        f"The order '{job.order}' was given {', '.join(given) or 'nothing to look at'}.",
        f"It looks at {what}.",
        f"For instance: `wsss queue --order {job.order} {example}`.",
    )
