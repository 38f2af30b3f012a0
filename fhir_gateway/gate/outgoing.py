"""What a change sends to partners: the copy itself, and a review of what they hold where it turns answers."""

from __future__ import annotations

from typing import Any

from ..domain.merged import records_of
from ..domain.search import Query
from ..domain.standing import STANDING_TYPES
from ..domain.types import Facts, Has, Never, Op, Ref, Send
from .addressed import addressed
from .context import Context, stand
from .subscribers import told


async def sends(ctx: Context, ref: Ref, version: int, facts: Facts, why: str, before: Facts | None = None) -> list[Op]:
    """What subscribers are to be told, the outgoing copy, and, when what decides has changed, a review of what these people's partners hold."""
    out: list[Op] = [*await told(ctx, ref, version, facts)]
    remotes = await addressed(ctx.house, ctx.at) if facts.patients else ()
    if not remotes:
        return out
    out += [Send(r.name, ref, version, facts.patients[0], why) for r in remotes if r.takes(ref.type)]
    people = await _decided_by(ctx, ref, facts, before)
    return out + [Send(r.name, Ref("Patient", p.removeprefix("Patient/")), 0, p, "review") for r in remotes for p in people]


async def _decided_by(ctx: Context, ref: Ref, facts: Facts, before: Facts | None) -> list[str]:
    """Whose answers this change may turn: those it is about and those with a linked record, where it is a consent or its like; and
    where a consent speaks of what is one hop away, those in whose record it refers to something else now."""
    if ref.type not in STANDING_TYPES:
        if facts.refs == (before.refs if before else frozenset()):
            return []
        known = await stand(ctx.house, facts.patients)
        return [p for p in facts.patients if any(known[q].asks_referrers for q in {p, *known[p].also} & known.keys())]
    people = set(await stand(ctx.house, facts.patients, None, ctx.place))
    for person in facts.patients:
        linked = await ctx.house.store.referrers(Ref("Patient", person.removeprefix("Patient/")))
        people |= {str(r) for r in linked if r.type == "Patient"}
    return sorted(people)


async def sent_again(ctx: Context, person: Ref, *, together: bool = True) -> list[Op]:
    """Where somebody is may be shown no more, or again: everything of theirs but this Patient, which is being written, goes out as it is
    to be seen now; that of records merged with theirs, too, unless they are not taken `together`."""
    out: list[Op] = []
    after: tuple[Any, ...] | None = None
    remotes = await addressed(ctx.house, ctx.at)
    standing = (await stand(ctx.house, [str(person)], None, ctx.place))[str(person)] if remotes else None
    records = records_of(standing) if together and standing is not None else frozenset({str(person)})
    while remotes:
        found = await ctx.house.store.search(Query(()), Has("patient", records), filtered=Never(), count=200, after=after)
        for s in found.hits:
            if s.ref != person:
                whose = next((p for p in s.facts.patients if p in records), str(person))
                out += [Send(r.name, s.ref, s.version, whose, "changed") for r in remotes if r.takes(s.ref.type)]
        after = found.after
        if after is None:
            break
    return out
