"""Row 12, Somerset My Life Plan: the hospital's discharge message asks a charity to help with the plan, each charity by the person's own yes."""

from __future__ import annotations

from typing import Any

import httpx2

from .town import Member, Programme, about, permit

AFTER = {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/task", "code": "after-hospital"}], "text": "Help with the plan after heart failure"}
LEFT = "https://fhir-gateway.example/CodeSystem/task|hospital-discharge"


def said(ward: Member, event: str, number: str, stay: str, on: str) -> httpx2.Response:
    """What the ward's own system sends, over HTTP."""
    lines = (
        rf"MSH|^~\&|PAS|RA4|TIE|ICS|{on}||ADT^{event}^ADT_{event}|{stay}{event}|P|2.4|||AL|NE|GBR|UNICODE UTF-8", f"EVN|{event}|{on}",
        f"PID|1||{number}^^^NHS^NHS||S12^EDITH^^^MRS^^L||19500304|F",
        f"PV1|1|I|W3^Bay A^01^RA4||||||||||||||||{stay}^^^RA4^VN|||||||||||||||||19^Usual place of residence||||||||{'20261118090000|' if event == 'A01' else '|' + on}",
    )  # fmt: skip
    headers = {"Authorization": f"Bearer {ward.token}", "Content-Type": "x-application/hl7-v2+er7"}
    answer = httpx2.post(f"{ward.gateway.base}/hl7v2", content="\r".join(lines), headers=headers, timeout=30)
    assert answer.status_code == 200 and "\rMSA|AA|" in answer.text, answer.text
    return answer


def test_the_charity_that_the_person_chose_hears_of_the_discharge_and_sees_the_plan(programme: Programme) -> None:
    p = programme
    p.places(trust="health", hospital="health", age_uk="voluntary", diabetes_uk="voluntary")
    mel, dan = p.staff(mel=("age_uk", "link-worker"), dan=("diabetes_uk", "link-worker"))
    brought: dict[str, Any] = p.plan_of("Edith")
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), brought)
    ward = p.system("ward", "hospital", "--contributor")
    edith, number = p.person("edith", patient), brought["person"]["nhs_number"]
    edith.make({
        "resourceType": "ServiceRequest", "status": "active", "intent": "order", "code": AFTER, "subject": about(patient), "requester": about(patient),
        "performer": [{"reference": p.place("age_uk")}, {"reference": p.place("diabetes_uk")}],
    })  # fmt: skip

    said(ward, "A01", number, "V1", "20261118090500")
    said(ward, "A03", number, "V1", "20261119143000")
    assert edith.one(f"Encounter?patient={patient}")["status"] == "finished"
    assert mel.find("Task") == dan.find("Task") == [] == edith.find(f"Task?patient={patient}&code={LEFT}"), "asked to help, and told of no stay before Edith says yes"
    assert mel.total(f"CarePlan?patient={patient}") == mel.total(f"Encounter?patient={patient}") == 0

    yes = edith.allow(permit(p.place("age_uk")))
    said(ward, "A01", number, "V2", "20261121090500")
    said(ward, "A03", number, "V2", "20261125143000")
    (told,) = edith.find(f"Task?patient={patient}&code={LEFT}")
    assert told["owner"]["reference"] == p.place("age_uk") and "25 Nov 2026" in told["description"] and p.called("hospital") in told["description"]
    assert mel.read(f"Task/{told['id']}")["basedOn"][0]["reference"].startswith("ServiceRequest/"), "the discharge is a task of whom she chose"
    mel.page.get("/team")
    assert told["description"] in mel.page.words()
    mel.agree(patient)
    assert mel.plan(patient)["goals"][0]["text"] == "Edith walks to the shop and back"

    stay = mel.read(f"Encounter/{told['focus']['reference'].split('/')[1]}")
    assert stay["status"] == "finished" and dan.find("Task") == []
    plan = f"CarePlan/{mel.one(f'CarePlan?patient={patient}')['id']}"
    dan.knows_nothing_of(plan, f"Encounter/{stay['id']}", f"Task/{told['id']}", f"Patient/{patient}")
    assert dan.status(f"/plans/{patient}") == 404

    mel.change(f"Task/{told['id']}", status="completed")
    edith.end(yes)
    mel.knows_nothing_of(plan, f"Encounter/{stay['id']}")  # from the next request on
