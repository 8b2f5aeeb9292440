"""The review queue: what a score is, how images are sorted, and what queue.json survives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.atomic import write_json
from engine.errors import UserError
from engine.messages import Failed, Finished, Queue, Said
from engine.queue import (
    FILE,
    Entry,
    Ranking,
    Score,
    change,
    disagreement,
    kept_path,
    margin,
    random_place,
    tag_faults,
)
from engine.results import CamStack
from engine.run import run
from engine.store import Project, label_set, new_run, open_project
from engine.tags import ABSENT, PRESENT, UNKNOWN

RED, GREEN = 1, 2


def done(project: Project, **asked: object) -> dict[str, object]:
    ending = list(run(Queue(project=str(project.root), **asked)))[-1]  # type: ignore[arg-type]
    assert isinstance(ending, Finished), ending
    return ending.result


def failed(project: Project, **asked: object) -> str:
    ending = list(run(Queue(project=str(project.root), **asked)))[-1]  # type: ignore[arg-type]
    assert isinstance(ending, Failed) and ending.mistake, ending
    return ending.message


def maps_of(project: Project, run_id: str, leads: dict[str, float]) -> None:
    """Draw one map a named image whose left half leads the background of 0.5 by a figure."""
    views = new_run(
        project.root, run_id, run_id, {"method": "imported", "classes": list(project.classes)}
    ).views()
    for stem, lead in leads.items():
        image = project.image(stem)
        maps = np.zeros((1, 12, 16), np.float16)
        maps[0, :, :8] = 0.5 + lead
        CamStack(
            image=stem,
            size=(image.height, image.width),
            classes=(0,),
            maps=maps,
            peaks=np.ones(1, np.float32),
            cell=4.0,
            origin=1.5,
            scores=np.ones(3, np.float32),
            background=np.full((12, 16), 0.5, np.float16),
        ).save(views.path(stem))
    (views.folder / "views.json").write_text(json.dumps({"method": "imported", "kinds": ["cams"]}))


def masks_of(project: Project, name: str, masks: dict[str, np.ndarray]) -> None:
    found = label_set(project.root, project.colours, name, new=True)
    for stem, mask in masks.items():
        found.write(stem, mask)
    found.write_facts({"imported": {"format": "png"}})


# ---- scores


def test_a_tie_is_doubt_and_a_clear_lead_is_none() -> None:
    tie = margin(np.full((2, 8, 8), 0.5, np.float32))
    clear = margin(np.stack([np.zeros((8, 8)), np.ones((8, 8))]).astype(np.float32))
    assert tie.value == pytest.approx(1) and "100%" in tie.reason
    assert clear.value == 0 and "0%" in clear.reason


def test_a_certain_background_does_not_hide_a_doubtful_object() -> None:
    scores = np.zeros((2, 100, 100), np.float32)
    scores[0] = 1
    scores[:, :10, :10] = 0.5
    assert margin(scores).value == pytest.approx(1)


def test_without_a_class_nothing_is_known_and_certain_background_is_no_doubt() -> None:
    assert margin(np.ones((1, 4, 4), np.float32)).value is None
    nothing = np.stack([np.ones((4, 4)), np.zeros((4, 4))]).astype(np.float32)
    assert margin(nothing).value == 0


@given(arrays(np.float32, (3, 6, 7), elements=st.floats(0, 1, width=32)))
def test_a_margin_is_in_its_limits_and_does_not_depend_on_the_order_of_classes(scores: np.ndarray) -> None:
    found = margin(scores)
    assert found.value is not None and 0 <= found.value <= 1
    assert margin(scores[[0, 2, 1]]).value == pytest.approx(found.value, abs=1e-6)


def test_masks_disagree_over_the_objects_and_unsure_pixels_do_not() -> None:
    a, b = np.zeros((2, 10, 10), np.uint8)
    a[:, :4], b[:, 2:6] = RED, RED
    assert disagreement({"a": a, "b": b}).value == pytest.approx(4 / 6)
    assert disagreement({"a": a, "b": a.copy()}) == Score(0.0, "a and b agree")
    b[:, 4:6] = 255
    assert disagreement({"a": a, "b": b}).value == pytest.approx(2 / 4)
    assert disagreement({"a": a}).value is None
    assert "a and b" in disagreement({"a": a, "b": b, "c": a.copy()}).reason


def test_change_is_a_share_of_the_image_and_counts_unsure() -> None:
    a = np.zeros((10, 10), np.uint8)
    b = a.copy()
    b[:2] = 255
    assert change(a, b, "cam", "irn") == Score(0.2, "irn changed 20.0% of cam")
    assert change(a, a, "cam", "irn").value == 0
    assert change(None, a, "cam", "irn") == Score(None, "cam lacks it")
    assert change(a, a[:5], "cam", "irn").value is None


def test_tags_and_masks_contradict_each_other_only_where_something_was_said() -> None:
    classes = ("red", "green", "blue")
    mask = np.zeros((4, 4), np.uint8)
    mask[0] = RED
    both = np.array([PRESENT, PRESENT, ABSENT], np.int8)
    assert tag_faults(mask, both, classes) == Score(0.5, "lacks green")
    assert tag_faults(mask, np.array([PRESENT, ABSENT, ABSENT], np.int8), classes).value == 0
    extra = tag_faults(mask, np.array([ABSENT, PRESENT, UNKNOWN], np.int8), classes)
    assert extra == Score(1.0, "lacks green; shows red, tagged absent")
    nobody = np.full(3, UNKNOWN, np.int8)
    assert tag_faults(mask, nobody, classes).value is None
    assert tag_faults(None, both, classes).value is None


def test_the_random_order_follows_from_name_and_seed_alone() -> None:
    places = [random_place(f"im_{n}", 3) for n in range(200)]
    assert len(set(places)) == 200 and min(places) >= 0 and max(places) < 1
    assert 0.4 < np.mean(places) < 0.6
    assert random_place("im_7", 3) == places[7] != random_place("im_7", 4)


# ---- the job


def test_doubtful_images_come_first_and_those_without_maps_before_them(small_project: Project) -> None:
    maps_of(small_project, "cam", {"im_000": 0.5, "im_001": 0.02, "im_002": 0.2})
    result = done(small_project, order="margin", source="cam")
    ranking = Ranking.load(small_project.root)
    assert ranking is not None and ranking.stems == (
        "im_003",
        "im_004",
        "im_005",
        "im_001",
        "im_002",
        "im_000",
    )
    assert ranking.entries[0].score is None and "no maps" in ranking.entries[0].reason
    assert result["images"] == 6 and result["without_score"] == 3 and result["source"] == "cam/default"
    assert [row["image"] for row in result["first"]] == list(ranking.stems)  # type: ignore[attr-defined]


def test_the_maps_of_labels_are_found_from_their_rule(small_project: Project) -> None:
    maps_of(small_project, "cam", {"im_000": 0.5, "im_001": 0.02})
    found = label_set(small_project.root, small_project.colours, "seed", new=True)
    found.write_facts({"source": "cam/default", "made_by": {"rule": {"background": "power", "value": 4.0}}})
    assert done(small_project, labels="seed", split="train")["source"] == "cam/default"


def test_every_order_says_why(small_project: Project) -> None:
    stems = small_project.usable
    maps_of(small_project, "cam", dict.fromkeys(stems, 0.3))
    empty = {stem: np.zeros((48, 64), np.uint8) for stem in stems}
    masks_of(small_project, "a", empty)
    changed = {stem: mask.copy() for stem, mask in empty.items()}
    changed["im_004"][:24] = RED
    del changed["im_005"]
    masks_of(small_project, "b", changed)
    result = done(small_project, order="change", labels="b", others=("a",))
    first = [(row["image"], row["reason"]) for row in result["first"]]  # type: ignore[attr-defined]
    assert first[:2] == [("im_005", "b lacks it"), ("im_004", "b changed 50.0% of a")]
    result = done(small_project, order="disagreement", others=("a", "b", "cam"))
    assert result["first"][0]["reason"].startswith("a and cam differ")  # type: ignore[index]
    result = done(small_project, order="tags", labels="a")
    assert all(row["reason"].startswith("lacks ") for row in result["first"])  # type: ignore[attr-defined]
    assert done(small_project, order="name")["first"][0]["image"] == "im_000"  # type: ignore[index]
    orders = [
        tuple(row["image"] for row in done(small_project, order="random", seed=seed)["first"])  # type: ignore[attr-defined]
        for seed in (1, 1, 2, 3)
    ]
    assert orders[0] == orders[1] and len(set(orders)) > 1


@pytest.mark.parametrize("order", ["margin", "disagreement", "change", "tags"])
def test_an_order_that_lacks_something_says_what(small_project: Project, order: str) -> None:
    text = failed(small_project, order=order)
    assert order in text and "nothing to look at" in text and "wsss queue" in text
    assert not (small_project.root / FILE).exists()


def test_a_damaged_mask_comes_first_with_its_reason(small_project: Project) -> None:
    masks = {stem: np.full((48, 64), RED, np.uint8) for stem in small_project.usable}
    masks_of(small_project, "a", masks)
    (small_project.root / "labels" / "a" / "im_003.png").write_bytes(b"\x89PNG broken")
    events = list(run(Queue(project=str(small_project.root), order="tags", labels="a")))
    ranking = Ranking.load(small_project.root)
    assert ranking is not None and ranking.entries[0].stem == "im_003" and ranking.entries[0].score is None
    assert any(isinstance(event, Said) and "im_003" in event.text for event in events)


# ---- queue.json


def test_a_queue_says_what_changed_since(small_project: Project) -> None:
    maps_of(small_project, "cam", dict.fromkeys(small_project.usable, 0.3))
    masks_of(small_project, "a", {s: np.zeros((48, 64), np.uint8) for s in small_project.usable})
    done(small_project, order="tags", labels="a")

    def reasons() -> list[str]:
        project = open_project(small_project.root)
        ranking = Ranking.load(project.root)
        assert ranking is not None
        return ranking.stale(project)

    assert reasons() == []
    small_project.set_tags([("im_000", "blue", PRESENT)])
    assert reasons() == ["Tags changed after the images were ranked."]
    done(small_project, order="margin", source="cam")
    assert reasons() == []
    (small_project.root / "runs/cam/views/default/im_000/cams.npz").unlink()
    assert reasons() == ["Maps cam/default changed after the images were ranked."]
    done(small_project, order="name", split="val")
    small_project.set_aside("im_005", "blurred")
    assert reasons() == ["Images changed after the images were ranked."]
    done(small_project, order="tags", labels="a")
    for path in (small_project.root / "labels" / "a").iterdir():
        path.unlink()
    (small_project.root / "labels" / "a").rmdir()
    assert "gone" in reasons()[0]


def test_every_cut_of_the_file_is_damaged_and_never_empty(small_project: Project) -> None:
    assert Ranking.load(small_project.root) is None
    done(small_project, order="random")
    path = small_project.root / FILE
    whole = path.read_bytes()
    kept = Ranking.load(small_project.root)
    end = len(whole.rstrip())
    for length in range(end):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError):
            Ranking.load(small_project.root)
    path.write_bytes(whole)
    assert Ranking.load(small_project.root) == kept


def test_the_newest_ranking_in_each_order_is_kept_and_a_kill_loses_none(
    small_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = small_project.root
    for order in ("random", "name", "random", "name"):
        done(small_project, order=order)
        newest = Ranking.load(root)
        assert newest is not None and newest.order == order
        assert Ranking.kept(root, order) is None
    first = Ranking.kept(root, "random")
    assert first is not None and first.order == "random" and Ranking.kept(root, "margin") is None

    calls: list[Path] = []

    def killed(path: Path, value: object) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        write_json(path, value)

    with monkeypatch.context() as patched:
        patched.setattr("engine.queue.ranking.write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            Ranking("margin", (), when="2026-11-20").save(root)
    assert (
        Ranking.load(root) == newest == Ranking.kept(root, "name") and Ranking.kept(root, "random") == first
    )
    kept_path(root, "random").write_bytes(kept_path(root, "name").read_bytes())
    with pytest.raises(UserError, match="damaged"):
        Ranking.kept(root, "random")


@pytest.mark.parametrize(
    "change_to",
    [
        {"order": "best"},
        {"entries": [["a", 2.0, ""]]},
        {"entries": [["a", True, ""]]},
        {"entries": [["a", 0.5, ""], ["a", 0.5, ""]]},
        {"entries": [["a", 0.5]]},
        {"entries": 7},
        {"digests": []},
        {"when": None},
    ],
)
def test_a_forged_queue_is_refused_in_words(small_project: Project, change_to: dict[str, object]) -> None:
    done(small_project, order="name")
    path = small_project.root / FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **change_to}))
    with pytest.raises(UserError, match="damaged"):
        Ranking.load(small_project.root)


def test_ten_thousand_images_are_read_in_an_instant(tmp_path: Path) -> None:
    entries = tuple(
        Entry(f"im_{n:05d}", n / 10_000, "12% of what may be an object is in dispute") for n in range(10_000)
    )
    Ranking("margin", entries, {}, {}, "2026-11-20").save(tmp_path)
    found = Ranking.load(tmp_path)
    assert found is not None and found.entries == entries


def test_the_answer_is_a_table_on_the_command_line(
    small_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    from engine.cli import main

    maps_of(small_project, "cam", {"im_000": 0.5, "im_001": 0.02})
    assert main(["queue", "-p", str(small_project.root), "--source", "cam"]) == 0
    out = capsys.readouterr().out
    assert "no maps of it" in out and FILE in out
