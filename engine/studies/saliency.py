"""Figure 4: which pixels the score of a class hangs on, at several steps of a climb."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from engine.class_maps import Shot
from engine.errors import UserError
from engine.messages import Event
from engine.params import Spec
from engine.results import Figure, Panel
from engine.store import Project
from engine.studies._climbs import climbed, wanted
from engine.studies._subject import (
    Subject,
    each_image,
    figure,
    named_class,
    named_image,
    nothing_climbed,
    tagged,
)

__all__ = ["Settings", "choose", "concentration", "run"]

TITLE = "Saliency by step"
SENTENCE = "Shows which pixels the score of a class hangs on, at several steps of a climb."
SOURCE = "figure 4"
NEEDS_TRUTH = False
COUNT = 1
CLIMBS = 1
DEFAULTS: dict[str, Any] = {"steps": 20}

_TENTH = 0.1


@dataclass(frozen=True)
class Settings:
    """What is drawn."""

    image: Annotated[
        str, Spec("The image, named without extension; empty: chosen from the split.", main=True)
    ] = ""
    cls: Annotated[str, Spec("Name of the class that is climbed; empty: the image's first.", main=True)] = ""
    at: Annotated[
        tuple[int, ...], Spec("Steps that are drawn, as far as the climb goes.", low=0, unit="steps")
    ] = (
        0,
        5,
        10,
        20,
    )
    side: Annotated[
        int,
        Spec(
            "Longer side of the drawn grids; a cell shows the strongest of its pixels.",
            low=8,
            high=512,
            unit="cells",
        ),
    ] = 128


def choose(project: Project, stems: Sequence[str], own: Settings) -> list[str]:
    """Return the images with a tag, or the one that is named."""
    if own.cls:
        cls = named_class(project, own.cls)
        tags = project.tags()
        stems = [s for s in stems if tags.row(s)[cls] == 1]
    return named_image(project, own.image, tagged(project, stems))


def concentration(saliency: NDArray[np.float32]) -> float:
    """Return the share of all saliency that lies on the most salient tenth of the pixels (0.1 when even)."""
    values = np.sort(saliency.reshape(-1).astype(np.float64))[::-1]
    total = float(values.sum())
    return float(values[: max(1, round(_TENTH * values.size))].sum()) / total if total else 0.0


def run(subject: Subject) -> Generator[Event, None, Figure]:
    """Climb one class of the first image and keep the gradient of its score at the steps asked for."""
    own = subject.own
    # The gradient at the last step drawn is all that is needed: nothing is climbed beyond it.
    at = sorted({t for t in own.at if t <= subject.climbing.steps})
    if not at:
        raise UserError(
            f"at = {','.join(map(str, own.at))} lies beyond the {subject.climbing.steps} steps of the climb.",
            "Steps from 0 to the last one.",
            "Raise steps, or name earlier steps.",
        )
    settings = replace(subject.climbing, steps=at[-1])
    panels: list[Panel] = []
    rows: dict[str, list[Any]] = {"step": [], "score": [], "on_strongest_tenth": []}
    name = ""

    def look(shot: Shot) -> None:
        nonlocal name
        classes = [named_class(subject.project, own.cls)] if own.cls else wanted(subject, shot)[:1]
        if not classes:
            return
        name = subject.project.classes[classes[0]]
        grey = shot.pixels.astype(np.float32).mean(2) / 255
        panels.append(_panel(f"{shot.stem}, grey", grey, own.side))
        scale = min(settings.scales, key=lambda s: abs(s - 1))
        for step in climbed(subject, shot, classes, settings, scale=scale, want_saliency=True):
            if step.t in at:
                assert step.saliency is not None
                found = step.saliency()[0].cpu().numpy()
                panels.append(_panel(f"t = {step.t}", found, own.side))
                rows["step"].append(step.t)
                rows["score"].append(float(step.scores[0, classes[0]]))
                rows["on_strongest_tenth"].append(concentration(found))

    images = yield from each_image(subject, look, subject.stems[:1])
    if not panels:
        raise nothing_climbed()
    return figure(
        subject,
        f"Gradient of the score of {name} with respect to the picture at step t, |dy/dx|, the greatest of the colour "
        f"channels, divided by its maximum. A cell shows the strongest of its pixels, {own.side} cells along the "
        "longer side. The table tells the score and the share of all saliency on the strongest tenth of the pixels.",
        panels,
        rows,
        images,
        {
            "class": name,
            "score_first": rows["score"][0],
            "score_last": rows["score"][-1],
            "concentration_first": rows["on_strongest_tenth"][0],
            "concentration_last": rows["on_strongest_tenth"][-1],
        },
        "the gradient is noisy at first and shows the object more clearly the further the climb goes.",
    )


def _panel(title: str, values: NDArray[np.float32], side: int) -> Panel:
    height, width = values.shape
    cells = torch.from_numpy(np.ascontiguousarray(values))[None, None]
    if max(height, width) > side:
        size = (
            max(1, round(height * side / max(height, width))),
            max(1, round(width * side / max(height, width))),
        )
        cells = F.adaptive_max_pool2d(cells, size)
    return Panel(
        title=title,
        kind="grid",
        x_label="px",
        y_label="px from below",
        # Four digits are more than an eye sees, and a quarter of the file.
        grid=tuple(tuple(round(v, 4) for v in row) for row in cells[0, 0].flip(0).tolist()),
        extent=(0.0, float(width), 0.0, float(height)),
    )
