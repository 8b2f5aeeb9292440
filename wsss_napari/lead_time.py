"""How long a person works on an image: seconds of attention, not of an open window. No Qt."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["IDLE", "LeadTime"]

#: Without a sign of life for this many seconds nobody is taken to be working.
IDLE = 60.0


class LeadTime:
    """Seconds between ticks, while there are signs of life.

    Args:
        clock: Seconds that never go backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self._alive = self._last

    def touch(self) -> None:
        """Note a sign of life: the mouse moved, a key was pressed, something was painted."""
        self._alive = self._clock()

    def tick(self, attentive: bool = True) -> float:
        """Return the seconds of work since the last tick.

        Args:
            attentive: Whether the window was in front; otherwise nothing counts.
        """
        seconds = self.so_far() if attentive else 0.0
        self._last = self._clock()
        return seconds

    def so_far(self) -> float:
        """Return the seconds of work since the last tick, without ticking."""
        # What lies beyond the last sign of life and a minute's thought is a coffee.
        return max(0.0, min(self._clock(), self._alive + IDLE) - self._last)
