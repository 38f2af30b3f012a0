"""Row 6: the Bedfordshire pilot. A notional budget counts once the multi-agency risk group said yes, and never by the yes of whoever asked."""

from __future__ import annotations

from typing import Any

import pytest

from .town import ODS, SECTOR, Member, Person, Programme, about, classes, permit

OURS = "https://fhir-gateway.example"
AUTHORISES = {"coding": [{"system": f"{OURS}/CodeSystem/task", "code": "authorise-budget"}]}  # an operator says so of a group


class Bedfordshire:
    """Gil, a GP who asks for budgets and sits in the risk group; Tom, who sits there, too; Fay of a group that no operator let authorise anything."""

    def __init__(self, p: Programme) -> None:
        self.p = p
        p.places(trust="health", surgery="health", elsewhere="voluntary")
        for name, type in (("group", [AUTHORISES]), ("friends", [])):
            p.codes[name] = f"S06{name[:4]}".upper()
            sector = {"coding": [{"system": SECTOR, "code": "voluntary"}]}
            p.waiting.append({"resourceType": "Organization", "id": f"{p.key}-{name}", "active": True, "name": name.title(), "identifier": [{"system": ODS, "value": p.codes[name]}], "type": [sector, *type]})
        self.gp, self.tom, self.fay, self.stranger = p.staff(gil=("surgery", "gp"), tom=("group", "chair"), fay=("friends", "chair"), sid=("elsewhere", "chair"))
        p.town.directory({"resourceType": "PractitionerRole", "id": "s06-gil-sits", "active": True, "practitioner": {"reference": self.gp.user}, "organization": {"reference": p.place("group")}})
        browser, token = p.town.account("s06-gil-of-the-group", self.gp.user, "--organisation", p.codes["group"])
        self.gp_of_group = Member(p.town.gateway, self.gp.user, token, p.place("group"), p.codes["group"], browser)
        self.source = p.system("pilot", "trust", "--contributor", "--refers")
        self.amy = self.somebody("Amy")

    def somebody(self, given: str) -> Person:
        person = self.p.person(given.lower(), patient := self.p.bring(self.source, self.p.plan_of(given, team=[("Gil", "surgery")])))
        self.gp.agree(patient)
        return person

    def line(self, name: str, value: int) -> str:
        """A budget line that Gil asks for."""
        return f"ServiceRequest/{self.gp.make(budget(name, value, self.amy.id, self.gp))['id']}"

    def ask(self, group: str, line: str) -> str:
        """Gil asks that group for its yes: the Task."""
        made = self.gp.make({"resourceType": "Task", "status": "requested", "intent": "order", "code": AUTHORISES, "description": "Say yes or no to this budget", "for": about(self.amy),
                             "focus": {"reference": line}, "requester": {"reference": self.gp.user}, "owner": {"reference": self.p.place(group)}})  # fmt: skip
        return f"Task/{made['id']}"

    def said(self, name: str) -> str:
        """What her page says of that line."""
        self.amy.page.get("/asked")
        return self.amy.page.words().split(f"{name}: ")[1].split(" GBP")[1].split(" GBP")[0]


def budget(name: str, value: float, patient: str, by: Member) -> dict[str, Any]:
    money = {"url": f"{OURS}/StructureDefinition/funded-by", "extension": [
        {"url": "amount", "valueMoney": {"value": value, "currency": "GBP"}}, {"url": "period", "valuePeriod": {"start": "2026-11-01", "end": "2027-10-31"}}]}  # fmt: skip
    return {"resourceType": "ServiceRequest", "status": "active", "intent": "order", "code": {"text": name}, "subject": about(patient), "requester": {"reference": by.user}, "extension": [money]}


@pytest.fixture(scope="module")
def pilot(programme: Programme) -> Bedfordshire:
    return Bedfordshire(programme)


def test_a_line_counts_once_another_of_the_group_authorised_it(pilot: Bedfordshire) -> None:
    name = "Swimming with a helper"
    line = pilot.line(name, 1200)
    task = pilot.ask("group", line)
    assert "it waits to be authorised" in pilot.said(name)
    pilot.gp_of_group.change(task, status="completed")
    assert "whoever authorised it had asked for it" in pilot.said(name), "nobody authorises what they asked for"
    pilot.gp.change(task, status="requested")
    pilot.amy.change(task, status="completed")
    assert "whoever authorised it is not of the group" in pilot.said(name), "nor does the person herself"
    pilot.gp.change(task, status="requested")
    pilot.tom.change(task, status="completed")
    assert "Authorised" in pilot.said(name) and "Does not count" not in pilot.said(name)
    pilot.gp.change(line, extension=budget(name, 9000, pilot.amy.id, pilot.gp)["extension"])
    assert "it was changed after it was authorised" in pilot.said(name)


def test_a_yes_stays_with_what_it_was_said_to(pilot: Bedfordshire) -> None:
    """A Task that was answered is moved to a larger line: it does not count."""
    small, large = pilot.line("A small line", 10), pilot.line("A large line", 9001)
    task = pilot.ask("group", small)
    pilot.tom.change(task, status="completed")
    assert "Authorised" in pilot.said("A small line") and "nobody was asked to authorise it" in pilot.said("A large line")
    pilot.gp.change(task, focus={"reference": large})
    assert "it was changed after it was authorised" in pilot.said("A large line"), "the yes was to another line"
    assert "Does not count" in pilot.said("A large line")


def test_who_asks_does_not_choose_who_may_say_yes(pilot: Bedfordshire) -> None:
    """The yes of a group of the asker's own choice makes no line count."""
    pilot.fay.change(pilot.ask("friends", pilot.line("A favour", 700)), status="completed")
    said = pilot.said("A favour")
    assert "Does not count yet" in said and "the group that was asked does not authorise budgets" in said


def test_nobody_says_yes_to_a_budget_by_a_link(pilot: Bedfordshire) -> None:
    """Whoever asked for it would make the link, and open it herself: a yes is somebody's who signs in."""
    task = pilot.ask("group", pilot.line("A holiday", 9000))
    for page in (pilot.gp.page, pilot.amy.page):
        page.get(f"/asked?for={pilot.amy.id}" if page is pilot.gp.page else "/asked")
        assert f"/asked/{task.partition('/')[2]}/cancel" in page.page or page is pilot.amy.page
        assert f"/asked/{task.partition('/')[2]}/link" not in page.page and "A holiday" in page.words(), "what is refused is not offered"
        page.get("/account")
        made = page.http.post(f"/asked/{task.partition('/')[2]}/link", data={"form_token": page.fields("/sign-out")["form_token"]})
        assert made.status_code == 422 and "/task/" not in made.text
    assert "it waits to be authorised" in pilot.said("A holiday")


@pytest.mark.parametrize("amount", [0, -500, -0.01, 10_000_000.01, 1e15])
def test_a_budget_is_more_than_nothing_and_no_more_than_one_can_be(pilot: Bedfordshire, amount: float) -> None:
    told = pilot.gp.make(budget("An amount", amount, pilot.amy.id, pilot.gp), expect=422)
    assert "The amount of a budget is more than 0 and at most 10,000,000" in str(told)
    line = pilot.line("A bicycle", 400)
    pilot.gp.change(line, extension=budget("", amount, pilot.amy.id, pilot.gp)["extension"], expect=422)
    assert pilot.gp.read(line)["extension"][0]["extension"][0]["valueMoney"]["value"] == 400
    pilot.amy.page.get("/asked")
    assert "An amount" not in pilot.amy.page.words()


PILOT = {"coding": [{"system": "https://town.example/pilots", "code": "personal-health-budget"}], "text": "Personal health budget pilot"}


def test_the_group_reads_what_the_consent_to_the_pilot_opens_and_nothing_before(pilot: Bedfordshire) -> None:
    """The person joins the pilot by a consent of that category; the group reads plan, outcome and budget by it, and by nothing else."""
    p, gp, chair, stranger = pilot.p, pilot.gp, pilot.tom, pilot.stranger
    hal = pilot.somebody("Hal")
    patient = hal.id
    line, plan = f"ServiceRequest/{gp.make(budget('A rowing machine', 300, patient, gp))['id']}", f"CarePlan/{gp.one(f'CarePlan?patient={patient}')['id']}"
    goal = f"Goal/{gp.one(f'Goal?patient={patient}')['id']}"
    gp.change(goal, achievementStatus={"coding": [{"system": "http://terminology.hl7.org/CodeSystem/goal-achievement", "code": "improving"}]})
    task = gp.make({"resourceType": "Task", "status": "requested", "intent": "order", "code": AUTHORISES, "description": "Say yes or no to the rowing machine", "for": about(patient),
                    "focus": {"reference": line}, "requester": {"reference": gp.user}, "owner": {"reference": p.place("group")}})  # fmt: skip
    assert chair.read(f"Task/{task['id']}")["focus"]["reference"] == line, "the group reads that it is asked"
    chair.knows_nothing_of(line, plan, goal)
    stranger.knows_nothing_of(f"Task/{task['id']}", line, plan)

    joined = hal.allow(permit(p.place("group"), **classes("CarePlan", "Goal", "ServiceRequest")), category=[PILOT])
    assert hal.read(joined)["category"][0]["coding"][0]["code"] == "personal-health-budget"
    assert chair.read(line)["extension"][0]["extension"][0]["valueMoney"]["value"] == 300
    assert chair.read(plan)["title"] == "Hal's plan" and chair.read(goal)["achievementStatus"]["coding"][0]["code"] == "improving"
    assert chair.total(f"Condition?patient={patient}") == 0, "what the pilot does not need stays shut"
    hal.page.get("/asked")
    assert "A rowing machine: 300 GBP" in hal.page.words() and "it waits to be authorised" in hal.page.words()
    chair.change(f"Task/{task['id']}", status="completed")
    hal.page.get("/asked")
    assert "Authorised" in hal.page.words() and "it waits to be authorised" not in hal.page.words()
    hal.end(joined)
    chair.knows_nothing_of(line, plan, goal)
    stranger.page.get(f"/asked?for={patient}")
    assert "rowing" not in stranger.page.words()
