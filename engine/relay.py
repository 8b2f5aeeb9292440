"""Start one process a device for a job, and pass on what rank 0 tells.

The processes are started by `torch.distributed.run` and do `python -m engine.ranks JOB.json`.
They print events on standard output, one JSON object a line; a file `stop` beside the
job's tells them to stop; their standard input ends when this process is gone, and so do
they. Under a launcher of one's own (`torchrun -m engine.cli …`) nothing is started here.
"""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import psutil

from engine.errors import UserError
from engine.messages import (
    ENDINGS,
    Event,
    Failed,
    Finished,
    Infer,
    Job,
    Label,
    Started,
    Stopped,
    decode,
    encode,
)
from engine.store import open_project, run_of

__all__ = ["relay"]

# Seconds that ranks have to write a checkpoint and leave together.
_LEAVE = 20.0
_TICK = 0.1
_TAIL = 60


def relay(job: Job, stop: Callable[[], bool]) -> Iterator[Event]:
    """Do the job in `job.devices` processes on each node and yield the events of rank 0.

    On a stop, or when this iterator is closed, the ranks leave at the same step; those that
    have not after 20 seconds are ended. A rank that dies takes the others along and makes a
    `Failed`; the run can be resumed.
    """
    started: Started | None = None
    ending: Event | None = None
    with tempfile.TemporaryDirectory(prefix="wsss-ranks-") as folder:
        try:
            ranks = _Ranks(job, Path(folder))
        except UserError as error:
            yield Started(job=job.id, kind=job.VERB)
            yield Failed(job=job.id, message=str(error), mistake=True)
            return
        try:
            for event in ranks.events():
                if stop():
                    ranks.ask_to_stop()
                if event is None:
                    continue
                if isinstance(event, ENDINGS):
                    # Rank 0 speaks for all, but any rank may be the one that failed.
                    ending = event if ending is None or isinstance(event, Failed) else ending
                    continue
                if started is None:
                    started = event if isinstance(event, Started) else Started(job=job.id, kind=job.VERB)
                    if event is not started:
                        yield started
                yield event
        finally:
            ranks.end()
    if started is None:
        started = Started(job=job.id, kind=job.VERB)
        yield started
    yield ranks.ending(started.run, ending)


class _Ranks:
    """The launcher of one node's ranks, and the pipes to it."""

    def __init__(self, job: Job, folder: Path) -> None:
        words = _placement(job)
        paper = folder / "job.json"
        paper.write_bytes(encode(job))
        self._job = job
        self._stop = folder / "stop"
        self._stopped_at: float | None = None
        self._tail: deque[str] = deque(maxlen=_TAIL)
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        root = str(Path(__file__).resolve().parents[1])
        paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", *words, "-m", "engine.ranks", str(paper)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Safe path: a folder `engine` where the person happens to be must not be ours.
            env={**os.environ, "PYTHONPATH": paths, "PYTHONSAFEPATH": "1"},
        )
        assert self._process.stdout is not None and self._process.stderr is not None
        self._readers = [
            threading.Thread(target=_drain, args=(pipe, take), daemon=True)
            for pipe, take in ((self._process.stdout, self._lines.put), (self._process.stderr, self._note))
        ]
        for reader in self._readers:
            reader.start()

    def events(self) -> Iterator[Event | None]:
        """Yield what the ranks tell until they are gone, and None ten times a second."""
        while True:
            try:
                line = self._lines.get(timeout=_TICK)
            except queue.Empty:
                if self._process.poll() is not None and not self._readers[0].is_alive():
                    return
                if self._stopped_at is not None and time.monotonic() - self._stopped_at > _LEAVE:
                    return
                yield None
                continue
            try:
                message = decode(line)
            except UserError:
                self._note(line)  # a library printed it
                continue
            if isinstance(message, Event):
                yield message

    def ask_to_stop(self) -> None:
        """Ask all ranks to leave after the step they are in."""
        if self._stopped_at is None:
            self._stopped_at = time.monotonic()
            self._stop.touch()

    def end(self) -> None:
        """See the ranks out: ask, wait, and end those that stay."""
        assert self._process.stdin is not None
        if self._process.poll() is None:
            self.ask_to_stop()
            assert self._stopped_at is not None
            left = max(0.0, self._stopped_at + _LEAVE - time.monotonic())
            try:
                self._process.wait(left)
            except subprocess.TimeoutExpired:
                _end_tree(self._process)
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            self._note(b"The launcher closed its input.")
        for reader in self._readers:
            reader.join(1.0)

    def ending(self, run: str | None, told: Event | None) -> Event:
        """Return the ending, given what a rank told of it, once the ranks are gone."""
        killed = re.search(r"exitcode\s*:\s*-(\d+)", "\n".join(self._tail))
        if told is not None and not (killed and isinstance(told, Failed) and not told.mistake):
            return told
        if self._stopped_at is not None:
            return Stopped(job=self._job.id, resumable=self._resumable(run))
        status = self._process.returncode
        if status == 0:
            return Finished(job=self._job.id, result={})  # rank 0 told its node
        how = f"was killed by signal {killed[1]}" if killed else f"ended with status {status}"
        resume = "Go on with it by --resume." if self._resumable(run) else "Run it again."
        return Failed(
            job=self._job.id,
            message=f"One of the {self._job.devices} processes {how}, and the others were ended.",
            hint=f"Often the memory was exhausted. {resume}",
            trace="\n".join(self._tail),
        )

    def _resumable(self, run: str | None) -> bool:
        if run is None:
            return isinstance(self._job, (Infer, Label))
        try:
            return run_of(open_project(self._job.project).root, run).resumable
        except UserError:
            return False

    def _note(self, line: bytes) -> None:
        self._tail.append(line.decode(errors="replace").rstrip())


def _placement(job: Job) -> list[str]:
    """Return the launcher's options: which nodes there are, and which of them this is."""
    each = ["--nproc-per-node", str(job.devices), "--max-restarts", "0"]
    if job.nodes == 1:
        # The host's own name may not resolve, as in a container.
        return ["--standalone", "--local-addr", "127.0.0.1", *each]
    where = {name: os.environ.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")}
    missing = [name for name, value in where.items() if not value]
    if missing:
        raise UserError(
            f"--nodes {job.nodes}, and the environment does not set {', '.join(missing)}.",
            "MASTER_ADDR and MASTER_PORT name the first node, NODE_RANK is 0 there, 1 on the next …",
            "Set them and give the same command on every node, or start it by torchrun.",
        )
    place = ["--master-addr", where["MASTER_ADDR"], "--master-port", where["MASTER_PORT"]]
    return ["--nnodes", str(job.nodes), "--node-rank", where["NODE_RANK"], *place, *each]


def _drain(pipe: IO[bytes], take: Callable[[bytes], None]) -> None:
    with pipe:
        for line in pipe:
            take(line)


def _end_tree(process: subprocess.Popen[bytes]) -> None:
    """End the launcher and its ranks, with force if they do not listen."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    process.terminate()
    try:
        process.wait(5.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for member in family:
        try:
            member.kill()  # psutil knows it from another process that took its number
        except psutil.NoSuchProcess:
            continue
