"""Part of a resource: never more than it was, always marked, and always valid in what must be there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_gateway import definitions
from fhir_gateway.domain import strict, summary
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.summary import Part

R4 = definitions.load_r4()
PATIENT = {
    "resourceType": "Patient", "id": "1", "meta": {"versionId": "3", "tag": [{"code": "mine"}]}, "implicitRules": "urn:x",
    "text": {"status": "generated", "div": "<div/>"}, "modifierExtension": [{"url": "urn:m", "valueBoolean": True}], "extension": [{"url": "u"}],
    "active": True, "name": [{"family": "Example"}], "birthDate": "1951", "_birthDate": {"id": "b"}, "deceasedBoolean": False,
    "contact": [{"name": {"family": "K"}}], "communication": [{"language": {"text": "en"}}],
    "link": [{"other": {"reference": "Patient/2"}, "type": "refer", "extension": [{"url": "u"}]}],
}  # fmt: skip


def part(**asked: object) -> dict[str, object]:
    return summary.reduced(PATIENT, Part(**asked), R4)  # type: ignore[arg-type]


def test_summary_true_keeps_what_r4_marks_and_what_changes_the_meaning() -> None:
    kept = part(summary="true")
    assert kept.keys() == PATIENT.keys() - {"text", "contact", "communication", "extension"}
    assert kept["link"] == [{"other": {"reference": "Patient/2"}, "type": "refer"}]


def test_summary_text_and_data() -> None:
    assert part(summary="text").keys() == {"resourceType", "id", "meta", "implicitRules", "modifierExtension", "text"}
    assert part(summary="data").keys() == PATIENT.keys() - {"text"}


def test_elements_are_named_by_name_by_type_and_by_stem_with_their_twins() -> None:
    always = {"resourceType", "id", "meta", "implicitRules", "modifierExtension", "active", "link", "deceasedBoolean"}  # R4's modifiers among them
    assert part(elements=("birthDate",)).keys() == always | {"birthDate", "_birthDate"}
    assert part(elements=("Patient.name.family", "Goal.note")).keys() == always | {"name"}
    assert part(elements=("deceased",)).keys() == always
    assert part(elements=("bogus",)).keys() == always
    observation = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "valueQuantity": {"value": 1}, "valueless": 1}
    assert summary.reduced(observation, Part("", ("value",)), R4).keys() == {"resourceType", "meta", "status", "code", "valueQuantity"}


def test_every_part_is_marked_alike_and_known_again() -> None:
    for asked in (Part("true"), Part("text"), Part("data"), Part("", ("name",)), Part("true", ("name",))):
        for resource in (PATIENT, {"resourceType": "Patient"}):
            small = summary.reduced(resource, asked, R4)
            assert small["meta"]["tag"][-1] == summary.SUBSETTED and summary.is_subset(small)
            assert summary.reduced(small, asked, R4) == small
    assert not summary.is_subset(PATIENT) and not summary.is_subset({"meta": {"tag": "x"}})


def test_digits_stay() -> None:
    raw = b'{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.50}}'
    assert b'"value":1.50' in summary.render(raw, Part("data"), R4)
    assert summary.render(raw, Part(), R4) is raw


@pytest.mark.parametrize("params", [[("_summary", "bogus")], [("_summary", "count")]])
def test_what_is_no_summary_is_refused(params: list[tuple[str, str]]) -> None:
    with pytest.raises(Problem) as wrong:
        summary.asked(params, one=True)
    assert wrong.value.status == 400
    assert summary.asked([("_summary", ""), ("_elements", ",")], one=True) == Part()


@given(
    st.sampled_from(["", "true", "text", "data"]),
    st.lists(st.sampled_from(["name", "text", "contact", "Patient.link", "meta", "*", "", ".", "contained"]), max_size=3),
)
def test_a_part_is_never_more_than_the_whole(kind: str, elements: list[str]) -> None:
    small = part(summary=kind, elements=tuple(elements))
    assert {k: v for k, v in small.items() if k not in ("meta", "link")} == {k: PATIENT[k] for k in small if k not in ("meta", "link")}


def test_every_official_example_has_its_mandatory_elements_in_every_part(shared: Path) -> None:
    files = sorted((shared / "data/examples").rglob("*.json"))[:400:8]
    assert files
    tried = 0
    for file in files:
        resource = json.loads(file.read_text())
        if not isinstance(resource, dict) or not R4.has_type(str(resource.get("resourceType"))):
            continue
        must = {n for n, e in R4.type(resource["resourceType"]).children() if e.min > 0 and n in resource}
        for asked in (Part("true"), Part("text"), Part("data"), Part("", ("id",))):
            small = json.loads(summary.render(strict.dump(strict.read(strict.dump(resource))), asked, R4))
            assert must <= small.keys(), (file.name, asked)
        tried += 1
    assert tried > 10
