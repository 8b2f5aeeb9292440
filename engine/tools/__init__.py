"""Tools that mend masks: pure functions on arrays, without project, files or window.

Every tool takes the mask as it stands and never writes into it. It answers with a `Region`
(box, bool array in it) that says where, or with a `Change` (box, values in it) that says what
stands there afterwards; `merge` writes either through an edit mask.

    box, region = component_above(scores, (120, 80), 0.4)
    after = merge(mask, box, region, value=3, policy="keep")

    box, after = fill_holes(mask, 3)
    after = merge(mask, box, np.ones(after.shape, bool), after, policy="unsure")

Values: uint8, 0 background, class index (0-based) + 1, 255 unsure. Points: (y, x) in px with
pixel centres at whole numbers. Boxes: (y0, x0, y1, x1), half open.
"""

from __future__ import annotations

from engine.tools.boxes import EMPTY, Box, Change, Point, Region, changed, cut, full, grown, spread, tight
from engine.tools.clicks import Click, apply_clicks
from engine.tools.edit_mask import POLICIES, allowed, merge
from engine.tools.region import component, component_above
from engine.tools.scribble import Stroke, draw, propagate
from engine.tools.shape import (
    convert,
    fill_holes,
    grow,
    remove_specks,
    remove_underlying,
    shrink,
    smooth,
)
from engine.tools.snap import SNAP, snap_border, snap_box
from engine.tools.superpixels import SUPERPIXEL_KINDS, SUPERPIXEL_SIZES, borders, pick, superpixels
from engine.tools.threshold import brush, from_band, threshold_brush
from engine.tools.whole import taken, whole_image

__all__ = [
    "EMPTY",
    "POLICIES",
    "SNAP",
    "SUPERPIXEL_KINDS",
    "SUPERPIXEL_SIZES",
    "Box",
    "Change",
    "Click",
    "Point",
    "Region",
    "Stroke",
    "allowed",
    "apply_clicks",
    "borders",
    "brush",
    "changed",
    "component",
    "component_above",
    "convert",
    "cut",
    "draw",
    "fill_holes",
    "from_band",
    "full",
    "grow",
    "grown",
    "merge",
    "pick",
    "propagate",
    "remove_specks",
    "remove_underlying",
    "shrink",
    "smooth",
    "snap_border",
    "snap_box",
    "spread",
    "superpixels",
    "taken",
    "threshold_brush",
    "tight",
    "whole_image",
]
