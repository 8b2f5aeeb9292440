"""The edit room: steps, undo across images and restarts, proposals, review states, bulk edits, and what jobs read."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image as Pillow

from engine import images
from engine.edits import STATES, EditRoom, corrected
from engine.edits.delta import BrokenStep, pack, unpack
from engine.errors import UserError
from engine.store import Image, create, open_project
from engine.store.label_sets import label_set
from engine.tags import Tags

_SIZE = (30, 40)


def _project(root: Path, stems=("one", "two", "three"), size=_SIZE):
    (root / "images").mkdir(parents=True)
    listed = []
    for n, stem in enumerate(stems):
        path = root / "images" / f"{stem}.png"
        Pillow.fromarray(np.full((*size, 3), 40 * n, np.uint8)).save(path)
        listed.append(Image(stem, path.name, *size, sha256=images.digest(path)))
    tags = Tags(("cat", "dog"), tuple(stems), np.zeros((len(stems), 2), np.int8))
    return create(root / "project", images=listed, image_folder=root / "images", tags=tags)


@pytest.fixture
def project(tmp_path):
    return _project(tmp_path)


@pytest.fixture
def room(project):
    with EditRoom.open(project, who="ada") as room:
        yield room


def _crf(value=1) -> tuple[str, np.ndarray]:
    return "crf", np.full(_SIZE, value, np.uint8)


def _paint(room, sheet, value, box=(2, 3, 7, 9), **more):
    shape = (box[2] - box[0], box[3] - box[1])
    return room.commit(sheet, f"Paint {value}", "brush", box, np.full(shape, value, np.uint8), **more)


# ---- steps


def test_a_step_is_told_whole_and_the_mask_is_read_only(room):
    sheet = room.load("one", _crf())
    step = room.commit(
        *(
            sheet,
            "Brush: cat",
            "brush",
            (0, 0, 10, 10),
            np.pad(np.full((4, 5), 2, np.uint8), ((3, 3), (2, 3))),
        ),
        {"radius": np.int64(4), "at": np.array([1, 2]), "path": Path("x")},
        batch="b",
    )
    assert step is not None and step.done and step.parent is None
    assert (step.name, step.tool, step.who, step.batch) == ("Brush: cat", "brush", "ada", "b")
    assert step.params == {"radius": 4, "at": [1, 2], "path": "x"}
    assert step.box == (0, 0, 10, 10) and step.pixels == 100  # zeros changed as well
    assert abs(step.when - time.time()) < 60
    assert room.steps("one") == [step] and sheet.state == "in progress" and sheet.size == _SIZE
    with pytest.raises(ValueError, match="read-only"):
        sheet.mask[0, 0] = 1


def test_nothing_changed_is_no_step(room):
    sheet = room.load("one", _crf())
    assert _paint(room, sheet, 1) is None and _paint(room, sheet, 2, (3, 3, 3, 9)) is None
    assert room.states() == {} and room.steps("one") == [] and sheet.state == "proposed"
    assert room.undo(sheet) is None and room.redo(sheet) is None and room.revert(sheet) is None


def test_a_proposal_alone_leaves_no_trace(project):
    with EditRoom.open(project) as room:
        room.load("one", _crf())
        room.load("two")
    assert not (project.root / "edited").exists() and corrected(project, None).stems() == ()
    with EditRoom.open(project) as room:
        assert room.load("one").state == "unseen" and not room.load("one").mask.any()


def test_another_proposal_takes_the_place_of_one_that_nobody_drew_on(room):
    sheet = room.load("one", _crf(1))
    assert room.load("one", ("irn", np.full(_SIZE, 2, np.uint8))) is sheet
    assert (sheet.mask == 2).all() and sheet.source == "irn"
    assert room.load("one") is sheet and (sheet.mask == 2).all()
    _paint(room, sheet, 0)
    assert room.load("one", _crf(1)) is sheet and sheet.mask[0, 0] == 2 and sheet.source == "irn"


@pytest.mark.parametrize(
    ("box", "after"),
    [
        ((0, 0, 31, 4), np.zeros((31, 4), np.uint8)),
        ((-1, 0, 3, 4), np.zeros((4, 4), np.uint8)),
        ((5, 0, 3, 4), np.zeros((0, 4), np.uint8)),
        ((0, 0, 3, 4), np.zeros((4, 3), np.uint8)),
        ((0, 0, 3, 4), np.zeros((3, 4), np.int64)),
        ((0, 0, 3, 4), np.full((3, 4), 3, np.uint8)),
    ],
)
def test_a_step_that_does_not_fit_is_refused_and_changes_nothing(room, box, after):
    sheet = room.load("one", _crf())
    with pytest.raises((ValueError, UserError)):
        room.commit(sheet, "Brush", "brush", box, after)
    assert (sheet.mask == 1).all() and room.steps("one") == []


def test_undo_never_touches_another_image(room):
    one, two = room.load("one", _crf()), room.load("two", _crf())
    _paint(room, one, 2)
    before = two.mask.copy()
    assert room.undo(two) is None
    step = _paint(room, two, 255)
    room.load("one")
    assert room.undo(one) is not None and room.undo(one) is None
    assert (one.mask == 1).all() and (two.mask == 255).sum() == 30 and two.cursor == step.id
    room.undo(two)
    assert np.array_equal(two.mask, before)


def test_two_thousand_steps_undo_to_the_start_and_redo_after_a_restart(project):
    rng = np.random.default_rng(0)
    seen = []
    with EditRoom.open(project) as room:
        sheet = room.load("one", _crf())
        for _ in range(2000):
            y, x = int(rng.integers(0, 26)), int(rng.integers(0, 36))
            room.commit(
                sheet, "B", "brush", (y, x, y + 4, x + 4), rng.integers(0, 3, (4, 4)).astype(np.uint8)
            )
            seen.append(sheet.mask.copy())
    with EditRoom.open(project) as room:
        sheet = room.load("one", _crf())
        for mask in reversed(seen):
            assert np.array_equal(sheet.mask, mask)
            assert room.undo(sheet) is not None
        assert room.undo(sheet) is None and (sheet.mask == 1).all()
        assert len(room.steps("one")) == 2000 and not any(s.done for s in room.steps("one"))
        assert len(room.go_to(sheet, room.steps("one")[-1].id)) == 2000
        assert np.array_equal(sheet.mask, seen[-1])


def test_branches_are_kept_and_redo_takes_the_newest(room):
    sheet = room.load("one", _crf())
    first = _paint(room, sheet, 2)
    old = _paint(room, sheet, 255, (0, 0, 2, 2))
    kept = sheet.mask.copy()
    room.undo(sheet)
    new = _paint(room, sheet, 0, (0, 0, 1, 1))
    room.go_to(sheet, first.id)
    assert room.redo(sheet).id == new.id
    moved = room.go_to(sheet, old.id)
    assert [(s.id, s.done) for s in moved] == [(new.id, False), (old.id, True)]
    assert np.array_equal(sheet.mask, kept)
    assert [s.id for s in room.steps("one")] == [first.id, old.id]
    with pytest.raises(UserError, match="no step 999"):
        room.go_to(sheet, 999)
    two = room.load("two", _crf())
    other = _paint(room, two, 2)
    with pytest.raises(UserError, match="no step"):
        room.go_to(sheet, other.id)


def test_a_mask_changed_behind_the_rooms_back_is_damaged_not_guessed(room):
    sheet = room.load("one", _crf())
    _paint(room, sheet, 2)
    want = sheet.mask.copy()
    sheet.pixels[2:7, 3:9] = 0
    with pytest.raises(UserError, match="another one than it was made on"):
        room.undo(sheet)
    with pytest.raises(UserError, match="Open the image again"):
        _paint(room, sheet, 255)
    assert room.load("one") is sheet and np.array_equal(sheet.mask, want)
    assert room.undo(sheet) is not None


# ---- proposals and decisions


def test_adopting_changes_only_what_nobody_decided(room):
    sheet = room.load("one", _crf(1))
    _paint(room, sheet, 2)
    newer = np.full(_SIZE, 0, np.uint8)
    change = room.would_change(sheet, newer)
    assert not change[2:7, 3:9].any() and change.sum() == 30 * 40 - 30
    step = room.adopt(sheet, "irn", newer)
    assert step.tool == "adopt" and step.pixels == change.sum() and sheet.source == "irn"
    assert (sheet.mask[2:7, 3:9] == 2).all() and (sheet.mask == 0).sum() == change.sum()
    assert np.array_equal(sheet.proposal, newer) and room.adopt(sheet, "irn", newer) is None
    assert np.array_equal(room.decided(sheet), ~change)
    room.undo(sheet)
    assert sheet.source == "crf" and (sheet.proposal == 1).all() and (sheet.mask[0] == 1).all()
    room.redo(sheet)
    assert room.revert(sheet).name == "Back to the proposal"
    assert (sheet.mask == 0).all() and not room.decided(sheet).any()
    room.undo(sheet)
    assert (sheet.mask[2:7, 3:9] == 2).all() and np.array_equal(room.decided(sheet), ~change)


def test_a_proposal_that_changes_no_pixel_still_counts_from_then_on(project):
    with EditRoom.open(project) as room:
        sheet = room.load("one", _crf(1))
        room.set_state("one", "approved")
        room.set_state("one", "in progress")
        assert room.decided(sheet).all()  # a person looked at every pixel, and nothing is newer than that
        step = room.adopt(sheet, "irn", _crf(2)[1])
        assert step.pixels == 0 and (sheet.mask == 1).all()
        assert room.undo(sheet).id == step.id and sheet.source == "crf"
        room.redo(sheet)
    with EditRoom.open(project) as room:
        sheet = room.load("one", _crf(1))
        assert sheet.source == "irn" and (sheet.proposal == 2).all() and (sheet.mask == 1).all()
        room.revert(sheet)
        assert (sheet.mask == 2).all()


def test_a_proposal_that_does_not_fit_is_told(room):
    for wrong in (np.zeros((3, 3), np.uint8), np.zeros(_SIZE, np.int32), np.full(_SIZE, 9, np.uint8)):
        with pytest.raises(UserError, match="proposal"):
            room.load("one", ("crf", wrong))
    sheet = room.load("one", _crf())
    with pytest.raises(UserError, match="proposal"):
        room.adopt(sheet, "x", np.zeros((3, 3), np.uint8))


def test_reverting_without_a_proposal_goes_back_to_the_empty_start(room):
    sheet = room.load("one")
    _paint(room, sheet, 2)
    assert sheet.proposal is None and room.revert(sheet).tool == "revert" and not sheet.mask.any()
    room.undo(sheet)
    assert (sheet.mask == 2).sum() == 30


# ---- review


def test_states_notes_time_and_events(project):
    with EditRoom.open(project, who="ada") as room:
        room.set_state("two", "rejected", "blurred")
        room.set_note("one", "which cat?")
        room.set_note("one", "which cat?")
        room.add_time("one", 1.5)
        room.add_time("one", 2)
        for nothing in (-4.0, 0.0, float("nan"), float("inf")):
            room.add_time("one", nothing)
        assert room.states() == {"one": "unseen", "two": "rejected"} and room.times() == {"one": 3.5}
        assert [(e.kind, e.value, e.who) for e in room.events("two")] == [
            ("state", "rejected", "ada"),
            ("note", "blurred", "ada"),
        ]
        assert len(room.events("one")) == 1
        with pytest.raises(UserError, match="no image"):
            room.set_state("four", "skipped")
        for wrong in ("aproved", "damaged"):
            with pytest.raises(UserError, match="cannot be set"):
                room.set_state("one", wrong)
    with EditRoom.open(project) as room:
        sheet = room.load("two", _crf())
        assert (sheet.state, sheet.note, room.load("one").seconds) == ("rejected", "blurred", 3.5)
        assert (sheet.mask == 1).all()
    assert corrected(project, None).stems() == ()


@pytest.mark.parametrize("state", [s for s in STATES if s not in ("approved", "damaged")])
def test_a_step_makes_every_open_state_in_progress(room, state):
    sheet = room.load("one", _crf())
    room.set_state("one", state)
    _paint(room, sheet, 2)
    assert sheet.state == room.state("one") == "in progress"


def test_approved_masks_are_write_protected_until_reopened(project):
    with EditRoom.open(project) as room:
        sheet = room.load("one", _crf())
        _paint(room, sheet, 2)
        room.set_state("one", "approved")
        path = project.root / "edited" / "one.png"
        assert np.array_equal(images.read_mask(path), sheet.mask)
        want, bytes_then = sheet.mask.copy(), path.read_bytes()
        for act in (
            lambda: _paint(room, sheet, 0),
            lambda: room.undo(sheet),
            lambda: room.go_to(sheet, None),
            lambda: room.revert(sheet),
            lambda: room.adopt(sheet, "irn", np.zeros(_SIZE, np.uint8)),
        ):
            with pytest.raises(UserError, match="Reopen it first"):
                act()
        assert list(room.bulk("x", "x", lambda s, m: np.zeros_like(m), ["one"])) == []
        assert np.array_equal(sheet.mask, want) and room.decided(sheet).all()
        room.set_note("one", "fine")
        room.set_state("one", "in progress")
        assert room.undo(sheet) is not None
        room.redo(sheet)
        room.flush()
        assert path.read_bytes() == bytes_then


def test_approving_needs_a_mask_that_somebody_saw(room, project):
    with pytest.raises(UserError, match="Nobody has looked"):
        room.set_state("one", "approved")
    sheet = room.load("one", _crf())
    room.set_state("one", "approved")
    empty = room.load("two")
    room.set_state("two", "approved")
    assert corrected(project, ["approved"]).stems() == ("one", "two")
    assert (corrected(project).read("one") == 1).all() and not corrected(project).read("two").any()
    assert sheet.state == empty.state == "approved" and room.undo(room.load("three")) is None


def test_a_clock_that_goes_backwards_changes_no_order(room, monkeypatch):
    sheet = room.load("one", _crf())
    first = _paint(room, sheet, 2)
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    second = _paint(room, sheet, 0)
    monkeypatch.undo()
    assert second.when < first.when and [s.id for s in room.steps("one")] == [first.id, second.id]
    assert room.undo(sheet).id == second.id


def test_a_damaged_mask_stays_damaged_until_reviewed(project):
    with EditRoom.open(project) as room:
        _paint(room, room.load("one", _crf()), 2)
    (project.root / "edited" / "one.png").write_bytes(b"no png")
    with EditRoom.open(project) as room:
        sheet = room.load("one")
        _paint(room, sheet, 0)
        assert room.state("one") == "damaged" and room.events("one")[0].kind == "damaged"
    with EditRoom.open(project) as room:
        assert room.load("one").state == "damaged"
        room.set_state("one", "approved")
        assert room.load("one").state == "approved"


# ---- many images


def test_a_bulk_edit_is_one_step_an_image_and_can_be_taken_back_alone_or_together(room):
    sheets = {s: room.load(s, _crf(n)) for n, s in enumerate(("one", "two", "three"))}
    for sheet in sheets.values():
        _paint(room, sheet, 2)
    room.set_state("three", "approved")

    def cats(stem, mask):
        return np.where(mask == 2, 255, mask).astype(np.uint8)

    assert list(room.bulk("Dogs are unsure", "convert", cats, list(sheets), {"to": 255})) == ["one", "two"]
    last = room.steps("one")[-1]
    assert last.params == {"to": 255} and last.batch == room.steps("two")[-1].batch
    room.undo(sheets["one"])
    assert (sheets["one"].mask == 2).any() and not (sheets["two"].mask == 2).any()
    room.redo(sheets["one"])
    _paint(room, sheets["two"], 0, (0, 0, 1, 1))
    assert room.undo_batch(last.batch) == ["one"]
    assert (sheets["one"].mask == 2).sum() == 30 and (sheets["two"].mask == 255).any()
    assert list(room.bulk("All", "convert", cats, ["three"], approved=True)) == ["three"]
    assert room.state("three") == "approved"
    assert np.array_equal(images.read_mask(room.project.root / "edited" / "three.png"), sheets["three"].mask)


def test_bulk_passes_images_without_a_mask_over(room):
    assert list(room.bulk("x", "x", lambda s, m: np.ones_like(m), ["one", "two"])) == []
    assert room.states() == {}


def test_strokes_flushes_and_reading_from_threads_do_not_mix_up(project):
    with EditRoom.open(project) as room:
        sheets = [room.load(s, _crf()) for s in ("one", "two")]
        stop, faults = threading.Event(), []

        def flush():
            while not stop.is_set():
                try:
                    room.flush()
                    for stem in ("one", "two"):
                        corrected(project, None).stems()
                        room.states()
                        room.load(stem)
                except Exception as error:  # noqa: BLE001 - told by the test
                    faults.append(error)

        thread = threading.Thread(target=flush)
        thread.start()
        rng = np.random.default_rng(0)
        for n in range(150):
            room.commit(
                sheets[n % 2], "B", "brush", (0, 0, *_SIZE), rng.integers(0, 3, _SIZE).astype(np.uint8)
            )
            if n % 7 == 0:
                room.undo(sheets[n % 2])
        stop.set()
        thread.join()
        assert faults == []
        want = [s.mask.copy() for s in sheets]
    for stem, mask in zip(("one", "two"), want, strict=True):
        assert np.array_equal(images.read_mask(project.root / "edited" / f"{stem}.png"), mask)
        assert np.array_equal(corrected(project, None).read(stem), mask)


# ---- what jobs read


def test_corrected_reads_the_cursor_also_before_the_file_follows(project):
    with EditRoom.open(project) as room:
        sheet = room.load("one", _crf())
        _paint(room, sheet, 2)
        _paint(room, room.load("two", _crf()), 2)
        room.set_state("two", "approved")
        masks = corrected(project, None)
        assert masks.name == "corrected" and masks.colours == project.colours and masks.records == {}
        assert masks.stems() == ("one", "two") and not masks.path("one").exists()
        assert np.array_equal(masks.read("one"), sheet.mask)
        then = masks.digest("one")
        room.flush()
        assert masks.digest("one") == then
        room.undo(sheet)
        assert (masks.read("one") == 1).all() and masks.digest("one") != then
        assert corrected(project, ["approved"]).stems() == ("two",)
        assert corrected(project, ["approved"]).facts["states"] == ["approved"]
        assert corrected(project, ["in progress", "approved"]).stems() == ("one", "two")
        with pytest.raises(FileNotFoundError):
            masks.read("three")
        assert masks.digest("three") == ""
        with pytest.raises(UserError, match="no state 'aproved'"):
            corrected(project, ["aproved"])


def test_a_project_that_was_copied_carries_its_history(project, tmp_path):
    with EditRoom.open(project) as room:
        sheet = room.load("one", _crf())
        _paint(room, sheet, 2)
        _paint(room, sheet, 255)
        want = sheet.mask.copy()
    home = tmp_path / "copied"
    shutil.copytree(project.root, home)
    shutil.rmtree(project.root)
    with EditRoom.open(open_project(home)) as room:
        sheet = room.load("one")
        assert room.notes == () and np.array_equal(sheet.mask, want) and len(room.steps("one")) == 2


def test_proposals_carry_what_made_them(project):
    labels = label_set(project.root, project.colours, "crf", new=True)
    labels.write("one", _crf()[1])
    labels.write_facts({"source": "cam/plain", "rule": {"background": "power"}, "images": {}})
    with EditRoom.open(project) as room:
        sheet = room.load("one", ("crf", labels.read("one")))
        _paint(room, sheet, 2)
        facts = room._journal.base.execute("SELECT facts, source FROM bases").fetchone()
    assert facts[1] == "crf" and "cam/plain" in facts[0] and "digest" in facts[0]


def test_renamed_and_merged_classes_keep_every_mask_and_the_whole_history(project):
    with EditRoom.open(project) as room:
        sheet = room.load("one", _crf(1))
        _paint(room, sheet, 2)
        room.set_state("one", "approved")
    project.rename_class("cat", "puma")
    project = open_project(project.root)
    with EditRoom.open(project) as room:
        assert room.notes == ()
    project.merge_classes("dog", "puma")
    assert (corrected(project).read("one") == 1).all()  # also before the masks are converted
    with EditRoom.open(project) as room:
        assert room.notes == ()
        table = np.arange(256, dtype=np.uint8)
        table[2] = 1
        assert list(room.bulk("dog is puma", "merge", lambda s, m: table[m], ["one"], approved=True)) == [
            "one"
        ]
        sheet = room.load("one")
        assert (sheet.mask == 1).all() and sheet.state == "approved"
        room.set_state("one", "in progress")
        room.undo(sheet)
        assert (sheet.mask[2:7, 3:9] == 2).all() and (corrected(project).read("one") == 1).all()


def test_classes_that_were_moved_by_hand_are_told(project):
    with EditRoom.open(project) as room:
        _paint(room, room.load("one", _crf()), 2)
    file = project.root / "wsss.toml"
    text = file.read_text().replace('"cat"', '"x"').replace('"dog"', '"cat"').replace('"x"', '"dog"')
    file.write_text(text)
    with EditRoom.open(open_project(project.root)) as room:
        assert "changed by hand" in room.notes[0] and "cat, dog" in room.notes[0]


# ---- deltas


@settings(max_examples=150, deadline=None)
@given(
    before=arrays(np.uint8, (7, 9), elements=st.integers(0, 3)),
    after=arrays(np.uint8, (7, 9), elements=st.integers(0, 3)),
    share=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_a_delta_goes_both_ways_and_fits_nothing_else(before, after, share, seed):
    keep = np.random.default_rng(seed).random(before.shape) > share
    after = np.where(keep, before, after)
    packed = pack(before, after)
    if packed is None:
        assert np.array_equal(before, after)
        return
    (y0, x0, y1, x1), pixels, data = packed
    assert pixels == (before != after).sum()
    delta = unpack(data, (y1 - y0, x1 - x0), pixels)
    marked = np.zeros(before.shape, bool)
    delta.mark(marked[y0:y1, x0:x1])
    assert np.array_equal(marked, before != after)
    mask = before.copy()
    delta.apply(mask[y0:y1, x0:x1])
    assert np.array_equal(mask, after)
    with pytest.raises(BrokenStep):
        delta.apply(mask[y0:y1, x0:x1])
    assert np.array_equal(mask, after)
    delta.apply(mask[y0:y1, x0:x1], forward=False)
    assert np.array_equal(mask, before)
    for cut in range(len(data)):
        with pytest.raises(BrokenStep):
            unpack(data[:cut], (y1 - y0, x1 - x0), pixels)
    with pytest.raises(BrokenStep):
        unpack(data, (y1 - y0, x1 - x0), pixels + before.size)


def test_a_delta_that_unpacks_to_gigabytes_is_refused_at_its_box():
    import zlib

    with pytest.raises(BrokenStep, match="too many"):
        unpack(zlib.compress(bytes(20_000_000), 1), (10, 10), 5)
