"""The schema number of a project, and the steps from older ones to this one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.errors import UserError

__all__ = ["SCHEMA", "migrate"]

SCHEMA = 1

# From schema n to n + 1. A frozen project of each schema lies in tests/data and must open.
_STEPS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}


def migrate(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of wsss.toml in today's schema.

    Raises:
        UserError: A newer version made the project, or the number is missing.
    """
    schema = facts.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise UserError(
            f"wsss.toml says schema = {schema!r}.",
            f"Schemas 1 to {SCHEMA} are read.",
            "Is this a wsss project?",
        )
    if schema > SCHEMA:
        raise UserError(
            f"A newer version made this project (schema {schema}).",
            f"This version reads schemas 1 to {SCHEMA}.",
            "Install the newest wsss-napari to open it.",
        )
    while schema < SCHEMA:
        facts = _STEPS[schema](facts)
        schema += 1
    return {**facts, "schema": SCHEMA}
