"""Forms through the gate: which there are, and one with what is known already (`$populate`).

Forms are data. Those that come with the gateway or that its operator keeps in `GATEWAY_DEFINITIONS` go before those stored, so that none
stored can take the place of one of them. https://hl7.org/fhir/uv/sdc/populate.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .. import gate
from ..domain import forms, strict
from ..domain.forms import about_me as own_words
from ..domain.problem import Issue, Problem, not_found
from ..domain.types import CONFIDENTIALITY, Ref
from ..domain.vocabulary import CONFIDENTIALITY_SYSTEM, HANDLING_SYSTEM, LOCATION_PROTECTED
from ..gate import Context
from . import about_me

TYPE = "Questionnaire"
ANSWERS = "QuestionnaireResponse"
MOST = 200
CONTEXT = forms.items.SDC + "launchContext"
LEFT_OUT = Issue("information", "suppressed", "", "Something that is known is not filled in: it is marked as private.")
Form = dict[str, Any]


# -- which forms there are --------------------------------------------------------------------------------------------


def kept(ctx: Context) -> list[Form]:
    """The forms that came with the gateway or its settings, each with an id."""
    known = ctx.house.definitions
    found = list(known.every(TYPE)) if known is not None else []
    return [f for f in found if isinstance(f.get("id"), str) and isinstance(f.get("url"), str)]


async def offered(ctx: Context) -> list[Form]:
    """Every form that is in use and about a person, by title; of two with one address the first."""
    page = await gate.search(ctx, TYPE, [("status", "active"), ("_count", str(MOST))])
    stored = [strict.decode(e.body) for e in page.entries if e.body is not None]
    out: dict[str, Form] = {}
    for form in (*kept(ctx), *stored):
        about = form.get("subjectType", ["Patient"])
        if form.get("status") == "active" and "Patient" in about and form.get("url"):
            out.setdefault(str(form["url"]), form)
    return sorted(out.values(), key=lambda f: str(f.get("title") or f.get("name") or f["url"]).lower())


async def by_id(ctx: Context, id: str) -> Form:
    """The form with this id. Problem not-found."""
    here = next((f for f in kept(ctx) if f["id"] == id), None)
    return here if here is not None else dict(strict.decode((await gate.read(ctx, Ref(TYPE, id))).body))


async def by_address(ctx: Context, canonical: str) -> Form:
    """The form of this canonical address, with its version where one is named.

    Problem business-rule: it is not here, or several are.
    """
    known = ctx.house.definitions
    here = known.questionnaire(canonical) if known is not None else None
    if here is not None:
        return here
    url, _, version = canonical.partition("|")
    asked = [("url", _escaped(url)), *([("version", _escaped(version))] if version else []), ("_count", "2")]
    found = [strict.decode(e.body) for e in (await gate.search(ctx, TYPE, asked)).entries if e.body is not None]
    if len(found) != 1:
        many = "Several Questionnaires have" if found else "No Questionnaire here has"
        raise Problem("business-rule", f"{many} the address `{canonical[:200]}`.", f"{ANSWERS}.questionnaire")
    return dict(found[0])


def _escaped(value: str) -> str:
    """A search value that is only itself, https://hl7.org/fhir/R4/search.html#escaping"""
    return "".join("\\" + c if c in "\\,|$" else c for c in value)


# -- what is known already --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """What `$populate` was asked: the form (one of the three), about whom, with what at hand by name."""

    id: str = ""
    canonical: str = ""
    form: Form | None = None
    subject: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)


async def populate(ctx: Context, asked: Asked) -> forms.Filled:
    """The form with what this asker may see of the person; nothing is written.

    Problem: not-found for a person or form that is hidden or absent, bad-request, forbidden for a form sent along by somebody who may not
    keep forms here: a form is a program.
    """
    form = await _form(ctx, asked)
    subject = asked.subject or (ctx.actor.patient or "" if ctx.actor.kind in ("patient", "proxy") else "")
    type, _, id = subject.partition("/")
    if type != "Patient" or not id or "/" in id:
        raise Problem("bad-request", "`subject` names the person whom the answers are about, such as Patient/1.", "subject")
    person = await gate.read(ctx, Ref(type, id))
    hidden: list[Issue] = []
    names = await _copied(ctx, subject, {"patient": person}, hidden)
    names |= await _at_hand(ctx, form, asked, subject, hidden)
    observed: dict[str, dict[str, Any]] = {}
    for sought in forms.sought(form, ctx.at)[:MOST]:
        found = await _latest(ctx, id, sought)
        if found is not None:
            observed |= await _copied(ctx, subject, {sought.link: found}, hidden)
    answers = forms.filled(form, subject, names, observed, ctx.at)
    if own_words.asks(form):  # as plans have it, and the profile `about-me`: without a version
        answers = replace(answers, response={**answers.response, "questionnaire": own_words.ABOUT_ME})
    labels = _labels([*observed.values(), *(r for r in names.values() if answers.spoken and isinstance(r, dict))])
    meta = {"meta": {"security": labels}} if labels else {}
    return replace(answers, response={**answers.response, **meta}, issues=(*answers.issues, *hidden))


async def _copied(ctx: Context, subject: str, found: Mapping[str, gate.Answer | gate.Entry], hidden: list[Issue]) -> dict[str, Any]:
    """What was found, by name, as it may be copied into answers about this person; what may not be is said once."""
    out: dict[str, Any] = {}
    for name, one in found.items():
        copy = await gate.copyable(ctx, one.ref, one.version, subject)
        if copy.whole:
            out[name] = copy.resource
        elif LEFT_OUT not in hidden:
            hidden.append(LEFT_OUT)
    return out


def _labels(sources: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What was filled in is no less private than what it was taken from: the labels of all of that but the ordinary one; of how
    confidential it is the highest."""
    every = [c for s in sources for c in _given(s) if (c.get("system"), c.get("code")) != (HANDLING_SYSTEM, LOCATION_PROTECTED)]
    other = [dict(c) for n, c in enumerate(every) if c.get("system") != CONFIDENTIALITY_SYSTEM and c not in every[:n]]
    levels = [c for c in every if c.get("system") == CONFIDENTIALITY_SYSTEM and CONFIDENTIALITY.get(str(c.get("code")), 0) > CONFIDENTIALITY["N"]]
    return other + [dict(c) for c in sorted(levels, key=lambda c: CONFIDENTIALITY[c["code"]])[-1:]]


def _given(source: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Its labels, however it was sent."""
    meta = source.get("meta")
    given = meta.get("security") if isinstance(meta, Mapping) else None
    return [c for c in given if isinstance(c, Mapping)] if isinstance(given, list) else []


async def _form(ctx: Context, asked: Asked) -> Form:
    if asked.form is not None:
        return checked(ctx, asked.form)
    if asked.id:
        return await by_id(ctx, asked.id)
    if asked.canonical:
        return await by_address(ctx, asked.canonical)
    raise Problem("bad-request", "`questionnaire` names the form by its address, or is the form.", "questionnaire")


def checked(ctx: Context, form: Form) -> Form:
    """A form that was sent along. Problem forbidden, bad-request."""
    if not (ctx.actor.operator or ctx.actor.contributor):
        raise Problem("forbidden", "A form is sent along only by those who may keep forms here. Name one by its address.", "questionnaire")
    if form.get("resourceType") != TYPE:
        raise Problem("bad-request", "`questionnaire` holds a Questionnaire.", "questionnaire")
    return form


async def _at_hand(ctx: Context, form: Form, asked: Asked, subject: str, hidden: list[Issue]) -> dict[str, Any]:
    """What the form says it needs besides the person, as far as it was given and this asker may see it and copy it."""
    wanted = {str((forms.items.part(x, "name") or {}).get("code")) for x in forms.items.extensions(form, CONTEXT)}
    out: dict[str, Any] = {}
    for name, content in asked.context.items():
        if name not in wanted or name == "patient":
            continue
        if not isinstance(content, dict) or "reference" not in content:
            out[name] = content  # as it was given
        else:
            out |= await _copied(ctx, subject, {name: await _looked_up(ctx, content["reference"])}, hidden)
    if "user" in wanted and "user" not in asked.context:
        try:
            out |= await _copied(ctx, subject, {"user": await _looked_up(ctx, ctx.actor.user)}, hidden)
        except Problem:  # nobody that a record tells of
            pass
    if "about" in wanted and "about" not in asked.context:
        patient = subject.removeprefix("Patient/")
        now = await about_me.said_now(ctx, patient, await about_me.main_plan(ctx, patient))
        found = await _copied(ctx, subject, {"about": now}, hidden) if now is not None else {}
        out["about"] = found.get("about", {})
    return out


async def _looked_up(ctx: Context, reference: Any) -> gate.Answer:
    """What a reference names, as this asker may see it. Problem not-found."""
    type, _, id = str(reference).partition("/")
    if not ctx.house.r4.has_type(type) or not id or "/" in id:
        raise not_found()
    return await gate.read(ctx, Ref(type, id))


async def _latest(ctx: Context, patient: str, sought: forms.Sought) -> gate.Entry | None:
    """The person's newest Observation of these codes that this asker may see."""
    codes = ",".join(f"{_escaped(system)}|{_escaped(code)}" if system else _escaped(code) for system, code in sought.codes)
    since = sought.since.strftime("%Y-%m-%dT%H:%M:%SZ")
    params = [("patient", patient), ("code", codes), ("date", f"ge{since}"), ("status", "final,amended,corrected"), ("_sort", "-date"), ("_count", "1")]
    page = await gate.search(ctx, "Observation", params)
    return next((e for e in page.entries if e.body is not None), None)


__all__ = ["ANSWERS", "TYPE", "Asked", "Form", "Issue", "by_address", "by_id", "checked", "kept", "offered", "populate"]
