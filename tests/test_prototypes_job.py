"""The job that keeps what prototypes are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from engine.images import digest
from engine.messages import Failed, Finished, Prototypes, Train, Viewed
from engine.passage import Choice, pass_through
from engine.results import PrototypeBank, PrototypeView, image_key
from engine.run import run
from engine.store import Image, Project, create, run_of
from engine.tags import Tags

PLAN: dict[str, Any] = {"epochs": 3, "batch": 4, "crop": 64, "threads": 1}
SMALL = {"backbone": "tiny_cnn", "pretrained": False, "dim": 24, "length": 20, "clusters": 4, "neighbours": 2}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Eight pictures of red or blue squares, and a run `aware` that learnt from all of them (alpha = 0)."""
    folder = tmp_path_factory.mktemp("protos")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    images, states = [], []
    for n in range(8):
        pixels = rng.integers(90, 130, (72, 64, 3)).astype(np.uint8)
        pixels[20:50, 16:46] = (200, 40, 40) if n % 2 else (40, 40, 200)
        file = folder / "images" / f"i{n}.png"
        Pillow.fromarray(pixels).save(file)
        images.append(Image(f"i{n}", file.name, 72, 64, sha256=digest(file)))
        states.append([n % 2, 1 - n % 2])
    tags = Tags(("red", "blue"), tuple(i.stem for i in images), np.array(states, np.int8))
    made = create(folder / "project", images=images, image_folder=folder / "images", tags=tags)
    job = Train(project=str(made.root), method="cpal", run="aware", settings={**SMALL, "alpha": 0.0}, **PLAN)
    assert isinstance(list(run(job))[-1], Finished)
    cam = {"backbone": "tiny_cnn", "pretrained": False}
    assert isinstance(
        list(run(Train(project=str(made.root), method="cam", run="plain", settings=cam, **PLAN)))[-1],
        Finished,
    )
    return made


def test_one_pass_is_kept_and_read_without_torch(project: Project) -> None:
    job = Prototypes(project=str(project.root), run="aware", images=("i1", "i2"), threads=1)
    events = list(run(job))
    assert isinstance(events[-1], Finished) and events[-1].result["images"] == 2
    paths = [project.root / e.path for e in events if isinstance(e, Viewed)]
    assert [p.parent.name for p in paths] == ["i1", "i2"]
    view = PrototypeView.load(paths[0])
    assert view.classes == (0, 1) and view.size == (72, 64) and view.features.shape[0] == 24
    assert view.features.shape[1:] == (9, 8) and view.cell == 8
    before = [p.stat().st_mtime_ns for p in paths]
    assert isinstance(list(run(job))[-1], Finished)
    assert [p.stat().st_mtime_ns for p in paths] == before, "what is there stays"
    bank = PrototypeBank.load(run_of(project.root, "aware").weights)
    assert bank.filled.tolist() == [10, 10] or (bank.filled > 0).all()
    known = {image_key(s) for s in project.usable}
    for cls, count in enumerate(bank.filled):
        sources = set(bank.keys[cls, :count].tolist())
        own = {image_key(s) for s in project.usable if cls in project.tags().present(s)}
        assert sources <= own <= known, "every row knows the image it comes from, and it shows the class"
    assert (bank.count > 0).all()
    found = pass_through(view, bank, 0, Choice(neighbours=2))
    assert found is not None and len(found.order) == 2 and found.aware.max() > 0.99


def test_other_runs_are_refused_in_words(project: Project) -> None:
    ending = list(run(Prototypes(project=str(project.root), run="plain", threads=1)))[-1]
    assert isinstance(ending, Failed) and ending.mistake and "support bank" in ending.message


def test_a_picture_that_is_gone_is_passed_over(project: Project, tmp_path: Path) -> None:
    path = project.path("i5")
    away = tmp_path / path.name
    path.rename(away)
    try:
        ending = list(
            run(Prototypes(project=str(project.root), run="aware", images=("i5", "i6"), threads=1))
        )[-1]
    finally:
        away.rename(path)
    assert (
        isinstance(ending, Finished)
        and ending.result["passed_over"] == ["i5"]
        and ending.result["images"] == 1
    )
