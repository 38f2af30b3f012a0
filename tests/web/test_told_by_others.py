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


def test_she_says_of_each_who_can_see_it(demo: Gateway, told: dict[str, Visitor]) -> None:
    v = told["patient"]
    v.get("/my-plan")
    for text in (PROBLEMS[0], "Assessment before going home", "Answers to questions"):
        card = next(c for c in v.page.split('<div class="nhsuk-card">') if f">{text}<" in c)
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
            for said in (*PROBLEMS, "A chest infection", "Assessment before going home", "Progress to Support Planning / Services", "One rail only, on the wrong side", "13 steps"):
                assert said in words, (who, place, said)
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


def test_a_dry_run_says_where_it_will_be_read(demo: Gateway) -> None:
    done = demo.command("map", "from-fhir", str(PARTNERS / "social-care" / "theirs.json"), "--dry-run")
    (line,) = [one for one in (done.stdout + done.stderr).splitlines() if "Condition.code.text" in one]
    assert "keeps it as FHIR beside a plan that is there" in line and "Health problems that others wrote down" in line
