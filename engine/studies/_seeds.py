"""Seeds made from maps, measured against the truth at every threshold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine import labels, maps
from engine.class_maps import Shot
from engine.climb_settings import ClimbSettings
from engine.errors import UserError
from engine.metrics import THRESHOLDS, Confusion, Sweep
from engine.results import enlarge
from engine.store import Project
from engine.store.truth import read_truth

__all__ = ["F1_SENTENCE", "Seeds", "seed_of"]

F1_SENTENCE = (
    "F1 of the means is the harmonic mean of mean precision and mean recall (tables 9 and 11 of the paper), "
    "mean of F1 the mean of the classes' own F1 (table 13)."
)


def seed_of(
    heat: NDArray[np.float32], size: tuple[int, int], settings: ClimbSettings
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return best score and winning map of every pixel, as `wsss climb` and `wsss evaluate` make them.

    Args:
        heat: [K, g, v] float32 >= 0, not normalised, on the grid of the stored maps.
        size: (H, W) of the image in px.
        settings: Say where the grid lies.

    Returns:
        [H, W] float32 in [0, 1] and [H, W] uint8 in [0, K).
    """
    if not len(heat):
        return np.zeros(size, np.float32), np.zeros(size, np.uint8)
    # Through half precision, as stored maps are: the figures equal those of stored maps.
    shares = maps.normalise(torch.from_numpy(heat))[0].numpy().astype(np.float16)
    origin = 0.0 if settings.alignment == "centred" else (settings.cell - 1) / 2
    return labels.best_class(enlarge(shares, size, float(settings.cell), origin))


class Seeds:
    """Several kinds of seeds of the same images, each with its best threshold.

    Args:
        project: Whose truth is read.
        settings: Say where the grid of the maps lies.
        names: One name a kind.
    """

    def __init__(self, project: Project, settings: ClimbSettings, names: Iterable[str]) -> None:
        self.project = project
        self.settings = settings
        self.sweeps = {name: Sweep(THRESHOLDS, len(project.classes)) for name in names}
        self._truth: tuple[str, NDArray[np.uint8]] | None = None

    def truth(self, stem: str) -> NDArray[np.uint8]:
        """Return the truth of an image, read once for all kinds."""
        if self._truth is None or self._truth[0] != stem:
            found = read_truth(self.project, stem)
            assert found is not None, "a study of truth is given images that have it"
            self._truth = (stem, found)
        return self._truth[1]

    def add(self, name: str, shot: Shot, classes: Sequence[int], heat: NDArray[np.float32]) -> None:
        """Count the seed of an image; `heat` is [K, g, v], a map a class, not normalised."""
        truth = self.truth(shot.stem)
        size = (int(truth.shape[0]), int(truth.shape[1]))
        best, which = seed_of(heat, size, self.settings)
        self.sweeps[name].add(best, which, classes, truth, shot.stem)

    def report(self, name: str) -> dict[str, Any]:
        """Return the numbers of a kind at its best threshold, see `engine.metrics.Sweep.report`.

        Raises:
            UserError: No pixel of the truth is valid.
        """
        found = self.sweeps[name].report(self.project.classes)
        if found["miou"] is None:
            raise UserError(
                "The truth of these images is void everywhere.",
                "",
                "Choose a split whose masks hold classes.",
            )
        return found

    def best(self, name: str) -> Confusion:
        """Return the confusion of a kind at its best threshold."""
        sweep = self.sweeps[name]
        return sweep.result(
            [round(float(t), 6) for t in sweep.thresholds].index(self.report(name)["threshold"])
        )
