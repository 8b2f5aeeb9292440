"""Compose the pictures of a climb's steps: the frames of a film, and a strip."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from engine.film.reel import Reel
from engine.results import enlarge

__all__ = ["Strip", "frames", "levels"]

_AMPLIFIED = 8
_GREY = 128.0
_GAP = 8
_TITLE, _CAPTION = 16, 12
_LINE = _CAPTION + 6
_PAPER, _INK = (24, 24, 24), (235, 235, 235)
_MORE = np.array((255, 150, 30), np.float32)
_LESS = np.array((60, 140, 255), np.float32)
_NAMES = {"map": "aggregated map", "perturbation": f"perturbation x {_AMPLIFIED}"}

_Pixels = NDArray[np.uint8]
_Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _Scene:
    """One step: its pictures [h, w, 3] in the order of the reel's kinds, and the largest change of A_t."""

    step: int
    cells: tuple[_Pixels, ...]
    most: float


def frames(reel: Reel, steps: Iterable[int], ending: str) -> Iterator[_Pixels]:
    """Yield one picture [H, W, 3] uint8 of even height and width for each of the steps, which ascend."""
    h, w = reel.side(ending)
    wide, top = max(w, 160), 2 * _GAP + _TITLE + _LINE
    width = len(reel.kinds) * (wide + _GAP) + _GAP
    height = top + h + _GAP
    for scene in _scenes(reel, steps, ending):
        canvas = Pillow.new("RGB", (width + width % 2, height + height % 2), _PAPER)
        pen = ImageDraw.Draw(canvas)
        tail = f"   step {scene.step} of {reel.path.last}   score {reel.score(scene.step):.2f}"
        _say(pen, (_GAP, _GAP), reel.name, _TITLE, width - 2 * _GAP, tail)
        for k, (kind, cell) in enumerate(zip(reel.kinds, scene.cells, strict=True)):
            left = _GAP + k * (wide + _GAP)
            tail = f", at most {100 * scene.most:.1f} %" if kind == "change" and scene.step else ""
            _say(pen, (left, top - _LINE), _NAMES.get(kind, kind), _CAPTION, wide, tail)
            canvas.paste(Pillow.fromarray(cell), (left + (wide - w) // 2, top))
        yield np.asarray(canvas)


class Strip:
    """Steps side by side, one row for each kind of picture; drawn step by step."""

    def __init__(self, reel: Reel) -> None:
        self._reel = reel
        self._steps = reel.steps_in(".png")
        h, w = reel.side(".png")
        self._wide, self._high, self._top = max(w, 110), _LINE + h + _GAP, 2 * _GAP + _TITLE + 2 * _LINE
        width = len(self._steps) * (self._wide + _GAP) + _GAP
        self.canvas = Pillow.new("RGB", (width, self._top + len(reel.kinds) * self._high), _PAPER)
        self._pen = ImageDraw.Draw(self.canvas)
        room = width - 2 * _GAP
        _say(self._pen, (_GAP, _GAP), f"{reel.name} in {reel.path.leaf.image}", _TITLE, room)
        for k, kind in enumerate(reel.kinds):
            text = _NAMES.get(kind, kind)
            if kind == "change":
                text = "change since the step before, in full colour where it is largest"
            _say(self._pen, (_GAP, self._top + k * self._high), text, _CAPTION, room)

    def draw(self) -> Iterator[int]:
        """Draw the steps; yield how many there are so far."""
        reel = self._reel
        for n, scene in enumerate(_scenes(reel, self._steps, ".png")):
            left = _GAP + n * (self._wide + _GAP)
            for line, text in enumerate((f"step {scene.step}", f"score {reel.score(scene.step):.2f}")):
                _say(self._pen, (left, 2 * _GAP + _TITLE + line * _LINE), text, _CAPTION, self._wide)
            for k, cell in enumerate(scene.cells):
                at = (left + (self._wide - cell.shape[1]) // 2, self._top + k * self._high + _LINE)
                self.canvas.paste(Pillow.fromarray(cell), at)
            yield n + 1


def levels(values: NDArray[Any]) -> _Pixels:
    """Return grey levels rounded and held within 0 to 255, uint8."""
    return np.asarray((values.clip(0, 255) + 0.5).astype(np.uint8))


def _scenes(reel: Reel, steps: Iterable[int], ending: str) -> Iterator[_Scene]:
    size, leaf = reel.side(ending), reel.path.leaf
    scale = size[0] / leaf.size[0]
    cell, origin = leaf.cell * scale, (leaf.origin + 0.5) * scale - 0.5
    photograph = _resized(reel.photograph, size)  # [h, w, 3]
    ground = photograph.astype(np.float32)
    wanted = set(steps)
    before: _Floats | None = None
    for step, now in enumerate(reel.attributions()):
        if step in wanted:
            change = np.zeros_like(now) if before is None else now - before
            most = float(np.abs(change).max(initial=0.0))
            if most > 0:
                change /= np.float32(most)
            full = enlarge(np.stack([now, change]), size, cell, origin)  # [2, h, w]
            heat, differs = _heated(ground, full[0]), _changed(ground, full[1])
            if reel.has_pictures:
                moved = _resized(reel.moved(step), size)  # [h, w, 3]
                cells = (levels(ground + moved), heat, levels(_GREY + _AMPLIFIED * moved), differs)
                yield _Scene(step, cells, most)
            else:
                yield _Scene(step, (photograph, heat, differs), most)
        before = now


def _heated(ground: _Floats, full: _Floats) -> _Pixels:
    """Lay a map in [0, 1] over the photograph, in the colours of inferno."""
    heat = cv2.applyColorMap(levels(255 * full), cv2.COLORMAP_INFERNO)[..., ::-1]  # [h, w, 3], was BGR
    return levels(0.4 * ground + np.float32(0.6) * heat)


def _changed(ground: _Floats, full: _Floats) -> _Pixels:
    """Lay a change in [-1, 1] over the photograph: orange where there is more, blue where there is less."""
    share = np.abs(full)[..., None]  # [h, w, 1]
    colour = np.where(full[..., None] > 0, _MORE, _LESS)  # [h, w, 3]
    return levels(0.5 * ground * (1 - share) + colour * share)


def _resized(pixels: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Return [H, W, 3] pixels at another size: averaged to a smaller one, repeated to a larger one."""
    if pixels.shape[:2] == size:
        return pixels
    how = cv2.INTER_AREA if size[0] < pixels.shape[0] else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(pixels, (size[1], size[0]), interpolation=how))


def _say(pen: Any, at: tuple[int, int], text: str, size: int, room: int, tail: str = "") -> None:
    """Write a line; its text, not its tail, is cut where there is no room."""
    font = _font(size)
    shown = text
    while shown and font.getlength(shown + tail) > room:
        text = text[:-1]
        shown = text + "…" if text else ""
    pen.text(at, shown + tail, _INK, font)


@functools.lru_cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)
