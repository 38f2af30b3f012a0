"""One search at one moment: hops first, then each part of what the reader sees, then the page.

What a chain or `_has` leads through is looked up first, under the predicate, as references. A chain that leads through more
than `MOST_HOPS` resources is refused rather than answered in part.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection

from ..domain.predicate import no
from ..domain.search import Query, Term
from ..domain.types import CONTACT, PLACES, PRACTICE, VIEW, All, Any_, ByPerson, Has, Not, Only, Predicate, Views
from .base import Unavailable
from .mongo_documents import Document
from .mongo_order import beyond, null_fields, sort_fields, sort_spec
from .mongo_query import Hops, Said, allowed, both, hidden_by, where

MOST_HOPS: Final = 100_000  # references that one filter carries: a message holds 16 MB
EPOCH: Final[Document] = {"$lookup": {"from": "epoch", "localField": "patient", "foreignField": "_id", "as": "e"}}
_WHOLE: Final[Document] = {"key": 0, "keys": 0, "acl": 0, "ties": 0, "patients": 0}
RETURNED: Final[list[Document]] = [{"$project": _WHOLE}, EPOCH]


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a search reads: the current resources, at one instant (the session's) when it needs several looks."""

    resources: AsyncCollection[Document]
    session: AsyncClientSession | None

    async def find(self, filter: Said, fields: Document) -> AsyncIterator[Document]:
        if filter is False:
            return
        async for d in self.resources.find({} if filter is True else filter, fields, session=self.session, batch_size=5_000):
            yield d

    async def steps(self, pipeline: Sequence[Document]) -> list[Document]:
        return await (await self.resources.aggregate(pipeline, session=self.session)).to_list()


@dataclass(frozen=True, slots=True)
class Reader:
    """What they may see, by parts: (which views they get of it, as bits, and which resources)."""

    may: Predicate
    views: Views

    def parts(self, types: tuple[str, ...]) -> list[tuple[int, Said]]:
        may, v = allowed(self.may, types), self.views
        out = [(0, both(may, allowed(no(v.view), types)))]
        narrower = ((CONTACT, v.contact), (PLACES, v.places), (PRACTICE, v.practice))
        for chosen in product((True, False), repeat=len(narrower)):
            bits = VIEW | sum(bit for (bit, _), gets in zip(narrower, chosen, strict=True) if gets)
            which = (v.view, *(where if gets else no(where) for (_, where), gets in zip(narrower, chosen, strict=True)))
            out.append((bits, both(may, *(allowed(p, types) for p in which))))
        return [(views, said) for views, said in out if said is not False]


def needs_several_looks(query: Query, reader: Reader, total: bool) -> bool:
    hops = any(t.chain is not None for t in _terms(query))
    incoming = any(asks_incoming(p) for p in (reader.may, reader.views.view, reader.views.contact, reader.views.places, reader.views.practice))
    return total or hops or incoming or len(reader.parts(query.types)) > 1


# -- who refers to it ---------------------------------------------------------------------------------------------------


def asks_incoming(p: Predicate) -> bool:
    match p:
        case All(parts) | Any_(parts):
            return any(asks_incoming(part) for part in parts)
        case ByPerson(groups):
            return any(asks_incoming(part) for _, part in groups)
        case Not(part):
            return asks_incoming(part)
        case Has(field, _) | Only(field, _):
            return field == "referred_by"
    return False


async def settled_reader(reader: Reader, moment: Moment) -> Reader:
    v = reader.views
    views = Views(*[await settled(p, moment) for p in (v.view, v.contact, v.places, v.practice)])
    return Reader(await settled(reader.may, moment), views)


async def settled(p: Predicate, moment: Moment) -> Predicate:
    """The same predicate with `referred_by` as the ids of what is referred to now."""
    if not asks_incoming(p):
        return p
    match p:
        case All(parts):
            return All(tuple([await settled(part, moment) for part in parts]))
        case Any_(parts):
            return Any_(tuple([await settled(part, moment) for part in parts]))
        case ByPerson(groups):
            return ByPerson(tuple([(people, await settled(part, moment)) for people, part in groups]))
        case Not(part):
            return Not(await settled(part, moment))
        case Has(_, values):
            return Has("id", await _referred_to({"_id": {"$in": sorted(values)}}, moment))
        case Only(_, values):
            return Not(Has("id", await _referred_to({"_id": {"$nin": sorted(values)}}, moment)))
    return p


async def _referred_to(by: Document, moment: Moment) -> frozenset[str]:
    out: set[str] = set()
    async for d in moment.find({"live": True, **by}, {"acl.ref": 1}):
        out.update(d.get("acl", {}).get("ref", ()))
        _bounded(out)
    return frozenset(out)


# -- chains and _has ------------------------------------------------------------------------------------------------------


def _terms(query: Query) -> Iterator[Term]:
    """Those of its alternatives included; those of its chains not."""
    for t in query.terms:
        yield t
        for q in t.any:
            yield from _terms(q)


async def hops(query: Query, reader: Reader, moment: Moment) -> Hops:
    """For each chain what it may point to; for each `_has` what is pointed to."""
    out: dict[Term, set[str]] = {}
    for t in _terms(query):
        if t.chain is not None and t not in out:
            out[t] = await _pointed_to(t, reader, moment) if t.has else await _matches(t.chain, reader, moment)
    return out


async def _matches(query: Query, reader: Reader, moment: Moment) -> set[str]:
    out: set[str] = set()
    inner = await hops(query, reader, moment)
    for filtered, may in reader.parts(query.types):
        async for d in moment.find(where(query, may, inner, filtered=filtered), {"_id": 1}):
            out.add(d["_id"])
            _bounded(out)
    return out


async def _pointed_to(t: Term, reader: Reader, moment: Moment) -> set[str]:
    assert t.has is not None and t.chain is not None
    _, name = t.has
    out: set[str] = set()
    inner = await hops(t.chain, reader, moment)
    for filtered, may in reader.parts(t.chain.types):
        async for d in moment.find(where(t.chain, may, inner, filtered=filtered), {"key": 1}):
            out.update(k["t"] for k in d.get("key", ()) if k["n"] == name and "t" in k and k.get("z", 0) not in hidden_by(filtered))
            _bounded(out)
    return out


def _bounded(found: set[str]) -> None:
    if len(found) > MOST_HOPS:
        raise Unavailable(f"the search leads through more than {MOST_HOPS} records: name a person or narrow it")


# -- the page -----------------------------------------------------------------------------------------------------------------


async def page(
    query: Query, reader: Reader, found: Hops, moment: Moment, count: int, after: tuple[Any, ...] | None
) -> list[Document]:
    """At most `count` resources in order, those after the position."""
    parts = reader.parts(query.types)
    got = [d for filtered, may in parts for d in await _part(query, where(query, may, found, filtered=filtered), filtered, moment, count, after)]
    return got if len(parts) < 2 else _merged(query, got)[:count]


async def _part(
    query: Query, filter: Said, filtered: int, moment: Moment, count: int, after: tuple[Any, ...] | None
) -> list[Document]:
    if filter is False:
        return []
    match: Document = {} if filter is True else filter
    if not query.sort:
        step = both(match, beyond(query, after)) if after is not None else match
        return await moment.steps([{"$match": step}, {"$sort": {"_id": 1}}, {"$limit": count}, *RETURNED])
    steps: list[Document] = [{"$match": match}, {"$project": sort_fields(query, filtered=filtered)}]
    if after is not None:
        steps.append({"$match": beyond(query, after)})
    own = {"from": "resource", "localField": "_id", "foreignField": "_id", "as": "r"}
    steps += [
        {"$set": null_fields(query)}, {"$sort": sort_spec(query)}, {"$limit": count},  # the page is cut before any body is read
        {"$lookup": own}, {"$set": {"patient": {"$first": "$r.patient"}}}, EPOCH,
    ]  # fmt: skip
    return [d["r"][0] | {"e": d["e"], "sorted": tuple(d[f"s{i}"] for i in range(len(query.sort)))} for d in await moment.steps(steps)]


def _merged(query: Query, got: list[Document]) -> list[Document]:
    """All parts in one order: `search.arranged`."""
    got = sorted(got, key=lambda d: d["_id"])
    for i, (_, down) in reversed(list(enumerate(query.sort))):
        have = [d for d in got if d["sorted"][i] is not None]
        have.sort(key=lambda d: (isinstance(d["sorted"][i], str), d["sorted"][i]), reverse=down)
        got = have + [d for d in got if d["sorted"][i] is None]
    return got


async def total(query: Query, reader: Reader, found: Hops, moment: Moment) -> int:
    """The exact number of matches that the predicate lets through."""
    out = 0
    for filtered, may in reader.parts(query.types):
        filter = where(query, may, found, filtered=filtered)
        if filter is not False:
            match: Document = {} if filter is True else filter
            rows = await moment.steps([{"$match": match}, {"$group": {"_id": None, "n": {"$sum": 1}}}])
            out += sum(row["n"] for row in rows)
    return out


def position(d: Document) -> tuple[Any, ...]:
    """Plain values: a large number comes from the driver as a kind of its own, which nobody else can write down."""
    return (*(int(v) if isinstance(v, int) else v for v in d.get("sorted", ())), d["type"], d["id"])
