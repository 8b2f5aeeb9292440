"""True boxes from tables, COCO and VOC XML, and what hostile or mistaken files get instead."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.errors import UserError
from engine.truth_boxes import TruthBoxes, read_truth_boxes

STEMS = ("one", "two", "photo.v2")
CLASSES = ("cat", "dog")


def read(path: Path) -> TruthBoxes:
    return read_truth_boxes(path, STEMS, CLASSES)


@pytest.fixture
def table(tmp_path: Path) -> Callable[[str], TruthBoxes]:
    def make(text: str, name: str = "boxes.csv") -> TruthBoxes:
        (tmp_path / name).write_text(text)
        return read(tmp_path / name)

    return make


def refused(call: Callable[[], Any], *words: str) -> str:
    """The message of a file that is refused: three parts, fast, with these words in it."""
    begin = time.process_time()
    with pytest.raises(UserError) as caught:
        call()
    assert time.process_time() - begin < 5
    message = str(caught.value)
    assert caught.value.accepted, message
    for word in words:
        assert word in message, message
    return message


# --- tables ----------------------------------------------------------------------------------------------


def test_a_localization_txt(table: Any) -> None:
    found = table(
        "val/a/one.JPEG,1,2,30,40\nval/a/one.JPEG,5,6,7,8\nval/two.jpg,0,0,9,9\n", "localization.txt"
    )
    assert found.boxes == {"one": {None: [(1, 2, 30, 40), (5, 6, 7, 8)]}, "two": {None: [(0, 0, 9, 9)]}}
    assert found.notes == []


def test_a_table_with_classes_with_or_without_header(table: Any) -> None:
    rows = "one,1,2,30,40,cat\none,5,6,7,8,dog\nphoto.v2.png,0,0,9.5,9,cat\n"
    wanted = {"one": {0: [(1, 2, 30, 40)], 1: [(5, 6, 7, 8)]}, "photo.v2": {0: [(0, 0, 9.5, 9)]}}
    assert table(rows).boxes == wanted
    assert table("image,x0,y0,x1,y1,class\n" + rows).boxes == wanted
    assert table("﻿image;xmin;ymin;xmax;ymax;label\r\n" + rows.replace(",", ";")).boxes == wanted
    other = "label\tfilename\tytop\tymax\txmax\txmin\tymin\n"
    other += "cat\tone.jpg\tx\t40\t30\t1\t2\n"
    assert table(other).boxes == {"one": {0: [(1, 2, 30, 40)]}}


def test_a_row_may_name_no_class(table: Any) -> None:
    found = table("image,x0,y0,x1,y1,class\none,1,2,3,4,\ntwo,1,2,3,4\ntwo,5,5,6,6, dog \n")
    assert found.boxes == {"one": {None: [(1, 2, 3, 4)]}, "two": {None: [(1, 2, 3, 4)], 1: [(5, 5, 6, 6)]}}
    assert found.of("two", 1) == [(5, 5, 6, 6)]
    assert found.of("two", 1, single=True) == [(5, 5, 6, 6), (1, 2, 3, 4)]
    assert found.of("two", 0) == [] and found.of("nobody", 0) == []


def test_images_and_classes_that_the_project_lacks_are_passed_over(table: Any) -> None:
    found = table("one,1,2,3,4,cat\nstranger,1,2,3,4,cat\nstranger,1,2,3,4,dog\none,1,2,3,4,bird\n")
    assert found.boxes == {"one": {0: [(1, 2, 3, 4)]}}
    assert "2 boxes are of 1 images" in found.notes[0] and "bird (1)" in found.notes[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("one,1,2,3,4\none,1,x,3,4\n", ("line 2", "not four numbers")),
        ("one,1,2,3,4\n\ntwo,1,2,3\n", ("line 3", "4 cells where 5")),
        ("one,30,2,3,4\n", ("line 1", "before it begins", "not width and height")),
        ("image,x0,y0,x1,y1\none,1,2,nan,4\n", ("line 2", "x1 = nan")),
        ("one,1,2,1e300,4\none,1,2,3,inf\n", ("2 mistakes", "line 1", "line 2")),
        ("image,x,y,w,h\none,1,2,3,4\n", ("line 1", "lacks x0, y0, x1, y1")),
        ("image,x0,xmin,y0,x1,y1\none,1,1,2,3,4\n", ("line 1", "2 columns could be x0")),
        ("one.jpg,masks/one.png,ignore/one.png\n", ("line 1", "localization.txt of masks")),
        ("one,1,2,3,4,5,6,7\n", ("line 1", "is no row of boxes")),
        ("image,x0,y0,x1,y1\n", ("it has no box",)),
        ("onee,1,2,3,4\n", ("none of its images", "Did you mean 'one'?")),
        ("one,1,2,3,4,Cat\n", ("none of its classes", "Did you mean 'cat'?")),
        ('one,1,2,3,4\n"two,1,2,3,4\n', ("line 3", "cannot be told apart")),
        ("one,1,2,3,\0\n", ("line 1", "NUL")),
        ("   \n", ("blanks",)),
        ("<html></html>", ("XML or HTML",)),
    ],
)
def test_mistakes_in_tables_name_file_and_line(table: Any, text: str, words: tuple[str, ...]) -> None:
    refused(lambda: table(text), "boxes.csv", *words)


def test_long_tables_are_read_fast_and_capped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "boxes.csv"
    rows = (f"folder/image_{n // 3:06d}.jpg,1,2,3,4\n" for n in range(60_000))
    path.write_text("".join(rows) + "one,1,2,3,4\n")
    begin = time.process_time()  # the clock on the wall counts what else runs here
    assert list(read(path).boxes) == ["one"]
    assert time.process_time() - begin < 2  # so that 500,000 rows stay under five seconds on a quiet machine
    monkeypatch.setattr("engine.truth_boxes._MAX_BOXES", 2_000)
    path.write_text("stranger,1,2,3,4\n" * 2_001)
    refused(lambda: read(path), "line 2001", "more than 2,000 boxes")
    path.write_text("one,1,2,3,4\n" * 1_001)
    refused(lambda: read(path), "line 1001", "'one' has more than 1,000 boxes")


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x80\x04", b"%PDF-1.7", b"\x93NUMPY"])
def test_files_of_other_kinds(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "boxes.csv").write_bytes(start + bytes(100))
    refused(lambda: read(tmp_path / "boxes.csv"), "is no text file")


def test_what_is_no_file(tmp_path: Path) -> None:
    refused(lambda: read(tmp_path / "nowhere"), "does not exist")
    refused(lambda: read(tmp_path), "holds no annotations")
    (tmp_path / "localization.txt").write_text("one,1,2,3,4\n")
    refused(lambda: read(tmp_path), "localization.txt")
    os.mkfifo(tmp_path / "pipe")
    refused(lambda: read(tmp_path / "pipe"), "device or a pipe")
    with open(tmp_path / "large.csv", "wb") as file:
        file.truncate(65 << 20)
    refused(lambda: read(tmp_path / "large.csv"), "At most 64 MiB")
    (tmp_path / "utf16.csv").write_text("one,1,2,3,4", encoding="utf-16")
    refused(lambda: read(tmp_path / "utf16.csv"), "UTF-16")


# --- COCO ------------------------------------------------------------------------------------------------


def coco(tmp_path: Path, annotations: list[Any], **other: Any) -> Path:
    value = {
        "images": [{"id": 7, "file_name": "val/one.jpg"}, {"id": 8, "file_name": "else.jpg"}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "bird"}],
        "annotations": annotations,
        **other,
    }
    (tmp_path / "boxes.json").write_text(json.dumps(value))
    return tmp_path / "boxes.json"


def note(bbox: Any, image: Any = 7, category: Any = 18, **other: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": bbox, **other}


def test_coco_boxes_become_corners_with_both_ends_inside(tmp_path: Path) -> None:
    rows = [note([10, 20, 30, 40]), note([1.5, 2.5, 0.5, 8])]
    found = read(coco(tmp_path, rows))
    assert found.form == "COCO instances JSON"
    assert found.boxes == {"one": {1: [(10, 20, 39, 59), (1.5, 2.5, 1.5, 9.5)]}}


def test_coco_passes_over_crowds_flat_boxes_and_strangers(tmp_path: Path) -> None:
    rows = [
        note([0, 0, 9, 9]), note([0, 0, 9, 9], iscrowd=1), note([0, 0, 0, 9]), note([0, 0, 9, 9], image=8),
        note([0, 0, 9, 9], category=3),
    ]  # fmt: skip
    found = read(coco(tmp_path, rows))
    assert found.boxes == {"one": {1: [(0, 0, 8, 8)]}}
    said = " ".join(found.notes)
    for words in ("1 boxes of crowds", "1 boxes without area", "1 boxes are of 1 images", "bird (1)"):
        assert words in said


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (note([1, 2, 3]), "is not [x, y, width, height]"),
        (note([1, 2, 3, True]), "is not [x, y, width, height]"),
        (note("1234"), "is not [x, y, width, height]"),
        (note([1, 2, -3, 4]), "no px"),
        (note([1, 2, 3, 10**400]), "no px"),
        (note([1, 2, 3, 4], image=9), "no image_id 9"),
        (note([1, 2, 3, 4], category=[18]), "no category_id"),
        (note([1, 2, 3, 4], image=True), "no image_id True"),
        (17, "no image_id None"),
    ],
)
def test_mistakes_in_coco_name_the_annotation(tmp_path: Path, row: Any, words: str) -> None:
    refused(lambda: read(coco(tmp_path, [note([0, 0, 9, 9]), row])), "boxes.json", "annotations[1]", words)


def test_hostile_json(tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    for text, words in (
        ('{"images": [], "annotations": 3}', "is no COCO file"),
        ("[1, 2]", "is no COCO file"),
        ("{" * 100_000, "boxes.json"),
        ("[" * 100_000, "boxes.json"),
        ('{"images": [NaN]}', "NaN"),
        ('{"images": [], "images": []}', "there twice"),
        ('{"a": ' + "9" * 5000 + "}", "cannot be read"),
    ):
        path.write_text(text)
        refused(lambda: read(path), words)
    refused(lambda: read(coco(tmp_path, [], images=[{"id": 1}])), "images[0]")
    twice = [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]
    refused(lambda: read(coco(tmp_path, [], categories=twice)), "categories[1]", "there twice")


# --- VOC XML ---------------------------------------------------------------------------------------------


def xml(*objects: tuple[str, Any, Any, Any, Any], more: str = "") -> str:
    things = "".join(
        f"<object><name>{name}</name><part><name>head</name><bndbox><xmin>1</xmin></bndbox></part><bndbox>"
        f"<xmax>{x1}</xmax><xmin>{x0}</xmin><ymin>{y0}</ymin><ymax>{y1}</ymax></bndbox></object>"
        for name, x0, y0, x1, y1 in objects
    )
    return f"<annotation><filename>wrong.jpg</filename>{things}{more}</annotation>"


def test_voc_boxes_count_from_one(tmp_path: Path) -> None:
    (tmp_path / "one.xml").write_text(
        xml(("cat", 1, 11, 30, 40), ("dog", 0, 0, 5.5, 5), ("bird", 1, 1, 2, 2))
    )
    (tmp_path / "two.xml").write_text(xml())
    (tmp_path / "stranger.xml").write_text("this is never opened")
    found = read(tmp_path)
    assert found.boxes == {"one": {0: [(0, 10, 29, 39)], 1: [(0, 0, 4.5, 4)]}}
    assert "1 annotations are of images" in found.notes[0] and "bird (1)" in found.notes[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<annotation><object>", "line 1"),
        ("<data/>", "its root is 'data'"),
        (xml(("cat", 1, 2, "wide", 4)), "four numbers"),
        (xml(("cat", 1, 2, "nan", 4)), "x1 = nan"),
        (xml(("cat", 10, 2, 3, 4)), "before it begins"),
        (xml(("", 1, 2, 3, 4)), "no name"),
        (
            '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;">]><annotation>&y;</annotation>',
            "document type or entities",
        ),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "document type or entities"),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "one.xml"),
    ],
)
def test_mistakes_in_xml_name_the_file(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "one.xml").write_text(text)
    refused(lambda: read(tmp_path), "one.xml", words)


def test_hostile_folders(tmp_path: Path) -> None:
    (tmp_path / "stranger.xml").write_text(xml(("cat", 1, 2, 3, 4)))
    refused(lambda: read(tmp_path), "none of its 1 annotations", "stranger.xml")
    (tmp_path / "one.xml").write_text(xml(more=" " * (5 << 20)))
    refused(lambda: read(tmp_path), "one.xml", "MiB")
    (tmp_path / "one.xml").write_text(xml(*[("cat", 1, 2, 3, 4)] * 1_001))
    refused(lambda: read(tmp_path), "more than 1,000 boxes")
