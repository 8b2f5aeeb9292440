"""Tags in JSON: `{stem: [class, ...]}`, bare or under `labels`, with optional `classes` and `used`."""

from __future__ import annotations

import json
import re
from typing import Any

from engine.intake import Mistakes, Text, line_of
from engine.names import quote
from engine.tag_files.sheet import Row, Sheet, check_size, drop_background
from engine.tag_files.tables import tag_state
from engine.tags import ABSENT

__all__ = ["ACCEPTED", "keyed_lines", "read_json_list"]

ACCEPTED = (
    '`{"stem": ["class", ...]}`, or the same under "labels" beside optional lists "classes" and "used"; '
    '"?dog" is unknown, an empty list is background only.'
)


def read_json_list(value: dict[str, Any], text: Text, mistakes: Mistakes) -> Sheet:
    """Return the rows of a tag list in JSON; `used` wins over `classes` as the list of classes."""
    notes: list[str] = []
    labels, form = value, "JSON"
    classes: tuple[str, ...] = ()
    used: tuple[str, ...] = ()
    if isinstance(value.get("labels"), dict):
        labels, form = value["labels"], "JSON with labels"
        classes = drop_background(_names(value, "classes", text, mistakes), notes)
        used = drop_background(_names(value, "used", text, mistakes), notes)
        others = [key for key in value if key not in ("labels", "classes", "used")]
        if others:
            notes.append(f"Keys beside 'labels' were passed over: {', '.join(map(quote, others[:5]))}.")
        # `used` may stand alone, or name what `classes` forgot.
        classes += tuple(name for name in used if classes and name not in classes)
    check_size(len(labels), mistakes)
    lines = keyed_lines(text)
    rows = []
    for stem, tags in labels.items():
        place = f"line {lines.get(stem, 1)}"
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            mistakes.add(place, f"the tags of {quote(stem)} are no list of names")
            continue
        rows.append(Row(place, stem, [tag_state(tag.strip()) for tag in tags], ABSENT))
    return Sheet(form, rows, classes or used, used, notes=notes)


def keyed_lines(text: Text, key: str = "") -> dict[str, int]:
    """Return the line of each key of a JSON text, or of each text that stands under `key`.

    JSON readers keep no places, so the text is searched.
    """
    word = r'"(?:[^"\\]|\\.){0,300}"'  # without a bound the search keeps a step for each letter
    pattern = re.compile(rf'"{key}"\s*:\s*({word})' if key else rf"({word})\s*:")
    lines: dict[str, int] = {}
    for number, line in enumerate(text.lines, 1):
        for match in pattern.finditer(line):
            lines.setdefault(json.loads(match[1]), number)
    return lines


def _names(value: dict[str, Any], key: str, text: Text, mistakes: Mistakes) -> tuple[str, ...]:
    names = value.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        mistakes.add(f"line {line_of(text, key)}", f"{quote(key)} is no list of names")
        return ()
    return tuple(names)
