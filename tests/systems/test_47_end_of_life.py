"""Row 47, end of life care plan and care programme approach: the ambulance opens the crisis plan without ever having met the person."""

from __future__ import annotations

from .town import ODS, SNOMED, Programme, about, actor


def test_the_ambulance_opens_the_crisis_plan_it_is_logged_and_a_no_is_honoured(programme: Programme) -> None:
    p = programme
    p.places(trust="health", hospice="health", ambulance="health", elsewhere="health")  # S4703 is in GATEWAY_URGENT_CARE
    doctor, crew, stranger = p.staff(dee=("hospice", "consultant"), amy=("ambulance", "paramedic"), kim=("elsewhere", "paramedic"))
    p.town.command("people", "change", f"{p.key}-amy", "--purpose", "ETREAT")
    crew = p.again(crew, "amy")
    plan = p.plan_of(
        "Joy", team=[("Dee", "hospice")],
        contingency=[{"id": "k-1", "name": "If I am dying", "code": {"system": SNOMED, "code": "736373009", "display": "End of life care plan"},
                      "what_should_happen": ["Stay at home", "Ring the hospice first"], "triggers": ["I stop eating"]}],
    )  # fmt: skip
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), plan)
    joy = p.person("joy", patient)
    doctor.agree(patient)
    wish = doctor.make({
        "resourceType": "DocumentReference", "status": "current", "subject": about(patient), "description": "Where her ReSPECT form is kept",
        "type": {"coding": [{"system": SNOMED, "code": "861421000000109", "display": "End of life care coordination summary"}]},
        "content": [{"attachment": {"contentType": "application/pdf", "url": "https://hospice.example/respect/joy.pdf", "title": "ReSPECT"}}],
    })  # fmt: skip

    who = {"nhs_number": plan["person"]["nhs_number"], "birth_date": plan["person"]["birth_date"], "family_name": plan["person"]["name"]["family"]}
    found = crew.call("POST", "/patients/find", body=who)
    assert found.status_code == 200 and found.json()["patient"].endswith(patient), found.text
    crisis = [c for c in crew.find(f"CarePlan?patient={patient}") if c["title"] == "If I am dying"]
    assert crisis and len(crew.find(f"CarePlan?patient={patient}")) == 1, "the crisis plan, and not the rest"
    assert crew.total(f"Goal?patient={patient}") == 0
    assert crew.status(f"DocumentReference/{wish['id']}") == 200, "an end-of-life summary is what urgent care opens"
    assert stranger.call("POST", "/patients/find", body=who).status_code == 404 and stranger.total(f"CarePlan?patient={patient}") == 0
    crew.change(f"CarePlan/{crisis[0]['id']}", expect=403, description="Take her in")
    joy.page.get("/my-plan/who-looked")
    assert "Amy" in joy.page.words(), joy.page.words()

    joy.allow({"type": "deny", "actor": [{**actor("x"), "reference": {"identifier": {"system": ODS, "value": p.codes["ambulance"]}}}]})
    assert crew.total(f"CarePlan?patient={patient}") == 0 and crew.call("POST", "/patients/find", body=who).status_code == 404
