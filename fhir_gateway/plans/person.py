"""Whom a plan speaks of: by NHS number, or by the id that its sender gave them, which another sender may give to anybody."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from .. import gate
from ..domain import strict
from ..domain.identity import NHS_NUMBER, agrees, contradicts, families, givens, nhs_number, other_given, recognised
from ..domain.mapping import Entry
from ..domain.mapping.names import is_nameless, is_nowhere, local
from ..domain.problem import Problem
from ..domain.types import Ref
from ..gate import Context
from ..gate.identifying import find_person

UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # as every id is that was given here
NOBODY: Final = "Say in `person.nhs_number` or `person.id` whom this is about: nobody is known by a name alone. Nothing was written."
DISAGREES: Final = "The NHS number, date of birth and family name do not belong together here. Nothing was written."
UNSURE: Final = (
    "It is not sure that this is who is here by that id: date of birth, family name and given names must agree, and nobody is known by an id and a name alone. "
    "Say the NHS number, or give them an id that nobody else has. Nothing was written."
)


async def person_of(ctx: Context, person: Entry, *, of_list: bool = False, read: bool = False) -> str | None:
    """The id of the person the plan speaks of; None when they are new here. `of_list`: one of many plans of that id, which says nothing of whose it
    is. `read`: its writer names what they read of it, which is looked at. Problem invalid when it names nobody, conflict when the record disagrees."""
    patient = person.resource
    if ctx.actor.kind in ("patient", "proxy") and ctx.actor.patient:
        mine = strict.decode((await gate.read(ctx, Ref("Patient", ctx.actor.patient.removeprefix("Patient/")))).body)
        if (nhs_number(mine) != nhs_number(patient) and nhs_number(patient) is not None) or not agrees(mine, patient):
            raise Problem("conflict", "This plan is about somebody else: number, date of birth and family name must be yours.", "person")
        return ctx.actor.patient.removeprefix("Patient/")
    number = nhs_number(patient)
    if number is not None and ctx.actor.contributor:
        stored = await find_person(ctx, patient, "person")
        return stored.ref.id if stored is not None else None
    identifier = patient["identifier"][-1]
    if number is None and (known := await _known_here(ctx, patient, read)) is not None:
        return known
    if number is None and is_nameless(identifier["value"]) and (of_list or is_nowhere(identifier["value"])):
        raise Problem("invalid", NOBODY, "person")
    name = f"{NHS_NUMBER}|{number}" if number is not None else f"{identifier['system']}|{escaped(identifier['value'])}"
    hits = [(e.ref, strict.decode(e.body)) for e in (await gate.search(ctx, "Patient", [("identifier", name)])).entries if e.body is not None]
    if number is None:
        return await _by_local_id(ctx, patient, hits, read)
    same = [ref for ref, body in hits if agrees(body, patient)]
    if hits and not same:
        raise Problem("conflict", DISAGREES, "person")
    return same[0].id if same else None


async def _known_here(ctx: Context, patient: Mapping[str, Any], read: bool) -> str | None:
    """Whom `person.id` names where it is the id that they have here, which their plan says when no plan began them. That id is one in all the world; whom this
    sender does not see it does not name. Problem conflict where it is said to be somebody else's."""
    id = local(patient["identifier"][-1]["value"]) or ""
    found = (await gate.search(ctx, "Patient", [("_id", id)])).entries if UUID.fullmatch(id) else []
    ours = next((strict.decode(e.body) for e in found if e.body is not None), None)
    if ours is None:
        return None
    if contradicts(ours, patient):
        raise Problem("conflict", DISAGREES, "person")
    if other_given(ours, patient) and not read:
        raise Problem("conflict", UNSURE, "person")
    return id


async def _by_local_id(ctx: Context, patient: Mapping[str, Any], hits: list[tuple[Ref, dict[str, Any]]], read: bool) -> str | None:
    """Whom a sender means by an id of its own. What another system calls so is somebody else, unless date of birth and names say that it is them; a
    human writes of whom they read."""
    mine, human = await begun_by(ctx, [ref for ref, _ in hits]), ctx.actor.kind != "system"
    told = {ref: _told(body, patient, ref in mine) for ref, body in hits}
    same = [ref for ref, body in hits if told[ref] == "same" and (ref in mine or human or agrees(body, patient))]
    if not same and read:
        same = [ref for ref in told if told[ref] == "unsure"]
    if len(same) > 1:
        same = [ref for ref in same if ref in mine] or same
    if len(same) == 1:
        return same[0].id
    near = [told[ref] for ref in told if ref in mine or human]
    if same or near:
        raise Problem("conflict", UNSURE if same or "unsure" in near else DISAGREES, "person")
    return None


def _told(ours: Mapping[str, Any], theirs: Mapping[str, Any], mine: bool) -> str:
    """As `recognised`; but a plan need not repeat who somebody is (nothing of it is taken from them): by its id alone it means whom its sender (`mine`) made, and
    where nobody has said a date of birth the whole name is enough."""
    found = recognised(ours, theirs)
    if found != "unsure" or theirs.get("birthDate"):
        return found
    named = [(families(p), givens(p)) for p in (ours, theirs)]
    if not any(named[1]):
        return "same" if mine else found
    return "same" if named[0] == named[1] and not ours.get("birthDate") else found


async def begun_by(ctx: Context, refs: Iterable[Ref]) -> set[Ref]:
    """Which of these this sender made: a local id is a name among its own."""
    return {ref for ref, s in (await ctx.house.store.get_many(list(refs))).items() if s.created_by == ctx.actor.user}


def escaped(value: str) -> str:
    """A search value that is only itself, https://hl7.org/fhir/R4/search.html#escaping"""
    return "".join("\\" + c if c in "\\,|$" else c for c in value)


__all__ = ["begun_by", "escaped", "person_of"]
