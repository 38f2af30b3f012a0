"""Row 25: social prescribing with case management. A worker of a charity who takes a referral on joins the team that the person shares with, and leaves it when it is done."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ..conftest import Gateway
from ..spoken import consent, given, permit, save
from .referring import entries
from .town import Member, Person, Programme, about, actions, classes


def test_a_yes_to_the_team_reaches_the_charitys_worker_who_says_that_they_are_in_it(demo: Gateway) -> None:
    rosa = demo.persona("link-worker")["fhirUser"]
    team = {"resourceType": "CareTeam", "status": "active", "subject": {"reference": f"Patient/{demo.patient}"}, "name": "Getting out again",
            "participant": [{"member": {"reference": rosa}, "period": {"start": "2026-11-01"}}]}  # fmt: skip
    made = demo.call("gp", "POST", "CareTeam", body=team)
    assert made.status_code == 201, made.text
    goals = f"Goal?patient={demo.patient}"

    def asked() -> list[dict[str, object]]:
        about = f"CareTeam/{made.json()['id']}"
        return [t for t in entries(demo, "Task?status=requested&_count=50", "link-worker") if t.get("focus", {}).get("reference") == about]

    assert not asked(), "somebody outside health and social care learns nothing before the person says yes"
    with given(demo, consent(demo.patient, permit(f"CareTeam/{made.json()['id']}"))):
        (question,) = asked()
        assert demo.get("link-worker", goals).json()["total"] == 0, "being named is not being in it"
        now = demo.get("link-worker", f"Task/{question['id']}")
        assert save(demo, now.json() | {"status": "accepted"}, now.headers["etag"], by="link-worker").status_code == 200
        assert demo.get("link-worker", goals).json()["total"] > 0, "a yes to the team reaches them"
        current = demo.get("gp", f"CareTeam/{made.json()['id']}")
        over = current.json() | {"participant": [{"member": {"reference": rosa}, "period": {"start": "2026-11-01", "end": datetime.now(UTC).isoformat(timespec="seconds")}}]}
        assert save(demo, over, current.headers["etag"], by="gp").status_code == 200
        end = datetime.now(UTC).timestamp() + 10
        while demo.get("link-worker", goals).json()["total"] and datetime.now(UTC).timestamp() < end:
            pass
        assert demo.get("link-worker", goals).json()["total"] == 0, "with the end of their period their reading ends"
    assert demo.get("link-worker", goals).json()["total"] == 0


def test_a_team_that_is_made_after_the_yes_is_asked_at_once(demo: Gateway) -> None:
    rosa = demo.persona("link-worker")["fhirUser"]
    team = {"resourceType": "CareTeam", "status": "active", "subject": {"reference": f"Patient/{demo.patient}"}, "participant": [{"member": {"reference": demo.persona("gp")["fhirUser"]}}]}
    made = demo.call("patient", "POST", "CareTeam", body=team)
    with given(demo, consent(demo.patient, permit(f"CareTeam/{made.json()['id']}"))):
        now = demo.get("patient", f"CareTeam/{made.json()['id']}")
        joined = now.json() | {"participant": [*now.json()["participant"], {"member": {"reference": rosa}}]}
        assert save(demo, joined, now.headers["etag"]).status_code == 200
        about = f"CareTeam/{made.json()['id']}"
        assert [t for t in entries(demo, "Task?status=requested&_count=50", "link-worker") if t.get("focus", {}).get("reference") == about]


# -- brought in by a referral ------------------------------------------------------------------------------------------


class Walk:
    """Ron, his GP and the walking group of a charity; what he shares with his team, and a referral to the group for his plan."""

    def __init__(self, p: Programme) -> None:
        p.places(trust="health", surgery="health", charity="voluntary", others="voluntary")
        self.p = p
        (self.gp, self.worker, self.colleague, self.stranger) = p.staff(gia=("surgery", "gp"), wes=("charity", "link-worker"), col=("charity", "link-worker"), sid=("others", "link-worker"))
        self.records = p.system("records", "trust", "--contributor", "--refers")
        self.service = p.settled({
            "resourceType": "HealthcareService", "id": "s25-walks", "active": True, "name": "Walking group (s25)", "providedBy": {"reference": p.place("charity")},
        })["HealthcareService/s25-walks"].split("/")[1]  # fmt: skip

    def somebody(self, given: str) -> tuple[Person, dict[str, Any], str, str]:
        """(they, their plan's file, their team, their goal)."""
        file = self.p.plan_of(given, team=[("Gia", "surgery")])
        person = self.p.person(given.lower(), patient := self.p.bring(self.records, file))
        self.gp.agree(patient)
        team = f"CareTeam/{person.one(f'CareTeam?patient={patient}')['id']}"
        return person, file, team, f"Goal/{person.one(f'Goal?patient={patient}')['id']}"

    def ask(self, by: Member, person: Person, **typed: str) -> str:
        """On the page of the service: the Task that the charity gets."""
        at = f"/services/{self.service}"
        by.page.get(at if by is person else f"{at}?for={person.id}")
        done = by.page.send(f"{at}/ask", why="He wants to get out again", days="30", **typed)
        assert done.status_code == 200 and "It was asked for" in done.text, done.text[:2000]
        owner = self.p.place("charity")
        return f"Task/{person.one(f'Task?patient={person.id}&owner={owner}&status=requested')['id']}"

    def members(self, person: Person, team: str) -> list[dict[str, Any]]:
        """Of the team, those of the charity."""
        return [m for m in person.read(team)["participant"] if m.get("member", {}).get("reference") in (self.worker.user, self.colleague.user)]


@pytest.fixture(scope="module")
def walk(programme: Programme) -> Walk:
    return Walk(programme)


def test_who_takes_the_referral_on_is_in_the_team_with_its_rights_until_it_is_done(walk: Walk) -> None:
    ron, file, team, goal = walk.somebody("Ron")
    worker, plan = walk.worker, f"CarePlan/{ron.one(f'CarePlan?patient={ron.id}')['id']}"
    task = walk.ask(walk.gp, ron, team="yes")
    assert ron.read(walk_request := worker.read(task)["focus"]["reference"])["basedOn"] == [{"reference": plan}]
    worker.knows_nothing_of(plan, goal, team)  # asked, and no more

    worker.page.get("/team")
    assert worker.page.send(f"/{task.replace('Task/', 'team/tasks/')}/accept").status_code == 200
    (member,) = walk.members(ron, team)
    until = ron.read(task)["restriction"]["period"]["end"]
    assert member["member"] == {"reference": worker.user, "display": "Wes S25"} and member["onBehalfOf"]["reference"] == walk.p.place("charity")
    assert member["role"] == [{"text": "Walking group (s25)"}] and member["period"]["end"][:19] == until[:19], "for as long as the referral says"
    assert "Wes S25" in [m.get("name") for m in ron.plan(ron.id)["team"]]
    ron.page.get("/my-plan")
    assert "Wes S25" in ron.page.words(), "he sees who came into his team"
    worker.knows_nothing_of(plan, goal)  # to be in the team opens what he shares with it: as yet nothing

    yes = ron.allow(permit(team, **actions("access", "collect", "correct")))
    assert worker.plan(ron.id)["goals"][0]["text"] == "Ron walks to the shop and back"
    worker.change(goal, note=[{"text": "Walked with the group on Tuesday"}])
    led = worker.make({"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Ron leads a walk"}, "subject": about(ron)})
    worker.change(plan, goal=[*worker.read(plan)["goal"], {"reference": f"Goal/{led['id']}"}])
    assert "Ron leads a walk" in [g["text"] for g in walk.gp.plan(ron.id)["goals"]], "the plan is updated, for all of the team"
    walk.colleague.knows_nothing_of(plan, goal)  # of the same charity, and not who took it on
    walk.stranger.knows_nothing_of(plan, goal, team, task)
    assert not [t for t in worker.find("Task?status=requested") if t["focus"]["reference"] == team], "who took it on is not asked whether they are in the team"

    for by, sent in ((walk.records, file), (ron, ron.plan(ron.id) | {"title": "Ron's own plan"})):
        again = by.call("POST", "/plans", body=sent, headers={"Content-Type": "application/json"})
        assert again.status_code in (200, 201) and walk.members(ron, team) == [member] and worker.status(goal) == 200, "whoever writes the plan does not take them out"
        assert [m.get("name") for m in ron.plan(ron.id)["team"]].count("Wes S25") == 1

    worker.change(task, status="completed", output=[{"type": {"text": "Outcome"}, "valueString": "He walks twice a week"}])
    (member,) = walk.members(ron, team)
    assert member["period"]["start"][:19] <= member["period"]["end"][:19] <= datetime.now(UTC).isoformat()[:19], "the period ends with it"
    worker.knows_nothing_of(plan, goal)
    assert worker.call("PUT", goal, body=ron.read(goal), headers={"If-Match": f'W/"{ron.read(goal)["meta"]["versionId"]}"'}).status_code == 404
    assert ron.read(yes)["status"] == "active" and ron.read(walk_request)["status"] == "completed"
    walk.gp.page.get(f"/asked?for={ron.id}")
    assert "He walks twice a week" in walk.gp.page.words() and walk.gp.status(goal) == 200
    ron.page.get("/my-plan/who-looked")
    assert "Wes S25" in ron.page.words()


@pytest.mark.parametrize("end", ["rejected", "cancelled", "failed", "reassigned", "deleted", "revoked"])
def test_however_it_ends_the_period_ends(walk: Walk, end: str) -> None:
    una, _, team, goal = walk.somebody(f"Una{end}")
    una.allow(permit(team))
    task = walk.ask(una, una, team="yes")
    walk.worker.agree(una.id)
    assert walk.worker.status(goal) == 200
    if end == "reassigned":
        una.change(task, owner={"reference": walk.colleague.user}, status="requested")
        walk.colleague.agree(una.id)
        assert walk.colleague.status(goal) == 200, "who is asked instead comes in"
    elif end == "revoked":
        una.change(una.read(task)["focus"]["reference"], status="revoked")
        assert una.read(task)["status"] == "accepted", "the referral alone"
    elif end == "deleted":
        assert una.call("DELETE", task, headers={"If-Match": una.get(task).headers["etag"]}).status_code in (200, 204)
    else:
        una.change(task, status=end)
    ended = [m for m in walk.members(una, team) if m["member"]["reference"] == walk.worker.user]
    assert len(ended) == 1 and ended[0]["period"]["end"][:19] <= datetime.now(UTC).isoformat()[:19]
    walk.worker.knows_nothing_of(goal)


def test_nobody_is_brought_in_who_was_not_asked_for_the_plan_or_was_taken_out(walk: Walk) -> None:
    eve, _, team, goal = walk.somebody("Eve")
    eve.allow(permit(team))
    plain = walk.ask(walk.gp, eve)
    walk.worker.agree(eve.id)
    assert not walk.members(eve, team), "a referral that is for no plan brings nobody into its team"
    walk.worker.knows_nothing_of(goal)
    walk.worker.change(plain, status="completed")

    task = walk.ask(eve, eve, team="yes")
    walk.worker.agree(eve.id)
    assert walk.worker.status(goal) == 200
    now = eve.get(team)
    without = [m for m in now.json()["participant"] if m.get("member", {}).get("reference") != walk.worker.user]
    assert save(eve, now.json() | {"participant": without}, now.headers["etag"]).status_code == 200
    walk.worker.knows_nothing_of(goal)
    for status in ("in-progress", "requested", "accepted"):
        walk.worker.change(task, status=status)
    assert not walk.members(eve, team), "whom she took out does not come back by saying yes once more"
    walk.worker.knows_nothing_of(goal)

    # nor by the word of who does not see the plan, or the team, or may not change the team
    for name, hidden in (("Eva", "CarePlan"), ("Evi", "CareTeam"), ("Evo", "")):
        other, _, its, aim = walk.somebody(name)
        other.allow(permit(its))
        asked = walk.ask(walk.gp, other, team="yes")
        what = actions("access", "correct") | classes(hidden) if hidden else actions("correct") | classes("CareTeam")
        no = other.allow(permit(walk.gp.user, type="deny", **what))
        walk.worker.change(asked, status="accepted")
        assert not walk.members(other, its), f"{hidden or 'change'}: who referred could not write it themselves"
        walk.worker.knows_nothing_of(aim)
        other.end(no)
        walk.worker.change(asked, status="in-progress")
        assert walk.members(other, its), "and now they could"
    mine = other.plan(other.id)
    mine["team"] = [m for m in mine["team"] if m.get("name") != "Wes S25"]
    assert other.call("POST", "/plans", body=mine, headers={"Content-Type": "application/json"}).status_code in (200, 201)
    assert not walk.members(other, its), "whom she takes out of her plan is out"
    walk.worker.knows_nothing_of(aim)

    # nor does anybody let themselves in: a Task of their own for somebody else's referral
    eve.allow(permit(walk.worker.user, **actions("access", "collect"), **{"class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Task"}]}))
    request = eve.read(task)["focus"]
    own = walk.worker.make({"resourceType": "Task", "status": "accepted", "intent": "order", "description": "Mine", "for": about(eve), "focus": request, "owner": {"reference": walk.worker.user}})
    walk.worker.change(f"Task/{own['id']}", status="in-progress")
    assert not walk.members(eve, team)
    walk.worker.knows_nothing_of(goal)
