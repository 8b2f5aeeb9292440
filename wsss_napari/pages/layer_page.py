"""A page that draws layers into the viewer: whether it is in front, and whether the layers are its own."""

from __future__ import annotations

from qtpy.QtWidgets import QWidget

from wsss_napari.desk import Desk
from wsss_napari.pages.page import Page

__all__ = ["LayerPage"]


class LayerPage(Page):
    """Base of the pages that draw layers.

    A viewer may have the same page in two docks, and its layers but once: the page that was in front last
    owns them, and only it may take them away.

    Attributes:
        shown: Whether the page is in front. Behind another it must not read each image that is stepped through.
    """

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(desk, parent)
        self.shown = False

    def enter(self) -> None:
        """Be in front, and own the layers."""
        self.shown = True
        self.desk.fronts[self.NAME] = self

    def leave(self) -> None:
        """Be behind another page; the layers stay this page's until its like is in front."""
        self.shown = False

    @property
    def owns_layers(self) -> bool:
        """Whether no other page of this name was in front since."""
        return self.desk.fronts.get(self.NAME) is self
