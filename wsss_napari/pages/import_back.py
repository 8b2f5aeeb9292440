"""Read a dataset back as labels, or maps as a run of their own."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFormLayout, QLabel, QLineEdit, QPushButton, QWidget

from engine.messages import Event, Failed, Finished, Import
from engine.store import is_name
from wsss_napari.desk import Desk
from wsss_napari.format_choice import FormatChoice
from wsss_napari.path_line import PathLine

__all__ = ["ImportBack"]


class ImportBack(QWidget):
    """Format, folder, name, Import."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk = desk
        self._working = False
        self.format = FormatChoice(self)
        self.format.setToolTip("How the folder is laid out")
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
        self.problem = QLabel(self)
        self.problem.setWordWrap(True)
        self.problem.setTextFormat(Qt.TextFormat.PlainText)  # names of foreign files are no HTML
        self.problem.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.problem.setProperty("wsss", "warning")
        self.problem.hide()
        self.note.setTextFormat(Qt.TextFormat.PlainText)
        self.go = QPushButton("Import", self)
        self.go.setToolTip("Read the folder; nothing there is changed")
        self.go.clicked.connect(self.start)
        form_box = QFormLayout(self)
        form_box.setContentsMargins(0, 0, 0, 0)
        form_box.addRow("Format", self.format)
        form_box.addRow("Folder", self.folder)
        form_box.addRow("Name", self.name)
        form_box.addRow(self.note)
        form_box.addRow(self.problem)
        form_box.addRow(self.go)
        self.folder.changed.connect(self._edited)
        self.name.textChanged.connect(lambda _text: self._edited())
        self.format.currentIndexChanged.connect(lambda _index: self._edited())
        self._check()

    def job(self) -> Import:
        """Return the job of the form."""
        return self.desk.job(
            Import, format=self.format.currentData(), path=self.folder.line.text(), name=self.name.text()
        )

    def _edited(self) -> None:
        """Look at the form anew; what was said of other files is over."""
        self.problem.hide()
        self._check()

    def start(self) -> None:
        """Import; what is wrong with the files is said under the form."""
        self.problem.hide()
        self._working = bool(self.desk.submit(self.job(), then=self._ended, quiet=True))
        self._check()

    def _ended(self, ending: Event) -> None:
        self._working = False
        self._check()
        if isinstance(ending, Finished):
            result = ending.result
            masks = result["kind"] != "cams"
            next_step = " The Correct page can begin from them." if masks else ""
            self.note.setText(f"Read {result['images']} images as '{result['name']}'.{next_step}")
            if not masks:
                self.desk.session.runs_changed.emit()
        elif isinstance(ending, Failed):
            self.problem.setText("\n".join(p for p in (ending.message, ending.hint) if p))
            self.problem.show()

    def _check(self) -> None:
        good = is_name(self.name.text())
        self.go.setEnabled(good and bool(self.folder.line.text().strip()) and not self._working)
        self.go.setText("Importing…" if self._working else "Import")
        self.note.setText(
            self.format.form.holds if good else "A name has letters, digits, '-', '_' and '.', 64 at most."
        )
