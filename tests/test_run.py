"""The one entry: `Started` first, exactly one ending last, whatever a step does."""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

import pytest

import engine.steps
from engine.messages import (
    ENDINGS,
    Failed,
    Finished,
    Label,
    Metrics,
    Progress,
    Rerun,
    Said,
    Started,
    Stopped,
    Viewed,
)
from engine.run import run
from engine.store import runs_of

FAKES = Path(__file__).parent / "fakes" / "steps"


@pytest.fixture(autouse=True)
def fake_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.steps, "__path__", [str(FAKES), *engine.steps.__path__])
    monkeypatch.delitem(sys.modules, "engine.steps.rerun", raising=False)
    yield
    # The real one is to be found again, also as an attribute of its package.
    sys.modules.pop("engine.steps.rerun", None)
    vars(engine.steps).pop("rerun", None)


def do(script: str, stop=lambda: False, **fields):
    return list(run(Rerun(run=script, **fields), stop))


def after(count: int):
    """Answer true from the `count`-th question on."""
    asked = itertools.count(1)
    return lambda: next(asked) >= count


SCRIPTS = {
    "count:0": Finished,
    "count:3": Finished,
    "tell": Finished,
    "two": Finished,
    "nan": Finished,
    "unsendable": Failed,
    "mistake": Failed,
    "bug": Failed,
    "early": Failed,
    "exit": Failed,
    "memory": Failed,
    "full": Failed,
    "interrupt": Stopped,
    "train:3": Finished,
    "no_such_word": Failed,
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_started_then_exactly_one_ending(script: str, tmp_path: Path) -> None:
    job = Rerun(run=script, project=str(tmp_path))
    events = list(run(job))
    assert isinstance(events[0], Started)
    assert [type(e) for e in events if isinstance(e, Started)] == [Started]
    assert [type(e) for e in events if isinstance(e, ENDINGS)] == [SCRIPTS[script]]
    assert isinstance(events[-1], SCRIPTS[script])
    assert {e.job for e in events} == {job.id}


def test_the_result_is_what_the_step_returns() -> None:
    assert do("count:1", threads=3)[-1].result == {"did": "count", "threads": 3}


def test_a_started_of_the_step_is_the_started() -> None:
    first, *rest = do("tell")
    assert (first.kind, first.run, first.device) == ("own", "r", "cpu")
    assert [type(e) for e in rest] == [Said, Viewed, Finished]


def test_a_mistake_is_told_from_a_bug() -> None:
    mistake, bug = do("mistake")[-1], do("bug")[-1]
    assert (
        mistake.mistake and mistake.message == "Found this.\nAccepted is that.\nDo so." and not mistake.trace
    )
    assert not bug.mistake and bug.message == "ZeroDivisionError: a bug"
    assert "_bug" in bug.trace and '"verb": "rerun"' in bug.trace and "Python 3" in bug.trace


def test_memory_and_disk_are_told_in_sentences() -> None:
    memory, disk = do("memory")[-1], do("full")[-1]
    assert memory.mistake and "smaller batch" in memory.hint
    assert disk.mistake and disk.message == "Writing failed: No space left on device (weights.safetensors)."


def test_the_last_progress_is_told_also_before_a_failure() -> None:
    assert [type(e) for e in do("bug")] == [Started, Progress, Failed]
    done = [e.done for e in do("count:1000") if isinstance(e, Progress)]
    assert done[-1] == 1000


def test_at_most_ten_a_second() -> None:
    begun = time.monotonic()
    events = [e for e in do("count:400:0.002") if isinstance(e, Progress)]
    seconds = time.monotonic() - begun
    assert len(events) <= seconds * 10 + 2  # the first, and the last before the ending
    assert [e.done for e in events] == sorted({e.done for e in events})


def test_a_rare_number_is_not_lost_to_a_frequent_one() -> None:
    events = do("two")
    assert any("map" in e.values for e in events if isinstance(e, Metrics))
    assert [e.step for e in events if isinstance(e, Metrics) and set(e.values) == {"loss"}][-1] == 99
    assert [e.done for e in events if isinstance(e, Progress)][-1] == 99


def test_what_was_held_back_comes_in_the_order_it_happened() -> None:
    steps = [e.step for e in do("epochs") if isinstance(e, Metrics)]
    assert steps == sorted(steps) and steps[-2:] == [99, 100]


def test_numbers_that_are_none_become_a_warning() -> None:
    _, said, metrics, _ = do("nan")
    assert said.level == "warning" and "step 3, loss" in said.text
    assert metrics.values == {"rate": 0.1}


@pytest.mark.parametrize("count", [1, 2, 7])
def test_stop_is_honoured_after_the_next_event(count: int, tmp_path: Path) -> None:
    events = do("train:1000", after(count), project=str(tmp_path))
    assert isinstance(events[-1], Stopped) and events[-1].resumable
    (made,) = runs_of(tmp_path)
    # Each step of the fake tells two events, and was asked after each.
    assert (made.folder / "kept").read_text() == str((count + 1) // 2)
    assert made.status == "stopped"


def test_stopped_without_a_run_there_is_nothing_to_resume() -> None:
    ending = do("count:9", after(2))[-1]
    assert isinstance(ending, Stopped) and not ending.resumable


def test_labels_go_on_where_they_were_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "label.py").write_text(
        "from engine.messages import Viewed\n"
        "def run(job, desk):\n"
        "    for n in range(9):\n"
        "        yield Viewed(image=str(n), kind='labels', path='')\n"
    )
    monkeypatch.setattr(engine.steps, "__path__", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "engine.steps.label", raising=False)
    events = list(run(Label(source="r", name="n"), after(3)))
    sys.modules.pop("engine.steps.label")
    assert [type(e) for e in events] == [Started, Viewed, Viewed, Viewed, Stopped]
    assert events[-1].resumable


def test_a_step_may_leave_by_itself() -> None:
    # The step asks too, so that it, not the caller, is the first to see the answer.
    assert isinstance(do("leave", after(2))[-1], Stopped)


def test_a_step_that_fails_while_keeping_its_state_is_a_failure() -> None:
    ending = do("stubborn", after(3))[-1]
    assert isinstance(ending, Failed) and "while keeping its state" in ending.message


def test_closing_the_iterator_keeps_the_state(tmp_path: Path) -> None:
    events = run(Rerun(run="train:1000:0.01", project=str(tmp_path)))
    for _ in range(3):
        next(events)
    events.close()
    (made,) = runs_of(tmp_path)
    assert (made.folder / "kept").exists() and made.status == "stopped"
    assert isinstance(list(made.events())[-1], Stopped)


@pytest.mark.parametrize(
    ("script", "stop", "status"),
    [("train:3", None, "finished"), ("train:9", after(5), "stopped"), ("train:x", None, None)],
)
def test_what_is_told_is_recorded(script: str, stop, status, tmp_path: Path) -> None:
    events = do(script, stop or (lambda: False), project=str(tmp_path))
    if status is None:
        assert isinstance(events[-1], Failed) and not (tmp_path / "runs").exists()
        return
    (made,) = runs_of(tmp_path)
    assert list(made.events()) == events
    assert events[0].run == made.id and events[0].device == "cpu"
    assert made.status == status and made.facts["process"] is None


def test_a_failure_is_recorded_with_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rerun.py").write_text(
        "from pathlib import Path\n"
        "from engine.store import new_run\n"
        "def run(job, desk):\n"
        "    made = new_run(Path(job.project), None, 'fake', {})\n"
        "    made.begin()\n"
        "    desk.record(made)\n"
        "    raise ZeroDivisionError('a bug')\n"
        "    yield\n"
    )
    monkeypatch.setattr(engine.steps, "__path__", [str(tmp_path)])
    events = do("", project=str(tmp_path))
    (made,) = runs_of(tmp_path)
    assert made.status == "failed" and made.resumable and made.facts["error"] == "ZeroDivisionError: a bug"
    assert list(made.events()) == events
    assert [type(e) for e in events] == [Started, Failed]


def test_a_disk_that_fills_up_while_recording_ends_the_job(tmp_path: Path, monkeypatch) -> None:
    from engine.store import Run

    def full(self, event) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Run, "record", full)
    ending = do("train:5", project=str(tmp_path))[-1]
    assert isinstance(ending, Failed) and ending.mistake and "No space left" in ending.message
    (made,) = runs_of(tmp_path)
    assert made.status == "failed" and (made.folder / "kept").exists()


def test_warm_lives_from_job_to_job() -> None:
    warm: dict[str, object] = {}
    said = [e.text for _ in range(3) for e in run(Rerun(run="warm"), warm=warm) if isinstance(e, Said)]
    assert said == ["1", "2", "3"]
    assert [e.text for e in do("warm") if isinstance(e, Said)] == ["1"]


@pytest.fixture
def rank(monkeypatch: pytest.MonkeyPatch):
    def become(number: int) -> None:
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", str(number))

    return become


def test_the_second_rank_is_silent_and_records_nothing(rank, tmp_path: Path) -> None:
    rank(1)
    assert do("train:3", project=str(tmp_path)) == []
    (made,) = runs_of(tmp_path)
    assert not made.log.exists()
    (failed,) = do("bug")
    assert isinstance(failed, Failed)


def test_a_rank_is_not_torn_out_of_its_step(rank) -> None:
    rank(0)
    events = do("count:30:0.005", lambda: True)
    assert isinstance(events[-1], Finished)
    assert isinstance(do("leave", lambda: True)[-1], Stopped)


def test_importing_run_does_not_load_torch() -> None:
    import subprocess

    code = (
        "import engine.run, engine.serve, engine.relay, engine.ranks, sys; sys.exit('torch' in sys.modules)"
    )
    root = str(Path(engine.steps.__file__).resolve().parents[2])
    assert subprocess.run([sys.executable, "-c", code], cwd=root, timeout=60).returncode == 0
