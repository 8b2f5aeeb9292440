"""Average maps over like neighbours: pixel-adaptive refinement, PAR and PAMR.

Every pixel takes the weighted mean of neighbours in eight directions at several distances,
ten times over; the weights depend on the photograph alone:

    a_pq = softmax_q k(p, q) + w2 softmax_q -(d_pq / (sigma_d w1))^2,   m_p <- sum_q a_pq m_q
    PAR    k = -mean_channels (|I_q - I_p| / (sigma_p w1))^2,  sigma_p over the neighbours
    PAMR   k = -mean_channels  |I_q - I_p| / (sigma_p w1),     sigma_p with the pixel itself, once per distance

PAR: Ru et al., "Learning affinity from attention", CVPR 2022, section 3.4. PAMR: Araslanov and
Roth, "Single-stage semantic segmentation from image labels", CVPR 2020, section 3.2. The pixel
itself has no weight, so a lone pixel is gone after one iteration. The weights sum to 1 + w2
(1.01 for PAR, a factor of 1.105 after ten iterations); here every iteration is divided by it,
so that scores stay in [0, 1] and thresholds keep their meaning.

    weights = affinity(image, params)              # once per image
    refined = refine(masks, weights, params)       # any number of channels
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from engine.params import Spec

__all__ = ["PARParams", "affinity", "distances", "neighbours", "refine", "steps"]

Floats: TypeAlias = npt.NDArray[np.float32]

_DIRECTIONS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0))
_TINY = 1e-8
# Rows are worked on in bands of about so many numbers, which stay in the cache.
_BAND = 1 << 16


@dataclass(frozen=True)
class PARParams:
    """Kernel, neighbours and iterations; the defaults are PAR's on an image at half size."""

    kind: Annotated[
        Literal["par", "pamr"],
        Spec("Kernel: par falls with the square of the colour distance, pamr with the distance."),
    ] = "par"
    dilations: Annotated[
        tuple[int, ...],
        Spec(
            "Distances of the neighbours; at each there are eight.", low=1, high=256, unit="px at half size"
        ),
    ] = (1, 2, 4, 8, 12, 24)
    iterations: Annotated[
        int, Spec("Rounds of averaging; 0 returns the start.", low=0, high=1000, main=True)
    ] = 10
    w1: Annotated[
        float,
        Spec(
            "Width of the kernel in local standard deviations; smaller keeps to sharper edges.",
            low=0.01,
            high=10,
            main=True,
        ),
    ] = 0.3
    w2: Annotated[float, Spec("Share of nearness alone, whatever the colours.", low=0, high=1)] = 0.01

    PRESETS: ClassVar[dict[str, dict[str, object]]] = {
        "par": {},
        "pamr": {"kind": "pamr", "w1": 0.1, "w2": 0.0},
    }


def neighbours(params: PARParams) -> tuple[tuple[int, int], ...]:
    """Return the (dy, dx) in px of every neighbour, in the order of the weights."""
    return tuple((dy * d, dx * d) for d in params.dilations for dy, dx in _DIRECTIONS)


def distances(params: PARParams) -> Floats:
    """Return the distance of every neighbour, `[N]` float32 in px."""
    offsets = np.array(neighbours(params), np.float32)
    return np.asarray(np.hypot(offsets[:, 0], offsets[:, 1]), np.float32)


def affinity(image: npt.NDArray[np.number], params: PARParams) -> Floats:
    """Return how much of every neighbour a pixel takes; beyond the border the edge repeats.

    Args:
        image: `[h, w, 3]` numbers; any scale and offset give the same.
        params: Kernel and neighbours.

    Returns:
        `[N, h, w]` float32 in [0, 1 + w2], sum 1 + w2 over N; N = 8 per dilation.
    """
    if image.ndim != 3 or not image.size:
        raise ValueError(f"an image of {image.shape}")
    offsets = neighbours(params)
    reach = max(params.dilations)
    planes = np.moveaxis(image, 2, 0).astype(np.float32)  # [3, h, w]
    padded = _padded(planes, reach)  # [3, h + 2r, w + 2r]
    # PAMR's windows hold their own centre once per dilation: a difference of 0.
    count = len(offsets) + (len(params.dilations) if params.kind == "pamr" else 0)
    height, width = image.shape[:2]
    weights = np.empty((len(offsets), height, width), np.float32)
    near = _nearness(params)
    rows = max(_BAND // (width * len(planes)), 1)
    for top in range(0, height, rows):
        band = slice(top, min(top + rows, height))
        here = planes[:, band]  # [3, b, w]
        apart = np.stack([_seen(padded, o, reach, band) for o in offsets])  # [N, 3, b, w]
        apart -= here
        mean = apart.sum(axis=0) / count
        # In two passes: differences that are all alike must have a deviation of exactly 0.
        spread = np.square(apart - mean).sum(axis=0) + (count - len(offsets)) * np.square(mean)
        scale = 1 / ((np.sqrt(spread / (count - 1)) + np.float32(_TINY)) * np.float32(params.w1))
        apart *= scale
        if params.kind == "par":
            np.square(apart, out=apart)
        else:
            np.abs(apart, out=apart)
        likeness = weights[:, band]
        np.mean(apart, axis=1, out=likeness)  # [N, b, w]
        np.subtract(likeness.min(axis=0), likeness, out=likeness)
        np.exp(likeness, out=likeness)
        likeness /= likeness.sum(axis=0)
        likeness += near[:, None, None]
    return weights


def steps(masks: Floats, weights: Floats, params: PARParams) -> Iterator[Floats]:
    """Yield the masks at the start and after every iteration, each an array of its own.

    Args:
        masks: `[C, h, w]` float; a channel does not see the others.
        weights: Of `affinity`, `[N, h, w]` float32.
        params: Those of the weights.

    Yields:
        `[C, h, w]` float32 within the range of `masks`; a constant stays what it is.
    """
    offsets = neighbours(params)
    if weights.shape != (len(offsets), *masks.shape[1:]):
        raise ValueError(f"weights {weights.shape} of {len(offsets)} neighbours for masks {masks.shape}")
    height, width = masks.shape[1:]
    reach = max(params.dilations)
    gain = np.float32(1 / (1 + params.w2))
    rows = max(_BAND // (width * max(len(masks), 1)), 1)
    spare = np.empty((len(masks), rows, width), np.float32)
    now = masks.astype(np.float32)
    yield now
    for _ in range(params.iterations):
        padded = _padded(now, reach)
        now = np.zeros_like(now)
        for top in range(0, height, rows):
            band = slice(top, min(top + rows, height))
            total, product = now[:, band], spare[:, : band.stop - top]  # [C, b, w]
            for n, offset in enumerate(offsets):
                np.multiply(_seen(padded, offset, reach, band), weights[n, band], out=product)
                total += product
        now *= gain
        yield now


def refine(masks: Floats, weights: Floats, params: PARParams) -> Floats:
    """Return the masks after the last iteration, `[C, h, w]` float32; see `steps`."""
    return deque(steps(masks, weights, params), maxlen=1).pop()


def _padded(planes: Floats, reach: int) -> Floats:
    return np.pad(planes, ((0, 0), (reach, reach), (reach, reach)), mode="edge")


def _seen(padded: Floats, offset: tuple[int, int], reach: int, rows: slice) -> Floats:
    """Return what lies at an offset from every pixel of some rows, a view `[C, b, w]`."""
    y, x = reach + offset[0], reach + offset[1]
    return padded[:, y + rows.start : y + rows.stop, x : padded.shape[2] - 2 * reach + x]


def _nearness(params: PARParams) -> Floats:
    apart = distances(params).astype(np.float64)
    inside = -np.square(apart / ((apart.std(ddof=1) + _TINY) * params.w1))
    share = np.exp(inside - inside.max())
    return np.asarray(params.w2 * share / share.sum(), np.float32)
