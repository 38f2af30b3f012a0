"""Copies of the store for the day it is lost, and how one is put in its place without reopening what was withdrawn since.

docs/backup.md; docs/notes/0014-what-a-restore-must-not-reopen.md
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import __version__, wiring
from .domain.audit import OPERATOR
from .domain.types import Note
from .settings import Refused, Settings
from .store import journalled, sqlite, sqlite_backup
from .store.base import Store, StoreError
from .store.journal import Damaged, Entry, Head, Journal, merged
from .wiring import new_id, now

Step = Callable[[int], None]
FOR_MONGODB = (
    "This store is in MongoDB: back it up by mongodump --oplog or a snapshot of the replica set, restore it by their means, and then"
    " seal it by `fhir-gateway restore --seal` (docs/backup.md)."
)


@dataclass(frozen=True, slots=True)
class Restored:
    """`aside` is where the store that was there is now."""

    store: str
    made: str
    aside: Path | None


@dataclass(frozen=True, slots=True)
class GivenUp:
    """`entries` that could be read, and whether these are all: nobody knows what stood in a journal, or an end of it, that is lost."""

    entries: int
    whole: bool

    def __str__(self) -> str:
        if self.whole:
            return f"{self.entries} entries of the consent journal given up"
        return f"the consent journal or its end is lost or damaged, so that nobody knows how many entries are given up ({self.entries} could be read)"


async def backup(settings: Settings, file: Path, step: Step) -> dict[str, object]:
    """A backup of the store while it is in use: `{file, store, made, bytes, sha256}`. Refused, or Unavailable, when it cannot be."""
    path = _path(settings)
    if file.is_dir() or not file.parent.is_dir():
        raise Refused(f"{file} cannot be a backup: name a file in a folder that is there.")
    async with wiring.wired(settings) as w:
        name, at = await journalled.name_of(w.store, new_id, now()), now()
        said = await asyncio.to_thread(sqlite_backup.make, path, file, name, at, f"fhir-gateway {__version__}", step, _key(settings))
        await w.store.commit(_note("backup", f"sha256 {said.sha256}"))
    return {"file": str(file), "store": name, "made": at.isoformat(), "bytes": said.size, "sha256": said.sha256}


async def restore(settings: Settings, file: Path, step: Step) -> Restored:
    """Put a backup in the place of the store. It is sealed: nothing is disclosed, and nobody who was signed in still is."""
    path = _path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    said = sqlite_backup.look(file)
    await _may_be_replaced(path, said.store, settings)
    new, at = path.with_name(f"{path.name}.restoring"), now()
    try:
        await asyncio.to_thread(sqlite_backup.unpack, file, said, new, step, _key(settings))
        store = await sqlite.open(new, key=_key(settings), clock=now)
        try:
            why = f"a backup of {said.made.isoformat(timespec='minutes')} was put in its place"
            await journalled.seal(store, why, at, _note("restore", f"{why}, sha256 {said.sha256}: sealed"))
        finally:
            await store.close()
        aside = path.with_name(f"{path.name}.before-{at:%Y%m%dT%H%M%S%f}") if path.exists() else None
        sqlite_backup.take_the_place(new, path, aside or path, _key(settings))
    finally:
        for left in (new, new.with_name(new.name + "-wal"), new.with_name(new.name + "-shm")):
            left.unlink(missing_ok=True)
    return Restored(said.store, said.made.isoformat(), aside)


async def _may_be_replaced(path: Path, store: str, settings: Settings) -> None:
    """Refused while somebody works on the store that is there, or when it is another one."""
    if not path.exists():
        return
    try:
        if sqlite_backup.in_use(path, _key(settings)):
            raise Refused(f"A gateway, a worker or a command works on {path}: stop it first.")
        there = await sqlite.open(path, key=_key(settings), clock=now)
        try:
            name = await journalled.name_of(there, new_id, now())
            await _settled(there, wiring.keep_journal(settings, there, name))
        finally:
            await there.close()
    except StoreError:
        return  # damaged: that is what a backup is for
    if name != store:
        raise Refused(f"This is a backup of another store: move {path} away first, if it is the right one.")


async def _settled(store: Store, kept: journalled.Journalled) -> None:
    """What this store may not have said to its journal yet, it says now, as far as that can be."""
    try:
        if await journalled.why_sealed(store, now()) is None and not await journalled.is_behind(store, kept.journal, now()):
            await kept.settle()
    except (OSError, Damaged):
        pass  # the replay says what is wrong with it


def pieces(of: Settings | Path) -> int:
    """How many steps a backup of this store takes, or the restore of this file."""
    size = sqlite_backup.look(of).size if isinstance(of, Path) else _path(of).stat().st_size if _path(of).exists() else 0
    return -(-size // sqlite_backup.PIECE)


async def seal(settings: Settings) -> None:
    """Seal the store that is there: other tools have put an older copy in its place."""
    async with wiring.wired_sealed_or_not(settings) as w:
        why = "an older copy was put in the place of the store"
        await journalled.seal(w.store, why, now(), _note("restore", f"{why}: sealed"))


async def replay(settings: Settings, places: Sequence[Path], step: Callable[[int, int], None], expect: Sequence[int] = ()) -> int:
    """Take up again what the consent journal says, then open the store; how many entries.

    Refused when the journal has a hole, or ends before what its head says, or before the number that is `expect`ed of it.
    """
    store = await _sealed(settings)
    try:
        name = await journalled.name_of(store, new_id, now())
        entries = await _entries(settings, name, store, places)
        if not entries:
            where = ", ".join(map(str, places or [settings.journal_path]))
            raise Refused(f"There is no consent journal of this store in {where}: name its folder by --journal. The store stays sealed.")
        ends = await asyncio.to_thread(_ends, _journals(settings, name, places), expect)
        seen = 0

        def one() -> None:
            nonlocal seen
            seen += 1
            step(seen, len(entries))

        done = await journalled.replay(store, entries, now(), one)
        said = ", ".join(f"{head.number} ({head.chain[:16]})" for head in ends)
        own = wiring.own_journal(settings, name)
        await asyncio.to_thread(own.encrypt)
        begun = journalled.end_at(wiring.journal_place(settings, name), own.begin_again())
        await store.commit(begun, *journalled.opening(now()), _note("restore", f"consent journal replayed to entry {said}, {done} entries: open"))
        return done
    except Damaged as wrong:
        raise Refused(f"The consent journal cannot be replayed: {wrong}. The store stays sealed.") from None
    finally:
        await store.close()


async def accept_gap(settings: Settings, places: Sequence[Path], who: str, reason: str) -> GivenUp:
    """Open the store though what was decided since is not in force; `who` answers for it."""
    store = await _sealed(settings)
    try:
        name = await journalled.name_of(store, new_id, now())
        try:
            entries = await _entries(settings, name, store, places, checked=False)
        except Damaged:
            entries = []
            if (own := settings.journal_path / name).is_dir():  # a new one is begun
                own.rename(own.with_name(f"{name}.damaged-{now():%Y%m%dT%H%M%S%f}"))
        known = await store.kept_all(journalled.KNOWN, now())
        lost = [e for e in entries if e.id not in known]
        given = GivenUp(len(lost), await asyncio.to_thread(_is_whole, _journals(settings, name, places)))
        note = _note("restore", f"gap accepted by {who}: {reason}; {given}: open")
        kept = wiring.keep_journal(settings, store, name)
        await store.commit(journalled.end_at(wiring.journal_place(settings, name), kept.journal.begin_again()))
        await journalled.give_up(store, lost, new_id(), note)
        await kept.settle()
        return given
    finally:
        await store.close()


async def _sealed(settings: Settings) -> Store:
    """The store, without its journal: what is replayed is there already. Refused when it is not sealed."""
    store = await wiring.open_store(wiring.store_address(settings), settings.search_seconds, _key(settings))
    if await journalled.why_sealed(store, now()) is None:
        await store.close()
        raise Refused("This store is not sealed: there is nothing to replay or to accept.")
    return store


async def _entries(settings: Settings, name: str, store: Store, places: Sequence[Path], *, checked: bool = True) -> list[Entry]:
    journals = _journals(settings, name, places)
    if checked and not await store.kept_all(journalled.KNOWN, now()) and not all(j.is_from_the_start for j in journals):
        raise Damaged("its first file is missing")
    return await asyncio.to_thread(list, merged(journals))


def _journals(settings: Settings, name: str, places: Sequence[Path]) -> list[Journal]:
    """The journals of this store: each in a folder of journals, in a folder of its own, or in one file."""
    own, found = wiring.own_journal(settings, name), []
    for place in places or [settings.journal_path]:
        folder = place / name if (place / name).is_dir() else place
        found.append(own if folder.resolve() == own.folder.resolve() else Journal(folder, settings.store_key))
    return found


def _ends(journals: Sequence[Journal], expect: Sequence[int]) -> list[Head]:
    """Where these end. Damaged when that is too early, or when nobody can say whether it is."""
    if expect and len(expect) != len(journals):
        raise Damaged(f"there are {len(journals)}, and {len(expect)} numbers that are expected of them")
    found = []
    for i, journal in enumerate(journals):
        if not expect and not journal.heads():
            raise Damaged(
                f"{journal.folder} has no head.json, so that nobody can say whether its end is whole. Give the last number that the log has of it"
                " by --expect NUMBER, or answer for it by --accept-gap --who NAME --reason TEXT"
            )
        found.append(journal.end())
        if expect and found[-1].number < expect[i]:
            raise Damaged(f"{journal.folder} ends at entry {found[-1].number}, before entry {expect[i]}, which was expected")
    return found


def _is_whole(journals: Sequence[Journal]) -> bool:
    try:
        return bool(_ends(journals, ()))
    except (Damaged, OSError):
        return False


def _key(settings: Settings) -> str | None:
    return settings.store_key or None


def _path(settings: Settings) -> Path:
    address = wiring.store_address(settings)
    if not address.startswith("sqlite:"):
        raise Refused(FOR_MONGODB)
    return Path(address.removeprefix("sqlite:"))


def _note(what: str, detail: str) -> Note:
    return Note(new_id(), now(), "E", what, True, OPERATOR, "Operator", purpose="HOPERAT", detail=detail)


__all__ = ["accept_gap", "backup", "pieces", "replay", "restore", "seal"]
