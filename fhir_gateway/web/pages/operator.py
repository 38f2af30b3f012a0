"""The operator's page: partners and their queues, and whatever waits for a person, each with its reason and what can be done.

Nothing of anybody's record: kinds, ids, elements, times. docs/sync.md
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ... import gate
from ...domain.problem import Problem
from ...gate import Context, waiting_room
from ...remote.client import Down, Locked, Refusal, Unknown
from ...sync.ending import gone
from ...sync.partner import Partner
from ...sync.replaying import replay
from ...sync.status import going, lost
from .frame import Pages, go, show
from .names import partners_called
from .privacy import AGAIN
from .words import _, lasting, moment

MOST = 100  # of one kind on the page; the command lists all
FIELDS = ("kind", "id", "do", "reason", "password")
KINDS: Mapping[str, tuple[str, str]] = {  # heading, what it is
    "recall": ("Copies to be taken back", "Another service still holds a copy that it should have given back. Ask them to delete it by hand, then try again. If we cannot see whether it is gone, write who told you so. The person can read it."),
    "conflict": ("Conflicts", "The same thing was changed here and there. The person, and those who help them, can choose on their own pages."),
    "identity": ("Who somebody is", "It is not sure whose record this is at another service. Nothing goes there or comes in for this person. Look with them and put right what is wrong. Then use the command that you see with the person."),
    "quarantine": ("Not taken in", "A change from another service breaks a rule here. Until that is settled, our changes do not go over it there. Ask them to put it right, then take it in again."),
    "parked": ("Not taken by another service", "Another service will not take a change. Find out why, then try again, or leave it out."),
    "inbox": ("Messages that were refused", "A message from another system was refused. Look at it today: somebody may wait for care. To send it again, use the command: fhir-gateway inbox replay."),
    "skipped": ("Left out", "These changes were left out. You can send them after all."),
    "dropped": ("Parts that another service does not keep", "Nothing is lost here. Ask them if it matters."),
}
ACTS: Mapping[str, tuple[str, str]] = {  # button, said when it is done
    "retry": ("Try again", "It is tried again now."),
    "skip": ("Leave it out", "It is left out."),
    "gone": ("They say it is gone", "We ask for it no more. The person can read what you wrote."),
    "ours": ("Keep ours", "It is as it was written here."),
    "theirs": ("Keep theirs", "It is as it was written there."),
    "replay": ("Take it in again", "It was looked at again."),
    "end": ("End it", "It is ended. Nothing of it was written."),
}
COMMANDS: Mapping[str, frozenset[str]] = {"inbox": frozenset({"replay"})}  # what is done by a command alone: it needs a file
STATES: Mapping[str, str] = {  # by the kind of `sync.state.State`
    "away": "It does not answer as it should. See that it runs and that its address is right. Nothing is lost, and we try again.",
    "asked-to-wait": "It asked us to wait. Nothing is lost.",
    "moved": "Its address was changed in the settings. Nothing goes there and nothing is asked. What waits is kept. This command says what to do: fhir-gateway sync status",
    "locked": "It does not know us. Check how we sign in there. Nothing is lost.",
}
SUBSCRIBED: Mapping[str, str] = {  # by the status of a Subscription
    "requested": "It has not answered our first message yet.",
    "active": "All is well.",
    "error": "It does not take what we send. We try again.",
    "off": "It is told nothing more.",
}
NEEDS_REASON = frozenset({"skip", "gone", "end", "ours", "theirs"})
WHEN_IT_FAILS: Mapping[str, str] = {
    "forbidden": "This is for the person, or for somebody who may change it. They choose on their own page.",
    "conflict": "Somebody has changed it again. The person chooses on their own page.",
    "stale": "Somebody has changed it meanwhile. Look again.",
    "business-rule": "This cannot be done with this one.",
    "not-found": "It waits no more.",
}


async def overview(pages: Pages, request: Request, ctx: Context) -> Response:
    """What waits now."""
    return await _page(pages, request, ctx, {}, "")


async def act(pages: Pages, request: Request, ctx: Context) -> Response:
    """One button of one item, by a fresh sign-in."""
    form = request.state.form
    id, do, why = str(form.get("id", "")), str(form.get("do", "")), str(form.get("reason", "")).strip()
    at = f"{form.get('kind', '')}-{id}"
    item = await waiting_room.one(ctx, str(form.get("kind", "")), id)
    if item is None or do not in _can(item):
        return await _page(pages, request, ctx, {"list": _(WHEN_IT_FAILS["not-found"])}, "")
    fresh = await _fresh(pages, request, ctx)
    if fresh is None:
        return await _page(pages, request, ctx, {f"password-{at}": _(AGAIN)}, at)
    if do in NEEDS_REASON and not why:
        return await _page(pages, request, ctx, {f"reason-{at}": _("Say why.")}, at)
    try:
        await _do(pages, fresh, item, do, why)
    except Problem as p:
        if p.kind not in WHEN_IT_FAILS:
            raise
        return await _page(pages, request, ctx, {f"reason-{at}" if do in NEEDS_REASON else at: _(WHEN_IT_FAILS[p.kind])}, at)
    except (Down, Unknown, Locked, Refusal):
        return await _page(pages, request, ctx, {at: _("The other service does not answer as it should. Try again later.")}, at)
    return go(f"/operator?done={do}")


async def _do(pages: Pages, ctx: Context, item: Mapping[str, Any], do: str, why: str) -> None:
    id = str(item["id"])
    if do == "retry":
        await waiting_room.retry(ctx, [id])
    elif do == "skip":
        await waiting_room.skip(ctx, id, why)
    elif do == "gone":
        await gone(pages.house, pages.more.get("partners", []), ctx, id, why)
    elif do == "end":
        await waiting_room.end(ctx, id, why)
    elif do == "replay":
        partners: list[Partner] = pages.more.get("partners", [])
        for partner in (p for p in partners if p.name == item["remote"]):
            await replay(pages.house, partner, ctx, id)
    else:
        await gate.settle(ctx, id, do, reason=why)


async def _fresh(pages: Pages, request: Request, ctx: Context) -> Context | None:
    if gate.signed_in_now(ctx):
        return ctx
    password = str(request.state.form.get("password", ""))
    return await pages.confirm(request, password) if password and pages.confirm is not None else None


async def _page(pages: Pages, request: Request, ctx: Context, errors: dict[str, str], at: str) -> Response:
    found = await waiting_room.everything(ctx, most=MOST)
    beyond = _beyond(await waiting_room.totals(ctx), found)
    queues = await waiting_room.queues(ctx)
    called = await partners_called(ctx)
    kinds = []
    for kind, (heading, text) in KINDS.items():
        items = [_said(i) for i in found if i["kind"] == kind]
        if items:
            kinds.append({"kind": kind, "heading": _(heading), "text": _(text), "items": items[:MOST], "more": max(0, len(items) - MOST) + beyond.get(kind, 0)})
    closed = [{"id": c["consent"], "where": c["where"], "since": moment(c["since"])} for c in await gate.uncomputable(ctx)]
    done = request.query_params.get("done", "")
    known = {r.name: await gate.owner_known(pages.house, r) for r in pages.house.remotes}
    partners = [
        {**q, "called": called.get(q["remote"], ""), "known": known[q["remote"]], **await _paced(pages, q["remote"]), "lost": await _lost(pages, q["remote"])}
        for q in queues
    ]
    told = await waiting_room.subscribers(ctx)
    return await show(
        pages, request, "operator.html", ctx=ctx, status=409 if errors else 200, partners=partners, kinds=kinds, closed=closed, errors=errors, whose=at,
        told=[_told(s) for s in told[:MOST]], untold=len(told[MOST:]),
        typed=str(getattr(request.state, "form", {}).get("reason", "")), stale=not gate.signed_in_now(ctx), needs=NEEDS_REASON,
        acts={k: _(v[0]) for k, v in ACTS.items()}, done=_(ACTS[done][1]) if done in ACTS else "",
    )  # fmt: skip


async def _paced(pages: Pages, remote: str) -> dict[str, Any]:
    """How far behind this partner is and what its breakers say, in words."""
    partners: list[Partner] = pages.more.get("partners", [])
    p = await going(pages.house, next(p for p in partners if p.name == remote))
    return {
        **{k: p[k] for k in ("queued", "paused", "failures", "first_at")}, "lag": lasting(p["lag_s"]) if p["queued"] else "",
        "state": " ".join(_(STATES[s]) for s in p["state"].split("; ") if s) or _("All is well."),
        **{k: moment(p[k]) if p[k] else "" for k in ("since", "next_try", "last_push", "last_pull")},
        "unasked": _("It cannot be asked. People are made there without looking, so somebody may be there twice.") if p["identity_search"] is False else "",
    }  # fmt: skip


async def _lost(pages: Pages, remote: str) -> str:
    """What that server does not have any more, and what to do."""
    if (said := await lost(pages.house, remote)) is None:
        return ""
    text = _(
        "It has %(listed)s of the %(known)s things that it is known to have, since %(since)s. Nothing is deleted here for that. "
        "Ask them. Where they lost them, use the command: fhir-gateway sync resend %(remote)s"
    )
    return text % {"listed": said["listed"], "known": said["known"], "since": moment(said["since"]), "remote": remote}


def _told(s: Mapping[str, Any]) -> dict[str, Any]:
    """How far this subscriber is, in words."""
    return {
        **{k: s[k] for k in ("id", "client", "place", "queued", "failures")}, "state": _(SUBSCRIBED[s["status"]]), "why": s["trouble"],
        **{k: moment(s[k]) if s[k] else "" for k in ("last_sent", "failing_since", "next_try")},
    }  # fmt: skip


def _beyond(all: Mapping[str, int], found: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many there are beside those that were looked at, by kind."""
    seen = Counter(i["kind"] for i in found)
    recalls = max(0, all["recall"] - seen["recall"])
    parked = all["recall"] + all["parked"] - seen["recall"] - seen["parked"] - recalls
    return {"recall": recalls, "parked": max(0, parked), "skipped": max(0, all["skipped"] - seen["skipped"])}


def _said(i: Mapping[str, Any]) -> dict[str, Any]:
    """`why` in words, and the `code` that says exactly which place."""
    words, code = (_(i["words"]), i["why"]) if i["words"] else (i["why"] or _("No reason was given"), "")
    return {
        **{k: i[k] for k in ("kind", "id", "remote", "tries")}, "can": _can(i), "name": i["ref"] or i["id"], "since": moment(i["at"]), "why": words, "code": code,
        "command": i.get("command", ""),
    }  # fmt: skip


def _can(i: Mapping[str, Any]) -> list[str]:
    """What can be done about it on this page."""
    return [do for do in i["can"] if do not in COMMANDS.get(str(i["kind"]), ())]
