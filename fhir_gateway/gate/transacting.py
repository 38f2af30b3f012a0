"""batch and transaction. https://hl7.org/fhir/R4/http.html#transaction

A transaction is one commit: everything or nothing, in R4's order. A batch is its entries one by one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

import msgspec

from ..domain import bundle as bundles
from ..domain import edits, strict
from ..domain import steps as reading
from ..domain.bundle import instant
from ..domain.identity import agrees, nhs_number
from ..domain.preconditions import etag, tag
from ..domain.problem import Problem, not_found, outcome
from ..domain.steps import WRITES, Step
from ..domain.types import Ref
from ..store.base import Unavailable
from . import consenting
from .committing import Work, again, unanswered
from .conditions import matching
from .context import Context, Written, need_scope, note
from .fetching import fetch
from .identifying import known_person
from .judging import judge, with_lacks
from .preparing import known, matched, put_edited, put_new, put_over, take_away, with_id, without_id
from .refusing import turned_away
from .storing import given_back
from .writing import Once, create, may_patch, patch, patch_where, remove, remove_where, the_match, update, update_where


async def transaction(ctx: Context, raw: bytes, *, prefer: str = "") -> dict[str, Any]:
    """A Bundle of type transaction or batch in, the response Bundle out, entries in the order they came."""
    bundle = strict.read(raw)
    if bundle.get("type") == "batch":
        return await batch(ctx, bundle, prefer=prefer)
    steps = read_steps(ctx, bundle)

    looked = await readable(ctx, steps)
    answers = await written(ctx, steps)
    return await respond(ctx, steps, answered(ctx, steps, answers, prefer), looked)


async def written(ctx: Context, steps: Sequence[Step]) -> dict[int, Written]:
    """What these steps wrote, all of them in one commit; prepared again where somebody else wrote meanwhile."""

    async def once() -> dict[int, Written]:
        work, answers = await prepare(ctx, steps)
        await work.commit()
        return answers

    return await again(once)


def read_steps(ctx: Context, bundle: Mapping[str, Any]) -> list[Step]:
    """The entries, checked for shape. Problem: bad-request, too-large."""
    return reading.read(reading.entries(bundle, ctx.limits.entries), ctx.house.base_url, ctx.house.r4)


async def readable(ctx: Context, steps: Sequence[Step]) -> dict[int, dict[str, Any]]:
    """The reads of a transaction, tried before anything is written: one that fails fails all of it."""
    _scopes(ctx, steps)
    return {step.at: await _at(step, _look(ctx, step)) for step in steps if step.reads}


# -- a transaction ----------------------------------------------------------------------------------------------------


@dataclass
class Plan:
    """A transaction being prepared: what each name now means, and which resource each write is about."""

    work: Work
    ids: dict[str, str]  # fullUrl or conditional reference -> Type/id
    fresh: dict[int, Ref] = field(default_factory=dict)  # what an entry creates
    found: dict[int, Ref] = field(default_factory=dict)  # what the condition of an entry matched
    planned: dict[Ref, dict[str, Any]] = field(default_factory=dict)  # what is to be created, as it was sent
    answers: dict[int, Written] = field(default_factory=dict)
    touched: dict[Ref, Step] = field(default_factory=dict)

    def writes(self, ref: Ref, step: Step) -> Ref:
        """Nothing is written twice, however it is named. Problem bad-request."""
        if ref in self.touched:
            raise Problem("bad-request", f"`{ref}` is written by two entries.", step.where)
        self.touched[ref] = step
        self.work.where[ref] = step.where if step.resource is None else f"{step.where}.resource"
        return ref


async def prepare(ctx: Context, steps: Sequence[Step], known: Mapping[str, Ref] | None = None) -> tuple[Work, dict[int, Written]]:
    """Everything a transaction writes, in R4's order (DELETE, POST, PUT and PATCH), not yet committed.

    `known` maps fullUrls to people found by other means (a push that names them by NHS number).
    """
    _scopes(ctx, steps)
    plan = Plan(Work(ctx), {url: str(ref) for url, ref in (known or {}).items()})
    writes = [s for s in steps if not s.reads]
    for step in (s for s in writes if s.method == "DELETE"):
        plan.answers[step.at] = await _at(step, _delete(plan, step))
    rest = [s for s in writes if s.method != "DELETE" and not (s.method == "POST" and s.full_url and s.full_url in plan.ids)]
    for step in reading.ordered(rest):
        await _at(step, _name(plan, step))
    await _name_conditions(plan, rest)
    for step in sorted(reading.ordered(rest), key=lambda s: _turn(plan, s)):
        if step.at not in plan.answers:
            plan.answers[step.at] = await _at(step, _write(plan, step))
    return plan.work, plan.answers


def _turn(plan: Plan, step: Step) -> int:
    """Whom it is about first, then what is attached to something, then consents, those that end before new ones: judged by what the Bundle makes."""
    if step.type == "Consent":
        return 3 if step.method != "POST" else 4
    return 0 if step.at in plan.fresh and step.type == "Patient" else 2 if step.type == "Binary" else 1


def _scopes(ctx: Context, steps: Sequence[Step]) -> None:
    """Scope before any look-up."""
    for step in steps:
        if not step.reads and step.method == "PATCH":
            may_patch(ctx, step.type)
        elif not step.reads:
            need_scope(ctx, WRITES[step.method], step.type)
        if step.condition is not None and not step.reads:
            need_scope(ctx, "s", step.type)


async def _at(step: Step, doing: Awaitable[Any]) -> Any:
    """A Problem of one entry says which."""
    try:
        return await doing
    except Problem as p:
        raise placed(step, p) from None


def placed(step: Step, p: Problem) -> Problem:
    """The same Problem, every place in it below the entry."""
    issues = [replace(i, where=_below(step, i.where, p.status)) for i in p.issues]
    return Problem(p.kind, p.text, step.where, issues=issues, headers=p.headers, noted=p.noted)


def _below(step: Step, where: str, status: int) -> str:
    if where.startswith("Bundle."):
        return where
    if where == "If-Match":
        return f"{step.where}.request.ifMatch"
    return f"{step.where}.resource.{where}" if where and step.resource is not None and status in (400, 422) else step.where


async def _delete(plan: Plan, step: Step) -> Written:
    work = plan.work
    ref = Ref(step.type, step.id) if step.id else await the_match(work, "D", "delete", step.type, step.condition or "")
    return await take_away(work, plan.writes(ref, step), if_match=step.if_match)


async def _name(plan: Plan, step: Step) -> None:
    """Which resource an entry is about, before references are rewritten; a conditional create may be there already."""
    ctx, gone = plan.work.ctx, plan.work.gone
    condition = step.if_none_exist if step.method == "POST" else step.condition
    match = None
    if condition is not None:
        await plan.work.seek(step.type, condition)
        match = await matching(ctx, step.type, condition, own=step.method == "POST", gone=gone, beside=plan.planned)
    person = await known_person(ctx, step.type, step.resource or {}) if step.method == "POST" and match is None else None
    twin = _twin(plan, step.resource or {}) if step.type == "Patient" and step.method == "POST" and match is None and person is None else None
    if step.id is not None:
        ref = plan.writes(Ref(step.type, step.id), step)
    elif person is not None:
        ref, plan.answers[step.at] = person.ref, await known(plan.work, person)
    elif twin is not None:
        ref = plan.found[step.at] = twin
    elif match is not None and step.method == "POST":
        ref = match.ref
        if match.stored is not None:
            plan.answers[step.at] = await matched(plan.work, match)
        else:
            plan.found[step.at] = ref
    elif match is not None:
        ref = plan.found[step.at] = plan.writes(match.ref, step)
    elif step.method == "PATCH":
        raise not_found()
    else:
        ref = plan.fresh[step.at] = plan.writes(Ref(step.type, ctx.house.new_id()), step)
        plan.planned[ref] = step.resource or {}
    if step.full_url:
        plan.ids[step.full_url] = str(ref)


def _twin(plan: Plan, patient: Mapping[str, Any]) -> Ref | None:
    """The person whom an earlier entry makes, if this one is the same: by NHS number, date of birth and family name."""
    number = nhs_number(patient)
    same = (r for r, p in plan.planned.items() if r.type == "Patient" and nhs_number(p) == number and agrees(p, patient))
    return next(same, None) if number is not None else None


async def _name_conditions(plan: Plan, steps: Sequence[Step]) -> None:
    """Conditional references (`Patient?identifier=…`): to what is here and seen, or to what this Bundle makes."""
    ctx = plan.work.ctx
    for step in steps:
        for condition in bundles.conditional_references(step.resource or {}):
            if condition not in plan.ids:
                plan.ids[condition] = await _at(step, _meant(ctx, plan, condition))


async def _meant(ctx: Context, plan: Plan, condition: str) -> str:
    type, _, query = condition.partition("?")
    if not ctx.house.r4.has_type(type):
        raise Problem("bad-request", f"`{condition[:80]}` is not a conditional reference.")
    match = await matching(ctx, type, query, gone=plan.work.gone, beside=plan.planned)
    if match is None:
        raise Problem("business-rule", "A conditional reference has no match that you may see.")
    return str(match.ref)


async def _write(plan: Plan, step: Step) -> Written:
    work = plan.work
    if step.method == "PATCH":
        ref = plan.found.get(step.at) or Ref(step.type, step.id or "")
        return await put_edited(work, ref, _edit(plan, step), if_match=step.if_match)
    if step.method == "POST" and step.at in plan.found:  # what an earlier entry makes
        return replace(await _made(work, plan.found[step.at]), did="matched")
    raw = strict.dump(_resolved(plan, step, step.resource or {}))
    if step.at in plan.fresh:
        if step.method == "PUT":
            without_id(step.resource or {})
            need_scope(work.ctx, "c", step.type)
        unless = step.if_none_exist if step.method == "POST" else step.condition
        return await put_new(work, step.type, raw, id=plan.fresh[step.at].id, unless=unless)
    match = plan.found.get(step.at)
    if match is not None:
        return await put_over(work, match, with_id(strict.read(raw), raw, match), if_match=step.if_match)
    return await put_over(work, Ref(step.type, step.id or ""), raw, if_match=step.if_match)


async def _made(work: Work, ref: Ref) -> Written:
    stored = work.new[ref]
    told = await consenting.unknown(work.ctx, work.get, strict.decode(stored.body), stored.facts) if stored.body is not None else ()
    return Written(ref, stored.version, stored.updated, await given_back(work.ctx, stored), issues=told)


def _resolved(plan: Plan, step: Step, node: Any) -> Any:
    """With `urn:uuid:` and conditional references rewritten to what they now mean."""
    unknown = [u for u in bundles.urn_references(node) if u not in plan.ids]
    if unknown:
        raise Problem("business-rule", f"`{unknown[0][:60]}` is not the fullUrl of any entry.")
    return bundles.rewrite(node, plan.ids, step.full_url, plan.work.ctx.house.r4)


def _edit(plan: Plan, step: Step) -> edits.Edit:
    """Parameters, or a JSON Patch in a Binary (https://hl7.org/fhir/R4/http.html#patch)."""
    resource = step.resource or {}
    if resource.get("resourceType") == "Binary":
        return edits.by_json(_resolved(plan, step, edits.in_binary(resource, "Binary")))
    return edits.by_path(_resolved(plan, step, resource), plan.work.ctx.house.r4)


def answered(ctx: Context, steps: Sequence[Step], answers: Mapping[int, Written], prefer: str = "") -> dict[str, Any]:
    """The response Bundle of what was written, an entry for each that was asked; those of reads are still to be filled."""
    went_well: dict[str, Any] = {"response": {"status": "200 OK"}}
    entries = [bundles.answered(with_lacks(ctx.house, answers[s.at], prefer), prefer, ctx.house.base_url) if s.at in answers else dict(went_well) for s in steps]
    return {"resourceType": "Bundle", "type": "transaction-response", **({"entry": entries} if entries else {})}


async def respond(
    ctx: Context, steps: Sequence[Step], answer: dict[str, Any], looked: Mapping[int, dict[str, Any]] | None = None
) -> dict[str, Any]:
    """The response Bundle with its reads: they see what the writes made. `looked` is what they found before."""
    unchanged = looked if looked is not None and all(s.reads for s in steps) else {}
    for step in (s for s in steps if s.reads):
        answer["entry"][step.at] = unchanged.get(step.at) or await _answer(ctx, step)
    return answer


# -- reads in either --------------------------------------------------------------------------------------------------


async def _look(ctx: Context, step: Step) -> dict[str, Any]:
    """The response entry of a GET, a HEAD or an operation that only looks."""
    if step.method == "POST":
        return await _operation(ctx, step)
    got = await fetch(ctx, step.path, step.params, if_none_match=step.if_none_match, if_modified_since=step.if_modified_since)
    response: dict[str, Any] = {"status": "304 Not Modified" if got.body is None else "200 OK"}
    if got.updated is not None:
        response |= {"etag": tag(got.version), "lastModified": instant(got.updated)}
    out: dict[str, Any] = {"response": response}
    if got.body is not None and step.method == "GET":
        out = {"resource": msgspec.Raw(got.body), **out}
    return {"fullUrl": f"{ctx.house.base_url}/{got.ref}", **out} if got.ref is not None and "resource" in out else out


async def _operation(ctx: Context, step: Step) -> dict[str, Any]:
    match step.path:
        case [type, "$validate"]:
            said = await judge(ctx, type, None, step.resource, step.params)
        case [type, id, "$validate"]:
            said = await judge(ctx, type, id, step.resource, step.params)
        case _:
            raise Problem("no-such-operation", f"There is no operation `{step.url[:64]}` in a Bundle.")
    return {"resource": said, "response": {"status": "200 OK"}}


async def _answer(ctx: Context, step: Step) -> dict[str, Any]:
    """The same, with a Problem as its answer: what has been written is written."""
    try:
        return await _look(ctx, step)
    except Problem as p:
        return failed(placed(step, p))


# -- a batch ----------------------------------------------------------------------------------------------------------


async def batch(ctx: Context, bundle: Mapping[str, Any], once: Once | None = None, *, prefer: str = "") -> dict[str, Any]:
    """Each entry by itself; one that fails says so and hinders no other. With `once`, each entry has one effect however often
    the batch comes."""
    found = reading.entries(bundle, ctx.limits.entries)
    entries = [await _by_itself(ctx, at, entry, once.entry(at) if once else None, prefer) for at, entry in enumerate(found)]
    try:
        await ctx.house.store.commit(note(ctx, "E", "batch", None, allowed=True, detail=f"{len(found)} entries"))
    except Unavailable:
        told = "The entries were dealt with one by one, and then the store could not answer. Read before you repeat them."
        raise Problem("unavailable", told, headers={"Retry-After": "5"}) from None
    return {"resourceType": "Bundle", "type": "batch-response", **({"entry": entries} if entries else {})}


async def _by_itself(ctx: Context, at: int, entry: Any, once: Once | None, prefer: str) -> dict[str, Any]:
    try:
        step = reading.step(at, entry, ctx.house.base_url, ctx.house.r4)
        try:
            return await _look(ctx, step) if step.reads else bundles.answered(with_lacks(ctx.house, await _alone(ctx, step, once), prefer), prefer, ctx.house.base_url)
        except Unavailable as wrong:
            raise placed(step, unanswered(wrong)) from None
        except Problem as p:
            await turned_away(ctx, p, step.method, "search" if step.reads and not step.id else "", f"{step.type}/{step.id}" if step.id else step.type)
            raise placed(step, p) from None
    except Problem as p:
        return failed(p)


def failed(p: Problem) -> dict[str, Any]:
    """The response entry of what did not work."""
    return {"response": {"status": f"{p.status} {HTTPStatus(p.status).phrase}", "outcome": outcome(p.issues)}}


async def _alone(ctx: Context, step: Step, once: Once | None) -> Written:
    raw = strict.dump(step.resource) if step.resource is not None else b""
    ref, condition, seen = (Ref(step.type, step.id) if step.id else None), step.condition or "", step.if_match
    match step.method:
        case "POST":
            return await create(ctx, step.type, raw, if_none_exist=step.if_none_exist, once=once)
        case "PUT" if ref is not None:
            return await update(ctx, ref, raw, if_match=seen, once=once)
        case "PUT":
            return await update_where(ctx, step.type, condition, raw, if_match=seen, once=once)
        case "PATCH":
            edit = _edit(Plan(Work(ctx), {}), step)
            if ref is not None:
                return await patch(ctx, ref, edit, if_match=seen, once=once, raw=raw)
            return await patch_where(ctx, step.type, condition, edit, if_match=seen, once=once, raw=raw)
    if ref is not None:
        return await remove(ctx, ref, if_match=seen, once=once)
    return await remove_where(ctx, step.type, condition, if_match=seen, once=once)


__all__ = ["Step", "answered", "batch", "etag", "prepare", "read_steps", "readable", "respond", "transaction"]
