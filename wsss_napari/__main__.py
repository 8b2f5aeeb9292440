"""Open napari with the WSSS dock, and a project if one is named; or draw pictures of it.

python -m wsss_napari [PROJECT] [--screenshots DIR]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import napari

from engine.errors import UserError
from wsss_napari.dock import MainDock

__all__ = ["main", "open_dock"]


def open_dock(viewer: napari.Viewer) -> MainDock:
    """Put the main dock on the right of a viewer."""
    dock = MainDock(viewer)
    viewer.window.add_dock_widget(dock, name="WSSS", area="right")
    return dock


def main(words: Sequence[str] | None = None) -> int:
    """Open the window, wait until it is closed, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m wsss_napari", description="Open napari with the WSSS dock."
    )
    parser.add_argument("project", nargs="?", type=Path, help="folder of a project (default: none)")
    parser.add_argument("--screenshots", type=Path, metavar="DIR", help="draw every page into DIR and close")
    found = parser.parse_args(words)
    try:
        if found.screenshots is not None:
            from wsss_napari.screenshots import shoot

            for path in shoot(found.screenshots, found.project):
                print(path)
            return 0
        viewer = napari.Viewer(title="WSSS")
        dock = open_dock(viewer)
        if found.project is not None:
            dock.session.open(found.project)
    except UserError as mistake:
        print(mistake, file=sys.stderr)
        return 2
    napari.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
