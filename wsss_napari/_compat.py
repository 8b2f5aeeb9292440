"""All that touches private or moving parts of napari and psygnal.

Last checked with napari 0.8.0 to 0.9.2 and psygnal 0.16.

Every other module of this package, but for `_strokes` with its layer class, uses napari's public
interface alone. When napari moves, these are the files to read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any
from weakref import finalize

import numpy as np
from psygnal import SignalInstance
from qtpy.compat import isalive
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QApplication, QDialog, QWidget
from vispy.gloo import gl

__all__ = [
    "FrameClock",
    "bare",
    "canvas_of",
    "clear_paint_history",
    "dismiss_notices",
    "drop_dead_slots",
    "is_dead",
    "main_window",
    "plugin_settings",
    "redraw",
    "redraw_box",
    "show_layer_colorbar",
    "theme_colours",
    "touch",
    "when_destroyed",
    "when_gone",
]


def bare(viewer: Any) -> Any:
    """Return the viewer behind the proxy that napari hands to plugins.

    The proxy is made anew for each plugin, so it can be neither a weak key nor compared by `is`.
    """
    return getattr(viewer, "__wrapped__", viewer)


def main_window(viewer: Any) -> QWidget | None:
    """Return the Qt window of a viewer, or None for a `ViewerModel` without one, or when it was closed."""
    # napari deletes the attribute when the window closes.
    return getattr(getattr(bare(viewer), "window", None), "_qt_window", None)


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


def when_destroyed(thing: QObject, callback: Callable[[], None]) -> None:
    """Call back once when Qt deletes an object, or when Python collects it and Qt with it.

    Of an object and a callback that know each other the collector may empty the callback before Qt
    calls it, which crashes, or cut the connection, and Qt calls nobody. So the callback is kept here,
    and Python is asked too.

    Args:
        thing: Of a class that is written in Python; those Python keeps as long as Qt does.
        callback: Must not know the thing, which it would keep.
    """

    def once(_: QObject | None = None) -> None:
        if once in _ENDINGS:
            _ENDINGS.discard(once)
            callback()

    _ENDINGS.add(once)
    thing.destroyed.connect(once)
    finalize(thing, once).atexit = False


_ENDINGS: set[Callable[..., None]] = set()


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


def drop_dead_slots(signals: Iterable[SignalInstance]) -> None:
    """Disconnect psygnal signals from methods of Qt objects that no longer exist.

    psygnal forgets what Python forgets; Qt deletes children earlier, and a call to one raises.
    """
    for signal in signals:
        for slot in list(signal._slots):
            callback = slot.dereference()
            if callback is not None and is_dead(callback):
                signal.disconnect(callback, missing_ok=True)


def is_dead(callback: Callable[..., Any]) -> bool:
    """Return whether this is a method of a Qt object that was deleted."""
    owner = getattr(callback, "__self__", None)
    return isinstance(owner, QObject) and not isalive(owner)


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
    """Show the data of a Labels layer that were changed in place, at the cost of one texture upload.

    This is the route of napari's own brush, with the whole mask as the brush. A refresh would
    also slice anew and recompute all transforms, which takes longer than the mask of a photograph.
    """
    view = layer._slice.image.view
    # The view is the data itself only while values need no translation for the graphics card.
    same = view.shape == layer.data.shape and np.shares_memory(view, layer.data)
    if same and layer.visible and layer.contour == 0 and layer.loaded:
        layer.events.labels_update(data=view, offset=(0, 0))
    else:
        layer.refresh(extent=False, thumbnail=False, highlight=False)


def redraw_box(layer: Any, box: tuple[int, int, int, int]) -> None:
    """Show the part of a Labels layer's data that was changed in place; y0, x0, y1, x1, half open.

    This is how napari shows one dab of its brush, outlines included.
    """
    touch(layer, box)
    if layer.visible:
        layer._partial_labels_refresh()


def touch(layer: Any, box: tuple[int, int, int, int]) -> None:
    """Add a box to what the next partial refresh uploads."""
    wide = max(int(layer.contour), 0)
    height, width = layer.data.shape
    old = layer._updated_slice
    y0, x0 = max(box[0] - wide, 0), max(box[1] - wide, 0)
    y1, x1 = min(box[2] + wide, height), min(box[3] + wide, width)
    if old is not None:
        y0, y1 = min(y0, old[0].start), max(y1, old[0].stop)
        x0, x1 = min(x0, old[1].start), max(x1, old[1].stop)
    layer._updated_slice = (slice(y0, y1), slice(x0, x1))


def clear_paint_history(layer: Any) -> None:
    """Forget napari's own strokes of a Labels layer whose data were replaced.

    Otherwise its next undo would write values of the old mask into the new one.
    """
    layer._reset_history()


def show_layer_colorbar(layer: Any, shown: bool) -> None:
    """Show or hide the colour bar of an image layer."""
    layer.colorbar.visible = shown


def dismiss_notices(viewer: Any) -> None:
    """Take away napari's notices, which would lie over a picture of the window."""
    window = main_window(viewer)
    for child in [] if window is None else window.findChildren(QDialog):
        if type(child).__name__ == "NapariQtNotification":
            child.close()


class FrameClock:
    """Draws the canvas on demand and tells when it was done; for benchmarks.

    Args:
        viewer: A viewer whose window is shown.
    """

    def __init__(self, viewer: Any) -> None:
        self._canvas = bare(viewer).window._qt_viewer.canvas._scene_canvas
        self._native = self._canvas.native
        self._done = 0.0
        self._canvas.events.draw.connect(self._drawn, position="last")

    @property
    def renderer(self) -> str:
        """Name of what draws: a graphics card, or `llvmpipe`, its stand-in on the processor."""
        self._native.makeCurrent()
        name = gl.glGetParameter(gl.GL_RENDERER)
        return name.decode() if isinstance(name, bytes) else str(name)

    def frame(self) -> float:
        """Draw one frame and put it on the screen; return `time.perf_counter()` of the end of the drawing."""
        self._done = 0.0
        self._native.update()
        late = time.perf_counter() + 10
        while not self._done:
            QApplication.processEvents()
            if time.perf_counter() > late:
                raise RuntimeError("the canvas was not drawn; is the window shown?")
        return self._done

    def _drawn(self, _: Any = None) -> None:
        self._canvas.context.flush_commands()
        # glFinish waits until the pixels are there; without it only the order to draw was timed.
        gl.glFinish()
        self._done = time.perf_counter()
