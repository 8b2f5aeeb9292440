"""Multi-scale, flipped CAMs of a split from file to file, against the network's bare forward passes.

Ours is the whole inference job: reading and resizing the photographs, three scales and their
mirror images, maps fused on the grid, stacks on disk. The reference is nothing but the
backbone on tensors of the very same shapes, ready in memory; a ratio of 1 / 1.3 = 0.77 is
the bar. `max_difference` is against IRN's formulation, image by image and scale by scale
with torch's own interpolation.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from engine.atomic import write_text
from engine.bench._versus import alternate, numbers, resident
from engine.errors import UserError
from engine.messages import Failed, Finished, Infer, Job, New, Train
from engine.nets.input import resized
from engine.results import CamStack, enlarge
from engine.run import run
from engine.store import open_project, source_of

__all__ = ["bench"]

_SIZE = (375, 500)  # (H, W) px of a VOC photograph
_IMAGES = 4
_CLASSES = ("first", "second")
_SCALES = (1.0, 0.5, 1.5)
# The plain formulation interpolates as the released codes do.
_SETTINGS = {"scales": _SCALES, "flip": True, "alignment": "official"}


def bench(rounds: int) -> dict[str, Any]:
    """Draw the CAMs of four VOC-sized images with a MobileNet V2, and run its backbone alone."""
    with tempfile.TemporaryDirectory(prefix="wsss-bench-") as folder:
        return _bench(Path(folder), rounds)


def _bench(folder: Path, rounds: int) -> dict[str, Any]:
    place = _prepared(folder)
    warm: dict[str, Any] = {}
    names = (f"round{n}" for n in itertools.count())

    def ours() -> str:
        # A new name each time: what is drawn already would be kept, and nothing measured.
        job = Infer(
            project=place, run="cam", views=next(names), settings=_SETTINGS, threads=torch.get_num_threads()
        )
        return str(_done(job, warm)["views"])

    ours()  # loads the network
    backbone = warm["net"].backbone
    with _watched(backbone) as shapes:
        views = ours()
    inputs = [torch.rand(s).contiguous(memory_format=torch.channels_last) for s in shapes]

    def reference() -> None:
        with torch.no_grad():
            for images in inputs:
                backbone(images)

    difference = _difference(place, views, warm["net"])
    peaks = resident(ours), resident(reference)
    return numbers(alternate(ours, reference, rounds), peaks, difference, images=_IMAGES, passes=len(inputs))


def _prepared(folder: Path) -> str:
    """Make a project of smooth noise with an untrained MobileNet V2 as its run; return its path."""
    random = np.random.default_rng(0)
    (folder / "images").mkdir()
    lines = ["image,tags"]
    for n in range(_IMAGES):
        cells = random.random((3, 24, 32)).astype(np.float32)
        pixels = (255 * enlarge(cells, _SIZE, 16.0, 7.5)).astype(np.uint8).transpose(1, 2, 0)
        Image.fromarray(pixels).save(folder / "images" / f"image{n}.jpg", quality=90)
        lines.append(f"image{n},{_CLASSES[n % 2]}")
    write_text(folder / "tags.csv", "\n".join(lines) + "\n")
    place = str(folder / "project")
    _done(New(project=place, images=str(folder / "images"), tags=str(folder / "tags.csv")))
    settings = {"backbone": "mobilenet_v2", "pretrained": "false", "norm": "trained"}
    _done(Train(project=place, method="cam", run="cam", epochs=1, batch=4, crop=64, settings=settings))
    return place


def _done(job: Job, warm: dict[str, Any] | None = None) -> dict[str, Any]:
    for event in run(job, warm=warm):
        match event:
            case Finished():
                return event.result
            case Failed(mistake=True):
                raise UserError(event.message, event.hint)
            case Failed():
                raise RuntimeError(f"{event.message}\n{event.trace}")
    raise RuntimeError(f"{job.VERB} was stopped")


@contextlib.contextmanager
def _watched(net: torch.nn.Module) -> Iterator[list[torch.Size]]:
    """Yield a list that takes the shapes that a network is given while the block runs."""
    shapes: list[torch.Size] = []
    hook = net.register_forward_pre_hook(lambda _, given: shapes.append(given[0].shape))
    try:
        yield shapes
    finally:
        hook.remove()


def _difference(place: str, views: str, net: Any) -> float:
    """Return the largest difference of any stored cell to the plain formulation."""
    project = open_project(place)
    source = source_of(project.root, views)
    largest = 0.0
    for stem in source.stems():
        stack = CamStack.load(source.path(stem))
        plain = _plain(torch.from_numpy(project.read(stem).pixels), stack, net)
        largest = max(largest, float(np.abs(stack.maps.astype(np.float32) - plain.numpy()).max()))
    return largest


def _plain(pixels: Tensor, stack: CamStack, net: Any) -> Tensor:
    """Return [K, h, w] float32 as IRN's make_cam computes it: pass by pass, interpolated, added up."""
    total = torch.zeros(stack.maps.shape)
    weights = net.weight_of(list(stack.classes))
    with torch.no_grad():
        for scale, mirrored in itertools.product(_SCALES, (False, True)):
            size = [max(1, round(side * scale)) for side in stack.size]
            images = net.backbone.prep.normalise(
                resized(pixels.permute(2, 0, 1)[None], (size[0], size[1])).float() / 255
            )
            features = net.backbone(images.flip(3) if mirrored else images)  # [1, D, h, w]
            maps = functional.conv2d(features, weights[:, :, None, None]).relu()  # [1, K, h, w]
            maps = maps.flip(3) if mirrored else maps
            total += functional.interpolate(maps, total.shape[1:], mode="bilinear", align_corners=False)[0]
    peaks = total.amax((1, 2), keepdim=True)
    return total / (peaks + 1e-5)  # [K, h, w]
