"""Climbs of the classes of one image, for studies that look at every step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine import maps
from engine.class_maps import Shot, wanted_classes
from engine.climb import Step, background_of, climb
from engine.climb_settings import ClimbSettings, steps_at, weight_of
from engine.methods.advcam import on_grid, scaled
from engine.nets.classifier import Classifier
from engine.saliency import read_salient
from engine.studies._subject import Subject
from engine.work import Halted

__all__ = [
    "at_once",
    "climbed",
    "grown",
    "parts_of",
    "picture_of",
    "reckoned",
    "unregularised",
    "wanted",
]

# Pixels of one batch, pictures and mirror images together, with a backward pass and without.
_PIXELS = {"cpu": 400_000, "cuda": 8_000_000}
_LOOKED_AT = {"cpu": 800_000, "cuda": 32_000_000}


def unregularised(settings: ClimbSettings) -> ClimbSettings:
    """Return the settings of eq. 3: neither other classes nor the map are held back."""
    return replace(settings, lam=0.0, others=0.0, saliency="", background_below=0.0)


def picture_of(subject: Subject, shot: Shot, scale: float = 1.0) -> Tensor:
    """Return the picture x^0 of an image, [1, 3, h, w] float32, normalised, on the network's device."""
    device = next(subject.net.parameters()).device
    pixels = torch.from_numpy(np.ascontiguousarray(shot.pixels)).to(device).permute(2, 0, 1)[None]
    return scaled(subject.net, pixels, scale)


@torch.no_grad()
def at_once(net: Classifier, pixels: int) -> int:
    """Return how many pictures of so many pixels are looked at together, without a backward pass."""
    device = next(net.parameters()).device.type
    return max(1, _LOOKED_AT.get(device, _LOOKED_AT["cpu"]) // max(1, pixels))


def wanted(subject: Subject, shot: Shot) -> list[int]:
    """Return the 0-based classes of an image that the settings climb."""
    settings = subject.climbing
    if settings.classes == "present":
        return wanted_classes(shot.tags, torch.zeros(0), settings)
    picture = picture_of(subject, shot)
    sides = [picture, picture.flip(-1)] if settings.flip else [picture]
    scores = torch.stack([subject.net.scores(subject.net.features(side)) for side in sides]).mean(0)
    return wanted_classes(shot.tags, subject.method.probabilities(scores)[0], settings)


def parts_of(subject: Subject, shot: Shot, classes: Sequence[int], scale: float = 1.0) -> Iterator[list[int]]:
    """Yield the classes in parts that fit into memory together."""
    device = next(subject.net.parameters()).device.type
    pixels = shot.pixels.shape[0] * shot.pixels.shape[1] * scale**2 * (2 if subject.climbing.flip else 1)
    count = max(1, int(_PIXELS.get(device, _PIXELS["cpu"]) // max(1, pixels)))
    for first in range(0, len(classes), count):
        yield list(classes[first : first + count])


def climbed(
    subject: Subject,
    shot: Shot,
    classes: Sequence[int],
    settings: ClimbSettings,
    *,
    scale: float = 1.0,
    want_saliency: bool = False,
) -> Iterator[Step]:
    """Yield the steps of some classes of an image, climbed together.

    Raises:
        Halted: The study was asked to stop.
    """
    net = subject.net
    picture = picture_of(subject, shot, scale)  # [1, 3, h, w]
    background = _background(subject, shot, settings, (int(picture.shape[2]), int(picture.shape[3])))
    for step in climb(
        net,
        picture.expand(len(classes), -1, -1, -1),
        torch.tensor(list(classes), device=picture.device),
        replace(settings, steps=steps_at(settings, scale)),
        background=None if background is None else background.to(picture.device).expand(len(classes), -1, -1),
        want_saliency=want_saliency,
    ):
        if subject.stop():
            raise Halted
        yield step


def grown(
    subject: Subject,
    shot: Shot,
    classes: Sequence[int],
    settings: ClimbSettings,
    kinds: Sequence[str] = (),
) -> list[NDArray[np.float32]]:
    """Return what the maps of one climb hold at each step, all scales added.

    Args:
        subject, shot, classes, settings: What is climbed and how.
        kinds: `sum` for R^0 + … + R^t, `last` for R^t alone; the settings' `aggregate` when empty.

    Returns:
        [T + 1, K, g, v] float32 >= 0 for each kind, not normalised, on the grid of the stored
        maps. A scale that is climbed in fewer steps stays at its last one. Step 0 is the CAM.
    """
    size = (int(shot.pixels.shape[0]), int(shot.pixels.shape[1]))
    kinds = kinds or (settings.aggregate,)
    shape = (settings.steps + 1, len(classes), *maps.grid_size(size, settings.cell))
    total = [np.zeros(shape, np.float32) for _ in kinds]
    for scale in settings.scales:
        first, share = 0, np.float32(weight_of(settings, scale))
        for part in parts_of(subject, shot, classes, scale):
            here = slice(first, first + len(part))
            row = [np.zeros(1, np.float32) for _ in kinds]
            last = 0
            for step in climbed(subject, shot, part, settings, scale=scale):
                picture = (int(step.x.shape[3]), int(step.x.shape[4]))
                now = on_grid(subject.net, step.parts, size, picture, settings).cpu().numpy() * share
                last = step.t
                row = [r + now if kind == "sum" else now for r, kind in zip(row, kinds, strict=True)]
                for array, r in zip(total, row, strict=True):
                    array[step.t, here] += r
            for array, r in zip(total, row, strict=True):
                array[last + 1 :, here] += r
            first = here.stop
    return total


def reckoned(settings: ClimbSettings) -> int:
    """Return the step whose sum is the final map A: the last, or the one before where the last is not counted."""
    return settings.steps if settings.count_last else max(0, settings.steps - 1)


def _background(
    subject: Subject, shot: Shot, settings: ClimbSettings, size: tuple[int, int]
) -> Tensor | None:
    """Return D of an image, [h, w] bool, or None where no saliency is known."""
    if not settings.saliency:
        return None
    notes: list[str] = []
    shape = (int(shot.pixels.shape[0]), int(shot.pixels.shape[1]))
    salient = read_salient(Path(settings.saliency), shot.stem, shape, notes)
    for note in notes:
        sentence = f"{shot.stem}: {note}."
        if sentence not in subject.notes:
            subject.notes.append(sentence)
    if salient is None:
        return None
    stride = int(subject.net.backbone.stride)
    return background_of(subject.net, salient, size, (-(-size[0] // stride), -(-size[1] // stride)))
