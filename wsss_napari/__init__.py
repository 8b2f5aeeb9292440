"""The window of wsss-napari: docks for napari in which image tags become segmentation masks.

Nothing heavy is imported here: napari reads this package when it lists its plugins. No module
of it ever imports torch; the engine works in a child process (see `wsss_napari.worker`).
"""

from __future__ import annotations

from wsss_napari.ours import check_engine

__all__ = ["__version__"]

# `engine` is a name that others use too; without this look a stranger's would fail somewhere deep below.
check_engine()

__version__ = "0.1.0"
