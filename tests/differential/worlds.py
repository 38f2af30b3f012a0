"""Random records of random people: who wrote what about whom, who may see it, what was changed and deleted since.

One seed is one world: a list of steps, each a request somebody makes while it comes to be. A step can be left out and the
rest still makes sense, so a failure can be made smaller; what points at a step left out is a dangling reference.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from fhir_gateway.domain import sharing
from fhir_gateway.domain.vocabulary import ACT_CODE, CONFIDENTIALITY_SYSTEM, HANDLING_SYSTEM, LEGAL_SYSTEM, LOCATION_PROTECTED

from ..worlds import Dice, a_consent
from .sides import START

PATIENTS = ("p1", "p2", "p3")
STAFF = ("Practitioner/gp", "Practitioner/nurse", "Practitioner/social", "Practitioner/link")
PLACES = ("Organization/gp", "Organization/trust", "Organization/council", "Organization/charity")
IDS = ("r1", "r2", "r3", "r4")
LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"
CODES = ("44054006", "74732009", "86406008", "160573003")  # the second and third bring labels
CRISIS = "736253002"  # a plan that urgent care may see
NHS_NUMBERS = {"p1": "9990000018", "p2": "9990000026", "p3": "9990000034"}
GROUNDS = ("incapacity-vital-interest", "express-permission", "public-interest")
TYPES = (
    "CarePlan", "Goal", "Condition", "Observation", "Task", "ServiceRequest", "CareTeam", "Flag", "List", "Group", "Composition",
    "Provenance", "Binary", "DocumentReference", "QuestionnaireResponse", "Encounter", "Communication", "Appointment",
    "RelatedPerson", "AllergyIntolerance", "Procedure",
)  # fmt: skip
DATES = ("2020-05-05", "2022-06-30", "2026-10-31", "2026-11-01", "2026-11-02")
URGENT_TYPES = ("Flag", "AllergyIntolerance", "RelatedPerson")
# What seeds are about in turn, so that a run has as many of what chance seldom brings as it counts on: half are about nothing
TURNS = ("emergency", "", "claim", "", "urgent care", "", "owner", "")


@dataclass(frozen=True)
class Step:
    """`who` asks this; `name` is the id of what a POST makes. `after`: how long after the last one."""

    who: str
    method: str
    path: str
    body: dict[str, Any] | list[Any] | None = None
    name: str = ""
    after: timedelta = timedelta(milliseconds=1)
    headers: tuple[tuple[str, str], ...] = ()

    def raw(self) -> bytes:
        return b"" if self.body is None else json.dumps(self.body).encode()

    def __str__(self) -> str:
        told = f"{self.who}: {self.method} {self.path}"
        told += f" as {self.name}" if self.name else ""
        told += "".join(f" [{k}: {v}]" for k, v in self.headers)
        return told + (f" {json.dumps(self.body)}" if self.body is not None else "")


@dataclass
class World:
    seed: int
    steps: list[Step] = field(default_factory=list)


# -- resources --------------------------------------------------------------------------------------------------------


def a_reference(dice: Dice, *types: str) -> dict[str, Any]:
    """To something that may be here, hidden or not, or never was."""
    out: dict[str, Any] = {"reference": f"{dice.choice(types or TYPES)}/{dice.choice(IDS)}"}
    if dice.one_in(3):
        out["display"] = "said beside it"
    if dice.one_in(4):
        out["identifier"] = {"system": "http://ids", "value": dice.choice(IDS)}
    return out


def a_logical(dice: Dice) -> dict[str, Any]:
    return {"type": dice.choice(("Patient", "Goal", "Practitioner")), "identifier": {"system": "http://ids", "value": dice.choice(IDS)}}


def some(dice: Dice, most: int, *types: str) -> list[dict[str, Any]]:
    return [a_reference(dice, *types) for _ in range(dice.randint(0, most))]


def a_code(dice: Dice) -> dict[str, Any]:
    return {"coding": [{"system": SNOMED, "code": dice.choice(CODES)}]}


def a_staff(dice: Dice) -> dict[str, str]:
    return {"reference": dice.choice(STAFF)}


def a_coding(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": f"http://terminology.hl7.org/CodeSystem/{system}", "code": code}]}


def a_resource(dice: Dice, type: str, patient: str) -> dict[str, Any]:
    me = {"reference": f"Patient/{patient}"}
    out = {"resourceType": type, **_BODIES[type](dice, me)}
    if type not in ("Binary",):
        if dice.one_in(3) and type != "Provenance":
            out["identifier"] = _identifier(dice, type)
        if dice.one_in(6) and type != "Provenance":
            out["contained"] = [{"resourceType": "Goal", "id": "in", "lifecycleStatus": "active", "description": {"text": "within"},
                                 "subject": {"reference": f"Patient/{dice.choice((patient, patient, 'p2'))}"}}]  # fmt: skip
            holder = {"CarePlan": "goal", "List": None}.get(type)
            if holder:
                out.setdefault(holder, []).append({"reference": "#in"})
            else:
                out["extension"] = [{"url": "http://example.org/within", "valueReference": {"reference": "#in"}}]
        if dice.one_in(4):
            out["text"] = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">told in words</div>'}
    labels = _labels(dice)
    tags = [{"system": "http://tags", "code": dice.choice(IDS)}] if dice.one_in(6) else []
    if labels or tags:
        out["meta"] = {k: v for k, v in (("security", labels), ("tag", tags)) if v}
    return out


def _identifier(dice: Dice, type: str) -> Any:
    one = {"system": "http://ids", "value": dice.choice(IDS)}
    return one if type in ("Composition", "QuestionnaireResponse") else [one]


def _labels(dice: Dice) -> list[dict[str, str]]:
    out = []
    if dice.one_in(4):
        out.append({"system": CONFIDENTIALITY_SYSTEM, "code": dice.choice("NRRV")})
    if dice.one_in(6):
        out.append({"system": ACT_CODE, "code": dice.choice(("PSY", "HIV", "SUD", "NOPAT", "NODSCLCD"))})
    if dice.one_in(20):
        out.append({"system": LEGAL_SYSTEM, "code": "HFEA"})
    return out


def _maybe(dice: Dice, one_in: int, name: str, value: Callable[[], Any]) -> dict[str, Any]:
    found = value() if dice.one_in(one_in) else None
    return {name: found} if found else {}


def _care_plan(d: Dice, me: Any) -> dict[str, Any]:
    return {
        "status": "active", "intent": "plan", "subject": me, "title": d.choice(("One", "Two")),
        **_maybe(d, 1, "goal", lambda: some(d, 3, "Goal")), **_maybe(d, 2, "addresses", lambda: some(d, 2, "Condition")),
        **_maybe(d, 3, "activity", lambda: [{"reference": a_reference(d, "Task", "ServiceRequest")}]), **_maybe(d, 3, "author", lambda: None),
        **_maybe(d, 2, "period", lambda: {"start": d.choice(DATES)}), **_maybe(d, 4, "partOf", lambda: some(d, 1, "CarePlan")),
        **_maybe(d, 5, "careTeam", lambda: some(d, 1, "CareTeam")), **_maybe(d, 5, "category", lambda: [{"coding": [{"system": SNOMED, "code": CRISIS}]}]),
    }  # fmt: skip


def _goal(d: Dice, me: Any) -> dict[str, Any]:
    return {
        "lifecycleStatus": d.choice(("active", "planned", "completed")), "description": {"text": d.choice(("Walk", "Talk"))}, "subject": me,
        **_maybe(d, 2, "startDate", lambda: d.choice(DATES)), **_maybe(d, 2, "addresses", lambda: some(d, 2, "Condition", "Observation")),
    }  # fmt: skip


def _condition(d: Dice, me: Any) -> dict[str, Any]:
    return {"subject": me, "code": a_code(d), "clinicalStatus": a_coding("condition-clinical", "active"),
            **_maybe(d, 2, "onsetDateTime", lambda: d.choice(DATES)), **_maybe(d, 3, "encounter", lambda: a_reference(d, "Encounter")),
            **_maybe(d, 4, "evidence", lambda: [{"detail": [a_reference(d, "Observation")]}])}  # fmt: skip


def _observation(d: Dice, me: Any) -> dict[str, Any]:
    return {"status": d.choice(("final", "preliminary")), "code": {"coding": [{"system": LOINC, "code": d.choice(("1", "2"))}]}, "subject": me,
            "valueQuantity": {"value": d.randint(1, 5), "unit": "%"}, **_maybe(d, 2, "effectiveDateTime", lambda: d.choice(DATES)),
            **_maybe(d, 3, "derivedFrom", lambda: some(d, 2, "Observation", "QuestionnaireResponse")), **_maybe(d, 3, "focus", lambda: some(d, 1)),
            **_maybe(d, 4, "performer", lambda: [a_staff(d)])}  # fmt: skip


def _task(d: Dice, me: Any) -> dict[str, Any]:
    return {"status": d.choice(("requested", "requested", "accepted", "completed")), "intent": "order", "for": me, "description": "Help",
            **_maybe(d, 1, "owner", lambda: {"reference": d.choice((*STAFF, *PLACES))}), **_maybe(d, 3, "focus", lambda: a_reference(d)),
            **_maybe(d, 4, "basedOn", lambda: some(d, 1, "CarePlan", "ServiceRequest"))}  # fmt: skip


def _service_request(d: Dice, me: Any) -> dict[str, Any]:
    return {"status": "active", "intent": "order", "subject": me, "code": a_code(d), **_maybe(d, 2, "performer", lambda: [{"reference": d.choice((*STAFF, *PLACES))}]),
            **_maybe(d, 3, "reasonReference", lambda: some(d, 1, "Condition"))}  # fmt: skip


def _care_team(d: Dice, me: Any) -> dict[str, Any]:
    members = [{"member": {"reference": n}} for n in d.some((*STAFF, *PLACES, "Patient/p2", "RelatedPerson/carer"), 3)]
    return {"status": "active", "subject": me, "name": "Team", **({"participant": members} if members else {})}


def _flag(d: Dice, me: Any) -> dict[str, Any]:
    return {"status": "active", "code": a_code(d), "subject": me, **_maybe(d, 3, "author", lambda: None)}


def _list(d: Dice, me: Any) -> dict[str, Any]:
    entries = [{"item": a_reference(d)} for _ in range(d.randint(0, 4))]
    return {"status": "current", "mode": "working", "subject": me, **({"entry": entries} if entries else {})}


def _group(d: Dice, me: Any) -> dict[str, Any]:
    others = [{"entity": {"reference": f"Patient/{p}"}} for p in d.some(PATIENTS[1:], 1)]
    return {"type": "person", "actual": True, "name": "Group", "member": [{"entity": me}, *others]}


def _composition(d: Dice, me: Any) -> dict[str, Any]:
    return {"status": "final", "type": {"coding": [{"system": LOINC, "code": "1"}]}, "subject": me, "date": d.choice(DATES), "title": "Told",
            "author": [{"reference": d.choice(("Organization/trust", "Patient/p1"))}],
            "section": [{"title": "S", "entry": some(d, 3) or [a_reference(d)]}]}  # fmt: skip


def _provenance(d: Dice, me: Any) -> dict[str, Any]:
    return {"target": [*some(d, 2), d.choice((me, a_reference(d)))], "recorded": "2026-11-01T09:00:00Z", "agent": [{"who": d.choice((a_staff(d), me))}]}


def _binary(d: Dice, me: Any) -> dict[str, Any]:
    return {"contentType": "text/plain", "data": "aGVsbG8=", "securityContext": d.choice((me, me, a_reference(d)))}


def _document(d: Dice, me: Any) -> dict[str, Any]:
    return {"status": "current", "subject": me, "content": [{"attachment": {"contentType": "text/plain", "url": f"Binary/{d.choice(IDS)}"}}],
            **_maybe(d, 3, "date", lambda: "2026-10-31T10:00:00Z"), **_maybe(d, 3, "context", lambda: {"related": [a_reference(d)]})}  # fmt: skip


def _answers(d: Dice, me: Any) -> dict[str, Any]:
    return {"status": "completed", "subject": me, "authored": d.choice(DATES), **_maybe(d, 3, "basedOn", lambda: some(d, 1, "CarePlan")),
            "item": [{"linkId": "1", "answer": [{"valueReference": a_reference(d)}]}]}  # fmt: skip


def _encounter(d: Dice, me: Any) -> dict[str, Any]:
    return {"status": "finished", "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}, "subject": me,
            **_maybe(d, 3, "period", lambda: {"start": d.choice(DATES)})}  # fmt: skip


def _communication(d: Dice, me: Any) -> dict[str, Any]:
    return {"status": "completed", "subject": me, **_maybe(d, 2, "about", lambda: some(d, 2)), **_maybe(d, 2, "recipient", lambda: [{"reference": d.choice((*STAFF, "Patient/p2"))}])}


def _appointment(d: Dice, me: Any) -> dict[str, Any]:
    others = [{"actor": {"reference": n}, "status": "accepted"} for n in d.some((*STAFF, "Patient/p2"), 2)]
    return {"status": "proposed", "participant": [{"actor": me, "status": "accepted"}, *others]}


def _related_person(d: Dice, me: Any) -> dict[str, Any]:
    return {"patient": me, "name": [{"family": d.choice(("Ash", "Oak"))}]}


def _allergy(d: Dice, me: Any) -> dict[str, Any]:
    return {"patient": me, "code": a_code(d), "clinicalStatus": a_coding("allergyintolerance-clinical", "active"),
            "verificationStatus": a_coding("allergyintolerance-verification", "confirmed")}  # fmt: skip


def _procedure(d: Dice, me: Any) -> dict[str, Any]:
    return {"status": "completed", "subject": me, "code": a_code(d), **_maybe(d, 2, "reasonReference", lambda: some(d, 2, "Condition", "Observation")),
            **_maybe(d, 3, "performedDateTime", lambda: d.choice(DATES)), **_maybe(d, 4, "report", lambda: some(d, 1, "Composition"))}  # fmt: skip


_BODIES: dict[str, Callable[[Dice, Any], dict[str, Any]]] = {
    "CarePlan": _care_plan, "Goal": _goal, "Condition": _condition, "Observation": _observation, "Task": _task,
    "ServiceRequest": _service_request, "CareTeam": _care_team, "Flag": _flag, "List": _list, "Group": _group, "Composition": _composition,
    "Provenance": _provenance, "Binary": _binary, "DocumentReference": _document, "QuestionnaireResponse": _answers,
    "Encounter": _encounter, "Communication": _communication, "Appointment": _appointment, "RelatedPerson": _related_person,
    "AllergyIntolerance": _allergy, "Procedure": _procedure,
}  # fmt: skip

# -- consents ---------------------------------------------------------------------------------------------------------


def consent_of(dice: Dice, patient: str) -> dict[str, Any]:
    """As any client may write one, or in the form of our own pages."""
    way = dice.randint(0, 5)
    who = dice.choice(("Practitioner/gp", "Practitioner/link", "Organization/charity", "Organization/trust", "sector:health", "CareTeam/r1"))
    if way == 0:
        kinds = dice.sample(sorted(sharing.KINDS), dice.randint(1, 3))
        return sharing.grant(None, patient, who=who, kinds=kinds, labels=dice.some(sorted(sharing.LABELS), 2), at=START, rule_id="g1")
    if way in (1, 2):
        refs = [f"{dice.choice(TYPES)}/{i}" for i in dice.some(IDS, 2)] or [f"Goal/{dice.choice(IDS)}"]
        whom = dice.choice((None, who))
        return sharing.hide(None, patient, who=whom, refs=refs, at=START, rule_id="h1")
    body = a_consent(dice, patient)
    if not body["provision"]:
        del body["provision"]
    elif not body["provision"].get("provision", True):
        del body["provision"]["provision"]
    return {**body, "category": [{"coding": [{"system": LOINC, "code": "59284-0"}]}]}


def of_what_is_here(dice: Dice, consent: dict[str, Any], here: list[tuple[str, str]]) -> dict[str, Any]:
    """The consent about things that were made, and to a team where it says group: what names nothing or nobody is refused."""
    names = {f"{type}/{id}" for type, id in here}

    def told(node: Any) -> Any:
        if isinstance(node, list):
            return [told(n) for n in node]
        if not isinstance(node, dict):
            return node
        name = str((node.get("reference") or {}).get("reference")) if node.get("meaning") in ("instance", "related", "dependents") else ""
        if name and name not in names and names:
            return {**node, "reference": {"reference": dice.choice(sorted(names))}}
        if str(node.get("reference")).startswith("Group/") and not node.get("meaning"):
            return {**node, "reference": "CareTeam/r1"}
        return {k: told(v) for k, v in node.items()}

    return {k: told(v) if k == "provision" else v for k, v in consent.items()}


def choice_about(dice: Dice, patient: str, who: str) -> dict[str, Any]:
    """In the form of our pages, for this very reader."""
    if dice.one_in(2):
        refs = [f"{t}/{i}" for t in dice.sample(TYPES, 3) for i in IDS]
        return sharing.hide(None, patient, who=who, refs=refs, at=START, rule_id="h1")
    return sharing.grant(None, patient, who=who, kinds=dice.sample(sorted(sharing.KINDS), dice.randint(1, 4)), labels=sorted(sharing.LABELS), at=START, rule_id="g1")


# -- a world ----------------------------------------------------------------------------------------------------------


def turn(seed: int) -> str:
    return TURNS[seed % len(TURNS)]


def a_world(seed: int, size: int = 26) -> World:
    dice = Dice(seed)
    steps: list[Step] = []
    patients = PATIENTS[: dice.randint(2, 3)]
    made: list[tuple[str, str, str, dict[str, Any]]] = []  # type, id, who, body
    free = [(t, i) for t in TYPES for i in IDS]
    dice.shuffle(free)
    likely = [(t, i) for t in ("CarePlan", "Goal", "Task", "Observation") for i in IDS[:2]]
    names = dice.sample(likely, 5) + free
    for p in patients:
        steps.append(Step("hospital", "POST", "Patient", _person(dice, p), p))
    if not dice.one_in(4):  # a surgery that looks after the first, as most do
        for n, owner in enumerate(dice.choice((STAFF[:1], STAFF[:1], STAFF[:3]))):
            task = {"resourceType": "Task", "status": "requested", "intent": "order", "for": {"reference": "Patient/p1"}, "owner": {"reference": owner}}
            steps.append(Step("hospital", "POST", "Task", task, f"care{n}"))
        steps += [Step(who, "ACCEPT", "") for who in ("gp", "nurse", "social-worker")]
    for type, id in dict.fromkeys(names[: dice.randint(size // 2, size)]):
        patient = dice.choice((*patients, "p1", "p1", "p1"))
        body = a_resource(dice, type, patient)
        who = dice.choice(("hospital", "hospital", "hospital", "gp", {"p1": "patient", "p2": "other-patient", "p3": "third-patient"}[patient]))
        steps.append(Step(who, "POST", type, body, id))
        made.append((type, id, who, body))
    if dice.one_in(10):
        steps.append(Step("hospital", "POST", "", _long_record(dice, dice.randint(60, 140))))
    later = [_change(dice, *dice.choice(made)) for _ in range(dice.randint(2, 8))]
    here = {p: [(s.path, s.name) for s in steps if s.name and f'"Patient/{p}"' in json.dumps(s.body)] for p in patients}
    more = Dice(seed + 3)
    later += [Step({"p1": "patient", "p2": "other-patient", "p3": "third-patient"}[p], "POST", "Consent", of_what_is_here(more, consent_of(dice, f"Patient/{p}"), here[p]), f"c{n}")
              for n, p in enumerate(dice.choice((*patients, "p1", "p1")) for _ in range(dice.randint(1, 4)))]  # fmt: skip
    accepting = [Step(who, "ACCEPT", "", None) for who in dice.some(("gp", "nurse", "social-worker", "link-worker"), 3)]
    later += accepting
    if dice.one_in(2):
        later.insert(0, Step("patient", "POST", "Consent", proxy_consent(), "proxy"))
    dice.shuffle(later)
    steps += later
    if dice.one_in(3):
        steps.append(in_an_emergency(dice, dice.choice(("gp", "stranger", "stranger"))))
    if dice.one_in(3):
        steps.append(looking_after(dice, dice.choice(("gp", "nurse", "social-worker", "stranger"))))
    for _ in range(dice.randint(0, 2)):  # what comes when all is settled
        type, id = dice.choice(free)
        steps.append(Step(dice.choice(("hospital", "gp", "patient")), "POST", type, a_resource(dice, type, "p1"), f"{id}x"))
    steps = at_risk(Dice(seed + 2), [*steps, *_in_turn(dice, turn(seed))])
    spread = (timedelta(0), timedelta(0), timedelta(milliseconds=1), timedelta(seconds=1), timedelta(minutes=7))
    return World(seed, [Step(s.who, s.method, s.path, s.body, s.name, dice.choice(spread), s.headers) for s in steps])


def _in_turn(dice: Dice, about: str) -> list[Step]:
    """What a world of this turn has beside all else, about the first person."""
    if about == "emergency":
        return [in_an_emergency(dice, dice.choice(("gp", "stranger", "stranger")), "p1")]
    if about == "claim":
        return [looking_after(dice, dice.choice(("nurse", "social-worker", "stranger")), "p1")]
    if about == "urgent care":
        return [Step("hospital", "POST", t, {"resourceType": t, **_BODIES[t](dice, {"reference": "Patient/p1"})}, f"u{n}") for n, t in enumerate(URGENT_TYPES)]
    if about == "owner":
        return [Step("patient", "POST", t, a_resource(dice, t, "p1"), f"o{n}") for n, t in enumerate(("Goal", "Observation"))]
    return []


def at_risk(dice: Dice, steps: list[Step]) -> list[Step]:
    """In some worlds people must not be found where they are: visits in places, and a practice that much of their record names."""
    if not dice.one_in(3):
        return steps
    place = Step("hospital", "POST", "Location", {"resourceType": "Location", "status": "active", "name": "Refuge", "address": {"city": "Hiddenham"}}, "refuge")
    visits = [Step("hospital", "POST", "Encounter", {"resourceType": "Encounter", **_encounter(dice, {"reference": "Patient/p1"})}, f"visit{n}") for n in range(dice.randint(1, 2))]
    at = dice.randint(min(4, len(steps)), len(steps))  # after the people
    return [place, *(_kept_safe(dice, s) for s in [*steps[:at], *visits, *steps[at:]])]


def _kept_safe(dice: Dice, step: Step) -> Step:
    body = step.body
    if not isinstance(body, dict) or step.method != "POST":
        return step
    surgery = {"reference": dice.choice(("Organization/gp", "Practitioner/gp"))}
    if step.path == "Patient" and (step.name == "p1" or dice.one_in(3)):
        labels = body.get("meta", {}).get("security", [])
        body = {**body, "generalPractitioner": [surgery], "meta": {"security": [*labels, {"system": HANDLING_SYSTEM, "code": LOCATION_PROTECTED}]}}
    elif step.path == "Encounter":
        body = {**body, "location": [{"location": {"reference": "Location/refuge"}}], **_maybe(dice, 2, "serviceProvider", lambda: surgery),
                **_maybe(dice, 2, "participant", lambda: [{"individual": a_staff(dice)}])}  # fmt: skip
    elif step.path == "AllergyIntolerance":
        body = {**body, "recorder": a_staff(dice)}
    return replace(step, body=body)


def _long_record(dice: Dice, many: int) -> dict[str, Any]:
    """More than a page of the stores holds, some of it hidden, nearly all of one instant."""
    types = dice.sample(("Observation", "Goal", "Flag", "Condition"), 2)
    entries = [{"fullUrl": f"urn:uuid:00000000-0000-4000-8000-{n:012d}", "resource": a_resource(dice, t, "p1"), "request": {"method": "POST", "url": t}}
               for n in range(many) for t in [dice.choice(types)]]  # fmt: skip
    return {"resourceType": "Bundle", "type": "batch", "entry": entries}


JSON = (("content-type", "application/json"),)


def in_an_emergency(dice: Dice, who: str, *people: str) -> Step:
    said = {"reason": dice.choice(("found on the floor", "no answer at the door")), "ground": dice.choice(GROUNDS)}
    return Step(who, "POST", f"/patients/{dice.choice(people or ('p1', 'p1', 'p2'))}/break-glass", said, headers=JSON)


def looking_after(dice: Dice, who: str, *people: str) -> Step:
    said = {"reason": dice.choice(("on call", "covering for a colleague")), "days": dice.choice((1, 14))}
    return Step(who, "POST", f"/patients/{dice.choice(people or ('p1', 'p1', 'p2'))}/claims", said, headers=JSON)


def _person(dice: Dice, id: str) -> dict[str, Any]:
    out: dict[str, Any] = {"resourceType": "Patient", "active": True, "name": [{"family": dice.choice(("Example", "Other")), "given": [id]}], "birthDate": "1950-01-01"}
    if not dice.one_in(4):
        out["identifier"] = [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": NHS_NUMBERS[id]}]
    if dice.one_in(2):
        out["generalPractitioner"] = [{"reference": dice.choice(("Organization/gp", "Practitioner/gp", "Practitioner/nurse"))}]
    if dice.one_in(6) and id == "p2":
        out["link"] = [{"other": {"reference": "Patient/p1"}, "type": "seealso"}]
    if dice.one_in(8):
        out["meta"] = {"security": [{"system": CONFIDENTIALITY_SYSTEM, "code": "R"}]}
    return out


def _change(dice: Dice, type: str, id: str, who: str, body: dict[str, Any]) -> Step:
    """A newer version by its own writer, with a label, other words or another state; or its end."""
    if dice.one_in(4):
        return Step(who, "DELETE", f"{type}/{id}")
    new = {**body, "id": id}
    if dice.one_in(2):
        meta = dict(new.get("meta", {}))
        meta["security"] = [*meta.get("security", []), {"system": CONFIDENTIALITY_SYSTEM, "code": dice.choice("RRV")}]
        new["meta"] = meta
    elif dice.one_in(2) and type == "Task":
        new["status"] = dice.choice(("accepted", "completed", "cancelled"))
    else:
        new["language"] = dice.choice(("en", "cy"))
    return Step(who, "PUT", f"{type}/{id}", new)


def proxy_consent() -> dict[str, Any]:
    from fhir_gateway.demo.cast import proxy_role

    return proxy_role("Patient/p1", "RelatedPerson/carer")
