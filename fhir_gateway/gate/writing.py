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
from .committing import Work, again
from .conditions import matching
from .context import Context, Written, need_scope, note
from .preparing import Edit, given_back, put_edited, put_new, put_over, put_where, take_away
from .reading import allow


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


# -- the verbs --------------------------------------------------------------------------------------------------------


async def create(ctx: Context, type: str, raw: bytes, *, if_none_exist: str | None = None, once: Once | None = None) -> Written:
    """`raw` is the JSON text of one resource. Problem: malformed, invalid, forbidden, several-matches."""
    need_scope(ctx, "c", type)
    return await _settled(ctx, raw, once, lambda work: put_new(work, type, raw, if_none_exist=if_none_exist))


async def update(ctx: Context, ref: Ref, raw: bytes, *, if_match: int | None = None, once: Once | None = None) -> Written:
    """Replace one resource. Problem: not-found, if-match-required, stale, forbidden, invalid."""
    need_scope(ctx, "u", ref.type)
    return await _settled(ctx, raw, once, lambda work: put_over(work, ref, raw, if_match=if_match))


async def update_where(
    ctx: Context, type: str, condition: str, raw: bytes, *, if_match: int | None = None, once: Once | None = None
) -> Written:
    """Replace the one match, or create when there is none. Problem: as update and create, several-matches."""
    need_scope(ctx, "u", type)
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


async def remove(ctx: Context, ref: Ref, *, if_match: int | None = None, once: Once | None = None) -> Written:
    """Delete. History keeps every version. Deleting what is deleted changes nothing."""
    need_scope(ctx, "d", ref.type)
    return await _settled(ctx, b"", once, lambda work: take_away(work, ref, if_match=if_match))


async def remove_where(ctx: Context, type: str, condition: str, *, if_match: int | None = None, once: Once | None = None) -> Written:
    """Delete the one match. Problem: as remove, not-found when nothing matches, several-matches."""
    need_scope(ctx, "d", type)

    async def prepare(work: Work) -> Written:
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


async def _settled(ctx: Context, raw: bytes, once: Once | None, prepare: Callable[[Work], Awaitable[Written]]) -> Written:
    """Prepare one write and commit it; with `once`, answer a repeated one as before."""

    async def attempt() -> Written:
        said = await _said_before(ctx, once, raw)
        if said is not None:
            return said
        work = Work(ctx)
        written = await prepare(work)
        if once is not None:
            said_now = _Said(digest(raw), written.ref.type, written.ref.id, written.version, written.updated, written.did)
            work.ops.append(Keep("push", once.key, msgspec.json.encode(said_now), once.until, if_absent=True))
        await work.commit()
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
    return Written(ref, said.version, said.updated, body, said.did, said.did != "matched" or body is not None)


def digest(raw: bytes) -> str:
    """What tells one message from another under the same name."""
    return sha256(raw).hexdigest()
