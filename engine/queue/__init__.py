"""The order in which images are looked at: what is doubtful first, and why, in words."""

from engine.queue.ranking import FILE, Entry, Ranking, kept_path
from engine.queue.scores import (
    ORDERS,
    Score,
    change,
    disagreement,
    margin,
    random_place,
    tag_faults,
)

__all__ = [
    "FILE",
    "ORDERS",
    "Entry",
    "Ranking",
    "Score",
    "change",
    "disagreement",
    "kept_path",
    "margin",
    "random_place",
    "tag_faults",
]
