"""Train a classifier on the image tags and draw where each tag's evidence lies.

Citation:

Zhou, Khosla, Lapedriza, Oliva, Torralba. Learning Deep Features for Discriminative
Localization. CVPR 2016. Gradient variants: Selvaraju et al., Grad-CAM, ICCV 2017;
Chattopadhay et al., Grad-CAM++, WACV 2018. Multi-scale inference as in Ahn, Cho, Kwak,
Weakly Supervised Learning of Instance Segmentation with Inter-pixel Relations, CVPR 2019.

Departs from the paper:

- Maps of several scales and of the mirror image are added up, each after its ReLU (scales, flip); the paper uses one pass.
- Features are drawn at the pixels they are centred on (alignment = centred); the released codes stretch them, which puts maps up to half a stride too low (alignment = official).
- Maps of tags that are present only are drawn (classes = present), as all seed benchmarks do; predicted classes are another protocol and an explicit choice.
- Where a class is tagged unknown nothing is learnt from it.
- Trained with AdamW (optimiser = auto), whatever the preset; the papers and their codes use SGD (optimiser = sgd).

Look at:

- The map of each present class over the photograph: a plain CAM lights the part that tells the class, seldom the whole object.
- The peak of a map: a flat map divided by a tiny peak looks strong and is not.
- The threshold where the mask jumps: between part and object there is often a wide gap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from engine import maps
from engine.errors import UserError
from engine.method import ClassifierMethod, ClassifierParams, Shot
from engine.nets.classifier import Classifier
from engine.nets.input import pad_to_side, resized
from engine.params import Spec
from engine.results import CamStack

__all__ = ["METHOD", "Cam", "CamViews"]


@dataclass(frozen=True)
class Params(ClassifierParams):
    """Parameters of the training: the classifier's own."""

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"backbone": "resnet50", "freeze": "stem", "loss": "plain"},
        "code": {"backbone": "resnet50", "freeze": "layer2", "loss": "plain"},
        "engine": {},
    }


@dataclass(frozen=True)
class CamViews:
    """How the maps of a trained classifier are drawn."""

    kind: Annotated[
        Literal["cam", "gradcam", "gradcam++"],
        Spec(
            "Which map: weights of the classifier, or gradients of the score. cam and gradcam agree on this head.",
            main=True,
        ),
    ] = "cam"
    scales: Annotated[
        tuple[float, ...],
        Spec(
            "Image scales whose maps are added up; time grows with the sum of their squares.",
            low=0.1,
            high=4,
            unit="x",
            main=True,
        ),
    ] = (1.0, 0.5, 1.5)
    flip: Annotated[bool, Spec("Add the map of the mirror image too; doubles the time.", main=True)] = True
    classes: Annotated[
        Literal["present", "predicted", "all"],
        Spec(
            "Draw the tags that are present (the protocol of all benchmarks), the classes that the network predicts, or all.",
            main=True,
        ),
    ] = "present"
    predicted_above: Annotated[
        float, Spec("Score from which a class counts as predicted.", low=0, high=1)
    ] = 0.5
    alignment: Annotated[
        Literal["centred", "official"],
        Spec(
            "Where a feature is drawn: at the pixel it is centred on, or stretched over the image as the released codes do."
        ),
    ] = "centred"
    cell: Annotated[int, Spec("Side of a cell of the stored maps.", low=1, high=64, unit="px")] = 4

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"scales": (1.0,), "flip": False, "alignment": "official"},
        "code": {"scales": (1.0, 0.5, 1.5, 2.0), "flip": True, "alignment": "official"},
        "engine": {},
    }

    def __post_init__(self) -> None:
        if len(set(self.scales)) != len(self.scales):
            raise UserError(
                "scales names a scale twice.", "Each scale counts once.", "Remove one of the two."
            )


class Cam(ClassifierMethod[Params, CamViews]):
    """Class activation maps: A_c = relu(sum_d w_cd f_d), divided by its maximum."""

    TITLE = "Class activation maps"
    Params = Params
    Views = CamViews

    def infer(
        self, net: Classifier, shots: Sequence[Shot], views: CamViews
    ) -> Iterator[tuple[str, CamStack]]:
        """Yield the maps of images of one size, all scales and the mirror image fused.

        Args:
            net: The trained classifier, in eval mode.
            shots: Images of the same size.
            views: How they are drawn.
        """
        size = shots[0].pixels.shape[:2]
        device = next(net.parameters()).device
        pixels = (
            torch.from_numpy(np.stack([s.pixels for s in shots])).to(device).permute(0, 3, 1, 2)
        )  # [B, 3, H, W]
        backbone, prep = net.backbone, net.backbone.prep
        drawn: list[int] = []
        total: Tensor | None = None
        scores: Tensor | None = None
        # The scale nearest to 1 first: it gives the scores, which may choose the classes.
        for scale in sorted(views.scales, key=lambda s: abs(s - 1)):
            scaled = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
            images = prep.normalise(resized(pixels, scaled).float() / 255)  # [B, 3, h, w]
            if views.flip:
                images = torch.cat([images, images.flip(3)])  # [2B, 3, h, w]
            images = pad_to_side(images, prep).contiguous(memory_format=torch.channels_last)
            features = backbone(images).float()
            # Cells that stand for padding alone are left out.
            features = features[:, :, : -(-scaled[0] // backbone.stride), : -(-scaled[1] // backbone.stride)]
            if scores is None:
                scores = net.scores(features).sigmoid().unflatten(0, (-1, len(shots))).mean(0)  # [B, C]
                drawn = self._classes(shots, scores, views)
                if not drawn:
                    break
            weights = (
                net.weight_of(drawn)
                if views.kind == "cam"
                else maps.channel_weights(features, net.scores, drawn, views.kind)
            )
            found = maps.cam(features, weights)  # [B or 2B, K, h, w]
            for part, mirrored in zip(found.split(len(shots)), (False, True), strict=False):
                common = {
                    "cell": views.cell,
                    "centre": backbone.cell_centre,
                    "official": views.alignment == "official",
                }
                rows = maps.sampler(
                    scaled[0],
                    part.shape[2],
                    backbone.stride,
                    scale=scaled[0] / size[0],
                    mirrored=False,
                    **common,
                )
                columns = maps.sampler(
                    scaled[1],
                    part.shape[3],
                    backbone.stride,
                    scale=scaled[1] / size[1],
                    mirrored=mirrored,
                    **common,
                )
                total = maps.fuse(total, part, rows, columns)
        assert scores is not None
        yield from self._stacks(shots, size, drawn, total, scores, views)

    def _classes(self, shots: Sequence[Shot], scores: Tensor, views: CamViews) -> list[int]:
        """Return the classes that at least one of the images wants, ascending."""
        wanted = set()
        for n, shot in enumerate(shots):
            wanted |= set(_wanted(shot, scores[n], views))
        return sorted(wanted)

    def _stacks(
        self,
        shots: Sequence[Shot],
        size: tuple[int, int],
        drawn: list[int],
        total: Tensor | None,
        scores: Tensor,
        views: CamViews,
    ) -> Iterator[tuple[str, CamStack]]:
        grid = maps.grid_size(size, views.cell)
        for n, shot in enumerate(shots):
            classes = _wanted(shot, scores[n], views)
            if total is None or not classes:
                heat, peaks = torch.zeros(0, *grid), torch.zeros(0)
            else:
                heat, peaks = maps.normalise(total[n, [drawn.index(c) for c in classes]])
            yield (
                shot.stem,
                CamStack(
                    image=shot.stem,
                    size=(int(size[0]), int(size[1])),
                    classes=tuple(classes),
                    maps=heat.cpu().numpy().astype(np.float16),
                    peaks=peaks.cpu().numpy().astype(np.float32),
                    cell=float(views.cell),
                    origin=0.0 if views.alignment == "centred" else (views.cell - 1) / 2,
                    scores=scores[n].cpu().numpy().astype(np.float32),
                    facts={"kind": views.kind, "alignment": views.alignment, "classes": views.classes},
                ),
            )


def _wanted(shot: Shot, scores: Tensor, views: CamViews) -> list[int]:
    match views.classes:
        case "present":
            return [int(c) for c in np.flatnonzero(shot.tags == 1)]
        case "predicted":
            return [int(c) for c in torch.nonzero(scores >= views.predicted_above)[:, 0]]
        case _:
            return list(range(len(scores)))


METHOD = Cam
