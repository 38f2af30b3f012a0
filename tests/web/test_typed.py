"""Numbers and days as people type them on the pages: read as they mean them, or asked again in plain words with what was typed still there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from ..test_forms_over_http import post
from .test_doors import Visitor, as_
from .test_editing import editor, form, goal, ref
from .test_forms_pages import begun, named, typed

if TYPE_CHECKING:
    from ..conftest import Gateway

TYPED = "https://forms.example/typed"
COMMA = "Use a full stop for part of a number, as in 2.5. Use a comma only for thousands, as in 1,250."


@pytest.fixture(scope="module")
def asked(demo: Gateway) -> str:
    """A form that asks for numbers and days, by its id here."""
    items = [{"linkId": kind, "type": kind, "text": f"Your {kind}"} for kind in ("decimal", "quantity", "integer", "date", "dateTime")]
    body = {"resourceType": "Questionnaire", "url": TYPED, "status": "active", "title": "Typed", "subjectType": ["Patient"], "item": items}
    return str(post(demo, "hospital", "Questionnaire", body, 201)["id"])


def sent(demo: Gateway, v: Visitor, at: str) -> dict[str, Any]:
    """What is kept of these answers once they are sent, by question."""
    check = at.rsplit("/", 1)[0] + "/check"
    v.get(check)
    assert v.send(check).url.path.endswith("/done"), v.words()
    found = demo.get("patient", f"QuestionnaireResponse?patient={demo.patient}&questionnaire={TYPED}&status=completed&_sort=-_lastUpdated&_count=1").json()
    return {i["linkId"]: i["answer"][0] for i in found["entry"][0]["resource"]["item"]}


def nothing(v: Visitor, at: str) -> bool:
    """Is nothing kept of what was typed."""
    v.get(at)
    return not re.search(r'<input class="[^"]*"[^>]* value="[^"]+"', v.page)


# -- numbers ------------------------------------------------------------------------------------------------------------


def test_a_comma_groups_thousands_in_a_form(demo: Gateway, asked: str) -> None:
    for language in ("en", "cy", "ur"):
        v = as_(demo, "patient")
        at = begun(v, asked)
        v.http.headers["Accept-Language"] = language
        typed(v, at, **{named(v, "Your decimal"): "1,250", named(v, "Your quantity"): "1,012,000.5", named(v, "Your integer"): "12,000"})
        said = sent(demo, v, at)
        assert said["decimal"] == {"valueDecimal": 1250} and said["integer"] == {"valueInteger": 12000} and said["quantity"]["valueQuantity"]["value"] == 1012000.5, language


@pytest.mark.parametrize("text", ["1,5", "1,25", "12,00", "1250,5", "0,250", "1,2500", "1.250,5", ",5"])
def test_a_comma_that_groups_nothing_is_asked_again_in_a_form(demo: Gateway, asked: str, text: str) -> None:
    v = as_(demo, "patient")
    at = begun(v, asked)
    typed(v, at, **{named(v, "Your decimal"): text})
    assert COMMA in v.words() and f'value="{text}"' in v.page and nothing(v, at)


def test_a_comma_groups_thousands_in_an_aim(demo: Gateway) -> None:
    walk = goal(demo)
    assert editor(demo, "gp", ref(walk)).save(target_what="Steps", target_value="12,000", target_unit="a day").status_code == 200
    assert goal(demo)["target"][0]["detailQuantity"]["value"] == 12000
    for text, said in (("1,5", COMMA), ("12,00", COMMA), ("-5", "Write 0 or more."), ("-1,250", "Write 0 or more.")):
        e = editor(demo, "gp", ref(walk))
        answer = e.save(target_value=text)
        assert answer.status_code == 400 and said in e.words() and form(e, e.path)["target-value"] == text
    assert goal(demo)["target"][0]["detailQuantity"]["value"] == 12000
    editor(demo, "gp", ref(walk)).save(target_value="2.5")
    assert goal(demo)["target"][0]["detailQuantity"]["value"] == 2.5


# -- days ---------------------------------------------------------------------------------------------------------------


YEAR = "Write all four digits of the year, from 1900 to 2100."


def boxes(name: str, d: str, m: str, y: str) -> dict[str, str]:
    return {f"{name}-day": d, f"{name}-month": m, f"{name}-year": y}


@pytest.mark.parametrize("year", ["26", "206", "7", "0026", "1899", "2101", "20266"])
def test_a_year_has_four_digits_in_a_form(demo: Gateway, asked: str, year: str) -> None:
    v = as_(demo, "patient")
    at = begun(v, asked)
    name = "q3"
    typed(v, at, **boxes(name, "31", "12", year))
    assert YEAR in v.words() and f'value="{year}"' in v.page and nothing(v, at)


@pytest.mark.parametrize("name", ["target-by", "review"])
def test_a_year_has_four_digits_at_a_goal(demo: Gateway, name: str) -> None:
    before = goal(demo)
    for year in ("26", "7", "0026", "2101"):
        e = editor(demo, "gp", ref(before))
        answer = e.save(**boxes(name, "31", "12", year))
        assert answer.status_code == 400 and YEAR in e.words() and form(e, e.path)[f"{name}-year"] == year.lstrip("0")
    assert goal(demo)["meta"]["versionId"] == before["meta"]["versionId"]


def test_a_year_has_four_digits_at_an_action_and_in_a_search(demo: Gateway) -> None:
    act = goal(demo, "a-physio", "Task")
    e = editor(demo, "gp", ref(act))
    assert e.save(**boxes("to", "31", "12", "26")).status_code == 400 and YEAR in e.words()
    v = as_(demo, "patient")
    v.get("/my-plan/who-looked?from-day=1&from-month=1&from-year=26")
    assert YEAR in v.words()
    for year, said in (("26", True), ("1950", False)):
        v.get("/my-plan/who-looked?" + "&".join(f"from-{k}={x}" for k, x in (("day", "1"), ("month", "1"), ("year", year))))
        assert (YEAR in v.words()) is said


@pytest.mark.parametrize(
    ("day", "kept", "shown"),
    [(("", "", "2024"), "2024", "2024"), (("", "2", "2024"), "2024-02", "February 2024"), (("29", "02", "2024"), "2024-02-29", "29 February 2024")],
)
def test_a_date_is_as_much_as_the_person_knows(demo: Gateway, asked: str, day: tuple[str, str, str], kept: str, shown: str) -> None:
    v = as_(demo, "patient")
    at = begun(v, asked)
    assert "If you do not know the day, write the month and year, or only the year." in v.words()
    typed(v, at, **boxes("q3", *day), **boxes("q4", *day))
    assert v.words().count(shown) == 2, v.words()
    v.get(at)
    again = dict(re.findall(r'name="(q3-[a-z]+)"[^>]* value="([^"]*)"', v.page))
    assert [again[f"q3-{p}"].lstrip("0") for p in ("day", "month", "year")] == [p.lstrip("0") for p in day], "it comes back as it was typed"
    said = sent(demo, v, at)
    assert said["date"] == {"valueDate": kept} and said["dateTime"] == {"valueDateTime": kept}


@pytest.mark.parametrize("day", [("", "13", "2024"), ("", "2", ""), ("4", "", "2024"), ("", "", "24"), ("30", "2", "2024"), ("", "x", "2024")])
def test_what_is_no_part_of_a_date_is_asked_again(demo: Gateway, asked: str, day: tuple[str, str, str]) -> None:
    v = as_(demo, "patient")
    at = begun(v, asked)
    for name in ("q3", "q4"):
        typed(v, at, **boxes(name, *day))
        assert "There is something to put right" in v.words() and nothing(v, at)


def test_a_question_for_an_instant_is_answered_in_the_persons_time(demo: Gateway, asked: str) -> None:
    for day, time, kept, shown in (
        (("20", "11", "2026"), "10:00", "2026-11-20T10:00:00+00:00", "20 November 2026 at 10:00 am"),
        (("1", "7", "2026"), "14:30", "2026-07-01T14:30:00+01:00", "1 July 2026 at 2:30 pm"),
    ):
        v = as_(demo, "patient")
        at = begun(v, asked)
        typed(v, at, **boxes("q4", *day), **{"q4-time": time})
        assert shown in v.words()
        v.get(at)
        assert f'name="q4-time" maxlength="8" value="{time}"' in v.page
        typed(v, at, **boxes("q4", *day), **{"q4-time": time})
        assert sent(demo, v, at)["dateTime"] == {"valueDateTime": kept}
    for day, time, said in (
        (("20", "11", "2026"), "ten", "Write a time with hours and minutes"), (("", "11", "2026"), "10:00", "Write the whole day of this time"), (("", "", ""), "10:00", "Write the whole day of this time"),
    ):
        v = as_(demo, "patient")
        at = begun(v, asked)
        typed(v, at, **boxes("q4", *day), **{"q4-time": time})
        assert said in v.words() and f'value="{time}"' in v.page and nothing(v, at)
