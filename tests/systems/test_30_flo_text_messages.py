"""Row 30, Flo: people send readings by text message; the monitoring product, a medical device of its own, tells a nurse when one is wrong."""

from __future__ import annotations

from typing import Any

from .town import Member, Programme, about

HIGH = 180  # of the scripted product below, and of nobody here


class Flo:
    """A scripted monitoring product: it passes readings on and, by its own rules, asks a nurse to look."""

    def __init__(self, system: Member, team: str) -> None:
        self.system, self.team = system, team

    def hears(self, patient: str, text: str, name: str) -> Any:
        passed = self.system.call("POST", "/readings/sms", body={"patient": patient, "text": text, "message": name}, headers={"Content-Type": "application/json"})
        if passed.status_code == 201 and int(text.split()[1]) >= HIGH:
            self.system.make({"resourceType": "Task", "status": "requested", "intent": "order", "priority": "urgent", "description": f"Look at this reading: {text}",
                              "for": about(patient), "focus": {"reference": passed.json()["kept"]}, "owner": {"reference": self.team}})  # fmt: skip
        return passed


def test_a_high_reading_reaches_the_nurses_list_and_an_ordinary_one_the_trend(programme: Programme) -> None:
    p = programme
    p.places(trust="health", flo="health", team="health", elsewhere="health")
    nurse, stranger = p.staff(nye=("team", "community-nurse"), zed=("elsewhere", "community-nurse"))
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), p.plan_of("Gwyn", team=[("Nye", "team")]))
    gwyn = p.person("gwyn", patient)
    nurse.agree(patient)
    flo = Flo(p.system("flo", "flo", "--contributor", "--refers"), p.place("team"))

    ordinary = flo.hears(patient, "BP 141 80", "sms-1")
    assert ordinary.status_code == 201, ordinary.text
    assert nurse.total(f"Task?patient={patient}&status=requested&owner={p.place('team')}") == 0, "nobody is disturbed"
    high = flo.hears(patient, "BP 200 120", "sms-2")
    assert high.status_code == 201
    nurse.page.get("/team")
    assert "Look at this reading: BP 200 120" in nurse.page.words()
    task = nurse.one(f"Task?patient={patient}&status=requested&owner={p.place('team')}")
    assert task["focus"]["reference"] == high.json()["kept"]

    # nothing here judges a reading: the same from a service that tells nobody disturbs nobody
    meter = p.system("meter", "flo", "--contributor")
    assert meter.call("POST", "/readings/sms", body={"patient": patient, "text": "PULSE 190", "message": "m-1"}, headers={"Content-Type": "application/json"}).status_code == 201
    assert nurse.total(f"Task?patient={patient}&status=requested&owner={p.place('team')}") == 1
    reminder = flo.system.make({"resourceType": "Communication", "status": "completed", "subject": about(patient), "recipient": [about(patient)], "payload": [{"contentString": "Please send your blood pressure"}]})
    assert gwyn.read(f"Communication/{reminder['id']}")["payload"][0]["contentString"].startswith("Please send")
    gwyn.page.get("/my-plan/results")
    assert "200" in gwyn.page.words() and "120" in gwyn.page.words(), "and she sees it herself"
    nurse.change(f"Task/{task['id']}", status="completed")
    nurse.page.get("/team")
    assert "Look at this reading" not in nurse.page.words(), "seen to"
    stranger.knows_nothing_of(f"Task/{task['id']}", task["focus"]["reference"], f"Communication/{reminder['id']}")
    unknown = meter.call("POST", "/readings/sms", body={"patient": "nobody-here", "text": "BP 141 80", "message": "m-2"}, headers={"Content-Type": "application/json"})
    assert unknown.status_code == 422
    gwyn.page.get("/my-plan/who-looked")
    assert "Nye" in gwyn.page.words()

    trend = nurse.find(f"Observation?patient={patient}&code=85354-9&_sort=date")
    assert [[c["valueQuantity"]["value"] for c in o["component"]] for o in trend] == [[141, 80], [200, 120]]
    (whence,) = [w for w in nurse.find(f"Provenance?target={ordinary.json()['kept']}") if "text message" in str(w.get("activity"))]
    assert [a["who"]["reference"] for a in whence["agent"]] == [f"Patient/{patient}", p.place("flo")]

    assert flo.hears(patient, "BP 200 120", "sms-2").status_code == 200 and gwyn.total(f"Observation?patient={patient}&code=85354-9") == 2, "sent twice, kept once"
    wrong = flo.hears(patient, "BP 20 8000", "sms-3")
    assert wrong.status_code == 422 and gwyn.total(f"Observation?patient={patient}&code=85354-9") == 2
    flo.system.make({"resourceType": "Communication", "status": "completed", "priority": "urgent", "subject": about(patient), "recipient": [{"reference": nurse.user}],
                     "sent": "2026-11-20T10:00:00Z", "payload": [{"contentString": "Gwyn has not sent a reading for a week"}]})  # fmt: skip
    nurse.page.get("/team")
    assert "Gwyn S30 : Gwyn has not sent a reading for a week , 20 November 2026 at 10:00 am Urgent" in nurse.page.words(), "an alert may be a message, too"
    assert "a reading for a week" not in stranger.page.get("/team").text
    assert stranger.total(f"Observation?patient={patient}") == 0 and "BP 200" not in stranger.page.get("/team").text
