"""One screen for those in a hurry: what matters, what to do in a crisis, whom to ring, what changed since one last looked.

It is opened from the plan's page, or by a link that a system asked for (`/open/{token}`, docs/in-a-hurry.md): who opens it signs in as always.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ... import gate, plans
from ...domain.in_force import has_left
from ...gate import Context
from .alerts import TYPES, alerts
from .changes import MOST_CHANGES, changed_since, senders
from .frame import Pages, go, show
from .joined import joined
from .plan_items import Item, Line, list_of, thing
from .plan_view import PlanView, plan_view, preferred_name
from .team import id_of
from .words import _, day, moment, today

MATTERS = ("most_important", "how_i_communicate", "please_do_and_dont")


async def in_a_hurry(pages: Pages, request: Request, ctx: Context) -> Response:
    """As far as this reader may see it. Problem not-found, the same for hidden and absent."""
    id = id_of(request)
    since = await gate.last_looked(ctx, id)
    seen = await plans.opened(ctx, id, TYPES)
    more = await joined(ctx, id, own=False)
    shown = seen.shown(_)
    others = plans.others_beside(seen, today(ctx.at), _, day)
    brief = replace(others, problems=tuple(t for t in others.problems if not t.over), findings=(), goals=())
    view = plan_view(shown, today(ctx.at), own=False, others=brief, senders=await senders(ctx, brief.every()))
    now = tuple(c for c in view.crisis if c["in_force"])
    theirs = tuple(c for j in more.plans for c in j.crisis)
    return await show(
        pages, request, "in_a_hurry.html", ctx=ctx, plan=replace(view, crisis=(*now, *theirs)), joined=more, brief=True, others=len(view.crisis) - len(now), person=id, own=False, refs={}, name=preferred_name(thing(seen.plan.get("person"))) or _("The person"),
        born=day(thing(seen.plan.get("person")).get("birth_date")), matters=_matters(seen.plan, view), alerts=alerts(seen.record, today(ctx.at), own=False, others=more.records), ring=_ring(shown, today(ctx.at)),
        since=moment(since) if since else "", changed=await changed_since(ctx, more.believed(seen.record), since), more=MOST_CHANGES,
    )  # fmt: skip


async def opened(pages: Pages, request: Request, ctx: Context) -> Response:
    """A link that a system asked for, to this screen. Problem not-found for one that has ended or was never made."""
    return go(f"/team/people/{gate.linked(ctx.house, str(request.path_params['token']))}/in-a-hurry")


def _matters(plan: dict[str, Any], view: PlanView) -> list[Line]:
    """The three that somebody must know at once."""
    about = thing(plan.get("about_me"))
    wanted = {str(about[k]) for k in MATTERS if about.get(k)}
    return [line for line in view.about if line.text in wanted]


def _ring(plan: dict[str, Any], today: date) -> list[Item]:
    """Who has a number, or looks after the whole of it: the key worker first, then next of kin and carers, then the others. Not who has left the team."""
    people = [(m, _("Key worker") if m.get("key_worker") else "", str(m.get("role") or thing(m.get("organisation")).get("name") or "")) for m in list_of(plan, "team") if not has_left(m, today)]
    people += [(c, _("Next of kin") if c.get("next_of_kin") else _("Carer") if c.get("carer") else "", str(c.get("relationship") or "")) for c in list_of(plan, "contacts") if not has_left(c, today)]
    found = [
        Item(str(p.get("phone") or ""), str(p.get("name") or _("Somebody without a name")), state, "blue", tuple(Line("", t) for t in (what, str(p.get("email") or "") if not p.get("phone") else "") if t))
        for p, state, what in people if p.get("phone") or state
    ]  # fmt: skip
    return sorted(found, key=lambda i: not i.state)


__all__ = ["in_a_hurry", "opened"]
