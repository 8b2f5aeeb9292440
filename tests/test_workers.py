"""The worker pool: results, errors, crashes, prompt ends."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from engine.errors import UserError
from engine.workers import run_pool

_TASKS = """
import os, sys, time
from pathlib import Path
from engine.errors import UserError

def double(x):
    print("a library that prints")
    threads = os.environ["OMP_NUM_THREADS"]
    return {"twice": 2 * x, "pid": os.getpid(), "torch": "torch" in sys.modules, "threads": threads}

def fail(x):
    if x == 2:
        raise UserError("Image 2 is damaged.", "Accepted: others.", "Copy it again.")
    return x

def bug(x):
    return 1 / x

def die(x):
    if x == 1:
        os._exit(9)
    return x

def sleep(seconds, path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(seconds)

def text(x):
    return x[::-1]
"""


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "pool_tasks.py").write_text(_TASKS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return "pool_tasks"


def test_every_task_is_done_once_by_several_processes(tasks: str) -> None:
    results = dict(run_pool(f"{tasks}:double", ([x] for x in range(20)), 2))
    assert sorted(results) == list(range(20))
    assert all(results[x]["twice"] == 2 * x for x in results)
    assert len({r["pid"] for r in results.values()}) == 2
    assert os.getpid() not in {r["pid"] for r in results.values()}
    assert not any(r["torch"] for r in results.values()) and results[0]["threads"] == "1"


def test_no_task_starts_no_process(tasks: str) -> None:
    assert list(run_pool(f"{tasks}:double", [], 3)) == []
    with pytest.raises(ValueError):
        list(run_pool(f"{tasks}:double", [[1]], 0))


def test_arguments_are_drawn_as_workers_become_free(tasks: str) -> None:
    drawn = 0

    def arguments() -> Iterator[list[int]]:
        nonlocal drawn
        for drawn in range(1, 1001):
            yield [drawn]

    pool = run_pool(f"{tasks}:double", arguments(), 2)
    next(pool)
    assert drawn <= 5
    pool.close()


def test_text_and_long_arguments_cross_the_border(tasks: str) -> None:
    long = "ü🦀\n" * 50_000
    assert list(run_pool(f"{tasks}:text", [[long]], 1)) == [(0, long[::-1])]


def test_a_user_error_comes_back_in_three_parts(tasks: str) -> None:
    with pytest.raises(UserError) as error:
        list(run_pool(f"{tasks}:fail", ([x] for x in range(5)), 2))
    assert (error.value.found, error.value.accepted, error.value.todo) == (
        "Image 2 is damaged.",
        "Accepted: others.",
        "Copy it again.",
    )


def test_a_bug_comes_back_with_its_traceback(tasks: str) -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(run_pool(f"{tasks}:bug", [[0]], 1))
    with pytest.raises(RuntimeError, match="no attribute"):
        list(run_pool(f"{tasks}:nothing", [[0]], 1))


def test_a_dead_worker_is_a_sentence(tasks: str) -> None:
    with pytest.raises(UserError, match=r"died \(exit status 9\) at item 1"):
        list(run_pool(f"{tasks}:die", ([x] for x in range(5)), 1))


def test_closing_ends_the_workers_at_once(tasks: str, tmp_path: Path) -> None:
    pool = run_pool(f"{tasks}:sleep", [(0, str(tmp_path / "a")), (60, str(tmp_path / "b"))], 1)
    next(pool)
    deadline = time.monotonic() + 20
    while not (tmp_path / "b").exists() or not (tmp_path / "b").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child = int((tmp_path / "b").read_text())
    start = time.monotonic()
    pool.close()
    assert time.monotonic() - start < 1
    assert not psutil.pid_exists(child)
