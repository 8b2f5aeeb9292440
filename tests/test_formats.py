"""Formats of masks, out and in: round trips, independent readers, hostile files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from engine.atomic import new_folder
from engine.colours import class_colours, voc_palette
from engine.errors import UserError
from engine.formats import Labelled, format_named, formats

CLASSES = ("cat", "traffic light", "sheep")
COLOURS = class_colours(3)
SPLITS = {"train": ["a_1", "größe 2"], "val": ["c.3"], "fold_1": ["c.3", "a_1"]}
MASKS = ("voc", "png", "npz")


def _items(folder: Path) -> list[Labelled]:
    """Three images of different kinds; the mask of the last one holds a single class."""
    rng = np.random.default_rng(11)
    folder.mkdir(exist_ok=True)
    items = []
    for stem, suffix, size in (
        ("a_1", ".jpg", (30, 40)),
        ("größe 2", ".png", (33, 21)),
        ("c.3", ".jpeg", (16, 64)),
    ):
        path = folder / f"{stem}{suffix}"
        Pillow.fromarray(rng.integers(0, 256, (*size, 3)).astype(np.uint8)).save(path)
        mask = rng.choice([0, 1, 2, 3, 255], size).astype(np.uint8)
        items.append(Labelled(stem, path, mask))
    return [*items[:2], items[2]._replace(mask=np.where(items[2].mask == 2, 2, 0).astype(np.uint8))]


def _sizes(items: list[Labelled]) -> dict[str, tuple[int, int]]:
    return {item.stem: item.mask.shape for item in items}


def _write(name: str, out: Path, items: list[Labelled], splits: dict[str, list[str]] = SPLITS) -> list[str]:
    with new_folder(out) as folder:
        return format_named(name).write(folder, items, CLASSES, COLOURS, splits)


def test_the_folder_is_the_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import engine.formats as registry

    assert set(formats()) >= {"voc", "png", "npz", "irn-cam", "psa-cam"}
    assert all(f.name == name and f.title and f.holds and f.loses for name, f in formats().items())
    assert {n for n, f in formats().items() if f.kind == "cams"} >= {"irn-cam", "psa-cam"}
    (tmp_path / "dummy_format.py").write_text(
        "from engine.formats import Format\n"
        "FORMAT = Format('dummy', 'Dummy', 'Nothing.', ('All.',), 'masks', lambda *a: [], lambda *a: None)\n"
    )
    monkeypatch.setattr(registry, "__path__", [*registry.__path__, str(tmp_path)])
    assert formats()["dummy"].title == "Dummy"
    with pytest.raises(UserError) as error:
        format_named("irncam")
    assert "'irn-cam'" in error.value.todo


@pytest.mark.parametrize("name", MASKS)
def test_masks_come_back_as_they_went(name: str, tmp_path: Path) -> None:
    items = _items(tmp_path / "images")
    _write(name, tmp_path / "out", items)
    incoming = format_named(name).read(tmp_path / "out", _sizes(items), CLASSES)
    back = dict(incoming.items)
    assert set(back) == set(incoming.stems) == {"a_1", "größe 2", "c.3"}
    for item in items:
        assert back[item.stem].dtype == np.uint8
        np.testing.assert_array_equal(back[item.stem], item.mask)
    assert incoming.notes == ()


@pytest.mark.parametrize("name", MASKS)
def test_classes_are_matched_by_name_not_by_place(name: str, tmp_path: Path) -> None:
    items = _items(tmp_path / "images")
    _write(name, tmp_path / "out", items)
    incoming = format_named(name).read(tmp_path / "out", _sizes(items), ("sheep", "dog", "cat"))
    expected = np.array([0, 3, 0, 1])
    for stem, mask in incoming.items:
        sent = next(i.mask for i in items if i.stem == stem)
        np.testing.assert_array_equal(mask, np.where(sent == 255, 255, expected[np.minimum(sent, 3)]))
    assert any("traffic light" in note for note in incoming.notes)


@pytest.mark.parametrize("name", MASKS)
def test_files_of_other_images_are_left_aside_and_told(name: str, tmp_path: Path) -> None:
    items = _items(tmp_path / "images")
    _write(name, tmp_path / "out", items)
    incoming = format_named(name).read(tmp_path / "out", {"a_1": (30, 40)}, CLASSES)
    assert incoming.stems == ("a_1",) and "2 file(s)" in incoming.notes[0]
    with pytest.raises(UserError, match=r"holds no \.(png|npz)"):
        format_named(name).read(tmp_path / "out", {"other": (30, 40)}, CLASSES)


@pytest.mark.parametrize("name", MASKS)
def test_what_cannot_be_written_is_refused(name: str, tmp_path: Path) -> None:
    item = _items(tmp_path / "images")[0]
    for wrong, text in (
        (item._replace(stem="../evil"), "path"),
        (item._replace(stem=".hidden"), "dot"),
        (item._replace(stem="a\nb"), "control"),
        (item._replace(mask=np.full((30, 40), 4, np.uint8)), "index 4"),
    ):
        with pytest.raises(UserError, match=text):
            _write(name, tmp_path / "out", [wrong])
        assert not (tmp_path / "out").exists()
    many = [f"c{k}" for k in range(255)]
    with new_folder(tmp_path / "out") as folder, pytest.raises(UserError, match="255 classes"):
        format_named(name).write(folder, [item], many, class_colours(255), {})


@pytest.mark.parametrize("name", MASKS)
def test_wrong_masks_are_refused_with_their_file(name: str, tmp_path: Path) -> None:
    items = _items(tmp_path / "images")
    _write(name, tmp_path / "out", items)
    read = format_named(name).read
    with pytest.raises(UserError, match=r"a_1\.(png|npz).* its image 41 x 30"):
        list(read(tmp_path / "out", {"a_1": (30, 41)}, CLASSES).items)
    file = next(p for p in (tmp_path / "out").rglob("a_1.*") if p.suffix != ".jpg")
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(UserError, match="a_1"):
        list(read(tmp_path / "out", _sizes(items), CLASSES).items)
    outside = tmp_path / "outside.bin"
    outside.write_bytes(b"secret")
    file.unlink()
    file.symlink_to(outside)
    with pytest.raises(UserError, match="link"):
        read(tmp_path / "out", _sizes(items), CLASSES)


@pytest.mark.parametrize("name", ["voc", "png", "npz", "irn-cam", "psa-cam"])
def test_a_file_or_nothing_is_no_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "set.zip").write_bytes(b"PK")
    for path in (tmp_path / "set.zip", tmp_path / "nowhere"):
        with pytest.raises(UserError):
            format_named(name).read(path, {"a": (1, 1)}, CLASSES)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError):
        format_named(name).read(tmp_path / "empty", {"a": (1, 1)}, CLASSES)


def test_voc_files_are_what_readers_of_voc_expect(tmp_path: Path) -> None:
    items = _items(tmp_path / "images")
    lost = _write("voc", tmp_path / "out", items)
    root = tmp_path / "out" / "VOCdevkit" / "VOC2012"
    for item in items:
        with Pillow.open(root / "SegmentationClass" / f"{item.stem}.png") as image:
            assert image.mode == "P"
            palette = np.array(image.getpalette()).reshape(-1, 3)
            np.testing.assert_array_equal(palette, voc_palette())
            np.testing.assert_array_equal(np.array(image), item.mask)
        # bit depth in the PNG header: 8 even where there are but two colours
        assert (root / "SegmentationClass" / f"{item.stem}.png").read_bytes()[24] == 8
        with Pillow.open(root / "JPEGImages" / f"{item.stem}.jpg") as image:
            assert image.format == "JPEG" and image.size == item.mask.shape[::-1]
    assert (root / "JPEGImages" / "c.3.jpg").read_bytes() == items[2].image.read_bytes()
    lists = {
        p.stem: p.read_text("utf-8").split("\n")[:-1] for p in (root / "ImageSets" / "Segmentation").iterdir()
    }
    assert lists == {
        "train": ["a_1", "größe 2"],
        "val": ["c.3"],
        "trainval": ["a_1", "größe 2", "c.3"],
        "fold_1": ["a_1", "c.3"],
    }
    main = (root / "ImageSets" / "Main" / "traffic light_trainval.txt").read_text("utf-8").split("\n")[:-1]
    assert main == ["a_1  1", "größe 2  1", "c.3  1"]
    assert (root / "ImageSets" / "Main" / "cat_val.txt").read_text("utf-8") == "c.3 -1\n"
    assert any("1 image(s) were turned upright or were no JPEG" in line for line in lost)
    assert any("fold_1" in line for line in lost)


def test_voc_turns_photographs_as_their_masks_are(tmp_path: Path) -> None:
    path = tmp_path / "t.jpg"
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:10] = 250
    exif = Pillow.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    Pillow.fromarray(pixels).save(path, exif=exif)
    mask = np.zeros((30, 20), np.uint8)
    lost = _write("voc", tmp_path / "out", [Labelled("t", path, mask)], {})
    with Pillow.open(tmp_path / "out/VOCdevkit/VOC2012/JPEGImages/t.jpg") as image:
        assert image.size == (20, 30) and image.getexif().get(0x0112, 1) == 1
        upright = np.array(image)
    assert upright[:, 10:].mean() > 240 and upright[:, :10].mean() < 10, "the bright half is on the right"
    assert any("turned upright" in line for line in lost) and any("no split 'train'" in line for line in lost)
    with pytest.raises(UserError, match="30 x 20 px"):
        _write("voc", tmp_path / "other", [Labelled("t", path, mask.T.copy())], {})


def test_voc_names_that_its_files_cannot_hold(tmp_path: Path) -> None:
    item = _items(tmp_path / "images")[0]
    voc = format_named("voc")
    with new_folder(tmp_path / "out") as folder:
        lost = voc.write(folder, [item], ("a:b", "#c", "ignored"), COLOURS, {})
    assert any("'a:b' as 'a_b'" in line and "'#c' as '_c'" in line for line in lost)
    incoming = voc.read(tmp_path / "out", {"a_1": (30, 40)}, ("a_b", "_c", "ignored"))
    np.testing.assert_array_equal(dict(incoming.items)["a_1"], item.mask)
    with new_folder(tmp_path / "twice") as folder, pytest.raises(UserError, match="same"):
        voc.write(folder, [item], ("a:b", "a?b", "c"), COLOURS, {})


def test_voc_without_a_label_map_means_the_twenty_classes(tmp_path: Path) -> None:
    folder = tmp_path / "SegmentationClass"
    folder.mkdir()
    Pillow.fromarray(np.array([[0, 8, 17, 15, 255]], np.uint8)).save(folder / "x.png")
    incoming = format_named("voc").read(tmp_path, {"x": (1, 5)}, ("sheep", "cat"))
    assert dict(incoming.items)["x"].tolist() == [[0, 2, 1, 0, 255]]
    Pillow.fromarray(np.array([[21]], np.uint8)).save(folder / "x.png")
    with pytest.raises(UserError, match=r"x\.png holds the index 21"):
        list(format_named("voc").read(tmp_path, {"x": (1, 1)}, ("cat",)).items)


def test_torchvision_reads_the_export_identically(tmp_path: Path) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    items = _items(tmp_path / "images")
    _write("voc", tmp_path / "out", items)
    for split, stems in (
        ("train", ["a_1", "größe 2"]),
        ("val", ["c.3"]),
        ("trainval", ["a_1", "größe 2", "c.3"]),
    ):
        dataset = datasets.VOCSegmentation(str(tmp_path / "out"), year="2012", image_set=split)
        assert len(dataset) == len(stems)
        for (image, target), stem in zip(dataset, stems, strict=True):
            sent = next(i.mask for i in items if i.stem == stem)
            np.testing.assert_array_equal(np.array(target), sent)
            assert image.size == sent.shape[::-1]


def test_datumaro_reads_the_export_identically(tmp_path: Path) -> None:
    datumaro = pytest.importorskip("datumaro")
    items = _items(tmp_path / "images")
    _write("voc", tmp_path / "out", items)
    root = tmp_path / "out" / "VOCdevkit" / "VOC2012"
    dataset = datumaro.Dataset.import_from(str(root), "voc_segmentation")
    names = [label.name for label in dataset.categories()[datumaro.AnnotationType.label]]
    assert names == ["background", *CLASSES, "ignored"]
    seen = set()
    for item in dataset:
        sent = next(i.mask for i in items if i.stem == item.id)
        rebuilt = np.full(sent.shape, 77, np.uint8)
        for annotation in item.annotations:
            label = names[annotation.label]
            rebuilt[annotation.image.astype(bool)] = 255 if label == "ignored" else annotation.label
        np.testing.assert_array_equal(rebuilt, sent)
        seen.add((item.id, item.subset))
    assert {("a_1", "train"), ("c.3", "val"), ("c.3", "trainval")} <= seen
    tags = {
        item.id: {names[a.label] for a in item.annotations}
        for item in datumaro.Dataset.import_from(str(root), "voc_classification").get_subset("trainval")
    }
    assert tags == {"a_1": set(CLASSES), "größe 2": set(CLASSES), "c.3": {"traffic light"}}


@pytest.mark.real
def test_real_voc_masks_are_read_as_stored(shared_data: Path) -> None:
    folder = shared_data / "voc_mini" / "SegmentationClass"
    paths = sorted(folder.glob("*.png"))[:5]
    stored = {p.stem: np.array(Pillow.open(p)) for p in paths}
    classes = ("cat", "cow", "dog", "horse", "person", "sheep")
    sizes = {stem: mask.shape for stem, mask in stored.items()}
    incoming = format_named("voc").read(shared_data / "voc_mini", sizes, classes)
    table = np.zeros(256, np.uint8)
    table[[8, 10, 12, 13, 15, 17, 255]] = [1, 2, 3, 4, 5, 6, 255]
    for stem, mask in incoming.items:
        np.testing.assert_array_equal(mask, table[stored[stem]])


def test_png_masks_of_others(tmp_path: Path) -> None:
    grey = np.array([[0, 1, 2, 255]], np.uint8)
    Pillow.fromarray(grey).save(tmp_path / "a.png")
    Pillow.fromarray(np.zeros((1, 4, 3), np.uint8)).save(
        tmp_path / "a_palette.png"
    )  # AdvCAM's twin in colours
    read = format_named("png").read
    incoming = read(tmp_path, {"a": (1, 4), "a_palette": (1, 4)}, CLASSES)
    assert incoming.stems == ("a",) and "order of the project's classes" in incoming.notes[0]
    assert dict(incoming.items)["a"].tolist() == grey.tolist()
    (tmp_path / "classes.txt").write_text("cat\n")
    with pytest.raises(UserError, match=r"a\.png holds the index 2, and its class list ends at 1"):
        list(read(tmp_path, {"a": (1, 4)}, CLASSES).items)
    Pillow.fromarray(np.zeros((1, 4, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="RGB"):
        list(read(tmp_path, {"a": (1, 4)}, CLASSES).items)


def test_png_writes_the_project_s_colours_and_lists(tmp_path: Path) -> None:
    items = _items(tmp_path / "images")
    assert _write("png", tmp_path / "out", items) == []
    with Pillow.open(tmp_path / "out" / "a_1.png") as image:
        palette = np.array(image.getpalette()).reshape(-1, 3)
    assert "#{:02X}{:02X}{:02X}".format(*palette[2]) == COLOURS[1].upper()
    assert palette[255].tolist() == [224, 224, 192]
    assert (tmp_path / "out" / "classes.txt").read_text() == "cat\ntraffic light\nsheep\n"
    assert (tmp_path / "out" / "splits" / "fold_1.txt").read_text() == "c.3\na_1\n"
    lost = _write("png", tmp_path / "odd", [items[0]._replace(stem="what?")])
    assert "Windows" in lost[0]


def test_npz_opens_with_numpy_alone(tmp_path: Path) -> None:
    items = _items(tmp_path / "images")
    _write("npz", tmp_path / "out", items)
    with np.load(tmp_path / "out" / "a_1.npz") as file:
        np.testing.assert_array_equal(file["mask"], items[0].mask)
        assert json.loads(str(file["classes"])) == list(CLASSES)


@pytest.mark.parametrize(
    "arrays",
    [
        {"other": np.zeros((30, 40), np.uint8)},
        {"mask": np.zeros((30, 40), np.int64)},
        {"mask": np.zeros((30, 40, 3), np.uint8)},
        {"mask": np.array([{}], dtype=object)},
        {"mask": np.zeros((30, 40), np.uint8), "classes": np.array("[1]")},
        {"mask": np.zeros((30, 40), np.uint8), "classes": np.array("[" * 20000)},
        {"mask": np.zeros((30, 40), np.uint8), "classes": np.zeros(3)},
        {"mask": np.full((30, 40), 9, np.uint8), "classes": np.array('["cat"]')},
    ],
)
def test_npz_of_others_is_checked(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    np.savez(tmp_path / "a_1.npz", **arrays)
    with pytest.raises(UserError, match=r"a_1\.npz"):
        list(format_named("npz").read(tmp_path, {"a_1": (30, 40)}, CLASSES).items)


def test_a_link_to_the_class_list_of_others_is_refused(tmp_path: Path) -> None:
    items = _items(tmp_path / "images")
    secret = tmp_path / "secret.txt"
    secret.write_text("password\n")
    for name, file in (("voc", "VOCdevkit/VOC2012/labelmap.txt"), ("png", "classes.txt")):
        _write(name, tmp_path / name, items)
        (tmp_path / name / file).unlink()
        (tmp_path / name / file).symlink_to(secret)
        with pytest.raises(UserError, match="leads out"):
            format_named(name).read(tmp_path / name, _sizes(items), CLASSES)


@pytest.mark.parametrize("name", MASKS)
def test_random_damage_is_a_sentence_or_a_mask(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    items = _items(tmp_path / "images")[:1]
    _write(name, tmp_path / "out", items)
    file = next(p for p in (tmp_path / "out").rglob("a_1.*") if p.suffix != ".jpg")
    whole = file.read_bytes()
    refused = 0
    for _ in range(300):
        data = bytearray(whole[: rng.integers(len(whole))] if rng.random() < 0.3 else whole)
        for place in rng.integers(0, max(len(data), 1), 3):
            if data:
                data[place] = rng.integers(256)
        file.write_bytes(bytes(data))
        try:
            for _, mask in format_named(name).read(tmp_path / "out", _sizes(items), CLASSES).items:
                assert mask.shape == (30, 40) and set(np.unique(mask)) <= {0, 1, 2, 3, 255}
        except UserError as error:
            assert "a_1" in str(error)
            refused += 1
    assert refused > 100
