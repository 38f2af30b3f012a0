"""Saying that one looks after somebody, with a reason: a relationship by one's own word, told to the person, with an end.

Who may: a professional who acts for a registered health or social care organisation. Who may end it: they themselves, and the person,
whose no is written down as a consent and ends it at once. While that no stands nobody it speaks to can say it again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from ..domain.consent import purpose_within
from ..domain.emergencies import plain_words
from ..domain.problem import Problem, not_found
from ..domain.supposing import said_no
from ..domain.types import Bump, Decision, Drop, Keep, Op, Stored
from ..store.base import Taken
from .committing import again, settle
from .context import Context, note, stand
from .finding import Named, may_open, person_meant
from .previewing import may_share
from .reading import REACHES
from .telling import tell

CLAIM: Final = "claim"
DAYS, MOST_DAYS = 14, 28
SAID, TIMES, WITHIN = "claim-said", 3, timedelta(hours=24)  # one person of one claimant; each is told
A_SECOND: Final = timedelta(seconds=1)  # a period holds its last second whole
MADE, ENDED = "claim", "claim-end"


class Claim(msgspec.Struct, frozen=True):
    """What `building.build` reads. `at` and `until` are instants with a zone."""

    id: str
    patient: str
    user: str
    name: str
    organisation: str
    reason: str
    at: datetime
    until: datetime


async def claim(ctx: Context, whom: str | Named, reason: object, days: object = None) -> Claim:
    """Look after this person from now on, for `days` (14; at most 28). The person is told.

    `whom` is the person's id here, or how they are known on paper. Who has made one gets it again, with the new reason and end.
    Whom the person said no to gets the answer for nobody, and the person is not told again. Problem: forbidden (no professional of
    health or social care; another purpose), insufficient-scope, invalid, not-found, throttled (also after three in 24 hours).
    """
    may_open(ctx)
    a = ctx.actor
    if a.kind != "professional" or a.organisation is None or a.sector not in ("health", "social-care"):
        await ctx.house.store.commit(note(ctx, "E", MADE, Decision(False, "rbac"), allowed=False))
        why = "Only staff of a registered health or social care organisation can say that they look after somebody. Ask the person to share with you."
        raise Problem("forbidden", why)
    if not purpose_within(ctx.purpose, "TREAT") and ctx.purpose != "CAREMGT":
        raise Problem("forbidden", f"Looking after somebody is for their own care; this sign-in is for `{ctx.purpose}`.")
    said, long = plain_words(reason, "reason"), _days(days)
    person = str((await person_meant(ctx, whom, MADE, lambda found: _refused(ctx, found))).ref)
    return await again(lambda: _made(ctx, person, said, long))


async def _refused(ctx: Context, found: Stored) -> bool:
    """Would saying so open nothing, because the person said no."""
    known = await stand(ctx.house, found.facts.patients, None, ctx.place)
    return said_no(ctx.asks("access"), found.facts, known)


async def _made(ctx: Context, person: str, said: str, days: int) -> Claim:
    a, before = ctx.actor, await _mine(ctx, person)
    made = Claim(ctx.house.new_id(), person, a.user, a.name, a.organisation or "", said, ctx.at, ctx.at + timedelta(days=days))
    await settle(
        ctx,
        *(op for c in before for op in _over(c)),
        await _one_more(ctx, person),
        Keep(CLAIM, f"{person} {made.id}", msgspec.json.encode(made), made.until + A_SECOND, if_absent=True),
        Keep(REACHES, f"{a.user} {person} {made.id}", b"1", made.until + A_SECOND),
        Bump(person),
        *tell("claim", person, "patient"),
        note(ctx, "E", MADE, Decision(True, "", rule=f"claim {made.id}"), (person,), patient=person, detail=said),
    )
    return made


async def _one_more(ctx: Context, person: str) -> Keep:
    """The count of what this asker said of this person lately. Problem throttled, with Retry-After, when it is too much."""
    key = f"{person} {ctx.actor.user}"
    raw = await ctx.house.store.kept(SAID, key, ctx.at)
    times = [t for t in (msgspec.json.decode(raw, type=list[datetime]) if raw else []) if t + WITHIN > ctx.at]
    if len(times) >= TIMES:
        await ctx.house.store.commit(note(ctx, "E", MADE, None, (person,), patient=person, allowed=False, detail="too often"))
        wait = int((times[-TIMES] + WITHIN - ctx.at).total_seconds()) + 1
        text = f"You have said {TIMES} times within a day that you look after this person. Each time they are told. Wait before you say it again."
        raise Problem("throttled", text, headers={"Retry-After": str(wait)})
    return Keep(SAID, key, msgspec.json.encode([*times, ctx.at]), ctx.at + WITHIN, if_absent=raw is None, if_value=raw)


def _days(days: object) -> int:
    if days is None:
        return DAYS
    if not isinstance(days, int) or isinstance(days, bool) or not 1 <= days <= MOST_DAYS:
        raise Problem("invalid", f"`days` is a whole number from 1 to {MOST_DAYS}.", "days")
    return days


async def claimed_now(ctx: Context, person: str) -> Claim | None:
    """What this very asker says of this person (an id) now."""
    return next(iter(await _mine(ctx, f"Patient/{person}")), None)


async def _mine(ctx: Context, person: str) -> list[Claim]:
    a = ctx.actor
    return [c for c in await _all(ctx, person) if (c.user, c.organisation) == (a.user, a.organisation)]


async def _all(ctx: Context, person: str) -> list[Claim]:
    kept = await ctx.house.store.kept_all(CLAIM, ctx.at, prefix=f"{person} ")
    return [msgspec.json.decode(raw, type=Claim) for raw in kept.values()]


async def end_claim(ctx: Context, person: str) -> None:
    """Say no longer that one looks after this person (an id). Problem not-found when one did not."""
    mine = await _mine(ctx, f"Patient/{person}")
    if not mine:
        await ctx.house.store.commit(note(ctx, "E", ENDED, None, (f"Patient/{person[:64]}",), allowed=False))
        raise not_found()
    await _ended(ctx, mine)


async def disown(ctx: Context, id: str) -> Claim:
    """The person says that this claim about them is not true: it ends at once, and the privacy officer is told.

    Only for the person and who may choose for them: Problem not-found for everybody else, and when it is over. The no to whoever made it is a consent of
    the person's own, and theirs to write.
    """
    me = ctx.actor.patient if await may_share(ctx) else None
    each = [c for record in ctx.answers_for for c in await _all(ctx, record)] if me else []
    found = next((c for c in each if c.id == id), None)
    if found is None:
        raise not_found()
    await _ended(ctx, [found], *tell("claim", found.patient, "privacy-officer"), detail="the person does not recognise it")
    return found


async def claims_about(ctx: Context) -> list[dict[str, Any]]:
    """Who says now that they look after the person, newest first. For the person and who may choose for them; else Problem not-found."""
    if ctx.actor.patient is None or not await may_share(ctx):
        raise not_found()
    each = [c for record in ctx.answers_for for c in await _all(ctx, record)]
    found = sorted(each, key=lambda c: c.at, reverse=True)
    return [msgspec.structs.asdict(c) for c in found]


async def _ended(ctx: Context, ending: list[Claim], *also: Op, detail: str = "") -> None:
    ops = [op for c in ending for op in _over(c, must_exist=True)]
    people = sorted({c.patient for c in ending})
    trail = [note(ctx, "E", ENDED, Decision(True, ""), (p,), patient=p, detail=detail) for p in people]
    try:
        await settle(ctx, *ops, *(Bump(p) for p in people), *also, *trail)
    except Taken:
        raise Problem("conflict", "This was ended meanwhile.") from None


def _over(c: Claim, *, must_exist: bool = False) -> list[Op]:
    return [Drop(CLAIM, f"{c.patient} {c.id}", must_exist=must_exist), Drop(REACHES, f"{c.user} {c.patient} {c.id}")]


__all__ = ["Claim", "claim", "claimed_now", "claims_about", "disown", "end_claim"]
