"""Digests of what a result was made from; staleness is their comparison, never stored."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from engine.store.project import Project
from engine.store.runs import Run, Views

__all__ = ["digest_of", "file_digest", "image_set_digest", "stale", "tag_digest"]


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
    return digest_of([list(tags.classes), list(tags.stems), tags.states.tolist()])


def image_set_digest(project: Project, stems: tuple[str, ...]) -> str:
    """Return the digest of these images' bytes and names."""
    return digest_of([[s, project.image(s).sha256] for s in stems])


def stale(project: Project, box: Run | Views) -> list[str]:
    """Return why a run or its views no longer answer to what they were made from.

    Args:
        project: The project they belong to.
        box: The run or the views.

    Returns:
        One sentence for each reason; empty when nothing changed.
    """
    if isinstance(box, Views):
        reasons = stale(project, box.run)
        drawn = box.facts.get("weights")
        if drawn is not None and drawn != file_digest(box.run.weights):
            reasons.append("The run was trained again after these views were drawn.")
        return reasons
    digests = box.facts.get("digests")
    if not isinstance(digests, dict):
        return []
    stems = [s for s in digests.get("stems", []) if s in project.images]
    reasons = []
    if len(stems) != len(digests.get("stems", [])):
        reasons.append("Images that it was trained on left the project.")
    elif digests.get("images") != image_set_digest(project, tuple(stems)):
        reasons.append("Images changed since it was trained.")
    if any(project.images[s].aside for s in stems):
        reasons.append("Images that it was trained on were set aside.")
    else:
        if digests.get("tags") != tag_digest(project, tuple(stems)):
            reasons.append("Tags changed since it was trained.")
    return reasons
