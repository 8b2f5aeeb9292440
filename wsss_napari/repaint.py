"""The short way of a changed picture to the canvas: its pixels go to the texture, and nothing else is done.

Like `_compat`, which holds the short way of Labels layers, this touches private parts of napari.
Last checked with napari 0.9.2. When napari moves, read this too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wsss_napari._compat import bare

__all__ = ["repaint"]


def repaint(viewer: Any, layer: Any) -> None:
    """Show the data of a single-scale Image layer that were changed in place, [H, W] or [H, W, 3].

    Layer.refresh would slice anew and compose all transforms again, which takes ten times as long
    as what is left here: at the same shape in the same place neither can have changed. Whoever
    reads the layer's slice for other ends (its thumbnail, its histogram) is told by the next refresh.

    Args:
        viewer: The viewer that the layer is in; one without a window is refreshed.
        layer: Its data have the shape and the type that they had when it was last refreshed.
    """
    visual = _visual(viewer, layer)
    view = layer._slice.image.view
    # The view is the data itself only while napari needs not convert them for the graphics card.
    same = view.shape == layer.data.shape and np.may_share_memory(view, layer.data)
    flat = layer._slice_input.ndisplay == 2
    if visual is None or not (same and flat and layer.loaded and layer.visible):
        layer.refresh(extent=False, thumbnail=False, highlight=False)
    else:
        visual.node.set_data(view)
        visual.node.update()


def _visual(viewer: Any, layer: Any) -> Any | None:
    """Return what draws a layer, or None without a window."""
    window = getattr(bare(viewer), "window", None)
    return None if window is None else window._qt_viewer.canvas.layer_to_visual.get(layer)
