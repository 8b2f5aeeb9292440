"""Turn a source's maps into pseudo-labels by a rule, and a CRF if one is asked for."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import crf, labels
from engine.errors import UserError, nearest
from engine.messages import Event, Label, Progress, Said, Viewed
from engine.pace import Pace
from engine.params import as_settings, parse, presets
from engine.results import CamStack, ClimbPath, ClimbTrace, enlarge, path_to, traces_in
from engine.saliency import check_folder, read_salient, salient_path
from engine.store import (
    LabelSet,
    Project,
    Views,
    digest_of,
    file_digest,
    label_set,
    maps_digest,
    open_once,
    open_project,
    read_pixels,
    read_stack,
    source_of,
    with_maps,
)
from engine.store.digests import climb_digest
from engine.work import Work
from engine.workers import run_pool

__all__ = ["label_one", "mask_of", "run"]

_CLIMBED = re.compile(r"([0-9.]{1,9})@(\d{1,5})")


@dataclass(frozen=True)
class _Recipe:
    """How the masks of a call are made, as the plain data that crosses to a worker process.

    Attributes:
        source: RUN/VIEWS of the maps.
        rule: `LabelRule.as_json`.
        crf: Name of the CRF preset, or `none`.
        climbs: RUN/VIEWS of the climbs, or None.
        climbed: (trace, step) each.
        saliency: Folder of masks, or None.
    """

    source: str
    rule: dict[str, Any]
    crf: str
    climbs: str | None = None
    climbed: tuple[tuple[str, int], ...] = ()
    saliency: str | None = None


def run(job: Label, desk: Work) -> Generator[Event, None, dict[str, Any]]:
    """Make labels for the images that have maps; those made the same way already are kept.

    Raises:
        UserError: The source has no maps, the rule cannot be read, or a climb is not there.
    """
    project = open_project(job.project)
    source = source_of(project.root, job.source)
    rule = labels.LabelRule.parse(job.background, job.ignore, min_region=job.min_region, crf=job.crf)
    params = crf_params(job.crf)
    made_by: dict[str, Any] = {"rule": rule.as_json(), "crf": as_settings(params) if params else None}
    saliency = None if job.saliency is None else Path(job.saliency).expanduser().resolve()
    if saliency is not None:
        check_folder(saliency)
        made_by["saliency"] = _place(project, saliency)
    recipe = _Recipe(
        source=str(source),
        rule=rule.as_json(),
        crf=job.crf,
        climbs=job.climbs,
        climbed=_climbed(job),
        saliency=None if saliency is None else str(saliency),
    )
    wanted = project.stems(job.split, job.images)
    climbs = [(path, step, climb_digest(path, step)) for path, step in _climbs(project, recipe, wanted[0])]
    stems = wanted if climbs else with_maps(source, wanted)
    if len(stems) < len(wanted):
        yield Said(
            text=f"{len(wanted) - len(stems)} of {len(wanted)} images have no maps in {source} and get no label.",
            level="warning",
        )
    target = label_set(project.root, project.colours, job.name, new=True)
    drawn = source.facts
    record = {
        "source": str(source),
        "made_by": made_by,
        "weights": drawn.get("weights"),
        "drawn": digest_of(drawn),
    }
    if climbs:
        own = {
            **(record if source.path(stems[0]).is_file() else {"source": None, "made_by": made_by}),
            "climbs": recipe.climbs,
            "climbed": [{"trace": p.leaf.id, "step": step, "digest": d} for p, step, d in climbs],
        }
    else:
        own = record
    mixed = bool(target.records)
    for text in target.prepare(record, stems, own if job.images else None):
        yield Said(text=text, level="warning")
    if target.records and not mixed:
        yield Said(text=f"The labels '{target.name}' now hold masks that were made in different ways.")
    pace = Pace(len(stems))
    passed_over: list[str] = []
    notes: dict[str, list[str]] = {}
    extra = [d for _, _, d in climbs]
    made = _made(project, source, target, stems, made_by, recipe, extra, job.threads)
    for done, (stem, why_not, noted) in enumerate(made, start=1):
        for note in noted:
            notes.setdefault(note, []).append(stem)
        if why_not:
            passed_over.append(stem)
            yield Said(text=f"{stem} was passed over: {why_not}", level="warning")
        else:
            path = target.path(stem).relative_to(project.root).as_posix()
            yield Viewed(image=stem, kind="labels", path=path)
        yield Progress(done=done, total=len(stems), seconds_left=pace.left(done), phase="images")
    for note, those in notes.items():
        more = f" and {len(those) - 5} more" if len(those) > 5 else ""
        yield Said(text=f"{', '.join(those[:5])}{more}: {note}.", level="warning")
    return {
        "labels": job.name,
        "source": str(source),
        "images": len(stems) - len(passed_over),
        "rule": rule.as_json(),
        "passed_over": passed_over,
    }


def _climbed(job: Label) -> tuple[tuple[str, int], ...]:
    """Return (trace, step) of each climb that the job names."""
    if not job.climbed and job.climbs is None:
        return ()
    accepted = "Accepted together: --images STEM (one), --climbed TRACE@STEP,... and --climbs RUN/VIEWS."
    if not job.climbed or job.climbs is None or len(job.images) != 1:
        given = f"{len(job.climbed)} climbs of {job.climbs or 'no views'} for {len(job.images)} images"
        raise UserError(f"{given} were given.", accepted, "Add what is missing.")
    found = []
    for text in job.climbed:
        parts = _CLIMBED.fullmatch(text)
        if parts is None:
            raise UserError(
                f"The climb '{text[:80]}' is not TRACE@STEP.", accepted, "Write it as in --climbed 3.1@7."
            )
        found.append((parts[1], int(parts[2])))
    return tuple(found)


def _climbs(project: Project, recipe: _Recipe, stem: str) -> list[tuple[ClimbPath, int]]:
    """Return the climbs and their steps that take the place of maps of an image, by class.

    Raises:
        UserError: One is missing, belongs to another image or class list, or two share a class.
    """
    if recipe.climbs is None:
        return []
    views = source_of(project.root, recipe.climbs)
    traces = traces_in(views.folder / stem / ClimbTrace.KIND)
    image = project.image(stem)
    found: dict[int, tuple[ClimbPath, int]] = {}
    for name, step in recipe.climbed:
        path = path_to(traces, name)
        leaf = path.leaf
        if leaf.image != stem or leaf.size != (image.height, image.width):
            fault = f"was made for {leaf.image} of {leaf.size[1]} x {leaf.size[0]} px"
        elif leaf.cls >= len(project.classes):
            fault = f"is of class {leaf.cls}, and there are {len(project.classes)}"
        elif leaf.cls in found:
            fault = f"is of the class '{project.classes[leaf.cls]}', of which another is given"
        else:
            found[leaf.cls] = path, step
            continue
        raise UserError(
            f"The climb '{name}' {fault}.", "One climb of each class of this image.", "Choose another climb."
        )
    return [found[cls] for cls in sorted(found)]


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
    *,
    climbed: Mapping[int, NDArray[np.float32]] | None = None,
    salient: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Return the pseudo-label of one image, [H, W] uint8: 0 background, class + 1, 255 unsure.

    Args:
        stack: Its maps.
        rule: The label rule.
        image: [H, W, 3] uint8, needed with a CRF.
        params: The CRF, or None.
        climbed: Class -> [H, W] float32 in [0, 1] that takes the place of its map, or joins the maps.
        salient: [H, W] bool: what disagrees with it in the end becomes unsure.
    """
    maps, classes, background = stack.full(), stack.classes, stack.full_background()
    if climbed:
        by_class = dict(zip(classes, maps, strict=True)) | dict(climbed)
        classes = tuple(sorted(by_class))
        maps = np.stack([by_class[c] for c in classes])  # [K, H, W]
    if background is not None:
        mask = labels.apply_scores(np.concatenate([background[None], maps]), classes)
        if params is not None and image is not None:
            mask = crf.refine_labels(image, mask, params)
    elif params is not None and image is not None:
        mask = crf.crf_label(image, maps, classes, rule, params)
    elif classes:
        mask = labels.apply(rule, *labels.best_class(maps), classes)
    else:
        mask = np.zeros(stack.size, np.uint8)
    mask = labels.clean(mask, rule.min_region)
    return mask if salient is None else labels.disagreement(mask, salient)


def label_one(
    project_path: str, name: str, stem: str, digest: str, recipe: dict[str, Any]
) -> tuple[str, list[str]]:
    """Make and write the label of one image, in a worker process; only names cross over.

    Returns:
        Why the image was passed over, or an empty string; and what is to be told of it.
    """
    project = open_once(project_path)
    target = label_set(project.root, project.colours, name, new=True)
    how = _Recipe(**recipe)
    return _write(
        project, target, stem, _stack(project, source_of(project.root, how.source), stem), digest, how
    )


def _write(
    project: Project, target: LabelSet, stem: str, stack: CamStack, digest: str, recipe: _Recipe
) -> tuple[str, list[str]]:
    """Make and write one label; return why not, or an empty string, and notes for the person."""
    params = crf_params(recipe.crf)
    image, salient = None, None
    notes: list[str] = []
    try:
        if params is not None:
            image = read_pixels(project, stem)
        if recipe.saliency is not None:
            salient = read_salient(Path(recipe.saliency), stem, stack.size, notes)
        climbed = _climbed_maps(project, recipe, stem)
    except UserError as error:
        return error.found, notes
    rule = labels.LabelRule.from_json(recipe.rule)
    target.write(stem, mask_of(stack, rule, image, params, climbed=climbed, salient=salient), digest)
    return "", notes


def _climbed_maps(project: Project, recipe: _Recipe, stem: str) -> dict[int, NDArray[np.float32]]:
    """Return class -> A_t at the size of the image; of classes that were merged since, the larger one."""
    found: dict[int, NDArray[np.float32]] = {}
    for path, step in _climbs(project, recipe, stem):
        cls = project.class_list.merged.get(path.leaf.cls, path.leaf.cls)
        full = _full_map(path, step)
        found[cls] = np.maximum(found[cls], full) if cls in found else full
    return found


def _full_map(path: ClimbPath, step: int) -> NDArray[np.float32]:
    """Return A_t at the size of the image, [H, W] float32 in [0, 1]."""
    leaf = path.leaf
    # Rounded as the maps of a CamStack are: the window shows and thresholds it so.
    small = path.attribution(step).astype(np.float16)
    full: NDArray[np.float32] = enlarge(small[None], leaf.size, leaf.cell, leaf.origin)[0]
    return full


def _stack(project: Project, source: Views, stem: str) -> CamStack:
    """Return the maps of an image; none where the source has none and a climb brings its own."""
    if source.path(stem).is_file():
        return read_stack(project, source, stem)
    image = project.image(stem)
    return CamStack(
        image=stem,
        size=(image.height, image.width),
        classes=(),
        maps=np.zeros((0, 1, 1), np.float16),
        peaks=np.zeros(0, np.float32),
        cell=1.0,
        origin=0.0,
        scores=np.zeros(len(project.classes), np.float32),
    )


def _made(
    project: Project,
    source: Views,
    target: LabelSet,
    stems: Sequence[str],
    made_by: dict[str, Any],
    recipe: _Recipe,
    climbs: Sequence[str],
    threads: int | None,
) -> Iterator[tuple[str, str, list[str]]]:
    """Yield (image, "", notes) once its label is on disk, or (image, why it was passed over, notes)."""
    todo: list[tuple[str, str]] = []
    for stem in stems:
        stack = _stack(project, source, stem)
        parts = [made_by, maps_digest(source, stem, stack), project.image(stem).sha256]
        if climbs:
            parts.append({"climbed": list(climbs)})
        if recipe.saliency is not None:
            mask = salient_path(Path(recipe.saliency), stem)
            parts.append({"saliency": "" if mask is None else file_digest(mask)})
        digest = digest_of(parts)
        if target.digest(stem) == digest:
            yield stem, "", []
        elif recipe.crf == "none":
            yield stem, *_write(project, target, stem, stack, digest, recipe)
        else:
            todo.append((stem, digest))
    if not todo:
        return
    arguments = [
        [str(project.root), target.name, stem, digest, dataclasses.asdict(recipe)] for stem, digest in todo
    ]
    workers = min(threads or os.cpu_count() or 1, len(todo))
    for index, (why_not, notes) in run_pool("engine.steps.label:label_one", arguments, workers=workers):
        yield todo[index][0], why_not, notes


def _place(project: Project, folder: Path) -> str:
    """Return a folder as the set records it: relative to the project where it lies in it, for projects travel."""
    inside = folder.is_relative_to(project.root)
    return folder.relative_to(project.root).as_posix() if inside else str(folder)
