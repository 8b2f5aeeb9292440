"""The masks that a job is given by name: a label set, or `corrected` for those of people."""

from __future__ import annotations

from typing import Literal, TypeAlias

from engine.edits import Corrected, corrected
from engine.errors import UserError
from engine.store import LabelSet, Project, label_set

__all__ = ["CORRECTED", "Masks", "masks_of", "people"]

CORRECTED = "corrected"
Masks: TypeAlias = LabelSet | Corrected

# States in which a person's mask is a decision or on the way to one; what was rejected or is damaged
# is in the project to be mended, and no job may learn from it or hand it on.
_WORKED_ON = ("in progress", "needs review", "approved")


def masks_of(project: Project, name: str, only: Literal["all", "approved"] = "all") -> Masks:
    """Return the masks of a name.

    Args:
        project: Whose.
        name: A label set, or `corrected`.
        only: `approved` takes, of the corrected masks, those that a person approved.

    Raises:
        UserError: There are none of that name, or `approved` is asked of an engine's labels.
    """
    if name != CORRECTED:
        if only == "approved":
            raise UserError(
                f"The labels '{name}' are the engine's, and nobody approves those.",
                "Approved are masks that a person looked at: the labels `corrected`.",
                "Give --labels corrected, or leave --only approved out.",
            )
        return label_set(project.root, project.colours, name)
    found = people(project, only)
    if not found.stems():
        raise UserError(
            f"The project holds no {'approved' if only == 'approved' else 'corrected'} masks.",
            "Masks are corrected and approved on the Correct page of the window.",
            "Correct some there, or name labels made by `wsss label` or read by `wsss import`.",
        )
    return found


def people(project: Project, only: Literal["all", "approved"] = "all") -> Corrected:
    """Return the masks that people corrected, or just those that they approved; there may be none."""
    return corrected(project, states=("approved",) if only == "approved" else _WORKED_ON)
