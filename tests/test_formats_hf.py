"""The Hugging Face folder: out, back, read by `datasets` itself, and the traps of the format."""

from __future__ import annotations

import json
import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from engine.atomic import new_folder
from engine.colours import rgb_of
from engine.errors import UserError
from engine.formats import Labelled, format_named

MADE = runpy.run_path(str(Path(__file__).with_name("fake_labelled.py")))
CLASSES, COLOURS, SPLITS, sizes = MADE["CLASSES"], MADE["COLOURS"], MADE["SPLITS"], MADE["sizes"]


@pytest.fixture
def items(tmp_path: Path) -> list[Labelled]:
    return MADE["drawn"](tmp_path / "images")


@pytest.fixture
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The library, which is told to ask nobody and to keep its copies here."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = pytest.importorskip("datasets")
    monkeypatch.setattr(found.config, "HF_DATASETS_OFFLINE", True)
    monkeypatch.setattr(found.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    found.disable_progress_bars()
    return found


def _write(out: Path, items: list[Labelled], splits: Mapping[str, Sequence[str]] = SPLITS) -> list[str]:
    with new_folder(out) as folder:
        return format_named("hf").write(folder, items, CLASSES, COLOURS, splits)


def _rows(table: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in table.read_text("utf-8").splitlines()]


def test_what_is_written(items: list[Labelled], tmp_path: Path) -> None:
    lost = _write(tmp_path / "out", items)
    # the metadata lies in the folder of its split: `datasets` looks nowhere else
    tables = {p.parent.name: _rows(p) for p in (tmp_path / "out").rglob("metadata.jsonl")}
    assert {name: [r["stem"] for r in rows] for name, rows in tables.items()} == {
        "train": ["a_1", "größe 2", "empty"],
        "validation": ["c.3", "turned"],
        "rest": ["void"],
    }
    for split, rows in tables.items():
        for row in rows:
            item = next(i for i in items if i.stem == row["stem"])
            with Pillow.open(tmp_path / "out" / split / row["mask_file_name"]) as mask:
                assert mask.mode == "P"
                np.testing.assert_array_equal(np.array(mask), item.mask)
                assert tuple(mask.getpalette()[3:6]) == rgb_of(COLOURS[0])
            with Pillow.open(tmp_path / "out" / split / row["file_name"]) as photo:
                assert photo.size == item.mask.shape[::-1]
            # a file that no metadata lists would vanish without a word
            assert len(list((tmp_path / "out" / split / "images").iterdir())) == len(rows)
    assert tables["train"][0] == {
        "file_name": "images/a_1.jpg",
        "mask_file_name": "masks/a_1.png",
        "stem": "a_1",
        "classes": ";".join(CLASSES),
        "splits": "train;fold_1",
    }
    meaning = json.loads((tmp_path / "out" / "id2label.json").read_text("utf-8"))
    assert meaning == {"0": "background", "1": CLASSES[0], "2": CLASSES[1], "3": CLASSES[2], "255": "unsure"}
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "Do not convert them to RGB" in card and "255" in card
    for part in ("2 image(s) are in several splits", "val as validation", "'rest'", "passes over", "fold_1"):
        assert any(part in line for line in lost), part


def test_datasets_loads_every_image_and_every_value(
    items: list[Labelled], tmp_path: Path, datasets: Any
) -> None:
    _write(tmp_path / "out", items)
    loaded = datasets.load_dataset(str(tmp_path / "out"))
    assert {name: part.num_rows for name, part in loaded.items()} == {"train": 3, "validation": 2, "rest": 1}
    seen = set()
    for part in loaded.values():
        assert isinstance(part.features["image"], datasets.Image)
        assert isinstance(part.features["mask"], datasets.Image), "no split of images and masks as classes"
        for row in part:
            item = next(i for i in items if i.stem == row["stem"])
            assert row["mask"].mode == "P"
            np.testing.assert_array_equal(np.array(row["mask"]), item.mask)
            assert row["image"].size == item.mask.shape[::-1]
            seen.add(item.stem)
    assert seen == {i.stem for i in items}
    # the other way to load it knows only its own names of splits, as the loss report says
    by_name = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "out"))
    assert {name: part.num_rows for name, part in by_name.items()} == {"train": 3, "validation": 2}


def test_masks_keep_their_palette_and_are_no_luminance(items: list[Labelled], tmp_path: Path) -> None:
    _write(tmp_path / "out", items)
    with Pillow.open(tmp_path / "out" / "train" / "masks" / "a_1.png") as mask:
        assert set(np.unique(np.array(mask.convert("L")))) != {0, 1, 2, 3, 255}, "why the card warns of it"
        assert set(np.unique(np.array(mask))) == {0, 1, 2, 3, 255}


@pytest.mark.parametrize(
    ("splits", "places", "says"),
    [
        ({}, {"train": 6}, "no split 'train'"),
        ({"val": ["c.3"]}, {"train": 5, "validation": 1}, "no split 'train'"),
        ({"train": ["a_1"], "rest": ["c.3"]}, {"train": 1, "rest_": 1, "rest": 4}, "rest as rest_"),
        ({"train": ["a_1"], "fold-1": ["c.3"], "fold.1": ["void"]}, {"train": 1, "fold_1": 1, "fold_1_": 1, "rest": 3}, "fold-1 as fold_1"),
        ({"train": ["a_1"], "all": ["a_1", "c.3"]}, {"train": 1, "all_": 1, "rest": 4}, "several splits"),
        ({"train": ["a_1"], "same": ["a_1"], "none": ["x"]}, {"train": 1, "rest": 5}, "have no folder: same."),
    ],
)  # fmt: skip
def test_every_image_has_one_split(
    splits: dict[str, list[str]], places: dict[str, int], says: str, items: list[Labelled], tmp_path: Path
) -> None:
    lost = _write(tmp_path / "out", items, splits)
    counts = {p.parent.name: len(_rows(p)) for p in (tmp_path / "out").rglob("metadata.jsonl")}
    assert counts == places
    assert any(says in line for line in lost)
    incoming = format_named("hf").read(tmp_path / "out", sizes(items), CLASSES)
    assert len(incoming.stems) == 6


def test_folders_of_others(tmp_path: Path) -> None:
    Pillow.fromarray(np.array([[0, 1, 2, 255]], np.uint8)).save(tmp_path / "m.png")
    (tmp_path / "metadata.csv").write_text("file_name,mask_file_name,note\na.jpg,m.png,\n")
    read = format_named("hf").read
    incoming = read(tmp_path, {"a": (1, 4)}, CLASSES)
    assert dict(incoming.items)["a"].tolist() == [[0, 1, 2, 255]] and "no id2label.json" in incoming.notes[0]
    (tmp_path / "id2label.json").write_text('{"2": "cat", "0": "wall", "1": "sky"}')
    incoming = read(tmp_path, {"a": (1, 4)}, CLASSES)
    assert dict(incoming.items)["a"].tolist() == [[0, 0, 1, 255]]
    assert incoming.notes == ("Classes that the project lacks become background: wall, sky.",)
    (tmp_path / "id2label.json").write_text('{"0": "wall", "1": "sky"}')
    with pytest.raises(UserError, match=r"m\.png holds the index 2"):
        list(read(tmp_path, {"a": (1, 4)}, CLASSES).items)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"file_name": "a.jpg", "mask_file_name": "../secret.png"}', "line 1.*no path inside"),
        ('{"file_name": "a.jpg", "mask_file_name": "/etc/passwd"}', "no path inside"),
        ('{"file_name": "a.jpg", "mask_file_name": "..\\\\secret.png"}', "no path inside"),
        ('{"file_name": "a.jpg", "mask_file_name": ""}', "no path inside"),
        ('{"file_name": "a.jpg", "mask_file_name": "link.png"}', "leads out"),
        ('{"file_name": "a.jpg", "mask_file_name": "none.png"}', "does not exist"),
        ('{"file_name": "a.jpg", "mask_file_name": 3}', "line 1: there is no text"),
        ('\n{"file_name": "a.jpg"}', "line 2: there is no text"),
        ('{"file_name": "a.jpg", "mask_file_name": "m.png"}\n[1]', "line 2: there is no text"),
        ('{"file_name": "a.jpg", "mask_file_name": "m.png"}\n{"file_name": "b/a.png", "mask_file_name": "m.png"}', "line 2: there is a mask"),
        ('{"file_name": "z.jpg", "mask_file_name": "m.png"}', "lists no image"),
        ('{"file_name": "a.jpg", "mask_file_name": "m.png", "x": NaN}', "NaN"),
        ('{"a": 1, "a": 2}', "twice"),
        ('{"a": 1},{"a": 2}', "more or fewer objects"),
        ('{"a": 1]\n[2}', "line 1"),
        ('{"a": 1', "line 1"),
        ("", "empty"),
    ],
)  # fmt: skip
def test_wrong_metadata_is_refused_in_words(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    folder = tmp_path / "in"
    folder.mkdir()
    Pillow.fromarray(np.zeros((1, 4), np.uint8)).save(folder / "m.png")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "metadata.jsonl").write_text(text)
    with pytest.raises(UserError, match=r"(?s)" + says):
        list(format_named("hf").read(folder, {"a": (1, 4)}, CLASSES).items)


@pytest.mark.parametrize(
    "text", ["[]", '{"1": "cat"}', '{"0": 1}', '{"0": "a", "2": "b"}', '{"a": "b"}', '{"255": "x"}', "{" * 9]
)
def test_wrong_class_names_are_refused(text: str, items: list[Labelled], tmp_path: Path) -> None:
    _write(tmp_path / "out", items[:1])
    (tmp_path / "out" / "id2label.json").write_text(text)
    with pytest.raises(UserError, match=r"id2label\.json"):
        format_named("hf").read(tmp_path / "out", sizes(items), CLASSES)
