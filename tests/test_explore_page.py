"""The Explore page: maps, the rule on the histogram, figures, boxes side by side."""

from __future__ import annotations

import dataclasses
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from scipy import ndimage

from engine.atomic import write_json
from engine.labels import LabelRule, apply, best_class
from engine.messages import Finished, Infer, Label, Viewed
from engine.metrics import image_report
from engine.results import CamStack
from engine.store import Project, Run, label_set, new_run
from engine.store.truth import read_truth
from wsss_napari.desk import desk_of
from wsss_napari.map_files import OTHERS
from wsss_napari.mask_view import MaskView, merged, scores_at, shares, with_background, with_threshold
from wsss_napari.pages.explore import ExplorePage
from wsss_napari.readouts import rows_of
from wsss_napari.side_by_side import painted_map, painted_mask

FAKE = runpy.run_path(str(Path(__file__).with_name("fake_engine.py")))
CELL = 4


def stack_of(project: Project, stem: str, classes: tuple[int, ...] | None = None, seed: int = 0) -> CamStack:
    """Return maps that light the truth softly, as a good run's would."""
    truth = read_truth(project, stem)
    assert truth is not None
    if classes is None:
        classes = tuple(int(c) - 1 for c in np.unique(truth) if 0 < c < 255)
    rng = np.random.default_rng(seed)
    maps = []
    for c in classes:
        soft = ndimage.gaussian_filter((truth == c + 1).astype(np.float32), 3)[::CELL, ::CELL]
        soft = soft + 0.05 * rng.random(soft.shape, dtype=np.float32)
        maps.append(soft / soft.max())
    height, width = truth.shape
    cells = (-(-height // CELL), -(-width // CELL))
    return CamStack(
        image=stem,
        size=(height, width),
        classes=classes,
        maps=np.array(maps, np.float16).reshape(len(classes), *cells),
        peaks=np.full(len(classes), 8, np.float32),
        cell=float(CELL),
        origin=0.0,
        scores=np.full(len(project.classes), 0.5, np.float32),
        facts={"digest": "d"},
    )


def drawn_run(project: Project, stems: tuple[str, ...] | None = None) -> Run:
    """Write a finished run with maps of these images."""
    run = new_run(project.root, None, "cam", {"method": "cam", "params": {"backbone": "tiny_cnn"}})
    run.weights.write_bytes(b"0")
    run.end("finished")
    views = run.views()
    write_json(views.folder / "views.json", {"settings": {"classes": "present", "flip": False}})
    for stem in stems if stems is not None else project.usable:
        stack_of(project, stem).save(views.path(stem))
    return run


def make_page(viewer: Any, qtbot: Any) -> ExplorePage:
    shown = ExplorePage(desk_of(viewer))
    qtbot.addWidget(shown)
    shown.resize(380, 900)
    shown.show()
    shown.viewer = viewer
    return shown


def make_ready(page: ExplorePage, project: Project) -> ExplorePage:
    drawn_run(project)
    page.session.open(project.root)
    page.session.jump("im_001")
    page.enter()
    assert page.view is not None and len(page.view.classes) == 2
    return page


@pytest.fixture
def page(qtbot, monkeypatch):
    """The page beside a viewer without a window, which is made in no time."""
    monkeypatch.setattr("wsss_napari.worker.Engine", FAKE["FakeEngine"])
    return make_page(ViewerModel(), qtbot)


@pytest.fixture
def ready(page, small_project):
    """The page on an image with two classes whose maps are drawn."""
    return make_ready(page, small_project)


@pytest.fixture
def in_window(small_project, make_napari_viewer_proxy, qtbot, monkeypatch):
    """The same in a real window."""
    monkeypatch.setattr("wsss_napari.worker.Engine", FAKE["FakeEngine"])
    return make_ready(make_page(make_napari_viewer_proxy(), qtbot), small_project)


def mask_layer(page: ExplorePage) -> Any:
    return page.desk.layers.get("mask")


def test_it_says_what_is_missing_step_by_step(page, small_project, qtbot):
    assert "No project is open" in page.hint
    page.session.open(small_project.root)
    assert "No run yet" in page.hint
    run = drawn_run(small_project, stems=())
    page.session.run = run.id
    page.enter()
    assert page.hint == "" and page.panel.missing.isVisible() and not page.panel.tools.isVisible()
    assert "No maps of im_000" in page.panel.why_missing.text()
    assert page.panel.draw_all.text() == "Draw maps of all 6 images"
    assert page.command().startswith(f"wsss infer cam -p {small_project.root}")
    assert page.command().endswith("--images im_000")


def test_drawing_is_a_job_and_its_result_appears(page, small_project, qtbot):
    run = drawn_run(small_project, stems=())
    page.session.open(small_project.root)
    page.enter()
    qtbot.mouseClick(page.panel.draw_one, Qt.MouseButton.LeftButton)
    (job,) = page.desk.engine.given(Infer)
    assert (job.run, job.images, job.views) == ("cam", ("im_000",), "default")
    assert "Drawing" in page.panel.why_missing.text() and not page.panel.draw_one.isVisible()
    stack_of(small_project, "im_000").save(run.views().path("im_000"))
    page.desk.engine.tell(job.id, Viewed(image="im_000", kind="cams", path="x"))
    qtbot.waitUntil(lambda: page.view is not None)
    page.desk.engine.end(job.id, Finished(result={"images": 1, "kept": 0}))
    assert page.panel.tools.isVisible() and mask_layer(page) is not None


def test_opening_it_adds_no_layer_before_it_is_shown(page, small_project):
    drawn_run(small_project)
    page.session.open(small_project.root)
    assert [layer.name for layer in page.viewer.layers] == ["im_000"]
    page.enter()
    assert mask_layer(page) is not None


def test_maps_lie_where_they_belong_under_their_names(ready):
    names = [layer.name for layer in ready.viewer.layers]
    classes = [ready.session.project.classes[c] for c in ready.view.classes]
    assert names == ["im_001", *(f"im_001 · CAM · {c}" for c in classes), "im_001 · mask"]
    layer = ready.desk.layers.get(f"map:{classes[0]}")
    assert tuple(layer.scale) == (CELL, CELL) and tuple(layer.translate) == (0, 0)
    assert tuple(layer.contrast_limits) == (0, 1) and layer.colorbar.visible
    assert layer.data.shape == (12, 16)


def test_the_mask_is_what_the_labels_will_be(ready):
    stack = stack_of(ready.session.project, "im_001")
    best, which = best_class(stack.full())
    wanted = apply(ready.panel.rule.rule, best, which, stack.classes)
    np.testing.assert_array_equal(mask_layer(ready).data, wanted)


def test_dragging_the_handle_changes_the_mask_at_once(ready):
    before = mask_layer(ready).data.copy()
    layer = mask_layer(ready)
    ready.panel.rule.histogram._set(0, 0.9)
    after = mask_layer(ready).data
    assert mask_layer(ready) is layer
    assert (after > 0).sum() < (before > 0).sum()
    assert ready.panel.rule.rule == LabelRule("constant", 0.9)


def test_the_figures_follow_when_the_hand_rests(ready, qtbot):
    project = ready.session.project
    ready.panel.rule.histogram._set(0, 0.5)
    report = image_report(read_truth(project, "im_001"), mask_layer(ready).data, project.classes)
    table = ready.panel.figures.table
    qtbot.waitUntil(lambda: table.horizontalHeaderItem(0).text() == f"mIoU {report['miou']:.3f}")
    names = [table.item(r, 0).text() for r in range(table.rowCount())]
    assert names[0] == "background" and len(names) == 3
    areas = [float(table.item(r, 1).text().rstrip(" %")) for r in range(table.rowCount())]
    assert sum(areas) == pytest.approx(100, abs=0.2)


def test_without_truth_there_are_areas_only(page, small_project, tmp_path):
    drawn_run(small_project)
    small_project.truth_place.folder.rename(tmp_path / "elsewhere")
    page.session.open(small_project.root)
    page.enter()
    assert page.panel.figures.table.isColumnHidden(2)
    assert "no truth mask" in page.panel.figures.line.text()
    assert not page.panel.truth.isEnabled()


def test_the_unsure_band_has_two_handles_and_hatches_the_mask(ready, qtbot):
    ready.panel.rule.band.click()
    rule = ready.panel.rule.rule
    assert rule.ignore is not None and ready.panel.rule.histogram.band
    data = mask_layer(ready).data
    assert {254, 255} & set(np.unique(data).tolist())
    assert "--ignore" in ready.command()
    ready.panel.rule.band.click()
    assert ready.panel.rule.rule.ignore is None


def test_backgrounds_are_chosen_by_picture_and_keep_the_threshold(ready):
    ready.panel.rule.histogram._set(0, 0.3)
    ready.panel.rule.pictures["power"].click()
    rule = ready.panel.rule.rule
    assert rule.background == "power" and float(rule.threshold()) == pytest.approx(0.3, abs=1e-3)
    ready.panel.rule.pictures["one_minus_max"].click()
    assert float(ready.panel.rule.rule.threshold()) == pytest.approx(0.5)
    assert ready.panel.rule.histogram._locked
    assert "--background one_minus_max" in ready.command()


def test_a_rule_is_undone_as_one_deed(ready, qtbot):
    histogram = ready.panel.rule.histogram
    histogram.setFocus()
    for _ in range(3):
        qtbot.keyClick(histogram, Qt.Key.Key_Right)
    assert ready.panel.rule.rule.value == pytest.approx(0.23)
    assert ready.desk.history.undo() is not None
    assert ready.panel.rule.rule.value == pytest.approx(0.22)
    ready.desk.history.redo()
    assert ready.panel.rule.rule.value == pytest.approx(0.23)
    assert (mask_layer(ready).data > 0).any()


def test_a_switched_off_class_leaves_mask_and_layers(ready):
    first, second = ready.view.classes
    ready.panel.toggles.buttons[first].click()
    assert ready.view.classes == (second,)
    assert first + 1 not in np.unique(mask_layer(ready).data)
    name = ready.session.project.classes[first]
    assert ready.desk.layers.get(f"map:{name}") is None
    ready.panel.toggles.buttons[first].click()
    assert ready.view.classes == (first, second)


def test_one_map_shines_through_and_several_cover(ready):
    first, second = (ready.session.project.classes[c] for c in ready.view.classes)
    ready.session.cls = ready.view.classes[1]
    layers = {name: ready.desk.layers.get(f"map:{name}") for name in (first, second)}
    assert not layers[first].visible and layers[second].visible and layers[second].blending == "additive"
    ready.panel.maps.setCurrentIndex(ready.panel.maps.findData("all"))
    ready.panel.maps.activated.emit(1)
    assert all(layer.visible for layer in layers.values())
    assert {layer.blending for layer in layers.values()} == {"translucent_no_depth"}


def test_what_a_person_set_on_a_layer_stays(ready):
    name = ready.session.project.classes[ready.view.classes[0]]
    layer = ready.desk.layers.get(f"map:{name}")
    layer.contrast_limits, layer.name = (0.2, 0.6), "my map"
    mask_layer(ready).opacity = 0.9
    ready.panel.rule.histogram._set(0, 0.6)
    ready.load()
    assert tuple(layer.contrast_limits) == (0.2, 0.6) and layer.name == "my map"
    assert mask_layer(ready).opacity == 0.9


def test_deleting_our_layers_never_raises(ready):
    for layer in list(ready.viewer.layers):
        ready.viewer.layers.remove(layer)
    ready.panel.rule.histogram._set(0, 0.6)
    ready.panel.mask.activated.emit(1)
    ready.panel.truth.click()
    ready.session.next_image()
    ready.load()
    assert mask_layer(ready) is not None


def test_it_works_in_a_real_window(in_window):
    in_window.panel.rule.histogram._set(0, 0.6)
    assert mask_layer(in_window).name == "im_001 · mask"
    in_window.viewer.theme = "light"
    assert in_window.panel.rule.histogram._theme["type"] == "light"


def test_the_next_image_brings_its_own_maps(ready):
    ready.session.next_image()
    assert mask_layer(ready).name == "im_002 · mask"
    assert all("im_002" in layer.name for layer in ready.viewer.layers)


def test_maps_of_the_last_image_do_not_lie_over_one_without_maps(ready):
    views = ready.jobs.source
    views.path("im_002").unlink()
    ready.session.next_image()
    assert [layer.name for layer in ready.viewer.layers] == ["im_002"]


def test_on_another_page_the_maps_go_with_their_image(ready):
    ready.leave()
    ready.session.next_image()
    assert [layer.name for layer in ready.viewer.layers] == ["im_002"]
    ready.enter()
    assert mask_layer(ready).name == "im_002 · mask"


def test_truth_is_outlined_on_demand(ready):
    ready.panel.truth.click()
    layer = ready.desk.layers.get("truth")
    assert layer.contour == 2 and layer.name == "im_001 · truth"
    ready.panel.truth.click()
    assert ready.desk.layers.get("truth") is None


def test_small_regions_go_when_the_hand_rests(ready, qtbot):
    ready.panel.rule.histogram._set(0, 0.5)
    assert mask_layer(ready).data.any()
    ready.panel.rule.min_region.setValue(1200)  # each square has about 360 px
    qtbot.waitUntil(lambda: not mask_layer(ready).data.any())
    assert "--min-region 1200" in ready.command()


def test_why_names_the_scores_of_a_pixel(ready):
    truth = read_truth(ready.session.project, "im_001")
    row, column = (int(v) for v in np.argwhere((truth > 0) & (truth < 255))[len(np.argwhere(truth > 0)) // 2])
    text = ready._why(row, column)
    for cls in ready.view.stack.classes:
        assert ready.session.project.classes[cls] in text
    assert f"row {row}, column {column}" in text and "threshold 0.2" in text
    assert ready._why(-1, 0) is None and ready._why(0, 10_000) is None


def test_why_follows_the_pointer_and_goes(in_window):
    in_window.panel.why.click()
    assert in_window.why.on
    in_window.why.show_at(20.2, 30.1)
    assert (
        in_window.why.label.isVisibleTo(in_window.why.label.parentWidget())
        and "row 20" in in_window.why.label.text()
    )
    in_window.why.show_at(-50, 3)
    assert not in_window.why.label.isVisibleTo(in_window.why.label.parentWidget())
    in_window.panel.why.click()
    assert in_window.why.label is None and not in_window.viewer.mouse_move_callbacks


def test_boxes_stand_side_by_side_and_everything_returns(in_window):
    visible = {layer.name: layer.visible for layer in in_window.viewer.layers}
    other = drawn_run(in_window.session.project)
    in_window._labels_changed()
    in_window.panel.compare.click()
    grid = in_window.viewer.canvas.grid
    assert grid.enabled and grid.stride == 1
    shown = [layer.name for layer in in_window.viewer.layers if layer.visible]
    assert len(shown) == 3 and "Truth" in shown
    assert all(layer.name_overlay.visible for layer in in_window.viewer.layers if layer.visible)
    items = [in_window.panel.boxes.item(i) for i in range(in_window.panel.boxes.count())]
    item = next(i for i in items if i.text() == f"{other.title} · mask")
    item.setCheckState(Qt.CheckState.Checked)
    assert len([layer for layer in in_window.viewer.layers if layer.visible]) == 4
    in_window.panel.compare.click()
    assert not grid.enabled
    assert {layer.name: layer.visible for layer in in_window.viewer.layers} == visible


def test_the_next_image_is_compared_in_the_same_cells(ready):
    ready.panel.compare.click()
    ready.session.next_image()
    shown = [layer.name for layer in ready.viewer.layers if layer.visible]
    assert len(shown) == 3 and not any("CAM" in name for name in shown)
    ready.panel.compare.click()
    shown = [layer.name for layer in ready.viewer.layers if layer.visible]
    assert "im_002" in shown and "im_002 · mask" in shown


def test_an_image_without_maps_ends_the_comparison(ready):
    ready.panel.compare.click()
    ready.jobs.source.path("im_002").unlink()
    ready.session.next_image()
    assert not ready.compare.on and [layer.name for layer in ready.viewer.layers] == ["im_002"]


def test_changed_tags_are_noticed_and_the_maps_drawn_again(ready, qtbot):
    stack = stack_of(ready.session.project, "im_001")
    dataclasses.replace(stack, facts={"digest": "d", "classes": "present"}).save(
        ready.jobs.source.path("im_001")
    )
    ready.load()
    assert not ready.panel.redraw.isVisible()
    (new,) = set(range(3)) - set(stack.classes)
    ready.session.set_tag("im_001", new, 1)
    assert ready.panel.redraw.isVisible() and "tags of this image changed" in ready.panel.notice.text()
    qtbot.mouseClick(ready.panel.redraw, Qt.MouseButton.LeftButton)
    (job,) = ready.desk.engine.given(Infer)
    assert job.images == ("im_001",) and job.views == "default"
    assert job.settings == {"classes": "present", "flip": False}, (
        "the same settings, or all would be drawn anew"
    )
    ready.desk.history.undo()
    assert not ready.panel.redraw.isVisible()


def test_settings_that_are_the_defaults_are_not_repeated(ready):
    infer = [{"name": "classes", "default": "present"}, {"name": "flip", "default": True}]
    ready.session.methods = ({"name": "cam", "available": True, "infer": infer},)
    assert ready.jobs.draw(()).settings == {"flip": False}
    assert ready.jobs.draw_others("im_001").settings == {"flip": False, "classes": "all"}


def test_labels_name_the_images_that_have_no_maps(ready, qtbot):
    ready.jobs.source.path("im_005").unlink()
    ready.panel.use.click()
    panel = ready.panel.labels
    assert panel.go.text() == "Make labels for 5 images"
    assert panel.rest.text() == "Draw maps of the other 1 first"
    qtbot.mouseClick(panel.rest, Qt.MouseButton.LeftButton)
    (job,) = ready.desk.engine.given(Infer)
    assert job.images == ()


def test_leaving_the_page_ends_the_comparison(ready):
    ready.panel.compare.click()
    ready.leave()
    assert not ready.viewer.canvas.grid.enabled and not ready.panel.compare.isChecked()


def test_the_rule_becomes_labels_of_all_images(ready, qtbot):
    ready.panel.rule.histogram._set(0, 0.35)
    qtbot.mouseClick(ready.panel.use, Qt.MouseButton.LeftButton)
    panel = ready.panel.labels
    assert panel.go.text() == "Make labels for 6 images"
    panel.name.setText("bad name/")
    assert not panel.go.isEnabled() and "letters" in panel.note.text()
    panel.name.setText("first")
    panel.crf.setCurrentText("irn")
    line = ready.command()
    qtbot.mouseClick(panel.go, Qt.MouseButton.LeftButton)
    (job,) = ready.desk.engine.given(Label)
    assert (job.source, job.name, job.background, job.crf) == ("cam", "first", "constant:0.35", "irn")
    for part in ("--source cam", "--name first", "--background constant:0.35", "--crf irn"):
        assert part in line
    assert not panel.isVisible()


def test_labels_that_would_be_replaced_are_named(ready):
    project = ready.session.project
    label_set(project.root, project.colours, "labels", new=True).write("im_001", np.zeros((48, 64), np.uint8))
    ready.panel.use.click()
    assert "will be replaced" in ready.panel.labels.note.text()


def test_other_classes_are_drawn_for_this_image_only_and_start_off(ready, qtbot):
    project = ready.session.project
    assert ready.panel.toggles.others.isVisible()
    ready.panel.toggles.others.click()
    (job,) = ready.desk.engine.given(Infer)
    assert (job.images, job.views, job.settings["classes"]) == (("im_001",), OTHERS, "all")
    assert job.settings["flip"] is False
    views = ready.session.chosen_run.views(OTHERS)
    stack_of(project, "im_001", classes=(0, 1, 2)).save(views.path("im_001"))
    tagged = ready.view.classes
    ready.desk.engine.end(job.id, Finished(result={"images": 1, "kept": 0}))
    assert ready.view.stack.classes == (0, 1, 2) and ready.view.classes == tagged
    assert not ready.panel.toggles.others.isVisible()
    (new,) = set(range(3)) - set(tagged)
    ready.panel.toggles.buttons[new].click()
    assert ready.view.classes == (0, 1, 2)


def test_a_flat_map_is_called_no_evidence(ready):
    stack = stack_of(ready.session.project, "im_001")
    peaks = stack.peaks.copy()
    peaks[0] = 0.01
    dataclasses.replace(stack, peaks=peaks).save(ready.jobs.source.path("im_001"))
    ready.load()
    name = ready.session.project.classes[stack.classes[0]]
    assert ready.panel.notice.isVisible() and f"{name}: no evidence" in ready.panel.notice.text()


def test_a_damaged_file_is_told_and_can_be_drawn_again(ready):
    ready.jobs.source.path("im_001").write_bytes(b"no npz")
    ready.load()
    assert ready.view is None and "cannot be read" in ready.panel.why_missing.text()
    assert ready.panel.draw_one.isVisible()


def test_maps_of_another_image_or_project_are_refused_in_words(ready):
    stack = stack_of(ready.session.project, "im_001")
    for change, said in (
        ({"size": (10, 10)}, "Draw it again"),
        ({"classes": tuple(c + 7 for c in stack.classes)}, "Draw it again"),
        ({"maps": np.full_like(stack.maps, np.nan)}, "no numbers"),
    ):
        forged = dataclasses.replace(stack)
        for name, value in change.items():
            object.__setattr__(forged, name, value)  # as a stranger's file, which no class has checked
        forged.save(ready.jobs.source.path("im_001"))
        ready.load()
        assert ready.view is None and said in ready.panel.why_missing.text(), change
        assert [layer.name for layer in ready.viewer.layers] == ["im_001"]


def test_another_run_without_these_views_shows_its_own(ready):
    views = ready.session.chosen_run.views("fine")
    write_json(views.folder / "views.json", {"settings": {}})
    stack_of(ready.session.project, "im_001", seed=3).save(views.path("im_001"))
    ready.session.views = "fine"
    assert ready.panel.views.isVisible() and ready.panel.views.currentText() == "fine"
    assert "--source cam/fine" in ready.command()
    other = drawn_run(ready.session.project)
    ready.session.run = other.id
    assert ready.session.views == "default" and ready.view is not None


def test_an_image_without_a_tag_is_all_background(ready):
    stack = stack_of(ready.session.project, "im_001", classes=())
    stack.save(ready.jobs.source.path("im_001"))
    ready.load()
    assert "No class is tagged" in ready.panel.notice.text()
    assert not mask_layer(ready).data.any()


def test_a_source_with_its_own_background_has_no_threshold(ready):
    stack = stack_of(ready.session.project, "im_001")
    background = np.full(stack.maps.shape[1:], 0.6, np.float16)
    dataclasses.replace(stack, background=background).save(ready.jobs.source.path("im_001"))
    ready.load()
    assert not ready.panel.rule.isVisible() and ready.panel.no_rule.isVisible()
    inside = stack.full().max(0) > 0.6
    np.testing.assert_array_equal(mask_layer(ready).data > 0, inside)


def test_two_viewers_do_not_meet(ready, qtbot):
    other = make_page(ViewerModel(), qtbot)
    other.session.open(ready.session.project.root)
    other.enter()
    assert other.session.image == "im_000" and ready.session.image == "im_001"
    other.panel.rule.histogram._set(0, 0.95)
    assert ready.panel.rule.rule.value == 0.2


def test_scores_at_a_pixel_equal_the_enlarged_map(small_project):
    stack = stack_of(small_project, "im_001")
    for origin in (0.0, 1.5):
        moved = dataclasses.replace(stack, origin=origin)
        full = moved.full()
        for row, column in [(0, 0), (13, 29), (47, 63), (5, 62)]:
            np.testing.assert_allclose(scores_at(moved, row, column), full[:, row, column], atol=1e-6)


def test_histogram_and_areas_count_every_pixel(small_project):
    view = MaskView(stack_of(small_project, "im_001"))
    assert view.histogram().sum() == 48 * 64
    found = shares(view.mask(LabelRule("constant", 0.3, (0.2, 0.5))))
    assert sum(found.values()) == pytest.approx(1) and list(found) == sorted(found)


def test_merging_keeps_the_first_map_of_a_class(small_project):
    first = stack_of(small_project, "im_001")
    others = stack_of(small_project, "im_001", classes=(0, 1, 2), seed=5)
    both = merged(first, others)
    assert both.classes == (0, 1, 2)
    for k, c in enumerate(first.classes):
        np.testing.assert_array_equal(both.maps[c], first.maps[k])
    coarse = dataclasses.replace(others, cell=8.0)
    assert merged(first, coarse) is first


@pytest.mark.parametrize("threshold", [0.05, 0.2, 0.5, 0.8])
def test_rules_meet_the_scores_where_the_handle_stands(threshold):
    for background in ("constant", "power"):
        rule = with_threshold(with_background(LabelRule(), background), threshold)
        assert float(rule.threshold()) == pytest.approx(threshold, abs=2e-4)


def test_boxes_are_painted_over_the_photograph():
    photograph = np.full((4, 4, 3), 100, np.uint8)
    mask = np.zeros((4, 4), np.uint8)
    mask[0, 0] = 1
    painted = painted_mask(photograph, mask, ["#FF0000"], opacity=0.5)
    assert painted[0, 0].tolist() == [178, 50, 50] and painted[1, 1].tolist() == [100, 100, 100]
    heat = painted_map(photograph, np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4))
    assert int(heat[3, 3].sum()) > int(heat[0, 0].sum())


def test_rows_leave_out_classes_that_are_nowhere():
    rows = rows_of({0: 0.9, 2: 0.1}, ["a", "b", "c"], ["#1", "#2", "#3"], None)
    assert [r.name for r in rows] == ["background", "b"]
    rows = rows_of(
        {0: 0.9, 255: 0.1}, ["a"], ["#1"], {"classes": {"a": {"iou": 0.0, "precision": None, "recall": 0.0}}}
    )
    assert [r.name for r in rows] == ["background", "a", "unsure"]
