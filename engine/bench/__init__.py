"""The benchmarks; the folder is the registry: each file without a leading underscore is one.

A benchmark's `bench(rounds)` returns ratio, max_difference, seconds, reference_seconds,
peak_bytes, reference_peak_bytes (and more where it has more to say), or figures of its own
where no time is compared; the first paragraph of its docstring says what is compared with what. `_` in a file name is `-` on the command line.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import pkgutil
from pathlib import Path
from typing import Any

from engine.errors import UserError, nearest

__all__ = ["ROUNDS", "about", "benchmarks", "measure"]

ROUNDS = 5


def benchmarks() -> tuple[str, ...]:
    """Return the names of all benchmarks, sorted."""
    found = (m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    return tuple(sorted(name.replace("_", "-") for name in found))


def about(name: str) -> str:
    """Return what a benchmark compares with what."""
    spec = importlib.util.find_spec(_module_name(name))
    assert spec is not None and spec.origin is not None
    # Read, not imported: to list benchmarks must not cost the import of torch.
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return text.partition("\n\n")[0].replace("\n", " ")


def measure(name: str, rounds: int = ROUNDS, project: str = "") -> dict[str, Any]:
    """Run one benchmark.

    Args:
        name: One of `benchmarks()`.
        rounds: How often each side runs; the medians are told.
        project: Folder of a project, for a benchmark that can measure one.

    Raises:
        UserError: There is no such benchmark, it cannot run here, or it measures no project.
    """
    bench = importlib.import_module(_module_name(name)).bench
    if not project:
        result: dict[str, Any] = bench(rounds)
    elif "project" in inspect.signature(bench).parameters:
        result = bench(rounds, project=project)
    else:
        raise UserError(
            f"The benchmark '{name}' measures no project.", "It brings its own data.", "Leave --project out."
        )
    return result


def _module_name(name: str) -> str:
    known = benchmarks()
    if name not in known:
        raise UserError(
            f"There is no benchmark '{name}'.",
            f"Benchmarks: {', '.join(known)}.",
            nearest(name, known) or "`wsss bench` without a name runs all.",
        )
    return f"{__name__}.{name.replace('-', '_')}"
