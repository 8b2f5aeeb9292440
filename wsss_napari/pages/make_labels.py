"""The panel that turns the rule on screen into pseudo-labels of all images."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QLabel, QLineEdit, QPushButton, QWidget

from engine.crf import CRFParams
from engine.params import presets
from engine.store import is_name

__all__ = ["MakeLabels"]


class MakeLabels(QWidget):
    """Name, CRF, and how many images; the rule is the one on the page.

    Signals:
        asked: Make the labels.
        closed: Not now.
        changed: The name or the CRF changed.
        rest_asked: Draw the maps of the images that have none.
    """

    asked = Signal()
    closed = Signal()
    changed = Signal()
    rest_asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.name = QLineEdit("labels", self)
        self.name.setToolTip(
            "Name of the labels: a folder of the project, so letters, digits, '-', '_' and '.'"
        )
        self.crf = QComboBox(self)
        self.crf.addItems(["none", *presets(CRFParams)])
        self.crf.setToolTip(
            "Let a dense CRF pull the borders to the edges of the photograph; the presets are those of the papers. "
            "It takes about a second an image."
        )
        self.note = QLabel(self)
        self.note.setWordWrap(True)
        self.note.setProperty("wsss", "note")
        self.rest = QPushButton(self)
        self.rest.setToolTip("Images without maps get no label")
        self.rest.clicked.connect(self.rest_asked)
        self.go = QPushButton("Make labels", self)
        self.go.setProperty("wsss", "primary")
        self.go.clicked.connect(self.asked)
        self.cancel = QPushButton("Not now", self)
        self.cancel.setToolTip("Close this panel")
        self.cancel.clicked.connect(self.closed)
        row = QHBoxLayout()
        row.addWidget(self.go, 1)
        row.addWidget(self.cancel)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Name", self.name)
        form.addRow("CRF", self.crf)
        form.addRow(self.note)
        form.addRow(self.rest)
        form.addRow(row)
        self.name.textChanged.connect(self._check)
        self.crf.currentTextChanged.connect(lambda _text: self._check())
        self._images = 0
        self._taken: frozenset[str] = frozenset()
        self._off = 0

    def show_for(self, images: int, missing: int, time: str, taken: frozenset[str], off: int) -> None:
        """Say what will happen.

        Args:
            images: Images that have maps.
            missing: Images that have none.
            time: What drawing those takes, in words, or empty.
            taken: Names of the labels that there are.
            off: Classes of this image that are switched off on the page.
        """
        self._images, self._taken, self._off = images, taken, off
        self.rest.setVisible(missing > 0)
        self.rest.setText(f"Draw maps of the other {missing} first" + (f" ({time})" if time else ""))
        self._check()

    def _check(self, _text: Any = "") -> None:
        name = self.name.text()
        lines = [f"{self._images} image{'s' if self._images != 1 else ''} with the rule above."]
        if not is_name(name):
            lines = ["A name has letters, digits, '-', '_' and '.', 64 at most."]
        elif name in self._taken:
            lines.append(f"The labels '{name}' are there already and will be replaced.")
        if self._off:
            lines.append("Switched-off classes count on this page only; labels use every tagged class.")
        self.note.setText(" ".join(lines))
        self.go.setEnabled(is_name(name) and self._images > 0)
        self.go.setText(
            f"Make labels for {self._images} images" if self._images != 1 else "Make labels for 1 image"
        )
        self.changed.emit()
