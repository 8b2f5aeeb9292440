"""Dataset formats, one file each; the folder is the registry.

A module here that defines `FORMAT` is a format. Dropping the file in makes it appear.

    with new_folder(out) as folder:
        lost = formats()["voc"].write(folder, items, classes, colours, splits)
"""

from __future__ import annotations

import importlib
import pkgutil

from engine.errors import UserError, nearest
from engine.formats._format import Format, Incoming, Labelled

__all__ = ["Format", "Incoming", "Labelled", "format_named", "formats"]


def formats() -> dict[str, Format]:
    """Return every format by name, sorted."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            made: Format = importlib.import_module(f"{__name__}.{module.name}").FORMAT
            found[made.name] = made
    return dict(sorted(found.items()))


def format_named(name: str) -> Format:
    """Return a format.

    Raises:
        UserError: There is none of that name.
    """
    known = formats()
    if name not in known:
        raise UserError(
            f"There is no format '{name}'.", f"Formats: {', '.join(known)}.", nearest(name, known)
        )
    return known[name]
