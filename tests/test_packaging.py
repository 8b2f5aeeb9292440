"""The wheel, the wheel of the sdist and the editable install: each is the whole plugin, as napari finds it."""

from __future__ import annotations

import email
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MANIFEST = (ROOT / "wsss_napari" / "napari.yaml").read_bytes()

# Asked in a process of its own, away from the repository: what is found there was installed.
QUESTIONS = """
import importlib.metadata as metadata, json, sys
from npe2 import PluginManager
import engine, wsss_napari
from engine.resources import resource

plugins = PluginManager()
plugins.discover()
manifest = plugins.get_manifest("wsss-napari")
distribution = metadata.distribution("wsss-napari")
script, = (e for e in distribution.entry_points if e.group == "console_scripts")
sample = resource("sample")
print(json.dumps({
    "engine": engine.__file__, "window": wsss_napari.__file__,
    "name": manifest.name, "version": [distribution.version, engine.__version__, wsss_napari.__version__],
    "shown": manifest.package_metadata.version,
    "widgets": len(manifest.contributions.widgets), "readers": len(manifest.contributions.readers),
    "script": [script.name, script.value, callable(script.load())],
    "sample": str(sample), "images": len(list((sample / "images").iterdir())),
    "examples": len(list(resource("examples").glob("*.py"))),
    "torch": "torch" in sys.modules,
}))
"""


def call(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    return subprocess.run(
        words, cwd=cwd, capture_output=True, text=True, timeout=240, env={**kept, **environment}
    )


def build(out: Path, *how: str) -> None:
    done = call(
        sys.executable, "-m", "build", "--no-isolation", "--skip-dependency-check", *how, "--outdir", str(out), str(ROOT),
        cwd=out.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of the tree, the sdist, and the wheel of the sdist."""
    folder = tmp_path_factory.mktemp("built")
    build(folder / "tree", "--wheel")
    build(folder / "both")  # the sdist, and from it alone a wheel
    (wheel,) = (folder / "tree").iterdir()
    (again,) = (folder / "both").glob("*.whl")
    (sdist,) = (folder / "both").glob("*.tar.gz")
    return {"wheel": wheel, "wheel of the sdist": again, "sdist": sdist}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory):
    """Makes an environment that borrows our libraries and nothing that was installed by a .pth file."""

    def make(name: str, what: list[str]) -> Path:
        folder = tmp_path_factory.mktemp(name) / "env"
        done = call(sys.executable, "-m", "venv", "--without-pip", str(folder), cwd=folder.parent)
        assert done.returncode == 0, done.stderr
        own = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
        # Lines of a .pth file are added to the path; .pth files of the folders they name are not read.
        (own / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        python = (
            Path(sysconfig.get_path("scripts", "venv", {"base": str(folder), "platbase": str(folder)}))
            / "python"
        )
        done = call(
            sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index",
            "--no-build-isolation", "--disable-pip-version-check", "--no-compile", "--ignore-installed", *what,
            cwd=folder.parent,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return python

    return make


def test_every_way_of_installing_gives_the_whole_plugin(built, place, tmp_path: Path) -> None:
    ways = {
        "wheel": [str(built["wheel"])],
        "wheel of the sdist": [str(built["wheel of the sdist"])],
        "editable": ["-e", str(ROOT)],
    }
    for way, what in ways.items():
        python = place(way.replace(" ", "_"), what)
        done = call(str(python), "-c", QUESTIONS, cwd=tmp_path)
        assert done.returncode == 0, f"{way}: {done.stderr[-3000:]}"
        found = json.loads(done.stdout.splitlines()[-1])
        home = ROOT if way == "editable" else python.parents[1]
        for key in ("engine", "window", "sample"):
            assert Path(found[key]).resolve().is_relative_to(home.resolve()), (
                f"{way}: {key} lies at {found[key]}"
            )
        assert found["name"] == "wsss-napari" and set(found["version"]) == {found["shown"]} == {
            PROJECT["version"]
        }
        assert found["widgets"] == 9 and found["readers"] >= 1
        assert found["script"] == ["wsss", PROJECT["scripts"]["wsss"], True]
        assert found["images"] > 0 and found["examples"] >= 3 and not found["torch"]
        told = call(str(python.parent / "wsss"), "--version", cwd=tmp_path)
        assert told.returncode == 0 and told.stdout == f"wsss {PROJECT['version']}\n", told.stderr


def test_the_wheels_hold_the_same_and_no_more_than_they_should(built) -> None:
    contents = []
    for name in ("wheel", "wheel of the sdist"):
        with zipfile.ZipFile(built[name]) as archive:
            names = {n for n in archive.namelist() if not n.endswith("/RECORD")}
            contents.append({n: archive.read(n) for n in names})
    assert contents[0] == contents[1]
    held = contents[0]
    assert {n.split("/")[0] for n in held} == {
        "engine",
        "wsss_napari",
        f"wsss_napari-{PROJECT['version']}.dist-info",
    }
    assert held["wsss_napari/napari.yaml"] == MANIFEST
    assert not [n for n in held if "__pycache__" in n or n.endswith((".pyc", ".orig", ".rej"))]
    for path in (ROOT / "engine").rglob("*.py"):
        assert held[path.relative_to(ROOT).as_posix()] == path.read_bytes()
    sample = {
        p.relative_to(ROOT / "resources").as_posix()
        for p in (ROOT / "resources" / "sample").rglob("*")
        if p.is_file()
    }
    sample = {n for n in sample if "__pycache__" not in n}
    assert {f"engine/_resources/{n}" for n in sample} <= held.keys()
    assert sum(map(len, held.values())) < 20e6


def test_the_metadata(built) -> None:
    with zipfile.ZipFile(built["wheel"]) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        facts = email.message_from_bytes(archive.read(name))
        (licence,) = (n for n in archive.namelist() if n.endswith("/LICENSE"))
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
        (points,) = (n for n in archive.namelist() if n.endswith("entry_points.txt"))
        assert "[napari.manifest]\nwsss-napari = wsss_napari:napari.yaml" in archive.read(points).decode()
    assert facts["Requires-Python"] == "<3.13,>=3.11" and facts["License-Expression"] == "BSD-3-Clause"
    assert "Framework :: napari" in facts.get_all("Classifier") and facts.get_payload().strip()
    needs = facts.get_all("Requires-Dist")
    base = [n for n in needs if "extra ==" not in n]
    # napari asks plugins to leave the choice of Qt to the person.
    assert not [n for n in base if re.match(r"(?i)pyqt\d|pyside", n)]
    assert {"pyqt5", "pyqt6", "test"} <= set(facts.get_all("Provides-Extra"))
    assert [n for n in needs if re.match(r"(?i)pyqt5.*extra == .pyqt5.", n)]


def test_every_dependency_has_its_bound_and_the_bound_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"^dependencies = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)[1]
    for line in block.splitlines():
        assert re.search(r'"[\w.-]+>=[\d.]+[^"]*",\s+# \S.{10,}', line), line


def test_the_sdist_holds_what_its_tests_need(built) -> None:
    with tarfile.open(built["sdist"]) as archive:
        names = {n.split("/", 1)[1]: n for n in archive.getnames() if "/" in n}
        for path in ("README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml"):
            assert path in names
        for path in (
            "tests/conftest.py",
            "tests/data/schema1/project/wsss.toml",
            "resources/sample/tags.csv",
        ):
            assert path in names
        manifest = archive.extractfile(names["napari.yaml"])  # follows the link, if it is one
        assert manifest is not None and manifest.read() == MANIFEST
    assert not [n for n in names if n.startswith((".venv", "build/", "dist/")) or "__pycache__" in n]


def test_the_manifest_at_the_root_is_a_link_to_the_real_one() -> None:
    link = ROOT / "napari.yaml"
    assert link.is_symlink() and os.readlink(link) == "wsss_napari/napari.yaml"
    assert link.read_bytes() == MANIFEST
    done = call(sys.executable, "-m", "npe2", "validate", str(ROOT / "wsss_napari" / "napari.yaml"), cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_another_package_of_the_name_engine_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "engine").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "engine" / "__init__.py").write_text("raise RuntimeError('theirs was run')\n")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    for module in ("wsss_napari", "wsss_napari.dock", "wsss_napari.readers"):
        done = call(sys.executable, "-c", f"import {module}", cwd=tmp_path / "elsewhere", PYTHONPATH=path)
        last = done.stderr[done.stderr.rindex("ImportError") :]
        assert (
            str(tmp_path / "engine") in last
            and str(ROOT / "engine") in last
            and "Uninstall or rename" in last
        )
        assert "theirs was run" not in done.stderr, "it is looked for, not imported"
    fine = call(sys.executable, "-c", "import wsss_napari", cwd=tmp_path / "elsewhere", PYTHONPATH=str(ROOT))
    assert fine.returncode == 0, fine.stderr
