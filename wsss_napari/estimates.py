"""What can be said of a wait before it begins, from what earlier runs took on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import UserError
from engine.messages import Finished, Infer
from engine.store import Project, Run

__all__ = ["Estimate", "bytes_text", "infer_text", "seconds_text", "train_estimate"]


@dataclass(frozen=True)
class Estimate:
    """Figures of a job that has not begun; None where nothing is known yet."""

    images: int
    epochs: int | None = None
    seconds: float | None = None
    basis: str = ""

    def text(self) -> str:
        """Return the figures as one line."""
        parts = [f"{self.images} image{'s' if self.images != 1 else ''}"]
        if self.epochs is not None:
            parts.append(f"{self.epochs} epoch{'s' if self.epochs != 1 else ''}")
        if self.seconds is not None:
            parts.append(f"about {seconds_text(self.seconds)}, going by {self.basis}")
        else:
            parts.append("time not known before the first run")
        return " · ".join(parts)


def train_estimate(
    project: Project, runs: Sequence[Run], *, split: str, backbone: str, epochs: int | None, crop: int | None
) -> Estimate:
    """Return what a training will take.

    Args:
        project: The open project.
        runs: Its runs, oldest first.
        split: Images to learn from.
        backbone: Name of the backbone.
        epochs, crop: What the form says; None leaves the choice to the engine, which chooses
            the same for the same images.
    """
    try:
        images = len(project.stems(split))
    except UserError:
        return Estimate(0)
    for run in reversed(runs):
        done = _pace(run)
        if done is None or (run.facts.get("params") or {}).get("backbone") != backbone:
            continue
        plan = run.facts["plan"]
        if epochs is None and len(run.facts["digests"]["stems"]) + len(run.facts.get("held", ())) == images:
            epochs = int(plan["epochs"])
        if epochs is None:
            continue
        # Time grows with the pixels of the crop.
        area = 1.0 if crop is None or not plan.get("crop") else (crop / plan["crop"]) ** 2
        return Estimate(images, epochs, done * images * epochs * area, run.title)
    return Estimate(images, epochs)


def infer_text(lines: Sequence[Any], images: int) -> str:
    """Return `about 2 min` for drawing maps, going by the last such job of this session, or an empty string.

    Args:
        lines: Jobs of the engine (`worker.JobLine`).
        images: How many images are to be drawn.
    """
    for line in reversed(lines):
        if isinstance(line.job, Infer) and isinstance(line.ending, Finished) and line.ended is not None:
            drawn = line.ending.result["images"] - line.ending.result["kept"]
            if drawn > 0:
                return f"about {seconds_text((line.ended - line.began) / drawn * images)}"
    return ""


def seconds_text(seconds: float) -> str:
    """Return `40 s`, `4 min`, `2 h 10 min`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def bytes_text(count: float) -> str:
    """Return `12 MB`, with one decimal below ten."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"


def _pace(run: Run) -> float | None:
    """Return the seconds that a finished run took per image and epoch, or None."""
    facts: dict[str, Any] = run.facts
    try:
        seconds, epochs = float(facts["seconds"]), int(facts["plan"]["epochs"])
        images = len(facts["digests"]["stems"])
    except (KeyError, TypeError, ValueError):
        return None
    return seconds / (images * epochs) if images and epochs and facts.get("status") == "finished" else None
