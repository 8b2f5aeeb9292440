"""A fitted picture stays whole when docks take room from the canvas, and a person's own view stays as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wsss_napari._compat import canvas_of, main_window
from wsss_napari.desk import desk_of

HEIGHT, WIDTH = 60, 120


@pytest.fixture
def shown(make_napari_viewer_proxy, qtbot) -> Any:
    """A viewer of 900 x 700 px with a photograph in it."""
    viewer = make_napari_viewer_proxy()
    window = main_window(viewer)
    assert window is not None
    window.show()
    window.resize(900, 700)
    desk = desk_of(viewer)
    desk.layers.show_image("photograph", np.zeros((HEIGHT, WIDTH, 3), np.uint8), "one")
    qtbot.waitUntil(lambda: whole(viewer))
    return viewer


def whole(viewer: Any) -> bool:
    """Whether all of the picture is seen, and as large as it can be."""
    canvas, (_, y, x), zoom = canvas_of(viewer), viewer.camera.center, viewer.camera.zoom
    assert canvas is not None
    centred = abs(y - (HEIGHT - 1) / 2) < 1 and abs(x - (WIDTH - 1) / 2) < 1
    filled = max(WIDTH * zoom / canvas.width(), HEIGHT * zoom / canvas.height())
    return bool(centred and 0.85 < filled <= 1)


def resize(viewer: Any, qtbot: Any, width: int, height: int) -> None:
    canvas, window = canvas_of(viewer), main_window(viewer)
    assert canvas is not None and window is not None
    before = canvas.size()
    window.resize(width, height)
    qtbot.waitUntil(lambda: canvas.size() != before)
    qtbot.wait(50)


def test_the_picture_stays_whole_in_a_smaller_and_a_larger_canvas(shown, qtbot) -> None:
    for width, height in ((700, 500), (1100, 800)):
        resize(shown, qtbot, width, height)
        assert whole(shown), (shown.camera.zoom, shown.camera.center)


def test_a_dock_that_comes_later_cuts_nothing_off(shown, qtbot) -> None:
    from wsss_napari.dock import MainDock

    shown.window.add_dock_widget(MainDock(shown), name="WSSS", area="right")
    qtbot.wait(50)
    assert whole(shown)


def test_a_person_s_own_view_is_left_alone_until_home(shown, qtbot) -> None:
    shown.camera.zoom = 2 * shown.camera.zoom
    mine = shown.camera.zoom
    resize(shown, qtbot, 700, 500)
    assert shown.camera.zoom == mine
    shown.camera.zoom = shown.camera.zoom / 2
    shown.camera.center = (0, 5, 5)
    resize(shown, qtbot, 900, 700)
    assert tuple(shown.camera.center) == (0, 5, 5)
    shown.reset_view()  # what Home does
    resize(shown, qtbot, 700, 500)
    assert whole(shown)


def test_a_volume_that_was_turned_stays_turned(shown, qtbot) -> None:
    shown.dims.ndisplay = 3
    shown.reset_view()
    shown.camera.angles = (10, 20, 30)
    resize(shown, qtbot, 700, 500)
    assert np.allclose(shown.camera.angles, (10, 20, 30), atol=1e-3)


def test_an_empty_viewer_is_left_alone(make_napari_viewer_proxy, qtbot) -> None:
    viewer = make_napari_viewer_proxy()
    desk_of(viewer)
    viewer.reset_view()
    zoom = viewer.camera.zoom
    window = main_window(viewer)
    assert window is not None
    window.show()
    resize(viewer, qtbot, 640, 480)
    assert viewer.camera.zoom == zoom
