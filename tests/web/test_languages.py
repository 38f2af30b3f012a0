"""The pages in Welsh and Urdu: every sentence is there, with what is filled in; a choice lasts; words of people stay as they are."""

from __future__ import annotations

import json
import re
import subprocess
from html import escape
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_gateway.web.pages import languages

from ..conftest import Gateway
from .test_doors import Visitor, as_

ROOT = Path(__file__).parent.parent.parent
FILLED = re.compile(r"%\((\w+)\)[sd]|%[sd]|\{(\w*)\}")
OTHERS = [code for code in languages.NAMES if code != "en"]


def test_no_sentence_of_a_page_is_without_its_translation() -> None:
    done = subprocess.run([str(ROOT / "scripts" / "sentences"), "--check"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("code", OTHERS)
def test_a_translation_keeps_what_is_filled_in_and_marks_up_nothing(code: str) -> None:
    book = languages.catalogue(code)
    assert len(book) > 1_000
    for text, forms in book.items():
        for form in forms:
            if len(forms) == 1:
                assert sorted(FILLED.findall(text)) == sorted(FILLED.findall(form)), (text, form)
            assert re.findall(r"</?\w+", text) == re.findall(r"</?\w+", form), (text, form)


@pytest.mark.parametrize("code", OTHERS)
def test_a_catalogue_is_no_copy_of_the_english_one(code: str) -> None:
    book = languages.catalogue(code)
    same = [text for text, forms in book.items() if forms == (text,) and re.search(r"[a-z]{3} [a-z]{3}", text)]
    assert len(same) < len(book) / 20, same


@pytest.mark.parametrize(
    ("cookie", "accepts", "said"),
    [
        ("cy", "en", "cy"), (None, "cy-GB,cy;q=0.9,en;q=0.8", "cy"), (None, "fr, ur;q=0.5, en;q=0.4", "ur"), ("xx", "en", "en"), (None, "", "en"),
        (None, "ur;q=0, en", "en"), (None, "cy;q=x", "en"), (None, "*", "en"),
    ],
)  # fmt: skip
def test_a_choice_comes_before_what_the_browser_asks_for(cookie: str | None, accepts: str, said: str) -> None:
    assert languages.chosen(cookie, accepts) == said


@given(st.text(), st.text())
def test_whatever_a_browser_says_a_language_is_found(cookie: str, accepts: str) -> None:
    assert languages.chosen(cookie, accepts) in languages.NAMES


def test_a_choice_of_language_lasts_and_leads_back(demo: Gateway) -> None:
    v = as_(demo, "patient")
    english = v.get("/my-plan").text
    v.http.headers["Referer"] = f"{demo.base}/my-plan"
    assert v.get("/language/ur").url.path == "/my-plan"
    page = v.get("/my-plan").text
    assert '<html lang="ur" dir="rtl">' in page.replace("  ", " ") and ".rtl.min.css" in page and languages.catalogue("ur")["Sign out"][0] in page
    goals = [escape(goal["text"]) for goal in json.loads((ROOT / "fhir_gateway/demo/plan.json").read_text())["goals"]]
    assert goals and all(g in english and g in page for g in goals), "what people wrote is as they wrote it"
    v.get("/language/en")
    assert '<html lang="en"' in v.get("/my-plan").text


@pytest.mark.parametrize("came", ["https://evil.example/my-plan", "{base}//evil.example", "{base}/my-plan/../x", "{base}@evil.example/my-plan", "", "http://["])
def test_a_choice_of_language_leads_nowhere_else(demo: Gateway, came: str) -> None:
    v = Visitor(demo)
    assert v.http.get("/language/cy", headers={"Referer": came.format(base=demo.base)}, follow_redirects=False).headers["location"] == "/"


def test_a_language_that_we_do_not_speak_is_no_page(demo: Gateway) -> None:
    assert Visitor(demo).get("/language/tlh").status_code == 404


def test_a_browser_that_asks_for_welsh_gets_it_before_anybody_signs_in(demo: Gateway) -> None:
    v = Visitor(demo)
    v.http.headers["Accept-Language"] = "cy"
    page = v.get("/sign-in")
    assert '<html lang="cy"' in page.text and languages.catalogue("cy")["Sign in"][0] in page.text and "Accept-Language" in page.headers["vary"]
