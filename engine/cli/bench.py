"""`wsss bench`: run benchmarks and print one line each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from engine.bench import ROUNDS, about, benchmarks, measure
from engine.cli.grammar import Parser, whole
from engine.cli.jobs import add_json
from engine.cli.screen import span
from engine.cli.show import console, table, text
from engine.errors import UserError

__all__ = ["answer"]


def answer(words: Sequence[str]) -> tuple[int, dict[str, Any] | None]:
    """Run the named benchmarks, or all."""
    names = "\n".join(f"  {name:<14}{about(name)}" for name in benchmarks())
    parser = Parser("bench", "Run the project's benchmarks.", lambda seen: f"benchmarks:\n{names}")
    parser.add_argument("names", metavar="NAME", nargs="*", help="benchmarks to run (default: all)")
    parser.add_argument(
        "--rounds", metavar="N", type=whole("--rounds", 1), default=ROUNDS,
        help=f"runs of each side, of which the medians are told (default: {ROUNDS})",
    )  # fmt: skip
    parser.add_argument(
        "-p", "--project", metavar="PROJECT", default="", help="measure this project, where a benchmark can"
    )
    add_json(parser)
    found = parser.read(words)
    wanted = found.names or list(benchmarks())
    for name in wanted:
        about(name)  # a slip in the last name must not cost the minutes of the first
    results: dict[str, dict[str, Any]] = {}
    for name in wanted:
        print(f"{name}: {about(name)}", file=sys.stderr)
        try:
            results[name] = measure(name, found.rounds, found.project)
        except UserError as mistake:
            if found.names:
                raise
            # Of all benchmarks, one that cannot run here must not hide the others.
            print(f"{name} could not run: {mistake}", file=sys.stderr)
            results[name] = {"could_not_run": str(mistake)}
    if found.json:
        return 0, results[wanted[0]] if len(found.names) == 1 else results
    _print(results)
    return 0, None


def _print(results: dict[str, dict[str, Any]]) -> None:
    rows = table("benchmark", "ratio", "ours", "reference", "difference", "peak", "its peak")
    for name, result in results.items():
        if "could_not_run" in result:
            rows.add_row(Text(name), Text("could not run"))
            continue
        if "seconds" not in result:
            rows.add_row(Text(name), Text("see below"))
            continue
        rows.add_row(
            Text(name),
            f"{result['ratio']:.3g} x",
            _time(result["seconds"]),
            _time(result["reference_seconds"]),
            f"{result['max_difference']:.3g}",
            f"{result['peak_bytes'] / 1e6:.1f} MB",
            f"{result['reference_peak_bytes'] / 1e6:.1f} MB",
        )
    out = console()
    out.print(rows)
    for name, result in results.items():
        own = {} if "could_not_run" in result or "seconds" in result else result
        for key, value in {**own, **result.get("window", {})}.items():
            out.print(f"{name}: {key.replace('_', ' ')}: {text(value)}", soft_wrap=True)


def _time(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else span(seconds)
