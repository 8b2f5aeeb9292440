"""Truth masks, for evaluation and display only: no training code may import this file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine import images as pixels
from engine.errors import UserError
from engine.store.project import Project

__all__ = ["has_truth", "read_truth"]


def has_truth(project: Project, stem: str) -> bool:
    """Return whether the image has a truth mask."""
    path = _path(project, stem)
    return path is not None and path.is_file()


def read_truth(project: Project, stem: str) -> NDArray[np.uint8] | None:
    """Return the truth of one image in the project's indexes, or None when it has none.

    Returns:
        [H, W] uint8: 0 background (and classes that the project lacks), class + 1, 255 void.

    Raises:
        UserError: The mask is unreadable, of another size, or holds an index without a class.
    """
    path = _path(project, stem)
    if path is None or not path.is_file():
        return None
    assert project.truth_place is not None
    mask = pixels.read_mask(path)
    image = project.image(stem)
    if mask.shape != (image.height, image.width):
        raise UserError(
            f"{path} is {mask.shape[1]} x {mask.shape[0]} px, its image {image.width} x {image.height}.",
            "A truth mask has the size of its (upright) image.",
        )
    classes = project.truth_place.classes
    table = np.zeros(256, np.uint8)
    table[255] = 255
    for index, name in enumerate(classes, start=1):
        table[index] = project.classes.index(name) + 1 if name in project.classes else 0
    highest = int(np.max(mask, initial=0, where=mask != 255))
    if highest > len(classes):
        raise UserError(
            f"{path} holds the index {highest}, and there are {len(classes)} truth classes.",
            "0 is background, 1 the first class, 255 void.",
            "Make the project with --truth-classes voc, coco or a file with one name per line.",
        )
    return table[mask]


def _path(project: Project, stem: str) -> Path | None:
    if project.truth_place is None:
        return None
    return project.truth_place.folder / f"{project.image(stem).stem}.png"
