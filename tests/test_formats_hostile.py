"""Dataset folders made to hurt: every reader says a sentence, within five seconds and a gigabyte.

The folders are made here one by one and read in a child process, so that its peaks are its own.
"""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import runpy
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from engine.colours import class_colours
from engine.formats import Labelled, formats
from engine.results import CamStack

_ROOT = Path(__file__).resolve().parents[1]
_SECONDS = 5
_BYTES = 2**30
_SIZE = (375, 500)
# Attacks on pictures and pickles that the image reader and the tag reader are tested with as well.
OTHERS = runpy.run_path(str(Path(__file__).with_name("test_hostile_inputs.py")))

_CHILD = """
import json, resource, signal, sys, time
from pathlib import Path
from engine.errors import UserError
from engine.formats import format_named
from engine.steps.import_ import _storage

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
for line in sys.stdin:
    name, folder = json.loads(line)
    chosen = format_named(name)
    more = (_storage,) if chosen.kind == "cams" else ()
    forget_peak()
    start = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, 30)
    try:
        values = [0]
        incoming = chosen.read(Path(folder), {"a": (375, 500)}, ("cat", "dog"), *more)
        for item in incoming.items:
            if chosen.kind == "masks":
                values += sorted(set(item[1].reshape(-1).tolist()))
        said = ["read", json.dumps([values, incoming.notes]), "", ""]
    except UserError as error:
        said = ["UserError", error.found, error.accepted, error.todo]
    except BaseException as error:
        said = [type(error).__name__, str(error)[:500], "", ""]
    signal.setitimer(signal.ITIMER_PROF, 0)
    print(json.dumps([said, time.process_time() - start, peak()]), flush=True)
"""

Make = Callable[[], bytes]

# --- whole files, by their kind -----------------------------------------------------------------

JSON: dict[str, Make] = {
    "deep": lambda: b'{"a":' * 10**5,
    "nan": lambda: b'{"a": [NaN]}',
    "infinity": lambda: b'{"a": -Infinity}',
    "twice": lambda: b'{"a": 1, "a": 2}',
    "digits": lambda: b'{"a": ' + b"1" * 10**6 + b"}",
    "spaces": lambda: b" " * (65 * 2**20),
    "empty": lambda: b"",
    "null": lambda: b"null",
    "text": lambda: b'"text"',
    "nul": lambda: b'{"a": "\0"}',
    "utf16": lambda: '{"a": 1}'.encode("utf-16"),
    "picture": lambda: OTHERS["saved"]("PNG"),
    "pickle": lambda: pickle.dumps({"a": 1}),
}
# All read JSON by engine.intake, so one of them meets the heaviest files.
HEAVY: dict[str, Make] = {
    "deep-lists": lambda: b"[" * 2**24,
    "lists": lambda: b'{"a": [' + b"[]," * (2**24) + b"[]]}",
    "objects": lambda: b'{"a": [' + b'{"":0},' * (2**22) + b"[]]}",
    "numbers": lambda: b'{"a": [' + b"1.5," * (2**22) + b"1]}",
}

_LAUGHS = "<!DOCTYPE l [<!ENTITY a0 'ha'>" + "".join(
    f"<!ENTITY a{i} '{f'&a{i - 1};' * 10}'>" for i in range(1, 12)
)
_OUTER = (
    '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><annotations><image name="&x;"/></annotations>'
)
_HEAD = '<annotations><image id="0" name="a.jpg" width="500" height="375">'
_TAIL = "</image></annotations>"


def _xml(inside: str) -> Make:
    return lambda: (_HEAD + inside + _TAIL).encode()


XML: dict[str, Make] = {
    "laughs": lambda: (_LAUGHS + "]><annotations>&a11;</annotations>").encode(),
    "outer": lambda: _OUTER.encode(),
    "deep": lambda: b"<annotations>" + b"<image>" * 500_000,
    "wide": lambda: b"<annotations>" + b"<a/>" * 1_100_000 + b"</annotations>",
    "attributes": lambda: b"<annotations " + b" ".join(b'a%d=""' % k for k in range(400_000)) + b"/>",
    "many-attributes": lambda: b"<annotations " + b" ".join(b'a%d=""' % k for k in range(1_500_000)) + b"/>",
    "endless-tag": lambda: b'<annotations a="' + b"x" * 2**26,
    "endless-text": lambda: b"<annotations>" + b"x" * 2**26,
    "endless-comment": lambda: b"<annotations><!--" + b"x" * 2**26,
    "empty": lambda: b"",
    "html": lambda: b"<!doctype html><title>404</title>",
    "other-root": lambda: b"<annotation/>",
    "encoding": lambda: b'<?xml version="1.0" encoding="utf-7"?><annotations/>',
    "utf16": lambda: '<?xml version="1.0"?><annotations/>'.encode("utf-16"),
    "nul": lambda: b"<annotations>\0</annotations>",
    "mask-promise": _xml('<mask label="cat" rle="0,999999999" left="0" top="0" width="500" height="375"/>'),
    "mask-huge": _xml('<mask label="cat" rle="0,1" left="0" top="0" width="999999999" height="999999999"/>'),
    "mask-many": lambda: (_HEAD + '<mask label="c" rle="1" left="0"/>' * 900_000 + _TAIL).encode(),
    "mask-runs": lambda: (_HEAD + f'<mask label="cat" rle="{"1," * (7 * 2**20)}" left="0" top="0" width="500" height="375"/>' + _TAIL).encode(),
    "masks-full": lambda: (_HEAD + '<mask label="cat" rle="0,187500" left="0" top="0" width="500" height="375"/>' * 19_000 + _TAIL).encode(),
    "polygons-full": lambda: (_HEAD + '<polygon label="cat" points="0,0;500,0;500,375;0,375"/>' * 19_000 + _TAIL).encode(),
    "zigzag": lambda: (_HEAD + f'<polygon label="cat" points="{";".join(["0,0", "9,375"] * 240_000)}"/>' + _TAIL).encode(),
    "points": lambda: (_HEAD + f'<polygon label="cat" points="{"1,1;" * (4 * 2**20)}"/>' + _TAIL).encode(),
    "nan": _xml('<polygon label="cat" points="nan,nan;1,1;2,2"/>'),
    "far": _xml('<polygon label="cat" points="-1e300,0;1e300,0;0,1e300"/>'),
    "ellipse": _xml('<ellipse label="cat" cx="1" cy="1" rx="1e308" ry="1e308"/>'),
    "z-order": _xml('<polygon label="cat" points="1,1;3,1;3,3;1" z_order="99999999999999999999"/>'),
    "names": lambda: ("<annotations>" + f'<image id="0" name="{"../" * 10**6}etc/passwd" width="5" height="5"/>' + "</annotations>").encode(),
}  # fmt: skip

TEXT: dict[str, Make] = {
    "line": lambda: b"0 " + b"0.5 " * 2**23,
    "lines": lambda: b"x\n" * 2**19,
    "far-too-many-lines": lambda: b"x\n" * 2**22,
    "nul": lambda: b"a\0\n",
    "up": lambda: b"../../etc/passwd\n" * 300,
    "binary": lambda: os.urandom(4096),
    "spaces": lambda: b" " * (65 * 2**20),
}

YAML: dict[str, Make] = {
    "laughs": lambda: (
        "a0: &a0 [x, x]\n" + "".join(f"a{k}: &a{k} [{f'*a{k - 1}, ' * 9}*a{k - 1}]\n" for k in range(1, 12)) + "names: *a11\n"
    ).encode(),
    "runs": lambda: b"names: !!python/object/apply:os.system ['touch ran']\n",
    "new": lambda: b"names: !!python/object/new:os.system ['touch ran']\n",
    "deep": lambda: b"names: " + b"[" * 200_000,
    "names": lambda: b"names: [" + b"x, " * 60_000 + b"x]\n",
    "number": lambda: b"names: {99999999999999999999: cat}\n",
    "sexagesimal": lambda: b"names: [" + b"1:" * 2_000 + b"1]\n",
    "spaces": lambda: b" " * (65 * 2**20),
    "self": lambda: b"names: &a [*a]\n",
}  # fmt: skip

PNG: dict[str, Make] = {
    **OTHERS["MASKS"],
    **{name: OTHERS["IMAGES"][name] for name in ("forged-huge.png", "bomb.png", "chunks.png", "text-bomb.png")},
    "too-much.png": lambda: OTHERS["png"](500, 375, OTHERS["chunk"](b"IDAT", zlib.compress(bytes(2**26), 1)), colour=0),
    "depth.png": lambda: OTHERS["png"](500, 375, OTHERS["chunk"](b"IDAT", zlib.compress(bytes(2**20))), bits=16, colour=0),
}  # fmt: skip

TIFF: dict[str, Make] = {
    name: OTHERS["IMAGES"][name]
    for name in (
        "forged.tif",
        "tag-bomb.tif",
        "tags.tif",
        "big-tags.tif",
        "loop.tif",
        "empty.png",
        "forged.png",
    )
}


def _npz(entries: dict[str, bytes], packed: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packed, compresslevel=1) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return file.getvalue()


def _forged_npz() -> bytes:
    """Return a small archive whose directory and headers promise little and unpack to much more."""
    data = _npz({"mask.npy": OTHERS["npy"](bytes(2**26), "|u1", "(375, 500)")})
    for mark in (b"PK\1\2", b"PK\3\4"):
        at = data.index(mark) + (24 if mark == b"PK\1\2" else 22)
        data = data[:at] + struct.pack("<I", 187_628) + data[at + 4 :]
    return data


NPZ: dict[str, Make] = {
    "bomb": lambda: _npz({"mask.npy": OTHERS["npy"](bytes(2**28), "|u1", "(16384, 16384)")}),
    "bombs": lambda: _npz(
        {f"{k}.npy": OTHERS["npy"](bytes(2**22), "|u1", "(2048, 2048)") for k in range(63)}
    ),
    "forged": _forged_npz,
    "promise": lambda: _npz({"mask.npy": OTHERS["npy"](b"", "|u1", "(50000000000, 8)")}),
    "objects": lambda: _npz(
        {"mask.npy": OTHERS["npy"](pickle.dumps(OTHERS["Runs"](os.system, "touch ran")))}
    ),
    "entries": lambda: _npz({f"{k}.npy": b"" for k in range(5000)}),
    "up": lambda: _npz({"../mask.npy": OTHERS["npy"](bytes(4), "|u1", "(2, 2)")}),
    "not-a-zip": lambda: b"PK\3\4" + bytes(1000),
    "classes": lambda: _npz(
        {
            "mask.npy": OTHERS["npy"](bytes(187_500), "|u1", "(375, 500)"),
            "classes.npy": OTHERS["npy"](("[" * 2**18).encode("utf-32-le"), f"<U{2**18}", "()"),
        }
    ),
}

NPY: dict[str, Make] = {
    name: make
    for name, make in OTHERS["TAGS"].items()
    if name.endswith(".npy") and name not in ("array-size.npy", "cut.npy", "plain.npy")
}

# --- one format's own -------------------------------------------------------------------------------


def _labelme(*shapes: dict[str, Any], **other: Any) -> Make:
    return lambda: json.dumps({"version": "5", "shapes": shapes, "imagePath": "a.jpg", **other}).encode()


def _one(kind: str, points: Any, **other: Any) -> dict[str, Any]:
    return {"label": "cat", "shape_type": kind, "points": points, **other}


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


_ALL = [[0, 0], [499, 0], [499, 374], [0, 374]]
LABELME: dict[str, Make] = {
    "full": lambda: _labelme(*[_one("polygon", _ALL)] * 19_999)(),
    "zigzag": lambda: _labelme(_one("polygon", [[0, 0], [9, 374]] * 200_000))(),
    "far": _labelme(_one("polygon", [[0, 0], [1e300, 0], [0, 1e300]])),
    "huge-line": _labelme(_one("polygon", [[0, 0], [1e9, 0], [0, 1e9]])),
    "big-integer": _labelme(_one("polygon", [[0, 0], [10**400, 0], [0, 1]])),
    "circle": _labelme(_one("circle", [[0, 0], [1e7, 0]])),
    "circles": lambda: _labelme(*[_one("circle", [[250, 180], [900, 180]])] * 19_999)(),
    "nested-points": _labelme(_one("polygon", [[[[1, 2]]]])),
    "text-points": _labelme(_one("polygon", ["1,2", "3,4", "5,6"])),
    "dictionary-points": _labelme(_one("polygon", [{"x": 1, "y": 2}] * 3)),
    "png-bomb": _labelme(_one("mask", _ALL[::2], mask=_b64(PNG["bomb.png"]()))),
    "png-forged": _labelme(_one("mask", _ALL[::2], mask=_b64(PNG["forged.png"]()))),
    "png-too-much": lambda: _labelme(_one("mask", _ALL[::2], mask=_b64(PNG["too-much.png"]())))(),
    "png-text": lambda: _labelme(_one("mask", _ALL[::2], mask=_b64(PNG["text-bomb.png"]())))(),
    "png-none": _labelme(_one("mask", _ALL[::2], mask=_b64(b"GIF89a" + bytes(99)))),
    "base64": lambda: _labelme(_one("mask", _ALL[::2], mask="A" * (40 * 2**20)))(),
    "photograph": lambda: _labelme(imageData="A" * (24 * 2**20))(),
    "up": _labelme(imagePath="../../../etc/passwd", imageHeight="375"),
    "many": lambda: _labelme(*[{"label": "x"}] * 500_000)(),
}


def _edited(text: bytes, **edits: str) -> bytes:
    """Return JSON of COCO with some of its values replaced by JSON text."""
    content = json.loads(text)
    for key, value in edits.items():
        part, _, field = key.partition("__")
        for entry in content[part]:
            if field in entry or field == "segments_info":
                entry[field] = json.loads(value)
    return json.dumps(content).encode()


def _coco(**edits: str) -> Callable[[bytes], bytes]:
    return lambda whole: _edited(whole, **edits)


_RLE = '{"size": [375, 500], "counts": %s}'
_SECRET = '"../../secret.png"'
COCO: dict[str, Callable[[bytes], bytes]] = {
    "counts-short": _coco(annotations__segmentation=_RLE % "[1, 2]"),
    "counts-long": _coco(annotations__segmentation=_RLE % "[0, 999999999999]"),
    "counts-negative": _coco(annotations__segmentation=_RLE % "[-5, 187505]"),
    "counts-garbage": _coco(annotations__segmentation=_RLE % json.dumps("é~~~" * 99)),
    "counts-cut": _coco(annotations__segmentation=_RLE % json.dumps("oooooooo")),
    "counts-fractions": _coco(annotations__segmentation=_RLE % "[0.5, 187499.5]"),
    "counts-many": lambda whole: _edited(whole, annotations__segmentation=_RLE % str([1] * 190_000)),
    "size": _coco(annotations__segmentation='{"size": [1000000, 1000000], "counts": [0, 1000000000000]}'),
    "polygon-far": _coco(annotations__segmentation="[[0, 0, 1e300, 0, 0, 1e300]]"),
    "polygon-odd": _coco(annotations__segmentation="[[0, 0, 5, 0, 5]]"),
    "polygon-text": _coco(annotations__segmentation='[["0", "0", "5", "0", "5", "5"]]'),
    "zigzag": lambda whole: _edited(whole, annotations__segmentation=str([[0, 0, 9, 375] * 50_000])),
    "full": lambda whole: _edited(whole, annotations__segmentation=str([[0, 0, 500, 0, 500, 375, 0, 375]] * 20_000)),
    "no-category": _coco(annotations__category_id="99"),
    "image-huge": _coco(images__width="1000000000000"),
    "image-list": _coco(images__file_name="[1]"),
    "ids": _coco(images__id='"1"'),
}  # fmt: skip
PANOPTIC: dict[str, Callable[[bytes], bytes]] = {
    "up": _coco(annotations__file_name=_SECRET),
    "root": _coco(annotations__file_name='"/etc/passwd"'),
    "dots": _coco(annotations__file_name='".."'),
    "segments": _coco(annotations__segments_info='[{"id": 99999999999999999999, "category_id": 1}]'),
    "no-category": _coco(annotations__segments_info='[{"id": 1, "category_id": 77}]'),
    "no-segments": _coco(annotations__segments_info="[]"),
    "image-huge": _coco(images__height="1000000000000"),
}


def _lines(*rows: dict[str, Any], times: int = 1) -> Make:
    return lambda: ("\n".join(json.dumps(row) for row in rows) + "\n").encode() * times


_ROW = {"file_name": "images/a.jpg", "mask_file_name": "masks/a.png"}
JSONL: dict[str, Make] = {
    **{name: JSON[name] for name in ("deep", "nan", "spaces", "empty", "null", "picture")},
    "up": _lines({**_ROW, "mask_file_name": "../../secret.png"}),
    "root": _lines({**_ROW, "mask_file_name": "/etc/passwd"}),
    "device": _lines({**_ROW, "mask_file_name": "../../../../../../../../../dev/zero"}),
    "folder": _lines({**_ROW, "mask_file_name": "masks"}),
    "nul": _lines({**_ROW, "mask_file_name": "a\0b"}),
    "long": _lines({**_ROW, "mask_file_name": "a/" * 10**6}),
    "many": _lines(_ROW, times=200_000),
    "most": lambda: b"{}\n" * 900_000,
    "bracket": lambda: b'{"a": [1}\n]\n',
}

# Where the reader of a format looks, and with what it is fed there: whole files, or edits of ours.
PLACES: dict[str, dict[str, dict[str, Any]]] = {
    "coco": {"annotations/instances_train.json": {**JSON, **COCO}},
    "coco-panoptic": {
        "annotations/panoptic_train.json": {**JSON, **PANOPTIC},
        "annotations/panoptic_train/a.png": PNG,
    },
    "cvat": {"annotations.xml": XML},
    "hf": {"train/metadata.jsonl": JSONL, "id2label.json": JSON, "train/masks/a.png": PNG},
    "irn-cam": {"a.npy": NPY},
    "labelme": {"a.json": {**JSON, **HEAVY, **LABELME}},
    "npz": {"a.npz": NPZ},
    "png": {"a.png": PNG, "classes.txt": TEXT},
    "psa-cam": {"a.npy": NPY},
    "tiff": {"a.tif": TIFF, "classes.txt": TEXT},
    "voc": {"VOCdevkit/VOC2012/SegmentationClass/a.png": PNG, "VOCdevkit/VOC2012/labelmap.txt": TEXT},
    "yolo-seg": {"labels/a.txt": TEXT, "data.yaml": YAML},
}
# Read, and rightly so: what is odd about them is never looked at, or was asked for and is small.
FINE = {
    ("labelme", "photograph"),
    ("hf", "too-much.png"), ("png", "too-much.png"), ("voc", "too-much.png"), ("labelme", "png-too-much"),
    # the PNG of an image is found by the image's name, whatever the file says it is called
    ("coco-panoptic", "up"), ("coco-panoptic", "root"), ("coco-panoptic", "dots"),
}  # fmt: skip


def _base(folder: Path, name: str) -> None:
    """Write an export of one image, half cat and half dog, with unsure pixels between."""
    photo = folder.parent / "a.jpg"
    Pillow.new("RGB", _SIZE[::-1]).save(photo)
    mask = np.ones(_SIZE, np.uint8)
    mask[:, 250:], mask[:, 245:250], mask[:9] = 2, 255, 0
    chosen = formats()[name]
    folder.mkdir()
    if chosen.kind == "masks":
        chosen.write(folder, [Labelled("a", photo, mask)], ("cat", "dog"), class_colours(2), {"train": ["a"]})
    else:
        maps, ones = np.zeros((1, 24, 32), np.float16), np.ones(1, np.float32)
        chosen.write(folder, [CamStack("a", _SIZE, (0,), maps, ones, 16.0, 7.5, np.ones(2, np.float32))])


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, str], Any]:
    """(format, file, attack) -> what its reader said, in how many seconds and bytes."""
    root = tmp_path_factory.mktemp("hostile")
    (root / "secret.png").write_bytes(PNG["rgb.png"]())
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "PYTHONIOENCODING": "utf-8"}
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD],
        cwd=root,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdin and child.stdout
    said: dict[tuple[str, str, str], Any] = {}

    def ask(name: str, place: str, attack: str) -> None:
        assert child.stdin and child.stdout
        child.stdin.write((json.dumps([name, str(root / "set")]) + "\n").encode())
        child.stdin.flush()
        said[name, place, attack] = json.loads(child.stdout.readline())

    try:
        for name, places in PLACES.items():
            _base(root / "set", name)
            ask(name, "", "none")
            for place, attacks in places.items():
                path = root / "set" / place
                whole = path.read_bytes()
                for attack, make in attacks.items():
                    path.write_bytes(make(whole) if make.__code__.co_argcount else make())
                    ask(name, place, attack)
                path.unlink()
                if hasattr(os, "mkfifo"):
                    os.mkfifo(path)
                    ask(name, place, "pipe")
                    path.unlink()
                path.mkdir()
                ask(name, place, "folder")
                path.rmdir()
                path.write_bytes(whole)
            shutil.rmtree(root / "set")
    finally:
        child.stdin.close()
        child.wait(30)
    said["", "", "ran"] = (root / "ran").exists()
    return said


def test_the_corpus_feeds_every_reader() -> None:
    assert set(PLACES) == set(formats())
    assert sum(len(attacks) for places in PLACES.values() for attacks in places.values()) > 150


@pytest.mark.timeout(560)
def test_every_reader_says_a_sentence(outcomes: dict[tuple[str, str, str], Any]) -> None:
    wrong = []
    for key, outcome in outcomes.items():
        name, _, attack = key
        if attack == "ran":
            continue
        (kind, *parts), _, _ = outcome
        if attack == "none":
            assert kind == "read", (key, parts)
        elif kind == "read":
            values, notes = json.loads(parts[0])
            if (name, attack) not in FINE and not notes:
                wrong.append((key, "was read", values))
        elif kind != "UserError" or not all(part.strip() for part in parts[:2]) or "Traceback" in parts[0]:
            wrong.append((key, kind, parts))
    assert not wrong, "\n".join(map(str, wrong))
    assert outcomes["", "", "ran"] is False, "a pickle or a YAML tag ran a program"


def test_no_reader_takes_five_seconds_or_a_gigabyte(outcomes: dict[tuple[str, str, str], Any]) -> None:
    slow = [
        (key, f"{seconds:.1f} s", f"{peak / 2**20:.0f} MiB")
        for key, (_, seconds, peak) in ((k, o) for k, o in outcomes.items() if k[2] != "ran")
        if seconds > _SECONDS or peak > _BYTES
    ]
    assert not slow, "\n".join(map(str, slow))


def test_nothing_outside_of_the_folder_was_read(outcomes: dict[tuple[str, str, str], Any]) -> None:
    asked = [key for key in outcomes if key[0] == "hf" and key[2] in ("up", "root", "device")]
    assert len(asked) == 3
    for key in asked:
        (kind, found, *_), _, _ = outcomes[key]
        assert kind == "UserError" and "is no path inside the folder" in found
