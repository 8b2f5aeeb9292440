"""Climb a split, some images, or one class of one image step by step."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from engine.atomic import write_json
from engine.climb import background_of, climb, row_of, saliency_of
from engine.climb_settings import ClimbSettings
from engine.errors import UserError, nearest
from engine.messages import Climb, Event, Progress, Said, Viewed
from engine.method import ClassifierMethod, Shot
from engine.methods.advcam import AdvCam, Rows, change, climb_maps, scaled
from engine.nets.classifier import Classifier
from engine.pace import Pace
from engine.params import as_settings, parse
from engine.results import ClimbPath, ClimbTrace, TraceWriter, free_id, path_to, traces_in
from engine.saliency import check_folder, read_salient, salient_path
from engine.steps.infer import Drawn, draw_views, load_network, on_device
from engine.store import Project, Run, digest_of, file_digest, open_project, run_of
from engine.train.fabric import start_fabric
from engine.work import Halted, Work

__all__ = ["prepare", "run"]


def run(job: Climb, desk: Work) -> Generator[Event, None, dict[str, Any]]:
    """Climb; without a class in batch, with one step by step.

    Raises:
        UserError: The run has no classifier, or a setting is wrong.
    """
    project = open_project(job.project)
    chosen = run_of(project.root, job.run)
    settings = parse(ClimbSettings, job.settings)
    if job.cls is not None:
        return (yield from _one(job, project, chosen, settings, desk))
    if job.trace is not None or job.at is not None:
        raise UserError(
            "A climb is gone on from in one image and one class.",
            "Accepted beside --trace and --at: --images STEM and --class NAME.",
            "Add both.",
        )
    return (yield from _many(job, project, chosen, settings, desk))


def prepare(job: Climb, desk: Work) -> None:
    """Load the network that a climb on this run will need, so that its first step comes at once."""
    project = open_project(job.project)
    fabric = start_fabric(job)
    _, net = _classifier(project, run_of(project.root, job.run), desk, fabric.device)
    size = next((project.images[s] for s in job.images if s in project.images), None)
    if size is not None:
        # The first pass of a size makes the library choose and pack its kernels.
        with torch.no_grad():
            net(torch.zeros(2, 3, size.height, size.width, device=fabric.device))


def _many(
    job: Climb, project: Project, chosen: Run, settings: ClimbSettings, desk: Work
) -> Generator[Event, None, dict[str, Any]]:
    """Climb all wanted classes of many images; what is there already and was made the same way is kept."""
    fabric = start_fabric(job)
    method, net = _classifier(project, chosen, desk, fabric.device)
    views = chosen.views(job.views)
    made_by = {
        "method": AdvCam.__module__.rpartition(".")[2],
        "version": AdvCam.VERSION,
        "settings": as_settings(settings),
        "weights": file_digest(chosen.weights),
    }
    facts = {"weights": made_by["weights"], "run": chosen.id, "device": str(fabric.device)}
    folder = Path(settings.saliency) if settings.saliency else None
    stems = project.stems(job.split, job.images)
    warned: list[str] = []

    def stop_here() -> None:
        # Among several ranks all leave between two images.
        if fabric.world_size == 1 and desk.stop():
            raise Halted

    def draw(shots: Sequence[Shot]) -> Iterator[Drawn]:
        salient = {}
        for shot in shots if folder is not None else ():
            mask, why_not = _salient(cast(Path, folder), shot)
            if mask is not None:
                salient[shot.stem] = mask
            else:
                warned.append(f"{shot.stem} is climbed without saliency: {why_not}")
        for stem, stack, rows in climb_maps(net, shots, settings, method.probabilities, salient, stop_here):
            write = functools.partial(
                _write_traces, stem=stem, size=stack.size, found=rows, settings=settings, facts=facts
            )
            yield stem, stack, write

    also = None if folder is None else {s: _mask_digest(folder, s) for s in stems}
    drawing = on_device(project, draw, fabric.device, views)
    telling = draw_views(project, views, job, desk, fabric, made_by, AdvCam.SHOWS, drawing, also)
    while True:
        try:
            event = next(telling)
        except StopIteration as done:
            return cast(dict[str, Any], done.value)
        while warned:
            yield Said(text=warned.pop(0), level="warning")
        yield event


def _write_traces(
    folder: Path,
    *,
    stem: str,
    size: tuple[int, int],
    found: Sequence[Rows],
    settings: ClimbSettings,
    facts: dict[str, Any],
) -> None:
    """Write the traces of one image into its folder; those of an earlier climb go, whole or cut short by a kill."""
    place = folder / ClimbTrace.KIND
    shutil.rmtree(place, ignore_errors=True)
    for rows in found:
        first = rows.rows[0]
        writer = TraceWriter(
            place / str(rows.cls),
            len(rows.rows),
            {name: array.shape for name, array in first.items()},
            {
                **_facts(
                    stem, rows.cls, size, rows.size, rows.cell, rows.origin, settings, len(rows.rows) - 1
                ),
                "scale": rows.scale,
                **facts,
            },
        )
        for row in rows.rows:
            writer.add(row, tell=False)
        writer.end(rows.ending)


def _one(
    job: Climb, project: Project, chosen: Run, settings: ClimbSettings, desk: Work
) -> Generator[Event, None, dict[str, Any]]:
    """Climb one class of one image at the scale nearest to 1, telling every step."""
    if len(job.images) != 1 or job.split is not None:
        raise UserError(
            f"--class {job.cls} with {len(job.images)} images.",
            "One class is climbed in one image at a time.",
            "Name it: --images STEM.",
        )
    stem = job.images[0]
    image = project.image(stem)
    cls = _class_of(project, cast(str, job.cls))
    views = chosen.views(job.views)
    place = views.folder / stem / ClimbTrace.KIND
    path = _path(place, job, cls)
    fabric = start_fabric(job)
    if fabric.world_size > 1:
        raise UserError(
            f"One climb on {fabric.world_size} devices.",
            "A climb goes step after step, on one device.",
            "Leave --devices away, or climb a split without --class.",
        )
    _, net = _classifier(project, chosen, desk, fabric.device)
    weights = file_digest(chosen.weights)
    if path is not None and path.leaf.facts.get("weights") != weights:
        raise UserError(
            f"The run {chosen.id} was trained again after the climb {path.leaf.id}.",
            "A climb goes on with the weights it began with.",
            "Climb again from the photograph.",
        )
    pixels = project.read(stem).pixels
    if pixels.shape[:2] != (image.height, image.width):
        raise UserError(
            f"The size of {stem} changed since the project was made.", "", "Run `wsss relink` on its folder."
        )
    scale = (
        min(settings.scales, key=lambda s: abs(s - 1)) if path is None else float(path.leaf.facts["scale"])
    )
    on_device = torch.from_numpy(pixels).to(fabric.device).permute(2, 0, 1)[None]
    picture = scaled(net, on_device, scale)  # [1, 3, h, w]
    picture_size = (int(picture.shape[2]), int(picture.shape[3]))
    stride, centre = int(net.backbone.stride), net.backbone.cell_centre
    cells = (-(-picture_size[0] // stride), -(-picture_size[1] // stride))
    background = None
    if settings.saliency:
        mask, why_not = _salient(Path(settings.saliency), Shot(stem, pixels, np.zeros(0, np.int8)))
        if mask is None:
            yield Said(text=f"{stem} is climbed without saliency: {why_not}", level="warning")
        else:
            background = background_of(net, mask, picture_size, cells)[None].to(fabric.device)
    start, reference, at = _start(path, job, net, picture)
    pictures = settings.keep != "maps"
    climbing = climb(
        net,
        picture,
        torch.tensor([cls], device=fabric.device),
        settings,
        start=start,
        reference=reference,
        first=at,
        background=background,
        want_saliency=pictures,
    )
    writer: TraceWriter | None = None
    total = settings.steps
    pace = Pace(max(1, total))
    yield Progress(done=0, total=max(1, total), phase="steps")
    ending, last = "stopped", at
    where = ""
    added: torch.Tensor | None = None
    try:
        for step in climbing:
            # The first step is shown before its saliency is found: that takes as long as all the rest of it.
            later = writer is None and step.saliency is not None
            kept = row_of(net, step, picture, pictures=pictures, saliency=not later)
            row = {name: array[0] for name, array in kept.items()}
            before = added
            added = step.maps if added is None else added + step.maps
            if path is not None and step.t == at:
                continue  # its parent has this step already
            if writer is None:
                facts = _facts(
                    stem,
                    cls,
                    (image.height, image.width),
                    picture_size,
                    stride / scale,
                    centre / scale,
                    settings,
                    at + total,
                )
                facts |= {"first": step.t, "parent": None if path is None else path.parts[at][0].id, "at": at}
                facts |= {"scale": scale, "weights": weights, "run": chosen.id, "device": str(fabric.device)}
                rows = total + (path is None)
                trace = free_id(place, cls)
                writer = TraceWriter(place / trace, rows, {n: a.shape for n, a in row.items()}, facts)
                where = (place / trace).relative_to(project.root).as_posix()
                if not (views.folder / "views.json").is_file():
                    write_json(views.folder / "views.json", {"run": chosen.id, "kinds": [ClimbTrace.KIND]})
            writer.add(row)
            last = step.t
            yield Viewed(image=stem, kind=ClimbTrace.KIND, path=where)
            if later:
                writer.amend("saliency", saliency_of(step)[0])
                yield Viewed(image=stem, kind=ClimbTrace.KIND, path=where)
            done = step.t - at
            yield Progress(done=done, total=max(1, total), seconds_left=pace.left(done), phase="steps")
            if settings.plateau and before is not None and change(before, added).item() < settings.plateau:
                ending = "plateau"
                break
        else:
            ending = "finished"
    finally:
        if writer is not None:
            writer.end(ending)
    if writer is None:
        raise UserError(
            "A climb that goes on by 0 steps has nothing to do.", "At least 1 step.", "Add --set steps=N."
        )
    return {
        "run": chosen.id,
        "views": str(views),
        "image": stem,
        "trace": writer.folder.name,
        "steps": last,
        "ending": ending,
        "path": where,
    }


def _classifier(
    project: Project, chosen: Run, desk: Work, device: torch.device
) -> tuple[ClassifierMethod[Any, Any], Classifier]:
    method, net = load_network(project, chosen, desk, device)
    if not isinstance(method, ClassifierMethod) or not isinstance(net, Classifier):
        raise UserError(
            f"The run {chosen.id} ({chosen.method}) has no classifier to climb on.",
            "Runs of methods that train an image classifier, such as cam.",
            "Choose another run; `wsss status` lists them.",
        )
    net.requires_grad_(False)
    return method, net


def _class_of(project: Project, name: str) -> int:
    if name not in project.classes:
        raise UserError(
            f"The project has no class '{name}'.",
            f"Classes: {', '.join(project.classes)}.",
            nearest(name, project.classes),
        )
    return project.classes.index(name)


def _path(place: Path, job: Climb, cls: int) -> ClimbPath | None:
    """Return the climb to go on from, cut at its step, or None for a climb from the photograph."""
    if job.trace is None:
        if job.at is not None:
            raise UserError("--at without --trace.", "A step belongs to a climb.", "Add --trace ID.")
        return None
    path = path_to(traces_in(place), job.trace)
    if path.leaf.cls != cls:
        raise UserError(
            f"The climb {job.trace} is of another class than {job.cls}.",
            "A climb goes on in its own class.",
            "Choose a climb whose id begins with the index of the class.",
        )
    if not all(trace.has_pictures for trace in path.traces):
        raise UserError(
            f"Of the climb {job.trace} the pictures were not kept.",
            "Climbs that were made with --class, or with --set keep=pictures.",
            "Climb again from the photograph.",
        )
    return path


def _start(
    path: ClimbPath | None, job: Climb, net: Classifier, picture: torch.Tensor
) -> tuple[torch.Tensor | None, torch.Tensor | None, int]:
    """Return the picture to go on from [1, F, 3, h, w], the map R^0 [1, h, w], and the step, or None, None, 0."""
    if path is None:
        return None, None, 0
    at = path.last if job.at is None else job.at
    if not 0 <= at <= path.last:
        raise UserError(
            f"The climb {path.leaf.id} has no step {at}.",
            f"Steps 0 to {path.last}.",
            "Choose one of them.",
        )
    moved = torch.from_numpy(np.array(path.row("pictures", at), np.float32))[
        None
    ]  # [1, F, 3, h, w] grey levels
    deviation = torch.tensor(net.backbone.prep.std).view(3, 1, 1)
    start = torch.stack([picture, picture.flip(-1)][: moved.shape[1]], 1)
    start = start + (moved / (255 * deviation)).to(picture.device)
    reference = torch.from_numpy(np.array(path.row("maps", 0), np.float32))[None]
    return start, reference.to(picture.device), at


def _salient(folder: Path, shot: Shot) -> tuple[np.ndarray[Any, Any] | None, str]:
    """Return the salient pixels of an image, or None and why there are none."""
    notes: list[str] = []
    try:
        mask = read_salient(folder, shot.stem, (shot.pixels.shape[0], shot.pixels.shape[1]), notes)
    except UserError as error:
        return None, error.found
    return mask, "; ".join(notes) + "."


def _mask_digest(folder: Path, stem: str) -> str:
    check_folder(folder)
    path = salient_path(folder, stem)
    return digest_of("none") if path is None else file_digest(path)


def _facts(
    stem: str,
    cls: int,
    size: tuple[int, int],
    picture_size: tuple[int, int],
    cell: float,
    origin: float,
    settings: ClimbSettings,
    planned: int,
) -> dict[str, Any]:
    return {
        "image": stem,
        "class": cls,
        "size": list(size),
        "picture_size": list(picture_size),
        "cell": cell,
        "origin": origin,
        "first": 0,
        "planned": planned,
        "parent": None,
        "at": 0,
        "settings": as_settings(settings),
    }
