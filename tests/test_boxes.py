"""Boxes around maps, their overlaps, and the accuracies of a data set with one threshold for all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engine.bench.boxes import bench
from engine.boxes import (
    DELTAS,
    GRID,
    BoxTally,
    boxes_along,
    boxes_at,
    grey,
    iou,
    normalised,
    resampled,
    scaled,
)
from engine.messages import Boxes, Failed, Finished, Progress, Said, encode
from engine.results import CamStack
from engine.run import run
from engine.store import Project, new_run

# Score maps and boxes of the unit tests of the official evaluation (clovaai/wsolevaluation).
TOYS = {
    "zeros": (np.zeros((3, 3)), [[0, 0, 0, 0]] * 5),
    "unimodal": (
        np.array([[0, 0, 0, 0, 0], [0, 4, 4, 4, 6], [0, 4, 10, 8, 6], [0, 4, 4, 4, 6]]) / 10,
        [[1, 1, 4, 3], [1, 1, 4, 3], [2, 1, 4, 3], [2, 2, 4, 3], [2, 2, 3, 3]],
    ),
    "multimodal": (
        np.array([[4, 0, 2, 2, 2], [4, 4, 0, 4, 0], [0, 0, 0, 4, 0], [10, 6, 8, 2, 2]]) / 10,
        [[0, 0, 4, 3], [0, 0, 2, 2], [0, 3, 3, 3], [2, 3, 3, 3], [0, 3, 1, 3]],
    ),
}


def block(size: tuple[int, int], x0: int, y0: int, x1: int, y1: int, value: float = 1.0) -> Any:
    """A map that is `value` in a box with both ends inside, else 0."""
    heat = np.zeros(size)
    heat[y0 : y1 + 1, x0 : x1 + 1] = value
    return heat


def literal(heat: Any) -> list[tuple[list[list[int]], list[int]]]:
    """Boxes of all contours and of the largest at each threshold of the grid, one threshold at a time."""
    height, width = heat.shape
    image = (heat * 255).astype(np.uint8)
    made = []
    for share in GRID:
        _, cut = cv2.threshold(image, int(share * np.max(image)), 255, cv2.THRESH_BINARY)
        contours = cv2.findContours(cut, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
        boxes = []
        for contour in contours or ():
            x, y, w, h = cv2.boundingRect(contour)
            boxes.append([x, y, min(x + w, width - 1), min(y + h, height - 1)])
        if boxes:
            largest = max(range(len(boxes)), key=lambda n: cv2.contourArea(contours[n]))
            made.append((boxes, boxes[largest]))
        else:
            made.append(([[0, 0, 0, 0]], [0, 0, 0, 0]))
    return made


def drawn(seed: int, size: tuple[int, int] = (40, 56)) -> Any:
    """A rough map with bumps and holes."""
    random = np.random.default_rng(seed)
    cells = random.random((7, 7)) ** 2
    return normalised(cv2.resize(cells, size[::-1], interpolation=cv2.INTER_CUBIC))


# --- boxes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TOYS)
def test_the_toy_maps_of_the_official_tests(name: str) -> None:
    heat, wanted = TOYS[name]
    assert [list(boxes_at(heat, t, largest=True)[0]) for t in np.arange(0, 1, 0.2)] == wanted


def test_all_contours_give_boxes_and_holes_do_too() -> None:
    ring = block((20, 20), 3, 4, 12, 11) - block((20, 20), 6, 6, 8, 9)
    # The contour of a hole runs over the pixels around it.
    assert sorted(boxes_at(ring, 0.5)) == [(3, 4, 13, 12), (5, 5, 10, 11)]
    two = block((20, 20), 1, 1, 2, 2) + block((20, 20), 10, 10, 19, 19, 0.6)
    assert sorted(boxes_at(two, 0.5)) == [(1, 1, 3, 3), (10, 10, 19, 19)]
    assert boxes_at(two, 0.5, largest=True) == [(10, 10, 19, 19)], "the largest, not the highest"
    assert boxes_at(two, 0.6) == [(1, 1, 3, 3)], "the threshold is strict"


def test_a_perfect_mask_overlaps_its_box_by_less_than_one() -> None:
    (found,) = boxes_at(block((224, 224), 60, 50, 119, 99), 0.5)
    assert found == (60, 50, 120, 100)
    assert iou(np.array([found]), np.array([[60, 50, 119, 99]]))[0, 0] == pytest.approx(0.9643, abs=5e-5)


@pytest.mark.parametrize("heat", [np.full((6, 8), 0.7), np.full((6, 8), np.nan), np.zeros((6, 8))])
def test_a_map_without_shape_has_the_empty_box(heat: Any) -> None:
    assert not normalised(heat).any()
    for threshold in (0.0, 0.5, 1.0):
        assert boxes_at(heat, threshold) == [(0, 0, 0, 0)]


def test_normalising_keeps_the_map_that_was_given() -> None:
    heat = np.array([[2.0, 4.0], [6.0, 10.0]], np.float32)
    np.testing.assert_array_equal(normalised(heat), [[0, 0.25], [0.5, 1]])
    assert heat.max() == 10
    assert grey(normalised(heat)).tolist() == [[0, 63], [127, 255]]


@pytest.mark.parametrize("seed", range(8))
def test_distinct_cuts_give_the_boxes_of_the_whole_grid(seed: int) -> None:
    heat = drawn(seed)
    shades = grey(heat)
    found = boxes_along(shades, (GRID * int(shades.max())).astype(int).tolist())
    assert len(found) == 1000
    assert [(f.boxes.tolist(), f.boxes[f.largest].tolist()) for f in found] == literal(heat)
    assert len(set(map(id, found))) <= 255


@pytest.mark.parametrize("name", TOYS)
def test_few_values_are_few_cuts(name: str) -> None:
    shades = grey(TOYS[name][0])
    found = boxes_along(shades, (GRID * int(shades.max())).astype(int).tolist())
    assert len(set(map(id, found))) <= len(np.unique(shades))
    assert [(f.boxes.tolist(), f.boxes[f.largest].tolist()) for f in found] == literal(TOYS[name][0])


@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (1, 1), (2, 2)])
def test_narrow_maps(shape: tuple[int, int]) -> None:
    heat = normalised(np.random.default_rng(5).random(shape))
    shades = grey(heat)
    found = boxes_along(shades, (GRID * int(shades.max())).astype(int).tolist())
    assert [(f.boxes.tolist(), f.boxes[f.largest].tolist()) for f in found] == literal(heat)


def test_the_benchmark_compares_identical_boxes() -> None:
    told = bench(1)
    assert told["max_difference"] == 0 and told["thresholds"] == 1000 and told["ratio"] > 0


# --- resampling, overlaps, scaling ----------------------------------------------------------------------


@pytest.mark.parametrize("side", [224, 100, 31])
def test_cells_that_cover_the_image_are_enlarged_as_by_opencv(side: int) -> None:
    cells = np.random.default_rng(side).random((12, 16))
    ours = resampled(cells, (192, 256), 16.0, 7.5, side)
    wanted = cv2.resize(cells, (side, side), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=3e-6)  # OpenCV weighs in float32


def test_cells_beyond_the_image_keep_their_place() -> None:
    """A bump on cell (5, 7) of a 100 x 150 px image peaks at that cell's centre, whatever the map covers."""
    cells = np.zeros((8, 11))
    cells[5, 7] = 1
    for origin in (0.0, 7.5):
        own = resampled(cells, (100, 150), 16.0, origin, 0)
        assert own.shape == (100, 150)
        y, x = np.unravel_index(own.argmax(), own.shape)
        assert abs(y - (80 + origin)) <= 0.5 and abs(x - (112 + origin)) <= 0.5
        square = resampled(cells, (100, 150), 16.0, origin, 200)
        y, x = np.unravel_index(square.argmax(), square.shape)
        assert abs((y + 0.5) / 2 - 0.5 - (80 + origin)) <= 0.5
        assert abs((x + 0.5) * 150 / 200 - 0.5 - (112 + origin)) <= 0.5


def test_overlaps_count_both_ends() -> None:
    assert iou(np.array([[1, 2, 5, 6]]), np.array([[3, 1, 4, 5]]))[0, 0] == 8 / 27
    assert (iou(np.zeros((3, 4), int), np.zeros((5, 4), int)) == np.ones((3, 5))).all()
    apart = np.array([[1, 1, 3, 3], [4, 4, 5, 5]])
    assert (iou(apart, apart) == np.eye(2)).all()
    with pytest.raises(ValueError, match="before it begins"):
        iou(np.array([[1, 1, 0, 0]]), apart)


def test_true_boxes_are_scaled_by_dropping_fractions() -> None:
    assert scaled((1, 2, 4, 3), (20, 10), (10, 35)) == (3, 1, 14, 1)
    assert scaled((1, 2, 1, 2), (3, 3), (3, 3)) == (1, 2, 1, 2)
    assert scaled((0.0, 10.9, 499.0, 374.0), (375, 500), (375, 500)) == (0, 10, 499, 374)


# --- a data set ------------------------------------------------------------------------------------------


def reference_accuracies(cases: list[tuple[Any, Any]]) -> Any:
    """[2, 3, 1000]: the shares of right boxes (all contours, largest) by the literal loop."""
    right = np.zeros((2, 3, 1000))
    for heat, truth in cases:
        for t, (boxes, largest) in enumerate(literal(heat)):
            for v, these in enumerate((boxes, [largest])):
                best = iou(np.array(these), truth).max()
                right[v, :, t] += best >= np.array(DELTAS)
    return right / len(cases)


def cases(count: int) -> list[tuple[Any, Any]]:
    random = np.random.default_rng(3)
    made = []
    for n in range(count):
        heat = drawn(100 + n)
        shades = grey(heat)
        box = boxes_along(shades, [int(random.integers(60, 200))])[0].boxes[:1]
        jitter = random.integers(-4, 5, (2, 4))
        truth = np.maximum(np.sort((box + jitter).reshape(2, 2, 2), axis=1).reshape(2, 4), 0)
        made.append((heat, truth))
    return made


def test_the_figures_are_those_of_the_whole_grid() -> None:
    made = cases(6)
    tally = BoxTally()
    for n, (heat, truth) in enumerate(made):
        tally.add(f"im{n}", n % 2, heat, truth, n % 3 == 0)
    found = tally.report(("cat", "dog"))
    full = reference_accuracies(made)
    assert found["max_box_acc"] == full[1, 1].max()
    assert [found["at"][str(d)] for d in DELTAS] == full[0].max(axis=1).tolist()
    assert found["max_box_acc_v2"] == pytest.approx(full[0].max(axis=1).mean())
    # The thinned curve is the whole one without its repetitions, and leads to the same thresholds.
    steps = [round(t * 1000) for t in found["curve"]["threshold"]]
    assert len(steps) == 255 and steps[0] == 0
    for name, row in zip(("0.3", "0.5", "0.7", "v1"), (*full[0], full[1, 1]), strict=True):
        assert found["curve"][name] == row[steps].tolist()
        held = np.repeat(found["curve"][name], np.diff([*steps, 1000]))
        np.testing.assert_array_equal(held, row)
        assert found["thresholds"][name] == round(float(GRID[row.argmax()]), 3)
    # Every contour includes the largest one, so at each threshold and delta V2 is at least V1.
    assert (full[0] >= full[1]).all()
    assert found["max_box_acc_v2"] >= full[1].max(axis=1).mean()
    assert found["at"]["0.5"] >= found["max_box_acc"]


def test_printed_thresholds_cut_as_the_grid_does() -> None:
    rounded = np.round(GRID, 3)
    assert ((rounded * 255).astype(int) == (GRID * 255).astype(int)).all()


def test_one_threshold_for_the_data_set_and_not_one_for_each_image() -> None:
    """Two maps that are right at thresholds which exclude each other: half of them, not all."""
    size, box = (64, 64), (20, 20, 39, 39)
    low = block(size, *box, 0.3) + block(size, 28, 28, 31, 31, 0.7)  # right below 0.3
    deep = block(size, *box, 0.4) + block(size, 0, 0, 63, 63, 0.6)  # right from 0.6 on
    deep[63, 63] = 0
    tally = BoxTally()
    for name, heat in (("low", low), ("deep", deep)):
        tally.add(name, 0, heat, np.array([box]), True)
    found = tally.report(("cat",))
    assert found["oracle"] == {"0.3": 1, "0.5": 1, "0.7": 1, "v1": 1}
    assert found["max_box_acc"] == 0.5 and found["max_box_acc_v2"] == 0.5
    assert found["at"] == {"0.3": 0.5, "0.5": 0.5, "0.7": 0.5}
    assert [entry[0] for entry in found["failures"]] == ["deep"] and found["failures"][0][2] < 0.5


def test_top1_needs_the_class_and_the_box() -> None:
    size, box = (64, 64), (20, 20, 39, 39)
    good, bad = block(size, *box), block(size, 50, 50, 60, 60)
    tally = BoxTally()
    for n, (heat, first) in enumerate([(good, True), (good, False), (bad, True), (bad, False), (good, True)]):
        tally.add(f"im{n}", n % 2, heat, np.array([box]), first)
    found = tally.report(("cat", "dog"))
    assert found["top1_cls"] == 0.6 and found["max_box_acc"] == 0.6 and found["top1_loc"] == 0.4
    assert found["top1_loc_v1"] == 0.4 and found["top1_loc_at"] == {"0.3": 0.4, "0.5": 0.4, "0.7": 0.4}
    two_thirds = dict.fromkeys(("0.3", "0.5", "0.7", "v1"), 2 / 3)
    assert found["per_class"]["cat"] == {
        "pairs": 3, "at": two_thirds, "mean": 2 / 3, "top1_cls": 1, "top1_loc_at": two_thirds
    }  # fmt: skip
    assert found["per_class"]["dog"]["pairs"] == 2 and found["per_class"]["dog"]["top1_loc_at"]["0.5"] == 0
    assert sum(found["iou_histogram"]["counts"]) == 5 and found["iou_histogram"]["counts"][0] == 2
    assert [f[:2] for f in found["failures"]] == [["im2", "cat"], ["im3", "dog"]]
    tally.add("blind", 0, good, np.array([box]), None)
    blind = tally.report(("cat", "dog"))
    assert blind["top1_cls"] is None and blind["top1_loc"] is None and blind["max_box_acc"] == 4 / 6


def test_a_box_of_any_object_of_the_class_counts() -> None:
    tally = BoxTally()
    truth = np.array([[0, 0, 5, 5], [20, 20, 39, 39]])
    tally.add("a", 0, block((64, 64), 20, 20, 39, 39), truth, True)
    assert tally.report(("cat",))["max_box_acc"] == 1


def test_overlaps_on_a_delta_are_right_and_in_its_bin() -> None:
    """A box of 10 of 20 columns overlaps by exactly one half (with the end that is too far)."""
    tally = BoxTally()
    tally.add("a", 0, block((64, 64), 0, 0, 8, 8), np.array([[0, 0, 19, 9]]), True)
    found = tally.report(("cat",))
    assert found["at"] == {"0.3": 1, "0.5": 1, "0.7": 0}
    assert found["iou_histogram"]["counts"][5] == 1 and not found["failures"]


def test_boxes_are_compared_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise has a contour for every third pixel; in portions its figures are what they are at once."""
    heat = normalised(np.random.default_rng(0).random((24, 24)))
    truth = np.array([[n, n, n + 9, n + 5] for n in range(12)])
    found = []
    for pairs in (1 << 20, 500):
        monkeypatch.setattr("engine.boxes._PAIRS", pairs)
        tally = BoxTally()
        tally.add("a", 0, heat, truth, True)
        found.append(tally.report(("cat",)))
    assert found[0] == found[1]
    full = reference_accuracies([(heat, truth)])
    assert [found[0]["at"][str(d)] for d in DELTAS] == full[0].max(axis=1).tolist()


# --- the job ---------------------------------------------------------------------------------------------


def give_maps(project: Project, maps: dict[str, dict[int, Any]], scores: Any = None) -> str:
    made = new_run(project.root, "hand", "hand", {"method": "m", "status": "finished"})
    views = made.views()
    for stem, own in maps.items():
        image = project.image(stem)
        stacked = np.stack(list(own.values())).astype(np.float16)
        CamStack(
            image=stem, size=(image.height, image.width), classes=tuple(own), maps=stacked,
            peaks=np.ones(len(own), np.float32), cell=1.0, origin=0.0,
            scores=np.array([0.9, 0.5, 0.1] if scores is None else scores, np.float32),
        ).save(views.path(stem))  # fmt: skip
    (views.folder / "views.json").write_text(json.dumps({"kinds": ["cams"]}))
    return "hand"


def events_of(job: Boxes) -> list[Any]:
    return list(run(job))


def measured(project: Project, tmp_path: Path, lines: str, **other: Any) -> tuple[dict[str, Any], str]:
    """The result of the job for the source `hand`, and its warnings."""
    (tmp_path / "boxes.csv").write_text(lines)
    job = Boxes(
        project=str(project.root),
        source="hand",
        truth_boxes=str(tmp_path / "boxes.csv"),
        **{"side": 0, **other},
    )
    events = events_of(job)
    assert isinstance(events[-1], Finished), events[-1]
    progress = [e for e in events if isinstance(e, Progress)]
    assert progress and progress[-1].done == progress[-1].total and progress[-1].seconds_left is not None
    return events[-1].result, "\n".join(e.text for e in events if isinstance(e, Said))


def test_the_job_measures_pairs(small_project: Project, tmp_path: Path) -> None:
    """im_000 red; im_001 green; im_002 blue and green; ..: one map is right, one wrong, one has no box."""
    tags = {stem: small_project.tags().present(stem) for stem in small_project.usable}
    right, wrong = (5, 6, 20, 25), (40, 30, 50, 45)
    maps = {stem: {c: block((48, 64), *right) for c in own} for stem, own in tags.items()}
    give_maps(small_project, maps)
    names = small_project.classes
    several = next(stem for stem, own in tags.items() if len(own) == 2)
    lines = ["image,x0,y0,x1,y1,class"]
    for stem, own in tags.items():
        box = wrong if stem == "im_001" else right
        lines.append(f"folder/{stem}.png,{','.join(map(str, box))},{names[own[0]]}")
    found, said = measured(small_project, tmp_path, "\n".join(lines))
    assert found["pairs"] == found["images"] == 6
    assert found["max_box_acc"] == pytest.approx(5 / 6) and found["max_box_acc_v2"] == pytest.approx(5 / 6)
    assert found["failures"][0][:2] == ["im_001", names[tags["im_001"][0]]]
    firsts = sum(own[0] == 0 for own in tags.values())
    assert found["top1_cls"] == pytest.approx(firsts / 6)
    assert "maps of a class that has no box" in said
    passed = {entry["why"]: entry for entry in found["passed_over"]}["maps of a class that has no box"]
    assert f"{several} {names[tags[several][1]]}" in passed["images"]
    assert len(encode(Finished(result=found))) < 1 << 16
    # Squared to 224 px the same boxes are right.
    square, _ = measured(small_project, tmp_path, "\n".join(lines), side=224)
    assert square["max_box_acc_v2"] == pytest.approx(5 / 6) and square["side"] == 224


def test_boxes_without_class_take_the_single_tag(small_project: Project, tmp_path: Path) -> None:
    tags = {stem: small_project.tags().present(stem) for stem in small_project.usable}
    single = [stem for stem, own in tags.items() if len(own) == 1]
    give_maps(small_project, {s: {c: block((48, 64), 5, 6, 20, 25) for c in own} for s, own in tags.items()})
    lines = "\n".join(f"{stem},5,6,20,25" for stem in tags)
    found, said = measured(small_project, tmp_path, lines)
    assert 0 < len(single) < 6 and found["pairs"] == len(single) and found["max_box_acc"] == 1
    assert "name no class and which have not exactly one tag" in said
    # Maps of another split, and images that were never drawn, are told.
    found, _ = measured(small_project, tmp_path, lines, split="val")
    assert found["pairs"] == len(set(single) & set(small_project.stems("val")))


def test_imported_scores_are_no_top1(small_project: Project, tmp_path: Path) -> None:
    stem = small_project.usable[0]
    cls = small_project.tags().present(stem)[0]
    give_maps(small_project, {stem: {cls: block((48, 64), 5, 6, 20, 25)}}, scores=[1, 0, 0])
    line = f"{stem},5,6,20,25,{small_project.classes[cls]}\n{small_project.usable[1]},5,6,20,25,red"
    found, said = measured(small_project, tmp_path, line)
    assert found["top1_cls"] is None and found["top1_loc"] is None and "no Top-1" in said
    assert {
        "why": "images that hand/default does not hold",
        "count": 1,
        "images": [small_project.usable[1]],
    } in found["passed_over"]


def test_mistakes_of_the_job(small_project: Project, tmp_path: Path) -> None:
    stem = small_project.usable[0]
    cls = small_project.tags().present(stem)[0]
    other = small_project.classes[(cls + 1) % 3]
    give_maps(small_project, {stem: {cls: block((48, 64), 5, 6, 20, 25)}})
    (tmp_path / "boxes.csv").write_text(f"{stem},5,6,20,25,{other}\n")
    (tmp_path / "val.csv").write_text(f"{small_project.stems('val')[0]},5,6,20,25\n")

    def mistake(file: str, **more: Any) -> str:
        job = Boxes(project=str(small_project.root), source="hand", truth_boxes=str(tmp_path / file), **more)
        ending = events_of(job)[-1]
        assert isinstance(ending, Failed) and ending.mistake, ending
        return ending.message

    assert "No image has a map and a true box of the same class" in mistake("boxes.csv")
    assert "holds none of the 1 images" in mistake("val.csv")
    assert "--side -1" in mistake("boxes.csv", side=-1)
    assert "--side 99999" in mistake("boxes.csv", side=99999)
    assert "does not exist" in mistake("nowhere.csv")
