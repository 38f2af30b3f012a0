"""The validator against R4, and against what HL7's own validator said of the same resources."""

from __future__ import annotations

import base64
import gzip
import io
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_gateway import validating
from fhir_gateway.definitions import load_r4
from fhir_gateway.domain import strict
from fhir_gateway.domain.invariants import ELSEWHERE, RULES
from fhir_gateway.domain.problem import Issue, Problem
from fhir_gateway.domain.validate import check, policy

R4 = load_r4()
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'
GOAL: dict[str, Any] = {
    "resourceType": "Goal",
    "lifecycleStatus": "active",
    "description": {"text": "Walk to the shop"},
    "subject": {"reference": "Patient/1"},
}


def errors(resource: dict[str, Any], questionnaire: dict[str, Any] | None = None) -> list[Issue]:
    return [i for i in check(resource, R4, questionnaire=questionnaire) if i.severity in ("error", "fatal")]


def goal(**more: Any) -> dict[str, Any]:
    return {**GOAL, **more}


@pytest.mark.parametrize(
    ("change", "where", "key"),
    [
        ({"lifecycleStatus": "bogus"}, "Goal.lifecycleStatus", ""),
        ({"subject": [{"reference": "Patient/1"}]}, "Goal.subject", ""),
        ({"note": {"text": "x"}}, "Goal.note", ""),
        ({"note": "x"}, "Goal.note", ""),
        ({"description": "x"}, "Goal.description", ""),
        ({"colour": "red"}, "Goal.colour", ""),
        ({"statusDate": "2026-02-30"}, "Goal.statusDate", ""),
        ({"statusDate": 2026}, "Goal.statusDate", ""),
        ({"startDate": "2026", "startCodeableConcept": {"text": "x"}}, "Goal", ""),
        ({"startString": "x"}, "Goal.startString", ""),
        ({"target": [{"detailInteger": 5}]}, "Goal.target[0]", "gol-1"),
        ({"target": [{"measure": {"text": "x"}, "detailDecimal": "5"}]}, "Goal.target[0].detailDecimal", ""),
        ({"note": [{"text": "x", "time": "2026-01-01T10:00:00"}]}, "Goal.note[0].time", ""),
        ({"subject": {"reference": "#p"}}, "Goal.subject", "ref-1"),
        ({"subject": {"reference": "Patient/1", "type": "Medication"}}, "Goal.subject", "target"),
        ({"subject": {}}, "Goal.subject", "ele-1"),
        ({"contained": [{"resourceType": "Patient", "id": "p"}]}, "Goal", "dom-3"),
        ({"contained": [{"resourceType": "Foo", "id": "p"}]}, "Goal.contained[0]", ""),
        ({"extension": [{"url": "https://x.test/e"}]}, "Goal.extension[0]", "ext-1"),
        ({"extension": [{"url": "e", "valueString": "x"}]}, "Goal.extension[0]", ""),
        ({"extension": [{"valueString": "x"}]}, "Goal.extension[0].url", ""),
        ({"identifier": [{"period": {"start": "2026-02", "end": "2026-01"}}]}, "Goal.identifier[0].period", "per-1"),
        ({"id": "a_b"}, "Goal.id", ""),
        ({"language": "en_GB"}, "Goal.language", ""),
        ({"text": {"status": "generated", "div": "x"}}, "Goal.text.div", "txt-1"),
        ({"text": {"status": "generated", "div": DIV.format("<script>x</script>")}}, "Goal.text.div", "txt-1"),
        ({"text": {"status": "generated", "div": DIV.format('<p onclick="x">x</p>')}}, "Goal.text.div", "txt-1"),
        ({"text": {"status": "generated", "div": DIV.format(" ")}}, "Goal.text.div", "txt-1"),
        ({"_lifecycleStatus": "x"}, "Goal._lifecycleStatus", ""),
        ({"category": [{"coding": [{"system": "http://hl7.org/fhir/goal-status", "code": "nope"}]}]}, "Goal.category[0].coding[0]", ""),
    ],
)  # fmt: skip
def test_each_fault_is_told_with_its_place_and_rule(change: dict[str, Any], where: str, key: str) -> None:
    found = errors(goal(**change))
    assert [i for i in found if i.where == where and (not key or i.key == key)], found
    assert all(i.text and i.text[-1] in ".!?" for i in found)


@pytest.mark.parametrize("name", ["lifecycleStatus", "description", "subject"])
def test_what_must_be_there_is_missed(name: str) -> None:
    found = errors({k: v for k, v in GOAL.items() if k != name})
    assert [(i.code, i.where) for i in found] == [("required", f"Goal.{name}")]


@pytest.mark.parametrize(
    "change",
    [
        {"lifecycleStatus_": None},
        {"_lifecycleStatus": {"extension": [{"url": "https://x.test/e", "valueCode": "x"}]}},
        {"startDate": "2024-02-29"},
        {"subject": {"identifier": {"value": "1"}, "display": "A person"}},
        {"subject": {"reference": "urn:uuid:6bc3c5d4-8d0e-4c0e-9c79-0e0c3d4b1a2f"}},
        {"extension": [{"url": "https://x.test/unknown", "valueString": "x"}]},
        {"category": [{"coding": [{"system": "https://x.test/codes", "code": "any"}], "text": "Any"}]},
        {"contained": [{"resourceType": "Patient", "id": "p"}], "subject": {"reference": "#p"}},
        {"text": {"status": "generated", "div": DIV.format('<p style="color:red">a <b>b</b>&#160;<br/></p>')}},
        {"note": [{"text": "x", "time": "2026-01-01T10:00:00.123+01:00"}]},
        {"language": "zh-Hant-TW"},
    ],
)
def test_what_r4_allows_is_not_refused(change: dict[str, Any]) -> None:
    change.pop("lifecycleStatus_", None)
    assert errors(goal(**change)) == []


def test_all_problems_are_told_at_once() -> None:
    found = errors(goal(lifecycleStatus="bogus", colour="red", statusDate="soon", target=[{"detailInteger": 1}]))
    assert {"Goal.lifecycleStatus", "Goal.colour", "Goal.statusDate", "Goal.target[0]"} <= {i.where for i in found}


def test_every_error_invariant_of_r4_is_checked() -> None:
    unchecked = set()
    for name in R4._types.raw:
        for rules in R4.type(name).rules.values():
            unchecked |= {(key, name) for key, _, _ in rules if (key, name) not in RULES and key not in ELSEWHERE}
    assert not unchecked


def test_a_definition_may_not_contradict_the_one_of_r4_that_it_names() -> None:
    parameter = {
        "resourceType": "SearchParameter", "url": "https://x.test/p", "name": "P", "status": "draft", "description": "x", "code": "name",
        "derivedFrom": "http://hl7.org/fhir/SearchParameter/Organization-name",
    }  # fmt: skip
    assert errors({**parameter, "base": ["Organization"], "type": "string"}) == []
    assert [i.where for i in errors({**parameter, "base": ["Patient"], "type": "token"})] == ["SearchParameter.type", "SearchParameter.base"]
    searched = {"name": "status", "definition": "http://hl7.org/fhir/SearchParameter/CarePlan-status", "type": "date"}
    capability = {
        "resourceType": "CapabilityStatement", "status": "draft", "date": "2026", "kind": "requirements", "fhirVersion": "4.0.1", "format": ["json"],
        "description": "x", "rest": [{"mode": "server", "resource": [{"type": "CarePlan", "searchParam": [searched]}]}],
    }  # fmt: skip
    assert [i.where for i in errors(capability)] == ["CapabilityStatement.rest[0].resource[0].searchParam[0].type"]
    searched["type"] = "token"
    assert errors(capability) == []


# -- what we refuse besides -------------------------------------------------------------------------------------------


def test_policy_is_apart_from_the_verdict() -> None:
    modified = goal(modifierExtension=[{"url": "https://x.test/not", "valueBoolean": True}])
    assert errors(modified) == []
    assert [(i.where, i.key) for i in policy(modified, R4)] == [("Goal.modifierExtension[0]", "unknown-modifier")]
    assert policy(GOAL, R4) == []


@pytest.mark.parametrize(
    "inside",
    [
        '<a href="data:text/html,x">x</a>',
        '<a href="java&#10;script:alert(1)">x</a>',
        '<p style="background:url(https://x.test/a.png)">x</p>',
        '<p style="width:expression(alert(1))">x</p>',
        '<img src="data:image/svg+xml;base64,AAAA" alt="x"/>',
    ],
)
def test_narrative_that_could_act_is_refused(inside: str) -> None:
    assert policy(goal(text={"status": "generated", "div": DIV.format(inside)}), R4)


def test_no_html_payload_gets_through_as_active_content(shared: Path) -> None:
    """Every script, handler and running link of the DOMPurify set is refused by the verdict or by policy."""
    for case in json.loads((shared / "suites" / "html-payloads.json").read_text()):
        payload = case if isinstance(case, str) else case.get("payload", "")
        resource = goal(text={"status": "generated", "div": DIV.format(payload)})
        if not errors(resource) and not policy(resource, R4):
            low = payload.lower()
            assert not any(bad in low for bad in ("<script", "javascript:", "onerror", "onload", "onclick", "<svg", "<iframe")), payload


# -- answers ----------------------------------------------------------------------------------------------------------

ASKED = {
    "resourceType": "Questionnaire",
    "status": "active",
    "url": "https://q.test/q",
    "item": [
        {"linkId": "smoke", "type": "boolean", "text": "Smoke?", "required": True},
        {
            "linkId": "packs", "type": "decimal", "required": True,
            "enableWhen": [{"question": "smoke", "operator": "=", "answerBoolean": True}],
        },
        {"linkId": "mood", "type": "choice", "answerOption": [{"valueCoding": {"system": "s:s", "code": "good"}}]},
    ],
}  # fmt: skip


def _answered(*items: dict[str, Any], status: str = "completed") -> list[Issue]:
    response = {"resourceType": "QuestionnaireResponse", "status": status, "questionnaire": "https://q.test/q"}
    return errors({**response, "item": list(items)}, ASKED)


NO = {"linkId": "smoke", "answer": [{"valueBoolean": False}]}
YES = {"linkId": "smoke", "answer": [{"valueBoolean": True}]}


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([NO], ""),
        ([YES], "`packs` is not answered"),
        ([YES, {"linkId": "packs", "answer": [{"valueDecimal": 2}]}], ""),
        ([NO, {"linkId": "packs", "answer": [{"valueDecimal": 2}]}], "not enabled"),
        ([{"linkId": "smoke", "answer": [{"valueString": "no"}]}], "takes a boolean"),
        ([{"linkId": "smoke", "text": "Smoker?", "answer": [{"valueBoolean": False}]}], "must be the question's"),
        ([{"linkId": "x", "answer": [{"valueBoolean": False}]}, NO], "has no item `x`"),
        ([{"linkId": "mood", "answer": [{"valueCoding": {"system": "s:s", "code": "good"}}]}, NO], "order"),
        ([NO, {"linkId": "mood", "answer": [{"valueCoding": {"system": "s:s", "code": "bad"}}]}], "not one of the options"),
        ([{"linkId": "smoke", "answer": [{"valueBoolean": True}, {"valueBoolean": False}]}], "takes one answer"),
    ],
)  # fmt: skip
def test_answers_are_held_against_their_questionnaire(items: list[dict[str, Any]], said: str) -> None:
    found = _answered(*items)
    assert (found == []) if not said else any(said in i.text for i in found), found


def _conditioned(operator: str, wanted: dict[str, Any], *given: dict[str, Any], **more: Any) -> bool:
    """Whether question 2 is enabled by the answers given to question 1, and so refused when it is not answered."""
    kind = {"answerInteger": "integer", "answerCoding": "choice", "answerDate": "date", "answerBoolean": "boolean", "answerQuantity": "quantity"}
    questions = {
        "resourceType": "Questionnaire", "status": "active", "url": "https://q.test/e", "item": [
            {"linkId": "1", "type": kind[next(iter(wanted))], "repeats": True},
            {"linkId": "2", "type": "string", "required": True, "enableWhen": [{"question": "1", "operator": operator, **wanted}], **more}],
    }  # fmt: skip
    item = [{"linkId": "1", "answer": list(given)}] if given else []
    response: dict[str, Any] = {"resourceType": "QuestionnaireResponse", "status": "completed", "questionnaire": "https://q.test/e"}
    found = errors({**response, **({"item": item} if item else {})}, questions)
    answered = errors({**response, "item": [*item, {"linkId": "2", "answer": [{"valueString": "x"}]}]}, questions)
    assert bool(found) != bool(answered)  # either it must be answered or it may not be
    return bool(found)


KG, G = ({"value": 1, "unit": u, "system": "http://unitsofmeasure.org", "code": u} for u in ("kg", "g"))


@pytest.mark.parametrize(
    ("operator", "wanted", "given", "enabled"),
    [
        ("exists", {"answerBoolean": True}, [{"valueBoolean": False}], True),
        ("exists", {"answerBoolean": True}, [], False),
        ("exists", {"answerBoolean": False}, [], True),
        ("=", {"answerInteger": 5}, [{"valueInteger": 4}, {"valueInteger": 5}], True),
        ("!=", {"answerInteger": 5}, [{"valueInteger": 4}, {"valueInteger": 5}], True),
        ("!=", {"answerInteger": 5}, [{"valueInteger": 5}], False),
        ("!=", {"answerInteger": 5}, [], False),
        (">", {"answerInteger": 5}, [{"valueInteger": 5}], False),
        (">=", {"answerInteger": 5}, [{"valueInteger": 5}], True),
        ("<", {"answerInteger": 5}, [{"valueInteger": 4}], True),
        ("<=", {"answerInteger": 5}, [{"valueInteger": 6}], False),
        (">", {"answerDate": "2026-02"}, [{"valueDate": "2026-02-28"}], True),
        ("=", {"answerDate": "2026-01-01"}, [{"valueDate": "2026"}], True),
        ("=", {"answerCoding": {"code": "a"}}, [{"valueCoding": {"system": "https://s.test", "code": "a"}}], True),
        ("=", {"answerCoding": {"system": "https://s.test", "code": "a"}}, [{"valueCoding": {"code": "a"}}], False),
        ("=", {"answerQuantity": KG}, [{"valueQuantity": {**G, "value": 1000}}], True),
        ("<", {"answerQuantity": KG}, [{"valueQuantity": {**G, "value": 2}}], True),
    ],
)  # fmt: skip
def test_enable_when(operator: str, wanted: dict[str, Any], given: list[dict[str, Any]], enabled: bool) -> None:
    assert _conditioned(operator, wanted, *given) is enabled


def test_enable_behaviour() -> None:
    no = {"question": "1", "operator": "=", "answerInteger": 9}
    yes = {"question": "1", "operator": "=", "answerInteger": 5}
    five = {"valueInteger": 5}
    assert _conditioned("=", {"answerInteger": 5}, five, enableWhen=[no, yes], enableBehavior="any")
    assert not _conditioned("=", {"answerInteger": 5}, five, enableWhen=[no, yes], enableBehavior="all")


LIMITED = "http://hl7.org/fhir/StructureDefinition/"


@pytest.mark.parametrize(
    ("question", "answer", "said"),
    [
        ({"type": "string", "maxLength": 3}, {"valueString": "abc"}, ""),
        ({"type": "string", "maxLength": 3}, {"valueString": "abcd"}, "longer than 3"),
        ({"type": "string", "extension": [{"url": LIMITED + "minLength", "valueInteger": 3}]}, {"valueString": "ab"}, "shorter than 3"),
        ({"type": "string", "extension": [{"url": LIMITED + "regex", "valueString": "[0-9]+"}]}, {"valueString": "12"}, ""),
        ({"type": "string", "extension": [{"url": LIMITED + "regex", "valueString": "[0-9]+"}]}, {"valueString": "1a"}, "form the question"),
        ({"type": "integer", "extension": [{"url": LIMITED + "maxValue", "valueInteger": 5}]}, {"valueInteger": 6}, "more than the most"),
        ({"type": "date", "extension": [{"url": LIMITED + "minValue", "valueDate": "2026-02"}]}, {"valueDate": "2026-01-31"}, "less than the least"),
        ({"type": "decimal", "extension": [{"url": LIMITED + "maxDecimalPlaces", "valueInteger": 1}]}, {"valueDecimal": 1.25}, "decimal places"),
        ({"type": "choice", "answerOption": [{"valueCoding": {"system": "https://s.test", "code": "a"}}]}, {"valueCoding": {"code": "a"}}, "not one of"),
        ({"type": "open-choice", "answerOption": [{"valueString": "a"}]}, {"valueString": "b"}, ""),
        ({"type": "choice", "answerValueSet": "#v"}, {"valueCoding": {"system": "https://s.test", "code": "a"}}, ""),
        ({"type": "choice", "answerValueSet": "#v"}, {"valueCoding": {"system": "https://s.test", "code": "b"}}, "value set"),
    ],
)  # fmt: skip
def test_an_answer_within_its_limits(question: dict[str, Any], answer: dict[str, Any], said: str) -> None:
    value_set = {
        "resourceType": "ValueSet", "id": "v", "status": "active",
        "compose": {"include": [{"system": "https://s.test", "concept": [{"code": "a"}]}]},
    }  # fmt: skip
    asked = {"resourceType": "Questionnaire", "status": "active", "url": "https://q.test/l", "contained": [value_set], "item": [{"linkId": "1", **question}]}
    response = {"resourceType": "QuestionnaireResponse", "status": "completed", "questionnaire": "https://q.test/l"}
    found = errors({**response, "item": [{"linkId": "1", "answer": [answer]}]}, asked)
    assert (found == []) if not said else any(said in i.text for i in found), found


def test_conditions_look_within_their_own_group_first() -> None:
    group = {"linkId": "g", "type": "group", "repeats": True, "item": [
        {"linkId": "1", "type": "boolean"},
        {"linkId": "2", "type": "string", "enableWhen": [{"question": "1", "operator": "=", "answerBoolean": True}]}]}  # fmt: skip
    asked = {"resourceType": "Questionnaire", "status": "active", "url": "https://q.test/g", "item": [group]}

    def told(*answers: tuple[bool, bool]) -> list[Issue]:
        items = [
            {"linkId": "g", "item": [{"linkId": "1", "answer": [{"valueBoolean": one}]}, *([{"linkId": "2", "answer": [{"valueString": "x"}]}] if two else [])]}
            for one, two in answers
        ]
        return errors({"resourceType": "QuestionnaireResponse", "status": "completed", "questionnaire": "https://q.test/g", "item": items}, asked)

    assert told((True, True), (False, False)) == []
    assert any("not enabled" in i.text for i in told((True, False), (False, True)))


def test_missing_answers_are_tolerated_until_the_response_is_complete() -> None:
    assert _answered(YES, status="in-progress") == []
    assert _answered(YES, status="completed") != []


# -- bundles and narrative ----------------------------------------------------------------------------------------------

FLAG: dict[str, Any] = {"resourceType": "Flag", "id": "1", "status": "active", "code": {"text": "x"}, "subject": {"reference": "Patient/1"}}
PERSON: dict[str, Any] = {"resourceType": "Patient", "id": "1"}


def _bundle(kind: str, *entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries), **more}


def _entry(resource: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"fullUrl": f"https://x.test/fhir/{resource['resourceType']}/{resource.get('id')}", "resource": resource, **more}


def _document(reference: str, full_url: str = "https://x.test/fhir/Patient/1") -> dict[str, Any]:
    composition = {
        "resourceType": "Composition", "id": "c", "status": "final", "type": {"text": "x"}, "date": "2026", "author": [{"display": "x"}], "title": "x",
        "subject": {"reference": reference}, "section": [{"title": "x", "text": {"status": "generated", "div": DIV.format("x")}}],
    }  # fmt: skip
    person = {**_entry(PERSON), "fullUrl": full_url}
    return _bundle("document", _entry(composition), person, identifier={"system": "https://x.test/i", "value": "1"}, timestamp="2026-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("bundle", "said"),
    [
        (_bundle("searchset", _entry(FLAG, search={"mode": "match"})), ""),
        (_bundle("searchset", {"resource": FLAG}), "has a fullUrl"),
        (_bundle("searchset", _entry({**PERSON}, search={"mode": "match"}), link=[{"relation": "self", "url": "https://x.test/fhir/Flag?a=b"}]), "no match"),
        (_bundle("searchset", _entry(PERSON, search={"mode": "outcome"})), "OperationOutcome"),
        (_bundle("searchset", {"fullUrl": "urn:uuid:6bc3c5d4-8d0e-4c0e-9c79-0e0c3d4b1a2f", "search": {"mode": "match"}}), "has a resource"),
        (_bundle("collection", _entry(FLAG), link=[{"relation": "next", "url": "https://x.test"}]), "belongs in a searchset"),
        (_bundle("collection", {**_entry(FLAG), "fullUrl": "https://x.test/fhir/Flag/2"}), "must end in"),
        (_bundle("collection", {**_entry(FLAG), "fullUrl": "https://x.test/any/thing"}), ""),
        (_bundle("collection", _entry({**FLAG, "subject": {"reference": "Patient?identifier=1"}})), "is not a reference"),
        (_bundle("transaction", _entry({**FLAG, "subject": {"reference": "Patient?identifier=1"}}, request={"method": "PUT", "url": "Flag/1"})), ""),
        (_bundle("transaction", {"resource": FLAG, "request": {"method": "PUT", "url": "Flag/1"}}), "needs a fullUrl"),
        (_bundle("batch-response", {"resource": FLAG, "response": {"status": "200"}}), ""),
        (_bundle("collection", _entry({**FLAG, "subject": {"reference": "Flag/1"}})), "may refer to"),
        (_document("Patient/1"), ""),
        (_document("https://x.test/fhir/Patient/1"), ""),
        (_document("Patient/2"), "is not in this document"),
        (_document("Patient/1", "https://other.test/fhir/Patient/1"), "is not in this document"),
    ],
)  # fmt: skip
def test_bundles(bundle: dict[str, Any], said: str) -> None:
    found = errors(bundle)
    assert (found == []) if not said else any(said in i.text for i in found), found


def test_an_entry_of_a_document_that_nothing_leads_to_is_told() -> None:
    document = _document("Patient/1")
    document["entry"].append(_entry({**FLAG, "subject": {"display": "x"}}))
    assert [i.where for i in errors(document)] == ["Bundle.entry[2]"]
    document["entry"][2]["resource"]["subject"] = {"reference": "Patient/1"}  # now it leads to the rest
    assert errors(document) == []


@pytest.mark.parametrize("inside", ["<td>x</td>", "<ul>x</ul>", "<p><p>x</p></p>", "<b><b>x</b></b>", "<span><div>x</div></span>", "<br>x</br>", "<![CDATA[x]]>"])
def test_narrative_keeps_the_structure_of_xhtml(inside: str) -> None:
    assert [i.where for i in errors(goal(text={"status": "generated", "div": DIV.format(inside)}))] == ["Goal.text.div"]


@pytest.mark.parametrize("inside", ["x<![CDATA[><img src=x onerror=alert(1)>]]>", "x<?y ><img src=x onerror=alert(1)>?>"])
def test_what_a_browser_reads_differently_is_valid_and_refused_on_writing(inside: str) -> None:
    written = goal(text={"status": "generated", "div": DIV.format(inside)})
    assert errors(written) == [] and [i.key for i in policy(written, R4)] == ["active-narrative"]


# -- never anything but a verdict -------------------------------------------------------------------------------------

MEMBERS = """
resourceType id meta text div status subject reference contained extension url valueString value item linkId answer coding system code
period start end entry resource fullUrl _id target identifier _status component name
"""
JUNK = st.recursive(
    st.text(max_size=6) | st.integers() | st.booleans() | st.sampled_from(["#", "#a", "Patient/1", "2026", "Goal", "http://x"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(MEMBERS.split()),
        inner,
        max_size=4,
    ),
    max_leaves=25,
)


@settings(max_examples=300)
@given(st.sampled_from(["Goal", "CarePlan", "Bundle", "Observation", "QuestionnaireResponse", "Questionnaire", "Patient", "Consent"]), JUNK)
def test_any_json_gets_a_verdict_never_an_exception(kind: str, junk: Any) -> None:
    resource = {**(junk if isinstance(junk, dict) else {"item": junk}), "resourceType": kind}
    for issue in [*check(resource, R4, questionnaire=ASKED), *policy(resource, R4)]:
        assert issue.text and isinstance(issue.where, str)
    assert isinstance(check({"resourceType": junk}, R4), list)


# -- outside suites ---------------------------------------------------------------------------------------------------


def _verdict(row: dict[str, Any]) -> bool:
    raw = row["text"].encode("utf-8", "surrogatepass") if "text" in row else json.dumps(row["resource"]).encode()
    try:
        resource = strict.read(raw)
    except Problem:
        return False
    return not errors(resource, row.get("questionnaire"))


def test_mutated_resources_get_the_verdict_of_hl7s_validator(shared: Path) -> None:
    rows = [json.loads(r) for r in gzip.decompress((shared / "suites" / "hl7-mutated.jsonl.gz").read_bytes()).splitlines()]
    same = [r for r in rows if _verdict(r) == r["valid"]]
    valid = [r for r in rows if r["valid"]]
    answers = [r for r in rows if r["mutation"].startswith("qr-")]
    assert len(same) / len(rows) >= 0.99  # seen: 600 of 600
    assert sum(r not in same for r in valid) <= len(valid) * 0.01  # seen: none of 205
    assert sum(r in same for r in answers) / len(answers) >= 0.97  # seen: 88 of 88


def test_hl7s_own_test_cases(shared: Path) -> None:
    rows = [json.loads(r) for r in (shared / "suites" / "hl7-validator.jsonl").read_text().splitlines()]
    same = []
    for row in rows:
        line = {"id": 1, "text": row["resource"], "supporting": [s["text"] for s in row["supporting"] or []]}
        if row.get("profile"):
            line["profile"] = row["profile"]
        sink = io.BytesIO()
        assert validating.lines(io.BytesIO(json.dumps(line).encode() + b"\n"), sink) == 0
        same.append(json.loads(sink.getvalue())["valid"] == (not row["hl7_errors"]))
    assert len(rows) == 114 and sum(same) >= 112  # seen: 113; the one that differs is in docs/validation.md


STORY_TYPES = """
Patient CarePlan Condition Goal Task CareTeam QuestionnaireResponse Questionnaire Consent Observation ServiceRequest Practitioner
PractitionerRole Organization RelatedPerson Provenance Bundle Communication DocumentReference Flag List Encounter
"""


def _refused(shared: Path) -> dict[str, list[str]]:
    refused = {}
    files = [f for t in STORY_TYPES.split() for f in sorted((shared / "data" / "examples").glob(f"*/{t}/*.json"))]
    for file in [*files, *sorted((shared / "data" / "synthea").glob("*.json"))]:
        try:
            found = errors(strict.read(file.read_bytes()))
        except Problem as problem:
            found = list(problem.issues)
        if found:
            refused[str(file.relative_to(shared / "data"))] = [f"{i.where}: {i.text}" for i in found]
    return refused


def test_each_example_of_the_story_that_is_refused_is_listed_with_its_reason(shared: Path) -> None:
    listed = (Path(__file__).parent.parent / "docs" / "validation.md").read_text()
    for name in _refused(shared):
        assert f"`{name.removeprefix('examples/')}`" in listed, name


def test_lines_are_those_of_hl7s_validator() -> None:
    asked = [
        {"id": "a", "resource": GOAL},
        {"id": "b", "text": '{"resourceType":"Goal","x":1.0}'},
        {"id": "c", "resource": {"resourceType": "QuestionnaireResponse", "status": "completed", "questionnaire": "https://q.test/q|1"},
         "supporting": [{**ASKED, "version": "1"}, json.dumps({**ASKED, "version": "1"})]},
        {"id": "d", "text": "\ud800"},
    ]  # fmt: skip
    sink = io.BytesIO()
    assert validating.lines(io.BytesIO("\n".join(map(json.dumps, asked)).encode()), sink) == 0
    answers = [json.loads(line) for line in sink.getvalue().splitlines()]
    assert [(a["id"], a["valid"]) for a in answers] == [("a", True), ("b", False), ("c", False), ("d", False)]
    assert set(answers[1]) == {"id", "valid", "ms", "issues"}
    assert {i["location"] for i in answers[1]["issues"]} >= {"Goal.x", "Goal.subject"}
    sink = io.BytesIO()
    assert validating.lines(io.BytesIO(b'not json\n[]\n{"id": "x", "profile": 5}\n'), sink) == 2
    assert [sorted(json.loads(line)) for line in sink.getvalue().splitlines()] == [["error", "id"]] * 3, "each in its place"


def test_files_are_validated_one_outcome_a_resource(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad, many = tmp_path / "good.json", tmp_path / "a b.json", tmp_path / "many.ndjson"
    good.write_bytes(strict.dump(GOAL))
    bad.write_bytes(strict.dump(goal(colour="red")))
    many.write_bytes(strict.dump(GOAL) + b"\n\n" + strict.dump(goal(lifecycleStatus="x")) + b"\n")
    assert validating.run([good], json_lines=True) == 0
    assert validating.run([good, bad, many], json_lines=True) == 1
    assert validating.run([tmp_path / "none.json"], json_lines=True) == 2
    out, err = capsys.readouterr()
    outcomes = [json.loads(line) for line in out.splitlines()]
    assert len(outcomes) == 5 and all(not errors(o) for o in outcomes)  # an OperationOutcome is valid FHIR too
    assert outcomes[4]["issue"][0]["expression"] == ["Goal.lifecycleStatus"] and outcomes[4]["meta"]["source"].endswith(":3")
    assert "none.json" in err


@pytest.mark.slow
def test_memory_stays_under_150_mb_over_every_example(shared: Path) -> None:
    """A process of its own judges everything in ../shared/data; seen: 37 MB."""
    program = """
import sys
from pathlib import Path
from fhir_gateway.definitions import load_r4
from fhir_gateway.domain import strict
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.validate import check
judged = 0
for file in Path(sys.argv[1]).rglob("*.json"):
    try:
        resource = strict.read(file.read_bytes())
    except Problem:
        continue
    check(resource, load_r4())
    judged += 1
held = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(judged, int(held.split()[1]) // 1024)
"""
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell a process's memory in /proc")
    done = subprocess.run([sys.executable, "-c", program, str(shared / "data")], capture_output=True, text=True, timeout=120, check=True)
    judged, most = map(int, done.stdout.split())
    assert judged > 1000 and most < 150


@pytest.mark.slow
def test_fhirpathpy_finds_the_native_invariants_right(shared: Path) -> None:
    """Each invariant as R4 writes it, evaluated by fhirpathpy on small examples, against the Python that runs on every write.

    Also with each element taken away, so that rules are broken too. Where fhirpathpy cannot evaluate an expression nothing is asked.
    """
    import fhirpathpy
    from fhirpathpy.models import models

    differ, asked = set(), Counter[str]()
    compiled: dict[str, Any] = {}
    for kind in R4.types:
        for file in sorted((shared / "data/examples/hl7-r4" / kind).glob("*.json"))[:3]:
            if file.stat().st_size > 20_000:
                continue
            resource = json.loads(file.read_bytes())
            for path, rules in R4.type(kind).rules.items():
                for key, _, expression in rules:
                    if (key, kind) not in RULES or key in ELSEWHERE or key in WIDER:
                        continue
                    whole = [n for n in _below(resource, path.split(".") if path else []) if isinstance(n, dict)][:3]
                    for node in [*whole, *({k: v for k, v in n.items() if k != gone} for n in whole for gone in n)]:
                        try:
                            if expression not in compiled:
                                compiled[expression] = fhirpathpy.compile(expression, models["r4"])
                            found = compiled[expression](node, {"resource": resource, "context": node})
                        except Exception:
                            continue
                        if len(found) == 1 and isinstance(found[0], bool):
                            asked[key] += 1
                            if found[0] != RULES[key, kind](node):
                                differ.add((key, file.name))
    assert not differ, differ
    assert len(asked) > 45  # the rest are of types the small examples do not hold


WIDER = {
    "que-12",  # HL7's validator holds R4's `more than two` to mean more than one, as the words of the rule do
    "gol-1",  # fhirpathpy does not know a choice (detail[x]) in a node that stands alone
}


def _below(node: Any, path: list[str]) -> list[Any]:
    if not path:
        return [node]
    inner = node.get(path[0]) if isinstance(node, dict) else None
    return [found for i in (inner if isinstance(inner, list) else [inner]) if i is not None for found in _below(i, path[1:])]


def test_base64_is_checked() -> None:
    binary = {"resourceType": "Binary", "contentType": "text/plain", "data": base64.b64encode(b"hello").decode()}
    assert errors(binary) == []
    assert errors({**binary, "data": "%%%"}) != []


RICH: list[dict[str, Any]] = [
    goal(
        id="g", meta={"versionId": "1", "security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N"}]},
        text={"status": "generated", "div": DIV.format("x")}, contained=[{"resourceType": "Patient", "id": "p"}],
        extension=[{"url": "http://hl7.org/fhir/StructureDefinition/goal-acceptance", "extension": [
            {"url": "individual", "valueReference": {"reference": "#p"}}, {"url": "status", "valueCode": "agree"}]}],
        target=[{"measure": {"text": "m"}, "detailRange": {"low": {"value": 1, "code": "m", "system": "http://unitsofmeasure.org"}}}],
        identifier=[{"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2.3", "period": {"start": "2026", "end": "2027"}}],
    ),
    {"resourceType": "Observation", "status": "final", "subject": {"reference": "Patient/1"}, "effectiveDateTime": "2026-01-01",
     "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]}],
     "code": {"coding": [{"system": "http://loinc.org", "code": "85354-9"}]},
     "component": [{"code": {"coding": [{"system": "http://loinc.org", "code": c}]},
                    "valueQuantity": {"value": 1, "unit": "mm", "system": "http://unitsofmeasure.org", "code": "mm[Hg]"}}
                   for c in ("8480-6", "8462-4")]},
    {"resourceType": "Bundle", "type": "transaction", "link": [{"relation": "self", "url": "http://x.test"}],
     "entry": [{"fullUrl": "urn:uuid:6bc3c5d4-8d0e-4c0e-9c79-0e0c3d4b1a2f", "resource": GOAL, "request": {"method": "POST", "url": "Goal"}}]},
    {"resourceType": "Bundle", "type": "document", "identifier": {"system": "s:s", "value": "1"}, "timestamp": "2026-01-01T00:00:00Z",
     "entry": [{"fullUrl": "https://x.test/fhir/Goal/1", "resource": {**GOAL, "id": "1"}}]},
    {"resourceType": "QuestionnaireResponse", "status": "completed", "questionnaire": "https://q.test/q",
     "item": [YES, {"linkId": "packs", "answer": [{"valueDecimal": 2}]}, {"linkId": "mood", "answer": [{"valueCoding": {"code": "x"}}]}]},
    ASKED,
    {"resourceType": "Patient", "name": [{"given": ["A"], "_given": [{"id": "x"}]}], "contact": [{"name": {"text": "x"}}],
     "telecom": [{"system": "phone", "value": "1"}], "multipleBirthInteger": 1},
    {"resourceType": "StructureDefinition", "kind": "resource", "type": "Goal",
     "snapshot": {"element": [{"id": "Goal", "path": "Goal", "min": 0, "max": "1", "type": [{"code": "Goal"}]}]}},
]  # fmt: skip
ODD = [None, "", "x", 0, -1, 1.5, True, [], {}, ["x"], [["x"]], [None], {"a": {}}, [{"id": 1}], {"coding": [[]]}, "#", {"url": {}}, [{"url": []}]]


def _places(node: Any) -> list[tuple[Any, Any]]:
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [place for key, value in inner for place in ((node, key), *_places(value))]


@pytest.mark.parametrize("at", range(len(RICH)))
def test_anything_anywhere_gets_a_verdict_never_an_exception(at: int) -> None:
    """Every place of every resource, replaced by every odd value: exhaustively."""
    for n in range(len(_places(RICH[at]))):
        for odd in ODD:
            changed = json.loads(json.dumps(RICH[at]))
            holder, key = _places(changed)[n]
            holder[key] = odd
            assert isinstance(check(changed, R4, questionnaire=ASKED), list)
            assert isinstance(policy(changed, R4), list)
            check({"resourceType": "QuestionnaireResponse", "status": "completed", "item": RICH[4]["item"]}, R4, questionnaire=changed)
