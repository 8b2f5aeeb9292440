"""CVAT's XML: out, back, read by CVAT's own decoder and by datumaro, and the traps of the format."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from defusedxml.ElementTree import parse
from PIL import Image as Pillow

from engine.atomic import new_folder
from engine.errors import UserError
from engine.formats import Labelled, format_named

MADE = runpy.run_path(str(Path(__file__).with_name("fake_labelled.py")))
CLASSES, COLOURS, SPLITS, sizes = MADE["CLASSES"], MADE["COLOURS"], MADE["SPLITS"], MADE["sizes"]
VALUES = {**{name: k for k, name in enumerate(CLASSES, 1)}, "unsure": 255}


@pytest.fixture
def items(tmp_path: Path) -> list[Labelled]:
    return MADE["drawn"](tmp_path / "images")


def _write(out: Path, items: list[Labelled]) -> list[str]:
    with new_folder(out) as folder:
        return format_named("cvat").write(folder, items, CLASSES, COLOURS, SPLITS)


def _file(folder: Path, inside: str, name: str = "annotations.xml", head: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"{head}<annotations><version>1.1</version>{inside}</annotations>")
    return folder


def _image(shapes: str, facts: str = 'id="0" name="a.jpg" width="30" height="20"') -> str:
    return f"<image {facts}>{shapes}</image>"


def _mask(rle: str, box: tuple[int, int, int, int] = (2, 3, 4, 2), label: str = "cat", more: str = "") -> str:
    left, top, width, height = box
    return f'<mask label="{label}" rle="{rle}" left="{left}" top="{top}" width="{width}" height="{height}" {more}/>'


def _read(folder: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    incoming = format_named("cvat").read(folder, {"a": (20, 30), "b": (20, 30)}, CLASSES)
    ((_, mask),) = incoming.items
    return mask, incoming.notes


def test_what_is_written(items: list[Labelled], tmp_path: Path) -> None:
    lost = _write(tmp_path / "out", items)
    root = parse(tmp_path / "out" / "annotations.xml").getroot()
    labels = {one.findtext("name"): one.findtext("color") for one in root.iter("label")}
    assert labels == {**dict(zip(CLASSES, (c.lower() for c in COLOURS), strict=True)), "unsure": "#e0e0c0"}
    images = root.findall("image")
    assert [i.get("name") for i in images] == [
        "a_1.jpg", "größe 2.png", "c.3.png", "empty.jpg", "turned.png", "void.png",
    ]  # fmt: skip
    assert [i.get("id") for i in images] == list("012345")
    # an image without anything has no mask at all: CVAT's own encoder would make a box of one pixel
    assert len(images[3]) == 0
    for image, item in zip(images, items, strict=True):
        with Pillow.open(tmp_path / "out" / "images" / str(image.get("name"))) as photo:
            assert photo.size == item.mask.shape[::-1] == (int(image.get("width")), int(image.get("height")))
    assert any("3 image(s) are masks with a label of its own, unsure" in line for line in lost)


def test_cvat_s_own_decoder_gives_the_same_masks(items: list[Labelled], tmp_path: Path) -> None:
    masks = pytest.importorskip("cvat_sdk.masks")
    _write(tmp_path / "out", items)
    root = parse(tmp_path / "out" / "annotations.xml").getroot()
    for image, item in zip(root.findall("image"), items, strict=True):
        rebuilt = np.zeros(item.mask.shape, np.uint8)
        for one in image.findall("mask"):
            left, top, width, height = (int(one.get(k)) for k in ("left", "top", "width", "height"))
            runs = [int(n) for n in one.get("rle").split(",")]
            inside = masks.decode_mask(
                [*runs, left, top, left + width - 1, top + height - 1],
                image_width=item.mask.shape[1],
                image_height=item.mask.shape[0],
            )
            # the box fits tightly: CVAT draws handles on it
            assert inside[top, left : left + width].any() and inside[top : top + height, left].any()
            assert masks.encode_mask(inside)[:-4] == runs
            rebuilt[inside] = VALUES[one.get("label")]
        np.testing.assert_array_equal(rebuilt, item.mask)


def test_datumaro_reads_the_export_identically(items: list[Labelled], tmp_path: Path) -> None:
    datumaro = pytest.importorskip("datumaro")
    _write(tmp_path / "out", items)
    dataset = datumaro.Dataset.import_from(str(tmp_path / "out"), "cvat")
    names = [label.name for label in dataset.categories()[datumaro.AnnotationType.label]]
    assert names == [*CLASSES, "unsure"]
    found = {item.id: item for item in dataset}
    assert set(found) == {item.stem for item in items}
    for item in items:
        rebuilt = np.zeros(item.mask.shape, np.uint8)
        for annotation in found[item.stem].annotations:
            rebuilt[annotation.image.astype(bool)] = VALUES[names[annotation.label]]
        np.testing.assert_array_equal(rebuilt, item.mask)


def test_what_datumaro_writes_comes_back(items: list[Labelled], tmp_path: Path) -> None:
    datumaro = pytest.importorskip("datumaro")
    _write(tmp_path / "out", items)
    dataset = datumaro.Dataset.import_from(str(tmp_path / "out"), "cvat")
    dataset.export(str(tmp_path / "again"), "cvat", save_media=False)
    incoming = format_named("cvat").read(tmp_path / "again", sizes(items), CLASSES)
    back = dict(incoming.items)
    assert set(back) == {item.stem for item in items}
    for item in items:
        np.testing.assert_array_equal(back[item.stem], item.mask)


def test_each_object_is_a_mask_of_its_own(items: list[Labelled], tmp_path: Path) -> None:
    mask = items[1].mask
    numbers = np.zeros(mask.shape, np.uint16)
    numbers[:, :17], numbers[:, 17:35] = 1, 300
    item = items[1]._replace(instances=np.where(mask == 1, numbers, 0).astype(np.uint16))
    _write(tmp_path / "out", [item])
    labels = [m.get("label") for m in parse(tmp_path / "out" / "annotations.xml").getroot().iter("mask")]
    assert labels.count("cat") == 3 and labels.count("unsure") == 1
    ((_, back),) = format_named("cvat").read(tmp_path / "out", sizes([item]), CLASSES).items
    np.testing.assert_array_equal(back, mask)


def test_runs_go_along_rows_of_the_box_zeros_first(tmp_path: Path) -> None:
    mask, _ = _read(_file(tmp_path / "in", _image(_mask("1, 2,2,3"))))
    assert mask[3:5, 2:6].tolist() == [[0, 1, 1, 0], [0, 1, 1, 1]] and mask.sum() == 5
    mask, _ = _read(_file(tmp_path / "in", _image(_mask("0,5,3"))))
    assert mask[3:5, 2:6].tolist() == [[1, 1, 1, 1], [1, 0, 0, 0]]


def test_higher_z_order_lies_above_whatever_comes_first(tmp_path: Path) -> None:
    shapes = (
        _mask("0,8", label="traffic light", more='z_order="5"')
        + _mask("0,8", more='z_order="-1"')
        + _mask("0,3,5", label="unsure", more='z_order="6"')
    )
    mask, notes = _read(_file(tmp_path / "in", _image(shapes)))
    assert mask[3:5, 2:6].tolist() == [[255, 255, 255, 2], [2, 2, 2, 2]] and notes == ()


def test_polygons_boxes_and_ellipses_lie_on_pixel_edges(tmp_path: Path) -> None:
    shapes = (
        '<polygon label="cat" points="3,2;6,2;6,5;3,5"/>'
        '<box label="traffic light" xtl="10" ytl="4" xbr="14.0" ybr="6.4"/>'
        '<box label="cat" xtl="18" ytl="9" xbr="22" ybr="11" rotation="90"/>'
        '<polygon label="unsure" points="-5,15;10,15;10,40;-5,40"/>'
        '<polyline label="cat" points="1,1;2,2"/><points label="cat" points="1,1"/>'
    )
    mask, notes = _read(_file(tmp_path / "in", _image(shapes)))
    expected = np.zeros((20, 30), np.uint8)
    expected[2:5, 3:6] = 1  # columns 3 to 5, rows 2 to 4
    expected[4:6, 10:14] = 2
    expected[8:12, 19:21] = 1
    expected[15:, :10] = 255
    np.testing.assert_array_equal(mask, expected)
    assert notes == ("2 point(s), line(s) and cuboid(s) have no area and are left aside.",)
    mask, _ = _read(_file(tmp_path / "in", _image('<ellipse label="cat" cx="15" cy="10" rx="6" ry="4"/>')))
    y, x = np.mgrid[:20, :30] + 0.5
    np.testing.assert_array_equal(mask, ((x - 15) ** 2 / 36 + (y - 10) ** 2 / 16 < 1).astype(np.uint8))


def test_project_zips_name_their_images_by_subset(tmp_path: Path) -> None:
    inside = _image(_mask("0,8"), 'id="0" name="train/a.jpg" subset="train" width="30" height="20"')
    other = _image("", 'id="1" name="elsewhere.jpg" width="3" height="3"')
    mask, notes = _read(_file(tmp_path / "in", inside + other, name="project.xml"))
    assert mask.sum() == 8 and notes == ("1 image(s) are not in the project and are left aside.",)
    _file(tmp_path / "in", "", name="second.xml")
    with pytest.raises(UserError, match="2 XML files"):
        _read(tmp_path / "in")


@pytest.mark.parametrize(
    ("inside", "says"),
    [
        (_image(_mask("1,2,3")), "runs of 6 pixels for an image of 8"),
        (_image(_mask("1,2,30")), "runs"),
        (_image(_mask("1,-2,9")), "runs"),
        (_image(_mask("1,2.5,4")), "whole numbers"),
        (_image(_mask("1,nan,4")), "whole numbers"),
        (_image(_mask("99999999999999999999,1")), "whole numbers"),
        (_image(_mask("")), "whole numbers"),
        (_image(_mask("0," * 9 + "8")), "more runs than pixels"),
        (_image(_mask("0,8", (28, 3, 4, 2))), "not on the image"),
        (_image(_mask("0,8", (-1, 3, 4, 2))), "not on the image"),
        (_image(_mask("0", (1, 3, 0, 0))), "not on the image"),
        (_image('<mask label="cat" rle="0,8"/>'), "not on the image"),
        (_image('<polygon label="cat" points="1,2;3"/>'), "no points"),
        (_image('<polygon label="cat" points="1,2;3,nan;4,4"/>'), "far outside"),
        (_image('<polygon label="cat" points="1,2;3,1e99;4,4"/>'), "far outside"),
        (_image('<polygon label="cat" points="1,2;x,1;4,4"/>'), "no list of points"),
        (_image('<box label="cat" xtl="1" ytl="2" xbr="5"/>'), "needs the numbers"),
        (_image('<box label="cat" xtl="1" ytl="2" xbr="5" ybr="inf"/>'), "needs the numbers"),
        (_image("", 'id="0" name="a.jpg" width="20" height="30"'), "turned alike"),
        (_image("", 'id="0" name="a.jpg" width="x" height="20"'), "without name, width and height"),
        (_image("", 'id="0" width="30" height="20"'), "without name, width and height"),
        (_image("") + _image(""), "two images that are called 'a'"),
        (_image("", 'id="0" name="z.jpg" width="30" height="20"'), "no image of this project"),
        ("<track id='0' label='cat'/>", "video"),
        ("<image", "no XML"),
        ("", "no image of this project"),
    ],
)
def test_wrong_files_are_refused_in_words(inside: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)annotations\.xml.*" + says):
        _read(_file(tmp_path / "in", inside))


def test_entities_document_types_and_other_roots_are_refused(tmp_path: Path) -> None:
    laughs = "<!DOCTYPE l [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'>]>"
    with pytest.raises(UserError, match="document type or entities"):
        _read(_file(tmp_path / "in", _image(""), head=laughs))
    (tmp_path / "in" / "annotations.xml").write_text("<annotation><image/></annotation>")
    with pytest.raises(UserError, match="begins with 'annotation'"):
        _read(tmp_path / "in")
    (tmp_path / "in" / "annotations.xml").write_text(
        '<?xml version="1.0" encoding="nonsense"?><annotations/>'
    )
    with pytest.raises(UserError, match="encoding"):
        _read(tmp_path / "in")


def test_classes_may_not_be_called_unsure() -> None:
    from engine.names import check_class_names

    with pytest.raises(UserError, match="reserved"):
        check_class_names(["unsure"])
