"""How long a person works on an image: seconds between what they do, not of an open window. No Qt."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["IDLE", "LeadTime"]

#: Without anything done for this many seconds nobody is taken to be working.
IDLE = 60.0


class LeadTime:
    """Seconds of work: from what a person does to what they do next, and a minute's thought after the last.

    Args:
        clock: Seconds that never go backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self._until = self._last + IDLE
        self._before = 0.0

    def touch(self) -> None:
        """Note that the person did something: moved the mouse, pressed a key, painted."""
        now = self._clock()
        if now > self._until:
            # What lies beyond the last deed and a minute's thought was a coffee; it ends here.
            self._before, self._last = self.so_far(), now
        self._until = now + IDLE

    def leave(self) -> None:
        """Note that the person turned to something else: nothing counts until they do something here."""
        self._before = self.so_far()
        self._last = self._until = self._clock()

    def tick(self) -> float:
        """Return the seconds of work since the last tick."""
        seconds = self.so_far()
        self._before, self._last = 0.0, self._clock()
        return seconds

    def so_far(self) -> float:
        """Return the seconds of work since the last tick, without ticking."""
        return self._before + max(0.0, min(self._clock(), self._until) - self._last)
