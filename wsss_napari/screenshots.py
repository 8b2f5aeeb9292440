"""Pictures of every page with real content, drawn by the real window: proof, and the README's pictures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import napari
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication

from engine.store import runs_of
from wsss_napari._compat import dismiss_notices, main_window
from wsss_napari.dock import MainDock
from wsss_napari.prototype_jobs import METHOD
from wsss_napari.session import Session, newest

__all__ = ["SIZES", "THEMES", "settle", "shoot"]

SIZES = ((1280, 800), (1920, 1080))
THEMES = ("dark", "light")
# A page may wait for the engine's child, which imports torch at its first job.
_PATIENCE = 90.0


def shoot(
    folder: Path,
    project: Path | None = None,
    *,
    sizes: Sequence[tuple[int, int]] = SIZES,
    themes: Sequence[str] = THEMES,
    pages: Sequence[str] = (),
) -> list[Path]:
    """Draw each page in each theme and size into `folder`, as `<page>-<theme>-<width>x<height>.png`.

    Args:
        folder: Made when it is not there.
        project: Folder of a project; without one the pages show what they say when empty.
        sizes: (width, height) of the window in px.
        themes: Names of napari's themes.
        pages: Names of the pages; all by default.

    Returns:
        The files, in the order they were drawn.

    Raises:
        UserError: There is no such project.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Hidden windows give empty canvases, so this one is shown from the start.
    viewer = napari.Viewer(show=True)
    drawn: list[Path] = []
    try:
        dock = MainDock(viewer)
        viewer.window.add_dock_widget(dock, name="WSSS", area="right")
        window = main_window(viewer)
        assert window is not None
        if project is not None:
            dock.session.open(project)
        for width, height in sizes:
            window.resize(width, height)
            for theme in themes:
                viewer.theme = theme
                for name in pages or [e.name for e in dock.entries]:
                    dock.session.run = _run_for(name, dock.session)
                    dock.turn_to(name)
                    settle(dock)
                    dismiss_notices(viewer)
                    path = folder / f"{name}-{theme}-{width}x{height}.png"
                    viewer.window.screenshot(path=str(path), flash=False, canvas_only=False)
                    drawn.append(path)
    finally:
        viewer.close()
    return drawn


def _run_for(page: str, session: Session) -> str | None:
    """Return the run that a page is drawn with: the newest with prototypes, or that which opening chose."""
    if session.project is None:
        return None
    runs = runs_of(session.project.root)
    if page == "prototypes":
        banks = [r.id for r in runs if r.method == METHOD and r.weights.is_file()]
        return banks[-1] if banks else newest(runs)
    return newest(runs)


def settle(dock: MainDock, patience: float = _PATIENCE) -> None:
    """Let the window come to rest: the page fetches nothing and the engine does nothing."""
    end = time.monotonic() + patience
    quiet = 0
    while quiet < 12 and time.monotonic() < end:
        QApplication.processEvents()
        # Only a running event loop deletes what was given to deleteLater, and here there is none.
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        page = dock.current
        waiting = (page is not None and page.busy) or dock.desk.working
        quiet = 0 if waiting else quiet + 1
        time.sleep(0.02)
