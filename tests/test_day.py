"""A person's whole day in the real window with the real engine, on a piece of the bundled sample."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt

from engine.labels import apply, best_class
from engine.messages import Climb, Evaluate, Export, Infer, Label, New, Refine, Train
from engine.resources import resource
from engine.results import CamStack
from engine.store import label_set, open_project, runs_of
from engine.tags import PRESENT
from wsss_napari.dock import MainDock

IMAGES = 8
# A child process that imports torch for the first time on a busy machine takes its time.
PATIENCE = 180_000


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """The first images of the sample, and their truth, in a folder of the person's own."""
    sample = resource("sample")
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for file in sorted((sample / folder).glob("*.png"))[:IMAGES]:
            shutil.copy(file, tmp_path / folder / file.name)
    return tmp_path


def sample_tags() -> dict[str, list[str]]:
    lines = (resource("sample") / "tags.csv").read_text(encoding="utf-8").splitlines()[1:]
    rows = [line.split(",") for line in lines[:IMAGES]]
    return {Path(name).stem: [t for t in tags.split(";") if t] for name, tags in rows}


@pytest.mark.timeout(600)
def test_a_whole_day(photographs, make_napari_viewer_proxy, qtbot):
    viewer = make_napari_viewer_proxy()
    dock = MainDock(viewer)
    qtbot.addWidget(dock)
    dock.resize(400, 900)
    dock.show()
    assert not viewer.layers, "opening the dock changes nothing in the viewer"
    session = dock.session

    def finished(kind: type[Any], count: int = 1) -> None:
        def done() -> bool:
            lines = [j for j in dock.desk.engine.jobs if isinstance(j.job, kind)]
            assert not [j.log for j in lines if j.state == "failed"]
            return len([j for j in lines if j.state == "finished"]) >= count

        qtbot.waitUntil(done, timeout=PATIENCE)

    # Morning: a new project of a folder of images, no tags yet.
    classes = (resource("sample") / "classes.txt").read_text(encoding="utf-8").split()
    tags = dock.turn_to("tags")
    tags.ask_new([photographs / "images"])
    tags.new.classes.setText(", ".join(classes))
    tags.new.truth.set_text(str(photographs / "masks"))
    qtbot.mouseClick(tags.new.create, Qt.MouseButton.LeftButton)
    finished(New)
    qtbot.waitUntil(lambda: session.project is not None)
    assert session.project.classes == tuple(classes) and len(session.stems) == IMAGES

    # Tag each image with the digit keys.
    for stem, names in sample_tags().items():
        session.jump(stem)
        for name in names:
            qtbot.keyClick(dock, Qt.Key(Qt.Key.Key_1 + classes.index(name)))
    states = session.project.tags().states
    assert (states == PRESENT).sum() == sum(map(len, sample_tags().values()))

    # Train something small.
    train = dock.turn_to("train")
    qtbot.waitUntil(lambda: train.form is not None, timeout=PATIENCE)
    assert "cam" in train.cards.names
    train.form.set_values(
        {
            "backbone": "tiny_cnn",
            "pretrained": False,
            "epochs": 2,
            "batch": 4,
            "crop": 64,
            "device": "cpu",
        }
    )
    assert train.start_button.isEnabled(), train.start_button.toolTip()
    qtbot.mouseClick(train.start_button, Qt.MouseButton.LeftButton)
    finished(Train)
    (run,) = runs_of(session.project.root)
    assert run.status == "finished" and session.run == run.id
    assert len(train.curves.data.runs[run.id]["tags"].steps) >= 1
    qtbot.waitUntil(lambda: train.runs.table.rowCount() == 1)

    # Look at what it learnt: one image first, then all.
    explore = dock.turn_to("explore")
    session.jump("toys_001")
    qtbot.mouseClick(explore.panel.draw_one, Qt.MouseButton.LeftButton)
    finished(Infer)
    qtbot.waitUntil(lambda: explore.view is not None, timeout=PATIENCE)
    stack = CamStack.load(run.views().path("toys_001"))
    assert [classes[c] for c in stack.classes] == sorted(sample_tags()["toys_001"], key=classes.index)
    session.jump("toys_002")
    assert explore.view is None
    explore.panel.draw_all.click()
    finished(Infer, 2)
    qtbot.waitUntil(lambda: explore.view is not None)

    # Drag the threshold with the keys; the mask follows.
    before = dock.desk.layers.get("mask").data.copy()
    explore.panel.rule.histogram.setFocus()
    for _ in range(4):
        qtbot.keyClick(explore.panel.rule.histogram, Qt.Key.Key_PageUp)
    rule = explore.panel.rule.rule
    assert rule.value == pytest.approx(0.6)
    assert not np.array_equal(dock.desk.layers.get("mask").data, before)

    # Make labels of all images with it.
    explore.panel.use.click()
    explore.panel.labels.name.setText("evening")
    qtbot.mouseClick(explore.panel.labels.go, Qt.MouseButton.LeftButton)
    finished(Label)
    labels = label_set(session.project.root, session.project.colours, "evening")
    assert len(labels.stems()) == IMAGES
    stack = CamStack.load(run.views().path("toys_002"))
    best, which = best_class(stack.full())
    np.testing.assert_array_equal(labels.read("toys_002"), apply(rule, best, which, stack.classes))

    # Watch the evidence for a class grow, go on from a step, and take a step as the label of this image.
    session.cls = stack.classes[0]
    climb = dock.turn_to("climb")
    qtbot.waitUntil(lambda: climb.work.form is not None and not dock.desk.working, timeout=PATIENCE)
    climb.work.form.set_values({"steps": 3, "step": 6.0, "scales": (1.0,)})
    qtbot.mouseClick(climb.panel.start, Qt.MouseButton.LeftButton)
    finished(Climb)
    qtbot.waitUntil(lambda: climb.view is not None and climb.view.last == 3)
    assert climb.step == 0, "a climb opens at its start"
    climb.go(2)
    qtbot.mouseClick(climb.panel.again, Qt.MouseButton.LeftButton)
    finished(Climb, 2)
    qtbot.waitUntil(lambda: climb.view.leaf.parent is not None)
    assert climb.view.leaf.at == 2 and len(climb.climbs) == 2
    climb.panel.use.click()
    qtbot.mouseClick(climb.panel.label.go, Qt.MouseButton.LeftButton)
    finished(Label, 2)
    climbed = label_set(session.project.root, session.project.colours, "climbed")
    assert climbed.stems() == ("toys_002",)
    assert set(np.unique(climbed.read("toys_002"))) <= {0, *(c + 1 for c in stack.classes)}

    # Refine the maps of the image in front with the card that is there, and keep its stages.
    refine = dock.turn_to("refine")
    qtbot.waitUntil(refine.panel.one.isEnabled)
    qtbot.mouseClick(refine.panel.one, Qt.MouseButton.LeftButton)
    finished(Refine)
    qtbot.waitUntil(lambda: len(refine.boxes) == 1)
    qtbot.waitUntil(lambda: not refine.busy)
    (box,) = refine.boxes
    assert box.refiner == "crf" and box.views.stems("refine") == (session.image,)
    assert CamStack.load(box.views.path(session.image)).background is not None
    drawn = [layer.name for layer in viewer.layers]
    assert f"{session.image} · changed" in drawn, drawn

    # Measure and export them.
    export = dock.turn_to("export")
    export.measure.what.setCurrentIndex(export.measure.what.findData("labels:evening"))
    qtbot.mouseClick(export.measure.go, Qt.MouseButton.LeftButton)
    finished(Evaluate)
    qtbot.waitUntil(lambda: export.measure.result is not None)
    assert 0 < export.measure.result["miou"] < 1
    export.what.setCurrentIndex(export.what.findData("evening"))
    out = Path(export.folder.line.text())
    qtbot.mouseClick(export.export_button, Qt.MouseButton.LeftButton)
    finished(Export)
    qtbot.waitUntil(lambda: export.done.isVisible())
    assert len(list(out.rglob("SegmentationClass/*.png"))) == IMAGES

    # Evening: close. Next morning everything is where it was.
    root = session.project.root
    session.close()
    assert not [layer for layer in viewer.layers if "wsss" in layer.metadata]
    session.open(root)
    assert session.run == run.id
    dock.turn_to("explore")
    assert explore.view is not None and explore.view.stack.image == session.image
    again = open_project(root)
    assert (again.tags().states == PRESENT).sum() == (states == PRESENT).sum()
    dock.desk.close()
