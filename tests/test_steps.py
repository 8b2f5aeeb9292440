"""The steps as jobs: new, label, evaluate, export, import, rerun, relink, and what they leave behind."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from engine import labels as rules
from engine.errors import UserError
from engine.formats import formats
from engine.messages import (
    Evaluate,
    Export,
    Failed,
    Finished,
    Import,
    Infer,
    Job,
    Label,
    New,
    Relink,
    Rerun,
    Said,
    Stopped,
    Train,
    Viewed,
)
from engine.results import CamStack
from engine.run import run
from engine.steps.evaluate import THRESHOLDS
from engine.store import (
    Project,
    label_set,
    label_sets,
    new_run,
    open_project,
    run_of,
    runs_of,
    source_of,
    stale,
)
from engine.store.truth import read_truth
from engine.tags import PRESENT, UNKNOWN

SIZE = (48, 64)


def ended(job: Job, stop=lambda: False) -> Any:
    return list(run(job, stop))[-1]


def done(job: Job) -> dict[str, Any]:
    ending = ended(job)
    assert isinstance(ending, Finished), ending
    return ending.result


def mistake(job: Job) -> str:
    """The sentence of a job that the person got wrong: three parts or two, no trace."""
    ending = ended(job)
    assert isinstance(ending, Failed) and ending.mistake and not ending.trace, ending
    assert len(ending.message.splitlines()) >= 2, ending.message
    return ending.message


def said(events: list[Any], level: str = "warning") -> str:
    return "\n".join(e.text for e in events if isinstance(e, Said) and e.level == level)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"/" for p in sorted(folder.rglob("*"))
    }


def give_maps(project: Project, name: str = "hand", background: bool = False, **other: Any) -> str:
    """A run whose maps are the truth at 0.9 and a wrong half at 0.4, so that every result is known."""
    made = new_run(
        project.root,
        name,
        name,
        {"method": "imported", "status": "finished", "classes": list(project.classes)},
    )
    views = made.views()
    for stem in project.usable:
        truth = read_truth(project, stem)
        classes = project.tags().present(stem)
        maps = np.zeros((len(classes), *truth.shape), np.float16)
        for k, c in enumerate(classes):
            maps[k, 24:] = 0.4
            maps[k][truth == c + 1] = 0.9
        score = np.full(truth.shape, 0.5, np.float16) if background else None
        CamStack(
            image=stem, size=truth.shape, classes=classes, maps=maps, peaks=np.ones(len(classes), np.float32),
            cell=1.0, origin=0.0, scores=np.ones(3, np.float32), background=score, facts=dict(other),
        ).save(views.path(stem))  # fmt: skip
    (views.folder / "views.json").write_text(json.dumps({"kinds": ["cams"]}))
    return name


# --- new -------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Images a, b, c of 8 x 10 px, a tag list and truth, and no project yet."""
    for folder in ("images", "truth"):
        (tmp_path / folder).mkdir()
    for n, stem in enumerate("abc"):
        Pillow.fromarray(np.full((8, 10, 3), 40 * n, np.uint8)).save(tmp_path / "images" / f"{stem}.png")
        Pillow.fromarray(np.full((8, 10), n, np.uint8)).save(tmp_path / "truth" / f"{stem}.png")
    (tmp_path / "tags.csv").write_text("image,tags\na,zebra;cow\nb,?cow\n")
    (tmp_path / "classes.txt").write_text("zebra\ncow\nyak\n")
    (tmp_path / "train.txt").write_text("a\nb\n")
    return tmp_path


def new(place: Path, **other: Any) -> New:
    given = {"project": "project", "images": "images", "tags": "tags.csv", **other}
    paths = {
        k: str(place / v) if k != "class_names" and v is not None else v
        for k, v in given.items()
        if k != "split"
    }
    return New(**paths, split=tuple(other.get("split", ())))


def test_new(place: Path) -> None:
    events = list(
        run(new(place, classes="classes.txt", truth="truth", split=[f"train={place / 'train.txt'}"]))
    )
    assert isinstance(events[-1], Finished), events[-1]
    result = events[-1].result
    assert (
        result["images"] == 3
        and result["classes"] == ["zebra", "cow", "yak"]
        and result["splits"] == {"train": 2}
    )
    assert (
        result["untagged"] == 1
        and result["tags"] == {"zebra": 1, "cow": 1, "yak": 0}
        and result["set_aside"] == {}
    )
    project = open_project(place / "project")
    assert project.tags().row("a").tolist() == [1, 1, 0] and project.tags().row("b").tolist() == [0, -1, 0]
    assert project.tags().row("c").tolist() == [-1, -1, -1]
    assert "1 of 3 images are not in the file" in said(events)
    assert read_truth(project, "c").max() == 2 and project.truth_place.classes == project.classes


def test_new_takes_the_order_of_classes_from_the_file_or_from_the_person(place: Path) -> None:
    assert done(new(place))["classes"] == ["cow", "zebra"]
    result = done(new(place, project="p2", tags=None, class_names=("q", "p")))
    assert result["classes"] == ["q", "p"] and result["untagged"] == 3
    assert not (open_project(place / "p2").tags().states != UNKNOWN).any()
    assert done(new(place, project="p3", tags=None, classes="classes.txt"))["classes"] == [
        "zebra",
        "cow",
        "yak",
    ]


def test_new_with_truth_in_the_order_of_voc(place: Path) -> None:
    done(new(place, truth="truth", truth_classes=None))
    job = new(place, project="p2", truth="truth")
    done(New(**{**vars(job), "truth_classes": "voc"}))
    voc = open_project(place / "p2")
    assert len(voc.truth_place.classes) == 20 and voc.truth_place.classes[9] == "cow"
    Pillow.fromarray(np.full((8, 10), 10, np.uint8)).save(place / "truth" / "a.png")
    assert (read_truth(voc, "a") == 1).all(), "cow is VOC's tenth class and this project's first"
    assert not read_truth(voc, "b").any(), "aeroplane is no class of the project"
    with pytest.raises(UserError, match="index 10"):
        read_truth(open_project(place / "project"), "a")


MISTAKES = {
    "no images": {"images": "nowhere"},
    "no image in it": {"images": "empty"},
    "no tags": {"tags": "nowhere.csv"},
    "tags of a stranger": {"tags": "stranger.csv"},
    "a tag twice": {"tags": "twice.csv"},
    "neither": {"tags": None},
    "both": {"classes": "classes.txt", "class_names": ("a",)},
    "no class file": {"classes": "nowhere.txt"},
    "a class that is not listed": {"classes": "few.txt"},
    "no truth": {"truth": "nowhere"},
    "order without truth": {"truth_classes": "voc"},
    "order of nothing": {"truth": "truth", "truth_classes": "nowhere.txt"},
    "split without file": {"split": ["train"]},
    "split twice": {"split": ["a={}/train.txt", "a={}/train.txt"]},
    "split of all": {"split": ["all={}/train.txt"]},
    "split with a path": {"split": ["../x={}/train.txt"]},
    "split of strangers": {"split": ["a={}/stranger.txt"]},
    "split of nothing": {"split": ["a={}/nowhere.txt"]},
    "taken": {"project": "truth"},
    "a file": {"project": "tags.csv"},
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_leaves_nothing_behind(place: Path, name: str) -> None:
    (place / "stranger.csv").write_text("image,tags\nnobody,cow\n")
    (place / "twice.csv").write_text("image,tags\na,cow\na,zebra\n")
    (place / "few.txt").write_text("cow\n")
    (place / "stranger.txt").write_text("nobody\n")
    (place / "empty").mkdir()
    other = dict(MISTAKES[name])
    other["split"] = [s.format(place) for s in other.get("split", [])]
    job = new(place, **other)
    if other.get("truth_classes") == "voc":
        job = New(**{**vars(job), "truth_classes": "voc"})
    before = tree(place)
    mistake(job)
    assert tree(place) == before


def test_stopping_leaves_nothing_behind(place: Path) -> None:
    before = tree(place)
    ending = ended(new(place), lambda: True)
    assert isinstance(ending, Stopped) and not ending.resumable
    assert tree(place) == before


def test_the_place_is_looked_at_before_the_images(place: Path, monkeypatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("minutes of looking at images")

    monkeypatch.setattr("engine.images.read", never)
    assert "not empty" in mistake(new(place, project="truth"))


def test_images_that_cannot_be_used_are_set_aside_and_the_rest_go_on(place: Path) -> None:
    folder = place / "images"
    (folder / "b.png").write_bytes(b"no image")
    (folder / "c.jpg").write_bytes((folder / "c.png").read_bytes())  # c stands twice: both are in doubt
    (folder / "empty.png").write_bytes(b"")
    (folder / "photo.heic").write_bytes(b"x")
    (folder / ".hidden.png").write_bytes((folder / "a.png").read_bytes())
    if os.name != "nt":
        for odd in (b"bell\a.png", b"latin\xe9.png", b"back\\slash.png", b"line\nend.png", b" .png"):
            Path(os.fsdecode(os.fsencode(folder) + b"/" + odd)).write_bytes((folder / "a.png").read_bytes())
        (folder / "broken.png").symlink_to("nowhere")
    events = list(run(new(place, tags=None, class_names=("cow",), split=[])))
    assert isinstance(events[-1], Finished), events[-1]
    project = open_project(place / "project")
    assert project.usable == ("a",)
    aside = {i.file: i.aside for i in project.images.values() if i.aside}
    assert (
        events[-1].result["set_aside"] == aside and {"b.png", "c.png", "c.jpg", "empty.png"} <= aside.keys()
    )
    assert "same name" in aside["c.jpg"] and all(aside.values()) and len(aside) == len(project.images) - 1
    assert "set aside" in said(events)
    assert "\n" not in "".join(aside) and "\a" not in "".join(project.images)
    assert project.relink(folder) == [], "what is set aside need not be there"


def test_without_a_single_image_there_is_no_project(place: Path) -> None:
    for stem in "abc":
        (place / "images" / f"{stem}.png").write_bytes(b"no image")
    before = tree(place)
    assert "None of the 3 images" in mistake(new(place))
    assert tree(place) == before


# --- label -----------------------------------------------------------------------------------------


def label(project: Project, source: str, name: str = "seed", **other: Any) -> Label:
    return Label(project=str(project.root), source=source, name=name, threads=1, **other)


RULES = ["constant:0.5", "constant:0.3", "power:4", "one_minus_max"]


@pytest.mark.parametrize("background", RULES)
@pytest.mark.parametrize("ignore", [None, "0.3,0.6"])
def test_labels_follow_their_rule(small_project: Project, background: str, ignore: str | None) -> None:
    source = give_maps(small_project)
    result = done(label(small_project, source, background=background, ignore=ignore))
    assert result["images"] == 6 and result["source"] == "hand/default" and result["passed_over"] == []
    made = label_set(small_project.root, small_project.colours, "seed")
    rule = rules.LabelRule.parse(background, ignore)
    for stem in small_project.usable:
        stack = CamStack.load(source_of(small_project.root, source).path(stem))
        best, which = rules.best_class(stack.full())
        np.testing.assert_array_equal(made.read(stem), rules.apply(rule, best, which, stack.classes))
        truth, mask = read_truth(small_project, stem), made.read(stem)
        if background == "constant:0.5" and ignore is None:
            np.testing.assert_array_equal(mask, truth)  # 0.9 is above, 0.4 below
        if ignore:
            assert (mask[truth > 0] == truth[truth > 0]).all() and (mask[24:][truth[24:] == 0] == 255).all()
    assert (
        made.facts["source"] == "hand/default" and made.facts["made_by"]["rule"]["background"] in background
    )


def test_an_image_without_tags_is_all_background(small_project: Project) -> None:
    small_project.set_tags([("im_000", "*", UNKNOWN), ("im_001", "*", 0)])
    done(label(small_project, give_maps(small_project)))
    made = label_set(small_project.root, small_project.colours, "seed")
    for stem in ("im_000", "im_001"):
        assert made.read(stem).shape == SIZE and not made.read(stem).any()


def test_small_regions_go(small_project: Project) -> None:
    done(label(small_project, give_maps(small_project), background="constant:0.5", min_region=10_000))
    made = label_set(small_project.root, small_project.colours, "seed")
    for stem in small_project.usable:  # when nothing would stay, the mask is returned as it is
        assert set(np.unique(made.read(stem))) <= {0, *np.unique(read_truth(small_project, stem))}
    done(label(small_project, "hand", "few", background="constant:0.5", min_region=100))
    for stem in small_project.usable:
        few = label_set(small_project.root, small_project.colours, "few").read(stem)
        assert all(np.sum(few == v) >= 100 for v in np.unique(few))


def test_a_source_with_background_scores_needs_no_rule(small_project: Project) -> None:
    source = give_maps(small_project, background=True)
    done(label(small_project, source, background="constant:0.95"))
    made = label_set(small_project.root, small_project.colours, "seed")
    for stem in small_project.usable:
        np.testing.assert_array_equal(made.read(stem), read_truth(small_project, stem))


def marks(project: Project, name: str = "seed") -> dict[str, int]:
    made = label_set(project.root, project.colours, name)
    return {s: made.path(s).stat().st_mtime_ns for s in made.stems()}


def test_what_was_made_the_same_way_is_kept_and_what_was_not_is_made_again(small_project: Project) -> None:
    source = give_maps(small_project)
    done(label(small_project, source))
    first = marks(small_project)
    made = label_set(small_project.root, small_project.colours, "seed")
    made.path("im_001").unlink()
    made.path("im_002").write_bytes(made.path("im_002").read_bytes()[:-20])
    stack = CamStack.load(source_of(small_project.root, source).path("im_003"))
    stack.maps[:] = 0
    stack.save(source_of(small_project.root, source).path("im_003"))
    events = list(run(label(small_project, source)))
    assert not said(events) and sum(isinstance(e, Viewed) for e in events) == 6
    second = marks(small_project)
    assert {s for s in first if first[s] != second[s]} == {"im_001", "im_002", "im_003"}
    assert not made.read("im_003").any()


def test_another_rule_replaces_every_mask_and_says_so(small_project: Project) -> None:
    source = give_maps(small_project)
    done(label(small_project, source))
    events = list(run(label(small_project, source, background="constant:0.5", split="val")))
    assert "they are replaced" in said(events)
    made = label_set(small_project.root, small_project.colours, "seed")
    # The masks of train followed the other rule; side by side they would pass for one set.
    assert made.stems() == small_project.stems("val") and made.facts["made_by"]["rule"]["value"] == 0.5
    assert not said(list(run(label(small_project, source, background="constant:0.5"))))
    assert made.stems() == small_project.usable


@pytest.mark.parametrize("crf", ["none", "irn"])
def test_stopped_and_gone_on_with_it_is_what_it_would_have_been(small_project: Project, crf: str) -> None:
    source = give_maps(small_project)
    done(label(small_project, source, "whole", crf=crf))
    asked = itertools.count()
    ending = ended(label(small_project, source, crf=crf), lambda: next(asked) >= 4)
    assert isinstance(ending, Stopped) and ending.resumable
    made = label_set(small_project.root, small_project.colours, "seed")
    first = marks(small_project)
    assert 0 < len(first) < 6 and not list(made.folder.glob(".part-*"))
    done(label(small_project, source, crf=crf))
    assert {s: marks(small_project)[s] for s in first} == first
    whole = label_set(small_project.root, small_project.colours, "whole")
    for stem in small_project.usable:
        assert made.path(stem).read_bytes() == whole.path(stem).read_bytes()


def test_a_crf_in_workers_does_what_it_does_here(small_project: Project) -> None:
    from engine.steps.label import crf_params, mask_of

    source = give_maps(small_project)
    job = label(small_project, source, crf="deeplab")
    done(Label(**{**vars(job), "threads": 2}))
    made = label_set(small_project.root, small_project.colours, "seed")
    rule = rules.LabelRule.parse("constant:0.2", crf="deeplab")
    changed = 0
    for stem in small_project.usable:
        stack = CamStack.load(source_of(small_project.root, source).path(stem))
        wanted = mask_of(stack, rule, small_project.read(stem).pixels, crf_params("deeplab"))
        np.testing.assert_array_equal(made.read(stem), wanted)
        changed += not np.array_equal(wanted, mask_of(stack, rule))
    assert changed, "the CRF changes something"


def test_an_image_that_broke_is_passed_over_by_the_crf(small_project: Project) -> None:
    source = give_maps(small_project)
    small_project.path("im_001").write_bytes(b"no image any more")
    Pillow.fromarray(np.zeros((5, 5, 3), np.uint8)).save(small_project.path("im_002"))
    events = list(run(label(small_project, source, crf="irn")))
    assert isinstance(events[-1], Finished) and sorted(events[-1].result["passed_over"]) == [
        "im_001",
        "im_002",
    ]
    assert events[-1].result["images"] == 4 and "im_001 was passed over" in said(events)
    assert done(label(small_project, source, "plain"))["images"] == 6, (
        "without a CRF the photograph is not needed"
    )


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({"source": "nobody"}, "no run 'nobody'"),
        ({"source": "hand/other"}, "no views 'other'"),
        ({"background": "constant:2"}, "out of its limits"),
        ({"background": "constnat:0.2"}, "Did you mean 'constant'?"),
        ({"ignore": "0.6,0.3"}, "out of its limits"),
        ({"ignore": "0.3"}, "is not two numbers"),
        ({"crf": "deplab"}, "Did you mean 'deeplab'?"),
        ({"min_region": -1}, "negative"),
        ({"split": "trian"}, "Did you mean 'train'?"),
        ({"name": "../x"}, "cannot name labels"),
        ({"name": "corrected"}, "cannot name labels"),
    ],
)
def test_wrong_labels_are_sentences_and_leave_nothing(
    small_project: Project, other: dict[str, Any], found: str
) -> None:
    give_maps(small_project)
    before = tree(small_project.root)
    assert found in mistake(label(small_project, **{"source": "hand", **other}))
    assert tree(small_project.root) == before


def test_labels_of_others_are_not_written_over(small_project: Project) -> None:
    source = give_maps(small_project)
    for facts, found in (
        ({"imported": {"format": "png"}}, "were imported"),
        (None, "not made by this command"),
    ):
        theirs = label_set(small_project.root, small_project.colours, "theirs", new=True)
        theirs.write("im_000", np.ones(SIZE, np.uint8))
        (theirs.folder / "rule.json").unlink(missing_ok=True)
        if facts:
            theirs.write_facts(facts)
        assert found in mistake(label(small_project, source, "theirs"))
        assert theirs.read("im_000").all() and theirs.stems() == ("im_000",)
        shutil.rmtree(theirs.folder)


def test_maps_of_some_images_label_those_and_warn(small_project: Project) -> None:
    source = give_maps(small_project)
    for stem in small_project.usable[:4]:
        shutil.rmtree(source_of(small_project.root, source).path(stem).parent)
    events = list(run(label(small_project, source)))
    assert events[-1].result["images"] == 2 and "4 of 6 images have no maps" in said(events)
    assert "no maps of these images" in mistake(label(small_project, source, split="train"))


def test_maps_that_do_not_fit_are_never_made_into_a_mask(small_project: Project) -> None:
    source = give_maps(small_project)
    path = source_of(small_project.root, source).path("im_000")
    good = CamStack.load(path)
    for other, found in (
        ({"size": (9, 9)}, "9 x 9 px"),
        ({"image": "im_001"}, "im_001"),
        ({"classes": (99,)}, "class 99"),
    ):
        CamStack(**{**vars(good), **other}).save(path)
        for job in (
            label(small_project, source),
            Evaluate(project=str(small_project.root), source=source),
            Evaluate(project=str(small_project.root), source=source, sweep=True),
            export(small_project, source, "psa-cam", small_project.root.parent / "out"),
        ):
            assert found in mistake(job)
    path.write_bytes(path.read_bytes()[:100])
    assert "cannot be read" in mistake(label(small_project, source))
    assert not (small_project.root.parent / "out").exists()


# --- evaluate --------------------------------------------------------------------------------------


def evaluate(project: Project, **other: Any) -> dict[str, Any]:
    return done(Evaluate(project=str(project.root), **other))


@pytest.fixture
def squares(place: Path) -> Project:
    """Three images of 8 x 10 px: truth and masks of which every number is counted by hand below."""
    done(new(place, classes="classes.txt", truth="truth"))
    project = open_project(place / "project")
    for stem in "abc":
        Pillow.fromarray(np.zeros((8, 10), np.uint8)).save(place / "truth" / f"{stem}.png")
    truth = np.zeros((8, 10), np.uint8)
    truth[:4] = 1  # 40 px zebra
    truth[7] = 255  # 10 px void
    Pillow.fromarray(truth).save(place / "truth" / "a.png")
    mask = np.zeros((8, 10), np.uint8)
    mask[:2] = 1  # 20 px hit
    mask[4] = 1  # 10 px on the background
    mask[5] = 255  # 10 px unsure, in the background
    mask[7] = 2  # all of it void
    made = label_set(project.root, project.colours, "m", new=True)
    made.write("a", mask)
    made.write("b", np.zeros((8, 10), np.uint8))
    made.write_facts({"source": "x"})
    return project


def test_the_numbers_of_labels_are_those_counted_by_hand(squares: Project) -> None:
    job = Evaluate(project=str(squares.root), labels="m")
    events = list(run(job))
    result = events[-1].result
    # Zebra: 20 of 40 found, 10 wrong: 20 / 50. Background: 110 px, 10 given to zebra, 20 of zebra taken.
    assert result["iou"] == {"background": pytest.approx(100 / 130), "zebra": 0.4, "cow": None, "yak": None}
    assert result["miou"] == pytest.approx((100 / 130 + 0.4) / 2)
    assert result["precision"] == pytest.approx((100 / 120 + 20 / 30) / 2)
    assert result["recall"] == pytest.approx((100 / 110 + 0.5) / 2)
    assert result["noise"] == pytest.approx(10 / 30) and result["over_activation"]["zebra"] == pytest.approx(
        10 / 30
    )
    assert result["threshold"] is None and result["images"] == 2
    assert result["confusion"] == [[100, 10, 0, 0], [20, 20, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert result["classes"] == ["background", "zebra", "cow", "yak"]
    assert "1 of 3 images are not in the labels 'm'" in said(events)


def test_a_source_at_a_threshold_and_swept(small_project: Project) -> None:
    source = give_maps(small_project)
    best = evaluate(small_project, source=source, threshold=0.5)
    assert (
        best["miou"] == 1
        and best["threshold"] == 0.5
        and best["source"] == "hand/default"
        and best["images"] == 6
    )
    assert evaluate(small_project, source=source)["threshold"] == 0.2
    assert evaluate(small_project, source=source, threshold=1)["recall"] < 0.5
    sweep = evaluate(small_project, source=source, sweep=True, split="train")
    assert (
        sweep["miou"] == 1
        and 0.4 <= sweep["threshold"] < 0.9
        and sweep["images"] == 4
        and sweep["split"] == "train"
    )
    assert sweep["curve"]["threshold"] == list(THRESHOLDS)
    for k in (0, 20, 45, 95):
        alone = evaluate(small_project, source=source, threshold=THRESHOLDS[k], split="train")
        assert alone["miou"] == sweep["curve"]["miou"][k], "the sweep is the loop, to the last digit"
    assert (
        sweep["confusion"]
        == evaluate(small_project, source=source, threshold=sweep["threshold"], split="train")["confusion"]
    )


def test_labels_and_their_source_agree(small_project: Project) -> None:
    source = give_maps(small_project)
    done(label(small_project, source, background="constant:0.35"))
    keys = ("miou", "iou", "precision", "recall", "noise", "confusion")
    one, two = evaluate(small_project, labels="seed"), evaluate(small_project, source=source, threshold=0.35)
    assert {k: one[k] for k in keys} == {k: two[k] for k in keys} and one["miou"] < 1


def test_background_scores_leave_nothing_to_sweep(small_project: Project) -> None:
    source = give_maps(small_project, background=True)
    events = list(run(Evaluate(project=str(small_project.root), source=source, sweep=True)))
    assert events[-1].result["miou"] == 1 and events[-1].result["threshold"] is None
    assert "no threshold to sweep" in said(events, "info")


def test_thresholds_are_what_they_are_called() -> None:
    assert len(THRESHOLDS) == 100 and all(t == round(k / 100, 2) for k, t in enumerate(THRESHOLDS))


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({}, "Neither or both"),
        ({"labels": "m", "source": "hand"}, "Neither or both"),
        ({"labels": "m", "sweep": True}, "no threshold"),
        ({"labels": "m", "threshold": 0.5}, "no threshold"),
        ({"source": "hand", "sweep": True, "threshold": 0.5}, "Both --sweep and --threshold"),
        ({"source": "hand", "threshold": 1.5}, "out of its limits"),
        ({"source": "hand", "threshold": float("nan")}, "out of its limits"),
        ({"labels": "nobody"}, "no labels 'nobody'"),
        ({"source": "nobody"}, "no run 'nobody'"),
        ({"labels": "m", "split": "tset"}, "no split"),
    ],
)
def test_wrong_evaluations_are_sentences(squares: Project, other: dict[str, Any], found: str) -> None:
    new_run(squares.root, "hand", "hand", {}).views().path("a").parent.mkdir(parents=True)
    (squares.root / "runs" / "hand" / "views" / "default" / "views.json").write_text("{}")
    assert found in mistake(Evaluate(project=str(squares.root), **other))


def test_without_truth_it_says_so(place: Path, squares: Project) -> None:
    for stem in "abc":
        (place / "truth" / f"{stem}.png").unlink()
    assert "None of these images has a truth mask" in mistake(Evaluate(project=str(squares.root), labels="m"))
    done(new(place, project="p2"))
    assert "has no truth masks" in mistake(Evaluate(project=str(place / "p2"), labels="m"))


def test_masks_of_another_size_or_class_are_named(place: Path, squares: Project) -> None:
    made = label_set(squares.root, squares.colours, "m")
    made.write("b", np.zeros((3, 3), np.uint8))
    assert "b" in mistake(Evaluate(project=str(squares.root), labels="m"))
    made.write("b", np.full((8, 10), 9, np.uint8))
    assert "index 9" in mistake(Evaluate(project=str(squares.root), labels="m"))


# --- export and import -----------------------------------------------------------------------------


def export(project: Project, name: str, form: str, out: Path, **other: Any) -> Export:
    return Export(project=str(project.root), labels=name, format=form, out=str(out), **other)


MASKS = [name for name, form in formats().items() if form.kind == "masks"]
CAMS = [name for name, form in formats().items() if form.kind == "cams"]


def test_every_format_is_tried() -> None:
    assert {"voc", "png", "npz"} <= set(MASKS) and {"irn-cam", "psa-cam"} <= set(CAMS)


@pytest.mark.parametrize("form", MASKS)
def test_masks_come_back_as_they_went(small_project: Project, tmp_path: Path, form: str) -> None:
    done(label(small_project, give_maps(small_project), background="constant:0.5", ignore="0.3,0.6"))
    out = tmp_path / "out"
    result = done(export(small_project, "seed", form, out))
    assert result["images"] == 6 and result["left_out"] == 0 and result["lost"] and result["out"] == str(out)
    facts = json.loads((out / "provenance.json").read_text())
    assert (
        facts["made_by"] == "wsss-napari"
        and facts["classes"] == ["red", "green", "blue"]
        and facts["images"] == 6
    )
    assert facts["rule"]["rule"]["ignore"] == [0.3, 0.6] and facts["source"] == "hand/default"
    assert facts["lost"] == result["lost"] and facts["version"] and facts["drawn"] and facts["when"]
    back = done(Import(project=str(small_project.root), format=form, path=str(out), name="back"))
    assert back == {"name": "back", "kind": "masks", "images": 6}
    a, b = (label_set(small_project.root, small_project.colours, n) for n in ("seed", "back"))
    for stem in small_project.usable:
        # A polygon for each object is all that YOLO holds.
        sent = np.where((a.read(stem) == 255) & (form == "yolo-seg"), 0, a.read(stem))
        np.testing.assert_array_equal(sent, b.read(stem))
    assert b.facts["imported"] == {"format": form, "from": "out"}
    assert {255} < set(np.unique(a.read("im_000")))


@pytest.mark.parametrize("form", CAMS)
@pytest.mark.parametrize("by_labels", [False, True])
def test_maps_come_back_as_they_went(
    small_project: Project, tmp_path: Path, form: str, by_labels: bool
) -> None:
    source = give_maps(small_project)
    done(label(small_project, source))
    done(export(small_project, "seed" if by_labels else source, form, tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "provenance.json").read_text())["source"] == "hand/default"
    job = Import(project=str(small_project.root), format=form, path=str(tmp_path / "out"), name="back")
    assert done(job) == {"name": "back", "kind": "cams", "images": 6}
    back = source_of(small_project.root, "back")
    assert back.run.status == "finished" and back.run.method == "imported"
    for stem in small_project.usable:
        a, b = CamStack.load(source_of(small_project.root, source).path(stem)), CamStack.load(back.path(stem))
        assert a.classes == b.classes
        np.testing.assert_array_equal(a.full(), b.full())
    assert evaluate(small_project, source="back", threshold=0.5)["miou"] == 1
    assert "a run 'back' already" in mistake(job)


@pytest.mark.parametrize("form", ["voc", "psa-cam"])
def test_stopping_an_export_or_an_import_leaves_nothing(
    small_project: Project, tmp_path: Path, form: str
) -> None:
    done(label(small_project, give_maps(small_project)))
    before = tree(tmp_path)
    assert isinstance(ended(export(small_project, "seed", form, tmp_path / "out"), lambda: True), Stopped)
    assert tree(tmp_path) == before
    done(export(small_project, "seed", form, tmp_path / "out"))
    before = tree(tmp_path)
    for after in (1, 3):
        asked = itertools.count(1)
        job = Import(project=str(small_project.root), format=form, path=str(tmp_path / "out"), name="back")
        assert isinstance(ended(job, lambda asked=asked, after=after: next(asked) >= after), Stopped)
        assert tree(tmp_path) == before


def test_an_export_that_fails_leaves_what_stood_there(small_project: Project, tmp_path: Path) -> None:
    done(label(small_project, give_maps(small_project)))
    done(export(small_project, "seed", "png", tmp_path / "out"))
    made = label_set(small_project.root, small_project.colours, "seed")
    made.path("im_004").write_bytes(made.path("im_004").read_bytes()[:60])
    before = tree(tmp_path)
    assert "im_004" in mistake(export(small_project, "seed", "png", tmp_path / "out", overwrite=True))
    assert tree(tmp_path) == before


def test_overwrite_replaces_our_own_export_and_nothing_else(small_project: Project, tmp_path: Path) -> None:
    done(label(small_project, give_maps(small_project)))
    out = tmp_path / "out"
    done(export(small_project, "seed", "png", out))
    assert "exists already" in mistake(export(small_project, "seed", "png", out))
    (out / "left_over.txt").write_text("x")
    done(export(small_project, "seed", "npz", out, overwrite=True, split="val"))
    assert sorted(p.name for p in out.glob("*.npz")) == ["im_004.npz", "im_005.npz"]
    assert not (out / "left_over.txt").exists() and not (out / "im_000.png").exists()
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for text in ("", "{}", '{"made_by": "another tool"}', "no json"):
        (theirs / "provenance.json").write_text(text)
        assert "was not made by" in mistake(export(small_project, "seed", "png", theirs, overwrite=True))
        assert (theirs / "provenance.json").read_text() == text
    (theirs / "provenance.json").unlink()
    done(export(small_project, "seed", "png", theirs, overwrite=True))
    (tmp_path / "file").write_text("x")
    assert "was not made by" in mistake(
        export(small_project, "seed", "png", tmp_path / "file", overwrite=True)
    )


def test_an_export_does_not_land_among_the_project_or_its_images(
    small_project: Project, tmp_path: Path
) -> None:
    done(label(small_project, give_maps(small_project)))
    root = small_project.root
    (tmp_path / "provenance.json").write_text('{"made_by": "wsss-napari"}')
    (tmp_path / "images" / "provenance.json").write_text('{"made_by": "wsss-napari"}')
    before = tree(tmp_path)
    for out in (
        root,
        root / "labels" / "x",
        root / "runs",
        root / "exports",
        root / "exports" / ".." / "runs" / "x",
    ):
        assert "among the files of the project" in mistake(
            export(small_project, "seed", "png", out, overwrite=True)
        )
    for out in (tmp_path, tmp_path / "images"):
        mistake(export(small_project, "seed", "png", out, overwrite=True))
    assert tree(tmp_path) == before
    assert done(export(small_project, "seed", "png", root / "exports" / "first"))["images"] == 6


def test_a_dry_run_tells_all_and_writes_nothing(small_project: Project, tmp_path: Path) -> None:
    done(label(small_project, give_maps(small_project), split="train"))
    before = tree(tmp_path)
    result = done(export(small_project, "seed", "voc", tmp_path / "deep" / "out", dry_run=True))
    assert result["dry_run"] and result["images"] == 4 and result["left_out"] == 2
    assert any("2 of 6 images are not in the labels 'seed'" in text for text in result["lost"])
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({"format": "vco"}, "Did you mean 'voc'?"),
        ({"labels": "sede"}, "Did you mean 'seed'?"),
        ({"labels": "corrected"}, "corrected"),
        ({"only": "approved"}, "corrected"),
        ({"labels": "../x"}, "cannot name"),
        ({"split": "val"}, "None of these images"),
        ({"format": "irn-cam", "labels": "plain"}, "were not made from maps"),
        ({"format": "irn-cam", "labels": "nobody"}, "no run 'nobody'"),
    ],
)
def test_wrong_exports_are_sentences_and_write_nothing(
    small_project: Project, tmp_path: Path, other: dict[str, Any], found: str
) -> None:
    done(label(small_project, give_maps(small_project), split="train"))
    plain = label_set(small_project.root, small_project.colours, "plain", new=True)
    plain.write("im_000", np.zeros(SIZE, np.uint8))
    plain.write_facts({"imported": {}})
    before = tree(tmp_path)
    job = export(small_project, "seed", "png", tmp_path / "out")
    assert found in mistake(Export(**{**vars(job), **other}))
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({"path": "nowhere"}, "is no folder"),
        ({"path": "tags.csv"}, "is no folder"),
        ({"format": "pgn"}, "Did you mean 'png'?"),
        ({"name": "seed"}, "labels 'seed' already"),
        ({"name": "corrected"}, "cannot name labels"),
        ({"name": ".x"}, "cannot name labels"),
        ({"path": "wrong"}, "im_000.png"),
        ({"path": "foreign"}, "foreign"),
    ],
)
def test_wrong_imports_are_sentences_and_write_nothing(
    small_project: Project, tmp_path: Path, other: dict[str, Any], found: str
) -> None:
    done(label(small_project, give_maps(small_project)))
    done(export(small_project, "seed", "png", tmp_path / "out"))
    for folder, name in (("wrong", "im_000"), ("foreign", "stranger")):
        (tmp_path / folder).mkdir()
        Pillow.fromarray(np.zeros((3, 3), np.uint8)).save(tmp_path / folder / f"{name}.png")
    before = tree(tmp_path)
    given = {"format": "png", "path": "out", "name": "back", **other}
    assert found in mistake(
        Import(project=str(small_project.root), **{**given, "path": str(tmp_path / given["path"])})
    )
    assert tree(tmp_path) == before


def test_masks_of_others_that_name_other_classes(small_project: Project, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    Pillow.fromarray(np.tile(np.array([0, 1, 2, 255], np.uint8), (48, 16))).save(theirs / "im_000.png")
    (theirs / "classes.txt").write_text("sky\ngreen\n")
    events = list(run(Import(project=str(small_project.root), format="png", path=str(theirs), name="back")))
    assert isinstance(events[-1], Finished) and "sky" in said(events)
    back = label_set(small_project.root, small_project.colours, "back").read("im_000")
    assert back[0, :4].tolist() == [0, 0, 2, 255]
    assert back.shape == SIZE


# --- rerun, relink, staleness ----------------------------------------------------------------------


def train(project: Project, **other: Any) -> Train:
    settings = {"backbone": "tiny_cnn", "pretrained": False, **other.pop("settings", {})}
    values = {"method": "cam", "epochs": 2, "batch": 2, "crop": 32, "threads": 1, **other}
    return Train(project=str(project.root), settings=settings, **values)


def test_a_rerun_gives_the_same_weights(small_project: Project) -> None:
    done(train(small_project, run="first", seed=5, settings={"loss": "focal", "jitter": "0.2"}))
    events = list(run(Rerun(project=str(small_project.root), run="first", threads=1)))
    assert isinstance(events[-1], Finished) and not said(events)
    assert events[-1].result["run"] == "first-again" and events[-1].result["repeats"] == "first"
    first, again = (run_of(small_project.root, name) for name in ("first", "first-again"))
    assert first.weights.read_bytes() == again.weights.read_bytes()
    for key in ("params", "plan", "seed", "digests", "held", "version"):
        assert first.facts[key] == again.facts[key]
    small_project.set_tags([(small_project.splits["train"][0], "blue", PRESENT)])
    events = list(run(Rerun(project=str(small_project.root), run="first", threads=1)))
    assert events[-1].result["run"] == "first-again-2" and "Tags changed" in said(events)


@pytest.mark.parametrize(
    "job", [None, {}, {"format": "png"}, {"verb": "methods"}, [1], {"verb": "train"}, "x"]
)
def test_what_is_no_training_is_not_repeated(small_project: Project, job: Any) -> None:
    new_run(small_project.root, "odd", "odd", {"job": job})
    assert "recorded no training" in mistake(Rerun(project=str(small_project.root), run="odd"))
    assert [r.id for r in runs_of(small_project.root)] == ["odd"]


def test_a_long_name_can_be_repeated(small_project: Project) -> None:
    name = "x" * 64
    done(train(small_project, run=name, epochs=1))
    assert done(Rerun(project=str(small_project.root), run=name, threads=1))["run"] == "x" * 50 + "-again"


def test_relink_as_a_job(small_project: Project, tmp_path: Path) -> None:
    root = str(small_project.root)
    assert "Nothing to relink" in mistake(Relink(project=root))
    shutil.move(tmp_path / "images", tmp_path / "photos")
    assert "lacks 6 of the project's 6" in mistake(Relink(project=root, images=str(tmp_path / "images")))
    assert done(Relink(project=root, images=str(tmp_path / "photos")))["images"] == str(
        (tmp_path / "photos").resolve()
    )
    assert open_project(root).read("im_000").pixels.shape == (*SIZE, 3)
    Pillow.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / "photos" / "im_000.png")
    assert "1 image(s) differ" in said(list(run(Relink(project=root, images=str(tmp_path / "photos")))))
    assert "is no folder" in mistake(Relink(project=root, truth=str(tmp_path / "nowhere")))


def test_boxes_grow_stale_from_left_to_right(small_project: Project) -> None:
    root = str(small_project.root)
    done(train(small_project, epochs=1))
    done(Infer(project=root, run="cam", threads=1))
    done(label(small_project, "cam"))
    boxes = [
        run_of(small_project.root, "cam"),
        source_of(small_project.root, "cam"),
        *label_sets(small_project.root, ()),
    ]

    def reasons() -> list[list[str]]:
        return [stale(open_project(root), box) for box in boxes]

    assert reasons() == [[], [], []]
    done(Infer(project=root, run="cam", threads=1, settings={"flip": False}))
    assert reasons() == [[], [], ["The views cam/default were drawn otherwise after these labels were made."]]
    done(label(small_project, "cam"))
    assert reasons() == [[], [], []]
    stem = small_project.splits["train"][0]
    now = small_project.tags().row(stem)
    small_project.set_tags([(stem, "blue", 1 - int(now[2]))])
    assert reasons() == [["Tags changed since it was trained."]] * 3
    small_project.set_tags([(stem, "blue", int(now[2]))])
    assert reasons() == [[], [], []]
