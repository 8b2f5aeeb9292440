"""What the room keeps of a project: journal, sheets, locks, and the mask files that follow the journal."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from engine.edits import rows
from engine.edits.delta import BrokenStep
from engine.edits.durable import Durable
from engine.edits.journal import Journal
from engine.edits.masks import mask_path, unlike, write_mask
from engine.edits.replay import moves_to, walk
from engine.edits.sheet import Sheet
from engine.errors import UserError
from engine.store import Project, file_digest
from engine.store.facts import read_facts
from engine.store.tag_log import who as person

__all__ = ["Keeping"]

# Sheets kept although nobody holds them, so that going back one image is quick.
_RECENT = 4
# The rule of a set whose masks were made one by one can have megabytes; its digest stands for it then.
_MAX_RULE = 1 << 16


class Keeping:
    """Journal, sheets and mask files of one project; `EditRoom` is what people use.

    Attributes:
        project: The project.
        notes: Sentences to tell the person who opened it.
        read_only: Nothing can be changed, and nothing is written.
        mode: Journal mode: "wal", "delete" (network folders) or "read".
    """

    def __init__(self, project: Project, journal: Journal, who: str, read_only: bool) -> None:
        self.project = project
        self.read_only = read_only
        self.mode = journal.mode
        self.notes: tuple[str, ...] = ()
        self._journal = journal
        self._who = who or person()
        self._lock = threading.RLock()
        self._file_locks: dict[str, threading.RLock] = {}
        self._sheets: WeakValueDictionary[str, Sheet] = WeakValueDictionary()
        self._recent: deque[Sheet] = deque(maxlen=_RECENT)
        self._pending: dict[str, Sheet] = {}
        self._session = 0
        self._durable: Durable | None = None
        self._closed = False

    def _file(self, stem: str) -> threading.RLock:
        """Return the lock of an image's mask file; whoever needs `_lock` too takes this one first.

        One for each image, so that opening an image does not wait for the file of the last one.
        """
        with self._lock:
            return self._file_locks.setdefault(stem, threading.RLock())

    def _write(self, sheet: Sheet, *, proved: bool = False) -> None:
        """Let the mask file follow the journal; the strokes of others go on meanwhile.

        Args:
            sheet: The image.
            proved: Read a file back too that was written before, in case another program changed it.
        """
        with self._file(sheet.stem):
            with self._lock, self._journal.reading() as base:
                if not sheet.fresh:  # its pixels are in doubt; the file follows once it was opened again
                    return
                row = rows.image_row(base, sheet.stem)
                if row is None or row.base is None:
                    self._pending.pop(sheet.stem, None)
                    return
                cursor, mask = sheet.cursor, sheet.pixels.copy()
                self._prove(base, row, sheet)
                chain = row.origin if cursor is None else rows.chain_at(base, cursor)
            root, stem = self.project.root, sheet.stem
            path = mask_path(root, stem)
            if (
                row.png != chain
                or not path.is_file()
                or (proved and unlike(path, mask, len(self.project.colours)))
            ):
                kept = write_mask(root, stem, mask, self.project.colours, cursor, chain, row.generation)
                with self._lock:
                    if self._closed:  # the next opening finds the file lagging, and writes it once more
                        return
                    with self._journal.changing() as base:
                        base.execute(
                            "UPDATE images SET png=?, generation=? WHERE stem=?", (chain, kept, stem)
                        )
            with self._lock:
                sheet.proved = cursor, mask
                if sheet.cursor == cursor:
                    self._pending.pop(stem, None)

    def _prove(self, base: sqlite3.Connection, row: rows.Row, sheet: Sheet) -> None:
        """Check that the journal's steps explain every pixel of a sheet, before a file is written.

        Raises:
            UserError: They do not; the sheet is built anew when it is opened again.
        """
        step, proof = sheet.proved or (None, sheet.pixels)
        proof = proof.copy()
        try:
            walk(base, row, proof, moves_to(base, row.stem, step, sheet.cursor))
            same = np.array_equal(proof, sheet.pixels)
        except BrokenStep:
            same = False
        if not same:
            sheet.fresh = False
            raise UserError(
                f"The mask of {row.stem} is not what its steps in the journal make; it was not written.",
                "Every pixel of a mask comes from a step.",
                "Open the image again; it is then built from the journal.",
            )

    def _check_writable(self) -> None:
        if self._closed:
            raise UserError("The corrections are closed.", "", "Open the project again.")
        if self.read_only:
            raise UserError(
                "The corrections are open for reading only.",
                "One window at a time corrects a project.",
                "Close the other window, then open the project again.",
            )

    def _row_of(self, base: sqlite3.Connection, stem: str, sheet: Sheet | None) -> rows.Row:
        """Return the row of an image, a new one where the journal knows nothing of it."""
        row = rows.image_row(base, stem)
        if row is None:
            image = self.project.image(stem)
            row = rows.Row(stem, image.height, image.width, image.sha256)
            row.state = "unseen" if sheet is None else sheet.state
        return row

    def _row(
        self, base: sqlite3.Connection, sheet: Sheet, *, based: bool = True, approved: bool = False
    ) -> rows.Row:
        """Return the row of an image that is about to change; with `based` its start is in the journal."""
        row = self._row_of(base, sheet.stem, sheet)
        if row.state == "approved" and not approved:
            raise UserError(
                f"{sheet.stem} is approved.", "Approved masks stay as they are.", "Reopen it first."
            )
        if row.base is None and based:
            start = sheet.start or rows.pack_base(sheet.pixels)
            row.base = rows.add_base(base, sheet.stem, sheet.source, self._facts(sheet.source), start)
            row.proposal = row.base if sheet.proposal is not None else None
            row.recovered, row.png = int(sheet.recovered), sheet.chain
            journal = base.execute("SELECT value FROM facts WHERE key='id'").fetchone()[0]
            row.origin = rows.origin_of(journal, row, start[0])
        elif row.base is not None and (row.cursor != sheet.cursor or not sheet.fresh):
            sheet.fresh = False
            raise UserError(
                f"The mask of {sheet.stem} in the journal is another one than this window shows.",
                "One window at a time corrects a project.",
                "Open the image again.",
            )
        return row

    def _put_cursor(self, base: sqlite3.Connection, row: rows.Row, step: int | None) -> None:
        row.cursor = step
        # A damaged mask has to be looked at, whatever is done to it; approved ones come here in bulk only.
        if row.state not in ("approved", "damaged"):
            row.state = "in progress"
        rows.put_row(base, row)

    def _settled(self, sheet: Sheet, row: rows.Row) -> None:
        """Take a change over into the sheet, now that it is in the journal."""
        sheet.cursor, sheet.state, sheet.start = row.cursor, row.state, None
        self._pending[sheet.stem] = sheet
        if self._durable is not None:
            self._durable.touch()

    def _told(self, row: rows.Row) -> None:
        """Take a change of the row alone over into the sheet, if somebody holds it."""
        sheet = self._sheets.get(row.stem)
        if sheet is not None:
            sheet.state, sheet.note, sheet.seconds = row.state, row.note, row.seconds
        if self._durable is not None:
            self._durable.touch()

    def _facts(self, source: str) -> dict[str, Any]:
        """Return what made a proposal, as far as its label set says."""
        rule = self.project.root / "labels" / source / "rule.json"
        if not source or "/" in source or not rule.is_file():
            return {}
        small = rule.stat().st_size <= _MAX_RULE
        return {"digest": file_digest(rule), **((read_facts(rule) or {}) if small else {})}
