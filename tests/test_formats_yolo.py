"""YOLO segmentation out and in: round trips, supervision as reader, each trap, hostile files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image as Pillow
from scipy import ndimage

from engine.atomic import new_folder
from engine.colours import class_colours
from engine.errors import UserError
from engine.formats import Labelled, format_named
from engine.formats.yolo_seg import Options

CLASSES = ("no", "traffic: light", "sheep")
SPLITS = {"train": ["a_1", "größe 2"], "val": ["c.3"]}
YOLO = format_named("yolo-seg")


def blobs(seed: int, size: tuple[int, int]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scores = np.stack([ndimage.gaussian_filter(rng.normal(size=size), 1 + size[0] // 60) for _ in range(4)])
    mask = scores.argmax(0).astype(np.uint8)
    mask[np.ptp(np.sort(scores, 0)[-2:], axis=0) < 0.01] = 255
    return mask


@pytest.fixture
def items(tmp_path: Path) -> list[Labelled]:
    rng = np.random.default_rng(5)
    folder = tmp_path / "photographs"
    folder.mkdir()
    made = []
    for seed, (stem, suffix, size) in enumerate(
        (
            ("a_1", ".jpg", (333, 375)),
            ("größe 2", ".png", (33, 21)),
            ("c.3", ".jpg", (16, 64)),
            ("d", ".png", (8, 9)),
        )
    ):
        path = folder / f"{stem}{suffix}"
        Pillow.fromarray(rng.integers(0, 256, (*size, 3)).astype(np.uint8)).save(path)
        made.append(Labelled(stem, path, blobs(seed, size)))
    made[3] = made[3]._replace(mask=np.zeros((8, 9), np.uint8))
    return made


def write(
    out: Path, items: list[Labelled], splits: dict[str, list[str]] = SPLITS, **options: str
) -> list[str]:
    with new_folder(out) as folder:
        return YOLO.write(folder, items, CLASSES, class_colours(3), splits, Options(**options))


def sizes(items: list[Labelled]) -> dict[str, tuple[int, int]]:
    return {item.stem: item.mask.shape for item in items}


def sure(mask: np.ndarray) -> np.ndarray:
    return np.where(mask == 255, 0, mask).astype(np.uint8)


def test_all_but_unsure_pixels_come_back_exactly(items: list[Labelled], tmp_path: Path) -> None:
    write(tmp_path / "out", items)
    incoming = YOLO.read(tmp_path / "out", sizes(items), CLASSES)
    back = dict(incoming.items)
    assert set(back) == {i.stem for i in items} and incoming.notes == ()
    for item in items:
        np.testing.assert_array_equal(back[item.stem], sure(item.mask))


def test_supervision_sees_the_same_pixels(items: list[Labelled], tmp_path: Path) -> None:
    supervision = pytest.importorskip("supervision")
    write(tmp_path / "out", items)
    dataset = supervision.DetectionDataset.from_yolo(
        images_directory_path=str(tmp_path / "out" / "images"),
        annotations_directory_path=str(tmp_path / "out" / "labels"),
        data_yaml_path=str(tmp_path / "out" / "data.yaml"),
        force_masks=True,
    )
    # YAML takes a bare `no` for false, so names are quoted; supervision reads them as they are.
    assert dataset.classes == list(CLASSES)
    seen = set()
    for path, _, found in dataset:
        item = next(i for i in items if i.stem == Path(path).stem)
        rebuilt = np.zeros(item.mask.shape, np.uint8)
        for region, cls in zip(found.mask if len(found) else (), found.class_id, strict=True):
            assert not (rebuilt[region.astype(bool)] > 0).any()
            rebuilt[region.astype(bool)] = cls + 1
        np.testing.assert_array_equal(rebuilt, sure(item.mask))
        seen.add(item.stem)
    assert seen == {i.stem for i in items}


@pytest.mark.parametrize("side", [333, 375, 500, 1024, 1280, 2999])
def test_readers_that_round_and_readers_that_cut_off_agree(side: int, tmp_path: Path) -> None:
    """Without the quarter of a pixel, cutting decimals off loses a pixel at every second coordinate."""
    mask = np.zeros((3, side), np.uint8)
    mask[1, ::2] = 1
    photo = tmp_path / "a_1.png"
    Pillow.fromarray(np.zeros((3, side, 3), np.uint8)).save(photo)
    write(tmp_path / "out", [Labelled("a_1", photo, mask)])
    lines = (tmp_path / "out" / "labels" / "a_1.txt").read_text().splitlines()
    x = np.array([line.split()[1] for line in lines], np.float64)
    for dtype in (np.float32, np.float64):
        pixels = x.astype(dtype) * dtype(side)
        assert (
            sorted(np.rint(pixels).tolist()) == sorted(np.floor(pixels).tolist()) == list(range(0, side, 2))
        )


def test_the_files_are_as_ultralytics_has_them(items: list[Labelled], tmp_path: Path) -> None:
    write(tmp_path / "out", items)
    out = tmp_path / "out"
    facts = yaml.safe_load((out / "data.yaml").read_text("utf-8"))
    assert (
        facts["names"] == dict(enumerate(CLASSES)) and facts["train"] == "train.txt" and "path" not in facts
    )
    assert (out / "train.txt").read_text("utf-8") == "./images/a_1.jpg\n./images/größe 2.png\n"
    assert (out / "val.txt").read_text() == "./images/c.3.jpg\n" and (
        out / "rest.txt"
    ).read_text() == "./images/d.png\n"
    for item in items:
        text = (out / "labels" / f"{item.stem}.txt").read_text()
        assert bool(text) == bool(sure(item.mask).any())  # no objects: an empty file, not none
        for line in text.splitlines():
            words = line.split()
            assert words[0] in "012" and len(words) >= 7 and len(words) % 2
            assert all(0 <= float(w) < 1 for w in words[1:])


def test_holes_hang_on_their_outline_and_parts_are_lines_of_their_own(tmp_path: Path) -> None:
    photo = tmp_path / "a.png"
    Pillow.fromarray(np.zeros((20, 30, 3), np.uint8)).save(photo)
    mask = np.zeros((20, 30), np.uint8)
    mask[2:18, 2:18] = 1
    mask[5:8, 5:15] = mask[10:13, 7:9] = 0
    lost = write(tmp_path / "ring", [Labelled("a", photo, mask)], {})
    (line,) = (tmp_path / "ring" / "labels" / "a.txt").read_text().splitlines()
    points = np.array(line.split()[1:], np.float64).reshape(-1, 2) * (30, 20)
    filled = np.zeros(mask.shape, np.uint8)
    cv2.fillPoly(filled, [points.astype(np.int32)], 1)  # as Ultralytics fills, decimals cut off
    np.testing.assert_array_equal(filled, mask)
    assert any("1 outline(s) run over the same points twice" in text for text in lost)
    parts = np.where(np.arange(30) % 20 < 10, np.uint8(1), np.uint8(0))[None].repeat(20, 0)
    numbers = np.where(parts, 7, 0).astype(np.uint16)
    lost = write(tmp_path / "parts", [Labelled("a", photo, parts, numbers)], {})
    assert len((tmp_path / "parts" / "labels" / "a.txt").read_text().splitlines()) == 2
    assert any("1 object(s) of several parts" in text for text in lost)
    assert not any(
        "several parts" in t
        for t in write(tmp_path / "c", [Labelled("a", photo, parts, numbers)], {}, objects="components")
    )


def test_what_is_lost_is_said(items: list[Labelled], tmp_path: Path) -> None:
    lost = write(tmp_path / "out", items)
    unsure = sum(int((i.mask == 255).sum()) for i in items)
    assert any(text == f"{unsure:,} unsure pixels become background." for text in lost)
    assert not any("Ultralytics asks for" in text for text in lost)
    plain = write(tmp_path / "plain", [items[3]], {"train": ["d"]})
    assert plain == ["There is no split val, which Ultralytics asks for."]


def test_classes_are_matched_by_name(items: list[Labelled], tmp_path: Path) -> None:
    write(tmp_path / "out", items)
    incoming = YOLO.read(tmp_path / "out", sizes(items), ("sheep", "dog", "no"))
    for stem, mask in incoming.items:
        sent = sure(next(i.mask for i in items if i.stem == stem))
        np.testing.assert_array_equal(mask, np.array([0, 3, 0, 1], np.uint8)[sent])
    assert any("traffic: light" in note for note in incoming.notes)


# --- files of others -------------------------------------------------------------------------------


def given(folder: Path, text: str, names: str = "names: [no, b, sheep]\n", place: str = "labels") -> Path:
    (folder / place).mkdir(parents=True, exist_ok=True)
    (folder / "data.yaml").write_text(names, encoding="utf-8")
    (folder / place / "x.txt").write_text(text, encoding="utf-8")
    return folder


def filled(folder: Path, size: tuple[int, int] = (4, 8)) -> np.ndarray:
    return dict(YOLO.read(folder, {"x": size}, CLASSES).items)["x"]


SQUARE = "0 0.125 0.25 0.5 0.25 0.5 0.75 0.125 0.75\n"


@pytest.mark.parametrize("place", ["labels", "labels/train", "train/labels"])
def test_the_three_layouts_of_others(place: str, tmp_path: Path) -> None:
    expected = np.zeros((4, 8), np.uint8)
    expected[1:4, 1:5] = 1  # contours of pixel centres without our quarter
    np.testing.assert_array_equal(filled(given(tmp_path, SQUARE, place=place)), expected)


def test_later_lines_lie_above_and_an_empty_file_is_background(tmp_path: Path) -> None:
    second = SQUARE.replace("0 ", "2 ", 1)
    assert filled(given(tmp_path, SQUARE + "\n" + second))[2, 2] == 3
    assert not filled(given(tmp_path, "")).any()
    assert filled(given(tmp_path, SQUARE, "names:\n  1: b\n  0: sheep\n"))[2, 2] == 3
    given(tmp_path, SQUARE, place="labels/train")
    with pytest.raises(UserError, match="two folders"):
        filled(tmp_path)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0 0.5 0.5 0.2 0.2\n", "line 1 is a box"),
        (SQUARE + "0 0.1 0.1 0.2\n", "line 2 is no class"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4\n", "line 1 is no class"),
        ("3 0.1 0.1 0.2 0.2 0.3 0.3\n", "no class '3'"),
        ("-1 0.1 0.1 0.2 0.2 0.3 0.3\n", "no class '-1'"),
        ("0.0 0.1 0.1 0.2 0.2 0.3 0.3\n", "no class '0.0'"),
        ("99999999999999999999 0.1 0.1 0.2 0.2 0.3 0.3\n", "no class"),
        ("² 0.1 0.1 0.2 0.2 0.3 0.3\n", "no class"),
        ("0 0.1 nan 0.2 0.2 0.3 0.3\n", "not from 0 to 1"),
        ("0 0.1 inf 0.2 0.2 0.3 0.3\n", "not from 0 to 1"),
        ("0 10 20 30 40 50 60\n", "not from 0 to 1"),
        ("0 0.1 x 0.2 0.2 0.3 0.3\n", "no number"),
        ("0 0.1 \0 0.2 0.2 0.3 0.3\n", "NUL"),
    ],
)
def test_damaged_lines_are_sentences_with_their_line(tmp_path: Path, text: str, found: str) -> None:
    with pytest.raises(UserError, match=found) as error:
        filled(given(tmp_path, text))
    assert "x.txt" in error.value.found


BOMB = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ("nc: 3\n", "no `names`"),
        ("names: {1: a, 2: b}\n", "no `names`"),
        ("names: [[a], b]\n", "no `names`"),
        ("names: []\n", "no `names`"),
        ("- a\n", "no `names`"),
        ("names: [a\n", "no YAML"),
        (BOMB + "names: *i\n", "aliases"),
        ("names: " + "[" * 100_000, "nested too deeply"),
        ("names: [" + "a," * 100_000, "too long"),
        ("names: [" + ", ".join(f"c{k}" for k in range(255)) + "]\n", "255 names"),
        ("x" * (300 * 2**10), "MiB"),
    ],
)
def test_damaged_class_lists_are_sentences(tmp_path: Path, names: str, found: str) -> None:
    with pytest.raises(UserError, match=found) as error:
        filled(given(tmp_path, SQUARE, names))
    assert "data.yaml" in error.value.found


def test_a_class_list_executes_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    names = f"names: !!python/object/apply:os.system ['touch {mark}']\n"
    assert not filled(given(tmp_path, SQUARE, names)).any()
    assert not mark.exists()


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text(SQUARE)
    folder = given(tmp_path / "set", SQUARE)
    (folder / "labels" / "x.txt").unlink()
    (folder / "labels" / "x.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(UserError, match="link"):
        filled(folder)
    (folder / "labels" / "x.txt").unlink()
    (folder / "labels").rmdir()
    given(tmp_path / "elsewhere", SQUARE)
    (folder / "labels").symlink_to(tmp_path / "elsewhere" / "labels")
    with pytest.raises(UserError, match="link"):
        filled(folder)
    with pytest.raises(UserError, match="no label file"):
        YOLO.read(tmp_path / "elsewhere", {"y": (3, 3)}, CLASSES)


def test_lines_that_fill_an_image_again_and_again_are_given_up(tmp_path: Path) -> None:
    whole = "0 0 0 1 0 1 1 0 1\n"
    zigzag = "0 " + " ".join(f"{k % 2} {k / 20000:.6f}" for k in range(20000)) + "\n"
    for text in (whole * 200_000, zigzag * 8):
        folder = given(tmp_path, text)
        with pytest.raises(UserError, match="more shapes, or larger ones"):
            filled(folder, (3000, 3000))


@pytest.mark.real
def test_real_masks_come_back(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "voc_mini"
    table = np.zeros(256, np.uint8)
    table[[8, 10, 12, 13, 15, 17, 255]] = [1, 2, 3, 1, 2, 3, 255]
    items = [
        Labelled(p.stem, folder / "JPEGImages" / f"{p.stem}.jpg", table[np.array(Pillow.open(p))])
        for p in sorted((folder / "SegmentationClass").glob("*.png"))[12:24]
    ]
    write(tmp_path / "out", items, {})
    for stem, mask in YOLO.read(tmp_path / "out", sizes(items), CLASSES).items:
        np.testing.assert_array_equal(mask, sure(next(i.mask for i in items if i.stem == stem)))
