"""The simulated person: where it acts, what that costs, and when it stops."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine import annotator, bench
from engine.annotator import ACCEPT, CLASS_SWITCH, COSTS, LOOK, TOOLS, Case, Trace, correct, person
from engine.annotator.aim import error_stroke, next_aim
from engine.annotator.cases import drawn_cases, drawn_stems, newest_labels, project_cases, project_stems
from engine.annotator.moves import moves
from engine.errors import UserError
from engine.store import Project, label_set
from engine.store.truth import read_truth

NO_JITTER = np.zeros(2)


def square(at: tuple[int, int], side: int, size: int = 96, value: int = 1) -> np.ndarray:
    mask = np.zeros((size, size), np.uint8)
    mask[at[0] : at[0] + side, at[1] : at[1] + side] = value
    return mask


def photo_of(truth: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(0)
    base = np.where((truth == 1)[..., None], (200, 60, 40), (60, 120, 90))
    return np.clip(base + rng.normal(0, 6, (*truth.shape, 3)), 0, 255).astype(np.uint8)


def case_of(start: np.ndarray, truth: np.ndarray, *, maps: bool = False) -> Case:
    scores = (truth == 1).astype(np.float32)[None] * 0.9 if maps else None
    return Case("im", photo_of(truth), start, truth, 1, scores)


def nowhere(mask: np.ndarray) -> np.ndarray:
    return np.zeros(mask.shape, bool)


# ---- where


def test_the_deepest_error_is_acted_at_and_the_sign_says_which_it_is() -> None:
    truth = square((10, 10), 31)
    aim = next_aim(np.zeros_like(truth), truth, 1, nowhere(truth), NO_JITTER)
    assert aim is not None and aim.point == (25, 25) and aim.positive
    assert aim.depth == 16 and aim.region.sum() == 31 * 31
    wrong = truth.copy()
    wrong[50:91, 50:91] = 1  # more is wrong now than anything is missing
    aim = next_aim(wrong, truth, 1, nowhere(truth), NO_JITTER)
    assert aim is not None and aim.point == (70, 70) and not aim.positive


def test_void_is_no_error_and_no_place_to_act() -> None:
    truth = square((10, 10), 31)
    truth[60:, :] = 255
    mask = truth.copy()
    mask[60:] = 1
    assert next_aim(mask, truth, 1, nowhere(truth), NO_JITTER) is None
    missing = next_aim(np.zeros_like(truth), truth, 1, nowhere(truth), np.array([60.0, 0.0]))
    assert missing is not None and missing.point == (25, 25)  # the hand does not land on void


def test_no_pixel_is_acted_at_twice() -> None:
    truth, visited = square((40, 40), 5), nowhere(np.zeros((96, 96)))
    seen = set()
    while (aim := next_aim(np.zeros_like(truth), truth, 1, visited, NO_JITTER)) is not None:
        assert aim.point not in seen
        seen.add(aim.point)
        visited[aim.point] = True
    assert len(seen) == 25


@given(arrays(np.bool_, (24, 30)), st.floats(0.3, 1))
@settings(max_examples=40, deadline=None)
def test_a_stroke_stays_in_the_image_and_begins_and_ends_in_the_error(
    wanted: np.ndarray, reach: float
) -> None:
    truth = wanted.astype(np.uint8)
    aim = next_aim(np.zeros_like(truth), truth, 1, nowhere(truth), NO_JITTER)
    if aim is None:
        assert not wanted.any()
        return
    points, length, diameter = error_stroke(aim, reach)
    assert length >= 0 and 1 <= diameter <= 2 * aim.depth + 1
    assert all(aim.region[int(y), int(x)] for y, x in points)


# ---- what it costs


def test_a_mask_that_is_right_is_accepted_at_once() -> None:
    truth = square((20, 20), 40)
    trace = correct(case_of(truth.copy(), truth), TOOLS)
    assert trace.tools == [] and trace.reach(0.9) == (ACCEPT, True) and trace.destroyed == trace.changed == 0


def test_a_class_that_is_wholly_wrong_is_erased_by_one_click_on_its_region() -> None:
    truth = np.zeros((96, 96), np.uint8)
    trace = correct(case_of(square((20, 20), 40), truth), ("fill",))
    assert trace.tools == ["fill"] and trace.iou == [0.0, 1.0]
    assert trace.reach(0.85) == (CLASS_SWITCH + COSTS["fill"] + ACCEPT, True)


def test_a_piece_of_another_class_is_taken_by_one_click_and_the_background_is_no_piece() -> None:
    truth = square((20, 20), 40)
    trace = correct(case_of(truth * 2, truth), ("fill",))
    assert trace.tools == ["fill"] and trace.iou[-1] == 1
    assert correct(case_of(np.zeros_like(truth), truth), ("fill",)).tools == []


def test_the_slider_of_the_whole_image_finds_the_threshold_and_the_map() -> None:
    truth = square((20, 20), 40)
    far = np.where(truth == 1, 0.55, 0.45).astype(np.float32)
    case = Case(
        "im", photo_of(truth), square((50, 50), 40), truth, 1, np.stack([np.full_like(far, 0.05), far])
    )
    trace = correct(case, ("whole",))
    assert trace.tools == ["whole"] and trace.iou[-1] == 1 and trace.changed > 0


def test_what_ends_the_work_is_taken_where_it_is_no_dearer_than_an_action_more() -> None:
    truth = square((20, 20), 60)
    start = truth.copy()
    start[20:80, 20:48] = 0  # a hole that one click on the map fills
    start[20:24, 48:80] = 0
    scores = (truth == 1).astype(np.float32)[None] * 0.9
    case = Case("im", photo_of(truth), start, truth, 1, scores)
    assert correct(case, ("brush", "region"), until=0.99).tools == ["region"]
    dear = correct(Case("im", photo_of(truth), start, truth, 1), ("brush", "polygon"), until=0.99).tools
    assert dear[0] == "brush"  # the polygon would end it in more than eight seconds


def test_a_hopeless_start_is_cleared_where_that_is_cheaper() -> None:
    truth = square((8, 8), 40)
    start = np.zeros_like(truth)
    for k in range(5):  # ten pieces too many, too large for specks, each an action by itself
        start[60:75, 18 * k : 18 * k + 15] = 1
        start[78:93, 18 * k : 18 * k + 15] = 1
    scores = (truth == 1).astype(np.float32)[None] * 0.9
    case = Case("im", photo_of(truth), start, truth, 1, scores)
    trace = correct(case, ("tidy", "region"))
    assert trace.tools == ["clear", "region"] and trace.iou == [0.0, 0.0, 1.0]
    assert trace.reach(0.9)[0] == CLASS_SWITCH + COSTS["clear"] + COSTS["region"] + ACCEPT
    assert "clear" not in correct(case, ("region",)).tools  # not without the tool that can


def test_maps_that_mislead_are_done_without() -> None:
    truth = square((20, 20), 50)
    map_ = (truth == 1).astype(np.float32)
    for y in (2, 80):
        for x in (2, 30, 60, 80):
            map_[y : y + 12, x : x + 12] = 1
    blank = np.zeros_like(truth)
    start = square((30, 30), 30)
    led = replace(case_of(start, truth), scores=map_[None], others=blank[None])
    alone = correct(case_of(start, truth), ("polygon", "whole"), until=0.95)
    found = correct(led, ("polygon", "whole"), until=0.95)
    assert alone.tools == found.tools == ["polygon"]
    # The map gains more a second at first, and then eight pieces of it are to be cut away.
    assert person._mend(led, ("polygon", "whole"), 0.95, 20, 0, 0, over=False).tools[0] == "whole"


def test_a_region_of_another_label_is_taken_by_one_click() -> None:
    truth = square((20, 20), 40)
    other = np.where(truth == 1, np.uint8(1), np.uint8(2))
    case = Case("im", photo_of(truth), np.zeros_like(truth), truth, 1, None, other[None])
    trace = correct(case, ("region",))
    assert trace.tools == ["region"] and trace.iou == [0.0, 1.0]
    assert correct(replace(case, others=None), ("region",)).tools == []


def test_polygons_cost_a_second_a_vertex() -> None:
    truth = square((20, 20), 40)
    trace = correct(case_of(np.zeros_like(truth), truth), ("polygon",))
    assert trace.iou[-1] >= 0.95
    assert 4 <= trace.seconds[-1] - CLASS_SWITCH <= 9  # four corners, cut or not


def test_who_gives_up_is_charged_and_counted_as_a_miss() -> None:
    truth = square((20, 20), 40)
    trace = correct(case_of(np.zeros_like(truth), truth), ("threshold",), most=5)
    assert trace.tools == [] and trace.undone == 1  # the one error was tried once
    assert trace.reach(0.85) == (CLASS_SWITCH + LOOK + ACCEPT, False)


def test_the_area_under_a_curve_of_steps() -> None:
    trace = Trace([0.0, 10.0, 20.0], [0.0, 0.5, 1.0])
    assert trace.area(40) == pytest.approx((10 * 0 + 10 * 0.5 + 20 * 1) / 40)
    assert trace.area(10) == 0 and trace.area(15) == pytest.approx(5 * 0.5 / 15)
    assert trace.reach(0.5) == (10 + ACCEPT, True) and trace.reach(1.1) == (20 + ACCEPT, False)


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_only_ever_makes_it_better(tool: str) -> None:
    truth = square((20, 20), 50)
    truth[35:45, 35:45] = 0
    start = square((30, 10), 50)
    start[80:90, 80:90] = 1
    for jitter in (0.0, 4.0):
        trace = correct(case_of(start, truth, maps=True), (tool,), jitter=jitter, seed=3)
        kept = trace.iou[2:] if "clear" in trace.tools else trace.iou  # starting over begins with nothing
        assert all(b >= a for a, b in itertools.pairwise(kept))
        assert all(b > a for a, b in zip(trace.seconds, trace.seconds[1:], strict=False))
        assert len(trace.tools) + trace.undone <= annotator.MOST and set(trace.tools) <= {tool, "clear"}
        assert trace.iou[0] == pytest.approx(_iou(start, truth))


def test_the_counts_after_moves_are_those_of_the_whole_mask() -> None:
    truth = square((20, 20), 50)
    truth[:12] = 255
    start = square((30, 10), 50)
    case = case_of(start, truth, maps=True)
    from engine.annotator.person import _Counts

    counts = _Counts(start, truth, 1)
    aim = next_aim(start, truth, 1, nowhere(truth), NO_JITTER)
    assert aim is not None
    for tool in TOOLS:
        for move in moves(tool, case, start, aim, []):
            y0, x0, y1, x1 = move.box
            after = start.copy()
            after[y0:y1, x0:x1] = move.after
            assert counts.after(start, move).iou == pytest.approx(_iou(after, truth))
            assert move.cost >= 1


def test_the_same_seed_is_the_same_person_and_the_start_is_left_alone() -> None:
    truth, start = square((20, 20), 50), square((30, 10), 50)
    kept = start.copy()
    runs = [correct(case_of(start, truth, maps=True), TOOLS, jitter=4.0, seed=s) for s in (1, 1, 2)]
    assert runs[0].iou == runs[1].iou and runs[0].tools == runs[1].tools
    assert (start == kept).all()


def test_greedy_is_no_worse_than_any_tool_in_its_first_action() -> None:
    truth, start = square((20, 20), 50), square((30, 10), 50)
    case = case_of(start, truth, maps=True)
    best = correct(case, TOOLS, most=1)
    gained = (best.iou[1] - best.iou[0]) / (best.seconds[1] - CLASS_SWITCH)
    for tool in TOOLS:
        alone = correct(case, (tool,), most=1)
        if len(alone.iou) > 1:
            assert (alone.iou[1] - alone.iou[0]) / (alone.seconds[1] - CLASS_SWITCH) <= gained + 1e-9


# ---- on what


def test_cases_come_from_labels_maps_and_truth(small_project: Project) -> None:
    with pytest.raises(UserError, match="no labels"):
        newest_labels(small_project)
    labels = label_set(small_project.root, small_project.colours, "seed", new=True)
    for stem in small_project.usable[:5]:
        labels.write(stem, np.zeros((48, 64), np.uint8))
    assert newest_labels(small_project).name == "seed"
    assert project_stems(small_project, labels, 9) == ["im_004"]
    cases = project_cases(small_project, "seed", "im_004")
    truth = read_truth(small_project, "im_004")
    assert truth is not None and [c.value for c in cases] == sorted(set(truth[truth > 0].tolist()))
    assert all(c.scores is None and c.others is None and (c.truth == truth).all() for c in cases)
    other = label_set(small_project.root, small_project.colours, "other", new=True)
    other.write("im_004", truth)
    found = project_cases(small_project, "seed", "im_004")[0].others
    assert found is not None and (found == truth[None]).all()


def test_the_sample_needs_no_project_and_is_the_same_each_time() -> None:
    stems = drawn_stems(3)
    assert len(stems) == 3
    first, second = (drawn_cases(stems[0]) for _ in range(2))
    assert first and all((a.start == b.start).all() for a, b in zip(first, second, strict=True))
    for case in first:
        assert 0.2 < correct(case, TOOLS, most=0).iou[0] < 1  # neither right nor nothing


def test_the_benchmark_says_what_it_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.bench import annotator as subject

    monkeypatch.setattr(
        subject,
        "run_pool",
        lambda function, arguments, workers: enumerate([subject.one_image(*arguments[0])]),
    )
    arms = {k: subject._ARMS[k] for k in subject._ARMS}
    quick = {k: (empty, maps, ("brush", "region"), jitter) for k, (empty, maps, _, jitter) in arms.items()}
    monkeypatch.setattr(subject, "_ARMS", quick)
    found = bench.measure("annotator", 1)
    assert set(found["misses"]) == set(arms) and found["pairs"] >= 1
    assert found["cost_ratio"] > 0 and 0 <= found["start_iou"] <= 1
    for arm in found["arms"].values():
        assert arm["cost_85"] >= ACCEPT and 0 <= arm["area_30s"] <= 1
    assert all(found["arms"][arm]["cost_90"] >= ACCEPT for arm in ("pseudo-label", "empty"))
    assert found["cost_ratio_90"] > 0
    with pytest.raises(UserError, match="measures no project"):
        bench.measure("boxes", 1, "somewhere")


@pytest.mark.real
def test_from_the_refined_labels_costs_less_than_from_nothing_on_a_photograph(shared_data) -> None:  # type: ignore[no-untyped-def]
    from engine.images import read, read_mask

    folder, stem = shared_data / "voc_mini", "2007_000175"
    truth = read_mask(folder / "SegmentationClass" / f"{stem}.png")
    truth = np.where(truth == 17, 1, np.where(truth == 255, 255, 0)).astype(np.uint8)
    photo = read(folder / "JPEGImages" / f"{stem}.jpg").pixels
    start = np.roll(truth == 1, (6, -8), (0, 1)).astype(np.uint8)
    tools = ("brush", "click", "superpixel")
    a = correct(Case(stem, photo, start, truth, 1), tools, until=0.85)
    b = correct(Case(stem, photo, np.zeros_like(start), truth, 1), tools, until=0.85)
    assert a.reach(0.85)[1] and a.reach(0.85)[0] < b.reach(0.85)[0]


def _iou(mask: np.ndarray, truth: np.ndarray) -> float:
    valid = truth != 255
    either = ((mask == 1) | (truth == 1)) & valid
    return float(((mask == 1) & (truth == 1))[either].mean()) if either.any() else 1.0
