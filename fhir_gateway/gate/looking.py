"""What the person may ask about access itself: who looked, and who wrote or keeps something."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from ..auth import clients
from ..domain import audit, recorded, trail_words
from ..domain.periods import micros
from ..domain.primitives import whole
from ..domain.problem import not_found
from ..domain.types import Decision, Note, Ref, Stored
from .context import Context, House, directory_now, note, stand
from .emergencies import reasons
from .previewing import may_share
from .trail import as_told

LOOKED_BACK: Final = 200  # rows of one's own in this person's log
OPENED: Final = frozenset({"everything", "document", "print"})  # what shows a whole plan


async def organisation_called(house: House, name: str) -> str | None:
    """What a confirmed organisation is called, by ODS code or reference; None when there is none."""
    directory, _ = await directory_now(house)
    ref = directory.find(name)
    here = directory.organisations.get(ref) if ref else None
    return (here.name or name) if here is not None and here.confirmed else None


async def who_looked(ctx: Context, patient: str, *, before: str | None = None, count: int = 50) -> list[dict[str, Any]]:
    """The person's own access log, of all their merged records, newest first; only for the person (leak list L39).

    Each: `{id, question, at, who, user, app, organisation, what, allowed, why, rule, reason, recorded, unchanged, for, purpose, sentence, before}`; `before`
    continues after that row; `question` is the id that the Task of a line which the person does not recognise has (`unrecognised`). `app` is the name of the app that somebody used, or let in or stopped; "" for a page of this gateway. `reason` is what whoever did it said, in an emergency, of looking after the person or of how they found out the fact
    that `recorded` names; `for` is the organisation for which whoever was sent a copy keeps it, or for whom it was printed (`recorded.told`; `roles` where they were read; nothing while telling the person would endanger them).
    """
    me = f"Patient/{patient}"
    if ctx.actor.kind != "patient" or ctx.actor.patient != me:
        await ctx.house.store.commit(note(ctx, "R", "who-looked", None, (me,), allowed=False))
        raise not_found()
    at: tuple[Any, ...] | None = None
    if before:
        micro, _, id = before.partition("~")
        instant = whole(micro)
        if instant is None:
            raise not_found()
        at = (instant, id)
    rows = await _told(ctx, sorted(ctx.answers_for), at, count)
    await ctx.house.store.commit(note(ctx, "E", "who-looked", Decision(True, "self"), (me,), patient=me, query=f"AuditEvent?patient={me}"))
    return await rows_told(ctx, me, rows)


async def rows_told(ctx: Context, me: str, rows: Sequence[Note]) -> list[dict[str, Any]]:
    """These rows of the log of the person `me` (`Patient/…`) as `who_looked` tells them; whoever calls has asked which they may see."""
    said = {id: words for record in ctx.records | {me} for id, words in (await reasons(ctx, record)).items()}
    silent = (await stand(ctx.house, [me], None, ctx.place))[me].no_notify
    facts = {n.id: ("roles", "") if n.action == "R" else ("", "") if silent else recorded.told(n.detail) for n in rows if n.what == "record" and n.allowed}
    apps = await _apps(ctx, rows)
    return [
        {
            "id": n.id,
            "question": question_of(ctx.house, n).id,
            "at": n.at,
            "who": n.user_name or n.user,
            "user": n.user,
            "app": apps.get(n.client or "", ""),
            "organisation": n.organisation,
            "what": n.what,
            "allowed": n.allowed,
            "why": n.basis,
            "rule": n.rule,
            "reason": facts[n.id][1] if n.id in facts else n.detail if n.what == "claim" and n.allowed else said.get(n.rule, "") if n.what != "emergency-review" else n.detail,
            "recorded": facts[n.id][0] if n.id in facts else "",
            "unchanged": n.detail == "unchanged" or n.basis == "matched",
            "for": audit.kept_for(n) or audit.printed_for(n),
            "purpose": n.purpose,
            "sentence": trail_words.sentence(n),
            "before": f"{micros(n.at)}~{n.id}",
        }
        for n in rows
    ]


def question_of(house: House, n: Note) -> Ref:
    """The Task that asks about this line of the log, if anybody did: what the same did in the same way in the same minute is one line."""
    line = "\x1f".join(str(x) for x in (n.patient, n.user, n.client, n.organisation, n.what, n.allowed, n.at.replace(second=0, microsecond=0).isoformat()))
    return Ref("Task", hmac.new(house.secret, f"not-recognised {line}".encode(), "sha256").hexdigest()[:32])


async def last_looked(ctx: Context, patient: str) -> datetime | None:
    """When this asker last opened this person's plan or record, before now; None when they never did. Their own row of the log tells nothing new."""
    rows = await ctx.house.store.notes(patient=f"Patient/{patient}", user=ctx.actor.user, count=LOOKED_BACK)
    return next((n.at for n in rows if n.allowed and n.what in OPENED and n.at < ctx.at), None)


async def _apps(ctx: Context, rows: Sequence[Note]) -> dict[str, str]:
    """The names of the programs that people used, by id; one that is registered no more is called by its id."""
    used = {n.client for n in rows if n.client and not n.user.startswith("Device/")}
    found = {id: await clients.find(ctx.house.store, id, ctx.at) for id in used}
    return {id: (app.name if app is not None else "") or id for id, app in found.items()}


async def _told(ctx: Context, records: Sequence[str], before: tuple[Any, ...] | None, count: int) -> list[Note]:
    """Rows of the log, newest first, that name nothing which is hidden from the person themselves: a row about nothing else is none."""
    told: list[Note] = []
    while True:
        each = [n for record in records for n in await ctx.house.store.notes(patient=record, before=before, count=count)]
        rows = sorted(each, key=lambda n: (micros(n.at), n.id), reverse=True)[:count]
        told += await as_told(ctx, rows)
        if len(rows) < count or len(told) >= count:
            return told[:count]
        before = micros(rows[-1].at), rows[-1].id


async def keepers(ctx: Context) -> dict[str, int]:
    """Who wrote or keeps something of the person's own record, and since when (microseconds): they may go on reading that.

    Organisations as `Organization/…` for whom the directory knows them, else the person or system that wrote it. For the
    person, and who may choose for them; Problem not-found otherwise.
    """
    me = ctx.actor.patient
    if me is None or not await may_share(ctx):
        raise not_found()
    directory, _ = await directory_now(ctx.house)
    first: dict[Ref, datetime] = {}
    now: dict[Ref, Stored] = {}
    for record in sorted(ctx.records | {me}):
        for version in await ctx.house.store.patient_versions(record, ctx.house.r4.types):
            first.setdefault(version.ref, version.updated)
            now[version.ref] = version
    out: dict[str, int] = {}
    for ref, stored in now.items():
        if stored.deleted:
            continue
        named = stored.facts.authors | ({stored.facts.custodian} if stored.facts.custodian else set())
        places = {o for o in (directory.find(n) for n in named) if o in directory.organisations}
        people = {n for n in named if n.split("/")[0] in ("Practitioner", "PractitionerRole", "Device")}
        for who in places or people:
            since = micros(first[ref])
            out[str(who)] = min(since, out.get(str(who), since))
    return out
