"""Figure 15: the attribution scores of all pixels in decreasing order, of the CAM and of the climbed map."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine import maps
from engine.class_maps import Shot
from engine.messages import Event
from engine.params import Spec
from engine.results import Figure, Panel, Series, enlarge
from engine.store import Project
from engine.studies._climbs import grown, reckoned, wanted
from engine.studies._subject import Subject, each_image, figure, named_image, nothing_climbed, tagged

__all__ = ["Settings", "choose", "run"]

TITLE = "Sorted attribution scores"
SENTENCE = (
    "Sorts the scores of all pixels of the CAM and of the climbed map, to show how far apart they drift."
)
SOURCE = "figure 15"
NEEDS_TRUTH = False
COUNT = 20
CLIMBS = 1
DEFAULTS: dict[str, Any] = {}

_POINTS = 201
# The share of the pixels whose scores the gap is measured between.
_TOP = 0.2


@dataclass(frozen=True)
class Settings:
    """Which image is drawn."""

    image: Annotated[str, Spec("One image, named without extension, instead of many.", main=True)] = ""


def choose(project: Project, stems: Sequence[str], own: Settings) -> list[str]:
    """Return the images with a tag, or the one that is named."""
    return named_image(project, own.image, tagged(project, stems))


def run(subject: Subject) -> Generator[Event, None, Figure]:
    """Sort each class map of each image, and take the mean curve and that of the first map."""
    curves: dict[str, list[NDArray[np.float64]]] = {"CAM": [], "AdvCAM": []}
    names: list[str] = []
    last = reckoned(subject.climbing)
    settings = subject.climbing
    origin = 0.0 if settings.alignment == "centred" else (settings.cell - 1) / 2

    def look(shot: Shot) -> None:
        classes = wanted(subject, shot)
        (heat,) = grown(subject, shot, classes, settings)
        size = (int(shot.pixels.shape[0]), int(shot.pixels.shape[1]))
        for name, t in (("CAM", 0), ("AdvCAM", last)):
            shares = maps.normalise(torch.from_numpy(heat[t]))[0].numpy()
            curves[name] += [decreasing(m) for m in enlarge(shares, size, float(settings.cell), origin)]
        names.extend(f"{subject.project.classes[c]} in {shot.stem}" for c in classes)

    images = yield from each_image(subject, look)
    if not names:
        raise nothing_climbed()
    share = np.linspace(0, 1, _POINTS)
    means = {name: np.mean(found, axis=0) for name, found in curves.items()}
    gaps = {name: float(c[share <= _TOP].mean() - c[share > _TOP].mean()) for name, c in means.items()}
    rows: dict[str, list[Any]] = {"share_of_pixels": share.tolist()}
    rows |= {f"mean {name}": c.tolist() for name, c in means.items()}
    rows |= {f"{name} {names[0]}": found[0].tolist() for name, found in curves.items()}

    def panel(title: str, drawn: dict[str, NDArray[np.float64]]) -> Panel:
        return Panel(
            title=title,
            kind="lines",
            x_label="share of the pixels, highest scores first",
            y_label="attribution score, share of the peak",
            series=tuple(Series(name, tuple(share.tolist()), tuple(c.tolist())) for name, c in drawn.items()),
        )

    return figure(
        subject,
        f"Scores of all pixels in decreasing order, each map divided by its peak: the mean over {len(names)} maps of "
        f"the classes of the images, and the first map alone.",
        [panel(f"Mean of {len(names)} maps", means), panel(names[0], {n: c[0] for n, c in curves.items()})],
        rows,
        images,
        {
            "maps": len(names),
            "gap_cam": gaps["CAM"],
            "gap_advcam": gaps["AdvCAM"],
            "area_over_half_cam": float(share[means["CAM"] >= 0.5].max(initial=0)),
            "area_over_half_advcam": float(share[means["AdvCAM"] >= 0.5].max(initial=0)),
        },
        "climbing widens the gap between highly activated regions and the rest.",
    )


def decreasing(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Return the scores in decreasing order, read at evenly spaced shares of them, [201] float64."""
    return np.quantile(np.asarray(scores, np.float64).reshape(-1), 1 - np.linspace(0, 1, _POINTS))
