"""Searches against a copy of the store from which all that this reader may not see was physically removed: the same answers.

Each surface of a search is asked on both, page by page to the end: hits, order, totals, links, includes, chains, `_has`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import apsw
import httpx2
import pytest

from fhir_gateway.domain.standing import STANDING_TYPES

from .conftest import Gateway, free_port, gateway

CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
READERS = ("gp", "stranger")


@dataclass
class Sides:
    """Where everything is, and where only what the reader may see is."""

    full: Gateway
    reduced: dict[str, Gateway]
    hidden: dict[str, set[str]]


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    folder = tmp_path_factory.mktemp("hidden")
    with ExitStack() as open_ones:
        first = open_ones.enter_context(gateway(folder / "full", "--demo"))
        _more(first, folder)
        everything = [r["ref"] for r in _rows(first)]
        hidden = {who: {ref for ref in everything if ask(first, who, ref).status_code == 404} for who in READERS}
        first.stop()  # so that the file can be copied whole
        reduced = {}
        for who in READERS:
            for part in ("data", "data-journal"):  # without its journal a copy would be sealed
                shutil.copytree(folder / "full" / part, folder / who / part)
            _remove(folder / who / "data", hidden[who])
            other = Gateway(folder / who / "data", free_port(), {"GATEWAY_BASE_URL": first.base})  # the same links, the same tokens
            other._tokens = first._tokens
            open_ones.callback(other.stop)
            reduced[who] = other.start("--demo")
        first.start("--demo")
        yield Sides(first, reduced, hidden)


def _more(g: Gateway, folder: Path) -> None:
    """Two more people; of Amina some that is restricted, some that she keeps from her GP, and what points at each other."""
    for name in ("bo", "cy"):
        plan = {
            "plan": "1", "id": f"plan-{name}", "title": "A plan", "status": "active",
            "person": {"id": name, "name": {"given": [name], "family": "Example"}, "birth_date": "1950-01-01"},
            "needs": [{"id": "n1", "text": "Something"}], "goals": [{"id": f"g{j}", "text": f"Goal {j}", "needs": ["n1"], "status": "planned"} for j in range(3)],
            "actions": [{"id": "a1", "text": "Do it", "goals": ["g0"], "who": "person", "status": "planned"}],
        }  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(plan))
    g.lines("import", str(folder / "bo.json"), str(folder / "cy.json"), "--json")
    me = {"reference": f"Patient/{g.patient}"}
    goals = [_made(g, "patient", {
        "resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": f"Mine {n}"}, "subject": me, "startDate": f"2026-0{n + 1}-01",
        "identifier": [{"system": "http://mine", "value": str(n)}],
        **({"meta": {"security": [{"system": CONFIDENTIALITY, "code": "R"}]}} if n % 2 else {}),
    }) for n in range(4)]  # fmt: skip
    _made(g, "patient", {
        "resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": me, "title": "Points at what is hidden",
        "goal": [{"reference": f"Goal/{i}", "display": "said beside it"} for i in goals], "period": {"start": "2026-01-01"},
    })  # fmt: skip
    for n in range(3):
        _made(g, "gp", {
            "resourceType": "Observation", "status": "final", "code": {"coding": [{"system": "http://loinc.org", "code": "59408-5"}]}, "subject": me,
            "effectiveDateTime": f"2026-11-0{n + 1}", "valueQuantity": {"value": 90 + n, "unit": "%"},
        })  # fmt: skip
    _made(g, "patient", {
        "resourceType": "Consent", "status": "active", "patient": me,
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "policyRule": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]},
        "provision": {"provision": [{
            "type": "deny", "data": [{"meaning": "instance", "reference": {"reference": f"Goal/{goals[0]}"}}],
            "actor": [{
                "role": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]},
                "reference": {"reference": g.persona("gp")["fhirUser"]},
            }],
        }]},
    })  # fmt: skip


def _made(g: Gateway, who: str, body: dict[str, Any]) -> str:
    answer = g.call(who, "POST", body["resourceType"], body=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def _file(data: Path) -> Path:
    (found,) = data.rglob("*.sqlite")
    return found


def _rows(g: Gateway) -> list[dict[str, str]]:
    db = apsw.Connection(str(_file(g.data)), flags=apsw.SQLITE_OPEN_READONLY)
    return [{"ref": f"{t}/{i}"} for t, i in db.execute("SELECT type, id FROM resource WHERE deleted = 0 ORDER BY type, id")]


def _remove(data: Path, hidden: set[str]) -> None:
    """Out of every table that answers; what the decision itself reads (a person's consents, teams, referrals) stays."""
    db = apsw.Connection(str(_file(data)))
    db.execute("DROP TRIGGER version_kept")
    for ref in hidden:
        type, id = ref.split("/")
        (rid,) = db.execute("SELECT rid FROM resource WHERE type = ? AND id = ?", (type, id)).fetchall()[0]
        for table in ("key", "acl", "member", "tie", "resource"):
            db.execute(f"DELETE FROM {table} WHERE rid = ?", (rid,))
        if type not in STANDING_TYPES:
            db.execute("DELETE FROM version WHERE type = ? AND id = ?", (type, id))
    db.close()


SEARCHES = (
    "Goal", "Goal?_total=accurate&_count=1", "Goal?_summary=count", "Goal?_count=0", "Goal?_sort=-start-date&_count=2", "Goal?_sort=start-date,_lastUpdated&_count=3",
    "Goal?_sort=-_lastUpdated&_count=2&_total=accurate", "Goal?patient={me}&_count=2", "Goal?subject=Patient/{me}&start-date=ge2026-02", "Goal?patient:missing=false&_total=accurate",
    "Goal?start-date:missing=true&_total=accurate", "Goal?lifecycle-status:not=active&_total=accurate&_count=2", "Goal?identifier=http://mine|", "Goal?identifier=http://mine|1,http://mine|0",
    "Goal?_security=" + CONFIDENTIALITY + "|R", "Goal?_id={hidden-goals}", "CarePlan?_include=CarePlan:goal&_count=1", "CarePlan?_include=CarePlan:goal&_include:iterate=Goal:patient",
    "CarePlan?_include=*&_include:iterate=*", "CarePlan?patient={me}&_include=CarePlan:goal:Goal&_total=accurate", "CarePlan?goal={hidden-goals}", "CarePlan?goal.start-date=2026-01-01",
    "CarePlan?goal.identifier=http://mine|0", "CarePlan?goal.identifier=http://mine|1", "CarePlan?goal:identifier=http://mine|1", "CarePlan?goal.patient.family=Example&_total=accurate",
    "Patient?_total=accurate", "Patient?family=Example&_sort=given&_count=1", "Patient?_has:Goal:patient:lifecycle-status=active", "Patient?_has:Goal:patient:start-date=2026-02-01",
    "Patient?_has:Goal:patient:identifier=http://mine|0", "Patient?_has:Goal:patient:_has:CarePlan:goal:status=active", "Patient?_revinclude=Goal:patient&_count=1", "Patient?_revinclude=*",
    "Patient?_revinclude=CarePlan:subject&_include:iterate=CarePlan:goal", "Patient?_id={me}&_revinclude=Goal:*&_revinclude:iterate=CarePlan:goal", "Goal?_has:CarePlan:goal:status=active&_count=2",
    "Goal?patient.family=Example&_count=2&_total=accurate", "Goal?patient.birthdate=1950-01-01", "Observation?value-quantity=gt90&_sort=-value-quantity&_count=1", "Observation?code:text=x",
    "Observation?performer:missing=true", "?_type=Goal,CarePlan,Observation&_count=3&_total=accurate", "?_type=Goal,CarePlan&_sort=-_lastUpdated&_count=4", "?_type=Patient,Goal&_id={hidden-goals},{me}",
    "Patient/{me}/Goal?_count=2&_total=accurate", "Patient/{me}/*?_count=5&_sort=-_lastUpdated", "Patient/{me}/Observation", "Patient/{bo}/Goal?_total=accurate", "Patient/{bo}/*",
    "Practitioner?_has:CareTeam:participant:status=active", "Organization?_has:CareTeam:participant:status=active&_total=accurate", "Consent?_total=accurate", "CareTeam?_include=CareTeam:participant",
    "Task?_count=1&_total=accurate", "QuestionnaireResponse?_total=accurate", "Goal?_lastUpdated=gt2020&_count=2", "Goal?_tag:missing=true&_total=accurate",
    "Organization?_sort=name&_count=2", "Practitioner?_total=accurate&_revinclude=PractitionerRole:practitioner",
)  # fmt: skip


CLIENT = httpx2.Client(timeout=30)


def ask(g: Gateway, who: str, path: str) -> httpx2.Response:
    headers = {"Accept": "application/fhir+json", "Authorization": f"Bearer {g.persona(who)['token']}"}
    return CLIENT.get(f"{g.base}{path}" if path.startswith("/") else f"{g.base}/fhir/{path}", headers=headers)


def pages(g: Gateway, who: str, query: str) -> list[Any]:
    """Every page of an answer, but for what a sealed link looks like."""
    out: list[Any] = []
    path: str | None = query
    while path is not None:
        answer = ask(g, who, path)
        body = answer.json()
        following = next((link["url"] for link in body.get("link", ()) if link["relation"] == "next"), None)
        text = re.sub(r'(_page=)[^"]+', r"\1", answer.text)
        headers = {k: v for k, v in answer.headers.items() if k not in ("date", "content-length")}
        out.append((answer.status_code, headers, text))
        assert answer.status_code == 200, (query, text)
        path = None if following is None else urlsplit(following).path + "?" + urlsplit(following).query
        assert len(out) < 100, query
    return out


@pytest.mark.parametrize("who", READERS)
def test_a_search_answers_as_if_the_hidden_had_been_removed(sides: Sides, who: str) -> None:
    goals = [r.split("/")[1] for r in sorted(sides.hidden[who]) if r.startswith("Goal/")]
    assert goals, "something is hidden"
    bo = next(r.split("/")[1] for r in sorted(sides.hidden[who]) if r.startswith("Patient/") and sides.full.patient not in r)
    names = {"{me}": sides.full.patient, "{bo}": bo, "{hidden-goals}": ",".join(goals)}
    entries = 0
    for query in SEARCHES:
        asked = re.sub(r"\{[a-z-]+\}", lambda found: names[found.group()], query)
        here = pages(sides.full, who, asked)
        assert here == pages(sides.reduced[who], who, asked), query
        entries += sum(text.count('"fullUrl"') for _, _, text in here)
        for ref in sides.hidden[who]:
            assert not any(f'"fullUrl":"{sides.full.base}/fhir/{ref}"' in text for _, _, text in here), query
    assert entries > (100 if who != "stranger" else 5), "the searches find something"


@pytest.mark.parametrize("who", READERS)
def test_post_and_get_and_head_are_one_search(sides: Sides, who: str) -> None:
    g = sides.full
    for type, form in (("Goal", f"patient={g.patient}&_count=2&_total=accurate"), ("CarePlan", "_include=CarePlan:goal"), ("", "_type=Goal,CarePlan&_count=3")):
        got = g.get(who, f"{type}?{form}")
        posted = g.call(who, "POST", f"{type}/_search".lstrip("/"), raw=form.encode(), headers={"Content-Type": "application/x-www-form-urlencoded"})
        assert (got.status_code, got.text) == (posted.status_code, posted.text)
        headed = g.call(who, "HEAD", f"{type}?{form}")
        assert headed.status_code == 200 and headed.content == b"" and set(headed.headers) == set(got.headers)
    inside = g.get(who, f"Patient/{g.patient}/Goal?_count=2")
    posted = g.call(who, "POST", f"Patient/{g.patient}/Goal/_search", raw=b"_count=2", headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert inside.text == posted.text


@pytest.mark.parametrize("who", READERS)
def test_an_entry_of_a_bundle_searches_a_compartment_as_a_request_does(sides: Sides, who: str) -> None:
    g = sides.full
    paths = [f"Patient/{g.patient}/{rest}" for rest in ("Goal?_count=2", "*?_type=Goal,CarePlan", "Organization", "Bogus", "Observation?_total=accurate")]
    body = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": p}} for p in paths]}
    told = g.call(who, "POST", "", body=body).json()["entry"]
    for path, entry in zip(paths, told, strict=True):
        alone = ask(g, who, path)
        assert entry["response"]["status"][:3] == str(alone.status_code), path
        if alone.status_code == 200:
            assert entry["resource"] == alone.json(), path


def test_a_query_that_is_no_text_is_refused(sides: Sides) -> None:
    """Bytes that are no UTF-8, escaped and bare."""
    import socket

    def status(query: bytes) -> int:
        with socket.create_connection(("127.0.0.1", sides.full.port)) as s:
            token = sides.full.persona("gp")["token"].encode()
            s.sendall(b"GET /fhir/Patient?" + query + b" HTTP/1.1\r\nHost: here\r\nConnection: close\r\nAuthorization: Bearer " + token + b"\r\n\r\n")
            return int(s.makefile("rb").readline().split()[1])

    assert [status(q) for q in (b"name=%ff", b"name=\xff", b"name=%C3%84nne")] == [400, 400, 200]
