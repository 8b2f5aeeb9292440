"""Nothing is lost: damaged, cut and foreign files, full disks, order of syncs, two processes, other pixels."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from engine import images
from engine.edits import STATES, EditRoom, JournalDamaged, corrected, durable, masks, place
from engine.errors import UserError
from engine.store import Image, create, indexed_png, open_project
from engine.tags import Tags

_SIZE = (12, 16)


def _project(root: Path, stems=("one", "two")):
    (root / "images").mkdir(parents=True)
    listed = []
    for n, stem in enumerate(stems):
        path = root / "images" / f"{stem}.png"
        Pillow.fromarray(np.full((*_SIZE, 3), 40 * n, np.uint8)).save(path)
        listed.append(Image(stem, path.name, *_SIZE, sha256=images.digest(path)))
    tags = Tags(("cat", "dog"), tuple(stems), np.zeros((len(stems), 2), np.int8))
    return create(root / "project", images=listed, image_folder=root / "images", tags=tags)


@pytest.fixture
def project(tmp_path):
    return _project(tmp_path)


def _ones() -> tuple[str, np.ndarray]:
    return "crf", np.ones(_SIZE, np.uint8)


def _paint(room, stem, value, box=(2, 3, 7, 9)):
    sheet = room.load(stem, _ones())
    shape = (box[2] - box[0], box[3] - box[1])
    return sheet, room.commit(sheet, f"Paint {value}", "brush", box, np.full(shape, value, np.uint8))


def _files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


# ---- damaged files


def test_every_cut_of_a_mask_opens_as_damaged_with_the_journals_pixels(project):
    with EditRoom.open(project) as room:
        sheet, _ = _paint(room, "one", 2)
        want = sheet.mask.copy()
    path = project.root / "edited" / "one.png"
    whole = path.read_bytes()
    journal = (project.root / "edits.sqlite").read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with EditRoom.open(project, read_only=True) as room:
            sheet = room.load("one")
            assert sheet.state == "damaged" and "edited/one.png is damaged" in sheet.note, length
            assert np.array_equal(sheet.mask, want)
    for length in range(0, len(whole), len(whole) // 6):
        path.write_bytes(whole[:length])
        (project.root / "edits.sqlite").write_bytes(journal)
        assert np.array_equal(corrected(project, None).read("one"), want)
        with EditRoom.open(project) as room:
            sheet = room.load("one", _ones())
            assert sheet.state == "damaged" and ".damaged/one." in sheet.note, length
            assert np.array_equal(sheet.mask, want)
        (aside,) = (project.root / "edited" / ".damaged").iterdir()
        assert aside.read_bytes() == whole[:length]
        assert np.array_equal(images.read_mask(path), want)  # written again at closing
        shutil.rmtree(aside.parent)


def test_every_flipped_byte_of_a_mask_is_harmless_or_damaged_never_other_pixels(project):
    with EditRoom.open(project) as room:
        sheet, _ = _paint(room, "one", 2)
        want = sheet.mask.copy()
    path = project.root / "edited" / "one.png"
    whole = path.read_bytes()
    found = []
    for at in range(0, len(whole), 3):
        data = bytearray(whole)
        data[at] ^= 0x55
        path.write_bytes(bytes(data))
        with EditRoom.open(project, read_only=True) as room:
            sheet = room.load("one")
            assert np.array_equal(sheet.mask, want), at
            found.append(sheet.state)
    assert found.count("damaged") > len(found) / 8  # the rest is palette


def test_every_cut_of_the_journal_is_told_and_touches_nothing(project):
    with EditRoom.open(project) as room:
        for n in range(60):
            _paint(room, "one", n % 3, (0, 0, 5 + n % 7, 7))
    path = project.root / "edits.sqlite"
    assert not path.with_name("edits.sqlite-wal").exists()
    whole = path.read_bytes()
    lengths = {*range(200), *range(0, len(whole), 97), *range(len(whole) - 200, len(whole))}
    for length in sorted(lengths):
        path.write_bytes(whole[:length])
        before = _files(project.root)
        for read_only in (False, True):
            with pytest.raises(JournalDamaged):
                EditRoom.open(project, read_only=read_only)
        with pytest.raises(JournalDamaged):
            corrected(project, None).stems()
        assert _files(project.root) == before
    path.write_bytes(whole)
    with EditRoom.open(project) as room:
        assert len(room.steps("one")) > 30


def test_every_cut_of_the_log_gives_a_whole_history_up_to_a_step(project, tmp_path):
    room = EditRoom.open(project)
    sheet = room.load("one", _ones())
    hashes = {masks.pixel_hash(sheet.mask)}
    for n in range(12):
        _paint(room, "one", n % 3, (0, 0, 3 + n % 5, 7))
        hashes.add(masks.pixel_hash(sheet.mask))
    log = (project.root / "edits.sqlite-wal").read_bytes()
    base = (project.root / "edits.sqlite").read_bytes()
    room.close()
    counts = set()
    for length in [*range(0, len(log), 4001), len(log)]:
        home = tmp_path / "cut"
        shutil.copytree(project.root, home, ignore=shutil.ignore_patterns("edit*"))
        (home / "edits.sqlite").write_bytes(base)
        (home / "edits.sqlite-wal").write_bytes(log[:length])
        with EditRoom.open(open_project(home)) as again:
            sheet = again.load("one", _ones())
            assert masks.pixel_hash(sheet.mask) in hashes and sheet.state != "damaged"
            counts.add(len(again.steps("one")))
        shutil.rmtree(home)
    assert max(counts) == 12 and len(counts) > 3


def test_a_damaged_page_in_the_middle_of_the_journal_never_becomes_other_pixels(project):
    with EditRoom.open(project) as room:
        for n in range(40):
            _paint(room, "one", n % 3, (0, 0, 5 + n % 7, 7))
        want = room.load("one").mask.copy()
    path = project.root / "edits.sqlite"
    whole = path.read_bytes()
    damaged = 0
    for at in range(100, len(whole), 211):
        data = bytearray(whole)
        data[at : at + 16] = os.urandom(16)
        path.write_bytes(bytes(data))
        try:
            assert np.array_equal(corrected(project, None).read("one"), want)
            with EditRoom.open(project, read_only=True) as room:
                sheet = room.load("one")
                assert np.array_equal(sheet.mask, want) or sheet.state == "damaged"
                room.steps("one")
                room.decided(sheet)
        except (UserError, FileNotFoundError):
            damaged += 1
    assert damaged


@pytest.mark.parametrize("content", [b"", b"hello", b"SQLite format 3\0" + bytes(84), bytes(8192)])
def test_what_is_no_journal_is_told(project, content):
    (project.root / "edits.sqlite").write_bytes(content)
    before = _files(project.root)
    with pytest.raises(JournalDamaged, match=r"edits\.sqlite is damaged") as told:
        EditRoom.open(project)
    assert told.value.accepted and told.value.todo and _files(project.root) == before


def test_a_database_of_others_and_a_trigger_are_told(project):
    path = project.root / "edits.sqlite"
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE steps(id)")
    base.close()
    with pytest.raises(JournalDamaged, match="another program"):
        EditRoom.open(project)
    path.unlink()
    EditRoom.open(project).close()
    base = sqlite3.connect(path)
    base.execute("CREATE TRIGGER t AFTER INSERT ON steps BEGIN DELETE FROM steps; END")
    base.commit()
    base.close()
    with pytest.raises(JournalDamaged, match="its tables"):
        EditRoom.open(project)


def test_a_newer_schema_is_no_damage(project):
    EditRoom.open(project).close()
    base = sqlite3.connect(project.root / "edits.sqlite")
    base.execute("PRAGMA user_version=99")
    base.close()
    with pytest.raises(UserError, match="newer version") as told:
        EditRoom.open(project)
    assert not isinstance(told.value, JournalDamaged)


def test_restart_keeps_the_damaged_journal_and_starts_from_the_masks(project):
    with EditRoom.open(project) as room:
        sheet, _ = _paint(room, "one", 2)
        want = sheet.mask.copy()
        room.set_state("one", "approved")
    path = project.root / "edits.sqlite"
    cut = path.read_bytes()[:5000]
    path.write_bytes(cut)
    with EditRoom.restart(project) as room:
        assert "edits.damaged-" in room.notes[0] and "1 mask" in room.notes[1]
        assert room.states() == {"one": "needs review"}
        assert np.array_equal(corrected(project, None).read("one"), want)
        sheet = room.load("one", _ones())
        assert np.array_equal(sheet.mask, want) and sheet.proposal is None
        # The whole mask is a person's work, so no proposal may change it.
        assert room.decided(sheet).all()
        assert not room.would_change(sheet, np.zeros(_SIZE, np.uint8)).any()
        room.commit(sheet, "Paint", "brush", (0, 0, 1, 1), np.full((1, 1), 255, np.uint8))
        room.undo(sheet)
        assert np.array_equal(sheet.mask, want) and room.undo(sheet) is None
    (aside,) = project.root.glob("edits.damaged-*.sqlite")
    assert aside.read_bytes() == cut
    assert corrected(project, ["approved"]).stems() == ()


def test_a_missing_journal_beside_masks_is_told_and_the_masks_are_kept(project):
    with EditRoom.open(project) as room:
        sheet, _ = _paint(room, "one", 2)
        want = sheet.mask.copy()
    (project.root / "edits.sqlite").unlink()
    with pytest.raises(UserError, match="is missing"):
        corrected(project, ["approved"]).stems()
    assert corrected(project, None).stems() == ("one",)
    with EditRoom.open(project, read_only=True) as room:
        assert "missing" in room.notes[0] and room.states() == {"one": "needs review"}
    assert not (project.root / "edits.sqlite").exists()
    with EditRoom.open(project) as room:
        assert "missing" in room.notes[0]
        assert np.array_equal(room.load("one").mask, want)


def test_an_older_journal_beside_newer_masks_loses_neither(project):
    with EditRoom.open(project) as room:
        _paint(room, "one", 2)
    old = (project.root / "edits.sqlite").read_bytes()
    with EditRoom.open(project) as room:
        sheet, _ = _paint(room, "one", 255)
        newer = sheet.mask.copy()
    (project.root / "edits.sqlite").write_bytes(old)  # put back from a backup
    assert np.array_equal(corrected(project, None).read("one"), newer)
    with EditRoom.open(project) as room:
        sheet = room.load("one")
        assert np.array_equal(sheet.mask, newer) and sheet.state == "needs review"
        assert "newer than the journal" in sheet.note
        step = room.undo(sheet)
        assert step is not None and step.tool == "recovered"
        assert (sheet.mask[2:7, 3:9] == 2).all()


def test_a_mask_of_another_program_is_set_aside_and_said(project):
    with EditRoom.open(project) as room:
        sheet, _ = _paint(room, "one", 2)
        want = sheet.mask.copy()
    path = project.root / "edited" / "one.png"
    path.write_bytes(indexed_png(np.zeros(_SIZE, np.uint8), project.colours))
    with EditRoom.open(project) as room:
        sheet = room.load("one")
        assert np.array_equal(sheet.mask, want) and "another program" in sheet.note
    assert len(list((project.root / "edited" / ".damaged").iterdir())) == 1


def test_a_mask_that_vanished_comes_back_from_the_journal(project):
    with EditRoom.open(project) as room:
        sheet, _ = _paint(room, "one", 2)
        want = sheet.mask.copy()
    path = project.root / "edited" / "one.png"
    path.unlink()
    with EditRoom.open(project) as room:
        assert np.array_equal(room.load("one").mask, want)
        room.set_state("one", "approved")
        assert np.array_equal(images.read_mask(path), want)


def _alter(project, command: str) -> None:
    base = sqlite3.connect(project.root / "edits.sqlite")
    base.execute(command)
    base.commit()
    base.close()


@pytest.mark.parametrize(
    "command", ["UPDATE steps SET delta=x'00' WHERE id=3", "DELETE FROM steps WHERE id=3"]
)
@pytest.mark.parametrize("file", ["whole", "gone", "older"])
def test_a_broken_step_costs_no_more_than_itself(project, command, file):
    path = project.root / "edited" / "one.png"
    seen = []
    with EditRoom.open(project) as room:
        for n in range(5):
            sheet, _ = _paint(room, "one", (2, 0, 2, 255, 1)[n], (n, 0, n + 4, 9))
            seen.append(sheet.mask.copy())
            if n == 1:
                room.flush()
                early = path.read_bytes()
    _alter(project, command)
    if file == "gone":
        path.unlink()
    elif file == "older":
        path.write_bytes(early)
    if file == "whole":
        with EditRoom.open(project) as room:
            sheet = room.load("one")
            assert np.array_equal(sheet.mask, seen[4]), sheet.note
            assert np.array_equal(corrected(project, None).read("one"), seen[4])
        return
    with pytest.raises(UserError, match="is damaged"):
        corrected(project, None).read("one")
    with EditRoom.open(project) as room:
        sheet = room.load("one")
        assert np.array_equal(sheet.mask, seen[1]) and sheet.state == "damaged" and sheet.cursor == 2
        assert [s.id for s in room.steps("one") if s.done] == [1, 2]
        note = sheet.note
        room.set_state("one", "approved")
    with EditRoom.open(project) as room:
        sheet = room.load("one")
        assert sheet.state == "approved" and sheet.note == note  # told once
    assert np.array_equal(corrected(project, None).read("one"), seen[1])


def test_a_step_that_is_gone_leaves_the_whole_mask_of_the_file(project):
    with EditRoom.open(project) as room:
        for n in range(4):
            sheet, _ = _paint(room, "one", n % 3, (n, 0, n + 4, 9))
        want = sheet.mask.copy()
    _alter(project, "DELETE FROM steps WHERE id=4")  # the cursor's
    with EditRoom.open(project) as room:
        sheet = room.load("one")
        assert np.array_equal(sheet.mask, want) and sheet.state == "damaged"
        assert room.undo(sheet).tool == "recovered" and sheet.cursor == 3


def test_a_start_and_a_proposal_that_cannot_be_read(project):
    with EditRoom.open(project) as room:
        sheet, _ = _paint(room, "one", 2)
        want = sheet.mask.copy()
    _alter(project, "UPDATE bases SET pixels=x'00'")
    with EditRoom.open(project) as room:
        sheet = room.load("one")
        assert np.array_equal(sheet.mask, want) and sheet.proposal is None and "proposal" in sheet.note
        assert np.array_equal(corrected(project, None).read("one"), want)
        assert room.undo(sheet) is not None and (sheet.mask == 1).all()
        room.redo(sheet)
    (project.root / "edited" / "one.png").unlink()
    with EditRoom.open(project) as room, pytest.raises(UserError, match="Nothing whole is left"):
        room.load("one")


def test_nonsense_in_a_row_is_damage_not_a_crash(project):
    with EditRoom.open(project) as room:
        _paint(room, "one", 2)
    for command in (
        "UPDATE images SET cursor='x'",
        "UPDATE images SET height=-5",
        "UPDATE images SET cursor=1, height=12, state='???'",
        "UPDATE steps SET y1=4000000000",
        "UPDATE steps SET params='{'",
        "UPDATE images SET base=77",
        "UPDATE images SET note=x'ff'",
    ):
        _alter(project, command)
        try:
            with EditRoom.open(project, read_only=True) as room:
                assert set(room.states().values()) <= set(STATES)
                room.load("one")
                room.steps("one")
        except UserError as told:
            assert told.todo


def test_a_whole_journal_is_not_restarted(project):
    with EditRoom.open(project) as room:
        _paint(room, "one", 2)
    before = _files(project.root)
    with pytest.raises(UserError, match="is whole"):
        EditRoom.restart(project)
    assert _files(project.root) == before


_OTHER = """
import sys
import numpy as np
from engine.edits import EditRoom
from engine.store import open_project
room = EditRoom.open(open_project(sys.argv[1]))
sheet = room.load("one", ("crf", np.ones((12, 16), np.uint8)))
room.commit(sheet, "Paint", "brush", (2, 3, 7, 9), np.full((5, 6), 2, np.uint8))
print("ready", flush=True)
sys.stdin.readline()
room.close()
"""


def test_another_process_reads_while_one_writes(project):
    command = [sys.executable, "-c", _OTHER, str(project.root)]
    home = Path(__file__).parents[1]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=home
    ) as child:
        assert child.stdout is not None and child.stdin is not None
        assert child.stdout.readline() == "ready\n"
        with EditRoom.open(project, read_only=True) as room:
            sheet = room.load("one")
            assert (sheet.mask[2:7, 3:9] == 2).all()
            with pytest.raises(UserError, match="for reading only"):
                room.undo(sheet)
            assert np.array_equal(corrected(project, None).read("one"), sheet.mask)
            child.stdin.write("\n")
            child.stdin.flush()
            assert child.wait(60) == 0
            assert room.state("one") == "in progress"
    with EditRoom.open(project) as room:
        assert room.undo(room.load("one")) is not None


def test_a_worker_that_ends_after_an_image_switch_changes_its_own_image_alone(project):
    with EditRoom.open(project) as room:
        sheet = room.load("one", _ones())
        go = threading.Event()

        def work():
            go.wait(20)
            room.commit(sheet, "CRF", "snap", (0, 0, 4, 4), np.full((4, 4), 255, np.uint8))

        thread = threading.Thread(target=work)
        thread.start()
        other = room.load("two", _ones())
        before = other.mask.copy()
        go.set()
        thread.join()
        assert np.array_equal(other.mask, before) and room.undo(other) is None and room.steps("two") == []
        assert (sheet.mask == 255).sum() == 16 and len(room.steps("one")) == 1


# ---- writing masks


def test_an_empty_mask_that_no_step_explains_is_never_written(project):
    with EditRoom.open(project) as room:
        sheet, _ = _paint(room, "one", 2)
        room.flush()
        _paint(room, "one", 255, (0, 0, 1, 1))
        good = sheet.mask.copy()
        sheet.pixels[...] = 0  # what a faulty tool or worker could do
        for act in (lambda: room.flush(), lambda: room.set_state("one", "approved")):
            with pytest.raises(UserError, match="not what its steps"):
                act()
            sheet.fresh = True
        assert images.read_mask(project.root / "edited" / "one.png").any()
        sheet.fresh = False
        assert room.load("one") is sheet and np.array_equal(sheet.mask, good)
        room.set_state("one", "approved")
    assert np.array_equal(images.read_mask(project.root / "edited" / "one.png"), good)


def test_older_generations_are_kept_and_whole(project):
    seen = []
    with EditRoom.open(project) as room:
        for n in range(9):
            sheet, _ = _paint(room, "one", n % 3, (0, 0, 2 + n, 5))
            room.flush("one")
            seen.append(sheet.mask.copy())
    kept = sorted((project.root / "edited" / ".kept").iterdir(), key=lambda p: int(p.stem.split(".")[-1]))
    assert len(kept) == masks.KEPT
    for path, mask in zip(kept, seen[-1 - masks.KEPT : -1], strict=True):
        assert np.array_equal(images.read_mask(path), mask)


def test_files_are_synced_before_they_are_renamed_and_the_folder_after(project, monkeypatch):
    with EditRoom.open(project) as room:
        _paint(room, "one", 2)
        room.flush()
        _paint(room, "one", 255)
        order = []
        sync, replace = os.fsync, os.replace
        rename, link = Path.replace, os.link

        def told_sync(handle):
            name = os.readlink(f"/proc/self/fd/{handle}")
            if threading.current_thread() is threading.main_thread():
                order.append("folder" if Path(name).is_dir() else "file")
            sync(handle)

        def told_replace(self, target):
            order.append("replace")
            return rename(self, target)

        def told_link(old, new):
            order.append("keep")
            link(old, new)

        monkeypatch.setattr(os, "fsync", told_sync)
        monkeypatch.setattr(os, "link", told_link)
        monkeypatch.setattr(Path, "replace", told_replace)
        room.flush("one")
        monkeypatch.undo()
        assert replace is os.replace
    # The old mask is kept first; only then may the new one take its name.
    assert order == ["keep", "folder", "file", "replace", "folder"]


def test_a_mask_that_reads_back_otherwise_leaves_the_one_before(project, monkeypatch):
    with EditRoom.open(project) as room:
        sheet, _ = _paint(room, "one", 2)
        room.flush()
        good = sheet.mask.copy()
        _paint(room, "one", 255)
        path = project.root / "edited" / "one.png"
        write = masks.write_bytes
        calls = []

        def rotten(target, data):
            calls.append(target)
            write(target, data[:-40] + bytes(28) + data[-12:] if len(calls) == 1 else data)

        monkeypatch.setattr(masks, "write_bytes", rotten)
        with pytest.raises(UserError, match="read back"):
            room.flush()
        assert np.array_equal(images.read_mask(path), good)
        monkeypatch.undo()
        room.flush()
        assert np.array_equal(images.read_mask(path), sheet.mask)


def test_approval_reads_a_file_back_that_was_written_before(project):
    with EditRoom.open(project) as room:
        sheet, _ = _paint(room, "one", 2)
        room.flush()
        path = project.root / "edited" / "one.png"
        path.write_bytes(path.read_bytes()[:-30])
        room.set_state("one", "approved")
        assert np.array_equal(images.read_mask(path), sheet.mask)
    assert len(list((project.root / "edited" / ".damaged").iterdir())) == 1


def test_approval_is_refused_when_the_mask_cannot_be_written(project, monkeypatch):
    with EditRoom.open(project) as room:
        _paint(room, "one", 2)

        def refuse(path, data):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(masks, "write_bytes", refuse)
        with pytest.raises(UserError, match="No space left"):
            room.set_state("one", "approved")
        assert room.state("one") == "in progress"
        monkeypatch.undo()
        room.set_state("one", "approved")
        assert corrected(project, ["approved"]).stems() == ("one",)


_FULL = """
import resource, sys
import numpy as np
from engine.edits import EditRoom
from engine.errors import UserError
from engine.store import open_project
room = EditRoom.open(open_project(sys.argv[1]))
size = (12, 16)
sheet = room.load("one", ("crf", np.ones(size, np.uint8)))
rng = np.random.default_rng(0)
room.commit(sheet, "Paint", "brush", (0, 0, *size), rng.integers(0, 3, size).astype(np.uint8))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
last, told = sheet.cursor, ""
for n in range(4000):
    before = sheet.mask.copy()
    try:
        room.commit(sheet, "Paint", "brush", (0, 0, *size), rng.integers(0, 3, size).astype(np.uint8))
    except UserError as error:
        told = error.found
        assert np.array_equal(sheet.mask, before) and sheet.cursor == last
        break
    last = sheet.cursor
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
room.commit(sheet, "Paint", "brush", (0, 0, 1, 1), (sheet.mask[:1, :1] == 0).astype(np.uint8))
print(told)
print(last, sheet.cursor, sheet.mask.tobytes().hex())
room.close()
"""


@pytest.mark.parametrize("limit", [60_000, 300_000])
def test_a_full_disk_refuses_the_step_in_words_and_loses_none(project, limit):
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(project.root), str(limit)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr
    told, last = done.stdout.splitlines()
    assert "could not be written" in told
    before, cursor, pixels = last.split()
    with EditRoom.open(project) as room:
        sheet = room.load("one")
        assert sheet.cursor == int(cursor) and sheet.mask.tobytes().hex() == pixels
        assert [s.id for s in room.steps("one")][-2:] == [int(before), int(cursor)]


def test_a_folder_that_cannot_be_written_is_told_and_close_still_closes(project, monkeypatch):
    room = EditRoom.open(project)
    sheet, _ = _paint(room, "one", 2)
    want = sheet.mask.copy()
    (project.root / "edited").rmdir() if (project.root / "edited").exists() else None
    (project.root / "edited").write_text("in the way")
    with pytest.raises(UserError, match="could not be written"):
        room.close()
    (project.root / "edited").unlink()
    with EditRoom.open(project) as room:
        assert np.array_equal(room.load("one").mask, want)


def test_strokes_are_synced_within_a_second(project, monkeypatch):
    synced = threading.Event()
    fsync = os.fsync

    def told(handle):
        fsync(handle)
        if os.readlink(f"/proc/self/fd/{handle}").endswith("-wal"):
            synced.set()

    with EditRoom.open(project) as room:
        room.load("one", _ones())
        monkeypatch.setattr(durable.os, "fsync", told)
        _paint(room, "one", 2)
        assert durable._WAIT < 0.5 and synced.wait(20)


def test_a_disk_that_refuses_to_sync_is_told(project, monkeypatch):
    room = EditRoom.open(project)
    fsync = os.fsync

    def refuse(handle):
        if os.readlink(f"/proc/self/fd/{handle}").endswith("-wal"):
            raise OSError(5, "Input/output error")
        fsync(handle)

    monkeypatch.setattr(durable.os, "fsync", refuse)
    _paint(room, "one", 2)
    deadline = time.monotonic() + 20
    while not room.trouble and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "Input/output error" in room.trouble
    with pytest.raises(UserError, match="Input/output error"):
        room.close()


# ---- two processes, links, other pixels, other places


def test_the_second_writer_is_told_and_overwrites_nothing(project):
    with EditRoom.open(project) as one, EditRoom.open(project) as two:
        mine, _ = _paint(one, "one", 2)
        theirs = two.load("one", _ones())
        assert np.array_equal(mine.mask, theirs.mask)
        one.undo(mine)
        with pytest.raises(UserError, match="another one than this window shows"):
            two.commit(theirs, "Paint", "brush", (0, 0, 1, 1), np.zeros((1, 1), np.uint8))
        assert two.load("one") is theirs and np.array_equal(mine.mask, theirs.mask)
        assert two.commit(theirs, "Paint", "brush", (0, 0, 1, 1), np.zeros((1, 1), np.uint8)) is not None


def test_a_locked_journal_is_told(project, monkeypatch):
    with EditRoom.open(project) as room:
        sheet = room.load("one", _ones())
        room._journal.base.execute("PRAGMA busy_timeout=50")
        other = sqlite3.connect(project.root / "edits.sqlite")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UserError, match="Another program is writing"):
            room.commit(sheet, "Paint", "brush", (0, 0, 1, 1), np.zeros((1, 1), np.uint8))
        other.close()
        assert (sheet.mask == 1).all()
        assert room.commit(sheet, "Paint", "brush", (0, 0, 1, 1), np.zeros((1, 1), np.uint8)) is not None


def test_a_reader_writes_nothing_also_after_a_kill(project, tmp_path):
    room = EditRoom.open(project)
    sheet, _ = _paint(room, "one", 2)
    home = tmp_path / "killed"
    shutil.copytree(project.root, home)
    room.close()
    for root in (project.root, home):
        before = _files(root)
        with EditRoom.open(open_project(root), read_only=True) as reader:
            seen = reader.load("one", _ones())
            assert np.array_equal(seen.mask, sheet.mask)
            for act in (
                lambda: reader.commit(seen, "Paint", "brush", (0, 0, 1, 1), np.zeros((1, 1), np.uint8)),  # noqa: B023
                lambda: reader.undo(seen),  # noqa: B023
                lambda: reader.set_state("one", "approved"),
                lambda: reader.set_note("one", "x"),
            ):
                with pytest.raises(UserError, match="for reading only"):
                    act()
            reader.add_time("one", 5)
            reader.flush()
        after = _files(root)
        assert {k: v for k, v in after.items() if not k.endswith("-shm")} == {
            k: v for k, v in before.items() if not k.endswith("-shm")
        }


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_can_be_read(project):
    with EditRoom.open(project) as room:
        sheet, _ = _paint(room, "one", 2)
    project.root.chmod(0o555)
    try:
        with EditRoom.open(project, read_only=True) as room:
            assert np.array_equal(room.load("one").mask, sheet.mask)
    finally:
        project.root.chmod(0o755)


@pytest.mark.parametrize("name", ["edits.sqlite", "edited", "edited/.kept"])
def test_links_are_refused(project, tmp_path, name):
    with EditRoom.open(project) as room:
        _paint(room, "one", 2)
        room.flush()
        _paint(room, "one", 255)
    path = project.root / name
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="is a link|no plain folder"):
        EditRoom.open(project)


def test_a_mask_that_is_a_link_is_set_aside_and_never_written_through(project, tmp_path):
    with EditRoom.open(project) as room:
        _paint(room, "one", 2)
    path = project.root / "edited" / "one.png"
    path.rename(tmp_path / "victim.png")
    victim = (tmp_path / "victim.png").read_bytes()
    path.symlink_to(tmp_path / "victim.png")
    with EditRoom.open(project) as room:
        sheet, _ = _paint(room, "one", 255)
        assert sheet.state == "damaged"
    assert not path.is_symlink() and (tmp_path / "victim.png").read_bytes() == victim


def test_an_image_with_other_pixels_is_refused(project, tmp_path):
    with EditRoom.open(project) as room:
        _paint(room, "one", 2)
    path = tmp_path / "images" / "one.png"
    old = path.read_bytes()
    Pillow.fromarray(np.full((*_SIZE, 3), 99, np.uint8)).save(path)
    with EditRoom.open(project) as room:
        with pytest.raises(UserError, match="its bytes differ"):
            room.load("one", _ones())
        project.relink(
            images=tmp_path / "images"
        )  # the project knows the new pixels, the mask does not fit them
        with pytest.raises(UserError, match="other pixels"):
            room.load("one", _ones())
        with pytest.raises(UserError, match="other pixels"):
            corrected(project, None).read("one")
        room.accept_image("one")  # on the person's word
        sheet = room.load("one")
        assert sheet.state == "needs review" and (sheet.mask[2:7, 3:9] == 2).all()
        assert [e.kind for e in room.events("one")] == ["accepted"]
    path.unlink()
    with EditRoom.open(project) as room, pytest.raises(UserError, match="is missing"):
        room.load("one")
    path.write_bytes(old)


def test_a_network_folder_is_recognised_and_uses_no_log(project, monkeypatch):
    mounts = project.root.parent / "mounts"
    mounts.write_text(
        "/dev/sda / ext4 rw 0 0\n"
        f"server:/x {str(project.root.parent).replace(' ', chr(92) + '040')} nfs4 rw 0 0\n"
        "proc /proc proc rw 0 0\n"
    )
    monkeypatch.setattr(place, "_MOUNTS", mounts)
    with EditRoom.open(project) as room:
        assert room.mode == "delete" and "nfs4" in room.notes[0]
        sheet, _ = _paint(room, "one", 2)
        assert not (project.root / "edits.sqlite-wal").exists()
        assert np.array_equal(corrected(project, None).read("one"), sheet.mask)
    assert place.network_folder(Path("/")) == ""


def test_file_systems_of_this_machine_are_told_by_psutil_where_there_is_no_proc(monkeypatch, tmp_path):
    monkeypatch.setattr(place, "_MOUNTS", tmp_path / "none")
    assert place.network_folder(tmp_path) == ""
    parts = [type("P", (), {"mountpoint": str(tmp_path), "fstype": "smbfs"})()]
    monkeypatch.setattr(place.psutil, "disk_partitions", lambda all: parts)
    assert place.network_folder(tmp_path) == "smbfs"


@pytest.mark.parametrize("far", [0, 1000])
def test_the_log_is_moved_into_the_journal_before_it_grows(project, monkeypatch, far):
    monkeypatch.setattr(durable, "_LONG", 50_000)
    monkeypatch.setattr(durable, "_FAR", far)
    monkeypatch.setattr(durable, "_WAIT", 0.01)
    rng = np.random.default_rng(0)
    log = project.root / "edits.sqlite-wal"
    with EditRoom.open(project) as room:
        sheet = room.load("one", _ones())
        written = 0
        for n in range(400):
            room.commit(sheet, "P", "brush", (0, 0, *_SIZE), rng.integers(0, 3, _SIZE).astype(np.uint8))
            written += 16_000
            if n % 20 == 0:
                time.sleep(0.2)
        assert log.stat().st_size < written / 2
    assert not log.exists()
