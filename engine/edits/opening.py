"""Open a project's journal for a room, and what there is to tell about it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

from engine import __version__
from engine.edits import rows
from engine.edits.journal import JOURNAL, Journal, JournalDamaged, in_memory, make, open_journal, set_aside
from engine.edits.place import network_folder
from engine.errors import UserError
from engine.store import Project

__all__ = ["begin", "mask_stems", "opened_journal", "renewed_journal"]


def opened_journal(project: Project, read_only: bool, *, checked: bool = True) -> tuple[Journal, list[str]]:
    """Return (journal, sentences); for a reader it is in memory where there is no file.

    Raises:
        JournalDamaged: It is damaged; nothing was touched.
        UserError: As `open_journal`, or edited/ is a link.
    """
    path, folder = project.root / JOURNAL, project.root / "edited"
    for place in (folder, folder / ".kept", folder / ".damaged"):
        if not place.is_symlink() and (place.is_dir() or not place.exists()):
            continue
        raise UserError(
            f"{place} is no plain folder.",
            "Corrected masks lie in a folder of the project itself.",
            "Move it away, or put the folder itself there.",
        )
    notes: list[str] = []
    if kind := network_folder(project.root):
        notes.append(
            f"The project lies on a network folder ({kind}): every step waits for the disk, "
            "so drawing is slower than on a disk of this computer."
        )
    if path.exists() or path.is_symlink():
        return open_journal(path, read_only=read_only, checked=checked), notes
    masks = mask_stems(folder)
    if masks:
        notes.append(
            f"The journal edits.sqlite is missing, while edited/ holds {len(masks)} mask(s): they are taken "
            "as they are, in the state 'needs review', without the steps that led to them."
        )
    return _new(project, masks, read_only=read_only), notes


def renewed_journal(project: Project) -> tuple[Journal, list[str]]:
    """Put the damaged journal aside and return (a new one, sentences about both).

    Raises:
        UserError: The journal is whole: nobody may lose its history by a wrong click.
    """
    path = project.root / JOURNAL
    notes = []
    if path.exists():
        try:
            open_journal(path, read_only=True).close()
        except JournalDamaged:
            with _writing(path):
                aside = set_aside(path)
        else:
            raise UserError(
                f"{path} is whole.",
                "A damaged journal is put aside for a new one.",
                "Open the corrections as usual.",
            )
        notes.append(f"The damaged journal is kept as {aside.name}.")
    masks = mask_stems(project.root / "edited")
    notes.append(f"{len(masks)} mask(s) of edited/ are the start of the new journal, to be reviewed.")
    return _new(project, masks), notes


def begin(journal: Journal, project: Project, who: str) -> tuple[int, list[str], list[str]]:
    """Note that a session begins.

    Returns:
        (number of the session, images whose mask file lags behind the journal, sentences).
    """
    with journal.changing() as base:
        found = base.execute(
            "INSERT INTO sessions(who, began, version) VALUES (?, ?, ?)", (who, time.time(), __version__)
        )
        session = int(found.lastrowid or 0)
        behind = base.execute(
            "SELECT i.stem FROM images i LEFT JOIN steps s ON s.id = i.cursor"
            " WHERE i.base IS NOT NULL AND i.png != coalesce(s.chain, i.origin)"
        ).fetchall()
        before = base.execute("SELECT value FROM facts WHERE key='classes'").fetchone()
        places = list(project.class_list.first_names)
        base.execute(
            "INSERT OR REPLACE INTO facts VALUES ('classes', ?)", (json.dumps(places, ensure_ascii=False),)
        )
    notes = []
    was = places if before is None else json.loads(before[0])
    if was != places[: len(was)]:  # classes that are renamed or merged keep their places
        notes.append(
            f"wsss.toml was changed by hand: the classes were {', '.join(map(str, was))} when masks were "
            f"last corrected and are {', '.join(places)} now. Corrected masks hold their places."
        )
    return session, [stem for (stem,) in behind if stem in project.images], notes


def mask_stems(folder: Path) -> list[str]:
    """Return the images that have a mask file in edited/, sorted."""
    if not folder.is_dir():
        return []
    return sorted(p.stem for p in folder.glob("*.png") if not p.name.startswith(".") and p.is_file())


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} could not be written ({error.strerror or error}).",
            "Corrections are kept in the project's folder.",
            "Free some space or check the folder's permissions.",
        ) from None


def _new(project: Project, masks: list[str], *, read_only: bool = False) -> Journal:
    path = project.root / JOURNAL
    if read_only:
        journal = in_memory(path)
    else:
        with _writing(path):
            make(path)
        journal = open_journal(path)
    known = [project.images[stem] for stem in masks if stem in project.images]
    with journal.changing(durable=True) as base:
        for image in known:
            row = rows.Row(image.stem, image.height, image.width, image.sha256)
            row.recovered, row.state = 1, "needs review"
            rows.put_row(base, row)
    return journal
