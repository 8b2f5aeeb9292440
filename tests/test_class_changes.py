"""Classes that are renamed or merged: no mask, map, tag or run is orphaned, whatever is killed when."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from engine.errors import UserError
from engine.messages import Evaluate, Export, Failed, Finished, Infer, Job, Label, Train
from engine.results import CamStack
from engine.run import run
from engine.store import (
    LabelSet,
    Project,
    label_set,
    open_project,
    read_stack,
    run_of,
    source_of,
    stale,
    tag_log,
)
from engine.store.class_list import ClassEntry, ClassList, merged_states
from engine.store.truth import read_truth
from engine.tags import ABSENT, PRESENT, UNKNOWN

TINY = {"backbone": "tiny_cnn", "pretrained": "false"}


def done(job: Job) -> dict[str, object]:
    ending = list(run(job))[-1]
    assert isinstance(ending, Finished), ending
    return ending.result


@pytest.fixture
def worked_on(small_project: Project) -> Project:
    """A project with a trained run, its maps, labels made from them, and the truth."""
    root = str(small_project.root)
    done(
        Train(
            project=root, method="cam", run="first", epochs=1, batch=4, crop=48, settings=TINY, device="cpu"
        )
    )
    done(Infer(project=root, run="first", settings={"scales": "1.0", "flip": "false"}, device="cpu"))
    done(Label(project=root, source="first", name="seed", threads=1))
    return open_project(root)


def state_of(project: Project) -> dict[str, object]:
    """Return all that a reader of the project sees, by place."""
    labels = label_set(project.root, project.colours, "seed")
    views = source_of(project.root, "first")
    return {
        "tags": project.tags().states.tolist(),
        "masks": {s: labels.read(s).tolist() for s in labels.stems()},
        "maps": {s: read_stack(project, views, s).classes for s in views.stems()},
        "truth": {s: read_truth(project, s).tolist() for s in project.usable},  # type: ignore[union-attr]
        "stale": [
            stale(project, run_of(project.root, "first")), stale(project, views), stale(project, labels)
        ],
    }  # fmt: skip


# ---- renaming


def test_another_name_changes_nothing_but_the_name(worked_on: Project, tmp_path: Path) -> None:
    before = state_of(worked_on)
    worked_on.rename_class("green", "lime")
    again = open_project(worked_on.root)
    for project in (worked_on, again):
        assert project.classes == ("red", "lime", "blue")
        assert state_of(project) == before
    assert before["stale"] == [[], [], []]
    report = done(Evaluate(project=str(again.root), labels="seed"))
    assert "lime" in report["iou"] and "green" not in report["iou"]  # type: ignore[operator]
    done(Export(project=str(again.root), labels="seed", format="voc", out=str(tmp_path / "out")))
    assert json.loads((tmp_path / "out" / "provenance.json").read_text())["classes"] == [
        "red",
        "lime",
        "blue",
    ]
    again.set_tags([("im_000", "lime", PRESENT)])
    assert open_project(again.root).tags().row("im_000")[1] == PRESENT
    with pytest.raises(UserError, match="no class 'green'"):
        again.set_tags([("im_000", "green", PRESENT)])


def test_a_run_that_was_stopped_goes_on_after_another_name(small_project: Project) -> None:
    job = Train(
        project=str(small_project.root), method="cam", run="first", epochs=2, batch=2, crop=48, settings=TINY,
        device="cpu",
    )  # fmt: skip
    events = 0

    def stop() -> bool:
        nonlocal events
        events += 1
        return events > 6

    list(run(job, stop))
    assert run_of(small_project.root, "first").resumable
    small_project.rename_class("green", "lime")
    ending = list(run(dataclasses.replace(job, resume=True)))[-1]
    assert isinstance(ending, Finished), ending


def test_a_name_can_come_back_or_be_given_to_another_class(small_project: Project) -> None:
    tags = small_project.tags().states.tolist()
    small_project.rename_class("green", "lime")
    small_project.rename_class("lime", "green")
    assert open_project(small_project.root).tags().states.tolist() == tags
    small_project.rename_class("green", "lime")
    small_project.add_class("green")
    again = open_project(small_project.root)
    assert again.classes == ("red", "lime", "blue", "green")
    assert again.tags().states[:, :3].tolist() == tags
    assert (again.tags().states[:, 3] == UNKNOWN).all()
    again.set_tags([("im_001", "green", PRESENT)])
    again.rename_class("red", "rose")
    again.rename_class("lime", "red")  # a name that was another's
    last = open_project(small_project.root)
    assert last.classes == ("rose", "red", "blue", "green")
    assert last.tags().states[:, :3].tolist() == tags
    assert last.tags().row("im_001")[3] == PRESENT


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("gren", "lime", "no class 'gren'"),
        ("green", "red", "red"),
        ("green", "*", r"\*"),
        ("green", "background", "background"),
        ("green", "a\nb", "line|control|name"),
    ],
)
def test_a_name_that_cannot_be_is_refused_and_nothing_changes(
    small_project: Project, old: str, new: str, match: str
) -> None:
    before = (small_project.root / "wsss.toml").read_bytes()
    with pytest.raises(UserError, match=match):
        small_project.rename_class(old, new)
    assert (small_project.root / "wsss.toml").read_bytes() == before
    assert small_project.classes == ("red", "green", "blue")


# ---- merging


def test_a_merged_class_leaves_its_place_and_everything_is_readable(
    worked_on: Project, tmp_path: Path
) -> None:
    labels = label_set(worked_on.root, worked_on.colours, "seed")
    for stem in labels.stems():  # masks that surely hold both
        mask = labels.read(stem)
        mask[:4], mask[4:8] = 1, 3
        labels.write(stem, mask, labels.digest(stem))
    before, digests = state_of(worked_on), {s: labels.digest(s) for s in labels.stems()}
    assert worked_on.merge_classes("blue", "red") == []
    project = open_project(worked_on.root)
    assert project.classes == ("red", "green", "blue") and project.class_list.merged == {2: 0}
    after = state_of(project)
    for stem, rows in before["masks"].items():  # type: ignore[attr-defined]
        mask = np.array(rows)
        assert (np.array(after["masks"][stem]) == np.where(mask == 3, 1, mask)).all()  # type: ignore[index]
    assert {s: labels.digest(s) for s in labels.stems()} == digests
    tags, old = np.array(after["tags"]), np.array(before["tags"])
    assert (tags[:, 2] == UNKNOWN).all() and (tags[:, 1] == old[:, 1]).all()
    assert (tags[:, 0] == merged_states(old.astype(np.int8), 2, 0)).all()
    for stem, classes in before["maps"].items():  # type: ignore[attr-defined]
        assert after["maps"][stem] == tuple(sorted({{2: 0}.get(c, c) for c in classes}))  # type: ignore[index]
    truth = np.array(list(after["truth"].values()))  # type: ignore[attr-defined]
    assert 3 not in truth and (truth == 1).sum() == np.isin(list(before["truth"].values()), (1, 3)).sum()  # type: ignore[attr-defined]
    # Every job still runs on what was made before, and on what is made after.
    root = str(project.root)
    done(Evaluate(project=root, labels="seed"))
    done(Evaluate(project=root, source="first", sweep=True))
    done(Export(project=root, labels="seed", format="png", out=str(tmp_path / "out")))
    done(
        Infer(
            project=root, run="first", views="anew", settings={"scales": "1.0", "flip": "false"}, device="cpu"
        )
    )
    done(Label(project=root, source="first/anew", name="anew", threads=1))
    done(
        Train(
            project=root, method="cam", run="second", epochs=1, batch=4, crop=48, settings=TINY, device="cpu"
        )
    )


def test_a_merged_class_takes_no_tags_and_no_other_merge(small_project: Project) -> None:
    small_project.merge_classes("blue", "red")
    with pytest.raises(UserError, match="was merged into 'red'"):
        small_project.set_tags([("im_000", "blue", PRESENT)])
    for call in (
        lambda: small_project.merge_classes("blue", "green"),
        lambda: small_project.merge_classes("green", "blue"),
        lambda: small_project.merge_classes("green", "green"),
        lambda: small_project.rename_class("blue", "navy"),
    ):
        with pytest.raises(UserError):
            call()
    small_project.rename_class("red", "rose")
    small_project.merge_classes("rose", "green")  # what was merged into it goes along
    project = open_project(small_project.root)
    assert project.class_list.merged == {0: 1, 2: 1}
    assert project.classes == ("rose", "green", "blue")


def test_a_tag_that_is_taken_back_after_a_merge_stays_back(small_project: Project) -> None:
    stem = next(s for s in small_project.usable if 2 in small_project.tags().present(s))
    small_project.merge_classes("blue", "red")
    assert small_project.tags().row(stem)[0] == PRESENT
    small_project.set_tags([(stem, "red", ABSENT)])
    assert open_project(small_project.root).tags().row(stem)[0] == ABSENT


@pytest.mark.parametrize("where", ["append", "convert", "facts"])
def test_a_merge_that_was_killed_is_ended_by_the_next_opening(
    worked_on: Project, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    from engine.store import project_classes

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    labels = label_set(worked_on.root, worked_on.colours, "seed")
    for stem in labels.stems():
        labels.write(stem, np.full((48, 64), 3, np.uint8))
    copy, untouched = open_project(worked_on.root), worked_on.tags().states.copy()
    with monkeypatch.context() as patched:
        if where == "append":
            patched.setattr(tag_log, "append", killed)
        elif where == "convert":
            whole = LabelSet.write
            calls: list[str] = []

            def write(self: LabelSet, stem: str, *more: object) -> None:
                calls.append(stem)
                if len(calls) > 3:
                    raise KeyboardInterrupt
                whole(self, stem, *more)  # type: ignore[arg-type]

            patched.setattr(LabelSet, "write", write)
        else:
            patched.setattr(project_classes, "label_sets", killed)
        with pytest.raises(KeyboardInterrupt):
            copy.merge_classes("blue", "red")
    project = open_project(worked_on.root)
    assert project.class_list.merged == {2: 0}
    assert "merging" not in (project.root / "wsss.toml").read_text()
    assert all((labels.read(s) == 1).all() for s in labels.stems())
    tags = project.tags().states
    assert (tags[:, 2] == UNKNOWN).all()
    log = (project.root / "tags.csv").read_bytes()
    project.finish_merging()
    assert (project.root / "tags.csv").read_bytes() == log  # nothing was left to say
    assert project.take_back_merge() == []
    assert all((labels.read(s) == 3).all() for s in labels.stems())
    assert (project.tags().states == untouched).all()


# ---- a merge taken back


def everything(project: Project) -> dict[str, object]:
    """Return what `state_of` does, and the bytes of every label, and the classes."""
    return {
        **(state_of(project) if any((project.root / "runs").iterdir()) else {}),
        "tags": project.tags().states.tolist(),
        "truth": [read_truth(project, s).tolist() for s in project.usable],  # type: ignore[union-attr]
        "classes": project.class_list,
        "pictures": {p.name: p.read_bytes() for p in sorted((project.root / "labels").rglob("*.png"))},
    }


def with_all_classes(project: Project) -> LabelSet:
    """Let the labels surely hold every class."""
    labels = label_set(project.root, project.colours, "seed", new=True)
    for stem in project.usable:
        mask = labels.read(stem) if stem in labels.stems() else np.zeros((48, 64), np.uint8)
        mask[:4], mask[4:8], mask[8:12], mask[12:14] = 1, 3, 2, 255
        labels.write(stem, mask, labels.digest(stem))
    return labels


def test_a_merge_taken_back_leaves_nothing_behind(worked_on: Project) -> None:
    with_all_classes(worked_on)
    before, facts = everything(worked_on), (worked_on.root / "wsss.toml").read_text()
    worked_on.merge_classes("blue", "red")
    assert everything(worked_on) != before
    project = open_project(worked_on.root)  # as after a restart
    merge = project.newest_merge()
    assert merge is not None and (merge.old, merge.into) == (2, 0) and merge.folder.is_dir()
    assert project.take_back_merge() == []
    for reader in (project, open_project(project.root)):
        assert everything(reader) == before
    assert (project.root / "wsss.toml").read_text().replace("merges = []\n", "") == facts
    assert project.newest_merge() is None and not (project.root / "merges").exists()
    with pytest.raises(UserError, match="no merge"):
        project.take_back_merge()


def test_merges_are_taken_back_newest_first(small_project: Project) -> None:
    with_all_classes(small_project)
    first = everything(small_project)
    small_project.merge_classes("red", "green")
    second = everything(small_project)
    small_project.merge_classes("green", "blue")
    assert small_project.class_list.merged == {0: 2, 1: 2}
    assert small_project.take_back_merge() == [] and everything(small_project) == second
    assert small_project.take_back_merge() == [] and everything(small_project) == first


def test_what_was_said_and_made_since_a_merge_stays(small_project: Project) -> None:
    labels = with_all_classes(small_project)
    one, other, third = labels.stems()[:3]
    small_project.set_tags([(one, "blue", PRESENT), (one, "red", UNKNOWN), (other, "blue", PRESENT)])
    before = {stem: labels.read(stem) for stem in labels.stems()}
    small_project.merge_classes("blue", "red")
    small_project.set_tags([(one, "red", ABSENT)])
    small_project.rename_class("red", "rose")
    labels.write(other, np.full((48, 64), 1, np.uint8), "another rule")
    labels.remove(third)
    said = small_project.take_back_merge()
    assert len(said) == 1 and "1 mask(s) of 'seed'" in said[0] and "made since" in said[0]
    assert (labels.read(other) == 1).all() and labels.digest(other) == "another rule"
    assert third not in labels.stems()
    assert all((labels.read(s) == before[s]).all() for s in labels.stems() if s != other)
    project = open_project(small_project.root)
    assert project.classes == ("rose", "green", "blue") and not project.class_list.merged
    assert project.tags().row(one)[[0, 2]].tolist() == [ABSENT, ABSENT]  # it was meant of both
    assert project.tags().row(other)[2] == PRESENT
    project.set_tags([(other, "blue", ABSENT)])


def test_an_older_merge_does_not_say_again_what_was_taken_back(small_project: Project) -> None:
    stem = next(s for s in small_project.usable if 2 in small_project.tags().present(s))
    small_project.add_class("grey")
    small_project.merge_classes("blue", "red")
    small_project.set_tags([(stem, "red", ABSENT)])
    small_project.merge_classes("grey", "green")
    assert small_project.tags().row(stem)[0] == ABSENT


@pytest.mark.parametrize("where", ["plan", "toml", "append", "restore", "end", "drop"])
def test_taking_back_that_was_killed_is_ended_by_the_next_opening(
    small_project: Project, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    from engine.store import merging, project_classes

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with_all_classes(small_project)
    before = everything(small_project)
    small_project.merge_classes("blue", "red")
    merged = everything(small_project)
    copy = open_project(small_project.root)
    with monkeypatch.context() as patched:
        if where == "plan":
            patched.setattr(merging, "write_json", killed)
        elif where == "toml":
            patched.setattr(project_classes, "write_text", killed)
        elif where == "append":
            patched.setattr(tag_log, "append", killed)
        elif where == "restore":
            whole, calls = LabelSet.write, []

            def write(self: LabelSet, stem: str, *more: object) -> None:
                calls.append(stem)
                if len(calls) > 2:
                    raise KeyboardInterrupt
                whole(self, stem, *more)  # type: ignore[arg-type]

            patched.setattr(LabelSet, "write", write)
        elif where == "end":
            patched.setattr(Project, "_end", killed)
        else:
            patched.setattr(project_classes, "drop", killed)
        with pytest.raises(KeyboardInterrupt):
            copy.take_back_merge()
    project = open_project(small_project.root)
    if where in (
        "plan",
        "toml",
    ):  # wsss.toml never said so: the merge is in force, and can be taken back still
        assert everything(project) == merged
        project.take_back_merge()
    assert everything(project) == before
    project.merge_classes("blue", "red")
    assert everything(project) == merged and len(list((project.root / "merges").iterdir())) == 1
    project.take_back_merge()
    assert everything(project) == before and not (project.root / "merges").exists()


@pytest.mark.parametrize(
    "facts",
    [
        'merges = ["../../etc"]',
        "merges = 3",
        'merges = ["0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef"]',
        "merging = true",
        'parting = "x"',
    ],
)
def test_senseless_words_on_merges_are_told(small_project: Project, facts: str) -> None:
    path = small_project.root / "wsss.toml"
    path.write_text(facts + "\n" + path.read_text())
    with pytest.raises(UserError, match="damaged"):
        open_project(small_project.root)


def test_every_truncation_of_what_a_merge_kept_is_told_and_changes_nothing(small_project: Project) -> None:
    small_project.merge_classes("blue", "red")
    merge = small_project.newest_merge()
    assert merge is not None
    path, tags = merge.folder / "merge.json", (small_project.root / "tags.csv").read_bytes()
    whole = path.read_bytes()
    for length in range(len(whole.rstrip())):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError):
            small_project.take_back_merge()
    for forged in (
        {"old": 9},
        {"old": 1},
        {"into": 2},
        {"followed": [1]},
        {"followed": [200]},
        {"tags": [["a", 7, 1]]},
        {"truth": 3},
    ):
        path.write_text(json.dumps({**json.loads(whole), **forged}))
        with pytest.raises(UserError, match="damaged"):
            small_project.take_back_merge()
    path.unlink()
    with pytest.raises(UserError, match="missing"):
        small_project.take_back_merge()
    assert (
        small_project.class_list.merged == {2: 0} and (small_project.root / "tags.csv").read_bytes() == tags
    )
    path.write_bytes(whole)
    small_project.take_back_merge()
    assert not small_project.class_list.merged


def test_maps_of_merged_classes_become_one_by_the_larger_score(small_project: Project) -> None:
    image = small_project.image("im_000")
    maps = np.array([[[0.1, 0.9]], [[0.4, 0.4]], [[0.8, 0.2]]], np.float16)
    stack = CamStack(
        image="im_000",
        size=(image.height, image.width),
        classes=(0, 1, 2),
        maps=maps,
        peaks=np.array([1, 2, 3], np.float32),
        cell=32.0,
        origin=0.0,
        scores=np.ones(3, np.float32),
    )
    from engine.store.class_list import merged_stack

    found = merged_stack(stack, {2: 0})
    assert found.classes == (0, 1)
    assert found.maps.tolist() == np.array([[[0.8, 0.9]], [[0.4, 0.4]]], np.float16).tolist()
    assert found.peaks.tolist() == [3, 2]
    assert merged_stack(stack, {}) is stack


def test_joined_states_say_no_more_than_was_said() -> None:
    states = np.array(
        [[a, b] for a in (PRESENT, ABSENT, UNKNOWN) for b in (PRESENT, ABSENT, UNKNOWN)], np.int8
    )
    found = merged_states(states, 0, 1).tolist()
    assert found == [1, 1, 1, 1, 0, -1, 1, -1, -1]
    states[:, 1] = found
    assert merged_states(states, 0, 1).tolist() == found  # twice is once


@pytest.mark.parametrize(
    "entries",
    [
        [ClassEntry("a", "#000000", was=("b",)), ClassEntry("b", "#111111")],
        [ClassEntry("a", "#000000", merged="a")],
        [ClassEntry("a", "#000000", merged="c")],
        [
            ClassEntry("a", "#000000", merged="b"),
            ClassEntry("b", "#000000", merged="c"),
            ClassEntry("c", "#000000"),
        ],
    ],
)
def test_a_class_list_that_contradicts_itself_is_damaged(
    small_project: Project, entries: list[ClassEntry]
) -> None:
    with pytest.raises(ValueError):
        ClassList(tuple(entries))
    path = small_project.root / "wsss.toml"
    path.write_text(path.read_text().replace('name = "red"', 'name = "red", was = ["green"]', 1))
    with pytest.raises(UserError, match="damaged"):
        open_project(small_project.root)


def test_training_on_merged_classes_alone_is_refused_in_words(small_project: Project) -> None:
    small_project.merge_classes("blue", "red")
    small_project.merge_classes("green", "red")
    small_project.set_tags([(stem, "red", UNKNOWN) for stem in small_project.usable])
    ending = list(run(Train(project=str(small_project.root), method="cam", settings=TINY, device="cpu")))[-1]
    assert isinstance(ending, Failed) and ending.mistake and "tag" in ending.message
