"""The chain of cards on the Refine page: added by a button each, moved by buttons or by dragging, removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qtpy.QtCore import QPoint, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from wsss_napari.refine_card import RefineCard
from wsss_napari.refine_chain import REFINERS, Link

__all__ = ["ChainEditor"]

_TIPS = {
    "crf": "Snap the masks to the edges of the photograph by a dense CRF",
    "psa": "Spread the maps along affinities that a network learnt from features (PSA)",
    "irn": "Spread the maps up to learnt object boundaries, and tell instances apart (IRN)",
    "par": "Average the maps over pixels of like colour nearby (PAR)",
}


class ChainEditor(QWidget):
    """Cards in the order in which they refine.

    Signals:
        changed: A card came, went or moved.
        slid: (index) a setting of this card changed.
        train_asked: (refiner) the person wants to train its network.
    """

    changed = Signal()
    slid = Signal(int)
    train_asked = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.cards: list[RefineCard] = []
        self._tables: dict[str, Mapping[str, Any]] = {}
        self._networks: Callable[[str], Sequence[tuple[str, str]]] = lambda _refiner: ()
        self.add_buttons: dict[str, QPushButton] = {}
        row = QHBoxLayout()
        row.setSpacing(6)
        row.addWidget(QLabel("Add", self))
        for name in REFINERS:
            button = QPushButton(f"+ {name.upper()}", self)
            button.setToolTip(f"{_TIPS[name]}; it comes last in the chain")
            button.setAccessibleName(f"Add {name.upper()}")
            button.clicked.connect(lambda _checked=False, name=name: self.add(name))
            self.add_buttons[name] = button
            row.addWidget(button, 1)
        self.empty = QLabel("No card yet. Add one: the maps go through the cards from top to bottom.", self)
        self.empty.setWordWrap(True)
        self.empty.setProperty("wsss", "note")
        self._column = QVBoxLayout()
        self._column.setSpacing(6)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(6)
        whole.addLayout(self._column)
        whole.addWidget(self.empty)
        whole.addLayout(row)

    def set_tables(self, tables: Mapping[str, Mapping[str, Any]]) -> None:
        """Take the refiners' cards and field tables, name -> row."""
        self._tables = dict(tables)
        for card in self.cards:
            card.set_table(self._tables.get(card.refiner))

    def set_networks(self, networks: Callable[[str], Sequence[tuple[str, str]]]) -> None:
        """Take what returns the trained networks of a refiner, (id, words) each."""
        self._networks = networks
        self.refill()

    def refill(self) -> None:
        """Offer the networks that there are now."""
        for card in self.cards:
            card.offer_networks(self._networks(card.refiner))

    def add(self, refiner: str) -> RefineCard:
        """Put a card at the end."""
        card = self._make(refiner)
        self.cards.append(card)
        self._column.addWidget(card)
        self._number()
        self.changed.emit()
        return card

    def set_links(self, links: Sequence[Link]) -> None:
        """Show another chain."""
        for card in self.cards:
            self._column.removeWidget(card)
            card.hide()
            card.deleteLater()
        self.cards = []
        for link in links:
            card = self._make(link.refiner)
            card.set_link(link)
            self.cards.append(card)
            self._column.addWidget(card)
        self._number()
        self.changed.emit()

    def links(self) -> list[Link] | None:
        """Return the chain as data; None while it is empty or something in it is missing or wrong."""
        found = [link for card in self.cards if (link := card.link()) is not None]
        return found if found and len(found) == len(self.cards) else None

    def problem(self) -> str:
        """Return what keeps the chain from being used, or an empty string."""
        if not self.cards:
            return "The chain has no card yet."
        return next((text for card in self.cards if (text := card.problem())), "")

    def move(self, card: RefineCard, to: int) -> None:
        """Put a card at another place of the chain."""
        at = self.cards.index(card)
        to = min(max(to, 0), len(self.cards) - 1)
        if at == to:
            return
        self.cards.insert(to, self.cards.pop(at))
        self._column.removeWidget(card)
        self._column.insertWidget(to, card)
        self._number()
        self.changed.emit()

    def _make(self, refiner: str) -> RefineCard:
        card = RefineCard(refiner, self)
        card.set_table(self._tables.get(refiner))
        card.offer_networks(self._networks(refiner))
        card.changed.connect(lambda: self._slid(card))
        card.moved.connect(lambda by: self.move(card, self.cards.index(card) + by))
        card.dragged.connect(lambda where: self._drag(card, where))
        card.removed.connect(lambda: self._remove(card))
        card.train_asked.connect(lambda: self.train_asked.emit(refiner))
        return card

    def _remove(self, card: RefineCard) -> None:
        self.cards.remove(card)
        self._column.removeWidget(card)
        card.hide()
        card.deleteLater()
        self._number()
        self.changed.emit()

    def _slid(self, card: RefineCard) -> None:
        if card in self.cards:  # not while it is being made
            self.slid.emit(self.cards.index(card))

    def _drag(self, card: RefineCard, where: QPoint) -> None:
        """Let the card change places with a neighbour whose middle the pointer has passed."""
        y, at = self.mapFromGlobal(where).y(), self.cards.index(card)
        if at > 0 and y < self.cards[at - 1].geometry().center().y():
            self.move(card, at - 1)
        elif at + 1 < len(self.cards) and y > self.cards[at + 1].geometry().center().y():
            self.move(card, at + 1)

    def _number(self) -> None:
        for at, card in enumerate(self.cards):
            card.set_place(at, len(self.cards))
        self.empty.setVisible(not self.cards)
