"""JSON files of facts: run.json, views.json, rule.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["read_facts"]

_MAX_BYTES = 1 << 24


def read_facts(path: Path) -> dict[str, Any] | None:
    """Return the JSON object of a file, or None when it is missing, damaged or far too large."""
    try:
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return None
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
