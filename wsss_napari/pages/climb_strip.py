"""The plot strip of the Climb page: the curves of the climb in front, or the figure of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer

from engine.labels import LabelRule
from wsss_napari.climb_view import StepView
from wsss_napari.forms import Fold
from wsss_napari.step_curves import GrowingCurves
from wsss_napari.step_plots import StepPlots
from wsss_napari.studies_panel import StudiesPanel

if TYPE_CHECKING:
    from wsss_napari.pages.climb import ClimbPage

__all__ = ["ClimbStrip"]

_CURSOR_MS = 120


class ClimbStrip(QObject):
    """Reckons the curves of a climb, shows them under the canvas, and makes room for the studies' figures.

    Args:
        page: The Climb page.
    """

    def __init__(self, page: ClimbPage) -> None:
        super().__init__(page)
        self.page = page
        self.plots = StepPlots()
        self.best: int | None = None
        self._curves: GrowingCurves | None = None
        self._second: GrowingCurves | None = None
        self._drawn = False
        # Four plots take longer to paint than a frame of the canvas, so they follow at their own pace.
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_CURSOR_MS)
        self._rest.timeout.connect(self._catch_up)
        self._step, self._late = 0, False
        # A study's figure stays in front until it is closed.
        self._figure = False
        self.studies = StudiesPanel(page.desk, page)
        self.fold = Fold("Studies on a split", self.studies, page)
        page.panel.foot.addWidget(self.fold)
        self.plots.moved.connect(page.go)
        page.panel.best.clicked.connect(lambda: page.go(self.best or 0))
        self.fold.head.toggled.connect(lambda _on: self._studies_shown())
        self.studies.figure_shown.connect(self._figure_shown)
        self.studies.figure_closed.connect(self._figure_closed)
        self.studies.news.connect(page.news)
        self.studies.command_changed.connect(page.command_changed)

    def enter(self) -> None:
        """Let the studies be used, if they are open."""
        self._studies_shown()

    def leave(self) -> None:
        """Take everything out of the strip."""
        self.studies.leave()
        self._figure = False
        self.hide()

    def command(self) -> str | None:
        """Return the line of the study that is open, or None."""
        return self.studies.command() if self.fold.head.isChecked() else None

    def take_settings(self, settings: dict[str, Any]) -> None:
        """Let the studies climb as the form says."""
        self.studies.set_settings(settings)

    def begin(self, rule: LabelRule, truth: NDArray[np.uint8] | None) -> None:
        """Begin with the climbs of another image or class."""
        self._curves, self._second = GrowingCurves(rule, truth), GrowingCurves(rule, truth)
        self.best = None

    def move(self, step: int) -> None:
        """Put the cursor on a step."""
        if not self._drawn:
            return
        self._step = step
        if not self._rest.isActive():
            self._put_cursor()
            self._rest.start()
            self._late = False
        else:
            self._late = True

    def show(self, view: StepView, second: StepView | None, rule: LabelRule, title: str) -> None:
        """Draw the curves of a climb, and dashed those of the one beside it.

        Raises:
            UserError: A climb is damaged.
        """
        page = self.page
        if self._curves is None or self._second is None or page.session.project is None:
            return
        if not isalive(self.plots):  # the strip went with the window
            self._drawn = False
            return
        for growing in (self._curves, self._second):
            growing.set_rule(rule)
        curves = self._curves.update(view.path)
        self.best = curves.best
        page.panel.show_best(curves)
        self.plots.show_path(curves, page.desk.colours, page.session.project.classes)
        self.plots.show_second(None if second is None else self._second.update(second.path))
        self.plots.set_cursor(page.step)
        self._drawn = True
        if not self._figure:
            page.desk.plots.show(self.plots, title)

    def hide(self) -> None:
        """Take the curves away."""
        # Asking for the strip would make one; without curves there never was any.
        if self._drawn:
            self.page.desk.plots.hide(self.plots)
            self._drawn = False

    def _put_cursor(self) -> None:
        if self._drawn and isalive(self.plots):
            self.plots.set_cursor(self._step)

    def _catch_up(self) -> None:
        if self._late:
            self.move(self._step)

    def _studies_shown(self) -> None:
        if self.fold.head.isChecked() and self.page.shown:
            self.studies.enter()
        self.page.command_changed.emit()

    def _figure_shown(self) -> None:
        self._figure = True

    def _figure_closed(self) -> None:
        self._figure = False
        if self._drawn and self.page.view is not None:
            self.page.show_figures()
