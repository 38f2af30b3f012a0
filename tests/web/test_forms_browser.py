"""A form in a real browser: wide and narrow with axe, and by keyboard alone without scripts at 320 pixels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .test_browser import PASSWORD, Reader

if TYPE_CHECKING:
    from ..conftest import Gateway

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("width", [1280, 320])
def test_a_person_writes_their_plan_and_their_wheel(chromium: Any, demo: Gateway, pictures: Path, width: int) -> None:
    r = Reader(chromium, demo, pictures, width)
    r.sign_in("patient")
    r.open("/forms")
    r.open("/forms/my-own-words", "form-begin")
    r.press("Begin")
    r.page.get_by_label("What matters most to me?").fill("My garden, and a dog with a veryveryverylongnamewithoutanyspaceatallthatgoesonandonandonandon")
    r.look("form-first")
    r.press("Continue")
    r.page.get_by_label("What would I like to do").fill(f"Dance at {width}")
    r.page.get_by_label("How important is it to me").fill("many")
    r.page.get_by_role("button", name="Continue").last.click()
    r.page.get_by_role("heading", name="There is something to put right").wait_for()
    r.look("form-mistake")
    r.page.get_by_role("link", name="Write a number, such as 7.").click()
    assert r.page.evaluate("document.activeElement.value") == "many", "the mistake leads to its question"
    r.page.get_by_label("How important is it to me").fill("9")
    r.page.get_by_label("How sure am I").fill("4")
    r.page.get_by_role("button", name="Continue").last.click()
    r.page.get_by_text("There are more questions on this page now.").wait_for()
    r.look("form-opened")
    r.page.get_by_label("What would make me more sure?").fill("Somebody to dance with")
    r.page.get_by_role("button", name=re.compile("Add another.*My goals")).click()
    r.page.get_by_text("My goals (2)").first.wait_for()
    r.look("form-another")
    r.page.get_by_role("button", name=re.compile(r"Take this away.*My goals \(2\)")).click()
    r.page.get_by_role("button", name="Continue").last.click()
    r.page.get_by_label("Yes").check()
    r.page.get_by_role("button", name="Continue").last.click()
    r.page.get_by_label("What should happen then").fill("Ring Leila")
    r.look("form-crisis")
    r.page.get_by_role("button", name="Continue").last.click()
    r.page.get_by_role("heading", name="Check your answers").wait_for()
    r.look("form-check")
    r.press("Send")
    r.page.get_by_text(f"A goal: Dance at {width}").wait_for()
    r.look("form-done")
    r.open("/my-plan", "form-in-my-plan")
    assert r.page.get_by_text(f"Dance at {width}").count() >= 1

    r.open("/forms/my-wheel", "wheel-begin")
    r.press("Begin")
    for n, (name, now, hoped) in enumerate((("Music", "3", "8"), ("Sleep", "6", "7"), ("Family", "8", "9"))):
        if n:
            r.page.get_by_role("button", name=re.compile("Add another.*A spoke of my wheel")).click()
        r.page.get_by_label("What I call it").nth(n).fill(name)
        r.page.get_by_label("Where I am now").nth(n).fill(now)
        r.page.get_by_label("Where I would like to be").nth(n).fill(hoped)
    r.look("wheel")
    r.page.get_by_role("button", name="Continue").last.click()
    r.press("Send")
    r.page.locator("svg.app-wheel").wait_for()
    assert r.page.get_by_role("cell", name="Music").is_visible()
    r.look("wheel-done")


def test_a_form_by_keyboard_alone_without_scripts(chromium: Any, demo: Gateway, pictures: Path) -> None:
    r = Reader(chromium, demo, pictures, 320, scripts=False)
    keys = r.page.keyboard
    r.page.goto(f"{demo.base}/sign-in")
    r.tab_to("Your sign-in name")
    keys.type("patient")
    keys.press("Tab")
    keys.type(PASSWORD)
    keys.press("Enter")
    r.page.wait_for_url("**/my-plan")
    r.page.goto(f"{demo.base}/forms/my-own-words")
    r.tab_to("Begin")
    keys.press("Enter")
    r.page.get_by_role("heading", name="What matters to me").wait_for()
    r.tab_to("What matters most to me?")
    keys.type("Quiet mornings")
    r.tab_to("Continue")
    keys.press("Enter")
    r.page.get_by_role("heading", name="My goals").wait_for()
    r.tab_to("What would I like to do or be able to do?")
    keys.type("Swim")
    keys.press("Enter")  # from a field: goes on, and does not add another
    r.page.get_by_role("heading", name="If things get worse").wait_for()
    assert r.page.evaluate("document.documentElement.scrollWidth") <= 320
    r.look("form-keyboard")
    r.tab_to("Keep it and stop for now")
    keys.press("Enter")
    r.page.get_by_role("heading", name="Begun and not sent yet").wait_for()
    r.tab_to("My plan in my own words")
    keys.press("Enter")
    r.page.get_by_role("heading", name="Check your answers").wait_for()
    assert r.page.get_by_text("Quiet mornings").is_visible()
    r.tab_to("Send")
    keys.press("Enter")
    r.page.get_by_text("A goal: Swim").wait_for()
    r.look("form-keyboard-done")
