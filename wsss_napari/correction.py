"""The image that is being corrected: its mask, what is painted and where it may be painted. No Qt.

Every tool, napari's own brush included, ends in `apply` or `replace`: one step of the edit room
each, through the edit mask, shown by repainting the box that changed and nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from engine.errors import UserError
from engine.results import CamStack
from engine.store import read_pixels
from engine.tools import POLICIES, merge
from wsss_napari.map_files import read_maps
from wsss_napari.session import Session

if TYPE_CHECKING:
    from engine.edits import EditRoom, Sheet, Step

__all__ = ["POLICIES", "UNSURE", "Box", "Correction", "Surface", "around"]

UNSURE = 255

#: y0, x0, y1, x1, half open, in px.
Box = tuple[int, int, int, int]


class Surface(Protocol):
    """What shows the mask; the correction layer is one."""

    @property
    def layer(self) -> Any | None:
        """The napari Labels layer, or None while there is none."""

    def settle(self) -> None:
        """Let a stroke that is being drawn end here."""

    def show(self, stem: str, mask: NDArray[np.uint8], why_not: str) -> None:
        """Show another mask; with a reason why not, it cannot be painted on."""

    def repaint(self, mask: NDArray[np.uint8], box: Box) -> None:
        """Show what changed in a box."""

    def close(self) -> None:
        """Show nothing any more."""


class Correction:
    """One image under correction, or none.

    Attributes:
        sheet: The mask, its proposal and its review state, as the edit room keeps them; read-only.
        value: What is painted: 0 background, class + 1, 255 unsure. Follows the chosen chip.
        policy: Where it may be painted, one of `engine.tools.POLICIES`.

    Signals:
        leaving: (stem) the image is about to leave the front; its sheet can still be written to.
        loaded: (stem) another image is in front; "" when none is.
        edited: (box) pixels changed, by a tool, undo, redo or a step in the history.
        value_changed, policy_changed: the new value.
        state_changed: (stem) its review state or its note changed.
    """

    leaving = Signal(str)
    loaded = Signal(str)
    edited = Signal(tuple)
    value_changed = Signal(int)
    policy_changed = Signal(str)
    state_changed = Signal(str)

    def __init__(self, session: Session, surface: Surface | None = None) -> None:
        self._session = session
        self._surface = surface
        self._room: EditRoom | None = None
        self._blocked = ""
        self._value = 1 if session.cls is None else session.cls + 1
        self._policy = POLICIES[0]
        self._photo: NDArray[np.uint8] | None = None
        self._stack: tuple[Any, CamStack | None, str] | None = None
        self.sheet: Sheet | None = None
        session.events.cls.connect(self._class_chosen)

    @property
    def stem(self) -> str:
        """The image in front, or an empty string."""
        return "" if self.sheet is None else self.sheet.stem

    @property
    def room(self) -> EditRoom | None:
        """The edit room of the open project, or None."""
        return self._room

    @property
    def layer(self) -> Any | None:
        """Our napari Labels layer, or None while there is none or a person deleted it."""
        return None if self._surface is None else self._surface.layer

    @property
    def photo(self) -> NDArray[np.uint8]:
        """The upright pixels of the image, [H, W, 3] uint8; read when first asked for.

        Raises:
            UserError: No image is open, or it cannot be read.
        """
        if self._photo is None:
            project = self._session.project
            if project is None or self.sheet is None:
                raise UserError("No image is open.", "", "Open a project and choose an image.")
            self._photo = read_pixels(project, self.sheet.stem)
        return self._photo

    @property
    def stack(self) -> CamStack | None:
        """The chosen run's maps of the image, or None; `stack_note` says why there are none."""
        return self._maps()[0]

    @property
    def stack_note(self) -> str:
        """Why there are no maps of the image, or an empty string."""
        return self._maps()[1]

    @property
    def value(self) -> int:
        """What is painted: 0 background, class + 1, 255 unsure."""
        return self._value

    @value.setter
    def value(self, value: int) -> None:
        if value == self._value:
            return
        self._value = value
        if 0 < value < UNSURE:
            self._session.cls = value - 1
        self.value_changed.emit(value)

    @property
    def policy(self) -> str:
        """Where it may be painted."""
        return self._policy

    @policy.setter
    def policy(self, policy: str) -> None:
        if policy not in POLICIES:
            raise ValueError(policy)
        if policy != self._policy:
            self._policy = policy
            self.policy_changed.emit(policy)

    @property
    def inside(self) -> int | None:
        """The class that the person works on, as a mask holds it; it stays when background or unsure is painted."""
        return None if self._session.cls is None else self._session.cls + 1

    @property
    def read_only(self) -> str:
        """Why nothing can be painted, or an empty string."""
        if self.sheet is None or self._room is None:
            return "No image is open for correction."
        if self._blocked:
            return self._blocked
        return "Approved. Reopen to change it." if self.sheet.state == "approved" else ""

    def open(
        self, room: EditRoom, stem: str, proposal: tuple[str, NDArray[np.uint8]] | None, *, blocked: str = ""
    ) -> None:
        """Bring an image to the front.

        Args:
            room: The edit room of the open project.
            stem: The image.
            proposal: (label set, mask) of the engine, [H, W] uint8; what editing begins from.
            blocked: Why nothing of this project may be changed, or an empty string.

        Raises:
            UserError: Its file is not the one the project knows.
        """
        self._leave()
        sheet = room.load(stem, proposal)
        self._room, self._blocked = room, blocked
        self._photo = self._stack = None
        self.sheet = sheet
        if self._surface is not None:
            self._surface.show(stem, sheet.mask, self.read_only)
        self.loaded.emit(stem)

    def close(self) -> None:
        """Put the image away; its steps are with the room already."""
        if self.sheet is None and self._room is None:
            return
        self._leave()
        self.sheet = self._room = self._photo = self._stack = None
        self._blocked = ""
        if self._surface is not None:
            self._surface.close()
        self.loaded.emit("")

    def show(self) -> None:
        """Show the mask again, as after a person deleted the layer or something else wrote into it."""
        if self.sheet is not None and self._surface is not None:
            self._surface.show(self.sheet.stem, self.sheet.mask, self.read_only)

    def preview(
        self, box: Box, region: NDArray[np.bool_], value: int | NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        """Return what `apply` would leave in the box, [y1 - y0, x1 - x0] uint8, and change nothing."""
        assert self.sheet is not None
        return merge(self.sheet.mask, box, region, value, self._policy, self.inside)

    def apply(
        self,
        name: str,
        tool: str,
        box: Box,
        region: NDArray[np.bool_],
        value: int | NDArray[np.uint8] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> bool:
        """Paint a region through the edit mask, as one step.

        Args:
            name: What the history calls it ("Brush: cat").
            tool: Which tool it was ("brush").
            box: Where the region lies.
            region: [y1 - y0, x1 - x0] bool, pixels to paint.
            value: What is painted there, one value or [y1 - y0, x1 - x0] uint8; None is the chosen one.
            params: Settings of the tool, kept with the step.

        Returns:
            Whether any pixel changed; a refusal is told to the person.
        """
        sheet = self.sheet
        if not self._may() or sheet is None or not region.size:
            return False
        painted = self._value if value is None else value
        return self._commit(name, tool, box, self.preview(box, region, painted), params)

    def replace(
        self,
        name: str,
        tool: str,
        box: Box,
        after: NDArray[np.uint8],
        params: Mapping[str, Any] | None = None,
    ) -> bool:
        """Put new values into a box through the edit mask, as one step; arguments as for `apply`."""
        return self.apply(name, tool, box, np.ones(after.shape, np.bool_), after, params)

    def undo(self) -> bool:
        """Take the last step back; nothing but this image changes.

        A step that follows a merge of classes means all images, so the merge itself is taken back then.
        """
        if self._at_merge():
            return self._guarded(self._session.take_back_merge)
        return self._travel(lambda room, sheet: _listed(room.undo(sheet)))

    def redo(self) -> bool:
        """Do the step that was taken back last again."""
        return self._travel(lambda room, sheet: _listed(room.redo(sheet)))

    def go_to(self, step: int | None) -> bool:
        """Go to the moment after a step of the history; None is the moment before the first."""
        return self._travel(lambda room, sheet: room.go_to(sheet, step))

    def revert(self) -> bool:
        """Go back to the proposal by a step that can be undone."""
        return self._travel(lambda room, sheet: _listed(room.revert(sheet)))

    def adopt(self, source: str, proposal: NDArray[np.uint8]) -> bool:
        """Take a newer proposal wherever the person has not decided, as one step."""
        return self._travel(lambda room, sheet: _listed(room.adopt(sheet, source, proposal)))

    def set_state(self, state: str, note: str | None = None) -> bool:
        """Set the review state of the image; the room refuses what may not follow."""
        self._settle()
        sheet, room = self.sheet, self._room
        if sheet is None or room is None or not self._writable():
            return False
        if not self._guarded(lambda: room.set_state(sheet.stem, state, note)):
            return False
        # An approved mask is write-protected and a reopened one is not.
        if self._surface is not None:
            self._surface.show(sheet.stem, sheet.mask, self.read_only)
        self.state_changed.emit(sheet.stem)
        return True

    def set_note(self, text: str) -> None:
        """Keep what the person notes about the image."""
        sheet, room = self.sheet, self._room
        if sheet is None or room is None or text == sheet.note or not self._writable():
            return
        if self._guarded(lambda: room.set_note(sheet.stem, text)):
            self.state_changed.emit(sheet.stem)

    def forget_maps(self) -> None:
        """Read the maps anew when they are asked for next."""
        self._stack = None

    def _at_merge(self) -> bool:
        """Whether the last step is that of the newest merge, which is in force."""
        sheet, room, project = self.sheet, self._room, self._session.project
        if self.read_only or sheet is None or room is None or project is None or not project.merges:
            return False
        self._settle()
        try:
            last = next((s for s in reversed(room.steps(sheet.stem)) if s.done), None)
        except UserError:
            return False  # the undo itself says what is damaged
        return last is not None and last.batch == project.merges[-1]

    def _commit(
        self, name: str, tool: str, box: Box, after: NDArray[np.uint8], params: Mapping[str, Any] | None
    ) -> bool:
        sheet, room = self.sheet, self._room
        assert sheet is not None and room is not None
        before = sheet.state
        made: list[Step | None] = []
        ok = self._guarded(lambda: made.append(room.commit(sheet, name, tool, box, after, params or {})))
        if not ok or made[0] is None:
            return False
        self._changed(box, before)
        return True

    def _travel(self, move: Callable[[EditRoom, Sheet], list[Step]]) -> bool:
        self._settle()
        sheet, room = self.sheet, self._room
        if not self._may() or sheet is None or room is None:
            return False
        before = sheet.state
        moved: list[Step] = []
        if not self._guarded(lambda: moved.extend(move(room, sheet))) or not moved:
            return False
        self._changed(around([step.box for step in moved]), before)
        return True

    def _changed(self, box: Box, state: str) -> None:
        sheet = self.sheet
        assert sheet is not None
        if self._surface is not None:
            self._surface.repaint(sheet.mask, box)
        self.edited.emit(box)
        if sheet.state != state:
            self.state_changed.emit(sheet.stem)

    def _leave(self) -> None:
        self._settle()
        if self.sheet is not None:
            self.leaving.emit(self.sheet.stem)

    def _settle(self) -> None:
        if self._surface is not None:
            self._surface.settle()

    def _may(self) -> bool:
        if self.read_only:
            self._session.said.emit("warning", self.read_only)
            return False
        return True

    def _writable(self) -> bool:
        if self._blocked:
            self._session.said.emit("warning", self._blocked)
            return False
        return True

    def _guarded(self, action: Callable[[], Any]) -> bool:
        """Do it; a refusal of the room is told and nothing has changed."""
        try:
            action()
        except UserError as refusal:
            self._session.said.emit("error", str(refusal))
            return False
        return True

    def _maps(self) -> tuple[CamStack | None, str]:
        project, run, sheet = self._session.project, self._session.chosen_run, self.sheet
        if project is None or sheet is None:
            return None, "No image is open."
        if run is None or run.is_network:
            return None, "No run that draws maps is chosen."
        key = (sheet.stem, run.id, self._session.views)
        if self._stack is None or self._stack[0] != key:
            self._stack = (key, *read_maps(project, run.views(self._session.views), sheet.stem))
        return self._stack[1], self._stack[2]

    def _class_chosen(self, cls: int | None) -> None:
        if cls is not None:
            self.value = cls + 1


def around(boxes: list[Box]) -> Box:
    """Return the smallest box that holds all of these; empty ones, of steps without a pixel, do not count."""
    whole = [b for b in boxes if b[0] < b[2] and b[1] < b[3]]
    if not whole:
        return 0, 0, 0, 0
    top, left, bottom, right = zip(*whole, strict=True)
    return min(top), min(left), max(bottom), max(right)


def _listed(step: Step | None) -> list[Step]:
    return [] if step is None else [step]
