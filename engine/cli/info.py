"""`wsss info`: what a bug report needs to say about this machine."""

from __future__ import annotations

import importlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from engine import __version__
from engine.cli.bugs import version_of
from engine.cli.grammar import Parser
from engine.cli.jobs import add_json
from engine.cli.show import console, text
from engine.display import has_display, screen
from engine.errors import UserError

__all__ = ["answer", "info_of"]

_PACKAGES = ("torch", "torchvision", "timm", "lightning-fabric", "numpy", "napari", "qtpy", "pydensecrf2")
_SECONDS = 60

# napari tells Qt and OpenGL itself; a driver that crashes takes only this child with it.
_ASK = """
import json, re
from napari.utils import sys_info
text = sys_info()
found = {}
for key, pattern in (("qt", r"^Qt: (.*)"), ("binding", r"^((?:PyQt|PySide)\\d?: .*)"),
                     ("opengl", r"GL version: +(.*)"), ("max_texture", r"MAX_TEXTURE_SIZE: (?:np\\.int32\\()?(\\d+)")):
    match = re.search(pattern, text, re.MULTILINE)
    found[key] = match[1].strip() if match else None
print(json.dumps(found))
"""


def answer(words: Sequence[str]) -> tuple[int, dict[str, Any] | None]:
    """Print what is known of this installation and machine, or return it for `--json`."""
    parser = Parser("info", "Show versions, device, Qt, OpenGL and where weights are looked for.")
    add_json(parser)
    found = parser.read(words)
    info = info_of()
    if found.json:
        return 0, info
    out = console()
    for key, value in info.items():
        out.print(f"{key.replace('_', ' '):<12}{text(value)}", soft_wrap=True)
    return 0, None


def info_of() -> dict[str, Any]:
    """Return versions, devices, window and weight folders, JSON-ready."""
    return {
        "version": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: version_of(name) or "not installed" for name in _PACKAGES},
        "crf": _crf(),
        **_torch(),
        "window": _window(),
    }


def _torch() -> dict[str, Any]:
    """Return devices and weight folders; a torch that does not load is what people run `info` for."""
    try:
        from engine import compute
        from engine.nets.weights import where_looked
    except (ImportError, OSError) as error:
        return {"compute": {"problem": f"torch cannot be loaded: {error}"}, "weights": []}
    try:
        weights = where_looked()
    except UserError as mistake:
        weights = [str(mistake)]
    return {"compute": compute.describe(), "weights": weights}


def _crf() -> str:
    try:
        importlib.import_module("pydensecrf.densecrf")
    except ImportError as error:
        return f"cannot be loaded: {error}"
    return "available"


def _window() -> dict[str, Any]:
    """Return Qt and OpenGL as a child process finds them, or why it could not."""
    try:
        with screen() as environment:
            child = subprocess.run(
                [sys.executable, "-c", _ASK],
                env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS,
            )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"problem": f"napari did not answer within {_SECONDS} s"}
    except UserError as mistake:
        return {"problem": mistake.found}
    lines = child.stdout.strip().splitlines()
    if child.returncode or not lines:
        reason = (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
        return {"problem": reason}
    found: dict[str, Any] = json.loads(lines[-1])
    return {**found, "display": os.environ.get("DISPLAY") or ("in memory" if not has_display() else "native")}
