"""Open a project by its wsss.toml: File > Open, drag and drop, or `napari my_project/wsss.toml`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari

from engine.errors import UserError
from engine.store import open_project
from wsss_napari.session import session_of

__all__ = ["get_project_reader"]


def get_project_reader(path: str | list[str]) -> Callable[[Any], list[Any]] | None:
    """Return what reads a project file, or None when the path is something else; nothing is opened here."""
    if isinstance(path, list):
        if len(path) != 1:
            return None
        path = path[0]
    return _read if Path(path).name == "wsss.toml" else None


def _read(path: str | list[str]) -> list[Any]:
    """Open the project in the dock of the viewer in front; without one, return its first image.

    The dock shows the photograph itself, as it does whenever a project is opened, so that it is
    one of our layers and changes with the image chosen. `(None,)` tells napari that all is done.

    Raises:
        ValueError: It is no project, or a damaged one; napari shows the sentences.
    """
    file = path[0] if isinstance(path, list) else path
    try:
        viewer = napari.current_viewer()
        if viewer is not None:
            viewer.window.add_plugin_dock_widget("wsss-napari", "WSSS")
            session_of(viewer).open(file)
            return [(None,)]
        project = open_project(file)
        stem = project.usable[0]
        return [(project.read(stem).pixels, {"name": stem, "rgb": True}, "image")]
    except UserError as mistake:
        raise ValueError(str(mistake)) from None
