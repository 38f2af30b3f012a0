"""A person does not recognise a line of who has looked: the privacy officer is asked and answers, and nobody else is told."""

from __future__ import annotations

import html
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from ..staff import consent, permit
from .test_doors import Visitor, as_

if TYPE_CHECKING:
    from ..conftest import Gateway

PAGE, OFFICERS = "/my-plan/who-looked", "/privacy/not-recognised"
TASKS = "Task?code=not-recognised"


def line(v: Visitor, name: str) -> str:
    """The address behind "I don’t recognise this" of the newest line of this name."""
    v.get(PAGE)
    found = re.search(rf'href="({PAGE}/[^"?]+)">I don’t recognise this<span[^>]*> [^<,]*,? ?(?:for )?{re.escape(name)}', v.page)
    assert found, v.words()
    return html.unescape(found.group(1))


def looked(demo: Gateway, who: str) -> None:
    """In a minute of its own: what one does in the same minute is one line."""
    demo.get(who, f"Goal?patient={demo.patient}")


def hers(demo: Gateway) -> dict[str, Any]:
    """The Task that the gateway raised: a forged one has nobody who asks."""
    (task,) = [e["resource"] for e in demo.get("patient", TASKS).json()["entry"] if e["resource"].get("requester")]
    return dict(task)


def open_cards(v: Visitor) -> list[str]:
    v.get(OFFICERS)
    return re.findall(rf'action="({OFFICERS}/[^"]+)"', v.page)


@pytest.fixture(scope="module")
def asked(demo: Gateway) -> dict[str, Any]:
    """Amina asks about the GP's look, once by two at once and once more."""
    looked(demo, "gp")
    amina = as_(demo, "patient")
    where = line(amina, "Dr Asha Patel")
    amina.get(where)
    assert "Dr Asha Patel" in amina.words() and "Whoever looked is not told that you asked." in amina.words()
    fields = amina.fields(where)
    with ThreadPoolExecutor(2) as two:
        both = list(two.map(lambda _: amina.http.post(where, data={**fields, "words": "<script>alert(1)</script> I was on holiday"}), range(2)))
    assert {a.status_code for a in both} == {200} and {str(a.url).rpartition("=")[2] for a in both} <= {"asked", "asked-before"}
    amina.get(where)
    assert "It is not asked twice." in amina.send(where, words="again").text
    return {"where": where, "amina": amina}


def test_one_line_is_asked_about_once_and_she_sees_that_it_waits(demo: Gateway, asked: dict[str, Any]) -> None:
    amina = asked["amina"]
    amina.get(PAGE)
    words = amina.words()
    assert words.count("You asked on ") == 1 and "Not answered yet" in words and "“<script>alert(1)</script> I was on holiday”" in words
    assert "<script>alert" not in amina.page and "You asked about this." in words
    task = hers(demo)
    assert task["status"] == "requested" and task["focus"]["reference"].startswith("AuditEvent/") and task["for"]["reference"] == f"Patient/{demo.patient}"
    assert "Asked the privacy officer about somebody who looked at your plan or record" in amina.get(f"{PAGE}?mine=yes").text


@pytest.mark.parametrize("who", ["gp", "hospital", "stranger", "proxy", "social-worker", "registrar", "paramedic"])
def test_whoever_looked_and_everybody_else_sees_nothing_of_it(demo: Gateway, asked: dict[str, Any], who: str) -> None:
    task = hers(demo)["id"]
    found = demo.get(who, f"{TASKS}&_summary=count")
    assert found.status_code >= 400 or found.json()["total"] == 0
    hidden, absent = demo.get(who, f"Task/{task}"), demo.get(who, f"Task/{'0' * 32}")
    assert hidden.status_code == absent.status_code >= 400 and hidden.json()["issue"][0]["code"] == absent.json()["issue"][0]["code"]
    assert demo.get(who, f"Task/{task}/_history").status_code >= 400


def test_not_even_by_a_yes_to_everything(demo: Gateway, asked: dict[str, Any]) -> None:
    given = demo.call("patient", "POST", "Consent", body=consent(demo.patient, permit(demo.persona("gp")["fhirUser"])))
    assert given.status_code == 201
    try:
        assert demo.get("gp", f"{TASKS}&_summary=count").json()["total"] == 0
    finally:
        body = given.json()
        done = demo.call("patient", "PUT", f"Consent/{body['id']}", body={**body, "status": "inactive"}, headers={"If-Match": f'W/"{body["meta"]["versionId"]}"'})
        assert done.status_code == 200


def test_only_the_person_asks_and_only_about_their_own_lines(demo: Gateway, asked: dict[str, Any]) -> None:
    amina, where = asked["amina"], asked["where"]
    for nobody in ("0" * 32, "no-such-line", "%2e%2e", "a" * 65, "x?y"):
        assert amina.get(f"{PAGE}/{nobody}").status_code == 404, nobody
    other = demo.call("hospital", "POST", "Patient", body={"resourceType": "Patient", "name": [{"family": "Else"}]}).json()["id"]
    demo.get("hospital", f"Patient/{other}")
    officer = as_(demo, "privacy-officer")
    rows = demo.get("privacy-officer", f"AuditEvent?patient=Patient/{other}&_count=1").json()["entry"]
    amina.get(where)
    token = amina.fields(where)
    theirs = f"{PAGE}/{rows[0]['resource']['id']}"
    assert amina.get(theirs).status_code == 404 and amina.http.post(theirs, data={**token, "words": ""}).status_code == 404
    for who in ("gp", "proxy", "privacy-officer"):
        v = as_(demo, who)
        assert v.get(where).status_code == 403, who
        assert v.http.post(where, data={"form_token": v.fields("/sign-out")["form_token"], "words": ""}).status_code == 403, who
    assert officer.get(OFFICERS).text.count("I was on holiday") == 1
    assert Visitor(demo).http.get(where, follow_redirects=False).headers["location"].startswith("/sign-in")


def test_words_that_are_none_are_shown_again_with_what_is_wrong(demo: Gateway, asked: dict[str, Any]) -> None:
    looked(demo, "stranger")
    amina = as_(demo, "patient")
    where = line(amina, "Dr Sam Other")
    amina.get(where)
    for wrong in ("x" * 501, "\x00", "-", "\u202e\ud7ff\x1b[31m"):
        amina.get(where)
        answer = amina.send(where, words=wrong)
        assert answer.status_code == 400 and "no more than 500 letters" in amina.words(), repr(wrong)
    assert "Dr Sam Other" not in str(as_(demo, "privacy-officer").get(OFFICERS).text)
    amina.get(where)
    assert "This form has no field" not in amina.page and amina.http.post(where, data={**amina.fields(where), "row": "x"}).status_code == 400


def test_a_task_of_somebody_elses_making_is_not_listed_to_the_officer(demo: Gateway, asked: dict[str, Any]) -> None:
    waits = len(open_cards(as_(demo, "privacy-officer")))
    task = hers(demo)
    forged = {k: task[k] for k in ("resourceType", "status", "intent", "code", "focus", "for")} | {"note": [{"text": "Look at my website"}]}
    assert demo.call("gp", "POST", "Task", body=forged).status_code == 201
    officer = as_(demo, "privacy-officer")
    assert len(open_cards(officer)) == waits and "Look at my website" not in officer.page


def test_the_officer_answers_once_and_she_reads_it(demo: Gateway, asked: dict[str, Any]) -> None:
    gp = as_(demo, "gp")
    assert gp.get(OFFICERS).status_code == 403
    officer = as_(demo, "privacy-officer")
    task = hers(demo)["id"]
    (action,) = [a for a in open_cards(officer) if a.endswith(task)]
    assert gp.http.post(action, data={"form_token": gp.fields("/sign-out")["form_token"], "outcome": "right", "words": "Fine"}).status_code == 403
    words = officer.words()
    assert "Dr Asha Patel" in words and "<script>alert(1)</script> I was on holiday" in words and f"Patient/{demo.patient}" in words
    assert "Choose one." in officer.send(action, words="They rang you").text
    assert "Say why you think so." in officer.send(action, outcome="wrong", words=" ").text
    assert "The person can read it." in officer.send(action, outcome="wrong", words="We spoke to them & <b>said so</b>").text
    assert officer.http.post(action, data={"form_token": officer.fields("/sign-out")["form_token"], "outcome": "right", "words": "Fine"}).status_code == 404
    assert "We spoke to them" in officer.get(f"{OFFICERS}?show=answered").text
    amina = as_(demo, "patient")
    amina.get(PAGE)
    assert "They should not have looked" in amina.words() and "The privacy officer says: We spoke to them & <b>said so</b>" in amina.words()
    assert "Answered what you asked about who has looked Allowed? Allowed" in amina.words()
    assert "asked-before" in str(amina.http.post(asked["where"], data={**_fields(amina, asked["where"]), "words": ""}).url), "an answered line is not asked again"


def _fields(v: Visitor, where: str) -> dict[str, Any]:
    v.get(where)
    return v.fields(where)
