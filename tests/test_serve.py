"""The child process by itself: jobs, stops, heart-beats, nonsense, and the death of its parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection, Listener
from pathlib import Path

import psutil
import pytest

from engine.messages import (
    MAX_MESSAGE,
    Failed,
    Finished,
    Job,
    Methods,
    New,
    Progress,
    Rerun,
    Said,
    Started,
    Stopped,
    decode,
    encode,
)
from engine.store import runs_of

ROOT = Path(__file__).resolve().parents[1]
FAKES = Path(__file__).parent / "fakes"


class Parent:
    """A child and the parent's end of its pipe."""

    def __init__(self, connection: Connection, process: subprocess.Popen[bytes]) -> None:
        self.connection = connection
        self.process = process
        self.beats: list[dict[str, object]] = []

    def send(self, **message: object) -> None:
        self.connection.send_bytes(json.dumps(message).encode())

    def give(self, job: Job) -> None:
        self.send(do="job", job=json.loads(encode(job)))

    def next(self, seconds: float = 30.0):
        """Return the next event; heart-beats are put aside."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if not self.connection.poll(0.05):
                continue
            data = self.connection.recv_bytes()
            message = json.loads(data)
            if "beat" not in message:
                return decode(data)
            self.beats.append(message)
        raise TimeoutError(f"nothing was said for {seconds} s")

    def until(self, kind: type, seconds: float = 30.0) -> list:
        events = [self.next(seconds)]
        while not isinstance(events[-1], kind):
            events.append(self.next(seconds))
        return events


def gone(*processes: psutil.Process, within: float = 2.0) -> bool:
    """Return whether the processes end in time; an orphan may wait long to be taken off the list."""
    until = time.monotonic() + within
    while (left := [p for p in processes if _lives(p)]) and time.monotonic() < until:
        time.sleep(0.02)
    return not left


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def parent() -> Iterator[Parent]:
    key = os.urandom(16)
    with Listener(authkey=key) as listener:
        process = subprocess.Popen(
            [sys.executable, "-m", "engine.serve", "--connect", str(listener.address)],
            stdin=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(FAKES), str(ROOT)])},
        )
        process.stdin.write(key.hex().encode() + b"\n")
        process.stdin.flush()
        connection = listener.accept()
    yield Parent(connection, process)
    connection.close()
    process.kill()
    process.wait()
    process.stdin.close()


def test_a_job_comes_and_goes(parent: Parent) -> None:
    job = Rerun(run="count:5:0.01")
    parent.give(job)
    events = parent.until(Finished)
    assert isinstance(events[0], Started) and isinstance(events[-2], Progress) and events[-2].done == 5
    assert {e.job for e in events} == {job.id}
    # One less than there are cores, unless the job says.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert events[-1].result["threads"] == max(1, cores - 1)
    parent.give(Rerun(run="count:1", threads=7))
    assert parent.until(Finished)[-1].result["threads"] == 7


def test_what_is_warm_stays_warm(parent: Parent) -> None:
    for _ in range(3):
        parent.give(Rerun(run="warm"))
    said = [e.text for _ in range(3) for e in parent.until(Finished) if isinstance(e, Said)]
    assert said == ["1", "2", "3"]


def test_an_expected_job_is_prepared_and_not_done(parent: Parent) -> None:
    for run in ("warm", "rot"):  # a step that cannot be prepared says so when it is done, not before
        parent.send(do="warm", job=json.loads(encode(Rerun(run=run))))
    parent.send(do="warm", job={"verb": "destroy"})
    time.sleep(0.3)  # a newer wish may replace an older one that nobody began with
    parent.send(do="warm", job=json.loads(encode(Rerun(run="warm"))))
    time.sleep(0.5)
    parent.give(Rerun(run="warm"))
    events = parent.until(Finished)
    (said,) = [e.text for e in events if isinstance(e, Said)]
    assert int(said) in (11, 21), "prepared once or twice, done once"


def test_a_real_job_loads_no_torch_and_answers(parent: Parent, tmp_path: Path) -> None:
    parent.give(New(project=str(tmp_path / "p"), images=str(tmp_path / "none")))
    (ending,) = parent.until(Failed)[-1:]
    assert ending.mistake and str(tmp_path / "none") in ending.message
    maps = Path(f"/proc/{parent.process.pid}/maps")
    if maps.exists():
        assert "libtorch" not in maps.read_text()


def test_stop_ends_the_job_and_keeps_its_state(parent: Parent, tmp_path: Path) -> None:
    job = Rerun(run="train:10000:0.02", project=str(tmp_path))
    parent.give(job)
    parent.until(Progress)
    begun = time.monotonic()
    parent.send(do="stop", id=job.id)
    ending = parent.until(Stopped)[-1]
    assert time.monotonic() - begun < 1
    assert ending.resumable
    (made,) = runs_of(tmp_path)
    assert made.status == "stopped" and int((made.folder / "kept").read_text()) >= 1
    assert parent.process.poll() is None


def test_stop_of_a_job_that_waits_takes_it_off_the_queue(parent: Parent) -> None:
    first, second, third = Rerun(run="count:20:0.05"), Rerun(run="bug"), Rerun(run="count:1")
    for job in (first, second, third):
        parent.give(job)
    parent.until(Progress)
    parent.send(do="stop", id=second.id)
    parent.send(do="stop", id="nobody")
    events = parent.until(Finished) + parent.until(Finished)
    endings = [(type(e), e.job) for e in events if isinstance(e, (Finished, Stopped, Failed))]
    assert endings == [(Stopped, second.id), (Finished, first.id), (Finished, third.id)]


def test_a_heart_beats_each_second_also_while_a_step_is_silent(parent: Parent) -> None:
    job = Rerun(run="sleep:3.2")
    parent.give(job)
    parent.until(Finished)
    working = [b for b in parent.beats if b["state"] == "working"]
    assert 2 <= len(working) <= 5
    assert {b["job"] for b in working} == {job.id}
    assert all(b["memory"] > 1 << 20 and abs(b["beat"] - time.time()) < 60 for b in working)
    parent.give(Rerun(run="sleep:0"))
    parent.until(Finished)


def test_nonsense_is_passed_over(parent: Parent) -> None:
    for data in (
        b"",
        b"\xff\x00 no json",
        b"[]",
        b"null",
        b"{}",
        b'{"do": "dance"}',
        b'{"do": ["job"]}',
        b'{"do": "job"}',
        b'{"do": "warm"}',
        b'{"do": "warm", "job": [1]}',
        b'{"do": "stop"}',
        b'{"do": "stop", "id": [1]}',
        b"[" * 100_000,
        b'{"do": "job", "job": "' + b"x" * (MAX_MESSAGE + 10) + b'"}',
    ):
        parent.connection.send_bytes(data)
    assert isinstance(parent.next(), Failed)  # the long one was a job, of a kind
    for values in (
        {"verb": "destroy", "id": "a"},
        {"verb": "rerun", "id": "b"},
        {"event": "said", "text": "x", "job": "c"},
    ):
        parent.send(do="job", job=values)
    answers = [parent.next() for _ in range(3)]
    assert [(type(a), a.job) for a in answers] == [(Failed, "a"), (Failed, "b"), (Failed, "")]
    assert all(a.mistake for a in answers)
    parent.give(Rerun(run="count:1"))
    assert isinstance(parent.until(Finished)[-1], Finished)


def test_what_a_step_prints_does_not_reach_the_pipe(parent: Parent) -> None:
    parent.give(Rerun(run="noise:20"))
    assert isinstance(parent.until(Finished)[-1], Finished)


def test_quit_stops_the_job_and_ends(parent: Parent, tmp_path: Path) -> None:
    parent.give(Rerun(run="train:10000:0.02", project=str(tmp_path)))
    waits = Rerun(run="count:1")
    parent.give(waits)
    parent.until(Progress)
    parent.send(do="quit")
    endings = [parent.until(Stopped)[-1] for _ in range(2)]
    assert waits.id in {e.job for e in endings}
    assert parent.process.wait(5) == 0
    assert runs_of(tmp_path)[0].status == "stopped"


def test_a_closed_connection_ends_the_child_with_its_state_kept(parent: Parent, tmp_path: Path) -> None:
    parent.give(Rerun(run="train:10000:0.02", project=str(tmp_path)))
    parent.until(Progress)
    parent.connection.close()
    begun = time.monotonic()
    parent.process.wait(5)
    assert time.monotonic() - begun < 2
    assert runs_of(tmp_path)[0].status == "stopped"


def test_a_closed_connection_ends_even_a_silent_step_and_what_it_started(parent: Parent) -> None:
    parent.give(Rerun(run="family"))
    said = parent.until(Said)[-1]
    family = psutil.Process(int(said.text))
    parent.send(do="stop", id=said.job)
    parent.until(Stopped)
    assert family.is_running()  # a stopped step that leaves something behind …
    parent.give(Rerun(run="sleep:60"))
    parent.until(Started)
    begun = time.monotonic()
    parent.connection.close()
    parent.process.wait(5)
    assert time.monotonic() - begun < 2.5
    assert gone(family)  # … is ended with the child


def test_an_idle_child_ends_with_its_parent(tmp_path: Path) -> None:
    """Kill a real parent with signal 9 while its child works."""
    code = (
        "import os, subprocess, sys\n"
        "from multiprocessing.connection import Listener\n"
        "key = os.urandom(8)\n"
        "listener = Listener(authkey=key)\n"
        "child = subprocess.Popen([sys.executable, '-m', 'engine.serve', '--connect', listener.address],"
        " stdin=subprocess.PIPE)\n"
        "child.stdin.write(key.hex().encode() + b'\\n'); child.stdin.flush()\n"
        "connection = listener.accept()\n"
        "import json; from engine.messages import *\n"
        f"job = Rerun(run='train:10000:0.02', project={str(tmp_path)!r})\n"
        "connection.send_bytes(json.dumps({'do': 'job', 'job': json.loads(encode(job))}).encode())\n"
        "while b'progress' not in connection.recv_bytes(): pass\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(FAKES), str(ROOT)])}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as process:
        child = psutil.Process(int(process.stdout.readline()))
        assert runs_of(tmp_path)[0].status == "running"
        process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        assert gone(child)
    (made,) = runs_of(tmp_path)
    assert made.status in ("stopped", "interrupted") and made.resumable


def test_a_killed_child_leaves_an_interrupted_run(parent: Parent, tmp_path: Path) -> None:
    parent.give(Rerun(run="train:10000:0.02", project=str(tmp_path)))
    parent.until(Progress)
    assert runs_of(tmp_path)[0].status == "running"
    parent.process.kill()
    parent.process.wait()
    (made,) = runs_of(tmp_path)
    assert made.status == "interrupted" and made.resumable
    assert any(isinstance(e, Progress) for e in made.events())


def test_a_wrong_key_is_turned_away() -> None:
    with Listener(authkey=b"right") as listener:
        process = subprocess.Popen(
            [sys.executable, "-m", "engine.serve", "--connect", str(listener.address)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        threading.Thread(
            target=process.communicate, args=(b"wrong".hex().encode() + b"\n",), daemon=True
        ).start()
        with pytest.raises(Exception, match="digest"):
            listener.accept()
        assert process.wait(10) != 0


def test_methods_is_answered_by_the_engine(parent: Parent) -> None:
    parent.give(Methods())
    ending = parent.until(Finished, 120)[-1]
    assert any(m["name"] == "cam" for m in ending.result["methods"])
