"""What is told when a widget ends: Python's collector and Qt delete in any order, and neither may crash."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication, QWidget

import wsss_napari
from wsss_napari.plots import Plots
from wsss_napari.style import follow_theme, theme_of

# A crash would take the whole run of the tests along, so the widgets are collected in a child.
_COLLECT = """
import gc, weakref
from functools import partial
from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication, QWidget
from wsss_napari._compat import when_destroyed
from wsss_napari.plots import Plots
from wsss_napari.style import follow_theme

class Plot(QWidget):
    def set_theme(self, colours):
        self.colours = colours

app = QApplication([])
gc.disable()
gone, told = [], []
for turn in range(16):
    viewer = ViewerModel()
    plots = Plots(viewer)
    # Python owns the outermost widget. What the collector empties first follows from what lies in what,
    # what knows whom, and what has lived through an earlier collection.
    around = QWidget()
    around.itself = around
    widget = Plot(around if turn & 1 else None)
    if turn & 2:
        widget.itself = around.widget = widget
    if turn & 4:
        widget.viewer, widget.plots = viewer, plots
    if KIND == "plots":
        plots.follow_theme(widget)
    elif KIND == "style":
        follow_theme(widget, viewer)
    else:
        when_destroyed(widget, partial(told.append, 1))
    if turn & 8:
        gc.collect()
    gone.append(weakref.ref(widget))
    del viewer, plots, around, widget
    gc.collect()
print("collected", sum(found() is None for found in gone), "told", len(told))
"""


def _collected(kind: str) -> subprocess.CompletedProcess[str]:
    place = str(Path(wsss_napari.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-c", _COLLECT.replace("KIND", repr(kind))],
        env=os.environ | {"PYTHONPATH": place, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.mark.parametrize(
    ("kind", "words"),
    [("plots", "collected 16 told 0"), ("style", "collected 16 told 0"), ("told", "collected 16 told 16")],
)
def test_a_widget_that_python_collects_ends_quietly(kind, words):
    done = _collected(kind)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr[-2000:]
    assert words in done.stdout


def test_only_one_place_connects_to_the_end_of_a_thing():
    sources = Path(wsss_napari.__file__).parent.rglob("*.py")
    found = {path.name for path in sources if ".destroyed.connect(" in path.read_text()}
    assert found == {"_compat.py"}, "connect by `_compat.when_destroyed`, which says why"


def test_a_theme_changes_after_qt_deleted_what_followed_it(qtbot):
    class Plot(QWidget):
        def set_theme(self, colours):
            self.seen = colours["type"]

    viewer = ViewerModel()
    plots, before = Plots(viewer), len(viewer.events.theme.callbacks)
    ended, lasting = Plot(), Plot()
    qtbot.addWidget(lasting)
    for widget in (ended, lasting):
        follow_theme(widget, viewer)
        plots.follow_theme(widget)
    viewer.theme = "light"
    assert ended.seen == lasting.seen == "light"
    assert theme_of(viewer)["primary"] in ended.styleSheet()
    ended.deleteLater()
    QApplication.sendPostedEvents(ended, QEvent.Type.DeferredDelete)
    viewer.theme = "dark"
    assert (ended.seen, lasting.seen) == ("light", "dark")
    assert theme_of(viewer)["primary"] in lasting.styleSheet()
    assert len(viewer.events.theme.callbacks) == before + 1, "what followed for the deleted widget is dropped"
