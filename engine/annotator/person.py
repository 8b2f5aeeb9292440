"""The simulated person: looks for the worst error of a class, mends it, and goes on until it is good.

It is optimistic, as all such robots are (arXiv 2404.01816): it knows the truth, and the greedy one
knows beforehand which tool helps most. Jittered runs, the price of actions that were undone, and the
pixels that were right and were destroyed tell how much of that is luck.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from engine.annotator.aim import Aim, next_aim
from engine.annotator.costs import ACCEPT, CLASS_SWITCH, COSTS, LOOK
from engine.annotator.moves import Case, Move, moves
from engine.tools import EMPTY, Click

__all__ = ["MOST", "Trace", "correct"]

_CHEAPEST = min(COSTS.values())
# IoU of a start that a person thinks of giving up.
_HOPELESS = 0.5

MOST = 20
"""Actions after which a person gives up: published counts of clicks stop there."""


@dataclass(eq=False)
class Trace:
    """What correcting one class of one image took.

    Attributes:
        seconds: [n + 1] since the image appeared, the first when the person had not acted.
        iou: [n + 1] of the class, in [0, 1], at these times.
        tools: What was done and kept.
        undone: Actions that did nothing or harm and were taken back.
        destroyed: Pixels that were right at the start and are wrong at the end.
        changed: Pixels that differ between start and end.
        pixels: Of the image.
    """

    seconds: list[float]
    iou: list[float]
    tools: list[str] = field(default_factory=list)
    undone: int = 0
    destroyed: int = 0
    changed: int = 0
    pixels: int = 1

    def reach(self, target: float) -> tuple[float, bool]:
        """Return the seconds until the class was good enough and accepted, and whether it ever was."""
        for seconds, iou in zip(self.seconds, self.iou, strict=True):
            if iou >= target:
                return seconds + ACCEPT, True
        return self.seconds[-1] + ACCEPT, False

    def area(self, budget: float) -> float:
        """Return the mean IoU over the first seconds, in [0, 1]: the area under the curve of steps."""
        ends = [min(s, budget) for s in (*self.seconds[1:], budget)]
        starts = [min(s, budget) for s in self.seconds]
        starts[0] = 0.0
        return sum((e - s) * iou for s, e, iou in zip(starts, ends, self.iou, strict=True)) / budget


def correct(
    case: Case,
    tools: Sequence[str],
    *,
    until: float = 0.90,
    most: int = MOST,
    jitter: float = 0.0,
    seed: int = 0,
) -> Trace:
    """Correct one class of an image with some tools.

    Of all that the tools can do at a place, what gains most IoU a second is taken, or what ends the work at once
    where that is no dearer than an action more. A class of which less than half is right may be cleared first, by
    one action, and where the engine's maps mislead the person may do without them and other labels: of these ways
    the cheapest counts.

    Args:
        case: What.
        tools: Some of `moves.TOOLS`.
        until: IoU at which the person stops.
        most: Actions at most, undone ones among them.
        jitter: Standard deviation of the hand, px; 0 hits the pixel meant.
        seed: Of the jitter.
    """
    pixels = case.start.size
    case = case.window()
    hopeless = "tidy" in tools and _Counts(case.start, case.truth, case.value).iou < _HOPELESS
    clear = (False, True) if hopeless and (case.start == case.value).any() else (False,)
    given = [case]
    if case.scores is not None or case.others is not None:
        given.append(replace(case, scores=None, others=None))
    ways = [_mend(c, tools, until, most, jitter, seed, over=over) for c in given for over in clear]
    found = min(ways, key=lambda t: (not t.reach(until)[1], t.reach(until)[0]))
    found.pixels = pixels
    return found


def _mend(
    case: Case, tools: Sequence[str], until: float, most: int, jitter: float, seed: int, *, over: bool
) -> Trace:
    """Act until the class is good; with `over` its pixels are cleared first."""
    mask, truth = case.start.copy(), case.truth
    hand = np.random.default_rng(_seed(seed, case))
    visited = np.zeros(mask.shape, bool)
    clicks: list[Click] = []
    counts = _Counts(mask, truth, case.value)
    trace = Trace([0.0], [counts.iou])
    seconds = CLASS_SWITCH
    if over:
        mask[mask == case.value] = 0
        counts = _Counts(mask, truth, case.value)
        seconds += COSTS["clear"]
        trace.tools.append("clear")
        trace.seconds.append(seconds)
        trace.iou.append(counts.iou)
    for _ in range(most - over):
        if counts.iou >= until:
            break
        aim = next_aim(mask, truth, case.value, visited, hand.normal(0, jitter, 2) if jitter else np.zeros(2))
        if aim is None:
            break
        visited[aim.point] = True
        best = _best(case, mask, aim, clicks, tools, counts, until)
        if best is None or best[1].iou <= counts.iou:
            # What does nothing here, or harm, has been tried nevertheless, and is not tried again here.
            visited |= aim.region
            seconds += LOOK if best is None else best[0].cost + LOOK
            trace.undone += 1
        else:
            move, after = best
            y0, x0, y1, x1 = move.box
            mask[y0:y1, x0:x1] = move.after
            counts = after
            seconds += move.cost
            if move.tool == "click":
                clicks.append(Click(*aim.point, aim.positive))
            trace.tools.append(move.tool)
        trace.seconds.append(seconds)
        trace.iou.append(counts.iou)
    right = (case.start == case.value) == (truth == case.value)
    wrong = (mask == case.value) != (truth == case.value)
    trace.destroyed = int((right & wrong & (truth != 255)).sum())
    trace.changed = int((mask != case.start).sum())
    return trace


class _Counts:
    """Intersection and union of a class; a move changes them by what it does in its box."""

    def __init__(self, mask: NDArray[np.uint8], truth: NDArray[np.uint8], value: int) -> None:
        self._truth, self._value = truth, value
        self.both, self.either = self._of(mask, truth)

    @property
    def iou(self) -> float:
        return self.both / self.either if self.either else 1.0

    def after(self, mask: NDArray[np.uint8], move: Move) -> _Counts:
        """Return what they would be after a move."""
        y0, x0, y1, x1 = move.box
        truth = self._truth[y0:y1, x0:x1]
        was, now = self._of(mask[y0:y1, x0:x1], truth), self._of(move.after, truth)
        found = object.__new__(_Counts)
        found._truth, found._value = self._truth, self._value
        found.both, found.either = self.both + now[0] - was[0], self.either + now[1] - was[1]
        return found

    def _of(self, mask: NDArray[np.uint8], truth: NDArray[np.uint8]) -> tuple[int, int]:
        has, wanted = (mask == self._value) & (truth != 255), truth == self._value
        return int((has & wanted).sum()), int((has | wanted).sum())


def _best(
    case: Case,
    mask: NDArray[np.uint8],
    aim: Aim,
    clicks: list[Click],
    tools: Sequence[str],
    counts: _Counts,
    until: float,
) -> tuple[Move, _Counts] | None:
    """Return the move that gains most IoU a second, or None where no tool does anything.

    A move that ends the work is taken instead when it costs no more than that one and one more,
    which would have to follow.
    """
    fast: tuple[Move, _Counts] | None = None
    last: tuple[Move, _Counts] | None = None
    most = -np.inf
    for tool in tools:
        for move in moves(tool, case, mask, aim, clicks):
            if move.box == EMPTY:
                continue
            after = counts.after(mask, move)
            gain = (after.iou - counts.iou) / move.cost
            if gain > most:
                fast, most = (move, after), gain
            if after.iou >= until and (last is None or move.cost < last[0].cost):
                last = move, after
    if fast is not None and last is not None and last[0].cost <= fast[0].cost + _CHEAPEST:
        return last
    return fast


def _seed(seed: int, case: Case) -> int:
    text = f"{seed}\0{case.stem}\0{case.value}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")
