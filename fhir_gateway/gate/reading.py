"""read, vread, history. https://hl7.org/fhir/R4/http.html#read"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ..domain import consent
from ..domain import search as searching
from ..domain.primitives import whole
from ..domain.problem import Problem, not_found
from ..domain.types import All, Decision, Has, Predicate, Ref, Stored
from .context import (
    Answer,
    Context,
    Entry,
    Page,
    ask,
    ask_stored,
    micros,
    need_scope,
    note,
    notes,
    reads_bytes,
    rendering,
    resumed,
    seal,
    stand,
    within_launch,
)  # fmt: skip

HISTORY_COUNT = 50


async def read(ctx: Context, ref: Ref) -> Answer:
    """The current version. Problem: not-found (hidden and absent alike), gone, insufficient-scope."""
    need_scope(ctx, "r", ref.type)
    stored = await ctx.house.store.get(ref)
    decision = await allow(ctx, "R", "read", ref, stored)
    assert stored is not None
    await ctx.house.store.commit(*notes(ctx, "R", "read", decision, stored.facts, ref))
    if stored.deleted:
        raise Problem("gone", "This was deleted.")
    body, filtered = rendering(ctx, stored)
    return Answer(ref, stored.version, stored.updated, body, filtered)


async def allow(ctx: Context, letter: str, what: str, ref: Ref, stored: Stored | None) -> Decision:
    """Permit, or not-found for hidden and absent alike, written down either way."""
    if stored is None:
        await ctx.house.store.commit(note(ctx, letter, what, None, (str(ref),), allowed=False, detail="absent"))
        raise not_found()
    decision = await ask_stored(ctx, ctx.action, stored)
    if decision.permit and not (within_launch(ctx, "r", stored.facts) and in_scope(ctx, "r", stored)):
        decision = Decision(False, "rbac", rule="scope")
    if not decision.permit:
        await ctx.house.store.commit(*notes(ctx, letter, what, decision, stored.facts, ref))
        raise not_found()
    return decision


def in_scope(ctx: Context, interaction: str, stored: Stored) -> bool:
    """Granular scopes (`patient/Observation.rs?category=…`) restrict what a read may reach, as a search."""
    limits = ctx.scopes.restrictions(stored.ref.type, interaction) if ctx.scopes is not None else ()
    if not limits:
        return True
    if stored.body is None:  # a deletion holds nothing that a restriction could match
        return False
    resource = searching.decoded(stored.body)
    try:
        queries = [searching.parse(stored.ref.type, limit, ctx.house.r4, strict=True) for limit in limits]
    except Problem:  # a restriction that cannot be understood restricts to nothing
        return False
    return any(searching.matches(q, resource, filtered=False, r4=ctx.house.r4) for q in queries)


async def vread(ctx: Context, ref: Ref, version: int) -> Answer:
    """One version, judged by the more restrictive of that version's labels and today's (leak list L15, L16)."""
    need_scope(ctx, "r", ref.type)
    now = await ctx.house.store.get(ref)
    decision = await allow(ctx, "R", "vread", ref, now)
    then = await ctx.house.store.version(ref, version)
    if then is None:
        raise not_found()
    if (then.facts.patients and not (await ask(ctx, ctx.action, then.facts)).permit) or not in_scope(ctx, "r", then):
        await ctx.house.store.commit(*notes(ctx, "R", "vread", decision, then.facts, ref, allowed=False))
        raise not_found()
    await ctx.house.store.commit(*notes(ctx, "R", "vread", decision, then.facts, ref, detail=f"version {version}"))
    if then.deleted:
        raise Problem("gone", "This version is the deletion.")
    body, filtered = rendering(ctx, then)
    return Answer(ref, version, then.updated, body, filtered)


async def history(ctx: Context, type: str | None, id: str | None, params: Sequence[tuple[str, str]] = ()) -> Page:
    """Versions newest first, of one resource, one type or all; `_since`, `_count` and the page token `_page`."""
    need_scope(ctx, "r" if id else "s", type or "*")
    ref = Ref(type, id) if type and id else None
    place = f"history {ref or type or ''}"
    params, before, _ = resumed(ctx, place, params)
    asked = dict(params)
    count = _count(asked.get("_count"))
    since = _instant(asked["_since"]) if asked.get("_since") else None
    if ref is not None:
        now = await ctx.house.store.get(ref)
        await allow(ctx, "R", "history", ref, now)
        assert now is not None
        people = set(now.facts.patients)
    else:
        people = await reachable(ctx)
    predicate = await reach(ctx, people)
    shown: list[Stored] = []
    position = before
    while len(shown) <= count:  # one more than is shown: a next page is promised only where this reader finds something on it
        found = await ctx.house.store.history(ref, type, predicate, since=since, before=position, count=count + 1)
        shown += await _visible(ctx, found.hits)
        position = found.after
        if position is None:
            break
    more, shown = len(shown) > count, shown[:count]
    rows: set[str | None] = {p for v in shown for p in v.facts.patients}
    await ctx.house.store.commit(
        *(note(ctx, "R", "history", None, (str(ref or type or "*"),), patient=p, allowed=True) for p in rows or {None})
    )
    last = shown[-1] if more else None
    used = tuple((k, v) for k, v in asked.items() if k in ("_since", "_count"))
    at = [micros(last.updated), last.ref.type, last.ref.id, last.version] if last else None
    nxt = seal(ctx, place, {"q": used, "at": at}) if at else None
    return Page(tuple(_version(ctx, v) for v in shown), len(shown) if before is None and not more else None, nxt, used)


async def _visible(ctx: Context, versions: Sequence[Stored]) -> list[Stored]:
    """Every version re-decided on its own facts and on today's, by consent, launch and scope."""
    today = await ctx.house.store.get_many(list({v.ref for v in versions}))
    out = []
    for v in versions:
        now = today.get(v.ref)
        if now is None or not within_launch(ctx, "r", v.facts) or not (in_scope(ctx, "r", v) and in_scope(ctx, "r", now)):
            continue
        if (await ask(ctx, ctx.action, now.facts)).permit and (await ask(ctx, ctx.action, v.facts)).permit:
            out.append(v)
    return out


def _version(ctx: Context, v: Stored) -> Entry:
    body = None if v.deleted else (v.body if reads_bytes(ctx, v) else v.view)
    return Entry(v.ref, v.version, v.updated, body, "match", v.writer.method)


async def reachable(ctx: Context) -> set[str]:
    """The people whose record could answer this asker at all."""
    if ctx.launch:
        return {ctx.launch}
    if ctx.actor.kind in ("patient", "proxy") and ctx.actor.patient:
        return {ctx.actor.patient}
    return await ctx.house.store.concerned(ctx.actor.ids | {"*"})


async def reach(ctx: Context, people: set[str]) -> Predicate:
    """The consent predicate over these people, and the launch patient's fence."""
    predicate = consent.scope(ctx.asks(ctx.action), await stand(ctx.house, people, None, ctx.place))
    if ctx.launch and ctx.scopes is not None:
        from ..domain.types import Any_, Only

        fence = Any_((Has("patient", frozenset({ctx.launch})), Only("patient", frozenset())))
        predicate = All((fence, predicate))
    return predicate


def _count(text: str | None) -> int:
    if text is None:
        return HISTORY_COUNT
    count = whole(text)
    if count is None or not 0 < count <= 200:
        raise Problem("bad-request", f"`_count` must be a whole number from 1 to 200, not `{text}`.", "_count")
    return count


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise Problem("bad-request", f"`_since` must be an instant such as 2026-11-01T10:00:00Z, not `{text}`.", "_since") from None
    if at.tzinfo is None:
        raise Problem("bad-request", f"`_since` needs a time zone: `{text}`.", "_since")
    return at


