"""The two galleries of the Prototypes page: the neighbours, and the rows of one of them; off, evicted, pinned."""

from __future__ import annotations

import html
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QPoint
from qtpy.QtGui import QCursor

from engine.results import image_key
from engine.store import Project
from wsss_napari.prototype_bank import Hand
from wsss_napari.prototype_gallery import Cell
from wsss_napari.prototype_view import Neighbour, PrototypeScene

if TYPE_CHECKING:
    from wsss_napari.pages.prototypes import PrototypesPage

__all__ = ["PrototypesRows"]


class PrototypesRows(QObject):
    """Fills the galleries from the scene, and does to the bank what a person does to them.

    Args:
        page: The Prototypes page.

    Attributes:
        chosen: The prototype whose rows are shown, or None before there is one.
    """

    def __init__(self, page: PrototypesPage) -> None:
        super().__init__(page)
        self.page = page
        self.chosen: int | None = None
        self._stems: dict[int, str] = {}
        panel = page.panel
        panel.neighbours.hovered.connect(self._hover)
        panel.neighbours.picked.connect(self.toggle)
        panel.neighbours.opened.connect(self.choose)
        panel.neighbours.menu_asked.connect(self._prototype_menu)
        for signal in (panel.rows.picked, panel.rows.opened):
            signal.connect(lambda row: self._row_menu(row, QCursor.pos()))
        panel.rows.menu_asked.connect(self._row_menu)

    def use(self, project: Project | None) -> None:
        """Find the images of rows in this project from now on."""
        self._stems = {} if project is None else {image_key(stem): stem for stem in project.usable}

    def stem_of(self, row: int) -> str | None:
        """Return the image of a row of the chosen class, or None when the project has it no more."""
        scene = self.page.scene
        return None if scene is None else self._stems.get(int(scene.bank.keys[scene.cls, row]))

    def row_text(self, row: int) -> str:
        """Return what is known of a row, in a line."""
        scene = self.page.scene
        assert scene is not None
        score, area = float(scene.bank.scores[scene.cls, row]), float(scene.bank.areas[scene.cls, row])
        where = self.stem_of(row) or "an image that is no longer here"
        age = int(scene.ages()[row])
        member = int(scene.bank.member[scene.cls, row])
        made = f"prototype {member}" if member >= 0 else "came after the prototypes were made"
        return f"{where} · score {score:.2f} · seed {area:.0%} of the crop · {age} steps old · {made}"

    def show(self) -> None:
        """Show the neighbours as they are now, and the rows of the chosen one."""
        scene, panel = self.page.scene, self.page.panel
        if scene is None:
            return
        found = scene.neighbours()
        if self.chosen is None or not scene.known or self.chosen >= int(scene.bank.count[scene.cls]):
            self.chosen = found[0].prototype if found else None
        longest = max((max(n.weight, n.similar) for n in found if not n.off), default=0.0)
        panel.neighbours.show_cells([self._neighbour_cell(n, longest) for n in found], self.chosen)
        panel.neighbours.setVisible(bool(found))
        panel.legend.setVisible(bool(found))
        on = sum(not n.off for n in found)
        total = int(scene.bank.count[scene.cls]) if scene.known else 0
        panel.neighbours_title.setText(f"Neighbours · {on} of {total}")
        self._show_rows(scene)

    def choose(self, prototype: int) -> None:
        """Show the rows of a prototype."""
        self.chosen = prototype
        self.show()

    def toggle(self, prototype: int) -> None:
        """Switch a prototype off or on; undone as everything else."""
        scene = self.page.scene
        if scene is None:
            return
        on = prototype in scene.hand.off
        self.chosen = prototype
        self._do(
            f"prototype {prototype} of {self.page.class_name} {'on' if on else 'off'}",
            partial(_flip, scene.hand, "off", prototype),
        )

    def evict(self, row: int) -> None:
        """Let a row of the bank take no part, or bring it back."""
        scene = self.page.scene
        if scene is not None:
            word = "bring back" if row in scene.hand.evicted else "evict"
            name = f"{word} row {row} of {self.page.class_name}"
            self._do(name, partial(_flip, scene.hand, "evicted", row))

    def pin(self, row: int) -> None:
        """Keep a row first in the gallery, or no longer."""
        scene = self.page.scene
        if scene is not None:
            word = "unpin" if row in scene.hand.pinned else "pin"
            self._do(f"{word} row {row} of {self.page.class_name}", partial(_flip_pin, scene.hand, row))

    def show_image(self, row: int) -> None:
        """Show the image that a row comes from."""
        stem = self.stem_of(row)
        if stem is not None:
            self.page.desk.guard(self.page.session.jump, stem)
        else:
            self.page.desk.said("info", "The image of this row is no longer in the project.")

    def _do(self, name: str, flip: Callable[[], None]) -> None:
        def act() -> None:
            flip()
            if isalive(self) and self.page.shown:
                self.page.redraw()
                self.page.show_figures()

        # Flipping twice is nothing, so it is its own inverse.
        self.page.session.history.do(name, act, act)

    def _hover(self, prototype: int) -> None:
        scene = self.page.scene
        on = scene is not None and scene.passage is not None and prototype in scene.passage.order
        self.page.light(prototype if on else None)

    def _prototype_menu(self, prototype: int, where: QPoint) -> None:
        scene = self.page.scene
        if scene is None:
            return
        menu = self.page.panel.menu
        menu.clear()
        word = "Switch on" if prototype in scene.hand.off else "Switch off"
        menu.addAction(word).triggered.connect(lambda _=False: self.toggle(prototype))
        menu.addAction("Show its rows").triggered.connect(lambda _=False: self.choose(prototype))
        menu.popup(where)

    def _row_menu(self, row: int, where: QPoint) -> None:
        scene = self.page.scene
        if scene is None:
            return
        menu = self.page.panel.menu
        menu.clear()
        pin = "Unpin" if row in scene.hand.pinned else "Pin: keep it first"
        evict = "Bring back into the bank" if row in scene.hand.evicted else "Evict from the bank"
        menu.addAction(pin).triggered.connect(lambda _=False: self.pin(row))
        menu.addAction(evict).triggered.connect(lambda _=False: self.evict(row))
        stem = self.stem_of(row)
        if stem is not None:
            menu.addAction(f"Show {stem}").triggered.connect(lambda _=False: self.show_image(row))
        menu.popup(where)

    def _show_rows(self, scene: PrototypeScene) -> None:
        panel = self.page.panel
        if self.chosen is None:
            panel.rows.show_cells(())
            panel.show_rows("", False)
            return
        listed = scene.gallery(self.chosen)
        own = len(scene.rows_of(self.chosen))
        title = f"Rows of prototype {self.chosen} · {own}"
        if not own:
            title = f"Prototype {self.chosen}: all its rows were overwritten since it was made"
        panel.rows.show_cells([self._row_cell(scene, row) for row in listed])
        panel.show_rows(title, bool(listed))

    def _neighbour_cell(self, found: Neighbour, longest: float) -> Cell:
        scene = self.page.scene
        assert scene is not None
        lead = next((r for r in found.rows if r not in scene.hand.evicted), None)
        count = f"{len(found.rows)} row{'s' if len(found.rows) != 1 else ''}"
        if found.off:
            tip = f"<p>Prototype {found.prototype}, {count}: switched off. Click: on again.</p>"
            bars = ((0.0, "weight"), (0.0, "similar"))
        else:
            tip = (
                f"<p>Prototype {found.prototype}, {count}<br>w/Σw {found.weight:.3f} · s {found.similar:.3f} · "
                f"cosine {found.cosine:.3f}</p><p>Click: off. Click on the words: its rows.</p>"
            )
            bars = (
                (found.weight / max(longest, 1e-12), "weight"),
                (found.similar / max(longest, 1e-12), "similar"),
            )
        return Cell(
            key=found.prototype,
            stem=None if lead is None else self.stem_of(lead),
            centre=(0.5, 0.5) if lead is None else self._centre(scene, lead),
            text=f"{found.prototype} · off" if found.off else f"{found.prototype} · {found.weight:.2f}",
            tip=tip,
            bars=bars,
            off=found.off,
        )

    def _row_cell(self, scene: PrototypeScene, row: int) -> Cell:
        gone = row in scene.hand.evicted
        return Cell(
            key=row,
            stem=self.stem_of(row),
            centre=self._centre(scene, row),
            text=self.stem_of(row) or "gone",
            tip=f"<p>Row {row}: {html.escape(self.row_text(row))}{'; evicted' if gone else ''}</p>",
            off=gone,
            pinned=row in scene.hand.pinned,
        )

    @staticmethod
    def _centre(scene: PrototypeScene, row: int) -> tuple[float, float]:
        y, x = scene.bank.centres[scene.cls, row].tolist()
        return y, x


def _flip(hand: Hand, which: str, item: int) -> None:
    found: set[int] = getattr(hand, which)
    found ^= {item}


def _flip_pin(hand: Hand, row: int) -> None:
    if row in hand.pinned:
        hand.pinned.remove(row)
    else:
        hand.pinned.append(row)
