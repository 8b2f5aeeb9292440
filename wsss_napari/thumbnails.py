"""Thumbnails of a project's images: read when they come into view, kept while memory lasts."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QImage, QPixmap

from engine.errors import UserError
from engine.images import thumbnail
from engine.store import Project
from wsss_napari.background import Background

__all__ = ["SIDE", "Thumbnails"]

SIDE = 192
_THREADS = 2
# Requests beyond this many are forgotten, oldest first: they scrolled out of view.
_WANTED = 48


class Thumbnails(QObject):
    """The least recently used pictures go first when `megabytes` are full.

    Signals:
        arrived: (stem) a picture that `get` was asked for is there now.
    """

    arrived = Signal(str)

    def __init__(self, megabytes: int = 128, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._project: Project | None = None
        self._limit = max(8, megabytes) * 2**20
        self._bytes = 0
        self._kept: OrderedDict[str, tuple[QPixmap, int]] = OrderedDict()
        self._wanted: OrderedDict[str, None] = OrderedDict()
        self._working: set[str] = set()
        self._bad: dict[str, str] = {}
        self._background = Background(_THREADS, self)

    def open(self, project: Project | None) -> None:
        """Serve another project."""
        self.close()
        self._project = project
        self._background = Background(_THREADS, self)

    def get(self, stem: str) -> QPixmap | None:
        """Return the picture, or None and read it in the background."""
        if stem in self._kept:
            self._kept.move_to_end(stem)
            return self._kept[stem][0]
        if stem not in self._bad and stem not in self._working and self._project is not None:
            self._wanted[stem] = None
            self._wanted.move_to_end(stem)
            while len(self._wanted) > _WANTED:
                self._wanted.popitem(last=False)
            self._next()
        return None

    @property
    def pending(self) -> int:
        """How many pictures are still to come."""
        return len(self._wanted) + len(self._working)

    def fault(self, stem: str) -> str:
        """Return why an image has no picture, or an empty string."""
        return self._bad.get(stem, "")

    def close(self) -> None:
        """Let go of the pictures and the threads."""
        self._background.close()
        self._kept.clear()
        self._wanted.clear()
        self._working.clear()
        self._bad.clear()
        self._bytes = 0

    def _next(self) -> None:
        while self._wanted and len(self._working) < _THREADS:
            stem, _ = self._wanted.popitem()  # the newest: what is in view now
            self._working.add(stem)
            assert self._project is not None
            self._background.run(
                partial(_read, self._project, stem), partial(self._keep, stem), partial(self._refuse, stem)
            )

    def _keep(self, stem: str, pixels: NDArray[np.uint8]) -> None:
        pixels = np.ascontiguousarray(pixels)
        height, width = pixels.shape[:2]
        image = QImage(pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888)
        picture = QPixmap.fromImage(image)  # copies the pixels
        self._kept[stem] = (picture, 4 * height * width)
        self._bytes += 4 * height * width
        while self._bytes > self._limit and len(self._kept) > 1:
            _, (_, size) = self._kept.popitem(last=False)
            self._bytes -= size
        self._done(stem)

    def _refuse(self, stem: str, mistake: UserError) -> None:
        self._bad[stem] = mistake.found
        self._done(stem)

    def _done(self, stem: str) -> None:
        self._working.discard(stem)
        self.arrived.emit(stem)
        self._next()


def _read(project: Project, stem: str) -> NDArray[np.uint8]:
    return thumbnail(project.path(stem), SIDE)
