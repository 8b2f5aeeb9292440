"""Tags from COCO instances JSON: a class is on an image if it has an annotation there."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from engine.intake import Mistakes, Text, named_by_id
from engine.names import quote
from engine.tag_files.json_lists import keyed_lines
from engine.tag_files.sheet import Row, Sheet, check_size
from engine.tags import ABSENT, PRESENT

__all__ = ["ACCEPTED", "is_coco", "read_coco"]

ACCEPTED = "COCO instances: the lists images (id, file_name), annotations (image_id, category_id), categories (id, name)."


def is_coco(value: dict[str, Any]) -> bool:
    """Return whether a JSON object has the lists of a COCO file."""
    return all(isinstance(value.get(key), list) for key in ("images", "annotations"))


def read_coco(value: dict[str, Any], text: Text, mistakes: Mistakes) -> Sheet:
    """Return the rows of a COCO file; crowds count as their class, a category `background` as nothing."""
    notes: list[str] = []
    categories = named_by_id(value, "categories", "name", mistakes)
    images = named_by_id(value, "images", "file_name", mistakes)
    check_size(len(images), mistakes)
    tags: dict[int, set[str]] = defaultdict(set)
    for i, entry in enumerate(value["annotations"]):
        fields = entry if isinstance(entry, dict) else {}
        image, category = fields.get("image_id"), fields.get("category_id")
        for key, number, known in (("image_id", image, images), ("category_id", category, categories)):
            if type(number) is not int or number not in known:
                mistakes.add(f"annotations[{i}]", f"there is no {key} {quote(number)}")
                break
        else:
            tags[image].add(categories[category])  # type: ignore[index]
    names = tuple(categories.values())
    if "background" in names:
        notes.append("The category 'background' was left out: it is index 0 in any case.")
        names = tuple(name for name in names if name != "background")
    lines = keyed_lines(text, "file_name")
    rows = []
    for number, name in images.items():
        states = [(tag, PRESENT) for tag in sorted(tags[number]) if tag != "background"]
        rows.append(Row(f"line {lines.get(name, 1)}", name, states, ABSENT))
    return Sheet("COCO instances JSON", rows, names, public=True, notes=notes)
