"""What the engine proposes for an image: a mask of a label set, or one made of a run's maps. No Qt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.labels import LabelRule
from engine.store import Project, Views, label_sets
from wsss_napari.map_files import read_maps, views_title
from wsss_napari.mask_view import MaskView

__all__ = ["Source", "read_proposal", "sources_of"]


@dataclass(frozen=True)
class Source:
    """Where proposals come from; `key` is what the edit room notes as their source."""

    key: str
    title: str
    labels: str = ""
    views: Views | None = None

    def has(self, stem: str, project: Project) -> bool:
        """Return whether there is one for an image."""
        if self.views is not None:
            return self.views.path(stem).is_file()
        return (project.root / "labels" / self.labels / f"{stem}.png").is_file()


def sources_of(project: Project, views: Views | None) -> list[Source]:
    """Return the sources of a project, the best guess first: the newest labels, then the maps of the chosen run.

    Args:
        project: The project.
        views: Views of the chosen run, if there are any.
    """
    found = []
    for labels in label_sets(project.root, project.colours):
        facts = labels.folder / "rule.json"
        when = facts.stat().st_mtime if facts.is_file() else 0.0
        found.append((when, Source(labels.name, f"labels {labels.name}", labels=labels.name)))
    ordered = [source for _, source in sorted(found, key=lambda f: -f[0])]
    if views is not None and views.has_maps and not views.run.is_network:
        rule = LabelRule()
        title = f"maps of {views_title(views)}, {rule.text()}"
        ordered.append(Source(f"{views} {rule.text()}", title, views=views))
    return ordered


def read_proposal(project: Project, source: Source, stem: str) -> NDArray[np.uint8] | None:
    """Return the proposal of a source, [H, W] uint8, or None where it has none.

    Raises:
        UserError: Its file is damaged, or made for an image of another size.
    """
    if not source.has(stem, project):
        return None
    if source.views is not None:
        stack, why = read_maps(project, source.views, stem)
        if stack is None:
            raise UserError(why)
        return MaskView(stack).mask(LabelRule()).copy()
    mask = next(s for s in label_sets(project.root, project.colours) if s.name == source.labels).read(stem)
    image = project.image(stem)
    if mask.shape != (image.height, image.width):
        raise UserError(
            f"The mask of {stem} in the labels '{source.labels}' has {mask.shape[1]} x {mask.shape[0]} px.",
            f"The image has {image.width} x {image.height} px.",
            "Make the labels again.",
        )
    top = int(mask[mask != 255].max(initial=0))
    if top > len(project.classes):
        raise UserError(
            f"The mask of {stem} in the labels '{source.labels}' holds the value {top}.",
            f"The project has {len(project.classes)} classes.",
            "Make the labels again.",
        )
    return mask
