"""Corrected masks follow classes that are merged and taken back; nothing is half done, whatever is killed when."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from engine import images
from engine.edits import EditRoom, JournalDamaged, corrected
from engine.errors import UserError
from engine.store import Image, create, open_project
from engine.tags import Tags

_SIZE = (12, 16)
_STEMS = ("one", "two", "three")


@pytest.fixture
def project(tmp_path):
    (tmp_path / "images").mkdir()
    listed = []
    for n, stem in enumerate(_STEMS):
        path = tmp_path / "images" / f"{stem}.png"
        Pillow.fromarray(np.full((*_SIZE, 3), 40 * n, np.uint8)).save(path)
        listed.append(Image(stem, path.name, *_SIZE, sha256=images.digest(path)))
    tags = Tags(("cat", "dog", "cow"), _STEMS, np.zeros((3, 3), np.int8))
    return create(tmp_path / "project", images=listed, image_folder=tmp_path / "images", tags=tags)


def drawn(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.array([0, 1, 2, 3, 255], np.uint8), _SIZE)


def paint(room, stem, after, proposal=None):
    sheet = room.load(stem, proposal)
    room.commit(sheet, "Brush", "brush", (0, 0, *_SIZE), after)
    return sheet


def as_cat(mask):
    return np.where(mask == 2, np.uint8(1), mask)


@pytest.fixture
def room(project):
    with EditRoom.open(project, who="ada") as room:
        for n, stem in enumerate(_STEMS[:2]):
            paint(room, stem, drawn(n))
        room.set_state("two", "approved")
        yield room


def test_masks_follow_a_merge_and_its_end_approved_ones_too(project, room):
    before = {p.name: images.read_mask(p).tolist() for p in _flushed(room, project)}
    project.merge_classes("dog", "cat")
    assert not room.follows
    assert list(room.follow_merges()) == ["one", "two"] and room.follows
    assert list(room.follow_merges()) == []
    for n, stem in enumerate(_STEMS[:2]):
        assert (room.load(stem).mask == as_cat(drawn(n))).all()
        assert room.steps(stem)[-1].name == "Merge: dog into cat"
    assert room.state("two") == "approved" and not room.decided(room.load("three")).any()
    project.take_back_merge()
    assert (corrected(project).read("two") == drawn(1)).all()  # also before the masks follow
    assert sorted(room.follow_merges()) == ["one", "two"] and room.follows
    for n, stem in enumerate(_STEMS[:2]):
        assert (room.load(stem).mask == drawn(n)).all()
        assert room.steps(stem)[-1].name == "Merge taken back: dog, cat"
    assert room.state("two") == "approved" and room.state("one") == "in progress"
    assert {p.name: images.read_mask(p).tolist() for p in _flushed(room, project)} == before
    assert list(room.follow_merges()) == []


def _flushed(room, project):
    room.flush()
    return sorted((project.root / "edited").glob("*.png"))


def test_what_was_drawn_since_stays_and_each_step_can_be_undone(project, room):
    project.merge_classes("dog", "cat")
    list(room.follow_merges())
    sheet = room.load("one")
    after = sheet.mask[:4].copy()
    after[0], after[1], after[2] = 3, 0, 1
    room.commit(sheet, "Brush", "brush", (0, 0, 4, 16), after)
    room.commit(sheet, "Brush", "brush", (1, 0, 2, 16), np.ones((1, 16), np.uint8))
    cat = drawn(0) == 1
    project.take_back_merge()
    list(room.follow_merges())
    assert (sheet.mask[3:] == drawn(0)[3:]).all()
    assert (sheet.mask[0] == 3).all() and (sheet.mask[1] == 1).all()
    # The third row was painted over with what stood there, wherever the merge had put it.
    assert (sheet.mask[2] == np.where(drawn(0)[2] == 2, 2, 1)).all() and cat.any()
    for _ in range(4):
        room.undo(sheet)
    assert (sheet.mask == drawn(0)).all()
    while room.redo(sheet) is not None:
        pass
    assert (sheet.mask[3:] == drawn(0)[3:]).all()


def test_a_merge_step_that_was_undone_on_one_image_is_not_taken_back_twice(project, room):
    project.merge_classes("dog", "cat")
    list(room.follow_merges())
    sheet = room.load("one")
    room.undo(sheet)
    assert (corrected(project).read("one") == as_cat(drawn(0))).all()
    project.take_back_merge()
    assert list(room.follow_merges()) == ["two"]
    assert (sheet.mask == drawn(0)).all() and (corrected(project).read("one") == drawn(0)).all()


def test_nobody_s_mask_begins_by_a_merge(project, room):
    proposal = "crf", drawn(7)
    sheet = room.load("three", proposal)
    room.add_time("three", 5)  # the journal knows the image, and no mask of it
    project.merge_classes("dog", "cat")
    list(room.follow_merges())
    assert room.steps("three") == [] and sheet.cursor is None


def test_merging_says_nothing_of_what_a_person_decided(project, room):
    sheet = room.load("three", ("crf", drawn(7)))
    room.commit(sheet, "Brush", "brush", (0, 0, 1, 1), np.uint8([[0 if drawn(7)[0, 0] else 1]]))
    project.merge_classes("dog", "cat")
    list(room.follow_merges())
    assert int(room.decided(sheet).sum()) == 1
    project.take_back_merge()
    list(room.follow_merges())
    assert int(room.decided(sheet).sum()) == 1


@pytest.mark.parametrize("after", [0, 1, 2])
def test_following_that_was_broken_off_is_ended_at_the_next_opening(project, after):
    with EditRoom.open(project) as room:
        for n, stem in enumerate(_STEMS):
            paint(room, stem, drawn(n))
    for wanted in (as_cat, lambda mask: mask):
        if project.merges:
            project.take_back_merge()
        else:
            project.merge_classes("dog", "cat")
        with EditRoom.open(project) as room:
            following = room.follow_merges()
            for _ in range(after):
                next(following)
            following.close()
        project = open_project(project.root)
        for n, stem in enumerate(_STEMS):
            assert (corrected(project).read(stem) == wanted(drawn(n))).all()
        with EditRoom.open(project) as room:
            assert not room.follows and len(list(room.follow_merges())) == 3 - after
            assert room.follows
            for n, stem in enumerate(_STEMS):
                assert (room.load(stem).mask == wanted(drawn(n))).all()


def test_a_merge_taken_back_before_any_mask_followed(project, room):
    project.merge_classes("dog", "cat")
    next(following := room.follow_merges())
    following.close()
    project.take_back_merge()
    project.merge_classes("cow", "cat")
    list(room.follow_merges())
    assert room.follows
    for n, stem in enumerate(_STEMS[:2]):
        assert (room.load(stem).mask == np.where(drawn(n) == 3, 1, drawn(n))).all()
    project.take_back_merge()
    list(room.follow_merges())
    assert all((room.load(stem).mask == drawn(n)).all() for n, stem in enumerate(_STEMS[:2]))


def test_an_image_that_cannot_be_opened_is_told_and_done_later(project, room):
    path = project.path("one")
    picture = path.read_bytes()
    room.flush()
    Pillow.fromarray(np.full((*_SIZE, 3), 250, np.uint8)).save(path)
    project.merge_classes("dog", "cat")
    done = []
    with pytest.raises(UserError, match="another file"):
        done.extend(room.follow_merges())
    assert not room.follows and (room.load("two").mask == as_cat(drawn(1))).all()
    path.write_bytes(picture)
    assert list(room.follow_merges()) == ["one"] and room.follows


@pytest.mark.parametrize(
    "said", ["[", "[[1]]", '[["a", 0, 1, []]]', '[["a", 1, 300, []]]', '{"a": 1}', "[null]"]
)
def test_a_journal_that_says_nonsense_of_merges_is_damaged(project, room, said):
    room._journal.base.execute("INSERT OR REPLACE INTO facts VALUES ('merges', ?)", (said,))
    with pytest.raises(JournalDamaged, match="merged classes"):
        list(room.follow_merges())


def test_looking_only_follows_nothing(project, room):
    project.merge_classes("dog", "cat")
    with EditRoom.open(project, read_only=True) as reader, pytest.raises(UserError, match="reading only"):
        next(reader.follow_merges())


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_kill_at_any_moment_leaves_nothing_half_done():
    script = Path(__file__).with_name("kill_merges.py")
    done = subprocess.run(
        [sys.executable, str(script), "5"],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=script.parents[1],
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("5 kills, ") and "nothing half done" in done.stdout
