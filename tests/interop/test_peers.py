"""In step with real servers of other people: the same story against each."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ..conftest import Gateway, gateway
from ..staff import consent, permit, signed_in
from .peers import hapi, medplum

pytestmark = pytest.mark.interop
TAG = "https://fhir-gateway.example/id/resource"


class Pair:
    """A demo gateway and a peer that belongs to the community team's organisation."""

    def __init__(self, g: Gateway, url: str) -> None:
        self.g, self.url = g, url

    def there(self, type: str) -> list[dict[str, Any]]:
        answer = httpx2.get(f"{self.url}/{type}", params={"_count": "100"}, headers={"Cache-Control": "no-cache"}, timeout=30).json()
        return [e["resource"] for e in answer.get("entry", [])]

    def copy(self, type: str, id: str) -> dict[str, Any] | None:
        for resource in self.there(type):
            if any(t.get("system") == TAG and str(t.get("code")).rpartition(".")[2] == id for t in resource.get("meta", {}).get("tag", [])):
                return resource
        return None

    def step(self) -> dict[str, Any]:
        done = self.g.command("sync", "run", "--once", "--json")
        assert '"quiet":true' in done.stdout, f"{done.stdout}{done.stderr}{self.g.log.read_text()[-3000:]}"
        out: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return out


PEERS: dict[str, Callable[[], AbstractContextManager[str]]] = {"hapi": hapi, "medplum": medplum}


@pytest.fixture(scope="module", params=sorted(PEERS))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    with PEERS[request.param]() as url:
        remote = {"GATEWAY_REMOTE_URL": url, "GATEWAY_REMOTE_ORGANISATION": "D82001", "GATEWAY_WORKER": "false", "GATEWAY_REMOTE_MISSING_SECONDS": "1"}
        with gateway(folder, "--demo", **remote) as g:
            yield Pair(g, url)


def goals(pair: Pair) -> list[dict[str, Any]]:
    found = pair.g.get("patient", f"Goal?patient={pair.g.patient}").json()
    return [e["resource"] for e in found["entry"]]


def wait_for(true: Callable[[], Any], seconds: float = 10) -> Any:
    end = time.monotonic() + seconds
    while True:
        found = true()
        if found or time.monotonic() > end:
            return found
        time.sleep(0.2)


def test_what_may_be_disclosed_arrives_with_its_references(pair: Pair) -> None:
    pair.step()
    plan = pair.g.get("patient", f"CarePlan?patient={pair.g.patient}&category=2181441000000107").json()["entry"][0]["resource"]
    copy = pair.copy("CarePlan", plan["id"])
    assert copy is not None
    patient = pair.copy("Patient", pair.g.patient)
    assert patient is not None
    assert copy["subject"]["reference"] == f"Patient/{patient['id']}"
    sent = {json.dumps(g["reference"]) for g in copy.get("goal", [])}
    assert sent and all(pair.copy("Goal", g["id"]) for g in goals(pair))
    (status,) = pair.g.lines("sync", "status", "--json")
    assert status["quiet"] and status["parked"] == 0, pair.g.command("sync", "status").stdout


def test_what_the_view_holds_back_stays_here_and_is_kept_through_their_edit(pair: Pair) -> None:
    """Narrative and the words of a reference to another part of her record do not leave, and survive a change made there."""
    secret = "what only the two of us talked about"
    goal = goals(pair)[0]["id"]
    made = pair.g.call("hospital", "POST", "Observation", body={
        "resourceType": "Observation", "status": "final", "code": {"text": "Weight"}, "valueString": "62 kg",
        "subject": {"reference": f"Patient/{pair.g.patient}"}, "focus": [{"reference": f"Goal/{goal}", "display": secret}],
        "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{secret}</div>'},
    })  # fmt: skip
    assert made.status_code == 201, made.text
    pair.step()
    copy = pair.copy("Observation", made.json()["id"])
    assert copy is not None and copy["valueString"] == "62 kg"
    assert not [r for r in pair.there("Observation") if secret in json.dumps(r)]
    assert copy["focus"][0]["reference"].startswith("Goal/") and "display" not in copy["focus"][0]
    assert put(f"{pair.url}/Observation/{copy['id']}", copy | {"valueString": "61 kg"}).status_code == 200
    pair.step()
    here = pair.g.get("patient", f"Observation/{made.json()['id']}").json()
    assert here["valueString"] == "61 kg" and here["focus"][0]["display"] == secret and secret in here["text"]["div"]


def test_the_worker_inside_serve_keeps_in_step_by_itself(tmp_path: Path) -> None:
    """GATEWAY_WORKER=true (the default) with a remote: no other process, both ways."""
    with medplum() as url:
        remote = {"GATEWAY_REMOTE_URL": url, "GATEWAY_REMOTE_ORGANISATION": "D82001", "GATEWAY_WORKER": "true", "GATEWAY_REMOTE_POLL_SECONDS": "0.5"}
        with gateway(tmp_path, "--demo", **remote) as g:
            alone = Pair(g, url)
            goal = goals(alone)[0]
            copy = wait_for(lambda: alone.copy("Goal", goal["id"]), 60)
            assert copy is not None, g.log.read_text()[-2000:]
            assert put(f"{url}/Goal/{copy['id']}", copy | {"note": [{"text": "Seen at the surgery"}]}).status_code == 200
            seen = wait_for(lambda: g.get("patient", f"Goal/{goal['id']}").json().get("note", [{}])[-1].get("text") == "Seen at the surgery", 30)
            assert seen, g.log.read_text()[-2000:]


def test_consents_never_leave(pair: Pair) -> None:
    pair.step()
    assert pair.there("Consent") == []


def test_a_change_there_comes_back(pair: Pair) -> None:
    goal = goals(pair)[0]
    copy = pair.copy("Goal", goal["id"])
    assert copy is not None
    copy["note"] = [*copy.get("note", []), {"text": "Seen at the surgery"}]
    answer = put(f"{pair.url}/Goal/{copy['id']}", copy)
    assert answer.status_code == 200, answer.text
    tally = pair.step()
    assert tally["pulled"] >= 1
    here = pair.g.get("patient", f"Goal/{goal['id']}").json()
    assert here["note"][-1]["text"] == "Seen at the surgery"
    version = here["meta"]["versionId"]
    pair.step()
    assert pair.g.get("patient", f"Goal/{goal['id']}").json()["meta"]["versionId"] == version


def test_who_somebody_is_cannot_be_changed_there(pair: Pair) -> None:
    me = pair.g.patient
    theirs = pair.copy("Patient", me)
    assert theirs is not None
    put(f"{pair.url}/Patient/{theirs['id']}", {**theirs, "birthDate": "1960-01-01"})
    pair.step()
    assert pair.g.get("patient", f"Patient/{me}").json()["birthDate"] == "1951-04-07"
    (status,) = pair.g.lines("sync", "status", "--json")
    assert status["quarantined"] >= 1
    there = pair.copy("Patient", me)
    assert there is not None
    put(f"{pair.url}/Patient/{theirs['id']}", {**there, "birthDate": "1951-04-07"})
    pair.step()


def test_edits_on_both_sides_are_merged(pair: Pair) -> None:
    goal = goals(pair)[1]
    copy = pair.copy("Goal", goal["id"])
    assert copy is not None
    copy["startDate"] = "2026-05-01"
    assert put(f"{pair.url}/Goal/{copy['id']}", copy).status_code == 200
    here = pair.g.get("patient", f"Goal/{goal['id']}")
    mine = here.json() | {"description": {**here.json()["description"], "text": "In my newest words"}}
    assert pair.g.call("patient", "PUT", f"Goal/{goal['id']}", body=mine, headers={"If-Match": here.headers["etag"]}).status_code == 200
    pair.step()
    pair.step()
    ours = pair.g.get("patient", f"Goal/{goal['id']}").json()
    theirs = pair.copy("Goal", goal["id"])
    assert theirs is not None
    for side in (ours, theirs):
        assert side["startDate"] == "2026-05-01"
        assert side["description"]["text"] == "In my newest words"


def test_an_edit_that_takes_theirs_back_arrives_too(pair: Pair) -> None:
    goal = next(g for g in goals(pair) if g.get("note", [{}])[-1].get("text") == "Seen at the surgery")
    read = pair.g.get("patient", f"Goal/{goal['id']}")
    mine = {k: v for k, v in read.json().items() if k != "note"}
    assert pair.g.call("patient", "PUT", f"Goal/{goal['id']}", body=mine, headers={"If-Match": read.headers["etag"]}).status_code == 200
    pair.step()
    copy = pair.copy("Goal", goal["id"])
    assert copy is not None and "note" not in copy


def put(url: str, body: dict[str, Any]) -> httpx2.Response:
    return httpx2.put(url, json=body, headers={"Content-Type": "application/fhir+json"}, timeout=30)


def ledger(pair: Pair, ref: str) -> list[dict[str, Any]]:
    return [r for r in pair.g.lines("sync", "recalls", "--json") if r["ref"] == ref]


def test_a_record_that_began_there_stays_theirs_when_she_says_no(pair: Pair) -> None:
    """No mark on it, no ledger row, no recall; what was changed of it here is put back as they wrote it (sync.md)."""
    patient = pair.copy("Patient", pair.g.patient)
    assert patient is not None
    began = httpx2.post(f"{pair.url}/Observation", headers={"Content-Type": "application/fhir+json"}, timeout=30, json={
        "resourceType": "Observation", "status": "final", "code": {"text": "Blood pressure taken at the surgery"},
        "identifier": [{"system": "urn:surgery", "value": "bp-1"}], "subject": {"reference": f"Patient/{patient['id']}"},
        "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">As the surgery tells it</div>'},
    }).json()  # fmt: skip
    assert began["id"], began

    def there() -> dict[str, Any]:
        answer = httpx2.get(f"{pair.url}/Observation/{began['id']}", headers={"Cache-Control": "no-cache"}, timeout=30)
        assert answer.status_code == 200, answer.text
        out: dict[str, Any] = answer.json()
        return out

    assert pair.step()["pulled"] == 1
    pair.step()
    (here,) = [e["resource"] for e in pair.g.get("patient", f"Observation?patient={pair.g.patient}&identifier=urn:surgery|bp-1").json()["entry"]]
    assert there() == began, "nothing was written back to mark it"

    made = pair.g.call("patient", "POST", "Consent", body=deny(pair, "Observation"))
    assert made.status_code == 201, made.text
    pair.step()
    pair.step()
    assert there() == began
    assert ledger(pair, f"Observation/{here['id']}") == []
    off = {**made.json(), "status": "inactive"}
    assert pair.g.call("patient", "PUT", f"Consent/{off['id']}", body=off, headers={"If-Match": made.headers["etag"]}).status_code == 200
    pair.step()
    assert there() == began

    read = pair.g.get("patient", f"Observation/{here['id']}")
    edited = read.json() | {"note": [{"text": "I was ill that day"}]}
    assert pair.g.call("patient", "PUT", f"Observation/{here['id']}", body=edited, headers={"If-Match": read.headers["etag"]}).status_code == 200
    pair.step()
    assert there()["note"] == [{"text": "I was ill that day"}]
    assert "As the surgery tells it" in there()["text"]["div"], "their own narrative is not taken from them"
    again = pair.g.call("patient", "POST", "Consent", body=deny(pair, "Observation"))
    pair.step()
    pair.step()
    assert "note" not in there() and there()["code"] == began["code"] and "As the surgery tells it" in there()["text"]["div"]
    assert [r["open"] for r in ledger(pair, f"Observation/{here['id']}")] == [False]
    off = {**again.json(), "status": "inactive"}
    assert pair.g.call("patient", "PUT", f"Consent/{off['id']}", body=off, headers={"If-Match": again.headers["etag"]}).status_code == 200
    pair.step()
    assert there()["note"] == [{"text": "I was ill that day"}]


def test_what_was_added_here_to_their_record_goes_though_they_edited_it_since(pair: Pair) -> None:
    patient = pair.copy("Patient", pair.g.patient)
    assert patient is not None
    began = httpx2.post(f"{pair.url}/Condition", headers={"Content-Type": "application/fhir+json"}, timeout=30, json={
        "resourceType": "Condition", "code": {"text": "Asthma"}, "identifier": [{"system": "urn:surgery", "value": "asthma"}],
        "subject": {"reference": f"Patient/{patient['id']}"},
    }).json()  # fmt: skip

    def there() -> dict[str, Any]:
        out: dict[str, Any] = httpx2.get(f"{pair.url}/Condition/{began['id']}", headers={"Cache-Control": "no-cache"}, timeout=30).json()
        return out

    pair.step()
    (here,) = [e["resource"] for e in pair.g.get("patient", f"Condition?patient={pair.g.patient}&identifier=urn:surgery|asthma").json()["entry"]]
    noted = here | {"note": [{"text": "CANARY of mine"}]}
    put_here = pair.g.call("patient", "PUT", f"Condition/{here['id']}", body=noted, headers={"If-Match": f'W/"{here["meta"]["versionId"]}"'})
    assert put_here.status_code == 200, put_here.text
    pair.step()
    assert "CANARY" in str(there())
    put(f"{pair.url}/Condition/{began['id']}", there() | {"code": {"text": "Asthma, mild"}})
    pair.step()
    made = pair.g.call("patient", "POST", "Consent", body=deny(pair, "Condition"))
    pair.step()
    pair.step()
    after = there()
    assert "CANARY" not in str(after) and after["code"]["text"] == "Asthma, mild"
    assert all(not r["open"] for r in ledger(pair, f"Condition/{here['id']}"))
    off = {**made.json(), "status": "inactive"}
    assert pair.g.call("patient", "PUT", f"Consent/{off['id']}", body=off, headers={"If-Match": made.headers["etag"]}).status_code == 200
    pair.step()


def deny(pair: Pair, type: str) -> dict[str, Any]:
    return {
        "resourceType": "Consent", "status": "active",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{pair.g.patient}"}, "dateTime": "2026-11-20",
        "policyRule": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]},
        "provision": {"provision": [{
            "type": "deny", "class": [{"system": "http://hl7.org/fhir/resource-types", "code": type}],
            "actor": [{"role": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]},
                       "reference": {"identifier": {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "D82001"}}}],
        }]},
    }  # fmt: skip


def test_a_refused_record_never_leaves_and_a_withdrawn_one_is_taken_back(pair: Pair) -> None:
    before = pair.there("Goal")
    assert before
    made = pair.g.call("patient", "POST", "Consent", body=deny(pair, "Goal"))
    assert made.status_code == 201, made.text
    secret = {
        "resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Never to be sent"},
        "subject": {"reference": f"Patient/{pair.g.patient}"},
    }  # fmt: skip
    kept = pair.g.call("patient", "POST", "Goal", body=secret).json()
    pair.step()
    pair.step()
    assert pair.copy("Goal", kept["id"]) is None
    assert not [g for g in pair.there("Goal") if g["description"]["text"] == "Never to be sent"]
    assert pair.there("Goal") == []
    assert [r for r in pair.g.lines("sync", "recalls", "--json") if not r["open"]]
    assert pair.g.get("patient", f"Goal/{goals(pair)[0]['id']}").status_code == 200
    off = {**made.json(), "status": "inactive"}
    assert pair.g.call("patient", "PUT", f"Consent/{off['id']}", body=off, headers={"If-Match": made.headers["etag"]}).status_code == 200
    pair.step()
    pair.step()
    assert pair.copy("Goal", kept["id"]) is not None


def test_a_worker_of_its_own_sends_within_seconds(pair: Pair, tmp_path: Path) -> None:
    import subprocess
    import sys

    process = subprocess.Popen([sys.executable, "-m", "fhir_gateway", "worker"], env=pair.g.env, cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        new = pair.g.call("patient", "POST", "Goal", body={
            "resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Swim"},
            "subject": {"reference": f"Patient/{pair.g.patient}"},
        }).json()  # fmt: skip
        assert wait_for(lambda: pair.copy("Goal", new["id"]), 10) is not None
    finally:
        process.terminate()
        assert process.wait(10) == 0


def test_who_is_there_already_is_linked_and_who_disagrees_waits(pair: Pair) -> None:
    nhs = "https://fhir.nhs.uk/Id/nhs-number"

    def person(number: str, born: str, family: str) -> dict[str, Any]:
        identifier = [{"system": nhs, "value": number}]
        return {"resourceType": "Patient", "identifier": identifier, "birthDate": born, "name": [{"family": family}], "active": True}

    def made(url: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = httpx2.post(f"{url}/{body['resourceType']}", json=body, headers={"Content-Type": "application/fhir+json"}, timeout=30)
        assert answer.status_code == 201, answer.text
        out: dict[str, Any] = answer.json()
        return out

    there, here, they = {}, {}, {}
    for family, number, born in (("Same", "9449305552", "1950-05-05"), ("Unsure", "9449310602", "1951-06-05")):
        there[family] = made(pair.url, person(number, "1950-05-05" if family == "Same" else "1951-05-06", family))["id"]
        made(pair.url, {"resourceType": "Observation", "status": "final", "code": {"text": f"pulse of {family}"}, "subject": {"reference": f"Patient/{there[family]}"}})
        here[family] = pair.g.call("hospital", "POST", "Patient", body=person(number, born, family)).json()["id"]
        me = they[family] = signed_in(pair.g, f"person-{family.lower()}", f"Patient/{here[family]}")
        actions = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": c}]} for c in ("access", "disclose", "collect")]
        who = "https://fhir.nhs.uk/Id/ods-organization-code|D82001"
        assert me.call("POST", "Consent", body=consent(here[family], permit(who, action=actions))).status_code == 201
        goal = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": f"goal of {family}"}, "subject": {"reference": f"Patient/{here[family]}"}}
        assert me.call("POST", "Goal", body=goal).status_code == 201

    def texts(family: str) -> list[str]:
        found = they[family].get(f"Observation?patient={here[family]}").json().get("entry", [])
        return [e["resource"]["code"]["text"] for e in found]

    def goals_of(family: str) -> list[str]:
        return [g["description"]["text"] for g in pair.there("Goal") if g["subject"].get("reference") == f"Patient/{there[family]}"]

    pair.step()
    pair.step()
    assert [p["id"] for p in pair.there("Patient") if any(n["value"] == "9449305552" for n in p.get("identifier", []))] == [there["Same"]]
    assert goals_of("Same") == ["goal of Same"] and texts("Same") == ["pulse of Same"]
    waits = pair.g.command("patients", "waiting", "--json")
    assert waits.returncode == 1 and json.loads(waits.stdout)["ref"] == f"Patient/{here['Unsure']}"
    assert not [g for g in pair.there("Goal") if g["description"]["text"] == "goal of Unsure"] and texts("Unsure") == []
    (wrong,) = [p for p in pair.there("Patient") if p["id"] == there["Unsure"]]
    assert put(f"{pair.url}/Patient/{there['Unsure']}", wrong | {"birthDate": "1951-06-05"}).status_code == 200
    settled = pair.g.command("patients", "settle", f"Patient/{here['Unsure']}", json.loads(waits.stdout)["remote"])
    assert settled.returncode == 0, settled.stderr
    pair.step()
    pair.step()
    assert goals_of("Unsure") == ["goal of Unsure"] and texts("Unsure") == ["pulse of Unsure"]
    assert pair.g.command("patients", "waiting").returncode == 0
