"""What answers become, written by whoever asks: one transaction, with a Provenance that names the answers. `$extract`

Twice the same answers write nothing new. Where the answers were changed since, what was made of them is changed by that alone, and what
people did to it meanwhile stays. https://hl7.org/fhir/uv/sdc/extraction.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from .. import gate
from ..domain import forms, labels, strict
from ..domain.forms import about_me, becoming
from ..domain.problem import Issue, Problem
from ..domain.reconcile import edited
from ..domain.types import Keep, Ref
from ..domain.validate import check
from ..gate import Context
from ..gate.committing import again
from ..gate.transacting import prepare, read_steps
from . import about_me as in_plan
from . import forms as keeping
from .forms import ANSWERS, Form

KEPT = "extracted"  # by response: which version was extracted, and what each part of it became
FINISHED = ("completed", "amended")
NOT_IN_PLAN = "It is kept in the record, and not in the plan: there is no main plan here that you may change."


class Before(msgspec.Struct):
    """What an earlier extraction of a response wrote."""

    version: int = 0
    made: dict[str, str] = {}  # key -> Type/id


@dataclass(frozen=True, slots=True)
class Done:
    """What an extraction wrote: each reference and whether it was made, changed or left as it was; and what may surprise."""

    refs: tuple[tuple[str, str], ...] = ()
    issues: tuple[Issue, ...] = field(default_factory=tuple)


async def shown(ctx: Context, response: Mapping[str, Any], form: Form | None = None) -> forms.Extracted:
    """What these answers would become; nothing is written. Problem business-rule without a form, invalid for answers that do not fit it."""
    form = keeping.checked(ctx, form) if form is not None else await _form(ctx, response)
    found = _extracted(ctx, form, response)
    private = response.get("meta", {}).get("security", ())
    if about_me.asks(form):
        steps = [] if about_me.is_of_a_plan(response) else await in_plan.entries(ctx, response)
        found = replace(found, entries=tuple(steps), keys=(about_me.KIND, "plan")[: len(steps)])
    return replace(found, entries=tuple({**e, "resource": _as_private(e["resource"], private)} for e in found.entries))


async def kept_answers(ctx: Context, id: str) -> dict[str, Any]:
    """The answers as this asker may see them. Problem not-found; forbidden where they are more private than this asker is told."""
    return (await _answers(ctx, id))[0]


async def _answers(ctx: Context, id: str) -> tuple[dict[str, Any], int]:
    """The same and which version they are."""
    stored = await gate.read(ctx, Ref(ANSWERS, id))
    if not await gate.told_all_labels(ctx, stored.ref, stored.version):
        raise Problem("forbidden", "These answers are marked as private. Whoever they are of can make something of them.", f"{ANSWERS}.meta.security")
    return dict(strict.decode(stored.body)), stored.version


async def extract(ctx: Context, id: str) -> Done:
    """Write what the answers become. Problem: not-found; business-rule for answers that are not finished and for what a form may
    not make; invalid; and all that the gate says of each write."""

    async def once() -> Done:
        response, version = await _answers(ctx, id)
        if response.get("status") not in FINISHED:
            raise Problem("business-rule", "Answers become something once they are finished: `status` completed or amended.", f"{ANSWERS}.status")
        kept = await ctx.house.store.kept(KEPT, f"{ANSWERS}/{id}", ctx.at)
        before = msgspec.json.decode(kept, type=Before) if kept is not None else Before()
        return await _write(ctx, response, version, before, kept)

    return await again(once)


async def _form(ctx: Context, response: Mapping[str, Any]) -> Form:
    canonical = response.get("questionnaire")
    if not isinstance(canonical, str) or not canonical:
        raise Problem("business-rule", "These answers do not say which Questionnaire they answer.", f"{ANSWERS}.questionnaire")
    return await keeping.by_address(ctx, canonical)


def _extracted(ctx: Context, form: Form, response: Mapping[str, Any]) -> forms.Extracted:
    r4, known = ctx.house.r4, ctx.house.definitions
    wrong = [i for i in check(dict(response), r4, questionnaire=form, definitions=known) if i.severity in ("error", "fatal")]
    if wrong:
        raise Problem("invalid", f"{len(wrong)} thing(s) in these answers must be put right.", issues=wrong)

    def type_of(canonical: str) -> str:
        profile = known.profile(canonical) if known is not None else None
        return profile.type if profile is not None else ""

    return forms.extract(form, dict(response), r4, ctx.at, type_of)


# -- writing ----------------------------------------------------------------------------------------------------------


async def _write(ctx: Context, response: dict[str, Any], version: int, before: Before, kept: bytes | None) -> Done:
    form = await _form(ctx, response)
    found = _extracted(ctx, form, response)
    if about_me.asks(form):
        return await _about_me(ctx, response, version, before, kept)
    becoming.allowed(found.entries, response, ctx.actor.ids | {ctx.actor.user})
    steps: list[dict[str, Any]] = []
    fresh: list[str] = []  # keys, in the order of the first steps
    same: list[str] = []
    private = response.get("meta", {}).get("security", ())
    unmoved = before.version == version
    was = {} if unmoved else await _as_it_was(ctx, form, str(response["id"]), before)
    earlier, joined = await _earlier(ctx, form, response), False
    for key, entry in zip(found.keys, found.entries, strict=True):
        known = before.made.get(key)
        said = next((s for s in earlier if becoming.one_and_the_same(entry["resource"], s[1])), None) if known is None else None
        if said is not None:
            before.made[key], joined = str(said[0].ref), True
            step = _more(entry, *said, private)
        else:
            step = None if unmoved and known is not None else await _step(ctx, entry, known, was.get(key), private)
        if step is None:
            same.append(before.made[key])
            continue
        steps.append(step)
        fresh.append(key)
    issues = list(found.issues)
    if not steps and (joined or not unmoved):
        await _commit(ctx, [], Before(version, before.made), str(response["id"]), kept)
    if not steps:
        return Done(await _left(ctx, same), tuple(issues))
    new = [(s["fullUrl"], s["resource"]) for s in steps if s["request"]["method"] == "POST"]
    steps += await _into_plan(ctx, response, new, issues)
    steps.append(_provenance(ctx, response, version, steps[: len(fresh)]))
    answers = await _commit(ctx, steps, Before(version, before.made), str(response["id"]), kept, fresh)
    did = [(str(answers[n].ref), answers[n].did) for n in range(len(fresh))]
    return Done((*did, *await _left(ctx, same)), tuple(issues))


async def _about_me(ctx: Context, response: dict[str, Any], version: int, before: Before, kept: bytes | None) -> Done:
    """Answers to the form *About me*: the plan says so from now on. What the plan itself says of it becomes nothing."""
    id = str(response["id"])
    if about_me.is_of_a_plan(response) or before.version == version:
        return Done(await _left(ctx, list(before.made.values())))
    was = about_me.said(dict(strict.decode((await gate.vread(ctx, Ref(ANSWERS, id), before.version)).body))) if before.version else None
    steps = await in_plan.entries(ctx, response, was)
    if not steps:
        await _commit(ctx, [], Before(version, before.made), id, kept)
        return Done(await _left(ctx, list(before.made.values())))
    steps[0]["resource"] = _as_private(steps[0]["resource"], response.get("meta", {}).get("security", ()))
    steps.append(_provenance(ctx, response, version, steps[:1]))
    answers = await _commit(ctx, steps, Before(version, before.made), id, kept, [about_me.KIND])
    return Done(((str(answers[0].ref), answers[0].did),))


async def _left(ctx: Context, refs: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """What was left as it was, as far as this asker may see it: what is hidden from them is not named."""
    out: list[tuple[str, str]] = []
    for ref in refs:
        type, _, id = ref.partition("/")
        try:
            await gate.may(ctx, "access", Ref(type, id))
        except Problem:
            continue
        out.append((ref, "unchanged"))
    return tuple(out)


async def _commit(ctx: Context, steps: list[dict[str, Any]], now: Before, id: str, kept: bytes | None, keys: Sequence[str] = ()) -> dict[int, gate.Written]:
    """All of it in one commit, with what will be known of it next time."""
    work, answers = await prepare(ctx, read_steps(ctx, {"resourceType": "Bundle", "type": "transaction", "entry": steps}))
    made = {**now.made, **{key: str(answers[n].ref) for n, key in enumerate(keys)}}
    value = msgspec.json.encode(Before(now.version, made))
    await work.commit(Keep(KEPT, f"{ANSWERS}/{id}", value, if_absent=kept is None, if_value=kept))
    return answers


async def _as_it_was(ctx: Context, form: Form, id: str, before: Before) -> dict[str, dict[str, Any]]:
    """What the version that was extracted before became, by key."""
    if not before.made:
        return {}
    body = strict.decode((await gate.vread(ctx, Ref(ANSWERS, id), before.version)).body)
    then = forms.extract(form, dict(body), ctx.house.r4, ctx.at)
    return {k: e["resource"] for k, e in zip(then.keys, then.entries, strict=True)}


async def _step(
    ctx: Context, entry: Mapping[str, Any], ref: str | None, was: dict[str, Any] | None, private: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any] | None:
    """One entry of the transaction; None where there is nothing to change, or nothing to see. `private`: the labels of the answers."""
    resource = dict(entry["resource"])
    if ref is None:
        return {"fullUrl": entry["fullUrl"], "resource": _as_private(resource, private), "request": dict(entry["request"])}
    type, _, id = ref.partition("/")
    try:
        stored = await gate.read(ctx, Ref(type, id))
    except Problem as p:
        if p.kind in ("not-found", "gone"):  # hidden from this asker, or taken away by somebody who meant it
            return None
        raise
    here = dict(strict.decode(stored.body))
    for held in (resource, was or {}):
        held["id"] = here["id"]
        held.pop("meta", None)
    new = edited({**(was or resource)}, resource, here)
    if new == here:
        return None
    new = _as_private(new, private)  # what they say now came with the labels that they have now
    return {"fullUrl": entry["fullUrl"], "resource": new, "request": {"method": "PUT", "url": ref, "ifMatch": f'W/"{stored.version}"'}}


async def _earlier(ctx: Context, form: Form, response: Mapping[str, Any]) -> list[tuple[gate.Answer, dict[str, Any]]]:
    """What earlier answers of this person to this form became, as far as this asker sees it, newest first; nothing where each answer is a new one."""
    if form.get("url") not in becoming.SAID_AGAIN:
        return []
    patient = str((response.get("subject") or {}).get("reference", "")).removeprefix("Patient/")
    may = ctx.scopes is None or ctx.scopes.covers("s", ANSWERS)
    asked = [("patient", patient), ("questionnaire", str(form["url"])), ("_count", "50"), ("_sort", "-authored")]
    out: dict[str, tuple[gate.Answer, dict[str, Any]]] = {}
    for e in (await gate.search(ctx, ANSWERS, asked)).entries if may and patient else ():
        kept = await ctx.house.store.kept(KEPT, str(e.ref), ctx.at) if e.ref.id != response.get("id") else None
        for ref in msgspec.json.decode(kept, type=Before).made.values() if kept is not None else ():
            type, _, id = ref.partition("/")
            try:
                here = await gate.read(ctx, Ref(type, id))
            except Problem as p:
                if p.kind not in ("not-found", "gone", "insufficient-scope"):
                    raise
                continue
            out.setdefault(ref, (here, dict(strict.decode(here.body))))
    return list(out.values())


def _more(entry: Mapping[str, Any], stored: gate.Answer, here: dict[str, Any], private: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """One entry of the transaction, over what an earlier answer became; None where that says it all."""
    new = _as_private(becoming.laid_over(entry["resource"], here), private)
    if new == here:
        return None
    return {"fullUrl": entry["fullUrl"], "resource": new, "request": {"method": "PUT", "url": str(stored.ref), "ifMatch": f'W/"{stored.version}"'}}


def _as_private(resource: dict[str, Any], private: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is made of answers is no less private than they are."""
    if not private:
        return resource
    meta = resource.get("meta", {})
    return {**resource, "meta": {**meta, "security": labels.joined(meta.get("security", ()), [dict(c) for c in private])}}


async def _into_plan(ctx: Context, response: Mapping[str, Any], new: Sequence[tuple[str, dict[str, Any]]], issues: list[Issue]) -> list[dict[str, Any]]:
    """Goals, needs, actions and contingency plans find their place in the person's main plan, where this asker may change that."""
    if becoming.placed({}, new) is None:
        return []
    patient = str(response["subject"]["reference"]).removeprefix("Patient/")
    may_read = ctx.scopes is None or (ctx.scopes.covers("s", "CarePlan") and ctx.scopes.covers("u", "CarePlan"))
    hit = await in_plan.main_plan(ctx, patient) if may_read else None
    if hit is None or not (await gate.may(ctx, "correct", hit.ref)).permit:
        issues.append(Issue("information", "informational", "", NOT_IN_PLAN))
        return []
    main = {"reference": str(hit.ref)}
    for _, resource in new:
        if becoming.is_contingency(resource):
            resource.setdefault("partOf", [main])
    plan = becoming.placed(strict.decode(hit.body or b"{}"), new)
    return [{"fullUrl": f"urn:plan:{hit.ref.id}", "resource": plan, "request": {"method": "PUT", "url": str(hit.ref), "ifMatch": f'W/"{hit.version}"'}}]


def _provenance(ctx: Context, response: Mapping[str, Any], version: int, steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    targets = [s["request"]["url"] if s["request"]["method"] == "PUT" else s["fullUrl"] for s in steps]
    at = ctx.at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ctx.at.microsecond // 1000:03d}Z"
    made = becoming.provenance(f"{ANSWERS}/{response['id']}", version, targets, ctx.actor.user, response.get("source"), at)
    return {"resource": made, "request": {"method": "POST", "url": "Provenance"}}


async def waits(ctx: Context, form: Form, response: Mapping[str, Any]) -> bool:
    """Are these finished answers that the form makes something of and nothing was made of: a stop came between, or it was refused."""
    if response.get("status") not in FINISHED or about_me.is_of_a_plan(response) or not (forms.makes_something(form) or about_me.asks(form)):
        return False
    return await ctx.house.store.kept(KEPT, f"{ANSWERS}/{response['id']}", ctx.at) is None


async def became(ctx: Context, id: str) -> list[bytes]:
    """What was made of these answers, as far as this asker may see it now."""
    kept = await ctx.house.store.kept(KEPT, f"{ANSWERS}/{id}", ctx.at)
    out: list[bytes] = []
    for ref in msgspec.json.decode(kept, type=Before).made.values() if kept is not None else ():
        type, _, own = ref.partition("/")
        try:
            out.append((await gate.read(ctx, Ref(type, own))).body)
        except Problem as p:
            if p.kind not in ("not-found", "gone", "insufficient-scope"):
                raise
    return out
