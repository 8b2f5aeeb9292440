"""Files made to hurt: each gives a sentence, within five seconds of work and a gigabyte of memory.

All files are built here and read in one child process, so that its peaks of memory are theirs.
"""

from __future__ import annotations

import builtins
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.errors import UserError
from engine.images import probe, read, read_mask, thumbnail
from engine.tag_files import read_tags

_ROOT = Path(__file__).resolve().parents[1]
_SECONDS = 5
_BYTES = 2**30

# Reads every file below a folder with the reader that its top folder names.
_CHILD = """
import json, resource, signal, sys, time
from pathlib import Path
from engine.errors import UserError
from engine import images, tag_files

def late(*_):
    raise TimeoutError
signal.signal(signal.SIGPROF, late)
def forget_peak():
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass
def peak():
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
root = Path(sys.argv[1])
readers = {
    "image": [images.read, images.probe, lambda p: images.thumbnail(p, 64)],
    "mask": [images.read_mask],
    "tags": [tag_files.read_tags],
    "classes": [tag_files.read_classes],
    "split": [lambda p: tag_files.read_split(p, ["a"])],
}
for path in sorted(root.glob("*/*")):
    for number, reader in enumerate(readers[path.parent.name]):
        forget_peak()
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, 20)
        try:
            reader(path)
            said = ["read", "", "", ""]
        except UserError as error:
            said = ["UserError", error.found, error.accepted, error.todo]
        except BaseException as error:
            said = [type(error).__name__, str(error), "", ""]
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps({
            "name": f"{path.parent.name}/{path.name}", "reader": number, "said": said,
            "seconds": time.process_time() - start,
            "bytes": peak(),
        }))
"""


# --- images -------------------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *middle: bytes, bits: int = 8, colour: int = 2) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(middle) + chunk(b"IEND", b"")


def saved(form: str, size: tuple[int, int] = (40, 30), **how: Any) -> bytes:
    rng = np.random.default_rng(0)
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(file, form, **how)
    return file.getvalue()


def patched(data: bytes, at: int, form: str, *values: int) -> bytes:
    return data[:at] + struct.pack(form, *values) + data[at + struct.calcsize(form) :]


def tiff(entries: list[tuple[int, int, int, int]], tail: bytes = b"") -> bytes:
    rows = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + rows + struct.pack("<I", 0) + tail


_SIZE = [(256, 4, 1, 10), (257, 4, 1, 10), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]


def jpeg_with(middle: bytes) -> bytes:
    data = saved("JPEG")
    return data[:2] + middle + data[2:]


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def many_scans(progressive: bool = True) -> bytes:
    data = saved("JPEG", (500, 500), progressive=progressive)
    last = data[data.rfind(b"\xff\xda") : -2]
    return data[:-2] + last[: 2 + int.from_bytes(last[2:4], "big")] * 50_000 + b"\xff\xd9"


def exif_bomb() -> bytes:
    # Each of many tags claims the same megabytes of the block.
    block = tiff([(i + 1000, 7, 2**24, 100) for i in range(4000)], bytes(2**20))
    parts = (block[i : i + 65_000] for i in range(0, len(block), 65_000))
    return jpeg_with(b"".join(segment(0xE1, b"Exif\0\0" + part) for part in parts))


IMAGES: dict[str, Callable[[], bytes]] = {
    "forged.png": lambda: png(20_000, 20_000, chunk(b"IDAT", zlib.compress(bytes(100)))),
    "forged-huge.png": lambda: png(2**31 - 1, 2**31 - 1, chunk(b"IDAT", b"")),
    "bomb.png": lambda: png(20_000, 20_000, chunk(b"IDAT", zlib.compress(bytes(20_000 * 2501))), bits=1, colour=0),
    "just-over.png": lambda: png(10_001, 10_000, chunk(b"IDAT", zlib.compress(bytes(10_001 * 1300))), bits=1, colour=0),
    "no-pixels.png": lambda: png(0, 10, chunk(b"IDAT", b"")),
    "too-much-data.png": lambda: png(10, 10, chunk(b"IDAT", zlib.compress(bytes(2**26))[:-9])),
    "chunks.png": lambda: png(10, 10, chunk(b"tIME", bytes(7)) * 1_000_000),
    "text-bomb.png": lambda: png(10, 10, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**25)))),
    "profile-bomb.png": lambda: png(10, 10, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2**25)))),
    "forged.jpg": lambda: _forged_jpeg(65_500, 65_500),
    "scans-plain.jpg": lambda: many_scans(progressive=False),
    "padding.jpg": lambda: b"\xff\xd8" + b"\xff" * 2**25,
    "garbage.jpg": lambda: b"\xff\xd8\xff\xfe\0\2" + b"\0" * 2**25,
    "segments.jpg": lambda: jpeg_with(segment(0xFE, b"") * 2_000_000),
    "scans.jpg": lambda: many_scans(),
    "exif-bomb.jpg": exif_bomb,
    "forged.gif": lambda: patched(saved("GIF"), 6, "<HH", 60_000, 60_000),
    "comments.gif": lambda: saved("GIF")[:13] + bytes(768) + b"\x21\xfe" + b"\1a" * 2_000_000 + b"\0\x3b",
    "pieces.gif": lambda: saved("GIF")[:-1] + b"\x21\xfe" + b"\1a" * 2**24,
    "forged.bmp": lambda: patched(saved("BMP"), 18, "<ii", 40_000, 40_000),
    "forged.webp": lambda: b"RIFF\x1e\0\0\0WEBPVP8X\n\0\0\0" + bytes(4) + b"\xff\x3f\0" * 2 + b"VP8 \4\0\0\0abcd",
    "forged.tif": lambda: tiff([(256, 4, 1, 50_000), (257, 4, 1, 50_000), *_SIZE[2:]]),
    "tag-bomb.tif": lambda: tiff([*_SIZE, *((i + 1000, 7, 2**25, 8) for i in range(300))], bytes(2**25)),
    "tags.tif": lambda: tiff([*_SIZE, *((i % 60_000 + 300, 1, 1, 0) for i in range(60_000))]),
    "big-tags.tif": lambda: b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**40) + bytes(2**20),
    "loop.tif": lambda: tiff(_SIZE)[:-4] + struct.pack("<I", 8),
    "empty.png": lambda: b"",
    "text.png": lambda: b"not a picture\n",
    "html.jpg": lambda: b"<!doctype html><title>404</title>",
    "magic-only.png": lambda: b"\x89PNG\r\n\x1a\n",
    "magic-only.jpg": lambda: b"\xff\xd8\xff",
    "script.svg": lambda: b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>",
    "postscript.eps": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) show\n",
    "pickle.png": lambda: pickle.dumps({"a": 1}),
}  # fmt: skip

MASKS: dict[str, Callable[[], bytes]] = {
    "forged.png": lambda: png(20_000, 20_000, chunk(b"IDAT", zlib.compress(bytes(100))), colour=0),
    "rgb.png": lambda: saved("PNG"),
    "jpeg.png": lambda: saved("JPEG"),
    "tiff.png": lambda: saved("TIFF"),
    "empty.png": lambda: b"",
    "cut.png": lambda: png(400, 400, chunk(b"IDAT", zlib.compress(os.urandom(160_400))[:50_000]), colour=0),
}


def _forged_jpeg(width: int, height: int) -> bytes:
    data = saved("JPEG")
    return patched(data, data.index(b"\xff\xc0") + 5, ">HH", height, width)


# --- tag files ----------------------------------------------------------------------------------


class Runs:
    """Pickled, this asks for a call when it is read."""

    def __init__(self, call: Callable[..., Any], *args: Any) -> None:
        self.call, self.args = call, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call, self.args


def npy(body: bytes, descr: str = "|O", shape: str = "()", tail: str = "") -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}{tail}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + body


def labels_npy() -> bytes:
    file = io.BytesIO()
    np.save(file, {f"a{i}": np.eye(20, dtype=np.float32)[i] for i in range(20)}, allow_pickle=True)  # type: ignore[arg-type]
    return file.getvalue()


_LAUGHS = "<!DOCTYPE l [<!ENTITY a0 'ha'>" + "".join(
    f"<!ENTITY a{i} '{f'&a{i - 1};' * 10}'>" for i in range(1, 12)
)
_ENCODED = (
    b"\x80\4X" + struct.pack("<I", 2**22) + b"a" * 2**22 + b"q\0X\6\0\0\0latin1q\1c_codecs\nencode\nq\2"
)

TAGS: dict[str, Callable[[], bytes]] = {
    "system.npy": lambda: npy(pickle.dumps(Runs(os.system, "touch ran"))),
    "system-old.npy": lambda: npy(pickle.dumps(Runs(os.system, "touch ran"), protocol=2)),
    "system-text.npy": lambda: npy(pickle.dumps(Runs(os.system, "touch ran"), protocol=0)),
    "system-inside.npy": lambda: npy(pickle.dumps({"a": Runs(os.system, "touch ran")})),
    "eval.npy": lambda: npy(pickle.dumps(Runs(builtins.eval, "open('ran', 'w')"))),
    "open.npy": lambda: npy(pickle.dumps(Runs(builtins.open, "ran", "w"))),
    "getattr.npy": lambda: npy(b"cbuiltins\ngetattr\n."),
    "load.npy": lambda: npy(b"cnumpy\nload\n(Xran\0tR."),
    "promise.npy": lambda: npy(b"", "<f8", "(50000000000,)"),
    "promise-objects.npy": lambda: npy(b"", "|O", "(50000000000,)"),
    "plain.npy": lambda: npy(bytes(80), "<f8", "(10,)"),
    "header-deep.npy": lambda: npy(b"", shape="(" * 9_000),
    "header-code.npy": lambda: npy(b"", shape="__import__('os').system('touch ran')"),
    "header-version.npy": lambda: b"\x93NUMPY\7\0" + bytes(100),
    "header-long.npy": lambda: b"\x93NUMPY\2\0" + struct.pack("<I", 2**32 - 1) + b"{",
    "memo.npy": lambda: npy(b"\x80\4Nr" + b"\xff" * 4 + b"."),
    "text-promise.npy": lambda: npy(b"\x80\4\x8d" + b"\xff" * 8 + b"."),
    "grow.npy": lambda: npy(_ENCODED + b"h\2h\0h\1\x86R" * 300 + b"."),
    "marks.npy": lambda: npy(b"(" * 2**24 + b"."),
    "lists.npy": lambda: npy(b"]\x94" * 2**24 + b"."),
    "hash.npy": lambda: npy(b"\x80\4})" + b"q\0h\0\x86" * 60 + b"Ns."),
    "array-size.npy": lambda: npy(pickle.dumps({"a": np.zeros(20)}).replace(b"K\x14\x85", b"K\xff\x85")),
    "persistent.npy": lambda: npy(b"\x80\4X\1\0\0\0aQ."),
    "cut.npy": lambda: labels_npy()[:-40],
    "laughs.xml": lambda: (_LAUGHS + "]><annotation>&a11;</annotation>").encode(),
    "pickle.pkl": lambda: pickle.dumps({"a": ["dog"]}),
    "deep.json": lambda: b'{"a":' * 10**6,
    "deep-lists.json": lambda: b"[" * 2**24,
    "nan.json": lambda: b'{"a": [NaN]}',
    "infinity.json": lambda: b'{"a": -Infinity}',
    "twice.json": lambda: b'{"a": ["dog"], "a": ["cat"]}',
    "digits.json": lambda: b'{"a": ' + b"1" * 10**6 + b"}",
    "lists.json": lambda: b'{"a": [' + b"[]," * (2**24) + b"[]]}",
    "objects.json": lambda: b'{"a": [' + b'{"":0},' * (2**22) + b"[]]}",
    "numbers.json": lambda: b'{"a": [' + b"1.5," * (2**23) + b"1]}",
    "keys.json": lambda: b"{" + b",".join(b'"k%07d":[]' % i for i in range(1_500_000)) + b"}",
    "escapes.json": lambda: b'{"' + b"\\n" * 2**23 + b'": []}',
    "wide.json": lambda: ('{"a": ["\U0001f600' + "a" * (2**25) + '"]}').encode(),
    "surrogate.json": lambda: b'{"a": ["\\ud800"]}',
    "bytes.csv": lambda: os.urandom(4096),
    "nul.csv": lambda: b"image,tags\na,\0\n",
    "utf16.csv": lambda: "image,tags\na,dog\n".encode("utf-16"),
    "quote.csv": lambda: b'image,tags\na,"dog\n' + b"b,cat\n" * 10**5,
    "cell.csv": lambda: b"image,tags\na," + b"dog;" * 10**6 + b"\n",
    "lines.csv": lambda: b"image,tags\n" + b"a,b\n" * 2**22,
    "twice.csv": lambda: b"image,tags\n" + b"a,b\n" * 2**17,
    "columns.csv": lambda: b"image," + b",".join(b"c%d" % i for i in range(10**5)) + b"\na," + b"1," * 10**5 + b"\n",
    "formula.csv": lambda: b"image,tags\na,=HYPERLINK(\"http://x\")\n",
    "command.csv": lambda: b"image,tags\na,@SUM(1+1)*cmd|' /C calc'!A0\n",
    "escape.csv": lambda: b"image,tags\na,\x1b[2Jdog\n",
    "direction.csv": lambda: "image,tags\na,dog\u202e\n".encode(),
    "large.csv": lambda: b"image,tags\n" + b"a" * (2**26),
    "empty.csv": lambda: b"",
    "picture.csv": lambda: saved("PNG"),
}  # fmt: skip

NAMES: dict[str, Callable[[], bytes]] = {
    "up.txt": lambda: b"../../etc/passwd\n",
    "root.txt": lambda: b"/etc/passwd\n",
    "many.txt": lambda: b"x\n" * 2**19,
    "long.txt": lambda: b"x" * 2**25,
    "nul.txt": lambda: b"a\0\n",
    "empty.txt": lambda: b"",
}

ALL = {
    **{f"image/{name}": make for name, make in IMAGES.items()},
    **{f"mask/{name}": make for name, make in MASKS.items()},
    **{f"tags/{name}": make for name, make in TAGS.items()},
    **{f"split/{name}": make for name, make in NAMES.items()},
    **{f"classes/{name}": make for name, make in NAMES.items()},
}
FOLDERS = [
    "image/folder",
    "mask/folder",
    "tags/folder",
    "tags/laughs",
    "tags/entity",
    "tags/deep",
    "split/folder",
]
PIPES = ["image/pipe", "mask/pipe", "tags/pipe", "split/pipe", "classes/pipe"]

# Their pixels are whole; what follows them is never looked at.
_FINE = ("image/too-much-data.png", "image/pieces.gif")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """Name -> what each of its readers said, from a child process that read all the files."""
    root = tmp_path_factory.mktemp("hostile")
    for name, make in ALL.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(make())
    with zipfile.ZipFile(root / "tags" / "sheet.xlsx", "w") as file:
        file.writestr("xl/workbook.xml", "<x/>")
    for name in FOLDERS:
        (root / name).mkdir()
    (root / "tags/laughs/a.xml").write_text(_LAUGHS + "]><annotation>&a11;</annotation>")
    (root / "tags/entity/a.xml").write_text(
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><annotation><object><name>&x;</name></object></annotation>'
    )
    (root / "tags/deep/a.xml").write_text("<annotation>" + "<object>" * 400_000)
    if hasattr(os, "mkfifo"):
        for name in PIPES:
            os.mkfifo(root / name)
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(root)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(_ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    said: dict[str, list[dict[str, Any]]] = {}
    for line in done.stdout.decode().splitlines():
        entry = json.loads(line)
        said.setdefault(entry["name"], []).append(entry)
    said["ran"] = [{"said": [str((root / "ran").exists()), "", "", ""]}]
    yield said


@pytest.mark.parametrize("name", [*ALL, *FOLDERS, *PIPES, "tags/sheet.xlsx"])
def test_hostile_file_gives_a_sentence(outcomes: dict[str, list[dict[str, Any]]], name: str) -> None:
    if name in PIPES and name not in outcomes:
        pytest.skip("no pipes on this system")
    for entry in outcomes[name]:
        kind, found, accepted, todo = entry["said"]
        assert entry["seconds"] < _SECONDS, entry
        assert entry["bytes"] < _BYTES, entry
        if kind == "read" and (entry["reader"] == 1 or name in _FINE):
            continue  # a header may be right where the pixels are not
        assert kind == "UserError", entry
        assert Path(name).name in found
        assert accepted
        assert todo
        assert len(found) < 1500
        assert found.replace("\n", "").isprintable()


def test_nothing_in_a_pickle_ran(outcomes: dict[str, list[dict[str, Any]]]) -> None:
    assert outcomes["ran"][0]["said"][0] == "False"
    for name in ("system.npy", "system-old.npy", "system-inside.npy"):
        assert "system" in outcomes[f"tags/{name}"][0]["said"][1]


def test_promises_are_told_in_gibibytes(outcomes: dict[str, list[dict[str, Any]]]) -> None:
    assert "372.5 GiB" in outcomes["tags/promise.npy"][0]["said"][1]


FORMS = {
    "JPEG": {}, "PNG": {}, "TIFF": {}, "BMP": {}, "WEBP": {}, "GIF": {},
    "progressive": {"progressive": True}, "deflated": {"compression": "tiff_deflate"}, "lossless": {"lossless": True},
}  # fmt: skip
_FORM_OF = {"progressive": "JPEG", "deflated": "TIFF", "lossless": "WEBP"}


@pytest.mark.parametrize("form", FORMS)
def test_cut_images(tmp_path: Path, form: str) -> None:
    data = saved(_FORM_OF.get(form, form), (150, 100), **FORMS[form])
    path = tmp_path / "cut.img"
    for tenth in range(1, 10):
        path.write_bytes(data[: len(data) * tenth // 10])
        for reader in (read, lambda p: thumbnail(p, 20)):
            with pytest.raises(UserError, match=r"cut\.img"):
                reader(path)
    path.write_bytes(data)
    assert read(path).pixels.shape == (100, 150, 3)


@pytest.mark.parametrize("form", FORMS)
def test_images_with_wrong_bytes_never_escape(tmp_path: Path, form: str) -> None:
    data = saved(_FORM_OF.get(form, form), (50, 40), **FORMS[form])
    rng = np.random.default_rng(0)
    path = tmp_path / "flipped.img"
    for _ in range(150):
        flipped = np.frombuffer(data, np.uint8).copy()
        # The header is where a wrong byte does most.
        places = np.concatenate([rng.integers(0, min(300, len(data)), 3), rng.integers(0, len(data), 2)])
        flipped[places] = rng.integers(0, 256, 5)
        path.write_bytes(flipped.tobytes())
        for reader in (read, probe, read_mask, lambda p: thumbnail(p, 20)):
            try:
                reader(path)
            except UserError as error:
                assert "flipped.img" in error.found


def test_cut_and_wrong_tag_files_never_escape(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sources = {
        "a.npy": labels_npy(),
        "a.csv": b"image,tags\n" + b"".join(b"a%d,dog;cat\n" % i for i in range(20)),
        "a.json": json.dumps({"labels": {f"a{i}": ["dog"] for i in range(20)}}).encode(),
    }
    for name, data in sources.items():
        path = tmp_path / name
        for tenth in range(1, 10):
            path.write_bytes(data[: len(data) * tenth // 10])
            if name == "a.csv":
                continue  # half a table is a table
            with pytest.raises(UserError, match=name):
                read_tags(path)
        for _ in range(200):
            flipped = np.frombuffer(data, np.uint8).copy()
            flipped[rng.integers(0, len(data), 3)] = rng.integers(0, 256, 3)
            path.write_bytes(flipped.tobytes())
            try:
                read_tags(path)
            except UserError as error:
                assert name in error.found


def test_a_folder_of_mixed_images_is_not_stopped_by_one(tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(saved("PNG"))
    (tmp_path / "bad.png").write_bytes(IMAGES["forged.png"]())
    with pytest.raises(UserError, match=r"bad\.png"):
        read(tmp_path / "bad.png")
    assert read(tmp_path / "good.png").pixels.shape == (30, 40, 3)
