"""COCO instances out and in: round trips, independent readers, each trap."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from scipy import ndimage

from engine.atomic import new_folder
from engine.colours import class_colours
from engine.errors import UserError
from engine.formats import Labelled, format_named
from engine.formats.coco import Options

CLASSES = ("cat", "traffic light", "sheep")
SPLITS = {"train": ["a_1", "größe 2"], "val": ["c.3"]}
COCO = format_named("coco")


def blobs(seed: int, size: tuple[int, int]) -> np.ndarray:
    """Return a mask of blobs of all classes with holes, crumbs and an unsure band."""
    rng = np.random.default_rng(seed)
    scores = np.stack([ndimage.gaussian_filter(rng.normal(size=size), 1.5) for _ in range(4)])
    mask = scores.argmax(0).astype(np.uint8)
    top = np.sort(scores, 0)
    mask[top[-1] - top[-2] < 0.01] = 255
    return mask


def items_in(folder: Path) -> list[Labelled]:
    rng = np.random.default_rng(11)
    folder.mkdir(exist_ok=True)
    items = []
    for seed, (stem, suffix, size) in enumerate(
        (
            ("a_1", ".jpg", (30, 40)),
            ("größe 2", ".png", (33, 21)),
            ("c.3", ".jpg", (16, 64)),
            ("d", ".bmp", (8, 9)),
        )
    ):
        path = folder / f"{stem}{suffix}"
        Pillow.fromarray(rng.integers(0, 256, (*size, 3)).astype(np.uint8)).save(path)
        items.append(Labelled(stem, path, blobs(seed, size)))
    items[2] = items[2]._replace(mask=np.where(items[2].mask == 2, 2, 0).astype(np.uint8))
    items[3] = items[3]._replace(mask=np.full((8, 9), 255, np.uint8))
    return items


def write(
    out: Path, items: list[Labelled], splits: dict[str, list[str]] = SPLITS, **options: str
) -> list[str]:
    with new_folder(out) as folder:
        return COCO.write(folder, items, CLASSES, class_colours(3), splits, Options(**options))


def sizes(items: list[Labelled]) -> dict[str, tuple[int, int]]:
    return {item.stem: item.mask.shape for item in items}


@pytest.fixture
def items(tmp_path: Path) -> list[Labelled]:
    return items_in(tmp_path / "images")


@pytest.mark.parametrize("segmentation", ["polygons", "rle"])
def test_masks_come_back_as_they_went(items: list[Labelled], tmp_path: Path, segmentation: str) -> None:
    write(tmp_path / "out", items, segmentation=segmentation)
    incoming = COCO.read(tmp_path / "out", sizes(items), CLASSES)
    back = dict(incoming.items)
    assert set(back) == set(incoming.stems) == {i.stem for i in items} and incoming.notes == ()
    for item in items:
        assert back[item.stem].dtype == np.uint8 and back[item.stem].flags.c_contiguous
        np.testing.assert_array_equal(back[item.stem], item.mask)


def test_classes_are_matched_by_name_and_others_told(items: list[Labelled], tmp_path: Path) -> None:
    write(tmp_path / "out", items)
    incoming = COCO.read(tmp_path / "out", sizes(items), ("sheep", "dog", "cat"))
    table = np.zeros(256, np.uint8)
    table[[1, 3, 255]] = 3, 1, 255
    for stem, mask in incoming.items:
        sent = next(i.mask for i in items if i.stem == stem)
        if stem != "d":
            np.testing.assert_array_equal(mask, table[sent])
    assert any("traffic light" in note for note in incoming.notes)
    with pytest.raises(UserError, match="none of its categories"):
        COCO.read(tmp_path / "out", sizes(items), ("dog",))


def test_the_files_are_as_coco_has_them(items: list[Labelled], tmp_path: Path) -> None:
    write(tmp_path / "out", items)
    folder = tmp_path / "out" / "annotations"
    # `d` is in no split and must not vanish.
    assert sorted(p.name for p in folder.iterdir()) == [
        "instances_rest.json", "instances_train.json", "instances_val.json",
    ]  # fmt: skip
    numbers: list[int] = []
    for path in folder.iterdir():
        value = json.loads(path.read_text("utf-8"))
        assert [c["id"] for c in value["categories"]] == [1, 2, 3]  # no background, no shift
        for image in value["images"]:
            with Pillow.open(tmp_path / "out" / "images" / image["file_name"]) as photo:
                assert photo.size == (image["width"], image["height"])
        of = {image["id"]: image for image in value["images"]}
        for a in value["annotations"]:
            numbers.append(a["id"])
            x, y, width, height = a["bbox"]
            assert a["image_id"] in of and a["area"] > 0 and width > 0 and height > 0
            assert x + width <= of[a["image_id"]]["width"] and y + height <= of[a["image_id"]]["height"]
            if a["iscrowd"]:
                assert a["attributes"] == {"unsure": True} and isinstance(a["segmentation"]["counts"], str)
            else:
                assert all(len(p) >= 8 and len(p) % 2 == 0 for p in a["segmentation"])
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("segmentation", ["polygons", "rle"])
def test_pycocotools_reads_the_same_pixels(items: list[Labelled], tmp_path: Path, segmentation: str) -> None:
    coco_module = pytest.importorskip("pycocotools.coco")
    write(tmp_path / "out", items, segmentation=segmentation)
    seen = set()
    for path in (tmp_path / "out" / "annotations").iterdir():
        coco = coco_module.COCO(str(path))
        for image in coco.loadImgs(coco.getImgIds()):
            stem = Path(image["file_name"]).stem
            sent = next(i.mask for i in items if i.stem == stem)
            rebuilt = np.zeros(sent.shape, np.uint8)
            annotations = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
            for a in annotations:
                region = coco.annToMask(a).astype(bool)
                assert region.sum() == a["area"]
                rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
                assert a["bbox"] == [
                    columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0],
                ]  # fmt: skip
                rebuilt[region] = 255 if a["iscrowd"] else a["category_id"]
            np.testing.assert_array_equal(rebuilt, sent)
            seen.add(stem)
    assert seen == {i.stem for i in items}


def test_coco_s_evaluation_finds_our_objects_perfect_and_passes_crowds_over(
    items: list[Labelled], tmp_path: Path
) -> None:
    coco_module = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    write(tmp_path / "out", items[:2], {}, segmentation="rle")
    truth = coco_module.COCO(str(tmp_path / "out" / "annotations" / "instances_train.json"))
    results = [
        {k: a[k] for k in ("image_id", "category_id", "segmentation")} | {"score": 0.5}
        for a in truth.dataset["annotations"]
    ]
    found = truth.loadRes(results)
    judge = evaluation.COCOeval(truth, found, "segm")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    # The crowds are among the results too: they are neither hits nor false alarms.
    assert judge.stats[0] == pytest.approx(1)


def test_datumaro_reads_the_same_pixels(items: list[Labelled], tmp_path: Path) -> None:
    datumaro = pytest.importorskip("datumaro")
    write(tmp_path / "out", items, segmentation="rle")
    dataset = datumaro.Dataset.import_from(str(tmp_path / "out"), "coco_instances")
    names = [label.name for label in dataset.categories()[datumaro.AnnotationType.label]]
    assert names == list(CLASSES)
    subsets = set()
    for item in dataset:
        sent = next(i.mask for i in items if i.stem == item.id)
        rebuilt = np.zeros(sent.shape, np.uint8)
        for a in item.annotations:
            if a.type == datumaro.AnnotationType.mask:
                rebuilt[a.image.astype(bool)] = 255 if a.attributes["is_crowd"] else a.label + 1
        np.testing.assert_array_equal(rebuilt, sent)
        subsets.add((item.id, item.subset))
    assert subsets == {("a_1", "train"), ("größe 2", "train"), ("c.3", "val"), ("d", "rest")}


def test_what_datumaro_writes_is_read(items: list[Labelled], tmp_path: Path) -> None:
    """It makes every mask a crowd, as run lengths in a list, and adds a background to VOC's classes."""
    datumaro = pytest.importorskip("datumaro")
    mask = np.where(items[0].mask == 255, 0, items[0].mask).astype(np.uint8)
    with new_folder(tmp_path / "voc") as folder:
        format_named("voc").write(
            folder, [items[0]._replace(mask=mask)], CLASSES, class_colours(3), {"train": ["a_1"]}
        )
    root = tmp_path / "voc" / "VOCdevkit" / "VOC2012"
    dataset = datumaro.Dataset.import_from(str(root), "voc_segmentation").get_subset("train").as_dataset()
    dataset.export(str(tmp_path / "theirs"), "coco_instances", save_media=False)
    (path,) = (tmp_path / "theirs" / "annotations").glob("*.json")
    value = json.loads(path.read_text())
    assert {a["iscrowd"] for a in value["annotations"]} == {1}
    assert "background" in [c["name"] for c in value["categories"]]
    back = dict(COCO.read(tmp_path / "theirs", {"a_1": mask.shape}, CLASSES).items)
    np.testing.assert_array_equal(back["a_1"], mask)


def test_torchvision_finds_images_and_annotations(items: list[Labelled], tmp_path: Path) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    pytest.importorskip("pycocotools")
    write(tmp_path / "out", items)
    found = datasets.CocoDetection(
        str(tmp_path / "out" / "images"), str(tmp_path / "out" / "annotations" / "instances_train.json")
    )
    assert len(found) == 2
    for (image, of), item in zip(found, items[:2], strict=True):
        assert image.size == item.mask.shape[::-1]
        assert sum(a["area"] for a in of if not a["iscrowd"]) == (item.mask % 255 > 0).sum()


@pytest.mark.parametrize("form", ["coco", "coco-panoptic", "yolo-seg"])
def test_pictures_of_one_pixel(tmp_path: Path, form: str) -> None:
    items = []
    for k, (size, value) in enumerate((((1, 1), 1), ((1, 1), 0), ((1, 5), 3), ((5, 1), 2), ((2, 2), 255))):
        path = tmp_path / f"p {k}.png"
        Pillow.fromarray(np.zeros((*size, 3), np.uint8)).save(path)
        items.append(Labelled(path.stem, path, np.full(size, value, np.uint8)))
    with new_folder(tmp_path / "out") as folder:
        format_named(form).write(folder, items, CLASSES, class_colours(3), {})
    back = dict(format_named(form).read(tmp_path / "out", sizes(items), CLASSES).items)
    for item in items:
        lost = form == "yolo-seg" and item.mask[0, 0] == 255
        np.testing.assert_array_equal(back[item.stem], 0 * item.mask if lost else item.mask)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_written_upright(tmp_path: Path, orientation: int) -> None:
    from engine.images import read as read_image

    path = tmp_path / "t.jpg"
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    Pillow.fromarray(np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)).save(path, exif=exif)
    seen = read_image(path).pixels
    item = Labelled("t", path, np.ones(seen.shape[:2], np.uint8))
    write(tmp_path / "out", [item], {})
    (copy,) = (tmp_path / "out" / "images").iterdir()
    with Pillow.open(copy) as image:
        assert image.getexif().get(0x0112, 1) == 1
        np.testing.assert_array_equal(np.array(image), seen)


def test_instances_become_objects(items: list[Labelled], tmp_path: Path) -> None:
    mask = np.zeros((30, 40), np.uint8)
    mask[5:20, 5:35] = 1
    instances = np.where(mask, np.where(np.arange(40) < 20, 4, 9), 0).astype(np.uint16)
    item = items[0]._replace(mask=mask, instances=instances)
    for objects, boxes in (
        ("instances", [[5, 5, 15, 15], [20, 5, 15, 15]]),
        ("components", [[5, 5, 30, 15]]),
    ):
        write(tmp_path / objects, [item], objects=objects)
        value = json.loads((tmp_path / objects / "annotations" / "instances_train.json").read_text())
        assert [a["bbox"] for a in value["annotations"]] == boxes
        back = dict(COCO.read(tmp_path / objects, sizes([item]), CLASSES).items)
        np.testing.assert_array_equal(back["a_1"], mask)


def test_what_is_lost_is_said(items: list[Labelled], tmp_path: Path) -> None:
    lost = write(tmp_path / "out", items)
    assert any("1 image(s) were turned upright or were no plain JPEG or PNG" in line for line in lost)
    assert any("Unsure pixels of 3 image(s)" in line for line in lost)
    assert not any("iscrowd 0" in line for line in lost)
    assert any("iscrowd 0" in line for line in write(tmp_path / "rle", items, segmentation="rle"))
    assert write(tmp_path / "sure", [items[2]]) == []
    lost = write(tmp_path / "rest", items[2:], {"rest": ["c.3"]})
    assert "1 image(s) are in no split and are listed as 'rest_'." in lost
    assert (tmp_path / "rest" / "annotations" / "instances_rest_.json").exists()
    assert any("Unsure" in line for line in COCO.loses)


def test_a_turned_photograph_is_written_upright(tmp_path: Path) -> None:
    """EXIF: width and height of the file are those of the mask, whatever a reader makes of the tag."""
    path = tmp_path / "t.jpg"
    exif = Pillow.Exif()
    exif[0x0112] = 6
    Pillow.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path, exif=exif)
    item = Labelled("t", path, np.ones((30, 20), np.uint8))
    write(tmp_path / "out", [item])
    value = json.loads((tmp_path / "out" / "annotations" / "instances_train.json").read_text())
    assert (value["images"][0]["width"], value["images"][0]["height"]) == (20, 30)
    with Pillow.open(tmp_path / "out" / "images" / value["images"][0]["file_name"]) as image:
        assert image.size == (20, 30) and image.getexif().get(0x0112, 1) == 1
    # The other way round: files that describe the photograph as it is stored.
    value["images"][0] |= {"width": 30, "height": 20}
    (tmp_path / "instances.json").write_text(json.dumps(value))
    with pytest.raises(UserError, match="exchanged.*EXIF"):
        COCO.read(tmp_path, {"t": (30, 20)}, CLASSES)


@pytest.mark.real
def test_real_masks_come_back_and_pycocotools_sees_them(shared_data: Path, tmp_path: Path) -> None:
    coco_module = pytest.importorskip("pycocotools.coco")
    folder = shared_data / "voc_mini"
    names = ("cat", "cow", "dog", "horse", "person", "sheep")
    table = np.zeros(256, np.uint8)
    table[[8, 10, 12, 13, 15, 17, 255]] = [1, 2, 3, 4, 5, 6, 255]
    items = [
        Labelled(p.stem, folder / "JPEGImages" / f"{p.stem}.jpg", table[np.array(Pillow.open(p))])
        for p in sorted((folder / "SegmentationClass").glob("*.png"))[:12]
    ]
    with new_folder(tmp_path / "out") as out:
        COCO.write(out, items, names, class_colours(6), {})
    back = dict(COCO.read(tmp_path / "out", sizes(items), names).items)
    coco = coco_module.COCO(str(tmp_path / "out" / "annotations" / "instances_train.json"))
    assert (tmp_path / "out" / "images" / items[0].image.name).read_bytes() == items[0].image.read_bytes()
    for image in coco.loadImgs(coco.getImgIds()):
        item = next(i for i in items if i.image.name == image["file_name"])
        np.testing.assert_array_equal(back[item.stem], item.mask)
        rebuilt = np.zeros(item.mask.shape, np.uint8)
        for a in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
            rebuilt[coco.annToMask(a) > 0] = 255 if a["iscrowd"] else a["category_id"]
        np.testing.assert_array_equal(rebuilt, item.mask)
