"""The runs of a project as a table: what each was, how good, how large, and whether it is stale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QItemSelectionModel, QSignalBlocker, Qt, QUrl, Signal
from qtpy.QtGui import QDesktopServices, QGuiApplication
from qtpy.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QMenu,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from engine.errors import UserError
from engine.store import Project, Run, runs_of, stale
from wsss_napari.estimates import bytes_text
from wsss_napari.run_facts import RunFacts, facts_of

__all__ = ["RunsList"]

_COLUMNS = ("Run", "mAP", "Size")
_ROW = 40
_ID = Qt.ItemDataRole.UserRole


class _NameItem(QTableWidgetItem):
    """Shows the name with a second line under it; only the name is edited."""

    def __init__(self, name: str, mark: str, below: str) -> None:
        super().__init__(name)
        self._mark, self._below = mark, below

    def data(self, role: int) -> Any:
        value = super().data(role)
        return f"{self._mark}{value}\n{self._below}" if role == Qt.ItemDataRole.DisplayRole else value


class RunsList(QWidget):
    """Runs, newest first: choose, rename in place, compare, open, copy, delete.

    Signals:
        picked: (ids) the selection changed, the current one first.
        resume_asked: (id) go on with a stopped run.
        changed: A run was renamed or deleted.
        said: (level, text) a sentence for the person.
    """

    picked = Signal(tuple)
    resume_asked = Signal(str)
    changed = Signal()
    said = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._project: Project | None = None
        self._facts: dict[str, RunFacts] = {}
        self.empty = QLabel("No run yet. Start the first one above.", self)
        self.empty.setProperty("wsss", "note")
        self.empty.setWordWrap(True)
        self.table = QTableWidget(0, len(_COLUMNS), self)
        self._build_table()
        self.resume = _quiet("Resume", "Go on from the last checkpoint")
        self.copy = _quiet("Copy command", "Copy the wsss line that gives the same run")
        self.folder = _quiet("Open folder", "Show the run's files")
        self.delete = _quiet("Delete…", "Delete the run with its weights and maps, after one more question")
        self.resume.clicked.connect(lambda: self.resume_asked.emit(self.current or ""))
        self.copy.clicked.connect(self._copy)
        self.folder.clicked.connect(self._open)
        self.delete.clicked.connect(self._ask)
        actions = QHBoxLayout()
        actions.setContentsMargins(0, 0, 0, 0)
        actions.setSpacing(2)
        for button in (self.resume, self.copy, self.folder, self.delete):
            actions.addWidget(button)
        actions.addStretch(1)
        self.question = QWidget(self)
        self._build_question()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.empty)
        column.addWidget(self.table)
        column.addLayout(actions)
        column.addWidget(self.question)
        self._show_actions()

    @property
    def current(self) -> str | None:
        """Id of the run in the current row."""
        chosen = self.selected
        return chosen[0] if chosen else None

    @property
    def selected(self) -> tuple[str, ...]:
        """Ids of the selected runs, the current row first."""
        current = self.table.currentRow()
        rows = sorted({i.row() for i in self.table.selectedIndexes()}, key=lambda row: row != current)
        return tuple(self.table.item(r, 0).data(_ID) for r in rows)

    def show_runs(self, project: Project | None) -> None:
        """Read the runs of a project anew, keeping what is selected."""
        chosen = self.selected
        self._project = project
        runs = list(reversed(runs_of(project.root))) if project is not None else []
        self._facts = {run.id: facts_of(run, stale(project, run)) for run in runs if project is not None}
        with QSignalBlocker(self.table):
            self.table.setRowCount(len(runs))
            for row, facts in enumerate(self._facts.values()):
                self._fill(row, facts)
        self._fit()
        self.empty.setVisible(not runs)
        self.table.setVisible(bool(runs))
        self.question.hide()
        self.choose(chosen)

    def choose(self, ids: Sequence[str]) -> None:
        """Select these runs; those that are gone are passed over."""
        with QSignalBlocker(self.table), QSignalBlocker(self.table.selectionModel()):
            self.table.clearSelection()
            rows = [r for r in range(self.table.rowCount()) if self.table.item(r, 0).data(_ID) in ids]
            for row in rows:
                self.table.selectionModel().select(
                    self.table.model().index(row, 0),
                    QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows,
                )
            if rows:
                self.table.selectionModel().setCurrentIndex(
                    self.table.model().index(rows[0], 0), QItemSelectionModel.SelectionFlag.NoUpdate
                )
        self._show_actions()

    def run(self, run_id: str) -> Run | None:
        """Return a run of the list."""
        found = self._facts.get(run_id)
        return None if found is None else found.run

    def _build_table(self) -> None:
        table = self.table
        table.setHorizontalHeaderLabels(list(_COLUMNS))
        tips = (
            "Double-click to rename; ⟳ marks a run that no longer answers to its tags or images",
            "Mean average precision of the image tags: held out, or on the training images (seen); images learnt from",
            "Size on disk",
        )
        for column, tip in enumerate(tips):
            table.horizontalHeaderItem(column).setToolTip(tip)
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(_ROW)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        table.setEditTriggers(
            QAbstractItemView.EditTrigger.DoubleClicked | QAbstractItemView.EditTrigger.EditKeyPressed
        )
        table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        table.setTextElideMode(Qt.TextElideMode.ElideRight)
        table.setShowGrid(False)
        table.setTabKeyNavigation(False)
        table.setAccessibleName("Runs")
        header = table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setHighlightSections(False)
        table.itemChanged.connect(self._renamed)
        table.itemSelectionChanged.connect(self._selection)
        table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        table.customContextMenuRequested.connect(self._menu)

    def _build_question(self) -> None:
        self._asked = QLabel(self.question)
        self._asked.setWordWrap(True)
        self._asked.setProperty("wsss", "warning")
        self.keep = QPushButton("Keep", self.question)
        self.keep.setToolTip("Keep the run")
        self.keep.clicked.connect(self.question.hide)
        self.sure = QPushButton("Delete for good", self.question)
        self.sure.setToolTip("Delete the run's weights, maps and records; this cannot be undone")
        self.sure.clicked.connect(self._delete)
        grid = QGridLayout(self.question)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.addWidget(self._asked, 0, 0, 1, 3)
        grid.setColumnStretch(0, 1)
        grid.addWidget(self.keep, 1, 1)
        grid.addWidget(self.sure, 1, 2)
        self.question.hide()

    def _fill(self, row: int, facts: RunFacts) -> None:
        below = " · ".join(p for p in (facts.method, facts.backbone, facts.when) if p)
        score = facts.metric if facts.status == "finished" else facts.status
        items = (
            _NameItem(facts.title, "⟳ " if facts.stale else "", below),
            QTableWidgetItem(f"{score}\n{facts.images} images" if facts.images else score),
            QTableWidgetItem(bytes_text(facts.size)),
        )
        for column, item in enumerate(items):
            item.setToolTip(facts.tip())
            flags = Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEnabled
            item.setFlags(flags | Qt.ItemFlag.ItemIsEditable if column == 0 else flags)
            if column:
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            item.setData(_ID, facts.run.id)
            self.table.setItem(row, column, item)

    def _fit(self) -> None:
        """Give the table the height of its rows, six at most, so that nothing scrolls needlessly."""
        rows = min(max(self.table.rowCount(), 1), 6)
        self.table.setFixedHeight(self.table.horizontalHeader().sizeHint().height() + rows * _ROW + 4)

    def _selection(self) -> None:
        self.question.hide()
        self._show_actions()
        self.picked.emit(self.selected)

    def _show_actions(self) -> None:
        chosen = self.selected
        one = self._facts.get(chosen[0]) if len(chosen) == 1 else None
        self.copy.setEnabled(one is not None and bool(one.command))
        self.folder.setEnabled(one is not None)
        # A refinement goes on where it was made: on the Refine page.
        self.resume.setVisible(one is not None and one.run.resumable and not one.run.is_refinement)
        self.delete.setEnabled(bool(chosen) and all(self._facts[i].status != "running" for i in chosen))

    def _renamed(self, item: QTableWidgetItem) -> None:
        facts = self._facts.get(item.data(_ID))
        if facts is None or item.column() != 0:
            return
        name = str(item.data(Qt.ItemDataRole.EditRole)).strip()
        if name and name != facts.title:
            facts.run.rename(name)
            self.changed.emit()
        self.show_runs(self._project)

    def _copy(self) -> None:
        facts = self._facts.get(self.current or "")
        clipboard = QGuiApplication.clipboard()
        if facts is not None and clipboard is not None:
            clipboard.setText(facts.command)
            self.said.emit("info", f"Copied: {facts.command}")

    def _open(self) -> None:
        facts = self._facts.get(self.current or "")
        if facts is not None and not QDesktopServices.openUrl(QUrl.fromLocalFile(str(facts.run.folder))):
            self.said.emit("info", f"The run lies in {facts.run.folder}")

    def _ask(self) -> None:
        chosen = [self._facts[i] for i in self.selected]
        size = bytes_text(sum(f.size for f in chosen))
        what = f"the run {chosen[0].title}" if len(chosen) == 1 else f"{len(chosen)} runs"
        self._asked.setText(f"Delete {what} with weights and maps ({size})? This cannot be undone.")
        self.question.show()
        self.keep.setFocus()

    def _delete(self) -> None:
        for run_id in self.selected:
            try:
                self._facts[run_id].run.delete()
            except (UserError, OSError) as error:
                self.said.emit("error", str(error))
        self.question.hide()
        self.show_runs(self._project)
        self.changed.emit()
        self.picked.emit(self.selected)

    def _menu(self, where: Any) -> None:
        menu = QMenu(self)
        menu.addAction("Rename", lambda: self.table.editItem(self.table.item(self.table.currentRow(), 0)))
        for button in (self.resume, self.copy, self.folder, self.delete):
            if button.isEnabled() and not button.isHidden():
                menu.addAction(button.text(), button.click)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(self.table.viewport().mapToGlobal(where))


def _quiet(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setProperty("wsss", "quiet")
    return button
