"""The objects of images that are exported: the instances that a refinement found where the labels come from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.results import InstanceSet
from engine.store import Project, Views, source_of

__all__ = ["Objects"]


class Objects:
    """Instances by image, as far as there are any.

    Args:
        project: The project.
        facts: What is known of the labels: `source`, and `images` with facts of their own.
        chosen: RUN[/VIEWS] that the instances are of, None for those that the labels came from.

    Raises:
        UserError: What was chosen holds no instances.
    """

    def __init__(self, project: Project, facts: dict[str, Any], chosen: str | None = None) -> None:
        self._project = project
        self._source = facts.get("source") if chosen is None else chosen
        others = facts.get("images") if chosen is None else None
        self._others: dict[str, Any] = others if isinstance(others, dict) else {}
        self._views: dict[str, Views | None] = {}
        if chosen is not None:
            views = source_of(project.root, chosen)
            if not views.stems(InstanceSet.KIND):
                raise UserError(
                    f"{views} holds no instances.",
                    "Views refined by irn with `--set instances=true` do.",
                    "Choose others, or leave --instances out.",
                )
            self._views[chosen] = views

    def of(self, stem: str, mask: NDArray[np.uint8]) -> NDArray[np.uint16] | None:
        """Return the object of each pixel, `[H, W]` uint16 as in `Labelled`, None without any.

        Instances hold where the mask has their class; those too small to count are left out.

        Raises:
            UserError: The file of instances is damaged or was made for another picture.
        """
        own = self._others.get(stem)
        views = self._views_of(own.get("source") if isinstance(own, dict) else self._source)
        if views is None or not (path := views.path(stem, InstanceSet.KIND)).is_file():
            return None
        found = InstanceSet.load(path)
        if found.image != stem or found.ids.shape != mask.shape:
            raise UserError(
                f"{path} was made for {found.image} of {found.ids.shape[1]} x {found.ids.shape[0]} px.",
                f"{stem} has {mask.shape[1]} x {mask.shape[0]} px.",
                "Refine this image again, or export with `--set objects=components`.",
            )
        # Value in the mask of each instance, 255 for what no pixel of a class can have.
        values = np.full(len(found.classes) + 1, 255, np.uint8)
        counts = (found.scores > 0) & (found.classes >= 0) & (found.classes < len(self._project.classes))
        merged = self._project.class_list.merged
        values[1:][counts] = [merged.get(int(c), int(c)) + 1 for c in found.classes[counts]]
        return np.where((values[found.ids] == mask) & (mask < 255), found.ids, 0).astype(np.uint16)

    def _views_of(self, source: object) -> Views | None:
        """Return the views that labels came from, None where they are unknown or gone."""
        if not isinstance(source, str):
            return None
        if source not in self._views:
            try:
                self._views[source] = source_of(self._project.root, source)
            except UserError:
                # Maps may be deleted once the labels are made; the labels stand on their own.
                self._views[source] = None
        return self._views[source]
