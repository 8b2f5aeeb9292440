"""What correcting a pseudo-label costs a simulated person, against drawing the same class from an empty mask.

The protocol: actions have prices in seconds (`engine.annotator.costs`, told with the result); the person
acts at the deepest error until the class has IoU 0.85, accepts, and gives up after 20 actions (the first two
ways once more until 0.90, as who knows where to end chooses otherwise);
those who gave up are charged what they spent, and their share is told as the miss rate. `cost_ratio` is
the mean cost to IoU 0.85 from the pseudo-label over that from the empty mask, with the same tools:

    pseudo-label         all tools, the engine's maps and other labels at hand
    empty                all tools; without an engine those that copy from maps and labels do nothing
    pseudo-label, blind  as the first, without maps and other labels
    empty, maps          as the second, with both: what they are worth without the label
    NAME only            one tool, from either start
    ..., jittered        the hand misses by 4 px (standard deviation)

Of a project (`-p`) the labels made last are corrected, on images of its split val; without one, the
bundled sample with drawn pseudo-labels. `--rounds N` takes 2 N images.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from engine import annotator
from engine.annotator import TOOLS, Case, correct
from engine.annotator.cases import drawn_cases, drawn_stems, newest_labels, project_cases, project_stems
from engine.store import open_once, open_project
from engine.workers import run_pool

__all__ = ["bench", "one_image"]

_TARGETS = (0.85, 0.90)
_JITTER = 4.0  # px
_BUDGET = 30.0  # s
_ALONE = ("polygon", "brush", "click", "superpixel")
_PSEUDO, _EMPTY = "pseudo-label", "empty"

# Arm -> (starts empty, has maps, tools, jitter).
_ARMS: dict[str, tuple[bool, bool, Sequence[str], float]] = {
    _PSEUDO: (False, True, TOOLS, 0.0),
    _EMPTY: (True, False, TOOLS, 0.0),
    f"{_PSEUDO}, jittered": (False, True, TOOLS, _JITTER),
    f"{_EMPTY}, jittered": (True, False, TOOLS, _JITTER),
    f"{_PSEUDO}, blind": (False, False, TOOLS, 0.0),
    f"{_EMPTY}, maps": (True, True, TOOLS, 0.0),
    **{f"{_PSEUDO}, {tool} only": (False, True, (tool,), 0.0) for tool in _ALONE},
    **{f"{_EMPTY}, {tool} only": (True, False, (tool,), 0.0) for tool in _ALONE},
}


def bench(rounds: int, project: str = "") -> dict[str, Any]:
    """Correct images in all ways, one worker a core.

    Args:
        rounds: Half the number of images.
        project: Folder of a project with truth and labels; empty takes the sample.
    """
    name, of = "", "the bundled sample, pseudo-labels drawn"
    if project:
        opened = open_project(Path(project).resolve())
        labels = newest_labels(opened)
        name, of = labels.name, f"labels '{labels.name}' of {opened.name}"
        stems = project_stems(opened, labels, 2 * rounds)
        project = str(opened.root)
    else:
        stems = drawn_stems(2 * rounds)
    arguments = [[project, name, stem] for stem in stems]
    pool = run_pool(
        "engine.bench.annotator:one_image", arguments, workers=min(os.cpu_count() or 1, len(stems))
    )
    rows = [row for _, found in pool for row in found]
    arms = {arm: _summary([row[arm] for row in rows]) for arm in _ARMS}
    ratios = {
        "cost_ratio": (_PSEUDO, _EMPTY),
        "cost_ratio_jittered": (f"{_PSEUDO}, jittered", f"{_EMPTY}, jittered"),
        "cost_ratio_blind": (f"{_PSEUDO}, blind", _EMPTY),
        "cost_ratio_maps_at_both": (_PSEUDO, f"{_EMPTY}, maps"),
        "cost_ratio_to_polygons": (_PSEUDO, f"{_EMPTY}, polygon only"),
    }
    return {
        "of": of,
        "images": len(stems),
        "pairs": len(rows),
        **{key: _ratio(arms[a]["cost_85"], arms[b]["cost_85"]) for key, (a, b) in ratios.items()},
        "cost_ratio_90": _ratio(arms[_PSEUDO]["cost_90"], arms[_EMPTY]["cost_90"]),
        "misses": {arm: found["misses_85"] for arm, found in arms.items()},
        "start_iou": _mean([row[_PSEUDO]["iou"][0] for row in rows]),
        "arms": arms,
        "by_class": _by_class(rows),
        "costs": {
            **annotator.COSTS,
            "vertex": annotator.VERTEX,
            "accept": annotator.ACCEPT,
            "class switch": annotator.CLASS_SWITCH,
            "undo": annotator.LOOK,
            "px a second": annotator.PIXELS_A_SECOND,
        },
    }


def one_image(project: str, name: str, stem: str) -> list[dict[str, Any]]:
    """Correct every class of one image in every way, in a worker process; only names and numbers cross over."""
    cases = project_cases(open_once(project), name, stem) if project else drawn_cases(stem)
    return [_row(case) for case in cases]


def _row(case: Case) -> dict[str, Any]:
    row: dict[str, Any] = {"image": case.stem, "value": case.value}
    for arm, (empty, maps, tools, jitter) in _ARMS.items():
        start = np.zeros_like(case.start) if empty else case.start
        given = replace(case, start=start)
        if not maps:
            given = replace(given, scores=None, others=None)
        targets = _TARGETS if arm in (_PSEUDO, _EMPTY) else _TARGETS[:1]
        traces = [correct(given, tools, until=target, jitter=jitter) for target in targets]
        trace = traces[0]
        row[arm] = {
            "iou": [round(v, 4) for v in trace.iou],
            "reach": [list(t.reach(target)) for t, target in zip(traces, targets, strict=True)],
            "actions": len(trace.tools) + trace.undone,
            "area": trace.area(_BUDGET),
            "undone": trace.undone,
            "destroyed": trace.destroyed / trace.pixels,
            "changed": trace.changed / trace.pixels,
        }
    return row


def _summary(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the means over the pairs of one arm."""
    found: dict[str, float] = {}
    for k, target in enumerate(_TARGETS[: len(rows[0]["reach"])]):
        reached = [row["reach"][k] for row in rows]
        percent = round(100 * target)
        found[f"cost_{percent}"] = _mean([seconds for seconds, _ in reached])
        found[f"median_cost_{percent}"] = float(np.median([seconds for seconds, _ in reached]))
        found[f"misses_{percent}"] = _mean([not hit for _, hit in reached])
    actions = sum(row["actions"] for row in rows)
    return {
        **found,
        "area_30s": _mean([row["area"] for row in rows]),
        "actions": _mean([row["actions"] for row in rows]),
        "undo_rate": sum(row["undone"] for row in rows) / max(actions, 1),
        "regret": _mean([row["destroyed"] for row in rows]),
        "changed": _mean([row["changed"] for row in rows]),
    }


def _by_class(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return value in the masks -> pairs, and the mean costs to the first target of the two main arms."""
    found = {}
    for value in sorted({row["value"] for row in rows}):
        of = [row for row in rows if row["value"] == value]
        found[str(value)] = {
            "pairs": len(of),
            **{arm: _mean([row[arm]["reach"][0][0] for row in of]) for arm in (_PSEUDO, _EMPTY)},
        }
    return found


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _ratio(a: float, b: float) -> float:
    return a / b
