"""The plots of a study as data: any window can draw them, any sheet can read them."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from engine.atomic import write_text
from engine.errors import UserError
from engine.names import quote

__all__ = ["Figure", "Panel", "Series"]

Kind = Literal["lines", "bars", "points", "grid", "histogram"]
_KINDS = ("lines", "bars", "points", "grid", "histogram")
_STUDY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
# As long as a figure is that a window can still draw, and short enough to be read in a second.
_MOST_BYTES = 16 << 20
_MOST_LETTERS = 20_000
_MOST_PANELS, _MOST_SERIES, _MOST_MARKS = 24, 512, 1_000


@dataclass(frozen=True)
class Series:
    """One curve, group of bars or cloud of points.

    Attributes:
        name: What the legend says.
        x, y: Finite numbers of equal length; arrays are taken too. Of a histogram, x are the
            edges of the bins, the last one included, so y has one number fewer.
        cls: 0-based class whose colour it takes, or None for the next colour.
        labels: A word for each point (an image, a step), or empty.
        joined: Points are joined in order (a trajectory).

    Raises:
        ValueError: The lengths do not fit, or a number is not finite.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    cls: int | None = None
    labels: tuple[str, ...] = ()
    joined: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", _numbers(self.x))
        object.__setattr__(self, "y", _numbers(self.y))
        object.__setattr__(self, "labels", _words(self.labels))
        if len(self.x) - len(self.y) not in (0, 1):
            raise ValueError(f"{len(self.x)} x and {len(self.y)} y in {quote(self.name)}")
        if self.labels and len(self.labels) != len(self.y):
            raise ValueError(f"{len(self.labels)} labels for {len(self.y)} points in {quote(self.name)}")
        if self.cls is not None and not 0 <= self.cls <= 253:
            raise ValueError(f"{quote(self.name)} has the colour of class {self.cls}")


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        kind: lines, bars, points, grid or histogram.
        categories: Names of the whole numbers on the x axis (bars).
        grid: Rows of numbers, bottom row first, of a `grid`; `extent` is (left, right, bottom, top).
        marks: Points worth a mark: (x, y, text).
        log: Logarithmic x axis.

    Raises:
        ValueError: The kind is none of these, or its parts do not fit it.
    """

    title: str
    kind: Kind
    x_label: str
    y_label: str
    series: tuple[Series, ...] = ()
    categories: tuple[str, ...] = ()
    grid: tuple[tuple[float, ...], ...] = ()
    extent: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 1.0)
    marks: tuple[tuple[float, float, str], ...] = ()
    log: bool = False

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ValueError(f"a panel of the kind {quote(self.kind)}")
        object.__setattr__(self, "series", tuple(self.series))
        object.__setattr__(self, "categories", _words(self.categories))
        object.__setattr__(self, "grid", tuple(_numbers(row) for row in self.grid))
        object.__setattr__(self, "extent", _numbers(self.extent))
        object.__setattr__(self, "marks", tuple((*_numbers((x, y)), str(t)) for x, y, t in self.marks))
        if len(self.series) > _MOST_SERIES or len(self.marks) > _MOST_MARKS:
            raise ValueError(f"{len(self.series)} series and {len(self.marks)} marks in {quote(self.title)}")
        if len(self.extent) != 4 or len({len(row) for row in self.grid}) > 1:
            raise ValueError(f"the grid of {quote(self.title)} is no rectangle")
        edges = self.kind == "histogram"
        for s in self.series:
            if len(s.x) != len(s.y) + edges:
                raise ValueError(f"{len(s.x)} x and {len(s.y)} y in {quote(s.name)} of a {self.kind} panel")


@dataclass(frozen=True)
class Figure:
    """What a study found.

    Attributes:
        study: Name of the study, and of its files: letters, digits, `_` and `-`.
        title: One line.
        caption: What is drawn, how it was measured, and what to read from it.
        panels: Pairs of axes, left to right.
        rows: A table: column -> values of equal length (numbers, text or None).
        facts: Run, split, images, settings, source in the paper.

    Raises:
        ValueError: A part is out of its limits.
    """

    study: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    rows: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _STUDY.fullmatch(self.study):
            raise ValueError(f"a study of the name {quote(self.study)}")
        object.__setattr__(self, "panels", tuple(self.panels))
        object.__setattr__(self, "rows", {k: [_cell(v) for v in column] for k, column in self.rows.items()})
        if len(self.panels) > _MOST_PANELS:
            raise ValueError(f"{len(self.panels)} panels")
        if len({len(column) for column in self.rows.values()}) > 1:
            raise ValueError("the columns of the table have different lengths")

    def save(self, folder: Path) -> None:
        """Write `<study>.json` and `<study>.csv` (the table, or else all curves), each atomically.

        Raises:
            ValueError: There is so much of it that `load` would refuse it.
        """
        text = json.dumps(asdict(self), ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
        if len(text.encode()) > _MOST_BYTES:
            raise ValueError(f"the figure of {self.study} takes {len(text) >> 20} MB")
        write_text(folder / f"{self.study}.csv", self.csv())
        write_text(folder / f"{self.study}.json", text)

    def csv(self) -> str:
        """Return the data as CSV: the table where there is one, else panel, series, x, y of every point.

        Of a histogram, x is the lower edge of each bin.
        """
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        if self.rows:
            writer.writerow(self.rows)
            writer.writerows(zip(*self.rows.values(), strict=True))
            return out.getvalue()
        writer.writerow(["panel", "series", "label", "x", "y"])
        for panel in self.panels:
            for s in panel.series:
                words = s.labels or ("",) * len(s.y)
                points = zip(words, s.x[: len(s.y)], s.y, strict=True)
                writer.writerows([panel.title, s.name, w, x, y] for w, x, y in points)
            left, right, bottom, top = panel.extent
            for r, row in enumerate(panel.grid):
                y = bottom + (top - bottom) * r / max(1, len(panel.grid) - 1)
                for c, value in enumerate(row):
                    x = left + (right - left) * c / max(1, len(row) - 1)
                    writer.writerow([panel.title, f"y={y:g}", "", x, value])
        return out.getvalue()

    @classmethod
    def load(cls, path: Path) -> Figure:
        """Read a figure.

        Raises:
            FileNotFoundError: There is none.
            UserError: It is damaged.
        """
        try:
            if path.exists() and not path.is_file():
                raise ValueError("it is no file")  # a pipe would block for ever
            with path.open("rb") as file:
                text = file.read(_MOST_BYTES + 1)
            if len(text) > _MOST_BYTES:
                raise ValueError("it is too long")
            facts = json.loads(text)
            return cls(
                study=_text(facts["study"]),
                title=_text(facts["title"]),
                caption=_text(facts["caption"]),
                panels=tuple(_panel(p) for p in _list(facts["panels"])),
                rows={_text(k): _list(v) for k, v in facts["rows"].items()},
                facts=dict(facts["facts"]),
            )
        except FileNotFoundError:
            raise
        except (
            OSError,
            ValueError,
            LookupError,
            TypeError,
            ArithmeticError,
            AttributeError,
            RecursionError,
        ) as error:
            raise UserError(
                f"{path} is not a figure: {str(error)[:200] or type(error).__name__}.",
                "Files written by `wsss study` are read.",
                "Run the study again.",
            ) from None


def _panel(facts: Mapping[str, Any]) -> Panel:
    return Panel(
        title=_text(facts["title"]),
        kind=cast(Kind, _text(facts["kind"])),
        x_label=_text(facts["x_label"]),
        y_label=_text(facts["y_label"]),
        series=tuple(_series(s) for s in _list(facts["series"])),
        categories=tuple(_text(c) for c in _list(facts["categories"])),
        grid=tuple(_list(facts["grid"])),
        extent=tuple(_list(facts["extent"])),
        marks=tuple((x, y, _text(text)) for x, y, text in _list(facts["marks"])),
        log=bool(facts["log"]),
    )


def _series(facts: Mapping[str, Any]) -> Series:
    return Series(
        name=_text(facts["name"]),
        x=tuple(_list(facts["x"])),
        y=tuple(_list(facts["y"])),
        cls=None if facts["cls"] is None else int(facts["cls"]),
        labels=tuple(_text(w) for w in _list(facts["labels"])),
        joined=bool(facts["joined"]),
    )


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{quote(value)} is no list")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MOST_LETTERS:
        raise ValueError(f"{quote(value)} is no text of at most {_MOST_LETTERS} letters")
    return value


def _cell(value: Any) -> Any:
    """Return a cell of the table as plain JSON holds it; numpy's numbers become Python's."""
    plain = value.item() if hasattr(value, "item") else value
    if plain is None or isinstance(plain, str | bool | int):
        return plain
    if isinstance(plain, float) and math.isfinite(plain):
        return plain
    raise ValueError(f"{quote(value)} in the table is no finite number, text or None")


def _words(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(str(v) for v in values)


def _numbers(values: Iterable[Any]) -> tuple[float, ...]:
    found = tuple(float(v) for v in values)
    if not all(map(math.isfinite, found)):
        raise ValueError("a number is not finite")
    return found
