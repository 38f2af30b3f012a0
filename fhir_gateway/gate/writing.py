"""create, update, patch, delete: each is prepared, then one commit holds record, audit, outgoing copies and epochs.

https://hl7.org/fhir/R4/http.html#create
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec

from ..domain.problem import Problem, not_found
from ..domain.types import Keep, Ref
from .committing import Also, Work, again, back
from .conditions import matching, of_a_copy, understood
from .context import Context, Written, need_scope, note
from .handing_out import of_a_partner
from .preparing import Edit, put_edited, put_new, put_over, put_where, take_away
from .reading import allow
from .storing import given_back
from .subscribers import TYPE as SUBSCRIPTION
from .subscribing import change as change_subscription
from .subscribing import end as end_subscription
from .subscribing import subscribe


@dataclass(frozen=True, slots=True)
class Once:
    """A write of a registered system that has one effect however often it comes: its name, and until when that holds."""

    key: str
    until: datetime

    def entry(self, at: int) -> Once:
        """The same for one entry of a batch."""
        return replace(self, key=f"{self.key} entry {at}")


class _Said(msgspec.Struct):
    """How a write with a name was answered."""

    digest: str
    type: str
    id: str
    version: int
    updated: datetime
    did: str
    shown: bool = True


# -- the verbs --------------------------------------------------------------------------------------------------------


async def create(
    ctx: Context, type: str, raw: bytes, *, if_none_exist: str | None = None, once: Once | None = None, also: Also | None = None
) -> Written:
    """`raw` is the JSON text of one resource. Problem: malformed, invalid, forbidden, several-matches."""
    need_scope(ctx, "c", type)
    if type == SUBSCRIPTION:
        return await _settled(ctx, raw, once, lambda work: subscribe(work, raw, if_none_exist), also)
    return await _settled(ctx, raw, once, lambda work: put_new(work, type, raw, if_none_exist=if_none_exist), also)


async def update(
    ctx: Context, ref: Ref, raw: bytes, *, if_match: int | None = None, once: Once | None = None, also: Also | None = None
) -> Written:
    """Replace one resource. Problem: not-found, if-match-required, stale, forbidden, invalid."""
    need_scope(ctx, "u", ref.type)
    if ref.type == SUBSCRIPTION:
        return await _settled(ctx, raw, once, lambda work: change_subscription(work, ref, raw, if_match), also)
    return await _settled(ctx, raw, once, lambda work: put_over(work, ref, raw, if_match=if_match), also)


async def update_where(
    ctx: Context, type: str, condition: str, raw: bytes, *, if_match: int | None = None, once: Once | None = None
) -> Written:
    """Replace the one match, or create when there is none. Problem: as update and create, several-matches."""
    need_scope(ctx, "u", type)
    _whole(type)
    return await _settled(ctx, raw, once, lambda work: put_where(work, type, condition, raw, if_match=if_match))


async def patch(ctx: Context, ref: Ref, edit: Edit, *, if_match: int | None = None, once: Once | None = None, raw: bytes = b"") -> Written:
    """`edit` is a function from the resource this reader sees to the resource they want; `raw` is what it was read from."""
    may_patch(ctx, ref.type)
    return await _settled(ctx, raw, once, lambda work: put_edited(work, ref, edit, if_match=if_match))


async def patch_where(
    ctx: Context, type: str, condition: str, edit: Edit, *, if_match: int | None = None, once: Once | None = None, raw: bytes = b""
) -> Written:
    """Patch the one match. Problem: as patch, not-found when nothing matches, several-matches."""
    may_patch(ctx, type)

    async def prepare(work: Work) -> Written:
        return await put_edited(work, await the_match(work, "U", "patch", type, condition), edit, if_match=if_match)

    return await _settled(ctx, raw, once, prepare)


def may_patch(ctx: Context, type: str) -> None:
    """A patch asks about what is there (`test`, `where(…)`), so it needs the scope to read besides that to change (leak list L22)."""
    need_scope(ctx, "u", type)
    need_scope(ctx, "r", type)
    _whole(type)


def _whole(type: str) -> None:
    """A Subscription is its subscriber's to send whole, by its id. Problem not-offered."""
    if type == SUBSCRIPTION:
        raise Problem("not-offered", "A Subscription is made by POST, changed by PUT of all of it, and ended by DELETE, each by its id.", headers={"Allow": "GET, HEAD, POST, PUT, DELETE"})


async def remove(
    ctx: Context, ref: Ref, *, if_match: int | None = None, once: Once | None = None, also: Also | None = None
) -> Written:
    """Delete. History keeps every version. Deleting what is deleted changes nothing."""
    need_scope(ctx, "d", ref.type)
    if ref.type == SUBSCRIPTION:
        return await _settled(ctx, b"", once, lambda work: end_subscription(work, ref, if_match), also)
    return await _settled(ctx, b"", once, lambda work: take_away(work, ref, if_match=if_match), also)


async def remove_where(ctx: Context, type: str, condition: str, *, if_match: int | None = None, once: Once | None = None) -> Written:
    """Delete the one match. Problem: as remove, not-found when nothing matches, several-matches.

    By the name of a copy a system also takes back unseen what is its own (`withdrawing.own_copy`): it is told the same where it is nobody's or another's, and so that it is not there.
    """
    need_scope(ctx, "d", type)
    _whole(type)

    async def prepare(work: Work) -> Written:
        if ctx.actor.kind == "system" and ctx.client is not None and of_a_copy(understood(ctx, type, condition)):
            if await of_a_partner(ctx):  # what was read there may be on its way here
                name = await work.seek(type, condition)
                work.ops.append(back(name, work.sought[name], ctx.at))
            match = await matching(ctx, type, condition, own=True, gone=work.gone)
            if match is None:
                work.trail.append(note(ctx, "D", "delete", None, (), allowed=False, query=f"{type}?{condition}", detail="no match"))
            done = await take_away(work, match.ref, if_match=if_match) if match is not None else None
            return done if done is not None and done.shown else Written(Ref(type, ""), 0, ctx.at, None, "deleted", shown=False)
        return await take_away(work, await the_match(work, "D", "delete", type, condition), if_match=if_match)

    return await _settled(ctx, b"", once, prepare)


async def the_match(work: Work, letter: str, what: str, type: str, condition: str) -> Ref:
    """The one that matches. Problem: not-found (written down), several-matches."""
    ctx = work.ctx
    match = await matching(ctx, type, condition, gone=work.gone)
    if match is None:
        await ctx.house.store.commit(note(ctx, letter, what, None, (), allowed=False, query=f"{type}?{condition}", detail="no match"))
        raise not_found()
    return match.ref


async def accept(ctx: Context, ref: Ref, *, status: str = "accepted") -> Written:
    """Its owner accepts (or rejects) a Task: what pages call; the same as an update of `status`."""
    stored = await ctx.house.store.get(ref)
    await allow(ctx, "U", "accept", ref, stored)
    assert stored is not None and stored.body is not None

    def edit(task: dict[str, Any]) -> dict[str, Any]:
        return {**task, "status": status}

    return await patch(ctx, ref, edit, if_match=stored.version)


# -- once, however often it comes -------------------------------------------------------------------------------------


async def _settled(
    ctx: Context, raw: bytes, once: Once | None, prepare: Callable[[Work], Awaitable[Written]], also: Also | None = None
) -> Written:
    """Prepare one write and commit it, with what goes `also` into that commit; with `once`, answer a repeated one as before."""

    async def attempt() -> Written:
        said = await _said_before(ctx, once, raw)
        if said is not None:
            return said
        work = Work(ctx)
        written = await prepare(work)
        if once is not None:
            said_now = _Said(digest(raw), written.ref.type, written.ref.id, written.version, written.updated, written.did, written.shown)
            work.ops.append(Keep("push", once.key, msgspec.json.encode(said_now), once.until, if_absent=True))
        await work.commit(*(also(written) if also is not None else ()))
        return written

    return await again(attempt)


async def _said_before(ctx: Context, once: Once | None, raw: bytes) -> Written | None:
    kept = await ctx.house.store.kept("push", once.key, ctx.at) if once is not None else None
    if kept is None:
        return None
    said = msgspec.json.decode(kept, type=_Said)
    if said.digest != digest(raw):
        raise Problem("name-used", "This name was used for another message in the last 7 days: give a changed message a new one.")
    ref = Ref(said.type, said.id)
    then = await ctx.house.store.version(ref, said.version)
    body = await given_back(ctx, then) if then is not None and not then.deleted else None
    return Written(ref, said.version, said.updated, body, said.did, said.shown and (said.did != "matched" or body is not None))


def digest(raw: bytes) -> str:
    """What tells one message from another under the same name."""
    return sha256(raw).hexdigest()
