"""The widgets of the Explore page, without what they do."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from wsss_napari.class_toggles import ClassToggles
from wsss_napari.controls import rule
from wsss_napari.pages.make_labels import MakeLabels
from wsss_napari.readouts import Readouts
from wsss_napari.rule_panel import RulePanel
from wsss_napari.side_by_side import MOST

__all__ = ["ExploreBody"]

_KEY = Qt.ItemDataRole.UserRole


class ExploreBody(QWidget):
    """Either what is missing and the way to it (`missing`), or the tools (`tools`)."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._build_missing()
        self._build_looks()
        self.toggles = ClassToggles(self)
        self.notice = QLabel(self)
        self.notice.setWordWrap(True)
        self.notice.setProperty("wsss", "warning")
        self.redraw = QPushButton("Draw again", self)
        self.redraw.setProperty("wsss", "quiet")
        self.redraw.setToolTip("Draw the maps of this image for its tags of today")
        self.no_rule = QLabel(
            "These maps come with their own background score, so there is no threshold to set.", self
        )
        self.no_rule.setWordWrap(True)
        self.no_rule.setProperty("wsss", "note")
        self.rule = RulePanel(self)
        self.figures = Readouts(self)
        self._build_compare()
        self.use = QPushButton("Use as labels…", self)
        self.use.setProperty("wsss", "primary")
        self.use.setToolTip("Make pseudo-labels of all images that have maps, with the rule above")
        self.labels = MakeLabels(self)
        self.labels.hide()

        self.tools = QWidget(self)
        column = QVBoxLayout(self.tools)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addWidget(self.toggles)
        column.addLayout(self._looks)
        warning = QHBoxLayout()
        warning.addWidget(self.notice, 1)
        warning.addWidget(self.redraw)
        column.addLayout(warning)
        column.addWidget(self.no_rule)
        column.addWidget(self.rule)
        column.addWidget(self.figures)
        column.addLayout(self._buttons)
        column.addWidget(self.boxes)
        column.addWidget(rule())
        column.addWidget(self.use)
        column.addWidget(self.labels)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(8)
        whole.addLayout(self._views_row)
        whole.addWidget(self.missing)
        whole.addWidget(self.tools)
        whole.addStretch(1)
        self.show_notice("")

    def show_views(self, names: Sequence[str], chosen: str) -> None:
        """Offer the run's views; with one set there is nothing to choose."""
        with QSignalBlocker(self.views):
            self.views.clear()
            self.views.addItems(list(dict.fromkeys([*names, chosen])))
            self.views.setCurrentText(chosen)
        for widget in (self.views, self._views_label):
            widget.setVisible(self.views.count() > 1)

    def show_missing(self, why: str, count: int, time: str, drawing: bool) -> None:
        """Show why there is nothing to see, and the buttons that change it.

        Args:
            why: A sentence.
            count: Images without maps.
            time: What drawing all takes, in words, or empty.
            drawing: It is being done already.
        """
        self.tools.hide()
        self.missing.show()
        self.why_missing.setText("Drawing the maps of this image…" if drawing else why)
        self.draw_one.setVisible(not drawing)
        self.draw_all.setVisible(not drawing and count > 1)
        self.draw_all.setText(f"Draw maps of all {count} images" + (f" ({time})" if time else ""))

    def show_tools(self, *, has_rule: bool, has_truth: bool) -> None:
        """Show the tools for the maps of this image."""
        self.missing.hide()
        self.tools.show()
        self.rule.setVisible(has_rule)
        self.no_rule.setVisible(not has_rule)
        self.truth.setEnabled(has_truth)

    def show_notice(self, text: str, *, redraw: bool = False) -> None:
        """Show a warning over the histogram, or none; `redraw` offers to draw the maps again."""
        self.redraw.setVisible(redraw)
        self.notice.setText(text)
        self.notice.setVisible(bool(text))

    def show_labels_panel(self, on: bool) -> None:
        """Open or close the panel that makes labels."""
        self.labels.setVisible(on)
        self.use.setVisible(not on)
        if on:
            self.labels.name.setFocus()

    def offer_boxes(self, boxes: Sequence[tuple[str, str]], first: str) -> None:
        """Offer what can be compared; at first the chosen run's map and mask, and the truth.

        Args:
            boxes: (key, words).
            first: `RUN/VIEWS` that is on the page.
        """
        before = {key for key, _ in self.chosen_boxes()} & {key for key, _ in boxes}
        chosen = before or {f"map:{first}", f"mask:{first}", "truth"}
        with QSignalBlocker(self.boxes):
            self.boxes.clear()
            for key, words in boxes:
                item = QListWidgetItem(words)
                item.setData(_KEY, key)
                item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
                state = Qt.CheckState.Checked if key in chosen else Qt.CheckState.Unchecked
                item.setCheckState(state)
                self.boxes.addItem(item)
        height = self.boxes.sizeHintForRow(0) if boxes else 20
        self.boxes.setFixedHeight(min(max(len(boxes), 1), 7) * height + 6)

    def chosen_boxes(self) -> list[tuple[str, str]]:
        """Return (key, words) of the ticked boxes, the first four."""
        items = [self.boxes.item(row) for row in range(self.boxes.count())]
        ticked = [i for i in items if i.checkState() == Qt.CheckState.Checked]
        return [(i.data(_KEY), i.text()) for i in ticked[:MOST]]

    def _build_missing(self) -> None:
        self.missing = QWidget(self)
        self.why_missing = QLabel(self.missing)
        self.why_missing.setWordWrap(True)
        self.draw_one = QPushButton("Draw maps of this image", self.missing)
        self.draw_one.setProperty("wsss", "primary")
        self.draw_one.setToolTip("Let the run's network look at this image; seconds on a CPU")
        self.draw_all = QPushButton(self.missing)
        self.draw_all.setToolTip("Let the run's network look at every image that has no maps yet")
        column = QVBoxLayout(self.missing)
        column.setContentsMargins(0, 8, 0, 0)
        column.setSpacing(10)
        column.addWidget(self.why_missing)
        column.addWidget(self.draw_one)
        column.addWidget(self.draw_all)

    def _build_looks(self) -> None:
        self._views_label = QLabel("Views", self)
        self.views = QComboBox(self)
        self.views.setToolTip("Maps that one inference drew; another inference of the run has another name")
        self._views_label.setBuddy(self.views)
        self._views_row = QHBoxLayout()
        self._views_row.addWidget(self._views_label)
        self._views_row.addWidget(self.views, 1)
        self.show_views((), "default")
        self.maps = _combo(
            (("chosen class", "chosen"), ("all classes on", "all"), ("hidden", "none")),
            "Which maps lie over the photograph; choose the class by its chip above",
        )
        self.colours = _combo((("inferno", "inferno"), ("turbo", "turbo")), "Colours of the maps")
        self.mask = _combo(
            (("filled", "filled"), ("outline", "outline"), ("hidden", "none")), "How the mask is drawn"
        )
        self.truth = QCheckBox("Show truth", self)
        self.truth.setToolTip("Outline the truth mask over the image")
        self._looks = QGridLayout()
        self._looks.setHorizontalSpacing(6)
        self._looks.setVerticalSpacing(4)
        for row, (text, box, beside) in enumerate(
            (("Map", self.maps, self.colours), ("Mask", self.mask, self.truth))
        ):
            label = QLabel(text, self)
            label.setBuddy(box)
            self._looks.addWidget(label, row, 0)
            self._looks.addWidget(box, row, 1)
            self._looks.addWidget(beside, row, 2)
        self._looks.setColumnStretch(1, 3)
        self._looks.setColumnStretch(2, 2)

    def _build_compare(self) -> None:
        self.why = QPushButton("Why this pixel", self)
        self.why.setCheckable(True)
        self.why.setToolTip("Show what each class says of the pixel under the pointer (W)")
        self.compare = QPushButton("Compare", self)
        self.compare.setCheckable(True)
        self.compare.setToolTip("Show up to four boxes side by side, moving together (G)")
        self.boxes = QListWidget(self)
        self.boxes.setToolTip(f"Tick what to compare; the first {MOST} ticked are shown")
        self.boxes.setAccessibleName("Boxes to compare")
        self.boxes.hide()
        self._buttons = QHBoxLayout()
        self._buttons.addWidget(self.why, 1)
        self._buttons.addWidget(self.compare, 1)


def _combo(items: Sequence[tuple[str, str]], tip: str) -> QComboBox:
    box = QComboBox()
    for text, data in items:
        box.addItem(text, data)
    box.setToolTip(tip)
    box.setAccessibleName(tip)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(5)
    return box
