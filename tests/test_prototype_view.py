"""What the Prototypes page reckons: stages, neighbours, a person's hand on the bank, a pixel's nearest."""

from __future__ import annotations

import os
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import UserError
from engine.passage import Choice, pass_through
from engine.results import PrototypeBank
from engine.store import Project
from wsss_napari.prototype_bank import Hand, Shelf, choice_of, thinned, unit
from wsss_napari.prototype_gallery import crop_of
from wsss_napari.prototype_stages import STAGES
from wsss_napari.prototype_view import PrototypeScene

FAKE = runpy.run_path(str(Path(__file__).with_name("fake_prototypes.py")))
CHOICE = Choice(neighbours=4)


@pytest.fixture
def bank(small_project: Project) -> PrototypeBank:
    run = FAKE["trained"](small_project)
    return PrototypeBank.load(run.weights)


@pytest.fixture
def scene_of(small_project: Project, bank: PrototypeBank) -> Any:
    """Makes scenes of the first class in the first image."""

    def make(choice: Choice = CHOICE, **more: Any) -> PrototypeScene:
        image = more.pop("image", small_project.usable[0])
        cls = more.pop("cls", small_project.tags().present(image)[0])
        return PrototypeScene(
            FAKE["view_of"](small_project, image), more.pop("bank", bank), cls, choice, **more
        )

    return make


def test_the_choice_is_the_one_that_the_run_draws_with() -> None:
    assert choice_of({}) == Choice()
    found = choice_of({"tau": 0.3, "neighbours": 5, "shift": "off", "draw": "max_cos", "positiveness": False})
    assert found == Choice(tau=0.3, neighbours=5, shift=0.0, draw="max_cos", positiveness=False)
    assert choice_of({"bank": "image"}).without and not choice_of({"bank": "context"}).without


@pytest.mark.parametrize("draw", ["mean_cos", "cos_mean", "max_cos"])
@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0])
def test_stages_are_the_passage_and_lead_to_each_other(scene_of: Any, draw: Any, strength: float) -> None:
    scene = scene_of(replace(CHOICE, draw=draw, shift=strength))
    found = pass_through(scene.view, scene.bank, scene.cls, scene.choice)
    assert found is not None and scene.passage is not None
    assert np.array_equal(scene.stage("pacam"), found.aware)
    assert np.array_equal(scene.stage("instance"), found.likeness)
    assert np.array_equal(scene.stage("seed"), found.seed)
    # What is positive of the weighted neighbours, over its peak, is the map: eq. 13.
    positive = np.maximum(scene.stage("weights"), 0)
    assert np.allclose(positive / positive.max(), found.aware / found.aware.max(), atol=1e-5)
    moved = scene.view.features.astype(np.float32) + found.shift[:, None, None]
    towards = found.own + found.shift
    cosine = np.einsum("d,dhw->hw", towards, moved) / np.linalg.norm(moved, axis=0) / np.linalg.norm(towards)
    assert np.allclose(scene.stage("shift"), cosine, atol=1e-5)
    if strength == 0:
        assert np.allclose(scene.stage("shift"), scene.stage("instance"), atol=1e-5)


def test_neighbours_are_of_the_images_own_kind_first(scene_of: Any) -> None:
    scene = scene_of()
    found = scene.neighbours()
    assert {n.prototype for n in found[:2]} == {0, 1}, "the image shows the first kind of the class"
    assert sum(n.weight for n in found) == pytest.approx(1) and sum(
        n.similar for n in found
    ) == pytest.approx(1)
    assert [n.cosine for n in found] == sorted((n.cosine for n in found), reverse=True)
    # Claim 1's s: the softmax of the plain products with the shifted prototype.
    towards = scene.passage.own + scene.passage.shift
    products = np.array([scene.bank.prototypes[scene.cls, n.prototype] @ towards for n in found])
    assert np.allclose([n.similar for n in found], np.exp(products) / np.exp(products).sum(), atol=1e-5)
    scene.lit = found[2].prototype
    assert scene.place() == 2 and np.array_equal(scene.stage("neighbours"), scene.passage.each[2])


def test_a_prototype_that_is_off_takes_no_part_but_can_be_found(scene_of: Any) -> None:
    scene = scene_of(hand=Hand(off={0}))
    listed = scene.neighbours()
    assert [n.prototype for n in listed if n.off] == [0] and listed[-1].prototype == 0
    assert 0 not in scene.passage.order and np.isnan(listed[-1].weight)
    everything = scene_of(hand=Hand(off={0, 1, 2, 3}))
    assert len(everything.passage.order) == 0 and everything.stage("neighbours") is None
    likeness = np.maximum(everything.stage("instance"), 0)
    own = likeness / likeness.max()
    assert np.allclose(everything.stage("pacam"), own, atol=1e-4), "the image's own draws the map"
    for stage in STAGES:
        assert everything.line(stage.key)


def test_evicted_rows_leave_the_mean_and_their_prototype(scene_of: Any, bank: PrototypeBank) -> None:
    scene = scene_of()
    cls = scene.cls
    out = scene.rows_of(0)[0]
    thin, lost = thinned(bank, cls, {out})
    left = [r for r in scene.rows_of(0) if r != out]
    mean = unit(unit(bank.rows[cls, left].astype(np.float32)).sum(0))
    assert not lost and np.allclose(thin.prototypes[cls, 0], mean, atol=1e-6)
    others = np.ones(bank.prototypes.shape[:2], bool)
    others[cls, 0] = False
    assert np.array_equal(thin.prototypes[others], bank.prototypes[others])
    assert thinned(bank, cls, ())[0] is bank
    _, lost = thinned(bank, cls, scene.rows_of(0))
    assert lost == {0}, "a prototype without any row is none"
    before = scene.passage.shift.copy()
    scene.hand.evicted.add(out)
    scene.refresh()
    kept = [r for r in range(10) if r != out]
    assert np.allclose(
        scene.passage.shift, bank.rows[cls, kept].astype(np.float32).mean(0) - bank.mean[cls], atol=1e-6
    )
    assert not np.allclose(scene.passage.shift, before)
    scene.hand.evicted.clear()
    scene.refresh()
    assert np.array_equal(scene.passage.shift, before), "brought back, all is as before"


def test_a_higher_gate_is_as_evicting_what_lies_under_it(scene_of: Any) -> None:
    scene = scene_of(alpha=0.5)
    plain = scene.stage("pacam").copy()
    assert np.array_equal(plain, scene_of().stage("pacam")), "no row lies under the training's gate"
    assert scene.passed() == (10, 10)
    scene.alpha = 0.7
    scene.refresh()
    under = set(np.flatnonzero(scene.scores() <= 0.7).tolist())
    assert scene.passed() == (10 - len(under), 10) and 0 < len(under) < 10
    same = scene_of(hand=Hand(evicted=under))
    assert np.array_equal(scene.stage("pacam"), same.stage("pacam"))
    assert np.array_equal(scene.passage.shift, same.passage.shift)
    assert scene.ages().tolist() == [27 - 3 * n for n in range(10)]
    assert scene.gate_rate() == pytest.approx((10 - len(under)) / 28)


def test_the_gallery_keeps_pinned_rows_first_and_evicted_ones_last(scene_of: Any) -> None:
    scene = scene_of()
    own = scene.rows_of(0)
    strange = scene.rows_of(3)[0]
    scene.hand.pinned.append(strange)
    scene.hand.evicted.add(own[0])
    assert scene.gallery(0) == [strange, *own[1:], own[0]]
    assert len(set(sum((scene.rows_of(n) for n in range(4)), ()))) == 10, "every row has one prototype"


def test_a_pixel_is_nearest_to_the_prototypes_of_what_it_shows(small_project: Project, scene_of: Any) -> None:
    image = next(s for s in small_project.usable if len(small_project.tags().present(s)) == 2)
    for place, cls in enumerate(sorted(small_project.tags().present(image))):
        scene = scene_of(image=image, cls=cls)
        near = scene.nearest(24, 64 * (1 + 2 * place) / 4)
        assert len(near) == 6 and near[0].cls == cls and near[0].prototype in (0, 1) and near[0].cosine > 0.9
        assert [n.cosine for n in near] == sorted((n.cosine for n in near), reverse=True)
        moved = unit(scene.view.features[:, 6, 4 + 8 * place].astype(np.float32) + scene.passage.shift)
        assert near[0].cosine == pytest.approx(
            float(moved @ scene.bank.prototypes[cls, near[0].prototype]), abs=1e-4
        )
    assert scene.nearest(-1, 5) == [] and scene.nearest(5, 64) == []
    assert (
        scene.cell_at(0, 0) == (0, 0) and scene.cell_at(47, 63) == (11, 15) and scene.cell_at(9, 6) == (2, 1)
    )


def test_a_painted_seed_takes_the_maps_place(scene_of: Any) -> None:
    painted = np.zeros((12, 16), bool)
    painted[0, :3] = True
    scene = scene_of(painted=painted)
    assert np.array_equal(scene.stage("seed") > 0, painted)
    assert np.allclose(scene.passage.own, scene.view.features[:, 0, :3].astype(np.float32).mean(1))
    assert "painted" in scene.line("seed")
    mapless = PrototypeScene(
        replace(scene.view, classes=(), maps=scene.view.maps[:0]), scene.bank, scene.cls, CHOICE
    )
    assert mapless.passage is None and not mapless.cam().any() and mapless.neighbours() == []
    mapless.painted = painted
    mapless.refresh()
    assert np.array_equal(mapless.stage("pacam"), scene.stage("pacam"))


def test_classes_that_left_nothing_behind(small_project: Project, scene_of: Any) -> None:
    run = FAKE["trained"](small_project, without=(0,))
    empty = PrototypeBank.load(run.weights)
    scene = scene_of(bank=empty, cls=0)
    assert not scene.has_prototypes and scene.known and scene.passage is not None
    assert scene.gate_rate() is None and len(scene.map().rows) == 0
    assert np.isnan(scene.others()[0]) and np.isfinite(scene.others()[1:]).all()
    added = scene_of(cls=3)
    assert not added.known and added.passage is None and added.stage("pacam") is None
    assert added.neighbours() == [] and added.ages().size == 0 and added.passed() == (0, 0)


def test_the_map_of_the_bank_shows_where_the_shift_leads(scene_of: Any) -> None:
    scene = scene_of()
    found = scene.map()
    assert found.rows.shape == (10, 2) and found.prototypes.shape == (4, 2)
    spread = found.rows.var(0)
    assert spread[0] >= spread[1], "the first direction is the one in which rows differ most"
    kinds = found.rows[:, 0]
    assert abs(kinds[::2].mean() - kinds[1::2].mean()) > 4 * max(kinds[::2].std(), kinds[1::2].std())
    scene.choice = replace(CHOICE, shift=0.0)
    scene.refresh()
    still = scene.map()
    assert np.allclose(still.before, still.after, atol=1e-6) and not np.allclose(found.before, found.after)


def test_passes_of_other_weights_or_another_image_size_do_not_count(small_project: Project) -> None:
    run = FAKE["trained"](small_project)
    image, shelf = small_project.usable[0], Shelf()
    with pytest.raises(FileNotFoundError):
        shelf.view(small_project, run, image)
    path = FAKE["look"](small_project, run, image)
    assert shelf.view(small_project, run, image).image == image
    assert shelf.bank(run) is shelf.bank(run), "read once"
    view = FAKE["view_of"](small_project, image)
    replace(view, size=(99, 99)).save(path)
    with pytest.raises(FileNotFoundError):
        shelf.view(small_project, run, image)
    replace(view, features=view.features[:4]).save(path)
    with pytest.raises(FileNotFoundError):
        shelf.view(small_project, run, image)
    view.save(path)
    kept = shelf.bank(run)
    later = path.stat().st_mtime_ns + 10**9
    os.utime(run.weights, ns=(later, later))
    with pytest.raises(FileNotFoundError):
        shelf.view(small_project, run, image)
    assert shelf.bank(run) is not kept, "trained on: read again"
    path.write_bytes(b"no npz")
    with pytest.raises(UserError):
        shelf.view(small_project, run, image)


@pytest.mark.parametrize("size", [(192, 144), (10, 190), (1, 1)])
@pytest.mark.parametrize("centre", [(0.5, 0.5), (0.0, 1.0), (1.0, 0.0)])
def test_crops_lie_inside_the_picture(size: tuple[int, int], centre: tuple[float, float]) -> None:
    left, top, side = crop_of(size, centre)
    assert left >= 0 and left + side <= size[0] and top >= 0 and top + side <= size[1] and side >= 1
    if centre == (0.5, 0.5) and min(size) > 1:
        assert abs(left + side / 2 - size[0] / 2) <= 1 and abs(top + side / 2 - size[1] / 2) <= 1
