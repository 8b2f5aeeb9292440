"""A simulated person who corrects masks with the tools of the Correct page, and what it costs."""

from engine.annotator.costs import ACCEPT, CLASS_SWITCH, COSTS, LOOK, PIXELS_A_SECOND, VERTEX
from engine.annotator.moves import TOOLS, Case
from engine.annotator.person import MOST, Trace, correct

__all__ = [
    "ACCEPT",
    "CLASS_SWITCH",
    "COSTS",
    "LOOK",
    "MOST",
    "PIXELS_A_SECOND",
    "TOOLS",
    "VERTEX",
    "Case",
    "Trace",
    "correct",
]
