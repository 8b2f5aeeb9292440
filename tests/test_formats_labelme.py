"""labelme's JSON: out, back, read by labelme itself, and the traps of the format."""

from __future__ import annotations

import base64
import io
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageDraw

from engine.atomic import new_folder
from engine.errors import UserError
from engine.formats import Labelled, format_named

MADE = runpy.run_path(str(Path(__file__).with_name("fake_labelled.py")))
CLASSES, COLOURS, SPLITS, sizes = MADE["CLASSES"], MADE["COLOURS"], MADE["SPLITS"], MADE["sizes"]

# labelme is GPL: it reads our files in a process of its own, by its own loader and its own drawing.
_LABELME = """
import json, sys
from pathlib import Path
import numpy as np
from labelme import LabelFile
from labelme.utils import shapes_to_label
root = Path(sys.argv[1])
names = {n: (255 if n == "__ignore__" else k - 1) for k, n in enumerate((root / "labels.txt").read_text("utf-8").splitlines())}
for path in sorted(root.glob("*.json")):
    file = LabelFile(str(path))
    facts = json.loads(path.read_text("utf-8"))
    classes, objects = shapes_to_label((facts["imageHeight"], facts["imageWidth"]), file.shapes, names)
    np.save(root / (path.stem + ".npy"), np.stack([classes, objects]))
"""


@pytest.fixture
def items(tmp_path: Path) -> list[Labelled]:
    return MADE["drawn"](tmp_path / "images")


def _write(out: Path, items: list[Labelled]) -> list[str]:
    with new_folder(out) as folder:
        return format_named("labelme").write(folder, items, CLASSES, COLOURS, SPLITS)


def _file(folder: Path, shapes: list[dict[str, Any]], **other: Any) -> Path:
    folder.mkdir(exist_ok=True)
    content = {"version": "5.0.1", "flags": {}, "shapes": shapes, "imagePath": "a.jpg", "imageData": None}
    (folder / "a.json").write_text(json.dumps({**content, **other}))
    return folder


def _read(folder: Path, size: tuple[int, int] = (20, 30)) -> tuple[np.ndarray, tuple[str, ...]]:
    incoming = format_named("labelme").read(folder, {"a": size, "b": size}, CLASSES)
    ((_, mask),) = incoming.items
    return mask, incoming.notes


def _shape(kind: str | None, points: list[list[float]], label: str = "cat", **other: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}, **other}


def test_what_is_written(items: list[Labelled], tmp_path: Path) -> None:
    lost = _write(tmp_path / "out", items)
    content = json.loads((tmp_path / "out" / "größe 2.json").read_text("utf-8"))
    assert content["imageData"] is None and content["imagePath"] == "größe 2.png"
    assert (content["imageHeight"], content["imageWidth"]) == (40, 60) and content["flags"] == {}
    for shape in content["shapes"]:
        assert shape["shape_type"] == "mask" and shape["group_id"] is None and shape["flags"] == {}
        (x0, y0), (x1, y1) = shape["points"]
        with Pillow.open(io.BytesIO(base64.b64decode(shape["mask"]))) as image:
            # the box holds both corners, and the mask fills it
            assert image.size == (x1 - x0 + 1, y1 - y0 + 1)
    assert [s["label"] for s in content["shapes"]] == [*CLASSES, "__ignore__"]
    labels = (tmp_path / "out" / "labels.txt").read_text("utf-8").splitlines()
    assert labels == ["__ignore__", "_background_", *CLASSES]
    assert (tmp_path / "out" / "splits" / "fold_1.txt").read_text("utf-8") == "c.3\na_1\n"
    assert any("2 image(s) were turned upright" in line for line in lost)
    assert any("3 image(s) are shapes with the label __ignore__" in line for line in lost)
    with Pillow.open(tmp_path / "out" / "turned.png") as image:
        assert image.size == (30, 20)


def test_labelme_itself_draws_the_same_masks_and_objects(items: list[Labelled], tmp_path: Path) -> None:
    pytest.importorskip("importlib.metadata").distribution("labelme")
    numbers = np.zeros((40, 60), np.uint16)
    numbers[5:30, 5:17], numbers[5:30, 17:30] = 7, 9
    items[1] = items[1]._replace(instances=np.where(items[1].mask == 1, numbers, 0).astype(np.uint16))
    _write(tmp_path / "out", items)
    done = subprocess.run(
        [sys.executable, "-c", _LABELME, str(tmp_path / "out")],
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path)},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    for item in items:
        classes, objects = np.load(tmp_path / "out" / f"{item.stem}.npy")
        np.testing.assert_array_equal(classes, item.mask)
        if item.instances is not None:
            pairs = set(
                zip(item.instances[item.mask == 1].tolist(), objects[item.mask == 1].tolist(), strict=True)
            )
            # the column on the right edge is a cat that no object was found of
            assert len(pairs) == 3 and len({b for _, b in pairs}) == 3


@pytest.mark.parametrize(
    ("shape", "draw"),
    [
        (_shape("polygon", [[2, 3], [20, 4.5], [11.3, 17]]), ("polygon", [(2, 3), (20, 4.5), (11.3, 17)])),
        (_shape(None, [[2, 3], [20, 4], [11, 17]]), ("polygon", [(2, 3), (20, 4), (11, 17)])),
        (_shape("polygon", [[-9, 5], [45, 2], [12, 30]]), ("polygon", [(-9, 5), (45, 2), (12, 30)])),
        (_shape("rectangle", [[20.6, 15.2], [3.4, 2.5]]), ("rectangle", [(3.4, 2.5), (20.6, 15.2)])),
        (
            _shape("rectangle", [[3, 2], [9, 2], [9, 8], [3, 8]]),
            ("polygon", [(3, 2), (9, 2), (9, 8), (3, 8)]),
        ),
        (_shape("circle", [[14, 9], [14, 4.5]]), ("ellipse", [(9.5, 4.5), (18.5, 13.5)])),
        (_shape("circle", [[28, 9], [28, 0]]), ("ellipse", [(19, 0), (37, 18)])),
        (
            _shape("oriented_rectangle", [[5, 2], [20, 6], [18, 12], [3, 8]]),
            ("polygon", [(5, 2), (20, 6), (18, 12), (3, 8)]),
        ),
    ],
)
def test_shapes_are_drawn_with_their_outline(
    shape: dict[str, Any], draw: tuple[str, list[tuple[float, float]]], tmp_path: Path
) -> None:
    mask, _ = _read(_file(tmp_path / "in", [shape]))
    expected = Pillow.new("L", (30, 20))
    getattr(ImageDraw.Draw(expected), draw[0])(draw[1], outline=1, fill=1)
    np.testing.assert_array_equal(mask, np.asarray(expected))
    assert mask.any()


def test_contours_through_pixel_centres_come_back_exactly(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(3)
    for _ in range(20):
        blob = cv2.GaussianBlur(rng.random((40, 50)).astype(np.float32), (0, 0), 3) > 0.5
        count, parts = cv2.connectedComponents(blob.astype(np.uint8), connectivity=8)
        contours = []
        for k in range(1, count):
            found, _ = cv2.findContours(
                (parts == k).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
            )
            contours += [c.reshape(-1, 2).tolist() for c in found if len(c) > 2]
        filled = np.zeros((40, 50), np.uint8)
        cv2.fillPoly(filled, [np.array(c, np.int32) for c in contours], 1)
        mask, _ = _read(_file(tmp_path / "in", [_shape("polygon", c) for c in contours]), (40, 50))
        np.testing.assert_array_equal(mask, filled)


def test_later_shapes_lie_above_and_groups_make_no_holes(tmp_path: Path) -> None:
    square = [[2, 2], [10, 2], [10, 10], [2, 10]]
    shapes = [
        _shape("polygon", square, "cat", group_id=1),
        _shape("rectangle", [[4, 4], [6, 6]], "cat", group_id=1),
        _shape("rectangle", [[5, 5], [8, 8]], "traffic light"),
        _shape("rectangle", [[7, 7], [9, 9]], "__ignore__"),
        _shape("rectangle", [[2, 2], [2, 10]], "_background_"),
        _shape("rectangle", [[10, 2], [10, 3]], "zebra"),
        _shape("point", [[1, 1]]),
        _shape("linestrip", [[1, 1], [9, 18], [3, 3]], "pole"),
    ]
    mask, notes = _read(_file(tmp_path / "in", shapes))
    assert mask[4, 4] == 1 and mask[6, 6] == 2 and mask[8, 8] == 255 and mask[5, 2] == 0 and mask[2, 10] == 0
    assert mask[15, 7] == 0 and mask[1, 1] == 0
    assert notes == (
        "2 point(s) and line(s) have no area and are left aside.",
        "Classes that the project lacks become background: 'zebra'.",
    )


def test_the_photograph_inside_is_not_opened_and_unknown_keys_are_no_fault(tmp_path: Path) -> None:
    folder = _file(
        tmp_path / "in",
        [_shape("rectangle", [[0, 0], [1, 1]], checked=True, score=None)],
        imageData="this is no picture",
        checked=True,
        imagePath="..\\other\\a.JPG",
    )
    assert _read(folder)[0].sum() == 4


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"imagePath": "b.jpg"}, "belongs to 'b.jpg'"),
        ({"imageHeight": 30, "imageWidth": 20}, "imageHeight 30.*turned"),
        ({"shapes": None}, "no list 'shapes'"),
        ({"shapes": [{}] * 20_001}, "at most 20,000"),
        ({"shapes": [{"points": [[1, 2]]}]}, "without a label"),
        ({"shapes": [{"label": 3, "points": [[1, 2]]}]}, "without a label"),
        ({"shapes": [_shape("spline", [[1, 2]])]}, "'spline'"),
        ({"shapes": [_shape(["polygon"], [[1, 2]])]}, "of type"),  # type: ignore[arg-type]
        ({"shapes": [_shape("polygon", [[1, 2], [3, 4]])]}, "2 point"),
        ({"shapes": [_shape("polygon", [])]}, "no list of points"),
        ({"shapes": [_shape("polygon", [[1, 2], [3], [4, 5]])]}, "no list of points"),
        ({"shapes": [_shape("polygon", {"x": 1})]}, "no list of points"),  # type: ignore[arg-type]
        ({"shapes": [_shape("polygon", [[1, 2], [1e9, 2], [1, 5]])]}, "far outside"),
        ({"shapes": [_shape("circle", [[1, 2]])]}, "1 point"),
        ({"shapes": [_shape("mask", [[0, 0], [3, 3]])]}, "no PNG"),
        ({"shapes": [_shape("mask", [[0, 0], [3, 3]], mask="a%")]}, "no base64"),
        ({"shapes": [_shape("mask", [[0, 0], [30, 3]], mask="")]}, "not on the image"),
        ({"shapes": [_shape("mask", [[0, 0], [3, 3]], mask="AAAA")]}, "damaged or none"),
    ],
)
def test_wrong_files_are_refused_with_their_name(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)a\.json.*" + says):
        _read(_file(tmp_path / "in", **{"shapes": [], **change}))


def _png(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_masks_of_others(tmp_path: Path) -> None:
    inside = np.eye(4, dtype=bool)
    for pixels in (inside, inside.astype(np.uint8), inside.astype(np.uint8) * 255):
        mask, _ = _read(_file(tmp_path / "in", [_shape("mask", [[2, 3], [5, 6]], mask=_png(pixels))]))
        np.testing.assert_array_equal(mask[3:7, 2:6], inside)
        assert mask.sum() == 4
    for pixels, says in (
        (np.zeros((9, 9), np.uint8), "9 x 9 px"),
        (np.zeros((4, 4, 3), np.uint8), "mode RGB"),
    ):
        with pytest.raises(UserError, match=says):
            _read(_file(tmp_path / "in", [_shape("mask", [[2, 3], [5, 6]], mask=_png(pixels))]))


@pytest.mark.parametrize("name", ["__ignore__", "_background_"])
def test_classes_with_labelme_s_own_names_are_refused(
    name: str, items: list[Labelled], tmp_path: Path
) -> None:
    with new_folder(tmp_path / "out") as folder, pytest.raises(UserError, match=name):
        format_named("labelme").write(folder, items[:1], (name, "b", "c"), COLOURS, {})


def test_datumaro_s_label_me_is_another_format(items: list[Labelled], tmp_path: Path) -> None:
    datumaro = pytest.importorskip("datumaro")
    _write(tmp_path / "out", items[:1])
    environment = datumaro.Environment()
    assert "label_me" not in environment.detect_dataset(str(tmp_path / "out"))
