"""The Prototypes page: look at an image, go through the stages, turn, switch off, evict, pin, paint, click a pixel."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QKeyEvent, QMouseEvent
from qtpy.QtWidgets import QApplication

from engine.messages import Failed, Finished, Progress, Prototypes, Stopped, Viewed
from engine.store import new_run
from engine.tags import PRESENT
from wsss_napari import prototype_view
from wsss_napari._compat import canvas_of
from wsss_napari.pages.prototypes import PrototypesPage
from wsss_napari.prototype_sliders import OURS, PrototypeSliders
from wsss_napari.prototype_stages import MASKS, STAGES, at_of

ENGINE = runpy.run_path(str(Path(__file__).with_name("fake_engine.py")))
FAKE = runpy.run_path(str(Path(__file__).with_name("fake_prototypes.py")))
ROOT = Path(__file__).resolve().parents[1]
PAGES = runpy.run_path(str(Path(__file__).with_name("fake_pages.py")))
IMAGE, make_page, opened = PAGES["IMAGE"], PAGES["make_page"], PAGES["opened"]


class Engine(ENGINE["FakeEngine"]):  # type: ignore[misc]
    def tell(self, job_id: str, event: Any) -> None:
        if isinstance(event, Progress):
            self.line(job_id).progress = event
        super().tell(job_id, event)


@pytest.fixture
def page(qtbot, monkeypatch):
    """The page beside a viewer without a window, which is made in no time."""
    monkeypatch.setattr("wsss_napari.worker.Engine", Engine)
    return make_page(PrototypesPage, ViewerModel(), qtbot)


@pytest.fixture
def looked(page, small_project):
    """The page on an image that was looked at, at its last stage."""
    run = FAKE["trained"](small_project, title="context")
    for image in (IMAGE, "im_002"):
        FAKE["look"](small_project, run, image)
    return opened(page, small_project)


@pytest.fixture
def in_window(small_project, make_napari_viewer_proxy, qtbot, monkeypatch):
    """The same in a real window."""
    monkeypatch.setattr("wsss_napari.worker.Engine", Engine)
    FAKE["look"](small_project, FAKE["trained"](small_project, title="context"), IMAGE)
    return opened(make_page(PrototypesPage, make_napari_viewer_proxy(), qtbot), small_project)


def layer(page: PrototypesPage, key: str = "pacam") -> Any:
    return page.layers.layer(key)


def lit(page: PrototypesPage) -> list[str]:
    return [s.key for s in STAGES if (found := layer(page, s.key)) is not None and found.visible]


def slide(page: PrototypesPage, name: str, at: float) -> None:
    """Move a slider to a share of its way."""
    slider = page.panel.sliders.entries[name].slider
    slider.setValue(round(slider.minimum() + at * (slider.maximum() - slider.minimum())))


def engine_of(page: PrototypesPage) -> Any:
    return page.desk.engine


def test_an_empty_page_says_what_is_missing_and_offers_it(page, small_project) -> None:
    assert "No project" in page.hint and page.command() is None
    page.session.open(small_project.root)
    page.enter()
    assert "No run yet" in page.hint and "CPAL" in page.hint
    plain = new_run(small_project.root, None, "cam", {"method": "cam", "params": {}})
    plain.weights.write_bytes(b"0")
    plain.end("finished", title="plain")
    page.session.run = plain.id
    assert "plain (cam) keeps no prototypes" in page.hint and "Go to Train" in page._hint_button.text()
    run = FAKE["trained"](small_project, title="context")
    page.load()
    assert page._hint_button.text() == "Show context"
    page._hint_button.click()
    assert page.session.run == run.id and page.hint == "" and page.panel.missing.isVisible()
    run.weights.unlink()
    page.load()
    assert "no weights" in page.hint


def test_damaged_weights_are_told_in_words(page, small_project) -> None:
    run = FAKE["trained"](small_project)
    run.weights.write_bytes(b"\x08\0\0\0\0\0\0\0{not it}")
    opened(page, small_project)
    assert "cannot be read as a support bank" in page.panel.warning.text()
    assert page.scene is None and not page.panel.tools.isVisible()


def test_looking_at_an_image_runs_the_job_and_shows_what_it_kept(page, small_project, qtbot) -> None:
    run = FAKE["trained"](small_project)
    opened(page, small_project)
    panel = page.panel
    assert panel.missing.isVisible() and not panel.stop.isVisible() and lit(page) == []
    assert page.command() == panel.one.toolTip() and "wsss prototypes" in page.command()
    panel.one.click()
    (job,) = engine_of(page).given(Prototypes)
    assert (job.run, job.images, job.views) == (run.id, (IMAGE,), "default")
    assert panel.stop.isVisible() and not panel.one.isEnabled() and not panel.all.isEnabled()
    engine_of(page).tell(job.id, Progress(done=0, total=1, seconds_left=30.0))
    assert panel.progress.text() == "Image 0 of 1 · 30 s left"
    path = FAKE["look"](small_project, run, IMAGE)
    relative = path.relative_to(small_project.root).as_posix()
    engine_of(page).tell(job.id, Viewed(image="im_002", kind="prototypes", path=relative))
    assert page.scene is None, "another image"
    engine_of(page).tell(job.id, Viewed(image=IMAGE, kind="prototypes", path=relative))
    assert page.scene is not None and lit(page) == ["pacam"] and not panel.missing.isVisible()
    panel.stop.click()
    assert engine_of(page).stopped == [job.id] and panel.progress.text().startswith("Stopping")
    engine_of(page).end(job.id, Stopped(resumable=True))
    assert "kept" in panel.warning.text() and panel.all.isEnabled()
    panel.all.click()
    many = engine_of(page).given(Prototypes)[-1]
    assert many.images == () and panel.all.text() == "Look at all 6 images"
    engine_of(page).end(many.id, Failed(message="The bank is gone.", hint="Train anew.", mistake=True))
    assert panel.warning.text() == "The bank is gone. Train anew."


def test_pictures_that_were_passed_over_are_told(page, small_project) -> None:
    FAKE["trained"](small_project)
    opened(page, small_project)
    page.panel.all.click()
    (job,) = engine_of(page).given(Prototypes)
    engine_of(page).end(job.id, Finished(result={"images": 5, "passed_over": ["im_003"]}))
    assert page.panel.warning.text().startswith("1 image was passed over")


def test_each_stage_lights_its_layer_at_the_resolution_of_the_features(looked) -> None:
    page = looked
    for at, stage in enumerate(STAGES):
        page.panel.player.set_step(at)
        if stage.key in MASKS:
            continue
        assert lit(page) == [stage.key]
        assert (
            page.panel.stage.text() == f"{at + 1} of {len(STAGES)} · {stage.title}" and page.panel.line.text()
        )
        found = layer(page, stage.key)
        assert found.data.shape == FAKE["GRID"] and tuple(found.scale) == (4, 4)
        assert tuple(found.translate) == (1.5, 1.5)
        data = page.scene.stage(stage.key)
        assert np.allclose(found.data, data if stage.key in ("seed", "difference") else np.maximum(data, 0))
    name = page.class_name
    assert layer(page).name == f"{IMAGE} · PACAM · {name}"
    first = page.scene.passage.order[0]
    assert layer(page, "neighbours").name == f"{IMAGE} · neighbour {first} · {name}"
    names = [x.name for x in page.viewer.layers]
    ours = [layer(page, key).name for key in ("cam", "seed", "neighbours", "pacam", "difference", "label")]
    assert names[0] == IMAGE and [n for n in names if n in ours] == ours, "bottom to top as the stages come"


def test_no_slider_asks_the_network_and_each_move_reckons_once(looked, monkeypatch) -> None:
    page = looked
    calls: list[Any] = []

    def counted(*given: Any) -> Any:
        calls.append(given)
        return real(*given)

    real = prototype_view.pass_through
    monkeypatch.setattr(prototype_view, "pass_through", counted)
    page.panel.sliders.draw.setCurrentIndex(2)
    page.panel.sliders.draw.activated.emit(2)
    calls.clear()
    kept = layer(page)
    for name, at in (
        ("tau", 0.9),
        ("shift", 0.1),
        ("temperature", 0.95),
        ("alpha", 0.7),
        ("neighbours", 0.0),
    ):
        before = layer(page).data.copy(), len(calls)
        slide(page, name, at)
        assert len(calls) == before[1] + 1, name
        assert layer(page) is kept, "the layer stays and its numbers change"
        assert np.array_equal(kept.data, page.scene.stage("pacam"))
        assert not np.array_equal(kept.data, before[0]), name
    choice, alpha = page.scene.choice, page.scene.alpha
    assert choice.tau > 0.8 and choice.shift == pytest.approx(0.1) and choice.neighbours == 1
    assert choice.draw == "max_cos" and 0.69 < alpha < 0.71
    page.panel.sliders.positiveness.click()
    assert not page.scene.choice.positiveness and len(calls) == 6
    assert not page.panel.sliders.entries["temperature"].isEnabled()
    assert page.desk._engine is None or not engine_of(page).given(Prototypes)
    page.panel.sliders.reset.click()
    assert page.scene.choice.tau == pytest.approx(0.2) and page.scene.choice.neighbours == 4
    assert page.scene.alpha == 0.5 and page.scene.choice.positiveness


def test_what_the_paper_leaves_open_is_said_where_the_engine_says_it(qapp) -> None:
    # Read, not imported: torch's compiler and what draws a window each bring an LLVM, which can crash.
    tree = ast.parse((ROOT / "engine" / "methods" / "cpal.py").read_text(encoding="utf-8"))
    params = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Params")
    rows = [n for n in params.body if isinstance(n, ast.AnnAssign)]
    ours = {ast.unparse(n.target): "_OURS" in ast.unparse(n.annotation) for n in rows}
    sliders = PrototypeSliders()
    tips = {name: entry.toolTip() for name, entry in sliders.entries.items()}
    tips |= {"positiveness": sliders.positiveness.toolTip(), "draw": sliders.draw.toolTip()}
    said = {name: OURS.lower() in tip.lower() for name, tip in tips.items()}
    assert said == {name: ours[name] for name in tips}
    assert any(said.values()) and not all(said.values())


def test_pointing_at_a_neighbour_lights_its_map_and_clicking_switches_it_off(looked, qtbot) -> None:
    page, row = looked, looked.panel.galleries.neighbours.row
    second = page.panel.galleries.neighbours.cells[1].key
    where = row.rect_of(1).center()
    none = Qt.MouseButton.NoButton
    row.mouseMoveEvent(
        QMouseEvent(QEvent.Type.MouseMove, QPointF(where), none, none, Qt.KeyboardModifier.NoModifier)
    )
    assert lit(page) == ["neighbours"] and page.scene.lit == second
    assert np.array_equal(layer(page, "neighbours").data, np.maximum(page.scene.passage.each[1], 0))
    row.leaveEvent(QEvent(QEvent.Type.Leave))
    assert lit(page) == ["pacam"]
    before = layer(page).data.copy()
    qtbot.mouseClick(row, Qt.MouseButton.LeftButton, pos=where)
    assert page.scene.hand.off == {second} and second not in page.scene.passage.order
    assert (
        page.panel.galleries.neighbours.cells[-1].key == second
        and page.panel.galleries.neighbours.cells[-1].off
    )
    assert not np.array_equal(layer(page).data, before)
    assert page.session.history.names[-1] == f"prototype {second} of {page.class_name} off"
    page.session.history.undo()
    assert page.scene.hand.off == set() and np.array_equal(layer(page).data, before)


def test_the_bars_are_claim_1(looked) -> None:
    found = looked.scene.neighbours()
    longest = max(max(n.weight, n.similar) for n in found)
    for cell, n in zip(looked.panel.galleries.neighbours.cells, found, strict=True):
        assert cell.bars == ((n.weight / longest, "weight"), (n.similar / longest, "similar"))
        assert f"{n.weight:.3f}" in cell.tip and f"{n.similar:.3f}" in cell.tip


def test_words_under_a_crop_open_its_rows_and_rows_are_pinned_and_evicted(looked, qtbot) -> None:
    page, panel = looked, looked.panel
    third = panel.galleries.neighbours.cells[2].key
    qtbot.mouseClick(
        panel.galleries.neighbours.row,
        Qt.MouseButton.LeftButton,
        pos=panel.galleries.neighbours.row.words_of(2).center(),
    )
    assert page.rows.chosen == third and page.scene.hand.off == set()
    own = list(page.scene.rows_of(third))
    assert [
        c.key for c in panel.galleries.rows.cells
    ] == own and panel.galleries.rows_title.text().startswith(f"Rows of prototype {third}")
    project, cls = page.session.project, page.scene.cls
    for cell in panel.galleries.rows.cells:
        assert cls in project.tags().present(cell.stem), "cut from an image that shows the class"
        assert cell.stem in cell.tip and "score" in cell.tip
    page.rows.pin(own[-1])
    assert [c.key for c in panel.galleries.rows.cells] == [own[-1], *own[:-1]] and panel.galleries.rows.cells[
        0
    ].pinned
    before, mean = layer(page).data.copy(), page.scene.passage.shift.copy()
    page.rows.evict(own[0])
    assert panel.galleries.rows.cells[-1].key == own[0] and panel.galleries.rows.cells[-1].off
    assert not np.array_equal(page.scene.passage.shift, mean) and not np.array_equal(layer(page).data, before)
    assert "evict row" in page.session.history.names[-1] and "1 evicted" in page.plots.map.words.text()
    page.session.history.undo()
    page.session.history.undo()
    assert np.array_equal(layer(page).data, before) and not page.scene.hand.pinned
    page.rows.evict(own[0])
    page.session.next_image()
    assert own[0] in page.scene.hand.evicted, "the bank is the same for all images"
    page.session.history.undo()
    assert page.scene.hand.evicted == set()


def test_menus_name_what_they_do(looked) -> None:
    page = looked
    row = page.panel.galleries.rows.cells[0].key
    page.rows._row_menu(row, QPoint(0, 0))
    words = {a.text(): a for a in page.panel.galleries.menu.actions()}
    stem = page.rows.stem_of(row)
    assert set(words) == {"Pin: keep it first", "Evict from the bank", f"Show {stem}"}
    words["Evict from the bank"].trigger()
    assert page.scene.hand.evicted == {row}
    page.rows._row_menu(row, QPoint(0, 0))
    assert "Bring back into the bank" in [a.text() for a in page.panel.galleries.menu.actions()]
    page.rows._prototype_menu(0, QPoint(0, 0))
    assert [a.text() for a in page.panel.galleries.menu.actions()] == ["Switch off", "Show its rows"]
    page.panel.galleries.menu.close()
    page.rows.show_image(row)
    assert page.session.image == stem


def test_a_painted_seed_makes_a_new_instance_prototype(looked) -> None:
    page, panel = looked, looked.panel
    before, seed = layer(page).data.copy(), page.scene.stage("seed").copy()
    panel.paint.click()
    sheet = layer(page, "paint")
    assert lit(page) == [] and sheet.mode == "paint" and sheet.editable
    assert np.array_equal(sheet.data, seed), "it begins with the seed of the map"
    assert page.viewer.layers.selection.active is sheet and panel.use.isVisible()
    panel.paint.click()
    assert layer(page, "paint") is None and np.array_equal(layer(page).data, before), "left without using it"
    panel.paint.click()
    sheet = layer(page, "paint")
    sheet.data[...] = 0
    sheet.paint((1, 1), 1)
    wanted = np.asarray(sheet.data) > 0
    assert wanted.any()
    panel.use.click()
    assert layer(page, "paint") is None and np.array_equal(page.scene.painted, wanted)
    assert np.allclose(page.scene.passage.own, page.scene.view.features[:, wanted].astype(np.float32).mean(1))
    assert lit(page) == ["pacam"] and not np.array_equal(layer(page).data, before)
    assert panel.forget.isVisible() and "painted" in panel.paint_note.text()
    page.session.next_image()
    assert page.scene.painted is None
    page.session.previous_image()
    assert np.array_equal(page.scene.painted, wanted), "it stays with its image"
    panel.forget.click()
    assert page.scene.painted is None and np.array_equal(layer(page).data, before)
    panel.paint.click()
    layer(page, "paint").data[...] = 0
    panel.use.click()
    assert page.scene.painted is None, "nothing painted is no seed"


def test_a_click_tells_the_nearest_prototypes_and_a_drag_does_not(looked) -> None:
    page = looked

    def press(*kinds: str) -> None:
        event = SimpleNamespace(type="mouse_press", position=(24.0, 16.0))
        told = page.clicks._heard(page.viewer, event)
        for kind in (None, *kinds):
            event.type = kind or event.type
            next(told, None)

    press("mouse_move", "mouse_release")
    assert page.panel.pixel.rowCount() == 0
    press("mouse_release")
    near = page.scene.nearest(24.0, 16.0)
    assert page.panel.pixel.rowCount() == len(near) == 6 and page.panel.pixel.isVisible()
    first = near[0]
    name = page.session.project.classes[first.cls]
    assert page.panel.pixel.item(0, 0).text() == f"{name} · prototype {first.prototype}"
    assert page.panel.pixel.item(0, 1).text() == f"{first.cosine:.3f}"
    assert page.panel.pixel_note.text() == "Nearest at row 24, column 16:"
    assert page.clicks._heard in page.viewer.mouse_drag_callbacks
    page.leave()
    assert page.clicks._heard not in page.viewer.mouse_drag_callbacks


def test_classes_without_prototypes_and_unknown_ones_are_said(page, small_project) -> None:
    cls = small_project.tags().present(IMAGE)[0]
    run = FAKE["trained"](small_project, without=(cls,))
    FAKE["look"](small_project, run, IMAGE)
    opened(page, small_project)
    name = page.class_name
    assert f"No confident image left a prototype of {name} behind" in page.panel.about.text()
    assert (
        lit(page) == ["pacam"]
        and page.panel.galleries.neighbours.cells == ()
        and not page.panel.galleries.neighbours.isVisible()
    )
    likeness = np.maximum(page.scene.stage("instance"), 0)
    assert np.allclose(layer(page).data, likeness / likeness.max(), atol=1e-4)
    page.panel.player.set_step(at_of("neighbours"))
    assert lit(page) == [] and "No prototype" in page.panel.line.text()
    page.session.cls = next(c for c in range(3) if c not in small_project.tags().present(IMAGE))
    assert "is tagged absent" in page.panel.about.text()
    page.session.set_tag(IMAGE, page.session.cls, PRESENT)
    assert page.panel.about.text() == "" and "over τ" in page.panel.line.text()
    page.session.add_class("purple")
    page.session.cls = 3
    assert "before purple was a class" in page.panel.about.text() and lit(page) == []


def test_the_page_puts_its_layers_away_and_brings_them_back(looked) -> None:
    page = looked
    strange = page.desk.layers.show_map("map:x", np.ones((3, 4)), "another page's")
    page.leave()
    assert lit(page) == [] and page.scene is not None
    strange.visible = True
    page.enter()
    assert lit(page) == ["pacam"] and not strange.visible
    page.leave()
    assert strange.visible
    page.session.next_image()
    assert page.scene is None, "nothing is read while another page is in front"


def test_the_strip_shows_the_bank_and_takes_alpha(in_window, qtbot) -> None:
    page, plots = in_window, in_window.plots
    assert page.desk.plots.shown is plots
    assert len(plots.rows.data) == 10 and len(plots.prototypes.data) == 4
    assert plots.map.words.text() == "10 rows, 4 prototypes" and plots.age.words.text() == "10 of 12 (83%)"
    assert plots.score.words.text() == "10 of 10 pass · 0.36/step"
    found = page.scene.map()
    assert np.allclose(plots.after.getData(), found.after[:, None]) and plots.arrow.isVisible()
    assert plots._bars[0][0] == page.class_name, "the image is likest to its own class"
    before = layer(page).data.copy()
    plots.alpha_dragged.emit(0.7)
    assert page.scene.alpha == pytest.approx(0.7) and page.panel.sliders.alpha == pytest.approx(0.7)
    assert not np.array_equal(layer(page).data, before)
    qtbot.waitUntil(lambda: plots.score.words.text().startswith("6 of 10 pass"))
    page.panel.sliders.write(page.scene.choice, 0.5)
    slide(page, "shift", 0.0)
    qtbot.waitUntil(lambda: not plots.arrow.isVisible())
    plots.row_hovered.emit(3)
    assert plots.map.words.text() == page.rows.row_text(3) and page.rows.stem_of(3) in plots.map.words.text()
    plots.row_hovered.emit(-1)
    assert plots.map.words.text() == "10 rows, 4 prototypes"
    plots.row_clicked.emit(3)
    assert (
        page.session.image
        == page.rows._stems[int(page.shelf.bank(page.session.chosen_run).keys[page.session.cls, 3])]
    )


def test_points_of_the_map_are_hovered_and_clicked(in_window) -> None:
    plots, heard = in_window.plots, []
    for signal in (plots.row_hovered, plots.row_clicked, plots.prototype_clicked):
        signal.connect(heard.append)
    rows, prototypes = plots.rows.points(), plots.prototypes.points()
    plots.rows.sigHovered.emit(plots.rows, rows[4:6], None)
    plots.rows.sigHovered.emit(plots.rows, [], None)
    plots.prototypes.sigClicked.emit(plots.prototypes, prototypes[2:3], None)
    assert heard == [4, -1, 2] and in_window.rows.chosen == 2


def test_keys_go_through_the_stages(in_window) -> None:
    page = in_window
    page.desk.keys.page = "prototypes"
    canvas = canvas_of(page.viewer)
    canvas.setFocus()
    for key, text, step in ((Qt.Key.Key_Q, "q", 5), (Qt.Key.Key_Left, "", 4), (Qt.Key.Key_W, "w", 5)):
        QApplication.sendEvent(
            canvas, QKeyEvent(QEvent.Type.KeyPress, key, Qt.KeyboardModifier.NoModifier, text)
        )
        assert page.panel.player.step == step and lit(page) == [STAGES[step].key]


def test_the_gallery_is_used_by_keys_too(looked, qtbot) -> None:
    page, row = looked, looked.panel.galleries.neighbours.row
    row.setFocus()
    qtbot.keyClick(row, Qt.Key.Key_Down)
    qtbot.keyClick(row, Qt.Key.Key_Down)
    second = page.panel.galleries.neighbours.cells[1].key
    assert page.scene.lit == second and lit(page) == ["neighbours"] and row.accessibleDescription()
    qtbot.keyClick(row, Qt.Key.Key_Return)
    assert page.rows.chosen == second
    qtbot.keyClick(row, Qt.Key.Key_Space)
    assert page.scene.hand.off == {second}


def test_the_dock_is_no_wider_for_it(looked) -> None:
    assert looked.panel.minimumSizeHint().width() <= 340
