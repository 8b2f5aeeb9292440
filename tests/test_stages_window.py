"""The table of stages on the Export page: when it is offered, what it shows, what a click does."""

from __future__ import annotations

import csv
import io
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from engine.messages import Evaluate, command
from wsss_napari.bar_cells import VALUE
from wsss_napari.desk import desk_of
from wsss_napari.pages.export import ExportPage
from wsss_napari.pages.stages import gains, stages_csv

FAKE = runpy.run_path(str(Path(__file__).with_name("fake_engine.py")))
DRAWN = runpy.run_path(str(Path(__file__).with_name("test_stages.py")))
NAMES = ["background", "red", "green", "blue"]


def row(name: str, source: str, miou: float | None, threshold: float | None = None) -> dict[str, Any]:
    """What the engine tells of a stage; its figures per class are as different as its mIoU."""
    figure = miou or 0.0
    return {
        "name": name,
        "source": f"{source}/default",
        "miou": miou,
        "precision": 0.61,
        "recall": None if miou is None else 0.72,
        "noise": 0.25,
        "threshold": threshold,
        "images": 6,
        "classes": NAMES,
        "confusion": [[int(1000 * figure)] * 4] * 4,
        **{key: dict.fromkeys(NAMES, figure) for key in ("iou", "class_precision", "class_recall")},
    }


def result_of(*rows: dict[str, Any], left_out: tuple[str, ...] = ()) -> dict[str, Any]:
    """What the engine tells of all, swept."""
    shares = [0.1, 0.2, 0.3]
    curve = dict.fromkeys(("threshold", "miou", "precision", "recall", "noise"), shares)
    first = {**rows[0], "curve": curve, "split": None}
    del first["name"]
    return {**first, "stages": list(rows), "left_out": list(left_out)}


ROWS = (
    row("seed", "cam", 0.451, 0.25),
    row("+CRF", "cam-crf", 0.4972),
    row("+CRF +PAR", "cam-crf-par", 0.44),
    row("+CRF", "cam-crf-2", 0.5),
)


@pytest.fixture
def page(qtbot, monkeypatch, small_project):
    """The Export page over a seed, its CRF, and PAR over the CRF; the engine tells `ROWS`."""
    box, seed, less = DRAWN["box"], DRAWN["seed_of"], DRAWN["less"]
    box(small_project, "cam", seed, soft=True)
    box(small_project, "cam-crf", less(8), source="cam", refiner="crf")
    box(small_project, "cam-crf-par", less(4), source="cam-crf", refiner="par")
    monkeypatch.setattr("wsss_napari.worker.Engine", lambda: FAKE["FakeEngine"]({Evaluate: result_of(*ROWS)}))
    viewer = ViewerModel()
    shown = ExportPage(desk_of(viewer))
    shown.viewer = viewer
    qtbot.addWidget(shown)
    shown.resize(380, 1100)
    shown.show()
    shown.session.open(small_project.root)
    shown.enter()
    return shown


def choose(page: ExportPage, source: str) -> None:
    at = page.measure.what.findData(source)
    assert at >= 0, source
    page.measure.what.setCurrentIndex(at)


def measure(page: ExportPage, qtbot: Any) -> None:
    with qtbot.waitSignal(page.measure.measured):
        qtbot.mouseClick(page.measure.go, Qt.MouseButton.LeftButton)


def click(page: ExportPage, qtbot: Any, at: int) -> None:
    table = page.measure.stages.table
    where = table.visualItemRect(table.item(at, 0)).center()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=where)


@pytest.fixture
def measured(page, qtbot):
    choose(page, "source:cam")
    page.measure.refined.setChecked(True)
    measure(page, qtbot)
    return page


def test_it_is_offered_for_maps_that_were_refined_and_only_for_them(page):
    refined = page.measure.refined
    choose(page, "source:cam")
    assert refined.isEnabled() and "the 2 made from these maps" in refined.toolTip()
    assert page.measure.job().stages is False
    refined.setChecked(True)
    assert page.measure.job().stages is True and "--stages" in command(page.measure.job())
    choose(page, "source:cam-crf-par")
    assert not refined.isEnabled() and page.measure.job().stages is False
    choose(page, "source:cam-crf")
    assert refined.isEnabled() and page.measure.job().stages is True, "what the person wants is kept"


def test_a_new_refinement_is_noticed(page, small_project):
    choose(page, "source:cam-crf-par")
    assert not page.measure.refined.isEnabled()
    DRAWN["box"](small_project, "late", DRAWN["less"](2), source="cam-crf-par", refiner="crf")
    page.session.runs_changed.emit()
    assert page.measure.what.currentData() == "source:cam-crf-par" and page.measure.refined.isEnabled()
    shutil.rmtree(small_project.root / "runs")
    page.session.runs_changed.emit()
    assert page.measure.what.count() == 0 and not page.measure.refined.isEnabled()


def test_a_source_that_was_deleted_meanwhile_is_no_trouble(page, small_project):
    choose(page, "source:cam-crf")
    shutil.rmtree(small_project.root / "runs" / "cam")
    choose(page, "source:cam")
    assert not page.measure.refined.isEnabled()


def test_every_stage_has_a_row_with_bar_gain_and_figures(measured):
    (job,) = measured.desk.engine.given(Evaluate)
    assert (job.source, job.stages, job.sweep) == ("cam", True, True)
    table = measured.measure.stages.table
    assert measured.measure.stages.isVisible() and table.rowCount() == 4
    told = [[table.item(r, c).text() for c in range(6)] for r in range(4)]
    assert told == [
        ["seed", "0.451", "", "0.610", "0.720", "0.250"],
        ["+CRF", "0.497", "+4.6", "0.610", "0.720", "0.250"],
        ["+CRF +PAR", "0.440", "-1.1", "0.610", "0.720", "0.250"],
        ["+CRF (2)", "0.500", "+4.9", "0.610", "0.720", "0.250"],
    ]
    assert [table.item(r, 1).data(VALUE) for r in range(4)] == [0.451, 0.4972, 0.44, 0.5]
    assert table.item(1, 2).data(VALUE) is None, "a gain is no share, so it has no bar"
    assert "threshold 0.25" in table.item(0, 0).toolTip()
    assert table.item(3, 2).toolTip() == "+CRF: maps of cam-crf-2, 6 images"
    assert not measured.measure.stages.note.isVisible()


def test_the_bar_of_the_chosen_row_is_seen(measured, qtbot):
    table = measured.measure.stages.table
    click(measured, qtbot, 1)
    image = table.viewport().grab().toImage()
    rect = table.visualItemRect(table.item(1, 1))
    left = image.pixelColor(rect.left() + 5, rect.top() + 5)
    right = image.pixelColor(rect.right() - 5, rect.top() + 5)
    assert left != right and left.blue() > left.red()


def test_a_click_shows_the_classes_and_confusion_of_a_stage(measured, qtbot):
    part = measured.measure
    assert part.note.text().startswith("seed (cam): mIoU 0.451") and "upper bound" in part.note.text()
    assert part.table.item(1, 1).text() == "0.451" and part.matrix.counts[0, 0] == 451
    click(measured, qtbot, 1)
    assert part.note.text() == (
        "+CRF (cam-crf): mIoU 0.497 · precision 0.610 · recall 0.720 · noise 0.250 · 6 images"
    )
    assert part.table.item(1, 1).text() == "0.497" and part.matrix.counts[0, 0] == 497
    click(measured, qtbot, 0)
    assert part.table.item(1, 1).text() == "0.451" and part.matrix.counts[0, 0] == 451


def test_the_arrow_keys_go_through_the_stages(measured, qtbot):
    table = measured.measure.stages.table
    table.setFocus()
    for expected in ("+CRF (cam-crf): ", "+CRF +PAR (cam-crf-par): "):
        qtbot.keyClick(table, Qt.Key.Key_Down)
        assert measured.measure.note.text().startswith(expected)
    qtbot.keyClick(table, Qt.Key.Key_Up)
    assert measured.measure.note.text().startswith("+CRF (cam-crf): ")


def test_the_curve_of_the_source_stays(measured, qtbot, monkeypatch):
    shown = []
    monkeypatch.setattr(measured.measure.curve, "show_result", shown.append)
    click(measured, qtbot, 2)
    assert shown == []
    click(measured, qtbot, 0)
    assert shown == [measured.measure.result]


def test_the_table_is_copied_as_csv(measured):
    told = []
    measured.measure.stages.said.connect(lambda level, text: told.append((level, text)))
    measured.measure.stages.copy.click()
    lines = list(csv.reader(io.StringIO(QApplication.clipboard().text())))
    assert lines[0] == [
        "stage", "maps", "miou", "gain", "precision", "recall", "noise", "threshold", "images",
    ]  # fmt: skip
    assert lines[1] == ["seed", "cam/default", "0.451", "", "0.61", "0.72", "0.25", "0.25", "6"]
    assert lines[2][:4] == ["+CRF", "cam-crf/default", "0.4972", "4.62"] and len(lines) == 5
    assert told == [("info", "Copied 4 stages as CSV.")]


def test_what_is_left_out_stands_below_the_table(page, qtbot):
    why = ("2 of 6 images are left out.", "trial/default (+CRF) is left out.")
    page.desk.engine.answers[Evaluate] = result_of(*ROWS[:2], left_out=why)
    choose(page, "source:cam")
    page.measure.refined.setChecked(True)
    measure(page, qtbot)
    assert page.measure.stages.note.isVisible() and page.measure.stages.note.text() == "\n".join(why)


def test_rows_without_classes_say_so(page, qtbot):
    keys = ("name", "source", "miou", "precision", "recall", "noise", "threshold", "images")
    bare = [{key: r[key] for key in keys} for r in ROWS]
    page.desk.engine.answers[Evaluate] = {**result_of(*ROWS), "stages": bare}
    choose(page, "source:cam")
    page.measure.refined.setChecked(True)
    measure(page, qtbot)
    assert page.measure.table.isVisible(), "the source itself is always whole"
    click(page, qtbot, 1)
    assert not page.measure.table.isVisible() and not page.measure.matrix.isVisible()
    assert "too many stages" in page.measure.cell.text() and "mIoU 0.497" in page.measure.note.text()
    click(page, qtbot, 0)
    assert page.measure.table.isVisible() and page.measure.matrix.isVisible()


def test_the_next_result_without_stages_hides_the_table(measured, qtbot):
    plain = {k: v for k, v in result_of(*ROWS).items() if k not in ("stages", "left_out")}
    measured.desk.engine.answers[Evaluate] = plain
    measured.measure.refined.setChecked(False)
    measure(measured, qtbot)
    assert measured.measure.stages.isHidden() and measured.measure.table.isVisible()
    assert measured.measure.note.text().startswith("mIoU 0.451")


def test_another_project_forgets_the_stages(measured):
    measured.session.close()
    assert measured.measure.stages.isHidden() and measured.measure.stages.rows == []
    assert not measured.measure.refined.isEnabled()


def test_gains_and_csv_of_figures_that_are_unknown():
    rows = [row("seed", "cam", None), row("+CRF", "cam,crf", 0.5)]
    assert gains(rows) == [None, None] and gains([]) == []
    assert gains([rows[1], rows[0], rows[1]]) == [None, None, 0.0]
    lines = list(csv.reader(io.StringIO(stages_csv(rows))))
    assert lines[1] == ["seed", "cam/default", "", "", "0.61", "", "0.25", "", "6"]
    assert lines[2][1] == "cam,crf/default"
