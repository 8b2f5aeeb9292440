"""A segmenter that is told the tags of its image: features times a linear layer of them, then dilated layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.nets.backbone import Backbone
from engine.nets.input import pad_to_side
from engine.nets.relations import on_cells

__all__ = ["ConditionedNet"]

_RATES = (6, 12, 18, 24)


class ConditionedNet(nn.Module):
    """AMN's network: scores of the background and every class in cells of 4 px, conditioned on tags.

    Source: Lee, Kim and Shim, AMN (CVPR 2022); layers as in the released code. Its linear layer starts as
    "change nothing" here, so that pretrained features are not multiplied by noise.

    Args:
        backbone: Gives features [B, D, h, w].
        classes: Number C of foreground classes.
        dropout: Share of the features that are left out while training, in [0, 1).
        condition: Whether the tags are told; without it this is a plain segmenter.
    """

    cell = 4

    def __init__(self, backbone: Backbone, classes: int, *, dropout: float, condition: bool) -> None:
        super().__init__()
        self.backbone = backbone
        # A transformer's patches are centred between pixels, a CNN's cells on them.
        self.centre = (self.cell - 1) / 2 if backbone.cell_centre else 0.0
        self.condition = nn.Linear(classes, backbone.dim) if condition else None
        if self.condition is not None:
            nn.init.zeros_(self.condition.weight)
            nn.init.ones_(self.condition.bias)
        self.dropout = nn.Dropout(dropout)
        self.branches = nn.ModuleList(
            nn.Conv2d(backbone.dim, 1 + classes, 3, padding=rate, dilation=rate) for rate in _RATES
        )
        for branch in self.branches:
            nn.init.normal_(branch.weight, std=0.01)
            nn.init.zeros_(branch.bias)
        # What is said of a class that is not known of an image: how often it is present where it is known.
        self.register_buffer("share", torch.full((classes,), 0.5))

    def said(self, tags: Tensor) -> Tensor:
        """Return what the network is told of tags [B, C] in {1, 0, -1 unknown}: [B, C] float32 in [0, 1]."""
        return torch.where(tags < 0, self.share, (tags > 0).to(self.share))

    def forward(self, images: Tensor, said: Tensor) -> Tensor:
        """Return scores (logits) [B, 1 + C, h, w] float32, background first, h = ceil(H / 4).

        Args:
            images: [B, 3, H, W] float32, normalised, of any size.
            said: [B, C] float32 in [0, 1], see `said`.
        """
        size = (-(-images.shape[2] // self.cell), -(-images.shape[3] // self.cell))
        padded = pad_to_side(images, self.backbone.prep).contiguous(memory_format=torch.channels_last)
        features = self.backbone(padded)  # [B, D, h', w']
        if self.condition is not None:
            features = features * self.condition(said)[:, :, None, None]
        features = self.dropout(features)
        total = torch.stack([branch(features) for branch in self.branches]).sum(0)  # [B, 1 + C, h', w']
        return on_cells(total, self.backbone.stride, self.cell, size)

    def new_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that start from nothing and learn faster than the backbone."""
        told = [] if self.condition is None else list(self.condition.parameters())
        return [*told, *self.branches.parameters()]
