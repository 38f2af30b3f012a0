"""The privacy officer's search of the audit, and the person's of their own log, by forms."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.web.test_doors import as_

if TYPE_CHECKING:
    from tests.conftest import Gateway


def test_the_officer_searches_and_takes_a_copy_and_the_person_sees_it(demo: Gateway) -> None:
    refused = demo.get("stranger", f"Patient/{demo.patient}")
    assert refused.status_code == 404
    officer = as_(demo, "privacy-officer")
    page = officer.get(f"/privacy/audit?person={demo.patient}&what=refused").text
    assert "Dr Sam Other" in page and "Told no" in page and ">Allowed</strong>" not in page
    assert "Dr Sam Other" in officer.get("/privacy/audit?who=sam+other").text
    assert "Dr Sam Other" not in officer.get("/privacy/audit?who=nobody+at+all").text
    assert "Nothing that you asked for" in officer.get("/privacy/audit?to-day=1&to-month=1&to-year=2020").text
    assert "Signed in" in officer.get("/privacy/audit?what=signed").text.replace("signed in", "Signed in")
    wrong = officer.get("/privacy/audit?person=%3Cb%3E&from-day=40")
    assert wrong.status_code == 400 and "There is something to put right" in wrong.text and "<b>" not in wrong.text
    assert "Nobody here has this id or NHS number: nobody" in officer.get("/privacy/audit?person=nobody").text
    (number,) = [i["value"] for i in demo.get("patient", f"Patient/{demo.patient}").json()["identifier"] if i["system"].endswith("/nhs-number")]
    officer.get(f"/privacy/audit?what=refused&person={number[:3]}+{number[3:6]}+{number[6:]}")
    assert "Dr Sam Other" in officer.words() and "your" not in officer.words().split("What happened")[1].lower()
    officer.get("/privacy/audit?what=signed")
    assert "Olu Grant" in officer.words() and "Organization/" not in officer.words() and "Somebody" not in officer.words()
    rows = officer.get(f"/privacy/audit/download?person={demo.patient}&what=refused")
    events = [json.loads(line) for line in rows.text.splitlines()]
    assert rows.headers["content-type"].startswith("application/fhir+ndjson") and events and all(e["outcome"] == "8" for e in events)
    mine = as_(demo, "patient").get("/my-plan/who-looked?who=olu").text
    assert "Took out a copy of who has seen" in mine and "Looked at who has seen" in mine and "Dr Sam Other" not in mine


def test_pages_of_the_officer_go_on(demo: Gateway) -> None:
    for _ in range(3):
        assert demo.get("patient", "Goal?_count=1").status_code == 200
    officer = as_(demo, "privacy-officer")
    first = officer.get("/privacy/audit").text
    assert "Show older ones" in first
    link = first.split('href="/privacy/audit?page=')[1].split('"')[0]
    older = officer.get(f"/privacy/audit?page={link}")
    assert older.status_code == 200 and "Back to the newest" in older.text


def test_nobody_else_has_the_page(demo: Gateway) -> None:
    for who in ("gp", "patient"):
        for path in ("/privacy/audit", "/privacy/audit/download"):
            assert as_(demo, who).get(path).status_code in (403, 404), (who, path)


def test_the_person_finds_by_who_and_by_what(demo: Gateway) -> None:
    patient = as_(demo, "patient")
    assert demo.get("gp", f"Patient/{demo.patient}").status_code == 200 and demo.get("stranger", f"Patient/{demo.patient}").status_code == 404
    told_no = patient.get("/my-plan/who-looked?what=refused").text
    assert "Dr Sam Other" in told_no and "Dr Asha Patel" not in told_no
    looked = patient.get("/my-plan/who-looked?what=looked&who=PATEL").text
    assert "Dr Asha Patel" in looked and "Dr Sam Other" not in looked
    assert "Nobody in the time and place" in patient.get("/my-plan/who-looked?who=zzz").text


def test_what_narrows_the_list_is_folded_away_until_it_is_used(demo: Gateway) -> None:
    patient = as_(demo, "patient")
    folded, open_ = '<details class="nhsuk-details"><summary', '<details class="nhsuk-details" open><summary'
    assert folded in patient.get("/my-plan/who-looked").text
    for used in ("what=refused", "mine=yes", "from-day=31&from-month=2&from-year=2026"):
        assert open_ in patient.get(f"/my-plan/who-looked?{used}").text, used
