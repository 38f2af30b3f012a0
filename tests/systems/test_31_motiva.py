"""Row 31, Philips Motiva: a film to watch, questions a week later, and a nurse who is asked to look at the answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from .town import Programme, about


def test_a_film_then_questions_then_the_nurses_list(programme: Programme) -> None:
    p = programme
    p.places(trust="health", motiva="health", team="health", elsewhere="health")
    nurse, stranger = p.staff(nat=("team", "specialist-nurse"), una=("elsewhere", "specialist-nurse"))
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), p.plan_of("Gil", team=[("Nat", "team")]))
    gil = p.person("gil", patient)
    nurse.agree(patient)
    motiva = p.system("motiva", "motiva", "--contributor", "--refers")

    sent = datetime.now(UTC) - timedelta(hours=1)
    due_on = (sent + timedelta(days=7)).date()
    film = motiva.make({
        "resourceType": "Communication", "status": "completed", "subject": about(patient), "recipient": [about(patient)], "sent": sent.isoformat(timespec="seconds"),
        "payload": [{"contentAttachment": {"url": "https://films.example/salt-and-your-heart", "title": "Salt and your heart", "contentType": "text/html"}}],
    })  # fmt: skip
    asked = motiva.make({
        "resourceType": "Task", "status": "requested", "intent": "order", "description": "A few questions about the film", "for": about(patient), "owner": about(patient),
        "focus": {"reference": f"Communication/{film['id']}"}, "restriction": {"period": {"end": due_on.isoformat()}},
        "input": [{"type": {"text": "questionnaire"}, "valueCanonical": "https://films.example/Questionnaire/salt|1"}],
    })  # fmt: skip
    assert gil.read(f"Communication/{film['id']}")["payload"][0]["contentAttachment"]["url"].startswith("https://films")
    gil.page.get("/my-plan/messages")
    assert "Salt and your heart : https://films.example/salt-and-your-heart" in gil.page.words() and 'href="https://films' not in gil.page.page
    due = gil.one(f"Task?patient={patient}&owner=Patient/{patient}&status=requested")
    seen = gil.read(f"Communication/{film['id']}")
    assert datetime.fromisoformat(due["restriction"]["period"]["end"]).date() - datetime.fromisoformat(seen["sent"]).date() == timedelta(days=7), "a week after the film"
    assert due["input"][0]["valueCanonical"].startswith("https://films.example/Questionnaire/") and due["focus"]["reference"] == f"Communication/{film['id']}"
    by_then = f"Task?patient={patient}&owner=Patient/{patient}&status=requested&_lastUpdated=ge{sent.date()}"
    assert [t["id"] for t in gil.find(by_then)] == [asked["id"]]
    stranger.knows_nothing_of(f"Communication/{film['id']}", f"Task/{asked['id']}")
    gil.page.get("/my-plan")
    assert "A few questions about the film" in gil.page.words() and f"{due_on.day} {due_on:%B %Y}" in gil.page.words(), "on his page, with the day"
    assert stranger.call("PUT", f"Task/{asked['id']}", body=asked | {"status": "completed"}, headers={"If-Match": 'W/"1"'}).status_code == 404, "nobody answers for him"

    answers = gil.make({
        "resourceType": "QuestionnaireResponse", "status": "completed", "subject": about(patient), "author": about(patient), "authored": "2026-11-20T19:00:00Z",
        "questionnaire": "https://films.example/Questionnaire/salt|1", "item": [{"linkId": "ankles", "answer": [{"valueString": "My ankles are swollen"}]}],
    })  # fmt: skip
    gil.change(f"Task/{asked['id']}", status="completed", output=[{"type": {"text": "answers"}, "valueReference": {"reference": f"QuestionnaireResponse/{answers['id']}"}}])

    done = motiva.read(f"Task/{asked['id']}")
    given = done["output"][0]["valueReference"]["reference"]
    assert done["status"] == "completed" and motiva.status(given) == 404, "the product hears that he answered; what he said is his"
    motiva.make({"resourceType": "Task", "status": "requested", "intent": "order", "description": "Look at Gil's answers", "for": about(patient),
                 "focus": {"reference": given}, "owner": {"reference": p.place("team")}})  # fmt: skip
    nurse.page.get("/team")
    assert "Look at Gil's answers" in nurse.page.words()
    assert nurse.read(given)["item"][0]["answer"][0]["valueString"] == "My ankles are swollen"
    look = nurse.one(f"Task?patient={patient}&focus={given}")
    assert look["owner"]["reference"] == p.place("team") and look["status"] == "requested", "the answers lead to the nurse's list"
    nurse.change(f"Task/{look['id']}", status="completed")
    nurse.page.get("/team")
    assert "Look at Gil's answers" not in nurse.page.words()
    stranger.knows_nothing_of(given, f"Task/{look['id']}")
    gil.page.get("/my-plan/who-looked")
    assert "Nat" in gil.page.words()
    assert "Gil" not in stranger.page.get("/team").text
    assert stranger.page.get(f"/team/people/{patient}/messages").status_code == 404
