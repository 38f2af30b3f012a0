"""Row 1, Personal Health Plan (East of England): a person and their key worker write a plan in a session; systems read it as FHIR."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from .town import NHS, Programme, about, id_of

OFFER = "https://fhir-gateway.example/CodeSystem/plan-offer"


def test_the_plan_of_a_session_goes_in_is_read_as_fhir_and_comes_back_equal(programme: Programme) -> None:
    p = programme
    p.places(trust="health", practice="health", other_practice="health")
    key, other = p.staff(nora=("practice", "practice-nurse"), omar=("other_practice", "gp"))
    source = p.system("plans", "trust", "--contributor", "--refers")
    plan: dict[str, Any] = p.plan_of(
        "Ivy", team=[("Nora", "practice")], created="2026-02-03",
        about_me={"most_important": "Sunday lunch with my grandsons", "please_do_and_dont": "Do ring first"},
        contingency=[{"id": "k-1", "name": "If I cannot breathe", "triggers": ["Cold air"], "what_should_happen": ["Ring the nurse"]}],
        x_session={"minutes": 45, "room": "Blue"}, review={"next": "2026-05-04", "every": "3 months", "responsible": "t-0"},
    )  # fmt: skip
    plan["team"][0] |= {"key_worker": True, "role": "Key worker"}
    patient = p.bring(source, plan)
    ivy = p.person("ivy", patient)

    assert key.status(f"/plans/{patient}") == 404, "until she confirmed that she is in the team"
    assert key.agree(patient) >= 1
    careplan = next(c for c in key.find(f"CarePlan?patient={patient}") if c["title"] == "Ivy's plan")
    assert key.read(f"CarePlan/{careplan['id']}")["status"] == "active"
    (team,) = key.find(f"CareTeam?patient={patient}")
    worker = next(m for m in team["participant"] if any(e.get("valueBoolean") for e in m.get("extension", ())))
    assert worker["role"][0]["text"] == "Key worker"
    goal = key.one(f"Goal?patient={patient}")
    assert goal["description"]["text"] == "Ivy walks to the shop and back"

    assert careplan["careTeam"] == [{"reference": f"CareTeam/{team['id']}"}] and key.read(careplan["goal"][0]["reference"])["id"] == goal["id"], "one leads to the other"
    key.page.get(f"/team/people/{patient}")
    assert "Sunday lunch with my grandsons" in key.page.words() and "Do ring first" in key.page.words()
    assert ivy.plan(patient) == plan, "what went in comes back, word for word"
    again = source.call("POST", "/plans", body=plan, headers={"Content-Type": "application/json"})
    assert again.status_code == 200 and again.json()["written"] == 0, again.text
    other.knows_nothing_of(f"CarePlan/{careplan['id']}", f"CareTeam/{team['id']}", f"Goal/{goal['id']}", f"Patient/{patient}")
    assert other.status(f"/plans/{patient}") == 404 and other.page.get(f"/team/people/{patient}").status_code == 404
    taken = other.call("POST", "/plans", body=plan | {"title": "Omar's plan"}, headers={"Content-Type": "application/json"})
    assert taken.status_code in (403, 404, 422) and ivy.plan(patient) == plan, "nor does the other practice write it"
    ivy.page.get("/my-plan/who-looked")
    assert "Nora" in ivy.page.words() and "Key worker" in (ivy.page.get("/my-plan") and ivy.page.words())

    due = "Plans to look at again"
    other.page.get("/team")
    assert due not in other.page.words() and "Ivy" not in other.page.words(), "whoever does not see the plan hears nothing of it"
    key.page.get("/team")
    assert f"{due} Ivy S01 : Ivy's plan , late since 4 May 2026. Who sees to that: Nora" in key.page.words()
    ivy.page.get("/my-plan")
    assert "It is time to look at this plan again Ivy's plan Late The day for it: 4 May 2026. Who sees to that: Nora" in ivy.page.words()

    now = datetime.now(UTC).astimezone(ZoneInfo("Europe/London")).date()
    later = now + timedelta(days=90)
    review = f"/team/people/{patient}/review/{careplan['id']}"
    key.page.get(review)
    assert key.page.send(review, **typed("on", now), **typed("then", now)).status_code == 422 and "Write a day after today" in key.page.words()
    assert other.page.get(review).status_code == 404
    key.page.get(review)
    key.page.send(review, **typed("on", now), **typed("then", later))
    assert ivy.plan(patient) == plan | {"reviewed_on": now.isoformat(), "review": plan["review"] | {"next": later.isoformat()}}, "nothing else changed"
    key.page.get("/team")
    assert due not in key.page.words()
    ivy.page.get("/my-plan")
    assert "It is time to look at this plan again" not in ivy.page.words() and "We will look at this plan again on" in ivy.page.words()
    ivy.page.get(f"/my-plan/review/{careplan['id']}")
    ivy.page.send(f"/my-plan/review/{careplan['id']}", **typed("on", None), **typed("then", later + timedelta(days=1)))
    assert ivy.plan(patient)["review"]["next"] == (later + timedelta(days=1)).isoformat(), "she may move the day of her own plan"
    key.page.get(review)
    assert f'value="{later.year}"' in key.page.page.split('name="then-year"')[1].split(">")[0], "that day stands in the form"
    key.page.send(review, **typed("on", now - timedelta(days=40)), **typed("then", later))
    assert (ivy.plan(patient)["reviewed_on"], ivy.plan(patient)["review"]["next"]) == (now.isoformat(), later.isoformat()), "a look that was forgotten is not the last one"
    key.page.get(review)
    key.page.send(review, **typed("on", now), **typed("then", None))
    assert ivy.plan(patient)["review"] == {k: v for k, v in plan["review"].items() if k != "next"}, "who empties the day says that nobody knows"


def test_a_plan_is_offered_and_begun_by_whoever_says_yes(programme: Programme) -> None:
    """Offered to everybody with a long-term condition: the offer is a Task of the person's; the plan follows their yes."""
    p = programme
    p.places(clinic="health", far="health")
    (stranger,) = p.staff(sid=("far", "gp"))
    source = p.system("register", "clinic", "--contributor", "--refers")
    plan = p.plan_of("Ron")
    who = {"resourceType": "Patient", "identifier": [{"system": NHS, "value": plan["person"]["nhs_number"]}], "name": [{"family": "S01", "given": ["Ron"]}], "birthDate": "1950-03-04"}
    made = source.call("POST", "Patient", body=who)
    assert made.status_code == 201, made.text
    ron = p.person("ron", id_of(made))
    offer = source.make({"resourceType": "Task", "status": "requested", "intent": "order", "code": {"coding": [{"system": OFFER, "code": "offered"}]},
                         "description": "Would you like a plan of your own?", "for": about(ron), "owner": about(ron)})  # fmt: skip
    stranger.knows_nothing_of(f"Task/{offer['id']}")
    assert ron.total(f"CarePlan?patient={ron.id}") == 0
    ron.change(f"Task/{offer['id']}", status="accepted")
    assert source.read(f"Task/{offer['id']}")["status"] == "accepted", "who offered it hears his yes"
    assert p.bring(source, plan) == ron.id and ron.plan(ron.id)["title"] == "Ron's plan", "and the plan is his, not another Ron's"


def typed(name: str, day: date | None) -> dict[str, str]:
    """A day as it is typed into three boxes."""
    parts = (str(day.day), str(day.month), str(day.year)) if day else ("", "", "")
    return {f"{name}-{box}": text for box, text in zip(("day", "month", "year"), parts, strict=True)}
