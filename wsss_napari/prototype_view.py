"""What the Prototypes page knows of one class in the image in front: one cached pass, the bank, a person's changes.

No Qt and no network: every slider, every prototype that is switched off and every row that is evicted is
arithmetic on what `wsss prototypes` kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.passage import Choice, Passage, others_likeness, pass_through, plane, shift_of
from engine.results import PrototypeBank, PrototypeView
from wsss_napari.prototype_bank import Hand, thinned, unit

__all__ = [
    "BankMap",
    "Near",
    "Neighbour",
    "Peak",
    "PrototypeScene",
]

Floats = NDArray[np.float32]
_EPSILON = 1e-5


@dataclass(frozen=True)
class Neighbour:
    """One prototype in the gallery.

    Attributes:
        prototype: Its number in the class.
        cosine: To the shifted instance prototype, in [-1, 1]; NaN while it is off.
        similar: s_i of Claim 1, the softmax of the products with the instance over the neighbours; NaN while off.
        weight: w_i / sum w, in [0, 1]; NaN while off.
        rows: Rows of the bank it was made of and that are still there, likest first.
        off: Whether a person switched it off.
    """

    prototype: int
    cosine: float
    similar: float
    weight: float
    rows: tuple[int, ...]
    off: bool = False


@dataclass(frozen=True)
class Peak:
    """Where a neighbour's map is highest.

    Attributes:
        prototype: Its number in the class.
        y, x: Pixel of the upright image, in the middle of the cell.
        height: Cosine of that cell to the neighbour, in [-1, 1].
        weight: w_i / sum w, in [0, 1].
        cosine: Of the neighbour to the shifted instance prototype, in [-1, 1].
        size: Rows in its cluster.
        epoch: 0-based epoch that made it.
    """

    prototype: int
    y: float
    x: float
    height: float
    weight: float
    cosine: float
    size: int
    epoch: int


@dataclass(frozen=True)
class Near:
    """A prototype that is alike to a cell: its class, its number there, the cosine in [-1, 1]."""

    cls: int
    prototype: int
    cosine: float


@dataclass(frozen=True, eq=False)
class BankMap:
    """A class's bank in the plane in which its rows differ most; all of it directions, as only cosines count.

    Attributes:
        rows: [M, 2] float32.
        prototypes: [N, 2] float32.
        before, after: [2] float32, the instance prototype before and after the shift; None without a passage.
    """

    rows: Floats
    prototypes: Floats
    before: Floats | None
    after: Floats | None


class PrototypeScene:
    """One class of one image, as the sliders and a person's hand have it now.

    Args:
        view: One pass over the image.
        bank: Of the run that made it.
        cls: 0-based project class.
        choice: What the sliders say; `off` and `evicted` come from the hand.
        hand: What was done to the class's bank.
        alpha: Score from which a row counts; rows under it take no part.
        painted: [h, w] bool, a person's seed in place of the map's.

    Attributes:
        lit: The prototype whose map the stage of the neighbours shows; None for the likest.
    """

    def __init__(
        self,
        view: PrototypeView,
        bank: PrototypeBank,
        cls: int,
        choice: Choice,
        hand: Hand | None = None,
        *,
        alpha: float = 0.0,
        painted: NDArray[np.bool_] | None = None,
    ) -> None:
        self.view, self.bank, self.cls = view, bank, cls
        self.choice, self.alpha, self.painted = choice, alpha, painted
        self.hand = hand if hand is not None else Hand()
        self.lit: int | None = None
        self._thin: tuple[tuple[int, ...], PrototypeBank, frozenset[int]] | None = None
        self._passage: Passage | None = None
        self.refresh()

    @property
    def known(self) -> bool:
        """Whether the run was trained with this class; one that was added since has no bank."""
        return self.cls < len(self.bank.count)

    @property
    def has_prototypes(self) -> bool:
        """Whether the class left prototypes behind that the maps are drawn from."""
        return self.known and int(self.bank.count[self.cls]) > 0 and not self.choice.without

    @property
    def passage(self) -> Passage | None:
        """The steps as they are now; None where nothing seeds the class."""
        return self._passage

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the cells."""
        _, h, w = self.view.features.shape
        return h, w

    def refresh(self) -> None:
        """Reckon the steps anew, after the choice, the hand, alpha or the seed changed."""
        if not self.known:
            self._passage = None
            return
        out = self._left_out()
        bank, lost = self._thinned(out)
        choice = replace(self.choice, off=frozenset(self.hand.off) | lost, evicted=frozenset(out))
        self._passage = pass_through(self.view, bank, self.cls, choice, self.painted)

    def cam(self) -> Floats:
        """Return the classifier's own map of the class, [h, w] float32 in [0, 1]; zeros where it drew none."""
        if self.cls not in self.view.classes:
            return np.zeros(self.grid, np.float32)
        return np.asarray(self.view.maps[self.view.classes.index(self.cls)], np.float32)

    def stage(self, key: str) -> NDArray[Any] | None:
        """Return what a stage shows, [h, w]: `seed` uint8 in {0, 1}, else float32; None where it has nothing.

        `difference` is PACAM - M in [-1, 1]: its size is what the self-supervised loss averages (eq. 14).
        """
        if key == "cam":
            return self.cam() if self.cls in self.view.classes else None
        found = self._passage
        if found is None:
            return None
        match key:
            case "seed":
                return np.asarray(found.seed, np.uint8)
            case "instance":
                return found.likeness
            case "pacam":
                return found.aware
            case "difference":
                return found.aware - self.cam()
        if not len(found.order):
            return None
        if key == "shift":
            return self._shifted(found)
        if key == "neighbours":
            return np.asarray(found.each[self.place()], np.float32)
        if self.choice.draw == "max_cos":
            share = found.weights / found.weights.max()
            return np.asarray((found.each * share[:, None, None]).max(0), np.float32)
        return np.asarray(np.tensordot(found.weights, found.each, 1), np.float32)

    def by_weight(self) -> list[int]:
        """Return the places of the neighbours in `passage.order`, the heaviest first."""
        return [] if self._passage is None else np.argsort(-self._passage.weights, kind="stable").tolist()

    def peaks(self) -> list[Peak]:
        """Return where each neighbour's map is highest, the heaviest neighbour first."""
        found, made = self._passage, []
        for at in self.by_weight():
            assert found is not None
            row, column = divmod(int(found.each[at].argmax()), self.grid[1])
            prototype = int(found.order[at])
            made.append(
                Peak(
                    prototype,
                    self.view.origin + self.view.cell * row,
                    self.view.origin + self.view.cell * column,
                    float(found.each[at, row, column]),
                    float(found.weights[at]),
                    float(found.similar[at]),
                    len(self.rows_of(prototype)),
                    self.epoch,
                )
            )
        return made

    @property
    def epoch(self) -> int:
        """The 0-based epoch that made the prototypes of the class; -1 where there are none."""
        return int(self.bank.epoch[self.cls]) if self.known else -1

    def clusters(self) -> list[int]:
        """Return the prototypes of the class, the one with the most rows first."""
        count = int(self.bank.count[self.cls]) if self.known else 0
        return sorted(range(count), key=lambda n: (-len(self.rows_of(n)), n))

    def place(self) -> int:
        """Return where the lit prototype stands among the neighbours; 0 when it is none of them."""
        found = self._passage
        if found is None or self.lit is None:
            return 0
        return next(iter(np.flatnonzero(found.order == self.lit).tolist()), 0)

    def line(self, key: str) -> str:
        """Return what a stage found, in words and numbers."""
        if key == "cam":
            if self.cls not in self.view.classes:
                return "Nothing drew a map of the class here."
            half = float((self.cam() > 0.5).mean())
            return (
                f"Over half its peak: {half:.0%} of the image; score {float(self.view.scores[self.cls]):.2f}"
            )
        found = self._passage
        if found is None:
            return ""
        match key:
            case "seed":
                where = (
                    "painted" if self.painted is not None else f"over {self.choice.tau:.2f} of the map's peak"
                )
                return f"{int(found.seed.sum())} of {found.seed.size} cells {where}"
            case "instance":
                return f"Mean of {int(found.seed.sum())} embeddings of {len(found.own)} numbers each"
            case "pacam":
                aware, plain = float((found.aware > 0.5).mean()), float((self.cam() > 0.5).mean())
                return f"Over half its peak: {aware:.0%} of the image; the class map: {plain:.0%}"
            case "difference":
                apart = found.aware - self.cam()
                more, less = float((apart > 0.25).mean()), float((apart < -0.25).mean())
                return (
                    f"Mean |CAM − PACAM| {float(np.abs(apart).mean()):.3f}; PACAM is higher by over 0.25 in {more:.0%} "
                    f"of the image, the class map in {less:.0%}"
                )
        if not len(found.order):
            return "No prototype of the class takes part: the image's own draws the map."
        if key == "shift":
            share = float(np.linalg.norm(found.shift) / max(float(np.linalg.norm(found.own)), _EPSILON))
            turn = float(unit(found.own) @ unit(found.own + found.shift))
            return f"|delta| is {share:.0%} of |P|; cosine of P before to after {turn:.3f}"
        if key == "neighbours":
            at = self.place()
            span = f"{found.similar[0]:.2f} to {found.similar[-1]:.2f}"
            lit = f"shown: prototype {found.order[at]} ({found.similar[at]:.2f}), weight {found.weights[at]:.2f}"
            return f"{len(found.order)} of {int(self.bank.count[self.cls])} prototypes, cosine {span}; {lit}"
        spread = float(np.exp(-(found.weights * np.log(np.maximum(found.weights, 1e-12))).sum()))
        return f"Largest weight {found.weights.max():.2f} (prototype {found.order[found.weights.argmax()]}); as many as {spread:.1f} of equal weight"

    def neighbours(self) -> list[Neighbour]:
        """Return the neighbours, likest first, then the prototypes that are switched off."""
        found = self._passage
        listed: list[Neighbour] = []
        if found is not None and len(found.order):
            # P . p_i: the products of Claim 1, in which P keeps its length.
            logits = found.similar * float(np.linalg.norm(found.own + found.shift))
            similar = np.exp(logits - logits.max())
            similar = similar / similar.sum()
            for n, cosine, s, w in zip(
                found.order.tolist(), found.similar, similar, found.weights, strict=True
            ):
                listed.append(Neighbour(n, float(cosine), float(s), float(w), self.rows_of(n)))
        nothing = float("nan")
        return listed + [
            Neighbour(n, nothing, nothing, nothing, self.rows_of(n), off=True) for n in sorted(self.hand.off)
        ]

    def rows_of(self, prototype: int) -> tuple[int, ...]:
        """Return the rows that a prototype was made of and that are still in the bank, likest first."""
        return self._members.get(prototype, ())

    def gallery(self, prototype: int) -> list[int]:
        """Return the rows to show of a prototype: pinned ones of the class, its own, those evicted at the end."""
        own = [r for r in self.rows_of(prototype) if r not in self.hand.pinned]
        gone = [r for r in own if r in self.hand.evicted]
        return [*self.hand.pinned, *(r for r in own if r not in self.hand.evicted), *gone]

    def nearest(self, y: float, x: float, most: int = 6) -> list[Near]:
        """Return the prototypes of all classes that are likest to the cell under a pixel, likest first.

        Each class compares the cell as its own map does: shifted by its own delta.

        Args:
            y, x: Pixel of the upright image.
            most: At most so many.
        """
        cell = self.cell_at(y, x)
        if cell is None:
            return []
        z = self.view.features[:, cell[0], cell[1]]  # [D]
        bank = self.bank if self._thin is None else self._thin[1]
        found = []
        for cls, count in enumerate(bank.count.tolist()):
            if count:
                cosines = unit(bank.prototypes[cls, :count]) @ unit(z + self._delta(cls))
                found += [Near(cls, n, float(c)) for n, c in enumerate(cosines)]
        return sorted(found, key=lambda near: -near.cosine)[:most]

    def cell_at(self, y: float, x: float) -> tuple[int, int] | None:
        """Return the cell whose centre is nearest to a pixel, or None outside of the image."""
        if not (0 <= y < self.view.size[0] and 0 <= x < self.view.size[1]):
            return None
        h, w = self.grid
        row, column = ((v - self.view.origin) / self.view.cell for v in (y, x))
        return min(max(round(row), 0), h - 1), min(max(round(column), 0), w - 1)

    def others(self) -> Floats:
        """Return how alike the instance is to the likest prototype of every class, [C] float32, NaN without any."""
        if self._passage is None:
            return np.full(len(self.bank.count), np.nan, np.float32)
        return others_likeness(self._passage, self.bank if self._thin is None else self._thin[1])

    def passed(self) -> tuple[int, int]:
        """Return how many rows of the class are over alpha, and how many there are."""
        scores = self.scores()
        return int((scores > self.alpha).sum()), len(scores)

    def scores(self) -> Floats:
        """Return the score with which each row came in, [M] float32 in [0, 1]."""
        return (
            self.bank.scores[self.cls, : int(self.bank.filled[self.cls])]
            if self.known
            else np.zeros(0, np.float32)
        )

    def ages(self) -> NDArray[np.int64]:
        """Return how many steps before the bank's newest row each row came in, [M] int64."""
        return self._ages

    def gate_rate(self) -> float | None:
        """Return how many rows over alpha came in per step, over the steps that the bank's rows span; None without rows."""
        ages = self.ages()
        return self.passed()[0] / (int(ages.max()) + 1) if len(ages) else None

    def map(self) -> BankMap:
        """Return where rows, prototypes and the instance lie in the plane of the class's bank."""
        if self._plane is None:
            empty = np.zeros((0, 2), np.float32)
            return BankMap(empty, empty, None, None)
        centre, across, rows = self._plane
        bank = self.bank if self._thin is None else self._thin[1]

        def put(vectors: Floats) -> Floats:
            return np.asarray((unit(vectors) - centre) @ across.T, np.float32)

        found = self._passage
        return BankMap(
            rows,
            put(bank.prototypes[self.cls, : int(bank.count[self.cls])]),
            None if found is None else put(found.own),
            None if found is None else put(found.own + found.shift),
        )

    @cached_property
    def _ages(self) -> NDArray[np.int64]:
        if not self.known:
            return np.zeros(0, np.int64)
        newest = max(
            (int(steps[:n].max()) for steps, n in zip(self.bank.steps, self.bank.filled, strict=True) if n),
            default=0,
        )
        return newest - self.bank.steps[self.cls, : int(self.bank.filled[self.cls])].astype(np.int64)

    @cached_property
    def _plane(self) -> tuple[Floats, Floats, Floats] | None:
        if not self.known or not self.bank.filled[self.cls]:
            return None
        rows = unit(self.bank.rows[self.cls, : int(self.bank.filled[self.cls])].astype(np.float32))
        centre, across = plane(rows)
        return centre, across, np.asarray((rows - centre) @ across.T, np.float32)

    @cached_property
    def _members(self) -> dict[int, tuple[int, ...]]:
        if not self.known:
            return {}
        filled = int(self.bank.filled[self.cls])
        member = self.bank.member[self.cls, :filled]
        rows = unit(self.bank.rows[self.cls, :filled].astype(np.float32))  # [M, D]
        found = {}
        for n in range(int(self.bank.count[self.cls])):
            own = np.flatnonzero(member == n)
            alike = rows[own] @ unit(self.bank.prototypes[self.cls, n])
            found[n] = tuple(own[np.argsort(-alike, kind="stable")].tolist())
        return found

    def _left_out(self) -> tuple[int, ...]:
        under = np.flatnonzero(self.scores() <= self.alpha).tolist() if self.alpha > 0 else ()
        return tuple(sorted({*under, *self.hand.evicted}))

    def _thinned(self, out: tuple[int, ...]) -> tuple[PrototypeBank, frozenset[int]]:
        if self._thin is None or self._thin[0] != out:
            self._thin = (out, *thinned(self.bank, self.cls, out))
        return self._thin[1:]

    def _delta(self, cls: int) -> Floats:
        """Return the shift of a class as the slider has it, [D] float32."""
        return shift_of(self.bank, cls, self.choice.shift, self._left_out() if cls == self.cls else ())

    def _shifted(self, found: Passage) -> Floats:
        """Return the cosine of each shifted cell to the shifted instance, [h, w] float32 in [-1, 1]."""
        cells = self.view.features.reshape(len(found.own), -1)  # [D, h*w]
        towards = unit(found.own + found.shift)
        squares = np.einsum("dn,dn->n", cells, cells) + 2 * (found.shift @ cells) + found.shift @ found.shift
        along = towards @ cells + towards @ found.shift
        return np.asarray((along / np.sqrt(np.maximum(squares, _EPSILON**2))).reshape(self.grid), np.float32)
