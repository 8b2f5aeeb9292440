"""What is painted and where: class, background or unsure; the edit mask; what the eraser brings back."""

from __future__ import annotations

from qtpy.QtCore import QRectF, QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QBrush, QColor, QPainter, QPaintEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QButtonGroup,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QWidget,
)

from engine.tags import PRESENT, UNKNOWN
from wsss_napari.chips import paint_chip
from wsss_napari.controls import combo
from wsss_napari.correction import POLICIES, UNSURE

__all__ = ["PaintPanel"]

_POLICIES = {
    "everywhere": ("everywhere", "Tools change every pixel that they touch"),
    "inside": (
        "only inside the class",
        "Tools change only pixels of the class that is chosen by the chips above",
    ),
    "unsure": ("only unsure pixels", "Tools change only unsure pixels"),
    "keep": ("not over other classes", "Tools leave pixels of other classes as they are"),
}
_ERASERS = (
    ("proposal", "the proposal", "The eraser (E) brings back what the engine proposed"),
    ("background", "background", "The eraser (E) leaves background"),
)
_GREY = "#8A8F98"


class PaintPanel(QWidget):
    """Three chips and two choices.

    Signals:
        picked: (value) paint this: 0 background, class + 1, 255 unsure.
        policy_picked: (policy) one of `POLICIES`.
        eraser_picked: "proposal" or "background".
    """

    picked = Signal(int)
    policy_picked = Signal(str)
    eraser_picked = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._class_value = 1
        self.cls = _Chip("class", "Paint the class that is chosen by the chips above (its digit, or N)", self)
        self.background = _Chip("background", "Paint background (0)", self)
        self.unsure = _Chip("unsure", "Paint unsure pixels, which training leaves out (U)", self)
        self.unsure.hatched = True
        self.cls.widest = 100  # long names must not push the others off the dock
        group = QButtonGroup(self)
        row = QHBoxLayout()
        row.setSpacing(4)
        for chip in (self.cls, self.background, self.unsure):
            group.addButton(chip)
            row.addWidget(chip)
        row.addStretch(1)
        self.cls.clicked.connect(lambda: self.picked.emit(self._class_value))
        self.background.clicked.connect(lambda: self.picked.emit(0))
        self.unsure.clicked.connect(lambda: self.picked.emit(UNSURE))

        self.policy = combo(
            "Edit mask: where tools may change pixels", self, least=7, focus=Qt.FocusPolicy.TabFocus
        )
        for policy in POLICIES:
            words, tip = _POLICIES[policy]
            self.policy.addItem(words, policy)
            self.policy.setItemData(self.policy.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.eraser = combo("What the eraser (E) brings back", self, least=7, focus=Qt.FocusPolicy.TabFocus)
        for key, words, tip in _ERASERS:
            self.eraser.addItem(words, key)
            self.eraser.setItemData(self.eraser.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.policy.activated.connect(lambda _at: self.policy_picked.emit(self.policy.currentData()))
        self.eraser.activated.connect(lambda _at: self.eraser_picked.emit(self.eraser.currentData()))
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(6)
        grid.addWidget(QLabel("Paint", self), 0, 0)
        grid.addLayout(row, 0, 1)
        self._eraser_row: list[QWidget] = [self.eraser]
        for line, (text, box) in enumerate((("Where", self.policy), ("Erase to", self.eraser)), start=1):
            label = QLabel(text, self)
            label.setBuddy(box)
            label.setToolTip(box.toolTip())
            grid.addWidget(label, line, 0)
            grid.addWidget(box, line, 1)
            if box is self.eraser:
                self._eraser_row.append(label)
        grid.setColumnStretch(1, 1)
        self.show_eraser(False)

    def show_eraser(self, shown: bool) -> None:
        """Show what the eraser brings back, while it is in hand: in a low window each line is one less of the queue."""
        for widget in self._eraser_row:
            widget.setVisible(shown)

    def show_value(self, value: int, cls: int | None, name: str, colour: str) -> None:
        """Show what is painted.

        Args:
            value: 0 background, class + 1, 255 unsure.
            cls: The class that is chosen, 0-based, or None.
            name, colour: Of that class; `#RRGGBB`.
        """
        self._class_value = 1 if cls is None else cls + 1
        self.cls.show_as(name or "no class", colour or _GREY)
        self.cls.setEnabled(cls is not None)
        chip = {0: self.background, UNSURE: self.unsure}.get(value, self.cls)
        chip.setChecked(True)

    def show_policy(self, policy: str) -> None:
        """Show the edit mask."""
        with QSignalBlocker(self.policy):
            self.policy.setCurrentIndex(self.policy.findData(policy))
        self.policy.setToolTip(f"Edit mask. {_POLICIES[policy][1]}.")


class _Chip(QAbstractButton):
    """A checkable chip in a colour; `hatched` draws it as unsure pixels are drawn."""

    def __init__(self, text: str, tip: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.colour = _GREY
        self.hatched = False
        self.widest = 130
        self.setText(text)
        self.setToolTip(tip)
        self.setCheckable(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def show_as(self, text: str, colour: str) -> None:
        """Show another class."""
        self.setText(text)
        self.colour = colour
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        """Return the room that the name needs, at most `widest` px."""
        metrics = self.fontMetrics()
        height = metrics.height() + 8
        return QSize(min(metrics.horizontalAdvance(self.text()) + height + 14, self.widest), height)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint the chip; the one that is painted with is filled and ringed."""
        painter = QPainter(self)
        if not self.isEnabled():
            painter.setOpacity(0.4)
        ink = QColor(self.palette().color(self.foregroundRole()))
        state = PRESENT if self.isChecked() else UNKNOWN
        box = QRectF(self.rect())
        paint_chip(painter, box, self.text(), self.colour, state, ink, chosen=self.isChecked())
        if self.hatched and not self.isChecked():
            inner = box.adjusted(1.5, 1.5, -1.5, -1.5)
            swatch = inner.height() * 0.42
            spot = QRectF(
                inner.left() + inner.height() * 0.4, inner.center().y() - swatch / 2, swatch, swatch
            )
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor("#F0F0F0"))
            painter.drawEllipse(spot)
            painter.setBrush(QBrush(QColor("#202020"), Qt.BrushStyle.BDiagPattern))
            painter.drawEllipse(spot)
