"""What a plan becomes on a page: every word of it, escaped, names instead of ids, the facts behind each picture."""

from __future__ import annotations

import ast
import json
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from fhir_gateway.web import pages
from fhir_gateway.web.pages import render
from fhir_gateway.web.pages.alerts import Alerts
from fhir_gateway.web.pages.pictures import LEFT, RIGHT, progress
from fhir_gateway.web.pages.plan_view import plan_view
from fhir_gateway.web.pages.words import day, moment, plain_date, typed_day

PLAN = json.loads((Path(__file__).parent.parent / "cases" / "web" / "plan.json").read_text())
TODAY = date(2026, 11, 24)


def request(path: str = "/my-plan") -> Request:
    return Request(
        {
            "type": "http",
            "method": "GET",
            "path": path,
            "headers": [],
            "query_string": b"",
            "server": ("t", 80),
            "scheme": "http",
        }
    )


def page(plan: dict[str, Any], template: str = "my_plan.html", own: bool = True) -> str:
    view = plan_view(plan, TODAY, own=own)
    return bytes(render(request(), template, plan=view, own=own, empty=False, alerts=Alerts()).body).decode()


def test_every_word_of_the_plan_is_on_the_page() -> None:
    html = page(PLAN)
    for text in (
        "Sing in the spring concert, standing", "9 out of 10", "Time standing: 20 minutes", "1 March 2027",
        "Huw Sample (nephew): does not agree", "New shoes help (Me, 2 June 2026)", "after breakfast", "6 out of 10",
        "Hold the worktop", "from 1 November 2026 to 15 December 2026", "If I fall", "Press the pendant",
        "Huw Sample (nephew)", "Lifting cushion: Hall cupboard", "Key worker: Pat Invented", "Text me first",
        "Welsh, please bring an interpreter", "November 2025", "Never gives up", "ReSPECT form", "Yellow folder",
        "14 December 2026",
    ):  # fmt: skip
        assert text in html, text


@pytest.mark.parametrize(
    ("method", "unsure", "says"),
    [("GET", False, "Nothing was lost"), ("GET", True, "Nothing was lost"), ("POST", False, "What you sent was not kept. Go back"), ("POST", True, "look whether it is there before you send it again")],
)
def test_a_page_that_failed_says_what_became_of_what_was_sent(method: str, unsure: bool, says: str) -> None:
    """Where nobody knows whether it was kept, it does not say that nothing was changed."""
    asked = request()
    asked.scope["method"] = method
    told = bytes(pages.error_page(asked, 500, unsure=unsure).body).decode()
    assert says in told and "Try again in a few minutes." in told and "call 999" in told
    assert ("Nothing was lost" in told) == (not unsure or method == "GET") and ("What you sent" in told) == (method == "POST" and not unsure)


def test_what_a_person_typed_is_escaped() -> None:
    html = page(PLAN)
    assert "My choir &lt;b&gt;and&lt;/b&gt; my dog." in html
    assert "<b>and</b>" not in html


def test_the_team_reads_names_where_the_person_reads_me() -> None:
    assert 'Said by</dt><dd class="nhsuk-summary-list__value"><span class="app-words">Gwen Sample' in page(
        PLAN, "team_person.html", own=False
    )


def test_the_team_is_always_told_that_something_may_be_withheld() -> None:
    for plan in (PLAN, {}, {"person": {"name": {"family": "X"}}}):
        assert "Some information may be withheld." in page(plan, "team_person.html", own=False)


def test_a_picture_has_a_title_and_the_same_facts_as_a_table() -> None:
    html = page(PLAN)
    svg = re.search(r"<svg class=\"app-picture\".*?</svg>", html, re.S)
    assert svg and '<title id="goal-1-title">' in svg.group() and 'aria-labelledby="goal-1-title goal-1-desc"' in svg.group()
    table = re.search(r"<table.*?</table>", html, re.S)
    assert table
    for mark in progress(PLAN["goals"][0], TODAY, str).marks:  # type: ignore[union-attr]
        assert mark.on in table.group() and mark.text in table.group()


def test_marks_stand_on_the_line_in_order() -> None:
    p = progress(PLAN["goals"][0], TODAY, str)
    assert p is not None
    assert [m.shape for m in p.marks] == ["met", "better", "worse", "same"]
    assert all(LEFT <= m.x <= RIGHT for m in p.marks)
    assert p.now == LEFT + round((RIGHT - LEFT) * 268 / 365)  # 1 March to 24 November, of a year
    assert p.done == 1


def test_a_goal_without_dates_and_steps_has_no_picture() -> None:
    assert progress(PLAN["goals"][1], TODAY, str) is None


@pytest.mark.parametrize(
    ("value", "said"),
    [("2026-11", "November 2026"), ("2026-11-30", "30 November 2026"), ("2026-06-01T23:30:00Z", "2 June 2026"),
     ("soon", "soon"), ("2026-99-99", "2026-99-99"), (None, "")],
)  # fmt: skip
def test_days_are_said_as_people_say_them(value: Any, said: str) -> None:
    assert day(value) == said


def test_times_are_london_times() -> None:
    assert moment(datetime(2026, 7, 1, 12, 5, tzinfo=UTC)) == "1 July 2026 at 1:05 pm"
    assert moment(datetime(2026, 12, 1, 12, 5, tzinfo=UTC)) == "1 December 2026 at 12:05 pm"


def test_every_page_forbids_scripts_without_its_nonce_and_being_framed() -> None:
    a, b = (render(request(), "start.html") for _ in range(2))
    policy = a.headers["content-security-policy"]
    nonce = re.search(r"script-src 'nonce-([^']+)'", policy)
    assert nonce and f'nonce="{nonce.group(1)}"' in bytes(a.body).decode()
    assert policy != b.headers["content-security-policy"]
    assert {"frame-ancestors 'none'", "default-src 'none'", "base-uri 'none'", "form-action 'self'"} <= set(policy.split("; ")) and "unsafe" not in policy
    assert a.headers["x-frame-options"] == "DENY" and a.headers["cache-control"] == "no-store"
    html = bytes(a.body).decode()
    assert not re.search(r"<[^>]+\son\w+=", html), "no inline handlers"
    assert not re.search(r"<[^>]+\sstyle=", html), "no inline styles"


def test_no_page_calls_a_value_of_its_own_what_every_page_has() -> None:
    """Else the page is a TypeError to whoever opens it: `show` and `render` pass on what a page says under its own names."""
    calls = [(f.name, c) for f in Path(pages.__file__).parent.glob("*.py") for c in ast.walk(ast.parse(f.read_text())) if isinstance(c, ast.Call)]
    (common,) = [{k.arg for k in c.keywords} for name, c in calls if name == "frame.py" and any(k.arg == "cspNonce" for k in c.keywords)]
    shown = [(name, {k.arg for k in c.keywords}) for name, c in calls if isinstance(c.func, ast.Name) and c.func.id in ("show", "render")]
    assert len(shown) > 40
    assert not [(name, said) for name, has in shown if name != "frame.py" and (said := has & (common - {None}))]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.sampled_from(sorted(PLAN)), json_values)
def test_an_odd_plan_is_still_a_page(key: str, odd: Any) -> None:
    """Whatever a stored plan holds under a key, the reader gets a page."""
    assert "<main" in page({**PLAN, key: odd})


@pytest.mark.parametrize("odd", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", "2026-02-30T10:00:00Z", "soon"])
def test_a_day_that_no_calendar_here_has_is_shown_as_it_is_written(odd: str) -> None:
    assert (day(odd), moment(odd), plain_date(odd)) == (odd, odd, None)


@pytest.mark.parametrize(("year", "said"), [("9999999999", "Write all four digits"), ("-1", "Write a day that exists"), ("0", "Write all four digits"), ("²", "Write a day that exists")])
def test_a_year_that_no_calendar_has_is_a_mistake_in_the_form(year: str, said: str) -> None:
    assert said in str(typed_day({"x-day": "1", "x-month": "1", "x-year": year}, "x"))
