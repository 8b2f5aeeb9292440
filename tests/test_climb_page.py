"""The Climb page: press Climb, watch steps come, scrub, go on, compare, take a step as the label, write a film."""

from __future__ import annotations

import dataclasses
import runpy
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QApplication
from scipy import ndimage

from engine.atomic import write_json
from engine.labels import LabelRule, apply, best_class
from engine.messages import Climb, Failed, Film, Finished, Label, Methods, Progress, Started, Stopped, Viewed
from engine.params import Spec, describe, presets
from engine.results import CamStack, TraceWriter, path_to, traces_in
from engine.saliency import read_salient
from engine.store import Project, Run, new_run
from engine.store.truth import read_truth
from wsss_napari._compat import canvas_of
from wsss_napari.climb_layers import LOOKS
from wsss_napari.climb_view import StepView, climbs_of, path_of
from wsss_napari.pages.climb import ClimbPage
from wsss_napari.saliency_pick import masks_of

FAKE = runpy.run_path(str(Path(__file__).with_name("fake_engine.py")))
SIZE, CELL = (48, 64), 4
GRID = (12, 16)
PAGES = runpy.run_path(str(Path(__file__).with_name("fake_pages.py")))
IMAGE, make_page, opened = PAGES["IMAGE"], PAGES["make_page"], PAGES["opened"]


@dataclasses.dataclass(frozen=True)
class Settings:
    steps: Annotated[int, Spec("Steps.", low=0, high=500, unit="steps", main=True)] = 10
    lam: Annotated[float, Spec("Weight of the penalty.", low=0, high=1e6, main=True)] = 7.0
    tau: Annotated[float, Spec("Share of the peak.", low=0, high=1)] = 0.5
    aggregate: Annotated[Literal["sum", "last"], Spec("The final map.")] = "sum"
    scales: Annotated[tuple[float, ...], Spec("Scales.", low=0.1, high=4)] = (1.0,)
    keep: Annotated[Literal["auto", "maps", "pictures"], Spec("What is kept.")] = "auto"
    saliency: Annotated[str, Spec("Folder of masks.", picks="folder")] = ""

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {"engine": {}, "code": {"steps": 27, "lam": 3.0}}


ADVCAM = {
    **FAKE["METHODS"]["methods"][0],
    "name": "advcam",
    "infer": [dataclasses.asdict(f) for f in describe(Settings)],
    "presets": {"train": {}, "infer": presets(Settings)},
}
METHODS = {**FAKE["METHODS"], "methods": [*FAKE["METHODS"]["methods"], ADVCAM]}


class Engine(FAKE["FakeEngine"]):  # type: ignore[misc]
    """Knows the settings of a climb, and what was made ready before it was asked for."""

    def __init__(self) -> None:
        super().__init__({Methods: METHODS})
        self.warmed: list[str] = []

    def warm(self, job: Climb) -> None:
        self.warmed.append(job.VERB)

    def tell(self, job_id: str, event: Any) -> None:
        if isinstance(event, Progress):
            self.line(job_id).progress = event
        super().tell(job_id, event)


def settings_of(**changed: Any) -> dict[str, Any]:
    return {**{f.name: f.default for f in describe(Settings)}, "scales": [1.0], **changed}


class Climber:
    """Writes a climb row by row, as the engine does: a blob that widens around the middle of the image."""

    def __init__(
        self,
        run: Run,
        cls: int,
        trace: str,
        *,
        views: str = "steps",
        image: str = IMAGE,
        first: int = 0,
        parent: str | None = None,
        planned: int = 10,
        pictures: bool = True,
        **changed: Any,
    ) -> None:
        arrays: dict[str, tuple[int, ...]] = {"maps": GRID, "masks": GRID, "scores": (3,), "penalties": (2,)}
        if pictures:
            arrays |= {"pictures": (2, 3, *SIZE), "saliency": SIZE}
        self.cls, self.step, self.pictures = cls, first, pictures
        self.writer = TraceWriter(
            run.views(views).folder / image / "climb" / trace,
            planned - first + 1,
            arrays,
            {
                "image": image,
                "class": cls,
                "size": list(SIZE),
                "picture_size": list(SIZE),
                "cell": CELL,
                "origin": 0.0,
                "first": first,
                "planned": planned,
                "parent": parent,
                "at": max(first - 1, 0),
                "settings": settings_of(**changed),
            },
        )

    @property
    def path(self) -> str:
        """Its folder relative to the project."""
        folder = self.writer.folder
        return folder.relative_to(folder.parents[6]).as_posix()

    def row(self) -> None:
        t, (h, w) = self.step, GRID
        y, x = np.mgrid[:h, :w]
        heat = 3 * np.exp(-((y - 4) ** 2 + (x - 5) ** 2) / (2 * (1 + 0.4 * t) ** 2))
        scores = np.array([1.0, 1.0, 1.0])
        scores[self.cls] += 0.5 * t
        mask = (heat > 1.5).astype(np.uint8)
        mask[0] |= 2
        row = {"maps": heat, "masks": mask, "scores": scores, "penalties": np.array([0.1 * t, 0.0])}
        if self.pictures:
            row["pictures"] = np.full((2, 3, *SIZE), float(t))
            row["saliency"] = np.full(SIZE, 255 - t)
        self.writer.add(row)
        self.step += 1

    def rows(self, count: int, ending: str = "finished") -> Climber:
        for _ in range(count):
            self.row()
        if ending:
            self.writer.end(ending)
        return self


def trained(project: Project) -> Run:
    run = new_run(project.root, None, "cam", {"method": "cam", "params": {"backbone": "tiny_cnn"}})
    run.weights.write_bytes(b"0")
    run.end("finished")
    return run


@pytest.fixture
def page(qtbot, monkeypatch):
    """The page beside a viewer without a window, which is made in no time."""
    monkeypatch.setattr("wsss_napari.worker.Engine", Engine)
    return make_page(ClimbPage, ViewerModel(), qtbot)


@pytest.fixture
def ready(page, small_project, qtbot):
    """The page on an image that nobody climbed yet, its settings listed."""
    trained(small_project)
    opened(page, small_project)
    qtbot.waitUntil(lambda: page.work.form is not None)
    return page


@pytest.fixture
def climbed(page, small_project, qtbot):
    """The page on a finished climb of ten steps."""
    run = trained(small_project)
    cls = small_project.tags().present(IMAGE)[0]
    Climber(run, cls, str(cls)).rows(11)
    opened(page, small_project)
    qtbot.waitUntil(lambda: page.work.form is not None)
    return page


@pytest.fixture
def in_window(small_project, make_napari_viewer_proxy, qtbot, monkeypatch):
    """The same in a real window."""
    monkeypatch.setattr("wsss_napari.worker.Engine", Engine)
    run = trained(small_project)
    cls = small_project.tags().present(IMAGE)[0]
    Climber(run, cls, str(cls)).rows(11)
    page = opened(make_page(ClimbPage, make_napari_viewer_proxy(), qtbot), small_project)
    qtbot.waitUntil(lambda: page.work.form is not None)
    return page


def layer(page: ClimbPage, key: str) -> Any:
    return page.desk.layers.get(f"climb:{key}")


def view_of(page: ClimbPage) -> StepView:
    assert page.view is not None
    return page.view


def look_at_mask(page: ClimbPage, style: str) -> None:
    page.panel.mask.setCurrentIndex(page.panel.mask.findData(style))
    page.panel.mask.activated.emit(0)


def press(page: ClimbPage, key: Qt.Key, text: str = "") -> None:
    page.desk.keys.page = "climb"
    event = QKeyEvent(QEvent.Type.KeyPress, key, Qt.KeyboardModifier.NoModifier, text)
    QApplication.sendEvent(page, event)


def stream(page: ClimbPage, qtbot: Any, job: Climb, climber: Climber, count: int) -> None:
    """Write rows and tell each."""
    for n in range(count):
        climber.row()
        page.desk.engine.tell(job.id, Viewed(image=IMAGE, kind="climb", path=climber.path))
        page.desk.engine.tell(job.id, Progress(done=n, total=10, phase="steps", seconds_left=3.0))
        last = climber.step - 1
        qtbot.waitUntil(lambda last=last: page.view is not None and page.view.last == last)


# --- what is missing -------------------------------------------------------------------------------


def test_it_says_what_is_missing_step_by_step(page, small_project):
    assert "No project is open" in page.hint
    page.session.open(small_project.root)
    assert "No run yet" in page.hint and page.command() is None
    run = new_run(small_project.root, None, "cam", {"method": "cam"})
    page.session.run = run.id
    assert "no weights yet" in page.hint
    run.weights.write_bytes(b"0")
    page.load()
    page.enter()
    assert page.hint == "" and page.panel.start.isVisible() and not page.panel.tools.isVisible()
    assert page.panel.start.property("wsss") == "primary"
    assert page.panel.start.text() == f"Climb {page.class_name}"


def test_opening_it_adds_no_layer_and_asks_the_engine_for_nothing(page, small_project):
    trained(small_project)
    page.session.open(small_project.root)
    assert [shown.name for shown in page.viewer.layers] == ["im_000"]
    assert page.desk._engine is None
    page.enter()
    assert [shown.name for shown in page.viewer.layers] == ["im_000"]
    assert page.desk.engine.warmed == ["climb"]
    assert [type(line.job) for line in page.desk.engine.jobs] == [Methods]


def test_a_class_that_is_not_tagged_may_be_climbed_and_is_told(ready):
    assert not ready.panel.tag_note.isVisible()
    present = ready.session.project.tags().present(IMAGE)
    (other,) = set(range(3)) - set(present)
    ready.session.cls = other
    name = ready.session.project.classes[other]
    assert ready.panel.tag_note.isVisible() and f"{name} is tagged" in ready.panel.tag_note.text()
    assert ready.panel.start.isEnabled()
    ready.session.set_tag(IMAGE, other, 1)
    assert not ready.panel.tag_note.isVisible()


# --- climbing --------------------------------------------------------------------------------------


def test_climb_is_a_job_of_the_form(ready, qtbot):
    ready.work.form.entry("lam").setValue(3)
    line = ready.command()
    qtbot.mouseClick(ready.panel.start, Qt.MouseButton.LeftButton)
    (job,) = ready.desk.engine.given(Climb)
    name = ready.class_name
    assert (job.run, job.images, job.views, job.cls) == ("cam", (IMAGE,), "steps", name)
    assert job.settings == {"lam": 3.0, "steps": 12} and job.trace is None, "enough steps to watch"
    for part in (f"wsss climb cam -p {job.project}", f"--images {IMAGE}", "--views steps", f"--class {name}"):
        assert part in line
    assert not ready.panel.start.isEnabled() and ready.panel.stop.isVisible()
    names = [f.name for f in ready.work.form.fields]
    assert "lam" in names and "keep" not in names


def test_steps_appear_as_they_come_and_who_stands_at_the_end_goes_along(ready, qtbot):
    ready.panel.start.click()
    (job,) = ready.desk.engine.given(Climb)
    ready.desk.engine.tell(job.id, Started(kind="climb"))
    cls = ready.session.cls
    climber = Climber(ready.session.chosen_run, cls, str(cls))
    stream(ready, qtbot, job, climber, 1)
    assert ready.step == 0 and ready.panel.tools.isVisible()
    assert "Step 0 of 10" in ready.panel.note.text() and "3 s left" in ready.panel.note.text()
    stream(ready, qtbot, job, climber, 3)
    qtbot.waitUntil(lambda: ready.step == 3)
    assert ready.panel.player.step == 3
    ready.go(1)
    stream(ready, qtbot, job, climber, 2)
    qtbot.wait(30)
    assert ready.step == 1 and ready.panel.player.step == 1
    climber.writer.end("finished")
    ready.desk.engine.end(job.id, Finished(result={"trace": str(cls), "steps": 5, "ending": "finished"}))
    assert ready.step == 1 and view_of(ready).last == 5
    assert not ready.panel.stop.isVisible() and ready.panel.start.text().endswith("again")
    assert ready.panel.start.property("wsss") != "primary"
    assert "about" in ready.panel.note.text() or "not known" in ready.panel.note.text()


def test_stopping_keeps_what_was_climbed(ready, qtbot):
    ready.panel.start.click()
    (job,) = ready.desk.engine.given(Climb)
    climber = Climber(ready.session.chosen_run, ready.session.cls, str(ready.session.cls))
    stream(ready, qtbot, job, climber, 3)
    ready.panel.stop.click()
    assert ready.desk.engine.stopped == [job.id] and "Stopping" in ready.panel.note.text()
    assert not ready.panel.stop.isEnabled()
    climber.writer.end("stopped")
    ready.desk.engine.end(job.id, Stopped())
    assert "kept" in ready.panel.told.text() and view_of(ready).last == 2
    assert "stopped" in ready.panel.tree._titles[str(ready.session.cls)]


def test_the_childs_death_is_a_sentence_and_the_page_goes_on(ready, qtbot):
    ready.panel.start.click()
    (job,) = ready.desk.engine.given(Climb)
    climber = Climber(ready.session.chosen_run, ready.session.cls, str(ready.session.cls))
    stream(ready, qtbot, job, climber, 2)
    ready.desk.engine.end(job.id, Failed(message="The engine was killed during this job.", hint="Try again."))
    assert "was killed" in ready.panel.warning.text() and ready.panel.warning.isVisible()
    assert ready.panel.start.isEnabled() and ready.panel.more.isEnabled()
    ready.go(0)
    assert ready.step == 0 and layer(ready, "sum") is not None
    ready.panel.start.click()
    assert len(ready.desk.engine.given(Climb)) == 2 and not ready.panel.warning.isVisible()


def test_a_failure_before_the_first_step_leaves_the_start(ready):
    ready.panel.start.click()
    (job,) = ready.desk.engine.given(Climb)
    ready.desk.engine.end(job.id, Failed(message="The run cam has no classifier to climb on.", mistake=True))
    assert "no classifier" in ready.panel.warning.text() and not ready.panel.tools.isVisible()
    ready.session.next_image()
    assert not ready.panel.warning.isVisible()


# --- looking ---------------------------------------------------------------------------------------


def test_a_climb_opens_at_step_0_with_its_map_over_the_photograph(climbed):
    assert climbed.step == 0 and climbed.panel.player.step == 0
    name = climbed.class_name
    names = [shown.name for shown in climbed.viewer.layers]
    assert names == [IMAGE, f"{IMAGE} · map so far · {name}", f"{IMAGE} · climbed mask · {name}"]
    shown = layer(climbed, "sum")
    assert tuple(shown.scale) == (CELL, CELL) and tuple(shown.contrast_limits) == (0, 1)
    np.testing.assert_allclose(shown.data, view_of(climbed).path.attribution(0), atol=1e-6)


def test_scrubbing_moves_the_same_layers_and_only_those_that_are_seen(climbed):
    shown, mask = layer(climbed, "sum"), layer(climbed, "mask")
    climbed.panel.switches["cam"].setChecked(True)
    cam = layer(climbed, "cam")
    climbed.panel.switches["cam"].setChecked(False)
    before = cam.data.copy()
    for step in (3, 10, 7):
        climbed.panel.player.set_step(step)
        climbed.go(step)
        np.testing.assert_allclose(
            layer(climbed, "sum").data, view_of(climbed).path.attribution(step), atol=1e-6
        )
    assert layer(climbed, "sum") is shown and layer(climbed, "mask") is mask
    np.testing.assert_array_equal(cam.data, before)
    climbed.panel.switches["cam"].setChecked(True)
    row = view_of(climbed).path.row("maps", 7).astype(np.float32)
    np.testing.assert_allclose(cam.data, row / row.max(), atol=1e-6)


def test_every_look_shows_what_it_says(climbed):
    for look in LOOKS:
        climbed.panel.switches[look.key].setChecked(True)
    climbed.go(4)
    path = view_of(climbed).path
    photograph = climbed.session.project.read(IMAGE).pixels
    np.testing.assert_array_equal(layer(climbed, "picture").data, np.clip(photograph.astype(int) + 4, 0, 255))
    np.testing.assert_array_equal(layer(climbed, "perturbation").data, np.full((*SIZE, 3), 128 + 8 * 4))
    np.testing.assert_allclose(layer(climbed, "saliency").data, 251 / 255, atol=1e-6)
    change = path.attribution(4) - path.attribution(3)
    np.testing.assert_allclose(layer(climbed, "change").data, change / np.abs(change).max(), atol=1e-4)
    np.testing.assert_array_equal(layer(climbed, "restricting").data, path.row("masks", 4))
    assert f"{100 * np.abs(change).max():.1f} %" in climbed.panel.line.text()
    order = [shown.metadata["wsss"]["key"].removeprefix("climb:") for shown in climbed.viewer.layers]
    assert order == [*(look.key for look in LOOKS), "mask"]
    assert layer(climbed, "picture").rgb and tuple(layer(climbed, "change").contrast_limits) == (-1, 1)
    assert "orange" in climbed.panel.legend.text()


def test_the_order_of_the_layers_is_that_of_the_switches_whenever_they_are_turned(climbed):
    for key in ("restricting", "picture", "change", "perturbation"):
        climbed.panel.switches[key].setChecked(True)
    order = [shown.metadata["wsss"]["key"].removeprefix("climb:") for shown in climbed.viewer.layers]
    assert order == ["photograph", "picture", "perturbation", "sum", "change", "restricting", "mask"]


def test_the_eye_in_the_layer_list_is_the_switch_too(climbed):
    climbed.panel.switches["cam"].setChecked(True)
    climbed.panel.switches["cam"].setChecked(False)
    climbed.go(6)
    layer(climbed, "cam").visible = True
    row = view_of(climbed).path.row("maps", 6).astype(np.float32)
    np.testing.assert_allclose(layer(climbed, "cam").data, row / row.max(), atol=1e-6)
    assert climbed.panel.switches["cam"].isChecked()
    layer(climbed, "sum").visible = False
    assert not climbed.panel.switches["sum"].isChecked()


def test_what_a_person_set_on_a_layer_stays(climbed):
    shown = layer(climbed, "sum")
    shown.contrast_limits, shown.opacity, shown.name = (0.2, 0.7), 0.9, "mine"
    climbed.go(5)
    climbed.load()
    shown = layer(climbed, "sum")
    assert tuple(shown.contrast_limits) == (0.2, 0.7) and shown.opacity == 0.9 and shown.name == "mine"


def test_deleting_our_layers_never_raises(climbed):
    for shown in list(climbed.viewer.layers):
        climbed.viewer.layers.remove(shown)
    climbed.go(5)
    climbed.panel.rule.histogram._set(0, 0.6)
    climbed.panel.switches["picture"].setChecked(True)
    assert layer(climbed, "picture") is not None


def test_arrows_and_letters_step_and_play(climbed):
    press(climbed, Qt.Key.Key_Right)
    press(climbed, Qt.Key.Key_W, "w")
    assert climbed.step == 2
    press(climbed, Qt.Key.Key_Left)
    assert climbed.step == 1 and climbed.panel.player.step == 1
    press(climbed, Qt.Key.Key_Q, "q")
    press(climbed, Qt.Key.Key_Q, "q")
    assert climbed.step == 0
    press(climbed, Qt.Key.Key_U, "u")
    assert climbed.panel.player.playing
    climbed.leave()
    assert not climbed.panel.player.playing


def test_arrows_on_the_canvas_are_naparis_while_there_is_a_stack(in_window):
    canvas = canvas_of(in_window.viewer)
    in_window.desk.keys.page = "climb"
    event = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_Right, Qt.KeyboardModifier.NoModifier, "")
    assert in_window.desk.keys.eventFilter(canvas, event) and in_window.step == 1
    in_window.viewer.add_image(np.zeros((5, 48, 64)), name="a person's stack")
    assert not in_window.desk.keys.eventFilter(canvas, event) and in_window.step == 1


def test_a_climb_of_another_image_or_class_has_its_own_place(climbed, qtbot):
    climbed.go(6)
    climbed.session.next_image()
    assert climbed.view is None and [shown.name for shown in climbed.viewer.layers] == ["im_002"]
    assert not climbed.panel.tools.isVisible()
    climbed.session.previous_image()
    assert climbed.step == 6, "where the person left it"


def test_climbs_of_a_batch_are_looked_at_only(climbed, qtbot):
    run, cls = climbed.session.chosen_run, climbed.session.cls
    write_json(run.views("climb").folder / "views.json", {"settings": {}})
    Climber(run, cls, str(cls), views="climb", pictures=False).rows(5)
    climbed.load()
    assert list(climbed.climbs) == [str(cls), f"climb/{cls}"]
    climbed.choose(f"climb/{cls}", 2)
    panel = climbed.panel
    assert panel.read_only.isVisible() and not panel.more.isVisible()
    assert not panel.switches["picture"].isEnabled() and "maps only" in panel.switches["picture"].toolTip()
    panel.tree.remove_asked.emit(f"climb/{cls}")
    assert "batch" in panel.warning.text() and not panel.question.isVisible()
    climbed.choose(str(cls))
    assert panel.more.isVisible() and panel.switches["picture"].isEnabled()


def test_other_pages_have_the_canvas_to_themselves(climbed):
    theirs = climbed.desk.layers.show_map("map:x", np.zeros(GRID, np.float32), "theirs")
    climbed.enter()
    assert not theirs.visible and layer(climbed, "sum").visible
    climbed.leave()
    assert theirs.visible and not layer(climbed, "sum").visible and not layer(climbed, "mask").visible
    climbed.session.next_image()
    assert layer(climbed, "sum") is None


# --- the mask --------------------------------------------------------------------------------------


def test_the_mask_is_that_of_the_shown_step_by_the_rule(climbed, qtbot):
    look_at_mask(climbed, "filled")
    climbed.go(5)
    climbed.panel.rule.histogram._set(0, 0.4)
    stack = view_of(climbed).stack(5)
    best, which = best_class(stack.full())
    wanted = apply(LabelRule("constant", 0.4), best, which, stack.classes)
    np.testing.assert_array_equal(layer(climbed, "mask").data, wanted)
    climbed.go(9)
    assert (layer(climbed, "mask").data > 0).sum() != (wanted > 0).sum()
    truth = read_truth(climbed.session.project, IMAGE)
    mask = layer(climbed, "mask").data > 0
    real = truth == climbed.session.cls + 1
    iou = (mask & real).sum() / (mask | real).sum()
    table = climbed.panel.figures.table
    qtbot.waitUntil(lambda: table.item(1, 2) is not None and table.item(1, 2).text() == f"{iou:.3f}")


def test_the_best_step_is_offered_and_not_chosen(climbed, qtbot):
    qtbot.waitUntil(lambda: climbed.panel.best.isVisible())
    assert climbed.step == 0
    climbed.panel.best.click()
    truth = read_truth(climbed.session.project, IMAGE) == climbed.session.cls + 1
    ious = []
    for t in range(11):
        mask = view_of(climbed).stack(t).full()[0] > 0.2
        both = [(m & r).sum() / (m | r).sum() for m, r in ((mask, truth), (~mask, ~truth))]
        ious.append(np.mean(both))
    assert climbed.step == int(np.argmax(ious))
    assert f"{max(ious):.3f}" in climbed.panel.best.text()


def test_without_truth_no_step_is_best(climbed, small_project, tmp_path, qtbot):
    small_project.truth_place.folder.rename(tmp_path / "elsewhere")
    climbed.load()
    qtbot.wait(200)
    assert not climbed.panel.best.isVisible() and not climbed.panel.truth.isEnabled()
    assert climbed.panel.figures.table.isColumnHidden(2)


def test_the_unsure_band_hatches_the_mask_and_a_rule_is_undone(climbed):
    look_at_mask(climbed, "filled")
    climbed.panel.rule.band.click()
    assert {254, 255} & set(np.unique(layer(climbed, "mask").data).tolist())
    assert climbed.desk.history.undo() is not None
    assert climbed.panel.rule.rule.ignore is None
    assert not {254, 255} & set(np.unique(layer(climbed, "mask").data).tolist())


def test_mask_and_truth_are_shown_as_one_likes(climbed):
    panel = climbed.panel
    for style in ("none", "filled", "outline"):
        look_at_mask(climbed, style)
        climbed.go(climbed.step + 1)
        shown, mask = layer(climbed, "mask"), view_of(climbed).masked(climbed.step, panel.rule.rule)[1]
        assert shown.visible is (style != "none")
        if style == "filled":
            np.testing.assert_array_equal(shown.data, mask)
    inner = ndimage.binary_erosion(mask > 0, iterations=2, border_value=1)
    np.testing.assert_array_equal(shown.data[inner], 0)
    assert (shown.data > 0).any() and not (shown.data > 0)[mask == 0].any()
    panel.truth.click()
    truth = layer(climbed, "truth")
    assert truth.contour == 2 and set(np.unique(truth.data)) <= {0, climbed.session.cls + 1}
    panel.truth.click()
    assert layer(climbed, "truth") is None


# --- going on --------------------------------------------------------------------------------------


def test_ways_on_from_a_climb(climbed, qtbot):
    trace = str(climbed.session.cls)
    panel, engine = climbed.panel, climbed.desk.engine
    assert panel.more.text() == "Keep climbing (+10)"
    climbed.go(4)
    for button, at, steps in ((panel.once, 10, 1), (panel.more, 10, 10), (panel.again, 4, 10)):
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        job = engine.given(Climb)[-1]
        assert (job.trace, job.at, job.settings) == (trace, at, {"steps": steps})
        assert not button.isEnabled(), "one climb at a time"
        engine.end(job.id, Stopped())
    climbed.go(10)
    assert not panel.again.isEnabled() and panel.more.isEnabled()


def test_a_branch_says_what_differs(climbed, qtbot):
    panel = climbed.panel
    climbed.go(3)
    assert not panel.branch.isEnabled() and "Change a setting" in panel.branch.toolTip()
    climbed.work.form.entry("steps").setValue(6)
    assert not panel.branch.isEnabled(), "more steps alone are no other climb"
    climbed.work.form.entry("lam").setValue(0)
    climbed.work.form.entry("tau").setValue(0.3)
    assert panel.branch.text() == "Branch: lam 0.0 +1" and "tau 0.3" in panel.branch.toolTip()
    climbed.work.form.entry("aggregate").setCurrentText("last")
    assert panel.branch.text().endswith("+2") and "aggregate last" in panel.branch.toolTip()
    climbed.work.form.entry("aggregate").setCurrentText("sum")
    qtbot.mouseClick(panel.branch, Qt.MouseButton.LeftButton)
    (job,) = climbed.desk.engine.given(Climb)
    assert (job.at, job.settings) == (3, {"lam": 0.0, "tau": 0.3, "steps": 6})
    run, cls = climbed.session.chosen_run, climbed.session.cls
    branch = Climber(run, cls, f"{cls}.1", first=4, parent=str(cls), planned=9, lam=0.0, tau=0.3)
    stream(climbed, qtbot, job, branch, 2)
    assert climbed.key == f"{cls}.1"
    qtbot.waitUntil(lambda: climbed.step == 5)
    np.testing.assert_allclose(layer(climbed, "sum").data, view_of(climbed).path.attribution(5), atol=1e-6)


def test_a_climb_with_other_settings_goes_on_with_its_own(page, small_project, qtbot):
    run = trained(small_project)
    cls = small_project.tags().present(IMAGE)[0]
    Climber(run, cls, str(cls), lam=0.0).rows(11)
    opened(page, small_project)
    qtbot.waitUntil(lambda: page.work.form is not None)
    page.panel.once.click()
    (job,) = page.desk.engine.given(Climb)
    assert job.settings == {"lam": 0.0, "steps": 1}


def test_two_climbs_stand_side_by_side_at_the_same_step(in_window, qtbot):
    run, cls = in_window.session.chosen_run, in_window.session.cls
    Climber(run, cls, f"{cls}.1", first=4, parent=str(cls), planned=8, lam=0.0).rows(5)
    in_window.load()
    in_window.choose(str(cls), 2)
    visible = {shown.name: shown.visible for shown in in_window.viewer.layers}
    assert in_window.panel.beside.isVisible() and "lam 0.0" in in_window.panel.beside.itemText(0)
    in_window.panel.tree.second_chosen.emit(f"{cls}.1")
    grid = in_window.viewer.canvas.grid
    assert grid.enabled and in_window.panel.compare.isChecked()
    shown = [s for s in in_window.viewer.layers if s.visible]
    assert [s.name for s in shown] == [f"Climb {cls} · step 2", f"Climb {cls}.1 · step 2"]
    np.testing.assert_array_equal(shown[0].data, shown[1].data)  # they part at step 4
    in_window.viewer.camera.zoom = 3.5
    in_window.go(6)
    assert [s.name for s in in_window.viewer.layers if s.visible] == [
        f"Climb {cls} · step 6",
        f"Climb {cls}.1 · step 6",
    ]
    assert in_window.viewer.camera.zoom == 3.5, "scrubbing leaves the view alone"
    in_window.panel.rule.histogram._set(0, 0.5)
    press(in_window, Qt.Key.Key_G, "g")
    assert not grid.enabled
    assert {shown.name: shown.visible for shown in in_window.viewer.layers} == visible
    assert np.allclose(layer(in_window, "sum").data, view_of(in_window).path.attribution(6), atol=1e-6)


def test_a_climb_that_others_went_on_from_is_not_removed(climbed, qtbot):
    run, cls = climbed.session.chosen_run, climbed.session.cls
    Climber(run, cls, f"{cls}.1", first=4, parent=str(cls), planned=8).rows(5)
    climbed.load()
    panel = climbed.panel
    panel.tree.remove_asked.emit(str(cls))
    assert f"{cls}.1 went on from it" in panel.warning.text() and not panel.question.isVisible()
    panel.tree.remove_asked.emit(f"{cls}.1")
    assert panel.question.isVisible() and "5 steps" in panel.question.text.text()
    panel.question.keep.click()
    assert f"{cls}.1" in climbed.climbs and not panel.question.isVisible()
    panel.tree.remove_asked.emit(f"{cls}.1")
    panel.question.sure.click()
    assert list(climbed.climbs) == [str(cls)] and climbed.key == str(cls)
    assert list(traces_in(run.views("steps").folder / IMAGE / "climb")) == [str(cls)]


# --- what is made of it ----------------------------------------------------------------------------


def test_a_step_becomes_the_label_of_this_image(climbed, qtbot):
    first, second = climbed.session.project.tags().present(IMAGE)[:2]
    run, panel = climbed.session.chosen_run, climbed.panel
    Climber(run, second, str(second)).rows(4)
    climbed.session.cls = second
    climbed.go(2)
    climbed.session.cls = first
    climbed.go(6)
    panel.rule.histogram._set(0, 0.35)
    qtbot.mouseClick(panel.use, Qt.MouseButton.LeftButton)
    names = climbed.session.project.classes
    note = panel.label.note.text()
    assert f"{names[second]} from step 2" in note and f"{names[first]} from step 6" in note
    assert "has no maps of this image" in note
    panel.label.name.setText("bad/")
    assert not panel.label.go.isEnabled() and "letters" in panel.label.note.text()
    panel.label.name.setText("mine")
    line = climbed.command()
    qtbot.mouseClick(panel.label.go, Qt.MouseButton.LeftButton)
    (job,) = climbed.desk.engine.given(Label)
    assert job.images == (IMAGE,) and job.climbed == (f"{second}@2", f"{first}@6")
    assert (job.climbs, job.source, job.name) == ("cam/steps", "cam/steps", "mine")
    assert job.background == "constant:0.35"
    for part in (f"--images {IMAGE}", f"--climbed {second}@2,{first}@6", "--climbs cam/steps", "--name mine"):
        assert part in line
    climbed.desk.engine.end(job.id, Finished(result={"labels": "mine", "images": 1}))
    assert panel.told.isVisible() and "labels 'mine'" in panel.told.text()
    assert climbed.command().startswith("wsss climb")


def test_other_classes_come_from_the_runs_maps_where_there_are_any(climbed):
    run = climbed.session.chosen_run
    views = run.views()
    write_json(views.folder / "views.json", {"settings": {}})
    height, width = GRID
    CamStack(
        image=IMAGE, size=SIZE, classes=(1,), maps=np.ones((1, height, width), np.float16),
        peaks=np.ones(1, np.float32), cell=CELL, origin=0.0, scores=np.ones(3, np.float32),
    ).save(views.path(IMAGE))  # fmt: skip
    climbed.panel.use.click()
    assert climbed.ends.label_job().source == "cam"
    assert "Other classes from the maps of cam" in climbed.panel.label.note.text()


def test_a_failed_label_is_a_sentence(climbed):
    climbed.panel.use.click()
    climbed.panel.label.go.click()
    (job,) = climbed.desk.engine.given(Label)
    climbed.desk.engine.end(job.id, Failed(message="The disk is full.", hint="Make room."))
    assert climbed.panel.warning.text() == "The disk is full. Make room."
    assert climbed.panel.use.isVisible()


@pytest.mark.parametrize("ending", [".gif", ".mp4", ".png", ".npz"])
def test_a_climb_is_written_as_a_film(climbed, tmp_path, monkeypatch, ending):
    monkeypatch.setattr(climbed.ends, "ask_file", lambda end, name: tmp_path / "film")
    action = climbed.panel.films.actions()[[".gif", ".mp4", ".png", ".npz"].index(ending)]
    action.trigger()
    (job,) = climbed.desk.engine.given(Film)
    assert (job.source, job.image, job.trace) == ("cam/steps", IMAGE, str(climbed.session.cls))
    assert job.out == str(tmp_path / f"film{ending}") and not job.overwrite
    climbed.desk.engine.end(job.id, Finished(result={"out": job.out}))
    assert job.out in climbed.panel.told.text()


def test_a_film_that_is_not_wanted_is_no_job(climbed, monkeypatch):
    monkeypatch.setattr(climbed.ends, "ask_file", lambda end, name: None)
    climbed.ends.film(".gif")
    assert climbed.desk.engine.given(Film) == []


# --- files of others, arithmetic -------------------------------------------------------------------


def test_a_damaged_climb_is_told_and_shows_nothing(climbed):
    folder = view_of(climbed).leaf.folder
    (folder / "maps.npy").write_bytes(b"no array")
    climbed.load()
    assert climbed.view is None and "is not a climb" in climbed.panel.warning.text()
    assert [shown.name for shown in climbed.viewer.layers] == [IMAGE]
    assert climbed.panel.start.isEnabled()


def test_a_climb_of_another_image_size_is_left_out(climbed):
    folder = view_of(climbed).leaf.folder
    text = (folder / "trace.json").read_text().replace(f'"size": [{SIZE[0]}', '"size": [40', 1)
    text = text.replace('"size": [\n    48', '"size": [\n    40', 1)
    (folder / "trace.json").write_text(text)
    climbed.load()
    assert climbed.climbs == {} and not climbed.panel.tools.isVisible()


def test_steps_backwards_and_forwards_give_the_same_map(climbed):
    run, cls = climbed.session.chosen_run, climbed.session.cls
    Climber(run, cls, f"{cls}.1", first=4, parent=str(cls), planned=8).rows(5)
    climbs = climbs_of(climbed.session.project, run, IMAGE, cls)
    path = path_of(climbs, f"{cls}.1")
    view = StepView(path, np.zeros((*SIZE, 3), np.uint8))
    for step in (8, 0, 3, 4, 8, 7):
        np.testing.assert_allclose(view.aggregated(step), path.attribution(step), atol=1e-6)
    last = StepView(path, np.zeros((*SIZE, 3), np.uint8), aggregate="last")
    np.testing.assert_allclose(last.aggregated(6), path.attribution(6, aggregate="last"), atol=1e-6)
    assert path_to(traces_in(run.views("steps").folder / IMAGE / "climb"), f"{cls}.1").last == view.last


def test_two_viewers_do_not_meet(climbed, qtbot):
    other = make_page(ClimbPage, ViewerModel(), qtbot)
    opened(other, climbed.session.project)
    other.go(5)
    assert climbed.step == 0 and other.step == 5


def test_a_painted_layer_becomes_the_saliency_mask(ready, small_project):
    page, project = ready, small_project
    size = (project.images[IMAGE].height, project.images[IMAGE].width)
    assert masks_of(page.viewer, project, IMAGE) == [], "our own layers are not offered"
    painted = np.zeros(size, np.uint8)
    painted[: size[0] // 2] = 3
    layer = page.viewer.add_labels(painted, name="object ß 1")
    page.viewer.add_labels(np.zeros((3, 3), np.uint8), name="too small")
    page.work.show()
    pick = page.panel.saliency
    assert not pick.isHidden() and masks_of(page.viewer, project, IMAGE) == [layer]
    pick.menu().aboutToShow.emit()
    assert "object ß 1" in [a.text() for a in pick.menu().actions()]
    pick.use(layer)
    folder = page.work.job().settings["saliency"]
    assert folder.startswith(str(project.root / "saliency"))
    found = read_salient(Path(folder), IMAGE, size)
    assert np.array_equal(found, painted > 0)
    pick.menu().actions()[-1].trigger()
    assert "saliency" not in page.work.job().settings
