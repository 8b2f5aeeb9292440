"""What our widgets add to napari's theme, light and dark, and how they follow its change."""

from __future__ import annotations

from typing import Any
from weakref import ref

from qtpy.compat import isalive
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QWidget

from wsss_napari._compat import bare, theme_colours

__all__ = ["follow_theme", "sheet", "theme_of", "tint_axes"]


def theme_of(viewer: Any) -> dict[str, str]:
    """Return the colours of the viewer's theme as role -> `#RRGGBB`, and its `type`, light or dark."""
    return theme_colours(bare(viewer).theme)


def tint_axes(plot: Any, text: str, *, faint: bool = False) -> None:
    """Paint the left and the bottom axis of a pyqtgraph plot in the text's colour, their lines fainter if wanted."""
    line = QColor(text)
    line.setAlphaF(0.65 if faint else 1.0)
    for side in ("left", "bottom"):
        plot.getAxis(side).setPen(line)
        plot.getAxis(side).setTextPen(text)


def follow_theme(widget: QWidget, viewer: Any) -> None:
    """Give a widget our style sheet now and whenever the theme changes, for as long as it lives.

    Args:
        widget: The outermost widget of a dock.
        viewer: Its viewer.
    """
    real = bare(viewer)
    # The viewer keeps `apply`; nothing is connected to the widget's end (see `_compat.when_destroyed`).
    found = ref(widget)

    def apply(_: Any = None) -> None:
        alive = found()
        if alive is None or not isalive(alive):
            real.events.theme.disconnect(apply)
        else:
            alive.setStyleSheet(sheet(theme_of(real)))

    real.events.theme.connect(apply)
    apply()


def sheet(colours: dict[str, str]) -> str:
    """Return our style sheet in a theme's colours.

    A widget asks for a look by the property `wsss`: `primary` for the one filled button of
    a page, `quiet` for a borderless one, `note` for small grey text, `warning` for a stale
    mark, `title` for a headline.
    """
    filled, ink = ("#3F5FC4", "#FFFFFF") if colours["type"] == "dark" else ("#2F4FB5", "#FFFFFF")
    warning = "#E3B617" if colours["type"] == "dark" else "#7A5B00"
    faint = "#A9ADB5" if colours["type"] == "dark" else "#55565A"
    return f"""
    QPushButton[wsss="primary"] {{ background-color: {filled}; color: {ink}; padding: 6px 14px; border-radius: 3px; }}
    QPushButton[wsss="primary"]:hover {{ background-color: {colours["current"]}; color: {colours["text"]}; }}
    QPushButton[wsss="primary"]:disabled {{ background-color: {colours["primary"]}; color: {faint}; }}
    QPushButton[wsss="quiet"], QToolButton[wsss="quiet"] {{
        background-color: transparent; border: 0px; padding: 3px 5px; border-radius: 3px; }}
    QPushButton[wsss="quiet"]:hover, QToolButton[wsss="quiet"]:hover {{ background-color: {colours["primary"]}; }}
    QPushButton[wsss="quiet"]:disabled, QToolButton[wsss="quiet"]:disabled {{ color: {colours["secondary"]}; }}
    QToolButton[wsss="quiet"]::menu-indicator {{ image: none; }}
    QPushButton:focus, QToolButton:focus {{ border: 1px solid {colours["current"]}; }}
    QLabel[wsss="note"] {{ color: {faint}; }}
    QLabel[wsss="warning"] {{ color: {warning}; }}
    QLabel[wsss="title"] {{ font-weight: bold; }}
    QFrame[wsss="rule"] {{
        background-color: {colours["primary"]}; border: 0px; margin: 0px; padding: 0px; max-height: 1px; min-height: 1px; }}
    QToolButton[wsss="project"] {{
        background-color: transparent; border: 0px; padding: 4px 6px; border-radius: 3px;
        font-weight: bold; text-align: left; }}
    QToolButton[wsss="project"]:hover {{ background-color: {colours["primary"]}; }}
    QToolButton[wsss="project"]::menu-indicator {{ image: none; }}
    QProgressBar[wsss="thin"] {{ background-color: {colours["primary"]}; border: 0px; border-radius: 3px; }}
    QProgressBar[wsss="thin"]::chunk {{ background-color: {filled}; border-radius: 3px; }}
    QListView[wsss="images"] {{ background-color: {colours["foreground"]}; border: 0px; border-radius: 3px; }}
    QFrame[wsss="card"] {{ border: 1px solid {colours["primary"]}; border-radius: 4px; }}
    QTabBar[wsss="pages"] {{ background: transparent; border: 0px; }}
    QTabBar[wsss="pages"]::tab {{
        background: transparent; padding: 5px 1px; font-size: 12px; border: 0px; border-bottom: 2px solid transparent; }}
    QTabBar[wsss="pages"]::tab:selected {{ border-bottom: 2px solid {filled}; }}
    QTabBar[wsss="pages"]::tab:hover {{ background: {colours["primary"]}; }}
    """
