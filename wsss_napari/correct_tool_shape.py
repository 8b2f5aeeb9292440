"""Tools on whole shapes: holes, specks, borders, size, what lies under; and one class made another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QWidget

from engine.params import Field
from engine.tools import (
    EMPTY,
    Change,
    Point,
    Region,
    component,
    convert,
    fill_holes,
    grow,
    remove_specks,
    remove_underlying,
    shrink,
    smooth,
)
from engine.tools.region import pixel_of
from wsss_napari.correct_tool import Tool
from wsss_napari.correct_tool_options import chosen, refill
from wsss_napari.correct_tool_preview import outlined, skipped
from wsss_napari.correct_tool_reach import Reach
from wsss_napari.palette import UNSURE
from wsss_napari.slide_entry import SlideEntry

__all__ = ["ConvertTool", "ShapeTool"]

NOWHERE: Region = (EMPTY, np.zeros((0, 0), bool))
_OVER = {"free": (0, UNSURE), "all": None}


class ShapeTool(Tool):
    """Buttons that mend the shape of one class, or of each."""

    NAME: ClassVar[str] = "shape"
    TITLE: ClassVar[str] = "Shape"
    TIP: ClassVar[str] = "Mend the regions of the whole image; each button is one step."
    CURSOR: ClassVar[str] = "standard"

    def __init__(self, reach: Reach, parent: QWidget) -> None:
        super().__init__(reach, parent)
        self.which = self.options.choice(
            "Of", (("one", "the class painted"), ("all", "every class")), "Whose regions are mended"
        )
        self.holes, self.under = self.options.buttons(
            ("Fill holes", "Background and unsure pixels that a class encloses become that class", self.fill),
            (
                "Fill over others",
                "Remove what lies under: everything inside the outline becomes the class, other classes too",
                self.underlying,
            ),
        )
        self.specks, self.smallest = self._line(
            "Remove specks",
            "Regions of fewer pixels than this go to what surrounds them",
            Field("smallest", "int", 64, "", low=2, high=10**6, unit="px"),
            self.remove,
        )
        self.smoother, self.radius = self._line(
            "Smooth border",
            "Each pixel takes the value that most pixels of the disc around it have; the radius of the disc",
            Field("radius", "int", 3, "", low=1, high=20, unit="px"),
            self.smooth,
        )
        self.by = self.options.number(
            "Distance", Field("by", "int", 2, "", low=1, high=100, unit="px"), "How far it grows or shrinks"
        )
        self.over = self.options.choice(
            "Grow over",
            (("free", "background and unsure"), ("all", "other classes too")),
            "What a class may take while it grows; the edit mask counts as well",
        )
        self.into = self.options.choice(
            "Shrink into", ((0, "background"), (UNSURE, "unsure")), "What the rim that is taken off becomes"
        )
        self.options.buttons(
            ("Grow", "Add the pixels up to this distance from the class", self.grow),
            (
                "Shrink",
                "Take off the rim of this width; into unsure it makes a border as VOC's has",
                self.shrink,
            ),
        )

    def refresh(self) -> None:
        value = int(self.correction.value)
        word = self.reach.word(value)
        self.which.setItemText(0, f"{word}, what is painted" if value in (0, UNSURE) else word)

    def fill(self) -> None:
        """Fill holes."""
        self._run("Fill holes", lambda mask, value: fill_holes(mask, value))

    def underlying(self) -> None:
        """Give a class all that lies within its outline."""
        value = int(self.correction.value)
        if chosen(self.which) == "all" or value in (0, UNSURE):
            self.reach.said.emit("Choose one class: two classes cannot both take what lies under them.")
            return
        self._run("Fill over others", lambda mask, _value: remove_underlying(mask, value))

    def remove(self) -> None:
        """Remove specks."""
        least = int(self.smallest.read())
        self._run(
            "Remove specks",
            lambda mask, value: remove_specks(mask, value, smallest=least),
            {"smallest": least},
        )

    def smooth(self) -> None:
        """Smooth borders."""
        radius = int(self.radius.read())
        self._run("Smooth border", lambda mask, value: smooth(mask, value, radius=radius), {"radius": radius})

    def grow(self) -> None:
        """Grow."""
        by, over = int(self.by.read()), _OVER[str(chosen(self.over))]
        self._run(
            f"Grow {by} px",
            lambda mask, value: grow(mask, value, pixels=by, over=over),
            {"pixels": by, "over": None if over is None else list(over)},
        )

    def shrink(self) -> None:
        """Shrink."""
        by, into = int(self.by.read()), int(chosen(self.into))
        self._run(
            f"Shrink {by} px",
            lambda mask, value: shrink(mask, value, pixels=by, into=into),
            {"pixels": by, "into": into},
        )

    def _line(
        self, words: str, tip: str, field: Field, action: Callable[[], None]
    ) -> tuple[QWidget, SlideEntry]:
        button = self.options.button(words, tip, action)
        entry = SlideEntry(field, self.options)
        entry.setToolTip(tip)
        entry.setAccessibleName(words)
        at = self.options.grid.rowCount()
        self.options.grid.addWidget(button, at, 0)
        self.options.grid.addWidget(entry, at, 1)
        button.setSizePolicy(button.sizePolicy().Policy.Preferred, button.sizePolicy().Policy.Fixed)
        return button, entry

    def _run(
        self,
        name: str,
        work: Callable[[NDArray[Any], int | None], Change],
        params: dict[str, Any] | None = None,
    ) -> None:
        why = self.reach.forbidden
        if why:
            self.reach.said.emit(why)
            return
        mask = self.reach.mask.copy()
        value = None if chosen(self.which) == "all" else int(self.correction.value)
        words = "every class" if value is None else self.reach.word(value)

        def done(change: Change) -> None:
            self.reach.replace(f"{name}: {words}", self.NAME, *change, {**(params or {}), "value": value})

        self.reach.work.run(name, lambda: work(mask, value), done)


class ConvertTool(Tool):
    """Makes one value another: in the whole image, or only the piece that is clicked."""

    NAME: ClassVar[str] = "convert"
    TITLE: ClassVar[str] = "Convert"
    TIP: ClassVar[str] = "Click a piece of the mask: it alone becomes what is chosen here."
    CURSOR: ClassVar[str] = "pointing"

    def __init__(self, reach: Reach, parent: QWidget) -> None:
        super().__init__(reach, parent)
        self.old = self.options.choice("From", (), "What is exchanged in the whole image")
        self.new = self.options.choice("To", (), "What it becomes, and what a clicked piece becomes")
        (self.everywhere,) = self.options.buttons(
            ("Convert in the whole image", "Exchange it everywhere in this image (Enter)", self.finish)
        )
        self._under: Region = NOWHERE

    def refresh(self) -> None:
        project = self.reach.desk.session.project
        if project is None:
            return
        values = [0, *range(1, len(project.classes) + 1), UNSURE]
        items = [(v, self.reach.word(v), self.reach.colour(v)) for v in values]
        refill(self.old, items, chosen(self.old))
        new = chosen(self.new)
        refill(self.new, items, int(self.correction.value) if new is None else new)

    def finish(self) -> None:
        """Exchange it in the whole image."""
        old, new, why = chosen(self.old), chosen(self.new), self.reach.forbidden
        if why or old is None or new is None or old == new:
            self.reach.said.emit(why or "Choose two that differ.")
            return
        mask = self.reach.mask
        self.reach.replace(
            f"Convert: {self.reach.word(old)} to {self.reach.word(new)}",
            self.NAME,
            *convert(mask, old, new),
            {"old": old, "new": new},
        )

    def pressed(self, point: Point, modifiers: frozenset[str]) -> bool:
        mask, new = self.reach.mask, int(chosen(self.new))
        pixel = pixel_of(point, mask.shape)
        if pixel is None:
            return False
        old = int(mask[pixel])
        if old == new:
            self.reach.said.emit(f"This piece is {self.reach.word(new)} already.")
            return False
        name = f"Convert a piece: {self.reach.word(old)} to {self.reach.word(new)}"
        before = mask.copy()

        def done(found: Region) -> None:
            self.reach.paint(name, self.NAME, *found, new, {"old": old, "new": new})
            self._under = NOWHERE
            self.reach.preview.clear()

        self.reach.work.find("Looking for the piece", int(mask.size), lambda: component(before, point), done)
        return False

    def hovered(self, point: Point) -> None:
        mask = self.reach.mask
        every = skipped(mask.shape)
        near = (point[0] / every, point[1] / every)
        (y0, x0, y1, x1), region = self._under
        y, x = round(near[0]), round(near[1])
        if y0 <= y < y1 and x0 <= x < x1 and region[y - y0, x - x0]:
            return  # still the same piece
        coarse = mask[::every, ::every]
        self._under = component(coarse, near)
        box, region = self._under
        if box == EMPTY:
            self.reach.preview.clear()
            return
        colour = self.reach.colour(int(chosen(self.new)))
        self.reach.preview.show(*outlined(region, box, coarse.shape, colour), every)

    def edited(self) -> None:
        """Look again: the piece under the pointer may be another."""
        self._under = NOWHERE
        self.reach.preview.clear()

    def reset(self) -> None:
        super().reset()
        self._under = NOWHERE
