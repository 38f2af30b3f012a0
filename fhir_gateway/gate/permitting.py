"""May this writer write this: what they may add to a record, what of it they may change, in whose name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ..domain import compartment, groups, labels, proxies, read_only, recorded, strict
from ..domain.directory import DIRECTORY_TYPES, NO_PATIENT_DATA, NOBODYS
from ..domain.periods import micros
from ..domain.problem import Problem
from ..domain.rendering import PEOPLE
from ..domain.standing import named_by
from ..domain.types import Decision, Facts, Ref, Stored
from ..domain.vocabulary import HANDLING_SYSTEM, LOCATION_PROTECTED, ROLE_AT, SECTOR_SYSTEM
from . import consenting
from .committing import Work
from .context import Context, ask, ask_stored, directory_now, note, notes, out_of_scope, rendering, stand, within_launch
from .proving import need_proof
from .reading import in_scope, resource_in_scope

AUTHORS = {"author", "sender"}  # a person may not put another's name under what they write
OUTSIDE = Decision(False, "rbac", rule="scope")


# -- to add -----------------------------------------------------------------------------------------------------------


async def may_collect(work: Work, resource: dict[str, Any], facts: Facts) -> Decision:
    """May this writer contribute this, about these people: the decision that lets them, or a Problem."""
    ctx = work.ctx
    if facts.type in NO_PATIENT_DATA or (groups.of_staff(resource) and not facts.patients):
        await _may_keep_directory(ctx, facts.type)
        _well_formed(resource)
        return Decision(True, "no-patient-data")
    await may_write_here(ctx, replace(facts, origin=frozenset({ctx.actor.organisation or ""})), Ref(facts.type, ""))  # whoever it is about
    if facts.type == "Binary" and not facts.patients and facts.refs:
        return await _may_attach(work, facts)
    if not facts.patients:
        raise Problem("business-rule", "This must say whose record it belongs to, by a reference to a Patient here.", subject_path(facts.type))
    lawful = await _may_consent(work, Ref(facts.type, facts.id), resource, facts, None)
    if facts.type == "Patient":
        facts_left_alone(ctx, {}, resource)
    else:
        await _people_are_here(work, facts)
    if not within_launch(ctx, "c", facts):
        raise _not_for(facts.type)
    decision = lawful or await ask(ctx, "collect", facts)
    if not decision.permit:
        await ctx.house.store.commit(*notes(ctx, "C", "create", decision, facts, Ref(facts.type, "")))
        raise _not_for(facts.type)
    return decision


async def _may_attach(work: Work, facts: Facts) -> Decision:
    """An attachment goes by what its securityContext names: whoever may add to that, and sees it, may attach to it."""
    ctx, decision = work.ctx, Decision(False, "implicit")
    for name in sorted(facts.refs):
        type, _, id = name.partition("/")
        to = await work.get(Ref(type, id)) if id and "/" not in id else None
        seen = to is not None and not to.deleted and bool(to.facts.patients) and within_launch(ctx, "c", to.facts)
        seen = seen and to is not None and (to.ref in work.new or (await ask_stored(ctx, "access", to)).permit)
        if to is None or not seen or not (decision := await ask(ctx, "collect", replace(facts, patients=to.facts.patients))).permit:
            await ctx.house.store.commit(note(ctx, "C", "create", None, (facts.type,), allowed=False, detail="nothing to attach it to"))
            raise _not_for(facts.type)
    return decision


async def _people_are_here(work: Work, facts: Facts) -> None:
    subject = facts.patients[0]
    found = await work.get(Ref("Patient", subject.removeprefix("Patient/")))
    if found is None or found.deleted:
        await work.ctx.house.store.commit(note(work.ctx, "C", "create", None, (facts.type,), allowed=False, detail="no such person"))
        raise _not_for(facts.type)


def _not_for(type: str) -> Problem:
    """Hidden person, absent person: one answer."""
    return Problem("business-rule", "This must be about a person whom you may write for.", subject_path(type))


def subject_path(type: str) -> str:
    """Where a resource of this type says whose it is: `Goal.subject`."""
    return f"{type}.{compartment.SUBJECT.get(type, 'subject')}"


async def _may_keep_directory(ctx: Context, type: str) -> None:
    """Organizations, practitioners and roles are an operator's; imports may add some but groups, which nobody believes until confirmed."""
    if ctx.actor.operator:
        if type in DIRECTORY_TYPES:
            await need_proof(ctx, "C", "create", "writing who works here and where", Decision(False, "rbac"))
        return
    if ctx.actor.contributor and type != "Group":
        return
    await ctx.house.store.commit(note(ctx, "C", "create", None, (type,), allowed=False))
    raise Problem("forbidden", f"Only an operator of this gateway writes {type}.")


def _well_formed(resource: dict[str, Any]) -> None:
    """A Group that is in nobody's record is one of staff. Problem business-rule."""
    wrong = groups.ill_formed(resource) if resource.get("resourceType") == "Group" else None
    if wrong is not None:
        raise Problem("business-rule", wrong[1], wrong[0])


# -- to change --------------------------------------------------------------------------------------------------------


async def may_correct(work: Work, stored: Stored, resource: dict[str, Any] | None) -> Decision:
    """See it, and be allowed to change it: the decision that lets them. Problem forbidden for what this writer may only see."""
    ctx = work.ctx
    await may_touch(ctx, "d" if resource is None else "u", stored)
    if stored.ref.type in NOBODYS and not stored.facts.patients:
        if ctx.actor.operator:
            if stored.ref.type in DIRECTORY_TYPES:
                letter, what = ("D", "delete") if resource is None else ("U", "update")
                await need_proof(ctx, letter, what, "writing who works here and where", Decision(False, "rbac"))
            _well_formed(resource or {})
            if wrong := groups.still_an_agreement(strict.decode(stored.body or b"{}"), resource):
                raise Problem("business-rule", wrong[1], wrong[0])
            return Decision(True, "no-patient-data")
        await ctx.house.store.commit(note(ctx, "U", "update", None, (str(stored.ref),), allowed=False))
        raise Problem("forbidden", f"Only an operator of this gateway changes {stored.ref.type}.")
    if stored.ref.type == "Consent" and resource is None:
        raise Problem("not-offered", "A consent is ended, never deleted: set its `status` to `inactive`.", headers={"Allow": "GET, HEAD, PUT, PATCH"})
    lawful = await _may_consent(work, stored.ref, resource or {}, stored.facts, stored)
    if ctx.house.read_only and not (resource is not None and await _answers_own_task(ctx, stored, resource)):
        await may_write_here(ctx, stored.facts, stored.ref)
    decision = lawful or await ask(ctx, "correct", stored.facts)
    if not decision.permit and resource is not None and await _answers_own_task(ctx, stored, resource):
        return Decision(True, "implicit", rule="invited")
    if not decision.permit:
        await ctx.house.store.commit(*notes(ctx, "U", "update", decision, stored.facts, stored.ref, allowed=False))
        raise Problem("forbidden", "You may see this but not change it.")
    return decision


async def may_write_here(ctx: Context, facts: Facts, ref: Ref) -> None:
    """Problem forbidden, written down, for what this deployment lets them only read (`read_only`)."""
    if not ctx.house.read_only:
        return
    directory, _ = ctx.place or await directory_now(ctx.house)
    if read_only.refuses(ctx.house.read_only, ctx.actor.ids, facts, directory):
        letter, what = ("U", "update") if ref.id else ("C", "create")
        found = await ctx.house.store.get_many([Ref("Patient", p.removeprefix("Patient/")) for p in facts.patients])
        facts = replace(facts, patients=tuple(p for p in facts.patients if Ref("Patient", p.removeprefix("Patient/")) in found))
        await ctx.house.store.commit(*notes(ctx, letter, what, Decision(False, "rbac", rule="read only"), facts, ref))
        raise Problem("forbidden", f"Your organisation may read {'such a' if not ref.id else 'this'} {facts.type} here, and not write it.")


async def changeable(ctx: Context, refs: Iterable[Ref]) -> set[Ref]:
    """Which of these this writer may change, as far as that can be said before they do: for pages that offer only what will work.
    What they may not see is not among them."""
    found = await ctx.house.store.get_many(list(dict.fromkeys(refs)))
    return {ref for ref, stored in found.items() if not stored.deleted and await _may_change(ctx, stored)}


async def _may_change(ctx: Context, stored: Stored) -> bool:
    if ctx.scopes is not None and not all(ctx.scopes.covers(i, stored.ref.type) and in_scope(ctx, i, stored) for i in ("r", "u")):
        return False
    if not within_launch(ctx, "u", stored.facts):
        return False
    if ctx.house.read_only and read_only.refuses(ctx.house.read_only, ctx.actor.ids, stored.facts, (ctx.place or await directory_now(ctx.house))[0]):
        return False
    return (await ask_stored(ctx, ctx.action, stored)).permit and (await ask(ctx, "correct", stored.facts)).permit


async def may_touch(ctx: Context, interaction: str, stored: Stored) -> None:
    """Scope before any right: of a change (`u`) and a deletion (`d`) the version before. Problem insufficient-scope."""
    if ctx.scopes is not None and not (ctx.scopes.covers(interaction, stored.ref.type) and in_scope(ctx, interaction, stored)):
        letter, what = ("D", "delete") if interaction == "d" else ("U", "update")
        await ctx.house.store.commit(*notes(ctx, letter, what, OUTSIDE, stored.facts, stored.ref))
        raise out_of_scope(ctx, interaction, stored.ref.type, "this ", noted=True)


async def may_leave(ctx: Context, interaction: str, resource: dict[str, Any], facts: Facts, ref: Ref) -> None:
    """A granular scope holds for what a create (`c`) or a change (`u`) leaves, as it would be kept. Problem insufficient-scope."""
    if resource_in_scope(ctx, interaction, resource):
        return
    letter, what = ("C", "create") if interaction == "c" else ("U", "update")
    await ctx.house.store.commit(*notes(ctx, letter, what, OUTSIDE, facts, Ref(ref.type, "") if letter == "C" else ref))
    raise out_of_scope(ctx, interaction, ref.type, "such a " if letter == "C" else "this into such a ", noted=True)


async def _answers_own_task(ctx: Context, stored: Stored, resource: dict[str, Any]) -> bool:
    """A Task's named owner may move its status and add notes, whatever else they may do."""
    if stored.ref.type != "Task" or stored.body is None:
        return False
    before = strict.decode((await rendering(ctx, stored))[0])
    if not named_by(before.get("owner")) & ctx.actor.ids:
        return False
    own = {"status", "statusReason", "businessStatus", "note", "lastModified", "meta", "output", "executionPeriod", "text"}
    return all(before.get(k) == resource.get(k) for k in before.keys() | resource.keys() if k not in own)


# -- whoever they are -------------------------------------------------------------------------------------------------


async def _may_consent(work: Work, ref: Ref, resource: dict[str, Any], facts: Facts, before: Stored | None) -> Decision | None:
    """Of a Consent: may this writer write it at all; the decision that lets them, where it is not the person's own answer."""
    if ref.type != "Consent":
        return None
    found = await consenting.lawful(work.ctx, work.get, ref, resource, facts, before)
    work.ops += found.ops
    return found.decision


async def may_raise(ctx: Context, stored: Stored, shown: dict[str, Any], sent: dict[str, Any], what: str) -> None:
    """A label by hand that this writer was not shown: the person's to put on, whoever acts in their place, and who made the thing
    (consent.md 1.1). Problem forbidden, whether the label was there or not.

    That somebody is at risk where they are anybody may say who may change the Patient: it closes nothing to the person. What a partner's
    copy carries is joined whoever they are, for it closes it to others; but for what hides a thing from the person.
    """
    a, type = ctx.actor, stored.ref.type
    here, mark = shown.get("meta", {}).get("security", []), {"system": HANDLING_SYSTEM, "code": LOCATION_PROTECTED}
    if type in PEOPLE:
        shown = {**shown, "meta": {**shown.get("meta", {}), "security": [*here, mark]}}
    from_them = labels.kept_from_them(shown, sent)
    joined = ctx.scopes is None and (a.operator or not from_them)
    if joined or (type in NOBODYS and not stored.facts.patients) or a.kind == "patient" or not labels.raised(shown, sent):
        return
    own = {n for n in a.ids - a.past if not n.startswith((SECTOR_SYSTEM, ROLE_AT))} | {a.user}
    if not own.isdisjoint(stored.facts.makers):
        return
    if a.kind == "proxy" and not from_them and a.patient in stored.facts.patients:
        standing = (await stand(ctx.house, [a.patient], None, ctx.place))[a.patient]
        if proxies.decides_for(standing, own, micros(ctx.at)):
            return
    await ctx.house.store.commit(*notes(ctx, "U", what, Decision(False, "rbac", rule="label"), stored.facts, stored.ref))
    raise Problem("forbidden", "A privacy label is put on by the person, or by whoever made this. Ask one of them.", f"{type}.meta.security")


def facts_left_alone(ctx: Context, before: dict[str, Any], after: dict[str, Any], linked: frozenset[str] = frozenset()) -> None:
    """What is recorded about a person, and which records are theirs, changes by `recording`. Problem business-rule."""
    a = ctx.actor
    if a.operator:
        return
    suspends = f"+{recorded.SAFEGUARDING}"  # closes at once, whoever sees the danger
    may = {suspends, "link", f"+{recorded.OPT_OUT}"} if a.contributor else {suspends}
    if a.kind in ("patient", "proxy"):
        may = {recorded.OPT_OUT} if a.kind == "patient" else set()
    wrong = recorded.not_theirs(before, after, may=frozenset(may), held=linked)
    if wrong is not None:
        raise Problem("business-rule", wrong[1], wrong[0])


def own_hand(ctx: Context, resource: dict[str, Any], before: dict[str, Any] | None = None) -> None:
    """A person writes in their own name. Registered systems write for others and say so in Provenance."""
    if ctx.actor.kind == "system" or ctx.scopes is None:
        return
    if before is not None and ctx.actor.kind == "professional":
        _no_words_of_others(resource, before)
    for element in AUTHORS & resource.keys():
        if before is not None and before.get(element) == resource[element]:
            continue
        values = resource[element] if isinstance(resource[element], list) else [resource[element]]
        for value in values:
            target = value.get("reference", "") if isinstance(value, dict) else ""
            if target.split("/")[0] in ("Practitioner", "PractitionerRole", "Patient", "RelatedPerson", "Organization") and (
                target not in ctx.actor.ids and target != ctx.actor.user and target != ctx.actor.patient
            ):
                raise Problem("business-rule", "You can only write in your own name.", f"{resource['resourceType']}.{element}")


def _no_words_of_others(resource: dict[str, Any], before: dict[str, Any]) -> None:
    """Staff put no other answers under the name of the person, or of a relative, who gave them. Problem business-rule."""
    whose = before.get("author") if before.get("resourceType") == "QuestionnaireResponse" else None
    by = str(whose.get("reference", "")).split("/")[0] if isinstance(whose, dict) else ""
    if by in ("Patient", "RelatedPerson") and any(before.get(k) != resource.get(k) for k in before.keys() | resource.keys() if k not in ("status", "meta")):
        raise Problem("business-rule", "These answers are somebody else's own words: write yours beside them.", "QuestionnaireResponse.author")


# -- what a Provenance is about ---------------------------------------------------------------------------------------


async def through_targets(work: Work, resource: dict[str, Any], facts: Facts, before: Stored | None = None) -> Facts:
    """A Provenance belongs to the people whose resources it is about, as far as its writers see them: whoever edits it and sees
    fewer of them takes it from nobody."""
    if facts.type != "Provenance":
        return facts
    people = dict.fromkeys((*facts.patients, *(before.facts.patients if before is not None else ())))
    for target in resource.get("target", []):
        type, _, id = str(target.get("reference", "")).split("/_history/")[0].partition("/")
        stored = await work.get(Ref(type, id)) if id else None
        if stored is not None and not stored.deleted and (await ask_stored(work.ctx, "access", stored)).permit:
            people.update(dict.fromkeys(stored.facts.patients))
    return replace(facts, patients=tuple(people))


def still_theirs(before: Stored, facts: Facts) -> Facts:
    """A Provenance stays with the people it was about: neither a new target moves it, nor one that its writer sees no more."""
    if facts.type != "Provenance":
        return facts
    if not set(facts.patients) <= set(before.facts.patients):
        raise Problem("business-rule", "A resource cannot be moved to another person.", subject_path(facts.type))
    return replace(facts, patients=before.facts.patients)
