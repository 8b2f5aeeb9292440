"""The rooms of the house: who may import whom, and what nobody writes."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CODE = [p for room in ("engine", "wsss_napari", "resources") for p in sorted((ROOT / room).rglob("*.py"))]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]


def ids(paths: list[Path]) -> list[str]:
    return [str(p.relative_to(ROOT)) for p in paths]


def imported(tree: ast.AST) -> set[str]:
    """Every module that is imported anywhere in a file, inside functions too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.AST]:
    return {p: ast.parse(p.read_text(encoding="utf-8"), str(p)) for p in CODE}


def lint(config: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    code = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", code, "--config", str(config), "--no-cache"],
        cwd=cwd, capture_output=True, text=True, timeout=200, env={**os.environ, "PYTHONPATH": str(cwd), "NO_COLOR": "1"},
    )  # fmt: skip


def test_the_contracts_are_kept() -> None:
    done = lint(ROOT / "pyproject.toml", ROOT)
    assert done.returncode == 0 and " 0 broken" in done.stdout, done.stdout[-3000:] + done.stderr[-1000:]
    assert f"{len(CONTRACTS['contracts'])} kept" in done.stdout


def test_every_module_of_the_engine_has_a_room() -> None:
    (layers,) = (c["layers"] for c in CONTRACTS["contracts"] if c["type"] == "layers")
    named = {name.strip() for row in layers for name in row.split("|")}
    rooms = {"wsss_napari"}
    for path in (ROOT / "engine").iterdir():
        if path.name.startswith("_"):
            continue
        if path.suffix == ".py" or (path / "__init__.py").is_file():
            rooms.add(f"engine.{path.stem}")
    assert rooms == named, "a module without a room may import anything"


def test_the_contracts_can_fail(tmp_path: Path) -> None:
    """The linter sees imports inside functions; or the rule would be a wish."""
    for name, text in {
        "engine/__init__.py": "",
        "engine/store.py": "def f():\n    import torch\n",
        "engine/run.py": "from engine import store\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / ".importlinter").write_text(
        "[importlinter]\nroot_package = engine\ninclude_external_packages = True\n"
        "[importlinter:contract:1]\nname = floor\ntype = forbidden\nsource_modules = engine.store\nforbidden_modules = torch\n"
    )
    done = lint(tmp_path / ".importlinter", tmp_path)
    assert done.returncode == 1 and "1 broken" in done.stdout, done.stdout


def test_qt_is_reached_through_qtpy_alone(trees: dict[Path, ast.AST]) -> None:
    qt = {"PyQt5", "PyQt6", "PySide2", "PySide6"}
    wrong = {ids([p])[0] for p, tree in trees.items() if {m.split(".")[0] for m in imported(tree)} & qt}
    assert not wrong


def test_the_window_never_names_torch(trees: dict[Path, ast.AST]) -> None:
    heavy = {"torch", "torchvision", "timm", "lightning_fabric", "lightning"}
    window = {p: t for p, t in trees.items() if p.is_relative_to(ROOT / "wsss_napari")}
    assert len(window) > 10
    assert not {
        ids([p])[0] for p, tree in window.items() if {m.split(".")[0] for m in imported(tree)} & heavy
    }


def called(node: ast.Call) -> tuple[str, str]:
    """(module or object, name) of what is called, as far as it is written out."""
    match node.func:
        case ast.Attribute(value=ast.Name(id=owner), attr=name):
            return owner, name
        case ast.Attribute(attr=name):
            return "", name
        case ast.Name(id=name):
            return "", name
    return "", ""


def _safe_yaml(call: ast.Call) -> bool:
    """Return whether a call reads YAML by `safe_load`, or names a loader that builds nothing but plain values."""
    loaders = [ast.unparse(a) for a in call.args[1:]] + [ast.unparse(k.value) for k in call.keywords]
    return called(call)[1] == "safe_load" or any(
        text in ("yaml.BaseLoader", "yaml.SafeLoader", "yaml.CSafeLoader") for text in loaders
    )


def test_nothing_is_loaded_unsafely(trees: dict[Path, ast.AST]) -> None:
    wrong = []
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            owner, name = called(node)
            words = {
                k.arg: k.value.value for k in node.keywords if k.arg and isinstance(k.value, ast.Constant)
            }
            unsafe = (
                words.get("allow_pickle") is True
                or words.get("weights_only") is False
                or words.get("shell") is True
                or (owner in ("pickle", "marshal", "shelve", "dill", "joblib") and name != "dumps")
                or (owner == "torch" and name == "load" and words.get("weights_only") is not True)
                or (owner == "yaml" and "load" in name and not _safe_yaml(node))
                or name == "extractall"
                or (not owner and name in ("eval", "exec") and isinstance(node.func, ast.Name))
                or (owner == "os" and name in ("system", "popen"))
            )
            if unsafe:
                wrong.append(f"{ids([path])[0]}:{node.lineno}: {ast.unparse(node)[:80]}")
    assert not wrong, "\n".join(wrong)


def test_xml_of_others_is_read_by_defusedxml(trees: dict[Path, ast.AST]) -> None:
    readers = {"xml.dom.minidom", "xml.sax", "xml.dom.pulldom", "xml.dom.expatbuilder", "lxml", "lxml.etree"}
    for path, tree in trees.items():
        assert not imported(tree) & readers, path
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == "xml.etree.ElementTree":
                assert {a.name for a in node.names} <= {
                    "Element",
                    "ElementTree",
                    "ParseError",
                    "SubElement",
                    "tostring",
                }, path
            elif isinstance(node, ast.Import):
                assert "xml.etree.ElementTree" not in {a.name for a in node.names}, path


MACHINE = re.compile(r"(?<![\w.])/(work|root|home|Users|tmp|mnt|data|opt/conda)/[\w.-]|[A-Z]:\\\\Users")


def test_no_machine_is_named() -> None:
    for path in [*CODE, *TESTS]:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert not MACHINE.search(line) or "MACHINE = " in line, f"{path}:{number}: {line.strip()}"


def test_errors_are_never_swallowed(trees: dict[Path, ast.AST]) -> None:
    wrong = []
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = "everything" if node.type is None else ast.unparse(node.type)
            broad = caught in ("everything", "Exception", "BaseException")
            if broad and all(isinstance(n, (ast.Pass, ast.Continue)) for n in node.body):
                wrong.append(f"{ids([path])[0]}:{node.lineno}")
    assert not wrong, wrong


def test_files_are_small_and_named_after_one_job() -> None:
    vague = {
        "helper",
        "helpers",
        "util",
        "utils",
        "misc",
        "common",
        "manager",
        "handler",
        "processor",
        "pipeline",
    }
    for path in CODE:
        assert not set(path.stem.split("_")) & vague, path
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 500, f"{path} does more than one job"


def test_nothing_is_left_to_do() -> None:
    mark = re.compile(r"\b(TO" r"DO|FIX" r"ME|XXX)\b")
    for path in CODE:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert not mark.search(line), f"{path}:{number}: {line.strip()}"
