"""What the edit room hands out: the sheet of an image, its steps, and what was said of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["STATES", "Box", "Event", "Mask", "Sheet", "Step"]

Mask: TypeAlias = NDArray[np.uint8]
Box: TypeAlias = tuple[int, int, int, int]

STATES = (
    "unseen",
    "proposed",
    "in progress",
    "needs review",
    "approved",
    "rejected",
    "skipped",
    "damaged",
)


@dataclass(frozen=True)
class Step:
    """One thing that a person did to a mask.

    Attributes:
        id: Number of the step; later steps have higher ones.
        stem: The image.
        parent: The step it was done after; None at the very start.
        name: What people read in the history.
        tool: Which tool did it ("brush", "revert", "adopt", …).
        params: The tool's settings, as JSON holds them.
        box: y0, x0, y1, x1 in px, half open: the smallest box around the changed pixels.
        pixels: How many pixels changed.
        who: Who did it.
        when: Unix time in s; never used for order, as clocks go backwards.
        batch: What the steps of one bulk edit share; otherwise empty.
        done: Whether it is on the way to what is shown (False: undone, to be redone).
    """

    id: int
    stem: str
    parent: int | None
    name: str
    tool: str
    params: dict[str, Any]
    box: Box
    pixels: int
    who: str
    when: float
    batch: str
    done: bool


@dataclass(frozen=True)
class Event:
    """Something that was said of an image: a state, a note, a mask set aside.

    Attributes:
        kind: "state", "note", "damaged", "recovered" or "accepted".
        value: The state, the note, or a sentence.
        who, when: As in `Step`.
    """

    id: int
    stem: str
    kind: str
    value: str
    who: str
    when: float


@dataclass(eq=False)
class Sheet:
    """One image open for correction; only the room changes it, in place.

    Attributes:
        stem: The image.
        pixels: The room's own pixels; everybody else reads `mask`.
        proposal: [H, W] uint8, what the engine proposed when editing began or was last adopted; None
            when editing began on an empty mask or on a mask found in edited/.
        source: Label set, or "RUN/VIEWS rule", that the proposal came from.
        state: One of `STATES`.
        note: What people wrote about the image.
        seconds: Time spent on it so far.
        cursor: The step that the mask is at; None is the very start.
        recovered: The start is a mask that a person made (found in edited/), not a proposal.
        chain: What the mask file said of its step, where it is the start.
        fresh: The room trusts that `pixels` are those of the journal.
    """

    stem: str
    pixels: Mask = field(repr=False)
    proposal: Mask | None = field(default=None, repr=False)
    source: str = ""
    state: str = "unseen"
    note: str = ""
    seconds: float = 0.0
    cursor: int | None = None
    recovered: bool = False
    chain: str = field(default="", repr=False)
    fresh: bool = field(default=True, repr=False)
    # (step, pixels) that were verified last: from there the steps must lead to `pixels` before they are
    # written over the mask file.
    proved: tuple[int | None, Mask] | None = field(default=None, repr=False)
    # (SHA-256, compressed pixels) of a start that the journal does not hold yet: made when the image is
    # opened, so that its first stroke is as quick as the others.
    start: tuple[str, bytes] | None = field(default=None, repr=False)
    # (cursor, pixels set on the way to it): kept, as a way may have thousands of steps.
    known: tuple[int | None, NDArray[np.bool_]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.mask: Mask = self.pixels.view()
        # A tool that writes into the mask would change pixels behind the journal's back.
        self.mask.flags.writeable = False

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in px."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def bare(self) -> bool:
        """Whether there is no mask yet: no step, nothing found in edited/, no proposal to begin with."""
        return self.cursor is None and not self.recovered and self.proposal is None
