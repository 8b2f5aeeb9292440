"""What the Prototypes page shows beside a stage's map: masks and CRF, peaks, clusters, the lasso over the bank."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication, QToolTip
from safetensors.numpy import save_file

from engine.errors import UserError
from engine.results import PrototypeBank
from engine.store import Project
from wsss_napari import prototype_view
from wsss_napari.pages import prototypes_sight
from wsss_napari.pages.prototypes import PrototypesPage
from wsss_napari.pages.prototypes_sight import peak_text
from wsss_napari.prototype_lasso import inside
from wsss_napari.prototype_masks import SIDE, label_of, stack_of
from wsss_napari.prototype_stages import STAGES, at_of
from wsss_napari.prototype_view import Peak, PrototypeScene
from wsss_napari.refine_preview import sketch_of

ENGINE = runpy.run_path(str(Path(__file__).with_name("fake_engine.py")))
FAKE = runpy.run_path(str(Path(__file__).with_name("fake_prototypes.py")))
PAGES = runpy.run_path(str(Path(__file__).with_name("fake_pages.py")))
IMAGE = PAGES["IMAGE"]


def make_page(viewer: Any, project: Project, qtbot: Any) -> PrototypesPage:
    run = FAKE["trained"](project, title="context")
    for image in (IMAGE, "im_002"):
        FAKE["look"](project, run, image)
    return PAGES["opened"](PAGES["make_page"](PrototypesPage, viewer, qtbot), project)


@pytest.fixture
def looked(qtbot, monkeypatch, small_project):
    """The page on an image that was looked at, beside a viewer without a window."""
    monkeypatch.setattr("wsss_napari.worker.Engine", ENGINE["FakeEngine"])
    return make_page(ViewerModel(), small_project, qtbot)


def layer(page: PrototypesPage, key: str) -> Any:
    return page.layers.layer(key)


def lit(page: PrototypesPage) -> list[str]:
    return [s.key for s in STAGES if (found := layer(page, s.key)) is not None and found.visible]


def turn_to(page: PrototypesPage, key: str) -> None:
    page.panel.player.set_step(at_of(key))


def test_where_the_self_loss_acts_is_the_distance_of_the_two_maps(looked) -> None:
    page = looked
    turn_to(page, "cam")
    assert (
        np.array_equal(layer(page, "cam").data, page.scene.cam()) and "score 0.90" in page.panel.line.text()
    )
    turn_to(page, "difference")
    found, aware = layer(page, "difference"), page.scene.stage("pacam")
    assert np.allclose(np.abs(found.data), np.abs(page.scene.cam() - aware)) and found.data.min() < 0
    assert found.contrast_limits == [-1, 1] and found.colorbar.visible
    clear, strong = found.colormap.map(np.array([0.5, 0.0])), found.colormap.map(np.array([1.0]))
    assert clear[0][3] == 0 and clear[1][3] == strong[0][3] == 1, "where they agree the photograph is seen"
    mean = np.abs(found.data).mean()
    assert f"Mean |CAM − PACAM| {mean:.3f}" in page.panel.line.text()
    slider = page.panel.sliders.entries["shift"].slider
    slider.setValue(slider.minimum())
    assert np.allclose(found.data, page.scene.stage("pacam") - page.scene.cam())


def test_what_is_hidden_is_not_reckoned(looked, monkeypatch) -> None:
    page = looked
    for stage in STAGES:
        turn_to(page, stage.key)
    turn_to(page, "pacam")
    asked: list[str] = []
    real = PrototypeScene.stage
    monkeypatch.setattr(PrototypeScene, "stage", lambda self, key: asked.append(key) or real(self, key))

    def never(*_: Any) -> Any:
        raise AssertionError("not within the move of a slider")

    for name in ("stack_of", "label_of", "crf_order"):
        monkeypatch.setattr(prototypes_sight, name, never)
    monkeypatch.setattr(PrototypeScene, "peaks", never)
    monkeypatch.setattr(PrototypeScene, "clusters", never)
    slider = page.panel.sliders.entries["tau"].slider
    slider.setValue(slider.maximum() // 2)
    page._follow()
    assert asked == ["pacam"]


def test_the_mask_is_the_best_of_all_tagged_classes(looked, small_project) -> None:
    page = looked
    turn_to(page, "label")
    classes = small_project.tags().present(IMAGE)
    scenes = [PrototypeScene(page.scene.view, page.scene.bank, c, page.scene.choice) for c in classes]
    stack = stack_of(page.scene.view, scenes)
    assert stack.classes == classes and all(
        np.allclose(m, s.stage("pacam"), atol=1e-3) for m, s in zip(stack.maps, scenes, strict=True)
    )
    full = stack.full()
    expected = np.where(full.max(0) > 0.5, np.array(classes)[full.argmax(0)] + 1, 0)
    found = layer(page, "label")
    assert found.data.shape == page.scene.view.size and tuple(found.scale) == (1, 1)
    assert (found.data == expected).mean() > 0.99 and set(np.unique(found.data)) == {
        0,
        *(c + 1 for c in classes),
    }
    names = small_project.classes
    assert "background" in page.panel.line.text() and all(names[c] in page.panel.line.text() for c in classes)
    assert lit(page) == ["label"]
    # A hand on another class counts in the mask too: without prototypes its own instance draws it.
    page.session.cls = classes[1]
    before = found.data.copy()
    page.rows.toggle(0)
    page._follow()
    assert np.array_equal(layer(page, "label").data, page.sight._shown["label"].mask)
    page.session.cls = classes[0]
    same = PrototypeScene(
        page.scene.view, page.scene.bank, classes[1], page.scene.choice, page.hands[classes[1]]
    )
    wanted = label_of(stack_of(page.scene.view, [page.scene, same]), 0.5)
    assert np.array_equal(layer(page, "label").data, wanted.mask)
    page.panel.background.slider.setValue(page.panel.background.slider.maximum())
    assert not layer(page, "label").data.any() and before.any(), "nothing exceeds a background of 1"


def test_the_background_leads_to_the_mask(looked) -> None:
    page = looked
    page.panel.background.slider.setValue(40)
    assert page.stage == "label" and lit(page) == ["label"]


def test_the_crf_runs_beside_the_window_and_once(looked, qtbot, small_project, monkeypatch) -> None:
    page = looked
    turn_to(page, "label")
    before = layer(page, "label").data.copy()
    turn_to(page, "crf")
    assert lit(page) == [] and page.busy and page.panel.line.text() == "Refining…"
    order = page.sight.preview._next
    qtbot.waitUntil(lambda: lit(page) == ["crf"], timeout=10000)
    photograph = small_project.read(IMAGE).pixels
    assert np.array_equal(order.photograph, photograph) and order.scale == 1
    expected = sketch_of(order).mask
    assert np.array_equal(layer(page, "crf").data, expected) and not np.array_equal(expected, before)
    assert not page.sight.busy and "background" in page.panel.line.text()
    page.light(page.scene.neighbours()[1].prototype)
    page.light(None)
    turn_to(page, "pacam")
    turn_to(page, "crf")
    assert not page.sight.busy and lit(page) == ["crf"], "nothing changed, so it is not reckoned again"
    page.rows.toggle(page.scene.neighbours()[0].prototype)
    page._follow()
    assert page.sight.busy
    page.leave()
    assert not page.sight.busy


def test_a_photograph_that_cannot_be_read_is_told(looked, monkeypatch) -> None:
    def broken(_self: Any, _stem: str) -> Any:
        raise UserError("The image is gone.", "A file.", "Bring it back.")

    monkeypatch.setattr(Project, "read", broken)
    turn_to(looked, "crf")
    assert "The image is gone." in looked.panel.line.text() and lit(looked) == []
    turn_to(looked, "label")
    assert "gone" not in looked.panel.line.text()


def test_a_crf_that_ends_while_another_stage_is_in_front_is_kept(looked, qtbot) -> None:
    page = looked
    turn_to(page, "crf")
    turn_to(page, "pacam")
    qtbot.waitUntil(lambda: not page.sight.busy, timeout=10000)
    assert lit(page) == ["pacam"]
    turn_to(page, "crf")
    assert lit(page) == ["crf"] and not page.sight.busy


def test_large_images_are_masked_at_a_share_of_their_size(looked) -> None:
    view = replace(looked.scene.view, size=(3 * SIDE, 4 * SIDE))
    mask = label_of(stack_of(view, [looked.scene]), 0.2)
    assert mask.mask.shape == (3 * SIDE // 4, SIDE) and mask.cell == 4 and mask.origin == 1.5


def test_peaks_are_where_each_neighbours_map_is_highest(looked) -> None:
    page = looked
    assert layer(page, "peaks") is None
    turn_to(page, "neighbours")
    points, scene = layer(page, "peaks"), page.scene
    weights = scene.passage.weights
    order = np.argsort(-weights, kind="stable")
    assert points.visible and points.features["prototype"].tolist() == scene.passage.order[order].tolist()
    assert np.allclose(points.features["weight"], weights[order]) and set(points.features["epoch"]) == {3}
    for at, (y, x), peak in zip(order, points.data, scene.peaks(), strict=True):
        assert scene.passage.each[at][scene.cell_at(y, x)] == scene.passage.each[at].max() == peak.height
        assert peak.size == len(scene.rows_of(peak.prototype)) and (peak.y, peak.x) == (y, x)
    turn_to(page, "pacam")
    assert not points.visible
    turn_to(page, "weights")
    assert points.visible
    page.panel.galleries.peaks.click()
    assert not points.visible
    page.leave()
    page.panel.galleries.peaks.click()
    page.enter()
    assert layer(page, "peaks").visible


def test_a_peak_tells_of_its_neighbour(looked) -> None:
    page = looked
    turn_to(page, "neighbours")
    peak = page.sight.peaks[0]
    here = [p for p in page.sight.peaks if abs(p.y - peak.y) + abs(p.x - peak.x) < 1]
    tips = page.sight.tips
    assert tips._heard in page.viewer.mouse_move_callbacks
    tips._heard(page.viewer, SimpleNamespace(position=(peak.y + 0.5, peak.x)))
    assert QToolTip.text() == peak_text(here)
    assert f"w/Σw {peak.weight:.3f} · cosine {peak.cosine:.3f} · {peak.size} row" in QToolTip.text()
    assert "made in epoch 3" in QToolTip.text()
    tips._heard(page.viewer, SimpleNamespace(position=(peak.y + 40, peak.x)))
    assert tips._told == ""
    page.leave()
    assert tips._heard not in page.viewer.mouse_move_callbacks
    many = [Peak(n, 0, 0, 1, 0.1, 0.5, 1, 0) for n in range(8)]
    assert "and 2 more" in peak_text(many) and "1 row ·" in peak_text(many)


def test_the_slider_goes_through_the_neighbours_by_weight(looked) -> None:
    page, panes = looked, looked.panel.galleries
    assert panes.rank.maximum() == 3 and panes.rank_text.text() == "1 of 4"
    order = page.scene.by_weight()
    for at in (1, 3, 0):
        panes.rank.setValue(at)
        assert page.stage == "neighbours" and lit(page) == ["neighbours"]
        assert np.array_equal(
            layer(page, "neighbours").data, np.maximum(page.scene.passage.each[order[at]], 0)
        )
        assert panes.rank_text.text() == f"{at + 1} of 4"
        rims = layer(page, "peaks").border_color[:, 2]
        assert rims.argmin() == at and (np.delete(rims, at) == 1).all(), "the lit one's point is yellow"
    slider = page.panel.sliders.entries["neighbours"].slider
    slider.setValue(slider.minimum())
    page._follow()
    assert panes.rank.maximum() == 0 and not panes.rank.isEnabled()


def test_the_truth_is_drawn_where_there_is_one(looked, small_project) -> None:
    page = looked
    assert page.panel.truth.isVisible() == (small_project.truth_place is not None)
    if not page.panel.truth.isVisible():
        page.layers.show_truth(np.ones(page.scene.view.size, np.uint8))
    else:
        page.panel.truth.click()
    assert layer(page, "truth").visible and layer(page, "truth").contour == 2
    page.layers.show_truth(None)
    assert layer(page, "truth") is None


def test_every_cluster_shows_its_rows_the_largest_first(looked, qtbot) -> None:
    page, panes = looked, looked.panel.galleries
    assert panes.grid.lines == () and not panes.grid.isVisible()
    panes.tabs.setCurrentIndex(1)
    lines = panes.grid.lines
    assert panes.grid.isVisible() and not panes.neighbours.isVisible()
    assert sorted(line.prototype for line in lines) == [0, 1, 2, 3]
    sizes = [len(line.cells) for line in lines]
    assert sizes == sorted(sizes, reverse=True) and sum(sizes) == 10 and lines[0].share == 1
    for line in lines:
        assert [c.key for c in line.cells] == list(page.scene.rows_of(line.prototype))
        assert line.words.startswith(
            f"{page.class_name} · prototype {line.prototype} · {len(line.cells)} row"
        )
        assert "weight" in line.words, "all four are neighbours"
    assert panes.round.text() == "Made in epoch 3; each epoch makes them anew."
    assert panes.size_bars.opts["height"].sum() == 4, "a prototype is counted once"
    assert panes.sizes.words.text() == f"{min(sizes)} to {max(sizes)} rows a prototype"
    sheet, second = panes.grid.sheet, lines[1]
    qtbot.mouseClick(sheet, Qt.MouseButton.LeftButton, pos=sheet.words_of(1).center())
    assert page.rows.chosen == second.prototype == sheet.chosen
    assert [c.key for c in panes.rows.cells] == [c.key for c in second.cells]
    qtbot.mouseClick(sheet, Qt.MouseButton.LeftButton, pos=sheet.rect_of(1, 0).center())
    assert "Evict from the bank" in [a.text() for a in panes.menu.actions()]
    panes.menu.close()
    page.rows.evict(second.cells[0].key)
    assert panes.grid.lines[1].cells[0].off
    page.rows.toggle(second.prototype)
    assert panes.grid.lines[1].off and panes.grid.lines[1].words.endswith("off")
    sheet.setFocus()
    qtbot.keyClick(sheet, Qt.Key.Key_Down)
    qtbot.keyClick(sheet, Qt.Key.Key_Return)
    assert page.rows.chosen == panes.grid.lines[2].prototype
    assert sheet.room < 20 and sheet._find(QPoint(5, 10_000)) == (-1, -1)


def test_rows_that_came_later_and_classes_without_clusters_are_said(looked) -> None:
    page, panes = looked, looked.panel.galleries
    panes.tabs.setCurrentIndex(1)
    bank = page.scene.bank
    page.scene.bank = replace(bank, member=np.where(np.arange(12) == 3, -1, bank.member).astype(np.int32))
    page.scene.__dict__.pop("_members")
    page.rows.show_clusters()
    assert "1 row came later" in panes.round.text()
    page.scene.bank = replace(bank, epoch=np.full_like(bank.epoch, -1), count=np.zeros_like(bank.count))
    page.rows.show_clusters()
    assert panes.grid.lines == () and "No confident image" in panes.round.text()
    assert not panes.sizes.isVisible()


def test_a_bank_without_its_epochs_is_told_damaged(small_project, tmp_path) -> None:
    tensors = FAKE["bank_tensors"](small_project)
    for name, broken in (("gone", None), ("short", np.zeros(1, np.int64))):
        made = {k: v for k, v in tensors.items() if k != "bank.epoch"}
        if broken is not None:
            made["bank.epoch"] = broken
        save_file(made, tmp_path / name)
        with pytest.raises(UserError):
            PrototypeBank.load(tmp_path / name)


def test_a_line_holds_what_it_goes_round() -> None:
    points = np.array([(0.5, 0.5), (1.5, 0.5), (0.1, 0.9), (3, 3)])
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
    assert inside(points, square) == [0, 2] and inside(points[:0], square) == []
    bow = np.array([(0, 0), (1, 1), (1, 0), (0, 1)])
    assert inside(np.array([(0.9, 0.5), (0.5, 0.9), (0.1, 0.5)]), bow) == [0, 2]


def drag(page: PrototypesPage, qtbot: Any, corners: list[tuple[float, float]], shift: bool) -> None:
    """Drag the left button along corners in the units of the bank's map, as a person does."""
    view, box = page.plots.map.view, page.plots.box
    ways = [view.mapFromScene(box.mapViewToScene(QPointF(*corner))) for corner in corners]
    held = Qt.KeyboardModifier.ShiftModifier if shift else Qt.KeyboardModifier.NoModifier
    left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton

    def send(kind: Any, where: QPoint, button: Any, buttons: Any) -> None:
        out = QPointF(view.viewport().mapToGlobal(where))
        event = QMouseEvent(kind, QPointF(where), out, button, buttons, held)
        QApplication.sendEvent(view.viewport(), event)
        qtbot.wait(20)  # pyqtgraph passes over moves that come faster than a hand's

    send(QEvent.Type.MouseButtonPress, ways[0], left, left)
    for way in ways[1:]:
        send(QEvent.Type.MouseMove, way, none, left)
    send(QEvent.Type.MouseButtonRelease, ways[-1], left, none)


@pytest.mark.parametrize("shift", [True, False])
def test_the_lasso_lists_its_rows_and_they_are_evicted_and_pinned_as_one(looked, qtbot, shift) -> None:
    page, panes, plots = looked, looked.panel.galleries, looked.plots
    qtbot.addWidget(plots)
    plots.resize(900, 220)
    plots.show()
    qtbot.waitExposed(plots)
    page.show_figures()
    plots.map.plot.autoRange(padding=0.2)
    places = page.scene.map().rows
    wanted = [n for n in range(10) if places[n, 0] > 0]
    low, high = places.min(0) - 0.1, places.max(0) + 0.1
    corners = [(0.0, low[1]), (high[0], low[1]), (high[0], high[1]), (0.0, high[1]), (0.0, low[1])]
    QApplication.processEvents()
    if not shift:
        plots.lasso.click()
        assert plots.box.on
    before = plots.box.viewRange()
    drag(page, qtbot, corners, shift)
    assert sorted(page.rows.held) == wanted and 0 < len(wanted) < 10
    assert plots.box.viewRange() == before, "it was not panned"
    assert [c.key for c in panes.rows.cells] == wanted and panes.lasso.isVisible()
    assert panes.rows_title.text() == f"{len(wanted)} rows in the lasso"
    drawn, deeds = layer(page, "pacam").data.copy(), len(page.session.history.names)
    panes.evict_all.click()
    assert page.scene.hand.evicted == set(wanted) and panes.evict_all.text() == "Bring all back"
    assert all(c.off for c in panes.rows.cells) and not np.array_equal(layer(page, "pacam").data, drawn)
    panes.pin_all.click()
    assert page.scene.hand.pinned == wanted and panes.pin_all.text() == "Unpin all"
    assert page.session.history.names[deeds:] == (
        f"evict {len(wanted)} rows of {page.class_name}",
        f"pin {len(wanted)} rows of {page.class_name}",
    )
    page.session.history.undo()
    page.session.history.undo()
    assert not page.scene.hand.evicted and not page.scene.hand.pinned
    assert np.array_equal(layer(page, "pacam").data, drawn)
    panes.let_go.click()
    assert (
        page.rows.held == ()
        and not panes.lasso.isVisible()
        and "Rows of prototype" in panes.rows_title.text()
    )
    assert len(plots.box.outline.getData()[0] if plots.box.outline.getData()[0] is not None else []) == 0
    if shift:
        drag(page, qtbot, corners[:3], False)
        assert page.rows.held == () and plots.box.viewRange() != before, "without Shift it is panned"


def test_a_lasso_of_some_evicted_rows_takes_back_what_it_did_and_no_more(looked) -> None:
    page = looked
    page.rows.evict(2)
    page.rows.pin(5)
    page.rows.hold((1, 2, 5))
    page.rows.evict(*page.rows.held)
    assert page.scene.hand.evicted == {1, 2, 5}
    page.session.history.undo()
    assert page.scene.hand.evicted == {2}
    page.rows.pin(*page.rows.held)
    assert page.scene.hand.pinned == [5, 1, 2]
    page.rows.pin(*page.rows.held)
    assert page.scene.hand.pinned == []
    page.session.history.undo()
    assert page.scene.hand.pinned == [5, 1, 2], "in the order they were pinned"
    page.session.next_image()
    assert page.scene is not None and page.rows.held == (1, 2, 5), "the bank is the same"
    page.session.cls = next(c for c in range(3) if c != page.session.cls)
    assert page.rows.held == ()


def test_no_stage_asks_the_network(looked, monkeypatch) -> None:
    page = looked
    calls: list[Any] = []
    real = prototype_view.pass_through
    monkeypatch.setattr(prototype_view, "pass_through", lambda *a: calls.append(a) or real(*a))
    for stage in STAGES:
        turn_to(page, stage.key)
    assert len(calls) == 1, "the other class of the image, once for mask and CRF"
    assert page.desk._engine is None or not page.desk.engine.lines
