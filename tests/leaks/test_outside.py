"""Rows L38 to L45, L55, L56 and L58: what is told beside the answer itself; in logs, caches, other forms of a request, time."""

from __future__ import annotations

import json
import re
import sqlite3
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw
import pytest

from fhir_gateway import gate
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Ref
from fhir_gateway.settings import load
from fhir_gateway.wiring import context_as, wired

from ..conftest import gateway
from .conftest import EVERYBODY, READERS, Place, some
from .seeding import CANARY, NOBODY, OPEN, classes, marked, rule, sharing


def goal(place: Place, **more: Any) -> dict[str, Any]:
    return marked(OPEN, {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Open"}, "subject": {"reference": place.me}, **more})


# -- about itself ------------------------------------------------------------------------------------------------------


def test_L38_what_the_server_says_of_itself_has_no_counts_and_does_not_change(place: Place) -> None:
    """For somebody signed in, for nobody, before and after a write: the same statement."""
    said = [place.get(who, "metadata").text for who in (None, "stranger", "patient")]
    place.made("patient", goal(place))
    assert len({*said, place.get("gp", "metadata").text}) == 1
    assert place.me.split("/")[1] not in said[0] and not re.search(r'"(count|total|documentCount)"', said[0])
    described = place.get(None, "/openapi.json")
    assert CANARY not in described.text + said[0]
    changes = [place.get("stranger", f"Goal/_history?_since={since}").text.replace(quote(since, safe=""), "") for since in ("2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z")]
    assert changes[0] == changes[1], "counting since a moment tells a stranger nothing"


def test_L39_the_access_log_is_the_persons_own(place: Place) -> None:
    """AuditEvents are for the person, and nothing that is hidden from them is in one; staff, family and the refused themselves get none."""
    place.get("stranger", place.very["Goal"])
    for who in READERS:
        kept, absent = place.hidden(who)["Goal"], f"Goal/{NOBODY}"
        place.get(who, kept), place.get(who, absent)  # a refusal of what is there, and of what is not
        for path in ("AuditEvent/_history", f"Patient?_id={place.g.patient}&_revinclude=AuditEvent:patient", f"{place.me}/$everything?_type=AuditEvent", "?_type=AuditEvent"):
            answer = place.silent(who, place.get(who, path))
            assert answer.status_code == 404 or not [e for e in answer.json().get("entry", ()) if e["resource"]["resourceType"] == "AuditEvent"], path
        for path in ("AuditEvent?_count=200", "AuditEvent?_total=accurate", f"AuditEvent?patient={place.g.patient}&_count=200", f"{place.me}/AuditEvent", f"AuditEvent?agent={place.g.persona(who)['fhirUser']}&outcome=8"):
            answer = place.silent(who, place.get(who, path))
            assert kept not in answer.text and absent not in answer.text, path
            assert who == "patient" or not answer.json().get("entry"), (who, path)
        place.alike(who, "GET", "AuditEvent?entity=Goal/{}&_total=accurate", kept.split("/")[1], status=(200,))
        refused = place.ask(who, "POST", "AuditEvent", body={"resourceType": "AuditEvent"})
        assert refused.status_code == 405
    rows = [e["resource"]["id"] for e in place.get("patient", f"AuditEvent?patient={place.g.patient}&_count=20").json()["entry"]]
    assert len(rows) == 20
    for who in set(READERS) - {"patient"}:
        place.alike(who, "GET", "AuditEvent/{}", rows[0], status=(404,))
    for path in ("/my-plan/who-looked", "/privacy/audit", "/who-looked", f"/patients/{place.g.patient}/who-looked"):
        answer = place.get("gp", path, Accept="text/html")
        assert answer.status_code in (303, 302, 401, 403, 404) or CANARY not in answer.text


def test_L40_no_log_no_address_and_no_metric_names_anybody(place: Place) -> None:
    """Names, NHS numbers and values were asked for in every way; the log and the metrics hold none of them."""
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    for who in ("gp", "stranger"):
        place.get(who, "Patient?family=Zquodling&identifier=https://fhir.nhs.uk/Id/nhs-number|9990000018&birthdate=1931-02-03")
        place.ask(who, "POST", "Patient/_search", raw=b"family=Zquodling&identifier=9990000018&birthdate=1931-02-03", **form)
        place.ask(who, "POST", "Goal", raw=b'{"resourceType":"Goal","note":"Zquodling 9990000018"')
        place.get(who, "Goal?_sort=Zquodling&patient:Zquodling=9990000018")
        place.get(who, f"Patient/{NOBODY}?x=Zquodling", X_Request_Id="Zquodling")
        place.ask(who, "POST", "/plans", body={"plan": "1", "person": {"id": "Zquodling", "nhs_number": "9990000018"}})
    searched = place.ask("gp", "POST", "Patient/_search", raw=b"family=Example&_count=1", **form)
    assert "Example" not in str(searched.headers)
    log, metrics = place.g.log.read_text(), place.get(None, "/metrics").text
    for word in ("Zquodling", "9990000018", "9990000026", "1931-02-03", CANARY, "Asha", place.g.patient, place.g.persona("gp")["token"][:40]):
        assert word not in log, f"{word} in the log"
        assert word not in metrics, f"{word} in the metrics"
    named = {name for line in metrics.splitlines() if not line.startswith("#") for name in re.findall(r'[{,](\w+)="', line)}
    assert not named & {"patient", "person", "user", "ref", "id", "subject", "client", "query"}, "nothing is counted per person"


# -- caches, forms of a request ------------------------------------------------------------------------------------------


def test_L41_no_cache_answers_one_reader_with_anothers_answer(place: Place) -> None:
    """The same address by everybody in turn, for two purposes, and again after a grant and its end."""
    query = f"Goal?patient={place.g.patient}&_count=200&_total=accurate"

    def totals() -> dict[str, int]:
        return {who: place.silent(who, place.get(who, query)).json()["total"] for who in (*READERS, *reversed(READERS))}

    before = totals()
    assert before["link-worker"] == before["stranger"] == 0 < before["gp"] < before["patient"]
    shut = place.made("patient", sharing(place.me, [rule("deny", place.g.persona("gp")["fhirUser"], purpose=[{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "ETREAT"}])]))
    for purpose, total in (("TREAT", before["gp"]), ("ETREAT", 0), ("TREAT", before["gp"]), ("ETREAT", 0)):
        assert place.get("gp", query, X_Purpose_of_Use=purpose).json()["total"] == total
    place.end(shut)
    one = place.made("patient", goal(place))
    before = {who: n + (n > 0 and who != "hospital") for who, n in before.items()}
    allowed = place.made("patient", sharing(place.me, [rule("permit", place.g.persona("link-worker")["fhirUser"], data=[{"meaning": "instance", "reference": {"reference": one}}])]))
    assert totals() == before | {"link-worker": 1}
    place.end(allowed)
    assert totals() == before


@pytest.mark.parametrize("who", ["stranger", "community-nurse"])
def test_L41_nobody_to_reach_is_nothing_and_not_everything(place: Place, who: str) -> None:
    """An empty list of people filters everything out: on a search, a count, a history, everything, a document, a plan."""
    for path in ("Goal", "Patient", "Observation", "?_type=Goal,Patient,Condition", "Goal/_history", "Patient/$everything", "Goal?patient=", "Goal?_id=", "Goal?patient=x,y"):
        answer = place.silent(who, place.get(who, path))
        kinds = {e["resource"]["resourceType"] for e in answer.json().get("entry", ())}
        assert kinds <= {"Organization", "Practitioner", "PractitionerRole"}, (path, kinds)


@pytest.mark.parametrize("who", some("gp", "stranger", "patient"))
def test_L42_every_form_of_a_request_is_one_request(place: Place, who: str) -> None:
    """GET, HEAD, POST _search, a trailing slash, a compartment, _format, an entry of a Bundle."""
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    for type in ("Goal", "Condition", "Provenance", "Consent"):
        plain = place.silent(who, place.get(who, f"{type}?_count=200&_sort=_id"))
        entries = [e["resource"] for e in plain.json().get("entry", ())]
        for other in (
            place.ask(who, "POST", f"{type}/_search", raw=b"_count=200&_sort=_id", **form), place.ask(who, "POST", f"{type}/_search?_count=200", raw=b"_sort=_id", **form), place.get(who, f"{type}/?_count=200&_sort=_id"),
            place.get(who, f"{type}?_count=200&_sort=_id&_format=json"), place.get(who, f"{type}?_count=200&_sort=_id&_format=application/fhir%2Bjson"), place.get(who, f"{type}?_count=200&_sort=_id", Accept="application/json"),
            place.get(who, f"{type}?_count=200&_sort=_id&_pretty=true"), place.get(who, f"?_type={type}&_count=200&_sort=_id"),
        ):  # fmt: skip
            assert [e["resource"] for e in other.json().get("entry", ())] == entries
        inside = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": f"{type}?_count=200&_sort=_id"}}]}
        assert [e["resource"] for e in place.ask(who, "POST", "", body=inside).json()["entry"][0]["resource"].get("entry", ())] == entries
        head = place.ask(who, "HEAD", f"{type}?_count=200&_sort=_id")
        assert not head.content and head.headers["content-length"] == str(len(plain.content))
        for method in ("GET", "HEAD"):
            for address in (f"{type}/{{}}", f"{type}/{{}}/", f"/fhir//{type}/{{}}", f"{type}/{{}}?_format=json", f"{type}/{{}}/_history/", f"Patient/{place.g.patient}/{type}?_id={{}}"):
                hidden = place.hidden(who).get(type, f"x/{NOBODY}").split("/")[1]
                place.alike(who, method, address, hidden)
    person = place.hidden(who).get("Patient", f"Patient/{NOBODY}").split("/")[1]
    for address in ("Patient/{}/Goal", "Patient/{}/*", "Patient/{}/Observation?_count=1&_total=accurate", "Patient/{}/Goal?_summary=count", "Patient/{}/Bogus", "RelatedPerson/{}/Goal", "Encounter/{}/Observation"):
        place.alike(who, "GET", address, person)
    place.alike(who, "POST", "Patient/{}/Goal/_search", person, status=(200,), **form)
    for media in ("application/fhir+xml", "text/html", "application/xml"):
        place.alike(who, "GET", "Goal/{}", place.hidden(who)["Goal"].split("/")[1], status=(406,), Accept=media)
    for method in ("OPTIONS", "TRACE", "COPY", "POST"):
        place.alike(who, method, "Goal/{}", place.hidden(who)["Goal"].split("/")[1], status=(404, 405))


def test_L43_a_length_is_that_of_the_absent_and_nothing_is_compressed(place: Place) -> None:
    """A body that is not compressed cannot tell by its length what else is in it."""
    for who in READERS:
        for encoding in ("gzip", "br, gzip, deflate", "identity"):
            answer = place.alike(who, "GET", "Goal/{}", place.hidden(who)["Goal"].split("/")[1], status=(404,), Accept_Encoding=encoding)
            assert answer.headers["content-length"] == str(len(answer.content)) and "content-encoding" not in answer.headers
        listed = place.get(who, "Goal?_count=5", Accept_Encoding="gzip")
        assert "content-encoding" not in listed.headers and listed.headers["content-length"] == str(len(listed.content))


# -- time ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every statement that any connection of this process begins, as text."""
    out: list[str] = []

    def watched(db: apsw.Connection) -> None:
        db.trace_v2(apsw.SQLITE_TRACE_STMT, lambda event: out.append(event["sql"]))

    monkeypatch.setattr(apsw, "connection_hooks", [watched])
    yield out


async def test_L44_the_hidden_and_the_absent_ask_the_store_the_same(place: Place, copied: Path, statements: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same statements in the same order: for a read, a version, a history, a search, a write, once a record's standing is known."""
    monkeypatch.setenv("GATEWAY_DATA", str(copied))
    monkeypatch.setenv("GATEWAY_DEMO", "true")
    body = {"resourceType": "Goal", "id": "{}", "lifecycleStatus": "active", "description": {"text": "x"}, "subject": {"reference": place.me}}
    async with wired(load()) as w:
        for who in ("gp", "stranger", "patient"):
            ctx = await context_as(w, who)
            hidden = place.hidden(who)["Goal"].split("/")[1]

            async def plan(what: str, id: str) -> list[str]:
                statements.clear()
                try:
                    match what:
                        case "read":
                            await gate.read(ctx, Ref("Goal", id))  # noqa: B023
                        case "version":
                            await gate.vread(ctx, Ref("Goal", id), 1)  # noqa: B023
                        case "history":
                            await gate.history(ctx, "Goal", id)  # noqa: B023
                        case "search":
                            await gate.search(ctx, "Goal", [("identifier", id)])  # noqa: B023
                        case "delete":
                            await gate.remove(ctx, Ref("Goal", id), if_match=1)  # noqa: B023
                        case "update":
                            await gate.update(ctx, Ref("Goal", id), json.dumps(body).replace("{}", id).encode(), if_match=1)  # noqa: B023
                except Problem as p:
                    assert p.kind == "not-found"
                return list(statements)

            for what in ("read", "version", "history", "search", "delete", "update"):
                await plan(what, hidden)  # the standing of this person is known from here on
                there, nowhere = await plan(what, hidden), await plan(what, NOBODY)
                assert there, "the statements are seen"
                assert there == nowhere, f"{who} {what}:\n" + "\n".join(there) + "\n--\n" + "\n".join(nowhere)


@pytest.mark.slow
def test_L44_the_hidden_and_the_absent_take_as_long(place: Place) -> None:
    """By the clock, leniently: medians of 200 each within a factor of two, in turns."""
    for who in ("gp", "stranger"):
        times: dict[str, list[float]] = {place.hidden(who)["Goal"].split("/")[1]: [], NOBODY: []}
        for _ in range(200):
            for id, taken in times.items():
                begun = time.perf_counter()
                assert place.get(who, f"Goal/{id}").status_code == 404
                taken.append(time.perf_counter() - begun)
        here, nowhere = (statistics.median(t) for t in times.values())
        assert 0.5 < here / nowhere < 2, (who, here, nowhere)


def test_L45_ids_and_versions_are_not_a_count_of_what_others_do(place: Place) -> None:
    """Random ids; a version and a time of change that move only with what this reader is shown."""
    made = [place.made("patient", goal(place)) for _ in range(12)]
    tails = [m.split("-", 3)[3] for m in made]
    assert len(set(tails)) == 12 and tails not in (sorted(tails), sorted(tails, reverse=True)), "random, not counted"
    seen = place.get("gp", made[0])
    hidden = place.made("patient", {**goal(place), "meta": {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "V"}]}})
    place.made("patient", {"resourceType": "Provenance", "target": [{"reference": made[0]}], "recorded": "2026-05-01T10:00:00Z", "agent": [{"who": {"reference": place.me}}], "meta": {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "V"}]}})
    again = place.get("gp", made[0])
    assert again.headers["etag"] == seen.headers["etag"] and again.headers["last-modified"] == seen.headers["last-modified"] and again.content == seen.content
    person = place.get("gp", place.me).headers
    assert place.ask("patient", "DELETE", hidden, If_Match='W/"1"').status_code == 204
    assert {k: v for k, v in place.get("gp", place.me).headers.items() if k != "date"} == {k: v for k, v in person.items() if k != "date"}


# -- shut when something is wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", some("gp", "stranger", "patient"))
def test_L55_what_is_not_understood_opens_nothing(place: Place, who: str) -> None:
    allowed = {"/".join(e["fullUrl"].split("/")[-2:]) for e in place.get(who, "Goal?_count=200").json().get("entry", ())}
    for query in ("Goal?bogus=1", "Goal?bogus.chain=1", "Goal?_bogus=x", "Goal?patient:missing=perhaps", "Goal?start-date=not-a-date", "Goal?_lastUpdated=xx2020", "Goal?subject:Bogus=1", "Goal?start-date:missing=true&target-date=lt1800", "Goal?patient=" + "x," * 60 + "x", "Goal?start-date=sa9999-12-31", "Goal?_has:Goal:bogus:x=1"):
        answer = place.silent(who, place.get(who, f"{query}&_count=200"))
        found = {"/".join(e["fullUrl"].split("/")[-2:]) for e in answer.json().get("entry", ())}
        assert answer.status_code == 400 or found <= allowed, query
        assert place.get(who, query, Prefer="handling=strict").status_code in (400, 200)
    assert place.get(who, "Goal?bogus=1", Prefer="handling=strict").status_code == 400


def test_L55_an_undated_record_is_hit_by_a_deny_of_a_period(place: Place) -> None:
    """Three-valued logic: no date is no `not deny`."""
    undated = place.made("patient", goal(place))
    shut = place.made("patient", sharing(place.me, [rule("deny", place.g.persona("social-worker")["fhirUser"], dataPeriod={"start": "2000-01-01", "end": "2010-01-01"}, **{"class": classes("Goal")})]))
    try:
        place.alike("social-worker", "GET", "Goal/{}", undated.split("/")[1], status=(404,))
        assert undated.split("/")[1] not in place.get("social-worker", "Goal?_count=200").text
    finally:
        place.end(shut)


@pytest.mark.slow
def test_L55_a_consent_that_cannot_be_computed_shuts_the_record(place: Place, copied: Path, tmp_path: Path) -> None:
    """Spoilt in the file, as by a restore from elsewhere: nobody but the person sees anything; the answer is that of nothing."""
    with sqlite3.connect(next(copied.rglob("*.sqlite"))) as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        held = db.execute("SELECT id, body FROM resource WHERE type = 'Consent' AND deleted = 0 AND patient = ? ORDER BY rid DESC", (place.me,))
        (id, body) = next(row for row in held.fetchall() if json.loads(row[1])["status"] == "active")
        spoilt = json.dumps({**json.loads(body), "modifierExtension": [{"url": "urn:unknown", "valueBoolean": True}]}).encode()
        db.execute("UPDATE resource SET body = ? WHERE type = 'Consent' AND id = ?", (spoilt, id))
        db.execute("UPDATE version SET body = ? WHERE type = 'Consent' AND id = ?", (spoilt, id))
        db.execute("UPDATE epoch SET value = value + 1")
    db.close()
    with gateway(tmp_path, "--demo", GATEWAY_WORKER="false", GATEWAY_BASE_URL=place.g.base) as g:
        g._tokens = place.g._tokens  # minted by the same keys for the same address
        p = Place(g, very=place.very, kept=place.kept, others=place.others, seen=place.seen, denied=place.denied)
        for who in ("gp", "social-worker"):
            p.alike(who, "GET", "CarePlan/{}", place.seen.split("/")[1], status=(404,))
            assert p.get(who, "Goal?_total=accurate").json()["total"] == 0
        assert p.get("patient", place.seen).status_code == 200


def test_L55_a_policy_that_does_not_exist_is_no_policy(tmp_path: Path) -> None:
    from ..conftest import Gateway

    done = Gateway(tmp_path / "data", 0, {"GATEWAY_POLICY": "uk-direct-car"}).command("serve")
    assert done.returncode == 2 and "uk-direct-car" in done.stderr


@pytest.mark.parametrize("who", EVERYBODY)
def test_L56_the_status_is_chosen_before_the_filter(place: Place, who: str) -> None:
    """A search whose every hit is hidden is 200 and empty, never 403; a read is 404, never 403; a scope is missed before any look."""
    for type, ref in place.hidden(who).items():
        id = ref.split("/")[1]
        assert place.get(who, f"{type}?_id={id}").status_code == 200
        assert place.get(who, ref).status_code == 404
    person = place.hidden(who).get("Patient", f"Patient/{NOBODY}").split("/")[1]
    for form in ("Goal?patient={}", "Patient?_id={}", "Patient/{}/Goal", "CarePlan?subject=Patient/{}&_include=CarePlan:goal"):
        assert place.alike(who, "GET", form, person).status_code == 200


async def test_L56_a_missing_scope_is_told_before_anything_is_looked_up(place: Place) -> None:
    from ..test_bad_input import minted

    only = {"Authorization": f"Bearer {await minted(place.g, 'gp', 'user/CarePlan.rs')}"}
    for form in ("Goal/{}", "Goal/{}/_history", "Goal/{}/_history/1", "Goal?_id={}", "CarePlan?goal.identifier={}", "CarePlan?_has:Goal:addresses:_id={}"):
        place.alike(None, "GET", form, place.very["Goal"].split("/")[1], status=(403, 400), **only)
    shown = place.get(None, f"CarePlan?_id={place.seen.split('/')[1]}&_include=*&_revinclude=*", **only)
    assert {e["resource"]["resourceType"] for e in shown.json()["entry"]} == {"CarePlan"}


@pytest.mark.parametrize("who", ["gp", "stranger"])
def test_L58_no_header_counts_a_persons_quota(place: Place, who: str) -> None:
    """The same headers for the hidden and the absent, however often; none of a limit that a person's record has."""
    hidden = place.hidden(who)["Goal"].split("/")[1]
    for _ in range(20):
        answer = place.alike(who, "GET", "Goal/{}", hidden, status=(404,))
        assert not [k for k in answer.headers if "limit" in k.lower() or "quota" in k.lower() or k.lower() == "retry-after"]
