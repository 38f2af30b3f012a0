"""What matters to a person, as their plan says it: found for the form *About me*, and said anew by its answers. docs/questionnaires.md"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import gate
from ..domain import strict
from ..domain.forms import about_me
from ..domain.main_plan import counts, main_of
from ..domain.mapping.names import MAIN_CATEGORY, SNOMED, own_identifier
from ..domain.problem import Problem
from ..domain.types import Ref
from ..gate import Context

ANSWERS = "QuestionnaireResponse"
NOT_HERE = "These answers go into the person's plan, and there is none here that you may change."
NOT_YET = "Their plan says nothing of this yet that you may see. The answers are kept: the person themselves can put them into the plan."


async def main_plan(ctx: Context, patient: str) -> gate.Entry | None:
    """The person's main CarePlan, as far as this asker may see it; None for an app that was not let in to plans. `patient`: their id."""
    if ctx.scopes is not None and not ctx.scopes.covers("s", "CarePlan"):
        return None
    asked = [("patient", patient), ("category", f"{SNOMED}|{MAIN_CATEGORY}"), ("status", "active")]
    found = {str(e.ref): e for e in (await gate.search(ctx, "CarePlan", asked)).entries if e.body is not None and counts(strict.decode(e.body))}
    return found.get(main_of(await gate.main_plan_of(ctx, f"Patient/{patient}"), found) or "")


async def said_now(ctx: Context, patient: str, plan: gate.Entry | None) -> gate.Entry | None:
    """What the plan says of it, as far as this asker may see it; of another plan of theirs only where they see no main one and there is but one."""
    page = await gate.search(ctx, ANSWERS, [("patient", patient), ("identifier", f"{about_me.SYSTEM}|"), ("_count", "50")])
    found = [e for e in page.entries if e.body is not None]
    own = own_identifier(strict.decode(plan.body)) if plan is not None and plan.body is not None else None
    if own is not None:
        found = [e for e in found if (own_identifier(strict.decode(e.body or b"{}")) or ("", ""))[1] == f"{own[1]}/#{about_me.KIND}"]
    if plan is None or plan.body is None or own is None:
        return found[0] if len(found) == 1 else None
    named = [r.get("reference") for r in strict.decode(plan.body).get("supportingInfo", ())]
    return min(found, key=lambda e: (str(e.ref) not in named, str(e.ref)), default=None)  # somebody added another beside it: it is no new one


async def entries(ctx: Context, response: Mapping[str, Any], before: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """The transaction that makes the plan say what was answered; none where it says so already. `before`: what these answers said when they were put
    there last. Problem business-rule: there is no plan of this person here that the asker may change, or it says nothing yet and the asker is not the person."""
    patient = _patient(response)
    plan = await main_plan(ctx, patient)
    now = await said_now(ctx, patient, plan)
    on = str(response.get("authored") or ctx.at.isoformat())[:10]
    if now is not None and now.body is not None:
        here = dict(strict.decode(now.body))
        was = before if before is not None else await _filled_in(ctx, response, now.ref)
        new = about_me.changed(here, was, about_me.said(dict(response)), on)
        put = {"method": "PUT", "url": str(now.ref), "ifMatch": f'W/"{now.version}"'}
        return [{"fullUrl": f"urn:about-me:{now.ref.id}", "resource": new, "request": put}] if new is not here else []
    if ctx.actor.kind != "patient":  # to them it may be hidden: a second one would stand beside it
        raise Problem("business-rule", NOT_YET, f"{ANSWERS}.subject")
    body = dict(strict.decode(plan.body)) if plan is not None and plan.body is not None else {}
    own = own_identifier(body)
    if plan is None or own is None or own[0] != "plan" or not (await gate.may(ctx, "correct", plan.ref)).permit:
        raise Problem("business-rule", NOT_HERE, f"{ANSWERS}.subject")
    url, made = about_me.begun(own[1], dict(response), on)
    if "item" not in made:
        return []
    put = {"method": "PUT", "url": str(plan.ref), "ifMatch": f'W/"{plan.version}"'}
    with_it = {**body, "supportingInfo": [*body.get("supportingInfo", []), {"reference": url}]}
    return [{"fullUrl": url, "resource": made, "request": {"method": "POST", "url": ANSWERS}}, {"fullUrl": f"urn:plan:{plan.ref.id}", "resource": with_it, "request": put}]


def _patient(response: Mapping[str, Any]) -> str:
    """The id of whom the answers are about. Problem business-rule."""
    subject = response.get("subject")
    type, _, id = str(subject.get("reference", "") if isinstance(subject, dict) else "").partition("/")
    if type != "Patient" or not id or "/" in id:
        raise Problem("business-rule", "Answers to this form are about one person: `subject` names them, such as Patient/1.", f"{ANSWERS}.subject")
    return id


async def _filled_in(ctx: Context, response: Mapping[str, Any], now: Ref) -> dict[str, str]:
    """What stood in the form when it was begun, as the asker may see that; nothing where it was begun with nothing."""
    name, _, version = about_me.filled_in_from(dict(response)).partition("/_history/")
    if name != str(now) or not version.isascii() or not version.isdigit() or len(version) > 9:
        return {}
    try:
        return about_me.said(dict(strict.decode((await gate.vread(ctx, now, int(version))).body)))
    except Problem:
        return {}


__all__ = ["entries", "main_plan", "said_now"]
