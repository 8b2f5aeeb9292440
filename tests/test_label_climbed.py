"""Labels of single images, from climbs, and beside saliency: what is made, what is kept, what the set says."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import labels as rules
from engine.messages import Failed, Finished, Label, Said, Viewed, arguments
from engine.results import CamStack, enlarge, path_to, traces_in
from engine.run import run
from engine.saliency import write_salient
from engine.steps.label import crf_params, mask_of
from engine.store import LabelSet, Project, digest_of, label_set, new_run, open_project, source_of, stale

CLIMBS = runpy.run_path(str(Path(__file__).with_name("fake_climbs.py")))
SIZE = (48, 64)
STEM = "im_001"


def stack_of(project: Project, stem: str, classes: tuple[int, ...], seed: int) -> CamStack:
    rng = np.random.default_rng(seed)
    maps = rng.random((len(classes), 12, 16)).astype(np.float16)
    return CamStack(
        image=stem, size=SIZE, classes=classes, maps=maps, peaks=np.ones(len(classes), np.float32), cell=4.0,
        origin=1.5, scores=np.ones(3, np.float32),
    )  # fmt: skip


@pytest.fixture
def project(small_project: Project) -> Project:
    """Maps of every image but the last, and climbs of two classes of one image."""
    made = new_run(small_project.root, "cam", "cam", {"method": "imported", "status": "finished"})
    views = made.views()
    for n, stem in enumerate(small_project.usable[:-1]):
        stack_of(small_project, stem, (0, 2), n).save(views.path(stem))
    (views.folder / "views.json").write_text(json.dumps({"kinds": ["cams"]}))
    steps = made.views("steps").folder
    for stem in (STEM, small_project.usable[-1]):
        place = steps / stem / "climb"
        for name, how in (
            ("0", {"steps": 6}),
            ("1", {"steps": 4}),
            ("0.1", {"steps": 3, "parent": "0", "at": 2, "strength": 3.0}),
        ):
            CLIMBS["write"](place, name, size=SIZE, grid=(6, 8), image=stem, **how)
    (steps / "views.json").write_text(json.dumps({"kinds": ["climb"]}))
    return small_project


def label(project: Project, name: str = "seed", **other: Any) -> Label:
    given = {"source": "cam", "background": "constant:0.5", "threads": 1, **other}
    return Label(project=str(project.root), name=name, **given)


def climbed(project: Project, *climbs: str, **other: Any) -> Label:
    return label(project, **{"images": (STEM,), "climbed": climbs, "climbs": "cam/steps", **other})


def events_of(job: Label) -> list[Any]:
    events = list(run(job))
    assert isinstance(events[-1], Finished), events[-1]
    return events


def said(events: list[Any], level: str = "warning") -> str:
    return "\n".join(e.text for e in events if isinstance(e, Said) and e.level == level)


def mistake(job: Label) -> str:
    ending = list(run(job))[-1]
    assert isinstance(ending, Failed) and ending.mistake and not ending.trace, ending
    assert len(ending.message.splitlines()) >= 2
    return ending.message


def made(project: Project, name: str = "seed") -> LabelSet:
    return label_set(project.root, project.colours, name)


def marks(project: Project) -> dict[str, int]:
    return {s: made(project).path(s).stat().st_mtime_ns for s in made(project).stems()}


def a_t(project: Project, trace: str, step: int, stem: str = STEM) -> np.ndarray:
    """A_t at the image's size, from the definition: the sum of the maps 0..t over its peak."""
    path = path_to(traces_in(project.root / "runs/cam/views/steps" / stem / "climb"), trace)
    raw = np.asarray(path.stacked("maps")[: step + 1], np.float64).sum(0)
    small = (raw / raw.max()).astype(np.float16)
    return enlarge(small[None], SIZE, path.leaf.cell, path.leaf.origin)[0]


def plain(project: Project, stem: str = STEM) -> CamStack:
    return CamStack.load(source_of(project.root, "cam").path(stem))


# --- climbs ----------------------------------------------------------------------------------------


def test_a_climb_takes_the_place_of_its_class_and_the_others_stay(project: Project) -> None:
    events = events_of(climbed(project, "0@5"))
    assert [e.image for e in events if isinstance(e, Viewed)] == [STEM] and events[-1].result["images"] == 1
    stack = plain(project)
    maps = stack.full()
    maps[0] = a_t(project, "0", 5)
    wanted = rules.apply(rules.LabelRule("constant", 0.5), *rules.best_class(maps), (0, 2))
    found = made(project).read(STEM)
    assert (found != wanted).mean() < 1e-3  # float32 against float64 may round a pixel to the other side
    assert {1, 3} <= set(np.unique(found)), "both the climbed class and the one that stayed are there"


def test_a_class_that_the_maps_lack_joins_in_order(project: Project) -> None:
    events_of(climbed(project, "1@4", "0@0"))
    maps = plain(project).full()
    maps = np.stack([a_t(project, "0", 0), a_t(project, "1", 4), maps[1]])
    wanted = rules.apply(rules.LabelRule("constant", 0.5), *rules.best_class(maps), (0, 1, 2))
    assert (made(project).read(STEM) != wanted).mean() < 1e-3


def test_a_branch_is_followed_back_to_the_photograph(project: Project) -> None:
    last = project.usable[-1]
    events = events_of(climbed(project, "0.1@4", images=(last,)))
    assert "no maps" not in said(events), "the climb is enough"
    wanted = a_t(project, "0.1", 4, last) > 0.5
    assert ((made(project).read(last) == 1) != wanted).mean() < 1e-3
    earlier = a_t(project, "0.1", 1, last)
    np.testing.assert_array_equal(earlier, a_t(project, "0", 1, last))
    record = made(project).records[last]
    assert record["source"] is None and record["climbs"] == "cam/steps"
    assert [(c["trace"], c["step"]) for c in record["climbed"]] == [("0.1", 4)]


def test_background_scores_compete_with_a_climb(project: Project) -> None:
    stack = plain(project)
    background = np.full((12, 16), 0.75, np.float16)
    CamStack(**{**vars(stack), "background": background}).save(source_of(project.root, "cam").path(STEM))
    events_of(climbed(project, "0@5"))
    climb = a_t(project, "0", 5)
    other = stack.full()[1]
    wanted = np.array([0, 1, 3])[np.stack([np.full(SIZE, 0.75), climb, other]).argmax(0)]
    assert (made(project).read(STEM) != wanted).mean() < 1e-3


def test_a_repeat_is_skipped_and_another_step_is_not(project: Project) -> None:
    events_of(climbed(project, "0@5"))
    first, text = marks(project), made(project).path(STEM).read_bytes()
    events = events_of(climbed(project, "0@5"))
    assert marks(project) == first and not said(events)
    assert [e.image for e in events if isinstance(e, Viewed)] == [STEM]
    events_of(climbed(project, "0@1"))
    assert made(project).path(STEM).read_bytes() != text
    events_of(climbed(project, "0@5"))
    assert made(project).path(STEM).read_bytes() == text


@pytest.mark.parametrize("saliency", [False, True])
def test_a_crf_in_a_worker_takes_climbs_and_saliency_too(
    project: Project, tmp_path: Path, saliency: bool
) -> None:
    salient = np.zeros(SIZE, bool)
    salient[10:40, 10:50] = True
    write_salient(tmp_path / "sal", STEM, salient)
    other = {"saliency": str(tmp_path / "sal")} if saliency else {}
    events_of(climbed(project, "0@5", crf="irn", min_region=5, **other))
    rule = rules.LabelRule("constant", 0.5, crf="irn", min_region=5)
    path = path_to(traces_in(project.root / "runs/cam/views/steps" / STEM / "climb"), "0")
    small = path.attribution(5).astype(np.float16)
    climb = {0: enlarge(small[None], SIZE, path.leaf.cell, path.leaf.origin)[0]}
    image = project.read(STEM).pixels
    before = mask_of(plain(project), rule, image, crf_params("irn"), climbed=climb)
    found = made(project).read(STEM)
    if saliency:
        np.testing.assert_array_equal(found, np.where((before > 0) == salient, before, 255))
    else:
        np.testing.assert_array_equal(found, before)
        assert not np.array_equal(before, mask_of(plain(project), rule, image, crf_params("irn")))
    first = marks(project)
    events_of(climbed(project, "0@5", crf="irn", min_region=5, **other))
    assert marks(project) == first


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({"climbed": ("0@7",)}, "no step 7"),
        ({"climbed": ("5@0",)}, "'5'"),
        ({"climbed": ("0",)}, "is not TRACE@STEP"),
        ({"climbed": ("../0@1",)}, "is not TRACE@STEP"),
        ({"climbed": ("0@1", "0.1@4")}, "of which another is given"),
        ({"climbs": "cam/stesp"}, "Did you mean 'steps'?"),
        ({"climbs": None}, "1 climbs of no views for 1 images"),
        ({"climbed": ()}, "0 climbs of cam/steps for 1 images"),
        ({"images": ()}, "for 0 images"),
        ({"images": ("im_000", "im_001")}, "for 2 images"),
        ({"images": ("im_01",)}, "Did you mean"),
        ({"images": ("im_002",)}, "which is missing or damaged"),
        ({"saliency": "no such folder"}, "is no folder of saliency masks"),
    ],
)
def test_wrong_climbs_are_sentences_and_leave_the_labels_alone(
    project: Project, other: dict[str, Any], found: str
) -> None:
    events_of(label(project))
    before = {p.name: p.read_bytes() for p in made(project).folder.iterdir()}
    assert found in mistake(climbed(project, **{"climbed": ("0@1",), **other}))
    assert {p.name: p.read_bytes() for p in made(project).folder.iterdir()} == before


def test_climbs_of_another_image_or_class_list_are_refused(project: Project) -> None:
    place = project.root / "runs/cam/views/steps" / STEM / "climb"
    CLIMBS["write"](place, "2", size=SIZE, grid=(6, 8), image="im_000")
    CLIMBS["write"](place, "2.1", size=(9, 9), grid=(6, 8), image=STEM)
    CLIMBS["write"](place, "7", size=SIZE, grid=(6, 8), image=STEM, classes=9)
    assert "was made for im_000" in mistake(climbed(project, "2@0"))
    assert "9 x 9 px" in mistake(climbed(project, "2.1@0"))
    assert "is of class 7" in mistake(climbed(project, "7@0"))
    writer = CLIMBS["begin"](place, "2.2", size=SIZE, grid=(6, 8), image=STEM)
    assert "no step yet" in mistake(climbed(project, "2.2@0"))
    writer.end("stopped")


def test_the_command_of_a_climbed_label_names_its_climbs(project: Project) -> None:
    words = arguments(climbed(project, "0.1@4", "1@2"))
    assert words[words.index("--climbed") + 1] == "0.1@4,1@2"
    assert words[words.index("--climbs") + 1] == "cam/steps" and words[words.index("--images") + 1] == STEM


# --- one image of a set ----------------------------------------------------------------------------


def test_one_image_made_otherwise_is_recorded_and_the_others_stay(project: Project) -> None:
    events_of(label(project))
    base, first = made(project).facts, marks(project)
    events = events_of(label(project, background="constant:0.2", images=(STEM,)))
    assert not said(events) and "in different ways" in said(events, "info")
    facts = made(project).facts
    assert {s for s in first if marks(project)[s] != first[s]} == {STEM}
    assert {k: v for k, v in facts.items() if k != "images"} == base and list(facts["images"]) == [STEM]
    assert facts["images"][STEM]["made_by"]["rule"]["value"] == 0.2
    # and a second one is not news
    events = events_of(climbed(project, "0@3", images=("im_001",), background="power:4"))
    assert not said(events, "info") and made(project).records[STEM]["climbed"][0]["step"] == 3


def test_back_to_the_rule_of_the_set_its_record_goes(project: Project) -> None:
    events_of(label(project))
    base, first = made(project).facts, made(project).path(STEM).read_bytes()
    events_of(climbed(project, "0@3"))
    assert made(project).path(STEM).read_bytes() != first
    events_of(label(project, images=(STEM,)))
    assert made(project).facts == base and made(project).path(STEM).read_bytes() == first


def test_the_whole_set_replaces_what_was_made_otherwise(project: Project) -> None:
    events_of(label(project))
    base, first, text = made(project).facts, marks(project), made(project).path(STEM).read_bytes()
    events_of(climbed(project, "0@3"))
    events = events_of(label(project))
    assert "1 of the labels 'seed' were made in their own way" in said(events)
    assert made(project).facts == base and made(project).path(STEM).read_bytes() == text
    assert {s for s in first if marks(project)[s] != first[s]} == {STEM}, "the others are kept"
    events_of(climbed(project, "0@3"))
    events = events_of(label(project, background="constant:0.3"))
    assert "they are replaced" in said(events) and not made(project).records
    assert made(project).facts["made_by"]["rule"]["value"] == 0.3


def test_another_split_leaves_what_was_made_otherwise_and_its_record(project: Project) -> None:
    events_of(label(project))
    events_of(climbed(project, "0@3"))  # im_001 is in train
    facts, first = made(project).facts, marks(project)
    assert not said(events_of(label(project, split="val"))).count("replaced")
    assert made(project).facts == facts and marks(project) == first


def test_a_set_that_begins_with_one_image_is_like_any_other(project: Project) -> None:
    events_of(label(project, images=(STEM,)))
    facts = made(project).facts
    assert "images" not in facts and made(project).stems() == (STEM,)
    events_of(label(project, background="constant:0.2", images=(STEM,)))
    facts = made(project).facts
    assert "images" not in facts and facts["made_by"]["rule"]["value"] == 0.2, "no mask follows the old rule"
    events = events_of(label(project, background="constant:0.2"))
    assert made(project).facts == facts and "replaced" not in said(events)


def test_a_set_that_begins_with_a_climb_says_so(project: Project) -> None:
    events_of(climbed(project, "0@3"))
    assert list(made(project).records) == [STEM] and made(project).stems() == (STEM,)
    events_of(label(project, images=("im_000",)))
    assert list(made(project).records) == [STEM] and made(project).stems() == ("im_000", STEM)


def test_imports_are_not_written_over_by_one_image(project: Project) -> None:
    theirs = label_set(project.root, project.colours, "theirs", new=True)
    theirs.write(STEM, np.ones(SIZE, np.uint8))
    theirs.write_facts({"imported": {"format": "png"}})
    assert "were imported" in mistake(climbed(project, "0@3", name="theirs"))
    assert theirs.read(STEM).all()


@pytest.mark.parametrize("images", [3, [], {"im_001": 3}, {"im_001": {"source": 7, "climbs": 3, "climbed": {}}},
                                    {"im_001": {"climbs": "cam/steps", "climbed": [{}, 3]}},
                                    {"im_001": {"climbs": "../x", "climbed": []}}])  # fmt: skip
def test_forged_records_never_raise(project: Project, images: Any) -> None:
    events_of(label(project))
    made(project).write_facts({**made(project).facts, "images": images})
    assert isinstance(stale(project, made(project)), list) and isinstance(made(project).records, dict)
    events_of(label(project, images=(STEM,)))
    events_of(label(project))
    assert "images" not in made(project).facts


# --- staleness -------------------------------------------------------------------------------------


def test_each_mask_is_stale_for_its_own_reasons(project: Project) -> None:
    views = source_of(project.root, "cam").run.views("other")
    for n, stem in enumerate(project.usable[:-1]):
        stack_of(project, stem, (1,), n).save(views.path(stem))
    (views.folder / "views.json").write_text(json.dumps({"kinds": ["cams"]}))
    events_of(label(project))
    events_of(label(project, source="cam/other", images=("im_000", "im_002")))
    events_of(climbed(project, "0.1@4", "1@2"))
    assert stale(project, made(project)) == []
    (views.folder / "views.json").write_text(json.dumps({"kinds": ["cams"], "settings": 1}))
    otherwise = "The views cam/other were drawn otherwise after these labels were made."
    assert stale(project, made(project)) == [f"im_000, im_002: {otherwise}"]
    shutil.rmtree(views.folder)
    assert stale(project, made(project)) == [
        "im_000, im_002: The views cam/other that they were made from are gone."
    ]
    made(project).remove("im_000")
    made(project).remove("im_002")
    assert stale(project, made(project)) == [], "facts of masks that are not there do not count"


def test_a_climb_that_changed_or_went_makes_its_mask_stale(project: Project) -> None:
    place = source_of(project.root, "cam/steps").folder / STEM / "climb"
    events_of(label(project))
    events_of(climbed(project, "0.1@4"))
    assert stale(project, made(project)) == []
    # Going on from a climb changes nothing of what it was.
    CLIMBS["write"](place, "0.2", size=SIZE, grid=(6, 8), image=STEM, steps=2, parent="0.1", at=5)
    assert stale(project, made(project)) == []
    shutil.rmtree(place / "0.1")
    gone = f"{STEM}: A climb in cam/steps that it was made from is gone."
    assert stale(project, made(project)) == [gone]
    CLIMBS["write"](place, "0.1", size=SIZE, grid=(6, 8), image=STEM, steps=3, parent="0", at=2, strength=9.0)
    assert stale(project, made(project)) == [
        f"{STEM}: The climb 0.1 in cam/steps is another one than this label was made from."
    ]
    events_of(climbed(project, "0.1@4"))
    assert stale(project, made(project)) == []
    shutil.rmtree(place.parent.parent)
    assert stale(open_project(project.root), made(project)) == [gone]


def test_a_climb_on_other_weights_makes_its_mask_stale(project: Project) -> None:
    run_folder = source_of(project.root, "cam").run
    run_folder.weights.write_bytes(b"first")
    place = source_of(project.root, "cam/steps").folder / STEM / "climb"
    from engine.store import file_digest

    weights = file_digest(run_folder.weights)
    CLIMBS["write"](place, "2", size=SIZE, grid=(6, 8), image=STEM, weights=weights)
    events_of(climbed(project, "2@3"))
    assert stale(project, made(project)) == []
    run_folder.weights.write_bytes(b"second")
    assert stale(project, made(project)) == [
        f"{STEM}: The run was trained again after the climb that it was made from."
    ]


# --- saliency --------------------------------------------------------------------------------------


def test_what_disagrees_with_saliency_becomes_unsure(project: Project, tmp_path: Path) -> None:
    events_of(label(project, "plain", min_region=4))
    salient = np.zeros(SIZE, bool)
    salient[5:30, 20:60] = True
    for stem in project.usable[:-1]:
        write_salient(tmp_path / "sal", stem, salient)
    job = label(project, saliency=str(tmp_path / "sal"), min_region=4)
    assert "saliency" not in said(events_of(job))
    for stem in project.usable[:-1]:
        before, found = made(project, "plain").read(stem), made(project).read(stem)
        np.testing.assert_array_equal(found, np.where((before > 0) == salient, before, 255))
        assert 0 < (found == 255).mean() < 1
    assert made(project).facts["made_by"]["saliency"] == str(tmp_path / "sal")
    first = marks(project)
    events_of(job)
    assert marks(project) == first
    write_salient(tmp_path / "sal", STEM, ~salient)
    events_of(job)
    assert {s for s in first if marks(project)[s] != first[s]} == {STEM}
    events = events_of(label(project, min_region=4))
    assert "they are replaced" in said(events) and "saliency" not in made(project).facts["made_by"]


@pytest.mark.parametrize("crf", ["none", "irn"])
def test_masks_that_are_missing_empty_or_of_another_size(project: Project, tmp_path: Path, crf: str) -> None:
    events_of(label(project, "plain", crf=crf))
    place = project.root / "saliency"
    salient = np.zeros(SIZE, bool)
    salient[5:30, 20:60] = True
    write_salient(place, "im_001", np.zeros(SIZE, bool))
    write_salient(place, "im_002", salient.repeat(2, 0).repeat(2, 1))
    write_salient(place, "im_003", np.ones((20, 20), bool))
    (place / "im_004.png").write_bytes(b"no image")
    events = events_of(label(project, saliency=str(place), crf=crf))
    told = said(events)
    assert "im_000: there is no saliency mask" in told and "im_001: the saliency mask is background" in told
    assert "im_002: the saliency mask has another size" in told
    assert sorted(events[-1].result["passed_over"]) == ["im_003", "im_004"]
    assert "im_003 was passed over" in told and "20 x 20 px" in told and "im_004 was passed over" in told
    for stem in ("im_000", "im_001"):
        np.testing.assert_array_equal(made(project).read(stem), made(project, "plain").read(stem))
    before = made(project, "plain").read("im_002")
    np.testing.assert_array_equal(
        made(project).read("im_002"), np.where((before > 0) == salient, before, 255)
    )
    assert made(project).stems() == ("im_000", "im_001", "im_002")
    assert made(project).facts["made_by"]["saliency"] == "saliency", "inside the project it travels with it"


def test_digests_of_labels_without_climbs_are_what_they_were(project: Project) -> None:
    events_of(label(project))
    rule = rules.LabelRule.parse("constant:0.5").as_json()
    from engine.store import file_digest

    parts = [{"rule": rule, "crf": None}, file_digest(source_of(project.root, "cam").path(STEM)),
             project.image(STEM).sha256]  # fmt: skip
    assert made(project).digest(STEM) == digest_of(parts)
