"""The edit room: every change that a person makes to a mask goes through it, and none is lost.

    with EditRoom.open(project) as room:
        sheet = room.load(stem, ("crf", labels.read(stem)))
        room.commit(sheet, "Brush", "brush", (y0, x0, y1, x1), after)
        room.undo(sheet)
        room.set_state(stem, "approved")

A step is in the journal (`edits.sqlite`) before the pixels change and before `commit` returns,
so a killed process loses nothing, and on the disk within a second. The mask file
(`edited/<stem>.png`) follows. Thread-safe: one lock for journal and sheets, one for each
mask file, and files are written outside the first, so that strokes never wait for them.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np

from engine.atomic import clear_parts
from engine.edits import rows
from engine.edits.drawing import Drawing
from engine.edits.durable import Durable
from engine.edits.following import MERGE, PART, Followed, followed_in, put_followed, taken_back
from engine.edits.opening import begin, opened_journal, renewed_journal
from engine.edits.sheet import STATES, Event, Mask, Sheet
from engine.errors import UserError, nearest
from engine.store import Project
from engine.store.merging import Merge

__all__ = ["EditRoom"]


class EditRoom(Drawing):
    """The corrections of one project. Made by `open` or `restart`; see `Drawing` for images and steps."""

    # Images whose mask file a killed process left behind its journal.
    _behind: tuple[str, ...] = ()

    @classmethod
    def open(cls, project: Project, *, who: str = "", read_only: bool = False) -> EditRoom:
        """Open the corrections of a project; the journal is made when there is none.

        Args:
            project: The project.
            who: Name that steps are kept under; the login's by default.
            read_only: Look only; nothing in the project is written.

        Raises:
            JournalDamaged: The journal is damaged; nothing was touched. See `restart`.
            UserError: It is locked, a link, or of a newer version.
        """
        journal, notes = opened_journal(project, read_only)
        return cls(project, journal, who, read_only)._begun(notes)

    @classmethod
    def restart(cls, project: Project, *, who: str = "") -> EditRoom:
        """Go on without a damaged journal, on the person's word.

        The damaged file keeps lying there under a dated name. The masks in edited/ are the starts
        of the new journal, in the state "needs review".
        """
        journal, notes = renewed_journal(project)
        return cls(project, journal, who, False)._begun(notes)

    def _begun(self, notes: list[str]) -> EditRoom:
        try:
            if not self.read_only:
                folder = self.project.root / "edited"
                for place in (folder, folder / ".kept"):
                    clear_parts(place)
                self._session, behind, said = begin(self._journal, self.project, self._who)
                self._behind = tuple(behind)
                notes = [*notes, *said]
                if self.mode == "wal":
                    self._durable = Durable(self._journal.path)
        except BaseException:
            self._journal.close()
            raise
        self.notes = tuple(notes)
        return self

    def __enter__(self) -> EditRoom:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write the masks that wait, bring the journal to the disk and close it.

        Raises:
            UserError: A mask could not be written; its steps are in the journal, which is closed.
        """
        if self._closed:
            return
        try:
            self.flush()
        finally:
            with self._lock:
                if not self._closed:
                    self._closed = True
                    if self._durable is not None:
                        self._durable.stop()
                    self._journal.close()
        if self._durable is not None:
            self._durable.check()

    def flush(self, stem: str | None = None) -> None:
        """Write the mask files that lag behind the journal: of one image, or of all.

        Raises:
            UserError: A file could not be written; it stays on the list.
        """
        if self.read_only or self._closed:
            return
        faults: list[UserError] = []
        with self._lock:
            behind = [s for s in self._behind if stem in (None, s)]
            self._behind = tuple(s for s in self._behind if s not in behind)
        for late in behind:
            try:
                sheet = self.load(late)
            except UserError as error:  # tried again at the next opening; the journal has it
                faults.append(error)
            else:
                with self._lock:
                    self._pending.setdefault(late, sheet)
        with self._lock:
            waiting = [sheet for s, sheet in self._pending.items() if stem in (None, s)]
        for sheet in waiting:
            try:
                self._write(sheet)
            except UserError as error:  # one that cannot be written must not keep the others back
                faults.append(error)
        if faults:
            raise faults[0]

    @property
    def trouble(self) -> str:
        """What keeps steps from the disk, in words of the system; empty while all is well."""
        return "" if self._durable is None else self._durable.trouble

    def accept_image(self, stem: str) -> None:
        """Take the image's present file for the one its mask belongs to, on the person's word.

        Raises:
            UserError: Nobody corrected it, or the file has another size than the mask.
        """
        image = self.project.image(stem)
        with self._lock:
            self._check_writable()
            with self._journal.changing() as base:
                row = rows.image_row(base, stem)
                if row is None or (row.height, row.width) != (image.height, image.width):
                    raise UserError(
                        f"{stem} has {image.width} x {image.height} px, and no corrected mask of that size.",
                        "A mask and its image have one size.",
                        "Put the old image back.",
                    )
                row.sha256, row.state = image.sha256, "needs review"
                rows.put_row(base, row)
                rows.add_event(base, row, "accepted", f"The file {image.file} as it is now.", self._who)
            self._told(row)

    # ---- review

    def set_state(self, stem: str, state: str, note: str | None = None) -> None:
        """Say how far an image is; "in progress" reopens an approved one.

        Approving writes the mask file and reads it back before this returns.

        Args:
            stem: The image.
            state: One of `STATES` but "damaged", which only the room sets.
            note: Replaces the note, where given.

        Raises:
            UserError: There is no such state, nobody opened the mask that is to be approved, or it
                cannot be written; the state is the one before then.
        """
        if state not in STATES or state == "damaged":
            raise UserError(
                f"An image cannot be set to '{state}'.",
                f"States: {', '.join(s for s in STATES if s != 'damaged')}.",
                nearest(state, STATES),
            )
        with self._file(stem), self._lock:
            self._check_writable()
            sheet = self._sheets.get(stem)
            if state == "approved":
                sheet = self._to_approve(stem, sheet)
                self._write(sheet, proved=True)
            with self._journal.changing(durable=True) as base:
                row = self._row_of(base, stem, sheet)
                row.state = state
                rows.put_row(base, row)
                rows.add_event(base, row, "state", state, self._who)
            if sheet is not None:
                sheet.known = None
            self._told(row)
            if note is not None:
                self.set_note(stem, note)

    def _to_approve(self, stem: str, sheet: Sheet | None) -> Sheet:
        """Return the sheet of an image that is about to be approved, its start in the journal."""
        seen = sheet is not None
        if sheet is None or not sheet.fresh:
            sheet = self.load(stem)
        with self._journal.changing() as base:
            row = rows.image_row(base, stem)
            if (row is None or row.base is None) and not seen and not sheet.recovered:
                raise UserError(
                    f"Nobody has looked at the mask of {stem} yet.",
                    "A mask that was opened can be approved, an empty one too.",
                    "Open the image first.",
                )
            rows.put_row(base, self._row(base, sheet, approved=True))
        return sheet

    def state(self, stem: str) -> str:
        """Return the state of an image; "unseen" where the journal knows nothing of it."""
        with self._lock, self._journal.reading() as base:
            row = rows.image_row(base, stem)
            return "unseen" if row is None else row.state

    def states(self) -> dict[str, str]:
        """Return image -> state of all that the journal knows; images that are absent were never touched."""
        with self._lock, self._journal.reading() as base:
            found = base.execute("SELECT stem, state FROM images ORDER BY stem").fetchall()
        return {str(stem): state if state in STATES else "damaged" for stem, state in found}

    def set_note(self, stem: str, text: str) -> None:
        """Replace the note of an image; who wrote it and when is kept."""
        with self._lock:
            self._check_writable()
            with self._journal.changing() as base:
                row = self._row_of(base, stem, self._sheets.get(stem))
                if row.note == text:
                    return
                row.note = text
                rows.put_row(base, row)
                rows.add_event(base, row, "note", text, self._who)
            self._told(row)

    def add_time(self, stem: str, seconds: float) -> None:
        """Add to the time spent on an image; a clock that went backwards adds nothing."""
        if self.read_only or not math.isfinite(seconds) or seconds <= 0:
            return
        with self._lock:
            self._check_writable()
            with self._journal.changing() as base:
                row = self._row_of(base, stem, self._sheets.get(stem))
                row.seconds += seconds
                rows.put_row(base, row)
            self._told(row)

    def times(self) -> dict[str, float]:
        """Return image -> seconds spent on it, for estimates of the time left."""
        with self._lock, self._journal.reading() as base:
            found = base.execute("SELECT stem, seconds FROM images WHERE seconds > 0").fetchall()
        return {str(stem): float(seconds) for stem, seconds in found}

    def events(self, stem: str) -> list[Event]:
        """Return what was said of an image (states, notes, masks set aside), oldest first."""
        with self._lock, self._journal.reading() as base:
            return rows.events_of(base, stem)

    # ---- many images

    def bulk(
        self,
        name: str,
        tool: str,
        change: Callable[[str, Mask], Mask],
        stems: Sequence[str],
        params: Mapping[str, Any] | None = None,
        *,
        approved: bool = False,
        proposals: Callable[[str], tuple[str, Mask] | None] | None = None,
        batch: str = "",
    ) -> Iterator[str]:
        """Do one step on each of many images, and yield each that changed.

        The steps share a batch, so that `undo_batch` can take them back; undo on one image takes
        back that image alone. Images without a mask and approved ones are passed over.

        Args:
            name, tool, params: As `commit`.
            change: (stem, [H, W] uint8 read-only) -> the mask after the step. It is called while nobody
                else can open the image, and strokes on other images go on.
            stems: The images.
            approved: Change approved masks too, which stay approved: for changes of what the
                numbers mean, such as merged classes.
            proposals: stem -> (source, [H, W] uint8) of the engine or None, what an image begins with
                that nobody corrected yet. Without it such images are passed over.
            batch: Of steps done before, for work that is asked for in parts; a new one when empty.
        """
        batch = batch or uuid.uuid4().hex
        for stem in stems:
            with self._file(stem):
                if self.state(stem) == "approved" and not approved:
                    continue
                sheet = self.load(stem)
                if proposals is not None and sheet.cursor is None and not sheet.recovered:
                    sheet = self.load(stem, proposals(stem))  # without one it stays as it is
                if sheet.bare:
                    continue
                at, after = sheet.cursor, change(stem, sheet.mask)
                with self._lock:
                    if sheet.cursor != at:  # a stroke came first
                        after = change(stem, sheet.mask)
                    step = self._change(
                        sheet, name, tool, after, None, params, batch=batch, approved=approved
                    )
                if step is not None:
                    self._write(sheet)
            if step is not None:
                yield stem

    def undo_batch(self, batch: str) -> list[str]:
        """Undo a bulk edit on every image where it is the last step, and return these images."""
        with self._lock, self._journal.reading() as base:
            found = base.execute(
                "SELECT i.stem FROM images i JOIN steps s ON s.id = i.cursor"
                " WHERE s.batch=? AND i.state != 'approved' ORDER BY i.stem",
                (batch,),
            ).fetchall()
        undone = []
        for (stem,) in found:
            with self._file(stem), self._lock:
                if self.undo(self.load(stem)) is not None:
                    undone.append(stem)
                    self._write(self._sheets[stem])
        return undone

    # ---- merged classes

    @property
    def follows(self) -> bool:
        """Whether the corrected masks hold the classes that the project has, merged and taken back ones too."""
        with self._lock, self._journal.reading() as base:
            followed = followed_in(base)
        return tuple(f.id for f in followed) == self.project.merges and not any(f.left for f in followed)

    def follow_merges(self) -> Iterator[str]:
        """Bring the corrected masks, approved ones too, in line with the classes that the project merged
        or took back; yield each image that changes. Broken off, the next call does the rest.

        Each image gets a step with a name. Taking back concerns the pixels that the merge changed
        and that nobody drew over since.

        Raises:
            UserError: Some images could not be opened; the others are done.
        """
        self._check_writable()
        failed: dict[str, UserError] = {}
        wanted = self.project.merges
        with self._lock, self._journal.reading() as base:
            followed = {f.id: f for f in followed_in(base)}
        for merge in reversed([f for f in followed.values() if f.id not in wanted]):
            yield from self._convert(PART, merge, self._stems_of(merge.id), failed)
            if not failed:
                self._note(merge.id, None)
        for number in wanted:
            begun = followed.get(number) or self._begin(number)
            if begun is not None and begun.left:
                left: dict[str, UserError] = {}
                yield from self._convert(MERGE, begun, begun.left, left)
                self._note(begun.id, replace(begun, left=tuple(left)))
                failed |= left
        if failed:
            raise next(iter(failed.values()))

    def _begin(self, number: str) -> Followed | None:
        """Keep that a merge is to be followed, before any mask does; None where it was just taken back."""
        try:
            found = Merge.load(self.project.root, number, self.project.class_list)
        except UserError:
            if number in self.project.merges:
                raise
            return None
        with self._lock, self._journal.reading() as base:
            stems = base.execute("SELECT stem FROM images WHERE base IS NOT NULL OR recovered ORDER BY stem")
            merge = Followed(
                number, found.old + 1, found.into + 1, tuple(str(s) for (s,) in stems.fetchall())
            )
        self._note(number, merge)
        return merge

    def _note(self, number: str, merge: Followed | None) -> None:
        """Keep how far a merge is followed, in its place among the others; None where it is no longer."""
        with self._lock:
            self._check_writable()
            with self._journal.changing(durable=True) as base:
                followed = {f.id: f for f in followed_in(base)}
                if merge is None:
                    followed.pop(number, None)
                else:
                    followed[number] = merge
                put_followed(base, list(followed.values()))

    def _convert(
        self, tool: str, merge: Followed, stems: Sequence[str], failed: dict[str, UserError]
    ) -> Iterator[str]:
        """Do one step on each of these images; those that could not be done stand in `failed` then."""
        old, into = self._class(merge.old), self._class(merge.into)
        name = f"Merge: {old} into {into}" if tool == MERGE else f"Merge taken back: {old}, {into}"
        # Their batch tells the steps of a merge from those of all others, so its end has another one.
        batch = merge.id if tool == MERGE else f"{merge.id}-back"

        def change(stem: str, mask: Mask) -> Mask:
            if tool == MERGE:
                return np.where(mask == merge.old, np.uint8(merge.into), mask)
            with self._lock, self._journal.reading() as base:
                return taken_back(base, stem, mask, merge)

        params = {"old": merge.old, "into": merge.into}
        for stem in stems:
            try:
                yield from self.bulk(name, tool, change, [stem], params, approved=True, batch=batch)
            except UserError as error:
                if self._closed:
                    raise
                failed[stem] = error

    def _stems_of(self, batch: str) -> list[str]:
        with self._lock, self._journal.reading() as base:
            found = base.execute("SELECT DISTINCT stem FROM steps WHERE batch=? ORDER BY stem", (batch,))
            return [str(stem) for (stem,) in found.fetchall()]

    def _class(self, value: int) -> str:
        names = self.project.classes
        return names[value - 1] if value <= len(names) else f"class {value}"
