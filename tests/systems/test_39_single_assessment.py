"""Row 39, FACE, CAF and the single assessment process: a social worker and a matron amend one assessment; nothing of either is lost."""

from __future__ import annotations

import json
from typing import Any

from .town import NHS, Programme, about, permit, save

INTERWEAVE = "https://fhir.interweavedigital.nhs.uk/R4/StructureDefinition"


def answered(**answers: str) -> list[dict[str, Any]]:
    return [{"linkId": name, "answer": [{"valueString": text}]} for name, text in answers.items()]


def test_two_authors_amend_one_assessment(programme: Programme) -> None:
    p = programme
    p.places(trust="health", council="social-care", community="health", elsewhere="social-care")
    social, matron, stranger = p.staff(sid=("council", "social-worker"), meg=("community", "matron"), xan=("elsewhere", "social-worker"))
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), p.plan_of("Abe", team=[("Sid", "council"), ("Meg", "community")]))
    abe = p.person("abe", patient)
    social.agree(patient)
    matron.agree(patient)
    made = social.make({
        "resourceType": "QuestionnaireResponse", "status": "in-progress", "subject": about(patient), "author": {"reference": social.user},
        "authored": "2026-11-20T09:00:00Z", "item": answered(home="Two flights of stairs"),
    })  # fmt: skip
    ref = f"QuestionnaireResponse/{made['id']}"
    matron.make({"resourceType": "Task", "status": "in-progress", "intent": "order", "description": "Single assessment", "for": about(patient),
                 "focus": {"reference": ref}, "owner": {"reference": matron.user}})  # fmt: skip

    at_social, at_matron = social.get(ref), matron.get(ref)
    first = save(matron, at_matron.json() | {"item": answered(home="Two flights of stairs", breathing="Stops on the first")}, at_matron.headers["etag"])
    assert first.status_code == 200
    late = save(social, at_social.json() | {"item": answered(home="Two flights, no rail")}, at_social.headers["etag"])
    assert late.status_code == 412, "who was slower is told"
    blind = social.call("PUT", ref, body=at_social.json())
    assert blind.status_code == 400, "and cannot overwrite without looking"
    now = social.get(ref)
    both = [i if i["linkId"] != "home" else answered(home="Two flights, no rail")[0] for i in now.json()["item"]]
    assert save(social, now.json() | {"item": both, "status": "completed"}, now.headers["etag"]).status_code == 200
    final = matron.read(ref)
    assert {i["linkId"]: i["answer"][0]["valueString"] for i in final["item"]} == {"home": "Two flights, no rail", "breathing": "Stops on the first"}
    versions = matron.get(f"{ref}/_history").json()
    assert versions["total"] == 3, "each version is kept"
    assert [t["focus"]["reference"] for t in social.find(f"Task?patient={patient}&focus={ref}")] == [ref]
    who_wrote = [e["resource"]["item"][-1]["linkId"] for e in versions["entry"]]
    assert who_wrote == ["breathing", "breathing", "home"], "what each wrote is in the version that they wrote"
    abe.page.get("/my-plan/who-looked")
    assert "Sid" in abe.page.words() and "Meg" in abe.page.words()
    stranger.knows_nothing_of(ref, f"Patient/{patient}")
    assert stranger.call("PUT", ref, body=final, headers={"If-Match": 'W/"3"'}).status_code == 404
    no = abe.allow(permit(matron.user, type="deny", data=[{"meaning": "instance", "reference": {"reference": ref}}]))
    matron.knows_nothing_of(ref)
    assert social.status(ref) == 200, "his no to one of them is none to the other"
    abe.end(no)


def test_the_councils_own_file_comes_in_with_its_assessment_as_a_task(programme: Programme) -> None:
    """As the Interweave profiles have it: a reason for support, the assessment (a Task with an outcome), its answers."""
    p = programme
    p.places(office="social-care", ward="health", far="health")
    matron, stranger = p.staff(mo=("ward", "matron"), xia=("far", "matron"))
    plan = p.plan_of("Una", team=[("Mo", "ward")])
    source = p.system("liquid", "office", "--contributor", "--refers")
    patient = p.bring(source, plan)
    matron.agree(patient)
    person = {"resourceType": "Patient", "id": "sc-5", "identifier": [{"system": NHS, "value": plan["person"]["nhs_number"]}], "name": [{"family": "S39", "given": ["Una"]}], "birthDate": "1950-03-04"}
    answers = {"resourceType": "QuestionnaireResponse", "id": "qr-1", "status": "completed", "subject": {"reference": "Patient/sc-5"}, "source": {"reference": "Patient/sc-5"}, "authored": "2026-11-18T14:00:00Z", "item": answered(home="One step")}
    assessment = {
        "resourceType": "Task", "id": "as-1", "meta": {"profile": [f"{INTERWEAVE}/Interweave-SocialCareAssessment"]}, "status": "completed", "intent": "order",
        "description": "Assessment of needs", "for": {"reference": "Patient/sc-5"}, "focus": {"reference": "QuestionnaireResponse/qr-1"},
        "extension": [{"url": f"{INTERWEAVE}/Extension-Interweave-SocialCareAssessmentOutcome", "valueCodeableConcept": {"text": "Progress to support"}}],
    }  # fmt: skip
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"fullUrl": f"https://council.example/fhir/{r['resourceType']}/{r['id']}", "resource": r} for r in (person, answers, assessment)]}
    file = p.town.folder / "s39.json"
    file.write_text(json.dumps(bundle))
    (line,) = p.town.command("import", "--as", f"{p.key}-liquid", str(file))
    assert not line["refused"], line
    (task,) = [t for t in matron.find(f"Task?patient={patient}") if t.get("description") == "Assessment of needs"]
    assert task["extension"][0]["valueCodeableConcept"]["text"] == "Progress to support" and task["meta"]["profile"] == [f"{INTERWEAVE}/Interweave-SocialCareAssessment"]
    assert matron.read(task["focus"]["reference"])["item"][0]["answer"][0]["valueString"] == "One step"
    stranger.knows_nothing_of(f"Task/{task['id']}", task["focus"]["reference"])
