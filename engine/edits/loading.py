"""What an image's mask is when it is opened: from its file, the journal, the proposal, or nothing."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

import numpy as np

from engine import images
from engine.edits.delta import BrokenStep
from engine.edits.masks import MaskDamaged, mask_path, read_written
from engine.edits.replay import replay
from engine.edits.rows import Row, base_pixels, proposal_at
from engine.edits.sheet import Mask
from engine.errors import UserError
from engine.store import Project

__all__ = ["OtherPixels", "Start", "check_image", "check_mask", "find_start"]


class OtherPixels(UserError):
    """An image was corrected on other pixels than it has now.

    Attributes:
        acceptable: Whether it has the mask's size still, so that `EditRoom.accept_image` can keep the mask.
    """

    def __init__(self, acceptable: bool, found: str, accepted: str, todo: str) -> None:
        super().__init__(found, accepted, todo)
        self.acceptable = acceptable


@dataclass
class Start:
    """What was found of an image.

    Attributes:
        mask: [H, W] uint8.
        step: The step that it is at.
        proposal, source: What the engine proposed, and its source.
        recovered: The mask was found in edited/ and no journal tells how it was made.
        chain: Chain in the mask file, where it is the start.
        damaged: The mask file is damaged, in words.
        fault: Why it is not at the cursor, as a sentence.
        unread: Why the proposal cannot be shown, as a sentence.
        ahead: Pixels that the mask file has and the journal has no step for.
    """

    mask: Mask
    step: int | None = None
    proposal: Mask | None = None
    source: str = ""
    recovered: bool = False
    chain: str = ""
    damaged: str = ""
    fault: str = ""
    unread: str = ""
    ahead: Mask | None = None


def check_image(project: Project, stem: str) -> None:
    """Compare an image's file with what the project knows of it.

    Raises:
        UserError: It is missing, or has other bytes: a mask drawn on other pixels means nothing.
    """
    image, path = project.image(stem), project.path(stem)
    todo = f"If the folder moved or changed, run `wsss relink {project.root.name} --images FOLDER`."
    if not path.is_file():
        raise UserError(f"{path} is missing.", "An image is corrected beside its pixels.", todo)
    if image.sha256 and images.digest(path) != image.sha256:
        raise UserError(
            f"{path} is another file than when the project was made: its bytes differ.",
            "A mask belongs to the pixels it was drawn on.",
            f"Put the old file back. {todo}",
        )


def check_mask(mask: Mask, size: tuple[int, ...], classes: int, what: str) -> None:
    """Check pixels that somebody hands in.

    Raises:
        UserError: They have another size or kind, or an index without a class.
    """
    if mask.dtype != np.uint8 or mask.shape != size:
        raise UserError(
            f"{what} is {mask.dtype} of {' x '.join(map(str, mask.shape[::-1]))} px.",
            f"uint8 of {' x '.join(map(str, size[::-1]))} px is accepted.",
            "Make it again for this image.",
        )
    highest = int(np.max(mask, initial=0, where=mask != 255))
    if highest > classes:
        raise UserError(
            f"{what} holds the index {highest}, and the project has {classes} classes.",
            "0 is background, 1 the first class, 255 unsure.",
            "Make it again with the classes of this project.",
        )


def find_start(
    base: sqlite3.Connection, project: Project, row: Row | None, stem: str, proposal: tuple[str, Mask] | None
) -> Start:
    """Return an image's mask as it was left, with all that is wrong with it; nothing is changed.

    Raises:
        UserError: Nothing whole is left of it, it belongs to other pixels, or the proposal does not fit.
    """
    image = project.image(stem)
    size = (image.height, image.width)
    if row is not None and row.base is not None:
        _check_row(project, row)
    path, damaged, written = mask_path(project.root, stem), "", None
    try:
        written = read_written(path, size, len(project.classes))
    except MaskDamaged as error:
        damaged = f"edited/{path.name} is damaged: {error}."
    if row is not None and row.base is not None:
        try:
            found = replay(base, row, written)
        except BrokenStep as broken:
            raise _lost(project, stem, damaged, str(broken)) from None
        start = Start(found.mask, found.step, damaged=damaged, fault=found.fault, ahead=found.ahead)
        start.recovered = bool(row.recovered)
        drawn = found.mask if found.ahead is None else found.ahead
        foreign = written is not None and not written.chain and not (row.recovered and not row.png)
        if written is not None and foreign and not np.array_equal(written.mask, drawn):
            start.damaged = f"edited/{path.name} was written by another program."
        number = proposal_at(base, row, found.step)
        if number is not None:
            try:
                start.proposal, start.source = base_pixels(base, number, size)
            except BrokenStep as broken:
                start.unread = f"The proposal cannot be read: {broken}."
        return start
    if written is not None:
        return Start(written.mask, recovered=True, chain=written.chain)
    if proposal is None:
        return Start(np.zeros(size, np.uint8), damaged=damaged)
    check_mask(proposal[1], size, len(project.classes), f"The proposal '{proposal[0]}' for {stem}")
    return Start(proposal[1].copy(), proposal=proposal[1].copy(), source=proposal[0], damaged=damaged)


def _check_row(project: Project, row: Row) -> None:
    image = project.image(row.stem)
    if (row.height, row.width) != (image.height, image.width) or row.sha256 != image.sha256:
        raise OtherPixels(
            (row.height, row.width) == (image.height, image.width),
            f"{row.stem} was corrected on other pixels: its file then was another one than now.",
            "A mask belongs to the pixels it was drawn on.",
            f"Put the old images back and run `wsss relink {project.root.name} --images FOLDER`; "
            f"the corrected mask stays in edited/{row.stem}.png.",
        )


def _lost(project: Project, stem: str, damaged: str, why: str) -> UserError:
    return UserError(
        f"Nothing whole is left of the corrections of {stem}: {damaged or 'there is no mask file.'} "
        f"In the journal {why}.",
        f"Older masks lie in {project.root / 'edited' / '.kept'}.",
        f"Copy the newest {stem}.N.png from there to edited/{stem}.png, then open the image again.",
    )
