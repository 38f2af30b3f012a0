"""Results, the wheel and who looked, as pictures in a real browser: wide and narrow with axe, and by keyboard alone without scripts at 320 pixels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .test_browser import Reader
from .test_doors import as_
from .test_forms_pages import fill_in
from .test_results import pressure

if TYPE_CHECKING:
    from ..conftest import Gateway

pytestmark = pytest.mark.e2e
LONG = "Averyveryverylongnameofaspokewithoutanyspacewithinit"


@pytest.fixture(scope="module")
def measured(demo: Gateway) -> Gateway:
    """A person with results and a wheel, at whom several people looked."""
    about = {"subject": {"reference": f"Patient/{demo.patient}"}}
    for top, bottom, on in ((153, 92, "2026-05-04"), (147, 85, "2026-08-04"), (141, 80, "2026-11-02")):
        made = demo.call("hospital", "POST", "Observation", body={**pressure(top, bottom, on), **about})
        assert made.status_code == 201, made.text
    amina = as_(demo, "patient")
    fill_in(amina, **{"Music": (4, 8), LONG: (2, 6), "Family": (8, 9)})
    amina.http.close()
    for who in ("gp", "link-worker", "stranger"):
        as_(demo, who).get(f"/team/people/{demo.patient}")
    return demo


@pytest.mark.parametrize("width", [1280, 320])
def test_each_picture_has_its_table_and_a_spoke_becomes_a_goal(chromium: Any, measured: Gateway, pictures: Path, width: int) -> None:
    r = Reader(chromium, measured, pictures, width)
    r.sign_in("patient")
    r.open("/my-plan/results", "results")
    assert r.page.get_by_role("img", name="How it changed: Blood pressure").is_visible()
    for fold in r.page.get_by_text("All of them as a table").all():
        fold.click()
    r.page.get_by_role("cell", name=re.compile("153 mmHg")).first.wait_for()
    r.look("results-tables")

    r.open("/my-plan/who-looked", "who-looked-picture")
    assert r.page.get_by_role("img", name="When they looked").is_visible()
    r.page.get_by_text("The picture as a table").click()
    assert r.page.get_by_role("cell", name=re.compile("Sam Other")).first.is_visible()
    r.look("who-looked-table")

    r.open("/my-plan")
    card = r.page.locator(".nhsuk-card", has=r.page.locator("svg.app-wheel")).first
    assert card.get_by_role("img", name="My wheel").is_visible()
    card.get_by_text("The picture as a table").click()
    assert card.get_by_role("cell", name="Music").is_visible()
    card.get_by_text("Make a goal of a spoke").click()
    r.look("my-plan-wheel")
    card.get_by_role("button", name="A goal for Music").click()
    r.page.get_by_role("heading", name="My goal").first.wait_for()
    assert r.page.get_by_label("What would I like to do").input_value() == "Music" and r.page.get_by_label("Where would I like to be on it").input_value() == "8"
    r.look("goal-from-wheel")
    r.page.get_by_label("What would I like to do").fill(f"Play at {width}")
    r.page.get_by_role("button", name="Continue").last.click()
    r.press("Send")
    r.page.get_by_text(f"A goal: Play at {width}").wait_for()
    r.look("goal-from-wheel-done")


def test_a_goal_from_a_spoke_by_keyboard_alone_without_scripts(chromium: Any, measured: Gateway, pictures: Path) -> None:
    r = Reader(chromium, measured, pictures, 320, scripts=False)
    keys = r.page.keyboard
    r.sign_in("patient")
    r.open("/my-plan/results", "results-without-scripts")
    r.tab_to("Make a goal of a spoke")
    keys.press("Enter")
    r.tab_to(f"A goal for {LONG}")
    keys.press("Enter")
    r.page.wait_for_url("**/forms/goal-from-wheel/**")
    assert r.page.evaluate("document.documentElement.scrollWidth") <= 320
    r.tab_to("What would I like to do or be able to do?")
    keys.press("End")
    keys.type(", again")
    r.tab_to("Continue")
    keys.press("Enter")
    r.page.get_by_role("heading", name="Check your answers").wait_for()
    r.tab_to("Send")
    keys.press("Enter")
    r.page.get_by_text(f"A goal: {LONG}, again").wait_for()
    r.open("/my-plan/who-looked", "who-looked-without-scripts")
    r.tab_to("The picture as a table")
    keys.press("Enter")
    r.page.get_by_role("cell", name=re.compile("Asha Patel")).first.wait_for()
