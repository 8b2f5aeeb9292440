"""The list of keys, drawn from the table that binds them."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QGridLayout, QLabel, QWidget

from wsss_napari.keys import help_rows

__all__ = ["KeyHelp"]


class KeyHelp(QDialog):
    """A small window with all keys; those that do nothing on this page are greyed."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keys")
        self._grid = QGridLayout(self)
        self._grid.setColumnMinimumWidth(1, 16)
        self._grid.setContentsMargins(16, 12, 16, 14)

    def show_for(self, page: str) -> None:
        """Show the keys as they work on a page."""
        while self._grid.count():
            item = self._grid.takeAt(0)
            widget = item.widget() if item is not None else None
            if widget is not None:
                widget.deleteLater()
        last = ""
        for group, keys, text, works in help_rows(page):
            line = self._grid.rowCount()
            if group != last:
                headline = QLabel(group)
                headline.setProperty("wsss", "title")
                self._grid.addWidget(headline, line, 0, 1, 3)
                line, last = line + 1, group
            for column, content in ((0, keys), (2, text)):
                label = QLabel(content)
                label.setTextFormat(Qt.TextFormat.PlainText)
                label.setEnabled(works)
                self._grid.addWidget(label, line, column)
        self.show()
        self.raise_()
        self.adjustSize()
