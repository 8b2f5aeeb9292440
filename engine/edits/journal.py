"""`<project>/edits.sqlite`: opened, checked before anything touches it, and its errors in words.

A journal that cannot be read is never taken for an empty one: the file is checked byte for
byte of its header and size before SQLite may open it for writing (SQLite takes a file of 0
bytes for a new database), and it is made under another name and linked into place whole.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import sqlite3
import struct
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from engine.atomic import sync_folder, write_bytes
from engine.edits.place import network_folder
from engine.errors import UserError

__all__ = ["JOURNAL", "Journal", "JournalDamaged", "in_memory", "make", "open_journal", "set_aside"]

JOURNAL = "edits.sqlite"
_OURS = 0x77737365
_VERSION = 1
_MAGIC = b"SQLite format 3\0"
# Above this a check of every page takes longer than a person waits; size and header are always checked.
_CHECKED = 32 << 20
_WAIT = 5.0
_SIDES = ("-wal", "-shm", "-journal")

_TABLES = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
_SCHEMA = """
CREATE TABLE facts(key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE sessions(id INTEGER PRIMARY KEY, who TEXT NOT NULL, began REAL NOT NULL, version TEXT NOT NULL);
CREATE TABLE bases(
    id INTEGER PRIMARY KEY, stem TEXT NOT NULL, source TEXT NOT NULL, facts TEXT NOT NULL,
    sha256 TEXT NOT NULL, made REAL NOT NULL, pixels BLOB NOT NULL);
CREATE TABLE images(
    stem TEXT PRIMARY KEY, height INTEGER NOT NULL, width INTEGER NOT NULL, sha256 TEXT NOT NULL,
    base INTEGER, proposal INTEGER, cursor INTEGER, origin TEXT NOT NULL DEFAULT '',
    recovered INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL, note TEXT NOT NULL DEFAULT '',
    seconds REAL NOT NULL DEFAULT 0, png TEXT NOT NULL DEFAULT '', generation INTEGER NOT NULL DEFAULT 0);
CREATE TABLE steps(
    id INTEGER PRIMARY KEY AUTOINCREMENT, stem TEXT NOT NULL, parent INTEGER, name TEXT NOT NULL,
    tool TEXT NOT NULL, params TEXT NOT NULL, y0 INTEGER NOT NULL, x0 INTEGER NOT NULL,
    y1 INTEGER NOT NULL, x1 INTEGER NOT NULL, pixels INTEGER NOT NULL, chain TEXT NOT NULL,
    proposal INTEGER, who TEXT NOT NULL, made REAL NOT NULL, batch TEXT NOT NULL,
    session INTEGER NOT NULL, delta BLOB NOT NULL);
CREATE INDEX steps_of ON steps(stem, parent);
CREATE INDEX steps_batch ON steps(batch) WHERE batch != '';
CREATE TABLE events(
    id INTEGER PRIMARY KEY AUTOINCREMENT, stem TEXT NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL,
    who TEXT NOT NULL, made REAL NOT NULL, step INTEGER);
CREATE INDEX events_of ON events(stem);
"""


class JournalDamaged(UserError):
    """The journal cannot be read; nothing was touched. `EditRoom.restart` goes on without it."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"{path} is damaged: {why}.",
            "It holds every step of the corrections; the masks in edited/ do not depend on it.",
            "Put it back from a backup, or start a new journal from the masks in edited/ "
            "(this one is kept under another name).",
        )


class Journal:
    """An open journal. Its errors are sentences; `changing` is one transaction."""

    def __init__(self, path: Path, base: sqlite3.Connection, mode: str, copy: Path | None = None) -> None:
        self.path = path
        self.mode = mode
        self.base = base
        self._copy = copy

    def close(self) -> None:
        """Close the file; the last to close a write-ahead log leaves one plain file that can be copied."""
        with speaking(self.path):
            try:
                if self.mode == "wal":
                    self.base.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                    with contextlib.suppress(sqlite3.OperationalError):  # somebody reads: the log stays
                        self.base.execute("PRAGMA busy_timeout=200")
                        self.base.execute("PRAGMA journal_mode=DELETE").fetchall()
            finally:
                self.base.close()
                if self._copy is not None:
                    shutil.rmtree(self._copy, ignore_errors=True)

    @contextlib.contextmanager
    def changing(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """Yield the connection within one transaction, taken back whole on any error.

        Args:
            durable: On the disk when this returns; otherwise within a second (a power cut may take
                the last strokes, never damage the file).

        Raises:
            UserError: Another process writes, the disk is full or refuses, or the journal is damaged.
        """
        with speaking(self.path):
            if durable and self.mode == "wal":
                self.base.execute("PRAGMA synchronous=FULL")
            try:
                self.base.execute("BEGIN IMMEDIATE")
                try:
                    yield self.base
                    self.base.execute("COMMIT")
                except BaseException:
                    if self.base.in_transaction:
                        self.base.execute("ROLLBACK")
                    raise
            finally:
                if durable and self.mode == "wal":
                    self.base.execute("PRAGMA synchronous=NORMAL")

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection; what SQLite finds damaged becomes a sentence."""
        with speaking(self.path):
            yield self.base


@contextlib.contextmanager
def speaking(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into sentences.

    Raises:
        JournalDamaged: The file is damaged.
        UserError: It is locked, or the disk is full or refuses.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise JournalDamaged(path, f"a text in it is none ({error.reason})") from None
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT):
            raise JournalDamaged(path, str(error)) from None
        if str(error).startswith("Could not decode"):  # Python's own, without a code
            raise JournalDamaged(path, "a text in it is none") from None
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise UserError(
                f"Another program is writing {path}.",
                "One window at a time corrects a project.",
                "Close the other one, then try again.",
            ) from None
        if code in (
            sqlite3.SQLITE_FULL,
            sqlite3.SQLITE_IOERR,
            sqlite3.SQLITE_READONLY,
            sqlite3.SQLITE_CANTOPEN,
        ):
            raise UserError(
                f"{path} could not be written: {error}.",
                "The last step was not kept; all before it are.",
                "Free some space or check the folder's permissions, then do it again.",
            ) from None
        raise


def make(path: Path) -> None:
    """Make an empty journal at `path`, whole or not at all; what stands there stays."""
    with contextlib.closing(_empty()) as base:
        data = base.serialize()
    part = path.with_name(f".part-{uuid.uuid4().hex}.sqlite")
    write_bytes(part, data)
    try:
        os.link(part, path)
    except FileExistsError:
        raise UserError(
            f"Another program is just making {path}.",
            "One window at a time corrects a project.",
            "Try again.",
        ) from None
    except OSError:  # a file system without links
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)


def in_memory(path: Path) -> Journal:
    """Return an empty journal that is never written, for those who look where nobody corrected anything."""
    return Journal(path, _empty(), "read")


def _empty() -> sqlite3.Connection:
    base = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    base.execute(f"PRAGMA application_id={_OURS}")
    base.execute(f"PRAGMA user_version={_VERSION}")
    base.executescript(_SCHEMA)
    base.execute("INSERT INTO facts VALUES ('id', ?), ('made', ?)", (uuid.uuid4().hex, str(time.time())))
    return base


def set_aside(path: Path) -> Path:
    """Rename a damaged journal with its side files under a dated name, and return it."""
    when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    n, aside = 1, path.with_name(f"{path.stem}.damaged-{when}{path.suffix}")
    while aside.exists():
        n += 1
        aside = path.with_name(f"{path.stem}.damaged-{when}-{n}{path.suffix}")
    # Side files first: a log that is left alone would be taken for the new journal's.
    for side in (*_SIDES, ""):
        old = path.with_name(path.name + side)
        if old.exists():
            old.rename(aside.with_name(aside.name + side))
    sync_folder(path.parent)
    return aside


def open_journal(path: Path, *, read_only: bool = False, checked: bool = True) -> Journal:
    """Open an existing journal.

    Args:
        path: The file.
        read_only: Open it without writing a byte of it.
        checked: Look for damage first; a reader beside a writer need not.

    Raises:
        JournalDamaged: It is empty, cut short, damaged or none of ours; nothing was touched.
        UserError: A newer version made it, it is a link, or it cannot be opened.
    """
    if path.is_symlink():
        raise UserError(
            f"{path} is a link.",
            "A journal in the project's own folder is accepted.",
            "Put the file itself there.",
        )
    _check_bytes(path)
    if checked:
        _check_pages(path)
    with speaking(path):
        if read_only:
            return _ours(_for_reading(path))
        base = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_WAIT)
        journal = _ours(Journal(path, base, "delete"))
        try:
            journal.mode = _mode(base, path)
        except BaseException:
            base.close()
            raise
        return journal


def _ours(journal: Journal) -> Journal:
    """Return a journal whose tables are those that `make` makes; others' could hold triggers.

    Raises:
        JournalDamaged: They are not.
    """
    try:
        if journal.base.execute(_TABLES).fetchall() == _wanted():
            return journal
    except BaseException:
        journal.base.close()
        raise
    journal.base.close()
    raise JournalDamaged(journal.path, "its tables are not those of a journal")


@functools.cache
def _wanted() -> list[tuple[str, ...]]:
    with contextlib.closing(_empty()) as fresh:
        return fresh.execute(_TABLES).fetchall()


def _mode(base: sqlite3.Connection, path: Path) -> str:
    wanted = "delete" if network_folder(path.parent) else "wal"
    mode = str(base.execute(f"PRAGMA journal_mode={wanted}").fetchone()[0])
    # Without the log every commit waits for the disk, or a power cut could damage the file.
    base.execute(f"PRAGMA synchronous={'NORMAL' if mode == 'wal' else 'FULL'}")
    if mode == "wal":
        base.execute("PRAGMA wal_autocheckpoint=0")  # `engine.edits.durable` does it beside the strokes
    return mode


def _for_reading(path: Path) -> Journal:
    try:
        return Journal(path, _readable(path), "read")
    except sqlite3.OperationalError:
        # A killed writer's log must be played back before it can be read, which means writing:
        # in a folder that cannot be written, or against the promise to write nothing. So in a copy.
        folder = Path(tempfile.mkdtemp(prefix="wsss-edits-"))
        try:
            for side in ("-wal", "-journal", ""):
                old = path.with_name(path.name + side)
                if old.is_file():
                    shutil.copyfile(old, folder / old.name)
            base = sqlite3.connect(folder / path.name, isolation_level=None, check_same_thread=False)
            base.execute("SELECT count(*) FROM facts").fetchall()
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return Journal(path, base, "read", folder)


def _readable(path: Path) -> sqlite3.Connection:
    base = sqlite3.connect(
        path.resolve().as_uri() + "?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=_WAIT,
    )
    try:
        base.execute("SELECT count(*) FROM facts").fetchall()
    except BaseException:
        base.close()
        raise
    return base


def _check_bytes(path: Path) -> None:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(100)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror or error}).",
            "The journal of the corrections is read.",
            "Check the permissions of the project's folder.",
        ) from None
    if size == 0:
        raise JournalDamaged(path, "it is empty (0 bytes)")
    if len(head) < 100 or not head.startswith(_MAGIC):
        raise JournalDamaged(path, f"its {size:,} bytes are no SQLite file, or only the beginning of one")
    ours, version = struct.unpack(">I", head[68:72])[0], struct.unpack(">I", head[60:64])[0]
    if ours != _OURS:
        raise JournalDamaged(path, "it is a database of another program")
    if version > _VERSION:
        raise UserError(
            f"A newer version made {path.name} (schema {version}).",
            f"This version reads schema {_VERSION}.",
            "Install the newest wsss-napari to open it.",
        )
    page = struct.unpack(">H", head[16:18])[0]
    whole = (65536 if page == 1 else page) * struct.unpack(">I", head[28:32])[0]
    sides = any(_there(path.with_name(path.name + side)) for side in ("-wal", "-journal"))
    if size < whole and not sides:  # with a log at its side the last pages may stand there
        raise JournalDamaged(path, f"it is cut short, {size:,} of {whole:,} bytes")


def _there(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _check_pages(path: Path) -> None:
    log = _there(path.with_name(path.name + "-wal"))
    if _there(path.with_name(path.name + "-journal")) or (path.stat().st_size > _CHECKED and not log):
        return  # a rollback journal is played back by the first who opens for writing
    with speaking(path):
        try:
            base = _readable(path)
        except sqlite3.OperationalError:
            return  # told by the one who opens it in earnest
        with contextlib.closing(base):
            found = base.execute("PRAGMA quick_check(1)").fetchone()
    if found is None or found[0] != "ok":
        raise JournalDamaged(path, str(found[0] if found else "its pages cannot be read").splitlines()[0])
