"""Learn where class boundaries run and where objects have their centres, and let maps walk up to the boundaries.

Citation:

Ahn, Cho, Kwak. Weakly Supervised Learning of Instance Segmentation with Inter-pixel Relations. CVPR 2019.

Departs from the paper:

- Thresholds of the confident labels are found from the maps (foreground, background = none); the released 0.30 and 0.05 suit the maps of its own classifier (preset code).
- All pairs inside a crop are compared; the released code leaves out sources at the border.
- The background's score is found from the maps (background = none) and the maps are sharpened before they walk (power = 1.5); the released 0.25 and 1 suit its own classifier (preset code).
- Images of any size are padded to whole cells; the released code cuts larger ones to 512 px.
- The mean displacement is tracked while training; the released code goes over all images once more.
- Trained with AdamW (optimiser = auto); the released code uses SGD without momentum.
- Cells are compared where they are centred, not half a cell beside it.

Look at:

- The boundary: where it is broken the walk leaks, and 256 steps get through an edge of 0.5 as if there were none.
- The walk at 1, 2, 4 to 256 steps: when a map floods another object, fewer steps or a higher beta help.
- The displacement: pixels of one object point to one centre, two touching objects to two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from engine.affinity import path_affinity, walk
from engine.errors import UserError
from engine.instances import find_instances
from engine.nets.relations import RelationNet
from engine.nets.weights import Weights
from engine.pairs import affinity_losses, displacement_losses, pairs_of, path_affinities
from engine.params import Spec
from engine.results import CamStack, InstanceSet
from engine.train.batch import Batch, Clock, Losses
from engine.walker import Fields, Floats, SeedParams, Walker, WalkViews, on_cells

__all__ = ["IRN", "METHOD", "Params", "Views"]

# Share of a new batch in the running mean of the displacement: the last hundred batches or so count.
_MEAN_RATE = 0.02


@dataclass(frozen=True)
class Params(SeedParams):
    """Parameters of the training."""

    radius: Annotated[
        int, Spec("Cells of 4 px within which pairs are compared.", low=2, high=16, unit="cells")
    ] = 10
    displacement: Annotated[
        bool,
        Spec(
            "Learn the displacement too, which instances need; without it training is faster and masks are the same."
        ),
    ] = True

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"backbone": "resnet50", "foreground": 0.3, "background": 0.05},
        "code": {"backbone": "resnet50", "foreground": 0.3, "background": 0.05},
        "engine": {},
    }


@dataclass(frozen=True)
class Views(WalkViews):
    """How maps walk."""

    background: Annotated[
        float | None,
        Spec(
            "Score of the background, of which the walked maps must have more. none: where the maps that the network "
            "learnt from split into two groups; on 60 photographs within 0.002 of the best constant, and 0.03 to 0.1 "
            "of mIoU above the released 0.25.",
            low=0,
            high=1,
            main=True,
        ),
    ] = None
    power: Annotated[
        float,
        Spec(
            "Exponent of the maps before they walk. AdvCAM takes 1.5, with which the split of the seeds is the right "
            "cut after the walk too; the released code of IRN 1.",
            low=0.1,
            high=10,
        ),
    ] = 1.5
    peak: Annotated[
        Literal["image", "class"],
        Spec("Divide by the highest score of the image, as the released code does, or of each class."),
    ] = "image"
    instances: Annotated[bool, Spec("Find instances too, by the displacement.")] = False

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"background": 0.25, "power": 1.0},
        "code": {"background": 0.25, "power": 1.0},
        "advcam": {"background": 0.25, "power": 1.5},
        "engine": {},
    }


class IRN(Walker[Params, Views]):
    """Inter-pixel relations: a_ij = 1 - max of the boundary between i and j; x <- (x (1 - boundary)) T^256."""

    TITLE = "Inter-pixel relations (IRN)"
    SHOWS = ("cams", "refine", "instances")
    Params = Params
    Views = Views

    def build(self, classes: int, weights: Weights | None = None) -> RelationNet:
        return RelationNet(self.backbone(weights, "all"), displacement=self.params.displacement)

    def settled(self, views: Views, seeds: Mapping[str, Any]) -> Views:
        if views.background is not None:
            return views
        cuts = [seeds[name] for name in ("foreground", "background")]
        return replace(views, background=round(sum(cuts) / 2, 4))

    def check(self, net: nn.Module, views: Views) -> None:
        assert isinstance(net, RelationNet)
        if views.instances and not net.directions:
            raise UserError(
                "This network learnt no displacement.",
                "Instances need it.",
                "Train one with displacement=true, or set instances=false.",
            )

    def training_step(self, net: nn.Module, batch: Batch, clock: Clock) -> Losses:
        assert isinstance(net, RelationNet) and batch.labels is not None
        edge, displacement = net(batch.images)
        at = round(net.centre)
        pairs = pairs_of(batch.labels[:, at :: net.cell, at :: net.cell], self.params.radius)
        found = affinity_losses(path_affinities(edge.sigmoid(), self.params.radius), pairs, batch.world)
        losses = {
            "background": found["background"] / 4,
            "foreground": found["foreground"] / 4,
            "different": found["different"] / 2,
        }
        if displacement is not None:
            with torch.no_grad():
                net.mean.lerp_(displacement.mean((0, 2, 3)), _MEAN_RATE)
            more = displacement_losses(displacement, pairs, batch.world)
            losses |= {name: value / 2 for name, value in more.items()}
        return losses

    def look(self, net: nn.Module, pictures: Tensor, views: Views) -> list[Fields]:
        edge, displacement = net(pictures)
        if views.flip:
            # The mirror image in a pass of its own: large images would not fit twice.
            edge = (edge + net(pictures.flip(3))[0].flip(2)) / 2
        boundary = edge.sigmoid().cpu().numpy()  # [B, h, w]
        field = None if displacement is None else displacement.cpu().numpy()
        return [
            Fields(path_affinity(b, views.radius), b, None if field is None else field[n])
            for n, b in enumerate(boundary)
        ]

    def start(self, stack: CamStack, fields: Fields, cell: int, centre: float, views: Views) -> Floats:
        assert fields.edge is not None
        maps = on_cells(stack, cell, centre, fields.edge.shape)  # type: ignore[arg-type]
        maps = maps[len(maps) - len(stack.classes) :]
        return maps**views.power * (1 - fields.edge)

    def instances(
        self, stack: CamStack, fields: Fields, matrix: Any, net: Any, views: Views
    ) -> InstanceSet | None:
        if not views.instances or fields.displacement is None:
            return None
        assert views.background is not None, "settled"
        return find_instances(
            self.start(stack, fields, net.cell, net.centre, views),
            fields.displacement,
            lambda maps: walk(matrix, maps, (views.steps,))[0],
            image=stack.image,
            size=stack.size,
            classes=stack.classes,
            cell=float(net.cell),
            origin=net.centre,
            background=views.background,
        )

    def scores(self, walked: Floats, views: Views) -> Floats:
        assert views.background is not None, "settled"
        peak = walked.max() if views.peak == "image" else walked.max((1, 2), keepdims=True)
        maps = walked / np.maximum(peak, 1e-5)
        return np.concatenate([np.full_like(maps[:1], views.background), maps])


METHOD = IRN
