"""Class chips: filled = present, outlined = unknown, struck = absent; the ringed one is the class talked about."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QPoint, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QContextMenuEvent, QFont, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import (
    QAbstractButton,
    QInputDialog,
    QMenu,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QFlowLayout

from engine.errors import UserError
from engine.tags import ABSENT, PRESENT, UNKNOWN
from wsss_napari.desk import Desk
from wsss_napari.palette import ink_on
from wsss_napari.session import STATES

__all__ = ["Chip", "ChipFlow", "paint_chip"]

# More chips than this would push the page off the dock; the rest are under "… more".
_MOST = 14
_NEXT = {UNKNOWN: PRESENT, PRESENT: ABSENT, ABSENT: UNKNOWN}


def paint_chip(
    painter: QPainter, box: QRectF, text: str, colour: str, state: int, ink: QColor, *, chosen: bool = False
) -> None:
    """Paint one chip into `box`; the same chip on the context bar and under thumbnails."""
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    inner = box.adjusted(1.5, 1.5, -1.5, -1.5)
    radius = inner.height() / 2
    shade = QColor(colour)
    font = QFont(painter.font())
    if state == PRESENT:
        painter.setBrush(shade)
        painter.setPen(QPen(shade, 1.2))
        text_colour = QColor(ink_on(colour))
    else:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        faint = QColor(ink)
        faint.setAlphaF(0.45 if state == ABSENT else 0.75)
        painter.setPen(QPen(faint, 1.0, Qt.PenStyle.SolidLine if state == UNKNOWN else Qt.PenStyle.DotLine))
        text_colour = QColor(ink)
        text_colour.setAlphaF(0.6 if state == ABSENT else 0.95)
        font.setStrikeOut(state == ABSENT)
    painter.drawRoundedRect(inner, radius, radius)
    swatch = inner.height() * 0.42
    left = inner.left() + radius * 0.8
    if state != PRESENT:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(shade)
        painter.drawEllipse(QRectF(left, inner.center().y() - swatch / 2, swatch, swatch))
    if chosen:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(ink, 2.0))
        painter.drawRoundedRect(box.adjusted(1, 1, -1, -1), radius + 1, radius + 1)
    painter.setFont(font)
    painter.setPen(text_colour)
    start = left + (swatch + 4 if state != PRESENT else 2)
    room = QRectF(start, inner.top(), inner.right() - start - radius * 0.5, inner.height())
    fitted = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, int(room.width()) + 1)
    painter.drawText(room, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, fitted)
    painter.restore()


class Chip(QAbstractButton):
    """One class in the image in front.

    Signals:
        picked: Make it the class talked about.
        asked: (state) the person wants it set.
        rename_asked: The person wants it to have another name.
        merge_asked: (name) the person wants that class to stand for this one too.
        part_asked: The person wants `merged` to be a class of its own again.

    Attributes:
        others: Names of the classes that it can be merged into.
        merged: Name of the class that the newest merge put into it, or an empty string.
    """

    picked = Signal()
    asked = Signal(int)
    rename_asked = Signal()
    merge_asked = Signal(str)
    part_asked = Signal()

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setText(name)
        self.colour = "#888888"
        self.state = UNKNOWN
        self.chosen = False
        self.others: tuple[str, ...] = ()
        self.merged = ""
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.clicked.connect(self.picked)

    def show_as(self, colour: str, state: int, chosen: bool, digit: str) -> None:
        """Show a state."""
        self.colour, self.state, self.chosen = colour, state, chosen
        key = f" (key {digit} on the Tags page)" if digit else ""
        self.setToolTip(
            f"{self.text()}: {STATES[state]}{key}\nClick: talk about this class. Ctrl+click: next state. Right click: choose."
        )
        self.update()

    def sizeHint(self) -> QSize:
        """Return the room that the name needs, at most 150 px."""
        metrics = self.fontMetrics()
        height = metrics.height() + 8
        return QSize(min(metrics.horizontalAdvance(self.text()) + height + 16, 150), height)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint the chip."""
        painter = QPainter(self)
        ink = self.palette().color(self.foregroundRole())
        paint_chip(
            painter, QRectF(self.rect()), self.text(), self.colour, self.state, ink, chosen=self.chosen
        )

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Set the next state on Ctrl+click."""
        if event is not None and event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.asked.emit(_NEXT[self.state])
            return
        super().mousePressEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent | None) -> None:
        """Offer the three states, another name, merging, and taking that back."""
        menu = self.menu()
        menu.popup(event.globalPos() if event is not None else self.mapToGlobal(QPoint(0, self.height())))

    def menu(self) -> QMenu:
        """Return what a right click offers."""
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        for state, word in STATES.items():
            action = menu.addAction(word.capitalize())
            action.setCheckable(True)
            action.setChecked(state == self.state)
            action.triggered.connect(lambda _=False, s=state: self.asked.emit(s))
        menu.addSeparator()
        menu.addAction("Rename the class…").triggered.connect(lambda _=False: self.rename_asked.emit())
        if self.others:
            into = menu.addMenu("Merge the class into")
            into.setToolTipsVisible(True)
            for name in self.others:
                action = into.addAction(name)
                action.setToolTip(
                    f"Tags, labels and corrected masks of {self.text()} become those of {name}. "
                    "It can be taken back, also later."
                )
                action.triggered.connect(lambda _=False, n=name: self.merge_asked.emit(n))
        if self.merged:
            action = menu.addAction(f"Take back the merge with {self.merged}")
            action.setToolTip(
                f"{self.merged} and {self.text()} are two classes again, in tags, labels and corrected masks; "
                "what was changed since stays"
            )
            action.triggered.connect(lambda _=False: self.part_asked.emit())
        return menu


class ChipFlow(QWidget):
    """The chips of the image in front, wrapped into lines, and "+" for a new class."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk = desk
        self.session = desk.session
        self._chips: dict[int, Chip] = {}
        self._in_use: list[int] = []
        # (id, the class that went, the class that stands for it) of the newest merge.
        self._merge_seen: tuple[str, int, int] = ("", -1, -1)
        self._flow = QFlowLayout()
        self._flow.setContentsMargins(0, 0, 0, 0)
        self._flow.setHorizontalSpacing(4)
        self._flow.setVerticalSpacing(4)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._flow)
        self._more = _small("… more", "Classes that are not shown: choose one to talk about")
        self._more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self._more.setMenu(QMenu(self._more))
        self._add = _small("+", "Add a class")
        self._add.clicked.connect(self._ask_class)
        events = self.session.events
        for signal in (events.project, events.image, events.cls, self.session.classes_changed):
            signal.connect(self.refresh)
        self.session.tags_changed.connect(self.refresh)
        self.refresh()

    @property
    def chips(self) -> dict[int, Chip]:
        """Class index -> chip, of those shown."""
        return self._chips

    def refresh(self, _: Any = None) -> None:
        """Show the states of the image in front."""
        project, image = self.session.project, self.session.image
        self.setVisible(project is not None)
        if project is None:
            return
        row = project.tags().row(image) if image is not None else None
        states = [UNKNOWN if row is None else int(row[i]) for i in range(len(project.classes))]
        shown = self._choose(states, [i for i in range(len(states)) if i not in project.class_list.merged])
        if [(i, self._chips[i].text()) for i in self._chips] != [(i, project.classes[i]) for i in shown]:
            self._rebuild(shown)
        colours = self.desk.colours
        stands, merged = self._newest_merge()
        for i, chip in self._chips.items():
            chip.merged = merged if i == stands else ""
            chip.others = tuple(project.classes[n] for n in self._in_use if n != i)
            digit = str(i + 1) if i < 9 else ""
            chip.show_as(colours[i], states[i], i == self.session.cls, digit)

    def _choose(self, states: list[int], in_use: list[int]) -> list[int]:
        self._in_use = in_use
        if len(in_use) <= _MOST:
            return in_use
        first = [i for i in in_use if states[i] == PRESENT or i == self.session.cls]
        rest = [i for i in in_use if i not in first]
        return sorted((first + rest)[: max(_MOST, len(first))])

    def _rebuild(self, shown: list[int]) -> None:
        project = self.session.project
        assert project is not None
        while self._flow.count():
            self._flow.takeAt(0)
        for chip in self._chips.values():
            chip.hide()
            chip.deleteLater()
        self._chips = {}
        for i in shown:
            chip = Chip(project.classes[i], self)
            chip.picked.connect(lambda i=i: self._pick(i))
            chip.asked.connect(lambda state, i=i: self._set(i, state))
            chip.rename_asked.connect(lambda i=i: self._ask_name(i))
            chip.merge_asked.connect(lambda into, i=i: self._merge(i, into))
            chip.part_asked.connect(lambda: self.desk.guard(self.session.take_back_merge))
            self._flow.addWidget(chip)
            chip.show()
            self._chips[i] = chip
        menu = self._more.menu()
        menu.clear()
        hidden = [i for i in self._in_use if i not in shown]
        for i in hidden:
            menu.addAction(project.classes[i]).triggered.connect(lambda _=False, i=i: self._pick(i))
        self._more.setText(f"… {len(hidden)} more")
        self._flow.addWidget(self._more)
        self._flow.addWidget(self._add)
        self._more.setVisible(bool(hidden))

    def _pick(self, cls: int) -> None:
        self.session.cls = cls

    def _set(self, cls: int, state: int) -> None:
        if self.session.image is not None:
            self.desk.guard(self.session.set_tag, self.session.image, cls, state)

    def _ask_name(self, cls: int) -> None:
        assert self.session.project is not None
        old = self.session.project.classes[cls]
        name, given = QInputDialog.getText(self, "Rename a class", f"New name of {old}:", text=old)
        if given and name.strip():
            self.desk.guard(self.session.rename_class, old, name.strip())

    def _merge(self, cls: int, into: str) -> None:
        project = self.session.project
        assert project is not None
        old = project.classes[cls]
        self.desk.guard(self.session.merge_classes, old, into)
        if cls in project.class_list.merged:
            self.desk.said("info", f"{old} is merged into {into}. A right click on {into} takes it back.")

    def _newest_merge(self) -> tuple[int, str]:
        """Return (the class that stands for another one since the newest merge, that one), or (-1, nothing)."""
        project = self.session.project
        newest = "" if project is None or not project.merges else project.merges[-1]
        if newest != self._merge_seen[0] and project is not None:  # its file may name ten thousand images
            try:
                merge = project.newest_merge()
            except UserError:  # what it kept is damaged, so it cannot be taken back
                merge = None
            self._merge_seen = (newest, -1, -1) if merge is None else (newest, merge.old, merge.into)
        _, old, into = self._merge_seen
        return (-1, "") if project is None or not newest or old < 0 else (into, project.classes[old])

    def _ask_class(self) -> None:
        name, given = QInputDialog.getText(self, "Add a class", "Name of the class:")
        if given and name.strip():
            self.desk.guard(self.session.add_class, name.strip())


def _small(text: str, tip: str) -> QToolButton:
    button = QToolButton()
    button.setText(text)
    button.setToolTip(tip)
    button.setProperty("wsss", "quiet")
    return button
