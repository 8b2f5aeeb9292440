"""The widgets of the Correct page, without what they do."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from wsss_napari.controls import note, rule
from wsss_napari.pages.correct_halves import Halves
from wsss_napari.pages.correct_history import HistoryPanel
from wsss_napari.pages.correct_paint import PaintPanel
from wsss_napari.pages.correct_review import ReviewPanel

__all__ = ["CorrectBody"]

_NOTE_TIP = "Kept with the image, with your name and the time"


class CorrectBody(QWidget):
    """State and decisions; what is painted, tools, the proposal, history and note, which scroll; the queue below them.

    Attributes:
        tools_slot: Where the row of tools goes.
        queue_slot: Where the queue goes.

    Signals:
        note_left: The person is done writing the note.
    """

    note_left = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._build_notice()
        self.review = ReviewPanel(self)
        self.paint = PaintPanel(self)
        self.tools_slot = QVBoxLayout()
        self.queue_slot = QVBoxLayout()
        self.history = HistoryPanel(self)
        self.halves = Halves(self)
        upper = QVBoxLayout(self.halves.upper)
        upper.setContentsMargins(0, 0, 4, 0)
        upper.setSpacing(8)
        upper.addWidget(self.paint)
        upper.addLayout(self.tools_slot)
        upper.addWidget(rule())
        self._build_proposal(upper)
        upper.addWidget(rule())
        upper.addWidget(self.history)
        self._build_note(upper)
        upper.addStretch(1)
        lower = QVBoxLayout(self.halves.lower)
        lower.setContentsMargins(0, 0, 0, 0)
        lower.addLayout(self.queue_slot)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(8)
        whole.addWidget(self.notice)
        whole.addWidget(self.review)
        whole.addWidget(rule())
        whole.addWidget(self.halves, 1)
        self.show_notice("")
        self.show_newer("")

    def show_notice(self, text: str, button: str = "", tip: str = "") -> None:
        """Show a sentence above everything, with a button, or nothing."""
        self.notice_text.setText(text)
        self.notice_button.setText(button)
        self.notice_button.setToolTip(tip or button)
        self.notice_button.setVisible(bool(button))
        self.notice.setVisible(bool(text))

    def offer_sources(self, sources: Sequence[tuple[str, str]], chosen: str | None) -> None:
        """Offer sources of proposals, (key, words) each, and choose one."""
        with QSignalBlocker(self.source):
            self.source.clear()
            for key, words in sources:
                self.source.addItem(words, key)
                self.source.setItemData(self.source.count() - 1, words, Qt.ItemDataRole.ToolTipRole)
            if not sources:
                self.source.addItem("none: editing begins with an empty mask", None)
            self.source.setCurrentIndex(max(self.source.findData(chosen), 0))
        self.source.setEnabled(len(sources) > 0)

    def show_newer(self, text: str) -> None:
        """Say what a newer proposal would change, with the ways to see and take it, or nothing."""
        self.newer.setText(text)
        self._newer_row.setVisible(bool(text))

    def show_note(self, text: str, who: str, *, locked: bool, anew: bool = False) -> None:
        """Show the note and who did what last; a text that is being written stays, unless it is shown anew."""
        if anew or not (self.note.hasFocus() or self.note.isModified()):
            # A line shows no line breaks; what a person does not touch is never written back.
            self.note.setText(" ".join(text.split()))
            self.note.setToolTip(text or _NOTE_TIP)
        self.note.setReadOnly(locked)
        self.who.setText(who)
        self.who.setVisible(bool(who))

    def _build_notice(self) -> None:
        self.notice = QFrame(self)
        self.notice.setProperty("wsss", "card")
        self.notice_text = QLabel(self.notice)
        self.notice_text.setWordWrap(True)
        self.notice_text.setTextFormat(Qt.TextFormat.PlainText)
        self.notice_text.setProperty("wsss", "warning")
        self.notice_button = QPushButton(self.notice)
        self.notice_button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        column = QVBoxLayout(self.notice)
        column.setContentsMargins(8, 6, 8, 6)
        column.addWidget(self.notice_text)
        column.addWidget(self.notice_button, 0, Qt.AlignmentFlag.AlignLeft)

    def _build_proposal(self, whole: QVBoxLayout) -> None:
        self.source = QComboBox(self)
        tip = "Where the engine's proposal comes from: labels of the project, or the maps of the chosen run"
        self.source.setToolTip(tip)
        self.source.setAccessibleName(tip)
        self.source.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.source.setMinimumContentsLength(8)
        self.source.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        label = QLabel("Proposal", self)
        label.setBuddy(self.source)
        label.setToolTip(tip)
        self.compare = QPushButton("Compare (G)", self)
        self.compare.setToolTip("Hold to see the engine's proposal in place of the mask (G)")
        self.compare.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        row = QHBoxLayout()
        row.addWidget(label)
        row.addWidget(self.source, 1)
        row.addWidget(self.compare)
        whole.addLayout(row)
        self._newer_row = QWidget(self)
        self.newer = note(self._newer_row)
        self.show_changes = QPushButton("Show", self._newer_row)
        self.show_changes.setCheckable(True)
        self.show_changes.setToolTip("Show the pixels that the newer proposal would change")
        self.adopt = QPushButton("Take it", self._newer_row)
        self.adopt.setToolTip("Change these pixels, as one step that can be undone; what you decided stays")
        line = QHBoxLayout(self._newer_row)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.newer, 1)
        for button in (self.show_changes, self.adopt):
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            line.addWidget(button)
        whole.addWidget(self._newer_row)

    def _build_note(self, whole: QVBoxLayout) -> None:
        self.note = QLineEdit(self)
        self.note.setPlaceholderText("Note on this image")
        self.note.setToolTip(_NOTE_TIP)
        self.note.setAccessibleName("Note on this image")
        self.note.editingFinished.connect(self.note_left)
        self.who = note(self)
        whole.addWidget(self.note)
        whole.addWidget(self.who)
