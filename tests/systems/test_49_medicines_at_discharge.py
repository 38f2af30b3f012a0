"""Row 49, medicines at discharge: what was stopped, changed and new, each with its reason; the list before stays readable; the named pharmacy is asked and says when it is done."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .town import Programme, permit

MAPPING = Path(__file__).parent.parent / "cases" / "partners" / "medicines.yaml"


def test_each_change_has_its_reason_and_the_pharmacy_closes_its_task(programme: Programme, tmp_path: Path) -> None:
    p = programme
    p.places(trust="health", surgery="health", pharmacy="health", rival="health")
    gp, pharmacist, other = p.staff(gil=("surgery", "gp"), pam=("pharmacy", "pharmacist"), rob=("rival", "pharmacist"))
    brought = p.plan_of("Edie", born="1941-06-02", team=[("Gil", "surgery")])
    patient = p.bring(p.system("ward", "trust", "--contributor", "--refers"), brought)
    edie = p.person("edie", patient)
    gp.agree(patient)

    def sent(name: str, **medicines: list[dict[str, Any]]) -> None:
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps({
            "messageType": "DISCHARGE-MEDS", "medicines": medicines,
            "patient": {"nhsNumber": brought["person"]["nhs_number"], "surname": "S49", "forenames": "Edie", "dateOfBirth": "02/06/1941"},
            "communityPharmacy": {"ods": p.codes["pharmacy"], "name": p.called("pharmacy"), "phone": "01603 555020"},
            "handover": {"ref": "check", "request": "Check the new list with Edie", "by": "27/11/2026"},
        }))  # fmt: skip
        (line,) = p.town.command("import", "--as", "s49-ward", "--mapping", str(MAPPING), str(file))
        assert line["written"] and not line["refused"] and line["patient"] == patient, line

    aspirin = {"ref": "m-aspirin", "name": "Aspirin 75 mg tablets", "directions": "One in the morning"}
    bisoprolol = {"ref": "m-bisoprolol", "name": "Bisoprolol 2.5 mg tablets", "directions": "One in the morning"}
    sent("in-june", continued=[aspirin, bisoprolol])
    sent(
        "in-november",
        started=[{"ref": "m-apixaban", "name": "Apixaban 5 mg tablets", "directions": "One twice a day", "reason": "Found on the ward", "changedOn": "20/11/2026"}],
        changed=[bisoprolol | {"directions": "Two in the morning", "previousDirections": "One in the morning", "reason": "Pulse still fast", "changedOn": "20/11/2026"}],
        stopped=[{"ref": "m-aspirin", "name": "Aspirin 75 mg tablets", "previousDirections": "One in the morning", "reason": "Not with apixaban", "changedOn": "20/11/2026"}],
    )

    assert pharmacist.agree(patient) > 0
    listed = {m["change"]["kind"]: m for m in pharmacist.plan(patient)["medicines"]}
    assert {k: m["change"]["reason"] for k, m in listed.items()} == {"new": "Found on the ward", "changed": "Pulse still fast", "stopped": "Not with apixaban"}
    assert listed["stopped"]["status"] == "stopped" and listed["changed"]["change"]["was"] == "One in the morning" and listed["changed"]["how"] == "Two in the morning"
    edie.page.get("/my-plan")
    assert all(why in edie.page.words() for why in ("Found on the ward", "Pulse still fast", "Not with apixaban"))

    one = next(m for m in gp.find(f"MedicationStatement?patient={patient}") if "Bisoprolol" in m["medicationCodeableConcept"]["text"])
    before = gp.read(f"MedicationStatement/{one['id']}/_history/1")
    assert before["dosage"][0]["text"] == "One in the morning" and one["dosage"][0]["text"] == "Two in the morning", "the list before is still there to read"
    gone = next(m for m in gp.find(f"MedicationStatement?patient={patient}") if "Aspirin" in m["medicationCodeableConcept"]["text"])
    assert gp.read(f"MedicationStatement/{gone['id']}/_history/1")["status"] == "active"

    (asked,) = [t for t in pharmacist.find(f"Task?patient={patient}") if t.get("description") == "Check the new list with Edie"]
    assert asked["owner"]["identifier"]["value"] == p.codes["pharmacy"]
    task = f"Task/{asked['id']}"
    assert other.status(task) == 404 and other.total(f"MedicationStatement?patient={patient}") == 0, "it is that pharmacy that was named"
    pharmacist.change(task, status="completed")
    assert gp.read(task)["status"] == "completed"
    (action,) = [a for a in edie.plan(patient)["actions"] if a["text"] == "Check the new list with Edie"]
    assert action["status"] == "done"


DISCHARGE = Path(__file__).parent.parent / "cases" / "partners" / "discharge-medicines" / "theirs.json"


def test_a_hospital_that_sends_fhir_is_read_with_the_medicines_of_the_plan(programme: Programme, tmp_path: Path) -> None:
    p = programme
    p.places(hospital="health", chemist="health", practice="health", faraway="health")
    gp, chemist, other = p.staff(gus=("practice", "gp"), cleo=("chemist", "pharmacist"), ugo=("faraway", "pharmacist"))
    own = p.plan_of("Moira", born="1951-04-07", team=[("Gus", "practice")], medicines=[{"id": "m-1", "text": "Aspirin 75 mg tablets", "how": "One in the morning", "status": "taking"}])
    patient = p.bring(p.system("hospital", "hospital", "--contributor", "--refers"), own)
    moira = p.person("moira", patient)
    gp.agree(patient)
    file = tmp_path / "discharge.json"
    sent = DISCHARGE.read_text().replace("9990000018", own["person"]["nhs_number"]).replace('"FQ001"', f'"{p.codes["chemist"]}"')
    asked = (datetime.now(UTC) + timedelta(days=7)).date().isoformat()
    assert sent.count('"2026-11-27"') == 1, "until when the pharmacy is asked: it sees nothing of hers after that day"
    file.write_text(sent.replace('"Amina"', '"Moira"').replace('"Example"', '"S49"').replace('"2026-11-27"', f'"{asked}"'))

    lands = {(row["path"].split(": ")[1], row["to"]) for row in p.town.gateway.lines("map", "from-fhir", str(file), "--dry-run")}
    assert {("MedicationRequest.statusReason.text", "medicines[].status_reason"), ("MedicationRequest.priorPrescription", "medicines[].prescription.instead_of")} <= lands
    assert ("MedicationRequest.dosageInstruction[0].timing.repeat.frequency", "") in lands, "it is said what has no home"
    (line,) = p.town.command("import", "--as", "s49-hospital", str(file))
    assert line["written"] and not line["refused"] and line["patient"] == patient, line
    assert moira.plan(patient)["medicines"] == own["medicines"], "what the hospital sends is in her record; her plan is hers to change"

    assert chemist.agree(patient) > 0
    for who, page in ((moira, "/my-plan"), (gp, f"/team/people/{patient}"), (chemist, f"/team/people/{patient}")):
        who.page.get(page)
        for said in (
            f"Apixaban 5 mg tablets How to take it One twice a day {'Prescribed by Dr Ola Ward ' if who is moira else ''}Prescribed on 20 November 2026 How much 56 tablet, 28 day",
            "Bisoprolol 5 mg tablets How to take it One in the morning Instead of Bisoprolol 2.5 mg tablets",
            "Bisoprolol 2.5 mg tablets Stopped How to take it One in the morning Why it was changed The dose was raised: see Bisoprolol 5 mg",
            "Aspirin 75 mg tablets Stopped How to take it One in the morning Why it was changed Medication stopped - contra-indication",
            "Ramipril 2.5 mg / 5 ml oral solution Changed How to take it 5 ml in the morning Why it was changed Tablets too large to swallow What was changed A liquid instead of tablets",
            "Aspirin 75 mg tablets The record says otherwise Stopped Medication stopped - contra-indication How to take it One in the morning",
        ):
            assert said in who.page.words(), f"{who.user}: {said}"
    assert other.page.get(f"/team/people/{patient}").status_code == 404 and other.total(f"MedicationRequest?patient={patient}") == 0
    says = "The record says otherwise Stopped"
    ended = next(m for m in gp.find(f"MedicationRequest?patient={patient}&status=stopped") if "Aspirin" in m["medicationCodeableConcept"]["text"])
    hidden = moira.allow(permit(gp.user, type="deny", data=[{"meaning": "instance", "reference": {"reference": f"MedicationRequest/{ended['id']}"}}]))
    for who, page, heard in ((gp, f"/team/people/{patient}", False), (chemist, f"/team/people/{patient}", True), (moira, "/my-plan", True)):
        who.page.get(page)
        assert "Aspirin 75 mg tablets" in who.page.words() and (says in who.page.words()) is heard, f"{who.user}: who may not see the order is not told of it"
    document = f"CarePlan/{gp.one(f'CarePlan?patient={patient}')['id']}/$document"
    assert "The record says otherwise" in chemist.get(document).text and "The record says otherwise" not in gp.get(document).text
    moira.end(hidden)
    moira.page.get("/my-plan")
    assert "The plan says Taken now" in moira.page.words() and "Change the plan" in moira.page.words(), "it is proposed, and asked of her"
    proposed = {m["medicationCodeableConcept"]["text"]: t for t in moira.find(f"Task?patient={patient}&code=change-medicine") if "medicationCodeableConcept" in (m := moira.read(t["focus"]["reference"]))}
    ramipril = proposed["Ramipril 2.5 mg / 5 ml oral solution"]
    gp.knows_nothing_of(*(f"Task/{t['id']}" for t in proposed.values()))
    moira.page.send(f"/my-plan/tasks/{ramipril['id']}/answer", what="decline", words="I never took it")
    moira.page.send(f"/my-plan/tasks/{proposed['Bisoprolol 5 mg tablets']['id']}/answer", what="yes")
    moira.page.get("/my-plan")
    assert all(said in moira.page.words() for said in ("The plan was changed", "The plan stays as it is", "I never took it"))
    assert {m["text"] for m in moira.plan(patient)["medicines"]} == {"Aspirin 75 mg tablets", "Bisoprolol 5 mg tablets"}
    (again,) = p.town.command("import", "--as", "s49-hospital", str(file))
    assert not again["refused"] and len(moira.find(f"Task?patient={patient}&code=change-medicine")) == len(proposed) + 1, "what comes twice is proposed once"
    kept = next(m for m in gp.find(f"MedicationStatement?patient={patient}") if "Aspirin" in m["medicationCodeableConcept"]["text"])
    gp.change(f"MedicationStatement/{kept['id']}", status="stopped")
    gp.page.get(f"/team/people/{patient}")
    assert says not in gp.page.words() and {m["text"]: m.get("status") for m in moira.plan(patient)["medicines"]}["Aspirin 75 mg tablets"] == "stopped", "somebody has put it in her plan"
    (asked,) = [t for t in chemist.find(f"Task?patient={patient}") if t.get("description", "").startswith("Go through the new medicines")]
    chemist.change(f"Task/{asked['id']}", status="completed")
    assert gp.read(f"Task/{asked['id']}")["status"] == "completed"
