"""Row 42, Summary Care Record: medicines and allergies stay where they are; the plan points to them."""

from __future__ import annotations

import json
from pathlib import Path

from ..faults.scripted import Habits, scripted
from .partnered import in_step, partnered
from .town import Programme, about


def test_what_the_plan_refers_to_elsewhere_is_left_alone_by_sync_and_export(tmp_path: Path) -> None:
    with scripted(Habits()) as scr, scripted(Habits()) as hub, partnered(tmp_path, {"name": "hub", "url": hub.url, "organisation": "S4202"}) as town:
        p = Programme(town, "s42")
        p.places(trust="health", surgery="health", elsewhere="health")
        gp, stranger, _ = p.staff(gwen=("surgery", "gp"), stu=("elsewhere", "gp"), olu=("trust", "privacy-officer", ("privacy-officer",)))
        source = p.system("plans", "trust", "--contributor", "--refers")
        patient = p.bring(source, p.plan_of("Nat", team=[("Gwen", "surgery")]))
        nat = p.person("nat", patient)
        gp.agree(patient)
        kept = scr.write({"resourceType": "MedicationStatement", "status": "active", "medicationCodeableConcept": {"text": "Warfarin 3 mg"}, "subject": {"display": "Nat"}})
        summary = f"{scr.url}/MedicationStatement/{kept['id']}"
        plan = f"CarePlan/{gp.one(f'CarePlan?patient={patient}')['id']}"
        allergy = scr.write({"resourceType": "AllergyIntolerance", "code": {"text": "Penicillin, a rash"}, "patient": {"display": "Nat"}})
        allergies = f"{scr.url}/AllergyIntolerance/{allergy['id']}"
        pointers = [{"reference": summary, "display": "Her medicines, in the Summary Care Record"}, {"reference": allergies, "display": "Her allergies, in the Summary Care Record"}]
        gp.change(plan, supportingInfo=pointers)

        assert gp.read(plan)["supportingInfo"][0]["reference"] == summary
        for type in ("MedicationStatement", "AllergyIntolerance"):
            assert gp.total(f"{type}?patient={patient}") == 0, "it was not copied here"
        paper = gp.get(f"{plan}/$document").text
        assert summary in paper and allergies in paper and "Warfarin" not in paper and "Penicillin" not in paper, "nor onto paper"
        gp.page.get(f"/team/people/{patient}")
        assert "Warfarin" not in gp.page.page and "Penicillin" not in gp.page.page
        assert in_step(town)["quiet"]
        sent = hub.named("CarePlan")[0]["supportingInfo"][0]
        assert sent["reference"] == summary and not hub.named("MedicationStatement") and not hub.named("AllergyIntolerance"), "nor to a partner"
        assert "Warfarin" not in json.dumps(list(hub.held.values()))
        everything = nat.get(f"Patient/{patient}/$everything").text
        assert summary in everything and "Warfarin" not in everything
        out = tmp_path / "nat.zip"
        done = town.gateway.command("person", "export", patient, "--officer", "s42-olu", "--out", str(out))
        assert done.returncode == 0 and out.exists(), done.stderr
        assert scr.requests() == [], "nobody asked the Summary Care Record for anything"
        assert scr.held[f"MedicationStatement/{kept['id']}"]["medicationCodeableConcept"]["text"] == "Warfarin 3 mg"
        stranger.knows_nothing_of(plan, f"Patient/{patient}")
        nat.page.get("/my-plan/who-looked")
        assert "Gwen" in nat.page.words()
        # what is kept here of medicines is written by somebody who may, and is another thing: theirs is not touched
        gp.make({"resourceType": "MedicationStatement", "status": "active", "medicationCodeableConcept": {"text": "Copied"}, "subject": about(patient)})
        assert scr.requests() == []
