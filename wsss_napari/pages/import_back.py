"""Read a dataset back as labels, or maps as a run of their own."""

from __future__ import annotations

from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QLineEdit, QPushButton, QWidget

from engine.formats import formats
from engine.messages import Event, Finished, Import
from engine.store import is_name
from wsss_napari.desk import Desk
from wsss_napari.path_line import PathLine

__all__ = ["ImportBack"]


class ImportBack(QWidget):
    """Format, folder, name, Import."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk = desk
        self.format = QComboBox(self)
        for name, form in sorted(formats().items(), key=lambda item: item[1].kind != "masks"):
            self.format.addItem(form.title, name)
        self.format.setToolTip("How the folder is laid out")
        self.format.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.folder = PathLine(
            "Folder to read; its file names must be image names",
            "Choose a folder to import",
            self,
            folder="A folder…",
        )
        self.name = QLineEdit("imported", self)
        self.name.setToolTip("Name of the labels (or of the run, for maps) that are made")
        self.note = QLabel(self)
        self.note.setWordWrap(True)
        self.note.setProperty("wsss", "note")
        self.go = QPushButton("Import", self)
        self.go.setToolTip("Read the folder; nothing there is changed")
        self.go.clicked.connect(self.start)
        form_box = QFormLayout(self)
        form_box.setContentsMargins(0, 0, 0, 0)
        form_box.addRow("Format", self.format)
        form_box.addRow("Folder", self.folder)
        form_box.addRow("Name", self.name)
        form_box.addRow(self.note)
        form_box.addRow(self.go)
        self.folder.changed.connect(self._check)
        self.name.textChanged.connect(lambda _text: self._check())
        self.format.currentIndexChanged.connect(lambda _index: self._check())
        self._check()

    def job(self) -> Import:
        """Return the job of the form."""
        return self.desk.job(
            Import, format=self.format.currentData(), path=self.folder.line.text(), name=self.name.text()
        )

    def start(self) -> None:
        """Import."""
        self.go.setEnabled(not self.desk.submit(self.job(), then=self._ended))

    def _ended(self, ending: Event) -> None:
        self._check()
        if isinstance(ending, Finished):
            result = ending.result
            self.note.setText(f"Read {result['images']} images as '{result['name']}'.")
            if result["kind"] == "cams":
                self.desk.session.runs_changed.emit()

    def _check(self) -> None:
        form = formats()[self.format.currentData()]
        good = is_name(self.name.text())
        self.go.setEnabled(good and bool(self.folder.line.text().strip()))
        self.note.setText(form.holds if good else "A name has letters, digits, '-', '_' and '.', 64 at most.")
