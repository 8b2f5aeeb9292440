"""The window works in a process where torch cannot be imported, and does not even try."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

SCRIPT = """
import importlib, pkgutil, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "timm", "lightning_fabric", "lightning"):
            raise ImportError(f"{name} must not be imported by the window")
        return None

sys.meta_path.insert(0, Refuse())

import wsss_napari
for found in pkgutil.walk_packages(wsss_napari.__path__, "wsss_napari."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)

import napari
from wsss_napari import dock
from wsss_napari.session import session_of

viewer = napari.Viewer(show=False)
docks = ("MainDock", "TagsDock", "TrainDock", "ExploreDock", "ClimbDock", "PrototypesDock", "RefineDock", "ExportDock")
for cls in (getattr(dock, name) for name in docks):
    shown = cls(viewer)
    viewer.window.add_dock_widget(shown)
    for entry in shown.entries:
        if entry.name != "train":  # showing it starts the engine, which has a process of its own
            shown.page(entry.name)
session_of(viewer).open(sys.argv[1])
assert len(viewer.layers) == 1, viewer.layers
assert not [m for m in sys.modules if m.split(".")[0] in ("torch", "torchvision", "timm")]
viewer.close()
print("all docks opened")
"""


def test_every_module_imports_and_every_dock_opens_without_torch(small_project, tmp_path, qapp):
    environment = {**os.environ, "NAPARI_CONFIG": str(tmp_path / "napari.yaml"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(small_project.root)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=240,
    )
    assert done.returncode == 0 and "all docks opened" in done.stdout, done.stderr[-3000:]


def test_qt_is_reached_through_qtpy_alone():
    """One binding too many in a process ends it; the binding is the person's choice."""
    bindings = ("PyQt5", "PyQt6", "PySide2", "PySide6")
    for file in (ROOT / "wsss_napari").rglob("*.py"):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            words = line.split()
            if words[:1] in (["import"], ["from"]):
                assert not words[1].startswith(bindings), f"{file.name}, line {number}: {line.strip()}"
