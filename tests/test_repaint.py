"""The short way to the canvas shows what napari's own refresh shows, and leaves to it what it cannot do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication

from wsss_napari.repaint import repaint

GRID, PHOTO = (6, 8), (48, 64, 3)


@pytest.fixture
def refreshed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the layers that were refreshed."""
    from napari.layers import Image

    names: list[str] = []
    real = Image.refresh

    def refresh(self: Any, *args: Any, **options: Any) -> None:
        names.append(self.name)
        real(self, *args, **options)

    monkeypatch.setattr(Image, "refresh", refresh)
    return names


def changed(layer: Any, seed: int) -> None:
    random = np.random.default_rng(seed)
    if layer.rgb:
        layer.data[...] = random.integers(0, 256, layer.data.shape, np.uint8)
    else:
        layer.data[...] = random.random(layer.data.shape, np.float32)


def seen(viewer: Any) -> np.ndarray:
    """Return the canvas, once the panels around it have found their places."""
    shots: list[np.ndarray] = []
    while len(shots) < 2 or shots[-1].shape != shots[-2].shape:
        QApplication.processEvents()
        shots.append(np.asarray(viewer.screenshot(canvas_only=True, flash=False)))
    return shots[-1]


def test_the_canvas_shows_what_a_refresh_shows(make_napari_viewer, refreshed):
    viewer = make_napari_viewer(show=True)
    photo = viewer.add_image(np.zeros(PHOTO, np.uint8), rgb=True, name="photo")
    heat = viewer.add_image(
        np.zeros(GRID, np.float32), name="heat", scale=(8, 8), translate=(3.5, 3.5),
        contrast_limits=(0, 1), colormap="inferno", blending="additive", interpolation2d="linear",
    )  # fmt: skip
    for layer in (photo, heat):
        before = seen(viewer)
        refreshed.clear()
        changed(layer, 1)
        repaint(viewer, layer)
        assert refreshed == [], "only the pixels were sent"
        fast = seen(viewer)
        assert not np.array_equal(fast, before)
        layer.refresh()
        np.testing.assert_array_equal(seen(viewer), fast)


def test_what_the_short_way_cannot_do_is_refreshed(make_napari_viewer, refreshed):
    viewer = make_napari_viewer(show=True)
    heat = viewer.add_image(np.zeros(GRID, np.float32), name="heat", contrast_limits=(0, 1))
    # Limits that a float32 texture cannot hold: napari draws a converted copy.
    wide = viewer.add_image(np.zeros(GRID), name="wide", contrast_limits=(0, 1e300))
    changed(wide, 2)
    refreshed.clear()
    repaint(viewer, wide)
    assert refreshed == ["wide"]
    viewer.dims.ndisplay = 3
    refreshed.clear()
    repaint(viewer, heat)
    assert refreshed == ["heat"]
    viewer.dims.ndisplay = 2
    heat.visible = False
    refreshed.clear()
    changed(heat, 3)
    repaint(viewer, heat)
    assert refreshed == ["heat"]
    heat.visible = True
    shown = seen(viewer)
    heat.refresh()
    np.testing.assert_array_equal(seen(viewer), shown, "what came while it was hidden is shown with it")


def test_a_viewer_without_a_window_is_refreshed(refreshed):
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros(GRID, np.float32), name="heat")
    told: list[Any] = []
    layer.events.set_data.connect(told.append)
    refreshed.clear()
    repaint(viewer, layer)
    assert refreshed == ["heat"] and len(told) == 1
