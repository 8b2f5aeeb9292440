"""Seed quality over the values of one parameter of the climb."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from engine.class_maps import Shot
from engine.climb_settings import ClimbSettings
from engine.messages import Event
from engine.params import as_settings, describe, parse
from engine.results import Figure, Panel, Series
from engine.studies._climbs import grown, reckoned, wanted
from engine.studies._seeds import Seeds
from engine.studies._subject import Subject, each_image, figure

__all__ = ["sweep"]


def sweep(subject: Subject, parameter: str, label: str, expects: str) -> Generator[Event, None, Figure]:
    """Climb every image with each of `subject.own.values` for a parameter, all others as they are.

    Args:
        subject: What is looked at; its own settings hold `values`.
        parameter: Name of a field of `ClimbSettings`.
        label: What stands at the axis.
        expects: What the paper found.

    Raises:
        UserError: A value is out of the parameter's limits.
    """
    settings = subject.climbing
    field = next(f for f in describe(ClimbSettings) if f.name == parameter)
    values = [float(v) for v in sorted(set(subject.own.values))]
    # The parameter's own limits hold for each value.
    tried = [parse(ClimbSettings, {**as_settings(settings), parameter: v}) for v in values]
    seeds = Seeds(subject.project, settings, ["CAM", *map(str, values)])
    last = reckoned(settings)

    def look(shot: Shot) -> None:
        classes = wanted(subject, shot)
        for value, climbing in zip(values, tried, strict=True):
            (heat,) = grown(subject, shot, classes, climbing)
            if value == values[0]:
                seeds.add("CAM", shot, classes, heat[0])
            seeds.add(str(value), shot, classes, heat[last])

    images = yield from each_image(subject, look)
    cam = seeds.report("CAM")
    reports = [seeds.report(str(v)) for v in values]
    best = max(range(len(values)), key=lambda k: reports[k]["miou"])
    rows: dict[str, list[Any]] = {parameter: list(values)}
    for m in ("miou", "threshold", "precision", "recall", "f1_of_means", "mean_of_f1", "noise"):
        rows[m] = [r[m] for r in reports]
    ends = (values[0], values[-1])
    panel = Panel(
        title=f"Seed quality over {parameter}",
        kind="lines",
        x_label=label,
        y_label="mIoU of the seed, %",
        series=(
            Series("AdvCAM", tuple(values), tuple(100 * r["miou"] for r in reports)),
            Series("CAM", ends, (100 * cam["miou"],) * 2),
        ),
        marks=((values[best], 100 * reports[best]["miou"], f"{values[best]:g}"),),
    )
    return figure(
        subject,
        f"mIoU of the seed after {last} steps for each value of {parameter} ({field.doc.rstrip('.')}), all other "
        f"settings as they are, with the threshold that is best for each (chosen with the truth).",
        [panel],
        rows,
        images,
        {
            "cam_miou": cam["miou"],
            "best_value": values[best],
            "best_miou": reports[best]["miou"],
            "range_miou": max(r["miou"] for r in reports) - min(r["miou"] for r in reports),
        },
        expects,
    )
