"""What a consent may speak of, through the real write path: a no with just this criterion hides the resource, one with its neighbour does not (1.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Gateway
from .test_emergencies import consent, withdraw

LEVEL = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CST = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "CST"}]}
Rule = dict[str, Any]


def code(text: str) -> Rule:
    system, _, value = text.partition("|")
    return {"code": [{"coding": [{"system": system, "code": value}]}]}


def dates(start: str, end: str) -> Rule:
    return {"dataPeriod": {"start": start, "end": end}}


def of_type(type: str) -> Rule:
    return {"class": [{"system": "http://hl7.org/fhir/resource-types", "code": type}]}


def profile(url: str) -> Rule:
    return {"class": [{"system": "urn:ietf:rfc:3986", "code": url}]}


def label(system: str, value: str) -> Rule:
    return {"securityLabel": [{"system": system, "code": value}]}


def kept_by(value: str) -> Rule:
    return {"actor": [{"role": CST, "reference": {"identifier": {"system": "urn:org", "value": value}}}]}


def concept(system: str, value: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": value}]}


def period(start: str, end: str) -> dict[str, str]:
    return {"start": start, "end": end}


DONE = {"status": "completed"}
P = "https://profiles.example/StructureDefinition/"

# type, its elements, a rule that speaks of it, a neighbour of the rule that does not
CASES: list[tuple[str, dict[str, Any], Rule, Rule]] = [
    ("Observation", {"status": "final", "code": concept("urn:c", "a"), "effectiveDateTime": "2019-05-01"}, dates("2019-05", "2019-05"), dates("2018", "2018")),
    ("Observation", {"status": "final", "code": concept("urn:c", "a"), "component": [{"code": concept("urn:c", "deep")}]}, code("urn:c|deep"), code("urn:d|deep")),
    ("Observation", {"status": "final", "code": {"text": "undated"}}, dates("1990", "1991"), code("urn:c|a")),
    ("Condition", {"onsetPeriod": period("2010", "2012"), "code": {"text": "x"}}, dates("2011", "2011"), dates("2014", "2014")),
    ("Procedure", {**DONE, "performedPeriod": period("2015-01-01", "2015-01-09")}, dates("2015-01-09", "2015-02-01"), dates("2015-01-10", "2015-02-01")),
    ("Immunization", {**DONE, "vaccineCode": concept("urn:v", "1"), "occurrenceDateTime": "2003-04"}, dates("2003-04-30", "2003-05"), dates("2003-05-01", "2003-06")),
    ("MedicationRequest", {"status": "active", "intent": "order", "medicationCodeableConcept": concept("urn:m", "x"), "authoredOn": "2008-01-01"}, code("urn:m|x"), dates("2009", "2009")),
    ("MedicationStatement", {"status": "active", "medicationCodeableConcept": concept("urn:m", "x"), "effectivePeriod": period("1999", "2000")}, dates("2000-12-31", "2001"), dates("2001", "2002")),
    ("DocumentReference", {"status": "current", "date": "2016-01-01T00:00:00Z", "context": {"period": period("2011", "2012")}, "content": [{"attachment": {"title": "x"}}]}, dates("2011", "2011"), dates("2017", "2017")),
    ("DocumentReference", {"status": "current", "custodian": {"identifier": {"system": "urn:org", "value": "k"}}, "content": [{"attachment": {"title": "x"}}]}, kept_by("k"), kept_by("l")),
    ("Specimen", {"collection": {"collectedDateTime": "2007-07-07"}}, dates("2007", "2007"), dates("2008", "2008")),
    ("Encounter", {"status": "finished", "class": {"system": ACT, "code": "AMB"}, "period": period("2013-01-01", "2013-01-02")}, code(f"{ACT}|AMB"), dates("2014", "2014")),
    ("FamilyMemberHistory", {**DONE, "relationship": concept("urn:f", "mother"), "date": "2002"}, dates("2002-06", "2002-07"), dates("2003", "2003")),
    ("QuestionnaireResponse", {**DONE, "authored": "2005-05-05", "item": [{"linkId": "1", "answer": [{"valueCoding": {"system": "urn:q", "code": "y"}}]}]}, code("urn:q|y"), code("urn:q|n")),
    ("Communication", {**DONE, "sent": "2004-01-01T10:00:00Z"}, dates("2004", "2004"), dates("2005", "2005")),
    ("Goal", {"lifecycleStatus": "active", "description": {"text": "x"}, "meta": {"profile": [P + "a|1.0"]}}, profile(P + "a"), profile(P + "b")),
    ("RiskAssessment", {"status": "final", "occurrenceDateTime": "2006"}, of_type("RiskAssessment"), of_type("Goal")),
    ("Goal", {"lifecycleStatus": "active", "description": {"text": "n"}}, label(LEVEL, "N"), label(LEVEL, "R")),
    ("Goal", {"lifecycleStatus": "active", "description": {"text": "n"}}, label(LEVEL, "L"), label(ACT, "MH")),
]  # fmt: skip


def written(g: Gateway, type: str, elements: dict[str, Any]) -> str:
    me = "patient" if type in ("Immunization", "FamilyMemberHistory") else "subject"
    made = g.call("patient", "POST", type, body={"resourceType": type, **elements, me: {"reference": f"Patient/{g.patient}"}})
    assert made.status_code == 201, made.text
    return f"{type}/{made.json()['id']}"


def hidden_by(g: Gateway, rules: list[Rule], refs: list[str]) -> list[bool]:
    """Which of these the GP no longer sees while the person says no by these rules."""
    held = consent(g, {"type": "deny", "provision": [{"type": "deny", **r} for r in rules], **code("urn:nothing|nothing")})
    try:
        return [g.get("gp", ref).status_code == 404 for ref in refs]
    finally:
        withdraw(g, held)


def test_each_criterion_speaks_of_what_was_written_and_its_neighbour_does_not(demo: Gateway) -> None:
    refs = [written(demo, type, elements) for type, elements, _, _ in CASES]
    assert hidden_by(demo, [code("urn:nothing|else")], refs) == [False] * len(refs)
    for (type, elements, rule, neighbour), ref in zip(CASES, refs, strict=True):
        assert hidden_by(demo, [rule], [ref]) == [True], (type, elements, rule)
        assert hidden_by(demo, [neighbour], [ref]) == [False], (type, elements, neighbour)


NEAR: list[tuple[str, Callable[[str], dict[str, Any]]]] = [
    ("plain", lambda ref: {"focus": [{"reference": ref}]}),
    ("of a version", lambda ref: {"focus": [{"reference": f"{ref}/_history/1"}]}),
    ("in an extension", lambda ref: {"extension": [{"url": "urn:x", "valueReference": {"reference": ref}}]}),
    ("in what it contains", lambda ref: {
        "contained": [{"resourceType": "Observation", "id": "c", "status": "final", "code": {"text": "c"}, "focus": [{"reference": ref}]}],
        "hasMember": [{"reference": "#c"}],
    }),
]  # fmt: skip


@pytest.mark.parametrize("meaning", ["related", "dependents"])
def test_one_hop_either_way(demo: Gateway, meaning: str) -> None:
    def datum(ref: str) -> Rule:
        return {"data": [{"meaning": meaning, "reference": {"reference": ref}}]}

    target = written(demo, "Goal", {"lifecycleStatus": "active", "description": {"text": "centre"}})
    base = {"status": "final", "code": {"text": "points"}}
    near = [written(demo, "Observation", {**base, **element(target)}) for _, element in NEAR]
    near.append(written(demo, "Observation", {**base, "focus": [{"reference": f"{demo.base}/fhir/{target}"}]}))
    two_away = written(demo, "Observation", {**base, "focus": [{"reference": near[0]}]})
    assert hidden_by(demo, [datum(target)], [target, *near, two_away]) == [True] * (len(near) + 1) + [False]
    assert hidden_by(demo, [datum(near[0])], [target, two_away, near[1]]) == [True, True, False], "the other way round"


def test_an_instance_is_that_one_alone(demo: Gateway) -> None:
    a, b = (written(demo, "Goal", {"lifecycleStatus": "active", "description": {"text": t}}) for t in "ab")
    assert hidden_by(demo, [{"data": [{"meaning": "instance", "reference": {"reference": a}}]}], [a, b]) == [True, False]


def test_a_sensitivity_hides_by_label_code_and_implied_level(demo: Gateway) -> None:
    """The code 35489007 (depressive disorder) brings MH and with it R; the stranger is shown it by a yes that covers every label."""
    ref = written(demo, "Condition", {"code": concept("http://snomed.info/sct", "35489007")})
    who = {"actor": [{"role": {"coding": [{"system": CST["coding"][0]["system"], "code": "IRCP"}]}, "reference": {"reference": demo.persona("stranger")["fhirUser"]}}]}
    for rule, opens in ((label(LEVEL, "N"), False), (label(LEVEL, "R"), True), (label(ACT, "SEX"), False), (label(ACT, "MH"), True)):
        held = consent(demo, {"type": "permit", **who, **rule})
        assert (demo.get("stranger", ref).status_code == 200) is opens, rule
        withdraw(demo, held)
    both = consent(demo, {"type": "permit", **who, **label(LEVEL, "V")})
    try:
        for rule, hides in ((label(ACT, "MH"), True), (label(LEVEL, "R"), True), (label(LEVEL, "V"), False), (label(ACT, "SEX"), False)):
            no = consent(demo, {"type": "deny", **rule})
            assert (demo.get("stranger", ref).status_code == 404) is hides, rule
            withdraw(demo, no)
    finally:
        withdraw(demo, both)


@pytest.mark.parametrize(("said", "opens"), [(("2019", "2019"), True), (("2019-06", "2019-12"), False), (("2020", "2021"), False)])
def test_a_yes_by_date_holds_what_lies_wholly_inside(demo: Gateway, said: tuple[str, str], opens: bool) -> None:
    ref = written(demo, "Procedure", {**DONE, "performedPeriod": period("2019-05-01", "2019-07-01")})
    who = {"actor": [{"role": {"coding": [{"system": CST["coding"][0]["system"], "code": "IRCP"}]}, "reference": {"reference": demo.persona("stranger")["fhirUser"]}}]}
    held = consent(demo, {"type": "permit", **who, **dates(*said)})
    try:
        assert (demo.get("stranger", ref).status_code == 200) is opens
    finally:
        withdraw(demo, held)
