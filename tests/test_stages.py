"""`wsss evaluate --stages`: a source and what was made from it, measured over the same images."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.atomic import write_json
from engine.cli import main
from engine.cli.jobs import read
from engine.messages import Evaluate, Failed, Finished, Progress, Said, Stopped, arguments
from engine.results import CamStack
from engine.run import run
from engine.store import Project, Views, new_run, run_of, source_of
from engine.store.stages import stages_of
from engine.store.truth import read_truth

SEED_THRESHOLD = 0.3
Mask = NDArray[np.uint8]


def seed_of(truth: Mask, stem: str) -> Mask:
    """A wide mistake: the lower third is foreground too, of the last class of the image."""
    mask = truth.copy()
    mask[32:][mask[32:] == 0] = max(int(truth.max()), 1)
    return mask


def less(rows: int) -> Callable[[Mask, str], Mask]:
    """The truth, but the last rows are foreground: that many, and the more the later the image."""

    def made(truth: Mask, stem: str) -> Mask:
        mask = truth.copy()
        last = 48 - rows - int(stem[-1])
        mask[last:][mask[last:] == 0] = max(int(truth.max()), 1)
        return mask

    return made


# Of the stages of the fixture `chain`, in their order.
WAYS = (seed_of, less(8), less(4), less(1))


def box(
    project: Project,
    name: str,
    mask_of: Callable[[Mask, str], Mask],
    *,
    source: Any = None,
    refiner: str = "",
    soft: bool = False,
    views: str = "default",
    stems: Sequence[str] | None = None,
    created: str | None = None,
) -> Views:
    """A run whose maps give this mask: with a background score, or, if soft, above a threshold of 0.3."""
    facts: dict[str, Any] = {"method": refiner or "cam", "status": "finished"}
    if refiner:
        facts["refiner"] = refiner
    there = (project.root / "runs" / name).is_dir()
    made = (run_of(project.root, name) if there else new_run(project.root, name, name, facts)).views(views)
    if created is not None:
        made.run.update(created=created)
    for stem in stems if stems is not None else project.usable:
        truth = read_truth(project, stem)
        assert truth is not None
        mask = mask_of(truth, stem)
        classes = tuple(sorted({int(v) - 1 for v in np.unique(mask)} - {-1}))
        hit = np.stack([mask == c + 1 for c in classes])
        # Halves and quarters are exact in float16. A soft map still has 0.25 where there is nothing.
        maps = np.where(hit, 0.75, 0.25 if soft else 0.0).astype(np.float16)
        background = None if soft else np.full(mask.shape, 0.5, np.float16)
        CamStack(
            image=stem, size=mask.shape, classes=classes, maps=maps, peaks=np.ones(len(classes), np.float32),
            cell=1.0, origin=0.0, scores=np.ones(3, np.float32), background=background,
        ).save(made.path(stem))  # fmt: skip
    written: dict[str, Any] = {"kinds": ["cams"], "method": refiner or "cam", "settings": {}}
    if source is not None:
        written["source"] = source
    write_json(made.folder / "views.json", written)
    return made


def counted(project: Project, mask_of: Callable[[Mask, str], Mask], stems: Sequence[str]) -> dict[str, float]:
    """mIoU, precision, recall and noise from sets of pixels, without the engine's confusion."""
    truths, masks = [], []
    for stem in stems:
        truth = read_truth(project, stem)
        assert truth is not None
        truths.append(truth.reshape(-1))
        masks.append(mask_of(truth, stem).reshape(-1))
    truth, mask = np.concatenate(truths), np.concatenate(masks)
    there = [c for c in range(4) if (truth == c).any()]
    hit = {c: int(((truth == c) & (mask == c)).sum()) for c in there}
    return {
        "miou": float(np.mean([hit[c] / ((truth == c) | (mask == c)).sum() for c in there])),
        "precision": float(np.mean([hit[c] / (mask == c).sum() for c in there])),
        "recall": float(np.mean([hit[c] / (truth == c).sum() for c in there])),
        "noise": float(((truth == 0) & (mask > 0)).sum() / (mask > 0).sum()),
    }


def ended(project: Project, **other: Any) -> list[Any]:
    job = Evaluate(project=str(project.root), **{"source": "cam", "stages": True, **other})
    return list(run(job))


def measured(project: Project, **other: Any) -> dict[str, Any]:
    ending = ended(project, **other)[-1]
    assert isinstance(ending, Finished), ending
    return ending.result


def named(result: dict[str, Any]) -> list[tuple[str, str]]:
    return [(row["name"], row["source"]) for row in result["stages"]]


@pytest.fixture
def chain(small_project: Project) -> Project:
    """A seed, its CRF, PAR over the CRF, and IRN from the seed, each better than the one before."""
    times = [f"2026-01-01T00:00:0{n}+00:00" for n in range(4)]
    box(small_project, "cam", seed_of, soft=True, created=times[0])
    box(small_project, "cam-crf", less(8), source="cam/default", refiner="crf", created=times[1])
    box(small_project, "cam-crf-par", less(4), source="cam-crf/default", refiner="par", created=times[2])
    box(small_project, "cam-irn", less(1), source="cam", refiner="irn", created=times[3])
    return small_project


def test_every_stage_has_the_numbers_of_a_direct_count(chain: Project) -> None:
    result = measured(chain, sweep=True)
    assert named(result) == [
        ("seed", "cam/default"),
        ("+CRF", "cam-crf/default"),
        ("+CRF +PAR", "cam-crf-par/default"),
        ("+IRN", "cam-irn/default"),
    ]
    assert [row["miou"] for row in result["stages"]] == sorted(row["miou"] for row in result["stages"])
    for row, way in zip(result["stages"], WAYS, strict=True):
        for key, value in counted(chain, way, chain.usable).items():
            assert row[key] == pytest.approx(value), (row["name"], key)
        assert row["images"] == 6
    assert len({row["miou"] for row in result["stages"]}) == 4, "the stages must differ to be told apart"
    # Only the seed has no background score of its own; its best threshold is the lowest that cuts the 0.25.
    assert [row["threshold"] for row in result["stages"]] == [0.25, None, None, None]
    assert result["left_out"] == []


def test_the_source_keeps_its_usual_keys_and_rows_their_whole_report(chain: Project) -> None:
    alone = measured(chain, stages=False, sweep=True)
    result = measured(chain, sweep=True)
    assert {k: result[k] for k in alone} == alone and set(result) - set(alone) == {"stages", "left_out"}
    crf = measured(chain, stages=False, source="cam-crf")
    row = result["stages"][1]
    assert {k: row[k] for k in crf if k != "split"} == {k: v for k, v in crf.items() if k != "split"}


def test_without_sweep_one_threshold_is_for_all_that_have_none_of_their_own(chain: Project) -> None:
    result = measured(chain, threshold=SEED_THRESHOLD)
    assert [row["threshold"] for row in result["stages"]] == [SEED_THRESHOLD, None, None, None]
    assert result["stages"][0]["miou"] == pytest.approx(counted(chain, seed_of, chain.usable)["miou"])
    # Below the 0.25 that lies everywhere nothing is background.
    assert measured(chain)["stages"][0]["threshold"] == 0.2
    assert measured(chain)["stages"][0]["noise"] > result["stages"][0]["noise"]


def test_a_split_is_measured_alone(chain: Project) -> None:
    result = measured(chain, sweep=True, split="val")
    stems = chain.stems("val")
    assert len(stems) == 2 and {row["images"] for row in result["stages"]} == {2}
    assert result["stages"][1]["miou"] == pytest.approx(counted(chain, less(8), stems)["miou"])


def test_a_refinement_may_be_the_source(chain: Project) -> None:
    result = measured(chain, source="cam-crf")
    assert named(result) == [("+CRF", "cam-crf/default"), ("+CRF +PAR", "cam-crf-par/default")]


def test_a_source_without_refinements_is_a_table_of_one(chain: Project) -> None:
    assert named(measured(chain, source="cam-irn")) == [("+IRN", "cam-irn/default")]


def test_other_views_of_a_run_are_other_seeds(chain: Project) -> None:
    box(chain, "cam", seed_of, views="climb", soft=True)
    box(chain, "climb-crf", less(6), source="cam/climb", refiner="crf")
    # The trained network that is walked with keeps the result itself, and is no refinement but a training.
    box(chain, "psa", less(2), source="cam/climb", views="walked", created="2000-01-01T00:00:00+00:00")
    assert [row["source"] for row in measured(chain, source="cam/climb")["stages"]] == [
        "cam/climb", "psa/walked", "climb-crf/default",
    ]  # fmt: skip
    assert len(measured(chain)["stages"]) == 4


def test_the_order_is_that_of_making_and_no_stage_stands_before_its_source(small_project: Project) -> None:
    box(small_project, "cam", seed_of, soft=True, created="2026-01-01T00:00:01+00:00")
    box(small_project, "b", less(5), source="cam", refiner="par", created="2026-01-01T00:00:02+00:00")
    box(small_project, "a", less(5), source="cam", refiner="crf", created="2026-01-01T00:00:03+00:00")
    # A network that was trained before everything else.
    box(small_project, "c", less(5), source="a", refiner="psa", created="2025-01-01T00:00:00+00:00")
    box(small_project, "z", less(5), source="cam", refiner="crf", created="2026-01-01T00:00:04+00:00")
    stages = stages_of(small_project.root, source_of(small_project.root, "cam"))
    assert [(s.views.run.id, s.name) for s in stages] == [
        ("cam", "seed"), ("b", "+PAR"), ("a", "+CRF"), ("c", "+CRF +PSA"), ("z", "+CRF"),
    ]  # fmt: skip


@pytest.mark.timeout(20)
def test_circles_and_sources_that_are_gone_end_somewhere(chain: Project) -> None:
    box(chain, "snake", less(3), source="tail", refiner="crf")
    box(chain, "tail", less(3), source="snake/default", refiner="par")
    box(chain, "self", less(3), source="self", refiner="crf")
    box(chain, "orphan", less(3), source="deleted/default", refiner="crf")
    for n, odd in enumerate((7, [], {"a": 1}, "", "/", "../../etc", "cam/default/x", "a" * 10_000)):
        box(chain, f"odd{n}", less(3), source=odd, refiner="crf", stems=chain.usable[:1])
    for n, facts in enumerate(({"kinds": 5}, {"source": "cam-irn", "method": "\x1b[31m\n"}, [1])):
        write_json(box(chain, f"bad{n}", less(3)).folder / "views.json", facts)
    assert len(measured(chain)["stages"]) == 5
    assert ("+IRN +REFINED", "bad1/default") in named(measured(chain))
    assert [row["source"] for row in measured(chain, source="snake")["stages"]] == [
        "snake/default", "tail/default",
    ]  # fmt: skip
    assert named(measured(chain, source="self")) == [("+CRF", "self/default")]
    assert named(measured(chain, source="orphan")) == [("+CRF", "orphan/default")]
    # The seed is deleted: what was made from it keeps its way, as far as it can be known.
    shutil.rmtree(chain.root / "runs" / "cam")
    assert [name for name, _ in named(measured(chain, source="cam-crf"))] == ["+CRF", "+CRF +PAR"]


@pytest.mark.timeout(20)
def test_a_very_long_chain_is_no_recursion(small_project: Project) -> None:
    box(small_project, "r0", seed_of, soft=True, stems=small_project.usable[:1])
    for n in range(1, 1200):
        folder = small_project.root / "runs" / f"r{n}" / "views" / "default"
        folder.mkdir(parents=True)
        (folder / "views.json").write_text(json.dumps({"source": f"r{n - 1}", "method": "crf"}))
    stages = stages_of(small_project.root, source_of(small_project.root, "r0"))
    assert len(stages) == 1200 and stages[-1].name.count("+CRF") == 1199


def test_only_images_that_every_stage_holds_are_compared_and_it_is_said(chain: Project) -> None:
    stems = chain.usable
    shutil.rmtree(source_of(chain.root, "cam-crf").path(stems[0]).parent)
    shutil.rmtree(source_of(chain.root, "cam-irn").path(stems[5]).parent)
    events = ended(chain, sweep=True)
    result = events[-1].result
    assert len(result["stages"]) == 4 and {row["images"] for row in result["stages"]} == {4}
    for row, way in zip(result["stages"], WAYS, strict=True):
        assert row["miou"] == pytest.approx(counted(chain, way, stems[1:5])["miou"]), row["name"]
    (text,) = [e.text for e in events if isinstance(e, Said) and e.level == "warning"]
    assert text.startswith("2 of 6 images are left out, because not every stage holds them: ")
    assert "lacks 1" in text and result["left_out"] == [text]


def test_a_refinement_tried_on_one_image_does_not_empty_the_table(chain: Project) -> None:
    box(chain, "trial", less(2), source="cam", refiner="crf", stems=chain.usable[:1])
    box(chain, "empty", less(2), source="cam", refiner="crf", stems=())
    result = measured(chain)
    assert len(result["stages"]) == 4 and result["images"] == 6
    assert len(result["left_out"]) == 2
    assert any(
        "trial/default (+CRF) is left out, because it holds 1 of the 6" in t for t in result["left_out"]
    )
    # Where there is nothing fuller, few images are still a comparison.
    few = measured(chain, source="cam-irn", split="val")
    assert few["images"] == 2
    box(chain, "irn-crf", less(2), source="cam-irn", refiner="crf", stems=chain.usable[:1])
    few = measured(chain, source="cam-irn")
    assert [row["images"] for row in few["stages"]] == [1, 1] and "5 of 6 images" in few["left_out"][0]


def test_refinements_of_two_splits_have_no_image_in_common(small_project: Project) -> None:
    box(small_project, "cam", seed_of, soft=True)
    box(small_project, "one", less(2), source="cam", refiner="crf", stems=small_project.usable[:3])
    box(small_project, "two", less(2), source="cam", refiner="par", stems=small_project.usable[3:])
    result = measured(small_project)
    assert [row["source"] for row in result["stages"]] == ["cam/default", "one/default"]
    assert result["images"] == 3 and "two/default (+PAR) is left out" in result["left_out"][1]


def test_progress_runs_over_all_stages_and_a_stop_ends_it(chain: Project) -> None:
    seen: list[Any] = []
    asked = Evaluate(project=str(chain.root), source="cam", stages=True)
    for event in run(asked):
        seen.append(event)
    marks = [e for e in seen if isinstance(e, Progress)]
    assert {e.total for e in marks} == {24} and marks[-1].done == 24 and marks[-1].seconds_left == 0
    assert marks[0].seconds_left is not None
    calls = iter(range(1000))
    events = list(run(asked, lambda: next(calls) >= 8))
    assert isinstance(events[-1], Stopped)
    assert max(e.done for e in events if isinstance(e, Progress)) < 24


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({"source": None, "labels": "first"}, "Labels have no refinements"),
        ({"source": "nobody"}, "no run 'nobody'"),
        ({"source": "cam/nobody"}, "no views 'nobody'"),
        ({"sweep": True, "threshold": 0.3}, "Both --sweep and --threshold"),
        ({"source": None}, "Neither or both"),
    ],
)
def test_mistakes_are_sentences(chain: Project, other: dict[str, Any], found: str) -> None:
    ending = ended(chain, **other)[-1]
    assert isinstance(ending, Failed) and ending.mistake and not ending.trace and found in ending.message


def test_a_source_without_the_images_of_the_split_is_a_sentence(chain: Project) -> None:
    for stem in chain.stems("val"):
        shutil.rmtree(source_of(chain.root, "cam").path(stem).parent)
    ending = ended(chain, split="val")[-1]
    assert isinstance(ending, Failed) and "cam/default holds none of these images" in ending.message


def test_maps_of_two_kinds_cannot_be_swept(chain: Project) -> None:
    crf, seed = source_of(chain.root, "cam-crf"), source_of(chain.root, "cam")
    shutil.copy(crf.path(chain.usable[2]), seed.path(chain.usable[2]))
    for stages in (True, False):
        ending = ended(chain, sweep=True, stages=stages)[-1]
        assert isinstance(ending, Failed) and ending.mistake
        assert "some images and none for others" in ending.message
    assert isinstance(ended(chain)[-1], Finished)


def test_many_classes_and_stages_still_fit_into_a_message(
    chain: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = measured(chain)
    monkeypatch.setattr("engine.steps.evaluate._MOST_CELLS", 4 * 4 * 4 - 1)
    bare = measured(chain)
    assert "confusion" in bare and "iou" in bare
    keys = {"source", "name", "miou", "precision", "recall", "noise", "threshold", "images"}
    for row, whole in zip(bare["stages"], full["stages"], strict=True):
        assert row == {key: whole[key] for key in keys}


def test_the_shell_prints_one_table(chain: Project, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "-p", str(chain.root), "--source", "cam", "--stages", "--sweep"]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    heads = ["stage", "maps", "mIoU", "gain", "precision", "recall", "noise", "threshold"]
    assert lines[0].split() == heads
    result = measured(chain, sweep=True)
    for line, row in zip(lines[1:5], result["stages"], strict=True):
        assert line.startswith(row["name"]) and f"{100 * row['miou']:.1f} %" in line
    gain = 100 * (result["stages"][3]["miou"] - result["miou"])
    assert gain > 0 and f"{gain:+.1f}" in lines[4] and "+" not in lines[1]
    assert lines[1].split()[-1] == "0.25" and lines[2].split()[-1] == "-"
    assert "same 6 images" in lines[-1] and "chosen with the truth" in lines[-1]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(result))


def test_the_option_is_read_back_and_labels_have_none(
    chain: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Evaluate(project="pets", source="cam", stages=True)
    back = read(arguments(job))
    assert isinstance(back, Evaluate) and back.stages and not back.sweep
    assert main(["evaluate", "-p", str(chain.root), "--labels", "first", "--stages"]) == 2
    assert "--source" in capsys.readouterr().err


def test_nothing_is_written(chain: Project) -> None:
    def tree(root: Path) -> dict[str, float]:
        return {str(p): p.stat().st_mtime for p in root.rglob("*")}

    before = tree(chain.root)
    measured(chain)
    assert tree(chain.root) == before
