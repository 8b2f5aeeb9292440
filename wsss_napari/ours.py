"""Make sure that the package named `engine` is the one that belongs to this window."""

from __future__ import annotations

import importlib.util
from pathlib import Path

__all__ = ["check_engine"]


def check_engine() -> None:
    """Look where `import engine` would lead, without importing it.

    Raises:
        ImportError: Another package of that name is found first, or none.
    """
    ours = Path(__file__).resolve().parents[1] / "engine"
    found = importlib.util.find_spec("engine")
    places = [] if found is None else [Path(p).resolve() for p in found.submodule_search_locations or ()]
    if ours in places:
        return
    where = ", ".join(map(str, places)) or (found.origin if found is not None else None) or "nowhere"
    raise ImportError(
        f"The package 'engine' of wsss-napari was looked for and another was found: {where}.\n"
        f"It should lie at {ours}.\n"
        "Uninstall or rename the other one, or take its folder off PYTHONPATH, and start napari again."
    )
