"""The engine's process as seen from the window: start, messages, end. No Qt, and no wait in a caller.

window                       child (python -m engine.serve)
send() ─► writer thread ───► job, stop, quit
take() ◄─ reader thread ◄─── events, heart-beats
          drain thread  ◄─── whatever libraries print: a short tail in memory, and a log file
gone() ◄─ reader thread      once, when it ended for whatever reason
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection, Listener
from multiprocessing.context import AuthenticationError
from pathlib import Path
from typing import IO, Any

import psutil

__all__ = ["Child", "Gone", "Letterbox"]

_MAX_MESSAGE = 1 << 23
_TAIL_LINES, _LINE = 40, 500
_LOG_BYTES, _LOGS = 4 << 20, 5
# Seconds until a request to end is followed by force; a checkpoint may have to be written.
_ASKED, _FORCED = 16.0, 1.0


@dataclass(frozen=True)
class Gone:
    """The last letter of a child: how it ended, in words, and the tail of its output."""

    how: str
    tail: str


class Letterbox:
    """What threads leave for the main thread, and a socket that rings when there is something.

    The threads hold this and no Qt object: the last to let go of a Qt object deletes it, and
    only the main thread may.
    """

    def __init__(self) -> None:
        self._letters: queue.SimpleQueue[bytes | Gone] = queue.SimpleQueue()
        self._bell, self._ear = socket.socketpair()
        self._bell.setblocking(False)
        self._ear.setblocking(False)
        self.heard = time.monotonic()
        """When the last letter came."""

    def __del__(self) -> None:
        self._bell.close()
        self._ear.close()

    def fileno(self) -> int:
        """Return the socket to listen to."""
        return self._ear.fileno()

    def put(self, letter: bytes | Gone) -> None:
        """Leave a letter and ring; from any thread."""
        self.heard = time.monotonic()
        self._letters.put(letter)
        with contextlib.suppress(BlockingIOError):  # it rings already
            self._bell.send(b"!")

    def take(self) -> Iterator[bytes | Gone]:
        """Yield the letters that are there."""
        with contextlib.suppress(BlockingIOError):
            self._ear.recv(1 << 16)
        with contextlib.suppress(queue.Empty):
            while True:
                yield self._letters.get_nowait()


class Child:
    """One process of the engine.

    Args:
        letters: Gets the bytes of each message, and a `Gone` at the end.
        logs: Folder of the log files; the newest five are kept.
    """

    def __init__(self, letters: Letterbox, logs: Path) -> None:
        self._letters = letters
        self._logs = logs
        self._outbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._connected = threading.Event()
        self._flushed = threading.Event()
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._guard = threading.Lock()
        self._doomed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._drainer: threading.Thread | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._live, name="wsss-engine", daemon=True).start()

    @property
    def pid(self) -> int | None:
        """Number of the process, or None before it started."""
        return None if self._process is None else self._process.pid

    def send(self, message: dict[str, Any]) -> None:
        """Send a message as soon as the child listens."""
        self._outbox.put(message)

    def close(self) -> None:
        """Ask the child to stop its job, keep its state and end; it is ended if it does not.

        Waits a fifth of a second at most, until the request is on its way: the caller's
        process may end right after.
        """
        self._flushed.clear()
        self.send({"do": "quit"})
        self._outbox.put(None)
        threading.Thread(target=self._see_out, daemon=True).start()
        self._flushed.wait(0.2)

    def end(self) -> None:
        """End the child and all that it started, without asking."""
        with self._guard:
            self._doomed = True
            process = self._process
        if process is not None:
            threading.Thread(target=_end_tree, args=(process.pid,), daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Return whether the child is gone within `seconds`."""
        return self._ended.wait(seconds)

    def _see_out(self) -> None:
        if not self.wait(_ASKED):
            self.end()

    def _live(self) -> None:
        how = "could not be started"
        process: subprocess.Popen[bytes] | None = None
        try:
            key = secrets.token_bytes(32)
            with Listener(authkey=key) as listener:
                process = self._start(str(listener.address), key)
                connection = _accepted(listener, process)
            self._connected.set()
            with connection:
                threading.Thread(target=self._write, args=(connection,), daemon=True).start()
                self._read(connection)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_ASKED)
        except OSError as error:
            self._tail.append(str(error))
        finally:
            if process is not None:
                if process.poll() is None:
                    _end_tree(process.pid)
                how = _how(process.wait())
            if self._drainer is not None:
                self._drainer.join(1.0)  # the last words tell most
            self._outbox.put(None)
            self._ended.set()
            self._letters.put(Gone(how, "\n".join(self._tail)))

    def _start(self, address: str, key: bytes) -> subprocess.Popen[bytes]:
        root = str(Path(__file__).resolve().parents[1])
        paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        # Safe path: a folder `engine` where the person started napari must not be taken for ours.
        words = {"PYTHONPATH": paths, "PYTHONSAFEPATH": "1", "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}
        with self._guard:
            if self._doomed:
                raise OSError("It was ended before it began.")
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", "engine.serve", "--connect", address],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, **words},
                # Its own session: Ctrl-C in the terminal is the window's to answer, and all that
                # the child leaves behind can be ended as one group.
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        assert process.stdin is not None and process.stdout is not None
        self._drainer = threading.Thread(target=self._drain, args=(process.stdout, process.pid), daemon=True)
        self._drainer.start()
        threading.Thread(target=self._mourn, args=(process, address, key), daemon=True).start()
        with process.stdin as pipe:
            pipe.write(key.hex().encode() + b"\n")
        return process

    def _mourn(self, process: subprocess.Popen[bytes], address: str, key: bytes) -> None:
        """Wait for the end of the process, end what it left behind, and wake the reader."""
        process.wait()
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        if not self._connected.is_set():
            # `accept` knows no time limit; a visitor makes it return.
            with contextlib.suppress(OSError, EOFError, AuthenticationError):
                Client(address, authkey=key).close()

    def _read(self, connection: Connection) -> None:
        while True:
            try:
                data = connection.recv_bytes(_MAX_MESSAGE)
            except (EOFError, OSError):
                return
            self._letters.put(data)

    def _write(self, connection: Connection) -> None:
        with contextlib.suppress(OSError):  # the reader sees the same end
            while (message := self._outbox.get()) is not None:
                connection.send_bytes(json.dumps(message).encode())
        self._flushed.set()

    def _drain(self, pipe: IO[bytes], pid: int) -> None:
        with pipe, contextlib.ExitStack() as stack:
            room = _LOG_BYTES
            try:
                log = stack.enter_context(self._open_log(pid))
            except OSError as error:
                self._tail.append(f"There is no log file: {error}.")
                room = 0
            # A line without end must not fill the memory, nor many lines the disk.
            while line := pipe.readline(_LINE):
                self._tail.append(line.decode(errors="replace").rstrip())
                room -= len(line)
                if room > 0:
                    with contextlib.suppress(OSError):  # a full disk must not stop the draining
                        log.write(line)

    def _open_log(self, pid: int) -> IO[bytes]:
        self._logs.mkdir(parents=True, exist_ok=True)
        old = sorted(self._logs.glob("engine-*.log"), key=lambda p: p.stat().st_mtime)
        for path in old[: 1 - _LOGS]:
            path.unlink(missing_ok=True)
        return (self._logs / f"engine-{pid}.log").open("wb", buffering=0)


def _accepted(listener: Listener, process: subprocess.Popen[bytes]) -> Connection:
    while True:
        try:
            return listener.accept()
        except (AuthenticationError, EOFError, ConnectionError):
            if process.poll() is not None:
                raise OSError("It ended before it connected.") from None


def _how(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    return f"was killed by signal {-status} ({signal.strsignal(-status)})"


def _end_tree(pid: int) -> None:
    """End a process and all below it: a word first, then force."""
    try:
        parent = psutil.Process(pid)
        family = [*parent.children(recursive=True), parent]
    except psutil.NoSuchProcess:
        return
    for way in ("terminate", "kill"):
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                getattr(member, way)()
        _, family = psutil.wait_procs(family, timeout=_FORCED)
