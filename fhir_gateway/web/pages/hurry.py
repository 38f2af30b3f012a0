"""One screen for those in a hurry: what matters, what to do in a crisis, whom to ring, what changed since one last looked.

It is opened from the plan's page, or by a link that a system asked for (`/open/{token}`, docs/in-a-hurry.md): who opens it signs in as always.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ... import gate, plans
from ...domain.types import Ref
from ...gate import Context
from .alerts import TYPES, alerts
from .changes import OF_A_PLAN
from .frame import Pages, go, show
from .names import names
from .plan_view import Item, Line, PlanView, list_of, plan_view, preferred_name, thing
from .team import id_of
from .words import _, day, moment, today

MATTERS = ("most_important", "how_i_communicate", "please_do_and_dont")
MOST_CHANGES = 8
KINDS = {
    "CarePlan": "The plan", "Goal": "A goal", "Condition": "A need", "Task": "An action", "ServiceRequest": "A referral", "CareTeam": "The team",
    "RelatedPerson": "Family or a friend", "QuestionnaireResponse": "What matters to them", "DocumentReference": "A paper", "AllergyIntolerance": "An allergy",
    "Flag": "A warning", "MedicationStatement": "A medicine", "MedicationRequest": "A medicine",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Changed:
    """One thing that changed: what it is, what it says, when and by whom."""

    kind: str
    text: str
    when: str


async def in_a_hurry(pages: Pages, request: Request, ctx: Context) -> Response:
    """As far as this reader may see it. Problem not-found, the same for hidden and absent."""
    id = id_of(request)
    since = await gate.last_looked(ctx, id)
    seen = await plans.opened(ctx, id, TYPES)
    view = plan_view(seen.plan, today(ctx.at), own=False)
    return await show(
        pages, request, "in_a_hurry.html", ctx=ctx, plan=view, person=id, own=False, refs={}, name=preferred_name(thing(seen.plan.get("person"))) or _("The person"),
        born=day(thing(seen.plan.get("person")).get("birth_date")), matters=_matters(seen.plan, view), alerts=alerts(seen.record, today(ctx.at), own=False), ring=_ring(seen.plan),
        since=moment(since) if since else "", changed=await _changed(ctx, seen.record, since), more=MOST_CHANGES,
    )  # fmt: skip


async def opened(pages: Pages, request: Request, ctx: Context) -> Response:
    """A link that a system asked for, to this screen. Problem not-found for one that has ended or was never made."""
    return go(f"/team/people/{gate.linked(ctx.house, str(request.path_params['token']))}/in-a-hurry")


def _matters(plan: dict[str, Any], view: PlanView) -> list[Line]:
    """The three that somebody must know at once."""
    about = thing(plan.get("about_me"))
    wanted = {str(about[k]) for k in MATTERS if about.get(k)}
    return [line for line in view.about if line.text in wanted]


def _ring(plan: dict[str, Any]) -> list[Item]:
    """Who has a number: the key worker first, then next of kin and carers, then the others."""
    people = [(m, _("Key worker") if m.get("key_worker") else "", str(m.get("role") or thing(m.get("organisation")).get("name") or "")) for m in list_of(plan, "team")]
    people += [(c, _("Next of kin") if c.get("next_of_kin") else _("Carer") if c.get("carer") else "", str(c.get("relationship") or "")) for c in list_of(plan, "contacts")]
    found = [Item(str(p.get("phone")), str(p.get("name") or _("Somebody without a name")), state, "blue", (Line("", what),) if what else ()) for p, state, what in people if p.get("phone")]
    return sorted(found, key=lambda i: not i.state)


async def _changed(ctx: Context, record: Sequence[Mapping[str, Any]], since: datetime | None) -> list[Changed]:
    """What of the plan is newer than this reader's last look, newest first; nothing where they never looked."""
    if since is None:
        return []
    newer = [r for r in record if r.get("resourceType") in OF_A_PLAN | set(KINDS) and (at := _at(r)) is not None and at > since]
    newest = sorted(newer, key=lambda r: str(r["meta"]["lastUpdated"]), reverse=True)[: MOST_CHANGES + 1]
    hands = await gate.last_written(ctx, [Ref(str(r["resourceType"]), str(r["id"])) for r in newest])
    known = await names(ctx, {who for h in hands.values() for who in (h.user, h.organisation)})
    out = []
    for r in newest:
        hand = hands.get(Ref(str(r["resourceType"]), str(r["id"])))
        by = known.get(hand.user) or known.get(hand.organisation or "") if hand else ""
        out.append(Changed(_(KINDS.get(str(r["resourceType"]), "Something else")), gate.title(r), ", ".join(t for t in (moment(r["meta"]["lastUpdated"]), by) if t)))
    return out


def _at(resource: Mapping[str, Any]) -> datetime | None:
    try:
        return datetime.fromisoformat(str((resource.get("meta") or {}).get("lastUpdated")))
    except ValueError:
        return None


__all__ = ["in_a_hurry", "opened"]
