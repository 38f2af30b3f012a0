"""Labels: found by code, joined, never lowered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_gateway.definitions import load_r4
from fhir_gateway.domain.labels import Labels, LabelSets, expand, label, lowered, read
from fhir_gateway.domain.types import CONFIDENTIALITY
from fhir_gateway.domain.validate import check
from fhir_gateway.domain.vocabulary import ACT_CODE, CONFIDENTIALITY_SYSTEM, LEGAL_SYSTEM, most_specific

SETS = LabelSets.load((Path(__file__).parents[1] / "profiles" / "labels.json").read_bytes())
SNOMED, ICD = "http://snomed.info/sct", "http://hl7.org/fhir/sid/icd-10"
OURS = "https://fhir-gateway.example/CodeSystem/sensitivity"


def coded(system: str, code: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Condition", "code": {"coding": [{"system": system, "code": code}]}, **more}


def security(*codes: tuple[str, str]) -> dict[str, Any]:
    return {"meta": {"security": [{"system": s, "code": c} for s, c in codes]}}


def test_an_ordinary_resource_is_normal_and_gets_no_label():
    found = label(coded(SNOMED, "13645005"), SETS)
    assert (found.confidentiality, found.sensitivity, found.security) == ("N", frozenset(), [])


def test_until_labelling_has_run_everything_is_restricted():
    assert Labels().confidentiality == "R"


@pytest.mark.parametrize(
    ("system", "code", "sensitivity"),
    [
        (SNOMED, "35489007", {"MH", "BH", "SPI"}),
        (ICD, "F32.1", {"MH", "BH", "SPI"}),
        (ICD, "F20", {"PSY", "BH", "SPI"}),
        (ICD, "F10.2", {"ETHUD", "ETH", "SUD", "BH", "SPI"}),
        (SNOMED, "75544000", {"OPIOIDUD", "SUD", "BH", "SPI"}),
        (SNOMED, "76272004", {"STD"}),
        (ICD, "B20", {"HIV"}),
        (SNOMED, "386639001", {"SEX"}),
        (SNOMED, "706893006", {"SDV"}),
        (SNOMED, "1362761000000103", {"SOCIAL"}),
    ],
)
def test_a_code_brings_its_sensitivity_and_every_set_it_belongs_to(system, code, sensitivity):
    found = label(coded(system, code), SETS)
    assert found.sensitivity == sensitivity
    assert found.confidentiality == "R"
    assert {c["code"] for c in found.security} == most_specific(found.sensitivity) | {"R"}


def test_a_code_of_another_system_or_one_that_only_begins_alike_brings_nothing():
    assert label(coded("http://example.org", "F20"), SETS).security == []
    assert label(coded(ICD, "B2"), SETS).security == []
    assert label(coded(SNOMED, "354890070"), SETS).security == []


def test_legal_restrictions_are_no_sensitivity_and_imply_restricted():
    found = label(coded(ICD, "Z31.2"), SETS)
    assert (found.confidentiality, found.legal, found.sensitivity) == ("R", {"HFEA"}, frozenset())
    assert {"system": LEGAL_SYSTEM, "code": "HFEA"}.items() <= found.security[1].items()


def test_codes_at_any_depth_and_in_what_is_contained_count_but_not_those_in_meta():
    deep = {
        "resourceType": "QuestionnaireResponse",
        "item": [{"item": [{"answer": [{"valueCoding": {"system": ICD, "code": "F41"}}]}]}],
    }
    assert "MH" in label(deep, SETS).sensitivity
    assert "MH" in label({"resourceType": "CarePlan", "contained": [coded(ICD, "F41")]}, SETS).sensitivity
    assert label({"resourceType": "Goal", "meta": {"tag": [{"system": ICD, "code": "F41"}]}}, SETS).security == []


def test_labels_that_came_and_those_that_were_there_are_joined():
    came = security((CONFIDENTIALITY_SYSTEM, "N"), (ACT_CODE, "NOPAT"))
    earlier = security((CONFIDENTIALITY_SYSTEM, "V"), (ACT_CODE, "SDV"))["meta"]["security"]
    found = label({"resourceType": "Goal", **came}, SETS, earlier=earlier)
    assert (found.confidentiality, found.sensitivity, found.other) == ("V", {"SDV"}, {f"{ACT_CODE}|NOPAT"})
    assert [c["code"] for c in found.security] == ["V", "SDV", "NOPAT"]


@pytest.mark.parametrize("said", ["U", "L", "M"])
def test_less_than_normal_is_kept_as_said_and_counts_as_normal(said):
    found = label({"resourceType": "Patient", **security((CONFIDENTIALITY_SYSTEM, said))}, SETS)
    assert found.confidentiality == "N" and [c["code"] for c in found.security] == [said]


def test_the_high_water_mark_of_what_is_contained():
    inside = {
        "resourceType": "Bundle",
        "entry": [{"resource": {"resourceType": "Goal", **security((CONFIDENTIALITY_SYSTEM, "V"))}}],
    }
    assert label(inside, SETS).confidentiality == "V"


# -- laws -------------------------------------------------------------------------------------------------------------

codings = st.lists(
    st.one_of(
        st.sampled_from(["U", "L", "M", "N", "R", "V"]).map(lambda c: {"system": CONFIDENTIALITY_SYSTEM, "code": c}),
        st.sampled_from(["MH", "ETHUD", "SUD", "SPI", "HIV", "NOPAT", "TBOO"]).map(lambda c: {"system": ACT_CODE, "code": c}),
        st.sampled_from(["HFEA", "GRA"]).map(lambda c: {"system": LEGAL_SYSTEM, "code": c}),
        st.just({"system": OURS, "code": "SOCIAL"}),
    ),
    max_size=5,
)
codes = st.sampled_from([(SNOMED, "35489007"), (ICD, "B20"), (ICD, "Z31.1"), (SNOMED, "13645005")])


@given(codings, codings, codes)
def test_labels_never_fall(earlier, came, code):
    before = read(earlier)
    after = label(coded(*code, meta={"security": came}), SETS, earlier=before.security)
    assert not lowered(before, after)


@given(codings, codes)
def test_labelling_twice_is_labelling_once(came, code):
    once = label(coded(*code, meta={"security": came}), SETS)
    assert label(coded(*code, meta={"security": once.security}), SETS, earlier=once.security) == once


@given(codings)
def test_the_order_of_labels_does_not_matter(came):
    a, b = read(came), read(came[::-1])
    assert (a.confidentiality, a.sensitivity, a.legal, a.other) == (b.confidentiality, b.sensitivity, b.legal, b.other)


@given(codings)
def test_a_sensitivity_implies_restricted(came):
    found = read(came)
    if found.sensitivity or found.legal:
        assert CONFIDENTIALITY[found.confidentiality] >= CONFIDENTIALITY["R"]


@given(codings, codings)
def test_fewer_labels_are_lower(a, b):
    both = read([*a, *b])
    assert not lowered(read(a), both)
    assert lowered(both, read(a)) == (
        (both.confidentiality, both.sensitivity, both.legal, both.other)
        != (read(a).confidentiality, read(a).sensitivity, read(a).legal, read(a).other)
    )


@given(st.sets(st.sampled_from(["MH", "ETHUD", "OPIOIDUD", "HIV", "PSY"])))
def test_expanding_adds_sets_only_and_can_be_undone(leaves):
    assert most_specific(expand(leaves)) == leaves
    assert expand(expand(leaves)) == expand(leaves)


# -- the value sets ---------------------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[1]
VALUE_SETS = [e["resource"] for e in json.loads((ROOT / "profiles" / "labels.json").read_bytes())["entry"]]


@pytest.mark.parametrize("value_set", VALUE_SETS, ids=lambda v: v["id"])
def test_a_value_set_is_valid_r4_and_on_the_page(value_set):
    assert not [i for i in check(value_set, load_r4()) if i.severity in ("error", "fatal")]
    assert f"`{value_set['id']}`" in (ROOT / "docs" / "labels.md").read_text()
    concepts = [c for i in value_set.get("compose", {}).get("include", ()) for c in i.get("concept", ())]
    assert all(c["display"] and c["extension"][0]["valueString"] for c in concepts), "each code says where it is from"
    assert len({c["code"] for c in concepts}) == len(concepts)


def test_every_topic_of_the_specification_has_a_value_set():
    assert {"MH", "SEX", "SUD", "SOCIAL", "SDV", "VIO", "HIV", "STD", "CHILD", "HFEA", "GRA"} <= {
        v["useContext"][0]["valueCodeableConcept"]["coding"][0]["code"] for v in VALUE_SETS
    }


def test_without_value_sets_everything_counts_as_restricted_and_nothing_is_written_into_it():
    found = label({"resourceType": "Goal"}, LabelSets())
    assert (found.confidentiality, found.security, found.labelled) == ("R", [], "")
    assert label({"resourceType": "Goal", **security((CONFIDENTIALITY_SYSTEM, "V"))}, LabelSets()).confidentiality == "V"


@given(codings, codes)
def test_what_was_taken_off_is_not_brought_back_by_its_codes_but_by_hand(came, code):
    off = frozenset("|".join(x) for x in SETS.of(*code))
    assert not {f"{c['system']}|{c['code']}" for c in label(coded(*code), SETS, declassified=off).security} & off
    again = label(coded(*code, meta={"security": came}), SETS, declassified=off)
    assert again.declassified == off - {f"{c['system']}|{c['code']}" for c in came}


def test_each_snomed_code_says_by_what_its_name_was_checked_and_the_page_counts_them() -> None:
    page = (ROOT / "docs" / "labels.md").read_text()
    for value_set in VALUE_SETS:
        counts = [0, 0, 0, 0]
        for include in value_set.get("compose", {}).get("include", []):
            for concept in include.get("concept", []) if include["system"] == "http://snomed.info/sct" else []:
                (said,) = [e["valueString"] for e in concept["extension"]]
                kind = next(n for n, start in enumerate(("Display as in", "Name as in", "Name as in several public code lists", "Not checked")) if said.startswith(start))
                counts[2 if "several" in said else kind] += 1
        (line,) = [row for row in page.splitlines() if row.startswith(f"| [`{value_set['id']}`]")]
        assert [int(n) for n in line.split(" | ")[3:7]] == counts, line
