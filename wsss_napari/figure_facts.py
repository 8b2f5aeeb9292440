"""The figures of a run on disk, and what is known of one in words. No Qt."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from engine.errors import UserError
from engine.params import text_of
from engine.results import Figure
from engine.store import Run
from wsss_napari.figure_scale import number

__all__ = ["Kept", "facts_line", "figure_path", "kept_figures", "settings_line", "when_text"]

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LONGEST = 120
# Settings of a climb that people compare first.
_TOLD = ("steps", "step", "lam", "tau", "background_below")


@dataclass(frozen=True)
class Kept:
    """A figure that a study left in its run; `figure` is None where the file is damaged, and `fault` says how."""

    study: str
    path: Path
    when: datetime
    figure: Figure | None
    fault: str = ""


def figure_path(run: Run, study: str) -> Path:
    """Return where a study of a run keeps its figure."""
    return run.folder / "studies" / f"{study}.json"


def kept_figures(run: Run) -> dict[str, Kept]:
    """Return study -> the figure that it left in the run."""
    found = {}
    for path in sorted((run.folder / "studies").glob("*.json")):
        try:
            stat = path.stat()
            found[path.stem] = _read(path, stat.st_mtime_ns, stat.st_size)
        except FileNotFoundError:
            continue  # deleted meanwhile
    return found


def facts_line(facts: Mapping[str, Any], keys: Sequence[str] = ("run", "split", "images")) -> str:
    """Return what a figure was measured on: `run cam · split train · 40 images · steps 30, lam 7`."""
    parts = []
    for key in keys:
        value = facts.get(key)
        if key == "images" and value is not None:
            count = len(value) if isinstance(value, list) else value
            parts.append(f"{count} image{'s' if count != 1 else ''}")
        elif value:
            parts.append(f"{key} {value}"[:_LONGEST])
    climb = facts.get("climb")
    settings = facts.get("settings")
    told = {k: climb[k] for k in _TOLD if k in climb} if isinstance(climb, Mapping) else {}
    if isinstance(settings, Mapping):
        told |= {str(k): v for k, v in settings.items() if v not in ("", None)}
    return " · ".join([*parts, settings_line(told)] if told else parts)


def settings_line(settings: Mapping[str, Any]) -> str:
    """Return settings as `steps 10, lam 7`."""
    return ", ".join(f"{k.replace('_', ' ')} {_text(v)}"[:_LONGEST] for k, v in settings.items())


def when_text(when: datetime) -> str:
    """Return `20 Nov 17:08`."""
    # strftime would follow the locale of the machine, and the rest of the window is in English.
    return f"{when.day} {_MONTHS[when.month - 1]} {when:%H:%M}"


def _text(value: Any) -> str:
    return number(value) if isinstance(value, float) else text_of(value)


@functools.lru_cache(maxsize=64)
def _read(path: Path, mark: int, _size: int) -> Kept:
    when = datetime.fromtimestamp(mark / 1e9)
    try:
        figure = Figure.load(path)
    except UserError as error:
        return Kept(path.stem, path, when, None, str(error))
    return Kept(path.stem, path, when, figure)
