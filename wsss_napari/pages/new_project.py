"""The form that makes a project: a folder of images, and tags or at least the names of the classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from engine.messages import Event, Failed, Finished, New
from engine.resources import resource
from wsss_napari.desk import Desk
from wsss_napari.forms import Fold
from wsss_napari.path_line import PathLine

__all__ = ["NewProject", "is_tag_file"]

_IMAGES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"}
_TAG_FILES = {".csv", ".tsv", ".json", ".txt", ".xml", ".npy"}
# Counting stops here: a dialog must not wait for a slow disk.
_COUNTED = 5000


def is_tag_file(path: Path) -> bool:
    """Return whether a dropped file is meant as tags."""
    return path.is_file() and path.suffix.lower() in _TAG_FILES


def count_images(folder: Path) -> str:
    """Return "312 images", "more than 5,000 images" or what is wrong, without opening any."""
    found = 0
    try:
        with os.scandir(folder) as entries:
            for n, entry in enumerate(entries):
                found += Path(entry.name).suffix.lower() in _IMAGES
                if n >= _COUNTED:
                    return f"more than {found:,} images"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return f"{found:,} images" if found != 1 else "1 image"


class NewProject(QWidget):
    """Asks for what a project needs and runs the `new` job.

    Signals:
        made: The project is there and open.
        cancelled: The person thought better of it.
    """

    made = Signal()
    cancelled = Signal()

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk = desk
        self._named = False
        self.images = _path(
            "Folder", "The folder with the photographs; images in it are never changed", folder=True
        )
        self.tags = _path(
            "File (or none yet)",
            "CSV (image,tags or one column a class), JSON, VOC image sets or XML, COCO instances, or cls_labels.npy",
            folder=False,
        )
        self.classes = QLineEdit(self)
        self.classes.setPlaceholderText("cat, dog, person")
        self.classes.setToolTip("Names of the classes, separated by commas; a tag file brings its own")
        self.root = _path("Folder to make", "A new folder for the project: tags, runs, masks", folder=True)
        self.truth = _path(
            "Folder (optional)",
            "Indexed PNG masks (0 background, 255 void), used for evaluation alone",
            folder=True,
        )
        self.truth_classes = QLineEdit(self)
        self.truth_classes.setPlaceholderText("the project's order")
        self.truth_classes.setToolTip(
            "Whose order the indexes of the truth masks follow: voc, coco or a file of names"
        )
        self.counted = QLabel(self)
        self.counted.setProperty("wsss", "note")
        self.counted.setWordWrap(True)
        self.fault = QLabel(self)
        self.fault.setProperty("wsss", "warning")
        self.fault.setWordWrap(True)
        self.fault.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.create = QPushButton("Make the project", self)
        self.create.setProperty("wsss", "primary")
        self.create.setToolTip("Look at every image, read the tags, and make the project folder")
        self.create.clicked.connect(self._submit)
        self.cancel = QPushButton("Cancel", self)
        self.cancel.setProperty("wsss", "quiet")
        self.cancel.setToolTip("Go back without making a project")
        self.cancel.clicked.connect(self.cancelled)

        self.sample = QPushButton("Fill in the sample", self)
        self.sample.setProperty("wsss", "quiet")
        self.sample.setToolTip(
            "120 drawn toys with tags and truth masks, to try everything without own images"
        )
        self.sample.clicked.connect(self.take_sample)

        headline = QLabel("New project", self)
        headline.setProperty("wsss", "title")
        form = _form()
        form.addRow("Images", self.images)
        form.addRow("", self.counted)
        form.addRow("Tags", self.tags)
        form.addRow("Classes", self.classes)
        form.addRow("Save as", self.root)
        more = QWidget(self)
        truth = _form()
        more.setLayout(truth)
        truth.addRow("Truth", self.truth)
        truth.addRow("Its order", self.truth_classes)
        self.more = Fold("Truth masks, for evaluation", more, self)
        self.more.head.setToolTip(
            "Masks drawn by people, if there are any: results are measured against them"
        )
        buttons = QHBoxLayout()
        buttons.addWidget(self.sample)
        buttons.addStretch(1)
        buttons.addWidget(self.cancel)
        buttons.addWidget(self.create)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(headline)
        column.addLayout(form)
        column.addWidget(self.more)
        column.addWidget(self.fault)
        column.addLayout(buttons)
        column.addStretch(1)

        for entry in (self.images, self.tags, self.root):
            entry.changed.connect(self._check)
        self.classes.textChanged.connect(self._check)
        self.root.line.textEdited.connect(self._name_given)
        self._check()

    def begin(self, paths: Sequence[Path] = ()) -> None:
        """Start over, with what was dropped filled in."""
        self._named = False
        for entry in (self.images, self.tags, self.root, self.truth):
            entry.set_text("")
        self.classes.clear()
        self.fault.clear()
        self.take(paths)

    def take(self, paths: Sequence[Path]) -> None:
        """Fill in dropped folders and files."""
        for path in paths:
            if path.is_dir():
                self.images.set_text(str(path))
            elif is_tag_file(path):
                self.tags.set_text(str(path))
            elif path.suffix.lower() in _IMAGES:
                self.images.set_text(str(path.parent))
        self._check()

    def take_sample(self) -> None:
        """Fill in the bundled sample; the project is made in the person's own folder."""
        sample = resource("sample")
        self._named = True
        self.images.set_text(str(sample / "images"))
        self.tags.set_text(str(sample / "tags.csv"))
        self.truth.set_text(str(sample / "masks"))
        self.truth_classes.clear()
        self.classes.clear()
        self.root.set_text(str(_free(Path.home() / "wsss_sample")))
        self._check()

    def job(self) -> New | None:
        """Return the job, or None while something it needs is missing."""
        if not self._ready():
            return None
        names = tuple(n.strip() for n in self.classes.text().split(",") if n.strip())
        truth = self.truth.text() or None
        return New(
            project=self.root.text(),
            images=self.images.text(),
            tags=self.tags.text() or None,
            class_names=names,
            truth=truth,
            truth_classes=(self.truth_classes.text().strip() or None) if truth else None,
        )

    def _ready(self) -> bool:
        named = any(n.strip() for n in self.classes.text().split(","))
        return bool(self.images.text() and self.root.text() and (self.tags.text() or named))

    def _name_given(self) -> None:
        self._named = True

    def _check(self) -> None:
        folder = self.images.text()
        if folder and not self._named:
            place = Path(folder).expanduser()
            self.root.set_text(str(_free(place.parent / f"{place.name or 'images'}_project")), quiet=True)
        counted = count_images(Path(folder).expanduser()) if folder else ""
        lacks = "" if not folder or self._ready() else " · now give tags or classes"
        self.counted.setText(f"{counted}{lacks}")
        self.create.setEnabled(self._ready())

    def _submit(self) -> None:
        job = self.job()
        if job is None:
            return
        self.fault.clear()
        self.create.setEnabled(False)
        self.create.setText("Looking at the images …")
        if not self.desk.submit(job, then=lambda event: self._ended(job, event), quiet=True):
            self._unlock()

    def _unlock(self) -> None:
        self.create.setText("Make the project")
        self._check()

    def _ended(self, job: New, event: Event) -> None:
        self._unlock()
        if isinstance(event, Finished):
            if self.desk.guard(self.desk.session.open, job.project) is not None:
                self.made.emit()
        elif isinstance(event, Failed):
            self.fault.setText("\n".join(p for p in (event.message, event.hint) if p))


def _path(placeholder: str, tip: str, *, folder: bool) -> PathLine:
    title = f"Choose: {tip[0].lower()}{tip[1:]}"
    kind = {"folder": "A folder…"} if folder else {"file": "A file…"}
    return PathLine(tip, title, placeholder=placeholder, **kind)


def _form() -> QFormLayout:
    form = QFormLayout()
    form.setContentsMargins(0, 0, 0, 0)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
    return form


def _free(path: Path) -> Path:
    """Return the path, or the first numbered one that nothing stands at."""
    candidate, n = path, 1
    while candidate.exists():
        n += 1
        candidate = path.with_name(f"{path.name}_{n}")
    return candidate
