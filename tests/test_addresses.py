"""An address of a record here is called there as a reference to it is, or is not there; and back. docs/sync.md"""

from __future__ import annotations

from typing import Any

import pytest

from fhir_gateway.definitions import load_r4
from fhir_gateway.domain.addresses import Sides, readdressed
from fhir_gateway.domain.spelling import spelled_as
from fhir_gateway.domain.view import MASKED

R4 = load_r4()
OURS, THEIRS = "https://gw.example/fhir", "https://hub.example/r4"
NAMES = {"Binary/1": "Binary/t1", "Goal/2": "Goal/t2"}


def out(body: dict[str, Any]) -> dict[str, Any]:
    sides = Sides(R4, OURS, THEIRS)
    return readdressed(body, R4, lambda text: sides.sent(text, NAMES))


def back(body: dict[str, Any]) -> dict[str, Any]:
    sides, names = Sides(R4, OURS, THEIRS), {theirs: ours for ours, theirs in NAMES.items()}
    return readdressed(body, R4, lambda text: sides.came(text, names))


@pytest.mark.parametrize(("ours", "theirs"), [
    ("Binary/1", "Binary/t1"), (f"{OURS}/Binary/1", "Binary/t1"), ("Binary/1/_history/3", "Binary/t1"), ("Goal/2#part", "Goal/t2#part"),
    ("Binary/9", None), (f"{OURS}/Binary/9", None), ("CarePlan/7/$document", None), ("Binary/1/$more", None), (f"{OURS}/Goal?_id=2", None), (OURS, None),
    ("https://elsewhere.example/Binary/1", "https://elsewhere.example/Binary/1"), ("leaflet/1", "leaflet/1"), ("#part", "#part"), (f"{THEIRS}/Binary/t5", "Binary/t5"),
])  # fmt: skip
def test_what_an_address_of_ours_is_there(ours: str, theirs: str | None) -> None:
    assert Sides(R4, OURS, THEIRS).sent(ours, NAMES) == theirs


@pytest.mark.parametrize(("theirs", "ours"), [
    ("Binary/t1", "Binary/1"), (f"{THEIRS}/Binary/t1", "Binary/1"), ("Binary/t1/_history/3", "Binary/1"), ("Binary/1", f"{THEIRS}/Binary/1"), ("Binary/t1/$more", f"{THEIRS}/Binary/t1/$more"),
    (f"{OURS}/Binary/1", f"{OURS}/Binary/1"), ("https://elsewhere.example/Binary/1", "https://elsewhere.example/Binary/1"), ("leaflet/1", "leaflet/1"),
])  # fmt: skip
def test_what_an_address_of_theirs_is_here(theirs: str, ours: str) -> None:
    names = {theirs: ours for ours, theirs in NAMES.items()}
    assert Sides(R4, OURS, THEIRS).came(theirs, names) == ours


def test_every_place_of_an_address_is_known_and_nothing_else_is_one() -> None:
    body: dict[str, Any] = {
        "resourceType": "CarePlan",
        "text": {"status": "generated", "div": '<div><a href="Binary/1">a</a><img src="Binary/9"/></div>'},
        "contained": [{"resourceType": "DocumentReference", "id": "d", "content": [{"attachment": {"url": "Binary/9", "title": "Binary/9"}}]}],
        "extension": [{"url": "Goal/9", "valueUri": "Goal/2"}, {"url": "http://x.example/e", "extension": [{"url": "Goal/9", "valueUrl": "Goal/9"}]}],
        "identifier": [{"system": f"{OURS}/Goal/9", "value": "Goal/9"}],
        "instantiatesUri": ["Goal/9", "Goal/2", f"{OURS}/Goal/9"], "_instantiatesUri": [{"id": "a"}, {"id": "b"}, None],
        "instantiatesCanonical": [f"{OURS}/PlanDefinition/9|2"],
        "activity": [{"detail": {"instantiatesUri": ["Goal/9"], "status": "completed"}}],
    }  # fmt: skip
    masked = {"extension": [MASKED]}
    assert out(body) == {
        **body,
        "text": {"status": "generated", "div": '<div><a href="Binary/t1">a</a><img src="#"/></div>'},
        "contained": [{"resourceType": "DocumentReference", "id": "d", "content": [{"attachment": {"_url": masked, "title": "Binary/9"}}]}],
        "extension": [{"url": "Goal/9", "valueUri": "Goal/t2"}, {"url": "http://x.example/e", "extension": [{"url": "Goal/9", "_valueUrl": masked}]}],
        "instantiatesUri": ["Goal/t2"], "_instantiatesUri": [{"id": "b"}],
        "activity": [{"detail": {"status": "completed"}}],
    }  # fmt: skip
    assert out({"resourceType": "QuestionnaireResponse", "questionnaire": "Questionnaire/5|2"})["_questionnaire"] == masked


def test_what_is_changed_nowhere_is_the_same_and_what_came_goes_back_as_it_was_spelled() -> None:
    plain = {"resourceType": "Goal", "note": [{"text": "a/b"}]}
    assert out(plain) is plain
    theirs = {"resourceType": "DocumentReference", "content": [{"attachment": {"url": u}} for u in ("Binary/t1", f"{THEIRS}/Binary/t1", "Binary/t8/_history/2", f"{THEIRS}/Binary/t9")]}
    ours = back(theirs)
    assert [c["attachment"]["url"] for c in ours["content"]] == ["Binary/1", "Binary/1", f"{THEIRS}/Binary/t8/_history/2", f"{THEIRS}/Binary/t9"]
    assert spelled_as(out(ours), theirs, THEIRS) == theirs
