"""The widgets of the Climb page, without what they do."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QSignalBlocker, Qt, QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from wsss_napari.climb_layers import LOOKS
from wsss_napari.climb_tree import ClimbTree
from wsss_napari.controls import combo, note, rule, switches
from wsss_napari.forms import Fold
from wsss_napari.pages.climb_panels import LabelPanel, Question
from wsss_napari.readouts import Readouts
from wsss_napari.rule_panel import RulePanel
from wsss_napari.saliency_pick import SaliencyPick
from wsss_napari.step_curves import StepCurves
from wsss_napari.step_player import StepPlayer

__all__ = ["FILMS", "ClimbBody"]

#: Ending -> words of the menu and of the dialog.
FILMS = {
    ".gif": "Film (GIF)…",
    ".mp4": "Film (MP4)…",
    ".png": "Strip of pictures (PNG)…",
    ".npz": "Arrays (npz)…",
}
_WIDEST = 11


class ClimbBody(QWidget):
    """The start and its settings; under them, once there is a climb, its steps, the mask, what is made of it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._build_start()
        self._build_steps()
        self._build_going_on()
        self._build_switches()
        self._build_mask()
        self._build_end()
        self.tools = QWidget(self)
        column = _column(self.tools)
        column.addWidget(self.tree)
        column.addWidget(self.player)
        column.addWidget(self.line)
        column.addWidget(self.best, 0, Qt.AlignmentFlag.AlignLeft)
        column.addWidget(self.question)
        column.addLayout(self._going_on)
        column.addWidget(self.read_only)
        column.addWidget(rule())
        column.addLayout(self._switches)
        column.addWidget(self.legend)
        column.addLayout(self._beside_row)
        column.addWidget(rule())
        column.addLayout(self._mask_row)
        column.addWidget(self.rule)
        column.addWidget(self.figures)
        column.addWidget(rule())
        column.addLayout(self._end_row)
        column.addWidget(self.label)
        column.addWidget(self.told)
        whole = _column(self)
        whole.addLayout(self._start_row)
        whole.addWidget(self.about)
        whole.addWidget(self.note)
        whole.addWidget(self.tag_note)
        whole.addWidget(self.warning)
        whole.addWidget(self.settings)
        whole.addWidget(self.tools)
        self.foot = QVBoxLayout()
        whole.addLayout(self.foot)
        whole.addStretch(1)
        self.show_warning("")
        self.show_tools(False)

    def show_tools(self, on: bool) -> None:
        """Show what belongs to a climb, or only the start; the one filled button follows."""
        self.tools.setVisible(on)
        self.start.setProperty("wsss", "" if on else "primary")
        # A style sheet looks at properties once.
        self.start.style().unpolish(self.start)
        self.start.style().polish(self.start)

    def show_warning(self, text: str) -> None:
        """Show a sentence under the start, or none."""
        self.warning.setText(text)
        self.warning.setVisible(bool(text))

    def show_tag_note(self, text: str) -> None:
        """Show that the class is not tagged here, or nothing; a warning beside it stays."""
        self.tag_note.setText(text)
        self.tag_note.setVisible(bool(text))

    def show_read_only(self, text: str) -> None:
        """Say why nothing goes on from this climb in place of the buttons, or show them."""
        self.read_only.setText(text)
        self.read_only.setVisible(bool(text))
        for button in (self.once, self.more, self.again, self.branch):
            button.setVisible(not text)

    def show_best(self, curves: StepCurves) -> None:
        """Mark the step that agrees best with the truth and offer it; without truth there is none."""
        best = curves.best
        self.best.setVisible(best is not None)
        said = ""
        if best is not None and curves.miou is not None:
            said = f"Best by the truth: step {best}, mIoU {curves.miou[best]:.3f}"
        self.best.setText(said)
        self.player.mark(best, said)

    def take_form(self, form: QWidget) -> None:
        """Put the form of the settings under its headline."""
        self.no_form.hide()
        self.form_box.addWidget(form)
        self.form_box.addWidget(self.saliency)
        self.saliency.show()

    def close_all(self) -> None:
        """Show the start alone, without any word of the climb that was in front."""
        self.show_warning("")
        self.show_told("")
        self.question.hide()
        self.show_label_panel(False)
        self.show_tools(False)

    def show_about(self, name: str) -> None:
        """Say what a climb does, while there is none of the class to look at; an empty name says nothing."""
        self.about.setText(
            f"A climb changes the photograph a little at each step, so that the network sees more evidence for {name}. "
            "The map grows from the most telling part over the rest of the object."
        )
        self.about.setVisible(bool(name))

    def show_told(self, text: str) -> None:
        """Say what became of the label or the film, or nothing."""
        self.told.setText(text)
        self.told.setVisible(bool(text))

    def show_branch(self, differ: Sequence[str]) -> None:
        """Let the branch button say in what a branch would differ."""
        said = differ[0] if differ else ""
        if len(said) > _WIDEST:
            said = said[: _WIDEST - 1].rstrip() + "…"
        if len(differ) > 1:
            said += f" +{len(differ) - 1}"
        self.branch.setText(f"Branch: {said}" if said else "Branch from here")
        self.branch.setToolTip(
            f"Go on from the shown step with the settings above: {', '.join(differ)}"
            if differ
            else "Change a setting above first: a branch goes on from the shown step with other settings"
        )

    def show_pictures(self, there: bool) -> None:
        """Let the switches of pictures be used, or say why they cannot."""
        for look in LOOKS:
            switch = self.switches[look.key]
            if look.pictures:
                switch.setEnabled(there)
                switch.setToolTip(
                    look.tip if there else "This climb kept its maps only; climb here to keep pictures"
                )

    def wanted(self) -> list[str]:
        """Return the keys of the looks that are switched on and can be shown."""
        return [look.key for look in LOOKS if self._is_on(look.key)]

    def set_wanted(self, key: str, on: bool) -> None:
        """Turn a switch without telling."""
        with QSignalBlocker(self.switches[key]):
            self.switches[key].setChecked(on)
        self.show_legend()

    def show_legend(self) -> None:
        """Say what the colours of the looks mean that have some of their own."""
        parts = []
        if self._is_on("change"):
            parts.append("Change: orange more, blue less.")
        if self._is_on("restricting"):
            parts.append("Held still: orange high cells (M), blue background (D), yellow both.")
        self.legend.setText(" ".join(parts))
        self.legend.setVisible(bool(parts))

    def offer_beside(self, titles: Sequence[tuple[str, str]], chosen: str | None) -> None:
        """Offer the climbs, (key, words) each, that can be shown beside the one in front."""
        with QSignalBlocker(self.beside):
            self.beside.clear()
            for key, words in titles:
                self.beside.addItem(words, key)
            self.beside.setCurrentIndex(max(self.beside.findData(chosen), 0) if titles else -1)
        for widget in (self.beside, self.compare):
            widget.setVisible(bool(titles))

    def show_label_panel(self, on: bool) -> None:
        """Open or close the panel that makes the label."""
        self.label.setVisible(on)
        for widget in (self.use, self.export):
            widget.setVisible(not on)
        if on:
            self.label.name.setFocus()
            # Once it has its place: the panel opens below what is in sight.
            QTimer.singleShot(0, self._bring_label)

    def _bring_label(self) -> None:
        area: QWidget | None = self
        while area is not None and not isinstance(area, QScrollArea):
            area = area.parentWidget()
        if area is not None:
            area.ensureWidgetVisible(self.label)

    def _is_on(self, key: str) -> bool:
        switch = self.switches[key]
        return switch.isChecked() and switch.isEnabled()

    def _build_start(self) -> None:
        self.start = QPushButton("Climb", self)
        self.stop = QPushButton("Stop", self)
        self.stop.setToolTip("Stop after the step that is being climbed; what was climbed is kept")
        self._start_row = QHBoxLayout()
        self._start_row.addWidget(self.start, 1)
        self._start_row.addWidget(self.stop)
        self.note = note(self)
        self.about = note(self)
        self.tag_note = note(self)
        self.tag_note.hide()
        self.warning = QLabel(self)
        self.warning.setWordWrap(True)
        self.warning.setProperty("wsss", "warning")
        holder = QWidget(self)
        self.form_box = _column(holder)
        self.form_box.setContentsMargins(8, 0, 0, 0)
        self.no_form = note(holder)
        self.form_box.addWidget(self.no_form)
        self.saliency = SaliencyPick(holder)
        self.saliency.hide()
        self.settings = Fold("Settings", holder, self)

    def _build_steps(self) -> None:
        self.tree = ClimbTree(self)
        self.player = StepPlayer(self)
        self.line = note(self)
        self.best = QToolButton(self)
        self.best.setProperty("wsss", "quiet")
        self.best.setToolTip(
            "The step whose mask agrees best with this image's truth at the rule below. Click: go there. "
            "Without truth nobody knows it, so it is never chosen for you."
        )
        self.question = Question(self)

    def _build_going_on(self) -> None:
        self.once = _button(
            "Step once", "Climb one step more from the end, with the climb's own settings", self
        )
        self.more = _button("Keep climbing", "", self)
        self.again = _button(
            "Continue from here",
            "Go on from the shown step with the climb's own settings, as many steps as were planned; it becomes a branch",
            self,
        )
        self.branch = _button("Branch from here", "", self)
        self._going_on = QGridLayout()
        self._going_on.setSpacing(6)
        for at, button in enumerate((self.once, self.more, self.again, self.branch)):
            self._going_on.addWidget(button, at // 2, at % 2)
        self._going_on.setColumnStretch(0, 1)
        self._going_on.setColumnStretch(1, 1)
        self.read_only = note(self)
        self.show_branch(())
        self.show_read_only("")

    def _build_switches(self) -> None:
        self.switches, self._switches = switches(LOOKS, self)
        self.legend = note(self)
        self.show_legend()
        self.compare = QPushButton("Side by side with", self)
        self.compare.setCheckable(True)
        self.compare.setToolTip("Show another climb of this class beside this one, at the same step (G)")
        self.beside = combo(
            "The climb that is shown beside; Ctrl+click on one in the tree chooses it too", self
        )
        self._beside_row = QHBoxLayout()
        self._beside_row.addWidget(self.compare)
        self._beside_row.addWidget(self.beside, 1)
        self.offer_beside((), None)

    def _build_mask(self) -> None:
        self.mask = combo("How the mask of the rule below is drawn", self)
        for words, style in (("outline", "outline"), ("filled", "filled"), ("hidden", "none")):
            self.mask.addItem(words, style)
        label = QLabel("Mask", self)
        label.setBuddy(self.mask)
        self.truth = QCheckBox("Show truth", self)
        self.truth.setToolTip("Outline this class's truth over the image")
        self._mask_row = QHBoxLayout()
        self._mask_row.addWidget(label)
        self._mask_row.addWidget(self.mask, 1)
        self._mask_row.addWidget(self.truth)
        self.rule = RulePanel(self)
        self.figures = Readouts(self)

    def _build_end(self) -> None:
        self.use = QPushButton("Use as label…", self)
        self.use.setProperty("wsss", "primary")
        self.use.setToolTip("Make this image's pseudo-label from the shown step, with the rule above")
        self.export = QToolButton(self)
        self.export.setText("Export ▾")
        self.export.setProperty("wsss", "quiet")
        self.export.setToolTip("Write this climb into a file: a film, a strip of its steps, or its arrays")
        self.export.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.films = QMenu(self.export)
        self.export.setMenu(self.films)
        self._end_row = QHBoxLayout()
        self._end_row.addWidget(self.use, 1)
        self._end_row.addWidget(self.export)
        self.label = LabelPanel(self)
        self.label.hide()
        self.told = note(self)
        self.told.hide()


def _column(parent: QWidget) -> QVBoxLayout:
    column = QVBoxLayout(parent)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(8)
    return column


def _button(text: str, tip: str, parent: QWidget) -> QPushButton:
    button = QPushButton(text, parent)
    button.setToolTip(tip or text)
    # What it says changes; that must not make the dock wider.
    button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    return button
