"""The top of every dock: project, image, classes, run. It shows the session and changes it."""

from __future__ import annotations

from pathlib import Path
from tempfile import gettempdir
from typing import Any

from qtpy.QtCore import QSettings, QSignalBlocker, QStringListModel, Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QCompleter,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMenu,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from engine.store import Project, runs_of, stale
from wsss_napari.chips import ChipFlow
from wsss_napari.desk import Desk

__all__ = ["ContextBar", "recent_projects", "remember_project"]

_RECENT = 8


class ContextBar(QWidget):
    """Project menu, image with previous, next and search, class chips, run chooser with its stale mark.

    Signals:
        new_asked: The person wants to make a project.
        help_asked: The person wants to see the keys.
    """

    new_asked = Signal()
    help_asked = Signal()

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk = desk
        self.session = desk.session
        self.project_button = _quiet("Open a project", "Open, make or close a project")
        self.project_button.setProperty("wsss", "project")
        self.project_button.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.project_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu = QMenu(self.project_button)
        self.menu.aboutToShow.connect(self._fill_menu)
        self.project_button.setMenu(self.menu)
        self.help_button = _quiet("?", "Show the keys (?)")
        self.help_button.clicked.connect(self.help_asked)

        self.previous_button = _quiet("◀", "Previous image (K)")
        self.previous_button.clicked.connect(self.session.previous_image)
        self.next_button = _quiet("▶", "Next image (J)")
        self.next_button.clicked.connect(self.session.next_image)
        self.search = QLineEdit(self)
        self.search.setToolTip("The image in front; type a part of a name to find another, Enter to go there")
        self.search.setPlaceholderText("Search images")
        self._names = QStringListModel(self)
        completer = QCompleter(self._names, self)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.activated[str].connect(self._jump)
        self.search.setCompleter(completer)
        self.search.returnPressed.connect(lambda: self._jump(self.search.text()))
        self.search.editingFinished.connect(self._show_image)
        self.position = QLabel(self)
        self.position.setToolTip("Position in the project's images")

        self.chips = ChipFlow(desk, self)

        self.run_label = QLabel("Run", self)
        self.run_box = QComboBox(self)
        self.run_box.setToolTip("The run whose maps and figures the pages show")
        self.run_box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.run_box.setMinimumContentsLength(12)
        self.run_box.activated.connect(self._choose_run)
        self.stale_mark = QLabel("⟳ stale", self)
        self.stale_mark.setProperty("wsss", "warning")

        column = QVBoxLayout(self)
        column.setContentsMargins(8, 6, 8, 2)
        column.setSpacing(4)
        top = QHBoxLayout()
        top.addWidget(self.project_button)
        top.addStretch(1)
        top.addWidget(self.help_button)
        self._image_row = QWidget(self)
        middle = QHBoxLayout(self._image_row)
        middle.setContentsMargins(0, 0, 0, 0)
        for widget, stretch in (
            (self.previous_button, 0),
            (self.search, 1),
            (self.position, 0),
            (self.next_button, 0),
        ):
            middle.addWidget(widget, stretch)
        self._run_row = QWidget(self)
        bottom = QHBoxLayout(self._run_row)
        bottom.setContentsMargins(0, 0, 0, 0)
        bottom.addWidget(self.run_label)
        bottom.addWidget(self.run_box, 1)
        bottom.addWidget(self.stale_mark)
        column.addLayout(top)
        column.addWidget(self._image_row)
        column.addWidget(self.chips)
        column.addWidget(self._run_row)

        events = self.session.events
        events.project.connect(self._show_project)
        events.image.connect(self._show_image)
        events.run.connect(self._show_runs)
        self.session.runs_changed.connect(self._show_runs)
        self.session.tags_changed.connect(self._show_stale)
        self._show_project()

    def _show_project(self, _: Any = None) -> None:
        project = self.session.project
        name = "Open a project" if project is None else _short(project.name)
        self.project_button.setText(f"▤ {name} ▾")
        self._image_row.setVisible(project is not None)
        self._run_row.setVisible(project is not None)
        self._names.setStringList(list(self.session.stems))
        if project is not None:
            remember_project(project)
        self._show_image()
        self._show_runs()

    def _show_image(self, _: Any = None) -> None:
        stems, image = self.session.stems, self.session.image
        self.search.setText(image or "")
        self.search.setCursorPosition(0)
        at = stems.index(image) + 1 if image in stems else 0
        self.position.setText(f"{at}/{len(stems)}")
        self.previous_button.setEnabled(at > 1)
        self.next_button.setEnabled(0 < at < len(stems))

    def _jump(self, text: str) -> None:
        stems = self.session.stems
        text = text.strip()
        found = [s for s in stems if s == text] or [s for s in stems if text.casefold() in s.casefold()]
        if text and found:
            self.session.jump(found[0])
        elif text:
            self.desk.said("info", f"No image has '{text}' in its name.")
        self._show_image()

    def _show_runs(self, _: Any = None) -> None:
        project = self.session.project
        with QSignalBlocker(self.run_box):
            self.run_box.clear()
            for run in reversed(runs_of(project.root)) if project is not None else ():
                self.run_box.addItem(_run_text(run), run.id)
                self.run_box.setItemData(self.run_box.count() - 1, run.id, Qt.ItemDataRole.ToolTipRole)
            self.run_box.setCurrentIndex(self.run_box.findData(self.session.run))
        self.run_box.setEnabled(self.run_box.count() > 0)
        self.run_box.setPlaceholderText("No run yet" if self.run_box.count() == 0 else "Choose a run")
        self._show_stale()

    def _show_stale(self, _: Any = None) -> None:
        run, project = self.session.chosen_run, self.session.project
        reasons = stale(project, run) if run is not None and project is not None else []
        self.stale_mark.setVisible(bool(reasons))
        self.stale_mark.setToolTip("\n".join(reasons))

    def _choose_run(self, index: int) -> None:
        self.session.run = self.run_box.itemData(index)

    def _fill_menu(self) -> None:
        self.menu.clear()
        self.menu.addAction("New project…").triggered.connect(self.new_asked)
        self.menu.addAction("Open project…").triggered.connect(self._open)
        recent = [
            p for p in recent_projects() if self.session.project is None or p != self.session.project.root
        ]
        if recent:
            self.menu.addSeparator()
            for path in recent:
                action = self.menu.addAction(path.name)
                action.setToolTip(str(path))
                action.triggered.connect(lambda _=False, p=path: self.desk.guard(self.session.open, p))
            self.menu.setToolTipsVisible(True)
        self.menu.addSeparator()
        close = self.menu.addAction("Close project")
        close.setEnabled(self.session.project is not None)
        close.triggered.connect(lambda: self.session.close())

    def _open(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Open a project (the folder with wsss.toml)")
        if folder:
            self.desk.guard(self.session.open, folder)


def _short(name: str) -> str:
    """Return a project's name, cut in its middle when it would widen the dock."""
    return name if len(name) <= 34 else f"{name[:18]}…{name[-14:]}"


def _run_text(run: Any) -> str:
    """Return `method · backbone · 16:02`, or the name that a person gave the run."""
    facts = run.facts
    params = facts.get("params") or {}
    when = str(facts.get("created", ""))[11:16]
    name = str(facts.get("title") or run.id)
    made = f"refined by {str(facts['refiner']).upper()}" if run.is_refinement else params.get("backbone", "")
    parts = [name, str(made), when]
    text = " · ".join(p for p in parts if p)
    return text if run.status == "finished" else f"{text} ({run.status})"


def recent_projects() -> list[Path]:
    """Return the projects opened last that still stand, newest first."""
    paths = _kept().value("recent", [])
    listed = [paths] if isinstance(paths, str) else list(paths or [])
    return [Path(p) for p in listed if (Path(p) / "wsss.toml").is_file()]


def remember_project(project: Project) -> None:
    """Put a project on top of the list of recent ones; those in the system's temporary folder are not kept."""
    if project.root.is_relative_to(Path(gettempdir()).resolve()):
        return
    paths = [str(project.root), *(str(p) for p in recent_projects() if p != project.root)]
    _kept().setValue("recent", paths[:_RECENT])


def _kept() -> QSettings:
    return QSettings("wsss-napari", "wsss-napari")


def _quiet(text: str, tip: str) -> QToolButton:
    button = QToolButton()
    button.setText(text)
    button.setToolTip(tip)
    button.setProperty("wsss", "quiet")
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return button
