"""From the pixels of a file to what a network takes in."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from engine.nets.prep import Prep

__all__ = ["over_cells", "pad_to_side", "resized", "to_input"]


def to_input(pixels: NDArray[np.uint8], prep: Prep, *, long_side: int) -> Tensor:
    """Return an image scaled to a long side, normalised and padded to a fitting side.

    Args:
        pixels: [H, W, 3] uint8, upright.
        prep: What the backbone wants.
        long_side: Longer side in px after scaling.

    Returns:
        [3, h, w] float32.
    """
    image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)  # [3, H, W]
    factor = long_side / max(image.shape[1:])
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[2] * factor)))
    return pad_to_side(prep.normalise(resized(image, size).float() / 255), prep)


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return images [..., 3, H, W] uint8 scaled to (h, w) px by bicubic interpolation with antialias."""
    if tuple(images.shape[-2:]) == size:
        return images
    return TF.resize(images, list(size), interpolation=InterpolationMode.BICUBIC, antialias=True)


def over_cells(maps: Tensor, stride: int, centre: float) -> Tensor:
    """Return maps in pixels averaged over the cells of features.

    Args:
        maps: [B, K, H, W] float.
        stride: Pixels a cell.
        centre: Pixel on which cell 0 is centred, 0 or (stride - 1) / 2.

    Returns:
        [B, K, ceil(H / stride), ceil(W / stride)]; what lies outside the image counts for nothing.
    """
    before = round((stride - 1) / 2 - centre)
    size = [-(-side // stride) for side in maps.shape[2:]]
    if not maps.shape[1]:
        return maps.new_zeros(*maps.shape[:2], *size)
    found = F.avg_pool2d(maps, stride, padding=before, ceil_mode=True, count_include_pad=False)
    return found[:, :, : size[0], : size[1]]


def pad_to_side(images: Tensor, prep: Prep) -> Tensor:
    """Return normalised images padded on the right and below with the mean colour, to fitting sides."""
    height, width = images.shape[-2:]
    return F.pad(images, (0, prep.side(width) - width, 0, prep.side(height) - height))
