"""VOC's traps: indexes and colours, grey copies for older loaders, masks of objects."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from engine.atomic import new_folder
from engine.colours import voc_palette
from engine.formats import Labelled, format_named
from engine.formats.voc import Options
from engine.params import describe

MADE = runpy.run_path(str(Path(__file__).with_name("fake_labelled.py")))
CLASSES, COLOURS = ("cat", "dog", "sheep"), MADE["COLOURS"]


@pytest.fixture
def items(tmp_path: Path) -> list[Labelled]:
    return MADE["drawn"](tmp_path / "images")


def _write(out: Path, items: list[Labelled], options: Options | None = None) -> Path:
    with new_folder(out) as folder:
        more = {} if options is None else {"options": options}
        format_named("voc").write(folder, items, CLASSES, COLOURS, {}, **more)
    return out / "VOCdevkit" / "VOC2012"


def _objects() -> Labelled:
    """Two cats that touch, a dog that nobody saw as an object, and unsure pixels between them."""
    mask = np.zeros((20, 30), np.uint8)
    mask[2:10, 2:12], mask[12:18, 5:9], mask[2:10, 12] = 1, 2, 255
    numbers = np.zeros((20, 30), np.uint16)
    numbers[2:10, 2:6], numbers[2:9, 6:12] = 40_000, 3
    return Labelled("o", Path(), mask, numbers)


def test_indexes_are_neither_luminance_nor_colours(items: list[Labelled], tmp_path: Path) -> None:
    root = _write(tmp_path / "out", items)
    assert not (root / "SegmentationClassAug").exists() and not (root / "SegmentationObject").exists()
    with Pillow.open(root / "SegmentationClass" / "a_1.png") as image:
        indexes = np.array(image)
        assert (
            image.mode == "P" and indexes.dtype == np.uint8 and set(np.unique(indexes)) <= {0, 1, 2, 3, 255}
        )
        grey = np.array(image.convert("L"))
    # what loaders get that convert to grey: 38 for class 1 and 220 for void
    assert set(grey[indexes == 1]) == {38} and set(grey[indexes == 255]) == {220}
    luminance = {round(0.299 * r + 0.587 * g + 0.114 * b) for r, g, b in voc_palette()[:21]}
    assert len(luminance) < 21, "two classes share a grey"


def test_grey_copies_keep_their_indexes_in_opencv_and_in_mode_l(
    items: list[Labelled], tmp_path: Path
) -> None:
    cv2 = pytest.importorskip("cv2")
    root = _write(tmp_path / "out", items, Options(grey=True))
    for item in items:
        path = root / "SegmentationClassAug" / f"{item.stem}.png"
        with Pillow.open(path) as image:
            assert image.mode == "L"
            np.testing.assert_array_equal(np.array(image.convert("L")), item.mask)
        data = np.frombuffer(path.read_bytes(), np.uint8)
        np.testing.assert_array_equal(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), item.mask)
    assert [(f.name, f.default) for f in describe(Options)] == [("grey", False)]
    # datumaro reads by colour and cannot take grey with 255: it is not to meet these files
    datumaro = pytest.importorskip("datumaro")
    assert len(datumaro.Dataset.import_from(str(root), "voc_segmentation")) > 0


def test_palette_masks_are_scaled_by_nearest_and_grey_ones_are_not(
    items: list[Labelled], tmp_path: Path
) -> None:
    root = _write(tmp_path / "out", [items[0]], Options(grey=True))
    scaled = {}
    for folder in ("SegmentationClass", "SegmentationClassAug"):
        with Pillow.open(root / folder / "a_1.png") as image:
            scaled[folder] = set(np.unique(np.array(image.resize((95, 70)))))
    assert scaled["SegmentationClass"] <= {0, 1, 2, 3, 255}
    assert not scaled["SegmentationClassAug"] <= {0, 1, 2, 3, 255}, "why palettes are the default"


def test_objects_are_numbered_and_cover_all_class_pixels(tmp_path: Path) -> None:
    item = _objects()
    Pillow.new("RGB", (30, 20)).save(tmp_path / "o.jpg")
    root = _write(tmp_path / "out", [item._replace(image=tmp_path / "o.jpg")])
    with Pillow.open(root / "SegmentationObject" / "o.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.array(image.getpalette()).reshape(-1, 3), voc_palette())
        numbers = np.array(image)
    np.testing.assert_array_equal(numbers == 255, item.mask == 255)
    np.testing.assert_array_equal((numbers > 0) & (numbers < 255), (item.mask > 0) & (item.mask < 255))
    assert set(np.unique(numbers)) == {0, 1, 2, 3, 255}
    left, right, dog = numbers[5, 3], numbers[5, 9], numbers[14, 6]
    assert (
        len({left, right, dog}) == 3
        and (numbers[2:10, 2:6] == left).all()
        and (numbers[2:9, 6:12] == right).all()
    )
    # pixels of a class that no object was found for belong to the nearest one
    assert set(numbers[9, 6:12]) == {left, right}


def test_datumaro_reads_the_objects(tmp_path: Path) -> None:
    datumaro = pytest.importorskip("datumaro")
    item = _objects()
    Pillow.new("RGB", (30, 20)).save(tmp_path / "o.jpg")
    root = _write(tmp_path / "out", [item._replace(image=tmp_path / "o.jpg")])
    dataset = datumaro.Dataset.import_from(str(root), "voc_instance_segmentation")
    names = [label.name for label in dataset.categories()[datumaro.AnnotationType.label]]
    found = next(iter(dataset)).annotations
    masks = sorted((names[a.label], int(a.image.sum())) for a in found if names[a.label] in CLASSES)
    assert masks == [("cat", 33), ("cat", 47), ("dog", 24)]


def test_more_objects_than_numbers_are_told(tmp_path: Path) -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[::2, ::2] = 1
    Pillow.new("RGB", (40, 40)).save(tmp_path / "o.jpg")
    numbers = (np.arange(1600).reshape(40, 40) * (mask > 0)).astype(np.uint16)
    with new_folder(tmp_path / "out") as folder:
        item = Labelled("o", tmp_path / "o.jpg", mask, numbers)
        lost = format_named("voc").write(folder, [item], CLASSES, COLOURS, {})
    assert any("more than 254 objects" in line for line in lost)
    with Pillow.open(tmp_path / "out/VOCdevkit/VOC2012/SegmentationObject/o.png") as image:
        np.testing.assert_array_equal(np.array(image) > 0, mask > 0)
        assert np.array(image).max() == 254
