"""The Tags page, driven by keys as a person drives it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QWidget

from engine.messages import Failed, Finished, New
from engine.store import Image, create
from engine.tags import ABSENT, PRESENT, UNKNOWN, Tags
from wsss_napari.dock import Dock
from wsss_napari.image_list import ImageList, ImageModel, matching
from wsss_napari.pages import PAGES
from wsss_napari.pages.new_project import count_images
from wsss_napari.pages.tags import changes_from
from wsss_napari.thumbnails import Thumbnails

TAGS = tuple(e for e in PAGES if e.name == "tags")
SHIFT, CTRL = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def dock(small_project, qtbot):
    """The dock on a viewer without a window, which comes up in a tenth of the time; test_dock has the window."""
    viewer = ViewerModel()
    made = Dock(viewer, TAGS)
    qtbot.addWidget(made)
    made.session.open(small_project.root)
    made.resize(380, 760)
    yield made
    made.desk.close()


@pytest.fixture
def page(dock):
    return dock.current


@pytest.fixture
def said(dock, monkeypatch):
    heard: list[tuple[str, str]] = []
    monkeypatch.setattr(dock.desk, "said", lambda level, text: heard.append((level, text)))
    return heard


def states(page, stem=None):
    session = page.session
    return [int(s) for s in session.project.tags().row(stem or session.image)]


def clear(page):
    page.session.set_tags([(s, c, UNKNOWN) for s in page.session.stems for c in range(3)])


def test_digits_tag_and_undo_takes_it_back(page, qtbot):
    clear(page)
    keys = page.images
    qtbot.keyClick(keys, Qt.Key.Key_2)
    assert states(page) == [UNKNOWN, PRESENT, UNKNOWN]
    assert page.session.cls == 1, "the class just tagged is the one talked about"
    qtbot.keyClick(keys, Qt.Key.Key_1, SHIFT)
    assert states(page) == [ABSENT, PRESENT, UNKNOWN]
    qtbot.keyClick(keys, Qt.Key.Key_2)
    assert states(page) == [ABSENT, UNKNOWN, UNKNOWN]
    qtbot.keyClick(keys, Qt.Key.Key_1, CTRL)
    assert states(page) == [UNKNOWN, UNKNOWN, UNKNOWN]
    for expected in ([ABSENT, UNKNOWN, UNKNOWN], [ABSENT, PRESENT, UNKNOWN], [UNKNOWN, PRESENT, UNKNOWN]):
        qtbot.keyClick(keys, Qt.Key.Key_Z, CTRL)
        assert states(page) == expected
    qtbot.keyClick(keys, Qt.Key.Key_Z, CTRL | SHIFT)
    assert states(page) == [ABSENT, PRESENT, UNKNOWN]


def test_a_digit_without_a_class_does_nothing(page, qtbot):
    before = states(page)
    qtbot.keyClick(page.images, Qt.Key.Key_9)
    assert states(page) == before and page.session.history.names == ()


def test_several_chosen_images_are_tagged_as_one_deed(page, qtbot):
    clear(page)
    page.images.selectAll()
    assert page.targets() == list(page.session.stems)
    qtbot.keyClick(page.images, Qt.Key.Key_3)
    assert (page.session.project.tags().states[:, 2] == PRESENT).all()
    assert page.session.history.names[-1] == "blue in 6 images"
    page.session.history.undo()
    assert (page.session.project.tags().states == UNKNOWN).all()


def test_space_goes_to_the_next_untagged_image_round_the_end(page, said, qtbot):
    stems = page.session.stems
    page.session.set_tags([(stems[s], c, UNKNOWN) for s in (1, 4) for c in range(3)])
    page.session.image = stems[2]
    qtbot.keyClick(page.images, Qt.Key.Key_Space)
    assert page.session.image == stems[4] and page.images.chosen() == [stems[4]]
    qtbot.keyClick(page.images, Qt.Key.Key_Space)
    assert page.session.image == stems[1]
    qtbot.keyClick(page.images, Qt.Key.Key_1)
    qtbot.keyClick(page.images, Qt.Key.Key_Space)
    qtbot.keyClick(page.images, Qt.Key.Key_1)
    qtbot.keyClick(page.images, Qt.Key.Key_Space)
    assert said[-1] == ("info", "Every image is tagged.")


def test_space_finds_an_image_that_the_filters_hide(page, qtbot):
    stems = page.session.stems
    page.session.set_tags([(stems[5], c, UNKNOWN) for c in range(3)])
    page.text_filter.setText("im_000")
    page.images.setFocus()
    assert page.model.stems == ["im_000"]
    page.next_untagged()
    assert page.session.image == stems[5] and page.model.stems == list(stems)


def test_zero_names_a_class_by_typing_and_a_new_one_is_added_when_entered_twice(page, said, qtbot):
    clear(page)
    qtbot.keyClick(page.images, Qt.Key.Key_0)
    assert page.window().focusWidget() is page.type_box
    qtbot.keyClicks(page.type_box, "Blue")
    qtbot.keyClick(page.type_box, Qt.Key.Key_Return)
    assert states(page) == [UNKNOWN, UNKNOWN, PRESENT] and page.type_box.text() == ""
    assert page.window().focusWidget() is page.images
    qtbot.keyClicks(page.type_box, "violet")
    qtbot.keyClick(page.type_box, Qt.Key.Key_Return)
    assert len(page.session.project.classes) == 3 and "Press Enter again" in said[-1][1]
    qtbot.keyClick(page.type_box, Qt.Key.Key_Return)
    assert page.session.project.classes[3] == "violet" and states(page)[3] == PRESENT


def test_digits_typed_into_a_field_tag_nothing(page, qtbot):
    before = states(page)
    page.text_filter.setFocus()
    qtbot.keyClicks(page.text_filter, "12 3")
    assert page.text_filter.text() == "12 3" and states(page) == before
    assert page.model.stems == [] and not page.none_found.isHidden()


def test_filters_by_state_class_and_text(page):
    clear(page)
    stems = page.session.stems
    set_tags = page.session.set_tags
    set_tags([(stems[0], 0, PRESENT), (stems[1], 0, ABSENT), *((stems[2], c, ABSENT) for c in range(3))])

    def shown(state: str, cls: int | None = None, text: str = "") -> list[str]:
        page.state_filter.setCurrentIndex(page.state_filter.findData(state))
        page.class_filter.setCurrentIndex(page.class_filter.findData(cls))
        page.text_filter.setText(text)
        page._filter()
        return page.model.stems

    assert shown("untagged") == list(stems[3:])
    assert shown("present") == [stems[0]]
    assert shown("absent") == [stems[2]], "all classes decided, none present"
    assert shown("unknown") == [s for s in stems if s != stems[2]]
    assert shown("present", 0) == [stems[0]] and shown("present", 1) == []
    assert shown("absent", 0) == [stems[1], stems[2]]
    assert shown("unknown", 0) == list(stems[3:])
    assert shown("any", None, "IM_003") == ["im_003"]
    assert page.found.text() == "1 of 6"


def test_a_tag_that_fails_the_filter_does_not_make_the_image_jump_away(page, qtbot):
    clear(page)
    page.state_filter.setCurrentIndex(page.state_filter.findData("untagged"))
    page._filter()
    stems = page.model.stems
    qtbot.keyClick(page.images, Qt.Key.Key_1)
    assert page.model.stems == stems, "the list stays until a filter is changed"
    page._filter()
    assert page.model.stems == stems[1:]


def test_counter_and_balance_follow(page, qtbot):
    clear(page)
    assert page.counter.text() == "0 of 6 images tagged" and page.share.value() == 0
    qtbot.keyClick(page.images, Qt.Key.Key_1)
    assert page.counter.text() == "1 of 6 images tagged" and page.share.value() == 1
    (name, _, count), *_ = page.balance._rows
    assert (name, *count) == ("red", 1, 0, 5)


def test_list_and_session_follow_each_other(page, qtbot):
    stems = page.session.stems
    page.session.image = stems[3]
    assert page.images.chosen() == [stems[3]]
    qtbot.keyClick(page.images, Qt.Key.Key_Right)
    assert page.session.image == stems[4]
    page.images.choose(page.model.place(stems[0]))
    assert page.session.image == stems[0]


def test_thumbnails_come_and_a_broken_image_says_why(page, small_project, qtbot):
    small_project.path("im_005").write_bytes(b"no image")
    page._thumbnails.open(small_project)
    for stem in small_project.usable:
        page._thumbnails.get(stem)
    qtbot.waitUntil(lambda: not page.busy)
    assert page._thumbnails.get("im_000").width() == 64
    assert page._thumbnails.get("im_005") is None and "im_005" in page._thumbnails.fault("im_005")
    tip = page.model.place("im_005").data(Qt.ItemDataRole.ToolTipRole)
    assert "im_005" in tip and page._thumbnails.fault("im_005") in tip


def test_thumbnails_go_when_memory_is_full(small_project, qtbot):
    thumbnails = Thumbnails(8)
    thumbnails.open(small_project)
    thumbnails._limit = 4 * 48 * 64 * 2  # room for two
    for stem in small_project.usable:
        thumbnails.get(stem)
        qtbot.waitUntil(lambda: not thumbnails.pending)
    assert len(thumbnails._kept) == 2 and thumbnails._bytes <= thumbnails._limit
    assert thumbnails.get(small_project.usable[-1]) is not None
    thumbnails.close()


def test_tags_are_imported_and_taken_back(page, said, tmp_path, qtbot):
    clear(page)
    file = tmp_path / "more.csv"
    file.write_text("image,tags\nim_000,red;violet\nim_001,blue\n")
    page.take_paths([file])
    qtbot.waitUntil(lambda: not page.busy)
    assert page.session.project.classes == ("red", "green", "blue", "violet")
    assert states(page, "im_000")[0] == PRESENT and states(page, "im_000")[3] == PRESENT
    assert states(page, "im_001")[2] == PRESENT
    assert page.session.history.names[-1] == "tags of more.csv"
    page.session.history.undo()
    assert (page.session.project.tags().states == UNKNOWN).all()


def test_a_bad_tag_file_is_a_sentence_with_its_line(page, said, tmp_path, qtbot):
    before = page.session.project.tags().states.copy()
    file = tmp_path / "bad.csv"
    file.write_text("image,tags\nim_000,red\nnobody,blue\n")
    page.import_tags(file)
    qtbot.waitUntil(lambda: bool(said))
    level, text = said[0]
    assert level == "error" and "line 3" in text and "nobody" in text
    assert np.array_equal(page.session.project.tags().states, before)


def test_what_an_imported_list_leaves_unknown_stays():
    now = Tags(("cat", "dog"), ("a", "b"), np.array([[PRESENT, ABSENT], [UNKNOWN, UNKNOWN]]))
    read = Tags(
        ("dog", "cow"), ("b", "c", "a"), np.array([[PRESENT, PRESENT], [PRESENT, PRESENT], [UNKNOWN, ABSENT]])
    )
    assert changes_from(read, now) == [("b", 1, PRESENT)]


# A new project


class Answers:
    """An engine that keeps the job and answers when told."""

    def __init__(self) -> None:
        self.given: list[tuple] = []
        self.jobs: list = []

    def submit(self, job, *, then=None):
        self.given.append((job, then))
        return job.id

    busy = False
    answering = True

    def close(self) -> None:
        pass


@pytest.fixture
def empty(dock, monkeypatch):
    dock.session.close()
    answers = Answers()
    dock.desk._engine = answers
    return dock.current, answers


def test_without_a_project_the_page_says_what_one_is_and_offers_to_make_it(empty, qtbot):
    page, _ = empty
    assert "No project is open" in page.hint
    qtbot.mouseClick(page._hint_button, Qt.MouseButton.LeftButton)
    assert not page.new.isHidden() and page._hint.isHidden() and page.hint == ""
    assert not page.new.create.isEnabled()
    qtbot.mouseClick(page.new.cancel, Qt.MouseButton.LeftButton)
    assert page.new.isHidden() and page.hint


def test_a_project_is_made_from_dropped_files(empty, small_project, tmp_path, qtbot):
    page, answers = empty
    page.take_paths([tmp_path / "images", tmp_path / "tags.csv"])
    new = page.new
    assert new.counted.text() == "6 images"
    assert new.root.text() == str(tmp_path / "images_project"), "a free name is proposed"
    assert new.create.isEnabled()
    line = page.command()
    assert line.startswith("wsss new ") and "--tags" in line and "--images" in line
    qtbot.mouseClick(new.create, Qt.MouseButton.LeftButton)
    ((job, then),) = answers.given
    assert isinstance(job, New) and job.images == str(tmp_path / "images") and job.class_names == ()
    assert not new.create.isEnabled(), "a second click starts no second job"
    then(Failed(job=job.id, message="tags.csv, line 3: no image 'x'.", mistake=True))
    assert "line 3" in new.fault.text() and new.create.isEnabled() and page.session.project is None
    qtbot.mouseClick(new.create, Qt.MouseButton.LeftButton)
    job, then = answers.given[-1]
    from engine.run import run

    assert isinstance(list(run(job))[-1], Finished)
    then(Finished(job=job.id, result={}))
    assert page.session.project.root == tmp_path / "images_project"
    assert page.new.isHidden() and page.model.rowCount() == 6


def test_classes_can_be_typed_when_there_is_no_tag_file_yet(empty, tmp_path, small_project):
    page, _ = empty
    page.ask_new([tmp_path / "images"])
    new = page.new
    assert not new.create.isEnabled(), "neither tags nor classes"
    assert new.counted.text() == "6 images · now give tags or classes"
    new.classes.setText("cat, , dog ")
    job = new.job()
    assert job.class_names == ("cat", "dog") and job.tags is None
    new.truth.set_text(str(tmp_path / "truth"))
    new.truth_classes.setText("voc")
    assert (new.job().truth, new.job().truth_classes) == (str(tmp_path / "truth"), "voc")


def test_the_bundled_sample_is_one_click_away(empty, qtbot):
    page, _ = empty
    page.ask_new()
    qtbot.mouseClick(page.new.sample, Qt.MouseButton.LeftButton)
    job = page.new.job()
    assert page.new.create.isEnabled() and "120 images" in page.new.counted.text()
    assert job.truth and Path(job.tags).is_file()
    classes = Path(job.tags).with_name("classes.txt").read_text().split()
    assert classes == sorted(classes), "masks are read in the order in which the tag file gives the classes"
    assert not Path(job.project).exists()


def test_counting_images_waits_for_nothing(tmp_path):
    assert count_images(tmp_path) == "0 images"
    (tmp_path / "a.JPG").touch()
    (tmp_path / "a.txt").touch()
    assert count_images(tmp_path) == "1 image"
    assert count_images(tmp_path / "nowhere").startswith("cannot be read")


def test_images_set_aside_are_mentioned(dock, tmp_path):
    images = [Image("a", "a.png", 48, 64), Image("b", "b.png", 0, 0, aside="it is empty")]
    project = create(
        tmp_path / "other", images=images, image_folder=tmp_path / "images", tags=Tags.blank(("cat",), ("a",))
    )
    dock.session.open(project.root)
    aside = dock.current.aside
    assert aside.text() == "⚠ 1 of 2 images set aside" and "it is empty" in aside.toolTip()


# Ten thousand images


def many(count: int) -> Tags:
    random = np.random.default_rng(0)
    classes = tuple(f"class {c}" for c in range(20))
    return Tags(
        classes,
        tuple(f"im_{n:06d}" for n in range(count)),
        random.integers(-1, 2, (count, 20)).astype(np.int8),
    )


def test_ten_thousand_images_are_listed_filtered_and_scrolled_without_a_wait(qtbot, qapp):
    tags = many(10_000)
    view = ImageList()
    qtbot.addWidget(view)
    asked: list[str] = []
    thumbnails = Thumbnails()
    thumbnails.get = lambda stem: asked.append(stem)
    model = ImageModel(thumbnails)
    view.setModel(model)
    view.set_colours(("#0072B2",) * 20, "#4560C4", 3)
    view.resize(370, 500)
    view.show()
    qtbot.waitExposed(view)
    began = time.perf_counter()
    model.show(tags, matching(tags))
    QApplication.processEvents()
    listed = time.perf_counter() - began
    assert model.rowCount() == 10_000
    began = time.perf_counter()
    for state, cls, text in (
        ("present", 3, ""),
        ("untagged", None, ""),
        ("any", None, "0012"),
        ("any", None, ""),
    ):
        model.show(tags, matching(tags, state, cls, text))
        QApplication.processEvents()
    filtered = (time.perf_counter() - began) / 4
    asked.clear()
    bar = view.verticalScrollBar()
    began = time.perf_counter()
    for step in range(20):
        bar.setValue(bar.maximum() * step // 20)
        QApplication.processEvents()
    scrolled = (time.perf_counter() - began) / 20
    # Generous limits: a loaded machine must not fail a list that a person would call smooth.
    assert listed < 1.0 and filtered < 0.5 and scrolled < 0.1, (listed, filtered, scrolled)
    assert len(set(asked)) < 20 * 30, "only what comes into view is asked for"
    assert len(view.findChildren(QWidget)) < 20, "no widget a row"


def test_only_what_is_in_view_is_read(small_project, monkeypatch):
    read: list[Path] = []

    def slow(path: Path, side: int) -> np.ndarray:
        time.sleep(0.05)
        read.append(path)
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr("wsss_napari.thumbnails.thumbnail", slow)
    monkeypatch.setattr("engine.store.project.Project.path", lambda self, stem: Path(stem))
    thumbnails = Thumbnails()
    thumbnails.open(small_project)
    for n in range(500):
        thumbnails.get(f"im_{n}")
    assert thumbnails.pending <= 50, "what scrolled by is forgotten"
    thumbnails.close()
    assert len(read) <= 4 and thumbnails.pending == 0
