"""When the plan and each goal last changed, and by whom, and what changed since somebody last looked: in words, as far as this reader may see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from ... import gate
from ...domain.mapping.foreign import asks_membership
from ...domain.mapping.names import local, own_identifier
from ...domain.plans_of_others import TYPES as PLANS
from ...domain.told_by_others import Told
from ...domain.types import Ref
from ...gate import Context, Hand
from .names import called, names
from .words import _, day, moment

# What the pages show as the plan: a measurement that comes in does not make it newer.
OF_A_PLAN: Final = frozenset(
    "CarePlan Goal Condition Task ServiceRequest CareTeam RelatedPerson QuestionnaireResponse DocumentReference ClinicalImpression RiskAssessment".split()
)
WHOLE: Final = ""  # the key of the plan itself
MOST_CHANGES = 8  # since somebody last looked, that a page names
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


async def last_changes(ctx: Context, record: Sequence[Mapping[str, Any]], patient: str, person: str) -> dict[str, str]:
    """`30 November 2026, Dr Asha Patel, Example Street Surgery` by the id that the plan has for a goal (its steps count), and of the
    newest change under `WHOLE`. `person` is what the page calls the person. Of the resources given, which this reader may see, and no others."""
    parts = [r for r in record if r.get("resourceType") in OF_A_PLAN and _updated(r) and not asks_membership(r)]
    if not parts:
        return {}
    newest = max(parts, key=_updated)
    goals: dict[str, Mapping[str, Any]] = {}  # the newest of each goal and its steps
    for r in sorted((r for r in parts if r["resourceType"] == "Goal"), key=_updated):
        goals[_goal(r)] = r
    hands = await gate.last_written(ctx, [_ref(r) for r in (newest, *goals.values())])
    known = await names(ctx, {who for h in hands.values() for who in (h.user, h.organisation)})
    known |= {str(_ref(r)): called(dict(r)) for r in record if r.get("resourceType") == "RelatedPerson"} | {f"Patient/{patient}": person}

    def said(r: Mapping[str, Any]) -> str:
        hand = hands.get(_ref(r))
        return ", ".join(t for t in (day(r["meta"]["lastUpdated"]), *(by_whom(hand, known) if hand else ())) if t)

    return {id: said(r) for id, r in goals.items()} | {WHOLE: said(newest)}


async def changed_since(ctx: Context, record: Sequence[Mapping[str, Any]], since: datetime | None) -> list[Changed]:
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


async def senders(ctx: Context, told: Sequence[Told]) -> dict[str, str]:
    """Who sent each plan, paper and goal of others, by reference: of what this reader may see alone."""
    refs = [_ref(t.resource) for t in told if t.resource.get("resourceType") in PLANS]
    hands = await gate.last_written(ctx, refs) if refs else {}
    known = await names(ctx, {who for h in hands.values() for who in (h.user, h.organisation)}) if hands else {}
    return {str(ref): ", ".join(t for t in by_whom(hand, known) if t) for ref, hand in hands.items()}


def _at(resource: Mapping[str, Any]) -> datetime | None:
    try:
        return datetime.fromisoformat(str((resource.get("meta") or {}).get("lastUpdated")))
    except ValueError:
        return None


def _updated(resource: Mapping[str, Any]) -> str:
    return str((resource.get("meta") or {}).get("lastUpdated") or "")


def _ref(resource: Mapping[str, Any]) -> Ref:
    return Ref(str(resource["resourceType"]), str(resource["id"]))


def _goal(resource: Mapping[str, Any]) -> str:
    """The id that the plan has for it; for a step on the way that of its goal (`PLAN/GOAL/STEP`)."""
    own = own_identifier(resource)
    if own is not None and own[0] == "stage-goal" and own[1].count("/") >= 2:
        return own[1].split("/")[-2]
    return (local(own[1]) if own else None) or str(resource["id"])


def by_whom(hand: Hand, known: Mapping[str, str]) -> tuple[str, ...]:
    """Name and organisation; a computer is said to be one."""
    place = known.get(hand.organisation or "", "")
    if hand.user == "Device/operator":
        return (_("Those who run this service"),)
    if hand.kind == "system" or hand.user.startswith("Device/"):
        return (_("A computer system"), place)
    return (known.get(hand.user) or _("Somebody"), place)


__all__ = ["MOST_CHANGES", "WHOLE", "Changed", "by_whom", "changed_since", "last_changes", "senders"]
