"""The events: what a job tells while it is done, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "ENDINGS",
    "EVENTS",
    "Event",
    "Failed",
    "Finished",
    "Metrics",
    "Progress",
    "Said",
    "Started",
    "Stopped",
    "Viewed",
]


@dataclass(frozen=True, kw_only=True)
class Event:
    """What every event carries: the id of the job it belongs to."""

    job: str = ""


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """The job has begun; `run` names the run it writes to, where it writes to one."""

    kind: str
    run: str | None = None
    device: str = ""


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """`done` of `total` steps of `phase` ("training", "images"); time left in seconds, or None."""

    done: int
    total: int
    seconds_left: float | None = None
    phase: str = ""


@dataclass(frozen=True, kw_only=True)
class Metrics(Event):
    """Named numbers at a step; `clock` is the fraction of the training that is done."""

    step: int
    values: dict[str, float]
    clock: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Viewed(Event):
    """A result of one image is on disk: its kind and its path relative to the project."""

    image: str
    kind: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Said(Event):
    """A sentence for the person; `level` is info or warning."""

    text: str
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True, kw_only=True)
class Finished(Event):
    """The ending of a job that did its work; `result` is what `--json` prints."""

    result: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Failed(Event):
    """The ending of a job that could not; `mistake` tells the person's slip from our bug."""

    message: str
    mistake: bool = False
    hint: str = ""
    trace: str = ""


@dataclass(frozen=True, kw_only=True)
class Stopped(Event):
    """The ending of a job that was stopped; what it had done is kept."""

    resumable: bool = False


EVENTS: dict[str, type[Event]] = {
    c.__name__.lower(): c for c in (Started, Progress, Metrics, Viewed, Said, Finished, Failed, Stopped)
}
ENDINGS = (Finished, Failed, Stopped)
