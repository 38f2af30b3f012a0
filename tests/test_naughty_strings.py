"""The big list of naughty strings in six places: as it was sent or a 4xx, never a 5xx; and nothing but words on a page.

A Goal's description, a Patient's name, a Communication's payload, an answer, an identifier, a search parameter; and the fields of our forms.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from .conftest import Gateway
from .inert import Read
from .web.test_doors import Visitor, as_

NAUGHTY = "urn:naughty"
AT_ONCE = 260  # entries of one batch


@dataclass
class Sent:
    """What became of each string as the description and the identifier of a Goal."""

    strings: list[str]
    kept: dict[str, str] = field(default_factory=dict)  # string -> id of its Goal
    refused: dict[str, int] = field(default_factory=dict)


def batch(g: Gateway, entries: list[dict[str, Any]], who: str = "patient") -> list[dict[str, Any]]:
    """The answers to many requests, in order."""
    out: list[dict[str, Any]] = []
    for at in range(0, len(entries), AT_ONCE):
        body = {"resourceType": "Bundle", "type": "batch", "entry": entries[at : at + AT_ONCE]}
        answer = g.call(who, "POST", "", body=body)
        assert answer.status_code == 200, answer.text[:500]
        out += answer.json()["entry"]
    return out


def created(g: Gateway, resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return batch(g, [{"resource": r, "request": {"method": "POST", "url": r["resourceType"]}} for r in resources])


def asked(g: Gateway, urls: list[str]) -> list[dict[str, Any]]:
    return batch(g, [{"request": {"method": "GET", "url": u}} for u in urls])


def status(entry: dict[str, Any]) -> int:
    return int(entry["response"]["status"][:3])


@pytest.fixture(scope="module")
def sent(demo: Gateway, shared: Path) -> Iterator[Sent]:
    sent = Sent(list(dict.fromkeys(json.loads((shared / "suites/naughty-strings.json").read_text()))))
    assert len(sent.strings) >= 500
    goals = [
        {
            "resourceType": "Goal", "identifier": [{"system": NAUGHTY, "value": s}], "lifecycleStatus": "active",
            "description": {"text": s}, "subject": {"reference": f"Patient/{demo.patient}"},
        }
        for s in sent.strings
    ]  # fmt: skip
    for text, entry in zip(sent.strings, created(demo, goals), strict=True):
        if status(entry) == 201:
            sent.kept[text] = entry["response"]["location"].split("Goal/")[1].split("/")[0]
        else:
            sent.refused[text] = status(entry)
    yield sent


def may_be_refused(text: str) -> bool:
    """https://hl7.org/fhir/R4/datatypes.html#string: not empty nor blank, and no control characters but tab, line feed and carriage return."""
    return not text.strip() or any(ord(c) < 32 and c not in "\t\n\r" for c in text)


def test_a_description_and_an_identifier_come_back_as_they_were_sent(demo: Gateway, sent: Sent) -> None:
    assert {s for s in sent.strings if may_be_refused(s)} == sent.refused.keys()
    assert set(sent.refused.values()) <= {400, 422}
    for (text, _), entry in zip(sent.kept.items(), asked(demo, [f"Goal/{id}" for id in sent.kept.values()]), strict=True):
        goal = entry["resource"]
        assert (goal["description"]["text"], goal["identifier"][0]["value"]) == (text, text)


def test_a_name_a_message_and_an_answer_come_back_as_they_were_sent(demo: Gateway, sent: Sent) -> None:
    """All that a Goal may hold in one resource each; what it may not hold, one by one."""
    person = {"reference": f"Patient/{demo.patient}"}
    patient = demo.get("patient", f"Patient/{demo.patient}").json()
    kept = list(sent.kept)
    named = {**patient, "name": [*patient["name"], *({"use": "nickname", "text": s, "given": [s]} for s in kept)]}
    said = {"resourceType": "Communication", "status": "completed", "subject": person, "payload": [{"contentString": s} for s in kept]}
    answers = {
        "resourceType": "QuestionnaireResponse", "status": "completed", "subject": person, "authored": "2026-11-26",
        "item": [{"linkId": str(n), "answer": [{"valueString": s}]} for n, s in enumerate(kept)],
    }  # fmt: skip
    done = demo.call("patient", "PUT", f"Patient/{demo.patient}", body=named, headers={"If-Match": f'W/"{patient["meta"]["versionId"]}"'})
    assert done.status_code == 200, done.text[:500]
    try:
        names = demo.get("patient", f"Patient/{demo.patient}").json()["name"][-len(kept) :]
        assert [(n["text"], n["given"]) for n in names] == [(s, [s]) for s in kept]
        for resource, read in ((said, lambda r: [p["contentString"] for p in r["payload"]]), (answers, lambda r: [i["answer"][0]["valueString"] for i in r["item"]])):
            (made,) = created(demo, [resource])
            assert status(made) == 201, made
            where = made["response"]["location"].split("/_history")[0].split("/fhir/")[-1]
            assert read(demo.get("patient", where).json()) == kept
        for text in sent.refused:
            each = [
                {**said, "payload": [{"contentString": text}]}, {**answers, "item": [{"linkId": "1", "answer": [{"valueString": text}]}]},
            ]  # fmt: skip
            assert {status(e) for e in created(demo, each)} <= {400, 422}, text
            bad = demo.call("patient", "PUT", f"Patient/{demo.patient}", body={**patient, "name": [{"text": text}]}, headers={"If-Match": done.headers["etag"]})
            assert bad.status_code in (400, 422), text
    finally:
        done = demo.call("patient", "PUT", f"Patient/{demo.patient}", body=patient, headers={"If-Match": done.headers["etag"]})
        assert done.status_code == 200, done.text[:500]


def test_each_is_found_by_its_identifier_and_by_nothing_else(demo: Gateway, sent: Sent) -> None:
    def escaped(text: str) -> str:
        for sign in "\\,|$":
            text = text.replace(sign, f"\\{sign}")
        return quote(text, safe="")

    found = asked(demo, [f"Goal?identifier={quote(NAUGHTY)}|{escaped(s)}" for s in sent.kept])
    for (text, id), entry in zip(sent.kept.items(), found, strict=True):
        if status(entry) != 200:
            assert status(entry) == 400 and any(ord(c) < 32 or ord(c) == 127 for c in text), (text, entry)
            continue
        ids = [e["resource"]["id"] for e in entry["resource"].get("entry", [])]
        assert id in ids, text
        others = {e["resource"]["identifier"][0]["value"].casefold().strip() for e in entry["resource"]["entry"]}
        assert others == {text.casefold().strip()}, text


PARAMETERS = ("description", "identifier", "_id", "patient", "start-date", "_sort", "bogus", "patient.name", "_lastUpdated", "category:in")


def test_no_search_by_them_is_more_than_refused(demo: Gateway, sent: Sent) -> None:
    """Each in one parameter; which one goes round."""
    told = [(s, f"Goal?{PARAMETERS[n % len(PARAMETERS)]}={quote(s, safe='')}&_count=1") for n, s in enumerate(sent.strings)]
    for (text, url), entry in zip(told, asked(demo, [url for _, url in told]), strict=True):
        assert status(entry) in (200, 400, 404), (text, url, entry)


@pytest.mark.slow
@pytest.mark.parametrize("parameter", PARAMETERS)
def test_no_search_by_any_of_them_in_any_parameter_is_more_than_refused(demo: Gateway, sent: Sent, parameter: str) -> None:
    for text, entry in zip(sent.strings, asked(demo, [f"Goal?{parameter}={quote(s, safe='')}&_count=1" for s in sent.strings]), strict=True):
        assert status(entry) in (200, 400, 404), (text, entry)


def test_on_the_plan_they_are_words(demo: Gateway, sent: Sent) -> None:
    """Every one is there to be read, as a goal, a need, an action or something about her; the page has no element but its own."""
    plan = demo.get("patient", f"/plans/{demo.patient}").json()
    before = Read(as_(demo, "patient").get("/my-plan").text)
    kept = [s for s in sent.kept if s.strip()]
    for n, key in enumerate(("goals", "needs", "actions")):
        plan[key] = [*plan.get(key, []), *({"id": f"naughty-{key}-{i}", "text": s} for i, s in enumerate(kept[n::3]))]
    plan["about_me"] = {**plan.get("about_me", {}), "most_important": " ".join(kept)}
    answer = demo.call("patient", "POST", "/plans", body=plan, headers={"Content-Type": "application/json"})
    assert answer.status_code == 201, answer.text[:500]
    for who, path in (("patient", "/my-plan"), ("gp", f"/team/people/{demo.patient}")):
        page = Read(as_(demo, who).get(path).text)
        assert page.acting == [] and page.tags.count("script") == before.tags.count("script")
        assert set(page.tags) - set(before.tags) <= {"table", "caption", "p"}
        words = " ".join(page.text.split())
        for text in kept:
            assert " ".join(text.split()) in words, text


def test_as_a_plan_they_come_back_as_they_were_sent(demo: Gateway, sent: Sent) -> None:
    """What the test before brought in."""
    goals = demo.get("patient", f"/plans/{demo.patient}").json()["goals"]
    kept = [s for s in sent.kept if s.strip()][0::3]
    assert {g["id"]: g["text"] for g in goals if str(g["id"]).startswith("naughty-")} == {f"naughty-goals-{i}": s for i, s in enumerate(kept)}


def typed_in(demo: Gateway, texts: list[str]) -> Visitor:
    """Typed into the box of a form; the page shows the box again with what was typed."""
    v = as_(demo, "patient")
    new = "/my-plan/sharing/new"
    before = Read(v.get(new).text)
    for typed in texts:
        answer = v.send(new, go="find", find=typed)
        page = Read(v.page)
        assert page.acting == [] and page.tags.count("script") == before.tags.count("script"), typed
        if answer.status_code == 400:  # a word with nothing in it that a name could have
            v.get(new)
            continue
        assert answer.status_code == 200, typed
        assert page.values["find"] == typed.strip()[:100], typed
    return v


@pytest.mark.slow
def test_in_the_box_of_a_form_they_are_words(demo: Gateway, sent: Sent) -> None:
    typed_in(demo, typings(sent.strings))


def test_in_fields_and_addresses_of_pages_they_are_words(demo: Gateway, sent: Sent) -> None:
    v = typed_in(demo, typings(sent.strings)[::8])
    stranger = as_(demo, "gp")
    for text in ('"><script>alert(1)</script>', "\u202etest", "\x00", "' OR 1=1 --"):
        for where in (f"/my-plan/who-looked?before={quote(text)}&from-day={quote(text)}", f"/sign-in?next={quote(text)}", f"/my-plan/sharing/why?what={quote(text)}"):
            for visitor in (v, stranger):
                answer = visitor.get(where)
                assert answer.status_code < 500 and Read(answer.text).acting == [] and "<script>alert" not in answer.text, where


def typings(strings: list[str]) -> list[str]:
    """Everything that is more than plain letters and figures, packed into few boxes; no line ends, which a box does not take."""
    out = [""]
    for text in (" ".join(re.split("[\r\n]+", s)) for s in strings if not re.fullmatch(r"[\w ]*", s, re.ASCII)):
        if len(out[-1]) + len(text) > 99:
            out.append("")
        out[-1] += f"{text} "
    return out
