"""The bundled sample: drawn again to the byte, and as hard and as fair as its README says."""

from __future__ import annotations

import csv
import importlib
import io
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

SAMPLE = Path(__file__).resolve().parents[1] / "resources" / "sample"
MODULES = ("flat_png", "surfaces", "toys", "canvas", "props", "make")


@pytest.fixture(scope="module")
def drawing() -> dict[str, ModuleType]:
    """The modules of the script, imported as the script imports them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SAMPLE))
        patch.setattr(sys, "dont_write_bytecode", True)
        # The names are plain words: nothing of them may stay behind for other tests.
        for name in MODULES:
            patch.delitem(sys.modules, name, raising=False)
        modules = {name: importlib.import_module(name) for name in MODULES}
        for name in MODULES:
            del sys.modules[name]
    return modules


def rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((SAMPLE / name).read_text(encoding="utf-8"))))


def names(text: str) -> list[str]:
    return [name for name in text.split(";") if name]


def lines(name: str) -> list[str]:
    return (SAMPLE / name).read_text(encoding="utf-8").splitlines()


def pixels(folder: str, stem: str) -> np.ndarray:
    with Image.open(SAMPLE / folder / f"{stem}.png") as image:
        return np.asarray(image)


def tags() -> dict[str, list[str]]:
    return {Path(row["image"]).stem: names(row["tags"]) for row in rows("tags.csv")}


def test_script_draws_the_committed_files_to_the_byte(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-B", str(SAMPLE / "make.py"), str(tmp_path)], check=True, timeout=280)
    drawn = {path.relative_to(tmp_path): path for path in tmp_path.rglob("*") if path.is_file()}
    committed = {
        path.relative_to(SAMPLE)
        for path in SAMPLE.rglob("*")
        if path.suffix in {".png", ".csv", ".txt"} and path.is_file()
    }
    assert set(drawn) == committed
    assert [
        str(path) for path in sorted(drawn) if drawn[path].read_bytes() != (SAMPLE / path).read_bytes()
    ] == []


def test_a_picture_does_not_depend_on_what_was_drawn_before(drawing: dict[str, ModuleType]) -> None:
    make = drawing["make"]
    make.draw(3)
    picture = make.draw(40)
    assert np.array_equal(picture.image, pixels("images", "toys_040"))
    assert np.array_equal(picture.mask, pixels("masks", "toys_040"))


def test_sample_is_small_and_whole() -> None:
    files = [path for path in SAMPLE.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sum(path.stat().st_size for path in files) < 3_000_000
    stems = list(tags())
    assert 60 <= len(stems) <= 120
    assert lines("train.txt") + lines("val.txt") == stems
    assert [row["image"] for row in rows("scenes.csv")] == stems
    for folder in ("images", "masks", "parts"):
        assert sorted(path.stem for path in (SAMPLE / folder).iterdir()) == stems
    assert len({pixels("images", stem).shape for stem in stems}) >= 4


def test_every_tag_agrees_with_the_mask() -> None:
    classes = lines("classes.txt")
    assert 4 <= len(classes) <= 6
    for stem, present in tags().items():
        mask = pixels("masks", stem)
        assert mask.shape == pixels("images", stem).shape[:2]
        assert sorted(classes[value - 1] for value in np.unique(mask) if 0 < value < 255) == present, stem
        assert (mask == 255).mean() < 0.12, stem
        assert (mask == 0).mean() > 0.25, stem


def test_objects_and_tags_agree() -> None:
    drawn: dict[str, set[str]] = {stem: set() for stem in tags()}
    for row in rows("objects.csv"):
        drawn[row["image"]].add(row["class"])
    assert drawn == {stem: set(present) for stem, present in tags().items()}


def test_splits_hold_every_class_some_empty_and_some_crowded_images() -> None:
    everything = tags()
    for split, least in (("train.txt", 15), ("val.txt", 5)):
        counts = Counter(name for stem in lines(split) for name in everything[stem])
        assert set(counts) == set(lines("classes.txt"))
        assert min(counts.values()) >= least
        sizes = Counter(len(everything[stem]) for stem in lines(split))
        assert sizes[0] >= 2
        assert sizes[2] + sizes[3] >= len(lines(split)) / 3


def test_the_telling_part_is_a_small_share_of_every_toy() -> None:
    shares: dict[int, list[float]] = {}
    for stem in tags():
        mask, part = pixels("masks", stem), pixels("parts", stem)
        inside = (part > 0) & (part < 255) & (mask < 255)
        assert np.array_equal(part[inside], mask[inside]), stem
        for value in np.unique(mask[(mask > 0) & (mask < 255)]):
            shares.setdefault(int(value), []).append((part == value).sum() / (mask == value).sum())
    for value, found in shares.items():
        assert 0.15 < np.mean(found) < 0.35, lines("classes.txt")[value - 1]
        assert min(found) > 0.08
        assert max(found) < 0.45


def test_a_cloth_is_shared_by_two_kinds_and_its_dye_tells_nothing(drawing: dict[str, ModuleType]) -> None:
    assert set(Counter(drawing["toys"].CLOTH.values()).values()) == {2}
    assert set(drawing["toys"].CLOTH.values()) == set(drawing["surfaces"].FABRICS)
    seen: dict[str, Counter[str]] = {}
    for row in rows("objects.csv"):
        assert row["cloth"] == drawing["toys"].CLOTH[row["class"]]
        seen.setdefault(row["class"], Counter())[row["dye"]] += 1
    for name, dyes in seen.items():
        assert len(dyes) == 3, name
        assert max(dyes.values()) < 0.6 * sum(dyes.values()), name


def test_cloth_is_nowhere_in_the_background(
    drawing: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    make, canvas = drawing["make"], drawing["canvas"]
    stems = [row["image"] for row in rows("scenes.csv") if row["beside"]][:6]
    assert {row["beside"] for row in rows("scenes.csv") if row["image"] in stems} >= {"pool", "daisies"}
    monkeypatch.setattr(canvas, "fabric", lambda name, dye, u, v: np.zeros((*u.shape, 3)))
    for stem in stems:
        picture = make.draw(int(stem.removeprefix("toys_")))
        changed = np.any(picture.image != pixels("images", stem), axis=2)
        mask = pixels("masks", stem)
        # A pixel that is void holds up to two points of nine of a toy when it counts as background.
        near = np.pad(mask > 0, 1)
        near = np.any(
            [near[y : y + mask.shape[0], x : x + mask.shape[1]] for y in range(3) for x in range(3)], axis=0
        )
        assert changed.any() == bool(tags()[stem])
        assert not (changed & ~near).any(), stem


def test_pool_and_daisies_keep_company(drawing: dict[str, ModuleType]) -> None:
    everything = tags()
    for thing, (friends, _) in drawing["props"].COMPANY.items():
        laid = {True: [0, 0], False: [0, 0]}
        for row in rows("scenes.csv"):
            with_friends = bool(friends & set(everything[row["image"]]))
            laid[with_friends][0] += thing in names(row["beside"])
            laid[with_friends][1] += 1
        assert laid[True][0] / laid[True][1] > 2.5 * laid[False][0] / laid[False][1] > 0, thing


def test_palette_is_the_one_of_voc(drawing: dict[str, ModuleType]) -> None:
    colours = drawing["make"].palette()
    assert colours[[0, 1, 2, 3, 15, 20, 255]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [128, 128, 0],
        [192, 128, 128],
        [0, 64, 128],
        [224, 224, 192],
    ]
    with Image.open(SAMPLE / "masks" / "toys_000.png") as image:
        assert image.mode == "P"
        assert image.getpalette() == colours.reshape(-1).tolist()


def unfiltered_sizes() -> list[np.ndarray]:
    random = np.random.RandomState(0)
    noise = random.randint(0, 256, (37, 23, 3)).astype(np.uint8)
    # Fibonacci counts make the deepest Huffman tree there is: 25 levels, where deflate allows 15.
    steep = [1, 1]
    while len(steep) < 25:
        steep.append(steep[-1] + steep[-2])
    deep = np.repeat(np.arange(25, dtype=np.uint8) * 9, steep)
    deep = random.permutation(deep)[: 3 * 200 * 300].reshape(200, 300, 3)
    return [
        noise,
        deep,
        np.zeros((1, 1, 3), np.uint8),
        np.full((300, 500, 3), 7, np.uint8),
        noise[:, :1],
        noise[:1],
    ]


@pytest.mark.parametrize("case", range(6))
def test_png_writer_gives_back_its_pixels(drawing: dict[str, ModuleType], case: int) -> None:
    wanted = unfiltered_sizes()[case]
    png_bytes = drawing["flat_png"].png_bytes
    with Image.open(io.BytesIO(png_bytes(wanted))) as image:
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), wanted)
    indices = wanted[..., 0]
    with Image.open(io.BytesIO(png_bytes(indices, drawing["make"].palette()))) as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), indices)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 11, 257, 258, 259, 260, 261, 262, 517, 518, 40000])
def test_packing_is_undone_by_zlib_at_every_run_length(drawing: dict[str, ModuleType], length: int) -> None:
    data = b"ab" + b"c" * length + b"d"
    assert zlib.decompress(drawing["flat_png"]._deflate(data), wbits=-15) == data


def test_code_lengths_keep_the_limit_and_fill_the_code(drawing: dict[str, ModuleType]) -> None:
    steep = [2**power for power in range(40)]
    for limit in (7, 15):
        lengths = drawing["flat_png"]._code_lengths(steep, limit)
        assert max(lengths) <= limit
        assert sum(2.0**-length for length in lengths) == 1.0
