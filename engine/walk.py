"""The random walk on a GPU where there is one; on a processor it is `engine.affinity.walk`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.affinity import changes, powers, walk, within

__all__ = ["walk_on"]

# torch says so of every compressed matrix; who refines images can do nothing about it.
warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state", UserWarning)


def walk_on(
    device: torch.device,
    transition: scipy.sparse.csr_array,
    maps: NDArray[np.floating],
    times: Sequence[int] = (256,),
) -> NDArray[np.float32]:
    """Return the maps after each number of steps of the random walk, as `engine.affinity.walk` does.

    Args:
        device: Where to compute.
        transition: [h*w, h*w] float32, rows sum to 1, from `engine.affinity.transition`.
        maps: [K, h, w] float, finite.
        times: Numbers of steps, each >= 0.

    Returns:
        [S, K, h, w] float32, between the least and the greatest value of the map it came from.
    """
    if device.type != "cuda" or not len(maps):
        return walk(transition, maps, times)
    return _walked(device, transition, maps, times)


def _walked(
    device: torch.device, transition: scipy.sparse.csr_array, maps: NDArray[np.floating], times: Sequence[int]
) -> NDArray[np.float32]:
    """Walk by torch's products of compressed rows, all maps at once."""
    rows = changes(transition)
    starts, columns, data = (
        torch.from_numpy(part).to(device) for part in (rows.indptr, rows.indices, rows.data)
    )
    matrix = torch.sparse_csr_tensor(starts, columns, data, rows.shape, check_invariants=True)
    flat = np.ascontiguousarray(maps.reshape(len(maps), -1).T, np.float32)  # [N, K]

    def product(x: Tensor) -> Tensor:
        return matrix @ x + x  # [N, K]

    walked = torch.stack(powers(product, torch.from_numpy(flat).to(device), times))  # [S, N, K]
    return within(walked.mT.reshape(len(times), *maps.shape).cpu().numpy(), maps)
