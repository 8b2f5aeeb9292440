"""The Train page, used as a person uses it, with an engine that does what the test says."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QLabel, QPushButton, QWidget

from engine.messages import Failed, Finished, Methods, Metrics, Started, Stopped, Train
from engine.store import Project, Run, new_run, runs_of
from wsss_napari.desk import desk_of
from wsss_napari.estimates import bytes_text, seconds_text, train_estimate
from wsss_napari.pages import PAGES
from wsss_napari.pages.train import TrainPage

FAKE = runpy.run_path(str(Path(__file__).with_name("fake_engine.py")))


def past_run(project: Project, name: str = "cam", *, seconds: float = 80.0, status: str = "finished") -> Run:
    """Write a run as a training of two epochs leaves it."""
    from engine.store import image_set_digest, tag_digest

    stems = project.stems("train")
    facts = {
        "method": "cam",
        "params": {"backbone": "resnet50"},
        "plan": {"epochs": 2, "batch": 4, "crop": 64},
        "job": {"verb": "train", "arguments": ["train", "cam", "--epochs", "2"]},
        "digests": {
            "stems": list(stems),
            "images": image_set_digest(project, stems),
            "tags": tag_digest(project, stems),
        },
        "held": [],
        "metrics": {"loss": 0.1, "map_seen": 0.875},
        "seconds": seconds,
    }
    run = new_run(project.root, None, name, facts)
    for step in range(1, 5):
        run.record(Metrics(step=step, values={"tags": 1 / step, "loss": 1 / step}))
    run.weights.write_bytes(b"0" * 2500)
    run.end(status)
    return run


def make_page(viewer: Any, project: Project, qtbot: Any) -> TrainPage:
    shown = TrainPage(desk_of(viewer))
    qtbot.addWidget(shown)
    shown.resize(380, 900)
    shown.show()
    shown.viewer = viewer
    shown.session.open(project.root)
    return shown


def make_ready(page: TrainPage, qtbot: Any) -> TrainPage:
    page.enter()
    qtbot.waitUntil(lambda: page.form is not None)
    return page


@pytest.fixture
def page(small_project, qtbot, monkeypatch):
    """The page beside a viewer without a window, which is made in no time."""
    monkeypatch.setattr("wsss_napari.worker.Engine", FAKE["FakeEngine"])
    return make_page(ViewerModel(), small_project, qtbot)


@pytest.fixture
def ready(page, qtbot):
    """The page with its methods listed."""
    return make_ready(page, qtbot)


@pytest.fixture
def in_window(small_project, make_napari_viewer_proxy, qtbot, monkeypatch):
    """The same in a real window, which has a strip for plots."""
    monkeypatch.setattr("wsss_napari.worker.Engine", FAKE["FakeEngine"])
    return make_ready(make_page(make_napari_viewer_proxy(), small_project, qtbot), qtbot)


def test_without_a_project_it_says_what_to_do(qtbot):
    viewer = ViewerModel()
    shown = TrainPage(desk_of(viewer))
    qtbot.addWidget(shown)
    shown.enter()
    assert "No project is open" in shown.hint
    assert shown.command() is None


def test_making_the_page_starts_no_engine_and_entering_it_lists_the_methods_once(page, qtbot):
    assert page.desk._engine is None
    page.enter()
    assert page.cards._state.text() == "Starting the engine…"
    page.enter()
    qtbot.waitUntil(lambda: page.cards.names == ("cam", "broken"))
    page.enter()
    assert len(page.desk.engine.given(Methods)) == 1


def test_a_method_that_cannot_be_used_is_grey_and_says_why(ready):
    broken = ready.cards.card("broken")
    assert not broken.isEnabled() and "bilby" in broken.parentWidget().toolTip()
    assert ready.cards.chosen == "cam"
    assert "Zhou et al." in ready.cards.card("cam").parentWidget().toolTip()


CLIMBER = {
    **FAKE["METHODS"]["methods"][0],
    "name": "climber",
    "title": "Climbing",
    "sentence": "Climb on the score.",
    "needs": ["run of a classifier"],
    "shows": ["cams", "climb"],
    "train": [],
    "trains": False,
}


def with_climber(page):
    """The climber first, so that nothing but its kind keeps it from being chosen."""
    page.desk.engine.answers[Methods] = {
        **FAKE["METHODS"],
        "methods": [CLIMBER, *FAKE["METHODS"]["methods"]],
    }
    return page


def texts_of(card):
    return " ".join(label.text() for label in card.findChildren(QLabel))


def test_a_method_that_is_not_trained_leads_to_its_page(page, qtbot):
    asked = []

    class Docked(QWidget):
        entries = PAGES
        turn_to = staticmethod(asked.append)

    dock = Docked()
    qtbot.addWidget(dock)
    page.setParent(dock)
    ready = make_ready(with_climber(page), qtbot)
    card = ready.cards.card("climber").parentWidget()
    assert ready.cards.chosen == "cam" and ready.form is not None
    assert not ready.cards.card("climber").isEnabled()
    assert "Nothing to train" in texts_of(card) and "Climb on the score" in texts_of(card)
    assert "Zhou et al." in card.toolTip()
    (button,) = card.findChildren(QPushButton)
    assert button.text() == "Go to the Climb page" and button.toolTip()
    qtbot.mouseClick(card, Qt.MouseButton.LeftButton)
    assert ready.cards.chosen == "cam"
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert asked == ["climb"]
    assert not ready.cards.card("cam").parentWidget().findChildren(QPushButton)
    page.setParent(None)  # both are to be closed, and the dock would take the page with it


def test_without_that_page_in_the_dock_it_says_where_it_is(page, qtbot, monkeypatch):
    told = []
    monkeypatch.setattr(page.desk, "said", lambda level, text: told.append(text))
    ready = make_ready(with_climber(page), qtbot)
    (button,) = ready.cards.card("climber").parentWidget().findChildren(QPushButton)
    button.click()
    assert told == ["Open the WSSS dock; it has the Climb page."]


def test_when_the_engine_cannot_start_it_can_be_tried_again(page, qtbot):
    page.desk.engine.answers[Methods] = lambda job: Failed(message="No module named torch.")
    page.enter()
    qtbot.waitUntil(lambda: "No module named torch" in page.cards._state.text())
    page.desk.engine.answers[Methods] = FAKE["METHODS"]
    qtbot.mouseClick(page.cards._again, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page.form is not None)


def test_start_sends_what_the_form_says_and_the_command_is_the_same(ready, qtbot):
    assert ready.command().startswith("wsss train cam -p ")
    ready.form.entry("epochs").setValue(3)
    ready.form.entry("backbone").setCurrentText("tiny_cnn")
    ready.form.entry("pretrained").click()
    line = ready.command()
    for part in ("--epochs 3", "--set backbone=tiny_cnn", "--set pretrained=false", "--run cam"):
        assert part in line
    qtbot.mouseClick(ready.start_button, Qt.MouseButton.LeftButton)
    (job,) = ready.desk.engine.given(Train)
    assert (job.method, job.epochs, job.run, job.split) == ("cam", 3, "cam", "train")
    assert job.settings == {"backbone": "tiny_cnn", "pretrained": False}
    assert ready.start_button.text() == "Queue another training"
    assert "--run cam-2" in ready.command()


def test_a_wrong_field_blocks_the_start_with_its_sentence(ready, qtbot):
    ready.form.open_all()
    entry = ready.form.entry("scales")
    entry.setFocus()
    entry.selectAll()
    qtbot.keyClicks(entry, "1,x")
    assert not ready.start_button.isEnabled()
    assert "scales" in ready.estimate.text()
    assert ready.command() is None


def test_without_any_tag_it_says_so(ready, qtbot):
    project = ready.session.project
    project.set_tags([(stem, "*", -1) for stem in project.usable])
    ready.session.tags_changed.emit(project.usable)
    assert not ready.start_button.isEnabled()
    assert "Tag some on the Tags page" in ready.estimate.text()


def test_live_curves_grow_in_the_strip_and_go_with_the_page(in_window, qtbot):
    in_window.start()
    (job,) = in_window.desk.engine.given(Train)
    run = new_run(in_window.session.project.root, "cam", "cam", {"method": "cam"})
    in_window.desk.engine.tell(job.id, Started(kind="train", run="cam"))
    for step in range(1, 6):
        event = Metrics(step=step, values={"tags": 1 / step, "loss": 1 / step})
        run.record(event)
        in_window.desk.engine.tell(job.id, event)
    assert in_window.desk.plots.shown is in_window.curves
    assert in_window.curves.data.runs["cam"]["tags"].steps == [1, 2, 3, 4, 5]
    in_window.leave()
    assert in_window.desk.plots.shown is None
    in_window.desk.engine.tell(job.id, Metrics(step=6, values={"tags": 0.1}))
    assert in_window.desk.plots.shown is None
    in_window.enter()
    assert in_window.desk.plots.shown is in_window.curves
    assert in_window.curves.data.runs["cam"]["tags"].steps[-1] >= 5


def test_a_comparison_is_not_taken_away_by_a_live_training(ready, qtbot):
    past_run(ready.session.project, "old")
    ready.start()
    (job,) = ready.desk.engine.given(Train)
    run = new_run(ready.session.project.root, "cam", "cam", {"method": "cam"})
    for step in (1, 2):
        run.record(Metrics(step=step, values={"tags": 0.5}))
        ready.desk.engine.tell(job.id, Metrics(step=step, values={"tags": 0.5}))
    assert ready.runs.selected == ("cam",)
    ready.runs.choose(["old"])
    ready._show_curves(("old",))
    ready.desk.engine.tell(job.id, Metrics(step=3, values={"tags": 0.5}))
    assert set(ready.curves.data.runs) == {"old"}


def test_stop_then_force_stop_then_resume(ready, qtbot):
    ready.start()
    (job,) = ready.desk.engine.given(Train)
    assert ready.stop_button.isVisible() and not ready.force_button.isVisible()
    qtbot.mouseClick(ready.stop_button, Qt.MouseButton.LeftButton)
    assert ready.desk.engine.stopped == [job.id]
    assert ready.force_button.isVisible() and not ready.stop_button.isEnabled()
    run = past_run(ready.session.project, status="stopped")
    qtbot.mouseClick(ready.force_button, Qt.MouseButton.LeftButton)
    assert ready.desk.engine.forced == 1
    assert not ready.stop_button.isVisible()
    qtbot.waitUntil(lambda: ready.runs.run(run.id) is not None)
    ready.runs.table.selectRow(0)
    assert ready.runs.resume.isVisible()
    qtbot.mouseClick(ready.runs.resume, Qt.MouseButton.LeftButton)
    again = ready.desk.engine.given(Train)[-1]
    assert again.resume and again.run == run.id and again.settings == {}


def test_a_finished_run_becomes_the_chosen_one(ready, qtbot):
    ready.start()
    (job,) = ready.desk.engine.given(Train)
    run = past_run(ready.session.project)
    with qtbot.waitSignal(ready.news):
        ready.desk.engine.end(job.id, Finished(result={"run": run.id, "status": "finished"}))
    assert ready.session.run == run.id
    qtbot.waitUntil(lambda: ready.runs.run(run.id) is not None)


def test_the_table_tells_what_a_run_was(ready, qtbot):
    past_run(ready.session.project)
    ready.session.runs_changed.emit()
    qtbot.waitUntil(lambda: ready.runs.table.rowCount() == 1)
    name, score, size = (ready.runs.table.item(0, c).text().splitlines() for c in range(3))
    assert name[0] == "cam" and name[1].startswith("cam · resnet50 · ")
    assert score == ["0.88 seen", "4 images"] and size[0].endswith("kB")
    assert not ready.runs.empty.isVisible()


def test_changed_tags_mark_a_run_as_stale(ready, qtbot):
    past_run(ready.session.project)
    ready.session.runs_changed.emit()
    qtbot.waitUntil(lambda: ready.runs.table.rowCount() == 1)
    stem = ready.session.project.stems("train")[0]
    ready.session.set_tag(stem, 0, 1 - max(ready.session.tag(stem, 0), 0))
    qtbot.waitUntil(lambda: ready.runs.table.item(0, 0).text().startswith("⟳ cam\n"))
    assert "Tags changed" in ready.runs.table.item(0, 0).toolTip()


def test_renaming_keeps_the_id(ready, qtbot):
    past_run(ready.session.project)
    ready.session.runs_changed.emit()
    qtbot.waitUntil(lambda: ready.runs.table.rowCount() == 1)
    ready.runs.table.item(0, 0).setText("first try")
    (run,) = runs_of(ready.session.project.root)
    assert (run.id, run.title) == ("cam", "first try")
    assert ready.runs.table.item(0, 0).text().startswith("first try\n")
    ready.runs.table.item(0, 0).setText("   ")
    assert ready.runs.table.item(0, 0).text().startswith("first try\n")


def test_deleting_asks_and_the_harmless_answer_has_the_focus(ready, qtbot):
    past_run(ready.session.project)
    ready.session.runs_changed.emit()
    qtbot.waitUntil(lambda: ready.runs.table.rowCount() == 1)
    assert not ready.runs.delete.isEnabled()
    ready.activateWindow()
    ready.runs.table.selectRow(0)
    ready.runs.delete.click()
    assert ready.runs.question.isVisible() and "cannot be undone" in ready.runs._asked.text()
    qtbot.waitUntil(lambda: ready.runs.keep.hasFocus())
    qtbot.keyClick(ready.runs.keep, Qt.Key.Key_Space)
    assert not ready.runs.question.isVisible() and len(runs_of(ready.session.project.root)) == 1
    ready.runs.delete.click()
    ready.runs.sure.click()
    assert runs_of(ready.session.project.root) == []
    assert ready.runs.empty.isVisible()


def test_selected_runs_are_compared_in_one_plot(in_window, qtbot):
    past_run(in_window.session.project)
    past_run(in_window.session.project)
    in_window.session.runs_changed.emit()
    qtbot.waitUntil(lambda: in_window.runs.table.rowCount() == 2)
    in_window.runs.table.selectAll()
    assert set(in_window.curves.data.runs) == {"cam", "cam-2"}
    assert in_window.desk.plots.shown is in_window.curves
    in_window.runs.table.clearSelection()
    assert in_window.desk.plots.shown is None


def test_copy_gives_the_command_of_an_old_run(ready, qtbot):
    past_run(ready.session.project)
    ready.session.runs_changed.emit()
    qtbot.waitUntil(lambda: ready.runs.table.rowCount() == 1)
    ready.runs.table.selectRow(0)
    ready.runs.copy.click()
    text = QApplication.clipboard().text()
    assert text.startswith("wsss train cam --epochs 2 -p ") and str(ready.session.project.root) in text


def test_the_estimate_grows_with_epochs_and_names_its_basis(ready, qtbot):
    assert "time not known" in ready.estimate.text()
    past_run(ready.session.project, seconds=80)
    ready._refresh_runs()
    assert ready.estimate.text() == "4 images · 2 epochs · about 80 s, going by cam"
    ready.form.entry("epochs").setValue(20)
    assert "20 epochs · about 13 min" in ready.estimate.text()
    ready.form.entry("backbone").setCurrentText("mobilenet_v2")
    assert "time not known" in ready.estimate.text()


def test_estimate_is_linear_in_images_and_epochs_and_square_in_the_crop(small_project):
    run = past_run(small_project, seconds=80)  # 4 images, 2 epochs: 10 s each
    common = {"backbone": "resnet50"}
    found = train_estimate(small_project, [run], split="all", epochs=4, crop=None, **common)
    assert (found.images, found.seconds) == (6, pytest.approx(240))
    found = train_estimate(small_project, [run], split="train", epochs=4, crop=128, **common)
    assert found.seconds == pytest.approx(640)
    stopped = past_run(small_project, status="stopped")
    assert (
        train_estimate(small_project, [stopped], split="train", epochs=4, crop=None, **common).seconds is None
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (89, "89 s"), (95, "2 min"), (7800, "2 h 10 min")]
)
def test_seconds_are_told_in_the_unit_that_fits(seconds, text):
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(12, "12 B"), (1500, "1.5 kB"), (25_000_000, "25 MB"), (3.2e12, "3200 GB")]
)
def test_bytes_are_told_in_the_unit_that_fits(count, text):
    assert bytes_text(count) == text


def test_a_stopped_job_leaves_the_page_ready(ready):
    ready.start()
    (job,) = ready.desk.engine.given(Train)
    ready.desk.engine.end(job.id, Stopped(resumable=True))
    assert ready.start_button.text() == "Start training" and not ready.stop_button.isVisible()
