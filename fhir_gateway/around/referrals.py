"""Asking for a service of the directory, and how it stands: for whoever asked, in the order in which it happened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from .. import gate
from ..domain import strict
from ..domain.problem import Problem
from ..domain.referrals import AUTHORISE, DAYS, GRACE, Wish, asked, is_a_persons_act, reason_of, request_of
from ..domain.types import Ref
from ..domain.vocabulary import TASK_SYSTEM
from ..gate import Context
from . import services

MOST: Final = 50  # referrals of one person on a page
MAIN: Final = "http://snomed.info/sct|2181441000000107"  # CarePlan.category of somebody's main plan
LONGEST: Final = 2_000  # characters of why


@dataclass(frozen=True, slots=True)
class Step:
    """What a Task became, and when."""

    at: datetime
    status: str


@dataclass(frozen=True, slots=True)
class Part:
    """One Task of a referral: for whom, how it stands, why not, what came of it, and everything it was, oldest first."""

    id: str
    what: str
    owner: str
    status: str
    reason: str
    outcome: str
    until: str
    mine: bool
    steps: tuple[Step, ...]
    notes: tuple[tuple[str, str], ...] = ()  # the words, and when they were said
    by_link: bool = False  # can be answered by a link


@dataclass(frozen=True, slots=True)
class Referral:
    id: str
    what: str
    why: str
    status: str
    on: str
    parts: tuple[Part, ...]


async def ask_for(
    ctx: Context, person: str, service: str, why: str = "", *, days: int = DAYS, grace: int = GRACE, what: tuple[str, ...] = (), team: bool = False, once: str = ""
) -> tuple[str, list[str]]:
    """Ask for this service (an id) for this person (an id): the ids of the referral and of its Tasks. `what` are the things asked for, where
    they are several; `team`: whoever takes it on is in the team of the person's plan while they do it; `once`: the name of the page it is asked from, the same words from it again are the same referral. Nothing is told of the person but what is written here. Problem not-found, invalid, business-rule."""
    offer = await services.offer(ctx, service)
    if not offer.active or not offer.owner.startswith("Organization/"):
        raise Problem("business-rule", "This service is not offered now.", "service")
    words = "".join(c for c in why if c.isprintable() or c == "\n").strip()
    if len(words) > LONGEST:
        raise Problem("invalid", f"At most {LONGEST} characters.", "why")
    wish = Wish(f"Patient/{person}", ctx.actor.user, f"HealthcareService/{offer.id}", offer.owner, offer.name or "A service", what or (offer.name or "A service",), words, days, grace, await _plan(ctx, person) if team else "")
    answer = await gate.transaction(ctx, strict.dump({"resourceType": "Bundle", "type": "transaction", "entry": asked(wish, ctx.at, _key(wish, ctx.actor.user, once) if once else "")}))
    ids = [e["response"]["location"].split("/_history/")[0].rsplit("/", 1)[1] for e in answer["entry"]]
    return ids[0], ids[1:]


def _key(wish: Wish, who: str, once: str) -> str:
    said = [once, who, wish.person, wish.service, wish.why, str(wish.days), wish.plan, *wish.what]
    return sha256("\n".join(said).encode()).hexdigest()


async def _plan(ctx: Context, person: str) -> str:
    """The person's main plan (`CarePlan/…`), where it has a team and whoever asks sees it. Problem business-rule."""
    found = await _bodies(ctx, "CarePlan", [("patient", person), ("category", MAIN), ("status", "active"), ("_count", "10")])
    plan = next((b for b in found if b.get("careTeam")), None)
    if plan is None:
        raise Problem("business-rule", "There is no plan with a care team that you can see.", "team")
    return f"CarePlan/{plan['id']}"


async def about(ctx: Context, person: str) -> list[Referral]:
    """What was asked for of this person (an id) that this reader may see, newest first."""
    requests = await _bodies(ctx, "ServiceRequest", [("patient", person), ("_sort", "-authored"), ("_count", str(MOST))])
    tasks = await _bodies(ctx, "Task", [("patient", person), ("_count", "200")])
    out = []
    for request in requests:
        mine = [t for t in tasks if request_of(t) == f"ServiceRequest/{request['id']}"]
        if not mine:  # a wish of the plan that nobody was asked for
            continue
        code, why = request.get("code") or {}, request.get("reasonCode") or [{}]
        parts = tuple([await _part(ctx, t) for t in sorted(mine, key=lambda t: str(t.get("authoredOn", "")))])
        out.append(Referral(request["id"], str(code.get("text") or "A service"), str(why[0].get("text") or ""), str(request.get("status")), str(request.get("authoredOn", "")), parts))
    return out


async def _part(ctx: Context, task: dict[str, Any]) -> Part:
    page = await gate.history(ctx, "Task", task["id"], [("_count", "50")])
    steps: list[Step] = []
    for entry in reversed(page.entries):
        status = str(strict.decode(entry.body).get("status")) if entry.body else "entered-in-error"
        if not steps or steps[-1].status != status:
            steps.append(Step(entry.updated, status))
    outcome = next((str(o["valueString"]) for o in reversed(task.get("output", [])) if o.get("valueString")), "")
    until = str(((task.get("restriction") or {}).get("period") or {}).get("end", ""))
    who = str((task.get("owner") or {}).get("reference", ""))
    code = task.get("code") or {}
    budget = any(c.get("system") == TASK_SYSTEM and c.get("code") == AUTHORISE for c in code.get("coding", ()))
    mine = (task.get("requester") or {}).get("reference") == ctx.actor.user
    notes = tuple((str(n.get("text", "")), str(n.get("time", ""))) for n in task.get("note", ()) if n.get("text"))
    text = str(task.get("description") or code.get("text") or ("Authorise the budget" if budget else "A task"))
    return Part(task["id"], text, who, str(task.get("status")), reason_of(task), outcome, until, mine, tuple(steps), notes, not is_a_persons_act(task))


async def cancel(ctx: Context, task: str) -> None:
    """Whoever asked takes it back. Problem not-found, forbidden, conflict where it is over."""
    read = await gate.read(ctx, Ref("Task", task))
    if strict.decode(read.body).get("status") in ("completed", "rejected", "failed", "cancelled", "entered-in-error"):
        raise Problem("conflict", "This is over already.")
    await gate.patch(ctx, Ref("Task", task), lambda t: {**t, "status": "cancelled"}, if_match=read.version)


async def _bodies(ctx: Context, type: str, params: list[tuple[str, str]]) -> list[dict[str, Any]]:
    page = await gate.search(ctx, type, params)
    return [strict.decode(e.body) for e in page.entries if e.body and e.mode == "match"]


__all__ = ["Part", "Referral", "Step", "about", "ask_for", "cancel"]
