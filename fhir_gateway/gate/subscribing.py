"""A Subscription made, changed, read and ended by its subscriber, and what they ask of it: `$status` and `$events`.

http://hl7.org/fhir/uv/subscriptions-backport . Registered systems alone subscribe; everybody else finds nothing here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from ..domain import search as searching
from ..domain import strict, topics
from ..domain.problem import Problem, not_found
from ..domain.topics import Event
from ..domain.types import Keep, Note, Ref
from .committing import Work
from .conditions import understood
from .context import Answer, Context, Entry, Page, Written, need_scope, note
from .numbering import EVENT, Told, counted, event_key
from .receiving import received
from .subscribers import (
    CHANGED,
    SUBSCRIPTION,
    TYPE,
    State,
    Subscription,
    as_read,
    everybody,
    keep_state,
    may_be_told,
    reader_of,
    record_types,
    seal,
    state_of,
    version_of,
)

MOST: Final = 50  # of one client, and as many that it has ended
PUT_AWAY: Final = timedelta(minutes=10)  # after its end: whoever makes and ends them all day has no more of its endpoint called
LARGEST: Final = 32 * 1024  # bytes of one
PAGE: Final = 200  # events of one answer
Params = Sequence[tuple[str, str]]


# -- whose it is ------------------------------------------------------------------------------------------------------


async def mine(ctx: Context, id: str) -> Subscription | None:
    """The asker's own; None for another's, one that is ended and one that never was, all by the same look."""
    found = await _mine(ctx, id)
    return found[0] if found is not None else None


async def _mine(ctx: Context, id: str) -> tuple[Subscription, bytes] | None:
    """And the bytes it is kept as, to be swapped: a set in it may be written in another order."""
    raw = await ctx.house.store.kept(SUBSCRIPTION, id, ctx.at)
    sub = msgspec.json.decode(raw, type=Subscription) if raw is not None else None
    return (sub, raw) if raw is not None and sub is not None and not sub.ended and _theirs(ctx, sub) else None


def _theirs(ctx: Context, sub: Subscription) -> bool:
    a = ctx.actor
    return a.kind == "system" and ctx.client == sub.client and a.user == sub.user and a.organisation == sub.organisation


async def all_mine(ctx: Context) -> list[Subscription]:
    found = await everybody(ctx.house)
    return [s for s in found.values() if not s.ended and _theirs(ctx, s)]


# -- made, changed, ended ---------------------------------------------------------------------------------------------


async def subscribe(work: Work, raw: bytes, if_none_exist: str | None) -> Written:
    """Prepare a new Subscription. Problem: malformed, invalid, forbidden, business-rule, not-offered, throttled."""
    ctx = work.ctx
    resource = _received(ctx, raw)
    if if_none_exist is not None and (there := await _the_match(ctx, if_none_exist)) is not None:
        return there
    if ctx.actor.kind != "system" or not ctx.client or ctx.launch or ctx.scopes is None:
        raise Problem("forbidden", "Only a system that is registered here can be told of changes.")
    sub = _made(ctx, resource, ctx.house.new_id(), 1, None)
    if await reader_of(ctx.house, sub) is None:
        raise Problem("forbidden", "Only a system that is registered here can be told of changes.")
    await _not_too_many(ctx)
    if resource["status"] not in ("requested", "active"):
        raise Problem("business-rule", "A new Subscription has the status `requested`: this server says when it is active.", "Subscription.status")
    return _kept(work, sub, None, _begun(sub, State()), None, "C", "create")


async def _not_too_many(ctx: Context) -> None:
    """Problem throttled."""
    if len(await all_mine(ctx)) >= MOST:
        raise Problem("throttled", f"A system may have {MOST} Subscriptions: delete one first.", headers={"Retry-After": "60"})
    ended = sorted(s.updated for s in (await everybody(ctx.house)).values() if s.ended and _theirs(ctx, s))
    if len(ended) >= MOST:
        wait = max(1, int((ended[0] + PUT_AWAY - ctx.at).total_seconds()) + 1)
        raise Problem("throttled", f"A system may end {MOST} Subscriptions in ten minutes: change one by PUT instead.", headers={"Retry-After": str(wait)})


async def _the_match(ctx: Context, condition: str) -> Written | None:
    """The one of the asker's own that matches. Problem bad-request, several-matches."""
    need_scope(ctx, "s", TYPE)
    query = understood(ctx, TYPE, condition)
    found = [(s, body) for s in await all_mine(ctx) if (body := await _as_it_is(ctx, s)) and searching.matches(query, strict.decode(body), filtered=0, r4=ctx.house.r4)]
    if len(found) > 1:
        raise Problem("several-matches", "More than one resource matches this condition.", condition[:100])
    for sub, body in found:
        may_read = ctx.scopes is None or ctx.scopes.covers("r", TYPE)
        return Written(Ref(TYPE, sub.id), *version_of(sub, (await state_of(ctx.house, sub.id))[0]), body if may_read else None, "matched")
    return None


async def _as_it_is(ctx: Context, sub: Subscription) -> bytes:
    return as_read(ctx.house, sub, (await state_of(ctx.house, sub.id))[0])


async def change(work: Work, ref: Ref, raw: bytes, if_match: int | None) -> Written:
    """Prepare a Subscription in the place of this one. What it was told by secret headers stays as long as its endpoint does."""
    ctx = work.ctx
    before, kept = await _here(work, ref)
    resource = _received(ctx, raw)
    if resource.get("id") != ref.id:
        raise Problem("bad-request", f"The id in the body must be `{ref.id}`, as in the address.", "Subscription.id")
    state, was = await state_of(ctx.house, ref.id)
    await _as_seen(work, before, state, if_match, "U", "update")
    sub = _made(ctx, resource, ref.id, before.version + 1, before)
    asked = resource["status"]
    if asked == "off":
        state = with_state(state, status="off", trouble="")
    elif asked == "requested" or (state.status == "error" and asked == "active") or state.status == "off" or (sub.wanted, sub.sealed) != (before.wanted, before.sealed):
        missed = 1 if state.status == "off" and state.begun else 0  # a number without an event: whatever changed while it was off was not kept
        state = _begun(sub, with_state(state, number=state.number + missed))
    return _kept(work, sub, kept, state, was, "U", "update")


async def end(work: Work, ref: Ref, if_match: int | None) -> Written:
    """Prepare the end of a Subscription: nothing more is sent, what is queued is let go. It is as if it had never been."""
    ctx = work.ctx
    before, kept = await _here(work, ref)
    state, _ = await state_of(ctx.house, ref.id)
    await _as_seen(work, before, state, if_match, "D", "delete")
    gone = msgspec.structs.replace(before, ended=True, version=before.version + 1, updated=ctx.at, sealed="")
    work.ops += [Keep(SUBSCRIPTION, ref.id, msgspec.json.encode(gone), if_value=kept), CHANGED]
    work.trail.append(note(ctx, "D", "delete", None, (str(ref),), allowed=True))
    return Written(ref, version_of(gone, state)[0], ctx.at, None, "deleted")


def with_state(state: State, **more: Any) -> State:
    return msgspec.structs.replace(state, **more)


def _begun(sub: Subscription, state: State) -> State:
    """Asked for (again): the handshake comes first and at once, but plain R4 knows none. Numbers go on, and what waits goes on waiting."""
    status = "active" if sub.plain else "requested"
    return with_state(state, status=status, failures=0, failing=None, due=None, trouble="", shaken=sub.plain, begun=state.begun or state.shaken or sub.plain)


def _received(ctx: Context, raw: bytes) -> dict[str, Any]:
    if len(raw) > LARGEST:
        raise Problem("too-large", f"A Subscription may have {LARGEST} bytes.")
    _, resource = received(ctx, TYPE, raw)
    return resource


async def _here(work: Work, ref: Ref) -> tuple[Subscription, bytes]:
    found = await _mine(work.ctx, ref.id)
    if found is None:
        raise not_found()
    return found


async def _as_seen(work: Work, before: Subscription, state: State, if_match: int | None, letter: str, what: str) -> None:
    version, _ = version_of(before, state)
    if if_match is not None and if_match != version:
        await work.ctx.house.store.commit(note(work.ctx, letter, what, None, (f"{TYPE}/{before.id}",), allowed=False, detail="stale"))
        raise Problem("stale", f"This was changed meanwhile: you saw version {if_match}, it is now version {version}.", "If-Match", noted=True)


def _made(ctx: Context, resource: dict[str, Any], id: str, version: int, before: Subscription | None) -> Subscription:
    """Problem business-rule for what cannot be honoured."""
    house = ctx.house
    asked = topics.wanted(resource, record_types(house), topics.places_of(ctx.client or "", house.subscribers), house.base_url)
    said = resource["channel"].get("header", [])
    headers = topics.headers(said)
    ends = _ends(ctx, resource.get("end"))
    kept = before.sealed if before is not None and not said and before.endpoint == asked.endpoint else seal(house, id, asked.endpoint, headers)
    body = {k: v for k, v in resource.items() if k not in ("id", "error", "_error")}
    body["channel"] = topics.as_used(body["channel"], asked)
    return Subscription(
        id=id, client=ctx.client or "", user=ctx.actor.user, organisation=ctx.actor.organisation, scopes=str(ctx.scopes), purpose=ctx.purpose,
        body=body, version=version, updated=ctx.at, endpoint=asked.endpoint, place=asked.place, types=asked.types, patients=asked.patients,
        content=asked.content, heartbeat=asked.heartbeat, timeout=asked.timeout, most=asked.most, sealed=kept, ends=ends,
    )  # fmt: skip


def _ends(ctx: Context, said: str | None) -> datetime | None:
    if said is None:
        return None
    try:
        at = datetime.fromisoformat(said)
    except ValueError:  # a leap second, which R4 allows
        raise Problem("business-rule", "`end` cannot be read as a moment.", "Subscription.end") from None
    if at <= ctx.at:
        raise Problem("business-rule", "`end` has passed.", "Subscription.end")
    return at


def _kept(work: Work, sub: Subscription, before: bytes | None, state: State, was: bytes | None, letter: str, what: str) -> Written:
    """In the place of those bytes, so that what was ended meanwhile does not come back."""
    ctx, ref = work.ctx, Ref(TYPE, sub.id)
    new = Keep(SUBSCRIPTION, sub.id, msgspec.json.encode(sub), if_value=before, if_absent=before is None)
    ops = keep_state(sub.id, state, was, ctx.at)
    work.ops += [new, *ops, CHANGED]
    state = next(msgspec.json.decode(op.value, type=State) for op in ops if isinstance(op, Keep))
    version, updated = version_of(sub, state)
    work.trail.append(note(ctx, letter, what, None, (str(ref),), allowed=True, detail=f"version {version}, told at {sub.place}"))
    may_read = ctx.scopes is None or ctx.scopes.covers("r", TYPE)
    return Written(ref, version, updated, as_read(ctx.house, sub, state) if may_read else None, "created" if letter == "C" else "updated")


# -- read and found ---------------------------------------------------------------------------------------------------


async def read_one(ctx: Context, ref: Ref) -> Answer | None:
    """The asker's own, as it stands; None where there is none of theirs."""
    sub = await mine(ctx, ref.id)
    if sub is None:
        return None
    state, _ = await state_of(ctx.house, sub.id)
    await ctx.house.store.commit(note(ctx, "R", "read", None, (str(ref),), allowed=True))
    return Answer(ref, *version_of(sub, state), as_read(ctx.house, sub, state))


async def find(ctx: Context, params: Params) -> Page | None:
    """The asker's own that match; None where they have none, and nobody else's can be found."""
    own = await all_mine(ctx)
    if not own:
        return None
    query = searching.parse(TYPE, [p for p in params if p[0] != "_page"], ctx.house.r4, base=ctx.house.base_url, limits=ctx.limits)
    found = []
    for sub in sorted(own, key=lambda s: s.id):
        state, _ = await state_of(ctx.house, sub.id)
        body = as_read(ctx.house, sub, state)
        if searching.matches(query, strict.decode(body), filtered=0, r4=ctx.house.r4):
            found.append(Entry(Ref(TYPE, sub.id), *version_of(sub, state), body))
    asked = "&".join(f"{k}={v}" for k, v in params)
    await ctx.house.store.commit(note(ctx, "E", "search", None, [str(e.ref) for e in found], query=f"{TYPE}?{asked}", allowed=True))
    counted = query.summary == "count" or query.count == 0
    return Page(() if counted else tuple(found), len(found), None, query.used)


# -- $status and $events ----------------------------------------------------------------------------------------------


async def status(ctx: Context, id: str | None, params: Params) -> dict[str, Any]:
    """`$status` of one (Problem not-found) or of all that are the asker's, by `id` and `status`: a searchset of Parameters."""
    house = ctx.house
    need_scope(ctx, "s" if id is None else "r", TYPE)
    asked = {i for k, v in params if k == "id" for i in v.split(",") if i}
    kinds = {s for k, v in params if k == "status" for s in v.split(",") if s}
    if id is None:
        subs = [s for s in await all_mine(ctx) if not asked or s.id in asked]
    else:
        one = await mine(ctx, id)
        if one is None:
            raise not_found()
        subs = [one]
    out = []
    for sub in sorted(subs, key=lambda s: s.id):
        state = await counted(house, sub)
        if id is not None or not kinds or state.status in kinds:
            address = f"{house.base_url}/{TYPE}/{sub.id}"
            out.append((house.new_id(), topics.status(address, sub.plain, state.status, "query-status", state.number, trouble=state.trouble)))
    await house.store.commit(note(ctx, "E", "search", None, [f"{TYPE}/{s.id}" for s in subs], allowed=True, query=f"{TYPE}/$status"))
    return topics.statuses(out)


async def events(ctx: Context, id: str, params: Params) -> dict[str, Any]:
    """`$events`: what there was to tell from `eventsSinceNumber` to `eventsUntilNumber`, taken by the endpoint or not, as far as the asker may
    see it now. Problem not-found, bad-request."""
    need_scope(ctx, "r", TYPE)
    house, sub = ctx.house, await mine(ctx, id)
    if sub is None:
        raise not_found()
    said = dict(params)
    content = said.get("content") or sub.content or "empty"
    if content not in ("empty", "id-only"):
        raise Problem("bad-request", "`content` is `empty` or `id-only`: a record itself is read.", "content")
    state = await counted(house, sub)
    since = _number(said, "eventsSinceNumber", 1)
    until = min(_number(said, "eventsUntilNumber", state.number), state.number)
    reader = await reader_of(house, sub)
    if reader is not None and reader.scopes is not None and ctx.scopes is not None:  # by what it was made for, and this sign-in
        reader = replace(reader, scopes=reader.scopes.narrow(ctx.scopes))
    shown: list[Event] = []
    rows: list[Note] = []
    for number, e in sorted((await _told(house, id, since, min(until, since + PAGE - 1), ctx.at)).items()):
        ref = Ref(*e.ref.split("/", 1))
        stored = await house.store.get(ref)
        if reader is None or stored is None or not (decision := await may_be_told(reader, sub, ref, stored)).permit:
            continue
        shown.append(Event(number, e.at, e.ref, e.method))
        rows += [note(ctx, "R", "notify", decision, (e.ref,), patient=p, detail=f"event {number} of {TYPE}/{id}, asked for") for p in stored.facts.patients]
    await house.store.commit(*(rows or [note(ctx, "E", "search", None, (f"{TYPE}/{id}",), allowed=True, query=f"{TYPE}/$events")]))
    address = f"{house.base_url}/{TYPE}/{id}"
    first = topics.status(address, sub.plain, state.status, "query-event", state.number, shown, house.base_url, content, state.trouble)
    return topics.notification(house.new_id(), first, address, ctx.at, shown, house.base_url, content)


async def _told(house: Any, id: str, low: int, high: int, at: datetime) -> dict[int, Told]:
    """Kept events by number, from low to high."""
    first, last = event_key(id, low), event_key(id, high)
    same = next((i for i in range(len(first)) if first[i] != last[i]), len(first)) if low <= high else 0
    kept = await house.store.kept_all(EVENT, at, first[:same]) if low <= high else {}
    found = {int(key.rpartition(" ")[2]): msgspec.json.decode(raw, type=Told) for key, raw in kept.items()}
    return {n: e for n, e in found.items() if low <= n <= high}


def _number(said: dict[str, str], name: str, default: int) -> int:
    text = said.get(name, "")
    if not text:
        return default
    if not topics.NUMBER.match(text):
        raise Problem("bad-request", f"`{name}` is the number of an event.", name)
    return max(int(text), 0)


__all__ = ["change", "end", "events", "find", "mine", "read_one", "status", "subscribe", "with_state"]
