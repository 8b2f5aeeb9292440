"""Our layers among a person's own: made once, updated in place, never mistaken, never missed."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication

from wsss_napari.layers import Layers
from wsss_napari.palette import HATCH, UNSURE, class_shades, hatched, ink_on, label_colormap

COLOURS = ("#0072B2", "#E69F00", "#009E73")


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def layers(viewer):
    return Layers(viewer)


def photo(value: int = 0, height: int = 40, width: int = 60) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def mask(height: int = 40, width: int = 60) -> np.ndarray:
    made = np.zeros((height, width), np.uint8)
    made[5:15, 5:25] = 2
    made[20:35, 10:50] = UNSURE
    return made


def test_the_same_key_is_the_same_layer_updated_in_place(viewer, layers):
    first = layers.show_image("photograph", photo(1), "a")
    again = layers.show_image("photograph", photo(2), "b")
    assert again is first and len(viewer.layers) == 1
    assert first.name == "b" and first.data[0, 0, 0] == 2
    other = layers.show_map("map:cat", np.zeros((4, 6)), "cat", scale=(10, 10), translate=(4.5, 4.5))
    assert layers.show_map("map:cat", np.ones((4, 6)), "cat", scale=(10, 10)) is other
    assert tuple(other.scale) == (10, 10) and tuple(other.translate) == (0, 0)
    assert layers.show_labels("label", mask(), "m", COLOURS) is layers.show_labels(
        "label", mask(), "m", COLOURS
    )
    assert len(viewer.layers) == 3


def test_layers_lie_in_their_order_whatever_order_they_came_in(viewer, layers):
    layers.show_labels("label", mask(), "label", COLOURS)
    layers.show_map("map:1", np.zeros((4, 6)), "map 1")
    layers.show_image("photograph", photo(), "photo")
    layers.show_map("map:2", np.zeros((4, 6)), "map 2")
    layers.show_shapes("region", [np.array([[0, 0], [0, 5], [5, 5]])], "region", shape_type="polygon")
    assert [layer.name for layer in viewer.layers] == ["photo", "map 1", "map 2", "label", "region"]


def test_a_persons_contrast_opacity_and_visibility_stay(layers):
    layer = layers.show_map("map:cat", np.random.default_rng(0).random((4, 6)), "cat")
    layer.contrast_limits = (0.2, 0.5)
    layer.opacity = 0.31
    layer.visible = False
    layer.colormap = "viridis"
    layers.show_map("map:cat", np.random.default_rng(1).random((4, 6)), "cat", colormap="turbo")
    layers.show_map("map:cat", np.random.default_rng(1).random((8, 9)), "cat")
    assert layer.contrast_limits == [0.2, 0.5]
    assert (layer.opacity, layer.visible, layer.colormap.name) == (0.31, False, "viridis")
    label = layers.show_labels("label", mask(), "m", COLOURS)
    label.opacity, label.visible, label.contour = 0.9, False, 2
    layers.show_labels("label", mask(50, 70), "m", COLOURS)
    layers.show_labels("label", mask(50, 70), "m", COLOURS)
    assert (label.opacity, label.visible, label.contour) == (0.9, False, 2)


def test_the_chosen_layer_stays_chosen(viewer, layers):
    own = viewer.add_labels(np.zeros((40, 60), np.uint8), name="mine")
    layers.show_image("photograph", photo(), "photo")
    layers.show_labels("label", mask(), "m", COLOURS)
    assert viewer.layers.selection.active is own


@pytest.mark.parametrize("key", ["photograph", "map:cat", "label", "region"])
def test_deleting_or_renaming_any_of_ours_never_raises(viewer, layers, key):
    def show() -> None:
        layers.show_image("photograph", photo(), "photo")
        layers.show_map("map:cat", np.zeros((4, 6)), "cat")
        layers.show_labels("label", mask(), "m", COLOURS)
        layers.show_shapes("region", [np.array([[0, 0], [0, 5], [5, 5]])], "region", shape_type="polygon")

    told = []
    layers.deleted.connect(told.append)
    show()
    layers.get(key).name = "my own name"
    show()
    assert layers.get(key).name == "my own name", "a name that a person gave stays"
    viewer.layers.remove(layers.get(key))
    assert told == [key] and layers.get(key) is None
    layers.remove(key)
    show()
    assert layers.get(key) in viewer.layers and len(viewer.layers) == 4
    viewer.layers.clear()
    assert layers.keys == ()
    layers.remove_all()
    show()
    assert len(viewer.layers) == 4


def test_only_ours_are_removed_even_when_a_person_has_one_of_the_same_name_or_a_copy(viewer, layers):
    layers.show_image("photograph", photo(), "photo")
    mine = viewer.add_image(photo(), name="photo", rgb=True)
    ours = layers.get("photograph")
    copy = type(ours).create(*ours.as_layer_data_tuple())
    viewer.add_layer(copy)
    layers.remove_all()
    assert list(viewer.layers) == [mine, copy]
    assert not layers.owns(copy) and not layers.owns(mine)


def test_removing_by_prefix_and_our_own_removal_is_not_told_as_a_persons(viewer, layers):
    told = []
    layers.deleted.connect(told.append)
    layers.show_map("map:a", np.zeros((4, 6)), "a")
    layers.show_map("map:b", np.zeros((4, 6)), "b")
    layers.show_labels("label", mask(), "m", COLOURS)
    layers.remove_all("map:")
    assert layers.keys == ("label",) and told == []


def test_a_key_that_changes_its_kind_gets_a_new_layer(viewer, layers):
    layers.show_map("x", np.zeros((4, 6)), "flat")
    stack = layers.show_map("x", np.zeros((5, 4, 6)), "stack")
    assert stack.ndim == 3 and len(viewer.layers) == 1
    assert viewer.dims.current_step[0] == 0, "a stack opens at its first step"


def test_a_photograph_of_another_size_fits_the_view_anew_and_one_of_the_same_does_not(viewer, layers):
    layers.show_image("photograph", photo(), "a")
    viewer.camera.zoom = 7.5
    layers.show_image("photograph", photo(3), "b")
    assert viewer.camera.zoom == 7.5
    layers.show_image("photograph", photo(3, 400, 600), "c")
    assert viewer.camera.zoom != 7.5


def test_two_viewers_do_not_share_layers(viewer, layers):
    second = ViewerModel()
    other = Layers(second)
    layers.show_image("photograph", photo(), "a")
    assert other.get("photograph") is None
    other.show_image("photograph", photo(), "b")
    other.remove_all()
    assert layers.get("photograph") in viewer.layers and not second.layers


def test_a_replaced_mask_forgets_napari_own_strokes(layers):
    label = layers.show_labels("label", mask(), "m", COLOURS)
    label.editable = True
    label.data_setitem((np.array([1]), np.array([1])), 3)
    layers.show_labels("label", mask(), "m", COLOURS)
    label.undo()
    assert np.array_equal(label.data, hatched(mask())), "an old stroke must not come back into a new mask"


def test_other_colours_repaint_the_mask(layers):
    label = layers.show_labels("label", mask(), "m", COLOURS)
    before = label.colormap
    layers.show_labels("label", mask(), "m", COLOURS)
    assert label.colormap is before
    layers.show_labels("label", mask(), "m", COLOURS[::-1])
    assert label.colormap is not before
    assert np.allclose(label.get_color(1)[:3], (0, 0x9E / 255, 0x73 / 255))


def test_unsure_pixels_are_striped_and_all_others_untouched():
    made = mask()
    shown = hatched(made)
    unsure = made == UNSURE
    assert set(np.unique(shown[unsure])) == {HATCH, UNSURE}
    assert np.array_equal(shown[~unsure], made[~unsure])
    share = (shown[unsure] == HATCH).mean()
    assert 0.35 < share < 0.65
    into = np.empty_like(made)
    assert hatched(made, out=into) is into and np.array_equal(into, shown)
    assert np.array_equal(made, mask()), "the mask itself is not changed"


def test_every_class_has_its_colour_and_a_foreign_value_is_noticed():
    table = label_colormap(COLOURS)
    assert table[0][3] == 0, "background is clear"
    assert len({tuple(table[k]) for k in (1, 2, 3, HATCH, UNSURE, None)}) == 6
    assert class_shades(COLOURS, "voc") == ("#800000", "#008000", "#808000")
    assert class_shades(COLOURS) == COLOURS


@pytest.mark.parametrize(
    ("colour", "ink"), [("#000000", "#FFFFFF"), ("#FFFFFF", "#000000"), ("#F0E442", "#000000")]
)
def test_ink_reads_on_its_colour(colour, ink):
    assert ink_on(colour) == ink


def test_the_canvas_shows_the_new_mask_by_the_fast_route_and_by_the_slow_one(make_napari_viewer, qtbot):
    """What is on the screen after a repaint in place equals what napari draws afresh."""
    viewer = make_napari_viewer(show=True)
    layers = Layers(viewer)
    label = layers.show_labels("label", np.zeros((40, 60), np.uint8), "m", COLOURS)

    def seen() -> np.ndarray:
        QApplication.processEvents()
        return viewer.screenshot(canvas_only=True, flash=False)

    empty = seen()
    layers.show_labels("label", mask(), "m", COLOURS)
    fast = seen()
    assert not np.array_equal(fast, empty)
    assert len(np.unique(fast.reshape(-1, 4), axis=0)) >= 4, "background, class, and two stripes"
    label.refresh()
    assert np.array_equal(seen(), fast)
    label.contour = 1
    layers.show_labels("label", mask()[::-1].copy(), "m", COLOURS)
    outlined = seen()
    label.contour = 0
    filled = seen()
    assert not np.array_equal(outlined, filled) and not np.array_equal(filled, fast)
    label.visible = False
    layers.show_labels("label", mask(), "m", COLOURS)
    label.visible = True
    assert np.array_equal(seen(), fast), "a mask that came while the layer was hidden is shown with it"
