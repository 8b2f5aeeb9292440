"""Table 11: the last map alone against the sum of all maps."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from engine.messages import Event
from engine.results import Figure
from engine.studies._climbs import reckoned
from engine.studies._designs import bars, measure
from engine.studies._seeds import F1_SENTENCE
from engine.studies._subject import Subject, figure

__all__ = ["run"]

TITLE = "Choice of the final map"
SENTENCE = "Compares the map of the last step alone with the sum of the maps of all steps."
SOURCE = "table 11"
NEEDS_TRUTH = True
COUNT = 200
CLIMBS = 1
DEFAULTS: dict[str, Any] = {}

_MEASURES = ["miou", "precision", "recall", "f1_of_means", "mean_of_f1", "noise"]


def run(subject: Subject) -> Generator[Event, None, Figure]:
    """Measure CAM(x^0), CAM(x^T) and the sum of all CAM(x^t)."""
    last = reckoned(subject.climbing)
    reports, _, images = yield from measure(
        subject,
        {"CAM(x^0)": ("last", 0), "CAM(x^T)": ("last", last), "sum of CAM(x^t)": ("sum", last)},
    )
    panel, rows = bars(reports, _MEASURES, "Final map")
    alone, added = reports["CAM(x^T)"], reports["sum of CAM(x^t)"]
    return figure(
        subject,
        f"The seed of the last map alone and of the sum of all maps at T = {last}, beside the CAM it starts from, "
        f"each at the threshold that is best for it (chosen with the truth). {F1_SENTENCE}",
        [panel],
        rows,
        images,
        {
            "miou_last": alone["miou"],
            "miou_sum": added["miou"],
            "precision_gain": added["precision"] - alone["precision"],
            "recall_gain": added["recall"] - alone["recall"],
        },
        "the sum holds far more precision at about the same recall (mIoU 55.6 against 54.0, precision 66.9 against "
        "64.4, recall 77.6 against 78.2).",
    )
