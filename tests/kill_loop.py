"""Kill the engine at random moments of its work and look at what is left; a script.

    python tests/kill_loop.py FOLDER [--rounds 20] [--seed 0] [--application]

It makes a project of drawn images, does train, infer, label (with and without CRF) and export
once without harm, and keeps that as the reference. Then, round by round, one of them runs in a
process that gets signal 9 at a random moment; with --application it is the process of a Qt
application that gets it, while its engine works. After each kill:

- the project opens, no run counts as running, and no process is left behind;
- whatever was told to be finished is there and reads as it did before;
- every file that a reader would find is whole;
- the same job, given again (a training with --resume), finishes, and its result equals the
  reference to the bit.

Prints one JSON object; exits with 1 and a trace at the first broken promise.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib
import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image as Pillow

from engine.messages import (
    Event,
    Export,
    Failed,
    Finished,
    Infer,
    Job,
    Label,
    New,
    Train,
    Viewed,
    decode,
    encode,
)
from engine.results import CamStack
from engine.run import run
from engine.store import Run, label_set, label_sets, open_project, run_of, runs_of

KINDS = ("train", "infer", "label", "export", "refine")
IMAGES = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--application", action="store_true")
    given = parser.parse_args()
    for step in ("train", "infer", "label", "export"):
        importlib.import_module(f"engine.steps.{step}")  # once, instead of in each of the processes
    loop = Loop(
        given.folder.resolve(), random.Random(given.seed), do_in_application if given.application else do
    )
    loop.set_up()
    while sum(loop.killed.values()) < given.rounds:
        loop.round(KINDS[sum(loop.killed.values()) % len(KINDS)])
    print(json.dumps({"killed": loop.killed, "ended_first": loop.ended_first, "seconds": loop.seconds}))


class Loop:
    """The project, the reference results, and the rounds."""

    def __init__(self, folder: Path, chance: random.Random, do_harm: Callable[..., Any]) -> None:
        self.do_harm = do_harm
        self.folder = folder
        self.root = folder / "project"
        self.chance = chance
        self.killed: Counter[str] = Counter()
        self.ended_first = 0
        self.seconds: dict[str, float] = {}
        self.number = 0

    def set_up(self) -> None:
        """Make the project and do each job once without harm."""
        draw(self.folder)
        done(
            run(
                New(
                    project=str(self.root),
                    images=str(self.folder / "images"),
                    tags=str(self.folder / "tags.csv"),
                )
            )
        )
        for kind in KINDS:
            began = time.monotonic()
            told, _ = do(self.job(kind, "reference"), None)
            assert isinstance(told[-1], Finished), told[-1]
            self.seconds[kind] = round(time.monotonic() - began, 2)
        self.finished = fingerprints(self.root)
        self.reference = {kind: self.result(kind, "reference") for kind in KINDS}

    def job(self, kind: str, name: str) -> Job:
        """Return the job of a kind that writes under `name`; all but training read the reference."""
        settings = {"backbone": "tiny_cnn", "pretrained": False}
        common = {"project": str(self.root), "threads": 1, "device": "cpu"}
        match kind:
            case "train":
                return Train(
                    method="cam",
                    run=name,
                    epochs=6,
                    batch=4,
                    crop=48,
                    settings=settings,
                    split="all",
                    **common,
                )
            case "infer":
                return Infer(run="reference", views=name, **common)
            case "label":
                return Label(source="reference/reference", name=name, background="constant:0.3", **common)
            case "refine":
                return Label(source="reference/reference", name=f"{name}-crf", crf="irn", **common)
            case _:
                out = self.root / "exports" / name
                return Export(labels="reference", format="voc", out=str(out), project=str(self.root))

    def result(self, kind: str, name: str) -> object:
        """Return what a finished job made, for comparison to the bit."""
        project = open_project(self.root)
        match kind:
            case "train":
                return run_of(self.root, name).weights.read_bytes()
            case "infer":
                views = run_of(self.root, "reference").views(name)
                stacks = {s: CamStack.load(views.path(s)) for s in views.stems()}
                return {s: (c.maps.tobytes(), c.peaks.tobytes(), c.classes) for s, c in stacks.items()}
            case "label" | "refine":
                labels = label_set(self.root, project.colours, f"{name}-crf" if kind == "refine" else name)
                return {s: labels.read(s).tobytes() for s in labels.stems()}
            case _:
                return tree(self.root / "exports" / name, but="provenance.json")

    def round(self, kind: str) -> None:
        """Kill one job, look, and do it again to its end."""
        self.number += 1
        name = f"k{self.number}"
        job = self.job(kind, name)
        moment = self.chance.uniform(0, self.seconds[kind] * 0.9)
        told, family = self.do_harm(job, moment)
        if isinstance(told[-1] if told else None, Finished):
            self.ended_first += 1
        else:
            assert not any(isinstance(e, Failed) for e in told), told[-1]
            self.killed[kind] += 1
        self.look(job, told, family)
        if isinstance(job, Train) and (self.root / "runs" / name).exists():
            job = replace(job, resume=True)
        elif isinstance(job, Export) and Path(job.out).exists():
            job = None  # it was finished: the rename is the last thing that an export does
        if job is not None:
            told, _ = do(job, None)
            assert isinstance(told[-1], Finished), told[-1]
        assert self.result(kind, name) == self.reference[kind], f"{kind} {name} differs from the reference"

    def look(self, job: Job, told: list[Event], family: list[psutil.Process]) -> None:
        """Check every promise on what a kill leaves behind."""
        # A CRF worker looks up when it has started and after each image, and the machine may be busy.
        until = time.monotonic() + 10
        while (left := [p for p in family if lives(p)]) and time.monotonic() < until:
            time.sleep(0.05)
        assert not left, f"left behind: {left}"
        now = fingerprints(self.root)
        changed = [path for path, digest in self.finished.items() if now.get(path) != digest]
        assert not changed, f"changed or lost: {changed[:5]}"
        project = open_project(self.root)
        for event in told:
            if isinstance(event, Viewed):
                assert (self.root / event.path).is_file(), f"told and not there: {event.path}"
        for found in runs_of(self.root):
            assert found.status != "running", found
            assert found.facts.get("method") == "cam", found.facts
            read_run(found)
        for labels in label_sets(self.root, project.colours):
            for stem in labels.stems():
                assert labels.read(stem).shape == (project.images[stem].height, project.images[stem].width)
        for export in (self.root / "exports").iterdir():
            if not export.name.startswith("."):
                assert tree(export, but="provenance.json") == self.reference["export"], export
                json.loads((export / "provenance.json").read_text())


def read_run(found: Run) -> None:
    """Read all that a run holds as its readers do."""
    import torch
    from safetensors.torch import load_file

    list(found.events())
    lines = found.log.read_bytes().split(b"\n")[:-1] if found.log.exists() else []
    for line in lines[:-1]:
        decode(line)
    if found.weights.exists():
        assert all(torch.isfinite(t).all() for t in load_file(found.weights).values())
    if found.trainer.exists():
        torch.load(found.trainer, weights_only=True)
    for views in found.all_views():
        for stem in views.stems():
            assert CamStack.load(views.path(stem)).image == stem


def do(job: Job, moment: float | None) -> tuple[list[Event], list[psutil.Process]]:
    """Do a job in a process of its own, and kill it after `moment` seconds.

    Returns:
        What it told, and the processes that it had started.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        status = 0
        try:
            for event in run(job):
                os.write(writer, encode(event) + b"\n")
        except BaseException as error:  # noqa: BLE001 - the forked process must not go on as the script
            print(repr(error), file=sys.stderr, flush=True)
            status = 1
        os._exit(status)
    os.close(writer)
    lines, family = listen(reader, pid, None if moment is None else time.monotonic() + moment)
    os.waitpid(pid, 0)
    return [decode(line) for line in lines], family


def do_in_application(job: Job, moment: float) -> tuple[list[Event], list[psutil.Process]]:
    """Do a job in an application's engine, and kill the application a while after the job began."""
    with tempfile.TemporaryDirectory() as folder:
        paper = Path(folder, "job.json")
        paper.write_bytes(encode(job))
        environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "XDG_CACHE_HOME": folder}
        command = [sys.executable, str(Path(__file__).with_name("kill_app.py")), str(paper)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as app:
            json.loads(app.stdout.readline())  # the engine has begun
            # Half: what is imported and opened before the first event counts in `moment`.
            deadline = time.monotonic() + moment / 2
            lines, family = listen(os.dup(app.stdout.fileno()), app.pid, deadline)
    return [decode(line) for line in lines], family


def listen(reader: int, pid: int, deadline: float | None) -> tuple[list[bytes], list[psutil.Process]]:
    """Read lines until the writers are gone; at the deadline kill the process, and say what it had started."""
    data = b""
    family: list[psutil.Process] = []
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if select.select([reader], [], [], left)[0]:
            piece = os.read(reader, 1 << 16)
            data += piece
            if not piece:
                break
        if deadline is not None and time.monotonic() >= deadline:
            family = psutil.Process(pid).children(recursive=True)
            os.kill(pid, signal.SIGKILL)
            deadline = None
    os.close(reader)
    return data.split(b"\n")[:-1], family


def lives(process: psutil.Process) -> bool:
    """Return whether a process still does something; an orphan may wait long to be taken off the list."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def done(events: Iterable[Event]) -> Finished:
    *_, ending = events
    assert isinstance(ending, Finished), ending
    return ending


def fingerprints(root: Path) -> dict[str, str]:
    """Return the digests of what the reference jobs finished."""
    kept = [root / "runs" / "reference" / "weights.safetensors", root / "runs" / "reference" / "run.json"]
    for folder in (
        "runs/reference/views/reference",
        "labels/reference",
        "labels/reference-crf",
        "exports/reference",
    ):
        kept += [p for p in (root / folder).rglob("*") if p.is_file()]
    kept += [root / name for name in ("wsss.toml", "images.csv", "tags.csv")]
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in kept}


def tree(folder: Path, but: str) -> dict[str, str]:
    """Return relative path -> digest of every file below `folder`."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != but]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def draw(folder: Path) -> None:
    """Draw images of 64 x 48 px with one or two coloured squares, and their tags."""
    chance = np.random.default_rng(0)
    colours = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 60, 220)}
    (folder / "images").mkdir(parents=True)
    with (folder / "tags.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "tags"])
        for n in range(IMAGES):
            pixels = chance.integers(90, 160, (48, 64, 3)).astype(np.uint8)
            names = list(dict.fromkeys([list(colours)[n % 3], list(colours)[n // 3 % 3]]))
            for k, name in enumerate(names):
                y, x = int(chance.integers(2, 26)), int(chance.integers(2, 12)) + 32 * k
                pixels[y : y + 20, x : x + 18] = colours[name]
            Pillow.fromarray(pixels).save(folder / "images" / f"im_{n:03d}.png")
            rows.writerow([f"im_{n:03d}", ";".join(names)])


if __name__ == "__main__":
    main()
