"""What stands below the options of a command's help: parameters of a method or study, formats."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import engine
from engine.errors import UserError, nearest
from engine.formats import formats
from engine.messages import Methods
from engine.params import text_of

__all__ = ["further"]


def further(verb: str, seen: argparse.Namespace) -> str:
    """Return what stands below the options of `wsss VERB … --help`.

    Args:
        verb: The command; `train` knows its method, `infer` the method of its run, `refine` its refiner.
        seen: What stood before `--help` on the line.

    Raises:
        UserError: There is no such method or run.
    """
    if verb in ("export", "import"):
        return "\n".join(["formats:", *(f"  {name:<10}{f.title}" for name, f in formats().items())])
    if verb == "refine":
        return _refiners(getattr(seen, "refiner", None))
    if verb == "study":
        return _studies(getattr(seen, "study", None))
    return _parameters(verb, seen)


def _studies(name: str | None) -> str:
    """Return the list of studies, or the parameters of one."""
    if name is None:
        return "\n".join(["studies, whose settings `wsss study STUDY RUN --help` lists:", *_study_lines()])
    rows: dict[str, Mapping[str, Any]] = {s["name"]: s for s in engine.do(Methods())["studies"]}
    if name not in rows:
        raise UserError(f"There is no study '{name}'.", f"Studies: {', '.join(rows)}.", nearest(name, rows))
    lines = _wrapped(f"{rows[name]['title']} ({rows[name]['source']}): {rows[name]['sentence']}", "")
    return "\n".join([*lines, "", f"parameters of {name} for --set:", *_table(rows[name]["parameters"])])


def _refiners(name: str | None) -> str:
    """Return how to list a refiner's settings, or the settings of one."""
    if name is None:
        return "`wsss refine REFINER --help` lists the settings of crf, par, psa or irn for --set."
    rows: dict[str, Mapping[str, Any]] = {r["name"]: r for r in engine.do(Methods())["refiners"]}
    if name not in rows:
        raise UserError(
            f"There is no refiner '{name}'.", f"Refiners: {', '.join(rows)}.", nearest(name, rows)
        )
    row = rows[name]
    lines = [
        *_wrapped(f"{row['title']}: {row['sentence']}", ""),
        "",
        f"parameters of {name} for --set:",
        *_table(row["fields"]),
    ]
    if row["presets"]:
        lines += ["", "presets (--set preset=NAME):"]
        lines += [f"  {preset:<10}{_settings(values)}" for preset, values in row["presets"].items()]
    return "\n".join(lines)


def _study_lines() -> Iterator[str]:
    """Yield name and sentence of each study, read and not imported: that would cost the import of torch."""
    found = importlib.util.find_spec("engine.studies")
    assert found is not None and found.submodule_search_locations is not None
    for file in sorted(Path(found.submodule_search_locations[0]).glob("[!_]*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SENTENCE":
                yield f"  {file.stem}"
                yield from _wrapped(ast.literal_eval(node.value), " " * 6)


def _parameters(verb: str, seen: argparse.Namespace) -> str:
    method = getattr(seen, "method", None) if verb == "train" else None
    if verb == "infer" and getattr(seen, "run", None) and (seen.project or Path("wsss.toml").is_file()):
        method = engine.run_of(engine.open_project(seen.project or ".").root, seen.run).method
    if verb == "climb" and getattr(seen, "run", None):
        method, verb = "advcam", "infer"
    if method is None:
        return {
            "climb": "`wsss climb RUN --help` lists the settings of a climb for --set.",
            "train": "`wsss train METHOD --help` lists the parameters of a method for --set.",
            "infer": "`wsss infer RUN -p PROJECT --help` lists the parameters of the run's method for --set.",
        }.get(verb, "")
    cards: dict[str, Mapping[str, Any]] = {m["name"]: m for m in engine.do(Methods())["methods"]}
    if method not in cards:
        raise UserError(
            f"There is no method '{method}'.",
            f"Methods: {', '.join(cards)}.",
            nearest(method, cards) or "`wsss methods` tells what each does.",
        )
    card = cards[method]
    lines = [f"{card['title']}: {card['sentence']}", *_wrapped(card["citation"], ""), ""]
    if not card["available"]:
        return "\n".join([*lines, f"It cannot be used here: {card['why_not']}"])
    if verb == "train" and not card["trains"]:
        return "\n".join(
            [
                *lines,
                "It trains nothing; it works on the classifier of another run (`wsss climb RUN --help`).",
            ]
        )
    lines += [f"parameters of {method} for --set:", *_table(card[verb])]
    if card["presets"][verb]:
        lines += ["", "presets (--set preset=NAME):"]
        lines += [f"  {name:<10}{_settings(values)}" for name, values in card["presets"][verb].items()]
    if verb == "train":
        lines += ["", "how it is trained, for --set too:", *_table(card["plan"])]
    return "\n".join(lines)


def _table(fields: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for field in fields:
        unit = f", {field['unit']}" if field["unit"] else ""
        facts = f"(default: {text_of(field['default'])}; {_accepted(field)}{unit})"
        lines.append(f"  {field['name']}")
        lines += _wrapped(f"{field['doc']} {facts}", " " * 6)
    return lines


def _accepted(field: Mapping[str, Any]) -> str:
    low, high = field["low"], field["high"]
    match field["kind"]:
        case "choice":
            text = ", ".join(field["choices"])
        case "bool":
            text = "true or false"
        case "int" | "float" | "numbers":
            text = {"int": "a whole number", "float": "a number"}.get(
                field["kind"], "numbers separated by commas"
            )
            if low is not None and high is not None:
                text += f" from {low:g} to {high:g}"
            elif low is not None:
                text += f" of at least {low:g}"
            elif high is not None:
                text += f" of at most {high:g}"
        case _:
            text = {"run": "a run", "labels": "a label set", "path": "a path", "folder": "a folder"}.get(
                field["kind"], "text"
            )
    return text + (", or none" if field["optional"] else "")


def _settings(values: Mapping[str, Any]) -> str:
    return " ".join(f"{k}={text_of(v)}" for k, v in values.items()) or "the defaults"


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, 96, initial_indent=indent, subsequent_indent=indent)
