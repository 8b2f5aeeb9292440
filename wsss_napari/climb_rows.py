"""Where each climb of one image and class is drawn: which row, from which step to which. No Qt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.results import ClimbTrace

__all__ = ["ClimbRows", "Piece"]


@dataclass(frozen=True)
class Piece:
    """One trace in the tree.

    Attributes:
        key: What the traces were given under.
        row: 0 is the top.
        first, last: Its steps; `last` is `first - 1` before the first is written.
        end: The last step that it was asked for, or `last` once it has ended.
        parent: Key of the trace that it leaves, or None.
        at: Step of the parent at which it leaves.
        joined: It goes on in its parent's row, where that one ended.
        lost: Its parent is missing, so there is no path to it.
        ending: As in the trace.
    """

    key: str
    row: int
    first: int
    last: int
    end: int
    parent: str | None
    at: int
    joined: bool
    lost: bool
    ending: str


class ClimbRows:
    """A tree without crossings: branches that leave late lie above those that leave early.

    A trace that goes on where its parent ended stays in its parent's row, so that climbing on step
    by step draws one line.

    Args:
        traces: Key -> trace; a parent is looked for beside its child's folder.
    """

    def __init__(self, traces: Mapping[str, ClimbTrace]) -> None:
        self.pieces: dict[str, Piece] = {}
        self._by_row: list[list[Piece]] = []
        by_folder = {trace.folder: key for key, trace in traces.items()}
        parents = {
            key: None if t.parent is None else by_folder.get(t.folder.with_name(t.parent))
            for key, t in traces.items()
        }
        children: dict[str, list[str]] = {}
        for key, parent in parents.items():
            if parent is not None:
                children.setdefault(parent, []).append(key)
        roots = [key for key, trace in traces.items() if trace.parent is None]
        self._place(traces, parents, children, roots)
        # What hangs on a missing parent, or in a circle, is drawn as it is, but leads nowhere.
        lost = [key for key in traces if key not in self.pieces and parents[key] is None]
        self._place(traces, parents, children, lost)
        self._place(traces, parents, children, [key for key in traces if key not in self.pieces])

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self._by_row)

    @property
    def end(self) -> int:
        """The last step of all, those that are still planned included."""
        return max((max(p.last, p.end) for p in self.pieces.values()), default=0)

    def in_row(self, row: int) -> list[Piece]:
        """Return the pieces of a row, left to right."""
        return self._by_row[row]

    def path(self, key: str | None) -> dict[str, tuple[int, int]]:
        """Return the trace key -> (first, last step) that lead from the photograph to the end of a trace."""
        found: dict[str, tuple[int, int]] = {}
        piece = self.pieces.get(key or "")
        until = piece.last if piece is not None else -1
        while piece is not None and piece.key not in found:
            found[piece.key] = (piece.first, until)
            until = piece.at
            piece = self.pieces.get(piece.parent or "")
        return found

    def _place(
        self,
        traces: Mapping[str, ClimbTrace],
        parents: Mapping[str, str | None],
        children: Mapping[str, list[str]],
        starts: list[str],
    ) -> None:
        waiting = starts[::-1]
        while waiting:
            key: str | None = waiting.pop()
            if key in self.pieces:
                continue
            forks: list[str] = []
            joined = False
            self._by_row.append([])
            while key is not None:
                piece = self._piece(key, traces[key], parents[key], joined)
                self.pieces[key] = piece
                self._by_row[-1].append(piece)
                trace, following = traces[key], None
                for child in children.get(key, ()):
                    ends_here = bool(trace.ending) and traces[child].at == trace.last
                    if ends_here and following is None and child not in self.pieces:
                        following = child
                    else:
                        forks.append(child)
                key, joined = following, True
            # The last of the waiting is placed next; of those that leave at one step the older one.
            waiting += sorted(forks, key=lambda k: (traces[k].at, -forks.index(k)))

    def _piece(self, key: str, trace: ClimbTrace, parent: str | None, joined: bool) -> Piece:
        above = self.pieces.get(parent or "")
        lost = trace.parent is not None and (above is None or above.lost)
        end = trace.last if trace.ending else max(trace.planned, trace.last)
        return Piece(
            key, self.rows - 1, trace.first, trace.last, end, parent, trace.at, joined, lost, trace.ending
        )
