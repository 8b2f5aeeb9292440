"""A step without a network, which does what the job's `run` says: `word`, `word:number` or `word:number:number`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from engine.errors import UserError
from engine.messages import Metrics, Progress, Said, Started, Viewed
from engine.store import new_run
from engine.work import Halted


def run(job, desk):
    word, *numbers = job.run.split(":")
    yield from globals()[f"_{word}"](job, desk, *map(float, numbers))
    return {"did": word, "threads": job.threads}


def _count(job, desk, steps, pause=0.0):
    for step in range(1, int(steps) + 1):
        time.sleep(pause)
        yield Progress(done=step, total=int(steps), phase="training")


def _train(job, desk, steps, pause=0.0):
    """Write to a run as a training does: begin, record, keep the step on whatever end."""
    chosen = new_run(Path(job.project), None, "fake", {"method": "fake"})
    chosen.begin(device="cpu")
    desk.record(chosen)
    step = 0
    try:
        for step in range(1, int(steps) + 1):
            time.sleep(pause)
            yield Metrics(step=step, values={"loss": 1 / step})
            yield Progress(done=step, total=int(steps), phase="training")
    finally:
        (chosen.folder / "kept").write_text(str(step))


def _tell(job, desk):
    yield Started(kind="own", run="r", device="cpu")
    yield Said(text="a sentence")
    yield Viewed(image="a", kind="cams", path="runs/r/views/default/a/cams.npz")


def _two(job, desk):
    """Two phases and a rare number between many that come too fast for an eye."""
    for step in range(50):
        yield Metrics(step=step, values={"loss": 1.0})
    yield Metrics(step=50, values={"loss": 1.0, "map": 0.5})
    for step in range(51, 100):
        yield Metrics(step=step, values={"loss": 1.0})
        yield Progress(done=step, total=100, phase="training")


def _epochs(job, desk):
    """Epochs of two steps, each with a score at its end."""
    for step in range(1, 101):
        yield Metrics(step=step, values={"loss": 1.0} if step % 2 else {"loss": 1.0, "map": 0.5})


def _nan(job, desk):
    yield Metrics(step=3, values={"loss": float("nan"), "rate": 0.1})


def _unsendable(job, desk):
    yield Progress(done=1, total=1, seconds_left=float("inf"))


def _leave(job, desk):
    while not desk.stop():
        yield Progress(done=1, total=2)
    raise Halted


def _mistake(job, desk):
    yield Progress(done=1, total=2)
    raise UserError("Found this.", "Accepted is that.", "Do so.")


def _bug(job, desk):
    yield Progress(done=1, total=2)
    raise ZeroDivisionError("a bug")


def _early(job, desk):
    raise ZeroDivisionError("before the first event")
    yield


def _exit(job, desk):
    yield Progress(done=1, total=2)
    sys.exit(3)


def _interrupt(job, desk):
    yield Progress(done=1, total=2)
    raise KeyboardInterrupt


def _memory(job, desk):
    yield Progress(done=1, total=2)
    raise MemoryError


def _full(job, desk):
    yield Progress(done=1, total=2)
    raise OSError(28, "No space left on device", "weights.safetensors")


def _stubborn(job, desk):
    try:
        while True:
            yield Progress(done=1, total=2)
    except GeneratorExit:
        raise ZeroDivisionError("while keeping its state") from None


def _sleep(job, desk, seconds):
    yield Progress(done=0, total=1)
    time.sleep(seconds)
    yield Progress(done=1, total=1)


def _die(job, desk, signal):
    print("last words", flush=True)
    yield Progress(done=0, total=1)
    time.sleep(0.2)
    os.kill(os.getpid(), int(signal))
    time.sleep(60)


def _family(job, desk):
    """Start a process as the CRF does, say its number, and work on."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    yield Said(text=str(child.pid))
    yield from _count(job, desk, 2000, 0.05)


def _noise(job, desk, lines):
    for number in range(int(lines)):
        print("noise", number, "x" * 1000)
    yield Progress(done=1, total=1)


def _warm(job, desk):
    desk.warm["jobs"] = desk.warm.get("jobs", 0) + 1
    yield Said(text=str(desk.warm["jobs"]))


def prepare(job, desk):
    """Get ready for a job, as the engine's steps may: `rot` cannot."""
    if job.run == "rot":
        raise RuntimeError("nothing is loaded")
    desk.warm["jobs"] = desk.warm.get("jobs", 0) + 10
