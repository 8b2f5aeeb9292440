"""`wsss status`: what a project holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from engine.cli.grammar import Parser
from engine.cli.here import project_here
from engine.cli.jobs import add_json, add_project
from engine.cli.show import console, table
from engine.edits import STATES, EditRoom
from engine.errors import UserError
from engine.store import LabelSet, Project, Run, label_sets, open_project, runs_of, stale

__all__ = ["answer", "status_of"]


def answer(words: Sequence[str]) -> tuple[int, dict[str, Any] | None]:
    """Print the status, or return it for `--json`."""
    parser = Parser("status", "Show what a project holds: images, tags, runs, labels, and what is stale.")
    add_project(parser)
    add_json(parser)
    found = parser.read(words)
    status = status_of(open_project(project_here(found.project)))
    if found.json:
        return 0, status
    _print(status)
    return 0, None


def status_of(project: Project) -> dict[str, Any]:
    """Return what a project holds, JSON-ready."""
    tags = project.tags()
    counts = {name: count._asdict() for name, count in zip(tags.classes, tags.counts(), strict=True)}
    runs = runs_of(project.root)
    return {
        "project": project.name,
        "folder": str(project.root),
        "image_folder": str(project.image_folder),
        "images": len(project.usable),
        "aside": {stem: image.aside for stem, image in project.images.items() if image.aside},
        "missing": [s for s in project.usable if not project.path(s).is_file()],
        "classes": list(project.classes),
        "tags": counts,
        "splits": {name: len(stems) for name, stems in project.splits.items()},
        "truth": project.truth_place is not None,
        "runs": [_run(project, run) for run in runs],
        "labels": [_labels(project, labels) for labels in label_sets(project.root, project.colours)],
        "corrected": _corrected(project),
    }


def _run(project: Project, run: Run) -> dict[str, Any]:
    return {
        "run": run.id,
        "title": run.title,
        "method": run.method,
        "status": run.status,
        "stale": stale(project, run),
        "views": [
            {"views": v.name, "images": len(v.stems()), "stale": stale(project, v)} for v in run.all_views()
        ],
        "bytes": run.size(),
    }


def _labels(project: Project, labels: LabelSet) -> dict[str, Any]:
    facts = labels.facts
    return {
        "labels": labels.name,
        "images": len(labels.stems()),
        "source": facts.get("source"),
        "stale": stale(project, labels),
    }


def _corrected(project: Project) -> dict[str, Any]:
    """Return how many images stand in which state of review; the journal is read, never written."""
    try:
        with EditRoom.open(project, read_only=True) as room:
            states, notes = room.states(), list(room.notes)
    except UserError as error:
        # The rest of the project is worth showing, and the damage has to be told.
        return {"images": None, "states": {}, "notes": [str(error)]}
    used = {stem: state for stem, state in states.items() if stem in project.usable}
    counts = Counter(used.values())
    return {
        "images": sum(n for state, n in counts.items() if state not in ("unseen", "proposed")),
        "states": {state: counts[state] for state in STATES if counts[state]},
        "notes": notes,
    }


def _print(status: dict[str, Any]) -> None:
    out = console()
    out.print(f"{status['project']}: {status['images']} images in {status['image_folder']}", soft_wrap=True)
    if status["missing"]:
        out.print(f"  {len(status['missing'])} files are missing; if the folder moved, run `wsss relink`.")
    for stem, reason in status["aside"].items():
        out.print(f"  set aside: {stem}: {reason}", soft_wrap=True)
    splits = ", ".join(f"{name} {count}" for name, count in status["splits"].items())
    out.print(f"splits: {splits or 'none'}; truth: {'yes' if status['truth'] else 'no'}\n")

    rows = table("class", "present", "absent", "unknown", numbers=("present", "absent", "unknown"))
    for name, counts in status["tags"].items():
        rows.add_row(Text(name), str(counts["present"]), str(counts["absent"]), str(counts["unknown"]))
    out.print(rows)

    if status["runs"]:
        rows = table("run", "method", "status", "views", "size", numbers=("size",))
        for run in status["runs"]:
            views = ", ".join(f"{v['views']} {v['images']}" for v in run["views"])
            mark = ", stale" if run["stale"] else ""
            rows.add_row(
                Text(run["run"]),
                Text(run["method"]),
                run["status"] + mark,
                Text(views),
                f"{run['bytes'] / 1e6:.1f} MB",
            )
        out.print()
        out.print(rows)
    if status["labels"]:
        rows = table("labels", "images", "made from", numbers=("images",))
        for labels in status["labels"]:
            mark = ", stale" if labels["stale"] else ""
            rows.add_row(
                Text(labels["labels"]), str(labels["images"]), Text(f"{labels['source'] or '-'}{mark}")
            )
        out.print()
        out.print(rows)
    corrected = status["corrected"]
    if corrected["states"]:
        states = ", ".join(f"{state} {count}" for state, count in corrected["states"].items())
        out.print(f"\ncorrected: {states}", soft_wrap=True)
    for note in corrected["notes"]:
        out.print(f"corrections: {note}", soft_wrap=True)
    for reason in _reasons(status):
        out.print(reason, soft_wrap=True)
    if not status["runs"]:
        out.print("\nNo run yet. Train one with `wsss train cam`.")


def _reasons(status: dict[str, Any]) -> list[str]:
    found = []
    for run in status["runs"]:
        found += [f"stale: {run['run']}: {reason}" for reason in run["stale"]]
        for views in run["views"]:
            found += [
                f"stale: {run['run']}/{views['views']}: {r}" for r in views["stale"] if r not in run["stale"]
            ]
    for labels in status["labels"]:
        found += [f"stale: labels {labels['labels']}: {reason}" for reason in labels["stale"]]
    return found
