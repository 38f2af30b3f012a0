"""Who has the right to refer: to name, in a Task, referral, team or practice, somebody who may then look after a person.

A colleague needs three things when they write it: the right itself, a relationship that is not their own claim, and that they may see the
ordinary part of that record now. A registered system needs the right, and that the person has not said no to it. The answer is stamped on
the version that was written (`Writer.may_refer`), so a no to the writer that is said later leaves what they had referred as it was.
consent.md, "A legitimate relationship exists now if …"; docs/consents.md
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from .consent import decide
from .directory import Directory
from .organisations import Role
from .periods import covers, micros
from .standing import Standing, relationship
from .types import Action, Actor, Ask, Decision, Facts, Writer
from .vocabulary import HL7, IMPLIED_PURPOSES, ROLE_SYSTEM

CARE: Final = ("health", "social-care")
SDS_JOBS: Final = ("https://fhir.hl7.org.uk/CodeSystem/UKCore-SDSJobRoleName", "https://fhir.nhs.uk/CodeSystem/England-SDS-JobRoleCode")
# PractitionerRole.code of the jobs that refer. Whoever has a job of another name is given the role `refer`, or `clinician`.
JOBS: Final = frozenset(
    f"{ROLE_SYSTEM}|{code}"
    for code in (
        "allied-health-professional", "care-coordinator", "clinician", "community-nurse", "consultant", "dentist", "dietitian", "district-nurse",
        "doctor", "gp", "health-visitor", "matron", "mental-health-nurse", "midwife", "nurse", "occupational-therapist", "optometrist",
        "paramedic", "pharmacist", "physiotherapist", "podiatrist", "practice-nurse", "psychiatrist", "psychologist", "social-worker",
        "specialist-nurse", "speech-and-language-therapist",
    )
) | {f"{HL7}/practitioner-role|{code}" for code in ("doctor", "nurse", "pharmacist")} | {
    f"{system}|{code}" for system in SDS_JOBS for code in ("R8000", "R8001", "R8003")  # clinical practitioner, nurse, health professional
}  # fmt: skip
JUDGED: Final = 1  # of this rule: what was stamped by another is looked at again (`counts`)
_WRITES: Final[tuple[Action, ...]] = ("collect", "correct")
_READS: Final[tuple[Action, ...]] = ("access", "disclose")


def refers(
    actor: Actor, given: bool, directory: Directory, standings: Mapping[str, Standing], people: Iterable[str], at: datetime, purpose: str
) -> bool:
    """Would a referral that this writer makes now count for all of these people. `given`: they sign in with the role `refer`."""
    if actor.kind == "system":
        return given and not any(_said_no(d) for p in people for d in _answers(actor, p, standings, at, purpose, (*_READS, *_WRITES)))
    if actor.kind != "professional" or purpose not in IMPLIED_PURPOSES or not (given or by_job(actor, directory, micros(at))):
        return False
    return all(_looks_after(actor, p, standings, at, purpose) for p in people)


def by_job(actor: Actor, directory: Directory, at: int) -> bool:
    """Is it their work: they treat people (role `clinician`) or have such a job in health or social care, as an operator confirmed it."""
    if actor.clinician and actor.sector in CARE:
        return True
    return _refer((directory.roles[name] for name in actor.opening if name in directory.roles), directory, at)


def counts(writer: Writer, directory: Directory, at: int) -> bool:
    """Does what this writer wrote then bring somebody in. A colleague's stamp of an earlier release, which asked for a relationship alone,
    counts only where the directory says that it was their job; their roles at that sign-in, and what they could see, are not known any more."""
    if writer.kind == "patient" or not writer.may_refer:
        return writer.kind == "patient"
    return writer.kind != "professional" or writer.judged == JUDGED or _refer(directory.roles_of.get(writer.user, ()), directory, at)


def _refer(jobs: Iterable[Role], directory: Directory, at: int) -> bool:
    return any(not JOBS.isdisjoint(j.codes) and covers(j.low, j.high, at) and directory.sector(j.organisation) in CARE for j in jobs)


def _looks_after(actor: Actor, person: str, standings: Mapping[str, Standing], at: datetime, purpose: str) -> bool:
    found = relationship(standings[person], actor, at)
    if found is None or found.origin == "claim":  # one's own word brings in nobody else
        return False
    sees = all(d.permit for d in _answers(actor, person, standings, at, purpose, _READS))
    return sees and not any(_said_no(d) for d in _answers(actor, person, standings, at, purpose, _WRITES))


def _answers(
    actor: Actor, person: str, standings: Mapping[str, Standing], at: datetime, purpose: str, actions: Iterable[Action]
) -> Iterable[Decision]:
    """What the person says to them about the record as a whole: something ordinary, of no kind and by nobody, of today. An emergency is left out."""
    now, calm = micros(at), replace(actor, btg_role=False)
    record = Facts("Basic", "", (person,), "N", low=now, high=now, updated=now)
    return (decide(Ask(calm, action, at, purpose), record, standings) for action in actions)


def _said_no(decision: Decision) -> bool:
    return not decision.permit and decision.basis in ("explicit", "governed", "uncomputable")


__all__ = ["JOBS", "JUDGED", "by_job", "counts", "refers"]
