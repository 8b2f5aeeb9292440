"""Run a job from the shell: draw its events, honour Ctrl-C, turn its ending into an answer."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from engine import run as engine_run
from engine.cli.screen import Screen
from engine.errors import UserError
from engine.messages import Failed, Finished, Job, Rerun, Started, Stopped, Train, command
from engine.store import Run, open_project, runs_of

__all__ = ["Bug", "Halted", "follow"]


class Bug(Exception):
    """A job failed by no fault of the person; carries the trace."""

    def __init__(self, message: str, trace: str) -> None:
        super().__init__(message)
        self.trace = trace


class Halted(Exception):
    """A job was stopped; `resume` is the line that goes on with it, or an empty string."""

    def __init__(self, resume: str) -> None:
        super().__init__(resume)
        self.resume = resume


def follow(job: Job, screen: Screen) -> dict[str, Any]:
    """Run a job to its end and return its result.

    The first Ctrl-C asks the job to stop and keep what it has done, the second breaks off.

    Raises:
        UserError: The job asks for something that cannot be done.
        Halted: Ctrl-C stopped it.
        Bug: It failed otherwise.
    """
    run, ending = None, None
    threads = job.threads or max(1, _cores() // job.devices)
    # A library that prints must not spoil the one line of --json.
    with _listening(screen) as asked, contextlib.redirect_stdout(sys.stderr):
        for event in engine_run.run(dataclasses.replace(job, threads=threads), asked):
            match event:
                case Started():
                    run = event.run or run
                case Finished() | Failed() | Stopped():
                    ending = event
                case _:
                    screen.show(event)
    screen.clear()
    match ending:
        case Finished():
            return ending.result
        case Failed(mistake=True):
            raise UserError(ending.message, ending.hint)
        case Failed():
            raise Bug(ending.message, ending.trace)
        case Stopped():
            raise Halted(_resume_line(job, run) if ending.resumable else "")
        case _:
            return {}  # a rank other than the first tells nothing


def _resume_line(job: Job, run: str | None) -> str:
    if isinstance(job, (Train, Rerun)):
        # A training that was given no name has one by now: the youngest that can go on.
        named = run or (job.run if isinstance(job, Train) else None)
        runs = [r for r in runs_of(open_project(job.project).root) if r.resumable and named in (None, r.id)]
        return command(_training(job, runs[-1])) if runs else ""
    return command(job)


def _training(job: Train | Rerun, run: Run) -> Train:
    """Return the job that goes on with a run; its settings are in its run.json."""
    return Train(
        project=job.project, method=run.method, run=run.id, resume=True, device=job.device, devices=job.devices,
        nodes=job.nodes, threads=job.threads, seed=int(run.facts.get("seed", 0)),
    )  # fmt: skip


def _cores() -> int:
    """Return how many cores a command may use: all, or what OMP_NUM_THREADS says."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _listening(screen: Screen) -> Iterator[Callable[[], bool]]:
    """Yield the question whether Ctrl-C was pressed."""
    presses = 0

    def pressed(number: int, frame: FrameType | None) -> None:
        nonlocal presses
        presses += 1
        if presses == 1:
            screen.say("Stopping after this step. Press Ctrl-C again to break off.")
        elif presses == 2:
            raise KeyboardInterrupt
        else:
            os._exit(130)  # cleaning up hangs; every write is atomic, so nothing half-written stays

    before = signal.signal(signal.SIGINT, pressed)
    try:
        yield lambda: presses > 0
    finally:
        signal.signal(signal.SIGINT, before)
