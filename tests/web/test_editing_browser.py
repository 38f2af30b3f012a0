"""Two people change one goal at the same time, each by keyboard alone; with JavaScript at 320 pixels under axe, and without it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .test_browser import Reader
from .test_editing import goal, ref

if TYPE_CHECKING:
    from ..conftest import Gateway

pytestmark = pytest.mark.e2e
MOST = 150  # presses of the tab key to reach anything on a page


class Typist(Reader):
    """Somebody without a mouse."""

    def to(self, what: str) -> None:
        """On by the tab key until this (a selector) has the focus."""
        for _press in range(MOST):
            self.page.keyboard.press("Tab")
            if self.page.locator(f"{what}:focus").count():
                return
        raise AssertionError(f"no tab leads to {what}")

    def write(self, what: str, text: str) -> None:
        self.to(what)
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(text)

    def enter(self, what: str) -> None:
        self.to(what)
        with self.page.expect_navigation():
            self.page.keyboard.press("Enter")

    def says(self, text: str) -> bool:
        return self.page.get_by_text(text).count() > 0


@pytest.mark.parametrize(("width", "scripts"), [(320, True), (1280, False)])
def test_two_people_change_a_goal_by_keyboard_and_choose_line_by_line(chromium: Any, demo: Gateway, pictures: Path, width: int, scripts: bool) -> None:
    asha, amina = (Typist(chromium, demo, pictures, width, scripts) for _ in range(2))
    one = ref(goal(demo))
    asha.sign_in("gp")
    amina.sign_in("patient")
    asha.page.goto(f"{demo.base}/team/people/{demo.patient}")
    asha.enter(f'a[href$="/edit/{one}"]')
    asha.look("edit-goal")
    amina.enter(f'a[href="/my-plan/edit/{one}"]')
    amina.write("#text", f"Cook for Leila, sitting ({width})")
    amina.enter("main button")
    assert amina.says("Your change is saved.")
    amina.look("edit-saved")
    asha.write("#text", "Cook a pudding")
    asha.write("#target-value", "thirty")
    asha.enter("main button")
    assert asha.says("Somebody else changed this, too") and asha.says(f"Cook for Leila, sitting ({width})")
    asha.complaints.clear()  # a browser says of every 400 and 409 that it is one
    asha.look("edit-beside")
    asha.enter("main button")
    assert asha.says("There is something to put right")
    asha.complaints.clear()
    asha.look("edit-beside-mistake")
    assert asha.page.locator("#text").input_value() == "Cook a pudding" and asha.page.locator("#target-value").input_value() == "thirty"
    asha.to("#pick-text")
    asha.page.keyboard.press("ArrowDown")
    assert asha.page.locator("#pick-text-mine").is_checked()
    asha.write("#text", f"Cook a pudding for Leila ({width})")
    asha.write("#target-value", "30")
    asha.enter("main button")
    assert asha.says("Your change is saved.") and asha.says(f"Cook a pudding for Leila ({width})")
    now = goal(demo)
    assert now["description"]["text"] == f"Cook a pudding for Leila ({width})" and now["target"][0]["detailQuantity"]["value"] == 30
