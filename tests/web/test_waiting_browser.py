"""What waits for somebody's answer, in a real browser: drafts, two plans of one person, a password, forms that staff type, when to be told."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..conftest import gateway
from ..staff import consent, permit, signed_in
from .test_browser import PASSWORD, Reader

if TYPE_CHECKING:
    from ..conftest import Gateway

pytestmark = pytest.mark.e2e
LONG = "Sing with Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch"
TITLE = "Going home from theworldslongesthospitalwardwithoutanyspaceinitsname"


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A demo in which a volunteer has written drafts, and the hospital another plan without seeing the first."""
    with gateway(tmp_path_factory.mktemp("waiting"), "--demo") as g:
        rosa = g.persona("link-worker")["fhirUser"]
        every = {"action": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": c}]} for c in ("access", "collect", "correct")]}
        (plan,) = [e["resource"] for e in g.get("patient", f"CarePlan?patient={g.patient}&category=2181441000000107").json()["entry"]]
        (hospital,) = [e["resource"]["id"] for e in g.get("gp", "Organization?identifier=RX9").json()["entry"]]
        unseen = {"type": "deny", "data": [{"meaning": "instance", "reference": {"reference": f"CarePlan/{plan['id']}"}}]}
        for body in (consent(g.patient, permit(rosa, **every)), consent(g.patient, permit(f"Organization/{hospital}", provision=[unseen]))):
            made = g.call("patient", "POST", "Consent", body=body)
            assert made.status_code == 201, made.text
        about = {"reference": f"Patient/{g.patient}"}
        with ThreadPoolExecutor(1) as beside:  # the browser has the loop of this thread
            vic = beside.submit(signed_in, g, "vic", rosa, roles=("volunteer",)).result()
        for text in (LONG, "Walk by the river"):
            sent = vic.call("POST", "Goal", body={"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": text}, "subject": about})
            assert sent.status_code == 202, sent.text
        late = {"url": "https://fhir-gateway.example/StructureDefinition/plan-review", "extension": [{"url": "next", "valueDate": "2026-01-05"}]}
        another = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "category": plan["category"], "title": TITLE, "subject": about, "extension": [late]}
        made = g.call("hospital", "POST", "CarePlan", body=another)
        assert made.status_code == 201, made.text
        file = {"url": f"https://{'films-' * 12}example.org/salt", "title": "Salt and your heart"}
        message = {"status": "completed", "priority": "urgent", "recipient": [about, {"reference": g.persona("gp")["fhirUser"]}], "payload": [{"contentString": LONG}, {"contentAttachment": file}]}
        made = g.call("hospital", "POST", "Communication", body={"resourceType": "Communication", "subject": about, "sent": "2026-11-20T10:00:00Z", **message})
        assert made.status_code == 201, made.text
        yield g


@pytest.mark.parametrize("width", [1280, 320])
def test_a_draft_is_read_and_answered(chromium: Any, waiting: Gateway, pictures: Path, width: int) -> None:
    r = Reader(chromium, waiting, pictures, width)
    r.sign_in("patient")
    r.look("my-plan-with-drafts")
    r.open("/my-plan/drafts", "drafts")
    assert r.page.get_by_text("llantysilio").first.is_visible()
    names = [b.inner_text() for b in r.page.get_by_role("button").all() if b.inner_text().startswith("Accept")]
    assert len(names) == len(set(names)) == 2, "each is told from the other by somebody who hears them"
    gp = Reader(chromium, waiting, pictures, width)
    gp.sign_in("gp")
    gp.open(f"/team/people/{waiting.patient}", "team-person-with-drafts")


@pytest.mark.parametrize("width", [1280, 320])
def test_what_becomes_of_a_second_plan_is_chosen_by_the_key_worker(chromium: Any, waiting: Gateway, pictures: Path, width: int) -> None:
    r = Reader(chromium, waiting, pictures, width)
    r.sign_in("link-worker")
    for name in ("It is part of the plan they have", "It is their plan from now on", "End it"):
        assert r.page.get_by_role("button", name=name).is_visible()
    r.look("team-two-plans")
    if width == 320:
        r.press("It is part of the plan they have")
        r.page.get_by_text("It is written down what becomes of the other plan.").wait_for()
        r.look("team-two-plans-answered")


@pytest.mark.parametrize("width", [1280, 320])
def test_staff_type_for_somebody_and_who_acts_for_them_says_when_to_be_told(chromium: Any, waiting: Gateway, pictures: Path, width: int) -> None:
    r = Reader(chromium, waiting, pictures, width)
    r.sign_in("gp")
    r.open(f"/forms?person={waiting.patient}", "forms-staff")
    r.open(f"/forms/scores?person={waiting.patient}", "form-staff-begin")
    r.press("Begin")
    r.page.wait_for_url("**/forms/scores/*/0")
    r.look("form-staff")
    r = Reader(chromium, waiting, pictures, width)
    r.sign_in("proxy")
    r.open("/team/telling", "team-telling")
    r.page.get_by_label("Only at these times").check()
    r.press("Save")
    r.look("team-telling-mistake")
    r.page.get_by_label("Text message").check()
    r.page.get_by_label("Your mobile number").fill("07700 900123")
    r.page.get_by_label("At any time").check()
    r.press("Save")
    r.page.get_by_text("We sent a code to +447700900123").wait_for()
    r.look("team-telling-code")
    r.page.get_by_label("The code we sent you").fill("x")
    r.press("Use this address")
    r.page.wait_for_url("**/team/telling/code")
    r.look("team-telling-code-mistake")


@pytest.mark.parametrize("width", [1280, 320])
def test_a_goal_is_edited_and_a_question_asked(chromium: Any, waiting: Gateway, pictures: Path, width: int) -> None:
    gp = Reader(chromium, waiting, pictures, width)
    gp.sign_in("gp")
    gp.page.goto(f"{waiting.base}/team/people/{waiting.patient}")
    gp.open(str(gp.page.locator('a[href*="/edit/Goal/"]').first.get_attribute("href")), "team-edit")
    gp.open(f"/team/people/{waiting.patient}/ask", "team-ask")
    gp.open(f"/team/people/{waiting.patient}/messages", "team-messages")
    gp.page.goto(f"{waiting.base}/team/people/{waiting.patient}")
    gp.open(str(gp.page.locator('a[href*="/review/"]').first.get_attribute("href")), "team-review")
    r = Reader(chromium, waiting, pictures, width)
    r.sign_in("patient")
    r.open(str(r.page.locator('a[href*="/edit/Goal/"]').first.get_attribute("href")), "my-plan-edit")
    r.open("/my-plan/messages", "my-plan-messages")
    r.page.goto(f"{waiting.base}/my-plan")
    assert r.page.get_by_role("heading", name="It is time to look at this plan again").is_visible()
    r.open(str(r.page.locator('a[href*="/review/"]').first.get_attribute("href")), "my-plan-review")
    r.page.get_by_label("Day").first.fill("40")
    r.press_in_vain("Save")
    r.look("my-plan-review-mistake")
    r.page.goto(f"{waiting.base}/my-plan/who-looked")
    r.open(str(r.page.locator('a[href*="/who-looked/"]').first.get_attribute("href")), "who-looked-not-recognised")
    officer = Reader(chromium, waiting, pictures, width)
    officer.sign_in("privacy-officer")
    officer.open("/privacy/not-recognised", "privacy-not-recognised")


@pytest.mark.parametrize("width", [1280, 320])
def test_a_password_is_changed(chromium: Any, waiting: Gateway, pictures: Path, width: int) -> None:
    r = Reader(chromium, waiting, pictures, width)
    r.sign_in("social-worker")
    r.open("/account/password", "password")
    r.page.get_by_label("The password you have now").fill("not this one")
    r.page.get_by_label("New password", exact=True).fill("four words of mine")
    r.page.get_by_label("New password, once more").fill("other words of mine")
    r.press_in_vain("Change it")
    r.look("password-mistake")
    assert r.page.get_by_role("alert").is_visible() and PASSWORD not in r.page.content()


@pytest.mark.parametrize(("language", "width", "way"), [("cy", 320, "ltr"), ("ur", 320, "rtl"), ("ur", 1280, "rtl")])
def test_my_plan_in_other_languages_reads_from_its_own_side(chromium: Any, waiting: Gateway, pictures: Path, language: str, width: int, way: str) -> None:
    r = Reader(chromium, waiting, pictures, width)
    r.sign_in("patient")
    r.page.goto(f"{waiting.base}/language/{language}")
    r.open("/my-plan", f"my-plan-{language}")
    assert r.page.locator("html").get_attribute("lang") == language
    heading = r.page.locator("h1")
    assert heading.evaluate("e => getComputedStyle(e).direction") == way
    start = heading.evaluate("e => { const r = document.createRange(); r.selectNodeContents(e); const b = r.getBoundingClientRect(); return [b.left, window.innerWidth - b.right]; }")
    near, far = start if way == "ltr" else start[::-1]
    assert near < far or (near == far and width == 320), "its first word stands at the side where reading begins"
    goal = r.page.locator(".app-words").first
    assert goal.evaluate("e => getComputedStyle(e).unicodeBidi") in ("plaintext", "isolate", "isolate-override"), "what people wrote keeps its own direction"
    arrow = r.page.locator("details:not([open]) > summary").first.evaluate("e => getComputedStyle(e, '::before').clipPath")
    assert arrow.startswith("polygon(0px 0px" if way == "ltr" else "polygon(100% 0px"), "the arrow of a fold points where reading goes"
    if width == 320:
        assert points(r.page.locator(".nhsuk-header__menu-toggle"), "::after") == [0, 1], "the menu opens downwards"
    r.page.goto(f"{waiting.base}/my-plan/print")
    assert points(r.page.locator(".nhsuk-back-link"), "::before") == ([-1, 0] if way == "ltr" else [1, 0]), "back is where reading comes from"


def points(at: Any, part: str) -> list[int]:
    """Where an arrow that is drawn as the upper right corner of a square points: to the right 1, 0; downwards 0, 1."""
    script = "(e, p) => { const m = new DOMMatrix(getComputedStyle(e, p).transform); return [Math.round((m.a - m.c) / Math.SQRT2), Math.round((m.b - m.d) / Math.SQRT2)]; }"
    return list(at.evaluate(script, part))
