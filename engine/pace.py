"""How long the rest takes, from how long the work so far took."""

from __future__ import annotations

import time

__all__ = ["Pace"]


class Pace:
    """Time left of work that comes in pieces of about the same size."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.began = time.monotonic()

    def left(self, done: int) -> float | None:
        """Return the seconds left after `done` pieces, or None before the first."""
        if done <= 0:
            return None
        return (time.monotonic() - self.began) / done * (self.total - done)
