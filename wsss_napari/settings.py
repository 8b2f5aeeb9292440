"""What a person set for us in napari's preferences, with our defaults behind it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from wsss_napari._compat import plugin_settings

__all__ = ["Settings", "settings"]


@dataclass(frozen=True)
class Settings:
    """Choices of the manifest's `configurations` block.

    Attributes:
        device: auto, cpu, cuda or cuda:N.
        threads: Threads of the engine; 0 means one less than there are cores.
        weights: Folder in which weights of backbones are looked for first; empty for `$WSSS_WEIGHTS`.
        cache: Megabytes that thumbnails may take in memory.
        palette: `safe` (colour-blind safe, the project's own) or `voc`.
        colormap: Colours of heat maps: inferno, turbo, viridis or magma.
    """

    device: str = "auto"
    threads: int = 0
    weights: str = ""
    cache: int = 128
    palette: str = "safe"
    colormap: str = "inferno"


def settings() -> Settings:
    """Return the settings as they stand now; they are read anew each time because napari edits them."""
    # napari nests each configuration's properties under its key.
    found: dict[str, Any] = {}
    for value in plugin_settings("wsss-napari").values():
        if isinstance(value, dict):
            found.update(value)
    known = {f.name for f in fields(Settings)}
    return Settings(**{k: v for k, v in found.items() if k in known})
