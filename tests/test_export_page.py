"""The Export page: figures, confusion, formats and what they lose, the folder, import."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication

from engine import run as engine_run
from engine.messages import Evaluate, Export, Failed, Finished, Import, Job
from engine.store import label_set, label_sets
from engine.store.truth import read_truth
from wsss_napari.confusion import ConfusionPicture, cell_sentence
from wsss_napari.desk import desk_of
from wsss_napari.pages.export import ExportPage
from wsss_napari.pages.measure import summary

FAKE = runpy.run_path(str(Path(__file__).with_name("fake_engine.py")))


def do(job: Job) -> Any:
    """Do the job here and now; none of these needs torch."""
    return list(engine_run.run(job))[-1]


@pytest.fixture
def labelled(small_project):
    """The small project with labels that are the truth but for a missing row of pixels."""
    labels = label_set(small_project.root, small_project.colours, "first", new=True)
    for stem in small_project.usable:
        mask = read_truth(small_project, stem)
        mask[:12] = 0
        labels.write(stem, mask)
    labels.write_facts({"source": "cam/default"})
    return small_project


@pytest.fixture
def page(qtbot, monkeypatch):
    answers = {Evaluate: do, Export: do, Import: do}
    monkeypatch.setattr("wsss_napari.worker.Engine", lambda: FAKE["FakeEngine"](answers))
    viewer = ViewerModel()
    shown = ExportPage(desk_of(viewer))
    shown.viewer = viewer
    qtbot.addWidget(shown)
    shown.resize(380, 900)
    shown.show()
    return shown


@pytest.fixture
def ready(page, labelled):
    page.session.open(labelled.root)
    page.enter()
    return page


def test_it_says_what_is_missing(page, small_project):
    assert "No project is open" in page.hint and page.command() is None
    page.session.open(small_project.root)
    page.enter()
    assert page.hint == ""
    assert not page.export_button.isEnabled() and "no labels yet" in page.report.text()
    assert not page.measure.go.isEnabled() and "Explore page" in page.measure.note.text()
    assert page.command() is None


def test_labels_are_measured_and_every_figure_is_shown(ready, qtbot):
    assert ready.measure.what.currentData() == "labels:first"
    with qtbot.waitSignal(ready.measure.measured):
        qtbot.mouseClick(ready.measure.go, Qt.MouseButton.LeftButton)
    (job,) = ready.desk.engine.given(Evaluate)
    assert (job.labels, job.source, job.sweep, job.split) == ("first", None, False, None)
    result = ready.measure.result
    assert 0.4 < result["miou"] < 1
    assert (
        f"mIoU {result['miou']:.3f}" in ready.measure.note.text() and "6 images" in ready.measure.note.text()
    )
    table = ready.measure.table
    assert [table.item(r, 0).text() for r in range(4)] == ["background", "red", "green", "blue"]
    assert float(table.item(1, 1).text()) == pytest.approx(result["iou"]["red"], abs=5e-4)
    assert ready.measure.go.isEnabled()


def test_a_cell_of_the_confusion_is_read_by_a_click_and_by_keys(ready, qtbot):
    with qtbot.waitSignal(ready.measure.measured):
        ready.measure.start()
    matrix = ready.measure.matrix
    counts = np.array(ready.measure.result["confusion"])
    qtbot.mouseClick(matrix, Qt.MouseButton.LeftButton, pos=matrix.cell_rect(1, 0).center().toPoint())
    assert matrix.chosen == (1, 0)
    assert ready.measure.cell.text().startswith(f"red taken for background: {counts[1, 0]:,} px")
    matrix.setFocus()
    qtbot.keyClick(matrix, Qt.Key.Key_Right)
    assert ready.measure.cell.text().startswith(f"red found: {counts[1, 1]:,} px")
    qtbot.mouseClick(matrix, Qt.MouseButton.LeftButton, pos=QPoint(2, 2))
    assert matrix.chosen == (1, 1)


def test_without_truth_nothing_can_be_measured_but_exported(page, labelled):
    page.session.open(labelled.root)
    page.session.project.truth_place = None
    page.enter()
    assert not page.measure.go.isEnabled() and "no truth masks" in page.measure.note.text()
    assert page.export_button.isEnabled()


def test_the_format_says_what_it_cannot_hold_before_anything_is_written(ready):
    ready.format.setCurrentIndex(ready.format.findData("voc"))
    assert "boxes" in ready.report.text()
    ready.format.setCurrentIndex(ready.format.findData("irn-cam"))
    assert ready.what.count() == 0 and "no maps yet" in ready.report.text()
    assert not ready.export_button.isEnabled()


def test_a_check_counts_and_writes_nothing(ready, qtbot):
    ready.session.project.root.joinpath("labels", "first", "im_005.png").unlink()
    ready.format.setCurrentIndex(ready.format.findData("voc"))
    qtbot.mouseClick(ready.check_button, Qt.MouseButton.LeftButton)
    assert not ready.export_button.isEnabled()
    qtbot.waitUntil(lambda: "Left out" in ready.report.text())
    (job,) = ready.desk.engine.given(Export)
    assert job.dry_run and not Path(job.out).exists()
    assert ">5<" in ready.report.text() and "1 of 6 images are not in" in ready.report.text()
    assert ready.export_button.isEnabled()


def test_an_export_is_linked_and_its_command_repeats_it(ready, qtbot):
    ready.format.setCurrentIndex(ready.format.findData("png"))
    line = ready.command()
    out = Path(ready.folder.line.text())
    assert out == ready.session.project.root / "exports" / "first-png"
    qtbot.mouseClick(ready.export_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: ready.done.isVisible())
    assert len(list(out.glob("*.png"))) == 6
    assert ready.link.text() == "6 images in first-png." and ready.link.toolTip() == str(out)
    ready.again.click()
    assert QApplication.clipboard().text() == line
    # The next one gets a folder of its own.
    assert ready.folder.line.text().endswith("first-png-2")


def test_a_folder_in_the_way_is_replaced_only_on_request(ready, qtbot):
    ready.format.setCurrentIndex(ready.format.findData("png"))
    out = ready.folder.line.text()
    ready.export()
    qtbot.waitUntil(lambda: ready.done.isVisible())
    ready.folder.line.setText(out)
    assert ready.overwrite.isVisible() and not ready.overwrite.isChecked()
    ready.check()
    qtbot.waitUntil(lambda: "exists already" in ready.report.text())
    ready.overwrite.click()
    assert "--overwrite" in ready.command()
    ready.check()
    qtbot.waitUntil(lambda: "exists already" not in ready.report.text())


def test_a_folder_that_the_person_named_stays(ready, tmp_path):
    ready.folder.line.setText(str(tmp_path / "mine"))
    ready.format.setCurrentIndex(ready.format.findData("npz"))
    assert ready.folder.line.text() == str(tmp_path / "mine")
    assert "--format npz" in ready.command() and "mine" in ready.command()


def test_a_split_is_exported_alone(ready):
    ready.split.setCurrentIndex(ready.split.findData("val"))
    assert "--split val" in ready.command()


def test_what_was_exported_is_imported_back(ready, qtbot):
    ready.format.setCurrentIndex(ready.format.findData("png"))
    out = ready.folder.line.text()
    ready.export()
    qtbot.waitUntil(lambda: ready.done.isVisible())
    ready.import_fold.open()
    back = ready.import_back
    assert not back.go.isEnabled()
    back.format.setCurrentIndex(back.format.findData("png"))
    back.folder.line.setText(out)
    back.name.setText("again")
    qtbot.mouseClick(back.go, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "Read 6 images" in back.note.text())
    project = ready.session.project
    first, again = (label_set(project.root, project.colours, name) for name in ("first", "again"))
    for stem in project.usable:
        np.testing.assert_array_equal(first.read(stem), again.read(stem))
    assert ready.what.findData("again") >= 0
    assert [s.name for s in label_sets(project.root, project.colours)] == ["again", "first"]


def test_a_failed_export_can_be_tried_again(ready, qtbot):
    ready.desk.engine.answers[Export] = lambda job: Failed(message="The disk is full.", mistake=True)
    ready.export()
    qtbot.waitUntil(lambda: ready.export_button.isEnabled())
    assert not ready.done.isVisible()


def test_maps_are_swept_and_the_best_threshold_is_marked(
    labelled, qtbot, monkeypatch, make_napari_viewer_proxy
):
    explore = runpy.run_path(str(Path(__file__).with_name("test_explore_page.py")))
    explore["drawn_run"](labelled)
    monkeypatch.setattr("wsss_napari.worker.Engine", lambda: FAKE["FakeEngine"]({Evaluate: do}))
    page = ExportPage(desk_of(make_napari_viewer_proxy()))
    qtbot.addWidget(page)
    page.session.open(labelled.root)
    page.enter()
    page.measure.what.setCurrentIndex(page.measure.what.findData("source:cam"))
    assert page.measure.job().sweep
    with qtbot.waitSignal(page.measure.measured):
        page.measure.start()
    result = page.measure.result
    assert page.desk.plots.shown is page.measure.curve
    assert page.measure.curve.best.value() == result["threshold"]
    assert "(best)" in page.measure.curve.read_out.text() and "upper bound" in page.measure.note.text()
    page.leave()
    assert page.desk.plots.shown is None
    page.enter()
    page.measure.what.setCurrentIndex(page.measure.what.findData("labels:first"))
    with qtbot.waitSignal(page.measure.measured):
        page.measure.start()
    assert page.desk.plots.shown is None


def test_another_project_forgets_the_result(ready, qtbot):
    with qtbot.waitSignal(ready.measure.measured):
        ready.measure.start()
    ready.session.close()
    assert ready.measure.result is None and "No project is open" in ready.hint


def test_the_matrix_shrinks_with_many_classes(qtbot):
    picture = ConfusionPicture()
    qtbot.addWidget(picture)
    picture.resize(340, 300)
    names = [f"class_{n}" for n in range(21)]
    picture.show_counts(np.eye(21, dtype=int) * 5, names)
    picture.show()
    assert picture.cell_rect(0, 20).right() <= 340
    assert picture.sizeHint().height() < 340
    image = picture.grab().toImage()
    assert image.pixelColor(picture.cell_rect(3, 3).center().toPoint()).blue() > 120


def test_sentences_of_cells_and_results():
    counts = np.array([[90, 10], [0, 0]])
    assert cell_sentence(counts, ["a", "b"], 0, 1) == "a taken for b: 10 px, 10.0 % of a."
    assert "not in the truth" in cell_sentence(counts, ["a", "b"], 1, 1)
    text = summary({"miou": 0.5, "precision": None, "images": 3, "threshold": 0.2})
    assert text == "mIoU 0.500 · 3 images. Threshold 0.2."


def test_events_of_other_jobs_do_not_end_ours(ready):
    ready.desk.engine.answers.pop(Export)
    ready.export()
    assert not ready.export_button.isEnabled()
    ready._show_state()
    assert not ready.export_button.isEnabled()
    (job,) = ready.desk.engine.given(Export)
    ready.desk.engine.end(job.id, Finished(result={"out": job.out, "images": 6, "lost": []}))
    assert ready.export_button.isEnabled()
