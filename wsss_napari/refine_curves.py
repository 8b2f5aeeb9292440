"""The numbers of a refinement over its stages, and the plots that show them with one cursor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from engine.labels import apply_scores
from engine.metrics import image_report
from engine.results import RefineTrace
from wsss_napari.refine_view import TraceView
from wsss_napari.step_panel import Line, StepPanel

__all__ = ["StageCurves", "StagePlots", "stage_curves"]

Curve = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class StageCurves:
    """One number a stage and quantity.

    Attributes:
        at: [S] iterations or steps of the walk after which each stage was taken.
        undecided: [S] mean entropy in percent, 100 where all labels are level everywhere.
        changed: [S] percent of the cells whose best label is not that of the first stage.
        energy: [S] per pixel of the image, or None where the refinement has none.
        miou: [S] mean IoU at the cells' centres, or None without truth.
    """

    at: tuple[int, ...]
    undecided: Curve
    changed: Curve
    energy: Curve | None
    miou: Curve | None


def stage_curves(view: TraceView, truth: NDArray[np.uint8] | None, classes: int) -> StageCurves:
    """Measure the stages on their own grid: enlarging each would take longer than all the rest.

    Args:
        view: The stages.
        truth: [H, W] uint8, 0 background, class + 1, 255 void, or None.
        classes: Number of classes of the project.
    """
    trace = view.trace
    masks = [apply_scores(s.astype(np.float32), trace.classes) for s in trace.stages]
    miou = None
    if truth is not None and truth.shape == trace.size:
        seen = _at_cells(trace, truth)
        names = [str(c) for c in range(classes)]
        found = [image_report(seen, mask, names)["miou"] for mask in masks]
        miou = np.array([np.nan if m is None else m for m in found])
    return StageCurves(
        at=trace.at,
        undecided=np.array([100 * float(view.entropy(s).mean()) for s in range(len(masks))]),
        changed=np.array([100 * float((mask != masks[0]).mean()) for mask in masks]),
        energy=None if trace.energy is None else trace.energy / (trace.size[0] * trace.size[1]),
        miou=miou,
    )


class StagePlots(QWidget):
    """Energy, undecidedness and change, and agreement with the truth over the stages.

    Signals:
        moved: (stage) a person clicked, dragged or pressed a key.
    """

    moved = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.curves: StageCurves | None = None
        self._cursor = 0
        self.energy = StepPanel(
            "Energy",
            "Energy of the CRF per pixel at each iteration; mean field lowers it until nothing moves",
        )
        self.change = StepPanel(
            "Undecided and changed",
            "Mean entropy of the scores, and share of cells whose best label differs from the start",
        )
        self.truth = StepPanel(
            "Against the truth", "Mean IoU of the stage's mask with the truth, at the centres of the cells"
        )
        row = QHBoxLayout(self)
        row.setContentsMargins(4, 2, 4, 2)
        row.setSpacing(6)
        for panel in self.panels:
            row.addWidget(panel, 1)
            panel.moved.connect(self._move)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Curves of the refinement")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    @property
    def panels(self) -> tuple[StepPanel, ...]:
        """The plots, left to right."""
        return self.energy, self.change, self.truth

    def show_curves(self, curves: StageCurves) -> None:
        """Draw these curves."""
        self.curves = curves
        last = len(curves.at) - 1
        energy = [] if curves.energy is None else [Line("energy", "text", curves.energy, True, form="{:.4f}")]
        self.energy.show_lines(energy, last)
        self.energy.setVisible(bool(energy))
        self.change.show_lines(
            [
                Line("undecided", "text", curves.undecided, True, form="{:.1f} %"),
                Line("changed", "#D55E00", curves.changed, form="{:.1f} %"),
            ],
            last,
        )
        truth = [] if curves.miou is None else [Line("mIoU", "text", curves.miou, True, form="{:.3f}")]
        self.truth.show_lines(truth, last, empty="No truth mask of this image")
        ticks = [(n, str(at)) for n, at in enumerate(curves.at)]
        spread = max(1, len(ticks) // 10)
        for panel in self.panels:
            panel.plot.getAxis("bottom").setTicks([ticks[::spread]])

    def set_cursor(self, stage: int) -> None:
        """Put the cursor on a stage, in all plots."""
        self._cursor = stage
        for panel in self.panels:
            panel.set_cursor(stage)
        self.setAccessibleDescription(f"Stage {stage}: " + "; ".join(p.read_out() for p in self.panels))

    def set_theme(self, colours: Mapping[str, str]) -> None:
        """Paint with the colours of a napari theme."""
        for panel in self.panels:
            panel.set_theme(colours)

    def sizeHint(self) -> QSize:
        return QSize(900, 190)

    def minimumSizeHint(self) -> QSize:
        return QSize(320, 110)

    def keyPressEvent(self, event: object) -> None:
        """Move the cursor by a stage."""
        by = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(event.key())  # type: ignore[attr-defined]
        if by is not None:
            self._move(self._cursor + by)
        else:
            super().keyPressEvent(event)

    def _move(self, stage: int) -> None:
        if self.curves is None:
            return
        stage = min(max(stage, 0), len(self.curves.at) - 1)
        if stage != self._cursor:
            self.set_cursor(stage)
            self.moved.emit(stage)


def _at_cells(trace: RefineTrace, truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the truth at the centre of each cell, [h, w] uint8."""
    rows, columns = (
        np.clip(np.rint(np.arange(n) * trace.cell + trace.origin), 0, size - 1).astype(np.intp)
        for n, size in zip(trace.stages.shape[2:], truth.shape, strict=True)
    )
    return np.asarray(truth[np.ix_(rows, columns)], np.uint8)
