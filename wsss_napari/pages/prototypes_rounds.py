"""Earlier rounds of clustering on the Clusters tab, and how far the shift went from epoch to epoch."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, QPoint, QSignalBlocker
from qtpy.QtGui import QColor

from engine.errors import UserError
from engine.results import ClusterRound, rounds_in
from engine.store import Run
from wsss_napari.pages.prototypes_rows import counted
from wsss_napari.prototype_clusters import ClusterLine
from wsss_napari.prototype_gallery import Cell

if TYPE_CHECKING:
    from wsss_napari.pages.prototypes import PrototypesPage

__all__ = ["PrototypesRounds"]


class PrototypesRounds(QObject):
    """Reads the rounds that a training kept; the newest is the bank itself and is left to `PrototypesRows`.

    Args:
        page: The Prototypes page.

    Attributes:
        shown: The earlier round in front, or None while the prototypes of now are.
    """

    def __init__(self, page: PrototypesPage) -> None:
        super().__init__(page)
        self.page = page
        self.shown: ClusterRound | None = None
        self._rounds: dict[int, ClusterRound] | None = {}
        self._run: Run | None = None
        page.panel.galleries.rounds.activated.connect(self._choose)

    def use(self, run: Run) -> None:
        """Look for the rounds of another run, or of the same after it was trained on."""
        self._run, self._rounds, self.shown = run, None, None

    def offer(self) -> None:
        """Offer the rounds of the class, and draw the shift of each."""
        scene, panes = self.page.scene, self.page.panel.galleries
        if scene is None:
            return
        found = [r for r in self._read().values() if np.isfinite(r.shift[scene.cls : scene.cls + 1]).any()]
        earlier = [r.epoch for r in found if r.epoch < scene.epoch]
        if self.shown is not None and self.shown.epoch not in earlier:
            self.shown = None
        with QSignalBlocker(panes.rounds):
            panes.rounds.clear()
            panes.rounds.addItem(f"Epoch {scene.epoch + 1}: the prototypes as they are", None)
            for epoch in reversed(earlier):
                panes.rounds.addItem(f"Epoch {epoch + 1}", epoch)
            if self.shown is not None:
                panes.rounds.setCurrentIndex(panes.rounds.findData(self.shown.epoch))
        panes.rounds.setVisible(scene.epoch >= 0)
        panes.rounds.setEnabled(bool(earlier))
        shade = QColor(self.page.desk.colours[scene.cls])
        panes.show_shifts([(r.epoch + 1, float(r.shift[scene.cls])) for r in found], shade)

    def lines(self) -> list[ClusterLine]:
        """Return the clusters of the round in front, the largest first."""
        scene, kept = self.page.scene, self.shown
        if scene is None or kept is None:
            return []
        clusters = kept.clusters(scene.cls)
        most = max((len(rows) for _, rows in clusters), default=1)
        name = html.escape(self.page.class_name)
        return [
            ClusterLine(
                prototype,
                f"{self.page.class_name} · prototype {prototype} · {counted(rows)}",
                f"<p>{name}, prototype {prototype} as it was in epoch {kept.epoch + 1}.</p><p>Click: the rows of the "
                "prototype that it became. Click on a crop: show its image.</p>",
                tuple(self._cell(kept, scene.cls, row) for row in rows.tolist()),
                len(rows) / most,
            )
            for prototype, rows in clusters
        ]

    def show_menu(self, row: int, where: QPoint) -> None:
        """Offer what can be done to a row that may be long gone: to see its image."""
        scene, kept, menu = self.page.scene, self.shown, self.page.panel.galleries.menu
        if scene is None or kept is None:
            return
        menu.clear()
        stem = self.page.rows.stem_of_key(int(kept.keys[scene.cls, row]))
        if stem is None:
            menu.addAction("The image is no longer in the project").setEnabled(False)
        else:
            show = menu.addAction(f"Show {stem}")
            show.triggered.connect(lambda _=False: self.page.desk.guard(self.page.session.jump, stem))
        menu.popup(where)

    def _read(self) -> dict[int, ClusterRound]:
        """Return the rounds by epoch; those that cannot be read are told once and passed over."""
        if self._rounds is None:
            self._rounds = {}
            for path in (rounds_in(self._run.rounds) if self._run is not None else {}).values():
                try:
                    found = ClusterRound.load(path)
                    self._rounds[found.epoch] = found
                except (UserError, FileNotFoundError) as error:
                    self.page.desk.said("warning", str(error))
        return self._rounds

    def _choose(self, at: int) -> None:
        epoch = self.page.panel.galleries.rounds.itemData(at)
        self.shown = None if epoch is None else self._read().get(epoch)
        self.page.rows.show_clusters()

    def _cell(self, kept: ClusterRound, cls: int, row: int) -> Cell:
        stem = self.page.rows.stem_of_key(int(kept.keys[cls, row]))
        y, x = kept.centres[cls, row].tolist()
        where = html.escape(stem) if stem is not None else "an image that is no longer here"
        return Cell(
            key=row, stem=stem, centre=(y, x), text=stem or "gone", tip=f"<p>{where}, in the bank then</p>"
        )
