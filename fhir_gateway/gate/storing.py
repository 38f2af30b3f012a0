"""What one change puts into the commit: the version, its keys and audit, and what the gateway itself writes beside it; and what it writes alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..domain import drafts, labels, strict
from ..domain import facts as deriving
from ..domain.bundle import instant
from ..domain.drafts import Item
from ..domain.helping import concerns, loses
from ..domain.main_plan import counts
from ..domain.medicines import RESOURCES as MEDICINES
from ..domain.person import at_risk
from ..domain.relationships import JOINED
from ..domain.rendering import rendered
from ..domain.types import VIEW, Decision, Facts, Put, Ref, Remove, Stored, Writer
from . import drafting
from .accepting import acceptances, questions
from .closing import closing, requests_over
from .committing import Work
from .consenting import unknown
from .context import Context, Written, ask_stored, bumps, leaving, notes, within_launch
from .discharging import discharged
from .finishing import asked_for, finished
from .headings import title
from .helping import settle_helpers
from .identifying import released
from .keying import keyed, keyed_again
from .main_plan import one_main_plan
from .marking import labelled, who_writes
from .outgoing import sends, sent_again
from .permitting import may_leave, may_touch, through_targets
from .reading import in_scope

LEADS = {"ServiceRequest": "basedOn", "CarePlan": "careTeam"}  # to a team, with the Task that is taken on
OUR_OWN = Decision(True, "")  # what the gateway itself adds


# -- into the commit --------------------------------------------------------------------------------------------------


async def store(
    work: Work, ref: Ref, version: int, over: int, raw: bytes, resource: dict[str, Any], facts: Facts,
    security: list[dict[str, Any]], writer: Writer, letter: str, what: str, before: Stored | None,
    decision: Decision = OUR_OWN, detail: str = "", ours: bool = False,
) -> Written:  # fmt: skip
    """What the commit will hold of it. `ours`: the gateway's own word, which no scope of the asker limits."""
    ctx = work.ctx
    body = strict.stamp(raw, id=ref.id, version=str(version), updated=instant(ctx.at), security=security)
    final = strict.decode(body)
    if not ours:
        await may_leave(ctx, letter.lower(), final, facts, ref)
        if drafting.waits(ctx, final, before):
            await drafting.keep(work, Item(str(ref), over, body.decode(), title(final)), Stored(ref, version, ctx.at, body, body, facts, writer), decision, mark_draft)
            return drafting.told(work, ref)
    shown = rendered(final, VIEW)
    seen = body if shown is final else strict.dump(shown)
    keys = await keyed(work, final, shown, facts)
    work.ops += [Put(ref, version, ctx.at, body, seen, facts, keys, writer, over)]
    work.ops += bumps(ref.type, facts, before.facts if before else None)
    work.ops += await sends(ctx, ref, version, facts, "changed", before.facts if before else None)
    if ref.type == "Patient":
        elsewhere = await keyed_again(work, ref, final, before)
        if before is not None and (elsewhere or at_risk(facts) != at_risk(before.facts)):
            work.ops += await sent_again(ctx, ref)
    for task in await questions(ctx, ref, final, facts, before, work.new) if writer.method != JOINED else ():
        await _put_question(work, task)
    work.ops += acceptances(ctx, ref, final, facts)
    work.trail += notes(ctx, letter, what, decision, facts, ref, allowed=True, detail=f"version {version}{detail}")
    stored = Stored(ref, version, ctx.at, body, seen, facts, writer, created_by=before.created_by if before else writer.user)
    work.new[ref] = stored
    if ref.type == "Task" and (asked := requests_over(final)):
        work.over |= asked
        work.at_last(close_requests)
    _helps(work, ref, final, before)
    if ref.type == "CarePlan":
        watched(work, stored, before)
    if ref.type in MEDICINES:
        work.medicines[ref] = before
        work.at_last(propose_medicines)
    if finished(final, before):
        work.answered.add(ref)
        work.at_last(end_questions)
    told = await unknown(ctx, work.get, final, facts)
    return Written(ref, version, ctx.at, await given_back(ctx, stored), "created" if not over else "updated", issues=told)


def watched(work: Work, now: Stored | None, before: Stored | None) -> None:
    """A person's main plan begins or ends with this CarePlan: then all of them are looked at before the commit."""
    begins, was = (s is not None and s.body is not None and counts(strict.decode(s.body)) for s in (now, before))
    if begins == was:
        return
    for stored in (now, before):
        for person in stored.facts.patients if stored is not None else ():
            plans = work.plans.setdefault(person, [])
            if begins and stored is not None and stored is now:
                plans.append(stored.ref)
    work.at_last(settle_plans)


def _helps(work: Work, ref: Ref, now: dict[str, Any] | None, before: Stored | None) -> None:
    """A Task is taken on, or was, or what it is for leads to a team no more: then who comes into a team, and who goes, is looked at before the commit."""
    if ref.type not in ("Task", *LEADS):
        return
    was = strict.decode(before.body) if before is not None and before.body is not None else None
    if ref.type in LEADS:
        looked_at = was is not None and loses(now, was, LEADS[ref.type])
    else:
        looked_at = (before is not None or work.ctx.actor.kind == "professional") and concerns(now, was)
    if looked_at:
        work.helped.setdefault(ref, before.facts.patients if before is not None else work.new[ref].facts.patients)
        work.last.append(settle_teams)  # again, too, after what else is done at last


async def settle_teams(work: Work) -> None:
    """Who takes a referral on for a plan is in its team while they do it."""
    await settle_helpers(work, put_by_house)


async def settle_plans(work: Work) -> None:
    """One main plan for each person, whatever this commit makes and ends."""
    await one_main_plan(work, put_by_house)


async def propose_medicines(work: Work) -> None:
    """What a discharge says otherwise of the plan's medicines is proposed, once."""
    await discharged(work, put_by_house)


async def end_questions(work: Work) -> None:
    """What asked for these answers is done."""
    async for stored, body in asked_for(work):
        await put_by_house(work, stored.ref, body, stored, "update", "it is answered", ours=True)


async def close_requests(work: Work) -> None:
    """A referral whose Tasks are all over closes with the last of them, so that whoever made it sees how it went."""
    for stored, body in [found async for found in closing(work)]:
        await put_by_house(work, stored.ref, body, stored, "update", "all that was asked for by it is over", ours=True)


async def mark_draft(work: Work, draft: drafts.Draft) -> None:
    """The Task that says that a draft waits."""
    await put_by_house(work, Ref("Task", draft.id), drafts.task(draft), None, "draft", "it waits for the person")


async def _put_question(work: Work, task: dict[str, Any]) -> None:
    ctx, own = work.ctx, Ref("Task", work.ctx.house.new_id())
    writer = Writer(ctx.actor.user, ctx.actor.organisation, ctx.client, ctx.actor.kind, "SYSTEM", False)
    facts, security = labelled(ctx, task, own, writer, None)
    await store(work, own, 1, 0, strict.dump(task), task, facts, security, writer, "C", "create", None, ours=True)


async def away(work: Work, stored: Stored) -> Written:
    """A deletion, into the commit."""
    ctx, ref, version = work.ctx, stored.ref, stored.version + 1
    writer = await who_writes(ctx, {}, "DELETE", stored)
    work.ops += [Remove(ref, version, ctx.at, writer, stored.version), *bumps(ref.type, stored.facts)]
    work.ops += released(ref, stored)
    work.ops += await sends(ctx, ref, version, stored.facts, "deleted")
    if ref.type == "CarePlan":
        watched(work, None, stored)
    if ref.type in MEDICINES:
        work.medicines[ref] = stored
        work.at_last(propose_medicines)
    _helps(work, ref, None, stored)
    work.gone.add(ref)
    return Written(ref, version, ctx.at, None, "deleted")


async def given_back(ctx: Context, stored: Stored) -> bytes | None:
    """What a writer gets back of what they wrote: nothing unless they may read it, by scope and by consent (leak list L21)."""
    may = ctx.scopes is None or (ctx.scopes.covers("r", stored.ref.type) and within_launch(ctx, "r", stored.facts))
    if not may or not in_scope(ctx, "r", stored) or not (await ask_stored(ctx, ctx.action, stored)).permit:
        return None
    return (await leaving(ctx, stored))[0]


# -- by the gateway itself --------------------------------------------------------------------------------------------


async def put_by_house(
    work: Work, ref: Ref, resource: dict[str, Any], before: Stored | None, what: str, detail: str, method: str = "SYSTEM",
    ours: bool = False, by: Writer | None = None,
) -> Written:  # fmt: skip
    """Prepare what the gateway itself writes when somebody with the right to asks it to: they see no more of it than before.

    A granular scope holds for what they asked for, not for the Tasks that the gateway raises of it. `by`: whose words they are.
    """
    ctx, a = work.ctx, work.ctx.actor
    ours = ours or ref.type == "Task"
    if before is not None and not ours and not in_scope(ctx, "u", before):
        await may_touch(ctx, "u", before)
    writer = by or Writer(a.user, a.organisation, ctx.client, "operator" if a.operator else a.kind, method, False, saw_all=False)
    facts, security = labelled(ctx, resource, ref, writer, before)
    facts = await through_targets(work, resource, facts, before)
    facts = deriving.in_nobodys_name(facts, before.facts if before is not None else None, theirs=by is not None)
    over, letter = (before.version, "U") if before is not None else (0, "C")
    return await store(
        work, ref, over + 1, over, strict.dump(resource), resource, facts, security, writer, letter, what, before, detail=f": {detail}", ours=ours
    )  # fmt: skip


async def take_away_by_house(work: Work, stored: Stored, decision: Decision, what: str) -> Written:
    """Prepare a deletion that somebody else asked for, by the right of whoever says yes to it. Problem insufficient-scope."""
    await may_touch(work.ctx, "d", stored)
    work.trail += notes(work.ctx, "D", what, decision, stored.facts, stored.ref, allowed=True)
    return await away(work, stored)


async def put_version(work: Work, stored: Stored, resource: dict[str, Any], found: labels.Labels, *, saw_all: bool) -> Written:
    """Prepare the same content under other labels: `found` is all of them."""
    ctx = work.ctx
    writer = replace(await who_writes(ctx, resource, "PUT", stored), saw_all=saw_all)
    derived = deriving.derive(
        resource, stored.ref, ctx.at, writer, found, stored.created_by, called=ctx.actor.ids, before=stored.facts
    )
    facts = replace(derived, patients=stored.facts.patients)
    raw = strict.dump(resource)
    return await store(work, stored.ref, stored.version + 1, stored.version, raw, resource, facts, found.security, writer, "U", "update", stored)
