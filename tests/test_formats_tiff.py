"""TIFF masks: out, back, read by tifffile and Pillow, and the traps of the format."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from engine.atomic import new_folder
from engine.errors import UserError
from engine.formats import Labelled, format_named

MADE = runpy.run_path(str(Path(__file__).with_name("fake_labelled.py")))
CLASSES, COLOURS, SPLITS, sizes = MADE["CLASSES"], MADE["COLOURS"], MADE["SPLITS"], MADE["sizes"]
tifffile = pytest.importorskip("tifffile")


@pytest.fixture
def items(tmp_path: Path) -> list[Labelled]:
    return MADE["drawn"](tmp_path / "images")


def _read(folder: Path, size: tuple[int, int]) -> np.ndarray:
    ((_, mask),) = format_named("tiff").read(folder, {"a": size}, CLASSES).items
    return mask


def test_tifffile_and_pillow_read_the_same_values(items: list[Labelled], tmp_path: Path) -> None:
    with new_folder(tmp_path / "out") as folder:
        assert format_named("tiff").write(folder, items, CLASSES, COLOURS, SPLITS) == []
    for item in items:
        path = tmp_path / "out" / f"{item.stem}.tif"
        with tifffile.TiffFile(path) as file:
            (page,) = file.pages
            assert (page.dtype, page.axes, page.photometric.name) == (np.uint8, "YX", "MINISBLACK")
            assert page.compression.name == "ADOBE_DEFLATE"
            np.testing.assert_array_equal(page.asarray(), item.mask)
            facts = json.loads(page.description)
        assert facts == {"axes": "YX", "background": 0, "classes": list(CLASSES), "unsure": 255}
        with Pillow.open(path) as image:
            assert image.mode == "L"
            np.testing.assert_array_equal(np.array(image), item.mask)
    assert (tmp_path / "out" / "classes.txt").read_text("utf-8").splitlines() == list(CLASSES)
    assert (tmp_path / "out" / "splits" / "val.txt").read_text("utf-8") == "c.3\nturned\n"


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "int32", "int16"])
@pytest.mark.parametrize("suffix", [".tif", ".tiff", ".TIF"])
def test_whole_numbers_of_other_programs(dtype: str, suffix: str, tmp_path: Path) -> None:
    mask = np.array([[0, 1, 2, 3, 255]] * 4)
    byteorder = ">" if dtype.startswith(">") else "<"
    tifffile.imwrite(tmp_path / f"a{suffix}", mask.astype(dtype), byteorder=byteorder, compression="zlib")
    np.testing.assert_array_equal(_read(tmp_path, (4, 5)), mask)


def test_a_stack_of_three_rows_is_no_picture_in_colours(tmp_path: Path) -> None:
    # tifffile takes (3, H, W) of uint8 for colours; our masks have one plane, so nothing is to be guessed
    stack = np.zeros((3, 4, 5), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stack)
    with pytest.raises(UserError, match="RGB"):
        _read(tmp_path, (4, 5))
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    with pytest.raises(UserError, match=r"a\.tif holds 3 planes"):
        _read(tmp_path, (4, 5))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.full((4, 5), 3, np.int64), "no image of a known form"),
        (np.full((4, 5), 0.5, np.float32), "mode F"),
        (np.full((4, 5), 300, np.uint16), "values from 300 to 300"),
        (np.full((4, 5), -1, np.int32), "values from -1 to -1"),
        (np.full((4, 5), 4, np.uint8), "holds the index 4"),
        (np.zeros((5, 4), np.uint8), "4 x 5 px, its image 5 x 4"),
    ],
)
def test_what_is_no_mask_is_refused(values: np.ndarray, says: str, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", values)
    (tmp_path / "classes.txt").write_text("cat\ndog\nsheep\n")
    with pytest.raises(UserError, match=rf"(?s)a\.tif.*{says}"):
        _read(tmp_path, (4, 5))


def test_turned_masks_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5), np.uint8), extratags=[(274, "H", 1, 6, True)])
    for size in ((4, 5), (5, 4)):
        with pytest.raises(UserError, match="to be turned"):
            _read(tmp_path, size)


def test_palette_and_one_bit_tiffs_give_indexes_not_colours(tmp_path: Path) -> None:
    mask = Pillow.fromarray(np.array([[0, 1, 2, 255]], np.uint8))
    mask.putpalette(bytes(range(255, -1, -1)) * 3)
    mask.save(tmp_path / "a.tif")
    assert _read(tmp_path, (1, 4)).tolist() == [[0, 1, 2, 255]]
    Pillow.fromarray(np.array([[True, False]])).save(tmp_path / "a.tif")
    assert _read(tmp_path, (1, 2)).tolist() == [[1, 0]]
