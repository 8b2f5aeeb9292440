"""The bottom of every dock: one line a job, always visible while there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from engine.messages import Train
from wsss_napari.desk import Desk

if TYPE_CHECKING:
    from wsss_napari.worker import JobLine

__all__ = ["JobsBar", "job_title", "time_left"]

_FORCE_AFTER_MS = 3000
_ENDED = ("finished", "failed", "stopped")
_WORDS = {
    "new": "Making the project",
    "relink": "Relinking",
    "methods": "Listing the methods",
    "train": "Training",
    "infer": "Drawing maps",
    "climb": "Climbing",
    "film": "Writing the film",
    "study": "Studying",
    "refine": "Refining",
    "prototypes": "Looking at prototypes",
    "boxes": "Measuring boxes",
    "label": "Making masks",
    "evaluate": "Measuring",
    "queue": "Ranking the images",
    "export": "Exporting",
    "import": "Importing",
    "rerun": "Training again",
}
# Asked for by the window itself, answered in a blink: no line for them.
_SILENT = ("methods",)


def job_title(job: Any) -> str:
    """Return what a job does, in words."""
    words = _WORDS.get(job.VERB, job.VERB)
    if isinstance(job, Train):
        return f"{words} {job.method}"
    what = getattr(job, "run", None) or getattr(job, "name", None) or getattr(job, "labels", None)
    return f"{words}: {what}" if what else words


def time_left(seconds: float | None) -> str:
    """Return `1:12 left`, or an empty string when it is not known."""
    if seconds is None:
        return ""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    clock = f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
    return f"{clock} left"


class _Line(QWidget):
    """One job: what it does, how far it is, Stop. A click on its title opens its log."""

    def __init__(self, bar: JobsBar, job_id: str) -> None:
        super().__init__(bar)
        self.bar = bar
        self.id = job_id
        self.title = QElidingLabel(self)
        self.title.setMinimumWidth(60)
        self.title.setCursor(Qt.CursorShape.PointingHandCursor)
        self.title.mousePressEvent = lambda _: self.bar.show_log(self.id)  # type: ignore[method-assign]
        self.progress = QProgressBar(self)
        self.progress.setTextVisible(False)
        self.progress.setFixedHeight(4)
        self.progress.setProperty("wsss", "thin")
        self.left = QLabel(self)
        self.left.setProperty("wsss", "note")
        self.stop = QPushButton("Stop", self)
        self.stop.setToolTip("Stop after the current step and keep what is done")
        self.stop.clicked.connect(self._stop)
        self.clear = QToolButton(self)
        self.clear.setText("✕")
        self.clear.setToolTip("Take this line away")
        self.clear.setProperty("wsss", "quiet")
        self.clear.clicked.connect(lambda: self.bar.clear(self.id))
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.setInterval(_FORCE_AFTER_MS)
        self._patience.timeout.connect(self._offer_force)
        self._forced = False
        row = QHBoxLayout()
        row.setSpacing(6)
        row.addWidget(self.title, 1)
        row.addWidget(self.left)
        row.addWidget(self.stop)
        row.addWidget(self.clear)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 3, 8, 3)
        column.setSpacing(2)
        column.addLayout(row)
        column.addWidget(self.progress)

    def show_line(self, line: JobLine) -> None:
        ended = line.state in _ENDED
        progress = line.progress
        title = job_title(line.job)
        marks = {"finished": "✓", "failed": "✗", "stopped": "■", "queued": "…"}
        suffix = {"queued": " (waiting)", "starting": " (starting the engine)", "stopping": " (stopping)"}
        counted = ""
        if progress is not None and not ended and progress.total:
            counted = f" · {progress.phase} {progress.done}/{progress.total}".replace("  ", " ")
        silent = line.state in ("running", "stopping") and not self.bar.desk.engine.answering
        state = " (not answering)" if silent else suffix.get(line.state, counted)
        self.title.setText(f"{marks.get(line.state, '▶')} {title}{state}")
        self.title.setToolTip(f"{title}: {line.state}\nClick for its log.")
        self.progress.setVisible(not ended and line.state != "queued")
        if progress is not None and progress.total:
            self.progress.setRange(0, progress.total)
            self.progress.setValue(progress.done)
        else:
            self.progress.setRange(0, 0)
        left = "" if progress is None or ended else time_left(progress.seconds_left)
        self.left.setText(left)
        self.stop.setVisible(not ended)
        self.clear.setVisible(ended)
        if ended:
            self._patience.stop()

    def _stop(self) -> None:
        if self._forced:
            self.stop.setEnabled(False)
            self.bar.desk.engine.force_stop()
            return
        self.stop.setEnabled(False)
        self._patience.start()
        self.bar.desk.engine.stop(self.id)

    def _offer_force(self) -> None:
        self._forced = True
        self.stop.setText("Force stop")
        self.stop.setToolTip(
            "End the engine's process now; what was saved is kept and the run can be resumed"
        )
        self.stop.setEnabled(True)


class JobsBar(QWidget):
    """The engine's jobs. Finished ones stay until cleared or until the next one starts."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk = desk
        self._lines: dict[str, _Line] = {}
        self._cleared: set[str] = set()
        self._log: QDialog | None = None
        self._log_of = ""
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 2)
        self._column.setSpacing(0)
        self.hide()
        desk.when_engine(self._connect)

    def _connect(self, engine: Any) -> None:
        engine.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the jobs as they stand."""
        lines = [
            line
            for line in self.desk.engine.jobs
            if line.job.VERB not in _SILENT and line.job.id not in self._cleared
        ]
        running = [line for line in lines if line.state not in _ENDED]
        # Of those that ended only the last few matter.
        ended = [line for line in lines if line.state in _ENDED][-2:]
        shown = [line for line in lines if line in running or line in ended]
        for job_id in [i for i in self._lines if i not in {line.job.id for line in shown}]:
            widget = self._lines.pop(job_id)
            self._column.removeWidget(widget)
            widget.hide()
            widget.deleteLater()
        for line in shown:
            if line.job.id not in self._lines:
                self._lines[line.job.id] = _Line(self, line.job.id)
                self._column.addWidget(self._lines[line.job.id])
            self._lines[line.job.id].show_line(line)
        self.setVisible(bool(shown))
        if self._log is not None and self._log.isVisible():
            self._fill_log()

    def clear(self, job_id: str) -> None:
        """Take the line of an ended job away."""
        self._cleared.add(job_id)
        self.refresh()

    def show_log(self, job_id: str) -> None:
        """Show what a job said."""
        if self._log is None:
            self._log = QDialog(self)
            self._log.resize(560, 360)
            QVBoxLayout(self._log).addWidget(QPlainTextEdit(self._log))
        self._log_of = job_id
        self._fill_log()
        self._log.show()
        self._log.raise_()

    def _fill_log(self) -> None:
        line = self.desk.engine.line(self._log_of)
        if line is None or self._log is None:
            return
        self._log.setWindowTitle(f"{job_title(line.job)}: {line.state}")
        text = self._log.findChild(QPlainTextEdit)
        content = "\n".join(line.log) or "It has said nothing yet."
        if text is not None and text.toPlainText() != content:
            text.setReadOnly(True)
            text.setPlainText(content)
            text.verticalScrollBar().setValue(text.verticalScrollBar().maximum())
