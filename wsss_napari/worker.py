"""Jobs of one viewer: a queue, a child process that does them, and Qt signals on the main thread."""

from __future__ import annotations

import json
import secrets
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from qtpy.QtCore import QObject, QSocketNotifier, QStandardPaths, QTimer, Signal

from engine.errors import UserError
from engine.messages import (
    ENDINGS,
    MAX_MESSAGE,
    Climb,
    Event,
    Failed,
    Finished,
    Infer,
    Job,
    Label,
    Metrics,
    Progress,
    Refine,
    Said,
    Started,
    Stopped,
    decode,
    encode,
)
from wsss_napari.child import Child, Gone, Letterbox

__all__ = ["Engine", "JobLine", "State", "log_folder"]

State = Literal["queued", "starting", "running", "stopping", "finished", "failed", "stopped"]

# Seconds without a heart-beat until the child counts as not answering.
_SILENCE = 10.0
_LINES = 200
_LOG_LINES = 500


@dataclass
class JobLine:
    """One job as the jobs bar shows it.

    Attributes:
        job: What was asked for.
        state: Where it stands.
        run: Id of the run it writes to, once it is known.
        device: Where it is done, once it is known.
        progress: The last figure of how far it is.
        metrics: All `Metrics` that came.
        log: What was said, a line each.
        began, ended: Seconds since the epoch.
        ending: The last event.
    """

    job: Job
    state: State = "queued"
    run: str | None = None
    device: str = ""
    progress: Progress | None = None
    metrics: list[Metrics] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.time)
    ended: float | None = None
    ending: Event | None = None

    @property
    def open(self) -> bool:
        """Whether the job has no ending yet."""
        return self.ending is None


class _Signals(QObject):  # type: ignore[misc]
    # Not `event`: that is the method by which Qt delivers.
    told = Signal(object)
    changed = Signal()


class Engine:
    """Does jobs in a child process, one at a time, in the order they are submitted.

        engine = Engine()
        engine.event.connect(print)
        engine.submit(Methods(), then=lambda ending: print(ending.result))

    The child is started by the first job, and by the next job after it died. Nothing here
    waits: answers arrive as signals. Jobs that wait stay here until their turn, so a crash
    takes along only the one that was being done.

    Attributes:
        event: Qt signal with every `Event`, on the main thread.
        changed: Qt signal: the list of jobs, a state, or whether the child answers.
        jobs: A line for each job, newest last.
        memory: Bytes that the child held at its last heart-beat.
    """

    def __init__(self) -> None:
        self._signals = _Signals()
        self.event = self._signals.told
        self.changed = self._signals.changed
        self.jobs: list[JobLine] = []
        self.memory = 0
        self._then: dict[str, Callable[[Event], object]] = {}
        self._children: list[Child] = []
        self._forced = False
        self._closed = False
        self._answering = True
        self._letters = Letterbox()
        self._bell = QSocketNotifier(self._letters.fileno(), QSocketNotifier.Type.Read)
        self._bell.activated.connect(self._read)
        self._clock = QTimer()
        self._clock.setInterval(1000)
        self._clock.timeout.connect(self._supervise)
        # Whoever forgets to close leaves no process behind. (Not by Qt's `destroyed`: when Python's
        # collector takes the object, it has emptied the slot before Qt calls it.)
        weakref.finalize(self, _close_all, self._children)

    @property
    def busy(self) -> bool:
        """Whether a job is being done or waits."""
        return any(line.open for line in self.jobs)

    @property
    def alive(self) -> bool:
        """Whether there is a child process; without one the next job starts it."""
        return bool(self._children)

    @property
    def answering(self) -> bool:
        """Whether the child was heard of within the last ten seconds, or there is none."""
        return self._answering

    def submit(self, job: Job, *, then: Callable[[Event], object] | None = None) -> str:
        """Queue a job.

        Args:
            job: What to do. A job that was submitted before gets a new id.
            then: Called once with the ending, on the main thread.

        Returns:
            The id of the job, which its events carry.

        Raises:
            UserError: The job is too large for a message, or the window is closing.
        """
        if any(line.job.id == job.id for line in self.jobs):
            job = replace(job, id=secrets.token_hex(8))
        size = len(encode(job))
        if size > MAX_MESSAGE:
            raise UserError(
                f"The job takes {size} bytes.", f"At most {MAX_MESSAGE} are sent.", "Choose fewer images."
            )
        if self._closed:
            raise UserError("The window is closing.", "", "Open it again to start a job.")
        if then is not None:
            self._then[job.id] = then
        ended = [line for line in self.jobs if not line.open]
        for line in ended[: max(0, len(self.jobs) - _LINES)]:
            self.jobs.remove(line)
        self.jobs.append(JobLine(job))
        self._next()
        self.changed.emit()
        return job.id

    def warm(self, job: Job) -> None:
        """Let the child load what a job of this kind will need; does nothing while there is work."""
        if self._closed or self._forced or self.busy:
            return
        if not self._children:
            self._start()
        self._children[-1].send({"do": "warm", "job": json.loads(encode(job))})

    def line(self, job_id: str) -> JobLine | None:
        """Return the line of a job, or None when it was dropped from the list."""
        return next((line for line in self.jobs if line.job.id == job_id), None)

    def stop(self, job_id: str) -> None:
        """Ask a job to stop after its next step and keep its state; a second call does nothing."""
        line = self.line(job_id)
        if line is None or not line.open or line.state == "stopping":
            return
        if line.state == "queued":
            self._finish(line, Stopped(job=job_id))
            return
        line.state = "stopping"
        self._children[-1].send({"do": "stop", "id": job_id})
        self.changed.emit()

    def force_stop(self) -> None:
        """End the child with all it started; what its job had finished is kept, jobs that wait go on."""
        if not self._children:
            return
        self._forced = True
        if (line := self._current()) is not None:
            line.state = "stopping"
        self._children[-1].end()
        self.changed.emit()

    def close(self) -> None:
        """Ask the child to stop its job, keep its state and end; it is ended if it does not.

        Returns within a fifth of a second. No signal comes after this, and no job is taken.
        """
        if self._closed:
            return
        self._closed = True
        self._then.clear()
        # Here and now: the number of a socket that is closed under its notifier is given to the next one.
        self._bell.setEnabled(False)
        for watch in (self._bell, self._clock):
            watch.deleteLater()
        _close_all(self._children)

    def wait(self, seconds: float) -> bool:
        """Return whether the child is gone within `seconds`. For tests and scripts: it blocks."""
        return all(child.wait(seconds) for child in self._children)

    def _current(self) -> JobLine | None:
        return next((line for line in self.jobs if line.open and line.state != "queued"), None)

    def _next(self) -> None:
        """Give the child the job whose turn it is, if it has none."""
        line = next((line for line in self.jobs if line.open), None)
        if line is None or line.state != "queued" or self._forced:
            return
        if not self._children:
            self._start()
        line.state = "starting"
        line.began = time.time()
        self._children[-1].send({"do": "job", "job": json.loads(encode(line.job))})

    def _start(self) -> None:
        self._letters.heard = time.monotonic()
        self._children.append(Child(self._letters, log_folder()))
        self._clock.start()

    def _read(self, *_: object) -> None:
        for letter in self._letters.take():
            if self._closed:
                return
            if isinstance(letter, Gone):
                self._bury(letter)
            elif letter.startswith(b'{"beat"'):
                self.memory = int(json.loads(letter).get("memory", 0))
            else:
                self._tell(letter)

    def _tell(self, letter: bytes) -> None:
        """Tell an event of the job that is being done."""
        try:
            event = decode(letter)
        except UserError as error:
            event = Said(text=f"The engine sent what is no message. {error.found}", level="warning")
        line = self.line(event.job) if isinstance(event, Event) and event.job else self._current()
        if line is None or not line.open or not isinstance(event, Event):
            return
        if isinstance(event, ENDINGS):
            self._finish(line, replace(event, job=line.job.id))
            return
        _note(line, event)
        self.event.emit(event)
        self.changed.emit()

    def _bury(self, gone: Gone) -> None:
        """Go on without the child: end its job, and start another for those that wait."""
        self._children.clear()
        self._clock.stop()
        self._answering = True
        self.memory = 0
        forced, self._forced = self._forced, False
        line = self._current()
        if line is None:
            self._next()
            self.changed.emit()
        elif forced:
            self._finish(line, Stopped(job=line.job.id, resumable=_keeps(line)))
        else:
            kept = "What it had finished is kept" + (", and the run can be resumed." if _keeps(line) else ".")
            hint = f"{kept} The next job starts the engine again."
            message = f"The engine {gone.how} during this job."
            self._finish(line, Failed(job=line.job.id, message=message, hint=hint, trace=gone.tail))

    def _finish(self, line: JobLine, ending: Event) -> None:
        line.ending = ending
        line.ended = time.time()
        match ending:
            case Finished():
                line.state = "finished"
            case Failed():
                line.state = "failed"
                _log(line, *filter(None, (ending.message, ending.hint, ending.trace)))
            case _:
                line.state = "stopped"
        self._next()
        then = self._then.pop(line.job.id, None)
        self.event.emit(ending)
        self.changed.emit()
        if then is not None:
            then(ending)

    def _supervise(self) -> None:
        answering = time.monotonic() - self._letters.heard < _SILENCE
        if answering != self._answering:
            self._answering = answering
            self.changed.emit()


def log_folder() -> Path:
    """Return the folder of the engine's log files, in the person's cache."""
    place = QStandardPaths.StandardLocation.GenericCacheLocation
    return Path(QStandardPaths.writableLocation(place)) / "wsss-napari"


def _close_all(children: list[Child]) -> None:
    for child in children:
        child.close()


def _note(line: JobLine, event: Event) -> None:
    match event:
        case Started():
            line.state = "running" if line.state == "starting" else line.state
            line.run, line.device = event.run or line.run, event.device
        case Progress():
            line.progress = event
        case Metrics():
            line.metrics.append(event)
        case Said():
            _log(line, event.text)


def _log(line: JobLine, *texts: str) -> None:
    line.log += texts
    del line.log[:-_LOG_LINES]


def _keeps(line: JobLine) -> bool:
    """Return whether the job, begun anew, goes on where it was broken off."""
    return line.run is not None or isinstance(line.job, (Climb, Infer, Label, Refine))
