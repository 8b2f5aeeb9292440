"""Random walker with priors: every pixel takes the label that most walkers from it meet first.

Grady, "Multilabel random walks segmentation using prior models", CVPR 2005: with L the
Laplacian of the pixel grid, whose edge weights fall with the difference in colour, and p the
prior belief in a label held with weight t at each pixel,

    (L + diag(t)) x = diag(t) p

with x fixed at the seeds. Solved from coarse to fine: each grid starts from the solution at half
its size and needs a few rounds of conjugate gradients.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse
from scipy.sparse import linalg

from engine.tools.boxes import Image

__all__ = ["beliefs", "coarse", "coarse_seeds", "factor_for", "fine", "shrunk"]

Floats = npt.NDArray[np.float32]
Seeds = npt.NDArray[np.int16]

# Cells of the grid on which the walker is solved: some 0.2 s on one core.
_CELLS = 50_000
# Up to so many unknowns factorising is as fast as iterating.
_DIRECT = 4_000
# From the solution at half the size this leaves errors far below what moves a border.
_ROUNDS = 60
# No edge is cut entirely, or a speck of noise would be left without any belief.
_LEAST = 1e-4


def shrunk(photo: Image, factor: int) -> Image:
    """Return a photograph averaged over cells of `factor` px; the last cells repeat the border."""
    if factor <= 1:
        return photo
    height, width = photo.shape[:2]
    padded = np.pad(photo, ((0, -height % factor), (0, -width % factor), (0, 0)), mode="edge")
    cells = padded.reshape(padded.shape[0] // factor, factor, padded.shape[1] // factor, factor, 3)
    return np.asarray(np.rint(cells.mean(axis=(1, 3))), np.uint8)


def factor_for(pixels: int) -> int:
    """Return by how much each side must shrink so that a person need not wait for the walker."""
    return max(1, math.ceil(math.sqrt(pixels / _CELLS)))


def coarse(prior: Floats, factor: int) -> Floats:
    """Return `[K, h, w]` averaged over cells of `factor` px, as `shrunk` does with the photograph."""
    if factor == 1:
        return prior
    height, width = prior.shape[1:]
    padded = np.pad(prior, ((0, 0), (0, -height % factor), (0, -width % factor)), mode="edge")
    h, w = padded.shape[1] // factor, padded.shape[2] // factor
    return np.asarray(padded.reshape(len(prior), h, factor, w, factor).mean(axis=(2, 4)), np.float32)


def coarse_seeds(seeds: Seeds, factor: int) -> Seeds:
    """Return the seeds of a coarser grid: a cell is seeded when any of its pixels is; the highest label wins."""
    if factor == 1:
        return seeds
    height, width = seeds.shape
    padded = np.pad(seeds, ((0, -height % factor), (0, -width % factor)), constant_values=-1)
    h, w = padded.shape[0] // factor, padded.shape[1] // factor
    return np.asarray(padded.reshape(h, factor, w, factor).max(axis=(1, 3)), np.int16)


def fine(found: Floats, shape: tuple[int, ...], factor: int) -> Floats:
    """Return beliefs `[K, h, w]` of a coarser grid at every pixel of `shape`, by bilinear interpolation."""
    if factor == 1:
        return found
    y = (np.arange(shape[0]) + 0.5) / factor - 0.5
    x = (np.arange(shape[1]) + 0.5) / factor - 0.5
    grid = np.stack(np.meshgrid(y, x, indexing="ij"))
    return np.stack([ndimage.map_coordinates(f, grid, order=1, mode="nearest") for f in found])


def beliefs(photo: Image, seeds: Seeds, prior: Floats, weight: Floats, *, sharpness: float = 1.0) -> Floats:
    """Return the belief in each label at each pixel.

    Args:
        photo: `[h, w, 3]` uint8, RGB.
        seeds: `[h, w]` int16 label numbers, -1 where there is none.
        prior: `[K, h, w]` float32 in [0, 1], summing to 1 over K.
        weight: `[h, w]` float32 above 0: how much the prior weighs against one edge.
        sharpness: Multiplies the penalty of a difference in colour.

    Returns:
        `[K, h, w]` float32, summing to 1 over K.
    """
    count = len(prior)
    free = (seeds < 0).reshape(-1)
    given = np.where(seeds >= 0, seeds == np.arange(count)[:, None, None], prior).reshape(count, -1)
    out = given.astype(np.float32)  # [K, h*w]
    if count < 2 or not free.any():
        return out.reshape(prior.shape)
    matrix = _laplacian(photo, sharpness)[free]
    held = weight.reshape(-1)[free].astype(np.float64)
    system = (matrix[:, free] + sparse.diags_array(held)).tocsc()
    # Known values move to the right-hand side: a seed kept as an equation of large weight would
    # drown the residuals of all others, and the solver would stop before it had begun.
    known = matrix[:, ~free]
    sides = [held * g[free] - known @ g[~free].astype(np.float64) for g in given[:-1]]
    if free.sum() <= _DIRECT:
        solve = linalg.splu(system).solve
        found = [solve(side) for side in sides]
    else:
        start = _start(photo, seeds, prior, weight, sharpness).reshape(count, -1)[:, free]
        found = [_iterate(system, side, x) for side, x in zip(sides, start, strict=False)]
    for label, x in enumerate(found):
        out[label, free] = np.clip(x, 0.0, 1.0)
    # The rows of (L + t) sum to t, so the beliefs of a pixel sum to 1.
    out[count - 1, free] = np.clip(1.0 - out[: count - 1, free].sum(axis=0), 0.0, 1.0)
    return out.reshape(prior.shape)


def _start(photo: Image, seeds: Seeds, prior: Floats, weight: Floats, sharpness: float) -> Floats:
    """Return the solution on a grid of half the size, at every cell of this one.

    Conjugate gradients carry news one cell an iteration; from here they have little left to carry.
    """
    rough = beliefs(
        shrunk(photo, 2),
        coarse_seeds(seeds, 2),
        coarse(prior, 2),
        4 * coarse(weight[None], 2)[0],
        sharpness=sharpness,
    )
    return fine(rough, prior.shape[1:], 2)


def _iterate(system: Any, side: npt.NDArray[np.float64], start: Floats) -> npt.NDArray[np.float64]:
    scale = 1.0 / system.diagonal()
    jacobi = linalg.LinearOperator(system.shape, matvec=lambda v: scale * v, dtype=np.float64)
    x, broken = linalg.cg(system, side, x0=start.astype(np.float64), rtol=1e-4, maxiter=_ROUNDS, M=jacobi)
    if broken < 0:
        raise ArithmeticError(f"conjugate gradients broke down ({broken})")
    return np.asarray(x)


def _laplacian(photo: Image, sharpness: float) -> Any:
    """Return L `[h*w, h*w]` of the 4-connected grid, weights exp(-d^2 / (2 mean d^2)) of smoothed colours."""
    height, width = photo.shape[:2]
    colour = ndimage.gaussian_filter(photo.astype(np.float32), (0.7, 0.7, 0))
    down = ((colour[1:] - colour[:-1]) ** 2).sum(axis=2)
    right = ((colour[:, 1:] - colour[:, :-1]) ** 2).sum(axis=2)
    number = down.size + right.size
    mean = (float(down.sum()) + float(right.sum())) / max(number, 1)
    # A picture without any edge has mean 0: all weights are then 1.
    fall = sharpness / (2.0 * mean) if mean > 0 else 0.0
    index = np.arange(height * width, dtype=np.int32).reshape(height, width)
    first = np.concatenate([index[:-1].ravel(), index[:, :-1].ravel()])
    second = np.concatenate([index[1:].ravel(), index[:, 1:].ravel()])
    edge = np.concatenate([np.exp(-fall * down).ravel(), np.exp(-fall * right).ravel()]).astype(np.float64)
    edge = np.maximum(edge, _LEAST)
    size = height * width
    off = sparse.coo_array((edge, (first, second)), shape=(size, size)).tocsr()
    off = off + off.T
    return sparse.diags_array(np.asarray(off.sum(axis=1)).ravel(), format="csr") - off
