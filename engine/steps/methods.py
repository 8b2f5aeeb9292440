"""List the methods: their cards, their parameter tables, the backbones and the studies on offer."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from typing import Any

from engine.messages import Event, Methods
from engine.methods import list_methods, method_class, tables_of
from engine.nets.catalogue import list_backbones
from engine.params import describe
from engine.studies import list_studies
from engine.train.plan import Plan
from engine.work import Work

__all__ = ["run"]


def run(job: Methods, desk: Work) -> Generator[Event, None, dict[str, Any]]:
    """Return every method as plain data; a file that fails to import is listed with the reason."""
    plan = [dataclasses.asdict(f) for f in describe(Plan)]
    rows = []
    for card in list_methods():
        row = dataclasses.asdict(card)
        if card.available:
            row |= {**tables_of(method_class(card.name)), "plan": plan}
        rows.append(row)
    return {"methods": rows, "backbones": list_backbones(), "studies": list_studies()}
    yield  # a step is a generator even when it has nothing to tell
