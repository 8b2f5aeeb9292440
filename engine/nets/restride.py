"""Make a classifier keep finer maps: strides past a limit become 1, optionally dilated.

The strides are measured by running the network once, so that one rule serves every
convolutional network of torchvision and timm. With dilation the finer map, read at every
second cell, equals the map of the untouched network (the "hole algorithm": Chen et al.,
DeepLab, 2015).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.errors import UserError

__all__ = ["Grid", "SpreadAverage", "regroup_norms", "restride"]

_PROBE_SIDE = 64


@dataclass(frozen=True)
class Grid:
    """Where the cells of a network's map lie on its input.

    Args:
        stride: Pixels a cell.
        centre: Input pixel (0-based, fractional) on which cell 0 is centred.
        whole_cells: The input must be filled up to whole cells, because the network strides
            with even, unpadded kernels, which drop what is left over.
        odd_sides: The network pads as TensorFlow does; only sides `stride * k + 1` pad evenly.
    """

    stride: int
    centre: float
    whole_cells: bool
    odd_sides: bool


class SpreadAverage(nn.Module):
    """Average pooling that neither strides nor shrinks the map, with dilated taps.

    Args:
        side: Kernel side in taps; the first tap lies on the cell itself.
        dilation: Cells between the taps.
    """

    def __init__(self, side: int, dilation: int) -> None:
        super().__init__()
        self.side = side
        self.dilation = dilation

    def forward(self, x: Tensor) -> Tensor:
        """Return the averages `[B, C, h, w]` of `[B, C, h, w]`; cells past the border repeat it."""
        h, w = x.shape[-2:]
        wide = _repeat_border(x, (self.side - 1) * self.dilation)  # [B, C, h + a, w + a]
        steps = [i * self.dilation for i in range(self.side)]
        taps = torch.stack(
            [wide[..., a : a + h, b : b + w] for a in steps for b in steps]
        )  # [side^2, B, C, h, w]
        return taps.mean(0)  # [B, C, h, w]


def restride(
    body: nn.Module,
    name: str,
    *,
    output_stride: int,
    dilate: bool,
    same_padded: tuple[type[nn.Module], ...] = (),
) -> Grid:
    """Change `body` in place so that its map has at most `output_stride` pixels a cell.

    Args:
        body: Maps an image to its last map; in eval mode.
        name: The backbone's name, for messages.
        output_stride: Largest stride kept. A network that strides less stays as it is.
        dilate: Spread the kernels behind a removed stride over the same pixels as before.
        same_padded: Classes of layers that pad themselves by their input's size.

    Raises:
        UserError: A layer cannot be changed so.
    """
    # Stride of a layer's input -> (its kernel side, pixels by which it moves the cells' centres).
    shifts: dict[int, tuple[int, float]] = {}
    whole_cells = odd_sides = False
    stride_now = 1
    for layer, before in _trace(body, name):
        kernel, stride, padding = _square(layer.kernel_size), _square(layer.stride), _square(layer.padding)
        spread = max(1, before // output_stride) if dilate else 1
        here = min(before, output_stride)
        if stride > 1 and before < output_stride < before * stride:
            raise UserError(
                f"{name} cannot run at output stride {output_stride}: "
                f"one layer goes from {before} to {before * stride}.",
                f"Accepted: {before} or {before * stride}.",
                "Choose another output stride or another backbone.",
            )
        if stride > 1:
            stride_now = max(stride_now, min(before * stride, output_stride))
            same = isinstance(layer, same_padded)
            odd_sides |= same
            whole_cells |= kernel % 2 == 0 and padding == 0 and not same
            # A shortcut strides beside the main path, with the smaller kernel of the two.
            if before not in shifts or kernel > shifts[before][0]:
                shifts[before] = (kernel, 0.0 if same else ((kernel - 1) / 2 - padding) * spread * here)
        removed = stride > 1 and before >= output_stride
        if removed or spread > 1:
            _refit(body, layer, name, removed=removed, spread=spread if kernel > 1 else 1)
    return Grid(stride_now, sum(shift for _, shift in shifts.values()), whole_cells, odd_sides)


def regroup_norms(body: nn.Module) -> None:
    """Replace every batch normalisation in place by group normalisation (Wu and He, 2018).

    Groups number at most 32 and at most a quarter of the channels. Learned scales and
    shifts are kept, so that blocks that start as the identity still do.
    """
    for name, child in list(body.named_children()):
        if isinstance(child, nn.BatchNorm2d):
            body.set_submodule(name, _grouped(child))
        else:
            regroup_norms(child)


def _grouped(norm: nn.BatchNorm2d) -> nn.Module:
    channels = norm.num_features
    groups = next(g for g in (32, 16, 8, 4, 2, 1) if channels % g == 0 and (g == 1 or channels // g >= 4))
    group = nn.GroupNorm(groups, channels, norm.eps, norm.affine)
    if norm.affine:
        group.load_state_dict({"weight": norm.weight.detach(), "bias": norm.bias.detach()})
    # timm's batch normalisation may carry its activation with it.
    act = getattr(norm, "act", None)
    return nn.Sequential(group, act) if isinstance(act, nn.Module) else group


def _trace(body: nn.Module, name: str) -> list[tuple[Any, int]]:
    """Return the layers that look at neighbours, in order of execution, with the stride of their input."""
    met: list[tuple[nn.Module, int]] = []

    def note(layer: Any, args: tuple[Tensor, ...]) -> None:
        if max(_square(layer.kernel_size), _square(layer.stride)) == 1 or any(layer is m for m, _ in met):
            return
        side = args[0].shape[-1]
        if _PROBE_SIDE % side:
            raise UserError(
                f"{name} cannot be used as a backbone: a layer sees {side} cells of {_PROBE_SIDE} pixels.",
                "Accepted: networks whose strided layers keep ceil(side / stride) cells.",
                "Choose another backbone.",
            )
        met.append((layer, _PROBE_SIDE // side))

    kinds = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
    hooks = [m.register_forward_pre_hook(note) for m in body.modules() if isinstance(m, kinds)]
    try:
        with torch.no_grad():
            body(torch.zeros(1, 3, _PROBE_SIDE, _PROBE_SIDE))
    finally:
        for hook in hooks:
            hook.remove()
    return met


def _refit(body: nn.Module, layer: Any, name: str, *, removed: bool, spread: int) -> None:
    """Take the stride off a layer and spread its kernel by `spread`."""
    kernel, padding = _square(layer.kernel_size), _square(layer.padding)
    if isinstance(layer, nn.AvgPool2d):
        if padding == 0 and removed:
            path = next(path for path, module in body.named_modules() if module is layer)
            body.set_submodule(path, SpreadAverage(kernel, spread))
            return
        if spread > 1:
            raise UserError(
                f"{name} cannot be dilated: it averages over padded windows.",
                "Accepted: a larger output stride, or no dilation.",
                "Set another output stride or turn the dilation off.",
            )
        layer.stride = 1 if removed else layer.stride
        return
    conv = isinstance(layer, nn.Conv2d)
    if removed:
        layer.stride = (1, 1) if conv else 1
    rows, columns = _pair(layer.padding)
    layer.padding = (rows * spread, columns * spread) if conv else padding * spread
    rows, columns = _pair(layer.dilation)
    layer.dilation = (rows * spread, columns * spread) if conv else rows * spread
    if removed and kernel % 2 == 0 and padding == 0:
        border = _zero_border if conv else _repeat_border
        layer.register_forward_pre_hook(functools.partial(_widen, border=border, by=(kernel - 1) * spread))


def _widen(
    _: nn.Module, args: tuple[Tensor, ...], border: Callable[[Tensor, int], Tensor], by: int
) -> Tensor:
    return border(args[0], by)


def _zero_border(x: Tensor, by: int) -> Tensor:
    return F.pad(x, (0, by, 0, by))  # [B, C, h + by, w + by]


def _repeat_border(x: Tensor, by: int) -> Tensor:
    return F.pad(x, (0, by, 0, by), mode="replicate")  # [B, C, h + by, w + by]


def _pair(value: Any) -> tuple[int, int]:
    rows, columns = value if isinstance(value, (tuple, list)) else (value, value)
    return int(rows), int(columns)


def _square(value: Any) -> int:
    """Return the larger of a layer's two numbers (they differ in 1xk kernels only)."""
    return max(_pair(value))
