"""The Refine page: set a chain, see its preview, refine, compare before and after, look into the walk."""

from __future__ import annotations

import dataclasses
import runpy
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QPoint, Qt
from qtpy.QtGui import QGuiApplication, QKeyEvent
from qtpy.QtWidgets import QApplication

from engine.atomic import write_json
from engine.errors import UserError
from engine.messages import (
    Failed,
    Finished,
    Label,
    Methods,
    Progress,
    Refine,
    Said,
    Stopped,
    Viewed,
)
from engine.params import Spec, describe, presets
from engine.refiners import REFINERS
from engine.results import RefineTrace
from engine.store import new_run, run_of, runs_of
from wsss_napari.desk import desk_of
from wsss_napari.keys import BINDINGS
from wsss_napari.pages.refine import RefinePage
from wsss_napari.refine_chain import Link, boxes_from, route, rule_of
from wsss_napari.refine_curves import stage_curves
from wsss_napari.refine_looks import LOOKS, ORDER
from wsss_napari.refine_preview import PreviewOrder, scale_of, sketch_of
from wsss_napari.refine_view import TraceView, change_between, changed_words, fits, wheel
from wsss_napari.slide_entry import SlideEntry, slides

FAKE = runpy.run_path(str(Path(__file__).with_name("fake_engine.py")))
MADE = runpy.run_path(str(Path(__file__).with_name("fake_refinements.py")))
PAGES = runpy.run_path(str(Path(__file__).with_name("fake_pages.py")))
IMAGE, make_page, opened = PAGES["IMAGE"], PAGES["make_page"], PAGES["opened"]


@dataclasses.dataclass(frozen=True)
class Walk:
    network: Annotated[str | None, Spec("Trained network.", picks="run")] = None
    beta: Annotated[float, Spec("Exponent of the affinities.", low=0.1, high=100, main=True)] = 10.0
    steps: Annotated[int, Spec("Steps of the walk.", low=0, high=4096, unit="steps", main=True)] = 256
    flip: Annotated[bool, Spec("Look at the mirror image too.")] = True

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {"engine": {}, "code": {"beta": 8.0}}


def row(name: str, title: str, settings: type[Any], needs: str = "") -> dict[str, Any]:
    return {
        "name": name,
        "title": title,
        "sentence": f"{title} in one sentence.",
        "needs": needs,
        "fields": [dataclasses.asdict(f) for f in describe(settings)],
        "presets": presets(settings),
    }


ROWS = [
    *(row(name, r.title, r.settings) for name, r in REFINERS.items()),
    row("psa", "Pixel affinity", Walk, "network"),
    row("irn", "Inter-pixel relations", Walk, "network"),
]
METHODS = {**FAKE["METHODS"], "refiners": ROWS}


class Engine(FAKE["FakeEngine"]):  # type: ignore[misc]
    """Knows the refiners."""

    def __init__(self) -> None:
        super().__init__({Methods: METHODS})

    def warm(self, job: Any) -> None:
        """The Climb page lets its network be loaded."""

    def tell(self, job_id: str, event: Any) -> None:
        if isinstance(event, Progress):
            self.line(job_id).progress = event
        super().tell(job_id, event)


@pytest.fixture
def page(qtbot, monkeypatch):
    """The page beside a viewer without a window, which is made in no time."""
    monkeypatch.setattr("wsss_napari.worker.Engine", Engine)
    return make_page(RefinePage, ViewerModel(), qtbot, 1600)


@pytest.fixture
def ready(page, small_project, qtbot):
    """The page on maps that nobody refined yet, the refiners listed."""
    MADE["seeds"](small_project)
    opened(page, small_project)
    qtbot.waitUntil(lambda: page.session.refiners is not None)
    return page


@pytest.fixture
def refined(page, small_project, qtbot):
    """The page on an image that CRF refined, its stages kept."""
    MADE["seeds"](small_project)
    MADE["box"](small_project, "cam/default", "crf", keep=[IMAGE])
    opened(page, small_project)
    qtbot.waitUntil(lambda: page.session.refiners is not None)
    return page


@pytest.fixture
def walked(page, small_project, qtbot):
    """The page on an image that IRN refined, with all that it keeps."""
    MADE["seeds"](small_project)
    MADE["network"](small_project, "irn")
    MADE["box"](small_project, "cam/default", "irn", keep=[IMAGE], instances=True, network="irn")
    opened(page, small_project)
    qtbot.waitUntil(lambda: page.session.refiners is not None)
    return page


def layer(page: RefinePage, key: str) -> Any:
    return page.desk.layers.get(f"refine:{key}")


def jobs(page: RefinePage) -> list[Refine]:
    return page.desk.engine.given(Refine)


def press(page: RefinePage, key: Qt.Key, text: str = "", *, release: bool = False) -> None:
    page.desk.keys.page = "refine"
    kind = QEvent.Type.KeyRelease if release else QEvent.Type.KeyPress
    QApplication.sendEvent(page, QKeyEvent(kind, key, Qt.KeyboardModifier.NoModifier, text))


def done(job: Refine, images: int = 1, kept: int = 0) -> Finished:
    views = f"{job.run}/default"
    result = {"run": job.run, "views": views, "images": images, "kept": kept, "passed_over": []}
    return Finished(result={**result, "source": job.source, "refiner": job.refiner})


# --- what is missing -------------------------------------------------------------------------------


def test_it_says_what_is_missing_step_by_step(page, small_project):
    assert "No project is open" in page.hint
    page.session.open(small_project.root)
    assert "No run yet" in page.hint and page.command() is None
    run = new_run(small_project.root, None, "cam", {"method": "cam"})
    page.session.run = run.id
    page.load()
    assert "Draw the maps" in page.hint
    MADE["seeds"](small_project, "cam-2")
    page.enter()
    assert page.hint == "" and page.panel.one.isVisible()
    assert [layer.name for layer in page.desk.viewer.layers] == [page.session.image], (
        "opening the page adds no layer"
    )


def test_an_image_without_maps_is_a_sentence(page, small_project):
    MADE["seeds"](small_project, images=[IMAGE])
    page.session.open(small_project.root)
    page.session.jump("im_002")
    page.enter()
    assert "None of im_002 yet" in page.panel.source_note.text()
    assert not page.panel.one.isEnabled() and page.panel.all.isEnabled()
    assert page.panel.all.text() == "Run on all 1 image"


# --- the source ------------------------------------------------------------------------------------


def test_the_newest_seed_is_chosen_and_refined_maps_are_offered(ready, small_project):
    MADE["box"](small_project, "cam/default", "crf")
    ready.load()
    keys = [ready.panel.source.itemData(n) for n in range(ready.panel.source.count())]
    assert keys == ["cam-crf/default", "cam/default"], "drawn last first"
    assert ready.panel.source.currentData() == "cam/default", "the seed, although the box is newer"
    assert "refined" in ready.panel.source.itemText(0)
    ready.panel.source.setCurrentIndex(0)
    ready.panel.source.activated.emit(0)
    assert str(ready.source) == "cam-crf/default" and ready.boxes == []


# --- the chain -------------------------------------------------------------------------------------


def test_cards_are_added_moved_and_removed(ready, qtbot):
    chain = ready.panel.chain
    assert [c.refiner for c in chain.cards] == ["crf"], "one card to begin with"
    for name in ("par", "crf"):
        qtbot.mouseClick(chain.add_buttons[name], Qt.MouseButton.LeftButton)
    assert [c.refiner for c in chain.cards] == ["crf", "par", "crf"]
    assert not chain.cards[0].up.isEnabled() and not chain.cards[2].down.isEnabled()
    qtbot.mouseClick(chain.cards[1].up, Qt.MouseButton.LeftButton)
    assert [c.refiner for c in chain.cards] == ["par", "crf", "crf"]
    assert [c.title.text()[0] for c in chain.cards] == ["1", "2", "3"]
    qtbot.mouseClick(chain.cards[2].remove, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(chain.cards[0].remove, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(chain.cards[0].remove, Qt.MouseButton.LeftButton)
    assert chain.cards == [] and chain.empty.isVisible()
    assert not ready.panel.one.isEnabled() and "no card" in ready.panel.note.text()


def test_a_card_is_dragged_by_its_handle(ready, qtbot):
    chain = ready.panel.chain
    chain.add("par")
    first, second = chain.cards
    qtbot.waitUntil(lambda: second.y() > first.y())
    handle = second.handle
    qtbot.mousePress(handle, Qt.MouseButton.LeftButton, pos=QPoint(5, 5))
    above = first.mapToGlobal(QPoint(8, 4))
    handle.dragged.emit(above)
    assert chain.cards == [second, first]
    qtbot.waitUntil(lambda: second.y() < first.y())
    handle.dragged.emit(second.mapToGlobal(QPoint(8, 4)))
    assert chain.cards == [second, first], "a pointer that rests moves nothing"
    handle.dragged.emit(chain.mapToGlobal(QPoint(8, first.geometry().bottom())))
    assert chain.cards == [first, second]
    qtbot.mouseRelease(handle, Qt.MouseButton.LeftButton)


def test_a_card_shows_two_sliders_a_preset_and_folds_the_rest(ready):
    card = ready.panel.chain.cards[0]
    shown = [f.name for f in card.form.fields if f.main]
    assert shown == ["bilateral_sxy", "bilateral_srgb"]
    assert all(isinstance(card.form.entry(name), SlideEntry) for name in shown)
    assert not isinstance(card.form.entry("iterations"), SlideEntry)
    card.form.preset.setCurrentText("psa")
    card.form.preset.activated.emit(card.form.preset.currentIndex())
    assert card.link().settings["bilateral_sxy"] == 80.0


def test_a_walk_without_a_network_says_so_and_leads_to_training(ready, small_project, qtbot, monkeypatch):
    went = []
    monkeypatch.setattr(ready, "go_to", went.append)
    card = ready.panel.chain.add("irn")
    qtbot.waitUntil(card.isVisible)
    assert "none yet" in card.lacks.text() and card.train.isVisible() and not card.network.isVisible()
    assert not ready.panel.one.isEnabled() and "IRN needs a trained network" in ready.panel.note.text()
    qtbot.mouseClick(card.train, Qt.MouseButton.LeftButton)
    assert went == ["train"]
    MADE["network"](small_project, "irn")
    MADE["network"](small_project, "irn", "irn-2")
    MADE["network"](small_project, "psa")
    ready.session.runs_changed.emit()
    offered = [card.network.itemData(n) for n in range(card.network.count())]
    assert offered == ["irn-2", "irn"], "of this method alone, the newest first"
    assert card.network.isVisible() and not card.train.isVisible()
    assert card.link().all_settings == {"network": "irn-2"}
    assert "network" not in [f.name for f in card.form.fields], "one place to choose it"


def test_a_form_that_is_used_stays_when_the_engine_tells_the_same(ready):
    import json

    card = ready.panel.chain.cards[0]
    form = card.form
    form.entry("bilateral_sxy").slider.setValue(150)
    ready.panel.chain.set_tables({r["name"]: json.loads(json.dumps(r)) for r in ROWS})
    assert card.form is form
    other = {**ROWS[0], "presets": {}}
    ready.panel.chain.set_tables({"crf": other})
    assert card.form is not form and card.form.value("bilateral_sxy") == form.value("bilateral_sxy")


def test_a_wrong_setting_is_told_and_keeps_the_chain_from_running(ready, qtbot):
    card = ready.panel.chain.add("par")
    entry = card.form.entry("dilations")
    entry.setText("one, two")
    entry.textEdited.emit("one, two")
    qtbot.waitUntil(lambda: not ready.panel.one.isEnabled())
    assert card.link() is None and ready.command() is None
    assert ready.panel.note.text().startswith("PAR:")


# --- running ---------------------------------------------------------------------------------------


def test_refining_this_image_keeps_its_stages_and_shows_them(ready, small_project, qtbot):
    qtbot.mouseClick(ready.panel.one, Qt.MouseButton.LeftButton)
    (job,) = jobs(ready)
    assert (job.refiner, job.source, job.images, job.keep) == ("crf", "cam", (IMAGE,), True)
    assert job.run == "cam-crf" and job.split is None and ready.panel.stop.isVisible()
    MADE["box"](small_project, "cam/default", "crf", images=[IMAGE], keep=[IMAGE])
    ready.desk.engine.end(job.id, done(job))
    assert ready.front.box.key == "cam-crf/default" and ready.panel.sight.isVisible()
    assert "px changed" in ready.panel.told.text() and "mIoU" in ready.panel.told.text()
    assert not ready.panel.stop.isVisible() and ready.panel.one.isEnabled()


def test_a_chain_runs_card_by_card_and_each_begins_with_the_box_before(ready, qtbot):
    ready.panel.chain.add("par")
    qtbot.mouseClick(ready.panel.all, Qt.MouseButton.LeftButton)
    (first,) = jobs(ready)
    assert first.images == () and not first.keep and first.run == "cam-crf"
    ready.desk.engine.tell(first.id, Progress(done=2, total=6, phase="images", seconds_left=8.0))
    assert ready.panel.note.text() == "CRF (card 1 of 2) · image 2 of 6 · 8 s left"
    assert not ready.panel.all.isEnabled(), "one chain at a time"
    ready.desk.engine.end(first.id, done(first, 6))
    _, second = jobs(ready)
    assert (second.refiner, second.source, second.run) == ("par", "cam-crf", "cam-crf-par")
    ready.desk.engine.end(second.id, done(second, 6))
    assert "6 images in cam-crf-par." in ready.panel.told.text()


def test_a_failure_ends_the_chain_with_a_sentence(ready):
    ready.panel.chain.add("par")
    ready.work.refine_one()
    (first,) = jobs(ready)
    ready.desk.engine.end(first.id, Failed(message="The disk is full.", hint="Make room."))
    assert ready.panel.warning.text() == "The disk is full. Make room."
    assert len(jobs(ready)) == 1 and ready.panel.one.isEnabled()


def test_stop_keeps_what_was_done_and_the_same_chain_goes_on(ready, small_project, qtbot):
    assert ready.panel.all.text() == "Run on all 6 images"
    ready.work.refine_all()
    (job,) = jobs(ready)
    qtbot.mouseClick(ready.panel.stop, Qt.MouseButton.LeftButton)
    assert ready.desk.engine.stopped == [job.id] and "stopping" not in ready.panel.warning.text()
    MADE["box"](small_project, "cam/default", "crf", images=list(small_project.usable[:2]))
    ready.desk.engine.end(job.id, Stopped(resumable=True))
    assert "goes on" in ready.panel.told.text()
    assert ready.panel.all.text() == "Go on: 4 of 6 images"
    ready.work.refine_all()
    assert jobs(ready)[1].run == "cam-crf", "the box that was begun"


def test_other_settings_make_another_box(ready, small_project, qtbot):
    MADE["box"](small_project, "cam/default", "crf", settings={"bilateral_sxy": 50.0})
    ready.load()
    assert ready.panel.all.text() == "Run again on all 6 images"
    ready.panel.chain.cards[0].form.entry("bilateral_sxy").slider.setValue(0)
    assert ready.stations()[0].run == "cam-crf-2"
    qtbot.waitUntil(lambda: ready.panel.all.text().startswith("Run on all 6 images"))


def test_a_split_is_run_alone_and_counted(ready):
    split = ready.panel.split
    split.setCurrentIndex(split.findText("train"))
    split.activated.emit(split.currentIndex())
    assert ready.panel.all.text() == "Run on 4 images"
    ready.work.refine_all()
    assert jobs(ready)[0].split == "train"


def test_the_time_is_told_from_the_seconds_an_image_took(ready):
    assert "time not known" in ready.panel.note.text()
    ready.work.refine_all()
    (job,) = jobs(ready)
    line = ready.desk.engine.line(job.id)
    line.ended = line.began + 12.0
    ready.desk.engine.end(job.id, done(job, 6, kept=2))
    assert ready.panel.all.text() == "Run on all 6 images (18 s)", "3 s an image"
    ready.panel.chain.add("par")
    assert "(" not in ready.panel.all.text(), "nobody knows what PAR takes"


def test_the_chain_is_copied_as_lines_that_follow_each_other(ready, small_project):
    MADE["network"](small_project, "irn")
    ready.session.runs_changed.emit()
    ready.panel.chain.add("irn")
    first, second = ready.command().split(" && ")
    assert first.startswith("wsss refine crf -p") and "--source cam " in first and "--run cam-crf" in first
    assert "--source cam-crf" in second and "--set network=irn" in second and "--run cam-crf-irn" in second


# --- the preview -----------------------------------------------------------------------------------


def test_a_slider_draws_a_preview_of_the_chain_up_to_its_card(ready, qtbot):
    card = ready.panel.chain.cards[0]
    ready.panel.chain.add("par")
    card.form.entry("bilateral_sxy").slider.setValue(150)
    qtbot.waitUntil(lambda: layer(ready, "preview") is not None)
    preview = layer(ready, "preview")
    assert preview.name == f"{IMAGE} · preview · CRF" and preview.visible
    assert "Preview of CRF" in ready.panel.preview_note.text()
    ready.panel.chain.cards[1].form.entry("w1").slider.setValue(150)
    qtbot.waitUntil(lambda: preview.name == f"{IMAGE} · preview · PAR")
    qtbot.mouseClick(ready.panel.end_preview, Qt.MouseButton.LeftButton)
    assert layer(ready, "preview") is None and not ready.panel.end_preview.isVisible()


def test_the_newest_preview_wins_and_none_blocks(ready, qtbot, monkeypatch):
    import threading

    from wsss_napari import refine_preview

    gate, seen = threading.Event(), []
    real = refine_preview.sketch_of

    def slow(order):
        seen.append(order.parts[0][1].get("bilateral_sxy"))
        gate.wait(10)
        return real(order)

    monkeypatch.setattr(refine_preview, "sketch_of", slow)
    slider = ready.panel.chain.cards[0].form.entry("bilateral_sxy").slider
    slider.setValue(10)
    qtbot.waitUntil(lambda: len(seen) == 1)
    for at in (50, 120, 180):  # the window goes on while the first is computed
        slider.setValue(at)
        QApplication.processEvents()
    gate.set()
    qtbot.waitUntil(lambda: len(seen) == 2 and not ready.busy)
    last = ready.panel.chain.cards[0].form.value("bilateral_sxy")
    assert seen[1] == last, "those in between are left out"


def test_another_image_gives_the_preview_up(ready, qtbot):
    ready.panel.chain.cards[0].form.entry("bilateral_sxy").slider.setValue(150)
    ready.session.jump("im_002")
    qtbot.wait(150)
    assert layer(ready, "preview") is None and not ready.busy


def test_behind_a_walk_its_last_result_is_used_and_told(walked, qtbot):
    chain = walked.panel.chain
    chain.set_links([Link("irn", {}, "irn"), Link("crf")])
    chain.cards[1].form.entry("bilateral_sxy").slider.setValue(150)
    qtbot.waitUntil(lambda: layer(walked, "preview") is not None)
    assert "IRN as computed last (cam-irn)" in walked.panel.preview_note.text()
    walked.end_preview()
    chain.cards[0].form.entry("beta").slider.setValue(10)
    qtbot.wait(120)
    assert layer(walked, "preview") is None, "a walk has no preview"


def test_behind_a_walk_that_was_never_run_there_is_no_preview(ready, small_project):
    MADE["network"](small_project, "psa")
    ready.session.runs_changed.emit()
    ready.panel.chain.set_links([Link("psa", {}, "psa"), Link("crf")])
    ready.panel.chain.cards[1].form.entry("bilateral_sxy").slider.setValue(150)
    assert "No preview behind PSA yet" in ready.panel.preview_note.text() and not ready.busy


def test_a_preview_is_the_refiner_at_a_share_of_the_size(small_project):
    stack = MADE["stack_of"](small_project, IMAGE)
    pixels = small_project.read(IMAGE).pixels
    sketch = sketch_of(PreviewOrder(IMAGE, stack, pixels, 0.5, (("crf", {}), ("par", {})), "PAR"))
    assert sketch.mask.shape == (24, 32) and sketch.cell == 2.0
    assert set(np.unique(sketch.mask)) <= {0, *(c + 1 for c in stack.classes)}
    assert scale_of(np.zeros((100, 160, 3), np.uint8)) == 1 and scale_of(np.zeros((333, 500, 3))) == 0.25


# --- before and after ------------------------------------------------------------------------------


def test_the_result_is_drawn_with_what_changed_in_words_and_stripes(refined, small_project):
    sight = refined.panel.sight
    before, after = refined.front.before, refined.front.after
    assert np.array_equal(layer(refined, "mask").data, after)
    changed = before != after
    assert changed.any() and f"{np.count_nonzero(changed):,} px changed" in sight.changed.text()
    stripes = layer(refined, "changed").data
    assert layer(refined, "changed").visible and set(np.unique(stripes[~changed])) == {0}
    assert 0.3 < np.count_nonzero(stripes) / np.count_nonzero(changed) < 0.7, "with gaps, to see through"
    assert "mIoU of this image" in sight.quality.text() and "before" in sight.quality.text()
    assert sight.figures.table.isVisible()


def test_holding_the_key_shows_the_mask_before(refined):
    mask = layer(refined, "mask")
    press(refined, Qt.Key.Key_G, "g")
    assert np.array_equal(mask.data, refined.front.before) and mask.name.endswith("mask before")
    assert not layer(refined, "changed").visible, "nothing lies over it"
    press(refined, Qt.Key.Key_G, "g", release=True)
    assert np.array_equal(mask.data, refined.front.after) and layer(refined, "changed").visible
    assert mask.visible and mask.name.endswith("mask refined")


def test_the_button_does_the_same_and_a_preview_comes_back(refined, qtbot):
    refined.panel.chain.cards[0].form.entry("bilateral_sxy").slider.setValue(150)
    qtbot.waitUntil(lambda: layer(refined, "preview") is not None)
    assert not layer(refined, "mask").visible, "the preview stands alone"
    qtbot.mousePress(refined.panel.sight.before, Qt.MouseButton.LeftButton)
    assert layer(refined, "mask").visible and not layer(refined, "preview").visible
    qtbot.mouseRelease(refined.panel.sight.before, Qt.MouseButton.LeftButton)
    assert layer(refined, "preview").visible and not layer(refined, "mask").visible


def test_without_truth_there_is_no_word_of_quality(page, small_project, monkeypatch):
    monkeypatch.setattr("wsss_napari.pages.refine_front.has_truth", lambda *_: False)
    MADE["seeds"](small_project)
    MADE["box"](small_project, "cam/default", "crf", keep=[IMAGE])
    opened(page, small_project)
    assert not page.panel.sight.quality.isVisible() and not page.panel.sight.truth.isEnabled()
    assert page.panel.sight.changed.text()


def test_changes_are_counted_by_kind():
    before = np.array([[0, 0, 1, 1], [1, 2, 2, 0]], np.uint8)
    after = np.array([[0, 1, 0, 1], [2, 2, 0, 0]], np.uint8)
    change = change_between(before, after)
    assert (change.pixels, change.to_class, change.to_background, change.between) == (4, 1, 2, 1)
    assert change.share == 0.5
    words = changed_words(change)
    assert words == "4 px changed (50.0 %): 1 to a class, 2 to background, 1 from one label to another."
    assert changed_words(change_between(before, before)) == "No pixel changed."


def test_the_mask_before_follows_the_first_card_until_there_is_a_box(ready, qtbot):
    press(ready, Qt.Key.Key_G, "g")
    assert np.array_equal(layer(ready, "mask").data, ready.front.before)
    press(ready, Qt.Key.Key_G, "g", release=True)
    assert layer(ready, "mask") is None
    before = np.count_nonzero(ready.front.before)
    entry = ready.panel.chain.cards[0].form.entry("background")
    entry.setText("constant:0.8")
    entry.textEdited.emit("constant:0.8")
    qtbot.waitUntil(lambda: np.count_nonzero(ready.front.before) < before)
    assert "constant:0.8" in ready.panel.source_note.text()
    entry.setText("constant:many")
    entry.textEdited.emit("constant:many")
    qtbot.waitUntil(lambda: "many" in ready.panel.chain.problem())


def test_the_rule_of_the_mask_before_is_the_first_cards():
    assert rule_of({"background": "power:4"}).text() == "power:4.0"
    assert rule_of({"background": 0.25}).text() == "constant:0.25"
    assert rule_of({}).text() == rule_of({"background": None}).text() == "constant:0.2"
    with pytest.raises(UserError):
        rule_of({"background": "constant:9"})


# --- stages and fields -----------------------------------------------------------------------------


def test_stages_open_at_the_start_and_follow_the_slider(refined):
    sight = refined.panel.sight
    assert refined.front.stage == 0 and sight.player.last == 5 and "The start" in sight.line.text()
    sight.switches["score"].click()
    shown = layer(refined, "score")
    trace = refined.front.view.trace
    assert np.array_equal(shown.data, trace.stages[0, 1].astype(np.float32))
    sight.player.set_step(3)
    assert np.array_equal(shown.data, trace.stages[3, 1].astype(np.float32))
    assert "After 3 iterations · energy" in sight.line.text()
    press(refined, Qt.Key.Key_Q, "q")
    assert refined.front.stage == 2
    press(refined, Qt.Key.Key_W, "w")
    assert refined.front.stage == 3
    refined.session.cls = trace.classes[1]
    assert np.array_equal(shown.data, trace.stages[3, 2].astype(np.float32))
    assert np.allclose(shown.scale, trace.cell) and np.allclose(shown.translate, trace.origin)


def test_looks_that_are_not_there_say_why(refined):
    for key in ("edge", "arrows", "wheel", "centroids", "instances", "confident", "patch"):
        switch = refined.panel.sight.switches[key]
        assert not switch.isEnabled() and "Only" in switch.toolTip()
    for key in ("changed", "score", "entropy", "stage"):
        assert refined.panel.sight.switches[key].isEnabled()


def test_a_box_without_stages_shows_its_mask_alone(page, small_project):
    MADE["seeds"](small_project)
    MADE["box"](small_project, "cam/default", "crf")
    opened(page, small_project)
    assert layer(page, "mask").visible and not page.panel.sight.stages.isVisible()
    assert not page.panel.sight.switches["score"].isEnabled()


def test_every_look_of_a_walk_is_a_layer_of_its_own(walked):
    sight = walked.panel.sight
    for key, switch in sight.switches.items():
        if not switch.isChecked():
            assert switch.isEnabled(), key
            switch.click()
    walked.front.touch(20, 30)
    kinds = {key: type(layer(walked, key)).__name__ for key in ORDER if layer(walked, key) is not None}
    assert kinds == {
        "wheel": "Image",
        "edge": "Image",
        "score": "Image",
        "entropy": "Image",
        "confident": "Labels",
        "instances": "Labels",
        "mask": "Labels",
        "stage": "Labels",
        "changed": "Labels",
        "arrows": "Vectors",
        "centroids": "Points",
        "boxes": "Shapes",
        "patch": "Image",
    }
    names = [layer.name for layer in walked.desk.viewer.layers]
    assert all(name.startswith(IMAGE) for name in names)
    order = [layer.metadata["wsss"]["key"].removeprefix("refine:") for layer in walked.desk.viewer.layers]
    assert order[0] == "photograph" and order[1:] == [key for key in ORDER if key in kinds], "bottom to top"
    assert layer(walked, "edge").colormap.name == "inferno"
    assert 254 in layer(walked, "confident").data, "255 is hatched"
    assert len(layer(walked, "boxes").data) == 2
    for switch in list(sight.switches.values())[1:]:
        switch.click()
    assert not [key for key in kinds if key != "mask" and layer(walked, key).visible]


def test_an_eye_turns_the_switch(walked):
    walked.panel.sight.switches["edge"].click()
    layer(walked, "edge").visible = False
    assert not walked.panel.sight.switches["edge"].isChecked()
    layer(walked, "edge").visible = True
    assert walked.panel.sight.switches["edge"].isChecked()


def test_centroids_move_with_their_own_slider(walked):
    sight = walked.panel.sight
    assert not sight.iteration.isVisible()
    sight.switches["centroids"].click()
    start = layer(walked, "centroids").data.copy()
    view = walked.front.view
    assert sight.iteration.isVisible() and sight.iteration.maximum() == len(view.iterations) - 1
    sight.iteration.setValue(sight.iteration.maximum())
    end = layer(walked, "centroids").data
    assert np.array_equal(end, view.centroids(len(view.iterations) - 1)) and len(start) == len(end)


def test_a_click_shows_the_affinities_of_its_cell(walked):
    sight, viewer = walked.panel.sight, walked.desk.viewer
    before = len(viewer.mouse_drag_callbacks)
    sight.switches["patch"].click()
    assert len(viewer.mouse_drag_callbacks) == before + 1 and "Click on the image" in sight.patch_words.text()
    walked.front.touch(20, 30)
    patch = layer(walked, "patch")
    assert patch.data.shape == (9, 9) and patch.data[4, 4] == 1
    middle = patch.translate + 4 * patch.scale
    assert np.allclose(middle, [20, 32]), "the cell that is clicked lies in the middle"
    assert "68 neighbours" in sight.patch_words.text() and "Boundary here" in sight.patch_words.text()
    walked.front.touch(-50, 30)
    assert not patch.visible and "outside" in sight.patch_words.text()
    sight.switches["patch"].click()
    assert len(viewer.mouse_drag_callbacks) == before


def test_centroids_are_found_from_the_displacement(small_project):
    trace = MADE["trace_of"](small_project, IMAGE, "irn")
    view = TraceView(trace, {})
    assert view.has("centroids") and view.iterations[0] == 0 and len(view.iterations) > 1
    spread = [np.ptp(view.centroids(n), axis=0).max() for n in range(len(view.iterations))]
    assert spread[-1] < 3 * trace.cell < spread[0], "all are drawn to the one centre"
    assert TraceView(MADE["trace_of"](small_project, IMAGE, "psa"), {}).iterations == ()


def test_affinities_of_features_are_read_as_they_were_kept(small_project):
    view = TraceView(MADE["trace_of"](small_project, IMAGE, "psa"), {})
    patch = view.patch(20, 30)
    inside = patch.values[np.isfinite(patch.values)]
    assert len(inside) == 69 and set(np.unique(inside)) == {0.75, 1.0}
    assert "Boundary" not in patch.words
    corner = view.patch(0, 0)
    assert np.isnan(corner.values[:4]).all(), "no neighbours above the image"
    assert view.patch(48, 0) is None and view.patch(47.4, 63.4) is not None


def test_a_part_of_the_boundary_gives_the_affinities_of_the_whole(small_project):
    from engine.affinity import neighbours, path_affinity

    trace = MADE["trace_of"](small_project, IMAGE, "irn")
    rng = np.random.default_rng(0)
    trace.fields["edge"][...] = rng.random(trace.fields["edge"].shape)
    edge = trace.fields["edge"].astype(np.float32)
    view = TraceView(trace, {})
    whole = path_affinity(edge, 5)
    for y, x in ((0, 0), (5, 8), (11, 15), (2, 14)):
        patch = view.patch(y * trace.cell, x * trace.cell)
        assert np.allclose(patch.values, neighbours(whole, 5, y, x), equal_nan=True), (y, x)


def test_the_wheel_tells_direction_by_hue_and_length_by_saturation():
    directions = np.array([[0.0, -1, 0, 1, 0], [1.0, 0, -1, 0, 0]], np.float32)[:, None] * 10
    right, up, left, down, still = wheel(directions)[0]
    assert right.tolist() == [255, 0, 0] and left.tolist() == [0, 255, 255] and still.tolist() == [255] * 3
    assert up[1] == 255 and up[2] == 0 and down[2] == 255 and down[1] == 0
    half = wheel(np.array([[[0.0, 0.0]], [[5.0, 10.0]]], np.float32))[0]
    assert half[1].tolist() == [255, 0, 0] and 120 < half[0][1] < 135


def test_entropy_is_nothing_where_one_label_wins_and_one_where_all_are_level(small_project):
    trace = MADE["trace_of"](small_project, IMAGE, "crf")
    trace.stages[0] = 0.25
    trace.stages[1] = 0
    trace.stages[1, 0] = 1
    view = TraceView(trace, {})
    assert np.allclose(view.entropy(0), 1, atol=1e-3) and np.allclose(view.entropy(1), 0, atol=1e-6)


def test_arrows_point_where_the_field_does(small_project):
    trace = MADE["trace_of"](small_project, IMAGE, "irn")
    trace.fields["displacement"][0], trace.fields["displacement"][1] = 0, 1
    arrows, angles = TraceView(trace, {}).arrows()
    assert arrows.shape[1:] == (2, 2) and np.allclose(angles, 0)
    assert (arrows[:, 1, 0] == 0).all() and (arrows[:, 1, 1] > 0).all(), "to the right"
    trace.fields["displacement"][1] = 2
    trace.fields["displacement"][1, 0] = 1
    trace.fields["displacement"][1, 1, 1] = 100
    lengths = TraceView(trace, {}).arrows()[0][:, 1, 1].reshape(12, 16)
    assert np.isclose(lengths[0, 0], lengths[5, 5] / 2), "half as far is half as long"
    assert lengths.max() < 2 * trace.cell, "one far one neither covers the rest nor makes it vanish"


# --- the plots -------------------------------------------------------------------------------------


def test_curves_measure_every_stage(small_project):
    from engine.store.truth import read_truth

    view = TraceView(MADE["trace_of"](small_project, IMAGE, "crf"), {})
    truth = read_truth(small_project, IMAGE)
    curves = stage_curves(view, truth, 3)
    assert curves.changed[0] == 0 and (np.diff(curves.changed) >= 0).all() and curves.changed[-1] > 0
    assert curves.energy[0] > curves.energy[-1] and np.isfinite(curves.miou).all()
    assert stage_curves(view, None, 3).miou is None
    assert stage_curves(view, np.zeros((5, 5), np.uint8), 3).miou is None, "of another size"


def test_the_plots_stand_in_the_strip_and_move_with_the_slider(
    small_project, make_napari_viewer_proxy, qtbot, monkeypatch
):
    monkeypatch.setattr("wsss_napari.worker.Engine", Engine)
    MADE["seeds"](small_project)
    MADE["box"](small_project, "cam/default", "crf", keep=[IMAGE])
    page = opened(make_page(RefinePage, make_napari_viewer_proxy(), qtbot, 1600), small_project)
    plots = page.front.plots
    assert page.desk.plots.shown is plots and not plots.energy.isHidden()
    page.panel.sight.player.set_step(4)
    assert plots.energy.line.value() == 4
    plots.truth.moved.emit(2)
    assert page.front.stage == 2 == page.panel.sight.player.step
    page.leave()
    assert page.desk.plots.shown is None
    assert not [layer for layer in page.desk.viewer.layers if layer.visible and layer.name != IMAGE]
    page.enter()
    assert page.desk.plots.shown is plots and layer(page, "mask").visible


def test_scores_are_read_under_the_pointer(refined):
    text = refined.front._why(10, 20)
    assert "before" in text and "background" in text
    assert text.count("<tr>") == 1 + 1 + len(refined.front.after_stack.classes)
    assert refined.front._why(-1, 5) is None and refined.front._why(48, 5) is None


# --- boxes -----------------------------------------------------------------------------------------


def test_boxes_of_the_source_are_listed_with_their_chain(refined, small_project):
    MADE["box"](small_project, "cam-crf/default", "par", images=[IMAGE])
    MADE["seeds"](small_project, "other", images=[IMAGE])
    MADE["box"](small_project, "other/default", "crf")
    refined.load()
    boxes = boxes_from(small_project, "cam/default")
    assert [(b.key, b.chain) for b in boxes] == [
        ("cam-crf-par/default", ("crf", "par")),
        ("cam-crf/default", ("crf",)),
    ]
    rows = refined.panel.boxes.list
    texts = [rows.item(n).text() for n in range(rows.count())]
    assert texts == ["+CRF +PAR · 1 image · cam-crf-par", "+CRF · 6 images · cam-crf"]


def test_choosing_a_box_goes_back_to_it(refined, small_project):
    MADE["box"](small_project, "cam-crf/default", "par", wide=0.5)
    refined._chosen.clear()
    refined.load()
    assert refined.front.box.key == "cam-crf-par/default", "the newest"
    newest = refined.front.after.copy()
    refined.panel.boxes.list.setCurrentRow(1)
    assert refined.front.box.key == "cam-crf/default"
    assert not np.array_equal(refined.front.after, newest)
    refined.session.jump("im_002")
    assert refined.front.box.key == "cam-crf/default", "it stays in front for other images"


def test_the_chain_of_a_box_is_shown_in_the_cards(refined, small_project):
    MADE["network"](small_project, "irn")
    MADE["box"](small_project, "cam-crf/default", "irn", network="irn", settings={"beta": 4.0, "steps": 256})
    refined.load()
    refined.panel.boxes.take_asked.emit("cam-crf-irn/default")
    first, second = refined.panel.chain.links()
    assert (first.refiner, dict(first.settings)) == ("crf", {})
    assert (second.refiner, dict(second.settings), second.network) == ("irn", {"beta": 4.0}, "irn")
    assert [s.there for s in refined.stations()] == [True, True], "the same chain again is the same box"


def test_a_box_is_deleted_after_a_question(refined, small_project, qtbot):
    boxes = refined.panel.boxes
    MADE["box"](small_project, "cam-crf/default", "par")
    refined.load()
    boxes.list.setCurrentRow(1)
    qtbot.mouseClick(boxes.delete, Qt.MouseButton.LeftButton)
    assert boxes.question.isVisible() and "cam-crf-par made from it stays" in boxes.question.text.text()
    assert run_of(small_project.root, "cam-crf").id, "nothing is gone yet"
    qtbot.mouseClick(boxes.question.keep, Qt.MouseButton.LeftButton)
    assert not boxes.question.isVisible()
    boxes.list.setCurrentRow(0)
    qtbot.mouseClick(boxes.delete, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(boxes.question.sure, Qt.MouseButton.LeftButton)
    assert sorted(r.id for r in runs_of(small_project.root)) == ["cam", "cam-crf"]
    assert refined.front.box.key == "cam-crf/default", "the one before is in front again"


def test_a_box_in_a_networks_run_goes_without_the_network(ready, small_project):
    network = MADE["network"](small_project, "psa")
    views = network.views()
    MADE["stack_of"](small_project, IMAGE, background=True).save(views.path(IMAGE))
    facts = {"method": "psa", "settings": {}, "source": "cam/default", "kinds": ["cams"], "run": "psa"}
    write_json(views.folder / "views.json", facts)
    ready.load()
    assert ready.front.box.key == "psa/default"
    ready.ends.delete("psa/default")
    assert network.weights.is_file() and not views.folder.is_dir() and ready.boxes == []


def test_labels_are_made_of_a_box(refined, qtbot):
    boxes = refined.panel.boxes
    boxes.list.setCurrentRow(0)
    qtbot.mouseClick(boxes.use, Qt.MouseButton.LeftButton)
    assert boxes.label.isVisible() and "6 images" in boxes.label.note.text()
    assert refined.command().startswith("wsss label")
    qtbot.mouseClick(boxes.label.go, Qt.MouseButton.LeftButton)
    (job,) = refined.desk.engine.given(Label)
    assert (job.source, job.name) == ("cam-crf", "refined") and not boxes.label.isVisible()
    refined.desk.engine.end(job.id, Finished(result={"labels": "refined"}))
    assert "Export page" in refined.panel.told.text()


def test_a_damaged_trace_is_a_sentence(refined, small_project):
    path = run_of(small_project.root, "cam-crf").views().path(IMAGE, "refine")
    path.write_bytes(b"no npz")
    refined.load()
    assert str(path.name) in refined.panel.warning.text() and not refined.panel.sight.isVisible()


def test_a_trace_of_another_image_is_refused(refined, small_project):
    views = run_of(small_project.root, "cam-crf").views()
    trace = MADE["trace_of"](small_project, IMAGE, "crf")
    dataclasses.replace(trace, size=(10, 10)).save(views.path(IMAGE, RefineTrace.KIND))
    refined.load()
    assert "another image" in refined.panel.warning.text() and not refined.panel.sight.isVisible()


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("edge", np.zeros((3, 3), np.float16)),
        ("displacement", np.full((2, 12, 16), np.inf, np.float16)),
        ("affinity", np.ones((7, 12, 16), np.float16)),
        ("confident", np.zeros((5, 5), np.uint8)),
    ],
)
def test_fields_that_do_not_fit_their_grid_are_refused(small_project, name, broken):
    trace = MADE["trace_of"](small_project, IMAGE, "irn")
    assert fits(trace) and fits(MADE["trace_of"](small_project, IMAGE, "psa"))
    trace.fields[name] = broken
    assert not fits(trace)


def test_a_radius_out_of_reach_is_refused(small_project):
    trace = MADE["trace_of"](small_project, IMAGE, "irn")
    assert not fits(dataclasses.replace(trace, radius=100_000))


def test_a_box_without_the_image_says_so(refined, small_project):
    MADE["box"](small_project, "cam/default", "par", images=["im_002"])
    refined.bring("cam-par/default")
    assert refined.panel.boxes.lack.text() == f"cam-par has none of {IMAGE} yet."
    assert not refined.panel.sight.isVisible()
    refined.session.jump("im_002")
    assert not refined.panel.boxes.lack.isVisible() and refined.panel.sight.isVisible()


def test_looking_at_another_stage_ends_the_preview(refined, qtbot):
    refined.panel.sight.switches["score"].click()
    refined.panel.chain.cards[0].form.entry("bilateral_sxy").slider.setValue(150)
    qtbot.waitUntil(lambda: layer(refined, "preview") is not None)
    refined.session.cls = refined.front.view.trace.classes[1]
    assert not layer(refined, "score").visible, "the preview stands alone"
    refined.panel.sight.player.set_step(2)
    assert (
        layer(refined, "preview") is None
        and layer(refined, "score").visible
        and layer(refined, "mask").visible
    )


def test_results_of_the_image_in_front_appear_while_a_chain_runs(ready, small_project, qtbot):
    ready.work.refine_all()
    (job,) = jobs(ready)
    MADE["box"](small_project, "cam/default", "crf", images=[IMAGE])
    ready.desk.engine.tell(job.id, Said(text="working"))
    ready.desk.engine.tell(job.id, Viewed(image=IMAGE, kind="cams", path="runs/cam-crf/views/default/x"))
    qtbot.waitUntil(lambda: layer(ready, "mask") is not None)


# --- names -----------------------------------------------------------------------------------------


def test_routes_go_on_with_the_same_box_and_take_free_names_else(small_project):
    seed = MADE["seeds"](small_project).views()
    defaults = {"crf": {"bilateral_sxy": 50.0, "dilations": (1, 2)}, "par": {}}.__getitem__

    def stops_of(links):
        return route(small_project, seed, links, boxes_from(small_project, "cam/default"), defaults)

    runs = [s.run for s in stops_of([Link("crf"), Link("crf"), Link("par")])]
    assert runs == ["cam-crf", "cam-crf-crf", "cam-crf-crf-par"]
    stored = {"bilateral_sxy": 50.0, "dilations": [1, 2]}
    MADE["box"](small_project, "cam/default", "crf", settings=stored)
    (stop,) = stops_of([Link("crf")])
    assert (stop.run, stop.there, stop.source) == ("cam-crf", True, "cam")
    (stop,) = stops_of([Link("crf", {"bilateral_sxy": 9.0})])
    assert (stop.run, stop.there) == ("cam-crf-2", False)


def test_names_never_grow_out_of_a_folder_name(small_project):
    seed = MADE["seeds"](small_project, "c" * 60).views()
    stops = route(small_project, seed, [Link("crf")] * 30, [], lambda _name: {})
    assert max(len(s.run) for s in stops) <= 64 and len({s.run for s in stops}) == 30


def test_a_circle_of_sources_ends(small_project):
    MADE["box"](small_project, "b/default", "crf", run="a")
    MADE["box"](small_project, "a/default", "crf", run="b")
    assert boxes_from(small_project, "cam/default") == []


# --- sliders, keys, words --------------------------------------------------------------------------


def test_a_slider_and_its_field_say_the_same(qtbot):
    field = next(f for f in describe(REFINERS["crf"].settings) if f.name == "bilateral_sxy")
    entry = SlideEntry(field)
    qtbot.addWidget(entry)
    told = []
    entry.edited.connect(lambda: told.append(entry.read()))
    assert slides(field) and entry.read() == 50.0 and entry.slider.value() == 100, (
        "the default lies in the middle"
    )
    entry.slider.setValue(200)
    assert told == [500.0] and entry.box.text() == "500 px"
    entry.write(5.0)
    assert entry.slider.value() == 0 and told == [500.0], "written, not edited"
    entry.box.setValue(900.0)
    assert entry.slider.value() == 200 and entry.read() == 900.0, "the field reaches farther than the slider"
    whole = SlideEntry(next(f for f in describe(REFINERS["crf"].settings) if f.name == "iterations"))
    qtbot.addWidget(whole)
    seen = set()
    for at in range(whole.slider.maximum() + 1):
        whole.slider.setValue(at)
        seen.add(whole.read())
    assert seen >= {1, 10, 100} and all(isinstance(v, int) for v in seen)


def test_every_control_has_a_tooltip_or_a_label(walked):
    from qtpy.QtWidgets import QAbstractButton, QAbstractSlider, QComboBox, QLineEdit

    walked.panel.sight.switches["centroids"].click()
    bare = [
        (type(w).__name__, w.text() if isinstance(w, QAbstractButton) else "")
        for kind in (QAbstractButton, QAbstractSlider, QComboBox, QLineEdit)
        for w in walked.panel.findChildren(kind)
        if w.isVisible()
        and not (w.toolTip() or w.accessibleName())
        and type(w).__name__ not in ("QScrollBar", "ExpandButton", "QLineEdit")
    ]
    heads = [name for name in bare if not name[1].startswith("All parameters")]
    assert heads == []


def test_the_keys_are_in_the_table():
    rows = {b.action: b for b in BINDINGS if b.page == "refine"}
    assert rows["before"].hold and set(rows) == {"before", "changed", "back", "forward", "play"}


def test_looks_have_names_and_reasons():
    assert [look.key for look in LOOKS if not look.tip] == []
    assert all(look.missing for look in LOOKS[2:])
    assert {look.key for look in LOOKS[1:]} <= set(ORDER)


# --- other pages -----------------------------------------------------------------------------------


def test_a_refinement_cannot_be_climbed_on(small_project, qtbot, monkeypatch):
    from wsss_napari.pages.climb import ClimbPage

    monkeypatch.setattr("wsss_napari.worker.Engine", Engine)
    MADE["seeds"](small_project)
    box = MADE["box"](small_project, "cam/default", "crf")
    network = MADE["network"](small_project, "irn")
    page = ClimbPage(desk_of(ViewerModel()))
    qtbot.addWidget(page)
    page.session.open(small_project.root)
    assert page.session.run == "cam", "a run that draws maps is in front, not the newest network"
    page.enter()
    assert page.hint == ""
    for run in (box, network):
        page.session.run = run.id
        assert "no classifier to climb on" in page.hint and page.command() is None


def test_the_context_bar_says_what_a_refinement_is(small_project):
    from wsss_napari.context_bar import _run_text

    MADE["seeds"](small_project)
    box = MADE["box"](small_project, "cam/default", "crf")
    assert "refined by CRF" in _run_text(box)


def test_the_table_of_runs_offers_no_resume_of_a_refinement(small_project, qtbot):
    from wsss_napari.pages.runs_list import RunsList
    from wsss_napari.run_facts import command_of

    MADE["seeds"](small_project)
    box = MADE["box"](small_project, "cam/default", "crf")
    box.update(status="stopped", job={"verb": "refine", "refiner": "crf", "source": "cam", "settings": {}})
    table = RunsList()
    qtbot.addWidget(table)
    table.show_runs(small_project)
    table.choose(["cam-crf"])
    assert table.resume.isHidden() and table.copy.isEnabled()
    assert "crf of cam/default" in table.table.item(0, 0).text()
    line = command_of(run_of(small_project.root, "cam-crf"))
    assert line.startswith("wsss refine crf") and "--source cam" in line and "--run cam-crf" in line


def test_explore_shows_refined_maps_without_a_threshold(small_project, qtbot, monkeypatch):
    from wsss_napari.pages.explore import ExplorePage

    monkeypatch.setattr("wsss_napari.worker.Engine", Engine)
    MADE["seeds"](small_project)
    box = MADE["box"](small_project, "cam/default", "crf", images=[IMAGE], settings={"bilateral_sxy": 9.0})
    page = ExplorePage(desk_of(ViewerModel()))
    qtbot.addWidget(page)
    page.show()
    page.session.open(small_project.root)
    page.session.jump(IMAGE)
    page.session.run = box.id
    page.enter()
    assert not page.panel.rule.isVisible() and "their own background score" in page.panel.no_rule.text()
    assert page.desk.layers.get("mask") is not None
    job = page.jobs.draw(("im_002",))
    assert isinstance(job, Refine) and (job.refiner, job.source, job.run) == ("crf", "cam/default", "cam-crf")
    assert job.settings == {"bilateral_sxy": 9.0}
    page.session.run = MADE["network"](small_project, "irn").id
    assert "affinity network" in page.hint


def test_copy_puts_the_chain_on_the_clipboard(small_project, make_napari_viewer_proxy, qtbot, monkeypatch):
    from wsss_napari.dock import RefineDock

    monkeypatch.setattr("wsss_napari.worker.Engine", Engine)
    MADE["seeds"](small_project)
    dock = RefineDock(make_napari_viewer_proxy())
    qtbot.addWidget(dock)
    dock.session.open(small_project.root)
    dock.turn_to("refine").panel.chain.add("par")
    assert dock.copy_button.isEnabled()
    monkeypatch.setattr(dock.desk, "said", lambda *_: None)
    dock.copy_command()
    assert QGuiApplication.clipboard().text().count("wsss refine") == 2


def test_settings_that_cannot_be_parsed_are_a_sentence_in_the_preview(small_project):
    stack, pixels = MADE["stack_of"](small_project, IMAGE), small_project.read(IMAGE).pixels
    with pytest.raises(UserError):
        sketch_of(PreviewOrder(IMAGE, stack, pixels, 0.5, (("crf", {"background": "blue"}),), "CRF"))
