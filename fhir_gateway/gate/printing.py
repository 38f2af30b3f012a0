"""A plan for paper: what one reader may see, handed out by whoever prints it, with a version and a link that says whether it is the newest.

Every print is a disclosure: the trail says who printed, for whom and which version, in the commit that makes the version.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec

from ..domain import strict
from ..domain.audit import PRINTED_FOR
from ..domain.merged import records_of
from ..domain.problem import Problem, not_found
from ..domain.rendering import rendered
from ..domain.types import Actor, Cut, Decision, Has, Keep, Stored
from ..store.base import Taken
from .context import (
    Context,
    House,
    directory_now,
    need_scope,
    note,
    stand,
    views_of,
    why_shown,
)
from .entering import house_context
from .gathering import gathered, gathered_of_others
from .previewing import NOT_SHOWN
from .somebody import askers, askers_of

VERSION: Final = "printed"  # `Patient/… whom`: the newest version that was printed for this reader
LINK: Final = "printed-link"  # the hash of what the link says: which version of whose plan, for whom
KEPT: Final = timedelta(days=5 * 366)  # how long a link answers
AS_BEFORE: Final = timedelta(minutes=1)  # how long an answer holds of a record that nothing is written in
OVERLAP: Final = timedelta(seconds=30)  # a write says when it began, and stands there later
MOST_PAPERS: Final = 1_000
SCAN: Final = "scan"
PLAN: Final = ("CarePlan",)
SOMEBODY: Final = Actor("system", frozenset(), "", "")
TOKEN: Final = re.compile(r"[a-z2-7]{26}\Z")  # 128 bits

Resources = Sequence[dict[str, Any]]
Digest = Callable[[Resources, Sequence[Resources]], str]  # of a record, and of what is read with it of each other of the same person


@dataclass(frozen=True, slots=True)
class Version:
    """What was printed for a reader last: grows by one when what they may see differs from that."""

    number: int
    digest: str


@dataclass(frozen=True, slots=True)
class Link:
    """What a link on paper stands for. `whom`: `Type/id`, or as a choice names them; `at`: when it was printed."""

    person: str
    whom: str
    purpose: str
    number: int
    digest: str
    at: str


@dataclass(frozen=True, slots=True)
class Printed:
    """What goes on paper: the resources as this reader may have them, decoded; version, its digest, and the token of the link."""

    resources: list[dict[str, Any]]
    others: list[list[dict[str, Any]]]  # the same of each other record of the person (`gathering.joined`)
    number: int
    digest: str
    token: str
    whom: str
    own: bool  # the reader is the person


async def printed(ctx: Context, patient: str, digest: Digest, whom: str = "", purpose: str = "", make: Callable[[Printed], Awaitable[Any]] | None = None) -> Printed:
    """What `whom` may see of this person's plan, and nothing that who prints may not see; whoever asks, for themselves, where nobody is named.

    A person prints for anybody, an operator on this machine likewise; everybody else for themselves. Problem not-found when
    there is no plan that both may see, and of hidden and absent people alike.
    `make`: makes the paper of it, before it is written down; what it raises is raised, and nothing was printed.
    """
    person = f"Patient/{patient}"
    for type in ("Patient", "CarePlan"):
        need_scope(ctx, "r", type)
    whom, purpose = whom or ctx.actor.user, purpose or ctx.purpose
    own, theirs = await _readers(ctx, person, whom, purpose)
    shown = await _shown(ctx, person, own, theirs)
    if shown is None:
        await ctx.house.store.commit(note(ctx, "R", "print", None, (person,), patient=person, allowed=False, detail=f"{PRINTED_FOR}{whom}"))
        raise not_found()
    reader, stored, resources, others = shown
    said = digest(resources, others)
    about = {p: [s for s in stored if p in s.facts.patients] for p in dict.fromkeys((person, *sorted({p for s in stored for p in s.facts.patients})))}
    why = {p: await why_shown(reader, theirs) for p, theirs in about.items()}
    while True:
        key = f"{person} {whom}"
        raw = await ctx.house.store.kept(VERSION, key, ctx.at)
        known = msgspec.json.decode(raw, type=Version) if raw else Version(0, "")
        number = known.number + (known.digest != said)
        token = _token(ctx.house)
        link = Link(person, whom, purpose, number, said, ctx.at.isoformat())
        done = Printed(resources, others, number, said, token, whom, whom == person)
        if make is not None:
            await make(done)
        detail = f"version {number}{PRINTED_FOR}{whom}"
        rows = [note(ctx, "R", "print", why[p], tuple(str(s.ref) for s in theirs), patient=p, allowed=True, detail=detail) for p, theirs in about.items()]
        try:
            await ctx.house.store.commit(
                Keep(VERSION, key, msgspec.json.encode(Version(number, said)), if_absent=raw is None, if_value=raw),
                Keep(LINK, _name(token), msgspec.json.encode(link), ctx.at + KEPT), *rows,
            )  # fmt: skip
        except Taken:
            continue  # somebody printed meanwhile: count on from theirs
        return done


async def who_can_read(ctx: Context, patient: str, whom: Iterable[str]) -> frozenset[str]:
    """Of these, for whom the person can print now: who sees a plan of theirs. Nothing is handed out, so nothing is written down.

    Problem not-found for everybody else than the person, and who acts for them.
    """
    person = f"Patient/{patient}"
    if person not in ctx.answers_for:
        raise not_found()
    mine = {s.ref for s in await gathered(ctx, person, PLAN)}
    asking = await askers_of(ctx.house, whom, ctx.purpose)
    return frozenset([w for w, ways in asking.items() for reader in ways if any(s.ref in mine for s in await gathered(reader, person, PLAN))])


async def is_newest(house: House, token: str, digest: Digest, asking: Context | None = None) -> bool | None:
    """Whether nothing on the paper with this link has changed since; None for a link that was never made, or long ago.

    For anybody who has the paper. That something changed is told, so it is written down, as a look of `asking`, or of somebody. A reader who
    may see no plan any more has no newest paper.
    """
    link = await _link(house, token)
    if link is None:
        return None
    ctx = asking or house_context(house, SOMEBODY)
    newest = await _still_newest(house, _name(token), link, digest)
    told = "the newest" if newest else "there is a newer one"
    row = note(ctx, "R", SCAN, Decision(True, "", rule="has the paper"), (link.person,), patient=link.person, detail=f"version {link.number}: {told}")
    await house.store.commit(row)
    return newest


async def _still_newest(house: House, name: str, link: Link, digest: Digest) -> bool:
    """Not read again where nothing of the record, of who may see it, or of the directory was written since it was: what time alone opens or
    closes is seen a minute later."""
    now, known = house.clock(), house._papers.get(name)
    mark = (await house.store.epoch(link.person), (await directory_now(house))[1])
    if known is not None and known[1] == mark and now - known[0] < AS_BEFORE and not await _written(house, link.person, known[0] - OVERLAP):
        return known[2]
    newest = False
    for asking in await askers(house, link.whom, link.purpose):
        shown = await _shown(asking, link.person, None, [asking])
        try:
            newest = newest or (shown is not None and digest(*shown[2:]) == link.digest)
        except Problem:
            continue
    house._papers[name] = (now, mark, newest)
    house._papers.move_to_end(name)
    if len(house._papers) > MOST_PAPERS:
        house._papers.popitem(last=False)
    return newest


async def _written(house: House, person: str, since: datetime) -> bool:
    """Was anything of this person's records written since: one look at an index."""
    records = records_of((await stand(house, [person]))[person])
    return bool((await house.store.history(None, None, Has("patient", records), since=since, count=1)).hits)


async def printed_plan_of(house: House, token: str) -> str | None:
    """The id of the person whose plan it is, for a page to lead there whoever may see it; no answer to anybody by itself."""
    link = await _link(house, token)
    return link.person.removeprefix("Patient/") if link is not None else None


# -- who reads, and what ----------------------------------------------------------------------------------------------


class _Seen(NamedTuple):
    """Who reads, all that goes on the paper, and it as they may have it: of the record, and of each other record of the person."""

    reader: Context
    stored: list[Stored]
    resources: list[dict[str, Any]]
    others: list[list[dict[str, Any]]]


async def _readers(ctx: Context, person: str, whom: str, purpose: str) -> tuple[Context | None, list[Context]]:
    """(who prints, where they see less than all of it, whoever it is for by each way they can sign in)."""
    if whom == ctx.actor.user:
        return None, [ctx]
    on_this_machine = ctx.actor.operator and ctx.scopes is None
    if not on_this_machine and (ctx.actor.kind != "patient" or person not in ctx.answers_for):
        await ctx.house.store.commit(note(ctx, "R", "print", None, (person,), patient=person, allowed=False, detail=f"{PRINTED_FOR}{whom}"))
        raise not_found()
    return None if on_this_machine else ctx, await askers(ctx.house, whom, purpose)


async def _shown(
    ctx: Context, person: str, own: Context | None, theirs: Iterable[Context]
) -> _Seen | None:
    """Of several ways to sign in the one that sees most; None where no plan is among it."""
    mine = {s.ref for s in await gathered(own, person)} if own is not None else None
    also = {s.ref for found in (await gathered_of_others(own, person)).values() for s in found} if own is not None else None
    best: tuple[Context, list[Stored]] | None = None
    for reader in theirs:
        found = [s for s in await gathered(reader, person) if s.ref.type not in NOT_SHOWN and (mine is None or s.ref in mine)]
        if best is None or len(found) > len(best[1]):
            best = reader, found
    if best is None or not any(s.ref.type == "CarePlan" for s in best[1]):
        return None
    reader, stored = best
    joined = [[s for s in found if also is None or s.ref in also] for found in (await gathered_of_others(reader, person)).values()]
    others = [[await _as_both(own, reader, s) for s in found] for found in joined if found]
    return _Seen(reader, [*stored, *(s for found in joined for s in found)], [await _as_both(own, reader, s) for s in stored], others)


async def _as_both(own: Context | None, reader: Context, stored: Stored) -> dict[str, Any]:
    """One resource as the reader may have it, and who prints for them, too."""
    views = await views_of(reader, stored) | (await views_of(own, stored) if own is not None else Cut(0))
    return dict(rendered(strict.decode(stored.body or b"{}"), views))


# -- the link ---------------------------------------------------------------------------------------------------------


def _token(house: House) -> str:
    """What nobody can guess or make: by a secret of this store, from an id that is never made twice."""
    raw = hmac.new(house.secret, f"printed {house.new_id()}".encode(), "sha256").digest()[:16]
    return base64.b32encode(raw).decode().rstrip("=").lower()


def _name(token: str) -> str:
    """The store keeps no link, only its hash."""
    return sha256(token.encode()).hexdigest()


async def _link(house: House, token: str) -> Link | None:
    raw = await house.store.kept(LINK, _name(token), house.clock()) if TOKEN.match(token) else None
    return msgspec.json.decode(raw, type=Link) if raw else None


__all__ = ["Printed", "is_newest", "printed", "printed_plan_of", "who_can_read"]
