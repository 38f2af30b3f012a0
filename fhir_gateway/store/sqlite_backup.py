"""A backup of the embedded store: one zip file with the store and a page that says what it is, and its hash."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from datetime import datetime
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Final

import apsw
import msgspec

from . import sqlite_file
from .base import Unavailable
from .sqlite_schema import OURS, STEPS

FORMAT: Final = 1  # of the zip file
STORE, SAID = "store.sqlite", "backup.json"
PIECE: Final = 1024 * 1024

Step = Callable[[int], None]


class Said(msgspec.Struct):
    """`backup.json`. `format` is this file's, `steps` the store's; `store` is its name; `size` in bytes."""

    format: int
    steps: int
    store: str
    made: datetime
    size: int
    sha256: str
    program: str = ""


def make(path: Path, to: Path, store: str, made: datetime, program: str, step: Step, key: str | None = None) -> Said:
    """A copy of the store at `path`, while others use it. It appears as `to` whole and on disk, or not at all.

    Unavailable when it cannot be. `step` is told how many bytes were packed.
    """
    copy, part = to.with_name(f"{to.name}.copy"), to.with_name(f"{to.name}.part")
    try:
        sqlite_file.backup(path, copy, key)
        with open(copy, "rb") as f:
            digest = file_digest(f, "sha256").hexdigest()
        said = Said(FORMAT, _steps(copy, key), store, made, copy.stat().st_size, digest, program)
        _private(part)
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as z:
            z.writestr(SAID, msgspec.json.encode(said))
            with z.open(zipfile.ZipInfo(STORE), "w", force_zip64=True) as out, open(copy, "rb") as f:
                while piece := f.read(PIECE):
                    out.write(piece)
                    step(len(piece))
        sqlite_file.settle(part, to)
        return said
    except OSError as wrong:
        raise Unavailable(f"no backup was made at {to} ({wrong.strerror})") from wrong
    finally:
        copy.unlink(missing_ok=True)
        part.unlink(missing_ok=True)


def look(file: Path) -> Said:
    """What a backup says of itself. Unavailable, in one sentence, for anything that is none, or a newer one."""
    try:
        with zipfile.ZipFile(file) as z:
            said = msgspec.json.decode(z.read(SAID), type=Said)
    except OSError as wrong:
        raise Unavailable(f"{file} cannot be read: {wrong.strerror}.") from None
    except (zipfile.BadZipFile, KeyError, msgspec.MsgspecError, NotImplementedError, RuntimeError):
        raise Unavailable(f"{file} is no backup of this gateway, or is damaged.") from None
    if said.format > FORMAT or said.steps > len(STEPS):
        raise Unavailable(f"{file} was made by a newer fhir-gateway ({said.program}): upgrade first.")
    return said


def unpack(file: Path, said: Said, to: Path, step: Step, key: str | None = None) -> None:
    """The store of a backup as the file `to`, checked and brought up to date. Unavailable when it is not what was backed up."""
    known = sha256()
    try:
        _private(to)
        with zipfile.ZipFile(file) as z, z.open(STORE) as f, open(to, "wb") as out:
            while piece := f.read(PIECE):
                known.update(piece)
                out.write(piece)
                step(len(piece))
    except OSError as wrong:
        raise Unavailable(f"{to} cannot be written ({wrong.strerror})") from wrong
    except Exception:
        raise Unavailable(f"{file} is damaged: take another backup.") from None
    if known.hexdigest() != said.sha256 or to.stat().st_size != said.size:
        raise Unavailable(f"{file} is damaged: it does not hold what was backed up. Take another backup.")
    sqlite_file.prepare(to, key)
    if (found := sqlite_file.integrity(to, key)) != "ok":
        raise Unavailable(f"{file} is damaged: {found.splitlines()[0]}")


def in_use(path: Path, key: str | None = None) -> bool:
    """Is a gateway, a worker or a command at work on this store. It is folded into its one file when not."""
    db = apsw.Connection(str(path))
    try:
        sqlite_file.unlock(db, key)
        db.set_busy_timeout(200)
        return bool(db.pragma("journal_mode", "delete") != "delete")
    except (apsw.BusyError, apsw.LockedError):
        return True
    except apsw.Error:
        return False  # it is damaged
    finally:
        db.close()


def take_the_place(new: Path, path: Path, aside: Path, key: str | None = None) -> None:
    """`new` becomes the store, and what was there stays under the name `aside`. Killed at any point, a whole store is there."""
    db = apsw.Connection(str(new))
    try:
        sqlite_file.unlock(db, key)
        db.pragma("journal_mode", "delete")  # one file, nothing beside it
    finally:
        db.close()
    if path.exists():
        os.link(path, aside)
    for left in (path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        left.unlink(missing_ok=True)
    sqlite_file.settle(new, path)


def _steps(path: Path, key: str | None) -> int:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        sqlite_file.unlock(db, key)
        assert int(db.pragma("application_id")) == OURS
        return int(db.pragma("user_version"))
    finally:
        db.close()


def _private(path: Path) -> None:
    """An empty file that only its owner reads."""
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
