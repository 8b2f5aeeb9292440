"""The one entry: a job in, events out, exactly one ending.

    for event in run(Train(project="pets", method="cam")):
        print(event)

The step of a job is the module `engine.steps.<verb>`, imported when it is asked for, so
that a job without a network never waits for torch. Its function
`run(job, desk) -> Generator[Event, None, dict]` yields events and returns the result.
"""

from __future__ import annotations

import errno
import importlib
import math
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.errors import UserError
from engine.messages import (
    Climb,
    Event,
    Failed,
    Finished,
    Infer,
    Job,
    Label,
    Metrics,
    Progress,
    Said,
    Started,
    Stopped,
    encode,
)
from engine.relay import relay
from engine.store import Run
from engine.store.runs import FAILED, FINISHED, RUNNING, STOPPED
from engine.work import Halted, Warm, Work, never

__all__ = ["run"]

# Seconds between two Progress or Metrics: ten a second is what an eye and a pipe want.
_PACE = 0.1
_MODULES = {"import": "import_"}
_Step = Callable[[Job, Work], Generator[Event, None, dict[str, Any] | None]]
_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


def run(job: Job, stop: Callable[[], bool] = never, warm: Warm | None = None) -> Iterator[Event]:
    """Do a job: yield `Started`, what happens, and one of `Finished`, `Failed`, `Stopped`.

    Every event carries the job's id. Closing the iterator closes the step, which keeps its
    state as on a stop. Nothing that goes wrong in a step is raised here.

    Args:
        job: What to do. With `devices` or `nodes` above one, processes are started for them
            and the events of the first are passed on.
        stop: Asked after each event of the step; once it answers true, the step is closed.
        warm: Kept from job to job by a long-lived caller, see `engine.work`.

    Yields:
        At most ten `Progress` and `Metrics` a second, the last of each kind before the
        ending; every other event. A rank other than the first yields nothing but a failure.
    """
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if world == 1 and job.WORKS and (job.devices > 1 or job.nodes > 1):
        yield from relay(job, stop)
        return
    log = _Log(job, mute=rank > 0)
    desk = Work(stop, {} if warm is None else warm, log.take)
    # A rank must not leave its step while the others wait for it: they agree inside the step.
    told = _told(job, desk, stop if world == 1 else never, log)
    for event in told:
        if rank == 0 or isinstance(event, Failed):
            yield replace(event, job=job.id)


def _told(job: Job, desk: Work, stop: Callable[[], bool], log: _Log) -> Iterator[Event]:
    """Yield what the step tells, `Started` first and the ending last."""
    pace = _Pace()
    begun = False
    ending: Event = Stopped()
    try:
        step = _step(job)(job, desk)
        try:
            while True:
                try:
                    event = next(step)
                except StopIteration as done:
                    ending = Finished(result=done.value or {})
                    break
                if not begun and not isinstance(event, Started):
                    yield log.keep(log.started())
                begun = True
                for known in _finite(event):
                    for due in pace.due(known):
                        yield log.keep(due)
                if stop():
                    break
        finally:
            step.close()
        encode(ending)  # a result that no message can carry fails here, not in a pipe
    except GeneratorExit:
        log.settle(list(pace.held.values()), Stopped())
        raise
    except (Halted, KeyboardInterrupt):
        ending = Stopped()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the border: each error becomes an ending
        ending = _failure(job, error)
    rest = [*([] if begun else [log.started()]), *pace.held.values()]
    ending = log.settle(rest, ending)
    yield from rest
    yield ending


def _step(job: Job) -> _Step:
    module = importlib.import_module(f"engine.steps.{_MODULES.get(job.VERB, job.VERB)}")
    step: _Step = module.run
    return step


@dataclass
class _Pace:
    """Holds back `Progress` and `Metrics` that come too fast; a newer one replaces its like."""

    held: dict[object, Event] = field(default_factory=dict)
    _last: float = -math.inf

    def due(self, event: Event) -> list[Event]:
        """Return what is to be told now, given one more event."""
        match event:
            case Progress():
                kind: object = event.phase
            case Metrics():
                # The score of an epoch must not be lost to the loss of the next step.
                kind = frozenset(event.values)
            case _:
                return [event]
        # The newest stands last, so what is held comes out in the order it happened.
        self.held.pop(kind, None)
        self.held[kind] = event
        if time.monotonic() - self._last < _PACE:
            return []
        self._last = time.monotonic()
        return [self.held.pop(next(iter(self.held)))]


@dataclass
class _Log:
    """The events.jsonl of the run that a training writes to, and its status."""

    job: Job
    mute: bool
    run: Run | None = None

    def take(self, run: Run) -> None:
        """Keep what is told from now on in this run."""
        if not self.mute:
            self.run = run

    def started(self) -> Started:
        """Return the first event for a step that tells none."""
        if self.run is None:
            return Started(kind=self.job.VERB)
        return Started(kind=self.job.VERB, run=self.run.id, device=str(self.run.facts.get("device", "")))

    def keep(self, event: Event) -> Event:
        """Append the event, and return it once it is known that a message can carry it."""
        encode(event)
        if self.run is not None:
            self.run.record(replace(event, job=self.job.id))
        return event

    def settle(self, rest: Sequence[Event], ending: Event) -> Event:
        """Append the last events, close the run if its step left it open, and return the ending."""
        if self.run is None:
            if isinstance(ending, Stopped):
                # They skip what is there with the same digest.
                return Stopped(resumable=isinstance(self.job, (Climb, Infer, Label)))
            return ending
        try:
            if self.run.status == RUNNING:
                match ending:
                    case Finished():
                        self.run.end(FINISHED)
                    case Failed():
                        self.run.end(FAILED, error=ending.message)
                    case _:
                        self.run.end(STOPPED)
            if isinstance(ending, Stopped):
                ending = Stopped(resumable=self.run.resumable)
            for event in (*rest, ending):
                self.keep(event)
        except OSError as error:
            return ending if isinstance(ending, Failed) else _failure(self.job, error)
        return ending


def _finite(event: Event) -> list[Event]:
    """Return the event with the numbers that a message can carry, and a warning for the others."""
    if not isinstance(event, Metrics) or all(map(math.isfinite, event.values.values())):
        return [event]
    lost = [name for name, value in event.values.items() if not math.isfinite(value)]
    values = {name: value for name, value in event.values.items() if name not in lost}
    text = f"At step {event.step}, {' and '.join(lost)} is no finite number."
    return [Said(text=text, level="warning"), replace(event, values=values)]


def _failure(job: Job, error: BaseException) -> Failed:
    """Return the ending for an error: a sentence for the person, and for a bug its report."""
    if isinstance(error, UserError):
        return Failed(message=str(error), mistake=True)
    if isinstance(error, OSError) and error.errno in _UNWRITABLE:
        where = f" ({error.filename})" if error.filename else ""
        return Failed(
            message=f"Writing failed: {error.strerror}{where}.",
            mistake=True,
            hint="Make room or give rights, then go on.",
        )
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return Failed(
            message=f"The memory was exhausted: {error or 'no figure is known'}.",
            mistake=True,
            hint="Choose a smaller batch or crop, or another device, and go on from the last checkpoint.",
            trace=trace,
        )
    # Only what was imported can have failed, and importing torch for its number would cost seconds.
    known = [name for name in ("engine", "numpy", "torch") if name in sys.modules]
    versions = ", ".join(f"{name} {getattr(sys.modules[name], '__version__', '')}" for name in known)
    where = f"{platform.platform()}, Python {platform.python_version()}, {versions}"
    return Failed(
        message=f"{type(error).__name__}: {error}",
        hint="This is a bug of the engine. What was finished is kept.",
        trace=f"{trace}\n{where}\n{encode(job).decode()}\n",
    )
