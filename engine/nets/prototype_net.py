"""A classifier that also embeds its features, and keeps a support bank of embeddings of each class."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.nets.backbone import Backbone
from engine.nets.bank import SupportBank
from engine.nets.classifier import Classifier
from engine.nets.input import pad_to_side
from engine.nets.relations import on_cells

__all__ = ["Embedding", "PrototypeNet"]

# Channels of the embedding of four stages, shallow to deep (SIPE's hierarchical head): 768 in all.
_SHARES = (128, 128, 256, 256)


class Embedding(nn.Module):
    """The projection head v: from the taps of a backbone to z [B, D, h, w] on the grid of its features.

    Its input is cut off from the graph, so that what draws prototypes does not bend the backbone
    (as in SIPE; the CPAL paper does not say).

    Args:
        backbone: Whose taps are looked at.
        kind: `hier`: bias-free 1x1 layers on four stages, each brought to length 1 and resized to the
            features' grid, then joined. `linear`: one bias-free 1x1 layer on the last stage.
        dim: D; `hier` shares it out as 1 : 1 : 2 : 2.
    """

    def __init__(self, backbone: Backbone, kind: Literal["hier", "linear"], dim: int) -> None:
        super().__init__()
        names = list(backbone.tap_dims)
        if kind == "linear":
            self.taps = names[-1:]
        else:
            count = min(4, len(names))
            step = len(names) / count
            self.taps = [names[round((i + 1) * step) - 1] for i in range(count)]
        shares = _SHARES[-len(self.taps) :]
        widths = [dim * s // sum(shares) for s in shares]
        widths[-1] += dim - sum(widths)
        self.stride = backbone.stride
        self.strides = [backbone.tap_strides[t] for t in self.taps]
        self.layers = nn.ModuleList(
            nn.Conv2d(backbone.tap_dims[t], w, 1, bias=False) for t, w in zip(self.taps, widths, strict=True)
        )

    def forward(self, taps: dict[str, Tensor], size: tuple[int, int]) -> Tensor:
        """Return z [B, D, h, w] float32.

        Args:
            taps: Name -> [B, D_i, h_i, w_i].
            size: (h, w) of the features.
        """
        parts = []
        for name, stride, layer in zip(self.taps, self.strides, self.layers, strict=True):
            # Averaged to the coarser grid before the layer: both are linear, and a fraction is left to do.
            found = taps[name].detach()
            if stride < self.stride:
                found = on_cells(found, stride, self.stride, size)
            z = layer(found)
            z = z if stride < self.stride else on_cells(z, stride, self.stride, size)
            parts.append(F.normalize(z, dim=1, eps=1e-5) if len(self.layers) > 1 else z)
        return torch.cat(parts, 1)  # [B, D, h, w]


class PrototypeNet(Classifier):
    """Backbone, classifier, embedding, support bank, and the two projections of the positiveness.

    Args:
        backbone: Gives features [B, D0, h, w] and its taps.
        classes: Number C of foreground classes.
        kind, dim: Of the embedding.
        length: Rows of the bank for each class.
        prototypes: Most prototypes of a class.
    """

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        *,
        kind: Literal["hier", "linear"],
        dim: int,
        length: int,
        prototypes: int,
    ) -> None:
        super().__init__(backbone, classes)
        self.embedding = Embedding(backbone, kind, dim)
        self.bank = SupportBank(classes, length, dim, prototypes)
        # Both start as the identity: positiveness is then the softmax of plain likeness.
        self.of_instance = nn.Linear(dim, dim, bias=False)
        self.of_prototype = nn.Linear(dim, dim, bias=False)
        for layer in (self.of_instance, self.of_prototype):
            nn.init.eye_(layer.weight)

    def both(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return features [B, D0, h, w] and their embeddings [B, D, h, w], float32, in one pass.

        Args:
            pictures: [B, 3, H, W] float32, normalised, of any size; see `features`.
        """
        height, width = pictures.shape[2:]
        stride = self.backbone.stride
        size = (-(-height // stride), -(-width // stride))
        padded = pad_to_side(pictures, self.backbone.prep).contiguous(memory_format=torch.channels_last)
        taps = self.backbone.taps(padded)
        last = next(reversed(taps.values()))
        z = self.embedding(taps, (last.shape[2], last.shape[3]))
        return last[:, :, : size[0], : size[1]], z[:, :, : size[0], : size[1]]

    def weights(self, instances: Tensor, prototypes: Tensor, temperature: float) -> Tensor:
        """Return the logits of the positiveness, [R, K] (eq. 7).

        Args:
            instances: [R, D] float32.
            prototypes: [R, K, D] float32.
            temperature: Divides the products.
        """
        p = self.of_instance(F.normalize(instances, dim=1))  # [R, D]
        q = self.of_prototype(F.normalize(prototypes, dim=2))  # [R, K, D]
        return torch.einsum("rd,rkd->rk", p, q) / temperature

    def new_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that start from nothing and learn faster than the backbone."""
        return [
            *self.head.parameters(),
            *self.embedding.parameters(),
            *self.of_instance.parameters(),
            *self.of_prototype.parameters(),
        ]
