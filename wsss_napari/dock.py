"""The docks: context bar, pages, jobs bar. The main one holds all pages, the others one each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QEvent, QSize, Qt, QTimer, Signal
from qtpy.QtGui import (
    QColor,
    QDragEnterEvent,
    QDropEvent,
    QGuiApplication,
    QHideEvent,
    QIcon,
    QPainter,
    QPixmap,
    QShowEvent,
)
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QScrollArea,
    QSizePolicy,
    QStackedWidget,
    QTabBar,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from wsss_napari._compat import when_destroyed
from wsss_napari.context_bar import ContextBar
from wsss_napari.desk import Desk, desk_of
from wsss_napari.help import KeyHelp
from wsss_napari.jobs_bar import JobsBar
from wsss_napari.pages import PAGES, Entry
from wsss_napari.pages.page import Page
from wsss_napari.style import follow_theme

__all__ = [
    "ClimbDock",
    "CorrectDock",
    "Dock",
    "ExploreDock",
    "ExportDock",
    "MainDock",
    "PrototypesDock",
    "RefineDock",
    "TagsDock",
    "TrainDock",
]


class Dock(QWidget):
    """Some of the pages between the context bar and the jobs bar.

    Opening it adds no layer, starts no process and loads only the page it shows.
    """

    #: Paths that were dropped on the dock, for the Tags page.
    dropped = Signal(list)

    def __init__(self, napari_viewer: Any, entries: Sequence[Entry] = PAGES) -> None:
        super().__init__()
        self.desk = desk_of(napari_viewer)
        self.session = self.desk.session
        self.entries = tuple(entries)
        self._pages: dict[str, Page] = {}
        self._current: Page | None = None
        self._asleep = False
        self._help: KeyHelp | None = None
        self.setAcceptDrops(True)
        self.setMinimumWidth(340)
        self.setObjectName("wsss")

        self.context = ContextBar(self.desk, self)
        self.context.new_asked.connect(self._new_project)
        self.context.help_asked.connect(self.show_help)
        self.tabs = QTabBar(self)
        self.tabs.setProperty("wsss", "pages")
        self.tabs.setExpanding(False)
        self.tabs.setDrawBase(False)
        self.tabs.setUsesScrollButtons(True)
        self.tabs.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        for i, entry in enumerate(self.entries):
            self.tabs.addTab(entry.title)
            self.tabs.setTabToolTip(i, entry.tip)
        self.tabs.setVisible(len(self.entries) > 1)
        self.copy_button = QToolButton(self)
        self.copy_button.setText("Copy as command")
        self.copy_button.setProperty("wsss", "quiet")
        self.copy_button.clicked.connect(self.copy_command)
        self.stack = QStackedWidget(self)
        # napari puts a stretch under a dock in which nothing asks for all the height.
        self.stack.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        for _ in self.entries:
            self.stack.addWidget(_scroller())
        self.jobs = JobsBar(self.desk, self)

        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.context)
        column.addWidget(self.tabs)
        column.addWidget(_rule())
        column.addWidget(self.stack, 1)
        column.addWidget(_rule())
        column.addWidget(self.jobs)
        foot = QHBoxLayout()
        foot.setContentsMargins(4, 0, 4, 2)
        foot.addStretch(1)
        foot.addWidget(self.copy_button)
        column.addLayout(foot)

        follow_theme(self, napari_viewer)
        when_destroyed(self, partial(_forget, self.desk))
        self.desk.keys.watch(self)
        with self.desk.keys.owned_by(self):
            self.desk.keys.bind("", {"help": lambda _: self.show_help()})
        self.tabs.currentChanged.connect(self._turn_to)
        self._turn_to(0)

    def page(self, name: str) -> Page:
        """Return a page by name, making it if it was not shown yet."""
        if name not in self._pages:
            at = [e.name for e in self.entries].index(name)
            with self.desk.keys.owned_by(self):
                page = self.entries[at].load()(self.desk)
            self._pages[name] = page
            page.news.connect(lambda: self._mark(at, True))
            page.command_changed.connect(self._show_command)
            area = self.stack.widget(at)
            assert isinstance(area, QScrollArea)
            area.setWidget(page)
        return self._pages[name]

    def turn_to(self, name: str) -> Page:
        """Show a page and return it."""
        self.tabs.setCurrentIndex([e.name for e in self.entries].index(name))
        return self.page(name)

    @property
    def current(self) -> Page | None:
        """The page that is shown."""
        return self._current

    def copy_command(self) -> None:
        """Put the `wsss` line of the page on the clipboard."""
        line = self._current.command() if self._current is not None else None
        clipboard = QGuiApplication.clipboard()
        if line and clipboard is not None:
            clipboard.setText(line)
            self.desk.said("info", f"Copied: {line}")

    def show_help(self) -> None:
        """Show the keys."""
        if self._help is None:
            self._help = KeyHelp(self)
        self._help.show_for(self._current.NAME if self._current is not None else "")

    def sizeHint(self) -> QSize:
        """Return the size a fresh dock takes."""
        return QSize(380, 700)

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:
        """Accept folders and files."""
        if event is not None and event.mimeData() is not None and event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:
        """Open a dropped project; hand a folder of images or a tag file to the Tags page."""
        if event is None or event.mimeData() is None:
            return
        event.acceptProposedAction()
        self.take_paths([Path(u.toLocalFile()) for u in event.mimeData().urls() if u.isLocalFile()])

    def take_paths(self, paths: Sequence[Path]) -> None:
        """Do what a person means by dropping these paths here."""
        project = next((p for p in paths if p.name == "wsss.toml" or (p / "wsss.toml").is_file()), None)
        if project is not None:
            self.desk.guard(self.session.open, project)
        elif paths and "tags" in [e.name for e in self.entries]:
            self.turn_to("tags").take_paths(list(paths))  # type: ignore[attr-defined]
        elif paths:
            self.desk.said("info", "Drop a project folder here, or images and tags on the Tags page.")

    def showEvent(self, event: QShowEvent | None) -> None:
        """Wake the page that was put to sleep when the dock was hidden."""
        super().showEvent(event)
        if self._asleep and self._current is not None:
            self._asleep = False
            self._current.enter()

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Put the page to sleep: a dock that is closed or behind another shows nothing."""
        super().hideEvent(event)
        if not self._asleep and self._current is not None:
            self._asleep = True
            self._current.leave()

    def changeEvent(self, event: QEvent | None) -> None:
        """Keep the page's key scope right when the window is activated."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.ActivationChange and self._current is not None:
            self.desk.keys.page = self._current.NAME

    def _new_project(self) -> None:
        if "tags" in [e.name for e in self.entries]:
            self.turn_to("tags").ask_new()  # type: ignore[attr-defined]
        else:
            self.desk.said("info", "Open the WSSS or the Tags dock to make a project.")

    def _turn_to(self, index: int) -> None:
        if self._current is not None and not self._asleep:
            self._current.leave()
        self._asleep = False
        self.stack.setCurrentIndex(index)
        self._current = self.page(self.entries[index].name)
        self.desk.keys.page = self._current.NAME
        self._mark(index, False)
        self._current.enter()
        self._show_command()

    def _show_command(self) -> None:
        line = self._current.command() if self._current is not None else None
        self.copy_button.setEnabled(bool(line))
        self.copy_button.setToolTip(line or "This page has nothing to run yet")

    def _mark(self, index: int, news: bool) -> None:
        shown = news and self.tabs.currentIndex() != index
        self.tabs.setTabIcon(index, _dot() if shown else QIcon())


class MainDock(Dock):
    """All pages in the order of the work."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)


class TagsDock(Dock):
    """The Tags page alone."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer, _only("tags"))


class TrainDock(Dock):
    """The Train page alone."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer, _only("train"))


class ExploreDock(Dock):
    """The Explore page alone."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer, _only("explore"))


class ClimbDock(Dock):
    """The Climb page alone."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer, _only("climb"))


class PrototypesDock(Dock):
    """The Prototypes page alone."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer, _only("prototypes"))


class RefineDock(Dock):
    """The Refine page alone."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer, _only("refine"))


class CorrectDock(Dock):
    """The Correct page alone."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer, _only("correct"))


class ExportDock(Dock):
    """The Export page alone."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer, _only("export"))


def _forget(desk: Desk) -> None:
    # Qt tells it before it deletes the children, whose ends are what is waited for.
    QTimer.singleShot(0, desk.forget_gone)


def _only(name: str) -> tuple[Entry, ...]:
    return tuple(e for e in PAGES if e.name == name)


def _scroller() -> QScrollArea:
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    return area


def _rule() -> QFrame:
    rule = QFrame()
    rule.setProperty("wsss", "rule")
    rule.setFixedHeight(1)
    return rule


def _dot() -> QIcon:
    picture = QPixmap(10, 10)
    picture.fill(QColor(0, 0, 0, 0))
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setBrush(QColor("#D55E00"))
    painter.setPen(Qt.PenStyle.NoPen)
    painter.drawEllipse(1, 1, 8, 8)
    painter.end()
    return QIcon(picture)
