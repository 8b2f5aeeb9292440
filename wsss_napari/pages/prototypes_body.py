"""The widgets of the Prototypes page, without what they do."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from engine.params import Field
from wsss_napari.bar_cells import figure, figure_table, fit_rows
from wsss_napari.controls import note, rule
from wsss_napari.pages.prototypes_galleries import PrototypeGalleries
from wsss_napari.prototype_sliders import PrototypeSliders
from wsss_napari.prototype_stages import FIRST_SHOWN, STAGES, at_of
from wsss_napari.prototype_view import Near
from wsss_napari.slide_entry import SlideEntry
from wsss_napari.step_player import StepPlayer
from wsss_napari.thumbnails import Thumbnails

__all__ = ["PrototypesBody"]

_BACKGROUND = Field(
    "background",
    "float",
    0.5,
    "What a prototype-aware map must exceed to beat the background in the mask. Moving it shows the mask; after the CRF it is "
    "what the CRF starts from.",
    low=0,
    high=1,
)


class PrototypesBody(QWidget):
    """What to do when the image was not looked at yet; else stages, sliders, galleries, painting, a pixel's nearest.

    Args:
        thumbnails: Where crops come from.
        parent: Qt parent.
    """

    def __init__(self, thumbnails: Thumbnails, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.warning = note(self)
        self.warning.setProperty("wsss", "warning")
        self._build_missing()
        self._build_stages()
        self.galleries = PrototypeGalleries(thumbnails, self)
        self._build_paint()
        self._build_pixel()
        self.tools = QWidget(self)
        tools = _column(self.tools)
        tools.addLayout(self._stages)
        tools.addWidget(rule())
        tools.addWidget(self.sliders)
        tools.addWidget(rule())
        tools.addWidget(self.galleries)
        tools.addWidget(rule())
        tools.addLayout(self._paint)
        tools.addWidget(rule())
        tools.addWidget(self.pixel_note)
        tools.addWidget(self.pixel)
        whole = _column(self)
        whole.addWidget(self.warning)
        whole.addWidget(self.missing)
        whole.addWidget(self.tools)
        whole.addLayout(self._all)
        whole.addWidget(self.progress)
        whole.addStretch(1)
        self.show_warning("")
        self.show_missing("")
        self.show_tools(False)

    def show_warning(self, text: str) -> None:
        """Say what is unusual or went wrong, or nothing."""
        self.warning.setText(text)
        self.warning.setVisible(bool(text))

    def show_missing(self, why: str) -> None:
        """Say that the image was not looked at and offer it, or not."""
        self.missing_note.setText(why)
        self.missing.setVisible(bool(why))

    def show_tools(self, on: bool) -> None:
        """Show what belongs to an image that was looked at."""
        self.tools.setVisible(on)

    def show_stage(self, at: int, line: str) -> None:
        """Say which stage is shown and what it found."""
        stage = STAGES[at]
        self.stage.setText(f"{at + 1} of {len(STAGES)} · {stage.title}")
        self.stage.setToolTip(f"<p>{stage.tip}</p>")
        self.line.setText(line)

    def show_about(self, text: str) -> None:
        """Say what is particular of the class here, or nothing."""
        self.about.setText(text)
        self.about.setVisible(bool(text))

    def show_near(self, where: str, near: Sequence[Near], names: Sequence[str]) -> None:
        """Show what is nearest to a pixel; without any the table goes."""
        self.pixel_note.setText(where)
        self.pixel.setRowCount(len(near))
        for at, found in enumerate(near):
            name = figure(None, f"{names[found.cls]} · prototype {found.prototype}", bar=False)
            name.setTextAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
            self.pixel.setItem(at, 0, name)
            self.pixel.setItem(at, 1, figure(max(found.cosine, 0.0), f"{found.cosine:.3f}"))
        self.pixel.setVisible(bool(near))
        fit_rows(self.pixel)

    def show_painting(self, painting: bool, painted: bool) -> None:
        """Show which ways on there are with a painted seed."""
        self.use.setVisible(painting)
        self.forget.setVisible(painted and not painting)
        self.paint_note.setText(
            "Paint cells on the image; the eraser takes some away. Then use them."
            if painting
            else "The seed is the one you painted."
            if painted
            else ""
        )
        self.paint_note.setVisible(painting or painted)

    def _build_missing(self) -> None:
        self.missing = QWidget(self)
        self.missing_note = note(self.missing)
        self.one = QPushButton("Look at this image", self.missing)
        self.one.setProperty("wsss", "primary")
        column = _column(self.missing)
        column.addWidget(self.missing_note)
        column.addWidget(self.one)
        self.all = QPushButton("Look at all images", self)
        self.stop = QPushButton("Stop", self)
        self.stop.setToolTip("Stop after the image that is being looked at; what was kept stays")
        self._all = QHBoxLayout()
        self._all.addWidget(self.all, 1)
        self._all.addWidget(self.stop)
        self.progress = note(self)

    def _build_stages(self) -> None:
        self.stage = QLabel(self)
        self.stage.setProperty("wsss", "title")
        self.player = StepPlayer(self)
        self.player.text.hide()  # the stages have names
        self.player.slider.setAccessibleName("Stage on the way to the map")
        self.player.first_button.setToolTip("Go to the class map")
        self.player.last_button.setToolTip("Go to the mask after the CRF")
        self.player.set_last(len(STAGES) - 1)
        self.player.set_step(at_of(FIRST_SHOWN))
        self.line = note(self)
        self.about = note(self)
        self._stages = QVBoxLayout()
        self._stages.setSpacing(4)
        for widget in (self.stage, self.player, self.line, self.about):
            self._stages.addWidget(widget)
        tip = f"<p>{_BACKGROUND.doc}</p>"
        self.background = SlideEntry(_BACKGROUND, self)
        self.background.setAccessibleName("Background score")
        self.background.setToolTip(tip)
        label = QLabel("Background", self)
        label.setBuddy(self.background)
        label.setToolTip(tip)
        self.truth = QCheckBox("Truth", self)
        self.truth.setToolTip("Show the outlines of the image's true mask over the stage")
        line = QHBoxLayout()
        line.addWidget(label)
        line.addWidget(self.background, 1)
        line.addWidget(self.truth)
        self._stages.addLayout(line)
        self.sliders = PrototypeSliders(self)

    def _build_paint(self) -> None:
        self.paint = QPushButton("Paint a seed", self)
        self.paint.setCheckable(True)
        self.paint.setToolTip("Paint cells in place of the class map's seed, with napari's brush and eraser")
        self.use = QPushButton("Use as instance prototype", self)
        self.use.setProperty("wsss", "primary")
        self.use.setToolTip("The mean embedding of the painted cells becomes this image's prototype")
        self.forget = QPushButton("Back to the map's seed", self)
        self.forget.setToolTip("Forget the painted seed of this image")
        for button in (self.paint, self.use, self.forget):
            # What is shown beside it changes; that must not make the dock wider.
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.paint_note = note(self)
        row = QHBoxLayout()
        row.addWidget(self.paint, 1)
        row.addWidget(self.use, 2)
        row.addWidget(self.forget, 2)
        self._paint = QVBoxLayout()
        self._paint.addLayout(row)
        self._paint.addWidget(self.paint_note)
        self.show_painting(False, False)

    def _build_pixel(self) -> None:
        self.pixel_note = note(self)
        self.pixel = figure_table(
            ("Nearest prototype", "Cosine"), "Prototypes nearest to the clicked pixel", self
        )
        self.show_near("Click on the image to see which prototypes a pixel is nearest to.", (), ())


def _column(parent: QWidget) -> QVBoxLayout:
    column = QVBoxLayout(parent)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(8)
    return column
