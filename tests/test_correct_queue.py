"""The review queue: what is listed and in which order, what comes next, how far the review is."""

from __future__ import annotations

import runpy
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QRect, Qt
from qtpy.QtGui import QImage, QPainter
from qtpy.QtWidgets import QApplication, QStyleOptionViewItem, QWidget

from engine import run as engine_run
from engine.messages import Finished, Job, Progress, Queue, Stopped
from engine.queue import FILE, kept_path
from engine.store import label_set
from engine.store.truth import read_truth
from engine.tags import ABSENT, PRESENT, UNKNOWN, Tags
from wsss_napari.correct_queue import QueuePanel
from wsss_napari.correct_queue_list import QueueList, QueueModel
from wsss_napari.correct_queue_rows import (
    EVERY,
    FILTERS,
    OPEN,
    ORDERS,
    Ranked,
    following,
    ordered,
    passing,
    review_progress,
)
from wsss_napari.desk import desk_of
from wsss_napari.pages.correct_review import STATE_COLOURS
from wsss_napari.thumbnails import Thumbnails

FAKE = runpy.run_path(str(Path(__file__).with_name("fake_engine.py")))
STEMS = tuple("abcdef")


def do(job: Job) -> Any:
    """Do the job here and now; ranking needs no torch."""
    return list(engine_run.run(job))[-1]


# Order and filters


def test_images_without_a_score_come_first_then_the_worst():
    ranks = {"a": Ranked(0.2, ""), "b": Ranked(0.9, ""), "c": Ranked(None, "no maps"), "e": Ranked(0.2, "")}
    assert ordered(STEMS, "margin", ranks, tags_of()) == ["c", "d", "f", "b", "a", "e"]


def test_without_a_ranking_the_project_decides():
    for order in ("margin", "disagreement", "change", "tags", "name"):
        assert ordered(STEMS, order, {}, tags_of()) == list(STEMS)


def test_by_class_the_images_of_one_class_stand_together_and_untagged_ones_first():
    tags = tags_of(a="dog", b="cat", d="dog", e="cat dog")
    assert ordered(STEMS, "class", {}, tags) == ["c", "f", "b", "e", "a", "d"]


def test_random_is_the_same_each_time_and_keeps_its_places_when_images_come():
    first = ordered(STEMS, "random", {}, tags_of())
    assert sorted(first) == list(STEMS) and first == ordered(STEMS[::-1], "random", {}, tags_of())
    more = ordered((*STEMS, "x", "y"), "random", {}, tags_of())
    assert [s for s in more if s in STEMS] == first
    assert any(ordered(STEMS, "random", {}, tags_of(), seed) != first for seed in range(1, 9))


def test_every_state_has_a_filter_and_a_colour():
    from engine.edits import STATES

    assert set(STATES) == set(STATE_COLOURS) == set(FILTERS) - {OPEN, EVERY}


def tags_of(**present: str) -> Tags:
    states = np.full((len(STEMS), 2), UNKNOWN, np.int8)
    for stem, words in present.items():
        for cls, name in enumerate(("cat", "dog")):
            states[STEMS.index(stem), cls] = PRESENT if name in words else ABSENT
    return Tags(("cat", "dog"), STEMS, states)


def test_filters_by_state_class_and_text_go_together():
    states = dict(
        zip(STEMS, ("unseen", "approved", "skipped", "proposed", "in progress", "rejected"), strict=True)
    )
    tags = tags_of(a="cat", b="cat", d="dog", e="cat dog")
    assert passing(STEMS, states, tags) == ["a", "d", "e"]
    assert passing(STEMS, states, tags, state=EVERY) == list(STEMS)
    assert passing(STEMS, states, tags, state="skipped") == ["c"]
    assert passing(STEMS, states, tags, cls=0) == ["a", "e"]
    assert passing(STEMS, states, tags, cls=1, text=" E ") == ["e"]
    assert passing(STEMS[::-1], states, tags) == ["e", "d", "a"], "the order given stays"


def test_next_passes_over_what_is_decided_and_comes_round():
    states = dict.fromkeys(STEMS, "proposed") | {"b": "approved", "c": "skipped", "f": "rejected"}
    assert following(STEMS, states, "a") == "d"
    assert following(STEMS, states, "e") == "a", "what was left behind comes round again"
    assert following(STEMS, states, None) == "a"
    assert following(STEMS, states, "not listed") == "a"
    states |= dict.fromkeys("ade", "approved")
    assert following(STEMS, states, "e") is None
    assert following(STEMS, {**states, "e": "proposed"}, "e") is None, (
        "the image in front is not its own next"
    )


def test_back_goes_to_the_row_above_whatever_its_state():
    states = dict.fromkeys(STEMS, "approved")
    assert following(STEMS, states, "c", by=-1) == "b"
    assert following(STEMS, states, "a", by=-1) is None
    assert following(STEMS, states, "not listed", by=-1) == "f"
    assert following((), {}, "a") is None and following((), {}, "a", by=-1) is None


def test_whoever_looks_through_what_is_approved_walks_to_its_end():
    states = dict.fromkeys(STEMS, "approved") | {"c": "in progress"}
    assert following(STEMS, states, "b", state="approved") == "d", "reopened meanwhile"
    assert following(STEMS, states, "b", state=EVERY) == "c"
    assert following(STEMS, states, "f", state=EVERY) is None
    assert following(STEMS, states, "f", state="approved") is None


def test_time_left_goes_by_the_median_and_by_what_was_begun():
    states = dict(
        zip("abcdefg", ("approved",) * 3 + ("proposed", "in progress", "skipped", "approved"), strict=True)
    )
    seconds = {"a": 10.0, "b": 20.0, "c": 3600.0, "e": 5.0, "f": 1.0}
    progress = review_progress(states, seconds, "abcdefg")
    assert (progress.approved, progress.skipped, progress.begun, progress.total) == (4, 1, 1, 7)
    assert progress.decided == 5
    assert progress.seconds == 20 + 15, "lunch counts as one image, not as the mean"
    assert review_progress(states, {"a": 1.0, "b": 1.0}, "abcdefg").seconds is None
    over = review_progress({**states, "d": "approved"}, {**seconds, "e": 99.0}, "abcdefg")
    assert over.seconds == 0, "what takes long already does not make the others quicker"


# The list


def gone(widget: QWidget) -> None:
    """Let Qt delete a widget now, not when Python's garbage collector comes by."""
    widget.deleteLater()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


@pytest.fixture
def thumbnails(qapp):
    host = QWidget()
    made = Thumbnails(8, host)
    yield made
    made.close()
    gone(host)


def test_a_row_says_name_state_and_reason_in_words(thumbnails):
    model = QueueModel(thumbnails)
    model.show(["a", "b"], {"a": "needs review", "b": "unseen"}, {"a": Ranked(0.75, "lacks dog")})
    assert (
        model.data(model.index(0), Qt.ItemDataRole.ToolTipRole)
        == "a\nNeeds review\nlacks dog (score 0.75 of 1)"
    )
    assert model.data(model.index(0), Qt.ItemDataRole.AccessibleTextRole) == "a, needs review, lacks dog"
    assert model.data(model.index(1), Qt.ItemDataRole.ToolTipRole) == "b\nUnseen"
    assert not model.place("c").isValid() and not model.place(None).isValid()
    assert model.data(model.index(5)) is None


def test_every_state_and_a_long_reason_are_painted_within_the_row(thumbnails, qtbot):
    model, view = QueueModel(thumbnails), QueueList()
    qtbot.addWidget(view)
    stems = [f"image_with_a_rather_long_name_{n:03d}" for n in range(len(STATE_COLOURS))]
    model.show(
        stems,
        dict(zip(stems, STATE_COLOURS, strict=True)),
        {s: Ranked(0.5, "the tagged class is not there " * 4) for s in stems},
    )
    view.setModel(model)
    option = QStyleOptionViewItem()
    option.initFrom(view)
    height = view.painter.sizeHint(option, model.index(0)).height()
    for row in range(len(stems)):
        image = QImage(300, height + 40, QImage.Format.Format_RGB32)
        image.fill(0xFF202020)
        painter = QPainter(image)
        option.rect = QRect(0, 20, 280, height)
        view.painter.paint(painter, option, model.index(row))
        painter.end()
        pixels = np.frombuffer(image.constBits().asstring(image.sizeInBytes()), np.uint32).reshape(
            height + 40, 300
        )
        changed = pixels != 0xFF202020
        assert changed[20:-20].any()
        assert not changed[:20].any() and not changed[-20:].any() and not changed[:, 281:].any()


def test_ten_thousand_images_scroll_and_only_what_is_seen_is_read(qtbot, thumbnails, monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(thumbnails, "get", lambda stem: asked.append(stem))
    view, model = QueueList(), QueueModel(thumbnails)
    qtbot.addWidget(view)
    view.setModel(model)
    stems = [f"im_{n:05d}" for n in range(10_000)]
    states = dict.fromkeys(stems, "proposed")
    ranks = {s: Ranked(n / 10_000, "in dispute") for n, s in enumerate(stems)}
    view.resize(340, 400)
    view.show()
    began = time.perf_counter()
    model.show(ordered(stems, "margin", ranks, tags_of()), states, ranks)
    view.choose(model.place("im_00000"))
    qtbot.wait(30)
    assert time.perf_counter() - began < 3
    assert "im_00000" in asked, "the chosen image is scrolled to"
    assert len(set(asked)) < 60


# The panel


@pytest.fixture
def labelled(small_project):
    """The small project with labels in which some images lack a class or show another."""
    first = label_set(small_project.root, small_project.colours, "first", new=True)
    second = label_set(small_project.root, small_project.colours, "second", new=True)
    for at, stem in enumerate(small_project.usable[:5]):
        mask = read_truth(small_project, stem)
        second.write(stem, mask)
        if at == 2:
            mask[mask == mask.max()] = 0
        mask[: 4 * at] = 255
        first.write(stem, mask)
    first.write_facts({"source": "cam/default"})
    return small_project


@pytest.fixture
def panel(qtbot, monkeypatch, labelled):
    monkeypatch.setattr("wsss_napari.worker.Engine", lambda: FAKE["FakeEngine"]({Queue: do}))
    viewer = ViewerModel()
    desk = desk_of(viewer)
    desk.session.open(labelled.root)
    desk.corrections.choose_source("first")
    desk.corrections.need()
    made = QueuePanel(desk, desk.corrections)
    made.viewer = viewer
    made.fold.setChecked(True)
    made.resize(360, 620)
    made.show()
    yield made
    desk.close()
    gone(made)


def choose(box: Any, key: Any) -> None:
    """Choose an entry of a combo box as a person does."""
    box.setCurrentIndex(box.findData(key))
    box.activated.emit(box.currentIndex())


def test_it_lists_the_project_and_marks_the_image_in_front(panel):
    stems = list(panel.session.stems)
    assert panel.model.stems == stems and panel.found.text() == "6 images"
    states = [panel.model.data(panel.model.place(s), Qt.ItemDataRole.UserRole + 1) for s in stems]
    assert states == ["proposed"] * 5 + ["unseen"]
    assert panel.list.chosen() == [stems[0]]
    panel.session.image = stems[3]
    assert panel.list.chosen() == [stems[3]]
    assert panel.counter.text() == "0 of 6 approved" and panel.left.text() == ""
    assert panel.rank.order == "name" and not panel.rank.go.isVisible()


def test_a_click_brings_an_image_to_the_front(panel, qtbot):
    qtbot.waitUntil(lambda: not panel.busy)
    place = panel.list.visualRect(panel.model.index(2)).center()
    qtbot.mouseClick(panel.list.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert panel.session.image == panel.session.stems[2]
    qtbot.keyClick(panel.list, Qt.Key.Key_Down)
    assert panel.session.image == panel.session.stems[3]


def test_ranking_runs_the_job_and_shows_the_worst_first_with_its_reason(panel, qtbot):
    choose(panel.rank.choice, "tags")
    assert "Not ranked" in panel.rank.notice.text() and panel.rank.go.text() == "Rank"
    assert panel.rank.go.toolTip().startswith("wsss queue") and "--order tags" in panel.rank.go.toolTip()
    qtbot.mouseClick(panel.rank.go, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not panel.rank.working)
    (job,) = panel.desk.engine.given(Queue)
    assert (job.order, job.labels, job.others) == ("tags", "first", ())
    stems = panel.session.stems
    assert panel.model.stems[:2] == [stems[5], stems[2]], "no mask first, then the one that lacks a class"
    assert "no mask" in panel.model.data(panel.model.index(0), Qt.ItemDataRole.UserRole + 2)
    assert "lacks" in panel.model.data(panel.model.index(1), Qt.ItemDataRole.UserRole + 2)
    assert panel.rank.go.text() == "Rank again" and not panel.rank.notice.isVisible()


def test_the_next_day_the_queue_stands_as_it_was_ranked(panel, qtbot):
    choose(panel.rank.choice, "tags")
    panel.rank.start_or_stop()
    qtbot.waitUntil(lambda: not panel.rank.working)
    rows = list(panel.model.stems)
    root = panel.session.project.root
    panel.session.close()
    assert panel.model.stems == [] and panel.rank.order == "name"
    panel.session.open(root)
    assert panel.rank.order == "tags" and panel.model.stems == rows


def test_each_order_is_kept_and_going_back_to_one_asks_for_no_new_ranking(panel, qtbot):
    rows = {}
    for order in ("tags", "disagreement", "tags"):
        choose(panel.rank.choice, order)
        if order == "disagreement":
            choose(panel.rank.against, "second")
        panel.rank.start_or_stop()
        qtbot.waitUntil(lambda: not panel.rank.working and bool(panel.rank.ranks))
        rows[order] = list(panel.model.stems)
    root = panel.session.project.root
    panel.session.close()
    panel.session.open(root)
    assert panel.rank.order == "tags" and panel.model.stems == rows["tags"]
    choose(panel.rank.choice, "disagreement")
    assert panel.model.stems == rows["disagreement"] and panel.rank.go.text() == "Rank again"
    assert len(panel.desk.engine.given(Queue)) == 3
    kept_path(root, "disagreement").write_text("[]", encoding="utf-8")
    panel.session.close()
    panel.session.open(root)
    assert panel.rank.order == "tags" and not panel.rank.warns
    choose(panel.rank.choice, "disagreement")
    assert panel.rank.warns and "damaged" in panel.rank.notice.text()


def test_a_ranking_says_when_what_it_was_made_from_changed(panel, qtbot):
    choose(panel.rank.choice, "tags")
    panel.rank.start_or_stop()
    qtbot.waitUntil(lambda: not panel.rank.working)
    rows = list(panel.model.stems)
    panel.session.set_tag(panel.session.stems[0], 1, PRESENT)
    assert panel.rank.notice.isVisible() and "Tags changed" in panel.rank.notice.text()
    assert panel.rank.notice.property("wsss") == "warning"
    assert panel.model.stems == rows, "nothing jumps away"
    panel.rank.start_or_stop()
    qtbot.waitUntil(lambda: not panel.rank.notice.isVisible())


def test_order_and_filters_fold_away_and_still_say_what_counts(panel, qtbot):
    total = len(panel.model.stems)
    assert panel.fold.text() == f"{total} listed ▾" and panel.rank.isVisible()
    panel.fold.click()
    assert panel.fold.text() == f"{total} listed ▸" and not panel.rank.isVisible()
    assert not panel.text_filter.isVisible() and panel.list.isVisible() and panel.bulk.button.isVisible()
    panel.text_filter.setText(panel.model.stems[0])
    assert panel.fold.text() == "1 listed ▸"
    panel.text_filter.setText("no such image")
    assert panel.fold.text() == "0 listed ▸" and not panel.bulk.button.isVisible() and panel.empty.isVisible()
    panel.text_filter.clear()
    choose(panel.rank.choice, "tags")
    panel.rank.start_or_stop()
    qtbot.waitUntil(lambda: not panel.rank.working)
    panel.session.set_tag(panel.session.stems[0], 1, PRESENT)
    assert panel.fold.text() == f"⚠ {total} listed ▸", (
        "a stale ranking is told where its sentence is not seen"
    )
    panel.fold.click()
    assert panel.fold.text() == f"{total} listed ▾" and panel.rank.notice.isVisible()


def test_a_damaged_ranking_is_told_and_can_be_made_again(panel, qtbot):
    (panel.session.project.root / FILE).write_text('{"order": "tags"', encoding="utf-8")
    choose(panel.rank.choice, "tags")
    panel.refresh()
    assert "damaged" in panel.rank.notice.text() and panel.rank.notice.property("wsss") == "warning"
    panel.rank.start_or_stop()
    qtbot.waitUntil(lambda: bool(panel.rank.ranks))
    assert not panel.rank.notice.isVisible()


def test_orders_that_compare_ask_with_what(panel, qtbot):
    choose(panel.rank.choice, "change")
    against = panel.rank.against
    assert against.isVisible() and [against.itemData(i) for i in range(against.count())] == ["second"]
    panel.rank.start_or_stop()
    qtbot.waitUntil(lambda: not panel.rank.working)
    (job,) = panel.desk.engine.given(Queue)
    assert (job.order, job.labels, job.others) == ("change", "first", ("second",))
    assert panel.model.stems[1] == panel.session.stems[4], "the most changed behind the one without masks"
    choose(panel.rank.choice, "name")
    assert not against.isVisible() and panel.model.stems == list(panel.session.stems)
    choose(panel.rank.choice, "change")
    assert panel.rank.ranks, "going back to an order asks for no new ranking"


def test_what_cannot_be_ranked_says_why(panel, labelled):
    panel.corrections.choose_source("second")
    choose(panel.rank.choice, "margin")
    assert not panel.rank.go.isEnabled() and "no maps" in panel.rank.go.toolTip()
    assert panel.rank.job() is None
    assert "Explore page" in panel.rank.notice.text()


def test_ranking_tells_how_far_it_is_and_can_be_stopped(panel, qtbot):
    panel.desk.engine.answers.pop(Queue)
    choose(panel.rank.choice, "tags")
    panel.rank.start_or_stop()
    (job,) = panel.desk.engine.given(Queue)
    assert panel.rank.working and panel.rank.go.text() == "Stop" and panel.rank.progress.isVisible()
    panel.desk.engine.tell(job.id, Progress(done=2, total=6))
    assert (panel.rank.progress.value(), panel.rank.progress.maximum()) == (2, 6)
    qtbot.mouseClick(panel.rank.go, Qt.MouseButton.LeftButton)
    assert panel.desk.engine.stopped == [job.id]
    panel.desk.engine.end(job.id, Stopped())
    assert not panel.rank.working and panel.rank.go.text() == "Rank"
    assert panel.model.stems == list(panel.session.stems)


def approve(panel: QueuePanel, stem: str, state: str = "approved") -> None:
    panel.session.image = stem
    assert panel.corrections.show(stem) == ""
    assert panel.corrections.correction.set_state(state)


def test_a_decision_is_shown_and_counted_and_nothing_jumps(panel):
    stems = panel.session.stems
    approve(panel, stems[1])
    approve(panel, stems[2], "rejected")
    assert panel.model.stems == list(stems)
    assert panel.model.data(panel.model.index(1), Qt.ItemDataRole.UserRole + 1) == "approved"
    assert panel.counter.text() == "1 of 6 approved" and "1 rejected" in panel.counter.toolTip()
    assert panel.share.value() == 2
    panel.refilter()
    assert panel.model.stems == [s for s in stems if s not in stems[1:3]]
    choose(panel.state_filter, "approved")
    assert panel.model.stems == [stems[1]] and panel.found.text() == "1 of 6"
    choose(panel.state_filter, EVERY)
    assert len(panel.model.stems) == 6


def test_next_follows_the_queue_and_says_when_it_is_done(panel, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(panel.desk, "said", lambda level, text: said.append(text))
    stems = panel.session.stems
    choose(panel.rank.choice, "random")
    rows = list(panel.model.stems)
    assert rows != list(stems) or len(set(rows)) == 6
    panel.session.image = rows[0]
    for at, stem in enumerate(rows):
        assert panel.session.image == stem
        approve(panel, stem)
        panel.corrections.go(1)
        assert bool(said) == (at == 5)
    assert panel.session.image == rows[-1], "it stays where it is at the end"
    panel.corrections.go(-1)
    assert panel.session.image == rows[-2]
    panel.refilter()
    assert "Export" in panel.empty.text() and panel.empty.isVisible() and not panel.list.isVisible()


def test_time_left_appears_once_three_were_timed(panel):
    room = panel.corrections.room
    for stem in panel.session.stems[:3]:
        panel.corrections.show(stem)
        room.add_time(stem, 60.0)
        approve(panel, stem)
    assert panel.left.text() == "about 3 min left"
    root = panel.session.project.root
    panel.session.close()
    assert panel.left.text() == ""
    panel.session.open(root)
    panel.corrections.need()
    assert panel.left.text() == "about 3 min left", "the next day, too"


def test_filters_by_class_and_name_and_says_when_nothing_passes(panel):
    choose(panel.class_filter, 0)
    tags = panel.session.project.tags()
    assert panel.model.stems == [s for s in panel.session.stems if 0 in tags.present(s)]
    panel.text_filter.setText("no such name")
    assert panel.empty.text() == "No image passes the filters." and not panel.model.stems
    assert panel.following(panel.session.image, 1) is None, "the project's order counts then"
    panel.show_every()
    assert len(panel.model.stems) == 6


def test_without_a_project_it_says_so_and_offers_no_route(panel):
    panel.session.close()
    assert panel.empty.text() == "There are no images to correct."
    assert panel.corrections.route is None and panel.counter.text() == "0 of 0 approved"


def test_a_panel_that_is_gone_decides_nothing_any_more(panel):
    other = QueuePanel(panel.desk, panel.corrections)
    assert panel.corrections.route is other._route
    choose(other.rank.choice, "random")
    gone(other)
    panel.desk.forget_gone()
    assert panel.corrections.route(panel.session.stems[3], 1) is None
    panel.corrections.go(1)
    assert panel.session.image == panel.session.stems[1], "the project's order counts"
    panel.session.image = panel.session.stems[4]
    panel.refresh()
    assert panel.corrections.route is panel._route
    panel.corrections.go(1)
    assert panel.session.image == panel.session.stems[5]


def test_the_ending_of_a_ranking_of_another_project_changes_nothing_here(panel, small_project):
    panel.desk.engine.answers.pop(Queue)
    choose(panel.rank.choice, "tags")
    panel.rank.start_or_stop()
    (job,) = panel.desk.engine.given(Queue)
    panel.session.close()
    panel.desk.engine.end(job.id, Finished(result={}))
    assert not panel.rank.working and panel.model.stems == []


def test_every_order_has_words_and_a_sentence(panel):
    assert list(ORDERS) == ["margin", "disagreement", "change", "tags", "class", "name", "random"]
    for at in range(panel.rank.choice.count()):
        assert len(panel.rank.choice.itemData(at, Qt.ItemDataRole.ToolTipRole)) > 20
