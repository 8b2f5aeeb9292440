"""Time two formulations of one computation fairly, and weigh what they allocate."""

from __future__ import annotations

import ctypes
import gc
import statistics
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from typing import Any, TypeVar

import psutil

__all__ = ["allocated", "alternate", "numbers", "resident"]

T = TypeVar("T")


def alternate(
    ours: Callable[[], object], reference: Callable[[], object], rounds: int
) -> tuple[float, float]:
    """Return the median seconds of both, run in turn after one unmeasured run of each.

    In turn, so that a processor that slows down in the heat slows both.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for call in (ours, reference):
        call()
    gc.collect()
    for turn in range(max(rounds, 1)):
        # Who goes first changes too: the second finds the caches the first left.
        for side in (0, 1) if turn % 2 == 0 else (1, 0):
            begin = time.perf_counter()
            (ours, reference)[side]()
            times[side].append(time.perf_counter() - begin)
    return statistics.median(times[0]), statistics.median(times[1])


def allocated(call: Callable[[], T]) -> int:
    """Return the most bytes that Python and NumPy held at once during a call, in a run of its own."""
    gc.collect()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def resident(call: Callable[[], T]) -> int:
    """Return by how many bytes the process grew at most during a call, for libraries that allocate alone.

    The size is looked at every 2 ms: what is held for less may be missed.
    """
    process = psutil.Process()
    gc.collect()
    if sys.platform == "linux":
        # Memory that was freed and kept would be taken again without growth.
        getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: 0)(0)
    before = process.memory_info().rss
    most, over = before, threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.002):
            most = max(most, process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        call()
    finally:
        over.set()
        watcher.join()
    return int(max(most, process.memory_info().rss) - before)


def numbers(
    seconds: tuple[float, float], peaks: tuple[int, int], difference: float, **more: Any
) -> dict[str, Any]:
    """Return the object that every speed benchmark prints; pairs are (ours, reference)."""
    return {
        "ratio": seconds[1] / seconds[0],
        "max_difference": difference,
        "seconds": seconds[0],
        "reference_seconds": seconds[1],
        "peak_bytes": peaks[0],
        "reference_peak_bytes": peaks[1],
        **more,
    }
