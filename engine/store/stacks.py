"""The maps and the pixels of one image, checked against the project they are used in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.results import CamStack
from engine.store.class_list import merged_stack
from engine.store.digests import file_digest
from engine.store.project import Project
from engine.store.runs import Views

__all__ = ["maps_digest", "read_pixels", "read_stack", "with_maps"]


def read_stack(project: Project, views: Views, stem: str) -> CamStack:
    """Return the maps of an image.

    A project may come from anybody and its images may have changed since the maps were
    drawn, so name, size and classes are compared before anything is made from them.

    Raises:
        FileNotFoundError: There are none.
        UserError: The file is damaged, or was made for another image or other classes.
    """
    path = views.path(stem)
    stack = CamStack.load(path)
    image = project.image(stem)
    if stack.image != stem or stack.size != (image.height, image.width):
        found = f"{path} was drawn for {stack.image} of {stack.size[1]} x {stack.size[0]} px."
        wanted = f"{stem} has {image.width} x {image.height} px."
    elif max(stack.classes, default=-1) >= len(project.classes):
        found = f"{path} has a map of class {max(stack.classes)}."
        wanted = f"The project has the classes 0 to {len(project.classes) - 1}."
    else:
        return merged_stack(stack, project.class_list.merged)
    raise UserError(found, wanted, f"Draw it again with `wsss infer {views.run.id} -p {project.root.name}`.")


def read_pixels(project: Project, stem: str) -> NDArray[np.uint8]:
    """Return the upright pixels of an image, [H, W, 3] uint8 of the size that the project knows.

    Raises:
        UserError: It cannot be read, or has another size by now; `found` says so as the end of a sentence.
    """
    image = project.image(stem)
    pixels: NDArray[np.uint8] = project.read(stem).pixels
    if pixels.shape[:2] != (image.height, image.width):
        raise UserError("its size changed since the project was made; run `wsss relink` on its folder")
    return pixels


def maps_digest(views: Views, stem: str, stack: CamStack) -> str:
    """Return the digest of an image's maps; those of others carry none of what made them."""
    return str(stack.facts.get("digest") or file_digest(views.path(stem)))


def with_maps(views: Views, stems: Sequence[str]) -> tuple[str, ...]:
    """Return the images that have maps.

    Raises:
        UserError: None has.
    """
    found = tuple(s for s in stems if views.path(s).is_file())
    if not found:
        raise UserError(
            f"{views} has no maps of these images.",
            f"It has maps of {len(views.stems())} image(s).",
            f"Draw them with `wsss infer {views.run.id}`, or choose another split.",
        )
    return found
