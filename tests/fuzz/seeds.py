"""Where each harness begins: right examples, from the project's own cases and from a few written here."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

from ..worlds import Dice, a_consent

CASES = Path(__file__).parent.parent / "cases"
XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'
REFERENCE = {"reference": "Patient/p1"}
GOAL: dict[str, Any] = {
    "resourceType": "Goal", "id": "g1", "meta": {"versionId": "1", "lastUpdated": "2026-11-26T00:00:00Z", "tag": [{"system": "urn:t", "code": "a"}]},
    "text": {"status": "generated", "div": f"<div {XHTML}>Sing</div>"}, "identifier": [{"system": "urn:test", "value": "1"}, {"value": "2"}],
    "lifecycleStatus": "active", "description": {"text": "Sing", "_text": {"extension": [{"url": "urn:a", "valueString": "b"}]}}, "subject": REFERENCE,
    "startDate": "2026-11", "target": [{"measure": {"text": "minutes"}, "detailQuantity": {"value": 1.50, "unit": "min"}, "dueDate": "2027-02-28"}],
    "note": [{"text": "On Mondays", "time": "2026-11-26T10:00:00+00:00", "authorReference": REFERENCE}],
    "contained": [{"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"}}],
    "addresses": [{"reference": "#o"}],
}  # fmt: skip
QUESTIONNAIRE: dict[str, Any] = {
    "resourceType": "Questionnaire", "url": "urn:test:q", "status": "active",
    "item": [
        {"linkId": "1", "text": "How are you?", "type": "string", "required": True, "maxLength": 20},
        {"linkId": "2", "type": "group", "repeats": True, "item": [
            {"linkId": "2.1", "type": "choice", "answerOption": [{"valueCoding": {"system": "urn:s", "code": "a"}}, {"valueString": "b"}, {"valueInteger": 3}]},
            {"linkId": "2.2", "type": "decimal", "enableWhen": [{"question": "2.1", "operator": "=", "answerCoding": {"system": "urn:s", "code": "a"}}]},
            {"linkId": "2.3", "type": "date", "enableWhen": [{"question": "2.2", "operator": ">", "answerDecimal": 1.5}], "enableBehavior": "any"},
        ]},
        {"linkId": "3", "type": "quantity"}, {"linkId": "4", "type": "dateTime"}, {"linkId": "5", "type": "boolean", "item": [{"linkId": "5.1", "type": "time"}]},
    ],
}  # fmt: skip
RESPONSE: dict[str, Any] = {
    "resourceType": "QuestionnaireResponse", "questionnaire": "urn:test:q", "status": "completed", "subject": REFERENCE, "authored": "2026-11-26",
    "item": [
        {"linkId": "1", "text": "How are you?", "answer": [{"valueString": "Well"}]},
        {"linkId": "2", "item": [
            {"linkId": "2.1", "answer": [{"valueCoding": {"system": "urn:s", "code": "a"}}]},
            {"linkId": "2.2", "answer": [{"valueDecimal": 2.50}]}, {"linkId": "2.3", "answer": [{"valueDate": "2026-11-26"}]},
        ]},
        {"linkId": "3", "answer": [{"valueQuantity": {"value": 1, "unit": "kg"}}]}, {"linkId": "4", "answer": [{"valueDateTime": "2026-11-26T10:00:00Z"}]},
        {"linkId": "5", "answer": [{"valueBoolean": True, "item": [{"linkId": "5.1", "answer": [{"valueTime": "10:00:00"}]}]}]},
    ],
}  # fmt: skip
SEARCHES = (
    "Goal?patient=p1&lifecycle-status=active&_count=5&_sort=-start-date&_total=accurate", "Goal?identifier=urn:test|1,|2&_summary=text",
    "Goal?target-date=ge2026-11-01T10:00:00%2B01:00&start-date=ap2026", "Goal?patient.name:exact=Si%C3%A2n&_has:CarePlan:goal:status=active",
    "Observation?value-quantity=gt5.40e-3|http://unitsofmeasure.org|mg&code-value-quantity=http://loinc.org|8867-4$lt60&date=2026",
    "CarePlan?_include=CarePlan:goal&_revinclude:iterate=Provenance:target&subject:Patient.birthdate=lt1950&category:in=urn:v",
    "?_type=Goal,CarePlan&_lastUpdated=gt2026&_id=a,b&_tag:not=x", "Questionnaire?url:below=http://a/b&_elements=id,name", "Goal?description:missing=true&_format=json",
    "RiskAssessment?probability=0.5&_source=urn:x&_profile:above=http://a", "Patient?name:contains=a%5C,b&identifier:of-type=http://a|MR|1&_security=R",
)  # fmt: skip
PARTNER = (CASES / "partners" / "ward.yaml").read_bytes()


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def consents() -> list[bytes]:
    """Every element of a Consent, three rules deep."""
    more = {"category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}], "policy": [{"uri": "urn:test:policy"}]}
    return [dumped({"resourceType": "Consent", **more, **a_consent(Dice(seed))}) for seed in range(12)]


def pathpatches() -> list[bytes]:
    def operation(type: str, path: str, *parts: dict[str, Any]) -> dict[str, Any]:
        said = [{"name": "type", "valueCode": type}, {"name": "path", "valueString": path}, *parts]
        return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": said}]}

    def whole(name: str, value: int) -> dict[str, Any]:
        return {"name": name, "valueInteger": value}

    value = {"name": "value", "valueString": "Dance"}
    return [dumped(o) for o in (
        operation("replace", "Goal.description.text", value), operation("delete", "Goal.note.where(text = 'On Mondays' and time.exists())"),
        operation("add", "Goal.target[0]", {"name": "name", "valueString": "due"}, {"name": "value", "valueDate": "2026-11-26"}),
        operation("insert", "Goal.identifier", whole("index", 0), {"name": "value", "valueIdentifier": {"value": "3"}}),
        operation("move", "Goal.identifier", whole("source", 0), whole("destination", 1)),
        operation("add", "Goal", {"name": "name", "valueString": "note"}, {"name": "value", "part": [{"name": "text", "valueMarkdown": "x"}]}),
        operation("delete", "Goal.target.detail.ofType(Quantity).value"), operation("replace", "(Goal.target.first().due as date)", {"name": "value", "valueDate": "2027"}),
        operation("delete", "Goal.description.text.extension('urn:a')"), operation("replace", "Goal.contained.where(id='o').code.text", value),
    )]  # fmt: skip


def patches() -> list[bytes]:
    return [dumped(p) for p in (
        [{"op": "replace", "path": "/description/text", "value": "Dance"}, {"op": "test", "path": "/lifecycleStatus", "value": "active"}],
        [{"op": "add", "path": "/identifier/-", "value": {"value": "3"}}, {"op": "remove", "path": "/note/0"}],
        [{"op": "move", "from": "/identifier/0", "path": "/identifier/1"}, {"op": "copy", "from": "/target", "path": "/a~1b~0c"}],
        [{"op": "replace", "path": "", "value": {}}], [{"op": "remove", "path": ""}, {"op": "add", "path": "", "value": [1]}],
    )]  # fmt: skip


def narratives() -> list[bytes]:
    inner = (
        "Sing", "<p>a <b>b</b><br/></p><a href='https://example.org' title='x'>y</a>", "<table><tbody><tr><td colspan='2'>&#8220;x&#8221;</td></tr></tbody></table>",
        "<ul><li><a name='n'/><a href='#n'>n</a></li></ul><img src='data:image/png;base64,AA==' alt='' style='color: red'/>", "<!-- c --><![CDATA[<script>]]>",
    )  # fmt: skip
    return [f"<div {XHTML}>{i}</div>".encode() for i in inner]


def plans() -> list[bytes]:
    return [p.read_bytes() for p in sorted((CASES / "plans").glob("*.json"))] + [(CASES / "web" / "plan.json").read_bytes()]


def some_bytes(seed: int) -> bytes:
    return Random(seed).randbytes(40)
