"""The numbers of training curves: live events and recorded ones give the same curves."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, field

from engine.messages import Event, Metrics

__all__ = ["CurveData", "Series", "axis_of", "words_of"]

LOSS, SCORE = "loss", "score"


@dataclass
class Series:
    """One curve: `steps` ascend, `values` are as many."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, step: int, value: float) -> None:
        """Add a point; a step that was reached before starts the curve anew from there."""
        # A resumed run goes back to its last checkpoint and walks some steps again.
        while self.steps and self.steps[-1] >= step:
            self.steps.pop()
            self.values.pop()
        self.steps.append(step)
        self.values.append(value)

    def at(self, step: float) -> float | None:
        """Return the value at the nearest step, or None outside of the curve."""
        if not self.steps or not self.steps[0] <= step <= self.steps[-1]:
            return None
        nearest = min(range(len(self.steps)), key=lambda i: abs(self.steps[i] - step))
        return self.values[nearest]


_WORDS = {
    "loss": "total",
    "tags": "tag loss",
    "map": "mAP, held-out tags",
    "map_seen": "mAP, training tags",
}


def axis_of(key: str) -> str:
    """Return on which plot a metric is drawn: every name is a term of the loss but the precisions'."""
    return SCORE if key.split("_")[0] in ("map", "ap", "miou", "precision", "recall") else LOSS


def words_of(key: str) -> str:
    """Return what the legend calls a metric."""
    return _WORDS.get(key, key.replace("_", " "))


@dataclass
class CurveData:
    """Curves of one run or of several that are compared: run -> metric -> series."""

    runs: dict[str, dict[str, Series]] = field(default_factory=dict)

    def add(self, run: str, event: Event) -> bool:
        """Add what an event says; return whether it said anything."""
        curves = self.runs.setdefault(run, {})
        if not isinstance(event, Metrics):
            return False
        for key, value in event.values.items():
            curves.setdefault(key, Series()).add(event.step, value)
        return bool(event.values)

    def load(self, run: str, events: Iterable[Event]) -> None:
        """Replace the curves of a run by its recorded events."""
        self.runs[run] = {}
        for event in events:
            self.add(run, event)

    def keys(self, axis: str) -> list[str]:
        """Return the metrics of one plot, in the order in which they came."""
        found = dict.fromkeys(key for curves in self.runs.values() for key in curves)
        keys = [key for key in found if axis_of(key) == axis]
        # The sum of one term is that term.
        return [key for key in keys if key != "loss"] if axis == LOSS and len(keys) == 2 else keys

    def read_out(self, axis: str, step: float) -> list[tuple[str, str, float]]:
        """Return (run, metric, value) of each curve of one plot near a step."""
        found = []
        for run, curves in self.runs.items():
            for key in self.keys(axis):
                value = curves[key].at(step) if key in curves else None
                if value is not None:
                    found.append((run, key, value))
        return found

    def csv(self) -> str:
        """Return all points as CSV: run, metric, step, value."""
        out = io.StringIO(newline="")
        writer = csv.writer(out)
        writer.writerow(("run", "metric", "step", "value"))
        for run, curves in self.runs.items():
            for key, series in curves.items():
                writer.writerows(
                    (run, key, step, repr(value))
                    for step, value in zip(series.steps, series.values, strict=True)
                )
        return out.getvalue()
