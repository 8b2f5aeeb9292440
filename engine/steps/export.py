"""Write a dataset to a new folder, whole or not at all, with a report of what it cannot hold."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from engine import __version__
from engine.atomic import new_folder, write_json
from engine.errors import UserError
from engine.formats import Format, Labelled, format_named, formats
from engine.messages import Event, Export, Progress, Said
from engine.pace import Pace
from engine.params import as_settings, parse
from engine.steps.export_objects import Objects
from engine.steps.masks import CORRECTED, Masks, masks_of
from engine.store import (
    Project,
    Views,
    digest_of,
    is_name,
    label_set,
    open_project,
    read_stack,
    source_of,
)
from engine.store.facts import read_facts
from engine.store.names import now
from engine.work import Halted, Work

__all__ = ["run"]

PROVENANCE = "provenance.json"
_US = "wsss-napari"


def run(job: Export, desk: Work) -> Generator[Event, None, dict[str, Any]]:
    """Export labels, or with a format of maps the maps that the labels were made from.

    Raises:
        UserError: There is nothing to export, or the folder is in the way.
    """
    project = open_project(job.project)
    chosen = format_named(job.format)
    options = _options(chosen, job)
    out = Path(job.out).expanduser().resolve()
    _check_out(out, project, overwrite=job.overwrite)
    wanted = project.stems(job.split)
    source: Masks | Views
    if chosen.kind == "cams":
        if job.labels == CORRECTED or job.only == "approved":
            raise UserError(
                f"The format '{chosen.name}' holds maps, and people correct masks.",
                "A format of masks can hold them, such as voc or png.",
                "Choose another --format.",
            )
        source = _maps(project, job.labels)
        where = f"the views {source}"
    else:
        source = masks_of(project, job.labels, job.only)
        where = f"the labels '{source.name}'"
    there = set(source.stems())
    stems = [s for s in wanted if s in there]
    if not stems:
        raise UserError(
            f"None of these images is in {where}.",
            f"It holds {len(there)} other(s).",
            "Choose another split.",
        )
    lost = list(chosen.loses)
    if len(stems) < len(wanted):
        lost.append(
            f"{len(wanted) - len(stems)} of {len(wanted)} images are not in {where} and are left out."
        )
    result: dict[str, Any] = {
        "format": chosen.name,
        "out": str(out),
        "images": len(stems),
        "left_out": len(wanted) - len(stems),
        "dry_run": job.dry_run,
    }
    if job.dry_run:
        return {**result, "lost": lost}
    lost += yield from _written(project, chosen, options, source, stems, out, job, lost)
    for text in lost:
        yield Said(text=text)
    return {**result, "lost": lost}


def _written(
    project: Project,
    chosen: Format,
    options: dict[str, Any],
    source: Masks | Views,
    stems: list[str],
    out: Path,
    job: Export,
    known: list[str],
) -> Generator[Event, None, list[str]]:
    """Write in a thread, telling how far it is; stopping leaves nothing behind."""
    done, halted = [0], threading.Event()

    def counted(items: Iterator[Any]) -> Iterator[Any]:
        for item in items:
            if halted.is_set():
                raise Halted
            yield item
            done[0] += 1

    with new_folder(out, replace=job.overwrite) as folder, ThreadPoolExecutor(max_workers=1) as pool:
        if isinstance(source, Views):
            stacks = (read_stack(project, source, s) for s in stems)
            future = pool.submit(chosen.write, folder, counted(stacks), _tensor(chosen))
        else:
            objects = Objects(project, source.facts, job.instances) if chosen.objects else None
            items = (_labelled(project, source, s, objects) for s in stems)
            chosen_stems = set(stems)
            splits = {n: [s for s in of if s in chosen_stems] for n, of in project.splits.items()}
            future = pool.submit(
                chosen.write,
                folder,
                counted(items),
                project.classes,
                project.colours,
                splits or {"train": stems},
                **options,
            )
        pace = Pace(len(stems))
        try:
            while not future.done():
                wait([future], timeout=0.1)
                yield Progress(
                    done=done[0], total=len(stems), seconds_left=pace.left(done[0]), phase="images"
                )
        finally:
            halted.set()
        lost = future.result()
        facts = source.facts
        write_json(
            folder / PROVENANCE,
            {
                "made_by": _US,
                "version": __version__,
                "when": now(),
                "project": project.name,
                "format": chosen.name,
                "labels": job.labels,
                "only": job.only,
                "instances": job.instances,
                "options": as_settings(options["options"]) if options else {},
                "source": facts.get("source", str(source) if isinstance(source, Views) else None),
                "rule": facts.get("made_by"),
                # Masks of single images that were made otherwise.
                "others": facts.get("images"),
                "weights": facts.get("weights"),
                "drawn": facts.get("drawn", digest_of(facts) if isinstance(source, Views) else None),
                "classes": list(project.classes),
                "images": len(stems),
                "lost": [*known, *lost],
            },
        )
    return lost


def _options(chosen: Format, job: Export) -> dict[str, Any]:
    """Return what the writer takes beside the images: its options, where it has any.

    Raises:
        UserError: There is no such option, or no such value of it.
    """
    if job.instances is not None and not chosen.objects:
        raise UserError(
            f"The format '{chosen.name}' holds no objects.",
            f"Formats that do: {', '.join(name for name, f in formats().items() if f.objects)}.",
            "Leave --instances out, or choose another --format.",
        )
    if chosen.options is not None:
        return {"options": parse(chosen.options, job.settings)}
    if job.settings:
        raise UserError(
            f"The format '{chosen.name}' has no option '{next(iter(job.settings))}'.",
            "It is written in one way only.",
            "Leave --set out.",
        )
    return {}


def _labelled(project: Project, source: Masks, stem: str, objects: Objects | None) -> Labelled:
    mask = source.read(stem)
    return Labelled(stem, project.path(stem), mask, None if objects is None else objects.of(stem, mask))


def _check_out(out: Path, project: Project, *, overwrite: bool) -> None:
    exports = project.root / "exports"
    if out.is_relative_to(project.root) and (out == exports or not out.is_relative_to(exports)):
        raise UserError(
            f"{out} lies among the files of the project.",
            f"A folder elsewhere, or in {exports}, is accepted.",
            "Choose another --out.",
        )
    if not out.exists():
        return
    if not overwrite:
        raise UserError(
            f"{out} exists already.",
            "A folder that does not exist yet is accepted.",
            "Choose another, or add --overwrite.",
        )
    ours = out.is_dir() and (_is_ours(out / PROVENANCE) or not any(out.iterdir()))
    inside = project.root.is_relative_to(out) or project.image_folder.is_relative_to(out)
    if not ours or inside:
        raise UserError(
            f"{out} was not made by `wsss export`, so it is not replaced.",
            "--overwrite replaces a folder that holds an earlier export, or an empty one.",
            "Choose another --out.",
        )


def _is_ours(provenance: Path) -> bool:
    facts = read_facts(provenance)
    return facts is not None and facts.get("made_by") == _US


def _maps(project: Project, name: str) -> Views:
    """Return the views that labels were made from, or that RUN[/VIEWS] names."""
    if is_name(name) and (project.root / "labels" / name).is_dir():
        found = label_set(project.root, project.colours, name).facts.get("source")
        if not isinstance(found, str):
            raise UserError(
                f"The labels '{name}' were not made from maps.",
                "A format of masks can hold them.",
                "Choose another --format, or give RUN[/VIEWS].",
            )
        return source_of(project.root, found)
    return source_of(project.root, name)


def _tensor(chosen: Format) -> Callable[[Any], Any] | None:
    """Return what turns arrays into the tensors that IRN's own code wants to find, where it does."""
    if chosen.name != "irn-cam":
        return None
    import torch

    return torch.from_numpy
