"""What must hold after any run of faults, once it is quiet: I1 to I10, one function each (I10, `answers`, of a gateway that serves). Every function answers the sentences of what
is wrong, none when all is well.

`partner` is whom a gateway sends to, `there` that server (such as `scripted.There`). A record that waits for a person (a conflict, something
parked or in quarantine) may differ on the two sides, or be on one alone: `excused` says which those are. Of consent nothing is excused.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from time import monotonic
from typing import Any, Protocol
from urllib.parse import parse_qsl

from fhir_gateway import gate
from fhir_gateway.domain import copies, strict
from fhir_gateway.domain.directory import NO_PATIENT_DATA
from fhir_gateway.domain.identity import nhs_numbers
from fhir_gateway.domain.labels import with_labels
from fhir_gateway.domain.rendering import rendered
from fhir_gateway.domain.search import Query
from fhir_gateway.domain.types import Always, Never, Note, Ref, Stored
from fhir_gateway.domain.vocabulary import own_task
from fhir_gateway.gate import House
from fhir_gateway.gate.ended import to_ask_for
from fhir_gateway.store import sqlite_file
from fhir_gateway.store.base import Store
from fhir_gateway.store.sqlite import SqliteStore
from fhir_gateway.sync.originals import may_stay
from fhir_gateway.sync.partner import Partner, as_owner
from fhir_gateway.sync.status import status

from ..interop.agreement import HELD_BACK, difference, plain, references
from .scripted import Asked, Kept

STATES = ("queued", "leased", "sent", "withheld", "parked", "recalled", "superseded", "skipped")
MANY = 1_000_000
VERSION = re.compile(r"version (\d+)(?:: .*)?\Z", re.DOTALL)
Span = tuple[datetime, datetime | None]  # from, and until; None: it has no end
Begun = tuple[datetime, str]  # when a request arrived, and the `Type/id` here of what it carried


class Held(Protocol):
    """What a partner's server has, by its `Type/id`, every version that it ever had, oldest first, and what a gateway read here itself."""

    held: dict[str, dict[str, Any]]
    history: list[Kept]
    fetched: list[tuple[str, dict[str, Any]]]


# -- what there is -----------------------------------------------------------------------------------------------------


async def versions(store: Store) -> list[Stored]:
    """Every version of everything, oldest first."""
    out: list[Stored] = []
    before: tuple[Any, ...] | None = None
    while True:
        found = await store.history(None, None, Always(), before=before, count=500)
        out += found.hits
        before = found.after
        if before is None:
            return out[::-1]


async def records(store: Store) -> list[Stored]:
    """All that is here now about people."""
    out: list[Stored] = []
    after: tuple[Any, ...] | None = None
    while True:
        found = await store.search(Query(()), Always(), filtered=Never(), count=500, after=after)
        out += [s for s in found.hits if s.facts.patients and not s.deleted]
        after = found.after
        if after is None:
            return out


async def notes(store: Store) -> list[Note]:
    """The whole audit."""
    out: list[Note] = []
    before: tuple[Any, ...] | None = None
    while True:
        some = await store.notes(before=before, count=500)
        out += some
        if len(some) < 500:
            return out
        before = (int(some[-1].at.timestamp() * 1_000_000), some[-1].id)


async def excused(house: House, partner: Partner) -> set[str]:
    """What waits for a person, by `Type/id` here: the two sides may differ in it."""
    now, out = house.clock(), set[str]()
    for kind in ("conflict", "parked", "deleted-there", "identity"):
        out |= {key.split(" ")[1] for key in await house.store.kept_all(kind, now, f"{partner.name} ")}
    for key in await house.store.kept_all("quarantine", now, f"{partner.name} "):
        link = await house.store.link_by_remote(partner.name, key.split(" ")[1])
        out |= {str(link.ref)} if link is not None else set()
    return out


async def flagged(house: House, partner: Partner) -> set[str]:
    """What that server was seen not to keep, as `Type.path`: it may be missing there."""
    return {key.rpartition(" ")[2] for key in await house.store.kept_all("dropped", house.clock(), f"{partner.name} ")}


def as_kept(mine: Any, theirs: Any, path: str, but: Collection[str]) -> Any:
    """Ours without what is not there and is flagged."""
    if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
        left = {k: v for k, v in mine.items() if k in theirs or f"{path}.{k}" not in but}
        return {k: as_kept(v, theirs.get(k), f"{path}.{k}", but) for k, v in left.items()}
    if not isinstance(mine, list) or not isinstance(theirs, list):
        return mine
    if len(theirs) < len(mine) and path in but:
        return theirs if all(t in mine for t in theirs) else mine
    return [as_kept(a, theirs[n] if n < len(theirs) else None, path, but) for n, a in enumerate(mine)]


def here_of(house: House, body: Mapping[str, Any]) -> str:
    """Our `Type/id` of what bears our tag; "" for what does not."""
    found = (copies.parts(code) for code in copies.codes(body))
    return next((f"{body['resourceType']}/{p[1]}" for p in found if p is not None and p[0] == house.name), "")


def named_there(node: Any, there: Any, ours: Mapping[str, str]) -> Any:
    """Ours with what they held back from us as a reference, where they name it in theirs: it is not held back from them."""
    said = {r.get("reference"): r for r in references(there)}
    if isinstance(node, list):
        return [named_there(n, there, ours) for n in node]
    if not isinstance(node, dict):
        return node
    identifier = node.get("identifier")
    if isinstance(identifier, dict) and identifier.get("system") == HELD_BACK and "reference" not in node and identifier["value"] in said:
        rest = {k: v for k, v in node.items() if k not in ("identifier", "type")}
        return {**rest, "reference": ours.get(identifier["value"], identifier["value"])}
    return {k: named_there(v, there, ours) for k, v in node.items()}


async def numbered(store: Store) -> dict[str, str]:
    """Whose NHS number this is or was here: `Patient/id`."""
    every = [s for s in await versions(store) if s.ref.type == "Patient" and s.body is not None]
    return {number: str(s.ref) for s in every for number in nhs_numbers(strict.decode(s.body or b"{}"))}


def carried(house: House, asked: Iterable[Asked], at: Callable[[Asked], datetime], numbers: Mapping[str, str] | None = None) -> list[Begun]:
    """The requests that carried a record of ours, or asked who has one of these NHS numbers, in an address or a body, and when each arrived."""
    out = []
    for one in asked:
        reading = one.method == "GET" or one.path.endswith("_search")
        if not reading and one.method in ("POST", "PUT"):
            name = here_of(house, one.sent) if "resourceType" in one.sent else ""
            out += [(at(one), name)] if name else []
        elif reading:
            said = {**one.query, **dict(parse_qsl(one.raw.decode(errors="replace")))}
            out += [(at(one), whom) for number, whom in (numbers or {}).items() if any(number in text for text in (one.path, *said.values()))]
    return out


# -- I1 to I10 ---------------------------------------------------------------------------------------------------------


async def acknowledged_is_stored(store: Store, acknowledged: Iterable[tuple[Ref, int]]) -> list[str]:
    """I1: what somebody was told is written is there."""
    return [f"I1 {ref} version {n} was acknowledged and is not there" for ref, n in acknowledged if await store.version(ref, n) is None]


def versions_are_contiguous(every: Sequence[Stored]) -> list[str]:
    """I2: from 1 upwards, none left out, none twice."""
    numbers = defaultdict[Ref, list[int]](list)
    for stored in every:
        numbers[stored.ref].append(stored.version)
    return [f"I2 {ref} has versions {sorted(n)}" for ref, n in numbers.items() if sorted(n) != list(range(1, len(n) + 1))]


def versions_have_one_audit_row(every: Sequence[Stored], trail: Sequence[Note]) -> list[str]:
    """I3: for each person whom it is about; and no row speaks of a version that is not there."""
    rows = Counter[tuple[str, str, str | None]]()
    for note in trail:
        if note.allowed and note.action in ("C", "U", "D") and len(note.refs) == 1:
            said = VERSION.match(note.detail)
            if said or note.what == "delete":
                rows[note.refs[0], said[1] if said else "deleted", note.patient] += 1
    want = Counter[tuple[str, str, str | None]]()
    for stored in every:
        for person in stored.facts.patients or (None,):
            want[str(stored.ref), "deleted" if stored.deleted else str(stored.version), person] += 1
    return [f"I3 {ref} version {n} of {person}: {rows[ref, n, person]} audit rows, not {want[ref, n, person]}"
            for ref, n, person in sorted(rows.keys() | want.keys(), key=str) if rows[ref, n, person] != want[ref, n, person]]  # fmt: skip


async def versions_are_queued(house: House, partner: Partner, every: Sequence[Stored], since: datetime | None = None) -> list[str]:
    """I4: an entry for each version that this partner takes, and none for what never was; nothing waits or is under way. `since`: when
    it became a partner; of what is older the newest version is queued, or it went ahead of what refers to it."""
    name, out, entries = partner.name, list[str](), Counter[tuple[str, int]]()
    for state in STATES:
        for item in await house.store.outbox_items(name, state, MANY):
            if item["why"] != "review":
                entries[item["ref"], item["version"]] += 1
    there = {(str(s.ref), s.version) for s in every}
    newest = {stored.ref: stored.version for stored in every}
    linked = {link.ref for link in await house.store.links(name, count=MANY)}
    for stored in every:
        taken = stored.facts.patients and partner.terms.takes(stored.ref.type) and not own_task(stored.ref.type, stored.facts.codes)
        due = since is None or stored.updated >= since or (stored.version == newest[stored.ref] and not stored.deleted and stored.ref not in linked)
        if taken and due and not entries[str(stored.ref), stored.version]:
            out.append(f"I4 {stored.ref} version {stored.version} was never queued for {name}")
    out += [f"I4 {name} has an entry for {ref} version {n}, which never was" for ref, n in entries if (ref, n) not in there]
    said = await status(house, partner)
    if not said["quiet"]:
        out.append(f"I4 {name} is not quiet: {said | {'abilities': ''}}")
    return out


async def outside_is_what_they_may_see(
    house: House, partner: Partner, there: Held, but: Collection[str] = (), closed: Collection[str] = (), undecided: Collection[str] = ()
) -> list[str]:
    """I5: there is a copy of each record that consent lets go, as its owner may see it, and of nothing else; the ledger says the same.
    An element that is said not to be kept there (E23) may be missing.
    `but`: what waits for a person may differ, or be missing there; what may not be there is said of it as of anything.
    `closed`: what the person lets us see no more there, and which may be changed or deleted there since. `undecided`: what was deleted here,
    and whose copy there a person there keeps or deletes, for it was changed there (docs/sync.md, E9); consent would still let it be there."""
    name, out = partner.name, list[str]()
    ctx = await as_owner(house, partner, "disclose")
    links = {str(link.ref): link for link in await house.store.links(name, count=MANY) if not link.gone}
    ours = {k.name: here_of(house, k.body) for k in there.history if k.body is not None and here_of(house, k.body)}
    every = await house.store.links(name, count=MANY)
    ours = {n: ref for n, body in there.fetched if (ref := here_of(house, body))} | ours | {link.remote_id: str(link.ref) for link in every}  # also as it was called before
    sent = dict[str, str]()
    for stored in await versions(house.store):  # what they sent here is called as it is at home, too, where no link came to tell of it
        found = (copies.parts(code) for code in copies.codes(strict.decode(stored.body or b"{}")))
        home = [f"{stored.ref.type}/{p[1]}" for p in found if p is not None and p[0] != house.name]
        ours = dict.fromkeys(home, str(stored.ref)) | ours
        sent |= {str(stored.ref): their for their in home}
    now = {str(link.ref): ours[link.remote_id] for link in every}  # of what has been here twice, as it is called now
    held = {ref: there.held[link.remote_id] for ref, link in links.items() if link.remote_id in there.held}
    live = {now.get(ref, ref) for ref in held}
    rows = await to_ask_for(house, await house.store.ledger(remote=name, open_only=True))
    open_now = {str(row.ref) for row in rows}
    taken_back_there = {str(row.ref) for row in rows if await may_stay(house, partner, ctx, await house.store.get(row.ref))}
    allowed, dropped = set(), await flagged(house, partner)
    for stored in await records(house.store):
        ref = str(stored.ref)
        if not partner.terms.takes(stored.ref.type) or not (await gate.may_send(ctx, partner.terms, stored)).permit:
            continue
        allowed.add(ref)
        if ref in but:
            continue
        if ref in links and ref not in held and ref in closed:
            continue
        if ref not in held:
            out.append(f"I5 {ref} should be at {name} and is not")
            continue
        if stored.ref.type in NO_PATIENT_DATA or (stored.ref.type == "Patient" and not here_of(house, held[ref])):
            continue  # theirs, and never written over
        whole = named_there(strict.decode(stored.body or b"{}"), held[ref], ours)
        seen = with_labels(rendered(whole, await gate.shown_to(ctx, partner.terms, stored)), whole)
        theirs = plain(held[ref], ours, live)
        said = {r.get("reference") for r in references(seen)}  # who names both copies of one thing names it twice
        newer = {ref: ours[home] for ref, home in sent.items() if ref in said - now.keys() and ours[home] not in said}
        mine = as_kept(plain(seen, now | newer, live), theirs, stored.ref.type, dropped)
        if mine != theirs and ref not in closed:
            out.append(f"I5 {ref} differs at {name}: here {difference(mine, theirs)}, there {difference(theirs, mine)}")
    for place, body in there.held.items():
        ref = here_of(house, body)
        if ref and ref not in allowed and ref not in undecided and ref.split("/")[0] not in NO_PATIENT_DATA:
            out.append(f"I5 {ref} is at {name} as {place} and may not be")
    out += [f"I5 {ref} is in the ledger of {name} as there, and may not be" for ref in sorted(open_now - allowed - taken_back_there)]
    copied = {here_of(house, k.body) for k in there.history if k.body is not None} - {""}
    ever = {str(row.ref) for row in await house.store.ledger(remote=name)}
    out += [f"I5 {ref} was at {name}, and the ledger does not know" for ref in sorted(copied - ever) if ref.split("/")[0] not in NO_PATIENT_DATA]
    return out


def nothing_begins_after_a_revocation(begun: Iterable[Begun], shut: Mapping[str, Iterable[Span]]) -> list[str]:
    """I6: no request that carries a record begins while consent keeps that record here. `shut`: from when until when, by `Type/id`."""
    return [f"I6 a request with {ref} began at {at.isoformat()}, which was shut at {since.isoformat()}"
            for at, ref in begun for since, until in shut.get(ref, ()) if since < at and (until is None or at < until)]  # fmt: skip


async def nothing_is_twice(house: House, partner: Partner, there: Held) -> list[str]:
    """I7: one copy there of each record of ours, one record for each identifier there, and one record here for each of theirs."""
    counted = Counter[str]()
    for body in there.held.values():
        type, some = body["resourceType"], body.get("identifier", [])
        counted.update(f"{type} {i.get('system')}|{i['value']} at {partner.name}" for i in (some if isinstance(some, list) else [some]) if i.get("value"))
        counted.update({f"{type} tagged {code} at {partner.name}" for code in copies.codes(body)})
    links = [link for link in await house.store.links(partner.name, count=MANY) if not link.gone]
    here = await house.store.get_many([link.ref for link in links])
    counted.update(f"{link.remote_id} of {partner.name} here" for link in links if link.ref in here and not here[link.ref].deleted)
    return [f"I7 {what}: {n} times" for what, n in counted.items() if n > 1]


def digests(every: Iterable[Stored], trail: Iterable[Note]) -> dict[str, str]:
    """What was, to be held against what is later: each version and each row of the audit by its hash."""
    out = {f"{s.ref}/{s.version}": sha256(repr((s.updated, s.body, s.view, s.writer)).encode()).hexdigest() for s in every}
    return out | {f"audit {n.id}": sha256(repr(n).encode()).hexdigest() for n in trail}


def history_never_changes(earlier: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """I8."""
    return [f"I8 {what} {'has changed' if what in now else 'is gone'}" for what, hash in earlier.items() if now.get(what) != hash]


async def audit_is_as_sealed(house: House, heads: Mapping[int, str] | None = None) -> list[str]:
    """I8 of the audit: its chain holds, and is all that the `heads` kept outside of it, by the number of their segment, speak of."""
    return [f"I8 the audit: {w.text}" for w in (await gate.verify(house, kept=heads)).wrong]


def store_is_whole(store: Any) -> list[str]:
    """I9: SQLite's own look at the file."""
    if not isinstance(store, SqliteStore):
        return []
    said = sqlite_file.integrity(store.path, store._key)
    return [] if said == "ok" else [f"I9 {said}"]


async def answers(ask: Callable[[], Awaitable[int]]) -> list[str]:
    """I10: `ask` for /fhir/metadata gets 200 within a second."""
    began = monotonic()
    code = await ask()
    took = monotonic() - began
    return [] if code == 200 and took <= 1.0 else [f"I10 /metadata answered {code} after {took:.2f} s"]


async def waits(ask: Callable[[], Awaitable[object]], over: asyncio.Event, pause: float = 0.02) -> list[float]:
    """Seconds that each of those who ask one after the other waits until `over`, from when it meant to ask: also for the loop that could not begin."""
    out = list[float]()
    while not over.is_set():
        meant = monotonic() + pause
        await asyncio.sleep(pause)
        await ask()
        out.append(monotonic() - meant)
    return out


def nobody_is_starved(quiet: Sequence[float], busy: Sequence[float], most: float = 0.15) -> list[str]:
    """I10 of many: of those who ask meanwhile, 99 of 100 wait at most four times as long as where nothing else happens, and `most`
    seconds: a machine that is busy with something else is so for both."""
    before, now = (sorted(some)[int(len(some) * 0.99)] for some in (quiet, busy))
    return [] if now <= 4 * before + most else [f"I10 of {len(busy)} readers one in 100 waited {now * 1000:.0f} ms; where nothing happens it is {before * 1000:.0f} ms"]


# -- all of them that need no more than the two sides -------------------------------------------------------------------


async def wrong(
    house: House, pairs: Sequence[tuple[Partner, Held]], *, acknowledged: Iterable[tuple[Ref, int]] = (), earlier: Mapping[str, str] | None = None,
    begun: Mapping[str, Iterable[Begun]] | None = None, shut: Mapping[str, Mapping[str, Iterable[Span]]] | None = None, since: datetime | None = None,
    closed: Mapping[str, Collection[str]] | None = None, undecided: Mapping[str, Collection[str]] | None = None, heads: Mapping[int, str] | None = None,
) -> list[str]:  # fmt: skip
    """I1 to I9 of one gateway and its partners; `begun`, `shut`, `closed` and `undecided` by the partner's name."""

    every, trail = await versions(house.store), await notes(house.store)
    out = await acknowledged_is_stored(house.store, acknowledged)
    out += versions_are_contiguous(every) + versions_have_one_audit_row(every, trail)
    for partner, there in pairs:
        out += await versions_are_queued(house, partner, every, since)
        out += await outside_is_what_they_may_see(house, partner, there, await excused(house, partner), (closed or {}).get(partner.name, ()), (undecided or {}).get(partner.name, ()))
        out += nothing_begins_after_a_revocation((begun or {}).get(partner.name, ()), (shut or {}).get(partner.name, {}))
        out += await nothing_is_twice(house, partner, there)
    out += history_never_changes(earlier or {}, digests(every, trail)) + await audit_is_as_sealed(house, heads)
    return out + store_is_whole(house.store)
