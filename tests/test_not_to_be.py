"""What is not to be done or taken, is over, or was a mistake is nowhere shown as if it were to be done, taken or had."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import pytest

from fhir_gateway import plans
from fhir_gateway.definitions import load_r4
from fhir_gateway.domain import mapping
from fhir_gateway.domain.booklet import booklet
from fhir_gateway.domain.mapping.foreign import KINDS
from fhir_gateway.domain.medicines import SAID_AT_MOST, by_name, doses, otherwise, taken, taken_by_record, told, told_by_record
from fhir_gateway.domain.shown_plan import shown_plan
from fhir_gateway.tables import load_tables
from fhir_gateway.web.pages.plan_more import medicine, medicines
from fhir_gateway.web.pages.plan_view import plan_view
from tests.test_documents import composed, shown
from tests.test_documents import resources as made

TABLES = load_tables()
OF: dict[str, Any] = {"subject": {"reference": "Patient/p1"}}
BASE: list[dict[str, Any]] = [
    {"resourceType": "Patient", "id": "p1", "name": [{"family": "Begum"}]},
    {"resourceType": "CarePlan", "id": "c1", "status": "active", "intent": "plan", **OF, "activity": [
        {"detail": {"status": "not-started", "doNotPerform": True, "description": "Lift heavy things"}},
        {"detail": {"status": "entered-in-error", "description": "Somebody else's walk"}},
        {"detail": {"status": "not-started", "description": "Walk to the shop"}},
    ]},
]  # fmt: skip


def order(id: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "MedicationRequest", "id": id, "status": "active", "intent": "order", **OF, "medicationCodeableConcept": {"text": id}, **more}


def service(id: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "ServiceRequest", "id": id, "status": "active", "intent": "order", **OF, "code": {"text": id}, **more}


def condition(id: str, verified: str) -> dict[str, Any]:
    return {"resourceType": "Condition", "id": id, **OF, "code": {"text": id}, "verificationStatus": {"coding": [{"code": verified}]}}


def opened(*more: dict[str, Any]) -> plans.Opened:
    record = [*BASE, *more]
    read = mapping.read(record, TABLES)
    return plans.Opened(read.plan, record, read.became)


def on_the_page(*more: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    held = opened(*more)
    view = plan_view(held.shown(), date(2026, 11, 25), own=True, medicines=plans.medicines_beside(held))
    return {k: [(i.text, i.state) for i in getattr(view, k)] for k in ("medicines", "actions", "needs", "referrals")}


def on_paper(*more: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    held = opened(*more)
    return {s.key: [(t.text, t.state) for t in s.things] for s in booklet(held.shown(), held.record).sections}


def in_the_document(*more: dict[str, Any]) -> str:
    whole = {"plan": "1", "id": "p", "title": "T", "status": "active", "person": {"id": "x", "name": {"family": "Begum"}}}
    return shown(composed(made(whole, list(more))))


CPR, IBUPROFEN = service("Cardiopulmonary resuscitation", doNotPerform=True), order("Ibuprofen", doNotPerform=True)


def test_what_is_not_to_be_done_or_taken_is_said_so_on_the_page_and_on_paper() -> None:
    for said in (on_the_page(CPR, IBUPROFEN), on_paper(CPR, IBUPROFEN)):
        assert ("Do not: Cardiopulmonary resuscitation", "") in said["actions"]
        assert ("Do not: Lift heavy things", "") in said["actions"]
        assert said["medicines"] == [("Do not: Ibuprofen", "")]
        assert not {"Ibuprofen", "Lift heavy things", "Cardiopulmonary resuscitation", "Somebody else's walk"} & {t for items in said.values() for t, _ in items}
        assert "Walk to the shop" in {t for t, _ in said["actions"]}


def test_a_document_says_what_is_not_to_be_done_or_taken() -> None:
    said = in_the_document(CPR, IBUPROFEN).splitlines()
    assert any(t.startswith("Do not: Cardiopulmonary resuscitation") for t in said)
    assert any(t.startswith("Do not: Ibuprofen") for t in said)
    assert not any(t.startswith(("Cardiopulmonary", "Ibuprofen")) for t in said)


def test_a_document_says_it_of_what_a_plan_beside_says_itself() -> None:
    said = in_the_document({**BASE[1], "id": "c2", "title": "Another"})
    assert "Do not: Lift heavy things" in said
    assert "\nLift heavy things" not in said
    assert "Somebody else's walk" not in said


def test_what_is_not_to_be_taken_and_every_dose_come_back_from_a_plan() -> None:
    record = [*BASE, order("Ibuprofen", doNotPerform=True, dosageInstruction=[{"text": "First"}, {"text": "then none"}])]
    back = next(e.resource for e in mapping.to_fhir(mapping.from_fhir(record, TABLES, keep=True), TABLES).entries if e.resource["resourceType"] == "MedicationRequest")
    assert back["doNotPerform"] is True
    assert [d["text"] for d in back["dosageInstruction"]] == ["First", "then none"]


@pytest.mark.parametrize(
    ("status", "how", "state"),
    [
        ("active", "now", ""), ("on-hold", "paused", "Paused"), ("completed", "finished", "Finished"), ("stopped", "stopped", "Stopped"),
        ("cancelled", "not taken", "Not taken"), ("draft", "not yet", "Not begun yet"),
    ],
)  # fmt: skip
def test_how_a_medicine_stands_is_the_same_on_the_page_and_on_paper(status: str, how: str, state: str) -> None:
    one = order("Metformin", status=status)
    assert taken_by_record(one) == how
    assert on_the_page(one)["medicines"] == on_paper(one)["medicines"] == [("Metformin", state)]


def test_every_word_of_the_tables_for_a_medicine_is_known() -> None:
    words = {"taking": "now", "unknown": "now", "finished": "finished", "entered in error": "a mistake", "planned": "not yet", "stopped": "stopped", "paused": "paused", "not taken": "not taken"}
    for name in ("medicine-status", "prescription-status"):
        assert {e["code"] for g in TABLES.codes[name]["group"] for e in g["element"]} == set(words)
    assert {w: taken({"status": w}) for w in words} == words
    assert taken_by_record({"status": "intended"}) == "not yet"
    assert taken_by_record({"status": "not-taken"}) == "not taken"
    assert taken_by_record({"status": "active", "intent": "proposal"}) == taken({"prescription": {"intent": "proposed"}}) == "not yet"


def test_the_status_of_a_medicine_beats_what_changed_of_it() -> None:
    assert medicine({"text": "Apixaban", "status": "stopped", "change": {"kind": "new"}}, str).state == "Stopped"
    assert medicine({"text": "Apixaban", "status": "taking", "change": {"kind": "stopped"}}, str).state == "Taken or stopped: ask"
    assert medicine({"text": "Apixaban", "change": {"kind": "stopped"}}, str).state == "Stopped"
    assert medicine({"text": "Apixaban", "change": {"kind": "new"}}, str).state == "New"


def test_a_medicine_that_was_a_mistake_is_not_listed() -> None:
    one = order("Warfarin", status="entered-in-error")
    assert on_the_page(one)["medicines"] == []
    assert on_paper(one).get("medicines", []) == []
    assert medicines([{"text": "Warfarin", "status": "entered in error"}], str) == ()


def test_a_medicine_that_a_change_stopped_is_not_on_paper_again_as_taken() -> None:
    url = next(r.fhir for r in TABLES["medicine"].fields.rows if r.plan == ("change", "kind"))
    assert "medicine-change" in url
    whole = {"plan": "1", "id": "p", "title": "T", "person": {"id": "x", "name": {"family": "B"}}, "medicines": [{"id": "m", "text": "Apixaban", "change": {"kind": "stopped"}}]}
    record = list(made(whole).values())
    things = next(s.things for s in booklet(mapping.from_fhir(record, TABLES), record).sections if s.key == "medicines")
    assert [(t.text, t.state) for t in things] == [("Apixaban", "Stopped")]


def test_every_dose_is_shown_in_its_sequence_on_the_page_and_on_paper() -> None:
    one = order("Prednisolone", dosageInstruction=[{"sequence": 2, "text": "then 20 mg for 5 days, then stop"}, {"sequence": 1, "text": "40 mg for 5 days"}])
    every = "40 mg for 5 days\nthen 20 mg for 5 days, then stop"
    read = mapping.read([*BASE, one], TABLES)
    assert shown_plan(read.plan, read.became, [one])["medicines"][0]["how"] == every
    held = opened(one)
    assert [t.text for i in plan_view(held.shown(), date(2026, 11, 25), own=True).medicines for t in i.lines] == [every]
    assert every.splitlines()[1] in in_the_document(one)
    assert read.plan["medicines"][0]["how"] != every, "the plan that is kept has one place for it"


@pytest.mark.parametrize(
    ("dose", "said"),
    [
        ({"timing": {"repeat": {"frequency": 2, "period": 1, "periodUnit": "d"}}, "doseAndRate": [{"doseQuantity": {"value": 5, "unit": "mg"}}]}, "5 mg, 2 times every day"),
        ({"timing": {"repeat": {"period": 8, "periodUnit": "h"}}, "asNeededBoolean": True}, "every 8 hours, as needed"),
        ({"doseAndRate": [{"doseRange": {"low": {"value": 1}, "high": {"value": 2}}}]}, "More is in the record"),
        ({"doseAndRate": [{"doseQuantity": {"value": 5, "unit": "mg"}}], "maxDosePerPeriod": {}}, "5 mg. More is in the record"),
        ({"timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d", "when": ["HS"]}}}, "every day. More is in the record"),
        ({"text": "One at night", "patientInstruction": "With water"}, "One at night\nWith water"),
    ],
)
def test_a_dose_in_numbers_is_said_in_words_or_said_to_be_in_the_record(dose: dict[str, Any], said: str) -> None:
    assert doses({"dosageInstruction": [dose]}) == doses({"dosage": [dose]}) == (said,)


def test_what_we_say_of_a_dose_and_of_what_was_ruled_out_is_said_in_the_readers_language() -> None:
    dose = {"doseAndRate": [{"doseQuantity": {"value": 5, "unit": "mg"}}], "timing": {"repeat": {"frequency": 2, "period": 1, "periodUnit": "d"}}, "patientInstruction": "With water"}
    held = opened(order("Metformin", dosageInstruction=[dose]), condition("Epilepsy", "refuted"))
    welsh = {"every day": "bob dydd", "{n} times {every}": "{n} gwaith {every}", "Ruled out": "Wedi'i ddiystyru"}
    shown = held.shown(lambda t: welsh.get(t, t))
    assert shown["medicines"][0]["how"] == "With water\n5 mg, 2 gwaith bob dydd"
    assert shown["needs"][0]["status_word"] == "Wedi'i ddiystyru"


def test_a_dose_that_says_only_from_when_to_when_is_not_made_up() -> None:
    assert doses({"dosageInstruction": [{"timing": {"repeat": {"boundsPeriod": {"start": "2026-01-01"}}}}]}) == ()


def test_what_was_entered_in_error_is_left_out_and_what_was_refuted_says_so() -> None:
    more = (condition("Epilepsy", "refuted"), condition("Gout", "entered-in-error"), condition("Asthma", "confirmed"), service("X-ray", status="entered-in-error"))
    for said in (on_the_page(*more), on_paper(*more)):
        assert said["needs"] == [("Epilepsy", "Ruled out"), ("Asthma", "")]
        assert "X-ray" not in {t for t, _ in said["actions"]}
    assert mapping.from_fhir([*BASE, *more], TABLES)["needs"] == [{"id": "Epilepsy", "text": "Epilepsy"}, {"id": "Asthma", "text": "Asthma"}], "nothing of it is kept as the plan's own word"


ELSEWHERE = {  # modifier elements of R4 that no row of the type's tables reads: where they are read, or why not
    "implicitRules": "none are known here: nothing with them is kept (`gate.receiving.taken`, docs/validation.md)",
    "modifierExtension": "none is known here: nothing with one is kept (`domain.validate.policy`, docs/validation.md); a Consent that has one is not computed (`domain.grants`)",
    "CarePlan.intent": "a plan is what it is in any intent; ours are written as `plan`",
    "CarePlan.activity.detail.status": "domain.mapping.foreign",
    "CarePlan.activity.detail.doNotPerform": "domain.mapping.foreign, domain.document",
    "CareTeam.status": "who is in a team now is decided by the gate; the plan lists whom a reader may see",
    "ClinicalImpression.status": "a formulation is a text of the person's plan",
    "Condition.verificationStatus": "domain.mapping.foreign, domain.shown_plan, domain.document",
    "DocumentReference.status": "domain.mapping.foreign",
    "MedicationRequest.doNotPerform": "domain.mapping.foreign, domain.sentences",
    "Observation.status": "only observations of a plan are read; measurements have their own pages",
    "Patient.active": "of the record, not of a plan", "Patient.deceased[x]": "of the record, not of a plan", "Patient.link": "domain.merged",
    "RelatedPerson.active": "whether somebody helps is decided by the gate",
    "ServiceRequest.intent": "shown with its status; ours are written as `order`",
    "ServiceRequest.doNotPerform": "domain.mapping.foreign, domain.document",
    "Task.intent": "ours are written as `plan`",
}  # fmt: skip


def test_every_modifier_element_of_what_a_plan_is_made_of_is_read_or_listed_with_a_reason() -> None:
    types = {t.type for t in TABLES.by_kind.values()} | set(KINDS)
    assert {"MedicationRequest", "ServiceRequest", "CarePlan"} <= types
    read = {f"{t.type}.{row.fhir}" for t in TABLES.by_kind.values() for row in t.fields.rows}
    for type in types:
        for path, element in load_r4().type(type).elements.items():
            if not element.modifier or path.rsplit(".", 1)[-1] in ELSEWHERE:
                continue
            name = f"{type}.{path}"
            assert name in ELSEWHERE or any(r == name or r.startswith(f"{name}.") for r in read), f"{name} changes what {type} means: read it, or say why not"


PLANNED: dict[str, Any] = {"id": "m", "text": "Aspirin 75 mg tablets", "status": "taking", "how": "One in the morning"}


def both(*more: dict[str, Any], **mine: Any) -> tuple[str, str]:
    """What the page, and the paper, say at the plan's own aspirin of what the record says otherwise."""
    whole = {"plan": "1", "id": "p", "title": "T", "person": {"id": "x", "name": {"family": "B"}}, "medicines": [{**PLANNED, **mine}]}
    record = [*made(whole).values(), *more]
    read = mapping.read(record, TABLES, homeless=False)
    held = plans.Opened(read.plan, record, read.became)
    assert [m["text"] for m in held.plan["medicines"]] == [PLANNED["text"]]
    page = plan_view(held.shown(), date(2026, 11, 25), own=True, medicines=plans.medicines_beside(held)).medicines
    paper = next(s.things for s in booklet(held.shown(), held.record).sections if s.key == "medicines")
    (mine_shown,), (mine_printed,) = ([i for i in page if i.text == PLANNED["text"]], [t for t in paper if t.text == PLANNED["text"]])
    said = ["\n".join(row.text for row in rows if row.label == "The record says otherwise") for rows in (mine_shown.lines, mine_printed.rows)]
    return said[0], said[1]


ASPIRIN: dict[str, Any] = {"medicationCodeableConcept": {"text": "aspirin  75 mg Tablets"}, "dosageInstruction": [{"text": "One in the morning"}]}


@pytest.mark.parametrize(
    ("mine", "record", "said"),
    [
        ({}, [{"status": "stopped", "statusReason": {"text": "Not with apixaban"}}], "Stopped\nNot with apixaban"),
        ({}, [{"status": "on-hold"}], "Paused"),
        ({}, [{"doNotPerform": True}], "Not to be taken"),
        ({}, [{"dosageInstruction": [{"text": "Two in the morning"}]}], "Taken now\nTwo in the morning"),
        ({"status": "stopped"}, [{}], "Taken now\nOne in the morning"),
        ({}, [{}], ""),
        ({}, [{"dosageInstruction": [{"text": "one  in the Morning"}]}], ""),
        ({}, [{"status": "entered-in-error"}], ""),
        ({"status": "stopped"}, [{"status": "stopped"}], ""),
        ({"status": "stopped"}, [{"status": "completed"}], ""),
        ({}, [{"medicationCodeableConcept": {"text": "Aspirin 300 mg tablets"}, "status": "stopped"}], ""),
        ({}, [{"status": "completed"}], "Finished"),
        ({}, [{"status": "completed"}, {}], ""),  # the order before is over, the next says what the plan says
        ({}, [{"status": "stopped"}, {}], "Stopped"),  # whoever stopped it is heard, whatever an older order says
        ({}, [{"status": "stopped"}, {"status": "stopped"}], "Stopped"),
    ],
)  # fmt: skip
def test_a_medicine_of_the_plan_says_where_the_record_says_otherwise(mine: dict[str, Any], record: list[dict[str, Any]], said: str) -> None:
    assert both(*(order(f"r{n}", **{**ASPIRIN, **r}) for n, r in enumerate(record)), **mine) == (said, said)


def test_a_medicine_that_the_record_codes_the_same_is_the_same_whatever_it_calls_it() -> None:
    dmd = {"system": "http://snomed.info/sct", "code": "319773006"}
    stopped = order("r", status="stopped", medicationCodeableConcept={"text": "ASA 75", "coding": [dmd]})
    assert both(stopped, code={**dmd, "display": "Aspirin 75 mg tablet"})[0] == "Stopped"
    assert both(stopped) == ("", "")


def test_an_order_without_a_name_is_not_the_same_as_another_without_one() -> None:
    assert otherwise(told({"status": "taking"}), by_name([told_by_record({"status": "stopped"}), told({"status": "stopped", "code": {"system": "urn:x"}})])) == ()


def test_of_very_many_orders_of_one_name_it_is_heard_that_one_is_stopped() -> None:
    """Thousands of both would be compared each with each."""
    many = [told_by_record(order(f"r{n}", **{**ASPIRIN, "dosageInstruction": [{"text": f"{n} in the morning"}]})) for n in range(2_000)]
    record = by_name([*many, told_by_record(order("s", **ASPIRIN, status="stopped"))])
    assert all(len(held) <= 100 for held in record.values())
    said = otherwise(told(PLANNED), record)
    assert said[0].taken == "stopped" and len(said) == SAID_AT_MOST


def test_a_document_says_where_the_record_says_otherwise_of_a_medicine_of_the_plan() -> None:
    whole = {"plan": "1", "id": "p", "title": "T", "status": "active", "person": {"id": "x", "name": {"family": "B"}}, "medicines": [PLANNED]}
    stopped = order("r", **ASPIRIN, status="stopped", statusReason={"text": "Not with apixaban"})
    plain, told_of = (re.sub(r"\n+", "\n", shown(composed(made(whole, more)))) for more in ([order("r", **ASPIRIN)], [stopped]))
    assert "The record says otherwise\nStopped\nNot with apixaban\nHow to take it" in told_of
    assert "otherwise" not in plain and plain.count("One in the morning") == told_of.count("One in the morning") == 2


def test_a_long_dose_of_the_record_is_told_by_its_beginning_and_compared_whole() -> None:
    """Ten doses of 100 kB at each of 200 medicines of that name made a page of 200 MB."""
    def of(how: str) -> dict[str, Any]:
        return {"resourceType": "MedicationStatement", "status": "active", "medicationCodeableConcept": {"text": "Aspirin"}, "dosage": [{"text": how}]}

    long = "take it " * 10_000
    (said,) = otherwise(told({"text": "Aspirin", "how": "one a day"}), by_name([told_by_record(of(long))]))
    assert said.how.startswith("take it") and len(said.how) < 1_000
    assert otherwise(told({"text": "Aspirin", "how": long}), by_name([told_by_record(of(long))])) == ()
    assert otherwise(told({"text": "Aspirin", "how": long + "twice"}), by_name([told_by_record(of(long))])) != ()
