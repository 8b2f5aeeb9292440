"""Saliency masks: forms and sizes that are read, what is ignored, and what is refused in a sentence."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from engine.errors import UserError
from engine.saliency import (
    EMPTY,
    MISSING,
    RESIZED,
    check_folder,
    read_salient,
    salient_path,
    write_salient,
)

SIZE = (30, 40)


def square(dtype: Any = np.uint8, value: int = 1) -> np.ndarray:
    mask = np.zeros(SIZE, dtype)
    mask[5:20, 10:30] = value
    return mask


def test_what_is_written_is_read(tmp_path: Path) -> None:
    for mask in (square(bool), square(value=7), square(np.int32, -1)):
        path = write_salient(tmp_path / "new", "a.v2", mask)
        assert path == tmp_path / "new" / "a.v2.png" == salient_path(tmp_path / "new", "a.v2")
        notes: list[str] = []
        found = read_salient(tmp_path / "new", "a.v2", SIZE, notes)
        assert found is not None and found.dtype == bool and not notes
        np.testing.assert_array_equal(found, mask != 0)
    assert set(np.unique(np.asarray(Pillow.open(path)))) == {0, 255}, "a person can see it in any viewer"
    for bad in (np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.float32), np.zeros((0, 2), np.uint8)):
        with pytest.raises(ValueError):
            write_salient(tmp_path, "a", bad)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".TIF", ".PNG"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16"])
def test_forms_and_modes(tmp_path: Path, suffix: str, mode: str) -> None:
    if mode == "I;16":
        image = Pillow.fromarray(square(np.uint16, 300))
    elif mode == "1":
        image = Pillow.fromarray(square(bool))
    else:
        image = Pillow.fromarray(square(value=1))
    if mode == "P":
        # Index 1 is black and index 0 white: colours must not count.
        image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(tmp_path / f"a{suffix}")
    found = read_salient(tmp_path, "a", SIZE)
    np.testing.assert_array_equal(found, square(bool))


def test_a_name_in_another_unicode_form_is_found(tmp_path: Path) -> None:
    stem = unicodedata.normalize("NFC", "caf\u00e9")
    Pillow.fromarray(square()).save(tmp_path / (unicodedata.normalize("NFD", stem) + ".png"))
    np.testing.assert_array_equal(read_salient(tmp_path, stem, SIZE), square(bool))


def test_missing_and_empty_masks_are_told(tmp_path: Path) -> None:
    notes: list[str] = []
    assert read_salient(tmp_path, "a", SIZE, notes) is None and notes == [MISSING]
    assert read_salient(tmp_path / "nowhere", "a", SIZE) is None
    mask = np.zeros(SIZE, np.uint8)
    mask[0, :23] = 1  # 23 of 1200 pixels are less than 2 %
    write_salient(tmp_path, "a", mask)
    notes.clear()
    assert read_salient(tmp_path, "a", SIZE, notes) is None and notes == [EMPTY]
    mask[0, 23] = 1
    write_salient(tmp_path, "a", mask)
    found = read_salient(tmp_path, "a", SIZE)
    assert found is not None and found.sum() == 24


def test_another_size_is_scaled_where_the_proportions_fit(tmp_path: Path) -> None:
    write_salient(tmp_path, "a", square())
    notes: list[str] = []
    twice = read_salient(tmp_path, "a", (60, 80), notes)
    assert notes == [RESIZED]
    np.testing.assert_array_equal(twice, square(bool).repeat(2, 0).repeat(2, 1))
    write_salient(tmp_path, "a", square().repeat(3, 0).repeat(3, 1))
    np.testing.assert_array_equal(read_salient(tmp_path, "a", SIZE), square(bool))
    write_salient(tmp_path, "b", np.ones((188, 250), np.uint8))  # 375 x 500 halved and rounded
    assert read_salient(tmp_path, "b", (375, 500)) is not None
    for size in ((40, 30), (30, 80), (375, 375)):
        with pytest.raises(UserError, match="proportions"):
            read_salient(tmp_path, "a", size)


def test_masks_of_strangers_are_sentences(tmp_path: Path) -> None:
    Pillow.fromarray(square()).save(tmp_path / "good.png")
    data = bytearray((tmp_path / "good.png").read_bytes())
    (tmp_path / "cut.png").write_bytes(data[:60])
    data[16:24] = b"\x00\x01\x00\x00\x00\x01\x00\x00"  # 65536 x 65536 px
    (tmp_path / "bomb.png").write_bytes(data)
    (tmp_path / "text.png").write_bytes(b"no image")
    (tmp_path / "empty.png").write_bytes(b"")
    Pillow.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / "colours.png")
    Pillow.fromarray(np.zeros(SIZE, np.float32)).save(tmp_path / "soft.tif")
    Pillow.fromarray(square()).save(tmp_path / "turned.tif", tiffinfo={274: 6})
    Pillow.fromarray(square()).save(
        tmp_path / "many.tif", save_all=True, append_images=[Pillow.fromarray(square())]
    )
    Pillow.fromarray(square()).save(tmp_path / "jpeg.png", "JPEG")
    for stem in ("cut", "bomb", "text", "empty", "colours", "soft", "turned", "many", "jpeg"):
        with pytest.raises(UserError) as error:
            read_salient(tmp_path, stem, SIZE)
        assert f"{stem}." in error.value.found and error.value.accepted and error.value.todo
    (tmp_path / "folder.png").mkdir()
    assert salient_path(tmp_path, "folder") is None


@pytest.mark.parametrize("stem", ["", "../good", "a/b", "..", "a\0b"])
def test_names_stay_inside_the_folder(tmp_path: Path, stem: str) -> None:
    (tmp_path / "in").mkdir()
    write_salient(tmp_path, "good", square())
    with pytest.raises(UserError):
        read_salient(tmp_path / "in", stem, SIZE)
    with pytest.raises(UserError):
        write_salient(tmp_path / "in", stem, square())
    assert not list((tmp_path / "in").iterdir())


def test_a_folder_is_checked_first(tmp_path: Path) -> None:
    check_folder(tmp_path)
    with pytest.raises(UserError, match="is no folder"):
        check_folder(tmp_path / "nowhere")
