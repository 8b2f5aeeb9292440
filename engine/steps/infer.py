"""Draw a run's views of a split, of some images, or of all."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from engine.atomic import write_json
from engine.errors import UserError
from engine.messages import Climb, Event, Infer, Progress, Refine, Said, Viewed
from engine.method import Method, Shot
from engine.nets.fold import folded
from engine.pace import Pace
from engine.params import as_settings, parse
from engine.results import CamStack
from engine.steps.seeds import Confident, HostMaps
from engine.steps.train import build_trained
from engine.store import (
    Project,
    Run,
    Views,
    digest_of,
    file_digest,
    maps_digest,
    open_project,
    read_pixels,
    run_of,
    with_maps,
)
from engine.train.fabric import start_fabric
from engine.walker import Seeded
from engine.work import Halted, Work

__all__ = ["Drawing", "Drawn", "Todo", "draw_views", "load_network", "on_device", "run"]

# (stem, its maps, what writes the rest of its views into its folder, or None)
Drawn = tuple[str, CamStack, Callable[[Path], None] | None]

# Size -> (stem, digest of what is to be drawn) of each image of it.
Todo = Mapping[tuple[int, int], Sequence[tuple[str, str]]]

# Draws and writes what is to be done; yields (stem, path written) or (stem, why it was passed over).
Drawing = Callable[[Todo], Iterator[tuple[str, Path | str]]]

# Pixels of one batch, all images together: about 1 GB of features for a ResNet-50 at scale 2.
_BATCH_PIXELS = {"cpu": 400_000, "cuda": 8_000_000}


def run(job: Infer, desk: Work) -> Generator[Event, None, dict[str, Any]]:
    """Draw views; what is there already and was made the same way is kept.

    Raises:
        UserError: The run has no weights, or a setting is wrong.
    """
    project = open_project(job.project)
    chosen = run_of(project.root, job.run)
    fabric = start_fabric(job)
    method, net = load_network(project, chosen, desk, fabric.device)
    if method.REFINES:
        raise UserError(
            f"The run {chosen.id} ({method.TITLE}) draws no maps of its own: it refines those of another run.",
            "",
            f"`wsss refine {chosen.method} --source RUN --run {chosen.id}` does it.",
        )
    settings = parse(method.Views, job.settings)
    made_by = {
        "method": chosen.method,
        "version": method.VERSION,
        "settings": as_settings(settings),
        "weights": file_digest(chosen.weights),
    }

    def draw(shots: Sequence[Shot]) -> Iterator[Drawn]:
        with torch.no_grad():
            yield from ((stem, stack, None) for stem, stack in method.infer(net, shots, settings))

    views = chosen.views(job.views)
    host = HostMaps.of(project, method.host())
    also = {}
    if host is not None:
        wanted = project.stems(job.split, job.images)
        stems = with_maps(host.source, wanted)
        if len(stems) < len(wanted):
            missing = len(wanted) - len(stems)
            yield Said(
                text=f"{missing} of {len(wanted)} images have no maps in {host.source} and are left out.",
                level="warning",
            )
        also = {s: maps_digest(host.source, s, host.read(s)) for s in stems}
        job = dataclasses.replace(job, split=None, images=stems)
    labels = None
    if isinstance(method, Seeded) and method.wants_label(settings):
        labels = Confident.of(chosen)

    def with_more(shot: Shot) -> Shot:
        return dataclasses.replace(
            shot,
            label=None if labels is None else labels.read(shot.stem),
            maps=None if host is None else host.read(shot.stem),
        )

    drawing = on_device(project, draw, fabric.device, views, with_more)
    return (yield from draw_views(project, views, job, desk, fabric, made_by, method.SHOWS, drawing, also))


def draw_views(
    project: Project,
    views: Views,
    job: Infer | Climb | Refine,
    desk: Work,
    fabric: Fabric,
    made_by: dict[str, Any],
    kinds: Sequence[str],
    drawing: Drawing,
    also: Mapping[str, str] | None = None,
    needed: Sequence[str] = (),
) -> Generator[Event, None, dict[str, Any]]:
    """Draw the images that a job asks for, passing over those that were drawn the same way already.

    Args:
        project, views, job, desk, fabric: Where and on what.
        made_by: method, version, settings, weights: what all views of one name share.
        kinds: What is drawn of each image.
        drawing: Draws and writes, see `on_device`.
        also: Image -> a digest of whatever else its views depend on.
        needed: Kinds without which an image counts as not drawn yet, beside its maps.
    """
    stems = project.stems(job.split, job.images)
    before = views.facts
    if before and {k: before.get(k) for k in made_by} != made_by:
        # A mixture of settings under one name would be worthless, so the old ones go.
        yield Said(
            text=f"The views {views} had other settings or weights; they are replaced.", level="warning"
        )
    if fabric.is_global_zero:
        facts = {**made_by, "kinds": list(kinds), "run": views.run.id}
        write_json(views.folder / "views.json", facts)
    fabric.barrier()
    mine = stems[fabric.global_rank :: fabric.world_size]
    tags = project.tags()
    todo: dict[tuple[int, int], list[tuple[str, str]]] = defaultdict(list)
    skipped = 0
    for stem in mine:
        image = project.image(stem)
        says = _says(tags.row(stem), made_by["settings"])
        digest = digest_of([made_by, image.sha256, says, *([also[stem]] if also else [])])
        if _is_there(views, stem, digest, needed):
            skipped += 1
        else:
            todo[image.height, image.width].append((stem, digest))
    if skipped:
        yield Said(text=f"{skipped} of {len(mine)} images have these views already.")
    done, total = skipped, len(mine)
    yield Progress(done=done, total=total, phase="images")
    pace = Pace(total - skipped)
    aside: list[str] = []
    for stem, found in drawing(todo):
        if isinstance(found, str):
            aside.append(stem)
            yield Said(text=f"{stem} was passed over: {found}", level="warning")
        else:
            for kind in ("cams", *needed):
                path = views.path(stem, kind).relative_to(project.root).as_posix()
                yield Viewed(image=stem, kind=kind, path=path)
        done += 1
        yield Progress(done=done, total=total, seconds_left=pace.left(done - skipped), phase="images")
        if fabric.world_size > 1 and desk.stop():
            raise Halted
    fabric.barrier()
    return {
        "run": views.run.id,
        "views": str(views),
        "images": len(stems) - len(aside),
        "kept": skipped,
        "passed_over": aside,
    }


def load_network(
    project: Project, chosen: Run, desk: Work, device: torch.device
) -> tuple[Method[Any, Any], torch.nn.Module]:
    """Return the network of a run, from the child's memory when it is the one used last."""
    weights = "" if chosen.is_refinement else file_digest(chosen.weights)
    key = (str(project.root), chosen.id, weights, str(device))
    if desk.warm.get("key") != key:
        desk.warm.clear()  # one network at a time: a second one may not fit beside it
        method, net = build_trained(project, chosen)
        net.backbone = folded(net.backbone)
        desk.warm.update(key=key, method=method, net=net.to(device, memory_format=torch.channels_last))
    return desk.warm["method"], desk.warm["net"]


def _says(row: NDArray[np.int8], settings: Mapping[str, Any]) -> list[int]:
    """Return what of the tags the views depend on."""
    return [int(s) for s in row] if settings.get("classes", "present") == "present" else []


def _is_there(views: Views, stem: str, digest: str, needed: Sequence[str]) -> bool:
    if not all(views.path(stem, kind).is_file() for kind in needed):
        return False
    try:
        return CamStack.load(views.path(stem)).facts.get("digest") == digest
    except (FileNotFoundError, UserError):
        return False


def on_device(
    project: Project,
    draw: Callable[[Sequence[Shot]], Iterator[Drawn]],
    device: torch.device,
    views: Views,
    with_more: Callable[[Shot], Shot] = lambda shot: shot,
) -> Drawing:
    """Return what reads images in batches of one size, lets a network draw them, and writes their views.

    Args:
        project, device, views: Where and on what.
        draw: Draws shots of one size.
        with_more: Adds to a shot what a method asks for beside pixels and tags; where it cannot, it raises
            a UserError and the image is passed over.
    """
    return functools.partial(_drawn, project, draw, device, views, with_more)


def _drawn(
    project: Project,
    draw: Callable[[Sequence[Shot]], Iterator[Drawn]],
    device: torch.device,
    views: Views,
    with_more: Callable[[Shot], Shot],
    todo: Todo,
) -> Iterator[tuple[str, Path | str]]:
    """Yield (stem, path written) or (stem, why it was passed over).

    The next batch is read and the last one written by threads while the network works.
    """
    batches = [b for size, items in todo.items() for b in _batches(size, items, device)]
    row_of = project.tags().row
    digests = {stem: digest for items in todo.values() for stem, digest in items}
    with ThreadPoolExecutor(max_workers=max(2, min(8, os.cpu_count() or 2))) as pool:
        ahead = [pool.submit(_read, project, b, row_of, with_more) for b in batches[:2]]
        writing: list[tuple[str, Path, Future[None]]] = []
        try:
            for n in range(len(batches)):
                shots, broken = ahead.pop(0).result()
                if n + 2 < len(batches):
                    ahead.append(pool.submit(_read, project, batches[n + 2], row_of, with_more))
                yield from broken
                for stem, stack, rest in draw(shots) if shots else ():
                    stack.facts["digest"] = digests[stem]
                    path = views.path(stem, stack.KIND)
                    writing.append((stem, path, pool.submit(_write, stack, path, rest)))
                # Told only once it is on disk, and never far behind.
                while writing and (writing[0][2].done() or len(writing) > 8):
                    stem, path, written = writing.pop(0)
                    written.result()
                    yield stem, path
            for stem, path, written in writing:
                written.result()
                yield stem, path
        finally:
            for future in ahead:
                future.cancel()


def _write(stack: CamStack, path: Path, rest: Callable[[Path], None] | None) -> None:
    """Write the views of an image; its stack last, whose digest says that all is there."""
    if rest is not None:
        rest(path.parent)
    stack.save(path)


def _batches(
    size: tuple[int, int], items: Sequence[tuple[str, str]], device: torch.device
) -> Iterator[list[str]]:
    count = max(1, _BATCH_PIXELS.get(device.type, _BATCH_PIXELS["cpu"]) // max(1, size[0] * size[1]))
    for at in range(0, len(items), count):
        yield [stem for stem, _ in items[at : at + count]]


def _read(
    project: Project, stems: Sequence[str], row_of: Any, with_more: Callable[[Shot], Shot]
) -> tuple[list[Shot], list[tuple[str, str]]]:
    shots: list[Shot] = []
    broken: list[tuple[str, str]] = []
    for stem in stems:
        try:
            shots.append(with_more(Shot(stem, read_pixels(project, stem), row_of(stem))))
        except UserError as error:
            broken.append((stem, error.found))
    return shots, broken
