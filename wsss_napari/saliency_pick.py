"""A button that turns a person's Labels layer into the saliency mask of the image in front."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QMenu, QToolButton, QWidget

from engine.errors import UserError
from engine.saliency import write_salient
from engine.store import Project, is_name

__all__ = ["SaliencyPick", "masks_of"]


class SaliencyPick(QToolButton):
    """Lists the Labels layers that could be a saliency mask; choosing one writes it into the project.

    The mask goes to `saliency/<layer>/<image>.png` in the project, so that the climb finds it again from the
    shell, and images that are done one after another gather in one folder.

    Signals:
        chosen: The folder that the setting `saliency` should name, or "" for none.
        said: A sentence for the person.
    """

    chosen = Signal(str)
    said = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setText("Saliency from a layer")
        self.setToolTip(
            "Use a Labels layer as the saliency mask of this image: what it leaves unpainted (0) is background, where "
            "the climb may not change the map (AdvCAM-Sal)"
        )
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self)
        menu.aboutToShow.connect(self._fill)
        self.setMenu(menu)
        self._viewer: Any = None
        self._project: Project | None = None
        self._image: str | None = None

    def look_at(self, viewer: Any, project: Project | None, image: str | None) -> None:
        """Say whose layers are offered, for which image."""
        self._viewer, self._project, self._image = viewer, project, image

    def use(self, layer: Any) -> None:
        """Write the mask of a layer and say so."""
        if self._project is None or self._image is None:
            return
        name = "".join(c if c.isalnum() or c in "-_" else "-" for c in layer.name).strip("-") or "layer"
        folder = self._project.root / "saliency" / (name if is_name(name) else "layer")
        try:
            write_salient(folder, self._image, np.asarray(layer.data) != 0)
        except (UserError, OSError) as error:
            self.said.emit(f"The layer was not written: {error}")
            return
        self.said.emit(f"The layer {layer.name} is the saliency mask of {self._image} now.")
        self.chosen.emit(str(folder))

    def _fill(self) -> None:
        menu = self.menu()
        menu.clear()
        found = masks_of(self._viewer, self._project, self._image)
        for layer in found:
            menu.addAction(layer.name, lambda _checked=False, layer=layer: self.use(layer))
        if not found:
            menu.addAction("Add a Labels layer of the image's size and paint the object first").setEnabled(
                False
            )
        menu.addSeparator()
        menu.addAction("No saliency", lambda: self.chosen.emit(""))


def masks_of(viewer: Any, project: Project | None, image: str | None) -> list[Labels]:
    """Return the person's own Labels layers that have the size of an image."""
    if viewer is None or project is None or image is None or image not in project.images:
        return []
    size = (project.images[image].height, project.images[image].width)
    return [
        layer
        for layer in viewer.layers
        if isinstance(layer, Labels) and "wsss" not in layer.metadata and tuple(layer.data.shape) == size
    ]
