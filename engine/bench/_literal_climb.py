"""The climb written down as the released code walks it: the reference of the benchmark and the tests.

Class by class; the weights of Grad-CAM come from a backward pass of their own, every parameter gathers a
gradient, and batch normalisation is left as it is. Formulas: methods_cam 2.2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from engine.nets.classifier import Classifier
from engine.nets.input import pad_to_side

__all__ = ["literal_climb"]


def literal_climb(net: Classifier, picture: Tensor, cls: int, settings: Any) -> tuple[Tensor, Tensor]:
    """Climb one class of one picture.

    Args:
        net: In eval mode, with every parameter requiring its gradient.
        picture: [3, H, W] float32, normalised.
        cls: 0-based class.
        settings: `ClimbSettings`; those of the preset `code` that change the formulas are read
            (steps, step, lam, tau); flip, linf, joint, clip=previous, score=relu, pooled, sum are taken for granted.

    Returns:
        The maps R^0 .. R^{T-1} [T, h, w] and the picture x^T [2, 3, H, W].
    """
    size = settings.step / (255 * sum(net.backbone.prep.std) / 3)
    height, width = picture.shape[1:]
    stride = net.backbone.stride
    x = torch.stack([picture, picture.flip(2)])  # [2, 3, H, W]
    first: Tensor | None = None
    found = []
    for _ in range(settings.steps):
        x = x.detach().requires_grad_()
        features = net.backbone(pad_to_side(x, net.backbone.prep))
        features = features[:, :, : -(-height // stride), : -(-width // stride)]  # [2, D, h, w]
        maps = net.maps(features).relu()  # [2, C, h, w]
        # Grad-CAM's pass goes down to the pixels and through every parameter, though only the gradient of
        # the features is read: averaged over its entries above 0.
        features.retain_grad()
        maps[:, cls].sum().backward(retain_graph=True)
        assert features.grad is not None
        grown = features.grad.clone()
        weights = grown.sum((2, 3), keepdim=True) / (grown > 0).sum()  # [2, D, 1, 1]
        each = (weights.detach() * features).sum(1).relu()  # [2, h, w]
        attribution = each[0] + each[1].flip(1)  # [h, w]
        if first is None:
            first = attribution.detach()
        mask = (attribution > settings.tau * attribution.max()).detach()
        scores = maps.mean((2, 3)).sum(0)  # [C]
        penalty = (mask * (attribution - first).abs()).sum()
        aim = 2 * scores[cls] - scores.sum() - settings.lam * penalty
        net.zero_grad()
        x.grad = features.grad = None
        (-aim).backward()
        assert x.grad is not None
        found.append(attribution.detach())
        gradient = -x.grad
        with torch.no_grad():
            moved = x + size * gradient / gradient.abs().max()
            x = moved.clamp(float(x.min()), float(x.max()))
    return torch.stack(found), x.detach()
