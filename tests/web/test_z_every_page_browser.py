"""Last of the browser tests, by its name: every page that the app has was looked at, wide and narrow, or it is said why not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from . import every_page
from .test_browser import WIDTHS

HERE = Path(__file__).parent


def test_every_address_of_the_app_is_looked_at_in_a_browser_or_has_a_reason() -> None:
    listed = [*every_page.LOOKED, *every_page.NOT]
    assert len(listed) == len(set(listed))
    assert set(listed) == {r.path for r in every_page.routes()}, "add a line to tests/web/every_page.py, and a look to a browser test"


def test_an_address_is_known_by_its_route() -> None:
    for url, route in {
        "http://h/my-plan/sharing/no?who=x": "/my-plan/sharing/no",
        "http://h/my-plan/sharing/abc/stop#a": "/my-plan/sharing/{rule}/stop",
        "http://h/forms/my-wheel/7/check": "/forms/{form}/{answers}/check",
        "http://h/forms/my-wheel/7/2": "/forms/{form}/{answers}/{page}",
        "http://elsewhere/desk": "",
    }.items():
        assert every_page.address(url) == route


@pytest.mark.e2e
def test_each_was_looked_at_wide_and_narrow(request: pytest.FixtureRequest) -> None:
    ran = {item.path.name for item in request.session.items if item.get_closest_marker("e2e")}
    all_of_them = {f.name for f in HERE.glob("test_*.py") if re.search(r"pytest\.mark\.e2e", f.read_text())}
    before = every_page.NOTED or all_of_them <= ran  # `scripts/test-all` asks this by itself, after all others
    if request.config.option.keyword or request.session.testsfailed or not before:
        pytest.skip("only where all browser tests ran before, and none failed")
    looked = every_page.by_all()
    lacking = {a: set(WIDTHS) - looked.get(a, set()) for a in every_page.LOOKED}
    assert {a: w for a, w in lacking.items() if w} == {}
    assert not set(every_page.NOT) & {a for a, widths in looked.items() if set(WIDTHS) <= widths}, "it can be looked at"
