"""Region: one click takes a connected piece of any map, step of a climb, refinement or label set."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QWidget

from engine.params import Field
from engine.tools import EMPTY, Region, component, component_above
from engine.tools.region import pixel_of
from wsss_napari.correct_tool import Point, Tool
from wsss_napari.correct_tool_options import chosen, refill
from wsss_napari.correct_tool_preview import outlined, skipped
from wsss_napari.correct_tool_reach import NO_MAPS, Reach
from wsss_napari.correct_tool_sources import Drawn, Source, read_source, sources_of
from wsss_napari.fields import WholeEntry

__all__ = ["RegionTool"]

_SHARE = 0.3


class RegionTool(Tool):
    """Paints the piece of a source that lies under the click."""

    NAME: ClassVar[str] = "region"
    TITLE: ClassVar[str] = "Region"
    TIP: ClassVar[str] = "Click: the connected piece of the source under the pointer is painted."
    CURSOR: ClassVar[str] = "pointing"

    def __init__(self, reach: Reach, parent: QWidget) -> None:
        super().__init__(reach, parent)
        self.source = self.options.choice(
            "Take from",
            (),
            "Maps of a run or of a refinement, a step of a climb, or labels that were made before",
        )
        self.threshold = self.options.number(
            "Threshold",
            Field("threshold", "float", _SHARE, "", low=0, high=1),
            "A piece is what hangs together where m > t: m is the map of the class, t this threshold",
        )
        self.step = WholeEntry(Field("step", "int", 0, "", low=0, high=1 << 16), self.options)
        self.options.row("Step", self.step, "Step of the climb whose aggregated map is taken")
        self.paint_as = self.options.choice(
            "Paint it as",
            (("source", "what the source says"), ("value", "what is painted")),
            "The class that the source gives the piece, or the one that is chosen for painting",
        )
        self.source.currentIndexChanged.connect(lambda _i: self._read())
        self.threshold.edited.connect(self._forget_under)
        self.step.edited.connect(lambda: self._read(step=int(self.step.read() or 0)))
        self.drawn: Drawn | None = None
        self._sources: list[Source] = []
        self._shown: tuple[str, int | None, str] | None = None
        self._under: Region = (EMPTY, np.zeros((0, 0), bool))
        self._show_rows()

    def missing(self) -> str:
        if not self._sources:
            return NO_MAPS
        if self.drawn is None:
            return "The source is being read; a moment." if self.reach.work.words else "Choose a source."
        if self.drawn.mask is None and self.reach.cls not in self.drawn.scores:
            there = ", ".join(self.reach.word(c + 1) for c in self.drawn.scores) or "no class"
            cls = self.reach.cls
            wanted = "the class" if cls is None else self.reach.word(cls + 1)
            return f"This source has no map of {wanted}; there is one of {there}."
        return ""

    def refresh(self) -> None:
        project = self.reach.desk.session.project
        if not self.awake or project is None or self.correction.sheet is None:
            return
        self._sources = sources_of(project, self.reach.stem, self.reach.cls)
        keys = [s.key for s in self._sources]
        wanted = chosen(self.source)
        if wanted not in keys:
            session = self.reach.desk.session
            wanted = f"map:{session.run}/{session.views}"
        refill(self.source, [(s.key, s.words, "") for s in self._sources], wanted)
        self.source.setEnabled(bool(self._sources))
        self._read()

    def pressed(self, point: Point, modifiers: frozenset[str]) -> bool:
        drawn, source, cls = self.drawn, self._chosen, self.reach.cls
        if drawn is None or source is None:
            return False
        share = float(self.threshold.read())
        params: dict[str, Any] = {"source": source.key}
        if drawn.mask is None:
            params["threshold"] = share
        if source.kind == "climb":
            params["step"] = self.step.read()
        value = self._value(point)

        def done(found: Region) -> None:
            box, region = found
            if box == EMPTY:
                word = "the class" if cls is None else self.reach.word(cls + 1)
                self.reach.said.emit(
                    f"The map of {word} is not above {share:g} here. Click elsewhere or lower it."
                )
                return
            name = f"Region of {source.words}: {self.reach.word(value)}"
            self.reach.paint(name, self.NAME, box, region, value, params)
            self._forget_under()

        size = int(self.reach.mask.size)
        self.reach.work.find("Looking for the piece", size, lambda: _piece(drawn, cls, point, share), done)
        return False

    def hovered(self, point: Point) -> None:
        drawn, every = self.drawn, skipped(self.reach.mask.shape)
        if drawn is None:
            return
        (y0, x0, y1, x1), region = self._under
        near = (point[0] / every, point[1] / every)
        y, x = round(near[0]), round(near[1])
        if y0 <= y < y1 and x0 <= x < x1 and region[y - y0, x - x0]:
            return  # still the same piece
        self._under = _piece(drawn, self.reach.cls, near, float(self.threshold.read()), every)
        if self._under[0] == EMPTY:
            self.reach.preview.clear()
            return
        box, region = self._under
        shape = tuple(-(-n // every) for n in self.reach.mask.shape)
        colour = self.reach.colour(self._value(point))
        self.reach.preview.show(*outlined(region, box, shape, colour), every)

    def reset(self) -> None:
        super().reset()
        self._under = (EMPTY, np.zeros((0, 0), bool))

    @property
    def _chosen(self) -> Source | None:
        key = chosen(self.source)
        return next((s for s in self._sources if s.key == key), None)

    def _value(self, point: Point) -> int:
        """Return what the piece under a point is painted as."""
        drawn, cls = self.drawn, self.reach.cls
        if chosen(self.paint_as) == "value" or drawn is None:
            return int(self.correction.value)
        if drawn.mask is None:
            return 0 if cls is None else cls + 1
        pixel = pixel_of(point, drawn.mask.shape)
        return 0 if pixel is None else int(drawn.mask[pixel])

    def _forget_under(self) -> None:
        self._under = (EMPTY, np.zeros((0, 0), bool))
        self.reach.preview.clear()

    def _read(self, step: int = -1) -> None:
        """Read the chosen source in the thread, unless it is the one that was read."""
        project, source = self.reach.desk.session.project, self._chosen
        stem, cls = self.reach.stem, self.reach.cls
        if source is None or project is None or not stem:
            self.drawn, self._shown = None, None
            self._show_rows()
            return
        key = (stem, cls if source.kind == "climb" else None, source.key)
        if step < 0 and key == self._shown and self.drawn is not None:
            return
        photo = self.reach.photo()
        if photo is None:
            return
        self.drawn, self._shown = None, key
        self._forget_under()

        def done(drawn: Drawn) -> None:
            self.drawn = drawn
            if source.kind == "climb":
                with QSignalBlocker(self.step):
                    self.step.setRange(0, drawn.last)
                if step < 0:
                    self.step.write(drawn.last)
            self._show_rows()

        self.reach.work.run(
            f"Reading {source.words}",
            lambda: read_source(project, stem, cls, source, photo, step),
            done,
            of_mask=False,
        )

    def _show_rows(self) -> None:
        source = self._chosen
        decided = self.drawn is not None and self.drawn.mask is not None
        self.options.show_row(self.threshold, not decided)
        self.options.show_row(self.step, source is not None and source.kind == "climb")


def _piece(drawn: Drawn, cls: int | None, point: Point, share: float, every: int = 1) -> Region:
    """Return the piece of a source under a point, looking at each `every`th pixel."""
    if drawn.mask is not None:
        return component(drawn.mask[::every, ::every], point)
    if cls is None or cls not in drawn.scores:
        return EMPTY, np.zeros((0, 0), bool)
    return component_above(drawn.scores[cls][::every, ::every], point, share)
