"""Read a dataset back: masks become a label set, maps become the views of a run of their own."""

from __future__ import annotations

import io
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.atomic import new_folder, write_json
from engine.errors import UserError
from engine.formats import Incoming, format_named
from engine.messages import Event, Import, Progress, Said, Viewed
from engine.pace import Pace
from engine.store import LabelSet, Project, label_set, new_run, open_project
from engine.store.runs import FINISHED
from engine.work import Work

__all__ = ["run"]


def run(job: Import, desk: Work) -> Generator[Event, None, dict[str, Any]]:
    """Import labels, or maps.

    Raises:
        UserError: The name is taken, or a file cannot be read (it is named).
    """
    project = open_project(job.project)
    chosen = format_named(job.format)
    folder = Path(job.path).expanduser()
    if not folder.is_dir():
        raise UserError(
            f"{folder} is no folder.",
            "A folder written by `wsss export` or by the format's own tools is accepted.",
            "Check the path.",
        )
    sizes = {s: (project.images[s].height, project.images[s].width) for s in project.usable}
    if chosen.kind == "cams":
        incoming = chosen.read(folder, sizes, project.classes, _storage)
    else:
        incoming = chosen.read(folder, sizes, project.classes)
    for note in incoming.notes:
        yield Said(text=note, level="warning")
    if not incoming.stems:
        raise UserError(
            f"{folder} holds nothing for the images of this project.",
            "File names must be image names.",
            "Check the path.",
        )
    take = _maps if chosen.kind == "cams" else _masks
    yield from take(project, job, incoming)
    return {"name": job.name, "kind": chosen.kind, "images": len(incoming.stems)}


def _masks(project: Project, job: Import, incoming: Incoming) -> Generator[Event, None, None]:
    target = label_set(project.root, project.colours, job.name, new=True)
    if target.folder.exists():
        raise UserError(
            f"There are labels '{job.name}' already.", "A new name is accepted.", "Choose another --name."
        )
    pace = Pace(len(incoming.stems))
    # Whole or not at all: half an import would look like labels with images missing.
    with new_folder(target.folder) as folder:
        part = LabelSet(folder, project.colours)
        for n, (stem, mask) in enumerate(incoming.items, start=1):
            part.write(stem, mask)
            yield Progress(done=n, total=len(incoming.stems), seconds_left=pace.left(n), phase="images")
        part.write_facts({"imported": {"format": job.format, "from": Path(job.path).name}})
    for stem in target.stems():
        yield Viewed(image=stem, kind="labels", path=target.path(stem).relative_to(project.root).as_posix())


def _maps(project: Project, job: Import, incoming: Incoming) -> Generator[Event, None, None]:
    run = new_run(
        project.root,
        job.name,
        job.name,
        {
            "method": "imported",
            "classes": list(project.classes),
            "job": {"format": job.format, "from": Path(job.path).name},
        },
    )
    run.begin()
    views = run.views()
    pace = Pace(len(incoming.stems))
    try:
        for n, stack in enumerate(incoming.items, start=1):
            stack.save(views.path(stack.image))
            yield Viewed(
                image=stack.image,
                kind="cams",
                path=views.path(stack.image).relative_to(project.root).as_posix(),
            )
            yield Progress(done=n, total=len(incoming.stems), seconds_left=pace.left(n), phase="images")
        write_json(
            views.folder / "views.json", {"method": "imported", "kinds": ["cams"], "format": job.format}
        )
    except BaseException:
        run.end("failed")
        run.delete()
        raise
    run.end(FINISHED)


def _storage(data: bytes) -> NDArray[Any]:
    """Return the numbers of a torch storage that a pickled tensor carries, without executing anything."""
    import torch

    storage = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return np.asarray(torch.tensor([], dtype=storage.dtype).set_(storage).numpy())
