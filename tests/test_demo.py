"""`wsss demo` and `wsss view`: the path on the bundled sample, and what is said without a screen."""

from __future__ import annotations

import functools
import importlib.util
import json
from pathlib import Path

import psutil
import pytest

from engine import display
from engine.cli import demo, main, view
from engine.messages import Train
from engine.store import Project, open_project


def test_the_demo_walks_the_path_and_keeps_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # One epoch walks the same path; what a full training reaches is shown by `make demo`.
    monkeypatch.setattr(demo, "Train", functools.partial(Train, epochs=1))
    words = ["demo", "--out", str(tmp_path / "demo"), "--no-view", "--json"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert out.count("\n") == 1
    for verb in ("new", "train", "infer", "evaluate", "label", "queue", "export"):
        assert f"$ wsss {verb} " in err
        assert told["seconds"][verb] > 0
    assert 0 <= told["miou"] <= 1 and told["screenshots"] is None
    project = open_project(told["project"])
    masks = list(Path(told["export"]).rglob("SegmentationClass/*.png"))
    assert len(masks) == len(project.usable) > 100

    assert main(words[:-1]) == 0
    out, err = capsys.readouterr()
    assert "is there from an earlier demo" in out and "is trained" in out
    assert "$ wsss train" not in out and "have these views already" in err


def test_the_demo_refuses_a_project_of_other_images(
    small_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--out", str(small_project.root.parent), "--no-view"]) == 2
    assert "other images than the bundled sample" in capsys.readouterr().err


def test_view_without_qt_names_the_install_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        view.importlib.util, "find_spec", lambda name: None if name[:4] in ("PyQt", "PySi") else found(name)
    )
    assert main(["view"]) == 2
    assert "pip install 'wsss-napari[pyqt5]'" in capsys.readouterr().err


def test_view_without_a_display_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(view, "has_display", lambda: False)
    assert main(["view"]) == 2
    assert "There is no display" in capsys.readouterr().err


def test_a_screen_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    if not display.can_imagine():
        pytest.skip("Xvfb is not installed")

    def servers() -> list[str]:
        return [c.name() for c in psutil.Process().children() if c.name() == "Xvfb"]

    before = len(servers())
    with display.imagined(640, 480) as first, display.imagined(640, 480) as second:
        assert first["DISPLAY"] != second["DISPLAY"], "two at once do not collide"
        assert len(servers()) == before + 2
    assert len(servers()) == before, "the server ends with the block"
    monkeypatch.setenv("PATH", "")
    with pytest.raises(display.UserError, match="no Xvfb"), display.imagined():
        pass
