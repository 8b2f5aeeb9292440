"""Runs: what was trained how, where its weights and views lie, and whether it lives.

runs/<id>/
  run.json               job, params, plan, versions, digests, device, status
  events.jsonl           every event of the job, one JSON object a line
  weights.safetensors    written at the end of an epoch, whole
  trainer.pt             all that an exact resume needs
  views/<name>/views.json, <image>/*.npz
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from engine.atomic import new_folder, write_json
from engine.errors import UserError, nearest
from engine.messages import MAX_MESSAGE, Event, decode, encode
from engine.store.facts import read_facts
from engine.store.names import check_name, free_name, is_name, now

__all__ = ["Run", "Views", "new_run", "run_of", "runs_of", "source_of"]

RUNNING, FINISHED, STOPPED, FAILED, INTERRUPTED = "running", "finished", "stopped", "failed", "interrupted"


@dataclass(frozen=True)
class Views:
    """The views that one inference drew, `RUN/NAME` on the command line."""

    run: Run
    name: str

    @property
    def folder(self) -> Path:
        return self.run.folder / "views" / self.name

    @property
    def facts(self) -> dict[str, Any]:
        """Settings, digest and split of the inference; empty when there is none."""
        return read_facts(self.folder / "views.json") or {}

    @property
    def has_maps(self) -> bool:
        """Whether it was drawn to hold maps of images; climbs of single classes hold none."""
        kinds = self.facts.get("kinds", ["cams"])
        return isinstance(kinds, list) and "cams" in kinds

    def path(self, stem: str, kind: str = "cams") -> Path:
        """Return where the result of one image lies (it may not be there)."""
        return self.folder / stem / f"{kind}.npz"

    def stems(self, kind: str = "cams") -> tuple[str, ...]:
        """Return the images that have a result of this kind, sorted."""
        if not self.folder.is_dir():
            return ()
        return tuple(sorted(f.name for f in self.folder.iterdir() if (f / f"{kind}.npz").is_file()))

    def clear(self) -> None:
        """Remove every result, so that none of other settings is left among new ones."""
        if self.folder.is_dir():
            # Renamed first: a kill in between must not leave half of them under the name.
            gone = self.folder.with_name(f".part-{self.name}")
            shutil.rmtree(gone, ignore_errors=True)
            self.folder.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)

    def __str__(self) -> str:
        return f"{self.run.id}/{self.name}"


@dataclass
class Run:
    """One run; `facts` is its run.json."""

    folder: Path
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def title(self) -> str:
        """The name that people gave it, else its id."""
        return str(self.facts.get("title") or self.id)

    @property
    def method(self) -> str:
        return str(self.facts.get("method", ""))

    @property
    def status(self) -> str:
        """running, finished, stopped, failed, or interrupted when its process is gone."""
        status = str(self.facts.get("status", INTERRUPTED))
        if status == RUNNING and not _alive(self.facts.get("process")):
            return INTERRUPTED
        return status

    @property
    def is_refinement(self) -> bool:
        """Whether it is a box that `wsss refine` made: it holds views and no network."""
        return "refiner" in self.facts

    @property
    def is_network(self) -> bool:
        """Whether it holds an affinity network, which refines the maps of others and draws none of its own."""
        return self.facts.get("refines") is True

    @property
    def resumable(self) -> bool:
        """Whether training can go on from a checkpoint or from the start."""
        return self.status in (STOPPED, FAILED, INTERRUPTED)

    @property
    def weights(self) -> Path:
        return self.folder / "weights.safetensors"

    @property
    def trainer(self) -> Path:
        return self.folder / "trainer.pt"

    @property
    def log(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def rounds(self) -> Path:
        """Folder of the rounds of clustering, of methods that cluster."""
        return self.folder / "rounds"

    def views(self, name: str = "default") -> Views:
        """Return the views of that name, drawn or not."""
        return Views(self, check_name(name, "views"))

    def all_views(self) -> list[Views]:
        """Return the views that were drawn, sorted by name."""
        folder = self.folder / "views"
        if not folder.is_dir():
            return []
        found = sorted(f for f in folder.iterdir() if is_name(f.name) and (f / "views.json").is_file())
        return [Views(self, f.name) for f in found]

    def update(self, **facts: Any) -> None:
        """Change facts and write run.json, atomically.

        What another process wrote meanwhile stays: the window renames runs that train.
        """
        self.facts = {**(read_facts(self.folder / "run.json") or self.facts), **facts}
        write_json(self.folder / "run.json", self.facts)

    def begin(self, **facts: Any) -> None:
        """Mark the run as running in this process."""
        self._close_line()
        process = psutil.Process()
        self.update(
            status=RUNNING,
            process={"pid": process.pid, "started": process.create_time()},
            begun=now(),
            **facts,
        )

    def end(self, status: str, **facts: Any) -> None:
        """Mark the run as finished, stopped or failed."""
        self.update(status=status, process=None, ended=now(), **facts)

    def record(self, event: Event) -> None:
        """Append one event to events.jsonl."""
        with self.log.open("ab") as file:
            file.write(encode(event) + b"\n")

    def events(self) -> Iterator[Event]:
        """Yield the recorded events; a line cut short by a kill is passed over."""
        if not self.log.is_file():
            return
        with self.log.open("rb") as file:
            while line := file.readline(MAX_MESSAGE + 1):
                if not line.endswith(b"\n"):
                    continue
                try:
                    message = decode(line)
                except UserError:
                    continue
                if isinstance(message, Event):
                    yield message

    def _close_line(self) -> None:
        """End a line that a kill cut short, or it would swallow the next event."""
        if not self.log.is_file() or not self.log.stat().st_size:
            return
        with self.log.open("rb+") as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")

    def size(self) -> int:
        """Return the bytes that the run takes on disk."""
        total = 0
        for folder, _, files in os.walk(self.folder):
            for name in files:
                try:
                    total += (Path(folder) / name).lstat().st_size
                except FileNotFoundError:
                    continue  # a temporary file that was renamed meanwhile
        return total

    def rename(self, title: str) -> None:
        """Give the run a name for people; its id, which paths and commands use, stays."""
        self.update(title=" ".join(title.split())[:120])

    def delete(self) -> None:
        """Remove the run with its weights and views.

        Raises:
            UserError: It is running.
        """
        # Another process may have gone on with it since it was read here.
        self.facts = read_facts(self.folder / "run.json") or self.facts
        if self.status == RUNNING:
            raise UserError(f"The run {self.id} is running.", "", "Stop it first.")
        # Renamed first, so that a kill in between leaves no run that lacks half its files.
        gone = Path(tempfile.mkdtemp(prefix=".part-", dir=self.folder.parent))
        self.folder.rename(gone / self.folder.name)
        shutil.rmtree(gone, ignore_errors=True)


def runs_of(root: Path) -> list[Run]:
    """Return the runs of a project, oldest first; a damaged run.json is listed as failed."""
    folder = root / "runs"
    if not folder.is_dir():
        return []
    found = []
    for run in sorted(folder.iterdir()):
        if run.is_dir() and is_name(run.name):
            facts = read_facts(run / "run.json")
            if facts is None:
                facts = {"status": FAILED, "method": "", "error": "run.json is missing or damaged."}
            found.append(Run(run, facts))
    return sorted(found, key=lambda r: (str(r.facts.get("created", "")), r.id))


def run_of(root: Path, run_id: str) -> Run:
    """Return one run.

    Raises:
        UserError: There is none of that id, or its run.json is damaged.
    """
    check_name(run_id, "a run")
    folder = root / "runs" / run_id
    if not folder.is_dir():
        known = [r.id for r in runs_of(root)]
        raise UserError(
            f"The project has no run '{run_id}'.",
            f"Runs: {', '.join(known) or 'none yet'}.",
            nearest(run_id, known) or "Train one with `wsss train METHOD -p PROJECT`.",
        )
    facts = read_facts(folder / "run.json")
    if facts is None:
        raise UserError(
            f"{folder / 'run.json'} is missing or damaged.",
            "What `wsss train` wrote is read.",
            "Delete the run and train it again.",
        )
    return Run(folder, facts)


def new_run(root: Path, run_id: str | None, wanted: str, facts: Mapping[str, Any]) -> Run:
    """Make the folder of a new run.

    Args:
        root: Folder of the project.
        run_id: Id asked for; None takes `wanted`, numbered if it is taken.
        wanted: Id to start from, usually the method's name.
        facts: First content of run.json.

    Raises:
        UserError: The id is taken or no name.
    """
    runs = root / "runs"
    begun = {"created": now(), **facts}
    while True:
        chosen = check_name(run_id or free_name(wanted, lambda n: (runs / n).exists()), "a run")
        try:
            # The folder appears with its run.json in it, or a kill would leave a run without one.
            with new_folder(runs / chosen) as part:
                write_json(part / "run.json", begun)
        except FileExistsError:
            if run_id is None:
                continue  # another process took the name meanwhile
            raise UserError(
                f"There is a run '{run_id}' already.",
                "A new name is accepted.",
                "Choose another --run, or go on with it by --resume.",
            ) from None
        return Run(runs / chosen, begun)


def source_of(root: Path, source: str) -> Views:
    """Return the views that `RUN[/VIEWS]` names.

    Raises:
        UserError: There is no such run, or nothing was drawn under that name.
    """
    run_id, _, name = source.partition("/")
    run = run_of(root, run_id)
    views = run.views(name or "default")
    if not (views.folder / "views.json").is_file():
        known = [v.name for v in run.all_views()]
        raise UserError(
            f"The run {run.id} has no views '{views.name}'.",
            f"Views: {', '.join(known) or 'none yet'}.",
            nearest(views.name, known) or f"Draw them with `wsss infer {run.id} -p PROJECT`.",
        )
    return views


def _alive(process: Any) -> bool:
    if not isinstance(process, dict):
        return False
    try:
        found = psutil.Process(int(process["pid"]))
        # The same number may belong to another process by now; its start time tells.
        same = bool(abs(found.create_time() - float(process["started"])) < 1)
        return same and bool(found.status() != psutil.STATUS_ZOMBIE)
    except (psutil.Error, KeyError, TypeError, ValueError, OverflowError):
        return False
