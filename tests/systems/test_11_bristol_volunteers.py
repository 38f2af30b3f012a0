"""Row 11, Bristol's My Care Plan and its volunteers: a volunteer helps to fill the plan in; nothing of it counts until the person accepts it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from .town import Member, Person, Programme, about, actions, permit, save


@pytest.fixture(scope="module", autouse=True)
def places(programme: Programme) -> None:
    programme.places(trust="health", surgery="health", helpers="voluntary")


def helped(p: Programme) -> tuple[Member, Member, Person, str]:
    """(the volunteer, the GP, the person, their id): the charity may read and add to Ida's plan, as she said."""
    vic, gp = p.staff(vic=("helpers", "volunteer"), gp=("surgery", "gp"))
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), p.plan_of("Ida", team=[("GP", "surgery")]))
    ida = p.person("ida", patient)
    gp.agree(patient)
    ida.allow(permit(p.place("helpers"), **actions("access", "collect", "correct")))
    return vic, gp, ida, patient


def a_goal(patient: str, text: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": text}, "subject": about(patient)} | more


def test_what_a_volunteer_writes_waits_until_the_person_accepts_it(programme: Programme) -> None:
    vic, gp, ida, patient = helped(programme)
    before = ida.plan(patient)
    goal = gp.one(f"Goal?patient={patient}")

    # new, through FHIR: it is kept, nobody has it
    sent = vic.call("POST", "Goal", body=a_goal(patient, "I sing in the choir again"))
    assert sent.status_code == 202 and "once the person accepts it" in sent.text, sent.text
    task = sent.headers["location"].split("/fhir/")[1]
    for who in (gp, ida, vic):
        assert [g["id"] for g in who.find(f"Goal?patient={patient}")] == [goal["id"]], "a draft is no goal of the plan"

    # an edit of what is there, through a transaction, and a deletion: kept beside it, never applied
    edit = {**goal, "description": {"text": "Ida walks to the sea"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": edit, "request": {"method": "PUT", "url": f"Goal/{goal['id']}", "ifMatch": 'W/"1"'}}]}
    answered = vic.call("POST", "", body=bundle)
    assert answered.status_code == 200 and answered.json()["entry"][0]["response"]["status"] == "202 Accepted"
    assert vic.call("DELETE", f"Goal/{goal['id']}", headers={"If-Match": 'W/"1"'}).status_code == 202
    assert gp.read(f"Goal/{goal['id']}") == goal
    assert ida.plan(patient) == before

    # the team sees that something waits, and not what
    (mark, *_) = gp.find(f"Task?patient={patient}&code=accept-draft")
    assert mark["intent"] == "proposal" and mark["status"] == "requested" and "choir" not in str(mark)
    gp.page.get(f"/team/people/{patient}")
    assert "A volunteer has written a draft" in gp.page.words() and "choir" not in gp.page.words()
    assert gp.status(f"/patients/{patient}/drafts") == 404
    assert gp.call("POST", f"/patients/{patient}/drafts/{task.split('/')[1]}", body={"answer": "accept"}, headers={"Content-Type": "application/json"}).status_code == 404
    mine = vic.get(f"/patients/{patient}/drafts").json()["drafts"]
    assert len(mine) == 3 and all("resource" not in c for d in mine for c in d["changes"]), "the volunteer is told which wait"

    # the person looks, accepts one, and does not take the others
    ida.page.get("/my-plan")
    assert "A volunteer has written a draft for you" in ida.page.words()
    ida.page.get("/my-plan/drafts")
    assert "I sing in the choir again" in ida.page.words() and "Vic" in ida.page.words() and "Ida walks to the sea" in ida.page.words()
    assert "Ida walks to the shop and back" in ida.page.words(), "what is there now stands beside what it would be"
    (away,) = [c for d in ida.get(f"/patients/{patient}/drafts").json()["drafts"] for c in d["changes"] if c["method"] == "DELETE"]
    assert away["now"] == goal and "All of this would go" in ida.page.words(), "and all that would be taken away"
    assert ida.page.words().split("All of this would go")[1].count("Ida walks to the shop and back") >= 1
    ida.page.send(f"/my-plan/drafts/{task.split('/')[1]}", answer="accept")
    assert "It is part of your plan now" in ida.page.words()
    (sung,) = [g for g in gp.find(f"Goal?patient={patient}") if g["id"] != goal["id"]]
    assert sung["description"]["text"] == "I sing in the choir again" and sung["lifecycleStatus"] == "active"

    for said in re.findall(r'action="(/my-plan/drafts/[^"]+)"', ida.page.page):
        ida.page.get("/my-plan/drafts")
        ida.page.send(said, answer="refuse")
    assert "Nothing waits for you now" in ida.page.words()
    assert gp.read(f"Goal/{goal['id']}") == goal
    assert {t["status"] for t in gp.find(f"Task?patient={patient}&code=accept-draft")} == {"completed", "rejected"}

    # who wrote it and who says that it is right
    (found,) = [p for p in gp.find(f"Provenance?target=Goal/{sung['id']}") if len(p["agent"]) == 2 and p["agent"][1]["type"]["coding"][0]["code"] == "attester"]
    assert [(a["type"]["coding"][0]["code"], a["who"]["reference"]) for a in found["agent"]] == [("author", vic.user), ("attester", ida.user)]
    ida.page.get("/my-plan/who-looked")
    assert "Wrote a draft for your plan or record" in ida.page.words()

    # the same on a page: changing the goal there is a draft, too
    form = f"/team/people/{patient}/edit/Goal/{goal['id']}"
    vic.page.get(f"/team/people/{patient}")
    assert form in vic.page.page
    vic.page.get(form)
    assert "What you write is a draft" in vic.page.words()
    vic.page.send(form, text="Ida dances with Joan")
    assert "Your change is kept as a draft" in vic.page.words() and "Ida dances" not in vic.page.words()
    assert gp.read(f"Goal/{goal['id']}") == goal
    ida.page.get("/my-plan/drafts")
    assert "Ida dances with Joan" in ida.page.words()


def test_a_draft_of_what_was_changed_meanwhile_is_not_accepted(programme: Programme) -> None:
    p = programme
    vic = p.again(p.staff(val=("helpers", "volunteer"))[0], "val")
    patient = p.bring(p.system("more", "trust", "--contributor", "--refers"), p.plan_of("Olga", team=[("GP", "surgery")]))
    olga = p.person("olga", patient)
    whole = {"class": [{"system": "urn:ietf:rfc:3986", "code": "https://fhir-gateway.example/StructureDefinition/identity-details"}]}
    olga.allow(permit(p.place("helpers"), **actions("access", "collect", "correct")), permit(p.place("helpers"), **whole))
    goal = olga.one(f"Goal?patient={patient}")
    seen = vic.read(f"Goal/{goal['id']}")
    assert save(vic, {**seen, "description": {"text": "Walk less"}}, 'W/"1"').status_code == 202
    olga.change(f"Goal/{goal['id']}", description={"text": "I walk further"})
    (draft,) = olga.get(f"/patients/{patient}/drafts").json()["drafts"]
    assert draft["fits"] is False and draft["changes"][0]["resource"]["description"]["text"] == "Walk less"
    said = {"Content-Type": "application/json"}
    refused = olga.call("POST", f"/patients/{patient}/drafts/{draft['id']}", body={"answer": "accept"}, headers=said)
    assert refused.status_code == 412 and olga.read(f"Goal/{goal['id']}")["description"]["text"] == "I walk further"

    # the plan as a file, and a form: neither is a way round
    plan = vic.plan(patient)
    plan["goals"].append({"id": "g-2", "text": "Olga learns to swim", "status": "in progress"})
    sent = vic.call("POST", "/plans", body=plan, headers=said)
    assert sent.status_code == 202, sent.text
    assert olga.total(f"Goal?patient={patient}") == 1 and len(olga.plan(patient)["goals"]) == 1
    drafts = olga.get(f"/patients/{patient}/drafts").json()["drafts"]
    (plan_draft,) = [d["id"] for d in drafts if len(d["changes"]) > 1]
    accepted = olga.call("POST", f"/patients/{patient}/drafts/{plan_draft}", body={"answer": "accept"}, headers=said)
    assert accepted.status_code == 200, accepted.text
    assert [g["text"] for g in olga.plan(patient)["goals"]] == ["I walk further", "Olga learns to swim"]
    assert olga.call("POST", f"/patients/{patient}/drafts/{plan_draft}", body={"answer": "accept"}, headers=said).status_code == 404, "once"

    # every other door of FHIR
    before = {t: [(r["id"], r["meta"]["versionId"]) for r in olga.find(f"{t}?patient={patient}&_count=100")] for t in ("Goal", "CarePlan", "Condition", "Observation", "Task")}
    here = f"Goal/{goal['id']}"
    patch = [{"op": "replace", "path": "/lifecycleStatus", "value": "completed"}]
    json_patch = {"Content-Type": "application/json-patch+json", "If-Match": 'W/"2"'}
    new = a_goal(patient, "Batch", identifier=[{"system": "urn:t", "value": "1"}])
    assert vic.call("PATCH", here, body=patch, headers=json_patch).status_code == 202
    assert vic.call("PATCH", f"Goal?_id={goal['id']}&patient={patient}", body=patch, headers=json_patch).status_code == 202
    assert vic.call("PUT", f"Goal?identifier=urn:t|1&patient={patient}", body=new).status_code == 202
    assert vic.call("POST", "Goal", body=new, headers={"If-None-Exist": "identifier=urn:t|1"}).status_code == 202
    batch = vic.call("POST", "", body={"resourceType": "Bundle", "type": "batch", "entry": [{"resource": new, "request": {"method": "POST", "url": "Goal"}}]})
    assert batch.json()["entry"][0]["response"]["status"] == "202 Accepted"
    reading = {"patient": patient, "text": "BP 141 80", "message": "sms-1"}
    texted = vic.call("POST", "/readings/sms", body=reading, headers=said)
    assert texted.status_code == 202 and "once the person accepts it" in texted.text and texted.headers["location"].endswith(texted.json()["draft"]), texted.text
    assert vic.status(texted.json()["waits"]) == 404 and "kept" not in texted.json()
    once_more = vic.call("POST", "/readings/sms", body=reading, headers=said)
    assert (once_more.status_code, once_more.json()) == (202, texted.json()), "it is the same reading, and it waits still"
    assert vic.call("POST", "/readings/sms", body={**reading, "text": "BP 190 110"}, headers=said).status_code == 422
    after = {t: [(r["id"], r["meta"]["versionId"]) for r in olga.find(f"{t}?patient={patient}&_count=100")] for t in before}
    assert {k: v for k, v in after.items() if k != "Task"} == {k: v for k, v in before.items() if k != "Task"}
    assert all("accept-draft" in str(olga.read(f"Task/{id}")) for id, _ in set(after["Task"]) - set(before["Task"]))

    # what is no part of a plan a volunteer cannot even propose
    person = vic.read(f"Patient/{patient}")
    assert save(vic, {**person, "gender": "other"}, f'W/"{person["meta"]["versionId"]}"').status_code == 403
    for body in (
        {"resourceType": "Consent", "status": "active", "scope": {"coding": [{"code": "patient-privacy"}]}, "category": [{"text": "x"}], "patient": about(patient), "policyRule": {"text": "x"}},
        {"resourceType": "Encounter", "status": "planned", "class": {"code": "AMB"}, "subject": about(patient)},
    ):
        assert vic.call("POST", body["resourceType"], body=body).status_code in (403, 422), body["resourceType"]

    # their own answer to a task that is theirs needs nobody's yes; words in it do
    asked = olga.make({"resourceType": "Task", "status": "requested", "intent": "order", "description": "Come on Tuesdays", "for": about(patient), "owner": {"reference": vic.user}})
    vic.change(f"Task/{asked['id']}", status="accepted")
    assert olga.read(f"Task/{asked['id']}")["status"] == "accepted"
    vic.change(f"Task/{asked['id']}", 202, description="Come on Mondays")

    taken = olga.call("POST", f"/patients/{patient}/drafts/{texted.json()['draft'].split('/')[1]}", body={"answer": "accept"}, headers=said)
    assert taken.status_code == 200 and texted.json()["waits"] in taken.json()["written"], taken.text
    kept = vic.call("POST", "/readings/sms", body=reading, headers=said)
    assert (kept.status_code, kept.json()) == (200, {"kept": texted.json()["waits"]})

    for waiting in vic.get(f"/patients/{patient}/drafts").json()["drafts"]:
        assert vic.call("POST", f"/patients/{patient}/drafts/{waiting['id']}", body={"answer": "withdraw"}, headers=said).status_code == 200
    assert olga.get(f"/patients/{patient}/drafts").json()["drafts"] == []


def test_a_form_that_a_volunteer_fills_in_is_sent_by_them_and_accepted_by_the_person(programme: Programme) -> None:
    p = programme
    vic = p.staff(vera=("helpers", "volunteer"))[0]
    patient = p.bring(p.system("forms", "trust", "--contributor", "--refers"), p.plan_of("Una", team=[("GP", "surgery")]))
    una = p.person("una", patient)
    una.allow(permit(p.place("helpers"), **actions("access", "collect", "correct")))
    answers = {
        "resourceType": "QuestionnaireResponse", "questionnaire": "https://fhir-gateway.example/Questionnaire/scores", "status": "in-progress",
        "subject": about(patient), "item": [{"linkId": "scores", "item": [{"linkId": "health-today", "answer": [{"valueInteger": 70}]}]}],
    }  # fmt: skip
    begun = vic.make(answers)
    assert begun["status"] == "in-progress", "what is not finished can be gone on with"
    ref = f"QuestionnaireResponse/{begun['id']}"
    vic.change(ref, item=[{"linkId": "scores", "item": [{"linkId": "health-today", "answer": [{"valueInteger": 75}]}]}])
    vic.change(ref, 202, status="completed")
    assert una.read(ref)["status"] == "in-progress"
    made = vic.call("POST", f"{ref}/$extract", body={"resourceType": "Parameters"})
    assert una.total(f"Observation?patient={patient}") == 0, made.text
    (draft,) = [d for d in una.get(f"/patients/{patient}/drafts").json()["drafts"] if d["changes"][0]["ref"] == ref]
    una.page.get("/my-plan/drafts")
    una.page.send(f"/my-plan/drafts/{draft['id']}", answer="accept")
    assert una.read(ref)["status"] == "completed"

    sent = vic.call("POST", f"{ref}/$extract", body={"resourceType": "Parameters"})
    assert sent.status_code == 200 and una.total(f"Observation?patient={patient}") == 0, sent.text
    una.page.get("/my-plan/drafts")
    (waiting,) = una.get(f"/patients/{patient}/drafts").json()["drafts"]
    una.page.send(f"/my-plan/drafts/{waiting['id']}", answer="accept")
    assert una.total(f"Observation?patient={patient}") == 1
    again = una.call("POST", f"{ref}/$extract", body={"resourceType": "Parameters"})
    assert again.status_code == 200 and una.total(f"Observation?patient={patient}") == 1, "made of the answers once"
