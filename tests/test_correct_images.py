"""Every kind of photograph is corrected, approved, exported and read back: EXIF, depths, colours, names, sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from PIL import Image as Pillow

from engine.edits import EditRoom, corrected
from engine.messages import Export, Finished, Import, Job, New
from engine.run import run
from engine.store import label_set, open_project
from wsss_napari.desk import PHOTOGRAPH, desk_of

SIZE = (20, 30)


def colours() -> np.ndarray:
    """A red, a green and a blue third, [H, W, 3] uint8."""
    pixels = np.zeros((*SIZE, 3), np.uint8)
    for n in range(3):
        pixels[:, 10 * n : 10 * n + 10, n] = 255
    return pixels


def turned(path: Path, orientation: int) -> None:
    """Save the colours so that a reader of EXIF sees them upright."""
    stored = Pillow.fromarray(colours())
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's Transpose that EXIF takes back
    if orientation in undo:
        stored = stored.transpose(Pillow.Transpose(undo[orientation]))
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    stored.save(path, exif=exif)


def draw(folder: Path) -> dict[str, tuple[int, int]]:
    """Draw one image of each kind and return stem -> upright (H, W)."""
    folder.mkdir()
    grey = np.arange(600, dtype=np.uint16).reshape(SIZE) * 100
    rgb = Pillow.fromarray(colours())
    for orientation in range(1, 9):
        turned(folder / f"exif {orientation}.png", orientation)
    tifffile.imwrite(folder / "deep.tif", grey, photometric="minisblack")
    Pillow.fromarray(grey).save(folder / "deep16.png")
    rgb.convert("CMYK").save(folder / "cmyk.jpg")
    Pillow.merge("LA", [rgb.convert("L"), Pillow.new("L", SIZE[::-1], 200)]).save(folder / "grey.alpha.png")
    rgb.save(folder / "moving.gif", save_all=True, append_images=[Pillow.new("RGB", SIZE[::-1])] * 3)
    rgb.save(folder / "Übergröße 猫 ñ.png")
    rgb.save(folder / "a.b .c.png")
    rgb.crop((0, 0, 1, 1)).save(folder / "one.png")
    return {p.stem: (1, 1) if p.stem == "one" else SIZE for p in sorted(folder.iterdir())}


def done(job: Job) -> None:
    ending = list(run(job))[-1]
    assert isinstance(ending, Finished), ending


@pytest.fixture
def sizes(tmp_path):
    return draw(tmp_path / "images")


@pytest.fixture
def project(tmp_path, sizes):
    done(New(project=str(tmp_path / "project"), images=str(tmp_path / "images"), class_names=("cat", "dog")))
    return open_project(tmp_path / "project")


def test_every_kind_is_corrected_approved_exported_and_read_back(project, sizes, tmp_path):
    assert {s: (i.height, i.width) for s, i in project.images.items() if not i.aside} == sizes
    rng, drawn = np.random.default_rng(0), {}
    with EditRoom.open(project) as room:
        for stem, size in sizes.items():
            sheet = room.load(stem)
            assert sheet.size == size == project.read(stem).pixels.shape[:2]
            drawn[stem] = rng.choice(np.array([0, 1, 2, 255], np.uint8), size)
            room.commit(sheet, "Brush", "brush", (0, 0, *size), drawn[stem])
            room.set_state(stem, "approved")
    masks = corrected(open_project(project.root), ("approved",))
    assert masks.stems() == tuple(sorted(sizes))
    root = str(project.root)
    done(Export(project=root, labels="corrected", format="voc", out=str(tmp_path / "out")))
    done(Import(project=root, format="voc", path=str(tmp_path / "out"), name="back"))
    back = label_set(project.root, project.colours, "back")
    for stem in sizes:
        assert np.array_equal(masks.read(stem), drawn[stem]), stem
        assert np.array_equal(back.read(stem), drawn[stem]), stem


def test_an_image_of_20_000_by_20_000_pixels_is_set_aside_in_words(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    Pillow.fromarray(colours()).save(folder / "fine.png")
    Pillow.new("1", (20_000, 20_000)).save(folder / "huge.png")
    done(New(project=str(tmp_path / "project"), images=str(folder), class_names=("cat",)))
    project = open_project(tmp_path / "project")
    assert project.usable == ("fine",) and "400,000,000 pixels" in project.images["huge"].aside


def test_red_is_red_on_the_screen_and_in_the_network(project, qtbot):
    from engine.nets.input import to_input
    from engine.nets.prep import Prep

    desk = desk_of(ViewerModel())
    desk.session.open(project.root)
    try:
        for stem in ("exif 1", "exif 6", "cmyk", "moving"):
            desk.session.image = stem
            shown = desk.layers.get(PHOTOGRAPH).data
            given = to_input(project.read(stem).pixels, Prep(), long_side=SIZE[1])
            for n in range(3):
                pixel = shown[10, 10 * n + 5].astype(int)
                assert pixel.argmax() == n and pixel[n] > 150, (stem, n, pixel)
                assert int(given[:, 10, 10 * n + 5].argmax()) == n, (stem, n)
    finally:
        desk.close()
