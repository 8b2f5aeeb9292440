"""What the table of runs says of a run, read from its run.json. No Qt."""

from __future__ import annotations

import functools
import html
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from engine.errors import UserError
from engine.messages import Refine, Train, decode
from engine.messages import command as line_of
from engine.params import text_of
from engine.store import Run
from wsss_napari.estimates import bytes_text, seconds_text

__all__ = ["RunFacts", "command_of", "facts_of"]

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class RunFacts:
    """One row of the table; `stale` holds the reasons, one sentence each."""

    run: Run
    title: str
    status: str
    method: str
    backbone: str
    when: str
    images: int
    metric: str
    size: int
    stale: tuple[str, ...]
    command: str

    def tip(self) -> str:
        """Return all facts as rich text."""
        facts = self.run.facts
        plan = facts.get("plan") or {}
        planned = [f"{name} {text_of(plan[name])}" for name in ("epochs", "batch", "crop") if plan.get(name)]
        rows = [
            ("id", self.run.id),
            ("method", self.method),
            ("status", self.status),
            ("began", str(facts.get("created", ""))),
            ("device", str(facts.get("device", ""))),
            ("time", seconds_text(float(facts["seconds"])) if facts.get("seconds") else ""),
            ("plan", ", ".join(planned)),
            ("on disk", bytes_text(self.size)),
            ("error", str(facts.get("error", ""))),
        ]
        listed = "".join(f"<tr><td>{k}&nbsp;&nbsp;</td><td>{html.escape(v)}</td></tr>" for k, v in rows if v)
        reasons = "".join(f"<p>⟳ {html.escape(reason)}</p>" for reason in self.stale)
        return f"<b>{html.escape(self.title)}</b><table>{listed}</table>{reasons}"


def facts_of(run: Run, reasons: Sequence[str]) -> RunFacts:
    """Return the row of a run; whatever a damaged run.json lacks stays empty."""
    facts = run.facts
    params = facts.get("params")
    digests = facts.get("digests")
    stems = digests.get("stems", []) if isinstance(digests, dict) else []
    return RunFacts(
        run=run,
        title=run.title,
        status=run.status,
        method=_method(run),
        backbone=str(params.get("backbone", "")) if isinstance(params, dict) else "",
        when=_when(str(facts.get("created", ""))),
        images=len(run.views().stems())
        if run.is_refinement
        else len(stems)
        if isinstance(stems, list)
        else 0,
        metric=_metric(facts.get("metrics")),
        size=_size(run),
        stale=tuple(reasons),
        command=command_of(run),
    )


def command_of(run: Run) -> str:
    """Return the `wsss` line that gave the run, or an empty string when it is not recorded."""
    job = run.facts.get("job")
    if run.is_refinement:
        return _refine_command(run, job)
    words = job.get("arguments") if isinstance(job, dict) else None
    if not isinstance(words, list) or not words or words[0] != Train.VERB:
        return ""
    return shlex.join(["wsss", *map(str, words), "-p", str(run.folder.parent.parent)])


def _method(run: Run) -> str:
    return f"{run.facts['refiner']} of {run.facts.get('source', '')}" if run.is_refinement else run.method


def _refine_command(run: Run, job: object) -> str:
    try:
        found = decode(json.dumps(job).encode())
    except UserError:
        return ""
    if not isinstance(found, Refine):
        return ""
    return line_of(replace(found, project=str(run.folder.parent.parent), run=run.id))


def _metric(metrics: object) -> str:
    if isinstance(metrics, dict):
        for name, mark in (("map", ""), ("map_seen", " seen")):
            value = metrics.get(name)
            if isinstance(value, (int, float)):
                return f"{value:.2f}{mark}"
    return ""


def _when(created: str) -> str:
    """Return `20 Nov 17:08` of an ISO time, which is what a person looks for; other texts as they are."""
    try:
        at = datetime.fromisoformat(created)
    except ValueError:
        return created
    # strftime would follow the locale of the machine, and the rest of the window is in English.
    return f"{at.day} {_MONTHS[at.month - 1]} {at:%H:%M}"


def _size(run: Run) -> int:
    """Return the bytes of a run; looked up again only when something was written or removed."""
    folders = [run.folder, *(v.folder for v in run.all_views())]
    try:
        marks = tuple(folder.stat().st_mtime_ns for folder in folders)
    except FileNotFoundError:
        return run.size()
    return _measured(run.folder, marks)


@functools.lru_cache(maxsize=256)
def _measured(folder: Path, _marks: tuple[int, ...]) -> int:
    return Run(folder).size()
