"""What every correction tool is: it lives on our mask's layer while it is chosen, and makes one step per drag."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QWidget

from wsss_napari.correct_tool_options import Options
from wsss_napari.correct_tool_reach import Reach

__all__ = ["Point", "Tool"]

#: (y, x) in px of the image, pixel centres at whole numbers.
Point = tuple[float, float]


class Tool(QObject):  # type: ignore[misc]
    """Base of the tools.

    A tool overrides `pressed`, `dragged`, `released` and `hovered`, which get points (y, x) in px
    of the image. `pressed` says whether a drag begins.

    Class attributes:
        NAME: What its steps are filed under in the journal.
        TITLE: Its name.
        TIP: One sentence, how it is used.
        CURSOR: Of napari's cursors; `circle` shows the size of the brush.
        BRUSH: Whether the size of the brush matters.
        GROUND: What the layer under the preview is called, empty when the tool has none.
    """

    NAME: ClassVar[str] = ""
    TITLE: ClassVar[str] = ""
    TIP: ClassVar[str] = ""
    CURSOR: ClassVar[str] = "cross"
    BRUSH: ClassVar[bool] = False
    GROUND: ClassVar[str] = ""

    def __init__(self, reach: Reach, parent: QWidget) -> None:
        super().__init__(parent)
        self.reach = reach
        self.options = Options(parent)
        self.options.hide()
        self.awake = False
        self._layer: Any = None
        self._moving = False
        # A drag goes on only while this is what it was when the drag began.
        self._drag = 0

    @property
    def correction(self) -> Any:
        """The image being corrected."""
        return self.reach.correction

    def missing(self) -> str:
        """Return what the tool lacks on this image, as a sentence, or an empty string."""
        return ""

    def pressed(self, point: Point, modifiers: frozenset[str]) -> bool:
        """Take a press of the left button; return whether a drag begins. The base does nothing."""
        return False

    def dragged(self, point: Point) -> None:
        """Take a move during a drag. The base does nothing."""

    def released(self) -> None:
        """End a drag. The base does nothing."""

    def hovered(self, point: Point) -> None:
        """Take a move without a button. The base does nothing."""

    def finish(self) -> None:
        """Take the Enter key. The base does nothing."""

    def reset(self) -> None:
        """Forget what was begun, as when the image changes or at Esc. The base clears the preview."""
        self._drag += 1
        self.reach.preview.clear()

    def stopped(self) -> None:
        """Hear that what was computed was stopped by the person. The base forgets what was begun."""
        self.reset()

    def edited(self) -> None:
        """Hear that the mask changed, by this tool or otherwise. The base does nothing."""

    def refresh(self) -> None:
        """Show what changed around the tool: class, image, maps. The base does nothing."""

    def wake(self) -> None:
        """Be chosen: take the mouse on the layer of the mask."""
        layer = self.correction.layer
        if self.awake and layer is self._layer:
            return
        self.sleep()
        if layer is None:
            return
        self.awake = True
        self._layer = layer
        layer.mode = "pan_zoom"
        self._take_mouse()
        layer.mouse_drag_callbacks.append(self._press)
        layer.mouse_move_callbacks.append(self._hover)
        for key, action in (("Space", self._hold), ("Enter", self._enter), ("Escape", self._escape)):
            layer.bind_key(key, action, overwrite=True)
        if self.GROUND:
            self.reach.ground.wake(f"{self.reach.stem} · {self.GROUND}")
        self.reach.preview.wake(f"{self.reach.stem} · tool")
        self.refresh()

    def sleep(self) -> None:
        """Be put away: leave the layer as it was."""
        if not self.awake:
            return
        self.reset()
        self.awake = False
        layer, self._layer = self._layer, None
        layer.mouse_drag_callbacks.remove(self._press)
        layer.mouse_move_callbacks.remove(self._hover)
        for key in ("Space", "Enter", "Escape"):
            layer.bind_key(key, None)
        layer.mouse_pan = layer.mode == "pan_zoom"
        if layer.mode == "pan_zoom":
            layer.cursor = "standard"
        self.reach.preview.sleep()
        self.reach.ground.sleep()

    def _take_mouse(self) -> None:
        self._layer.mouse_pan = False
        self._layer.cursor = self.CURSOR

    def _press(self, layer: Any, event: Any) -> Iterator[None]:
        if event.button != 1 or self._moving:
            return
        why = self.reach.forbidden or self.missing()
        if why:
            self.reach.said.emit(why)
            return
        self._drag += 1
        drag = self._drag
        if not self.pressed(_point(layer, event), _held(event)):
            return
        yield
        while event.type == "mouse_move" and drag == self._drag:
            self.dragged(_point(layer, event))
            yield
        if drag == self._drag:
            self.released()

    def _hover(self, layer: Any, event: Any) -> None:
        if self._moving or event.is_dragging or self.reach.forbidden or self.missing():
            return
        self.hovered(_point(layer, event))

    def _hold(self, layer: Any) -> Iterator[None]:
        # napari's own "hold Space to move" changes modes, and ours has the mode it would change to.
        self._moving = True
        layer.mouse_pan, layer.cursor = True, "standard"
        self.reach.preview.clear()
        yield
        self._moving = False
        if self.awake and layer is self._layer:
            self._take_mouse()

    def _enter(self, layer: Any) -> None:
        self.finish()

    def _escape(self, layer: Any) -> None:
        self.escape()

    def escape(self) -> None:
        """Take the Esc key: stop what is computed, or else forget what was begun."""
        self.reach.said.emit("")
        if self.reach.work.cancel():
            self.stopped()
        else:
            self.reset()
            self.refresh()


def _held(event: Any) -> frozenset[str]:
    # Modifiers may be words or keys that equal words.
    return frozenset(name for name in ("Control", "Shift", "Alt", "Meta") if name in event.modifiers)


def _point(layer: Any, event: Any) -> Point:
    y, x = layer.world_to_data(event.position)[-2:]
    return float(y), float(x)
