"""The maps of one image, checked against the project they are used in."""

from __future__ import annotations

from engine.errors import UserError
from engine.results import CamStack
from engine.store.project import Project
from engine.store.runs import Views

__all__ = ["read_stack"]


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
        return stack
    raise UserError(found, wanted, f"Draw it again with `wsss infer {views.run.id} -p {project.root.name}`.")
