"""What is done to many images at once: one step or one state each, counted, and stopped between two images. No Qt."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.edits import EditRoom
from engine.errors import UserError
from engine.tools import Change, spread

__all__ = ["Deed", "EditDeed", "Proposals", "StateDeed", "Tally", "do_one", "run_deed"]

#: stem -> (source, [H, W] uint8) that the engine proposes, or None.
Proposals = Callable[[str], "tuple[str, NDArray[np.uint8]] | None"]

CHANGED, SAME, APPROVED, BARE, DAMAGED, FRONT = "changed", "same", "approved", "bare", "damaged", "front"


class Deed(Protocol):
    """What is to be done to an image."""

    @property
    def title(self) -> str:
        """What people read of it."""

    def do(
        self, room: EditRoom, stem: str, proposals: Proposals, batch: str, front: Callable[[], str]
    ) -> str:
        """Do it and return what became of the image.

        Raises:
            UserError: The image, its mask or its proposal cannot be read, or nothing can be written.
        """


@dataclass(frozen=True)
class EditDeed:
    """One step of the history on each image.

    Args:
        title: Name of the step.
        tool: Which tool it is.
        work: Mask -> the change.
        params: Settings of the tool, kept with the step.
    """

    title: str
    tool: str
    work: Callable[[NDArray[np.uint8]], Change]
    params: dict[str, Any] = field(default_factory=dict)

    def do(
        self, room: EditRoom, stem: str, proposals: Proposals, batch: str, front: Callable[[], str]
    ) -> str:
        if room.state(stem) == "approved":
            return APPROVED
        outcome = [BARE]

        def change(_stem: str, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
            # Here the image cannot be opened meanwhile, so what is not in front now is not painted on.
            outcome[0] = FRONT if stem == front() else SAME
            return mask if outcome[0] == FRONT else _after(self.work, mask)

        made = list(
            room.bulk(self.title, self.tool, change, [stem], self.params, proposals=proposals, batch=batch)
        )
        return CHANGED if made else outcome[0]


@dataclass(frozen=True)
class StateDeed:
    """One review state for each image; approving takes the mask as it stands, the engine's proposal too.

    Args:
        title: What people read of it.
        state: "approved", "needs review" or "skipped".
    """

    title: str
    state: str

    def do(
        self, room: EditRoom, stem: str, proposals: Proposals, batch: str, front: Callable[[], str]
    ) -> str:
        have = room.state(stem)
        if have == "approved":
            return APPROVED
        if self.state == "approved":
            # What is damaged waits for a person's eyes.
            if have == "damaged":
                return DAMAGED
            sheet = room.load(stem)
            if sheet.cursor is None and not sheet.recovered:
                sheet = room.load(stem, proposals(stem))
            if sheet.state == "damaged":
                return DAMAGED
            if sheet.bare:
                return BARE
            room.set_state(stem, self.state)
            return CHANGED
        if have == self.state:
            return SAME
        room.set_state(stem, self.state)
        return CHANGED


@dataclass
class Tally:
    """What became of the images so far; one thread writes it and another reads it.

    Attributes:
        stems: The images.
        done: How many of them were looked at.
        changed: Those that changed.
        left: Outcome -> how many were left as they are, for that reason.
        faults: A sentence for each image that could not be done.
        later: The image that is in front, which a person may be painting on.
        batch: What the steps share.
    """

    stems: Sequence[str]
    done: int = 0
    changed: list[str] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    later: list[str] = field(default_factory=list)
    batch: str = field(default_factory=lambda: uuid.uuid4().hex)

    def words(self, title: str) -> str:
        """Return what became of the images, in sentences."""
        said = [f"{title}: {_images(len(self.changed))} changed."]
        reasons = {
            SAME: "had nothing to change",
            APPROVED: "left out, being approved",
            BARE: "left out, having no mask and no proposal",
            DAMAGED: "left out, being damaged",
        }
        said += [f"{self.left[key]:,} {why}." for key, why in reasons.items() if self.left.get(key)]
        rest = len(self.stems) - self.done
        if rest:
            said.append(f"Stopped: {rest:,} not begun.")
        if self.faults:
            said.append(f"{len(self.faults):,} could not be done: {self.faults[0]}")
        return " ".join(said)


def do_one(
    deed: Deed, room: EditRoom, stem: str, proposals: Proposals, tally: Tally, front: Callable[[], str]
) -> None:
    """Do it to one image and count what became of it; what is wrong with an image keeps no other back."""
    try:
        outcome = deed.do(room, stem, proposals, tally.batch, front) if stem != front() else FRONT
    except UserError as error:
        tally.faults.append(f"{stem}: {error}")
    else:
        if outcome == FRONT:
            tally.later.append(stem)
            return  # counted when it is done
        if outcome == CHANGED:
            tally.changed.append(stem)
        else:
            tally.left[outcome] = tally.left.get(outcome, 0) + 1
    tally.done += 1


def run_deed(
    deed: Deed,
    room: EditRoom,
    proposals: Proposals,
    tally: Tally,
    front: Callable[[], str],
    over: Callable[[], bool],
) -> Tally:
    """Do it to every image but the one in front, until it is over.

    Args:
        deed: What.
        room: The edit room.
        proposals: What images begin with that nobody corrected yet.
        tally: Says which images, and counts.
        front: Returns the image in front now; it is put off to `tally.later`.
        over: Whether no further image is to be begun.
    """
    for stem in tally.stems:
        if over():
            break
        do_one(deed, room, stem, proposals, tally, front)
    return tally


def _after(work: Callable[[NDArray[np.uint8]], Change], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(spread(work(mask.copy()), mask), np.uint8)


def _images(count: int) -> str:
    return f"{count:,} image" if count == 1 else f"{count:,} images"
