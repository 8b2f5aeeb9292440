"""COCO instances that others wrote: their ways of writing the same, damaged files, hostile files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import UserError
from engine.formats import format_named

CLASSES = ("cat", "traffic light", "sheep")
COCO = format_named("coco")


def given(folder: Path, **changes: Any) -> Path:
    """Write a file of one image of 4 x 3 px with one annotation, as changed."""
    annotation = {
        "id": 1, "image_id": 7, "category_id": 90, "iscrowd": 0, "segmentation": [[1, 0, 3, 0, 3, 2, 1, 2]],
    } | changes.pop("annotation", {})  # fmt: skip
    value = {
        "images": [{"id": 7, "file_name": "train2017/x.jpg", "width": 4, "height": 3}],
        "categories": [{"id": 90, "name": "cat", "supercategory": "animal"}, {"id": 3, "name": "yak"}],
        "annotations": [annotation],
    } | changes
    folder.mkdir(exist_ok=True)
    (folder / "instances_x.json").write_text(json.dumps(value))
    return folder


def painted(folder: Path, size: tuple[int, int] = (3, 4)) -> list[list[int]]:
    return dict(COCO.read(folder, {"x": size}, CLASSES).items)["x"].tolist()


def test_category_ids_have_gaps_and_runs_come_in_two_ways(tmp_path: Path) -> None:
    expected = [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert painted(given(tmp_path)) == expected
    # As text: 3, 2, 1, then 2 as 2 - 2, and 4 as 4 - 1.
    for counts in ([3, 2, 1, 2, 4], "32103"):
        runs = {"size": [3, 4], "counts": counts}
        assert painted(given(tmp_path, annotation={"segmentation": runs})) == expected


def test_a_crowd_of_others_is_its_class_and_smaller_things_lie_above(tmp_path: Path) -> None:
    whole = {"id": 1, "image_id": 7, "category_id": 90, "iscrowd": 1,
             "segmentation": {"size": [3, 4], "counts": [0, 12]}}  # fmt: skip
    small = {
        "id": 2,
        "image_id": 7,
        "category_id": 4,
        "iscrowd": 0,
        "segmentation": [[0, 0, 1, 0, 1, 1, 0, 1]],
    }
    categories = [{"id": 90, "name": "cat"}, {"id": 4, "name": "sheep"}, {"id": 5, "name": "background"}]
    everything = {
        "id": 3,
        "image_id": 7,
        "category_id": 5,
        "segmentation": [[0, 0, 4, 0, 4, 3, 0, 3]],
        "iscrowd": 0,
    }
    for order in ([small, whole, everything], [everything, whole, small]):
        folder = given(tmp_path, annotations=order, categories=categories)
        assert painted(folder) == [[3, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]


def test_an_image_in_two_files_is_read_from_the_first(tmp_path: Path) -> None:
    given(tmp_path, annotations=[])
    (tmp_path / "instances_x.json").rename(tmp_path / "instances_a.json")
    assert painted(given(tmp_path)) == [[0] * 4] * 3
    assert COCO.read(tmp_path, {"x": (3, 4)}, CLASSES).stems == ("x",)


RUNS = {"size": [3, 4], "counts": [0, 12]}


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        ({"segmentation": {**RUNS, "counts": [0, 11]}}, "runs of 11 pixels"),  # garbage in pycocotools
        ({"segmentation": {**RUNS, "counts": [0, 13]}}, "longer than the image"),
        ({"segmentation": {**RUNS, "counts": [6, -2, 8]}}, "counts"),
        ({"segmentation": {**RUNS, "counts": [0, 10**30]}}, "counts"),
        ({"segmentation": {**RUNS, "counts": [True] * 12}}, "counts"),
        ({"segmentation": {**RUNS, "counts": "0=0"}}, "runs"),
        ({"segmentation": {**RUNS, "counts": "é"}}, "run-length"),
        ({"segmentation": {**RUNS, "counts": None}}, "counts"),
        ({"segmentation": {"size": [4, 3], "counts": [0, 12]}}, "size"),
        ({"segmentation": {}}, "size"),
        ({"segmentation": None}, "no segmentation"),
        ({"segmentation": [[0, 0, 1, 1]]}, "three points"),
        ({"segmentation": [[0, 0, 1, 1, 2]]}, "three points"),
        ({"segmentation": [[0, 0, 1, 1, 2, "3"]]}, "three points"),
        ({"segmentation": [0, 0, 1, 1, 2, 2]}, "three points"),
        ({"segmentation": [[0, 0, 1, 1, 2, 1e9]]}, "far outside"),
        ({"segmentation": [[0, 0, 1, 1, 2, 10**400]]}, "hundreds of digits"),
        ({"category_id": 8}, "category_id 8"),
        ({"category_id": True}, "category_id True"),
        ({"image_id": 8}, "image_id 8"),
        ({"image_id": [7]}, "image_id"),
    ],
)
def test_damaged_annotations_are_sentences(tmp_path: Path, annotation: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError, match=text) as error:
        painted(given(tmp_path, annotation=annotation))
    assert "annotations[0]" in error.value.found or "instances_x.json" in error.value.found


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"images": None}, "no list 'images'"),
        ({"images": [{"id": 7, "file_name": "y.jpg"}], "annotations": []}, "none of the images"),
        ({"images": [{"id": 7, "file_name": "x.jpg"}, {"id": 8, "file_name": "b/x.png"}]}, "twice"),
        (
            {"images": [{"id": 7, "file_name": "x.jpg"}, {"id": 7, "file_name": "y.png"}]},
            "id 7 is there twice",
        ),
        ({"images": [{"id": 7, "file_name": "x.jpg", "width": 5, "height": 3}]}, "5 x 3 px there"),
        ({"categories": [{"id": 90}]}, "text 'name'"),
        ({"categories": []}, "none of its categories"),
        ({"annotations": None}, "no list 'annotations'"),
        ({"annotations": ["x", None]}, "2 mistakes"),
    ],
)
def test_damaged_files_are_sentences(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError, match=text):
        painted(given(tmp_path, **changes))


def test_a_name_that_is_a_path_opens_nothing(tmp_path: Path) -> None:
    given(tmp_path, images=[{"id": 7, "file_name": "../../../etc/x.jpg", "width": 4, "height": 3}])
    assert painted(tmp_path)[0] == [0, 1, 1, 0]
    outside = tmp_path / "outside.json"
    (tmp_path / "instances_x.json").rename(outside)
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "instances_x.json").symlink_to(outside)
    with pytest.raises(UserError, match="link that leads out"):
        painted(inner)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        '{"annotations": NaN}',
        '{"annotations": [], "annotations": []}',
        "\x89PNG\r\n",
        "[]",
        "7",
    ],
)
def test_texts_that_are_no_coco_are_sentences(tmp_path: Path, text: str) -> None:
    (tmp_path / "instances.json").write_text(text, encoding="latin-1")
    with pytest.raises(UserError):
        painted(tmp_path)


def test_every_truncation_is_a_sentence(tmp_path: Path) -> None:
    path = given(tmp_path) / "instances_x.json"
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(UserError):
            painted(tmp_path)


def test_annotations_that_cover_an_image_again_and_again_are_given_up(tmp_path: Path) -> None:
    side = 3000
    image = [{"id": 7, "file_name": "x.jpg", "width": side, "height": side}]
    runs = {"size": [side, side], "counts": [0, side * side]}
    # From edge to edge in every column: each side crosses every row.
    saw = [v for k in range(side) for v in (k, 0 if k % 2 else side)]
    whole = [0, 0, side, 0, side, side, 0, side]
    for segmentation, count in ((runs, 2000), ([whole], 80), ([saw], 40), ([[0, 0, 1, 0, 1, 1]], 200_000)):
        one = {"image_id": 7, "category_id": 90, "iscrowd": 0, "segmentation": segmentation}
        given(tmp_path, images=image, annotations=[one | {"id": k} for k in range(count)])
        with pytest.raises(UserError, match="more shapes, or larger ones"):
            painted(tmp_path, (side, side))
