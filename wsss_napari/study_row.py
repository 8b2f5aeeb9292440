"""One study in the list: its name, Run at one click, its last figure; opened, its settings and its wait."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import (
    QGraphicsOpacityEffect,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from engine.errors import UserError
from wsss_napari.figure_facts import Kept, facts_line, when_text
from wsss_napari.forms import Fold, Form

__all__ = ["StudyRow"]


class _Head(QToolButton):
    """A title that opens what lies under it and is cut short where there is no room."""

    def __init__(self, title: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.title = title
        self.setCheckable(True)
        self.setAutoRaise(True)
        self.setArrowType(Qt.ArrowType.RightArrow)
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(title)
        self.toggled.connect(self._turn)

    def minimumSizeHint(self) -> QSize:
        return QSize(80, super().minimumSizeHint().height())

    def resizeEvent(self, event: Any) -> None:
        super().resizeEvent(event)
        room = self.width() - 28
        self.setText(self.fontMetrics().elidedText(self.title, Qt.TextElideMode.ElideRight, room))

    def _turn(self, on: bool) -> None:
        self.setArrowType(Qt.ArrowType.DownArrow if on else Qt.ArrowType.RightArrow)


class StudyRow(QWidget):
    """One study.

    Args:
        name: Name of the study.
        study: What the engine says of it, or None for a figure whose study it has not listed.
        title: What people call it.
        parent: Qt parent.

    Signals:
        opened: (name) Its settings were asked for.
        run_asked, stop_asked, figure_asked, copy_asked: (name) A button was pressed.
        changed: (name) A setting was changed.
    """

    opened = Signal(str)
    run_asked = Signal(str)
    stop_asked = Signal(str)
    figure_asked = Signal(str)
    copy_asked = Signal(str)
    changed = Signal(str)

    def __init__(
        self, name: str, study: Mapping[str, Any] | None, title: str, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.name = name
        self.study = study
        self.own: Form | None = None
        self.climb: Form | None = None
        self.climb_fold: Fold | None = None
        self._doing = False
        self._built = False
        self._given: dict[str, Any] = {}
        self.take_tables((), (), {}, {})
        self.head = _Head(title, self)
        self._veil = QGraphicsOpacityEffect(self.head)
        self._veil.setOpacity(0.55)
        self.head.setGraphicsEffect(self._veil)
        self.head.setToolTip(_tip(study, title))
        self.head.toggled.connect(self._toggle)
        self.figure_button = self._quiet("", "")
        self.figure_button.clicked.connect(lambda: self.figure_asked.emit(name))
        self.quick = self._quiet("▶", "")
        self.quick.clicked.connect(self._quick)
        top = QHBoxLayout()
        top.setContentsMargins(0, 0, 0, 0)
        top.setSpacing(2)
        top.addWidget(self.head, 1)
        top.addWidget(self.figure_button)
        top.addWidget(self.quick)
        self.detail = QWidget(self)
        self._column = QVBoxLayout(self.detail)
        self._column.setContentsMargins(20, 0, 0, 8)
        self._column.setSpacing(5)
        self.sentence = self._label(_sentence(study))
        self.last = self._label("", "note")
        self._forms = QVBoxLayout()
        self._forms.setSpacing(4)
        self._column.addLayout(self._forms)
        self.state = self._label("", "note")
        self._add_buttons()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(top)
        column.addWidget(self.detail)
        self.detail.hide()

    @property
    def is_open(self) -> bool:
        """Whether its settings are shown."""
        return bool(self.head.isChecked())

    def open(self, on: bool = True) -> None:
        """Show or hide the settings."""
        self.head.setChecked(on)

    def take_tables(
        self,
        own: Sequence[Mapping[str, Any]],
        climb: Sequence[Mapping[str, Any]],
        presets: Mapping[str, Mapping[str, Any]],
        suggest: Mapping[str, Sequence[str]],
    ) -> None:
        """Take the field tables of the study's own settings and of the climb; the forms are built when it is opened."""
        self._own, self._climb, self._presets, self._suggest = own, climb, presets, suggest

    def settings(self) -> dict[str, Any]:
        """Return the settings that differ from the study's defaults.

        Raises:
            UserError: A field holds what it cannot take.
        """
        if not self._built:
            defaults = {row["name"]: row["default"] for row in self._climb}
            return {
                k: v for k, v in self._given.items() if k in defaults and _plain(v) != _plain(defaults[k])
            }
        return {k: v for form in (self.own, self.climb) if form is not None for k, v in form.values().items()}

    def problem(self) -> str:
        """Return what is wrong with the settings, or an empty string."""
        return next((f.problem() for f in (self.own, self.climb) if f is not None and f.problem()), "")

    def set_climb(self, settings: Mapping[str, Any]) -> None:
        """Show settings of the climb; those that this study does not have are left out."""
        self._given = dict(settings)
        if self.climb is not None:
            self.climb.set_values(settings)

    def show_state(
        self, why_not: str, wait: str, command: str, *, doing: bool, stopping: bool = False
    ) -> None:
        """Show whether the study can be run, what it takes, and whether it runs."""
        self._doing = doing
        can = not why_not and not doing
        self.run.setEnabled(can)
        self.run.setText("Running…" if doing and not stopping else "Stopping…" if doing else "Run")
        self.run.setToolTip(why_not or command)
        self.stop.setVisible(doing)
        self.stop.setEnabled(not stopping)
        self.copy.setEnabled(bool(command))
        self.copy.setToolTip(command or why_not)
        self.state.setText(why_not or wait)
        self.quick.setText("■" if doing else "▶")
        self.quick.setEnabled((doing and not stopping) or can)
        verb = "Stop" if doing else "Run"
        self.quick.setAccessibleName(f"{verb} {self.head.title}")
        self.quick.setToolTip(why_not or f"{verb} it" + ("" if doing or not wait else f": {wait}"))
        # By a veil: the row can still be opened and its reason read, which a disabled one could not.
        self._veil.setEnabled(bool(why_not))
        self.head.setToolTip(_tip(self.study, self.head.title, why_not))

    def show_kept(self, kept: Kept | None) -> None:
        """Show that there is a figure from earlier, of when and of what."""
        self.figure_button.setVisible(kept is not None)
        self.last.setVisible(kept is not None)
        if kept is None:
            return
        facts = (
            "It cannot be read."
            if kept.figure is None
            else facts_line(kept.figure.facts, ("split", "images"))
        )
        self.figure_button.setText(when_text(kept.when))
        self.figure_button.setToolTip(f"Open the figure of {when_text(kept.when)}\n{kept.fault or facts}")
        self.figure_button.setAccessibleName(f"Open the figure {self.head.title}")
        self.last.setText(f"Figure of {when_text(kept.when)}: {facts}")

    def _add_buttons(self) -> None:
        self.run = QPushButton("Run", self.detail)
        self.run.setProperty("wsss", "primary")
        self.run.clicked.connect(lambda: self.run_asked.emit(self.name))
        self.stop = QPushButton("Stop", self.detail)
        self.stop.setToolTip("Stop after the current image; a study that is stopped leaves no figure")
        self.stop.clicked.connect(lambda: self.stop_asked.emit(self.name))
        self.copy = QPushButton("Copy as command", self.detail)
        self.copy.setProperty("wsss", "quiet")
        self.copy.clicked.connect(lambda: self.copy_asked.emit(self.name))
        row = QHBoxLayout()
        row.addWidget(self.run, 1)
        row.addWidget(self.stop)
        row.addWidget(self.copy)
        self._column.addLayout(row)
        if self.study is None:
            for button in (self.run, self.stop, self.copy):
                button.hide()

    def _toggle(self, on: bool) -> None:
        if on:
            self._build_forms()
            self.opened.emit(self.name)
        self.detail.setVisible(on)

    def _build_forms(self) -> None:
        # Twelve studies with two dozen settings each: only those that are looked at get their widgets.
        if self._built:
            return
        self._built = True
        if self._own:
            self.own = Form(self._own, suggest=self._suggest, parent=self.detail)
            self.own.changed.connect(lambda: self.changed.emit(self.name))
            self._forms.addWidget(self.own)
        if self._climb:
            self.climb = Form(self._climb, self._presets, parent=self.detail)
            self.climb.set_values(self._given)
            self.climb.changed.connect(self._climb_changed)
            self.climb_fold = Fold("Climb settings", self.climb, self.detail)
            self.climb_fold.head.setToolTip(
                "How the pictures are climbed; taken over from the Climb page, and changed here for this study alone"
            )
            self._forms.addWidget(self.climb_fold)
            self._count_changes()

    def _quick(self) -> None:
        (self.stop_asked if self._doing else self.run_asked).emit(self.name)

    def _climb_changed(self) -> None:
        self._count_changes()
        self.changed.emit(self.name)

    def _count_changes(self) -> None:
        if self.climb is None or self.climb_fold is None:
            return
        try:
            count = str(len(self.climb.values()))
        except UserError:
            count = "some"
        self.climb_fold.set_title("Climb settings" + (f" · {count} changed" if count != "0" else ""))

    def _label(self, text: str, look: str = "") -> QLabel:
        label = QLabel(text, self.detail)
        label.setWordWrap(True)
        label.setTextFormat(Qt.TextFormat.PlainText)
        label.setProperty("wsss", look)
        self._column.addWidget(label)
        return label

    def _quiet(self, text: str, tip: str) -> QToolButton:
        button = QToolButton(self)
        button.setText(text)
        button.setToolTip(tip)
        button.setProperty("wsss", "quiet")
        return button


def _plain(value: Any) -> Any:
    """Return the value as JSON would give it back."""
    return list(value) if isinstance(value, tuple) else value


def _sentence(study: Mapping[str, Any] | None) -> str:
    if study is None:
        return "A figure that an earlier study left in this run."
    return f"{study['sentence']} Repeats {study['source']} of the AdvCAM paper."


def _tip(study: Mapping[str, Any] | None, title: str, why_not: str = "") -> str:
    if study is None:
        return html.escape(title)
    count = study["count"]
    needs = "Needs truth masks." if study["needs_truth"] else "Needs no truth masks."
    images = f"Looks at {count} image{'s' if count != 1 else ''} at most unless told otherwise."
    parts = [
        f"<b>{html.escape(title)}</b>",
        html.escape(study["sentence"]),
        f"{html.escape(study['source'].capitalize())} of the AdvCAM paper. {needs} {images}",
        html.escape(why_not),
    ]
    return "".join(f"<p>{part}</p>" for part in parts if part)
