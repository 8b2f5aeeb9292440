"""New project folders, made whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tomli_w

from engine.atomic import new_folder, write_bytes, write_text
from engine.colours import class_colours
from engine.errors import UserError
from engine.names import stem_fault
from engine.store import tag_log
from engine.store.class_list import ClassEntry, ClassList, check_names
from engine.store.image_list import Image, image_lines
from engine.store.project import Project, TruthPlace, open_project, project_facts
from engine.tags import Tags

__all__ = ["check_place", "create"]


def create(
    root: Path,
    *,
    images: Sequence[Image],
    image_folder: Path,
    tags: Tags,
    truth: TruthPlace | None = None,
    name: str | None = None,
    author: str = "import",
) -> Project:
    """Make a project folder, whole or not at all.

    Args:
        root: Folder to make; it must not exist, or be empty.
        images: All images, those set aside included.
        image_folder: Folder that the images' files are relative to.
        tags: Tags of the images; its classes are the project's, in mask order.
        truth: Where truth masks lie, if there are any.
        name: Name shown to people; the folder's name by default.
        author: Who the tags are recorded under.

    Raises:
        UserError: Something stands at `root`.
    """
    root = check_place(root)
    colours = class_colours(len(tags.classes))
    check_names(tags.classes)
    classes = ClassList(tuple(map(ClassEntry, tags.classes, colours)))
    with new_folder(root, replace=True) as part:
        facts = project_facts(root, name or root.name, classes, image_folder.resolve(), truth)
        write_text(part / "wsss.toml", tomli_w.dumps(facts))
        write_bytes(part / "images.csv", image_lines(images))
        tag_log.create(part / "tags.csv", tags, author)
        for folder in ("runs", "labels", "exports"):
            (part / folder).mkdir()
    return open_project(root)


def check_place(root: Path) -> Path:
    """Return the resolved folder if a project can be made there.

    Raises:
        UserError: Something stands there, or a folder of that name is asking for trouble.
    """
    root = root.expanduser().resolve()
    accepted, todo = "A new or empty folder is accepted.", "Choose another name."
    if (root / "wsss.toml").exists():
        raise UserError(f"{root} is a project already.", accepted, todo)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(f"{root} is not empty.", accepted, todo)
    if fault := stem_fault(root.name):
        raise UserError(f"A project's folder name {fault}.", "A plain folder name is accepted.", todo)
    return root
