"""The widgets that look at one refined image: before and after, the stages, the fields, the figures."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from wsss_napari.controls import note, rule, switches
from wsss_napari.readouts import Readouts
from wsss_napari.refine_looks import LOOKS
from wsss_napari.step_player import StepPlayer

__all__ = ["SightPanel"]


class SightPanel(QWidget):
    """Shown while the box in front has this image.

    Signals:
        held: (on) the button that shows the mask before is pressed or let go.
    """

    held = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = QLabel(self)
        self.title.setProperty("wsss", "title")
        self.title.setWordWrap(True)
        self.changed = QLabel(self)
        self.changed.setWordWrap(True)
        self.quality = QLabel(self)
        self.quality.setWordWrap(True)
        self._build_compare()
        self._build_switches()
        self._build_stages()
        self.figures = Readouts(self)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addWidget(self.title)
        column.addWidget(self.changed)
        column.addWidget(self.quality)
        column.addLayout(self._compare_row)
        column.addLayout(self._mask_row)
        column.addWidget(self.stages)
        column.addLayout(self._switches)
        column.addWidget(self.legend)
        column.addWidget(self.patch_words)
        column.addWidget(rule())
        column.addWidget(self.figures)
        self.show_patch_words("")

    def wanted(self) -> list[str]:
        """Return the keys of the looks that are switched on and can be shown."""
        return [look.key for look in LOOKS if self._is_on(look.key)]

    def set_wanted(self, key: str, on: bool) -> None:
        """Turn a switch without telling."""
        if key in self.switches:
            with QSignalBlocker(self.switches[key]):
                self.switches[key].setChecked(on)
            self.show_legend()

    def allow(self, key: str, there: bool) -> None:
        """Let a switch be used, or say why it cannot."""
        look = next(look for look in LOOKS if look.key == key)
        self.switches[key].setEnabled(there)
        self.switches[key].setToolTip(look.tip if there else f"{look.tip}. {look.missing}.")

    def show_stages(self, last: int | None) -> None:
        """Show the slider of the stages, if there are any, at the start."""
        self.stages.setVisible(last is not None)
        if last is not None:
            with QSignalBlocker(self.player):
                self.player.stop()
                self.player.set_last(last)
                self.player.set_step(0)
        self.show_iterations((), 0)

    def show_iterations(self, iterations: Sequence[int], at: int) -> None:
        """Show the slider of the centroids over these iterations, or hide it."""
        self._iteration_box.setVisible(len(iterations) > 1)
        with QSignalBlocker(self.iteration):
            self.iteration.setRange(0, max(len(iterations) - 1, 0))
            self.iteration.setValue(at)
        if iterations:
            self.iteration_text.setText(f"{iterations[at]} of {iterations[-1]}")
            self.iteration.setAccessibleDescription(f"Iteration {iterations[at]} of {iterations[-1]}")

    def show_legend(self) -> None:
        """Say what the colours of the looks mean that have some of their own."""
        parts = []
        if self._is_on("changed"):
            parts.append("Stripes: white became a class, black became background.")
        if self._is_on("arrows") or self._is_on("wheel"):
            parts.append("Displacement: red right, green up, cyan left, violet down; paler is shorter.")
        if self._is_on("confident"):
            parts.append("Confident label: hatched is left out of the training.")
        self.legend.setText(" ".join(parts))
        self.legend.setVisible(bool(parts))

    def show_patch_words(self, text: str) -> None:
        """Say what the clicked cell is like, or nothing."""
        self.patch_words.setText(text)
        self.patch_words.setVisible(bool(text))

    def _is_on(self, key: str) -> bool:
        switch = self.switches[key]
        return bool(switch.isChecked() and switch.isEnabled())

    def _build_compare(self) -> None:
        self.before = QPushButton("Hold to see before", self)
        self.before.setToolTip("While it is held, the source's mask is shown instead (key: hold G)")
        self.before.pressed.connect(lambda: self.held.emit(True))
        self.before.released.connect(lambda: self.held.emit(False))
        self.why = QPushButton("Why this pixel", self)
        self.why.setCheckable(True)
        self.why.setToolTip("Show the scores before and after under the pointer")
        self._compare_row = QHBoxLayout()
        self._compare_row.addWidget(self.before, 1)
        self._compare_row.addWidget(self.why, 1)
        self.mask = QComboBox(self)
        self.mask.setToolTip("How the mask is drawn")
        self.mask.setAccessibleName("How the mask is drawn")
        for words, style in (("filled", "filled"), ("outline", "outline"), ("hidden", "none")):
            self.mask.addItem(words, style)
        label = QLabel("Mask", self)
        label.setBuddy(self.mask)
        self.truth = QCheckBox("Show truth", self)
        self.truth.setToolTip("Outline the truth mask over the image")
        self._mask_row = QHBoxLayout()
        self._mask_row.addWidget(label)
        self._mask_row.addWidget(self.mask, 1)
        self._mask_row.addWidget(self.truth)

    def _build_switches(self) -> None:
        self.switches, self._switches = switches(LOOKS, self)
        self.legend = note(self)
        self.patch_words = note(self)

    def _build_stages(self) -> None:
        self.stages = QWidget(self)
        self.player = StepPlayer(self.stages)
        self.player.slider.setAccessibleName("Stage of the refinement")
        self.player.first_button.setToolTip("Go to the start")
        self.player.last_button.setToolTip("Go to the result")
        self.line = note(self.stages)
        self._iteration_box = QWidget(self.stages)
        self.iteration = QSlider(Qt.Orientation.Horizontal, self._iteration_box)
        self.iteration.setToolTip("Iteration of the centroids")
        self.iteration.setAccessibleName("Iteration of the centroids")
        self.iteration_text = QLabel(self._iteration_box)
        row = QHBoxLayout(self._iteration_box)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(QLabel("Centroids", self._iteration_box))
        row.addWidget(self.iteration, 1)
        row.addWidget(self.iteration_text)
        column = QVBoxLayout(self.stages)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.player)
        column.addWidget(self.line)
        column.addWidget(self._iteration_box)
