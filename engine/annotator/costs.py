"""What an action costs a person, in seconds; stated with every figure that is made from them.

From the literature's clicks and strokes (annotation_formats_safety 7.3); to be calibrated with the
lead times that the Correct page measures.
"""

from __future__ import annotations

__all__ = ["ACCEPT", "CLASS_SWITCH", "COSTS", "LOOK", "PIXELS_A_SECOND", "VERTEX", "stroke"]

COSTS = {
    "clear": 1.5,
    "click": 1.5,
    "brush": 2.0,
    "superpixel": 1.5,
    "fill": 1.5,
    "region": 2.0,
    "threshold": 2.0,
    "whole": 2.0,
    "scribble": 2.0,
    "snap": 2.0,
    "tidy": 1.5,
}
"""Of one action; strokes cost their length besides, polygons a second a vertex."""
VERTEX = 1.0
ACCEPT = 1.0
CLASS_SWITCH = 0.5
LOOK = 0.5
"""Of an action that made things worse and was undone: the key, and the glance that told."""
PIXELS_A_SECOND = 100.0
"""How fast a pen moves along a stroke, on the screen at its own size."""


def stroke(tool: str, length: float) -> float:
    """Return the seconds of a stroke of that many px."""
    return COSTS[tool] + length / PIXELS_A_SECOND
