"""The session of a viewer: what it tells and in which order."""

from __future__ import annotations

import pytest
from napari.components import ViewerModel
from napari.utils._proxies import PublicOnlyProxy

from engine.errors import UserError
from engine.store import open_project
from engine.tags import ABSENT, PRESENT, UNKNOWN
from wsss_napari.session import Session, session_of


@pytest.fixture
def session(small_project):
    session = Session()
    session.open(small_project.root)
    return session


def test_opening_shows_the_first_image_and_a_class_that_it_has(session, small_project):
    assert session.project.root == small_project.root
    assert session.image == small_project.usable[0]
    assert session.cls in small_project.tags().present(session.image)


def test_a_page_that_hears_of_a_project_finds_nothing_of_the_old_one(session, small_project):
    seen = []
    session.events.project.connect(lambda p: seen.append((p is not None, session.image, session.run)))
    session.open(small_project.root)
    session.close()
    assert seen == [(True, None, None), (False, None, None)]


def test_opening_what_is_no_project_keeps_the_open_one(session, tmp_path):
    before = session.project
    with pytest.raises(UserError, match="no project"):
        session.open(tmp_path)
    assert session.project is before and session.image is not None


def test_opening_a_project_with_damaged_tags_keeps_the_open_one(session, small_project, tmp_path):
    before = session.project
    with (small_project.root / "tags.csv").open("a") as file:
        file.write("im_000,elephant,present,me,now\n")
    with pytest.raises(UserError, match="elephant"):
        session.open(small_project.root)
    assert session.project is before


def test_images_are_walked_to_both_ends_and_no_further(session):
    stems = session.stems
    session.previous_image()
    assert session.image == stems[0]
    for _ in range(len(stems) + 3):
        session.next_image()
    assert session.image == stems[-1]
    session.jump(stems[2])
    assert session.image == stems[2]
    with pytest.raises(UserError, match="no image 'nowhere'"):
        session.jump("nowhere")


def test_classes_go_round_and_round(session):
    start = session.cls
    for _ in session.project.classes:
        session.next_class()
    assert session.cls == start
    session.next_class(-1)
    assert session.cls == (start - 1) % 3


def test_a_tag_is_written_told_and_undone(session):
    stem = session.stems[0]
    old = session.tag(stem, 2)
    told = []
    session.tags_changed.connect(told.append)
    new = PRESENT if old != PRESENT else ABSENT
    session.set_tag(stem, 2, new)
    assert session.tag(stem, 2) == new
    assert open_project(session.project.root).tags().row(stem)[2] == new, "it is on disk at once"
    session.history.undo()
    assert session.tag(stem, 2) == old
    session.history.redo()
    assert session.tag(stem, 2) == new
    assert told == [(stem,)] * 3


def test_many_tags_are_one_deed_and_those_that_stand_are_left_out(session):
    before = session.project.tags().states.copy()
    stem = session.stems[0]
    standing = [(stem, c, session.tag(stem, c)) for c in range(3)]
    session.set_tags(standing)
    assert session.history.names == ()
    session.set_tags([(s, 0, UNKNOWN) for s in session.stems])
    assert len(session.history.names) == 1
    assert (session.project.tags().states[:, 0] == UNKNOWN).all()
    session.history.undo()
    assert (session.project.tags().states == before).all()


def test_another_project_forgets_the_history(session, small_project):
    session.set_tags(
        [(session.stems[0], 0, UNKNOWN), (session.stems[0], 1, UNKNOWN), (session.stems[0], 2, UNKNOWN)]
    )
    assert session.history.names
    session.open(small_project.root)
    assert session.history.names == () and session.history.undone_names == ()


def test_a_class_is_added_and_told(session):
    told = []
    session.classes_changed.connect(lambda: told.append(True))
    session.add_class("violet")
    assert session.project.classes[-1] == "violet" and told == [True]
    assert len(session.project.colours) == 4
    assert (session.project.tags().states[:, 3] == UNKNOWN).all(), "nobody has said that it is absent"
    with pytest.raises(UserError):
        session.add_class("violet")


def test_each_viewer_has_its_own_session_and_its_proxies_share_it():
    one, two = ViewerModel(), ViewerModel()
    assert session_of(one) is session_of(PublicOnlyProxy(one))
    assert session_of(one) is not session_of(two)


def test_a_session_without_a_project_does_nothing_and_raises_nothing():
    session = Session()
    session.next_image()
    session.next_class()
    session.set_tag("x", 0, PRESENT)
    session.add_class("y")
    session.close()
    assert session.stems == () and session.chosen_run is None
