"""The curves of a climb side by side on one axis of steps, with one cursor that is dragged in any of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import QSize, Qt, QTimer, Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QSizePolicy, QWidget

from engine.atomic import write_text
from wsss_napari.step_curves import StepCurves
from wsss_napari.step_panel import Line, StepPanel

__all__ = ["NO_TRUTH", "StepPlots"]

NO_TRUTH = "No truth masks in this project"
# Not the colours of classes 1 to 3: these three lines are no classes.
_FIRST, _SECOND, _THIRD = "text", "#56B4E9", "#D55E00"


class StepPlots(QWidget):
    """Four plots: scores of all classes, the penalty, the map, and the truth.

    A second path for comparison is drawn dashed. New steps only change the data of the curves
    that are there, so a climb can be watched at full speed.

    Attributes:
        no_truth: What the last plot says when the curves hold no truth.

    Signals:
        moved: (step) a person clicked, dragged or pressed a key.
    """

    moved = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.curves: StepCurves | None = None
        self.second: StepCurves | None = None
        self.no_truth = NO_TRUTH
        self._names: tuple[str, ...] = ()
        self._colours: tuple[str, ...] = ()
        self._cls = 0
        self._cursor = 0
        # After the canvas is drawn: four cursors and legends take a good part of its frame.
        self._late = QTimer(self)
        self._late.setSingleShot(True)
        self._late.setInterval(0)
        self._late.timeout.connect(self._place_cursor)
        self.scores = StepPanel("Scores", "Pooled score y_k of each class; the climb raises one of them")
        self.penalty = StepPanel(
            "Penalty",
            "What the climb pays for changing the map where it was high (M) or outside of the saliency (D), eq. 7",
        )
        self.map = StepPanel(
            "Map, times step 0", "Maximum and mean of R^t, and the area where A_t exceeds the threshold"
        )
        self.truth = StepPanel(
            "Against the truth",
            "IoU of the class, its mean with that of all the rest, and the share of noise: predicted "
            "foreground that is background in the truth",
        )
        row = QHBoxLayout(self)
        row.setContentsMargins(4, 2, 4, 2)
        row.setSpacing(6)
        for panel in self.panels:
            row.addWidget(panel, 1)
            panel.moved.connect(self._pointed)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Curves of the climb")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self._draw()

    @property
    def panels(self) -> tuple[StepPanel, ...]:
        """The plots, left to right."""
        return self.scores, self.penalty, self.map, self.truth

    @property
    def cursor(self) -> int:
        """The step that the cursor stands on."""
        return self._cursor

    def show_path(
        self, curves: StepCurves, colours: Sequence[str], names: Sequence[str], cls: int | None = None
    ) -> None:
        """Show the curves of a path.

        Args:
            curves: Its numbers.
            colours, names: `#RRGGBB` and name of each class of the project.
            cls: The class that is climbed; None takes the curves'.
        """
        self.curves = curves
        self._colours, self._names = tuple(colours), tuple(names)
        self._cls = curves.cls if cls is None else cls
        self._draw()

    def show_second(self, curves: StepCurves | None) -> None:
        """Show another path dashed, or take it away."""
        self.second = curves
        self._draw()

    def set_cursor(self, t: int) -> None:
        """Put the cursor on a step; the plots follow once what is waiting to be drawn has been."""
        self._cursor = t
        self._late.start()

    def set_theme(self, colours: Mapping[str, str]) -> None:
        """Paint with the colours of a napari theme."""
        for panel in self.panels:
            panel.set_theme(colours)

    def export_csv(self, path: Path) -> None:
        """Write the numbers of the path, a line a step."""
        if self.curves is not None:
            write_text(path, self.curves.csv(self._names))

    def export_picture(self, path: Path) -> None:
        """Write the plots as they are drawn.

        Raises:
            OSError: The file cannot be written.
        """
        self._place_cursor()
        if not self.grab().save(str(path)):
            raise OSError(f"{path} cannot be written.")

    def sizeHint(self) -> QSize:
        return QSize(900, 190)

    def minimumSizeHint(self) -> QSize:
        return QSize(320, 110)

    def menu(self) -> QMenu:
        """Return the context menu."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for kind, words in (("csv", "Save the numbers (CSV)…"), ("png", "Save a picture (PNG)…")):
            action = menu.addAction(words)
            action.setEnabled(self.curves is not None and self.curves.last >= 0)
            action.triggered.connect(lambda _=False, kind=kind: self._ask(kind))
        return menu

    def contextMenuEvent(self, event: Any) -> None:
        """Offer to save what is drawn."""
        self.menu().popup(event.globalPos())

    def keyPressEvent(self, event: Any) -> None:
        """Move the cursor by a step."""
        to = {
            Qt.Key.Key_Left: self._cursor - 1,
            Qt.Key.Key_Right: self._cursor + 1,
            Qt.Key.Key_Home: 0,
            Qt.Key.Key_End: self.curves.last if self.curves is not None else 0,
        }
        if event.key() in to:
            self._move(to[event.key()])
        else:
            super().keyPressEvent(event)

    def _pointed(self, step: int) -> None:
        self.setFocus(Qt.FocusReason.MouseFocusReason)  # the arrow keys go on from there
        self._move(step)

    def _move(self, step: int) -> None:
        if self.curves is None or self.curves.last < 0:
            return
        step = min(max(step, 0), self.curves.last)
        if step != self._cursor:
            self.set_cursor(step)
            self.moved.emit(step)

    def _ask(self, kind: str) -> None:
        name, _ = QFileDialog.getSaveFileName(
            self, "Save the curves of the climb", f"climb.{kind}", f"*.{kind}"
        )
        if name:
            path = Path(name).with_suffix(f".{kind}")
            self.export_csv(path) if kind == "csv" else self.export_picture(path)

    def _draw(self) -> None:
        curves, second = self.curves, self.second
        if curves is None or curves.last < 0:
            for panel in self.panels:
                panel.show_lines([], 0, empty="No step yet" if curves is not None else "No climb yet")
            return
        last = max(curves.last, second.last if second is not None else 0)
        self.scores.show_lines(self._score_lines(curves, second), last)
        free = not np.any(curves.penalty > 0) and (second is None or not np.any(second.penalty > 0))
        self.penalty.show_lines(
            [] if free else self._penalty_lines(curves, second), last, empty="No penalty in this climb"
        )
        self.map.show_lines(self._map_lines(curves, second), last)
        self.truth.show_lines(
            self._truth_lines(curves, second), last, empty=self.no_truth, mark=self._best(curves)
        )
        self._place_cursor()

    def _place_cursor(self) -> None:
        self._late.stop()
        for panel in self.panels:
            panel.set_cursor(self._cursor)
        self.setAccessibleDescription(f"Step {self._cursor}: " + "; ".join(p.read_out() for p in self.panels))

    def _score_lines(self, curves: StepCurves, second: StepCurves | None) -> list[Line]:
        order = sorted(range(curves.scores.shape[1]), key=lambda k: k != self._cls)
        return [
            Line(
                self._names[k],
                self._colours[k],
                curves.scores[:, k],
                strong=k == self._cls,
                dashed=second.scores[:, k] if second is not None and k == self._cls else None,
            )
            for k in order
        ]

    @staticmethod
    def _penalty_lines(curves: StepCurves, second: StepCurves | None) -> list[Line]:
        lines = [
            Line(
                "total",
                _FIRST,
                curves.penalty,
                strong=True,
                dashed=None if second is None else second.penalty,
            )
        ]
        if np.any(np.nan_to_num(curves.background_share) > 0):
            part = np.nan_to_num(curves.background_share) * curves.penalty
            lines.append(Line("on background D", _SECOND, part))
        return lines

    @staticmethod
    def _map_lines(curves: StepCurves, second: StepCurves | None) -> list[Line]:
        lines = []
        for name, colour, attribute, form, unit in (
            ("maximum", _FIRST, "peak", "{:.3g}", 1),
            ("mean", _SECOND, "mean", "{:.3g}", 1),
            ("area", _THIRD, "area", "{:.1f} %", 100),
        ):
            values = getattr(curves, attribute)
            other = None if second is None else _relative(getattr(second, attribute))
            # Three units on one axis: drawn as multiples of their start, and told as they are.
            lines.append(
                Line(name, colour, _relative(values), name == "area", other, told=unit * values, form=form)
            )
        return lines

    @staticmethod
    def _truth_lines(curves: StepCurves, second: StepCurves | None) -> list[Line]:
        lines = []
        for name, colour, attribute in (
            ("mIoU", _FIRST, "miou"),
            ("IoU", _SECOND, "iou"),
            ("noise", _THIRD, "noise"),
        ):
            values = getattr(curves, attribute)
            if values is not None:
                other = None if second is None else getattr(second, attribute)
                lines.append(Line(name, colour, values, name == "mIoU", other, form="{:.3f}"))
        return lines

    @staticmethod
    def _best(curves: StepCurves) -> tuple[int, float, str] | None:
        best = curves.best
        if best is None or curves.miou is None:
            return None
        return best, float(curves.miou[best]), f"best: step {best}"


def _relative(values: Any) -> Any:
    """Return the values as multiples of the first that is above 0."""
    start = next((float(v) for v in values if v > 0), 1.0)
    return np.asarray(values, float) / start
