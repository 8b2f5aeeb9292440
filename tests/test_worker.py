"""The window's side of the border, with a real child: submit, stop, force, crash, close, two at once."""

from __future__ import annotations

import gc
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from engine.errors import UserError
from engine.messages import (
    ENDINGS,
    MAX_MESSAGE,
    Event,
    Failed,
    Finished,
    Infer,
    Methods,
    Progress,
    Rerun,
    Said,
    Started,
    Stopped,
)
from engine.store import runs_of
from wsss_napari import worker
from wsss_napari.ours import check_engine
from wsss_napari.worker import Engine

ROOT = Path(__file__).resolve().parents[1]
FAKES = Path(__file__).parent / "fakes"


@pytest.fixture
def make(qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Engine]]:
    monkeypatch.setenv("PYTHONPATH", str(FAKES))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made: list[Engine] = []

    def new() -> Engine:
        made.append(Engine())
        return made[-1]

    yield new
    for engine in made:
        for child in engine._children:
            child.end()
        assert engine.wait(10)
        engine.close()


@pytest.fixture
def engine(make: Callable[[], Engine]) -> Engine:
    return make()


class Ear:
    """Collects an engine's events and waits for some."""

    def __init__(self, engine: Engine, qtbot) -> None:
        self.heard: list[Event] = []
        self.engine, self.qtbot = engine, qtbot
        engine.event.connect(self.heard.append)

    def until(self, kind: type | tuple, seconds: float = 30.0) -> Event:
        self.qtbot.waitUntil(
            lambda: any(isinstance(e, kind) for e in self.heard), timeout=int(seconds * 1000)
        )
        return [e for e in self.heard if isinstance(e, kind)][-1]

    def clear(self) -> None:
        self.heard.clear()


def child_of(engine: Engine) -> psutil.Process:
    return psutil.Process(engine._children[-1].pid)


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


def test_a_job_from_queue_to_end(engine: Engine, qtbot) -> None:
    ear, endings = Ear(engine, qtbot), []
    assert not engine.alive and not engine.busy and engine.jobs == []
    name = engine.submit(Rerun(run="count:5:0.05"), then=endings.append)
    line = engine.line(name)
    assert engine.busy and line.state == "starting" and line.open
    ear.until(Started)
    assert line.state == "running" and engine.alive and engine.answering
    ending = ear.until(Finished)
    assert endings == [ending] and ending.job == name
    assert (line.state, line.ending, line.open) == ("finished", ending, False)
    assert line.progress.done == 5 and line.ended >= line.began
    assert not engine.busy and engine.alive  # the child stays warm
    assert isinstance(ear.heard[0], Started) and sum(isinstance(e, ENDINGS) for e in ear.heard) == 1


def test_the_child_may_be_warmed_before_its_first_job(engine: Engine, qtbot) -> None:
    assert not engine.alive
    engine.warm(Rerun(run="warm"))
    assert engine.alive and not engine.jobs, "no line in the list: nobody asked for anything"
    endings: list[object] = []
    qtbot.wait(3000)  # a job that comes before the child is up takes precedence, as it should
    engine.submit(Rerun(run="warm"), then=endings.append)
    engine.warm(Rerun(run="warm"))  # while there is work it would only be in the way
    qtbot.waitUntil(lambda: len(endings) == 1, timeout=20_000)
    assert engine.jobs[-1].log == ["11"]


def test_submitting_does_not_hold_up_the_window(engine: Engine, qtbot) -> None:
    begun = time.monotonic()
    engine.submit(Rerun(run="count:1"))
    assert time.monotonic() - begun < 0.2
    Ear(engine, qtbot).until(Finished)


def test_jobs_are_done_one_after_the_other(engine: Engine, qtbot) -> None:
    ear, order = Ear(engine, qtbot), []
    names = [
        engine.submit(Rerun(run=f"count:3:0.0{n}"), then=lambda e: order.append(e.job)) for n in (3, 2, 1)
    ]
    assert [line.state for line in engine.jobs] == ["starting", "queued", "queued"]
    qtbot.waitUntil(lambda: len(order) == 3, timeout=30_000)
    assert order == names
    kinds = [e.job for e in ear.heard if isinstance(e, (Started, Finished))]
    assert kinds == [n for name in names for n in (name, name)]


def test_then_may_submit_the_next_job(engine: Engine, qtbot) -> None:
    texts: list[str] = []
    engine.event.connect(lambda e: texts.append(e.text) if isinstance(e, Said) else None)
    engine.submit(Rerun(run="warm"), then=lambda e: engine.submit(Rerun(run="warm")))
    qtbot.waitUntil(lambda: texts == ["1", "2"], timeout=30_000)


def test_stop_within_a_second(engine: Engine, qtbot, tmp_path: Path) -> None:
    ear = Ear(engine, qtbot)
    name = engine.submit(Rerun(run="train:10000:0.02", project=str(tmp_path)))
    ear.until(Progress)
    begun = time.monotonic()
    engine.stop(name)
    engine.stop(name)
    assert engine.line(name).state == "stopping"
    ending = ear.until(Stopped, 5)
    assert time.monotonic() - begun < 1
    assert ending.resumable and engine.line(name).state == "stopped"
    assert engine.line(name).run == runs_of(tmp_path)[0].id
    assert runs_of(tmp_path)[0].status == "stopped"
    engine.stop(name)
    engine.stop("nobody")
    assert engine.line(name).state == "stopped"


def test_stop_of_a_job_that_waits(engine: Engine, qtbot) -> None:
    first, second = engine.submit(Rerun(run="count:10:0.03")), engine.submit(Rerun(run="bug"))
    ear = Ear(engine, qtbot)
    engine.stop(second)
    assert engine.line(second).state == "stopped"
    assert ear.until(Finished).job == first
    assert not any(isinstance(e, Failed) for e in ear.heard)


def test_force_stop_ends_the_family_and_the_next_job_starts_anew(engine: Engine, qtbot) -> None:
    ear, endings = Ear(engine, qtbot), []
    name = engine.submit(Rerun(run="family"), then=endings.append)
    waiting = engine.submit(Rerun(run="count:1"))
    grandchild = psutil.Process(int(ear.until(Said).text))
    child = child_of(engine)
    begun = time.monotonic()
    engine.force_stop()
    assert time.monotonic() - begun < 0.2  # it does not wait
    assert engine.line(name).state == "stopping"
    qtbot.waitUntil(lambda: bool(endings), timeout=5000)
    assert isinstance(endings[0], Stopped) and engine.line(name).state == "stopped"
    assert gone(child, grandchild, within=3)
    assert ear.until(Finished).job == waiting  # in a new child
    ear.clear()
    engine.submit(Rerun(run="count:1"))
    ear.until(Finished)


def test_force_stop_while_the_child_starts(engine: Engine, qtbot) -> None:
    ear = Ear(engine, qtbot)
    engine.force_stop()  # nothing there: nothing happens
    engine.submit(Rerun(run="count:1"))
    engine.force_stop()
    ear.until(Stopped, 10)
    assert not engine.alive
    engine.submit(Rerun(run="count:1"))
    ear.until(Finished)


def test_a_step_that_hears_nothing_is_ended_by_force(engine: Engine, qtbot) -> None:
    ear = Ear(engine, qtbot)
    name = engine.submit(Rerun(run="sleep:60"))
    ear.until(Progress)
    engine.stop(name)
    qtbot.wait(300)
    assert engine.line(name).state == "stopping" and engine.answering
    engine.force_stop()
    ear.until(Stopped, 5)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_crash_is_told_in_a_sentence_and_mended_by_the_next_job(
    engine: Engine, qtbot, tmp_path: Path
) -> None:
    ear = Ear(engine, qtbot)
    name = engine.submit(Rerun(run="die:9"))
    ending = ear.until(Failed)
    assert ending.job == name and "killed by signal 9" in ending.message and not ending.mistake
    assert "last words" in ending.trace and "next job" in ending.hint
    assert engine.line(name).state == "failed" and not engine.alive
    assert any("last words" in text for text in engine.line(name).log)
    ear.clear()
    engine.submit(Rerun(run="count:1"))
    ear.until(Finished)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_kill_from_outside_leaves_a_run_to_resume_and_the_queue_goes_on(
    engine: Engine, qtbot, tmp_path
) -> None:
    ear = Ear(engine, qtbot)
    name = engine.submit(Rerun(run="train:10000:0.02", project=str(tmp_path)))
    waiting = engine.submit(Rerun(run="count:1"))
    ear.until(Progress)
    child_of(engine).kill()
    ending = ear.until(Failed)
    assert ending.job == name and "resumed" in ending.hint
    (made,) = runs_of(tmp_path)
    assert made.status == "interrupted" and made.resumable
    assert ear.until(Finished).job == waiting


def test_a_mistake_of_the_person_leaves_the_child_alive(engine: Engine, qtbot) -> None:
    ear = Ear(engine, qtbot)
    engine.submit(Rerun(run="mistake"))
    ending = ear.until(Failed)
    assert ending.mistake and ending.message.startswith("Found this.")
    assert engine.jobs[-1].log[0] == ending.message
    assert engine.alive


def test_silence_is_noticed_and_forgiven(engine: Engine, qtbot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_SILENCE", 2.5)
    ear = Ear(engine, qtbot)
    engine.submit(Rerun(run="count:2000:0.05"))
    ear.until(Progress)
    child = child_of(engine)
    child.suspend()
    qtbot.waitUntil(lambda: not engine.answering, timeout=6000)
    assert engine.alive
    child.resume()
    qtbot.waitUntil(lambda: engine.answering, timeout=6000)
    assert engine.memory > 1 << 20


def test_two_engines_do_not_disturb_each_other(make: Callable[[], Engine], qtbot) -> None:
    one, two = make(), make()
    ears = Ear(one, qtbot), Ear(two, qtbot)
    first, second = one.submit(Rerun(run="count:1000:0.02")), two.submit(Rerun(run="count:20:0.02"))
    assert ears[1].until(Finished).job == second
    ears[0].until(Progress)
    two.force_stop()
    qtbot.waitUntil(lambda: not two.alive, timeout=5000)
    assert one.alive and one.line(first).state == "running"
    assert {e.job for e in ears[0].heard} == {first} and {e.job for e in ears[1].heard} == {second}
    one.stop(first)
    assert ears[0].until(Stopped).job == first


def test_close_stops_the_job_with_its_state_kept(engine: Engine, qtbot, tmp_path: Path) -> None:
    ear = Ear(engine, qtbot)
    engine.submit(
        Rerun(run="train:10000:0.02", project=str(tmp_path)), then=lambda e: pytest.fail("too late")
    )
    ear.until(Progress)
    child = child_of(engine)
    begun = time.monotonic()
    engine.close()
    engine.close()
    assert time.monotonic() - begun < 0.5
    assert engine.wait(5)
    assert gone(child)
    assert runs_of(tmp_path)[0].status == "stopped"
    with pytest.raises(UserError, match="closing"):
        engine.submit(Rerun(run="count:1"))
    qtbot.wait(50)  # what is still on its way does no harm


def test_a_forgotten_engine_takes_its_child_along(
    qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(FAKES))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    engine = Engine()
    engine.submit(Rerun(run="count:2000:0.02"))
    ear = Ear(engine, qtbot)
    ear.until(Progress)
    child = child_of(engine)
    del engine, ear
    gc.collect()
    qtbot.waitUntil(lambda: gone(child, within=0), timeout=5000)


def test_what_the_child_prints_is_kept_short_and_in_a_file(engine: Engine, qtbot, tmp_path: Path) -> None:
    ear = Ear(engine, qtbot)
    engine.submit(Rerun(run="noise:3000"))
    ear.until(Finished)
    child = engine._children[-1]
    qtbot.waitUntil(lambda: bool(child._tail) and "noise 2999" in "".join(child._tail), timeout=5000)
    assert sum(map(len, child._tail)) < 50_000
    (log,) = (tmp_path / "cache" / "wsss-napari").glob("engine-*.log")
    assert 2_000_000 < log.stat().st_size < 5_000_000


def test_only_the_newest_logs_stay(engine: Engine, qtbot, tmp_path: Path) -> None:
    logs = worker.log_folder()
    assert logs.is_relative_to(tmp_path)
    logs.mkdir(parents=True)
    for n in range(9):
        (logs / f"engine-{n}.log").write_text("old")
        os.utime(logs / f"engine-{n}.log", (n, n))
    ear = Ear(engine, qtbot)
    engine.submit(Rerun(run="noise:1"))
    ear.until(Finished)
    found = {p.name for p in logs.glob("*.log")}
    assert len(found) == 5 and {"engine-8.log", f"engine-{child_of(engine).pid}.log"} <= found


def test_an_engine_that_cannot_start_is_told(engine: Engine, qtbot, monkeypatch: pytest.MonkeyPatch) -> None:
    ear = Ear(engine, qtbot)
    monkeypatch.setattr(sys, "executable", str(ROOT / "no-such-python"))
    engine.submit(Rerun(run="count:1"))
    ending = ear.until(Failed)
    assert "could not be started" in ending.message and "no-such-python" in ending.trace


def test_a_python_that_ends_at_once_is_told(engine: Engine, qtbot, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os; print('no engine here', flush=True); os._exit(7)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ear = Ear(engine, qtbot)
    engine.submit(Rerun(run="count:1"))
    ending = ear.until(Failed)
    assert "ended with status 7" in ending.message and "no engine here" in ending.trace


def test_a_job_twice_and_a_job_too_long(engine: Engine, qtbot) -> None:
    ear = Ear(engine, qtbot)
    job = Rerun(run="count:1")
    assert engine.submit(job) != engine.submit(job)
    qtbot.waitUntil(lambda: not engine.busy, timeout=30_000)
    assert [line.state for line in engine.jobs] == ["finished", "finished"]
    with pytest.raises(UserError, match="bytes"):
        engine.submit(Infer(run="r", images=("x" * 100,) * (MAX_MESSAGE // 100)))
    assert not engine.busy and ear.heard


def test_old_lines_go(engine: Engine, qtbot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_LINES", 3)
    names = [engine.submit(Rerun(run="count:0")) for _ in range(6)]
    qtbot.waitUntil(lambda: not engine.busy, timeout=30_000)
    names.append(engine.submit(Rerun(run="count:0")))
    assert [line.job.id for line in engine.jobs] == names[-4:]
    qtbot.waitUntil(lambda: not engine.busy, timeout=30_000)


def test_the_window_side_loads_no_torch() -> None:
    code = "import wsss_napari.worker, sys; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, timeout=60).returncode == 0


def test_another_package_named_engine_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_engine()
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "__init__.py").write_text("raise SystemExit('must not be run')")
    other = importlib.util.spec_from_file_location(
        "engine", tmp_path / "engine" / "__init__.py", submodule_search_locations=[str(tmp_path / "engine")]
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: other)
    with pytest.raises(ImportError, match="another was found") as caught:
        check_engine()
    assert str(tmp_path / "engine") in str(caught.value)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="nowhere"):
        check_engine()


def test_a_folder_named_engine_where_one_stands_is_not_taken(
    engine: Engine, qtbot, tmp_path, monkeypatch
) -> None:
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "serve.py").write_text("raise SystemExit('taken')")
    monkeypatch.chdir(tmp_path)
    ear = Ear(engine, qtbot)
    engine.submit(Rerun(run="count:1"))
    assert isinstance(ear.until((Finished, Failed)), Finished)


APP = """
import sys
from qtpy.QtWidgets import QApplication
from engine.messages import Progress, Rerun
from wsss_napari.worker import Engine
app = QApplication([])
engine = Engine()
def tell(event):
    if isinstance(event, Progress):
        print(engine._children[-1].pid, flush=True)
engine.event.connect(tell)
engine.submit(Rerun(run="train:100000:0.02", project=sys.argv[1]))
app.exec_() if hasattr(app, "exec_") else app.exec()
"""


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_killed_application_takes_its_child_along(tmp_path: Path, qapp) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(FAKES), str(ROOT)])}
    environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    command = [sys.executable, "-c", APP, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as app:
        child = psutil.Process(int(app.stdout.readline()))
        app.kill()
        assert gone(child)
    (made,) = runs_of(tmp_path)
    assert made.status in ("stopped", "interrupted") and made.resumable


def test_the_real_methods_come_through(engine: Engine, qtbot) -> None:
    ear = Ear(engine, qtbot)
    engine.submit(Methods())
    ending = ear.until((Finished, Failed), 120)
    assert any(m["name"] == "cam" for m in ending.result["methods"])
