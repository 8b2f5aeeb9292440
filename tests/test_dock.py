"""The dock around the pages: opens fast and quietly, follows the session, the theme and two viewers."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from psygnal import Signal
from qtpy.QtCore import QEvent, QPoint, Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QAbstractButton, QApplication, QComboBox, QLabel, QLineEdit, QWidget

from engine.messages import Failed, Finished, Infer, Methods, Metrics, Progress, Said, Started, Stopped, Train
from engine.store import new_run
from engine.tags import ABSENT, PRESENT, UNKNOWN
from wsss_napari import context_bar
from wsss_napari.desk import PHOTOGRAPH, desk_of
from wsss_napari.dock import Dock, MainDock, TagsDock
from wsss_napari.jobs_bar import JobsBar, job_title, time_left
from wsss_napari.pages import PAGES
from wsss_napari.worker import JobLine

TAGS = tuple(e for e in PAGES if e.name == "tags")


@pytest.fixture
def dock(make_napari_viewer_proxy, small_project):
    viewer = make_napari_viewer_proxy()
    made = Dock(viewer, TAGS)
    viewer.window.add_dock_widget(made, name="WSSS", area="right")
    made.session.open(small_project.root)
    return made


def test_opening_adds_nothing_starts_nothing_and_is_quick(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()
    mine = viewer.add_image(np.zeros((20, 20)))
    MainDock(viewer)  # the first one pays for the imports of Qt's and our modules
    began = time.perf_counter()
    made = MainDock(viewer)
    viewer.window.add_dock_widget(made, name="WSSS")
    QApplication.processEvents()
    assert time.perf_counter() - began < 1.0
    assert list(viewer.layers) == [mine] and viewer.layers.selection.active == mine
    assert made.desk._engine is None and made.desk._plots is None
    assert list(made._pages) == ["tags"], "only the page that is shown is loaded"
    assert "Drop an image folder" in made.current.hint


def test_opening_a_project_adds_the_photograph_and_nothing_else(dock, small_project):
    viewer = dock.desk.viewer
    assert [layer.name for layer in viewer.layers] == [small_project.usable[0]]
    dock.session.next_image()
    assert [layer.name for layer in viewer.layers] == [small_project.usable[1]]
    assert np.array_equal(viewer.layers[0].data, small_project.read(small_project.usable[1]).pixels)
    dock.session.close()
    assert not viewer.layers and dock.current.hint


def test_the_photograph_deleted_by_a_person_comes_back_with_the_next_image(dock):
    viewer = dock.desk.viewer
    del viewer.layers[0]
    dock.session.next_image()
    assert len(viewer.layers) == 1


def test_a_missing_photograph_is_a_sentence(dock, small_project, monkeypatch):
    said = []
    monkeypatch.setattr(dock.desk, "said", lambda level, text: said.append((level, text)))
    small_project.path(small_project.usable[1]).unlink()
    dock.session.next_image()
    assert said and said[0][0] == "error" and "relink" in said[0][1]


def test_the_context_bar_follows_and_leads(dock, small_project, qtbot):
    bar, session = dock.context, dock.session
    assert bar.project_button.text() == "▤ project ▾"
    assert bar.position.text() == "1/6" and not bar.previous_button.isEnabled()
    qtbot.mouseClick(bar.next_button, Qt.MouseButton.LeftButton)
    assert session.image == small_project.usable[1] == bar.search.text()
    bar.search.setText("im_004")
    qtbot.keyClick(bar.search, Qt.Key.Key_Return)
    assert session.image == "im_004" and bar.position.text() == "5/6"
    bar.search.setText("no such image")
    qtbot.keyClick(bar.search, Qt.Key.Key_Return)
    assert session.image == "im_004" == bar.search.text()


def test_chips_show_states_choose_and_change(dock, qtbot):
    session, chips = dock.session, dock.context.chips.chips
    stem = session.image
    assert [c.state for c in chips.values()] == [session.tag(stem, i) for i in range(3)]
    qtbot.mouseClick(chips[2], Qt.MouseButton.LeftButton)
    assert session.cls == 2 and chips[2].chosen and not chips[0].chosen
    session.set_tag(stem, 2, UNKNOWN)
    for state in (PRESENT, ABSENT, UNKNOWN):
        qtbot.mouseClick(chips[2], Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ControlModifier)
        assert session.tag(stem, 2) == state == chips[2].state
    chips[1].asked.emit(PRESENT)
    assert session.tag(stem, 1) == PRESENT
    session.add_class("violet")
    assert [c.text() for c in dock.context.chips.chips.values()] == ["red", "green", "blue", "violet"]


def test_states_are_told_apart_without_colour(dock):
    """Filled, outlined, struck: three drawings that differ for an eye that sees no hue."""
    chip = dock.context.chips.chips[0]
    drawn = []
    for state in (PRESENT, UNKNOWN, ABSENT):
        chip.show_as("#777777", state, False, "1")
        image = chip.grab().toImage()
        drawn.append([image.pixelColor(x, image.height() // 2).lightness() for x in range(image.width())])
    assert drawn[0] != drawn[1] and drawn[1] != drawn[2]


def test_runs_are_listed_newest_first_and_stale_ones_marked(dock, small_project):
    from engine.store import image_set_digest, tag_digest

    stems = small_project.usable
    digests = {
        "stems": list(stems),
        "images": image_set_digest(small_project, stems),
        "tags": tag_digest(small_project, stems),
    }
    for name in ("one", "two"):
        run = new_run(small_project.root, name, name, {"method": "cam", "digests": digests})
        run.end("finished")
    bar, session = dock.context, dock.session
    session.runs_changed.emit()
    assert {bar.run_box.itemData(i) for i in range(bar.run_box.count())} == {"one", "two"}
    session.run = "one"
    assert bar.run_box.currentData() == "one" and bar.stale_mark.isHidden()
    stem = stems[0]
    session.set_tag(stem, 0, UNKNOWN if session.tag(stem, 0) != UNKNOWN else PRESENT)
    assert not bar.stale_mark.isHidden() and "Tags changed" in bar.stale_mark.toolTip()


def test_recent_projects_are_kept_and_those_that_are_gone_are_not_shown(small_project, monkeypatch, tmp_path):
    from qtpy.QtCore import QSettings

    monkeypatch.setattr(
        context_bar, "_kept", lambda: QSettings(str(tmp_path / "kept.ini"), QSettings.Format.IniFormat)
    )
    context_bar.remember_project(small_project)
    assert context_bar.recent_projects() == [], "a project in the temporary folder is not worth remembering"
    monkeypatch.setattr(context_bar, "gettempdir", lambda: str(tmp_path / "elsewhere"))
    context_bar.remember_project(small_project)
    context_bar.remember_project(small_project)
    assert context_bar.recent_projects() == [small_project.root]
    (small_project.root / "wsss.toml").unlink()
    assert context_bar.recent_projects() == []


def test_copy_as_command(dock, monkeypatch):
    monkeypatch.setattr(type(dock.current), "command", lambda self: "wsss new pets --images photos")
    dock.current.command_changed.emit()
    assert dock.copy_button.isEnabled() and dock.copy_button.toolTip() == "wsss new pets --images photos"
    dock.copy_command()
    assert QGuiApplication.clipboard().text() == "wsss new pets --images photos"


def test_a_dropped_project_opens_and_dropped_images_start_a_new_one(dock, small_project, tmp_path):
    dock.session.close()
    dock.take_paths([small_project.root])
    assert dock.session.project is not None
    dock.session.close()
    dock.take_paths([small_project.root / "wsss.toml"])
    assert dock.session.project is not None
    dock.take_paths([tmp_path / "images", tmp_path / "tags.csv"])
    page = dock.current
    assert not page.new.isHidden()
    assert (page.new.images.text(), page.new.tags.text()) == (
        str(tmp_path / "images"),
        str(tmp_path / "tags.csv"),
    )


def test_news_put_a_dot_on_a_page_until_it_is_opened(make_napari_viewer_proxy, monkeypatch):
    viewer = make_napari_viewer_proxy()
    entries = (TAGS[0], TAGS[0].__class__("tags2", "Again", "The same page", "TagsPage"))
    monkeypatch.setattr(
        "wsss_napari.pages.import_module", lambda name: __import__("wsss_napari.pages.tags", fromlist=["x"])
    )
    dock = Dock(viewer, entries)
    second = dock.page("tags2")
    assert dock.tabs.tabIcon(1).isNull()
    second.news.emit()
    assert not dock.tabs.tabIcon(1).isNull()
    dock.turn_to("tags2")
    assert dock.tabs.tabIcon(1).isNull()


def test_a_dock_that_is_closed_is_forgotten_and_can_be_opened_again(dock, qtbot, monkeypatch):
    viewer, session = dock.desk.viewer, dock.session
    entered: list[str] = []
    page = dock.current
    page.enter, page.leave = lambda: entered.append("enter"), lambda: entered.append("leave")
    dock.window().show()
    qtbot.waitExposed(dock.window())
    dock.hide()
    dock.show()
    assert entered == ["leave", "enter"], "a dock behind another one does nothing"
    viewer.window.remove_dock_widget(dock)
    dock.deleteLater()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    QApplication.processEvents()
    session.next_image()
    session.set_tag(session.image, 0, PRESENT)
    session.set_tag(session.image, 0, UNKNOWN)
    session.runs_changed.emit()
    viewer.theme = "light"
    monkeypatch.setattr("wsss_napari.worker.Engine", Answering)
    assert desk_of(viewer).engine.jobs == [], "who waited for the engine and is gone is not called"
    again = Dock(viewer, TAGS)
    viewer.window.add_dock_widget(again, name="WSSS")
    assert again.context.search.text() == session.image
    qtbot.keyClick(again, Qt.Key.Key_1)
    assert session.tag(session.image, 0) == PRESENT


def test_two_viewers_have_two_desks(make_napari_viewer_proxy, small_project):
    one, two = make_napari_viewer_proxy(), make_napari_viewer_proxy()
    first, second, third = Dock(one, TAGS), Dock(two, TAGS), TagsDock(one)
    assert first.desk is third.desk is desk_of(one) and second.desk is not first.desk
    first.session.open(small_project.root)
    assert len(one.layers) == 1 and len(two.layers) == 0 and second.session.project is None
    second.session.open(small_project.root)
    second.session.next_image()
    assert one.layers[0].name != two.layers[0].name


def test_holding_h_hides_ours_but_the_photograph(dock):
    desk = dock.desk
    shown = desk.layers.show_map("map:red", np.zeros((4, 6)), "red")
    hidden = desk.layers.show_map("map:blue", np.zeros((4, 6)), "blue")
    hidden.visible = False
    desk._hide_ours("H")
    assert not shown.visible and desk.layers.get(PHOTOGRAPH).visible
    desk._hide_ours("")
    assert shown.visible and not hidden.visible


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_both_themes_and_nothing_clipped_at_1280_by_800(dock, theme, qtbot):
    viewer = dock.desk.viewer
    viewer.theme = theme
    window = dock.window()
    window.resize(1280, 800)
    window.show()
    qtbot.waitExposed(window)
    QApplication.processEvents()
    assert 340 <= dock.width() <= 420
    assert dock.stack.height() > 400, "the page has the height, not a stretch under it"
    # Its style sheet speaks of this theme's colours.
    from wsss_napari.style import theme_of

    assert theme_of(viewer)["primary"] in dock.styleSheet()
    assert clipped(dock) == []
    assert without_tip(dock) == []


def clipped(dock: QWidget) -> list[str]:
    """Return the texts of visible labels and buttons that have less room than they ask for."""
    found = []
    for widget in dock.findChildren((QLabel, QAbstractButton)):
        if not widget.isVisible() or not getattr(widget, "text", str)():
            continue
        if isinstance(widget, QLabel) and (widget.wordWrap() or type(widget).__name__ == "QElidingLabel"):
            continue
        right = widget.mapTo(dock, QPoint(widget.width(), 0)).x()
        if widget.width() < widget.sizeHint().width() or right > dock.width():
            found.append(f"{widget.text()}: {widget.width()} of {widget.sizeHint().width()} px")
    return found


def without_tip(dock: QWidget) -> list[str]:
    """Return the visible controls of ours that say nothing when pointed at."""
    found = []
    for widget in dock.findChildren((QAbstractButton, QComboBox, QLineEdit)):
        if not widget.isVisible() or widget.toolTip() or widget.objectName().startswith("qt_"):
            continue
        if widget.parent().objectName().startswith("qt_") or isinstance(
            widget.parent(), (QComboBox, QLineEdit)
        ):
            continue
        if type(widget.parent()).__name__ in ("QTabBar",):
            continue
        found.append(f"{type(widget).__name__} {getattr(widget, 'text', str)()!r}")
    return found


# The jobs bar, with jobs as the engine tells them.


class Told:
    """An engine that tells what the test puts into `jobs`."""

    answering = True
    changed = Signal()

    def __init__(self) -> None:
        self.jobs: list[JobLine] = []
        self.asked: list[tuple[str, str]] = []

    def line(self, job_id: str) -> JobLine | None:
        return next((j for j in self.jobs if j.job.id == job_id), None)

    def stop(self, job_id: str) -> None:
        self.asked.append(("stop", job_id))

    def force_stop(self) -> None:
        self.asked.append(("force", ""))

    def close(self) -> None:
        self.asked.append(("close", ""))

    busy = False


@pytest.fixture
def bar(make_napari_viewer_proxy, qtbot):
    desk = desk_of(make_napari_viewer_proxy())
    desk._engine = Told()
    made = JobsBar(desk)
    made.resize(380, 60)
    qtbot.addWidget(made)
    return made, desk._engine


def test_a_job_is_one_line_with_progress_and_time_left(bar):
    made, engine = bar
    assert made.isHidden()
    line = JobLine(
        Train(method="cam"),
        state="running",
        progress=Progress(done=3, total=10, seconds_left=72.4, phase="epoch"),
    )
    engine.jobs.append(line)
    made.refresh()
    (row,) = made._lines.values()
    assert made.isVisible() and row.progress.value() == 3 and row.progress.maximum() == 10
    assert row.title.text().startswith("▶ Training cam") and row.left.text() == "1:12 left"
    line.state, line.ended = "finished", 1.0
    made.refresh()
    assert row.title.text().startswith("✓") and row.stop.isHidden() and not row.clear.isHidden()
    row.clear.click()
    assert made._lines == {} and made.isHidden()


def test_force_stop_is_offered_when_stop_is_not_honoured(bar, qtbot):
    made, engine = bar
    line = JobLine(Train(method="cam"), state="running")
    engine.jobs.append(line)
    made.refresh()
    (row,) = made._lines.values()
    row._patience.setInterval(50)
    row.stop.click()
    assert engine.asked == [("stop", line.job.id)] and not row.stop.isEnabled()
    qtbot.waitUntil(lambda: row.stop.text() == "Force stop")
    row.stop.click()
    assert engine.asked[-1] == ("force", "")


def test_a_stop_that_is_honoured_offers_no_force(bar, qtbot):
    made, engine = bar
    line = JobLine(Train(method="cam"), state="running")
    engine.jobs.append(line)
    made.refresh()
    (row,) = made._lines.values()
    row._patience.setInterval(50)
    row.stop.click()
    line.state = "stopped"
    made.refresh()
    qtbot.wait(120)
    assert row.stop.text() == "Stop" and row.stop.isHidden()


def test_an_engine_that_is_silent_is_said_to_be(bar):
    made, engine = bar
    engine.jobs.append(JobLine(Infer(run="cam"), state="running"))
    engine.answering = False
    made.refresh()
    assert "not answering" in next(iter(made._lines.values())).title.text()


def test_a_click_opens_the_log(bar, qtbot):
    made, engine = bar
    line = JobLine(Train(method="cam"), state="running", log=["looked at 6 images"])
    engine.jobs.append(line)
    made.refresh()
    (row,) = made._lines.values()
    qtbot.mouseClick(row.title, Qt.MouseButton.LeftButton)
    from qtpy.QtWidgets import QPlainTextEdit

    text = made._log.findChild(QPlainTextEdit)
    assert made._log.isVisible() and "looked at 6 images" in text.toPlainText()
    line.log.append("epoch 1")
    made.refresh()
    assert "epoch 1" in text.toPlainText()
    made._log.close()


def test_only_the_last_few_ended_jobs_stay(bar):
    made, engine = bar
    engine.jobs += [JobLine(Infer(run=f"r{n}"), state="finished") for n in range(5)]
    engine.jobs.append(JobLine(Infer(run="now"), state="queued"))
    made.refresh()
    assert [row.title.text() for row in made._lines.values()] == [
        "✓ Drawing maps: r3",
        "✓ Drawing maps: r4",
        "… Drawing maps: now (waiting)",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.4, "0:00 left"), (59.6, "1:00 left"), (72, "1:12 left"), (3725, "1:02:05 left")],
)
def test_time_left(seconds, text):
    assert time_left(seconds) == text


def test_events_of_the_engine_reach_the_session(make_napari_viewer_proxy, monkeypatch):
    desk = desk_of(make_napari_viewer_proxy())
    desk._engine = Told()
    told = []
    desk.session.runs_changed.connect(lambda: told.append("runs"))
    monkeypatch.setattr(desk, "said", lambda level, text: told.append((level, text)))
    line = JobLine(Train(method="cam"))
    desk._engine.jobs.append(line)
    desk._on_event(Started(job=line.job.id, kind="train", run="cam"))
    desk._on_event(Metrics(job=line.job.id, step=1, values={"loss": 1.0}))
    desk._on_event(Finished(job=line.job.id, result={"run": "cam"}))
    desk._on_event(Stopped(job=line.job.id))
    assert told == ["runs"] * 3
    assert job_title(line.job) == "Training cam"


def test_settings_reach_the_jobs(make_napari_viewer_proxy, small_project, monkeypatch):
    from wsss_napari import settings as module

    found = {
        "engine": {"device": "cpu", "threads": 3, "weights": "some/folder"},
        "window": {"palette": "voc"},
    }
    monkeypatch.setattr(module, "plugin_settings", lambda name: found)
    monkeypatch.setattr("wsss_napari.worker.Engine", Answering)
    monkeypatch.setenv("WSSS_WEIGHTS", "")
    viewer = make_napari_viewer_proxy()
    desk = desk_of(viewer)
    desk.session.open(small_project.root)
    job = desk.job(Train, method="cam")
    assert (job.device, job.threads, job.project) == ("cpu", 3, str(small_project.root))
    assert desk.job(Train, method="cam", device="cuda").device == "cuda", "what a form says wins"
    assert desk.job(Methods).threads is None, "a job that needs no device gets none"
    assert desk.colours == ("#800000", "#008000", "#808000")
    assert desk.submit(job) == job.id
    assert os.environ["WSSS_WEIGHTS"] == "some/folder"


def test_news_go_to_the_status_line_and_mistakes_become_notices(make_napari_viewer_proxy, monkeypatch):
    viewer = make_napari_viewer_proxy()
    desk = desk_of(viewer)
    monkeypatch.setattr("wsss_napari.worker.Engine", Answering)
    notices: list[tuple[str, str]] = []
    monkeypatch.setattr(desk, "said", lambda level, text: notices.append((level, text)))
    job = Train(method="cam")
    desk.submit(job, quiet=True)
    desk._on_event(Said(job=job.id, text="Looked at 6 images."))
    assert viewer.status == "Looked at 6 images." and notices == []
    desk._on_event(Said(job=job.id, text="Two are set aside.", level="warning"))
    desk._on_event(Failed(job=job.id, message="told by the page itself"))
    desk._on_event(Failed(job="another", message="No such run.", hint="Train one."))
    assert notices == [("warning", "Two are set aside."), ("error", "No such run.\nTrain one.")]


class Answering(Told):
    """One that takes jobs and has Qt's name for its signals."""

    event = Signal(object)

    def submit(self, job, *, then=None) -> str:
        self.jobs.append(JobLine(job))
        return job.id


def test_the_dock_works_from_any_folder(make_napari_viewer_proxy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Dock(make_napari_viewer_proxy(), TAGS)
    assert list(Path.cwd().iterdir()) == []
