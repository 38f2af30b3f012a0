"""The filtered view on real resources: narrative and words about other parts of a record reach the person and the writer, nobody else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import Gateway

TELLS = "what only the two of us talked about"


def telling(demo: Gateway, goal: str, task: str) -> dict[str, Any]:
    """An Observation whose narrative and whose display and identifier of a Goal and a Task say more than itself."""
    return {
        "resourceType": "Observation", "status": "final", "code": {"text": "Weight"}, "valueString": "62 kg",
        "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">Weight, and {TELLS}</div>'},
        "subject": {"reference": f"Patient/{demo.patient}", "display": "Amina Example"},
        "performer": [{"reference": demo.persona("gp")["fhirUser"], "display": "Dr Asha Patel"}],
        "focus": [{"reference": f"Goal/{goal}", "display": f"Goal: {TELLS}"}],
        "hasMember": [{"reference": "QuestionnaireResponse/not-here", "display": f"Answers: {TELLS}"}],
        "basedOn": [{"type": "ServiceRequest", "identifier": {"system": "urn:test", "value": TELLS}}],
        "derivedFrom": [{"reference": f"Observation/{task}", "identifier": {"value": TELLS}}],
    }  # fmt: skip


@pytest.fixture(scope="module")
def told(demo: Gateway) -> dict[str, Any]:
    goal = demo.get("hospital", f"Goal?patient={demo.patient}").json()["entry"][0]["resource"]["id"]
    made = demo.call("hospital", "POST", "Observation", body=telling(demo, goal, "0198c0de-0000-7000-8000-000000000000"))
    assert made.status_code == 201, made.text
    out: dict[str, Any] = made.json()
    return out


@pytest.mark.parametrize("who", ["patient", "hospital"])
def test_the_person_and_the_writer_get_it_as_sent(demo: Gateway, told: dict[str, Any], who: str) -> None:
    assert demo.get(who, f"Observation/{told['id']}").text.count(TELLS) == 5


@pytest.mark.parametrize("who", ["gp", "social-worker", "proxy"])
@pytest.mark.parametrize("path", ["Observation/{id}", "Observation/{id}/_history/1", "Observation/{id}/_history", "Observation?_id={id}"])
def test_everybody_else_gets_the_view(demo: Gateway, told: dict[str, Any], who: str, path: str) -> None:
    answer = demo.get(who, path.format(id=told["id"]))
    assert answer.status_code == 200 and TELLS not in answer.text
    body = answer.json()
    seen = body["entry"][0]["resource"] if body["resourceType"] == "Bundle" else body
    assert "text" not in seen and seen["valueString"] == "62 kg"
    assert seen["focus"] == [{"reference": told["focus"][0]["reference"]}], "the opaque id stays"
    assert seen["hasMember"] == [{"reference": "QuestionnaireResponse/not-here"}]
    assert seen["derivedFrom"] == [{"reference": told["derivedFrom"][0]["reference"]}]
    assert seen["basedOn"][0]["type"] == "ServiceRequest" and "masked" in json.dumps(seen["basedOn"])
    assert seen["subject"] == told["subject"] and seen["performer"] == told["performer"]


def test_the_view_is_what_everything_and_includes_give_too(demo: Gateway, told: dict[str, Any]) -> None:
    for path in (f"Patient/{demo.patient}/$everything", f"Goal?patient={demo.patient}&_revinclude=Observation:focus"):
        answer = demo.get("gp", path)
        assert answer.status_code == 200 and told["id"] in answer.text and TELLS not in answer.text
        assert TELLS in demo.get("patient", path).text


def test_an_edit_of_the_view_keeps_what_it_held_back(demo: Gateway, told: dict[str, Any]) -> None:
    read = demo.get("gp", f"Observation/{told['id']}")
    edited = read.json() | {"valueString": "61 kg"}
    put = demo.call("hospital", "PUT", f"Observation/{told['id']}", body=edited, headers={"If-Match": read.headers["etag"]})
    assert put.status_code == 200, put.text
    made = demo.call("hospital", "POST", "Observation", body=telling(demo, "x", "y"))
    view = demo.get("gp", f"Observation/{made.json()['id']}")
    note = view.json() | {"note": [{"text": "Seen"}]}
    put = demo.call("gp", "PUT", f"Observation/{made.json()['id']}", body=note, headers={"If-Match": view.headers["etag"]})
    assert put.status_code == 200 and TELLS not in put.text, put.text
    assert demo.get("patient", f"Observation/{made.json()['id']}").text.count(TELLS) == 5
