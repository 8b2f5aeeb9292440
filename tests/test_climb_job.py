"""The job `climb`: split and single climbs, going on, branches, resume, and its sentences."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from engine.images import digest
from engine.messages import Climb, Failed, Finished, Infer, New, Progress, Said, Stopped, Train, Viewed
from engine.results import CamStack, ClimbTrace, path_to, traces_in
from engine.run import run
from engine.store import Image, Project, create, run_of, source_of, stale
from engine.store.digests import file_digest
from engine.tags import Tags
from engine.work import Warm

CLASSES = ("red", "green", "blue")
PLAN: dict[str, Any] = {"epochs": 2, "batch": 2, "crop": 32, "threads": 1}


def make_project(folder: Path) -> Project:
    """Four images with tags of all three states, one of them with no tag, one of another size."""
    (folder / "images").mkdir()
    images = []
    for n in range(4):
        height, width = (32, 32) if n == 3 else (40, 56)
        coarse = np.random.default_rng(n).integers(0, 255, (height // 8, width // 8, 3)).astype(np.uint8)
        file = folder / "images" / f"i{n}.png"
        Pillow.fromarray(np.kron(coarse, np.ones((8, 8, 1), np.uint8))).save(file)
        images.append(Image(f"i{n}", file.name, height, width, sha256=digest(file)))
    states = np.array([[1, 0, 1], [0, 1, -1], [-1, -1, -1], [0, 0, 1]], np.int8)
    tags = Tags(CLASSES, tuple(i.stem for i in images), states)
    return create(folder / "project", images=images, image_folder=folder / "images", tags=tags)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = make_project(tmp_path_factory.mktemp("climb"))
    settings = {"backbone": "tiny_cnn", "pretrained": False}
    ending = list(run(Train(project=str(made.root), method="cam", run="net", settings=settings, **PLAN)))[-1]
    assert isinstance(ending, Finished), ending
    return made


def climb(project: Project, stop=lambda: False, warm: Warm | None = None, **fields: Any) -> list[Any]:
    values = {"run": "net", "threads": 1, **fields}
    values["settings"] = {"steps": 3, **values.get("settings", {})}
    return list(run(Climb(project=str(project.root), **values), stop, warm))


def place(project: Project, stem: str, views: str) -> Path:
    return run_of(project.root, "net").views(views).folder / stem / "climb"


def test_a_split_gets_maps_and_traces(project: Project) -> None:
    events = climb(project, views="all")
    ending = events[-1]
    assert isinstance(ending, Finished) and ending.result == {
        "run": "net", "views": "net/all", "images": 4, "kept": 0, "passed_over": [],
    }  # fmt: skip
    views = source_of(project.root, "net/all")
    assert views.stems() == project.usable and views.facts["kinds"] == ["cams", "climb"]
    assert views.facts["method"] == "advcam" and stale(project, views, {"cam": 1, "advcam": 1}) == []
    assert stale(project, views, {"cam": 1, "advcam": 2}), "another version of climbing makes it stale"
    for stem in project.usable:
        stack = CamStack.load(views.path(stem))
        present = project.tags().present(stem)
        assert stack.classes == present and np.isfinite(stack.maps).all()
        traces = traces_in(place(project, stem, "all"))
        assert {t.cls for t in traces.values()} == set(present)
        for name, trace in traces.items():
            assert trace.rows == 4 and trace.ending == "finished" and not trace.has_pictures
            found = path_to(traces, name).attribution(3)
            assert found.max() == pytest.approx(1) or not found.any()
    assert all(isinstance(e, (Viewed, Progress, Said)) for e in events[1:-1])


def test_what_is_there_is_kept_and_other_settings_replace_it(project: Project) -> None:
    assert isinstance(climb(project, views="twice")[-1], Finished)
    file = source_of(project.root, "net/twice").path("i0")
    before = file.stat().st_mtime_ns
    assert climb(project, views="twice")[-1].result["kept"] == 4 and file.stat().st_mtime_ns == before
    events = climb(project, views="twice", settings={"lam": 3.0})
    assert events[-1].result["kept"] == 0
    assert any(isinstance(e, Said) and "replaced" in e.text for e in events)
    assert file.stat().st_mtime_ns != before


def test_a_stopped_split_goes_on(project: Project) -> None:
    assert isinstance(climb(project, views="whole", settings={"scales": "1,1.5"})[-1], Finished)
    asked = itertools.count()
    ending = climb(project, lambda: next(asked) >= 9, views="part", settings={"scales": "1,1.5"})[-1]
    assert isinstance(ending, Stopped) and ending.resumable
    part, whole = (run_of(project.root, "net").views(v) for v in ("part", "whole"))
    assert 0 < len(part.stems()) < 4, "stopped in the middle"
    assert isinstance(climb(project, views="part", settings={"scales": "1,1.5"})[-1], Finished)
    for stem in project.usable:
        assert part.path(stem).read_bytes() == whole.path(stem).read_bytes()


def test_one_class_is_told_step_by_step(project: Project) -> None:
    warm: Warm = {}
    events = climb(project, warm=warm, images=("i0",), cls="blue", views="steps")
    ending = events[-1]
    assert isinstance(ending, Finished), ending
    assert ending.result["trace"] == "2" and ending.result["steps"] == 3
    assert ending.result["ending"] == "finished"
    told = [e for e in events if isinstance(e, Viewed)]
    assert len(told) == 5 and {e.kind for e in told} == {"climb"}, "step 0 again with its saliency"
    trace = ClimbTrace.load(project.root / told[0].path)
    assert trace.has_pictures and trace.size == (40, 56) and trace.rows == 4
    pictures = trace.array("pictures")
    assert pictures.shape == (4, 2, 3, 40, 56) and not pictures[0].any() and pictures[3].any()
    assert trace.array("scores").shape == (4, len(CLASSES)) and trace.array("saliency").max() == 255
    assert warm["net"] is not None, "the network is kept for the next step"


def test_steps_are_on_disk_when_they_are_told(project: Project) -> None:
    job = Climb(project=str(project.root), run="net", images=("i0",), cls="blue", views="live", threads=1)
    rows, lit = [], []
    for event in run(job):
        if isinstance(event, Viewed):
            trace = ClimbTrace.load(project.root / event.path)
            rows.append(trace.rows)
            lit.append(int(trace.array("saliency")[-1].max()))
    assert lit == [0, *[255] * (len(rows) - 1)]
    # Step 0 is told before its saliency is found, and again with it.
    assert rows == [1, *range(1, len(rows))] and len(rows) > 2


def test_branches_and_going_on(project: Project) -> None:
    first = climb(project, images=("i1",), cls="green", views="tree")[-1].result["trace"]
    on = climb(project, images=("i1",), cls="green", views="tree", trace=first, settings={"steps": 2})[-1]
    assert on.result["trace"] == "1.1" and on.result["steps"] == 5
    branch = climb(
        project, images=("i1",), cls="green", views="tree", trace="1.1", at=1,
        settings={"steps": 4, "lam": 0.0},
    )[-1]  # fmt: skip
    assert branch.result["steps"] == 5
    traces = traces_in(place(project, "i1", "tree"))
    assert set(traces) == {"1", "1.1", "1.2"}
    assert (traces["1.1"].parent, traces["1.1"].at, traces["1.1"].first) == ("1", 3, 4)
    # Step 1 belongs to the root, so that is what the branch leaves.
    assert (traces["1.2"].parent, traces["1.2"].at, traces["1.2"].first) == ("1", 1, 2)
    path = path_to(traces, "1.2")
    assert path.last == 5 and path.stacked("maps").shape[0] == 6


def test_going_on_is_nearly_never_having_stopped(project: Project) -> None:
    """Pictures are kept to 1/32 of a grey level, so the maps agree to a few thousandths."""
    place_of = place(project, "i3", "parts")
    climb(project, images=("i3",), cls="blue", views="parts", settings={"steps": 4})
    climb(project, images=("i3",), cls="blue", views="parts", trace="2", at=2, settings={"steps": 2})
    traces = traces_in(place_of)
    whole, parts = path_to(traces, "2"), path_to(traces, "2.1")
    np.testing.assert_allclose(whole.attribution(4), parts.attribution(4), atol=5e-3)


def test_a_climb_of_a_batch_that_kept_its_pictures_is_gone_on_with(project: Project) -> None:
    settings = {"keep": "pictures", "scales": "1"}
    assert isinstance(climb(project, images=("i0",), views="kept", settings=settings)[-1], Finished)
    on = climb(project, images=("i0",), cls="blue", views="kept", trace="2", settings={"steps": 1})[-1]
    assert isinstance(on, Finished), on
    assert on.result["trace"] == "2.1" and on.result["steps"] == 4


def test_a_stopped_climb_keeps_its_steps(project: Project) -> None:
    asked = itertools.count()
    ending = climb(
        project, lambda: next(asked) >= 6, images=("i0",), cls="blue", views="halt", settings={"steps": 50}
    )[-1]
    assert isinstance(ending, Stopped)
    (trace,) = traces_in(place(project, "i0", "halt")).values()
    assert 1 <= trace.rows < 51 and trace.ending == "stopped"
    on = climb(project, images=("i0",), cls="blue", views="halt", trace=trace.id, settings={"steps": 1})[-1]
    assert isinstance(on, Finished) and on.result["steps"] == trace.last + 1


def test_a_plateau_ends_a_climb(project: Project) -> None:
    settings = {"steps": 60, "plateau": 0.05}
    ending = climb(project, images=("i0",), cls="red", views="flat", settings=settings)[-1]
    assert ending.result["ending"] == "plateau" and ending.result["steps"] < 60


def test_saliency_masks_hold_and_bad_ones_are_told(project: Project, tmp_path: Path) -> None:
    mask = np.zeros((40, 56), np.uint8)
    mask[:, :28] = 1
    Pillow.fromarray(mask).save(tmp_path / "i0.png")
    (tmp_path / "i1.png").write_bytes(b"no picture")
    events = climb(project, views="sal", settings={"saliency": str(tmp_path)})
    assert isinstance(events[-1], Finished), events[-1]
    told = [e.text for e in events if isinstance(e, Said) and "saliency" in e.text]
    assert {t.split()[0] for t in told} == {"i1", "i2", "i3"}
    trace = traces_in(place(project, "i0", "sal"))["0"]
    assert (trace.array("masks") & 2).any()
    assert not (traces_in(place(project, "i1", "sal"))["1"].array("masks") & 2).any()
    # Another mask is another climb.
    Pillow.fromarray(np.ones((40, 56), np.uint8)).save(tmp_path / "i0.png")
    assert climb(project, views="sal", settings={"saliency": str(tmp_path)})[-1].result["kept"] == 3
    missing = climb(project, views="sal2", settings={"saliency": str(tmp_path / "nowhere")})[-1]
    assert isinstance(missing, Failed) and missing.mistake


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"cls": "red"}, "one image"),
        ({"cls": "red", "images": ("i0", "i1")}, "one image"),
        ({"cls": "rad", "images": ("i0",)}, "red"),
        ({"cls": "red", "images": ("i0",), "at": 2}, "--trace"),
        ({"cls": "red", "images": ("i0",), "trace": "9"}, "9"),
        ({"trace": "0"}, "--class"),
        ({"settings": {"stepss": "3"}}, "steps"),
        ({"run": "nett"}, "net"),
        ({"images": ("nobody",)}, "nobody"),
        ({"settings": {"scales": "1,1"}}, "twice"),
    ],
)
def test_slips_are_sentences(project: Project, fields: dict[str, Any], word: str) -> None:
    ending = climb(project, views="slips", **fields)[-1]
    assert isinstance(ending, Failed) and ending.mistake, ending
    assert word in ending.message


def test_going_on_has_its_own_sentences(project: Project) -> None:
    climb(project, images=("i0",), cls="red", views="own")
    climb(project, images=("i0",), cls="red", views="bare", settings={"keep": "maps"})
    for fields, word in (
        ({"views": "own", "trace": "0", "at": 99}, "Steps 0 to 3"),
        ({"views": "own", "trace": "0", "cls": "blue"}, "class"),
        ({"views": "bare", "trace": "0"}, "not kept"),
        ({"views": "own", "trace": "0", "settings": {"steps": 0}}, "0 steps"),
    ):
        ending = climb(project, **{"images": ("i0",), "cls": "red", **fields})[-1]
        assert isinstance(ending, Failed) and ending.mistake and word in ending.message, ending


def test_a_climb_of_other_weights_is_not_gone_on_with(project: Project) -> None:
    climb(project, images=("i0",), cls="red", views="old")
    weights = run_of(project.root, "net").weights
    before = weights.read_bytes()
    settings = {"backbone": "tiny_cnn", "pretrained": False}
    job = Train(project=str(project.root), method="cam", run="other", seed=5, settings=settings, **PLAN)
    assert isinstance(list(run(job))[-1], Finished)
    digest = file_digest(weights)
    try:
        weights.write_bytes(run_of(project.root, "other").weights.read_bytes())
        assert file_digest(weights) != digest
        ending = climb(project, images=("i0",), cls="red", views="old", trace="0")[-1]
        assert isinstance(ending, Failed) and "trained again" in ending.message
    finally:
        weights.write_bytes(before)


def test_maps_of_a_climb_are_a_source_like_any_other(project: Project) -> None:
    """Without a step, AdvCAM's seeds are those of `infer` at the same scales."""
    climb(project, views="zero", settings={"steps": 0, "scales": "1"})
    job = Infer(project=str(project.root), run="net", views="plain", settings={"scales": "1"}, threads=1)
    assert isinstance(list(run(job))[-1], Finished)
    for stem in project.usable:
        a, b = (CamStack.load(run_of(project.root, "net").views(v).path(stem)) for v in ("zero", "plain"))
        np.testing.assert_allclose(a.maps.astype(float), b.maps.astype(float), atol=3e-3)


def test_what_a_kill_cut_short_is_replaced(project: Project) -> None:
    half = place(project, "i0", "cut") / "0"
    half.mkdir(parents=True)
    (half / "maps.npy").write_bytes(b"cut")  # a trace without its facts
    ending = climb(project, views="cut")[-1]
    assert isinstance(ending, Finished), ending
    assert traces_in(half.parent)["0"].ending == "finished"


def test_a_killed_split_goes_on(project: Project) -> None:
    """Killed by force after its first image; what is there is whole, and the rest follows."""
    assert isinstance(climb(project, views="unkilled", settings={"steps": 30})[-1], Finished)
    words = [
        "climb",
        "net",
        "-p",
        str(project.root),
        "--views",
        "killed",
        "--set",
        "steps=30",
        "--threads",
        "1",
    ]
    child = subprocess.Popen([sys.executable, "-m", "engine.cli", *words], stderr=subprocess.DEVNULL)
    killed = run_of(project.root, "net").views("killed")
    end = time.monotonic() + 120
    while not killed.stems() and child.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    child.kill()
    child.wait()
    before = killed.stems()
    assert before, "one image was done"
    for stem in before:
        CamStack.load(killed.path(stem))
    result = climb(project, views="killed", settings={"steps": 30})[-1].result
    assert result["kept"] == len(before)
    whole = run_of(project.root, "net").views("unkilled")
    for stem in project.usable:
        if stem in before:
            assert killed.path(stem).read_bytes() == whole.path(stem).read_bytes()
        a, b = CamStack.load(killed.path(stem)), CamStack.load(whole.path(stem))
        # Fewer images are left for a batch, and some processors add up a batch of one in another order.
        np.testing.assert_allclose(a.maps.astype(float), b.maps.astype(float), atol=2e-3)
        np.testing.assert_allclose(a.peaks, b.peaks, rtol=1e-4)
        np.testing.assert_allclose(a.scores, b.scores, rtol=1e-4)
        assert (a.classes, a.size, a.facts) == (b.classes, b.size, b.facts)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("cam", {"backbone": "vit_tiny_patch16_224", "pretrained": False}),
        ("cam", {"backbone": "tiny_cnn", "pretrained": False, "loss": "softmax"}),
        ("cutmix", {"backbone": "tiny_cnn", "pretrained": False}),
    ],
)
def test_every_classifier_can_be_climbed(tmp_path: Path, method: str, settings: dict[str, Any]) -> None:
    project = make_project(tmp_path)
    job = Train(project=str(project.root), method=method, run="net", settings=settings, **PLAN)
    assert isinstance(list(run(job))[-1], Finished)
    ending = climb(project, settings={"steps": 2, "classes": "all"})[-1]
    assert isinstance(ending, Finished), ending
    for stem in project.usable:
        stack = CamStack.load(run_of(project.root, "net").views("climb").path(stem))
        assert stack.classes == (0, 1, 2) and np.isfinite(stack.maps).all()
        if settings.get("loss") == "softmax":
            assert stack.scores.sum() == pytest.approx(1, abs=1e-4)
    traces = traces_in(place(project, "i0", "climb"))
    grown = [t.array("scores")[:, t.cls] for t in traces.values()]
    assert any(scores[-1] > scores[0] for scores in grown), "some score rose"


@pytest.mark.real
def test_photographs_are_climbed(shared_data: Path, tmp_path: Path, monkeypatch) -> None:
    """Two photographs and the real MobileNet V2: the climbed score rises and the peak is held."""
    monkeypatch.setenv("WSSS_WEIGHTS", str(shared_data / "weights"))
    voc = shared_data / "voc_mini"
    stems = (voc / "ImageSets" / "train.txt").read_text().split()[:6]
    images = tmp_path / "images"
    images.mkdir()
    for stem in stems:
        Pillow.open(voc / "JPEGImages" / f"{stem}.jpg").resize((200, 150)).save(images / f"{stem}.png")
    tags = json.loads((voc / "labels.json").read_text())["labels"]
    file = tmp_path / "tags.json"
    file.write_text(json.dumps({s: tags[s] for s in stems}))
    place_of = str(tmp_path / "p")
    assert isinstance(list(run(New(project=place_of, images=str(images), tags=str(file))))[-1], Finished)
    settings = {"backbone": "mobilenet_v2"}
    plan = {"epochs": 1, "batch": 2, "crop": 97, "threads": 1, "split": "all"}
    ending = list(run(Train(project=place_of, method="cam", run="net", settings=settings, **plan)))[-1]
    assert isinstance(ending, Finished), ending
    job = Climb(project=place_of, run="net", images=tuple(stems[:2]), settings={"steps": 4}, threads=1)
    assert isinstance(list(run(job))[-1], Finished)
    for stem in stems[:2]:
        for trace in traces_in(run_of(Path(place_of), "net").views("climb").folder / stem / "climb").values():
            scores = trace.array("scores")[:, trace.cls]
            assert scores[-1] > scores[0]
