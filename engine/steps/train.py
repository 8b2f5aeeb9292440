"""Train a method on a split's tags; go on with a run that was stopped or killed."""

from __future__ import annotations

import dataclasses
import json
import platform
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor, wait
from importlib import metadata
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from engine.compute import precision, seed_of
from engine.confident import ConfidentParams
from engine.errors import UserError, nearest
from engine.messages import JOBS, Event, Infer, Metrics, Progress, Said, Train, encode
from engine.method import Method
from engine.methods import method_class
from engine.nets.catalogue import Published
from engine.nets.weights import Weights, find_weights
from engine.pace import Pace
from engine.params import as_settings, describe, parse
from engine.steps.seeds import Confident, HostMaps, corrections, make_confident, seeds_of, settled
from engine.store import (
    Project,
    Run,
    digest_of,
    image_set_digest,
    new_run,
    open_project,
    run_of,
    tag_digest,
    with_maps,
)
from engine.store.runs import RUNNING
from engine.tags import UNKNOWN
from engine.train.checkpoint import load_weights
from engine.train.fabric import start_fabric
from engine.train.loop import Training, train
from engine.train.plan import Plan, settle
from engine.walker import Seeded
from engine.work import Halted, Work

__all__ = ["build_trained", "run"]


def run(job: Train, desk: Work) -> Generator[Event, None, dict[str, Any]]:
    """Train, or go on training.

    Raises:
        UserError: The project, method, settings or tags do not allow it.
    """
    project = open_project(job.project)
    fabric = start_fabric(job)
    cls = method_class(job.method)
    facts = _facts(project, job, cls)
    chosen = _run(project, job, facts, fabric)
    method = cls(parse(cls.Params, chosen.facts["params"]))
    stems, held = tuple(chosen.facts["digests"]["stems"]), tuple(chosen.facts["held"])
    labels = None
    if fabric.is_global_zero:
        chosen.begin(device=str(fabric.device))
    desk.record(chosen)
    if isinstance(method, Seeded):
        labels = yield from _seeds(project, chosen, method, stems, fabric, job.threads)
    weights = None
    new, published = not chosen.trainer.exists(), method.pretrained()
    if published and new:
        weights = yield from _weights(published)
        if fabric.is_global_zero:
            chosen.update(
                weights={"source": weights.source, "sha256": weights.sha256, "facts": weights.facts}
            )
    torch.manual_seed(seed_of(chosen.facts["seed"], "build"))
    net = method.build(len(project.classes), weights)
    if new:
        method.named(net, project.classes)
    plan = _plan(chosen, project, net, stems, method, fabric.device)
    if fabric.is_global_zero:
        chosen.update(
            plan=dataclasses.asdict(plan), prep=net.backbone.prep.as_facts(), loaded=net.backbone.loaded
        )
    yield Said(text=_words(chosen, plan, net, stems, held))
    for remark in method.remarks(project.tags().subset(stems).states):
        yield Said(text=remark, level="warning")
    began = time.monotonic()
    last: dict[str, float] = {}
    training = Training(
        project, chosen, method, net, plan, stems, held, fabric, int(chosen.facts["seed"]), desk.stop, labels,
        HostMaps.of(project, method.host()),
    )  # fmt: skip
    for event in train(training):
        if isinstance(event, Metrics):
            last |= event.values
        yield event
    seconds = round(time.monotonic() - began + float(chosen.facts.get("seconds") or 0), 1)
    if fabric.is_global_zero:
        chosen.update(seconds=seconds, metrics=last)
    return {"run": chosen.id, "status": "finished", "seconds": seconds, "metrics": last}


def build_trained(project: Project, chosen: Run) -> tuple[Method[Any, Any], torch.nn.Module]:
    """Return the method and the network of a run with its weights loaded, in eval mode on the CPU.

    Raises:
        UserError: The method is gone, or the weights are missing or damaged.
    """
    if chosen.is_refinement:
        raise UserError(
            f"The run {chosen.id} is a refinement and holds no network.",
            f"It was made from {chosen.facts.get('source')} by `wsss refine`.",
            "Choose a run that was trained.",
        )
    cls = method_class(chosen.method)
    method = cls(parse(cls.Params, chosen.facts["params"]))
    net = method.build(len(chosen.facts["classes"]))
    load_weights(net, chosen.weights)
    return method, net.eval()


def _weights(name: str | Published) -> Generator[Event, None, Weights]:
    """Find published weights, telling how a download gets on; stopping ends the download."""
    told = [0, 0]
    stopped = threading.Event()

    def tell(done: int, total: int) -> None:
        told[:] = done, total
        if stopped.is_set():
            raise Halted

    with ThreadPoolExecutor(max_workers=1) as pool:
        found = pool.submit(find_weights, name, progress=tell)
        pace: Pace | None = None
        try:
            while not found.done():
                wait([found], timeout=0.1)
                done, total = told
                if total:
                    pace = pace or Pace(total)
                    yield Progress(done=done, total=total, seconds_left=pace.left(done), phase="download")
        finally:
            stopped.set()
        return found.result()


def _facts(project: Project, job: Train, cls: type[Method[Any, Any]]) -> dict[str, Any]:
    """Return what run.json says of a training before it begins."""
    if not cls.TRAINS:
        # The kind of view that only such a method has is the verb of the job that makes it.
        verb = next((kind for kind in cls.SHOWS if kind in JOBS), Infer.VERB)
        raise UserError(
            f"{cls.TITLE} is not trained: it works on the network of a run that is.",
            "Any run of a method that trains a classifier will do.",
            f"`wsss train cam` makes such a run; then `wsss {verb} RUN`.",
        )
    plan_names = {f.name for f in describe(Plan)}
    settings = dict(job.settings)
    own = {k: v for k, v in settings.items() if k not in plan_names}
    known = [f.name for f in describe(cls.Params)]
    for name in own:
        if name not in (*known, "preset"):
            raise UserError(
                f"There is no parameter '{name}'.",
                f"Parameters of {job.method}: {', '.join(known)}; of the plan: {', '.join(sorted(plan_names))}.",
                nearest(name, [*known, *plan_names]),
            )
    given = {k: v for k, v in settings.items() if k in plan_names}
    for name in ("epochs", "batch", "crop"):
        value = getattr(job, name)
        if value is not None:
            given[name] = value
    params, plan = parse(cls.Params, own), parse(Plan, given)
    stems = project.stems(job.split)
    held: tuple[str, ...] = ()
    if cls.MEASURED:
        held, stems = _held(project, stems, plan, job)
    if issubclass(cls, Seeded):
        source, stems = seeds_of(project, job.method, params.seeds, stems)
        more = {
            "seeds": str(source),
            "drawn": digest_of(source.facts),
            "corrected": corrections(project, params.corrected, stems),
        }
    else:
        more = {}
        _check_tags(project, stems)
    host = HostMaps.of(project, cls(params).host())
    if host is not None:
        stems = with_maps(host.source, stems)
        more |= host.facts()
    return {
        "method": job.method,
        "version": cls.VERSION,
        "refines": cls.REFINES,
        "classes": list(project.classes),
        "params": as_settings(params),
        "plan": dataclasses.asdict(plan),
        "job": json.loads(encode(dataclasses.replace(job, project="", run=None, resume=False))),
        "seed": job.seed,
        "held": list(held),
        "digests": {
            "stems": list(stems),
            "images": image_set_digest(project, stems),
            "tags": tag_digest(project, stems),
            **more,
        },
        "versions": _versions(),
    }


def _check_tags(project: Project, stems: tuple[str, ...]) -> None:
    """Check that there is something to learn from.

    Raises:
        UserError: No image has a tag, or there is no class.
    """
    states = project.tags().subset(stems).states
    if not (states != UNKNOWN).any():
        raise UserError(
            f"None of the {len(stems)} training images has a tag.",
            "An image with a known tag, or one known to have none, can be learnt from.",
            "Tag some images on the Tags page, or import a tag file.",
        )
    if not project.classes:
        raise UserError("The project has no class.", "", "Add one on the Tags page.")


def _seeds(
    project: Project,
    chosen: Run,
    method: Seeded[Any, Any],
    stems: tuple[str, ...],
    fabric: Fabric,
    threads: int | None,
) -> Generator[Event, None, Confident]:
    """Make the confident labels that a method learns from; rank 0 does, the others wait."""
    source, _ = seeds_of(project, chosen.method, method.params.seeds, stems)
    labels = Confident.of(chosen)
    if fabric.is_global_zero:
        known = chosen.facts.get("confident")
        params = (
            parse(ConfidentParams, known) if known else settled(project, source, stems, method.confident())
        )
        chosen.update(confident=as_settings(params))
        # As run.json says it: a run from before there was a choice goes on without.
        which = str(chosen.facts["params"].get("corrected", "none"))
        yield from make_confident(project, chosen, source, stems, params, threads, which)
    fabric.barrier()
    return labels


def _run(project: Project, job: Train, facts: dict[str, Any], fabric: Fabric) -> Run:
    """Return the run to write to: a new one, or the one to go on with."""
    if not fabric.is_global_zero:
        fabric.barrier()  # rank 0 makes the folder
        return run_of(project.root, fabric.broadcast("", src=0))
    found = _resumed(project, job) if job.resume else new_run(project.root, job.run, job.method, facts)
    if fabric.world_size > 1:
        fabric.barrier()
        fabric.broadcast(found.id, src=0)
    return found


def _resumed(project: Project, job: Train) -> Run:
    if job.run is None:
        raise UserError(
            "--resume needs the run to go on with.", "", "Add --run ID; `wsss status` lists the runs."
        )
    found = run_of(project.root, job.run)
    if found.status == RUNNING:
        raise UserError(f"The run {found.id} is running.", "A run that was stopped or killed can go on.")
    if found.method != job.method:
        raise UserError(
            f"The run {found.id} was trained with {found.method}.",
            "",
            f"Resume it with `wsss train {found.method}`.",
        )
    if project.current_names(found.facts.get("classes", [])) != list(project.classes):
        raise UserError(
            f"The project's classes changed since the run {found.id} began.",
            f"It knows: {', '.join(found.facts.get('classes', []))}.",
            "Train a new run.",
        )
    digests = found.facts["digests"]
    stems = tuple(digests["stems"])
    missing = [s for s in (*stems, *found.facts["held"]) if s not in project.usable]
    if missing or digests["tags"] != tag_digest(project, stems):
        raise UserError(
            f"The images or tags changed since the run {found.id} began"
            + (f" ({missing[0]} is no longer in use)." if missing else "."),
            "A run goes on with exactly what it began with, or its figures would mean nothing.",
            "Train a new run.",
        )
    cls = method_class(found.method)
    host = HostMaps.of(project, cls(parse(cls.Params, found.facts["params"])).host())
    if host is not None and host.facts() != {name: digests.get(name) for name in host.facts()}:
        raise UserError(
            f"The maps {host.source} were drawn anew since the run {found.id} began.",
            "A run goes on with exactly what it began with, or its figures would mean nothing.",
            "Train a new run.",
        )
    # Runs from before people's masks were learnt from have learnt from none.
    begun_with = digests.get("corrected", {})
    if begun_with != corrections(project, found.facts["params"].get("corrected", "none"), stems):
        raise UserError(
            f"Masks that people corrected changed since the run {found.id} began.",
            "A run goes on with exactly what it began with, or its figures would mean nothing.",
            "Train a new run.",
        )
    return found


def _held(
    project: Project, stems: tuple[str, ...], plan: Plan, job: Train
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return (images to measure on, images to learn from)."""
    known = {
        s for s, row in zip(project.usable, project.tags().states, strict=True) if (row != UNKNOWN).any()
    }
    val = tuple(s for s in project.splits.get("val", ()) if s in known)
    if plan.holdout and val and job.split != "val" and not set(val) & set(stems):
        return val, stems
    count = round(len(stems) * plan.holdout) if len(stems) >= 20 else 0
    if not count:
        return (), stems
    mixed = np.random.default_rng(seed_of(job.seed, "held")).permutation(len(stems))
    chosen = {stems[i] for i in mixed[:count]}
    return tuple(s for s in stems if s in chosen and s in known), tuple(s for s in stems if s not in chosen)


def _plan(
    chosen: Run,
    project: Project,
    net: torch.nn.Module,
    stems: tuple[str, ...],
    method: Method[Any, Any],
    device: torch.device,
) -> Plan:
    longest = max(max(project.images[s].height, project.images[s].width) for s in stems)
    prep = net.backbone.prep
    asked = Plan(**chosen.facts["plan"])
    asked = dataclasses.replace(asked, precision=precision(device, asked.precision))
    return settle(
        asked,
        images=len(stems),
        pretrained=bool(getattr(method.params, "pretrained", False)),
        transformer=net.backbone.kind == "vit",
        side_multiple=max(prep.side_multiple, net.backbone.stride),
        side_offset=prep.side_offset,
        longest=longest,
    )


def _words(
    chosen: Run, plan: Plan, net: torch.nn.Module, stems: tuple[str, ...], held: tuple[str, ...]
) -> str:
    learning = sum(p.numel() for p in net.parameters() if p.requires_grad)
    every = sum(p.numel() for p in net.parameters())
    measured = f"measured on {len(held)}" if held else "measured on themselves"
    return (
        f"Run {chosen.id}: {len(stems)} images ({measured}), {plan.epochs} epochs of batches of {plan.batch} "
        f"at {plan.crop} px, {learning / 1e6:.2f} of {every / 1e6:.2f} million parameters learn."
    )


def _versions() -> dict[str, str]:
    names = ("wsss-napari", "torch", "torchvision", "timm", "numpy")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed as a package"
    return found
