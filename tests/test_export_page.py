"""The Export page: figures, confusion, formats and what they lose, the folder, import."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from PIL import Image as Pillow
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication

from engine import run as engine_run
from engine.atomic import write_json
from engine.edits import EditRoom
from engine.formats import formats
from engine.messages import Evaluate, Export, Failed, Finished, Import, Job
from engine.results import InstanceSet
from engine.store import label_set, label_sets, new_run
from engine.store.truth import read_truth
from wsss_napari.confusion import ConfusionPicture, cell_sentence
from wsss_napari.desk import desk_of
from wsss_napari.format_choice import FormatChoice, lacks
from wsss_napari.pages.export import APPROVED, CORRECTED, ExportPage
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


def correct(project, stem, state):
    """Paint one pixel of an image and give it a state."""
    with EditRoom.open(project) as room:
        sheet = room.load(stem, ("first", label_set(project.root, project.colours, "first").read(stem)))
        room.commit(sheet, "Brush", "brush", (40, 60, 41, 61), np.full((1, 1), 255, np.uint8))
        room.set_state(stem, state)


def test_approved_and_corrected_masks_are_offered_with_their_numbers(page, labelled):
    page.session.open(labelled.root)
    page.enter()
    assert page.what.findData(APPROVED) < 0 and page.what.findData(CORRECTED) < 0
    stems = labelled.usable
    correct(labelled, stems[0], "approved")
    correct(labelled, stems[1], "needs review")
    correct(labelled, stems[2], "rejected")
    page.enter()
    words = {page.what.itemData(i): page.what.itemText(i) for i in range(page.what.count())}
    assert words[APPROVED] == "Approved masks (1)"
    assert words[CORRECTED] == "Corrected masks, approved or not (2)", "what was rejected is not handed on"
    page.what.setCurrentIndex(page.what.findData(APPROVED))
    job = page.job()
    assert (job.labels, job.only) == ("corrected", "approved")
    assert "--labels corrected" in page.command() and "--only approved" in page.command()
    page.what.setCurrentIndex(page.what.findData(CORRECTED))
    assert (page.job().labels, page.job().only) == ("corrected", "all")
    page.what.setCurrentIndex(page.what.findData("first"))
    assert (page.job().labels, page.job().only) == ("first", "all")


def test_approved_masks_are_checked_and_exported_alone(ready, qtbot):
    project = ready.session.project
    correct(project, project.usable[3], "approved")
    ready.enter()
    ready.format.choose("png")
    ready.what.setCurrentIndex(ready.what.findData(APPROVED))
    ready.check()
    qtbot.waitUntil(lambda: "Nothing was written yet" in ready.report.text())
    assert "Left out" in ready.report.text() and ">5<" in ready.report.text()
    out = Path(ready.folder.line.text())
    ready.export()
    qtbot.waitUntil(lambda: ready.done.isVisible())
    assert [p.stem for p in out.glob("*.png")] == [project.usable[3]]
    assert np.asarray(Pillow.open(out / f"{project.usable[3]}.png"))[40, 60] == 255


def test_a_damaged_journal_is_told_and_labels_can_be_exported_still(ready):
    project = ready.session.project
    correct(project, project.usable[0], "approved")
    (project.root / "edits.sqlite").write_bytes(b"")
    ready.enter()
    assert ready.what.findData(APPROVED) < 0 and "Correct page" in ready.report.text()
    assert ready.export_button.isEnabled() and ready.what.currentData() == "first"


def test_every_format_says_in_its_row_what_it_cannot_hold():
    every = formats()
    lines = {name: lacks(form, every) for name, form in every.items()}
    for name, form in every.items():
        if form.loses:
            assert lines[name].removeprefix("Cannot hold: ").rstrip() and "Cannot hold" in lines[name]
    masks = [lines[name] for name, form in every.items() if form.kind == "masks"]
    assert len(set(masks)) > len(masks) // 2, "what sets a format apart comes first"


def test_the_list_of_formats_is_painted_in_two_lines(qtbot):
    box = FormatChoice()
    qtbot.addWidget(box)
    assert box.currentData() == "voc" and box.count() == len(formats())
    assert [box.itemData(i) for i in range(box.count())][-2:] == ["irn-cam", "psa-cam"], "masks come first"
    box.resize(200, 30)
    box.show()
    box.showPopup()
    view = box.view()
    rows = view.grab().toImage()
    assert view.width() >= 400 and view.sizeHintForRow(0) > 2 * box.fontMetrics().height()
    assert rows.height() > 40
    assert "Not in it:" in box.itemData(0, Qt.ItemDataRole.ToolTipRole)
    box.hidePopup()


def test_options_of_a_format_are_offered_and_travel_with_the_job(ready):
    named = [n for n, f in formats().items() if f.options is not None and f.kind == "masks"]
    assert named, "at least one format has options"
    for name in named:
        ready.format.choose(name)
        options = ready._options
        assert options is not None and options.isVisible() and ready.job().settings == {}
        field = next(f for f in options.fields if f.choices or isinstance(f.default, bool))
        other = (
            not field.default
            if isinstance(field.default, bool)
            else next(c for c in field.choices if c != field.default)
        )
        options.set_values({field.name: other})
        assert ready.job().settings == {field.name: other}
        assert f"--set {field.name}=" in ready.command()
    ready.format.choose("png" if formats()["png"].options is None else "npz")
    assert ready._options is None and ready.job().settings == {}


def test_instances_are_asked_for_where_there_are_some_and_a_format_holds_objects(ready):
    project = ready.session.project
    ready.format.choose("coco")
    assert not ready.instances.isVisible() and ready.job().instances is None
    run = new_run(project.root, None, "irn", {"method": "irn"})
    path = run.views().path(project.usable[0], InstanceSet.KIND)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    write_json(run.views().folder / "views.json", {})
    ready.enter()
    assert ready.instances.isVisible() and ready.job().instances is None
    ready.instances.setCurrentIndex(1)
    assert ready.job().instances == str(run.views())
    ready.format.choose("png")
    assert not ready.instances.isVisible() and ready.job().instances is None


HOSTILE = {
    "coco": ("annotations.json", b'{"images": [' + b"[" * 100_000),
    "coco-panoptic": ("panoptic.json", b'{"images": NaN}'),
    "cvat": ("annotations.xml", b'<!DOCTYPE a [<!ENTITY b "bbbb">]><annotations>&b;</annotations>'),
    "labelme": ("im_000.json", b'{"shapes": [{"points": [[1e999, NaN]]}]}'),
    "yolo-seg": ("data.yaml", b"names: !!python/object/apply:os.system ['true']"),
    "npz": ("im_000.npz", b"PK\x03\x04 cut"),
    "png": ("im_000.png", b"\x89PNG\r\n\x1a\n cut"),
    "tiff": ("im_000.tif", b"II*\x00\xff\xff\xff\xff"),
    "hf": ("metadata.jsonl", b'{"file_name": "../../etc/passwd"}'),
    "voc": ("labelmap.txt", b"\x00\xff" * 50),
    "psa-cam": ("im_000.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'shape': (1,)}"),
    "irn-cam": ("im_000.npy", b"cposix\nsystem\n(S'true'\ntR."),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_hostile_folder_gives_a_sentence_where_the_person_is_looking(ready, qtbot, tmp_path, name):
    file, content = HOSTILE[name]
    folder = tmp_path / "from somebody"
    folder.mkdir()
    (folder / file).write_bytes(content)
    said = []
    ready.desk.said = lambda level, text: said.append((level, text))
    back = ready.import_back
    ready.import_fold.open()
    back.format.choose(name)
    back.folder.line.setText(str(folder))
    back.name.setText("theirs")
    back.start()
    assert back.go.text() == "Importing…" and not back.go.isEnabled()
    qtbot.waitUntil(lambda: back.go.isEnabled(), timeout=20_000)
    assert back.problem.isVisible(), back.note.text()
    words = back.problem.text()
    assert 20 < len(words) < 1500 and "Traceback" not in words and words.strip().endswith((".", "!"))
    assert not [text for level, text in said if level == "error"], "said once, under the form"
    assert not (ready.session.project.root / "labels" / "theirs").exists()
    back.name.setText("theirs-2")
    assert not back.problem.isVisible()


def test_an_import_that_is_no_folder_and_a_bad_name_are_told(ready, qtbot):
    back = ready.import_back
    ready.import_fold.open()
    back.folder.line.setText("/no/such/folder")
    back.name.setText("../up")
    assert not back.go.isEnabled() and "letters" in back.note.text()
    back.name.setText("good")
    back.start()
    qtbot.waitUntil(lambda: back.problem.isVisible())
    assert "is no folder" in back.problem.text()
