"""A chain of refiners as data: its cards, the boxes that there are of it, the jobs that make it. No Qt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.labels import LabelRule
from engine.store import Project, Run, Views, free_name, is_name, runs_of
from wsss_napari.map_files import OTHERS, views_title

__all__ = [
    "LOCAL",
    "NETWORK_FIELD",
    "REFINERS",
    "Link",
    "MadeBox",
    "Station",
    "boxes_from",
    "chain_words",
    "networks_of",
    "route",
    "rule_of",
    "source_text",
    "sources_of",
]

#: In the order of the buttons.
REFINERS = ("crf", "psa", "irn", "par")
#: Those that need no network and can be previewed at once.
LOCAL = ("crf", "par")
NETWORK_FIELD = "network"
_LONGEST = 40
_DEFAULT_RULE = LabelRule()


@dataclass(frozen=True)
class Link:
    """One card of the chain.

    Attributes:
        refiner: One of REFINERS.
        settings: What differs from the defaults, JSON-ready.
        network: Id of the trained run that psa and irn walk with, else an empty string.
    """

    refiner: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    network: str = ""

    @property
    def all_settings(self) -> dict[str, Any]:
        """The settings of the job."""
        return {**({NETWORK_FIELD: self.network} if self.network else {}), **self.settings}


@dataclass(frozen=True)
class MadeBox:
    """Views that a refiner made.

    Attributes:
        views: The box.
        refiner: What made it.
        source: RUN/VIEWS it was made from.
        settings: All settings it was made with.
        chain: Names of the refiners from the source that was asked about to this box.
        path: RUN/VIEWS of each box on this way, itself last.
        first: Settings of the first of them, which made masks of the source's maps.
        network: Id of the run whose network it walked with, or an empty string.
    """

    views: Views
    refiner: str
    source: str
    settings: Mapping[str, Any]
    chain: tuple[str, ...]
    path: tuple[str, ...]
    first: Mapping[str, Any]
    network: str

    @property
    def title(self) -> str:
        """How people call it."""
        return views_title(self.views)

    @property
    def key(self) -> str:
        """RUN/VIEWS."""
        return str(self.views)


@dataclass(frozen=True)
class Station:
    """One station of the route: the job without its images, the box it makes, and whether that is there."""

    link: Link
    source: str
    run: str
    there: bool

    @property
    def key(self) -> str:
        """RUN/VIEWS of the box."""
        return f"{self.run}/default"

    def fields(self, split: str | None, images: tuple[str, ...], keep: bool) -> dict[str, Any]:
        """Return the fields of its Refine job."""
        return {
            "refiner": self.link.refiner,
            "source": self.source,
            "split": split,
            "images": images,
            "settings": self.link.all_settings,
            "run": self.run,
            "keep": keep,
        }


def networks_of(project: Project, refiner: str) -> list[Run]:
    """Return the trained networks of a refiner, newest first."""
    runs = reversed(runs_of(project.root))
    return [r for r in runs if r.is_network and r.method == refiner and r.status == "finished"]


def sources_of(project: Project) -> list[Views]:
    """Return all views that hold maps, refined or not, those drawn last first."""
    found = []
    for run in runs_of(project.root):
        for views in run.all_views():
            if views.name != OTHERS and views.has_maps:
                found.append(((views.folder / "views.json").stat().st_mtime_ns, views))
    return [views for _, views in sorted(found, key=lambda pair: pair[0], reverse=True)]


def source_text(views: Views) -> str:
    """Return how a job names views: RUN, or RUN/VIEWS."""
    return views.run.id if views.name == "default" else str(views)


def boxes_from(project: Project, source: str) -> list[MadeBox]:
    """Return the boxes that were made from RUN/VIEWS, directly or over others, the newest first."""
    made: dict[str, tuple[Views, str, dict[str, Any]]] = {}
    for views in sources_of(project):
        facts = views.facts
        if facts.get("source") and facts.get("method") in REFINERS:
            made[str(views)] = (views, _full(str(facts["source"])), facts)
    found = []
    for key, (views, before, facts) in made.items():
        path, at = [key], before
        while at != source and at in made and at not in path:
            path.insert(0, at)
            at = made[at][1]
        if at == source:
            chain = tuple(str(made[k][2]["method"]) for k in path)
            first = _settings(made[path[0]][2])
            network = str(facts.get(NETWORK_FIELD) or "")
            found.append(
                MadeBox(views, chain[-1], before, _settings(facts), chain, tuple(path), first, network)
            )
    return found


def chain_words(chain: Sequence[str]) -> str:
    """Return `+CRF +PSA`."""
    return " ".join(f"+{name.upper()}" for name in chain)


def route(
    project: Project,
    source: Views,
    links: Sequence[Link],
    boxes: Sequence[MadeBox],
    defaults: Callable[[str], Mapping[str, Any]],
) -> list[Station]:
    """Return where each card of a chain leads: the box that was made the same way before, or a new one.

    Args:
        project: The open project.
        source: Where the chain begins.
        links: Its cards.
        boxes: Those that were made from the source.
        defaults: Returns setting -> default of a refiner.
    """
    chosen: set[str] = set()
    stops = []
    at, run = source_text(source), source.run.id
    for link in links:
        same = next((b for b in boxes if _made_so(b, at, link, defaults(link.refiner))), None)
        if same is not None:
            run = same.views.run.id
        else:
            wanted = f"{run[:_LONGEST]}-{link.refiner}"
            run = free_name(wanted, lambda name: name in chosen or (project.root / "runs" / name).exists())
        chosen.add(run)
        stops.append(Station(link, at, run, same is not None))
        at = run
    return stops


def rule_of(settings: Mapping[str, Any]) -> LabelRule:
    """Return the rule by which a source without a background score becomes a mask, as a refiner's settings say.

    Raises:
        UserError: The rule cannot be read.
    """
    background = settings.get("background")
    if isinstance(background, str):
        return LabelRule.parse(background)
    if isinstance(background, float) and 0 <= background <= 1:
        return LabelRule("constant", background)
    return _DEFAULT_RULE


def _full(source: str) -> str:
    return source if "/" in source else f"{source}/default"


def _settings(facts: Mapping[str, Any]) -> dict[str, Any]:
    found = facts.get("settings")
    return found if isinstance(found, dict) else {}


def _made_so(box: MadeBox, source: str, link: Link, defaults: Mapping[str, Any]) -> bool:
    """Return whether a job of this card would go on with this box."""
    if box.refiner != link.refiner or box.source != _full(source) or not is_name(box.views.run.id):
        return False
    if box.views.name != "default" or not box.views.run.is_refinement:
        return False
    wanted = {**defaults, **link.all_settings}
    return all(_plain(box.settings.get(k, defaults.get(k))) == _plain(v) for k, v in wanted.items())


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple)) else value
