"""Every format of masks in the registry: out and back identically, by the command line too, and never half."""

from __future__ import annotations

import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage

from engine.atomic import new_folder
from engine.class_names import VOC
from engine.cli import main
from engine.colours import class_colours
from engine.errors import UserError
from engine.formats import Labelled, format_named, formats
from engine.params import describe, parse
from engine.store import LabelSet, Project, label_set

MADE = runpy.run_path(str(Path(__file__).with_name("fake_labelled.py")))
CLASSES, COLOURS, SPLITS, sizes = MADE["CLASSES"], MADE["COLOURS"], MADE["SPLITS"], MADE["sizes"]
MASKS = [name for name, one in formats().items() if one.kind == "masks"]
# What the loss report of a format says it cannot hold.
NO_UNSURE = ("yolo-seg",)


def _variants() -> Iterator[tuple[str, dict[str, str]]]:
    """Every format with its defaults, then with each value of each option that is a choice."""
    for name in MASKS:
        yield name, {}
        options = formats()[name].options
        for field in describe(options) if options else ():
            values = field.choices if field.kind == "choice" else ("true", "false")
            yield from ((name, {field.name: v}) for v in values)


def _write(
    name: str, out: Path, items: list[Labelled], classes: tuple[str, ...] = CLASSES, **settings: str
) -> list[str]:
    chosen = format_named(name)
    more = {"options": parse(chosen.options, settings)} if chosen.options else {}
    with new_folder(out) as folder:
        return chosen.write(folder, items, classes, class_colours(len(classes)), SPLITS, **more)


def _same(name: str, back: NDArray[np.uint8], sent: NDArray[np.uint8]) -> None:
    """Assert that a mask came back: identically, or as far as the format says it can."""
    assert back.dtype == np.uint8 and back.shape == sent.shape
    if name in NO_UNSURE:
        sent = np.where(sent == 255, 0, sent)
    if name == "yolo-seg":
        # Half a pixel: what differs has a pixel of its new value among its eight neighbours.
        for value in np.unique(back[back != sent]):
            assert ndimage.binary_dilation(sent == value, np.ones((3, 3)))[
                (back == value) & (sent != value)
            ].all()
        assert (back == sent).mean() > 0.995
    else:
        np.testing.assert_array_equal(back, sent)


@pytest.fixture
def items(tmp_path: Path) -> list[Labelled]:
    return MADE["drawn"](tmp_path / "images")


def test_the_formats_that_are_promised_are_there() -> None:
    promised = {"voc", "png", "coco", "coco-panoptic", "labelme", "cvat", "yolo-seg", "hf", "tiff", "npz"}
    assert promised | {"irn-cam", "psa-cam"} <= set(formats())


@pytest.mark.parametrize("objects", [False, True], ids=["classes", "objects"])
@pytest.mark.parametrize(("name", "settings"), list(_variants()), ids=str)
def test_every_format_gives_back_what_it_took(
    name: str, settings: dict[str, str], objects: bool, items: list[Labelled], tmp_path: Path
) -> None:
    if objects:
        rng = np.random.default_rng(5)
        for k, item in enumerate(items):
            numbers = rng.integers(0, 4, item.mask.shape) * (item.mask > 0) * (item.mask < 255)
            items[k] = item._replace(instances=(numbers * 1000 + item.mask).astype(np.uint16) * (numbers > 0))
    before = [item.mask.copy() for item in items]
    lost = _write(name, tmp_path / "out", items, **settings)
    assert all(line.endswith(".") and len(line) < 400 for line in lost)
    for item, mask in zip(items, before, strict=True):
        np.testing.assert_array_equal(item.mask, mask)
    incoming = format_named(name).read(tmp_path / "out", sizes(items), CLASSES)
    back = dict(incoming.items)
    assert set(back) == set(incoming.stems) == {item.stem for item in items}
    for item in items:
        _same(name, back[item.stem], item.mask)
    assert incoming.notes == ()


@pytest.mark.parametrize("name", MASKS)
def test_classes_are_matched_by_name_in_every_format(
    name: str, items: list[Labelled], tmp_path: Path
) -> None:
    _write(name, tmp_path / "out", items)
    incoming = format_named(name).read(tmp_path / "out", sizes(items), (CLASSES[2], "dog", CLASSES[0]))
    table = np.arange(256, dtype=np.uint8)
    table[[1, 2, 3]] = [3, 0, 1]
    for stem, mask in incoming.items:
        _same(name, mask, table[next(i.mask for i in items if i.stem == stem)])
    assert any("traffic light" in note for note in incoming.notes)


@pytest.mark.parametrize("name", MASKS)
def test_images_that_are_not_in_the_project_are_left_aside_and_told(
    name: str, items: list[Labelled], tmp_path: Path
) -> None:
    _write(name, tmp_path / "out", items)
    incoming = format_named(name).read(tmp_path / "out", {"a_1": (30, 40)}, CLASSES)
    # COCO lists c.3 in two splits, so it counts six
    assert incoming.stems == ("a_1",)
    assert any(note.startswith(("5 ", "6 ")) and "left aside" in note for note in incoming.notes)
    with pytest.raises(UserError):
        format_named(name).read(tmp_path / "out", {"other": (30, 40)}, CLASSES)


@pytest.mark.parametrize("name", MASKS)
def test_masks_of_another_size_are_refused_in_every_format(
    name: str, items: list[Labelled], tmp_path: Path
) -> None:
    _write(name, tmp_path / "out", items[1:2])
    if name == "yolo-seg":
        return  # its coordinates are shares of the image, so any size fits
    for size in ((60, 40), (41, 60)):
        with pytest.raises(UserError, match="größe 2"):
            list(format_named(name).read(tmp_path / "out", {"größe 2": size}, CLASSES).items)


@pytest.mark.parametrize("name", MASKS)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(
    name: str, items: list[Labelled], tmp_path: Path
) -> None:
    item = items[0]
    photo = tmp_path / "damaged.jpg"
    photo.write_bytes(item.image.read_bytes()[:300])
    wrong = [item._replace(stem="../evil"), item._replace(stem=".hidden"), item._replace(stem="a\nb")]
    wrong.append(item._replace(mask=np.full((30, 40), 4, np.uint8)))
    for one in wrong:
        with pytest.raises(UserError):
            _write(name, tmp_path / "out", [one])
        assert not (tmp_path / "out").exists() and not list(tmp_path.glob("*evil*"))


@pytest.mark.parametrize("name", MASKS)
def test_a_photograph_of_another_size_stops_the_formats_that_hold_photographs(
    name: str, items: list[Labelled], tmp_path: Path
) -> None:
    chosen = format_named(name)
    other = items[0]._replace(image=items[1].image)
    if any("masks only" in line for line in chosen.loses):
        assert _write(name, tmp_path / "out", [other]) == []
        return
    with pytest.raises(UserError, match="40 x 30 px"):
        _write(name, tmp_path / "out", [other])
    assert not (tmp_path / "out").exists()


# Text without an end mark: half of it is text of the same kind, and every loader takes it so.
_OPEN_ENDED = ("labels/", "classes.txt", "labels.txt", "data.yaml")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Truncated File")
@pytest.mark.parametrize("name", MASKS)
def test_a_cut_file_is_refused_or_was_never_needed(name: str, items: list[Labelled], tmp_path: Path) -> None:
    item = items[1]
    _write(name, tmp_path / "out", [item])
    files = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    refused = 0
    for path in files:
        place = path.relative_to(tmp_path / "out").as_posix()
        whole = path.read_bytes()
        if place.startswith(_OPEN_ENDED) or not whole:
            continue
        for length in {0, 1, len(whole) - 2, *range(0, len(whole), len(whole) // 24 + 1)}:
            path.write_bytes(whole[: max(length, 0)])
            try:
                incoming = format_named(name).read(tmp_path / "out", sizes([item]), CLASSES)
                back = dict(incoming.items)
            except UserError:
                refused += 1
                continue
            # Never empty, never another mask without a word.
            if not incoming.notes:
                _same(name, back[item.stem], item.mask)
        path.write_bytes(whole)
    assert refused > 10 or name == "yolo-seg"


@pytest.mark.parametrize("name", MASKS)
def test_links_that_lead_out_and_pipes_are_refused(name: str, items: list[Labelled], tmp_path: Path) -> None:
    item = items[0]
    _write(name, tmp_path / "out", [item])
    read = format_named(name).read
    needed = 0
    for path in [p for p in (tmp_path / "out").rglob("*") if p.is_file()]:
        shutil.move(path, tmp_path / "aside")
        path.write_bytes(b"\0 this is none of any format")
        try:
            list(read(tmp_path / "out", sizes([item]), CLASSES).items)
            is_read = False
        except UserError:
            is_read = True
        path.unlink()
        if is_read:
            needed += 1
            # The same bytes from elsewhere: to read them would be to read any file of the person's.
            path.symlink_to(tmp_path / "aside")
            with pytest.raises(UserError, match="link"):
                list(read(tmp_path / "out", sizes([item]), CLASSES).items)
            path.unlink()
        shutil.move(tmp_path / "aside", path)
    assert needed
    assert len(list(read(tmp_path / "out", sizes([item]), CLASSES).items)) == 1


@pytest.mark.parametrize("name", MASKS)
def test_the_command_line_takes_masks_out_and_in(
    name: str, small_project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = str(small_project.root), str(tmp_path / "out")
    hand = label_set(small_project.root, small_project.colours, "hand", new=True)
    hand.folder.mkdir(parents=True)
    rng = np.random.default_rng(2)
    for stem in small_project.usable:
        facts = small_project.images[stem]
        coarse = rng.choice(np.array([0, 1, 2, 3, 255], np.uint8), (facts.height // 8, facts.width // 8))
        LabelSet(hand.folder, small_project.colours).write(stem, np.kron(coarse, np.ones((8, 8), np.uint8)))
    hand.write_facts({"imported": {"format": "png", "from": "hand"}})
    export = ["export", "-p", root, "--labels", "hand", "--format", name, "--out", out]
    assert main([*export, "--dry-run"]) == 0
    assert not Path(out).exists()
    assert main(export) == 0
    said = capsys.readouterr().out
    for line in formats()[name].loses:
        assert line.split(":")[0] in said, "the loss report is told"
    assert main(["import", "-p", root, "--format", name, "--from", out, "--name", "back"]) == 0
    back = label_set(small_project.root, small_project.colours, "back")
    assert set(back.stems()) == set(hand.stems())
    for stem in hand.stems():
        _same(name, back.read(stem), hand.read(stem))


@pytest.mark.real
@pytest.mark.parametrize("name", MASKS)
def test_true_masks_of_photographs_come_back(name: str, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "voc_mini"
    items = []
    for path in sorted((folder / "SegmentationClass").glob("*.png"))[:40:8]:
        mask = np.array(Pillow.open(path))
        items.append(Labelled(path.stem, folder / "JPEGImages" / f"{path.stem}.jpg", mask))
    assert len(items) == 5
    _write(name, tmp_path / "out", items, classes=VOC)
    back = dict(format_named(name).read(tmp_path / "out", sizes(items), VOC).items)
    for item in items:
        _same(name, back[item.stem], item.mask)
