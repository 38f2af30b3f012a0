"""Row 47, end of life care plan and care programme approach: the ambulance opens the crisis plan without ever having met the person."""

from __future__ import annotations

from typing import Any

from .town import SNOMED, Programme, about

NRL = {  # what the National Record Locator points to, and urgent care opens: treatment escalation, ReSPECT, mental health crisis, emergency, contingency, end of life and its coordination
    "735324008", "1382601000000107", "736253002", "887701000000100", "325691000000100", "736373009", "861421000000109",
}  # fmt: skip
OTHER = "736366004"  # an advance care plan, which is no plan for a crisis


def document(patient: str, code: str) -> dict[str, Any]:
    return {
        "resourceType": "DocumentReference", "status": "current", "subject": about(patient), "description": f"Kept under {code}",
        "type": {"coding": [{"system": SNOMED, "code": code}]},
        "content": [{"attachment": {"contentType": "application/pdf", "url": f"https://hospice.example/{code}/joy.pdf", "title": code}}],
    }  # fmt: skip


def test_the_ambulance_opens_the_crisis_plan_it_is_logged_and_a_no_is_honoured(programme: Programme) -> None:
    p = programme
    p.places(trust="health", hospice="health", ambulance="health", elsewhere="health")  # S4703 is in GATEWAY_URGENT_CARE
    doctor, crew, stranger = p.staff(dee=("hospice", "consultant"), amy=("ambulance", "paramedic"), kim=("elsewhere", "paramedic"))
    p.town.command("people", "change", f"{p.key}-amy", "--purpose", "ETREAT")
    crew = p.again(crew, "amy")
    plan = p.plan_of(
        "Joy", team=[("Dee", "hospice")], contacts=[{"id": "c-1", "name": "Kay Example", "relationship": "daughter", "next_of_kin": True, "phone": "07700 900456"}],
        contingency=[{"id": "k-1", "who_to_contact": ["t-0", "c-1"], "advance_statement": "I want to die in my own bed.", "name": "If I am dying", "code": {"system": SNOMED, "code": "736373009", "display": "End of life care plan"},
                      "what_should_happen": ["Stay at home", "Ring the hospice first"], "triggers": ["I stop eating"]}],
    )  # fmt: skip
    plan["team"][0] |= {"key_worker": True, "role": "Care coordinator", "phone": "01603 555 444"}
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), plan)
    joy = p.person("joy", patient)
    doctor.agree(patient)
    kept = {code: doctor.make(document(patient, code))["id"] for code in (*NRL, OTHER)}

    who = {"nhs_number": plan["person"]["nhs_number"], "birth_date": plan["person"]["birth_date"], "family_name": plan["person"]["name"]["family"]}
    found = crew.call("POST", "/patients/find", body=who)
    assert found.status_code == 200 and found.json()["patient"].endswith(patient), found.text
    assert crew.total(f"DocumentReference?patient={patient}") == len(NRL)
    for code in NRL:
        assert crew.read(f"DocumentReference/{kept[code]}")["type"]["coding"][0]["code"] == code
    crew.knows_nothing_of(f"DocumentReference/{kept[OTHER]}")
    crisis = [c for c in crew.find(f"CarePlan?patient={patient}") if c["title"] == "If I am dying"]
    assert crisis and len(crew.find(f"CarePlan?patient={patient}")) == 1, "the crisis plan, and not the rest"
    assert crew.total(f"Goal?patient={patient}") == 0
    (kin,) = crew.find(f"RelatedPerson?patient={patient}")
    assert kin["name"][0]["text"] == "Kay Example" and kin["telecom"][0]["value"] == "07700 900456", "whom to ring"
    seen = crew.page.get(f"/team/people/{patient}") and crew.page.words()
    for words in ("Stay at home", "Ring the hospice first", "I stop eating", "Kay Example", "07700 900456", "I want to die in my own bed.", "Who to contact Dee, 01603 555 444 Kay Example (daughter), 07700 900456"):
        assert words in seen, words
    assert "Joy walks to the shop" not in seen
    hurried = crew.page.get(f"/team/people/{patient}/in-a-hurry") and crew.page.words()
    assert "01603 555 444" in hurried and "07700 900456" in hurried, "her coordinator and her daughter, on the one screen"
    assert crew.total(f"CareTeam?patient={patient}") == 0, "of her team nobody but whom the crisis plan names"
    stranger.knows_nothing_of(f"CarePlan/{crisis[0]['id']}", *(f"DocumentReference/{kept[c]}" for c in NRL))
    assert stranger.call("POST", "/patients/find", body=who).status_code == 404 and stranger.total(f"CarePlan?patient={patient}") == 0
    crew.change(f"CarePlan/{crisis[0]['id']}", expect=403, description="Take her in")
    joy.page.get("/my-plan/who-looked")
    assert "Amy" in joy.page.words() and "they are an urgent care service" in joy.page.words(), joy.page.words()

    joy.page.get("/my-plan/sharing")
    joy.page.send("/my-plan/sharing/no")  # the one action: beside urgent care, on her page
    crew.knows_nothing_of(f"CarePlan/{crisis[0]['id']}", f"RelatedPerson/{kin['id']}", *(f"DocumentReference/{kept[c]}" for c in NRL))
    assert crew.total(f"CarePlan?patient={patient}") == 0 and crew.call("POST", "/patients/find", body=who).status_code == 404
