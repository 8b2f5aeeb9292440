"""Figure 11e: seed quality over the size of a step."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Annotated, Any

from engine.messages import Event
from engine.params import Spec
from engine.results import Figure
from engine.studies._subject import Subject
from engine.studies._sweeping import sweep

__all__ = ["Settings", "run"]

TITLE = "Seed quality over the step size"
SENTENCE = "Tries several sizes xi of a step."
SOURCE = "figure 11e"
NEEDS_TRUTH = True
COUNT = 100
CLIMBS = 6
DEFAULTS: dict[str, Any] = {}


@dataclass(frozen=True)
class Settings:
    """The values that are tried."""

    values: Annotated[
        tuple[float, ...], Spec("Sizes of a step to try.", low=0, high=255, unit="grey levels", main=True)
    ] = (0.5, 1.0, 1.5, 2.5, 4.6, 8.0)


def run(subject: Subject) -> Generator[Event, None, Figure]:
    """Sweep the step size."""
    return (yield from sweep(subject, "step", "step, grey levels", "a broad range of step sizes does well."))
