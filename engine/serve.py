"""The child process of the window: takes jobs, does them one at a time, sends their events.

    python -m engine.serve --connect ADDRESS      (key in hex on the first line of standard input)

Messages are JSON bytes over `multiprocessing.connection`. To the child:
`{"do": "job", "job": {…}}`, `{"do": "warm", "job": {…}}` (load what such a job needs, and do
nothing), `{"do": "stop", "id": …}`, `{"do": "quit"}`. From it: events, and once
a second `{"beat": time, "state": "idle" | "working", "job": id or null, "memory": bytes}`.
When the connection ends, so does the child, within two seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import importlib
import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Client, Connection
from typing import Any

import psutil

from engine.errors import UserError
from engine.messages import MAX_MESSAGE, Event, Failed, Job, Stopped, decode, encode
from engine.run import run
from engine.work import Warm, Work

__all__ = ["main"]

_BEAT = 1.0
# Seconds to leave in: short when nobody is there any more, longer when asked to, for the checkpoint.
_ALONE, _ASKED = 1.5, 15.0


def main(arguments: list[str] | None = None) -> int:
    """Serve the process that listens at `--connect` until it quits or is gone."""
    parser = argparse.ArgumentParser(prog="python -m engine.serve", description="The window's child process.")
    parser.add_argument("--connect", required=True, metavar="ADDRESS", help="where the parent listens")
    address = parser.parse_args(arguments).connect
    faulthandler.enable()
    key = bytes.fromhex(sys.stdin.readline().strip())
    os.environ.setdefault("OMP_NUM_THREADS", str(_threads()))
    with Client(address, authkey=key) as connection:
        _Child(connection).serve()
    return 0


class _Child:
    """What the threads of the child share: one reads, one beats, the main one works."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._expected: Job | None = None
        self._current: str | None = None
        self._stop = threading.Event()
        self._quit = False
        self._process = psutil.Process()

    def serve(self) -> None:
        """Do jobs in the order they come, until there is nobody to do them for."""
        for work in (self._read, self._beat):
            threading.Thread(target=work, daemon=True).start()
        warm: Warm = {}
        for job, wanted in self._turns():
            if not wanted:
                _prepare(job, warm)
                continue
            for event in run(job, self._stop.is_set, warm):
                self._send(event)
            gc.collect()

    def _turns(self) -> Iterator[tuple[Job, bool]]:
        """Yield the next job and whether it is to be done; otherwise it is only expected."""
        while True:
            with self._changed:
                self._current = None
                self._changed.wait_for(lambda: self._waiting or self._expected or self._quit)
                if self._quit:
                    return
                if wanted := bool(self._waiting):
                    job = self._waiting.popleft()
                    self._current = job.id
                    self._stop.clear()
                else:
                    assert self._expected is not None
                    job, self._expected = self._expected, None
            yield (job if job.threads is not None else replace(job, threads=_threads())), wanted

    def _read(self) -> None:
        while True:
            try:
                # Twice the limit: what is a little too long gets an answer instead of a closed door.
                data = self._connection.recv_bytes(2 * MAX_MESSAGE)
            except (EOFError, OSError):
                self._leave(_ALONE)
                return
            try:
                message = json.loads(data)
                word = message["do"]
                if word == "job":
                    self._accept(message["job"])
                elif word == "warm":
                    self._expect(message["job"])
                elif word == "stop":
                    self._halt(message["id"])
                elif word == "quit":
                    self._leave(_ASKED)
                    return
                else:
                    raise ValueError(f"the word {word!r} is not known")
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                print(
                    f"A message was passed over: {type(error).__name__}: {error}", file=sys.stderr, flush=True
                )

    def _accept(self, values: Any) -> None:
        try:
            job = decode(json.dumps(values).encode())
            if not isinstance(job, Job):
                raise UserError("This is an event, not a job.")
        except UserError as error:
            name = values.get("id") if isinstance(values, dict) else None
            self._send(Failed(job=name if isinstance(name, str) else "", message=str(error), mistake=True))
            return
        with self._changed:
            self._waiting.append(job)
            self._changed.notify()

    def _expect(self, values: Any) -> None:
        try:
            job = decode(json.dumps(values).encode())
        except UserError:
            return  # the job itself will tell
        if isinstance(job, Job):
            with self._changed:
                self._expected = job
                self._changed.notify()

    def _halt(self, name: Any) -> None:
        with self._changed:
            if self._current == name:
                self._stop.set()
                return
            dropped = [job for job in self._waiting if job.id == name]
            for job in dropped:
                self._waiting.remove(job)
        for job in dropped:
            self._send(Stopped(job=job.id))

    def _leave(self, seconds: float) -> None:
        """Stop the job and end; by force if it does not stop within `seconds`."""
        with self._changed:
            dropped = list(self._waiting)
            self._waiting.clear()
            self._quit = True
            self._stop.set()
            self._changed.notify()
        force = threading.Timer(seconds, _end)
        force.daemon = True
        force.start()
        for job in dropped:
            self._send(Stopped(job=job.id))

    def _beat(self) -> None:
        while True:
            current = self._current
            beat = {"beat": time.time(), "state": "working" if current else "idle", "job": current}
            self._send({**beat, "memory": self._process.memory_info().rss})
            time.sleep(_BEAT)

    def _send(self, message: Event | dict[str, Any]) -> None:
        data = encode(message) if isinstance(message, Event) else json.dumps(message).encode()
        # The reader sees the same broken pipe and leaves; what is said meanwhile has no listener.
        with self._sending, contextlib.suppress(OSError):
            self._connection.send_bytes(data)


def _prepare(job: Job, warm: Warm) -> None:
    """Load what a job of this kind needs: its modules, and the network where its step can say so."""
    try:
        step = importlib.import_module(f"engine.steps.{job.VERB}")
        if hasattr(step, "prepare"):
            step.prepare(job, Work(warm=warm))
    except Exception as error:  # noqa: BLE001 - nobody asked for this yet; the job itself will tell
        print(f"Not warm: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


def _threads() -> int:
    """Return one thread less than there are cores to use: the window keeps one."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, usable - 1)


def _end(status: int = 1) -> None:
    """End this process and all that it started, now."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    os._exit(status)


if __name__ == "__main__":
    # All is saved by then. Exit hooks of the libraries can only hang or crash.
    _end(main())
