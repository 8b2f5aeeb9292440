"""Refine the maps of a source: by a CRF or neighbouring pixels in a pool, by walks on the device."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from engine.errors import UserError, nearest
from engine.labels import LabelRule
from engine.messages import Event, Refine, Said, encode
from engine.method import Shot
from engine.methods import list_methods, method_class
from engine.params import as_settings, parse
from engine.refiners import REFINERS
from engine.results import InstanceSet, RefineTrace
from engine.steps.infer import Drawn, Todo, draw_views, load_network, on_device
from engine.steps.seeds import confident_of
from engine.store import (
    Project,
    Run,
    Views,
    digest_of,
    file_digest,
    maps_digest,
    new_run,
    open_project,
    read_stack,
    run_of,
    runs_of,
    source_of,
    with_maps,
)
from engine.store.runs import FINISHED
from engine.train.fabric import start_fabric
from engine.walker import Refined, Walker
from engine.work import Work
from engine.workers import run_pool

__all__ = ["refiner_names", "run"]


def run(job: Refine, desk: Work) -> Generator[Event, None, dict[str, Any]]:
    """Refine; images that were refined the same way already are kept.

    Raises:
        UserError: There is no such refiner, source or network, or a setting is wrong.
    """
    project = open_project(job.project)
    source = source_of(project.root, job.source)
    if not source.has_maps:
        raise UserError(
            f"{source} holds no maps.",
            "Views drawn by `wsss infer`, `climb` or `refine` do.",
            "Choose another source.",
        )
    names = refiner_names()
    if job.refiner not in names:
        raise UserError(
            f"There is no refiner '{job.refiner}'.",
            f"Refiners: {', '.join(names)}.",
            nearest(job.refiner, names),
        )
    network, settings, version = _tool(project, job)
    made_by = {
        "method": job.refiner,
        "version": version,
        "settings": as_settings(settings),
        "weights": None if network is None else file_digest(network.weights),
        "network": None if network is None else network.id,
        # Settings are kept as they were asked for; what is left to the network follows from these.
        "cuts": None if network is None else network.facts.get("confident"),
        "source": str(source),
        "drawn": digest_of(source.facts),
    }
    fabric = start_fabric(job)
    wanted = project.stems(job.split, job.images)
    stems = with_maps(source, wanted)
    views = _target(project, job, network, made_by, source, fabric)
    if len(stems) < len(wanted):
        yield Said(
            text=f"{len(wanted) - len(stems)} of {len(wanted)} images have no maps in {source} and are left out.",
            level="warning",
        )
    also = {s: maps_digest(source, s, read_stack(project, source, s)) for s in stems}
    needed = ["refine"] if job.keep else []
    if network is None:
        drawing = functools.partial(_pooled, project, source, views, job, as_settings(settings))
    else:
        method, net = load_network(project, network, desk, fabric.device)
        assert isinstance(method, Walker)
        method.check(net, settings)
        needed += ["instances"] if getattr(settings, "instances", False) else []
        walk = method.settled(settings, network.facts["confident"])

        def draw(shots: Sequence[Shot]) -> Iterator[Drawn]:
            stacks = [read_stack(project, source, s.stem) for s in shots]
            with torch.no_grad():
                for found in method.refine(net, shots, stacks, walk, keep=job.keep):
                    yield found.stem, found.stack, functools.partial(_write_rest, network, found)

        drawing = on_device(project, draw, fabric.device, views)
    images = dataclasses.replace(job, split=None, images=stems)
    kinds = ["cams", *needed]
    result = yield from draw_views(
        project, views, images, desk, fabric, made_by, kinds, drawing, also, needed
    )
    if fabric.is_global_zero and views.run.is_refinement:
        views.run.end(FINISHED)
    return {**result, "source": str(source), "refiner": job.refiner}


def refiner_names() -> list[str]:
    """Return the names of all refiners: those that need no network first."""
    return [*REFINERS, *(card.name for card in list_methods() if card.refines)]


def _tool(project: Project, job: Refine) -> tuple[Run | None, Any, int]:
    """Return the network that a job refines with, or None, its settings, and the version of the refiner."""
    if job.refiner in REFINERS:
        refiner = REFINERS[job.refiner]
        settings = parse(refiner.settings, job.settings)
        LabelRule.parse(settings.background)
        return None, settings, refiner.version
    cls = method_class(job.refiner)
    settings = parse(cls.Views, job.settings)
    named = settings.network
    if named is None and job.run is not None and (project.root / "runs" / job.run).is_dir():
        given = run_of(project.root, job.run)
        named = given.id if given.is_network else None
    if named is not None:
        network = run_of(project.root, named)
        if network.method != job.refiner or not network.is_network or not network.weights.is_file():
            raise UserError(
                f"The run {network.id} holds no trained network of {job.refiner}.",
                f"A finished run of `wsss train {job.refiner}` does.",
                "Choose another one, or leave it out for the newest.",
            )
        return network, settings, cls.VERSION
    found = [
        r
        for r in runs_of(project.root)
        if r.method == job.refiner and r.is_network and r.status == FINISHED and r.weights.is_file()
    ]
    if not found:
        raise UserError(
            f"There is no trained network of {job.refiner} in this project.",
            f"`wsss refine {job.refiner}` walks with one that learnt from a run's maps.",
            f"Train it with `wsss train {job.refiner} -p {project.root.name} --set seeds={job.source}`.",
        )
    return found[-1], settings, cls.VERSION


def _target(
    project: Project, job: Refine, network: Run | None, made_by: dict[str, Any], source: Views, fabric: Fabric
) -> Views:
    """Return where the result goes; rank 0 chooses, or makes the folder."""
    chosen = ""
    if fabric.is_global_zero:
        views = _box(project, job, network, made_by, source)
        if str(views) == str(source):
            raise UserError(
                f"{source} would be refined into itself.",
                "A box beside it.",
                "Choose another --run or --views.",
            )
        chosen = views.run.id
    if fabric.world_size > 1:
        chosen = fabric.broadcast(chosen, src=0)
    return run_of(project.root, chosen).views(job.views)


def _box(project: Project, job: Refine, network: Run | None, made_by: dict[str, Any], source: Views) -> Views:
    """Return a box made the same way, the one that is named, or a new one."""
    if network is not None and job.run == network.id:
        return network.views(job.views)
    boxes = [r for r in runs_of(project.root) if r.is_refinement]
    if job.run is None:
        for box in boxes:
            known = box.views(job.views).facts
            if known and {k: known.get(k) for k in made_by} == made_by:
                return box.views(job.views)
    elif (project.root / "runs" / job.run).is_dir():
        box = run_of(project.root, job.run)
        if not box.is_refinement:
            raise UserError(
                f"The run {box.id} is no refinement.",
                "A new name, or that of a refinement.",
                "Choose another --run.",
            )
        return box.views(job.views)
    facts = {
        "method": job.refiner,
        "refiner": job.refiner,
        "source": str(source),
        "classes": list(project.classes),
        "status": FINISHED,
        "seed": job.seed,
        "job": json.loads(encode(dataclasses.replace(job, project="", run=None))),
    }
    return new_run(project.root, job.run, f"{source.run.id[:40]}-{job.refiner}", facts).views(job.views)


def _pooled(
    project: Project, source: Views, views: Views, job: Refine, settings: dict[str, Any], todo: Todo
) -> Iterator[tuple[str, Path | str]]:
    """Yield (image, path written) or (image, why it was passed over), worked on by one process a core."""
    images = [item for items in todo.values() for item in items]
    if not images:
        return
    how = {"refiner": job.refiner, "settings": settings, "keep": job.keep}
    arguments = [[str(project.root), str(source), str(views), stem, digest, how] for stem, digest in images]
    workers = min(job.threads or os.cpu_count() or 1, len(images))
    for index, why_not in run_pool("engine.steps.refine_image:refine_image", arguments, workers=workers):
        stem = images[index][0]
        yield stem, why_not or views.path(stem)


def _write_rest(network: Run | None, found: Refined, folder: Path) -> None:
    """Write what an image has beside its maps into its folder."""
    if found.trace is not None:
        fields = found.trace.fields | confident_of(network, found.stem)
        dataclasses.replace(found.trace, fields=fields).save(folder / f"{RefineTrace.KIND}.npz")
    if found.instances is not None:
        found.instances.save(folder / f"{InstanceSet.KIND}.npz")
