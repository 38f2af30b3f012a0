"""The file itself: how a connection is opened, which errors mean that it cannot answer now, copying it while it is in use."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import apsw

from .base import Unavailable
from .disk import to_disk
from .sqlite_schema import migrate

PATIENCE: Final = 30.0  # seconds that anybody waits for another process's lock
CHECKPOINT_PAGES: Final = 2_000  # 8 MB of log: then it is copied into the file
TRUNCATE_PAGES: Final = 16_000  # 64 MB: readers kept it from starting over; insist
OLDEST: Final = (3, 51, 3)  # https://www.sqlite.org/wal.html#walresetbug
COPY_PAGES: Final = 64  # copied between two pauses of a backup

# What the engine says when the machine, not the caller, is at fault.
FAILING: Final = (
    apsw.BusyError, apsw.LockedError, apsw.IOError, apsw.FullError, apsw.CorruptError, apsw.NotADBError, apsw.CantOpenError,
    apsw.ReadOnlyError, apsw.PermissionsError, apsw.NoMemError, apsw.ProtocolError,
)  # fmt: skip


def connect(path: Path, key: str | None = None, *, reading: bool = False) -> apsw.Connection:
    """A connection as every part of the store uses it: WAL, an fsync for every commit, patient. `key`: 64 hex digits, or none."""
    db = apsw.Connection(str(path), statementcachesize=500)
    db.set_busy_handler(patience())
    db.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)  # else a statement is prepared anew for every other value, and ours choose their way themselves
    unlock(db, key)
    if db.pragma("journal_mode") != "wal":
        _to_wal(db)
    db.pragma("synchronous", "FULL")
    db.pragma("temp_store", "MEMORY")
    db.pragma("cache_size", -16_000)
    db.pragma("trusted_schema", "OFF")
    db.pragma("recursive_triggers", "ON")  # a REPLACE is a DELETE to the triggers that keep audit and versions
    if reading:
        db.pragma("query_only", "ON")
    return db


def unlock(db: apsw.Connection, key: str | None) -> None:
    """What is written from now on is encrypted by this key (ChaCha20-Poly1305, https://utelle.github.io/SQLite3MultipleCiphers/)."""
    if key is not None:
        db.pragma("key", f"raw:{key}")  # the key itself: nothing is derived, so that a connection opens at once


def _to_wal(db: apsw.Connection) -> None:
    """Two processes may make the file at once: the change of mode does not wait by itself."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            db.pragma("journal_mode", "wal")
            return
        except apsw.BusyError:
            if time.monotonic() > end:
                raise
            time.sleep(0.005)


def patience() -> Callable[[int], bool]:
    """Short sleeps, growing to 5 ms: SQLite's own steps of up to 100 ms starve a writer beside a busy one."""
    end = 0.0

    def wait(tries: int) -> bool:
        nonlocal end
        if tries == 0:
            end = time.monotonic() + PATIENCE
        time.sleep(min(0.0002 * (tries + 1), 0.005))
        return time.monotonic() < end

    return wait


def prepare(path: Path, key: str | None = None) -> None:
    """Make or bring up to date the store in this file. Unavailable, in one sentence, when that cannot be."""
    if key is not None and not hasattr(apsw, "mc_version"):  # plain apsw would take the key and encrypt nothing
        raise Unavailable("encryption at rest needs the package apsw-sqlite3mc: take apsw out and install that again.")
    if tuple(int(n) for n in apsw.sqlite_lib_version().split(".")) < OLDEST:
        raise Unavailable(f"SQLite {apsw.sqlite_lib_version()} can damage a log that two processes share (fixed in 3.51.3): install apsw-sqlite3mc 3.54 or newer.")
    try:
        if not path.exists():  # for its owner alone; the log beside it follows the file
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        db = connect(path, key)
        try:
            migrate(db)
        finally:
            db.close()
    except Unavailable as refused:
        raise Unavailable(f"{path} cannot be used: {refused}") from None
    except apsw.NotADBError:
        raise Unavailable(
            f"{path} is not a store of this gateway, or is encrypted by another key: see GATEWAY_STORE_KEY, or move it away."
            if key is None
            else f"{path} does not open with GATEWAY_STORE_KEY: it is of another key, or not encrypted (`fhir-gateway store copy` makes an encrypted copy)."
        ) from None
    except apsw.CorruptError:
        raise Unavailable(f"{path} is damaged: keep it, and restore the last backup in its place.") from None
    except apsw.Error as wrong:
        raise Unavailable(f"{path} cannot be opened as a store ({wrong}): check the folder, its rights and the space left.") from None


def scrub(path: Path, key: str | None = None) -> bool:
    """Write the file anew without what was removed from it, and empty its log. False when others kept that from being finished now."""
    db = connect(path, key)
    try:
        db.pragma("secure_delete", "ON")
        db.execute("VACUUM")
        busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()  # type: ignore[misc]
        return not busy
    except apsw.BusyError:
        return False
    finally:
        db.close()


def inode(path: Path) -> tuple[int, int] | None:
    """Which file this is now; None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def is_still(path: Path, known: tuple[int, int] | None) -> bool:
    """Whether the file that was opened is still what the path leads to."""
    return known is not None and inode(path) == known


def unavailable(wrong: apsw.Error) -> Unavailable:
    return Unavailable(f"the store cannot answer now ({type(wrong).__name__.removesuffix('Error').lower()})")


def backup(path: Path, to: Path, key: str | None = None) -> None:
    """A consistent copy as of now, while others read and write. It appears under its name whole and on disk, or not at all."""
    part = to.with_name(to.name + ".part")
    part.unlink(missing_ok=True)
    source = connect(path, key, reading=True)
    try:
        source.execute("BEGIN; SELECT count(*) FROM sqlite_schema")  # one instant: without it, each write starts the copy anew
        target = apsw.Connection(str(part))
        try:
            unlock(target, key)
            with target.backup("main", source, "main") as copy:
                while not copy.done:
                    copy.step(COPY_PAGES)
                    time.sleep(0.001)  # a backup may take longer; readers may not
            target.pragma("journal_mode", "delete")  # one file, nothing beside it
        finally:
            target.close()
        settle(part, to)
    except apsw.Error as wrong:
        raise Unavailable(f"no backup was made at {to} ({wrong})") from wrong
    finally:
        source.close()
        part.unlink(missing_ok=True)


def settle(part: Path, to: Path) -> None:
    """`part` becomes `to`, and both are on disk: the file before it takes the name, the name after."""
    to_disk(part)
    os.replace(part, to)
    to_disk(to.parent)


def integrity(path: Path, key: str | None = None) -> str:
    """`ok`, or the first things SQLite found wrong with the file."""
    db = connect(path, key, reading=True)
    try:
        return "\n".join(str(row[0]) for row in db.execute("PRAGMA integrity_check(20)"))
    except FAILING as wrong:
        return str(wrong)
    finally:
        db.close()
