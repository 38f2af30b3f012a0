"""What operators and registered staff record about a person, without seeing their record: facts that decide, links, and roles.

Each is a version of the Patient or of a Consent, written by the gateway in the name of who asked, with their evidence in the audit.
consent.md 1.4, 1.7; docs/consents.md
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..domain import consenting, provisions, proxies, recorded, strict
from ..domain.arrivals import let_in
from ..domain.building import read_consent
from ..domain.grants import Grant
from ..domain.merged import as_one, records_of
from ..domain.periods import LONDON, micros
from ..domain.problem import Problem, not_found
from ..domain.standing import Link, Standing, relationship
from ..domain.types import Decision, Facts, Op, Ref, Send, Stored
from ..domain.vocabulary import CONSENT_SCOPE, HL7
from ..store.base import Store
from .addressed import addressed
from .committing import Work
from .consenting import Asked, role_stands
from .context import Context, Written, ask, note, stand, stand_apart
from .keying import keyed_by_links
from .merged_plans import ask_of_merged, asked_no_more, hand_over
from .outgoing import sent_again
from .proving import need_proof
from .storing import put_by_house
from .telling import tell

REFERENCE = re.compile(r"(Patient|Practitioner|PractitionerRole|RelatedPerson)/[A-Za-z0-9.-]{1,64}\Z")


# -- facts and links --------------------------------------------------------------------------------------------------


async def record(ctx: Context, patient: str, fact: str, *, on: bool = True, evidence: str = "", who: str = "") -> Written:
    """Record a fact of `domain/recorded.NAMES` about a person, or that it holds no more.

    By an operator; by staff with the right to record and a relationship; the opt-out also by the person. `evidence` says who
    found it out, when and how; only the person needs none. `who` is the suspended proxy of `safeguarding-proxy`.
    Problem: not-found (hidden and absent alike), bad-request, business-rule.
    """
    if fact not in recorded.NAMES:
        raise Problem("bad-request", f"`fact` is one of {', '.join(recorded.NAMES)}, not `{fact[:40]}`.", "fact")
    ref = Ref("Patient", patient)
    stored = await _person(ctx, ref, own=fact == recorded.OPT_OUT)
    if ctx.actor.kind != "patient":
        need_evidence(evidence)
    if (fact == recorded.SAFEGUARDING) != who.startswith("RelatedPerson/"):
        raise Problem("bad-request", "`who` names the RelatedPerson whose role is suspended, and only that.", "who")
    before = strict.decode(stored.body or b"")
    after = recorded.with_suspended(before, who, on) if who else recorded.with_flag(before, fact, on)
    if recorded.facts(after) == recorded.facts(before):
        await ctx.house.store.commit(note(ctx, "U", "record", None, (str(ref),), patient=str(ref), allowed=True, detail="unchanged"))
        return Written(ref, stored.version, stored.updated, None, "unchanged")
    work = Work(ctx)
    written = await put_by_house(work, ref, after, stored, "record", recorded.written(fact, on, who, evidence.strip()))
    await work.commit()
    return Written(ref, written.version, written.updated, None)


async def link(ctx: Context, one: str, other: str, type: str, *, evidence: str) -> None:
    """Say that two records are the same person's, on both sides in one commit; `type` "" takes the link away. For operators.

    `replaces` and `replaced-by` join the consents of both; `seealso` and `refer` only carry denies over. Problem: not-found, bad-request.
    """
    if type and type not in recorded.LINKS:
        raise Problem("bad-request", f"`type` is one of {', '.join(recorded.LINKS)}, not `{type[:40]}`.", "type")
    if one == other:
        raise Problem("bad-request", "A record is not linked to itself.", "other")
    if not ctx.actor.operator:
        raise Problem("forbidden", "Which records are the same person's is recorded by an operator.")
    need_evidence(evidence)
    work, people = Work(ctx), (f"Patient/{one}", f"Patient/{other}")
    before = await stand(ctx.house, people, None, ctx.place)
    known = set(before)  # whoever else was linked is decided anew, too
    for me, them, said in ((one, other, type), (other, one, recorded.LINKS.get(type, ""))):
        stored = await _person(ctx, Ref("Patient", me), own=False)
        after = recorded.with_link(strict.decode(stored.body or b""), f"Patient/{them}", said)
        what = f"link {said} Patient/{them}" if said else f"no link to Patient/{them}"
        await put_by_house(work, stored.ref, after, stored, "record", f"{what}: {evidence.strip()}")
    apart = dict(await stand_apart(ctx.house, people, None, ctx.place))
    for me, them in (people, people[::-1]):
        kept = tuple(k for k in apart[me].links if k.other != them)
        apart[me] = replace(apart[me], links=(*kept, Link(them, type in ("replaces", "replaced-by"))) if type else kept)
    groups = {records_of(as_one(s, apart)) for s in apart.values()}
    await keyed_by_links(work, groups, frozenset[str]().union(*(s.practice for s in before.values())))
    for record in sorted(known) if any(s.at_risk for s in before.values()) else ():  # where they are may be shown no more, or again
        work.ops += await sent_again(ctx, Ref("Patient", record.removeprefix("Patient/")), together=False)
    work.ops += await reviews(ctx, known - set(people))
    merges = type in ("replaces", "replaced-by")
    asked = await ask_of_merged(work, *_sides(before, people if type == "replaced-by" else people[::-1])) if merges else None
    if not merges:
        await asked_no_more(work, groups)
    await work.commit(*(_of_a_merge(ctx, before, people) if merges else []))
    if asked is not None:  # by what all consents say together, which holds from this commit on
        await hand_over(ctx, asked)


def _sides(before: Mapping[str, Standing], people: tuple[str, str]) -> list[list[str]]:
    """The records that were each one's, themselves first."""
    return [[p, *sorted((records_of(before[p]) & before.keys()) - {p})] for p in people]


def _of_a_merge(ctx: Context, before: Mapping[str, Standing], people: tuple[str, str]) -> list[Op]:
    """A notice to each person to whose record the other's consents let somebody in who was not let in before."""
    at = micros(ctx.at)
    records = {p: records_of(before[p]) & before.keys() for p in people}
    names = {p: frozenset[frozenset[str]]().union(*(let_in(before[r], at) for r in records[p])) for p in people}
    told = {r for me, them in (people, people[::-1]) if names[them] - names[me] for r in records[me]}
    return [op for person in sorted(told) for op in tell("new-access", person)]


async def reviews(ctx: Context, people: set[str]) -> list[Op]:
    """Look again at what partners hold of these people."""
    return [Send(r.name, Ref("Patient", p.removeprefix("Patient/")), 0, p, "review") for r in await addressed(ctx.house, ctx.at) for p in sorted(people)]


async def _person(ctx: Context, ref: Ref, *, own: bool, changes: bool = True) -> Stored:
    """The person, for somebody who may record something about them. Problem not-found, for hidden and absent alike, written down;
    forbidden, before anybody is looked for, where a colleague or operator would change something by a sign-in that is not fresh."""
    if changes and (ctx.actor.operator or (ctx.actor.kind == "professional" and ctx.may_record)):
        await need_proof(ctx, "U", "record", "what opens or closes a person's record")
    stored = await ctx.house.store.get(ref)
    a, here = ctx.actor, stored is not None and not stored.deleted
    if here and (a.operator or (own and a.kind == "patient" and a.patient == str(ref)) or await records(ctx, str(ref))):
        assert stored is not None
        return stored
    await ctx.house.store.commit(note(ctx, "U", "record", Decision(False, "rbac"), (str(ref),), patient=str(ref) if here else None))
    raise not_found()


async def records(ctx: Context, person: str) -> bool:
    """May this colleague record something about this person: the right to, and a relationship that is not their own claim."""
    if not (ctx.actor.kind == "professional" and ctx.may_record) or (ctx.launch and ctx.launch != person):
        return False
    found = relationship((await stand(ctx.house, [person], None, ctx.place))[person], ctx.actor, ctx.at)
    return found is not None and found.origin != "claim"


def need_evidence(evidence: str) -> None:
    if not evidence.strip() or len(evidence) > consenting.LONGEST:
        raise Problem("business-rule", f"Say in `evidence` who found this out, when and how (at most {consenting.LONGEST} characters).", "evidence")


# -- roles of those who act for a person ------------------------------------------------------------------------------


async def roles(ctx: Context, patient: str) -> list[dict[str, Any]]:
    """Who acts for a person: `{consent, version, status, reason, basis, proxies, review}`; for operators and those who record."""
    stored = await _person(ctx, Ref("Patient", patient), own=False, changes=False)
    standing = (await stand(ctx.house, [str(stored.ref)], None, ctx.place))[str(stored.ref)]
    out: list[dict[str, Any]] = []
    for consent, body, grant in await _roles(ctx.house.store, str(stored.ref)):
        first = await ctx.house.store.version(consent.ref, 1)
        since = micros(first.updated if first is not None else consent.updated)
        out.append({
            "consent": str(consent.ref), "version": consent.version, "status": grant.status, "reason": proxies.reason(body)[0], "basis": grant.proxy,
            "proxies": sorted(proxies.proxies_of(grant)), "review": proxies.review_due(grant, standing, since, micros(ctx.at)),
        })  # fmt: skip
    seen = tuple(str(r["consent"]) for r in out)
    await ctx.house.store.commit(note(ctx, "R", "record", None, seen, patient=str(stored.ref), allowed=True, detail="roles"))
    return out


async def _roles(store: Store, person: str) -> list[tuple[Stored, dict[str, Any], Grant]]:
    found = []
    for stored in await store.patient_record(person, ["Consent"]):
        body = strict.decode(stored.body or b"")
        grant = read_consent(body, stored.ref.id, stored.version)
        if isinstance(grant, Grant) and grant.proxy:
            found.append((stored, body, grant))
    return found


async def appoint(
    ctx: Context, patient: str, proxy: str, basis: str, *, grantor: str, evidence: str, present: str = "", status: str = "active", start: str = "",
    end: str = "",
) -> Written:  # fmt: skip
    """Register that `proxy` (`RelatedPerson/…`) acts for a person on a legal basis; `grantor` is the ODS code of who answers for it.

    `present` is who was there when it was checked, as `Type/id` or in words; only an operator, who was not, may leave it out.
    `start` (today by default) and `end` are days. Problem: not-found, business-rule, duplicate.
    """
    stored = await _person(ctx, Ref("Patient", patient), own=False)
    need_evidence(evidence)
    if (not present.strip() and not ctx.actor.operator) or len(present) > consenting.LONGEST:
        raise Problem("business-rule", "Say in `present` who was there when this was checked: `Type/id`, or in words.", "present")
    today = ctx.at.astimezone(LONDON).date().isoformat()
    first = start or today
    period = {"start": first, **({"end": end} if end else {})}
    why = "ROLE_CREATED"
    body: dict[str, Any] = {
        "resourceType": "Consent",
        "extension": [_reason(why, "")],
        "status": status,
        "scope": {"coding": [{"system": CONSENT_SCOPE, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": f"{HL7}/v3-ActCode", "code": "INFA"}]}],
        "patient": {"reference": str(stored.ref)},
        "dateTime": ctx.at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "organization": [{"identifier": {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": grantor}}],
        **(_checked(str(stored.ref) if basis == "consent" else proxy, today, present.strip()) if present.strip() else {}),
        "sourceAttachment": {"title": evidence.strip()},
        "policyRule": {"coding": [{"system": proxies.LEGAL_BASIS, "code": basis}]},
        "provision": {
            "type": "permit",
            "period": period,
            "actor": [{"role": {"coding": [{"system": f"{HL7}/v3-ParticipationType", "code": "IRCP"}]}, "reference": {"reference": proxy}}],
        },
    }
    work, ref = Work(ctx), Ref("Consent", ctx.house.new_id())
    await role_stands(await _asked(work, ref, body, {}, str(stored.ref)), needs_reason=True)
    written = await put_by_house(work, ref, body, None, "record", f"role {basis} of {proxy}: {evidence.strip()}")
    await work.commit()
    return Written(ref, written.version, written.updated, None, "created")


async def change_role(ctx: Context, patient: str, consent: str, status: str, reason: str, text: str = "") -> Written:
    """Move a role to another status for a reason of the Validated Relationships Service. Problem: not-found, business-rule, duplicate."""
    stored = await _person(ctx, Ref("Patient", patient), own=False)
    found = next((r for r in await _roles(ctx.house.store, str(stored.ref)) if r[0].ref.id == consent), None)
    if found is None:
        raise not_found()
    held, body, _ = found
    others = [e for e in body.get("extension", ()) if not str(e.get("url", "")).endswith(proxies.STATUS_REASON)]
    after = {**body, "status": status, "extension": [*others, _reason(reason, text)]}
    work = Work(ctx)
    if status not in ("proposed", "active", "rejected", "inactive", "entered-in-error"):
        raise Problem("bad-request", f"`{status[:40]}` is no status of a role.", "status")
    await role_stands(await _asked(work, held.ref, after, body, str(stored.ref)), needs_reason=True)
    written = await put_by_house(work, held.ref, after, held, "record", f"role {status}, {reason}{f': {text}' if text else ''}")
    await work.commit()
    return Written(held.ref, written.version, written.updated, None)


def _checked(giver: str, day: str, present: str) -> dict[str, Any]:
    """Who gave it, and that it was checked with them on this day before somebody who was there."""
    there = {"reference": present} if REFERENCE.match(present) else {"display": present}
    check = {"extension": [{"url": consenting.PRESENT, "valueReference": there}], "verified": True, "verifiedWith": {"reference": giver}, "verificationDate": day}
    return {"performer": [{"reference": giver}], "verification": [check]}


async def recorded_by(ctx: Context, consents: Sequence[Ref]) -> dict[Ref, tuple[Stored, str]]:
    """Of these consents those that somebody else wrote for the person: the first version, and the evidence it names. For who may see them."""
    out = {}
    for ref in consents:
        first = await ctx.house.store.version(ref, 1)
        if first is not None and first.writer.user not in first.facts.patients and (await ask(ctx, "access", first.facts)).permit:
            out[ref] = (first, consenting.evidence(strict.decode(first.body or b"{}")))
    return out


def _reason(code: str, text: str) -> dict[str, Any]:
    concept: dict[str, Any] = {"coding": [{"system": proxies.REASONS, "code": code}]}
    return {"url": proxies.REASON_URL, "valueCodeableConcept": {**concept, **({"text": text} if text else {})}}


async def _asked(work: Work, ref: Ref, body: Mapping[str, Any], before: Mapping[str, Any], person: str) -> Asked:
    standing: Standing = (await stand(work.ctx.house, [person], None, work.ctx.place))[person]
    try:
        grant = provisions.parse(body, ref.id, 0)
    except provisions.Uncomputable as wrong:
        raise Problem("business-rule", f"This role cannot be computed: {wrong}", wrong.where) from None
    return Asked(work.ctx, ref, Facts("Consent", ref.id, (person,)), body, grant, before, None, standing, 0, work.get)


__all__ = ["appoint", "change_role", "link", "record", "recorded_by", "records", "roles"]
