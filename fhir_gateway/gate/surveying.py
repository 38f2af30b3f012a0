"""Counting over all people, for those who plan services: everybody's own no is asked first, for the purpose of a programme's report.

`decide` has no purpose under which anybody reads records to count them, and gets none. What is asked of it is whether the person objects: by an
opt-out, a no that covers this purpose, or a yes to others alone. What they object to is in no count. Nothing of a person leaves but their part in
a count of at least five; who asked is in the trail, once. docs/reports.md, docs/notes/0034
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import msgspec

from ..domain import strict
from ..domain.merged import records_of
from ..domain.one_counted import district, of_person
from ..domain.periods import LONDON
from ..domain.problem import Problem
from ..domain.reporting import EVERYBODY, KINDS, Kind, Report
from ..domain.search import Query
from ..domain.standing import Standing
from ..domain.types import Actor, Always, Decision, Keep, Stored
from ..store.base import Taken
from . import told_again
from .context import Context, ask_stored, note, stand
from .looking import organisation_called
from .told_again import One

REPORT: Final = "report"  # kept: by `<month> <kind> <by>`, until the month is over
GROUPING: Final = "grouping"  # kept beside them: `Grouping`
PURPOSE: Final = "HPRGRP"  # health program reporting: https://terminology.hl7.org/CodeSystem-v3-ActReason.html
TYPES: Final = ("CarePlan", "CareTeam", "Goal", "Observation", "ServiceRequest", "Task")
BY: Final = ("", "locality", "practice")
NOBODY: Final = Actor("system", frozenset())  # whoever asks, the report is the same: no yes or no to one of them counts
PAGE: Final = 100


class Counted(msgspec.Struct, frozen=True):
    """A report as it was counted at `at`; the same for whoever asks until `until`, so that two cannot be subtracted from each other. `earlier`: when
    those parts were counted that are told again: `rows`, `about`, and each score by `system|code`."""

    at: datetime
    until: datetime
    by: str
    report: Report
    earlier: dict[str, datetime] = {}

    def counted(self, part: str) -> datetime:
        """When this part was counted."""
        return self.earlier.get(part, self.at)


class Grouping(msgspec.Struct, frozen=True):
    """By what reports are told, by this alone until a year after the month of the last one."""

    by: str
    until: datetime


async def counted_over_all(ctx: Context, kind: str, by: str = "", seen: Callable[[int, int], None] = lambda n, of: None) -> Counted:
    """This month's report, counted now where nobody asked for it before. `by`: "", locality (postcode district) or practice. `seen` is told how
    many people were looked at, of how many. Problem: forbidden, invalid; business-rule for the other grouping within a year of one that was told."""
    _may(ctx)
    which = next((k for k in KINDS if k == kind), None)
    if which is None:
        raise Problem("invalid", f"`{kind[:40]}` is no report: {', '.join(KINDS)}.", "kind")
    if by not in BY:
        raise Problem("invalid", f"A report is by locality or practice, not by `{by[:40]}`.", "by")
    here = ctx.at.astimezone(LONDON)
    month, until = f"{here:%Y-%m}", here.replace(year=here.year + here.month // 12, month=here.month % 12 + 1, day=1, hour=0, minute=0, second=0, microsecond=0)
    row = note(ctx, "R", "report", None, (), query=f"{which} {by}".strip(), allowed=True, detail="counts over all people")
    year = until.replace(year=until.year + 1)
    grouped, settled = await _grouping(ctx, month, by, year)
    raw = await ctx.house.store.kept(REPORT, f"{month} {which} {by}", ctx.at)
    try:
        if raw is not None:
            await ctx.house.store.commit(*settled, row)
            return msgspec.json.decode(raw, type=Counted)
        ways = ("", grouped) if grouped else BY  # what is told by the other a year later must not be of this month
        parts, kept = await told_again.told(ctx, which, await _people(ctx, which, seen), ways, year)
        told = {way: Counted(ctx.at, until, way, told_again.composed(which, way, parts), told_again.earlier(way, parts, ctx.at)) for way in ways}
        kept += [Keep(REPORT, f"{month} {which} {way}", msgspec.json.encode(told[way]), until, if_absent=True) for way in ways]
        await ctx.house.store.commit(*kept, *settled, row)
    except Taken:  # of two who count at once both are told what was kept first
        return await counted_over_all(ctx, kind, by, seen)
    return told[by]


async def _grouping(ctx: Context, month: str, by: str, until: datetime) -> tuple[str, list[Keep]]:
    """By what reports are told now, "" where that is open; and what a question by place or by practice settles, `until` the other may be asked: of people who are in one group of each but not in the other, two
    tables tell the difference, also where a month's turn lies between them. What a version before this one settled for its month alone, kept by
    `<month> by`, holds as long as any other from the first question on, of whatever kind. Problem business-rule where it is settled otherwise."""
    raw = await ctx.house.store.kept(REPORT, GROUPING, ctx.at)
    earlier = await ctx.house.store.kept(REPORT, f"{month} by", ctx.at) if raw is None else None
    settled = msgspec.json.decode(raw, type=Grouping) if raw is not None else Grouping(earlier.decode(), until) if earlier is not None else None
    if settled is None:
        return by, [_settles(Grouping(by, until), if_absent=True)] if by else []
    if by and settled.by != by:
        if raw is None:
            with suppress(Taken):  # somebody else's question settled it meanwhile
                await ctx.house.store.commit(_settles(settled, if_absent=True))
        when = f"{settled.until:%d %B %Y}".lstrip("0")
        raise Problem("business-rule", f"Reports are by {settled.by} until {when}. By {by}, too, they could be subtracted from each other, and somebody be known.", "by")
    if raw is None:
        return settled.by, [_settles(settled, if_absent=True)]
    return settled.by, [replace(_settles(Grouping(by, until)), if_value=raw)] if by and settled.until < until else []


def _settles(grouping: Grouping, *, if_absent: bool = False) -> Keep:
    return Keep(REPORT, GROUPING, msgspec.json.encode(grouping), grouping.until, if_absent=if_absent)


def _may(ctx: Context) -> None:
    if not ctx.actor.operator:
        raise Problem("forbidden", "Reports over all people are for an operator.")


async def _people(ctx: Context, kind: Kind, seen: Callable[[int, int], None]) -> list[One]:
    """One for each person who may be counted at all, of several records where they were merged, and their group by each way of grouping: all of
    a month's reports of a kind are of one moment, so that nobody shows by having come between two."""
    out: list[One] = []
    done, looked, after = set[str](), 0, None
    many = (await ctx.house.store.counts()).get("Patient", 0)
    while True:
        found = await ctx.house.store.search(Query(("Patient",)), Always(), filtered=Always(), count=PAGE, after=after)
        known = await stand(ctx.house, [str(s.ref) for s in found.hits], None, ctx.place)
        for stored in found.hits:
            looked += 1
            theirs = records_of(known[str(stored.ref)])
            if done.isdisjoint(theirs) and (one := await _person(ctx, kind, stored, known[str(stored.ref)], sorted(theirs))) is not None:
                out.append(one)
            done |= theirs if len(theirs) > 1 else set()
        seen(looked, many)
        await asyncio.sleep(0)  # others are served between two pages
        if (after := found.after) is None:
            return out


async def _person(ctx: Context, kind: Kind, stored: Stored, standing: Standing, records: list[str]) -> One | None:
    if standing.died is not None or not await _counts(ctx, stored):
        return None
    patient = strict.decode(stored.body or b"{}")
    kept: list[dict[str, Any]] = []
    for person in records:
        for each in await ctx.house.store.patient_record(person, TYPES):
            if await _counts(ctx, each):
                kept.append(strict.decode(each.body or b"{}"))
    groups = {by: await _group(ctx, by, patient, standing) for by in BY}
    return One(records[0], of_person(kind, EVERYBODY, kept, ctx.at.astimezone(LONDON).date()), groups)


async def _counts(ctx: Context, stored: Stored) -> bool:
    """May this be counted: nobody whom it speaks of objects, and it is not labelled as more than ordinary, unless they said yes to this."""
    decision = await ask_stored(replace(ctx, actor=NOBODY, purpose=PURPOSE), "access", stored)
    return decision.permit or (_nothing_said(decision) and stored.facts.confidentiality in ("U", "L", "M", "N"))


def _nothing_said(decision: Decision) -> bool:
    """Did no consent, opt-out or law decide, but the default alone."""
    return decision.basis == "implicit"


async def _group(ctx: Context, by: str, patient: dict[str, Any], standing: Standing) -> str:
    """Where this person is counted: a postcode district, or what their practice is called in the directory. Of somebody at risk nowhere in particular."""
    if not by:
        return EVERYBODY
    if standing.at_risk:
        return ""
    if by == "locality":
        return district(patient)
    named = [str(g["reference"]) for g in patient.get("generalPractitioner", ()) if "reference" in g]
    called = [await organisation_called(ctx.house, n) for n in named[:1]]
    return called[0] or "" if called else ""


__all__ = ["BY", "Counted", "counted_over_all"]
