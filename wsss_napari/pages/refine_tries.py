"""The live preview on the Refine page: what is previewed, what it starts from, and what is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from engine.results import CamStack
from wsss_napari.map_files import read_maps
from wsss_napari.refine_chain import LOCAL, Link, MadeBox
from wsss_napari.refine_preview import Preview, PreviewOrder, Sketch, scale_of

if TYPE_CHECKING:
    from wsss_napari.pages.refine import RefinePage

__all__ = ["RefineTries"]


class RefineTries(QObject):
    """Orders previews of the chain up to the card that is being set, and shows them.

    Args:
        page: The Refine page.
    """

    def __init__(self, page: RefinePage) -> None:
        super().__init__(page)
        self.page = page
        self._preview = Preview(self)
        self._preview.drawn.connect(self._show)
        self._preview.failed.connect(self._failed)
        self._photograph: tuple[str, Any] | None = None

    @property
    def busy(self) -> bool:
        """Whether a preview is being computed."""
        return self._preview.busy

    def ask(self, at: int) -> None:
        """Preview the chain up to a card, of which a setting was moved."""
        cards = self.page.panel.chain.cards
        if not self.page.shown or cards[at].refiner not in LOCAL:
            return
        order = self.page.desk.guard(self._order, at)
        if order is not None:
            self._preview.ask(order)

    def pause(self) -> None:
        """Compute no more; the layer is hidden with all others of the page."""
        self._preview.forget()

    def end(self) -> bool:
        """Take the preview away; return whether there was one."""
        self.pause()
        there = self.page.layers.layer("preview") is not None
        self.page.layers.end_preview()
        self.page.panel.show_preview_note("")
        return there

    def _order(self, at: int) -> PreviewOrder | None:
        page = self.page
        image, stack = page.session.image, page.front.before_stack
        links = [card.link() for card in page.panel.chain.cards[: at + 1]]
        last = links[-1]
        if image is None or stack is None or last is None or page.session.project is None:
            return None
        parts: list[tuple[str, Any]] = []
        notes = []
        for card, link in zip(page.panel.chain.cards, links, strict=False):
            name = card.refiner.upper()
            if card.refiner in LOCAL:
                if link is None:
                    return None
                parts.append((link.refiner, link.settings))
                continue
            found = self._last_result(card.refiner, link, image)
            if found is None:
                page.panel.show_preview_note(
                    f"No preview behind {name} yet: refine this image once, then its result is used."
                )
                return None
            box, stack = found
            parts = []  # what was before that card is in its result
            notes.append(f"{name} as computed last ({box.title}).")
        if self._photograph is None or self._photograph[0] != image:
            self._photograph = (image, page.session.project.read(image).pixels)
        photograph = self._photograph[1]
        words, scale = last.refiner.upper(), scale_of(photograph)
        return PreviewOrder(image, stack, photograph, scale, tuple(parts), words, " ".join(notes))

    def _last_result(self, refiner: str, link: Link | None, image: str) -> tuple[MadeBox, CamStack] | None:
        """Return the newest box of a refiner that has this image, with its maps; the card's own before others."""
        project = self.page.session.project
        assert project is not None
        boxes = [b for b in self.page.boxes if b.refiner == refiner]
        wanted = [s.key for s in self.page.stations() if s.link is link or s.link == link]
        for box in sorted(boxes, key=lambda b: b.key not in wanted):
            stack, _ = read_maps(project, box.views, image)
            if stack is not None and stack.background is not None:
                return box, stack
        return None

    def _show(self, sketch: Sketch) -> None:
        page, order = self.page, sketch.order
        if not page.shown or order.image != page.session.image:
            return
        if len(order.parts) == 1:
            page.jobs.timed(order.parts[0][0], sketch.seconds / max(order.scale, 1e-3) ** 2)
        page.layers.show_preview(order.image, order.words, sketch.mask, sketch.cell)
        side = max(sketch.mask.shape)
        page.panel.show_preview_note(
            f"Preview of {order.words} at {side} px, in {1000 * sketch.seconds:.0f} ms. {order.note}".strip(),
            there=True,
        )

    def _failed(self, why: str) -> None:
        self.page.panel.show_preview_note(why)
