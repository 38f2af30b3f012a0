"""AuditEvent over FHIR: the person's own, the privacy officer's, and nobody else's."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import apsw
import pytest

from fhir_gateway import definitions
from fhir_gateway.domain.validate import check

from .conftest import Gateway
from .test_bad_input import minted
from .test_roles import Person

REST = "http://terminology.hl7.org/CodeSystem/audit-event-type|rest"


@pytest.fixture(scope="module", autouse=True)
def looked(demo: Gateway) -> Iterator[dict[str, Any]]:
    """A goal that the GP has read, and a stranger has not."""
    me = {"reference": f"Patient/{demo.patient}"}
    made = demo.call("patient", "POST", "Goal", body={"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "walk"}, "subject": me})
    assert made.status_code == 201
    goal = made.headers["location"].split("/fhir/")[1].split("/_history")[0]
    assert demo.get("gp", goal).status_code == 200 and demo.get("stranger", goal).status_code == 404
    assert demo.get("gp", f"Goal?patient={demo.patient}&_id={goal.split('/')[1]}").status_code == 200
    yield {"goal": goal, "gp": demo.persona("gp")["fhirUser"], "stranger": demo.persona("stranger")["fhirUser"]}


def found(g: Gateway, who: str, search: str) -> list[dict[str, Any]]:
    answer = g.get(who, search)
    assert answer.status_code == 200, answer.text
    return [e["resource"] for e in answer.json().get("entry", [])]


def after_what_was(events: list[dict[str, Any]]) -> str:
    """A moment of the gateway's own clock after all these and before whatever is asked from now on: no clock of ours says what was before."""
    last = max(datetime.fromisoformat(e["recorded"]) for e in events) + timedelta(milliseconds=200)
    while datetime.now(UTC) <= last:
        time.sleep(0.05)
    return last.isoformat(timespec="milliseconds")


def did(event: dict[str, Any]) -> tuple[str, str]:
    return event["subtype"][0]["code"], event["outcome"]


def test_a_person_finds_who_read_and_who_was_refused(demo: Gateway, looked: dict[str, Any]) -> None:
    about = f"AuditEvent?patient={demo.patient}&entity={looked['goal']}"
    assert ("read", "0") in {did(e) for e in found(demo, "patient", f"{about}&agent={looked['gp']}")}
    refused = found(demo, "patient", f"AuditEvent?patient={demo.patient}&agent={looked['stranger']}&outcome=8")
    assert refused and {did(e) for e in refused} == {("AuditZ-Consent".replace("AuditZ", "AuthZ"), "8")}


@pytest.mark.parametrize(
    ("more", "some"),
    [
        (f"type={REST}", True), ("type=110114", False), ("subtype=read", True), ("subtype=http://hl7.org/fhir/restful-interaction|read", True), ("action=R", True),
        ("action=D", False), ("outcome=0", True), ("outcome=4", False), ("date=ge2020-01-01", True), ("date=lt2020-01-01", False), ("date=gt2099", False),
        ("date=ge2020-01-01&date=le2099-01-01", True), ("agent-name=dr+asha", True), ("agent-name:contains=patel", True), ("agent-name=nobody", False), ("entity-type=1", True), ("action:not=R", True),
    ],
)  # fmt: skip
def test_r4_parameters_find_what_they_should(demo: Gateway, looked: dict[str, Any], more: str, some: bool) -> None:
    hits = found(demo, "patient", f"AuditEvent?patient={demo.patient}&{more}")
    assert bool(hits) == some
    if more.startswith("subtype"):
        assert all(e["subtype"][0]["code"] == "read" for e in hits)


def test_a_person_is_meant_by_an_identifier_as_by_their_id(demo: Gateway, looked: dict[str, Any]) -> None:
    """ITI-81 asks by `patient.identifier`. Whoever is not found by it has no rows, and what cannot be asked is refused, not passed over."""
    (number,) = [i["value"] for i in demo.get("patient", f"Patient/{demo.patient}").json()["identifier"] if i["system"].endswith("nhs-number")]
    until = quote(after_what_was(found(demo, "patient", f"AuditEvent?agent={looked['gp']}")))
    nhs, rest = "https://fhir.nhs.uk/Id/nhs-number", f"date=lt{until}&_count=200"
    for who in ("patient", "privacy-officer"):
        theirs = {e["id"] for e in found(demo, who, f"AuditEvent?patient={demo.patient}&{rest}")}
        entity = {e["id"] for e in found(demo, who, f"AuditEvent?entity=Patient/{demo.patient}&{rest}")}
        assert len(theirs) > 3 and entity
        for name, wanted in (("patient.identifier", theirs), ("patient:Patient.identifier", theirs), ("patient:identifier", theirs), ("entity:Patient.identifier", entity)):
            assert {e["id"] for e in found(demo, who, f"AuditEvent?{name}={nhs}|{number}&{rest}")} == wanted, (who, name)
            assert {e["id"] for e in found(demo, who, f"AuditEvent?{name}={number}&{rest}")} == wanted, (who, name)
            assert demo.get(who, f"AuditEvent?{name}={nhs}|9990009999&_total=accurate&{rest}").json()["total"] == 0
        by_gp = {e["id"] for e in found(demo, who, f"AuditEvent?agent={looked['gp']}&{rest}")}
        assert by_gp and {e["id"] for e in found(demo, who, f"AuditEvent?agent:Practitioner.name=patel&{rest}")} == by_gp
        assert found(demo, who, f"AuditEvent?agent.name=nobody-of-that-name&{rest}") == []
        assert demo.get(who, "AuditEvent?_has:Provenance:entity:agent=Practitioner/1").status_code == 400
    assert {e["id"] for e in found(demo, "patient", f"AuditEvent?patient.family=example&{rest}")} == {
        e["id"] for e in found(demo, "patient", f"AuditEvent?patient={demo.patient}&{rest}")
    }
    refused = demo.get("privacy-officer", "AuditEvent?patient.family=example")
    assert refused.status_code == 400 and "NHS number" in refused.json()["issue"][0]["diagnostics"], refused.text


def test_a_date_of_the_second_is_found_and_of_the_next_is_not(demo: Gateway) -> None:
    event = found(demo, "patient", f"AuditEvent?patient={demo.patient}&subtype=create&_count=1")[0]
    second, at = event["recorded"][:19], f"AuditEvent?patient={demo.patient}&_count=200&date="
    assert event["id"] in {e["id"] for e in found(demo, "patient", f"{at}{second}Z")}
    assert event["id"] in {e["id"] for e in found(demo, "patient", f"{at}{event['recorded']}")}
    assert event["id"] not in {e["id"] for e in found(demo, "patient", f"{at}gt{second}Z")}
    assert event["id"] not in {e["id"] for e in found(demo, "patient", f"{at}lt{second}Z")}
    assert event["id"] in {e["id"] for e in found(demo, "patient", f"{at}le{second}Z&date=ge{second}Z")}


def test_pages_are_the_whole_newest_first_and_counted(demo: Gateway) -> None:
    until = quote(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    time.sleep(1.1)
    query = f"AuditEvent?patient={demo.patient}&date=lt{until}"
    total = demo.get("patient", f"{query}&_summary=count").json()["total"]
    assert total == demo.get("patient", f"{query}&_total=accurate&_count=2").json()["total"] > 3
    path, ids, times = f"{query}&_count=3", [], []
    while path:
        page = demo.get("patient", path).json()
        ids += [e["resource"]["id"] for e in page.get("entry", [])]
        times += [e["resource"]["recorded"] for e in page.get("entry", [])]
        path = next((link["url"].split("/fhir/")[1] for link in page["link"] if link["relation"] == "next"), "")
    assert len(ids) == len(set(ids)) == total and times == sorted(times, reverse=True)
    assert demo.get("patient", f"{query}&_sort=date").status_code == 400 and demo.get("patient", f"{query}&_sort=-date").status_code == 200


def test_each_is_read_as_it_was_found_and_is_valid(demo: Gateway) -> None:
    r4 = definitions.load_r4()
    events = found(demo, "patient", f"AuditEvent?patient={demo.patient}&_count=200") + found(demo, "privacy-officer", "AuditEvent?_count=200")
    assert len(events) > 10
    for e in events:
        assert [i for i in check(e, r4) if i.severity in ("error", "fatal")] == [], e
        assert all(p.startswith("https://profiles.ihe.net/ITI/BALP/") for p in e["meta"].get("profile", []))
    one = demo.get("patient", f"AuditEvent/{events[0]['id']}")
    assert one.json() == events[0] and one.headers["etag"] == 'W/"1"'
    assert demo.call("patient", "GET", f"AuditEvent/{events[0]['id']}", headers={"If-None-Match": 'W/"1"'}).status_code == 304


@pytest.mark.parametrize("who", ["gp", "stranger", *(pytest.param(w, marks=pytest.mark.slow) for w in ("hospital", "proxy", "social-worker"))])
def test_to_everybody_else_there_is_none(demo: Gateway, who: str, looked: dict[str, Any]) -> None:
    """Also of their own refusals: by id, by search, by count, by date, by inclusion."""
    mine = demo.persona(who)["fhirUser"]
    for search in (
        "AuditEvent?_total=accurate", f"AuditEvent?patient={demo.patient}&_total=accurate", f"AuditEvent?agent={mine}&outcome=8&_total=accurate",
        f"AuditEvent?entity={looked['goal']}&_total=accurate", f"Patient/{demo.patient}/AuditEvent?_total=accurate", "AuditEvent?_summary=count",
    ):  # fmt: skip
        assert demo.get(who, search).json()["total"] == 0, search
    ids = [e["id"] for e in found(demo, "privacy-officer", f"AuditEvent?patient={demo.patient}&_count=5")]
    nobody = "0198ffff-ffff-7fff-bfff-ffffffffffff"
    for id in ids:
        here, absent = demo.get(who, f"AuditEvent/{id}"), demo.get(who, f"AuditEvent/{nobody}")
        assert here.status_code == absent.status_code == 404 and here.content == absent.content
        assert {k: v for k, v in here.headers.items() if k != "date"} == {k: v for k, v in absent.headers.items() if k != "date"}


def test_an_attorney_finds_who_looked_only_while_they_decide(demo: Gateway) -> None:
    p = Person(demo, "1940-01-01", "Looked")
    search = f"AuditEvent?patient={p.id}&_total=accurate"
    assert p.proxy.get(search).json()["total"] == 0
    p.record("capacity-lost")
    p.appoint("health-and-welfare-lasting-power-of-attorney")
    assert p.sees() and p.proxy.get(search).json()["total"] > 0
    rows = p.proxy.get(f"AuditEvent?agent={p.proxy.user}").json()["entry"]
    assert all(f"Patient/{p.id}" in json.dumps(r["resource"]) for r in rows)
    p.record("capacity-lost", on=False)
    assert p.proxy.get(search).json()["total"] == 0 and p.proxy.get(f"AuditEvent/{rows[0]['resource']['id']}").status_code == 404


def test_a_person_sees_nobody_elses(demo: Gateway) -> None:
    everything = found(demo, "privacy-officer", "AuditEvent?_count=200")
    others = [e for e in everything if f"Patient/{demo.patient}" not in json.dumps(e)]
    assert others
    for e in others[:10]:
        assert demo.get("patient", f"AuditEvent/{e['id']}").status_code == 404
    for e in found(demo, "patient", "AuditEvent?_count=200"):
        assert f"Patient/{demo.patient}" in json.dumps(e)


def test_the_officers_look_is_itself_written_down_for_the_person(demo: Gateway) -> None:
    found(demo, "privacy-officer", f"AuditEvent?patient={demo.patient}&_count=1")
    officer = demo.persona("privacy-officer")["fhirUser"]
    assert found(demo, "patient", f"AuditEvent?agent={officer}&_count=1")
    assert found(demo, "privacy-officer", f"AuditEvent?agent={officer}&patient={demo.patient}&_count=1")


def test_rows_by_a_token_carry_the_name_of_the_account_or_system(demo: Gateway) -> None:
    for who in ("hospital", "patient"):
        assert demo.get(who, f"Goal?patient={demo.patient}").status_code == 200
    by = {a["name"] for e in found(demo, "patient", "AuditEvent?subtype=search&_count=50") for a in e["agent"] if a.get("name")}
    assert "Amina Example" in by and "Example General Hospital" in " ".join(by) and not by & {"patient", "hospital"}, by


def test_nobody_writes_one(demo: Gateway) -> None:
    event = found(demo, "patient", "AuditEvent?_count=1")[0]
    for who in ("patient", "privacy-officer", "hospital"):
        for method, path in (("POST", "AuditEvent"), ("PUT", f"AuditEvent/{event['id']}"), ("DELETE", f"AuditEvent/{event['id']}"), ("PUT", "AuditEvent?_id=1"), ("DELETE", "AuditEvent?_id=1")):
            answer = demo.call(who, method, path, body=None if method == "DELETE" else event, headers={"If-Match": 'W/"1"'})
            assert answer.status_code == 405 and "GET" in answer.headers["allow"], (who, method, path, answer.status_code, answer.text)
        patch = demo.call(who, "PATCH", f"AuditEvent/{event['id']}", raw=b'[{"op":"remove","path":"/agent"}]', headers={"Content-Type": "application/json-patch+json", "If-Match": 'W/"1"'})
        assert patch.status_code == 405
        batch = {"resourceType": "Bundle", "type": "batch", "entry": [{"resource": event, "request": {"method": "POST", "url": "AuditEvent"}}]}
        assert demo.call(who, "POST", "", body=batch).json()["entry"][0]["response"]["status"].startswith("405")


def test_the_statement_says_what_is_offered(demo: Gateway) -> None:
    (said,) = [r for r in demo.get(None, "metadata").json()["rest"][0]["resource"] if r["type"] == "AuditEvent"]
    assert {i["code"] for i in said["interaction"]} == {"read", "search-type"}
    assert {"patient", "date", "agent", "entity", "type", "subtype", "action", "outcome"} <= {p["name"] for p in said["searchParam"]}
    assert "searchInclude" not in said and not said["readHistory"]


# -- the commands ---------------------------------------------------------------------------------------------------------


def test_the_trail_is_sealed_and_verified_by_command(demo: Gateway) -> None:
    assert demo.command("audit", "seal").returncode == 0
    said = demo.command("audit", "verify", "--person", demo.patient, "--json")
    assert said.returncode == 0 and json.loads(said.stdout)["ok"] is True, said
    assert 0 < json.loads(said.stdout)["theirs"] <= json.loads(said.stdout)["rows"], said
    nobody = demo.command("audit", "verify", "--person", "nobody")
    assert nobody.returncode == 2 and "No row of the audit is of Patient/nobody" in nobody.stderr, nobody
    none = demo.command("audit", "seal")
    assert none.returncode == 0 and (none.stdout or "Everything is sealed already" in none.stderr), none
    heads = demo.command("audit", "heads").stdout.split()
    assert len(heads) >= json.loads(said.stdout)["segments"] > 0 and all(h.count(".") == 2 for h in heads)


@pytest.mark.slow
def test_the_key_of_the_trail_is_changed_by_command_while_it_is_served(demo: Gateway, tmp_path: Any) -> None:
    heads = tmp_path / "heads"
    heads.write_text(demo.command("audit", "heads").stdout or demo.command("audit", "seal").stdout)
    before = json.loads(demo.command("audit", "keys").stdout)["keys"]
    (said,) = demo.lines("audit", "rotate-key", "--algorithm", "ES384", "--json")
    after = json.loads(demo.command("audit", "keys").stdout)["keys"]
    assert after[:-1] == before and after[-1]["kid"] == said["kid"] and "d" not in after[-1] and said["keys"] == len(after)
    whole = demo.command("audit", "verify", "--heads", str(heads))
    assert whole.returncode == 0 and "the trail is what was sealed" in whole.stdout, whole
    row = found(demo, "privacy-officer", "AuditEvent?subtype=rotate-audit-key")[0]
    assert before[-1]["kid"] in json.dumps(row) and said["kid"] in json.dumps(row)
    assert demo.command("audit", "rotate-key", "--algorithm", "HS256").returncode == 2


@pytest.mark.slow
def test_a_row_that_was_taken_from_somebody_is_found_when_their_rows_are_asked_about(demo: Gateway) -> None:
    demo.command("audit", "seal")
    assert demo.get("gp", f"Patient/{demo.patient}").status_code == 200
    demo.command("audit", "seal")
    with closing(apsw.Connection(str(demo.data / "gateway.sqlite"))) as db:
        db.set_busy_timeout(5_000)
        ((kept,),) = db.execute("SELECT sql FROM sqlite_master WHERE name = 'audit_fixed'").fetchall()
        ((first,),) = db.execute("SELECT max(first) FROM segment").fetchall()
        mine = [aid for (aid,) in db.execute("SELECT aid FROM audit WHERE aid >= ? AND patient = ?", (first, f"Patient/{demo.patient}"))]
        assert mine
        marks = ",".join(map(str, mine))
        db.execute(f"DROP TRIGGER audit_fixed; UPDATE audit SET patient = 'Patient/other' WHERE aid IN ({marks})")
        try:
            said = demo.command("audit", "verify", "--person", demo.patient, "--json")
        finally:
            db.execute(f"UPDATE audit SET patient = ? WHERE aid IN ({marks})", (f"Patient/{demo.patient}",))
            db.execute(str(kept))
    assert said.returncode == 1 and said.stdout.count('"altered"') == len(mine), said
    assert demo.command("audit", "verify", "--person", demo.patient).returncode == 0


@pytest.mark.slow
def test_the_trail_is_sealed_verified_proved_and_exported(demo: Gateway, tmp_path: Any) -> None:
    heads, keys, proof, export = (tmp_path / n for n in ("heads", "keys.json", "proof.json", "rows.ndjson"))
    assert demo.get("gp", f"Patient/{demo.patient}").status_code == 200
    made = demo.command("audit", "seal")
    assert made.returncode == 0 and made.stdout.count(".") >= 2, made.stderr
    heads.write_text(made.stdout)
    keys.write_text(demo.command("audit", "keys").stdout)
    said = demo.command("audit", "verify", "--heads", str(heads), "--json")
    assert said.returncode == 0 and json.loads(said.stdout)["ok"] is True, said
    one = demo.command("audit", "verify", "--person", demo.patient)
    assert one.returncode == 0 and "the trail is what was sealed" in one.stdout
    done = demo.command("audit", "proof", demo.patient, str(proof), "--heads", str(heads))
    assert done.returncode == 0, done.stderr
    rows = [r for s in json.loads(proof.read_text())["segments"] for r in s["rows"]]
    assert rows and {r["patient"] for r in rows} == {f"Patient/{demo.patient}"}
    elsewhere = {"GATEWAY_DATA": str(tmp_path / "nothing-here")}
    good = demo.command("audit", "verify", "--proof", str(proof), "--keys", str(keys), "--heads", str(heads), env=elsewhere)
    assert good.returncode == 0 and "as they were sealed" in good.stdout and not (tmp_path / "nothing-here").exists(), good
    assert demo.get("gp", f"Patient/{demo.patient}").status_code == 200
    heads.write_text(heads.read_text() + demo.command("audit", "seal").stdout)
    older = demo.command("audit", "verify", "--proof", str(proof), "--keys", str(keys), "--heads", str(heads), "--json", env=elsewhere)
    assert older.returncode == 0 and json.loads(older.stdout)["newer"] >= 1, older
    proof.write_text(proof.read_text().replace("Dr Asha Patel", "Dr Asha Pavel"))
    bad = demo.command("audit", "verify", "--proof", str(proof), "--keys", str(keys), "--json", env=elsewhere)
    assert bad.returncode == 1 and json.loads(bad.stdout.splitlines()[0])["what"] == "altered", bad
    assert demo.command("audit", "verify", "--proof", str(proof)).returncode == 2
    assert demo.command("audit", "verify", "--heads", str(keys)).returncode == 2
    out = demo.command("audit", "export", str(export), "--person", demo.patient, "--from", "2020-01-01", "--json")
    lines = [json.loads(line) for line in export.read_text().splitlines()]
    assert out.returncode == 0 and json.loads(out.stdout)["rows"] == len(lines) > 5
    assert all(f"Patient/{demo.patient}" in json.dumps(e) for e in lines)
    assert "audit-export" in [e["subtype"][0]["code"] for e in found(demo, "patient", "AuditEvent?subtype=audit-export")]


@pytest.mark.parametrize("name", ["date", "_lastUpdated"])
@pytest.mark.parametrize("day", ["9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59-01:00", "9999-12-31", "0001-01-01T00:00:00%2B14:00", "0001"])
def test_the_ends_of_the_calendar_are_answered(demo: Gateway, name: str, day: str) -> None:
    for prefix in ("", "ge", "gt", "sa", "le", "lt", "eb", "ne"):
        answer = demo.get("patient", f"AuditEvent?{name}={prefix}{day}&_count=1")
        assert answer.status_code == 200, (prefix, answer.text)


async def test_a_scope_for_part_of_the_trail_holds_when_one_is_read(demo: Gateway) -> None:
    read, written = (found(demo, "patient", f"AuditEvent?patient={demo.patient}&action={a}&_count=1")[0]["id"] for a in "RC")
    token = await minted(demo, "patient", "user/AuditEvent.r?action=C user/AuditEvent.s")
    bearer = {"Authorization": f"Bearer {token}"}
    assert demo.call(None, "GET", f"AuditEvent/{written}", headers=bearer).status_code == 200
    shut = demo.call(None, "GET", f"AuditEvent/{read}", headers=bearer)
    absent = demo.call(None, "GET", "AuditEvent/0198c0de-0000-7000-8000-000000000000", headers=bearer)
    assert shut.status_code == 404 and shut.text == absent.text
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": f"AuditEvent/{read}"}}]}
    assert demo.call(None, "POST", "", body=batch, headers=bearer).json()["entry"][0]["response"]["status"].startswith("404")


async def test_what_a_sign_in_does_not_reach_and_what_was_stale_is_written_down(demo: Gateway, looked: dict[str, Any]) -> None:
    """One row each, of what was asked for; of a change that came too late the person's own."""
    goal, bearer = looked["goal"], {"Authorization": f"Bearer {await minted(demo, 'gp', 'user/Observation.rs')}"}
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": goal}}]}
    for method, path, body in (("GET", goal, None), ("GET", "Goal", None), ("DELETE", goal, None), ("POST", "", batch)):
        before = {r[0] for r in rows(demo)}
        answer = demo.call(None, method, path, body=body, headers=bearer)
        assert answer.status_code == 403 or path == ""
        new = [r for r in rows(demo) if r[0] not in before and r[1]["what"] != "batch"]
        assert [(n["allowed"], n["user"], n["detail"], n["refs"]) for _, n in new] == [(False, looked["gp"], "insufficient-scope", [path or goal])], path
    before = {r[0] for r in rows(demo)}
    seen = demo.get("patient", goal).json()
    assert demo.call("patient", "PUT", goal, body=seen, headers={"If-Match": 'W/"99"'}).status_code == 412
    new = [n for id, n in rows(demo) if id not in before and not n["allowed"]]
    assert [(n["what"], n["detail"], n["patient"]) for n in new] == [("update", "stale", f"Patient/{demo.patient}")]


def rows(demo: Gateway) -> list[tuple[str, dict[str, Any]]]:
    with closing(sqlite3.connect(f"file:{demo.data / 'gateway.sqlite'}?mode=ro", uri=True)) as db:
        kept = [json.loads(r[0]) for r in db.execute("select note from audit order by aid")]
    return [(n["id"], {"refs": [], "detail": "", "patient": None} | n) for n in kept]
