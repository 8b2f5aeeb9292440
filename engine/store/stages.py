"""What was made from which maps: a seed, its refinements, and the refinements of those."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.store.names import is_name
from engine.store.runs import Views, runs_of

__all__ = ["Stage", "stages_of"]


@dataclass(frozen=True)
class Stage:
    """Views, and by which refiners they came from their seed: `seed`, `+CRF`, `+CRF +PAR`."""

    views: Views
    name: str


@dataclass(frozen=True)
class _Made:
    views: Views
    source: str
    """RUN/VIEWS that it was made from, empty for a seed."""
    refiner: str
    created: str


def stages_of(root: Path, source: Views) -> list[Stage]:
    """Return the source and every refinement made from it, directly or over others, in order of making.

    Sources that are gone end a chain, and those that run in a circle are passed once: run
    folders are copied, renamed and deleted by hand.

    Args:
        root: Folder of the project.
        source: The first stage; a refinement itself is named by its way from the seed.
    """
    made = {str(found.views): found for found in _all_maps(root)}
    children: dict[str, list[str]] = {}
    for place, one in made.items():
        children.setdefault(one.source, []).append(place)
    first = str(source)
    # Place -> (time, steps from the source). A run may be older than the one whose maps it refines, as
    # a trained affinity network is; it counts as made no earlier than those.
    order = {first: ("", 0)}
    waiting = [first]
    while waiting:
        parent = waiting.pop()
        since, depth = order[parent]
        for place in children.get(parent, []):
            if place not in order:
                order[place] = (max(since, made[place].created), depth + 1)
                waiting.append(place)
    places = sorted(order, key=lambda place: (*order[place], place))
    return [Stage(source if p == first else made[p].views, _name(p, made)) for p in places]


def _all_maps(root: Path) -> list[_Made]:
    found = []
    for run in runs_of(root):
        for views in run.all_views():
            # One views.json that others damaged must not hide every table of the project.
            facts = views.facts
            kinds, said, method = facts.get("kinds", ["cams"]), facts.get("source"), facts.get("method")
            if not isinstance(kinds, list) or "cams" not in kinds:
                continue
            run_id, _, name = (said if isinstance(said, str) else "").partition("/")
            place = f"{run_id}/{name or 'default'}" if run_id else ""
            refiner = method if isinstance(method, str) and is_name(method) else "refined"
            found.append(_Made(views, place, refiner, str(run.facts.get("created", ""))))
    return found


def _name(place: str, made: dict[str, _Made]) -> str:
    refiners: list[str] = []
    seen: set[str] = set()
    while place in made and place not in seen and made[place].source:
        seen.add(place)
        refiners.append(f"+{made[place].refiner.upper()}")
        place = made[place].source
    return " ".join(reversed(refiners)) or "seed"
