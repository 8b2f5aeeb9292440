"""Final maps of several designs, each measured at its best threshold, as bars."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from engine.class_maps import Shot
from engine.messages import Event
from engine.results import Panel, Series
from engine.studies._climbs import grown, wanted
from engine.studies._seeds import Seeds
from engine.studies._subject import Subject, each_image

__all__ = ["MEASURES", "Designs", "bars", "measure"]

MEASURES = {
    "miou": "mIoU",
    "precision": "precision",
    "recall": "recall",
    "f1_of_means": "F1 of the means",
    "mean_of_f1": "mean of F1",
    "noise": "noise",
}
# Name -> `sum` of the maps up to a step or the `last` of them alone, and the step.
Designs = Mapping[str, tuple[str, int]]


def measure(
    subject: Subject, designs: Designs
) -> Generator[Event, None, tuple[dict[str, dict[str, Any]], Seeds, list[str]]]:
    """Climb every image once; return the report of each design, the seeds behind them, and the images."""
    seeds = Seeds(subject.project, subject.climbing, designs)

    def look(shot: Shot) -> None:
        classes = wanted(subject, shot)
        kinds = sorted({kind for kind, _ in designs.values()})
        heat = dict(zip(kinds, grown(subject, shot, classes, subject.climbing, kinds), strict=True))
        for name, (kind, t) in designs.items():
            seeds.add(name, shot, classes, heat[kind][t])

    images = yield from each_image(subject, look)
    return {name: seeds.report(name) for name in designs}, seeds, images


def bars(
    reports: Mapping[str, Mapping[str, Any]], measures: list[str], title: str
) -> tuple[Panel, dict[str, list[Any]]]:
    """Return a panel with a group of bars a measure, and the table behind it (shares in [0, 1])."""
    panel = Panel(
        title=title,
        kind="bars",
        x_label="measure",
        y_label="%",
        categories=tuple(MEASURES[m] for m in measures),
        series=tuple(
            Series(
                name, tuple(map(float, range(len(measures)))), tuple(100 * (r[m] or 0.0) for m in measures)
            )
            for name, r in reports.items()
        ),
    )
    rows: dict[str, list[Any]] = {"design": list(reports)}
    for m in (*measures, "threshold"):
        rows[m] = [r[m] for r in reports.values()]
    return panel, rows
