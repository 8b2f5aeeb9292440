"""The methods: this folder is their registry, a file is a method (see `engine.method`)."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
from collections.abc import Mapping
from typing import Any

from engine.errors import UserError, nearest
from engine.method import Card, Method
from engine.params import describe, presets

__all__ = ["card_of", "list_methods", "method_class", "tables_of"]


def list_methods() -> list[Card]:
    """Return the card of every file in the folder, those that fail to import with the reason."""
    return [card_of(name) for name in _names()]


def method_class(name: str) -> type[Method[Any, Any]]:
    """Return the class of a method.

    Raises:
        UserError: There is no such method, or its file cannot be imported.
    """
    names = _names()
    if name not in names:
        raise UserError(
            f"There is no method '{name}'.", f"Methods: {', '.join(names)}.", nearest(name, names)
        )
    try:
        found = importlib.import_module(f"engine.methods.{name}").METHOD
    except (Exception, SystemExit) as error:
        raise UserError(
            f"The method '{name}' cannot be used: {type(error).__name__}: {error}.",
            "The other methods are not touched by this.",
            "`wsss methods` lists what is available.",
        ) from error
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise UserError(f"engine/methods/{name}.py names no method in METHOD.", "", "See CONTRIBUTING.")
    return found


def card_of(name: str) -> Card:
    """Return the card of a method, read from its docstring and class."""
    try:
        cls = method_class(name)
        tables_of(cls)
    except UserError as error:
        return Card(name, name, "", "", (), (), (), (), 0, available=False, why_not=error.found)
    parts = _sections(inspect.getdoc(importlib.import_module(cls.__module__)) or "")
    return Card(
        name=name,
        title=cls.TITLE or name,
        sentence=" ".join(parts.get("", [])[:1]),
        citation=" ".join(parts.get("Citation", [])),
        departs=tuple(parts.get("Departs from the paper", [])),
        look=tuple(parts.get("Look at", [])),
        needs=cls.NEEDS,
        shows=cls.SHOWS,
        version=cls.VERSION,
        trains=cls.TRAINS,
        refines=cls.REFINES,
    )


def tables_of(cls: type[Method[Any, Any]]) -> dict[str, Any]:
    """Return the parameter tables of a method as plain data: train, infer and their presets.

    Raises:
        UserError: A parameter has a type that no form can show, or no default.
    """
    try:
        return {
            "train": [dataclasses.asdict(f) for f in describe(cls.Params)],
            "infer": [dataclasses.asdict(f) for f in describe(cls.Views)],
            "presets": {"train": presets(cls.Params), "infer": presets(cls.Views)},
        }
    except (AttributeError, NameError, TypeError) as error:
        raise UserError(
            f"The parameters of {cls.__module__.rsplit('.', 1)[-1]} cannot be shown: {error}.",
            "Frozen dataclasses whose fields have a type, a Spec and a default.",
            "See CONTRIBUTING.",
        ) from error


def _names() -> list[str]:
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def _sections(doc: str) -> Mapping[str, list[str]]:
    """Split a docstring into its first paragraph and its `Heading:` lists, an item a bullet or a paragraph."""
    found: dict[str, list[str]] = {"": []}
    heading = ""
    for block in re.split(r"\n\s*\n", doc.strip()):
        lines = block.strip().splitlines()
        if re.fullmatch(r"[A-Z][\w ]+:", lines[0].strip()):
            heading, lines = lines[0].strip()[:-1], lines[1:]
        items = re.split(r"(?m)^\s*- ", "\n".join(lines)) if lines else []
        found.setdefault(heading, []).extend(" ".join(i.split()) for i in items if i.strip())
    return found
