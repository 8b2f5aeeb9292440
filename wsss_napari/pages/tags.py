"""Tags: say which classes each image shows, by keys, and see how far that has come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QComboBox,
    QCompleter,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QToolButton,
    QWidget,
)

from engine.messages import command
from engine.tag_files import read_tags
from engine.tags import ABSENT, PRESENT, UNKNOWN, Tags
from wsss_napari.background import Background
from wsss_napari.balance import Balance
from wsss_napari.controls import name_filter
from wsss_napari.desk import Desk
from wsss_napari.forms import Fold
from wsss_napari.image_list import STATE_FILTERS, ImageList, ImageModel, matching
from wsss_napari.pages.new_project import NewProject, is_tag_file
from wsss_napari.pages.page import Page
from wsss_napari.style import theme_of
from wsss_napari.thumbnails import Thumbnails

__all__ = ["TagsPage", "changes_from"]

_NO_PROJECT = (
    "No project is open.\n\nA project is a folder of images with tags that say what is on each one. "
    "Drop an image folder and a tag file here, or make one."
)


class TagsPage(Page):
    """Thumbnails with their tags, filters, counters, and the form for a new project."""

    NAME = "tags"
    TITLE = "Tags"
    TIP = "Say which classes each image shows"

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(desk, parent)
        self._background = Background(1, self)
        self._thumbnails = Thumbnails(desk.settings.cache, self)
        self.new = NewProject(desk, self)
        self.new.hide()
        self.new.made.connect(self._made)
        self.new.cancelled.connect(self._refresh)
        for entry in (self.new.images, self.new.tags, self.new.root, self.new.truth):
            entry.changed.connect(self.command_changed)
        layout = self.layout()
        assert layout is not None
        layout.addWidget(self.new)

        self.counter = QLabel(self)
        self.share = QProgressBar(self)
        self.share.setTextVisible(False)
        self.share.setFixedHeight(6)
        self.share.setProperty("wsss", "thin")
        self.share.setToolTip("Share of the images of which something is said")
        self.aside = QLabel(self)
        self.aside.setProperty("wsss", "warning")
        self.balance = Balance(self)
        self.balance_fold = Fold("Class balance", self.balance, self)
        self.balance_fold.head.setToolTip("In how many images each class is present")

        self.state_filter = QComboBox(self)
        self.state_filter.setToolTip("Show images by the state of the class beside, or of all classes")
        for key, words in STATE_FILTERS.items():
            self.state_filter.addItem(words, key)
        self.class_filter = QComboBox(self)
        self.class_filter.setToolTip("The class that the state beside is about")
        for box in (self.state_filter, self.class_filter):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(8)
            box.activated.connect(self._filter)
        self.text_filter = name_filter(self)
        self.text_filter.textChanged.connect(self._filter)
        self.found = QLabel(self)
        self.found.setProperty("wsss", "note")

        self.images = ImageList(self)
        self.model = ImageModel(self._thumbnails, self)
        self.images.setModel(self.model)
        selection = self.images.selectionModel()
        assert selection is not None
        selection.currentChanged.connect(self._picked)
        self.none_found = QLabel("No image passes the filters.", self)
        self.none_found.setAlignment(Qt.AlignmentFlag.AlignHCenter)

        self.type_box = QLineEdit(self)
        self.type_box.setPlaceholderText("Type a class, Enter (key 0)")
        self.type_box.setToolTip("Make a class present by its name; a new name, entered twice, adds a class")
        self._completer = QCompleter([], self)
        self._completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self._completer.setFilterMode(Qt.MatchFlag.MatchContains)
        self.type_box.setCompleter(self._completer)
        self.type_box.returnPressed.connect(self._typed)
        self._new_name = ""
        self.import_button = QToolButton(self)
        self.import_button.setText("Import tags…")
        self.import_button.setProperty("wsss", "quiet")
        self.import_button.setToolTip("Read a tag file into this project; one undo takes it back")
        self.import_button.clicked.connect(self._ask_import)
        self.next_button = QToolButton(self)
        self.next_button.setText("Next untagged (Space)")
        self.next_button.setToolTip("Go to the next image of which nothing is said")
        self.next_button.clicked.connect(self.next_untagged)
        self._lay_out()

        desk.keys.bind(
            "tags",
            {
                "toggle": lambda chord: self._digit(chord, None),
                "absent": lambda chord: self._digit(chord, ABSENT),
                "unknown": lambda chord: self._digit(chord, UNKNOWN),
                "type": lambda _: self.type_box.setFocus(Qt.FocusReason.ShortcutFocusReason),
                "next_untagged": lambda _: self.next_untagged(),
            },
        )
        session = self.session
        desk.viewer.events.theme.connect(self._apply_colours)
        session.events.project.connect(self._opened)
        session.events.image.connect(self._show_image)
        session.tags_changed.connect(self._tags_changed)
        session.classes_changed.connect(self._classes_changed)
        self._opened()

    def _lay_out(self) -> None:
        top = QHBoxLayout()
        top.addWidget(self.counter, 1)
        top.addWidget(self.import_button)
        filters = QHBoxLayout()
        filters.setSpacing(4)
        filters.addWidget(self.state_filter, 1)
        filters.addWidget(self.class_filter, 1)
        named = QHBoxLayout()
        named.setSpacing(4)
        named.addWidget(self.text_filter, 1)
        named.addWidget(self.found)
        bottom = QHBoxLayout()
        bottom.setSpacing(4)
        bottom.addWidget(self.type_box, 1)
        bottom.addWidget(self.next_button)
        body = self.body
        body.setSpacing(6)
        body.addLayout(top)
        body.addWidget(self.share)
        body.addWidget(self.aside)
        body.addWidget(self.balance_fold)
        body.addLayout(filters)
        body.addLayout(named)
        body.addWidget(self.none_found)
        body.addWidget(self.images, 1)
        body.addLayout(bottom)

    # What is shown

    def enter(self) -> None:
        """Put the keys to the list at once, so that digits tag without a click."""
        self._apply_colours()
        if self.session.project is not None:
            self.images.setFocus(Qt.FocusReason.OtherFocusReason)

    def command(self) -> str | None:
        """Return the line that makes the project of the form, while it is open."""
        job = self.new.job() if not self.new.isHidden() else None
        return None if job is None else command(job)

    @property
    def busy(self) -> bool:
        """Whether thumbnails or a tag file are being read."""
        return bool(self._thumbnails.pending or self._background.pending)

    def ask_new(self, paths: Sequence[Path] = ()) -> None:
        """Show the form for a new project."""
        self.new.begin(paths)
        self._refresh()
        self._hint.hide()
        self._content.hide()
        self.new.show()
        self.command_changed.emit()

    def take_paths(self, paths: Sequence[Path]) -> None:
        """Take what was dropped: tags into the open project, images into a new one."""
        if not self.new.isHidden():
            self.new.take(paths)
        elif self.session.project is not None and paths and all(is_tag_file(p) for p in paths):
            for path in paths:
                self.import_tags(path)
        else:
            self.ask_new(paths)

    def _opened(self, _: Any = None) -> None:
        self._thumbnails.open(self.session.project)
        with QSignalBlocker(self.text_filter):
            self.text_filter.clear()
        self.state_filter.setCurrentIndex(0)
        self._fill_classes()
        self._refresh()

    def _made(self) -> None:
        self._refresh()
        self.images.setFocus(Qt.FocusReason.OtherFocusReason)

    def _refresh(self) -> None:
        project = self.session.project
        self.new.hide()
        if project is None:
            self.model.show(None, np.zeros(0, np.intp))
            self.show_hint(
                _NO_PROJECT, "New project…", self.ask_new, "Make a project from a folder of images"
            )
            self.command_changed.emit()
            return
        self.hide_hint()
        aside = [i for i in project.images.values() if i.aside]
        self.aside.setVisible(bool(aside))
        self.aside.setText(f"⚠ {len(aside)} of {len(project.images)} images set aside")
        self.aside.setToolTip("\n".join(f"{i.file}: {i.aside}" for i in aside[:20]))
        self._apply_colours()
        self._filter()
        self._count()
        self.command_changed.emit()

    def _fill_classes(self) -> None:
        project = self.session.project
        names = project.classes if project is not None else ()
        chosen = self.class_filter.currentData()
        self.class_filter.clear()
        self.class_filter.addItem("Any class", None)
        for i, name in enumerate(names):
            self.class_filter.addItem(name, i)
        self.class_filter.setCurrentIndex(max(0, self.class_filter.findData(chosen)))
        self._completer.model().setStringList(list(names))

    def _apply_colours(self, _: Any = None) -> None:
        viewer, project = self.desk.viewer, self.session.project
        if viewer is not None and project is not None:
            most = int((project.tags().states == PRESENT).sum(axis=1).max(initial=0))
            self.images.set_colours(self.desk.colours, theme_of(viewer)["current"], most)

    def _filter(self, _: Any = None) -> None:
        project = self.session.project
        if project is None:
            return
        tags = project.tags()
        state = str(self.state_filter.currentData())
        rows = matching(tags, state, self.class_filter.currentData(), self.text_filter.text())
        selection = self.images.selectionModel()
        assert selection is not None
        with QSignalBlocker(selection):
            self.model.show(tags, rows)
        everything = len(rows) == len(tags.stems)
        self.found.setText(f"{len(rows):,} images" if everything else f"{len(rows):,} of {len(tags.stems):,}")
        self.none_found.setVisible(not len(rows))
        self._show_image()

    def _count(self) -> None:
        project = self.session.project
        assert project is not None
        tags = project.tags()
        said = len(tags.stems) - len(tags.untagged)
        self.counter.setText(f"{said:,} of {len(tags.stems):,} images tagged")
        self.share.setRange(0, max(1, len(tags.stems)))
        self.share.setValue(said)
        self.balance.show_counts(tags.classes, self.desk.colours, tags.counts(), len(tags.stems))

    def _show_image(self, _: Any = None) -> None:
        index = self.model.place(self.session.image)
        selection = self.images.selectionModel()
        assert selection is not None
        if index.isValid() and index not in selection.selectedIndexes():
            self.images.choose(index)

    def _picked(self, index: Any, _: Any = None) -> None:
        if index.isValid():
            self.session.image = str(index.data())

    def _tags_changed(self, stems: Sequence[str]) -> None:
        project = self.session.project
        if project is not None:
            self.model.update_tags(project.tags(), stems)
            self._apply_colours()
            self._count()

    def _classes_changed(self) -> None:
        self._fill_classes()
        self._refresh()

    # What a person does

    def targets(self) -> list[str]:
        """Return the images that a key tags: the chosen ones, else the one in front."""
        chosen = self.images.chosen()
        image = self.session.image
        if image is not None and image not in chosen:
            return [image]
        return chosen

    def tag(self, cls: int, state: int | None) -> None:
        """Give the chosen images a state; None makes the class present, or unknown where it is present already."""
        project, stems = self.session.project, self.targets()
        if project is None or not stems or cls >= len(project.classes):
            return
        if state is None:
            tags = project.tags()
            column = {s: int(tags.row(s)[cls]) for s in stems}
            state = UNKNOWN if all(v == PRESENT for v in column.values()) else PRESENT
        self.session.cls = cls
        many = f"{project.classes[cls]} in {len(stems)} images" if len(stems) > 1 else None
        self.desk.guard(self.session.set_tags, [(s, cls, state) for s in stems], many)

    def next_untagged(self) -> None:
        """Go to the next image of which nothing is said, round the end to the start."""
        project = self.session.project
        if project is None:
            return
        untagged = set(project.tags().untagged)
        stems = self.session.stems
        start = stems.index(self.session.image) + 1 if self.session.image in stems else 0
        found = next((s for s in (*stems[start:], *stems[:start]) if s in untagged), None)
        if found is None:
            self.desk.said("info", "Every image is tagged.")
            return
        if not self.model.place(found).isValid():
            with QSignalBlocker(self.text_filter):
                self.text_filter.clear()
            self.state_filter.setCurrentIndex(0)
            self._filter()
        self.session.image = found

    def import_tags(self, path: Path) -> None:
        """Read a tag file into the open project, in the background; classes it names are added."""
        project = self.session.project
        if project is None:
            return
        self._background.run(
            lambda: read_tags(path, stems=project.usable, classes=None),
            lambda read: self._imported(path, project, read),
            lambda mistake: self.desk.said("error", str(mistake)),
        )

    def _imported(self, path: Path, project: Any, read: Any) -> None:
        if project is not self.session.project:
            return
        for warning in read.warnings:
            self.desk.said("warning", warning)
        for name in read.tags.classes:
            if name not in project.classes:
                self.desk.guard(self.session.add_class, name)
        changes = changes_from(read.tags, project.tags())
        self.desk.guard(self.session.set_tags, changes, f"tags of {path.name}")
        self._refresh()
        self.desk.said("info", f"{path.name}: {len(changes):,} tags changed.")

    def _digit(self, chord: str, state: int | None) -> None:
        self.tag(int(chord[-1]) - 1, state)

    def _typed(self) -> None:
        project = self.session.project
        name = self.type_box.text().strip()
        if project is None or not name:
            return
        folded = {c.casefold(): i for i, c in enumerate(project.classes)}
        if name.casefold() not in folded:
            if name != self._new_name:
                self._new_name = name
                self.desk.said("info", f"There is no class '{name}'. Press Enter again to add it.")
                return
            self.desk.guard(self.session.add_class, name)
            folded = {c.casefold(): i for i, c in enumerate(project.classes)}
        self._new_name = ""
        if name.casefold() in folded:
            self.tag(folded[name.casefold()], PRESENT)
        # The completer writes its choice after this signal.
        self.type_box.clear()
        self.images.setFocus(Qt.FocusReason.OtherFocusReason)

    def _ask_import(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Import tags")
        if path:
            self.import_tags(Path(path))


def changes_from(read: Tags, now: Tags) -> list[tuple[str, int, int]]:
    """Return (stem, class, state) where `read` knows something that `now` does not say.

    What `read` leaves unknown stays as it is: a list of dogs says nothing of cats.
    """
    columns = [(i, now.classes.index(name)) for i, name in enumerate(read.classes) if name in now.classes]
    row_of = {stem: n for n, stem in enumerate(now.stems)}
    changes = []
    for n, stem in enumerate(read.stems):
        if stem not in row_of:
            continue
        old = now.states[row_of[stem]]
        for i, column in columns:
            state = int(read.states[n, i])
            if state != UNKNOWN and state != old[column]:
                changes.append((stem, column, state))
    return changes
