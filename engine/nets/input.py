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

__all__ = ["pad_to_side", "resized", "to_input"]


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


def pad_to_side(images: Tensor, prep: Prep) -> Tensor:
    """Return normalised images padded on the right and below with the mean colour, to fitting sides."""
    height, width = images.shape[-2:]
    return F.pad(images, (0, prep.side(width) - width, 0, prep.side(height) - height))
