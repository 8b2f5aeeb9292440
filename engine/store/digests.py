"""Digests of what a result was made from; staleness is their comparison, never stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.errors import UserError
from engine.results import ClimbPath, ClimbTrace, path_to, traces_in
from engine.store.label_sets import LabelSet
from engine.store.project import Project
from engine.store.runs import Run, Views, source_of

__all__ = ["climb_digest", "digest_of", "file_digest", "image_set_digest", "stale", "tag_digest"]


def digest_of(value: Any) -> str:
    """Return 16 hex digits of the SHA-256 of `value` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Return 16 hex digits of the SHA-256 of a file, or an empty string when it is missing."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except FileNotFoundError:
        return ""


def tag_digest(project: Project, stems: tuple[str, ...]) -> str:
    """Return the digest of the classes and of these images' tags."""
    tags = project.tags().subset(stems)
    # By the names that the classes were made with: another name is not another tag.
    return digest_of([list(project.class_list.first_names), list(tags.stems), tags.states.tolist()])


def image_set_digest(project: Project, stems: tuple[str, ...]) -> str:
    """Return the digest of these images' bytes and names."""
    return digest_of([[s, project.image(s).sha256] for s in stems])


def climb_digest(path: ClimbPath, step: int) -> str:
    """Return the digest of all that the map A_t of a climb is made from.

    Args:
        path: The climb.
        step: t.

    Raises:
        UserError: There is no such step, or the maps are damaged.
    """
    leaf = path.leaf
    if not 0 <= step <= path.last:
        raise UserError(
            f"The climb '{leaf.id}' of {leaf.image} has no step {step}.",
            f"It has the steps 0 to {path.last}." if path.parts else "It has no step yet.",
            "Climb on, or choose another step.",
        )
    maps = hashlib.sha256(path.stacked("maps")[: step + 1].tobytes()).hexdigest()
    how = leaf.settings.get("aggregate", "sum")
    return digest_of([leaf.image, leaf.cls, list(leaf.size), leaf.cell, leaf.origin, how, maps])


def stale(
    project: Project, box: Run | Views | LabelSet, versions: Mapping[str, int] | None = None
) -> list[str]:
    """Return why a box no longer answers to what it was made from.

    Args:
        project: The project it belongs to.
        box: A run, its views, or labels.
        versions: Method name -> its version today, for those who know it (the floor does not
            import methods).

    Returns:
        One sentence for each reason; empty when nothing changed.
    """
    match box:
        case LabelSet():
            return _stale_labels(project, box, versions)
        case Views():
            return _stale_views(project, box, versions)
        case _:
            return _stale_run(project, box, versions)


def _stale_labels(project: Project, box: LabelSet, versions: Mapping[str, int] | None) -> list[str]:
    records, there = box.records, set(box.stems())
    told: dict[str, list[str]] = {}
    weights: dict[Path, str] = {}

    def source_reasons(made: Mapping[str, Any]) -> list[str]:
        source, drawn = made.get("source"), made.get("drawn")
        key = digest_of([source, drawn])
        if key not in told:  # many masks share their source, and looking at a run takes a while
            told[key] = _stale_source(project, source, drawn, versions)
        return told[key]

    reasons = source_reasons(box.facts) if there - set(records) or not records else []
    by_images: dict[str, list[str]] = {}
    for stem in sorted(there & set(records)):
        record = records[stem]
        for reason in [*source_reasons(record), *_stale_climbs(project, stem, record, weights)]:
            if reason not in reasons:
                by_images.setdefault(reason, []).append(stem)
    told_apart = []
    for reason, stems in by_images.items():
        more = f" and {len(stems) - 3} more" if len(stems) > 3 else ""
        told_apart.append(f"{', '.join(stems[:3])}{more}: {reason}")
    return [*reasons, *told_apart]


def _stale_source(project: Project, source: Any, drawn: Any, versions: Mapping[str, int] | None) -> list[str]:
    if not isinstance(source, str):
        return []
    try:
        views = source_of(project.root, source)
    except UserError:
        return [f"The views {source} that they were made from are gone."]
    reasons = _stale_views(project, views, versions)
    if drawn is not None and drawn != digest_of(views.facts):
        reasons.append(f"The views {source} were drawn otherwise after these labels were made.")
    return reasons


def _stale_climbs(
    project: Project, stem: str, record: Mapping[str, Any], weights: dict[Path, str]
) -> list[str]:
    """Return the reasons of one mask; `weights` keeps the digests of networks from mask to mask."""
    climbs, climbed = record.get("climbs"), record.get("climbed")
    if not isinstance(climbs, str) or not isinstance(climbed, list):
        return []
    try:
        views = source_of(project.root, climbs)
        traces = traces_in(views.folder / stem / ClimbTrace.KIND)
        network = views.run.weights
        if network not in weights:
            weights[network] = file_digest(network)
        for part in climbed:
            path = path_to(traces, str(part["trace"]))
            if climb_digest(path, int(part["step"])) != part["digest"]:
                return [f"The climb {path.leaf.id} in {climbs} is another one than this label was made from."]
            if path.leaf.facts.get("weights", weights[network]) != weights[network]:
                return ["The run was trained again after the climb that it was made from."]
    except (UserError, KeyError, TypeError, ValueError):
        return [f"A climb in {climbs} that it was made from is gone."]
    return []


def _stale_views(project: Project, box: Views, versions: Mapping[str, int] | None) -> list[str]:
    reasons = _stale_run(project, box.run, versions)
    drawn = box.facts.get("weights")
    if drawn is not None and drawn != file_digest(box.run.weights):
        reasons.append("The run was trained again after these views were drawn.")
    # Views may have been drawn by another version than the run was trained with.
    drawn_by = str(box.facts.get("method", box.run.method))
    return list(dict.fromkeys([*reasons, *_stale_version(drawn_by, box.facts, versions)]))


def _stale_run(project: Project, box: Run, versions: Mapping[str, int] | None) -> list[str]:
    reasons = _stale_version(box.method, box.facts, versions)
    digests = box.facts.get("digests")
    if not isinstance(digests, dict):
        return reasons
    recorded = digests.get("stems")
    names = [s for s in recorded if isinstance(s, str)] if isinstance(recorded, list) else []
    stems = tuple(s for s in names if s in project.images)
    if len(stems) != len(names):
        return [*reasons, "Images that it was trained on left the project."]
    if digests.get("images") != image_set_digest(project, stems):
        reasons.append("Images changed since it was trained.")
    if any(project.images[s].aside for s in stems):
        reasons.append("Images that it was trained on were set aside.")
    elif digests.get("tags") != tag_digest(project, stems):
        reasons.append("Tags changed since it was trained.")
    return reasons


def _stale_version(method: str, facts: Mapping[str, Any], versions: Mapping[str, int] | None) -> list[str]:
    before = facts.get("version")
    now = (versions or {}).get(method, before)
    if before is None or now == before:
        return []
    return [f"The method {method} changed: it was version {before} then and is version {now} now."]
