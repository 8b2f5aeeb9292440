"""Pure tensor functions that turn features into class activation maps and fuse them.

Sources: CAM, Zhou et al. (2016); Grad-CAM, Selvaraju et al. (2017), eq. 1 and 2;
Grad-CAM++, Chattopadhay et al. (2018), eq. 10, 11 and 19.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["cam", "channel_weights", "fuse", "grid_size", "normalise", "on_grid", "sampler"]

EPSILON = 1e-5


def cam(features: Tensor, weights: Tensor) -> Tensor:
    """Return relu(sum_d w_kd f_d).

    Args:
        features: [B, D, h, w] float.
        weights: [K, D] float for all images, or [B, K, D] for each its own.

    Returns:
        [B, K, h, w] float >= 0.
    """
    flat = features.flatten(2)  # [B, D, h*w]
    maps = weights @ flat  # [B, K, h*w]
    return maps.relu_().unflatten(2, features.shape[2:])  # [B, K, h, w]


def channel_weights(
    features: Tensor, scores_of: Callable[[Tensor], Tensor], classes: list[int], kind: str
) -> Tensor:
    """Return the weights of the channels by the gradients of class scores.

    Grad-CAM: w_kd = mean over cells of g, g = dy_k/df_d. Grad-CAM++: w_kd = sum over cells of
    a * relu(g), a = g^2 / (2 g^2 + S_d g^3), S_d = sum over cells of f_d; where both vanish a is 0.

    With a mean over cells and a linear head, Grad-CAM gives the CAM divided by the number of
    cells, and Grad-CAM++ gives relu(w) / (2 + w * mean f) up to a factor of the class.

    Args:
        features: [B, D, h, w] float.
        scores_of: From features to scores [B, C].
        classes: 0-based classes k.
        kind: "gradcam" or "gradcam++".

    Returns:
        [B, K, D] float.
    """
    with torch.enable_grad():
        leaf = features.detach().clone().requires_grad_()
        scores = scores_of(leaf)  # [B, C]
        found = []
        for n, k in enumerate(classes):
            (g,) = torch.autograd.grad(scores[:, k].sum(), leaf, retain_graph=n + 1 < len(classes))
            if kind == "gradcam":
                found.append(g.mean((2, 3)))  # [B, D]
                continue
            g2 = g * g
            below = 2 * g2 + leaf.detach().sum((2, 3), keepdim=True) * g2 * g
            # 0/0 where a channel has no say: its weight is 0, as its gradient is.
            share = torch.where(below.abs() > 1e-20, g2 / below, torch.zeros_like(below))
            found.append((share * g.relu()).sum((2, 3)))  # [B, D]
    return torch.stack(found, 1)  # [B, K, D]


def grid_size(size: tuple[int, int], cell: int) -> tuple[int, int]:
    """Return (h, w) of the grid whose cells of `cell` px cover an image of (H, W) px."""
    return -(-size[0] // cell), -(-size[1] // cell)


def sampler(
    pixels: int,
    cells: int,
    stride: float,
    *,
    cell: int,
    scale: float,
    centre: float,
    official: bool,
    mirrored: bool,
) -> Tensor:
    """Return the matrix that samples a feature axis on the stored grid by linear interpolation.

    Args:
        pixels: Length of the scaled image along the axis in px.
        cells: Number of feature cells.
        stride: Pixels of the scaled image per feature cell.
        cell: Pixels of the image per grid cell.
        scale: Pixels of the scaled image per pixel of the image.
        centre: Pixel of the scaled image on which feature 0 is centred.
        official: Stretch the features over the grid as the reference codes do, which puts
            feature i half a stride too far (methods_cam 0.3-6 and 7); otherwise sample each
            grid cell at the pixel it stands for.
        mirrored: The features belong to the mirrored image and are read backwards.

    Returns:
        [g, cells] float64, rows sum to 1; g covers the image in cells of `cell` px.
    """
    g = -(-round(pixels / scale) // cell)
    if official:
        at = (torch.arange(g, dtype=torch.float64) + 0.5) * cells / g - 0.5
        at = cells - 1 - at if mirrored else at
    else:
        where = torch.arange(g, dtype=torch.float64) * cell * scale
        # Pixel centres: the last pixel of the scaled image is pixels - 1, mirrored it is 0.
        at = (pixels - 1 - where if mirrored else where) - centre
        at = at / stride
    at = at.clamp(0, cells - 1)
    low = at.floor().long().clamp(max=max(0, cells - 2))
    share = at - low
    rows = torch.arange(g)
    matrix = torch.zeros(g, cells, dtype=torch.float64)
    matrix[rows, low] = 1 - share
    if cells > 1:
        matrix[rows, low + 1] += share
    return matrix


def fuse(total: Tensor | None, maps: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Add maps, sampled on the grid, to what other scales and the mirror image gave.

    Args:
        total: [B, K, g, v] float32, or None at first.
        maps: [B, K, h, w] float.
        rows: [g, h] from `sampler`.
        columns: [v, w] from `sampler`.

    Returns:
        [B, K, g, v] float32; `total` itself, changed, when it was given.
    """
    rows, columns = rows.to(maps.device, torch.float32), columns.to(maps.device, torch.float32)
    # Two thin products instead of enlarging: the grid is all that is ever written.
    sampled = rows @ maps.float() @ columns.T  # [B, K, g, v]
    return sampled if total is None else total.add_(sampled)


def on_grid(
    total: Tensor | None,
    parts: Sequence[Tensor],
    size: tuple[int, int],
    scaled: tuple[int, int],
    *,
    stride: int,
    centre: float,
    cell: int,
    official: bool,
) -> Tensor:
    """Add the maps of a scaled image, and of its mirror image, to what other scales gave on the stored grid.

    Args:
        total: [B, K, g, v] float32, or None at first.
        parts: Maps [B, K, h, w] of the image and, where there is one, of its mirror image.
        size: (H, W) of the image in px.
        scaled: (H, W) of the scaled image in px.
        stride, centre, cell, official: See `sampler`.

    Returns:
        [B, K, g, v] float32; `total` itself, changed, when it was given.
    """
    for part, mirrored in zip(parts, (False, True), strict=False):
        rows, columns = (
            sampler(
                scaled[axis],
                part.shape[2 + axis],
                stride,
                cell=cell,
                scale=scaled[axis] / size[axis],
                centre=centre,
                official=official,
                mirrored=mirrored and axis == 1,
            )
            for axis in (0, 1)
        )
        total = fuse(total, part, rows, columns)
    assert total is not None
    return total


def normalise(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return maps divided by their own peak (+ 1e-5), and the peaks.

    Args:
        maps: [..., h, w] float >= 0.

    Returns:
        [..., h, w] in [0, 1] and [...] peaks; a map without evidence stays 0.
    """
    peaks = maps.amax((-2, -1))
    return maps / (peaks[..., None, None] + EPSILON), peaks
