"""Train a segmenter that is told the tags on the sure parts of another run's maps, so that one threshold suits all of its own.

Citation:

Lee, Kim, Shim. Threshold Matters in WSSS: Manipulating the Activation for the Robust and Accurate Segmentation Model
Against Thresholds. CVPR 2022.

Departs from the paper:

- Maps are stretched between their lowest and highest probability everywhere (stretch = class); the released code does so only where the label that the network learnt from is not background (stretch = label), which ties a map to that label and leaves images without one undrawn.
- The layer of the tags starts as one that changes nothing; the released code multiplies pretrained features by random numbers at first.
- Scores are compared with labels in cells of 4 px.
- A tag that is not known is told as how often its class is present where it is known, and its class stands outside the loss of that image.
- Thresholds of the confident labels are found from the maps (foreground, background = none); the released ones are those of IRN, 0.30 and 0.05 (preset code).
- Trained with AdamW at the engine's rates (optimiser = auto); the paper uses Adam at 5e-6 for the backbone and 1e-4 for the new layers.

Look at:

- The maps at several thresholds: their borders should hardly move, which is what the method is for.
- Maps of classes that the seeds missed in an image: the tags alone can light up another object.
- Where the seeds were wrong for a whole class: the network learns that too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine import losses, maps
from engine.class_maps import Alignment, Cell, Shot, check_scales
from engine.errors import UserError
from engine.nets.conditioned import ConditionedNet
from engine.nets.input import resized
from engine.nets.weights import Weights
from engine.params import Spec
from engine.results import CamStack
from engine.train.batch import Batch, Clock, Losses
from engine.walker import Seeded, SeedParams

__all__ = ["AMN", "METHOD", "Params", "Views"]

_TINY = 1e-5


@dataclass(frozen=True)
class Params(SeedParams):
    """Parameters of the training."""

    condition: Annotated[
        bool, Spec("Tell the network the tags of each image, at training and at drawing.", main=True)
    ] = True
    balanced: Annotated[
        bool,
        Spec(
            "Background and foreground pixels weigh the same in total; without it every pixel weighs the same."
        ),
    ] = True
    smoothing: Annotated[
        float, Spec("Share of a pixel's target that all other classes have together.", low=0, high=0.9)
    ] = 0.4
    dropout: Annotated[
        float, Spec("Share of the features that are left out while training.", low=0, high=0.9)
    ] = 0.1
    freeze: Annotated[
        Literal["stem", "layer2", "none", "all"],
        Spec("What of the backbone keeps its ImageNet weights."),
    ] = "layer2"

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"backbone": "resnet50", "foreground": 0.3, "background": 0.05, "freeze": "none"},
        "code": {"backbone": "resnet50", "foreground": 0.3, "background": 0.05, "freeze": "none"},
        "engine": {},
    }


@dataclass(frozen=True)
class Views:
    """How the maps of a trained network are drawn."""

    scales: Annotated[
        tuple[float, ...],
        Spec("Image scales whose scores are averaged.", low=0.1, high=4, unit="x", main=True),
    ] = (1.0, 0.5, 1.5)
    flip: Annotated[bool, Spec("Look at the mirror image too; doubles the time.", main=True)] = True
    stretch: Annotated[
        Literal["class", "label", "none"],
        Spec(
            "What becomes of a class's probabilities: stretched between the lowest and the highest of the image; only "
            "where the label that was learnt from is not background (the released code; other images are passed over); "
            "or left as they are, with the network's own background beside them in place of a threshold.",
            main=True,
        ),
    ] = "class"
    alignment: Alignment = "centred"
    cell: Cell = 4

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"scales": (1.0, 0.5, 1.5, 2.0), "alignment": "official"},
        "code": {"scales": (1.0, 0.5, 1.5, 2.0), "stretch": "label", "alignment": "official"},
        "engine": {},
    }

    def __post_init__(self) -> None:
        check_scales(self.scales)


class AMN(Seeded[Params, Views]):
    """Per-pixel softmax over 1 + C scores A(f (W y + b)) of features f and tags y, A a sum of dilated layers."""

    TITLE = "Activation manipulation (AMN)"
    Params = Params
    Views = Views

    def build(self, classes: int, weights: Weights | None = None) -> ConditionedNet:
        p = self.params
        return ConditionedNet(
            self.backbone(weights, p.freeze), classes, dropout=p.dropout, condition=p.condition
        )

    def training_step(self, net: nn.Module, batch: Batch, clock: Clock) -> Losses:
        assert isinstance(net, ConditionedNet) and batch.labels is not None
        with torch.no_grad():
            known = batch.counts.sum(0)  # [C]
            net.share.copy_(torch.where(known > 0, batch.counts[0] / known.clamp(min=1), 0.5))
        scores = net(batch.images, net.said(batch.targets))
        at = round(net.centre)
        labels = batch.labels[:, at :: net.cell, at :: net.cell]
        background, foreground, share = losses.pixels(
            scores, labels, batch.targets, smoothing=self.params.smoothing, world=batch.world
        )
        # Without the balance a kind counts by its share of the pixels: the mean over all of them.
        share = torch.full_like(share, 0.5) if self.params.balanced else share
        return {"background": (1 - share) * background, "foreground": share * foreground}

    def wants_label(self, views: Views) -> bool:
        return views.stretch == "label"

    def infer(self, net: nn.Module, shots: Sequence[Shot], views: Views) -> Iterator[tuple[str, CamStack]]:
        assert isinstance(net, ConditionedNet)
        found = _probabilities(net, shots, views)  # [B, 1 + C, g, v]
        for shot, every in zip(shots, found, strict=True):
            classes = [int(c) for c in np.flatnonzero(shot.tags == 1)]
            raw = every[1:][classes]  # [K, g, v]
            peaks = raw.max((1, 2))
            yield (
                shot.stem,
                CamStack(
                    image=shot.stem,
                    size=(int(shot.pixels.shape[0]), int(shot.pixels.shape[1])),
                    classes=tuple(classes),
                    maps=_stretched(raw, shot, views).astype(np.float16),
                    peaks=np.ones_like(peaks) if views.stretch == "none" else peaks,
                    cell=float(views.cell),
                    origin=_origin(views),
                    scores=every[1:].max((1, 2)),
                    background=every[0].astype(np.float16) if views.stretch == "none" else None,
                    facts={"alignment": views.alignment, "stretch": views.stretch},
                ),
            )


def _probabilities(net: ConditionedNet, shots: Sequence[Shot], views: Views) -> NDArray[np.float32]:
    """Return the probabilities [B, 1 + C, g, v] float32 of images of one size, background first.

    Scores are averaged over scales and the mirror image before the softmax. What is neither present nor known
    to be absent stands outside it, as in the loss.
    """
    size = shots[0].pixels.shape[:2]
    device = next(net.parameters()).device
    pixels = (
        torch.from_numpy(np.stack([s.pixels for s in shots])).to(device).permute(0, 3, 1, 2)
    )  # [B, 3, H, W]
    tags = torch.from_numpy(np.stack([s.tags for s in shots])).to(device)  # [B, C]
    said = net.said(tags)
    total: Tensor | None = None
    for scale in views.scales:
        scaled = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
        images = net.backbone.prep.normalise(resized(pixels, scaled).float() / 255)  # [B, 3, h, w]
        # The mirror image in a pass of its own: large images would not fit twice.
        parts = [net(images, said)] + ([net(images.flip(3), said)] if views.flip else [])
        total = maps.on_grid(
            total,
            parts,
            (int(size[0]), int(size[1])),
            scaled,
            stride=net.cell,
            centre=net.centre,
            cell=views.cell,
            official=views.alignment == "official",
        )
    assert total is not None
    mean = total / (len(views.scales) * (2 if views.flip else 1))
    outside = nn.functional.pad(tags < 0, (1, 0))[:, :, None, None]
    found: NDArray[np.float32] = mean.masked_fill(outside, -torch.inf).softmax(1).cpu().numpy()
    return found


def _stretched(raw: NDArray[np.float32], shot: Shot, views: Views) -> NDArray[np.float32]:
    """Return the maps [K, g, v] in [0, 1] of the probabilities of some classes."""
    if views.stretch == "none" or not len(raw):
        return raw
    low, high = raw.min((1, 2), keepdims=True), raw.max((1, 2), keepdims=True)
    # A class whose probability is the same everywhere says nothing of where it is: its map is 0.
    wide: NDArray[np.float32] = (raw - low) / np.maximum(high - low, _TINY)
    if views.stretch == "class":
        return wide
    if shot.label is None:
        raise UserError(
            f"{shot.stem} has no label that the network learnt from.",
            "stretch=label draws the images of the training.",
            "Choose stretch=class for any image.",
        )
    rows, columns = (
        np.minimum(np.arange(n) * views.cell + round(_origin(views)), side - 1)
        for n, side in zip(raw.shape[1:], shot.label.shape, strict=True)
    )
    background = shot.label[rows[:, None], columns] == 0  # [g, v]
    return np.where(background, raw, wide)


def _origin(views: Views) -> float:
    return 0.0 if views.alignment == "centred" else (views.cell - 1) / 2


METHOD = AMN
