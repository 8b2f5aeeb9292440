"""Figure 2: how much the map grows where it tells most and where it tells less, with and without regularisation."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from engine.class_maps import Shot
from engine.errors import UserError
from engine.messages import Event
from engine.params import Spec
from engine.results import Figure, Panel, Series
from engine.store import Project
from engine.studies._climbs import climbed, parts_of, unregularised, wanted
from engine.studies._subject import Subject, each_image, figure, tagged

__all__ = ["Settings", "choose", "growth", "run"]

TITLE = "Pixel amplification ratio"
SENTENCE = "Shows how much more climbing amplifies the non-discriminative regions of the map than the discriminative ones."
SOURCE = "figure 2"
NEEDS_TRUTH = False
COUNT = 100
CLIMBS = 2
# The figure is about the mask M: high cells are held and no background. A lambda of 5 over means is about
# the paper's 7 over sums (methods_cam 2.3-4).
DEFAULTS: dict[str, Any] = {"steps": 20, "lam": 5.0, "tau": 0.5, "background_below": 0.0}

_REGIONS = ("discriminative", "non-discriminative")
_BINS = 40


@dataclass(frozen=True)
class Settings:
    """Where the regions end, as shares of the peak of the first map."""

    high: Annotated[
        float, Spec("From this share of its peak on the CAM is discriminative.", low=0, high=1)
    ] = 0.5
    low: Annotated[
        float,
        Spec(
            "Above this share, and below the other, it is non-discriminative; less is background.",
            low=0,
            high=1,
        ),
    ] = 0.1

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise UserError(
                f"low = {self.low:g} is not below high = {self.high:g}.",
                "The non-discriminative region lies between them.",
                "The paper takes low = 0.1 and high = 0.5.",
            )


def choose(project: Project, stems: Sequence[str], own: Settings) -> list[str]:
    """Return the images with a tag."""
    return tagged(project, stems)


def growth(
    now: NDArray[np.float32], start: NDArray[np.float32], low: float, high: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return CAM(x^t)_i / CAM(x^0)_i over the cells of R_D and over those of R_ND.

    Args:
        now, start: [h, w] float32 >= 0, CAM(x^t) and CAM(x^0), neither normalised: the growing
            peak would hide the growth.
        low, high: R_D = {start >= high * peak}, R_ND = {low * peak < start < high * peak}.
    """
    share = start / max(float(start.max()), 1e-12)
    high_cells, low_cells = share >= high, (share > low) & (share < high)
    return now[high_cells] / start[high_cells], now[low_cells] / start[low_cells]


def run(subject: Subject) -> Generator[Event, None, Figure]:
    """Climb with and without regularisation and gather the ratios of all cells."""
    own, settings = subject.own, subject.climbing
    arms = {"regularised": settings, "not regularised": unregularised(settings)}
    steps = range(settings.steps + 1)
    ratios: dict[tuple[str, str], list[list[NDArray[np.float32]]]] = {
        (arm, region): [[] for _ in steps] for arm in arms for region in _REGIONS
    }

    def look(shot: Shot) -> None:
        scale = min(settings.scales, key=lambda s: abs(s - 1))
        for part in parts_of(subject, shot, wanted(subject, shot), scale):
            for arm, how in arms.items():
                start: NDArray[np.float32] | None = None
                for step in climbed(subject, shot, part, how, scale=scale):
                    now = step.maps.cpu().numpy()  # [K, h, w]
                    start = now if start is None else start
                    for cells, first in zip(now, start, strict=True):
                        if not first.any():
                            continue  # no evidence, nothing to grow
                        for region, found in zip(
                            _REGIONS, growth(cells, first, own.low, own.high), strict=True
                        ):
                            ratios[arm, region][step.t].append(found)

    images = yield from each_image(subject, look)
    joined = {key: [np.concatenate(r) if r else np.zeros(0) for r in found] for key, found in ratios.items()}
    # Scales that are climbed in fewer steps say nothing of the later ones.
    told = [t for t in steps if all(len(found[t]) for found in joined.values())]
    if not told:
        raise UserError(
            "The maps of these images have no cells of both regions.",
            "Images whose classes the network sees.",
            "Choose another split, a larger --count, or another run.",
        )
    quartiles = {
        key: np.stack([np.quantile(found[t], (0.25, 0.5, 0.75)) for t in told], 1)  # [3, T + 1]
        for key, found in joined.items()
    }
    rows: dict[str, list[Any]] = {"step": told}
    for (arm, region), q in quartiles.items():
        rows |= {f"{word} {region} {arm}": q[k].tolist() for k, word in enumerate(("q25", "median", "q75"))}
    headline: dict[str, Any] = {
        "cells": sum(len(found[told[0]]) for (arm, _), found in joined.items() if arm == "regularised")
    }
    for arm in arms:
        d, nd = (float(quartiles[arm, region][1, -1]) for region in _REGIONS)
        word = arm.replace(" ", "_")
        headline |= {f"median_d_{word}": d, f"median_nd_{word}": nd, f"nd_over_d_{word}": nd / max(d, 1e-12)}
    return figure(
        subject,
        f"Ratio CAM(x^t) / CAM(x^0) of single cells, maps not normalised: in the discriminative region (the CAM is at "
        f"least {own.high:g} of its peak) and in the non-discriminative one ({own.low:g} to {own.high:g}). Lines: "
        f"median and quartiles over all cells of all images at each step; bars: the distribution after {told[-1]} "
        "steps. Without regularisation neither other classes nor the map are held back (eq. 3).",
        [
            *(_lines(f"Growth, {arm}", told, {r: quartiles[arm, r] for r in _REGIONS}) for arm in arms),
            *(
                _histogram(f"After {told[-1]} steps, {arm}", {r: joined[arm, r][told[-1]] for r in _REGIONS})
                for arm in arms
            ),
        ],
        rows,
        images,
        headline,
        "both regions grow without regularisation, the non-discriminative one more (by a factor below 2); with it the "
        "discriminative region stays about constant and the factor is 2.5 or more.",
    )


def _lines(title: str, steps: list[int], quartiles: dict[str, NDArray[np.float64]]) -> Panel:
    at = tuple(map(float, steps))
    return Panel(
        title=title,
        kind="lines",
        x_label="step t",
        y_label="amplification ratio",
        series=tuple(
            Series(f"{region}, {word}", at, tuple(row.tolist()))
            for region, q in quartiles.items()
            for word, row in zip(("lower quartile", "median", "upper quartile"), q, strict=True)
        ),
    )


def _histogram(title: str, values: dict[str, NDArray[Any]]) -> Panel:
    everything = np.concatenate(list(values.values()))
    # The last hundredth would stretch the axis; it is counted in the last bin.
    top = max(float(np.quantile(everything, 0.99)), 1e-6)
    edges = np.linspace(0, top, _BINS + 1)
    series = []
    for region, found in values.items():
        counts = np.histogram(np.minimum(found, top), edges)[0]
        series.append(Series(region, tuple(edges.tolist()), tuple((counts / counts.sum()).tolist())))
    return Panel(
        title=title,
        kind="histogram",
        x_label="amplification ratio",
        y_label="share of the cells",
        series=tuple(series),
    )
