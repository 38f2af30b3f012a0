"""The things in a person's record by the names people have for them: to choose one, to show what somebody would see. Pure, but `things`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...domain import sharing
from ...domain.mapping.foreign import asks_membership
from ...gate import Context
from .names import bodies, called, own_ids
from .words import _, day, short

MOST = 100  # things of one kind that a page offers
KINDS: dict[str, tuple[str, str]] = {  # of one, of several
    "Patient": ("Your details", "Your details"),
    "CarePlan": ("A plan", "Plans"),
    "Goal": ("A goal", "Goals"),
    "Task": ("Something to do", "Things to do"),
    "QuestionnaireResponse": ("Your answers", "Your answers"),
    "Condition": ("A need, illness or condition", "Needs, illnesses and conditions"),
    "ServiceRequest": ("What you were sent to, or could not get", "What you were sent to, or could not get"),
    "CareTeam": ("A team", "Teams"),
    "RelatedPerson": ("Family or a friend", "Family and friends"),
    "DocumentReference": ("A document", "Documents"),
    "Observation": ("A measurement", "Measurements"),
    "Flag": ("A warning", "Warnings"),
    "AllergyIntolerance": ("An allergy", "Allergies"),
    "ClinicalImpression": ("How something came to be", "How things came to be"),
    "RiskAssessment": ("A risk that was judged", "Risks that were judged"),
    "MedicationStatement": ("A medicine", "Medicines"),
    "MedicationRequest": ("A medicine", "Medicines"),
    "Encounter": ("A hospital stay or visit", "Hospital stays and visits"),
    "Communication": ("A message", "Messages"),
}
OTHER = ("Something else in your record", "Other things in your record")
CHOSEN_ONE_BY_ONE = ("DocumentReference", "CarePlan", "QuestionnaireResponse", "Goal", "Condition", "Task", "AllergyIntolerance", "Flag", "MedicationStatement", "MedicationRequest", "ClinicalImpression", "RiskAssessment", "Encounter", "Communication")


@dataclass(frozen=True, slots=True)
class Thing:
    """One resource: the reference, what it is called, what kind it is, and how it is marked as private ("" when it is not)."""

    ref: str
    name: str
    kind: str
    private: str = ""

    @property
    def hint(self) -> str:
        """What stands below it: its kind, and how it is private."""
        return ", ".join(t for t in (self.kind, _("private: {marks}").format(marks=self.private) if self.private else "") if t)


async def things(ctx: Context, types: Sequence[str] = CHOSEN_ONE_BY_ONE) -> list[Thing]:
    """What the person can choose one by one, kinds together."""
    out = []
    for type in types:
        found = await bodies(ctx, type, [("patient", own_ids(ctx)), ("_count", str(MOST))])
        out += [thing(r) for r in found]
    return apart(out)


def apart(found: Sequence[Thing]) -> list[Thing]:
    """The same things, those of one kind and one name numbered: a list must not say the same twice."""
    seen: Counter[tuple[str, str]] = Counter()
    out = []
    for t in found:
        seen[t.kind, t.name] += 1
        n = seen[t.kind, t.name]
        out.append(t if n == 1 else replace(t, name=_("{name} ({n})").format(name=t.name, n=n)))
    return out


def thing(resource: Mapping[str, Any]) -> Thing:
    """A resource by the name people have for it."""
    type = str(resource.get("resourceType", ""))
    kind = _(KINDS.get(type, OTHER)[0])
    return Thing(f"{type}/{resource.get('id', '')}", title(resource), kind, marks(resource))


def title(resource: Mapping[str, Any]) -> str:
    """What people call this one: its own words, else its kind and day."""
    type = str(resource.get("resourceType", ""))
    if type == "Patient":
        return _(KINDS["Patient"][0])
    if type == "RelatedPerson":
        return called(dict(resource))
    if type == "Task" and asks_membership(resource):
        return _membership(resource)
    for key in ("title", "description", "name"):
        text = _text(resource.get(key))
        if text:
            return _short(text)
    own = {"AllergyIntolerance": "code", "MedicationStatement": "medicationCodeableConcept", "MedicationRequest": "medicationCodeableConcept", "Communication": "topic"}.get(type)
    types = resource.get(own) if own else resource.get("type") or resource.get("code")
    text = _paper(resource) or _written(resource) or _text(types[0] if isinstance(types, list) and types else types)
    if text:
        return _short(_measured(text, resource) if type == "Observation" else text)
    dated = next((resource[k] for k in ("authored", "authoredOn", "date", "effectiveDateTime", "created", "sent") if resource.get(k)), "") or (_began(resource) if type == "Encounter" else "")
    kind = _asked(resource) or _(KINDS.get(type, OTHER)[0])
    return _("{kind}, {day}").format(kind=kind, day=day(dated)) if isinstance(dated, str) and dated else kind


def _began(visit: Mapping[str, Any]) -> Any:
    """The first instant of its period, as it is written there."""
    period = visit.get("period")
    return period.get("start", "") if isinstance(period, dict) else ""


def _membership(task: Mapping[str, Any]) -> str:
    """A question to somebody else, as the person reads it."""
    owner = task.get("owner") or {}
    who = str(owner.get("display") or _("Somebody"))
    surgery = str((task.get("focus") or {}).get("reference", "")).startswith("Patient/")
    return _short((_("We asked if you are registered here: {who}") if surgery else _("We asked if they are in your team: {who}")).format(who=who))


def _paper(resource: Mapping[str, Any]) -> str:
    """The title of what is attached."""
    content = resource.get("content")
    first = content[0] if isinstance(content, list) and content and isinstance(content[0], dict) else {}
    attached = first.get("attachment")
    return str(attached.get("title") or "") if isinstance(attached, dict) else ""


def _written(message: Mapping[str, Any]) -> str:
    """The first words of a message, where nobody says what it is about."""
    payload = message.get("payload")
    said = [p for p in payload if isinstance(p, dict)] if isinstance(payload, list) and not message.get("topic") else []
    return next((str(p["contentString"]) for p in said if p.get("contentString")), "")


def _measured(text: str, observation: Mapping[str, Any]) -> str:
    """What was measured, with what came out and when: two of one name are told apart."""
    quantity = observation.get("valueQuantity") or {}
    value = " ".join(short(quantity[k]) for k in ("value", "unit") if quantity.get(k) is not None) or str(observation.get("valueString") or "")
    said = f"{text}: {value}" if value else text
    on = observation.get("effectiveDateTime") or ""
    return _("{kind}, {day}").format(kind=said, day=day(on)) if on else said


def _asked(response: Mapping[str, Any]) -> str:
    """Which questions were answered, where their address says it in words (`…/wellbeing-wheel`)."""
    name = str(response.get("questionnaire") or "").partition("|")[0].rpartition("/")[2]
    if name == "about-me":
        return _("What matters to me")
    return _("Your answers: {name}").format(name=name.replace("-", " ")) if re.fullmatch(r"[a-z]{2,}(-[a-z]{2,})*", name) else ""


def _text(value: Any) -> str:
    """Of a string or a CodeableConcept."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        shown = [c.get("display") for c in value.get("coding", []) if isinstance(c, dict)]
        return str(value.get("text") or next((s for s in shown if s), ""))
    return ""


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 120 else text[:117].rstrip() + "…"


def marks(resource: Mapping[str, Any]) -> str:
    """How it is marked as private, in the words of the page; "" when it is for everybody who looks after the person."""
    codes = {c.get("code") for c in (resource.get("meta") or {}).get("security", []) if isinstance(c, dict)}
    return private_words(codes, "R" in codes or "V" in codes)


def private_words(codes: Iterable[Any], restricted: bool) -> str:
    """The labels among these sensitivities; `restricted`: it is marked, whatever as."""
    have = set(codes)
    found = [_(sharing.LABEL_WORDS[key]) for key, of in sharing.LABELS.items() if have & set(of)]
    return ", ".join(found) or (_("not for everybody") if restricted else "")


def plural(type: str) -> str:
    return _(KINDS.get(type, OTHER)[1])


__all__ = ["Thing", "marks", "plural", "private_words", "thing", "things", "title"]
