"""Choosing for somebody else on the pages: a parent, an attorney once capacity is lost; never for themselves, and no mere helper."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

import pytest

from ..test_roles import Person
from .test_choosing import HIDE, NEW, ONLY, OPEN, found, granted
from .test_doors import Visitor, as_, cards

if TYPE_CHECKING:
    from ..conftest import Gateway

ATTORNEY = "health-and-welfare-lasting-power-of-attorney"


def acting(demo: Gateway, born: str, family: str, basis: str) -> tuple[Person, Visitor]:
    """Somebody new and who acts for them, signed in."""
    p = Person(demo, born, family)
    if basis == ATTORNEY:
        p.record("capacity-lost")
    p.__dict__ |= {"role": p.appoint(basis), "born": born}
    v = Visitor(demo)
    answer = v.sign_in(f"proxy-{family.lower()}", "only-for-this-test")
    assert answer.status_code == 200, v.words()
    return p, v


def sees(demo: Gateway, p: Person, who: str = "link-worker") -> bool:
    return bool(demo.get(who, p.goal).is_success)


def rows(p: Person) -> list[dict[str, Any]]:
    """Each rule of what the pages keep, as it names whom."""
    found = [e["resource"] for e in p.me.get(f"Consent?patient={p.id}&status=active").json()["entry"]]
    return [{"who": r.get("actor", "")} for c in found if "uk-direct-care" in str(c) for r in c.get("provision", {}).get("provision", ())]


def link(v: Visitor, end: str) -> str:
    (there,) = re.findall(rf'"(/my-plan/sharing/[^/"]+/{end})"', v.get("/my-plan/sharing").text)
    return str(there)


@pytest.fixture(scope="module", params=[("2016-05-05", "Young", "parental-responsibility"), ("1941-05-05", "Old", ATTORNEY)], ids=lambda p: str(p[2]))
def two(demo: Gateway, request: pytest.FixtureRequest) -> tuple[Person, Visitor]:
    return acting(demo, *request.param)


def test_whom_the_law_lets_decide_shares_changes_stops_and_hides_for_the_person(demo: Gateway, two: tuple[Person, Visitor]) -> None:
    p, v = two
    v.get("/team")
    assert "Choose for them who can see the plan" in v.words()
    v.get("/my-plan/sharing")
    assert "You choose this for the person you act for." in v.words() and "Acts for you" in v.words() and "/end" not in v.page
    assert "/my-plan/who-looked" not in v.page, "that page is the person's own"
    words = granted(v, found(v, "Rosa", "Rosa Lind"), parts=["goals"])
    assert "Rosa Lind may see these parts of your plan" in words and "They will see more" not in words and sees(demo, p)
    (kept,) = [e["resource"] for e in p.me.get(f"Consent?patient={p.id}&status=active").json()["entry"] if "uk-direct-care" in str(e)]
    assert kept["performer"] == [{"reference": p.relative}], "it is signed by who made it, for the person"
    change = link(v, "change")
    v.get(change)
    v.send(change, go="when", parts=["documents"])
    v.send(change, go="check", **OPEN)
    assert "What they will no longer see" in v.words() and v.send(change, go="save").url.path == "/my-plan/sharing"
    assert not sees(demo, p)
    stop = link(v, "stop")
    v.get(stop)
    assert "It is stopped." in v.send(stop).text and "Rosa Lind" not in cards(v)
    granted(v, found(v, "Rosa", "Rosa Lind"), parts=["goals"])
    v.get(HIDE)
    v.send(HIDE, go="who", things=[p.goal])
    rosa = html.unescape(re.search(r'value="(Practitioner/[^"]+)"[^>]*>\s*<label[^>]*>Rosa Lind', v.page).group(1))  # type: ignore[union-attr]
    v.send(HIDE, go="check", who=rosa)
    assert "Rosa Lind may not see this: Walk." in v.words() and "It is hidden" in v.send(HIDE, go="save").text
    assert not sees(demo, p) and p.sees()
    for where in re.findall(r'"(/my-plan/sharing/[^/"]+/stop)"', v.get("/my-plan/sharing").text):
        v.get(where)
        assert v.send(where).status_code == 200, v.words()


def test_never_to_themselves_and_the_refusal_is_a_page(demo: Gateway, two: tuple[Person, Visitor]) -> None:
    p, v = two
    v.get(NEW)
    v.send(NEW, go="what", who=p.relative)
    v.send(NEW, go="when", parts=["plan"])
    v.send(NEW, go="check", **OPEN)
    assert v.send(NEW, go="save").status_code == 403 and "you cannot let yourself see more" in v.words()
    assert "Nothing was saved." in v.words() and p.relative not in str([r["who"] for r in rows(p)])
    role = p.__dict__["role"]
    ended = v.get(f"/my-plan/sharing/consents/{role}/end")
    if ended.status_code == 200:
        ended = v.send(f"/my-plan/sharing/consents/{role}/end")
    assert ended.status_code == 403 and "you cannot choose who else acts for them" in v.words() and p.sees()


def test_only_the_people_they_name_and_back(demo: Gateway, two: tuple[Person, Visitor]) -> None:
    p, v = two
    v.get(ONLY)
    assert "From now on only the people you name" in v.send(ONLY).text
    assert not demo.get("hospital", p.goal).is_success, "and it is so"
    v.get(ONLY)
    assert "The usual way works again" in v.send(ONLY).text, v.words()
    assert demo.get("hospital", p.goal).is_success


def test_what_is_hidden_from_everybody_is_hidden_from_who_acts_too_and_says_so(demo: Gateway, two: tuple[Person, Visitor]) -> None:
    p, v = two
    v.get(HIDE)
    v.send(HIDE, go="who", things=[p.goal])
    assert "Only the person can see it. You will not see it, too" in v.words()
    v.send(HIDE, go="check", who="everybody")
    v.send(HIDE, go="save")
    assert not p.sees() and p.me.get(p.goal).is_success
    stop = link(v, "stop")
    v.get(stop)
    assert v.send(stop).status_code == 403 and "you cannot let yourself see more" in v.words() and not p.sees()


def test_a_mere_helper_is_told_why_not_in_plain_words(demo: Gateway) -> None:
    leila = as_(demo, "proxy")
    for path in ("/my-plan/sharing", NEW, HIDE, ONLY, "/my-plan/sharing/why", "/my-plan/sharing/x/stop", "/my-plan/sharing/x/change"):
        assert leila.get(path).status_code == 403, path
        assert "You may see this plan because the person agreed to it. Only they choose who else can see it." in leila.words(), path
    token = leila.fields("/sign-out")["form_token"]
    for path in (NEW, HIDE, ONLY, "/my-plan/sharing/no", "/my-plan/claims/x/not-true"):
        assert leila.http.post(path, data={"form_token": token, "go": "save", "who": "sector:health", "parts": "plan", "until_choice": "open"}).status_code == 403


def test_they_say_that_they_do_not_know_whoever_claims_to_look_after_the_person(demo: Gateway, two: tuple[Person, Visitor]) -> None:
    p, v = two
    made = demo.call("stranger", "POST", f"/patients/{p.id}/claims", body={"reason": "New to our list"})
    assert made.status_code == 201, made.text
    v.get("/my-plan/sharing")
    assert "Dr Sam Other" in v.words()
    (action,) = re.findall(r'action="(/my-plan/claims/[^"]+/not-true)"', v.page)
    assert "You said no to them." in v.send(action).text and not v.get("/my-plan/sharing").text.count(action)


def test_when_their_right_to_decide_is_over_the_pages_close_at_once(demo: Gateway, two: tuple[Person, Visitor]) -> None:
    p, v = two
    v.get(NEW)
    if p.__dict__["born"] == "1941-05-05":
        p.record("capacity-lost", on=False)
    else:
        p.change(p.__dict__["role"], "inactive", "ROLE_DEACTIVATED_SAFEGUARDING")
    assert v.send(NEW, go="what", who="sector:health").status_code == 403 and v.get("/my-plan/sharing").status_code == 403
