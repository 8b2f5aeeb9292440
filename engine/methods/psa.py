"""Learn features that are alike within an object, and let maps walk between pixels that are.

Citation:

Ahn, Kwak. Learning Pixel-level Semantic Affinity with Image-level Supervision for Weakly Supervised Semantic
Segmentation. CVPR 2018. Used as the refinement step of Chang et al., Mixup-CAM (BMVC 2020) and SC-CAM (CVPR 2020).

Departs from the paper:

- The mean over channels stands inside the exponent, as in the released code; the paper writes a sum, with which beta = 8 would cut every pair.
- Pairs at the border are connected (border = full); the released code never connects two cells in the outer four columns or bottom four rows (border = official).
- The published background exponents differ: 4, 16, 24 in the paper, 4, 16, 32 in the released code (presets); the default takes those that cross the maps where they split, as on maps of another network 4 calls nearly half of the background foreground.
- All pairs inside a crop are compared; the released code leaves out sources at the border.
- Trained with AdamW (optimiser = auto); the released code uses SGD without momentum.

Look at:

- The affinity of a pixel you click to its neighbours: it should stop at the object's border.
- The background's score beside the classes': it walks too and competes in the end, so a low alpha makes it large.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from torch import Tensor, nn

from engine.affinity import feature_affinity, transition
from engine.confident import ConfidentParams
from engine.nets.relations import FeatureNet
from engine.nets.weights import Weights
from engine.pairs import affinity_losses, feature_affinities, pairs_of
from engine.params import Spec
from engine.results import CamStack
from engine.train.batch import Batch, Clock, Losses
from engine.walker import Fields, Floats, SeedParams, Walker, WalkViews, on_cells

__all__ = ["METHOD", "PSA", "Params", "Views"]


@dataclass(frozen=True)
class Params(SeedParams):
    """Parameters of the training."""

    power_low: Annotated[
        float | None,
        Spec(
            "Exponent of the background that makes it large, so that what is left of a class is sure. none: the "
            "one that crosses the maps at `foreground`.",
            low=0.1,
            high=100,
        ),
    ] = None
    power_high: Annotated[
        float | None,
        Spec(
            "Exponent of the background that makes it small, so that what is left of it is sure. none: the one "
            "that crosses the maps at `background`.",
            low=0.1,
            high=100,
        ),
    ] = None
    freeze: Annotated[
        Literal["stem", "layer2", "none", "all"],
        Spec("What of the backbone keeps its ImageNet weights."),
    ] = "layer2"
    radius: Annotated[
        int, Spec("Cells of 8 px within which pairs are compared.", low=2, high=16, unit="cells")
    ] = 5

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"power_low": 4.0, "power_high": 24.0},
        "code": {"power_low": 4.0, "power_high": 32.0},
        "engine": {},
    }


@dataclass(frozen=True)
class Views(WalkViews):
    """How maps walk."""

    beta: Annotated[
        float,
        Spec(
            "Exponent of the affinities; higher lets weaker borders stop the walk.",
            low=0.1,
            high=100,
            main=True,
        ),
    ] = 8.0
    alpha: Annotated[
        float,
        Spec(
            "The background's score is (1 - best map)^alpha; lower makes it larger.",
            low=0.1,
            high=100,
            main=True,
        ),
    ] = 16.0
    border: Annotated[
        Literal["full", "official"],
        Spec(
            "Connect the cells at the border of the image, or leave them unconnected as the released code does."
        ),
    ] = "full"

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"alpha": 16.0, "border": "official"},
        "code": {"alpha": 16.0, "border": "official"},
        "seam": {"alpha": 6.0, "steps": 64, "border": "official"},
        "engine": {},
    }


class PSA(Walker[Params, Views]):
    """AffinityNet: a_ij = exp(-mean |f_i - f_j|); x <- x T^256, T the normalised a^beta."""

    TITLE = "Pixel affinity (PSA)"
    CONFIDENT = "psa"
    STRIDE = 8
    Params = Params
    Views = Views

    def confident(self) -> ConfidentParams:
        p = self.params
        return dataclasses.replace(super().confident(), power_low=p.power_low, power_high=p.power_high)

    def build(self, classes: int, weights: Weights | None = None) -> FeatureNet:
        return FeatureNet(self.backbone(weights, self.params.freeze))

    def training_step(self, net: nn.Module, batch: Batch, clock: Clock) -> Losses:
        assert isinstance(net, FeatureNet) and batch.labels is not None
        at = round(net.centre)
        pairs = pairs_of(batch.labels[:, at :: net.cell, at :: net.cell], self.params.radius)
        found = affinity_losses(feature_affinities(net(batch.images), self.params.radius), pairs, batch.world)
        return {
            "background": found["background"] / 4,
            "foreground": found["foreground"] / 4,
            "different": found["different"] / 2,
        }

    def look(self, net: nn.Module, pictures: Tensor, views: Views) -> list[Fields]:
        found = [feature_affinity(f, views.radius) for f in net(pictures).cpu().numpy()]
        return [Fields(affinity) for affinity in found]

    def matrix(self, fields: Fields, views: Views) -> Any:
        return transition(fields.affinity, views.radius, beta=views.beta, border=views.border)

    def start(self, stack: CamStack, fields: Fields, cell: int, centre: float, views: Views) -> Floats:
        maps = on_cells(stack, cell, centre, fields.affinity.shape[1:])  # type: ignore[arg-type]
        if stack.background is not None:
            return maps
        background = (1 - maps.max(0, keepdims=True)) ** views.alpha  # [1, h, w]
        return np.concatenate([background, maps])

    def scores(self, walked: Floats, views: Views) -> Floats:
        return np.clip(walked, 0, 1)


METHOD = PSA
