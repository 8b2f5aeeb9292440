"""What a person does with the mouse over the layers, told to a page while it wants to hear it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from qtpy.compat import isalive

__all__ = ["CanvasMouse", "Clicks"]


class CanvasMouse:
    """A callback on the viewer that is turned on and off; what is heard is `_heard` of a subclass.

    Args:
        page: Whose desk's viewer it is.
    """

    _KIND: ClassVar[str]
    """Of napari's callbacks: `mouse_move_callbacks` or `mouse_drag_callbacks`."""

    def __init__(self, page: Any) -> None:
        self._page = page
        self._on = False

    def turn(self, on: bool) -> bool:
        """Begin or end to listen; return whether it did not already."""
        viewer = self._page.desk.viewer
        if viewer is None or on == self._on:
            return False
        self._on = on
        callbacks = getattr(viewer, self._KIND)
        if on:
            callbacks.append(self._heard)
        else:
            callbacks.remove(self._heard)
        return True

    def _heard(self, viewer: Any, event: Any) -> Any:
        raise NotImplementedError


class Clicks(CanvasMouse):
    """Tells of clicks that move nothing; a drag pans as ever.

    Args:
        page: Whose desk's viewer it is.
        told: Called with (y, x) in px of the image, while the page lives.
    """

    _KIND = "mouse_drag_callbacks"

    def __init__(self, page: Any, told: Callable[[float, float], None]) -> None:
        super().__init__(page)
        self._told = told

    def _heard(self, viewer: Any, event: Any) -> Iterator[None]:
        y, x = event.position[-2:]
        yield
        dragged = False
        while event.type == "mouse_move":
            dragged = True
            yield
        if not dragged and isalive(self._page):
            self._told(float(y), float(x))
