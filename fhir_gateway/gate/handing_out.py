"""What a partner's own system reads here: in the ledger, as what was sent is, so that a no reaches it there.

A gateway keeps a copy of what it fetches, by our name (docs/notes/0024), and a person there may keep that from us: then nothing of ours goes
there of which the ledger would know. docs/notes/0032
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from ..domain.types import Disclosed, Op, Ref, Send, Stored
from ..domain.vocabulary import own_task
from .context import Context, Remote, ask, ask_stored, directory_now
from .disclosing import may_keep, owner_of

STATE: Final = "remote-state"  # kept: `<remote> abilities`, what that server said it can do
NO_COPY: Final = frozenset({"Patient"})  # no gateway makes one of it
PAST: Final = datetime.max.replace(tzinfo=UTC)  # a look at what one thing was: nothing is taken in by it
REACH: Final = timedelta(hours=1)  # by more than this no look goes back behind the one before
FEW: Final = 10  # are looked up each; of more their people's rows are gone through


async def handed_out(ctx: Context, shown: Iterable[Stored], *trail: Op, since: datetime | None = None) -> None:
    """`since`: of a history, from when on it was asked for; None where all of it was, and of what is no history. The rows of the trail are written down, and in the same commit what of `shown` a partner's gateway has from now on. Where a no or a
    deletion came meanwhile, or somebody who reads from that server may not have it, it is looked at again, and taken back. Of everybody else's
    reads the trail alone."""
    rows = await _new(ctx, shown, since) if ctx.actor.kind == "system" and ctx.client is not None and ctx.house.remotes else {}
    await ctx.house.store.commit(*trail, *(row for some in rows.values() for row in some))
    now = await ctx.house.store.get_many(list(rows)) if rows else {}
    again = set[tuple[str, str]]()
    for ref, some in rows.items():
        s = now.get(ref)
        over = s is None or s.deleted or not (await ask(ctx, ctx.action, s.facts)).permit
        again.update([(d.remote, str(d.patient)) for d in some if over or (s is not None and not await _may_stay(ctx, s, d))])
    if again:
        await ctx.house.store.commit(*(Send(remote, Ref("Patient", p.removeprefix("Patient/")), 0, p, "review") for remote, p in sorted(again)))


async def _may_stay(ctx: Context, stored: Stored, row: Disclosed) -> bool:
    remote = next(r for r in ctx.house.remotes if r.name == row.remote)
    return await may_keep(await owner_of(ctx.house, remote), remote, stored, [row])


async def _new(ctx: Context, shown: Iterable[Stored], since: datetime | None) -> dict[Ref, list[Disclosed]]:
    """What the ledger does not have yet as there: a row for each of their servers, of the newest version that was shown. Whoever is shown an
    older version of what is deleted is shown the deletion, too."""
    remotes, newest = await _theirs(ctx), dict[Ref, Stored]()
    for s in sorted(shown, key=lambda s: s.version) if remotes else ():
        if not s.deleted and s.facts.patients and s.ref.type not in NO_COPY and not own_task(s.facts.type, s.facts.codes) and not _wrote(ctx, s):
            newest[s.ref] = s
    found: dict[Ref, list[Disclosed]] = {}
    for remote in remotes:
        agreed = [s for s in newest.values() if remote.takes(s.ref.type)]
        there = await _there(ctx, remote, agreed)
        for s in agreed:
            if s.ref not in there and not await _asked_back(ctx, remote, s, since) and (now := await ctx.house.store.get(s.ref)) is not None and not now.deleted:
                why = await ask_stored(ctx, ctx.action, s)
                row = Disclosed(remote.name, s.ref, s.version, s.facts.patients[0], remote.organisation, ctx.at, why.consent, s.epoch, fetched=True)
                found.setdefault(s.ref, []).append(row)
    return found


async def _there(ctx: Context, remote: Remote, asked: Collection[Stored]) -> set[Ref]:
    """Which of these, and of others, the ledger has as there."""
    ledger = ctx.house.store.ledger
    if len(asked) <= FEW:
        return {d.ref for s in asked for d in await ledger(remote=remote.name, patient=s.facts.patients[0], ref=s.ref, open_only=True)}
    return {d.ref for person in {s.facts.patients[0] for s in asked} for d in await ledger(remote=remote.name, patient=person, open_only=True)}


async def _asked_back(ctx: Context, remote: Remote, stored: Stored, since: datetime | None) -> bool:
    """Was this version, or a later one, taken back from there, and is not theirs again by this look. A history that goes on from where the last
    look ended shows it once more, and no gateway brings again what was asked back. Who reads it from the start, as after a restore, or asks for
    it, may have it again: a row, but where it was fetched before and still may not stay. Else it would be asked back with every look."""
    rows = await ctx.house.store.ledger(remote=remote.name, patient=stored.facts.patients[0], ref=stored.ref)
    gone = [row for row in rows if row.recalled is not None and row.version >= stored.version]
    if gone and since is not None and stored.updated - REACH <= since:
        return True
    back = [row for row in gone if row.fetched]
    return bool(back) and not await may_keep(await owner_of(ctx.house, remote), remote, stored, back)


async def _theirs(ctx: Context) -> list[Remote]:
    """The servers of the organisation whose system asks, but those of which is known that they are no gateways."""
    directory, _ = ctx.place or await directory_now(ctx.house)
    mine = [r for r in ctx.house.remotes if directory.find(r.organisation) == ctx.actor.organisation]
    return [r for r in mine if await may_be_gateway(ctx, r)]


async def of_a_partner(ctx: Context) -> bool:
    """Does a system of an organisation ask from whose server we may fetch?"""
    directory, _ = ctx.place or await directory_now(ctx.house)
    return any(directory.find(r.organisation) == ctx.actor.organisation for r in ctx.house.remotes if r.direction != "out")


async def may_be_gateway(ctx: Context, remote: Remote) -> bool:
    """Is this server one, as far as is known: it keeps a copy of what it reads."""
    raw = await ctx.house.store.kept(STATE, f"{remote.name} abilities", ctx.at)
    said: dict[str, Any] = msgspec.json.decode(raw) if raw is not None else {}
    return bool(said.get("gateway", True))


def _wrote(ctx: Context, stored: Stored) -> bool:
    """Is this as their own server said it, or their system wrote it."""
    return stored.writer.kind == "system" and stored.writer.organisation == ctx.actor.organisation


__all__ = ["PAST", "STATE", "handed_out", "of_a_partner"]
