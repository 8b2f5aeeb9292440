"""Reading pixels: every form, mode and orientation, against pictures that are known."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from engine.errors import UserError
from engine.images import digest, find, probe, read, read_mask, thumbnail, upright

_LETTER = ["#####", "#....", "###..", "#....", "#....", "#...."]


def letter(cell: int = 8) -> np.ndarray:
    """Return an F, which no turn or mirror leaves alike, in two colours."""
    shape = np.array([[c == "#" for c in row] for row in _LETTER])
    colours = np.where(shape[..., None], (230, 40, 60), (30, 90, 200)).astype(np.uint8)
    return colours.repeat(cell, 0).repeat(cell, 1)


def png(rows: np.ndarray, colour_type: int, bits: int, extra: bytes = b"") -> bytes:
    """Return a PNG of raw rows `[H, bytes]`, for the kinds that Pillow cannot write."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
    height, width = len(rows), rows.shape[1] * 8 // bits // channels

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def deep_rows(values: np.ndarray) -> np.ndarray:
    """Return 16-bit values `[H, W, C]` as big-endian rows of bytes."""
    return values.astype(">u2").reshape(len(values), -1).view(np.uint8).reshape(len(values), -1)


# How a camera that was turned stores the upright picture: the inverse of what EXIF says to do.
_STORED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied_once(tmp_path: Path, form: str, orientation: int) -> None:
    truth = letter()
    stored = Image.fromarray(np.ascontiguousarray(_STORED[orientation](truth)))
    path = tmp_path / f"f.{form.lower()}"
    if form == "TIFF":
        stored.save(path, form, tiffinfo={0x0112: orientation})
    else:
        exif = Image.Exif()
        exif[0x0112] = orientation
        quality = {"quality": 100, "subsampling": 0} if form == "JPEG" else {}
        stored.save(path, form, exif=exif, **quality, **({"lossless": True} if form == "WEBP" else {}))

    picture, facts = read(path), probe(path)

    assert picture.orientation == facts.orientation == orientation
    assert picture.pixels.shape == truth.shape == (facts.height, facts.width, 3)
    assert np.abs(picture.pixels.astype(int) - truth).max() <= (8 if form == "JPEG" else 0)
    small = thumbnail(path, 24)
    assert small.shape == (24, 20, 3)
    half = np.array(Image.fromarray(truth).resize((20, 24), Image.Resampling.BOX)).astype(int)
    assert np.abs(small - half).mean() < 20


def test_png_orientation_behind_the_pixels_counts(tmp_path: Path) -> None:
    truth = letter()
    exif = Image.Exif()
    exif[0x0112] = 6
    rows = np.ascontiguousarray(_STORED[6](truth))
    data = png(rows.reshape(len(rows), -1), 2, 8)
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(block)) + b"eXIf" + block + struct.pack(">I", zlib.crc32(b"eXIf" + block))
    path = tmp_path / "late.png"
    path.write_bytes(data[:-12] + chunk + data[-12:])
    assert np.array_equal(read(path).pixels, truth)
    assert (probe(path).height, probe(path).orientation) == (48, 6)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_orientation_out_of_range_is_upright(tmp_path: Path, value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    Image.fromarray(letter()).save(tmp_path / "a.png", exif=exif)
    assert read(tmp_path / "a.png").orientation == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_undoes_how_it_was_stored(orientation: int) -> None:
    truth = letter(2)
    assert np.array_equal(upright(_STORED[orientation](truth), orientation), truth)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.webp", "a.gif", "a.jpg"])
@pytest.mark.parametrize("suffix", [None, ".dat", ".jpg"])
def test_content_decides_not_the_suffix(tmp_path: Path, name: str, suffix: str | None) -> None:
    truth = letter()
    path = tmp_path / name
    Image.fromarray(truth).save(path, **({"lossless": True} if name == "a.webp" else {"quality": 100}))
    form = probe(path).format
    if suffix:
        path = path.rename(path.with_suffix(suffix))
    assert probe(path).format == form
    picture = read(path).pixels.astype(int)
    assert np.abs(picture - truth).mean() <= (15 if form == "JPEG" else 1)


def test_grey_palette_and_two_tone_keep_their_colours(tmp_path: Path) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for mode in ("L", "P", "1"):
        image = Image.fromarray(grey).convert(mode, dither=Image.Dither.NONE)
        image.save(tmp_path / "a.png")
        picture = read(tmp_path / "a.png")
        assert picture.mode == mode
        assert np.array_equal(picture.pixels, np.array(image.convert("RGB")))


def test_opaque_alpha_changes_nothing_and_transparency_shows_white(tmp_path: Path) -> None:
    truth = letter()
    alpha = np.full(truth.shape[:2], 255, np.uint8)
    Image.fromarray(np.dstack([truth, alpha])).save(tmp_path / "a.png")
    assert np.array_equal(read(tmp_path / "a.png").pixels, truth)
    assert read(tmp_path / "a.png").notes == ()

    alpha[:, ::2] = 0
    alpha[:, 1::4] = 51  # one fifth
    Image.fromarray(np.dstack([truth, alpha])).save(tmp_path / "a.png")
    picture = read(tmp_path / "a.png")
    assert (picture.pixels[:, ::2] == 255).all()
    assert np.array_equal(
        picture.pixels[:, 1::4], np.round(truth[:, 1::4] * 0.2 + 255 * 0.8).astype(np.uint8)
    )
    assert np.array_equal(picture.pixels[:, 3::4], truth[:, 3::4])
    assert picture.mode == "RGBA"
    assert "laid over white" in picture.notes[0]


def test_grey_with_alpha_and_palette_transparency(tmp_path: Path) -> None:
    grey = np.full((4, 6), 40, np.uint8)
    alpha = np.where(np.arange(6) < 3, 255, 0).astype(np.uint8)[None].repeat(4, 0)
    Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)]).save(tmp_path / "la.png")
    picture = read(tmp_path / "la.png")
    assert picture.mode == "LA"
    assert (picture.pixels[:, :3] == 40).all()
    assert (picture.pixels[:, 3:] == 255).all()

    image = Image.fromarray(np.where(alpha > 0, 1, 0).astype(np.uint8))
    image.putpalette([9, 9, 9, 200, 10, 30])
    image.save(tmp_path / "p.png", transparency=0)
    assert read(tmp_path / "p.png").pixels[0].tolist() == [[200, 10, 30]] * 3 + [[255, 255, 255]] * 3


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_cmyk(tmp_path: Path, name: str) -> None:
    truth = letter()
    Image.fromarray(truth).convert("CMYK").save(tmp_path / name, quality=100)
    picture = read(tmp_path / name)
    assert picture.mode == "CMYK"
    assert np.abs(picture.pixels.astype(int) - truth).mean() < 3


def ramp() -> np.ndarray:
    """Return `[100, 101] uint16` values from 1000 to 11099, each once."""
    return np.arange(1000, 1000 + 100 * 101, dtype=np.uint16).reshape(100, 101)


def stretched(values: np.ndarray) -> np.ndarray:
    low, high = np.percentile(values, (1, 99))
    return np.clip((values - low) / (high - low) * 255, 0, 255)


@pytest.mark.parametrize("kind", ["png", "tif", "tif>", "float", "int"])
def test_deep_grey_is_scaled_by_percentiles(tmp_path: Path, kind: str) -> None:
    values = ramp()
    path = tmp_path / "a.img"
    if kind == "png":
        path.write_bytes(png(deep_rows(values[..., None]), 0, 16))
    else:
        types = {"float": np.float32, "int": np.int32}
        tifffile.imwrite(
            path, values.astype(types.get(kind, np.uint16)), byteorder=">" if ">" in kind else "<"
        )
    picture = read(path)
    assert np.abs(picture.pixels[..., 1] - stretched(values)).max() <= 0.51
    assert np.array_equal(picture.pixels[..., 0], picture.pixels[..., 2])
    assert "1st to the 99th percentile (1100.99 to 10998)" in picture.notes[0]


@pytest.mark.parametrize("kind", ["rgb.png", "rgba.png", "<.tif", ">.tif", "<zlib.tif", ">zlib.tif"])
def test_deep_colours_keep_all_bits_and_hues(tmp_path: Path, kind: str) -> None:
    # 12 bits in 16: the upper bytes alone, which Pillow gives, hold 16 levels.
    colours = np.stack([ramp() // 4, ramp()[::-1] // 4, ramp() // 8], -1)
    path = tmp_path / "a.img"
    if kind == "rgba.png":
        path.write_bytes(png(deep_rows(np.dstack([colours, np.full(ramp().shape, 65535)])), 6, 16))
    elif kind == "rgb.png":
        path.write_bytes(png(deep_rows(colours), 2, 16))
    else:
        packed = "zlib" if "zlib" in kind else None
        tifffile.imwrite(path, colours, photometric="rgb", byteorder=kind[0], compression=packed)
    picture = read(path)
    assert picture.mode in ("RGB;16", "RGBA;16")
    assert probe(path).mode == picture.mode
    assert np.abs(picture.pixels - stretched(colours)).max() <= 0.51
    assert len(np.unique(picture.pixels[..., 0])) > 200


def test_deep_grey_with_alpha(tmp_path: Path) -> None:
    alpha = np.full(ramp().shape, 65535, np.uint16)
    alpha[:5] = 0
    (tmp_path / "a.png").write_bytes(png(deep_rows(np.dstack([ramp(), alpha])), 4, 16))
    picture = read(tmp_path / "a.png")
    assert picture.mode == "LA;16"
    assert (picture.pixels[:5] == 255).all()
    assert np.abs(picture.pixels[5:, :, 0] - stretched(ramp())[5:]).max() <= 0.51


def test_deep_images_without_contrast(tmp_path: Path) -> None:
    spots = np.zeros((60, 60), np.uint16)
    spots[3, 4] = 9000
    tifffile.imwrite(tmp_path / "spot.tif", spots)
    pixels = read(tmp_path / "spot.tif").pixels
    assert pixels[3, 4, 0] == 255
    assert pixels.sum() == 3 * 255
    tifffile.imwrite(tmp_path / "flat.tif", np.full((5, 5), 7, np.uint16))
    assert (read(tmp_path / "flat.tif").pixels == 0).all()
    holes = np.linspace(0, 1, 100, dtype=np.float32).reshape(10, 10)
    holes[0, 0], holes[9, 9] = np.nan, np.inf
    tifffile.imwrite(tmp_path / "holes.tif", holes)
    pixels = read(tmp_path / "holes.tif").pixels
    assert pixels[0, 0, 0] == 0
    assert pixels[9, 9, 0] == 255
    assert 120 < pixels[5, 0, 0] < 135


def test_planes_of_16_bits_are_refused_not_garbled(tmp_path: Path) -> None:
    planes = np.stack([ramp()] * 3)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate")
    with pytest.raises(UserError, match="separate planes"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_first_of_several_frames(tmp_path: Path, name: str) -> None:
    frames = [
        Image.new("RGB", (9, 7), colour) for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250), (9, 9, 9))
    ]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
    picture = read(tmp_path / name)
    assert picture.frames == probe(tmp_path / name).frames == 4
    assert "first of 4 frames" in picture.notes
    assert np.abs(picture.pixels.astype(int) - (250, 0, 0)).max() <= 3


def test_one_pixel(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.bmp", "a.tif", "a.gif", "a.webp"):
        Image.new("RGB", (1, 1), (200, 200, 200)).save(tmp_path / name)
        assert read(tmp_path / name).pixels.shape == (1, 1, 3)
        assert thumbnail(tmp_path / name, 64).shape == (1, 1, 3)


def test_bands_join_without_seams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, (37, 23, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(_STORED[6](truth))).save(tmp_path / "a.png", exif=exif)
    monkeypatch.setattr("engine.images.pixels._BAND", 100)
    assert np.array_equal(read(tmp_path / "a.png").pixels, truth)
    tifffile.imwrite(tmp_path / "a.tif", ramp())
    assert np.abs(read(tmp_path / "a.tif").pixels[..., 0] - stretched(ramp())).max() <= 0.51
    monkeypatch.setattr("engine.images.pixels._SAMPLE", 400)
    assert np.abs(read(tmp_path / "a.tif").pixels[..., 0] - stretched(ramp())).mean() < 5


def test_pixel_limit_comes_from_the_header(tmp_path: Path) -> None:
    Image.new("RGB", (100, 101)).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png", max_pixels=10_100).pixels.shape == (101, 100, 3)
    for action in (read, probe):
        with pytest.raises(UserError, match="100 x 101 pixels") as error:
            action(tmp_path / "a.png", max_pixels=10_099)
        assert "a.png" in error.value.found
        assert error.value.accepted
        assert error.value.todo


def test_probe_and_thumbnail_do_not_decode_the_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    assert (probe(tmp_path / "cut.png").height, probe(tmp_path / "cut.png").width) == (60, 80)
    with pytest.raises(UserError):
        thumbnail(tmp_path / "cut.png", 10)
    assert thumbnail(tmp_path / "a.png", 40).shape == (30, 40, 3)
    assert thumbnail(tmp_path / "a.png", 400).shape == (60, 80, 3)


def test_digest(tmp_path: Path) -> None:
    data = os.urandom(300_000)
    (tmp_path / "a.bin").write_bytes(data)
    assert digest(tmp_path / "a.bin") == hashlib.sha256(data).hexdigest()
    with pytest.raises(UserError, match=r"no\.bin"):
        digest(tmp_path / "no.bin")


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")


def test_find_sorts_by_stem_and_passes_other_files_over(tmp_path: Path) -> None:
    touch(tmp_path, "b.JPG", "a.tiff", "c.d.png", "notes.txt", "ä b.webp", "Makefile")
    found = find(tmp_path)
    assert list(found.stems) == ["a", "b", "c.d", "ä b"]
    assert found.stems["b"] == tmp_path / "b.JPG"
    assert found.refused == []


def test_find_refuses_with_reasons(tmp_path: Path) -> None:
    touch(tmp_path, "ok.png", "._ok.png", "a.jpg", "a.png", "Cat.jpg", "cat.bmp", "photo.heic", "tail .png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    found = find(tmp_path)
    reasons = {path.name: reason for path, reason in found.refused}
    assert list(found.stems) == ["ok"]
    assert "is hidden" in reasons["._ok.png"]
    assert "a.png" in reasons["a.jpg"]
    assert "a.jpg" in reasons["a.png"]
    assert "cat.bmp" in reasons["Cat.jpg"]
    assert "convert" in reasons["photo.heic"]
    assert "space" in reasons["tail .png"]
    assert "0 bytes" in reasons["empty.png"]
    assert "cannot be opened" in reasons["gone.png"]


def test_find_brings_stems_to_nfc_and_refuses_twins(tmp_path: Path) -> None:
    composed, parted = "caf\u00e9", "cafe\u0301"
    touch(tmp_path, f"{parted}1.png", f"{composed}2.png", f"{parted}2.png")
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system takes both spellings for one name")
    found = find(tmp_path)
    assert list(found.stems) == [f"{composed}1"]
    assert {path.name for path, _ in found.refused} == {f"{composed}2.png", f"{parted}2.png"}


def test_find_without_images_says_where_some_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        find(tmp_path / "no")
    with pytest.raises(UserError, match="no image in it"):
        find(tmp_path)
    touch(tmp_path, "a.txt")
    touch(tmp_path / "train", "a.png", "b.png")
    with pytest.raises(UserError, match=r"train \(2\)"):
        find(tmp_path)
    (tmp_path / "z.png").touch()
    touch(tmp_path / "train", "a.txt")
    (tmp_path / "train" / "a.png").unlink()
    (tmp_path / "train" / "b.png").unlink()
    with pytest.raises(UserError, match=r"z.png is empty \(0 bytes\)"):
        find(tmp_path)


def test_masks_give_indexes_never_luminance(tmp_path: Path) -> None:
    indexes = np.array([[0, 1, 20], [255, 7, 1]], np.uint8)
    image = Image.fromarray(indexes)
    image.save(tmp_path / "l.png")
    image.putpalette([c for i in range(256) for c in (i * 37 % 256, i * 91 % 256, i * 53 % 256)])
    image.save(tmp_path / "p.png")
    for name in ("l.png", "p.png"):
        mask = read_mask(tmp_path / name)
        assert mask.dtype == np.uint8
        assert np.array_equal(mask, indexes)
        mask[0, 0] = 3  # the caller owns it


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("colour_type", [0, 3])
def test_masks_of_few_bits(tmp_path: Path, bits: int, colour_type: int) -> None:
    rows = np.array([[0b00011011], [0b11100100]], np.uint8)
    values = np.unpackbits(rows, axis=1).reshape(2, -1, bits) @ (1 << np.arange(bits)[::-1])
    palette = bytes(range(3 << bits))
    chunk = (
        struct.pack(">I", len(palette)) + b"PLTE" + palette + struct.pack(">I", zlib.crc32(b"PLTE" + palette))
    )
    (tmp_path / "a.png").write_bytes(png(rows, colour_type, bits, chunk if colour_type == 3 else b""))
    assert np.array_equal(read_mask(tmp_path / "a.png"), values)


def test_masks_that_hold_no_indexes_are_refused(tmp_path: Path) -> None:
    Image.fromarray(letter()).save(tmp_path / "rgb.png")
    Image.fromarray(ramp()).save(tmp_path / "deep.png")
    Image.new("L", (4, 4)).save(tmp_path / "jpeg.png", "JPEG")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (4, 4)).save(tmp_path / "turned.png", exif=exif)
    for name, words in {
        "rgb": "mode RGB",
        "deep": "16 bits",
        "jpeg": "known form",
        "turned": "rotation",
    }.items():
        with pytest.raises(UserError, match=words) as error:
            read_mask(tmp_path / f"{name}.png")
        assert f"{name}.png" in error.value.found


@pytest.mark.real
def test_real_photographs_and_masks(shared_data: Path) -> None:
    found = find(shared_data / "voc_mini" / "JPEGImages")
    assert len(found.stems) == 450
    assert found.refused == []
    for stem in list(found.stems)[::45]:
        facts, picture = probe(found.stems[stem]), read(found.stems[stem])
        mask = read_mask(shared_data / "voc_mini" / "SegmentationClass" / f"{stem}.png")
        assert picture.pixels.shape[:2] == mask.shape == (facts.height, facts.width)
        assert set(np.unique(mask)) <= {0, *range(1, 21), 255}
        small = thumbnail(found.stems[stem], 96)
        assert max(small.shape) == 96
