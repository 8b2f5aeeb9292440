"""How training images and the masks that are learnt from are cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.nets.prep import Prep
from engine.results import CamStack
from engine.store import Project
from engine.train.batches import Crops, Sample
from engine.train.plan import Plan


class _OneClass:
    def read(self, stem: str) -> np.ndarray:
        return np.full((48, 64), 2, np.uint8)


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_what_pads_a_crop_has_no_label(small_project: Project, epoch: int) -> None:
    plan = Plan(crop=80, zoom_low=0.5, zoom_high=0.5, flip=True)
    crops = Crops(
        small_project, small_project.stems(), np.zeros((6, 3), np.int8), plan, Prep(), 0, labels=_OneClass()
    )
    image, _, labels, *_, trouble = crops[Sample(0, epoch)]
    assert not trouble and image.shape == (3, 80, 80) and labels.shape == (80, 80)
    shown = (labels == 2).nonzero()
    top, left = shown.min(0).values.tolist()
    # 64 x 48 px at a longer side of half the crop.
    inside = labels[top : top + 30, left : left + 40]
    assert len(shown) == 30 * 40 and bool((inside == 2).all())
    assert int((labels == 255).sum()) == 80 * 80 - 30 * 40, "all the rest is unsure, not background"
    assert bool((image[:, labels == 255] == 0).all()) and bool((image[:, labels == 2] != 0).any())


class _Places:
    """Maps that hold where each pixel lies: of class 0 its y, of class 1 its x."""

    def read(self, stem: str) -> CamStack:
        y, x = np.mgrid[:48, :64].astype(np.float16)
        held = np.stack([(y + 0.5) / 48, (x + 0.5) / 64]).astype(np.float16)
        return CamStack(
            stem, (48, 64), (0, 1), held, np.ones(2, np.float32), 1.0, 0.0, np.zeros(3, np.float32)
        )


@pytest.mark.parametrize("zoom", [0.5, 1.5])
def test_each_cell_knows_where_in_the_image_it_lies(small_project: Project, zoom: float) -> None:
    plan = Plan(crop=80, zoom_low=zoom, zoom_high=zoom, flip=True)
    stems, none = small_project.stems(), np.zeros((6, 3), np.int8)
    whole = Crops(small_project, stems, none, plan, Prep(), 0, maps=_Places(), cells=(1, 0.0))
    cells = Crops(small_project, stems, none, plan, Prep(), 0, cells=(16, 0.0))
    mirrored = 0
    for epoch in range(4):
        image, _, _, maps, places, _, _ = whole[Sample(0, epoch)]
        inside = (image != 0).any(0)
        assert inside.any() and bool((places[:, ~inside].amax(0) > 1).all())
        assert torch.allclose(places[:, inside], maps[:2, inside], atol=0.02)
        assert torch.equal(cells[Sample(0, epoch)][4], places[:, ::16, ::16])
        row = places[1][inside.any(1).nonzero()[0, 0]]
        mirrored += bool(row[row <= 1].diff().mean() < 0)
    assert 0 < mirrored < 4
