"""A figure as a file: CSV, PNG or SVG, of a size of its own and on white paper, whatever the window looks like."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QBuffer, QIODevice, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFont, QImage, QPainter
from qtpy.QtSvg import QSvgGenerator

from engine.atomic import write_bytes
from engine.results import Figure
from wsss_napari.figure_canvas import FigureCanvas
from wsss_napari.figure_facts import facts_line

__all__ = ["FORMATS", "save"]

# Printed and pasted on white; a dark picture would waste ink and hide in a page.
_PAPER = {"background": "#ffffff", "text": "#1b1b1b", "foreground": "#d0d0d0"}
_PANEL = (440, 320)  # px
_HEAD = 30  # px
_NAME = 13  # px that the name of a category takes at least
_ENTRY, _MOST_ENTRIES = 21, 80  # px of a line of the legend, and how many there may be
_DOTS = 2.5  # of a PNG to a px: 240 dots an inch


def _csv(figure: Figure, colours: Sequence[str]) -> bytes:
    return figure.csv().encode("utf-8")


def _png(figure: Figure, colours: Sequence[str]) -> bytes:
    canvas = _drawn(figure, colours, _DOTS)
    size = _size(canvas)
    image = QImage(size * _DOTS, QImage.Format.Format_RGB32)
    image.setDevicePixelRatio(_DOTS)
    image.fill(QColor(_PAPER["background"]))
    for key, text in (("Title", figure.title), ("Description", _description(figure)), ("Software", "wsss")):
        image.setText(key, text)
    painter = QPainter(image)
    _paint(painter, canvas, figure, size)
    painter.end()
    # Only now: letters would grow with the dots an inch.
    dots = round(96 * _DOTS / 0.0254)
    image.setDotsPerMeterX(dots)
    image.setDotsPerMeterY(dots)
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    if not image.save(buffer, "PNG"):
        raise OSError("Qt cannot write PNG files here.")
    return bytes(buffer.data())


def _svg(figure: Figure, colours: Sequence[str]) -> bytes:
    canvas = _drawn(figure, colours)
    size = _size(canvas)
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    device = QSvgGenerator()
    device.setOutputDevice(buffer)
    # Qt measures a drawing by its own dots; letters keep their size to the axes only by those of the screen.
    device.setResolution(canvas.logicalDpiX())
    device.setSize(size)
    device.setViewBox(QRectF(0, 0, size.width(), size.height()))
    device.setTitle(figure.title)
    device.setDescription(_description(figure))
    painter = QPainter(device)
    painter.fillRect(QRectF(0, 0, size.width(), size.height()), QColor(_PAPER["background"]))
    _paint(painter, canvas, figure, size)
    painter.end()
    return bytes(buffer.data())


FORMATS: dict[str, tuple[str, Callable[[Figure, Sequence[str]], bytes]]] = {
    "csv": ("The numbers as a table, for any spreadsheet", _csv),
    "png": ("A picture on white, 240 dots an inch", _png),
    "svg": ("A drawing that can be enlarged and edited, on white", _svg),
}


def save(figure: Figure, path: Path, colours: Sequence[str] = ()) -> None:
    """Write a figure in the format that the ending of the path names, whole or not at all.

    Args:
        figure: What to write.
        path: Ends in .csv, .png or .svg.
        colours: `#RRGGBB` of the project's classes.

    Raises:
        OSError: The file cannot be written.
    """
    _, encode = FORMATS[path.suffix.lower().removeprefix(".")]
    write_bytes(path, encode(figure, colours))


def _drawn(figure: Figure, colours: Sequence[str], weight: float = 1.0) -> FigureCanvas:
    """Return a canvas that was drawn as if it were on a screen, without one."""
    count = len(figure.panels)
    columns = {4: 2}.get(count, min(max(count, 1), 3))
    rows = max(1, math.ceil(count / columns))
    names = max((len(p.categories) for p in figure.panels), default=0)
    # A legend that says "and 14 more" is of no use on paper.
    entries = min(max((len(p.series) for p in figure.panels), default=0), _MOST_ENTRIES)
    canvas = FigureCanvas(weight=weight)
    canvas.setAttribute(Qt.WidgetAttribute.WA_DontShowOnScreen)
    canvas.set_theme(_PAPER)
    canvas.resize(
        columns * max(_PANEL[0], names * _NAME + 120), rows * max(_PANEL[1], entries * _ENTRY + 110)
    )
    canvas.show()
    canvas.show_figure(figure, colours)
    # An axis learns the width of its numbers when it draws them, and then needs another layout.
    for _ in range(3):
        canvas.grab()
    return canvas


def _size(canvas: FigureCanvas) -> QSize:
    return QSize(canvas.width(), canvas.height() + _HEAD)


def _paint(painter: QPainter, canvas: FigureCanvas, figure: Figure, size: QSize) -> None:
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    font = QFont(canvas.font())
    font.setPointSizeF(10.5)
    font.setBold(True)
    painter.setFont(font)
    painter.setPen(QColor(_PAPER["text"]))
    head = QRectF(10, 2, size.width() - 20, _HEAD - 4)
    painter.drawText(head, int(Qt.AlignmentFlag.AlignCenter), figure.title)
    scene = canvas.scene()
    items: list[Any] = [item for item in scene.items() if hasattr(item, "setExportMode")]
    for item in items:
        # Points are drawn from a cache of small pictures otherwise.
        item.setExportMode(True, {"antialias": True, "painter": painter})
    try:
        target = QRectF(0, _HEAD, canvas.width(), canvas.height())
        scene.prepareForPaint()
        scene.render(painter, target, QRectF(canvas.viewRect()))
    finally:
        for item in items:
            item.setExportMode(False)
        canvas.close()


def _description(figure: Figure) -> str:
    return "\n".join(p for p in (figure.caption, facts_line(figure.facts)) if p)
