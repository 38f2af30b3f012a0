"""Everything that is held about one person, for their right to have a copy of it (UK GDPR Art. 15; docs/subject-access.md).

It is not a reader's view: nothing is withheld here, and what tells of others is marked, for a privacy officer to look at first.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from ..auth import apps, people
from ..domain import audit, strict, third_parties, trail_words
from ..domain.periods import micros
from ..domain.problem import Problem, not_found
from ..domain.search import Query
from ..domain.types import Always, Disclosed, Has, Note, Ref, Stored
from .context import Context, note
from .headings import Words, title
from .kinds import KINDS

ROWS: Final = 500
WAITING: Final = "waiting"
UNSETTLED: Final = "a message that nobody has settled: whose it is, and whether it is right, is not known; it may speak of several people"
HELD: Final = "a legal hold: does the reason tell of an inquiry or a claim that the person may not know of?"
UNSENT: Final = "somebody else typed this and has not sent it"
FORMER: Final = "an address of somebody who acts for the person"
_BINARY: Final = re.compile(rb'"(?:[^"]*/)?Binary/([A-Za-z0-9.-]{1,64})"')


@dataclass(frozen=True, slots=True)
class Held:
    """One line of one file of the copy. `why` says what to look at before it is handed over; `title` is what a reader may call it."""

    file: str
    line: Mapping[str, Any]
    name: str
    why: tuple[str, ...] = ()
    title: str = ""
    at: str = ""


@dataclass(slots=True)
class _Known:
    person: str
    words: Words
    names: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()
    number: str = ""  # NHS number, as messages name the person
    refs: set[str] = field(default_factory=set)


async def whole_record(ctx: Context, patient: str, officer: str) -> AsyncIterator[Held]:
    """The current record, every version, the trail, what was sent to whom, notices, choices, claims, emergencies, messages that wait, and sign-ins.

    For an operator in the name of `officer`, a privacy officer. The trail says so before anything leaves. Problem forbidden, not-found.
    """
    ref, store = Ref("Patient", patient), ctx.house.store
    stored = await store.get(ref)
    if not (ctx.actor.operator or ctx.officer):
        await store.commit(note(ctx, "R", "export", None, (str(ref),), patient=str(ref) if stored else None, allowed=False))
        raise Problem("forbidden", "A copy of everything about a person is made by an operator for a privacy officer.")
    if stored is None:
        await store.commit(note(ctx, "R", "export", None, (str(ref),), allowed=False))
        raise not_found()
    await store.commit(note(ctx, "R", "export", None, (str(ref),), patient=str(ref), allowed=True, detail=f"subject access, for {officer}"))
    known = await _known(ctx, stored)
    async for held in _record(ctx, known):
        yield held
    async for held in _trail(ctx, known):
        yield held
    for row in await store.ledger(patient=known.person):
        line = msgspec.to_builtins(row) | {"ref": str(row.ref)}
        yield Held("disclosures.ndjson", line, str(row.ref), title=await _sent(known, row), at=row.at.isoformat())
    async for held in _kept(ctx, known):
        yield held
    async for held in _sign_ins(ctx, known):
        yield held


async def _sent(known: _Known, row: Disclosed) -> str:
    what, to = await known.words.called(str(row.ref)), await known.words.called(row.recipient)
    whom = f", which keeps it for {await known.words.called(row.on_behalf_of)}" if row.on_behalf_of else ""
    return f"{what}, {'fetched by' if row.fetched else 'to'} {to}{f' at {row.remote}' if row.remote != to else ''}{whom}{', taken back' if row.recalled else ''}"


async def _known(ctx: Context, person: Stored) -> _Known:
    store, known = ctx.house.store, _Known(str(person.ref), Words(ctx.house))
    names: set[str] = set()
    own: set[str] = set()
    for version in await store.patient_versions(known.person, ["Patient", "RelatedPerson"]):
        body = strict.decode(version.body) if version.body else {}
        names.update(third_parties.names_of(body))
        if version.ref == person.ref:
            own |= third_parties.own_names(body)
            number = [i.get("value", "") for i in body.get("identifier", []) if str(i.get("system", "")).endswith("/nhs-number")]
            known.number = number[0] if number else known.number
    known.names, known.own = frozenset(names - own), frozenset(own)
    return known


# -- the record -----------------------------------------------------------------------------------------------------------


async def _record(ctx: Context, known: _Known) -> AsyncIterator[Held]:
    store = ctx.house.store
    shared: dict[str, list[Ref]] = {}  # in this record, but first in another's
    after: tuple[Any, ...] | None = None
    while True:
        found = await store.search(Query((), ()), Has("patient", frozenset({known.person})), filtered=Always(), count=ROWS, after=after)
        for hit in found.hits:
            known.refs.add(str(hit.ref))
            if hit.facts.patients[0] != known.person:
                shared.setdefault(hit.ref.type, []).append(hit.ref)
        if (after := found.after) is None:
            break
    attached: set[Ref] = set()
    for type in sorted(set(ctx.house.r4.types) - {"Binary"}):
        versions = await store.patient_versions(known.person, [type])
        for ref in shared.get(type, []):
            versions += await _versions(ctx, ref)
        for held in _lines(versions, known):
            yield held
        for version in versions:
            attached.update(Ref("Binary", id.decode()) for id in _BINARY.findall(version.body or b""))
    for name in sorted(known.refs):
        attached.update(r for r in await store.referrers(Ref(*name.split("/", 1))) if r.type == "Binary")
    binaries = [s for s in (await store.get_many(sorted(attached))).values() if not s.facts.patients and s.facts.refs <= known.refs]
    binaries = [v for s in binaries for v in await _versions(ctx, s.ref)] + await store.patient_versions(known.person, ["Binary"])
    for held in _lines(binaries, known):
        yield held


async def _versions(ctx: Context, ref: Ref) -> list[Stored]:
    out: list[Stored] = []
    before: tuple[Any, ...] | None = None
    while True:
        found = await ctx.house.store.history(ref, None, Always(), before=before, count=ROWS, oldest_first=True)
        out += found.hits
        if (before := found.after) is None:
            return out


def _lines(versions: list[Stored], known: _Known) -> Iterable[Held]:
    """The current ones, then every version with what was done."""
    now: dict[Ref, Stored] = {}
    for version in sorted(versions, key=lambda s: (s.ref, s.version)):
        now[version.ref] = version
    for stored in now.values():
        if stored.body is not None:
            body = strict.decode(stored.body)
            yield Held(f"record/{stored.ref.type}.ndjson", body, str(stored.ref), _why(stored, body, known), title(body) or trail_words.thing(stored.ref.type), stored.updated.isoformat())
    for stored in sorted(versions, key=lambda s: (s.ref, s.version)):
        body = strict.decode(stored.body) if stored.body is not None else {}
        line = {
            **({"resource": body} if body else {}),
            "request": {"method": "DELETE" if stored.body is None else "POST" if stored.version == 1 else "PUT", "url": str(stored.ref)},
            "response": {"status": "200", "etag": f'W/"{stored.version}"', "lastModified": stored.updated.isoformat()},
            "writtenBy": stored.writer.user, "organisation": stored.writer.organisation,
        }  # fmt: skip
        yield Held(f"versions/{stored.ref.type}.ndjson", line, f"{stored.ref}/_history/{stored.version}", _why(stored, body, known))


def _why(stored: Stored, body: Mapping[str, Any], known: _Known) -> tuple[str, ...]:
    return tuple(third_parties.marks(body, known.person, stored.facts, stored.writer, known.names, known.own)) if body else ()


# -- the trail, and what is kept beside the record ------------------------------------------------------------------------


async def _trail(ctx: Context, known: _Known) -> AsyncIterator[Held]:
    before: tuple[Any, ...] | None = None
    while True:
        rows: list[Note] = await ctx.house.store.notes(patient=known.person, before=before, count=ROWS)
        for n in rows:
            other = third_parties.is_other(n.user, known.person)
            why = (f"it names {n.user}, who is no professional",) if other else ()
            yield Held("audit.ndjson", audit.event(n, ctx.house.base_url), f"AuditEvent/{n.id}", why, await known.words.without_ids(trail_words.sentence(n)), n.at.isoformat())
        if len(rows) < ROWS:
            return
        before = (micros(rows[-1].at), rows[-1].id)


async def _kept(ctx: Context, known: _Known) -> AsyncIterator[Held]:
    """What is kept by the person's name, or speaks of them (`kinds`)."""
    store = ctx.house.store
    for kind, about in KINDS.items():
        if about.file in ("", "sign-ins", "apps"):  # these are read otherwise
            continue
        async for key, raw in store.kept_each(kind, ctx.at):
            line = _decoded(raw)
            why = _kept_for(kind, key, raw, line, known)
            if why is not None:
                named = line | {"key": key} if about.file != WAITING else _waiting(kind, key, line)
                yield Held(f"{about.file}.ndjson", named, f"{kind} {key}", why, await known.words.of_kept(kind, key, line), str(line.get("at", "")))


def _waiting(kind: str, key: str, line: Mapping[str, Any]) -> dict[str, Any]:
    """What waits, as it is kept, and what it is. Of what is in quarantine `problem` says which rule it broke."""
    problem = {"problem": line["kind"]} if "kind" in line else {}
    return {"kind": kind, "key": key} | {k: v for k, v in line.items() if k not in ("kind", "key")} | problem


def _kept_for(kind: str, key: str, raw: bytes, line: Mapping[str, Any], known: _Known) -> tuple[str, ...] | None:
    """What to look at first, where this is of the person; None where it is not."""
    if KINDS[kind].file == WAITING:
        return (UNSETTLED,) if _speaks_of(raw.decode(errors="replace"), key, known) else None
    if kind == "tell-former":
        return () if line.get("ref") == known.person else (FORMER,) if line.get("patient") == known.person else None
    if key.split(" ", 1)[0] != known.person:
        return None
    if kind == "begun" and line.get("by") != known.person:
        return (UNSENT,)
    return (HELD,) if kind == "retention-hold" else ()


async def _sign_ins(ctx: Context, known: _Known) -> AsyncIterator[Held]:
    """Accounts of the built-in issuer that are the person's or act for them, without the password's hash; and the apps that these let in."""
    store = ctx.house.store
    mine = [a for a in await people.accounts(store, ctx.at) if known.person in (a.fhir_user, a.patient)]
    whys = {a.username: () if a.fhir_user == known.person else (f"it is the sign-in of {a.fhir_user}, who acts for the person",) for a in mine}
    for a in mine:
        line = {k: v for k, v in msgspec.to_builtins(a).items() if v not in ("", None, ()) and k != "password_hash"}
        yield Held("sign-ins.ndjson", line, f"account {a.username}", whys[a.username], f"{a.username}{', closed' if a.closed else ''}")
    for a in mine:
        for app in await apps.with_access(store, a.username, ctx.at):
            line = {"account": a.username} | msgspec.to_builtins(app)
            yield Held("apps.ndjson", line, f"app {app.id} of {a.username}", whys[a.username], f"{app.name}, until {app.ends:%Y-%m-%d}", app.since.isoformat())


def _speaks_of(text: str, key: str, known: _Known) -> bool:
    names = (known.person, known.number) if known.number else (known.person,)
    return any(re.search(rf"(?<![\w/.-]){re.escape(n)}(?![\w.-])", text) for n in names) or not known.refs.isdisjoint(key.split(" ")[1:])


def _decoded(raw: bytes) -> dict[str, Any]:
    """JSON as it is; anything else as text."""
    try:
        found = strict.read(raw)
    except Problem:  # ours may have nulls, which are no FHIR JSON
        try:
            found = {k: v for k, v in msgspec.json.decode(raw, type=dict[str, Any]).items() if v is not None}
        except msgspec.MsgspecError:
            found = None
    return found if isinstance(found, dict) else {"value": raw.decode(errors="replace")}
