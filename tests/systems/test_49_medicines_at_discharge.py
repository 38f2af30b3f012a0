"""Row 49, medicines at discharge: what was stopped, changed and new, each with its reason; the list before stays readable; the named pharmacy is asked and says when it is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .town import Programme

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
