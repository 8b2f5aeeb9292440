"""The state of a mask in words and numbers, and the buttons that decide about it."""

from __future__ import annotations

from html import escape

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

__all__ = ["STATE_COLOURS", "ReviewPanel", "span"]

#: Colours of the dot before a state, told apart by lightness too; the word always stands beside it.
STATE_COLOURS = {
    "unseen": "#8A8F98",
    "proposed": "#56B4E9",
    "in progress": "#E69F00",
    "needs review": "#F0E442",
    "approved": "#009E73",
    "rejected": "#D55E00",
    "skipped": "#8A8F98",
    "damaged": "#CC79A7",
}


def span(seconds: float) -> str:
    """Return a time as people read it on a clock: 0:42, 12:05, 1:02:05."""
    whole = max(0, int(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class ReviewPanel(QWidget):
    """The status line and the big buttons.

    Signals:
        decided: (state) the person's word on this image.
        reopened: Let it be changed again.
        went: (1 or -1) to the next image or the one before.
    """

    decided = Signal(str)
    reopened = Signal()
    went = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = QLabel(self)
        self.state.setTextFormat(Qt.TextFormat.RichText)
        self.figures = QLabel(self)
        self.figures.setTextFormat(Qt.TextFormat.PlainText)
        self.figures.setProperty("wsss", "note")
        self.figures.setToolTip(
            "Unsure: share of pixels that hold 255, which training and measuring leave out.\n"
            "Changed: share of pixels that differ from the engine's proposal."
        )
        self.time = QLabel(self)
        self.time.setProperty("wsss", "note")
        self.time.setToolTip("Time on this image; it stands still after a minute without a sign of you")
        self.time.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.figures.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.why = QLabel(self)
        self.why.setWordWrap(True)
        self.why.setProperty("wsss", "warning")
        self.why.hide()
        line = QHBoxLayout()
        line.addWidget(self.state, 1)
        line.addWidget(self.time)
        self.approve = _button("Approve (A)", "The mask is right: protect it and go to the next image", self)
        self.approve.setProperty("wsss", "primary")
        self.reopen = _button(
            "Reopen (Shift+A)", "Take the approval back, so that the mask can be changed", self
        )
        self.reject = _button("Reject (R)", "No use: leave this image out, and go to the next", self)
        self.skip = _button("Skip (S)", "Not now, and go to the next", self)
        self.review = _button(
            "Doubt (D)", "Somebody else should look: needs review, and go to the next", self
        )
        self.previous = _button("◀ (K)", "Previous image (K)", self)
        self.next = _button("Next ▶ (J)", "Next image, in the order of the queue; the state stays (J)", self)
        for button in (self.approve, self.reopen, self.next):
            button.setMinimumHeight(34)
        self.previous.setMinimumHeight(34)
        self.previous.setAccessibleName("Previous image")
        grid = QGridLayout()
        grid.setSpacing(4)
        grid.addWidget(self.approve, 0, 0, 1, 6)
        grid.addWidget(self.reopen, 0, 0, 1, 6)
        grid.addWidget(self.previous, 0, 6, 1, 2)
        grid.addWidget(self.next, 0, 8, 1, 4)
        for at, button in enumerate((self.reject, self.skip, self.review)):
            grid.addWidget(button, 1, 4 * at, 1, 4)
        for column in range(12):
            grid.setColumnStretch(column, 1)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(6)
        whole.addLayout(line)
        whole.addWidget(self.figures)
        whole.addWidget(self.why)
        whole.addLayout(grid)
        self.approve.clicked.connect(lambda: self.decided.emit("approved"))
        self.reject.clicked.connect(lambda: self.decided.emit("rejected"))
        self.skip.clicked.connect(lambda: self.decided.emit("skipped"))
        self.review.clicked.connect(lambda: self.decided.emit("needs review"))
        self.reopen.clicked.connect(self.reopened)
        self.previous.clicked.connect(lambda: self.went.emit(-1))
        self.next.clicked.connect(lambda: self.went.emit(1))
        self.reopen.hide()

    def show_state(self, state: str, why: str, *, locked: bool) -> None:
        """Show a review state.

        Args:
            state: One of `engine.edits.STATES`.
            why: Why the mask cannot be painted on, or an empty string.
            locked: Not even its state can be changed.
        """
        colour = STATE_COLOURS.get(state, "#8A8F98")
        words = escape(state[:1].upper() + state[1:])
        self.state.setText(f'<span style="color:{colour}">●</span>&nbsp;<b>{words}</b>')
        self.why.setText(why)
        self.why.setVisible(bool(why))
        approved = state == "approved"
        self.approve.setVisible(not approved)
        self.reopen.setVisible(approved)
        for button in (self.approve, self.reopen):
            button.setEnabled(not locked)
        for button in (self.reject, self.skip, self.review):
            button.setEnabled(not locked and not approved)

    def show_figures(self, unsure: float, changed: float | None, seconds: float) -> None:
        """Show the shares, in [0, 1]; `changed` is None without a proposal."""
        parts = [f"unsure {_percent(unsure)}"]
        if changed is not None:
            parts.append(f"changed {_percent(changed)}")
        self.figures.setText(" · ".join(parts))
        self.time.setText(f"{span(seconds)} on it")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share == 0 or share >= 0.0005 else "< 0.1 %"


def _button(text: str, tip: str, parent: QWidget) -> QPushButton:
    button = QPushButton(text, parent)
    button.setToolTip(tip)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    return button
