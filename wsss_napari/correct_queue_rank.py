"""The order of the review queue: which one, what it looks at, the button that ranks, and whether a ranking still holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from engine.edits import corrected
from engine.errors import UserError
from engine.messages import Event, Finished, Progress, Queue, command
from engine.queue import FILE, Ranking, kept_path
from engine.store import Views, label_sets
from wsss_napari.correct_queue_rows import ORDERS, Ranked
from wsss_napari.corrections import Corrections
from wsss_napari.desk import Desk

__all__ = ["RankBar"]

_ALL = "*"
_CORRECTED = "corrected"


class RankBar(QWidget):
    """Order, what to compare with, Rank.

    The project keeps the newest ranking in each order (`queue.json` and those beside it), so that going
    back to an order asks for no new one, also on another day.

    Attributes:
        warns: Whether the ranking is stale or damaged.

    Signals:
        changed: Another order or another ranking counts.
        told: What there is to say of the order may have changed.
    """

    changed = Signal()
    told = Signal()

    def __init__(self, desk: Desk, corrections: Corrections, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk = desk
        self.session = desk.session
        self.corrections = corrections
        self._rankings: dict[str, Ranking] = {}
        self._ranks: dict[str, dict[str, Ranked]] = {}
        # Order ("" is the newest) -> what its file was when it was read, and why it could not be.
        self._read: dict[str, tuple[int, int]] = {}
        self._damage: dict[str, str] = {}
        self._job = ""
        self._engine: Any = None
        self.warns = False
        self._build()
        self.session.events.project.connect(self._forget)
        desk.when_engine(self._meet)

    def _build(self) -> None:
        self.choice = QComboBox(self)
        self.choice.setAccessibleName("Order of the queue")
        for at, (key, order) in enumerate(ORDERS.items()):
            self.choice.addItem(order.words, key)
            self.choice.setItemData(at, order.tip, Qt.ItemDataRole.ToolTipRole)
        self.choice.setCurrentIndex(self.choice.findData("name"))
        self.against = QComboBox(self)
        self.against.setAccessibleName("What to compare with")
        for box in (self.choice, self.against):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(8)
        self.go = QPushButton("Rank", self)
        self.go.clicked.connect(self.start_or_stop)
        self.progress = QProgressBar(self)
        self.progress.setTextVisible(False)
        self.progress.setFixedHeight(6)
        self.progress.setProperty("wsss", "thin")
        self.progress.hide()
        self.notice = QLabel(self)
        self.notice.setWordWrap(True)
        self.notice.hide()
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(self.choice, 3)
        row.addWidget(self.against, 2)
        row.addWidget(self.go)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addLayout(row)
        column.addWidget(self.progress)
        column.addWidget(self.notice)
        self.choice.activated.connect(self._order_chosen)
        self.against.activated.connect(self._show)

    # What counts

    @property
    def order(self) -> str:
        """The chosen order, a key of ORDERS."""
        return str(self.choice.currentData())

    @property
    def ranks(self) -> Mapping[str, Ranked]:
        """Image -> score and reason in the chosen order; empty where nothing was ranked that way."""
        return self._ranks.get(self.order, {})

    @property
    def working(self) -> bool:
        """Whether the engine is ranking for us."""
        return bool(self._job)

    def reload(self) -> None:
        """Read the project's rankings and say whether the one in the chosen order still holds."""
        project = self.session.project
        if project is not None:
            self._take("", project.root / FILE, lambda: Ranking.load(project.root))
            for order in (key for key, row in ORDERS.items() if row.ranked):
                path = kept_path(project.root, order)
                self._take(order, path, partial(Ranking.kept, project.root, order))
        self._fill_against()
        self._show()

    def job(self) -> Queue | None:
        """Return the job that ranks in the chosen order, or None where `why_not` says why."""
        fields, why_not = self._fields()
        return None if why_not else self.desk.job(Queue, order=self.order, **fields)

    def why_not(self) -> str:
        """Return why the images cannot be ranked in the chosen order, or an empty string."""
        return self._fields()[1]

    def start_or_stop(self) -> None:
        """Rank, or stop ranking."""
        if self._job:
            self.desk.engine.stop(self._job)
            return
        job = self.job()
        if job is not None:
            self._job = self.desk.submit(job, then=self._ended)
            self.progress.setRange(0, 0)
            self._show()

    def _take(self, order: str, path: Path, read: Callable[[], Ranking | None]) -> None:
        """Read a ranking whose file changed since: one of ten thousand images takes a while."""
        try:
            stat = path.stat()
            mark = (stat.st_mtime_ns, stat.st_size)
        except FileNotFoundError:
            mark = (0, 0)
        if self._read.get(order) == mark:
            return
        self._read[order] = mark
        self._damage.pop(order, None)
        try:
            found = read()
        except UserError as damaged:
            self._damage[order] = damaged.found
        else:
            self._keep(found)

    def _keep(self, ranking: Ranking | None) -> None:
        """Take a ranking in; the first one of a project decides the order that is shown."""
        held = None if ranking is None else self._rankings.get(ranking.order)
        if ranking is None or ranking == held or (held is not None and held.when > ranking.when):
            return
        first = not self._rankings
        self._rankings[ranking.order] = ranking
        self._ranks[ranking.order] = {e.stem: Ranked(e.score, e.reason) for e in ranking.entries}
        if first:
            self.choice.setCurrentIndex(max(0, self.choice.findData(ranking.order)))

    def _fields(self) -> tuple[dict[str, Any], str]:
        """Return what the chosen order looks at, and why it cannot."""
        order, source = self.order, self.corrections.source
        if self.session.project is None:
            return {}, "No project is open."
        if not ORDERS[order].ranked:
            return {}, "This order needs no ranking."
        labels = source.labels if source is not None else ""
        maps = self._maps()
        if order == "margin":
            if labels and self._drawn_from(labels):
                return {"labels": labels}, ""
            if maps:
                return {"source": maps}, ""
            return {}, "There are no maps to be sure or unsure by. Draw them on the Explore page."
        mine = {"labels": labels} if labels else {"source": maps}
        if not labels and not maps:
            return {}, "There is no proposal to look at. Make labels on the Explore page."
        if order == "tags":
            return mine, ""
        against = self.against.currentData()
        if against is None:
            return {}, "There is nothing to compare the proposal with. Make or import other labels."
        others = self._others() if against == _ALL else [against]
        return {**mine, "others": tuple(others)}, ""

    def _maps(self) -> str:
        """Return what maps the chosen run offers, as `--source` takes it, or an empty string."""
        run = self.session.chosen_run
        if run is None or run.is_network:
            return ""
        views: Views = run.views(self.session.views)
        if not views.folder.is_dir() or not views.has_maps:
            return ""
        return run.id if views.name == "default" else str(views)

    def _drawn_from(self, name: str) -> bool:
        project = self.session.project
        assert project is not None
        sets = label_sets(project.root, project.colours)
        return any(s.name == name and isinstance(s.facts.get("source"), str) for s in sets)

    def _others(self) -> list[str]:
        """Return what the proposal can be compared with."""
        project, source = self.session.project, self.corrections.source
        if project is None:
            return []
        mine = source.labels if source is not None else ""
        found = [s.name for s in label_sets(project.root, project.colours) if s.name != mine]
        maps = self._maps()
        if maps and mine:
            found.append(maps)
        # Of a damaged journal the page itself tells, and offers what to do.
        if self.corrections.room is not None and corrected(project, None).stems():
            found.append(_CORRECTED)
        return found

    # What is shown

    def _fill_against(self) -> None:
        chosen = self.against.currentData()
        with QSignalBlocker(self.against):
            self.against.clear()
            others = self._others()
            if self.order == "disagreement" and len(others) > 1:
                self.against.addItem("all others", _ALL)
            for name in others:
                self.against.addItem("your corrections" if name == _CORRECTED else name, name)
            self.against.setCurrentIndex(max(0, self.against.findData(chosen)))
        mine = self.corrections.source
        self.against.setToolTip(f"Compared with the proposal ({mine.title if mine is not None else 'none'})")
        self.against.setVisible(self.order in ("disagreement", "change") and bool(others))

    def _order_chosen(self, _index: int) -> None:
        self._fill_against()
        self._show()
        self.changed.emit()

    def _show(self, _: Any = None) -> None:
        """Show what the button does and what there is to say of the ranking."""
        needs = ORDERS[self.order].ranked
        why, job = self.why_not(), self.job()
        self.choice.setToolTip(ORDERS[self.order].tip)
        self.go.setVisible(needs or self.working)
        self.go.setText("Stop" if self.working else "Rank again" if self.ranks else "Rank")
        self.go.setEnabled(self.working or not why)
        self.go.setToolTip("Stop ranking" if self.working else why or (command(job) if job else ""))
        self.progress.setVisible(self.working)
        text, self.warns = self._told(needs, why)
        self.notice.setText(text)
        self.notice.setProperty("wsss", "warning" if self.warns else "note")
        style = self.notice.style()
        if style is not None:
            style.unpolish(self.notice)
            style.polish(self.notice)
        self.notice.setVisible(bool(text) and not self.working)
        self.told.emit()

    def _told(self, needs: bool, why: str) -> tuple[str, bool]:
        """Return what there is to say of the order, and whether it is a warning."""
        project, ranking = self.session.project, self._rankings.get(self.order)
        if project is None or not needs:
            return "", False
        if ranking is None:
            if damage := self._damage.get(self.order) or self._damage.get(""):
                return f"⚠ {damage}", True
            return why or "Not ranked in this order yet; the images stand in the project's order.", False
        stale = ranking.stale(project)
        return (f"⚠ {' '.join(stale)}", True) if stale else ("", False)

    # The job

    def _meet(self, engine: Any) -> None:
        self._engine = engine
        engine.event.connect(self._heard)

    def _heard(self, event: Event) -> None:
        if self._job and event.job == self._job and isinstance(event, Progress):
            self.progress.setRange(0, event.total)
            self.progress.setValue(event.done)
            self.progress.setToolTip(f"{event.done:,} of {event.total:,} images ranked")

    def _ended(self, ending: Event) -> None:
        self._job = ""
        self.reload()
        if isinstance(ending, Finished):
            self.changed.emit()

    def _forget(self, _: Any = None) -> None:
        self._rankings, self._ranks, self._job = {}, {}, ""
        self._read, self._damage = {}, {}
        self.choice.setCurrentIndex(self.choice.findData("name"))
