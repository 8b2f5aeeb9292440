"""The pages, in the order of the work. A page of a later issue is one file and one line here."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsss_napari.pages.page import Page

__all__ = ["PAGES", "Entry"]


@dataclass(frozen=True)
class Entry:
    """A page before it is loaded: only a page that is shown costs its import."""

    name: str
    title: str
    tip: str
    cls: str

    def load(self) -> type[Page]:
        """Import the page's class."""
        found: type[Page] = getattr(import_module(f"wsss_napari.pages.{self.name}"), self.cls)
        return found


PAGES: tuple[Entry, ...] = (
    Entry("tags", "Tags", "Say which classes each image shows", "TagsPage"),
    Entry("train", "Train", "Train a method on the tags, watch it, compare runs", "TrainPage"),
    Entry("explore", "Explore", "Look at the maps of a run and turn them into masks", "ExplorePage"),
    Entry("climb", "Climb", "Let the evidence for a class grow step by step", "ClimbPage"),
    Entry("prototypes", "Prototypes", "See which prototypes of other images draw a class", "PrototypesPage"),
    Entry("refine", "Refine", "Pull the masks to the borders of the objects", "RefinePage"),
    Entry("correct", "Correct", "Mend the masks, approve them, and go on to the next", "CorrectPage"),
    Entry("export", "Export", "Measure the masks and write them as a data set", "ExportPage"),
)
