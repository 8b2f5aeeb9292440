"""Networks that learn which cells belong together: on the taps of any backbone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.nets.backbone import Backbone
from engine.nets.input import pad_to_side

__all__ = ["FeatureNet", "RelationNet", "on_cells"]

# Channels of the displacement head's first layers, shallow to deep (IRN, released code).
_WIDTHS = (64, 128, 256, 256, 256)
_EDGE_WIDTH = 32
_CELL = 4


class RelationNet(nn.Module):
    """IRN's network: a class boundary and a displacement field in cells of 4 px, on a backbone.

    Source: Ahn, Cho and Kwak, IRN (CVPR 2019), fig. 3; layers as in the released code.

    Args:
        backbone: Frozen where it comes with weights; five of its taps at most are looked at.
        displacement: Whether there is a displacement field too; the boundary alone serves semantic masks.
    """

    cell = _CELL

    def __init__(self, backbone: Backbone, *, displacement: bool = True) -> None:
        super().__init__()
        self.backbone = backbone
        self.taps = _spread(list(backbone.tap_dims), len(_WIDTHS))
        # A transformer's patches are centred between pixels, a CNN's cells on them.
        self.centre = (self.cell - 1) / 2 if backbone.cell_centre else 0.0
        dims = [backbone.tap_dims[t] for t in self.taps]
        self.strides = [backbone.tap_strides[t] for t in self.taps]
        self.edges = nn.ModuleList(_layer(d, _EDGE_WIDTH, 4) for d in dims)
        self.edge = nn.Conv2d(_EDGE_WIDTH * len(dims), 1, 1)
        widths = _WIDTHS[-len(dims) :]
        self.coarse = [i for i, s in enumerate(self.strides) if s >= 2 * self.cell]
        self.fine = [i for i in range(len(dims)) if i not in self.coarse]
        self.directions = nn.ModuleList()
        if displacement:
            self.directions.extend(_layer(d, w, w // 16 or 1) for d, w in zip(dims, widths, strict=True))
            deep, wide = sum(widths[i] for i in self.coarse), 256
            self.merge = _layer(deep, wide, 16) if self.coarse else None
            rest = sum(widths[i] for i in self.fine) + (wide if self.coarse else 0)
            self.direction = nn.Sequential(
                _layer(rest, wide, 16), nn.ReLU(), nn.Conv2d(wide, 2, 1, bias=False)
            )
        # What is left of the field on average is no instance's centre; IRN stores it after the training.
        self.register_buffer("mean", torch.zeros(2))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the boundary's logits [B, h, w] and the displacement [B, 2, h, w] (dy, dx), h = ceil(H / 4).

        Args:
            images: [B, 3, H, W] float32, normalised, of any size.
        """
        size = (-(-images.shape[2] // self.cell), -(-images.shape[3] // self.cell))
        learns = torch.is_grad_enabled() and any(p.requires_grad for p in self.backbone.parameters())
        with torch.set_grad_enabled(learns):  # nothing is kept for what does not learn
            found = self.backbone.taps(pad_to_side(images, self.backbone.prep))
        # What is finer than the cells is averaged first: the layers behind have a quarter to do.
        taps = [
            on_cells(found[t], stride, self.cell, size) if stride < self.cell else found[t]
            for t, stride in zip(self.taps, self.strides, strict=True)
        ]
        edges = [
            on_cells(layer(x), max(stride, self.cell), self.cell, size)
            for layer, x, stride in zip(self.edges, taps, self.strides, strict=True)
        ]
        edge = self.edge(torch.cat(edges, 1).relu())[:, 0]  # [B, h, w]
        if not self.directions:
            return edge, None
        return edge, self._displacement(taps, size) - (0 if self.training else self.mean[:, None, None])

    def _displacement(self, taps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Return the field without its mean taken off, [B, 2, h, w]."""
        double = 2 * self.cell
        half = (-(-size[0] // 2), -(-size[1] // 2))
        parts = [layer(x) for layer, x in zip(self.directions, taps, strict=True)]
        fine = [on_cells(parts[i], self.cell, self.cell, size).relu() for i in self.fine]
        if self.coarse:
            assert self.merge is not None
            deep = [on_cells(parts[i], self.strides[i], double, half).relu() for i in self.coarse]
            fine.append(on_cells(self.merge(torch.cat(deep, 1)), double, self.cell, size).relu())
        field: Tensor = self.direction(torch.cat(fine, 1))
        return field

    def new_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that start from nothing."""
        kept = {id(p) for p in self.backbone.parameters()}
        return [p for p in self.parameters() if id(p) not in kept]


class FeatureNet(nn.Module):
    """AffinityNet: features in cells of 8 px whose likeness is the affinity.

    Source: Ahn and Kwak, "PSA" (CVPR 2018), section 3.3: 64, 128 and 256 channels of the last three stages,
    joined by a 1x1 layer of 448.

    Args:
        backbone: Its last three taps of different depth are looked at.
    """

    cell = 8

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.taps = _spread(list(backbone.tap_dims), 5)[-3:]
        self.centre = (self.cell - 1) / 2 if backbone.cell_centre else 0.0
        self.strides = [backbone.tap_strides[t] for t in self.taps]
        widths = (64, 128, 256)[-len(self.taps) :]
        self.layers = nn.ModuleList(
            nn.Conv2d(backbone.tap_dims[t], w, 1, bias=False) for t, w in zip(self.taps, widths, strict=True)
        )
        self.joined = nn.Conv2d(sum(widths), sum(widths), 1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return features [B, 448, h, w] float32, h = ceil(H / 8), of normalised images [B, 3, H, W] of any size."""
        size = (-(-images.shape[2] // self.cell), -(-images.shape[3] // self.cell))
        found = self.backbone.taps(pad_to_side(images, self.backbone.prep))
        parts = [
            on_cells(F.elu(layer(found[t])), stride, self.cell, size)
            for t, layer, stride in zip(self.taps, self.layers, self.strides, strict=True)
        ]
        features: Tensor = F.elu(self.joined(torch.cat(parts, 1)))
        return features

    def new_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that start from nothing."""
        return [*self.layers.parameters(), *self.joined.parameters()]


def on_cells(x: Tensor, stride: int, cell: int, size: tuple[int, int]) -> Tensor:
    """Return a map on a grid of other cells, each drawn where it is centred.

    Cell i of both grids is centred on pixel i * stride, i * cell (plus what is common to both), so cell j
    of the new grid lies at j * cell / stride of the old one; the usual enlarging is half a cell off.

    Args:
        x: [B, D, h, w] float.
        stride, cell: Pixels a cell of the old and of the new grid; one divides the other.
        size: Cells (g, v) of the new grid; beyond the old one its border is repeated, or it is cut.
    """
    if stride < cell:
        step = cell // stride
        # Averaged before cells are left out, or what lies between them would go unseen.
        x = F.avg_pool2d(x, 2 * step - 1, step, step - 1, count_include_pad=False)
    elif stride > cell:
        ratio = stride // cell
        grown = [(n - 1) * ratio + 1 for n in x.shape[2:]]
        x = F.interpolate(x, size=grown, mode="bilinear", align_corners=True)
    below, right = max(0, size[0] - x.shape[2]), max(0, size[1] - x.shape[3])
    if below or right:
        x = F.pad(x, (0, right, 0, below), mode="replicate")
    return x[:, :, : size[0], : size[1]]


def _layer(dim: int, width: int, groups: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(dim, width, 1, bias=False), nn.GroupNorm(groups, width))


def _spread(names: list[str], most: int) -> list[str]:
    """Return at most so many names, evenly spread, the last among them."""
    if len(names) <= most:
        return names
    step = len(names) / most
    return [names[round((i + 1) * step) - 1] for i in range(most)]
