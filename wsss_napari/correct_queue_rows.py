"""Which images the review queue lists and in which order, how far the review has come, and how long the rest takes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import numpy as np

from engine.queue import random_place
from engine.tags import PRESENT, Tags

__all__ = [
    "DECIDED",
    "EVERY",
    "FILTERS",
    "OPEN",
    "ORDERS",
    "Order",
    "Progress",
    "Ranked",
    "following",
    "ordered",
    "passing",
    "review_progress",
]

#: States in which a person is done with an image, at least for now.
DECIDED = frozenset({"approved", "rejected", "skipped"})
OPEN = "open"
EVERY = "every"

# What the state filter offers -> what it says; the keys behind the first two are states themselves.
FILTERS: dict[str, str] = {
    OPEN: "Still to do",
    EVERY: "Every image",
    "unseen": "Unseen",
    "proposed": "Proposed",
    "in progress": "In progress",
    "needs review": "Needs review",
    "approved": "Approved",
    "rejected": "Rejected",
    "skipped": "Skipped",
    "damaged": "Damaged",
}

# Fewer measured images than this say nothing about the next ones.
_ENOUGH = 3


class Order(NamedTuple):
    """One order of the queue: what the choice says, the longer sentence, and whether it takes a ranking."""

    words: str
    tip: str
    ranked: bool


ORDERS: dict[str, Order] = {
    "margin": Order(
        "Least sure first",
        "By the margin between the best and the second best class, background included; "
        "images without maps come first",
        True,
    ),
    "disagreement": Order(
        "Most disputed first", "By how much several label sets or runs disagree on the image", True
    ),
    "change": Order(
        "Most changed first",
        "By how much two label sets differ, such as those before and after refining",
        True,
    ),
    "tags": Order(
        "Tag mismatches first",
        "Images whose mask lacks a tagged class, or has one that is not tagged",
        True,
    ),
    "class": Order(
        "By class", "Images of the first tagged class, then those of the second; untagged ones first", False
    ),
    "name": Order("By name", "In the order of the project", False),
    "random": Order("At random", "Shuffled, the same way each time", False),
}


class Ranked(NamedTuple):
    """What a ranking says of an image: its score in [0, 1], None where it has none, and why in words."""

    score: float | None
    reason: str


@dataclass(frozen=True)
class Progress:
    """How far a review is.

    Args:
        approved, rejected, skipped, begun: Images in these states; begun are those in progress or needing review.
        total: All images of the project that are in use.
        seconds: Estimate for the images that are still to do; None before enough of them were timed.
    """

    approved: int
    rejected: int
    skipped: int
    begun: int
    total: int
    seconds: float | None

    @property
    def decided(self) -> int:
        """Images a person is done with."""
        return self.approved + self.rejected + self.skipped


def ordered(
    stems: Sequence[str], order: str, ranks: Mapping[str, Ranked], tags: Tags, seed: int = 0
) -> list[str]:
    """Return the images in the order of the queue.

    Args:
        stems: Images in the project's order, which decides ties.
        order: A key of ORDERS.
        ranks: Image -> score; an image without one comes first, for nobody knows how bad it is.
        tags: Tags of the images, by which the order by class goes.
        seed: Of the random order.
    """
    if order == "class":
        return sorted(stems, key=lambda stem: min(tags.present(stem), default=-1))
    if order == "random":
        return sorted(stems, key=lambda stem: -random_place(stem, seed))
    if not ORDERS[order].ranked:
        return list(stems)

    def place(stem: str) -> float:
        found = ranks.get(stem)
        return -2.0 if found is None or found.score is None else -found.score

    return sorted(stems, key=place)


def passing(
    stems: Iterable[str],
    states: Mapping[str, str],
    tags: Tags,
    *,
    state: str = OPEN,
    cls: int | None = None,
    text: str = "",
) -> list[str]:
    """Return the images that pass the filters, in the order given.

    Args:
        stems: Images.
        states: Review state of each.
        tags: Tags of all images.
        state: A key of FILTERS.
        cls: 0-based class that the image is tagged with, or None for any image.
        text: Part of the name, in any case.
    """
    found = [stem for stem in stems if _passes(states[stem], state)]
    if cls is not None:
        tagged = {tags.stems[row] for row in np.flatnonzero(tags.states[:, cls] == PRESENT)}
        found = [stem for stem in found if stem in tagged]
    wanted = text.strip().casefold()
    return [stem for stem in found if wanted in stem.casefold()] if wanted else found


def _passes(have: str, wanted: str) -> bool:
    if wanted == OPEN:
        return have not in DECIDED
    return wanted in (EVERY, have)


def following(
    rows: Sequence[str],
    states: Mapping[str, str],
    current: str | None,
    *,
    by: int = 1,
    state: str = OPEN,
) -> str | None:
    """Return the image that comes next in the queue, or before; None when there is none.

    Next is the next row that passes the state filter still: what was decided since the list was
    made is passed over, and what was left behind higher up comes round again.

    Args:
        rows: Images of the queue, in order.
        states: Review state of each.
        current: Image in front; the search begins beside it, or at the end that it comes from.
        by: 1 for the next, -1 for the one before, whatever its state: going back shows what was just done.
        state: The state filter, a key of FILTERS.
    """
    if by < 0:
        at = rows.index(current) if current in rows else len(rows)
        return rows[at - 1] if at > 0 else None
    at = rows.index(current) if current in rows else -1
    around = list(rows[at + 1 :])
    if state != EVERY and state not in DECIDED:
        around += rows[: max(at, 0)]
    return next((stem for stem in around if _passes(states[stem], state)), None)


def review_progress(
    states: Mapping[str, str], seconds: Mapping[str, float], stems: Collection[str]
) -> Progress:
    """Count the states and estimate the time left from the median lead time of what is decided.

    The median, because one image that lay open over lunch says nothing about the others. What was
    spent on images in progress is taken off, up to what an image takes.

    Args:
        states: Review state of each image.
        seconds: Lead time of the images that were worked on.
        stems: All images in use.
    """
    have = [states[stem] for stem in stems]
    timed = [seconds[s] for s in stems if states[s] in ("approved", "rejected") and seconds.get(s, 0) > 0]
    left = None
    if len(timed) >= _ENOUGH:
        usual = median(timed)
        left = sum(max(0.0, usual - seconds.get(s, 0.0)) for s in stems if states[s] not in DECIDED)
    return Progress(
        approved=have.count("approved"),
        rejected=have.count("rejected"),
        skipped=have.count("skipped"),
        begun=have.count("in progress") + have.count("needs review"),
        total=len(have),
        seconds=left,
    )
