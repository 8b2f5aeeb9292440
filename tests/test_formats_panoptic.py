"""COCO panoptic out and in: round trips, datumaro as reader, each trap, hostile files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from scipy import ndimage

from engine.atomic import new_folder
from engine.colours import class_colours
from engine.errors import UserError
from engine.formats import Labelled, format_named
from engine.formats.coco_panoptic import Options

CLASSES = ("cat", "traffic light", "sheep")
SPLITS = {"train": ["a_1", "größe 2"], "val": ["c.3"], "fold": ["c.3", "a_1"]}
PANOPTIC = format_named("coco-panoptic")


@pytest.fixture
def items(tmp_path: Path) -> list[Labelled]:
    rng = np.random.default_rng(3)
    folder = tmp_path / "photographs"
    folder.mkdir()
    made = []
    for stem, size in (("a_1", (60, 80)), ("größe 2", (33, 21)), ("c.3", (16, 64)), ("d", (8, 9))):
        path = folder / f"{stem}.png"
        Pillow.fromarray(rng.integers(0, 256, (*size, 3)).astype(np.uint8)).save(path)
        scores = np.stack([ndimage.gaussian_filter(rng.normal(size=size), 0.7) for _ in range(4)])
        mask = scores.argmax(0).astype(np.uint8)
        mask[np.ptp(np.sort(scores, 0)[-2:], axis=0) < 0.02] = 255
        made.append(Labelled(stem, path, mask))
    made[2] = made[2]._replace(mask=np.full((16, 64), 255, np.uint8))
    made[3] = made[3]._replace(mask=np.full((8, 9), 2, np.uint8))
    return made


def write(
    out: Path, items: list[Labelled], splits: dict[str, list[str]] = SPLITS, **options: str
) -> list[str]:
    with new_folder(out) as folder:
        return PANOPTIC.write(folder, items, CLASSES, class_colours(3), splits, Options(**options))


def sizes(items: list[Labelled]) -> dict[str, tuple[int, int]]:
    return {item.stem: item.mask.shape for item in items}


def numbers_in(path: Path) -> np.ndarray:
    """Return the segments' numbers as the definition of the format gives them."""
    colour = np.array(Pillow.open(path)).astype(np.int64)
    return colour[..., 0] + 256 * colour[..., 1] + 65536 * colour[..., 2]


@pytest.mark.parametrize("objects", ["instances", "components", "classes"])
def test_masks_come_back_as_they_went(items: list[Labelled], tmp_path: Path, objects: str) -> None:
    lost = write(tmp_path / "out", items, objects=objects)
    assert lost == ["1 image(s) are in no split and are listed as 'rest'."]
    incoming = PANOPTIC.read(tmp_path / "out", sizes(items), CLASSES)
    back = dict(incoming.items)
    assert set(back) == set(incoming.stems) == {i.stem for i in items} and incoming.notes == ()
    for item in items:
        np.testing.assert_array_equal(back[item.stem], item.mask)


def test_the_files_are_as_coco_has_them(items: list[Labelled], tmp_path: Path) -> None:
    write(tmp_path / "out", items)
    folder = tmp_path / "out" / "annotations"
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        f"panoptic_{s}{end}" for s in ("train", "val", "fold", "rest") for end in ("", ".json")
    )
    for path in folder.glob("*.json"):
        value = json.loads(path.read_text("utf-8"))
        assert [(c["name"], c["isthing"]) for c in value["categories"]] == [
            *((name, 1) for name in CLASSES), ("background", 0),
        ]  # fmt: skip
        of = {image["id"]: image for image in value["images"]}
        assert len(value["annotations"]) == len(of)
        for a in value["annotations"]:
            image = of[a["image_id"]]
            assert Path(a["file_name"]).stem == Path(image["file_name"]).stem
            numbers = numbers_in(path.with_suffix("") / a["file_name"])
            assert numbers.shape == (image["height"], image["width"])
            sent = next(i.mask for i in items if i.stem == Path(a["file_name"]).stem)
            np.testing.assert_array_equal(numbers == 0, sent == 255)  # void is what is unsure
            assert set(np.unique(numbers)) - {0} == {s["id"] for s in a["segments_info"]}
            for s in a["segments_info"]:
                region = numbers == s["id"]
                rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
                assert s["area"] == region.sum() and s["iscrowd"] == 0
                assert s["bbox"] == [
                    columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0],
                ]  # fmt: skip
                assert (sent[region] == s["category_id"] % 4).all()


def test_more_segments_than_one_byte_holds(items: list[Labelled], tmp_path: Path) -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[::2, ::2] = 1
    item = items[0]._replace(mask=mask)
    write(tmp_path / "out", [item], {})
    numbers = numbers_in(tmp_path / "out" / "annotations" / "panoptic_train" / "a_1.png")
    assert numbers.max() == 30 * 40 + 1 > 255
    np.testing.assert_array_equal(
        dict(PANOPTIC.read(tmp_path / "out", sizes([item]), CLASSES).items)["a_1"], mask
    )


def test_datumaro_reads_the_same_pixels(items: list[Labelled], tmp_path: Path) -> None:
    datumaro = pytest.importorskip("datumaro")
    write(tmp_path / "out", items)
    dataset = datumaro.Dataset.import_from(str(tmp_path / "out"), "coco_panoptic")
    names = [label.name for label in dataset.categories()[datumaro.AnnotationType.label]]
    assert names == [*CLASSES, "background"]
    seen = set()
    for item in dataset:
        sent = next(i.mask for i in items if i.stem == item.id)
        rebuilt = np.full(sent.shape, 255, np.uint8)
        for a in item.annotations:
            rebuilt[a.image.astype(bool)] = (a.label + 1) % 4
        np.testing.assert_array_equal(rebuilt, sent)
        seen.add((item.id, item.subset))
    assert seen >= {("a_1", "train"), ("größe 2", "train"), ("c.3", "val"), ("d", "rest")}


def test_classes_as_segments_are_stuff_and_instances_divide(items: list[Labelled], tmp_path: Path) -> None:
    write(tmp_path / "stuff", items[:1], {}, objects="classes")
    value = json.loads((tmp_path / "stuff" / "annotations" / "panoptic_train.json").read_text())
    assert [c["isthing"] for c in value["categories"]] == [0, 0, 0, 0]
    assert len(value["annotations"][0]["segments_info"]) == 4
    item = items[3]._replace(instances=np.where(np.arange(9) < 4, 1, 2)[None].repeat(8, 0).astype(np.uint16))
    for objects, count in (("instances", 2), ("components", 1)):
        write(tmp_path / objects, [item], {}, objects=objects)
        value = json.loads((tmp_path / objects / "annotations" / "panoptic_train.json").read_text())
        assert len(value["annotations"][0]["segments_info"]) == count


def test_classes_are_matched_by_name(items: list[Labelled], tmp_path: Path) -> None:
    write(tmp_path / "out", items)
    incoming = PANOPTIC.read(tmp_path / "out", sizes(items), ("sheep", "dog", "cat"))
    table = np.zeros(256, np.uint8)
    table[[1, 3, 255]] = 3, 1, 255
    for stem, mask in incoming.items:
        np.testing.assert_array_equal(mask, table[next(i.mask for i in items if i.stem == stem)])
    assert any("traffic light" in note for note in incoming.notes)


# --- files of others -------------------------------------------------------------------------------


def given(folder: Path, colour: np.ndarray | None = None, segments: Any = None, **changes: Any) -> Path:
    """Write a file of one image of 2 x 2 px with the segments 1 (cat) and 70000 (yak), and void."""
    if colour is None:
        colour = np.array([[[1, 0, 0], [1, 0, 0]], [[0x70, 0x11, 1], [0, 0, 0]]], np.uint8)
    if segments is None:
        segments = [{"id": 1, "category_id": 17}, {"id": 0x11170, "category_id": 200}]
    annotation = {"image_id": 7, "file_name": "x.png", "segments_info": segments} | changes.pop(
        "annotation", {}
    )
    value = {
        "images": [{"id": 7, "file_name": "x.jpg", "width": 2, "height": 2}],
        "categories": [{"id": 17, "name": "cat", "isthing": 1}, {"id": 200, "name": "yak", "isthing": 1}],
        "annotations": [annotation],
    } | changes
    place = folder / "annotations" / "panoptic_val2017"
    place.mkdir(parents=True, exist_ok=True)
    place.with_suffix(".json").write_text(json.dumps(value))
    Pillow.fromarray(colour).save(place / "x.png")
    return folder


def pixels(folder: Path) -> list[list[int]]:
    return dict(PANOPTIC.read(folder, {"x": (2, 2)}, CLASSES).items)["x"].tolist()


def test_files_of_others_are_read(tmp_path: Path) -> None:
    assert pixels(given(tmp_path)) == [[1, 1], [0, 255]]
    assert "yak" in PANOPTIC.read(tmp_path, {"x": (2, 2)}, CLASSES).notes[0]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"segments": [{"id": 1, "category_id": 17}]}, "segment 70000, of which"),
        ({"segments": [{"id": 1, "category_id": 17}] * 2}, "id 1"),
        ({"segments": [{"id": 0, "category_id": 17}]}, "id 0"),
        ({"segments": [{"id": 2**24, "category_id": 17}]}, "id 16777216"),
        ({"segments": [{"id": 1, "category_id": 3}]}, "category_id 3"),
        ({"segments": [7]}, "id None"),
        ({"annotation": {"segments_info": None}}, "no list segments_info"),
        ({"annotations": []}, "0 annotations"),
        ({"colour": np.zeros((2, 3, 3), np.uint8)}, "3 x 2 px"),
        ({"colour": np.zeros((2, 2), np.uint8)}, "mode L"),
        ({"colour": np.zeros((2, 2, 4), np.uint8)}, "mode RGBA"),
    ],
)
def test_damaged_files_are_sentences(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError, match=text):
        pixels(given(tmp_path, **changes))


def test_damaged_pictures_are_sentences(tmp_path: Path) -> None:
    path = given(tmp_path) / "annotations" / "panoptic_val2017" / "x.png"
    whole = path.read_bytes()
    for end in (0, 8, 30, 45):
        path.write_bytes(whole[:end])
        with pytest.raises(UserError, match=r"x\.png"):
            pixels(tmp_path)
    path.unlink()
    with pytest.raises(UserError, match="does not exist"):
        pixels(tmp_path)
    (tmp_path / "outside.png").write_bytes(whole)
    path.symlink_to(tmp_path / "outside.png")
    assert pixels(tmp_path)  # inside of the folder that was named
    inner = given(tmp_path / "inner")
    (inner / "annotations" / "panoptic_val2017" / "x.png").unlink()
    (inner / "annotations" / "panoptic_val2017" / "x.png").symlink_to(tmp_path / "outside.png")
    with pytest.raises(UserError, match="link that leads out"):
        pixels(inner)


def test_the_name_in_the_file_opens_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"secret")
    given(tmp_path, annotation={"file_name": "../../../x.png"})
    assert pixels(tmp_path) == [[1, 1], [0, 255]]


def test_a_folder_without_such_files_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no panoptic\*\.json"):
        PANOPTIC.read(tmp_path, {"x": (2, 2)}, CLASSES)
    given(tmp_path)
    with pytest.raises(UserError, match="none of the images"):
        PANOPTIC.read(tmp_path, {"y": (2, 2)}, CLASSES)
