"""How CLIP-ES turns gradients and attention into maps: pure functions of tensors.

Lin et al., CLIP is Also an Efficient Segmenter, CVPR 2023: softmax-GradCAM and class-aware attention-based
affinity (CAA).
"""

from __future__ import annotations

import math

import numpy as np
import scipy.ndimage
import torch
from torch import Tensor

__all__ = ["balanced", "box_mask", "log_odds", "refined", "stretched", "whole_cells"]

# Of a map's values: less than this is rounding, and stretching it would draw noise.
_EPSILON = 1e-5
# One round of columns and rows, and two more.
_ROUNDS = 3


def log_odds(scores: Tensor, cls: Tensor) -> Tensor:
    """Return log(p / (1 - p)) of a class among a softmax: z_c - log sum over the others of exp z_j.

    The gradient of p itself is this one's times p (1 - p), a positive number that dividing a map by its peak
    takes away again. This one stays exact where p is 1 in single precision and its own gradient is lost.

    Args:
        scores: [B, J] float; -inf leaves a class out.
        cls: [B] int64.

    Returns:
        [B] float.
    """
    others = scores.scatter(1, cls[:, None], -torch.inf)
    return scores.gather(1, cls[:, None])[:, 0] - others.logsumexp(1)


def stretched(maps: Tensor) -> Tensor:
    """Return maps [..., h, w] with their least value taken off, divided by what is then their peak; flat ones are 0."""
    least = maps.amin((-2, -1), keepdim=True)
    peak = maps.amax((-2, -1), keepdim=True) - least
    # Relative to the values, or maps of a sure class, whose gradients are tiny, would fade.
    return (maps - least) / (peak + _EPSILON * maps.abs().amax((-2, -1), keepdim=True)).clamp(min=1e-30)


def balanced(attention: Tensor) -> Tensor:
    """Return a symmetric transition matrix [..., N, N]: columns and rows brought to sum 1 in turn, then the mean with its transpose.

    Args:
        attention: [..., N, N] float > 0.
    """
    found = attention
    for _ in range(_ROUNDS):
        found = found / found.sum(-2, keepdim=True)
        found = found / found.sum(-1, keepdim=True)
    return (found + found.mT) / 2


def box_mask(maps: Tensor, above: float) -> Tensor:
    """Return the boxes around the regions of each map over a share of its peak.

    Args:
        maps: [K, h, w] float in [0, 1].
        above: Share of the peak, in [0, 1).

    Returns:
        [K, h, w] float32, 1 inside any box. Regions touch at corners too, as contours do.
    """
    arrays = maps.detach().cpu().numpy()
    mask = np.zeros(arrays.shape, np.float32)
    for k, array in enumerate(arrays):
        regions, _ = scipy.ndimage.label(array > above * array.max(), np.ones((3, 3), int))
        for box in scipy.ndimage.find_objects(regions):
            mask[(k, *box)] = 1
    return torch.from_numpy(mask).to(maps.device)


def refined(maps: Tensor, transition: Tensor, boxes: Tensor, squares: int) -> Tensor:
    """Return T (boxes * map), T the transition matrix squared `squares` times.

    The paper squares the matrix, N^3 products, and blanks its columns outside the boxes. Blanking a column is
    blanking what it is multiplied by, and the matrix applied 2^squares times is its power applied once:
    2^squares N^2 products a map, and the power is never held.

    Args:
        maps: [K, h, w] float.
        transition: [h*w, h*w] float.
        boxes: [K, h, w] float in {0, 1}.
        squares: How often the matrix is squared.

    Returns:
        [K, h, w] float.
    """
    flat = (maps * boxes).flatten(1)  # [K, h*w]
    for _ in range(2**squares):
        flat = flat @ transition.mT
    return flat.unflatten(1, maps.shape[1:])


def whole_cells(size: tuple[int, int], scale: float, longest: int, patch: int) -> tuple[int, int]:
    """Return (h, w) px that an image is scaled to: shrunk to `longest` where it is larger, times `scale`, up to whole patches.

    Args:
        size: (H, W) of the image in px.
    """
    factor = min(1.0, longest / max(size)) * scale
    # Shrinking to a whole number of patches must not add one by rounding.
    height, width = (patch * max(1, math.ceil(side * factor / patch - 1e-9)) for side in size)
    return height, width
