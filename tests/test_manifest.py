"""The manifest as napari reads it: what it promises is there, importable, and opens."""

from __future__ import annotations

import tomllib
from importlib import import_module
from pathlib import Path

import napari
import numpy as np
import pytest
import yaml
from npe2 import PluginManager, PluginManifest
from qtpy.QtWidgets import QWidget

from wsss_napari import __version__

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "wsss_napari" / "napari.yaml"
MANIFEST = yaml.safe_load(FILE.read_text())
GIVES = MANIFEST["contributions"]
COMMANDS = {c["id"]: c["python_name"] for c in GIVES["commands"]}
GROUPS = {"commands", "widgets", "readers", "sample_data", "menus", "submenus", "configurations"}


def target(command: str):
    module, _, name = COMMANDS[command].partition(":")
    return getattr(import_module(module), name)


@pytest.fixture
def plugin():
    """Our plugin in npe2's manager, whether the package is installed or only checked out."""
    manager = PluginManager.instance()
    manager.discover()
    if "wsss-napari" not in manager:
        # For good: napari's registry of commands does not forget a plugin that is taken out again.
        manager.register(PluginManifest.from_file(FILE))
    return manager


def test_names_and_versions_are_those_of_the_distribution():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert MANIFEST["name"] == project["name"]
    assert __version__ == project["version"]
    assert project["entry-points"]["napari.manifest"] == {"wsss-napari": "wsss_napari:napari.yaml"}


def test_the_file_at_the_root_is_a_relative_link_to_the_same_bytes():
    link = ROOT / "napari.yaml"
    assert link.is_symlink() and not Path(link.readlink()).is_absolute()
    assert link.read_bytes() == FILE.read_bytes()


def test_npe2_accepts_it_and_no_group_is_misspelt():
    # npe2 passes over groups that it does not know.
    assert set(GIVES) == GROUPS
    manifest = PluginManifest.from_file(FILE)
    assert len(manifest.contributions.widgets) == len(GIVES["widgets"]) == 9


def test_every_command_that_is_named_is_declared_and_can_be_imported():
    items = [i for k, menu in GIVES["menus"].items() for i in menu]
    used = [e["command"] for g in ("widgets", "readers", "sample_data") for e in GIVES[g]]
    used += [i["command"] for i in items if "command" in i]
    assert set(used) == set(COMMANDS), "every command is declared, and none is declared for nothing"
    for command in COMMANDS:
        assert command.startswith("wsss-napari.")
        assert callable(target(command))


def test_menus_are_napari_own_or_ours():
    from napari._app_model.constants import MenuId

    submenus = {s["id"] for s in GIVES["submenus"]}
    known = {str(m.value) for m in MenuId.contributables()} | submenus
    assert set(GIVES["menus"]) <= known
    for menu in GIVES["menus"].values():
        for item in menu:
            assert item.get("submenu") is None or item["submenu"] in submenus


def test_every_widget_opens_through_napari(plugin, make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()
    for entry in GIVES["widgets"]:
        cls = target(entry["command"])
        _, widget = viewer.window.add_plugin_dock_widget("wsss-napari", entry["display_name"])
        assert isinstance(getattr(widget, "__wrapped__", widget), (cls, QWidget))
    assert len(viewer.layers) == 0, "opening a dock adds no layer"


def test_the_sample_opens_offline(plugin, monkeypatch):
    import socket

    def no_network(*args, **kwargs):
        raise AssertionError("the sample asks the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    viewer = napari.components.ViewerModel()
    added = viewer.open_sample("wsss-napari", "trained_sample")
    kinds = [type(layer).__name__ for layer in added]
    assert kinds == ["Image", "Labels"] * 4
    for photograph, truth in zip(added[::2], added[1::2], strict=True):
        assert photograph.rgb and photograph.data.shape[:2] == truth.data.shape
        assert np.unique(truth.data).size > 1
        assert np.array_equal(photograph.translate, truth.translate)


def test_a_project_file_opens_in_the_dock(plugin, small_project, make_napari_viewer, monkeypatch):
    from wsss_napari.desk import PHOTOGRAPH, desk_of

    viewer = make_napari_viewer()
    monkeypatch.setattr(napari, "current_viewer", lambda: viewer)
    viewer.open(str(small_project.root / "wsss.toml"), plugin="wsss-napari")
    desk = desk_of(viewer)
    assert desk.session.project.root == small_project.root
    assert [layer.name for layer in viewer.layers] == [small_project.usable[0]]
    assert desk.layers.get(PHOTOGRAPH) is viewer.layers[0]


def test_without_a_window_the_reader_gives_the_first_image(small_project, monkeypatch):
    from wsss_napari.readers import get_project_reader

    monkeypatch.setattr(napari, "current_viewer", lambda: None)
    file = str(small_project.root / "wsss.toml")
    read = get_project_reader([file])
    ((pixels, look, kind),) = read(file)
    assert kind == "image" and pixels.shape == (48, 64, 3) and look["name"] == small_project.usable[0]
    for other in ("photo.png", "pyproject.toml", ["a/wsss.toml", "b/wsss.toml"]):
        assert get_project_reader(other) is None


def test_a_damaged_project_is_told_in_sentences(tmp_path, monkeypatch):
    from wsss_napari.readers import get_project_reader

    monkeypatch.setattr(napari, "current_viewer", lambda: None)
    (tmp_path / "wsss.toml").write_text("schema = [")
    with pytest.raises(ValueError, match="damaged"):
        get_project_reader(str(tmp_path / "wsss.toml"))(str(tmp_path / "wsss.toml"))


def test_our_defaults_are_those_of_the_preferences_page():
    from wsss_napari.settings import Settings

    declared = {k: p["default"] for c in GIVES["configurations"].values() for k, p in c["properties"].items()}
    ours = {k: getattr(Settings(), k) for k in declared}
    assert declared == ours and len(declared) == len(Settings.__dataclass_fields__)


def test_settings_are_read_from_napari_preferences(monkeypatch):
    from wsss_napari import settings as module

    found = {"engine": {"device": "cpu", "threads": 3}, "window": {"palette": "voc", "unknown_key": 1}}
    monkeypatch.setattr(module, "plugin_settings", lambda name: found if name == "wsss-napari" else {})
    now = module.settings()
    assert (now.device, now.threads, now.palette, now.colormap) == ("cpu", 3, "voc", "inferno")
