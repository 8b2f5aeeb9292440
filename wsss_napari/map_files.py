"""The maps of one image as the Explore page reads them from the project. No Qt."""

from __future__ import annotations

from engine.errors import UserError
from engine.results import CamStack
from engine.store import Project, Views, read_stack

__all__ = ["OTHERS", "read_maps", "views_title"]

# Views of this name hold the maps of all classes, drawn for single images on demand.
OTHERS = "all_classes"


def views_title(views: Views) -> str:
    """Return how people call these views: the run's name, and the views' own unless it is `default`."""
    return views.run.title if views.name == "default" else f"{views.run.title} / {views.name}"


def read_maps(project: Project, views: Views, image: str) -> tuple[CamStack | None, str]:
    """Return the maps of an image that can be shown, or None and why there are none."""
    try:
        stack = read_stack(project, views, image)
    except FileNotFoundError:
        return None, f"No maps of {image} in {views_title(views)} yet."
    except UserError as error:
        return None, str(error)
    return stack, ""
