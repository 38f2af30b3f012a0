"""What somebody writes who may only write drafts: a volunteer, whose words count once the person accepts them. docs/volunteers.md"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from .bundle import instant
from .standing import named_by
from .types import Actor, Facts, Ref
from .vocabulary import ACCEPT_DRAFT, ACT_CODE, HIDDEN_FROM_SELF, HL7, ROLE_SYSTEM, TASK_SYSTEM

ROLE: Final = "volunteer"  # of a sign-in
JOB: Final = f"{ROLE_SYSTEM}|volunteer"  # PractitionerRole.code
MOST: Final = 100  # drafts that wait for one person
# What a plan is made of. Not in it: the person's details, consents, attachments, stays in hospital, whoever acts for the person.
TYPES: Final = frozenset({
    "Appointment", "CarePlan", "CareTeam", "ClinicalImpression", "Communication", "Condition", "DocumentReference", "Flag", "Goal", "MedicationStatement",
    "Observation", "Provenance", "QuestionnaireResponse", "RelatedPerson", "RiskAssessment", "ServiceRequest", "Task",
})  # fmt: skip
ANSWER: Final = frozenset({"status", "lastModified"})  # of a Task: what its owner says of it, and no words
CODED: Final = frozenset({"statusReason", "businessStatus"})  # the same, where it is by codes alone
SERVERS: Final = frozenset({"versionId", "lastUpdated", "security"})  # of `meta`: what the server sets itself


class Item(msgspec.Struct, frozen=True):
    """One change: over which version (0: it is new), and the resource it would become; None where it would be taken away."""

    ref: str
    over: int
    body: str | None
    title: str = ""

    @property
    def method(self) -> str:
        return "DELETE" if self.body is None else "PUT" if self.over else "POST"


class Draft(msgspec.Struct, frozen=True):
    """What one request of a volunteer would change in one record. `id` is that of the Task which says that it waits; `kept`, what is to be
    known, once it counts, of answers that became it: (key, value)."""

    id: str
    patient: str
    by: str
    name: str
    organisation: str | None
    client: str | None
    kind: str
    at: str
    items: tuple[Item, ...]
    kept: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        return f"{self.patient} {self.id}"


def only_drafts(kind: str, roles: Iterable[str], jobs: Iterable[frozenset[str]]) -> bool:
    """Does somebody write drafts alone: by the role of their sign-in, or by a job of theirs in the directory."""
    return kind in ("professional", "proxy") and (ROLE in roles or any(JOB in codes for codes in jobs))


def waits(actor: Actor, resource: Mapping[str, Any], before: Mapping[str, Any] | None, own: bool) -> bool:
    """Is this write kept as a draft. Not so: a volunteer's answer to a Task that is theirs, and answers of a form that they began and
    have not finished. `own`: they wrote what is there."""
    if not actor.drafts_only:
        return False
    if resource.get("resourceType") == "QuestionnaireResponse" and resource.get("status") == "in-progress":
        return before is not None and not (own and before.get("status") == "in-progress")
    if resource.get("resourceType") != "Task" or before is None or named_by(before.get("owner")).isdisjoint(actor.ids):
        return True
    changed = {k for k in (before.keys() | resource.keys()) - ANSWER if before.get(k) != resource.get(k)}
    return any(not _no_words(k, before.get(k), resource.get(k)) for k in changed)


def _no_words(element: str, before: Any, now: Any) -> bool:
    """Is this change of a Task one without words: codes alone, or what the server sets."""
    if element == "meta":
        then, here = ({k: v for k, v in (m or {}).items() if k not in SERVERS} for m in (before, now))
        return bool(then == here)
    if element not in CODED:
        return False
    codings = [] if now is None else now.get("coding", ())
    return (now or {}).keys() <= {"coding"} and all(c.keys() <= {"system", "version", "code"} and not any(" " in str(v) for v in c.values()) for c in codings)


def refused(facts: Facts) -> str:
    """Why this cannot be a draft; "" where it can."""
    if facts.type not in TYPES:
        return f"A volunteer writes drafts of a plan, and {facts.type} is no part of one."
    if len(facts.patients) != 1:
        return "A draft is about one person."
    if not facts.sensitivity.isdisjoint(HIDDEN_FROM_SELF) or not facts.other_labels.isdisjoint({f"{ACT_CODE}|{c}" for c in HIDDEN_FROM_SELF}):
        return "What is hidden from the person cannot wait for them to accept it."
    return ""


def task(draft: Draft) -> dict[str, Any]:
    """The Task that says, to whoever may see it, that a draft waits, and nothing of what it says. It names nothing
    of the record: a Task about a referral would hold that open, and close it with itself (`referrals.closed`)."""
    return {
        "resourceType": "Task",
        "status": "requested",
        "intent": "proposal",
        "code": {"coding": [{"system": TASK_SYSTEM, "code": ACCEPT_DRAFT}]},
        "description": "A volunteer has written a draft. It is not part of the plan until the person accepts it.",
        "for": {"reference": draft.patient},
        "authoredOn": draft.at,
        "requester": {"reference": draft.by},
        "owner": {"reference": draft.patient},
    }


def attested(draft: Draft, targets: Sequence[Ref], who: str, at: Any) -> dict[str, Any]:
    """The Provenance of an accepted draft: who wrote it, and who says that it is right. What the draft itself was made of stays said (`made_of`)."""
    author: dict[str, Any] = {"type": _agent("author", "Author"), "who": {"reference": draft.by}}
    if draft.organisation:
        author["onBehalfOf"] = {"reference": draft.organisation}
    entity = [e for i in draft.items for e in made_of(i)]
    return {
        "resourceType": "Provenance",
        "target": [{"reference": str(ref)} for ref in targets],
        "recorded": instant(at),
        "activity": {"coding": [{"system": f"{HL7}/v3-DocumentCompletion", "code": "LA", "display": "legally authenticated"}]},
        "agent": [author, {"type": _agent("attester", "Attester"), "who": {"reference": who}}],
        **({"entity": entity} if entity else {}),
    }


def made_of(item: Item) -> list[dict[str, Any]]:
    """What a new Provenance of a draft says that it was made of: a role and a reference each. Its words are nobody's to attest."""
    if item.over or not item.body or not item.ref.startswith("Provenance/"):
        return []
    found = [(e.get("role"), (e.get("what") or {}).get("reference")) for e in msgspec.json.decode(item.body).get("entity", [])]
    return [{"role": role, "what": {"reference": reference}} for role, reference in found if role and reference]


def _agent(code: str, display: str) -> dict[str, Any]:
    return {"coding": [{"system": f"{HL7}/provenance-participant-type", "code": code, "display": display}]}


__all__ = ["JOB", "MOST", "ROLE", "TYPES", "Draft", "Item", "attested", "made_of", "only_drafts", "refused", "task", "waits"]
