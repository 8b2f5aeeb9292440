"""What every test may ask for: the real data, and a small project of drawn images."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

os.environ.setdefault("NAPARI_ASYNC", "0")
os.environ.setdefault("QT_API", "pyqt5")
# A person's own weights must not decide a test.
os.environ.pop("WSSS_WEIGHTS", None)

# Mesa's software GL and triton, which torch imports, each bring an LLVM into the process. When a window was drawn
# first, loading triton's ends in a segmentation fault; the other way round both live.
if importlib.util.find_spec("triton") is not None:
    importlib.import_module("triton")

_SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def shared_data() -> Path:
    """The folder shared/data with real photographs and weights."""
    if not _SHARED.is_dir():
        pytest.skip("shared/data is not beside this checkout")
    return _SHARED


def draw_images(folder: Path, truth: Path, count: int, seed: int = 0) -> dict[str, list[str]]:
    """Draw `count` images of 64 x 48 px with squares of three colours, and their masks; return the tags."""
    rng = np.random.default_rng(seed)
    colours = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 60, 220)}
    folder.mkdir(parents=True, exist_ok=True)
    truth.mkdir(parents=True, exist_ok=True)
    tags: dict[str, list[str]] = {}
    for n in range(count):
        pixels = rng.integers(90, 160, (48, 64, 3)).astype(np.uint8)
        mask = np.zeros((48, 64), np.uint8)
        names = (
            sorted({list(colours)[n % 3], list(colours)[(n * 2 + 1) % 3]})
            if n % 3
            else [list(colours)[n % 3]]
        )
        for k, name in enumerate(names):
            y, x = int(rng.integers(2, 26)), int(rng.integers(2, 12)) + 32 * k
            pixels[y : y + 20, x : x + 18] = np.clip(
                np.array(colours[name]) + rng.integers(-20, 20, (20, 18, 3)), 0, 255
            )
            mask[y : y + 20, x : x + 18] = list(colours).index(name) + 1
        stem = f"im_{n:03d}"
        Pillow.fromarray(pixels).save(folder / f"{stem}.png")
        Pillow.fromarray(mask).save(truth / f"{stem}.png")
        tags[stem] = names
    return tags


@pytest.fixture
def small_project(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A project of six drawn images, three classes, truth masks, and splits train and val."""
    from engine.messages import New
    from engine.run import run

    tags = draw_images(tmp_path / "images", tmp_path / "truth", 6)
    lines = ["image,tags"] + [f"{stem},{';'.join(names)}" for stem, names in tags.items()]
    (tmp_path / "tags.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "classes.txt").write_text("red\ngreen\nblue\n")
    (tmp_path / "train.txt").write_text("\n".join(list(tags)[:4]) + "\n")
    (tmp_path / "val.txt").write_text("\n".join(list(tags)[4:]) + "\n")
    job = New(
        project=str(tmp_path / "project"),
        images=str(tmp_path / "images"),
        tags=str(tmp_path / "tags.csv"),
        classes=str(tmp_path / "classes.txt"),
        truth=str(tmp_path / "truth"),
        split=(f"train={tmp_path / 'train.txt'}", f"val={tmp_path / 'val.txt'}"),
    )
    ending = list(run(job))[-1]
    from engine.messages import Finished

    assert isinstance(ending, Finished), ending
    from engine.store import open_project

    return open_project(tmp_path / "project")


@pytest.fixture
def correct_page(request: pytest.FixtureRequest, qtbot: Any) -> Iterator[Any]:
    """The Correct page on the module's `project`, beside a viewer without a window; what was said is in `told`."""
    from napari.components import ViewerModel

    from wsss_napari.desk import desk_of
    from wsss_napari.pages.correct import CorrectPage

    desk = desk_of(ViewerModel())
    told: list[str] = []
    desk.session.said.disconnect(desk.said)
    desk.session.said.connect(lambda _level, text: told.append(text))
    desk.said = lambda _level, text: told.append(text)
    desk.session.open(request.getfixturevalue("project").root)
    page = CorrectPage(desk)
    page.told = told
    qtbot.addWidget(page)
    desk.keys.page = "correct"
    page.show()
    page.enter()
    yield page
    page.leave()
    desk.close()
