"""What the Prototypes page shows beside a stage's map: the mask and its CRF, the neighbours' peaks, the truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.compat import isalive
from qtpy.QtCore import QObject
from qtpy.QtGui import QCursor
from qtpy.QtWidgets import QToolTip

from engine.errors import UserError
from engine.results import CamStack
from engine.store.truth import has_truth, read_truth
from engine.tags import PRESENT
from wsss_napari._compat import canvas_of
from wsss_napari.canvas_mouse import CanvasMouse
from wsss_napari.mask_view import shares
from wsss_napari.prototype_bank import Hand
from wsss_napari.prototype_masks import FlatMask, crf_order, label_of, stack_of
from wsss_napari.prototype_stages import MASKS, at_of
from wsss_napari.prototype_view import Peak, PrototypeScene
from wsss_napari.refine_preview import Preview, Sketch

if TYPE_CHECKING:
    from wsss_napari.pages.prototypes import PrototypesPage

__all__ = ["PeakTips", "PrototypesSight", "peak_text"]

# The stages at which the neighbours' peaks are seen.
_PEAKED = ("neighbours", "weights")
_TIPS = 6


class PrototypesSight(QObject):
    """Reckons and shows it, at rest and never within a move of a slider.

    Args:
        page: The Prototypes page.
    """

    def __init__(self, page: PrototypesPage) -> None:
        super().__init__(page)
        self.page = page
        self.peaks: list[Peak] = []
        self.preview = Preview(self)
        self.preview.drawn.connect(self._drawn)
        self.preview.failed.connect(self._failed)
        self.tips = PeakTips(page, lambda: self.peaks)
        self._stack: CamStack | None = None
        # What each mask was made from, so that nothing is made twice.
        self._made: dict[str, tuple[CamStack, float]] = {}
        self._shown: dict[str, FlatMask] = {}
        self._photograph: tuple[str, NDArray[np.uint8]] | None = None
        self._fault = ""
        panel = page.panel
        panel.background.edited.connect(self._background_moved)
        panel.truth.toggled.connect(lambda _on: self._show_truth())
        panel.galleries.ranked.connect(self.go_to)
        panel.galleries.peaks.toggled.connect(lambda _on: self.follow())

    @property
    def busy(self) -> bool:
        """Whether a CRF is at work or waits."""
        return self.preview.busy

    def open(self) -> None:
        """Begin with another scene."""
        self.close()
        page, project = self.page, self.page.session.project
        assert project is not None and page.scene is not None
        page.panel.truth.setVisible(has_truth(project, page.scene.view.image))
        self._show_truth()

    def close(self) -> None:
        """Let go of the scene."""
        self.preview.forget()
        self.peaks, self._fault = [], ""
        self.outdated()

    def outdated(self) -> None:
        """Say that a slider or a person's hand moved; what is shown is reckoned anew by `follow`."""
        self._stack = None
        for key in MASKS:
            self._shown.pop(key, None)
            self.page.layers.keep_mask(key, None)

    def follow(self) -> None:
        """Bring up to date what belongs to the stage in front, and nothing else."""
        page, scene = self.page, self.page.scene
        if scene is None or page.panel.paint.isChecked():
            return
        order = scene.by_weight()
        page.panel.galleries.show_rank(order.index(scene.place()) if order else 0, len(order))
        wanted = page.stage in _PEAKED and page.panel.galleries.peaks.isChecked() and bool(order)
        self.peaks = scene.peaks() if wanted else []
        lit = None if scene.passage is None or not order else int(scene.passage.order[scene.place()])
        page.layers.show_peaks(self.peaks if wanted else None, lit)
        if page.stage in MASKS:
            self._draw_mask(scene)
            page.say_stage()

    def go_to(self, at: int) -> None:
        """Show the map of the neighbour that is `at` by weight, 0 the heaviest."""
        page, scene = self.page, self.page.scene
        if scene is None or scene.passage is None or at >= len(scene.passage.order):
            return
        page.light(int(scene.passage.order[scene.by_weight()[at]]))
        page.panel.player.set_step(at_of("neighbours"))

    def line(self) -> str:
        """Return what the mask in front holds, in words."""
        project = self.page.session.project
        if self._fault and self.page.stage == "crf":
            return self._fault
        shown = self._shown.get(self.page.stage)
        if shown is None or project is None:
            return "Refining…" if self.page.stage == "crf" else ""
        names = ("background", *project.classes)
        parts = [f"{names[value]} {share:.0%}" for value, share in shares(shown.mask).items()]
        if self._stack is not None and not self._stack.classes:
            parts.append("no tagged class is seeded here")
        waits = " · refining…" if self.page.stage == "crf" and self.busy else ""
        return " · ".join(parts) + waits

    def _draw_mask(self, scene: PrototypeScene) -> None:
        page, background = self.page, float(self.page.panel.background.read())
        if self._stack is None:
            self._stack = stack_of(scene.view, self._scenes(scene))
        made = (self._stack, background)
        before = self._made.get(page.stage)
        if before is not None and before[0] is made[0] and before[1] == made[1]:
            return
        self._made[page.stage] = made
        self._fault = ""
        if page.stage == "label" or not self._stack.classes:
            self._keep(page.stage, label_of(self._stack, background))
            return
        try:
            photograph = self._read(scene.view.image)
        except UserError as error:
            self._failed(str(error))
            return
        self.preview.ask(crf_order(self._stack, background, photograph))

    def _scenes(self, front: PrototypeScene) -> Sequence[PrototypeScene]:
        """Return the scenes of the classes that compete: those tagged present."""
        page, project = self.page, self.page.session.project
        assert project is not None
        image = front.view.image
        found = []
        for cls in range(len(project.classes)):
            if page.session.tag(image, cls) != PRESENT:
                continue
            found.append(
                front
                if cls == front.cls
                else PrototypeScene(
                    front.view,
                    front.bank,
                    cls,
                    front.choice,
                    page.hands.get(cls, Hand()),
                    alpha=front.alpha,
                    painted=page.painted.get((image, cls)),
                )
            )
        return found

    def _read(self, image: str) -> NDArray[np.uint8]:
        project = self.page.session.project
        assert project is not None
        if self._photograph is None or self._photograph[0] != image:
            self._photograph = (image, project.read(image).pixels)
        return self._photograph[1]

    def _keep(self, key: str, mask: FlatMask) -> None:
        page = self.page
        self._shown[key] = mask
        page.layers.keep_mask(key, mask)
        if page.shown and page.stage == key and not page.panel.paint.isChecked():
            page.layers.show(key)

    def _drawn(self, sketch: Sketch) -> None:
        # What came too late is not kept; another stage may be in front by now, which does not matter.
        if isalive(self.page) and sketch.order.stack is self._stack:
            self._keep("crf", FlatMask(sketch.mask, sketch.cell))
            self.page.say_stage()

    def _failed(self, sentence: str) -> None:
        if isalive(self.page):
            self._fault = sentence
            self._made.pop("crf", None)  # tried again when the stage is turned to
            self.page.say_stage()

    def _background_moved(self) -> None:
        page = self.page
        if page.scene is None:
            return
        if page.stage in MASKS:
            self.follow()
        else:
            page.panel.player.set_step(at_of("label"))

    def _show_truth(self) -> None:
        page, project = self.page, self.page.session.project
        if page.scene is None or project is None:
            return
        image = page.scene.view.image
        wanted = page.panel.truth.isChecked() and has_truth(project, image)
        try:
            page.layers.show_truth(read_truth(project, image) if wanted else None)
        except UserError as error:
            page.panel.show_warning(str(error))


class PeakTips(CanvasMouse):
    """Tells of the peak that the pointer is over, in a tooltip on the canvas.

    Args:
        page: The Prototypes page.
        peaks: Gives those that are shown.
    """

    _KIND = "mouse_move_callbacks"

    def __init__(self, page: PrototypesPage, peaks: Callable[[], Sequence[Peak]]) -> None:
        super().__init__(page)
        self._peaks = peaks
        self._told = ""

    def _heard(self, viewer: Any, event: Any) -> None:
        scene = self._page.scene if isalive(self._page) else None
        if scene is None:
            return
        y, x = (float(v) for v in event.position[-2:])
        reach = scene.view.cell / 2
        near = [p for p in self._peaks() if math.hypot(p.y - y, p.x - x) <= reach]
        text = peak_text(near)
        if text == self._told:
            return
        self._told = text
        canvas = canvas_of(self._page.desk.viewer)
        if text:
            QToolTip.showText(QCursor.pos(), text, canvas)
        else:
            QToolTip.hideText()


def peak_text(peaks: Sequence[Peak]) -> str:
    """Return what is known of the neighbours that peak in one place, as rich text; empty without any."""
    if not peaks:
        return ""
    lines = [
        f"prototype {p.prototype}: w/Σw {p.weight:.3f} · cosine {p.cosine:.3f} · {p.size} row{'s' if p.size != 1 else ''}"
        f" · made in epoch {p.epoch + 1}"
        for p in peaks[:_TIPS]
    ]
    if len(peaks) > _TIPS:
        lines.append(f"and {len(peaks) - _TIPS} more")
    return f"<p style='white-space: pre'>{'<br>'.join(lines)}</p>"
