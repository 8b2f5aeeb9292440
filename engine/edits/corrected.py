"""The masks that people corrected, as a set of labels that jobs read."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.edits import rows
from engine.edits.following import followed_in, taken_back
from engine.edits.journal import JOURNAL
from engine.edits.loading import find_start
from engine.edits.masks import mask_path, pixel_hash
from engine.edits.opening import mask_stems, opened_journal
from engine.edits.sheet import STATES, Mask
from engine.errors import UserError, nearest
from engine.store import Project, digest_of

__all__ = ["Corrected", "corrected"]


@dataclass(frozen=True)
class Corrected:
    """Masks at the cursor of the journal, whether or not the mask files follow yet; nothing is written.

    Attributes:
        project: The project.
        states: States whose masks count; None is all.
    """

    project: Project
    states: tuple[str, ...] | None = None

    name = "corrected"

    @property
    def folder(self) -> Path:
        return self.project.root / "edited"

    @property
    def colours(self) -> tuple[str, ...]:
        return self.project.colours

    @property
    def facts(self) -> dict[str, Any]:
        """What the set is, as rule.json says it of labels that the engine made."""
        return {"source": "corrections", "made_by": "people", "states": list(self.states or STATES)}

    @property
    def records(self) -> dict[str, dict[str, Any]]:
        """No mask of it was made by the engine in its own way."""
        return {}

    def path(self, stem: str) -> Path:
        return mask_path(self.project.root, stem)

    def stems(self) -> tuple[str, ...]:
        """Return the images that hold a person's mask and whose state counts, sorted.

        Raises:
            JournalDamaged: The journal is damaged.
            UserError: It is missing while there are masks, so nobody knows their states.
        """
        with self._opened() as base:
            found = base.execute("SELECT stem, state, base, recovered FROM images").fetchall()
        stems = [
            stem
            for stem, state, start, recovered in found
            if stem in self.project.images
            and (self.states is None or state in self.states)
            and (start is not None or (recovered and self.path(stem).is_file()))
        ]
        return tuple(sorted(stems))

    def read(self, stem: str) -> Mask:
        """Return a mask, [H, W] uint8: 0 background, class + 1, 255 unsure.

        Raises:
            FileNotFoundError: Nobody corrected this image.
            JournalDamaged: The journal is damaged.
            UserError: The mask belongs to other pixels, or is damaged and waits for a person.
        """
        with self._opened() as base:
            row = rows.image_row(base, stem)
            if row is None or (row.base is None and not row.recovered):
                raise FileNotFoundError(self.path(stem))
            start = find_start(base, self.project, row, stem, None)
            mask = start.mask if start.ahead is None else start.ahead
            if start.ahead is None and not start.fault:
                for merge in reversed(followed_in(base)):
                    if merge.id not in self.project.merges:  # taken back, and the masks do not follow yet
                        mask = taken_back(base, stem, mask, merge)
        if start.fault or (row.base is None and not start.recovered):
            raise UserError(
                f"The corrected mask of {stem} is damaged. {start.damaged} {start.fault}",
                "Masks that are whole are used.",
                "Open the image on the Correct page and review what is left of it.",
            )
        table = np.arange(256, dtype=np.uint8)
        for old, into in self.project.class_list.merged.items():
            # An undo can bring back pixels from before two classes were merged.
            table[old + 1] = into + 1
        return table[mask] if self.project.class_list.merged else mask

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        path = self.project.root / JOURNAL
        if self.states is not None and not path.exists() and (masks := mask_stems(self.folder)):
            raise UserError(
                f"The journal {JOURNAL} is missing, so the states of {len(masks)} corrected masks are unknown.",
                "The journal holds which masks are approved.",
                "Put it back from a backup, or review the masks on the Correct page.",
            )
        # Unchecked, as a check of every page for each mask would take longer than the masks; what is
        # damaged shows when it is read.
        journal, _ = opened_journal(self.project, True, checked=False)
        try:
            with journal.reading() as base:
                yield base
        finally:
            journal.close()

    def digest(self, stem: str) -> str:
        """Return a digest of the mask, or an empty string where there is none."""
        try:
            return digest_of(pixel_hash(self.read(stem)))
        except FileNotFoundError:
            return ""


def corrected(project: Project, states: Sequence[str] | None = None) -> Corrected:
    """Return the masks that people corrected.

    Args:
        project: The project.
        states: States whose masks count; None is all.

    Raises:
        UserError: There is no such state.
    """
    for state in states or ():
        if state not in STATES:
            raise UserError(
                f"There is no state '{state}'.", f"States: {', '.join(STATES)}.", nearest(state, STATES)
            )
    return Corrected(project, None if states is None else tuple(states))
