"""A run's support bank as the window uses it: read once, thinned by a person's hand. No Qt."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.passage import Choice
from engine.results import PrototypeBank, PrototypeView
from engine.store import Project, Run

__all__ = ["VIEWS", "Hand", "Shelf", "choice_of", "thinned", "unit"]

#: Views that the job `Prototypes` writes into.
VIEWS = "default"
Floats = NDArray[np.float32]


@dataclass
class Hand:
    """What a person did to the bank of one class; it holds for every image of the run.

    Attributes:
        off: Prototypes that take no part.
        evicted: Rows that take no part.
        pinned: Rows that come first in the gallery, in the order they were pinned.
    """

    off: set[int] = field(default_factory=set)
    evicted: set[int] = field(default_factory=set)
    pinned: list[int] = field(default_factory=list)


def choice_of(params: Mapping[str, Any]) -> Choice:
    """Return the choice with which a run of `cpal` draws its own maps.

    Args:
        params: Its parameters, as run.json holds them; what is missing is the default.
    """
    plain = Choice()
    return Choice(
        tau=float(params.get("tau", plain.tau)),
        neighbours=int(params.get("neighbours", plain.neighbours)),
        temperature=float(params.get("temperature", plain.temperature)),
        positiveness=bool(params.get("positiveness", plain.positiveness)),
        shift=0.0 if params.get("shift") == "off" else 1.0,
        draw=params.get("draw", plain.draw),
        without=params.get("bank", "context") != "context",
    )


def thinned(bank: PrototypeBank, cls: int, out: Collection[int]) -> tuple[PrototypeBank, frozenset[int]]:
    """Return the bank without some rows of a class, and the prototypes that lost all of theirs.

    A prototype that had one of them becomes the mean direction of the rows of it that are left. Rows that
    were overwritten since the clusters were made cannot be counted any more.
    """
    if not out:
        return bank, frozenset()
    filled = int(bank.filled[cls])
    member = bank.member[cls, :filled]
    kept = np.ones(filled, bool)
    kept[[i for i in out if i < filled]] = False
    prototypes = bank.prototypes.copy()
    lost = set()
    for n in np.unique(member[~kept]).tolist():
        if n < 0:
            continue
        left = bank.rows[cls, :filled][kept & (member == n)].astype(np.float32)  # [M, D]
        if len(left):
            prototypes[cls, n] = unit(unit(left).sum(0))
        else:
            lost.add(n)
    return replace(bank, prototypes=prototypes), frozenset(lost)


class Shelf:
    """Reads banks and views, and keeps the last bank: it is the same for all images of a run."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._bank: PrototypeBank | None = None

    def bank(self, run: Run) -> PrototypeBank:
        """Return the bank of a run.

        Raises:
            FileNotFoundError: It has no weights.
            UserError: They hold no bank.
        """
        facts = run.weights.stat()
        key = (run.weights, facts.st_mtime_ns, facts.st_size)
        if self._bank is None or key != self._key:
            self._bank = PrototypeBank.load(run.weights)
            self._key = key
        return self._bank

    def view(self, project: Project, run: Run, image: str) -> PrototypeView:
        """Return the pass over an image that fits the run's weights and the image as they are now.

        Raises:
            FileNotFoundError: There is none, or the weights or the image changed since.
            UserError: The file is damaged.
        """
        path = run.views(VIEWS).path(image, PrototypeView.KIND)
        view = PrototypeView.load(path)
        facts = project.image(image)
        bank = self.bank(run)
        stale = path.stat().st_mtime_ns < run.weights.stat().st_mtime_ns
        fits = view.features.shape[0] == bank.rows.shape[2] and view.size == (facts.height, facts.width)
        if stale or not fits or view.image != image:
            raise FileNotFoundError(path)
        return view


def unit(vectors: NDArray[Any]) -> Floats:
    """Return vectors [..., D] with length 1."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), np.float32)
