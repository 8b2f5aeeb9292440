"""The widgets of the Refine page, without what they do."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from wsss_napari.controls import combo, note, rule
from wsss_napari.pages.refine_boxes import BoxList
from wsss_napari.pages.refine_sight import SightPanel
from wsss_napari.refine_editor import ChainEditor

__all__ = ["RefineBody"]


class RefineBody(QWidget):
    """Where the chain begins, its cards, what runs it; under them the boxes it made and the one in front."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.source = combo("The maps that the chain begins with, refined already or not", self, least=10)
        source_label = QLabel("Maps of", self)
        source_label.setBuddy(self.source)
        top = QHBoxLayout()
        top.addWidget(source_label)
        top.addWidget(self.source, 1)
        self.source_note = note(self)
        self.chain = ChainEditor(self)
        self.preview_note = note(self)
        self.end_preview = QPushButton("End preview", self)
        self.end_preview.setProperty("wsss", "quiet")
        self.end_preview.setToolTip("Take the preview away and show the result again")
        self._preview_row = QHBoxLayout()
        self._preview_row.addWidget(self.preview_note, 1)
        self._preview_row.addWidget(self.end_preview, 0, Qt.AlignmentFlag.AlignTop)
        self._build_start()
        self.boxes = BoxList(self)
        self.sight = SightPanel(self)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(8)
        whole.addLayout(top)
        whole.addWidget(self.source_note)
        whole.addWidget(self.chain)
        whole.addLayout(self._preview_row)
        whole.addLayout(self._one_row)
        whole.addLayout(self._split_row)
        whole.addWidget(self.all)
        whole.addWidget(self.note)
        whole.addWidget(self.warning)
        whole.addWidget(self.told)
        whole.addWidget(rule())
        whole.addWidget(self.boxes)
        whole.addWidget(self.sight)
        whole.addStretch(1)
        self.show_warning("")
        self.show_told("")
        self.show_preview_note("")

    def offer_sources(self, sources: Sequence[tuple[str, str]], chosen: str | None) -> None:
        """Offer views, (RUN/VIEWS, words) each, and choose one."""
        with QSignalBlocker(self.source):
            self.source.clear()
            for key, words in sources:
                self.source.addItem(words, key)
            self.source.setCurrentIndex(self.source.findData(chosen))

    def offer_splits(self, splits: Sequence[tuple[str, str | None, int]]) -> None:
        """Offer what to run on, (words, split or None for all, images) each; what is chosen stays so."""
        chosen = self.split.currentText()
        with QSignalBlocker(self.split):
            self.split.clear()
            for words, split, count in splits:
                self.split.addItem(words, (split, count))
            self.split.setCurrentIndex(max(self.split.findText(chosen), 0))

    def show_warning(self, text: str) -> None:
        """Show what went wrong, or nothing."""
        self.warning.setText(text)
        self.warning.setVisible(bool(text))

    def show_told(self, text: str) -> None:
        """Show what became of a job, or nothing."""
        self.told.setText(text)
        self.told.setVisible(bool(text))

    def show_preview_note(self, text: str, *, there: bool = False) -> None:
        """Say what the preview shows, or why there is none, or nothing."""
        self.preview_note.setText(text)
        self.preview_note.setVisible(bool(text))
        self.end_preview.setVisible(there)

    def _build_start(self) -> None:
        self.one = QPushButton("Refine this image", self)
        self.one.setProperty("wsss", "primary")
        self.stop = QPushButton("Stop", self)
        self.stop.setToolTip("Stop after the image that is being refined; the same chain goes on from there")
        self._one_row = QHBoxLayout()
        self._one_row.addWidget(self.one, 1)
        self._one_row.addWidget(self.stop)
        self.split = combo("The images that the chain is run on", self, least=5)
        self.all = QPushButton(self)
        self.all.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        images = QLabel("Run on", self)
        images.setBuddy(self.split)
        self._split_row = QHBoxLayout()
        self._split_row.addWidget(images)
        self._split_row.addWidget(self.split, 1)
        self.note = note(self)
        self.warning = QLabel(self)
        self.warning.setWordWrap(True)
        self.warning.setProperty("wsss", "warning")
        self.told = note(self)
