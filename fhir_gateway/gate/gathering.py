"""Many resources that belong together: `Patient/$everything` and `CarePlan/[id]/$document`."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from ..domain import bundle, document, mapping, said_again, strict
from ..domain import search as searching
from ..domain.directory import NO_PATIENT_DATA
from ..domain.joined import believed
from ..domain.mapping.names import is_main
from ..domain.merged import records_of
from ..domain.primitives import whole
from ..domain.problem import Problem
from ..domain.search import Query, Term, date_span
from ..domain.shown_plan import shown_plan
from ..domain.standing import Standing
from ..domain.types import CONFIDENTIALITY, All, Always, Has, Note, Predicate, Ref, Stored
from ..tables import load_tables
from .checking import decide_again, epoch_stamp
from .context import (
    Context,
    Page,
    leaving,
    need_scope,
    note,
    notes,
    rendering,
    stand,
    why_shown,
    within_launch,
)
from .handing_out import handed_out
from .paging import resumed, seal
from .reading import allow, in_scope, reach_of, reachable
from .searching import beside, entry_of, shown

GATHERED_AT_ONCE = 200
AHEAD = 20  # looked at together to see whether there is a next page
NAMED_AT_ONCE = 5_000  # references that are looked up in one go for a document
EVERYTHING = ("_count", "_type", "_since", "start", "end")
JOINED = (  # of a record that is read with another of the same person: what somebody must know at once, and whose it is
    "Patient", "AllergyIntolerance", "Flag", "CarePlan", "CareTeam", "RelatedPerson", "MedicationStatement", "MedicationRequest",
)  # fmt: skip


async def everything(ctx: Context, patient: str | None, params: Sequence[tuple[str, str]] = ()) -> Page:
    """`Patient/[id]/$everything`: the whole record of one person, as far as this reader may see it, and what it refers to
    in the directory; without an id of everybody whom this reader can reach.

    `_count`, `_type`, `_since`, `start` and `end` (dates of care; what has no date is always in), `_page`.
    https://hl7.org/fhir/R4/patient-operation-everything.html. Problem not-found when the person is hidden or absent.
    """
    need_scope(ctx, "r", "Patient")
    place = f"everything {patient or ''}"
    params, after, held = resumed(ctx, place, params)
    people = await _people(ctx, patient)
    asked = _asked(params)
    types, terms, span = _types(ctx, asked.get("_type")), _since(ctx, asked.get("_since")), _care(asked.get("start"), asked.get("end"))
    count = _count(asked.get("_count"), ctx.limits.count)
    standings = await stand(ctx.house, people, None, ctx.place)
    stamp = epoch_stamp(ctx, standings)
    if held.get("ep", stamp) != stamp:
        raise Problem("not-found", "This page link does not work any more. Search again.")
    if patient is not None:  # whom nobody can reach permits nothing
        standings |= await stand(ctx.house, await beside(ctx, types, people), None, ctx.place)
    look = _Look(ctx, Query(types, terms), All((Has("patient", frozenset(people)), reach_of(ctx, standings))), standings, span)
    hits, position = await look.page(count, after)
    around = await _directory_around(ctx, hits) if not types else []
    await handed_out(ctx, hits, *await _disclosed(ctx, "E", "everything", [*hits, *around], f"?patient={patient or ''}"))
    entries = [await entry_of(ctx, h, "match") for h in hits] + [await entry_of(ctx, h, "include") for h in around]
    token = seal(ctx, place, {"q": list(asked.items()), "at": list(position), "ep": stamp}) if position is not None else None
    total = len(hits) if position is None and after is None else None
    return Page(tuple(entries), total, token, tuple(asked.items()))


async def gathered(ctx: Context, person: str, types: tuple[str, ...] = ()) -> list[Stored]:
    """Everything of this person (`Patient/…`) that this asker may see, or all of these types, with what it names of the directory.

    Nothing is written down: whoever hands any of it out does that.
    """
    standings = await stand(ctx.house, [person], None, ctx.place)
    standings |= await stand(ctx.house, await beside(ctx, types, {person}), None, ctx.place)
    look = _Look(ctx, Query(types, ()), All((Has("patient", frozenset({person})), reach_of(ctx, standings))), standings, (None, None))
    hits = await look.whole()
    return [*hits, *await _directory_around(ctx, hits)]


async def gathered_of_others(ctx: Context, person: str) -> dict[str, list[Stored]]:
    """What of the other records of this person (`Patient/…`, as an operator merged them) must be known to who reads this one (`JOINED`), by record: what
    this asker may see of each by its own consents, with what it names of the directory. A record of which they see nothing is not there.

    One look for all of them, and none where nothing is merged. Nothing is written down: whoever hands any of it out does that.
    """
    others = sorted(records_of((await stand(ctx.house, [person], None, ctx.place))[person]) - {person})
    if not others:
        return {}
    standings = await stand(ctx.house, others, None, ctx.place)
    standings |= await stand(ctx.house, await beside(ctx, JOINED, set(others)), None, ctx.place)
    look = _Look(ctx, Query(JOINED, ()), All((Has("patient", frozenset(others)), reach_of(ctx, standings))), standings, (None, None))
    out: dict[str, list[Stored]] = {}
    for hit in await look.whole():
        if person not in hit.facts.patients:  # else it is read in this one
            out.setdefault(next(o for o in others if o in hit.facts.patients), []).append(hit)
    return {record: [*out[record], *await _directory_around(ctx, out[record])] for record in others if record in out}


async def joined(ctx: Context, patient: str) -> dict[str, list[dict[str, Any]]]:
    """The same of the person with this id, as this reader may have it, decoded; it is written down in the trail of each record, as a search: its plan
    was not opened. Empty where they see nothing of another."""
    found = await gathered_of_others(ctx, f"Patient/{patient}")
    given = [s for stored in found.values() for s in stored]
    if given:
        await handed_out(ctx, given, *await _disclosed(ctx, "E", "search", given))
    return {record: [strict.decode((await leaving(ctx, s))[0]) for s in stored] for record, stored in found.items()}


@dataclass(frozen=True, slots=True)
class _Look:
    """What `$everything` looks for, and how: what the predicate permits, decided again, and of that what leaves."""

    ctx: Context
    query: Query
    predicate: Predicate
    standings: Mapping[str, Standing]
    span: tuple[int | None, int | None]

    async def page(self, count: int, after: tuple[Any, ...] | None) -> tuple[list[Stored], tuple[Any, ...] | None]:
        """`count` resources beyond a position where there are so many, and the position of the last; None when it is the last of all:
        a next page is promised only where this reader finds something on it."""
        hits: list[Stored] = []
        while True:
            leaving, after = await self.some(count - len(hits), after)
            hits += leaving
            if after is None or len(hits) >= count:
                return hits, after if await self._goes_on(after) else None

    async def whole(self) -> list[Stored]:
        """All that leaves."""
        hits, after = await self.some(GATHERED_AT_ONCE, None)
        while after is not None:
            found, after = await self.some(GATHERED_AT_ONCE, after)
            hits += found
        return hits

    async def _goes_on(self, after: tuple[Any, ...] | None) -> bool:
        while after is not None:
            leaving, after = await self.some(AHEAD, after)
            if leaving:
                return True
        return False

    async def some(self, count: int, after: tuple[Any, ...] | None) -> tuple[list[Stored], tuple[Any, ...] | None]:
        """What leaves of the next `count` that are permitted, and where they end."""
        found = await self.ctx.house.store.search(self.query, self.predicate, filtered=Always(), count=count, after=after)
        await decide_again(self.ctx, found.hits, self.standings)
        return [h for h in found.hits if _leaves(self.ctx, h, self.span)], found.after


async def _people(ctx: Context, patient: str | None) -> set[str]:
    if patient is None:
        return await reachable(ctx)
    person = Ref("Patient", patient)
    stored = await ctx.house.store.get(person)
    await allow(ctx, "R", "everything", person, stored)
    assert stored is not None
    if stored.deleted:
        raise Problem("gone", "This was deleted.")
    return {str(person)}


def _asked(params: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The parameters by name. Types may be named in several `_type`."""
    asked = {k: v for k, v in params if v}
    if "_type" in asked:
        asked["_type"] = ",".join(v for k, v in params if k == "_type" and v)
    return asked


def _types(ctx: Context, text: str | None) -> tuple[str, ...]:
    types = tuple(dict.fromkeys(t for t in (text or "").split(",") if t))
    for t in types:
        if not ctx.house.r4.has_type(t):
            raise Problem("bad-request", f"`{t[:64]}` is not a FHIR R4 resource type.", "_type")
    return types


def _since(ctx: Context, text: str | None) -> tuple[Term, ...]:
    if text is None:
        return ()
    if date_span(text.replace(" ", "+")) is None:
        raise Problem("bad-request", f"`_since` must be an instant such as 2026-11-01T10:00:00Z, not `{text[:40]}`.", "_since")
    return searching.parse("Patient", [("_lastUpdated", "ge" + text.replace(" ", "+"))], ctx.house.r4).terms


def _care(start: str | None, end: str | None) -> tuple[int | None, int | None]:
    """The dates of care asked for, in microseconds, None for open."""
    out: list[int | None] = []
    for name, text, side in (("start", start, 0), ("end", end, 1)):
        span = date_span(text) if text else None
        if text and span is None:
            raise Problem("bad-request", f"`{name}` must be a date such as 2026-11-01, not `{text[:40]}`.", name)
        out.append(span[side] if span else None)
    return out[0], out[1]


def _count(text: str | None, most: int) -> int:
    if text is None:
        return most
    count = whole(text)
    if not count:
        raise Problem("bad-request", f"`_count` must be a whole number from 1 to {most}, not `{text[:40]}`.", "_count")
    return min(count, most)


def _leaves(ctx: Context, hit: Stored, span: tuple[int | None, int | None]) -> bool:
    """Within this sign-in, and of the time asked for."""
    if ctx.scopes is not None and not ctx.scopes.covers("r", hit.ref.type):
        return False
    first, last = hit.facts.low, hit.facts.high
    early = span[0] is not None and last is not None and last < span[0]
    late = span[1] is not None and first is not None and first > span[1]
    return not early and not late and in_scope(ctx, "r", hit) and within_launch(ctx, "r", hit.facts)


async def _directory_around(ctx: Context, hits: Sequence[Stored]) -> list[Stored]:
    """What these name of the directory as this reader has them: what a view takes out of them is not brought along either."""
    naming = [h for h in hits if any(r.split("/", 1)[0] in NO_PATIENT_DATA for r in h.facts.refs)]
    refs = dict.fromkeys([r for h in naming for r in _here(strict.decode((await rendering(ctx, h))[0])) if r.type in NO_PATIENT_DATA])
    found = await ctx.house.store.get_many(list(refs))
    return await shown(ctx, [found[r] for r in refs if r in found])


async def _disclosed(ctx: Context, letter: str, what: str, given: Iterable[Stored], query: str = "") -> list[Note]:
    """One audit row for each person disclosed, with the reason for the first of what was given; one without a person when nobody was."""
    refs: dict[str | None, list[str]] = {}
    of: dict[str | None, list[Stored]] = {}
    for s in given:
        for p in s.facts.patients:
            refs.setdefault(p, []).append(str(s.ref))
            of.setdefault(p, []).append(s)
    why = {p: await why_shown(ctx, theirs) for p, theirs in of.items()}
    people = refs.keys() or {None}
    return [note(ctx, letter, what, why.get(p), sorted(refs.get(p, ())), patient=p, query=query, allowed=True) for p in people]


# -- a plan as a document ---------------------------------------------------------------------------------------------


async def plan_document(ctx: Context, id: str) -> bytes:
    """The plan and what it refers to, as this reader may see it, as a Bundle of type document with a Composition first.

    https://hl7.org/fhir/R4/documents.html. Problem: not-found (hidden and absent alike), gone.
    """
    ref = Ref("CarePlan", id)
    need_scope(ctx, "r", "CarePlan")
    stored = await ctx.house.store.get(ref)
    decision = await allow(ctx, "R", "document", ref, stored)
    assert stored is not None
    if stored.deleted:
        await ctx.house.store.commit(*notes(ctx, "R", "document", decision, stored.facts, ref))
        raise Problem("gone", "This was deleted.")
    own, joined = await _parts_of(ctx, stored)
    others, left = [[s for s in found if joined.takes(s)] for found in await _around(ctx, stored, own, joined.parts)]
    await handed_out(ctx, [stored, *others], *await _disclosed(ctx, "R", "document", [stored, *others]))
    parts = [(s.ref, (await leaving(ctx, s))[0]) for s in (stored, *others)]
    parts = _named_in(ctx, parts)
    resources = {r: strict.decode(raw) for r, raw in parts}
    where = {s.ref: joined.record_of(s) for s in others}
    read, *there = [_read_of(resources, where, r, str(ref) if not r and is_main(resources[ref]) else None) for r in ("", *joined.records)]
    told = {r: there[joined.records.index(w)] for r, w in where.items() if w}
    front = document.composition(
        ref, resources, read, id=ctx.house.new_id(), at=ctx.at, base=ctx.house.base_url,
        confidentiality=_highest([stored, *others, *left]), left=[strict.decode((await rendering(ctx, s))[0]) for s in left], joined=told,
    )  # fmt: skip
    return bundle.document(strict.dump(front), front["id"], parts, ctx.house.base_url, identifier=ctx.house.new_id(), at=ctx.at)


def _read_of(resources: Mapping[Ref, Any], where: Mapping[Ref, str], record: str, main: str | None) -> document.Read:
    """What those of one record (`where`; "" for the plan's own) make with what is nobody's; of another record with whom its crisis plans say to ring."""
    those = [r for ref, r in resources.items() if where.get(ref, "") == record or ref.type in NO_PATIENT_DATA]
    read = mapping.read(those, load_tables(), homeless=False, main=main)
    return document.Read(shown_plan(read.plan, read.became, those) if record else read.plan, read.became)


def _named_in(ctx: Context, parts: Sequence[tuple[Ref, bytes]]) -> list[tuple[Ref, bytes]]:
    """The narrative of a crisis plan (`domain.said_again`) names those relatives who are in the document themselves: nobody else is looked up."""
    names = {str(r): name for r, raw in parts if r.type == "RelatedPerson" and (name := said_again.named(strict.decode(raw)))}
    out = []
    for ref, raw in parts:
        if names and ref.type == "CarePlan" and said_again.says_more(raw):
            more = strict.dump(said_again.said(said_again.without(strict.decode(raw)), names))
            raw = more if len(more) <= ctx.limits.body else raw
        out.append((ref, raw))
    return out


def _highest(parts: Sequence[Stored]) -> str:
    """How private a document is: as its most private part (leak list L32)."""
    return max((s.facts.confidentiality for s in parts if s.facts.patients), key=CONFIDENTIALITY.__getitem__)


@dataclass(frozen=True, slots=True)
class _Joined:
    """Of the other records of a person what goes into the document of their plan, and of all of them what nobody believes (`joined.believed`)."""

    records: tuple[str, ...] = ()
    parts: tuple[Stored, ...] = ()
    not_believed: frozenset[Ref] = frozenset()
    person: str = ""

    def record_of(self, s: Stored) -> str:
        """Which of the others this is of; "" of the plan's own and of what is nobody's."""
        return next((r for r in self.records if r in s.facts.patients and self.person not in s.facts.patients), "")

    def takes(self, s: Stored) -> bool:
        """Whether this goes into the document; of another record nothing but its parts, and who is meant in them."""
        return s.ref not in self.not_believed and (not self.record_of(s) or s.ref in {p.ref for p in self.parts} or document.goes_along(s.ref.type))


async def _parts_of(ctx: Context, plan: Stored) -> tuple[list[Stored], _Joined]:
    """What belongs to a person's main plan though the plan does not refer to it (`document.belongs`), and what of their other records goes with it (`document.joins`);
    nothing of any other plan."""
    body = strict.decode((await rendering(ctx, plan))[0])
    if not is_main(body) or len(plan.facts.patients) != 1:
        return [], _Joined()
    person = plan.facts.patients[0]
    found = [s for s in await gathered(ctx, person) if s.ref != plan.ref and s.facts.patients]
    own = [(s, r) for s in found if document.belongs(r := strict.decode((await rendering(ctx, s))[0]), plan.ref)]
    others = await gathered_of_others(ctx, person)
    theirs = [[(s, r) for s in stored if s.facts.patients and document.joins(r := strict.decode((await rendering(ctx, s))[0]))] for stored in others.values()]
    seen = {id(r) for record in believed([[r for _, r in record] for record in (own, *theirs)]) for r in record} if others else set()
    no = frozenset(s.ref for record in (own, *theirs) for s, r in record if id(r) not in seen) if others else frozenset()
    return [s for s, _ in own], _Joined(tuple(others), tuple(s for record in theirs for s, _ in record), no, person)


async def _around(ctx: Context, plan: Stored, parts: Sequence[Stored], joined: Sequence[Stored]) -> tuple[list[Stored], list[Stored]]:
    """(what goes with the plan, what there is no room for): its parts, what it names, what these name, and what those name, each under this
    reader's own permission; of other records (`joined`) with what each names. Each turn (`document.turn`) brings what it names along, before the next has a place."""
    named = {s.ref: s for s in await _named(ctx, [plan], {plan.ref})}
    own, near = {s.ref for s in parts}, {s.ref: s for s in parts} | named | {s.ref: s for s in joined}
    seen, left = {plan.ref: plan}, dict[Ref, Stored]()

    def seat(found: Iterable[Stored]) -> list[Stored]:
        for s in found:
            if s.ref not in seen:
                (seen if len(seen) < document.MOST else left)[s.ref] = s
        return [s for s in found if s.ref in seen]

    for turn in await _turns(ctx, near.values(), named):
        here = seat(turn)
        next_to = seat(await _named(ctx, [s for s in here if s.ref in own], near.keys() | seen.keys()))
        seat(await _named(ctx, [s for s in (*here, *next_to) if s.ref not in own], near.keys() | seen.keys()))
    del seen[plan.ref]
    return list(seen.values()), [s for s in left.values() if s.ref not in seen]


async def _turns(ctx: Context, found: Iterable[Stored], named: Container[Ref]) -> list[list[Stored]]:
    """These by their turns, in order; of what is over the newest first."""
    turns: dict[int, list[tuple[int, int, Stored]]] = {}
    for s in found:
        turn, place = document.turn(strict.decode((await rendering(ctx, s))[0]), s.ref in named)
        since = s.facts.low if s.facts.low is not None else int(s.updated.timestamp() * 1_000_000)
        turns.setdefault(turn, []).append((place, -since if turn >= document.PAST else 0, s))
    return [[s for _, _, s in sorted(turns[t], key=itemgetter(0, 1))] for t in sorted(turns)]


async def _named(ctx: Context, first: Sequence[Stored], but: Container[Ref]) -> list[Stored]:
    """What these refer to, as far as this reader may see it."""
    refs = dict.fromkeys([r for s in first for r in _here(strict.decode((await rendering(ctx, s))[0])) if r not in but and ctx.house.r4.has_type(r.type)])
    wanted = list(refs)[:NAMED_AT_ONCE]
    found = await ctx.house.store.get_many(wanted)
    return await shown(ctx, [found[r] for r in wanted if r in found])


def _here(resource: dict[str, Any]) -> list[Ref]:
    out = []
    for reference in bundle.references(resource):
        type, _, id = reference.partition("/_history/")[0].partition("/")
        if type.isalpha() and id and "/" not in id:
            out.append(Ref(type, id))
    return out
