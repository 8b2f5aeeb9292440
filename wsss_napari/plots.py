"""The plot strip: one dock under the canvas that is there only while a page has a plot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable
from weakref import WeakSet

from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QStackedWidget, QWidget

from wsss_napari._compat import main_window, theme_colours
from wsss_napari.curves import Curves
from wsss_napari.histogram import Histogram

__all__ = ["Curves", "Histogram", "Plots", "Themed"]


@runtime_checkable
class Themed(Protocol):
    """A widget that paints itself and must be told the colours of napari's theme."""

    def set_theme(self, colours: Mapping[str, str]) -> None:
        """Paint with these colours from now on (see `_compat.theme_colours`)."""


class Plots:
    """Shows one plot at a time at the bottom of a viewer, and tells all of them the theme.

    Args:
        viewer: The napari viewer.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._stack: QStackedWidget | None = None
        self._dock: QWidget | None = None
        # Nothing is connected to the widgets' end: see `_compat.when_destroyed`.
        self._themed: WeakSet[Any] = WeakSet()
        viewer.events.theme.connect(self._theme)

    @property
    def shown(self) -> QWidget | None:
        """The plot in front, or None while the strip is away."""
        if self._dock is None or self._stack is None or self._dock.isHidden():
            return None
        return self._stack.currentWidget()

    def show(self, widget: QWidget, title: str) -> None:
        """Bring a plot to the front and the strip with it."""
        window: Any = main_window(self._viewer)
        if window is None:
            return
        self.follow_theme(widget)
        if self._stack is None or self._dock is None:
            self._stack = QStackedWidget()
            self._stack.setMinimumHeight(150)
            # The dock on the right keeps its height; the strip gets the width that is left.
            window.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
            self._dock = self._viewer.window.add_dock_widget(self._stack, name="WSSS plot", area="bottom")
        if self._stack.indexOf(widget) < 0:
            self._stack.addWidget(widget)
        self._stack.setCurrentWidget(widget)
        self._dock.setWindowTitle(title)
        self._dock.setVisible(True)

    def hide(self, widget: QWidget) -> None:
        """Take a plot away; the strip goes when that plot was in front."""
        if self._dock is not None and self._stack is not None and self._stack.currentWidget() is widget:
            self._dock.setVisible(False)

    def follow_theme(self, widget: QWidget) -> None:
        """Tell a widget the colours now and at every change of the theme, for as long as it lives."""
        if isinstance(widget, Themed) and widget not in self._themed:
            self._themed.add(widget)
            widget.set_theme(theme_colours(self._viewer.theme))

    def _theme(self, _event: Any = None) -> None:
        colours = theme_colours(self._viewer.theme)
        for widget in [w for w in self._themed if isalive(w)]:
            widget.set_theme(colours)
