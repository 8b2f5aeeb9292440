"""What is shown beside the mask for a while: the proposal, and what a newer one would change."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from wsss_napari.corrections import Corrections
from wsss_napari.layers import Layers

__all__ = ["CorrectSight"]

_PROPOSAL, _NEWER = "correct:proposal", "correct:newer"


class CorrectSight:
    """Shows the proposal while a key is held, and marks what adopting a newer one would change.

    Args:
        layers: The layers of the viewer.
        corrections: The masks under correction.

    Attributes:
        candidate: (source, mask) of the newer proposal, or None where there is none.
    """

    def __init__(self, layers: Layers, corrections: Corrections) -> None:
        self._layers = layers
        self._corrections = corrections
        self._held = False
        self._stem = ""
        self.candidate: tuple[str, NDArray[np.uint8]] | None = None

    def hold(self, held: bool) -> None:
        """Show the proposal in place of the mask, or the mask again."""
        correction = self._corrections.correction
        sheet, mask = correction.sheet, correction.layer
        if held == self._held or (held and (sheet is None or sheet.proposal is None or mask is None)):
            return
        self._held = held
        if held:
            assert sheet is not None and sheet.proposal is not None
            self._show(_PROPOSAL, sheet.proposal, f"{sheet.stem} · proposal", mask.opacity, "label")
        else:
            self._layers.remove(_PROPOSAL)
        if mask is not None:
            mask.visible = not held

    def toggle_mask(self) -> None:
        """Show the mask, or the photograph alone."""
        mask = self._corrections.correction.layer
        if mask is not None and not self._held:
            mask.visible = not mask.visible

    def newer(self) -> tuple[float, str] | None:
        """Return the share of pixels that the proposal of now would change, and its source; None for nothing new."""
        correction = self._corrections.correction
        sheet, room = correction.sheet, correction.room
        if sheet is None or room is None:
            return None
        if self._stem != sheet.stem:
            self._stem = sheet.stem
            try:
                self.candidate = self._corrections.proposal(sheet.stem)
            except UserError:
                self.candidate = None  # told when the image was opened
            old = sheet.proposal
            if self.candidate is not None and old is not None and np.array_equal(old, self.candidate[1]):
                self.candidate = None
        if self.candidate is None:
            return None
        change = room.would_change(sheet, self.candidate[1])
        share = float(np.count_nonzero(change) / change.size)
        return (share, self.candidate[0]) if share else None

    def show_changes(self, on: bool) -> None:
        """Mark the pixels that the newer proposal would change, in the colours they would get."""
        correction = self._corrections.correction
        sheet, room = correction.sheet, correction.room
        if not on or sheet is None or room is None or self.candidate is None:
            self._layers.remove(_NEWER)
            return
        change = room.would_change(sheet, self.candidate[1])
        self._show(
            _NEWER, _marked(change, self.candidate[1]), f"{sheet.stem} · would change", 0.9, "correction"
        )

    def forget(self) -> None:
        """Look for a newer proposal again when it is asked for next."""
        self._stem, self.candidate = "", None

    def end(self) -> None:
        """Show the mask again, and nothing beside it."""
        self.hold(False)
        self._layers.remove(_NEWER)

    def _show(self, key: str, mask: NDArray[np.uint8], name: str, opacity: float, place: str) -> None:
        layer = self._layers.show_labels(
            key, mask, name, self._corrections.colours, opacity=opacity, place=place
        )
        layer.visible = True


def _marked(change: NDArray[np.bool_], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the mask where it would change anything, and 0 elsewhere, [H, W] uint8; background becomes hatched."""
    wanted = np.where(mask == 0, np.uint8(255), mask)
    return np.where(change, wanted, np.uint8(0))
