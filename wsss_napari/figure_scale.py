"""Where the numbers of a panel lie on its axis, and what the panel says at a place. No Qt."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence

from engine.results import Panel, Series

__all__ = ["Columns", "XScale", "number", "read_cell", "read_point"]

_MOST_TICKS = 12
# A cursor says no more values than a line can hold.
_MOST_VALUES = 8


class XScale:
    """The x axis of a panel: as it is, or logarithmic with a place of its own for zero.

    A sweep over lambda begins with 0, which no logarithm has: it stands one step left of the
    smallest number above it, under the tick `0`.

    Args:
        panel: Its `log` and its numbers decide.
    """

    def __init__(self, panel: Panel) -> None:
        every = {x for s in panel.series for x in s.x} | {x for x, _, _ in panel.marks}
        above = sorted(x for x in every if x > 0)
        self.log = panel.log and bool(above)
        self._values = sorted(every)
        self._kind = "" if panel.categories else panel.kind
        self._zero = 0.0
        if self.log:
            first, last = math.log10(above[0]), math.log10(above[-1])
            steps = len(above) - 1
            self._zero = first - (max(0.15, (last - first) / steps) if steps else 1.0)

    def place(self, x: float) -> float:
        """Return where a number lies on the axis."""
        if not self.log:
            return x
        return math.log10(x) if x > 0 else self._zero

    def places(self, xs: Sequence[float]) -> list[float]:
        """Return where numbers lie on the axis."""
        return [self.place(x) for x in xs]

    def ticks(self) -> list[tuple[float, str]] | None:
        """Return (place, text) of a logarithmic axis, or of one with few whole numbers; None leaves them to the plot."""
        if not self.log:
            return self._whole()
        values = self._values
        if len(values) > _MOST_TICKS:
            low = next(v for v in values if v > 0)
            decades = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(values[-1]) + 1e-9) + 1)
            values = [v for v in values if v <= 0][:1] + [10.0**d for d in decades]
        return [(self.place(v), number(max(v, 0.0))) for v in values]

    def _whole(self) -> list[tuple[float, str]] | None:
        # Between step 1 and step 2 there is no step 1.5.
        values = self._values if self._kind == "lines" else []
        if len(values) < 2 or values[-1] - values[0] > _MOST_TICKS or any(v != round(v) for v in values):
            return None
        return [(float(v), str(v)) for v in range(int(values[0]), int(values[-1]) + 1)]


class Columns:
    """What all series of a panel say at a place of the x axis; sorted once, asked at every move of the pointer.

    Args:
        panel: Of kind lines, bars or histogram.
        scale: Its axis.
    """

    def __init__(self, panel: Panel, scale: XScale) -> None:
        self._panel = panel
        self._filled = [s for s in panel.series if s.y]
        self._bins = panel.kind == "histogram"
        if self._bins:
            self._edges = [scale.places(s.x) for s in self._filled]
            return
        self._values = [dict(zip(s.x, s.y, strict=False)) for s in self._filled]
        self._xs = sorted({x for s in self._filled for x in s.x})
        self._places = scale.places(self._xs)

    def read(self, at: float) -> tuple[float, str] | None:
        """Return the place of the numbers nearest to `at`, and a sentence with them; None where there are none."""
        if not self._filled:
            return None
        if self._bins:
            return self._read_bin(at)
        right = bisect.bisect_left(self._places, at)
        near = [i for i in (right - 1, right) if 0 <= i < len(self._places)]
        i = min(near, key=lambda i: abs(self._places[i] - at))
        x = self._xs[i]
        parts = [
            f"{s.name or self._panel.y_label} {number(values[x])}"
            for s, values in zip(self._filled, self._values, strict=True)
            if x in values
        ]
        return self._places[i], _sentence(_x_text(self._panel, x), parts)

    def _read_bin(self, at: float) -> tuple[float, str] | None:
        edges = self._edges[0]
        b = bisect.bisect_right(edges, at) - 1
        if not 0 <= b < len(edges) - 1:
            return None
        middle = (edges[b] + edges[b + 1]) / 2
        parts = []
        for series, own in zip(self._filled, self._edges, strict=True):
            i = bisect.bisect_right(own, middle) - 1
            if 0 <= i < len(series.y):
                parts.append(f"{series.name} {number(series.y[i])}".strip())
        low, high = self._filled[0].x[b : b + 2]
        return middle, _sentence(f"{self._panel.x_label} {number(low)} to {number(high)}".strip(), parts)


def read_cell(panel: Panel, x: float, y: float) -> str:
    """Return what a grid holds at a place; empty outside of it."""
    left, right, bottom, top = panel.extent
    rows, columns = len(panel.grid), len(panel.grid[0]) if panel.grid else 0
    if not rows or not columns:
        return ""
    c = _index(x, left, right, columns)
    r = _index(y, bottom, top, rows)
    if not (0 <= r < rows and 0 <= c < columns):
        return ""
    cell_x = left + (right - left) * c / max(1, columns - 1)
    cell_y = bottom + (top - bottom) * r / max(1, rows - 1)
    where = f"{panel.x_label or 'x'} {number(cell_x)} · {panel.y_label or 'y'} {number(cell_y)}"
    return f"{where} · {number(panel.grid[r][c])}"


def read_point(series: Series, index: int) -> str:
    """Return what a point is: its word, its series and its numbers."""
    word = series.labels[index] if index < len(series.labels) else ""
    x, y = number(series.x[index]), number(series.y[index])
    return " · ".join(p for p in (word, series.name, f"({x}, {y})") if p)


def number(value: float) -> str:
    """Return a number as people write it: up to four digits, no exponent where none is needed."""
    if value == round(value) and abs(value) < 1e6:
        return f"{value:.0f}"
    return f"{value:.4g}"


def _x_text(panel: Panel, x: float) -> str:
    at = round(x)
    if panel.categories and 0 <= at < len(panel.categories):
        return panel.categories[at]
    return f"{panel.x_label} {number(x)}".strip()


def _sentence(head: str, parts: Sequence[str]) -> str:
    more = [f"and {len(parts) - _MOST_VALUES} more"] if len(parts) > _MOST_VALUES else []
    return " · ".join([head, *parts[:_MOST_VALUES], *more])


def _index(value: float, low: float, high: float, count: int) -> int:
    """Return the cell of a value; `low` and `high` are the middles of the outer cells."""
    if count == 1 or high == low:
        return 0 if abs(value - low) <= 0.5 else -1
    return math.floor((value - low) / (high - low) * (count - 1) + 0.5)
