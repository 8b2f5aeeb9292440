"""The job `refine` and the training of what it walks with, on drawn squares: whole, resumable, in words."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from engine.cli import main
from engine.images import digest
from engine.messages import (
    Failed,
    Finished,
    Infer,
    Label,
    Metrics,
    Refine,
    Said,
    Stopped,
    Train,
    Viewed,
)
from engine.results import CamStack, InstanceSet, RefineTrace
from engine.run import run
from engine.store import Image, Project, create, run_of, source_of
from engine.store.runs import new_run
from engine.tags import Tags

SMALL = {"backbone": "tiny_cnn", "pretrained": False, "seeds": "cam"}
SIZE = (48, 64)


def square(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a grey picture with a red or a green square, and its mask."""
    rng = np.random.default_rng(n)
    picture = np.full((*SIZE, 3), 120, np.uint8) + rng.integers(0, 20, (*SIZE, 3)).astype(np.uint8)
    mask = np.zeros(SIZE, np.uint8)
    y, x = rng.integers(4, 20), rng.integers(4, 32)
    part = np.s_[y : y + 24, x : x + 24]
    picture[part] = (200, 40, 40) if n % 2 else (40, 200, 40)
    mask[part] = 1 + n % 2
    return picture, mask


@pytest.fixture
def squares(tmp_path: Path) -> Project:
    """Six squares with a run `cam` whose maps cover the middle of each, as a classifier's do."""
    (tmp_path / "i").mkdir()
    (tmp_path / "t").mkdir()
    images, states, masks = [], [], []
    for n in range(6):
        picture, mask = square(n)
        file = tmp_path / "i" / f"i{n}.png"
        Pillow.fromarray(picture).save(file)
        Pillow.fromarray(mask).save(tmp_path / "t" / f"i{n}.png")
        images.append(Image(f"i{n}", file.name, *SIZE, sha256=digest(file)))
        # The last image has no tag and so no map.
        states.append([int(n % 2 == 0 and n < 5), int(n % 2 == 1 and n < 5)])
        masks.append(mask)
    project = create(
        tmp_path / "p",
        images=images,
        image_folder=tmp_path / "i",
        tags=Tags(("green", "red"), tuple(f"i{n}" for n in range(6)), np.array(states, np.int8)),
    )
    source = new_run(
        project.root, "cam", "cam", {"method": "cam", "classes": ["green", "red"], "status": "finished"}
    )
    views = source.views()
    for n, mask in enumerate(masks):
        classes = (n % 2,) if n < 5 else ()
        inside = np.argwhere(mask > 0)
        middle = inside.mean(0)
        grid = np.stack(np.meshgrid(np.arange(12) * 4, np.arange(16) * 4, indexing="ij"), -1)
        heat = np.exp(-(((grid - middle) / 12) ** 2).sum(-1))
        CamStack(
            image=f"i{n}",
            size=SIZE,
            classes=classes,
            maps=np.repeat(heat[None], len(classes), 0).astype(np.float16),
            peaks=np.ones(len(classes), np.float32),
            cell=4.0,
            origin=0.0,
            scores=np.zeros(2, np.float32),
            facts={"digest": f"d{n}"},
        ).save(views.path(f"i{n}"))
    (views.folder / "views.json").write_text(json.dumps({"method": "cam", "kinds": ["cams"], "run": "cam"}))
    return project


def job(project: Project, refiner: str, **given: Any) -> list[Any]:
    values = {"source": "cam", "threads": 1, **given}
    return list(run(Refine(project=str(project.root), refiner=refiner, **values)))


def teach(project: Project, name: str, stop: Any = lambda: False, **given: Any) -> list[Any]:
    settings = {**SMALL, **given.pop("settings", {})}
    values = {"epochs": 2, "batch": 3, "crop": 48, "threads": 1, "split": "all", **given}
    return list(run(Train(project=str(project.root), method=name, settings=settings, **values), stop))


def overlap(project: Project, stem: str, views: Any) -> float:
    """Return the IoU of the square in the mask that a refined stack gives by its argmax."""
    stack = CamStack.load(views.path(stem))
    truth = square(int(stem[1:]))[1] > 0
    found = stack.full()[0] > stack.full_background()
    return float((found & truth).sum() / (found | truth).sum())


@pytest.mark.parametrize("refiner", ["crf", "par"])
def test_a_refinement_is_a_new_box_with_background_scores(squares: Project, refiner: str) -> None:
    events = job(squares, refiner)
    ending = events[-1]
    assert isinstance(ending, Finished), ending
    assert ending.result["run"] == f"cam-{refiner}" and ending.result["views"] == f"cam-{refiner}/default"
    assert (
        ending.result["images"] == 6
        and ending.result["kept"] == 0
        and ending.result["source"] == "cam/default"
    )
    assert {e.kind for e in events if isinstance(e, Viewed)} == {"cams"}
    box = run_of(squares.root, f"cam-{refiner}")
    assert box.is_refinement and box.status == "finished" and not box.weights.exists()
    assert box.views().facts["source"] == "cam/default" and not run_of(squares.root, "cam").is_refinement
    for stem in squares.usable:
        stack = CamStack.load(box.views().path(stem))
        assert stack.background is not None and stack.size == SIZE
        assert (
            np.isfinite(stack.maps).all()
            and stack.maps.min(initial=0) >= 0
            and stack.maps.max(initial=0) <= 1
        )
    assert CamStack.load(box.views().path("i5")).classes == ()
    assert not list(box.views().folder.rglob("refine.npz"))
    if refiner == "crf":
        assert min(overlap(squares, s, box.views()) for s in squares.usable[:5]) > 0.8, (
            "it snaps to the square"
        )


def test_asked_again_it_is_kept_and_with_stages_it_is_made_again(squares: Project) -> None:
    assert isinstance(job(squares, "crf")[-1], Finished)
    again = job(squares, "crf")[-1]
    assert again.result["kept"] == 6 and again.result["run"] == "cam-crf"
    kept = job(squares, "crf", keep=True)
    assert kept[-1].result["kept"] == 0 and kept[-1].result["run"] == "cam-crf"
    assert {e.kind for e in kept if isinstance(e, Viewed)} == {"cams", "refine"}
    trace = RefineTrace.load(source_of(squares.root, "cam-crf").path("i0", "refine"))
    assert trace.at == tuple(range(11)) and trace.energy is not None and trace.refiner == "crf"
    assert job(squares, "crf", keep=True)[-1].result["kept"] == 6
    itself = job(squares, "crf", source="cam-crf", run="cam-crf")[-1]
    assert isinstance(itself, Failed) and itself.mistake and "into itself" in itself.message
    other = job(squares, "crf", settings={"iterations": 3})[-1]
    assert other.result["run"] == "cam-crf-2", "other settings are another box"
    named = job(squares, "crf", run="mine", settings={"iterations": 3})[-1]
    assert named.result["views"] == "mine/default"
    replaced = job(squares, "crf", run="mine", settings={"iterations": 4})
    assert any(isinstance(e, Said) and "replaced" in e.text for e in replaced)
    assert replaced[-1].result["kept"] == 0


def test_refinements_follow_each_other_in_any_order(squares: Project) -> None:
    assert isinstance(job(squares, "par", run="a")[-1], Finished)
    assert isinstance(job(squares, "crf", run="b", source="a")[-1], Finished)
    assert isinstance(job(squares, "par", run="c", source="b")[-1], Finished)
    assert source_of(squares.root, "c").facts["source"] == "b/default"
    stack = CamStack.load(source_of(squares.root, "c").path("i1"))
    assert stack.background is not None and stack.classes == (1,)
    ending = list(run(Label(project=str(squares.root), source="c", name="masks")))[-1]
    assert isinstance(ending, Finished) and ending.result["images"] == 6


def test_a_stopped_refinement_goes_on(squares: Project) -> None:
    asked = itertools.count()
    events = list(
        run(
            Refine(project=str(squares.root), refiner="crf", source="cam", threads=1),
            lambda: next(asked) >= 5,
        )
    )
    assert isinstance(events[-1], Stopped)
    there = source_of(squares.root, "cam-crf").stems()
    assert 0 < len(there) < 6
    ending = job(squares, "crf")[-1]
    assert ending.result["run"] == "cam-crf" and len(there) <= ending.result["kept"] < 6
    assert source_of(squares.root, "cam-crf").stems() == squares.usable


@pytest.mark.parametrize("name", ["irn", "psa"])
def test_a_network_learns_from_maps_and_walks(squares: Project, name: str) -> None:
    events = teach(squares, name)
    assert isinstance(events[-1], Finished), events[-1]
    network = run_of(squares.root, name)
    told = [e for e in network.events() if isinstance(e, Metrics)]
    assert told[-1].step == 4 and all(np.isfinite(list(e.values.values())).all() for e in told)
    assert sorted(p.stem for p in (network.folder / "confident").iterdir()) == list(squares.usable)
    ending = job(squares, name, run=name, keep=True)[-1]
    assert isinstance(ending, Finished), ending
    assert ending.result["views"] == f"{name}/default"
    views = source_of(squares.root, name)
    trace = RefineTrace.load(views.path("i0", "refine"))
    assert trace.at == (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)
    assert set(trace.fields) >= (
        {"edge", "displacement", "confident"} if name == "irn" else {"affinity", "confident"}
    )
    assert set(np.unique(trace.fields["confident"])) <= {0, 1, 255}
    for stem in squares.usable:
        stack = CamStack.load(views.path(stem))
        assert (
            stack.background is not None and np.isfinite(stack.maps).all() and stack.maps.max(initial=0) <= 1
        )
    asked = views.facts["settings"]
    assert asked["network"] is None and asked.get("background") is None, (
        "as it was asked for, to be gone on with"
    )
    box = job(squares, name)[-1]
    assert box.result["run"] == f"cam-{name}", "without --run the newest network walks into a box of its own"
    for stem in squares.usable:
        a, b = (CamStack.load(source_of(squares.root, v).path(stem)) for v in (name, f"cam-{name}"))
        assert np.array_equal(a.maps, b.maps)


def test_a_walk_fills_the_square_up_to_its_border(squares: Project) -> None:
    assert isinstance(teach(squares, "irn", epochs=40, settings={"displacement": False})[-1], Finished)
    seed = [CamStack.load(source_of(squares.root, "cam").path(s)) for s in squares.usable[:5]]
    before = []
    for stack in seed:
        truth = square(int(stack.image[1:]))[1] > 0
        found = stack.full()[0] > 0.5
        before.append(float((found & truth).sum() / (found | truth).sum()))
    # 256 steps are for photographs: on 12 x 16 cells they get through what little training leaves open.
    assert isinstance(job(squares, "irn", run="irn", settings={"steps": 16})[-1], Finished)
    views = source_of(squares.root, "irn")
    after = [overlap(squares, s, views) for s in squares.usable[:5]]
    assert np.mean(after) > np.mean(before) + 0.05, (before, after)


def test_training_on_seeds_resumes_exactly(squares: Project) -> None:
    assert isinstance(teach(squares, "irn", run="whole")[-1], Finished)
    asked = itertools.count()
    events = teach(squares, "irn", lambda: next(asked) >= 14, run="parts")
    assert isinstance(events[-1], Stopped), events[-1]
    assert isinstance(teach(squares, "irn", run="parts", resume=True)[-1], Finished)
    assert (
        run_of(squares.root, "parts").weights.read_bytes()
        == run_of(squares.root, "whole").weights.read_bytes()
    )


def test_instances_are_kept_when_asked_for(squares: Project) -> None:
    assert isinstance(teach(squares, "irn")[-1], Finished)
    ending = job(squares, "irn", run="irn", settings={"instances": True})[-1]
    assert isinstance(ending, Finished), ending
    found = InstanceSet.load(source_of(squares.root, "irn").path("i0", "instances"))
    assert found.ids.shape == SIZE and len(found.classes) == len(found.scores)
    assert set(found.classes.tolist()) <= {0}


MISTAKES = {
    "refiner": (("crff", {}), "no refiner 'crff'"),
    "source": (("crf", {"source": "nothing"}), "no run 'nothing'"),
    "setting": (("crf", {"settings": {"iteration": 3}}), "no parameter 'iteration'"),
    "network": (("irn", {}), "no trained network of irn"),
    "named": (("irn", {"settings": {"network": "cam"}}), "holds no trained network of irn"),
    "run": (("crf", {"run": "cam"}), "is no refinement"),
    "rule": (("par", {"settings": {"background": "constant:x"}}), "no readable number"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_mistakes_are_sentences(squares: Project, what: str) -> None:
    (refiner, given), words = MISTAKES[what]
    before = sorted(squares.root.rglob("*"))
    ending = job(squares, refiner, **given)[-1]
    assert isinstance(ending, Failed) and ending.mistake and words in ending.message, ending
    assert sorted(squares.root.rglob("*")) == before, "nothing half-written"


def test_seeds_are_asked_for_and_networks_do_not_draw(squares: Project) -> None:
    ending = teach(squares, "irn", settings={"seeds": ""})[-1]
    assert isinstance(ending, Failed) and ending.mistake and "maps of another run" in ending.message
    ending = teach(squares, "irn", settings={"seeds": "cam/none"})[-1]
    assert isinstance(ending, Failed) and ending.mistake
    assert isinstance(teach(squares, "irn", epochs=1)[-1], Finished)
    ending = list(run(Infer(project=str(squares.root), run="irn")))[-1]
    assert isinstance(ending, Failed) and ending.mistake and "wsss refine" in ending.hint + ending.message
    assert isinstance(job(squares, "crf")[-1], Finished)
    ending = list(run(Infer(project=str(squares.root), run="cam-crf")))[-1]
    assert isinstance(ending, Failed) and ending.mistake and "refinement" in ending.message


def test_the_shell_speaks_it(squares: Project, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["refine", "crf", "-p", str(squares.root), "--source", "cam", "--set", "iterations=2", "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["views"] == "cam-crf/default" and told["refiner"] == "crf"
    assert main(["refine", "crf", "--help"]) == 0
    text = capsys.readouterr().out
    assert "bilateral_srgb" in text and "--keep" in text
    assert main(["refine", "irn", "--help"]) == 0
    assert "beta" in capsys.readouterr().out
