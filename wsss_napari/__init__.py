"""The window of wsss-napari: docks for napari in which image tags become segmentation masks.

Nothing heavy is imported here: napari reads this package when it lists its plugins. No module
of it ever imports torch; the engine works in a child process (see `wsss_napari.worker`).
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
