"""A diagnosis, an assessment and its answers that others sent as FHIR: read on every page that shows the plan, on paper and in the document."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .test_doors import Visitor, as_

if TYPE_CHECKING:
    from ..conftest import Gateway

PARTNERS = Path(__file__).parent.parent / "cases" / "partners"
PROBLEMS = ("The stairs at home", "Irregular heartbeat, found on the ward")
FINDINGS = ("Assessment before going home", "Progress to Support Planning / Services", "Can you manage the stairs? No", "How many steps? 13 steps", "What makes it hard? One rail only, on the wrong side")
SECRET = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "V"}


def condition(demo: Gateway, text: str, status: str = "active", **more: Any) -> dict[str, Any]:
    system = "http://terminology.hl7.org/CodeSystem/condition-"
    said = {"resourceType": "Condition", "subject": {"reference": f"Patient/{demo.patient}"}, "code": {"text": text}, **more}
    if "verificationStatus" not in more:
        said["clinicalStatus"] = {"coding": [{"system": f"{system}clinical", "code": status}]}
    made = demo.call("hospital", "POST", "Condition", body=said)
    assert made.status_code == 201, made.text
    return dict(made.json())


CRISIS, RESPECT = "736253002", "1382601000000107"
PAPER = {"content": [{"attachment": {"contentType": "application/pdf", "url": "https://ward.example/respect.pdf"}}]}


def sent(demo: Gateway, type: str, **said: Any) -> str:
    """What the hospital sends; a code of SNOMED CT alone is the category or the type. Its id."""
    code = said.pop("code", "")
    concept = {"coding": [{"system": "http://snomed.info/sct", "code": code}]}
    about = {"type": concept} if type == "DocumentReference" else {"category": [concept]} if code else {}
    made = demo.call("hospital", "POST", type, body={"resourceType": type, "subject": {"reference": f"Patient/{demo.patient}"}, **about, **said})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def plan_sent(demo: Gateway, title: str, code: str = CRISIS, **more: Any) -> str:
    return sent(demo, "CarePlan", code=code, **{"status": "active", "intent": "plan", "title": title, **more})


def send_plans(demo: Gateway) -> None:
    """A plan for a crisis, papers, another plan and a goal, as a ward sends them: none bears an identifier of her plan."""
    (main,) = [e["resource"]["id"] for e in demo.get("patient", f"CarePlan?patient={demo.patient}&category=2181441000000107").json()["entry"]]
    steps = [{"detail": {"status": "in-progress", "description": "Ring the crisis line"}}, {"detail": {"status": "cancelled", "description": "Ring the old line"}}, {"detail": {"status": "not-started", "doNotPerform": True, "description": "Leave her alone"}}]
    plan_sent(demo, "The ward's plan for a crisis", description="She hears voices when she has not slept", activity=steps, author={"type": "Organization", "display": "Ward 5"}, created="2026-11-20")
    plan_sent(demo, "A plan for the end of life", "736373009", partOf=[{"reference": f"CarePlan/{main}"}], text={"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml"><p>At home, &amp; with music</p></div>'})
    plan_sent(demo, "A crisis plan of long ago", period={"end": "2021-01-01"})
    plan_sent(demo, "A crisis plan that was withdrawn", status="revoked")
    plan_sent(demo, "A crisis plan that was a mistake", status="entered-in-error")
    plan_sent(demo, "A crisis plan that somebody thinks of", intent="proposal")
    plan_sent(demo, "A secret plan for a crisis", meta={"security": [SECRET]})
    plan_sent(demo, "The diabetes clinic's plan", "")
    sent(demo, "DocumentReference", code=RESPECT, status="current", description="ReSPECT form of the ward", date="2026-11-21T09:00:00Z", **PAPER)
    sent(demo, "DocumentReference", code=RESPECT, status="superseded", description="An older ReSPECT form", **PAPER)
    sent(demo, "DocumentReference", code="371531000", status="current", description="A letter", **PAPER)
    sent(demo, "Goal", lifecycleStatus="active", description={"text": "Sleep through the night"}, target=[{"measure": {"text": "Sleep"}, "detailString": "Seven hours", "dueDate": "2027-02-01"}])
    sent(demo, "Goal", lifecycleStatus="cancelled", description={"text": "Give up tea"})
    sent(demo, "Goal", lifecycleStatus="entered-in-error", description={"text": "Somebody else's goal"})


@pytest.fixture(scope="module")
def told(demo: Gateway) -> Iterator[dict[str, Visitor]]:
    """Everybody signed in, once others have written."""
    (need,) = [n for n in demo.get("patient", f"/plans/{demo.patient}").json()["needs"]][:1]
    for name in ("social-care", "document"):
        done = demo.command("import", str(PARTNERS / name / "theirs.json"))
        assert done.returncode == 0, done.stderr
    condition(demo, "A chest infection", "resolved", recordedDate="2026-05-01")
    condition(demo, "Somebody else's broken arm", verificationStatus={"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "entered-in-error"}]})
    condition(demo, need["text"].upper())
    condition(demo, "A secret illness", meta={"security": [SECRET]})
    before = demo.get("patient", f"/plans/{demo.patient}").json()
    send_plans(demo)
    assert demo.get("patient", f"/plans/{demo.patient}").json() == before, "nothing of it is in the plan that is saved back"
    visitors = {who: as_(demo, who) for who in ("patient", "gp", "social-worker", "link-worker")}
    yield visitors
    for v in visitors.values():
        v.http.close()


def section(v: Visitor, anchor: str) -> str:
    """What a part of the page says, without markup."""
    found = re.search(rf'<section aria-labelledby="{anchor}">(.*?)</section>', v.page, re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", found[1])).split()) if found else ""


@pytest.mark.parametrize("who", ["patient", "gp", "social-worker"])
def test_who_reads_the_plan_reads_what_others_found_with_who_said_so_and_when(demo: Gateway, told: dict[str, Visitor], who: str) -> None:
    v = told[who]
    assert v.get("/my-plan" if who == "patient" else f"/team/people/{demo.patient}").status_code == 200
    problems, findings = section(v, "problems"), section(v, "findings")
    for said in (*PROBLEMS, "Said by Example County Council", "Written down on 24 November 2026", "Also called Atrial fibrillation"):
        assert said in problems, said
    for said in (*FINDINGS, "Who did it Example County Council", "Finished on 19 November 2026"):
        assert said in findings, said
    assert "A chest infection Over" in problems and problems.index("A chest infection") > problems.index(PROBLEMS[0]), "what is over says so, and comes last"
    assert "broken arm" not in v.words()
    assert len(re.findall(r"<h3[^>]*>", re.search(r'aria-labelledby="problems">(.*?)</section>', v.page, re.S)[1])) == (4 if who == "patient" else 3), "what the plan names is not said again"  # type: ignore[index]
    assert ("A secret illness" in problems) == (who == "patient")


NOW = ("The ward's plan for a crisis", "She hears voices when she has not slept", "Ring the crisis line", "Do not: Leave her alone", "Ward 5", "20 November 2026", "A plan for the end of life")
OVER = ("A crisis plan of long ago", "A crisis plan that was withdrawn", "A crisis plan that somebody thinks of")
PAPERS = ("ReSPECT form of the ward", "https://ward.example/respect.pdf", "21 November 2026")
NEVER = ("A crisis plan that was a mistake", "An older ReSPECT form", "Somebody else's goal")
BESIDE = "Others wrote this. It stands beside the plan."


@pytest.mark.parametrize("who", ["patient", "gp", "social-worker"])
def test_plans_for_a_crisis_papers_and_goals_of_others_stand_beside_the_plan_s_own(demo: Gateway, told: dict[str, Visitor], who: str) -> None:
    v = told[who]
    v.get("/my-plan" if who == "patient" else f"/team/people/{demo.patient}")
    crisis, papers, goals = section(v, "crisis"), section(v, "papers"), section(v, "goals-of-others")
    for said in (*NOW, BESIDE, "Who sent it A computer system"):
        assert said in crisis, said
    for said in OVER:
        assert said in crisis and crisis.index(said) > max(map(crisis.index, NOW)), "what does not hold comes after all that does"
    assert "long ago (Over)" in crisis and "withdrawn (Revoked)" in crisis and "thinks of (Proposed)" in crisis and "Ring the old line (Cancelled)" in crisis
    for said in (*PAPERS, "The diabetes clinic's plan", BESIDE):
        assert said in papers, said
    for said in ("Sleep through the night Active", BESIDE, "Seven hours", "1 February 2027", "Who sent it"):
        assert said in goals, said
    assert "Sleep through the night" not in section(v, "goals") and goals.index("Give up tea Cancelled") > goals.index("Sleep through")
    assert not any(said in v.words() for said in (*NEVER, "A letter"))
    assert ("A secret plan for a crisis" in crisis) == (who == "patient")
    assert ("At home, & with music" in crisis) == (who == "patient"), "of what says it in a narrative alone, only the person has the narrative"


def test_one_screen_has_plans_and_papers_of_others_that_hold_now(demo: Gateway, told: dict[str, Visitor]) -> None:
    v = told["gp"]
    v.get(f"/team/people/{demo.patient}/in-a-hurry")
    for said in (*NOW, *PAPERS, BESIDE, "Who sent it A computer system"):
        assert said in v.words(), said
    for absent in (*OVER, *NEVER, "A secret plan for a crisis", "The diabetes clinic's plan", "Sleep through the night"):
        assert absent not in v.words().split("What changed")[0], absent


def test_she_says_of_each_who_can_see_it(demo: Gateway, told: dict[str, Visitor]) -> None:
    v = told["patient"]
    v.get("/my-plan")
    cards = re.split(r'<div class="nhsuk-(?:card|warning-callout)">', html.unescape(v.page))
    for text in (PROBLEMS[0], "Assessment before going home", "Answers to questions", "The ward's plan for a crisis", "ReSPECT form of the ward", "Sleep through the night"):
        card = next(c for c in cards if text in re.sub(r"<span class=.nhsuk-u-visually-hidden.*?</span>", "", c))
        assert "/my-plan/sharing/hide?thing=" in card, text


def test_one_screen_has_the_problems_that_are_so_now_and_no_answers(demo: Gateway, told: dict[str, Visitor]) -> None:
    v = told["gp"]
    assert v.get(f"/team/people/{demo.patient}/in-a-hurry").status_code == 200
    assert all(said in section(v, "problems") for said in PROBLEMS)
    for absent in ("A chest infection", "A secret illness", "broken arm", *FINDINGS):
        assert absent not in v.words(), absent


def test_the_booklet_and_the_document_have_them_as_far_as_their_reader_may_see(demo: Gateway, told: dict[str, Visitor]) -> None:
    for who, here in (("patient", "/my-plan/print"), ("gp", f"/team/people/{demo.patient}/print")):
        v = told[who]
        v.get(here)
        v.send(here, **{"for": "", "as": "page"} if who == "patient" else {"as": "page"})
        paper = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", v.page)).split())
        (plan,) = [e["resource"]["id"] for e in demo.get(who, f"CarePlan?patient={demo.patient}&category=2181441000000107").json()["entry"]]
        document = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", demo.get(who, f"CarePlan/{plan}/$document").json()["entry"][0]["resource"]["text"]["div"] + str([s["text"]["div"] for s in demo.get(who, f"CarePlan/{plan}/$document").json()["entry"][0]["resource"]["section"]]))).split())
        for words, place in ((paper, "booklet"), (document, "document")):
            for said in (*PROBLEMS, "A chest infection", "Assessment before going home", "Progress to Support Planning / Services", "One rail only, on the wrong side", "13 steps", *(n for n in NOW if "2026" not in n), *OVER, *PAPERS[:1], "The diabetes clinic's plan", "Sleep through the night", BESIDE):
                assert said in words, (who, place, said)
            assert not any(said in words for said in NEVER) and ("A secret plan for a crisis" in words) == (who == "patient"), (who, place)
            assert "broken arm" not in words and ("A secret illness" in words) == (who == "patient"), (who, place)


def test_a_new_diagnosis_makes_a_newer_version_of_the_paper(demo: Gateway, told: dict[str, Visitor]) -> None:
    v = told["patient"]

    def version() -> int:
        v.get("/my-plan/print")
        v.send("/my-plan/print", **{"for": "", "as": "page"})
        found = re.search(r"<p>Version (\d+) ", v.page)
        assert found
        return int(found[1])

    before = version()
    assert version() == before
    condition(demo, "Gout")
    assert version() == before + 1
    plan_sent(demo, "A second plan of the ward for a crisis")
    assert version() == before + 2


def test_a_dry_run_says_where_it_will_be_read(demo: Gateway) -> None:
    done = demo.command("map", "from-fhir", str(PARTNERS / "social-care" / "theirs.json"), "--dry-run")
    (line,) = [one for one in (done.stdout + done.stderr).splitlines() if "Condition.code.text" in one]
    assert "keeps it as FHIR beside a plan that is there" in line and "Health problems that others wrote down" in line
