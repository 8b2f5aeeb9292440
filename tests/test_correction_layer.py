"""napari's own tools on the layer of the mask: each stroke one step, and napari's history always empty."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from napari.layers.labels import _labels_mouse_bindings
from napari.layers.labels.labels import Labels as NapariLabels
from napari.utils._proxies import ReadOnlyWrapper
from napari.utils.interactions import mouse_move_callbacks, mouse_press_callbacks, mouse_release_callbacks

from engine.store import label_set
from wsss_napari._strokes import StrokeLabels
from wsss_napari.correction import UNSURE
from wsss_napari.desk import desk_of
from wsss_napari.palette import hatched

STEM = "im_000"


class Wheel:
    """What napari hands to a wheel callback."""

    handled = False

    def __init__(self, turn: float, *modifiers: str) -> None:
        self.delta = (0.0, turn)
        self.modifiers = modifiers


@pytest.fixture
def desk(small_project, qapp):
    labels = label_set(small_project.root, small_project.colours, "cam", new=True)
    mask = np.zeros((48, 64), np.uint8)
    mask[10:30, 10:40] = 1
    mask[30:40, 10:40] = UNSURE
    labels.write(STEM, mask)
    desk = desk_of(ViewerModel())
    desk.session.said.disconnect(desk.said)
    desk.session.open(small_project.root)
    desk.corrections.show(STEM)
    yield desk
    desk.close()


@pytest.fixture
def front(desk):
    return desk.corrections.correction


def stroke(layer, points, value=None):
    """Paint as napari's mouse binding does: one block of history, and `_draw` from point to point."""
    value = layer.selected_label if value is None else value
    with layer.block_history():
        last = points[0]
        for point in points:
            layer._draw(value, np.array(last, float), np.array(point, float))
            last = point


def names(front):
    return [s.name for s in front.room.steps(STEM) if s.done]


def shown_is_held(front):
    return np.array_equal(front.layer.data, hatched(front.sheet.mask))


def empty_history(layer):
    return not layer._undo_history and not layer._redo_history and not layer._staged_history


def test_what_this_layer_relies_on_in_napari():
    for name in (
        "_draw",
        "_begin_stroke",
        "_commit_stroke",
        "_abort_stroke",
        "_partial_labels_refresh",
        "_reset_history",
    ):
        assert callable(getattr(NapariLabels, name)), name
    layer = Labels(np.zeros((4, 5), np.uint8))
    assert layer._updated_slice is None and "brush_stroke" in layer._overlays
    assert "block_history" in _labels_mouse_bindings.draw.__code__.co_names
    assert "_draw" in _labels_mouse_bindings.draw.__code__.co_names


def test_a_stroke_is_one_step_and_napari_keeps_none(desk, front):
    layer = front.layer
    assert isinstance(layer, StrokeLabels) and layer._type_string == "labels"
    front.value = 2
    layer.mode, layer.brush_size = "paint", 7
    before = front.sheet.mask.copy()
    plain = Labels(before.copy())
    plain.mode, plain.brush_size = "paint", 7
    path = [(20, 5), (22, 30), (46, 63)]
    stroke(layer, path)
    stroke(plain, path, 2)
    assert np.array_equal(front.sheet.mask, plain.data), "the brush is napari's own, to the pixel"
    assert names(front) == ["Brush: green"] and empty_history(layer) and shown_is_held(front)
    step = front.room.steps(STEM)[0]
    assert step.tool == "brush" and step.params == {"value": 2, "size": 7}
    layer.undo()  # what napari binds to Ctrl+Z
    assert np.array_equal(front.sheet.mask, before) and shown_is_held(front)
    layer.redo()
    assert np.array_equal(front.sheet.mask, plain.data) and shown_is_held(front)


def test_a_drag_of_the_mouse_from_press_to_release(desk, front):
    layer = front.layer
    front.value = 3
    layer.brush_size = 5

    def event(kind, y, x):
        plain = SimpleNamespace(
            type=kind,
            is_dragging=kind == "mouse_move",
            button=1,
            position=(float(y), float(x)),
            view_direction=None,
            dims_displayed=[0, 1],
            dims_point=[0.0, 0.0],
            pos=np.array([x, y]),
            modifiers=(),
            handled=False,
            camera_zoom=1.0,
        )
        return ReadOnlyWrapper(plain, exceptions=("handled",))  # napari changes what is wrapped as it moves

    mouse_press_callbacks(layer, event("mouse_press", 5, 5))
    for x in (20, 40, 60):
        mouse_move_callbacks(layer, event("mouse_move", 5, x))
        assert names(front) == [] and layer.stroking
    mouse_release_callbacks(layer, event("mouse_release", 5, 60))
    assert names(front) == ["Brush: blue"] and (front.sheet.mask[5, 5:61] == 3).all() and shown_is_held(front)


def test_the_hatch_is_there_while_the_hand_moves(front):
    layer = front.layer
    front.value = UNSURE
    layer.brush_size = 9
    layer._begin_stroke()
    layer._draw(UNSURE, np.array([20.0, 5.0]), np.array([20.0, 50.0]))
    assert names(front) == [] and not (front.sheet.mask[20, 12:30] == UNSURE).any(), "no step yet"
    assert {254, 255} <= set(np.unique(layer.data[20]))
    live = layer.data.copy()
    layer._commit_stroke()
    assert names(front) == ["Brush: unsure"] and np.array_equal(layer.data, live) and shown_is_held(front)


def test_the_edit_mask_holds_while_the_hand_moves(front):
    layer = front.layer
    front.value, front.policy = 2, "unsure"
    layer._begin_stroke()
    layer._draw(2, np.array([20.0, 20.0]), np.array([38.0, 20.0]))
    assert (layer.data[:30] != 2).all() and (layer.data[32:36, 18:22] == 2).all()
    layer._commit_stroke()
    assert (front.sheet.mask[:30] != 2).all() and shown_is_held(front)


def test_the_bucket_takes_the_stripes_for_one_piece(front):
    layer = front.layer
    front.value = 3
    layer.mode = "fill"
    stroke(layer, [(35, 20), (35, 21), (36, 25)])
    assert (front.sheet.mask[30:40, 10:40] == 3).all() and (front.sheet.mask == 3).sum() == 300
    assert names(front) == ["Fill: blue"] and shown_is_held(front) and empty_history(layer)
    front.apply("elsewhere", "t", (0, 0, 4, 4), np.ones((4, 4), bool), 3)
    layer.contiguous = False
    front.value = 1
    stroke(layer, [(35, 20)])
    assert not (front.sheet.mask == 3).any(), "all pixels of the value"
    stroke(layer, [(-4, 200)])


def test_a_polygon_and_a_loop_of_the_right_button_are_one_step_each(front):
    layer = front.layer
    front.value = 2
    layer.mode = "polygon"
    corners = [(5, 45), (5, 60), (20, 60), (20, 45)]
    plain = Labels(front.sheet.mask.copy())
    plain.paint_polygon(corners, 2)
    layer.paint_polygon(corners, 2)
    assert names(front) == ["Polygon: green"] and np.array_equal(front.sheet.mask, plain.data)
    layer.mode = "paint"
    layer._begin_stroke()  # as the overlay of the right button does
    layer._draw(2, np.array([30.0, 45.0]), np.array([30.0, 58.0]))
    layer.paint_polygon([(30, 45), (30, 58), (45, 58)], 2)
    layer._commit_stroke()
    assert names(front) == ["Polygon: green", "Brush: green"] and shown_is_held(front)
    before = front.sheet.mask.copy()
    layer._begin_stroke()
    layer._draw(1, np.array([30.0, 45.0]), np.array([30.0, 58.0]))
    layer._abort_stroke()
    assert np.array_equal(front.sheet.mask, before) and shown_is_held(front) and len(names(front)) == 2


def test_the_eraser_brings_the_proposal_back_even_where_nothing_is_painted(desk, front):
    layer, proposal = front.layer, front.sheet.proposal.copy()
    front.apply("away", "t", (0, 0, 48, 64), np.ones((48, 64), bool), 0)
    layer.mode, layer.brush_size = "erase", 11
    stroke(layer, [(28, 20), (34, 20)], 0)
    assert names(front)[-1] == "Eraser: to the proposal"
    back = front.sheet.mask != 0
    assert (
        back.sum() > 100 and np.array_equal(front.sheet.mask[back], proposal[back]) and shown_is_held(front)
    )
    desk.corrections.surface.erase_to = "background"
    stroke(layer, [(28, 20), (34, 20)], 0)
    assert names(front)[-1] == "Eraser: to background" and not front.sheet.mask.any()


def test_an_image_switch_in_the_middle_of_a_stroke(desk, front, small_project):
    layer = front.layer
    front.value = 2
    layer._begin_stroke()
    layer._draw(2, np.array([20.0, 5.0]), np.array([20.0, 50.0]))
    desk.corrections.show("im_001")
    other = front.sheet.mask.copy()
    layer._draw(2, np.array([20.0, 50.0]), np.array([40.0, 50.0]))  # the hand still moves
    layer._commit_stroke()
    assert np.array_equal(front.sheet.mask, other) and shown_is_held(front)
    assert names(front) == ["Brush: green"], "the stroke stays with the image it was drawn on"
    assert front.room.steps("im_001") == []
    stroke(layer, [(20, 20)], 2)
    assert len(front.room.steps("im_001")) == 1, "the next stroke counts again"


def test_what_other_plugins_write_is_a_step_or_is_taken_back(front):
    layer = front.layer
    layer.data_setitem((np.array([1, 2]), np.array([1, 2])), 2)
    assert names(front) == ["Edit by another tool"] and (front.sheet.mask[1, 1], front.sheet.mask[2, 2]) == (
        2,
        2,
    )
    assert empty_history(layer) and shown_is_held(front)
    changed = np.array(layer.data)
    changed[40:44, 50:60] = 77  # no class has it
    layer.data = changed
    assert (front.sheet.mask[40:44, 50:60] == UNSURE).all() and shown_is_held(front)
    layer.data = np.zeros((9, 9), np.uint8)
    assert front.layer.data.shape == (48, 64) and shown_is_held(front) and len(names(front)) == 2


def test_ctrl_and_the_wheel_change_the_brush(front):
    layer = front.layer
    resize = layer.mouse_wheel_callbacks[-1]
    layer.brush_size = 4
    turned = Wheel(1.0, "Control")
    resize(layer, turned)
    assert layer.brush_size == 5 and turned.handled
    for _ in range(30):
        resize(layer, Wheel(-1.0, "Control"))
    assert layer.brush_size == 1
    resize(layer, Wheel(1.0))
    resize(layer, Wheel(1.0, "Alt"))
    assert layer.brush_size == 1, "the plain wheel zooms, and Alt is heard before napari hears it"


def test_a_refused_step_leaves_nothing_on_the_screen(front, monkeypatch):
    from engine.errors import UserError

    def full(*_args, **_kwargs):
        raise UserError("The disk is full.")

    monkeypatch.setattr(type(front.room), "commit", full)
    stroke(front.layer, [(5, 5), (5, 60)], 2)
    assert not (front.sheet.mask == 2).any() and shown_is_held(front)


def test_a_layer_that_a_person_deletes_comes_back_on_request(desk, front):
    viewer = desk.viewer
    stroke(front.layer, [(5, 5), (5, 60)], 2)
    held = front.sheet.mask.copy()
    viewer.layers.remove(front.layer)
    assert front.layer is None
    assert front.undo() and front.redo() and np.array_equal(front.sheet.mask, held)
    front.show()
    assert shown_is_held(front)
