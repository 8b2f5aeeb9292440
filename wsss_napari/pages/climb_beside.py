"""Two climbs of the Climb page side by side, at the same step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from engine.colours import rgb_of
from wsss_napari.climb_layers import BranchPair, painted_step
from wsss_napari.climb_view import StepView, path_of
from wsss_napari.side_by_side import Box

if TYPE_CHECKING:
    from wsss_napari.pages.climb import ClimbPage

__all__ = ["ClimbBeside"]


class ClimbBeside(QObject):
    """Chooses the second climb and paints both.

    Args:
        page: The Climb page.
    """

    def __init__(self, page: ClimbPage) -> None:
        super().__init__(page)
        self.page = page
        self.pair = BranchPair(page.desk.layers)
        self._other: tuple[str, StepView] | None = None
        panel = page.panel
        panel.tree.second_chosen.connect(self._choose)
        panel.beside.activated.connect(lambda _index: self._turn())
        panel.compare.toggled.connect(lambda _on: self._turn())

    @property
    def on(self) -> bool:
        """Whether both are shown."""
        return self.pair.on

    @property
    def key(self) -> str | None:
        """Key of the second climb; None while none is shown."""
        return self._offered() if self.page.panel.compare.isChecked() else None

    @property
    def view(self) -> StepView | None:
        """The steps of the second climb while it is shown."""
        return self._other[1] if self.on and self._other is not None else None

    def offer(self, titles: Mapping[str, str]) -> None:
        """Offer these climbs, key -> words; the one that was chosen stays so."""
        own = {key: words.partition(": ")[2] for key, words in titles.items() if key != self.page.key}
        others = [(key, f"climb {key}" + (f" · {words}" if words else "")) for key, words in own.items()]
        self.page.panel.offer_beside(others, self._offered())

    def end(self) -> None:
        """Show one climb again."""
        self.page.panel.compare.setChecked(False)
        self._other = None

    def forget(self) -> None:
        """Read the second climb anew at its next step: it may have grown, or be gone."""
        self._other = None

    def show(self) -> None:
        """Paint both climbs at the step that is shown, if they are shown.

        Raises:
            UserError: The files of one are damaged.
        """
        if self.on:
            self._paint()

    def _turn(self) -> None:
        if self.page.view is not None and self.key is not None:
            self.page.desk.guard(self._paint)
        elif self.on:
            with self.page.layers.acting():
                self.pair.end()
            self.page.show_step()
            self.page.show_truth()
        self.page.show_climbs()
        self.page.show_figures()

    def _choose(self, key: str) -> None:
        at = self.page.panel.beside.findData(key)
        if at >= 0:
            self.page.panel.beside.setCurrentIndex(at)
            self.page.panel.compare.setChecked(True)
            self._turn()

    def _offered(self) -> str | None:
        key = self.page.panel.beside.currentData()
        return key if key in self.page.climbs and key != self.page.key else None

    def _paint(self) -> None:
        page, second = self.page, self._offered()
        if page.view is None or second is None:
            self.end()
            return
        if self._other is None or self._other[0] != second:
            self._other = (second, StepView(path_of(page.climbs, second), page.photograph))
        hidden = page.panel.mask.currentData() == "none"
        boxes = []
        for key, steps in ((page.key or "", page.view), self._other):
            step = min(page.step, steps.last)
            heat, mask = steps.masked(step, page.panel.rule.rule)
            colour = rgb_of(page.desk.colours[steps.leaf.cls])
            shown = painted_step(
                page.photograph, heat, None if hidden else mask, colour, page.desk.settings.colormap
            )
            boxes.append(Box(f"Climb {key} · step {step}", shown))
        with page.layers.acting():
            self.pair.show(boxes)
