"""A reader sees the old bytes or the new ones, whatever happens to the writer."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine import atomic
from engine.atomic import clear_parts, new_folder, write_bytes, write_json, write_text, writing

ROOT = Path(__file__).resolve().parents[1]
posix = pytest.mark.skipif(os.name == "nt", reason="POSIX rights, limits and folder syncs")


def child(code: str, *words: str, **how) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        **how,
    )


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_bytes_text_and_json_arrive_as_given(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a.bin", b"\0\r\n\xff")
    write_text(tmp_path / "b.txt", "é\nü\n")
    write_json(tmp_path / "deep" / "c.json", {"x": [1, "é"]})
    assert (tmp_path / "a.bin").read_bytes() == b"\0\r\n\xff"
    assert (tmp_path / "b.txt").read_bytes() == "é\nü\n".encode()
    assert (tmp_path / "deep" / "c.json").read_bytes().endswith(b"]\n}\n")
    assert json.loads((tmp_path / "deep" / "c.json").read_text(encoding="utf-8")) == {"x": [1, "é"]}


def test_json_without_a_meaning_is_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1})
    for value in (float("nan"), float("inf"), {"x": object()}):
        with pytest.raises((ValueError, TypeError)):
            write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1} and names(tmp_path) == ["a.json"]


def test_an_error_while_writing_leaves_the_old_bytes_and_one_file(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    write_bytes(path, b"old")
    with pytest.raises(OSError, match="half"), writing(path) as file:
        file.write(b"ne")
        raise OSError("half a document")
    assert path.read_bytes() == b"old" and names(tmp_path) == ["mask.png"]


@posix
@pytest.mark.parametrize("moment", ["before_replace", "while_writing"])
def test_a_kill_leaves_the_old_bytes(tmp_path: Path, moment: str) -> None:
    write_bytes(tmp_path / "f", b"old")
    code = (
        "import os, pathlib, signal, sys\n"
        "from engine.atomic import writing\n"
        "die = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"if {moment == 'before_replace'}: os.replace = die\n"
        "with writing(pathlib.Path(sys.argv[1])) as file:\n"
        "    file.write(b'new'); file.flush()\n"
        f"    if {moment == 'while_writing'}: die()\n"
    )
    assert child(code, str(tmp_path / "f")).returncode == -signal.SIGKILL
    assert (tmp_path / "f").read_bytes() == b"old"
    (left,) = (p for p in tmp_path.iterdir() if p.name != "f")
    assert left.name.startswith(".part-")
    assert clear_parts(tmp_path, older_than=lambda p: False) == 0
    assert clear_parts(tmp_path) == 1 and names(tmp_path) == ["f"]


@posix
def test_the_file_is_synced_before_it_is_renamed_and_the_folder_after(tmp_path: Path, monkeypatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def record_sync(handle: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    def record_replace(a, b) -> None:
        done.append("replace")
        replace(a, b)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(os, "replace", record_replace)
    write_bytes(tmp_path / "f", b"x")
    assert done == ["file", "replace", "folder"]
    done.clear()
    with new_folder(tmp_path / "set") as folder:
        (folder / "a").write_bytes(b"a")
        (folder / "below").mkdir()
        (folder / "below" / "b").write_bytes(b"b")
    cut = done.index("replace")
    assert sorted(done[:cut]) == ["file", "file", "folder", "folder"] and done[cut:] == ["replace", "folder"]


@posix
def test_a_full_disk_leaves_the_old_bytes(tmp_path: Path) -> None:
    write_bytes(tmp_path / "f", b"old")
    code = (
        "import pathlib, resource, signal, sys\n"
        "from engine.atomic import new_folder, write_bytes\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "for n in range(2):\n"
        "    try:\n"
        "        if n: \n"
        "            with new_folder(root / 'set') as folder: (folder / 'a').write_bytes(bytes(9999))\n"
        "        else: write_bytes(root / 'f', bytes(9999))\n"
        "    except OSError as error:\n"
        "        print(error.errno)\n"
    )
    done = child(code, str(tmp_path))
    assert done.stdout.split() == [str(errno.EFBIG)] * 2, done.stderr
    assert (tmp_path / "f").read_bytes() == b"old" and names(tmp_path) == ["f"]


@posix
def test_a_folder_without_the_right_to_write_is_an_error_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    tmp_path.chmod(0o555)
    # Root writes everywhere, so the child gives its rights up. It stands in the folder already,
    # as it may not walk there.
    code = (
        "import os, pathlib\n"
        "from engine.atomic import write_bytes\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "try: write_bytes(pathlib.Path('f'), b'new')\n"
        "except PermissionError: print('refused')\n"
    )
    try:
        done = child(code, cwd=tmp_path)
    finally:
        tmp_path.chmod(0o755)
    assert done.stdout.strip() == "refused", done.stderr
    assert (tmp_path / "f").read_bytes() == b"old" and names(tmp_path) == ["f"]


def test_a_folder_in_the_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "f" / "inner").mkdir(parents=True)
    with pytest.raises(OSError):
        write_bytes(tmp_path / "f", b"x")
    assert names(tmp_path) == ["f"] and names(tmp_path / "f") == ["inner"]


def test_a_file_in_the_place_of_the_parent_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    with pytest.raises(OSError):
        write_bytes(tmp_path / "f" / "g", b"x")
    assert (tmp_path / "f").read_bytes() == b"old"


@posix
def test_a_link_is_replaced_and_never_written_through(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"theirs")
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    write_bytes(tmp_path / "link", b"ours")
    assert (tmp_path / "outside").read_bytes() == b"theirs"
    assert not (tmp_path / "link").is_symlink() and (tmp_path / "link").read_bytes() == b"ours"


@posix
def test_rights_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    write_bytes(tmp_path / "ours", b"")
    with new_folder(tmp_path / "set"):
        pass
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert (tmp_path / "set").stat().st_mode == (tmp_path / "folder").stat().st_mode


@pytest.mark.parametrize("name", ["with space", "ünï", "a.tar.gz", "-dash", "new\nline", "'quote\""])
@posix
def test_odd_names(tmp_path: Path, name: str) -> None:
    write_bytes(tmp_path / name, b"x")
    assert names(tmp_path) == [name]


def test_a_new_folder_is_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), new_folder(tmp_path / "set") as folder:
        (folder / "a").write_bytes(b"a")
        assert not (tmp_path / "set").exists()
        raise RuntimeError
    assert names(tmp_path) == []
    with new_folder(tmp_path / "set") as folder:
        (folder / "a").write_bytes(b"a")
    assert names(tmp_path) == ["set"] and names(tmp_path / "set") == ["a"]


def test_a_folder_is_replaced_only_on_request_and_only_by_a_whole_one(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "old").write_bytes(b"old")
    with pytest.raises(FileExistsError), new_folder(tmp_path / "set"):
        raise AssertionError("the block must not run")
    with pytest.raises(RuntimeError), new_folder(tmp_path / "set", replace=True) as folder:
        (folder / "new").write_bytes(b"n")
        raise RuntimeError
    assert names(tmp_path) == ["set"] and names(tmp_path / "set") == ["old"]
    with new_folder(tmp_path / "set", replace=True) as folder:
        (folder / "new").write_bytes(b"n")
    assert names(tmp_path) == ["set"] and names(tmp_path / "set") == ["new"]


def test_a_folder_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError), new_folder(tmp_path / "set"):
        (tmp_path / "set").mkdir()
        (tmp_path / "set" / "theirs").write_bytes(b"t")
    assert names(tmp_path) == ["set"] and names(tmp_path / "set") == ["theirs"]


def test_when_the_new_folder_cannot_take_the_name_the_old_one_comes_back(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "old").write_bytes(b"old")
    replace, calls = os.replace, []

    def second_fails(a, b) -> None:
        calls.append(a)
        if len(calls) == 2:
            raise OSError(errno.EIO, "the disk is gone")
        replace(a, b)

    monkeypatch.setattr(os, "replace", second_fails)
    with pytest.raises(OSError, match="disk is gone"), new_folder(tmp_path / "set", replace=True) as folder:
        (folder / "new").write_bytes(b"n")
    assert names(tmp_path) == ["set"] and names(tmp_path / "set") == ["old"]


def test_a_missing_parent_is_made(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a" / "b"):
        pass
    assert (tmp_path / "a" / "b").is_dir()


def test_clear_parts_takes_only_what_a_writer_left(tmp_path: Path) -> None:
    (tmp_path / ".part-x").write_bytes(b"")
    (tmp_path / ".part-y").mkdir()
    (tmp_path / ".part-y" / "z").write_bytes(b"")
    (tmp_path / "part-kept").write_bytes(b"")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / ".part-kept").write_bytes(b"")
    assert clear_parts(tmp_path) == 2
    assert names(tmp_path) == ["below", "part-kept"] and names(tmp_path / "below") == [".part-kept"]
    assert clear_parts(tmp_path / "nowhere") == 0


@posix
def test_two_writers_never_mix(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, time\n"
        "from engine.atomic import write_bytes\n"
        "path, letter = pathlib.Path(sys.argv[1]), sys.argv[2].encode()\n"
        "until = time.monotonic() + 1.0\n"
        "while time.monotonic() < until: write_bytes(path, letter * 20_000)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    path = tmp_path / "f"
    write_bytes(path, b"a" * 20_000)
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(path), letter], env=environment) for letter in "ab"
    ]
    seen = set()
    until = time.monotonic() + 30
    while any(w.poll() is None for w in writers) and time.monotonic() < until:
        data = path.read_bytes()
        assert data in (b"a" * 20_000, b"b" * 20_000)
        seen.add(data[:1])
    assert [w.wait(timeout=30) for w in writers] == [0, 0]
    assert names(tmp_path) == ["f"] and seen


def test_public_names() -> None:
    assert all(callable(getattr(atomic, name)) for name in atomic.__all__)
