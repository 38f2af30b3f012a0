"""A store whose consents, and all else that decides who may see what, are also written to a journal outside it.

The entry stands in the commit itself; it is then appended to the journal, and only then is the commit acknowledged. Killed in
between, the next start appends it: an entry may stand twice, and is taken up once, by its id. docs/backup.md, docs/notes/0014
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from ..domain import strict
from ..domain.directory import DIRECTORY_TYPES
from ..domain.periods import instant, micros
from ..domain.standing import STANDING_TYPES
from ..domain.types import Bump, Dispose, Drop, Facts, Keep, Note, Op, Put, Ref, Relabel, Remove, Send, Stored
from .base import Store, Unavailable, Unsettled
from .journal import Damaged, Entry, Head, Journal, Short
from .trouble import Trouble

KNOWN: Final = "journal"  # kept: which entries this store holds, by id
PENDING: Final = "journal-pending"  # kept: the bytes of those that may not be in the journal yet
END: Final = "journal-end"  # kept: where a journal (`own`, or of one machine of several) surely reached to
OWN: Final = "own"
KNOWN_FOR: Final = timedelta(days=3650)
STORE: Final = ("store", "id")  # kept: the name of this store, which a backup and a journal carry
SEALED: Final = ("store", "sealed")  # kept: why nothing is disclosed now
OPENED: Final = ("store", "opened")  # kept: when a seal was opened last
NUMBER: Final = "nhs-number"  # kept: whose it is; the key is the number itself, which does not go into a disposal's entry
PERSON: Final = re.compile(rb"Patient/[A-Za-z0-9.-]{1,64}")
FAR: Final = datetime(1970, 1, 1, tzinfo=UTC)
DECIDING: Final = STANDING_TYPES | DIRECTORY_TYPES

# Named values that decide nothing, or end with a restore. What is not listed here is journalled: a kind that somebody adds
# tomorrow is rather written down in vain than forgotten.
PASSING: Final = frozenset(
    "attempt audit-head audit-key backfill begun code conflict counted deleted-here deleted-there demo dropped extracted finding grant grant-of health held-there identity identity-met if-none-exist inbox jti journal key-used labelled launch lost-there missed newcomers notice online out-of-reach parked push quarantine reader remote-key"
    " journal-end journal-pending recall-ended recall-told refresh remote-state secret session session-of sign-in-failures signing-key store tell-changes tell-former told turned watermark"
    " hook-called hook-there subscription-event subscription-state".split()
)
ENDING: Final = ("session", "session-of", "code", "grant", "grant-of", "online", "refresh", "launch", "signing-key")  # what a sealing ends
_KINDS: Final[dict[str, type]] = {t.__name__: t for t in (Put, Relabel, Remove, Dispose, Bump, Keep, Drop, Send, Note)}


class Journalled:
    """`store.base.Store`: the same store, with its journal. Everything but `commit` is the store's own."""

    def __init__(self, store: Store, journal: Journal, new_id: Callable[[], str], clock: Callable[[], datetime], place: str = OWN,
                 told: Callable[[Head], None] = lambda head: None, trouble: Trouble | None = None) -> None:  # fmt: skip
        """`told` hears where the journal ends, after each write to it; `trouble`, whether commits fail."""
        self._store, self.journal, self._new_id, self._clock, self._place, self._told = store, journal, new_id, clock, place, told
        self.trouble = trouble or Trouble(clock, lambda why: None)
        self._head: Head | None = None  # where the journal ends, as we left it
        self._saying = False  # a commit under way says it to the store
        self._appended: list[str] = []  # in the journal; their bytes in the store can go
        self._owed: list[Entry] = []  # committed, and not in the journal, which could not be written
        self._waiting: list[tuple[Entry, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, *ops: Op) -> None:
        """Unsettled when it was written but the journal could not be: it is tried again with the next entry, and at the next start."""
        try:
            await self._committed(ops)
        except Unavailable as wrong:
            if not _probes(ops):
                self.trouble.failed(wrong)
            raise
        self.trouble.went()

    async def _committed(self, ops: Sequence[Op]) -> None:
        said = await self._deciding(ops)
        if not said:
            await self._store.commit(*ops)
            return
        both = asyncio.create_task(self._both(ops, said))
        self._under_way.add(both)
        both.add_done_callback(self._under_way.discard)
        await asyncio.shield(both)  # whoever waits may go away: what is begun is written down

    async def _both(self, ops: Sequence[Op], said: Sequence[Op]) -> None:
        at = max((at for op in ops if (at := getattr(op, "at", None)) is not None), default=self._clock())
        entry = Entry(self._new_id(), at, encode(said), people_of(said))
        disposed = {op.person for op in ops if isinstance(op, Dispose)}
        if disposed:
            entry = replace(entry, people=())  # it says only what goes, and must stay
            await self.settle()  # nothing of theirs waits in the store any more
        done: list[str] = []
        if says := not self._saying:  # one at a time: two would write the same value
            done, self._appended, self._saying = self._appended, [], True
        try:
            await self._store.commit(*ops, _known(entry), _pending(entry), *self._in_journal(done))
        except BaseException:
            self._appended += done
            raise
        finally:
            self._saying = self._saying and not says
        try:
            await self._append(entry)
            for person in disposed:
                await asyncio.to_thread(self.journal.forget, person)
        except (OSError, Damaged) as wrong:
            raise Unsettled(f"the consent journal cannot be written ({wrong})") from wrong

    def _in_journal(self, done: Sequence[str]) -> list[Op]:
        """That these entries surely stand in the journal, and where it ends."""
        end = [end_at(self._place, self._head)] if done and self._head is not None else []
        return [*(Drop(PENDING, id) for id in done), *end]

    async def _deciding(self, ops: Sequence[Op]) -> list[Op]:
        """Of a commit, what must be said again after a restore; with it, who was told of it and what is sent for it."""
        if all(type(op) is Note for op in ops):
            return []
        changed = [op for op in ops if isinstance(op, Put) and op.if_version and op.ref.type not in DECIDING]
        before = await self._store.get_many([op.ref for op in changed]) if changed else {}
        said = {id(op) for op in ops if _decides(op, before)}
        kept = [op for op in ops if id(op) in said or isinstance(op, (Bump, Send, Note))] if said else []
        return [replace(op, kept=tuple(k for k in op.kept if k[0] != NUMBER)) if isinstance(op, Dispose) else op for op in kept]

    async def _append(self, entry: Entry) -> None:
        """One write and one fsync for all that wait."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, future))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        await asyncio.shield(future)

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            entries = [*self._owed, *(entry for entry, _ in batch)]
            try:
                self._head = await asyncio.to_thread(self.journal.append, entries)
            except Exception as wrong:
                self._owed = entries  # first of all, the next time
                for _, future in batch:
                    future.set_exception(wrong)
                    future.exception()  # its caller may be gone
            else:
                self._appended += [entry.id for entry in entries]
                self._owed = []
                for _, future in batch:
                    future.set_result(None)
                self._tell()
        self._writing = None

    def _tell(self) -> None:
        """Where the journal ends now. Whoever is told may be gone, as the reader of a log: no commit waits for them."""
        if self._head is not None:
            with suppress(OSError, ValueError):  # a broken pipe, a closed stream
                self._told(self._head)

    async def settle(self) -> int:
        """Append what was committed and perhaps not appended; how many entries."""
        pending = await self._store.kept_all(PENDING, self._clock())
        waiting = [_unpacked(id, raw) for id, raw in sorted(pending.items())]
        if not waiting:
            return 0
        there = {e.id for e in await asyncio.to_thread(list, self.journal.entries())}
        missing = [replace(e, late=True) for e in waiting if e.id not in there]
        if missing:
            self._head = await asyncio.to_thread(self.journal.append, missing)
            self._tell()
        await self._store.commit(*self._in_journal([e.id for e in waiting]))
        return len(missing)

    async def close(self) -> None:
        if self._under_way:
            await asyncio.wait(self._under_way)
        if self._writing is not None:
            await self._writing
        if self._appended:
            done, self._appended = self._appended, []
            try:
                await self._store.commit(*self._in_journal(done))
            finally:
                await self._store.close()
        else:
            await self._store.close()


def _probes(ops: Sequence[Op]) -> bool:
    """Is this but a look whether a write goes."""
    return len(ops) == 1 and isinstance(ops[0], Keep) and ops[0].kind == "health"


def _decides(op: Op, before: dict[Ref, Stored]) -> bool:
    if isinstance(op, Put):
        known = before.get(op.ref)
        return op.ref.type in DECIDING or (known is not None and labels(known.facts) != labels(op.facts))
    if isinstance(op, (Keep, Drop)):
        return op.kind not in PASSING
    return isinstance(op, (Remove, Dispose))


def labels(f: Facts) -> tuple[Any, ...]:
    return f.confidentiality, f.sensitivity, f.other_labels, f.legal, f.declassified


def people_of(ops: Iterable[Op]) -> tuple[str, ...]:
    """Whom these speak of, as far as they say."""
    found: set[str] = set()
    for op in ops:
        if isinstance(op, Put):
            found.update(op.facts.patients)
            found.update({str(op.ref)} if op.ref.type == "Patient" else ())
        elif isinstance(op, (Note, Send)) and op.patient:
            found.add(op.patient)
        elif isinstance(op, (Keep, Drop)):
            found.update(word for word in op.key.split(" ") if word.startswith("Patient/"))
            found.update(name.decode() for name in PERSON.findall(op.value if isinstance(op, Keep) else b""))
    return tuple(sorted(found))


# -- as bytes -------------------------------------------------------------------------------------------------------------


def encode(ops: Sequence[Op]) -> bytes:
    return msgspec.msgpack.encode([(type(op).__name__, op) for op in ops])


def decode(raw: bytes) -> list[Op]:
    """Damaged when this is nothing that `encode` made, or a newer program did."""
    try:
        parts = msgspec.msgpack.decode(raw, type=list[tuple[str, msgspec.Raw]])
        return [msgspec.msgpack.decode(value, type=_KINDS[kind]) for kind, value in parts]
    except (msgspec.MsgspecError, KeyError) as wrong:
        raise Damaged(f"an entry cannot be read ({wrong}): was it written by a newer fhir-gateway?") from None


def _known(entry: Entry) -> Keep:
    return Keep(KNOWN, entry.id, b"", entry.at + KNOWN_FOR)


def _pending(entry: Entry) -> Keep:
    return Keep(PENDING, entry.id, msgspec.msgpack.encode((micros(entry.at), entry.people, entry.ops)), entry.at + KNOWN_FOR)


def _unpacked(id: str, raw: bytes) -> Entry:
    at, people, ops = msgspec.msgpack.decode(raw, type=tuple[int, tuple[str, ...], bytes])
    return Entry(id, instant(at), ops, people)


# -- a store that may be older than its journal ---------------------------------------------------------------------------


async def name_of(store: Store, new_id: Callable[[], str], at: datetime) -> str:
    """The name of this store; made once."""
    while (raw := await store.kept(*STORE, at)) is None:
        try:
            await store.commit(Keep(*STORE, new_id().encode(), if_absent=True))
        except Exception as wrong:
            if type(wrong).__name__ != "Taken":
                raise
    return raw.decode()


async def is_behind(store: Store, journal: Journal, at: datetime) -> bool:
    """Does the journal say more than this store knows: is it an older copy. Damaged when the journal cannot be read."""
    newest = await asyncio.to_thread(journal.newest)
    return any([await store.kept(KNOWN, id, at) is None for id in newest])


def end_at(place: str, head: Head) -> Keep:
    return Keep(END, place, msgspec.json.encode(head))


async def lacks_end(store: Store, journal: Journal, at: datetime, place: str = OWN) -> str | None:
    """What is missing at the end of the journal, as far as its heads and this store know. Damaged when it cannot be read."""
    raw = await store.kept(END, place, at)
    try:
        await asyncio.to_thread(journal.checked_end, None if raw is None else msgspec.json.decode(raw, type=Head))
    except Short as wrong:
        return str(wrong)
    if raw is not None and not journal.heads():
        return f"{journal.folder} has no head.json any more"
    if raw is None and place == OWN and not journal.files():
        surely = set(await store.kept_all(KNOWN, at)) - set(await store.kept_all(PENDING, at))
        if surely and not journal.files():
            return f"{journal.folder} is empty, and {len(surely)} entries stood in it"
    return None


async def seal(store: Store, why: str, at: datetime, *notes: Note) -> None:
    """From now on nothing is disclosed, sent or told; whoever was signed in is not any more, and no token is good."""
    gone = [Drop(kind, key) for kind in ENDING for key in await store.kept_all(kind, at)]
    said = msgspec.json.encode({"why": why, "since": at.isoformat()})
    await store.commit(Keep(*SEALED, said), *gone, Bump("sign-in"), *notes)


async def why_sealed(store: Store, at: datetime) -> str | None:
    raw = await store.kept(*SEALED, at)
    return None if raw is None else str(msgspec.json.decode(raw)["why"])


# -- taking it up again ---------------------------------------------------------------------------------------------------


async def replay(store: Store, entries: Sequence[Entry], at: datetime, step: Callable[[], None] = lambda: None) -> int:
    """Write again what these say and this store does not know, oldest first; how many entries it was.

    Each is a commit of its own with its mark: stopped half-way, the next try goes on there. Damaged when something between the
    copy and the first of these is missing.
    """
    known = set(await store.kept_all(KNOWN, at))
    surely = max(known - set(await store.kept_all(PENDING, at)), default=None)
    if surely is not None and all(e.id != surely for e in entries):
        raise Damaged("what was the last when this copy was made is not in it, so that something in between is missing")
    done = 0
    for entry in entries:
        if entry.id not in known:
            if entry.locked:
                raise Damaged(f"the entry {entry.id} is encrypted by another key than GATEWAY_STORE_KEY")
            await store.commit(*await _again(store, [] if entry.ops is None else decode(entry.ops)), _known(entry))
            known.add(entry.id)
            done += 1
        step()
    return done


async def give_up(store: Store, entries: Iterable[Entry], id: str, told: Note) -> None:
    """Whatever these say is not taken up any more: a named person has accepted it. Opens the store; `id` names the new entry that says so."""
    gap = Entry(id, told.at, encode([told]))
    await store.commit(*map(_known, entries), _known(gap), _pending(gap), *opening(told.at), told)


def opening(at: datetime) -> list[Op]:
    """The seal is gone, and it is known since when."""
    return [Drop(*SEALED), Keep(*OPENED, at.isoformat().encode())]


async def _again(store: Store, ops: Sequence[Op]) -> list[Op]:
    """These operations as they can be done to what is here now."""
    refs = [op.ref for op in ops if isinstance(op, (Put, Remove))]
    there = await store.get_many(refs) if refs else {}
    versions = {ref: s.version for ref, s in there.items()}
    gone = {ref for ref, s in there.items() if s.deleted}
    out: list[Op] = []
    for op in ops:
        if isinstance(op, Keep):
            out.append(replace(op, if_absent=False, if_value=None))
        elif isinstance(op, Drop):
            out.append(replace(op, must_exist=False, if_value=None))
        elif isinstance(op, Put):
            now = versions.get(op.ref, 0)
            out.append(op if op.version == now + 1 else _renumbered(op, now))
            versions[op.ref] = now + 1
            gone.discard(op.ref)
        elif isinstance(op, Remove):
            if op.ref in versions and op.ref not in gone:
                out.append(replace(op, version=versions[op.ref] + 1, if_version=versions[op.ref]))
                versions[op.ref] += 1
                gone.add(op.ref)
        elif isinstance(op, Dispose):
            numbers = await store.kept_all(NUMBER, FAR)
            theirs = tuple((NUMBER, n) for n, whose in numbers.items() if whose.decode() == op.person)
            out.append(replace(op, kept=op.kept + theirs))
        else:
            out.append(op)
    return out


def _renumbered(op: Put, now: int) -> Put:
    """The same content as the next version: what was written between is not here."""
    body, view = (strict.decode(raw) for raw in (op.body, op.view))
    for each in (body, view):
        each["meta"] = {**each.get("meta", {}), "versionId": str(now + 1)}
    return replace(op, version=now + 1, if_version=now, body=strict.dump(body), view=strict.dump(view))
