"""Row 14, the hand-held booklet of SW Lincolnshire: one plan, owned by the person, and many partners; a paper that is older than the plan says so."""

from __future__ import annotations

import html
import re

import httpx2

from ..conftest import VERIFY
from .town import Person, Programme, classes, permit

NEWEST, NEWER, UNKNOWN = "This paper is the newest version", "There is a newer version", "We do not know this paper"


def booklet(jo: Person, whom: str = "") -> tuple[int, str, str]:
    """What the person printed, for herself or somebody else: (its number, the link of its square, all of it)."""
    v = jo.page
    v.get("/my-plan/print")
    page = v.http.post("/my-plan/print", data={**v.fields("/my-plan/print"), "for": whom, "as": "page"})
    assert page.status_code == 200, page.text
    number, link = re.search(r"<p>Version (\d+) ·", page.text), re.search(r"/printed/[a-z2-7]{26}", page.text)
    assert number and link
    return int(number[1]), link[0], page.text


def scanned(jo: Person, link: str) -> str:
    """What anybody reads who scans the square."""
    answer = httpx2.get(f"{jo.gateway.base}{link}", verify=VERIFY)
    heading = re.search(r"<h1>(.*?)</h1>", answer.text)
    words = re.sub(r'(nonce|value)="[^"]*"', "", answer.text)  # what is of luck
    assert heading and "Jo" not in words and jo.id not in answer.text, "nothing of anybody"
    return html.unescape(heading[1])


def test_an_older_paper_warns_and_the_person_sees_who_wrote(programme: Programme) -> None:
    p = programme
    p.places(trust="health", nursing="health", charity="voluntary")
    nurse, helper = p.staff(nan=("nursing", "district-nurse"), hob=("charity", "helper"))
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), p.plan_of("Jo", team=[("Nan", "nursing")]))
    jo = p.person("jo", patient)
    nurse.agree(patient)
    yes = jo.allow(permit(helper.user, **classes("CarePlan", "Goal")))
    first, mine, _ = booklet(jo)
    _, theirs, helpers = booklet(jo, helper.user)
    assert "Jo walks to the shop and back" in helpers and "I get out of breath" not in helpers, "a partner's paper is what they may see"
    assert scanned(jo, mine) == scanned(jo, theirs) == NEWEST

    goal = nurse.one(f"Goal?patient={patient}")
    nurse.change(f"Goal/{goal['id']}", description={"text": "Walk to the shop and the library"})
    assert scanned(jo, mine) == scanned(jo, theirs) == NEWER
    second, link, text = booklet(jo)
    assert second == first + 1 and "and the library" in text and scanned(jo, link) == NEWEST and scanned(jo, mine) == NEWER

    versions = jo.find(f"Goal/{goal['id']}/_history")
    assert len(versions) == 2
    (wrote,) = [w for w in jo.find(f"Provenance?target=Goal/{goal['id']}") if any(a["who"].get("reference") == nurse.user for a in w["agent"])]
    assert wrote["target"][0]["reference"].startswith(f"Goal/{goal['id']}"), "who wrote is there to see"
    jo.page.get("/my-plan/who-looked")
    assert "Nan S14" in jo.page.words()

    helper.change(f"Goal/{goal['id']}", expect=403, description={"text": "Give to the charity"})
    _, theirs, _ = booklet(jo, helper.user)
    assert scanned(jo, theirs) == NEWEST
    jo.end(yes)
    assert scanned(jo, theirs) == NEWER, "whoever may see no plan any more holds no newest one"
    assert helper.total(f"Goal?patient={patient}") == 0 and scanned(jo, link) == NEWEST, "her own is what it was"
    assert scanned(jo, "/printed/" + "a" * 26) == UNKNOWN
