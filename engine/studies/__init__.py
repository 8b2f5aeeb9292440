"""The studies: this folder is their registry, a file is a study of climbing on a split.

A file states, beside its docstring:

    TITLE, SENTENCE   what people read
    SOURCE            figure or table of the AdvCAM paper that it repeats
    NEEDS_TRUTH       whether it measures against truth masks
    COUNT             images that are looked at when nobody says how many
    CLIMBS            times that each image is climbed
    LOOKS             (optional) times that the network merely looks at an image
    DEFAULTS          settings of the climb that differ from the defaults of `ClimbSettings`
    Settings          (optional) a frozen dataclass of its own settings
    choose            (optional) (project, stems, own settings) -> the images that can be looked at
    run               (subject) -> generator of events that returns a Figure

Files that begin with `_` are no studies. Studies may open truth masks; methods may not.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.climb_settings import ClimbSettings
from engine.errors import UserError, nearest
from engine.messages import Event
from engine.params import Field, describe, parse, presets
from engine.results import Figure
from engine.store import Project
from engine.store.truth import has_truth
from engine.studies._subject import Subject

__all__ = ["StudyFile", "Subject", "list_studies", "study_named"]

# A climb that ends early has no map for the later steps, and a study keeps no trace.
_UNUSED = ("plateau", "keep")
# mobilenet_v2 at 500 x 375 px with its mirror image and one class, on two cores.
_STEP_SECONDS, _LOOK_SECONDS = 0.5, 0.08


@dataclass(frozen=True)
class NoSettings:
    """A study without settings of its own."""


@dataclass(frozen=True)
class StudyFile:
    """One study, as its file states it."""

    name: str
    title: str
    sentence: str
    source: str
    needs_truth: bool
    count: int
    climbs: int
    looks: int
    defaults: Mapping[str, Any]
    settings: type[Any]
    choose: Callable[[Project, Sequence[str], Any], list[str]]
    run: Callable[[Subject], Generator[Event, None, Figure]]

    @property
    def seconds(self) -> float:
        """About how long an image takes with mobilenet_v2 at 500 x 375 px on two cores, by default."""
        steps = self.parse({})[1].steps + 1
        return self.climbs * steps * _STEP_SECONDS + self.looks * _LOOK_SECONDS

    def fields(self) -> tuple[Field, ...]:
        """Return its own settings, then those of the climb with the defaults of this study."""
        climbing = (
            dataclasses.replace(f, default=self.defaults.get(f.name, f.default))
            for f in describe(ClimbSettings)
        )
        return (*describe(self.settings), *(f for f in climbing if f.name not in _UNUSED))

    def parse(self, settings: Mapping[str, Any]) -> tuple[Any, ClimbSettings]:
        """Return its own settings and those of the climb.

        Args:
            settings: Name -> text or value, both kinds together; `preset` is one of the climb's.

        Raises:
            UserError: A name is unknown (the nearest is suggested), or a value cannot be used.
        """
        names = [f.name for f in self.fields()]
        for name in settings:
            if name != "preset" and name not in names:
                raise UserError(
                    f"There is no parameter '{name}'.",
                    f"Parameters: {', '.join(names)}.",
                    nearest(name, names),
                )
        mine = {f.name for f in describe(self.settings)}
        own = parse(self.settings, {k: v for k, v in settings.items() if k in mine})
        given = {k: v for k, v in settings.items() if k not in mine}
        # What a preset sets is what the person asked for; the study's own defaults yield to it.
        chosen = presets(ClimbSettings).get(str(given.get("preset")), {})
        defaults = {k: v for k, v in self.defaults.items() if k not in chosen}
        return own, parse(ClimbSettings, {**defaults, **given})


def list_studies() -> list[dict[str, Any]]:
    """Return the studies as plain data, by name.

    Each has `name`, `title`, `sentence`, `source`, `needs_truth`, `count` (images at most by
    default), `seconds` (about, an image of one class with mobilenet_v2 at 500 x 375 px on two
    cores), `climbs` (times that an image is climbed; its time grows with these times `steps`),
    `parameters` (a table as of `engine.params.describe`) and `presets` of the climb.
    """
    plain = ("name", "title", "sentence", "source", "needs_truth", "count", "seconds", "climbs")
    return [
        {
            **{key: getattr(study, key) for key in plain},
            "parameters": [dataclasses.asdict(f) for f in study.fields()],
            "presets": presets(ClimbSettings),
        }
        for study in map(study_named, _names())
    ]


def study_named(name: str) -> StudyFile:
    """Return a study.

    Raises:
        UserError: There is none of that name; all are listed, and the nearest is suggested.
    """
    names = _names()
    if name not in names:
        raise UserError(f"There is no study '{name}'.", f"Studies: {', '.join(names)}.", nearest(name, names))
    file = importlib.import_module(f"engine.studies.{name}")
    return StudyFile(
        name=name,
        title=file.TITLE,
        sentence=file.SENTENCE,
        source=file.SOURCE,
        needs_truth=file.NEEDS_TRUTH,
        count=file.COUNT,
        climbs=file.CLIMBS,
        looks=getattr(file, "LOOKS", 0),
        # One scale where nobody asks for more: a study climbs many times.
        defaults={"scales": (1.0,), **file.DEFAULTS},
        settings=getattr(file, "Settings", NoSettings),
        choose=getattr(file, "choose", _with_truth if file.NEEDS_TRUTH else _any),
        run=file.run,
    )


def _names() -> list[str]:
    names = [m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")]
    names.sort()  # `sorted` is a study here once it is imported
    return names


def _any(project: Project, stems: Sequence[str], own: Any) -> list[str]:
    return list(stems)


def _with_truth(project: Project, stems: Sequence[str], own: Any) -> list[str]:
    return [s for s in stems if has_truth(project, s)]
