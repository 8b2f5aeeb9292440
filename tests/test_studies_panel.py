"""The panel of studies: listed, run on a split, stopped, opened, kept, detached."""

from __future__ import annotations

import dataclasses
import json
import os
import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication

from engine.messages import Failed, Finished, Methods, Stopped, Study, command, decode, encode
from engine.params import Spec, describe
from engine.results import Figure, Panel, Series
from wsss_napari.curves import readable
from wsss_napari.desk import desk_of
from wsss_napari.figure_canvas import DARK
from wsss_napari.figure_facts import kept_figures
from wsss_napari.jobs_bar import JobsBar
from wsss_napari.studies_panel import StudiesPanel

FAKE = runpy.run_path(str(Path(__file__).with_name("fake_engine.py")))


@dataclass(frozen=True)
class Climb:
    steps: Annotated[int, Spec("Steps.", low=0, high=500, main=True)] = 10
    lam: Annotated[float, Spec("Weight.", low=0, main=True)] = 7.0
    flip: Annotated[bool, Spec("Mirror image too.")] = True
    scales: Annotated[tuple[float, ...], Spec("Scales.", low=0.1, high=4)] = (1.0,)


@dataclass(frozen=True)
class Own:
    image: Annotated[str, Spec("One image.", main=True)] = ""
    points: Annotated[int, Spec("Points.", low=3, high=101)] = 21


def table(cls: type[Any], **defaults: Any) -> list[dict[str, Any]]:
    rows = (dataclasses.replace(f, default=defaults.get(f.name, f.default)) for f in describe(cls))
    return [dataclasses.asdict(row) for row in rows]


def study(name: str, title: str, *, truth: bool, count: int, own: type[Any] | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "title": title,
        "sentence": f"What {title} says.",
        "source": "figure 3",
        "needs_truth": truth,
        "count": count,
        "seconds": 2.0,
        "parameters": [*(table(own) if own else []), *table(Climb, steps=30)],
        "presets": {"engine": {}, "paper": {"steps": 27}},
    }


STUDIES = [
    study("landscape", "Loss landscape", truth=False, count=1, own=Own),
    study("quality", "Seed quality", truth=True, count=200),
]
ADVCAM = {"name": "advcam", "available": True, "infer": table(Climb)}
METHODS = {**FAKE["METHODS"], "studies": STUDIES}
METHODS["methods"] = [*METHODS["methods"], {**METHODS["methods"][0], **ADVCAM}]


def figure(name: str, title: str, lam: float = 7.0) -> Figure:
    panel = Panel("", "lines", "step", "mIoU", (Series("s", (0, 1), (0.4, 0.5), cls=0),))
    facts = {"run": "cam", "split": "val", "images": ["a", "b"], "climb": {"steps": 30, "lam": lam}}
    return Figure(name, title, "Caption.", (panel,), facts=facts)


def make_run(project, run: str = "cam", title: str = "My run") -> Path:
    folder = project.root / "runs" / run
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(b"weights")
    (folder / "run.json").write_text(json.dumps({"method": "cam", "title": title, "status": "finished"}))
    return folder


def finished(job: Study) -> Finished:
    """Do the study as the engine would: keep a figure, tell where."""
    folder = Path(job.project) / "runs" / job.run / "studies"
    figure(job.study, f"Found {job.study}").save(folder)
    return Finished(
        result={"study": job.study, "run": job.run, "images": 2, "seconds": 60.0, "figure": "", "csv": ""}
    )


@pytest.fixture
def shown_plots(monkeypatch):
    """The plot strip of a viewer without a window: what was shown and hidden."""
    strip: list[tuple[str, Any]] = []
    monkeypatch.setattr("wsss_napari.plots.Plots.show", lambda self, w, title: strip.append((title, w)))
    monkeypatch.setattr("wsss_napari.plots.Plots.hide", lambda self, w: strip.append(("", w)))
    return strip


@pytest.fixture
def panel(qtbot, monkeypatch, shown_plots):
    monkeypatch.setattr("wsss_napari.worker.Engine", lambda: FAKE["FakeEngine"]({Methods: METHODS}))
    viewer = ViewerModel()
    made = StudiesPanel(desk_of(viewer))
    made.keep = viewer
    qtbot.addWidget(made)
    qtbot.addWidget(made.view)
    made.resize(380, 800)
    made.show()
    return made


@pytest.fixture
def ready(panel, small_project, qtbot):
    make_run(small_project)
    panel.session.open(small_project.root)
    panel.enter()
    qtbot.waitUntil(lambda: len(panel.rows) == 2)
    return panel


def without_truth(panel) -> None:
    panel.session.project.truth_place = None
    panel.refresh()


def test_it_says_what_is_missing(panel, small_project, qtbot):
    assert "No project" in panel.note.text() and not panel.rows
    panel.session.open(small_project.root)
    panel.enter()
    assert "Asking the engine" in panel.note.text()
    qtbot.waitUntil(lambda: len(panel.rows) == 2)
    assert "No run yet" in panel.note.text()
    assert not panel.rows["landscape"].quick.isEnabled() and panel.command() is None
    make_run(small_project)
    panel.session.run = "cam"
    assert panel.note.isHidden() and panel.rows["landscape"].quick.isEnabled()


def test_the_list_is_asked_for_once_and_fills_the_session(ready):
    assert [s["name"] for s in ready.session.studies] == ["landscape", "quality"]
    assert ready.session.methods is not None and ready.session.methods[0]["backbones"]
    ready.leave()
    ready.enter()
    assert len(ready.desk.engine.given(Methods)) == 1
    assert ready.rows["landscape"].head.title == "Loss landscape"
    assert "What Loss landscape says." in ready.rows["landscape"].head.toolTip()
    assert "Figure 3 of the AdvCAM paper" in ready.rows["quality"].head.toolTip()


def test_a_list_that_another_page_got_without_studies_is_asked_for_again(panel, small_project, qtbot):
    panel.session.open(small_project.root)
    panel.session.methods = ()
    panel.enter()
    qtbot.waitUntil(lambda: panel.session.studies is not None)
    panel.session.take_methods({"methods": [], "backbones": []})
    assert panel.session.studies == () and panel.note.text() == "This engine has no studies."


def test_a_failed_list_can_be_asked_for_again(panel, small_project, qtbot):
    panel.session.open(small_project.root)
    panel.desk.engine.answers[Methods] = lambda job: Failed(message="torch is gone.")
    panel.enter()
    qtbot.waitUntil(lambda: "torch is gone." in panel.note.text())
    panel.desk.engine.answers[Methods] = METHODS
    panel.again.click()
    qtbot.waitUntil(lambda: len(panel.rows) == 2)
    assert panel.again.isHidden()


def test_studies_that_need_truth_are_greyed_with_the_reason(ready):
    assert ready.rows["quality"].quick.isEnabled() and not ready.rows["quality"]._veil.isEnabled()
    without_truth(ready)
    row = ready.rows["quality"]
    assert not row.quick.isEnabled() and row._veil.isEnabled()
    row.open()
    assert row.state.text() == "Needs truth masks, and this project has none."
    assert row.quick.toolTip() == row.run.toolTip() == row.state.text() and not row.run.isEnabled()
    assert "Needs truth masks" in row.head.toolTip()
    ready.run("quality")
    assert not ready.desk.engine.given(Study)
    assert ready.rows["landscape"].quick.isEnabled()


def test_one_click_runs_a_study_on_the_split_and_shows_its_figure(ready, qtbot, shown_plots):
    ready.desk.engine.answers[Study] = finished
    assert ready.split.currentData() == "train"
    ready.split.setCurrentIndex(ready.split.findData("val"))
    ready.count.setValue(3)
    with qtbot.waitSignal(ready.figure_shown):
        ready.rows["landscape"].quick.click()
    (job,) = ready.desk.engine.given(Study)
    assert (job.study, job.run, job.split, job.count, job.settings) == ("landscape", "cam", "val", 3, {})
    assert decode(encode(job)) == job
    title, widget = shown_plots[-1]
    assert title == "Found landscape · My run" and widget is ready.view
    assert ready.view.figure == kept_figures(ready.session.chosen_run)["landscape"].figure
    # The curve has the colour of its class.
    (curve,) = ready.view.canvas.panels[0].plot.listDataItems()
    assert curve.opts["pen"].color() == readable(ready.desk.colours[0], DARK)
    assert ready.rows["landscape"].figure_button.isVisible()


def test_a_study_runs_once_at_a_time_and_stops(ready, qtbot):
    row = ready.rows["landscape"]
    row.open()
    row.run.click()
    ready.run("landscape")
    (job,) = ready.desk.engine.given(Study)
    assert row.quick.text() == "■" and row.stop.isVisible() and not row.run.isEnabled()
    assert row.run.text() == "Running…"
    row.stop.click()
    assert ready.desk.engine.stopped == [job.id] and row.run.text() == "Stopping…"
    assert not row.stop.isEnabled()
    ready.desk.engine.end(job.id, Stopped())
    assert row.quick.text() == "▶" and row.run.isEnabled() and row.stop.isHidden()
    assert ready.view.figure is None
    row.quick.click()
    row.quick.click()
    assert len(ready.desk.engine.stopped) == 2


def test_its_progress_is_in_the_jobs_bar(ready, qtbot):
    bar = JobsBar(ready.desk)
    qtbot.addWidget(bar)
    ready.run("landscape")
    assert len(bar._lines) == 1


def test_settings_of_the_climb_page_are_taken_where_a_study_has_them(ready):
    ready.set_settings({"lam": 3.0, "tau": 0.4, "scales": [1.0, 2.0], "steps": 30})
    # `tau` is none of this study's, and 30 steps are its default.
    assert ready.job("landscape").settings == {"lam": 3.0, "scales": [1.0, 2.0]}
    row = ready.rows["landscape"]
    row.open()
    assert ready.job("landscape").settings == {"lam": 3.0, "scales": [1.0, 2.0]}
    assert row.climb_fold.head.text() == "Climb settings · 2 changed"
    assert [f.name for f in row.own.fields] == ["image", "points"]
    row.own.set_values({"image": "im_002"})
    ready.set_settings({"lam": 5.0})
    assert ready.job("landscape").settings == {"image": "im_002", "lam": 5.0}
    assert ready.command() == command(ready.job("landscape"))
    assert "--set image=im_002" in ready.command() and "study landscape cam" in ready.command()


def test_forms_are_built_when_they_are_looked_at(ready):
    assert all(row.climb is None for row in ready.rows.values())
    ready.rows["landscape"].open()
    ready.rows["quality"].open()
    assert not ready.rows["landscape"].is_open and ready.rows["quality"].own is None
    assert ready.rows["landscape"].climb is not None


def test_a_setting_that_cannot_be_used_is_said_and_nothing_runs(ready, qtbot):
    row = ready.rows["landscape"]
    row.open()
    row.climb.entry("scales").selectAll()
    qtbot.keyClicks(row.climb.entry("scales"), "big")
    assert not row.run.isEnabled() and "scales" in row.state.text()
    assert ready.job("landscape") is None and ready.command() is None


def test_the_wait_is_told_before_it_begins(ready, qtbot):
    row = ready.rows["quality"]
    row.open()
    assert row.state.text() == "4 images at most · about 8 s with mobilenet_v2 on two cores"
    ready.count.setValue(2)
    assert row.state.text().startswith("2 images at most · about 4 s")
    # Twice the steps, twice the time.
    row.climb.set_values({"steps": 61})
    assert "about 8 s" in row.state.text()
    assert row.quick.toolTip().startswith("Run it: 2 images")
    ready.desk.engine.answers[Study] = finished
    with qtbot.waitSignal(ready.figure_shown):
        ready.run("quality")
    assert row.state.text() == "2 images at most · about 60 s, going by the last time"
    assert ready.rows["landscape"].study["count"] == 1


def test_the_command_is_copied(ready):
    ready.rows["landscape"].open()
    ready.rows["landscape"].copy.click()
    assert QApplication.clipboard().text() == command(ready.job("landscape"))


def test_earlier_figures_are_listed_with_date_and_settings_and_open_at_once(
    panel, small_project, shown_plots, qtbot
):
    folder = make_run(small_project)
    for name, title in (("quality", "Seed quality"), ("older_study", "Of an older version")):
        figure(name, title, lam=2.5).save(folder / "studies")
    os.utime(folder / "studies" / "quality.json", (1_700_000_000, 1_700_000_000))
    panel.session.open(small_project.root)
    # Before the engine was asked for anything.
    assert set(panel.rows) == {"quality", "older_study"} and not panel.desk.working
    row = panel.rows["quality"]
    assert row.figure_button.text().startswith("14 Nov ") or row.figure_button.text().startswith("15 Nov ")
    assert "split val · 2 images · steps 30, lam 2.5" in row.figure_button.toolTip()
    row.figure_button.click()
    assert panel.view.figure.title == "Seed quality" and shown_plots[-1][0] == "Seed quality · My run"
    panel.enter()
    qtbot.waitUntil(lambda: "landscape" in panel.rows)
    # What the engine does not know can be opened, not run.
    old = panel.rows["older_study"]
    assert old.quick.isHidden() and not old.figure_button.isHidden()
    old.open()
    assert old.run.isHidden() and "earlier study" in old.sentence.text()


def test_a_damaged_figure_is_told_and_the_others_stay(ready, monkeypatch):
    folder = ready.session.chosen_run.folder / "studies"
    folder.mkdir()
    (folder / "quality.json").write_text('{"study": 1}')
    ready.refresh()
    told = []
    monkeypatch.setattr(ready.desk, "said", lambda *words: told.append(words))
    ready.rows["quality"].figure_button.click()
    assert told[0][0] == "error" and "not a figure" in told[0][1]
    assert ready.view.figure is None


def test_a_figure_that_comes_while_nobody_looks_is_news(ready, qtbot, shown_plots):
    ready.desk.engine.answers[Study] = finished
    ready.leave()
    shown_plots.clear()
    with qtbot.waitSignal(ready.news):
        ready.run("landscape")
    assert not shown_plots and ready.rows["landscape"].figure_button.isVisibleTo(ready)


def test_another_run_has_other_figures(ready, qtbot):
    ready.desk.engine.answers[Study] = finished
    with qtbot.waitSignal(ready.figure_shown):
        ready.run("landscape")
    make_run(ready.session.project, "second", "Second")
    with qtbot.waitSignal(ready.figure_closed):
        ready.session.run = "second"
    assert ready.view.figure is None and ready.rows["landscape"].figure_button.isHidden()
    # A study of the first run that ends now does not take the strip.
    del ready.desk.engine.answers[Study]
    ready.session.run = "cam"
    ready.run("quality")
    (job,) = [j for j in ready.desk.engine.given(Study) if j.study == "quality"]
    ready.session.run = "second"
    ready.desk.engine.end(job.id, finished(job))
    assert ready.view.figure is None


def test_leaving_and_closing_give_the_strip_back(ready, qtbot, shown_plots):
    ready.desk.engine.answers[Study] = finished
    with qtbot.waitSignal(ready.figure_shown):
        ready.run("landscape")
    ready.leave()
    assert shown_plots[-1] == ("", ready.view) and ready.view.figure is not None
    with qtbot.waitSignal(ready.figure_closed):
        ready.view.close_button.click()
    assert ready.view.figure is None
    shown_plots.clear()
    ready.leave()
    assert not shown_plots


def test_a_figure_has_a_window_of_its_own_that_stays(
    small_project, qtbot, monkeypatch, make_napari_viewer_proxy
):
    monkeypatch.setattr(
        "wsss_napari.worker.Engine", lambda: FAKE["FakeEngine"]({Methods: METHODS, Study: finished})
    )
    viewer = make_napari_viewer_proxy()
    panel = StudiesPanel(desk_of(viewer))
    qtbot.addWidget(panel)
    make_run(small_project)
    panel.session.open(small_project.root)
    panel.enter()
    qtbot.waitUntil(lambda: len(panel.rows) == 2)
    with qtbot.waitSignal(panel.figure_shown):
        panel.run("landscape")
    assert panel.desk.plots.shown is panel.view
    panel.view.detach_button.click()
    (own,) = panel.windows
    assert own.window() is not panel.view.window() and own.figure.title == "Found landscape"
    assert own.caption.isVisibleTo(own) and own.detach_button.isHidden()
    with qtbot.waitSignal(panel.figure_shown):
        panel.run("quality")
    assert own.figure.title == "Found landscape" and panel.view.figure.title == "Found quality"
    viewer.theme = "light"
    assert own.canvas._theme["type"] == panel.view.canvas._theme["type"] == "light"
    panel.close_figure()
    assert panel.desk.plots.shown is None
