"""The pages in Welsh and Urdu: every sentence is there, with what is filled in; a choice lasts; words of people stay as they are."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextvars import copy_context
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_gateway.domain.booklet import booklet
from fhir_gateway.domain.written_down import STATES
from fhir_gateway.web.pages import languages
from fhir_gateway.web.pages.words import _, day

from ..conftest import Gateway
from .test_doors import Visitor, as_
from .test_templates import page
from .test_whole_plan import WHOLE

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


# -- no English is left in a plan -------------------------------------------------------------------------------------


def _doses() -> Iterator[dict[str, Any]]:
    """As prescribers code them: in numbers, each unit of time, with what nobody puts into simple words."""
    for unit in ("s", "min", "h", "d", "wk", "mo", "a"):
        for times, period in ((1, 1), (3, 1), (1, 4), (2, 4)):
            yield {"timing": {"repeat": {"frequency": times, "period": period, "periodUnit": unit, "boundsDuration": {"value": 5}}}, "asNeededBoolean": True}
    yield {"timing": {"repeat": {"boundsDuration": {"value": 5}}}, "asNeededCodeableConcept": {"text": "Poen"}}
    yield {"timing": {"repeat": {"dayOfWeek": ["mon"]}}}
    yield {"timing": {"event": ["2026-11-30"]}}


RECORD: list[dict[str, Any]] = [
    *({"resourceType": "MedicationRequest", "status": "active", "medicationCodeableConcept": {"text": f"Moddion {n}"}, "dosageInstruction": [d]} for n, d in enumerate(_doses())),
    *({"resourceType": "MedicationStatement", "status": s, "medicationCodeableConcept": {"text": "Naprocsen"}} for s in ("active", "on-hold", "stopped", "completed", "not-taken", "intended")),
    {"resourceType": "MedicationRequest", "status": "active", "doNotPerform": True, "medicationCodeableConcept": {"text": "Asbrin"}},
    {"resourceType": "MedicationRequest", "status": "active"}, {"resourceType": "AllergyIntolerance", "criticality": "high"}, {"resourceType": "Flag", "status": "active"},
]  # fmt: skip
FULL: dict[str, Any] = {
    **WHOLE,
    "person": {**WHOLE["person"], "language": "pl", "interpreter": True},
    "needs": [*WHOLE["needs"], {"id": "n-x"}],
    "goals": [*WHOLE["goals"], *({"id": f"g-{s}", "text": "Canu", "status": s.lower()} for s in STATES)],
    "actions": [*WHOLE["actions"], *({"id": f"a-{n}", "text": t, "status": "planned"} for n, t in enumerate(("Do not: codi", "Do not: something that is not described")))],
    "medicines": [*WHOLE["medicines"], *({"id": f"m-{k}", "text": "Apicsaban", "change": {"kind": k, "on": "2026-11-01"}} for k in ("new", "changed", "unchanged", "stopped", "paused"))],
}  # fmt: skip
OURS = frozenset({"status", "kind", "id", "resourceType", "criticality", "language", "preferred_language"})  # of a plan or a record: what is said in our words
NAMES = re.compile(r"\b(?:NHS|GP)\b")  # Urdu says them in Latin letters


def _own(node: Any) -> Iterator[str]:
    """What people wrote, also with the capital that begins a state, and what is a name or a number of theirs."""
    if isinstance(node, dict):
        yield from (t for k, v in node.items() if k not in OURS for t in _own(v))
    elif isinstance(node, list):
        yield from (t for v in node for t in _own(v))
    elif node is not None and not isinstance(node, bool):
        text = re.sub(r"^Do not: (?:something that is not described)?", "", str(node))
        yield from (text, text.capitalize())


class _Main(HTMLParser):
    """The words of a page's `main`, those that are read aloud only among them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inside = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = self.inside or tag == "main"
        self.found += [v for k, v in attrs if self.inside and v and k in ("aria-label", "title", "alt", "placeholder")]

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "main"

    def handle_data(self, data: str) -> None:
        self.found += [t.strip() for t in data.splitlines() if self.inside and t.strip()]


def _on_the_page() -> list[str]:
    return _Main(page(FULL)).found


def _on_paper() -> list[str]:
    made = booklet(FULL, RECORD, say=_, day=day, language=languages.locale())
    said = [made.title]
    for part in made.sections:
        rows = [*part.rows, *(r for t in part.things for r in t.rows)]
        lists = [x for t in part.things for title, items in t.lists for x in (title, *items)]
        said += [part.title, *part.words, *(x for t in part.things for x in (t.text, t.state)), *(x for r in rows for x in (r.label, r.text)), *lists]
    return [t for text in said for t in text.splitlines() if t]


def _left(language: str, words: Any) -> list[str]:
    """What stands there in English: what is the same in both languages, or in Urdu is in Latin letters at all, and is nobody's own."""
    own = sorted({t for t in _own([FULL, RECORD]) if len(t) > 1}, key=len, reverse=True)
    said = {code: copy_context().run(lambda c=code: (languages.speak(c), words())[1]) for code in ("en", language)}
    same = set(said["en"]) & set(said[language]) if language != "ur" else set(said["ur"])
    left = []
    for text in sorted(same):
        bare = NAMES.sub(" ", text)
        for t in own:
            bare = bare.replace(t, " ")
        if re.search(r"[A-Za-z]{2}", bare):
            left.append(text)
    assert len(said[language]) == len(said["en"]) > 100
    return left


@pytest.mark.parametrize("language", OTHERS)
@pytest.mark.parametrize("words", [_on_the_page, _on_paper])
def test_a_full_plan_leaves_no_english_of_ours(words: Any, language: str) -> None:
    assert not _left(language, words)


@pytest.mark.parametrize("language", OTHERS)
def test_how_a_thing_stands_is_said_in_every_language(language: str) -> None:
    assert [s for s in STATES if languages.catalogue(language).get(s, (s,))[0] == s] == []
