"""How a person chose to be told. A new address is used once a code that was sent there came back: it is theirs, and typed rightly."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

import msgspec

from ..domain.notices import PAGE_ONLY, Choice
from ..domain.problem import Problem
from ..domain.types import Drop, Keep, Op, Ref, Send
from ..store.base import Taken
from .context import Context, House, note

FORMER_KEPT: Final = timedelta(days=30)
CHANGES_A_DAY: Final = 10
CODE_LASTS: Final = timedelta(hours=1)
TRIES: Final = 5
SENT_A_CODE: Final = frozenset({"email", "text"})  # channels with an address that somebody types


@dataclass(frozen=True, slots=True)
class Recipient:
    """Somebody who may be told now, by their own reference, and how; `code` is what a message to a new address is about."""

    ref: str
    choice: Choice
    officer: bool = False
    code: str = ""
    patient: str = ""  # whose notices went there, of a former address


@dataclass(frozen=True, slots=True)
class Confirming:
    """A choice whose address waits for its code. `id` names the code, which is kept nowhere; `tries` were wrong."""

    id: str
    choice: Choice
    until: datetime
    tries: int = 0


async def choice_of(house: House, ref: str) -> Choice:
    """What this person chose; who never chose finds their notices on their page only."""
    kept = await house.store.kept("tell-choice", ref, house.clock())
    return msgspec.json.decode(kept, type=Choice) if kept is not None else PAGE_ONLY


async def my_choice(ctx: Context) -> Choice:
    """The asker's own, as it is used now. Problem forbidden for who acts for nobody."""
    return await choice_of(ctx.house, who(ctx))


async def confirming(ctx: Context) -> Confirming | None:
    """The asker's new address while it waits for its code."""
    return await waiting(ctx.house, who(ctx))


async def waiting(house: House, ref: str) -> Confirming | None:
    """The new address of this person while it waits for its code; None when none does."""
    kept = await house.store.kept("tell-new", ref, house.clock())
    return msgspec.json.decode(kept, type=Confirming) if kept is not None else None


def code_of(house: House, confirming: Confirming) -> str:
    """Six digits, the same in every process of this gateway."""
    mac = hmac.new(house.secret, f"tell code {confirming.id} {confirming.choice.address}".encode(), sha256)
    return f"{int.from_bytes(mac.digest()[:8]) % 1_000_000:06d}"


async def choose(ctx: Context, choice: Choice) -> Confirming | None:
    """Keep the asker's choice. With a new address it waits for the code that goes there: until then all is as before.

    What went to another address is told there that something changed. Problem throttled after ten changes of address in a day.
    """
    me, house = who(ctx), ctx.house
    kept = await house.store.kept("tell-choice", me, ctx.at)
    before = msgspec.json.decode(kept, type=Choice) if kept is not None else PAGE_ONLY
    moved = (before.channel, before.address) != (choice.channel, choice.address)
    new = Confirming(house.new_id(), choice, ctx.at + CODE_LASTS) if moved and choice.channel in SENT_A_CODE else None
    ops: list[Op] = [await _counted(ctx, me)] if moved else []
    if new:
        ops.append(Keep("tell-new", me, msgspec.json.encode(new), new.until))
        ops.append(Keep("tell-code", new.id, me.encode(), new.until))
        ops.append(Send("tell:patient", Ref("Basic", new.id), 0, None, "address-code"))  # in no person's lane: it waits for no notice
    else:
        ops += await _no_longer(ctx, me)
        if choice != before:
            ops += _kept(ctx, me, kept, before, choice)
    if ops:
        await _commit(ctx, ops)
    return new


async def confirm(ctx: Context, code: str) -> Choice:
    """The code came back: from now on the choice with the new address holds. Problem invalid for another code, not-found when none waits."""
    me, house = who(ctx), ctx.house
    raw = await house.store.kept("tell-new", me, ctx.at)
    if raw is None:
        raise Problem("not-found", "No address waits for a code. Choose it again, and another code is sent.")
    new = msgspec.json.decode(raw, type=Confirming)
    if not hmac.compare_digest(code_of(house, new).encode(), code.strip().encode()):
        tried = replace(new, tries=new.tries + 1)
        over = tried.tries >= TRIES
        await _commit(ctx, [Drop("tell-new", me)] if over else [Keep("tell-new", me, msgspec.json.encode(tried), new.until, if_value=raw)])
        raise Problem("invalid", "That was wrong too often. Choose the address again, and another code is sent." if over else "That is not the code that was sent.", "code")
    kept = await house.store.kept("tell-choice", me, ctx.at)
    before = msgspec.json.decode(kept, type=Choice) if kept is not None else PAGE_ONLY
    await _commit(ctx, [Keep("tell-new", me, raw, ctx.at - CODE_LASTS, if_value=raw), *_kept(ctx, me, kept, before, new.choice)])
    return new.choice


def _kept(ctx: Context, me: str, kept: bytes | None, before: Choice, after: Choice) -> list[Op]:
    """The choice, its row in the log, and one message to where they went before, if that is another place."""
    ops: list[Op] = [
        Keep("tell-choice", me, msgspec.json.encode(after), if_value=kept, if_absent=kept is None),
        note(ctx, "U", "telling", None, (), patient=ctx.actor.patient, allowed=True),
    ]
    if before.channel != "page" and (before.channel, before.address) != (after.channel, after.address):
        id = ctx.house.new_id()
        former = Recipient(me, before, patient=ctx.actor.patient or "")
        ops.append(Keep("tell-former", id, msgspec.json.encode(former), ctx.at + FORMER_KEPT))
        ops.append(Send("tell:patient", Ref("Basic", id), 0, None, "choice-changed"))  # no notice waits for that place's safe times
    return ops


async def _no_longer(ctx: Context, me: str) -> Sequence[Op]:
    """An address that waited and was chosen away from."""
    return [Drop("tell-new", me)] if await ctx.house.store.kept("tell-new", me, ctx.at) is not None else []


async def _commit(ctx: Context, ops: Sequence[Op]) -> None:
    try:
        await ctx.house.store.commit(*ops)
    except Taken:
        raise Problem("conflict", "This was changed meanwhile. Read it again and repeat your change.") from None


async def _counted(ctx: Context, me: str) -> Op:
    """So that nobody sends messages to strangers by changing addresses. Problem throttled after ten changes in a day."""
    kept = await ctx.house.store.kept("tell-changes", me, ctx.at)
    day_ago = ctx.at - timedelta(days=1)
    recent = [at for at in (msgspec.json.decode(kept, type=list[datetime]) if kept is not None else []) if at > day_ago]
    if len(recent) >= CHANGES_A_DAY:
        wait = max(1, int((recent[0] - day_ago).total_seconds()))
        raise Problem("throttled", "This was changed often today. Try again tomorrow.", headers={"Retry-After": str(wait)})
    return Keep("tell-changes", me, msgspec.json.encode([*recent, ctx.at]), ctx.at + timedelta(days=1), if_value=kept, if_absent=kept is None)


def who(ctx: Context) -> str:
    """Whose choice the asker may make: their own. Problem forbidden for who acts for nobody."""
    if ctx.actor.kind not in ("patient", "proxy") or not ctx.actor.user:
        raise Problem("forbidden", "Only the person, or who acts for them, chooses how they are told.")
    return ctx.actor.user
