"""What was meant to run in a browser does not: plans of naughty strings and of HTML payloads in Chromium, with scripts on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..test_html_payloads import narratives, payloads
from ..test_naughty_strings import created, status

if TYPE_CHECKING:
    from ..conftest import Gateway

pytestmark = pytest.mark.e2e


class Watched:
    """A page, and everything that happened on it which should not: dialogs, errors, requests to elsewhere."""

    def __init__(self, browser: Any, base: str) -> None:
        self.page = browser.new_context(locale="en-GB").new_page()
        self.base = base
        self.happened: list[str] = []
        self.page.on("dialog", self._dialog)
        self.page.on("console", lambda m: self.happened.append(f"console: {m.text}") if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.happened.append(f"error: {e}"))
        self.page.on("popup", lambda p: self.happened.append(f"popup: {p.url}"))
        self.page.on("request", lambda r: self.happened.append(f"asked: {r.url}") if not r.url.startswith(base) else None)

    def _dialog(self, dialog: Any) -> None:
        self.happened.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def sign_in(self, who: str) -> None:
        self.page.goto(f"{self.base}/sign-in")
        self.page.get_by_label("Your sign-in name").fill(who)
        self.page.get_by_label("Your password").fill("demo-only-password")
        self.page.get_by_role("button", name="Sign in").click()


@pytest.fixture
def written(demo: Gateway, shared: Path) -> list[str]:
    """Her plan holds all of them, as words."""
    naughty = [s for s in json.loads((shared / "suites/naughty-strings.json").read_text()) if s.strip() and not any(ord(c) < 32 and c not in "\t\n\r" for c in s)]
    texts = [*payloads(shared), *naughty]
    plan = demo.get("patient", f"/plans/{demo.patient}").json()
    plan["goals"] = [*plan.get("goals", []), *({"id": f"h-{n}", "text": s} for n, s in enumerate(texts[:200]))]
    plan["needs"] = [*plan.get("needs", []), *({"id": f"i-{n}", "text": s} for n, s in enumerate(texts[200:]))]
    plan["about_me"] = {**plan.get("about_me", {}), "my_wellness": " ".join(texts), "most_important": "<img src=x onerror=alert(1)>"}
    plan["title"] = "<script>alert(1)</script>"
    answer = demo.call("patient", "POST", "/plans", body=plan, headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 201), answer.text[:500]
    return texts


def test_on_pages_nothing_of_it_runs(chromium: Any, demo: Gateway, written: list[str]) -> None:
    for who, paths in (
        ("patient", ("/my-plan", "/my-plan/private", "/my-plan/sharing", "/my-plan/sharing/new", "/my-plan/sharing/why", "/my-plan/who-looked")),
        ("gp", ("/team", f"/team/people/{demo.patient}")),
    ):
        w = Watched(chromium, demo.base)
        w.sign_in(who)
        waiting = list(paths)
        for path in waiting:
            w.page.goto(f"{demo.base}{path}")
            if path in ("/my-plan", f"/team/people/{demo.patient}"):  # the forms of the first goals, and of her own words
                waiting += [str(a.get_attribute("href")) for a in w.page.locator('a[href*="/edit/"]').all()[:4]]
            for summary in w.page.locator("details > summary").all()[:20]:
                if summary.evaluate("s => !s.parentElement.open"):
                    summary.click()
            assert w.page.evaluate("[...document.querySelectorAll('script')].every(s => s.nonce || s.src.startsWith(location.origin))"), path
        assert len(waiting) == len(paths) + 4 and w.happened == []
        assert w.page.evaluate("document.querySelectorAll('iframe, object, embed, math, base, audio, video, main style').length") == 0


def test_no_narrative_that_was_kept_runs_even_where_nothing_forbids_it(chromium: Any, demo: Gateway, shared: Path) -> None:
    """Shown bare by a careless reader, on a page of no content policy: still nothing happens but that a picture is asked for."""
    person = {"reference": f"Patient/{demo.patient}"}
    divs = narratives(shared)
    goals = [{"resourceType": "Goal", "text": {"status": "additional", "div": d}, "lifecycleStatus": "active", "description": {"text": "x"}, "subject": person} for d in divs]
    kept = [d for d, e in zip(divs, created(demo, goals), strict=True) if status(e) == 201]
    assert kept
    w = Watched(chromium, "about:")
    w.page.route("**/*", lambda route: route.abort())
    w.page.set_content("<!DOCTYPE html><title>x</title>" + "\n".join(kept))
    for element in w.page.locator("a, [tabindex]").all():
        element.dispatch_event("mouseover")
        element.dispatch_event("focus")
    w.page.evaluate("document.querySelectorAll('a').forEach(a => { if (!/^(https?|mailto|tel):/.test(a.href) && a.href) a.click() })")
    w.page.wait_for_timeout(300)
    assert [h for h in w.happened if h.startswith(("dialog", "error", "popup"))] == []
