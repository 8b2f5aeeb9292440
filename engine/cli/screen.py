"""What a person sees while a job runs: one line on stderr, and nothing where nobody looks."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from engine import messages
from engine.messages import Event

__all__ = ["Screen", "span"]


class Screen:
    """Shows the events of jobs on stderr; a context manager.

    On a terminal: phase, bar, done/total, time left and the latest numbers, on one line
    that goes away at the end. Elsewhere: sentences only.
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._live = sys.stderr is not None and sys.stderr.isatty()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}  {task.fields[left]}  {task.fields[numbers]}"),
            console=self._console,
            transient=True,
            disable=not self._live,
            # Ten messages a second at most arrive; drawing more often shows nothing new.
            refresh_per_second=10,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task: TaskID | None = None
        self._phase = ""
        self._numbers = ""
        self._began = time.monotonic()

    def __enter__(self) -> Screen:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    @property
    def seconds(self) -> float:
        """Seconds since this screen was made."""
        return time.monotonic() - self._began

    def show(self, event: Event) -> None:
        """Draw one event."""
        match event:
            case messages.Progress():
                self._advance(event)
            case messages.Metrics():
                self._numbers = "  ".join(f"{k} {v:.3g}" for k, v in list(event.values.items())[:4])
                if self._task is not None:
                    self._progress.update(self._task, numbers=self._numbers)
            case messages.Said():
                self.say(f"Warning: {event.text}" if event.level == "warning" else event.text)

    def say(self, text: str) -> None:
        """Print a sentence above the line."""
        self._console.print(text, soft_wrap=True)

    def clear(self) -> None:
        """Take the line away, as between two jobs."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task, self._phase, self._numbers = None, "", ""

    def _advance(self, event: messages.Progress) -> None:
        if self._task is None or event.phase != self._phase:
            self.clear()
            self._phase = event.phase
            self._task = self._progress.add_task(
                event.phase or "working", total=max(event.total, 1), left="", numbers=""
            )
        left = "" if event.seconds_left is None else f"{span(event.seconds_left)} left"
        self._progress.update(
            self._task, completed=event.done, total=max(event.total, 1), left=left, numbers=self._numbers
        )


def span(seconds: float) -> str:
    """Return a duration as people write it: `0.4 s`, `12 s`, `3:05`, `1:02:03`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
