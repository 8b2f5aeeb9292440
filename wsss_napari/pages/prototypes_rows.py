"""The two galleries of the Prototypes page: the neighbours, and the rows of one of them; off, evicted, pinned."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence, Sized
from functools import partial
from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QPoint
from qtpy.QtGui import QColor, QCursor

from engine.results import PrototypeBank, image_key
from engine.store import Project
from wsss_napari.prototype_bank import Hand
from wsss_napari.prototype_clusters import ClusterLine
from wsss_napari.prototype_gallery import Cell
from wsss_napari.prototype_view import Neighbour, PrototypeScene

if TYPE_CHECKING:
    from wsss_napari.pages.prototypes import PrototypesPage

__all__ = ["PrototypesRows", "counted"]


class PrototypesRows(QObject):
    """Fills the galleries from the scene, and does to the bank what a person does to them.

    Args:
        page: The Prototypes page.

    Attributes:
        chosen: The prototype whose rows are shown, or None before there is one.
        held: Rows in the lasso, which are then shown instead.
    """

    def __init__(self, page: PrototypesPage) -> None:
        super().__init__(page)
        self.page = page
        self.chosen: int | None = None
        self.held: tuple[int, ...] = ()
        self._of: tuple[PrototypeBank, int] | None = None
        self._stems: dict[int, str] = {}
        panes = page.panel.galleries
        panes.neighbours.hovered.connect(self._hover)
        panes.neighbours.picked.connect(self.toggle)
        panes.neighbours.opened.connect(self.choose)
        panes.neighbours.menu_asked.connect(self._prototype_menu)
        for signal in (panes.rows.picked, panes.rows.opened):
            signal.connect(lambda row: self._row_menu(row, QCursor.pos()))
        panes.rows.menu_asked.connect(self._row_menu)
        panes.grid.row_picked.connect(self._cluster_menu)
        panes.grid.opened.connect(self.choose)
        panes.turned.connect(lambda _clusters: self.show_clusters())
        panes.evict_all.clicked.connect(lambda: self.evict(*self.held))
        panes.pin_all.clicked.connect(lambda: self.pin(*self.held))
        panes.let_go.clicked.connect(lambda: self.hold(()))

    def use(self, project: Project | None) -> None:
        """Find the images of rows in this project from now on."""
        self._stems = {} if project is None else {image_key(stem): stem for stem in project.usable}

    def open(self, scene: PrototypeScene) -> None:
        """Begin with another scene; the lasso stays while it is the same class of the same bank."""
        of = (scene.bank, scene.cls)
        if of != self._of:
            self._of = of
            self._drop()
        self.chosen = None

    def stem_of(self, row: int) -> str | None:
        """Return the image of a row of the chosen class, or None when the project has it no more."""
        scene = self.page.scene
        return None if scene is None else self.stem_of_key(int(scene.bank.keys[scene.cls, row]))

    def stem_of_key(self, key: int) -> str | None:
        """Return the image that a bank knows by a number, or None when the project has it no more."""
        return self._stems.get(key)

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
        """Show the neighbours as they are now, and the rows of the chosen one or of the lasso."""
        scene, panes = self.page.scene, self.page.panel.galleries
        if scene is None:
            return
        found = scene.neighbours()
        if self.chosen is None or not scene.known or self.chosen >= int(scene.bank.count[scene.cls]):
            self.chosen = found[0].prototype if found else None
        longest = max((max(n.weight, n.similar) for n in found if not n.off), default=0.0)
        panes.neighbours.show_cells([self._neighbour_cell(n, longest) for n in found], self.chosen)
        panes.neighbours.setVisible(bool(found))
        panes.legend.setVisible(bool(found))
        on = sum(not n.off for n in found)
        total = int(scene.bank.count[scene.cls]) if scene.known else 0
        panes.title.setText(f"{on} of {total} prototypes")
        self._show_rows(scene)

    def show_clusters(self) -> None:
        """Show what each prototype of the class stands for, while the clusters are in front."""
        scene, page, panes = self.page.scene, self.page, self.page.panel.galleries
        if scene is None or not panes.clusters_shown:
            return
        page.rounds.offer()
        earlier = page.rounds.shown
        if earlier is None:
            order = scene.clusters()
            sizes = [len(scene.rows_of(n)) for n in order]
            weights = {n.prototype: n.weight for n in scene.neighbours() if not n.off}
            lines = [self._cluster(scene, n, weights.get(n), max(sizes[0], 1)) for n in order]
            words = self._round_words(scene, sum(sizes))
        else:
            lines = page.rounds.lines()
            sizes = [len(line.cells) for line in lines]
            words = (
                f"As the bank was in epoch {earlier.epoch + 1}: to look at. Pin and evict rows in epoch "
                f"{scene.epoch + 1}."
            )
        shade = page.desk.colours[scene.cls]
        panes.grid.show_lines(lines, shade, self.chosen)
        panes.show_sizes(sizes, QColor(shade))
        panes.sizes.setVisible(bool(sizes))
        panes.sizes.tell(f"{min(sizes)} to {max(sizes)} rows a prototype" if sizes else "")
        panes.round.setText(words)

    def choose(self, prototype: int) -> None:
        """Show the rows of a prototype."""
        self.chosen = prototype
        self._drop()
        self.show()
        self.show_clusters()

    def hold(self, rows: Sequence[int]) -> None:
        """Show the rows that a lasso went round; without any it is let go."""
        if self.page.scene is None:
            return
        self.held = tuple(rows)
        if not rows:
            self._drop()
        self.show()
        self.page.show_figures()

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

    def evict(self, *rows: int) -> None:
        """Let rows of the bank take no part, or bring them back when none of them does; one step to undo."""
        scene = self.page.scene
        if scene is None or not rows:
            return
        staying = [row for row in rows if row not in scene.hand.evicted]
        word = "evict" if staying else "bring back"
        self._do(
            f"{word} {_named(rows)} of {self.page.class_name}",
            partial(_flip, scene.hand, "evicted", *(staying or rows)),
        )

    def pin(self, *rows: int) -> None:
        """Keep rows first in the gallery, or no longer when all of them are; one step to undo."""
        scene = self.page.scene
        if scene is None or not rows:
            return
        before = list(scene.hand.pinned)
        new = [row for row in rows if row not in before]
        after = [*before, *new] if new else [row for row in before if row not in rows]
        word = "pin" if new else "unpin"
        self._do(
            f"{word} {_named(rows)} of {self.page.class_name}",
            partial(_put, scene.hand.pinned, after),
            partial(_put, scene.hand.pinned, before),
        )

    def show_image(self, row: int) -> None:
        """Show the image that a row comes from."""
        stem = self.stem_of(row)
        if stem is not None:
            self.page.desk.guard(self.page.session.jump, stem)
        else:
            self.page.desk.said("info", "The image of this row is no longer in the project.")

    def _do(self, name: str, apply: Callable[[], None], revert: Callable[[], None] | None = None) -> None:
        """Do what can be undone; without `revert` it is its own inverse."""

        def act(change: Callable[[], None]) -> None:
            change()
            if isalive(self) and self.page.shown:
                self.page.redraw()
                self.page.show_figures()

        self.page.session.history.do(name, partial(act, apply), partial(act, revert or apply))

    def _drop(self) -> None:
        self.held = ()
        if isalive(self.page.plots):
            self.page.plots.drop_lasso()

    def _hover(self, prototype: int) -> None:
        scene = self.page.scene
        on = scene is not None and scene.passage is not None and prototype in scene.passage.order
        self.page.light(prototype if on else None)

    def _prototype_menu(self, prototype: int, where: QPoint) -> None:
        scene = self.page.scene
        if scene is None:
            return
        menu = self.page.panel.galleries.menu
        menu.clear()
        word = "Switch on" if prototype in scene.hand.off else "Switch off"
        menu.addAction(word).triggered.connect(lambda _=False: self.toggle(prototype))
        menu.addAction("Show its rows").triggered.connect(lambda _=False: self.choose(prototype))
        menu.popup(where)

    def _cluster_menu(self, row: int, where: QPoint) -> None:
        rounds = self.page.rounds
        if rounds.shown is None:
            self._row_menu(row, where)
        else:
            rounds.show_menu(row, where)

    def _row_menu(self, row: int, where: QPoint) -> None:
        scene = self.page.scene
        if scene is None:
            return
        menu = self.page.panel.galleries.menu
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
        panel = self.page.panel.galleries
        held = self.held
        panel.show_lasso(
            len(held),
            evict=not all(row in scene.hand.evicted for row in held),
            pin=not all(row in scene.hand.pinned for row in held),
        )
        if held:
            panel.rows.show_cells([self._row_cell(scene, row) for row in held])
            panel.show_rows(f"{counted(held)} in the lasso", True)
            return
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

    def _cluster(self, scene: PrototypeScene, prototype: int, weight: float | None, most: int) -> ClusterLine:
        rows = scene.rows_of(prototype)
        off = prototype in scene.hand.off
        here = "off" if off else "no neighbour" if weight is None else f"weight {weight:.2f}"
        name = f"{self.page.class_name} · prototype {prototype}"
        return ClusterLine(
            prototype,
            f"{name} · {counted(rows)} · {here}",
            f"<p>{html.escape(name)}, {counted(rows)}, {here} in this image.</p><p>Click: its rows below. Click on a crop: pin it, evict "
            "it, or show its image.</p>",
            tuple(self._row_cell(scene, row) for row in rows),
            len(rows) / most,
            off,
        )

    def _round_words(self, scene: PrototypeScene, made_of: int) -> str:
        """Return when the clusters were made, and what is not among them."""
        if scene.epoch < 0:
            return f"No confident image left a prototype of {self.page.class_name} behind."
        later = len(scene.scores()) - made_of
        since = f" {counted(range(later))} came later and belong to none." if later else ""
        return f"Made in epoch {scene.epoch + 1}; each epoch makes them anew.{since}"

    def _neighbour_cell(self, found: Neighbour, longest: float) -> Cell:
        scene = self.page.scene
        assert scene is not None
        lead = next((r for r in found.rows if r not in scene.hand.evicted), None)
        count = counted(found.rows)
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


def _flip(hand: Hand, which: str, *items: int) -> None:
    found: set[int] = getattr(hand, which)
    found ^= set(items)


def _put(listed: list[int], rows: list[int]) -> None:
    listed[:] = rows


def counted(rows: Sized) -> str:
    """Return how many rows there are, in words."""
    return f"{len(rows)} row{'s' if len(rows) != 1 else ''}"


def _named(rows: Sequence[int]) -> str:
    return f"row {rows[0]}" if len(rows) == 1 else counted(rows)
