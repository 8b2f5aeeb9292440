"""Figure 14 and table 13: what climbing gains for each class, from small objects to large ones."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from engine.class_maps import Shot
from engine.errors import UserError
from engine.messages import Event
from engine.metrics import Confusion
from engine.params import Spec
from engine.results import Figure, Panel, Series
from engine.studies._climbs import grown, reckoned, wanted
from engine.studies._seeds import Seeds
from engine.studies._subject import Subject, each_image, figure

__all__ = ["Settings", "run"]

TITLE = "Gain by class and object size"
SENTENCE = "Orders the classes by the size of their objects and shows what climbing gains for each."
SOURCE = "figure 14 and table 13"
NEEDS_TRUTH = True
COUNT = 500
CLIMBS = 1
DEFAULTS: dict[str, Any] = {}

_MEASURES = ("precision", "recall", "F1")


@dataclass(frozen=True)
class Settings:
    """What counts as small and as large."""

    group: Annotated[
        int,
        Spec(
            "How many classes of the smallest and of the largest objects are averaged; at most half of them.",
            low=1,
            unit="classes",
        ),
    ] = 10


def run(subject: Subject) -> Generator[Event, None, Figure]:
    """Measure the seeds of CAM and AdvCAM class by class, each at one threshold for all classes."""
    names = subject.project.classes
    seeds = Seeds(subject.project, subject.climbing, ("CAM", "AdvCAM"))
    last = reckoned(subject.climbing)
    area, count = np.zeros(len(names)), np.zeros(len(names), np.int64)

    def look(shot: Shot) -> None:
        classes = wanted(subject, shot)
        (heat,) = grown(subject, shot, classes, subject.climbing)
        seeds.add("CAM", shot, classes, heat[0])
        seeds.add("AdvCAM", shot, classes, heat[last])
        pixels = np.bincount(seeds.truth(shot.stem).reshape(-1), minlength=256)[1 : len(names) + 1]
        area[pixels > 0] += pixels[pixels > 0] / seeds.truth(shot.stem).size
        count[pixels > 0] += 1

    images = yield from each_image(subject, look)
    shown = np.flatnonzero(count)
    if len(shown) < 2:
        raise UserError(
            f"The truth of these images holds {len(shown)} class(es).",
            "At least two classes are ordered by size.",
            "Choose another split or a larger --count.",
        )
    size = area[shown] / count[shown]
    order = shown[np.argsort(size, kind="stable")]
    cam, adv = (_by_class(seeds.best(name)) for name in ("CAM", "AdvCAM"))
    gain = 100 * (adv["IoU"] - cam["IoU"])[order]
    group = min(subject.own.group, len(order) // 2)
    groups = {"all": order, f"smallest {group}": order[:group], f"largest {group}": order[-group:]}
    rows: dict[str, list[Any]] = {
        "class": [names[c] for c in order],
        "mean_size": [float(area[c] / count[c]) for c in order],
        "images": [int(count[c]) for c in order],
        "gain_iou_points": gain.tolist(),
    }
    for kind, found in (("CAM", cam), ("AdvCAM", adv)):
        for m in ("IoU", *_MEASURES):
            rows[f"{m} {kind}"] = found[m][order].tolist()
    tables = {
        f"{which} {kind}": {m: float(found[m][members].mean()) for m in _MEASURES}
        for which, members in groups.items()
        for kind, found in (("CAM", cam), ("AdvCAM", adv))
    }
    headline: dict[str, Any] = {"classes_gained": int((gain > 0).sum()), "classes": len(order)}
    for name, values in tables.items():
        headline |= {f"{m}_{name}".replace(" ", "_").lower(): v for m, v in values.items()}
    places = tuple(map(float, range(len(order))))
    return figure(
        subject,
        "Left: IoU of AdvCAM's seed less that of the CAM's, class by class, ordered by the mean share of the image "
        f"that the class covers where it occurs. Right: precision, recall and F1 averaged over all classes, the "
        f"{group} with the smallest and the {group} with the largest objects, without the background; F1 is the mean "
        "of the classes' own F1. Each kind of seed has one threshold for all classes, the best for its mIoU (chosen "
        "with the truth).",
        [
            Panel(
                title="Gain by class",
                kind="bars",
                x_label="class, small objects to large",
                y_label="gain, points of IoU",
                categories=tuple(names[c] for c in order),
                series=(Series("AdvCAM - CAM", places, tuple(gain.tolist())),),
            ),
            Panel(
                title="Small and large objects",
                kind="bars",
                x_label="measure",
                y_label="%",
                categories=_MEASURES,
                series=tuple(
                    Series(name, (0.0, 1.0, 2.0), tuple(100 * v for v in values.values()))
                    for name, values in tables.items()
                ),
            ),
        ],
        rows,
        images,
        headline,
        "most classes gain whatever the size of their objects; small objects gain precision and lose a little "
        "recall (F1 19.2 to 27.2 for the smallest ten), large ones gain recall (F1 63.5 to 66.7 for the largest ten).",
    )


def _by_class(confusion: Confusion) -> dict[str, NDArray[np.float64]]:
    """Return IoU, precision, recall and F1 of each class without the background, [C] in [0, 1]; 0 where undefined."""
    counts = confusion.counts.astype(np.float64)
    hits, predicted, truth = counts.diagonal()[1:], counts.sum(0)[1:], counts.sum(1)[1:]
    return {
        "IoU": hits / np.maximum(predicted + truth - hits, 1),
        "precision": hits / np.maximum(predicted, 1),
        "recall": hits / np.maximum(truth, 1),
        "F1": 2 * hits / np.maximum(predicted + truth, 1),
    }
