"""Corrections of pseudo-labels: a journal of every step, masks that follow it, nothing ever lost.

with EditRoom.open(project) as room:
    sheet = room.load(stem, ("crf", labels.read(stem)))
    room.commit(sheet, "Brush: cat", "brush", (y0, x0, y1, x1), after)
    room.set_state(stem, "approved")
masks = corrected(project)
"""

from engine.edits.corrected import Corrected, corrected
from engine.edits.journal import JournalDamaged
from engine.edits.loading import OtherPixels
from engine.edits.room import EditRoom
from engine.edits.sheet import STATES, Box, Event, Sheet, Step

__all__ = [
    "STATES",
    "Box",
    "Corrected",
    "EditRoom",
    "Event",
    "JournalDamaged",
    "OtherPixels",
    "Sheet",
    "Step",
    "corrected",
]
