"""List the methods: their cards, their parameter tables, the backbones and the studies on offer."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from engine.messages import Event, Methods
from engine.methods import list_methods, method_class, tables_of
from engine.nets.catalogue import list_backbones
from engine.params import describe, presets
from engine.refiners import REFINERS
from engine.studies import list_studies
from engine.train.plan import Plan
from engine.work import Work

__all__ = ["list_refiners", "run"]


def run(job: Methods, desk: Work) -> Generator[Event, None, dict[str, Any]]:
    """Return every method as plain data; a file that fails to import is listed with the reason."""
    plan = [dataclasses.asdict(f) for f in describe(Plan)]
    rows = []
    for card in list_methods():
        row = dataclasses.asdict(card)
        if card.available:
            row |= {**tables_of(method_class(card.name)), "plan": plan}
        rows.append(row)
    return {
        "methods": rows,
        "backbones": list_backbones(),
        "studies": list_studies(),
        "refiners": list_refiners(rows),
    }
    yield  # a step is a generator even when it has nothing to tell


def list_refiners(methods: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what refines maps as plain data: those that need no network, then methods that train one.

    Args:
        methods: Rows of the methods.
    """
    plain = [
        {
            "name": name,
            "title": refiner.title,
            "sentence": refiner.sentence,
            "needs": "",
            "fields": [dataclasses.asdict(f) for f in describe(refiner.settings)],
            "presets": presets(refiner.settings),
        }
        for name, refiner in REFINERS.items()
    ]
    taught = [
        {
            "name": row["name"],
            "title": row["title"],
            "sentence": row["sentence"],
            "needs": "network",
            "fields": row["infer"],
            "presets": row["presets"]["infer"],
        }
        for row in methods
        if row["available"] and row["refines"]
    ]
    return plain + taught
