"""What of a person's record went to partners' servers, and what of it was taken back: for the person. docs/sync.md"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import msgspec

from ..domain.periods import instant
from ..domain.problem import not_found
from ..domain.types import Decision, Disclosed, Ref, Stored
from .context import Context, ask_stored, note
from .disclosing import may_keep, owner_of
from .ended import ended
from .handing_out import may_be_gateway

MOST: Final = 10_000
State = Literal["there", "back", "asked-back", "refused", "unanswered", "missing", "parted", "ended"]


@dataclass(frozen=True, slots=True)
class Given:
    """One thing that went to one server. `state`: there; back (`recalled` says when); asked-back, until that server has done it; refused:
    it would not, and a person sees to it; unanswered: it may be there, and we look; missing: their server says, or is thought, to have
    lost it; parted: it was there when we parted; ended: we could not
    take it back, and they say that it is gone (`why`, in the words of whoever ended it)."""

    remote: str
    recipient: str
    ref: Ref
    first: datetime
    last: datetime  # when a version of it went last
    recalled: datetime | None
    state: State
    on_behalf_of: str | None = None  # of a processor: for whom it keeps it (`Organization/…`)
    why: str = ""
    fetched: bool = False  # they read it here, and nothing was sent

    @property
    def at(self) -> datetime:
        return self.recalled or self.last


async def given(ctx: Context) -> list[Given]:
    """Of all records that are the person's: first what is not back and should be, then by when it last changed, newest first. What is hidden
    from the person themselves is not in it. For the person alone; Problem not-found for everybody else (leak list L39)."""
    me = ctx.actor.patient
    if ctx.actor.kind != "patient" or me is None:
        await ctx.house.store.commit(note(ctx, "R", "who-looked", None, (me,) if me else (), allowed=False))
        raise not_found()
    rows = [row for record in sorted(ctx.answers_for) for row in await ctx.house.store.ledger(patient=record)]
    unanswered = await _unanswered(ctx)
    found = await ctx.house.store.get_many(sorted({r.ref for r in rows} | {d.ref for d in unanswered}))
    hidden = {ref for ref, stored in found.items() if not (await ask_stored(ctx, "access", stored)).permit}
    spells: dict[tuple[str, Ref, datetime | None], list[Disclosed]] = {}
    for row in rows:
        spells.setdefault((row.remote, row.ref, row.recalled), []).append(row)
    out = []
    stuck: dict[tuple[str, str | None], set[str]] = {}
    for (remote, ref, recalled), some in spells.items():
        if ref not in hidden:
            at, last = sorted(r.at for r in some), max(some, key=lambda r: r.at)
            state: State = "back" if recalled else await _now(ctx, remote, ref, found.get(ref), some, stuck)
            over = await ended(ctx.house, remote, ref, some) if state == "asked-back" else None
            out.append(Given(remote, last.recipient, ref, at[0], at[-1], recalled, "ended" if over else state, last.on_behalf_of, over.why if over else "", all(r.fetched for r in some)))
    known = {(g.remote, g.ref) for g in out if g.recalled is None}
    for row in unanswered:
        if row.ref not in hidden and (row.remote, row.ref) not in known:
            out.append(Given(row.remote, row.recipient, row.ref, row.at, row.at, None, "unanswered"))
    await ctx.house.store.commit(note(ctx, "E", "who-looked", Decision(True, "self"), (me,), patient=me, query="what was sent"))
    return sorted(sorted(out, key=lambda g: g.at, reverse=True), key=lambda g: ORDER.get(g.state, 2))


ORDER: Final = {"refused": 0, "asked-back": 1, "unanswered": 1, "missing": 1}


async def _now(ctx: Context, name: str, ref: Ref, stored: Stored | None, rows: list[Disclosed], stuck: dict[tuple[str, str | None], set[str]]) -> State:
    """How it is with a copy of which we do not know that it is gone. `stuck` is filled: what is parked, by server and person. Of what was only
    read by a server that is no gateway nothing is asked back: it keeps no copy under our name."""
    remote = next((r for r in ctx.house.remotes if r.name == name), None)
    if remote is None:
        return "parted"
    if all(row.fetched for row in rows) and not await may_be_gateway(ctx, remote):
        return "there"
    if stored is not None and not stored.deleted and await may_keep(await owner_of(ctx.house, remote), remote, stored, rows):
        link = await ctx.house.store.link(name, ref)
        sent = not all(row.fetched for row in rows)  # else nobody finds out whether they still have it
        lost = (sent and link is not None and link.gone) or await ctx.house.store.kept("watermark", f"{name} doubted", ctx.at) is not None
        return "missing" if lost else "there"
    if stored is None and not await _under_way(ctx, name, ref):  # a restore lost it here
        return "there"
    person = next((p for p in (stored.facts.patients if stored is not None else ()) if p in ctx.answers_for), ctx.actor.patient)
    if (name, person) not in stuck:
        stuck[name, person] = {str(i["ref"]) for i in await ctx.house.store.outbox_items(name, "parked", MOST, patient=person)}
    return "refused" if str(ref) in stuck[name, person] else "asked-back"


async def _under_way(ctx: Context, name: str, ref: Ref) -> bool:
    """Is something to become of it there?"""
    for person in sorted(ctx.answers_for):
        for state in ("queued", "leased", "parked"):
            if any(i["ref"] == str(ref) for i in await ctx.house.store.outbox_items(name, state, MOST, patient=person)):
                return True
    return False


async def _unanswered(ctx: Context) -> list[Disclosed]:
    """What left and of which no answer has come (`sync.attempts`)."""
    out = []
    for remote in ctx.house.remotes:
        for key, raw in (await ctx.house.store.kept_all("attempt", ctx.at, f"{remote.name} ")).items():
            attempt = msgspec.json.decode(raw)
            if attempt["patient"] in ctx.answers_for and attempt["tries"]:
                at = max(t["at"] for t in attempt["tries"])
                type, _, id = key.rpartition(" ")[2].partition("/")
                out.append(Disclosed(remote.name, Ref(type, id), 0, attempt["patient"], remote.organisation, instant(at)))
    return out
