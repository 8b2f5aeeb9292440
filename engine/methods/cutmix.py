"""Train the classifier on pictures with a patch of another pasted in, so that it has to look at the whole object.

Citation:

Yun, Han, Oh, Chun, Choe, Yoo. CutMix: Regularization Strategy to Train Strong Classifiers
with Localizable Features. ICCV 2019. As a baseline of object localisation: Choe et al.,
Evaluating Weakly Supervised Object Localization Methods Right, CVPR 2020.

Departs from the paper:

- Several classes an image may be trained (loss = plain, balanced, focal), each tag with its share of the area; the paper trains one class an image (loss = softmax).
- Half of the steps are mixed (probability = 0.5), as the released code does on CIFAR; on ImageNet and for localisation it mixes every step (probability = 1).
- A tag that is unknown in one of the two pictures counts with the share of the other alone.
- Where a step is spread over several devices, each draws a patch of its own and mixes within its share.
- Maps are drawn as the method cam draws them, multi-scale and centred.
- Trained with AdamW (optimiser = auto), whatever the preset; the papers use SGD (optimiser = sgd).

Look at:

- The map of each class beside that of a cam run: whether more of the object is lit, and whether its surroundings are too.
- The average precision of the held-out tags: the training loss cannot be compared with that of cam, for a mixed picture has no certain answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import torch
from torch import nn

from engine.method import Batch, CamViews, ClassifierMethod, ClassifierParams, Clock, Losses
from engine.params import Spec

__all__ = ["METHOD", "CutMix", "Params", "draw_box"]


@dataclass(frozen=True)
class Params(ClassifierParams):
    """Parameters of the training: the classifier's own, and how pictures are mixed."""

    probability: Annotated[
        float, Spec("Share of the steps whose pictures are mixed.", low=0, high=1, main=True)
    ] = 0.5
    alpha: Annotated[
        float,
        Spec(
            "Shape of the beta distribution that the kept share of a picture is drawn from: 1 takes every share as "
            "likely, more prefers halves, less prefers slivers.",
            low=0.01,
            high=100,
        ),
    ] = 1.0

    # On ImageNet and for localisation; the released code of Choe et al. agrees with the paper.
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        name: {
            "backbone": "resnet50",
            "freeze": "none",
            "norm": "trained",
            "loss": "softmax",
            "probability": 1.0,
        }
        for name in ("paper", "code")
    } | {"engine": {}}


class CutMix(ClassifierMethod[Params, CamViews]):
    """x = M x_a + (1 - M) x_b and y = lambda y_a + (1 - lambda) y_b, lambda = mean of M (eq. 1)."""

    TITLE = "CutMix"
    Params = Params

    def training_step(self, net: nn.Module, batch: Batch, clock: Clock) -> Losses:
        """Return the loss of mixed pictures: lambda times that of their own tags, 1 - lambda of the pasted ones'.

        A cross-entropy is linear in its target: where both tags of a class are known this is the
        loss at the mixed target. Where one is unknown the other counts with its share alone, so
        that a tag teaches as much in total as without mixing and an unknown one nothing. (Leaving
        out every mix with an unknown tag would lose the known ones beside it: with half of the
        tags known, half of what is left.) Each picture of the rank's share is pasted exactly once,
        so the shares of a tag add up to 1 and the divisor is the global count that it is without mixing.
        """
        p = self.params
        # Random numbers come from torch's CPU generator, which the loop seeds at each step: a
        # resumed training draws the patches of the uninterrupted one, on every device.
        if float(torch.rand(())) >= p.probability:
            return super().training_step(net, batch, clock)
        partner = torch.randperm(len(batch.images))  # [B]
        share = float(torch.distributions.Beta(p.alpha, p.alpha).sample())
        top, bottom, left, right = draw_box(batch.images.shape[2], batch.images.shape[3], share)
        partner = partner.to(batch.images.device)
        images = batch.images.clone()  # [B, 3, h, w]
        images[:, :, top:bottom, left:right] = batch.images[partner, :, top:bottom, left:right]
        # The border of the picture may have cut the patch.
        kept = 1 - (bottom - top) * (right - left) / (images.shape[2] * images.shape[3])
        scores = net(images)  # [B, C]
        pasted = replace(batch, targets=batch.targets[partner])
        return {"tags": kept * self.tag_loss(scores, batch) + (1 - kept) * self.tag_loss(scores, pasted)}


def draw_box(height: int, width: int, kept: float) -> tuple[int, int, int, int]:
    """Draw a patch from torch's generator (section 3.1 of the paper).

    Its sides are the picture's, each times sqrt(1 - kept), and its centre lies anywhere in the
    picture, whose border cuts it.

    Args:
        height, width: Of the picture, px.
        kept: Share of the picture that an uncut patch leaves, in [0, 1].

    Returns:
        (top, bottom, left, right) in px, within the picture; empty where nothing is pasted.
    """
    factor = math.sqrt(1 - kept)
    edges: list[int] = []
    for side in (height, width):
        length = round(side * factor)
        start = int(torch.randint(side, ())) - length // 2
        edges += [max(0, start), min(side, start + length)]
    return edges[0], edges[1], edges[2], edges[3]


METHOD = CutMix
