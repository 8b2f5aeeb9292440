"""The climbs of one image as a tree, and the path through it from the photograph to one end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.results.climbs import MOST_CELLS, ClimbTrace, is_id, unfit

__all__ = ["ClimbPath", "branches_of", "path_to", "traces_in"]


@dataclass(frozen=True, eq=False)
class ClimbPath:
    """The steps 0..last from the photograph to the end of one branch, over all traces in between.

    Attributes:
        traces: From the root to the leaf.
        parts: For each step, the trace and its row.
    """

    traces: tuple[ClimbTrace, ...]
    parts: tuple[tuple[ClimbTrace, int], ...]

    @property
    def leaf(self) -> ClimbTrace:
        """The trace whose end this is."""
        return self.traces[-1]

    @property
    def last(self) -> int:
        """The last step; -1 when none is written yet."""
        return len(self.parts) - 1

    def stacked(self, name: str) -> NDArray[Any]:
        """Return an array over all steps, [T + 1, ...]; for the small ones (maps, masks, scores, penalties)."""
        joined: NDArray[Any] = np.concatenate(
            [t.array(name)[: self._until(n)] for n, t in enumerate(self.traces)]
        )
        return joined

    def row(self, name: str, step: int) -> NDArray[Any]:
        """Return one step of an array, mapped and not copied where it can be."""
        trace, row = self.parts[step]
        found: NDArray[Any] = trace.array(name)[row]
        return found

    def attribution(self, step: int, *, aggregate: str | None = None) -> NDArray[np.float32]:
        """Return A_t (paper eq. 4): the sum of the maps 0..t divided by its peak, [h, w] float32 in [0, 1].

        Args:
            step: t.
            aggregate: "sum", "last" (the map of step t alone), or None for what the climb was set to.
        """
        raw = self.raw_attribution(step, aggregate=aggregate)
        peak = float(raw.max(initial=0.0))
        # Nothing below 0 is evidence; maps are not negative, but a file may be.
        return np.asarray(np.maximum(raw, 0) / np.float32(peak) if peak > 0 else np.zeros_like(raw))

    def raw_attribution(self, step: int, *, aggregate: str | None = None) -> NDArray[np.float32]:
        """Return the same before the division by its peak.

        Raises:
            UserError: A map holds numbers that are not finite.
        """
        if (aggregate or self.leaf.settings.get("aggregate")) == "last":
            raw = np.asarray(self.row("maps", step), np.float32)
        else:
            raw = np.zeros(self.leaf.grid, np.float32)
            for n, trace in enumerate(self.traces):
                until = min(self._until(n), step - trace.first + 1)
                if until > 0:
                    raw += trace.array("maps")[:until].sum(0, dtype=np.float32)
        if not np.isfinite(raw).all():
            raise _broken(f"The climb '{self.leaf.id}' holds numbers that are not finite.")
        return raw

    def _until(self, n: int) -> int:
        if n + 1 < len(self.traces):
            return self.traces[n + 1].at - self.traces[n].first + 1
        return self.traces[n].rows


def traces_in(folder: Path) -> dict[str, ClimbTrace]:
    """Return id -> trace of the `climb` folder of one image, roots before branches; damaged ones are left out."""
    found = {}
    names = [child.name for child in folder.iterdir()] if folder.is_dir() else []
    for name in sorted(filter(is_id, names), key=lambda n: [int(part) for part in n.split(".")]):
        if (folder / name).is_symlink():  # it may lead anywhere
            continue
        try:
            found[name] = ClimbTrace.load(folder / name)
        except (FileNotFoundError, UserError):
            continue
    return found


def path_to(traces: Mapping[str, ClimbTrace], name: str) -> ClimbPath:
    """Return the path from the photograph to the end of a trace.

    Raises:
        UserError: A trace on the way is missing or they do not fit together.
    """
    chain: list[ClimbTrace] = []
    seen: set[str] = set()
    wanted: str | None = name
    while wanted is not None:
        if wanted not in traces or wanted in seen:
            raise UserError(
                f"The climb '{name}' goes on from '{wanted}', which is missing or damaged.",
                f"There are: {', '.join(list(traces)[:20]) or 'none'}.",
                "Climb again.",
            )
        seen.add(wanted)
        chain.append(traces[wanted])
        wanted = chain[-1].parent
    chain.reverse()
    parts: list[tuple[ClimbTrace, int]] = []
    for n, trace in enumerate(chain):
        if n and (fault := unfit(trace, chain[n - 1])):
            raise _broken(f"The climb '{trace.id}' does not fit '{chain[n - 1].id}': {fault}.")
        until = chain[n + 1].at if n + 1 < len(chain) else trace.last
        parts += [(trace, step - trace.first) for step in range(trace.first, until + 1)]
    h, w = chain[-1].grid
    if len(parts) * h * w > MOST_CELLS:
        raise _broken(
            f"The climb '{name}' has {len(parts)} steps of {h} x {w} cells, more than can be shown."
        )
    return ClimbPath(tuple(chain), tuple(parts))


def branches_of(traces: Mapping[str, ClimbTrace], name: str) -> tuple[str, ...]:
    """Return the ids of all traces that go on from this one, or from one that does."""
    found = [name]
    for at in found:  # grows while it is walked
        found += [t.id for t in traces.values() if t.parent == at and t.id not in found]
    return tuple(found[1:])


def _broken(found: str) -> UserError:
    return UserError(
        found, "Accepted: climbs of one image and class that go on from each other.", "Climb again."
    )
