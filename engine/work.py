"""What a step is given beside its job: when to stop, what is warm, and where events are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Halted", "Warm", "Work", "never"]

# What the child keeps between two jobs, such as the network that was loaded last.
Warm = dict[str, Any]


def never() -> bool:
    """Answer False: nobody asks this job to stop."""
    return False


def _nowhere(run: Any) -> None:
    """Record nothing: this process does not own the run's events."""


class Halted(Exception):
    """Raised by a step that ends itself because `Work.stop` answered true.

    A step need not do so: `engine.run` closes it at its next event. Only among several
    ranks must it, where all of them have to leave at the same step.
    """


@dataclass(frozen=True)
class Work:
    """What a step works with.

    Attributes:
        stop: Whether the job was asked to stop. Between two events only long stretches
            need to ask. With several ranks the answer of rank 0 must decide for all.
        warm: Kept from job to job by the window's child; a new dict elsewhere.
        record: Called with the `engine.store.Run` that a training writes to: from then on every
            event is appended to its events.jsonl, and the ending settles its status.
    """

    stop: Callable[[], bool] = never
    warm: Warm = field(default_factory=dict)
    record: Callable[[Any], None] = _nowhere
