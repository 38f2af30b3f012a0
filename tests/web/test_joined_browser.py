"""A crisis plan, two records put together and what a discharge proposes, in a real browser: at 320 pixels by keyboard under axe, and without JavaScript."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..test_joined_records import Two, allowed, asha
from .test_editing_browser import Typist
from .test_medicine_buttons import DISCHARGE

if TYPE_CHECKING:
    from ..conftest import Gateway

pytestmark = pytest.mark.e2e
YES = re.compile("^Change the plan")


@pytest.fixture(scope="module")
def two(demo: Gateway) -> Two:
    made = Two(demo)
    made.operate("merge")
    allowed(made, asha(made))
    assert demo.command("import", str(DISCHARGE)).returncode == 0
    return made


def test_a_no_without_a_reason_and_a_yes_that_comes_too_late_say_so_where_the_reader_is(chromium: Any, two: Two, pictures: Path) -> None:
    amina, gp, late = Typist(chromium, two.demo, pictures, 320), Typist(chromium, two.demo, pictures, 320), Typist(chromium, two.demo, pictures, 1280, scripts=False)
    for who in (gp, late):
        who.sign_in("gp")
    amina.sign_in("patient")
    amina.page.locator("summary", has_text="Keep the plan as it is").first.focus()
    for key in ("Enter", "Tab", "Tab"):
        amina.page.keyboard.press(key)
    with amina.page.expect_navigation():
        amina.page.keyboard.press("Enter")
    amina.complaints.clear()
    assert amina.page.locator(".nhsuk-error-summary:focus").count() == 1
    amina.page.keyboard.press("Tab")
    amina.page.keyboard.press("Enter")
    assert amina.page.locator("textarea.nhsuk-textarea--error:focus").count() == 1
    amina.look("my-plan-joined-mistake")
    amina.page.get_by_role("button", name=YES).first.click()
    amina.page.get_by_text("You chose. It is so here").wait_for()
    for who, where in ((gp, "team-answered-already"), (late, "team-answered-already-without-scripts")):
        who.page.get_by_role("button", name=YES).first.click()
        who.page.get_by_text("This was answered already, or it is not for you any more.").wait_for()
        who.complaints.clear()
        who.look(where)


def test_both_records_are_read_in_one_and_the_crisis_plan_of_this_one_is_ended(chromium: Any, two: Two, pictures: Path) -> None:
    gp = Typist(chromium, two.demo, pictures, 320)
    gp.sign_in("gp")
    gp.open(f"/team/people/{two.one}", "team-person-joined")
    assert gp.page.locator('a[href*="/edit/CarePlan/"]').count() == 1
    gp.open(str(gp.page.locator('a[href*="/edit/CarePlan/"]').get_attribute("href")), "edit-crisis")
    gp.write("#name", "If I fall, and nobody is here")
    gp.write("#triggers", "y" * 999)
    gp.to("#status")
    gp.page.keyboard.press("S")  # Stopped
    gp.enter("main button")
    assert gp.says("Your change is saved.") and gp.says("If I fall, and nobody is here (Stopped)")
    gp.open(f"/team/people/{two.one}/in-a-hurry", "in-a-hurry-joined")
    assert gp.says("If I bleed") and not gp.says("If I fall")
    box, last = (gp.page.locator(at).last.bounding_box() for at in (".nhsuk-warning-callout__label", 'section[aria-labelledby="alerts"] li'))
    assert box and last and box["y"] >= last["y"] + last["height"], "the label stands out above its box"
