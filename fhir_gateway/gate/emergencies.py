"""Breaking the glass: an emergency access to one person's record is begun, ended, listed and reviewed here (consent.md 1.8, L49).

Beginning one is all this does. What it opens is decided like everything else, by the person's standing, of which it is a part.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final, NamedTuple

import msgspec

from ..domain.consent import purpose_within
from ..domain.emergencies import EMERGENCY, LASTS, LONGEST_REVIEW, OUTCOMES, Emergency, Review, known_ground, plain_words
from ..domain.periods import micros
from ..domain.problem import Problem, not_found
from ..domain.types import Bump, Decision, Drop, Keep, Note, Op
from ..store.base import Taken
from .asked_about import FOUND_NOTHING
from .committing import again, settle
from .context import Context, note, stand
from .finding import Named, may_open, person_meant
from .proving import CHALLENGE, LEEWAY, MINUTES, is_oneself, need_proof, signed_in_now
from .reading import REACHES
from .telling import tell

ROWS: Final = 500  # of the trail, read at once
PAGE: Final = 25  # emergencies listed at once
_PLACE: Final = re.compile(r"\d{20}-[A-Za-z0-9-]{1,64}\Z")
BEGUN, ENDED, REVIEWED = "break-glass", "break-glass-end", "emergency-review"


class Held(NamedTuple):
    """One as it is kept: what a change of it is compared with."""

    raw: bytes
    now: Emergency

    @property
    def key(self) -> str:
        return f"{self.now.patient} {self.now.id}"

    def becomes(self, **changed: Any) -> Keep:
        return Keep(EMERGENCY, self.key, msgspec.json.encode(msgspec.structs.replace(self.now, **changed)), if_value=self.raw)


async def break_glass(ctx: Context, whom: str | Named, reason: object, ground: object) -> Emergency:
    """Open this person's record to this very asker, to read, for two hours. The person and the privacy officer are told.

    `whom` is the person's id here, or how they are known on paper. Who has one under way with the same words gets that again.
    Whatever is wrong with the asker or the words is answered before anybody is looked for. Problem: forbidden (role, sign-in not
    fresh, purpose), insufficient-scope, invalid, not-found, throttled.
    """
    may_open(ctx)
    await _may_break(ctx)
    said, why = plain_words(reason, "reason"), known_ground(ground)
    person = str((await person_meant(ctx, whom, BEGUN)).ref)
    return await again(lambda: _begin(ctx, person, said, why))


async def _begin(ctx: Context, person: str, said: str, why: str) -> Emergency:
    before = await _mine(ctx, person)
    same = next((h.now for h in before if (h.now.reason, h.now.ground) == (said, why)), None)
    if same is not None:
        return same
    a = ctx.actor
    begun = Emergency(ctx.house.new_id(), person, a.user, a.name, a.organisation, said, why, ctx.at, ctx.at + LASTS)
    standing = (await stand(ctx.house, [person], None, ctx.place))[person]
    told = tell("break-glass", person, "privacy-officer") + ([] if standing.no_notify else tell("break-glass", person, "patient"))
    duties = frozenset({"AUDIT-BTG", "NOTIFY-PRIVACY-OFFICER"} | (set() if standing.no_notify else {"NOTIFY-PATIENT"}))
    decision = Decision(True, "break-glass", rule=f"emergency {begun.id}", obligations=duties)
    await settle(
        ctx,
        *(op for h in before for op in _over(ctx, h)),
        Keep(EMERGENCY, f"{person} {begun.id}", msgspec.json.encode(begun), if_absent=True),
        Keep(REACHES, f"{a.user} {person} {begun.id}", b"1", begun.until + LEEWAY),
        Bump(person),
        *told,
        note(ctx, "E", BEGUN, decision, (person,), patient=person, detail=f"{why}: {said}"),
    )
    return begun


async def _may_break(ctx: Context) -> None:
    """Role, sign-in, purpose, policy. Problem forbidden says what to do; it is written down."""
    a, policy = ctx.actor, ctx.house.policy
    challenge: dict[str, str] = {}
    if a.kind != "professional" or not a.btg_role:
        why = "Your role does not include emergency access. Ask a colleague whose role does."
    elif not purpose_within("BTG", ctx.purpose):
        why = f"Emergency access is for treatment; this sign-in is for `{ctx.purpose}`."
    elif policy.break_glass != "override" or policy.implicit == "Policy-deny":
        why = "This service does not offer emergency access."
    elif not signed_in_now(ctx):
        why = f"Sign in again first: emergency access needs a sign-in of the last {MINUTES} minutes (auth_time), and a token from it."
        challenge = dict(CHALLENGE)
    else:
        return
    await ctx.house.store.commit(note(ctx, "E", BEGUN, Decision(False, "rbac"), allowed=False))
    raise Problem("forbidden", why, headers=challenge)


async def current(ctx: Context, person: str) -> Emergency | None:
    """The emergency access that this very asker has to this person (an id) now."""
    return next((h.now for h in await _mine(ctx, f"Patient/{person}")), None)


async def _mine(ctx: Context, person: str) -> list[Held]:
    me = (ctx.actor.user, ctx.actor.organisation)
    return [h for h in await _all(ctx, f"{person} ") if (h.now.user, h.now.organisation) == me and h.now.is_live(ctx.at)]


async def end_emergency(ctx: Context, person: str) -> None:
    """End this asker's own access to this person (an id) before its time. Problem not-found when there is none."""
    mine = await _mine(ctx, f"Patient/{person}")
    if not mine:
        await ctx.house.store.commit(note(ctx, "E", ENDED, None, (f"Patient/{person[:64]}",), allowed=False))
        raise not_found()
    await _settle_over(ctx, mine)


async def _settle_over(ctx: Context, ending: list[Held]) -> None:
    try:
        await settle(ctx, *(op for h in ending for op in _over(ctx, h)), *{Bump(h.now.patient) for h in ending})
    except Taken:
        raise Problem("conflict", "This was ended or reviewed meanwhile. Look again.") from None


def _over(ctx: Context, held: Held) -> list[Op]:
    """The operations that end one; the person's epoch must move with them."""
    e = held.now
    decision = Decision(True, "", rule=f"emergency {e.id}")
    return [
        held.becomes(ended=ctx.at),
        Drop(REACHES, f"{e.user} {e.patient} {e.id}"),
        note(ctx, "E", ENDED, decision, (e.patient,), patient=e.patient),
    ]


# -- the review queue -------------------------------------------------------------------------------------------------


async def emergencies(ctx: Context, *, reviewed: bool = False, after: str = "", count: int = PAGE) -> tuple[list[dict[str, Any]], str]:
    """Those that wait for a review (else those that had one), oldest first: who, when, reason, ground, what kinds of things were read;
    and after what the next page begins, "" where this is the last.

    At most `count` of them (the trail is read for each), those behind `after`. Nothing of what was read. Only for a privacy officer or
    an operator: Problem forbidden; bad-request for an `after` that was not given here.
    """
    await _may_review(ctx, "emergencies")
    if after and not _PLACE.match(after):
        raise Problem("bad-request", "`after` is not one of the addresses on this page.", "after")
    found = sorted((_place(h.now), h.now) for h in await _all(ctx) if bool(h.now.reviews) is reviewed and _place(h.now) > after)
    out = [_shown(ctx, e, await _read_in(ctx, e)) for _, e in found[:count]]
    await ctx.house.store.commit(note(ctx, "E", "emergencies", None, allowed=True))
    return out, found[count - 1][0] if len(found) > count else ""


def _place(e: Emergency) -> str:
    """Where it stands in the list, as text that sorts like it: it stays there whatever becomes of those before."""
    return f"{micros(e.at):020d}-{e.id}"


def _shown(ctx: Context, e: Emergency, read: tuple[Counter[str], int]) -> dict[str, Any]:
    kinds, times = read
    return {
        "id": e.id, "patient": e.patient, "user": e.user, "name": e.name, "organisation": e.organisation, "reason": e.reason,
        "ground": e.ground, "at": e.at.isoformat(), "until": (e.ended or e.until).isoformat(), "live": e.is_live(ctx.at),
        "looked": times, "read": dict(sorted(kinds.items())), "reviews": [msgspec.to_builtins(r) for r in e.reviews],
    }  # fmt: skip


async def _read_in(ctx: Context, e: Emergency) -> tuple[Counter[str], int]:
    """How many things of each kind it opened, and in how many looks."""
    refs: set[str] = set()
    looks = 0
    before: tuple[Any, ...] | None = None
    while True:
        rows: list[Note] = await ctx.house.store.notes(patient=e.patient, user=e.user, since=e.at, before=before, count=ROWS)
        for n in rows:
            if n.rule == f"emergency {e.id}" and n.what not in (BEGUN, ENDED, REVIEWED) and n.allowed:
                looks += 1
                refs.update(r for r in n.refs if "/" in r and n.detail != FOUND_NOTHING)
        if len(rows) < ROWS:
            return Counter(r.split("/", 1)[0] for r in refs), looks
        before = (micros(rows[-1].at), rows[-1].id)


async def review(ctx: Context, id: str, outcome: object, words: object) -> None:
    """Write down whether an emergency access was justified, and why one thinks so. A later review stands beside an earlier one.

    Problem: forbidden (not a privacy officer; a sign-in that is not fresh; one's own), invalid, not-found, conflict.
    """
    await _may_act(ctx, REVIEWED)
    if outcome not in OUTCOMES:
        raise Problem("invalid", f"`outcome` is {' or '.join(OUTCOMES)}.", "outcome")
    said = plain_words(words, "words", LONGEST_REVIEW)
    held = await _called(ctx, id)
    e = held.now
    if await is_oneself(ctx, e.user):
        await ctx.house.store.commit(note(ctx, "E", REVIEWED, None, allowed=False, detail="their own"))
        raise Problem("forbidden", "Somebody else must review your own emergency access.")
    now = Review(ctx.actor.user, ctx.actor.name, ctx.at, outcome, said)
    decision = Decision(True, "", rule=f"emergency {e.id}")
    try:
        await settle(ctx, held.becomes(reviews=(*e.reviews, now)), note(ctx, "E", REVIEWED, decision, (e.patient,), patient=e.patient, detail=str(outcome)))
    except Taken:
        raise Problem("conflict", "This was ended or reviewed meanwhile. Look again.") from None


async def stop_emergency(ctx: Context, id: str) -> None:
    """A privacy officer or operator ends anybody's. Problem: forbidden, not-found when it is over or unknown."""
    await _may_act(ctx, ENDED)
    held = await _called(ctx, id)
    if not held.now.is_live(ctx.at):
        raise Problem("not-found", "There is no emergency access of this name under way.")
    await _settle_over(ctx, [held])


async def _may_review(ctx: Context, what: str) -> None:
    if not (ctx.officer or ctx.actor.operator):
        await ctx.house.store.commit(note(ctx, "E", what, Decision(False, "rbac"), allowed=False))
        raise Problem("forbidden", "Emergencies are reviewed by a privacy officer.")


async def _may_act(ctx: Context, what: str) -> None:
    """As `_may_review`, and for what changes something whoever asks is at the keyboard now."""
    await _may_review(ctx, what)
    await need_proof(ctx, "E", what, "a review")


async def _called(ctx: Context, id: str) -> Held:
    for held in await _all(ctx):
        if held.now.id == id:
            return held
    raise Problem("not-found", f"There is no emergency access `{id[:64]}`.")


async def _all(ctx: Context, prefix: str = "") -> list[Held]:
    kept = await ctx.house.store.kept_all(EMERGENCY, ctx.at, prefix=prefix)
    return [Held(raw, msgspec.json.decode(raw, type=Emergency)) for raw in kept.values()]


async def reasons(ctx: Context, person: str) -> dict[str, str]:
    """Why, in the words of whoever did it, by the rule that the trail names: for the person's own log."""
    return {f"emergency {h.now.id}": h.now.reason for h in await _all(ctx, f"{person} ")}


__all__ = ["break_glass", "current", "emergencies", "end_emergency", "reasons", "review", "stop_emergency"]
