"""History, of one resource, one type or all. https://hl7.org/fhir/R4/http.html#history"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from ..domain.periods import micros
from ..domain.primitives import whole
from ..domain.problem import Problem
from ..domain.search import date_span
from ..domain.standing import Standing
from ..domain.types import Always, Predicate, Ref, Stored
from .checking import decide_again, epoch_stamp
from .context import (
    Context,
    Entry,
    Page,
    ask,
    attached,
    leaving,
    need_scope,
    note,
    stand,
    why_shown,
    within_launch,
)
from .handing_out import PAST, handed_out
from .paging import resumed, seal
from .reading import allow, in_scope, reach_of, reachable

COUNT, MOST = 50, 200
SCANNED = 20_000  # versions that `_at` looks through at most
Standings = Mapping[str, Standing]
KNOWN = ("_since", "_at", "_count", "_summary", "_elements", "_format", "_pretty", "_sort")


async def history(
    ctx: Context, type: str | None, id: str | None, params: Sequence[tuple[str, str]] = (), *, strict: bool = False
) -> Page:
    """Versions newest first, deletions among them; `_since`, `_at`, `_count` and the page token `_page`.

    Problem: not-found (hidden and absent alike), bad-request.
    """
    need_scope(ctx, "r" if id else "s", type or "*")
    ref = Ref(type, id) if type and id else None
    place = f"history {ref or type or ''}"
    params, before, held = resumed(ctx, place, params)
    asked = _asked(params, strict)
    count = _count(asked.get("_count"), ctx.limits.count)
    since = _instant(asked["_since"]) if "_since" in asked else None
    people, predicate = await _whose(ctx, ref)
    standings = await stand(ctx.house, people, None, ctx.place)
    predicate = predicate or reach_of(ctx, standings)
    stamp = epoch_stamp(ctx, standings) if ref else ""  # who follows everything goes on: each page is judged anew
    if held.get("ep", stamp) != stamp:
        raise Problem("not-found", "This page link does not work any more. Ask again.")
    if "_at" in asked:
        shown = await _current_at(ctx, ref, type, predicate, standings, _span(asked["_at"]), since, before)
    else:
        shown = await _since_then(ctx, ref, type, predicate, standings, since, before, count)
    more, shown = len(shown) > count, shown[:count]
    of: dict[str | None, list[Stored]] = {}
    for v in shown:
        for p in v.facts.patients:
            of.setdefault(p, []).append(v)
    why = {p: await why_shown(ctx, theirs) for p, theirs in of.items()}
    await handed_out(
        ctx, shown, *(note(ctx, "R", "history", why.get(p), (str(ref or type or "*"),), patient=p, allowed=True) for p in of.keys() or {None}),
        since=PAST if ref else since,
    )
    used = tuple((k, v) for k, v in asked.items() if k in KNOWN and k not in ("_format", "_pretty"))
    token = seal(ctx, place, {"q": used, "at": list(_place(shown[-1])), "ep": stamp}) if more else None
    total = len(shown) if before is None and not more else None
    return Page(tuple([await _version(ctx, v) for v in shown]), total, token, used)


def _place(v: Stored) -> tuple[Any, ...]:
    return micros(v.updated), v.ref.type, v.ref.id, v.version


async def _since_then(
    ctx: Context, ref: Ref | None, type: str | None, predicate: Predicate, standings: Standings, since: datetime | None,
    before: tuple[Any, ...] | None, count: int,
) -> list[Stored]:  # fmt: skip
    """One more than a page: a next page is promised only where this reader finds something on it."""
    shown: list[Stored] = []
    position = before
    while len(shown) <= count:
        found = await ctx.house.store.history(ref, type, predicate, since=since, before=position, count=count + 1)
        shown += await visible(ctx, found.hits, standings)
        position = found.after
        if position is None:
            break
    return shown


async def _whose(ctx: Context, ref: Ref | None) -> tuple[set[str], Predicate | None]:
    """Whose record this could show, and what of it where consent has no predicate: all, of an attachment that may be seen, each
    version of which is asked about. Problem not-found for one resource that is not for this reader."""
    if ref is None:
        return await reachable(ctx), None
    now = await ctx.house.store.get(ref)
    await allow(ctx, "R", "history", ref, now)
    assert now is not None
    return set(now.facts.patients), Always() if attached(now.facts) else None


async def visible(ctx: Context, versions: Sequence[Stored], standings: Standings) -> list[Stored]:
    """Every version re-decided on its own facts, which the predicate has let through, and on today's; by consent, launch and scope."""
    await decide_again(ctx, [v for v in versions if not attached(v.facts)], standings)
    today = await ctx.house.store.get_many(list({v.ref for v in versions}))
    out = []
    for v in versions:
        now = today.get(v.ref)
        if now is None or not within_launch(ctx, "r", v.facts) or not (in_scope(ctx, "r", v) and in_scope(ctx, "r", now)):
            continue
        if attached(v.facts) and not (await ask(ctx, ctx.action, v.facts)).permit:
            continue
        if (await ask(ctx, ctx.action, now.facts)).permit:
            out.append(v)
    return out


async def _version(ctx: Context, v: Stored) -> Entry:
    body = None if v.deleted else (await leaving(ctx, v))[0]
    return Entry(v.ref, v.version, v.updated, body, "match", v.writer.method)


async def _current_at(
    ctx: Context, ref: Ref | None, type: str | None, predicate: Predicate, standings: Standings, span: tuple[int, int],
    since: datetime | None, before: tuple[Any, ...] | None,
) -> list[Stored]:  # fmt: skip
    """Versions that were current at some moment of `span`: those written in it, and of each resource the last one before."""
    low, high = span
    position: tuple[Any, ...] | None = (high + 1, "", "", 0)
    hits: list[Stored] = []
    older: set[Ref] = set()
    begun: dict[Ref, int] = {}  # when the earliest version within the span came
    scanned = 0
    while position is not None:
        found = await ctx.house.store.history(ref, type, predicate, before=position, count=MOST)
        scanned += len(found.hits)
        for v in found.hits:
            if micros(v.updated) >= low:
                hits.append(v)
                begun[v.ref] = micros(v.updated)
            elif v.ref not in older:
                older.add(v.ref)
                if not v.deleted and begun.get(v.ref, high) > low:
                    hits.append(v)
        position = found.after if not (ref and older) else None
        if scanned > SCANNED:
            raise Problem("bad-request", "This looks too far back for `_at`: ask for one resource, or with `_since`.", "_at")
    seen = await visible(ctx, [h for h in hits if since is None or h.updated >= since], standings)
    return [v for v in seen if before is None or _place(v) < before]


def _asked(params: Sequence[tuple[str, str]], strict: bool) -> Mapping[str, str]:
    """The parameters by name, empty ones left out. Problem bad-request for one given twice, when strict for an unknown one."""
    out: dict[str, str] = {}
    for name, value in params:
        if strict and name not in KNOWN:
            raise Problem("bad-request", f"`{name[:80]}` is not a parameter of a history.", name[:100])
        if name in out and name in ("_since", "_at", "_count"):
            raise Problem("bad-request", f"`{name}` may stand once.", name)
        if value:
            out[name] = value
    return out


def _count(text: str | None, most: int) -> int:
    if text is None:
        return COUNT
    count = whole(text)
    if count is None:
        raise Problem("bad-request", f"`_count` must be a whole number from 1, not `{text[:40]}`.", "_count")
    return max(1, min(count, most))


def _instant(text: str) -> datetime:
    """An instant; a plain date begins where it begins."""
    return datetime.fromisoformat("1970-01-01T00:00:00+00:00") + timedelta(microseconds=_moments(text, "_since")[0])


def _span(text: str) -> tuple[int, int]:
    return _moments(text, "_at")


def _moments(text: str, name: str) -> tuple[int, int]:
    span = date_span(text.replace(" ", "+"))  # a plus sign that was not escaped
    if span is None or not -62_135_596_800_000_000 <= span[0] <= span[1] < 253_402_300_800_000_000:
        raise Problem("bad-request", f"`{name}` must be a date or an instant such as 2026-11-01T10:00:00Z, not `{text[:40]}`.", name)
    return span
