"""Several processes for one job: rank 0 speaks, all leave together, none outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from engine.messages import Failed, Finished, Infer, Progress, Said, Started, Stopped
from engine.run import run

ROOT = Path(__file__).resolve().parents[1]
FAKES = Path(__file__).parent / "fakes"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="torch's launcher has no gloo there")


@pytest.fixture(autouse=True)
def fake_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(FAKES))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def job(script: str, folder: Path) -> Infer:
    return Infer(run=script, project=str(folder), devices=2)


def all_gone(folder: Path, within: float = 10.0) -> bool:
    """Return whether the ranks that left their numbers are gone.

    A rank that starts late may leave its number after another one has ended everything, or none at all.
    """
    until = time.monotonic() + within
    while True:
        pids = [int(p.read_text() or 0) for p in folder.glob("rank-*")]
        left = [p for p in pids if psutil.pid_exists(p) and _lives(p)]
        if (pids and not left) or time.monotonic() > until:
            return bool(pids) and not left
        time.sleep(0.05)


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_rank_0_speaks_for_all(tmp_path: Path) -> None:
    given = job("short", tmp_path)
    events = list(run(given))
    assert [type(e) for e in events] == [Started, Said, Finished]
    assert events[1].text == "rank 0" and events[-1].result == {"world": 2, "rank": 0}
    assert {e.job for e in events} == {given.id}
    assert all_gone(tmp_path)


def test_a_stop_lets_all_ranks_leave(tmp_path: Path) -> None:
    seen: list[object] = []
    events = run(job("long", tmp_path), stop=lambda: any(isinstance(e, Progress) for e in seen))
    for event in events:
        seen.append(event)
    assert isinstance(seen[-1], Stopped) and seen[-1].resumable
    assert {p.name for p in tmp_path.glob("left-*")} == {"left-0", "left-1"}
    assert all_gone(tmp_path)


def test_a_mistake_in_any_rank_is_told(tmp_path: Path) -> None:
    ending = list(run(job("mistake", tmp_path)))[-1]
    assert isinstance(ending, Failed) and ending.mistake and ending.message.startswith("Rank 1 found this.")
    assert all_gone(tmp_path)


def test_a_rank_that_dies_takes_the_others_along(tmp_path: Path) -> None:
    ending = list(run(job("die", tmp_path)))[-1]
    assert isinstance(ending, Failed) and "signal 9" in ending.message and not ending.mistake
    assert all_gone(tmp_path)


def test_ranks_do_not_outlive_their_parent(tmp_path: Path) -> None:
    code = (
        "import sys; from engine.messages import Infer, Progress; from engine.run import run\n"
        "for event in run(Infer(run='long', project=sys.argv[1], devices=2)):\n"
        "    if isinstance(event, Progress): print('on', flush=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(FAKES), str(ROOT)])}
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout.readline()
        parent.send_signal(signal.SIGKILL)
    assert all_gone(tmp_path)


def test_closing_lets_all_ranks_leave(tmp_path: Path) -> None:
    events = run(job("long", tmp_path))
    for event in events:
        if isinstance(event, Progress):
            break
    events.close()
    assert {p.name for p in tmp_path.glob("left-*")} == {"left-0", "left-1"}
    assert all_gone(tmp_path)


def test_nodes_need_to_know_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MASTER_ADDR", "first")
    started, failed = run(Infer(run="r", nodes=2))
    assert isinstance(started, Started)
    assert failed.mistake and "MASTER_PORT, NODE_RANK" in failed.message and "torchrun" in failed.message
