"""A study's figure to look at: panels, what lies under the pointer, caption, table, and its files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QStackedWidget,
    QTableWidget,
    QTableWidgetItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from engine.results import Figure
from wsss_napari.figure_canvas import DARK, FigureCanvas
from wsss_napari.figure_facts import facts_line
from wsss_napari.figure_save import FORMATS, save
from wsss_napari.figure_scale import number

__all__ = ["FigureView"]

_MOST_ROWS = 2000


class FigureView(QWidget):
    """Draws an `engine.results.Figure` in the colours of napari's theme.

    Args:
        parent: Qt parent.
        detachable: Offer to show the figure in a window of its own, and to close it.

    Signals:
        detach_asked: The person wants it in a window of its own.
        close_asked: The person wants it away.
        said: (level, text) A file was written, or could not be.
    """

    detach_asked = Signal()
    close_asked = Signal()
    said = Signal(str, str)

    def __init__(self, parent: QWidget | None = None, *, detachable: bool = False) -> None:
        super().__init__(parent)
        self.figure: Figure | None = None
        self._colours: tuple[str, ...] = ()
        self._folder = Path()
        self.canvas = FigureCanvas(self)
        self.canvas.setToolTip("Point at it to read it; drag to move, wheel to zoom, double-click to see all")
        self.canvas.pointed.connect(self._say)
        self.table = QTableWidget(self)
        self._build_table()
        self.stack = QStackedWidget(self)
        self.stack.addWidget(self.canvas)
        self.stack.addWidget(self.table)
        self.fold = QToolButton(self)
        self.fold.setText("Caption")
        self.fold.setToolTip("What is drawn, how it was measured, and what to read from it")
        self.fold.setCheckable(True)
        self.fold.setArrowType(Qt.ArrowType.RightArrow)
        self.fold.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.fold.toggled.connect(self._fold)
        self.line = QElidingLabel(self)
        self.line.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.caption = QLabel(self)
        self.caption.setWordWrap(True)
        self.caption.setTextFormat(Qt.TextFormat.PlainText)
        self.caption.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.caption.setContentsMargins(4, 0, 4, 2)
        self.table_button = self._button("Table", "The numbers behind the figure")
        self.table_button.setCheckable(True)
        self.table_button.toggled.connect(lambda on: self.stack.setCurrentIndex(int(on)))
        self.save_buttons: dict[str, QToolButton] = {}
        for kind, (tip, _) in FORMATS.items():
            self.save_buttons[kind] = self._button(kind.upper(), f"Save: {tip[0].lower()}{tip[1:]}")
            self.save_buttons[kind].clicked.connect(partial(self._ask, kind))
        self.detach_button = self._button("Own window", "Keep this figure in a window of its own")
        self.detach_button.setVisible(detachable)
        self.detach_button.clicked.connect(lambda: self.detach_asked.emit())
        self.close_button = self._button("✕", "Put the figure away; it stays in the list of figures")
        self.close_button.setAccessibleName("Put the figure away")
        self.close_button.setVisible(detachable)
        self.close_button.clicked.connect(lambda: self.close_asked.emit())
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.fold)
        row.addWidget(self.line, 1)
        for button in (self.table_button, *self.save_buttons.values(), self.detach_button, self.close_button):
            row.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 0, 4, 2)
        column.setSpacing(2)
        column.addWidget(self.stack, 1)
        column.addLayout(row)
        column.addWidget(self.caption)
        self._fold(False)
        self.set_theme(DARK)
        self.show_figure(None)

    def show_figure(self, figure: Figure | None, colours: Sequence[str] = ()) -> None:
        """Show a figure.

        Args:
            figure: What to show; None empties the view.
            colours: `#RRGGBB` of the project's classes.
        """
        self.figure = figure
        self._colours = tuple(colours)
        self.canvas.show_figure(self.figure, self._colours)
        rows = {} if figure is None else figure.rows
        self._fill_table(rows)
        self.table_button.setVisible(bool(rows))
        self.table_button.setChecked(figure is not None and not figure.panels and bool(rows))
        for button in (self.fold, *self.save_buttons.values()):
            button.setEnabled(figure is not None)
        whole = (
            "" if figure is None else "\n".join(t for t in (figure.caption, facts_line(figure.facts)) if t)
        )
        self.caption.setText(whole)
        self._say("")

    def set_theme(self, colours: Mapping[str, str]) -> None:
        """Paint with the colours of a napari theme."""
        self.canvas.set_theme(colours)
        # In a dock of its own no style sheet of ours reaches it.
        for label in (self.line, self.caption):
            label.setStyleSheet(f"color: {colours['text']}; background: transparent;")

    def save_csv(self, path: Path) -> None:
        """Write the numbers.

        Raises:
            OSError: The file cannot be written.
        """
        self._save(path.with_suffix(".csv"))

    def save_png(self, path: Path) -> None:
        """Write a picture on white.

        Raises:
            OSError: The file cannot be written.
        """
        self._save(path.with_suffix(".png"))

    def save_svg(self, path: Path) -> None:
        """Write a drawing on white.

        Raises:
            OSError: The file cannot be written.
        """
        self._save(path.with_suffix(".svg"))

    def file_name(self, kind: str) -> str:
        """Return the name that the file dialog offers."""
        assert self.figure is not None
        words = [self.figure.study, *(str(self.figure.facts.get(k) or "") for k in ("run", "split"))]
        return "-".join(re.sub(r"[^\w.+]+", "_", w) for w in words if w) + f".{kind}"

    def sizeHint(self) -> QSize:
        return QSize(900, 230)

    def mouseDoubleClickEvent(self, event: Any) -> None:
        """Zoom out to everything."""
        self.canvas.show_all()

    def _save(self, path: Path) -> None:
        if self.figure is not None:
            save(self.figure, path, self._colours)

    def _ask(self, kind: str, _checked: bool = False) -> None:
        tip, _ = FORMATS[kind]
        name, _ = QFileDialog.getSaveFileName(
            self, "Save the figure", str(self._folder / self.file_name(kind)), f"{tip} (*.{kind})"
        )
        if not name:
            return
        path = Path(name)
        # A person who types `figure.v2` means a name, not an ending.
        path = path if path.suffix.lower() == f".{kind}" else path.with_name(f"{path.name}.{kind}")
        self._folder = path.parent
        try:
            self._save(path)
        except OSError as error:
            self.said.emit("error", f"{path} could not be written: {error.strerror or error}.")
        else:
            self.said.emit("info", f"Saved {path}")

    def _say(self, text: str) -> None:
        """Write what is under the pointer, and the caption where nothing is."""
        rest = "No figure yet. Run a study, or open an earlier one." if self.figure is None else ""
        if self.figure is not None and not self.fold.isChecked():
            rest = " ".join(self.caption.text().split())
        self.line.setText(text or rest)

    def _fold(self, on: bool) -> None:
        self.fold.setArrowType(Qt.ArrowType.DownArrow if on else Qt.ArrowType.RightArrow)
        self.caption.setVisible(on)
        self._say("")

    def _button(self, text: str, tip: str) -> QToolButton:
        button = QToolButton(self)
        button.setText(text)
        button.setToolTip(tip)
        return button

    def _build_table(self) -> None:
        self.table.verticalHeader().hide()
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setAccessibleName("The numbers behind the figure")

    def _fill_table(self, rows: Mapping[str, Sequence[Any]]) -> None:
        table = self.table
        table.clear()
        table.setColumnCount(len(rows))
        table.setHorizontalHeaderLabels(list(rows))
        table.setRowCount(min(_MOST_ROWS, max((len(v) for v in rows.values()), default=0)))
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for column, values in enumerate(rows.values()):
            for row, value in enumerate(values[:_MOST_ROWS]):
                numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
                text = "–" if value is None else number(value) if numeric else str(value)
                item = QTableWidgetItem(text)
                if numeric or value is None:
                    item.setTextAlignment(right)
                table.setItem(row, column, item)
        table.resizeColumnsToContents()
