"""Open images and do steps: the part of the room that changes pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.edits import rows
from engine.edits.delta import BrokenStep, pack
from engine.edits.keeping import Keeping
from engine.edits.loading import Start, check_image, check_mask, find_start
from engine.edits.masks import mask_path, set_aside
from engine.edits.replay import decided_at, history_of, moves_to, walk
from engine.edits.sheet import Box, Mask, Sheet, Step
from engine.errors import UserError

__all__ = ["Drawing"]


class Drawing(Keeping):
    """Images and their steps; `EditRoom` is what people use."""

    def load(self, stem: str, proposal: tuple[str, Mask] | None = None) -> Sheet:
        """Return an image's sheet, with the mask as it was left.

        The same sheet is returned, brought up to date, as long as somebody holds it.

        Args:
            stem: The image.
            proposal: (source, [H, W] uint8) of the engine; the start where nobody corrected the
                image yet. It is kept in the journal with the first step, not before.

        Raises:
            UserError: There is no such image, its file has other pixels than the project knows, the
                proposal does not fit, or neither mask nor journal can be read.
        """
        check_image(self.project, stem)
        with self._file(stem), self._lock:
            with self._journal.reading() as base:
                row = rows.image_row(base, stem)
                sheet = self._sheets.get(stem)
                based = row is not None and row.base is not None
                if sheet is not None and sheet.fresh:
                    # A start that nobody drew on yet gives way to another proposal, never to nothing.
                    same = sheet.cursor == row.cursor if row is not None and based else proposal is None
                    if same:
                        return sheet
                start = find_start(base, self.project, row, stem, proposal)
            if sheet is None:
                sheet = Sheet(stem, start.mask)
            else:
                sheet.pixels[...] = start.mask  # whoever holds it sees what is true now
            sheet.proposal, sheet.source = start.proposal, start.source
            sheet.cursor, sheet.recovered, sheet.chain = start.step, start.recovered, start.chain
            sheet.fresh, sheet.known, sheet.proved = True, None, (start.step, start.mask.copy())
            sheet.start = None if based or self.read_only else rows.pack_base(start.mask)
            began = "needs review" if start.recovered else "unseen" if start.proposal is None else "proposed"
            sheet.state = began if row is None else row.state
            sheet.note, sheet.seconds = ("", 0.0) if row is None else (row.note, row.seconds)
            self._mend(sheet, start)
            self._sheets[stem] = sheet
            self._recent.append(sheet)
            return sheet

    def _mend(self, sheet: Sheet, start: Start) -> None:
        """Set a damaged mask file aside, keep what only the file knows, and say so."""
        damaged = start.damaged
        if damaged and not self.read_only:
            damaged = self._set_aside(sheet.stem, damaged)
        if start.fault and not self.read_only:
            with self._journal.changing() as base:
                row = self._row_of(base, sheet.stem, sheet)
                row.cursor = sheet.cursor  # what lies behind it stays in the journal
                rows.put_row(base, row)
        ahead = ""
        if start.ahead is not None and not self.read_only:
            # A mask that the journal has no steps for becomes one step, so that both can be gone back to.
            self._change(sheet, "Mask found in edited/", "recovered", start.ahead, approved=True)
            ahead = f"edited/{sheet.stem}.png is newer than the journal; it was taken over as one step."
        # What cannot be mended is found again at every opening, and told once.
        said = [
            text for text in (damaged, start.fault, start.unread, ahead) if text and text not in sheet.note
        ]
        if not said:
            return
        sheet.state = "needs review" if said == [ahead] else "damaged"
        sheet.note = " ".join([sheet.note, *said]).strip()
        if self.read_only:
            return
        with self._journal.changing() as base:
            row = self._row_of(base, sheet.stem, sheet)
            row.state, row.note = sheet.state, sheet.note
            rows.put_row(base, row)
            for text in said:
                rows.add_event(base, row, "recovered" if text == ahead else "damaged", text, self._who)
        self._pending[sheet.stem] = sheet

    def _set_aside(self, stem: str, damaged: str) -> str:
        try:
            aside = set_aside(mask_path(self.project.root, stem))
        except OSError as error:
            raise UserError(
                f"{damaged} It could not be set aside ({error.strerror or error}).",
                "A damaged mask is kept under another name before a new one is written.",
                "Check the permissions of the folder edited/.",
            ) from None
        return f"{damaged} It is kept as edited/.damaged/{aside.name}; what is shown does not come from it."

    def commit(
        self,
        sheet: Sheet,
        name: str,
        tool: str,
        box: Box,
        after: Mask,
        params: Mapping[str, Any] | None = None,
        *,
        batch: str = "",
    ) -> Step | None:
        """Do one step: it is in the journal when this returns, and the sheet's mask has changed.

        Args:
            sheet: From `load`.
            name: What people read in the history ("Brush: cat").
            tool: Which tool it was.
            box: y0, x0, y1, x1 in px, half open.
            after: [y1 - y0, x1 - x0] uint8, the box's pixels after the step.
            params: The tool's settings, as JSON holds them.
            batch: What the steps of one bulk edit share.

        Returns:
            The step, its box drawn tight around what changed; None when nothing changes.

        Raises:
            UserError: The image is approved, the room is read-only, or the journal cannot be
                written; nothing has changed then.
        """
        with self._lock:
            return self._change(sheet, name, tool, after, box, params, batch=batch)

    def _change(
        self,
        sheet: Sheet,
        name: str,
        tool: str,
        after: Mask,
        box: Box | None = None,
        params: Mapping[str, Any] | None = None,
        *,
        batch: str = "",
        proposal: tuple[str, Mask] | None = None,
        approved: bool = False,
    ) -> Step | None:
        """Do one step; with a `proposal` it counts from here on, and may change no pixel."""
        height, width = sheet.size
        y0, x0, y1, x1 = box or (0, 0, height, width)
        if not (0 <= y0 <= y1 <= height and 0 <= x0 <= x1 <= width):
            raise ValueError(f"the box {box} lies outside a mask of {height} x {width} px")
        check_mask(after, (y1 - y0, x1 - x0), len(self.project.classes), f"The step '{name}'")
        self._check_writable()
        packed = pack(sheet.pixels[y0:y1, x0:x1], after)
        if packed is None and proposal is None:
            return None
        # A step without a pixel has an empty box, and a delta that nobody will ask for.
        inner, pixels, delta = packed or ((0, 0, 0, 0), 0, b"")
        tight = (y0 + inner[0], x0 + inner[1], y0 + inner[2], x0 + inner[3])
        with self._journal.changing() as base:
            row = self._row(base, sheet, approved=approved)
            number = rows.proposal_at(base, row, row.cursor)
            if proposal is not None:
                packed_mask = rows.pack_base(proposal[1])
                number = rows.add_base(base, sheet.stem, proposal[0], self._facts(proposal[0]), packed_mask)
            step = rows.add_step(
                base,
                row,
                name=name,
                tool=tool,
                params=params or {},
                box=tight,
                pixels=pixels,
                delta=delta,
                proposal=number,
                who=self._who,
                batch=batch,
                session=self._session,
            )
            self._put_cursor(base, row, step.id)
        sheet.pixels[y0:y1, x0:x1] = after
        if proposal is not None:
            sheet.source, sheet.proposal = proposal[0], proposal[1].copy()
        self._settled(sheet, row)
        return step

    def undo(self, sheet: Sheet) -> Step | None:
        """Take the last step back; None at the very start.

        Raises:
            UserError: As `go_to`.
        """
        with self._lock:
            if sheet.cursor is None:
                return None
            with self._journal.reading() as base:
                parent = rows.parent_of(base, sheet.stem, sheet.cursor)
            return self._move(sheet, None if parent is rows.GONE else parent)[0]

    def redo(self, sheet: Sheet) -> Step | None:
        """Do the newest step again that was done after the present one; None where there is none.

        Raises:
            UserError: As `go_to`.
        """
        with self._lock:
            with self._journal.reading() as base:
                child = rows.newest_child(base, sheet.stem, sheet.cursor)
            return None if child is None else self._move(sheet, child)[0]

    def go_to(self, sheet: Sheet, step_id: int | None) -> list[Step]:
        """Go to any step of the image's history, other branches included.

        Args:
            sheet: From `load`.
            step_id: The step to be at afterwards; None is the very start.

        Returns:
            The steps that were undone (`done` false) and done again, in that order.

        Raises:
            UserError: The image is approved, has no such step, the room is read-only, or a step is
                damaged; nothing has changed then.
        """
        with self._lock:
            return self._move(sheet, step_id)

    def _move(self, sheet: Sheet, target: int | None) -> list[Step]:
        self._check_writable()
        with self._journal.changing() as base:
            row = self._row(base, sheet, based=False)
            if target is not None and rows.parent_of(base, sheet.stem, target) is rows.GONE:
                raise UserError(
                    f"{sheet.stem} has no step {target}.", "Steps of this image.", "Look at its history."
                )
            mask = sheet.pixels.copy()
            try:
                moves = moves_to(base, sheet.stem, sheet.cursor, target)
                steps = [rows.step_of(base, number, done=done) for number, done in moves]
                walk(base, row, mask, moves)
                shown, source = sheet.proposal, sheet.source
                number = rows.proposal_at(base, row, target)
                if number != rows.proposal_at(base, row, sheet.cursor):
                    blank: tuple[Mask | None, str] = (None, "")
                    shown, source = blank if number is None else rows.base_pixels(base, number, sheet.size)
            except BrokenStep as broken:
                sheet.fresh = False  # the next `load` builds it from what is whole
                raise UserError(
                    f"The history of {sheet.stem} is damaged: {broken}.",
                    "Steps are done and undone on the very pixels they were made on.",
                    "Open the image again; it is then built from the journal.",
                ) from None
            if not moves:
                return []
            self._put_cursor(base, row, target)
        np.copyto(sheet.pixels, mask)
        sheet.proposal, sheet.source = shown, source
        self._settled(sheet, row)
        return steps

    def revert(self, sheet: Sheet) -> Step | None:
        """Go back to the proposal (without one, to the start) in one step, which can be undone."""
        with self._lock:
            with self._journal.reading() as base:
                row = rows.image_row(base, sheet.stem)
                if row is None or row.base is None:
                    return None
                try:
                    start = sheet.proposal
                    if start is None:
                        start = rows.base_pixels(base, row.base, sheet.size)[0]
                except BrokenStep as broken:
                    raise UserError(
                        f"The start of {sheet.stem} cannot be read: {broken}.",
                        "The mask that editing began with is kept in the journal.",
                        "Go back in the history instead.",
                    ) from None
            return self._change(sheet, "Back to the proposal", "revert", start)

    def would_change(self, sheet: Sheet, proposal: Mask) -> NDArray[np.bool_]:
        """Return [H, W] bool: where adopting a proposal would change the mask."""
        with self._lock:
            check_mask(proposal, sheet.size, len(self.project.classes), f"The proposal for {sheet.stem}")
            differs: NDArray[np.bool_] = (proposal != sheet.pixels) & ~self.decided(sheet)
            return differs

    def adopt(self, sheet: Sheet, source: str, proposal: Mask) -> Step | None:
        """Take a newer proposal over where the person has not decided, in one step.

        From then on `revert` goes back to it. None when it is the proposal that counts already
        and changes nothing.
        """
        with self._lock:
            change = self.would_change(sheet, proposal)
            same = sheet.proposal is not None and np.array_equal(sheet.proposal, proposal)
            if same and not change.any():
                return None
            after = np.where(change, proposal, sheet.pixels)
            return self._change(sheet, f"Proposal of {source}", "adopt", after, proposal=(source, proposal))

    def decided(self, sheet: Sheet) -> NDArray[np.bool_]:
        """Return [H, W] bool: pixels that a person set on the way to the cursor; all once approved.

        Reverting to the proposal takes decisions back; a mask that was found in edited/ was
        decided as a whole.
        """
        with self._lock:
            if sheet.state == "approved":
                return np.ones(sheet.size, np.bool_)
            if sheet.known is None or sheet.known[0] != sheet.cursor:
                with self._journal.reading() as base:
                    row = rows.image_row(base, sheet.stem)
                    if row is None or row.base is None:
                        return np.full(sheet.size, sheet.recovered)
                    try:
                        sheet.known = sheet.cursor, decided_at(base, row, sheet.cursor, sheet.known)
                    except BrokenStep:
                        # What cannot be told must not be overwritten.
                        return np.ones(sheet.size, np.bool_)
            return sheet.known[1].copy()

    def steps(self, stem: str) -> list[Step]:
        """Return the way to the cursor, oldest first, and the way that redo would go (`done` false)."""
        with self._lock, self._journal.reading() as base:
            row = rows.image_row(base, stem)
            if row is None:
                return []
            try:
                return history_of(base, row)
            except BrokenStep as broken:
                raise UserError(
                    f"The history of {stem} is damaged: {broken}.",
                    "The mask itself does not depend on it.",
                    "Open the image again and review its mask.",
                ) from None
