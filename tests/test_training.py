"""Training on drawn squares: it learns, it resumes exactly, it runs on ranks, it is stopped at any step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from engine.messages import Failed, Finished, Infer, Metrics, Said, Stopped, Train, encode
from engine.results import CamStack
from engine.run import run
from engine.store import Project, open_project, run_of
from engine.train.batches import Order
from engine.train.plan import Plan, rate_at, settle
from engine.train.precision import average_precision, mean_average_precision

TINY: dict[str, Any] = {"backbone": "tiny_cnn", "pretrained": False}


def _train(project: Project, stop: Callable[[], bool] = lambda: False, **given: Any) -> list[Any]:
    settings = {**TINY, **given.pop("settings", {})}
    values = {"epochs": 3, "batch": 2, "crop": 48, "threads": 1, **given}
    return list(run(Train(project=str(project.root), method="cam", settings=settings, **values), stop))


def _losses(events: list[Any]) -> list[float]:
    return [e.values["loss"] for e in events if isinstance(e, Metrics)]


def _recorded(project: Project, name: str) -> dict[int, float]:
    """Step -> loss from events.jsonl, which holds every step whatever was shown."""
    return {e.step: e.values["loss"] for e in run_of(project.root, name).events() if isinstance(e, Metrics)}


def test_it_learns_and_says_what_it_did(small_project: Project) -> None:
    events = _train(small_project, epochs=30)
    ending = events[-1]
    assert isinstance(ending, Finished), ending
    assert ending.result["status"] == "finished" and ending.result["seconds"] > 0
    losses = list(_recorded(small_project, "cam").values())
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
    facts = run_of(small_project.root, "cam").facts
    assert (
        facts["status"] == "finished"
        and facts["plan"]["epochs"] == 30
        and facts["params"]["backbone"] == "tiny_cnn"
    )
    assert "map" in facts["metrics"]  # measured on val, which was not trained on
    assert set(facts["held"]) == set(small_project.splits["val"])


@pytest.mark.parametrize("after", [1, 2, 4])
def test_a_resumed_training_is_the_uninterrupted_one(small_project: Project, after: int) -> None:
    _train(small_project, run="whole")
    asked = iter(range(1000))
    # Stopped in the middle of an epoch or at its end: the count of questions decides.
    events = _train(small_project, stop=lambda: next(asked) >= 2 + 2 * after, run="parts")
    assert isinstance(events[-1], Stopped) and events[-1].resumable
    assert run_of(small_project.root, "parts").status == "stopped"
    events = _train(small_project, run="parts", resume=True)
    assert isinstance(events[-1], Finished), events[-1]
    whole = load_file(run_of(small_project.root, "whole").weights)
    parts = load_file(run_of(small_project.root, "parts").weights)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[k], parts[k]) for k in whole)


def test_loader_order_does_not_change_the_seed(small_project: Project) -> None:
    first = _train(small_project, run="a", seed=3)
    second = _train(small_project, run="b", seed=3)
    other = _train(small_project, run="c", seed=4)
    assert _losses(first)[-1] == _losses(second)[-1] != _losses(other)[-1]


def test_a_finished_run_resumes_to_nothing(small_project: Project) -> None:
    _train(small_project, run="r")
    before = run_of(small_project.root, "r").weights.read_bytes()
    events = _train(small_project, run="r", resume=True)
    assert isinstance(events[-1], Finished)
    assert load_file(run_of(small_project.root, "r").weights).keys()
    assert run_of(small_project.root, "r").weights.read_bytes() == before


def test_other_parameters_do_not_continue_a_run(small_project: Project) -> None:
    asked = iter(range(100))
    _train(small_project, stop=lambda: next(asked) > 4, run="r")
    small_project.set_tags([(small_project.splits["train"][0], "red", -1)])
    ending = _train(small_project, run="r", resume=True)[-1]
    assert isinstance(ending, Failed) and ending.mistake and "changed since" in ending.message


def test_one_image_is_enough(small_project: Project) -> None:
    stem = small_project.splits["train"][0]
    text = (small_project.root / "images.csv").read_text()
    lines = [line for line in text.splitlines() if line.startswith(("image,", f"{stem},"))]
    (small_project.root / "images.csv").write_text("\n".join(lines) + "\n")
    project = open_project(small_project.root)
    events = _train(project, epochs=2, batch=None)
    assert isinstance(events[-1], Finished), events[-1]
    assert "map_seen" in events[-1].result["metrics"] or not project.tags().present(stem)


def test_without_any_tag_it_says_so(small_project: Project) -> None:
    small_project.set_tags([(s, "*", -1) for s in small_project.images])
    ending = _train(small_project)[-1]
    assert isinstance(ending, Failed) and ending.mistake and "has a tag" in ending.message
    assert not list((small_project.root / "runs").iterdir())


def test_images_without_objects_are_learnt_from(small_project: Project) -> None:
    small_project.set_tags([(s, "*", 0) for s in small_project.splits["train"]])
    assert isinstance(_train(small_project, epochs=1)[-1], Finished)


def test_unknown_tags_teach_nothing(small_project: Project) -> None:
    """With one class unknown everywhere, its classifier row only decays."""
    small_project.set_tags([(s, "blue", -1) for s in small_project.splits["train"]])
    _train(small_project, run="a", settings={"decay": 0.0})
    weights = load_file(run_of(small_project.root, "a").weights)["head.weight"]
    torch.manual_seed(0)
    from engine.compute import seed_of
    from engine.methods.cam import Cam, Params

    torch.manual_seed(seed_of(0, "build"))
    fresh = Cam(Params(**TINY)).build(3).head.weight
    torch.testing.assert_close(weights[2], fresh.detach()[2], rtol=0, atol=0)
    assert not torch.equal(weights[0], fresh.detach()[0])


def test_an_image_that_breaks_meanwhile_is_passed_over(small_project: Project) -> None:
    stem = small_project.splits["train"][1]
    small_project.path(stem).write_bytes(b"no image any more")
    events = _train(small_project, epochs=1)
    assert isinstance(events[-1], Finished), events[-1]
    assert any(isinstance(e, Said) and stem in e.text and e.level == "warning" for e in events)
    events = list(run(Infer(project=str(small_project.root), run="cam", threads=1)))
    assert isinstance(events[-1], Finished) and events[-1].result["passed_over"] == [stem]


def test_inference_keeps_what_is_there_and_replaces_what_changed(small_project: Project) -> None:
    _train(small_project, epochs=1)
    job = Infer(project=str(small_project.root), run="cam", threads=1)
    assert list(run(job))[-1].result["kept"] == 0
    views = run_of(small_project.root, "cam").views()
    marks = {s: views.path(s).stat().st_mtime_ns for s in views.stems()}
    assert len(marks) == 6
    views.path("im_003").write_bytes(views.path("im_003").read_bytes()[:200])
    small_project.set_tags([("im_004", "red", 1), ("im_004", "green", 0), ("im_004", "blue", 0)])
    small_project.set_tags([("im_004", "blue", 1)])
    result = list(run(job))[-1].result
    assert result["kept"] == 4
    changed = {s for s in views.stems() if views.path(s).stat().st_mtime_ns != marks[s]}
    assert changed == {"im_003", "im_004"}
    other = list(run(Infer(project=str(small_project.root), run="cam", threads=1, settings={"flip": False})))[
        -1
    ]
    assert other.result["kept"] == 0


def test_one_class_an_image_says_once_how_many_images_have_several_or_none(small_project: Project) -> None:
    given = {"settings": {"loss": "softmax"}, "epochs": 1}
    small_project.set_tags([("im_000", name, 1) for name in small_project.classes])
    small_project.set_tags([("im_001", "*", 0)])
    states = small_project.tags().subset(small_project.stems("train")).states
    several, none = ((states == 1).sum(1) > 1).sum(), ((states == 1).sum(1) == 0).sum()
    assert several and none
    events = _train(small_project, **given)
    assert isinstance(events[-1], Finished), events[-1]
    warnings = [e.text for e in events if isinstance(e, Said) and e.level == "warning"]
    assert len(warnings) == 2
    assert warnings[0].startswith(f"{several} of the {len(states)} training images have several tags")
    assert warnings[1].startswith(f"{none} of the {len(states)} training images have no present tag")
    assert not [e for e in _train(small_project, epochs=1) if isinstance(e, Said) and e.level == "warning"]


@pytest.mark.parametrize("loss", ["plain", "balanced", "softmax"])
def test_two_ranks_lose_what_one_process_loses(small_project: Project, loss: str, tmp_path: Path) -> None:
    """Item 13: the same global batch on two CPU processes, ten steps, to 1e-5."""
    found = []
    for ranks in (1, 2):
        # Batches of 3 and 1: shares of two and one image, and a rank that is left with none.
        job = Train(
            project=str(small_project.root), method="cam", run=f"on{ranks}", threads=1, crop=48,
            epochs=5, batch=3, settings={**TINY, "loss": loss, "precision": "float32"},
        )  # fmt: skip
        (tmp_path / "job").write_bytes(encode(job))
        torchrun = (
            ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"] if ranks == 2 else []
        )
        script = str(Path(__file__).with_name("rank_losses.py"))
        done = subprocess.run(
            [sys.executable, *torchrun, script, str(tmp_path / "job")],
            capture_output=True, text=True, timeout=240, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        found.append(json.loads(done.stdout.splitlines()[-1]))
    assert len(found[0]) == len(found[1]) == 10
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    assert len(set(found[0])) == 10, "ten equal numbers would agree too"


def test_orders_are_permutations_shared_out() -> None:
    for world in (1, 2, 3):
        orders = [Order(10, 4, 7, rank, world) for rank in range(world)]
        for step in range(6):
            rows = orders[0].rows(step)
            shares = [s for o in orders for s in o.share(step) if not s.filler]
            assert sorted(s.row for s in shares) == sorted(rows)
        first = [r for step in range(3) for r in orders[0].rows(step)]
        assert sorted(first) == list(range(10))
        assert first != [r for step in range(3, 6) for r in orders[0].rows(step)]


def test_rates_follow_fractions() -> None:
    plan = Plan(warmup=0.0)
    # Appendix A.3: poly 0.9 at 0, .25, .5, .75, .9.
    found = [rate_at(plan, t) for t in (0, 0.25, 0.5, 0.75, 0.9)]
    np.testing.assert_allclose(found, [1, 0.77189, 0.535887, 0.287175, 0.125893], atol=1e-5)
    assert rate_at(Plan(warmup=0.1), 0.0) > 0
    assert rate_at(Plan(schedule="cosine", warmup=0.0), 0.5) == pytest.approx(0.5)


@pytest.mark.parametrize("images", [1, 12, 300, 10_000])
def test_a_plan_is_settled_for_any_size(images: int) -> None:
    plan = settle(
        Plan(),
        images=images,
        pretrained=True,
        transformer=False,
        side_multiple=16,
        side_offset=1,
        longest=500,
    )
    assert plan.batch == min(16, images) and (plan.crop or 0) % 16 == 1
    assert (plan.epochs or 0) * images >= min(1500, 60 * images)
    assert 5 <= (plan.epochs or 0) <= 60


def test_average_precision_of_known_rankings() -> None:
    scores, targets = np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 0, 1, 0], np.int8)
    assert average_precision(scores, targets) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(scores, np.array([1, 1, 0, 0], np.int8)) == 1
    assert average_precision(scores, np.zeros(4, np.int8)) is None
    assert average_precision(np.ones(4), np.array([1, 0, 0, 0], np.int8)) == pytest.approx(0.25)
    # An unknown image is not there at all.
    assert average_precision(scores, np.array([1, -1, 1, 0], np.int8)) == 1
    assert mean_average_precision(np.ones((2, 1)), np.zeros((2, 1), np.int8)) is None


def test_torchrun_is_a_door_too(small_project: Project) -> None:
    code = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            "-m",
            "engine.cli",
            "train",
            "cam",
            "-p",
            str(small_project.root),
            "--epochs",
            "1",
            "--batch",
            "2",
            "--crop",
            "48",
            "--threads",
            "1",
            "--set",
            "backbone=tiny_cnn",
            "--set",
            "pretrained=false",
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert code.returncode == 0, code.stderr[-2000:]
    assert run_of(small_project.root, "cam").status == "finished"


def test_inference_is_shared_out_and_a_killed_share_is_done_on_resume(small_project: Project) -> None:
    _train(small_project, epochs=1)
    root = str(small_project.root)
    alone = list(run(Infer(project=root, run="cam", threads=1, views="alone")))[-1]
    shared = list(run(Infer(project=root, run="cam", threads=1, views="shared", devices=2)))[-1]
    assert isinstance(alone, Finished) and isinstance(shared, Finished), shared
    chosen = run_of(small_project.root, "cam")
    assert chosen.views("alone").stems() == chosen.views("shared").stems() == tuple(small_project.usable)
    for stem in small_project.usable:
        a = CamStack.load(chosen.views("alone").path(stem))
        b = CamStack.load(chosen.views("shared").path(stem))
        np.testing.assert_array_equal(a.maps, b.maps)
    # What the second rank would have drawn is missing, as after a kill.
    for stem in small_project.usable[1::2]:
        chosen.views("shared").path(stem).unlink()
    again = list(run(Infer(project=root, run="cam", threads=1, views="shared")))[-1]
    assert isinstance(again, Finished) and again.result["kept"] == 3
    assert chosen.views("shared").stems() == tuple(small_project.usable)
