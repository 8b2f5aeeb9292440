"""Climbs on disk: round trip, growth while reading, paths over branches, damaged and hostile files."""

from __future__ import annotations

import json
import os
import runpy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import UserError
from engine.results import (
    ClimbTrace,
    branches_of,
    free_id,
    path_to,
    remove,
    traces_in,
)
from engine.results.climbs import MOST_CELLS

FAKE = runpy.run_path(str(Path(__file__).with_name("fake_climbs.py")))
begin, row_of, write = FAKE["begin"], FAKE["row_of"], FAKE["write"]
SMALL: dict[str, Any] = {"size": (30, 40), "grid": (6, 8)}


def change(trace: ClimbTrace, **facts: Any) -> Path:
    """Forge facts of a trace."""
    path = trace.folder / "trace.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))
    return trace.folder


def test_what_is_written_is_read(tmp_path: Path) -> None:
    writer = begin(tmp_path, "2", steps=3, pictures=True, device="cpu", **SMALL)
    rows = [row_of(writer, t) for t in range(4)]
    for row in rows:
        writer.add(row)
    trace = writer.end("plateau", seconds=1.5)
    assert (trace.id, trace.cls, trace.first, trace.last, trace.rows) == ("2", 2, 0, 3, 4)
    assert (trace.size, trace.picture_size, trace.grid) == ((30, 40), (30, 40), (6, 8))
    assert trace.ending == "plateau" and trace.parent is None and trace.has_pictures
    assert trace.settings["lam"] == 7.0
    assert trace.facts["device"] == "cpu" and trace.facts["seconds"] == 1.5
    dtypes = {
        "maps": np.float16,
        "masks": np.uint8,
        "scores": np.float32,
        "penalties": np.float32,
        "pictures": np.float16,
        "saliency": np.uint8,
    }
    for name, dtype in dtypes.items():
        found = trace.array(name)
        assert found.dtype == dtype and not found.flags.writeable
        np.testing.assert_array_equal(found, np.stack([np.asarray(r[name]).astype(dtype) for r in rows]))


def test_it_can_be_read_while_it_grows(tmp_path: Path) -> None:
    writer = begin(tmp_path, "0", steps=5, **SMALL)
    trace = ClimbTrace.load(tmp_path / "0")
    assert (trace.rows, trace.last, trace.ending) == (0, -1, "")
    assert trace.array("maps").shape == (0, 6, 8)
    assert path_to({"0": trace}, "0").last == -1
    for t in range(3):
        row = row_of(writer, t)
        writer.add(row)
        assert trace.rows == t, "what was loaded does not change under the reader"
        trace = trace.reread()
        assert trace.last == t
        np.testing.assert_array_equal(trace.array("maps")[t], row["maps"].astype(np.float16))
    ended = writer.end("stopped")
    assert (ended.rows, ended.ending) == (3, "stopped")
    # Three of six rows were written; the files keep their length and the rest is not shown.
    assert ended.array("scores").shape == (3, 3)


def test_a_batch_shows_its_rows_at_the_end(tmp_path: Path) -> None:
    writer = begin(tmp_path, "0", steps=2, **SMALL)
    for t in range(3):
        writer.add(row_of(writer, t), tell=False)
        assert ClimbTrace.load(tmp_path / "0").rows == 0
    ended = writer.end("finished")
    assert ended.rows == 3
    np.testing.assert_array_equal(ended.array("maps")[2], row_of(writer, 2)["maps"].astype(np.float16))


def test_a_map_opened_early_sees_rows_that_come_later(tmp_path: Path) -> None:
    writer = begin(tmp_path, "0", steps=2, **SMALL)
    writer.add(row_of(writer, 0))
    early = np.load(tmp_path / "0" / "maps.npy", mmap_mode="r")
    writer.add(row_of(writer, 1))
    np.testing.assert_array_equal(early[1], row_of(writer, 1)["maps"].astype(np.float16))


def test_files_take_no_room_before_they_are_written(tmp_path: Path) -> None:
    begin(tmp_path, "0", steps=400, pictures=True)
    held = (tmp_path / "0" / "pictures.npy").stat()
    assert held.st_size > 400 * 375 * 500 * 6 * 2
    if hasattr(held, "st_blocks"):
        assert held.st_blocks * 512 < 1 << 20


def test_a_writer_refuses_what_does_not_fit(tmp_path: Path) -> None:
    writer = begin(tmp_path, "0", steps=1, **SMALL)
    good = row_of(writer, 0)
    with pytest.raises(ValueError, match="maps"):
        writer.add({**good, "maps": good["maps"][0]})  # would be repeated over all rows of the map
    with pytest.raises(UserError, match="step 0 the scores"):
        writer.add({**good, "scores": np.array([1.0, np.nan, 0.0])})
    assert ClimbTrace.load(tmp_path / "0").rows == 0
    writer.add({**good, "maps": np.full((6, 8), 1e9)})
    assert np.isfinite(ClimbTrace.load(tmp_path / "0").array("maps")).all()
    writer.add(good)
    with pytest.raises(ValueError, match="full"):
        writer.add(good)
    with pytest.raises(ValueError, match="lost"):
        writer.end("lost")
    with pytest.raises(FileExistsError):
        begin(tmp_path, "0", steps=1, **SMALL)


@pytest.mark.parametrize(
    "facts",
    [{"class": 3}, {"class": -1}, {"image": "../cat"}, {"cell": 0.0}, {"parent": "0", "at": 3, "first": 3}],
)
def test_a_writer_leaves_no_folder_behind_for_facts_that_no_climb_has(
    tmp_path: Path, facts: dict[str, Any]
) -> None:
    with pytest.raises(ValueError):
        begin(tmp_path, "0", steps=1, **SMALL, **facts)
    assert not (tmp_path / "0").exists()


def tree(root: Path) -> dict[str, ClimbTrace]:
    """0: 0..6; 0.1 leaves it at 3: 4..8; 0.2 leaves 0.1 at 6: 7..9; 0.3 leaves 0 at its end: 7..8."""
    write(root, "0", steps=6, **SMALL)
    write(root, "0.1", steps=5, parent="0", at=3, strength=2, settings={"lam": 0.0}, **SMALL)
    write(root, "0.2", steps=3, parent="0.1", at=6, strength=3, settings={"aggregate": "last"}, **SMALL)
    write(root, "0.3", steps=2, parent="0", at=6, strength=0.5, **SMALL)
    return traces_in(root)


def test_a_path_goes_over_branches_of_branches(tmp_path: Path) -> None:
    traces = tree(tmp_path)
    assert list(traces) == ["0", "0.1", "0.2", "0.3"]
    path = path_to(traces, "0.2")
    assert [t.id for t in path.traces] == ["0", "0.1", "0.2"] and path.leaf.id == "0.2"
    assert [(t.id, row) for t, row in path.parts] == [
        *(("0", n) for n in range(4)),
        *(("0.1", n) for n in range(3)),
        *(("0.2", n) for n in range(3)),
    ]
    for name in ("maps", "masks", "scores", "penalties"):
        naive = np.stack([traces[t.id].array(name)[row] for t, row in path.parts])
        np.testing.assert_array_equal(path.stacked(name), naive)
        for step in range(path.last + 1):
            np.testing.assert_array_equal(path.row(name, step), naive[step])
    at_the_end = path_to(traces, "0.3")
    assert at_the_end.last == 8
    assert [t.id for t, _ in at_the_end.parts] == ["0"] * 7 + ["0.3"] * 2


def test_a_branch_without_a_row_yet_is_its_parents_steps(tmp_path: Path) -> None:
    traces = tree(tmp_path)
    begin(tmp_path, "0.4", steps=3, parent="0", at=2, **SMALL)
    path = path_to(traces_in(tmp_path), "0.4")
    assert path.last == 2 and path.stacked("maps").shape[0] == 3
    np.testing.assert_array_equal(path.attribution(2), path_to(traces, "0").attribution(2))


def test_the_final_map_is_the_sum_divided_by_its_peak(tmp_path: Path) -> None:
    path = path_to(tree(tmp_path), "0.2")
    for step in range(path.last + 1):
        total = np.zeros((6, 8), np.float32)
        for t in range(step + 1):
            total += path.row("maps", t).astype(np.float32)
        np.testing.assert_allclose(path.raw_attribution(step, aggregate="sum"), total, rtol=1e-6)
        found = path.attribution(step, aggregate="sum")
        np.testing.assert_allclose(found, total / total.max(), rtol=1e-6)
        assert found.dtype == np.float32 and found.max() == 1.0
        last = path.row("maps", step).astype(np.float32)
        # 0.2 was set to show the last map alone.
        np.testing.assert_allclose(path.attribution(step), last / last.max(), rtol=1e-6)


def test_a_map_of_zeros_has_no_peak(tmp_path: Path) -> None:
    writer = begin(tmp_path, "0", steps=1, **SMALL)
    writer.add({**row_of(writer, 0), "maps": np.zeros((6, 8))})
    path = path_to(traces_in(tmp_path), "0")
    assert not path.attribution(0).any()


def test_ids_are_free_and_removed_ones_are_gone(tmp_path: Path) -> None:
    assert free_id(tmp_path, 0) == "0"
    traces = tree(tmp_path)
    assert free_id(tmp_path, 0) == "0.4" and free_id(tmp_path, 12) == "12"
    assert branches_of(traces, "0") == ("0.1", "0.3", "0.2")
    assert branches_of(traces, "0.1") == ("0.2",) and branches_of(traces, "0.2") == ()
    remove(traces["0.2"])
    assert list(traces_in(tmp_path)) == ["0", "0.1", "0.3"] and free_id(tmp_path, 0) == "0.2"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0", "0.1", "0.3"]


def test_ids_are_ordered_by_number_and_other_folders_are_passed_over(tmp_path: Path) -> None:
    for name in ("10", "2", "2.10", "2.9"):
        parent = None if "." not in name else "2"
        write(tmp_path, name, steps=1, classes=11, parent=parent, **SMALL)
    for name in (".part-2", "2.x", "a", "1234", "٣"):
        (tmp_path / name).mkdir()
    (tmp_path / "3").write_text("a file")
    (tmp_path / "4").mkdir()
    assert list(traces_in(tmp_path)) == ["2", "2.9", "2.10", "10"]
    assert traces_in(tmp_path / "none") == {}


def test_missing_parents_and_circles_are_told(tmp_path: Path) -> None:
    traces = tree(tmp_path)
    del traces["0.1"]
    with pytest.raises(UserError, match="goes on from '0.1', which is missing"):
        path_to(traces, "0.2")
    with pytest.raises(UserError, match="'9'"):
        path_to(traces, "9")
    traces = traces_in(tmp_path)
    change(traces["0.1"], parent="0.2", at=3)
    with pytest.raises(UserError, match="missing or damaged"):
        path_to(traces_in(tmp_path), "0.2")
    change(traces["0.1"], parent="0.1", at=3)
    with pytest.raises(UserError, match="missing or damaged"):
        path_to(traces_in(tmp_path), "0.1")


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"at": 9, "first": 10}, "it leaves at step 9, and there are 0 to 6"),
        ({"image": "dog_2"}, "another image"),
        ({"origin": 3.0}, "another origin"),
        ({"size": [30, 41]}, "another size"),
    ],
)
def test_branches_that_do_not_fit_their_parent_are_told(
    tmp_path: Path, facts: dict[str, Any], said: str
) -> None:
    traces = tree(tmp_path)
    change(traces["0.1"], **facts)
    traces = traces_in(tmp_path)
    assert "0.1" in traces
    with pytest.raises(UserError, match=said):
        path_to(traces, "0.1")
    assert path_to(traces, "0").last == 6


def test_a_branch_may_not_leave_before_its_own_parent_begins(tmp_path: Path) -> None:
    traces = tree(tmp_path)
    change(traces["0.2"], at=2, first=3)
    with pytest.raises(UserError, match="leaves at step 2, and there are 4 to 8"):
        path_to(traces_in(tmp_path), "0.2")
    assert len(traces) == 4


FORGED: dict[str, dict[str, Any]] = {
    "another kind": {"kind": "cams"},
    "a path as the image": {"image": "../../etc/passwd"},
    "an absolute path as the image": {"image": "/etc/passwd"},
    "no image": {"image": ""},
    "a path as the parent": {"parent": "../0", "at": 3, "first": 4},
    "a parent in other digits": {"parent": "٣", "at": 3, "first": 4},
    "a gap behind the parent": {"parent": "0", "at": 3, "first": 6},
    "a start in the middle": {"first": 4},
    "a negative class": {"class": -1},
    "a class without a score": {"class": 3},
    "a huge image": {"size": [1 << 40, 2]},
    "an image of one number": {"size": [5]},
    "a size of nothing": {"size": None},
    "a picture of no size": {"picture_size": [0, 40]},
    "more rows than the files": {"rows": 12},
    "negative rows": {"rows": -1},
    "endless rows": {"rows": 1e400},
    "a billion planned steps": {"planned": 10**9},
    "a cell of nothing": {"cell": 0},
    "an endless cell": {"cell": "inf"},
    "no origin": {"origin": "nan"},
    "another ending": {"ending": "x" * 100_000},
    "settings of text": {"settings": "lam=7"},
    "no shapes": {"shapes": None},
    "shapes without maps": {"shapes": {}},
    "shapes of paths": {"shapes": {"../maps": [7, 6, 8]}},
}


@pytest.mark.parametrize("facts", FORGED.values(), ids=FORGED.keys())
def test_forged_facts_are_refused(tmp_path: Path, facts: dict[str, Any]) -> None:
    trace = write(tmp_path, "0", steps=6, **SMALL)
    with pytest.raises(UserError) as told:
        ClimbTrace.load(change(trace, **facts))
    assert "is not a climb" in str(told.value) and len(str(told.value)) < 1_000
    assert traces_in(tmp_path) == {}


SHAPES: dict[str, dict[str, Any]] = {
    "maps of two sides": {"maps": [7, 48]},
    "maps of more": {"maps": [7, 60, 8]},
    "more cells than memory": {"maps": [7, 1 << 14, 1 << 14], "masks": [7, 1 << 14, 1 << 14]},
    "fewer masks": {"masks": [5, 6, 8]},
    "penalties of three": {"penalties": [7, 3]},
    "scores of a thousand": {"scores": [7, 1000]},
    "scores of text": {"scores": "abc"},
    "negative sides": {"maps": [7, -6, -8], "masks": [7, -6, -8]},
    "halves": {"maps": [7, 6.0, 8]},
    "pictures of another size": {"pictures": [7, 2, 3, 10, 10]},
    "pictures of many frames": {"pictures": [7, 9, 3, 30, 40]},
    "an unknown array": {"secrets": [7]},
}


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES.keys())
def test_forged_shapes_are_refused(tmp_path: Path, shapes: dict[str, Any]) -> None:
    trace = write(tmp_path, "0", steps=6, **SMALL)
    with pytest.raises(UserError, match="is not a climb"):
        ClimbTrace.load(change(trace, shapes={**trace.facts["shapes"], **shapes}))


TEXTS: dict[str, bytes] = {
    "no JSON": b"\x00\xff\xfe",
    "a list": b"[]",
    "a number": b"7",
    "deep": b"[" * 100_000,
    "long": b" " * (1 << 21) + b"{}",
    "a huge number": b'{"size": [' + b"9" * 5_000 + b", 2]}",
    "empty": b"",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_texts_that_are_no_facts_are_refused(tmp_path: Path, text: bytes) -> None:
    trace = write(tmp_path, "0", steps=1, **SMALL)
    (trace.folder / "trace.json").write_bytes(text)
    with pytest.raises(UserError, match="is not a climb"):
        ClimbTrace.load(trace.folder)


def _objects(path: Path) -> None:
    np.save(path, np.array([{"a": 1}] * 7, object), allow_pickle=True)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _promise(path: Path) -> None:
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f2", "fortran_order": False, "shape": (7, 1 << 30, 1 << 30)}
        )


def _forge_header(path: Path) -> None:
    text = b"{'descr': '<f2', 'shape': " + b"(" * 5_000
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


FILES: dict[str, Callable[[Path], None]] = {
    "objects": _objects,
    "cut short": _cut,
    "another dtype": lambda p: np.save(p, np.zeros((7, 6, 8), np.float64)),
    "another shape": lambda p: np.save(p, np.zeros((7, 8, 6), np.float16)),
    "more than the file holds": _promise,
    "a forged header": _forge_header,
    "empty": lambda p: p.write_bytes(b"") and None,
    "no file": lambda p: p.unlink(),
    "a folder": _folder,
}


@pytest.mark.parametrize("damage", FILES.values(), ids=FILES.keys())
def test_damaged_arrays_are_told_when_they_are_asked_for(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    trace = write(tmp_path, "0", steps=6, **SMALL)
    damage(trace.folder / "maps.npy")
    trace = trace.reread()
    assert trace.array("scores").shape == (7, 3)
    with pytest.raises(UserError, match=r"maps\.npy"):
        trace.array("maps")
    with pytest.raises(UserError, match=r"maps\.npy"):
        path_to({"0": trace}, "0").attribution(3)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["trace.json", "maps.npy"])
@pytest.mark.timeout(20)
def test_a_pipe_blocks_nobody(tmp_path: Path, name: str) -> None:
    trace = write(tmp_path, "0", steps=6, **SMALL)
    (trace.folder / name).unlink()
    os.mkfifo(trace.folder / name)
    with pytest.raises(UserError, match=r"no file|no such file"):
        ClimbTrace.load(trace.folder).array("maps")


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_out_of_the_folder_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", "0", steps=1, **SMALL)
    (tmp_path / "climb").mkdir()
    (tmp_path / "climb" / "0").symlink_to(tmp_path / "elsewhere" / "0")
    assert traces_in(tmp_path / "climb") == {}


def test_numbers_that_are_not_finite_are_told(tmp_path: Path) -> None:
    trace = write(tmp_path, "0", steps=6, **SMALL)
    bad = np.array(trace.array("maps"))
    bad[2, 3, 3] = np.inf
    np.save(trace.folder / "maps.npy", bad)
    path = path_to({"0": trace}, "0")
    assert path.attribution(1).max() == 1
    with pytest.raises(UserError, match="not finite"):
        path.attribution(2)


def test_the_largest_trace_that_is_accepted_is_summed_in_seconds(tmp_path: Path) -> None:
    h = w = 1 << 10
    steps = MOST_CELLS // (h * w) - 1
    begin(tmp_path, "0", steps=steps, size=(4 * h, 4 * w), grid=(h, w))
    part = (steps + 1) // 8
    trace = ClimbTrace.load(change(ClimbTrace.load(tmp_path / "0"), rows=part))
    started = time.process_time()
    assert not path_to({"0": trace}, "0").attribution(part - 1).any()
    # The rest of it costs as much a row: 5 s for all.
    assert time.process_time() - started < 5 / 8
    with pytest.raises(ValueError, match="cells"):
        begin(tmp_path, "1", steps=steps + 1, size=(4 * h, 4 * w), grid=(h, w))


def test_many_branches_together_are_no_longer_than_one_may_be(tmp_path: Path) -> None:
    grid = (1 << 10, 1 << 10)
    how: dict[str, Any] = {"size": (4096, 4096), "grid": grid}
    steps = 150
    begin(tmp_path, "0", steps=steps - 1, **how)
    change(ClimbTrace.load(tmp_path / "0"), rows=steps)
    begin(tmp_path, "0.1", steps=steps, parent="0", at=steps - 1, **how)
    change(ClimbTrace.load(tmp_path / "0.1"), rows=steps)
    traces = traces_in(tmp_path)
    assert path_to(traces, "0").last == steps - 1
    with pytest.raises(UserError, match="more than can be shown"):
        path_to(traces, "0.1")


def test_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ClimbTrace.load(tmp_path / "0")
