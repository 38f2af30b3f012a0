"""Row 45, OwnHealth, CareCall: a coach rings, writes the call down and when the next one is due; the person reads their plan from right to left."""

from __future__ import annotations

from .town import Programme, about

MY_GOALS = "میرے اہداف"
WORDS = "میں ہر روز پارک تک چلوں گا"


def test_the_next_call_falls_due_and_the_urdu_page_reads_from_right_to_left(programme: Programme) -> None:
    p = programme
    p.places(trust="health", coaching="health", elsewhere="health")
    coach, stranger = p.staff(cass=("coaching", "health-coach"), sid=("elsewhere", "health-coach"))
    plan = p.plan_of("Bilal", team=[("Cass", "coaching")])
    plan["person"] |= {"language": "ur"}
    plan["goals"][0]["text"] = WORDS
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), plan)
    bilal = p.person("bilal", patient)
    coach.agree(patient)
    assert [f["id"] for f in coach.find(f"Patient?language=ur&_id={patient}")] == [patient], "who needs a coach with this language is found"
    goal = f"Goal/{coach.one(f'Goal?patient={patient}')['id']}"

    call = coach.make({
        "resourceType": "Communication", "status": "completed", "subject": about(patient), "about": [{"reference": goal}], "sent": "2026-11-20T10:00:00Z",
        "sender": {"reference": coach.user}, "recipient": [about(patient)], "payload": [{"contentString": "We talked about the walk in the park."}],
        "medium": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationMode", "code": "PHONE"}]}],
    })  # fmt: skip
    task = coach.make({
        "resourceType": "Task", "status": "accepted", "intent": "plan", "description": "Ring about the walk", "for": about(patient), "focus": {"reference": goal},
        "owner": {"reference": coach.user}, "basedOn": [{"reference": f"Communication/{call['id']}"}], "executionPeriod": {"start": "2026-12-04", "end": "2026-12-04"},
    })  # fmt: skip
    mine = f"Task?patient={patient}&owner={coach.user}&status=accepted"
    assert [t["id"] for t in coach.find(f"{mine}&period=le2026-12-04")] == [task["id"]], "due on that day"
    assert coach.total(f"{mine}&period=le2026-12-03") == 0, "and not the day before"
    coach.page.get("/team")
    assert "Ring about the walk" in coach.page.words() and "Do it by 4 December 2026" in coach.page.words()
    coach.change(f"Task/{task['id']}", status="completed")
    assert coach.total(f"{mine}&period=le2026-12-04") == 0

    again = coach.make({k: v for k, v in task.items() if k not in ("id", "meta", "authoredOn", "lastModified")} | {"description": "Ring again about the walk", "executionPeriod": {"start": "2026-12-18", "end": "2026-12-18"}})
    assert [t["id"] for t in coach.find(f"Task?focus={goal}&status=accepted")] == [again["id"]], "the goal's next call"
    bilal.page.get("/my-plan")
    assert "Ring again about the walk" in bilal.page.words() and "18 December 2026" in bilal.page.words(), "and he knows when it comes"

    bilal.page.get("/language/ur?next=/my-plan")
    assert '<html lang="ur" dir="rtl"' in " ".join(bilal.page.get("/my-plan").text.split()) and ".rtl.min.css" in bilal.page.page
    assert MY_GOALS in bilal.page.words() and "My goals" not in bilal.page.words()
    assert WORDS in bilal.page.words(), "what was written stays as it was written"
    assert [c["payload"][0]["contentString"] for c in bilal.find(f"Communication?patient={patient}")] == ["We talked about the walk in the park."]
    bilal.page.get("/language/en?next=/my-plan")
    bilal.page.get("/my-plan/messages")
    assert "We talked about the walk in the park. From Cass S45 To Me When 20 November 2026 at 10:00 am How By phone What it is about" in bilal.page.words()
    assert WORDS in bilal.page.words(), "which goal it was about"
    bilal.page.get("/my-plan/who-looked")
    assert "Cass" in bilal.page.words()
    stranger.knows_nothing_of(f"Communication/{call['id']}", f"Task/{again['id']}", goal)
    assert stranger.total(f"Communication?patient={patient}") == stranger.total(f"Task?patient={patient}") == 0
