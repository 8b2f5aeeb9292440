"""Threshold: accept what the method says under the brush, or in the whole image."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QWidget

from engine.colours import rgb_of
from engine.params import Field
from engine.store import source_of
from engine.tags import PRESENT
from engine.tools import EMPTY, brush, changed, cut, full, merge, threshold_brush, tight, whole_image
from wsss_napari.correct_tool import Point, Tool
from wsss_napari.correct_tool_options import chosen, refill
from wsss_napari.correct_tool_preview import Trail, skipped, tinted
from wsss_napari.correct_tool_reach import NO_MAPS, Reach
from wsss_napari.correct_tool_sources import FullMaps, sources_of
from wsss_napari.map_files import read_maps
from wsss_napari.palette import UNSURE

__all__ = ["ThresholdTool"]

_SHARE = 0.3
_INK = 190


class ThresholdTool(Tool):
    """Paints the class where its map is above a threshold, under the brush or in the whole image."""

    NAME: ClassVar[str] = "threshold"
    TITLE: ClassVar[str] = "Threshold brush"
    TIP: ClassVar[str] = (
        "Paint: under the brush the class is taken where its map is above the threshold. "
        "The button takes it in the whole image."
    )
    CURSOR: ClassVar[str] = "circle"
    BRUSH: ClassVar[bool] = True

    def __init__(self, reach: Reach, parent: QWidget) -> None:
        super().__init__(reach, parent)
        self.threshold = self.options.number(
            "Threshold",
            Field("threshold", "float", _SHARE, "", low=0, high=1),
            "A pixel becomes the class where m > t: m is the map of the class, t this threshold",
        )
        self.which = self.options.choice(
            "Of",
            (("one", "the class painted"), ("all", "all classes")),
            "What the whole image gets: one class, or every class that the image is tagged with, "
            "the best one where its map is above t",
        )
        (self.whole,) = self.options.buttons(
            (
                "Apply to whole image",
                "Do what is seen on the image while the threshold moves, as one step (Enter)",
                self.finish,
            )
        )
        self.source = self.options.choice(
            "Maps of", (), "Run or refinement whose maps m are compared with the threshold"
        )
        self.others = self.options.check(
            "Clear other classes below it too",
            "Where the map is below the threshold, pixels of other classes become background as well. "
            "Off: the map of one class says nothing of the others.",
        )
        self._path: list[Point] = []
        self._trail: Trail | None = None
        self._maps: tuple[object, FullMaps | None] = (None, None)
        self._titles: dict[str, str] = {}
        self._picked = ""
        self._trying = False
        self.source.activated.connect(self._pick)
        self.threshold.edited.connect(self._try)
        self.which.activated.connect(lambda _at: self._try())
        self.others.toggled.connect(lambda _on: self._again())
        reach.correction.policy_changed.connect(self._policy_changed)

    def missing(self) -> str:
        return self.reach.no_map(self.reach.cls, self._maps[1])

    def refresh(self) -> None:
        project = self.reach.desk.session.project
        if not self.awake or project is None or self.correction.sheet is None:
            return
        sources = [s for s in sources_of(project, self.reach.stem, None) if s.kind == "map"]
        self._titles = {s.key: s.words for s in sources}
        session = self.reach.desk.session
        wanted = self._picked if self._picked in self._titles else f"map:{session.run}/{session.views}"
        refill(self.source, [(s.key, s.words, "") for s in sources], wanted)
        self.source.setEnabled(bool(sources))
        self._read()
        value = int(self.correction.value)
        self.which.setItemText(0, "the class painted" if value in (0, UNSURE) else self.reach.word(value))
        self.whole.setEnabled(not self._lacking())
        self._again()

    def finish(self) -> None:
        """Make the class, or all of them, what the maps say in the whole image."""
        why = self.reach.forbidden or self._lacking()
        scores = self._wanted()
        if why or not scores:
            self.reach.said.emit(why)
            return
        share, others = float(self.threshold.read()), bool(self.others.isChecked())
        mask = self.reach.mask
        box, after = changed(mask, full(mask.shape), whole_image(mask, scores, share, over_others=others))
        one = len(scores) == 1 and chosen(self.which) == "one"
        words = self.reach.word(next(iter(scores)) + 1) if one else "all classes"
        key = str(chosen(self.source))
        name = f"Threshold {share:g} of {self._titles[key]}, {words}, whole image"
        params = {"source": key, "threshold": share, "classes": sorted(scores), "over_others": others}
        self.reset()
        self.reach.replace(name, self.NAME, box, after, params)

    def pressed(self, point: Point, modifiers: frozenset[str]) -> bool:
        self._trying = False
        self._path = [point]
        self._trail = Trail(self.reach.mask.shape)
        self._cover([point])
        return True

    def dragged(self, point: Point) -> None:
        self._cover([self._path[-1], point])
        self._path.append(point)

    def released(self) -> None:
        cls = self.reach.cls
        scores = self._scores(cls)
        path, diameter = self._path, self._diameter
        self.reset()
        if cls is None or scores is None:
            return
        share, others = float(self.threshold.read()), bool(self.others.isChecked())
        box, after = threshold_brush(
            self.reach.mask, scores, share, cls + 1, path, diameter, over_others=others
        )
        name = f"Threshold brush: {self.reach.word(cls + 1)}"
        self.reach.replace(
            name, self.NAME, box, after, {"threshold": share, "diameter": diameter, "over_others": others}
        )

    def reset(self) -> None:
        super().reset()
        self._path, self._trail, self._trying = [], None, False

    def edited(self) -> None:
        """Show what would change of the mask as it is now."""
        self._again()

    def _pick(self, _at: int = 0) -> None:
        self._picked = str(chosen(self.source))
        self.refresh()
        self._try()

    def _read(self) -> None:
        """Read the maps of the chosen source, unless they are those that were read."""
        project, key = self.reach.desk.session.project, chosen(self.source)
        self._maps = self._maps if key is not None else (None, None)
        if project is None or key is None:
            return
        views = source_of(project.root, str(key).partition(":")[2])
        file = views.path(self.reach.stem)
        mark = (file, file.stat().st_mtime_ns if file.is_file() else 0)
        if mark == self._maps[0]:
            return
        stack, why = read_maps(project, views, self.reach.stem)
        if stack is not None and stack.size != self.reach.mask.shape:
            stack, why = None, f"The maps of {self._titles[str(key)]} are of another size than the image."
        if why:
            self.reach.said.emit(why)
        self._maps = (mark, None if stack is None else FullMaps(stack))

    def _scores(self, cls: int | None) -> NDArray[np.float32] | None:
        maps = self._maps[1]
        return None if maps is None else maps.scores(cls)

    def _lacking(self) -> str:
        """Return why there is nothing to apply to the whole image, or an empty string."""
        if chosen(self.which) == "one":
            return self.missing()
        maps = self._maps[1]
        if maps is None or not maps.classes:
            return NO_MAPS
        return "" if self._wanted() else "None of these maps is of a class that the image is tagged with."

    def _wanted(self) -> dict[int, NDArray[np.float32]]:
        """Return the maps that decide over the whole image, class -> [H, W] float32 in [0, 1]."""
        maps, project, cls = self._maps[1], self.reach.desk.session.project, self.reach.cls
        if maps is None or project is None:
            return {}
        wanted: tuple[int | None, ...] = (cls,)
        if chosen(self.which) == "all":
            row = project.tags().row(self.reach.stem)
            wanted = tuple(c for c in maps.classes if row[c] == PRESENT)
        found = {c: maps.scores(c) for c in wanted if c is not None}
        return {c: scores for c, scores in found.items() if scores is not None}

    def _policy_changed(self, _policy: str = "") -> None:
        self._again()

    def _try(self) -> None:
        """Show from now on what the button would change."""
        self._trying = True
        self._again()

    def _again(self) -> None:
        if not self._trying or not self.awake or self._trail is not None:
            return
        self.whole.setEnabled(not self._lacking())
        scores = self._wanted()
        if not scores or self.reach.forbidden:
            self.reach.preview.clear()
            return
        every = skipped(self.reach.mask.shape)
        mask = self.reach.mask[::every, ::every]
        coarse = {c: s[::every, ::every] for c, s in scores.items()}
        wanted = whole_image(
            mask, coarse, float(self.threshold.read()), over_others=bool(self.others.isChecked())
        )
        whole, everywhere = full(mask.shape), np.ones(mask.shape, bool)
        after = merge(mask, whole, everywhere, wanted, self.correction.policy, self.correction.inside)
        box, differs = tight(after != mask)
        if box == EMPTY:
            self.reach.preview.clear()
            return
        pixels = np.zeros((*differs.shape, 4), np.uint8)
        inner = cut(after, box)
        for value in np.unique(inner[differs]):
            here = differs & (inner == value)
            pixels[here] = (*rgb_of(self.reach.colour(int(value))), _INK)
        self.reach.preview.show(box, pixels, every)

    @property
    def _diameter(self) -> int:
        return int(self.correction.layer.brush_size)

    def _cover(self, way: list[Point]) -> None:
        """Show what the last stretch of the brush accepts; the whole way is looked at when it ends."""
        cls, trail = self.reach.cls, self._trail
        scores = self._scores(cls)
        if cls is None or scores is None or trail is None:
            return
        box, region = brush(scores.shape, way, self._diameter)
        trail.add(box, region & (cut(scores, box) > float(self.threshold.read())))
        self.reach.preview.show(trail.box, tinted(trail.region, self.reach.colour(cls + 1)))
