"""All that touches private or moving parts of napari; last checked with napari 0.8.0 to 0.9.2.

Every other module of this package uses napari's public interface alone. When napari moves,
this is the file to read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QApplication, QWidget

__all__ = [
    "bare",
    "canvas_of",
    "clear_paint_history",
    "main_window",
    "plugin_settings",
    "redraw",
    "show_layer_colorbar",
    "theme_colours",
    "when_gone",
]


def bare(viewer: Any) -> Any:
    """Return the viewer behind the proxy that napari hands to plugins.

    The proxy is made anew for each plugin, so it can be neither a weak key nor compared by `is`.
    """
    return getattr(viewer, "__wrapped__", viewer)


def main_window(viewer: Any) -> QWidget | None:
    """Return the Qt window of a viewer, or None for a `ViewerModel` without one."""
    window = getattr(bare(viewer), "window", None)
    return None if window is None else window._qt_window


def canvas_of(viewer: Any) -> QWidget | None:
    """Return the Qt widget that the layers are drawn on, or None without a window."""
    window = getattr(bare(viewer), "window", None)
    return None if window is None else window._qt_viewer.canvas.native


def when_gone(viewer: Any, callback: Callable[[], None]) -> None:
    """Call back once when the viewer's window is destroyed or the application quits."""
    window = main_window(viewer)
    if window is None:
        return
    called = False

    def once(_: QObject | None = None) -> None:
        nonlocal called
        if not called:
            called = True
            callback()

    window.destroyed.connect(once)
    app = QApplication.instance()
    if app is not None:
        app.aboutToQuit.connect(once)


def plugin_settings(name: str) -> dict[str, Any]:
    """Return this plugin's values in napari's preferences; napari 0.8 has none, then it is empty."""
    try:
        from napari.settings import get_plugin_settings
    except ImportError:
        return {}
    try:
        settings = get_plugin_settings(name)
    except KeyError:  # not installed as a plugin: a script run from the source folder
        return {}
    return dict(settings.model_dump())


def theme_colours(name: str) -> dict[str, str]:
    """Return the colours of a napari theme as role -> `#RRGGBB`, and its `type` (light or dark)."""
    from napari.utils.theme import get_theme

    theme = get_theme(name)
    roles = (
        "canvas",
        "background",
        "foreground",
        "primary",
        "secondary",
        "highlight",
        "text",
        "icon",
        "warning",
    )
    colours = {role: str(getattr(theme, role).as_hex(format="long")) for role in roles}
    colours["current"] = str(theme.current.as_hex(format="long"))
    colours["type"] = str(theme.type)
    return colours


def redraw(layer: Any) -> None:
    """Show data that was changed in place, without the thumbnail and highlight that cost more than the mask."""
    layer.refresh(extent=False, thumbnail=False, highlight=False)


def clear_paint_history(layer: Any) -> None:
    """Forget napari's own strokes of a Labels layer whose data were replaced.

    Otherwise its next undo would write values of the old mask into the new one.
    """
    layer._reset_history()


def show_layer_colorbar(layer: Any, shown: bool) -> None:
    """Show or hide the colour bar of an image layer."""
    layer.colorbar.visible = shown


def async_off() -> bool:
    """Return whether napari slices synchronously, as tests and pictures need."""
    return os.environ.get("NAPARI_ASYNC", "0") == "0"
