"""One image's way from its features to its prototype-aware map, step by step, in NumPy.

The same formulas as `engine.prototypes`, which trains by them, for windows that hold no torch:
everything here starts from one cached pass of the network (`PrototypeView`) and the run's bank,
so every slider is arithmetic. Source: CPAL (CVPR 2024), appendix; methods_proto 1.3 and 1.8.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.results import PrototypeBank, PrototypeView

__all__ = ["Choice", "Passage", "others_likeness", "pass_through", "plane", "shift_of"]

Floats = NDArray[np.float32]
_EPSILON = 1e-5


@dataclass(frozen=True)
class Choice:
    """What a person may turn.

    Attributes:
        tau: Part of its peak above which the map seeds the image's prototype.
        neighbours: Soft positive neighbours K.
        temperature: Divides the products of the positiveness.
        positiveness: Weigh the neighbours by it, or all alike.
        shift: How much of the shift onto the bank's mean is applied, in [0, 1].
        draw: How neighbours make one map, see `engine.prototypes.prototype_maps`.
        off: Prototypes of the class that take no part.
        evicted: Rows of the class that take no part in the bank's mean.
        without: Classes whose prototypes are left out entirely, so that the image's own one draws.
    """

    tau: float = 0.2
    neighbours: int = 20
    temperature: float = 0.1
    positiveness: bool = True
    shift: float = 1.0
    draw: Literal["mean_cos", "cos_mean", "max_cos"] = "mean_cos"
    off: Collection[int] = ()
    evicted: Collection[int] = ()
    without: bool = False


@dataclass(frozen=True, eq=False)
class Passage:
    """The steps of one class in one image.

    Attributes:
        seed: [h, w] bool, where the map is above tau, or what a person painted.
        own: [D] float32, the image's prototype, before the shift.
        likeness: [h, w] float32 in [-1, 1], cosine of each cell to it.
        shift: [D] float32, delta.
        order: [K] int64, the neighbours among the class's prototypes, likest first.
        similar: [K] float32 in [-1, 1], cosine of each to the shifted prototype.
        weights: [K] float32 in [0, 1], positiveness, sums to 1.
        each: [K, h, w] float32 in [-1, 1], cosine of each shifted cell to each neighbour.
        aware: [h, w] float32 in [0, 1], the prototype-aware map divided by its peak.
    """

    seed: NDArray[np.bool_]
    own: Floats
    likeness: Floats
    shift: Floats
    order: NDArray[np.int64]
    similar: Floats
    weights: Floats
    each: Floats
    aware: Floats


def pass_through(
    view: PrototypeView,
    bank: PrototypeBank,
    cls: int,
    choice: Choice,
    painted: NDArray[np.bool_] | None = None,
) -> Passage | None:
    """Return the steps of a class, or None where nothing seeds it.

    Args:
        view: One pass over the image.
        bank: Of the run that made the view.
        cls: 0-based project class.
        choice: What is turned how.
        painted: [h, w] bool, a person's seed in place of the map's; the class then needs no map.
    """
    if painted is not None:
        seed = painted
    elif cls in view.classes:
        seed = view.maps[view.classes.index(cls)].astype(np.float32) > choice.tau
    else:
        return None
    if not seed.any():
        return None
    shape = seed.shape
    cells = view.features.reshape(-1, seed.size)  # [D, h*w]
    own = cells @ seed.ravel().astype(np.float32) / np.float32(seed.sum())  # [D]
    squares = np.einsum("dn,dn->n", cells, cells)
    likeness = (_unit(own, 0) @ cells / np.sqrt(np.maximum(squares, 1e-24))).reshape(shape)
    count = int(bank.count[cls])
    there = np.array([i for i in range(count) if i not in choice.off], np.int64)
    if choice.without or not len(there):
        none = np.zeros(0, np.float32)
        aware = _by_peak(np.maximum(likeness, 0))
        return Passage(
            seed,
            own,
            likeness,
            np.zeros_like(own),
            there[:0],
            none,
            none,
            np.zeros((0, *shape), np.float32),
            aware,
        )
    shift = shift_of(bank, cls, choice.shift, choice.evicted)
    moved = own + shift
    units = _unit(bank.prototypes[cls, there], 1)  # [n, D]
    similar = units @ _unit(moved, 0)
    near = np.argsort(-similar, kind="stable")[: choice.neighbours]
    p = units[near]  # [K, D]
    if choice.positiveness:
        logits = (p @ bank.of_prototype.T) @ (bank.of_instance @ _unit(moved, 0)) / choice.temperature
        weights = np.exp(logits - logits.max())
        weights = weights / weights.sum()
    else:
        weights = np.full(len(p), 1 / len(p), np.float32)
    # |z + delta|^2 = |z|^2 + 2 z . delta + |delta|^2: the shifted features are never made.
    shifted = squares + 2 * (shift @ cells) + shift @ shift
    each = (p @ cells + (p @ shift)[:, None]) / np.sqrt(np.maximum(shifted, _EPSILON**2))  # [K, h*w]
    if choice.draw == "max_cos":
        drawn = (each * (weights / weights.max())[:, None]).max(0)
    else:
        drawn = weights @ each
        if choice.draw == "cos_mean":
            drawn = drawn / max(float(np.linalg.norm(weights @ p)), _EPSILON)
    return Passage(
        seed,
        own,
        likeness,
        shift,
        there[near],
        similar[near].astype(np.float32),
        weights.astype(np.float32),
        each.reshape(-1, *shape),
        _by_peak(np.maximum(drawn, 0).reshape(shape)),
    )


def shift_of(bank: PrototypeBank, cls: int, share: float, evicted: Collection[int] = ()) -> Floats:
    """Return delta of a class, [D] float32: its rows' mean less the running mean (eq. 12); 0 without rows.

    Args:
        bank: Where the rows are.
        cls: 0-based project class.
        share: How much of delta is applied, in [0, 1].
        evicted: Rows of the class that take no part.
    """
    filled = int(bank.filled[cls])
    lost = [row for row in evicted if row < filled]
    if filled == len(lost) or not share:
        return np.zeros_like(bank.mean[cls])
    total = bank.sums[cls] - bank.rows[cls, lost].sum(0, dtype=np.float64)
    average = (total / (filled - len(lost))).astype(np.float32)
    return np.asarray(np.float32(share) * (average - bank.mean[cls]), np.float32)


def others_likeness(passage: Passage, bank: PrototypeBank) -> Floats:
    """Return the cosine of the image's prototype to the likest prototype of every class, [C] float32, NaN without any.

    Classes that are always seen together come to look alike: then another's is as high as the own.
    """
    found = np.full(len(bank.count), np.nan, np.float32)
    moved = _unit(passage.own + passage.shift, 0)
    for cls, count in enumerate(bank.count.tolist()):
        if count:
            found[cls] = (_unit(bank.prototypes[cls, :count], 1) @ moved).max()
    return found


def plane(rows: Floats) -> tuple[Floats, Floats]:
    """Return the mean [D] and the two directions [2, D] in which rows [M, D] differ most, for a 2-D map of a bank.

    The signs are fixed so that the largest part of each direction is positive.
    """
    centre = rows.mean(0)
    _, _, directions = np.linalg.svd(rows - centre, full_matrices=False)
    found = np.zeros((2, rows.shape[1]), np.float32)
    found[: min(2, len(directions))] = directions[:2]
    signs = np.sign(np.take_along_axis(found, np.abs(found).argmax(1)[:, None], 1))
    return centre, found * np.where(signs == 0, 1, signs)


def _unit(rows: Floats, axis: int) -> Floats:
    length = np.linalg.norm(rows, axis=axis, keepdims=True)
    return np.asarray(rows / np.maximum(length, 1e-12), np.float32)


def _by_peak(found: Floats) -> Floats:
    return np.asarray(found / (found.max() + _EPSILON), np.float32)
