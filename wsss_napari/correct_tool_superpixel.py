"""Superpixels: take whole pieces of the photograph by click and drag."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QWidget

from engine.tools import EMPTY, SUPERPIXEL_SIZES, borders, full, pick, superpixels
from wsss_napari.correct_tool import Point, Tool
from wsss_napari.correct_tool_options import chosen
from wsss_napari.correct_tool_preview import Trail, outlined, tinted
from wsss_napari.correct_tool_reach import Reach

__all__ = ["SuperpixelTool"]

_KINDS = (("slic", "even pieces (SLIC)"), ("felzenszwalb", "by content (Felzenszwalb)"))
_NAMES = ("fine", "medium", "coarse", "very coarse")
# Sizes of some images: who goes back and forth between two does not wait twice.
_KEPT = 6


class SuperpixelTool(Tool):
    """Paints the superpixels under the pointer."""

    NAME: ClassVar[str] = "superpixel"
    TITLE: ClassVar[str] = "Superpixels"
    TIP: ClassVar[str] = "Click a piece, or drag over several: they take what is painted, as one step."
    CURSOR: ClassVar[str] = "pointing"
    GROUND: ClassVar[str] = "superpixels"

    def __init__(self, reach: Reach, parent: QWidget) -> None:
        super().__init__(reach, parent)
        self.kind = self.options.choice(
            "Pieces",
            _KINDS,
            "SLIC (Achanta 2012) cuts pieces of like size; Felzenszwalb and Huttenlocher (2004) pieces as large as "
            "the picture is plain",
        )
        sizes = [(s, f"{n}, about {s:,} px") for s, n in zip(SUPERPIXEL_SIZES, _NAMES, strict=True)]
        self.size = self.options.choice("Size", sizes, "Pixels in a piece, about")
        self.size.setCurrentIndex(1)
        self.lines = self.options.check("Show all borders", "Draw where the pieces meet", on=True)
        self.kind.currentIndexChanged.connect(lambda _i: self.refresh())
        self.size.currentIndexChanged.connect(lambda _i: self.refresh())
        self.lines.toggled.connect(lambda _on: self._show_lines())
        self.ids: NDArray[np.int32] | None = None
        self._made: OrderedDict[tuple[str, str, int], NDArray[np.int32]] = OrderedDict()
        self._trail: Trail | None = None
        self._at: Point = (0.0, 0.0)
        self._seen: set[int] = set()

    def missing(self) -> str:
        if self.ids is not None:
            return ""
        if self.reach.work.words:
            return "The pieces are being cut; a moment."
        return "Cutting was stopped. Choose a size to cut the pieces."

    def refresh(self) -> None:
        if not self.awake or self.correction.sheet is None:
            return
        key = (self.reach.stem, str(chosen(self.kind)), int(chosen(self.size)))
        self.ids = self._made.get(key)
        if self.ids is not None:
            self._made.move_to_end(key)
            self._show_lines()
            return
        photo = self.reach.photo()
        if photo is None:
            return
        self.reach.preview.clear()
        self.reach.ground.clear()

        def done(ids: NDArray[np.int32]) -> None:
            self._made[key] = ids
            while len(self._made) > _KEPT:
                self._made.popitem(last=False)
            self.ids = ids
            self._show_lines()

        self.reach.work.run(
            "Cutting superpixels", lambda: superpixels(photo, key[1], key[2]), done, of_mask=False
        )

    def pressed(self, point: Point, modifiers: frozenset[str]) -> bool:
        self._trail = Trail(self.reach.mask.shape)
        self._at, self._seen = point, set()
        self._take(point)
        return True

    def dragged(self, point: Point) -> None:
        # A quick drag must not skip pieces that lie between two moves.
        last, self._at = self._at, point
        far = max(abs(point[0] - last[0]), abs(point[1] - last[1]))
        for t in np.linspace(0, 1, int(far // 2) + 2)[1:]:
            self._take((last[0] + t * (point[0] - last[0]), last[1] + t * (point[1] - last[1])))

    def released(self) -> None:
        trail, count, value = self._trail, len(self._seen), int(self.correction.value)
        self.reset()
        if trail is None:
            return
        name = f"Superpixel{'s' if count > 1 else ''}: {self.reach.word(value)}"
        params = {"kind": chosen(self.kind), "size": chosen(self.size), "pieces": count}
        self.reach.paint(name, self.NAME, trail.box, trail.region, value, params)

    def hovered(self, point: Point) -> None:
        number = self._number(point)
        if self.ids is None or number in self._seen:
            return
        self._seen = {number}
        box, region = pick(self.ids, [point])
        if box == EMPTY:
            self.reach.preview.clear()
            return
        box, pixels = outlined(region, box, self.ids.shape, self.reach.colour(int(self.correction.value)))
        self.reach.preview.show(box, pixels)

    def reset(self) -> None:
        super().reset()
        self._trail, self._seen = None, set()

    def _take(self, point: Point) -> None:
        number = self._number(point)
        if number < 0 or number in self._seen or self._trail is None or self.ids is None:
            return
        self._seen.add(number)
        self._trail.add(*pick(self.ids, [point]))
        colour = self.reach.colour(int(self.correction.value))
        self.reach.preview.show(self._trail.box, tinted(self._trail.region, colour))

    def _number(self, point: Point) -> int:
        ids = self.ids
        y, x = int(np.floor(point[0] + 0.5)), int(np.floor(point[1] + 0.5))
        if ids is None or not (0 <= y < ids.shape[0] and 0 <= x < ids.shape[1]):
            return -1
        return int(ids[y, x])

    def _show_lines(self) -> None:
        """Draw where the pieces meet, under what is previewed."""
        ground = self.reach.ground
        if not self.awake or self.ids is None or not self.lines.isChecked():
            ground.clear()
            return
        ground.show(full(self.ids.shape), tinted(borders(self.ids), "#FFFFFF", 90))
