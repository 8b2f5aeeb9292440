"""The layers of one page: they come and go together, and know whether a person or the page moved them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from psygnal import Signal

from wsss_napari.layers import Layers

__all__ = ["PHOTOGRAPH", "LayerGroup"]

PHOTOGRAPH = "photograph"
_COMPARED = "compare:"


class LayerGroup:
    """Layers whose keys begin alike; the photograph is shared with all pages.

    Args:
        layers: The layers of the viewer.
        prefix: Beginning of their keys.

    Signals:
        eye: (key, visible): a person used the eye of one of these layers in the layer list.
    """

    eye = Signal(str, bool)

    def __init__(self, layers: Layers, prefix: str) -> None:
        self._layers = layers
        self._prefix = prefix
        self._acts = 0
        self._others: list[Any] = []

    @contextmanager
    def acting(self) -> Iterator[None]:
        """While it lasts, layers are shown and hidden by the page and not by a person."""
        self._acts += 1
        try:
            yield
        finally:
            self._acts -= 1

    def clear(self) -> None:
        """Take all of them away; the photograph stays."""
        self._layers.remove_all(self._prefix)

    def wake(self) -> None:
        """Hide the layers of other pages, as when this page comes to the front."""
        for key in self._layers.keys:
            layer: Any = self._layers.get(key)
            if key != PHOTOGRAPH and not key.startswith((self._prefix, _COMPARED)) and layer.visible:
                layer.visible = False
                self._others.append(layer)

    def sleep(self) -> None:
        """Hide all of them, as when another page comes to the front; its layers and the photograph are seen again."""
        viewer = self._layers.viewer
        for layer in self._others:
            if viewer is not None and layer in viewer.layers:
                layer.visible = True
        self._others.clear()
        with self.acting():
            for key in (k for k in self._layers.keys if k.startswith(self._prefix)):
                own: Any = self._layers.get(key)
                own.visible = False
            photograph: Any = self._layers.get(PHOTOGRAPH)
            if photograph is not None:
                photograph.visible = True

    def layer(self, key: str) -> Any | None:
        """Return a layer by its key within the group, or the photograph, or None."""
        return self._layers.get(key if key == PHOTOGRAPH else self._prefix + key)

    def put_in_order(self, key: str, layer: Any, order: Sequence[str]) -> None:
        """Put a new layer under those of ours that belong above it."""
        layers = self._layers.viewer.layers
        above = [self.layer(k) for k in order[order.index(key) + 1 :]]
        places = [layers.index(other) for other in above if other is not None]
        at = layers.index(layer)
        if places and min(places) < at:
            layers.move(at, min(places))

    def watch(self, key: str, layer: Any, seen: Callable[[], None]) -> None:
        """Call `seen` when a person makes a layer visible, and tell of its eye."""

        def changed(event: Any) -> None:
            if self._acts or self.layer(key) is not event.source:
                return
            if event.source.visible:
                with self.acting():
                    seen()
            self.eye.emit(key, bool(event.source.visible))

        layer.events.visible.connect(changed)
