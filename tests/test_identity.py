"""Is a partner's record the same person: stories that a care professional can read, tests/cases/identity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway.domain.identity import NHS_NUMBER, is_nhs_number, unlike, which

TOLD = json.loads((Path(__file__).parent / "cases" / "identity" / "at-a-partner.json").read_text())


def patient(said: dict[str, Any]) -> dict[str, Any]:
    one = {**TOLD["ours"], **said}
    numbers = [{"system": NHS_NUMBER, "value": n, **({"use": one["use"]} if "use" in one else {})} for n in (one["number"], one.get("more")) if n]
    return {
        "resourceType": "Patient", "id": one.get("id", "ours"), "identifier": numbers, "name": [{"family": f} for f in one["families"]],
        **({"birthDate": one["born"]} if one["born"] else {}), **({"active": one["active"]} if "active" in one else {}),
        **({"link": [{"type": "replaced-by", "other": {"reference": f"Patient/{one['replaced_by']}"}}]} if "replaced_by" in one else {}),
    }  # fmt: skip


@pytest.mark.parametrize("case", TOLD["cases"], ids=lambda c: c["name"])
def test_whom_a_record_at_a_partner_is(case: dict[str, Any]) -> None:
    why, found = which(patient({}), [patient(p) for p in case["there"]])
    assert (f"wait: {why}" if why else f"same {found['id']}" if found else "make") == case["then"]


def test_the_last_digit_of_an_nhs_number_is_worked_out_from_the_others() -> None:
    """One digit that is another, or two that changed places, and it is none: what modulus 11 is for."""
    good = "9434765919"
    assert is_nhs_number(good)
    changed = {good[:n] + d + good[n + 1 :] for n in range(10) for d in "0123456789"} - {good}
    about = {good[:n] + good[n + 1] + good[n] + good[n + 2 :] for n in range(9)} - {good}
    assert [n for n in changed | about if is_nhs_number(n)] == []
    assert not any(map(is_nhs_number, ("", "0000000000", "943 476 5919", "٩٤٣٤٧٦٥٩١٩", "94347659190")))


def test_without_a_number_nobody_is_found() -> None:
    ours = {k: v for k, v in patient({}).items() if k != "identifier"}
    assert which(ours, [patient({"id": "1"})]) == ("", None)


def test_a_linked_record_that_becomes_somebody_elses_is_seen() -> None:
    ours = patient({})
    assert unlike(ours, patient({"id": "1", "families": ["Example", "Married"]})) == ""
    assert unlike(ours, {**patient({"id": "1"}), "name": []}) == "", "a name that is not sent says nothing"
    for change in ({"number": "9449305552"}, {"born": "1951-07-04"}, {"families": ["Other"]}, {"number": ""}):
        assert unlike(ours, patient({"id": "1", **change})) == "changed"
    assert unlike(ours, patient({"id": "1", "replaced_by": "2"})) == "merged"
    assert unlike(ours, patient({"id": "1", "active": False})) == "inactive"
    assert unlike(ours | {"active": False}, patient({"id": "1", "active": False})) == ""
