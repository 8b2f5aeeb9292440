"""The review queue: which image comes next and why, how far the review is, and how long the rest takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from weakref import ref

from qtpy.compat import isalive
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from wsss_napari.controls import name_filter
from wsss_napari.correct_bulk import BulkPanel
from wsss_napari.correct_queue_list import QueueList, QueueModel
from wsss_napari.correct_queue_rank import RankBar
from wsss_napari.correct_queue_rows import (
    EVERY,
    FILTERS,
    OPEN,
    following,
    ordered,
    passing,
    review_progress,
)
from wsss_napari.corrections import Corrections
from wsss_napari.desk import Desk
from wsss_napari.estimates import seconds_text
from wsss_napari.style import theme_of
from wsss_napari.thumbnails import Thumbnails

__all__ = ["QueuePanel"]


class QueuePanel(QWidget):
    """Counters, order, filters and the list; it decides what Next and Previous go to.

    Args:
        desk: The desk of the viewer.
        corrections: The masks of the open project and their states.
        parent: Qt parent.
    """

    def __init__(self, desk: Desk, corrections: Corrections, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk = desk
        self.session = desk.session
        self.corrections = corrections
        self._states: dict[str, str] = {}
        self._seconds: dict[str, float] = {}
        self._thumbnails = Thumbnails(desk.settings.cache, self)
        self._build()
        session = self.session
        session.events.project.connect(self._opened)
        session.events.image.connect(self._show_image)
        session.classes_changed.connect(self._fill_classes)
        session.tags_changed.connect(self._tags_changed)
        corrections.changed.connect(self.refresh)
        corrections.proposals_changed.connect(self.refresh)
        corrections.states_changed.connect(self._states_changed)
        desk.viewer.events.theme.connect(self._apply_theme)
        # Weakly: a panel that only the desk still knew would be taken apart by the garbage collector, not by Qt.
        self._route: Callable[[str, int], str | None] = partial(_follow, ref(self))
        self._opened()

    def _build(self) -> None:
        self.counter = QLabel(self)
        self.left = QLabel(self)
        self.left.setProperty("wsss", "note")
        self.left.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.share = QProgressBar(self)
        self.share.setTextVisible(False)
        self.share.setFixedHeight(6)
        self.share.setProperty("wsss", "thin")
        self.rank = RankBar(self.desk, self.corrections, self)
        self.rank.changed.connect(self.refilter)
        self.rank.told.connect(self._show_fold)
        self.state_filter = QComboBox(self)
        self.state_filter.setToolTip("Show images by their review state")
        self.state_filter.setAccessibleName("Review state")
        for key, words in FILTERS.items():
            self.state_filter.addItem(words, key)
        self.class_filter = QComboBox(self)
        self.class_filter.setToolTip("Show images that are tagged with this class")
        self.class_filter.setAccessibleName("Tagged class")
        for box in (self.state_filter, self.class_filter):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(8)
            box.activated.connect(self.refilter)
        self.text_filter = name_filter(self)
        self.text_filter.textChanged.connect(self.refilter)
        self.found = QLabel(self)
        self.found.setProperty("wsss", "note")
        self.list = QueueList(self)
        self.model = QueueModel(self._thumbnails, self)
        self.list.setModel(self.model)
        selection = self.list.selectionModel()
        assert selection is not None
        selection.currentChanged.connect(self._picked)
        self.empty = QLabel(self)
        self.empty.setWordWrap(True)
        self.empty.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self.empty.setProperty("wsss", "note")
        self.bulk = BulkPanel(
            self.desk, self.corrections, lambda: self.model.stems, lambda: self._states, self
        )
        self.bulk.ended.connect(self.refresh)
        self.bulk.opened.connect(lambda _on: self._show_list())
        self.fold = QToolButton(self)
        self.fold.setProperty("wsss", "quiet")
        self.fold.setCheckable(True)
        self.fold.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.fold.setToolTip("Order of the queue and filters")
        self.fold.toggled.connect(self._show_fold)
        head = QHBoxLayout()
        head.setSpacing(2)
        head.addWidget(self.counter, 1)
        head.addWidget(self.fold)
        head.addWidget(self.bulk.button)
        far = QHBoxLayout()
        far.addWidget(self.share, 1)
        far.addWidget(self.left)
        filters = QHBoxLayout()
        filters.setSpacing(4)
        filters.addWidget(self.state_filter, 1)
        filters.addWidget(self.class_filter, 1)
        named = QHBoxLayout()
        named.setSpacing(4)
        named.addWidget(self.text_filter, 1)
        named.addWidget(self.found)
        self.folded = QWidget(self)
        inner = QVBoxLayout(self.folded)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(6)
        inner.addWidget(self.rank)
        inner.addLayout(filters)
        inner.addLayout(named)
        self.folded.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(head)
        column.addLayout(far)
        column.addWidget(self.folded)
        column.addWidget(self.bulk)
        column.addStretch(0)
        column.addWidget(self.empty)
        column.addWidget(self.list, 1)

    # What is shown

    @property
    def busy(self) -> bool:
        """Whether thumbnails are being read."""
        return bool(self._thumbnails.pending)

    def refresh(self) -> None:
        """Read states and rankings anew, as when the page comes to the front or a job made something."""
        self.corrections.route = None if self.session.project is None else self._route
        self._states = self.corrections.states()
        room = self.corrections.room
        self._seconds = {} if room is None else room.times()
        self.rank.reload()
        self.refilter()

    def refilter(self, _: Any = None) -> None:
        """List what passes the filters now, in the chosen order."""
        project = self.session.project
        tags = None if project is None else project.tags()
        rows: list[str] = []
        stems = [stem for stem in self.session.stems if stem in self._states]
        if tags is not None:
            rows = passing(
                ordered(stems, self.rank.order, self.rank.ranks, tags),
                self._states,
                tags,
                state=str(self.state_filter.currentData()),
                cls=self.class_filter.currentData(),
                text=self.text_filter.text(),
            )
        selection = self.list.selectionModel()
        assert selection is not None
        with QSignalBlocker(selection):
            self.model.show(rows, self._states, self.rank.ranks)
        everything = len(rows) == len(stems)
        self.found.setText(f"{len(rows):,} images" if everything else f"{len(rows):,} of {len(stems):,}")
        self.empty.setText(self._why_empty(len(stems)))
        self.empty.setVisible(not rows)
        self._show_list()
        self._show_fold()
        self.bulk.button.setVisible(bool(rows))
        self.bulk.follow()
        self._count()
        self._show_image()

    def _show_list(self) -> None:
        """Show the list, or in its place the form that is about all of it."""
        self.list.setVisible(bool(self.model.stems) and self.bulk.isHidden())

    def _show_fold(self, _: Any = None) -> None:
        """Show or hide order and filters; folded too they say how many images pass, and that a ranking is stale."""
        is_open = self.fold.isChecked()
        self.folded.setVisible(is_open)
        mark = "⚠ " if self.rank.warns and not is_open else ""
        self.fold.setText(f"{mark}{len(self.model.stems):,} listed {'▾' if is_open else '▸'}")

    def _why_empty(self, total: int) -> str:
        if not total:
            return "There are no images to correct."
        filtered = self.class_filter.currentData() is not None or self.text_filter.text().strip()
        if self.state_filter.currentData() == OPEN and not filtered:
            return (
                "Every image is approved, rejected or skipped. Export what you approved on the Export page."
            )
        return "No image passes the filters."

    def _count(self) -> None:
        stems = list(self._states)
        progress = review_progress(self._states, self._seconds, stems)
        self.counter.setText(f"{progress.approved:,} of {progress.total:,} approved")
        more = [
            f"{count:,} {words}"
            for count, words in (
                (progress.begun, "begun"),
                (progress.rejected, "rejected"),
                (progress.skipped, "skipped"),
            )
            if count
        ]
        self.counter.setToolTip(" · ".join((self.counter.text(), *more)))
        time = f"about {seconds_text(progress.seconds)} left" if progress.seconds else ""
        self.left.setText(time)
        self.left.setVisible(bool(time))
        self.left.setToolTip(
            "What the images still to do take, going by the median of those you approved or rejected"
        )
        self.share.setRange(0, max(1, progress.total))
        self.share.setValue(progress.decided)
        self.share.setToolTip(" · ".join((f"{progress.decided:,} of {progress.total:,} decided", *more)))

    def _opened(self, _: Any = None) -> None:
        self._thumbnails.open(self.session.project)
        with QSignalBlocker(self.text_filter):
            self.text_filter.clear()
        self.state_filter.setCurrentIndex(0)
        self._apply_theme()
        self._fill_classes()
        self.refresh()

    def _fill_classes(self) -> None:
        project = self.session.project
        chosen = self.class_filter.currentData()
        with QSignalBlocker(self.class_filter):
            self.class_filter.clear()
            self.class_filter.addItem("Any class", None)
            for i, name in enumerate(project.classes if project is not None else ()):
                if project is not None and i not in project.class_list.merged:
                    self.class_filter.addItem(name, i)
            self.class_filter.setCurrentIndex(max(0, self.class_filter.findData(chosen)))

    def _apply_theme(self, _: Any = None) -> None:
        viewer = self.desk.viewer
        if viewer is not None:
            self.list.set_accent(theme_of(viewer)["current"])

    def _tags_changed(self, _stems: Sequence[str]) -> None:
        # The list stays as it is, so nothing jumps away mid-work; whether the ranking still holds is told.
        # Whoever tags on another page must not wait for it: the page refreshes when it is entered.
        if self.isVisible():
            self.rank.reload()

    def _states_changed(self, stems: Sequence[str]) -> None:
        sheet = self.corrections.correction.sheet
        if sheet is not None:
            self._seconds[sheet.stem] = sheet.seconds
        for stem in stems:
            if stem in self._states:
                self._states[stem] = self.corrections.state(stem)
                self.model.repaint_stem(stem)
        self._count()

    def _show_image(self, _: Any = None) -> None:
        index = self.model.place(self.session.image)
        selection = self.list.selectionModel()
        assert selection is not None
        if not index.isValid() or index not in selection.selectedIndexes():
            with QSignalBlocker(selection):
                self.list.choose(index)
            viewport = self.list.viewport()
            if viewport is not None:
                viewport.update()

    def _picked(self, index: Any, _: Any = None) -> None:
        if index.isValid():
            self.session.image = str(index.data())

    # What comes next

    def following(self, stem: str, by: int) -> str | None:
        """Return the image that Next (1) or Previous (-1) goes to; the image itself where there is none."""
        rows = self.model.stems
        if not rows:
            return None
        found = following(rows, self._states, stem, by=by, state=str(self.state_filter.currentData()))
        if found is None and by > 0:
            self.desk.said("info", "That was the last image of this queue.")
        return stem if found is None else found

    def show_every(self) -> None:
        """Take all filters away."""
        with QSignalBlocker(self.text_filter):
            self.text_filter.clear()
        self.state_filter.setCurrentIndex(self.state_filter.findData(EVERY))
        self.class_filter.setCurrentIndex(0)
        self.refilter()


def _follow(panel: ref[QueuePanel], stem: str, by: int) -> str | None:
    """Return what the panel says; None, so that the project's order counts, when it is gone."""
    there = panel()
    return None if there is None or not isalive(there) else there.following(stem, by)
