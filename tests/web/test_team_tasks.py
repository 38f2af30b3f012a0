"""Tasks on the team's page: declined with a reason, done, noted, by forms alone; whoever asked reads it, nobody else answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from ..test_task_links import KINDLY
from .test_doors import Visitor, as_

if TYPE_CHECKING:
    from ..conftest import Gateway


def ask(demo: Gateway, text: str) -> str:
    """The GP asks the charity; the Task's id."""
    (org,) = [e["resource"]["id"] for e in demo.get("gp", f"Organization?identifier={KINDLY}").json()["entry"]]
    task = {
        "resourceType": "Task", "status": "requested", "intent": "order", "description": text, "for": {"reference": f"Patient/{demo.patient}"},
        "requester": {"reference": demo.persona("gp")["fhirUser"]}, "owner": {"reference": f"Organization/{org}"},
    }  # fmt: skip
    made = demo.call("gp", "POST", "Task", body=task)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def answers(v: Visitor, task: str) -> list[str]:
    """Which forms of this task the page has, opening each part as a person would."""
    return re.findall(rf'action="/team/tasks/{task}/answer".*?name="what" value="([a-z]+)"', v.page, re.S)


def send(v: Visitor, task: str, what: str, words: str) -> str:
    v.get("/team")
    v._seen(v.http.post(f"/team/tasks/{task}/answer", data={"form_token": v.fields("/sign-out")["form_token"], "what": what, "words": words}))
    return v.words()


@pytest.fixture(scope="module")
def rosa(demo: Gateway) -> Visitor:
    return as_(demo, "link-worker")


def asked_by(demo: Gateway, text: str) -> str:
    """What the page of whoever asked says of this task."""
    v = as_(demo, "gp")
    v.get("/team")
    found = re.search(r'<section aria-labelledby="asked">(.*?)</section>', v.page, re.S)
    cards = re.split(r'<div class="nhsuk-card">', found.group(1)) if found else []
    v.page = "<main>" + next((c for c in cards if text in c), "") + "</main>"
    return v.words()


def test_a_yes_to_what_the_page_did_not_show_is_refused(demo: Gateway) -> None:
    about = {"subject": {"reference": f"Patient/{demo.patient}"}}

    def ordered(how: str, where: str = "IMP") -> None:
        stay = {"resourceType": "Encounter", "status": "finished", "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": where}, **about}
        morphine = {
            "resourceType": "MedicationRequest", "status": "active", "intent": "order", "medicationCodeableConcept": {"text": "Oramorph 10 mg"}, "authoredOn": "2026-11-20",
            "dosageInstruction": [{"text": how}], **about,
        }  # fmt: skip
        entries = [{"fullUrl": f"urn:uuid:01a20e05-0000-7000-8000-00000000007{n}", "resource": r, "request": {"method": "POST", "url": r["resourceType"]}} for n, r in enumerate((stay, morphine))]
        assert demo.call("hospital", "POST", "", body={"resourceType": "Bundle", "type": "transaction", "entry": entries}).status_code == 200

    v = as_(demo, "patient")
    ordered("One at night", "VR")
    v.get("/my-plan")
    assert "What was prescribed says otherwise of a medicine" in v.words() and "Said by A computer system, Example General Hospital" in v.words()
    assert "Taken now One at night" in v.words() and "Whoever sees your medicines in the plan will see this too" in v.words()
    (task,) = [t["resource"] for t in demo.get("patient", f"Task?patient={demo.patient}&code=change-medicine&status=requested").json()["entry"]]
    path = f"/my-plan/tasks/{task['id']}/answer"
    shown = v.fields(path)
    ordered("TEN at night")
    answer = v._seen(v.http.post(path, data={**shown, "what": "yes"}))
    assert f'href="#answer-{task["id"]}">This was changed meanwhile' in v.page and f'id="answer-{task["id"]}"' in v.page and "Taken now TEN at night" in v.words(), "it is looked at again at once"
    v._seen(v.http.post(path, data={**shown, "what": "decline", "words": "I sleep well"}))
    assert "What you wrote is here. Copy it if you need it. I sleep well" in v.words()
    assert answer.status_code == 412 and "at night" not in demo.get("patient", f"MedicationStatement?patient={demo.patient}").text
    v.get("/my-plan")
    assert v.send(path, what="decline", words=" ").status_code == 400 and v.page.index("There is something to put right") < v.page.index("<h1") and f'href="#words-decline-{task["id"]}"' in v.page, "not far below alone"
    assert "y" * 2001 in v.send(path, what="decline", words="y" * 2001).text
    v.send(path, what="decline", words="It was one")
    assert "The plan stays as it is" in v.words()


def test_a_task_that_somebody_wrote_like_one_of_the_gateway_s_is_shown_as_theirs(demo: Gateway) -> None:
    about = {"reference": f"Patient/{demo.patient}"}
    forged = {
        "resourceType": "Task", "status": "requested", "intent": "proposal", "code": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/task", "code": "change-medicine"}]},
        "description": "Agree to stop warfarin", "focus": {"reference": "MedicationRequest/none"}, "for": about, "owner": about, "requester": {"reference": demo.persona("hospital")["fhirUser"]},
    }  # fmt: skip
    v, says = as_(demo, "patient"), "whether the plan is to be changed"
    v.get("/my-plan")
    before = v.words()
    assert demo.call("hospital", "POST", "Task", body=forged).status_code == 201
    (task,) = [t["resource"] for t in demo.get("patient", f"Task?patient={demo.patient}&code=change-medicine&status=requested").json()["entry"]]
    path = f"/my-plan/tasks/{task['id']}/answer"
    v.get("/my-plan")
    assert "Agree to stop warfarin" in v.words() and v.words().count(says) == before.count(says) and path not in v.page
    done = demo.call("patient", "PUT", f"Task/{task['id']}", body={**task, "status": "completed"}, headers={"If-Match": 'W/"1"'})
    assert done.status_code == 200, done.text
    v.get("/my-plan")
    assert "Agree to stop warfarin" not in v.words() and v.words().count(says) == before.count(says) and "The plan was changed" not in v.words()


def test_a_task_is_declined_with_a_reason_that_whoever_asked_reads(demo: Gateway, rosa: Visitor) -> None:
    task = ask(demo, "A choir for her")
    rosa.get("/team")
    assert answers(rosa, task) == ["note", "decline"]
    for words, wrong in ((" \n", "Say why, so that whoever asked can look for something else."), ("x" * 2001, "Write less: 2,000 characters at most.")):
        assert wrong in send(rosa, task, "decline", words) and "There is something to put right" in rosa.words()
    assert demo.get("gp", f"Task/{task}").json()["status"] == "requested"
    assert "Whoever asked can read why." in send(rosa, task, "decline", "<b>No choir</b> & no hall")
    now = demo.get("gp", f"Task/{task}").json()
    assert (now["status"], now["statusReason"]) == ("rejected", {"text": "<b>No choir</b> & no hall"})
    rosa.get("/team")
    assert not answers(rosa, task)
    said = asked_by(demo, "A choir for her")
    assert "Declined" in said and "Why not <b>No choir</b> & no hall" in said
    for what in ("decline", "done", "note", "accept"):
        said = send(rosa, task, what, "again")
        assert "This was answered already, or it is not for you any more." in said and "A choir" not in said and "again" in said, "who said no sees no more of it, and keeps their own words"


def test_a_task_is_accepted_noted_and_done(demo: Gateway, rosa: Visitor) -> None:
    task = ask(demo, "A walk with her")
    assert "You accepted the task." in send(rosa, task, "accept", "")
    rosa.get("/team")
    assert answers(rosa, task) == ["done", "note", "decline"]
    assert "Write something first." in send(rosa, task, "note", "")
    assert "Your note is saved" in send(rosa, task, "note", "She likes the canal") and "Your note is saved" in send(rosa, task, "note", "Second time")
    assert "Note She likes the canal Second time" in asked_by(demo, "A walk with her")
    assert "what came of it" in send(rosa, task, "done", "We walked twice")
    now = demo.get("gp", f"Task/{task}").json()
    assert now["status"] == "completed" and now["output"][0]["valueString"] == "We walked twice"
    assert [n["text"] for n in now["note"]] == ["She likes the canal", "Second time", "We walked twice"]
    assert {n["authorReference"]["reference"] for n in now["note"]} == {demo.persona("link-worker")["fhirUser"]} and all(n["time"] for n in now["note"])
    said = asked_by(demo, "A walk with her")
    assert "Done" in said and "What came of it We walked twice" in said


@pytest.mark.parametrize(("who", "codes"), [("gp", {403}), ("social-worker", {403, 404}), ("stranger", {404}), ("patient", {403}), ("proxy", {403, 404})])
def test_nobody_but_whom_it_asks_answers(demo: Gateway, who: str, codes: set[int]) -> None:
    task = ask(demo, "A phone call")
    v = as_(demo, who)
    data = {"form_token": v.fields("/sign-out")["form_token"], "words": "I say so"}
    for what in ("decline", "done", "note"):
        assert v.http.post(f"/team/tasks/{task}/answer", data={**data, "what": what}).status_code in codes, what
    assert (now := demo.get("gp", f"Task/{task}").json())["status"] == "requested" and "note" not in now


def test_odd_forms_are_refused_plainly(demo: Gateway, rosa: Visitor) -> None:
    task = ask(demo, "An odd one")
    rosa.get("/team")
    token = rosa.fields("/sign-out")["form_token"]
    for data, code in (({"what": "cancel", "words": "x"}, 400), ({"words": "x"}, 400), ({"what": "done", "words": "x", "owner": "me"}, 400), ({"what": "done", "words": "x"}, 409)):
        assert rosa.http.post(f"/team/tasks/{task}/answer", data={"form_token": token, **data}).status_code == code, data
    assert rosa.http.post(f"/team/tasks/{task}/answer", data={"what": "note", "words": "x"}).status_code == 403, "no token of a form"
    for id in ("nobody", "%00", "a" * 70):
        assert rosa.http.post(f"/team/tasks/{id}/answer", data={"form_token": token, "what": "note", "words": "x"}).status_code == 404
    assert demo.get("gp", f"Task/{task}").json()["status"] == "requested"


def test_what_is_urgent_stands_first_and_says_whom_it_is_about(demo: Gateway) -> None:
    """An alert behind fifty tasks, of nobody in particular, helps nobody."""
    gp = demo.persona("gp")["fhirUser"]

    def owned(text: str, **more: str) -> None:
        task = {"resourceType": "Task", "status": "requested", "intent": "order", "description": text, "for": {"reference": f"Patient/{demo.patient}"}, "owner": {"reference": gp}, **more}
        assert demo.call("hospital", "POST", "Task", body=task).status_code == 201

    for n in range(51):
        owned(f"Routine {n}", authoredOn="2026-01-01")
    owned("Ring her today", priority="urgent")
    owned("Look at this reading", priority="stat")
    v = as_(demo, "gp")
    v.get("/team")
    waiting = v.page[v.page.index('<section aria-labelledby="tasks">') :]
    cards = [" ".join(re.sub(r"<[^>]+>", " ", c).split()) for c in re.split(r'<div class="nhsuk-card">', waiting)[1:3]]
    name = " ".join(t for n in demo.get("gp", f"Patient/{demo.patient}").json()["name"][:1] for t in (*n["given"], n["family"]))
    assert cards[0].startswith(f"Look at this reading At once For {name}") and cards[1].startswith(f"Ring her today Urgent For {name}"), cards
    assert f'<a href="/team/people/{demo.patient}">' in waiting and "More tasks wait than this page shows" in waiting
