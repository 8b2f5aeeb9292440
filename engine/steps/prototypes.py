"""Keep one pass of a network with a support bank over images, for the prototype explorer."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import torch

from engine.errors import UserError
from engine.messages import Event, Progress, Prototypes, Said, Viewed
from engine.methods.cpal import Cpal
from engine.nets.input import over_cells
from engine.nets.prototype_net import PrototypeNet
from engine.pace import Pace
from engine.results import CamStack, PrototypeView
from engine.steps.infer import load_network
from engine.steps.seeds import HostMaps
from engine.store import (
    Project,
    Run,
    digest_of,
    file_digest,
    maps_digest,
    open_project,
    read_pixels,
    run_of,
)
from engine.train.fabric import start_fabric
from engine.work import Halted, Work

__all__ = ["run"]

_VERSION = 1


def run(job: Prototypes, desk: Work) -> Generator[Event, None, dict[str, Any]]:
    """Pass over the images at scale 1 and keep maps of all classes and embeddings; what is there stays.

    Returns:
        `run`, `images` (how many have them now), `views` (their folder), `passed_over`.

    Raises:
        UserError: The run keeps no support bank, or is not trained yet.
    """
    project = open_project(job.project)
    chosen = run_of(project.root, job.run)
    fabric = start_fabric(job)
    method, net = load_network(project, chosen, desk, fabric.device)
    if not isinstance(method, Cpal) or not isinstance(net, PrototypeNet):
        raise UserError(
            f"The run {chosen.id} ({chosen.method}) keeps no support bank.",
            "Prototypes are looked at in runs of `cpal`.",
            "Train one: `wsss train cpal`.",
        )
    stems = project.stems(job.split, job.images)
    views = chosen.views(job.views)
    weights = file_digest(chosen.weights)
    host = HostMaps.of(project, method.host())
    pace = Pace(len(stems))
    aside: list[str] = []
    yield Progress(done=0, total=len(stems), phase="images")
    for done, stem in enumerate(stems, start=1):
        if desk.stop():
            raise Halted
        path = views.path(stem, PrototypeView.KIND)
        try:
            given = None if host is None else host.read(stem)
            of_maps = [] if host is None or given is None else [maps_digest(host.source, stem, given)]
            digest = digest_of([_VERSION, weights, project.image(stem).sha256, *of_maps])
            there = _is_there(project, chosen, job.views, stem, digest)
            pixels = None if there else read_pixels(project, stem)
        except UserError as error:
            aside.append(stem)
            yield Said(text=f"{stem} was passed over: {error.found}", level="warning")
            continue
        if pixels is not None:
            seen = _seen(method, net, stem, pixels, given, fabric.device)
            seen.facts.update(digest=digest, run=chosen.id, params=chosen.facts["params"])
            seen.save(path)
        yield Viewed(image=stem, kind=PrototypeView.KIND, path=path.relative_to(project.root).as_posix())
        yield Progress(done=done, total=len(stems), seconds_left=pace.left(done), phase="images")
    return {
        "run": chosen.id,
        "images": len(stems) - len(aside),
        "views": str(views),
        "passed_over": aside,
    }


def _is_there(project: Project, chosen: Run, views: str, stem: str, digest: str) -> bool:
    try:
        found = PrototypeView.load(chosen.views(views).path(stem, PrototypeView.KIND))
    except (FileNotFoundError, UserError):
        return False
    return found.facts.get("digest") == digest


@torch.no_grad()
def _seen(
    method: Cpal, net: PrototypeNet, stem: str, pixels: Any, given: CamStack | None, device: torch.device
) -> PrototypeView:
    picture = torch.from_numpy(pixels).to(device).permute(2, 0, 1)[None].float() / 255  # [1, 3, H, W]
    features, z = net.both(net.backbone.prep.normalise(picture))
    if given is None:
        found = net.maps(features).relu()[0]  # [C, h, w]
        # The same small number as the method's own division, so that a flat map stays flat.
        found = found / (found.amax((1, 2), keepdim=True) + 1e-5)
    else:
        found = over_cells(
            torch.from_numpy(given.full())[None], net.backbone.stride, net.backbone.cell_centre
        )[0]
    return PrototypeView(
        image=stem,
        size=(int(pixels.shape[0]), int(pixels.shape[1])),
        classes=tuple(range(found.shape[0])) if given is None else given.classes,
        maps=found.cpu().numpy().astype(np.float16),
        features=z[0].float().cpu().numpy(),
        cell=float(net.backbone.stride),
        origin=float(net.backbone.cell_centre),
        scores=method.probabilities(net.scores(features))[0].cpu().numpy().astype(np.float32),
    )
