"""What a booklet says, from what one reader may see: nothing invented, nothing lost, whatever an odd plan holds."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_gateway import definitions
from fhir_gateway.domain import booklet as paper
from fhir_gateway.domain.booklet import basis, booklet, code, right_to_left

PLAN: dict[str, Any] = json.loads(definitions.demo_file("plan.json"))


def words(made: paper.Booklet) -> str:
    """Everything that is printed."""
    out = [made.title, made.name]
    for s in made.sections:
        out += [s.title, *s.words]
        for rows in (s.rows, *(t.rows for t in s.things)):
            out += [f"{r.label} {r.text}" for r in rows]
        for t in s.things:
            out += [t.text, t.state, *(f"{label} {' '.join(items)}" for label, items in t.lists)]
    return "\n".join(out)


def texts(node: Any) -> list[str]:
    """What a person wrote anywhere in a plan: values that are sentences, and no ids, codes and dates."""
    if isinstance(node, dict):
        return [t for k, v in node.items() if k not in ("id", "code", "type", "status", "kind", "role", "result", "unit", "address", "ethnicity", "email", "phone", "category") for t in texts(v)]
    if isinstance(node, list):
        return [t for v in node for t in texts(v)]
    return [node] if isinstance(node, str) and " " in node else []


def test_every_sentence_of_the_plan_is_on_the_paper_in_the_order_of_the_plan() -> None:
    said = words(booklet(PLAN, []))
    assert [t for t in texts({k: v for k, v in PLAN.items() if k not in paper.NOT_PRINTED}) if t.lower() not in said.lower()] == []
    titles = [s.key for s in booklet(PLAN, []).sections]
    assert titles == ["details", "about", "crisis", "needs", "goals", "actions", "people", "wishes", "papers", "money", "agreed"]
    assert "999 000 0018" in said and "£840.0" in said and "Leila Example (daughter), 07700 900019" in said, "whom to call stands with the number"
    assert "Invented Close" not in said and "NR99" not in said, "where somebody lives is not for a paper that can be lost"


def test_what_the_plans_format_does_not_know_is_printed_too() -> None:
    said = words(booklet({**PLAN, "x_folder_colour": "yellow", "x_story": {"summary": "It began with the move", "id": "f-1"}}, []))
    assert "Folder colour yellow" in said and "Summary: It began with the move" in said and "f-1" not in said


def test_services_barriers_risks_and_what_it_comes_from_have_their_places() -> None:
    said = words(booklet({
        **PLAN, "referrals": [{"text": "Falls clinic", "sent_by": "t-gp", "on": "2026-03-01", "status": "done"}], "barriers": [{"text": "The bus stops at six", "said_by": "person"}],
        "formulations": [{"text": "Since the fall she goes out less", "on": "2026-02-01"}], "risks": [{"of": "Falling", "tier": "high", "what_helps": "The rail"}],
    }, []))  # fmt: skip
    for there in ("Falls clinic", "Dr Asha Patel (GP) (2026-03-01)", "The bus stops at six", "Since the fall she goes out less", "Falling\nhigh", "What helps The rail"):
        assert there in said, there


def test_the_address_of_a_page_and_where_a_paper_lies_are_printed() -> None:
    page = "https://pages.example/inhaler"
    said = words(booklet({**PLAN, "documents": [{"title": "Using my inhaler", "link": page, "where": "In my folder, too"}], "media": [{"title": "My garden", "link": f"{page}/garden"}]}, []))
    assert f"{page}\nIn my folder, too" in said and f"{page}/garden" in said


def test_allergies_and_medicines_come_from_the_record() -> None:
    record = [
        {"resourceType": "AllergyIntolerance", "code": {"text": "Penicillin"}, "criticality": "high", "reaction": [{"manifestation": [{"text": "Swollen face"}]}]},
        {"resourceType": "AllergyIntolerance", "code": {"text": "Nuts"}, "verificationStatus": {"coding": [{"code": "refuted"}]}},
        {"resourceType": "MedicationStatement", "status": "active", "medicationCodeableConcept": {"text": "Paracetamol"}, "dosage": [{"text": "Two at night"}]},
        {"resourceType": "MedicationRequest", "status": "stopped", "medicationCodeableConcept": {"text": "Ibuprofen"}, "statusReason": {"text": "It hurt the stomach"}},
        {"resourceType": "MedicationStatement", "status": "entered-in-error", "medicationCodeableConcept": {"text": "Nobody's"}},
    ]
    made = booklet(PLAN, record)
    said = words(made)
    assert "Allergy: Penicillin" in said and "Swollen face" in said and "Nuts" not in said and "Nobody's" not in said
    (medicines,) = [s for s in made.sections if s.key == "medicines"]
    assert [(t.text, t.state) for t in medicines.things] == [("Paracetamol", ""), ("Ibuprofen", "Stopped")]
    assert [s.urgent for s in made.sections if s.key in ("warnings", "crisis")] == [True, True]
    (medicines,) = [s for s in booklet({**PLAN, "medicines": [{"text": "Ibuprofen", "how": "One at noon"}]}, record).sections if s.key == "medicines"]
    assert [(t.text, t.state) for t in medicines.things] == [("Ibuprofen", ""), ("Paracetamol", ""), ("Ibuprofen", "Stopped")], "that a hospital stopped it is told beside what the plan says"


ORDERED: dict[str, Any] = {"resourceType": "MedicationRequest", "status": "active", "medicationReference": {"reference": "Medication/m1"}, "dosageInstruction": [{"text": "One twice a day"}]}
APIXABAN = {"resourceType": "Medication", "id": "m1", "code": {"text": "Apixaban 5 mg"}}


def test_a_medicine_that_an_order_names_by_its_medication_is_called_so_and_compared_with_the_plan() -> None:
    def things(plan: dict[str, Any], record: list[dict[str, Any]]) -> list[Any]:
        return [t for s in booklet(plan, record).sections if s.key == "medicines" for t in s.things]

    inside = {**ORDERED, "medicationReference": {"reference": "#m1"}, "contained": [APIXABAN]}
    for record in ([ORDERED, APIXABAN], [inside], [{**ORDERED, "medicationReference": {"reference": "Medication/m1/_history/2"}}, APIXABAN]):
        assert [t.text for t in things(PLAN, record)] == ["Apixaban 5 mg"]
    (_taken, thing) = things({**PLAN, "medicines": [{"text": "Apixaban 5 mg", "status": "stopped"}]}, [ORDERED, APIXABAN])
    assert thing.rows[0].label == "The record says otherwise"
    assert basis(PLAN, [ORDERED, APIXABAN]) != basis(PLAN, [ORDERED, {**APIXABAN, "code": {"text": "Apixaban 2.5 mg"}}]), "the paper would be other"


def test_a_number_beside_a_name_that_runs_from_right_to_left_is_read_in_its_own_order() -> None:
    urdu = json.loads(json.dumps(PLAN).replace("Leila Example", "لیلیٰ"))
    assert "لیلیٰ (daughter), \u206607700 900019\u2069" in words(booklet(urdu, [])), "else a phone reads 900019 07700"


def test_an_id_that_leads_to_nobody_the_reader_sees_is_somebody() -> None:
    hidden = {**PLAN, "team": []}
    said = words(booklet(hidden, [], own=False))
    assert "t-sw" not in said and "Somebody" in said and "Said by Amina Example" in said, "to another reader the person is not `Me`"


def test_a_version_has_another_name_exactly_when_the_paper_would_be_other() -> None:
    same = json.loads(json.dumps(PLAN))
    assert basis(PLAN, []) == basis(dict(reversed(list(same.items()))), []), "the order of keys is no change"
    assert basis({**PLAN, "measurements": []}, []) == basis(PLAN, []), "a reading is not printed"
    same["goals"][0]["text"] += "!"
    assert basis(same, []) != basis(PLAN, [])
    allergy = {"resourceType": "AllergyIntolerance", "id": "1", "meta": {"versionId": "1"}, "code": {"text": "Nuts"}}
    assert basis(PLAN, [allergy]) != basis(PLAN, []) and basis(PLAN, [allergy]) == basis(PLAN, [{**allergy, "meta": {"versionId": "2"}}])
    assert code("7f3a21c8" + "0" * 24) == "7F3A-21C8"


def test_large_print_is_for_who_asked_for_it() -> None:
    assert booklet(PLAN, []).large and not booklet(PLAN, [], own=False).large
    assert not booklet({**PLAN, "person": {}}, []).large


def test_a_text_runs_as_its_first_letter_does() -> None:
    assert right_to_left("(1) میرے خاندان") and not right_to_left("12 – Hello میرے") and not right_to_left("")


JSON = st.recursive(st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=6), lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from(sorted({*PLAN, "id", "text", "name", "by", "on", "who", "status", "goals", "rows"})), v, max_size=3), max_leaves=12)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(sorted(PLAN)), JSON, max_size=6), st.lists(st.fixed_dictionaries({"resourceType": st.sampled_from(sorted(paper.ALSO))}, optional={"code": JSON, "reaction": JSON, "dosage": JSON, "status": JSON, "statusReason": JSON}), max_size=2))
def test_an_odd_plan_makes_a_booklet_and_no_error(plan: dict[str, Any], record: list[dict[str, Any]]) -> None:
    assert isinstance(words(booklet(plan, record)), str) and len(basis(plan, record)) == 32
