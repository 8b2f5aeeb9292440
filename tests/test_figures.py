"""Figures of studies: on disk and back, as CSV, and forged ones refused."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import UserError
from engine.results import Figure, Panel, Series, figures


def figure(**other: Any) -> Figure:
    values: dict[str, Any] = {
        "study": "noise_per_step",
        "title": "Noise per step",
        "caption": "Share of predicted foreground that is background.",
        "panels": (
            Panel(
                "Quality",
                "lines",
                "step",
                "mIoU",
                series=(
                    Series("cat", (0, 1, 2), (0.4, 0.5, 0.45), cls=0),
                    Series(
                        "all", np.arange(3), np.array([0.1, 0.2, 0.3], np.float32), labels=("a", "b", "c")
                    ),
                ),
                marks=((1, 0.5, "best"),),
            ),
            Panel("Ratios", "histogram", "ratio", "pixels", series=(Series("D", (0, 1, 2), (5, 7)),)),
            Panel(
                "Landscape", "grid", "a", "b", grid=((1, 2, 3), (4, 5, 6)), extent=(-1, 1, 0, 10), log=True
            ),
            Panel("Classes", "bars", "class", "gain", categories=("cat", "dog")),
        ),
        "facts": {"run": "cam", "images": 43, "settings": {"lam": 7.0}},
    }
    return Figure(**{**values, **other})


def test_round_trip(tmp_path: Path) -> None:
    wanted = figure(
        rows={"class": ["cat", "dög"], "gain": [np.float32(0.5), None], "images": [np.int64(3), 4]}
    )
    wanted.save(tmp_path)
    found = Figure.load(tmp_path / "noise_per_step.json")
    assert found == wanted
    assert found.panels[0].series[1].x == (0.0, 1.0, 2.0)
    assert type(found.rows["gain"][0]) is float and found.rows["images"] == [3, 4]


def test_points_as_csv() -> None:
    rows = list(csv.reader(io.StringIO(figure().csv())))
    assert rows[0] == ["panel", "series", "label", "x", "y"]
    assert ["Quality", "cat", "", "1.0", "0.5"] in rows
    assert ["Quality", "all", "c", "2.0", repr(float(np.float32(0.3)))] in rows
    # The lower edge of each bin; the upper edge of the last has no count of its own.
    assert [r[3:] for r in rows if r[0] == "Ratios"] == [["0.0", "5.0"], ["1.0", "7.0"]]
    grid = {(float(r[3]), r[1]): float(r[4]) for r in rows if r[0] == "Landscape"}
    assert grid == {
        (-1, "y=0"): 1,
        (0, "y=0"): 2,
        (1, "y=0"): 3,
        (-1, "y=10"): 4,
        (0, "y=10"): 5,
        (1, "y=10"): 6,
    }


def test_the_table_as_csv() -> None:
    made = figure(rows={"class": ["cat, black", 'a "dog"'], "gain": [0.25, None]})
    assert list(csv.reader(io.StringIO(made.csv()))) == [
        ["class", "gain"],
        ["cat, black", "0.25"],
        ['a "dog"', ""],
    ]


WRONG = {
    "lengths": lambda: Series("a", (1, 2), (1, 2, 3)),
    "labels": lambda: Series("a", (1, 2), (1, 2), labels=("x",)),
    "not finite": lambda: Series("a", (1, float("nan")), (1, 2)),
    "a class": lambda: Series("a", (), (), cls=254),
    "kind": lambda: Panel("t", "pie", "x", "y"),
    "edges of lines": lambda: Panel("t", "lines", "x", "y", series=(Series("a", (0, 1, 2), (1, 2)),)),
    "no edges": lambda: Panel("t", "histogram", "x", "y", series=(Series("a", (0, 1), (1, 2)),)),
    "ragged": lambda: Panel("t", "grid", "x", "y", grid=((1, 2), (3,))),
    "extent": lambda: Panel("t", "grid", "x", "y", extent=(0, 1)),
    "endless mark": lambda: Panel("t", "lines", "x", "y", marks=((float("inf"), 0, "best"),)),
    "many series": lambda: Panel("t", "lines", "x", "y", series=(Series("a", (0,), (1,)),) * 1000),
    "many panels": lambda: figure(panels=figure().panels * 10),
    "ragged table": lambda: figure(rows={"a": [1], "b": [1, 2]}),
    "a table of lists": lambda: figure(rows={"a": [[1]]}),
    "a table of nothing": lambda: figure(rows={"a": [float("nan")]}),
    "a path as the name": lambda: figure(study="../../noise"),
    "no name": lambda: figure(study=""),
    "a hidden name": lambda: figure(study=".noise"),
}


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG.keys())
def test_parts_that_do_not_fit_are_a_mistake_of_the_programmer(make: Any) -> None:
    with pytest.raises(ValueError):
        make()


FORGED: dict[str, Any] = {
    "a path as the name": {"study": "../noise"},
    "a number as the title": {"title": 7},
    "a book as the title": {"title": "x" * 100_000},
    "panels of text": {"panels": "lines"},
    "a panel of text": {"panels": ["lines"]},
    "an endless number": {"panels": [{**json.loads("{}"), "series": [{"x": [1e400]}]}]},
    "no rows": {"rows": None},
    "rows of text": {"rows": {"a": "bcd"}},
    "rows of lists": {"rows": {"a": [[1]]}},
    "no facts": {"facts": [1]},
}


@pytest.mark.parametrize("facts", FORGED.values(), ids=FORGED.keys())
def test_forged_figures_are_refused(tmp_path: Path, facts: dict[str, Any]) -> None:
    figure().save(tmp_path)
    path = tmp_path / "noise_per_step.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))
    with pytest.raises(UserError, match="is not a figure") as told:
        Figure.load(path)
    assert len(str(told.value)) < 1_000


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kind", "pie"),
        ("kind", ["lines"]),
        ("extent", [0, 1, 2]),
        ("grid", [[1, 2], [3]]),
        ("marks", [[1, 2]]),
        ("marks", [["a", 2, "b"]]),
        ("categories", [{}]),
        ("series", [{"name": "a", "x": [1], "y": [], "cls": None, "labels": [], "joined": False}]),
        ("series", [{"name": "a", "x": [1], "y": [10**400], "cls": None, "labels": [], "joined": False}]),
        ("series", [{"name": "a", "x": [1], "y": [1], "cls": 1e400, "labels": [], "joined": False}]),
    ],
)
def test_forged_panels_are_refused(tmp_path: Path, key: str, value: Any) -> None:
    figure().save(tmp_path)
    path = tmp_path / "noise_per_step.json"
    facts = json.loads(path.read_text())
    facts["panels"][0][key] = value
    path.write_text(json.dumps(facts))
    with pytest.raises(UserError, match="is not a figure"):
        Figure.load(path)


TEXTS = {
    "no JSON": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "a list": b"[]",
    "long": b" " * (17 << 20),
    "empty": b"",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_texts_that_are_no_figures_are_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(UserError, match="is not a figure"):
        Figure.load(tmp_path / "a.json")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.timeout(20)
def test_a_pipe_blocks_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(UserError, match="no file"):
        Figure.load(tmp_path / "a.json")


def test_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Figure.load(tmp_path / "a.json")


def test_a_large_figure_is_read_in_time_and_a_larger_one_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = Panel("t", "points", "x", "y", series=(Series("a", range(75_000), np.arange(75_000)),))
    made = figure(panels=(panel,))
    made.save(tmp_path)
    path = tmp_path / "noise_per_step.json"
    share = path.stat().st_size / figures._MOST_BYTES
    assert share > 0.05
    started = time.process_time()
    assert len(Figure.load(path).panels[0].series[0].x) == 75_000
    assert time.process_time() - started < 5 * share  # 5 s for the largest that is accepted
    monkeypatch.setattr(figures, "_MOST_BYTES", 100_000)
    with pytest.raises(ValueError, match="MB"):
        made.save(tmp_path)
    with pytest.raises(UserError, match="too long"):
        Figure.load(path)
