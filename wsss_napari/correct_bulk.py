"""Many images at once: what the queue's menu offers, the form that says what it will do, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QMenu,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from engine.params import Field
from engine.tools import convert, fill_holes, remove_specks, smooth
from wsss_napari.correct_bulk_run import BulkRun
from wsss_napari.correct_bulk_work import Deed, EditDeed, StateDeed, Tally
from wsss_napari.correct_tool_options import Options, chosen, refill
from wsss_napari.correction import UNSURE
from wsss_napari.corrections import Corrections
from wsss_napari.desk import Desk

__all__ = ["DEEDS", "BulkPanel"]

#: What the menu offers: key -> (its words, title of the form). Keys of the last three are review states.
DEEDS: dict[str, tuple[str, str]] = {
    "specks": ("Remove specks…", "Remove specks"),
    "holes": ("Fill holes…", "Fill holes"),
    "smooth": ("Smooth borders…", "Smooth borders"),
    "convert": ("Convert a class…", "Convert"),
    "approved": ("Approve…", "Approve"),
    "needs review": ("Set to “needs review”…", "Set to “needs review”"),
    "skipped": ("Skip…", "Skip"),
}
_EDITS = ("specks", "holes", "smooth", "convert")
_GREY = "#8A8F98"
_TOLD = 3


class BulkPanel(QFrame):  # type: ignore[misc]
    """A card that is hidden until the menu is used.

    Args:
        desk: The desk of the viewer.
        corrections: The masks of the open project.
        listed: Returns the images it is about, as the queue lists them.
        states: Returns the review state of each.
        parent: Qt parent.

    Attributes:
        button: Opens the menu; whoever shows the panel places it.

    Signals:
        ended: Something was done to many images.
        opened: (on) the form was opened, or put away.
    """

    ended = Signal()
    opened = Signal(bool)

    def __init__(
        self,
        desk: Desk,
        corrections: Corrections,
        listed: Callable[[], Sequence[str]],
        states: Callable[[], Mapping[str, str]],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._desk = desk
        self._listed = listed
        self._states = states
        self._corrections = corrections
        self.key = ""
        self.run = BulkRun(corrections, self)
        self._deed: Deed | None = None
        self._build()
        self.run.progressed.connect(self._progressed)
        self.run.ended.connect(self._over)
        desk.session.events.project.connect(self._opened)
        desk.session.classes_changed.connect(self._fill)
        self._fill()
        self.hide()

    def _build(self) -> None:
        self.setProperty("wsss", "card")
        self.button = QToolButton(self.parentWidget())
        self.button.setText("All listed ▾")
        self.button.setToolTip("Change or decide about all images that the list shows, in one go")
        self.button.setProperty("wsss", "quiet")
        self.button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.menu = QMenu(self.button)
        for key, (words, _title) in DEEDS.items():
            if key == "approved":
                self.menu.addSeparator()
            action = self.menu.addAction(words)
            assert action is not None
            action.setData(key)
        self.menu.triggered.connect(lambda action: self.begin(str(action.data())))
        self.button.setMenu(self.menu)
        self.title = QLabel(self)
        self.title.setProperty("wsss", "title")
        self.options = Options(self)
        self.options.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.of = self.options.choice("Of", (), "Whose regions are mended")
        self.smallest = self.options.number(
            "Smaller than",
            Field("smallest", "int", 64, "", low=2, high=10**6, unit="px"),
            "Regions of fewer pixels than this go to what surrounds them",
        )
        self.radius = self.options.number(
            "Radius",
            Field("radius", "int", 3, "", low=1, high=20, unit="px"),
            "Each pixel takes the value that most pixels of the disc around it have; the radius of the disc",
        )
        self.old = self.options.choice("From", (), "What is exchanged in each image")
        self.new = self.options.choice("To", (), "What it becomes")
        self.note = QLabel(self)
        self.note.setWordWrap(True)
        self.note.setTextFormat(Qt.TextFormat.PlainText)
        self.go = QPushButton("Begin", self)
        self.go.setToolTip("Begin; it can be stopped between two images")
        self.go.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.cancel = QPushButton("Not now", self)
        self.cancel.setToolTip("Close this form; nothing is changed")
        self.cancel.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.progress = QProgressBar(self)
        self.progress.setTextVisible(False)
        self.progress.setFixedHeight(6)
        self.progress.setProperty("wsss", "thin")
        row = QHBoxLayout()
        row.setSpacing(6)
        row.addWidget(self.go, 1)
        row.addWidget(self.cancel)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 6, 8, 6)
        column.setSpacing(6)
        for widget in (self.title, self.options, self.note, self.progress):
            column.addWidget(widget)
        column.addLayout(row)
        self.old.activated.connect(lambda _at: self.follow())
        self.new.activated.connect(lambda _at: self.follow())
        self.go.clicked.connect(lambda _on=False: self.start())
        self.cancel.clicked.connect(lambda _on=False: self._put_off())

    def begin(self, key: str) -> None:
        """Open the form of something that can be done."""
        if self.run.busy:
            return
        self.key = key
        self.title.setText(DEEDS[key][1])
        self.options.setVisible(key in _EDITS)
        for entry, keys in (
            (self.of, ("specks", "holes", "smooth")),
            (self.smallest, ("specks",)),
            (self.radius, ("smooth",)),
            (self.old, ("convert",)),
            (self.new, ("convert",)),
        ):
            self.options.show_row(entry, key in keys)
        self.progress.hide()
        self.go.show()
        self.cancel.setText("Not now")
        self.cancel.setToolTip("Close this form; nothing is changed")
        self.show()
        self.opened.emit(True)
        self.follow()

    def follow(self) -> None:
        """Say anew what it would do, as after the list or a setting changed."""
        if not self.key or self.isHidden() or self.run.busy or self.go.isHidden():
            return
        words, count = self._question()
        self._say(words)
        self.go.setText(f"{DEEDS[self.key][1]}: {_images(count)}")
        same = self.key == "convert" and chosen(self.old) == chosen(self.new)
        why = self._corrections.locked or ("Choose two that differ" if same else "")
        self.go.setEnabled(count > 0 and not why)
        self.go.setToolTip(why or "Begin; it can be stopped between two images")

    def start(self) -> None:
        """Do it to the images that are listed now."""
        deed = self._deed = self.deed()
        why = self.run.start(deed, self._listed())
        if why:
            self._say(why)
            return
        self.options.hide()
        self.go.hide()
        self._say(f"{deed.title} …")
        self.progress.show()
        self.button.setEnabled(False)
        self.cancel.setText("Stop")
        self.cancel.setToolTip("Begin no further image; what is done stays, each as a step of its own")

    def close_form(self) -> None:
        """Put the form away."""
        self.key = ""
        self.hide()
        self.opened.emit(False)

    def deed(self) -> Deed:
        """Return what the form says, as it stands."""
        key, title = self.key, DEEDS[self.key][1]
        if key not in _EDITS:
            return StateDeed(title, key)
        if key == "convert":
            old, new = int(chosen(self.old)), int(chosen(self.new))
            title = f"Convert {self._word(old)} to {self._word(new)}"
            return EditDeed(
                f"{title}, all listed", "convert", lambda m: convert(m, old, new), {"old": old, "new": new}
            )
        value = chosen(self.of)
        whose = "every class" if value is None else self._word(value)
        if key == "specks":
            least = int(self.smallest.read())
            return EditDeed(
                f"{title} under {least} px: {whose}, all listed",
                "shape",
                lambda m: remove_specks(m, value, smallest=least),
                {"smallest": least, "value": value},
            )
        if key == "holes":
            return EditDeed(
                f"{title}: {whose}, all listed", "shape", lambda m: fill_holes(m, value), {"value": value}
            )
        radius = int(self.radius.read())
        return EditDeed(
            f"{title} by {radius} px: {whose}, all listed",
            "shape",
            lambda m: smooth(m, value, radius=radius),
            {"radius": radius, "value": value},
        )

    def _say(self, words: str) -> None:
        self.note.setText(words)
        # A splitter gives a part no more than its least height, in which wrapped lines do not count.
        margins = self.layout().contentsMargins()
        width = self.parentWidget().width() - margins.left() - margins.right() - 2
        self.note.setMinimumHeight(self.note.heightForWidth(max(width, 100)))

    def _question(self) -> tuple[str, int]:
        """Return what would be done and to how many images."""
        states = [self._states()[stem] for stem in self._listed()]
        done = states.count("approved")
        count = len(states) - done
        out = f" {_images(done).capitalize()} approved: left as they are." if done else ""
        if self.key in _EDITS:
            return (
                f"One step in the history of each of {_images(count)}, which are in progress then.{out}",
                count,
            )
        if self.key != "approved":
            return f"Of {_images(count)}; their masks stay as they are.{out}", count
        unseen = sum(state in ("unseen", "proposed") for state in states)
        rejected = states.count("rejected")
        said = [f"Approve {count:,} masks?"]
        if unseen:
            said.append(
                f"Nobody changed or decided about {unseen:,} of them: the engine's proposals are taken."
            )
        if rejected:
            said.append(f"{rejected:,} were rejected.")
        said.append("An approved mask is protected until it is reopened, one by one.")
        return " ".join(said) + out, count

    def _put_off(self) -> None:
        if self.run.busy:
            self.run.stop()
            self.cancel.setEnabled(False)
        else:
            self.close_form()

    def _progressed(self, done: int, total: int) -> None:
        self.progress.setRange(0, max(1, total))
        self.progress.setValue(done)
        assert self._deed is not None
        self._say(f"{self._deed.title}: {done:,} of {total:,}")

    def _over(self, tally: Tally) -> None:
        assert self._deed is not None
        self.progress.hide()
        self.button.setEnabled(True)
        self.cancel.setEnabled(True)
        self.cancel.setText("Close")
        self.cancel.setToolTip("Put this away")
        self._say(tally.words(self._deed.title))
        if tally.faults:
            self._desk.said("warning", "\n".join(tally.faults[:_TOLD]))
        self.ended.emit()

    def _opened(self, _project: object = None) -> None:
        self.close_form()
        self._fill()

    def _fill(self) -> None:
        """Offer the classes of the project."""
        project = self._desk.session.project
        names = () if project is None else project.classes
        colours = self._desk.colours
        classes = [(i + 1, name, colours[i]) for i, name in enumerate(names)]
        refill(self.of, [(None, "every class", ""), *classes], chosen(self.of))
        values = [(0, "background", _GREY), *classes, (UNSURE, "unsure", _GREY)]
        old, new = chosen(self.old), chosen(self.new)
        refill(self.old, values, 1 if old is None else old)
        refill(self.new, values, UNSURE if new is None else new)

    def _word(self, value: int) -> str:
        """Return what a value of the masks is called."""
        project = self._desk.session.project
        assert project is not None
        words = {0: "background", UNSURE: "unsure"}
        return words.get(value) or str(project.classes[value - 1])


def _images(count: int) -> str:
    return f"{count:,} image" if count == 1 else f"{count:,} images"
