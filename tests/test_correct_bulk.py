"""Many images at once: one named step each, approved ones left out and counted, stopped, and never under a hand."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from engine.edits import EditRoom
from engine.images import read_mask
from engine.store import label_set
from engine.tools import remove_specks
from wsss_napari.correct_bulk import DEEDS
from wsss_napari.correct_bulk_work import EditDeed, StateDeed, Tally, run_deed
from wsss_napari.correct_tool_options import chosen
from wsss_napari.palette import UNSURE

SIZE = (48, 64)


def speckled() -> np.ndarray:
    """Return a mask with a large piece with a hole, and a speck."""
    mask = np.zeros(SIZE, np.uint8)
    mask[10:30, 10:40] = 1
    mask[15:17, 15:17] = 0
    mask[40:42, 50:52] = 2
    return mask


@pytest.fixture
def project(small_project):
    labels = label_set(small_project.root, small_project.colours, "cam", new=True)
    for stem in small_project.usable:
        labels.write(stem, speckled())
    return small_project


@pytest.fixture
def page(correct_page):
    return correct_page


@pytest.fixture
def stems(project) -> list[str]:
    return list(project.usable)


def finish(page: Any, qtbot: Any) -> str:
    """Press the button and wait until it is over; return what is said then."""
    bulk = page.queue.bulk
    assert bulk.go.isEnabled()
    bulk.go.click()
    qtbot.waitUntil(lambda: not bulk.run.busy, timeout=30_000)
    return str(bulk.note.text())


def names(page: Any, stem: str) -> list[str]:
    return [s.name for s in page.corrections.room.steps(stem) if s.done]


def mask_of(page: Any, stem: str) -> np.ndarray:
    return page.corrections.room.load(stem).mask


# The work, without a window


def no_front() -> str:
    return ""


def do(room: EditRoom, deed: Any, stems: Any, proposals: Any, **more: Any) -> Tally:
    return run_deed(
        deed, room, proposals, Tally(tuple(stems)), more.get("front", no_front), more.get("over", bool)
    )


SPECKS = EditDeed("Remove specks", "shape", lambda m: remove_specks(m, None, smallest=64), {"smallest": 64})


def test_each_image_becomes_a_step_and_the_rest_is_counted(project, stems):
    with EditRoom.open(project) as room:
        clean = speckled()
        clean[clean == 2] = 0
        mine = room.load(stems[0])  # begun on an empty mask, then undone: nothing stands there
        room.commit(mine, "Dot", "brush", (0, 0, 1, 1), np.ones((1, 1), np.uint8))
        room.undo(mine)
        room.load(stems[1], ("cam", speckled()))
        room.set_state(stems[1], "approved")
        offers = {stems[2]: ("cam", speckled()), stems[3]: ("cam", clean)}
        tally = do(room, SPECKS, stems[:5], offers.get)
        assert tally.changed == [stems[2]] and tally.done == 5
        assert tally.left == {"bare": 2, "approved": 1, "same": 1}
        step = room.steps(stems[2])[-1]
        assert (step.name, step.params, step.batch) == ("Remove specks", {"smallest": 64}, tally.batch)
        assert tally.words("Remove specks") == (
            "Remove specks: 1 image changed. 1 had nothing to change. 1 left out, being approved. "
            "2 left out, having no mask and no proposal."
        )
        assert room.undo_batch(tally.batch) == [stems[2]]
        assert np.array_equal(room.load(stems[2]).mask, speckled())
        assert stems[3] not in room.states(), "what did not change is not in the journal"


def test_a_new_proposal_counts_where_nobody_drew_and_a_person_s_mask_stays_theirs(project, stems):
    with EditRoom.open(project) as room:
        room.load(stems[0], ("old", np.zeros(SIZE, np.uint8)))
        drawn = room.load(stems[1], ("old", np.zeros(SIZE, np.uint8)))
        room.commit(drawn, "Dot", "brush", (0, 0, 2, 2), np.full((2, 2), 3, np.uint8))
        tally = do(room, SPECKS, stems[:2], lambda _stem: ("cam", speckled()))
        assert tally.changed == stems[:2]
        assert (room.load(stems[0]).mask == 1).any() and room.load(stems[0]).source == "cam"
        assert not room.load(stems[1]).mask.any(), "the dot was a speck of the drawn mask"


def test_what_is_wrong_with_one_image_keeps_no_other_back(project, stems):
    label_set(project.root, project.colours, "cam").path(stems[1]).write_bytes(b"no picture")
    labels = label_set(project.root, project.colours, "cam")
    with EditRoom.open(project) as room:
        tally = do(room, SPECKS, stems[:3], lambda stem: ("cam", labels.read(stem)))
        assert tally.changed == [stems[0], stems[2]] and tally.done == 3
        assert len(tally.faults) == 1 and tally.faults[0].startswith(f"{stems[1]}: ")
        assert "1 could not be done: " in tally.words("x")


def test_the_image_in_front_is_put_off_and_the_work_ends_between_two_images(project, stems):
    with EditRoom.open(project) as room:
        tally = do(room, SPECKS, stems[:3], lambda _s: ("cam", speckled()), front=lambda: stems[1])
        assert tally.later == [stems[1]] and tally.changed == [stems[0], stems[2]] and tally.done == 2
        assert not room.steps(stems[1])
    with EditRoom.open(project) as room:
        seen: list[str] = []
        over = Tally(tuple(stems[3:6]))
        run_deed(SPECKS, room, lambda s: seen.append(s), over, no_front, lambda: over.done == 1)
        assert over.done == 1 and seen == [stems[3]] and "Stopped: 2 not begun." in over.words("x")


def test_an_image_that_comes_to_the_front_while_it_is_read_is_put_off_too(project, stems):
    """The state is asked for again where the image cannot be opened any more."""
    asked: list[str] = []

    def front() -> str:
        asked.append("")
        return stems[0] if len(asked) > 1 else ""

    with EditRoom.open(project) as room:
        tally = do(room, SPECKS, stems[:1], lambda _s: ("cam", speckled()), front=front)
        assert tally.later == [stems[0]] and not room.steps(stems[0])


def test_states_leave_approved_and_damaged_masks_alone(project, stems):
    offers = {s: ("cam", speckled()) for s in stems[:4]}
    with EditRoom.open(project) as room:
        for stem in stems[:3]:
            sheet = room.load(stem, offers[stem])
            room.commit(sheet, "Dot", "brush", (0, 0, 1, 1), np.ones((1, 1), np.uint8))
        room.set_state(stems[1], "approved")
        room.flush()
    (project.root / "edited" / f"{stems[2]}.png").write_bytes(b"broken")
    with EditRoom.open(project) as room:
        assert room.load(stems[2]).state == "damaged"
        tally = do(room, StateDeed("Skip", "skipped"), stems[:2], offers.get)
        assert tally.left == {"approved": 1} and room.state(stems[0]) == "skipped"
        again = do(room, StateDeed("Skip", "skipped"), stems[:1], offers.get)
        assert again.left == {"same": 1}
        tally = do(room, StateDeed("Approve", "approved"), stems[:5], offers.get)
        assert tally.changed == [stems[0], stems[3]]
        assert tally.left == {"approved": 1, "damaged": 1, "bare": 1}
        assert room.state(stems[2]) == "damaged" and stems[4] not in room.states()
    assert np.array_equal(read_mask(project.root / "edited" / f"{stems[3]}.png"), speckled())


def test_bulk_in_parts_shares_a_batch(project, stems):
    with EditRoom.open(project) as room:

        def clear(_stem: str, mask: np.ndarray) -> np.ndarray:
            assert not mask.flags.writeable
            return np.zeros_like(mask)

        for stem in stems[:2]:
            made = room.bulk("Clear", "x", clear, [stem], proposals=lambda _s: ("cam", speckled()), batch="b")
            assert list(made) == [stem]
        assert {room.steps(s)[-1].batch for s in stems[:2]} == {"b"}
        assert room.undo_batch("b") == stems[:2]


# In the window


def test_the_menu_offers_each_and_the_form_says_what_it_would_do(page, stems):
    bulk = page.queue.bulk
    assert bulk.isHidden() and not page.queue.list.isHidden()
    offered = [a.data() for a in bulk.menu.actions() if a.data()]
    assert offered == list(DEEDS)
    rows = {"specks": (bulk.of, bulk.smallest), "holes": (bulk.of,), "smooth": (bulk.of, bulk.radius)}
    rows["convert"] = (bulk.old, bulk.new)
    for action in bulk.menu.actions():
        if not action.data():
            continue
        action.trigger()
        assert not bulk.isHidden() and f"{len(stems)} images" in bulk.go.text()
        shown = [w for w in (bulk.of, bulk.smallest, bulk.radius, bulk.old, bulk.new) if not w.isHidden()]
        assert bulk.options.isHidden() or shown == list(rows[action.data()])
        assert bulk.options.isHidden() == (action.data() not in rows)
    bulk.cancel.click()
    assert bulk.isHidden() and not page.queue.list.isHidden() and page.corrections.room.states() == {}


def test_specks_go_from_all_listed_and_each_image_takes_it_back_alone(page, stems, qtbot):
    room = page.corrections.room
    page.correction.apply("Dot", "brush", (0, 0, 1, 1), np.ones((1, 1), bool), 1)
    room.load(stems[1], ("cam", speckled()))
    room.set_state(stems[1], "approved")
    page.queue.refresh()
    bulk = page.queue.bulk
    bulk.begin("specks")
    # The queue lists what is still to do, so the approved one is not among them.
    assert f"{len(stems) - 1} images" in bulk.note.text() and "approved" not in bulk.note.text()
    page.queue.state_filter.setCurrentIndex(1)
    page.queue.refilter()
    assert "1 image approved: left as they are." in bulk.note.text()
    bulk.smallest.write(20)
    said = finish(page, qtbot)
    assert f"{len(stems) - 1} images changed. 1 left out, being approved." in said
    assert not room.steps(stems[1]) and (mask_of(page, stems[1]) == 2).any()
    step = "Remove specks under 20 px: every class, all listed"
    assert names(page, stems[0]) == ["Dot", step] and names(page, stems[2]) == [step]
    assert not (page.correction.sheet.mask == 2).any() and page.correction.sheet.mask[0, 0] == 0
    assert np.array_equal(page.correction.layer.data, page.correction.sheet.mask), (
        "the image in front shows it"
    )
    assert page.queue._states[stems[2]] == "in progress"
    assert page.correction.undo()
    assert (page.correction.sheet.mask == 2).any() and not (mask_of(page, stems[2]) == 2).any()
    bulk.cancel.click()
    assert bulk.isHidden()


def test_only_what_the_filters_list_is_changed(page, stems, qtbot):
    page.queue.text_filter.setText(stems[3])
    page.queue.bulk.begin("holes")
    assert "1 image" in page.queue.bulk.go.text()
    finish(page, qtbot)
    assert list(page.corrections.room.states()) == [stems[3]]
    assert names(page, stems[3]) == ["Fill holes: every class, all listed"]
    assert (mask_of(page, stems[3])[10:30, 10:40] == 1).all()


def test_convert_and_smooth_say_what_they_did(page, stems, project, qtbot):
    page.queue.text_filter.setText(stems[2])
    bulk = page.queue.bulk
    bulk.begin("convert")
    bulk.old.setCurrentIndex(bulk.old.findData(2))
    bulk.new.setCurrentIndex(bulk.new.findData(2))
    bulk.new.activated.emit(0)
    assert not bulk.go.isEnabled() and "differ" in bulk.go.toolTip()
    bulk.new.setCurrentIndex(bulk.new.findData(UNSURE))
    bulk.new.activated.emit(0)
    finish(page, qtbot)
    assert (mask_of(page, stems[2])[40:42, 50:52] == UNSURE).all()
    bulk.begin("smooth")
    bulk.of.setCurrentIndex(bulk.of.findData(1))
    assert chosen(bulk.of) == 1
    finish(page, qtbot)
    second = project.classes[1]
    assert names(page, stems[2]) == [
        f"Convert {second} to unsure, all listed",
        f"Smooth borders by 3 px: {project.classes[0]}, all listed",
    ]
    assert page.corrections.room.steps(stems[2])[0].params == {"old": 2, "new": UNSURE}


def test_approving_asks_with_the_count_and_takes_proposals(page, stems, qtbot):
    page.correction.apply("Dot", "brush", (0, 0, 1, 1), np.ones((1, 1), bool), 1)
    page.corrections.room.load(stems[1], ("cam", speckled()))
    page.corrections.room.set_state(stems[1], "approved")
    page.queue.state_filter.setCurrentIndex(1)
    page.queue.refresh()
    bulk = page.queue.bulk
    bulk.begin("approved")
    count = len(stems) - 1
    words = bulk.note.text()
    assert words.startswith(f"Approve {count} masks?") and bulk.go.text() == f"Approve: {count} images"
    assert f"Nobody changed or decided about {count - 1} of them" in words and "1 image approved" in words
    assert page.corrections.room.state(stems[2]) != "approved", "a question is not an answer"
    said = finish(page, qtbot)
    assert said == f"Approve: {count} images changed. 1 left out, being approved."
    assert set(page.corrections.room.states().values()) == {"approved"}
    assert (
        page.correction.read_only == "Approved. Reopen to change it." and not page.correction.layer.editable
    )
    assert np.array_equal(read_mask(page.session.project.root / "edited" / f"{stems[4]}.png"), speckled())
    assert f"{len(stems)} of {len(stems)} approved" in page.queue.counter.text()


def test_skipping_keeps_masks_as_they_are(page, stems, qtbot):
    page.queue.bulk.begin("skipped")
    assert "masks stay as they are" in page.queue.bulk.note.text()
    assert finish(page, qtbot) == f"Skip: {len(stems)} images changed."
    assert page.queue.model.stems == [] and set(page.corrections.room.states().values()) == {"skipped"}
    page.refresh()
    assert page.correction.sheet.state == "skipped" and "Skipped" in page.panel.review.state.text()


class Slow:
    """A deed that waits at each image until it is let go."""

    title = "Slow"

    def __init__(self) -> None:
        self.go, self.at = threading.Semaphore(0), ""

    def do(self, room: Any, stem: str, proposals: Any, batch: str, front: Any) -> str:
        self.at = stem
        assert self.go.acquire(timeout=20)
        return SPECKS.do(room, stem, proposals, batch, front)


@pytest.fixture
def slow(page, monkeypatch):
    deed = Slow()
    monkeypatch.setattr(page.queue.bulk, "deed", lambda: deed)
    page.queue.bulk.begin("specks")
    page.queue.bulk.go.click()
    yield deed
    for _ in range(50):
        deed.go.release()


def test_it_is_stopped_between_two_images(page, stems, slow, qtbot):
    bulk = page.queue.bulk
    qtbot.waitUntil(lambda: slow.at == stems[1])  # the first one is in front
    assert bulk.run.busy and not bulk.button.isEnabled() and bulk.cancel.text() == "Stop"
    slow.go.release()
    qtbot.waitUntil(lambda: bulk.progress.value() == 1)
    assert bulk.progress.maximum() == len(stems) and bulk.note.text() == f"Slow: 1 of {len(stems)}"
    bulk.cancel.click()
    slow.go.release()
    qtbot.waitUntil(lambda: not bulk.run.busy)
    assert bulk.note.text().startswith("Slow: 2 images changed. Stopped: ")
    assert sorted(page.corrections.room.states()) == stems[1:3] and bulk.cancel.text() == "Close"
    assert bulk.cancel.isEnabled() and bulk.button.isEnabled()


def test_a_hand_paints_on_meanwhile_and_loses_nothing(page, stems, slow, qtbot):
    qtbot.waitUntil(lambda: slow.at == stems[1])
    page.correction.apply("Block", "brush", (0, 0, 10, 10), np.ones((10, 10), bool), 3)
    # To an image that waits for its turn, which is then in front and put off.
    page.session.image = stems[2]
    page.correction.apply("Block", "brush", (0, 0, 10, 10), np.ones((10, 10), bool), 3)
    for _ in stems:
        slow.go.release()
    qtbot.waitUntil(lambda: not page.queue.bulk.run.busy)
    for stem in stems[:1] + stems[2:3]:
        assert names(page, stem) == ["Block", "Remove specks"], stem
        mask = mask_of(page, stem)
        assert (mask[:10, :10] == 3).all() and not (mask == 2).any()
    assert np.array_equal(page.correction.layer.data, page.correction.sheet.mask)
    assert f"{len(stems)} images changed" in page.queue.bulk.note.text()


def test_another_project_ends_it_and_the_room_is_closed_after_the_image_it_was_at(
    page, stems, slow, qtbot, project
):
    qtbot.waitUntil(lambda: slow.at == stems[1])
    threading.Timer(0.2, slow.go.release).start()
    page.corrections.close()
    assert not page.queue.bulk.run.busy
    with EditRoom.open(project) as room:
        assert [s for s in stems if room.steps(s)] == [stems[1]] and room.notes == ()
        assert not (room.load(stems[1]).mask == 2).any()


def test_a_locked_project_is_not_changed(page, stems, monkeypatch):
    page.corrections.locked = "Open in another window."
    bulk = page.queue.bulk
    bulk.begin("specks")
    assert not bulk.go.isEnabled() and bulk.go.toolTip() == "Open in another window."
    assert bulk.run.start(SPECKS, stems) == "Open in another window."
    page.corrections.locked = ""


def test_a_damaged_proposal_is_told_and_the_others_are_done(page, stems, project, qtbot):
    label_set(project.root, project.colours, "cam").path(stems[4]).write_bytes(b"no picture")
    page.queue.bulk.begin("specks")
    said = finish(page, qtbot)
    assert "1 could not be done" in said and stems[4] in said and any(stems[4] in t for t in page.told)
    assert len(page.corrections.room.states()) == len(stems) - 1
