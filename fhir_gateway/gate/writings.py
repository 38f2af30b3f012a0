"""Provenance of every write, made from the versions themselves (`domain.writings`): for whoever sees the version, absent for all others.

They are found by `target` or `patient`, besides the Provenances that somebody wrote, and read by id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from ..domain import search as searching
from ..domain import strict, writings
from ..domain.periods import micros
from ..domain.problem import Problem
from ..domain.rendering import PEOPLE
from ..domain.search import Query, Term
from ..domain.types import CONTACT, VIEW, Always, Ref, Stored
from . import reading
from .context import Answer, Context, Entry, Page, ask_stored, need_scope, note, notes, stand, views_of, why_shown
from .paging import seal
from .past import visible
from .reading import allow
from .subscribers import TYPE as SUBSCRIPTION
from .subscribing import read_one

TYPE: Final = "Provenance"
PAGE: Final = 50
MOST: Final = 5_000  # versions that one search looks at


async def read(ctx: Context, ref: Ref) -> Answer:
    """The current version of a resource (`reading.read`), the Provenance of a write, or a Subscription of one's own."""
    need_scope(ctx, "r", ref.type)
    made = await read_one(ctx, ref) if ref.type == SUBSCRIPTION else await _read_writing(ctx, ref)
    return made if made is not None else await reading.read(ctx, ref)


async def _read_writing(ctx: Context, ref: Ref) -> Answer | None:
    """One that is made from a version; None when the id is none of these, and what this reader does not see is absent (Problem not-found)."""
    meant = writings.of(ctx.house.r4.types, ref.id) if ref.type == TYPE else None
    if meant is None:
        return None
    version = await ctx.house.store.version(*meant)
    seen = await _whole(ctx, [version] if version is not None else [])
    if not seen or not reading.resource_in_scope(ctx, "r", writings.provenance(ref.id, seen[0])):
        await allow(ctx, "R", "read", ref, None)
    decision = await ask_stored(ctx, ctx.action, seen[0])
    await ctx.house.store.commit(*notes(ctx, "R", "history", decision, seen[0].facts, meant[0]))
    return Answer(ref, 1, seen[0].updated, strict.dump(writings.provenance(ref.id, seen[0])))


@dataclass(frozen=True, slots=True)
class Hand:
    """Who wrote a version: the reference or name that signed it, for which organisation, as what kind of caller; and when."""

    at: datetime
    user: str
    organisation: str | None
    kind: str


async def last_written(ctx: Context, refs: Iterable[Ref]) -> dict[Ref, Hand]:
    """Who made each of these what it is now: of what this reader may see, by the same rules as its Provenance."""
    need_scope(ctx, "r", TYPE)
    found = await ctx.house.store.get_many(list(dict.fromkeys(refs)))
    seen = await _whole(ctx, [v for v in found.values() if not v.deleted])
    of: dict[str | None, list[Stored]] = {}
    for v in seen:
        for p in v.facts.patients or (None,):
            of.setdefault(p, []).append(v)
    rows = [note(ctx, "R", "read", await why_shown(ctx, theirs), [str(v.ref) for v in theirs], patient=p, allowed=True) for p, theirs in of.items()]
    if rows:
        await ctx.house.store.commit(*rows)
    return {v.ref: Hand(v.updated, v.writer.user, v.writer.organisation, v.writer.kind) for v in seen}


async def with_writings(ctx: Context, query: Query, page: Page, params: Sequence[tuple[str, str]], before: int, what: str) -> Page:
    """The page of stored Provenances with those of writes after the last of them. `before`: so many of these were on pages before."""
    if page.next is not None:
        return page
    made = await _matching(ctx, query)
    if not made:
        return page
    room = 0 if query.summary == "count" else max((PAGE if query.count is None else query.count) - len(page.entries), 0)
    here = made[before : before + room]
    for v, _ in here:
        decision = await ask_stored(ctx, ctx.action, v)
        await ctx.house.store.commit(*notes(ctx, "R", "history", decision, v.facts, v.ref))
    entries = [Entry(Ref(TYPE, body["id"]), 1, v.updated, strict.dump(body)) for v, body in here]
    after = before + len(here)
    token = seal(ctx, what, {"q": [list(p) for p in params], "at": [], "ep": "", "written": after}) if room and after < len(made) else None
    total = None if page.total is None else page.total + len(made)
    return replace(page, entries=(*page.entries, *entries), next=token, total=total)


async def _matching(ctx: Context, query: Query) -> list[tuple[Stored, dict[str, Any]]]:
    """Newest first. Nothing where neither a target nor a person is named, or the sign-in allows only some Provenances."""
    target, person = _refs(query.terms, "target"), _refs(query.terms, "patient")
    if (target is None and person is None) or (ctx.scopes is not None and ctx.scopes.restrictions(TYPE, "s")):
        return []
    found: list[Stored] = []
    if target is not None:
        for ref in dict.fromkeys(target):
            found += (await ctx.house.store.history(ref, None, Always(), count=MOST)).hits
    elif person is not None:
        for ref in dict.fromkeys(person):
            found += await ctx.house.store.patient_versions(str(ref), [t for t in ctx.house.r4.types if t != TYPE])
    if len(found) > MOST:
        raise Problem("bad-request", f"These are more than {MOST} versions: ask for some, by `target`.", "patient")
    people = None if person is None else {str(ref) for ref in person}
    rest = replace(query, terms=tuple(t for t in query.terms if t.name not in ("target", "patient")))
    out = []
    for v in await _whole(ctx, [v for v in found if people is None or people & set(v.facts.patients)]):
        id = writings.named(ctx.house.r4.types, v.ref, v.version)
        body = writings.provenance(id, v) if id else None
        if body is not None and searching.matches(rest, body, filtered=0, r4=ctx.house.r4):
            out.append((v, body))
    return sorted(out, key=lambda pair: (micros(pair[0].updated), str(pair[0].ref), pair[0].version), reverse=True)


def _refs(terms: Sequence[Term], name: str) -> list[Ref] | None:
    """What one plain parameter names; None when it is not asked, or otherwise."""
    said = [t for t in terms if t.name == name]
    if len(said) != 1 or said[0].modifier or said[0].chain is not None or said[0].has is not None:
        return None
    out = []
    for v in said[0].values:
        text = v.text if "/" in v.text else f"{v.types[0]}/{v.text}" if len(v.types) == 1 else ""
        type, _, id = text.split("/_history/")[0].partition("/")
        if id and "/" not in id:
            out.append(Ref(type, id))
    return out


async def _whole(ctx: Context, versions: Sequence[Stored]) -> list[Stored]:
    """Those that this reader sees, then and now, but by a view that hides places or how to reach somebody: an author may be such."""
    able = [v for v in versions if ctx.scopes is None or ctx.scopes.covers("r", v.ref.type)]
    standings = await stand(ctx.house, {p for v in able for p in v.facts.patients}, None, ctx.place)
    able = [v for v in able if v.ref.type != "Binary" and (await ask_stored(ctx, ctx.action, v)).permit]
    shown = await visible(ctx, able, standings)
    return [v for v in shown if not (await views_of(ctx, v)).bits & ~(VIEW if v.ref.type in PEOPLE else VIEW | CONTACT)]


def skipped(held: Mapping[str, Any]) -> int:
    """How many of these were on the pages before this one."""
    return int(held.get("written", 0))
