"""A backbone and a bias-free 1x1 classifier: class maps first, their mean as the score."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.nets.backbone import Backbone
from engine.nets.input import pad_to_side

__all__ = ["Classifier"]


class Classifier(nn.Module):
    """Classifier whose scores are the means of its class maps, so that the maps explain them exactly.

    L = W f (class maps), y_c = mean over cells of L_c. Averaging and a bias-free linear
    layer commute, hence the CAM of Zhou et al. (2016), "Learning Deep Features for
    Discriminative Localization", eq. 1 and 2, is L itself.

    Args:
        backbone: Gives features [B, D, h, w].
        classes: Number C of foreground classes.
    """

    def __init__(self, backbone: Backbone, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Conv2d(backbone.dim, classes, 1, bias=False)
        # Small and centred: all scores start near 0, i.e. probability one half, whatever D is.
        nn.init.normal_(self.head.weight, std=0.01)

    def features(self, pictures: Tensor) -> Tensor:
        """Return features [B, D, h, w] float32 of normalised pictures [B, 3, H, W] of any size.

        They are padded to sides that fit the backbone; cells that stand for padding alone are left out,
        so h = ceil(H / stride) and w = ceil(W / stride).
        """
        height, width = pictures.shape[2:]
        stride = self.backbone.stride
        padded = pad_to_side(pictures, self.backbone.prep).contiguous(memory_format=torch.channels_last)
        found = self.backbone(padded)
        return found[:, :, : -(-height // stride), : -(-width // stride)]

    def maps(self, features: Tensor) -> Tensor:
        """Return class maps [B, C, h, w] of features [B, D, h, w]."""
        return self.head(features)

    def scores(self, features: Tensor) -> Tensor:
        """Return class scores (logits) [B, C] of features [B, D, h, w]."""
        # The mean first: C·D products instead of C·D·h·w, and the same number.
        pooled = features.mean((2, 3), keepdim=True)  # [B, D, 1, 1]
        return self.head(pooled)[:, :, 0, 0]  # [B, C]

    def forward(self, images: Tensor) -> Tensor:
        """Return class scores (logits) [B, C] of normalised images [B, 3, H, W]."""
        return self.scores(self.backbone(images))

    def new_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that start from nothing and learn faster than the backbone."""
        return list(self.head.parameters())

    @torch.no_grad()
    def weight_of(self, classes: list[int]) -> Tensor:
        """Return the classifier's weights [K, D] of some classes."""
        return self.head.weight[classes, :, 0, 0]
