"""The examples of the Python API run as they stand, on images of the bundled sample."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import engine
from engine.resources import resource

EXAMPLES = sorted(resource("examples").glob("*.py"))


def play(name: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = resource(f"examples/{name}.py")
    monkeypatch.setattr(sys, "argv", [str(path), *words])
    runpy.run_path(str(path), run_name="__main__")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of twelve images of the sample, with truth."""
    folder = tmp_path_factory.mktemp("examples")
    sample = resource("sample")
    lines = (sample / "tags.csv").read_text(encoding="utf-8").splitlines()
    (folder / "images").mkdir()
    for line in lines[1:13]:
        shutil.copy(sample / "images" / line.partition(",")[0], folder / "images")
    (folder / "tags.csv").write_text("\n".join(lines[:13]) + "\n", encoding="utf-8")
    job = engine.New(
        project=str(folder / "project"),
        images=str(folder / "images"),
        tags=str(folder / "tags.csv"),
        classes=str(sample / "classes.txt"),
        truth=str(sample / "masks"),
    )
    assert engine.do(job)["images"] == 12
    return folder / "project"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_an_example_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 30


def test_every_example_is_played_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert len(EXAMPLES) >= 5
    for path in EXAMPLES:
        assert f'play("{path.stem}"' in text


def test_open_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    play("open_a_project", [str(tmp_path / "new")], monkeypatch)
    out = capsys.readouterr().out
    assert "wsss new" in out and "1 unknown" in out
    assert engine.open_project(tmp_path / "new").classes


def test_train_look_label_export(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    play("train_and_look", [str(place), "1"], monkeypatch)
    out = capsys.readouterr().out
    assert "Started" in out and "Finished" in out
    project = engine.open_project(place)
    assert len(engine.source_of(project.root, "cam").stems()) == 3

    stem, cls = project.usable[0], project.classes[project.tags().present(project.usable[0])[0]]
    play("climb_one_image", [str(place), "cam", stem, cls], monkeypatch)
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        f"step {n}" for n in range(4)
    ]

    play("label_and_export", [str(place), "cam", str(tmp_path / "voc")], monkeypatch)
    out = capsys.readouterr().out
    assert "mIoU" in out and "Objects: there are no boxes" in out
    assert len(list((tmp_path / "voc").rglob("SegmentationClass/*.png"))) == 3


def test_stop_and_resume(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    play("stop_and_resume", [str(place)], monkeypatch)
    assert capsys.readouterr().out.splitlines()[-2:] == ["stopped", "finished"]


def test_a_mistake_raises_and_nothing_is_printed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(engine.UserError, match="no labels 'nosuch'"):
        engine.do(engine.Evaluate(project=str(place), labels="nosuch"))
    assert capsys.readouterr() == ("", "")


def test_all_names_are_there() -> None:
    for name in engine.__all__:
        assert getattr(engine, name) is not None
    assert set(engine.__all__) <= set(dir(engine))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        engine.trian  # noqa: B018


def test_importing_the_engine_imports_no_torch() -> None:
    code = "import sys, engine; engine.Train, engine.open_project; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_resources_stay_inside() -> None:
    assert (resource("sample") / "make.py").is_file()
    for name in ("../pyproject.toml", "/etc/passwd"):
        with pytest.raises(ValueError, match="leads out"):
            resource(name)
    with pytest.raises(engine.UserError, match="nosuch"):
        resource("nosuch")
