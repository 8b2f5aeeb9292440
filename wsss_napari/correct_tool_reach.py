"""What every correction tool can reach: the image being corrected, its maps, the preview and the thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from engine.tools import EMPTY, Box
from wsss_napari.correct_tool_preview import Preview
from wsss_napari.correct_tool_sources import FullMaps
from wsss_napari.correct_tool_work import ToolWork
from wsss_napari.desk import Desk
from wsss_napari.palette import UNSURE

if TYPE_CHECKING:
    from wsss_napari.correction import Correction

__all__ = ["NO_MAPS", "Reach"]

NO_MAPS = "No maps of this image: draw them on the Explore page."
_UNSURE_INK, _BACKGROUND_INK = "#F2F2F2", "#9A9A9A"


class Reach(QObject):  # type: ignore[misc]
    """Shared by the tools of one row.

    Signals:
        said: (sentence) what a person should know of what was, or was not, done.
    """

    said = Signal(str)

    def __init__(self, desk: Desk, correction: Correction, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.desk = desk
        self.correction = correction
        self.preview = Preview(desk.layers, "correct:preview")
        self.ground = Preview(desk.layers, "correct:ground")
        self.work = ToolWork(self)
        self.work.failed.connect(self.said)
        self._maps: FullMaps | None = None

    @property
    def mask(self) -> NDArray[np.uint8]:
        """The mask as it stands, [H, W] uint8; not to be written to.

        Raises:
            LookupError: No image is open.
        """
        if self.correction.sheet is None:
            raise LookupError("no image is being corrected")
        mask: NDArray[np.uint8] = self.correction.sheet.mask
        return mask

    def photo(self) -> NDArray[np.uint8] | None:
        """Return the photograph, [H, W, 3] uint8; None when it cannot be read, which is told."""
        found: NDArray[np.uint8] | None = self.desk.guard(lambda: self.correction.photo)
        return found

    @property
    def stem(self) -> str:
        """Stem of the image being corrected, empty without one."""
        sheet = self.correction.sheet
        return "" if sheet is None else str(sheet.stem)

    @property
    def cls(self) -> int | None:
        """The 0-based class that tools follow: the one painted, else the one that the pages talk about."""
        value = self.correction.value
        return value - 1 if 0 < value < UNSURE else self.desk.session.cls

    @property
    def forbidden(self) -> str:
        """Why nothing may be changed now, or an empty string."""
        if self.correction.sheet is None:
            return "No image is open for correction."
        return str(self.correction.read_only)

    def word(self, value: int) -> str:
        """Return what a value of the mask is called."""
        project = self.desk.session.project
        if value == 0:
            return "background"
        if value == UNSURE:
            return "unsure"
        names = () if project is None else project.classes
        return str(names[value - 1]) if value <= len(names) else f"value {value}"

    def colour(self, value: int) -> str:
        """Return the `#RRGGBB` in which a value is previewed."""
        colours = self.desk.colours
        if value == UNSURE:
            return _UNSURE_INK
        return colours[value - 1] if 0 < value <= len(colours) else _BACKGROUND_INK

    def maps(self) -> FullMaps | None:
        """Return the chosen run's maps of this image; those of another size are not of this image any more."""
        stack = self.correction.stack
        if stack is None or self.correction.sheet is None or stack.size != self.correction.sheet.mask.shape:
            return None
        if self._maps is None or self._maps.stack is not stack:
            self._maps = FullMaps(stack)
        return self._maps

    def scores(self, cls: int | None) -> NDArray[np.float32] | None:
        """Return the map of a class at image size, [H, W] float32 in [0, 1]; None where there is none."""
        maps = self.maps()
        return None if maps is None else maps.scores(cls)

    def best(self) -> NDArray[np.float32] | None:
        """Return the best class score of each pixel, [H, W] float32 in [0, 1]; None without maps."""
        maps = self.maps()
        if maps is None or not maps.classes:
            return None
        best: NDArray[np.float32] | None = None
        for cls in maps.classes:
            full = maps.scores(cls)
            assert full is not None
            best = full.copy() if best is None else np.maximum(best, full, out=best)
        return best

    def no_map(self, cls: int | None, maps: FullMaps | None) -> str:
        """Return why these maps hold none of a class to follow, or an empty string."""
        if maps is None or not maps.classes:
            return NO_MAPS
        if cls is None:
            return "Choose a class to paint: the tool follows its map."
        if cls in maps.classes:
            return ""
        drawn = ", ".join(self.word(c + 1) for c in maps.classes)
        return f"No map of {self.word(cls + 1)} for this image; there is one of {drawn}."

    def paint(
        self,
        name: str,
        tool: str,
        box: Box,
        region: NDArray[np.bool_],
        value: int,
        params: Mapping[str, Any] | None = None,
    ) -> bool:
        """Paint a region as one step through the edit mask; say so where nothing changes."""
        if box == EMPTY or not region.any():
            self.said.emit("Nothing there to change.")
            return False
        made = self.desk.guard(self.correction.apply, name, tool, box, region, value, dict(params or {}))
        return self._told(name, made)

    def replace(
        self,
        name: str,
        tool: str,
        box: Box,
        after: NDArray[np.uint8],
        params: Mapping[str, Any] | None = None,
    ) -> bool:
        """Write new values as one step through the edit mask; say so where nothing changes."""
        if box == EMPTY:
            self.said.emit(f"{name}: nothing to change.")
            return False
        made = self.desk.guard(self.correction.replace, name, tool, box, after, dict(params or {}))
        return self._told(name, made)

    def _told(self, name: str, made: Any) -> bool:
        if made is None:  # refused, and told by the desk
            return False
        if made:
            self.said.emit("")
        elif self.correction.policy == "everywhere":
            self.said.emit(f"{name}: nothing to change.")
        else:
            self.said.emit(f"{name}: nothing to change where the edit mask lets you paint.")
        return bool(made)
