"""The sliders of the Prototypes page: what may be turned between the seed and the map."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QGridLayout, QLabel, QToolButton, QWidget

from engine.params import Field
from engine.passage import Choice
from wsss_napari.slide_entry import SlideEntry

__all__ = ["OURS", "PrototypeSliders"]

#: Stands in the tooltip of everything that the paper leaves open.
OURS = "Reconstructed, not stated in the paper."
_DRAWS = (
    ("mean_cos", "mean of the neighbours' cosines"),
    ("cos_mean", "cosine to the neighbours' mean"),
    ("max_cos", "best of the neighbours"),
)
# Attribute of the choice (alpha aside) -> words, row.
_SLIDES: tuple[tuple[str, Field], ...] = (
    (
        "Seed threshold τ",
        Field(
            "tau",
            "float",
            0.2,
            "Part of the class map's peak above which a cell seeds the image's prototype (eq. 4).",
            low=0,
            high=0.99,
        ),
    ),
    (
        "Shift",
        Field(
            "shift",
            "float",
            1.0,
            "How much of delta moves the image's embeddings onto the bank's mean (eq. 12): 0 none, 1 all, as in "
            f"training. That delta follows a running mean of prototypes: {OURS.lower()}",
            low=0,
            high=1,
        ),
    ),
    (
        "Neighbours K",
        Field(
            "neighbours",
            "int",
            10,
            "How many prototypes of the class, the likest first, draw the map (eq. 6). No more than there are.",
            low=1,
            high=1000,
        ),
    ),
    (
        "Temperature",
        Field(
            "temperature",
            "float",
            0.1,
            "Divides the products that the weights come from (eq. 7): small, and the likest neighbour draws the map "
            f"alone; large, and all weigh alike. {OURS}",
            low=0.001,
        ),
    ),
    (
        "Score gate α",
        Field(
            "alpha",
            "float",
            0.8,
            "Score from which an image's prototype enters the bank (appendix B). Raised over the training's, rows "
            "under it leave the bank's mean and the prototypes; lowered, it changes nothing, as those rows never came.",
            low=0,
            high=1,
        ),
    ),
)  # fmt: skip


class PrototypeSliders(QWidget):
    """Five sliders, a switch and a choice; all are read as one `Choice`.

    Signals:
        moved: Something was turned.
    """

    moved = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._plain = Choice()
        self._plain_alpha = 0.0
        self.entries: dict[str, SlideEntry] = {}
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(6)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        self._grid = grid
        self._labels: dict[str, QLabel] = {}
        for at, (words, field) in enumerate(_SLIDES):
            self._labels[field.name] = label = QLabel(words, self)
            label.setToolTip(_rich(field.doc))
            grid.addWidget(label, at, 0)
            self._place(at, field)
        self.positiveness = QCheckBox("Weigh by positiveness", self)
        self.positiveness.setToolTip(
            _rich(
                "Weigh the neighbours by learnt positiveness (eq. 7), or all alike. Without it the temperature rests."
            )
        )
        self.positiveness.toggled.connect(self._weigh)
        self.draw = QComboBox(self)
        for key, words in _DRAWS:
            self.draw.addItem(words, key)
        self.draw.setToolTip(
            _rich(
                "How neighbours make one map. The first two are the same once the map is divided by its peak: K "
                f"neighbours then act as one direction. The third keeps several kinds apart. {OURS}"
            )
        )
        self.draw.setAccessibleName("How neighbours make one map")
        self.draw.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.draw.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.draw.setMinimumContentsLength(8)
        self.draw.activated.connect(lambda _index: self.moved.emit())
        self.reset = QToolButton(self)
        self.reset.setText("As the run draws")
        self.reset.setProperty("wsss", "quiet")
        self.reset.setToolTip("Put everything back to what the run was trained with")
        self.reset.clicked.connect(self._reset)
        label = QLabel("Map", self)
        label.setBuddy(self.draw)
        rows = len(_SLIDES)
        grid.addWidget(label, rows, 0)
        grid.addWidget(self.draw, rows, 1)
        grid.addWidget(self.positiveness, rows + 1, 0, 1, 2)
        grid.addWidget(self.reset, rows + 2, 0, 1, 2, Qt.AlignmentFlag.AlignLeft)

    @property
    def choice(self) -> Choice:
        """What is turned how."""
        values: dict[str, Any] = {n: e.read() for n, e in self.entries.items() if n != "alpha"}
        return replace(
            self._plain,
            **values,
            positiveness=self.positiveness.isChecked(),
            draw=self.draw.currentData(),
        )

    @property
    def alpha(self) -> float:
        """Score from which a row of the bank counts."""
        return float(self.entries["alpha"].read())

    def show_run(self, choice: Choice, alpha: float, most: int) -> None:
        """Show what another run draws with, without telling; its classes have `most` prototypes at most."""
        self._plain, self._plain_alpha = choice, alpha
        at = next(n for n, (_, field) in enumerate(_SLIDES) if field.name == "neighbours")
        # An entry's slider reaches as far as its field; K reaches as far as there are prototypes.
        self._place(at, replace(_SLIDES[at][1], high=max(most, 2)))
        self.write(choice, alpha)

    def write(self, choice: Choice, alpha: float) -> None:
        """Show a choice, without telling."""
        for name, entry in self.entries.items():
            entry.write(alpha if name == "alpha" else getattr(choice, name))
        with QSignalBlocker(self.positiveness), QSignalBlocker(self.draw):
            self.positiveness.setChecked(choice.positiveness)
            self.draw.setCurrentIndex(max(self.draw.findData(choice.draw), 0))
        self.entries["temperature"].setEnabled(choice.positiveness)

    def set_alpha(self, alpha: float) -> None:
        """Take alpha from where it was dragged."""
        self.entries["alpha"].write(min(max(alpha, 0.0), 1.0))
        self.moved.emit()

    def _place(self, at: int, field: Field) -> None:
        old = self.entries.get(field.name)
        if old is not None:
            self._grid.removeWidget(old)
            old.hide()
            old.deleteLater()
        self.entries[field.name] = entry = SlideEntry(field, self)
        entry.setToolTip(_rich(field.doc))
        entry.setAccessibleName(_SLIDES[at][0])
        entry.edited.connect(self.moved)
        self._labels[field.name].setBuddy(entry)
        self._grid.addWidget(entry, at, 1)

    def _weigh(self, on: bool) -> None:
        self.entries["temperature"].setEnabled(on)
        self.moved.emit()

    def _reset(self) -> None:
        self.write(self._plain, self._plain_alpha)
        self.moved.emit()


def _rich(text: str) -> str:
    """Return a tooltip that wraps."""
    return f"<p>{text}</p>"
