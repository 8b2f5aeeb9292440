"""Image tags with three states: what is on a picture, what is not, and what nobody has said."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError, nearest
from engine.names import check_class_names

__all__ = ["ABSENT", "PRESENT", "UNKNOWN", "Counts", "Tags", "check_class_names"]

PRESENT, ABSENT, UNKNOWN = 1, 0, -1


class Counts(NamedTuple):
    """How many images have a class, have it not, and are undecided."""

    present: int
    absent: int
    unknown: int


@dataclass(frozen=True, eq=False)
class Tags:
    """The states of every class on every image.

    Args:
        classes: Class names; class i is index i + 1 in masks.
        stems: Image stems, one per row.
        states: `[N, C] int8 in {-1, 0, 1}` (unknown, absent, present). Unknown gives no gradient.

    Raises:
        ValueError: Names that repeat, another shape, or a state that is none of the three.
    """

    classes: tuple[str, ...]
    stems: tuple[str, ...]
    states: NDArray[np.int8]

    def __post_init__(self) -> None:
        states = np.array(self.states, dtype=np.int8)  # a copy: nobody else may write into it
        if states.shape != (len(self.stems), len(self.classes)):
            raise ValueError(f"{states.shape} states for {(len(self.stems), len(self.classes))}")
        if len(set(self.stems)) != len(self.stems) or len(set(self.classes)) != len(self.classes):
            raise ValueError("stems and classes are there once each")
        if not ((states >= UNKNOWN) & (states <= PRESENT)).all():
            raise ValueError("states are -1, 0 or 1")
        states.setflags(write=False)
        object.__setattr__(self, "states", states)

    @classmethod
    def blank(cls, classes: Iterable[str], stems: Iterable[str]) -> Tags:
        """Return tags of which nothing is known yet."""
        names, rows = tuple(classes), tuple(stems)
        return cls(names, rows, np.full((len(rows), len(names)), UNKNOWN, np.int8))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tags):
            return NotImplemented
        same = self.classes == other.classes and self.stems == other.stems
        return same and np.array_equal(self.states, other.states)

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self.stems)

    def row(self, stem: str) -> NDArray[np.int8]:
        """Return the states of one image, `[C] int8`, read-only."""
        row: NDArray[np.int8] = self.states[self._row(stem)]
        return row

    def present(self, stem: str) -> tuple[int, ...]:
        """Return the 0-based indexes of the classes that are on the image."""
        return tuple(int(c) for c in np.flatnonzero(self.row(stem) == PRESENT))

    @property
    def untagged(self) -> tuple[str, ...]:
        """The images of which every class is unknown."""
        blank = (self.states == UNKNOWN).all(axis=1)
        return tuple(s for s, b in zip(self.stems, blank, strict=True) if b)

    def counts(self) -> tuple[Counts, ...]:
        """Return the number of images per state, for each class in order."""
        per_state = [(self.states == state).sum(axis=0).tolist() for state in (PRESENT, ABSENT, UNKNOWN)]
        return tuple(Counts(*numbers) for numbers in zip(*per_state, strict=True))

    def with_state(self, stem: str, cls: str, state: int) -> Tags:
        """Return the tags with one state changed."""
        states = self.states.copy()
        states[self._row(stem), self._column(cls)] = state
        return Tags(self.classes, self.stems, states)

    def subset(self, stems: Iterable[str]) -> Tags:
        """Return the tags of some images, in the order given."""
        rows = tuple(stems)
        return Tags(self.classes, rows, self.states[[self._row(s) for s in rows]])

    @functools.cached_property
    def _rows(self) -> dict[str, int]:
        return {stem: i for i, stem in enumerate(self.stems)}

    def _row(self, stem: str) -> int:
        if stem not in self._rows:
            raise UserError(
                f"There is no image '{stem}' among the tags.",
                f"They name {len(self.stems):,} images.",
                nearest(stem, self.stems),
            )
        return self._rows[stem]

    def _column(self, cls: str) -> int:
        if cls not in self.classes:
            known = f"Classes: {', '.join(self.classes)}."
            raise UserError(f"There is no class '{cls}'.", known, nearest(cls, self.classes))
        return self.classes.index(cls)
