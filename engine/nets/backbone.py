"""One adapter over torchvision, timm and our own networks: images in, feature maps out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from engine.errors import UserError, nearest
from engine.nets.catalogue import published
from engine.nets.chains import build_chain
from engine.nets.prep import Prep
from engine.nets.restride import Grid, regroup_norms, restride
from engine.nets.trunk import Stages, Trunk
from engine.nets.weights import Weights, load_strictly

__all__ = ["FREEZE_SCHEMES", "Backbone", "Norm", "build_backbone", "freeze"]

Norm = Literal["frozen", "trained", "group"]

FREEZE_SCHEMES = ("stem", "layer2", "none", "all")

_STRIDES = (8, 16, 32)
_NORMS = ("frozen", "trained", "group")
_PROBE_SIDE = 64
_ODD_SIDES = (97, 65)


class Backbone(nn.Module):
    """A network that maps images `[B, 3, H, W]` to features `[B, D, ceil(H/s), ceil(W/s)]`.

    Build it with `build_backbone`. Stages that do not learn (`freeze`) and, with
    `norm="frozen"`, all batch normalisation stay in eval mode whatever `train` says. Frozen
    stages store no activations in training, since nothing in front of them learns; they
    are not cut off from the graph, since methods that climb on the image need its gradient.

    Attributes:
        name: The name it was built by.
        kind: `cnn` or `vit`.
        dim: Channels D of the map.
        stride: Pixels s a cell.
        cell_centre: Input pixel on which cell 0 is centred; cell i on `stride * i + cell_centre`.
            0 for networks that pad evenly, (s - 1)/2 for patches.
        prep: How images must be prepared. It is part of `state_dict`, so it travels with the weights.
        stages: Stage name -> dotted names of its modules and bare parameters, shallow to deep.
        tap_dims, tap_strides: Channels and pixels a cell of each entry of `taps`.
        frozen: Names of the stages that do not learn.
        loaded: How many entries of a weights file it holds; 0 when it started at random.
        mixed: Multiply in bfloat16 while it trains. The features leave in float32 all the same: what is
            reckoned from them, losses and prototypes, loses too much in eight bits.
    """

    def __init__(
        self, name: str, trunk: Trunk, grid: Grid, prep: Prep, norm: Norm, idle: frozenset[str]
    ) -> None:
        super().__init__()
        self.name = name
        self.kind: Literal["cnn", "vit"] = "vit" if trunk.patch else "cnn"
        self.trunk = trunk
        self.grid = grid
        self.prep = prep
        self.norm = norm
        self.idle = idle
        self.stride = grid.stride
        self.cell_centre = grid.centre
        self.stages: Stages = trunk.stages()
        self.frozen: tuple[str, ...] = ()
        self.loaded = 0
        self.mixed = False
        self.eval()
        try:
            with torch.no_grad():
                maps = self.taps(torch.zeros(1, 3, _PROBE_SIDE, _PROBE_SIDE))
                odd = self(torch.zeros(1, 3, *_ODD_SIDES))
        except RuntimeError as error:
            raise _unfit(name, self.stride, "its layers no longer fit together") from error
        self.dim = int(odd.shape[1])
        self.tap_dims = {tap: int(x.shape[1]) for tap, x in maps.items()}
        self.tap_strides = {tap: trunk.patch or _PROBE_SIDE // x.shape[-1] for tap, x in maps.items()}
        found, wanted = tuple(odd.shape[-2:]), tuple(math.ceil(side / self.stride) for side in _ODD_SIDES)
        if found != wanted:
            raise _unfit(name, self.stride, f"{_ODD_SIDES} pixels became {found} cells, not {wanted}")
        self.train()

    def forward(self, x: Tensor) -> Tensor:
        """Return the features.

        Args:
            x: `[B, 3, H, W] float32`, prepared as `prep` says.

        Returns:
            `[B, D, ceil(H/s), ceil(W/s)] float32`.
        """
        with self._arithmetic(x):
            features: Tensor = self.trunk(self._in_whole_cells(x))
        return features.float()  # [B, D, h, w]

    def taps(self, x: Tensor) -> dict[str, Tensor]:
        """Return the map `[B, D_i, h_i, w_i] float32` of every stage, shallow to deep; the last one equals `forward`.

        A transformer has one entry per block, all of the same stride.
        """
        with self._arithmetic(x):
            found = self.trunk.taps(self._in_whole_cells(x))
        return {name: tap.float() for name, tap in found.items()}

    def _arithmetic(self, x: Tensor) -> AbstractContextManager[object]:
        """Return what the trunk computes under. Outside of training it is exact, whatever `mixed` says."""
        return (
            torch.autocast(x.device.type, torch.bfloat16) if self.mixed and self.training else nullcontext()
        )

    def train(self, mode: bool = True) -> Backbone:
        """Set the training mode, leaving frozen stages and frozen statistics in eval mode."""
        super().train(mode)
        modules = dict(self.trunk.named_modules())
        for stage in self.frozen:
            for path in self.stages[stage]:
                if path in modules:
                    modules[path].eval()
        if self.norm == "frozen":
            for module in modules.values():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def get_extra_state(self) -> Tensor:
        """Return the preparation, so that every saved state holds it beside the weights."""
        return self.prep.as_tensor()

    def set_extra_state(self, state: Tensor) -> None:
        """Take over the preparation of a loaded state.

        Raises:
            UserError: It holds no preparation.
        """
        self.prep = Prep.from_tensor(state)

    def stage_parameters(self, stage: str) -> dict[str, nn.Parameter]:
        """Return the parameters of a stage by their names inside the trunk."""
        paths = self.stages[stage]
        return {
            name: parameter
            for name, parameter in self.trunk.named_parameters()
            if any(name == path or name.startswith(path + ".") for path in paths)
        }

    def _in_whole_cells(self, x: Tensor) -> Tensor:
        right, below = -x.shape[-1] % self.stride, -x.shape[-2] % self.stride
        if not self.grid.whole_cells or not (right or below):
            return x
        return F.pad(x, (0, right, 0, below))  # [B, 3, H + below, W + right]


def build_backbone(
    name: str,
    *,
    output_stride: int = 16,
    dilate: bool | None = None,
    weights: Weights | None = None,
    norm: Norm = "frozen",
) -> Backbone:
    """Build a backbone, in training mode with everything learning.

    Args:
        name: A classifier of torchvision or timm, or `tiny_cnn`.
        output_stride: Most pixels a cell of the map: 8, 16 or 32. Strides beyond it are taken
            off the network; one that strides less keeps its own, and a vision transformer has its
            patch size.
        dilate: Spread the kernels behind a removed stride, so that they see what they saw in
            pre-training. None: no for the ResNet family (the reference CAM code, IRN, runs
            its last stage at stride 1 and dilation 1), yes for the others.
        weights: What `find_weights` found, or None for random weights.
        norm: `frozen`: batch statistics never change; the affine part learns where its stage
            does. `trained`: batch normalisation as usual. `group`: group normalisation in
            its place, for small batches from random weights.

    Raises:
        UserError: An unknown name, a stride or norm that this network cannot have, or weights
            that do not fit it.
    """
    if output_stride not in _STRIDES:
        raise UserError(
            f"output_stride = {output_stride} is not a choice.", "Accepted: 8, 16, 32.", "The default is 16."
        )
    if norm not in _NORMS:
        raise UserError(
            f"norm = '{norm}' is not a choice.", f"Accepted: {', '.join(_NORMS)}.", nearest(norm, _NORMS)
        )
    if norm == "group" and weights is not None:
        raise UserError(
            f"norm = 'group' cannot use {weights.source}: its weights were trained with batch normalisation.",
            "Accepted with pretrained weights: norm=frozen or norm=trained.",
            "Set one of these, or start from random weights (--set pretrained=false).",
        )
    known = published(name)
    idle: frozenset[str] = frozenset()
    same_padded: tuple[type[nn.Module], ...] = ()
    trunk: Trunk
    heads: Collection[str]
    if known.library == "timm":
        # Imported here because it takes seconds, which the other networks need not wait for.
        from engine.nets import timm_nets

        trunk, heads = timm_nets.build_timm(name)
        idle = timm_nets.idle_parameters(trunk, name)
        same_padded = timm_nets.SAME_PADDED
    else:
        trunk, heads = build_chain(name)
    loaded = load_strictly(trunk.net, weights, heads) if weights is not None else 0
    if norm == "group":
        regroup_norms(trunk)
    if trunk.patch:
        grid = Grid(trunk.patch, (trunk.patch - 1) / 2, whole_cells=True, odd_sides=False)
    else:
        spread = "layer4" not in trunk.stages() if dilate is None else dilate
        grid = restride(trunk, name, output_stride=output_stride, dilate=spread, same_padded=same_padded)
    backbone = Backbone(name, trunk, grid, _prep(known.prep, weights, grid), norm, idle)
    backbone.loaded = loaded
    freeze(backbone, "none")
    return backbone


def freeze(backbone: Backbone, scheme: str) -> None:
    """Choose which stages learn; the choice replaces an earlier one.

    Args:
        backbone: Changed in place.
        scheme: `none`: all learn. `stem`: all but the first. `layer2`: those behind the first
            stage of 8 pixels a cell (layer2 of a ResNet: the reference code IRN stops its
            gradient there); of a transformer, the second half of its blocks. `all`: no stage learns.

    Raises:
        UserError: There is no such scheme.
    """
    if scheme not in FREEZE_SCHEMES:
        raise UserError(
            f"freeze = '{scheme}' is not a choice.",
            f"Accepted: {', '.join(FREEZE_SCHEMES)}.",
            nearest(scheme, FREEZE_SCHEMES),
        )
    names = list(backbone.stages)
    if backbone.kind == "vit":
        middle = 1 + (len(names) - 1) // 2
    else:
        middle = 1 + next(i for i, stage in enumerate(names) if backbone.tap_strides[stage] >= 8)
    count = {"none": 0, "stem": 1, "layer2": middle, "all": len(names)}[scheme]
    backbone.frozen = tuple(names[:count])
    fixed = {name for stage in backbone.frozen for name in backbone.stage_parameters(stage)}
    for name, parameter in backbone.trunk.named_parameters():
        parameter.requires_grad_(name not in fixed and name not in backbone.idle)
    backbone.train(backbone.training)


def _unfit(name: str, stride: int, why: str) -> UserError:
    return UserError(
        f"{name} cannot give a map of stride {stride}: {why}.",
        "Accepted: networks whose layers give ceil(side / stride) cells at that stride.",
        "Set output_stride=32 or choose another backbone.",
    )


def _prep(default: Prep, weights: Weights | None, grid: Grid) -> Prep:
    """Join what the network needs, what its architecture was trained with, and what the file states."""
    if grid.whole_cells:
        default = dataclasses.replace(default, side_multiple=grid.stride)
    elif grid.odd_sides:
        default = dataclasses.replace(default, side_multiple=grid.stride, side_offset=1)
    if weights is None:
        return default
    stated = default.with_overrides(weights.prep)
    return stated if grid.whole_cells else stated.at_stride(grid.stride)
