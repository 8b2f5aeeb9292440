"""The boxes of the Export page: measured with the engine's own step, drawn on the image, read from the curves."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from engine import run as engine_run
from engine.messages import Boxes, Failed, Job
from engine.results import CamStack
from engine.store import Project, new_run
from engine.store.truth import read_truth
from wsss_napari.box_view import accuracies, figure_of, look, share, summary
from wsss_napari.desk import desk_of
from wsss_napari.pages.export import ExportPage

FAKE = runpy.run_path(str(Path(__file__).with_name("fake_engine.py")))
# The image whose maps lie elsewhere than its objects.
LOST = "im_002"


def do(job: Job) -> Any:
    """Do the job here and now; boxes need no torch."""
    return list(engine_run.run(job))[-1]


def write_maps(project: Project, stems: tuple[str, ...]) -> None:
    """Write a run whose maps rise from 0 at a distance to 1 on the object, and lie wrong on one image."""
    run = new_run(project.root, "drawn", "cam", {"method": "cam", "params": {}})
    views = run.views("default")
    for stem in stems:
        mask = read_truth(project, stem)
        classes = project.tags().present(stem)
        maps = np.stack([np.where(mask == c + 1, 1.0, 0.25 * (np.arange(64) < 32)[None, :]) for c in classes])
        if stem == LOST:
            maps = maps[:, ::-1, ::-1]
        scores = np.full(len(project.classes), 0.1, np.float32)
        scores[classes[0]] = 0.9
        stack = CamStack(
            image=stem, size=mask.shape, classes=classes, maps=maps.astype(np.float16),
            peaks=np.ones(len(classes), np.float32), cell=1.0, origin=0.0, scores=scores, facts={"digest": "d"},
        )  # fmt: skip
        stack.save(views.path(stem))
    (views.folder / "views.json").write_text('{"kinds": ["cams"]}')
    run.weights.write_bytes(b"0")
    run.end("finished")


def write_boxes(project: Project, file: Path) -> dict[tuple[str, str], tuple[int, int, int, int]]:
    """Write the true boxes of all images but one as CSV and return them."""
    found = {}
    for stem in project.usable[:-1]:
        mask = read_truth(project, stem)
        for cls in project.tags().present(stem):
            ys, xs = np.nonzero(mask == cls + 1)
            found[stem, project.classes[cls]] = (xs.min(), ys.min(), xs.max(), ys.max())
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["image", "x0", "y0", "x1", "y1", "class"])
        writer.writerows((stem, *box, name) for (stem, name), box in found.items())
    return found


@pytest.fixture
def page(qtbot, monkeypatch):
    monkeypatch.setattr("wsss_napari.worker.Engine", lambda: FAKE["FakeEngine"]({Boxes: do}))
    viewer = ViewerModel()
    shown = ExportPage(desk_of(viewer))
    shown.viewer = viewer
    qtbot.addWidget(shown)
    shown.resize(380, 1000)
    shown.show()
    return shown


@pytest.fixture
def true_boxes(small_project, tmp_path):
    return write_boxes(small_project, tmp_path / "boxes.csv")


@pytest.fixture
def ready(page, small_project, true_boxes, tmp_path):
    """The page with its section open, maps and true boxes chosen."""
    write_maps(small_project, small_project.usable)
    page.session.open(small_project.root)
    page.enter()
    page.boxes_fold.open()
    page.boxes.file.line.setText(str(tmp_path / "boxes.csv"))
    return page


@pytest.fixture
def measured(ready, qtbot):
    with qtbot.waitSignal(ready.boxes.measured):
        qtbot.mouseClick(ready.boxes.go, Qt.MouseButton.LeftButton)
    return ready


def layer_of(page: Any, key: str) -> Any:
    return page.desk.layers.get(f"boxes:{key}")


def spans(shapes: Any) -> set[tuple[float, float, float, float]]:
    """Return (left, top, right, bottom) of each rectangle."""
    return {(*s[:, ::-1].min(0), *s[:, ::-1].max(0)) for s in shapes}


def test_it_says_what_is_missing(page, small_project, tmp_path):
    page.session.open(small_project.root)
    page.enter()
    page.boxes_fold.open()
    section = page.boxes
    assert not section.go.isEnabled() and "no maps yet" in section.note.text()
    assert section.command() is None and not section.copy.isEnabled() and section.found.isHidden()
    write_maps(small_project, small_project.usable)
    section.refresh()
    assert "Choose a file of true boxes" in section.note.text() == section.go.toolTip()
    section.file.line.setText(str(tmp_path / "boxes.csv"))
    assert section.go.isEnabled() and section.go.toolTip() == section.command()
    assert not page.desk.layers.keys or page.desk.layers.keys == ("photograph",)


def test_the_job_is_what_is_chosen_and_the_command_is_the_same(ready, qtbot, tmp_path):
    section = ready.boxes
    section.split.setCurrentIndex(section.split.findData("val"))
    section.side.setCurrentIndex(section.side.findData(0))
    line = section.command()
    for part in (
        "wsss boxes -p ",
        "--source drawn",
        f"--truth-boxes {tmp_path / 'boxes.csv'}",
        "--split val",
        "--side 0",
    ):
        assert part in line
    section.copy.click()
    assert QApplication.clipboard().text() == line
    with qtbot.waitSignal(section.measured):
        section.start()
        assert not section.go.isEnabled(), "once at a time"
    (job,) = ready.desk.engine.given(Boxes)
    assert (job.source, job.split, job.side) == ("drawn", "val", 0)
    assert section.go.isEnabled() and section.result["images"] == 1


def test_three_figures_the_rest_in_words_and_the_failures(measured, true_boxes):
    section = measured.boxes
    result = section.result
    failed = {name for stem, name in true_boxes if stem == LOST}
    assert result["pairs"] == len(true_boxes) and result["max_box_acc"] == pytest.approx(
        1 - len(failed) / len(true_boxes)
    )
    assert section.numbers["max_box_acc"].text() == share(result["max_box_acc"])
    assert section.numbers["max_box_acc_v2"].text() == share(result["max_box_acc_v2"])
    assert section.numbers["top1_loc"].text() == share(result["top1_loc"])
    assert 0 < result["top1_loc"] < result["max_box_acc"], "some are classified wrong"
    assert all(label.toolTip() for label in section.numbers.values())
    note = section.note.text()
    assert f"{len(true_boxes)} pairs" in note and "5 images" in note and "upper bound" in note
    rows = [section.failures.item(i).text() for i in range(section.failures.count())]
    assert {row.split(" · ")[0] for row in rows} == {LOST} and {row.split(" · ")[1] for row in rows} == failed
    assert section.failures_title.text().endswith("worst first:")


def test_boxes_follow_the_threshold_and_lie_on_the_objects(measured, true_boxes, qtbot):
    section, session = measured.boxes, measured.session
    best = section.result["thresholds"]["0.5"]
    assert section.threshold == pytest.approx(best, abs=6e-4)
    image, name = next(key for key in true_boxes if key[0] == session.image)
    section.cls.setCurrentText(name)
    x0, y0, x1, y1 = true_boxes[image, name]
    truth, predicted = layer_of(measured, "truth"), layer_of(measured, "predicted")
    assert spans(truth.data) == {(x0 - 0.5, y0 - 0.5, x1 + 0.5, y1 + 0.5)}
    assert len(truth.data) == 2, "white with a black border"
    section.slider.setValue(800)
    (box,) = spans(layer_of(measured, "predicted").data)
    np.testing.assert_allclose(box, (x0 - 0.5, y0 - 0.5, x1 + 0.5, y1 + 0.5), atol=1.5)
    assert section.sight.text().startswith(f"{image} · {name}: 1 box, best overlap ")
    assert float(section.sight.text().rstrip(".").split()[-1]) > 0.85
    section.slider.setValue(100)  # the left half of the picture is above
    (wide,) = spans(layer_of(measured, "predicted").data)
    assert wide[2] - wide[0] > 30 and layer_of(measured, "predicted") is predicted, "in place"
    at = accuracies(section.result, 0.1)
    assert share(at["0.5"]) in section.at.text() and section.value.text() == "0.100"
    section.slider.setValue(1000)
    assert layer_of(measured, "predicted") is None and "nothing lies above" in section.sight.text()
    assert layer_of(measured, "truth") is not None
    qtbot.mouseClick(section.best, Qt.MouseButton.LeftButton)
    assert section.threshold == pytest.approx(best, abs=6e-4) and layer_of(measured, "predicted") is not None


def test_boxes_have_the_colour_of_their_class_and_a_class_is_chosen_here_or_elsewhere(measured, true_boxes):
    section, session = measured.boxes, measured.session
    image = next(stem for stem, _ in true_boxes if len([k for k in true_boxes if k[0] == stem]) == 2)
    session.jump(image)
    names = [section.cls.itemText(i) for i in range(section.cls.count())]
    assert set(names) == {name for stem, name in true_boxes if stem == image}
    for name in names:
        section.cls.setCurrentText(name)
        cls = session.project.classes.index(name)
        assert session.cls == cls
        layer = layer_of(measured, "predicted")
        assert image in layer.name and name in layer.name
        wanted = np.array([int(measured.desk.colours[cls][i : i + 2], 16) / 255 for i in (1, 3, 5)])
        np.testing.assert_allclose(layer.edge_color[0, :3], wanted, atol=1e-3)
        assert not layer.editable
    session.cls = session.project.classes.index(names[0])
    assert section.cls.currentText() == names[0]


def test_a_failure_leads_to_its_image_and_class(measured, qtbot):
    section, session = measured.boxes, measured.session
    assert session.image != LOST
    item = section.failures.item(section.failures.count() - 1)
    place = section.failures.visualItemRect(item).center()
    qtbot.mouseClick(section.failures.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert session.image == LOST
    name = item.text().split(" · ")[1]
    assert section.cls.currentText() == name == session.project.classes[session.cls]
    overlap = float(item.text().split(" · ")[2])
    assert f"best overlap {overlap:.2f}" in section.sight.text(), "what was measured is what is shown"


def test_an_image_without_maps_or_true_boxes_says_so(measured, small_project):
    section, session = measured.boxes, measured.session
    last = small_project.usable[-1]
    session.jump(last)
    assert "There is no true box of this class" in section.sight.text()
    assert layer_of(measured, "truth") is None and layer_of(measured, "predicted") is not None
    (small_project.root / "runs" / "drawn" / "views" / "default" / last / "cams.npz").unlink(missing_ok=True)
    session.jump(small_project.usable[0])
    for file in small_project.root.glob(f"runs/drawn/**/*{last}*"):
        if file.is_file():
            file.unlink()
    session.jump(last)
    assert f"No maps of {last}" in section.sight.text() and section.cls.count() == 0
    assert layer_of(measured, "predicted") is None


def test_layers_go_with_the_section_and_the_page_and_come_back(measured):
    keys = {"boxes:predicted", "boxes:truth"}
    assert keys <= set(measured.desk.layers.keys)
    measured.boxes_fold.open(False)
    assert not keys & set(measured.desk.layers.keys)
    measured.boxes_fold.open()
    assert keys <= set(measured.desk.layers.keys)
    measured.leave()
    assert not keys & set(measured.desk.layers.keys)
    measured.session.next_image()
    assert not keys & set(measured.desk.layers.keys), "nothing is drawn for a page that is away"
    measured.enter()
    assert keys <= set(measured.desk.layers.keys)


def test_another_project_forgets_the_result(measured, small_project):
    measured.session.close()
    assert measured.boxes.result is None and measured.boxes.found.isHidden()
    assert layer_of(measured, "predicted") is None
    measured.session.open(small_project.root)
    assert measured.boxes.found.isHidden()


def test_a_run_that_is_gone_is_told_in_words(measured, small_project):
    import shutil

    shutil.rmtree(small_project.root / "runs" / "drawn")
    measured.session.next_image()
    assert "drawn" in measured.boxes.sight.text() and layer_of(measured, "predicted") is None


def test_a_failed_measurement_leaves_the_section_ready(ready, qtbot, monkeypatch):
    told = []
    monkeypatch.setattr(ready.desk, "said", lambda level, text: told.append(text))
    ready.desk.engine.answers[Boxes] = lambda job: Failed(message="boxes.csv cannot be read.", mistake=True)
    ready.boxes.start()
    qtbot.waitUntil(lambda: ready.boxes.go.isEnabled())
    assert ready.boxes.result is None and ready.boxes.found.isHidden()
    assert told == ["boxes.csv cannot be read."]


def test_curves_are_in_the_strip_while_the_section_is_open(
    small_project, true_boxes, tmp_path, make_napari_viewer_proxy, qtbot, monkeypatch
):
    monkeypatch.setattr("wsss_napari.worker.Engine", lambda: FAKE["FakeEngine"]({Boxes: do}))
    write_maps(small_project, small_project.usable)
    page = ExportPage(desk_of(make_napari_viewer_proxy()))
    qtbot.addWidget(page)
    page.session.open(small_project.root)
    page.enter()
    page.boxes_fold.open()
    assert page.desk.plots.shown is None
    page.boxes.file.line.setText(str(tmp_path / "boxes.csv"))
    with qtbot.waitSignal(page.boxes.measured):
        page.boxes.start()
    assert page.desk.plots.shown is page.boxes.figure
    page.boxes_fold.open(False)
    assert page.desk.plots.shown is None
    page.boxes_fold.open()
    assert page.desk.plots.shown is page.boxes.figure
    page.boxes.figure.save_csv(tmp_path / "out.csv")
    rows = list(csv.reader((tmp_path / "out.csv").read_text().splitlines()))
    assert rows[0][0] == "threshold" and len(rows) == 1 + len(page.boxes.result["curve"]["threshold"])
    page.leave()
    assert page.desk.plots.shown is None


# --- without Qt ------------------------------------------------------------------------------------


def result_of(**more: Any) -> dict[str, Any]:
    thresholds = [0.0, 0.004, 0.5, 0.9]
    return {
        "max_box_acc": 0.5, "max_box_acc_v2": 0.6, "top1_loc": None, "top1_cls": None, "images": 1, "pairs": 2,
        "at": {"0.3": 1.0, "0.5": 0.5, "0.7": 0.3},
        "thresholds": {"0.3": 0.0, "0.5": 0.5, "0.7": 0.9, "v1": 0.5},
        "per_class": {"a": {"mean": 0.25}, "b": {"mean": 1.0}},
        "curve": {"threshold": thresholds, "0.3": [1.0, 0.9, 0.8, 0.1], "0.5": [0.1, 0.2, 0.5, 0.4],
                  "0.7": [0.0, 0.1, 0.2, 0.3], "v1": [0.0, 0.1, 0.5, 0.4]},
        "iou_histogram": {"edges": [i / 10 for i in range(11)], "counts": list(range(10))},
        "failures": [], "passed_over": [{"why": "not in cam", "count": 1200, "images": []}],
        "source": "cam/default", "split": None, "side": 224, **more,
    }  # fmt: skip


def test_the_accuracy_at_a_threshold_is_that_of_the_cut_it_makes() -> None:
    result = result_of()
    assert [accuracies(result, t)["0.5"] for t in (0, 0.003, 0.004, 0.499, 0.5, 0.7, 1)] == [0.1, 0.1, 0.2, 0.2, 0.5, 0.5, 0.4]  # fmt: skip


def test_the_figure_marks_the_best_thresholds_and_holds_the_curves() -> None:
    figure = figure_of(result_of())
    curves, overlaps, classes = figure.panels
    assert {(x, y) for x, y, _ in curves.marks} == {(0.0, 1.0), (0.5, 0.5), (0.9, 0.3)}
    assert [s.y for s in curves.series][1] == (0.1, 0.2, 0.5, 0.4) and len(curves.series) == 4
    assert overlaps.series[0].y == tuple(range(10)) and classes.categories == ("a", "b")
    assert next(iter(figure.rows)) == "threshold" and len(figure.rows) == 5
    many = {f"c{n}": {"mean": 0.5} for n in range(200)}
    assert len(figure_of(result_of(per_class=many)).panels) == 2, "nobody reads 200 bars"


def test_what_was_passed_over_and_what_is_not_there_is_said() -> None:
    text = summary(result_of())
    assert "1,200 not in cam" in text and "no Top-1" in text and "2 pairs" in text and "1 image." in text
    assert share(None) == "–" and share(0.125) == "12.5 %"
    scored = summary(result_of(top1_cls=0.75))
    assert "classified right 75.0 %" in scored and "no Top-1" not in scored


def test_boxes_of_a_square_map_lie_on_the_image_where_they_belong() -> None:
    heat = np.zeros((20, 20))
    heat[4:8, 10:15] = 1.0
    sight = look(heat, (40, 60), 0.5, [(30.0, 8.0, 44.0, 15.0)])
    (box,) = spans(sight.predicted)
    assert box == (29.5, 7.5, 44.5, 15.5)
    assert spans(sight.truth) == {(29.5, 7.5, 44.5, 15.5)} and sight.count == 1
    # The protocol's boxes end a pixel late: 5 x 4 against 6 x 5 with both ends inside.
    assert sight.overlap == pytest.approx(20 / 30)
    nothing = look(np.zeros((20, 20)), (40, 60), 0.5, [(30.0, 8.0, 44.0, 15.0)])
    assert (
        nothing.predicted == [] and nothing.overlap is None and nothing.count == 0 and len(nothing.truth) == 1
    )
    alone = look(heat, (40, 60), 0.5, [])
    assert alone.overlap is None and alone.truth == [] and alone.count == 1


def test_the_largest_region_comes_first_and_specks_beyond_200_are_counted_but_not_drawn() -> None:
    heat = np.zeros((64, 64))
    heat[::3, ::3] = 1.0
    heat[40:60, 40:60] = 1.0
    sight = look(heat, (64, 64), 0.5, [])
    assert sight.count > 200 and len(sight.predicted) == 200
    (first,) = spans(sight.predicted[:1])
    assert first[2] - first[0] >= 20
