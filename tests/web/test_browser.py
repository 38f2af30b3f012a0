"""The pages in a real browser, with and without JavaScript, wide and narrow: axe finds nothing, nothing sticks out."""

from __future__ import annotations

import re
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from fhir_gateway.web.pages import languages

from . import every_page
from .test_operator import PASSWORD as NEW_PASSWORD
from .test_operator import clashing, operator, partnered

if TYPE_CHECKING:
    from ..conftest import Gateway

pytestmark = pytest.mark.e2e
WIDTHS = (1280, 320)
PASSWORD = "demo-only-password"


class Reader:
    """Somebody at a browser of one width."""

    def __init__(self, browser: Any, demo: Gateway, pictures: Path, width: int, scripts: bool = True) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=scripts, locale="en-GB")
        self.page = self.context.new_page()
        self.demo, self.pictures, self.width, self.scripts = demo, pictures, width, scripts
        self.complaints: list[str] = []
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.complaints.append(str(e)))

    def open(self, path: str, name: str | None = None, status: int = 200) -> None:
        answer = self.page.goto(f"{self.demo.base}{path}")
        assert answer is not None and answer.status == status, f"{path}: {answer and answer.status}"
        if status >= 400:
            self.complaints.clear()  # the browser itself logs a refused page as an error
        self.look(name or path.strip("/").replace("/", "-") or "start")

    def look(self, name: str) -> None:
        """Nothing sticks out sideways, axe is content, the content policy was not broken; a picture is kept."""
        from axe_playwright_python.sync_playwright import Axe

        self.page.wait_for_load_state()  # after a press the page may be there before its style
        self.page.screenshot(path=str(self.pictures / f"{name}-{self.width}.png"), full_page=True)
        if self.scripts:
            wide = self.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= self.width, f"{name} is {wide} wide on a screen of {self.width}"
            found = Axe().run(self.page)
            assert found.violations_count == 0, f"{name}\n{found.generate_report()}"
            every_page.looked(self.page.url, self.width)
        assert self.complaints == [], name

    def sign_in(self, who: str, password: str = PASSWORD) -> None:
        self.page.goto(f"{self.demo.base}/sign-in")
        self.page.get_by_label("Your sign-in name").fill(who)
        self.page.get_by_label("Your password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def tab_to(self, name: str) -> None:
        """Press Tab until what has this name has the focus, as far as there is anything to tab to."""
        script = """() => { const e = document.activeElement; if (!e) return '';
            const label = e.id && document.querySelector(`label[for="${e.id}"]`); return ((label || e).textContent || '').trim(); }"""
        for _ in range(80):
            if str(self.page.evaluate(script)).startswith(name):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"{name} cannot be reached by Tab")

    def choose(self, name: str) -> None:
        """One of several by keyboard alone: Tab reaches the first radio button, or the one that is chosen, and the arrows the others; Space chooses."""
        script = """() => { const e = document.activeElement; const label = e && e.id && document.querySelector(`label[for="${e.id}"]`);
            return [e ? e.type || '' : '', label ? label.textContent.trim() : '']; }"""
        for _ in range(120):
            kind, label = self.page.evaluate(script)
            if label.startswith(name):
                self.page.keyboard.press("Space")
                return
            self.page.keyboard.press("ArrowDown" if kind == "radio" and self._more_below() else "Tab")
        raise AssertionError(f"{name} cannot be chosen by keyboard")

    def _more_below(self) -> bool:
        """Is there another radio button of this question after the one that has the focus."""
        return bool(self.page.evaluate("""() => { const e = document.activeElement;
            const all = [...document.querySelectorAll('input[type=radio]')].filter(o => o.name === e.name && o.form === e.form); return all.indexOf(e) < all.length - 1; }"""))

    def press_in_vain(self, name: str) -> None:
        """The form comes back with a mistake; the browser itself logs that as an error, in its own time."""
        with self.page.expect_console_message(lambda m: m.type == "error"):
            self.press(name)
        self.complaints.clear()


@pytest.fixture(params=WIDTHS)
def width(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def test_the_person_shares_and_stops(chromium: Any, demo: Gateway, pictures: Path, width: int) -> None:
    r = Reader(chromium, demo, pictures, width)
    r.open("/")
    r.open("/sign-in")
    r.press("Sign in")
    r.look("sign-in-mistake")
    demo.lines("people", "add", f"amina-{width}", "--who", f"Patient/{demo.patient}", "--password-file", "-", "--json", stdin="as it was given to her\n")
    r.page.get_by_label("Your sign-in name").fill(f"amina-{width}")
    r.page.get_by_label("Your password").fill("as it was given to her")
    r.press("Sign in")
    r.look("first-password")
    r.press_in_vain("Use this password")
    r.look("first-password-mistake")
    r.sign_in("patient")
    r.look("my-plan")
    assert r.page.locator("svg.app-picture title").count() >= 1
    r.page.locator("summary", has_text="Who can see this?").first.click()
    r.look("my-plan-item")
    r.open("/my-plan/private", "private")
    r.page.get_by_role("link", name=re.compile("^Change what this is about")).first.click()
    r.page.wait_for_url("**/my-plan/private/*/*")
    r.look("private-change")
    r.open("/my-plan/sharing", "sharing")
    r.page.get_by_role("button", name="Share with somebody").click()
    r.look("sharing-new-1-who")
    r.page.get_by_label("Look for a person or an organisation by name").fill("Rosa")
    r.press("Look")
    r.page.get_by_role("radio", name="Rosa Lind").first.check()
    r.look("sharing-new-1-found")
    r.press("Next")
    r.press("Next")
    r.look("sharing-new-2-mistake")
    r.page.get_by_label("My goals and what we will do").check()
    r.press("Next")
    r.look("sharing-new-3-when")
    r.page.get_by_label("Until the end of a day").check()
    for part, text in (("Day", "28"), ("Month", "2"), ("Year", "2040")):
        r.page.get_by_label(part, exact=True).fill(text)
    r.press("Next")
    r.look("sharing-new-4-check")
    r.press("Save and share")
    r.look("sharing-done")
    assert r.page.get_by_text("28 February 2040").count() >= 1
    r.page.get_by_role("link", name="Stop sharing").first.click()
    r.look("sharing-stop")
    r.press("Yes, stop sharing")
    r.look("sharing-stopped")
    assert r.page.get_by_text("It is stopped").count() == 1
    demo.get("link-worker", f"CarePlan?patient={demo.patient}")
    demo.get("gp", f"Patient/{demo.patient}")
    r.open("/my-plan/who-looked", "who-looked")
    for who, answer in (("Rosa Lind, Kindly Neighbours", "Told no"), ("Dr Asha Patel, Example Street Surgery", "Allowed")):
        row = r.page.get_by_role("row").filter(has_text=who).filter(has_text=answer)
        assert row.count() >= 1 and row.first.is_visible(), who
    assert "you have not shared this with them" in r.page.get_by_role("row").filter(has_text="Rosa Lind").first.inner_text()
    r.open("/my-plan/sent", "sent")
    r.open("/my-plan/telling", "telling")
    r.page.get_by_label("Only at these times").check()
    r.press("Save")
    r.look("telling-mistake")
    r.page.get_by_label("Text message").check()
    r.page.get_by_label("Your mobile number").fill("07700 900123")
    r.page.get_by_label("At any time").check()
    r.press("Save")
    assert r.page.get_by_text("We sent a code to +447700900123").count() == 1
    r.look("telling-code")
    r.page.get_by_label("The code we sent you").fill("x")
    r.press("Use this address")
    r.look("telling-code-mistake")
    r.open("/account", "account")
    r.open("/account/apps", "account-apps")
    r.open("/my-plan/sharing/none/stop", "not-found", status=404)
    r.open("/team", "wrong-door", status=403)
    helper = Reader(chromium, demo, pictures, width)
    helper.sign_in("proxy")
    helper.open("/my-plan/sharing", "helper", status=403)


def test_the_person_changes_hides_and_asks_why(chromium: Any, demo: Gateway, pictures: Path, width: int) -> None:
    r = Reader(chromium, demo, pictures, width)
    r.sign_in("patient")
    r.open("/my-plan/sharing/new", "sharing-new-1-who")
    r.page.get_by_label("Look for a person or an organisation by name").fill("link worker")
    r.press("Look")
    r.page.get_by_role("radio", name="Any link worker at Kindly Neighbours").check()
    r.press("Next")
    r.page.get_by_label("My goals and what we will do").check()
    r.page.get_by_label("My NHS number, date of birth, address and all my other details").check()
    r.page.locator("summary", has_text="Or only single things").click()
    r.look("sharing-new-2-things")
    r.press("Next")
    r.page.get_by_label("Until I stop it").check()
    r.press("Next")
    r.page.locator("summary", has_text="What stays closed to them").click()
    r.look("sharing-new-4-preview")
    assert r.page.get_by_role("heading", name="New for them").is_visible()
    r.press("Save and share")
    r.page.get_by_role("link", name="Change").first.click()
    r.look("sharing-change-what")
    r.press("Next")
    r.press("Next")
    r.look("sharing-change-check")
    r.press("Save the change")
    r.look("sharing-changed")
    r.page.get_by_role("link", name="What they can see").first.click()
    r.look("sharing-sees")
    r.open("/my-plan/sharing/hide", "sharing-hide-1-what")
    r.press("Next")
    r.look("sharing-hide-1-mistake")
    r.page.get_by_label("My documents").check()
    r.press("Next")
    r.look("sharing-hide-2-who")
    r.page.get_by_label("Everybody", exact=True).check()
    r.press("Next")
    r.look("sharing-hide-3-check")
    r.press("Save and hide")
    r.look("sharing-hidden")
    r.open("/my-plan/sharing/only", "sharing-only")
    r.press("Yes, only the people I name")
    r.look("sharing-only-done")
    r.open("/my-plan/sharing/only", "sharing-usual")
    r.press("Yes, the usual way")
    r.open("/my-plan/sharing/sees", "sharing-sees-whom")
    r.open("/my-plan/sharing/no?find=nurse", "sharing-no-whom")
    r.open("/my-plan/sharing/why", "sharing-why")
    r.page.get_by_label("Who?").select_option(label="Example Street Surgery")
    r.press("Ask")
    r.look("sharing-why-answer")
    assert r.page.get_by_text("What would change that:").is_visible()
    r.open("/my-plan/sharing", "sharing-all")
    r.page.get_by_role("link", name="Stop this").first.click()
    r.look("sharing-end")
    r.open("/my-plan/sharing")
    while r.page.get_by_role("link", name="Stop sharing").or_(r.page.get_by_role("link", name="Take this back")).count():
        r.page.get_by_role("link", name="Stop sharing").or_(r.page.get_by_role("link", name="Take this back")).first.click()
        r.page.get_by_role("button", name="Yes").click()


def test_the_team_reads_the_shared_plan(chromium: Any, demo: Gateway, pictures: Path, width: int) -> None:
    r = Reader(chromium, demo, pictures, width)
    r.sign_in("gp")
    r.look("team")
    r.open(f"/team/people/{demo.patient}", "team-person")
    assert r.page.get_by_text("Some information may be withheld.").count() == 1
    link = Reader(chromium, demo, pictures, width)
    link.sign_in("link-worker")
    link.look("team-nobody")
    link.open(f"/team/people/{demo.patient}", "team-hidden", status=404)


def test_emergencies_claims_and_urgent_care(chromium: Any, demo: Gateway, pictures: Path, width: int) -> None:
    r = Reader(chromium, demo, pictures, width)
    r.sign_in("stranger")
    r.look("team-ways")
    r.open("/team/claim")
    r.open("/team/find")
    r.open("/team/emergency")
    r.press("Open the record")
    r.look("team-emergency-mistakes")
    for label, text in (("NHS number", "9990000018"), ("Day", "7"), ("Month", "4"), ("Year", "1951"), ("Family name", "Example")):
        r.page.get_by_label(label, exact=True).fill(text)
    r.page.get_by_label("They cannot say yes, and it is to protect their life or health").check()
    r.page.get_by_label("Why do you need to see it now?").fill("Unconscious")
    r.page.get_by_label("Your password, once more").fill(PASSWORD)
    r.press("Open the record")
    r.look("team-person-in-an-emergency")
    me = Reader(chromium, demo, pictures, width)
    me.sign_in("patient")
    me.open("/my-plan/sharing", "sharing-in-an-emergency")
    assert me.page.get_by_role("heading", name="Open now, in an emergency").is_visible()
    officer = Reader(chromium, demo, pictures, width)
    officer.sign_in("privacy-officer")
    officer.look("privacy")
    officer.page.get_by_role("button", name="Save the review").first.click()
    officer.look("privacy-mistake")
    officer.open("/privacy?show=reviewed", "privacy-reviewed")
    officer.open("/privacy/audit?what=refused", "privacy-audit")
    officer.open("/privacy/audit?person=!&from-day=40", "privacy-audit-mistake", 400)
    r.press("Close it now")
    r.look("team-emergency-over")


def test_what_waits_is_seen_and_settled(chromium: Any, pictures: Path, tmp_path: Path) -> None:
    with partnered(tmp_path) as (g, there):
        clashing(g, there)
        operator(g)
        for width, scripts in ((1280, True), (320, True), (320, False)):
            r = Reader(chromium, g, pictures, width, scripts)
            r.sign_in("olu", NEW_PASSWORD)
            r.look("operator")
            with r.page.expect_console_message(lambda m: m.type == "error"):
                r.page.get_by_role("button", name="Keep ours").click()
            r.complaints.clear()
            r.look("operator-mistake")
            me = Reader(chromium, g, pictures, width, scripts)
            me.sign_in("patient")
            me.open("/my-plan/sent", "sent-with-rows")
            assert me.page.get_by_role("row").filter(has_text="Example Street Surgery").filter(has_text="They have it").count() > 3
            me.open("/my-plan", "my-plan-with-two-versions")
            me.page.get_by_role("link", name="Look at both versions").click()
            me.look("two-versions")
            me.page.get_by_label("What I write here").check()
            me.page.get_by_label("What it is to say").fill("")
            with me.page.expect_console_message(lambda m: m.type == "error"):
                me.press("Use these together")
            me.complaints.clear()
            me.look("two-versions-together-mistake")
            gp = Reader(chromium, g, pictures, width, scripts)
            gp.sign_in("gp")
            gp.page.get_by_role("link", name="Look at both versions").click()
            gp.page.wait_for_url("**/team/two-versions/*")
            gp.look("team-two-versions")
            assert me.page.get_by_label("What I write here").is_checked()
        me.page.get_by_role("button", name="Use this one").first.click()
        me.look("two-versions-chosen")
        r.open("/operator", "operator-empty")


def test_apps_are_chosen_for_approved_and_stopped(chromium: Any, demo: Gateway, pictures: Path, width: int) -> None:
    back, app = "http://127.0.0.1:9/back", f"pal-{width}"
    scopes = "openid launch launch/patient offline_access patient/*.rs user/Goal.rs"
    demo.lines("clients", "add", app, "--name", "Plan Pal", "--scopes", scopes, "--redirect", back, "--launch", "http://127.0.0.1:9/launch", "--json")
    asked = {
        "response_type": "code", "client_id": app, "redirect_uri": back, "state": "s", "aud": f"{demo.base}/fhir", "scope": scopes,
        "code_challenge": "c" * 43, "code_challenge_method": "S256",
    }  # fmt: skip
    r = Reader(chromium, demo, pictures, width)
    r.sign_in("gp")
    r.open(f"/oauth/authorize?{urlencode(asked)}", "app-for-whom")
    r.page.get_by_label("Look for a person by name").fill("Nobody at all")
    r.press("Look")
    r.look("app-for-nobody")
    r.page.get_by_label("Look for a person by name").fill("Amina")
    r.press("Look")
    r.page.get_by_label("Amina").check()
    r.press("Next")
    r.look("app-approve")
    r.open(f"/account/apps/open?person={demo.patient}", "app-open")
    r.open(f"/team/people/{demo.patient}", "team-person-with-apps")
    r.sign_in("patient")
    r.open(f"/oauth/authorize?{urlencode(asked)}", "app-approve-own")
    r.open("/oauth/authorize?client_id=nobody", "app-unknown", 400)
    r.open("/account/apps", "apps-of-mine")
    r.open("/account/apps/open", "app-open-own")


@pytest.mark.parametrize(("language", "scripts"), [("en", False), ("ur", True)])
def test_everything_works_by_keyboard_alone(chromium: Any, demo: Gateway, pictures: Path, language: str, scripts: bool) -> None:
    """Without scripts, and from right to left under axe: a grant in four steps, stopped in two, who has looked, what was sent."""
    known = languages.catalogue(language)

    def words(english: str) -> str:
        return known.get(english, (english,))[0]

    r = Reader(chromium, demo, pictures, 320, scripts=scripts)
    r.context.add_cookies([{"name": "language", "value": language, "url": demo.base}])
    keys, page = r.page.keyboard, r.page

    def press(english: str, key: str = "Enter") -> None:
        r.tab_to(words(english))
        keys.press(key)

    def menu(english: str, path: str) -> None:
        """A page by the menu, which folds away on a small screen where there are scripts."""
        if scripts:
            page.get_by_role("button", name=words("More")).wait_for()
            press("Show")
        press(english)
        page.wait_for_url(f"**{path}")

    def there(english: str) -> None:
        page.get_by_text(words(english)).first.wait_for()

    page.goto(f"{demo.base}/sign-in")
    r.tab_to(words("Your sign-in name"))
    keys.type("patient")
    keys.press("Tab")
    keys.type(PASSWORD)
    keys.press("Enter")
    page.wait_for_url("**/my-plan")
    menu("Who can see my plan", "/my-plan/sharing")
    press("Share with somebody")
    page.wait_for_url("**/my-plan/sharing/new")
    r.tab_to(words("Look for a person or an organisation by name"))
    keys.type("Rosa")
    keys.press("Enter")
    page.get_by_role("radio", name="Rosa Lind").first.wait_for()
    r.choose("Rosa Lind")
    assert page.get_by_role("radio", name="Rosa Lind").first.is_checked()
    r.look(f"keyboard-who-{language}")
    for choice in ("My goals and what we will do", "Until I stop it"):
        press("Next")
        page.get_by_label(words(choice)).first.wait_for()
        r.choose(words(choice))
    r.look(f"keyboard-when-{language}")
    press("Next")
    page.get_by_role("heading", name=words("What they would see")).wait_for()
    press("What stays closed to them, and why")
    page.get_by_role("heading", name=words("Stays closed")).wait_for()
    r.look(f"keyboard-preview-{language}")
    press("Save and share")
    there("Your choice is saved. It works from now on.")
    demo.get("link-worker", f"CarePlan?patient={demo.patient}")
    press("Stop sharing")
    page.wait_for_url("**/stop")
    press("Yes, stop sharing")
    there("It is stopped. It works from now on.")
    r.look(f"keyboard-stopped-{language}")
    menu("Who has looked", "/my-plan/who-looked")
    press("Show only some")
    r.tab_to(words("Who (a part of their name)"))
    keys.type("Rosa")
    keys.press("Enter")
    page.wait_for_url("**who=Rosa**")
    assert page.get_by_role("row").filter(has_text="Rosa Lind").count() >= 1 and page.get_by_role("row").filter(has_text="Asha Patel").count() == 0
    r.look(f"keyboard-who-looked-{language}")
    menu("Who can see my plan", "/my-plan/sharing")
    press("What was sent to others, and taken back")
    page.wait_for_url("**/my-plan/sent")
    r.look(f"keyboard-sent-{language}")
    assert page.locator("html").get_attribute("dir") == ("rtl" if language == "ur" else None)
    page.goto(f"{demo.base}/my-plan/sharing/why")
    press("Ask")
    page.get_by_text(words("Why:"), exact=True).wait_for()


def test_the_picture_and_its_table_can_be_opened(chromium: Any, demo: Gateway, pictures: Path) -> None:
    r = Reader(chromium, demo, pictures, 320)
    r.sign_in("patient")
    r.page.get_by_text("The picture as a table").first.click()
    r.look("picture-as-table")
    assert r.page.locator("details table").first.is_visible()


def test_four_times_enlarged_nothing_is_lost(chromium: Any, demo: Gateway, pictures: Path) -> None:
    """400 % zoom of 1280 is a page 320 wide with the same text; text alone at 200 % must also fit."""
    r = Reader(chromium, demo, pictures, 640)
    r.sign_in("patient")
    r.page.evaluate("document.documentElement.style.fontSize = '200%'")
    deadline = monotonic() + 3  # not the page's own waiting: its content policy forbids that
    while (wide := r.page.evaluate("document.documentElement.scrollWidth")) > 640 and monotonic() < deadline:
        r.page.wait_for_timeout(50)
    assert wide <= 640
