"""npz files of others: read whole, or refused in a sentence; never executed, never empty by damage."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from engine.arrays import MAX_BYTES, read_npz, write_npz
from engine.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
rng = np.random.default_rng(0)
ARRAYS = {
    "maps": rng.random((3, 12, 16)).astype(np.float16),
    "peaks": rng.random(3).astype(np.float32),
    "none": np.zeros((0, 12, 16), np.float16),
    "scalar": np.array(7, np.int64),
    "turned": np.asfortranarray(rng.integers(0, 255, (5, 4), dtype=np.uint8)),
    "names": np.array(["cat", "Übel"]),
    "swapped": np.arange(5, dtype=">i4"),
}
FACTS = {"kind": "cams", "é": [1, None, {"x": 0.5}]}


def made(tmp_path: Path) -> Path:
    write_npz(tmp_path / "a.npz", ARRAYS, FACTS)
    return tmp_path / "a.npz"


def header(text: str, version: bytes = b"\x01\x00") -> bytes:
    body = text.encode("latin1") + b"\n"
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(body))
    return b"\x93NUMPY" + version + size + body


def zipped(path: Path, compression: int = zipfile.ZIP_STORED, **parts: bytes) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in parts.items():
            archive.writestr(f"{name}.npy", data)
    return path


def told(path: Path, **how) -> str:
    with pytest.raises(UserError) as raised:
        read_npz(path, **how)
    assert raised.value.found and raised.value.accepted
    return str(raised.value)


def test_round_trip(tmp_path: Path) -> None:
    arrays, facts = read_npz(made(tmp_path))
    assert facts == FACTS and arrays.keys() == ARRAYS.keys()
    for name, wanted in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], wanted)
        assert arrays[name].dtype == wanted.dtype and arrays[name].shape == wanted.shape
        assert arrays[name].flags.writeable
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:  # anybody's numpy reads it too
        np.testing.assert_array_equal(file["maps"], ARRAYS["maps"])


def test_files_of_numpy_itself_are_read(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "b.npz", **ARRAYS)
    arrays, facts = read_npz(tmp_path / "b.npz")
    assert facts == {}
    np.testing.assert_array_equal(arrays["turned"], ARRAYS["turned"])


def test_objects_are_never_written_and_never_read(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_npz(tmp_path / "a.npz", {"x": np.array([{}], dtype=object)}, {})
    with pytest.raises(ValueError):
        write_npz(tmp_path / "a.npz", {}, {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []

    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    objects = header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }") + pickle.dumps([Payload()])
    assert "pickled objects" in told(zipped(tmp_path / "b.npz", x=objects))
    nested = header("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,), }") + pickle.dumps(
        [Payload()]
    )
    assert "pickled objects" in told(zipped(tmp_path / "c.npz", x=nested))
    assert not (tmp_path / "ran").exists()


FORGED = {
    "373 GiB": ("{'descr': '<f8', 'fortran_order': False, 'shape': (50000000000,), }", b"12345678"),
    "more than is there": ("{'descr': '<f4', 'fortran_order': False, 'shape': (9,), }", b"1234"),
    "overflow": ("{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", b""),
    "no axis, huge axis": (f"{{'descr': '<f8', 'fortran_order': False, 'shape': (0, {1 << 62}, {1 << 62}), }}", b""),
    "negative": ("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", b"12345678"),
    "negative twice": ("{'descr': '<u1', 'fortran_order': False, 'shape': (-2, -2), }", b"1234"),
    "many axes": (f"{{'descr': '<u1', 'fortran_order': False, 'shape': {(1,) * 99}, }}", b"1"),
    "no size": ("{'descr': '|V0', 'fortran_order': False, 'shape': (3,), }", b""),
    "empty type": ("{'descr': (), 'fortran_order': False, 'shape': (1,), }", b"1"),
    "no type": ("{'descr': 'zebra', 'fortran_order': False, 'shape': (1,), }", b"1"),
    "type of types": ("{'descr': [1, 2, 3], 'fortran_order': False, 'shape': (1,), }", b"1"),
    "huge type": ("{'descr': '|V2147483647', 'fortran_order': False, 'shape': (9,), }", b"1"),
    "code": ("__import__('os').system('false')", b""),
    "deep": ("(" * 9000, b""),
    "text": ("{'descr': '<f8', 'fortran_order': 'no', 'shape': (1,), }", b"12345678"),
    "keys": ("{'descr': '<f8'}", b""),
    "list": ("[1, 2]", b""),
    "nothing": ("", b""),
    "unbalanced": ("{'a': (", b""),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_forged_headers(tmp_path: Path, name: str) -> None:
    text, data = FORGED[name]
    told(zipped(tmp_path / "a.npz", x=header(text) + data))
    told(zipped(tmp_path / "b.npz", x=header(text, b"\x02\x00") + data))


@pytest.mark.parametrize(
    "part", [b"", b"\x93NUMPY", b"\x93NUMPY\x09\x00", b"\x93NUMPY\x01\x00\xff\xff", b"plain text"]
)
def test_parts_that_are_no_arrays(tmp_path: Path, part: bytes) -> None:
    told(zipped(tmp_path / "a.npz", x=part))


@pytest.mark.parametrize("text", [b"[1, 2]", b"no json", b"\xff\xfe", b"[" * 100_000, b"{" * 3, b"9" * 9999])
def test_facts_that_are_none(tmp_path: Path, text: bytes) -> None:
    facts = io.BytesIO()
    np.save(facts, np.frombuffer(text, np.uint8))
    told(zipped(tmp_path / "a.npz", facts=facts.getvalue()))


def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    lines = header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({1 << 24},), }}")
    bomb = zipped(tmp_path / "bomb.npz", zipfile.ZIP_DEFLATED, x=lines + bytes(1 << 24))
    assert bomb.stat().st_size < 1 << 16
    assert "unpacks to 17 MB" in told(bomb, max_bytes=1 << 23)
    many = zipped(tmp_path / "many.npz", **{f"a{n}": b"" for n in range(65)})
    assert "65 parts" in told(many)
    facts = io.BytesIO()
    np.save(facts, np.full(1 << 23, ord(" "), np.uint8))
    assert "facts take" in told(zipped(tmp_path / "facts.npz", zipfile.ZIP_DEFLATED, facts=facts.getvalue()))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process's own peak")
def test_the_largest_file_that_is_read_takes_less_than_a_gigabyte(tmp_path: Path) -> None:
    lines = header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({MAX_BYTES - 128},), }}")
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("x.npy", "w") as part,
    ):
        part.write(lines)
        for _ in range((MAX_BYTES >> 20) - 1):
            part.write(bytes(1 << 20))
        part.write(bytes((1 << 20) - 128))
    code = (
        "import pathlib, re, sys\n"
        "from engine.arrays import read_npz\n"
        "arrays, _ = read_npz(pathlib.Path(sys.argv[1]))\n"
        # Not ru_maxrss: a child inherits that of the process which started it.
        "peak = re.search(r'VmHWM:\\s*(\\d+) kB', pathlib.Path('/proc/self/status').read_text())[1]\n"
        "print(arrays['x'].nbytes, int(peak) * 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.npz")],
        capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    held, peak = map(int, done.stdout.split())
    assert held == MAX_BYTES - 128 and peak < 1 << 30


def test_a_size_that_lies_is_found_out(tmp_path: Path) -> None:
    data = bytearray(made(tmp_path).read_bytes())
    for signature, at in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        place = data.index(signature) + at
        data[place : place + 4] = struct.pack("<I", 0xFFFFFFF0)
    (tmp_path / "a.npz").write_bytes(data)
    told(tmp_path / "a.npz")


@pytest.mark.parametrize("compressed", [False, True])
def test_every_cut_is_damage_and_never_an_empty_file(tmp_path: Path, compressed: bool) -> None:
    path = made(tmp_path)
    if compressed:
        np.savez_compressed(path, **ARRAYS)
    whole = path.read_bytes()
    for share in range(0, 100, 4):
        path.write_bytes(whole[: len(whole) * share // 100])
        told(path)
    for cut in range(1, 30):
        path.write_bytes(whole[:-cut])
        told(path)


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_wrong_bytes_give_a_sentence_or_the_array(tmp_path: Path, compression: int) -> None:
    part = io.BytesIO()
    np.save(part, ARRAYS["maps"])
    path = zipped(tmp_path / "a.npz", compression, x=part.getvalue())
    whole = path.read_bytes()
    wrong = np.random.default_rng(compression)
    for _ in range(250):
        data = bytearray(whole)
        for place in wrong.integers(0, len(data), 3):
            data[place] = wrong.integers(0, 256)
        path.write_bytes(data)
        try:
            read_npz(path)
        except UserError as error:
            assert error.accepted


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / "missing.npz")
    told(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.npz")
        assert "no file" in told(tmp_path / "pipe.npz")
    with zipfile.ZipFile(tmp_path / "empty.npz", "w"):
        pass
    assert read_npz(tmp_path / "empty.npz") == (
        {},
        {},
    )  # an archive of nothing holds nothing: its readers ask by name


def test_names_in_the_archive_never_become_files(tmp_path: Path) -> None:
    part = io.BytesIO()
    np.save(part, ARRAYS["peaks"])
    path = zipped(tmp_path / "a.npz", **{"../../evil": part.getvalue(), "/absolute": part.getvalue()})
    arrays, _ = read_npz(path)
    assert set(arrays) == {"../../evil", "/absolute"} and [p.name for p in tmp_path.iterdir()] == ["a.npz"]
