"""Free text that may name what is private: a hint to whoever writes it, in their own words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_gateway.domain.speaking import TOPICS, topics, unlabelled

from .conftest import Gateway

ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


def goal(text: str, *labels: str) -> dict[str, Any]:
    meta = {"meta": {"security": [{"system": ACT, "code": c} for c in labels]}} if labels else {}
    return {"resourceType": "Goal", "description": {"text": text}, **meta}


@pytest.mark.parametrize(
    ("text", "topic"),
    [("Feeling depressed since May", "mental health"), ("Start methadone", "alcohol and drugs"), ("HIV clinic", "sexual health"), ("Moved to a refuge", "violence and abuse")],
)
def test_words_that_speak_of_something_private_are_named_where_they_stand(text: str, topic: str) -> None:
    (hint,) = unlabelled(goal(text))
    assert hint.severity == "warning" and hint.where == "Goal.description.text" and topic in hint.text
    assert topics(goal(text)) == [topic]


@pytest.mark.parametrize("text", ["Walk to the shop", "She aided the talks", "Refugee week", "Drink more water", "The shivering stopped"])
def test_ordinary_words_are_left_alone(text: str) -> None:
    assert not unlabelled(goal(text))


def test_a_label_that_covers_it_ends_the_hint() -> None:
    assert not unlabelled(goal("Start methadone", "SUD")) and not unlabelled(goal("Start methadone", "OPIOIDUD"))
    assert unlabelled(goal("Start methadone", "SEX"))


def test_codes_are_not_words() -> None:
    coded = {"resourceType": "Condition", "code": {"coding": [{"system": "http://snomed.info/sct", "code": "1", "display": "HIV"}]}}
    assert not unlabelled(coded)


@given(st.text(max_size=200))
def test_a_hint_quotes_the_writers_words_alone(text: str) -> None:
    for hint in unlabelled(goal(text)):
        quoted = hint.text.split("`")[1]
        assert quoted in text and any(topic in hint.text for topic in TOPICS)


def test_the_writer_is_told_where_they_ask_for_an_outcome(demo: Gateway) -> None:
    body = goal("Drinks too much") | {"lifecycleStatus": "active", "subject": {"reference": f"Patient/{demo.patient}"}}
    said = demo.call("gp", "POST", "Goal", body=body, headers={"Prefer": "return=OperationOutcome"}).json()
    assert [i["severity"] for i in said["issue"]] == ["information", "warning"]
    assert said["issue"][1]["expression"] == ["Goal.description.text"] and "Drinks too much" in said["issue"][1]["diagnostics"]
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [{"resource": body, "request": {"method": "POST", "url": "Goal"}}]}
    told = demo.call("gp", "POST", "", body=batch, headers={"Prefer": "return=OperationOutcome"}).json()
    assert len(told["entry"][0]["response"]["outcome"]["issue"]) == 2
